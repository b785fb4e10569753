"""`Program`: what will happen, in the target's own integers; the only floats are scales kept for reading back.

The integers of a population are a `Neuron`'s, in the arithmetic of Loihi's synapses and two-state neurons as Lava 0.10
computes it (`engine.reference` is its definition in code), or a `Cell`'s, the constants of a PyNN cell as SpiNNaker
stores them (`engine.cells`). Whatever they are, they can say which real numbers they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from neurodeploy.errors import Deviation
from neurodeploy.ir.network import Readout
from neurodeploy.ir.nodes import Firing, InputKind, Reset, Shape

DECAY_ONE = 4096
"""A decay of 4096 forgets everything: states keep (4096 - decay) / 4096 of themselves each step."""
STATE_SHIFT = 6
"""Activations and thresholds enter the 24-bit states shifted left by six bits."""
STATE_MAX = (1 << 23) - 1
"""The largest magnitude of the membrane; it saturates there."""
S1615 = 1 << 15
"""SpiNNaker's numbers have a sign, 16 bits before and 15 after the point: this integer is the number 1."""
U032 = 1 << 32
"""Its decay of synaptic currents has 32 bits after the point and none before."""


BIAS = ".bias"
"""After a population's name: the source of its bias, where a bias is spikes of a source."""


