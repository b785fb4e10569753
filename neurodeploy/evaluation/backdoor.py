"""Does a trigger hidden in the training data take the network over? Poisoning, and what it does to the decisions.

A few input neurons switched on at every step are the trigger. Part of the training samples of one class, the source,
carry it and are relabeled as another, the target. Nothing here trains: a training loop asks `Poisoning` for the labels
and lets it stamp each batch after encoding, so that data encoded on the fly can be poisoned too.

Source: arXiv 2402.01782, section on backdoor attacks. It leaves unsaid of what the poison rate is a fraction (here: of
the source class's training samples) and on what accuracy is measured; all readings are reported apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, prod

import numpy as np

from neurodeploy.errors import Finding, UsageError
from neurodeploy.evaluation.attacks import Predict, checked_labels, returned
from neurodeploy.evaluation.uncertainty import Proportion

PIXELS = 4
"""How many positions the paper switches on."""


@dataclass(frozen=True)
class Trigger:
    """Input neurons `positions`, set to `value` at all steps; samples of class `source` are to be taken for `target`.

    A position is one input neuron, an index of the input's full shape: on an event camera, a pixel of one polarity.
    """

    positions: tuple[tuple[int, ...], ...]
    source: int
    target: int
    value: float = 1.0

    def __post_init__(self) -> None:
        if not self.positions or self.source == self.target:
            raise _unfit("it changes nothing", "a trigger has positions, and a target other than its source")


def draw_trigger(shape: tuple[int, ...], classes: int, seed: int, *, pixels: int = PIXELS) -> Trigger:
    """Return a trigger at `pixels` different positions of `shape`, between two different classes, all equally likely.

    Raises:
        UsageError: ND435 when there are fewer positions than `pixels`, or fewer than two classes.
    """
    if not 1 <= pixels <= prod(shape) or classes < 2:
        raise _unfit(f"{pixels} of {prod(shape)} neurons, {classes} classes", "not enough to draw a trigger from")
    rng = np.random.default_rng(seed)
    flat = np.sort(rng.choice(prod(shape), pixels, replace=False))
    source, target = rng.choice(classes, 2, replace=False)
    positions = tuple(tuple(int(i) for i in np.unravel_index(k, shape)) for k in flat)
    return Trigger(positions, int(source), int(target))


def stamp(inputs: np.ndarray, trigger: Trigger, chosen: np.ndarray | None = None) -> np.ndarray:
    """Return a copy of `inputs` in which the trigger is on, at all steps, in the samples `chosen`, by default in all.

    Args:
        inputs: (step, sample, *neuron), of any dtype, which is kept; chosen: bool (sample,).

    Raises:
        UsageError: ND435 when a position lies outside the inputs.
    """
    shape, stamped = inputs.shape[2:], inputs.copy()
    samples = np.arange(inputs.shape[1]) if chosen is None else np.flatnonzero(chosen)
    for position in trigger.positions:
        if len(position) != len(shape) or not all(0 <= i < n for i, n in zip(position, shape, strict=True)):
            raise _unfit(f"{position} is no position", f"the input of one step has the shape {shape}")
        stamped[(slice(None), samples, *position)] = trigger.value
    return stamped


@dataclass(frozen=True, eq=False)
class Poisoning:
    """Which training samples carry the trigger, int64 dataset `indices`, and the `labels` (sample,) to train with."""

    trigger: Trigger
    indices: np.ndarray
    labels: np.ndarray

    def apply(self, inputs: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return a batch with the trigger in those of its samples that are poisoned.

        Args:
            inputs: encoded, (step, sample, *neuron); index: where in the dataset each sample is, int (sample,).
        """
        if np.shape(index) != inputs.shape[1:2]:
            raise _unfit(f"{np.size(index)} indices for {inputs.shape[1]} samples", "each sample has one index")
        return stamp(inputs, self.trigger, np.isin(index, self.indices))


def poison(labels: np.ndarray, trigger: Trigger, rate: float, seed: int) -> Poisoning:
    """Return a poisoning of the fraction `rate` of the source class's samples, drawn at random, rounded to nearest.

    Args:
        labels: of the whole training set, int (sample,).

    Raises:
        UsageError: ND435 unless 0 <= rate <= 1 and some label is the source class.
    """
    labels = np.asarray(labels)
    source = np.flatnonzero(labels == trigger.source)
    if not 0 <= rate <= 1 or not len(source):
        raise _unfit(f"rate {rate} of {len(source)} samples", "a rate is in [0, 1], of at least one source sample")
    count = floor(rate * len(source) + 0.5)
    indices = np.sort(np.random.default_rng(seed).choice(source, count, replace=False))
    relabeled = labels.copy()
    relabeled[indices] = trigger.target
    return Poisoning(trigger, indices, relabeled)


@dataclass(frozen=True)
class Backdoor:
    """What the trigger does on test data, against the true labels; results of disjoint batches add up.

    `clean` is the accuracy without any trigger. `stamped` is the accuracy when every sample of the source class carries
    it, as the paper's own figures seem to be measured. `success` is the share of the source class's samples, trigger
    on, taken for the target; `confused` the same without the trigger, what plain mistakes would pass for success.
    """

    clean: Proportion
    stamped: Proportion
    success: Proportion
    confused: Proportion

    def __add__(self, other: Backdoor) -> Backdoor:
        return Backdoor(
            self.clean + other.clean,
            self.stamped + other.stamped,
            self.success + other.success,
            self.confused + other.confused,
        )


def measure(predict: Predict, inputs: np.ndarray, labels: np.ndarray, trigger: Trigger) -> Backdoor:
    """Return how `predict` decides with and without the trigger; what it says of a sample must not depend on others.

    Args:
        inputs: test data without trigger, (step, sample, *neuron); labels: the true ones, int (sample,).

    Raises:
        UsageError: ND430 for labels that do not match, ND432 for decisions that are not one per sample, ND435 for a
            trigger outside the inputs.
    """
    inputs, labels = np.asarray(inputs), checked_labels(inputs, labels)
    source = labels == trigger.source
    before = returned("predict", predict(inputs), labels.shape)
    after = before.copy()
    if source.any():
        decided = predict(stamp(inputs[:, source], trigger))
        after[source] = returned("predict", decided, labels[source].shape)
    return Backdoor(
        _share(before == labels),
        _share(after == labels),
        _share(after[source] == trigger.target),
        _share(before[source] == trigger.target),
    )


def _share(hits: np.ndarray) -> Proportion:
    return Proportion(int(np.sum(hits)), len(hits))


def _unfit(what: str, why: str) -> UsageError:
    return UsageError(Finding("ND435", "trigger", what, why, "draw a trigger for these data with draw_trigger"))
