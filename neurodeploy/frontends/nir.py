"""NIR graphs to a `Network`: the same nodes, each under the settings of a `Reading`.

    Affine, Linear          Linear
    Conv1d, Conv2d          Conv
    SumPool2d, AvgPool2d    AveragePool, a sum being an average times its window
    Scale                   Scale, or a diagonal SparseLinear where factors differ within a channel
    Flatten                 nothing: values run in C order
    Delay                   an edge that reads the step before, if it is one step
    LIF, CubaLIF, IF, Threshold    LIF; see `nir_neurons.py`
    LI, CubaLI, I           the same neurons, which send their membrane in every step

Of a loop, the edges that lead back to a population no farther from the input read the step before. Several edges into a
node add up; as linear maps distribute over sums, each gets a map of its own, and a bias counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from neurodeploy.errors import Change, Deviation, Finding, NetworkError, UnsupportedError, raise_all
from neurodeploy.frontends import hdf5
from neurodeploy.frontends.checks import contradictions, with_dt
from neurodeploy.frontends.hdf5 import Tree
from neurodeploy.frontends.nir_graph import POOLS, Record, graph_of
from neurodeploy.frontends.nir_loops import POPULATIONS, returning
from neurodeploy.frontends.nir_metadata import SAID, statement
from neurodeploy.frontends.nir_neurons import neurons
from neurodeploy.frontends.nir_semantics import READ, Current, Reading, read_as
from neurodeploy.frontends.nir_shapes import Shaped, shaped
from neurodeploy.frontends.nir_wiring import closed
from neurodeploy.ir.network import Edge, Network, Readout
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Firing,
    Input,
    InputKind,
    Linear,
    Node,
    Reshape,
    Scale,
    Shape,
    SparseLinear,
    without_bias,
)

REPAIRED = "ND037"
SAME_STEP = 1e-6
"""How far from whole steps a delay may be, in steps."""

MOST_NODES = 10_000
"""Of the network; maps of sums multiply where branches meet again and again."""
MAPS = ("Affine", "Linear", "Conv1d", "Conv2d")


@dataclass(frozen=True)
class Outlet:
    """A node of the network, how many steps ago its output is read, and what it is multiplied by."""

    name: str
    delay: int = 0
    factor: float = 1.0


def load_nir(path: str | Path, dt: float | None = None, semantics: Mapping[str, str] | None = None) -> Network:
    """Return the network in a NIR file; its input is SPIKES, for NIR does not say what enters, nor how it is encoded.

    Args:
        dt: seconds per step; without it, what a recognized writer assumes.
        semantics: settings of `nir_semantics.Semantics` by name, e.g. {"reset": "subtract_next_step"}.

    Raises:
        LoadError: what `repaired` and `read_as` refuse.
        UnsupportedError: ND039, ND041, ND042 for what has no counterpart here, NetworkError: ND025 for NaN.
        UsageError: ND028, ND043.
    """
    return network_in(hdf5.read(path), Path(path).name, dt, semantics)


def network_in(tree: Tree, file: str, dt: float | None, semantics: Mapping[str, str] | None) -> Network:
    """Return the network in the contents of a file: as its metadata states it, if it does, or as its graph is read.

    Settings that the user states are of the graph, and then the metadata is left out.
    """
    graph = graph_of(tree, file)
    said = statement(tree, graph)
    if said is None:
        return network_of(shaped(closed(graph)), dt, semantics)
    if said.network is not None and not semantics:
        earlier = tuple(each for each in said.network.deviations if each.code != SAID)
        what = "the network is what the file's metadata says, which neurodeploy's export wrote and which fits the graph"
        what += ", with weights or thresholds in the graph that were changed after it" if said.reweighted else ""
        network = replace(said.network, deviations=(*earlier, Deviation(SAID, file, what, Change.READING)))
        return with_dt(network, dt, file)
    network = network_of(shaped(closed(graph)), dt, semantics)
    what = f"the file's metadata is left out: {said.why or 'settings were stated, which are of the graph'}"
    return replace(network, deviations=(Deviation(SAID, file, what, Change.READING), *network.deviations))


def repaired(path: str | Path) -> Shaped:
    """Return the graph in a NIR file with wiring and shapes settled, and with the list of what was repaired.

    Raises:
        LoadError: what `hdf5.read`, `graph_of`, `closed` and `shaped` refuse.
    """
    return shaped(closed(graph_of(hdf5.read(path), Path(path).name)))


def network_of(fitted: Shaped, dt: float | None = None, semantics: Mapping[str, str] | None = None) -> Network:
    """Return the network of a graph whose shapes are settled; see `load_nir`."""
    reading = read_as(fitted.graph, dt, semantics or {})
    builder = _Builder(fitted, reading)
    try:
        output = builder.build()
    except RecursionError as error:
        what, why = "hundreds of layers in a row without a neuron", "each is followed inside the other"
        raise UnsupportedError(Finding("ND033", fitted.graph.file, what, why, "multiply them out")) from error
    raise_all(UnsupportedError, builder.findings)
    repairs = [
        Deviation(REPAIRED, each.place, f"{each.what}; read as: {each.read_as}", Change.READING)
        for each in fitted.graph.repairs
    ]
    network = Network(
        builder.nodes,
        tuple(builder.edges),
        builder.input,
        output,
        dt_s=reading.dt_s,
        readout=builder.readout,
        origin=builder.origin,
        deviations=(*repairs, *reading.deviations, *builder.deviations),
    )
    raise_all(NetworkError, contradictions(network))
    return network


class _Builder:
    """Turns records into nodes, following each population's input back to where it comes from."""

    def __init__(self, fitted: Shaped, reading: Reading) -> None:
        self.fitted, self.reading, self.graph = fitted, reading, fitted.graph
        self.sources = self.graph.sources()
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.origin: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.deviations: list[Deviation] = []
        (self.input,) = self.graph.of_kind("Input")
        self.back: frozenset[tuple[str, str]] = frozenset()
        self.readout = Readout.SPIKE_COUNT
        self._outlets: dict[str, list[Outlet]] = {}

    def build(self) -> str:
        """Add everything that a population reads, and return the population that is read out."""
        delays = {name: self._steps(name) for name in self.graph.of_kind("Delay")}
        if self.findings:
            return ""
        loops = returning(self.graph, delays)
        self.findings += loops.findings
        self.back = loops.back
        self.deviations += [Deviation(READ, self.graph.file, what, Change.READING) for what in loops.choices]
        self.nodes[self.input] = Input(self.fitted.made[self.input], InputKind.SPIKES)
        found = {name: self._population(name) for name in self.graph.of_kind(*POPULATIONS)}
        if self.findings:
            return ""
        for name, bias in found.items():
            self._feed(name)
            if bias is not None:
                self._add_bias(name, bias)
        self._drop_unread()
        return self._read_out()

    def _population(self, name: str) -> np.ndarray | None:
        """Add one population, and return the bias its input needs."""
        record, shape = self.graph.nodes[name], self.fitted.made[name]
        found = neurons(record, shape, self.reading, self.graph.place(name))
        self.findings += found.findings
        if found.lif is not None:
            self.nodes[name], self.origin[name] = found.lif, self._origin(name)
        return found.bias

    def _feed(self, name: str) -> None:
        """Lead to a population what its record reads."""
        outlets = self._read(name)
        record = self.graph.nodes[name]
        if record.kind in ("CubaLIF", "CubaLI") and self.reading.semantics.current is Current.STEP_BEFORE:
            outlets = [self._later(outlet, name) for outlet in outlets]
        for outlet in outlets:
            scaled = self._scaled(outlet, self.fitted.given[name])
            self.edges.append(Edge(scaled.name, name, scaled.delay))

    def _read(self, name: str) -> list[Outlet]:
        """Return the terms that add up to what a record reads, each in the shape that it reads."""
        terms = []
        for source in self.sources.get(name, ()):
            if self.graph.nodes[source].kind in (*POPULATIONS, "Input"):
                terms.append(Outlet(source, 1 if (source, name) in self.back else 0))
            else:
                if source not in self._outlets:
                    self._outlets[source] = self._through(source)
                terms += self._outlets[source]
        return [self._shaped(term, self.fitted.given[name]) for term in terms]

    def _through(self, name: str) -> list[Outlet]:
        """Return what a record without state passes on, adding a node for each of its terms."""
        record, terms = self.graph.nodes[name], self._read(name)
        if record.kind in ("Flatten", "Identity", "Output"):
            return terms
        if record.kind == "Delay":
            return [self._later(term, name) for term in terms] if self._steps(name) else terms
        outlets = []
        for position, term in enumerate(terms):
            factor = 1.0
            if record.kind not in (*MAPS, *POOLS):
                term = self._scaled(term, self.fitted.given[name])
            node = _node(record, self.fitted.given[name], term.factor)
            if record.kind in POOLS:
                factor = term.factor * (prod(record.array("kernel_size").tolist()) if record.kind == "SumPool2d" else 1)
            added = self._add(name, without_bias(node) if position else node, self._origin(name))
            self.edges.append(Edge(term.name, added, term.delay))
            outlets.append(Outlet(added, 0, factor))
        return outlets

    def _shaped(self, outlet: Outlet, shape: Shape) -> Outlet:
        """Return `outlet` in another shape of the same size."""
        given = self.nodes[outlet.name].shape
        if given == shape:
            return outlet
        name = self._add(f"{outlet.name}.reshape", Reshape(given, shape), "reshape")
        self.edges.append(Edge(outlet.name, name, outlet.delay))
        return replace(outlet, name=name, delay=0)

    def _scaled(self, outlet: Outlet, shape: Shape) -> Outlet:
        """Return `outlet` with its factor applied, where nothing follows that could take it in."""
        if outlet.factor == 1:
            return outlet
        channels = np.full(shape[0], outlet.factor)
        name = self._add(f"{outlet.name}.scale", Scale(channels, np.zeros(shape[0]), shape), "scale")
        self.edges.append(Edge(outlet.name, name, outlet.delay))
        return Outlet(name)

    def _later(self, outlet: Outlet, place: str) -> Outlet:
        """Return `outlet` one step later, counted at the population or input it comes from: nothing was before it."""
        node = self.nodes[outlet.name]
        if isinstance(node, LIF | Input):
            if outlet.delay:
                why = "an edge here reads this step or the one before"
                fix = "use delays of one step in all, or --semantics current=same_step"
                self._refuse("ND042", place, f'"{outlet.name}" is read two steps late', why, fix)
            return replace(outlet, delay=1)
        if has_bias(node):
            why = "a step late, the bias would be missing in the first step"
            fix = "delay the spikes in place of the currents, or take the bias out"
            self._refuse("ND042", place, f'"{outlet.name}" has a bias and is read one step late', why, fix)
        name = self._add(outlet.name, node, self.origin.get(outlet.name, ""))
        for edge in [edge for edge in self.edges if edge.target == outlet.name]:
            before = self._later(Outlet(edge.source, edge.delay_steps), place)
            self.edges.append(Edge(before.name, name, before.delay))
        return replace(outlet, name=name)

    def _add_bias(self, name: str, bias: np.ndarray) -> None:
        """Add a constant to what a population reads: to a Linear's own bias, or behind its first input."""
        into = [edge for edge in self.edges if edge.target == name]
        for edge in into:
            node, readers = self.nodes[edge.source], [other for other in self.edges if other.source == edge.source]
            if isinstance(node, Linear) and not edge.delay_steps and len(readers) == 1:
                own = 0.0 if node.bias is None else node.bias
                self.nodes[edge.source] = replace(node, bias=own + bias.reshape(-1))
                return
        first, shape = into[0], self.fitted.given[name]
        added = self._add(f"{name}.leak", _diagonal(np.ones(shape), bias), self._origin(name))
        self.edges.remove(first)
        self.edges += [Edge(first.source, added, first.delay_steps), Edge(added, name)]

    def _drop_unread(self) -> None:
        """Take out the maps whose only reader was given a later copy."""
        while True:
            read = {edge.source for edge in self.edges}
            unread = {
                name for name, node in self.nodes.items() if name not in read and not isinstance(node, LIF | Input)
            }
            if not unread:
                return
            self.nodes = {name: node for name, node in self.nodes.items() if name not in unread}
            self.edges = [edge for edge in self.edges if edge.target not in unread]

    def _steps(self, name: str) -> int:
        """Return how many steps a Delay waits: none or one."""
        delay = self.graph.nodes[name].array("delay")
        steps = delay / self.reading.step
        if np.all(np.abs(steps) <= SAME_STEP):
            return 0
        if not np.all(np.abs(steps - 1) <= SAME_STEP):
            what = f"a delay of {float(steps.min()):g} to {float(steps.max()):g} steps"
            why = "an edge here reads this step or the one before, all of its values alike"
            self._refuse("ND042", name, what, why, "use no delay, or one step for all")
        return 1

    def _read_out(self) -> str:
        """Return the population behind the Output."""
        (name,) = self.graph.of_kind("Output")
        output = name
        while self.graph.nodes[name].kind in ("Output", "Identity", "Flatten"):
            sources = self.sources.get(name, [])
            if len(sources) != 1:
                why = "a decision is read from one population"
                self._refuse("ND041", output, f"the output adds up {len(sources)} nodes", why, "join them in one layer")
                return ""
            (name,) = sources
        if name not in self.nodes or self.graph.nodes[name].kind not in POPULATIONS:
            what, why = f'the output is "{name}", a {self.graph.nodes[name].kind}', "a decision is read from neurons"
            self._refuse("ND041", output, what, why, "end in LIF, CubaLIF or IF, or in LI, CubaLI or I")
        elif self.nodes[name].firing is Firing.VALUE:  # type: ignore[union-attr]
            self.readout = Readout.MEMBRANE_SUM
            what = f'the decision is the largest sum of the membranes of "{name}" over all steps: NIR does not say'
            self.deviations.append(Deviation(READ, self.graph.file, what, Change.READING))
        return name

    def _add(self, name: str, node: Node, origin: str) -> str:
        """Add a node under a name that is free, and return the name."""
        if len(self.nodes) >= MOST_NODES:
            why = "where branches meet, each way through the layers is a chain of its own"
            what, fix = f"more than {MOST_NODES:,} nodes", "join branches in a neuron"
            raise UnsupportedError(Finding("ND033", self.graph.file, what, why, fix))
        free, count = name, 1
        while free in self.nodes or (free in self.graph.nodes and self.graph.nodes[free].kind in POPULATIONS):
            count += 1
            free = f"{name}@{count}"
        self.nodes[free], self.origin[free] = node, origin
        return free

    def _origin(self, name: str) -> str:
        return f'nir.{self.graph.nodes[name].kind} "{name}"'

    def _refuse(self, code: str, name: str, what: str, why: str, fix: str) -> None:
        self.findings.append(Finding(code, self.graph.place(name), what, why, fix))


