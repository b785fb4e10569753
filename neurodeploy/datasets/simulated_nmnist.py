"""Simulated N-MNIST: event streams computed from MNIST images. Not the recordings of Orchard et al. (2015).

Their set-up is followed: a camera of 34 x 34 pixels looks at the digit, dark on bright, and makes three saccades of
105 ms along a triangle. Each pixel remembers the log intensity of its last event; a rise by its threshold gives an ON
event, a fall an OFF event. Times are interpolated within a millisecond, jittered, and kept apart by a refractory time;
sparse noise is added.

Calibrated, not derived: the path, the speed along it, the thresholds and the blur were fitted to 1,000 real *training*
recordings, and the rate of the noise was chosen with the pixel counts of 100 real test recordings in view. A classifier
tells simulated from real recordings, whose noise is richer. A score on these is never a score on N-MNIST.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from neurodeploy.datasets import mnist, places
from neurodeploy.datasets.events import FLAT, STREAM, Events, flat
from neurodeploy.datasets.nmnist import DURATION_US, SHAPE

SIZES = {"train": 10_000, "test": 2_000}
"""The first so many of MNIST's images, when no other number is asked for."""

SPLIT_NUMBER = {"train": 0, "test": 1}
SEED = 0
WIDTH = SHAPE[-1]
BORDER = 10
"""Pixels of background around an image, more than the camera ever sees of it."""

VERTICES = np.array([[0.4, 1.3], [2.0, 6.8], [5.9, 1.1], [0.4, 1.2]])
"""Where the image's corner lies (x, y) in the camera's pixels at the ends of the saccades; fitted."""

SACCADES_MS = ((0, 95), (95, 217), (217, 315))
RATE = np.array([
    5, 11, 24, 42, 63, 89, 114, 130, 144, 149, 153, 149, 125, 113, 74, 34, 19, 10, 10, 13, 16, 20, 24, 28, 42, 68, 88,
    104, 118, 126, 128, 124, 121, 105, 75, 49, 31, 18, 17, 21, 26, 25, 17, 11, 6, 15, 57, 97, 112, 115, 120, 130, 126,
    113, 92, 73, 64, 52, 34, 18, 7, 3, 0,
], dtype=float)  # fmt: skip
"""Events per 5 ms, mean of 1,000 real training recordings: the camera moves as fast as events are many."""

AMBIENT = 1.0
"""Light that the black of the screen still gives, in units of its white."""

BLUR_PIXELS = 0.51
THRESHOLD, THRESHOLD_SPREAD = 0.103, 0.08
"""Of log intensity; each pixel's is off by a factor exp(spread * normal), the same in all recordings."""

REFRACTORY_US, JITTER_US = 1500, 500
NOISE_HZ = 0.2
"""Per pixel."""

MOST_PER_MS = 4
"""Events of one pixel, polarity and millisecond."""

SENSOR = 12345
"""Second word of the seed from which the pixels' thresholds are drawn."""

BATCH = 100
"""Images simulated, and kept, at a time."""

VERSION = "nmnist-simulated-1"
"""Of the cached arrays."""


