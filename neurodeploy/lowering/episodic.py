"""`Network` -> `EpisodicProgram`: a hidden layer and an output learn by e-prop, an update after every sample.

What is learned in the output's membrane, which does not reset meanwhile, is deployed as the network was: its output
spikes, and spikes are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, UsageError, raise_all
from neurodeploy.ir.episodic import EpisodicProgram
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind, Linear, Reset
from neurodeploy.ir.onchip import PlasticPopulation, RealFactor, RealNeuron, RealSynapses
from neurodeploy.lowering.plastic import (
    EPOCH_SEEDS,
    INITIAL_GAIN,
    RECURRENT_GAIN,
    maps,
    refuse_options,
    source,
)
from neurodeploy.lowering.plastic import with_weights as with_plain_weights


@dataclass(frozen=True)
class EpisodicOptions:
    """How a network learns; see `ir/episodic.py` for the equations.

    Args:
        rate, readout_rate: of hidden and of output synapses, per sample, in membrane units.
        decay: factor on both after every epoch.
        regularizer, target_rate: weight of the firing rate of hidden neurons, and where it is drawn to.
        plastic: names of the populations whose synapses learn; none: both.
        initial: "trained" or "random": where plastic synapses begin.
        seed: of random weights and feedback.
    """

    rate: float = 3e-3
    readout_rate: float = 1e-3
    decay: float = 0.8
    regularizer: float = 0.0
    target_rate: float = 0.1
    plastic: tuple[str, ...] = ()
    initial: str = "trained"
    seed: int = 0

    def __post_init__(self) -> None:
        claims = [
            (self.rate >= 0, f"rate is {self.rate}"),
            (self.readout_rate >= 0, f"readout_rate is {self.readout_rate}"),
            (self.regularizer >= 0, f"regularizer is {self.regularizer}"),
            (0 <= self.target_rate <= 1, f"target_rate is {self.target_rate}"),
        ]
        refuse_options(self, claims)


def chain(network: Network, plastic: tuple[str, ...]) -> Network:
    """Return the part of a lowered `network` that is run to learn: all of it, the rest of it frozen.

    Raises:
        UsageError: ND413 for a name that is no population.
    """
    unknown = sorted(set(plastic) - set(network.populations))
    if unknown:
        what, why = f"population {', '.join(unknown)}", f"populations are {', '.join(network.populations)}"
        raise UsageError(Finding("ND413", "learning", what, why, "name populations of the model"))
    return network


def program(network: Network, steps: int, options: EpisodicOptions, epoch: int = 0) -> EpisodicProgram:
    """Return how a lowered `network` learns in real numbers.

    Args:
        steps: of a sample.
        epoch: counted from 0; rates decay from epoch to epoch.

    Raises:
        UnsupportedError: ND154 with everything that cannot learn so.
    """
    raise_all(UnsupportedError, list(misfits(network, options)))
    random = np.random.default_rng((options.seed, 0))
    names = list(network.populations)
    classes = network.populations[network.output].size
    found = []
    for name, rate in zip(names, (options.rate, options.readout_rate), strict=True):
        node, (forward, recurrent) = network.populations[name], maps(network, name)
        plastic, hidden = not options.plastic or name in options.plastic, name == names[0]
        theta = float(np.mean(node.threshold))
        draw = plastic and options.initial == "random"
        feedback = random.normal(size=(node.size, classes)) / np.sqrt(classes) if hidden else None
        found.append(
            PlasticPopulation(
                name,
                RealNeuron(node.beta, node.threshold, _bias(forward, recurrent), node.reset),
                _synapses(forward, plastic, random if draw else None, theta * INITIAL_GAIN),
                None
                if recurrent is None
                else _synapses(recurrent, plastic, random if draw else None, theta * RECURRENT_GAIN, True),
                RealFactor(
                    feedback,
                    rate * options.decay**epoch,
                    1,
                    options.regularizer if hidden else 0.0,
                    options.target_rate,
                ),
            )
        )
    inner, outer = found
    return EpisodicProgram((inner, outer), steps, EPOCH_SEEDS * options.seed + epoch)


def feeds_itself(recurrent: Linear | None) -> bool:
    return recurrent is not None and bool(np.any(np.diag(recurrent.weight)))


def with_weights(network: Network, program: EpisodicProgram) -> Network:
    """Return a lowered `network` with the weights of its `program`, and the threshold its output counts with."""
    learned = with_plain_weights(network, program)
    node, neuron = learned.populations[learned.output], program.output.neuron
    assert isinstance(neuron, RealNeuron)
    return replace(learned, nodes=learned.nodes | {learned.output: replace(node, threshold=neuron.theta)})


def _bias(*feeds: Linear | None) -> np.ndarray:
    biases = [node.bias for node in feeds if node is not None and node.bias is not None]
    return np.asarray(sum(biases, 0.0), np.float64)


def _synapses(
    node: Linear, plastic: bool, random: np.random.Generator | None, reach: float, loop: bool = False
) -> RealSynapses:
    """Return synapses with the map's weights, or with random ones; no neuron feeds itself."""
    weight = node.weight
    if random is not None:
        bound = reach / np.sqrt(weight.shape[1])
        weight = random.uniform(-bound, bound, weight.shape)
        if loop:
            np.fill_diagonal(weight, 0)
    return RealSynapses(weight.astype(np.float64), plastic)


