"""Random legal programs and input, drawn from a seed: every neuron, dense, sparse and conv, graded and binary."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import strategies as st

from neurodeploy.ir.nodes import Conv, Firing, InputKind, Reset
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_SHIFT,
    ConvSynapses,
    DenseSynapses,
    InputPort,
    Neuron,
    Population,
    Program,
    Projection,
    SparseSynapses,
)

HIGHEST_PAYLOAD = 20


def neuron(rng: np.random.Generator, size: int, reset: Reset, vth: int = 400, values: bool = True) -> Neuron:
    """Return random registers, per neuron or shared, over their whole ranges up to `vth`, half of them with a floor.

    Those that never reset send their membrane or its changes half of the time, if `values` may be sent.
    """
    shape = size if rng.random() < 0.5 else ()

    def draw(low: int, high: int) -> np.ndarray:
        return np.asarray(rng.integers(low, high, shape), np.int32)

    bias = np.asarray(rng.integers(-40, 40, size), np.int32)
    exponent, in_current = int(rng.integers(0, 8)), bool(rng.random() < 0.5)
    registers = draw(1, 4097), draw(0, 4096), draw(1, vth)
    firing = list(Firing)[rng.integers(3)]
    most = int(rng.choice([2, 5])) if firing is Firing.MULTIPLE else 1
    floor = draw(-vth, 1) if rng.random() < 0.5 else None
    if values and reset is Reset.NONE and rng.random() < 0.5:
        if rng.random() < 0.5:
            firing, shift = list(Firing)[-1 - rng.integers(2)], int(rng.choice([0, 2, 5]))
            adds = np.asarray(rng.choice([0, DECAY_ONE]), np.int32), np.asarray(DECAY_ONE, np.int32)
            changes = (firing, None, 1 << 18, STATE_SHIFT, shift)
            return Neuron(*adds, np.asarray(registers[2] // 8, np.int32), bias, exponent, reset, False, *changes)
        shift = int(rng.integers(4, 18))
        return Neuron(*registers, bias, exponent, reset, in_current, Firing.VALUE, None, 5, shift)
    return Neuron(*registers, bias, exponent, reset, in_current, firing, floor, most)


def sparse(rng: np.random.Generator, post: int, pre: int, density: float = 0.3) -> SparseSynapses:
    rows, columns = np.nonzero(rng.random((post, pre)) < density)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=post))]).astype(np.int64)
    return SparseSynapses(rng.integers(-127, 128, len(rows)).astype(np.int8), columns.astype(np.int32), indptr)


def conv(rng: np.random.Generator) -> tuple[ConvSynapses, tuple[int, ...]]:
    """Return a random convolution over a small image, asymmetric in every parameter, and the image's shape."""
    groups = int(rng.choice([1, 2]))
    image = (2 * groups, int(rng.integers(4, 8)), int(rng.integers(4, 8)))
    kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
    stride = tuple(int(n) for n in rng.integers(1, 3, 2))
    padding = tuple(int(rng.integers(0, k)) for k in kernel)
    dilation = (1, 1) if rng.random() < 0.6 else (1, 2)
    shape = Conv(np.zeros((4, 2, *kernel)), image, stride, padding, dilation, groups).shape
    if min(shape) < 1:
        return conv(rng)
    mantissa = rng.integers(-127, 128, (4, 2, *kernel)).astype(np.int8)
    return ConvSynapses(mantissa, image, shape, stride, padding, dilation, groups), image


def program(seed: int, first: Reset, second: Reset, convolutional: bool, recurrent: bool, graded: bool) -> Program:
    """Return two populations: a dense or convolutional one, recurrent or not, read by a sparse one."""
    rng = np.random.default_rng(seed)
    if convolutional:
        synapses, shape = conv(rng)
        layer, exponent = synapses.output_shape, 0
    else:
        shape, layer = (int(rng.integers(3, 20)),), (int(rng.integers(2, 30)),)
        synapses = DenseSynapses(rng.integers(-127, 128, (layer[0], shape[0])).astype(np.int8))
        exponent = int(rng.integers(-3, 3))
    size = prod(layer)
    high = HIGHEST_PAYLOAD if graded else 1
    port = InputPort("in", shape, InputKind.GRADED if graded else InputKind.SPIKES, 1.0, 5, -high * graded, high)
    projections = [Projection("in->a", "in", "a", synapses, exponent)]
    if recurrent:
        loop = DenseSynapses(rng.integers(-127, 128, (size, size)).astype(np.int8))
        projections.append(Projection("a->a", "a", "a", loop, int(rng.integers(-2, 2)), recurrent=True))
    projections.append(Projection("a->b", "a", "b", sparse(rng, 5, size), int(rng.integers(-2, 8))))
    populations = (
        Population("a", layer, neuron(rng, size, first, values=not recurrent), 1, 1.0),
        Population("b", (5,), neuron(rng, 5, second), 2, 1.0),
    )
    return Program(port, populations, tuple(projections), "b")


def payload(seed: int, port: InputPort, steps: int = 7, samples: int = 3, rate: float = 0.3) -> np.ndarray:
    """Return random input for `port`, int32 (step, sample, *shape)."""
    rng = np.random.default_rng(seed + 1)
    shape = (steps, samples, *port.shape)
    if port.kind is InputKind.SPIKES:
        return (rng.random(shape) < rate).astype(np.int32)
    return rng.integers(port.low, port.high + 1, shape).astype(np.int32)


programs = st.builds(
    program,
    st.integers(0, 2**32 - 1),
    st.sampled_from(Reset),
    st.sampled_from(Reset),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
"""Every reset twice x every firing x dense, conv x feed-forward, recurrent x binary, graded."""
