"""A module from a user's Python file: `net.py:Net` and its weights."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding, LoadError, UnsupportedError
from neurodeploy.frontends.checkpoint import describe_content, is_checkpoint, read_tensors
from neurodeploy.frontends.recording import record
from neurodeploy.frontends.state_dict import is_state_dict
from neurodeploy.frontends.tracing import FRONTENDS
from neurodeploy.ir.network import Network

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep a state_dict among other things."""
TRIED_STEPS = (3, 256)
"""Lengths of the time axis that are tried: short, then longer than most loops over a fixed number of steps."""
TRIED_SAMPLES = 2


def module_from_file(path: str, name: str, weights: str | Path | None) -> nn.Module:
    """Import the file at `path`, make the module `name` of it and load `weights` into it.

    `name` is a class or a factory function that needs no arguments, or a module already made.

    Raises:
        LoadError: ND005 when the file does not run or `name` makes no module, ND006 when weights are missing or do not
            fit, ND001-ND004 when the file of weights is no such file.
    """
    place = f"{path}:{name}"
    made = _attribute(path, name, place)
    is_class = isinstance(made, type)
    net = made if isinstance(made, nn.Module) else _made(made, place)
    if weights is None:
        if is_class:
            why = "a class makes a module with random weights"
            fix = "pass its weights (--weights FILE), or name a function that returns the trained module"
            raise LoadError(Finding("ND006", place, "no weights were given", why, fix))
        return net
    state = state_dict_of(read_tensors(weights), str(weights))
    try:
        net.load_state_dict(state, strict=True)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = " ".join(str(error).split())[:600]
        why = "every tensor of the file must have its place in the module, with the same shape"
        raise LoadError(
            Finding("ND006", str(weights), said, why, f"use the class that made it, not {place}")
        ) from error
    return net


def state_dict_of(content: Any, place: str) -> dict[str, Tensor]:
    """Return the state_dict in the content of a file, perhaps one level down.

    Raises:
        LoadError: ND004 when there is none.
    """
    if is_checkpoint(content):
        what, fix = "this is a neurodeploy checkpoint, not bare weights", "load it by itself; it holds its own graph"
        raise LoadError(Finding("ND004", place, what, "it needs no Python file", fix))
    inner = [content[key] for key in WRAPPERS if isinstance(content, dict) and is_state_dict(content.get(key))]
    found = content if is_state_dict(content) else inner[0] if len(inner) == 1 else None
    if found is None:
        what = f"the file holds {describe_content(content)}, not a state_dict"
        fix = "write it with neurodeploy.save(net, ...) or torch.save(net.state_dict(), ...)"
        raise LoadError(Finding("ND004", place, what, "weights are a dictionary of names to tensors", fix))
    return dict(found)


def _attribute(path: str, name: str, place: str) -> Any:
    file = Path(path)
    if not file.is_file():
        raise LoadError(
            Finding("ND001", path, "there is no such Python file", "FILE.py:NAME names one", "check the path")
        )
    spec = importlib.util.spec_from_file_location(f"_neurodeploy_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise LoadError(Finding("ND005", place, "this is no Python file", "FILE.py:NAME names one", "check the path"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise LoadError(_failed(place, "the file does not run", error)) from error
    finally:
        sys.path.remove(str(file.parent.resolve()))
    if name not in vars(module):
        kinds = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
        why = f"it defines {', '.join(kinds)}" if kinds else "it defines no torch.nn.Module"
        raise LoadError(Finding("ND005", place, f"the file has no {name}", why, "name one of them"))
    return vars(module)[name]


def _made(maker: Any, place: str) -> nn.Module:
    if not callable(maker):
        what, why = f"it is a {type(maker).__name__}", "a class, a function or a module is expected"
        raise LoadError(Finding("ND005", place, what, why, "name one of these"))
    try:
        made = maker()
    except (Exception, SystemExit) as error:
        raise LoadError(_failed(place, "it cannot be called without arguments", error)) from error
    if not isinstance(made, nn.Module):
        what = f"calling it gives a {type(made).__name__}"
        raise LoadError(Finding("ND005", place, what, "a torch.nn.Module is expected", "return the module"))
    return made


def _failed(place: str, what: str, error: BaseException) -> Finding:
    everywhere = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in everywhere if not frame.filename.startswith((FRONTENDS, "<frozen"))]
    line = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{line}"
    fix = "give every argument a default, or write a function without arguments that returns the module"
    return Finding("ND005", place, what, said, fix)


def record_shape(net: nn.Module, shape: tuple[int, ...], dt: float | None) -> Network:
    """Record `net` on random 0/1 samples of `shape` (one step's input, no batch axis), finding its time axis by trial.

    First (sample, *shape) is tried: a static input, or a module that takes one step per call. Then (step, sample,
    *shape) and (sample, step, *shape) with few steps and with many.

    Raises:
        UnsupportedError, NetworkError: of the trial that got furthest.
    """
    generator = torch.Generator().manual_seed(0)
    trials = [(TRIED_SAMPLES, *shape)]
    for steps in TRIED_STEPS:
        trials += [(steps, TRIED_SAMPLES, *shape), (TRIED_SAMPLES, steps, *shape)]
    failures: list[UnsupportedError] = []
    for trial in trials:
        example = torch.randint(0, 2, trial, generator=generator).float()
        example.view(-1)[0] = 1.0
        try:
            return record(net, example, dt)
        except UnsupportedError as error:
            failures.append(error)
    raise min(failures, key=_misread)


def _misread(error: UnsupportedError) -> int:
    """Count the findings that come of a wrong example rather than of the module."""
    return sum(finding.code in ("ND013", "ND016", "ND017", "ND026") for finding in error.findings)
