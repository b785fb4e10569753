"""What PyNN's simulators do with programs. NEST does not survive the engine's threads: call it in another process."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib import import_module

import numpy as np

from neurodeploy.backends.spinnaker import cells, populations
from neurodeploy.backends.spinnaker.availability import path_without_nest_config
from neurodeploy.backends.spinnaker.recording import Record
from neurodeploy.ir.program import Program


def prepare() -> None:
    """Keep PyNN from compiling."""
    os.environ["PATH"] = path_without_nest_config()


def simulate(program: Program, inputs: np.ndarray, simulator: str, record_states: bool = True) -> dict[str, Record]:
    """Return what the worker would record of inputs (step, sample, *input shape)."""
    samples = np.ascontiguousarray(inputs.swapaxes(0, 1)).reshape(inputs.shape[1], len(inputs), -1)
    module = import_module(f"neurodeploy.backends.spinnaker.on_{simulator}")
    return module.simulate(program, samples, record_states, lambda steps: None)


def simulate_in_pieces(program: Program, inputs: np.ndarray, cell_steps: int) -> dict[str, Record]:
    """Return the same of NEST, built anew after so many steps of single cells."""
    on_nest = import_module("neurodeploy.backends.spinnaker.on_nest")
    limit, on_nest.CELL_STEPS = on_nest.CELL_STEPS, cell_steps
    try:
        return simulate(program, inputs, "nest")
    finally:
        on_nest.CELL_STEPS = limit


def simulate_late(program: Program, inputs: np.ndarray, simulator: str) -> dict[str, Record]:
    """Return the same with a delay of two steps in place of one in every projection."""
    timing = cells.timing_of(program, simulator)
    late = replace(timing, delays={name: delay + 1 for name, delay in timing.delays.items()})
    timing_of, populations.timing_of = populations.timing_of, lambda program, simulator: late
    try:
        return simulate(program, inputs, simulator)
    finally:
        populations.timing_of = timing_of


def script(program: Program, spikes: np.ndarray, simulator: str, name: str) -> np.ndarray:
    """Return when population `name` fires, in ms, as a PyNN user runs and reads it; spikes (step, neuron)."""
    sim = import_module(f"pyNN.{simulator}")
    populations.setup(sim, program)
    network = populations.build(program, sim)
    network.input.set(spike_times=populations.trains(spikes, start=2))
    for biased, source in network.biases.items():
        start = 2 + network.timing.bias_steps[biased]
        source.set(spike_times=populations.trains(np.ones((len(spikes), 1)), start))
    network.populations[name].record("spikes")
    sim.run(2.0 + len(spikes) + network.timing.steps[name])
    trains = network.populations[name].get_data().segments[0].spiketrains
    return np.array([float(time) for train in trains for time in train])


def connect(program: Program, name: str, simulator: str, targets: int) -> tuple[float, list[tuple[str, np.ndarray]]]:
    """Return how long `build` takes, and receptor and sorted weights in mV into the first `targets` cells."""
    sim = import_module(f"pyNN.{simulator}")
    populations.setup(sim, program)
    begin = time.perf_counter()
    network = populations.build(program, sim)
    seconds = time.perf_counter() - begin
    found = []
    for projection in network.projections[name]:
        if simulator == "nest":
            few = {"target": projection.post.node_collection[:targets], "synapse_label": projection.nest_synapse_label}
            weights = import_module("nest").GetConnections(**few).get("weight")
        else:
            synapses = projection._brian2_synapses[0][0]
            weights = synapses.weight_[:][synapses.j[:] < targets] / cells.BRIAN2_VOLT
        found.append((projection.receptor_type, np.sort(weights)))
    return seconds, found
