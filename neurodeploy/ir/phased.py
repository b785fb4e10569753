"""`PhasedProgram`: a ring that learns by SPIDE on its target, in real numbers or in the target's integers.

Populations p = 1 ... P in a row, the last one the output, the others hidden; a hidden one may also feed itself. Every
connection takes one step. In time step n, counted from 0 where a sample's first input enters, population p runs

    forward   while 0 <= n - p < F:            v = lambda v' + I + bias - quantum s'       s = [v > threshold]
              A = lambda A' + s                I: what W brings from p - 1, and from itself

    backward  while 0 <= n - (F + 2P - p) < B:
      output  err = clip(A / (Lambda(F) goal) - target, -1, 1), or 0 where that is at most margin; b = err
              it sends err in every step
      hidden  u = lambda u' + J - back_quantum q'       q = [u > back_threshold] - [u < -back_threshold]
              m = [low < A < high]             sends m q; J: what transposed W bring, ahead of the output gain err
              b = sum lambda^(B-t) m q(t) / Lambda(B)

    update    in two steps at the end:         W <- W - rate b a^T,   a = A / Lambda(F) of the source, or mean input

with v' = s' = A' = u' = q' = 0 at a phase's first step, primes meaning the step before and Lambda(T) = sum_{t<T}
lambda^t. Rows b > 0 change in the first of the two steps and rows b < 0 in the second: a trace has no sign. A sample
takes F + B + 2P + 1 steps.

Every population hears of step t of its neighbour in its own step t, so a chain is the ring of `learning/equilibrium.py`
exactly, and so is one hidden layer that feeds itself, since that is heard one step later. Feedback from the last of
several hidden layers to the first would come as many steps late as there are; it is no part of this language. With
gain = S D / D2, back_quantum = lambda D and back_threshold = V2 D / D2 the potential u is that of `learning/spide.py`
times D / D2, and dL/dW = b a^T / gain: neither S nor D2 is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.onchip import Chain, IntegerSynapses, Postsynaptic, RealSynapses
from neurodeploy.ir.plasticity import Rule, Signal, Update

SPIDE = Rule(
    name="spide",
    pre={"a": "leak*a' + forward*x"},
    post={"b": "leak*b' + backward*L*z"},
    weight="-b*a",
    signal=Signal.PHASE,
    update=Update.SAMPLE_END,
    phases={"a": "forward", "b": "backward"},
    constants=("leak", "forward", "backward"),
    source="Xiao et al. 2023, SPIDE: A purely spike-based method for training feedback spiking neural networks",
)
"""x: spikes (into layer 1 the input's current) of the forward phase; z: ternary spikes q of the backward phase; L = m,
the gate. forward = 1/Lambda(F), backward = D2 / (S D Lambda(B)), or rate / Lambda(B) where that is to be the change."""

COUNT_ONE = 64
"""One spike, as the register of a count holds it: counts decay as membranes do."""
REPORT_SHIFT = 20
REPORT_STREAM = 1 << 16
"""Reports and factors are drawn from different streams: of a source, counted from -1, and of a group of synapses."""
UPDATE_STEPS = 2


@dataclass(frozen=True, eq=False)
class RealPhases:
    """The neurons of a population in float64; the last four are of hidden ones.

    bias: () or (neuron,); leak, threshold, quantum, back_threshold, back_quantum, low, high: see the module.
    """

    leak: float
    threshold: float
    quantum: float
    bias: np.ndarray
    back_threshold: float = 0.0
    back_quantum: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, eq=False)
class IntegerPhases:
    """The same in integers; states have 24 bits, trunc0 rounds the magnitude down:

        v <- clip(trunc0(v (4096 - dv) / 4096) + wrap24(I << 6) + bias - quantum s')        u likewise, without a bias
        A <- trunc0(A (4096 - dv) / 4096) + 64 s                       B <- trunc0(B (4096 - dv) / 4096) + 64 m q

    Thresholds and quanta are in units of v and u, low and high in those of A. What a source reports of itself is drawn

        a = min(127, (A report + noise) >> 20)          noise in 0 ... 2^20 - 1

    once per sample, so that its mean is right: a few levels will do, and whole numbers make whole changes of weights.
    The engine, which rounds all weights by one random number, would move whole rows together.
    """

    dv: int
    threshold: int
    quantum: int
    bias: np.ndarray
    back_threshold: int = 0
    back_quantum: int = 0
    low: int = 0
    high: int = 0
    report: int = 0


@dataclass(frozen=True)
class RealRate:
    """rate: of W <- W - rate b a^T."""

    rate: float


@dataclass(frozen=True)
class IntegerRate:
    """Of hidden neurons |b| = |B|, of the output |err|; per group of synapses a neuron draws once per sample

        q = min(15, (|b| mantissa + noise) >> shift)          noise in 0 ... 2^shift - 1

    so that the mean is right, and tells the synapses 8 q: W <- W -+ q a 2^quantum.

    Args:
        mantissa, shift: of the forward and of the recurrent synapses.
    """

    mantissa: tuple[int, ...]
    shift: tuple[int, ...]


@dataclass(frozen=True)
class RealErrors:
    """goal: the rate the right output is to reach; gain: of err on its way to the last hidden population.

    margin: errors up to this are none.
    """

    goal: float
    gain: float
    margin: float = 0.0


@dataclass(frozen=True)
class IntegerErrors:
    """err = clip(((A mantissa + 2^19) >> 20) - 127 target, -127, 127), or 0 up to the margin.

    exponent: of two, by which the sums of the output's transposed weights are shifted. source: the `report` of the
    input, whose count is 64 times the sum of its payloads.
    """

    mantissa: int
    exponent: int
    source: int
    margin: int = 0


@dataclass(frozen=True, eq=False)
class PhasedPopulation(Postsynaptic):
    """One population, the synapses that feed it, and how fast they learn; all real, or all integer.

    Transposed weights are the same numbers; in integers their sums are shifted alike, but for the output's.
    """

    name: str
    neuron: RealPhases | IntegerPhases
    forward: RealSynapses | IntegerSynapses
    recurrent: RealSynapses | IntegerSynapses | None
    rate: RealRate | IntegerRate


@dataclass(frozen=True, eq=False)
class PhasedProgram(Chain):
    """A ring that learns; see the module.

    Args:
        populations: in order, the last one the output.
        errors: how the output's error comes about.
        steps: F; back_steps: B.
        seed: of all that is drawn while learning.
        rule: the table that is run.
        start: time steps before the first sample's first input, while what comes before the ring passes it on.
    """

    populations: tuple[PhasedPopulation, ...]
    errors: RealErrors | IntegerErrors
    steps: int
    back_steps: int
    seed: int = 0
    rule: Rule = SPIDE
    start: int = 0

    @property
    def period(self) -> int:
        """Steps from one sample to the next."""
        return self.updates_at + UPDATE_STEPS

    @property
    def updates_at(self) -> int:
        """The first of the two steps in which weights change."""
        return self.steps + self.back_steps + 2 * len(self.populations) - 1

    def backward_at(self, index: int) -> int:
        """Return the first step of the backward phase of the population `index`, counted from 0."""
        return self.steps + 2 * len(self.populations) - 1 - index

    @property
    def integer(self) -> bool:
        return isinstance(self.errors, IntegerErrors)

    @property
    def input_type(self) -> np.dtype:
        """Of what enters: payloads, or real values."""
        return np.dtype(np.int32 if self.integer else np.float64)

    @property
    def output(self) -> PhasedPopulation:
        return self.populations[-1]


def total(leak: float, steps: int) -> float:
    """Return Lambda(steps), what one spike in every step counts up to."""
    return float(steps) if leak == 1 else (1 - leak**steps) / (1 - leak)
