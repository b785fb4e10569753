"""Synapses turned to face their sources, and the kernel that adds their sums, for whoever holds a layer at once."""

from __future__ import annotations

from math import prod

import numpy as np
from scipy.sparse import csr_array

from neurodeploy.engine import kernels
from neurodeploy.ir.nodes import Shape
from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Program, Projection, SparseSynapses


def shape_of(program: Program, name: str) -> Shape:
    """Return the shape of the input or of a population."""
    return program.input.shape if name == program.input.name else program.population(name).shape


def facing_sources(program: Program, projection: Projection) -> tuple[np.ndarray, ...]:
    """Return the arrays that `add` takes: weights of 16 bits where mantissas have 8, of 32 where they have more."""
    narrow = projection.synapses.mantissa.dtype == np.int8
    kind = np.int16 if narrow else np.int32
    match projection.synapses:
        case DenseSynapses(mantissa):
            padding = -len(mantissa) % kernels.LANES if narrow else 0
            return (np.ascontiguousarray(np.pad(mantissa.T, ((0, 1), (0, padding))), kind),)
        case ConvSynapses() as conv:
            geometry = (*conv.input_shape, *conv.output_shape, *conv.stride, *conv.padding, *conv.dilation, conv.groups)
            return _channels_first(conv, kind), np.array(geometry, np.int64)
        case SparseSynapses(mantissa, indices, indptr):
            pre = prod(shape_of(program, projection.source))
            columns = csr_array((mantissa.astype(kind), indices, indptr), shape=(len(indptr) - 1, pre)).tocsc()
            return columns.data, columns.indices.astype(np.int32), columns.indptr.astype(np.int64)
    raise TypeError(type(projection.synapses).__name__)


def _channels_first(conv: ConvSynapses, kind: type) -> np.ndarray:
    """Return the kernel as (input channel, ky, kx, output channel of its group)."""
    outs, per_group, ky, kx = conv.mantissa.shape
    grouped = conv.mantissa.reshape(conv.groups, outs // conv.groups, per_group, ky, kx)
    return np.ascontiguousarray(grouped.transpose(0, 2, 3, 4, 1).reshape(-1, ky, kx, outs // conv.groups), kind)


def add(
    projection: Projection, arrays: tuple[np.ndarray, ...], source: np.ndarray, first: int, activation: np.ndarray
) -> None:
    """Add 2 x mantissas, shifted by the exponent, of all that `source` sends.

    Args:
        arrays: of `facing_sources`.
        source: uint8 or int32 (step, sample, pre).
        first: of the samples that `activation` is of.
        activation: int32 (sample, step, post).
    """
    match projection.synapses:
        case DenseSynapses() if source.dtype == np.uint8 and arrays[0].dtype == np.int16:
            kernels.add_dense(source, _words(source), first, *arrays, projection.exponent, activation)
        case DenseSynapses():
            kernels.add_dense_graded(source, first, *arrays, projection.exponent, activation)
        case ConvSynapses():
            kernels.add_conv(source, first, *arrays, activation)
        case SparseSynapses():
            kernels.add_sparse(source, first, *arrays, projection.exponent, activation)


def _words(active: np.ndarray) -> np.ndarray:
    """Return uint8 activity by eight, as uint64 over the same memory; of length 0 when rows are not whole words."""
    if active.shape[2] % 8:
        return np.zeros((*active.shape[:2], 0), np.uint64)
    return active.view(np.uint64)
