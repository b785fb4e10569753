"""Synapses as a list of connections: what PyNN's FromListConnector takes, sorted by source, zeros left out."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Projection, SparseSynapses, Synapses


@dataclass(frozen=True, eq=False)
class Connections:
    """pre, post and weights (mantissas), all int32 (connection,)."""

    pre: np.ndarray
    post: np.ndarray
    weights: np.ndarray

    def of_sign(self, sign: int) -> Connections:
        """Return the excitatory (1) or the inhibitory ones (-1)."""
        chosen = np.sign(self.weights) == sign
        return Connections(self.pre[chosen], self.post[chosen], self.weights[chosen])


def connections_of(projection: Projection) -> Connections:
    """Return every synapse of a projection that is not zero, by source and then by target."""
    pre, post, weights = _listed(projection.synapses)
    kept = np.nonzero(weights)[0]
    order = kept[np.lexsort((post[kept], pre[kept]))]
    return Connections(*(array[order].astype(np.int32, copy=False) for array in (pre, post, weights)))


def longest_row(projection: Projection, sign: int, per_core: int) -> int:
    """Return the most synapses of one sign that a source neuron has into one core, whose cells are `per_core`."""
    if isinstance(projection.synapses, DenseSynapses):
        chosen = np.sign(projection.synapses.mantissa) == sign
        cuts = range(0, len(chosen), per_core)
        return max(int(chosen[start : start + per_core].sum(0).max(initial=0)) for start in cuts)
    pre, post, weights = _listed(projection.synapses)
    chosen = np.sign(weights) == sign
    cores = int(post.max(initial=0)) // per_core + 1
    return int(np.bincount(pre[chosen].astype(np.int64) * cores + post[chosen] // per_core).max(initial=0))


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
    _, height, width = conv.input_shape
    _, rows, columns = conv.output_shape
    outputs, per_group, ky, kx = conv.mantissa.shape
    out, within, dy, dx, row, column = np.indices((outputs, per_group, ky, kx, rows, columns), dtype=np.int32)
    channel = out // (outputs // conv.groups) * per_group + within
    y = row * conv.stride[0] - conv.padding[0] + dy * conv.dilation[0]
    x = column * conv.stride[1] - conv.padding[1] + dx * conv.dilation[1]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    pre, post = (channel * height + y) * width + x, (out * rows + row) * columns + column
    weights = np.broadcast_to(conv.mantissa[..., None, None], inside.shape)
    assert prod(conv.output_shape) == outputs * rows * columns
    return pre[inside], post[inside], weights[inside]
