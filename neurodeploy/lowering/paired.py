"""`Network` -> `PairedProgram`: features that inhibit each other, and an output that counts them, learn by pairs.

What `neurodeploy train --rule stdp` or `--rule rstdp` gives has this form. What else there is, is refused with its
reason. Weights are brought to the unit of the target's learning engine, in which the largest is about 255.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import exp, floor, log2
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, raise_all
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, InputKind, Linear
from neurodeploy.ir.onchip import TRACE_MAX, RealNeuron, RealSynapses
from neurodeploy.ir.paired import (
    MANTISSA_MAX,
    ROOM,
    VOTE_ONE,
    WEIGHT_UNIT,
    Features,
    Homeostasis,
    Output,
    PairedProgram,
    Pairing,
    Reward,
)
from neurodeploy.lowering import plastic
from neurodeploy.lowering.plastic import EPOCH_SEEDS, maps, refuse_options

LEAST_THRESHOLD = 1 / 16
"""A threshold does not fall below this share of the mean it began with."""
OUTPUT_A_PLUS = 1 / 4
"""An output spike adds a quarter of the trace to e, so that a sample's pairs stay within a tag's eight bits."""
PEAK = 2.0
"""The largest membrane a sample causes, over the mean one of its steps, as random weights have it."""


@dataclass(frozen=True)
class STDPOptions:
    """How features learn on their target; see `ir/paired.py` for the equations.

    Args:
        rate: share of the way to the mean of what preceded it that a weight goes with every spike: the leak.
        decay: factor on rate and homeostasis after every epoch.
        gain: a_plus over rate, a power of two.
        target: trace at which a weight goes to zero.
        depression: a_minus over rate.
        impulse: what a spike adds to a trace, a whole number.
        tau_plus, tau_minus: of the traces, steps.
        inhibition: in mean thresholds, at a random start.
        spikes: how many the features are to fire per sample, all together.
        homeostasis: by which share of the mean first threshold a silent neuron's falls per sample.
        activity: spikes per step and input that the first thresholds of a random start count on.
        start: the first thresholds, as a share of the peak that such input would cause.
        pause: silent steps after a sample.
        plastic: names of the populations whose synapses learn; none: those the rule is for.
        initial: "trained" or "random": where plastic synapses begin.
        seed: of random weights, and of all that is drawn while learning.
    """

    rate: float = 1 / 16
    decay: float = 0.8
    gain: float = 2.0
    target: int = 24
    depression: float = 0.0
    impulse: int = 12
    tau_plus: float = 10.0
    tau_minus: float = 5.0
    inhibition: float = 3.0
    spikes: float = 6.0
    homeostasis: float = 2e-3
    activity: float = 0.3
    start: float = 0.5
    pause: int = 10
    plastic: tuple[str, ...] = ()
    initial: str = "trained"
    seed: int = 0

    def __post_init__(self) -> None:
        reach = self.impulse / (1 - exp(-1 / self.tau_plus)) if self.tau_plus > 0 else float("inf")
        claims = [
            (0 < self.rate <= 1, f"rate is {self.rate}"),
            (self.gain > 0 and log2(self.gain).is_integer(), f"gain is {self.gain}"),
            (0 <= self.target <= TRACE_MAX, f"target is {self.target}"),
            (self.depression >= 0, f"depression is {self.depression}"),
            (self.impulse >= 1 and reach < 2 * TRACE_MAX, f"impulse is {self.impulse} with a tau of {self.tau_plus}"),
            (self.tau_minus > 0, f"tau_minus is {self.tau_minus}"),
            (self.inhibition >= 0, f"inhibition is {self.inhibition}"),
            (self.spikes > 0, f"spikes is {self.spikes}"),
            (self.homeostasis >= 0, f"homeostasis is {self.homeostasis}"),
            (0 < self.activity <= 1, f"activity is {self.activity}"),
            (self.start > 0, f"start is {self.start}"),
            (self.pause >= 1, f"pause is {self.pause}"),
            *self.more_claims(),
        ]
        refuse_options(self, claims)

    def more_claims(self) -> list[tuple[bool, str]]:
        """Return what else must hold of options that add to these."""
        return []

    @property
    def first_vote(self) -> float:
        """Where the output's weights begin at random."""
        return 0.0

    def learn_in(self, epoch: int) -> tuple[bool, bool]:
        """Return whether features and output learn in this epoch, where `plastic` does not say otherwise."""
        return True, False


