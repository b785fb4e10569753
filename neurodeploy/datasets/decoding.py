"""Which images are behind a model's input, and how does a loss that is known in the input change with a pixel?"""

from __future__ import annotations

import numpy as np

from neurodeploy.datasets.encodings import Encoding
from neurodeploy.errors import Finding, UsageError

DECODED = ("direct", "rate", "latency", "rows")
"""Encodings of which a pixel's slope is known."""


def images_behind(inputs: np.ndarray, encoding: Encoding, images: np.ndarray | None = None) -> np.ndarray:
    """Return the images (sample, *pixel) in [0, 1] that `encoding` turns into exactly `inputs`.

    Currents are the pixels themselves; spikes do not tell them, so there `images` have to be known.

    Args:
        inputs: (step, sample, *neuron); images: of the same samples or of more, the first ones first, or None.

    Raises:
        UsageError: ND440 for another encoding, without images, or when the inputs are not what these images become.
    """
    if encoding.kind not in DECODED:
        raise _unknown(f"a {encoding.kind} encoding", f"pixels are found again for {', '.join(DECODED)}")
    samples = inputs.shape[1]
    if encoding.kind == "direct":
        found = inputs[0]
    elif encoding.kind == "rows":
        found = np.moveaxis(inputs.reshape(*inputs.shape[:2], -1), 0, 1)
    elif images is None or len(images) < samples:
        raise _unknown(f"{encoding.kind} coded spikes", "they do not tell the pixels, and the data set is not known")
    else:
        found = images[:samples].reshape(samples, *inputs.shape[2:])
    within = bool(found.size) and float(found.min()) >= 0 and float(found.max()) <= 1
    if not within or not np.array_equal(encoding.encode(found).reshape(inputs.shape), inputs):
        raise _unknown("no images become this input", "perturbed and encoded anew, they would be other samples")
    return found


def slope_of_pixels(images: np.ndarray, encoding: Encoding, slope: np.ndarray) -> np.ndarray:
    """Return the derivative of a loss by every pixel, float64 (sample, *pixel), from `slope`, by the encoded input.

        direct    x(t) = p              sum over t of g(t)
        rate      E x(t) = p            the same, of the spikes' mean
        rows      x(t) = row t of p     g, row by row
        latency   spike at s(p)         (steps - 1) (g(s - 1) - g(s + 1)) / 2: the brighter, the earlier

    At the first and at the last step a spike has nothing to move to on one side, and counts for the other alone; a dark
    pixel has no spike, and a little light adds one at the last step.

    Args:
        images: (sample, *pixel) as `images_behind` returns them; slope: (step, sample, *neuron).
    """
    g = np.asarray(slope, np.float64)
    if encoding.kind == "rows":
        return np.moveaxis(g.reshape(*g.shape[:2], -1), 0, 1).reshape(images.shape)
    if encoding.kind != "latency":
        return g.sum(axis=0).reshape(images.shape)
    g = g.reshape(len(g), *images.shape)
    last = len(g) - 1
    if not last:
        return g[0]
    spike = np.floor((1 - np.asarray(images, np.float32)) * last + 0.5).astype(np.int64)
    earlier, later = np.maximum(spike - 1, 0), np.minimum(spike + 1, last)
    moved = _at(g, earlier) - _at(g, later)
    return np.where(images > 0, last * moved / (later - earlier), g[last])


def _at(slope: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.take_along_axis(slope, step[np.newaxis], axis=0)[0]


def _unknown(what: str, why: str) -> UsageError:
    fix = "attack the input itself, or give a data set by name to a model with one of these encodings"
    return UsageError(Finding("ND440", "images", what, why, fix))
