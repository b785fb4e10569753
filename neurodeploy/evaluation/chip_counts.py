"""Where a chip's counts differ from NeuroBench's of the same network on the same data, and why, to the last one.

NeuroBench counts the float network as its framework calls it; a chip has other layers, numbers of fewer bits, and works
on whatever is stored. Each row is NeuroBench's count plus named differences, which add up to the chip's own count: each
of them is counted for itself, none is what remained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurodeploy.evaluation import activity
from neurodeploy.evaluation.neurobench import MAPS, Measures, connections, fan_out, neuron_bytes
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import AveragePool, Scale, SparseLinear
from neurodeploy.ir.program import Cell, Neuron, Program, Projection
from neurodeploy.results import RunResult

FLOAT_BYTES = 4
"""Of the float32 in which networks are trained."""


@dataclass(frozen=True)
class Difference:
    """So many more on the chip than NeuroBench counts, or fewer if negative, and why."""

    count: int
    why: str


@dataclass(frozen=True)
class Comparison:
    """One quantity counted twice: `neurobench` plus all `differences` is `chip`.

    Args:
        metric: NeuroBench's name of what it comes from.
        counted: what is counted, in the words of both.
        of_run: whether it is a sum over samples that is read per sample.
    """

    metric: str
    counted: str
    neurobench: int
    chip: int
    differences: tuple[Difference, ...]
    of_run: bool

    @property
    def closes(self) -> bool:
        return self.neurobench + sum(difference.count for difference in self.differences) == self.chip


@dataclass(frozen=True, eq=False)
class Subject:
    """A network as it was meant, as it was lowered, and as the program that ran.

    Args:
        measured: of `network`, on the same samples.
        counted: of the program's run.
        payload: what entered the chip, (step, sample, *input shape).
        weight_bits: of a weight on the chip, its exponent aside.
    """

    network: Network
    lowered: Network
    program: Program
    measured: Measures
    counted: activity.Activity
    payload: np.ndarray
    result: RunResult
    labels: np.ndarray | None
    weight_bits: int

    @property
    def added(self) -> list[str]:
        """The populations that only the program has: maxima over spikes."""
        known = self.network.populations
        return [population.name for population in self.program.populations if population.name not in known]

    @property
    def merged(self) -> str:
        """The names of what is synapses on the chip and no layer for NeuroBench, or part of another layer's."""
        names = [
            name
            for name, node in self.network.nodes.items()
            if isinstance(node, AveragePool | Scale | SparseLinear)
            or (name in connections(self.network) and name not in self.lowered.nodes)
        ]
        return ", ".join(names)

    def pairs(self) -> Iterator[tuple[Projection, MAPS]]:
        """Yield every projection with the lowered map it was rounded from."""
        for projection in self.program.projections:
            node = self.lowered.nodes[projection.name]
            assert isinstance(node, MAPS)
            yield projection, node

    def stores_zeros(self, projection: Projection) -> bool:
        """Whether the chip keeps weights of zero: Loihi does, SpiNNaker does not."""
        return isinstance(self.program.population(projection.target).neuron, Neuron)


def comparable(lowered: Network, program: Program) -> bool:
    """Whether every projection was rounded from a map of the lowered network that stands between the same two."""
    return all(
        isinstance(lowered.nodes.get(projection.name), MAPS)
        and [edge.source for edge in lowered.incoming(projection.name)] == [projection.source]
        and [edge.target for edge in lowered.outgoing(projection.name)] == [projection.target]
        for projection in program.projections
    )


def compare(subject: Subject) -> tuple[Comparison, ...]:
    """Return every quantity that both count; decisions only with labels, bytes only where NeuroBench's are known."""
    rows = [operations(subject), updates(subject), spikes(subject), zeros(subject)]
    rows += [] if subject.measured.footprint is None else [weight_bytes(subject)]
    rows += [] if subject.labels is None else [decisions(subject)]
    return tuple(rows)


def operations(subject: Subject) -> Comparison:
    """Compare effective synaptic operations, MACs and ACs together, with the synapses that spikes pass on the chip."""
    measured, added = subject.measured, subject.added
    kept = pools = stored = dropped = values = fired = 0
    for projection, node in subject.pairs():
        meant, happened = _delivered(subject, projection)
        wanted, there = fan_out(node), activity.fan_out(projection, len(meant), subject.stores_zeros(projection))
        if projection.target in added:
            pools += int(meant @ wanted)
        else:
            kept += int(meant @ wanted)
        stored += int(meant @ np.maximum(there - wanted, 0))
        dropped += int(meant @ np.minimum(there - wanted, 0))
        if projection.source == subject.program.input.name:
            values += int((happened - meant) @ there)
        else:
            fired += int((happened - meant) @ there)
    once = sum(measured.operations.values())
    effective = measured.effective_macs + measured.effective_acs
    biases = sum(_nonzero_biases(subject)) * measured.steps * measured.samples
    differences = (
        (once - effective, "snnTorch calls a recurrent layer twice per step"),
        (kept - once, f"made part of synapses: {subject.merged}"),
        (pools, f"made neurons: {', '.join(added)}"),
        (stored, "weights of 0, stored and processed"),
        (dropped, "weights rounded to 0 are not stored"),
        (values, "input values rounded to 0"),
        (fired, "spikes that differ from the source"),
        (biases, "biases are synapses of a source that fires in every step"),
    )
    return _row("SynapticOperations", "synaptic operations", effective, subject.counted.synops, differences)


