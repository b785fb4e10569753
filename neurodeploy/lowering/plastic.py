"""`Network` -> `PlasticProgram`: what learns, by which numbers, in real arithmetic.

    input -> body (any layers, frozen) -> B -> chain that learns -> output

Only a chain can learn: populations without a synaptic current, each fed by all-to-all synapses from the one before and
perhaps by itself. What else there is in the chain, is refused with its reason. The body is all that comes before the
first plastic population, and its last population B is the chain's input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, UsageError, raise_all
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear
from neurodeploy.ir.onchip import (
    DECOLLE,
    EPROP,
    Chain,
    LocalReadout,
    PlasticPopulation,
    PlasticProgram,
    RealFactor,
    RealNeuron,
    RealReadout,
    RealSynapses,
)
from neurodeploy.ir.plasticity import Rule

INITIALS = ("trained", "random")
INITIAL_GAIN = 2.0
"""Random weights are uniform within this many thresholds over the root of the fan-in."""
RECURRENT_GAIN = 0.5
EPOCH_SEEDS = 1000
"""Seeds of what is drawn while learning are this far apart, an epoch's offset between them."""


WayBack = tuple[np.ndarray, LocalReadout | None]


@dataclass(frozen=True)
class OnlineOptions:
    """How a network learns by e-prop on its target; see `ir/onchip.py` for the equations.

    Args:
        rate, readout_rate: of hidden and of output synapses, per step, in thresholds.
        decay: factor on both after every epoch.
        kappa: what is left of the output's filtered spikes after a step.
        goal: filtered spikes the right output is to reach.
        width: of psi, in thresholds, a power of two.
        regularizer, target_rate: weight of the firing rate of hidden neurons, and where it is drawn to.
        plastic: names of the populations whose synapses learn; none: all.
        initial: "trained" or "random": where plastic synapses begin.
        seed: of random weights, feedback, and all that is drawn while learning.
    """

    rate: float = 2e-3
    readout_rate: float = 2e-3
    decay: float = 0.85
    kappa: float = 0.8
    goal: float = 6.0
    width: int = 2
    regularizer: float = 0.3
    target_rate: float = 0.1
    plastic: tuple[str, ...] = ()
    initial: str = "trained"
    seed: int = 0

    RULE: ClassVar[Rule] = EPROP

    def __post_init__(self) -> None:
        claims = [
            (self.rate >= 0, f"rate is {self.rate}"),
            (self.readout_rate >= 0, f"readout_rate is {self.readout_rate}"),
            (0 <= self.kappa < 1, f"kappa is {self.kappa}"),
            (self.goal > 0, f"goal is {self.goal}"),
            (self.width in (1, 2, 4, 8), f"width is {self.width}"),
            (self.regularizer >= 0, f"regularizer is {self.regularizer}"),
            (0 <= self.target_rate <= 1, f"target_rate is {self.target_rate}"),
            *self.more_claims(),
        ]
        refuse_options(self, claims)

    def more_claims(self) -> list[tuple[bool, str]]:
        """Return what else must hold of options that add to these."""
        return []

    def way_back(self, random: np.random.Generator, neurons: int, classes: int) -> WayBack:
        """Return B (neuron, output) of a hidden population, and its own read-out, if it has one."""
        return random.normal(size=(neurons, classes)) / np.sqrt(classes), None


@dataclass(frozen=True)
class DecolleOptions(OnlineOptions):
    """How a network learns by DECOLLE on its target; B is G transposed.

    G is uniform and of variance 1 / classes, as e-prop's B, so that rates mean the same; its goal is such that y / goal
    is the Y that Kaiser et al. 2020 set beside the target. Their offsets are left out.

    Args:
        scale: xi: within xi / sqrt(neurons) are the weights of Y.
        local_kappa: what is left of a local read-out's sums after a step; theirs keep nothing.
    """

    rate: float = 6e-3
    regularizer: float = 0.1
    scale: float = 1.0
    local_kappa: float = 0.0

    RULE: ClassVar[Rule] = DECOLLE

    def more_claims(self) -> list[tuple[bool, str]]:
        return [
            (self.scale > 0, f"scale is {self.scale}"),
            (0 <= self.local_kappa < 1, f"local_kappa is {self.local_kappa}"),
        ]

    def way_back(self, random: np.random.Generator, neurons: int, classes: int) -> WayBack:
        reach = np.sqrt(3 / classes)
        weight = random.uniform(-reach, reach, (classes, neurons))
        readout = RealReadout(self.local_kappa, float(reach * np.sqrt(neurons) / self.scale))
        return weight.T, LocalReadout(RealSynapses(weight, plastic=False), readout)


