"""Every rule learns the embedded digits with the command's defaults, and what it wrote compiles and decides alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurodeploy.cli import RULES, main

FLOORS = {
    "bptt": 0.96,
    "fa": 0.93,
    "dfa": 0.93,
    "eprop": 0.95,
    "decolle": 0.93,
    "spide": 0.965,
    "ide": 0.96,
    "stdp": 0.85,
    "rstdp": 0.85,
    "convert": 0.95,
}
"""Test accuracy that is promised, or for the last five expected, of the defaults."""
ROUNDING = 0.03
"""By how much 8-bit weights may change the accuracy on 360 digits: ten of them."""


@pytest.mark.parametrize("rule", RULES)
def test_defaults_reach_what_is_promised(rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.pt"
    assert main(["train", "--rule", rule, "--dataset", "digits", "-o", str(model), "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["test_accuracy"] >= FLOORS[rule]
    artifact = str(tmp_path / "model.ndc")
    assert main(["compile", str(model), "--target", "loihi2-sim", "-o", artifact, "--json"]) == 0
    capsys.readouterr()
    assert main(["evaluate", artifact, "--data", "digits", "--json"]) == 0
    assert abs(json.loads(capsys.readouterr().out)["accuracy"] - trained["test_accuracy"]) <= ROUNDING
