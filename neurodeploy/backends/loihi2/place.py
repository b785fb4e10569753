"""Which neurons sit on which core: slices of each population, filled in order, with used and available per core.

A core holds so many neurons, so much synaptic memory for their inputs, so many input axons (distinct sources that reach
it) and so many output axons (one per neuron and destination core). Images are cut along rows, so that a core sees a
band of its input, and rows only where none would fit; other populations are cut along their flat index. Populations
are cut from the last to the first, since what a neuron sends depends on how its readers are cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np

from neurodeploy.errors import CapacityError, Finding, UnsupportedError, raise_all
from neurodeploy.hardware import HardwareProfile, Placement, Slot, utilization
from neurodeploy.ir.nodes import Firing
from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Population, Program, Projection

RESOURCES = ("neurons", "synaptic_memory", "input_axons", "output_axons")
"""What a core has, as profiles name it under limits.core."""
WORDS = {
    "neurons": "neurons",
    "synaptic_memory": "bytes of synaptic memory",
    "input_axons": "input axons",
    "output_axons": "output axons",
}


OTHERWISE = {
    Firing.MULTIPLE: "read the network with --semantics firing=above",
    Firing.VALUE: "let neurons that fire stand there",
}
"""What else to do where a chip's spikes carry no number."""


def place(program: Program, profile: HardwareProfile) -> Placement:
    """Return a placement of `program` on the cores of `profile`.

    Raises:
        UnsupportedError: ND148 for every population whose spikes carry more bits than the chip's.
        CapacityError: ND107 for every population of which not even one neuron fits a core, ND108 when all boards of
            the profile together have too few cores; `details["utilization"]` is the table so far.
    """
    raise_all(UnsupportedError, _unsent(program, profile))
    available = {name: int(profile.value(f"limits.core.{name}")) for name in RESOURCES}
    assumed = tuple(f"limits.core.{name}" for name in RESOURCES if profile.datum(f"limits.core.{name}").uncertain)
    memory = _Memory.of(profile)
    findings: list[Finding] = []
    cut: dict[str, list[Slot]] = {}
    axons = {population.name: np.zeros(population.size, np.int64) for population in program.populations}
    for population in reversed(program.populations):
        try:
            cut[population.name] = _cut(program, population, available, memory, axons[population.name])
        except _DoesNotFitError as error:
            findings.insert(0, _too_big(profile, population, error.used, available))
        _add_axons(program, population, cut.get(population.name, []), axons)
    slots = _numbered(program, cut, axons)
    per_chip = _cores_per_chip(profile)
    findings += _axon_findings(profile, slots, available)
    most = per_chip * max(profile.value("topology.boards"))
    if len(slots) > most:
        findings.append(_too_many_cores(profile, len(slots), most))
    placement = Placement(tuple(slots), available, per_chip, assumed)
    if findings:
        raise CapacityError(*findings, utilization=utilization(placement))
    return placement


def _unsent(program: Program, profile: HardwareProfile) -> list[Finding]:
    """Say whose graded spikes the chip cannot send."""
    findings = []
    for population in program.populations:
        firing = population.loihi.firing
        read = any(projection.source == population.name for projection in program.projections)
        graded = population.loihi.most > 1 and (read or firing is not Firing.VALUE)
        bits = population.loihi.most.bit_length() if graded else 0
        if bits and bits > (carried := int(profile.value("numeric.graded_payload_bits"))):
            why = f"spikes carry {carried} bits      ({profile.id}: numeric.graded_payload_bits)"
            fix = f"compile for loihi2-sim, or {OTHERWISE.get(firing, 'train with neurons that fire')}"
            what = f"its neurons send graded spikes of {bits} bits: {firing.value}"
            findings.append(Finding("ND148", population.name, what, why, fix))
    return findings


