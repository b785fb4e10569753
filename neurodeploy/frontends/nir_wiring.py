"""Close a NIR graph: one Input, one Output, and a way from one to the other.

nir itself adds an Input before every node that reads nothing and an Output behind every node that nothing reads. Here
that is done where one node can be meant, and so is an edge that alone is missing; whatever else is open is refused.
"""

from __future__ import annotations

from dataclasses import replace

from neurodeploy.errors import Finding, LoadError
from neurodeploy.frontends.nir_graph import Graph, Record, Repair, arrow, some


def closed(graph: Graph) -> Graph:
    """Return `graph` with what is missing of its wiring, each addition recorded.

    Raises:
        LoadError: ND035 when there is more than one reading, or none.
    """
    return _joined(_ended(graph))


def _ended(graph: Graph) -> Graph:
    """Return `graph` with one Input and one Output, adding one where a single node can be meant."""
    for kind, side in (("Input", "reads nothing"), ("Output", "is read by nothing")):
        ends = _roots(graph) if kind == "Input" else _leaves(graph)
        found = graph.of_kind(kind)
        if len(found) > 1:
            why = "a network here has one of them"
            fix = "join them into one, or compile the parts one by one"
            raise LoadError(Finding("ND035", graph.file, f"nodes of type {kind}: {some(found)}", why, fix))
        if found and kind == "Input" and graph.sources().get(found[0]):
            what, why = f"it reads {some(graph.sources()[found[0]])}", "what enters a network comes from outside"
            raise LoadError(Finding("ND035", graph.place(found[0]), what, why, "take the edge to it out"))
        if found:
            continue
        if len(ends) != 1:
            what, why = f"no {kind}", f"what {side} is {some(ends)}" if ends else f"no node {side}"
            raise LoadError(Finding("ND035", graph.file, what, why, f"add a node of type {kind}"))
        name = _free_name(graph, kind.lower())
        edge = (name, ends[0]) if kind == "Input" else (ends[0], name)
        graph = replace(graph, nodes=graph.nodes | {name: Record(kind, {})}, edges=(*graph.edges, edge))
        graph = graph.repaired(Repair(graph.file, f"no {kind}", f'one at "{ends[0]}", which alone {side}'))
    return graph


def _joined(graph: Graph) -> Graph:
    """Return `graph` with its one missing edge, if one node lacks a reader and one lacks a source.

    Raises:
        LoadError: ND035 when several nodes read nothing.
    """
    roots, leaves = _roots(graph), _leaves(graph)
    if not roots:
        return graph
    if len(roots) == len(leaves) == 1 and leaves[0] not in _downstream(graph, roots[0]):
        edge = (leaves[0], roots[0])
        told = f"an edge {arrow(edge)}, the only ones without reader and source"
        graph = replace(graph, edges=(*graph.edges, edge))
        return graph.repaired(Repair(graph.file, f'nothing feeds "{roots[0]}"', told))
    why = f"{some(leaves)} could feed them" if leaves else "every other node is read already"
    fix = "add the edges that lead to it"
    raise LoadError(*(Finding("ND035", graph.place(name), "nothing feeds it", why, fix) for name in roots))


def _roots(graph: Graph) -> list[str]:
    """Return the nodes that read nothing and are no Input."""
    fed = {target for _, target in graph.edges}
    return [name for name, record in graph.nodes.items() if name not in fed and record.kind != "Input"]


def _leaves(graph: Graph) -> list[str]:
    """Return the nodes that nothing reads and that are no Output."""
    read = {source for source, _ in graph.edges}
    return [name for name, record in graph.nodes.items() if name not in read and record.kind != "Output"]


def _downstream(graph: Graph, start: str) -> set[str]:
    """Return everything that `start` reaches, itself included."""
    reached, ahead = {start}, [start]
    readers = graph.readers()
    while ahead:
        new = set(readers.get(ahead.pop(), ())) - reached
        reached |= new
        ahead += new
    return reached


def _free_name(graph: Graph, name: str) -> str:
    while name in graph.nodes:
        name += "_"
    return name
