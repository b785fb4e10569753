"""How sure is a share? A proportion counted on finitely many samples, with the interval that its count allows."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from neurodeploy.errors import Finding, UsageError

CONFIDENCE = 0.95


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a binomial proportion: every p that a z-test of p = hits / n would not reject.

        |hits/n - p| <= z sqrt(p (1 - p) / n)
        <=>  (hits + z²/2 - w) / (n + z²) <= p <= (hits + z²/2 + w) / (n + z²),   w = z sqrt(hits (n - hits) / n + z²/4)

    z is the (1 + confidence) / 2 quantile of the normal distribution, 1.960 for 95 %. The interval covers the sampling
    of the test set, not the spread between trainings. Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.

    Raises:
        UsageError: ND439 unless 0 <= hits <= n, n >= 1 and 0 < confidence < 1.
    """
    if not 0 <= hits <= n or n < 1:
        raise _unfit(
            f"{hits} of {n} is no proportion", "a share needs at least one sample, and no more hits than samples"
        )
    if not 0 < confidence < 1:
        raise _unfit(f"confidence is {confidence}", "a confidence lies between 0 and 1, both excluded")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    center, reach = hits + z2 / 2, sqrt(z2) * sqrt(hits * (n - hits) / n + z2 / 4)
    low, high = (center - reach) / (n + z2), (center + reach) / (n + z2)
    return (low if hits else 0.0), (high if hits < n else 1.0)


@dataclass(frozen=True)
class Proportion:
    """`hits` of `n` samples; counts of disjoint batches add up. Of no samples it has no value, rather than 0."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """hits / n.

        Raises:
            UsageError: ND439 when n is 0.
        """
        if self.n < 1:
            raise _unfit("there are no samples", "a share of nothing has no value, and 0 would be a claim")
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `wilson`; raises as `value` does."""
        return wilson(self.hits, self.n)

    def __add__(self, other: Proportion) -> Proportion:
        return Proportion(self.hits + other.hits, self.n + other.n)


def _unfit(what: str, why: str) -> UsageError:
    return UsageError(Finding("ND439", "proportion", what, why, "count on data that hold such samples"))
