"""The flow, and nothing else: load -> lower -> quantize -> place -> emit -> run -> verify, evaluate.

          Network ------------------> Program -----> CompiledModel ---> RunResult ---> certificate, Evaluation
    load -> lower -> (Network) -> quantize -> place -> emit ------> run ------------> verify, evaluate

Nothing here does arithmetic: each function calls the room that does, in the order of the picture.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from neurodeploy import datasets
from neurodeploy.artifact import CompiledModel, array_fingerprint, load_artifact
from neurodeploy.engine.cells import run_cells, run_plainly
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.real import run_real
from neurodeploy.engine.reference import run_reference
from neurodeploy.errors import Change, Deviation, Finding, UnsupportedError, UsageError, VerificationError
from neurodeploy.evaluation import activity, baselines, chip_counts, energy, fidelity, rounding, traffic
from neurodeploy.evaluation import neurobench as neurobench_metrics
from neurodeploy.exports.nir import export_nir
from neurodeploy.hardware import HardwareProfile, load_profile, target_names, targets_of
from neurodeploy.ir.entering import counted, encoded
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind, grid_levels
from neurodeploy.ir.program import Cell, Neuron
from neurodeploy.lowering import lower
from neurodeploy.results import RunResult

Progress = Callable[[int, int], None]
BACKENDS = {name: f"neurodeploy.backends.{name}" for name in ("loihi2", "spinnaker", "spinnaker2")}
ENGINES = {Neuron: run_fast, Cell: run_cells}
"""The engine of each arithmetic."""
REFERENCES = {Neuron: run_reference, Cell: run_plainly}
"""The same, slow and obvious."""
CALIBRATION_SAMPLES = 256
"""Samples of calibration data that are run in real numbers to measure ranges."""
NEUROBENCH_BATCH = 256
"""Samples in one call of the source when its operations are counted."""
LOIHI_WEIGHT_BITS = 8
"""Of a weight without its exponent, of the several that Loihi offers; other targets' profiles name one."""
NOT_COMPARABLE = "no chip counts beside them: the program has other synapses than its source, layer by layer"


@dataclass(frozen=True, eq=False)
class Samples:
    """Input in real values (step, sample, *input shape), its labels (sample,) or None, and what it is called."""

    name: str
    inputs: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Evaluation:
    """What a run amounts to; accuracy is None without labels, and `sent` without a known mesh, never 0."""

    executor: str
    samples: int
    accuracy: float | None
    latency_steps: int
    activity: activity.Activity
    energy: energy.EnergyReport
    sent: dict[str, traffic.Messages] | None
    baselines: tuple[baselines.Baseline, ...]


@dataclass(frozen=True)
class NeuroBench:
    """NeuroBench's metrics of a source, and the chip's counts beside them.

    Args:
        comparisons: none where the program is not its source's translation, layer by layer; `notes` then says so.
    """

    measured: neurobench_metrics.Measures
    comparisons: tuple[chip_counts.Comparison, ...]
    notes: tuple[str, ...]


def compile(
    model: str | Path | Network,
    target: str | Path | HardwareProfile,
    *,
    calibration: str | Path | None = None,
    steps: int | None = None,
    encoding: datasets.Encoding | None = None,
    allow: Collection[str] = (),
    progress: Progress | None = None,
    **loading: Any,
) -> CompiledModel:
    """Translate `model` for `target`, in memory; `neurodeploy.save_artifact` writes it.

    Args:
        model: a file, "file.py:Net" together with `weights`, or a Network.
        target: a shipped profile's name, the path of a profile, or the profile of an artefact.
        calibration: data (see `read_data`) on which ranges are measured; without it they are bounded from the weights.
        steps: length of the encoding; models that record none get rate coding for spikes, direct current otherwise.
        encoding: how samples become input, in place of what the model records; "direct" and "rows" are currents in
            [0, 1], "counts" whole numbers, the others spikes, but for frames of features.
        allow: codes of substitutions the user accepts.
        loading: weights, example_shape, dt, trust_pickle, semantics of `frontends.load`.

    Raises:
        NeurodeployError: whatever the rooms on the way refuse, with every finding at once.
    """
    profile = target if isinstance(target, HardwareProfile) else load_profile(target)
    backend = backend_of(profile)
    network = model if isinstance(model, Network) else load(model, allow=allow, **loading)
    network = _with_encoding(network, steps, encoding)
    ranges = inputs = None
    if calibration is not None:
        samples = read_data(calibration, network.encoding, network.input_node.shape, CALIBRATION_SAMPLES)
        network, inputs = _covering(network, samples), samples.inputs
    lowered = backend.substitute(lower(network), allow, inputs)
    if inputs is not None:
        ranges = run_real(lowered, inputs, progress)[1]
    program = backend.quantize(lowered, ranges)
    _refuse_unallowed(program.deviations, allow)
    provenance = {
        "model": "a Network" if isinstance(model, Network) else Path(model).name,
        "calibration": None if calibration is None else Path(calibration).name,
        "versions": {name: version(name) for name in ("neurodeploy", "numpy")},
    }
    return CompiledModel(program, backend.place(program, profile), profile, network, provenance)


