"""On-chip learning: a compiled model, or its last layers, learns while it runs, and becomes a compiled model again.

                  ┌ body: frozen, any layers
    CompiledModel ┤                                 ┌ engine
                  └ chain: learns ──► real program ─┤            epoch by epoch ──► CompiledModel
                                      (─► integers) └ Lava, or PyNN's simulators

Nothing here does arithmetic. `TARGET_RULES` and `PYNN_RULES` name what each rule is made of on each family of chips; to
add a rule, name its parts there.
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
from neurodeploy.engine import additive, episodic, plastic
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.paired import assigned
from neurodeploy.engine.real import run_real
from neurodeploy.errors import Change, Finding, UnsupportedError, UsageError, VerificationError, raise_all
from neurodeploy.evaluation import energy, trajectories
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind
from neurodeploy.ir.program import Program
from neurodeploy.learning import on_target
from neurodeploy.lowering import additive as additive_lowering
from neurodeploy.lowering import episodic as episodic_lowering
from neurodeploy.lowering import lower
from neurodeploy.lowering import paired as paired_lowering
from neurodeploy.lowering import phased as phased_lowering
from neurodeploy.lowering import plastic as plastic_lowering
from neurodeploy.pipeline import CALIBRATION_SAMPLES, Progress, backend_of, refuse_unknown
from neurodeploy.results import LearningRun

PROCESSES = ("fused", "engine")
ARITHMETICS = ("float", "fixed")
BODY_SAMPLES = 256
"""Samples whose spikes are held for every layer of the body at once."""
LIMITS = {
    "fixed": "learning is Lava's bit-approximate engine, bit for bit; Loihi itself rounds differently, says Intel",
    "float": "learned in real numbers, which no Loihi has, and quantized afterwards",
    "neurons": "third factors, errors and what is drawn at random are neurons' work: on Loihi 2 it takes microcode",
    "finish": "features hear no label: which class each stands for is assigned afterwards from labelled samples",
    "simulated": "learned in real numbers by a simulator or our engine, not by SpiNNaker, and quantized afterwards",
    "e-prop": "SpiNNaker's own software, sPyNNaker 7.4.1, has no e-prop",
    "convention": "NEST and Brian2 read PyNN's pair rule each its own way; SpiNNaker's own is not verified here",
    "unmoved": "thresholds stay as compiled: PyNN has no cell whose threshold finds its own height",
    "readout": "its read-out never spikes; deployed, the output does, above a threshold set from training samples",
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
        formats: the backend's module with `integer_program`, `frozen_program` and `real_weights`; "": no integers.
        oracle: "module:function" that reads the rule's table in PyTorch, step by step; "": it is no table.
        factors: which the target's learning engine must be able to multiply.
        by_sample: whether weights change once per sample, after it, and not in every step.
        limits: what must be known of it, beside its arithmetic.
        executors: which of the family's run it, beside the engine; none: all.
        conventions: executors that read it each in their own way, which the option `convention` then names.
        finish: what the host does with labelled training spikes once the program has learned: (program, spikes (sample,
            step, input), labels) -> program; None: nothing.
        taught: whether the rule hears labels; one that does not answers only after `finish`.
    """

    options: type
    lowering: ModuleType
    engine: ModuleType
    formats: str
    oracle: str
    factors: int = 3
    by_sample: bool = False
    limits: tuple[str, ...] = ("neurons", "host")
    executors: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()
    finish: Callable[[Any, np.ndarray, np.ndarray], Any] | None = None
    taught: bool = True


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
        taught=False,
        limits=("neurons", "finish", "host"),
    ),
    "rstdp": TargetRule(
        paired_lowering.RSTDPOptions,
        paired_lowering,
        plastic,
        "paired_formats",
        "neurodeploy.learning.paired_online:learn_online",
    ),
}