@dataclass(frozen=True)
class _Memory:
    """How a profile's cores store synapses: flat bits per synapse, or blocks of a word with a header."""

    dense_bits: int
    sparse_bits: int
    word_bits: int
    header_bits: int
    block_synapses: int

    @staticmethod
    def of(profile: HardwareProfile) -> _Memory:
        def optional(name: str) -> int:
            key = f"synapse_encoding.{name}"
            return int(profile.value(key)) if key in profile.data else 0

        encoding = "synapse_encoding"
        return _Memory(
            int(profile.value(f"{encoding}.dense_bits")),
            int(profile.value(f"{encoding}.sparse_bits")),
            int(profile.value(f"{encoding}.word_bits")),
            optional("header_bits_per_block"),
            optional("block_synapses"),
        )

    def rows(self, rows: int, synapses_per_row: float, bits: int) -> int:
        """Return the bits that `rows` fan-outs of so many synapses take."""
        if not self.block_synapses:
            return ceil(rows * synapses_per_row * bits)
        full, rest = divmod(ceil(synapses_per_row), self.block_synapses)
        return rows * (full * self._block(self.block_synapses, bits) + (self._block(rest, bits) if rest else 0))

    def conv(self, synapses: ConvSynapses, weight_bits: int = 8) -> int:
        """Return the bits of a shared kernel: one row of output channels per kernel tap and input channel."""
        out, per_group, ky, kx = synapses.mantissa.shape
        rows = ky * kx * per_group * synapses.groups
        per_row = out // synapses.groups
        if self.block_synapses:
            return self.rows(rows, per_row, weight_bits)
        return rows * self.word_bits * ceil(per_row * weight_bits / self.word_bits)

    def _block(self, synapses: int, bits: int) -> int:
        return self.word_bits * ceil((synapses * bits + self.header_bits) / self.word_bits)


class _DoesNotFitError(Exception):
    def __init__(self, used: dict[str, int]) -> None:
        super().__init__(used)
        self.used = used


def _cut(
    program: Program, population: Population, available: dict[str, int], memory: _Memory, axons: np.ndarray
) -> list[Slot]:
    """Cut one population into as few slices as fit, in the coarsest unit that does; cores are numbered later."""
    for unit in _units(population):
        try:
            return _cut_by(unit, program, population, available, memory, axons)
        except _DoesNotFitError as error:
            failure = error
    raise failure


