"""What a run on one of PyNN's simulators and its worker hand each other: a directory, and no pickle.

On entry it holds program.json, arrays.npz, samples.npy, and `CLOCK`: one int64, the steps done. On success it also
holds spikes-I.npy, and where recorded currents-I.npy and voltages-I.npy, of the I-th population and, written last,
`RESULT`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.recording import Record
from neurodeploy.backends.supervision import CLOCK, RESULT, finish
from neurodeploy.ir.codec import from_plain, to_plain
from neurodeploy.ir.program import Program

KINDS = ("spikes", "currents", "voltages")


@dataclass(frozen=True, eq=False)
class Job:
    """`samples` (uint8, (sample, step, neuron)) through `program` on `simulator`."""

    program: Program
    samples: np.ndarray
    record_states: bool
    simulator: str


def write_job(directory: Path, setting: Job) -> None:
    """Write what the worker reads into an empty directory."""
    arrays: dict[str, np.ndarray] = {}
    plain = {
        "program": to_plain(setting.program, arrays, "program"),
        "record_states": setting.record_states,
        "simulator": setting.simulator,
    }
    (directory / "program.json").write_text(json.dumps(plain))
    np.savez(directory / "arrays.npz", allow_pickle=False, **arrays)
    np.save(directory / "samples.npy", setting.samples, allow_pickle=False)
    np.zeros(1, np.int64).tofile(directory / CLOCK)


def read_job(directory: Path) -> Job:
    """Return what `write_job` was given."""
    plain = json.loads((directory / "program.json").read_text())
    with np.load(directory / "arrays.npz", allow_pickle=False) as stored:
        program = from_plain(plain["program"], dict(stored))
    samples = np.load(directory / "samples.npy", allow_pickle=False)
    return Job(program, samples, plain["record_states"], plain["simulator"])


def write_result(directory: Path, records: Mapping[str, Record], about: Mapping[str, Any]) -> None:
    """Write what the parent reads; `about` is the run in plain values."""
    for index, record in enumerate(records.values()):
        for kind in KINDS:
            values = getattr(record, kind)
            if values is not None:
                np.save(directory / f"{kind}-{index}.npy", values, allow_pickle=False)
    finish(directory, dict(about))


def read_result(directory: Path, program: Program) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Return kind -> population -> array, those that there are, and what `write_result` was told about the run."""
    arrays: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in KINDS}
    for index, population in enumerate(program.populations):
        for kind in KINDS:
            path = directory / f"{kind}-{index}.npy"
            if path.exists():
                arrays[kind][population.name] = np.load(path, allow_pickle=False)
    return arrays, json.loads((directory / RESULT).read_text())
