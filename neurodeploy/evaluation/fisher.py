"""Which weights carry the decision, and when? The trace of the Fisher information, tensor by tensor.

    F(t) = mean over samples of ||d log p(y | x(1..t)) / dw||²

Three estimates, because the literature writes one and computes another:

    `expected`     y drawn from the network's own p: the Fisher information proper
    `empirical`    y the label: eq. (10) of arXiv 2402.01782 for single samples
    `batch_mean`   y the label, and the square of the gradient of a mini-batch's *mean* loss: what the code of the
                   paper's ref. [42] does; it shrinks as batches grow, so compare only equal batches

Whoever has the gradients provides them as a `Gradients`; what is done with them is the same for every framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neurodeploy.errors import Finding, UsageError

Batch = tuple[np.ndarray, np.ndarray]
"""Inputs (step, sample, *neuron) and labels, int (sample,)."""
Probabilities = Callable[[np.ndarray], np.ndarray]
"""Inputs (step, sample, *neuron) -> p(class | all the steps given), float (sample, class), rows summing to 1."""
Estimate = Callable[[Iterable[Batch]], "Information"]
"""One of the three estimates with everything but its batches given, e.g. by functools.partial."""


class Gradients(Protocol):
    """The derivative of each sample's cross-entropy by each weight tensor.

    inputs (step, sample, *neuron): as many steps as are to count; the network's output is read from exactly these, e.g.
    averaged over them. targets (sample, class): a distribution q per sample, one-hot for a label. Returns, by name, the
    derivative of -sum_c q(c) log p(c | inputs) for each sample on its own, float (sample, *weight).
    """

    def __call__(self, inputs: np.ndarray, targets: np.ndarray, /) -> Mapping[str, np.ndarray]: ...


class MeanGradients(Protocol):
    """As `Gradients`, but the derivative of the mean over the batch's samples: by name, float (*weight)."""

    def __call__(self, inputs: np.ndarray, targets: np.ndarray, /) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True)
class Information:
    """The trace of each tensor's block of the Fisher information, and how many parameters each tensor has."""

    estimate: str
    trace: dict[str, float]
    parameters: dict[str, int]
    samples: int

    @property
    def share(self) -> dict[str, float]:
        """Each tensor's part of the whole trace, adding up to 1, as the paper plots it; it favors large tensors.

        Raises:
            UsageError: ND438 when every gradient was 0.
        """
        total = sum(self.trace.values())
        if not total > 0:
            raise _unfit("every gradient is 0", "parts of nothing are not defined")
        return {name: value / total for name, value in self.trace.items()}

    @property
    def per_parameter(self) -> dict[str, float]:
        """The trace divided by the number of parameters, which does not favor large tensors."""
        return {name: value / self.parameters[name] for name, value in self.trace.items()}


def empirical(gradients: Gradients, batches: Iterable[Batch], *, classes: int) -> Information:
    """Return mean over samples of ||g(label)||²: the empirical Fisher information.

    Raises:
        UsageError: ND438 for no batch, a label that is no class, or gradients of the wrong shape or not finite.
    """
    total = _Total("empirical")
    for inputs, labels in batches:
        total.add(_squared(gradients(inputs, _one_hot(labels, inputs, classes)), inputs))
        total.samples += inputs.shape[1]
    return total.over(total.samples)


def expected(gradients: Gradients, probabilities: Probabilities, batches: Iterable[Batch]) -> Information:
    """Return mean over samples of sum_c p(c) ||g(c)||²: the Fisher information, exact in y, labels unused.

    Costs one call of `gradients` per class and batch.

    Raises:
        UsageError: ND438 for no batch, rows of `probabilities` that are none, or gradients of the wrong shape.
    """
    total = _Total("expected")
    for inputs, _ in batches:
        p = _distribution(probabilities(inputs), inputs)
        for c, chance in enumerate(p.T):
            target = _one_hot(np.full(len(p), c), inputs, p.shape[1])
            total.add(_squared(gradients(inputs, target), inputs, chance))
        total.samples += inputs.shape[1]
    return total.over(total.samples)


def batch_mean(gradients: MeanGradients, batches: Iterable[Batch], *, classes: int) -> Information:
    """Return mean over batches of ||mean over the batch of g(label)||².

    Raises:
        UsageError: ND438 for no batch, a label that is no class, or gradients that are not finite.
    """
    total, count = _Total("batch_mean"), 0
    for inputs, labels in batches:
        gradient = gradients(inputs, _one_hot(labels, inputs, classes))
        total.add({name: (_square_sum(name, g), np.size(g)) for name, g in gradient.items()})
        total.samples += inputs.shape[1]
        count += 1
    return total.over(count)


