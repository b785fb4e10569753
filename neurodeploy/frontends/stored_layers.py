"""The layers of lava-dl's .net files, taken out of what `hdf5.py` reads.

    layer/0/{type, shape, weight, ...}        one group per block, numbered from 0
    layer/0/neuron/{type, vThMant, ...}       the integers of its neurons, as Loihi's registers hold them

lava-dl 0.6.0 writes them (slayer/block/base.py: export_hdf5) and netx reads them (netx/hdf5.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, LoadError
from neurodeploy.frontends.hdf5 import Text, Tree, Unread, Value

INTEGER_MAX = 1 << 31
EXPORT_AGAIN = "export the network again with lava-dl"


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """One block: its datasets by name, those of its neurons under "neuron/NAME"; texts are str, numbers are arrays."""

    name: str
    kind: str
    fields: dict[str, Any]

    def text(self, field: str) -> str | None:
        """Return a field of text, or None where it is absent.

        Raises:
            LoadError: ND045 when it is none.
        """
        found = self.fields.get(field)
        if field in self.fields and not isinstance(found, str):
            raise LoadError(self.wrong(field, "holds no text", "netx reads a name there"))
        return found

    def integers(self, field: str) -> np.ndarray:
        """Return a field as int64, in its own shape.

        Raises:
            LoadError: ND045 when it is absent or no array of whole numbers.
        """
        values = self.fields.get(field)
        if values is None:
            raise LoadError(self.wrong(field, "is absent", "a block of this kind has it"))
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iufb":
            raise LoadError(self.wrong(field, "holds no numbers", "netx reads integers there"))
        real = values.astype(np.float64)
        if not np.all(np.abs(real) < INTEGER_MAX) or np.any(real != np.rint(real)):
            raise LoadError(self.wrong(field, "holds numbers that are not whole", "netx would cut off what is behind"))
        return real.astype(np.int64)

    def integer(self, field: str) -> int:
        """Return a field of one whole number.

        Raises:
            LoadError: ND045 when it is none.
        """
        values = self.integers(field)
        if values.size != 1:
            raise LoadError(self.wrong(field, f"has shape {values.shape}", "it is one number"))
        return int(values.reshape(-1)[0])

    def wrong(self, field: str, what: str, why: str) -> Finding:
        """Return the finding that a field is not as lava-dl writes it."""
        return Finding("ND045", f"{self.name}/{field}", f"{field} {what}", why, EXPORT_AGAIN)


def layers_of(tree: Tree, file: str) -> list[StoredLayer]:
    """Return the layers in the contents of a .net file, in their order.

    Raises:
        LoadError: ND045 when it is HDF5 of another kind, or something in it cannot be read.
    """
    layers = tree.get("layer")
    if not isinstance(layers, dict) or not layers:
        what = f"an HDF5 file with {', '.join(list(tree)[:5]) or 'nothing'} in it, and no layers"
        fix = "give the .net file that lava-dl's export_hdf5 wrote"
        raise LoadError(Finding("ND045", file, what, "lava-dl writes the group layer, with a group per block", fix))
    groups = [layers.get(str(index)) for index in range(len(layers))]
    if not all(isinstance(group, dict) for group in groups):
        what, why = "its layers are not numbered from 0", "their order is the order in which they are connected"
        raise LoadError(Finding("ND045", file, what, why, EXPORT_AGAIN))
    return [_layer(f"layer/{index}", group) for index, group in enumerate(groups) if isinstance(group, dict)]


def _layer(name: str, group: Tree) -> StoredLayer:
    fields = {key: _field(f"{name}/{key}", value) for key, value in _values(group, "")}
    kind = fields.pop("type", None)
    if not isinstance(kind, str):
        what, why = "a layer without a type", "the type says what the block is"
        raise LoadError(Finding("ND045", name, what, why, EXPORT_AGAIN))
    return StoredLayer(name, kind, fields)


def _values(group: Tree, prefix: str) -> Iterator[tuple[str, Value]]:
    """Yield every dataset of a group, those of the groups in it under "GROUP/NAME"."""
    for key, item in group.items():
        if isinstance(item, dict):
            yield from _values(item, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", item


def _field(place: str, value: Value) -> np.ndarray | str | None:
    """Return a dataset's array of numbers, its text, or None for several texts, which no block has."""
    if isinstance(value, Unread):
        raise LoadError(Finding("ND045", place, f"it cannot be read: {value.why}", "it might be needed", EXPORT_AGAIN))
    if isinstance(value, Text):
        return value.values[0] if len(value.values) == 1 else None
    return value
