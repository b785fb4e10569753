"""Multiply out what is left: every chain of linear nodes between two populations becomes one node.

A chain of one Linear, SparseLinear or Conv stays as it is; a longer chain, a lone Scale and a bare connection become a
SparseLinear whose matrix is the product, and whose bias is what the chain makes of zero.

A delay anywhere on the path is put in front of it. That changes nothing as long as what it is moved across makes zero
of zero, and a path has one delay at most, as an edge holds no more; other paths are refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, identity

from neurodeploy.engine.real import apply, sparse_matrix
from neurodeploy.errors import Finding, UnsupportedError, raise_all
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Input, Linear, Node, Shape, SparseLinear

CHUNK = 256
"""Unit vectors pushed through a node at once while its matrix is read off."""


def compose_maps(network: Network) -> Network:
    """Return `network` with exactly one Linear, SparseLinear or Conv on every path between populations.

    Raises:
        UnsupportedError: ND132 for paths that wait more than a step, or behind a map that adds a bias.
    """
    nodes: dict[str, Node] = {n: node for n, node in network.nodes.items() if isinstance(node, LIF | Input)}
    edges: list[Edge] = []
    origin, findings = dict(network.origin), []
    for target in network.populations:
        for chain, source, delays in _chains(network, target):
            findings += _misplaced(network, chain, source, target, delays)
            node = _composed(network, chain, source)
            name = chain[0] if len(chain) == 1 else "+".join(chain) or f"{source}->{target}"
            if name in nodes:
                name = f"{name} from {source}->{target}"
            nodes[name] = node
            if len(chain) > 1 and name not in origin:
                origin[name] = ", ".join(network.origin.get(link, link) for link in chain)
            edges += [Edge(source, name, sum(delays)), Edge(name, target)]
    raise_all(UnsupportedError, findings)
    return replace(network, nodes=nodes, edges=tuple(edges), origin=origin)


def _chains(network: Network, target: str) -> list[tuple[list[str], str, list[int]]]:
    """Return every path into `target` from a population or the input: nodes along it, its start, its edges' delays."""
    paths: list[tuple[list[str], str, list[int]]] = []
    for edge in network.incoming(target):
        if isinstance(network.nodes[edge.source], LIF | Input):
            paths.append(([], edge.source, [edge.delay_steps]))
        else:
            for chain, source, delays in _chains(network, edge.source):
                paths.append(([*chain, edge.source], source, [*delays, edge.delay_steps]))
    return paths


def _misplaced(network: Network, chain: list[str], source: str, target: str, delays: list[int]) -> list[Finding]:
    """Return why the delays of a path cannot stand in front of it, if they cannot."""
    place, fix = f"{source} -> {' -> '.join([*chain, network.place(target)])}", "let the first edge wait, for one step"
    if sum(delays) > 1:
        what = f"a path that waits {sum(delays)} steps"
        return [Finding("ND132", place, what, "between two populations an edge holds one step", fix)]
    if not any(delays[1:]):
        return []
    value = np.zeros((1, int(np.prod(network.nodes[source].shape))))
    for name in chain[: delays.index(1)]:
        value = apply(network.nodes[name], value)
    what, why = "a step of delay behind a bias", "in front of it, the bias would arrive a step too early"
    return [Finding("ND132", place, what, why, fix)] if value.any() else []


def _composed(network: Network, chain: list[str], source: str) -> Node:
    links = [network.nodes[name] for name in chain]
    if len(links) == 1 and isinstance(links[0], Linear | SparseLinear | Conv):
        return links[0]
    input_shape = network.nodes[source].shape
    size = int(np.prod(input_shape))
    matrix: csr_array = csr_array(identity(size, format="csr"))
    bias = np.zeros(size)
    shape: Shape = input_shape
    for link in links:
        offset = apply(link, np.zeros((1, matrix.shape[0])))[0]
        linear = _matrix(link, matrix.shape[0], offset)
        bias = linear @ bias + offset
        matrix, shape = csr_array(linear @ matrix), link.shape
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return SparseLinear(
        matrix.data,
        matrix.indices.astype(np.int32),
        matrix.indptr.astype(np.int64),
        input_shape,
        shape,
        bias if bias.any() else None,
    )


def _matrix(link: Node, size: int, offset: np.ndarray) -> csr_array:
    """Read off the matrix of a linear node by pushing unit vectors through it."""
    match link:
        case Linear(weight):
            return csr_array(weight)
        case SparseLinear():
            return sparse_matrix(link)
    from scipy.sparse import hstack

    columns = []
    for start in range(0, size, CHUNK):
        units = np.eye(min(CHUNK, size - start), size, k=start)
        columns.append(csr_array((apply(link, units) - offset).T))
    return csr_array(hstack(columns))
