"""Fisher information of models whose information is known in closed form, and its three estimates told apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from neurodeploy.errors import UsageError
from neurodeploy.evaluation.fisher import (
    Batch,
    Information,
    batch_mean,
    empirical,
    expected,
    mean_of,
    over_time,
)

SEEDS = st.integers(0, 2**32 - 1)
STEPS, NEURONS, CLASSES = 4, 3, 4


class SoftmaxLinear:
    """p(y | x(1..t)) = softmax(W m + b), m the mean over the steps given; gradients written out."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weight, self.bias = rng.standard_normal((CLASSES, NEURONS)), rng.standard_normal(CLASSES)

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        z = np.exp(inputs.mean(axis=0) @ self.weight.T + self.bias)
        return z / z.sum(axis=1, keepdims=True)

    def gradients(self, inputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        error = self.probabilities(inputs) - targets
        return {"weight": error[:, :, None] * inputs.mean(axis=0)[:, None, :], "bias": error}

    def log_likelihood(self, frame: np.ndarray, y: int) -> Callable:
        """Return log p(y | frame) as a PyTorch function of (weight, bias)."""
        x = torch.tensor(frame)
        return lambda weight, bias: F.log_softmax(weight @ x + bias, dim=0)[y]


def data(seed: int, *sizes: int) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((STEPS, n, NEURONS)), rng.integers(0, CLASSES, n)) for n in sizes]


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_expected_is_the_analytic_information_of_a_softmax(seed: int) -> None:
    """I(W) = mean of (diag p - p pᵀ) (x) m mᵀ and I(b) = mean of diag p - p pᵀ: traces of matrices built as such."""
    model, batches = SoftmaxLinear(seed), data(seed, 5, 2)
    by_weight, by_bias = np.zeros((CLASSES * NEURONS,) * 2), np.zeros((CLASSES,) * 2)
    for inputs, _ in batches:
        for p, m in zip(model.probabilities(inputs), inputs.mean(axis=0), strict=True):
            covariance = np.diag(p) - np.outer(p, p)
            by_weight += np.kron(covariance, np.outer(m, m)) / 7
            by_bias += covariance / 7
    found = expected(model.gradients, model.probabilities, batches)
    assert found.samples == 7
    assert found.trace == pytest.approx({"weight": np.trace(by_weight), "bias": np.trace(by_bias)}, rel=1e-10)
    assert found.parameters == {"weight": CLASSES * NEURONS, "bias": CLASSES}


def test_expected_is_the_curvature() -> None:
    """The Fisher information of an exponential family is minus the Hessian of log p, which PyTorch differentiates."""
    model, batches = SoftmaxLinear(0), data(1, 3)
    trace = 0.0
    for frame in batches[0][0].mean(axis=0):
        function = partial(model.log_likelihood(frame, 2), bias=torch.tensor(model.bias))
        hessian = torch.autograd.functional.hessian(function, torch.tensor(model.weight))
        trace -= float(torch.einsum("ijij->", hessian)) / 3
    assert expected(model.gradients, model.probabilities, batches).trace["weight"] == pytest.approx(trace, rel=1e-10)


def test_empirical_squares_each_sample_and_batch_mean_squares_their_mean() -> None:
    """Both from PyTorch's gradient of log p(label), sample by sample; batches of different sizes weigh differently."""
    model, batches = SoftmaxLinear(2), data(3, 5, 2)
    single, mean = 0.0, 0.0
    for inputs, labels in batches:
        weight = torch.tensor(model.weight, requires_grad=True)
        slopes = []
        for frame, y in zip(inputs.mean(axis=0), labels, strict=True):
            function = model.log_likelihood(frame, int(y))
            slopes.append(torch.autograd.grad(function(weight, torch.tensor(model.bias)), weight)[0].numpy())
        single += sum(float(np.sum(g**2)) for g in slopes) / 7
        mean += float(np.sum(np.mean(slopes, axis=0) ** 2)) / 2
    assert empirical(model.gradients, batches, classes=CLASSES).trace["weight"] == pytest.approx(single, rel=1e-10)
    found = batch_mean(mean_of(model.gradients), batches, classes=CLASSES)
    assert found.trace["weight"] == pytest.approx(mean, rel=1e-10)
    assert found.samples == 7
    assert single > 1.2 * mean


