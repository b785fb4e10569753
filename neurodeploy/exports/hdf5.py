"""A NIR graph as the HDF5 file that nir 1.0.8 writes and reads; whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import Finding, LoadError, UnsupportedError
from neurodeploy.frontends.hdf5 import require_h5py
from neurodeploy.frontends.nir_graph import GRAPH, Graph
from neurodeploy.frontends.nir_metadata import Metadata

if TYPE_CHECKING:
    import h5py

NIR_VERSION = "1.0.8"
"""The version whose nodes are written, and whose layout."""
COMPRESSED_FROM = 1024
"""Values; an array with fewer is stored as it is."""


def write_graph(graph: Graph, metadata: Metadata, path: str | Path) -> None:
    """Write `graph` to `path`, replacing a file that is there in one step.

    Raises:
        LoadError: ND001 when the file cannot be written.
        UnsupportedError: ND161 when it would be larger than what `frontends.hdf5` reads.
        BackendUnavailableError: ND031 without h5py.
    """
    require_h5py()
    import h5py

    from neurodeploy.frontends.hdf5_worker import MOST_BYTES

    target = Path(path)
    nodes: Metadata = {name: {"type": record.kind, **record.fields} for name, record in graph.nodes.items()}
    size = _bytes(nodes) + _bytes(metadata)
    if size > MOST_BYTES:
        what, why = f"its graph has {size:,} bytes of arrays", f"{MOST_BYTES:,} are read back"
        fix = "export parts of it, or train without the layers that NIR can only say as matrices"
        raise UnsupportedError(Finding("ND161", str(path), what, why, fix))
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        try:
            with h5py.File(temporary, "w") as file:
                file.create_dataset("version", data=NIR_VERSION, dtype=h5py.string_dtype())
                node = file.create_group("node")
                _fill(node, {"type": GRAPH, "nodes": nodes, "metadata": metadata})
                pairs = np.array(graph.edges, dtype=object)
                node.create_dataset("edges", data=pairs, dtype=h5py.string_dtype())
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        why = error.strerror or str(error)
        finding = Finding("ND001", str(path), "the file cannot be written", why, "choose another place")
        raise LoadError(finding) from error


def _bytes(content: Metadata) -> int:
    """Return how much the arrays in `content` hold."""
    sizes = (value.nbytes if isinstance(value, np.ndarray) else 0 for value in content.values())
    return sum(sizes) + sum(_bytes(value) for value in content.values() if isinstance(value, dict))


def _fill(group: h5py.Group, content: Metadata) -> None:
    """Write texts, arrays and groups of them into `group`."""
    import h5py

    for name, value in content.items():
        if isinstance(value, dict):
            _fill(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        else:
            packed = "gzip" if value.size >= COMPRESSED_FROM else None
            group.create_dataset(name, data=value, compression=packed)
