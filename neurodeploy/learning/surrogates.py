"""Pseudo-derivatives: what stands for the derivative of the step function [u > 0] where a rule needs one.

Each is a function psi(u, threshold) of u = membrane - threshold, named as in the literature.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

DAMPENING = 0.3
"""gamma of e-prop's triangle: Bellec et al. 2020."""
SLOPE = 10.0
"""Of the fast sigmoid in DECOLLE's released code (LIFLayer)."""
ARCTAN = 2.0
"""alpha of snnTorch's default surrogate."""

Surrogate = Callable[[Tensor, Tensor], Tensor]


def triangle(u: Tensor, threshold: Tensor) -> Tensor:
    """psi = gamma / threshold * max(0, 1 - |u| / threshold), gamma = 0.3. Bellec et al. 2020."""
    return (DAMPENING / threshold) * (1 - (u / threshold).abs()).clamp(min=0)


def fast_sigmoid(u: Tensor, threshold: Tensor) -> Tensor:
    """psi = 1 / (1 + 10 |u|)^2, the derivative of a fast sigmoid up to its scale. Zenke & Ganguli 2018."""
    return (1 + SLOPE * u.abs()) ** -2


def arctan(u: Tensor, threshold: Tensor) -> Tensor:
    """psi = (1 / pi) / (1 + (pi u alpha / 2)^2) * alpha / 2 * pi, alpha = 2: snnTorch's default `atan`."""
    return (ARCTAN / 2) / (1 + (pi / 2 * ARCTAN * u) ** 2)


def box(u: Tensor, threshold: Tensor) -> Tensor:
    """psi = 1 where |u| <= 1/2, else 0. Kaiser et al. 2020."""
    return (u.abs() <= 0.5).to(u.dtype)


SURROGATES: dict[str, Surrogate] = {
    "triangle": triangle,
    "fast_sigmoid": fast_sigmoid,
    "arctan": arctan,
    "box": box,
}


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, threshold, psi):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(u, threshold)
        ctx.psi = psi
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        u, threshold = ctx.saved_tensors
        return gradient * ctx.psi(u, threshold), None, None


def fire(u: Tensor, threshold: Tensor, psi: Surrogate) -> Tensor:
    """Return [u > 0] with `psi` as its derivative."""
    return _Fire.apply(u, threshold, psi)  # type: ignore[no-any-return]
