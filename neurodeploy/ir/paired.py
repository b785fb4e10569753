"""`PairedProgram`: features that learn by pair STDP on their target, and an output that votes or learns by reward.

Two populations, each fed by all-to-all synapses; the features also inhibit each other through static ones. In every
time step n, counted from 0 where a sample's first input enters:

    features  n = 1 ... steps        take what their synapses summed up in step n - 1, update, and spike: z(n)
    output    n = 2 ... steps + 1    likewise
    synapses  sum up W x(n) for step n + 1; then W changes by what is there in step n, x before and z behind them:

        x1(n) = keep_plus x1(n-1) + impulse x(n)        y1(n) = keep_minus y1(n-1) + impulse z(n)
        features  dw = a_plus (x1 - target) z - leak w z - a_minus y1 x
        output    e(n) = e(n-1) + a_plus x1 z                  in step n = steps + 2   dw = L e(n-1), then e = 0

    judge     counts the output's spikes; the most, the first of equals, are the decision, known in n = steps + 1.
              A step later it says to the neuron that decided L = reward if it was right, -punishment if not; labels
              enter nowhere else.
    homeostasis   in n = steps + 1   theta <- max(least, theta + rise s - fall),  s: a feature's spikes of the sample

Neurons rest, states zero, outside their own steps; a sample takes steps + 2 + pause steps. Traces know no samples and
run on: they fade in the pause. Spikes of one step make a pair on both sides, as in Lava's learning engine; what a spike
causes comes a step later. Weights, traces and e have the same unit in real numbers and in integers, which only round.
A leak draws w to a_plus / leak (x1 - target), the mean of what came before the feature's spikes: no weight needs
normalizing, and `target` tells pixels that usually precede a spike from those that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from neurodeploy.ir.onchip import IntegerSynapses, RealNeuron, RealSynapses
from neurodeploy.ir.plasticity import Rule, Signal, Update
from neurodeploy.ir.program import Neuron

PRE_TRACE = {"x1": "keep_plus*x1' + impulse*x"}
STDP = Rule(
    name="stdp",
    pre=PRE_TRACE,
    post={"y1": "keep_minus*y1' + impulse*z"},
    weight="a_plus*x1*z - a_plus*target*z - leak*w*z - a_minus*y1*x",
    constants=("a_plus", "a_minus", "keep_plus", "keep_minus", "impulse", "target", "leak"),
    source="Morrison, Diesmann & Gerstner 2008, Biological Cybernetics 98; the target as in Diehl & Cook 2015",
)
"""Pair STDP of the features; a target and a leak of zero leave Lava's stock `STDPLoihi`."""

RSTDP = Rule(
    name="rstdp",
    pre=PRE_TRACE,
    synapse={"e": "e' + a_plus*x1*z"},
    weight="L*e",
    signal=Signal.REWARD,
    update=Update.SAMPLE_END,
    constants=("a_plus", "keep_plus", "impulse"),
    source="Izhikevich 2007, Cerebral Cortex 17; Mozafari et al. 2018",
)
"""Reward-modulated STDP of the output, as Lava's stock `RewardModulatedSTDP` but for two things.

e is forgotten with the sample and not bit by bit, and has no part that falls: right, wrong and the sample's end take
the three ports for third factors, so that none is left for the trace of the neuron's spikes.
"""

WEIGHT_UNIT = 1 / 128
"""The least change of a weight that Lava's engine can add up; coefficients are whole numbers of it."""
MANTISSA_MAX = 7
CLEAR = 64
"""The third factor that takes a tag away at once: Lava shifts its product with a tag, and this undoes the shift."""
VOTE_ONE = 254
"""The vote 1 as a weight: the largest even one."""
ROOM = 2.0
"""An output neuron can count the votes of a sample that causes twice the mean number of hidden spikes."""
THETA_MAX = ((1 << 17) - 1) << 6
"""The largest threshold, in units of an integer membrane."""


@dataclass(frozen=True)
class Pairing:
    """The numbers of the STDP of one group of synapses; real and integer programs have the same.

    Args:
        a_plus, leak, a_minus: a whole number of up to 7 times a power of two, which is what the engine multiplies by.
        target: a whole number.
        impulse: what a spike adds to a trace; a whole number of at most 127 in integers.
        tau_plus, tau_minus: of the traces, steps.
    """

    a_plus: float
    a_minus: float = 0.0
    leak: float = 0.0
    target: int = 0
    impulse: float = 12.0
    tau_plus: float = 10.0
    tau_minus: float = 5.0

    @property
    def constants(self) -> dict[str, float]:
        """What `STDP` and `RSTDP` call them."""
        return {
            "a_plus": self.a_plus,
            "a_minus": self.a_minus,
            "leak": self.leak,
            "target": float(self.target),
            "impulse": self.impulse,
            "keep_plus": exp(-1 / self.tau_plus),
            "keep_minus": exp(-1 / self.tau_minus),
        }


