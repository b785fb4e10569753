"""What every rule is to the training loop: something that takes a batch, learns, and can be asked for its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from math import cos, pi
from typing import Any, ClassVar

import torch
from torch import Tensor

from neurodeploy.errors import Finding, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind
from neurodeploy.learning.net import Net
from neurodeploy.learning.surrogates import SURROGATES


@dataclass(frozen=True)
class Step:
    """What one update saw: the summed loss and the correct decisions of its samples, before it changed anything.

    `measures` are further numbers a rule reports, averaged over an epoch: firing rates, saturated fractions.
    """

    samples: int
    loss: float
    correct: int
    measures: dict[str, float]


class Learner(ABC):
    """One rule at work on one network."""

    @abstractmethod
    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        """Update the weights once.

        Args:
            inputs: (step, sample, *input shape), in the learner's dtype.
            labels: (sample,) int64.
        """

    @abstractmethod
    def network(self) -> Network:
        """Return the network with the weights as they stand."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs to go on as if nothing had happened: tensors and plain values."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""

    @abstractmethod
    def schedule(self, fraction: float) -> None:
        """Set the learning rate for a run of which `fraction` in [0, 1] is over."""

    def appraise(self, inputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return what the rule has to say of itself at the end, on a batch as `learn` takes it; most say nothing."""
        return {}

    def epoch_begins(self, epoch: int) -> None:  # noqa: B027 (most rules have nothing to do here)
        """Hear that pass `epoch` over the data begins."""


@dataclass(frozen=True)
class NetOptions:
    """What every rule that updates a `Net` by an optimizer can be told.

    Args:
        rate: peak learning rate, on a cosine schedule.
        surrogate: name of the pseudo-derivative psi.
        decay: weight decay of the optimizer.
        limit: weights are clipped to [-limit, limit] after every update, which keeps 8 bits fine; None: never.
        noise: standard deviation of the Gaussian noise added to input of real values in training.
    """

    CHOICES: ClassVar[dict[str, Collection[str]]] = {"surrogate": SURROGATES}

    rate: float = 2e-3
    surrogate: str = "arctan"
    decay: float = 0.0
    limit: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        wrong = [what for holds, what in self.claims() if not holds]
        if wrong:
            why, fix = "no learning rule can work with that", "see the Options in the rule's file"
            raise UsageError(*(Finding("ND075", "--option", what, why, fix) for what in wrong))

    def claims(self) -> list[tuple[bool, str]]:
        """Return what must hold of the options, each with what is wrong if it does not."""
        return [
            (self.rate > 0, f"rate is {self.rate}"),
            (self.decay >= 0, f"decay is {self.decay}"),
            (self.limit is None or self.limit > 0, f"limit is {self.limit}"),
            (self.noise >= 0, f"noise is {self.noise}"),
        ]


class NetLearner(Learner):
    """A rule that leaves gradients in the parameters of a `Net` and lets an optimizer take them."""

    optimizer: torch.optim.Optimizer

    def __init__(self, network: Network, options: NetOptions, seed: int, dtype: torch.dtype) -> None:
        self.net, self.options, self.dtype = Net(network, dtype), options, dtype
        self.psi = SURROGATES[options.surrogate]
        self.random = generator(seed)
        self.noise = options.noise if network.input_node.kind is InputKind.GRADED else 0.0

    def noisy(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with the same noise at every step of a sample; spikes stay spikes."""
        if not self.noise:
            return inputs
        noise = torch.randn(inputs.shape[1:], generator=self.random, dtype=inputs.dtype)
        return inputs + self.noise * noise

    @torch.no_grad()
    def clip(self, *others: Tensor) -> None:
        """Keep weights, and `others`, within the limit, if there is one."""
        if self.options.limit is not None:
            for parameter in (*self.net.parameters(), *others):
                parameter.clamp_(-self.options.limit, self.options.limit)

    def network(self) -> Network:
        return self.net.network()

    def schedule(self, fraction: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate * cosine(fraction)

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


def cosine(fraction: float) -> float:
    """Return the factor of a cosine schedule: 1 at the beginning, 0 at the end."""
    return 0.5 * (1 + cos(pi * min(max(fraction, 0.0), 1.0)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def generator(seed: int) -> torch.Generator:
    """Return a source of random numbers for the device that new tensors are made on."""
    return torch.Generator(torch.get_default_device()).manual_seed(seed)
