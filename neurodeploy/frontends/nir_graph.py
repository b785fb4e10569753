"""A NIR file as a graph of plain records, with what had to be repaired to read it.

NIR 1.0.8 writes an HDF5 file with the group `node`, a NIRGraph: `type`, `edges` (pairs of names) and `nodes`, each a
group with its `type` and its parameters, or a NIRGraph again. Such subgraphs are flattened here, `lif1` holding `lif`
becoming `lif1.lif`. What else is wrong with a file is repaired where one reading only is possible, and every repair is
recorded; the rest is refused. Shapes come next, in `nir_shapes.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import Finding, LoadError, raise_all
from neurodeploy.frontends.hdf5 import Text, Tree, Unread

NEURONS = {
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLIF": ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold"),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_mem", "tau_syn", "r", "v_leak"),
    "I": ("r",),
    "Threshold": ("threshold",),
}
CONVOLUTIONS = {"Conv1d": 1, "Conv2d": 2}
POOLS = ("SumPool2d", "AvgPool2d")
REQUIRED: dict[str, tuple[str, ...]] = NEURONS | {
    "Input": ("shape",),
    "Output": ("shape",),
    "Affine": ("weight",),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Conv1d": ("weight", "stride", "padding", "dilation", "groups"),
    "Conv2d": ("weight", "stride", "padding", "dilation", "groups"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Flatten": ("start_dim", "end_dim"),
    "Delay": ("delay",),
    "Identity": (),
}
"""The kinds of NIR 1.0.8, and the fields without which each means nothing."""
OPTIONAL: dict[str, tuple[str, ...]] = {
    "LIF": ("v_reset",),
    "CubaLIF": ("v_reset", "w_in"),
    "IF": ("v_reset",),
    "CubaLI": ("w_in",),
    "Affine": ("bias",),
    "Conv1d": ("bias", "input_shape"),
    "Conv2d": ("bias", "input_shape"),
    "Flatten": ("input_type",),
    "Identity": ("shape",),
}
IGNORED = ("type", "metadata", "input_type", "output_type")
"""What says nothing of the computation; shapes are found by following the graph."""
GRAPH = "NIRGraph"
FEW = 6
"""Names that a message lists."""

Field = np.ndarray | str
Fields = Mapping[str, Field]


@dataclass(frozen=True, eq=False)
class Record:
    """One node as the file has it: its kind, and its fields as arrays or, for padding, a word."""

    kind: str
    fields: Fields

    def array(self, key: str) -> np.ndarray:
        value = self.fields[key]
        assert isinstance(value, np.ndarray)
        return value


@dataclass(frozen=True)
class Repair:
    """One thing that is wrong in a file and has one possible meaning: where, what, and how it was read."""

    place: str
    what: str
    read_as: str


@dataclass(frozen=True, eq=False)
class Graph:
    """A NIR graph without subgraphs.

    Args:
        file: for messages.
        version: of NIR, as the file has it, or None.
        nodes: name -> record; exactly one is an Input and one an Output once the graph is `nir_wiring.closed`.
        edges: who reads whom, each pair once.
        repairs: what was wrong and how it was read, in the order of reading.
    """

    file: str
    version: str | None
    nodes: dict[str, Record]
    edges: tuple[tuple[str, str], ...]
    repairs: tuple[Repair, ...] = ()

    def of_kind(self, *kinds: str) -> list[str]:
        return [name for name, record in self.nodes.items() if record.kind in kinds]

    def sources(self) -> dict[str, list[str]]:
        """Return who feeds each node that is fed."""
        found: dict[str, list[str]] = {}
        for source, target in self.edges:
            found.setdefault(target, []).append(source)
        return found

    def readers(self) -> dict[str, list[str]]:
        """Return who reads each node that is read."""
        found: dict[str, list[str]] = {}
        for source, target in self.edges:
            found.setdefault(source, []).append(target)
        return found

    def place(self, name: str) -> str:
        return f'{self.file}: {self.nodes[name].kind} "{name}"' if name in self.nodes else f"{self.file}: {name}"

    def repaired(self, *repairs: Repair) -> Graph:
        return replace(self, repairs=(*self.repairs, *repairs))


def is_nir(tree: Tree) -> bool:
    return isinstance(tree.get("node"), dict)


def graph_of(tree: Tree, file: str) -> Graph:
    """Return the graph in what a NIR file holds.

    Raises:
        LoadError: ND032 when it is no NIR graph, ND034 for nodes that cannot be read, ND035 for edges that name what is
            not there, ND041 for kinds that NIR does not have.
    """
    if not is_nir(tree):
        what = f"an HDF5 file that holds {some(tree)}, no NIR graph"
        why, fix = "NIR keeps its graph in the group `node`", "write it with nir.write"
        raise LoadError(Finding("ND032", file, what, why, fix))
    node = tree["node"]
    assert isinstance(node, dict)
    reader = _Reader(file)
    reader.graph(node, "")
    raise_all(LoadError, reader.findings)
    version = _word(tree.get("version"))
    return Graph(file, version, reader.nodes, tuple(reader.edges), tuple(reader.repairs))


class _Reader:
    """Collects the nodes and edges of a graph and of the graphs inside it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.nodes: dict[str, Record] = {}
        self.edges: list[tuple[str, str]] = []
        self.repairs: list[Repair] = []
        self.findings: list[Finding] = []

    def graph(self, group: Tree, prefix: str) -> dict[str, list[str]]:
        """Add everything in a NIRGraph, its names behind `prefix`, and return its nodes of type Input and Output."""
        place = self.place(prefix)
        kind, nodes = _word(group.get("type")), group.get("nodes")
        ports: dict[str, list[str]] = {"Input": [], "Output": []}
        if not isinstance(nodes, dict) or kind not in (GRAPH, None):
            what = f"the graph is of type {kind[:60]}" if kind else "the graph has no nodes"
            fix = "wrap it: nir.NIRGraph.from_list(node)"
            self.findings.append(Finding("ND032", place, what, "a network is a NIRGraph with nodes and edges", fix))
            return ports
        entries, exits = {}, {}
        for name, content in nodes.items():
            entries[name], exits[name] = self._node(content, self._free(f"{prefix}{name}"))
            record = self.nodes.get(entries[name])
            if record is not None and record.kind in ports:
                ports[record.kind].append(entries[name])
        edges = self._named(self._pairs(group.get("edges"), place), set(nodes), place)
        doubled = [edge for edge, count in Counter(edges).items() if count > 1]
        if doubled:
            self.repairs.append(Repair(place, f"edges stand twice: {some(map(arrow, doubled))}", "once"))
        self.edges += [(exits[source], entries[target]) for source, target in dict.fromkeys(edges)]
        return ports

    def place(self, name: str) -> str:
        return f"{self.file}: {name.rstrip('.')}" if name else self.file

    def _node(self, content: object, name: str) -> tuple[str, str]:
        """Add a node, or the graph that stands in its place, and return what edges to it and from it lead to."""
        kind = _word(content.get("type")) if isinstance(content, dict) else None
        if isinstance(content, dict) and (kind == GRAPH or (kind is None and "nodes" in content)):
            return self._subgraph(content, name)
        if kind in REQUIRED:
            assert isinstance(content, dict)
            self.nodes[name] = Record(kind, self._fields(content, kind, name))
        elif kind is None:
            self._refuse("ND034", name, "it has no type", "a node is what its type says", "write the file again")
        else:
            fix = f"express it by {', '.join(REQUIRED)}"
            self._refuse("ND041", name, f"a node of type {kind[:60]}", "NIR 1.0.8 has no such node", fix)
        return name, name

    def _subgraph(self, content: Tree, name: str) -> tuple[str, str]:
        """Add a graph inside a graph; its Input and Output become nodes that pass on what they read."""
        ports = self.graph(content, f"{name}.")
        for kind, found in ports.items():
            if len(found) != 1:
                what = f"a subgraph with {len(found)} nodes of type {kind}"
                self._refuse("ND035", name, what, "an edge leads to one of them", f"give it one {kind}")
                return name, name
            self.nodes[found[0]] = replace(self.nodes[found[0]], kind="Identity")
        return ports["Input"][0], ports["Output"][0]

    def _free(self, name: str) -> str:
        free, count = name, 1
        while free in self.nodes:
            count += 1
            free = f"{name}@{count}"
        return free

    def _refuse(self, code: str, name: str, what: str, why: str, fix: str) -> None:
        self.findings.append(Finding(code, self.place(name), what, why, fix))

    def _fields(self, content: Tree, kind: str, name: str) -> dict[str, Field]:
        """Return what a node of a kind is made of, everything else being recorded."""
        fields: dict[str, Field] = {}
        known = (*REQUIRED[kind], *OPTIONAL.get(kind, ()))
        for key, value in content.items():
            if key not in known:
                if key not in IGNORED:
                    self.repairs.append(Repair(self.place(name), f"{kind} has no field {key[:60]!r}", "left out"))
            elif isinstance(value, np.ndarray):
                fields[key] = value
            elif isinstance(value, Text) and len(value.values) == 1:
                fields[key] = value.values[0]
            else:
                why = value.why if isinstance(value, Unread) else "it holds no numbers"
                self._refuse("ND034", name, f"its {key} cannot be read", why, "write the file again")
        absent = [key for key in REQUIRED[kind] if key not in content]
        if absent:
            why = f"a {kind} is {', '.join(REQUIRED[kind])}"
            self._refuse("ND034", name, f"it has no {' and no '.join(absent)}", why, "write the file again with it")
        if kind in ("Affine", *CONVOLUTIONS) and "bias" not in content:
            self.repairs.append(Repair(self.place(name), "it has no bias", "a bias of 0"))
        return fields

    def _pairs(self, edges: object, place: str) -> list[tuple[str, str]]:
        """Return the edges of one graph as the file has them."""
        if isinstance(edges, Text) and len(edges.shape) == 2 and edges.shape[1] == 2:
            return list(zip(edges.values[::2], edges.values[1::2], strict=True))
        if edges is None:
            self.repairs.append(Repair(place, "it has no edges", "none"))
        elif not (isinstance(edges, np.ndarray | Text) and not np.prod(edges.shape)):
            why = edges.why if isinstance(edges, Unread) else "they are no pairs of names"
            self.findings.append(Finding("ND034", place, "its edges cannot be read", why, "write the file again"))
        return []

    def _named(self, edges: list[tuple[str, str]], nodes: set[str], place: str) -> list[tuple[str, str]]:
        """Return the edges with names that exist: one unknown name and one node without edges are the same node."""
        used = {name for edge in edges for name in edge}
        unknown, unused = sorted(used - nodes), sorted(nodes - used)
        if not unknown:
            return edges
        if len(unknown) > 1 or len(unused) != 1:
            what = f"edges name {some(unknown)}, which {'are' if len(unknown) > 1 else 'is'} not there"
            why = f"nodes without edges are {some(unused)}" if unused else "every node has edges of its own"
            self.findings.append(Finding("ND035", place, what, why, "write the edges by the names of the nodes"))
            return []
        told = f'"{unused[0]}", the only node without edges'
        self.repairs.append(Repair(place, f'edges name "{unknown[0]}", which is not there', told))
        same = {unknown[0]: unused[0]}
        return [(same.get(source, source), same.get(target, target)) for source, target in edges]


# Words


def _word(value: object) -> str | None:
    return value.values[0] if isinstance(value, Text) and len(value.values) == 1 else None


def arrow(edge: tuple[str, str]) -> str:
    return f"{edge[0]} -> {edge[1]}"


def some(names: Iterable[str]) -> str:
    """Return a few of the names, each cut to a readable length."""
    listed = [name[:60] for name in names]
    more = f" and {len(listed) - FEW} more" if len(listed) > FEW else ""
    return (", ".join(listed[:FEW]) or "nothing") + more
