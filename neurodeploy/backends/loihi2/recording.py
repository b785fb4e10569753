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