def load(split: str, limit: int | None = None, progress: places.Progress | None = None) -> tuple[Events, np.ndarray]:
    """Return the first `limit` simulated recordings of a split; what is not yet in the cache is simulated.

    About 8 ms and 25 kB each. `limit` may go beyond `SIZES`, up to MNIST's own number.

    Returns:
        events of shape (2, 34, 34), in microseconds; labels (sample,) int64, MNIST's.

    Raises:
        LoadError: ND051, ND052 about MNIST; ND057 when the cache cannot be written.
    """
    images, labels = mnist.load_bytes(split)
    total = min(SIZES[split] if limit is None else limit, len(images))
    parts, done = [], 0
    for part in _parts(split, images, total):
        parts.append(part)
        done += len(part["starts"]) - 1
        if progress is not None:
            progress(min(done, total), total)
    offsets = np.cumsum([0] + [part["starts"][-1] for part in parts])
    starts = [part["starts"][:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
    times, addresses = (np.concatenate([part[key] for part in parts]) for key in ("times", "addresses"))
    durations = np.full(done, DURATION_US, np.int64)
    events = Events(times, addresses, np.concatenate([*starts, offsets[-1:]]), durations, SHAPE)
    return events.first(total), labels[:total]


def _parts(split: str, images: np.ndarray, total: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield recordings 0 to `total`, or some more, in pieces: the longest in the cache, else simulated.

    A piece is called <split>-<first>-<end>. Each recording depends on its own number only, so pieces of earlier runs
    may start and end anywhere.
    """
    digest = f"{VERSION}/{mnist.digest(images)}"
    first = 0
    while first < total:
        kept = _kept(digest, split)
        end = kept.get(first) or min(first + BATCH, total, *(start for start in kept if start > first))
        key = f"{digest}/{split}-{first:05d}-{end:05d}"
        yield places.cached(key, FLAT, lambda a=first, b=end: flat(simulate(images[a:b], split, a)))  # type: ignore[misc]
        first = end


def _kept(digest: str, split: str) -> dict[int, int]:
    """Return the end of the longest cached piece by where it begins."""
    found: dict[int, int] = {}
    for folder in (places.cache_folder() / digest).glob(f"{split}-*"):
        matched = re.fullmatch(rf"{split}-(\d+)-(\d+)", folder.name)
        if matched:
            first, end = map(int, matched.groups())
            found[first] = max(end, found.get(first, 0))
    return found


def path() -> np.ndarray:
    """Return where the image's corner lies (x, y) in the camera's pixels, every millisecond from 0 to 315."""
    ms = np.arange(DURATION_US // 1000 + 1, dtype=float)
    speed = np.interp(ms, np.arange(len(RATE)) * 5 + 2.5, RATE)
    corner = np.zeros((len(ms), 2))
    for (begin, end), (origin, goal) in zip(SACCADES_MS, pairwise(VERTICES), strict=True):
        way = np.concatenate([[0], np.cumsum(speed[begin:end])])
        corner[begin : end + 1] = origin + (way / way[-1])[:, None] * (goal - origin)
    return corner


def simulate(images: np.ndarray, split: str, first: int, seed: int = SEED) -> list[np.ndarray]:
    """Return the events of each image as `STREAM`, in the order of time.

    Args:
        images: (sample, 28, 28) uint8, the first being number `first` of the split.
        seed: of the sensor and of all noise; a recording depends on (seed, split, number) and on nothing else.
    """
    draws = [np.random.default_rng([seed, SPLIT_NUMBER[split], first + i]) for i in range(len(images))]
    ink = np.pad(images.astype(np.float32) / 255, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    brightness = np.log(AMBIENT + (1 - blurred(ink))).astype(np.float32)
    sensor = np.random.default_rng([seed, SENSOR])
    on, off = (
        (THRESHOLD * np.exp(THRESHOLD_SPREAD * sensor.standard_normal((WIDTH, WIDTH)))).astype(np.float32)
        for _ in range(2)
    )
    corner = path()
    before = seen(brightness, *corner[0])
    phase = np.stack([draw.random((WIDTH, WIDTH), dtype=np.float32) for draw in draws]) - 0.5
    level = before + phase * THRESHOLD
    last = np.full(before.shape, -1e9, np.float32)
    found = []
    for ms in range(1, len(corner)):
        now = seen(brightness, *corner[ms])
        change = now - before
        for sign, threshold, polarity in ((1, on, 1), (-1, off, 0)):
            for _ in range(MOST_PER_MS):
                crossed = (sign * (now - level) >= threshold) & (np.sign(change) == sign)
                if not crossed.any():
                    break
                at = i, y, x = np.nonzero(crossed)
                level[at] += sign * threshold[y, x]
                fraction = 1 - (now[at] - level[at]) / change[at]
                t = (ms - 1 + np.clip(fraction, 0, 1)) * 1000
                rested = t - last[at] >= REFRACTORY_US
                i, y, x, t = i[rested], y[rested], x[rested], t[rested]
                last[i, y, x] = t
                found.append((i, x, y, t, np.full(len(i), polarity)))
        before = now
    which, *events = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(which, kind="stable")
    cuts = np.searchsorted(which[order], np.arange(len(images) + 1))
    return [
        _recording(draw, *(part[order[begin:end]] for part in events))
        for draw, (begin, end) in zip(draws, pairwise(cuts), strict=True)
    ]


def _recording(draw: np.random.Generator, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return one recording's events, jittered, with noise, as `STREAM` in the order of time."""
    t = t + np.abs(draw.normal(0, JITTER_US, len(t)))
    noise = draw.poisson(NOISE_HZ * WIDTH * WIDTH * DURATION_US / 1e6)
    x = np.concatenate([x, draw.integers(0, WIDTH, noise)])
    y = np.concatenate([y, draw.integers(0, WIDTH, noise)])
    t = np.concatenate([t, draw.random(noise) * DURATION_US])
    p = np.concatenate([p, draw.integers(0, 2, noise)])
    events = np.empty(len(x), STREAM)
    events["t"], events["address"] = np.clip(t, 0, 2**23 - 1).astype(np.int64), (p * WIDTH + y) * WIDTH + x
    return events[np.argsort(events["t"], kind="stable")]


def seen(brightness: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return what the camera sees of bordered images whose corner lies at (x, y), (sample, 34, 34), bilinearly."""
    left, top = np.floor(-x), np.floor(-y)
    right_share, lower_share = -x - left, -y - top
    column, row = int(left) + BORDER, int(top) + BORDER
    part = brightness[:, row : row + WIDTH + 1, column : column + WIDTH + 1]
    part = part[:, :-1] * (1 - lower_share) + part[:, 1:] * lower_share
    return part[:, :, :-1] * (1 - right_share) + part[:, :, 1:] * right_share


def blurred(images: np.ndarray) -> np.ndarray:
    """Return images (sample, height, width) under the optics' Gaussian of `BLUR_PIXELS`, cut at 3 pixels."""
    offsets = np.arange(-3, 4)
    weights = np.exp(-(offsets**2) / (2 * BLUR_PIXELS**2))
    weights /= weights.sum()
    _, height, width = images.shape
    wide = np.pad(images, ((0, 0), (3, 3), (3, 3)))
    wide = sum(weights[i] * wide[:, i : i + height, :] for i in range(7))
    return sum(weights[i] * wide[:, :, i : i + width] for i in range(7))
