"""A program on pyNN.nest: all samples in one start, one after the other.

NEST has no reset. After each sample the thresholds are lifted out of reach, and currents made to forget, for as long as
anything may still arrive; then membranes are set to rest. Where neither a loop nor a current nor a membrane that stays
above its threshold could carry anything on, setting the membranes is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nest
import numpy as np
import pyNN.nest as sim
from pyNN.parameters import Sequence

from neurodeploy.backends.spinnaker.cells import STEP_MS, Model, model_of
from neurodeploy.backends.spinnaker.populations import Network, build, setup
from neurodeploy.backends.spinnaker.recording import Record
from neurodeploy.backends.spinnaker.schedule import Schedule
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import Population, Program

OUT_OF_REACH = 1e30
FORGETS_AT_ONCE_MS = 1e-3
"""exp(-1000) is 0."""
CELL_STEPS = 30_000_000
"""Steps of single cells after which the network is built anew: cells made for e-prop remember all of theirs."""


def simulate(
    program: Program, samples: np.ndarray, record_states: bool, progress: Callable[[int], None]
) -> dict[str, Record]:
    """Return what every population did; samples uint8 (sample, step, neuron), progress is told the steps done."""
    period = Schedule.of(program, "nest", samples.shape[1], 1).period
    size = sum(population.size for population in program.populations)
    piece = max(1, CELL_STEPS // (period * size))
    parts = []
    for first in range(0, len(samples), piece):
        parts.append(_simulate(program, samples[first : first + piece], record_states, progress, first * period))
    return {name: Record.joined([part[name] for part in parts]) for name in parts[0]}


def _simulate(
    program: Program, samples: np.ndarray, record_states: bool, progress: Callable[[int], None], done: int
) -> dict[str, Record]:
    """Build the network and run all samples through it, after `done` steps of others."""
    setup(sim, program)
    schedule = Schedule.of(program, "nest", samples.shape[1], len(samples))
    network = build(program, sim)
    _set_sources(network, samples, schedule)
    cells = [_Cells(p, network.populations[p.name].node_collection, record_states) for p in program.populations]
    carries_on = _carries_on(program)
    sim.simulator.state.run(0)  # connects the sources
    for sample in range(schedule.samples):
        nest.Simulate(schedule.busy * STEP_MS)
        for group in cells if carries_on else ():
            group.quiet()
        nest.Simulate(schedule.pause * STEP_MS)
        for group in cells:
            group.rest(carries_on)
            group.collect(schedule, sample)
        progress(done + (sample + 1) * schedule.period)
    return {group.population.name: group.record(schedule) for group in cells}


def _set_sources(network: Network, samples: np.ndarray, schedule: Schedule) -> None:
    neurons, times = schedule.input_spikes(samples)
    trains = np.split(times, np.cumsum(np.bincount(neurons, minlength=samples.shape[2]))[:-1])
    network.input.set(spike_times=[Sequence(train) for train in trains])
    for name, source in network.biases.items():
        source.set(spike_times=Sequence(schedule.bias_times(name)))


def _carries_on(program: Program) -> bool:
    """Say whether activity may outlive its input."""
    lasting = (p.cell.alpha is not None or p.cell.reset is Reset.SUBTRACT_NEXT_STEP for p in program.populations)
    return any(lasting) or program.recurrent


class _Cells:
    """One population's nodes, their devices, and how they are brought to rest."""

    def __init__(self, population: Population, nodes: Any, record_states: bool) -> None:
        self.population, self._nodes, self._first = population, nodes, nodes[0].global_id
        self._model: Model = model_of(population.cell, "nest")
        self._spikes = nest.Create("spike_recorder")
        nest.Connect(nodes, self._spikes)
        self._variables: dict[str, list[str]] = {"voltages": ["V_m"]}
        loud = {"V_th": nodes.get("V_th")}
        self._quiet: dict[str, Any] = {"V_th": OUT_OF_REACH}
        if population.cell.alpha is not None:
            self._variables["currents"] = ["I_syn_ex", "I_syn_in"]
            for name in ("tau_syn_ex", "tau_syn_in"):
                loud[name], self._quiet[name] = nodes.get(name), FORGETS_AT_ONCE_MS
        self._loud = {name: _plain(value) for name, value in loud.items()}
        self._states: dict[str, list[np.ndarray]] = {}
        self._meter = None
        if record_states:
            recorded = [name for names in self._variables.values() for name in names]
            self._meter = nest.Create("multimeter", {"interval": STEP_MS, "record_from": recorded})
            nest.Connect(self._meter, nodes)

    def _index(self, events: dict[str, np.ndarray]) -> np.ndarray:
        """Return which neurons the events are of; without events NEST has no type for them."""
        return np.asarray(events["senders"], np.int64) - self._first

    def quiet(self) -> None:
        """Let no spike out, and no current stay."""
        self._nodes.set(**self._quiet)

    def rest(self, was_quiet: bool) -> None:
        """Set the membranes to rest."""
        self._nodes.set(V_m=0.0, **(self._loud if was_quiet else {}))

    def collect(self, schedule: Schedule, sample: int) -> None:
        """Take the states of a sample from the device."""
        if self._meter is None:
            return
        events = self._meter.get("events")
        steps = np.rint(events["times"] / STEP_MS).astype(np.int64)
        for kind, names in self._variables.items():
            lead = self._model.latency_steps - 1 if kind == "currents" else 0
            window = schedule.window(self.population.name, sample, lead)
            inside = (steps >= window.start) & (steps < window.stop)
            values = np.zeros((schedule.steps, self.population.size))
            for name in names:
                values[steps[inside] - window.start, self._index(events)[inside]] += events[name][inside]
            self._states.setdefault(kind, []).append(values)
        self._meter.set(n_events=0)

    def record(self, schedule: Schedule) -> Record:
        """Return everything."""
        events = self._spikes.get("events")
        spikes = schedule.raster(self.population, events["times"], self._index(events))
        states = {kind: np.stack(samples, axis=1) for kind, samples in self._states.items()}
        currents = states["currents"] / self._model.native_weight if "currents" in states else None
        return Record.of(self.population, self._model, spikes, currents, states.get("voltages"))


def _plain(value: Any) -> Any:
    """Return what NEST said of a parameter, once where all nodes agree."""
    values = np.unique(value)
    return float(values[0]) if values.size == 1 else list(value)
