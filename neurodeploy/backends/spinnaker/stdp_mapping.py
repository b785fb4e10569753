"""Has sPyNNaker map features that learn by STDP onto a virtual board, which runs nothing, in a child process."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.availability import environment, interpreter, missing
from neurodeploy.backends.spinnaker.learning_job import LearningJob, write_learning_job
from neurodeploy.backends.spinnaker.mapping import LIMIT_S, VIRTUAL
from neurodeploy.backends.supervision import RESULT, Worker, await_result, supervised
from neurodeploy.errors import BackendUnavailableError, Finding
from neurodeploy.ir.additive import AdditiveProgram

WORKER = Worker(
    "neurodeploy.backends.spinnaker.stdp_mapper",
    "sPyNNaker",
    failed="ND311",
    late="ND312",
    remedy="see the lines above; --on nest learns without a board",
)


def map_learning(program: AdditiveProgram, inputs: np.ndarray, timeout_s: float | None = None) -> dict[str, Any]:
    """Return where sPyNNaker puts the features and what feeds them: cores, their chips, SDRAM and binaries.

    Args:
        inputs: uint8 (sample, step, input), for which sources are planned.

    Raises:
        BackendUnavailableError: ND310 when sPyNNaker is not here.
        BackendFailedError: ND311, ND312 when it failed or took too long.
    """
    absent = missing("spynnaker")
    if absent is not None:
        raise BackendUnavailableError(absent)
    job = LearningJob(program, inputs, np.zeros(len(inputs), np.int64), "spynnaker", trajectory=False)
    with tempfile.TemporaryDirectory(prefix="neurodeploy-") as name:
        directory = Path(name)
        write_learning_job(directory, job)
        (directory / ".spynnaker.cfg").write_text(VIRTUAL)
        limit = LIMIT_S if timeout_s is None else timeout_s
        worker = replace(WORKER, python=interpreter())
        with supervised(worker, directory, environment(directory) | {"HOME": name}) as process:
            await_result(worker, process, directory, int(limit), None, limit)
        return json.loads((directory / RESULT).read_text())  # type: ignore[no-any-return]


def mapped_only(program: AdditiveProgram, inputs: np.ndarray, timeout_s: float | None = None) -> Finding:
    """Return why nothing is learned on a virtual board, and where sPyNNaker would put it; raises as `map_learning`."""
    found = map_learning(program, inputs, timeout_s)
    cores = found["cores"]
    chips, sdram = {tuple(core["chip"]) for core in cores}, sum(core["sdram"] for core in cores)
    binary = next(core["binary"] for core in cores if core["population"] == program.features.name)
    what = f"mapped on {len(cores)} cores of {len(chips)} chip(s), {sdram:,} bytes of SDRAM, {binary}; not learned"
    why = f"sPyNNaker {found['spynnaker']}'s virtual board plans and fills a machine, and runs nothing"
    return Finding("ND315", "spynnaker", what, why, "learn with --on nest or --on brian2")
