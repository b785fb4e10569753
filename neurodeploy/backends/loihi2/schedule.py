"""When each sample is where, and whether Lava's Processes can keep to it. Imports no Lava.

Every connection Process sends in each step what it summed up in the step before, so each layer is one step later than
the one before it, and nothing can wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, raise_all
from neurodeploy.ir.program import ConvSynapses, Program


@dataclass(frozen=True)
class Schedule:
    """When each sample is in each population: step k of sample j happens at time step 1 + latency + j period + k."""

    steps: int
    samples: int
    period: int

    @staticmethod
    def of(program: Program, steps: int, samples: int) -> Schedule:
        """Samples back to back; in a program with loops one empty step keeps the spikes of one out of the next."""
        return Schedule(steps, samples, steps + int(program.recurrent))

    def total_steps(self, program: Program) -> int:
        """Return the time steps until the slowest population has finished the last sample."""
        latency = max(population.latency_steps for population in program.populations)
        return latency + (self.samples - 1) * self.period + self.steps


def by_sample(rows: np.ndarray, schedule: Schedule) -> np.ndarray:
    """Return recorded rows as (step, sample, *neuron), without the steps between samples."""
    samples = rows.reshape(schedule.samples, schedule.period, *rows.shape[1:])
    return np.ascontiguousarray(samples[:, : schedule.steps].swapaxes(0, 1))


def refuse_misfits(program: Program) -> None:
    """Refuse a program that Lava's Processes would not compute.

    Raises:
        UnsupportedError: ND305, ND306.
    """
    raise_all(UnsupportedError, list(misfits(program)))


def misfits(program: Program) -> Iterator[Finding]:
    """Say what in `program` Lava's Processes would not compute; a compiled program has none of it."""
    latency = {program.input.name: 0} | {p.name: p.latency_steps for p in program.populations}
    for projection in program.projections:
        due = latency[projection.source] + (0 if projection.recurrent else 1)
        if latency[projection.target] != due:
            yield Finding(
                "ND305",
                projection.name,
                f"{projection.target} starts {latency[projection.target]} steps after the input, "
                f"but {projection.source} reaches it after {due}",
                "every connection takes one step, and no population can wait for another",
                "compile the network again; if it persists, report it",
            )
        if isinstance(projection.synapses, ConvSynapses) and projection.exponent != 0:
            yield Finding(
                "ND306",
                projection.name,
                f"a convolution with weight exponent {projection.exponent}",
                "Lava 0.10's Conv stores the exponent and does not apply it",
                "compile with exponent 0 for convolutions, or unroll the convolution into sparse synapses",
            )
