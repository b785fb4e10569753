"""Runs a program on Lava: on its real runtime in a supervised child process, or on its process models alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

import neurodeploy
from neurodeploy.backends.loihi2 import job
from neurodeploy.backends.loihi2.lava_compat import LAVA_VERSION, availability, require_lava
from neurodeploy.backends.loihi2.schedule import Schedule, by_sample, refuse_misfits
from neurodeploy.errors import BackendFailedError, BackendUnavailableError, Finding, UsageError
from neurodeploy.ir.program import Program
from neurodeploy.results import RunResult, decide

EXECUTORS = {
    "lava": f"lava {LAVA_VERSION} runtime",
    "lava-models": f"lava {LAVA_VERSION} process models, no runtime",
}
"""What a result says about who computed it."""

WORKER = "neurodeploy.backends.loihi2.worker"
POLL_S = 0.05
START_S = 120.0
STALL_S = 120.0
STEP_S = 2.0
"""Generous limits, in seconds: to start, without a single step done, and per step on average where the caller sets no
limit. Three layers of 100 neurons take 2 ms a step on two cores."""
GRACE_S = 2.0
"""Seconds between asking the worker's processes to end and killing them."""
LAST_LINES = 30
SOCKET_PATH_MAX = 103
"""The longest path of a Unix socket, on macOS; Linux allows four more."""
SOCKET_IN_JOB = len("/pymp-12345678/listener-12345678")

Progress = Callable[[int, int], None]


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
        with supervised_worker(directory) as process:
            await_result(process, directory, total, progress, timeout_s)
        return read_result(directory, program, record_states)


@contextmanager
def supervised_worker(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the worker in a session of its own; on any way out, end every process of that session."""
    root = Path(neurodeploy.__file__).resolve().parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if len(str(directory)) + SOCKET_IN_JOB <= SOCKET_PATH_MAX:
        environment["TMPDIR"] = str(directory)  # where multiprocessing leaves a folder when it is ended
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, str(directory), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_session(process)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End the worker and everything it started: SIGTERM, two seconds, SIGKILL.

    SIGTERM first, because Python's resource tracker ignores it and removes the shared memory the others leave.
    """
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        deadline = time.monotonic() + GRACE_S
        while session_is_alive(process.pid) and time.monotonic() < deadline:
            process.poll()
            time.sleep(POLL_S)
    process.wait()


def session_is_alive(group: int) -> bool:
    """Whether any process of the group still runs; where /proc tells, one that only waits to be reaped does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    if not Path("/proc/self/stat").exists():
        return True
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = status.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(member_of) == group and state not in "ZX":
            return True
    return False


def await_result(
    process: subprocess.Popen[bytes],
    directory: Path,
    total: int,
    progress: Progress | None,
    timeout_s: float | None,
) -> None:
    """Return when the worker has written its result.

    Raises:
        BackendFailedError: ND303 when it ended without one, ND304 when it is too slow or stands still.
    """
    clocks = np.memmap(directory / job.CLOCK, dtype=np.int64, mode="r")
    begin = last_change = time.monotonic()
    limit = START_S + total * STEP_S if timeout_s is None else timeout_s
    done = 0
    while not (directory / job.RESULT).exists():
        ended = process.poll() is not None
        now = time.monotonic()
        if int(clocks.min()) != done:
            done, last_change = int(clocks.min()), now
            if progress is not None:
                progress(done, total)
        if ended and not (directory / job.RESULT).exists():
            raise BackendFailedError(_failed(directory, f"Lava's runtime ended with exit code {process.returncode}"))
        if now - begin > limit:
            raise BackendFailedError(_too_long(directory, f"step {done} of {total} after {limit:g} s"))
        if now - last_change > STALL_S:
            raise BackendFailedError(
                _too_long(directory, f"no step for {now - last_change:.0f} s at {done} of {total}")
            )
        time.sleep(POLL_S)
    if progress is not None and done != total:
        progress(total, total)


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
        **json.loads((directory / job.RESULT).read_text()),
    )


def last_lines(directory: Path) -> str:
    """Return the end of what the worker and Lava's processes printed."""
    text = (directory / "log").read_text(errors="replace").strip()
    return "\n".join(text.splitlines()[-LAST_LINES:]) or "(nothing was printed)"


def _usage(what: str, why: str, fix: str) -> Finding:
    return Finding("ND307", "run", what, why, fix)


def _failed(directory: Path, what: str) -> Finding:
    return Finding(
        "ND303",
        EXECUTORS["lava"],
        f"{what}; its last lines:\n{last_lines(directory)}",
        "the real runtime runs in a child process, and that process did not finish",
        'see the lines above; on="lava-models" runs the same models in this process, where a debugger reaches them',
    )


def _too_long(directory: Path, what: str) -> Finding:
    return Finding(
        "ND304",
        EXECUTORS["lava"],
        f"given up: {what}; its last lines:\n{last_lines(directory)}",
        "Lava's runtime waits for ever when one of its processes does",
        "give more time with timeout_s, run fewer samples, or use the engine",
    )
