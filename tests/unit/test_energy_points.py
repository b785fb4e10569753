"""The energy models against hardware that was measured, its events counted: each point within its stated factor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from neurodeploy.evaluation.validation import Point, points
from neurodeploy.hardware import load_profile

CHIPS = ("loihi1", "loihi2", "spinnaker1")
PREDICTED = [(chip, point) for chip in CHIPS for point in points(load_profile(chip)) if point.predictions]


@pytest.mark.parametrize(("chip", "point"), PREDICTED, ids=lambda value: getattr(value, "id", value))
def test_the_default_model_is_within_its_factor(chip: str, point: Point) -> None:
    assert point.factor is not None
    default = point.predictions[0]
    assert default.model == load_profile(chip).energy_model()
    assert all(1 / point.factor <= ratio <= point.factor for ratio in default.ratio)


def test_factors_are_as_stated() -> None:
    """Loihi 1 1.5, Loihi 2 2, SpiNNaker 1 1.25; a known count of points is predicted, and targets inherit them."""
    assert {(chip, point.factor) for chip, point in PREDICTED} == {
        ("loihi1", 1.5),
        ("loihi2", 2.0),
        ("spinnaker1", 1.25),
    }
    assert len(PREDICTED) == 12
    assert points(load_profile("loihi2-sim")) == points(load_profile("loihi2"))
    assert points(load_profile("spinnaker2")) == []


def test_by_hand() -> None:
    """Frady: 667 x 76,800 x 23.6 pJ + 76,800 x 60 x 52 pJ = 1.4485 mJ, against 1.33 measured: 1.089."""
    (point,) = [point for _, point in PREDICTED if point.id == "frady2020_knn"]
    low, _ = point.predictions[0].joule
    assert low == pytest.approx(667 * 76_800 * 23.6e-12 + 76_800 * 60 * 52e-12)
    assert point.predictions[0].ratio[0] == pytest.approx(1.089, abs=5e-4)


def test_a_wrong_constant_is_seen() -> None:
    """Twice the price of a synaptic operation takes the Loihi 1 point out of its factor."""
    from neurodeploy.hardware import profile_from_tables

    tables = load_profile("loihi1").tables
    model = tables["energy_models"]["davies2018"]
    dear = model | {"synop": model["synop"] | {"value": 2 * model["synop"]["value"]}}
    profile = profile_from_tables(tables | {"energy_models": tables["energy_models"] | {"davies2018": dear}}, "dear")
    (point,) = [point for point in points(profile) if point.predictions]
    assert point.factor is not None
    assert point.predictions[0].ratio[1] > point.factor


def test_the_readme_shows_what_is_computed() -> None:
    """The README's table of predicted and measured has every point with the ratio that the code gives now."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for _, point in PREDICTED:
        low, high = (f"{ratio:.2f}" for ratio in point.predictions[0].ratio)
        ratio = low if low == high else f"{low} to {high}"
        assert re.search(rf"^\| {re.escape(point.id)} .*\| {ratio} \|", readme, re.MULTILINE), (point.id, ratio)