def _node(record: Record, given: Shape, factor: float) -> Node:
    """Return a record without state as a node that reads `given` times `factor`."""
    bias = record.array("bias") if "bias" in record.fields and np.any(record.array("bias")) else None
    match record.kind:
        case "Affine" | "Linear":
            return Linear(factor * record.array("weight"), bias)
        case "Conv1d" | "Conv2d":
            stride, padding, dilation = (tuple(record.array(key).tolist()) for key in ("stride", "padding", "dilation"))
            weight, groups = factor * record.array("weight"), int(record.array("groups"))
            return Conv(weight, given, stride, padding, dilation, groups, bias)
        case "SumPool2d" | "AvgPool2d":
            sizes = (tuple(record.array(key).tolist()) for key in ("kernel_size", "stride", "padding"))
            return AveragePool(given, *sizes)
    scale = record.array("scale")
    channels = scale.reshape(given[0], -1)
    if np.all(channels == channels[:, :1]):
        return Scale(channels[:, 0].copy(), np.zeros(given[0]), given)
    return _diagonal(scale)


def _diagonal(scale: np.ndarray, bias: np.ndarray | None = None) -> SparseLinear:
    """Return the map that multiplies each value by its own factor."""
    rows = np.arange(scale.size + 1)
    data, shape = scale.reshape(-1).copy(), scale.shape
    flat = None if bias is None else bias.reshape(-1)
    return SparseLinear(data, rows[:-1].astype(np.int32), rows.astype(np.int64), shape, shape, flat)


def has_bias(node: Node) -> bool:
    return isinstance(node, Linear | Conv | SparseLinear | Scale) and node.bias is not None and bool(np.any(node.bias))
