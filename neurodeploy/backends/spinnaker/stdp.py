"""Additive pair STDP as PyNN's synapse types on NEST and Brian2: an `AdditiveProgram` as populations and projections.

    sim.STDPMechanism(sim.SpikePairRule(...), sim.AdditiveWeightDependence(...)) on IF_curr_delta cells, 1 ms a step

What each of the two makes of the rule is `ir.additive.CONVENTIONS`. This runs in a process of its own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib import import_module
from math import inf, log
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.populations import SCHEDULE
from neurodeploy.backends.spinnaker.schedule import FIRST_STEP
from neurodeploy.ir.additive import AdditivePopulation, AdditiveProgram

CHUNK_SAMPLES = 16
"""Samples between two reports of progress."""
DELTA_SCALE = 1e-3
"""PyNN 0.13 takes weights into NEST's IF_curr_delta in mV, but reads them, and w_max, as thousands."""

Told = Callable[[int], None]


def run(
    program: AdditiveProgram, spikes: np.ndarray, on: str, trajectory: bool, told: Told
) -> tuple[list[np.ndarray], np.ndarray]:
    """Present samples in one start; return the features' weights, per sample or after all, and their spikes.

    Args:
        spikes: uint8 (sample, step, input).
        on: "nest" or "brian2".
        told: called with the time steps done.

    Returns:
        Weights (post, pre), and spikes uint8 (step of the simulator, feature).
    """
    sim = _fresh(on)
    times = _spike_times(program, spikes)
    source = sim.Population(program.inputs, sim.SpikeSourceArray(spike_times=[]), label="input")
    source.set(spike_times=times if len(times) > 1 else times[0])  # PyNN 0.13 takes no list of one for Brian2
    features = features_of(program, sim, on)
    features.record("spikes")
    plastic = connect(program, sim, on, source, features)
    total = program.duration(len(spikes))
    chunk = program.period * (1 if trajectory else CHUNK_SAMPLES)
    rows = []
    for first in range(0, total, chunk):
        sim.run(float(min(chunk, total - first)))
        told(min(first + chunk, total))
        if trajectory:
            rows.append(_weights(plastic, on))
    sim.run(float(FIRST_STEP))
    rows = rows or [_weights(plastic, on)]
    return rows, _fired(features, total)


def version(on: str) -> str:
    """Return what a result says about who computed it."""
    package = import_module("nest" if on == "nest" else "brian2")
    return f"PyNN {import_module('pyNN').__version__} on {on} {package.__version__}, its pair STDP"


def features_of(program: AdditiveProgram, sim: Any, on: str) -> Any:
    """Return the features' population at rest."""
    neuron = program.features.neuron
    theta = np.broadcast_to(neuron.theta, program.features.size).astype(np.float64)
    cell = sim.IF_curr_delta
    if on == "nest":
        theta = np.nextafter(theta, inf)  # NEST fires from the threshold on, the rule above it
        named = {"variable_map": {"v": "V_m"}, "scale_factors": {"v": 1}}  # which PyNN 0.13 forgot
        cell = type("IF_curr_delta", (cell,), named)
    resting = {"cm": 1.0, "v_rest": 0.0, "v_reset": 0.0, "tau_refrac": 0.0, "i_offset": 0.0}
    tau = -1 / log(float(neuron.beta.flat[0]))
    made = sim.Population(
        program.features.size, cell(tau_m=tau, v_thresh=theta, **resting), label=program.features.name
    )
    made.initialize(v=0.0)
    return made


