"""Which cells sit on which core: slices of each population in its flat order, with used and available per core.

A core simulates so many cells; their synapses lie in the chip's SDRAM, of which a core may use its share. A row of
synapses leads from one source to all cells of a core, excitatory and inhibitory ones in rows of their own.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import CapacityError, Finding
from neurodeploy.hardware import HardwareProfile, Placement, Slot, utilization
from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Population, Program, Projection

BITS_PER_BYTE = 8


def place(program: Program, profile: HardwareProfile) -> Placement:
    """Return a placement of `program` on the cores of `profile`.

    Raises:
        CapacityError: ND108 when all boards of the profile together have too few cores.
    """
    per_core = int(profile.value("limits.core.neurons"))
    per_chip = int(profile.value("topology.cores_per_chip_usable"))
    available = {"neurons": per_core, "sdram": int(profile.value("limits.chip.sdram")) // per_chip}
    slots: list[Slot] = []
    for population in program.populations:
        for start in range(0, population.size, per_core):
            stop = min(start + per_core, population.size)
            used = {"neurons": stop - start, "sdram": _synaptic_bytes(program, population, start, stop, profile)}
            slots.append(Slot(len(slots), population.name, start, stop, used))
    placement = Placement(tuple(slots), available, per_chip, ())
    most = per_chip * max(profile.value("topology.boards"))
    if len(slots) > most:
        what = f"{len(slots):,} cores"
        why = f"the largest machine of {profile.id} has {most:,} for applications"
        finding = Finding("ND108", "the whole network", what, why, "make the network smaller")
        raise CapacityError(finding, utilization=utilization(placement))
    return placement


def _synaptic_bytes(program: Program, population: Population, start: int, stop: int, profile: HardwareProfile) -> int:
    """Return the bytes of all rows into the cells [start, stop)."""
    header, word = (int(profile.value(f"synapse_encoding.{name}")) for name in ("row_header", "static_word"))
    bits = 0
    for projection in program.incoming(population.name):
        rows, synapses = _rows(projection, start, stop)
        bits += rows * header + synapses * word
    return bits // BITS_PER_BYTE


def _rows(projection: Projection, start: int, stop: int) -> tuple[int, int]:
    """Return how many rows and synapses lead into the cells [start, stop); a kernel lies in the core's own memory."""
    match projection.synapses:
        case DenseSynapses(mantissa):
            part = mantissa[start:stop]
            kinds = int(np.any(part >= 0)) + int(np.any(part < 0))
            return kinds * mantissa.shape[1], part.size
        case ConvSynapses():
            return 0, 0
        case sparse:
            chosen = slice(sparse.indptr[start], sparse.indptr[stop])
            indices, signs = sparse.indices[chosen], sparse.mantissa[chosen] < 0
            kinds = int(np.any(~signs)) + int(np.any(signs))
            return kinds * (int(sparse.indices.max(initial=-1)) + 1), len(indices)
