"""Learning on the target, epoch by epoch: order, encoding, checkpoint and curve; who computes it is said outside."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.datasets import Dataset, Encoding, Recordings
from neurodeploy.errors import Finding, LoadError, UsageError
from neurodeploy.results import LearningRun

Weights = tuple[np.ndarray, ...]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pass:
    """One pass over the data.

    Args:
        epoch: counted from 1.
        accuracy: of the answers given while taught; the label is heard within the sample, so it is an upper bound. None
            where the output is not taught.
        test_accuracy: of the weights after it, nothing learning.
        synaptic_operations, updates: see `LearningRun`; None where nobody counted.
        steps: on the target; seconds: they took.
    """

    epoch: int
    accuracy: float | None
    test_accuracy: float
    synaptic_operations: int | None
    updates: int | None
    steps: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Plan:
    """What is learned from and how long.

    Args:
        program_of: epoch, counted from 0 -> the program with its rates and seeds; weights are put in later.
        execute: runs a program on encoded training samples (step, sample, *neuron) and labels.
        answer: predictions (sample,) of a program in which nothing is plastic, for samples of the labels `tested`.
        data, encoding: training samples.
        numbers: of the training samples that are presented, each once per epoch; see `chosen`.
        seed: of the order and of the spikes of every epoch.
        record: what a checkpoint must agree with, plain values.
        taught: whether answers given while learning mean anything.
    """

    program_of: Callable[[int], Any]
    execute: Callable[[Any, np.ndarray, np.ndarray, Callable[[int, int], None] | None], LearningRun]
    answer: Callable[[Any], np.ndarray]
    tested: np.ndarray
    data: Dataset | Recordings
    encoding: Encoding
    epochs: int
    numbers: np.ndarray
    seed: int
    record: dict[str, Any]
    taught: bool = True


def learn(plan: Plan, checkpoint: Path | None, progress: Progress | None = None) -> tuple[Weights, list[Pass], int]:
    """Learn for all epochs and return the weights, the curve, and after how many epochs it was resumed.

    After every epoch the checkpoint is written whole or not at all; an interrupted run goes on from it and ends with
    the same weights as without the interruption.

    Raises:
        LoadError: ND076 when the checkpoint is damaged or of another run.
    """
    resumed = None if checkpoint is None else _read(checkpoint, plan.record)
    weights, curve = resumed or (plan.program_of(0).weights, [])
    already = len(curve)
    for epoch in range(already, plan.epochs):
        program = plan.program_of(epoch).learned(weights)
        inputs, labels = presented(plan.data, plan.encoding, plan.numbers, plan.seed, epoch)
        told = None
        if progress is not None:
            reached = f", {curve[-1].test_accuracy:.1%} so far" if curve else ""
            told = _telling(progress, f"epoch {epoch + 1} of {plan.epochs}{reached}")
        run = plan.execute(program, inputs, labels, told)
        weights = run.weights
        answers = plan.answer(program.frozen().learned(weights))
        curve.append(
            Pass(
                epoch + 1,
                float(np.mean(run.predictions == labels)) if plan.taught else None,
                float(np.mean(answers == plan.tested)),
                run.synaptic_operations,
                run.updates,
                run.steps,
                run.seconds,
            )
        )
        if checkpoint is not None:
            _write(checkpoint, plan.record, weights, curve)
    return weights, curve, already


def chosen(labels: np.ndarray, limit: int | None, classes: Collection[int] = (), rehearse: int = 0) -> np.ndarray:
    """Return the numbers of the samples to learn from: the first `limit` of `classes`, the first few of the others.

    Args:
        labels: (sample,) of all there are.
        limit: None for all.
        classes: none for all; otherwise `rehearse` samples of every other class are presented again, lest it be
            forgotten.

    Raises:
        UsageError: ND413 when there is no sample of a class.
    """
    absent = sorted(set(classes) - set(labels.tolist()))
    if absent:
        what, why = f"classes {', '.join(map(str, absent))}", f"labels go from {labels.min()} to {labels.max()}"
        raise UsageError(Finding("ND413", "learning", what, why, "name classes of the data"))
    new = np.flatnonzero(np.isin(labels, list(classes))) if classes else np.arange(len(labels))
    others = sorted(set(labels.tolist()) - set(classes)) if classes else []
    old = [np.flatnonzero(labels == each)[:rehearse] for each in others]
    return np.concatenate([new[:limit], *old])


def presented(
    data: Dataset | Recordings,
    encoding: Encoding,
    numbers: np.ndarray,
    seed: int,
    epoch: int,
    first: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the input (step, sample, *neuron) and labels of an epoch, in an order and with spikes of its own.

    Args:
        numbers: of the samples; epoch: counted from 0.
        first: how many of the epoch's samples are wanted, its first ones; None: all.
    """
    order = np.random.default_rng((seed, 1, epoch)).permutation(numbers)[:first]
    if encoding.kind == "rate":
        encoding = replace(encoding, seed=int(np.random.default_rng((seed, 2, epoch)).integers(2**31)))
    return data.encode(encoding, order), data.labels[order]


def _telling(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)


def _write(path: Path, record: dict[str, Any], weights: Weights, curve: list[Pass]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            told = json.dumps({"record": record, "curve": [asdict(row) for row in curve]})
            arrays = {f"weights_{index}": weight for index, weight in enumerate(weights)}
            np.savez(file, allow_pickle=False, told=np.array(told), **arrays)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: Path, record: dict[str, Any]) -> tuple[Weights, list[Pass]] | None:
    if not path.exists():
        return None
    fix = "begin anew with --restart, or write elsewhere with -o"
    try:
        with np.load(path, allow_pickle=False) as stored:
            told = json.loads(str(stored["told"]))
            weights = tuple(stored[f"weights_{index}"] for index in range(len(stored.files) - 1))
        curve = [Pass(**row) for row in told["curve"]]
    except Exception as error:
        what, why = "the checkpoint cannot be read", f"{type(error).__name__}: {str(error)[:200]}"
        raise LoadError(Finding("ND076", str(path), what, why, fix)) from error
    wanted = json.loads(json.dumps(record))
    if told["record"] != wanted:
        differ = sorted(key for key in wanted if told["record"].get(key) != wanted[key])
        what, why = "an interrupted run with other settings lies here", f"they differ in {', '.join(differ)}"
        raise LoadError(Finding("ND076", str(path), what, why, fix))
    return weights, curve
