"""Small programs that learn by pairs of spikes, for the tests of on-chip STDP."""

from __future__ import annotations

import numpy as np

from neurodeploy.backends.loihi2.paired_formats import integer_program
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset
from neurodeploy.ir.paired import PairedProgram
from neurodeploy.lowering.paired import RSTDPOptions, STDPOptions
from neurodeploy.lowering.paired import program as paired_program

STEPS = 12
LIVELY = RSTDPOptions(
    rate=1 / 8,
    depression=0.5,
    homeostasis=0.02,
    inhibition=1.0,
    spikes=6.0,
    start=0.1,
    pause=3,
    feature_epochs=1,
    output_rate=0.05,
    vote=1.0,
    initial="random",
    plastic=("lif1",),
    seed=3,
)
"""Rates at which a few samples change most weights."""


def network(
    sizes: tuple[int, int, int] = (16, 12, 4),
    *,
    reset: Reset = Reset.SUBTRACT_NEXT_STEP,
    beta: float = 0.9,
    seed: int = 0,
) -> Network:
    """Return features that inhibit each other and an output that counts votes, all weights random."""
    random = np.random.default_rng(seed)
    inputs, features, classes = sizes
    one = np.ones(())
    nodes = {
        "input": Input((inputs,), InputKind.SPIKES, 0.0, 1.0),
        "fc1": Linear(random.uniform(0, 0.5, (features, inputs))),
        "lif1": LIF((features,), np.array(beta), random.uniform(1.5, 2.5, features), reset),
        "loop": Linear(1.5 * (np.eye(features) - 1)),
        "fc2": Linear(random.dirichlet(np.ones(classes), features).T),
        "lif2": LIF((classes,), one, 0.6 * one, Reset.SUBTRACT_NEXT_STEP),
    }
    pairs = [("input", "fc1"), ("fc1", "lif1"), ("loop", "lif1"), ("lif1", "fc2"), ("fc2", "lif2")]
    return Network(nodes, (*(Edge(*pair) for pair in pairs), Edge("lif1", "loop", 1)), "input", "lif2")


def real(options: STDPOptions = LIVELY, epoch: int = 0, **shape) -> PairedProgram:
    """Return a real program of `network`."""
    return paired_program(network(**shape), STEPS, options, epoch)


def integer(options: STDPOptions = LIVELY, epoch: int = 0, **shape) -> PairedProgram:
    """Return an integer program of `network`, as compiling it for Loihi gives it."""
    return integer_program(quantize(network(**shape)), real(options, epoch, **shape), options.initial == "random")


def samples(count: int = 5, inputs: int = 16, classes: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes uint8 (sample, step, input) and labels (sample,)."""
    random = np.random.default_rng(seed)
    return (random.random((count, STEPS, inputs)) < 0.3).astype(np.uint8), random.integers(0, classes, count)
