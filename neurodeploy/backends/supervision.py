"""Runs a vendor's simulator in a child process of its own, and ends whatever it started on any way out.

The two hand each other a directory: the parent writes the job, the worker counts its steps in `CLOCK`, which both map,
and writes `RESULT` last.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import neurodeploy
from neurodeploy.errors import BackendFailedError, Finding

CLOCK = "clock"
"""int64, one number or more: the last completed time step of each part."""
RESULT = "result.json"
LOG = "log"
POLL_S = 0.05
START_S = 120.0
STALL_S = 120.0
STEP_S = 2.0
"""Generous limits, in seconds: to start, without a single step done, and per step on average where the caller sets no
limit. Three layers of 100 neurons take 2 ms a step on two cores of Lava's."""
WATCH_S = 0.1
"""Seconds between two looks of a worker at whether its parent lives."""
ORPHANED = threading.Event()
"""Set in a worker whose parent is gone, before its job is removed."""
REMOVALS = 3
"""Times a job is removed: a thread that still writes may fill the folder again."""
GRACE_S = 2.0
"""Seconds between asking the worker's processes to end and killing them."""
LAST_LINES = 30
SOCKET_PATH_MAX = 103
"""The longest path of a Unix socket, on macOS; Linux allows four more."""
SOCKET_IN_JOB = len("/pymp-12345678/listener-12345678")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Worker:
    """A kind of child process.

    Args:
        module: run as `python -m module DIRECTORY PARENT_PID`.
        name: of who computes, for messages.
        failed, late: codes of the findings when it ends without a result, and when it takes too long.
        remedy: what to do when it failed.
        python: its interpreter; None: this one.
        counts: what its clock counts.
    """

    module: str
    name: str
    failed: str
    late: str
    remedy: str
    python: str | None = None
    counts: str = "step"


@contextmanager
def supervised(
    worker: Worker, directory: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the worker in a session of its own; on any way out, end every process of that session.

    Args:
        environment: variables that differ from this process's.
    """
    root = Path(neurodeploy.__file__).resolve().parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    variables |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if len(str(directory)) + SOCKET_IN_JOB <= SOCKET_PATH_MAX:
        variables["TMPDIR"] = str(directory)  # where multiprocessing leaves a folder when it is ended
    with (directory / LOG).open("wb") as log:
        process = subprocess.Popen(
            [worker.python or sys.executable, "-P", "-m", worker.module, str(directory), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=variables | dict(environment or {}),
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
    worker: Worker,
    process: subprocess.Popen[bytes],
    directory: Path,
    total: int,
    progress: Progress | None,
    timeout_s: float | None,
) -> None:
    """Return when the worker has written its result.

    Args:
        total: time steps it is to take.
        timeout_s: the one limit, in seconds, if named; otherwise it may neither be slow nor stand still.

    Raises:
        BackendFailedError: `worker.failed` when it ended without one, `worker.late` when it is too slow or stands
            still.
    """
    clocks = np.memmap(directory / CLOCK, dtype=np.int64, mode="r")
    begin = last_change = time.monotonic()
    limit = START_S + total * STEP_S if timeout_s is None else timeout_s
    done = 0
    while not (directory / RESULT).exists():
        ended = process.poll() is not None
        now = time.monotonic()
        if int(clocks.min()) != done:
            done, last_change = int(clocks.min()), now
            if progress is not None:
                progress(done, total)
        if ended and not (directory / RESULT).exists():
            raise BackendFailedError(_failed(worker, directory, f"it ended with exit code {process.returncode}"))
        if now - begin > limit:
            raise BackendFailedError(
                _too_long(worker, directory, f"{worker.counts} {done} of {total} after {limit:g} s")
            )
        if timeout_s is None and now - last_change > STALL_S:
            stands = f"no {worker.counts} for {now - last_change:.0f} s at {done} of {total}"
            raise BackendFailedError(_too_long(worker, directory, stands))
        time.sleep(POLL_S)
    if progress is not None and done != total:
        progress(total, total)


def last_lines(directory: Path) -> str:
    """Return the end of what the worker and all it started printed."""
    text = (directory / LOG).read_text(errors="replace").strip()
    return "\n".join(text.splitlines()[-LAST_LINES:]) or "(nothing was printed)"


def _failed(worker: Worker, directory: Path, what: str) -> Finding:
    return Finding(
        worker.failed,
        worker.name,
        f"{what}; its last lines:\n{last_lines(directory)}",
        "it runs in a child process, and that process did not finish",
        worker.remedy,
    )


def _too_long(worker: Worker, directory: Path, what: str) -> Finding:
    return Finding(
        worker.late,
        worker.name,
        f"given up: {what}; its last lines:\n{last_lines(directory)}",
        "a simulator that waits for one of its own processes waits for ever",
        "give more time with --timeout (timeout_s in Python), run fewer samples, or use the engine",
    )


# in the worker


def serve(
    execute: Callable[[Path], None],
    directory: str,
    parent: str,
    *,
    counts_seconds: bool = False,
    tell: Callable[[Path, BaseException], None] | None = None,
) -> None:
    """Be a worker: run a job and end this process, whatever happens, and all it started when the parent is gone.

    Args:
        execute: takes the job's folder and leaves its result there.
        directory, parent: as `supervised` names them on the command line.
        counts_seconds: whether seconds are counted where the parent looks for steps.
        tell: called with the folder and what was raised, before the traceback becomes the last lines.
    """
    folder = Path(directory)
    threading.Thread(target=watch_parent, args=(int(parent), folder), daemon=True).start()
    if counts_seconds:
        threading.Thread(target=count_seconds, args=(folder,), daemon=True).start()
    try:
        execute(folder)
    except BaseException as error:  # whatever it was, the parent reports it
        if tell is not None:
            tell(folder, error)
        fail(traceback.format_exc())
    leave(int(parent), folder)


def finish(directory: Path, result: dict[str, Any]) -> None:
    """Write the result, whole or not at all; what belongs to it lies in the directory already."""
    unfinished = directory / f"{RESULT}.part"
    unfinished.write_text(json.dumps(result))
    unfinished.replace(directory / RESULT)


def count_seconds(directory: Path) -> None:
    """Count seconds where the parent looks for steps, in a thread of a worker that knows of none."""
    clock = np.memmap(directory / CLOCK, dtype=np.int64, mode="r+", shape=(1,))
    while True:
        clock[0] += 1
        time.sleep(1.0)


def watch_parent(parent: int, directory: Path) -> None:
    """When the process that asked for the run is gone, remove the job and end the whole process group."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    ORPHANED.set()
    for _ in range(REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGTERM)


def leave(parent: int, directory: Path) -> None:
    """End without exit handlers, which may hang; where nobody is left to read the result, remove it first."""
    if os.getppid() != parent:
        shutil.rmtree(directory, ignore_errors=True)
    _end(0)


def fail(message: str) -> None:
    """Write `message` where the parent looks for last lines, and end without exit handlers, which may hang."""
    sys.stderr.write(message.rstrip() + "\n")
    sys.stderr.flush()
    _end(1)


def _end(code: int) -> None:
    """End this process; one without a parent waits to be ended by `watch_parent`, which removes the job first."""
    if ORPHANED.is_set():
        threading.Event().wait()
    os._exit(code)
