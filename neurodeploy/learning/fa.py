"""Feedback alignment: the error goes back through fixed random matrices instead of the transposed weights.

    BPTT  dE/ds_l(t) = W_{l+1}^T dE/di_{l+1}(t)          FA  dE/ds_l(t) = B_{l+1}^T dE/di_{l+1}(t)

Everything else is BPTT's: the recursion through time (leak, current, own recurrence) is kept, only the way between
layers changes. B has the weights' shape and initial distribution; with B = W it is BPTT. Lillicrap et al. 2016.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurodeploy.ir.network import Network
from neurodeploy.learning.bptt import BPTT, Options
from neurodeploy.learning.net import Layer


class FA(BPTT):
    """Feedback alignment on a `Net`; `feedback` holds B per layer above the first."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, options, seed, dtype)
        self.feedback = {layer.name: feedback_like(layer.weight, self.random) for layer in list(self.net)[1:]}

    def counts(self, inputs: Tensor) -> Tensor:
        x = inputs
        for layer in self.net:
            drive = self._drive(layer, x) if layer.name in self.feedback else layer.drive(x)
            stretch, _ = layer.run(drive, layer.rest(inputs.shape[1]), self.fire)
            x = stretch.spikes
        return x.sum(0)

    def _drive(self, layer: Layer, x: Tensor) -> Tensor:
        """Return the layer's drive, whose derivative in x is that of B x."""
        ready = layer.ready(x.flatten(0, 1))
        y = layer.mapped(ready.detach(), layer.weight, layer.bias)
        y = y + _OnlyGradient.apply(layer.mapped(ready, self.feedback[layer.name], None))
        y = y if layer.gain is None else y * layer.gain
        return y.reshape(*x.shape[:2], *layer.shape)

    def state(self) -> dict[str, Any]:
        return super().state() | {"feedback": self.feedback}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.feedback = state["feedback"]


def feedback_like(weight: Tensor, random: torch.Generator) -> Tensor:
    """Return uniform random numbers of the shape and spread of `weight`."""
    reach = 3**0.5 * weight.detach().std()
    return (2 * torch.rand(weight.shape, generator=random, dtype=weight.dtype) - 1) * reach


class _OnlyGradient(torch.autograd.Function):
    """Zero, with the identity's gradient."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        return torch.zeros_like(x)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient
