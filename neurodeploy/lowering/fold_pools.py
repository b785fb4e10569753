"""Turn average pools into convolutions, merged with the convolution beside them where one kernel can say both.

Conv then pool: the kernel convolved with a box, strides multiplied. Pool then conv: each tap spread over its box.
Both are exact when one's output is the other's input as it is, no reshape between them, and no zero padding of one is
seen through the other; otherwise the pool stays a depthwise convolution and `compose_maps` multiplies the two out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import AveragePool, Conv
from neurodeploy.lowering.rewiring import bypass, exchange, sole_reader


def fold_pools(network: Network) -> Network:
    """Return `network` without AveragePool nodes."""
    for name in list(network.nodes):
        node, edge = network.nodes.get(name), sole_reader(network, name)
        reader = network.nodes[edge.target] if edge else None
        merged = None
        match node, reader:
            case Conv(), AveragePool() if node.shape == reader.input_shape:
                merged = _conv_then_pool(node, reader)
            case AveragePool(), Conv() if node.shape == reader.input_shape:
                merged = _pool_then_conv(node, reader)
        if edge and merged:
            network = exchange(bypass(network, edge.target), name, merged)
    for name, node in network.nodes.items():
        if isinstance(node, AveragePool):
            network = exchange(network, name, _depthwise(node))
    return network


def _conv_then_pool(conv: Conv, pool: AveragePool) -> Conv | None:
    if any(pool.padding):
        return None
    kernel = tuple(
        d * (k - 1) + 1 + s * (b - 1)
        for k, d, s, b in zip(conv.weight.shape[2:], conv.dilation, conv.stride, pool.kernel, strict=True)
    )
    weight = np.zeros((*conv.weight.shape[:2], *kernel))
    for box in np.ndindex(*pool.kernel):
        window = tuple(
            slice(t * s, t * s + d * (k - 1) + 1, d)
            for t, s, d, k in zip(box, conv.stride, conv.dilation, conv.weight.shape[2:], strict=True)
        )
        weight[(slice(None), slice(None), *window)] += conv.weight
    stride = tuple(a * b for a, b in zip(conv.stride, pool.stride, strict=True))
    return replace(conv, weight=weight / np.prod(pool.kernel), stride=stride, dilation=(1,) * len(kernel))


def _pool_then_conv(pool: AveragePool, conv: Conv) -> Conv | None:
    tiles = pool.kernel == pool.stride and not any(pool.padding) and set(conv.dilation) == {1}
    remainder = any(n % k for n, k in zip(pool.input_shape[1:], pool.kernel, strict=True))
    if not tiles or (remainder and any(conv.padding)):
        return None
    weight = conv.weight
    for axis, box in enumerate(pool.kernel):
        weight = np.repeat(weight, box, axis=axis + 2)
    return replace(
        conv,
        weight=weight / np.prod(pool.kernel),
        input_shape=pool.input_shape,
        stride=tuple(s * k for s, k in zip(conv.stride, pool.kernel, strict=True)),
        padding=tuple(p * k for p, k in zip(conv.padding, pool.kernel, strict=True)),
    )


def _depthwise(pool: AveragePool) -> Conv:
    channels = pool.input_shape[0]
    weight = np.full((channels, 1, *pool.kernel), 1 / np.prod(pool.kernel))
    ones = (1,) * len(pool.kernel)
    return Conv(weight, pool.input_shape, pool.stride, pool.padding, ones, groups=channels)
