"""An HDF5 file as plain values, read in a child process of bounded memory and time; see `hdf5_worker.py`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from neurodeploy.errors import BackendUnavailableError, Finding, LoadError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
TIMEOUT_S = 20.0
"""For any file; one second more for each of these:"""
BYTES_PER_SECOND = 10_000_000
BLOCK = 1 << 20


@dataclass(frozen=True)
class Text:
    """A dataset of strings, in C order; a lone string has the shape ()."""

    values: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Unread:
    """Something in the file that was not read, with the reason."""

    why: str


Value = np.ndarray | Text | Unread
Tree = dict[str, "Value | Tree"]
"""A group: its datasets and the groups inside it, by name."""


def is_hdf5(path: str | Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    try:
        with open(path, "rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except (OSError, ValueError):
        return False


def require_h5py() -> None:
    """Raise BackendUnavailableError, ND031, without h5py."""
    if find_spec("h5py") is None:
        why = "NIR graphs and lava-dl's networks are HDF5 files"
        raise BackendUnavailableError(Finding("ND031", "h5py", "h5py is not installed", why, "pip install h5py"))


def read(path: str | Path) -> Tree:
    """Return all that an HDF5 file holds.

    Raises:
        LoadError: ND001 when there is no such file, ND030 when it is damaged, ND033 when it declares too much.
        BackendUnavailableError: ND031 without h5py.
    """
    with Reader() as reader:
        return reader.read(path)


class Reader:
    """The child process; it serves many files, and is started again after one that ended it."""

    def __init__(self) -> None:
        require_h5py()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def read(self, path: str | Path) -> Tree:
        """See the function `read`."""
        place = str(path)
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            finding = Finding("ND001", place, "the file cannot be opened", why, "check the path and its permissions")
            raise LoadError(finding) from error
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        answers = _Answers(child.stdout.fileno(), time.monotonic() + TIMEOUT_S + size / BYTES_PER_SECOND)
        try:
            child.stdin.write(json.dumps(os.path.abspath(path)).encode() + b"\n")
            child.stdin.flush()
            answer = json.loads(answers.line())
            if "too_large" in answer:
                raise LoadError(_too_large(place, answer["too_large"]))
            if "unreadable" in answer:
                raise LoadError(_damaged(place, answer["unreadable"]))
            return _tree(answer["group"], answers)
        except (OSError, EOFError, ValueError) as error:
            self._end()
            raise LoadError(_damaged(place, f"the HDF5 library {error}")) from error

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", f"{__package__}.hdf5_worker"]
            root = str(Path(__file__).parents[2])
            paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH")) if path)
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"},
            )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


class _Answers:
    """What the child writes, up to a deadline."""

    def __init__(self, descriptor: int, deadline: float) -> None:
        self._descriptor, self._deadline = descriptor, deadline
        self._held = bytearray()

    def _more(self, most: int) -> None:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, self._deadline - time.monotonic()))
        if not ready:
            raise EOFError("did not end")
        block = os.read(self._descriptor, most)
        if not block:
            raise EOFError("crashed")
        self._held += block

    def line(self) -> bytes:
        start = 0
        while (end := self._held.find(b"\n", start)) < 0:
            start = len(self._held)
            self._more(BLOCK)
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more(max(BLOCK, count - len(self._held)))
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken


def _tree(entries: dict[str, Any], answers: _Answers) -> Tree:
    """Return a group with its arrays, whose bytes come in the order in which they are named."""
    tree: Tree = {}
    for name, entry in entries.items():
        if "group" in entry:
            tree[name] = _tree(entry["group"], answers)
        elif "problem" in entry:
            tree[name] = Unread(entry["problem"])
        elif "strings" in entry:
            tree[name] = Text(tuple(entry["strings"]), tuple(entry["shape"]))
        else:
            dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
            tree[name] = np.frombuffer(answers.take(prod(shape) * dtype.itemsize), dtype).reshape(shape)
    return tree


def _damaged(place: str, why: str) -> Finding:
    return Finding("ND030", place, "the file cannot be read as HDF5", why, "write or download it again")


def _too_large(place: str, why: str) -> Finding:
    what = "the file declares more data than it can hold, or than is read"
    return Finding("ND033", place, what, why, "write it again; if it is as large as that, split the network")
