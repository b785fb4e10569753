"""Fold a per-channel Scale (BatchNorm in evaluation mode) into the Linear or Conv it follows.

scale (W x + b) + shift = (scale W) x + (scale b + shift), rows of W being output channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, Linear, Scale
from neurodeploy.lowering.rewiring import bypass, exchange, sole_reader


def fold_scales(network: Network) -> Network:
    """Return `network` with every Scale that alone reads a Linear or Conv folded into it."""
    for name, node in network.nodes.items():
        edge = sole_reader(network, name) if isinstance(node, Linear | Conv) else None
        if edge is None or name not in network.nodes:
            continue
        scale = network.nodes[edge.target]
        if isinstance(scale, Scale) and len(scale.weight) == node.weight.shape[0]:
            network = exchange(bypass(network, edge.target), name, _folded(node, scale))
    return network


def _folded(node: Linear | Conv, scale: Scale) -> Linear | Conv:
    rows = scale.weight.reshape(-1, *(1,) * (node.weight.ndim - 1))
    bias = np.zeros(len(scale.weight)) if node.bias is None else node.bias
    return replace(node, weight=rows * node.weight, bias=scale.weight * bias + scale.bias)
