"""Data to deploy with: samples with labels, the encoding that turns them into input, and users' own recorded input."""

from collections.abc import Callable

import numpy as np

from neurodeploy.datasets import cifar, digits, event_cameras, fsdd, mnist, nmnist, qtdb, simulated_nmnist, timit
from neurodeploy.datasets.catalog import CATALOG
from neurodeploy.datasets.dataset import Dataset, Recordings
from neurodeploy.datasets.download import download
from neurodeploy.datasets.encodings import Encoding
from neurodeploy.datasets.events import Events
from neurodeploy.datasets.features import Features
from neurodeploy.datasets.places import Progress
from neurodeploy.datasets.recording import Recording, load_npz
from neurodeploy.errors import Finding, UsageError

__all__ = [
    "DESCRIPTIONS",
    "NAMES",
    "SPLITS",
    "Dataset",
    "Encoding",
    "Recording",
    "Recordings",
    "default_encoding",
    "download",
    "load",
    "load_npz",
]

NAMES = tuple(CATALOG)
SPLITS = ("train", "test")
DESCRIPTIONS = {name: entry.description for name, entry in CATALOG.items()}
"""One line per dataset: what it is, its split and its licence."""

IMAGES: dict[str, tuple[Callable[[str], tuple[np.ndarray, np.ndarray]], tuple[int, ...]]] = {
    "digits": (digits.load, digits.IMAGE_SHAPE),
    "mnist": (mnist.load, mnist.IMAGE_SHAPE),
    "fashion-mnist": (lambda split: mnist.load(split, "fashion-mnist"), mnist.IMAGE_SHAPE),
    "cifar10": (lambda split: cifar.load(split, "cifar10", CATALOG["cifar10"].obtain), cifar.IMAGE_SHAPE),
    "cifar100": (lambda split: cifar.load(split, "cifar100", CATALOG["cifar100"].obtain), cifar.IMAGE_SHAPE),
}
"""How images are read, and their shape."""

RECORDINGS: dict[str, Callable[[str, str], tuple[Events | Features, np.ndarray]]] = {
    "nmnist": nmnist.load,
    "dvs-gesture": event_cameras.load_gestures,
    "cifar10-dvs": event_cameras.load_cifar10dvs,
    "timit": timit.load_corpus,
    "timit-sample": timit.load_sample,
    "fsdd": fsdd.load,
    "qtdb": qtdb.load,
    "shd": event_cameras.load_shd,
}
"""How recordings are read, given the split and how to obtain them."""


def load(
    name: str, split: str = "test", limit: int | None = None, progress: Progress | None = None
) -> Dataset | Recordings:
    """Return a dataset of `NAMES`, or its first `limit` samples.

    Args:
        progress: called with (done, total) while simulated N-MNIST is computed; the others take seconds.

    Raises:
        UsageError: ND050 when there is no such dataset or split, or `limit` is below 1.
        LoadError: ND051 when its files are not found, ND052 when one is damaged, ND056 when a package is missing that
            reads them, ND057 when the cache cannot be written.
    """
    _known(name)
    if split not in SPLITS:
        raise _unfit(f"{name} has no split {split!r}", f"known are {', '.join(SPLITS)}")
    if limit is not None and not (isinstance(limit, int) and limit >= 1):
        raise _unfit(f"limit is {limit!r}", "a number of samples is at least 1")
    entry = CATALOG[name]
    if name in IMAGES:
        read, shape = IMAGES[name]
        images, labels = read(split)
        return Dataset(_titled(name, split, labels), images[:limit], labels[:limit], shape, entry.classes)
    streams: Events | Features
    if name == "nmnist-simulated":
        streams, labels = simulated_nmnist.load(split, limit, progress)
    else:
        streams, labels = RECORDINGS[name](split, entry.obtain)
    chosen = np.array(labels[:limit], dtype=np.int64)
    return Recordings(_titled(name, split, labels), streams.first(limit), chosen, entry.classes)


def default_encoding(name: str) -> Encoding:
    """Return how a dataset's samples become input when nobody says otherwise.

    Raises:
        UsageError: ND050 when there is no such dataset.
    """
    _known(name)
    return CATALOG[name].encoding


def _titled(name: str, split: str, labels: np.ndarray) -> str:
    """Return what the dataset is called, with the share of it that is here when that is not all."""
    entry = CATALOG[name]
    size = None if entry.sizes is None else entry.sizes[SPLITS.index(split)]
    return entry.title if size in (None, len(labels)) else f"{entry.title}, {len(labels):,} of {size:,}"


def _known(name: str) -> None:
    if name not in CATALOG:
        raise _unfit(f"no dataset is called {name!r}", f"known are {', '.join(NAMES)}; an .npz file goes to load_npz")


def _unfit(what: str, why: str) -> UsageError:
    return UsageError(Finding("ND050", "dataset", what, why, "see neurodeploy.datasets.NAMES and SPLITS"))