@dataclass(frozen=True)
class RSTDPOptions(STDPOptions):
    """How features learn first and then, by reward, the output.

    Args:
        feature_epochs: how many epochs the features learn in, before the output begins; 0: they stay as they are.
        output_rate: dw over e, both in votes, for a punishment of 1, in the output's first epoch.
        output_decay: factor on it after every epoch of the output's.
        reward, punishment: L of a right decision, and, negative, of a wrong one.
        vote: where the output's weights begin at random, within a tenth.
    """

    feature_epochs: int = 0
    output_rate: float = 0.01
    output_decay: float = 0.8
    reward: float = 0.3
    punishment: float = 1.0
    vote: float = 0.5

    def more_claims(self) -> list[tuple[bool, str]]:
        return [
            (self.feature_epochs >= 0, f"feature_epochs is {self.feature_epochs}"),
            (self.output_rate > 0, f"output_rate is {self.output_rate}"),
            (0 < self.output_decay <= 1, f"output_decay is {self.output_decay}"),
            (self.reward >= 0, f"reward is {self.reward}"),
            (self.punishment >= 0, f"punishment is {self.punishment}"),
            (0 < self.vote <= 1, f"vote is {self.vote}"),
        ]

    @property
    def first_vote(self) -> float:
        return self.vote

    def learn_in(self, epoch: int) -> tuple[bool, bool]:
        return epoch < self.feature_epochs, epoch >= self.feature_epochs


def chain(network: Network, plastic_populations: tuple[str, ...]) -> Network:
    """Return the features and the output of a lowered `network`, B in place of its input; see `plastic.chain`."""
    plastic.chain(network, plastic_populations)
    names = list(network.populations)
    return plastic.chain(network, (names[-2],)) if len(names) > 1 else network


def program(network: Network, steps: int, options: STDPOptions, epoch: int = 0) -> PairedProgram:
    """Return how features and output of a lowered `network` learn in real numbers.

    Args:
        network: without its body, see `chain`.
        steps: of a sample.
        epoch: counted from 0; rates decay and what is drawn while learning differs from epoch to epoch.

    Raises:
        UnsupportedError: ND146 with everything that cannot learn.
    """
    raise_all(UnsupportedError, list(misfits(network)))
    (inner, features_node), (outer, output_node) = network.populations.items()
    random_features = options.initial == "random" and options.learn_in(0)[0]
    random = np.random.default_rng((options.seed, 0))
    forward, loop = maps(network, inner)
    assert loop is not None
    (outward, _), beta = maps(network, outer), float(features_node.beta.flat[0])
    size, inputs = forward.weight.shape
    pairing, share = _pairing(options, epoch), options.decay**epoch
    if random_features:
        weight, threshold, inhibition = _random_features(options, size, inputs, beta, random)
    else:
        unit = options.gain * (TRACE_MAX - options.target) / float(np.abs(forward.weight).max())
        weight, inhibition = unit * forward.weight, unit * loop.weight
        threshold = unit * np.broadcast_to(features_node.threshold, size)
    mean = float(threshold.mean())
    fall = options.homeostasis * share * mean
    learn_features, learn_output = options.learn_in(epoch)
    if options.plastic:
        learn_features &= inner in options.plastic
        learn_output &= outer in options.plastic
    homeostasis = Homeostasis(fall * size / options.spikes, fall, LEAST_THRESHOLD * mean)
    if not learn_features:
        homeostasis = Homeostasis(0.0, 0.0, 0.0)
    features = Features(
        inner,
        RealNeuron(features_node.beta, features_node.threshold, np.zeros(()), features_node.reset),
        np.array(threshold, np.float64),
        RealSynapses(weight, learn_features),
        RealSynapses(inhibition, plastic=False),
        pairing,
        homeostasis,
    )
    votes, count = VOTE_ONE * outward.weight, VOTE_ONE * float(output_node.threshold.flat[0])
    reward = Reward(0.0, 0.0)
    if isinstance(options, RSTDPOptions):
        reward = _reward(options, options.output_decay ** max(0, epoch - options.feature_epochs))
    if options.initial == "random":
        votes = VOTE_ONE * options.first_vote * random.uniform(0.9, 1.1, votes.shape)
    if random_features:
        count = VOTE_ONE * ROOM * options.spikes / steps
    neuron = RealNeuron(output_node.beta, np.array(count), np.zeros(()), output_node.reset)
    reading = Pairing(OUTPUT_A_PLUS, impulse=float(options.impulse), tau_plus=options.tau_plus)
    output = Output(outer, neuron, RealSynapses(votes, learn_output), reading, reward)
    return PairedProgram(features, output, steps, options.pause, EPOCH_SEEDS * options.seed + epoch)


