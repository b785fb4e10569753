"""Small chains that learn, and input for them, for the tests of on-chip learning."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neurodeploy.backends.loihi2.plastic_formats import integer_program
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset
from neurodeploy.ir.onchip import PlasticProgram
from neurodeploy.lowering.plastic import DecolleOptions, OnlineOptions
from neurodeploy.lowering.plastic import program as plastic_program

STEPS = 12
LIVELY = OnlineOptions(rate=2e-2, readout_rate=2e-2, target_rate=0.2, seed=3)
"""Rates at which a few samples change most weights."""
LOCAL = DecolleOptions(rate=2e-2, readout_rate=2e-2, target_rate=0.2, seed=3, local_kappa=0.8)
"""The same for DECOLLE."""


def network(
    sizes: tuple[int, ...] = (16, 12, 4),
    *,
    recurrent: bool = False,
    reset: Reset = Reset.SUBTRACT_NEXT_STEP,
    beta: float = 0.9,
    bias: float = 0.0,
    seed: int = 0,
) -> Network:
    """Return a chain of random all-to-all layers, hidden ones recurrent if asked."""
    random = np.random.default_rng(seed)
    nodes, edges, before = {"input": Input((sizes[0],), InputKind.SPIKES, 0.0, 1.0)}, [], "input"
    for depth, (pre, post) in enumerate(pairwise(sizes), start=1):
        bound = 2.0 / pre**0.5
        offset = np.full(post, bias) if bias else None
        nodes[f"fc{depth}"] = Linear(random.uniform(-bound, bound, (post, pre)), offset)
        nodes[f"lif{depth}"] = LIF((post,), np.array(beta), np.array(1.0), reset)
        edges += [Edge(before, f"fc{depth}"), Edge(f"fc{depth}", f"lif{depth}")]
        if recurrent and depth < len(sizes) - 1:
            bound = 0.8 / post**0.5
            nodes[f"loop{depth}"] = Linear(random.uniform(-bound, bound, (post, post)))
            edges += [Edge(f"lif{depth}", f"loop{depth}", 1), Edge(f"loop{depth}", f"lif{depth}")]
        before = f"lif{depth}"
    return Network(nodes, tuple(edges), "input", before)


def real(options: OnlineOptions = LIVELY, **shape) -> PlasticProgram:
    """Return a real program of `network`."""
    return plastic_program(network(**shape), STEPS, options)


def integer(options: OnlineOptions = LIVELY, **shape) -> PlasticProgram:
    """Return an integer program of `network`, as compiling it for Loihi gives it."""
    source = network(**shape)
    program = quantize(source)
    return integer_program(program, plastic_program(source, STEPS, options), options.initial == "random")


def relative(expected: tuple[np.ndarray, ...], actual: tuple[np.ndarray, ...]) -> float:
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, actual, strict=True))


def samples(count: int = 4, inputs: int = 16, classes: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes uint8 (sample, step, input) and labels (sample,)."""
    random = np.random.default_rng(seed)
    return (random.random((count, STEPS, inputs)) < 0.3).astype(np.uint8), random.integers(0, classes, count)
