"""When samples run in one start of a simulator: one after the other, each from rest, and nothing of one in the next.

Sample k's input step j is step k * period + FIRST_STEP + j of the simulator, and what a population answers to it comes
`timing.steps[name]` steps later. Between two samples is a pause in which what is still on its way arrives and is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.backends.spinnaker.cells import STEP_MS, Timing, timing_of
from neurodeploy.ir.program import Population, Program

FIRST_STEP = 2
"""The earliest step in which a source of NEST's can fire: it sends through a relay, and nothing happens in step 0."""
SETTLING_STEPS = 2
"""Steps of a pause beside the longest delay: for a current to reach the membrane, and a refractory step."""


@dataclass(frozen=True)
class Schedule:
    """`steps` of `samples`; `busy` steps from a period's start to the last answer, then a `pause`."""

    steps: int
    samples: int
    timing: Timing
    busy: int
    pause: int

    @staticmethod
    def of(program: Program, simulator: str, steps: int, samples: int) -> Schedule:
        timing = timing_of(program, simulator)
        busy = FIRST_STEP + max(timing.steps.values()) + steps - 1
        return Schedule(steps, samples, timing, busy, max(timing.delays.values()) + SETTLING_STEPS)

    @property
    def period(self) -> int:
        return self.busy + self.pause

    @property
    def total_steps(self) -> int:
        return self.samples * self.period

    def begin(self, sample: int) -> int:
        """Return the step in which a sample's first input fires."""
        return sample * self.period + FIRST_STEP

    def input_spikes(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return neuron and time in ms of each spike of `samples` (sample, step, neuron), by neuron and then time."""
        neuron, sample, step = np.nonzero(samples.transpose(2, 0, 1))
        return neuron, (self.begin(0) + sample * self.period + step) * STEP_MS

    def bias_times(self, name: str) -> np.ndarray:
        """Return when, in ms, a population's source of bias fires: in every step of its own."""
        begin = self.begin(0) + self.timing.bias_steps[name]
        return ((begin + np.arange(self.steps) + self.period * np.arange(self.samples)[:, None]) * STEP_MS).reshape(-1)

    def raster(self, population: Population, times: np.ndarray, neurons: np.ndarray) -> np.ndarray:
        """Return recorded spikes as uint8 (step, sample, *neuron) in the population's own steps; others are dropped."""
        since = np.rint(times / STEP_MS).astype(np.int64) - self.begin(0) - self.timing.steps[population.name]
        sample, step = np.divmod(since, self.period)
        kept = (sample >= 0) & (sample < self.samples) & (step < self.steps)
        raster = np.zeros((self.steps, self.samples, population.size), np.uint8)
        raster[step[kept], sample[kept], neurons[kept]] = 1
        return raster.reshape(self.steps, self.samples, *population.shape)

    def window(self, name: str, sample: int, lead: int = 0) -> slice:
        """Return the simulator's steps that are a population's own in one sample, `lead` steps earlier."""
        begin = self.begin(sample) + self.timing.steps[name] - lead
        return slice(begin, begin + self.steps)
