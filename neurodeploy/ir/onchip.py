"""`PlasticProgram`: a network that learns on its target, in real numbers or in the target's integers.

A chain of populations p = 1 ... P, each fed by all-to-all synapses and perhaps by itself, the last one the output. In
every time step n, counted from 0 where a sample's first input enters:

    population  takes what its synapses summed up in step n - 1, updates as its neuron says, and spikes: z(n)
                psi(n) = max(0, 1 - |v - theta| / (width theta)),  v as it was when it was compared with theta
    output      y(n) = kappa y(n-1) + z(n)          err(n) = clip(y(n) / goal - target, -1, 1)       L(n) = err(n)
    hidden      r(n) = r(n-1) + (z(n) - r(n-1)) / 64
                L(n) = B err(n-1) + regularizer (r(n) - rate)
                err: the output's, or, where the population has one, its own read-out's
    read-out    y(n) = kappa y(n-1) + G z(n-1)      err(n) as the output's, with a goal of its own
    synapses    sum up W z_pre(n) for step n + 1; then the rule changes W by what is there in step n

A population rests (z = psi = err = 0, states zero) outside its own `steps` steps, of which the first is n = p; a sample
takes steps + P steps, so that the last error has come back before the next sample begins. The output's error meets
population p P - p + 1 steps after the spikes it is about, since every connection takes one; that of its own read-out,
which rests (y = err = 0) outside `steps` steps from n = p + 1 on, two steps after, whatever P is. Traces know no
samples and run on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.plasticity import Rule, Signal
from neurodeploy.ir.program import Neuron

EPROP = Rule(
    name="eprop",
    pre={"eps": "beta*eps' + x"},
    weight="-rate*beta*L*psi*eps'",
    signal=Signal.BROADCAST,
    constants=("beta", "rate"),
    source="Bellec et al. 2020, Nature Communications 11:3625, online and without the filter of the read-out",
)
"""e-prop as a chip runs it: a trace per input, a factor per neuron, no variable per synapse, an update at every step.

The potential of step n holds inputs up to n - 1, hence eps'; beta eps' is what is left of it in step n, and what a
chip's own trace holds before it adds the spike of the step.
"""

DECOLLE = replace(
    EPROP,
    name="decolle",
    signal=Signal.LOCAL_READOUT,
    source="Kaiser, Mostafa & Neftci 2020, Frontiers in Neuroscience 14:424, online and without the read-outs' offsets",
)
"""DECOLLE as a chip runs it: e-prop's table with L from a read-out of the population's own, B being G transposed."""

WEIGHT_MIN, WEIGHT_MAX = -256, 255
"""A weight that learns has eight bits and a sign; static ones are even, so learned ones lose a bit when frozen."""
TRACE_MAX = 127
"""A presynaptic trace and a third factor have seven bits."""
ERROR_ONE = 127
"""The error 1 as a graded spike of seven bits and a sign."""
FACTOR_STEP = 8
"""Third factors are multiples of eight: the engine shifts the product of two traces by three, and so loses nothing."""
FACTOR_MOST = TRACE_MAX // FACTOR_STEP
RATE_SHIFT = 6
"""A hidden neuron's firing rate is a mean over about 2^6 steps."""
RATE_ONE = 4096
"""One spike per step, as the register of the firing rate holds it."""
READOUT_UNIT = 64
"""What a spike adds to the output's filtered spikes."""
READOUT_SHIFT = 12


@dataclass(frozen=True, eq=False)
class RealNeuron:
    """v = beta v + a + bias, then the reset rule, spikes where v > theta; float64, () or (neuron,)."""

    beta: np.ndarray
    theta: np.ndarray
    bias: np.ndarray
    reset: Reset


@dataclass(frozen=True, eq=False)
class RealSynapses:
    """weight float64 (post, pre); `plastic` says whether the rule changes them."""

    weight: np.ndarray
    plastic: bool = True


@dataclass(frozen=True, eq=False)
class IntegerSynapses:
    """All-to-all synapses in the number formats of Loihi's learning engine.

    Args:
        weight: int32 (post, pre) in [-256, 255], as sums read it.
        plastic: whether the rule changes them; static ones are even.
        exponent: of two, by which sums are shifted.
        impulse: what a spike adds to the presynaptic trace, a power of two with which it stays within seven bits.
        quantum: exponent of two: a factor q changes a weight by q * trace * 2^quantum.
    """

    weight: np.ndarray
    plastic: bool = True
    exponent: int = 0
    impulse: int = 1
    quantum: int = 0


@dataclass(frozen=True, eq=False)
class RealFactor:
    """How a neuron makes its third factor, rate psi L.

    Args:
        feedback: B, float64 (post, output); None for the output, which hears its own error. DECOLLE's is G transposed,
            of the local read-out.
        rate: of learning, in membrane units; 0 keeps the synapses as they are.
        width: of psi, in thresholds.
        regularizer: weight of the firing rate in L.
        target_rate: spikes per step.
    """

    feedback: np.ndarray | None
    rate: float
    width: int = 2
    regularizer: float = 0.0
    target_rate: float = 0.1


