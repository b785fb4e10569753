"""How samples enter: which `Input` carries what an encoding makes of them."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from neurodeploy.ir.nodes import Input, InputKind, Shape

GRADED_KINDS = ("direct", "rows", "counts")
"""Encodings (`datasets.Encoding.kind`) that make numbers; "frames" makes those of its recordings, the others spikes."""
USUAL_COUNT = 7
"""Events of a bin where none were seen yet."""


def counted(shape: Shape, largest: float) -> Input:
    """Return the Input of counts, of which `largest` was seen: up to twice as many, rounded up to whole bits."""
    high = (1 << ceil(2 * max(largest, 1)).bit_length()) - 1
    return Input(shape, InputKind.GRADED, 0.0, float(high), high)


def encoded(node: Input, kind: str, before: str | None) -> Input:
    """Return the Input of samples that are encoded as `kind`, in place of `node`, whose were encoded as `before`."""
    if kind == "counts":
        return node if before == kind and node.kind is InputKind.GRADED else counted(node.shape, USUAL_COUNT)
    keeps = node.kind is InputKind.GRADED and before != "counts"
    if keeps if kind == "frames" else kind in GRADED_KINDS:
        return node if keeps else replace(node, kind=InputKind.GRADED, low=0.0, high=1.0, levels=None)
    spikes = node.kind is InputKind.SPIKES
    return node if spikes else replace(node, kind=InputKind.SPIKES, low=0.0, high=1.0, levels=None)
