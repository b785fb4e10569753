"""What every rule is to the training loop: something that takes a batch, learns, and can be asked for its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

from neurodeploy.ir.network import Network


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

    def epoch_begins(self, epoch: int) -> None:  # noqa: B027 (most rules have nothing to do here)
        """Hear that pass `epoch` over the data begins."""


def cosine(fraction: float) -> float:
    """Return the factor of a cosine schedule: 1 at the beginning, 0 at the end."""
    return 0.5 * (1 + cos(pi * min(max(fraction, 0.0), 1.0)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def generator(seed: int) -> torch.Generator:
    """Return a source of random numbers for the device that new tensors are made on."""
    return torch.Generator(torch.get_default_device()).manual_seed(seed)
