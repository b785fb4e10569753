"""Turn a maximum over spikes into a population of logical ors, which every target has; refuse any other maximum.

max over a window of zeros and ones = [sum over the window > 1/2], one memoryless neuron per window. The extra
population adds a step of latency on chip and nothing else. A maximum over currents is not linear and needs values that
spikes do not carry, so it is refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, raise_all
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, InputKind, MaxPool, Reset
from neurodeploy.lowering.rewiring import exchange


def spike_max_pools(network: Network) -> Network:
    """Return `network` with every MaxPool over spikes as Conv and LIF.

    Raises:
        UnsupportedError: ND130 for every MaxPool over anything else.
    """
    pools = {name: node for name, node in network.nodes.items() if isinstance(node, MaxPool)}
    raise_all(UnsupportedError, [_refusal(network, name) for name in pools if not _reads_spikes(network, name)])
    for name, pool in pools.items():
        network = _as_logical_or(network, name, pool)
    return network


def _reads_spikes(network: Network, name: str) -> bool:
    """Say whether everything `name` reads is binary: spikes of a population or of the input, or another spike pool."""
    sources = [edge.source for edge in network.incoming(name)]
    if len(sources) != 1:
        return False
    node = network.nodes[sources[0]]
    if sources[0] == network.input:
        return network.input_node.kind is InputKind.SPIKES
    if isinstance(node, LIF):
        return not node.firing.graded
    return isinstance(node, MaxPool) and _reads_spikes(network, sources[0])


def _as_logical_or(network: Network, name: str, pool: MaxPool) -> Network:
    channels = pool.input_shape[0]
    window = Conv(
        np.ones((channels, 1, *pool.kernel)),
        pool.input_shape,
        pool.stride,
        pool.padding,
        (1,) * len(pool.kernel),
        groups=channels,
    )
    ors = LIF(pool.shape, np.array(0.0), np.array(0.5), Reset.ZERO)
    window_name = f"{name}.window"
    edges = tuple(
        Edge(edge.source, window_name, edge.delay_steps) if edge.target == name else edge for edge in network.edges
    )
    network = exchange(network, name, ors)
    return replace(
        network,
        nodes=network.nodes | {window_name: window},
        edges=(*edges, Edge(window_name, name)),
    )


def _refusal(network: Network, name: str) -> Finding:
    return Finding(
        "ND130",
        network.place(name),
        "a maximum over values that are not spikes",
        "max pooling of currents is not linear, and spikes do not carry the values it compares",
        "pool after the spikes (MaxPool2d on a neuron layer's output is exact), or train with AvgPool2d",
    )
