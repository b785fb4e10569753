"""What a module may not change while it runs: its weights, and the parameters of its neurons.

A recording holds one value of each. A forward pass that writes to them (an adaptive threshold made by hand, weights
that decay) computes something else at every step, so it is refused rather than recorded as of its last step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.frontends.frameworks import framework_of

Key = tuple[str, str]
"""A module's path and the name of what it computes with."""
SETTINGS = (
    *("threshold", "beta", "alpha", "V", "R", "C", "time_step", "reset_delay", "reset_mechanism", "inhibition"),
    *("v_threshold", "v_reset", "tau", "decay_input", "p", "dt", "norm_input", "spike_fn", "reset_fn"),
)
"""What a neuron computes with, whether it is a parameter, a buffer or a plain attribute."""


def content(value: Any) -> Any:
    """Return something that compares equal exactly when the contents do, NaN included."""
    if isinstance(value, tuple):
        return tuple(content(item) for item in value)
    if not isinstance(value, Tensor):
        return value
    flat = value.detach().cpu().contiguous().reshape(-1)
    return value.dtype, tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()


def of_neuron(module: nn.Module, states: tuple[str, ...]) -> dict[str, Any]:
    """Return the contents of everything a neuron computes with; `states` are the names of what it remembers."""
    tensors = {name: t for name, t in (*module.named_parameters(), *module.named_buffers()) if name not in states}
    plain = {name: getattr(module, name) for name in SETTINGS if hasattr(module, name)}
    return {name: content(value) for name, value in (plain | tensors).items() if not isinstance(value, nn.Module)}


def of_net(net: nn.Module) -> dict[Key, Any]:
    """Return the contents of every parameter, of the buffers of PyTorch's layers, and of every neuron's settings."""
    contents: dict[Key, Any] = {}
    for path, module in net.named_modules():
        framework = framework_of(module)
        if framework is not None:
            contents |= {(path, name): value for name, value in of_neuron(module, framework.states(module)).items()}
            continue
        own: dict[str, Any] = dict(module.named_parameters(recurse=False))
        if type(module).__module__.startswith("torch.nn"):
            own |= dict(module.named_buffers(recurse=False))
        contents |= {(path, name): content(tensor) for name, tensor in own.items()}
    return contents


def changed(before: dict[Key, Any], after: dict[Key, Any]) -> set[Key]:
    """Return what is not what it was."""
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
