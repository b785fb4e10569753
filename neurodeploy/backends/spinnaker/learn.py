"""Learns on PyNN's simulators, in a supervised child process: e-prop by NEST's own models, STDP by PyNN's."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurodeploy.backends.spinnaker import learning_job
from neurodeploy.backends.spinnaker.availability import environment, interpreter, missing, named
from neurodeploy.backends.spinnaker.learning_job import LearningJob, LearningProgram
from neurodeploy.backends.spinnaker.stdp_mapping import mapped_only
from neurodeploy.backends.supervision import Progress, Worker, await_result, supervised
from neurodeploy.errors import BackendUnavailableError, UnsupportedError
from neurodeploy.ir.additive import AdditiveProgram
from neurodeploy.results import LearningRun

WORKER = Worker(
    "neurodeploy.backends.spinnaker.learning_worker",
    "the simulator that learns",
    failed="ND311",
    late="ND312",
    remedy="see the lines above; --on engine learns by the same rule in this process",
)
MAPPED_SAMPLES = 4
"""Samples for which sources are planned on a board."""


def learn(
    program: LearningProgram,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    on: str,
    trajectory: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
    body: None = None,
    model: str = "native",
) -> tuple[LearningRun, tuple[np.ndarray, ...]]:
    """Run `program` from rest on samples, all in one start of the simulator, learning all the while.

    Args:
        inputs: uint8 (sample, step, input); labels: (sample,).
        on: the simulator.
        trajectory: whether to keep the weights after every sample, per group of synapses (sample, post, pre); for that
            the simulator begins anew for every sample.
        progress: called with the time steps done and their number.
        body, model: there is nothing before what learns here, and one way to build it.

    Raises:
        BackendUnavailableError: ND310 when the simulator is not here.
        UnsupportedError: ND315 on "spynnaker", whose virtual board runs nothing; it says where it all would be.
        BackendFailedError: ND311, ND312 when it failed or stands still.
    """
    absent = missing(on)
    if absent is not None:
        raise BackendUnavailableError(absent)
    if on == "spynnaker":
        assert isinstance(program, AdditiveProgram)
        raise UnsupportedError(mapped_only(program, np.asarray(inputs, program.input_type)[:MAPPED_SAMPLES], timeout_s))
    job = LearningJob(program, np.asarray(inputs, program.input_type), np.asarray(labels), on, trajectory)
    steps = program.duration(len(inputs))
    with tempfile.TemporaryDirectory(prefix="neurodeploy-") as name:
        directory = Path(name)
        learning_job.write_learning_job(directory, job)
        worker = replace(WORKER, python=interpreter())
        with supervised(worker, directory, environment(directory)) as process:
            await_result(worker, process, directory, steps, progress, timeout_s)
        outcome = learning_job.read_learning_result(directory, len(program.weights))
    run = LearningRun(
        named(outcome.version),
        tuple(rows[-1] for rows in outcome.weights),
        outcome.predictions,
        spikes=None,
        synaptic_operations=None,
        updates=None,
        steps=steps,
        seconds=outcome.seconds,
    )
    return run, outcome.weights if trajectory else ()
