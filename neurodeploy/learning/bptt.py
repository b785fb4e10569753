"""Backpropagation through time with a surrogate gradient: the yardstick, and the frame that fa.py and dfa.py alter.

    E = CE( softmax(g sum_t s_out(t)), label )        gradient by autograd through every step

The step function's derivative is a pseudo-derivative psi; the reset is detached, as in snnTorch. Not local in space or
time: memory grows with the number of steps, and no chip here can express it. Neftci et al. 2019.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.ir.network import Network
from neurodeploy.learning.learner import Learner, Step, cosine, generator, set_rate
from neurodeploy.learning.net import Fire, Net
from neurodeploy.learning.surrogates import SURROGATES, fire


@dataclass(frozen=True)
class Options:
    """How BPTT and its relatives learn.

    Args:
        rate: peak of Adam's learning rate, on a cosine schedule.
        surrogate: name of the pseudo-derivative.
        gain: g, on the spike counts before the softmax.
        decay: AdamW's decoupled weight decay.
        limit: weights are clipped to [-limit, limit] after every update, which keeps 8 bits fine; None: never.
        noise: standard deviation of the Gaussian noise added to real-valued input in training.
        clip: the gradient's norm over all weights is limited to this, since it can explode through many steps; None:
            never.
    """

    CHOICES: ClassVar[dict[str, Collection[str]]] = {"surrogate": SURROGATES}

    rate: float = 2e-3
    surrogate: str = "arctan"
    gain: float = 0.5
    decay: float = 0.0
    limit: float | None = None
    noise: float = 0.0
    clip: float | None = 1.0


class BPTT(Learner):
    """Backpropagation through time on a `Net`."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.net, self.options, self.dtype = Net(network, dtype), options, dtype
        self.random = generator(seed)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=options.rate, weight_decay=options.decay)

    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        self.optimizer.zero_grad()
        counts, loss = self.backward(self._noisy(inputs), labels)
        if self.options.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip)
        self.optimizer.step()
        if self.options.limit is not None:
            with torch.no_grad():
                for parameter in self.net.parameters():
                    parameter.clamp_(-self.options.limit, self.options.limit)
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
        psi = SURROGATES[self.options.surrogate]
        return lambda u, threshold: fire(u, threshold, psi)

    def _noisy(self, inputs: Tensor) -> Tensor:
        if not self.options.noise:
            return inputs
        noise = torch.randn(inputs.shape[1:], generator=self.random, dtype=inputs.dtype)
        return inputs + self.options.noise * noise

    def network(self) -> Network:
        return self.net.network()

    def schedule(self, fraction: float) -> None:
        set_rate(self.optimizer, self.options.rate * cosine(fraction))

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
