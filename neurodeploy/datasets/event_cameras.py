"""DVS128 Gesture, CIFAR10-DVS and SHD, in the folders and formats that tonic keeps them in."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.datasets import places
from neurodeploy.datasets.events import FLAT, STREAM, Events, flat
from neurodeploy.errors import LoadError

CAMERA_SHAPE = (2, 128, 128)
"""Polarity (0 darker, 1 brighter), height, width."""

SHD_SHAPE = (700,)
SHD_CLASSES = 20
SHD_DURATION_US = 1_400_000
"""Longer than any recording of SHD."""

LATEST_US = 2**32 - 1
"""More than an hour; what times of `STREAM` can hold."""

TEST_DIGIT = 9
"""CIFAR10-DVS has no official split; ours tests on the recordings whose number ends with this: 1,000 of 10,000."""

VERSION = "events-2"
"""Of the cached arrays."""


def load_gestures(split: str, obtain: str) -> tuple[Events, np.ndarray]:
    """Return DVS128 Gesture (Amir et al. 2017) as tonic publishes it, cut into single gestures, by file name.

    DVSGesture/ibmGestureTrain/<user>_<light>/<class>.npy and ibmGestureTest; any part of them will do. The first so
    many are all gestures of the first persons.

    Returns:
        events of shape `CAMERA_SHAPE` in microseconds, each recording as long as its last event; labels (sample,).

    Raises:
        LoadError: ND051 when there are none, ND052 when one is damaged, ND056 without tonic.
    """
    path = places.find("DVS Gesture", [f"DVSGesture/ibmGesture{split.capitalize()}"], obtain)

    def read() -> dict[str, np.ndarray]:
        return read_tonic(subset("DVSGesture", ".npy"), path.parents[1], train=split == "train")

    return _camera(f"{VERSION}/gesture-{split}-{places.fingerprint(path)}", read)


def load_cifar10dvs(split: str, obtain: str) -> tuple[Events, np.ndarray]:
    """Return CIFAR10-DVS (Li et al. 2017): CIFAR10DVS/<class>/*_<number>.aedat4; any part of them will do.

    Ordered by number, then class, so that the first so many have all classes alike.

    Returns:
        events of shape `CAMERA_SHAPE` in microseconds, each recording as long as its last event; labels (sample,).

    Raises:
        LoadError: ND051 when there are none, ND052 when one is damaged, ND056 without tonic or aedat.
    """
    path = places.find("CIFAR10-DVS", ["CIFAR10DVS"], obtain)

    def read() -> dict[str, np.ndarray]:
        kind = subset("CIFAR10DVS", ".aedat4")
        return read_tonic(kind, path.parent, lambda name: in_test(name) == (split == "test"), by_number)

    return _camera(f"{VERSION}/cifar10dvs-{split}-{places.fingerprint(path)}", read)


def in_test(name: str) -> bool:
    """Return whether a recording of CIFAR10-DVS belongs to our test split, by the last digit of its number."""
    number, _ = by_number(name)
    return number % 10 == TEST_DIGIT


def by_number(name: str) -> tuple[int, str]:
    """Return a recording's number at the end of its file name, 0 when there is none, and its path, class first."""
    found = re.search(r"(\d+)\.\w+$", name)
    return int(found[1]) if found else 0, name


def subset(name: str, ending: str) -> Any:
    """Return tonic's class `name`, satisfied with a single file and never downloading.

    tonic's own asks for the archive and for as many files as were published (10,000 of N-MNIST), else it fetches them.

    Raises:
        LoadError: ND056 without tonic.
    """
    try:
        from tonic import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise places.missing("tonic", name, error) from error

    def there(self: Any) -> bool:
        return bool(self._folder_contains_at_least_n_files_of_type(1, ending))

    def download(self: Any) -> None:
        path = Path(self.location_on_system, self.folder_name)
        raise places.damaged(path, f"has no {ending} file where tonic looks for them")

    return type(name, (getattr(datasets, name),), {"_check_exists": there, "download": download})


def read_tonic(
    kind: Any,
    folder: Path,
    belongs: places.Wanted = lambda name: True,
    order: Callable[[str], Any] = str,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Return the arrays of `flat`, and `labels` and `durations`, of what one of tonic's classes reads.

    Args:
        kind: a class of `subset`.
        folder: holds the folder that tonic names after the class.
        belongs: which files, by path.
        order: what to sort them by, given the path.
        options: of the class.

    Raises:
        LoadError: ND052 when a file is damaged, ND056 when tonic needs a package more.
    """
    place = folder / kind.__name__
    try:
        source = kind(str(folder), **options)
        files = list(source.data)
        chosen = sorted((i for i, file in enumerate(files) if belongs(file)), key=lambda i: order(files[i]))
        recordings = [source[i] for i in chosen]
    except ImportError as error:
        raise places.missing(error.name or "tonic", kind.__name__, error) from error
    except LoadError:
        raise
    except Exception as error:  # tonic and its decoders raise whatever they like on damaged files
        raise places.damaged(place, f"cannot be read by tonic: {type(error).__name__}: {error}") from error
    if not recordings:
        raise places.damaged(place, "has no recording of this split")
    streams = [camera_events(Path(files[i]), events) for i, (events, _) in zip(chosen, recordings, strict=True)]
    labels = np.array([label for _, label in recordings], dtype=np.int64)
    durations = np.array([int(stream["t"].max()) + 1 for stream in streams], dtype=np.int64)
    return {**flat(streams), "labels": labels, "durations": durations}


def camera_events(file: Path, events: np.ndarray) -> np.ndarray:
    """Return tonic's events (x, y, p, t in microseconds) as `STREAM`, from the first on.

    Raises:
        LoadError: ND052 when there are none, or one lies off the 128 x 128 pixels or over an hour away.
    """
    if not len(events):
        raise places.damaged(file, "has no events")
    x, y, p, t = (events[key].astype(np.int64) for key in "xypt")
    t -= t.min()
    polarities, height, width = CAMERA_SHAPE
    limits = ((x, width), (y, height), (p, polarities), (t, LATEST_US))
    inside = np.logical_and.reduce([(value >= 0) & (value < limit) for value, limit in limits])
    if not inside.all():
        bad = np.flatnonzero(~inside)[0]
        raise places.damaged(file, f"has an event at x {x[bad]}, y {y[bad]}, polarity {p[bad]}, {t[bad]} us")
    stream = np.empty(len(events), STREAM)
    stream["t"], stream["address"] = t, (p * height + y) * width + x
    return stream


def _camera(key: str, read: Callable[[], dict[str, np.ndarray]]) -> tuple[Events, np.ndarray]:
    arrays = places.cached(key, (*FLAT, "labels", "durations"), read)
    events = Events(arrays["times"], arrays["addresses"], arrays["starts"], arrays["durations"], CAMERA_SHAPE)
    return events, arrays["labels"]


def load_shd(split: str, obtain: str) -> tuple[Events, np.ndarray]:
    """Return the Spiking Heidelberg Digits (Cramer et al. 2020), 8,156 for "train" and 2,264 for "test", as stored.

    SHD/shd_train.h5 and shd_test.h5, the published files unpacked, as tonic does.

    Returns:
        events of 700 channels in microseconds over 1.4 s; labels (sample,) int64: ten digits in English, then German.

    Raises:
        LoadError: ND051 when the file is absent, ND052 when it is damaged, ND056 without h5py.
    """
    file = f"shd_{split}.h5"
    path = places.find("SHD", [f"SHD/{file}", f"shd/{file}", file], obtain)
    key = f"{VERSION}/shd-{split}-{places.fingerprint(path)}"
    arrays = places.cached(key, (*FLAT, "labels"), lambda: _read_shd(path))
    durations = np.full(len(arrays["labels"]), SHD_DURATION_US, np.int64)
    return Events(arrays["times"], arrays["addresses"], arrays["starts"], durations, SHD_SHAPE), arrays["labels"]


def _read_shd(path: Path) -> dict[str, np.ndarray]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise places.missing("h5py", "SHD", error) from error
    try:
        with h5py.File(path) as file:
            labels = np.asarray(file["labels"], dtype=np.int64)
            streams = [
                _spikes(path, times, units)
                for times, units in zip(file["spikes/times"][:], file["spikes/units"][:], strict=True)
            ]
    except (TypeError, *places.UNREADABLE) as error:
        raise places.damaged(path, f"cannot be read: {error}") from error
    if labels.shape != (len(streams),):
        raise places.damaged(path, f"has {len(streams)} recordings and labels of shape {labels.shape}")
    if not np.isin(labels, np.arange(SHD_CLASSES)).all():
        raise places.damaged(path, f"has labels from {labels.min()} to {labels.max()}; there are {SHD_CLASSES} classes")
    return {**flat(streams), "labels": labels}


def _spikes(path: Path, times_s: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return spikes as `STREAM`; times are stored in seconds, in half precision."""
    times_us = np.asarray(times_s, np.float64) * 1e6
    if times_us.shape != units.shape or not ((times_us >= 0) & (times_us <= LATEST_US)).all():
        raise places.damaged(path, "has a spike at no time, or one that cannot be")
    if not np.isin(units, np.arange(SHD_SHAPE[0])).all():
        raise places.damaged(path, f"has spikes of units {units.min()} to {units.max()}; there are {SHD_SHAPE[0]}")
    stream = np.empty(len(units), STREAM)
    stream["t"], stream["address"] = times_us.astype(np.int64), units
    return stream
