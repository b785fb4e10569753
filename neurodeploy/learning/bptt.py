"""Backpropagation through time with a surrogate gradient: the yardstick, and the frame that fa.py and dfa.py alter.

    E = CE( softmax(g sum_t s_out(t)), label )        gradient by autograd through every step

The step function's derivative is a pseudo-derivative psi; the reset is detached, as in snnTorch. Not local in space or
time: memory grows with the number of steps, and no chip here can express it. Neftci et al. 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.ir.network import Network
from neurodeploy.learning.learner import NetLearner, NetOptions, Step
from neurodeploy.learning.net import Fire
from neurodeploy.learning.surrogates import fire


@dataclass(frozen=True)
class Options(NetOptions):
    """How BPTT and its relatives learn, by AdamW.

    Args:
        gain: g, on the spike counts before the softmax.
        clip_norm: the gradient's norm over all weights is limited to this, since it can explode through many steps;
            None: never.
    """

    gain: float = 0.5
    clip_norm: float | None = 1.0

    def claims(self) -> list[tuple[bool, str]]:
        return [
            *super().claims(),
            (self.gain > 0, f"gain is {self.gain}"),
            (self.clip_norm is None or self.clip_norm > 0, f"clip_norm is {self.clip_norm}"),
        ]


class BPTT(NetLearner):
    """Backpropagation through time on a `Net`."""

    options: Options

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, options, seed, dtype)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=options.rate, weight_decay=options.decay)

    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        self.optimizer.zero_grad()
        counts, loss = self.backward(self.noisy(inputs), labels)
        if self.options.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip_norm)
        self.optimizer.step()
        self.clip()
        correct = int((counts.argmax(1) == labels).sum())
        return Step(len(labels), loss * len(labels), correct, {})

    def backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        """Leave the gradient of the mean loss in the parameters; return the spike counts and that loss."""
        counts = self.counts(inputs)
        loss = self.loss(counts, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return counts.detach(), float(loss.detach())

    def loss(self, counts: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(self.options.gain * counts, labels)

    def counts(self, inputs: Tensor) -> Tensor:
        """Return the spike counts (sample, class) of the output, differentiable in weights and input."""
        x = inputs
        for layer in self.net:
            stretch, _ = layer.run(layer.drive(x), layer.rest(inputs.shape[1]), self.fire)
            x = stretch.spikes
        return x.sum(0)

    @property
    def fire(self) -> Fire:
        return lambda u, threshold: fire(u, threshold, self.psi)
