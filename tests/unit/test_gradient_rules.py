"""BPTT is snnTorch's own gradient; FA and DFA are BPTT where their feedback says so; each with a control that fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Firing, Input, InputKind, Linear, Reset
from neurodeploy.learning.architectures import Neurons, build
from neurodeploy.learning.bptt import BPTT, Options
from neurodeploy.learning.dfa import DFA
from neurodeploy.learning.fa import FA
from neurodeploy.learning.surrogates import SURROGATES
from tests.unit.learning_networks import CLASSES, SAMPLES, Fire, labels, lively, network, relative, spikes

DOUBLE = torch.float64


def gradients(made: BPTT) -> dict[str, Tensor]:
    made.optimizer.zero_grad()
    made.backward(spikes(), labels())
    return {name: p.grad.clone() for name, p in made.net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
def test_bptt_is_snntorchs_own_gradient(recurrent: bool) -> None:
    """Two layers of Synaptic or RSynaptic, default surrogate, cross-entropy of the spike counts."""
    made = BPTT(network("7r" if recurrent else "7", alpha=0.6), Options(), seed=0, dtype=DOUBLE)
    first, _ = made.net
    leaves = [p.detach().clone().requires_grad_() for p in made.net.parameters()]
    by_name = dict(zip((name for name, _ in made.net.named_parameters()), leaves, strict=True))
    settings = {"alpha": float(first.alpha), "beta": float(first.beta), "threshold": float(first.threshold)}
    if recurrent:
        inner = snntorch.RSynaptic(**settings, all_to_all=True, linear_features=7).double()
        inner.recurrent = torch.nn.Linear(7, 7, bias=False).double()
        inner.recurrent.weight.data = by_name["layers.0.recurrent"].detach()
        by_name["layers.0.recurrent"] = inner.recurrent.weight
    else:
        inner = snntorch.Synaptic(**settings).double()
    outer = snntorch.Synaptic(**settings).double()
    zero = torch.zeros(SAMPLES, 7).double()
    spk, syn, mem = zero, zero, zero
    syn2 = mem2 = torch.zeros(SAMPLES, CLASSES).double()
    counts, fired = torch.zeros(SAMPLES, CLASSES).double(), []
    for x in spikes():
        current = x @ by_name["layers.0.weight"].T + by_name["layers.0.bias"]
        if recurrent:
            spk, syn, mem = inner(current, spk.double(), syn, mem)
        else:
            spk, syn, mem = inner(current, syn, mem)
        fired.append(spk)
        current = spk.double() @ by_name["layers.1.weight"].T + by_name["layers.1.bias"]
        spk2, syn2, mem2 = outer(current, syn2, mem2)
        counts = counts + spk2
    assert lively(torch.stack(fired))
    cross_entropy(made.options.gain * counts, labels()).backward()
    for name, got in gradients(made).items():
        assert relative(got, by_name[name].grad) < 1e-6, name


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("arch", ["7", "7r", "8-6r"])
@pytest.mark.parametrize("adaptation", [None, (0.9, 0.2)], ids=["lif", "alif"])
def test_a_layer_fires_what_the_network_means(adaptation: tuple[float, float] | None, arch: str, reset: Reset) -> None:
    """Bit for bit what `run_source` computes from the same network, for every reset and over stretches."""
    from neurodeploy.frontends.source import run_source

    neurons = Neurons(beta=0.9, threshold=0.6, alpha=0.4, reset=reset, adaptation=adaptation)
    meant = build(arch, Input((6,), InputKind.SPIKES), CLASSES, neurons, seed=2, gain=3.0)
    made = BPTT(meant, Options(), seed=0)
    x = spikes().float()
    expected = run_source(meant, x.numpy())
    states, fired = made.net.rest(SAMPLES), []
    with torch.no_grad():
        for part in x.split(7):
            y = part
            for at, layer in enumerate(made.net):
                stretch, states[at] = layer.run(layer.drive(y), states[at], made.fire)
                y = stretch.spikes
            fired.append(y)
    assert expected.spikes[meant.output].sum() > 4
    assert torch.cat(fired).numpy().astype("uint8").tolist() == expected.spikes[meant.output].tolist()


@pytest.mark.parametrize("firing", [firing for firing in Firing if not firing.says_value])
@pytest.mark.parametrize("reset", [reset for reset in Reset if reset is not Reset.SUBTRACT])
def test_firing_and_floor_mean_the_same_in_every_engine(firing: Firing, reset: Reset) -> None:
    """Real numbers, PyTorch in float64 and the layers that learn fire the same; the last know no graded spikes.

    Weights and decays are multiples of 1/8, so that membranes reach thresholds and floors exactly.
    """
    from neurodeploy.engine.real import run_real
    from neurodeploy.frontends.source import run_source

    meant = build("7", Input((6,), InputKind.SPIKES), CLASSES, Neurons(beta=0.5, threshold=0.5, reset=reset), seed=2)
    nodes = {
        name: replace(node, firing=firing, floor=np.array(-0.25))
        if isinstance(node, LIF)
        else replace(node, weight=np.round(8 * 2 * node.weight) / 8, bias=None)
        if isinstance(node, Linear)
        else node
        for name, node in meant.nodes.items()
    }
    meant = replace(meant, nodes=nodes)
    x = spikes()
    theirs, (ours, _) = run_source(meant, x.numpy(), record_states=True, dtype="float64"), run_real(meant, x.numpy())
    for name in meant.populations:
        assert ours.spikes[name].tolist() == theirs.spikes[name].tolist()
        assert ours.voltages[name].min() == -0.25
    assert (ours.spikes["lif1"].max() > 1) == (firing is Firing.MULTIPLE)
    assert np.any(theirs.voltages["lif1"] == 0.5) or reset is not Reset.NONE
    if firing is Firing.MULTIPLE:
        with pytest.raises(UnsupportedError, match="ND070"):
            BPTT(meant, Options(), seed=0)
        return
    made = BPTT(meant, Options(), seed=0)
    y = x.float()
    for state, layer in zip(made.net.rest(SAMPLES), made.net, strict=True):
        y = layer.run(layer.drive(y), state, made.fire)[0].spikes.detach()
    assert y.numpy().astype("uint8").tolist() == theirs.spikes[meant.output].tolist()


@pytest.mark.parametrize("reset", list(Reset))
def test_adapting_thresholds_mean_the_same_in_real_numbers(reset: Reset) -> None:
    """The real-number engine and PyTorch in float64 fire the same spikes."""
    from neurodeploy.engine.real import run_real
    from neurodeploy.frontends.source import run_source

    neurons = Neurons(beta=0.875, threshold=0.5, reset=reset, adaptation=(0.75, 0.25))
    meant = build("8-6r", Input((6,), InputKind.SPIKES), CLASSES, neurons, seed=2, gain=3.0)
    x = spikes().numpy()
    theirs, ours = run_source(meant, x, dtype="float64"), run_real(meant, x)[0]
    plain = {name: replace(lif, adaptation=None) for name, lif in meant.populations.items()}
    without = run_real(replace(meant, nodes=meant.nodes | plain), x)[0]
    assert ours.spikes["lif1"].sum() > 20
    assert (ours.spikes["lif1"] == theirs.spikes["lif1"]).all()
    assert (ours.spikes["lif2"] == theirs.spikes["lif2"]).all()
    assert without.spikes["lif1"].sum() > ours.spikes["lif1"].sum()


def recurrent_maps() -> tuple[Network, Tensor]:
    """Return 3 maps that read themselves by 3 x 3 kernels, then a layer of CLASSES, and input for it."""
    meant = build("3C3r", Input((2, 5, 5), InputKind.SPIKES), CLASSES, Neurons(0.9, 0.5, alpha=0.4), seed=1, gain=3.0)
    x = torch.rand(9, SAMPLES, 2, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    return meant, x.double()


def test_maps_that_read_themselves_learn_by_autograd() -> None:
    """Spikes as `run_source` fires them; BPTT's gradients against a loop over steps written out."""
    from neurodeploy.frontends.source import run_source

    meant, x = recurrent_maps()
    made = BPTT(meant, Options(), seed=0, dtype=DOUBLE)
    first, second = made.net
    w, v, b, w2, b2 = (
        p.detach().clone().requires_grad_()
        for p in (first.weight, first.recurrent, first.bias, second.weight, second.bias)
    )
    psi = SURROGATES["arctan"]
    current = membrane = spike = torch.zeros(SAMPLES, 3, 5, 5).double()
    current2 = membrane2 = spike2 = torch.zeros(SAMPLES, CLASSES).double()
    fired, counts = [], torch.zeros(SAMPLES, CLASSES).double()
    for now in x:
        drive = conv2d(now, w, b, padding=1) + conv2d(spike, v, None, padding=1)
        current = first.alpha * current + drive
        membrane = first.beta * membrane + current - spike.detach() * first.threshold
        spike = Fire.apply(membrane - first.threshold, psi, float(first.threshold))
        fired.append(spike)
        current2 = second.alpha * current2 + spike.flatten(1) @ w2.T + b2
        membrane2 = second.beta * membrane2 + current2 - spike2.detach() * second.threshold
        spike2 = Fire.apply(membrane2 - second.threshold, psi, float(second.threshold))
        counts = counts + spike2
    expected = run_source(meant, x.numpy(), dtype="float64").spikes["lif1"]
    assert torch.stack(fired).detach().numpy().astype("uint8").tolist() == expected.tolist()
    assert lively(torch.stack(fired))
    grads = torch.autograd.grad(cross_entropy(0.5 * counts, labels()), (w, v, b, w2, b2))
    made.backward(x, labels())
    for got, want in zip((first.weight, first.recurrent, first.bias, second.weight, second.bias), grads, strict=True):
        assert relative(got.grad, want) < 1e-9


