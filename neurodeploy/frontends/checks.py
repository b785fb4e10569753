"""Hold a `Network` to its own types: shapes that meet, arrays of the right size, finite numbers."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from math import prod
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Firing,
    Input,
    InputKind,
    Linear,
    MaxPool,
    Node,
    Reset,
    Reshape,
    Scale,
    SparseLinear,
)


def contradictions(network: Network) -> list[Finding]:
    """Return a finding (ND025 or ND027) for everything in `network` that cannot be."""
    findings: list[Finding] = []
    for name, node in network.nodes.items():
        place = network.place(name)
        for key in _not_finite(node):
            what, why = f"{key} holds NaN or infinity", "no arithmetic goes on from there"
            findings.append(Finding("ND025", place, what, why, "retrain or repair the weights"))
        if not _consistent(node):
            findings.append(_contradiction(place, "its arrays do not fit its own shapes"))
            continue
        for edge in network.incoming(name):
            given, expected = prod(network.nodes[edge.source].shape), input_size(node)
            if given != expected:
                findings.append(_contradiction(place, f"it reads {expected} values, {edge.source} has {given}"))
        if not isinstance(node, Input) and not network.incoming(name):
            findings.append(_contradiction(place, "nothing feeds it"))
    findings += [
        _contradiction(f"{edge.source} -> {edge.target}", f"its delay is {edge.delay_steps!r}")
        for edge in network.edges
        if edge.delay_steps not in (0, 1)
    ]
    if not (network.dt_s is None or (isinstance(network.dt_s, float) and network.dt_s > 0)):
        findings.append(_contradiction("dt", f"a step lasts {network.dt_s!r} s"))
    if not isinstance(network.nodes[network.input], Input):
        findings.append(_contradiction(network.input, "the input is not an Input node"))
    if not isinstance(network.nodes[network.output], LIF):
        findings.append(_contradiction(network.output, "the output is not a population"))
    return findings


def input_size(node: Node) -> int:
    """Return how many values `node` reads."""
    match node:
        case Linear(weight):
            return int(weight.shape[1])
        case SparseLinear() | Conv() | AveragePool() | MaxPool() | Reshape():
            return prod(node.input_shape)
    return prod(node.shape)


def _consistent(node: object) -> bool:
    match node:
        case Linear(weight, bias):
            return weight.ndim == 2 and (bias is None or bias.shape == weight.shape[:1])
        case SparseLinear(data, indices, indptr, input_shape, shape, bias):
            rows = prod(shape)
            fits = indptr.shape == (rows + 1,) and data.shape == indices.shape == (int(indptr[-1]),)
            ordered = bool(indptr[0] == 0 and np.all(np.diff(indptr) >= 0))
            inside = indices.size == 0 or (indices.min() >= 0 and indices.max() < prod(input_shape))
            return bool(fits and ordered and inside and (bias is None or bias.size == rows))
        case Conv(weight, input_shape, stride, padding, dilation, groups, bias):
            space = len(input_shape) - 1
            fits = weight.ndim == space + 2 and len(stride) == len(padding) == len(dilation) == space
            channels = fits and weight.shape[1] * groups == input_shape[0] and weight.shape[0] % groups == 0
            return bool(channels and (bias is None or bias.shape == weight.shape[:1]) and min(node.shape) > 0)
        case AveragePool() | MaxPool():
            space = len(node.input_shape) - 1
            return len(node.kernel) == len(node.stride) == len(node.padding) == space and min(node.shape) > 0
        case Reshape(input_shape, shape):
            return prod(input_shape) == prod(shape)
        case Scale(weight, bias, shape):
            return weight.shape == bias.shape == shape[:1]
        case LIF():
            return _consistent_neurons(node)
        case Input(shape, kind, low, high):
            return isinstance(kind, InputKind) and low <= high and all(isinstance(n, int) and n > 0 for n in shape)
    return False


def _consistent_neurons(node: LIF) -> bool:
    arrays = (node.beta, node.threshold, node.alpha, node.gain, node.floor, node.bias)
    single = node.firing is Firing.ABOVE or (node.adaptation is None and node.reset is not Reset.SUBTRACT)
    countable = node.firing is not Firing.MULTIPLE or bool(np.all(node.threshold > 0))
    sunk = node.floor is None or not np.any(node.floor > 0)
    kept = not node.firing.says_value or (node.reset is Reset.NONE and node.floor is None)
    counted = not node.firing.tells_changes or (node.grid is not None and node.payload is not None)
    whole = node.payload is None or node.payload > 0
    named = isinstance(node.reset, Reset) and isinstance(node.firing, Firing)
    sized = all(array is None or array.shape in ((), node.shape) for array in arrays)
    return named and sized and single and countable and sunk and kept and counted and whole


def _not_finite(node: Any) -> list[str]:
    if not is_dataclass(node):
        return []
    contents = {field.name: getattr(node, field.name) for field in fields(node)}
    return [key for key, value in contents.items() if isinstance(value, np.ndarray) and not np.isfinite(value).all()]


def _contradiction(place: str, what: str) -> Finding:
    why = "the parts of a network must fit each other"
    return Finding("ND027", place, what, why, "record the module again with neurodeploy.save")


def with_dt(network: Network, dt: float | None, model: str) -> Network:
    """Return `network` with the step the user states.

    Raises:
        UsageError: ND028 when that is no time, or the model states another.
    """
    if dt is None or dt == network.dt_s:
        return network
    if network.dt_s is not None:
        what = f"dt is {dt!r} s, but the model was saved with {network.dt_s!r} s"
        raise UsageError(Finding("ND028", model, what, "a step has one duration", "leave dt out, or save it anew"))
    if not (isinstance(dt, int | float) and 0 < dt < float("inf")):
        raise UsageError(Finding("ND028", model, f"dt is {dt!r}", "a step lasts a positive time", "change dt"))
    return replace(network, dt_s=float(dt))
