"""A `Network` as a NIR graph: what NIR can say as its nodes, what it cannot in the metadata, and a list of the latter.

    Input, a population      Input; LIF, CubaLIF, IF, Threshold, LI, CubaLI or I, see `nir_neurons.py`
    a map                    one node, see `nir_maps.py`
    Reshape                  nothing, or a Flatten where values arrive with more axes than are read
    MaxPool over spikes      a convolution and a Threshold: a logical or
    an edge that waits       an edge of a loop where `frontends.nir_loops` lets it wait a step, a Delay of dt elsewhere

Time is in seconds, or in steps where the network has no dt.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np

from neurodeploy.errors import Change, Deviation, Finding, UnsupportedError, raise_all
from neurodeploy.exports import nir_maps
from neurodeploy.exports.hdf5 import write_graph
from neurodeploy.exports.nir_neurons import neuron
from neurodeploy.frontends.nir_graph import Graph, Record
from neurodeploy.frontends.nir_loops import returning
from neurodeploy.frontends.nir_metadata import metadata
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, Map, MaxPool, Reshape, Shape
from neurodeploy.lowering.spike_max_pools import spike_max_pools

UNSAID, IMPOSSIBLE, REWRITTEN, ROUNDED = "ND160", "ND161", "ND162", "ND164"
UNITS = {"beta": "of the membrane", "alpha": "of the current", "gain": "membrane units", "bias": "membrane units"}


@dataclass(frozen=True)
class Wire:
    """`target` reads `source`, a node of the network, `delay` steps late, and flat if it makes another shape."""

    source: str
    target: str
    delay: int
    flat: bool


def export_nir(network: Network, path: str | Path) -> tuple[Deviation, ...]:
    """Write `network` to `path` as a NIR file, and return what NIR cannot say of it.

    Raises:
        UnsupportedError: ND161 with all that no NIR graph can stand for, ND130 for maxima that are no logical or.
        LoadError: ND001 when the file cannot be written. BackendUnavailableError: ND031 without h5py.
    """
    graph, deviations = graph_of_network(network, Path(path).name)
    write_graph(graph, metadata(network, graph), path)
    return deviations


def graph_of_network(network: Network, file: str = "") -> tuple[Graph, tuple[Deviation, ...]]:
    """Return the NIR graph of `network`, without metadata, and what it cannot say."""
    plain = spike_max_pools(network)
    nodes = {name: nir_maps.simplest(node) for name, node in plain.nodes.items()}
    builder = _Builder(replace(plain, nodes=nodes))
    graph = builder.graph(file)
    pools = [
        Deviation(REWRITTEN, network.place(name), "a maximum over spikes, as a logical or", Change.ANNOTATION)
        for name, node in network.nodes.items()
        if isinstance(node, MaxPool)
    ]
    return graph, (*_about_all(network), *pools, *builder.deviations)


class _Builder:
    """The nodes of a network without MaxPool as records, and the wires between them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.deviations: list[Deviation] = []
        self.findings: list[Finding] = []
        self.step = 1.0 if network.dt_s is None else network.dt_s
        self.incoming: dict[str, list[Edge]] = {name: [] for name in network.nodes}
        for edge in network.edges:
            self.incoming[edge.target].append(edge)
        self.order = self._order()
        self.carriers = self._carriers()
        self.flat: set[str] = set()
        self.made = self._shapes()
        self.names = _names(network)

    def graph(self, file: str) -> Graph:
        """Return the graph.

        Raises:
            UnsupportedError: ND161.
        """
        wires = self._wires()
        self._check_reachable(wires)
        records = {self.names[name]: self._record(name) for name in self.network.nodes if name in self.made}
        raise_all(UnsupportedError, self.findings)
        assembly = _Assembly(file, records, self, wires)
        waiting: set[int] = set()
        for position, wire in enumerate(wires):
            if wire.delay == 1 and isinstance(self.network.nodes[wire.source], LIF):
                waiting = assembly.with_loop(waiting, position)
        for position, wire in enumerate(wires):
            if wire.delay and position not in waiting:
                what = f"{wire.source} is read {_steps(wire.delay)} late: a Delay"
                self._rewritten(wire.target, what)
        return assembly.graph(waiting)

    def arriving(self, name: str) -> Shape:
        """Return the shape in which its input reaches a node."""
        node = self.network.nodes[name]
        expected = nir_maps.wanted(node) if isinstance(node, Map) else node.shape
        shapes = {self.made[source] for source, _ in self.carriers[name]}
        if shapes == {expected} or (len(shapes) == 1 and isinstance(node, Map) and nir_maps.takes_any_shape(node)):
            return shapes.pop()
        return (prod(expected),)

    def _carriers(self) -> dict[str, list[tuple[str, int]]]:
        """Return what each node reads behind any reshapes, and how many steps late."""
        found: dict[str, list[tuple[str, int]]] = {}
        for name in (*self.order, *self.network.populations):
            found[name] = []
            for edge in self.incoming[name]:
                behind = [(edge.source, 0)]
                if isinstance(self.network.nodes[edge.source], Reshape):
                    behind = found[edge.source]
                found[name] += [(source, delay + edge.delay_steps) for source, delay in behind]
        return found

    def _order(self) -> list[str]:
        """Return the nodes without state so that each stands behind those that it reads.

        Raises:
            UnsupportedError: ND161 for a loop without a neuron.
        """
        maps = {name for name, node in self.network.nodes.items() if not isinstance(node, LIF | Input)}
        reads = {name: [edge.source for edge in self.incoming[name] if edge.source in maps] for name in self.incoming}
        try:
            return [name for name in TopologicalSorter(reads).static_order() if name in maps]
        except CycleError as error:
            place, what = " -> ".join(error.args[1]), "a loop without a neuron"
            raise UnsupportedError(_impossible(place, what, "put a neuron into the loop")) from error

    def _shapes(self) -> dict[str, Shape]:
        """Return the shape in which the graph has each node's values; a population that is fed flat is flat."""
        nodes = self.network.nodes
        entering = self._entering()
        while True:
            populations = self.network.populations.items()
            self.made = {name: (prod(node.shape),) if name in self.flat else node.shape for name, node in populations}
            self.made[self.network.input] = entering
            for name in self.order:
                node = nodes[name]
                if isinstance(node, Map) and not isinstance(node, Reshape):
                    self.made[name] = nir_maps.made(node, self.arriving(name))
            fed_flat = {
                name for name, node in self.network.populations.items() if self.arriving(name) != self.made[name]
            }
            if fed_flat <= self.flat:
                return self.made
            self.flat |= fed_flat

    def _entering(self) -> Shape:
        """Return the shape of the Input: the network's own, or the one with several axes that its readers need."""
        own, (entrance, nodes) = self.network.input_node.shape, (self.network.input, self.network.nodes)
        reading = (name for name, sources in self.carriers.items() if any(source == entrance for source, _ in sources))
        readers = [nodes[name] for name in reading if not isinstance(nodes[name], Reshape)]
        expected = {nir_maps.wanted(node) if isinstance(node, Map) else node.shape for node in readers}
        spread = {shape for shape in expected if len(shape) > 1}
        return spread.pop() if len(spread) == 1 else own

    def _wires(self) -> list[Wire]:
        wires = []
        for name, node in self.network.nodes.items():
            if isinstance(node, Input | Reshape):
                continue
            given = nir_maps.reads(node, self.arriving(name)) if isinstance(node, Map) else self.made[name]
            wires += [Wire(source, name, delay, self.made[source] != given) for source, delay in self.carriers[name]]
        return wires

    def _record(self, name: str) -> Record:
        """Return the record of a node, and note what it cannot say."""
        node, place = self.network.nodes[name], self.network.place(name)
        if isinstance(node, Input):
            entering = self.made[name]
            if entering != node.shape:
                self._rewritten(name, f"its values {node.shape} enter as {entering}, which its readers need")
            return Record("Input", {"shape": np.array(entering)})
        if isinstance(node, Map):
            return self._map(name, node)
        assert isinstance(node, LIF)
        found = neuron(node, self.made[name], self.step)
        if found.against:
            fix = "train with neurons that NIR has: a fixed threshold, beta and alpha of at most 1"
            self.findings.append(_impossible(place, found.against, fix))
        self.deviations += [Deviation(UNSAID, place, what, Change.ANNOTATION) for what in found.unsaid]
        for key, error in found.rounded.items():
            what = f"{key} by Euler steps of its time constants"
            self.deviations.append(Deviation(ROUNDED, place, what, Change.ROUNDING, error, UNITS[key]))
        if self.made[name] != node.shape:
            self._rewritten(name, f"its neurons {node.shape} are flat: NIR gives flat values no more axes")
        return found.record

    def _map(self, name: str, node: Map) -> Record:
        arriving = self.arriving(name)
        size = nir_maps.weights(node, arriving)
        if size > nir_maps.MOST_WEIGHTS:
            what = f"NIR has no node for it, and its matrix would have {size:,} weights"
            fix = "give its input the shape it reads, so that it need not be multiplied out"
            self.findings.append(_impossible(self.network.place(name), what, fix))
            return Record("Linear", {})
        found = nir_maps.layer(node, arriving)
        if found.rewritten:
            self._rewritten(name, f"written as {found.record.kind}: {found.rewritten}")
        return found.record

    def _check_reachable(self, wires: list[Wire]) -> None:
        """Note what the input does not lead to: nir and this reader refuse such nodes."""
        readers: dict[str, set[str]] = {}
        for wire in wires:
            readers.setdefault(wire.source, set()).add(wire.target)
        reached, ahead = {self.network.input}, [self.network.input]
        while ahead:
            new = readers.get(ahead.pop(), set()) - reached
            reached |= new
            ahead += new
        for name in sorted(set(self.made) - reached):
            fix = "take it out, or let the input lead to it"
            self.findings.append(_impossible(self.network.place(name), "the input does not lead to it", fix))

    def _rewritten(self, name: str, what: str) -> None:
        self.deviations.append(Deviation(REWRITTEN, self.network.place(name), what, Change.ANNOTATION))


