"""Do two networks represent the same inputs alike? Linear centered kernel alignment (CKA) of their spikes.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),       K = X Xᵀ, L = Y Yᵀ (sample, sample)

1 for X and Y that differ by an orthogonal map, a scale and a shift, about 0 for independent ones. Features of a layer
are its spikes of all steps; only matrices of sample by sample are ever built.

Source: Kornblith, Norouzi, Lee, Hinton, arXiv 1905.00414; over mini-batches Nguyen, Raghu, Kornblith, arXiv 2010.15327.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from neurodeploy.errors import Finding, UsageError

COLUMNS = 1 << 14
"""Features turned into float64 at once."""
RESOLUTION = 1e-12
"""The least HSIC(K, K), relative to the mean square of K, that is told from rounding."""
LEAST = 4
"""Samples that the unbiased estimator needs: it averages over four different ones."""


def concatenated(spikes: np.ndarray) -> np.ndarray:
    """Return spikes (step, sample, *neuron) as features (sample, step x neuron), dtype kept."""
    return np.moveaxis(spikes, 1, 0).reshape(spikes.shape[1], -1)


def gram(features: np.ndarray) -> np.ndarray:
    """Return X Xᵀ, float64 (sample, sample), of features (sample, *feature) less those of the first sample.

    No HSIC sees a shift of all samples; taking it out keeps large constants from costing digits, and leaves nothing of
    features that do not vary.
    """
    x = np.asarray(features).reshape(len(features), -1)
    total = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], COLUMNS):
        block = x[:, start : start + COLUMNS].astype(np.float64)
        block -= block[0].copy()
        total += block @ block.T
    return total


def hsic_biased(k: np.ndarray, ell: np.ndarray) -> float:
    """Return tr(K H L H) / (n - 1)², H = 1 - 1/n, as eq. (12) of arXiv 2402.01782 prints it.

    It stays well above 0 for independent features while there are not many more samples than features.

    Args:
        k, ell: Gram matrices, float64 (sample, sample).
    """
    return float(np.sum(_centered(k) * _centered(ell))) / (len(k) - 1) ** 2


def hsic_unbiased(k: np.ndarray, ell: np.ndarray) -> float:
    """Return the estimate of HSIC whose mean is HSIC itself, so that sums over mini-batches mean something.

        [tr(K̃ L̃) + 1ᵀK̃1 1ᵀL̃1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1ᵀK̃L̃1] / (n (n - 3)),     K̃, L̃: diagonals set to 0

    Args:
        k, ell: Gram matrices, float64 (sample, sample), of n >= 4 samples.

    Source: Song, Smola, Gretton, Bedo, Borgwardt, J. Mach. Learn. Res. 13 (2012) 1393-1434, eq. (5).
    """
    n, k, ell = len(k), _hollow(k), _hollow(ell)
    rows_k, rows_l = k.sum(axis=1), ell.sum(axis=1)
    trace, both = np.sum(k * ell), rows_k.sum() * rows_l.sum()
    return float((trace + both / ((n - 1) * (n - 2)) - 2 * (rows_k @ rows_l) / (n - 2)) / (n * (n - 3)))


@dataclass
class MiniBatchCKA:
    """CKA of any number of samples, batch by batch: the three HSICs are summed separately and divided once."""

    unbiased: bool = True
    samples: int = 0
    across: float = 0.0
    within_a: float = 0.0
    within_b: float = 0.0

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Add one batch of features of the same samples in the same order.

        Args:
            a, b: (sample, *feature), of any dtype; each may have features of its own.

        Raises:
            UsageError: ND436 when the samples are not equally many, or too few.
        """
        self._check(len(a), len(b))
        self.add_grams(gram(a), gram(b))

    def add_grams(self, k: np.ndarray, ell: np.ndarray) -> None:
        """Add one batch by its Gram matrices, which many pairs of layers share; raises as `add` does."""
        self._check(len(k), len(ell))
        hsic = hsic_unbiased if self.unbiased else hsic_biased
        self.samples += len(k)
        self.across += hsic(k, ell)
        self.within_a += _resolved(hsic(k, k), k)
        self.within_b += _resolved(hsic(ell, ell), ell)

    def _check(self, a: int, b: int) -> None:
        least = LEAST if self.unbiased else 2
        if a != b or a < least:
            raise _unfit("ND436", f"a batch of {a} and {b} samples", f"both need the same {least} or more")

    @property
    def value(self) -> float:
        """CKA of what was added: from 0 to 1 when biased, from -1 to 1 when unbiased.

        Raises:
            UsageError: ND437 when nothing was added, or one side's features do not vary, as in a layer that is silent;
                the unbiased estimate does not see a single sample that differs from all others either.
        """
        if not (self.within_a > 0 and self.within_b > 0):
            raise _unfit("ND437", "features that do not vary", "without variance there is nothing to compare")
        return self.across / sqrt(self.within_a * self.within_b)


def cka(a: np.ndarray, b: np.ndarray, *, unbiased: bool = True, batch: int | None = None) -> float:
    """Return the CKA of two features of the same samples; see `MiniBatchCKA`.

    Args:
        a, b: (sample, *feature), e.g. `concatenated` spikes.
        batch: samples per mini-batch, all at once by default; what is left over joins the last one.

    Raises:
        UsageError: ND436 for too few samples or unequal ones, ND437 for features that do not vary.
    """
    if len(a) != len(b) or (batch is not None and batch < 1):
        raise _unfit(
            "ND436", f"{len(a)} and {len(b)} samples in batches of {batch}", "both sides need the same samples"
        )
    size, alignment = batch or max(1, len(a)), MiniBatchCKA(unbiased)
    starts = range(0, max(1, len(a) - size + 1), size)
    for start, stop in pairwise([*starts, len(a)]):
        alignment.add(a[start:stop], b[start:stop])
    return alignment.value


def _centered(gram_matrix: np.ndarray) -> np.ndarray:
    """Return H K H of a symmetric K."""
    rows = gram_matrix.mean(axis=1)
    return gram_matrix - rows - rows[:, np.newaxis] + rows.mean()


def _hollow(gram_matrix: np.ndarray) -> np.ndarray:
    hollow = gram_matrix.copy()
    np.fill_diagonal(hollow, 0.0)
    return hollow


def _resolved(within: float, gram_matrix: np.ndarray) -> float:
    """Return HSIC(K, K), or 0 when it is what rounding leaves of 0."""
    return within if within > RESOLUTION * float(np.mean(np.square(gram_matrix))) else 0.0


def _unfit(code: str, what: str, why: str) -> UsageError:
    return UsageError(Finding(code, "CKA", what, why, "pass features (sample, feature) of the same samples, that vary"))
