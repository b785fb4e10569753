"""Do its decisions hold when the input is perturbed on purpose? Attacks on anything that can be called.

Each attack takes functions, so that one and the same attack meets a PyTorch network, the integer engine and Lava. How
a perturbed input reaches what is attacked is part of the attack, and the caller's to say:

    graded input    x + delta as it is; a compiled model refuses values beyond the range or between the levels it was
                    compiled for, so compile it with calibration on perturbed data
    spike input     `binarized(x + delta)`, under which any |delta| < 1/2 changes nothing; so use `flip_spikes`,
                    which adds and removes whole spikes

Gradients come from where the caller takes them: a surrogate gradient through time, or that of the network's
counterpart without spikes (`counterpart.py`), which sees the mean frame: `through_mean_frame(counterpart.gradient)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from numbers import Integral
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, UsageError
from neurodeploy.evaluation.uncertainty import Proportion

Predict = Callable[[np.ndarray], np.ndarray]
"""Inputs (step, sample, *neuron) -> the class of each sample, int64 (sample,)."""
Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Inputs (step, sample, *neuron) and labels (sample,) -> the loss of each sample, float (sample,)."""
Gradient = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Inputs and labels -> the derivative of each sample's own loss, not the batch's mean, of the inputs' shape."""
FrameGradient = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The same for frames (sample, *neuron), without an axis of steps."""
Attack = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Inputs, labels and epsilon -> perturbed inputs."""


def fgsm(
    inputs: np.ndarray,
    labels: np.ndarray,
    gradient: Gradient,
    epsilon: float,
    *,
    low: float | None = None,
    high: float | None = None,
) -> np.ndarray:
    """Return x + epsilon sign(dL/dx): the fast gradient sign method, the best a linear loss allows in the L-inf ball.

    Nothing is clipped unless `low` or `high` is given: arXiv 2402.01782 states no clipping. Where the gradient is
    exactly 0 the input stays as it is; `robustness` counts the samples this leaves without any attack.

    Args:
        inputs: (step, sample, *neuron); labels: int (sample,); epsilon: in units of the input, >= 0.

    Returns:
        float, of the inputs' shape; float32 and float64 stay what they are.

    Raises:
        UsageError: ND430 for inputs and labels that do not match, ND431 for numbers out of range, ND432 for a gradient
            of another shape or with values that are not finite.

    Source: Goodfellow, Shlens, Szegedy, arXiv 1412.6572.
    """
    x, labels = _floating(inputs), checked_labels(inputs, labels)
    check_sizes(epsilon=epsilon)
    slope = returned("gradient", gradient(x, labels), x.shape)
    return _clipped(x + epsilon * np.sign(slope).astype(x.dtype), low, high)


