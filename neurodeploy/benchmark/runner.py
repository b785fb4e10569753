"""Run jobs on local processes or a Dask cluster; what is done is on disk and is not done again.

    DIR/results/JOB.json    rows of a finished job            DIR/models/JOB.pt    the network of a train job
    DIR/unfinished/JOB      checkpoint of a training that was interrupted (local workers only)

A job goes to a worker with everything it needs and comes back as plain rows, so workers share no folder, only the data
(NEURODEPLOY_DATA). When this process ends, however it ends, local workers end too. When a local worker is killed, the
others end with it; the jobs that ran then are tried once more, each alone, in a new one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from neurodeploy.benchmark.grid import Grid, Job
from neurodeploy.benchmark.jobs import run as do
from neurodeploy.benchmark.table import Row, Table
from neurodeploy.errors import BackendUnavailableError, Finding, NeurodeployError

Progress = Callable[[str, int, int], None]
WATCH_S = 1.0
"""How often a local worker looks whether its parent is still there."""
ANSWER_S = 10.0
"""How long a Dask scheduler may take to answer."""


def run(
    grid: Grid,
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> tuple[Table, list[str]]:
    """Run what of `grid` is not done yet and return the whole table, and what went wrong, a line per failed job.

    A job that fails, whatever it raises, takes only those with it that need its network.

    Args:
        folder: results, models and checkpoints; made if absent.
        workers: local processes; None: one per core.
        scheduler: address of a Dask scheduler, e.g. "tcp://host:8786", instead of local workers.

    Raises:
        UsageError: ND075 for options that a rule has not.
        BackendUnavailableError: ND092 when Dask is missing or does not answer.
    """
    todo = list(grid.jobs())
    for name in ("results", "models", "unfinished"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    waiting = [job for job in todo if not _done(job, folder)]
    most = (workers or os.cpu_count() or 1) if scheduler is None else len(todo)
    failed: list[str] = []
    retried: set[str] = set()
    running: dict[Future, Job] = {}
    with ExitStack() as stack:
        executor = stack.enter_context(_executor(workers, scheduler)) if waiting else None
        while executor is not None and (waiting or running):
            ready = [job for job in waiting if all(_model(need, folder).exists() for need in job.needs)]
            suspected = any(job.id in retried for job in (*waiting, *running.values()))
            for job in ready[: max(0, (1 if suspected else most) - len(running))]:
                waiting.remove(job)
                running[_submit(executor, job, folder, local=scheduler is None)] = job
            if not running:
                failed += [f"{job.id}: the network it needs was not trained" for job in waiting]
                break
            future = next(as_completed(running))
            error = future.exception()
            if isinstance(error, BrokenExecutor):
                lost = [running.pop(each) for each in list(running) if isinstance(each.exception(), BrokenExecutor)]
                failed += [f"{job.id}: {_says(error)}" for job in lost if job.id in retried]
                waiting = [job for job in lost if job.id not in retried] + waiting
                retried |= {job.id for job in lost}
                executor = stack.enter_context(_executor(workers, scheduler))
                continue
            job = running.pop(future)
            if error is None:
                rows, network = future.result()
                _keep(job, rows, network, folder)
            else:
                failed.append(f"{job.id}: {_says(error)}")
            if progress:
                progress("jobs", len(todo) - len(waiting) - len(running), len(todo))
    table = Table(row for job in todo for row in _rows(job, folder))
    table.write(folder / "results.csv")
    return table, failed


def _submit(executor: Executor, job: Job, folder: Path, *, local: bool) -> Future:
    """Send a job with the networks it needs; a pool that is broken already answers as if it broke under the job."""
    networks = [_model(need, folder).read_bytes() for need in job.needs]
    try:
        return executor.submit(do, job, networks, folder / "unfinished" / job.id if local else None)
    except BrokenExecutor as error:
        refused: Future = Future()
        refused.set_exception(error)
        return refused


def _says(error: BaseException) -> str:
    """Return what went wrong: our own finding with its code, or the exception with its type."""
    if isinstance(error, NeurodeployError):
        return f"{error.findings[0].what} ({error.findings[0].code})"
    return f"{type(error).__name__}: {error}"


def _done(job: Job, folder: Path) -> bool:
    """Whether a job's rows are there, and of a training its network too."""
    rows = (folder / "results" / f"{job.id}.json").exists()
    return rows and (job.kind != "train" or _model(job.id, folder).exists())


def _model(job_id: str, folder: Path) -> Path:
    return folder / "models" / f"{job_id}.pt"


def _keep(job: Job, rows: list[Row], network: bytes | None, folder: Path) -> None:
    """Write what a job returned: its network first, because its rows say that it is done; its checkpoint goes last."""
    if network is not None:
        _write(_model(job.id, folder), network)
    plain = {"job": asdict(job), "rows": [asdict(row) for row in rows]}
    _write(folder / "results" / f"{job.id}.json", json.dumps(plain, indent=1).encode())
    (folder / "unfinished" / job.id).unlink(missing_ok=True)


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
        client = Client(scheduler, timeout=ANSWER_S)
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
