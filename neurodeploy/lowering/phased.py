"""`Network` -> `PhasedProgram`: a ring that learns by SPIDE, by which numbers, in real arithmetic.

    input -> body (any layers, frozen) -> B -> hidden populations -> output

What learns is a chain of all-to-all populations that reset by subtraction, or one such population that feeds itself,
and an output that counts; see `lowering/plastic.py` for the body. Biases stay as they are. All options are free of
scale: with w = W / D and y = C a / theta, they are those of da = sigma(w a), dw = -rate beta a, dC = -readout_rate
theta err a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, raise_all
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, InputKind, Linear, Reset, SparseLinear
from neurodeploy.ir.onchip import RealSynapses
from neurodeploy.ir.phased import PhasedPopulation, PhasedProgram, RealErrors, RealPhases, RealRate, total
from neurodeploy.lowering.plastic import EPOCH_SEEDS, chain, refuse_options

__all__ = ["SpideOptions", "chain", "misfits", "program", "with_weights"]

INITIAL_NORM = 2.5
"""Random weights into a hidden neuron have this norm, in thresholds, and sum up to nothing: what all sources have in
common, such as the mean of pixels, is not heard."""
FEEDBACK_NORM = 0.2
TOLERANCE = 1e-2
"""Rates of neurons that leak, where saturated ones are not exactly 1: m = 1 only that far from 0 and 1."""


@dataclass(frozen=True)
class SpideOptions:
    """How a ring learns on its target; see `ir/phased.py` for the equations.

    Args:
        rate, readout_rate: of hidden and of output synapses.
        decay: factor on both after every epoch.
        back_steps: of the backward phase.
        gain: of the error: beta = 1 / gain makes an error neuron spike in every step.
        goal: the rate the right output is to reach.
        margin: errors of the output up to this are none.
        plastic: names of the populations whose synapses learn; none: all.
        initial: "trained" or "random": where plastic synapses begin.
        seed: of random weights, and all that is drawn while learning.
    """

    rate: float = 0.05
    readout_rate: float = 0.05
    decay: float = 0.85
    back_steps: int = 50
    gain: float = 1.0
    goal: float = 1.0
    margin: float = 0.15
    plastic: tuple[str, ...] = ()
    initial: str = "trained"
    seed: int = 0

    def __post_init__(self) -> None:
        claims = [
            (self.rate >= 0, f"rate is {self.rate}"),
            (self.readout_rate >= 0, f"readout_rate is {self.readout_rate}"),
            (self.back_steps >= 1, f"back_steps is {self.back_steps}"),
            (self.gain > 0, f"gain is {self.gain}"),
            (self.goal > 0, f"goal is {self.goal}"),
            (0 <= self.margin < 1, f"margin is {self.margin}"),
        ]
        refuse_options(self, claims)


def program(network: Network, steps: int, options: SpideOptions, epoch: int = 0) -> PhasedProgram:
    """Return how a lowered `network` learns in real numbers.

    Args:
        network: without its body, see `chain`.
        steps: of a sample, its forward phase.
        epoch: counted from 0; rates decay and what is drawn while learning differs from epoch to epoch.

    Raises:
        UnsupportedError: ND146 with everything that cannot learn.
    """
    raise_all(UnsupportedError, list(misfits(network)))
    random = np.random.default_rng((options.seed, 0))
    names = list(network.populations)
    quanta = [_quantum(network, name) for name in names]
    theta = float(network.populations[network.output].threshold.flat[0])
    decayed, gain = options.decay**epoch, 1.0
    populations = []
    for index, name in enumerate(names):
        node, plastic = network.populations[name], not options.plastic or name in options.plastic
        forward, recurrent = _maps(network, name)
        bias = sum((each.bias for each in (forward, recurrent) if each is not None and each.bias is not None), 0.0)
        leak, threshold = float(node.beta.flat[0]), float(node.threshold.flat[0])
        phases = RealPhases(leak, threshold, quanta[index], np.asarray(bias, np.float64))
        draw = random if plastic and options.initial == "random" else None
        if name == network.output:
            rate = RealRate(options.readout_rate * theta * decayed)
            groups = [_synapses(forward, plastic, draw, theta, None)]
        else:
            heard = names[min(index + 1, len(names) - 2)]
            back, own = (quanta[names.index(each)] / leak for each in (heard, name))
            gain = options.gain * back / theta
            edge, full = TOLERANCE if leak < 1 else 0.0, total(leak, steps)
            phases = replace(
                phases, back_threshold=back / 2, back_quantum=leak * back, low=edge * full, high=(1 - edge) * full
            )
            rate = RealRate(options.rate * own * decayed / options.gain)
            groups = [_synapses(forward, plastic, draw, threshold, INITIAL_NORM)]
            if recurrent is not None:
                groups.append(_synapses(recurrent, plastic, draw, threshold, FEEDBACK_NORM))
        populations.append(PhasedPopulation(name, phases, groups[0], groups[1] if len(groups) > 1 else None, rate))
    seed = EPOCH_SEEDS * options.seed + epoch
    return PhasedProgram(
        tuple(populations), RealErrors(options.goal, gain, options.margin), steps, options.back_steps, seed
    )


def with_weights(network: Network, program: PhasedProgram) -> Network:
    """Return a lowered `network` with the weights of its real `program`."""
    nodes = dict(network.nodes)
    for population in program.populations:
        for edge in network.incoming(population.name):
            node = nodes[edge.source]
            if isinstance(node, Linear):
                loops = _source(network, edge) == (population.name, 1)
                synapses = population.recurrent if loops else population.forward
                assert synapses is not None
                nodes[edge.source] = replace(node, weight=synapses.weight)
    return replace(network, nodes=nodes)


def misfits(network: Network) -> Iterator[Finding]:
    """Say what in a lowered network keeps it from learning by SPIDE on its target."""
    fix = "name with --plastic only layers of a ring such as 100f or 64-32, or train before with `neurodeploy train`"

    def finding(name: str, what: str, why: str) -> Finding:
        return Finding("ND146", network.place(name), what, why, fix)

    source = network.input_node
    if source.kind is not InputKind.SPIKES and source.low < 0:
        yield finding(network.input, f"input down to {source.low:g}", "a presynaptic trace has no sign")
    hidden = len(network.populations) - 1
    for before, name in pairwise([network.input, *network.populations]):
        feeds = [(network.nodes[edge.source], _source(network, edge)) for edge in network.incoming(name)]
        resets = [origin for node, origin in feeds if _is_diagonal(node)]
        maps = [(node, origin) for node, origin in feeds if not _is_diagonal(node)]
        if not all(isinstance(node, Linear) for node, _ in maps):
            yield finding(name, "synapses that are not all-to-all", "Lava's learning engine has no convolutions")
            continue
        origins = [origin for _, origin in maps]
        allowed = [[(before, 0)]]
        if hidden == 1 and name != network.output:
            allowed.append([(before, 0), (name, 1)])
        if sorted(origins) not in [sorted(each) for each in allowed] or resets not in ([], [(name, 1)]):
            why = "errors go back the way spikes came, and only one hidden layer hears itself in time"
            yield finding(name, f"fed by {_told(origins + resets)}", why)
        yield from _neuron_misfits(network, name, finding)


def _neuron_misfits(network: Network, name: str, finding: Callable[[str, str, str], Finding]) -> Iterator[Finding]:
    node = network.populations[name]
    if node.alpha is not None or node.adaptation is not None or node.gain is not None:
        yield finding(name, "a synaptic current, an adaptive threshold or a gain", "rates settle without them")
    if node.beyond_plain is not None:
        yield finding(name, node.beyond_plain, "what learns fires once in a step, above its threshold")
    elif node.reset is not Reset.SUBTRACT_NEXT_STEP:
        yield finding(name, f"the reset {node.reset}", "a rate is what was heard divided by what a spike subtracts")
    parameters = [node.beta, node.threshold]
    parameters += [map_.data for map_ in _diagonals(network, name)]
    if any(np.unique(values).size != 1 for values in parameters) or not 0 < float(node.beta.flat[0]) <= 1:
        yield finding(name, "neurons of different kinds, or that forget at once", "one quantum serves a whole layer")


def _told(origins: list[tuple[str, int]]) -> str:
    return " and ".join(f"{name} {delay} steps ago" for name, delay in origins)


def _is_diagonal(node: object) -> bool:
    """Whether a map leads from every neuron to itself only, as what completes a reset does."""
    if not isinstance(node, SparseLinear) or node.input_shape != node.shape:
        return False
    size = len(node.indptr) - 1
    return np.array_equal(node.indptr, np.arange(size + 1)) and np.array_equal(node.indices, np.arange(size))


def _diagonals(network: Network, name: str) -> list[SparseLinear]:
    maps = [network.nodes[edge.source] for edge in network.incoming(name)]
    return [node for node in maps if isinstance(node, SparseLinear) and _is_diagonal(node)]


def _quantum(network: Network, name: str) -> float:
    """Return what a spike subtracts in the next step: the threshold, and what a diagonal takes beside."""
    node: LIF = network.populations[name]
    return float(node.threshold.flat[0]) - sum(float(each.data[0]) for each in _diagonals(network, name))


def _source(network: Network, edge: Edge) -> tuple[str, int]:
    """Return which population or input a map into a population reads, and with which delay in all."""
    (before,) = network.incoming(edge.source)
    return before.source, before.delay_steps + edge.delay_steps


def _maps(network: Network, name: str) -> tuple[Linear, Linear | None]:
    """Return the maps into a population from the layer before and from itself, without what completes its reset."""
    forward, recurrent = None, None
    for edge in network.incoming(name):
        node = network.nodes[edge.source]
        if isinstance(node, Linear):
            if _source(network, edge) == (name, 1):
                recurrent = node
            else:
                forward = node
    assert forward is not None
    return forward, recurrent


def _synapses(
    node: Linear, plastic: bool, random: np.random.Generator | None, threshold: float, norm: float | None
) -> RealSynapses:
    """Return a map's weights, or random ones: rows of a `norm` that sum up to nothing, for the output uniform ones."""
    if random is None:
        return RealSynapses(node.weight, plastic)
    if norm is None:
        reach = threshold / np.sqrt(node.weight.shape[1])
        return RealSynapses(random.uniform(-reach, reach, node.weight.shape), plastic)
    drawn = random.normal(size=node.weight.shape)
    drawn -= drawn.mean(1, keepdims=True)
    return RealSynapses(norm * threshold * drawn / np.linalg.norm(drawn, axis=1, keepdims=True), plastic)