def test_maps_that_read_themselves_are_deployed_exactly() -> None:
    """The engine's integers equal Lava's own models, and kernels of even size are refused."""
    import numpy as np

    from neurodeploy import pipeline
    from neurodeploy.errors import UsageError

    meant, x = recurrent_maps()
    model = pipeline.compile(meant, "loihi2-sim")
    samples = pipeline.Samples("drawn", x[:, :2].numpy().astype(np.uint8), None)
    for authority in ("lava-models", "engine"):
        _, certificate = pipeline.verify(model, samples, against=authority)
        assert certificate["equal"], authority
    assert pipeline.verify(model, samples, against="source")[1]["explained_by_rounding"]
    assert certificate["compared"]["lif1"]["spikes"] == 9 * 2 * 75
    with pytest.raises(UsageError, match="ND071"):
        build("3C4r", Input((2, 6, 6), InputKind.SPIKES), CLASSES, Neurons(0.9, 0.5), seed=1)


def test_f1_feedback_alignment_with_the_weights_themselves_is_backpropagation() -> None:
    plain, aligned = (kind(network("8r-7"), Options(), seed=0, dtype=DOUBLE) for kind in (BPTT, FA))
    different = gradients(aligned)
    for layer in list(aligned.net)[1:]:
        aligned.feedback[layer.name] = layer.weight.detach().clone()
    same, expected = gradients(aligned), gradients(plain)
    for name, want in expected.items():
        assert relative(same[name], want) < 1e-9, name
    assert relative(different["layers.0.weight"], expected["layers.0.weight"]) > 0.1
    assert relative(different["layers.2.weight"], expected["layers.2.weight"]) < 1e-9


