"""Runs a program on Lava: on its real runtime in a supervised child process, or on its process models alone."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from neurodeploy.backends.loihi2 import job
from neurodeploy.backends.loihi2.lava_compat import LAVA_VERSION, availability, require_lava
from neurodeploy.backends.loihi2.schedule import Schedule, by_sample, refuse_misfits
from neurodeploy.backends.supervision import RESULT, Progress, Worker, await_result, supervised
from neurodeploy.errors import BackendUnavailableError, Finding, UsageError
from neurodeploy.ir.program import Program
from neurodeploy.results import RunResult, decide

EXECUTORS = {
    "lava": f"lava {LAVA_VERSION} runtime",
    "lava-models": f"lava {LAVA_VERSION} process models, no runtime",
}
"""What a result says about who computed it."""

WORKER = Worker(
    "neurodeploy.backends.loihi2.worker",
    EXECUTORS["lava"],
    failed="ND303",
    late="ND304",
    remedy='see the lines above; on="lava-models" runs the same models in this process, where a debugger reaches them',
)


def run(
    program: Program,
    inputs: np.ndarray,
    *,
    on: str = "lava",
    record_states: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run every sample of `inputs` through `program`, all in one start of Lava.

    Args:
        program: as compiled for Loihi.
        inputs: int32 (step, sample, *input shape), spikes or integer payloads.
        on: "lava" for the real runtime, "lava-models" for the same models stepped without it.
        record_states: whether to return currents and voltages.
        progress: called now and then with the time steps done and the time steps in total.
        timeout_s: wall time after which a run on "lava" is given up; by default scaled with the number of steps.

    Raises:
        BackendUnavailableError: ND300, ND301, ND302: Lava cannot be used here.
        BackendFailedError: ND303 when the run failed, ND304 when it took too long; both with its last lines.
        UnsupportedError: ND305, ND306 when Lava's Processes would not compute the program.
        UsageError: ND307 for inputs of a wrong shape or an unknown `on`.
    """
    if on not in EXECUTORS:
        raise UsageError(_usage(f"on={on!r}", "there is no such executor here", f"one of {', '.join(EXECUTORS)}"))
    if inputs.shape[2:] != program.input.shape or 0 in inputs.shape:
        expected = ", ".join(str(n) for n in ("step", "sample", *program.input.shape))
        raise UsageError(_usage(f"inputs of shape {inputs.shape}", f"the program reads ({expected})", "reshape them"))
    missing = availability()
    if missing is not None:
        raise BackendUnavailableError(missing)
    samples = np.ascontiguousarray(inputs.swapaxes(0, 1), dtype=np.int32)
    if on == "lava-models":
        return run_on_models(program, samples, record_states, progress)
    return run_on_runtime(program, samples, record_states, progress, timeout_s)


def run_on_models(
    program: Program, samples: np.ndarray, record_states: bool = False, progress: Progress | None = None
) -> RunResult:
    """Step Lava's process models in this process; samples int32 (sample, step, *input shape)."""
    require_lava()
    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.network import attach_recordings, connect, run_configuration
    from neurodeploy.backends.loihi2.processes import SpikeInput

    schedule = Schedule.of(program, steps=samples.shape[1], samples=samples.shape[0])
    total = schedule.total_steps(program)
    with registries_restored():
        source = SpikeInput(samples=samples, period=schedule.period, name=program.input.name)
        network = connect(program, source.s_out, schedule)
        recordings = attach_recordings(network, record_states, np.zeros(len(program.populations), np.int64))
        models = build_models(source, run_configuration())
        begin = time.perf_counter()
        step_models(models, total, progress)
        seconds = time.perf_counter() - begin
    spikes = {name: by_sample(recording.spikes, schedule) for name, recording in recordings.items()}
    states: dict[str, dict[str, np.ndarray]] = {"currents": {}, "voltages": {}}
    if record_states:
        for name, recording in recordings.items():
            u, v = recording.states()
            states["currents"][name], states["voltages"][name] = by_sample(u, schedule), by_sample(v, schedule)
    return RunResult(
        EXECUTORS["lava-models"],
        spikes,
        decide(spikes[program.output]),
        seconds=seconds,
        steps_on_chip=total,
        **states,
    )


def run_on_runtime(
    program: Program,
    samples: np.ndarray,
    record_states: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run on Lava's runtime in a child process of its own; samples int32 (sample, step, *input shape)."""
    refuse_misfits(program)
    schedule = Schedule.of(program, steps=samples.shape[1], samples=samples.shape[0])
    total = schedule.total_steps(program)
    with tempfile.TemporaryDirectory(prefix="neurodeploy-") as name:
        directory = Path(name)
        job.write_job(directory, program, samples, record_states)
        with supervised(WORKER, directory) as process:
            await_result(WORKER, process, directory, total, progress, timeout_s)
        return read_result(directory, program, record_states)


def read_result(directory: Path, program: Program, record_states: bool) -> RunResult:
    """Return what the worker wrote."""

    def arrays(kind: str) -> dict[str, np.ndarray]:
        return {
            population.name: np.load(directory / f"{kind}-{index}.npy", allow_pickle=False)
            for index, population in enumerate(program.populations)
        }

    spikes = arrays("spikes")
    return RunResult(
        EXECUTORS["lava"],
        spikes,
        decide(spikes[program.output]),
        currents=arrays("currents") if record_states else {},
        voltages=arrays("voltages") if record_states else {},
        **json.loads((directory / RESULT).read_text()),
    )


def _usage(what: str, why: str, fix: str) -> Finding:
    return Finding("ND307", "run", what, why, fix)
