"""Memory against steps, measured in processes of their own: backpropagation keeps every step, local rules keep none."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy.learning.cost import measure

SHORT, LONG = 400, 1600
"""Steps; both above what a three-factor rule takes at once."""


@pytest.mark.parametrize(("rule", "grows"), [("bptt", True), ("eprop", False), ("decolle", False)])
def test_only_backpropagation_remembers_every_step(rule: str, grows: bool) -> None:
    """Four times the steps: more than twice the memory, or less than half as much again."""
    short, long = (measure(rule, "128", 64, 10, steps, 16).peak_mebibyte for steps in (SHORT, LONG))
    assert (long > 2 * short) if grows else (long < 1.5 * short)


def test_a_large_parent_hides_nothing() -> None:
    """A spawned process inherits its parent's high-water mark in getrusage; the measurement must not."""
    block = np.ones(2**26)
    assert measure("bptt", "128", 64, 10, SHORT, 16).peak_mebibyte > 10
    assert block.sum() == 2**26
