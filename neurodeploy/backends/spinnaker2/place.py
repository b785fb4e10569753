"""Which cells would sit on which core of SpiNNaker2: a plan from few published numbers, the others assumed and listed.

A core has its own memory, and synapses lie in it: a row per source neuron and sign,

    bytes = cells x state + sum over sources of (rows x (header + longest row x word))

so a core gets as many cells as fit. Input and biases are sources on cores of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from neurodeploy.backends.spinnaker.connections import longest_row
from neurodeploy.errors import CapacityError, Finding
from neurodeploy.hardware import HardwareProfile, Placement, Slot, utilization
from neurodeploy.ir.program import BIAS, Population, Program

BITS_PER_BYTE = 8
SIGNS = (1, -1)
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
    for cells in _fewer(min(population.size, available["neurons"])):
        used = _bytes(program, population, profile, cells)
        if used <= available["sram"]:
            break
    return cells, used


def _fewer(cells: int) -> Iterator[int]:
    """Yield numbers of cells, each seven eighths of the one before, down to one."""
    while cells > 1:
        yield cells
        cells = min(cells - 1, cells * 7 // 8)
    yield 1


def _bytes(program: Program, population: Population, profile: HardwareProfile, cells: int) -> int:
    """Return the bytes of the fullest core that holds `cells` of a population."""
    state, header, word = (int(profile.value(key)) for key in READ[2:])
    total = cells * state * BITS_PER_BYTE
    for projection in program.incoming(population.name):
        entered = projection.source == program.input.name
        rows = prod(program.input.shape) if entered else program.population(projection.source).size
        for sign in SIGNS:
            longest = longest_row(projection, sign, cells)
            total += rows * (header + longest * word) if longest else 0
    return total // BITS_PER_BYTE
