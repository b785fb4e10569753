"""What a simulator recorded of one population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodeploy.backends.spinnaker.cells import Model
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import Population


@dataclass(frozen=True, eq=False)
class Record:
    """Spikes uint8, currents and voltages in mV, (step, sample, *neuron) in own steps; None where not recorded.

    A voltage is NaN where the simulator does not show it: a reset that comes a step late leaves the membrane above its
    threshold in the step of the spike, and cells that reset at once are at rest by then.
    """

    spikes: np.ndarray
    currents: np.ndarray | None
    voltages: np.ndarray | None

    @staticmethod
    def of(
        population: Population,
        model: Model,
        spikes: np.ndarray,
        currents: np.ndarray | None,
        voltages: np.ndarray | None,
    ) -> Record:
        """Return the record of flat states (step, sample, neuron)."""
        if currents is not None:
            currents = currents.reshape(spikes.shape)
        if voltages is not None:
            voltages = voltages.reshape(spikes.shape)
            if population.cell.reset is not Reset.ZERO and not model.shows_spike:
                voltages = np.where(spikes > 0, np.nan, voltages)
        return Record(spikes, currents, voltages)

    @staticmethod
    def joined(parts: Sequence[Record]) -> Record:
        """Return the samples of all parts behind each other."""

        def join(arrays: list[np.ndarray | None]) -> np.ndarray | None:
            present = [array for array in arrays if array is not None]
            return np.concatenate(present, axis=1) if present else None

        spikes = np.concatenate([part.spikes for part in parts], axis=1)
        return Record(spikes, join([part.currents for part in parts]), join([part.voltages for part in parts]))
