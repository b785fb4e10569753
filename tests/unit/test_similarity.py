"""CKA's identities, and both HSIC estimators against definitions spelled out in loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import UsageError
from neurodeploy.evaluation.similarity import (
    COLUMNS,
    MiniBatchCKA,
    cka,
    concatenated,
    gram,
    hsic_biased,
    hsic_unbiased,
)

SEEDS = st.integers(0, 2**32 - 1)


def features(seed: int, samples: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, *shape))


def raw_gram(x: np.ndarray) -> np.ndarray:
    """X Xᵀ with nothing taken off."""
    return x @ x.T


@given(SEEDS, st.integers(4, 7))
@settings(max_examples=15, deadline=None)
def test_unbiased_is_the_average_over_distinct_quadruples(seed: int, n: int) -> None:
    """Average over distinct i, j, q, r of K_ij (L_ij + L_qr - 2 L_iq): the U-statistic of HSIC."""
    k, ell = raw_gram(features(seed, n, 3) + 1), raw_gram(features(seed + 1, n, 2) - 2)
    terms = [k[i, j] * (ell[i, j] + ell[q, r] - 2 * ell[i, q]) for i, j, q, r in permutations(range(n), 4)]
    assert hsic_unbiased(k, ell) == pytest.approx(np.mean(terms), rel=1e-10, abs=1e-10)


@given(SEEDS, st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_biased_is_the_squared_cross_covariance(seed: int, n: int) -> None:
    """tr(K H L H) / (n - 1)² = ||cov(X, Y)||² with NumPy's own covariance."""
    x, y = features(seed, n, 3) + 5, features(seed + 1, n, 2)
    cross = np.cov(x.T, y.T)[:3, 3:]
    assert hsic_biased(raw_gram(x), raw_gram(y)) == pytest.approx(np.sum(cross**2), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_orthogonal_maps_scale_and_shift_do_not_count(unbiased: bool, seed: int) -> None:
    """CKA(X, a X Q + c) = 1 and CKA(a X Q + c, Y) = CKA(X, Y)."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((12, 6)), rng.standard_normal((12, 4))
    q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    moved = rng.uniform(0.1, 10) * x @ q + rng.standard_normal(6)
    assert cka(x, x, unbiased=unbiased) == pytest.approx(1, abs=1e-12)
    assert cka(x, moved, unbiased=unbiased) == pytest.approx(1, abs=1e-12)
    assert cka(moved, y, unbiased=unbiased) == pytest.approx(cka(x, y, unbiased=unbiased), abs=1e-12)


def test_a_map_that_is_not_orthogonal_counts() -> None:
    x = features(0, 40, 6)
    assert cka(x, x * [30, 1, 1, 1, 1, 1]) < 0.8


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_hsic_itself_sees_no_shift(seed: int) -> None:
    """Also where the Gram matrix carries the shift."""
    x, y = features(seed, 10, 5), features(seed + 1, 10, 3)
    for hsic in (hsic_biased, hsic_unbiased):
        assert hsic(raw_gram(x + 3), raw_gram(y)) == pytest.approx(hsic(raw_gram(x), raw_gram(y)), abs=1e-11)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_large_shift_costs_no_digits(seed: int) -> None:
    x, y = features(seed, 10, 5).astype(np.float32).astype(np.float64), features(seed + 1, 10, 3)
    assert cka(x + 2.0**20, y) == pytest.approx(cka(x, y), abs=1e-9)


def test_only_the_unbiased_estimate_finds_independent_features_unlike() -> None:
    """n = 16, p = 10, Gaussian: about .39 biased and about 0 unbiased (the reference measured .39 and .004).

    The biased one by hand, with Wishart matrices of n - 1 degrees of freedom: E tr(HKHL) = p² (n - 1) beside
    E tr(HKHK) = p (n - 1) (n + p), so p / (n + p) = 10 / 26.
    """
    pairs = [(features(2 * i, 16, 10), features(2 * i + 1, 16, 10)) for i in range(300)]
    biased = np.mean([cka(a, b, unbiased=False) for a, b in pairs])
    unbiased = np.mean([cka(a, b) for a, b in pairs])
    assert biased == pytest.approx(10 / 26, abs=0.015)
    assert abs(unbiased) < 0.02


def test_batches_are_summed_before_they_are_divided() -> None:
    """Three batches of different size of variance: ratio of sums, by hand, which is not the mean of ratios."""
    x, y = features(0, 24, 5), features(1, 24, 5)
    y += x
    x[:8] *= 7
    parts = [(gram(x[i : i + 8]), gram(y[i : i + 8])) for i in (0, 8, 16)]
    across, a, b = (sum(hsic_unbiased(p[i], p[j]) for p in parts) for i, j in ((0, 1), (0, 0), (1, 1)))
    alignment = MiniBatchCKA()
    for i in (0, 8, 16):
        alignment.add(x[i : i + 8], y[i : i + 8])
    assert alignment.samples == 24
    assert alignment.value == pytest.approx(across / np.sqrt(a * b), rel=1e-12)
    assert cka(x, y, batch=8) == alignment.value
    assert alignment.value != pytest.approx(np.mean([cka(x[i : i + 8], y[i : i + 8]) for i in (0, 8, 16)]), abs=1e-3)


@pytest.mark.parametrize("batch", [None, 12, 50])
def test_one_batch_is_the_whole(batch: int | None) -> None:
    x, y = features(0, 12, 5), features(1, 12, 3)
    alignment = MiniBatchCKA()
    alignment.add(x, y)
    assert cka(x, y, batch=batch) == alignment.value


def test_what_is_left_over_joins_the_last_batch() -> None:
    x, y = features(0, 11, 5), features(1, 11, 3)
    alignment = MiniBatchCKA()
    alignment.add(x[:4], y[:4])
    alignment.add(x[4:], y[4:])
    assert cka(x, y, batch=4) == alignment.value


def test_concatenated_spikes_are_one_sample_per_row() -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (5, 3, 2, 4)).astype(np.uint8)
    rows = concatenated(spikes)
    assert rows.shape == (3, 40)
    assert rows.dtype == np.uint8
    for sample in range(3):
        assert np.array_equal(rows[sample], np.concatenate([frame.ravel() for frame in spikes[:, sample]]))


def test_spikes_do_not_overflow_in_wide_layers() -> None:
    """uint8 spikes of more features than a block holds: entries of X Xᵀ, counted as spikes that coincide."""
    spikes = np.random.default_rng(0).integers(0, 2, (4, COLUMNS + 300)).astype(np.uint8)
    spikes[0] = 0
    coincide = [[int(np.sum(a & b)) for b in spikes] for a in spikes]
    assert np.array_equal(gram(spikes), coincide)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1.0])
def test_a_layer_that_does_not_vary_has_no_similarity(unbiased: bool, constant: float) -> None:
    with pytest.raises(UsageError, match="ND437"):
        cka(np.full((8, 5), constant), features(0, 8, 5), unbiased=unbiased)


def test_rounding_is_not_taken_for_variance() -> None:
    """One sample apart from all others: a Gram matrix a_i + a_j, whose unbiased HSIC is 0 and may round to above it."""
    rounded_up = 0
    for seed in range(20):
        x = np.tile(features(seed, 1, 7), (9, 1))
        x[0] = features(seed + 1, 1, 7)
        rounded_up += hsic_unbiased(gram(x), gram(x)) > 0
        with pytest.raises(UsageError, match="ND437"):
            cka(x, features(2, 9, 5))
    assert rounded_up


@pytest.mark.parametrize(("a", "b", "unbiased"), [(3, 3, True), (1, 1, False), (8, 7, True), (0, 0, True)])
def test_too_few_or_unequal_samples_are_refused(a: int, b: int, unbiased: bool) -> None:
    with pytest.raises(UsageError, match="ND436"):
        cka(features(0, a, 3), features(1, b, 3), unbiased=unbiased)
    with pytest.raises(UsageError, match="ND436"):
        MiniBatchCKA(unbiased).add(features(0, a, 3), features(1, b, 3))


def test_nothing_added_has_no_similarity() -> None:
    with pytest.raises(UsageError, match="ND437"):
        _ = MiniBatchCKA().value


def test_gram_matrices_add_up_as_their_features_do() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((12, 5)), rng.random((12, 3))
    one, other = MiniBatchCKA(), MiniBatchCKA()
    for part in (slice(0, 6), slice(6, 12)):
        one.add(a[part], b[part])
        other.add_grams(gram(a[part]), gram(b[part]))
    assert one == other
    with pytest.raises(UsageError, match="ND436"):
        other.add_grams(gram(a[:3]), gram(b[:3]))
