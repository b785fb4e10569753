"""What models, runs and targets say about themselves, as plain JSON values: the answers of the commands.

Every command prints one of these, as tables or, with --json, as it is.
"""

from __future__ import annotations

from dataclasses import asdict
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.artifact import CompiledModel
from neurodeploy.errors import Change, Deviation, Finding, NeurodeployError
from neurodeploy.evaluation.activity import FORMATS
from neurodeploy.evaluation.neurobench import VERSION
from neurodeploy.evaluation.timing import Duration
from neurodeploy.evaluation.uncertainty import wilson
from neurodeploy.evaluation.validation import points
from neurodeploy.frontends.nir_semantics import recognized
from neurodeploy.frontends.nir_shapes import Shaped
from neurodeploy.hardware import HardwareProfile, Placement, targets_of, utilization
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Firing,
    Input,
    Linear,
    MaxPool,
    Node,
    Reshape,
    Scale,
    SparseLinear,
)
from neurodeploy.ir.program import Cell, ConvSynapses, Neuron, Population, Program, Projection
from neurodeploy.learning import rule
from neurodeploy.pipeline import LOIHI_WEIGHT_BITS, Evaluation, NeuroBench, Samples, refusals
from neurodeploy.results import RunResult

if TYPE_CHECKING:
    from neurodeploy.learning.training import Outcome

Plain = dict[str, Any]


def of_training(outcome: Outcome) -> Plain:
    """Return what was trained, how the network got there and how it scores, with the interval that score has."""
    chosen = outcome.settings
    hits = round(outcome.test_accuracy * outcome.test_samples)
    return {
        "kind": "training",
        "rule": chosen.rule,
        "rule_in_words": rule(chosen.rule).says,
        "dataset": chosen.dataset,
        "architecture": chosen.arch,
        "layers": [list(node.shape) for node in outcome.network.populations.values()],
        "parameters": sum(_parameters(node) for node in outcome.network.nodes.values()),
        "encoding": chosen.encoding.to_plain(),
        "seed": chosen.seed,
        "train_samples": outcome.train_samples,
        "test_samples": outcome.test_samples,
        "test_accuracy": outcome.test_accuracy,
        "test_interval_95": list(wilson(hits, outcome.test_samples)),
        "epochs": len(outcome.curve),
        "kept_epoch": outcome.kept_epoch + 1,
        "resumed_after": outcome.resumed_after,
        "seconds": sum(epoch.seconds for epoch in outcome.curve),
        "appraisal": outcome.appraisal,
        "curve": [asdict(epoch) for epoch in outcome.curve],
        "settings": chosen.to_plain(),
    }


def _parameters(node: Node) -> int:
    arrays = (getattr(node, key, None) for key in ("weight", "data", "bias"))
    return sum(array.size for array in arrays if isinstance(array, np.ndarray))


def of_model(model: CompiledModel) -> Plain:
    """Return what was translated: layers, number formats, placement, deviations, certificates."""
    program, placement = model.program, model.placement
    return {
        "kind": "compiled model",
        "target": model.profile.id,
        "target_name": model.profile.name,
        "fingerprint": model.fingerprint,
        "dt_s": program.dt_s,
        "readout": program.readout.value,
        "latency_steps": program.latency_steps,
        "encoding": program.encoding,
        "input": _input_port(program),
        "layers": [_layer(model, population) for population in program.populations],
        "output": program.output,
        "placement": _placement(placement),
        **_deviations(program.deviations),
        "refused_by": {
            executor: [asdict(finding) for finding in findings] for executor, findings in refusals(model).items()
        },
        "certificates": list(model.certificates),
        "provenance": model.provenance,
    }


def of_network(network: Network) -> Plain:
    """Return what a model file means before any target: nodes, edges, encoding, and what already differs."""
    return {
        "kind": "network",
        "dt_s": network.dt_s,
        "readout": network.readout.value,
        "encoding": network.encoding,
        "input": {**asdict(network.input_node), "name": network.input},
        "output": network.output,
        "nodes": [_node(network, name, node) for name, node in network.nodes.items()],
        "edges": [asdict(edge) for edge in network.edges],
        **_deviations(network.deviations),
    }


def of_export(network: Network, unsaid: tuple[Deviation, ...]) -> Plain:
    """Return what a NIR file was written of: the network, how it was read, and what only the metadata says."""
    return {
        "kind": "export",
        "format": "NIR",
        "network": of_network(network),
        "unsaid": [asdict(deviation) for deviation in unsaid],
    }


