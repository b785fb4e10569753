"""A convolution may read a flat population and feed a flat one: Lava, the engine and the source still agree."""

from __future__ import annotations

import itertools

import numpy as np

from neurodeploy import pipeline
from neurodeploy.engine.real import run_real
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Input, InputKind, Linear, Reset, Reshape


def network() -> Network:
    """Return 20 spikes -> 24 neurons, seen as (2, 3, 4) -> convolution -> flattened into neurons -> read out."""
    rng = np.random.default_rng(2)
    image = (2, 3, 4)
    conv = Conv(rng.integers(-4, 8, (3, 2, 2, 3)) / 8, image, (1, 1), (1, 0), (1, 1))
    flat = int(np.prod(conv.shape))
    nodes = {
        "in": Input((20,), InputKind.SPIKES),
        "fc": Linear(rng.integers(-4, 8, (24, 20)) / 8),
        "lif1": LIF((24,), np.array(0.5), np.array(1.0), Reset.SUBTRACT_NEXT_STEP),
        "turn": Reshape((24,), image),
        "conv": conv,
        "flat": Reshape(conv.shape, (flat,)),
        "lif2": LIF((flat,), np.array(0.75), np.array(1.0), Reset.ZERO),
        "read": Linear(rng.integers(-4, 8, (5, flat)) / 16),
        "lif3": LIF((5,), np.array(0.5), np.array(0.5), Reset.ZERO),
    }
    path = list(nodes)
    return Network(nodes, tuple(Edge(a, b) for a, b in itertools.pairwise(path)), "in", "lif3")


def test_engine_lava_and_source_agree() -> None:
    """Lava's runtime bit for bit; against real numbers every decision is accounted for."""
    net = network()
    model = pipeline.compile(net, "loihi2-sim")
    x = (np.random.default_rng(0).random((9, 4, 20)) < 0.3).astype(np.uint8)
    samples = pipeline.Samples("x", x, None)
    for authority in ("lava", "engine", "source"):
        _, certificate = pipeline.verify(model, samples, against=authority)
        assert certificate["verified"], (authority, certificate)
    assert 0.05 < run_real(net, x)[0].spikes["lif2"].mean() < 0.6
