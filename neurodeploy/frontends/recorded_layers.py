"""Recorded calls of torch.nn.functional to nodes without state, where the node says exactly the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.errors import Finding
from neurodeploy.frontends.tracing import Value
from neurodeploy.ir.nodes import AveragePool, Conv, Linear, MaxPool, Node, Scale, Shape


def layer_node(value: Value, place: str) -> Node | Finding:
    """Return the node of a recorded layer call, or what stands against it."""
    shape, settings = tuple(value.inputs[0].shape[1:]), value.settings
    match settings["function"]:
        case "linear":
            if len(shape) != 1:
                what = f"a linear layer reads {1 + len(shape)} axes"
                return _inexact(place, what, "it would be applied to the last axis only", "flatten its input first")
            return Linear(to_array(settings["weight"]), optional_array(settings["bias"]))
        case "conv1d" | "conv2d":
            return _conv(shape, settings, place)
        case "batch_norm":
            return _scale(shape, settings, place)
        case "lp_pool2d":
            return _sum_pool(value, shape, settings, place)
    return _pool(value, shape, settings, place)


def _conv(shape: Shape, settings: dict[str, Any], place: str) -> Conv | Finding:
    weight = to_array(settings["weight"])
    space = weight.ndim - 2
    if len(shape) != space + 1:
        return _inexact(place, f"its input has shape {shape}", "the batch axis is missing", "give a batch of samples")
    dilation, stride = _tuple(settings["dilation"], space), _tuple(settings["stride"], space)
    padding = settings["padding"]
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        if any(t % 2 for t in total):
            return _inexact(
                place,
                "padding='same' pads one side more than the other",
                "targets pad both sides alike",
                "use an odd kernel, or pad by a number",
            )
        padding = tuple(t // 2 for t in total)
    groups, bias = int(settings["groups"]), optional_array(settings["bias"])
    return Conv(weight, shape, stride, _tuple(padding, space), dilation, groups, bias)


def _scale(shape: Shape, settings: dict[str, Any], place: str) -> Scale | Finding:
    """Return BatchNorm's affine map per channel: w = weight / sqrt(var + eps), b = bias - mean w."""
    mean, variance = optional_array(settings["running_mean"]), optional_array(settings["running_var"])
    if settings["training"] or mean is None or variance is None:
        return _inexact(
            place,
            "the batch norm uses the statistics of the batch",
            "its output for a sample would depend on the other samples",
            "train it with track_running_stats=True and run it in evaluation mode",
        )
    weight = 1.0 / np.sqrt(variance + settings["eps"])
    if settings["weight"] is not None:
        weight = weight * to_array(settings["weight"])
    offset = -mean * weight
    return Scale(weight, offset if settings["bias"] is None else offset + to_array(settings["bias"]), shape)


def _pool(value: Value, shape: Shape, settings: dict[str, Any], place: str) -> AveragePool | MaxPool | Finding:
    space = int(settings["function"][-2])
    if len(shape) != space + 1:
        return _inexact(place, f"its input has shape {shape}", "the batch axis is missing", "give a batch of samples")
    kernel = _tuple(settings["kernel_size"], space)
    stride = kernel if settings["stride"] in (None, [], ()) else _tuple(settings["stride"], space)
    padding = _tuple(settings["padding"], space)
    average = settings["function"].startswith("avg")
    node = (AveragePool if average else MaxPool)(shape, kernel, stride, padding)
    if average and any(padding) and not settings["count_include_pad"]:
        return _inexact(
            place,
            "count_include_pad=False with padding",
            "windows at the border would have weights of their own",
            "use count_include_pad=True or no padding",
        )
    if average and settings["divisor_override"] not in (None, math.prod(kernel)):
        return _inexact(place, "divisor_override", "an average divides by its window", "leave it out")
    if not average and any(d != 1 for d in _tuple(settings["dilation"], space)):
        return _inexact(place, "a dilated maximum", "windows are dense", "use dilation=1")
    if node.shape != tuple(value.shape[1:]):
        return _inexact(place, "ceil_mode", "its last windows reach beyond the input", "use ceil_mode=False")
    return node


def _sum_pool(value: Value, shape: Shape, settings: dict[str, Any], place: str) -> Conv | Finding:
    """Return the convolution that adds up the windows of every channel, as sinabs' SumPool2d does."""
    if settings["norm_type"] != 1:
        return _inexact(place, f"norm_type={settings['norm_type']}", "powers are not linear", "use norm_type=1")
    if len(shape) != 3:
        return _inexact(place, f"its input has shape {shape}", "the batch axis is missing", "give a batch of samples")
    kernel = _tuple(settings["kernel_size"], 2)
    stride = kernel if settings["stride"] in (None, [], ()) else _tuple(settings["stride"], 2)
    node = Conv(np.ones((shape[0], 1, *kernel)), shape, stride, (0, 0), (1, 1), shape[0])
    if node.shape != tuple(value.shape[1:]):
        return _inexact(place, "ceil_mode", "its last windows reach beyond the input", "use ceil_mode=False")
    return node


def _tuple(setting: Any, space: int) -> tuple[int, ...]:
    if isinstance(setting, int):
        return (setting,) * space
    items = tuple(int(item) for item in setting)
    return items * space if len(items) == 1 else items


def to_array(tensor: Tensor) -> np.ndarray:
    """Return the same numbers as float64."""
    array: np.ndarray = tensor.detach().double().numpy().copy()
    return array


def optional_array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else to_array(tensor)


def _inexact(place: str, what: str, why: str, fix: str) -> Finding:
    return Finding("ND022", place, what, why, fix)
