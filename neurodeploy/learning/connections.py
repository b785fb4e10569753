"""Linear maps between the layers of a ring, each in both directions: forward currents, errors back, and what it learns.

The way back is the exact transpose: <W x, e> = <x, W^T e>. No gradient is recorded by anyone; `learn` is a product of
two rates, as a synapse could take it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from neurodeploy.ir.nodes import AveragePool, Conv, Linear, Node, Shape


class Connection(nn.Module, ABC):
    """A linear map between two layers: the current it injects, the way back, and what its weights learn.

    `begin` draws what holds for one batch in both stages: the dropout mask over its currents (variational: one for all
    steps) and the weight within its restriction |W|_F <= R.
    """

    def __init__(self, shape: Shape, reads: Shape) -> None:
        super().__init__()
        self.shape, self.reads = shape, reads
        self.mask: Tensor | None = None
        self.weight: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        self.limit: float | None = None
        self.now = self.dropped = torch.empty(0)

    def begin(self, samples: int, dropout: float, random: torch.Generator) -> None:
        """Take the weight as it stands, and draw the dropout mask, 0 or 1 / (1 - p), unless nothing is dropped."""
        self.mask = None
        if self.weight is not None:
            self.now = self.effective
        if dropout and self.weight is not None:
            kept = torch.rand(samples, *self.shape, generator=random, dtype=self.weight.dtype) >= dropout
            self.mask = as_maps(kept.to(self.weight.dtype) / (1 - dropout))
            self.dropped = torch.empty_like(self.mask)

    @property
    def strength(self) -> float:
        """min(1, R / |W|_F), by the exact norm; a constant to the gradient."""
        if self.limit is None or self.weight is None:
            return 1.0
        return min(1.0, self.limit / max(float(torch.linalg.vector_norm(self.weight.detach())), 1e-30))

    def current(self, x: Tensor) -> Tensor:
        """Return W x + b (sample, *shape), dropped out."""
        y = self._current(x).reshape(-1, *self.shape)
        return y if self.mask is None else y.mul_(self.mask)

    def transposed(self, e: Tensor) -> Tensor:
        """Return W^T e (sample, *reads) for e (sample, *shape), along the paths that were not dropped."""
        if self.mask is not None:
            e = torch.mul(e, self.mask, out=self.dropped)
        return self._transposed(e).reshape(-1, *self.reads)

    def learn(self, e: Tensor, x: Tensor) -> None:
        """Leave the sum over samples of e x^T in the weight's .grad, and of e in the bias's; nothing where dropped."""
        e = e if self.mask is None else e * self.mask
        if self.weight is not None:
            self.weight.grad = self.products(e, x) * self.strength
        if self.bias is not None:
            self.bias.grad = e.flatten(2).sum((0, 2)) if e.dim() > 2 else e.sum(0)

    @abstractmethod
    def products(self, e: Tensor, x: Tensor) -> Tensor:
        """Return e x^T summed over samples and shared positions, in the weight's shape."""

    @abstractmethod
    def _current(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _transposed(self, e: Tensor) -> Tensor: ...

    @abstractmethod
    def node(self) -> Node:
        """Return this map as a node of meaning, with its present weights."""

    @property
    def effective(self) -> Tensor:
        assert self.weight is not None
        strength = self.strength
        weight = self.weight.detach()
        return weight if strength == 1.0 else weight * strength

    def synapses(self) -> int:
        """Return how many (source, target) pairs are connected."""
        ones = torch.ones(1, *self.shape), torch.ones(1, *self.reads)
        return round(float(self.products(*ones).sum()))


class Dense(Connection):
    """All-to-all: weight (post, pre)."""

    def __init__(self, node: Linear, shape: Shape, reads: Shape, dtype: torch.dtype) -> None:
        super().__init__(shape, reads)
        self.weight = nn.Parameter(tensor(node.weight, dtype))
        self.bias = None if node.bias is None else nn.Parameter(tensor(node.bias, dtype))

    def _current(self, x: Tensor) -> Tensor:
        return functional.linear(x.flatten(1), self.now, self.bias)

    def _transposed(self, e: Tensor) -> Tensor:
        return e.flatten(1) @ self.now

    def products(self, e: Tensor, x: Tensor) -> Tensor:
        return e.flatten(1).T @ x.flatten(1)

    def node(self) -> Linear:
        return Linear(array(self.effective), None if self.bias is None else array(self.bias))


class Convolution(Connection):
    """Shared kernels: weight (out, in, *kernel), bias per map."""

    def __init__(self, node: Conv, dtype: torch.dtype) -> None:
        super().__init__(node.shape, node.input_shape)
        self.template = node
        self.weight = nn.Parameter(tensor(node.weight, dtype).contiguous(memory_format=torch.channels_last))
        self.bias = None if node.bias is None else nn.Parameter(tensor(node.bias, dtype))
        (h, w), kernel = node.input_shape[1:], node.weight.shape[2:]
        self.rest = tuple(
            n + 2 * p - k - (out - 1) * s
            for n, p, k, out, s in zip((h, w), node.padding, kernel, node.shape[1:], node.stride, strict=True)
        )

    def _current(self, x: Tensor) -> Tensor:
        at = self.template
        return functional.conv2d(_maps(x, self.reads), self.now, self.bias, at.stride, at.padding)

    def _transposed(self, e: Tensor) -> Tensor:
        at = self.template
        return functional.conv_transpose2d(e, self.now, None, at.stride, at.padding, self.rest)

    def products(self, e: Tensor, x: Tensor) -> Tensor:
        at = self.template
        return conv2d_weight(_maps(x, self.reads), at.weight.shape, e, at.stride, at.padding)

    def node(self) -> Conv:
        bias = None if self.bias is None else array(self.bias)
        return replace(self.template, weight=array(self.effective), bias=bias)


class TransposedConvolution(Connection):
    """What a convolution of stride r reads back: weight (in, out, *kernel) as torch.nn.ConvTranspose2d.

    As meaning it is two nodes: the source's values r apart with zeros between, then a Conv of the turned kernel.
    """

    def __init__(self, node: Conv, ratio: int, reads: Shape, dtype: torch.dtype) -> None:
        super().__init__(node.shape, reads)
        self.template, self.ratio = node, ratio
        turned = _turned(tensor(node.weight, dtype)).contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(turned)
        self.padding = tuple(k - 1 - p for k, p in zip(node.weight.shape[2:], node.padding, strict=True))

    def _current(self, x: Tensor) -> Tensor:
        rest = (self.ratio - 1,) * 2
        return functional.conv_transpose2d(_maps(x, self.reads), self.now, None, self.ratio, self.padding, rest)

    def _transposed(self, e: Tensor) -> Tensor:
        return functional.conv2d(e, self.now, None, self.ratio, self.padding)

    def products(self, e: Tensor, x: Tensor) -> Tensor:
        assert self.weight is not None
        return conv2d_weight(e, self.weight.shape, _maps(x, self.reads), self.ratio, self.padding)

    def node(self) -> Conv:
        return replace(self.template, weight=array(_turned(self.effective)))


class Pool(Connection):
    """The mean over k x k windows: nothing to learn."""

    def __init__(self, node: AveragePool) -> None:
        super().__init__(node.shape, node.input_shape)
        self.template, self.kernel = node, node.kernel[0]

    def _current(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(_maps(x, self.reads), self.kernel)

    def _transposed(self, e: Tensor) -> Tensor:
        spread = functional.interpolate(e / self.kernel**2, scale_factor=self.kernel, mode="nearest")
        below, beside = self.reads[1] - spread.shape[2], self.reads[2] - spread.shape[3]
        return functional.pad(spread, (0, beside, 0, below)) if below or beside else spread

    def products(self, e: Tensor, x: Tensor) -> Tensor:
        return (e * functional.avg_pool2d(_maps(x, self.reads), self.kernel)).sum() * self.kernel**2

    def node(self) -> AveragePool:
        return self.template


def _turned(weight: Tensor) -> Tensor:
    return weight.transpose(0, 1).flip(2, 3)


def _maps(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(-1, *shape)


def as_maps(x: Tensor) -> Tensor:
    """Return x in the memory order in which PyTorch's convolutions are fast on CPUs: channels last."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def rest(samples: int, shape: Shape, dtype: torch.dtype) -> Tensor:
    """Return zeros (sample, *shape)."""
    return as_maps(torch.zeros(samples, *shape, dtype=dtype))


def tensor(values: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64)).to(dtype)


def array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().contiguous().numpy().copy()
