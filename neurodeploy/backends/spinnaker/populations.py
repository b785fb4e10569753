"""A program as PyNN populations and projections, to run here or to become part of a PyNN script of your own.

    import pyNN.nest as sim                                     # or pyNN.brian2
    from neurodeploy import load_artifact
    from neurodeploy.backends.spinnaker.populations import build, setup, trains

    program = load_artifact("net.ndc").program
    setup(sim, program)                                         # sim.setup with a step of 1 ms
    network = build(program, sim)
    network.input.set(spike_times=trains(spikes, start=2))      # spikes: (step, input neuron)
    network.populations["lif2"].record("spikes")
    sim.run(40)

A population's own step k happens `network.timing.steps[name] + k` steps after the input's step 0. Each projection is
two, excitatory and inhibitory. Biases come from sources in `network.biases`, one cell each, that fire in every step of
a sample: give them spike times too, from `network.timing.bias_steps[name]` steps after the input's first. Weights are
the program's in mV, or as many nA into a synaptic current; in Brian2 times `cells.BRIAN2_MV` and `cells.BRIAN2_NA`.
NEST crashes in a process in which the engine has run with several threads: run that elsewhere, or set
NUMBA_NUM_THREADS=1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.cells import (
    MODELS,
    STEP_MS,
    Model,
    Timing,
    inexpressible,
    model_of,
    timing_of,
)
from neurodeploy.backends.spinnaker.connections import unsorted_connections
from neurodeploy.backends.spinnaker.schedule import FIRST_STEP
from neurodeploy.errors import Finding, UnsupportedError, UsageError, raise_all
from neurodeploy.ir.program import Population, Program, Projection

SCHEDULE = ["start", "groups", "synapses", "thresholds", "resets", "end"]
"""Brian2's order of a step here: what arrives meets its threshold in the same step. PyNN's is another."""


@dataclass(frozen=True, eq=False)
class Network:
    """What `build` made: PyNN's own objects, by the program's names, and when they act.

    Args:
        input: the source population.
        biases: population -> source of one cell; only populations that have a bias.
        projections: projection -> excitatory and inhibitory part, those that exist; a bias's under its population.
    """

    input: Any
    populations: dict[str, Any]
    timing: Timing
    biases: dict[str, Any] = field(default_factory=dict)
    projections: dict[str, list[Any]] = field(default_factory=dict)


def simulator_of(sim: ModuleType) -> str:
    """Return the executor that a PyNN backend module is: "nest" for pyNN.nest.

    Raises:
        UsageError: ND313 for one whose cells are not known here.
    """
    name = sim.__name__.rpartition(".")[2]
    if name not in MODELS:
        what, why = f"no cells of {sim.__name__} are known", "each population becomes a cell that computes it exactly"
        raise UsageError(Finding("ND313", sim.__name__, what, why, f"use pyNN.{' or pyNN.'.join(MODELS)}"))
    return name


def setup(sim: ModuleType, program: Program, threads: int = 1) -> None:
    """Call `sim.setup` as `program` needs it: a step of 1 ms, spikes on its grid, no compiler.

    Raises:
        UnsupportedError: see `build`.
    """
    raise_all(UnsupportedError, list(inexpressible(program, simulator_of(sim))))
    longest = STEP_MS * max(timing_of(program, simulator_of(sim)).delays.values())
    if simulator_of(sim) == "nest":
        delays = {"min_delay": STEP_MS, "max_delay": longest}
        sim.setup(timestep=STEP_MS, spike_precision="on_grid", threads=threads, **delays)
        import_module("nest").set(eprop_reset_neurons_on_update=False)
        return
    brian2 = import_module("brian2")
    brian2.prefs.codegen.target = "numpy"
    sim.setup(timestep=STEP_MS, min_delay=STEP_MS)
    brian2.defaultclock.dt = STEP_MS * brian2.ms
    sim.simulator.state.network.schedule = SCHEDULE


def build(program: Program, sim: ModuleType, source: Any = None) -> Network:
    """Return `program` as populations and projections of `sim`, after `setup`.

    Args:
        source: a PyNN population of the input's size to read from; by default a SpikeSourceArray that is silent.

    Raises:
        UnsupportedError: ND331 for every population that the simulator has no exact cell for, ND332 for every
            recurrent projection that would arrive too late there.
    """
    simulator = simulator_of(sim)
    raise_all(UnsupportedError, list(inexpressible(program, simulator)))
    if source is None:
        source = sim.Population(prod(program.input.shape), sim.SpikeSourceArray(spike_times=[]), label="input")
    populations = {p.name: _population(p, sim, model_of(p.cell, simulator)) for p in program.populations}
    network = Network(source, populations, timing_of(program, simulator))
    for population in program.populations:
        model = model_of(population.cell, simulator)
        for edge in program.incoming(population.name):
            pre = network.populations.get(edge.source, source)
            parts = connections(program, edge)
            delay = network.timing.delays[edge.name]
            network.projections[edge.name] = _projections(sim, pre, network, population, model, parts, delay)
        bias = np.broadcast_to(population.neuron.constants(1.0).values["bias"], population.size)
        if np.any(bias):
            network.biases[population.name] = origin = sim.Population(1, sim.SpikeSourceArray(spike_times=[]))
            targets = np.flatnonzero(bias)
            parts = np.zeros_like(targets), targets, bias[targets]
            network.projections[population.name] = _projections(sim, origin, network, population, model, parts, 1)
    return network


def trains(spikes: np.ndarray, start: int = FIRST_STEP) -> list[Any] | Any:
    """Return the spike times, in ms, of each neuron of `spikes` (step, neuron), whose step 0 is at `start`.

    One of PyNN's sequences per neuron; of a single neuron its sequence alone, since PyNN 0.13 takes no list of one for
    Brian2.
    """
    sequence = import_module("pyNN.parameters").Sequence
    neurons, steps = np.nonzero(np.asarray(spikes).T)
    counts = np.bincount(neurons, minlength=spikes.shape[1])
    times = np.split((steps + start) * STEP_MS, np.cumsum(counts)[:-1])
    each = [sequence(train) for train in times]
    return each if len(each) > 1 else each[0]


def connections(program: Program, projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pre, post and weight in mV of every synapse of a projection that is not zero, three arrays (synapse,)."""
    found = unsorted_connections(projection)
    cell = program.population(projection.target).cell
    return found.pre, found.post, found.weights * cell.steps(found.weights)


