"""The score interval against published figures, its own definition and SciPy; a share of nothing has no value."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from neurodeploy.errors import UsageError
from neurodeploy.evaluation.uncertainty import Proportion, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


COUNTS = st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.5, 0.999))
def test_the_ends_are_where_the_test_just_rejects(counts: tuple[int, int], confidence: float) -> None:
    """At both ends |share - p| = z sqrt(p (1 - p) / n), and the share lies between them."""
    hits, n = counts
    low, high = wilson(hits, n, confidence)
    assert 0 <= low <= hits / n <= high <= 1
    for p in (low, high):
        reach = norm.ppf((1 + confidence) / 2) * sqrt(p * (1 - p) / n)
        assert abs(hits / n - p) == pytest.approx(reach, rel=1e-6, abs=1e-9)


@given(COUNTS)
def test_equals_scipy(counts: tuple[int, int]) -> None:
    theirs = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson(*counts) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_disjoint_counts_add_up() -> None:
    assert Proportion(3, 4) + Proportion(0, 1) == Proportion(3, 5)
    assert Proportion(3, 5).value == 0.6
    assert Proportion(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_proportion_has_no_interval(hits: int, n: int) -> None:
    with pytest.raises(UsageError, match="ND439"):
        wilson(hits, n)


def test_a_share_of_nothing_is_not_zero() -> None:
    with pytest.raises(UsageError, match="ND439"):
        _ = Proportion(0, 0).value


@pytest.mark.parametrize("confidence", [0.0, 1.0, float("nan")])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(UsageError, match="ND439"):
        wilson(1, 2, confidence)