def load(model: str | Path, **loading: Any) -> Network:
    """Read a trained model; see `frontends.load`."""
    return import_module("neurodeploy.frontends").load(model, **loading)


def save(
    model: str | Path,
    path: str | Path,
    *,
    data: str | Path | None = None,
    steps: int | None = None,
    encoding: datasets.Encoding | None = None,
    **loading: Any,
) -> Network:
    """Write what `model` describes to `path` as `neurodeploy.save` does, whole or not at all, and return the network.

    Args:
        model: "file.py:Net" together with `weights`, or whatever else `frontends.load` reads.
        data: real input (see `read_data`), whose first samples show its range and the grid it lies on.
        steps, encoding: as `compile` takes them, to be recorded in the file.
        loading: as in `compile`.

    Raises:
        UsageError: ND175 when `path` is the file of the weights, or of the module.
        NeurodeployError: whatever keeps the module from being recorded, or the file from being written.
    """
    _refuse_overwriting(Path(path), (str(model).rpartition(":")[0] or str(model), loading.get("weights")))
    network = _with_encoding(load(model, **loading), steps, encoding)
    if data is not None:
        samples = read_data(data, network.encoding, network.input_node.shape, CALIBRATION_SAMPLES)
        network = _covering(network, samples)
    import_module("neurodeploy.frontends.checkpoint").save_network(network, path)
    return network


def export(model: str | Path | Network, out: str | Path, **loading: Any) -> tuple[Network, tuple[Deviation, ...]]:
    """Write `model` to `out` as a NIR file; return its network, and what only the file's metadata says of it.

    Args:
        model: as `compile` takes it; of an artefact, its source.
        loading: allow, weights, example_shape, dt, trust_pickle, semantics of `frontends.load`.

    Raises:
        UsageError: ND007 when an artefact's source is to be read otherwise than it was, ND175 when `out` is `model`.
        UnsupportedError: ND161 when no NIR graph can stand for the network; and whatever `load` refuses.
    """
    if isinstance(model, Network):
        network = model
    elif Path(model).is_dir():
        given = ", ".join(name for name, value in loading.items() if value)
        if given:
            why = "an artefact holds its source as it was read"
            raise UsageError(Finding("ND007", str(model), f"{given} beside an artefact", why, "leave them out"))
        network = load_artifact(model).source
    else:
        _refuse_overwriting(Path(out), (model,))
        network = load(model, **loading)
    return network, export_nir(network, out)


def _refuse_overwriting(path: Path, sources: tuple[str | Path | None, ...]) -> None:
    for source in sources:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            why = "it would be replaced by the model that is read from it"
            raise UsageError(Finding("ND175", str(path), "cannot be written over", why, "choose another -o"))


def read_data(data: str | Path, encoding: dict | None, shape: tuple[int, ...], limit: int | None = None) -> Samples:
    """Return samples of `datasets.NAMES` (the test split, encoded as the model says) or from an .npz file.

    Args:
        encoding: the model's own `datasets.Encoding` in plain form; only datasets by name need one.
        shape: of one input step; flat samples are reshaped to it, any other order of axes is refused.

    Raises:
        LoadError: when the file or dataset cannot be read.
        UsageError: ND402 when the model records no encoding, ND403 when the shape does not fit.
    """
    labels: np.ndarray | None
    if str(data) in datasets.NAMES:
        if encoding is None:
            raise UsageError(no_encoding(str(data)))
        dataset = datasets.load(str(data), limit=limit)
        name, labels = dataset.name, dataset.labels
        inputs = dataset.encode(datasets.Encoding.from_plain(encoding))
    else:
        recording = datasets.load_npz(data)
        name, inputs = recording.name, recording.inputs[:, :limit]
        labels = None if recording.labels is None else recording.labels[:limit]
    found = inputs.shape[2:]
    if found != shape and found != (prod(shape),) and _without_ones(found) != _without_ones(shape):
        raise UsageError(_wrong_shape(name, found, shape))
    return Samples(name, inputs.reshape(*inputs.shape[:2], *shape), labels)