def updates(subject: Subject) -> Comparison:
    """Compare membranes that changed with the neurons that the chip updates."""
    measured = subject.measured
    moments = measured.steps * measured.samples
    meant = sum(node.size for node in subject.network.populations.values()) * moments
    extra = sum(subject.program.population(name).size for name in subject.added) * moments
    differences = (
        (meant - measured.membrane_updates, "neurons updated without a change"),
        (extra, f"made neurons: {', '.join(subject.added)}"),
    )
    return _row(
        "MembraneUpdates", "neuron updates", measured.membrane_updates, subject.counted.neuron_updates, differences
    )


def spikes(subject: Subject) -> Comparison:
    """Compare the outputs that are not zero; one difference per population that fires another number of times."""
    events = subject.measured.events
    meant = {name: int(events[name].all_steps.sum()) for name in subject.network.populations}
    fired = {layer.name: layer.spikes for layer in subject.counted.layers}
    differences = [(fired[name] - meant[name], f"spikes of {name} that differ") for name in meant]
    differences += [(fired[name], f"made neurons: {name}") for name in subject.added]
    return _row("ActivationSparsity", "spikes", sum(meant.values()), subject.counted.spikes, differences)


def zeros(subject: Subject) -> Comparison:
    """Compare the weights that are zero with those that the chip stores."""
    before = sum(_zeros(node.weight) for node in connections(subject.network).values())
    lowered = rounded = absent = chip = 0
    for projection, node in subject.pairs():
        weights, mantissa = _weights(node).reshape(-1), projection.synapses.mantissa.reshape(-1)
        lowered += _zeros(weights)
        fewer = len(mantissa) < len(weights)
        lost = _zeros(mantissa) if fewer else int(np.count_nonzero((mantissa == 0) & (weights != 0)))
        rounded += lost
        if subject.stores_zeros(projection):
            absent -= _zeros(weights) if fewer else 0
            chip += _zeros(mantissa)
        else:
            absent -= _zeros(weights) + lost
    differences = (
        (lowered - before, f"made part of synapses: {subject.merged}"),
        (rounded, "weights rounded to 0"),
        (absent, "weights of 0 that are not stored"),
    )
    return _row("ConnectionSparsity", "weights of 0", before, chip, differences, of_run=False)


def weight_bytes(subject: Subject) -> Comparison:
    """Compare the bytes of all that PyTorch holds with those of the weights that the chip stores."""
    footprint, layers = subject.measured.footprint, connections(subject.network).values()
    assert footprint is not None
    neurons = neuron_bytes(subject.network)
    biases = sum(node.bias.size for node in layers if node.bias is not None)
    before = sum(node.weight.size for node in layers)
    lowered = sum(_weights(node).size for _, node in subject.pairs())
    sources = sum(_nonzero_biases(subject))
    stored = sum(
        mantissa.size if subject.stores_zeros(projection) else int(np.count_nonzero(mantissa))
        for projection, _ in subject.pairs()
        for mantissa in (projection.synapses.mantissa,)
    )
    chip = (stored + sources) * subject.weight_bits // 8
    differences = (
        (-neurons, "constants of neurons are no weights"),
        (-FLOAT_BYTES * biases, "biases are constants of neurons"),
        (FLOAT_BYTES * sources, "biases are weights of a source that fires in every step"),
        (FLOAT_BYTES * (lowered - before), f"made part of synapses: {subject.merged}"),
        (FLOAT_BYTES * (stored - lowered), "weights of 0 that are not stored"),
        (chip - FLOAT_BYTES * (stored + sources), f"{subject.weight_bits} bits per weight instead of 32"),
    )
    return _row("Footprint", "bytes of weights", footprint, chip, differences, of_run=False)


def decisions(subject: Subject) -> Comparison:
    """Compare how many decisions are the label."""
    before, after = subject.measured.predictions == subject.labels, subject.result.predictions == subject.labels
    differences = (
        (int(np.count_nonzero(after & ~before)), "decisions that became right"),
        (-int(np.count_nonzero(before & ~after)), "decisions that became wrong"),
    )
    hits = int(np.count_nonzero(before)), int(np.count_nonzero(after))
    return _row("ClassificationAccuracy", "right decisions", *hits, differences, of_run=False)


def notes(subject: Subject) -> Iterator[str]:
    """Yield what no difference says: how the chip sees what NeuroBench calls MACs."""
    macs = subject.measured.effective_macs
    if macs:
        share = macs / (macs + subject.measured.effective_acs)
        yield f"{share:.1%} of NeuroBench's operations are MACs, of graded values: on the chip a synapse like any other"


def _row(
    metric: str,
    counted: str,
    neurobench: int,
    chip: int,
    differences: tuple[tuple[int, str], ...] | list[tuple[int, str]],
    *,
    of_run: bool = True,
) -> Comparison:
    named = tuple(Difference(count, why) for count, why in differences if count)
    return Comparison(metric, counted, neurobench, chip, named, of_run)


def _delivered(subject: Subject, projection: Projection) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each source spiked, as meant and on the chip, int64 (pre,); a loop leaves out the last step."""
    events = subject.measured.events[projection.source]
    meant = events.all_steps - events.last_step if projection.recurrent else events.all_steps
    entered = projection.source == subject.program.input.name
    source = subject.payload if entered else subject.result.spikes[projection.source]
    passed = source[:-1] if projection.recurrent else source
    return meant, np.count_nonzero(passed.reshape(-1, len(meant)), axis=0).astype(np.int64)


def _nonzero_biases(subject: Subject) -> Iterator[int]:
    """Yield how many neurons of each population have a bias that is spikes of a source: SpiNNaker's."""
    for population in subject.program.populations:
        if isinstance(population.neuron, Cell):
            yield int(np.count_nonzero(np.broadcast_to(population.neuron.bias, population.size)))


def _weights(node: MAPS) -> np.ndarray:
    return node.data if isinstance(node, SparseLinear) else node.weight


def _zeros(array: np.ndarray) -> int:
    return array.size - int(np.count_nonzero(array))
