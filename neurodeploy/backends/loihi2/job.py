"""What a run on Lava's runtime and its worker hand each other: a directory, and no pickle.

A run that learns has learning.json instead of program.json, and hands back the output's spikes and weights-I.npy.

On entry it holds program.json, arrays.npz, samples.npy, and `CLOCK`: an int64 per population, its last completed time
step, which both sides map. On success it also holds one spikes-I.npy (and currents-I.npy, voltages-I.npy) per
population and, written last, `RESULT`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy.backends.loihi2.recording import LearningRecord
from neurodeploy.backends.supervision import CLOCK, RESULT, finish
from neurodeploy.engine.plastic import LearningProgram
from neurodeploy.ir.codec import from_plain, to_plain
from neurodeploy.ir.program import Program

LEARNING = "learning.json"


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


@dataclass(frozen=True, eq=False)
class LearningJob:
    """A stretch of learning.

    Args:
        inputs: of the body (sample, step, *input shape) int32, or (sample, step, input) of the program.
        labels: (sample,).
        graph: whether Lava's own learning engine runs it, or the fused process.
        trajectory: whether the weights of every step are kept, or those of the last.
        body: what turns inputs into the chain's spikes and does not learn, or None.
    """

    program: LearningProgram
    inputs: np.ndarray
    labels: np.ndarray
    graph: bool
    trajectory: bool
    body: Program | None = None


@dataclass(frozen=True, eq=False)
class LearningOutcome:
    """What a stretch of learning left behind.

    Args:
        spikes: of the output, uint8 (step, output).
        weights: per group of synapses (row, post, pre).
        counters: synaptic operations and updates; None where nobody counted.
        seconds: it took.
    """

    spikes: np.ndarray
    weights: tuple[np.ndarray, ...]
    counters: tuple[int, int] | None
    seconds: float

    @staticmethod
    def of(record: LearningRecord, seconds: float) -> LearningOutcome:
        synops, updates = map(int, record.counters)
        return LearningOutcome(record.spikes, record.weights, (synops, updates) if updates >= 0 else None, seconds)


def write_learning_job(directory: Path, setting: LearningJob) -> None:
    """Write what the worker reads of a run that learns."""
    arrays: dict[str, np.ndarray] = {}
    plain = {
        "program": to_plain(setting.program, arrays, "program"),
        "body": None if setting.body is None else to_plain(setting.body, arrays, "body"),
        "graph": setting.graph,
        "trajectory": setting.trajectory,
    }
    (directory / LEARNING).write_text(json.dumps(plain))
    np.savez(directory / "arrays.npz", allow_pickle=False, **arrays)
    np.save(directory / "inputs.npy", setting.inputs, allow_pickle=False)
    np.save(directory / "labels.npy", setting.labels, allow_pickle=False)
    np.zeros(1, np.int64).tofile(directory / CLOCK)


def read_learning_job(directory: Path) -> LearningJob:
    """Return what `write_learning_job` was given."""
    plain = json.loads((directory / LEARNING).read_text())
    with np.load(directory / "arrays.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    program = from_plain(plain["program"], arrays)
    body = None if plain["body"] is None else from_plain(plain["body"], arrays)
    inputs, labels = (np.load(directory / f"{name}.npy", allow_pickle=False) for name in ("inputs", "labels"))
    return LearningJob(program, inputs, labels, plain["graph"], plain["trajectory"], body)


def write_learning_result(directory: Path, outcome: LearningOutcome) -> None:
    """Write what the parent reads; the result's name appears last."""
    np.save(directory / "fired.npy", outcome.spikes, allow_pickle=False)
    for index, rows in enumerate(outcome.weights):
        np.save(directory / f"weights-{index}.npy", rows, allow_pickle=False)
    finish(directory, {"seconds": outcome.seconds, "counters": outcome.counters})


def read_learning_result(directory: Path, groups: int) -> LearningOutcome:
    """Return what `write_learning_result` was given."""
    weights = tuple(np.load(directory / f"weights-{index}.npy", allow_pickle=False) for index in range(groups))
    plain = json.loads((directory / RESULT).read_text())
    counters = plain["counters"] and tuple(plain["counters"])
    return LearningOutcome(np.load(directory / "fired.npy", allow_pickle=False), weights, counters, plain["seconds"])
