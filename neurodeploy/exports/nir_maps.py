"""Nodes without state as NIR's, or as a matrix where NIR has none: what a map is, given the shape that arrives.

    Linear           Linear, Affine
    Conv             Conv1d, Conv2d; groups and kernels that are not square are spelled out in zeros, see below
    AveragePool      AvgPool2d
    Scale            Scale; with a bias a convolution of kernel 1, or a diagonal Affine
    SparseLinear     Scale, if it is a diagonal without bias
    anything else    Linear, Affine: its matrix

NIR cannot give values more axes than they have, so behind a matrix everything is flat, and a convolution that reads
flat values becomes a matrix too.

nir 1.0.8 checks shapes as if a Conv2d's kernel were square and had one group. Zeros make it so without changing a sum,
but for kernels whose sides differ by an odd number: these become matrices, or are refused by nir's check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from neurodeploy.engine.real import apply
from neurodeploy.frontends.nir_graph import Record
from neurodeploy.ir.nodes import AveragePool, Conv, Linear, Map, Node, Scale, Shape, SparseLinear, without_bias

MOST_WEIGHTS = 1 << 24
"""Of a matrix that is multiplied out, or of a kernel with its zeros."""
SPACES = {1: "Conv1d", 2: "Conv2d"}


@dataclass(frozen=True, eq=False)
class Layer:
    """A map as NIR has it; `rewritten` says in what other form, if it is another."""

    record: Record
    rewritten: str = ""


def simplest(node: Node) -> Node:
    """Return a diagonal with one factor and one bias for each channel as the Scale that it is; others as they are."""
    if not (isinstance(node, SparseLinear) and _diagonal(node) and node.shape == node.input_shape):
        return node
    factors = node.data.reshape(node.shape[0], -1)
    biases = np.zeros_like(factors) if node.bias is None else node.bias.reshape(factors.shape)
    if np.all(factors == factors[:, :1]) and np.all(biases == biases[:, :1]):
        return Scale(factors[:, 0], biases[:, 0], node.shape)
    return node


def wanted(node: Map) -> Shape:
    """Return the shape in which `node` reads its input."""
    match node:
        case Linear(weight):
            return weight.shape[1:]
        case Scale():
            return node.shape
    return node.input_shape


def takes_any_shape(node: Map) -> bool:
    """Whether `node` multiplies each value by its own factor, and nothing else."""
    match node:
        case Scale(bias=bias):
            return not np.any(bias)
        case SparseLinear(bias=bias):
            return _diagonal(node) and not np.any(bias)
    return False


def made(node: Map, arriving: Shape) -> Shape:
    """Return the shape of what the NIR node in place of `node` makes of values of shape `arriving`."""
    if takes_any_shape(node):
        return arriving
    return node.shape if _keeps_shape(node, arriving) else (prod(node.shape),)


def reads(node: Map, arriving: Shape) -> Shape:
    """Return the shape in which that NIR node reads them: as they arrive, or flat."""
    return arriving if takes_any_shape(node) or _keeps_shape(node, arriving) else (prod(arriving),)


def weights(node: Map, arriving: Shape) -> int:
    """Return how many weights that NIR node has, where NIR's form of them is larger than ours."""
    if takes_any_shape(node):
        return prod(arriving)
    if not _keeps_shape(node, arriving):
        return prod(wanted(node)) * prod(node.shape)
    return node.weight.size * node.groups if isinstance(node, Conv) else 0


def layer(node: Map, arriving: Shape) -> Layer:
    """Return the NIR node in place of `node` that reads values of shape `arriving`."""
    if takes_any_shape(node):
        return Layer(Record("Scale", {"scale": _factors(node, arriving)}))
    if _keeps_shape(node, arriving):
        match node:
            case Linear(weight, bias):
                return Layer(_affine(weight, bias))
            case Conv():
                return _convolution(node)
            case AveragePool(_, kernel, stride, padding):
                sizes = {"kernel_size": kernel, "stride": stride, "padding": padding}
                return Layer(Record("AvgPool2d", {key: np.array(size) for key, size in sizes.items()}))
            case Scale():
                told = "a convolution of kernel 1, for its bias"
                return Layer(_convolution(_pointwise(node)).record, told)
    size = prod(wanted(node))
    weight = np.ascontiguousarray(apply(without_bias(node), np.eye(size)).T)
    bias = apply(node, np.zeros((1, size)))[0]
    return Layer(_affine(weight, bias if np.any(bias) else None), f"a matrix of {weight.shape[0]} x {size}")


