"""Heartbeats of the QT database, level-crossing coded by Yin et al. (2021): which wave of the beat is it now?"""

from pathlib import Path

import numpy as np

from neurodeploy.datasets import places
from neurodeploy.datasets.events import Events

SHAPE = (4,)
"""Two leads, each with a channel for rises and one for falls."""

WAVES = ("P", "PQ", "QR", "RS", "ST", "TP")
STEPS = 1301
"""Of each published recording, at 250 Hz."""

WINDOW_STEPS = 100
STRIDE_STEPS = 20
LAYOUTS = ("qtdb_ecg/QTDB_{split}.mat", "QTDB_{split}.mat", "data/QTDB_{split}.mat")


def load(split: str, obtain: str) -> tuple[Events, np.ndarray]:
    """Return windows of 100 steps (0.4 s) cut from the recordings, each with the label of its last step.

    The published data label every step; a decision per step is a decision about the window that ends there. Windows end
    at steps 99, 119, ... 1299 of the 618 recordings of "train" and the 141 of "test"; those whose last step has no
    label are left out (8 to 10 % of the steps), and so are the first 99 steps, which have no full window. What is left
    is a sample of Yin et al.'s accuracy per step, with a memory of 0.4 s. Time is counted in steps. Every value of the
    coding that is not 0 counts as a spike: 0.08 % of the first channel's are -1, the others 1.

    Returns:
        events of 4 channels, 35,088 recordings for "train" and 7,811 for "test"; labels (sample,) int64 into `WAVES`.

    Raises:
        LoadError: ND051 when the file is absent, ND052 when it is damaged.
    """
    path = places.find("QTDB", [layout.format(split=split) for layout in LAYOUTS], obtain)
    spikes, marks = _read(path)
    ends = np.arange(WINDOW_STEPS - 1, STEPS, STRIDE_STEPS)
    recording, which = np.nonzero(marks[:, ends].any(axis=2))
    last = ends[which]
    window = last[:, None] + np.arange(1 - WINDOW_STEPS, 1)
    sample, step, channel = np.nonzero(spikes[recording[:, None], window])
    starts = np.searchsorted(sample, np.arange(len(last) + 1))
    durations = np.full(len(last), WINDOW_STEPS, np.int64)
    labels = marks[recording, last].argmax(axis=1)
    return Events(step.astype(np.uint32), channel.astype(np.uint16), starts, durations, SHAPE), labels


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (spikes, marks) of a published file: (recording, 1301, 4) and (recording, 1301, 6) bool."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=("x", "y"))
        spikes, marks = content["x"] != 0, content["y"] != 0
    except (MatReadError, TypeError, *places.UNREADABLE) as error:
        raise places.damaged(path, f"cannot be read: {error}") from error
    shapes = (len(spikes), STEPS, *SHAPE), (len(spikes), STEPS, len(WAVES))
    if (spikes.shape, marks.shape) != shapes:
        raise places.damaged(path, f"has x of shape {spikes.shape} and y of shape {marks.shape}")
    if (marks.sum(axis=2) > 1).any():
        raise places.damaged(path, "has a step with two labels")
    return spikes, marks
