"""A compiled network learns on its target: from the command line, resumed, and deployed as it was learned."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neurodeploy import cli, load_artifact, onchip, pipeline, save_artifact
from neurodeploy.datasets import Encoding
from neurodeploy.engine.plastic_integer import ACCUMULATOR
from neurodeploy.errors import LoadError, UnsupportedError, UsageError
from neurodeploy.hardware import load_profile
from neurodeploy.ir import onchip as onchip_ir
from neurodeploy.learning import on_target
from neurodeploy.lowering.plastic import OnlineOptions
from tests.plastic_programs import network

FLOOR = {"fixed": 0.90, "float": 0.93}
FROZEN = ("lif2",)


@pytest.fixture(scope="module")
def untrained():
    """An artefact of random weights, 64-64-10, for digits in 20 steps."""
    return pipeline.compile(network((64, 64, 10), beta=0.8), "loihi2-sim", encoding=Encoding("rate", 20))


@pytest.mark.parametrize("arithmetic", FLOOR)
def test_digits_are_learned_from_random_weights_and_stay_learned_when_deployed(untrained, arithmetic):
    """Above the floors, and above what the read-out alone learns from the same random hidden weights."""
    random = OnlineOptions(initial="random")
    learned, outcome = onchip.learn(untrained, "digits", arithmetic=arithmetic, options=random)
    readout_only = OnlineOptions(initial="random", plastic=FROZEN)
    control = onchip.learn(untrained, "digits", arithmetic=arithmetic, options=readout_only)[1]
    assert outcome["accuracy_before"] < 0.3
    assert outcome["accuracy_after"] >= FLOOR[arithmetic]
    assert outcome["accuracy_after"] > control["accuracy_after"]
    assert learned.provenance["learning"]["accuracy_after"] == outcome["accuracy_after"]


def test_every_epoch_presents_all_samples_in_an_order_and_with_spikes_of_its_own(untrained, monkeypatch):
    seen, learn = [], onchip.plastic.learn

    def watched(program, spikes, labels, progress=None):
        if progress is not None:
            seen.append((spikes.copy(), labels.copy()))
        return learn(program, spikes, labels, progress)

    monkeypatch.setattr(onchip.plastic, "learn", watched)
    said = []
    _, outcome = onchip.learn(untrained, "digits", epochs=2, limit=100, progress=lambda *told: said.append(told))
    assert said[0] == ("epoch 1 of 2", 64, 100)
    assert said[-1] == (f"epoch 2 of 2, {outcome['curve'][0]['test_accuracy']:.1%} so far", 100, 100)
    (first, labels), (second, others) = seen
    assert sorted(labels) == sorted(others)
    assert not np.array_equal(labels, others)
    assert {sample.tobytes() for sample in first}.isdisjoint(sample.tobytes() for sample in second)


def test_new_classes_are_learned_and_rehearsal_keeps_the_old_ones(untrained):
    random, last = OnlineOptions(initial="random"), OnlineOptions(1e-3, 1e-3, plastic=("lif2",))
    eight, first = onchip.learn(untrained, "digits", classes=range(8), options=random)
    assert all((row["after"] > 0.8) == (row["class"] < 8) for row in first["by_class"])
    kept = {}
    for rehearse in (0, 40):
        _, outcome = onchip.learn(eight, "digits", classes=(8, 9), rehearse=rehearse, options=last, epochs=5)
        old, new = (
            [row["after"] for row in outcome["by_class"] if (row["class"] > 7) == late] for late in (False, True)
        )
        assert np.mean(new) > 0.7
        kept[rehearse] = np.mean(old)
    assert kept[40] > 0.85
    assert kept[0] < kept[40] - 0.3


def test_chosen_samples_are_the_first_of_the_new_classes_and_a_few_of_every_other():
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 2])
    assert on_target.chosen(labels, None).tolist() == list(range(10))
    assert on_target.chosen(labels, 4).tolist() == [0, 1, 2, 3]
    assert on_target.chosen(labels, 3, (2,)).tolist() == [2, 5, 8]
    assert on_target.chosen(labels, None, (2,), 2).tolist() == [2, 5, 8, 9, 0, 3, 1, 4]
    with pytest.raises(UsageError, match="classes 3"):
        on_target.chosen(labels, None, (2, 3))


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(untrained, tmp_path):
    checkpoint = tmp_path / "learned.ndc.unfinished"
    whole, _ = onchip.learn(untrained, "digits", epochs=2, limit=200)

    class StopError(Exception):
        pass

    def stop(what, done, total):
        if what.startswith("epoch 2"):
            raise StopError

    with pytest.raises(StopError):
        onchip.learn(untrained, "digits", epochs=2, limit=200, checkpoint=checkpoint, progress=stop)
    resumed, outcome = onchip.learn(untrained, "digits", epochs=2, limit=200, checkpoint=checkpoint)
    assert outcome["resumed_after"] == 1
    assert resumed.fingerprint == whole.fingerprint
    with pytest.raises(LoadError, match="other settings"):
        onchip.learn(untrained, "digits", epochs=3, limit=200, checkpoint=checkpoint)


def test_the_command_learns_on_lava_what_it_learns_on_the_engine(untrained, tmp_path, capsys):
    """Same arrays, byte for byte, and one JSON object on standard output."""
    start = save_artifact(untrained, tmp_path / "start.ndc")
    arrays = {}
    for on in ("engine", "lava"):
        out = tmp_path / f"{on}.ndc"
        words = ["learn", str(start), "--rule", "eprop", "--data", "digits", "--on", on, "-o", str(out), "--json"]
        assert cli.main([*words, "--epochs", "1", "--limit", "20", "--initial", "random"]) == 0
        assert json.loads(capsys.readouterr().out)["artifact"] == str(out)
        assert out.with_suffix(".png").is_file()
        arrays[on] = (out / "arrays.npz").read_bytes()
        assert not np.array_equal(load_artifact(out).program.projections[0].synapses.mantissa, 0)
    assert arrays["engine"] == arrays["lava"]


def test_what_cannot_learn_is_refused_with_its_reason(untrained):
    currents = pipeline.compile(network((64, 64, 10)), "loihi2-sim", encoding=Encoding("direct", 20))
    with pytest.raises(UnsupportedError, match="graded input"):
        onchip.learn(currents, "digits", epochs=1, limit=5)
    with pytest.raises(UsageError, match="no such rule on the target"):
        onchip.learn(untrained, "digits", rule="hebb")
    with pytest.raises(UsageError, match="the populations are lif1, lif2"):
        onchip.learn(untrained, "digits", options=OnlineOptions(plastic=("lif9",)))
    with pytest.raises(UsageError, match="decay is 0"):
        OnlineOptions(decay=0)


def test_the_command_verifies_how_a_model_learns_and_inspect_says_what_it_learned(untrained, tmp_path, capsys):
    start, learned = save_artifact(untrained, tmp_path / "start.ndc"), tmp_path / "learned.ndc"
    words = ["learn", str(start), "--rule", "eprop", "--data", "digits", "-o", str(learned), "--initial", "random"]
    assert cli.main([*words, "--epochs", "1", "--limit", "100", "--class", "3", "--class", "5", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["classes"] == [3, 5]
    assert len(outcome["limits"]) == 3
    assert cli.main(["verify", str(learned), "--learning", "--against", "lava-models", "--limit", "2", "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)
    assert certificate["verified"]
    assert certificate["compared"] == 2 * 22 * (64 * 64 + 64 * 10)
    assert cli.main(["inspect", str(learned)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "learned by eprop on digits, 1 epoch, fixed, computed by engine" in told
    assert "bit-approximate" in told
    assert "learning by eprop, digits, 2 samples x 20 steps" in told
    assert cli.main(["verify", str(start), "--learning"]) != 0
    assert "ND414" in capsys.readouterr().err
    assert cli.main(["verify", str(learned), "--learning", "--against", "source"]) != 0
    assert "in real numbers" in capsys.readouterr().err


def test_a_chip_without_third_factors_is_refused(untrained):
    loihi1 = pipeline.compile(network((64, 64, 10), beta=0.8), "loihi1-sim", encoding=Encoding("rate", 20))
    with pytest.raises(UnsupportedError, match="its learning engine takes 2"):
        onchip.learn(loihi1, "digits", epochs=1, limit=5)


@pytest.mark.parametrize("name", ["loihi1-sim", "loihi2-sim"])
def test_profiles_state_the_formats_that_learning_has(name):
    """Those of Lava's own constants, with which the engine computes."""
    from lava.magma.core.learning import constants

    data = load_profile(name).data
    assert data["learning.weight"].value == [onchip_ir.WEIGHT_MIN, onchip_ir.WEIGHT_MAX]
    assert data["learning.weight"].value == [-(2**constants.W_WEIGHTS_U), 2**constants.W_WEIGHTS_U - 1]
    assert 2 ** data["learning.trace_bits"].value - 1 == onchip_ir.TRACE_MAX == 2**constants.W_TRACE - 1
    assert data["learning.tag_bits"].value == constants.W_TAG_1_U
    assert 2 ** data["learning.accumulator_bits"].value == ACCUMULATOR == 2**constants.W_ACCUMULATOR_U
