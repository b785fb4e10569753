"""Which cells sit on which core, and how much SDRAM each core needs, as sPyNNaker would plan it; without sPyNNaker.

A core simulates so many cells; input and biases are sources of spikes on cores of their own. Synapses lie in the chip's
SDRAM: for each projection and each core of its source a block of rows, one row per source neuron,

    block = rows x (header + longest row x word)        all rows as long as the longest into any of the cores

excitatory and inhibitory weights apart, and every core of a population is planned like its fullest. The profile's table
`sdram` holds the other sizes. Convolutions count connection by connection, as they are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from neurodeploy.backends.spinnaker.connections import longest_row
from neurodeploy.errors import CapacityError, Finding
from neurodeploy.hardware import HardwareProfile, Placement, Slot, utilization
from neurodeploy.ir.program import BIAS, DenseSynapses, Population, Program, Projection

BITS_PER_BYTE = 8
BITS_PER_WORD = 32
LEAD_IN_STEPS = 2
"""Steps of a run before its input, see the script that is emitted."""
SIGNS = (1, -1)


def place(program: Program, profile: HardwareProfile) -> Placement:
    """Return a placement of `program` on the cores of `profile`.

    Raises:
        CapacityError: ND108 when all boards of the profile together have too few cores, ND109 when a core needs more
            than the memory of a chip.
    """
    estimate = _Estimate(program, profile)
    slots: list[Slot] = []
    for name, start, stop, used in estimate.cores():
        slots.append(Slot(len(slots), name, start, stop, used))
    per_chip = int(profile.value("topology.cores_per_chip_usable"))
    placement = Placement(tuple(slots), estimate.available, per_chip, estimate.assumed, shared=("sdram",))
    misfits = list(_misfits(placement, profile))
    if misfits:
        raise CapacityError(*misfits, utilization=utilization(placement))
    return placement


def _misfits(placement: Placement, profile: HardwareProfile) -> Iterator[Finding]:
    most = max(profile.value("topology.boards"))
    if placement.chips > most:
        what = f"{placement.cores:,} cores on {placement.chips:,} chips"
        why = f"the largest machine of {profile.id} has {most:,} chips, {placement.cores_per_chip} cores of each to use"
        yield Finding("ND108", "the whole network", what, why, "make the network smaller")
    for slot in placement.slots:
        if slot.used["sdram"] > placement.available["sdram"]:
            what = f"{slot.used['sdram']:,} bytes for the cells {slot.start:,} to {slot.stop - 1:,}"
            why = f"a chip has {placement.available['sdram']:,} for all of its cores"
            yield Finding("ND109", slot.population, what, why, "make the layer before it smaller, or sparse")


class _Estimate:
    """Bytes of SDRAM per core."""

    def __init__(self, program: Program, profile: HardwareProfile) -> None:
        self._program, self._profile = program, profile
        self._read: set[str] = set()
        self._per_core = int(self._value("limits.core.neurons"))
        self.available = {"neurons": self._per_core, "sdram": int(self._value("limits.chip.sdram"))}
        steps = (program.encoding or {}).get("steps") or int(self._value("sdram.steps"))
        self._steps = LEAD_IN_STEPS + steps + max(population.latency_steps for population in program.populations)

    @property
    def assumed(self) -> tuple[str, ...]:
        """Keys of what was read and nobody has published."""
        return tuple(sorted(key for key in self._read if self._profile.datum(key).uncertain))

    def cores(self) -> Iterator[tuple[str, int, int, dict[str, int]]]:
        """Yield (population or source, start, stop, used): the input, the populations, the sources of biases."""
        size = int(np.prod(self._program.input.shape))
        yield self._program.input.name, 0, size, self._source(size)
        for population in self._program.populations:
            sdram = self._population(population)
            for start in range(0, population.size, self._per_core):
                stop = min(start + self._per_core, population.size)
                yield population.name, start, stop, {"neurons": stop - start, "sdram": sdram}
        for population in self._program.populations:
            if np.any(population.cell.bias):
                yield f"{population.name}{BIAS}", 0, 1, self._source(1)

    def _source(self, size: int) -> dict[str, int]:
        """Return what a source uses; its neurons are no cells, and none of a core's places for cells is taken."""
        messages = ceil(size / self._value("sdram.source_message_keys"))
        step = messages * self._value("sdram.source_message") + size * self._value("sdram.source_key")
        return {"neurons": 0, "sdram": int(self._value("sdram.source") + (1 + self._steps) * step)}

    def _population(self, population: Population) -> int:
        """Return what every core of a population uses."""
        model = "delta" if population.cell.alpha is None else "exp"
        cells = min(population.size, self._per_core)
        total = self._value(f"sdram.core_{model}") + cells * self._value(f"sdram.cell_{model}")
        total += cells % 2 * self._value("sdram.odd_cell")
        total += self._steps * (1 + ceil(cells / BITS_PER_WORD)) * self._value("sdram.spike_word")
        total += self._value("sdram.tables")
        blocks = list(self._blocks(population, cells))
        for size in {name: size for name, size, _ in blocks}.values():
            total += self._value("sdram.per_source")
            total += ceil(size / BITS_PER_WORD) * self._value("sdram.per_source_word")
        total += len(blocks) * self._value("sdram.per_projection")
        return int(total + self._matrix(blocks))

    def _matrix(self, blocks: list[tuple[str, int, int]]) -> int:
        """Return the bytes of the synaptic matrix: its blocks one after the other, each where one may begin."""
        header, word = (self._value(f"synapse_encoding.{key}") for key in ("row_header", "static_word"))
        aligned = self._value("sdram.block_alignment")
        end = self._value("sdram.matrix")
        for name, size, row in blocks:
            rows = size if self._is_source(name) else min(size, self._per_core)
            for _ in range(ceil(size / rows)):
                end = ceil(end / aligned) * aligned + rows * (header + row * word) // BITS_PER_BYTE
        return int(end)

    def _blocks(self, population: Population, cells: int) -> Iterator[tuple[str, int, int]]:
        """Yield (source, its neurons, longest row) of every projection into a population, one per sign."""
        for projection in self._program.incoming(population.name):
            for sign in SIGNS:
                row = longest_row(projection, sign, cells)
                if row:
                    yield projection.source, self._size(projection.source), row
        if np.any(population.cell.bias):
            mantissa = np.broadcast_to(population.cell.bias, (population.size,))[:, None]
            for sign in SIGNS:
                bias = Projection("", "", "", DenseSynapses(mantissa))
                row = longest_row(bias, sign, cells)
                if row:
                    yield f"{population.name}{BIAS}", 1, row

    def _size(self, name: str) -> int:
        entered = name == self._program.input.name
        return int(np.prod(self._program.input.shape)) if entered else self._program.population(name).size

    def _is_source(self, name: str) -> bool:
        return name == self._program.input.name or name.endswith(BIAS)

    def _value(self, key: str) -> float:
        self._read.add(key)
        return self._profile.value(key)
