"""What a run that learns on one of PyNN's simulators and its worker hand each other: a directory, and no pickle.

On entry it holds learning.json, arrays.npz, inputs.npy, labels.npy and the worker's `CLOCK`, one number of time steps
done. On success it also holds weights-I.npy, predictions.npy and, written last, `RESULT`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy.backends.supervision import CLOCK, RESULT, finish
from neurodeploy.ir.additive import AdditiveProgram
from neurodeploy.ir.codec import from_plain, to_plain
from neurodeploy.ir.episodic import EpisodicProgram

LearningProgram = EpisodicProgram | AdditiveProgram


@dataclass(frozen=True, eq=False)
class LearningJob:
    """A stretch of learning.

    Args:
        inputs: uint8 (sample, step, input); labels: (sample,).
        on: the simulator.
        trajectory: whether the weights after every sample are kept, or those after the last.
    """

    program: LearningProgram
    inputs: np.ndarray
    labels: np.ndarray
    on: str
    trajectory: bool


@dataclass(frozen=True, eq=False)
class LearningOutcome:
    """What it left behind.

    Args:
        weights: per group of synapses (row, post, pre).
        predictions: (sample,).
        version: of who learned, in how many seconds.
    """

    weights: tuple[np.ndarray, ...]
    predictions: np.ndarray
    version: str
    seconds: float


def write_learning_job(directory: Path, job: LearningJob) -> None:
    """Write what the worker reads."""
    arrays: dict[str, np.ndarray] = {}
    plain = {"program": to_plain(job.program, arrays, "program"), "on": job.on, "trajectory": job.trajectory}
    (directory / "learning.json").write_text(json.dumps(plain))
    np.savez(directory / "arrays.npz", allow_pickle=False, **arrays)
    np.save(directory / "inputs.npy", job.inputs, allow_pickle=False)
    np.save(directory / "labels.npy", job.labels, allow_pickle=False)
    np.zeros(1, np.int64).tofile(directory / CLOCK)


def read_learning_job(directory: Path) -> LearningJob:
    """Return what `write_learning_job` was given."""
    plain = json.loads((directory / "learning.json").read_text())
    with np.load(directory / "arrays.npz", allow_pickle=False) as stored:
        program = from_plain(plain["program"], dict(stored))
    inputs, labels = (np.load(directory / f"{name}.npy", allow_pickle=False) for name in ("inputs", "labels"))
    return LearningJob(program, inputs, labels, plain["on"], plain["trajectory"])


def write_learning_result(directory: Path, outcome: LearningOutcome) -> None:
    """Write what the parent reads; the result's name appears last."""
    np.save(directory / "predictions.npy", outcome.predictions, allow_pickle=False)
    for index, rows in enumerate(outcome.weights):
        np.save(directory / f"weights-{index}.npy", rows, allow_pickle=False)
    finish(directory, {"version": outcome.version, "seconds": outcome.seconds})


def read_learning_result(directory: Path, groups: int) -> LearningOutcome:
    """Return what `write_learning_result` was given."""
    weights = tuple(np.load(directory / f"weights-{index}.npy", allow_pickle=False) for index in range(groups))
    predictions = np.load(directory / "predictions.npy", allow_pickle=False)
    return LearningOutcome(weights, predictions, **json.loads((directory / RESULT).read_text()))