@dataclass(frozen=True)
class Homeostasis:
    """rise, fall, least in the unit of the membrane; whole numbers in integers."""

    rise: float
    fall: float
    least: float


@dataclass(frozen=True)
class Reward:
    """L of a right and, negative, of a wrong decision; whole numbers of seven bits in integers.

    dw = L e 2^exponent in real numbers, and ((L e) >> 5) << (exponent + 12) in 1/128 in integers.
    """

    reward: float
    punishment: float
    exponent: int = 0


@dataclass(frozen=True, eq=False)
class Features:
    """Neurons that compete.

    Args:
        neuron: without a synaptic current and without a bias.
        threshold: (neuron,) in the unit of the membrane, where homeostasis keeps it; instead of the neuron's own.
        inhibition: from the features themselves, one step later, static.
    """

    name: str
    neuron: RealNeuron | Neuron
    threshold: np.ndarray
    forward: RealSynapses | IntegerSynapses
    inhibition: RealSynapses | IntegerSynapses
    pairing: Pairing
    homeostasis: Homeostasis

    @property
    def size(self) -> int:
        return self.forward.weight.shape[0]


@dataclass(frozen=True, eq=False)
class Output:
    """Neurons that count votes, or learn from reward."""

    name: str
    neuron: RealNeuron | Neuron
    forward: RealSynapses | IntegerSynapses
    pairing: Pairing
    reward: Reward

    @property
    def size(self) -> int:
        return self.forward.weight.shape[0]


@dataclass(frozen=True, eq=False)
class PairedProgram:
    """Features and an output that learn; see the module.

    Args:
        steps: of a sample; pause: silent steps after it, at least one.
        seed: of all that is drawn while learning.
        start: time steps before the first sample's first input.
        rule, reward_rule: the tables that are run.
    """

    features: Features
    output: Output
    steps: int
    pause: int
    seed: int = 0
    start: int = 0
    rule: Rule = STDP
    reward_rule: Rule = RSTDP

    @property
    def populations(self) -> tuple[Features, Output]:
        return self.features, self.output

    @property
    def period(self) -> int:
        """Steps from one sample to the next."""
        return self.steps + len(self.populations) + self.pause

    def duration(self, samples: int) -> int:
        """Return how many time steps so many samples take."""
        return self.start + samples * self.period

    @property
    def integer(self) -> bool:
        return isinstance(self.features.forward, IntegerSynapses)

    @property
    def inputs(self) -> int:
        return self.features.forward.weight.shape[1]

    @property
    def input_type(self) -> np.dtype:
        """Of what enters: spikes."""
        return np.dtype(np.uint8)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of what `weights` holds."""
        features, output = self.features.name, self.output.name
        return f"{features}.forward", f"{features}.recurrent", f"{features}.threshold", f"{output}.forward"

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """All that learning changes, and the inhibition: weights (post, pre), and thresholds as (neuron, 1)."""
        features = self.features
        return (
            features.forward.weight,
            features.inhibition.weight,
            features.threshold[:, None],
            self.output.forward.weight,
        )

    def frozen(self) -> PairedProgram:
        """Return the program with nothing plastic: it answers, and does not learn."""
        features, output = self.features, self.output
        still = replace(features.homeostasis, rise=0, fall=0, least=0)
        return replace(
            self,
            features=replace(features, forward=replace(features.forward, plastic=False), homeostasis=still),
            output=replace(output, forward=replace(output.forward, plastic=False)),
        )

    def learned(self, weights: Sequence[np.ndarray]) -> PairedProgram:
        """Return the program with other `weights`, in the order of the property."""
        forward, inhibition, threshold, votes = weights
        features = replace(
            self.features,
            forward=replace(self.features.forward, weight=forward),
            inhibition=replace(self.features.inhibition, weight=inhibition),
            threshold=np.ascontiguousarray(threshold[:, 0]),
        )
        return replace(self, features=features, output=self.voting(votes).output)

    def voting(self, weight: np.ndarray, threshold: np.ndarray | None = None) -> PairedProgram:
        """Return the program with other weights of the output, and another threshold if one is given."""
        output = replace(self.output, forward=replace(self.output.forward, weight=weight))
        if threshold is not None:
            neuron = output.neuron
            counting = (
                replace(neuron, vth=threshold) if isinstance(neuron, Neuron) else replace(neuron, theta=threshold)
            )
            output = replace(output, neuron=counting)
        return replace(self, output=output)
