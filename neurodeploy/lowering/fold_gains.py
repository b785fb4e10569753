"""Fold a population's input gain (Lapicque's 1/C) into the weights and biases that feed it: gain (W x + b)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Linear, Node, SparseLinear
from neurodeploy.lowering.rewiring import exchange


def fold_gains(network: Network) -> Network:
    """Return `network`, which has one map on every path, with every gain inside the maps."""
    for name, node in network.populations.items():
        if node.gain is None:
            continue
        for edge in network.incoming(name):
            network = exchange(network, edge.source, _scaled(network.nodes[edge.source], node.gain, node))
        network = exchange(network, name, replace(node, gain=None))
    return network


def _scaled(node: Node, gain: np.ndarray, target: LIF) -> Node:
    per_neuron = np.broadcast_to(gain, target.shape)
    match node:
        case Linear(weight, bias):
            rows = per_neuron.reshape(-1)
            return replace(node, weight=rows[:, None] * weight, bias=None if bias is None else rows * bias)
        case SparseLinear(data, _, indptr, bias=bias):
            rows = per_neuron.reshape(-1)
            scaled = data * np.repeat(rows, np.diff(indptr))
            return replace(node, data=scaled, bias=None if bias is None else rows * bias)
        case Conv(weight, bias=bias) if np.all(per_neuron == per_neuron.flat[0]):
            factor = per_neuron.flat[0]
            return replace(node, weight=factor * weight, bias=None if bias is None else factor * bias)
    raise UnsupportedError(
        Finding(
            "ND131",
            "a Lapicque layer after a convolution",
            "every neuron has an input gain of its own",
            "a convolution shares its kernel, so it cannot scale each output position differently",
            "use one beta for the whole layer",
        )
    )
