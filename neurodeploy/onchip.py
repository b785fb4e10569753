"""On-chip learning: a compiled model, or its last layers, learns while it runs, and becomes a compiled model again.

                  ┌ body: frozen, any layers
    CompiledModel ┤                                 ┌ engine
                  └ chain: learns ──► real program ─┤            epoch by epoch ──► CompiledModel
                                      (─► integers) └ Lava

Nothing here does arithmetic. `TARGET_RULES` names what each rule is made of; to add a rule, name its parts there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from neurodeploy import datasets, pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.engine import plastic
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.paired import assigned
from neurodeploy.engine.real import run_real
from neurodeploy.errors import Finding, UnsupportedError, UsageError, VerificationError
from neurodeploy.evaluation import energy, trajectories
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind
from neurodeploy.ir.program import Program
from neurodeploy.learning import on_target
from neurodeploy.lowering import lower
from neurodeploy.lowering import paired as paired_lowering
from neurodeploy.lowering import phased as phased_lowering
from neurodeploy.lowering import plastic as plastic_lowering
from neurodeploy.pipeline import CALIBRATION_SAMPLES, Progress, backend_of, refuse_unknown
from neurodeploy.results import LearningRun

PROCESSES = ("fused", "engine")
ARITHMETICS = ("float", "fixed")
AUTHORITIES = ("lava", "lava-models", "source")
BODY_SAMPLES = 256
"""Samples whose spikes are held for every layer of the body at once."""
LIMITS = {
    "fixed": "learning is Lava's bit-approximate engine, bit for bit; Loihi itself rounds differently, says Intel",
    "float": "learned in real numbers, which no Loihi has, and quantized afterwards",
    "neurons": "third factors, errors and what is drawn at random are neurons' work: on Loihi 2 it takes microcode",
    "finish": "features hear no label: which class each stands for is assigned afterwards from labelled samples",
    "host": "the host sends samples and labels and reads weights after an epoch; in the loop it computes nothing",
}
"""What must be known to read a figure of on-chip learning."""


@dataclass(frozen=True)
class TargetRule:
    """The parts of one rule.

    Args:
        options: a dataclass with `plastic`, `initial` and `seed` among its fields.
        lowering: has `chain`, `program` and `with_weights`.
        engine: has `learn` and `trajectory`.
        formats: the backend's module with `integer_program`, `frozen_program` and `real_weights`.
        oracle: "module:function" that reads the rule's table in PyTorch, step by step.
        factors: which the target's learning engine must be able to multiply.
        finish: what the host does with labelled training spikes once the program has learned, for a rule that hears no
            label: (program, spikes (sample, step, input), labels) -> program; None: nothing.
    """

    options: type
    lowering: ModuleType
    engine: ModuleType
    formats: str
    oracle: str
    factors: int = 3
    finish: Callable[[Any, np.ndarray, np.ndarray], Any] | None = None


TARGET_RULES = {
    "eprop": TargetRule(
        plastic_lowering.OnlineOptions,
        plastic_lowering,
        plastic,
        "plastic_formats",
        "neurodeploy.learning.online:learn_online",
    ),
    "decolle": TargetRule(
        plastic_lowering.DecolleOptions,
        plastic_lowering,
        plastic,
        "plastic_formats",
        "neurodeploy.learning.online:learn_online",
    ),
    "spide": TargetRule(
        phased_lowering.SpideOptions,
        phased_lowering,
        plastic,
        "phased_formats",
        "neurodeploy.learning.phased_online:learn_phased",
    ),
    "stdp": TargetRule(
        paired_lowering.STDPOptions,
        paired_lowering,
        plastic,
        "paired_formats",
        "neurodeploy.learning.paired_online:learn_online",
        factors=2,
        finish=assigned,
    ),
    "rstdp": TargetRule(
        paired_lowering.RSTDPOptions,
        paired_lowering,
        plastic,
        "paired_formats",
        "neurodeploy.learning.paired_online:learn_online",
    ),
}


@dataclass(frozen=True, eq=False)
class Task:
    """A model with the part of it that learns, by which rule and in which arithmetic."""

    model: CompiledModel
    name: str
    options: Any
    arithmetic: str

    @property
    def rule(self) -> TargetRule:
        return TARGET_RULES[self.name]

    @property
    def fixed(self) -> bool:
        return self.arithmetic == "fixed"

    @property
    def encoding(self) -> datasets.Encoding:
        assert self.model.program.encoding is not None
        return datasets.Encoding.from_plain(self.model.program.encoding)

    @cached_property
    def formats(self) -> ModuleType:
        return import_module(f"{backend_of(self.model.profile).__name__}.{self.rule.formats}")

    @cached_property
    def network(self) -> Network:
        return lower(self.model.source)

    @cached_property
    def chain(self) -> Network:
        return self.rule.lowering.chain(self.network, self.options.plastic)

    @cached_property
    def body(self) -> Program | None:
        """The program that turns input into the chain's spikes."""
        return None if self.chain is self.network else self.model.program.until(self.chain.input)

    def program(self, epoch: int) -> Any:
        """Return how the chain learns in an epoch, with the weights it begins with."""
        real = self.rule.lowering.program(self.chain, self.encoding.steps, self.options, epoch)
        if self.body is not None:
            real = replace(real, start=self.body.latency_steps)
        if not self.fixed:
            return real
        return self.formats.integer_program(self.model.program, real, self.options.initial == "random")

    def payloads(self, inputs: np.ndarray) -> np.ndarray:
        """Return input in real values (step, sample, *shape) as (sample, step, *shape) of what enters the chip."""
        shape = self.model.program.input.shape
        shaped = inputs.reshape(*inputs.shape[:2], *shape)
        return backend_of(self.model.profile).payloads(self.model.program.input, shaped).swapaxes(0, 1)

    def spikes(self, payloads: np.ndarray) -> np.ndarray:
        """Return what enters the chain, (sample, step, input): spikes, or values as graded as the arithmetic is."""
        if self.body is None:
            flat, port = payloads.reshape(*payloads.shape[:2], -1), self.model.program.input
            return flat if self.fixed or port.kind is InputKind.SPIKES else flat * port.scale
        found = []
        for first in range(0, len(payloads), BODY_SAMPLES):
            block = np.ascontiguousarray(payloads[first : first + BODY_SAMPLES].swapaxes(0, 1))
            spikes = run_fast(self.body, block).spikes[self.body.output]
            found.append(spikes.swapaxes(0, 1).reshape(block.shape[1], len(block), -1))
        return np.concatenate(found)

    def deployed(self, learned: Any, calibration: np.ndarray) -> CompiledModel:
        """Return the model with learned weights; real ones are quantized on `calibration` (step, sample, *shape)."""
        backend = backend_of(self.model.profile)
        if self.fixed:
            program = self.formats.frozen_program(self.model.program, learned)
            source = self.rule.lowering.with_weights(self.network, self.formats.real_weights(program, learned))
        else:
            source = self.rule.lowering.with_weights(self.network, learned)
            program = backend.quantize(source, run_real(source, calibration)[1])
        placement = backend.place(program, self.model.profile)
        return CompiledModel(program, placement, self.model.profile, source, self.model.provenance)


