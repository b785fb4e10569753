"""MNIST and Fashion-MNIST from the four idx files as published, plain or gzipped, in the official order and split."""

import gzip
import hashlib
import os
import zlib
from math import prod
from pathlib import Path

import numpy as np

from neurodeploy.datasets.places import damaged, data_folders
from neurodeploy.errors import Finding, LoadError

IMAGE_SHAPE = (28, 28)
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FOLDERS = {
    "mnist": (".", "mnist", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw", "/usr/share/datasets/fashion-mnist"),
}
"""Below the data folder: as given, one folder per dataset, and torchvision's layout; Debian's package of Fashion-MNIST.

Loose files are MNIST, because both sets use the same names.
"""

UNSIGNED_BYTE = 0x08
"""The only element type MNIST uses, third byte of an idx file."""


def load(split: str, name: str = "mnist") -> tuple[np.ndarray, np.ndarray]:
    """Return (images, labels) of one split: 60,000 for "train", 10,000 for "test".

    Returns:
        images (sample, 784) float32 in [0, 1], byte / 255, row by row from the top; labels (sample,) int64.

    Raises:
        LoadError: ND051 when a file is nowhere to be found, ND052 when one is damaged or not what its name says.
    """
    images, labels = load_bytes(split, name)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255), labels


def load_bytes(split: str, name: str = "mnist") -> tuple[np.ndarray, np.ndarray]:
    """Return (images, labels) as published: images (sample, 28, 28) uint8, labels (sample,) int64; raises as `load`."""
    image_path, label_path = (find(file, name) for file in FILES[split])
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.shape[1:] != IMAGE_SHAPE:
        raise _damaged(image_path, f"holds arrays of shape {images.shape}, not (sample, 28, 28)")
    if labels.shape != images.shape[:1]:
        raise _damaged(label_path, f"holds labels of shape {labels.shape} for {len(images)} images")
    if labels.size and labels.max() > 9:
        raise _damaged(label_path, f"holds the label {labels.max()}; classes end at 9")
    return images, labels.astype(np.int64)


def digest(images: np.ndarray) -> str:
    """Return 16 hex digits of the images' SHA-256."""
    return hashlib.sha256(images.tobytes()).hexdigest()[:16]


def find(file: str, name: str = "mnist") -> Path:
    """Return the path of an idx file of `name`, plain before gzipped.

    Raises:
        LoadError: ND051.
    """
    places = [root / folder for root in data_folders() for folder in FOLDERS[name]]
    for place in places:
        for path in (place / file, place / f"{file}.gz"):
            if path.is_file():
                return path
    what = f"{file} (or {file}.gz) was not found"
    why = f"looked in {', '.join(dict.fromkeys(map(os.path.normpath, places)))}; nothing is downloaded unasked"
    raise LoadError(Finding("ND051", f"dataset {name}", what, why, OBTAIN[name]))


OBTAIN = {
    "mnist": "put the four idx files into one folder and set NEURODEPLOY_DATA to it, or run "
    "neurodeploy.datasets.download('mnist'); torchvision's and tonic's folders fit too",
    "fashion-mnist": "put the four idx files into fashion-mnist/ below NEURODEPLOY_DATA, or run "
    "neurodeploy.datasets.download('fashion-mnist'), or on Debian: apt install dataset-fashion-mnist",
}


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an idx file of unsigned bytes, plain or gzipped.

    Two zero bytes, the element type, the number of axes, each axis length as a big-endian uint32, then the elements.

    Raises:
        LoadError: ND052 when the file is damaged, truncated, too long or of another kind.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"cannot be read: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise _damaged(path, f"starts with {content[:4].hex(' ') or 'nothing'}, not with 00 00 08")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise _damaged(path, f"ends after {len(content)} bytes, inside its header")
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], dtype=">u4"))
    if len(content) - start != prod(shape):
        raise _damaged(path, f"announces {prod(shape)} bytes of shape {shape} and holds {len(content) - start}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _damaged(path: Path, what: str) -> LoadError:
    return damaged(path, what, "an idx file says its own shape, and this one contradicts it or its name")