def test_the_estimates_agree_where_they_should() -> None:
    """Batches of one sample: batch_mean is empirical. Labels drawn from p itself: empirical tends to expected."""
    model = SoftmaxLinear(4)
    ones = data(5, *[1] * 6)
    alone = batch_mean(mean_of(model.gradients), ones, classes=CLASSES)
    assert alone.trace == pytest.approx(empirical(model.gradients, ones, classes=CLASSES).trace, rel=1e-12)
    rng = np.random.default_rng(6)
    inputs = np.repeat(data(7, 4)[0][0], 5000, axis=1)
    drawn = (model.probabilities(inputs).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    sampled = empirical(model.gradients, [(inputs, drawn)], classes=CLASSES)
    exact = expected(model.gradients, model.probabilities, [(inputs, drawn)])
    assert sampled.trace == pytest.approx(exact.trace, rel=0.03)


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_per_sample_estimates_do_not_depend_on_batches(seed: int) -> None:
    model, ((inputs, labels),) = SoftmaxLinear(seed), data(seed, 6)
    parts = [(inputs[:, s], labels[s]) for s in (slice(1), slice(1, 4), slice(4, 6))]
    for estimate in (
        partial(empirical, model.gradients, classes=CLASSES),
        partial(expected, model.gradients, model.probabilities),
    ):
        assert estimate(parts).trace == pytest.approx(estimate([(inputs, labels)]).trace, rel=1e-10)


def test_shares_add_up_and_per_parameter_does_not_favor_size() -> None:
    information = Information("expected", {"small": 6.0, "large": 18.0}, {"small": 2, "large": 12}, 1)
    assert information.share == {"small": 0.25, "large": 0.75}
    assert information.per_parameter == {"small": 3.0, "large": 1.5}


def test_over_time_sees_only_the_steps_so_far() -> None:
    """The information at t is that of inputs which end there."""
    model, batches = SoftmaxLinear(8), data(9, 5, 2)
    estimate = partial(expected, model.gradients, model.probabilities)
    found = over_time(estimate, batches, [1, 3, STEPS])
    assert list(found) == [1, 3, STEPS]
    assert found[STEPS] == estimate(batches)
    assert found[1].trace != found[3].trace
    later = [(np.concatenate([inputs[:3], inputs[3:] + 9]), labels) for inputs, labels in batches]
    changed = over_time(estimate, later, [1, 3, STEPS])
    assert (changed[1], changed[3]) == (found[1], found[3])
    assert changed[STEPS].trace != found[STEPS].trace


def shifting(model: SoftmaxLinear) -> Callable:
    """Return gradients whose tensors are called otherwise in each call."""
    calls = iter("abcdefgh")
    return lambda inputs, targets: {next(calls): model.gradients(inputs, targets)["bias"]}


@pytest.mark.parametrize(
    "call",
    [
        lambda m, b: empirical(m.gradients, [], classes=CLASSES),
        lambda m, b: empirical(lambda x, q: {}, b, classes=CLASSES),
        lambda m, b: empirical(m.gradients, b, classes=1),
        lambda m, b: empirical(m.gradients, [(b[0][0], b[0][1][:1])], classes=CLASSES),
        lambda m, b: empirical(mean_of(m.gradients), b, classes=CLASSES),
        lambda m, b: empirical(lambda x, q: {"w": np.full((len(q), 2), np.nan)}, b, classes=CLASSES),
        lambda m, b: empirical(lambda x, q: {"w": np.zeros((len(q), 2))}, b, classes=CLASSES).share,
        lambda m, b: empirical(shifting(m), b, classes=CLASSES),
        lambda m, b: expected(m.gradients, lambda x: m.probabilities(x) / 2, b),
        lambda m, b: expected(m.gradients, lambda x: m.probabilities(x)[:1], b),
        lambda m, b: batch_mean(lambda x, q: {"w": np.array(np.inf)}, b, classes=CLASSES),
        lambda m, b: over_time(partial(empirical, m.gradients, classes=CLASSES), b, [STEPS + 1]),
        lambda m, b: over_time(partial(empirical, m.gradients, classes=CLASSES), b, [0]),
    ],
)
def test_what_measures_nothing_is_refused(call: Callable) -> None:
    with pytest.raises(UsageError, match="ND438"):
        call(SoftmaxLinear(0), data(0, 5, 2))
