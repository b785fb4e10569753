"""A program on pyNN.brian2: all samples in one run, one after the other.

In the pause after each, all states are held at 0, so that nothing fires, until all that was on its way has arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brian2
import numpy as np
import pyNN.brian2 as sim

from neurodeploy.backends.spinnaker.cells import BRIAN2_AMPERE, BRIAN2_VOLT, STEP_MS, model_of
from neurodeploy.backends.spinnaker.populations import Network, build, setup
from neurodeploy.backends.spinnaker.recording import Record
from neurodeploy.backends.spinnaker.schedule import FIRST_STEP, Schedule
from neurodeploy.ir.program import Population, Program

STATES = ("v", "ie", "ii", "held", "owed")
LAST = 1_000
"""Comes after whatever else happens in its slot of a step."""


def simulate(
    program: Program, samples: np.ndarray, record_states: bool, progress: Callable[[int], None]
) -> dict[str, Record]:
    """Return what every population did; samples uint8 (sample, step, neuron), progress is told the steps done."""
    brian2.BrianLogger.log_level_warn()
    setup(sim, program)
    schedule = Schedule.of(program, "brian2", samples.shape[1], len(samples))
    network = build(program, sim)
    _set_sources(network, samples, schedule)
    state = sim.simulator.state.network
    groups = [network.populations[p.name].brian2_group for p in program.populations]
    state.add(_pauses(groups, schedule, progress, state.clock))
    monitors = {}
    for population, group in zip(program.populations, groups, strict=True):
        monitors[population.name] = _monitors(population, group, record_states, state.clock)
        state.add(*monitors[population.name])
    sim.run(schedule.total_steps * STEP_MS)
    return {p.name: _record(p, monitors[p.name], schedule) for p in program.populations}


def _set_sources(network: Network, samples: np.ndarray, schedule: Schedule) -> None:
    neurons, times = schedule.input_spikes(samples)
    network.input.brian2_group.set_spikes(neurons, times * brian2.ms)
    for name, source in network.biases.items():
        times = schedule.bias_times(name)
        source.brian2_group.set_spikes(np.zeros(times.size, int), times * brian2.ms)


def _pauses(groups: list[Any], schedule: Schedule, progress: Callable[[int], None], clock: Any) -> Any:
    """Return what holds all states at 0, before any threshold is tested, in every step of a pause."""
    held = [group.variables[name].get_value() for group in groups for name in STATES if name in group.variables]

    def hold() -> None:
        now = round(float(clock.t / brian2.ms) / STEP_MS)
        progress(now)
        step = now % schedule.period
        if step < FIRST_STEP - 1 or step > schedule.busy:
            for values in held:
                values[:] = 0

    return brian2.NetworkOperation(hold, clock=clock, when="before_thresholds", order=LAST)


def _monitors(population: Population, group: Any, record_states: bool, clock: Any) -> list[Any]:
    """Return a monitor of spikes and, if asked for, one of the states after the reset."""
    monitors = [brian2.SpikeMonitor(group)]
    if record_states:
        variables = ["v"] if population.cell.alpha is None else ["v", "i_seen"]
        monitors.append(brian2.StateMonitor(group, variables, record=True, clock=clock, when="end"))
    return monitors


def _record(population: Population, monitors: list[Any], schedule: Schedule) -> Record:
    model = model_of(population.cell, "brian2")
    times = np.asarray(monitors[0].t_) * 1e3
    spikes = schedule.raster(population, times, np.asarray(monitors[0].i))
    states: list[np.ndarray | None] = [None, None]
    windows = [schedule.window(population.name, sample) for sample in range(schedule.samples)]
    for index, (name, unit) in enumerate((("i_seen", BRIAN2_AMPERE), ("v", BRIAN2_VOLT))):
        if len(monitors) > 1 and name in monitors[1].record_variables:
            values = getattr(monitors[1], f"{name}_") / unit
            states[index] = np.stack([values[:, window].T for window in windows], axis=1)
    return Record.of(population, model, spikes, *states)
