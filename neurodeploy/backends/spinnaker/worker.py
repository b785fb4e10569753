"""The child process in which a simulator runs: `python -m neurodeploy.backends.spinnaker.worker JOB PARENT_PID`.

It may be another interpreter than the parent's (see `availability`), so it imports NumPy, SciPy and PyNN only.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from neurodeploy.backends.spinnaker.job import read_job, write_result
from neurodeploy.backends.supervision import CLOCK, serve


def execute(directory: Path) -> None:
    """Run the job and write its results."""
    setting = read_job(directory)
    simulator = import_module(f"neurodeploy.backends.spinnaker.on_{setting.simulator}")
    clock = np.memmap(directory / CLOCK, dtype=np.int64, mode="r+", shape=(1,))

    def progress(steps: int) -> None:
        clock[0] = steps

    begin = time.perf_counter()
    records = simulator.simulate(setting.program, setting.samples, setting.record_states, progress)
    seconds = time.perf_counter() - begin
    version, pynn = (import_module(name).__version__ for name in (setting.simulator, "pyNN"))
    executor = f"{setting.simulator} {version} through PyNN {pynn}"
    write_result(directory, records, {"seconds": seconds, "executor": executor})


if __name__ == "__main__":
    serve(execute, *sys.argv[1:])
