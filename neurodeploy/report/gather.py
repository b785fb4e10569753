"""An artefact and data as one document: everything that is measured for a report, as plain values.

Nothing is measured while a document is drawn, so a page, a text and the document itself say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from neurodeploy import pipeline, summary
from neurodeploy.artifact import CompiledModel
from neurodeploy.errors import Finding, UsageError
from neurodeploy.evaluation.uncertainty import wilson
from neurodeploy.pipeline import Samples
from neurodeploy.report import decisions, one_sample, provenance, weights
from neurodeploy.report.representation import representation
from neurodeploy.report.robustness import robustness
from neurodeploy.summary import Plain

Progress = Callable[[str, int, int], None]
VERSIONS = ("neurodeploy", "numpy", "torch", "snntorch")
"""Packages whose versions a report states."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An artefact to report on: where it is, what it holds, and data for it, or what keeps data from being read.

    Args:
        data: the name or path the data were asked for by, for the commands.
    """

    path: Path
    model: CompiledModel
    data: str
    samples: Samples | Finding


@dataclass(frozen=True)
class Request:
    """What to measure: accuracy on the first `limit` samples, and the one numbered `sample` in full.

    Args:
        against: the executor that runs that one too; None: the target's usual authority.
        quick: whether attacks and measures of representation are left out, which take most of the time.
    """

    limit: int
    sample: int
    against: str | None = None
    quick: bool = False
    timeout_s: float | None = None


def document(subjects: Sequence[Subject], request: Request, progress: Progress | None = None) -> Plain:
    """Return the report on `subjects` as plain values.

    Raises:
        UsageError: ND401 for an unknown executor, ND420 for a sample that the data do not have, ND412 for labels that
            are no outputs.
        UnsupportedError: ND220 to ND222 for input a model was not compiled for.
    """
    for subject in subjects:
        _check(subject, request)
    artifacts = [_artifact(subject, request, progress) for subject in subjects]
    return {
        "kind": "report",
        "versions": {name: version(name) for name in VERSIONS},
        "samples": request.limit,
        "artifacts": artifacts,
        "comparison": [_row(artifact) for artifact in artifacts] if len(artifacts) > 1 else [],
    }


def _check(subject: Subject, request: Request) -> None:
    known = tuple(name for name in pipeline.authorities(subject.model.profile) if name not in ("engine", "source"))
    if request.against is not None:
        pipeline.refuse_unknown("simulator of its vendor", request.against, known)
    if isinstance(subject.samples, Samples) and request.sample >= subject.samples.inputs.shape[1]:
        there = subject.samples.inputs.shape[1]
        what, why = f"there is no sample {request.sample}", f"{subject.samples.name} has {there:,}, numbered from 0"
        raise UsageError(Finding("ND420", "--sample", what, why, f"choose one from 0 to {there - 1}"))


def _artifact(subject: Subject, request: Request, progress: Progress | None) -> Plain:
    model, name = subject.model, subject.path.name
    against = request.against or pipeline.authorities(model.profile)[0]
    plain = {
        "name": name,
        "model": summary.of_model(model),
        **_measured(subject, request, against, progress),
        "weights": weights.of(model),
        "cores": _cores(model),
        "learning": _learning(model, name),
        **_probed(subject, request, progress),
        "provenance": provenance.of(
            model, subject.path.resolve(), subject.data, against, request.limit, request.sample
        ),
    }
    return {**plain, "headline": _headline(plain)}


def _measured(subject: Subject, request: Request, against: str, progress: Progress | None) -> Plain:
    """Return what takes data: accuracy, activity and energy, and one sample in full."""
    model, samples = subject.model, subject.samples
    if isinstance(samples, Finding):
        return dict.fromkeys(("decisions", "evaluation", "sample"), summary.of_absence(samples))

    def told(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total)

    first = _first(samples, request.limit)
    result = pipeline.run(model, first, progress=told(f"running {subject.path.name}"))
    evaluation = pipeline.evaluate(model, first, result)
    return {
        "decisions": decisions.of(model, first, result, told("running the source")),
        "evaluation": summary.of_evaluation(model, first, evaluation),
        "sample": one_sample.of(model, samples, request.sample, against, told(f"on {against}"), request.timeout_s),
    }


def _probed(subject: Subject, request: Request, progress: Progress | None) -> Plain:
    """Return what attacks and measures of representation find, on the first samples."""
    model, samples = subject.model, subject.samples
    if isinstance(samples, Finding):
        return dict.fromkeys(("robustness", "representation"), summary.of_absence(samples))
    if request.quick:
        left_out = {"unavailable": "left out of a quick report", "fix": "make it again without --quick"}
        return dict.fromkeys(("robustness", "representation"), left_out)
    first = _first(samples, request.limit)
    return {
        "robustness": robustness(model, first, progress=progress),
        "representation": representation(model, first, progress=progress),
    }


def _first(samples: Samples, limit: int) -> Samples:
    labels = None if samples.labels is None else samples.labels[:limit]
    return Samples(samples.name, samples.inputs[:, :limit], labels)


def _cores(model: CompiledModel) -> Plain:
    """Return every core with its chip and place there, the layer on it, and the resource of which it uses most."""
    placement = model.placement
    cores = []
    for slot, (chip, seat) in zip(placement.slots, placement.seats, strict=True):
        shares = {name: slot.used[name] / most for name, most in placement.available.items()}
        fullest = max(shares, key=lambda name: shares[name])
        cores.append(
            {
                "core": slot.core,
                "chip": chip,
                "seat": seat,
                "population": slot.population,
                "neurons": slot.stop - slot.start,
                "fullest": fullest,
                "share": shares[fullest],
                "used": slot.used,
            }
        )
    return {
        "chips": placement.chips,
        "cores_per_chip": placement.cores_per_chip,
        "available": placement.available,
        "assumed": list(placement.assumed),
        "shared": list(placement.shared),
        "cores": cores,
    }


def _learning(model: CompiledModel, name: str) -> Plain:
    """Return how it learned on its target, its scores with their intervals."""
    record = model.provenance.get("learning")
    if record is None:
        fix = f"neurodeploy learn {name} --rule eprop --data DATA -o LEARNED.ndc"
        return {"unavailable": "it has not learned on its target", "fix": fix}
    n = record["test_samples"]
    spans = {
        f"{when}_interval_95": list(wilson(round(record[f"accuracy_{when}"] * n), n)) for when in ("before", "after")
    }
    return {**record, **spans}


def _headline(plain: Plain) -> Plain:
    """Return the numbers that are looked for first."""
    evaluation = energy = plain["evaluation"]
    certificates = plain["model"]["certificates"]
    ran = [each for each in certificates if each.get("kind") != "learning"]
    learned = [each["against"] for each in certificates if each not in ran and each["verified"]]
    if "unavailable" not in evaluation:
        per_sample = {key: evaluation["energy_j"][key] / evaluation["samples"] for key in ("value", "low", "high")}
        energy = per_sample | {"model": evaluation["energy_j"]["model"], "status": evaluation["energy_j"]["status"]}
    return {
        "accuracy": plain["decisions"]["program"] if "program" in plain["decisions"] else plain["decisions"],
        "verified_against": list(dict.fromkeys(each["against"] for each in ran if each["verified"])),
        "learning_verified_against": list(dict.fromkeys(learned)),
        "failed_against": list(dict.fromkeys(each["against"] for each in ran if not each["verified"])),
        "energy_j_per_sample": energy,
        "cores": plain["model"]["placement"]["cores"],
        "chips": plain["model"]["placement"]["chips"],
        "latency_steps": plain["model"]["latency_steps"],
    }


def _row(artifact: Plain) -> Plain:
    """Return what artefacts are compared by."""
    evaluation, model = artifact["evaluation"], artifact["model"]
    measured = "unavailable" not in evaluation
    return {
        "name": artifact["name"],
        "target": model["target"],
        "data": evaluation["data"] if measured else None,
        **artifact["headline"],
        "spikes_per_sample": evaluation["spikes"] / evaluation["samples"] if measured else None,
        "synops_per_sample": evaluation["synops"] / evaluation["samples"] if measured else None,
        "substitutions": model["substitutions"],
    }
