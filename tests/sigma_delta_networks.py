"""Sigma-delta networks as lava-dl's files make them, and input for them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neurodeploy.ir.network import Edge, Network, Readout
from neurodeploy.ir.nodes import LIF, Firing, Input, InputKind, Linear, Reset


def telling(seed: int) -> Network:
    """Return sigma-delta neurons of all three kinds in the integers of lava-dl: an encoder, a layer, a sum."""
    rng = np.random.default_rng(seed)
    shared = {"grid": 1 / 64, "payload": 1 / 4096, "reset": Reset.NONE, "beta": np.array(0.0)}
    one, threshold, bias = np.array(1.0), np.array(6 / 64), rng.integers(-40, 40, 7) / 64

    def weights(*shape: int) -> Linear:
        return Linear(2 * rng.integers(-60, 60, shape) / 64)

    nodes = {
        "in": Input((5,), InputKind.GRADED, -2.0, 2.0, grid=1 / 64),
        "0.map": Linear(np.eye(5)),
        "0": LIF((5,), threshold=threshold, firing=Firing.DELTA, **shared),
        "1.map": weights(7, 5),
        "1": LIF((7,), threshold=threshold, alpha=one, firing=Firing.DELTA_RELU, bias=bias, **shared),
        "2.map": weights(3, 7),
        "2": LIF((3,), threshold=one, alpha=one, firing=Firing.VALUE, **shared),
    }
    edges = tuple(Edge(*pair) for pair in pairwise(nodes))
    return Network(nodes, edges, "in", "2", readout=Readout.MEMBRANE_SUM)


def walk(seed: int, steps: int = 20, samples: int = 4) -> np.ndarray:
    """Return values that walk in steps of 1/64, (step, sample, 5)."""
    drift = np.random.default_rng(seed).normal(0, 0.2, (steps, samples, 5))
    return np.rint(64 * np.cumsum(drift, axis=0).clip(-1.9, 1.9)) / 64