@dataclass(frozen=True)
class Grid:
    """The values a constant could have: `step` apart (perhaps another one per neuron), from `low` to `high`."""

    step: float | np.ndarray
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Constants:
    """What a population's integers stand for, float64 in membrane units, () or (neuron,); names as in `nodes.LIF`.

    Args:
        values: beta, alpha (0 without a synaptic current), threshold and bias; floor, of neurons that have one.
        grids: which values each of them could have.
        unit: resolution of the states; 0 where they are real numbers.
    """

    values: dict[str, np.ndarray]
    grids: dict[str, Grid]
    unit: float


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

        u <- wrap24( trunc0(u (4096 - du) / 4096) + (a << activation_shift) + [bias if bias_in_current] )
        v <- trunc0(v (4096 - dv) / 4096) + u + [bias otherwise]      then the reset rule, then clip to +-(2^23 - 1)
        s <- [v > vth << 6], or what else `firing` says, `most` at most; a membrane's VALUE is v >> payload_shift
        v <- max(v, floor << 6)                               with `floor`, which is at most 0
        bias = bias_mantissa << bias_exponent

    trunc0 rounds the magnitude down. du in 1..4096 (4096: no synaptic memory), dv in 0..4095, vth in 0..2^17-1, and
    most in 1..255: a neuron that fires several times in a step sends how often as the payload of one graded spike; one
    that sends its membrane has payloads from -most to most, up to 2^23 - 1.

    Activations are shifted by six, as vth is, but for sigma-delta neurons (Lava's Delta, SigmaDelta and Sigma), whose
    messages have as many bits after the point as their states. Those keep all of u (du = 0) or nothing, and nothing of
    v (dv = 4096). One that tells changes keeps what it told beside u and v, 0 at first, and with w = v, or max(v, 0):

        s <- (w - told) >> payload_shift and told <- w where |w - told| >= vth << 6, otherwise s <- 0
    """

    du: np.ndarray
    dv: np.ndarray
    vth: np.ndarray
    bias_mantissa: np.ndarray
    bias_exponent: int
    reset: Reset
    bias_in_current: bool = False
    firing: Firing = Firing.ABOVE
    floor: np.ndarray | None = None
    most: int = 1
    payload_shift: int = 0
    activation_shift: int = STATE_SHIFT

    @property
    def sent_type(self) -> type[np.generic]:
        """The type that holds what it sends in a step."""
        return np.int32 if self.firing.says_value else np.uint8

    @property
    def sigma_delta(self) -> bool:
        """Whether it keeps all of its current or nothing of its membrane, as Lava's Delta, SigmaDelta and Sigma do."""
        return bool(np.any(self.du == 0) or np.any(self.dv == DECAY_ONE))

    def constants(self, scale: float) -> Constants:
        """Return the real numbers these integers stand for at `scale` state units per membrane unit."""
        unit = scale * (1 << STATE_SHIFT)
        bias_step = 2.0**self.bias_exponent / unit
        least = 0.0 if self.sigma_delta else 1 / DECAY_ONE
        values = {
            "beta": 1 - self.dv / DECAY_ONE,
            "alpha": 1 - self.du / DECAY_ONE,
            "threshold": self.vth / scale,
            "bias": self.bias_mantissa * bias_step,
        }
        grids = {
            "beta": Grid(1 / DECAY_ONE, least, 1.0),
            "alpha": Grid(1 / DECAY_ONE, 0.0, 1 - least),
            "threshold": Grid(1 / scale, -inf, inf),
            "bias": Grid(bias_step, -inf, inf),
        }
        if self.floor is not None:
            values["floor"], grids["floor"] = self.floor / scale, grids["threshold"]
        return Constants(values, grids, 1 / unit)

    def weight_step(self, projection: Projection) -> np.ndarray:
        """Return what the mantissa 1 of `projection` is in 64 state units: no low bit, hence the factor two."""
        return np.asarray(2.0 ** (1 + projection.exponent + self.activation_shift - STATE_SHIFT))


@dataclass(frozen=True, eq=False)
class Cell:
    """The constants of one population's PyNN cells; () where all share a value, (neuron,) where they do not.

        i(t) = alpha i(t-1) + a(t) + bias        a: the weights that arrive, mantissa x 2^exponent, in mV
        v(t) = beta v(t-1) + i(t)                then the reset rule
        s(t) = [v(t) > theta]

    in real numbers on PyNN's simulators, in s16.15 on the chip. beta, theta: int32, 2^15 being 1 (or 1 mV); alpha:
    int64, 2^32 being 1, or None for a cell without a synaptic current.

    Args:
        bias: int32 mantissas like any weight's, of a source that fires in every step of a sample: PyNN's own offset
            current does not pass the synapse, and begins before the input has come so far.
        firing: of the source. Where it fires at its threshold, theta is the number below, above which cells fire.
        exponents: of excitatory and of inhibitory weights, which the chip holds unsigned in 16 bits: one exponent for
            all of a kind that reach the population.
    """

    beta: np.ndarray
    theta: np.ndarray
    bias: np.ndarray
    reset: Reset
    alpha: np.ndarray | None = None
    exponents: tuple[int, int] = (0, 0)
    firing: Firing = Firing.ABOVE

    def constants(self, scale: float) -> Constants:
        """Return the real numbers these integers stand for at `scale` mV per membrane unit."""
        values = {
            "beta": self.beta / S1615,
            "alpha": np.zeros(()) if self.alpha is None else self.alpha / U032,
            "threshold": (self.theta + (self.firing is Firing.REACHED)) / S1615 / scale,
            "bias": self.bias * self.steps(self.bias) / scale,
        }
        grids = {
            "beta": Grid(1 / S1615, 0.0, 1 - 1 / S1615),
            "alpha": Grid(1 / U032, 0.0, 1 - 1 / U032),
            "threshold": Grid(1 / S1615 / scale, -inf, inf),
            "bias": Grid(self.steps(self.bias) / scale, -inf, inf),
        }
        return Constants(values, grids, 0.0)

    @property
    def fires_above(self) -> np.ndarray:
        """The membrane in mV above which the cells fire, whatever their source does at its threshold."""
        return self.theta / S1615

    def weight_step(self, projection: Projection) -> np.ndarray:
        """Return how many mV the mantissa 1 is, for each mantissa of `projection`."""
        return self.steps(projection.synapses.mantissa)

    def steps(self, mantissa: np.ndarray) -> np.ndarray:
        """Return each mantissa's step in mV; a zero has the coarser kind's, having been rounded from either."""
        excitatory, inhibitory = (2.0**exponent for exponent in self.exponents)
        sign = np.sign(mantissa)
        return np.where(sign > 0, excitatory, np.where(sign < 0, inhibitory, max(excitatory, inhibitory)))


@dataclass(frozen=True, eq=False)
class Population:
    """Cells that share a model. `scale`: state units (Loihi: before the shift by six; SpiNNaker: mV) per membrane unit.

    `latency_steps`: the population's own step 0 happens this many steps after input step 0 enters the chip.
    """

    name: str
    shape: Shape
    neuron: Neuron | Cell
    latency_steps: int
    scale: float

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def constants(self) -> Constants:
        return self.neuron.constants(self.scale)

    @property
    def payload(self) -> float:
        """What a payload of 1 stands for: a spike, or so many membrane units."""
        if not self.neuron.firing.says_value:
            return 1.0
        return float(2.0**self.loihi.payload_shift / (self.scale * (1 << STATE_SHIFT)))

    @property
    def loihi(self) -> Neuron:
        """`neuron` of a population compiled for Loihi."""
        assert isinstance(self.neuron, Neuron)
        return self.neuron

    @property
    def cell(self) -> Cell:
        """`neuron` of a population compiled for SpiNNaker."""
        assert isinstance(self.neuron, Cell)
        return self.neuron


@dataclass(frozen=True, eq=False)
class DenseSynapses:
    """mantissa (post, pre): all to all, zeros stored and counted like any other weight.

    Mantissas of all kinds of synapses are int8 for Loihi and int32 in [-65535, 65535] for SpiNNaker.
    """

    mantissa: np.ndarray


@dataclass(frozen=True, eq=False)
class SparseSynapses:
    """Compressed rows (post): mantissa (synapse,), indices (synapse,) int32 of pre, indptr (post + 1,) int64."""

    mantissa: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray


@dataclass(frozen=True, eq=False)
class ConvSynapses:
    """Shared kernel: mantissa (out, in / groups, ky, kx); shapes (channel, y, x); pairs are (y, x)."""

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
    """Synapses from `source` to `target`, one step of delay.

        a(t + 1) = shift(sum over pre of 2 mantissa s(t), exponent)                   into a Neuron
        a(t + 1) = sum over pre of mantissa 2^exponents[mantissa < 0] s(t)            into a Cell, exponent is 0

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

    def weights(self, projection: Projection) -> np.ndarray:
        """Return the weights a projection stands for, float64, in membrane units per unit of the real input."""
        return projection.synapses.mantissa * self.weight_steps(projection)

    def weight_steps(self, projection: Projection) -> np.ndarray:
        """Return the distance between neighbouring values of `weights`, () or of the mantissas' shape."""
        target = self.population(projection.target)
        payload = self.payload(projection.source)
        return target.neuron.weight_step(projection) / (target.scale * payload)

    def payload(self, source: str) -> float:
        """Return the real value of the payload 1 of the input or a population."""
        return self.input.scale if source == self.input.name else self.population(source).payload

    def real_values(self, spikes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what populations sent as the source sends it: values as real numbers, others as they are."""
        said = {name for name in spikes if self.population(name).neuron.firing.says_value}
        return {name: sent * self.payload(name) if name in said else sent for name, sent in spikes.items()}

    @property
    def arithmetic(self) -> type[Neuron] | type[Cell]:
        """In whose integers it is."""
        return type(self.populations[0].neuron)

    @property
    def latency_steps(self) -> int:
        """Steps between an input step entering and the output population's answer to it."""
        return self.population(self.output).latency_steps

    @property
    def recurrent(self) -> bool:
        return any(projection.recurrent for projection in self.projections)