def with_weights(network: Network, program: PairedProgram) -> Network:
    """Return a lowered `network` with weights and thresholds of its real `program`, a vote of 1 as the unit of all."""
    nodes: dict[str, Any] = dict(network.nodes)
    features, output = program.populations
    thresholds = {features.name: features.threshold, output.name: output.neuron.theta}  # type: ignore[union-attr]
    for name, threshold in thresholds.items():
        nodes[name] = replace(nodes[name], threshold=np.asarray(threshold / VOTE_ONE))
    loops = {features.name: features.inhibition, output.name: None}
    for population in program.populations:
        for edge in network.incoming(population.name):
            synapses = loops[population.name] if plastic.is_loop(network, edge) else population.forward
            assert synapses is not None
            nodes[edge.source] = replace(nodes[edge.source], weight=synapses.weight / VOTE_ONE)
    return replace(network, nodes=nodes)


def misfits(network: Network) -> Iterator[Finding]:
    """Say what in a lowered network keeps it from learning by pairs of spikes on its target."""
    fix = "train with `neurodeploy train --rule stdp`, whose networks have this form"

    def finding(name: str, what: str, why: str) -> Finding:
        return Finding("ND146", network.place(name), what, why, fix)

    names = list(network.populations)
    if len(names) != 2:
        yield finding(network.output, f"{len(names)} populations", "features learn, and one output counts them")
        return
    if network.input_node.kind is not InputKind.SPIKES:
        yield finding(network.input, "graded input", "a presynaptic trace adds one impulse per spike")
    for before, name, looped in ((network.input, names[0], True), (names[0], names[1], False)):
        node, sources = network.populations[name], network.incoming(name)
        if not all(isinstance(network.nodes[edge.source], Linear) for edge in sources):
            yield finding(name, "synapses that are not all-to-all", "Lava's learning engine has no convolutions")
            continue
        feeds = sorted(plastic.source(network, edge) for edge in sources)
        if feeds != sorted([(before, 0), (name, 1)] if looped else [(before, 0)]):
            what = "without inhibition from itself" if looped else "fed by more than the features"
            yield finding(name, what, "features differ because they inhibit each other, and the output only counts")
        elif any(network.nodes[edge.source].bias is not None for edge in sources):  # type: ignore[union-attr]
            yield finding(name, "a bias", "thresholds are what homeostasis moves")
        yield from _neuron_misfits(name, node, finding)
    if np.unique(network.populations[names[1]].threshold).size != 1:
        yield finding(names[1], "output thresholds that differ", "votes are counted alike")


def _neuron_misfits(name: str, node: LIF, finding: Callable[[str, str, str], Finding]) -> Iterator[Finding]:
    for fits, what, why in (
        (node.alpha is None, "a synaptic current", "the backend's competing neurons have no state for one"),
        (node.adaptation is None, "an adaptive threshold", "homeostasis is what moves thresholds here"),
        (node.beyond_plain is None, node.beyond_plain or "", "competing neurons fire once, above their threshold"),
        (node.gain is None, "a gain of its own", "lowering folds gains into weights; this one is per neuron"),
        (np.unique(node.beta).size == 1, "neurons that decay differently", "competing neurons are of one kind"),
    ):
        if not fits:
            yield finding(name, what, why)


def coefficient(value: float) -> float:
    """Return the nearest number that Lava's engine can multiply by: up to 7 times a power of two, at least 1/128."""
    units = max(1.0, value / WEIGHT_UNIT)
    step = 2.0 ** max(0, floor(log2(units)) - floor(log2(MANTISSA_MAX)))
    mantissa = round(units / step)
    return WEIGHT_UNIT * step * mantissa


def _pairing(options: STDPOptions, epoch: int) -> Pairing:
    leak = coefficient(options.rate * options.decay**epoch)
    return Pairing(
        a_plus=leak * options.gain,
        a_minus=coefficient(leak * options.depression) if options.depression else 0.0,
        leak=leak,
        target=options.target,
        impulse=float(options.impulse),
        tau_plus=options.tau_plus,
        tau_minus=options.tau_minus,
    )


def _random_features(
    options: STDPOptions, size: int, inputs: int, beta: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights around what input of the expected activity would teach, first thresholds, and the inhibition."""
    trace = options.activity * options.impulse / (1 - exp(-1 / options.tau_plus))
    weight = options.gain * (random.uniform(0, 2 * trace, (size, inputs)) - options.target)
    drive = options.gain * abs(trace - options.target) * inputs * options.activity / (1 - beta)
    theta = options.start * PEAK * drive
    return weight, np.full(size, theta), options.inhibition * theta * (np.eye(size) - 1)


def _reward(options: RSTDPOptions, share: float) -> Reward:
    """Return L of both decisions; a tag is `OUTPUT_A_PLUS` impulses for each pair of spikes."""
    unit = VOTE_ONE * options.output_rate * share / (OUTPUT_A_PLUS * options.impulse)
    largest = unit * max(options.reward, options.punishment)
    exponent = 0 if largest == 0 else floor(log2(largest / TRACE_MAX)) + 1
    scale = unit / 2.0**exponent
    return Reward(scale * options.reward, scale * options.punishment, exponent)
