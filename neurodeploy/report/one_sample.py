"""One sample, spike by spike: the source, our engine and the vendor's simulator on the same input.

Steps are each population's own, its latency taken out, so that the same step means the same moment in all three.
Membranes are in the source's units for all of them: a program's integers are divided by what a membrane unit is. So
are messages that carry a value; those that are a membrane itself are compared between programs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.errors import NeurodeployError
from neurodeploy.evaluation import fidelity
from neurodeploy.ir.nodes import Firing, InputKind
from neurodeploy.ir.program import Population
from neurodeploy.pipeline import Samples
from neurodeploy.results import RunResult
from neurodeploy.summary import Plain, of_absence


def of(
    model: CompiledModel,
    samples: Samples,
    number: int,
    against: str,
    progress: Callable[[int, int], None] | None = None,
    timeout_s: float | None = None,
) -> Plain:
    """Return the input, every layer's spikes in each run and where they differ, and membranes of a few neurons.

    Args:
        number: of the sample, counted from 0.
        against: an executor of the target; where it cannot run, its part is unavailable and says why.
    """
    labels = samples.labels
    one = Samples(samples.name, samples.inputs[:, number : number + 1], None)
    source = import_module("neurodeploy.frontends.source").run_source(model.source, one.inputs, record_states=True)
    runs = {"source": source, "engine": pipeline.run(model, one, record_states=True)}
    vendor = _vendor(model, one, against, progress, timeout_s)
    if isinstance(vendor, RunResult):
        runs["vendor"] = vendor
    return {
        "data": samples.name,
        "number": number,
        "label": None if labels is None else int(labels[number]),
        "steps": len(one.inputs),
        "input": _input(model, one.inputs[:, 0]),
        "runs": {role: {"executor": run.executor, "decision": int(run.predictions[0])} for role, run in runs.items()},
        "vendor": {"name": against} | _comparison(model, runs, vendor),
        "layers": [_layer(model, population, runs) for population in model.program.populations],
    }


def _vendor(
    model: CompiledModel,
    one: Samples,
    against: str,
    progress: Callable[[int, int], None] | None,
    timeout_s: float | None,
) -> RunResult | Plain:
    """Return the vendor's run, or why there is none."""
    absent = pipeline.availability(model.profile)[against]
    refused = pipeline.refusals(model).get(against)
    if absent is not None or refused:
        return of_absence(absent or (refused or [])[0])
    try:
        return pipeline.run(model, one, on=against, record_states=True, progress=progress, timeout_s=timeout_s)
    except NeurodeployError as error:
        return of_absence(error)


def _comparison(model: CompiledModel, runs: dict[str, RunResult], vendor: RunResult | Plain) -> Plain:
    if not isinstance(vendor, RunResult):
        return vendor
    return fidelity.plain(fidelity.compare(model.program, vendor, runs["engine"]))


def _input(model: CompiledModel, inputs: np.ndarray) -> Plain:
    """Return what enters (step, *shape): the spikes, or the values of a graded input, flat."""
    port = model.program.input
    plain = {"name": port.name, "shape": list(port.shape), "size": inputs[0].size, "kind": port.kind.value}
    if port.kind is InputKind.SPIKES:
        return plain | {"spikes": _events(inputs)}
    return plain | {"values": inputs.reshape(len(inputs), -1).astype(float).tolist()}


def _events(raster: np.ndarray) -> Plain:
    """Return where a raster (step, *neuron) is not 0: steps and flat neurons, as two lists."""
    steps, neurons = np.nonzero(raster.reshape(len(raster), -1))
    return {"step": steps.tolist(), "neuron": neurons.tolist()}


def _layer(model: CompiledModel, population: Population, runs: dict[str, RunResult]) -> Plain:
    name, firing = population.name, population.neuron.firing
    spikes = {
        role: (run.spikes if role == "source" else model.program.real_values({name: run.spikes[name]}))[name][:, 0]
        for role, run in runs.items()
        if name in run.spikes
    }
    as_is = {"engine", "source"} if firing is Firing.VALUE else {"engine"}
    return {
        "name": name,
        "origin": model.source.origin.get(name),
        "size": population.size,
        "sends": "message" if firing.says_value else "spike",
        "spikes": {role: _events(raster) for role, raster in spikes.items()},
        "differs_from_engine": {
            role: _events(raster != spikes["engine"]) for role, raster in spikes.items() if role not in as_is
        },
        "traces": _traces(model, population, spikes["engine"], runs) if "source" in spikes else [],
    }


def _traces(
    model: CompiledModel, population: Population, spikes: np.ndarray, runs: dict[str, RunResult]
) -> list[Plain]:
    """Return the membranes of the neurons worth looking at, each run's in the source's units, None where not shown."""
    membranes = {
        role: _membrane(population, run, in_integers=role != "source")
        for role, run in runs.items()
        if population.name in run.voltages
    }
    flat, said = spikes.reshape(len(spikes), -1), population.neuron.firing.says_value
    sums = flat.sum(axis=0)
    counts = np.count_nonzero(flat, axis=0) if said else sums
    apart = np.abs(membranes["engine"] - membranes["source"]).max(axis=0)
    if population.name == model.program.output:
        first, *others = np.argsort(-sums, kind="stable").tolist()
        second = f"second in {'its sum' if said else 'spikes'}"
        chosen = dict.fromkeys(others[:1], second) | {first: "the decision"}
    else:
        fires = [neuron for neuron in np.argsort(counts, kind="stable").tolist() if counts[neuron]]
        sent = "messages of those that send" if said else "spikes of those that fire"
        typical = dict.fromkeys(fires[len(fires) // 2 :][:1], f"median {sent}")
        chosen = typical | {int(apart.argmax()): "furthest from the source"}
    thresholds = {
        "source": model.source.populations[population.name].threshold,
        "program": population.constants.values["threshold"],
    }
    return [
        {
            "neuron": neuron,
            "why": why,
            "spikes": int(counts[neuron]),
            "largest_distance": float(apart[neuron]),
            "threshold": None if said else {of: _value(height, neuron) for of, height in thresholds.items()},
            "membrane": {role: _shown(membrane[:, neuron]) for role, membrane in membranes.items()},
        }
        for neuron, why in reversed(chosen.items())
    ]


def _membrane(population: Population, run: RunResult, in_integers: bool) -> np.ndarray:
    """Return the membranes of the one sample (step, neuron), float64, in the source's units."""
    recorded = run.voltages[population.name][:, 0]
    unit = (population.constants.unit or 1 / population.scale) if in_integers else 1.0
    return recorded.reshape(len(recorded), -1).astype(np.float64) * unit


def _value(parameter: np.ndarray, neuron: int) -> float:
    return float(np.asarray(parameter).reshape(-1)[neuron if np.size(parameter) > 1 else 0])


def _shown(trace: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in trace]
