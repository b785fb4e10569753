"""DECOLLE's closed form is the autograd of its summed local losses, a neuron's own past being taken as given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, one_hot, smooth_l1_loss

from neurodeploy.errors import UsageError
from neurodeploy.learning.decolle import LIF_RULE, TWO_TRACE_RULE, Decolle, Options
from neurodeploy.learning.interpreter import weight_change
from neurodeploy.learning.surrogates import Surrogate, fast_sigmoid
from tests.unit.learning_networks import CLASSES, SAMPLES, STEPS, Fire, labels, lively, network, relative, spikes

DOUBLE = torch.float64


def local_losses(made: Decolle, weights: list[Tensor], stop: bool, psi: Surrogate = fast_sigmoid) -> Tensor:
    """Return the sum over steps and layers of SmoothL1(readout, target), simulated with a tape.

    stop: whether the reset and the recurrence read detached spikes.
    """
    target = one_hot(labels(), CLASSES).double()
    layers = list(made.net)
    zero = [torch.zeros(SAMPLES, *layer.shape).double() for layer in layers]
    current, membrane, spike = list(zero), list(zero), list(zero)
    total = torch.zeros(()).double()
    for now in spikes():
        x = now
        for at, (layer, w, (g, c)) in enumerate(zip(layers, weights, made.readouts, strict=True)):
            past = spike[at].detach() if stop else spike[at]
            drive = x @ w.T + layer.bias.detach()
            if layer.recurrent is not None:
                drive = drive + past @ layer.recurrent.detach().T
            current[at] = drive if layer.alpha is None else layer.alpha * current[at] + drive
            membrane[at] = layer.beta * membrane[at] + current[at] - past * layer.threshold
            spike[at] = Fire.apply(membrane[at] - layer.threshold, psi, float(layer.threshold))
            total = total + smooth_l1_loss(spike[at] @ g.T + c, target)
            x = spike[at].detach()
    return total


@pytest.mark.parametrize("arch", ["8-7", "8r-7"])
@pytest.mark.parametrize("alpha", [None, 0.6])
def test_d1_the_closed_form_is_autograd_of_the_summed_local_loss(arch: str, alpha: float | None) -> None:
    made = Decolle(network(arch, alpha=alpha), Options(stretch=7), seed=3, dtype=DOUBLE)
    weights = [layer.weight.detach().clone().requires_grad_() for layer in made.net]
    expected = torch.autograd.grad(local_losses(made, weights, stop=True), weights)
    made.gradients(spikes(), labels())
    for layer, want in zip(made.net, expected, strict=True):
        assert relative(layer.weight.grad, want) < 1e-9


def test_d1_fails_when_the_reset_is_part_of_the_gradient() -> None:
    made = Decolle(network("8-7"), Options(), seed=3, dtype=DOUBLE)
    weights = [layer.weight.detach().clone().requires_grad_() for layer in made.net]
    expected = torch.autograd.grad(local_losses(made, weights, stop=False), weights)
    made.gradients(spikes(), labels())
    assert relative(made.net.layers[0].weight.grad, expected[0]) > 1e-2


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_the_fast_sums_are_the_table_read_literally(alpha: float | None) -> None:
    made = Decolle(network("8", alpha=alpha), Options(stretch=9), seed=3, dtype=DOUBLE)
    seen = []
    signals = made.signals

    def listen(stretches: list, y: Tensor, first: int) -> list[tuple[Tensor, Tensor]]:
        found = signals(stretches, y, first)
        seen.append((stretches[0].spikes, *found[0]))
        return found

    made.signals = listen  # type: ignore[method-assign]
    made.gradients(spikes(), labels())
    z, psi, signal = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert lively(z)
    rule = LIF_RULE if alpha is None else TWO_TRACE_RULE
    layer = made.net.layers[0]
    constants = {"beta": float(layer.beta)} | ({} if alpha is None else {"alpha": float(layer.alpha)})
    change, _ = weight_change(rule, spikes(), z, psi=psi, signal=signal, constants=constants)
    assert relative(-change / SAMPLES, layer.weight.grad) < 1e-9
    late = replace(rule, weight="-L*psi*eps'")
    change, _ = weight_change(late, spikes(), z, psi=psi, signal=signal, constants=constants)
    assert relative(-change / SAMPLES, layer.weight.grad) > 1e-3


def test_kernels_learn_as_the_same_weights_written_out() -> None:
    """The gradient of a kernel is autograd of its own local loss, pools and padding included."""
    from neurodeploy.ir.nodes import Input, InputKind
    from neurodeploy.learning.architectures import Neurons, build

    meant = build("3C3-P2", Input((2, 6, 6), InputKind.SPIKES), CLASSES, Neurons(0.9, 0.5), seed=1, gain=3.0)
    made = Decolle(meant, Options(), seed=3, dtype=DOUBLE)
    x = (torch.rand(8, SAMPLES, 2, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    layer, (g, c) = made.net.layers[0], made.readouts[0]
    kernel = layer.weight.detach().clone().requires_grad_()
    bias = layer.bias.detach().clone().requires_grad_()
    membrane = spike = torch.zeros(SAMPLES, *layer.shape).double()
    total, target = torch.zeros(()).double(), one_hot(labels(), CLASSES).double()
    for now in x:
        drive = torch.nn.functional.conv2d(now, kernel, bias, padding=1)
        membrane = layer.beta * membrane + drive - spike.detach() * layer.threshold
        spike = Fire.apply(membrane - layer.threshold, fast_sigmoid, float(layer.threshold))
        total = total + smooth_l1_loss(spike.flatten(1) @ g.T + c, target)
    assert lively(spike)
    expected = torch.autograd.grad(total, (kernel, bias))
    made.gradients(x, labels())
    assert relative(layer.weight.grad, expected[0]) < 1e-9
    assert relative(layer.bias.grad, expected[1]) < 1e-9


def test_kernels_between_maps_of_one_layer_learn_from_its_local_loss() -> None:
    """Their traces are of the layer's own spikes a step before, which count as given."""
    from neurodeploy.ir.nodes import Input, InputKind
    from neurodeploy.learning.architectures import Neurons, build

    meant = build("3C3r", Input((2, 5, 5), InputKind.SPIKES), CLASSES, Neurons(0.9, 0.5, alpha=0.4), seed=1, gain=3.0)
    made = Decolle(meant, Options(stretch=4), seed=3, dtype=DOUBLE)
    x = (torch.rand(9, SAMPLES, 2, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    layer, (g, c) = made.net.layers[0], made.readouts[0]
    own = layer.recurrent.detach().clone().requires_grad_()
    current = membrane = spike = torch.zeros(SAMPLES, *layer.shape).double()
    total, target = torch.zeros(()).double(), one_hot(labels(), CLASSES).double()
    for now in x:
        past = spike.detach()
        drive = conv2d(now, layer.weight.detach(), layer.bias.detach(), padding=1) + conv2d(past, own, padding=1)
        current = layer.alpha * current + drive
        membrane = layer.beta * membrane + current - past * layer.threshold
        spike = Fire.apply(membrane - layer.threshold, fast_sigmoid, float(layer.threshold))
        total = total + smooth_l1_loss(spike.flatten(1) @ g.T + c, target)
    assert lively(spike)
    expected = torch.autograd.grad(total, own)[0]
    made.gradients(x, labels())
    assert relative(layer.recurrent.grad, expected) < 1e-9


def test_nothing_is_learned_while_traces_fill() -> None:
    """The first half's losses do not count, and a burn-in that leaves nothing is refused."""
    meant, half = network("8"), STEPS // 2
    late = Decolle(meant, Options(burn_in=half), seed=3, dtype=DOUBLE)
    whole, first = (Decolle(meant, Options(), seed=3, dtype=DOUBLE) for _ in range(2))
    for made, x in ((late, spikes()), (whole, spikes()), (first, spikes()[:half])):
        made.gradients(x, labels())
    difference = whole.net.layers[0].weight.grad - first.net.layers[0].weight.grad
    assert relative(late.net.layers[0].weight.grad, difference) < 1e-9
    with pytest.raises(UsageError, match="ND075"):
        Decolle(meant, Options(burn_in=STEPS), seed=3).gradients(spikes().float(), labels())


def test_activity_terms_are_autograd_of_themselves() -> None:
    """high mean max(u + .01, 0) + low 3e-3 max(mean(.1 - sigmoid(u)), 0), the mean over a layer's neurons."""
    plain = Decolle(network("8"), Options(), seed=3, dtype=DOUBLE)
    active = Decolle(network("8"), Options(high=0.3, low=100.0), seed=3, dtype=DOUBLE)
    layer = plain.net.layers[0]
    w = layer.weight.detach().clone().requires_grad_()
    membrane = spike = torch.zeros(SAMPLES, 8).double()
    total = torch.zeros(()).double()
    for now in spikes():
        membrane = layer.beta * membrane + now @ w.T + layer.bias.detach() - spike.detach() * layer.threshold
        u = membrane - layer.threshold
        spike = (u > 0).double()
        total = total + 0.3 * (u + 0.01).clamp(min=0).mean(1).sum()
        total = total + 100.0 * 3e-3 * (0.1 - torch.sigmoid(u)).mean(1).clamp(min=0).sum()
    expected = torch.autograd.grad(total, w)[0] / SAMPLES
    for made in (plain, active):
        made.gradients(spikes(), labels())
    difference = active.net.layers[0].weight.grad - plain.net.layers[0].weight.grad
    assert relative(difference, expected) < 1e-9


def test_dropout_hides_spikes_from_the_readout_only() -> None:
    made = Decolle(network("8"), Options(dropout=0.5), seed=3, dtype=DOUBLE)
    plain = Decolle(network("8"), Options(), seed=3, dtype=DOUBLE)
    made.gradients(spikes(), labels())
    plain.gradients(spikes(), labels())
    assert torch.equal(made.counts, plain.counts)
    assert relative(made.net.layers[0].weight.grad, plain.net.layers[0].weight.grad) > 1e-2
    assert relative(made.net.output.weight.grad, plain.net.output.weight.grad) < 1e-12