def refuse_options(options: Any, claims: Iterable[tuple[bool, str]]) -> None:
    """Refuse options of which not all `claims`, (holds, what is said when not), hold, nor those that all rules make.

    Raises:
        UsageError: ND413 with everything that does not.
    """
    home, name = type(options).__module__.removeprefix("neurodeploy."), type(options).__name__
    why, fix = "on-chip learning is not defined there", f"see {home}.{name}"
    usual = [
        (0 < options.decay <= 1, f"decay is {options.decay}"),
        (options.initial in INITIALS, f"initial is {options.initial!r}"),
        (options.seed >= 0, f"seed is {options.seed}"),
    ]
    wrong = [what for holds, what in (*claims, *usual) if not holds]
    raise_all(UsageError, [Finding("ND413", "learning", what, why, fix) for what in wrong])


def program(network: Network, steps: int, options: OnlineOptions, epoch: int = 0) -> PlasticProgram:
    """Return how a lowered `network` learns in real numbers.

    Args:
        network: without its body, see `chain`.
        steps: of a sample.
        epoch: counted from 0; rates decay and what is drawn while learning differs from epoch to epoch.

    Raises:
        UnsupportedError: ND146 with everything that cannot learn.
    """
    raise_all(UnsupportedError, list(misfits(network)))
    random = np.random.default_rng((options.seed, 0))
    classes = network.populations[network.output].size
    populations = []
    for name, node in network.populations.items():
        plastic = not options.plastic or name in options.plastic
        forward, recurrent = maps(network, name)
        bias = sum((edge.bias for edge in (forward, recurrent) if edge is not None and edge.bias is not None), 0.0)
        theta = float(np.mean(node.threshold))
        hidden = name != network.output
        feedback, own = options.way_back(random, node.size, classes) if hidden else (None, None)
        factor = RealFactor(
            feedback,
            theta * (options.rate if hidden else options.readout_rate) * options.decay**epoch,
            options.width,
            options.regularizer if hidden else 0.0,
            options.target_rate,
        )
        draw = plastic and options.initial == "random"
        populations.append(
            PlasticPopulation(
                name,
                RealNeuron(node.beta, node.threshold, np.asarray(bias, np.float64), node.reset),
                _synapses(forward, plastic, random if draw else None, theta * INITIAL_GAIN),
                None
                if recurrent is None
                else _synapses(recurrent, plastic, random if draw else None, theta * RECURRENT_GAIN),
                factor,
                own,
            )
        )
    seed = EPOCH_SEEDS * options.seed + epoch
    return PlasticProgram(tuple(populations), RealReadout(options.kappa, options.goal), steps, seed, options.RULE)


def chain(network: Network, plastic: tuple[str, ...]) -> Network:
    """Return the part of a lowered `network` that learns, B in place of its input; all of it if it begins there.

    Args:
        plastic: names of the populations whose synapses learn; none: all.

    Raises:
        UnsupportedError: ND146 when the first of them reads more than one population, or the body reads the chain.
        UsageError: ND413 for a name that is no population.
    """
    names = list(network.populations)
    unknown = [name for name in plastic if name not in names]
    if unknown:
        what, why = f"plastic {', '.join(unknown)}", f"the populations are {', '.join(names)}"
        raise UsageError(Finding("ND413", "learning", what, why, "name populations of the model"))
    first = min(plastic, key=names.index) if plastic else names[0]
    inside = _downstream(network, first) | {edge.source for edge in network.incoming(first)}
    edges = tuple(edge for edge in network.edges if edge.target in inside)
    entering = sorted({edge.source for edge in edges} - inside)
    leaving = sorted({edge.target for edge in network.edges if edge.source in inside} - inside)
    if len(entering) != 1 or leaving:
        what = f"{', '.join(entering)} feed what learns, which feeds {', '.join(leaving) or 'nothing else'}"
        why, fix = "what learns follows one population that does not", "name other populations with --plastic"
        raise UnsupportedError(Finding("ND146", network.place(first), what, why, fix))
    (before,) = entering
    node = network.nodes[before]
    if not isinstance(node, LIF):
        return network
    nodes = {name: each for name, each in network.nodes.items() if name in inside}
    kind = InputKind.GRADED if node.firing.graded else InputKind.SPIKES
    nodes[before] = Input(node.shape, kind)
    return replace(network, nodes=nodes, edges=edges, input=before, deviations=())


