"""neurodeploy's own model file: the recorded graph as JSON and its arrays as plain tensors, readable with weights_only.

A file is what torch.save makes of {"neurodeploy": 1, "graph": text, "tensors": {name: tensor}, "sha256": digest}.
Arrays whose numbers are float32 numbers are stored as float32 and come back as the same float64 numbers. PyTorch does
not check the bytes it reads, so the digest of graph and tensors does: no flipped bit passes for a weight.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding, LoadError, NetworkError, NeurodeployError, raise_all
from neurodeploy.frontends.checks import contradictions
from neurodeploy.ir.codec import from_plain, to_plain
from neurodeploy.ir.network import Network

FORMAT = 1
KEYS = {"neurodeploy", "graph", "tensors", "sha256"}


def save(
    net: nn.Module, path: str | Path, *, example_input: Tensor, dt: float | None = None, encoding: Any = None
) -> Network:
    """Record `net` (see `frontends.recording.record`), write it to `path` whole or not at all, and return the network.

    Args:
        path: of the file to write; an old file there is replaced in one step.
        example_input, dt, encoding: as `record` takes them.

    Raises:
        UnsupportedError, NetworkError, UsageError: from `record`.
        LoadError: ND001 when the file cannot be written.
    """
    from neurodeploy.frontends.recording import record

    network = record(net, example_input, dt, encoding)
    save_network(network, path)
    return network


def save_network(network: Network, path: str | Path) -> None:
    """Write an already recorded `network` to `path` whole or not at all.

    Raises:
        LoadError: ND001 when the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    graph = json.dumps(to_plain(network, arrays, "network"))
    tensors = {key: _stored(array) for key, array in arrays.items()}
    content = {"neurodeploy": FORMAT, "graph": graph, "tensors": tensors, "sha256": _digest(graph, tensors)}
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(content, file)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        why = error.strerror or type(error).__name__
        finding = Finding("ND001", str(path), "the file cannot be written", why, "choose another place")
        raise LoadError(finding) from error


def load_checkpoint(path: str | Path) -> Network:
    """Return the network that `save` wrote to `path`.

    Raises:
        LoadError: ND001-ND004 for a file that is none, ND012 or ND027 for one that was changed.
        NetworkError: ND025 when its numbers are not finite.
    """
    content = read_tensors(path)
    if not is_checkpoint(content):
        what = f"the file holds {describe_content(content)}, not a neurodeploy checkpoint"
        raise LoadError(Finding("ND004", str(path), what, "another program wrote it", "use neurodeploy.load"))
    return restore(content, str(path))


def is_checkpoint(content: Any) -> bool:
    return isinstance(content, dict) and "neurodeploy" in content


def restore(content: dict[str, Any], place: str) -> Network:
    """Return the network in the `content` of a checkpoint file, after checking that it is one.

    Raises:
        LoadError: ND012, ND027. NetworkError: ND025.
    """
    if content.get("neurodeploy") != FORMAT or set(content) != KEYS:
        what = f"the checkpoint has format {str(content.get('neurodeploy'))[:40]}"
        raise LoadError(Finding("ND012", place, what, f"this version reads format {FORMAT}", "save the model again"))
    try:
        if _digest(content["graph"], content["tensors"]) != content["sha256"]:
            what, why = "the checkpoint's bytes are not those that were saved", "its SHA-256 does not match"
            raise LoadError(Finding("ND002", place, what, why, "copy or download the file again"))
        arrays = {str(key): _restored(tensor) for key, tensor in content["tensors"].items()}
        network = from_plain(json.loads(content["graph"]), arrays)
        if not isinstance(network, Network):
            raise TypeError(f"the graph is a {type(network).__name__}")
        findings = contradictions(network)
    except NeurodeployError:
        raise
    except Exception as error:
        what = f"the stored graph cannot be read: {type(error).__name__}: {str(error)[:200]}"
        why = "the file was changed or written by another version"
        raise LoadError(Finding("ND012", place, what, why, "save the model again with neurodeploy.save")) from error
    broken = [finding for finding in findings if finding.code != "ND025"]
    raise_all(LoadError, broken + [f for f in findings if broken and f.code == "ND025"])
    raise_all(NetworkError, findings)
    return network


def read_tensors(path: str | Path, trust_pickle: bool = False) -> Any:
    """Return what torch.save wrote to `path`: plain data and tensors only, unless `trust_pickle`.

    Raises:
        LoadError: ND001 for a missing, empty or unreadable file, ND002 for a damaged one or another format, ND003 when
            it holds pickled objects and `trust_pickle` is off.
    """
    place = str(path)
    file = Path(path)
    try:
        if file.is_dir():
            fix = "name the file inside; compiled models (.ndc) are opened with `neurodeploy run`"
            raise LoadError(Finding("ND001", place, "this is a directory", "a model is one file", fix))
        content = file.read_bytes()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        finding = Finding("ND001", place, "the file cannot be opened", why, "check the path and its permissions")
        raise LoadError(finding) from error
    if not content:
        what, why = "the file is empty", "writing it was interrupted, or it is a placeholder"
        raise LoadError(Finding("ND001", place, what, why, "write or download it again"))
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=not trust_pickle)
    except Exception as error:
        raise LoadError(_unreadable(place, error, trust_pickle)) from error


def _unreadable(place: str, error: Exception, trust_pickle: bool) -> Finding:
    said = str(error).lower()
    pickled = any(sign in said for sign in ("unsupported global", "unsupported class", "unsupported type", "blocked"))
    if pickled and not trust_pickle:
        return Finding(
            "ND003",
            place,
            "the file holds pickled objects, not only tensors",
            "opening it would run whatever code it names",
            "write it with neurodeploy.save(net, ...) or torch.save(net.state_dict(), ...); if you trust its author, "
            "pass trust_pickle (--trust-pickle)",
        )
    return Finding(
        "ND002",
        place,
        f"the file cannot be read as a PyTorch file ({type(error).__name__})",
        "it is cut off, damaged, or of another format",
        "write or download it again; models are read from neurodeploy.save, torch.save and file.py:Net",
    )


def describe_content(content: Any) -> str:
    """Say in a few words what a file turned out to hold."""
    if isinstance(content, Tensor):
        return f"one tensor of shape {tuple(content.shape)}"
    if isinstance(content, dict):
        keys = ", ".join(str(key)[:40] for key in list(content)[:4])
        return f"a dictionary with {len(content)} keys ({keys})"
    return f"a {type(content).__name__}"


def _digest(graph: str, tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 over the graph's text and every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(graph.encode())
    for key in sorted(tensors):
        array = tensors[key].detach().numpy()
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _stored(array: np.ndarray) -> Tensor:
    array = np.array(array, order="C")
    if array.dtype == np.float64 and np.array_equal(array.astype(np.float32).astype(np.float64), array):
        array = array.astype(np.float32)
    return torch.from_numpy(array)


def _restored(tensor: Tensor) -> np.ndarray:
    array = tensor.detach().numpy()
    if array.dtype.kind not in "fiu":
        raise TypeError(f"an array of {array.dtype}")
    return array.astype(np.float64) if array.dtype.kind == "f" else array.copy()
