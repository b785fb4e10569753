"""What a run on Lava's runtime and its worker hand each other: a directory, and no pickle.

On entry it holds program.json, arrays.npz, samples.npy, and `CLOCK`: an int64 per population, its last completed time
step, which both sides map. On success it also holds one spikes-I.npy (and currents-I.npy, voltages-I.npy) per
population and, written last, `RESULT`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from neurodeploy.ir.codec import from_plain, to_plain
from neurodeploy.ir.program import Program

CLOCK = "clock"
RESULT = "result.json"


def write_job(directory: Path, program: Program, samples: np.ndarray, record_states: bool) -> None:
    """Write what the worker reads.

    Args:
        directory: empty.
        program: to run.
        samples: int32 (sample, step, *input shape).
        record_states: whether to keep u and v.
    """
    arrays: dict[str, np.ndarray] = {}
    plain = {"program": to_plain(program, arrays, "program"), "record_states": record_states}
    (directory / "program.json").write_text(json.dumps(plain))
    np.savez(directory / "arrays.npz", allow_pickle=False, **arrays)
    np.save(directory / "samples.npy", samples, allow_pickle=False)
    np.zeros(len(program.populations), np.int64).tofile(directory / CLOCK)


def read_job(directory: Path) -> tuple[Program, np.ndarray, bool]:
    """Return program, samples and record_states as `write_job` was given them."""
    plain = json.loads((directory / "program.json").read_text())
    with np.load(directory / "arrays.npz", allow_pickle=False) as stored:
        program = from_plain(plain["program"], dict(stored))
    return program, np.load(directory / "samples.npy", allow_pickle=False), plain["record_states"]
