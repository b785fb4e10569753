"""Input users recorded or encoded themselves: an .npz file whose axes are (step, sample, neuron)."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy.errors import Finding, LoadError

UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, MemoryError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise on files that are absent, damaged, encrypted, pickled or no archive (a lone .npy)."""

Fault = tuple[str, str, str]
"""What is wrong, why it matters, how to mend it."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Input that is already over time: `inputs` (step, sample, *neuron); `labels` (sample,) int64, or None."""

    name: str
    inputs: np.ndarray
    labels: np.ndarray | None


def load_npz(path: str | Path) -> Recording:
    """Return a user's input: `inputs` (step, sample, *neuron), numbers, and `labels` (sample,), integers, if present.

    Booleans and integers keep their type, floats become float32. The file is read with allow_pickle=False.

    Raises:
        LoadError: ND053 when the file cannot be read; ND054, every one at once, when its arrays do not fit.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = archive.files
            arrays = {key: archive[key] for key in ("inputs", "labels") if key in keys}
    except UNREADABLE as error:
        why = f"{type(error).__name__}: {error}"
        fix = "write it with numpy.savez(path, inputs=..., labels=...), arrays of numbers, none of objects"
        raise LoadError(Finding("ND053", str(path), f"{path.name} is not a readable .npz file", why, fix)) from error
    inputs, labels = arrays.get("inputs"), arrays.get("labels")
    if inputs is None:
        fix = "numpy.savez(path, inputs=array), axes (step, sample, neuron)"
        found = f"the file holds {', '.join(keys) or 'no array'}"
        raise LoadError(Finding("ND054", str(path), "the array `inputs` is missing", found, fix))
    faults = _input_faults(inputs) + ([] if labels is None else _label_faults(labels, inputs.shape))
    if faults:
        raise LoadError(*(Finding("ND054", str(path), *fault) for fault in faults))
    if inputs.dtype.kind == "f":
        inputs = inputs.astype(np.float32)
    return Recording(path.stem, inputs, None if labels is None else labels.astype(np.int64))


def _input_faults(inputs: np.ndarray) -> list[Fault]:
    """Return everything that keeps an array from being input."""
    faults = []
    if inputs.dtype.kind not in "biuf":
        what = f"`inputs` holds {inputs.dtype}"
        faults.append((what, "input is numbers", "store spikes as uint8 or currents as float32"))
    elif inputs.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(inputs.astype(np.float32)))
        if len(bad):
            at = tuple(bad[0].tolist())
            what = f"`inputs` is {inputs[at]} at {at}, one of {len(bad)} such"
            faults.append((what, "input is finite, as float32 too", "clean the data before storing"))
    if inputs.ndim < 3 or inputs.size == 0:
        what = f"`inputs` has shape {inputs.shape}"
        faults.append((what, "axes are (step, sample, neuron), none empty", "reshape before storing"))
    return faults


def _label_faults(labels: np.ndarray, shape: tuple[int, ...]) -> list[Fault]:
    """Return everything that keeps an array from being the labels of input of `shape`."""
    faults = []
    if labels.dtype.kind not in "iu":
        faults.append((f"`labels` holds {labels.dtype}", "a label is a class number", "store labels as int64"))
    elif labels.size and labels.min() < 0:
        what = f"`labels` holds {labels.min()}"
        faults.append((what, "classes are numbered from 0", "leave out samples without a label"))
    if len(shape) > 1 and labels.shape != shape[1:2]:
        what = f"`labels` has shape {labels.shape}"
        faults.append((what, f"`inputs` holds {shape[1]} samples on its second axis", "store one label per sample"))
    return faults
