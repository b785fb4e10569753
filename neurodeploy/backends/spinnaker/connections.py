"""Synapses as a list of connections: what PyNN's FromListConnector takes, sorted by source, zeros left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Projection, SparseSynapses, Synapses


@dataclass(frozen=True, eq=False)
class Connections:
    """pre, post and weights (mantissas), all int32 (connection,)."""

    pre: np.ndarray
    post: np.ndarray
    weights: np.ndarray


def connections_of(projection: Projection) -> Connections:
    """Return every synapse of a projection that is not zero, by source and then by target."""
    found = unsorted_connections(projection)
    order = np.lexsort((found.post, found.pre))
    return Connections(found.pre[order], found.post[order], found.weights[order])


def unsorted_connections(projection: Projection) -> Connections:
    """Return every synapse of a projection that is not zero, in any order."""
    pre, post, weights = _listed(projection.synapses)
    kept = np.nonzero(weights)[0]
    return Connections(*(array[kept].astype(np.int32, copy=False) for array in (pre, post, weights)))


def row_lengths(projection: Projection, sign: int, start: int, stop: int, per_core: int) -> np.ndarray:
    """Return the most synapses of one sign that each source neuron has into one core, int64 (pre,).

    Args:
        start, stop: the target cells that count, which lie `per_core` to a core.
    """
    if isinstance(projection.synapses, DenseSynapses):
        chosen = np.sign(projection.synapses.mantissa[start:stop]) == sign
        return np.max([chosen[first : first + per_core].sum(0) for first in range(0, len(chosen), per_core)], axis=0)
    pre, post, weights = _listed(projection.synapses)
    chosen = (np.sign(weights) == sign) & (post >= start) & (post < stop)
    cores = (stop - start - 1) // per_core + 1
    core = pre[chosen].astype(np.int64) * cores + (post[chosen] - start) // per_core
    counts = np.bincount(core)
    return np.pad(counts, (0, -len(counts) % cores)).reshape(-1, cores).max(axis=1, initial=0)


def _listed(synapses: Synapses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    match synapses:
        case DenseSynapses(mantissa):
            pre, post = np.indices(mantissa.shape[::-1], dtype=np.int32)
            return pre.reshape(-1), post.reshape(-1), mantissa.T.reshape(-1)
        case SparseSynapses(mantissa, indices, indptr):
            return indices, np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), mantissa
        case ConvSynapses():
            return _unrolled(synapses)
    raise TypeError(type(synapses).__name__)


def _unrolled(conv: ConvSynapses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a kernel's weights at all places, those that reach into the padding left out."""
    parts = [_shifted(conv, dy, dx) for dy in range(conv.mantissa.shape[2]) for dx in range(conv.mantissa.shape[3])]
    pre, post, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return pre, post, weights


def _shifted(conv: ConvSynapses, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the synapses of all channels for one place in the kernel: outputs (y, x) read inputs a fixed way off."""
    _, height, width = conv.input_shape
    _, rows, columns = conv.output_shape
    outputs, per_group = conv.mantissa.shape[:2]
    y = np.arange(rows, dtype=np.int32) * conv.stride[0] - conv.padding[0] + dy * conv.dilation[0]
    x = np.arange(columns, dtype=np.int32) * conv.stride[1] - conv.padding[1] + dx * conv.dilation[1]
    row, column = np.nonzero((y >= 0) & (y < height))[0], np.nonzero((x >= 0) & (x < width))[0]
    read = (y[row, None] * width + x[column]).reshape(-1)
    written = (row[:, None] * columns + column).reshape(-1)
    out, within = (index.reshape(-1, 1) for index in np.indices((outputs, per_group), dtype=np.int32))
    channel = out // (outputs // conv.groups) * per_group + within
    pre, post = channel * (height * width) + read, out * (rows * columns) + written
    weights = np.broadcast_to(conv.mantissa[:, :, dy, dx].reshape(-1, 1), pre.shape)
    return pre.reshape(-1), post.reshape(-1), weights.reshape(-1)
