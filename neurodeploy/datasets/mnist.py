"""MNIST from the four idx files as published, plain or gzipped, in the official order and split. Never downloaded."""

import gzip
import os
import zlib
from math import prod
from pathlib import Path

import numpy as np

from neurodeploy.errors import Finding, LoadError

IMAGE_SHAPE = (28, 28)
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FOLDERS = (".", "mnist", "MNIST/raw")
"""Below the data folder: as given, one folder per dataset, and torchvision's layout."""

UNSIGNED_BYTE = 0x08
"""The only element type MNIST uses, third byte of an idx file."""


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (images, labels) of one split: 60,000 for "train", 10,000 for "test".

    Returns:
        images (sample, 784) float32 in [0, 1], byte / 255, row by row from the top; labels (sample,) int64.

    Raises:
        LoadError: ND051 when a file is nowhere to be found, ND052 when one is damaged or not what its name says.
    """
    image_path, label_path = (find(name) for name in FILES[split])
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.shape[1:] != IMAGE_SHAPE:
        raise _damaged(image_path, f"holds arrays of shape {images.shape}, not (sample, 28, 28)")
    if labels.shape != images.shape[:1]:
        raise _damaged(label_path, f"holds labels of shape {labels.shape} for {len(images)} images")
    if labels.size and labels.max() > 9:
        raise _damaged(label_path, f"holds the label {labels.max()}; digits end at 9")
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255), labels.astype(np.int64)


def data_folders() -> tuple[Path, ...]:
    """Return where data are looked for: $NEURODEPLOY_DATA alone when set, otherwise ../shared/data.

    Relative to the current directory first, then to the repository.
    """
    chosen = os.environ.get("NEURODEPLOY_DATA")
    if chosen:
        return (Path(chosen),)
    repository = Path(__file__).resolve().parents[2]
    return (Path("../shared/data"), repository / "../shared/data")


def find(name: str) -> Path:
    """Return the path of the idx file `name`, plain before gzipped.

    Raises:
        LoadError: ND051.
    """
    places = [root / folder for root in data_folders() for folder in FOLDERS]
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    what = f"{name} (or {name}.gz) was not found"
    why = f"looked in {', '.join(os.path.normpath(place) for place in places)}; nothing is downloaded at run time"
    fix = (
        "put the four idx files into one folder and set NEURODEPLOY_DATA to it; "
        "torchvision.datasets.MNIST(FOLDER, download=True) makes a FOLDER that fits"
    )
    raise LoadError(Finding("ND051", "dataset mnist", what, why, fix))


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
    why = "an idx file says its own shape, and this one contradicts it or its name"
    return LoadError(Finding("ND052", str(path), f"{path.name} {what}", why, "fetch the file again"))
