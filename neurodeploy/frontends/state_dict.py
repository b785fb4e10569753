"""A bare snnTorch state_dict to a `Network`, where the wiring can be guessed and the user has allowed the guess.

A state_dict names tensors and says nothing of the order of layers, of reset_delay or of anything without parameters.
For a plain chain - linear layer, neuron, linear layer, neuron - the order of its keys is the order of definition. That
is a guess all the same: ND020, a substitution.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import snntorch
import torch
from torch import Tensor, nn

from neurodeploy.errors import Change, Deviation, Finding, LoadError, UnsupportedError
from neurodeploy.frontends.recorded_snntorch import NEURONS
from neurodeploy.frontends.recording import record
from neurodeploy.ir.network import Network

CODE = "ND020"
RESET_NAMES = ("subtract", "zero", "none")


@dataclass(frozen=True, eq=False)
class Group:
    """The tensors of one module, by their names inside it."""

    name: str
    tensors: dict[str, Tensor]

    @property
    def is_neuron(self) -> bool:
        return {"threshold", "reset_mechanism_val"} <= self.tensors.keys()


def is_state_dict(content: Any) -> bool:
    """Whether `content` is a non-empty mapping of names to tensors."""
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def infer(state: Mapping[str, Tensor], *, allow: Collection[str], place: str, dt: float | None = None) -> Network:
    """Return the network of a plain chain of linear layers and snnTorch neurons, with the guess as a deviation.

    Args:
        state: as net.state_dict() gives it, in its own order.
        allow: codes of substitutions the user allows; must hold ND020.

    Raises:
        UnsupportedError: ND020 with the inferred wiring when it is not allowed.
        LoadError: ND021 when more or fewer than one plain chain fits.
    """
    chain, wiring = _chain(state, place)
    if CODE not in allow:
        raise UnsupportedError(_not_allowed(place, wiring))
    features = next(tensor.shape[1] for tensor in state.values() if tensor.dim() == 2)
    network = record(chain, torch.ones(1, features), dt)
    deviation = Deviation(CODE, place, f"wiring inferred: {wiring}", Change.SUBSTITUTION)
    return replace(network, deviations=(*network.deviations, deviation))


class Chain(nn.Module):
    """Modules under their old names, called one after the other; one call is one step."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.order = tuple(modules)
        for name, module in modules.items():
            *path, last = name.split(".")
            holder: nn.Module = self
            for part in path:
                if part not in holder._modules:
                    holder.add_module(part, nn.Module())
                holder = holder.get_submodule(part)
            holder.add_module(last, module)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


def _chain(state: Mapping[str, Tensor], place: str) -> tuple[Chain, str]:
    """Return the module that `state` fits exactly, and its wiring in words."""
    groups = _groups(state)
    problem = _ambiguity(groups)
    if problem:
        raise LoadError(_ambiguous(place, problem))
    try:
        modules, wiring = _modules(groups)
        chain = Chain(modules)
        chain.load_state_dict(dict(state), strict=True)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError(_ambiguous(place, " ".join(str(error).split())[:300])) from error
    assumed = "assumed: reset_delay=True, no further layers without parameters, input of 0 and 1"
    return chain, f"{wiring}; {assumed}"


def _modules(groups: list[Group]) -> tuple[dict[str, nn.Module], str]:
    """Return a module of the right kind and size per group, and the chain in words."""
    width = 0
    modules: dict[str, nn.Module] = {}
    words = []
    for group in groups:
        if group.is_neuron:
            modules[group.name], said = _neuron(group, width)
            words.append(said)
        else:
            weight = group.tensors["weight"]
            width = weight.shape[0]
            modules[group.name] = nn.Linear(weight.shape[1], width, bias="bias" in group.tensors)
            words.append(f"{group.name} = Linear({weight.shape[1]}, {width})")
    return modules, " -> ".join(words)


def _groups(state: Mapping[str, Tensor]) -> list[Group]:
    """Split the keys by module, in the order of their first appearance; `recurrent.*` belongs to its neuron."""
    tensors: dict[str, dict[str, Tensor]] = {}
    neurons = {key.rpartition(".")[0] for key in state if key.rpartition(".")[2] == "threshold"}
    for key, tensor in state.items():
        name, _, leaf = key.rpartition(".")
        owner, _, inner = name.rpartition(".")
        if inner == "recurrent" and owner in neurons:
            name, leaf = owner, f"recurrent.{leaf}"
        tensors.setdefault(name, {})[leaf] = tensor.detach()
    return [Group(name, found) for name, found in tensors.items()]