def run(
    model: CompiledModel,
    samples: Samples,
    *,
    on: str = "engine",
    record_states: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run `model` on one of its `executors`.

    Raises:
        UsageError: ND401 for any other executor.
        UnsupportedError: ND220, ND221 for input the model was not compiled for.
    """
    backend = backend_of(model.profile)
    payload = backend.payloads(model.program.input, samples.inputs)
    refuse_unknown("executor", on, executors(model.profile))
    if on == "engine":
        return ENGINES[model.program.arithmetic](model.program, payload, record_states, progress)
    return backend.run(
        model.program, payload, on=on, record_states=record_states, progress=progress, timeout_s=timeout_s
    )


def emit(model: CompiledModel, samples: Samples, form: str = "pynn-script", name: str = "net") -> Any:
    """Return `model` and `samples` as a program of another tool, a value whose `write` takes the path.

    Raises:
        UsageError: ND409 when the target's programs have no such form.
    """
    backend = backend_of(model.profile)
    if form not in backend.FORMS:
        known = ", ".join(backend.FORMS) or f"none for {model.profile.id}"
        fix = "use one of these" if backend.FORMS else "compile for spinnaker1, whose programs can be PyNN scripts"
        raise UsageError(Finding("ND409", form, "no such form", f"known are {known}", fix))
    payload = backend.payloads(model.program.input, samples.inputs)
    return backend.emit(model.program, payload, model.provenance["model"], name)


def map_onto(
    model: CompiledModel,
    samples: Samples | None = None,
    *,
    configuration: Path | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Return where sPyNNaker puts `model`, from its own data; with samples also its energy for the first of them.

    Args:
        configuration: sPyNNaker's, of a machine; without it a virtual board is filled.

    Raises:
        UsageError: ND401 when the target is not sPyNNaker's.
    """
    if "spynnaker" not in executors(model.profile):
        what = "sPyNNaker does not map it"
        why = "it places what is compiled for SpiNNaker 1; `inspect` shows our own plan"
        raise UsageError(Finding("ND401", model.profile.id, what, why, "compile for spinnaker1"))
    backend = backend_of(model.profile)
    if samples is None:
        steps = int(model.profile.value("sdram.steps"))
        return backend.map_onto(model.program, steps=steps, configuration=configuration, timeout_s=timeout_s)
    first = replace(samples, inputs=samples.inputs[:, :1], labels=None)
    payload = backend.payloads(model.program.input, first.inputs)
    counted = activity.count(model.program, payload, run(model, first))
    events = activity.events(model.program, counted)
    return backend.map_onto(model.program, payload, events=events, configuration=configuration, timeout_s=timeout_s)


def verify(
    model: CompiledModel,
    samples: Samples,
    *,
    against: str | None = None,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> tuple[CompiledModel, dict[str, Any]]:
    """Hold the engine against an authority on `samples` and return the model with the certificate, and the certificate.

    Against the family's simulators ("lava", "lava-models"; "nest", "brian2") and "engine" (the reference arithmetic),
    spikes and states must be equal at every step; the first of them is asked when `against` is None. Against "source"
    (the float network in PyTorch) they may differ as far as the recorded roundings reach; the certificate says how much
    they do and whether rounding explains the first difference.

    Raises:
        UsageError: ND401 for any other authority.
    """
    known = authorities(model.profile)
    against = against or known[0]
    refuse_unknown("authority", against, known)
    ours = run(model, samples, on="engine", record_states=True)
    if against == "source":
        theirs = import_module("neurodeploy.frontends.source").run_source(
            model.source, samples.inputs, record_states=True
        )
        outcome = rounding.certify(model, samples.inputs, samples.labels, theirs, ours)
    else:
        payload = backend_of(model.profile).payloads(model.program.input, samples.inputs)
        if against == "engine":
            theirs = REFERENCES[model.program.arithmetic](model.program, payload)
        else:
            theirs = run(model, samples, on=against, record_states=True, progress=progress, timeout_s=timeout_s)
        outcome = fidelity.plain(fidelity.compare(model.program, theirs, ours))
        outcome["verified"] = outcome["equal"]
    certificate = {
        "against": against,
        "expected": theirs.executor,
        "actual": ours.executor,
        "program": model.fingerprint,
        "input": {
            "name": samples.name,
            "steps": samples.inputs.shape[0],
            "samples": samples.inputs.shape[1],
            "sha256": array_fingerprint(samples.inputs),
        },
        **outcome,
    }
    return replace(model, certificates=(*model.certificates, certificate)), certificate


def verification_error(certificate: dict[str, Any]) -> VerificationError | None:
    """Return the error of a certificate that failed, or None."""
    if certificate["verified"]:
        return None
    fix = "compile the model again; if it still differs, report it with the artefact and the input"
    wrong = [
        Finding("ND404", line.split(":")[0], line, "the program is not the rounded source", fix)
        for line in certificate.get("misrounded", ())
    ]
    first = certificate["first_divergence"]
    if first is None or wrong:
        return VerificationError(*wrong, **(first or {}))
    place = f"step {first['step']}, {first['population']}{first['neuron']}, sample {first['sample']}"
    values = (certificate["expected"], first["expected"], certificate["actual"], first["actual"])
    what = "{}: {} has {:g}, {} {:g}".format(first["quantity"], *values)
    return VerificationError(Finding("ND400", place, what, first["likely_cause"], fix), **first)


def evaluate(model: CompiledModel, samples: Samples, result: RunResult) -> Evaluation:
    """Count and judge a run of `model` on `samples`.

    Raises:
        UsageError: ND412 when a label is no output neuron.
    """
    payload = backend_of(model.profile).payloads(model.program.input, samples.inputs)
    kernels = model.placement.kernels  # which lie on their cores, so that no row is fetched
    without_rows = {edge.target for edge in model.program.projections if kernels.get(edge.name, "") is None}
    cores = Counter(slot.population for slot in model.placement.slots if slot.population not in without_rows)
    counted = activity.count(model.program, payload, result, cores)
    going = _traffic(model, payload, result)
    accuracy = None if samples.labels is None else _accuracy(model, samples.labels, result)
    return Evaluation(
        result.executor,
        len(result.predictions),
        accuracy,
        model.program.latency_steps,
        counted,
        energy.estimate(counted, model.profile, going, model.placement.chips),
        None if going is None else going.sent,
        baselines.baselines(model.program, counted),
    )


def _traffic(model: CompiledModel, payload: np.ndarray, result: RunResult) -> traffic.Traffic | None:
    """Return where events go, if the profile says how its cores lie."""
    if not all(key in model.profile.data for key in energy.MESH):
        return None
    on_core, shares = backend_of(model.profile).on_core, defaultdict(list)
    for slot, (chip, core) in zip(model.placement.slots, model.placement.seats, strict=True):
        population = model.program.population(slot.population)
        members = on_core(population, slot.start, slot.stop)
        shares[population.name].append(traffic.Share(members, chip, core))
    mesh = traffic.Mesh(*(int(model.profile.value(key)) for key in energy.MESH))
    return traffic.count(model.program, payload, result, shares, mesh)


def neurobench(
    model: CompiledModel,
    samples: Samples,
    result: RunResult,
    *,
    batch: int = NEUROBENCH_BATCH,
) -> NeuroBench:
    """Measure the source by NeuroBench's definitions on the same samples, and say where the chip's counts differ.

    Args:
        result: of `model` on `samples`.
        batch: samples per call of the source, on which NeuroBench's split into MACs and ACs depends.

    Raises:
        UsageError: ND008 when `batch` is below 1.
    """
    moments = import_module("neurodeploy.frontends.source").moments(model.source, samples.inputs, batch=batch)
    measured = neurobench_metrics.measure(model.source, moments, samples.inputs.shape[1], samples.labels)
    lowered, program = lower(model.source), model.program
    if not chip_counts.comparable(lowered, program):
        return NeuroBench(measured, (), (*measured.notes, NOT_COMPARABLE))
    payload = backend_of(model.profile).payloads(program.input, samples.inputs)
    counted = activity.count(program, payload, result)
    bits = LOIHI_WEIGHT_BITS if program.arithmetic is Neuron else model.profile.value("numeric.weight_bits")
    subject = chip_counts.Subject(
        model.source, lowered, program, measured, counted, payload, result, samples.labels, bits
    )
    return NeuroBench(measured, chip_counts.compare(subject), (*measured.notes, *chip_counts.notes(subject)))


def availability(profile: HardwareProfile) -> dict[str, Finding | None]:
    """Return for each executor of a target the finding that keeps it from running here, with its remedy, or None."""
    backend = backend_of(profile)
    return {"engine": None} | {executor: backend.missing(executor) for executor in backend.EXECUTORS}


def refusals(model: CompiledModel) -> dict[str, list[Finding]]:
    """Return for each executor that has no exact cells for a compiled model, why; the others run it as it is."""
    backend = backend_of(model.profile)
    found = {executor: backend.refusals(model.program, executor) for executor in backend.EXECUTORS}
    return {executor: findings for executor, findings in found.items() if findings}


def executors(profile: HardwareProfile) -> tuple[str, ...]:
    """Return what can run a program compiled for a target: the engine, and what its family has."""
    return ("engine", *backend_of(profile).EXECUTORS)


def authorities(profile: HardwareProfile) -> tuple[str, ...]:
    """Return what the engine can be held against, the usual one first."""
    return (*backend_of(profile).AUTHORITIES, "engine", "source")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def backend_of(profile: HardwareProfile) -> ModuleType:
    """Return the backend that a profile names.

    Raises:
        UsageError: ND125 when it names none, ND401 when there is none of this name.
    """
    if not profile.backend:
        targets = targets_of(profile)
        fix = f"compile for {' or '.join(targets)}" if targets else f"the targets are {', '.join(target_names())}"
        why = "nothing here runs on it: the profile says what it has and what it takes, and names no backend"
        raise UsageError(Finding("ND125", profile.id, "numbers of hardware, not a target", why, fix))
    refuse_unknown("backend", profile.backend, tuple(BACKENDS))
    return import_module(BACKENDS[profile.backend])


def _with_encoding(network: Network, steps: int | None, encoding: datasets.Encoding | None) -> Network:
    """Set the encoding, or the length of the recorded one; a network without one gets the plainest for its input."""
    if encoding is not None:
        before = (network.encoding or {}).get("kind")
        entering = {network.input: encoded(network.input_node, encoding.kind, before)}
        return replace(network, encoding=encoding.to_plain(), nodes=network.nodes | entering)
    if steps is None:
        return network
    plainest = "rate" if network.input_node.kind is InputKind.SPIKES else "direct"
    recorded = network.encoding or datasets.Encoding(plainest, steps).to_plain()
    return replace(network, encoding={**recorded, "steps": steps})


def _covering(network: Network, samples: Samples) -> Network:
    """Widen the input to what the calibration data hold."""
    node, inputs = network.input_node, samples.inputs
    binary = node.kind is InputKind.SPIKES and bool(np.isin(inputs, (0, 1)).all())
    low, high = min(node.low, float(inputs.min())), max(node.high, float(inputs.max()))
    wider = replace(
        node,
        kind=InputKind.SPIKES if binary else InputKind.GRADED,
        low=low,
        high=high,
        levels=grid_levels(inputs, high),
    )
    if (network.encoding or {}).get("kind") == "counts":
        wider = counted(node.shape, float(inputs.max()))
    return replace(network, nodes=network.nodes | {network.input: wider})


def _refuse_unallowed(deviations: Collection[Any], allow: Collection[str]) -> None:
    refused = [d for d in deviations if d.change is Change.SUBSTITUTION and d.code not in allow]
    if refused:
        raise UnsupportedError(
            *(Finding(d.code, d.place, d.what, "the meaning would change", f"--allow {d.code}") for d in refused)
        )


def refuse_unknown(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is none of those known.

    Raises:
        UsageError: ND401.
    """
    if name not in known:
        raise UsageError(Finding("ND401", name, f"no such {kind}", f"known are {', '.join(known)}", "use one of these"))


def no_encoding(data: str) -> Finding:
    """Say that images of `data` have no way in."""
    return Finding(
        "ND402",
        data,
        "the model does not say how images become input over time",
        "an encoding is part of what the network was trained with, so it is not guessed",
        "compile with --steps T (rate coding for spikes, direct current otherwise), or save the model with encoding=",
    )


def _accuracy(model: CompiledModel, labels: np.ndarray, result: RunResult) -> float:
    """Return the share of decisions that are the label; labels must be output neurons."""
    outputs = model.program.population(model.program.output).size
    if labels.max(initial=0) >= outputs:
        what, why = f"labels reach {int(labels.max())}", f"the model has {outputs} outputs, numbered from 0"
        raise UsageError(Finding("ND412", "labels", what, why, "renumber the labels from 0"))
    return float(np.mean(result.predictions == labels))


def _wrong_shape(name: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> Finding:
    return Finding(
        "ND403",
        name,
        f"samples of shape {found}",
        f"the model reads {wanted} per step, channels first, and axes are not guessed",
        "give data of the model's own shape, as (step, sample, *neuron), or flat in its order",
    )
