"""What learning did to weights: how much they changed, and where two runs of the same learning first part."""

from __future__ import annotations

from typing import Any

import numpy as np

RELATIVE = 1e-9
"""Real weights agree when they differ by at most this share of the largest of their group; integers must be equal."""


def compare(
    program: Any, expected: tuple[np.ndarray, ...], actual: tuple[np.ndarray, ...], by_sample: bool = False
) -> dict[str, Any]:
    """Return whether two runs of `program` had the same weights at all times, and the first synapse that did not.

    Args:
        program: what both ran, for the names of its groups of synapses and the form of its samples.
        expected, actual: per group (step, post, pre).
        by_sample: whether they are the weights after every sample, (sample, post, pre), instead.

    Returns:
        verified, equal; compared (weights, all steps together); differ; largest (difference, over the largest weight
        of its group); first_divergence: None, or step (counted from 0), sample and step within it, synapses,
        post, pre, expected and actual. The earliest step decides, then the order of the groups.
    """
    differ, largest, first = 0, 0.0, None
    for name, theirs, ours in zip(program.groups, expected, actual, strict=True):
        tallest = float(np.abs(theirs).max(initial=0.0)) or 1.0
        apart = np.abs(theirs.astype(np.float64) - ours)
        wrong = apart > (0 if program.integer else RELATIVE * tallest)
        differ += int(wrong.sum())
        largest = max(largest, float(apart.max(initial=0.0)) / tallest)
        if wrong.any():
            row, post, pre = (int(index[0]) for index in np.nonzero(wrong))
            step = program.start + (row + 1) * program.period - 1 if by_sample else row
            if first is None or step < first["step"]:
                sample, within = divmod(step - program.start, program.period)
                values = {"expected": float(theirs[row, post, pre]), "actual": float(ours[row, post, pre])}
                first = {"step": step, "sample": sample, "step_in_sample": within}
                first |= {"synapses": name, "post": post, "pre": pre} | values
    return {
        "verified": first is None,
        "equal": first is None,
        "compared": sum(weights.size for weights in expected),
        "differ": differ,
        "largest": largest,
        "first_divergence": first,
    }


def changes(start: Any, learned: Any) -> dict[str, dict[str, float]]:
    """Return per group of synapses which share of its weights changed, and by how much on average, in weight units."""
    found = {}
    for name, before, after in zip(start.groups, start.weights, learned.weights, strict=True):
        moved = after - before
        found[name] = {"share": float(np.mean(moved != 0)), "mean": float(np.abs(moved).mean())}
    return found
