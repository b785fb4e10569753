"""`CompiledModel`: the artefact. A directory without pickle, written whole or not at all, equal bytes for equal input.

model.ndc/  manifest.json     format, target, fingerprints (SHA-256), versions, deviations
            program.json      populations, projections, number formats; arrays named by key
            arrays.npz        the integers
            placement.json    core slices, used and available
            profile.json      the hardware profile as it was: an old artefact explains itself
            certificate.json  what was verified against what, on which input, with which result
            source.json, source.npz   the network as it was meant, so that it can be run again beside the program
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, LoadError, UsageError
from neurodeploy.hardware import HardwareProfile, Placement, Slot, profile_from_tables
from neurodeploy.ir import codec
from neurodeploy.ir.network import Network
from neurodeploy.ir.program import Program

FORMAT = 2
FILES = ("manifest.json", "program.json", "arrays.npz", "placement.json", "profile.json", "certificate.json",
         "source.json", "source.npz")  # fmt: skip


RECORD = ("target", "dt_s", "provenance", "deviations")
"""What the manifest says besides its format and fingerprints."""
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What json, numpy and zipfile raise on damaged files."""


@dataclass(frozen=True)
class CompiledModel:
    """A program with everything needed to run, judge and explain it.

    Args:
        certificates: one plain dict per verification, latest last; see `evaluation.fidelity`.
        provenance: what it was compiled from and with which versions, plain values only.
    """

    program: Program
    placement: Placement
    profile: HardwareProfile
    source: Network
    provenance: dict[str, Any]
    certificates: tuple[dict[str, Any], ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the program: its structure and every array's type, shape and bytes."""
        arrays: dict[str, np.ndarray] = {}
        plain = codec.to_plain(self.program, arrays, "program")
        return _fingerprint(plain, arrays)


def array_fingerprint(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's type, shape and little-endian bytes in C order."""
    portable = _portable(array)
    digest = hashlib.sha256(f"{portable.dtype.str}{portable.shape}".encode())
    digest.update(portable.tobytes())
    return digest.hexdigest()


def save_artifact(model: CompiledModel, path: str | Path) -> Path:
    """Write `model` to the directory `path`, replacing an artefact that is there, and return the path.

    Everything goes to a temporary directory beside it first, so an interruption leaves the old one or none.

    Raises:
        UsageError: ND410 when something that is not an artefact is in the way, or the place cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path / "manifest.json").is_file():
        raise UsageError(
            Finding("ND410", str(path), "exists and is not an artefact", "it would be overwritten", "choose another -o")
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        fresh.chmod(0o755)
    except OSError as error:
        raise UsageError(Finding("ND410", str(path), "cannot be written", str(error), "choose another -o")) from error
    try:
        _write_files(model, fresh)
        if path.exists():
            old = fresh.with_name(f"{fresh.name}-old")
            os.rename(path, old)
            os.rename(fresh, path)
            shutil.rmtree(old)
        else:
            os.rename(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return path


def load_artifact(path: str | Path) -> CompiledModel:
    """Read an artefact.

    Raises:
        LoadError: ND010 when it is not one, ND011 when a file is absent, damaged or was changed since it was written.
    """
    path = Path(path)
    if not path.is_dir() or not (path / "manifest.json").is_file():
        raise LoadError(
            Finding(
                "ND010", str(path), "not a compiled model", "an artefact is a directory with a manifest.json",
                "make one with `neurodeploy compile`",
            )
        )  # fmt: skip
    try:
        manifest, placement, tables, certificates = (
            _read_json(path / name) for name in ("manifest.json", "placement.json", "profile.json", "certificate.json")
        )
        program_plain, source_plain = _read_json(path / "program.json"), _read_json(path / "source.json")
        arrays, source_arrays = _read_npz(path / "arrays.npz"), _read_npz(path / "source.npz")
        claimed = manifest["fingerprints"]
        actual = {
            "program": _fingerprint(program_plain, arrays),
            "source": _fingerprint(source_plain, source_arrays),
            "placement": _fingerprint(placement, {}),
            "profile": _fingerprint(tables, {}),
            "certificates": _fingerprint(certificates, {}),
            "record": _fingerprint({name: manifest[name] for name in RECORD}, {}),
        }
        slots = tuple(Slot(**slot) for slot in placement.pop("slots"))
        names = {key: tuple(placement[key]) for key in ("assumed", "shared") if key in placement}
        placed = Placement(slots, **placement | names)
    except UNREADABLE as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if manifest.get("format") != FORMAT:
        raise _damaged(path, f"format {manifest.get('format')} where this version reads {FORMAT}")
    for name, fingerprint in actual.items():
        if claimed.get(name) != fingerprint:
            raise _damaged(path, f"the {name} is not the one that was written")
    profile = profile_from_tables(tables, str(path / "profile.json"))
    program, source = codec.from_plain(program_plain, arrays), codec.from_plain(source_plain, source_arrays)
    return CompiledModel(program, placed, profile, source, manifest["provenance"], tuple(certificates))


def _write_files(model: CompiledModel, folder: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    source_arrays: dict[str, np.ndarray] = {}
    program = codec.to_plain(model.program, arrays, "program")
    source = codec.to_plain(model.source, source_arrays, "source")
    certificates = list(model.certificates)
    record = {
        "target": model.profile.id,
        "dt_s": model.program.dt_s,
        "provenance": model.provenance,
        "deviations": [asdict(deviation) for deviation in model.program.deviations],
    }
    fingerprints = {
        "program": _fingerprint(program, arrays),
        "source": _fingerprint(source, source_arrays),
        "placement": _fingerprint(asdict(model.placement), {}),
        "profile": _fingerprint(model.profile.tables, {}),
        "certificates": _fingerprint(certificates, {}),
        "record": _fingerprint(record, {}),
    }
    manifest = {"format": FORMAT, "fingerprints": fingerprints, **record}
    for name, content in (
        ("manifest.json", manifest),
        ("program.json", program),
        ("placement.json", asdict(model.placement)),
        ("profile.json", model.profile.tables),
        ("certificate.json", certificates),
        ("source.json", source),
    ):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, content in (("arrays.npz", arrays), ("source.npz", source_arrays)):
        np.savez_compressed(folder / name, allow_pickle=False, **{k: _portable(array) for k, array in content.items()})


def _fingerprint(plain: Any, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for key in sorted(arrays):
        digest.update(f"{key}{array_fingerprint(arrays[key])}".encode())
    return digest.hexdigest()


def _portable(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _damaged(path: Path, why: str) -> LoadError:
    return LoadError(
        Finding("ND011", str(path), "the artefact is damaged", why, "compile the model again; artefacts are not edited")
    )