def test_f1_holds_for_kernels() -> None:
    meant = build("3C3-P2-4C3", Input((2, 8, 8), InputKind.SPIKES), CLASSES, Neurons(0.9, 0.5), seed=1, gain=3.0)
    x = (torch.rand(6, SAMPLES, 2, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    plain, aligned = (kind(meant, Options(), seed=0, dtype=DOUBLE) for kind in (BPTT, FA))
    for layer in list(aligned.net)[1:]:
        aligned.feedback[layer.name] = layer.weight.detach().clone()
    for made in (plain, aligned):
        made.backward(x, labels())
    for got, want in zip(aligned.net.parameters(), plain.net.parameters(), strict=True):
        assert relative(got.grad, want.grad) < 1e-9


def test_f2_direct_feedback_is_feedback_alignment_when_there_is_one_hidden_layer() -> None:
    direct, aligned = (kind(network("7r"), Options(), seed=0, dtype=DOUBLE) for kind in (DFA, FA))
    different = gradients(direct)
    direct.feedback["lif1"] = aligned.feedback["lif2"]
    same, expected = gradients(direct), gradients(aligned)
    for name, want in expected.items():
        assert relative(same[name], want) < 1e-9, name
    assert relative(different["layers.0.weight"], expected["layers.0.weight"]) > 0.1


def linear_above(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Return a network whose layers pass gradients like linear ones: no memory, no reset, derivative one."""
    monkeypatch.setitem(SURROGATES, "one", lambda u, threshold: torch.ones_like(u))
    neurons = Neurons(beta=0.0, threshold=0.5, reset=Reset.NONE)
    return build("8-7", Input((6,), InputKind.SPIKES), CLASSES, neurons, seed=1, gain=2.0)


def test_f2_direct_feedback_through_linear_layers_is_backpropagation(monkeypatch: pytest.MonkeyPatch) -> None:
    """With B the product of the weights above."""
    meant = linear_above(monkeypatch)
    direct, plain = (kind(meant, Options(surrogate="one"), seed=0, dtype=DOUBLE) for kind in (DFA, BPTT))
    _, second, third = plain.net
    direct.feedback = {"lif1": (third.weight @ second.weight).detach(), "lif2": third.weight.detach()}
    expected = gradients(plain)
    for name, got in gradients(direct).items():
        assert relative(got, expected[name]) < 1e-9, name
    direct.feedback["lif1"] = direct.feedback["lif1"].roll(1, 0)
    assert relative(gradients(direct)["layers.0.weight"], expected["layers.0.weight"]) > 0.1


@pytest.mark.parametrize("kind", [BPTT, FA, DFA])
def test_learning_lowers_the_loss(kind: type[BPTT]) -> None:
    made = kind(network("16"), Options(rate=1e-2), seed=0)
    x = spikes().float()
    losses = [made.learn(x, labels()).loss for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