def misfits(network: Network, options: EpisodicOptions) -> Iterator[Finding]:
    """Say what in a lowered network keeps it from learning by NEST's e-prop models."""
    fix = "train it with --rule eprop --arch N or Nr, or compile for loihi2-sim, where longer chains learn"

    def finding(name: str, what: str, why: str) -> Finding:
        return Finding("ND154", network.place(name), what, why, fix)

    names = list(network.populations)
    if len(names) != 2:
        yield finding(network.output, f"{len(names)} populations", "NEST's e-prop has one hidden layer and a read-out")
        return
    if network.input_node.kind is not InputKind.SPIKES:
        yield finding(network.input, "graded input", "what enters is spikes")
    for before, name, loops in ((network.input, names[0], True), (names[0], names[1], False)):
        sources, node = network.incoming(name), network.populations[name]
        if not all(isinstance(network.nodes[edge.source], Linear) for edge in sources):
            yield finding(name, "synapses that are not all-to-all", "every synapse has a weight of its own")
            continue
        feeds = {source(network, edge) for edge in sources}
        allowed = {(before, 0), (name, 1)} if loops else {(before, 0)}
        if not {(before, 0)} <= feeds <= allowed or len(sources) != len(feeds):
            yield finding(name, "fed by more than the layer before and itself", "errors come back over one connection")
            continue
        _, recurrent = maps(network, name)
        drawn = options.initial == "random" and (not options.plastic or name in options.plastic)
        for fits, what, why in (
            (drawn or not feeds_itself(recurrent), "neurons that feed themselves", "NEST's e-prop has none"),
            (node.alpha is None, "a synaptic current", "the models' neurons have none"),
            (node.adaptation is None, "an adaptive threshold", "it is compiled for neurons without"),
            (node.beyond_plain is None, node.beyond_plain or "", "the simulators' models have none that learns"),
            (node.gain is None, "a gain of its own", "lowering folds gains into weights; this one is per neuron"),
            (np.unique(node.beta).size == 1, "neurons that decay differently", "one trace serves a layer"),
            (0 < float(node.beta.flat[0]) < 1, f"beta {float(node.beta.flat[0]):g}", "it leaks, in some time"),
            (
                not loops or node.reset is Reset.SUBTRACT_NEXT_STEP,
                f"reset {node.reset.value}",
                "the hidden neurons subtract their threshold in the step after a spike",
            ),
        ):
            if not fits:
                yield finding(name, what, why)
