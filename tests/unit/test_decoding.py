"""The images behind an input are found exactly or not at all, and a pixel's slope is what moving it changes."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy import datasets
from neurodeploy.datasets import Encoding
from neurodeploy.datasets.decoding import images_behind, slope_of_pixels
from neurodeploy.errors import UsageError

STEPS, SAMPLES, PIXELS = 8, 5, 24
ENCODINGS = [Encoding(kind, STEPS, 3) for kind in ("direct", "rate", "latency", "rows")]


def images() -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, PIXELS), np.float32)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.kind)
def test_what_is_found_becomes_the_input_again(encoding: Encoding) -> None:
    """Currents need no help; of spikes the images are known, and more of them may be."""
    known = images()
    inputs = encoding.encode(known)[:, :3]
    found = images_behind(inputs, encoding, None if encoding.kind in ("direct", "rows") else known)
    assert np.array_equal(found.reshape(3, PIXELS), known[:3])
    assert np.array_equal(encoding.encode(found), inputs)


def test_digits_are_found_in_the_shape_of_a_models_input() -> None:
    encoding, digits = Encoding("rate", 5, 1), datasets.load("digits", limit=4)
    inputs = digits.encode(encoding).reshape(5, 4, 1, 8, 8)
    assert images_behind(inputs, encoding, digits.images).shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("encoding", "inputs", "known"),
    [
        (Encoding("delta", STEPS, threshold=0.1), np.zeros((STEPS, 2, 6)), None),
        (Encoding("frames", STEPS), np.zeros((STEPS, 2, 6)), None),
        (Encoding("rate", STEPS), np.zeros((STEPS, 2, PIXELS), np.uint8), None),
        (Encoding("rate", STEPS), np.zeros((STEPS, 2, PIXELS), np.uint8), images()[:1]),
        (Encoding("rate", STEPS), np.zeros((STEPS, 2, PIXELS), np.uint8), images()),
        (Encoding("direct", STEPS), np.random.default_rng(1).random((STEPS, 2, PIXELS)), None),
        (Encoding("direct", STEPS), np.full((STEPS, 2, PIXELS), 1.5), None),
    ],
    ids=["delta", "frames", "no images", "too few images", "other images", "another at each step", "beyond 1"],
)
def test_images_are_not_guessed(encoding: Encoding, inputs: np.ndarray, known: np.ndarray | None) -> None:
    with pytest.raises(UsageError, match="ND440"):
        images_behind(inputs, encoding, known)


@pytest.mark.parametrize("kind", ["direct", "rows"])
def test_the_slope_of_a_current_is_the_derivative(kind: str) -> None:
    """L = sum of g x is linear in the pixels, so a difference quotient is exact."""
    encoding, pixels = Encoding(kind, STEPS), 0.25 + images() / 2
    shape = encoding.encode(pixels).shape
    g = np.random.default_rng(2).integers(-4, 5, shape).astype(np.float64)
    slope = slope_of_pixels(pixels, encoding, g)
    for pixel in range(PIXELS):
        moved = np.zeros(PIXELS, np.float32)
        moved[pixel] = 0.125
        change = (g * (encoding.encode(pixels + moved).astype(np.float64) - encoding.encode(pixels - moved))).sum(
            (0, 2)
        )
        assert slope[:, pixel] == pytest.approx(change / 0.25, abs=1e-4)


def test_the_slope_of_a_rate_is_that_of_its_expectation() -> None:
    """Over many seeds, the mean of L = sum of g x is p times the slope."""
    pixels, g = images(), np.random.default_rng(3).normal(size=(STEPS, SAMPLES, PIXELS))
    slope = slope_of_pixels(pixels, Encoding("rate", STEPS), g)
    found = np.mean([(g * Encoding("rate", STEPS, seed).encode(pixels)).sum((0, 2)) for seed in range(400)], axis=0)
    spread = np.sqrt((g**2 * pixels * (1 - pixels)).sum((0, 2)) / 400)
    assert (np.abs(found - (slope * pixels).sum(1)) < 5 * spread).all()


def test_the_slope_of_a_latency_is_a_spike_one_step_earlier_less_one_step_later() -> None:
    last = STEPS - 1
    pixels = np.arange(STEPS)[np.newaxis] / last
    encoding, g = Encoding("latency", STEPS), np.random.default_rng(4).normal(size=(STEPS, 1, STEPS))
    slope = slope_of_pixels(pixels, encoding, g)[0]
    for pixel in range(2, STEPS - 1):
        up, down = (encoding.encode(pixels + sign * np.eye(STEPS)[pixel] / last) for sign in (1, -1))
        change = (g * (up.astype(float) - down)).sum()
        assert slope[pixel] == pytest.approx(change * last / 2)
    assert slope[0] == g[last, 0, 0]
    assert slope[-1] == pytest.approx(last * (g[0, 0, -1] - g[1, 0, -1]))
