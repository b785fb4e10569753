"""The child process in which Lava's runtime runs: `python -m neurodeploy.backends.loihi2.worker JOB PARENT_PID`.

Lava's runtime hangs for ever when a model with a consumer fails, and swallows the traceback. So a thread here watches
Lava's processes and ends this one, with the traceback, as soon as one of them fails; it also ends the whole process
group when the parent is gone. The parent does the rest (`run`): it also ends Lava's processes after a success, since
Lava's own `stop` may hang.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.loihi2.job import (
    LEARNING,
    LearningOutcome,
    read_job,
    read_learning_job,
    write_learning_result,
)
from neurodeploy.backends.loihi2.schedule import Schedule, by_sample
from neurodeploy.backends.supervision import CLOCK, WATCH_S, fail, finish, serve


def execute(directory: Path) -> None:
    """Run the job on Lava's runtime and write its results."""
    from neurodeploy.backends.loihi2.processes import SpikeInput  # isort: split

    from lava.magma.core.run_conditions import RunSteps

    from neurodeploy.backends.loihi2.network import attach_recordings, connect, run_configuration

    program, samples, record_states = read_job(directory)
    schedule = Schedule.of(program, steps=samples.shape[1], samples=samples.shape[0])
    source = SpikeInput(samples=samples, period=schedule.period, name=program.input.name)
    network = connect(program, source.s_out, schedule)
    clocks = np.memmap(directory / CLOCK, dtype=np.int64, mode="r+", shape=(len(program.populations),))
    recordings = attach_recordings(network, record_states, clocks)

    source.create_runtime(run_configuration())
    threading.Thread(target=watch_actors, args=(source.runtime,), daemon=True).start()
    steps = schedule.total_steps(program)
    begin = time.perf_counter()
    source.run(RunSteps(num_steps=steps))
    seconds = time.perf_counter() - begin

    for index, recording in enumerate(recordings.values()):
        np.save(directory / f"spikes-{index}.npy", by_sample(recording.spikes, schedule))
        if record_states:
            u, v = recording.states()
            np.save(directory / f"currents-{index}.npy", by_sample(u, schedule))
            np.save(directory / f"voltages-{index}.npy", by_sample(v, schedule))
    finish(directory, {"seconds": seconds, "steps_on_chip": steps})


def execute_learning(directory: Path) -> None:
    """Run a job that learns on Lava's runtime and write its results."""
    from neurodeploy.backends.loihi2.plasticity import run_configuration, wire  # isort: split

    from lava.magma.core.run_conditions import RunSteps

    setting = read_learning_job(directory)
    source, record = wire(setting, np.memmap(directory / CLOCK, dtype=np.int64, mode="r+", shape=(1,)))
    source.create_runtime(run_configuration(setting.program.integer, setting.graph))
    threading.Thread(target=watch_actors, args=(source.runtime,), daemon=True).start()
    begin = time.perf_counter()
    source.run(RunSteps(num_steps=len(record.spikes)))
    write_learning_result(directory, LearningOutcome.of(record, time.perf_counter() - begin))


def watch_actors(runtime: Any) -> None:
    """End this process with a traceback as soon as one of Lava's processes raises or dies.

    Lava keeps the exception in a pipe that nobody reads while `run` waits for the other processes.
    """
    while True:
        for actor in list(runtime._messaging_infrastructure.actors):
            try:
                failure = actor.exception
                died = failure is None and actor.exitcode not in (None, 0)
            except (OSError, EOFError, ValueError):
                continue  # closed by Lava, which ends an actor it has joined
            if failure is not None:
                fail(f"a process of Lava's raised:\n{failure[1]}")
            if died:
                fail(f"a process of Lava's ended with exit code {actor.exitcode}")
        time.sleep(WATCH_S)


def execute_any(directory: Path) -> None:
    """Run the job, whichever it is."""
    if (directory / LEARNING).exists():
        execute_learning(directory)
    else:
        execute(directory)


def let_actors_tell(directory: Path, error: BaseException) -> None:
    """Let `watch_actors` say what happened: Lava itself raises "1 Exception(s) occurred"."""
    time.sleep(2 * WATCH_S)


if __name__ == "__main__":
    serve(execute_any, *sys.argv[1:], tell=let_actors_tell)
