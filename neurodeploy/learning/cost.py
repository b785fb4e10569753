"""What a rule costs against the number of steps: peak memory and time of one update on random spikes."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from neurodeploy.errors import BackendFailedError, Finding

REPEATS = 3
ACTIVITY = 0.05
"""Probability of an input spike per step."""


@dataclass(frozen=True)
class Cost:
    """Growth of the process's memory while learning, the input itself not counted, and time, the fastest of three."""

    peak_mebibyte: float
    milliseconds_per_sample: float


def measure(rule_name: str, arch: str, inputs: int, classes: int, steps: int, batch: int) -> Cost:
    """Return what one update of `rule_name` costs on input (steps, batch, inputs), by one thread.

    Measured in a process of its own, since a process's peak memory never falls.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, rule_name, arch, inputs, classes, steps, batch)
    process = context.Process(target=_measure, args=arguments, daemon=True)
    process.start()
    sender.close()
    try:
        cost: Cost = receiver.recv()
    except EOFError as error:
        what, why = "the process that measures ended without a result", "what it said is on standard error"
        fix = 'put the script\'s work under `if __name__ == "__main__"`, or measure fewer steps'
        raise BackendFailedError(Finding("ND078", f"cost of {rule_name}", what, why, fix)) from error
    finally:
        process.join()
    return cost


def _measure(sender: Connection, rule_name: str, arch: str, inputs: int, classes: int, steps: int, batch: int) -> None:
    import torch

    from neurodeploy.ir.nodes import Input, InputKind
    from neurodeploy.learning import architectures, rule
    from neurodeploy.learning.recipes import recipe

    torch.set_num_threads(1)
    entry, usual = rule(rule_name), recipe(rule_name, "nmnist")
    network = architectures.build(arch, Input((inputs,), InputKind.SPIKES), classes, usual.neurons, seed=0)
    learner = getattr(entry.home, entry.learner)(network, entry.home.Options(**usual.options), seed=0)
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(steps, batch, inputs)
    for step in x:
        step.copy_(torch.rand(batch, inputs, generator=generator) < ACTIVITY)
    y = torch.randint(0, classes, (batch,), generator=generator)
    learner.learn(x[:1], y)
    before = _peak_mebibyte()
    durations = []
    for _ in range(REPEATS):
        start = perf_counter()
        learner.learn(x, y)
        durations.append(perf_counter() - start)
    sender.send(Cost(_peak_mebibyte() - before, 1e3 * min(durations) / batch))


def _peak_mebibyte() -> float:
    """Return the most memory this process ever had resident.

    Linux's getrusage starts from what the parent had when it spawned this process; /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return float(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
