"""What the arrays of a block in a .net file say: matrices, kernels, windows, biases, and whether they fit its input."""

from __future__ import annotations

from math import prod

import numpy as np

from neurodeploy.errors import Finding, LoadError, UnsupportedError
from neurodeploy.frontends.stored_layers import StoredLayer
from neurodeploy.ir.nodes import Conv, Shape

LARGEST_LAYER = 1 << 24
"""Neurons; Loihi 2 has a million on a chip. A shape costs a file nothing, and memory is asked for by it."""
MAX_EXTENT = 1 << 16
"""Of a stride, a padding or a dilation."""


def input_shape(first: StoredLayer, example_shape: Shape | None) -> Shape:
    """Return the shape of one step's input, from the file or from whoever reads it."""
    if first.kind == "input":
        found: Shape | None = declared(first)
    elif first.kind in ("dense", "dense_rec"):
        found = (matrix_of(first, "weight").shape[1],)
    else:
        found = example_shape
    if found is None:
        what, why = "the file does not say what the network reads", f"its first block is of type {first.kind}"
        fix = "name one step's input, e.g. example_shape=(2, 34, 34) or --example-shape 2,34,34"
        raise LoadError(Finding("ND047", first.name, what, why, fix))
    if example_shape is not None and prod(example_shape) != prod(found):
        raise misfit(first, f"it reads {found}, not {example_shape}")
    if not found or min(found) < 1 or prod(found) > LARGEST_LAYER:
        raise misfit(first, f"it reads {found}, and at least 1 and at most {LARGEST_LAYER:,} values make an input")
    return found


def declared(layer: StoredLayer) -> Shape:
    return tuple(int(n) for n in layer.integers("shape").reshape(-1))


def matrix_of(layer: StoredLayer, field: str) -> np.ndarray:
    """Return a dense block's weights as float64 (post, pre); the file has them flat where there is one neuron."""
    weights = layer.integers(field).astype(np.float64)
    neurons = prod(declared(layer))
    if not weights.size or neurons < 1 or weights.size % neurons or (weights.ndim > 1 and len(weights) != neurons):
        raise misfit(layer, f"{neurons} neurons have {field}s {weights.shape}")
    return weights.reshape(neurons, -1)


def biases_of(layer: StoredLayer, size: int) -> np.ndarray | None:
    """Return the biases, float64 (size,), or None where all are zero."""
    if "bias" not in layer.fields:
        return None
    bias = layer.integers("bias").astype(np.float64).reshape(-1)
    if bias.size != size:
        raise misfit(layer, f"it has {bias.size} biases for {size} neurons or channels")
    return bias if bias.any() else None


def _pair(layer: StoredLayer, field: str, least: int) -> tuple[int, int]:
    """Return a (y, x) pair that the file may have as one number."""
    values = layer.integers(field).reshape(-1)
    if values.size not in (1, 2) or values.min() < least or values.max() > MAX_EXTENT:
        raise LoadError(layer.wrong(field, f"is {values.tolist()[:4]}", f"it is one or two numbers from {least}"))
    return int(values[0]), int(values[-1])


def kernel_of(layer: StoredLayer, shape: Shape) -> Conv:
    """Return a block's convolution over `shape`, (channel, y, x)."""
    weight = layer.integers("weight").astype(np.float64)
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    groups = layer.integer("groups")
    fits = weight.ndim == 4 and len(shape) == 3 and weight.size > 0 and groups > 0
    if not fits or weight.shape[1] * groups != shape[0] or weight.shape[0] % groups:
        raise misfit(layer, f"its kernels {weight.shape} in {groups} groups do not fit its input {shape}")
    pairs = _pair(layer, "stride", 1), _pair(layer, "padding", 0), _pair(layer, "dilation", 1)
    conv = Conv(weight, shape, *pairs, groups, biases_of(layer, len(weight)))
    if min(conv.shape) < 1:
        raise misfit(layer, f"its kernels {weight.shape} are larger than its input {shape}")
    return conv


def window_of(layer: StoredLayer, shape: Shape) -> Conv:
    """Return a block's sum over windows that tile `shape`, (channel, y, x), as one kernel per channel.

    SLAYER pools all channels as one tall picture, so that other windows would reach from one channel into the next.
    """
    weight = layer.integers("weight").astype(np.float64)
    if weight.ndim not in (4, 5) or weight.size != prod(weight.shape[2:4]) or len(shape) != 3:
        raise misfit(layer, f"its window {weight.shape} does not fit its input {shape}")
    window = weight.shape[2:4]
    tiles = _pair(layer, "stride", 1) == window and _pair(layer, "padding", 0) == (0, 0)
    if not tiles or _pair(layer, "dilation", 1) != (1, 1) or any(n % k for n, k in zip(shape[1:], window, strict=True)):
        what, why = f"a pool whose windows {window} do not tile {shape[1:]}", "SLAYER mixes neighboring channels there"
        raise UnsupportedError(Finding("ND046", layer.name, what, why, "pool with a stride of the window's size"))
    kernel = np.broadcast_to(weight.reshape(1, 1, *window), (shape[0], 1, *window)).copy()
    return Conv(kernel, shape, (window[0], window[1]), (0, 0), (1, 1), shape[0])


def misfit(layer: StoredLayer, what: str) -> LoadError:
    why = "the blocks of a network must fit each other"
    return LoadError(Finding("ND047", layer.name, what, why, "export the network again with lava-dl"))
