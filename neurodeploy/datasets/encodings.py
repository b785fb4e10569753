"""How samples become input over time: arrays (step, sample, neuron), spikes as uint8, currents as float32.

Intensities are in [0, 1]. Nothing here draws from a global random state: the same call gives the same spikes.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, LoadError, UsageError

OF_IMAGES = ("direct", "rate", "latency", "delta", "rows")
OF_RECORDINGS = ("frames", "counts")
"""For what is over time already."""
KINDS = (*OF_IMAGES, *OF_RECORDINGS)


def direct(images: np.ndarray, steps: int) -> np.ndarray:
    """Return every image repeated at every step, as a constant input current.

    Args:
        images: (sample, neuron) or (sample, *neuron), any real dtype.
        steps: number of steps, at least 1.

    Returns:
        (step, sample, *neuron) float32, a read-only view: no step costs memory of its own.
    """
    images = np.asarray(images, dtype=np.float32)
    return np.broadcast_to(images, (steps, *images.shape))


def rate(images: np.ndarray, steps: int, seed: int, first: int | np.ndarray = 0) -> np.ndarray:
    """Return spikes drawn for each pixel and step with the pixel's intensity as probability.

    s[t, i, n] = [r < images[i, n]], r uniform in [0, 1) from numpy's default generator seeded with (seed, number of i)

    One generator per sample, so sample i has the same spikes however many samples are encoded with it.

    Args:
        images: (sample, *neuron) in [0, 1]; 0 never spikes, 1 spikes at every step.
        steps: number of steps, at least 1.
        seed: non-negative.
        first: number of images[0] in its dataset, the others following it, or the number of each, (sample,).

    Returns:
        (step, sample, *neuron) uint8.
    """
    images = np.asarray(images, dtype=np.float32)
    numbers = first + np.arange(len(images)) if np.ndim(first) == 0 else np.asarray(first)
    spikes = np.empty((steps, *images.shape), dtype=np.uint8)
    for i, (image, number) in enumerate(zip(images, numbers, strict=True)):
        draws = np.random.default_rng((seed, number)).random((steps, *image.shape), dtype=np.float32)
        spikes[:, i] = draws < image
    return spikes


def latency(images: np.ndarray, steps: int) -> np.ndarray:
    """Return one spike per pixel, the brighter the earlier; a pixel of intensity 0 stays silent.

    t = floor((1 - x) * (steps - 1) + 1/2)      so x = 1 spikes at step 0, x -> 0 at the last step

    Args:
        images: (sample, *neuron) in [0, 1].
        steps: number of steps, at least 1.

    Returns:
        (step, sample, *neuron) uint8.
    """
    images = np.asarray(images, dtype=np.float32)
    times = np.floor((1 - images) * (steps - 1) + 0.5)
    clock = np.arange(steps).reshape(steps, *(1,) * images.ndim)
    return ((clock == times) & (images > 0)).astype(np.uint8)


def delta(signal: np.ndarray, threshold: float) -> np.ndarray:
    """Return a spike where the signal has changed by at least `threshold` since the step before.

    on[t] = [x[t] - x[t-1] >= threshold] ; off[t] = [x[t-1] - x[t] >= threshold] ; none at step 0

    Args:
        signal: (step, sample, neuron), any real unit.
        threshold: above 0, in the signal's unit.

    Returns:
        (step, sample, 2 * neuron) uint8: the rising channel of every neuron, then the falling one.
    """
    signal = np.asarray(signal, dtype=np.float32)
    change = np.diff(signal, axis=0, prepend=signal[:1])
    return np.concatenate([change >= threshold, -change >= threshold], axis=-1).astype(np.uint8)


def rows(images: np.ndarray, steps: int = 28) -> np.ndarray:
    """Return every image fed row by row from the top, one row of graded currents per step.

    Args:
        images: (sample, height, width), or (sample, height * width); the height is `steps`.
        steps: number of rows.

    Returns:
        (step, sample, width) float32.

    Raises:
        ValueError: the pixels do not divide into `steps` rows.
    """
    images = np.asarray(images, dtype=np.float32)
    width = math.prod(images.shape[1:]) // steps
    return np.ascontiguousarray(images.reshape(len(images), steps, width).transpose(1, 0, 2))


@dataclass(frozen=True)
class Encoding:
    """How samples become a model's input; stored with the model, so that it is always fed as it was trained.

    Args:
        kind: "direct", "rate", "latency", "delta" or "rows", each a function of this file, for images; "delta" takes an
            image as a signal, one row per step. "frames", for recordings, divides their duration into `steps` equal
            bins: a spike where at least one event fell into the bin, or the mean of the features over it. "counts", for
            recordings made of events, says how many fell into the bin, as tonic's ToFrame does.
        steps: of input, at least 1; of "rows" and "delta", the height of the images.
        seed: of "rate", at least 0; the others draw nothing.
        threshold: of "delta", above 0 in intensity; None for the others.

    Raises:
        UsageError: ND050 when a value is out of its range or does not go with the kind.
    """

    kind: str
    steps: int
    seed: int = 0
    threshold: float | None = None

    def __post_init__(self) -> None:
        claims = (
            (self.kind in KINDS, f"kind is {self.kind!r}", f"kinds are {', '.join(KINDS)}"),
            (_is_integer(self.steps, 1), f"steps is {self.steps!r}", "a number of steps is an integer of at least 1"),
            (_is_integer(self.seed, 0), f"seed is {self.seed!r}", "a seed is an integer of at least 0"),
            (self._threshold_fits(), f"threshold is {self.threshold!r}", "only delta has one, above 0 and finite"),
        )
        findings = [_misuse(what, why) for holds, what, why in claims if not holds]
        if findings:
            raise UsageError(*findings)

    def _threshold_fits(self) -> bool:
        if self.kind != "delta":
            return self.threshold is None
        return isinstance(self.threshold, int | float) and 0 < self.threshold < math.inf

    def encode(self, images: np.ndarray, first: int | np.ndarray = 0) -> np.ndarray:
        """Return images as input (step, sample, *neuron): uint8 spikes, or float32 currents for "direct" and "rows".

        Args:
            images: (sample, *neuron) in [0, 1].
            first: number of images[0] in its dataset, the others following it, or the number of each, (sample,).

        Raises:
            UsageError: ND050 when the images have values outside [0, 1], or no `steps` rows where rows are fed; when
                the kind is for recordings.
        """
        if self.kind in OF_RECORDINGS:
            why = "they divide a recording's duration into bins, and an image has none"
            raise UsageError(_misuse(f"{self.kind} of images", why, f"for images there are {', '.join(OF_IMAGES)}"))
        images = np.asarray(images)
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            what = f"intensities reach from {images.min()} to {images.max()}"
            raise UsageError(_misuse(what, "an intensity lies in [0, 1]"))
        if self.kind in ("rows", "delta") and not self._rows_fit(images.shape[1:]):
            what = f"images of shape {images.shape[1:]} have no {self.steps} rows"
            raise UsageError(_misuse(what, f"{self.kind} feeds one row per step"))
        if self.kind == "direct":
            return direct(images, self.steps)
        if self.kind == "rate":
            return rate(images, self.steps, self.seed, first)
        if self.kind == "latency":
            return latency(images, self.steps)
        signal = rows(images, self.steps)
        return signal if self.threshold is None else delta(signal, self.threshold)

    def _rows_fit(self, shape: tuple[int, ...]) -> bool:
        """Return whether images (height, width) have `steps` rows; flat ones do not say more than that they may."""
        return shape[0] == self.steps if len(shape) == 2 else bool(shape) and math.prod(shape) % self.steps == 0

    def to_plain(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Encoding":
        """Return the encoding that `to_plain` took apart.

        Raises:
            LoadError: ND055 when a field is unknown, absent or out of its range.
        """
        try:
            return cls(**plain)
        except (TypeError, UsageError) as error:
            what = f"the recommended encoding cannot be read: {error}"
            finding = Finding("ND055", "stored encoding", what, "its fields are fixed", "save the model again")
            raise LoadError(finding) from error


def _misuse(what: str, why: str, fix: str = "see neurodeploy.datasets.Encoding") -> Finding:
    return Finding("ND050", "encoding", what, why, fix)


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
