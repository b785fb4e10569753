"""Runs a program beside the engine: on PyNN's simulators, in the chip's own arithmetic, or on a machine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import numpy as np

from neurodeploy.backends.spinnaker import job
from neurodeploy.backends.spinnaker.availability import environment, interpreter, missing, named
from neurodeploy.backends.spinnaker.cells import inexpressible
from neurodeploy.backends.spinnaker.mapping import MACHINE, run_on_machine
from neurodeploy.backends.spinnaker.schedule import Schedule
from neurodeploy.backends.supervision import Progress, Worker, await_result, supervised
from neurodeploy.errors import BackendUnavailableError, Finding, UnsupportedError, UsageError, raise_all
from neurodeploy.ir.program import Program
from neurodeploy.results import RunResult, decide

SAMPLES_WORTH_A_PROCESS = 16
"""A simulator takes a second to start; with fewer samples one process is as fast as one per core."""


def run(
    program: Program,
    inputs: np.ndarray,
    *,
    on: str = "nest",
    record_states: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run every sample of `inputs` through `program`, each from rest.

    Args:
        program: as compiled for SpiNNaker.
        inputs: uint8 spikes (step, sample, *input shape).
        on: "nest", "brian2", "engine-s16.15" for the arithmetic of the chip's neuron models, or "spynnaker" for the
            machine whose configuration the environment names.
        record_states: whether to return currents and voltages in mV, as far as the simulator shows them: cells
            without a synaptic current have none to record, and a voltage that a reset hides is NaN.
        progress: called now and then with what is done and what there is to do.
        timeout_s: wall time after which a simulator is given up; by default scaled with the number of steps.

    Raises:
        BackendUnavailableError: ND310, ND314: the simulator cannot be used here.
        BackendFailedError: ND311 when the run failed, ND312 when it took too long; both with its last lines.
        UnsupportedError: ND331, ND332 when the simulator has no exact cells for the program, ND330 when the chip has
            none, ND344 when no machine is named, ND345 when its states are asked for.
        UsageError: ND313 for inputs of a wrong shape or an unknown `on`.
    """
    if on not in RUNNERS:
        raise UsageError(_usage(f"on={on!r}", "there is no such executor here", f"one of {', '.join(RUNNERS)}"))
    if inputs.shape[2:] != program.input.shape or 0 in inputs.shape:
        expected = ", ".join(str(n) for n in ("step", "sample", *program.input.shape))
        raise UsageError(_usage(f"inputs of shape {inputs.shape}", f"the program reads ({expected})", "reshape them"))
    return RUNNERS[on](program, inputs, on, record_states, progress, timeout_s)


def run_on_simulator(
    program: Program,
    inputs: np.ndarray,
    simulator: str,
    record_states: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run on one of PyNN's simulators, the samples shared out to a process per core."""
    raise_all(UnsupportedError, list(inexpressible(program, simulator)))
    absent = missing(simulator)
    if absent is not None:
        raise BackendUnavailableError(absent)
    samples = np.ascontiguousarray(inputs.swapaxes(0, 1)).reshape(inputs.shape[1], len(inputs), -1)
    parts = min(os.cpu_count() or 1, -(-len(samples) // SAMPLES_WORTH_A_PROCESS))
    shares = [job.Job(program, share, record_states, simulator) for share in np.array_split(samples, parts)]
    outcomes = _outcomes(shares, progress, timeout_s)
    spikes, currents, voltages = (_joined([arrays[kind] for arrays, _ in outcomes]) for kind in job.KINDS)
    executor = named(outcomes[0][1]["executor"])
    seconds = max(float(about["seconds"]) for _, about in outcomes)
    return RunResult(executor, spikes, decide(spikes[program.output]), currents, voltages, seconds)


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the samples of all parts behind each other."""
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _outcomes(shares: list[job.Job], progress: Progress | None, timeout_s: float | None) -> list[tuple]:
    """Return what a worker for each share answers, all of them at work at once; the first, the largest, tells time."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    worker = worker_for(shares[0].simulator)
    with ExitStack() as running:
        started = []
        for share in shares:
            directory = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="neurodeploy-")))
            job.write_job(directory, share)
            started.append((directory, running.enter_context(supervised(worker, directory, environment(directory)))))
        for index, (share, (directory, process)) in enumerate(zip(shares, started, strict=True)):
            steps = Schedule.of(share.program, share.simulator, share.samples.shape[1], len(share.samples)).total_steps
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            await_result(worker, process, directory, steps, None if index else progress, left)
        return [
            job.read_result(directory, share.program) for share, (directory, _) in zip(shares, started, strict=True)
        ]


def worker_for(simulator: str) -> Worker:
    """Return the child process that runs a simulator."""
    return Worker(
        "neurodeploy.backends.spinnaker.worker",
        f"{simulator} through PyNN",
        failed="ND311",
        late="ND312",
        remedy="see the lines above; backends.spinnaker.populations.build makes the same populations in a process of "
        "your own, where a debugger reaches them",
        python=interpreter(),
    )


def _run_arithmetic(
    program: Program,
    inputs: np.ndarray,
    on: str,
    record_states: bool,
    progress: Progress | None,
    timeout_s: float | None,
) -> RunResult:
    run_cells = import_module("neurodeploy.engine.cells").run_cells  # Numba's; no worker in another Python needs it
    return run_cells(program, inputs, record_states, progress, arithmetic=on.removeprefix("engine-"))


def _run_on_machine(
    program: Program,
    inputs: np.ndarray,
    on: str,
    record_states: bool,
    progress: Progress | None,
    timeout_s: float | None,
) -> RunResult:
    if record_states:
        why, fix = "the script that runs there records spikes", "leave out --record-states"
        raise UnsupportedError(Finding("ND345", on, "only spikes are read back from the machine", why, fix))
    named = os.environ.get(MACHINE)
    return run_on_machine(program, inputs, Path(named) if named else None, timeout_s)


RUNNERS: dict[str, Callable[..., RunResult]] = {
    "nest": run_on_simulator,
    "brian2": run_on_simulator,
    "spynnaker": _run_on_machine,
    "engine-s16.15": _run_arithmetic,
}


def _usage(what: str, why: str, fix: str) -> Finding:
    return Finding("ND313", "run", what, why, fix)