def _downstream(network: Network, name: str) -> set[str]:
    found, new = {name}, {name}
    while new:
        new = {edge.target for edge in network.edges if edge.source in new} - found
        found |= new
    return found


def with_weights(network: Network, program: Chain) -> Network:
    """Return a lowered `network` with the weights of its real `program`."""
    nodes = dict(network.nodes)
    for population in program.populations:
        for edge in network.incoming(population.name):
            synapses = population.recurrent if is_loop(network, edge) else population.forward
            node = nodes[edge.source]
            assert isinstance(node, Linear)
            assert synapses is not None
            nodes[edge.source] = replace(node, weight=synapses.weight)
    return replace(network, nodes=nodes)


def misfits(network: Network) -> Iterator[Finding]:
    """Say what in a lowered network keeps it from learning on its target."""
    fix = "name with --plastic only layers of all-to-all LIF neurons after it, or train before with `neurodeploy train`"

    def finding(name: str, what: str, why: str) -> Finding:
        return Finding("ND146", network.place(name), what, why, fix)

    if network.input_node.kind is not InputKind.SPIKES:
        why = "a presynaptic trace adds one impulse per spike"
        yield finding(network.input, "graded input", why)
    for before, name in pairwise([network.input, *network.populations]):
        sources = network.incoming(name)
        if not all(isinstance(network.nodes[edge.source], Linear) for edge in sources):
            yield finding(name, "synapses that are not all-to-all", "Lava's learning engine has no convolutions")
            continue
        feeds = {source(network, edge) for edge in sources}
        if not {(before, 0)} <= feeds <= {(before, 0), (name, 1)} or len(sources) != len(feeds):
            yield finding(name, "fed by more than the layer before and itself", "the error's way back has one length")
        yield from _neuron_misfits(name, network.populations[name], finding)


def _neuron_misfits(name: str, node: LIF, finding: Callable[[str, str, str], Finding]) -> Iterator[Finding]:
    if node.alpha is not None:
        yield finding(name, "a synaptic current", "its response has two traces, and this rule is compiled for one")
    if node.adaptation is not None:
        why = (
            "its eligibility needs variables per synapse that follow the neuron's past, which the engine's tags do not"
        )
        yield finding(name, "an adaptive threshold", why)
    if node.beyond_plain is not None:
        yield finding(name, node.beyond_plain, "neurons that learn fire once in a step, above their threshold")
    if node.gain is not None:
        yield finding(name, "a gain of its own", "lowering folds gains into weights; this one is per neuron")
    if np.unique(node.beta).size != 1 or not 0 < float(node.beta.flat[0]) < 1:
        yield finding(
            name, "neurons that decay differently, at once or never", "one trace serves all neurons of a layer"
        )


def source(network: Network, edge: Edge) -> tuple[str, int]:
    """Return which population or input a map into a population reads, and with which delay in all."""
    (before,) = network.incoming(edge.source)
    return before.source, before.delay_steps + edge.delay_steps


def is_loop(network: Network, edge: Edge) -> bool:
    return source(network, edge) == (edge.target, 1)


def maps(network: Network, name: str) -> tuple[Linear, Linear | None]:
    """Return the maps into a population: from the layer before, and from itself."""
    forward, recurrent = None, None
    for edge in network.incoming(name):
        node = network.nodes[edge.source]
        assert isinstance(node, Linear)
        if is_loop(network, edge):
            recurrent = node
        else:
            forward = node
    assert forward is not None
    return forward, recurrent


def _synapses(node: Linear, plastic: bool, random: np.random.Generator | None, reach: float) -> RealSynapses:
    if random is None:
        return RealSynapses(node.weight, plastic)
    bound = reach / np.sqrt(node.weight.shape[1])
    return RealSynapses(random.uniform(-bound, bound, node.weight.shape), plastic)