PYNN_RULES = {
    "eprop": TargetRule(
        episodic_lowering.EpisodicOptions,
        episodic_lowering,
        episodic,
        "",
        "neurodeploy.learning.episodic_online:learn_episodes",
        by_sample=True,
        limits=("simulated", "e-prop", "readout", "host"),
        executors=("nest",),
        finish=episodic.counting,
    ),
    "stdp": TargetRule(
        additive_lowering.AdditiveOptions,
        additive_lowering,
        additive,
        "",
        "",
        by_sample=True,
        limits=("simulated", "convention", "unmoved", "finish", "host"),
        executors=("nest", "brian2", "spynnaker"),
        conventions=("nest", "brian2"),
        finish=additive.assigned,
        taught=False,
    ),
}


@dataclass(frozen=True)
class Family:
    """How chips of one backend learn; of each tuple the first is meant when nothing is said.

    Args:
        rules: by name.
        arithmetics: in which they are run.
        processes: how its executors build what learns.
        proofs: the same, for `verify`.
        authorities: on how it learns.
        refusals: the module that knows what the family lacks for other rules, and its executors for these.
    """

    rules: dict[str, TargetRule]
    arithmetics: tuple[str, ...]
    processes: tuple[str, ...]
    proofs: tuple[str, ...]
    authorities: tuple[str, ...]
    refusals: str = ""


FAMILIES = {
    "loihi2": Family(TARGET_RULES, ARITHMETICS[::-1], PROCESSES, PROCESSES[::-1], ("lava", "lava-models", "source")),
    "spinnaker": Family(
        PYNN_RULES,
        ("float",),
        ("native",),
        ("native",),
        ("nest", "brian2", "source"),
        "neurodeploy.backends.spinnaker.unlearnable",
    ),
}
"""Backend -> how its chips learn."""


@dataclass(frozen=True, eq=False)
class Task:
    """A model with the part of it that learns, by which rule and in which arithmetic."""

    model: CompiledModel
    name: str
    options: Any
    arithmetic: str

    @property
    def rule(self) -> TargetRule:
        return family_of(self.model).rules[self.name]

    @property
    def limits(self) -> tuple[str, ...]:
        """What must be known of it."""
        return (self.arithmetic, *self.rule.limits) if self.rule.formats else self.rule.limits

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
        """The source as it was compiled, with what the user allowed to be put in the place of something else."""
        deviations = self.model.program.deviations
        allowed = {each.code for each in deviations if each.change is Change.SUBSTITUTION}
        return backend_of(self.model.profile).substitute(lower(self.model.source), allowed, None)

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


def family_of(model: CompiledModel) -> Family:
    """Return how a model's target learns; raises as `family`."""
    return family(model.profile.backend)


def family(backend: str) -> Family:
    """Return how the chips of a backend learn.

    Raises:
        UnsupportedError: ND147 when nobody says how.
    """
    if backend not in FAMILIES:
        what, why = "no rule learns on it", f"those that do are {', '.join(FAMILIES)}"
        fix = "compile for loihi2-sim or spinnaker1, or train before deployment with `neurodeploy train`"
        raise UnsupportedError(Finding("ND147", backend, what, why, fix))
    return FAMILIES[backend]


