"""The child process in which a simulator learns: `python -m neurodeploy.backends.spinnaker.learning_worker JOB PARENT`.

A simulator of PyNN's is one kernel per process and never forgets all of it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from neurodeploy.backends.spinnaker import eprop, stdp
from neurodeploy.backends.spinnaker.learning_job import (
    LearningJob,
    LearningOutcome,
    read_learning_job,
    write_learning_result,
)
from neurodeploy.backends.supervision import CLOCK, serve
from neurodeploy.ir.additive import UNDECIDED, AdditiveProgram
from neurodeploy.ir.episodic import EpisodicProgram

Learned = tuple[tuple[np.ndarray, ...], np.ndarray, str]
"""Weights per group (row, post, pre), predictions (sample,), and who it was."""


def execute(directory: Path) -> None:
    """Run the job and write its results."""
    job = read_learning_job(directory)
    clock = np.memmap(directory / CLOCK, dtype=np.int64, mode="r+", shape=(1,))

    def told(steps: int) -> None:
        clock[0] = steps

    begin = time.perf_counter()
    run = _pairs if isinstance(job.program, AdditiveProgram) else _episodes
    weights, predictions, version = run(job, told)
    write_learning_result(directory, LearningOutcome(weights, predictions, version, time.perf_counter() - begin))


def _episodes(job: LearningJob, told: eprop.Told) -> Learned:
    """Learn by e-prop; an update is held back until the next spike, so what sample k did shows as a run ends there."""
    assert isinstance(job.program, EpisodicProgram)
    counts = range(1, len(job.inputs) + 1) if job.trajectory else [len(job.inputs)]
    rows = []
    for count in counts:
        weights, read = eprop.run(job.program, job.inputs[:count], job.labels[:count], told)
        rows.append(weights)
    return tuple(map(np.stack, zip(*rows, strict=True))), read.argmax(1), eprop.version()


def _pairs(job: LearningJob, told: stdp.Told) -> Learned:
    """Learn by STDP; nobody decides anything meanwhile."""
    assert isinstance(job.program, AdditiveProgram)
    rows, _ = stdp.run(job.program, job.inputs, job.on, job.trajectory, told)
    others = [np.stack([weight] * len(rows)) for weight in job.program.weights[1:]]
    return (np.stack(rows), *others), np.full(len(job.inputs), UNDECIDED), stdp.version(job.on)


if __name__ == "__main__":
    serve(execute, *sys.argv[1:])
