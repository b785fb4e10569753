"""Damaged NIR files, drawn by number: flipped bytes, cut ends, absent, misshapen, huge and misplaced datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

HUGE = 2**40


def mutated(source: Path, target: Path, number: int) -> str:
    """Write the `number`-th damaged copy of `source` to `target`, and say what was done."""
    random = np.random.default_rng(number)
    damage = DAMAGES[number % len(DAMAGES)]
    target.write_bytes(source.read_bytes())
    damage(target, random)
    return f"{damage.__name__} {number} of {source.name}"


def flipped_bytes(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(2 ** int(random.integers(0, 6))):
        content[random.integers(len(content))] ^= int(random.integers(1, 256))
    path.write_bytes(content)


def cut_end(path: Path, random: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content))])


def dropped(path: Path, random: np.random.Generator) -> None:
    """One to three groups or datasets less."""
    with h5py.File(path, "r+") as file:
        for _ in range(int(random.integers(1, 4))):
            names = _all(file)
            if names:
                del file[names[random.integers(len(names))]]


def misshapen(path: Path, random: np.random.Generator) -> None:
    """A dataset in another shape: scalar, doubled, empty, transposed, with an axis more, or not an array."""
    with h5py.File(path, "r+") as file:
        name, values = _numbers(file, random)
        flat = values.reshape(-1)
        shapes: list[Callable[[], object]] = [
            lambda: flat[0],
            lambda: np.concatenate([flat, flat]),
            lambda: flat[:0],
            lambda: values.T,
            lambda: values[None],
            lambda: flat[:-1],
            lambda: h5py.Empty("f4"),
            lambda: "a text",
        ]
        _put(file, name, shapes[random.integers(len(shapes))]())


def other_numbers(path: Path, random: np.random.Generator) -> None:
    """A dataset of other values or types: zero, negative, large, not finite, whole, complex, boolean."""
    with h5py.File(path, "r+") as file:
        name, values = _numbers(file, random)
        factors = [0, -1, 1e30, np.nan, np.inf, 1e-30, HUGE]
        kinds = [np.float64, np.float16, np.int64, np.uint8, bool, np.complex64, np.longdouble, ">f4"]
        with np.errstate(all="ignore"):
            changed = (values * factors[random.integers(len(factors))]).astype(kinds[random.integers(len(kinds))])
        _put(file, name, changed)


def huge(path: Path, random: np.random.Generator) -> None:
    """A shape beyond any memory: declared and never written, packed zeros, or as the number that a shape is."""
    with h5py.File(path, "r+") as file:
        name, values = _numbers(file, random)
        del file[name]
        match random.integers(4):
            case 0:
                file.create_dataset(name, shape=(HUGE,), dtype="f4")
            case 1:
                file.create_dataset(name, shape=(2**30, 2**10), dtype="f4", chunks=(2**14, 2**10), compression="gzip")
            case 2:
                file.create_dataset(name, data=np.zeros(2**22, np.float32), compression="gzip")
            case _:
                file.create_dataset(name, data=np.full_like(values, HUGE, dtype=np.int64))


def rewired(path: Path, random: np.random.Generator) -> None:
    """Edges that are fewer, doubled, turned round, misspelled, or no pairs."""
    with h5py.File(path, "r+") as file:
        names = [name for name in _all(file) if name.endswith("edges")]
        name = names[random.integers(len(names))]
        edges = file[name].asstr()[()]
        keep = np.ones(len(edges), bool)
        keep[random.integers(len(edges))] = False
        ends = edges.copy()
        ends[random.integers(len(edges)), random.integers(2)] = "elsewhere"
        shuffled = edges.copy()
        shuffled[:, 1] = random.permutation(shuffled[:, 1])
        choices = [edges[keep], np.concatenate([edges, edges[:1]]), edges[:, ::-1], ends, shuffled, edges.reshape(-1)]
        choice = choices[random.integers(len(choices))]
        _put(file, name, choice.astype(h5py.string_dtype()))


def misplaced(path: Path, random: np.random.Generator) -> None:
    """A node of another type, a link to another file or to a group around it, a node renamed."""
    with h5py.File(path, "r+") as file:
        groups = [name for name in _all(file) if isinstance(file[name], h5py.Group) and "type" in file[name]]
        name = groups[random.integers(len(groups))]
        match random.integers(4):
            case 0:
                kinds = [
                    "LIF",
                    "CubaLIF",
                    "Affine",
                    "Conv2d",
                    "Flatten",
                    "Delay",
                    "Threshold",
                    "Input",
                    "NIRGraph",
                    "X",
                ]
                _put(file, f"{name}/type", kinds[random.integers(len(kinds))])
            case 1:
                file[f"{name}/link"] = h5py.ExternalLink("/etc/hostname", "/")
            case 2:
                file[f"{name}/nodes/again" if "nodes" in file[name] else f"{name}/again"] = file["node"]
            case _:
                if name != "node":
                    file.move(name, f"{name}_")


DAMAGES = (flipped_bytes, cut_end, dropped, misshapen, other_numbers, huge, rewired, misplaced)


def _all(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _numbers(file: h5py.File, random: np.random.Generator) -> tuple[str, np.ndarray]:
    def found() -> Iterator[str]:
        for name in _all(file):
            if isinstance(file[name], h5py.Dataset) and file[name].dtype.kind in "fiub":
                yield name

    names = list(found())
    name = names[random.integers(len(names))]
    return name, np.asarray(file[name][()])


def _put(file: h5py.File, name: str, values: object) -> None:
    del file[name]
    file.create_dataset(name, data=values)
