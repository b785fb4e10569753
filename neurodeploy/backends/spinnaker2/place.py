"""Which cells would sit on which core of SpiNNaker2: a plan from few published numbers, the others assumed and listed.

A core has its own memory, and synapses lie in it: a row for every source neuron and sign that reaches one of its cells,

    bytes = cells x state + rows x header + synapses x word

so a core gets as many cells as fit, found by halving. Input and biases are sources on cores of their own.
"""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from neurodeploy.backends.spinnaker.connections import Connections, unsorted_connections
from neurodeploy.errors import CapacityError, Finding
from neurodeploy.hardware import HardwareProfile, Placement, Slot, utilization
from neurodeploy.ir.program import BIAS, Population, Program

BITS_PER_BYTE = 8
READ = (
    "limits.core.neurons",
    "limits.core.sram_data",
    "limits.core.state",
    "synapse_encoding.row_header",
    "synapse_encoding.static_word",
)


def place(program: Program, profile: HardwareProfile) -> Placement:
    """Return a plan of `program` on the cores of `profile`.

    Raises:
        CapacityError: ND108 when all boards of the profile together have too few cores, ND109 when not even one cell
            of a population fits on a core.
    """
    available = {"neurons": int(profile.value(READ[0])), "sram": int(profile.value(READ[1]))}
    slots, findings = _slots(program, profile, available)
    assumed = tuple(key for key in READ if profile.datum(key).uncertain)
    placement = Placement(tuple(slots), available, int(profile.value("topology.cores_per_chip_usable")), assumed)
    most = placement.cores_per_chip * max(profile.value("topology.boards"))
    if placement.cores > most:
        what, why = f"{placement.cores:,} cores", f"the largest board of {profile.id} has {most:,} for applications"
        findings.append(Finding("ND108", "the whole network", what, why, "make the network smaller"))
    if findings:
        raise CapacityError(*findings, utilization=utilization(placement))
    return placement


def _slots(program: Program, profile: HardwareProfile, available: dict[str, int]) -> tuple[list[Slot], list[Finding]]:
    slots = [Slot(0, program.input.name, 0, prod(program.input.shape), {"neurons": 0, "sram": 0})]
    findings = []
    for population in program.populations:
        cells, used = _fullest(program, population, profile, available)
        if used > available["sram"]:
            what, why = f"{used:,} bytes for one cell", f"a core has {available['sram']:,} for data"
            findings.append(Finding("ND109", population.name, what, why, "make the layer before it smaller, or sparse"))
        for start in range(0, population.size, cells):
            stop = min(start + cells, population.size)
            slots.append(Slot(len(slots), population.name, start, stop, {"neurons": stop - start, "sram": used}))
    for population in program.populations:
        if np.any(population.cell.bias):
            slots.append(Slot(len(slots), f"{population.name}{BIAS}", 0, 1, {"neurons": 0, "sram": 0}))
    return slots, findings


def _fullest(
    program: Program, population: Population, profile: HardwareProfile, available: dict[str, int]
) -> tuple[int, int]:
    """Return how many cells of a population a core gets, at least one, and the bytes of the fullest core."""
    incoming = [unsorted_connections(projection) for projection in program.incoming(population.name)]
    cells = min(population.size, available["neurons"])
    while (used := _bytes(incoming, population.size, profile, cells)) > available["sram"] and cells > 1:
        cells = (cells + 1) // 2
    return cells, used


def _bytes(incoming: list[Connections], size: int, profile: HardwareProfile, cells: int) -> int:
    """Return the bytes of the fullest core when `size` cells are shared out, `cells` to a core."""
    state, header, word = (int(profile.value(key)) for key in READ[2:])
    bits = np.full(ceil(size / cells), cells * state * BITS_PER_BYTE, np.int64)
    for connections in incoming:
        core = connections.post.astype(np.int64) // cells
        bits += np.bincount(core, minlength=len(bits)) * word
        senders = 2 * (int(connections.pre.max(initial=0)) + 1)
        rows = np.unique(core * senders + 2 * connections.pre + (connections.weights < 0))
        bits += np.bincount(rows // senders, minlength=len(bits)) * header
    return int(bits.max()) // BITS_PER_BYTE
