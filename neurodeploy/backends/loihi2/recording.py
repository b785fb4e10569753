"""Where a process model writes what it did, readable by the process that built it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod

import numpy as np


def shared_array(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return zeros in anonymous memory that forked processes share; it has no name, so nothing can be left behind."""
    size = max(1, prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(mmap.mmap(-1, size), dtype=dtype, count=prod(shape)).reshape(shape)


@dataclass(frozen=True, eq=False)
class LearningRecord:
    """The memory of a network that learns.

    Args:
        spikes: uint8 (step, output), the output's spikes, row 0 of time step 1.
        weights: per synapse group (row, post, pre): one row, of the last step, or a row for every step.
        clock: int64 (1,), the last time step that was completed.
        counters: int64 (2,), synaptic operations and updates so far; -1 where nobody counts.
    """

    spikes: np.ndarray
    weights: tuple[np.ndarray, ...]
    clock: np.ndarray
    counters: np.ndarray

    def write(self, time_step: int, spikes: np.ndarray, weights: tuple[np.ndarray, ...], counters: np.ndarray) -> None:
        """Keep one completed step."""
        if time_step <= len(self.spikes):
            self.spikes[time_step - 1] = spikes
            self.counters[:] = counters
            if time_step == len(self.spikes) or len(self.weights[0]) > 1:
                for rows, weight in zip(self.weights, weights, strict=True):
                    write_weights(rows, time_step, weight)
        self.clock[0] = time_step

    def of_output(self) -> Recording:
        """Return the part that the output's neurons write."""
        return Recording(1, self.spikes, None, None, self.clock)


def write_weights(rows: np.ndarray, time_step: int, weight: np.ndarray) -> None:
    """Keep the weights of one synapse group after a step."""
    row = min(time_step, len(rows)) - 1
    rows[row] = weight


@dataclass(frozen=True, eq=False)
class Recording:
    """The memory of one population, one row per time step from `first_step` on.

    Args:
        first_step: Lava time step (counted from 1) of row 0; steps before it and after the last row are not kept.
        spikes: uint8 (row, *neuron).
        currents, voltages: int32 (row, *neuron) after the reset, or None when states are not wanted.
        clock: int64 (1,), the last time step that was completed.
    """

    first_step: int
    spikes: np.ndarray
    currents: np.ndarray | None
    voltages: np.ndarray | None
    clock: np.ndarray

    def states(self) -> tuple[np.ndarray, np.ndarray]:
        """Return currents and voltages of a recording that was made with states."""
        assert self.currents is not None
        assert self.voltages is not None
        return self.currents, self.voltages

    def write(self, time_step: int, spikes: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        """Keep one completed step."""
        row = time_step - self.first_step
        if 0 <= row < len(self.spikes):
            self.spikes[row] = spikes
            if self.currents is not None and self.voltages is not None:
                self.currents[row] = u
                self.voltages[row] = v
        self.clock[0] = time_step
