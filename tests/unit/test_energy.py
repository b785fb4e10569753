"""Energy is counted events times cited constants, worked out by hand; the band spans every model."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy.errors import ProfileError
from neurodeploy.evaluation.activity import Activity, Layer
from neurodeploy.evaluation.energy import estimate
from neurodeploy.evaluation.traffic import Messages, Traffic
from neurodeploy.hardware import load_profile, profile_from_tables

EVENTS = Activity(1, 1, 5, (Layer("a", 100, 10, {"dense": 1000}, 100, 0.1, active_updates=60),))
SENT = Traffic({"a": Messages(20, 30, 40, 0)}, np.array([[1000.0]], np.float32), np.array([100]), 1)


def test_loihi1_by_hand() -> None:
    """1,000 dense synops, 100 updates of which 60 active, 10 spikes in 20 messages over 30 + 40 hops, in pJ.

    Davies: 1000 x 23.6 + 60 x 81 + 40 x 52 + 20 x 1.7 + 30 x 3 + 40 x 4 = 30,824; 29,084 with no update active, 31,984
    with all. SANA-FE: 1000 x 35.5 + 100 x 51.2 + 60 x 21.6 + 10 x 69.3 + 20 x 111 + 30 x 3 + 40 x 4.2 = 45,087, and
    864 more with all updates active. KerasSpiking: 1000 x 27.1 + 100 x 81 = 35,200.
    """
    report = estimate(EVENTS, load_profile("loihi1-sim"), SENT)
    assert report.model == "davies2018"
    assert {name: energy.joule for name, energy in report.models.items()} == pytest.approx(
        {"davies2018": 30_824e-12, "sanafe": 45_087e-12, "keras_spiking": 35_200e-12}
    )
    assert report.total.joule == pytest.approx(30_824e-12)
    assert report.total.low == report.models["davies2018"].low == pytest.approx(29_084e-12)
    assert report.models["davies2018"].high == pytest.approx(31_984e-12)
    assert report.total.high == report.models["sanafe"].high == pytest.approx(45_951e-12)
    assert report.layers["a"] == report.total


def test_messages_that_nobody_counted_are_left_out_and_said_so() -> None:
    with_traffic, without = (estimate(EVENTS, load_profile("loihi1-sim"), traffic) for traffic in (SENT, None))
    assert "messages and hops between cores" in without.left_out
    assert "messages and hops between cores" not in with_traffic.left_out
    assert with_traffic.total.joule - without.total.joule == pytest.approx(284e-12)
    crossing = Traffic({"a": Messages(20, 30, 40, 7)}, SENT.synops, SENT.neurons, 1)
    left_out = estimate(EVENTS, load_profile("loihi1-sim"), crossing).left_out
    assert "the way of 7 messages from chip to chip" in left_out


def test_loihi2_is_loihi1s_constants_with_a_band() -> None:
    """As Davies, each hop 3.5: 1000 x 23.6 + 60 x 81 + 40 x 52 + 20 x 1.7 + 70 x 3.5 = 30,819; low 1000 x 6.8 +
    100 x 17 + 279 = 8,779, high 1000 x 48.4 + 100 x 81 + 279 = 56,779. Every price is our assumption, and listed."""
    report = estimate(EVENTS, load_profile("loihi2-sim"), SENT)
    assert report.total.joule == pytest.approx(30_819e-12)
    assert report.total.low == pytest.approx(8_779e-12)
    assert report.total.high == pytest.approx(56_779e-12)
    assert report.status == "estimated"
    prices = [line for line in report.used if line.startswith("energy_models.")]
    assert all("(assumed;" in line for line in prices)
    assert set(prices) <= set(report.assumed)
    assert any(line.startswith("topology.tile_rows") for line in report.assumed)
    assert not any(line.startswith("latency.synop") for line in report.assumed)


def test_layers_add_up_and_formats_are_priced_apart() -> None:
    """SANA-FE prices dense, sparse and conv synops at 35.5, 33.6 and 24.0 pJ: they set the upper end."""
    layers = tuple(Layer(form, 1, 0, {form: 1000}, 0, 0.0) for form in ("dense", "sparse", "conv"))
    report = estimate(Activity(1, 1, 0, layers), load_profile("loihi1-sim"))
    high = {name: energy.high for name, energy in report.layers.items()}
    assert high == pytest.approx({"dense": 35_500e-12, "sparse": 33_600e-12, "conv": 27_100e-12})
    assert report.total.joule == pytest.approx(sum(energy.joule for energy in report.layers.values()))
    assert report.models["sanafe"].joule == pytest.approx(93_100e-12)


def test_no_cited_constant_no_number() -> None:
    """A model that prices no synaptic operation gives no figure, not one without them."""
    tables = load_profile("loihi1").tables
    models = {"davies2018": {"neuron_update": tables["energy_models"]["keras_spiking"]["neuron_update"]}}
    with pytest.raises(ProfileError, match="ND121"):
        estimate(EVENTS, profile_from_tables(tables | {"energy_models": models}, "mine.toml"))


def test_the_slowest_core_sets_a_step() -> None:
    """Two steps, two cores of 100 and 10 neurons on two tiles, Loihi 1: 3.5 ns a synop, 8.4 a neuron, a barrier of
    1,000 (simulated: 113 + 352/31 more for each further tile). Step 1: 200 x 3.5 + 840 = 1,540 against 400 x 3.5 + 84 =
    1,484; step 2: 840 against 600 x 3.5 + 84 = 2,184. Two chips of a board of two, static power 0.1044 W each."""
    synops = np.array([[200, 400], [0, 600]], np.float32)
    traffic = Traffic({"a": Messages()}, synops, np.array([100, 10]), 2)
    report = estimate(Activity(2, 1, 0, ()), load_profile("loihi1-sim"), traffic, chips=1)
    assert report.time is not None
    seconds = (1540 + 2184 + 2 * 1000) * 1e-9
    low = (1540 + 2184 + 2 * (113 + 352 / 31)) * 1e-9
    assert report.time.seconds == pytest.approx((seconds, low, seconds))
    assert report.time.step_s == pytest.approx((seconds / 2, low / 2, seconds / 2))
    by_scope = {each.scope: each for each in report.static}
    assert by_scope["chips used: 1"].joule[0] == pytest.approx(0.1044 * seconds)
    assert by_scope["chips powered: 2"].joule == pytest.approx((0.2088 * seconds, 0.058 * low, 0.2088 * seconds))


def test_a_step_of_loihi_2_takes_a_microsecond_at_least() -> None:
    """Nothing is published: the assumption is used, and listed as one."""
    traffic = Traffic({"a": Messages()}, np.zeros((3, 1), np.float32), np.array([1]), 1)
    report = estimate(Activity(3, 1, 0, ()), load_profile("loihi2-sim"), traffic)
    assert report.time is not None
    assert report.time.seconds == pytest.approx((3e-6,) * 3)
    assert any(line.startswith("latency.min_timestep") for line in report.assumed)