def connect(program: AdditiveProgram, sim: Any, on: str, source: Any, features: Any) -> Any:
    """Connect the features, and return the projection that learns."""
    pairs, fed = program.pairs, program.features
    scale, dendritic = (DELTA_SCALE, 1.0) if on == "nest" else (1.0, 0.0)
    rule = sim.SpikePairRule(
        tau_plus=pairs.tau_plus,
        tau_minus=pairs.tau_minus,
        A_plus=pairs.a_plus / pairs.w_max,
        A_minus=pairs.a_minus / pairs.w_max,
    )
    mechanism = sim.STDPMechanism(
        timing_dependence=rule,
        weight_dependence=sim.AdditiveWeightDependence(w_min=0.0, w_max=pairs.w_max * scale),
        weight=fed.forward.weight.T if on == "brian2" else 0.0,
        delay=1.0,
        dendritic_delay_fraction=dendritic,
    )
    plastic = sim.Projection(source, features, sim.AllToAllConnector(), mechanism, receptor_type="excitatory")
    if on == "nest":  # where PyNN 0.13 takes no weights that differ, once the rule has a tau_minus
        _begin_with(fed.forward.weight, source, features)
    inhibit(fed, sim, features)
    return plastic


def _begin_with(weight: np.ndarray, source: Any, features: Any) -> None:
    """Set the weights (post, pre) of NEST's synapses."""
    pre, post = source.node_collection, features.node_collection
    synapses = import_module("nest").GetConnections(pre, post)
    ends = synapses.get(["source", "target"])
    post_index, pre_index = (
        np.subtract(ends["target"], post[0].global_id),
        np.subtract(ends["source"], pre[0].global_id),
    )
    synapses.set(weight=weight[post_index, pre_index].tolist())


def inhibit(fed: AdditivePopulation, sim: Any, features: Any) -> None:
    """Let the features inhibit each other."""
    assert fed.recurrent is not None
    post, pre = np.nonzero(fed.recurrent.weight)
    if len(post):
        weights = fed.recurrent.weight[post, pre]
        rows = [(int(i), int(j), float(w), 1.0) for i, j, w in zip(pre, post, weights, strict=True)]
        connector = sim.FromListConnector(rows, column_names=["weight", "delay"])
        sim.Projection(features, features, connector, sim.StaticSynapse(), receptor_type="inhibitory")


def _fresh(on: str) -> Any:
    """Return PyNN's module for a simulator, set up for steps of 1 ms."""
    os.environ["PYNEST_QUIET"] = "1"
    warnings.simplefilter("ignore")  # PyNN's own, about compilers it does not need and NEST's older names
    sim = import_module(f"pyNN.{on}")
    if on == "nest":
        sim.setup(timestep=1.0, min_delay=1.0, max_delay=1.0, spike_precision="on_grid")
        nest: Any = import_module("nest")
        nest.verbosity = nest.VerbosityLevel.ERROR
        return sim
    brian2 = import_module("brian2")
    brian2.prefs.codegen.target = "numpy"
    brian2.BrianLogger.log_level_warn()
    sim.setup(timestep=1.0, min_delay=1.0)
    brian2.defaultclock.dt = 1.0 * brian2.ms
    sim.simulator.state.network.schedule = SCHEDULE
    return sim


def _spike_times(program: AdditiveProgram, spikes: np.ndarray) -> list[Any]:
    """Return PyNN's sequence of spike times of each input, ms."""
    sequence = import_module("pyNN.parameters").Sequence
    quiet = ((0, 0), (0, program.pause), (0, 0))
    train = np.pad(spikes, quiet).reshape(-1, spikes.shape[2])
    return [sequence(np.flatnonzero(fired) + float(FIRST_STEP)) for fired in train.T]


def _weights(plastic: Any, on: str) -> np.ndarray:
    """Return the weights (post, pre) as the simulator has them now, in mV."""
    return np.asarray(plastic.get("weight", format="array")).T / (DELTA_SCALE if on == "nest" else 1.0)


def _fired(features: Any, total: int) -> np.ndarray:
    """Return when the features fired, uint8 (step, feature)."""
    raster = np.zeros((FIRST_STEP + total + 1, features.size), np.uint8)
    for train in features.get_data("spikes").segments[0].spiketrains:
        raster[np.rint(train.magnitude).astype(np.int64), int(train.annotations["source_index"])] = 1
    return raster