def through_mean_frame(gradient: FrameGradient) -> Gradient:
    """Return the gradient of the loss L(mean over steps of x) by every step: `gradient` of the mean frame / steps.

    It is the same at every step, so `fgsm` adds the same image to every frame. The paper leaves unsaid how frames reach
    its ANN; this is our reading.
    """

    def by_every_step(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        slope = returned("gradient", gradient(inputs.mean(axis=0, dtype=np.float64), labels), inputs.shape[1:])
        return np.broadcast_to(slope / len(inputs), inputs.shape)

    return by_every_step


@dataclass(frozen=True, eq=False)
class Attacked:
    """What a black-box attack found, and how many evaluations of the loss each sample took."""

    inputs: np.ndarray
    queries: int


def nes(
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: Loss,
    epsilon: float,
    *,
    sigma: float,
    samples: int,
    iterations: int,
    step: float,
    seed: int,
    over_time: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> Attacked:
    """Return what sign steps along `nes_gradient` find in the L-inf ball: a black-box attack of ours, not the paper's.

        delta <- clip(delta + step sign(g(x + delta)), -epsilon, epsilon)       `iterations` times, from delta = 0

    A loss made of spike counts is a staircase: `sigma` has to reach over a stair, or the estimate is 0 and so the step.

    Args:
        inputs: (step, sample, *neuron); labels: int (sample,).
        sigma, step, epsilon: in units of the input; samples: antithetic pairs per iteration.
        over_time: perturb every step differently; by default one image per sample is added to all its frames, which
            leaves far fewer dimensions to estimate.

    Raises:
        UsageError: ND430, ND431 and ND432, as `fgsm`.

    Source: Ilyas, Engstrom, Athalye, Lin, arXiv 1804.08598, algorithm 1.
    """
    x, labels = _floating(inputs), checked_labels(inputs, labels)
    check_sizes(epsilon=epsilon, step=step)
    check_counts(1, iterations=iterations)
    rng, delta = np.random.default_rng(seed), np.zeros(_directions(x, over_time))
    for _ in range(iterations):
        here = _clipped((x + delta).astype(x.dtype), low, high)
        slope = nes_gradient(here, labels, loss, sigma=sigma, samples=samples, seed=rng, over_time=over_time)
        delta = np.clip(delta + step * np.sign(slope), -epsilon, epsilon)
    return Attacked(_clipped((x + delta).astype(x.dtype), low, high), 2 * samples * iterations)


def nes_gradient(
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: Loss,
    *,
    sigma: float,
    samples: int,
    seed: int | np.random.Generator,
    over_time: bool = False,
) -> np.ndarray:
    """Return the loss's gradient, smoothed over `sigma` and estimated from its values alone.

        g = 1 / (2 samples sigma) sum_i [L(x + sigma u_i) - L(x - sigma u_i)] u_i,      u_i ~ N(0, 1)

    Returns:
        float64, of the inputs' shape when `over_time`; otherwise (1, sample, *neuron), by an image added to all frames.
    """
    x, labels = _floating(inputs), checked_labels(inputs, labels)
    check_counts(1, samples=samples)
    if not (isfinite(sigma) and sigma > 0):
        raise _out_of_range("sigma", sigma, "finite and above 0")
    rng, total = np.random.default_rng(seed), np.zeros(_directions(x, over_time))
    for _ in range(samples):
        u = rng.standard_normal(total.shape)
        up, down = (
            returned("loss", loss((x + shift * u).astype(x.dtype), labels), (x.shape[1],)) for shift in (sigma, -sigma)
        )
        total += (up - down).reshape(1, -1, *(1,) * (x.ndim - 2)) * u
    return total / (2 * samples * sigma)


def binarized(perturbed: np.ndarray) -> np.ndarray:
    """Return the spikes a spike input makes of real values: uint8, 1 where the value is above 1/2."""
    return (np.asarray(perturbed) > 0.5).astype(np.uint8)


def flip_spikes(inputs: np.ndarray, labels: np.ndarray, gradient: Gradient, budget: int) -> np.ndarray:
    """Return binary inputs with `budget` entries per sample flipped, those that raise the loss most to first order.

        gain = (1 - 2x) dL/dx           what flipping one entry adds to a loss that is linear in it

    An L0 attack for inputs that can only be spikes. Entries without positive gain are left alone, so a sample that has
    fewer than `budget` of them gets fewer flips, and a loss that is convex in x, such as cross-entropy over a linear
    model, never falls. Among equals the earliest in (step, *neuron) order goes first: with a gradient through the mean
    frame, that is the first steps.

    Args:
        inputs: 0 or 1 (step, sample, *neuron), of any dtype, which is kept; budget: flips per sample, >= 0.

    Raises:
        UsageError: ND433 for inputs that are not binary; ND430, ND431 and ND432, as `fgsm`.
    """
    x, labels = _floating(inputs), checked_labels(inputs, labels)
    check_counts(0, budget=budget)
    if not np.isin(inputs, (0, 1)).all():
        fix = "flip only spikes; perturb graded input with fgsm or nes"
        raise UsageError(
            Finding("ND433", "inputs", "some values are neither 0 nor 1", "only spikes can be flipped", fix)
        )
    slope = returned("gradient", gradient(x, labels), x.shape)
    gain = np.moveaxis(slope * (1 - 2 * x), 1, 0).reshape(x.shape[1], -1)
    order = np.argsort(-gain, axis=1, kind="stable")[:, :budget]
    flip = np.zeros(gain.shape, bool)
    np.put_along_axis(flip, order, np.take_along_axis(gain, order, axis=1) > 0, axis=1)
    flip = np.moveaxis(flip.reshape(x.shape[1], x.shape[0], *x.shape[2:]), 0, 1)
    return np.where(flip, 1 - x, x).astype(np.asarray(inputs).dtype)


@dataclass(frozen=True)
class Robustness:
    """Accuracy on inputs perturbed by at most `epsilon`, with `accuracy.n` samples and its 95 % `accuracy.interval`.

    `unchanged` samples came back from the attack as they were: for epsilon > 0 they were not attacked at all, which a
    high accuracy must not be put down to.
    """

    epsilon: float
    accuracy: Proportion
    unchanged: int


def robustness(
    predict: Predict,
    inputs: np.ndarray,
    labels: np.ndarray,
    attack: Attack,
    epsilons: Iterable[float],
    *,
    batch: int | None = None,
) -> list[Robustness]:
    """Return the accuracy of `predict` under `attack` for each of `epsilons`, in their order.

    Args:
        inputs: (step, sample, *neuron); labels: int (sample,).
        batch: samples attacked and decided at once; all by default.

    Raises:
        UsageError: ND430 for labels that do not match, ND431 for a batch below 1, ND432 for decisions or perturbed
            inputs of another shape.
    """
    inputs, labels = np.asarray(inputs), checked_labels(inputs, labels)
    size = len(labels) if batch is None else batch
    check_counts(1, batch=size)
    points = []
    for epsilon in epsilons:
        correct, unchanged = Proportion(0, 0), 0
        for start in range(0, len(labels), size):
            x, y = inputs[:, start : start + size], labels[start : start + size]
            perturbed = returned("attack", attack(x, y, epsilon), x.shape)
            decided = returned("predict", predict(perturbed), y.shape)
            correct += Proportion(int(np.sum(decided == y)), len(y))
            unchanged += int(np.sum(~np.any(perturbed != x, axis=(0, *range(2, x.ndim)))))
        points.append(Robustness(float(epsilon), correct, unchanged))
    return points


def checked_labels(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `labels` as int64 (sample,) when there is one for each sample of `inputs` (step, sample, *neuron).

    Raises:
        UsageError: ND430 otherwise, and when there is no step or no sample.
    """
    shape, labels = np.shape(inputs), np.asarray(labels)
    if len(shape) < 2 or 0 in shape:
        raise unlike("inputs", f"have the shape {shape}", "inputs are (step, sample, *neuron), no axis empty")
    if labels.shape != shape[1:2]:
        raise unlike("labels", f"have the shape {labels.shape}", f"there are {shape[1]} samples")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise unlike("labels", "are no class numbers", "a class is an integer, counted from 0")
    return labels.astype(np.int64)


def _floating(inputs: np.ndarray) -> np.ndarray:
    """Return `inputs` as floats: float32 for spikes and other small integers, otherwise float64 or as they are."""
    x = np.asarray(inputs)
    x = x.astype(np.result_type(x.dtype, np.float32))
    if not np.isfinite(x).all():
        raise unlike("inputs", "hold values that are not finite", "no perturbation of them has a meaning")
    return x


def _directions(x: np.ndarray, over_time: bool) -> tuple[int, ...]:
    return x.shape if over_time else (1, *x.shape[1:])


def _clipped(x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    if low is None and high is None:
        return x
    if low is not None and high is not None and low > high:
        raise _out_of_range("low", low, f"at most high, {high}")
    return np.clip(x, low, high)


def check_sizes(**sizes: float) -> None:
    """Refuse each of `sizes` that is negative or not finite."""
    for name, value in sizes.items():
        if not (isfinite(value) and value >= 0):
            raise _out_of_range(name, value, "finite and at least 0")


def check_counts(least: int, **counts: Any) -> None:
    """Refuse each of `counts` that is no whole number, or below `least`."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or int(value) < least:
            raise _out_of_range(name, value, f"a whole number from {least}")


def _out_of_range(name: str, value: float, allowed: str) -> UsageError:
    return UsageError(Finding("ND431", name, f"{name} is {value}", f"it has to be {allowed}", f"choose another {name}"))


def returned(who: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what a caller's function gave back, when it has the agreed shape and is finite.

    Raises:
        UsageError: ND432 otherwise.
    """
    value = np.asarray(value)
    if value.shape != shape or not np.isfinite(value).all():
        what = f"{who} returned {value.shape}" if value.shape != shape else f"{who} returned values that are not finite"
        raise UsageError(Finding("ND432", who, what, f"{shape} and finite is agreed", f"see the type of `{who}`"))
    return value


def unlike(place: str, what: str, why: str) -> UsageError:
    return UsageError(
        Finding("ND430", place, f"{place} {what}", why, "pass (step, sample, *neuron) with (sample,) labels")
    )
