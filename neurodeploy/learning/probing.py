"""A trained network as attacks and measures want it: plain functions of NumPy arrays, whatever PyTorch does inside.

Decisions and layer activity are those of `frontends.source`; derivatives are those of BPTT through a surrogate, for a
loss read from spike counts, because a spiking network has no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Network
from neurodeploy.learning.net import Layer, Net, weighted_map
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
        net, x = Net(self.network), torch.tensor(inputs, dtype=torch.float32)
        heard, drives, seen = [], [], []
        for layer in net:
            ready = layer.ready(x.flatten(0, 1))
            heard.append(ready.detach().reshape(*x.shape[:2], *ready.shape[1:]))
            drives.append(layer.injected(ready).reshape(*x.shape[:2], *layer.shape))
            x, before = self._fired(layer, drives[-1])
            seen.append(before.detach())
        q = torch.tensor(targets, dtype=torch.float32)
        loss = -(q * self._scores(x).log_softmax(1)).sum()
        slopes = torch.autograd.grad(loss, drives)
        found: dict[str, np.ndarray] = {}
        for layer, ready, slope, before in zip(net, heard, slopes, seen, strict=True):
            found[f"{layer.map}.weight"] = _each(layer.weight, layer.injected, ready, slope)
            if layer.recurrent is not None and layer.recurrent_node is not None:
                loop = partial(weighted_map, layer.recurrent_node, weight=layer.recurrent, bias=layer.recurrent_bias)
                found[f"{layer.name}.recurrent"] = _each(layer.recurrent, loop, before, slope)
        return found

    def _logits(self, net: Net, x: Tensor) -> Tensor:
        for layer in net:
            x, _ = self._fired(layer, layer.drive(x))
        return self._scores(x)

    def _fired(self, layer: Layer, drive: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a layer fires in all steps, and what its recurrence saw in each."""
        psi = SURROGATES[self.surrogate]
        stretch, _ = layer.run(drive, layer.rest(drive.shape[1]), lambda u, threshold: fire(u, threshold, psi))
        return stretch.spikes, stretch.before

    def _scores(self, spikes: Tensor) -> Tensor:
        return self.gain * spikes.sum(0).flatten(1)

    @staticmethod
    def _parts(samples: int) -> Iterator[slice]:
        for first in range(0, samples, BATCH):
            yield slice(first, first + BATCH)


def _each(weight: Tensor, injected: Callable[[Tensor], Tensor], heard: Tensor, slope: Tensor) -> np.ndarray:
    """Return each sample's own derivative by `weight`, (sample, *weight), given that by the current it injects.

    Args:
        heard: what the weighted map reads, (step, sample, ...); slope: by the current, (step, sample, *neuron).
    """
    found = []
    for sample in range(heard.shape[1]):
        current = injected(heard[:, sample])
        (gradient,) = torch.autograd.grad(current, weight, slope[:, sample].reshape(current.shape))
        found.append(gradient.numpy())
    return np.stack(found)
