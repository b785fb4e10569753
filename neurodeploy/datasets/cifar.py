"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the published pickles, read without running them, or a lossless subset."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.datasets import places

IMAGE_SHAPE = (3, 32, 32)
BATCHES = {
    "cifar10": {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
    "cifar100": {"train": ["train"], "test": ["test"]},
}
FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
LABELS = {"cifar10": (b"labels", 10), "cifar100": (b"fine_labels", 100)}
"""The key of the labels in a batch, and the number of classes."""

SPRITES = "cifar10/labels.npz"
COLUMNS = 50
"""Images per row of a sprite."""


def load(split: str, name: str, obtain: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (images, labels): 50,000 for "train" and 10,000 for "test" from the published files, else those there are.

    The data folder's subset of CIFAR-10 is 10,000 and 1,000: labels.npz, and pictures of 50 images a row.

    Returns:
        images (sample, 3072) float32 in [0, 1], byte / 255: red, green, blue, each row by row; labels (sample,) int64,
        for CIFAR-100 the fine ones.

    Raises:
        LoadError: ND051 when there are none, ND052 when a file is damaged, ND056 when Pillow is missing for the subset.
    """
    layouts = [FOLDERS[name], f"{name}/{FOLDERS[name]}", *([SPRITES] if name == "cifar10" else [])]
    path = places.find(name.upper().replace("CIFAR", "CIFAR-"), layouts, obtain)
    if path.is_dir():
        batches = [read_batch(path / batch, *LABELS[name]) for batch in BATCHES[name][split]]
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    else:
        images, labels = read_sprites(path, split)
    return images.astype(np.float32) / np.float32(255), labels


def read_batch(path: Path, key: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (sample, 3072) uint8 and labels (sample,) int64 of a published batch.

    Raises:
        LoadError: ND052 when it is absent, damaged, or asks for more than arrays of numbers.
    """
    try:
        batch = Numbers(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images, labels = np.asarray(batch[b"data"]), np.asarray(batch[key], dtype=np.int64)
    except Exception as error:  # a pickle is a program, and may end in any of them
        raise places.damaged(path, f"cannot be read: {type(error).__name__}: {error}") from error
    if images.dtype != np.uint8 or images.shape != (*labels.shape, 3072) or labels.ndim != 1:
        raise places.damaged(path, f"holds images of {images.dtype} {images.shape} and labels {labels.shape}")
    _check(path, labels, classes)
    return images, labels


class Numbers(pickle.Unpickler):
    """Reads dictionaries, lists, numbers and numpy arrays; any other name in a pickle is refused, so nothing is run."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _array
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array of numbers needs")


def _array(kind: type, shape: tuple[int, ...], dtype: bytes) -> np.ndarray:
    """Return the empty array that a pickle fills afterwards; the same as numpy's own for nothing but arrays."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("it builds something else than an array")
    return np.ndarray((0,), "i1")


def read_sprites(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (sample, 3072) uint8 and labels (sample,) int64 of the subset whose labels.npz is `path`.

    Raises:
        LoadError: ND052 when a picture or the labels are damaged, ND056 when Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise places.missing("pillow", "CIFAR-10's pictures", error) from error
    try:
        with np.load(path, allow_pickle=False) as archive:
            labels = archive[split].astype(np.int64)
        files = sorted(path.parent.glob(f"{split}_*.webp"), key=lambda file: int(file.stem.rpartition("_")[2]))
        pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        images = np.concatenate(
            [
                picture.reshape(len(picture) // 32, 32, COLUMNS, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3072)
                for picture in pictures
            ]
        )
    except Exception as error:  # image decoders raise whatever they like on damaged files
        raise places.damaged(path.parent, f"cannot be read: {type(error).__name__}: {error}") from error
    if labels.shape != images.shape[:1]:
        raise places.damaged(path.parent, f"holds {len(images)} images and labels of shape {labels.shape} of {split}")
    _check(path, labels, LABELS["cifar10"][1])
    return images, labels


def _check(path: Path, labels: np.ndarray, classes: int) -> None:
    if not np.isin(labels, np.arange(classes)).all():
        raise places.damaged(path, f"holds labels from {labels.min()} to {labels.max()}; there are {classes} classes")