def options(rule: str, **given: Any) -> Any:
    """Return a rule's options from named values.

    Raises:
        UsageError: ND401 for an unknown rule, ND413 for a name that is no option, or a value out of range.
    """
    refuse_unknown("rule on the target", rule, tuple(TARGET_RULES))
    known = [field.name for field in fields(TARGET_RULES[rule].options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        what, why = f"option {', '.join(unknown)}", f"options are {', '.join(known)}"
        raise UsageError(Finding("ND413", "learning", what, why, "use one of these"))
    return TARGET_RULES[rule].options(**given)


def learn(
    model: CompiledModel,
    data: str,
    *,
    rule: str = "eprop",
    on: str = "engine",
    arithmetic: str = "fixed",
    epochs: int = 10,
    limit: int | None = None,
    classes: Collection[int] = (),
    rehearse: int = 0,
    process: str = "fused",
    options: Any = None,
    checkpoint: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    timeout_s: float | None = None,
) -> tuple[CompiledModel, dict[str, Any]]:
    """Let `model` learn from a dataset's training split while it runs, and return the learned model and what happened.

    Args:
        data: a dataset's name; its test split is judged before, after every epoch, and after.
        on: "engine", "lava" or "lava-models".
        arithmetic: "fixed" for the integers of the target's learning engine, "float" for real numbers, which are
            quantized afterwards.
        limit: how many training samples, the first ones.
        classes: learn these only, and present `rehearse` samples of every other class again; none: all.
        process: on Lava, "fused" or "engine": one process, or Lava's own learning engine.
        options: of the rule; None: its defaults.
        checkpoint: where to keep what is learned after every epoch, and to go on from.

    Raises:
        UsageError: ND401 for an unknown rule, executor, arithmetic or process, ND402 when the model records no
            encoding, ND413 for options out of range.
        UnsupportedError: ND146 for a network that cannot learn on its target, ND147 for a target that cannot learn so.
    """
    task = _task(model, rule, arithmetic, options, data)
    refuse_unknown("executor", on, pipeline.executors(model.profile))
    refuse_unknown("process", process, PROCESSES)
    samples = pipeline.read_data(data, model.program.encoding, model.program.input.shape)
    training = datasets.load(data, "train")
    numbers = on_target.chosen(training.labels, limit, classes, rehearse)
    record = {
        "rule": rule,
        "on": on,
        "arithmetic": arithmetic,
        "process": process,
        "data": training.name,
        "epochs": epochs,
        "limit": limit,
        "classes": sorted(classes),
        "rehearse": rehearse,
        "options": asdict(task.options),
        "program": model.fingerprint,
    }
    plan = _plan(task, _executor(task, on, process, timeout_s), samples, training, numbers, record)
    weights, curve, resumed_after = on_target.learn(plan, checkpoint, progress)
    learned = _finished(task, task.program(0).learned(weights), training, numbers)
    after = task.deployed(learned, samples.inputs[:, :CALIBRATION_SAMPLES])
    certificate = record | _outcome(task, learned, curve) | _judged(model, after, samples)
    after = replace(after, provenance=model.provenance | {"learning": certificate})
    return after, certificate | {"resumed_after": resumed_after}


def verify(
    model: CompiledModel,
    *,
    against: str = "lava",
    process: str = "engine",
    limit: int = 2,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> tuple[CompiledModel, dict[str, Any]]:
    """Let a model that has learned go on, in the engine and by an authority, and compare all weights after every step.

    Args:
        model: with a record of how it learned: its rule, options and data are taken again, its weights as they are.
        against: "lava" or "lava-models", whose learning engine it is unless `process` says "fused"; or "source", the
            rule's table in PyTorch, for what was learned in real numbers.
        limit: how many training samples, the first ones of the classes it learned.

    Returns:
        The model with the certificate, and the certificate; see `evaluation.trajectories`.

    Raises:
        UsageError: ND401 for any other authority or process, ND414 for a model that has not learned.
    """
    refuse_unknown("authority on learning", against, AUTHORITIES)
    refuse_unknown("process", process, PROCESSES)
    record = model.provenance.get("learning")
    if record is None:
        why, fix = "its rule, options and data are not recorded", "use an artefact that `neurodeploy learn` wrote"
        raise UsageError(Finding("ND414", "learning", "this model has not learned on a target", why, fix))
    options = TARGET_RULES[record["rule"]].options
    told = {name: tuple(each) if isinstance(each, list) else each for name, each in record["options"].items()}
    task = _task(model, record["rule"], record["arithmetic"], options(**told | {"initial": "trained"}), record["data"])
    training = datasets.load(record["data"], "train")
    numbers = on_target.chosen(training.labels, limit, record["classes"])
    inputs, labels = training.encode(task.encoding, numbers), training.labels[numbers]
    payloads, program = task.payloads(inputs), task.program(0)
    spikes = task.spikes(payloads)
    ours = task.rule.engine.trajectory(program, spikes, labels)
    if against == "source":
        if task.fixed:
            why, fix = "the rule's table is in real numbers", "verify against lava, or learn with --arithmetic float"
            raise UsageError(Finding("ND401", against, "no authority on integers", why, fix))
        module, function = task.rule.oracle.split(":")
        theirs = getattr(import_module(module), function)(program, spikes, labels, trajectory=True)[2]
        expected = "the rule's table in PyTorch"
    else:
        sent = spikes if task.body is None else payloads
        run, theirs = backend_of(model.profile).learn(
            program, sent, labels, body=task.body, on=against, model=process, trajectory=True,
            progress=progress, timeout_s=timeout_s,
        )  # fmt: skip
        expected = run.executor
    certificate = {
        "kind": "learning",
        "against": against,
        "expected": expected,
        "actual": "engine (numba)",
        "program": model.fingerprint,
        "input": {"name": training.name, "steps": len(inputs), "samples": len(spikes)},
        "rule": record["rule"],
        "arithmetic": record["arithmetic"],
        **trajectories.compare(program, theirs, ours),
    }
    return replace(model, certificates=(*model.certificates, certificate)), certificate


def verification_error(certificate: dict[str, Any]) -> VerificationError | None:
    """Return the error of a certificate of learning that failed, or None."""
    first = certificate["first_divergence"]
    if first is None:
        return None
    place = f"step {first['step']}, {first['synapses']}[{first['post']}, {first['pre']}]"
    what = f"{certificate['expected']} has {first['expected']:g}, {certificate['actual']} {first['actual']:g}"
    why, fix = "the same rule, weights and spikes must give the same weights", "report it with the artefact"
    return VerificationError(Finding("ND400", place, what, why, fix), **first)


def _task(model: CompiledModel, rule: str, arithmetic: str, options: Any, data: str) -> Task:
    refuse_unknown("rule on the target", rule, tuple(TARGET_RULES))
    refuse_unknown("arithmetic", arithmetic, ARITHMETICS)
    if model.program.encoding is None:
        raise UsageError(pipeline.no_encoding(data))
    factors = model.profile.data.get("learning.factors")
    if factors is None or factors.value < TARGET_RULES[rule].factors:
        what = f"{rule} multiplies {TARGET_RULES[rule].factors} factors"
        why = "its profile has no learning.factors" if factors is None else f"its learning engine takes {factors.value}"
        fix = "compile for loihi2-sim, or train before deployment with `neurodeploy train`"
        raise UnsupportedError(Finding("ND147", model.profile.id, what, why, fix))
    return Task(model, rule, options or TARGET_RULES[rule].options(), arithmetic)


def _executor(task: Task, on: str, process: str, timeout_s: float | None) -> Callable[..., LearningRun]:
    """Return what runs a program on payloads (sample, step, *shape)."""
    if on == "engine":
        return lambda program, payloads, labels, told: task.rule.engine.learn(
            program, task.spikes(payloads), labels, told
        )
    if task.body is not None and not task.fixed:
        what, why = "a body of integers before a chain of real numbers", "Lava runs one number format at a time"
        fix = "use --arithmetic fixed, or --on engine"
        raise UnsupportedError(Finding("ND146", task.network.place(task.chain.input), what, why, fix))
    learn_on_target = backend_of(task.model.profile).learn

    def execute(program: Any, payloads: np.ndarray, labels: np.ndarray, told: Progress | None) -> LearningRun:
        sent = task.spikes(payloads) if task.body is None else payloads
        return learn_on_target(
            program, sent, labels, body=task.body, on=on, model=process, progress=told, timeout_s=timeout_s
        )[0]

    return execute


def _plan(
    task: Task,
    execute: Callable[..., LearningRun],
    samples: pipeline.Samples,
    training: Any,
    numbers: np.ndarray,
    record: dict[str, Any],
) -> on_target.Plan:
    """Return what is learned from and how; `samples` are judged after every epoch, `numbers` are of those taught."""
    assert samples.labels is not None
    labels, tested = samples.labels, task.spikes(task.payloads(samples.inputs))

    def answer(program: Any) -> np.ndarray:
        return task.rule.engine.learn(_finished(task, program, training, numbers), tested, labels).predictions

    return on_target.Plan(
        task.program,
        lambda program, inputs, taught, told: execute(program, task.payloads(inputs), taught, told),
        answer,
        labels,
        training,
        task.encoding,
        record["epochs"],
        numbers,
        task.options.seed,
        record,
        taught=task.rule.finish is None,
    )


def _finished(task: Task, program: Any, training: Any, numbers: np.ndarray) -> Any:
    """Return `program` after what the rule leaves to the host, which sees the training samples of these `numbers`."""
    if task.rule.finish is None:
        return program
    spikes = task.spikes(task.payloads(training.encode(task.encoding, numbers)))
    return task.rule.finish(program, spikes, training.labels[numbers])


def _judged(model: CompiledModel, learned: CompiledModel, samples: pipeline.Samples) -> dict[str, Any]:
    """Return the test accuracy before and after, of all classes and of each, as deployed."""
    labels = samples.labels
    assert labels is not None
    before, after = (pipeline.run(each, samples) for each in (model, learned))
    return {
        "accuracy_before": pipeline.evaluate(model, samples, before).accuracy,
        "accuracy_after": pipeline.evaluate(learned, samples, after).accuracy,
        "by_class": [
            {
                "class": int(label),
                "before": float(np.mean(before.predictions[labels == label] == label)),
                "after": float(np.mean(after.predictions[labels == label] == label)),
            }
            for label in np.unique(labels)
        ],
        "test_samples": len(labels),
    }


def _outcome(task: Task, learned: Any, curve: list[on_target.Pass]) -> dict[str, Any]:
    """Return the curve, what changed, what it cost, and what must be known to read it."""
    told = () if task.rule.finish is None else ("finish",)
    updates = [row.updates for row in curve if row.updates is not None]
    spent = energy.of_learning(sum(updates), task.model.profile) if len(updates) == len(curve) else None
    return {
        "curve": [asdict(row) for row in curve],
        "body": [] if task.body is None else [population.name for population in task.body.populations],
        "changes": trajectories.changes(task.program(0), learned),
        "learning_energy_joule": None if spent is None else asdict(spent),
        "limits": [LIMITS[name] for name in (task.arithmetic, "neurons", *told, "host")],
    }
