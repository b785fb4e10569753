"""The child process of `hdf5.py`: it reads one file after the other with h5py and sends plain values back.

    standard input    one path per line, as JSON
    standard output   per path one line of JSON and, if it names arrays, their bytes in the same order

A damaged file can crash the HDF5 library or keep it busy for ever; here that ends a process that may be ended. Nothing
outside the file is followed, and nothing is read that the file declares larger than it can be.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any, BinaryIO

import h5py
import numpy as np

MEMORY_BYTES = 2 << 30
"""Address space of this process."""
MOST_BYTES = 1 << 29
"""Of all arrays of a file together."""
MOST_OBJECTS = 100_000
DEEPEST = 32
"""Groups inside groups; hard links may form a loop."""
DEFLATE_RATIO = 1032
"""The most that one byte of deflated data can stand for (zlib's manual)."""
REFERENCE_BYTES = 16
"""A string in a dataset is stored as a reference of this size."""
MOST_SPACE_IN_CHUNKS = 64
"""A chunk may be this much larger than the dataset that is stored in it."""


class TooLarge(Exception):
    """The file declares more than is read."""


class Reader:
    """One pass over a file: what was seen so far, and the arrays to send."""

    def __init__(self, file_bytes: int) -> None:
        self.file_bytes = file_bytes
        self.objects = 0
        self.bytes = 0
        self.arrays: list[np.ndarray] = []

    def group(self, group: h5py.Group, depth: int = 0) -> dict[str, Any]:
        """Return {name: subgroup, dataset or problem} of everything below `group`."""
        if depth > DEEPEST:
            raise TooLarge(f"groups inside groups, more than {DEEPEST} deep")
        entries = {}
        for name in group:
            self.objects += 1
            if self.objects > MOST_OBJECTS:
                raise TooLarge(f"more than {MOST_OBJECTS:,} groups and datasets")
            entries[_printable(name)] = self._entry(group, name, depth)
        return {"group": entries}

    def _entry(self, group: h5py.Group, name: str, depth: int) -> dict[str, Any]:
        before = len(self.arrays)
        try:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                return {"problem": "a link that leads elsewhere"}
            item = group[name]
            if isinstance(item, h5py.Group):
                return self.group(item, depth + 1)
            return self._dataset(item) if isinstance(item, h5py.Dataset) else {"problem": "no group and no dataset"}
        except TooLarge:
            raise
        except Exception as error:
            del self.arrays[before:]
            return {"problem": f"it cannot be read: {type(error).__name__}: {_printable(str(error))[:200]}"}

    def _dataset(self, dataset: h5py.Dataset) -> dict[str, Any]:
        if dataset.shape is None:
            return {"problem": "an empty dataset"}
        if dataset.is_virtual or dataset.external:
            return {"problem": "its values are in another file"}
        self._check_size(dataset)
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is not None:
            values = np.asarray(dataset[()], dtype=object).reshape(-1)
            texts = [v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else str(v) for v in values]
            self._count(sum(map(len, texts)))
            return {"strings": [_printable(text) for text in texts], "shape": list(dataset.shape)}
        if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 16:
            return {"problem": f"values of type {dataset.dtype}"}
        array = np.asarray(dataset[()])
        array = array.astype(np.float64 if array.dtype.kind == "f" and array.dtype.itemsize != 4 else array.dtype)
        array = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        self.arrays.append(array)
        return {"dtype": array.dtype.str, "shape": list(dataset.shape)}

    def _check_size(self, dataset: h5py.Dataset) -> None:
        """Hold what a dataset declares against the bytes that are there, before anything is allocated for it."""
        texts = h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.kind == "O"
        declared = dataset.size * (REFERENCE_BYTES if texts else dataset.dtype.itemsize)
        stored = min(dataset.id.get_storage_size(), self.file_bytes)
        packed = dataset.id.get_create_plist().get_nfilters() > 0
        name = _printable(dataset.name)
        if declared > stored * (DEFLATE_RATIO if packed else 1):
            raise TooLarge(f"{name} declares {declared:,} bytes and has {stored:,}")
        if dataset.chunks and np.prod(dataset.chunks, dtype=float) > MOST_SPACE_IN_CHUNKS * max(1, dataset.size):
            raise TooLarge(f"{name} has {dataset.size:,} values in chunks of {dataset.chunks}")
        self._count(declared)

    def _count(self, more: int) -> None:
        self.bytes += more
        if self.bytes > MOST_BYTES:
            raise TooLarge(f"its arrays have more than {MOST_BYTES:,} bytes together")


def read(path: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the answer for one file, and the arrays whose bytes follow it."""
    try:
        with open(path, "rb") as file:
            reader = Reader(file.seek(0, 2))
        with h5py.File(path, "r") as content:
            return reader.group(content), reader.arrays
    except TooLarge as error:
        return {"too_large": str(error)}, []
    except Exception as error:
        return {"unreadable": f"{type(error).__name__}: {_printable(str(error))[:300]}"}, []


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def serve(paths: BinaryIO, answers: BinaryIO) -> None:
    """Answer every path until there are no more."""
    for line in paths:
        answer, arrays = read(json.loads(line))
        answers.write(json.dumps(answer).encode() + b"\n")
        for array in arrays:
            answers.write(array.data.cast("B") if array.size else b"")
        answers.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)