def _keeps_shape(node: Map, arriving: Shape) -> bool:
    """Whether NIR has a node for `node` that reads `arriving` and makes the shape that `node` makes."""
    match node:
        case Linear():
            return True
        case Conv():
            fits = arriving == node.input_shape and len(arriving) - 1 in SPACES
            return fits and (not _lopsided(node) or prod(node.input_shape) * prod(node.shape) > MOST_WEIGHTS)
        case AveragePool(kernel=kernel):
            return arriving == node.input_shape and len(kernel) == 2
        case Scale():
            return arriving == node.shape and len(arriving) - 1 in SPACES
    return False


def _affine(weight: np.ndarray, bias: np.ndarray | None) -> Record:
    return Record("Linear", {"weight": weight}) if bias is None else Record("Affine", {"weight": weight, "bias": bias})


def _diagonal(node: SparseLinear) -> bool:
    rows = prod(node.shape)
    square = rows == prod(node.input_shape) == node.data.size
    return square and np.array_equal(node.indptr, np.arange(rows + 1)) and np.array_equal(node.indices, np.arange(rows))


def _factors(node: Map, arriving: Shape) -> np.ndarray:
    if isinstance(node, SparseLinear):
        return node.data.reshape(arriving)
    assert isinstance(node, Scale)
    channels = node.weight.reshape(-1, *(1,) * (len(node.shape) - 1))
    return np.broadcast_to(channels, node.shape).reshape(arriving)


def _pointwise(node: Scale) -> Conv:
    """Return a scale with bias as a convolution that reads each value alone."""
    ones = (1,) * (len(node.shape) - 1)
    weight = node.weight.reshape(-1, 1, *ones)
    return Conv(weight, node.shape, ones, (0,) * len(ones), ones, node.shape[0], node.bias)


def _lopsided(node: Conv) -> int:
    """Return by how much zeros on both sides would leave a kernel from being square: 0 or 1."""
    kernel = node.weight.shape[2:]
    return (max(kernel) - min(kernel)) % 2


def _convolution(node: Conv) -> Layer:
    told = []
    if node.groups > 1:
        told.append(f"its {node.groups} groups spelled out in zeros")
    squared = _squared(_ungrouped(node))
    kernel = node.weight.shape[2:]
    if squared.weight.shape[2:] != kernel:
        told.append(f"its kernel of {kernel[0]} x {kernel[1]} spelled out in zeros")
    if _lopsided(node):
        told.append(f"a kernel of {kernel[0]} x {kernel[1]}, which nir 1.0.8 reads with type_check=False only")
    space = len(kernel)
    sizes = {"stride": squared.stride, "padding": squared.padding, "dilation": squared.dilation}
    sizes["input_shape"] = squared.input_shape[1:]
    fields = {key: np.array(size if space > 1 else size[0]) for key, size in sizes.items()}
    bias = np.zeros(squared.weight.shape[0]) if squared.bias is None else squared.bias
    record = Record(SPACES[space], {"weight": squared.weight, "bias": bias, "groups": np.array(1), **fields})
    return Layer(record, ", ".join(told))


def _ungrouped(node: Conv) -> Conv:
    """Return `node` with one group: what a channel does not read has weight 0."""
    if node.groups == 1:
        return node
    out, per_group, *kernel = node.weight.shape
    weight = np.zeros((out, per_group * node.groups, *kernel))
    rows = out // node.groups
    for group in range(node.groups):
        outputs = slice(group * rows, (group + 1) * rows)
        weight[outputs, group * per_group : (group + 1) * per_group] = node.weight[outputs]
    return replace(node, weight=weight, groups=1)


def _squared(node: Conv) -> Conv:
    """Return `node` with zeros on both sides of the shorter side of its kernel, and as much more padding."""
    kernel = node.weight.shape[2:]
    if _lopsided(node) or len(set(kernel)) == 1:
        return node
    more = [(max(kernel) - k) // 2 for k in kernel]
    weight = np.pad(node.weight, [(0, 0), (0, 0), *((n, n) for n in more)])
    padding = tuple(p + n * d for p, n, d in zip(node.padding, more, node.dilation, strict=True))
    return replace(node, weight=weight, padding=padding)
