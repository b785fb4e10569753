"""`Network` -> `AdditiveProgram`: features that inhibit each other and an output learn by PyNN's additive pair STDP.

The network is any with one hidden layer that feeds itself, reset to zero by its spikes. A random start puts random
excitatory weights in place of the features' own, inhibition in place of their recurrence, and no bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, raise_all
from neurodeploy.ir.additive import CONVENTIONS, PAUSE_MIN, AdditivePopulation, AdditiveProgram, PairRule
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind, Linear, Reset
from neurodeploy.ir.onchip import RealNeuron, RealSynapses
from neurodeploy.lowering.episodic import chain
from neurodeploy.lowering.plastic import EPOCH_SEEDS, is_loop, maps, refuse_options, source

__all__ = ["AdditiveOptions", "chain", "program", "with_weights"]


@dataclass(frozen=True)
class AdditiveOptions:
    """How features learn; see `ir/additive.py` for the equations.

    Args:
        rate: a_plus over w_max.
        decay: factor on rate after every epoch.
        depression: a_minus tau_minus over a_plus tau_plus, about.
        tau_plus, tau_minus: in steps.
        w_max: in thresholds.
        inhibition: in thresholds, at a random start; weights begin between 0 and w_max there.
        pause: silent steps after a sample.
        convention: whose reading of the rule the engine has, "nest" or "brian2"; on these it is theirs.
        plastic: names of the populations whose synapses learn, of which only the features' can; none: theirs.
        initial: "trained" or "random": where weights begin.
        seed: of random weights.
    """

    rate: float = 1e-3
    decay: float = 0.7
    depression: float = 2.0
    tau_plus: float = 2.0
    tau_minus: float = 200.0
    w_max: float = 0.025
    inhibition: float = 0.5
    pause: int = 15
    convention: str = "nest"
    plastic: tuple[str, ...] = ()
    initial: str = "trained"
    seed: int = 0

    def __post_init__(self) -> None:
        claims = [
            (self.rate > 0, f"rate is {self.rate}"),
            (self.depression > 0, f"depression is {self.depression}"),
            (self.tau_plus > 0, f"tau_plus is {self.tau_plus}"),
            (self.tau_minus > 0, f"tau_minus is {self.tau_minus}"),
            (self.w_max > 0, f"w_max is {self.w_max}"),
            (self.inhibition >= 0, f"inhibition is {self.inhibition}"),
            (self.pause >= PAUSE_MIN, f"pause is {self.pause}"),
            (self.convention in CONVENTIONS, f"convention is {self.convention!r}"),
        ]
        refuse_options(self, claims)


def program(network: Network, steps: int, options: AdditiveOptions, epoch: int = 0) -> AdditiveProgram:
    """Return how a lowered `network` learns in real numbers.

    Args:
        steps: of a sample.
        epoch: counted from 0; the rate decays from epoch to epoch.

    Raises:
        UnsupportedError: ND156 with everything that cannot learn so.
    """
    raise_all(UnsupportedError, list(misfits(network, options)))
    inner, outer = network.populations
    theta = float(np.mean(network.populations[inner].threshold))
    rule = _pairs(options, theta * options.w_max, epoch)
    forward, recurrent = maps(network, inner)
    assert recurrent is not None
    weight, inhibition = forward.weight, recurrent.weight
    if options.initial == "random":
        random = np.random.default_rng((options.seed, 0))
        weight = random.uniform(0, rule.w_max, weight.shape)
        inhibition = options.inhibition * theta * (np.eye(len(weight)) - 1)
    features = _population(network, inner, RealSynapses(weight, True), RealSynapses(inhibition, False))
    output = _population(network, outer, RealSynapses(maps(network, outer)[0].weight, False), None)
    seed = EPOCH_SEEDS * options.seed + epoch
    return AdditiveProgram((features, output), rule, options.convention, steps, options.pause, seed)


def with_weights(network: Network, program: AdditiveProgram) -> Network:
    """Return a lowered `network` with the weights of its `program`, its output's threshold, and no bias."""
    nodes = dict(network.nodes)
    for population in program.populations:
        for edge in network.incoming(population.name):
            synapses = population.recurrent if is_loop(network, edge) else population.forward
            assert synapses is not None
            nodes[edge.source] = Linear(synapses.weight)
    output = program.output
    nodes[output.name] = replace(network.populations[output.name], threshold=output.neuron.theta)
    return replace(network, nodes=nodes)