def of_graph(fitted: Shaped) -> Plain:
    """Return what a NIR file holds once it is repaired, what was repaired, and what the file gives away of its step."""
    graph, convention = fitted.graph, recognized(fitted.graph)
    sources = graph.sources()
    return {
        "kind": "NIR graph",
        "file": graph.file,
        "version": graph.version,
        "nodes": [
            {"name": name, "kind": record.kind, "shape": list(fitted.made[name]), "reads": sources.get(name, [])}
            for name, record in graph.nodes.items()
        ],
        "repairs": [asdict(repair) for repair in graph.repairs],
        "convention": None if convention is None else asdict(convention),
    }


def of_run(model: CompiledModel, samples: Samples, result: RunResult) -> Plain:
    """Return who ran what, and what came out; accuracy is None without labels."""
    labels = samples.labels
    return {
        "executor": result.executor,
        "target": model.profile.id,
        "data": samples.name,
        "steps": samples.inputs.shape[0],
        "samples": samples.inputs.shape[1],
        "seconds": result.seconds,
        "steps_on_chip": result.steps_on_chip,
        "spikes": {name: int(np.count_nonzero(spikes)) for name, spikes in result.spikes.items()},
        "predictions": result.predictions.tolist(),
        "labels": None if labels is None else labels.tolist(),
        "accuracy": None if labels is None else float(np.mean(result.predictions == labels)),
        "substitutions": substitutions(model.program.deviations),
    }


def arrays_of_run(model: CompiledModel, result: RunResult) -> dict[str, np.ndarray]:
    """Return the arrays of a result file, all (step, sample, *neuron) but `predictions`.

    `output_spikes` has its neurons flat; every population's spikes are under its name, and its recorded states under
    NAME.u (current) and NAME.v (membrane, after the reset). A population named like one of the two is under NAME.s.
    """
    output = result.spikes[model.program.output]
    own = {"output_spikes": output.reshape(*output.shape[:2], -1), "predictions": result.predictions}
    return own | {
        **{f"{name}.s" if name in own else name: spikes for name, spikes in result.spikes.items()},
        **{f"{name}.u": currents for name, currents in result.currents.items()},
        **{f"{name}.v": voltages for name, voltages in result.voltages.items()},
    }


def of_evaluation(model: CompiledModel, samples: Samples, evaluation: Evaluation) -> Plain:
    """Return every metric in total and per layer, with what the energy figure rests on and leaves out."""
    activity, energy = evaluation.activity, evaluation.energy
    neurons = sum(layer.neurons for layer in activity.layers)
    layers = [
        {
            "name": layer.name,
            "neurons": layer.neurons,
            "spikes": layer.spikes,
            "firing_rate": layer.firing_rate,
            "synops": sum(layer.synops.values()),
            "synops_by_format": layer.synops,
            "neuron_updates": layer.neuron_updates,
            "active_updates": layer.active_updates,
            **_sent(evaluation, layer.name),
            "energy_j": _energy(energy.layers[layer.name]),
        }
        for layer in activity.layers
    ]
    return {
        "executor": evaluation.executor,
        "target": model.profile.id,
        "data": samples.name,
        "samples": evaluation.samples,
        "steps": activity.steps,
        "accuracy": evaluation.accuracy,
        "latency_steps": evaluation.latency_steps,
        "input_spikes": activity.input_spikes,
        "spikes": activity.spikes,
        "synops": activity.synops,
        "neuron_updates": activity.neuron_updates,
        "firing_rate": activity.spikes / (neurons * activity.steps * activity.samples),
        "energy_j": {**_energy(energy.total), "status": energy.status, "model": energy.model},
        "energy_models": [
            {"name": name, "kind": model.profile.tables["energy_models"][name]["kind"], **_energy(figure)}
            for name, figure in energy.models.items()
        ],
        "time": None if energy.time is None else _time(evaluation, energy.time),
        "static": [
            {
                "scope": static.scope,
                "chips": static.chips,
                **_ends(static.joule),
                "watt": static.datum.value,
                "status": static.datum.status,
            }
            for static in energy.static
        ],
        "baselines": [
            {"name": each.name, "device": each.device, "basis": each.basis, **_energy(each.energy)}
            for each in evaluation.baselines
        ],
        "sources": {"spikes": activity.input_spikes + activity.bias_spikes, "energy_j": _energy(energy.sources)},
        "layers": layers,
        "used": list(energy.used),
        "assumed": list(energy.assumed),
        "left_out": list(energy.left_out),
        "substitutions": substitutions(model.program.deviations),
    }


def of_neurobench(found: NeuroBench) -> Plain:
    """Return NeuroBench's metrics under its names, and the chip's counts of the same with what they differ by."""
    measured = found.measured
    return {
        "definitions": f"NeuroBench {VERSION}",
        "subject": "source",
        "batch": measured.batch,
        "samples": measured.samples,
        "metrics": measured.results(),
        "unavailable": measured.unavailable,
        "on_chip": [asdict(comparison) for comparison in found.comparisons],
        "notes": list(found.notes),
    }


