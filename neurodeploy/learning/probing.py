"""A trained network as attacks and measures want it: plain functions of NumPy arrays, whatever PyTorch does inside.

Decisions and layer activity are those of `frontends.source`; derivatives are those of BPTT through a surrogate, for a
loss read from spike counts, because a spiking network has no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Network
from neurodeploy.learning.net import Net
from neurodeploy.learning.surrogates import SURROGATES, fire

BATCH = 100
"""Samples that are taken together, to bound memory; every result is each sample's own."""


@dataclass(frozen=True)
class Probe:
    """Functions of one network.

    Args:
        surrogate: pseudo-derivative of the step function.
        gain: factor on spike counts before the softmax.
    """

    network: Network
    surrogate: str = "arctan"
    gain: float = 0.5

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the class (sample,) int64 of inputs (step, sample, *neuron)."""
        return run_source(self.network, inputs).predictions

    def activity(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the spikes (step, sample, *neuron) of every population."""
        return run_source(self.network, inputs).spikes

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Return p(class | steps given), float64 (sample, class): the softmax of gain times spike counts."""
        with torch.no_grad():
            return (
                self._logits(Net(self.network), torch.tensor(inputs, dtype=torch.float32)).softmax(1).double().numpy()
            )

    def loss(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the cross-entropy (sample,) float64."""
        p = self.probabilities(inputs)
        return -np.log(np.maximum(p[np.arange(len(labels)), labels], np.finfo(np.float32).tiny))

    def gradient(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the derivative of each sample's own loss in its input, of the inputs' shape."""
        net, parts = Net(self.network), []
        for part in self._parts(len(labels)):
            x = torch.tensor(inputs[:, part], dtype=torch.float32, requires_grad=True)
            target = torch.tensor(labels[part])
            functional.cross_entropy(self._logits(net, x), target, reduction="sum").backward()  # type: ignore[no-untyped-call]
            assert x.grad is not None
            parts.append(x.grad.numpy())
        return np.concatenate(parts, axis=1)

    def weight_gradients(self, inputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Return each sample's own derivative of -sum_c q_c log p_c by weight tensor, (sample, *weight).

        Names are MAP.weight, POPULATION.recurrent. targets: q, float (sample, class).
        """
        net = Net(self.network)
        named = {f"{layer.map}.weight": layer.weight for layer in net}
        named |= {f"{layer.name}.recurrent": layer.recurrent for layer in net if layer.recurrent is not None}
        found: dict[str, list[np.ndarray]] = {name: [] for name in named}
        for sample in range(inputs.shape[1]):
            x = torch.tensor(inputs[:, sample : sample + 1], dtype=torch.float32)
            q = torch.tensor(targets[sample : sample + 1], dtype=torch.float32)
            loss = -(q * self._logits(net, x).log_softmax(1)).sum()
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
            for (name, weight), gradient in zip(named.items(), gradients, strict=True):
                found[name].append((torch.zeros_like(weight) if gradient is None else gradient).numpy())
        return {name: np.stack(values) for name, values in found.items()}

    def _logits(self, net: Net, x: Tensor) -> Tensor:
        psi = SURROGATES[self.surrogate]
        samples = x.shape[1]
        for layer in net:
            stretch, _ = layer.run(layer.drive(x), layer.rest(samples), lambda u, threshold: fire(u, threshold, psi))
            x = stretch.spikes
        return self.gain * x.sum(0).flatten(1)

    @staticmethod
    def _parts(samples: int) -> Iterator[slice]:
        for first in range(0, samples, BATCH):
            yield slice(first, first + BATCH)
