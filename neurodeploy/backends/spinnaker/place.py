"""Which cells sit on which core, and how much SDRAM each core needs, as sPyNNaker would plan it; without sPyNNaker.

A core simulates so many cells; input and biases are sources of spikes on cores of their own. Synapses lie in the chip's
SDRAM: for each projection and each core of its source a block of rows, one row per source neuron,

    block = rows x (header + longest row x word)        all rows as long as the longest into any of the cores

excitatory and inhibitory weights apart, and every core of a population is planned like its fullest. The profile's table
`sdram` holds the other sizes. Convolutions count connection by connection, as they are sent, unless they are kernels;
then each channel is a population of its own (`convolution`).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from neurodeploy.backends.spinnaker.connections import row_lengths
from neurodeploy.backends.spinnaker.convolution import bias_source, layout_of, local_bytes
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
    kernels = estimate.layout.listed
    placement = Placement(tuple(slots), estimate.available, per_chip, estimate.assumed, ("sdram",), kernels)
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
        self._program, self._profile, self.layout = program, profile, layout_of(program)
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
        name = self._program.input.name
        for first, size in self._parts(name):
            yield name, first, first + size, self._source(size)
        for population in self._program.populations:
            cells = self._cells(population.name)
            for (first, size), sdram in zip(self._parts(population.name), self._populations(population), strict=True):
                for start in range(first, first + size, cells):
                    stop = min(start + cells, first + size)
                    yield population.name, start, stop, {"neurons": stop - start, "sdram": sdram}
        for population in self._program.populations:
            if np.any(population.cell.bias):
                joined = self.layout.joins(self._program, population.name)
                size = bias_source(self.layout.planes[population.name]).size if joined else 1
                yield f"{population.name}{BIAS}", 0, size, self._source(1)

    def _source(self, size: int) -> dict[str, int]:
        """Return what a source uses; its neurons are no cells, and none of a core's places for cells is taken."""
        messages = ceil(size / self._value("sdram.source_message_keys"))
        step = messages * self._value("sdram.source_message") + size * self._value("sdram.source_key")
        return {"neurons": 0, "sdram": int(self._value("sdram.source") + (1 + self._steps) * step)}

    def _populations(self, population: Population) -> Iterator[int]:
        """Yield what every core uses, of each population that `population` becomes."""
        cells = self._cells(population.name)
        joined = self.layout.joins(self._program, population.name)
        cell = "delta" if population.cell.alpha is None else "exp"
        total = self._value(f"sdram.core_{'conv' if joined else cell}") + cells * self._value(f"sdram.cell_{cell}")
        total += cells % 2 * self._value("sdram.odd_cell")
        total += self._steps * (1 + ceil(cells / BITS_PER_WORD)) * self._value("sdram.spike_word")
        if joined:
            yield from (int(total) + kernels for kernels in local_bytes(self._program, population))
            return
        total += self._value("sdram.tables")
        for first, size in self._parts(population.name):
            yield int(total + self._synapses(list(self._blocks(population, first, first + size))))

    def _synapses(self, blocks: list[tuple[str, int, int, int]]) -> float:
        """Return the bytes of the synaptic matrix and of the tables that lead to it."""
        total = len(blocks) * self._value("sdram.per_projection")
        for _, size in {(source, first): (source, size) for source, first, size, _ in blocks}.values():
            total += self._value("sdram.per_source")
            total += ceil(size / BITS_PER_WORD) * self._value("sdram.per_source_word")
        return total + self._matrix(blocks)

    def _matrix(self, blocks: list[tuple[str, int, int, int]]) -> int:
        """Return the bytes of the synaptic matrix: its blocks one after the other, each where one may begin."""
        header, word = (self._value(f"synapse_encoding.{key}") for key in ("row_header", "static_word"))
        aligned = self._value("sdram.block_alignment")
        end = self._value("sdram.matrix")
        for source, _, size, row in blocks:
            rows = size if self._is_source(source) else min(size, self._cells(source))
            for _ in range(ceil(size / rows)):
                end = ceil(end / aligned) * aligned + rows * (header + row * word) // BITS_PER_BYTE
        return int(end)

    def _blocks(self, population: Population, start: int, stop: int) -> Iterator[tuple[str, int, int, int]]:
        """Yield (source, its first neuron, its neurons, longest row) of every projection into cells, one per sign."""
        cells = self._cells(population.name)
        for projection in self._program.incoming(population.name):
            rows = [row_lengths(projection, sign, start, stop, cells) for sign in SIGNS]
            for first, size in self._parts(projection.source):
                for row in rows:
                    longest = int(row[first : first + size].max(initial=0))
                    if longest:
                        yield projection.source, first, size, longest
        if np.any(population.cell.bias):
            mantissa = np.broadcast_to(population.cell.bias, (population.size,))[:, None]
            for sign in SIGNS:
                bias = Projection("", "", "", DenseSynapses(mantissa))
                longest = int(row_lengths(bias, sign, start, stop, cells).max())
                if longest:
                    yield f"{population.name}{BIAS}", 0, 1, longest

    def _parts(self, name: str) -> list[tuple[int, int]]:
        return self.layout.parts(name, self._size(name))

    def _cells(self, name: str) -> int:
        """Return the cells of a population that lie on a core."""
        plane = self.layout.planes.get(name)
        return min(self._size(name), self._per_core) if plane is None else plane.rows_per_core * plane.width

    def _size(self, name: str) -> int:
        entered = name == self._program.input.name
        return int(np.prod(self._program.input.shape)) if entered else self._program.population(name).size

    def _is_source(self, name: str) -> bool:
        return name == self._program.input.name or name.endswith(BIAS)

    def _value(self, key: str) -> float:
        self._read.add(key)
        return self._profile.value(key)
