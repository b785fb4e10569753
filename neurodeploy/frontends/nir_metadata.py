"""What neurodeploy writes beside a NIR graph: the network the graph was made from, in the graph's metadata.

    metadata/time           "seconds", or "steps" where the network has no dt
    metadata/dt             seconds per step, if known
    metadata/neurodeploy    text    the network as JSON; which of its arrays are fields of the graph, and which follow
                            arrays  those that no field of the graph is
                            sha256  of both and of the graph, but for those fields
                            weights_sha256  of those fields

An array that a field of the graph is, bit for bit, is not stored again: weights live in the graph, and whoever changes
one there changes the network, which is told. Where the graph was changed otherwise, the metadata is left out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from neurodeploy.errors import NeurodeployError
from neurodeploy.frontends.checks import contradictions
from neurodeploy.frontends.hdf5 import Text, Tree
from neurodeploy.frontends.nir_graph import Graph
from neurodeploy.ir.codec import from_plain, to_plain
from neurodeploy.ir.network import Network

SAID = "ND163"
FORMAT = 1
KEY = "neurodeploy"

Metadata = dict[str, "np.ndarray | str | Metadata"]


@dataclass(frozen=True)
class Statement:
    """The network that a file's metadata holds, or why it is left out; and whether weights are not those exported."""

    network: Network | None
    why: str = ""
    reweighted: bool = False


def metadata(network: Network, graph: Graph) -> Metadata:
    """Return what is written beside `graph` so that `statement` gives `network` back, bit for bit."""
    found: dict[str, np.ndarray] = {}
    plain = to_plain(network, found, "network")
    homes = {id(value): [name, key] for name, record in graph.nodes.items() for key, value in record.fields.items()}
    fields = {key: homes[id(array)] for key, array in found.items() if id(array) in homes}
    names = {key: str(number) for number, key in enumerate(key for key in found if key not in fields)}
    arrays = {name: found[key] for key, name in names.items()}
    text = json.dumps({"format": FORMAT, "network": plain, "fields": fields, "arrays": names})
    digests = {"sha256": _digest(graph, text, arrays), "weights_sha256": _digest_of_weights(graph, text)}
    said: Metadata = {"text": text, **digests, "arrays": {**arrays}}
    dt: Metadata = {} if network.dt_s is None else {"dt": np.array(network.dt_s)}
    time = "steps" if network.dt_s is None else "seconds"
    return {"writer": f"neurodeploy {version('neurodeploy')}", "time": time, **dt, KEY: said}


def statement(tree: Tree, graph: Graph) -> Statement | None:
    """Return what the metadata of a file says about the network, or None when neurodeploy did not write any.

    Args:
        tree: the file; graph: what `graph_of` makes of it.
    """
    said = _group(_group(_group(tree, "node"), "metadata"), KEY)
    if not said:
        return None
    try:
        text, arrays = _text(said["text"]), {name: _array(value) for name, value in _group(said, "arrays").items()}
        if graph.repairs or _text(said["sha256"]) != _digest(graph, text, arrays):
            return Statement(None, "the graph was changed after neurodeploy wrote it")
        reweighted = _text(said["weights_sha256"]) != _digest_of_weights(graph, text)
        return Statement(_restored(json.loads(text), graph, arrays), reweighted=reweighted)
    except NeurodeployError as error:
        return Statement(None, error.findings[0].what)
    except Exception as error:
        return Statement(None, f"it cannot be read: {type(error).__name__} {str(error)[:200]}")


def _restored(said: dict[str, Any], graph: Graph, arrays: dict[str, np.ndarray]) -> Network:
    """Return the network that the text describes, its arrays taken from the graph and from beside it.

    Raises:
        ValueError: when another version wrote it, or its parts contradict each other.
    """
    if said["format"] != FORMAT:
        raise ValueError(f"it has format {said['format']}, and this version reads {FORMAT}")
    found = {key: arrays[name].copy() for key, name in said["arrays"].items()}
    found |= {key: graph.nodes[name].array(field).copy() for key, (name, field) in said["fields"].items()}
    network = from_plain(said["network"], found)
    if not isinstance(network, Network):
        raise ValueError(f"it describes a {type(network).__name__}")
    wrong = contradictions(network)
    if wrong:
        raise ValueError(f"{wrong[0].place}: {wrong[0].what}")
    return network


def _digest(graph: Graph, text: str, arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the text, the arrays beside it, and the graph but for the arrays that the text names."""
    named = {(name, field) for name, field in json.loads(text)["fields"].values()}
    digest = hashlib.sha256(text.encode())
    digest.update(json.dumps(sorted(graph.edges)).encode())
    for name, record in sorted(graph.nodes.items()):
        digest.update(json.dumps([name, record.kind]).encode())
        for key, value in sorted(record.fields.items()):
            if isinstance(value, str) or (name, key) in named:
                told = value if isinstance(value, str) else [value.dtype.kind, *value.shape]
                digest.update(json.dumps([key, told]).encode())
            else:
                _add(digest, key, np.asarray(value, np.float64))
    for key, array in sorted(arrays.items()):
        _add(digest, key, array)
    return digest.hexdigest()


def _digest_of_weights(graph: Graph, text: str) -> str:
    """Return the SHA-256 of the arrays of the graph that the text names."""
    digest = hashlib.sha256()
    for name, field in sorted(json.loads(text)["fields"].values()):
        _add(digest, f"{name} {field}", graph.nodes[name].array(field))
    return digest.hexdigest()


def _add(digest: Any, key: str, array: np.ndarray) -> None:
    portable = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    digest.update(json.dumps([key, portable.dtype.str, *portable.shape]).encode())
    digest.update(portable.tobytes())


def _group(tree: Tree, key: str) -> Tree:
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, Text) and len(value.values) == 1:
        return value.values[0]
    raise TypeError("a text is none")


def _array(value: object) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    raise TypeError("an array is none")
