"""Models from files: everything that can be read becomes a `Network`, or a refusal with a remedy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurodeploy.errors import Finding, LoadError, UsageError
from neurodeploy.frontends import hdf5
from neurodeploy.frontends.checks import with_dt
from neurodeploy.ir.entering import encoded
from neurodeploy.ir.network import Network


def load(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    example_shape: tuple[int, ...] | None = None,
    dt: float | None = None,
    allow: Collection[str] = (),
    trust_pickle: bool = False,
    semantics: Mapping[str, str] | None = None,
    inferred: str | Path | None = None,
) -> Network:
    """Return the network that `model` describes.

    Args:
        model: one of
            "net.py:Net"  a class, a factory function or a module in a Python file, which is run; with `weights` and
                          `example_shape`.
            "model.pt"    what `neurodeploy.save` wrote; or a bare state_dict of a plain chain of linear layers and
                          neurons, if `allow` holds ND020; or a pickled module, if `trust_pickle`, with `example_shape`.
            "model.nir"   a NIR graph, whatever the file is called; its input is SPIKES.
            "model.net"   what lava-dl's export_hdf5 wrote, known by its content.
        weights: a state_dict's file, always read as plain tensors; it must fit the module exactly. A class needs it.
        example_shape: one sample's input at one step, no batch and no time axis. The module is recorded on random
            samples of 0 and 1, so the input is SPIKES; for graded input call `neurodeploy.save` with real samples. A
            time axis is found by trial: none, then in front, then behind the batch axis.
        dt: seconds per step; must not contradict what a checkpoint says.
        allow: codes of the substitutions you allow.
        trust_pickle: open files that run code when opened.
        semantics: settings that NIR leaves open, by name: see `nir_semantics.Semantics`.
        inferred: what `infer-semantics` wrote of this NIR graph; what is stated goes before what was inferred.

    Raises:
        LoadError: ND001-ND007, ND012, ND021, ND027, ND030-ND038, ND044, ND045, ND047 when the file cannot be read.
        UnsupportedError, NetworkError: when it was read but cannot be translated.
        UsageError: ND007, ND028 or ND043 when the call itself makes no sense.
        BackendUnavailableError: ND031 for a NIR graph without h5py.
    """
    path, colon, name = str(model).rpartition(":")
    shape = _checked_shape(example_shape)
    if hdf5.is_hdf5(model) and weights is None:
        return _load_hdf5(str(model), shape, dt, semantics, inferred)
    if semantics or inferred:
        raise UsageError(_stated(str(model)))
    if colon and path.endswith(".py"):
        from neurodeploy.frontends.user_code import module_from_file, record_shape

        needed = _needed(shape, str(model))
        return record_shape(module_from_file(path, name, weights), needed, dt)
    if str(model).endswith(".py"):
        fix = f"name what to make of it, e.g. {model}:Net"
        raise UsageError(Finding("ND007", str(model), "a Python file alone is no model", "it may define several", fix))
    if weights is not None:
        why = "a model file holds its own weights"
        raise UsageError(Finding("ND007", str(model), "weights were given as well", why, "leave them out"))
    return _load_file(str(model), shape, dt, allow, trust_pickle)


def _load_hdf5(
    model: str,
    shape: tuple[int, ...] | None,
    dt: float | None,
    semantics: Mapping[str, str] | None,
    inferred: str | Path | None,
) -> Network:
    """Return the network of a NIR graph, or of lava-dl's .net file, whichever the file holds."""
    tree = hdf5.read(model)
    if "layer" in tree and "node" not in tree:
        from neurodeploy.frontends import lava_dl

        if semantics or inferred:
            raise UsageError(_stated(model))
        return with_dt(lava_dl.network_of(tree, model, shape), dt, model)
    from neurodeploy.frontends import nir, nir_inferred

    if inferred is None:
        return nir.network_in(tree, Path(model).name, dt, semantics)
    found = nir_inferred.read(inferred, model)
    settings = found.settings | {**(semantics or {})}
    network = nir.network_in(tree, Path(model).name, found.dt_s if dt is None else dt, settings)
    nodes = dict(network.nodes)
    if found.encoding is not None:
        nodes[network.input] = encoded(network.input_node, str(found.encoding.get("kind")), None)
    return replace(network, encoding=found.encoding, nodes=nodes, deviations=(*network.deviations, found.deviation))


def _stated(model: str) -> Finding:
    why = "only NIR leaves them open; other models say what they compute"
    return Finding("ND043", model, "semantics were stated as well", why, "leave them out")


def _load_file(
    model: str, shape: tuple[int, ...] | None, dt: float | None, allow: Collection[str], trust_pickle: bool
) -> Network:
    from torch import nn

    from neurodeploy.frontends import checkpoint

    content: Any = checkpoint.read_tensors(model, trust_pickle)
    if checkpoint.is_checkpoint(content):
        return with_dt(checkpoint.restore(content, model), dt, model)
    from neurodeploy.frontends import state_dict, user_code

    if isinstance(content, nn.Module):
        return user_code.record_shape(content, _needed(shape, model), dt)
    return state_dict.infer(user_code.state_dict_of(content, model), allow=allow, place=model, dt=dt)


def _checked_shape(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if shape is not None and not (len(shape) and all(isinstance(n, int) and n > 0 for n in shape)):
        why = "it is one sample's input at one step: one or more positive sizes, e.g. (784,) or (1, 28, 28)"
        raise UsageError(Finding("ND007", "example_shape", f"example_shape is {shape!r}", why, "give such a shape"))
    return None if shape is None else tuple(shape)


def _needed(shape: tuple[int, ...] | None, model: str) -> tuple[int, ...]:
    if shape is None:
        why = "a module is recorded by running it, and nothing in it says what it takes"
        fix = "give one sample's input at one step, e.g. example_shape=(784,) or --example-shape 1,28,28"
        raise LoadError(Finding("ND007", model, "example_shape is missing", why, fix))
    return shape
