"""Dataclasses of the intermediate languages to plain JSON values plus named arrays, and back; no pickle anywhere."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from neurodeploy.errors import Change, Deviation, Finding, LoadError
from neurodeploy.ir import additive, episodic, network, nodes, onchip, paired, phased, plasticity, program

TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Change, Deviation, network.Edge, network.Network, network.Readout, nodes.Adaptation, nodes.AveragePool,
        nodes.Conv, nodes.Firing, nodes.Input, nodes.InputKind, nodes.LIF, nodes.Linear, nodes.MaxPool, nodes.Reset,
        nodes.Reshape, nodes.Scale, nodes.SparseLinear, program.Cell, program.ConvSynapses, program.DenseSynapses,
        program.InputPort, program.Neuron, program.Population, program.Program, program.Projection,
        program.SparseSynapses,
        additive.AdditivePopulation, additive.AdditiveProgram, additive.PairRule, episodic.EpisodicProgram,
        onchip.IntegerFactor, onchip.IntegerReadout, onchip.IntegerSynapses, onchip.LocalReadout,
        onchip.PlasticPopulation, onchip.PlasticProgram, onchip.RealFactor, onchip.RealNeuron, onchip.RealReadout,
        onchip.RealSynapses,
        paired.Features, paired.Homeostasis, paired.Output, paired.PairedProgram, paired.Pairing, paired.Reward,
        phased.IntegerErrors, phased.IntegerPhases, phased.IntegerRate, phased.PhasedPopulation, phased.PhasedProgram,
        phased.RealErrors, phased.RealPhases, phased.RealRate, plasticity.Rule, plasticity.Signal, plasticity.Update,
    )
}  # fmt: skip
"""Every type a file may name; anything else in a file is refused."""


def to_plain(value: Any, arrays: dict[str, np.ndarray], key: str) -> Any:
    """Return `value` as JSON values; arrays go into `arrays` under dotted names that start with `key`."""
    if isinstance(value, np.ndarray):
        arrays[key] = value
        return {"array": key}
    if isinstance(value, StrEnum):
        return {"type": type(value).__name__, "value": value.value}
    if is_dataclass(value):
        name = type(value).__name__
        assert TYPES[name] is type(value), name
        content = {f.name: to_plain(getattr(value, f.name), arrays, f"{key}.{f.name}") for f in fields(value)}
        return {"type": name, **content}
    if isinstance(value, dict):
        return {"items": [[name, to_plain(item, arrays, f"{key}.{name}")] for name, item in value.items()]}
    if isinstance(value, tuple):
        return [to_plain(item, arrays, f"{key}.{getattr(item, 'name', i)}") for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{key}: {type(value).__name__} has no plain form")


def from_plain(plain: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Rebuild what `to_plain` took apart.

    Raises:
        LoadError: ND012 when a type is unknown, a field missing or too many, or an array absent.
    """
    try:
        return _rebuild(plain, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError(
            Finding(
                "ND012",
                "stored graph",
                f"a stored field cannot be read: {type(error).__name__} {error}",
                "the file was written by another version of neurodeploy or was changed by hand",
                "write it again with neurodeploy.save or `neurodeploy compile`",
            )
        ) from error


def _rebuild(plain: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(plain, list):
        return tuple(_rebuild(item, arrays) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return arrays[plain["array"]]
    if "items" in plain:
        return {name: _rebuild(item, arrays) for name, item in plain["items"]}
    content = dict(plain)
    kind = TYPES[content.pop("type")]
    if issubclass(kind, StrEnum):
        return kind(content["value"])
    return kind(**{name: _rebuild(item, arrays) for name, item in content.items()})
