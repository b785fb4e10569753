"""The few graph moves that rewrites are made of."""

from __future__ import annotations

from dataclasses import replace

from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import Node


def bypass(network: Network, name: str) -> Network:
    """Return `network` without node `name`, its readers reading what it read; delays along the way add up."""
    edges = [edge for edge in network.edges if name not in (edge.source, edge.target)]
    edges += [
        Edge(before.source, after.target, before.delay_steps + after.delay_steps)
        for before in network.incoming(name)
        for after in network.outgoing(name)
    ]
    nodes = {other: node for other, node in network.nodes.items() if other != name}
    return replace(network, nodes=nodes, edges=tuple(edges))


def exchange(network: Network, name: str, node: Node) -> Network:
    """Return `network` with `node` in the place of the node called `name`."""
    return replace(network, nodes=network.nodes | {name: node})


def sole_reader(network: Network, name: str) -> Edge | None:
    """Return the one undelayed edge out of `name` whose target reads nothing else, or None."""
    out = network.outgoing(name)
    if len(out) == 1 and not out[0].delay_steps and len(network.incoming(out[0].target)) == 1:
        return out[0]
    return None
