"""Memory against steps, measured in processes of their own: backpropagation keeps every step, local rules keep none."""

from __future__ import annotations

import pytest

from neurodeploy.learning.cost import measure

SHORT, LONG = 400, 1600
GENEROUS_MEBIBYTE = 8.0
"""What the allocator may do as it likes; BPTT's growth over the same steps is ten times that."""


@pytest.mark.parametrize(("rule", "grows"), [("bptt", True), ("eprop", False), ("decolle", False)])
def test_only_backpropagation_remembers_every_step(rule: str, grows: bool) -> None:
    short, long = (measure(rule, "128", 64, 10, steps, 16).peak_mebibyte for steps in (SHORT, LONG))
    growth = long - short
    assert (growth > 10 * GENEROUS_MEBIBYTE) if grows else (growth < GENEROUS_MEBIBYTE)