def options(rule: str, backend: str = "loihi2", **given: Any) -> Any:
    """Return a rule's options from named values.

    Args:
        backend: of the target, whose rule of this name it is.

    Raises:
        UsageError: ND401 for an unknown rule, ND413 for a name that is no option, or a value out of range.
        UnsupportedError: ND155 for a rule that other targets know.
    """
    rules = family(backend).rules
    _refuse_rule(rule, backend)
    known = [field.name for field in fields(rules[rule].options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        what, why = f"option {', '.join(unknown)}", f"options are {', '.join(known)}"
        raise UsageError(Finding("ND413", "learning", what, why, "use one of these"))
    return rules[rule].options(**given)


def learn(
    model: CompiledModel,
    data: str,
    *,
    rule: str = "eprop",
    on: str = "engine",
    arithmetic: str | None = None,
    epochs: int = 10,
    limit: int | None = None,
    classes: Collection[int] = (),
    rehearse: int = 0,
    process: str | None = None,
    options: Any = None,
    checkpoint: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    timeout_s: float | None = None,
) -> tuple[CompiledModel, dict[str, Any]]:
    """Let `model` learn from a dataset's training split while it runs, and return the learned model and what happened.

    Args:
        data: a dataset's name; its test split is judged before, after every epoch, and after.
        on: "engine", or an executor of the target: "lava", "lava-models"; "nest".
        arithmetic: "fixed" for the integers of the target's learning engine, "float" for real numbers, which are
            quantized afterwards; None: the integers where the target has some to learn in.
        limit: how many training samples, the first ones.
        classes: learn these only, and present `rehearse` samples of every other class again; none: all.
        process: on Lava, "fused" or "engine": one process, or Lava's own learning engine; None: fused.
        options: of the rule; None: its defaults.
        checkpoint: where to keep what is learned after every epoch, and to go on from.

    Raises:
        UsageError: ND401 for an unknown rule, executor, arithmetic or process, ND402 when the model records no
            encoding, ND413 for options out of range.
        UnsupportedError: ND146, ND154 for a network that cannot learn on its target, ND147, ND155 for a target or
            simulator that cannot learn so.
    """
    chips = family_of(model)
    arithmetic, process = arithmetic or chips.arithmetics[0], process or chips.processes[0]
    task = _as_read_by(on, _task(model, rule, arithmetic, options, data))
    _refuse_executor(task, on)
    refuse_unknown("process", process, chips.processes)
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
    against: str | None = None,
    process: str | None = None,
    limit: int = 2,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> tuple[CompiledModel, dict[str, Any]]:
    """Let a model that has learned go on, in the engine and by an authority, and compare all weights after every step.

    Args:
        model: with a record of how it learned: its rule, options and data are taken again, its weights as they are.
        against: "lava" or "lava-models", whose learning engine it is unless `process` says "fused"; "nest"; or
            "source", the rule's table in PyTorch, for what was learned in real numbers. None: the target's first.
        limit: how many training samples, the first ones of the classes it learned.

    Returns:
        The model with the certificate, and the certificate; see `evaluation.trajectories`.

    Raises:
        UsageError: ND401 for any other authority or process, ND414 for a model that has not learned.
    """
    chips = family_of(model)
    against, process = against or chips.authorities[0], process or chips.proofs[0]
    refuse_unknown("authority on learning", against, chips.authorities)
    refuse_unknown("process", process, chips.proofs)
    task, record = _as_recorded(model, against)
    training = datasets.load(record["data"], "train")
    numbers = on_target.chosen(training.labels, limit, record["classes"])
    inputs, labels = training.encode(task.encoding, numbers), training.labels[numbers]
    payloads, program = task.payloads(inputs), task.program(0)
    spikes = task.spikes(payloads)
    ours = task.rule.engine.trajectory(program, spikes, labels)
    if against == "source":
        expected, theirs = "the rule's table in PyTorch", _by_table(task, program, spikes, labels)
    else:
        _refuse_executor(task, against)
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
        "actual": "engine",
        "program": model.fingerprint,
        "input": {"name": training.name, "steps": len(inputs), "samples": len(spikes)},
        "rule": record["rule"],
        "arithmetic": record["arithmetic"],
        "every": "sample" if task.rule.by_sample else "step",
        **trajectories.compare(program, theirs, ours, task.rule.by_sample),
    }
    return replace(model, certificates=(*model.certificates, certificate)), certificate


def _as_recorded(model: CompiledModel, against: str) -> tuple[Task, dict[str, Any]]:
    """Return how a model learned, to be taken up again as it is, as an authority reads the rule; and the record of it.

    Raises:
        UsageError: ND414 when it has not learned.
    """
    record = model.provenance.get("learning")
    if record is None:
        why, fix = "its rule, options and data are not recorded", "use an artefact that `neurodeploy learn` wrote"
        raise UsageError(Finding("ND414", "learning", "this model has not learned on a target", why, fix))
    options = family_of(model).rules[record["rule"]].options
    told = {name: tuple(each) if isinstance(each, list) else each for name, each in record["options"].items()}
    told |= {"initial": "trained"}
    task = _task(model, record["rule"], record["arithmetic"], options(**told), record["data"])
    return _as_read_by(against, task), record


def _by_table(task: Task, program: Any, spikes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the trajectory of the rule's table, read literally in PyTorch.

    Raises:
        UsageError: ND401 for a rule without a table, and for integers.
    """
    if not task.rule.oracle:
        why = f"{task.name} here is what a simulator makes of it, and no table of ours"
        raise UsageError(Finding("ND401", "source", "no authority on this rule", why, "verify against a simulator"))
    if task.fixed:
        why, fix = "the rule's table is in real numbers", "verify against lava, or learn with --arithmetic float"
        raise UsageError(Finding("ND401", "source", "no authority on integers", why, fix))
    module, function = task.rule.oracle.split(":")
    trajectory: tuple[np.ndarray, ...] = getattr(import_module(module), function)(
        program, spikes, labels, trajectory=True
    )[2]
    return trajectory


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
    chips = family_of(model)
    _refuse_rule(rule, model.profile.backend)
    refuse_unknown("arithmetic", arithmetic, chips.arithmetics)
    if model.program.encoding is None:
        raise UsageError(pipeline.no_encoding(data))
    wanted, factors = chips.rules[rule].factors, model.profile.data.get("learning.factors")
    if chips.rules[rule].formats and (factors is None or factors.value < wanted):
        what = f"{rule} multiplies {wanted} factors"
        why = "its profile has no learning.factors" if factors is None else f"its learning engine takes {factors.value}"
        fix = "compile for loihi2-sim, or train before deployment with `neurodeploy train`"
        raise UnsupportedError(Finding("ND147", model.profile.id, what, why, fix))
    return Task(model, rule, options or chips.rules[rule].options(), arithmetic)


def _refuse_rule(rule: str, backend: str) -> None:
    """Refuse a rule that a backend does not know; one that it knows to lack parts of, with these parts."""
    known = family(backend)
    if known.refusals and rule not in known.rules:
        raise_all(UnsupportedError, import_module(known.refusals).lacking(rule))
    refuse_unknown("rule on the target", rule, tuple(known.rules))


def _as_read_by(executor: str, task: Task) -> Task:
    """Return the task by an executor's convention, where its rule has several."""
    if executor not in task.rule.conventions:
        return task
    return replace(task, options=replace(task.options, convention=executor))


def _refuse_executor(task: Task, on: str) -> None:
    """Refuse what is no executor of the model's target, or none that learns by the rule."""
    refuse_unknown("executor", on, pipeline.executors(task.model.profile))
    if on != "engine" and task.rule.executors and on not in task.rule.executors:
        raise UnsupportedError(import_module(family_of(task.model).refusals).unable(task.name, on))


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
        able = program if task.rule.taught else _finished(task, program, training, numbers)
        return task.rule.engine.learn(able, tested, labels).predictions

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
        taught=task.rule.taught,
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
    updates = [row.updates for row in curve if row.updates is not None]
    spent = energy.of_learning(sum(updates), task.model.profile) if len(updates) == len(curve) else None
    return {
        "curve": [asdict(row) for row in curve],
        "body": [] if task.body is None else [population.name for population in task.body.populations],
        "changes": trajectories.changes(task.program(0), learned),
        "learning_energy_joule": None if spent is None else asdict(spent),
        "limits": [LIMITS[name] for name in task.limits],
    }
