"""Free Spoken Digit Dataset: six people say the ten digits fifty times each, 8 kHz, as log-mel features."""

import re
from pathlib import Path

import numpy as np

from neurodeploy.datasets import places
from neurodeploy.datasets.features import Features, log_mel, read_wav

CHANNELS = 32
RATE_HZ = 8000
TEST_TAKES = 5
"""The official split: takes 0 to 4 of every digit and speaker are the test."""

LAYOUTS = ("fsdd/recordings", "free-spoken-digit-dataset/recordings", "fsdd/fsdd_recordings.tar.xz")
RECORDING = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")
VERSION = "fsdd-1"
"""Of the cached arrays."""


def load(split: str, obtain: str) -> tuple[Features, np.ndarray]:
    """Return the spoken digits of a split, 2,700 for "train" and 300 for "test", ordered by take, speaker and digit.

    Returns:
        features of 32 channels, one frame per 10 ms (see `features.log_mel`); labels (sample,) int64.

    Raises:
        LoadError: ND051 when there are none, ND052 when one is damaged.
    """
    path = places.find("FSDD", LAYOUTS, obtain)
    key = f"{VERSION}/{split}-{places.fingerprint(path)}"
    arrays = places.cached(key, ("values", "spans", "labels"), lambda: _read(path, split))
    return Features(arrays["values"], arrays["spans"]), arrays["labels"]


def _read(path: Path, split: str) -> dict[str, np.ndarray]:
    found = []
    for name, content in places.members(path, lambda name: RECORDING.fullmatch(name) is not None):
        digit, speaker, take = RECORDING.fullmatch(name).groups()  # type: ignore[union-attr]
        if (int(take) < TEST_TAKES) == (split == "test"):
            sound = read_wav(path, name, content, RATE_HZ)
            found.append((int(take), speaker, int(digit), log_mel(sound, RATE_HZ, CHANNELS)))
    if not found:
        raise places.damaged(path, f"has no {split} recording <digit>_<speaker>_<take>.wav")
    found.sort(key=lambda recording: recording[:3])
    ends = np.cumsum([len(values) for *_, values in found])
    return {
        "values": np.concatenate([values for *_, values in found]),
        "spans": np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1).astype(np.float64),
        "labels": np.array([digit for _, _, digit, _ in found], dtype=np.int64),
    }
