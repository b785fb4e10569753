"""`Program`: what will happen, in the target's own integers; the only floats are scales kept for reading back.

The arithmetic is that of Loihi's synapses and two-state neurons as Lava 0.10 computes it; `engine.reference` is its
definition in code, this module holds its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from neurodeploy.errors import Deviation
from neurodeploy.ir.network import Readout
from neurodeploy.ir.nodes import InputKind, Reset, Shape

DECAY_ONE = 4096
"""A decay of 4096 forgets everything: states keep (4096 - decay) / 4096 of themselves each step."""
STATE_SHIFT = 6
"""Activations and thresholds enter the 24-bit states shifted left by six bits."""
STATE_MAX = (1 << 23) - 1
"""The largest magnitude of the membrane; it saturates there."""


@dataclass(frozen=True)
class InputPort:
    """Where spikes (payload 1) or graded spikes (integer payload of `bits` plus sign) enter.

    A payload p stands for the real value p * scale. `exact` says that all values are whole payloads, so that others are
    refused instead of rounded.
    """

    name: str
    shape: Shape
    kind: InputKind
    scale: float = 1.0
    bits: int = 1
    low: int = 0
    high: int = 1
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Neuron:
    """The integers of one population's neurons; () where all share a value, (neuron,) where they do not.

        u <- wrap24( trunc0(u (4096 - du) / 4096) + (a << 6) + [bias if bias_in_current] )
        v <- trunc0(v (4096 - dv) / 4096) + u + [bias otherwise]      then the reset rule, then clip to +-(2^23 - 1)
        s <- [v > vth << 6]
        bias = bias_mantissa << bias_exponent

    trunc0 rounds the magnitude down. du in 1..4096 (4096: no synaptic memory), dv in 0..4095, vth in 0..2^17-1.
    """

    du: np.ndarray
    dv: np.ndarray
    vth: np.ndarray
    bias_mantissa: np.ndarray
    bias_exponent: int
    reset: Reset
    bias_in_current: bool = False


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons that share a model. `scale` is the number of state units (before the shift by six) per membrane unit.

    `latency_steps`: the population's own step 0 happens this many steps after input step 0 enters the chip.
    """

    name: str
    shape: Shape
    neuron: Neuron
    latency_steps: int
    scale: float

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class DenseSynapses:
    """mantissa (post, pre) int8: all to all, zeros stored and counted like any other weight."""

    mantissa: np.ndarray


@dataclass(frozen=True, eq=False)
class SparseSynapses:
    """Compressed rows (post): mantissa (synapse,) int8, indices (synapse,) int32 of pre, indptr (post + 1,) int64."""

    mantissa: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray


@dataclass(frozen=True, eq=False)
class ConvSynapses:
    """Shared kernel: mantissa (out, in / groups, ky, kx) int8; shapes (channel, y, x); pairs are (y, x)."""

    mantissa: np.ndarray
    input_shape: Shape
    output_shape: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1


Synapses = DenseSynapses | SparseSynapses | ConvSynapses


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from `source` to `target`, one step of delay, with the weight 2 * mantissa.

        a(t + 1) = shift(sum over pre of 2 mantissa s(t), exponent)

    shift is << for a positive and a flooring >> for a negative exponent. The factor two is the low bit that mixed-sign
    8-bit weights do not have. `recurrent` says that the target reads the source's step before (delay inside the source
    network), so the one step of chip delay is part of the meaning and adds no latency.
    """

    name: str
    source: str
    target: str
    synapses: Synapses
    exponent: int = 0
    recurrent: bool = False


@dataclass(frozen=True)
class Program:
    """A network in integers: one input port, populations in causal order, projections, and what changed on the way."""

    input: InputPort
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str
    readout: Readout = Readout.SPIKE_COUNT
    dt_s: float | None = None
    encoding: dict | None = None
    deviations: tuple[Deviation, ...] = ()

    def population(self, name: str) -> Population:
        return next(population for population in self.populations if population.name == name)

    def incoming(self, name: str) -> list[Projection]:
        return [projection for projection in self.projections if projection.target == name]

    def until(self, name: str) -> Program:
        """Return the part that decides what population `name` does, with it as the output."""
        needed, found = {name}, {name}
        while found:
            found = {edge.source for edge in self.projections if edge.target in found} - needed
            needed |= found
        populations = tuple(population for population in self.populations if population.name in needed)
        projections = tuple(edge for edge in self.projections if edge.target in needed)
        return replace(self, populations=populations, projections=projections, output=name)

    @property
    def latency_steps(self) -> int:
        """Steps between an input step entering and the output population's answer to it."""
        return self.population(self.output).latency_steps

    @property
    def recurrent(self) -> bool:
        return any(projection.recurrent for projection in self.projections)
