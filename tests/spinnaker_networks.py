"""Networks of random weights for SpiNNaker, in the kinds that its tests go through."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Input, InputKind, Linear, Node, Reset

STEPS = 20
ENCODING = {"kind": "rate", "steps": STEPS}


def dense(
    *sizes: int,
    alpha: float | None = None,
    bias: bool = False,
    recurrent: bool = False,
    density: float = 1.0,
    reset: Reset | None = None,
    seed: int = 0,
) -> Network:
    """Return a chain of dense layers that neither fall silent nor fire at every step; the first may read itself."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Node] = {"input": Input((sizes[0],), InputKind.SPIKES)}
    edges: list[Edge] = []
    reset = reset or (Reset.ZERO if alpha is None else Reset.ZERO_NEXT_STEP)
    for layer, (pre, post) in enumerate(pairwise(sizes)):
        weight = rng.normal(0.2 / np.sqrt(pre), 2.5 / np.sqrt(pre * density), (post, pre))
        weight *= rng.random(weight.shape) < density
        nodes[f"fc{layer}"] = Linear(weight, rng.normal(0, 0.1, post) if bias else None)
        nodes[f"lif{layer}"] = neurons((post,), rng, alpha, reset)
        source = f"lif{layer - 1}" if layer else "input"
        edges += [Edge(source, f"fc{layer}"), Edge(f"fc{layer}", f"lif{layer}")]
    if recurrent:
        nodes["back"] = Linear(rng.normal(0, 0.1, (sizes[1], sizes[1])))
        edges += [Edge("lif0", "back", 1), Edge("back", "lif0")]
    return Network(nodes, tuple(edges), "input", f"lif{len(sizes) - 2}", encoding=ENCODING)


def convolutional(bias: bool = True, seed: int = 0) -> Network:
    """Return two channels of 6 x 6 from one of 8 x 8, then a dense layer."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.1, 2) if bias else None
    nodes: dict[str, Node] = {
        "input": Input((1, 8, 8), InputKind.SPIKES),
        "conv": Conv(rng.normal(0.1, 0.5, (2, 1, 3, 3)), (1, 8, 8), (1, 1), (0, 0), (1, 1), 1, shared),
        "lif0": neurons((2, 6, 6), rng, None, Reset.ZERO),
        "fc": Linear(rng.normal(0.02, 0.3, (10, 72))),
        "lif1": neurons((10,), rng, None, Reset.ZERO),
    }
    names = list(nodes)
    edges = tuple(Edge(source, target) for source, target in pairwise(names))
    return Network(nodes, edges, "input", "lif1", encoding=ENCODING)


def planar(seed: int = 0) -> Network:
    """Return planes of 20 x 24, two cores each, that kernels join: one, two, two apart, one; then 10 cells."""
    rng, plane = np.random.default_rng(seed), (20, 24)
    kernels = (
        ((2, 1, 3, 3), (1, 22, 26), (0, 0), 1, 0.5),
        ((2, 1, 5, 3), (2, *plane), (2, 1), 2, 0.4),
        ((1, 2, 3, 1), (2, *plane), (1, 0), 1, 0.6),
    )
    nodes: dict[str, Node] = {"input": Input((1, 22, 26), InputKind.SPIKES)}
    for layer, (shape, source, padding, groups, spread) in enumerate(kernels):
        weight, bias = rng.normal(0.12, spread, shape), rng.normal(0, 0.1, shape[0]) if layer < 2 else None
        nodes[f"conv{layer}"] = Conv(weight, source, (1, 1), padding, (1, 1), groups, bias)
        nodes[f"lif{layer}"] = neurons((shape[0], *plane), rng, 0.75, Reset.ZERO_NEXT_STEP)
    nodes |= {"fc": Linear(rng.normal(0.01, 0.1, (10, 480))), "lif3": neurons((10,), rng, None, Reset.ZERO)}
    edges = tuple(Edge(source, target) for source, target in pairwise(nodes))
    return Network(nodes, edges, "input", "lif3", encoding=ENCODING)


def neurons(shape: tuple[int, ...], rng: np.random.Generator, alpha: float | None, reset: Reset) -> LIF:
    """Return cells whose decays and thresholds differ from cell to cell."""
    beta, threshold = rng.uniform(0.8, 0.95, shape), rng.uniform(0.8, 1.2, shape)
    return LIF(shape, beta, threshold, reset, None if alpha is None else np.asarray(alpha))


def spikes(network: Network, samples: int = 2, rate: float = 0.2, seed: int = 1) -> np.ndarray:
    """Return random input, uint8 (step, sample, *input shape)."""
    rng = np.random.default_rng(seed)
    return (rng.random((STEPS, samples, *network.input_node.shape)) < rate).astype(np.uint8)
