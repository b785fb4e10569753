"""Small programs written by hand, for the tests that run them on Lava."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import DenseSynapses, InputPort, Neuron, Population, Program, Projection

FORGETS = 4096
"""The decay of a current without memory."""


def neuron(
    reset: Reset = Reset.ZERO, du=FORGETS, dv=400, vth=60, bias=0, exponent: int = 0, in_current: bool = False
) -> Neuron:
    """Return neurons with the given registers; arrays give one value per neuron."""
    return Neuron(np.array(du), np.array(dv), np.array(vth), np.array(bias), exponent, reset, in_current)


def dense(name: str, source: str, target: str, mantissa: np.ndarray, **more) -> Projection:
    return Projection(name, source, target, DenseSynapses(mantissa.astype(np.int8)), **more)


def chain(sizes: list[int], recurrent: bool = False, kind: InputKind = InputKind.SPIKES, **neurons) -> Program:
    """Return a chain of all-to-all layers with random weights, each feeding back on itself if `recurrent`."""
    rng = np.random.default_rng(len(sizes))
    names = ["input", *(f"layer{i}" for i in range(1, len(sizes)))]
    populations, projections = [], []
    for i in range(1, len(sizes)):
        populations.append(Population(names[i], (sizes[i],), neuron(**neurons), latency_steps=i, scale=64.0))
        forward = rng.integers(-40, 60, (sizes[i], sizes[i - 1]))
        projections.append(dense(f"to {names[i]}", names[i - 1], names[i], forward))
        if recurrent:
            back = rng.integers(-60, 60, (sizes[i], sizes[i]))
            projections.append(dense(f"back to {names[i]}", names[i], names[i], back, recurrent=True))
    port = InputPort("input", (sizes[0],), kind, bits=8, low=-255, high=255)
    return Program(port, tuple(populations), tuple(projections), names[-1])


def spikes(shape: tuple[int, ...], seed: int = 0, rate: float = 0.3) -> np.ndarray:
    """Return random input spikes, int32."""
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.int32)
