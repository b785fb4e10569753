"""Run jobs on local processes or a Dask cluster; what is done is on disk and is not done again.

    DIR/results/JOB.json    rows of a finished job            DIR/models/JOB.pt    the network of a train job
    DIR/unfinished/JOB      checkpoint of a training that was interrupted (local workers only)

A job goes to a worker with everything it needs and comes back as plain rows, so workers share no folder, only the data
(NEURODEPLOY_DATA). When this process ends, however it ends, local workers end too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from neurodeploy.benchmark.grid import Grid, Job
from neurodeploy.benchmark.jobs import run as do
from neurodeploy.benchmark.table import Row, Table
from neurodeploy.errors import BackendUnavailableError, Finding, NeurodeployError

Progress = Callable[[str, int, int], None]
WATCH_S = 1.0
"""How often a local worker looks whether its parent is still there."""


def run(
    grid: Grid,
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> tuple[Table, list[str]]:
    """Run what of `grid` is not done yet and return the whole table, and what went wrong, a line per failed job.

    Args:
        folder: results, models and checkpoints; made if absent.
        workers: local processes; None: one per core.
        scheduler: address of a Dask scheduler, e.g. "tcp://host:8786", instead of local workers.

    Raises:
        BackendUnavailableError: ND092 when Dask is missing or does not answer.
    """
    for name in ("results", "models", "unfinished"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    todo = list(grid.jobs())
    total, failed = len(todo), []
    pending = [job for job in todo if not _done(job, folder)]
    if pending:
        with _executor(workers, scheduler) as executor:
            running: dict[Future, Job] = {}
            waiting = list(pending)
            while waiting or running:
                for job in [job for job in waiting if all(_model(need, folder).exists() for need in job.needs)]:
                    waiting.remove(job)
                    local = None if scheduler else folder / "unfinished" / job.id
                    networks = [_model(need, folder).read_bytes() for need in job.needs]
                    running[executor.submit(do, job, networks, local)] = job
                if not running:
                    failed += [f"{job.id}: the network it needs was not trained" for job in waiting]
                    break
                future = next(as_completed(running))
                job = running.pop(future)
                try:
                    rows, network = future.result()
                except NeurodeployError as error:
                    failed.append(f"{job.id}: {error.findings[0].what} ({error.findings[0].code})")
                    continue
                _keep(job, rows, network, folder)
                if progress:
                    progress("jobs", total - len(waiting) - len(running), total)
    rows = [row for job in todo for row in _rows(job, folder)]
    table = Table(rows)
    table.write(folder / "results.csv")
    return table, failed


def _done(job: Job, folder: Path) -> bool:
    return (folder / "results" / f"{job.id}.json").exists()


def _model(job_id: str, folder: Path) -> Path:
    return folder / "models" / f"{job_id}.pt"


def _keep(job: Job, rows: list[Row], network: bytes | None, folder: Path) -> None:
    """Write what a job returned: its network first, because its rows say that it is done."""
    if network is not None:
        _write(_model(job.id, folder), network)
    plain = {"job": asdict(job), "rows": [asdict(row) for row in rows]}
    _write(folder / "results" / f"{job.id}.json", json.dumps(plain, indent=1).encode())


def _rows(job: Job, folder: Path) -> Iterator[Row]:
    path = folder / "results" / f"{job.id}.json"
    if path.exists():
        yield from (Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"])


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


@contextmanager
def _executor(workers: int | None, scheduler: str | None) -> Iterator[Executor]:
    """Give local processes, or the executor of a Dask cluster; on the way out whatever still runs is given up."""
    if scheduler is None:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context, initializer=_follow_parent)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return
    try:
        from distributed import Client
    except ImportError as error:
        fix = 'pip install "neurodeploy[cluster]"'
        finding = Finding("ND092", "--scheduler", "Dask is not installed", str(error), fix)
        raise BackendUnavailableError(finding) from error
    try:
        client = Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        what, why = f"no Dask scheduler answers at {scheduler}", str(error)
        fix = "start one with `dask scheduler` and `dask worker`, or leave --scheduler out"
        raise BackendUnavailableError(Finding("ND092", "--scheduler", what, why, fix)) from error
    with client:
        yield client.get_executor(pure=False)


def _follow_parent() -> None:
    """End this worker as soon as the process that started it is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while parent is not None and parent.is_alive():
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
