"""N-MNIST (Orchard et al. 2015): MNIST digits filmed by a moving event camera, from the published .bin files."""

import re
from pathlib import Path

import numpy as np

from neurodeploy.datasets import places
from neurodeploy.datasets.events import FLAT, STREAM, Events, flat

SHAPE = (2, 34, 34)
"""Polarity (0 darker, 1 brighter), height, width."""

DURATION_US = 315_000
"""Three saccades of 105 ms."""

FOLDER = {"train": "Train", "test": "Test"}
ARCHIVE = "nmnist_real_1000_100.tar.xz"
LAYOUTS = (
    "NMNIST/{folder}", "nmnist/{folder}", "NMNIST/{split}.zip", "nmnist/{split}.zip", f"nmnist_real/{ARCHIVE}", ARCHIVE,
)  # fmt: skip
"""Below the data folder: tonic's, unpacked or as published, and the sample of 1,000 and 100 recordings."""

OVERFLOW_Y, OVERFLOW_US = 240, 2**13
"""An event of this y is none: it says that the clock has wrapped."""

VERSION = "nmnist-1"
"""Of the cached arrays."""


def load(split: str, obtain: str) -> tuple[Events, np.ndarray]:
    """Return every recording of a split that is here, in MNIST's order.

    Files are <class>/<number>.bin below Train or Test, in a folder, in the published train.zip and test.zip, or in a
    tar archive of both; the number counts MNIST's images from 1. Any part of them will do.

    Returns:
        events of shape `SHAPE`, in microseconds; labels (sample,) int64.

    Raises:
        LoadError: ND051 when there are none, ND052 when one is damaged or they are simulated.
    """
    names = [layout.format(folder=FOLDER[split], split=split) for layout in LAYOUTS]
    path = places.find("N-MNIST", names, obtain)
    if any((folder / "SIMULATED.txt").exists() for folder in (path, path.parent)):
        raise places.damaged(path, "holds simulated recordings", "simulated N-MNIST is never called N-MNIST")
    key = f"{VERSION}/{split}-{places.fingerprint(path)}"
    arrays = places.cached(key, (*FLAT, "labels"), lambda: _read(path, split))
    durations = np.full(len(arrays["labels"]), DURATION_US, np.int64)
    return Events(arrays["times"], arrays["addresses"], arrays["starts"], durations, SHAPE), arrays["labels"]


def _read(path: Path, split: str) -> dict[str, np.ndarray]:
    pattern = re.compile(r"(\d)/(\d+)\.bin" if path.is_dir() else rf"(?:.*/)?{FOLDER[split]}/(\d)/(\d+)\.bin")
    found = []
    for name, content in places.members(path, lambda name: pattern.fullmatch(name) is not None):
        digit, number = pattern.fullmatch(name).groups()  # type: ignore[union-attr]
        found.append((int(number), int(digit), decode(path, name, content)))
    if not found:
        raise places.damaged(path, f"has no recording {FOLDER[split]}/<class>/<number>.bin")
    found.sort(key=lambda recording: recording[0])
    labels = np.array([digit for _, digit, _ in found], dtype=np.int64)
    return {**flat(events for _, _, events in found), "labels": labels}


def decode(path: Path, name: str, content: bytes) -> np.ndarray:
    """Return the events of a .bin file as `STREAM`: 40 bits each, big-endian.

    x: bits 39-32 ; y: 31-24 ; polarity: 23 ; t: 22-0 in microseconds

    Raises:
        LoadError: ND052 when the bytes are no whole events, or an event lies off the 34 x 34 pixels.
    """
    if len(content) % 5:
        raise places.damaged(path, f"holds {name} of {len(content)} bytes; an event takes 5")
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64).T
    wrapped = y == OVERFLOW_Y
    t = ((high & 127) << 16 | middle << 8 | low) + OVERFLOW_US * np.cumsum(wrapped)
    x, y, t, polarity = (part[~wrapped] for part in (x, y, t, high >> 7))
    _, height, width = SHAPE
    if len(x) and (x.max() >= width or y.max() >= height):
        raise places.damaged(path, f"holds {name} with an event at x {x.max()}, y {y.max()} or beyond")
    events = np.empty(len(x), STREAM)
    events["t"], events["address"] = t, (polarity * height + y) * width + x
    return events
