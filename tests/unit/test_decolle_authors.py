"""DECOLLE as its authors define it, whose neurons are not `LIF` nodes: the closed form is its gradient, too.

    Q(t) = b Q(t-1) + (1 - b) x(t)                P(t) = a P(t-1) + (1 - a) Q(t-1)
    R(t) = r R(t-1) - (1 - r) w S(t-1)            U(t) = W P(t) + c + R(t),  S = [U > 0]

The loss is SmoothL1 of a fixed readout of S per layer; P, Q, R and what the next layer reads are detached. With r = a,
w = threshold / (1 - r), c = -threshold and W scaled by (1 - a)(1 - b), this is a `LIF` node one step later.

Source: Kaiser, Mostafa & Neftci 2020, Frontiers in Neuroscience 14:424; written from the equations, no code taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, smooth_l1_loss

from neurodeploy.learning.decolle import Decolle, Options
from neurodeploy.learning.net import Stretch
from neurodeploy.learning.three_factor import Accumulator
from tests.unit.learning_networks import (
    CLASSES,
    INPUTS,
    SAMPLES,
    THRESHOLD,
    Fire,
    labels,
    lively,
    network,
    relative,
    spikes,
)

DOUBLE = torch.float64
WIDTHS = (8, 7)


def steep(u: Tensor, threshold: Tensor) -> Tensor:
    """Return the slope of the authors' LIFLayer."""
    return 1 / (10 * u.abs() + 1) ** 2


@dataclass(frozen=True)
class Theirs:
    """Decays a, b, r and weight w of the equations."""

    a: float = 0.97
    b: float = 0.92
    r: float = 0.65
    w: float = 1.0

    def run(
        self, x: Tensor, weights: list[Tensor], offsets: list[Tensor], detached: Callable[[Tensor], Tensor]
    ) -> list[dict[str, Tensor]]:
        """Return per layer P, U, S (step, sample, *), with a tape through the weights and, unless detached, R."""
        found = []
        for weight, offset in zip(weights, offsets, strict=True):
            q = p = torch.zeros_like(x[0])
            r = s = x.new_zeros(x.shape[1], len(weight))
            steps: dict[str, list[Tensor]] = {"P": [], "U": [], "S": []}
            for now in x:
                p, q = self.a * p + (1 - self.a) * q, self.b * q + (1 - self.b) * now
                r = self.r * r - (1 - self.r) * self.w * detached(s)
                u = p @ weight.T + offset + r
                s = Fire.apply(u, steep, 0.0)
                for name, value in zip(steps, (p, u, s), strict=True):
                    steps[name].append(value)
            found.append({name: torch.stack(values) for name, values in steps.items()})
            x = found[-1]["S"].detach()
        return found


def local_loss(layers: list[dict[str, Tensor]], readouts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the sum over layers and steps of SmoothL1, the mean over samples and classes."""
    target = one_hot(labels(), CLASSES).double()
    total = torch.zeros(()).double()
    for layer, (g, c) in zip(layers, readouts, strict=False):
        for s in layer["S"]:
            total = total + smooth_l1_loss(s @ g.T + c, target)
    return total


def drawn(scale: float) -> tuple[list[Tensor], list[Tensor]]:
    """Return weights and offsets of two layers."""
    random = torch.Generator().manual_seed(7)
    fans = (INPUTS, *WIDTHS)
    weights = [
        scale * torch.randn(n, m, generator=random, dtype=DOUBLE) / m**0.5 for m, n in zip(fans, WIDTHS, strict=False)
    ]
    offsets = [0.1 * torch.randn(n, generator=random, dtype=DOUBLE) for n in WIDTHS]
    return [each.requires_grad_() for each in weights], [each.requires_grad_() for each in offsets]


def closed_form(made: Decolle, layers: list[dict[str, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return the gradients of weights and offsets that our sums make of their potentials, spikes and traces."""
    steps = len(layers[0]["S"])
    silent = torch.zeros(steps, SAMPLES, CLASSES, dtype=DOUBLE)
    held = [Stretch(*(layer[name].detach() for name in ("S", "U", "S"))) for layer in layers]
    made.begin(SAMPLES, steps)
    found = []
    for layer, trace, (psi, heard) in zip(
        made.net, layers, made.signals([*held, Stretch(silent, silent - 1, silent)], labels(), 0), strict=False
    ):
        layer.beta = torch.zeros((), dtype=DOUBLE)  # P is filtered already
        sums = Accumulator(layer, False, 0.0, False)
        sums.add(trace["P"].detach(), psi, heard, last=True)
        weight, offset = sums.gradients()
        found.append((weight / SAMPLES, offset / SAMPLES))
    return found


@pytest.mark.parametrize("scale", [6.0, 12.0])
def test_d2_our_sums_of_their_traces_are_autograd_of_their_local_losses(scale: float) -> None:
    made = Decolle(network("8-7"), Options(), seed=3, dtype=DOUBLE)
    weights, offsets = drawn(scale)
    layers = Theirs().run(spikes(), weights, offsets, Tensor.detach)
    expected = torch.autograd.grad(local_loss(layers, made.readouts), [*weights, *offsets])
    for at, (weight, offset) in enumerate(closed_form(made, layers)):
        assert lively(layers[at]["S"])
        assert relative(weight, expected[at]) < 1e-12
        assert relative(offset, expected[at + 2]) < 1e-12


def test_d2_fails_when_the_refractory_trace_is_part_of_the_gradient() -> None:
    made = Decolle(network("8-7"), Options(), seed=3, dtype=DOUBLE)
    weights, offsets = drawn(6.0)
    layers = Theirs().run(spikes(), weights, offsets, lambda s: s)
    expected = torch.autograd.grad(local_loss(layers, made.readouts), weights)
    for (weight, _), want in zip(closed_form(made, layers), expected, strict=True):
        assert relative(weight, want) > 1e-2


@pytest.mark.parametrize(("arch", "layer_count"), [("8", 1), ("8-7", 2)])
def test_d2_their_network_is_ours_one_step_later_per_layer(arch: str, layer_count: int) -> None:
    """The whole rule, reset included: same spikes, and weights' gradients times (1 - a)(1 - b)."""
    made = Decolle(network(arch, alpha=0.6, gain=6.0), Options(stretch=7), seed=3, dtype=DOUBLE)
    ours, x = list(made.net)[:layer_count], spikes()
    a, b = float(ours[0].beta), float(ours[0].alpha)
    norm = (1 - a) * (1 - b)
    weights = [(layer.weight.detach() / norm).requires_grad_() for layer in ours]
    offsets = [torch.full((len(w),), -THRESHOLD, dtype=DOUBLE) for w in weights]
    for layer in ours:
        torch.nn.init.zeros_(layer.bias)
    layers = Theirs(a, b, r=a, w=THRESHOLD / (1 - a)).run(x, weights, offsets, Tensor.detach)
    expected = torch.autograd.grad(local_loss(layers, made.readouts), weights)
    for depth, (layer, want) in enumerate(zip(ours, expected, strict=True), start=1):
        stretch = x[: len(x) - depth]
        made.gradients(stretch, labels())
        for before in ours[:depth]:
            run, _ = before.run(before.drive(stretch), before.rest(SAMPLES), lambda u, threshold: (u > 0).double())
            stretch = run.spikes
        assert lively(stretch)
        assert torch.equal(stretch, layers[depth - 1]["S"][depth:])
        assert relative(layer.weight.grad, want / norm) < 1e-12