@dataclass(frozen=True, eq=False)
class IntegerFactor:
    """The same in integers, drawn so that its mean is right:

        psi = max(0, width theta - |v - theta|) >> psi_shift                               seven bits
        L   = (sum B err, shifted by `exponent`) + ((r - target_rate) regularizer >> 12)   r in 1/4096 per step
        q   = sign(L) min(15, (|psi L| mantissa + noise) >> shift)                         noise in 0 ... 2^shift - 1

    The neuron sends 8 q, positive and negative ones on two ports: the engine's traces have no sign.

    Args:
        feedback: int32 (post, output), even, in [-256, 254]; None for the output.
    """

    feedback: np.ndarray | None
    exponent: int
    mantissa: int
    shift: int
    psi_shift: int
    width: int = 2
    regularizer: int = 0
    target_rate: int = 0


@dataclass(frozen=True)
class RealReadout:
    """y = kappa y + z, err = clip(y / goal - target, -1, 1); a local read-out adds G z of the step before instead."""

    kappa: float
    goal: float


@dataclass(frozen=True)
class IntegerReadout:
    """y = trunc0(y (4096 - decay) / 4096) + 64 z, err = clip((y mantissa >> 12) - 127 target, -127, 127).

    A local read-out adds G z of the step before, shifted by the exponent of G, instead of 64 z.
    """

    decay: int
    mantissa: int


@dataclass(frozen=True, eq=False)
class LocalReadout:
    """A read-out of a hidden population's own, a unit per output, whose error that population hears instead.

    Args:
        synapses: G, weight (output, neuron), static.
        readout: how its error comes about.
    """

    synapses: RealSynapses | IntegerSynapses
    readout: RealReadout | IntegerReadout


class Postsynaptic:
    """What populations have in common: the synapses that feed them, from the one before and perhaps from themselves."""

    forward: RealSynapses | IntegerSynapses
    recurrent: RealSynapses | IntegerSynapses | None

    @property
    def size(self) -> int:
        return self.forward.weight.shape[0]

    @property
    def synapses(self) -> tuple[RealSynapses | IntegerSynapses, ...]:
        return (self.forward,) if self.recurrent is None else (self.forward, self.recurrent)


@dataclass(frozen=True, eq=False)
class PlasticPopulation(Postsynaptic):
    """One population, the synapses that feed it, and how it makes its third factor; all real, or all integer.

    Args:
        neuron: without a synaptic current (an integer one has du 4096).
        forward: from the population before, or from the input.
        recurrent: from itself, one step later, or None.
        readout: of a hidden population's own, or None: it hears the output's error.
    """

    name: str
    neuron: RealNeuron | Neuron
    forward: RealSynapses | IntegerSynapses
    recurrent: RealSynapses | IntegerSynapses | None
    factor: RealFactor | IntegerFactor
    readout: LocalReadout | None = None


class Chain(ABC):
    """What programs of populations in a row have in common; each is fed by forward and perhaps recurrent synapses."""

    populations: tuple[Any, ...]
    start: int

    @property
    @abstractmethod
    def period(self) -> int:
        """Steps from one sample to the next."""

    def duration(self, samples: int) -> int:
        """Return how many time steps so many samples take."""
        return self.start + samples * self.period

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of all groups of synapses, in the order of `weights`."""
        kinds = ("forward", "recurrent")
        return tuple(f"{p.name}.{kind}" for p in self.populations for kind, _ in zip(kinds, p.synapses, strict=False))

    @property
    def inputs(self) -> int:
        return self.populations[0].forward.weight.shape[1]

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The weights of all synapses, per population forward and then recurrent."""
        return tuple(synapses.weight for population in self.populations for synapses in population.synapses)

    def frozen(self) -> Self:
        """Return the program with nothing plastic: it answers, and does not learn."""
        return self._changed([{"plastic": False} for _ in self.weights])

    def learned(self, weights: Sequence[np.ndarray]) -> Self:
        """Return the program with other `weights`, in the order of the property."""
        return self._changed([{"weight": weight} for weight in weights])

    def _changed(self, changes: Sequence[dict[str, Any]]) -> Self:
        """Return the program with other fields in its groups of synapses."""
        given = iter(changes)
        populations = []
        for population in self.populations:
            forward = replace(population.forward, **next(given))
            recurrent = population.recurrent and replace(population.recurrent, **next(given))
            populations.append(replace(population, forward=forward, recurrent=recurrent))
        return replace(self, populations=tuple(populations))  # type: ignore[type-var]


class SpikeChain(Chain):
    """A chain of real numbers that reads spikes."""

    @property
    def integer(self) -> bool:
        return False

    @property
    def input_type(self) -> np.dtype:
        """Of what enters: spikes."""
        return np.dtype(np.uint8)


@dataclass(frozen=True, eq=False)
class PlasticProgram(Chain):
    """A chain that learns; see the module.

    Args:
        populations: in order, the last one the output.
        readout: how the output's error comes about.
        steps: of a sample.
        seed: of all that is drawn while learning.
        rule: the table that is run.
        start: time steps before the first sample's first input, while what comes before the chain passes it on.
    """

    populations: tuple[PlasticPopulation, ...]
    readout: RealReadout | IntegerReadout
    steps: int
    seed: int = 0
    rule: Rule = EPROP
    start: int = 0

    @property
    def period(self) -> int:
        """Steps from one sample to the next."""
        return self.steps + len(self.populations)

    @property
    def integer(self) -> bool:
        return isinstance(self.readout, IntegerReadout)

    @property
    def input_type(self) -> np.dtype:
        """Of what enters: spikes."""
        return np.dtype(np.uint8)

    @property
    def output(self) -> PlasticPopulation:
        return self.populations[-1]
