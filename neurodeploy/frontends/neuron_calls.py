"""What every framework's neurons are to a recording: how they are called, what they remember, what they compute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding
from neurodeploy.ir.nodes import LIF, Linear, Shape, SparseLinear


@dataclass(eq=False)
class NeuronCall:
    """One step of a neuron: the shadows of its current and of the states it starts from (None: not followed, zero)."""

    name: str
    step: int
    current: Tensor
    states: dict[str, Tensor | None]
    nonzero: tuple[str, ...]
    dtype: torch.dtype
    shape: tuple[int, ...]
    place: str


@dataclass(frozen=True, eq=False)
class NeuronNodes:
    """What one neuron becomes: its LIF, the node of its own recurrence, or what stands against it."""

    lif: LIF | None = None
    recurrent: Linear | SparseLinear | None = None
    findings: tuple[Finding, ...] = ()


class Framework(ABC):
    """How the neurons of one package are called, and what they compute.

    Args:
        neurons: the classes that are read exactly; a subclass may compute anything.
    """

    neurons: tuple[type[nn.Module], ...]

    @abstractmethod
    def states(self, module: nn.Module) -> tuple[str, ...]:
        """Return the names of what `module` remembers, its membrane last; spikes it feeds back are called "spk"."""

    @abstractmethod
    def empty(self, module: nn.Module) -> None:
        """Let `module` forget its hidden states, as its package does before the first step."""

    @abstractmethod
    def received(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the current of a call and the states it starts from, as far as they are tensors already."""

    @abstractmethod
    def rest(self, module: nn.Module, state: str) -> Tensor | float:
        """Return the value of a state before the first step."""

    @abstractmethod
    def returned(self, module: nn.Module, result: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the spikes of a call and the states it leaves, its membrane last."""

    @abstractmethod
    def steps(self, module: nn.Module, shadow: Tensor) -> list[Tensor]:
        """Take what a call reads or returns apart into steps, each (sample, *neuron)."""

    @abstractmethod
    def joined(self, module: nn.Module, steps: list[Tensor]) -> Tensor:
        """Put steps together as a call returns them."""

    @abstractmethod
    def nodes(self, module: nn.Module, call: NeuronCall, place: str) -> NeuronNodes:
        """Return the LIF with exactly the equation of `module`, or what stands against it."""


def per_neuron(tensor: Tensor, shape: Shape, dtype: torch.dtype) -> np.ndarray | None:
    """Return a parameter as float64 () or `shape`, or None when it does not broadcast; `dtype` is the membrane's.

    PyTorch rounds a scalar to the dtype of the tensor it meets; an array keeps its own.
    """
    if tensor.numel() == 1:
        return np.array(tensor.to(dtype).double().item())
    while tensor.dim() > len(shape) and tensor.shape[0] == 1:
        tensor = tensor[0]
    try:
        return np.broadcast_to(tensor.double().numpy(), shape).copy()
    except ValueError:
        return None


def spread(tensors: dict[str, Tensor], call: NeuronCall, place: str, findings: list[Finding]) -> dict[str, np.ndarray]:
    """Return every parameter per neuron, and add a finding for each that does not broadcast."""
    shape, parameters = tuple(call.shape[1:]), {}
    for key, tensor in tensors.items():
        array = per_neuron(tensor.detach(), shape, call.dtype)
        if array is None:
            why = f"it does not broadcast to the neurons' shape {shape} for every sample alike"
            fix = "give one value, or one per neuron"
            findings.append(setting(place, f"{key} of shape {tuple(tensor.shape)}", why, fix))
        else:
            parameters[key] = array
    return parameters


def unfit_call(call: NeuronCall, place: str) -> Iterator[Finding]:
    """Say what stands against the shape or the type of a neuron's current."""
    if len(call.shape) < 2:
        yield setting(place, f"its current has shape {call.shape}", "an axis is missing", "use (batch, *neuron)")
    if call.dtype not in (torch.float32, torch.float64):
        why = "its rounding at every step is part of what it computes"
        yield setting(place, f"membranes of {call.dtype}", why, "call net.float() first")


def steps_at(fires: Callable[[Tensor], Tensor], at_zero: float) -> bool:
    """Whether `fires` computes [x > 0], or [x >= 0] if `at_zero` is 1, probed on a grid."""
    probe = torch.cat([torch.linspace(-4, 4, 2001), torch.tensor([0.0, -0.0, 1e-7, -1e-7, 1e-30, -1e-30, 1e4, -1e4])])
    expected = torch.where(probe == 0, at_zero, (probe > 0).float())
    return torch.equal(fires(probe.clone()).float(), expected)


def setting(place: str, what: str, why: str, fix: str) -> Finding:
    return Finding("ND023", place, what, why, fix)