class _Assembly:
    """The graph of records and wires, given which of the wires wait by being part of a loop."""

    def __init__(self, file: str, records: dict[str, Record], builder: _Builder, wires: list[Wire]) -> None:
        self.file, self.records, self.wires = file, records, wires
        self.names, self.made, self.step = builder.names, builder.made, builder.step
        self.output = builder.network.output

    def graph(self, waiting: set[int]) -> Graph:
        return self._built(waiting)[0]

    def with_loop(self, waiting: set[int], wire: int) -> set[int]:
        """Return `waiting` with `wire`, if a reader of the graph then lets exactly these wait; else `waiting`."""
        more = {*waiting, wire}
        graph, firsts = self._built(more)
        delays = {name: 1 for name in graph.of_kind("Delay")}
        loops = returning(graph, delays)
        return more if not loops.findings and loops.back == {firsts[each] for each in more} else waiting

    def _built(self, waiting: set[int]) -> tuple[Graph, list[tuple[str, str]]]:
        """Return the graph and the first edge of every wire."""
        nodes = dict(self.records)
        edges: dict[tuple[str, str], None] = {}
        firsts = []
        for position, wire in enumerate(self.wires):
            shape, source, target = self.made[wire.source], self.names[wire.source], self.names[wire.target]
            way = [source]
            if wire.delay and position not in waiting:
                way.append(
                    _added(nodes, f"{source}.delay", Record("Delay", {"delay": np.full(shape, wire.delay * self.step)}))
                )
            if wire.flat:
                way.append(_added(nodes, f"{source}.flatten", _flatten(shape)))
            if (way[-1], target) in edges:
                way.append(_added(nodes, f"{source}.again", Record("Scale", {"scale": np.ones(shape)})))
            way.append(target)
            firsts.append((way[0], way[1]))
            edges.update(dict.fromkeys(pairwise(way)))
        output = Record("Output", {"shape": np.array(self.made[self.output])})
        edges[self.names[self.output], _added(nodes, "output", output)] = None
        return Graph(self.file, None, nodes, tuple(edges)), firsts


