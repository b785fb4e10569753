"""Learns on Lava: on its real runtime in a supervised child process, or on its process models alone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from neurodeploy.backends.loihi2 import job
from neurodeploy.backends.loihi2.lava_compat import availability
from neurodeploy.backends.loihi2.run import EXECUTORS, WORKER
from neurodeploy.backends.supervision import Progress, await_result, supervised
from neurodeploy.engine.plastic import LearningProgram
from neurodeploy.errors import BackendUnavailableError
from neurodeploy.ir.program import Program
from neurodeploy.results import LearningRun

MODELS = ("fused", "engine")
"""One process for the whole chain, or a LearningDense per group of synapses."""


def learn(
    program: LearningProgram,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    body: Program | None = None,
    on: str = "lava",
    model: str = "fused",
    trajectory: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> tuple[LearningRun, tuple[np.ndarray, ...]]:
    """Run `program` from rest on samples, all in one start of Lava, learning all the while.

    Args:
        inputs: of the program (sample, step, input), or integer payloads (sample, step, *input shape) of `body`.
        labels: (sample,).
        body: what turns inputs into spikes and does not learn, its output `program.start` steps late; integers only.
        on: "lava" or "lava-models".
        model: "fused", or "engine" for Lava's own learning engine.
        trajectory: whether to keep the weights of every step, per group of synapses (step, post, pre).
        progress: called with the time steps done and their number.

    Raises:
        BackendUnavailableError: ND300 to ND302 when Lava is not here.
        BackendFailedError: ND303, ND304 when its runtime failed or stands still.
    """
    missing = availability()
    if missing is not None:
        raise BackendUnavailableError(missing)
    kind = program.input_type if body is None else np.int32
    graph = model == "engine"
    setting = job.LearningJob(program, np.asarray(inputs, kind), np.asarray(labels), graph, trajectory, body)
    steps = program.duration(len(inputs))
    if on == "lava-models":
        outcome = _on_models(setting, progress)
    else:
        with tempfile.TemporaryDirectory(prefix="neurodeploy-") as name:
            directory = Path(name)
            job.write_learning_job(directory, setting)
            with supervised(WORKER, directory) as process:
                await_result(WORKER, process, directory, steps, progress, timeout_s)
            outcome = job.read_learning_result(directory, len(program.weights))
    counts = outcome.spikes[program.start :].reshape(len(inputs), program.period, -1).sum(1, dtype=np.int64)
    run = LearningRun(
        f"{EXECUTORS[on]}, {'learning engine' if model == 'engine' else 'fused process'}",
        tuple(rows[-1] for rows in outcome.weights),
        counts.argmax(1),
        spikes=None,
        synaptic_operations=outcome.counters and outcome.counters[0],
        updates=outcome.counters and outcome.counters[1],
        steps=steps,
        seconds=outcome.seconds,
    )
    return run, outcome.weights if trajectory else ()


def _on_models(setting: job.LearningJob, progress: Progress | None) -> job.LearningOutcome:
    """Step Lava's process models in this process."""
    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.plasticity import run_configuration, wire

    with registries_restored():
        source, record = wire(setting, np.zeros(1, np.int64))
        models = build_models(source, run_configuration(setting.program.integer, setting.graph))
        begin = time.perf_counter()
        step_models(models, len(record.spikes), progress)
        seconds = time.perf_counter() - begin
    return job.LearningOutcome.of(record, seconds)
