"""Data to deploy with: images with labels, the encoding that turns them into input, and users' own recorded input."""

from dataclasses import dataclass

import numpy as np

from neurodeploy.datasets import digits, mnist
from neurodeploy.datasets.encodings import Encoding
from neurodeploy.datasets.recording import Recording, load_npz
from neurodeploy.errors import Finding, UsageError

__all__ = ["NAMES", "SPLITS", "Dataset", "Encoding", "Recording", "load", "load_npz"]

NAMES = ("digits", "mnist")
SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled images: `images` (sample, pixel) float32 in [0, 1], row by row; `labels` (sample,) int64.

    `image_shape` is (height, width), so that images.reshape(-1, *image_shape) are pictures again.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    image_shape: tuple[int, ...]


def load(name: str, split: str = "test", limit: int | None = None) -> Dataset:
    """Return a dataset of `NAMES`, or its first `limit` samples.

    Raises:
        UsageError: ND050 when there is no such dataset or split, or `limit` is below 1.
        LoadError: ND051 when its files are not found, ND052 when one is damaged.
    """
    if name not in NAMES:
        raise _unfit(f"no dataset is called {name!r}", f"known are {', '.join(NAMES)}; an .npz file goes to load_npz")
    if split not in SPLITS:
        raise _unfit(f"{name} has no split {split!r}", f"known are {', '.join(SPLITS)}")
    if limit is not None and not (isinstance(limit, int) and limit >= 1):
        raise _unfit(f"limit is {limit!r}", "a number of samples is at least 1")
    source = {"digits": digits, "mnist": mnist}[name]
    images, labels = source.load(split)
    return Dataset(name, images[:limit], labels[:limit], source.IMAGE_SHAPE)


def _unfit(what: str, why: str) -> UsageError:
    return UsageError(Finding("ND050", "dataset", what, why, "see neurodeploy.datasets.NAMES and SPLITS"))