def _population(population: Population, sim: ModuleType, model: Model) -> Any:
    """Return the population at rest."""
    parameters = model.parameters(population.cell)
    match model.origin:
        case "native":
            kind, rest = sim.native_cell_type(model.name), {"V_m": 0.0}
        case "ours":
            kind, rest = vars(import_module("neurodeploy.backends.spinnaker.brian2_cells"))[model.name], {"v": 0.0}
        case _:
            kind, rest = vars(sim)[model.name], {"v": 0.0}
    if model.name == "IF_curr_delta" and simulator_of(sim) == "nest":
        named = {"variable_map": {"v": "V_m"}, "scale_factors": {"v": 1}}  # which PyNN 0.13 forgot
        kind = type("IF_curr_delta", (kind,), named)
    later = {}
    if model.origin == "native":  # PyNN 0.13 cannot create native cells whose parameters differ
        later = {name: value for name, value in parameters.items() if np.ndim(value)}
    first = {name: value for name, value in parameters.items() if name not in later}
    built = sim.Population(population.size, kind(**first), label=population.name)
    if later:
        built.set(**later)
    built.initialize(**rest)
    return built


def _projections(
    sim: ModuleType,
    pre: Any,
    network: Network,
    population: Population,
    model: Model,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    delay: int,
) -> list[Any]:
    """Return the excitatory and the inhibitory synapses of `parts` as a projection each, those that there are."""
    stored = import_module("neurodeploy.backends.spinnaker.connectors").Stored
    negative = parts[2] < 0
    made = []
    for receptor, chosen in (("excitatory", ~negative), ("inhibitory", negative)):
        if np.any(chosen):
            connector = stored(*(part[chosen] for part in parts), delay, model)
            post = network.populations[population.name]
            made.append(sim.Projection(pre, post, connector, sim.StaticSynapse(), receptor_type=receptor))
    return made
