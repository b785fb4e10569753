"""The engine's real-number equations are snnTorch's, spike for spike, on random networks of every kind.

Weights, inputs and decays are dyadic and runs are short, so neither float32 nor float64 ever rounds: equality is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from neurodeploy.engine.real import run_real
from neurodeploy.frontends.recording import record
from neurodeploy.lowering import lower

STEPS = 6
KINDS = ("Leaky", "Synaptic", "RLeaky", "RLeaky one to one", "RSynaptic", "Lapicque")


def dyadic(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(-24, 40, shape) / 16).float()


def neuron(rng: np.random.Generator, kind: str, shape: tuple[int, ...], reset: str, delay: bool) -> nn.Module:
    """Return a snnTorch neuron of `kind` with dyadic parameters, per neuron where the kind allows it."""
    common = {"reset_mechanism": reset, "reset_delay": delay, "threshold": float(rng.choice([0.5, 1.0, 1.5]))}
    beta = float(rng.choice([0.0, 0.25, 0.5, 1.0]))
    alpha = float(rng.choice([0.25, 0.5]))
    if rng.random() < 0.4:
        beta = torch.from_numpy(rng.choice([0.25, 0.5], shape)).float()
    match kind:
        case "Leaky":
            return snn.Leaky(beta=beta, **common)
        case "Synaptic":
            return snn.Synaptic(alpha=alpha, beta=beta, **common)
        case "Lapicque":
            return snn.Lapicque(R=2.0, C=1.0, time_step=1, threshold=common["threshold"], reset_mechanism=reset)
        case "RLeaky one to one":
            return snn.RLeaky(beta=0.5, V=float(rng.choice([-0.5, 0.25])), all_to_all=False, **common)
    size = prod(shape)
    if kind == "RLeaky":
        layer = snn.RLeaky(beta=beta, linear_features=size, **common)
    else:
        layer = snn.RSynaptic(alpha=alpha, beta=beta, linear_features=size, **common)
    with torch.no_grad():
        layer.recurrent.weight.copy_(dyadic(rng, size, size) / 4)
        layer.recurrent.bias.copy_(dyadic(rng, size) / 4)
    return layer


def combinations() -> Iterator[tuple[str, str, bool, bool]]:
    """Yield every (kind, reset, reset_delay, convolutional) that snnTorch 1.0.0 can compute."""
    for kind, reset, delay, convolutional in product(KINDS, ("subtract", "zero", "none"), (True, False), (False, True)):
        raises_itself = kind == "RSynaptic" and not delay
        has_no_such_option = kind == "Lapicque" and not delay
        recurs_over_a_flat_layer = kind in ("RLeaky", "RSynaptic") and convolutional
        if not (raises_itself or has_no_such_option or recurs_over_a_flat_layer):
            yield kind, reset, delay, convolutional


class Net(nn.Module):
    """A dense or convolutional layer into the neuron under test, a dense layer into a Leaky read-out."""

    def __init__(self, rng: np.random.Generator, kind: str, reset: str, delay: bool, convolutional: bool) -> None:
        super().__init__()
        self.image = (2, 6, 5) if convolutional else (int(rng.integers(3, 12)),)
        if convolutional:
            self.map: nn.Module = nn.Conv2d(2, 3, (2, 3), stride=(1, 2), padding=(1, 0))
            shape = (3, 7, 2)
        else:
            shape = (int(rng.integers(2, 10)),)
            self.map = nn.Linear(self.image[0], shape[0])
        self.neuron = neuron(rng, kind, shape, reset, delay)
        self.read = nn.Linear(prod(shape), 4)
        self.out = snn.Leaky(beta=0.5)
        with torch.no_grad():
            for layer in (self.map, self.read):
                for parameter in (layer.weight, layer.bias):
                    parameter.copy_(dyadic(rng, *parameter.shape) / 2)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.neuron.reset_mem()
        state = state if isinstance(state, tuple) else (state,)
        mem = self.out.reset_mem()
        answers = []
        self.seen = []
        for step in range(x.shape[0]):
            hidden, *state = self.neuron(self.map(x[step]), *state)
            if isinstance(self.neuron, snn.RLeaky | snn.RSynaptic):
                state = [hidden, *state]
            self.seen.append(hidden)
            spikes, mem = self.out(self.read(hidden.flatten(1)), mem)
            answers.append(spikes)
        return torch.stack(answers)


@pytest.mark.parametrize(("kind", "reset", "delay", "convolutional"), list(combinations()))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_every_neuron_kind(kind: str, reset: str, delay: bool, convolutional: bool, seed: int) -> None:
    """Recorded, and recorded and lowered: both fire exactly when snnTorch does."""
    rng = np.random.default_rng(seed)
    net = Net(rng, kind, reset, delay, convolutional).eval()
    x = torch.from_numpy(rng.random((STEPS, 3, *net.image)) < 0.3).float()
    with torch.no_grad():
        expected = net(x).numpy()
        hidden = torch.stack(net.seen).numpy()
    assume(0 < hidden.mean() < 1)
    network = record(net, x)
    inputs = x.numpy().astype(np.uint8)
    name = next(iter(network.populations))
    for form in (network, lower(network)):
        result, _ = run_real(form, inputs)
        np.testing.assert_array_equal(result.spikes[name], hidden.reshape(result.spikes[name].shape))
        np.testing.assert_array_equal(result.spikes[network.output], expected)