def _pairs(options: AdditiveOptions, w_max: float, epoch: int) -> PairRule:
    a_plus = w_max * options.rate * options.decay**epoch
    a_minus = a_plus * options.depression * options.tau_plus / options.tau_minus
    return PairRule(a_plus, a_minus, options.tau_plus, options.tau_minus, w_max)


def _population(
    network: Network, name: str, forward: RealSynapses, recurrent: RealSynapses | None
) -> AdditivePopulation:
    node = network.populations[name]
    return AdditivePopulation(name, RealNeuron(node.beta, node.threshold, np.zeros(()), node.reset), forward, recurrent)


def misfits(network: Network, options: AdditiveOptions) -> Iterator[Finding]:
    """Say what in a lowered network keeps it from learning by pair STDP on PyNN's simulators."""
    fix = "train a recurrent layer, --arch 100r, compile it with --allow ND235, and learn with --initial random"

    def finding(name: str, what: str, why: str) -> Finding:
        return Finding("ND156", network.place(name), what, why, fix)

    names = list(network.populations)
    if len(names) != 2:
        yield finding(network.output, f"{len(names)} populations", "features learn, and one output counts them")
        return
    if network.input_node.kind is not InputKind.SPIKES:
        yield finding(network.input, "graded input", "pairs are of spikes")
    if names[1] in options.plastic:
        what, why = "an output that is to learn", "it counts features, with votes that are assigned afterwards"
        yield Finding("ND156", network.place(names[1]), what, why, f"name {names[0]} with --plastic, or nothing")
    drawn = options.initial == "random"
    w_max = options.w_max * float(np.mean(network.populations[names[0]].threshold))
    for before, name, looped in ((network.input, names[0], True), (names[0], names[1], False)):
        node, sources = network.populations[name], network.incoming(name)
        if not all(isinstance(network.nodes[edge.source], Linear) for edge in sources):
            yield finding(name, "synapses that are not all-to-all", "every synapse has a weight of its own")
            continue
        feeds = sorted(source(network, edge) for edge in sources)
        if feeds != sorted([(before, 0), (name, 1)] if looped else [(before, 0)]):
            what = "without synapses from itself" if looped else "fed by more than the features"
            yield finding(name, what, "features differ because they inhibit each other, and the output only counts")
            continue
        forward, recurrent = maps(network, name)
        biased = not drawn and any(each is not None and each.bias is not None for each in (forward, recurrent))
        excitatory = drawn or not looped or bool(np.all((forward.weight >= 0) & (forward.weight <= w_max)))
        for fits, what, why in (
            (node.reset is Reset.ZERO or not looped, f"reset {node.reset.value}", "NEST's STDP has no such neurons"),
            (node.alpha is None, "a synaptic current", "compiled for neurons without"),
            (node.beyond_plain is None, node.beyond_plain or "", "the simulators' models have none that learns"),
            (node.gain is None, "a gain of its own", "lowering folds gains into weights; this one is per neuron"),
            (np.unique(node.beta).size == 1, "neurons that decay differently", "features are of one kind"),
            (
                not looped or 0 < float(node.beta.flat[0]) < 1,
                f"beta {float(node.beta.flat[0]):g}",
                "it leaks in some time",
            ),
            (not biased, "a bias", "a source in every step would hide the pairs"),
            (excitatory, f"weights outside 0 to {w_max:g}", "PyNN keeps weights that learn within 0 and w_max"),
        ):
            if not fits:
                yield finding(name, what, why)