def _added(nodes: dict[str, Record], name: str, record: Record) -> str:
    """Add a record under a name that is free, and return the name."""
    free = _free(name, nodes)
    nodes[free] = record
    return free


def _names(network: Network) -> dict[str, str]:
    """Return a name for each node that HDF5 can hold: no slash, and not a lone dot."""
    names: dict[str, str] = {}
    for name in network.nodes:
        legal = name.replace("/", "|").replace("\0", "|").encode("utf-8", "backslashreplace").decode()
        names[name] = _free("node" if legal in ("", ".") else legal, names.values())
    return names


def _free(name: str, used: Collection[str]) -> str:
    free, count = name, 1
    while free in used:
        count += 1
        free = f"{name}@{count}"
    return free


def _flatten(shape: Shape) -> Record:
    return Record("Flatten", {"input_type": np.array(shape), "start_dim": np.array(0), "end_dim": np.array(-1)})


def _about_all(network: Network) -> list[Deviation]:
    """Return what NIR says of no graph: its step, what enters, and how a decision is made."""
    entering, port = network.place(network.input), network.input_node
    time = "time is in steps, for the network states no dt" if network.dt_s is None else f"dt = {network.dt_s:g} s"
    steps = "steps are Euler's, and a membrane reads the current of the same step"
    grid = "" if port.levels is None else f", in {port.levels} steps"
    rounded = "" if port.grid is None else f", rounded to multiples of {port.grid:g}"
    said = [
        ("network", f"{time}; {steps}"),
        (entering, f"its input is {port.kind} within {port.low:g} to {port.high:g}{grid}{rounded}"),
        (network.place(network.output), f"the decision is by {network.readout}"),
    ]
    if network.encoding is not None:
        told = ", ".join(f"{key} = {value}" for key, value in network.encoding.items() if value is not None)
        said.insert(2, (entering, f"samples are encoded: {told}"))
    return [Deviation(UNSAID, place, what, Change.ANNOTATION) for place, what in said]


def _impossible(place: str, what: str, fix: str) -> Finding:
    return Finding(IMPOSSIBLE, place, what, "a NIR graph has no node that computes it", fix)


def _steps(count: int) -> str:
    return "a step" if count == 1 else f"{count} steps"