def mean_of(gradients: Gradients) -> MeanGradients:
    """Return the batch's mean gradient from those of its samples, where no cheaper one is at hand."""

    def averaged(inputs: np.ndarray, targets: np.ndarray, /) -> Mapping[str, np.ndarray]:
        of_samples = gradients(inputs, targets)
        return {name: np.asarray(g, np.float64).sum(axis=0) / len(g) for name, g in of_samples.items()}

    return averaged


def over_time(estimate: Estimate, batches: Sequence[Batch], times: Iterable[int]) -> dict[int, Information]:
    """Return the estimate from the first t steps alone, for each t of `times`.

    Args:
        batches: all of them, because they are read once per time.
        times: numbers of steps, from 1 to what every batch has.

    Raises:
        UsageError: ND438 for a time beyond the inputs, and what `estimate` refuses.
    """
    found, longest = {}, min((len(inputs) for inputs, _ in batches), default=0)
    for t in times:
        if not 1 <= t <= longest:
            raise _unfit(f"time {t}", f"the inputs have {longest} steps")
        found[t] = estimate((inputs[:t], labels) for inputs, labels in batches)
    return found


class _Total:
    """Squared norms added up tensor by tensor, and the samples they come from."""

    def __init__(self, estimate: str) -> None:
        self.estimate, self.samples = estimate, 0
        self.trace: dict[str, float] = {}
        self.parameters: dict[str, int] = {}

    def add(self, squared: Mapping[str, tuple[float, int]]) -> None:
        sizes = {name: size for name, (_, size) in squared.items()}
        if self.parameters and sizes != self.parameters:
            raise _unfit(f"tensors {sizes}", f"the calls before returned {self.parameters}")
        self.parameters = sizes
        for name, (value, _) in squared.items():
            self.trace[name] = self.trace.get(name, 0.0) + value

    def over(self, count: int) -> Information:
        if not count or not self.parameters:
            raise _unfit("there is no batch, or no tensor", "information is measured on data, of weights")
        trace = {name: value / count for name, value in self.trace.items()}
        return Information(self.estimate, trace, self.parameters, self.samples)


def _squared(
    gradient: Mapping[str, np.ndarray], inputs: np.ndarray, weight: np.ndarray | None = None
) -> dict[str, tuple[float, int]]:
    """Return per tensor the weighted sum over samples of ||g||², and the number of parameters."""
    squared = {}
    for name, g in gradient.items():
        samples = inputs.shape[1]
        if np.shape(g)[:1] != (samples,):
            raise _unfit(
                f"{name} has the shape {np.shape(g)}", f"a gradient is (sample, *weight), of {samples} samples"
            )
        flat = np.asarray(g, np.float64).reshape(samples, -1)
        scaled = flat if weight is None else flat * np.sqrt(weight)[:, np.newaxis]
        squared[name] = _square_sum(name, scaled), flat.shape[1]
    return squared


def _square_sum(name: str, g: np.ndarray) -> float:
    value = float(np.sum(np.square(g, dtype=np.float64)))
    if not np.isfinite(value):
        raise _unfit(f"{name} is not finite", "a gradient that overflowed measures nothing")
    return value


def _one_hot(labels: np.ndarray, inputs: np.ndarray, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if (
        labels.shape != inputs.shape[1:2]
        or labels.dtype.kind not in "iu"
        or not np.all((labels >= 0) & (labels < classes))
    ):
        raise _unfit(
            f"labels {labels.shape}", f"one class below {classes} for each of {inputs.shape[1]} samples is needed"
        )
    return np.eye(classes)[labels]


def _distribution(p: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    p = np.asarray(p, np.float64)
    if (
        p.ndim != 2
        or len(p) != inputs.shape[1]
        or not np.all(p >= 0)
        or not np.allclose(p.sum(axis=1), 1, atol=ROUNDING)
    ):
        raise _unfit(f"probabilities {p.shape}", "each sample needs a distribution over the classes, summing to 1")
    return p


ROUNDING = 1e-4
"""How far from 1 probabilities in single precision may add up."""


def _unfit(what: str, why: str) -> UsageError:
    return UsageError(Finding("ND438", "Fisher information", what, why, "see neurodeploy.evaluation.fisher.Gradients"))