def _cut_by(
    unit: int,
    program: Program,
    population: Population,
    available: dict[str, int],
    memory: _Memory,
    axons: np.ndarray,
) -> list[Slot]:
    """Cut one population into slices of whole `unit`s; axons (neuron,): how many each neuron sends."""
    slots: list[Slot] = []
    start = 0

    def used(stop: int) -> dict[str, int]:
        return _usage(program, population, start, stop, memory, axons)

    while start < population.size:
        most = min(population.size, start + available["neurons"] // unit * unit)
        low, high = 0, max((most - start + unit - 1) // unit, 1)
        while low < high:
            middle = (low + high + 1) // 2
            if _fits(used(min(start + middle * unit, population.size)), available):
                low = middle
            else:
                high = middle - 1
        if low == 0:
            raise _DoesNotFitError(used(min(start + unit, population.size)))
        stop = min(start + low * unit, population.size)
        slots.append(Slot(0, population.name, start, stop, used(stop)))
        start = stop
    return slots


def _units(population: Population) -> tuple[int, ...]:
    """Return how many neurons are never parted, and what next: an image's row or position with all channels, or one."""
    if len(population.shape) != 3:
        return (1,)
    channels, _, columns = population.shape
    return (channels * columns, channels)


def _fits(used: dict[str, int], available: dict[str, int]) -> bool:
    return all(used[name] <= available[name] for name in used)


def on_core(population: Population, start: int, stop: int) -> np.ndarray:
    """Return the flat indices of slice [start, stop), which counts an image's neurons in the order (y, x, channel)."""
    if len(population.shape) != 3:
        return np.arange(start, stop)
    order = np.arange(population.size).reshape(population.shape).transpose(1, 2, 0).reshape(-1)
    return order[start:stop]


def _usage(
    program: Program, population: Population, start: int, stop: int, memory: _Memory, axons: np.ndarray
) -> dict[str, int]:
    bits, entering = 0, 0
    members = on_core(population, start, stop)
    for projection in program.incoming(population.name):
        sources = int(touched(projection, members).sum())
        entering += sources
        match projection.synapses:
            case ConvSynapses() as conv:
                bits += memory.conv(conv)
            case DenseSynapses():
                bits += memory.rows(sources, len(members), memory.dense_bits)
            case sparse:
                count = int(np.diff(sparse.indptr)[members].sum())
                bits += memory.rows(sources, count / max(sources, 1), memory.sparse_bits)
    return {
        "neurons": len(members),
        "synaptic_memory": ceil(bits / 8),
        "input_axons": entering,
        "output_axons": int(axons[members].sum()),
    }


def touched(projection: Projection, members: np.ndarray) -> np.ndarray:
    """Return which sources reach the target neurons `members`, bool (pre,)."""
    match projection.synapses:
        case DenseSynapses(mantissa):
            return np.ones(mantissa.shape[1], bool)
        case ConvSynapses() as conv:
            return _touched_by_conv(conv, members)
        case sparse:
            seen = np.zeros(int(sparse.indices.max(initial=-1)) + 1, bool)
            chosen = np.zeros(len(sparse.indptr) - 1, bool)
            chosen[members] = True
            seen[sparse.indices[np.repeat(chosen, np.diff(sparse.indptr))]] = True
            return seen


def _touched_by_conv(conv: ConvSynapses, members: np.ndarray) -> np.ndarray:
    outputs = np.zeros(prod(conv.output_shape), bool)
    outputs[members] = True
    grouped = outputs.reshape(conv.groups, -1, *conv.output_shape[1:]).any(axis=1)
    (sy, sx), (py, px), (dy, dx) = conv.stride, conv.padding, conv.dilation
    rows, columns = conv.output_shape[1:]
    _, height, width = conv.input_shape
    reach = np.zeros((conv.groups, height + 2 * py, width + 2 * px), bool)
    for y in range(conv.mantissa.shape[2]):
        for x in range(conv.mantissa.shape[3]):
            window = reach[:, y * dy :, x * dx :][:, : sy * (rows - 1) + 1 : sy, : sx * (columns - 1) + 1 : sx]
            window |= grouped
    inside = reach[:, py : py + height, px : px + width]
    return np.repeat(inside, conv.input_shape[0] // conv.groups, axis=0).reshape(-1)


def _add_axons(program: Program, population: Population, slots: list[Slot], axons: dict[str, np.ndarray]) -> None:
    """Count one axon more, in place, for each neuron that each of the slots reads."""
    for slot in slots:
        members = on_core(population, slot.start, slot.stop)
        for projection in program.incoming(population.name):
            if projection.source in axons:
                reached = touched(projection, members)
                axons[projection.source][: len(reached)] += reached


def _numbered(program: Program, cut: dict[str, list[Slot]], axons: dict[str, np.ndarray]) -> list[Slot]:
    """Return all slots on cores of their own, in the order of the populations, with all the axons they send."""
    slots: list[Slot] = []
    for population in program.populations:
        for slot in cut.get(population.name, []):
            sent = int(axons[population.name][on_core(population, slot.start, slot.stop)].sum())
            slots.append(replace(slot, core=len(slots), used=slot.used | {"output_axons": sent}))
    return slots


def _cores_per_chip(profile: HardwareProfile) -> int:
    key = "topology.cores_per_chip_usable"
    return int(profile.value(key if key in profile.data else "topology.cores_per_chip"))


def _axon_findings(profile: HardwareProfile, slots: list[Slot], available: dict[str, int]) -> list[Finding]:
    return [
        Finding(
            "ND107",
            f"core {slot.core} ({slot.population})",
            f"needs {slot.used['output_axons']:,} output axons",
            f"a core has {available['output_axons']:,} (profile {profile.id}: limits.core.output_axons)",
            "make the layer it feeds smaller, so that it sits on fewer cores",
        )
        for slot in slots
        if slot.used["output_axons"] > available["output_axons"]
    ]


def _too_big(
    profile: HardwareProfile, population: Population, used: dict[str, int], available: dict[str, int]
) -> Finding:
    over = [name for name in used if used[name] > available[name]]
    needs = ", ".join(f"{used[name]:,} {WORDS[name]}" for name in over)
    limits = ", ".join(f"{available[name]:,} (profile {profile.id}: limits.core.{name})" for name in over)
    return Finding(
        "ND107",
        f"{population.name} ({population.size:,} neurons)",
        f"its smallest slice needs {needs}",
        f"a core has {limits}",
        "reduce the fan-in: pool, use a convolution, or prune the weights so that fewer sources reach each neuron",
    )


def _too_many_cores(profile: HardwareProfile, needed: int, most: int) -> Finding:
    return Finding(
        "ND108",
        profile.id,
        f"the network needs {needed:,} cores",
        f"the largest board of the profile has {most:,} (topology.boards, topology.cores_per_chip_usable)",
        "make the network smaller, or split it",
    )