def _ambiguity(groups: list[Group]) -> str:
    """Say what stands against reading `groups` as one plain chain, or return ""."""
    width, previous_is_neuron = None, True
    for group in groups:
        odd = [key for key, t in group.tensors.items() if not t.is_floating_point() and key in ("weight", "bias")]
        if odd:
            return f"{group.name}.{odd[0]} holds no real numbers"
        if not group.name:
            return f"the keys {', '.join(group.tensors)} belong to no layer"
        if group.is_neuron == previous_is_neuron:
            kind = "neurons" if group.is_neuron else "layers"
            return f"{group.name} makes two {kind} in a row, so which layer feeds which neuron is open"
        previous_is_neuron = group.is_neuron
        if group.is_neuron:
            kernel = group.tensors.get("recurrent.weight")
            if kernel is not None and kernel.dim() != 2:
                return f"{group.name} is recurrent through a kernel of shape {tuple(kernel.shape)}"
            continue
        weight = group.tensors.get("weight")
        if weight is None or weight.dim() != 2 or not group.tensors.keys() <= {"weight", "bias"}:
            shapes = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in group.tensors.items())
            return f"{group.name} ({shapes}) is no linear layer, and its geometry is not in the file"
        if width is not None and weight.shape[1] != width:
            return f"{group.name} takes {weight.shape[1]} values, but the layer before gives {width}"
        width = weight.shape[0]
    return "" if previous_is_neuron and groups else "the last layer feeds no neuron"


def _neuron(group: Group, width: int) -> tuple[nn.Module, str]:
    """Return the snnTorch neuron whose parameters `group` holds; its kind is told by their names."""
    found = group.tensors
    code = int(found["reset_mechanism_val"])
    if code not in range(len(RESET_NAMES)):
        raise ValueError(f"{group.name}.reset_mechanism_val is {code}")
    reset = RESET_NAMES[code]
    recurrent = any(key.startswith("recurrent.") for key in found) or "V" in found
    settings: dict[str, Any] = {"beta": found.get("beta", torch.tensor(0.5)), "reset_mechanism": reset}
    settings["threshold"] = found["threshold"]
    settings["init_hidden"] = True
    if "alpha" in found:
        settings["alpha"] = found["alpha"]
    if "recurrent.weight" in found:
        settings["linear_features"] = width
    elif recurrent:
        settings |= {"all_to_all": False, "V": found.get("V", torch.tensor(1.0))}
        settings["learn_recurrent"] = "recurrent.V" in found
    if {"R", "C", "time_step"} <= found.keys():
        kind: type[nn.Module] = snntorch.Lapicque
        settings["beta"] = 0.5
    elif recurrent:
        kind = snntorch.RSynaptic if "alpha" in found else snntorch.RLeaky
    else:
        kind = snntorch.Synaptic if "alpha" in found else snntorch.Leaky
    assert kind in NEURONS
    module = kind(**settings)
    if kind is snntorch.Lapicque:
        for key in ("beta", "R", "C", "time_step"):
            setattr(module, key, found[key].clone())
    return module, f"{group.name} = {kind.__name__}({width} neurons, reset {reset})"


def _not_allowed(place: str, wiring: str) -> Finding:
    return Finding(
        CODE,
        place,
        f"a bare state_dict does not say how its layers are wired; they look like {wiring}",
        "order, reset_delay and layers without parameters are not in the file, so this is a guess",
        "if the guess is right, allow it (--allow ND020); better, write the file with neurodeploy.save(net, path, "
        "example_input=...), or name the class: neurodeploy compile net.py:Net --weights FILE",
    )


def _ambiguous(place: str, problem: str) -> Finding:
    return Finding(
        "ND021",
        place,
        f"the wiring cannot be inferred from the state_dict: {problem}",
        "only a plain chain of linear layers, each followed by an snnTorch neuron, shows in the names alone",
        "write the file with neurodeploy.save(net, path, example_input=...), or name the class: "
        "neurodeploy compile net.py:Net --weights FILE",
    )