def _sent(evaluation: Evaluation, layer: str) -> Plain:
    """Return the messages and hops of a layer; None where nothing is known of a chip's mesh."""
    if evaluation.sent is None:
        return {"messages": None, "hops": None, "off_chip": None}
    sent = evaluation.sent[layer]
    return {"messages": sent.messages, "hops": sent.hops_ew + sent.hops_ns, "off_chip": sent.off_chip}


def _time(evaluation: Evaluation, taken: Duration) -> Plain:
    """Return times in seconds of all samples, of a step, and from an input to the answer to it."""
    latency_s = tuple(evaluation.latency_steps * end for end in taken.step_s)
    ends = {"seconds": _ends(taken.seconds), "step_s": _ends(taken.step_s), "latency_s": _ends(latency_s)}
    return ends | {"rule": taken.rule}


def _ends(ends: tuple[float, ...]) -> Plain:
    return dict(zip(("value", "low", "high"), ends, strict=True))


def of_mapping(model: CompiledModel, report: Plain) -> Plain:
    """Return where sPyNNaker put a model, beside our own estimate, and whether its weights arrived as they are."""
    names = list(dict.fromkeys(core["population"] for core in report["cores"]))
    exponents = {population.name: population.cell.exponents for population in model.program.populations}
    return {
        "kind": "mapping",
        "target": model.profile.id,
        "fingerprint": model.fingerprint,
        **{key: report[key] for key in ("spynnaker", "virtual", "milliseconds", "boards", "seconds", "system_cores")},
        "chips": len({tuple(core["chip"]) for core in report["cores"]}),
        "populations": [_mapped(model.placement, report, name) for name in names],
        "total": _mapped(model.placement, report, None),
        "routing": report["routing"] | {"available": int(model.profile.value("limits.chip.router_entries"))},
        "weights": [
            row | {"exact": row["scales"] == [2.0**-exponent for exponent in exponents[row["population"]]]}
            for row in report["weights"]
        ],
        "synapses": sum(projection["synapses"] for projection in report["projections"]),
        "kernel_weights": sum(kernels["weights"] for kernels in report["kernels"]),
        "synapses_that_differ": sum(row["differ"] for row in (*report["projections"], *report["kernels"])),
        "kernels": model.placement.kernels,
        "energy": report["energy"],
        **{key: report[key] for key in ("cores", "keys")},
    }


def _mapped(placement: Placement, report: Plain, name: str | None) -> Plain:
    """Return the cores and the SDRAM of a population or source, or of all of them, as planned and as estimated."""
    planned = [core for core in report["cores"] if name in (None, core["population"])]
    estimated = [slot for slot in placement.slots if name in (None, slot.population)]
    return {
        "name": name,
        "neurons": sum(core["stop"] - core["start"] for core in planned),
        "cores": len(planned),
        "sdram": sum(core["sdram"] for core in planned),
        "sdram_of_fullest_core": max(core["sdram"] for core in planned),
        "estimated_cores": len(estimated),
        "estimated_sdram": sum(slot.used["sdram"] for slot in estimated),
    }


def of_absence(reason: NeurodeployError | Finding) -> Plain:
    """Return why a figure cannot be had and what would help, in place of the figure."""
    finding = reason if isinstance(reason, Finding) else reason.findings[0]
    return {"unavailable": f"{finding.what}: {finding.why}", "fix": finding.fix}


def of_profile(profile: HardwareProfile) -> Plain:
    """Return every datum of a profile with unit, status and sources, and the sources in full."""
    data = [
        {
            "key": datum.key,
            "value": datum.value,
            "low": datum.low,
            "high": datum.high,
            "unit": datum.unit,
            "status": datum.status,
            "sources": list(datum.sources),
            "note": datum.note,
        }
        for datum in profile.data.values()
    ]
    return {
        "kind": "target",
        "id": profile.id,
        "name": profile.name,
        "backend": profile.backend or None,
        "targets": targets_of(profile),
        "data": data,
        "sources": profile.sources,
        "validation": [asdict(point) for point in points(profile)],
    }


def of_executor(name: str, missing: Finding | None) -> Plain:
    """Return whether an executor works here, and if not why and which command mends it."""
    if missing is None:
        return {"name": name, "available": True, "why": None, "fix": None}
    return {"name": name, "available": False, "why": missing.what, "fix": missing.fix}


def _input_port(program: Program) -> Plain:
    return {**asdict(program.input), "kind": program.input.kind.value, "shape": list(program.input.shape)}


def _layer(model: CompiledModel, population: Population) -> Plain:
    neuron = population.neuron
    return {
        "name": population.name,
        "origin": model.source.origin.get(population.name),
        "shape": list(population.shape),
        "neurons": population.size,
        "reset": neuron.reset.value,
        "firing": neuron.firing.value,
        "latency_steps": population.latency_steps,
        "scale": population.scale,
        "numbers": _numbers(neuron),
        "inputs": [_projection(model, projection, neuron) for projection in model.program.incoming(population.name)],
        "cores": [slot.core for slot in model.placement.slots if slot.population == population.name],
    }


