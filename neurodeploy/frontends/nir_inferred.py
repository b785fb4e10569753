"""What `neurodeploy infer-semantics` wrote: the reading of a NIR graph that it chose, and for which file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.errors import Change, Deviation, Finding, LoadError
from neurodeploy.frontends.nir_semantics import READ


@dataclass(frozen=True)
class Inferred:
    """A reading that was chosen on data.

    Args:
        settings: by name, as --semantics takes them.
        encoding: `Encoding.to_plain()` of the data it was chosen on, or None where they came from a file.
        deviation: how it was chosen, as the network records it.
    """

    settings: dict[str, str]
    dt_s: float | None
    encoding: dict | None
    deviation: Deviation


def fingerprint(model: str | Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(Path(model).read_bytes()).hexdigest()


def read(path: str | Path, model: str | Path) -> Inferred:
    """Return the reading in `path`, which is of the NIR graph in `model`.

    Raises:
        LoadError: ND044 when it is no such file, or is of another graph.
    """
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
        chosen, data = plain["chosen"], plain["data"]
        settings, dt, sha256 = chosen["settings"], chosen["dt_s"], plain["sha256"]
        if not (isinstance(settings, dict) and all(isinstance(value, str) for value in settings.values())):
            raise ValueError(f"settings are {settings!r}")
        told = f"{_told(settings, dt)}: inferred on {data['samples']} samples of {data['name']}, "
        told += f"{chosen['accuracy']:.1%} right; {chosen['why']}"
        encoding = data["encoding"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        what, why = "no settings can be read from it", f"{type(error).__name__}: {error}"
        fix = "write it with `neurodeploy infer-semantics MODEL.nir --data DATA -o FILE.json`, or state NAME=VALUE"
        raise LoadError(Finding("ND044", str(path), what, why, fix)) from error
    if sha256 != fingerprint(model):
        what, why = f"it was inferred for another file than {Path(model).name}", "the SHA-256 of the two differ"
        raise LoadError(Finding("ND044", str(path), what, why, "infer the semantics of this file"))
    deviation = Deviation(READ, Path(model).name, told, Change.READING)
    return Inferred(settings, dt, encoding, deviation)


def _told(settings: dict[str, Any], dt: float | None) -> str:
    words = [f"{name} = {value}" for name, value in settings.items()]
    return ", ".join(words if dt is None else [*words, f"dt = {dt:g} s"])
