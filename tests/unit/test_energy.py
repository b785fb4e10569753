"""Energy is counted events times cited constants, worked out by hand; the band spans every model."""

from __future__ import annotations

import pytest

from neurodeploy.evaluation.activity import Activity, Layer
from neurodeploy.evaluation.energy import estimate
from neurodeploy.hardware import load_profile

EVENTS = Activity(1, 1, 5, (Layer("a", 100, 10, {"dense": 1000}, 100, 0.1),))


def test_loihi1_by_hand() -> None:
    """1,000 dense synops, 100 updates, 10 spikes.

    Davies: 1000 x 23.6 + 100 x 81 + 10 x 1.7 = 31,717 pJ, and 28,817 with every update inactive (52). SANA-FE:
    1000 x 35.5 + 100 x (51.2 + 21.6) + 10 x 69.3 = 43,473. KerasSpiking: 1000 x 27.1 + 100 x 81 = 35,200.
    """
    report = estimate(EVENTS, load_profile("loihi1-sim"))
    assert report.model == "davies2018"
    assert report.total.joule == pytest.approx(31_717e-12)
    assert report.total.low == pytest.approx(28_817e-12)
    assert report.total.high == pytest.approx(43_473e-12)
    assert report.layers["a"] == report.total


def test_loihi2_is_loihi1s_constants_with_a_band() -> None:
    """Default as Davies; low 1000 x 6.8 + 100 x 17 + 10 x 1.7, high 1000 x 48.4 + 100 x 81 + 10 x 1.7."""
    report = estimate(EVENTS, load_profile("loihi2-sim"))
    assert report.total.joule == pytest.approx(31_717e-12)
    assert report.total.low == pytest.approx(8_517e-12)
    assert report.total.high == pytest.approx(56_517e-12)
    assert report.status == "estimated"
    assert all("(assumed;" in line for line in report.used)


def test_layers_add_up_and_formats_are_priced_apart() -> None:
    """SANA-FE prices dense, sparse and conv synops at 35.5, 33.6 and 24.0 pJ: they set the upper end."""
    layers = tuple(Layer(form, 1, 0, {form: 1000}, 0, 0.0) for form in ("dense", "sparse", "conv"))
    report = estimate(Activity(1, 1, 0, layers), load_profile("loihi1-sim"))
    high = {name: energy.high for name, energy in report.layers.items()}
    assert high == pytest.approx({"dense": 35_500e-12, "sparse": 33_600e-12, "conv": 27_100e-12})
    assert report.total.joule == pytest.approx(sum(energy.joule for energy in report.layers.values()))