def _numbers(neuron: Neuron | Cell) -> Plain:
    """Return each integer's span, and the exponents, under the names that the backend's documentation uses."""
    if isinstance(neuron, Cell):
        spans = {"beta": neuron.beta, "theta": neuron.theta, "bias": neuron.bias}
        spans |= {} if neuron.alpha is None else {"alpha": neuron.alpha}
        exponents: Plain = {"exponents": list(neuron.exponents)}
    else:
        spans = {"du": neuron.du, "dv": neuron.dv, "vth": neuron.vth, "bias_mantissa": neuron.bias_mantissa}
        spans |= {} if neuron.floor is None else {"floor": neuron.floor}
        spans |= {} if neuron.firing is not Firing.MULTIPLE else {"most": np.array(neuron.most)}
        spans |= {} if not neuron.sigma_delta else {"activation_shift": np.array(neuron.activation_shift)}
        exponents = {"bias_exponent": neuron.bias_exponent}
    return {name: [int(values.min()), int(values.max())] for name, values in spans.items()} | exponents


def _projection(model: CompiledModel, projection: Projection, target: Neuron | Cell) -> Plain:
    synapses, in_cells = projection.synapses, isinstance(target, Cell)
    plain = {
        "name": projection.name,
        "from": projection.source,
        "format": FORMATS[type(synapses)],
        "weights": int(synapses.mantissa.size),
        "weight_bits": model.profile.value("numeric.weight_bits") if in_cells else LOIHI_WEIGHT_BITS,
        "exponent": list(target.exponents) if isinstance(target, Cell) else projection.exponent,
        "recurrent": projection.recurrent,
    }
    if isinstance(synapses, ConvSynapses):
        plain["kernel"] = list(synapses.mantissa.shape)
    return plain


def _placement(placement: Placement) -> Plain:
    fullest = {
        name: max((slot.used[name] / available for slot in placement.slots), default=0.0)
        for name, available in placement.available.items()
    }
    return {
        "cores": placement.cores,
        "chips": placement.chips,
        "cores_per_chip": placement.cores_per_chip,
        "fullest": fullest,
        "assumed": list(placement.assumed),
        "kernels": placement.kernels,
        "utilization": utilization(placement),
    }


def _deviations(deviations: tuple[Deviation, ...]) -> Plain:
    return {"deviations": [asdict(deviation) for deviation in deviations], "substitutions": substitutions(deviations)}


def substitutions(deviations: tuple[Deviation, ...]) -> list[str]:
    """Return the codes of what was changed with the user's leave: every report carries them."""
    return sorted({deviation.code for deviation in deviations if deviation.change is Change.SUBSTITUTION})


def _node(network: Network, name: str, node: Node) -> Plain:
    return {
        "name": name,
        "kind": type(node).__name__,
        "origin": network.origin.get(name),
        "shape": list(node.shape),
        "says": _says(node),
    }


def _says(node: Node) -> str:
    """Return the parameters that tell one node of a kind from another, in a few words."""
    match node:
        case LIF(_, beta, threshold, reset, alpha, gain):
            parts = [f"reset {reset.value}", f"beta {_span(beta)}", f"threshold {_span(threshold)}"]
            parts += [] if node.firing is Firing.ABOVE else [f"firing {node.firing.value}"]
            others = (("floor", node.floor), ("alpha", alpha), ("gain", gain), ("bias", node.bias))
            parts += [f"{name} {_span(value)}" for name, value in others if value is not None]
            return ", ".join(parts)
        case Input():
            return f"{node.kind.value}, {node.low:g} to {node.high:g}"
        case Linear(weight, bias):
            return f"weight {_times(weight.shape)}{'' if bias is None else ', bias'}"
        case SparseLinear():
            return f"{node.data.size:,} weights{'' if node.bias is None else ', bias'}"
        case Conv():
            geometry = f"stride {_times(node.stride)}, padding {_times(node.padding)}, dilation {_times(node.dilation)}"
            groups = "" if node.groups == 1 else f", groups {node.groups}"
            return f"weight {_times(node.weight.shape)}, {geometry}{groups}{'' if node.bias is None else ', bias'}"
        case AveragePool() | MaxPool():
            return f"kernel {_times(node.kernel)}, stride {_times(node.stride)}, padding {_times(node.padding)}"
        case Reshape() | Scale():
            return f"{prod(node.shape):,} values"


def _span(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _times(values: tuple[int, ...]) -> str:
    return "x".join(str(value) for value in values)


def _energy(energy: Any) -> Plain:
    return {"value": energy.joule, "low": energy.low, "high": energy.high}
