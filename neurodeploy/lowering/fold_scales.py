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
    for name in list(network.nodes):
        node = network.nodes.get(name)
        if not isinstance(node, Linear | Conv):
            continue
        edge = sole_reader(network, name)
        scale = network.nodes[edge.target] if edge else None
        if edge and isinstance(scale, Scale) and scale.shape == node.shape:
            network = exchange(bypass(network, edge.target), name, _folded(node, scale))
    return network


def _folded(node: Linear | Conv, scale: Scale) -> Linear | Conv:
    rows = scale.weight.reshape(-1, *(1,) * (node.weight.ndim - 1))
    bias = np.zeros(len(scale.weight)) if node.bias is None else node.bias
    return replace(node, weight=rows * node.weight, bias=scale.weight * bias + scale.bias)
