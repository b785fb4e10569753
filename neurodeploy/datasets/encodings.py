"""How images become input over time: arrays (step, sample, neuron), spikes as uint8, currents as float32.

Intensities are in [0, 1]. Nothing here draws from a global random state: the same call gives the same spikes on any machine.
"""

import numpy as np


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


def rate(images: np.ndarray, steps: int, seed: int, first: int = 0) -> np.ndarray:
    """Return spikes drawn for each pixel and step with the pixel's intensity as probability.

    s[t, i, n] = [r < images[i, n]], r uniform in [0, 1) from numpy's default generator seeded with (seed, first + i)

    One generator per sample, so sample i has the same spikes however many samples are encoded with it.

    Args:
        images: (sample, *neuron) in [0, 1]; 0 never spikes, 1 spikes at every step.
        steps: number of steps, at least 1.
        seed: non-negative.
        first: index of images[0] in its dataset, to encode a dataset piece by piece.

    Returns:
        (step, sample, *neuron) uint8.
    """
    images = np.asarray(images, dtype=np.float32)
    spikes = np.empty((steps, *images.shape), dtype=np.uint8)
    for i, image in enumerate(images):
        draws = np.random.default_rng((seed, first + i)).random((steps, *image.shape), dtype=np.float32)
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
    return np.ascontiguousarray(images.reshape(len(images), steps, -1).transpose(1, 0, 2))
