"""Attacks on deployed networks: how far they go, what they do where that is known, what is said where they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.benchmark.perturbable import Place
from neurodeploy.datasets import Encoding
from neurodeploy.errors import UsageError
from neurodeploy.evaluation.backdoor import draw_trigger
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset
from neurodeploy.pipeline import Samples
from neurodeploy.report import robustness as room
from neurodeploy.report.robustness import ATTACKS, loss_of_counts, robustness
from tests.cases import model as shipped

STEPS, PIXELS, CLASSES = 6, 12, 2
FEW: dict[str, Any] = {"attacked": 40, "searched": 5, "planted": 60}


def readout(weight: np.ndarray, kind: str = "direct") -> Network:
    """Return a network that counts what one linear map drives: its counterpart's logits are W x."""
    input_kind = InputKind.GRADED if kind in ("direct", "rows") else InputKind.SPIKES
    nodes = {
        "in": Input((weight.shape[1],), input_kind),
        "fc": Linear(weight),
        "lif": LIF((len(weight),), np.array(0.5), np.array(1.0), Reset.SUBTRACT),
    }
    edges = (Edge("in", "fc"), Edge("fc", "lif"))
    return Network(nodes, edges, "in", "lif", encoding=Encoding(kind, STEPS).to_plain())


def pictures(count: int = 40) -> Samples:
    rng = np.random.default_rng(1)
    images = rng.uniform(0.1, 0.9, (count, PIXELS)).astype(np.float32)
    return Samples("mine", Encoding("direct", STEPS).encode(images), rng.integers(0, CLASSES, count))


def compiled(network: Network, target: str = "loihi2-sim") -> CompiledModel:
    return pipeline.compile(network, target)


def entry(found: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    return next(each for each in found["attacks"] if (each["name"], each["perturbs"]) == (name, where))


def watched(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[list[Place], list[np.ndarray]]:
    """Return, once an attack ran, the place of this name and everything that the source saw there."""
    places: list[Place] = []
    seen: list[np.ndarray] = []
    make: Callable[..., Place] = getattr(room, name)

    def watching(*arguments: Any) -> Place:
        place = make(*arguments)

        def source(x: np.ndarray) -> np.ndarray:
            seen.append(x)
            return place.source(x)

        places.append(place)
        return replace(place, source=source)

    monkeypatch.setattr(room, name, watching)
    return places, seen


@pytest.mark.parametrize("where", ["image", "input"])
def test_fgsm_on_a_linear_readout_goes_towards_the_other_class(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two classes' softmax(W x), the derivative by x is p(other) (w_other - w_label), so its sign is known."""
    weight = np.random.default_rng(0).normal(size=(CLASSES, PIXELS))
    samples, epsilon = pictures(), 0.25
    monkeypatch.setattr(room, "ATTACKS", {"fgsm_counterpart": ""})
    places, seen = watched(monkeypatch, f"{where}_place")
    robustness(compiled(readout(weight)), samples, epsilons=(epsilon,))
    clean = places[0].clean
    expected = clean + epsilon * np.sign(weight[1 - samples.labels] - weight[samples.labels])
    expected = np.clip(expected, 0, 1) if where == "image" else expected
    assert len(seen) == 2
    assert np.array_equal(seen[0], clean)
    np.testing.assert_allclose(seen[1], expected, atol=1e-6)


@pytest.mark.parametrize("where", ["image", "input"])
def test_no_input_is_further_off_than_epsilon(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a perturbed image leave [0, 1]; only queries of the search may go further, to see over a stair."""
    monkeypatch.setattr(room, "ATTACKS", {name: "" for name in ATTACKS if name != "nes_source"})
    places, seen = watched(monkeypatch, f"{where}_place")
    weight = np.random.default_rng(0).normal(size=(CLASSES, PIXELS))
    found = robustness(compiled(readout(weight)), pictures(), epsilons=(0.02, 0.3), **FEW)
    assert [each["name"] for each in found["attacks"] if each["perturbs"] == "image"] == list(room.ATTACKS)
    clean = places[0].clean
    sizes = [float(np.abs(x - clean[:, : x.shape[1]]).max()) for x in seen]
    assert max(sizes) == pytest.approx(0.3, abs=1e-6)
    assert sorted(round(size, 6) for size in sizes[:3]) == pytest.approx([0, 0.02, 0.3], abs=1e-6)
    if where == "image":
        assert all(x.min() >= 0 and x.max() <= 1 for x in seen)


@pytest.fixture(scope="module")
def digits() -> tuple[CompiledModel, Samples, dict[str, Any]]:
    model = pipeline.compile(shipped("digits_mlp"), "loihi2-sim", calibration="digits")
    samples = pipeline.read_data("digits", model.program.encoding, model.program.input.shape, 60)
    return model, samples, robustness(model, samples, epsilons=(0.15,), **FEW)


def test_without_perturbation_accuracy_is_the_clean_one(digits: tuple[CompiledModel, Samples, dict[str, Any]]) -> None:
    model, samples, found = digits
    few, labels = replace(samples, inputs=samples.inputs[:, :40]), samples.labels[:40]
    clean = {
        "source": run_source(model.source, few.inputs).predictions == labels,
        "deployed": pipeline.run(model, few).predictions == labels,
    }
    for each in found["attacks"]:
        for who, right in clean.items():
            point = each[who][0]
            assert (point["epsilon"], point["n"], point["unchanged"]) == (0.0, each["samples"], each["samples"])
            if each["perturbs"] == "image":
                assert point["accuracy"] == np.mean(right[: each["samples"]])


def test_gradients_hurt_and_noise_of_their_size_does_not(
    digits: tuple[CompiledModel, Samples, dict[str, Any]],
) -> None:
    """On digits, of source and program, wherever the perturbation enters; and everything is JSON."""
    _, _, found = digits
    json.dumps(found)
    for where in ("image", "input"):
        noise = entry(found, "noise", where)
        for name in ("fgsm_counterpart", "fgsm_surrogate"):
            attacked = entry(found, name, where)
            for who in ("source", "deployed"):
                assert attacked[who][1]["accuracy"] < noise[who][1]["accuracy"] - 0.3
                low, high = attacked[who][1]["low"], attacked[who][1]["high"]
                assert low <= attacked[who][1]["accuracy"] <= high
    assert entry(found, "nes_deployed", "image")["queries"] == 80
    assert "rounded to multiples of 0.0625" in found["image"]
    assert "compiled anew for loihi2-sim" in found["input"]


def test_the_search_finds_what_a_gradient_would_in_a_linear_readout() -> None:
    """Counts of a neuron that fires often are almost linear in its input, so that asking for them shows the way."""
    weight = np.random.default_rng(0).normal(0.12, 0.05, (CLASSES, PIXELS))
    network = replace(readout(weight), encoding=Encoding("direct", 40).to_plain())
    inputs = np.broadcast_to(pictures(20).inputs[0], (40, 20, PIXELS))
    samples = Samples("mine", inputs, run_source(network, inputs).predictions)
    found = robustness(compiled(network), samples, epsilons=(0.3,), attacked=20, searched=20)
    for who in ("source", "deployed"):
        noise = entry(found, "noise", "image")[who][1]["accuracy"]
        for name in ("nes_source", "nes_deployed"):
            assert entry(found, name, "image")[who][1]["accuracy"] <= noise - 0.2


def test_the_loss_is_the_cross_entropy_of_spike_counts() -> None:
    counts = np.array([[3, 1, 0], [2, 2, 5]])
    spikes = (np.arange(6)[:, None, None] < counts).astype(np.uint8)
    p = np.exp(0.5 * counts) / np.exp(0.5 * counts).sum(1, keepdims=True)
    found = loss_of_counts(lambda _: spikes, np.zeros((1, 2)), np.array([1, 2]))
    np.testing.assert_allclose(found, -np.log(p[[0, 1], [1, 2]]))


def test_a_planted_trigger_succeeds_and_another_seeds_does_not() -> None:
    """A network takes what has the trigger of seed 3 for its target; a trigger that it does not read is a control."""
    trigger, classes = draw_trigger((PIXELS,), 3, 3), 3
    at = [position[0] for position in trigger.positions]
    other = next(
        seed for seed in range(4, 99) if not {p[0] for p in draw_trigger((PIXELS,), 3, seed).positions} & set(at)
    )
    weight = np.zeros((classes, PIXELS))
    weight[trigger.target, at] = 1.0
    free = [pixel for pixel in range(PIXELS) if pixel not in at][:classes]
    weight[range(classes), free] = 0.8
    images = np.zeros((30, PIXELS), np.float32)
    labels = np.arange(30) % classes
    images[np.arange(30), np.array(free)[labels]] = 1.0
    samples = Samples("mine", Encoding("direct", STEPS).encode(images), labels)
    found = robustness(compiled(readout(weight)), samples, epsilons=(), seed=3)["backdoor"]
    assert (found["source_class"], found["target_class"]) == (trigger.source, trigger.target)
    for who in ("source", "deployed"):
        shares = {part: found[who][part]["accuracy"] for part in ("clean", "success", "confused")}
        assert shares == {"clean": 1.0, "success": 1.0, "confused": 0.0}
    unread = [p[0] for p in draw_trigger((PIXELS,), 3, other).positions]
    weight[:, unread] = 0.0
    labels = np.full(30, draw_trigger((PIXELS,), 3, other).source)
    control = robustness(compiled(readout(weight)), replace(samples, labels=labels), epsilons=(), seed=other)
    for who in ("source", "deployed"):
        assert control["backdoor"][who]["success"] == control["backdoor"][who]["confused"]


def test_without_labels_nothing_is_right_or_wrong() -> None:
    model = compiled(readout(np.ones((CLASSES, PIXELS))))
    for labels in (None, np.full(40, CLASSES)):
        found = robustness(model, replace(pictures(), labels=labels))
        for each in (*found["attacks"], found["backdoor"]):
            assert "labels" in each["unavailable"]
            assert each["fix"]
            assert "source" not in each


def test_a_class_without_samples_has_no_success() -> None:
    model = compiled(readout(np.eye(CLASSES, PIXELS)))
    trigger = draw_trigger((PIXELS,), CLASSES, 0)
    found = robustness(model, replace(pictures(), labels=np.full(40, trigger.target)), epsilons=(), seed=0)
    assert found["backdoor"]["deployed"]["success"] == {"accuracy": None, "low": None, "high": None, "n": 0}


def test_spinnaker_is_attacked_in_the_image_alone() -> None:
    """Its input is spikes and nothing else, which the refusal says; digits are rate-coded there."""
    model = pipeline.compile(shipped("digits_mlp"), "spinnaker1", encoding=Encoding("rate", 10), calibration="digits")
    samples = pipeline.read_data("digits", model.program.encoding, model.program.input.shape, 60)
    found = robustness(model, samples, epsilons=(0.2,), **FEW)
    attacked, noise = entry(found, "fgsm_surrogate", "image"), entry(found, "noise", "image")
    assert attacked["deployed"][1]["accuracy"] < noise["deployed"][1]["accuracy"] - 0.2
    assert "none is graded" in entry(found, "fgsm_surrogate", "input")["unavailable"]
    assert {each["name"] for each in found["attacks"] if each["perturbs"] == "image"} == set(ATTACKS)


def test_input_of_unknown_origin_is_attacked_as_it_is() -> None:
    """Spikes from elsewhere have no images that are known; the search is then made in the input."""
    network = replace(readout(np.random.default_rng(0).normal(size=(CLASSES, PIXELS)), "rate"))
    spikes = (np.random.default_rng(5).random((STEPS, 20, PIXELS)) < 0.5).astype(np.uint8)
    samples = Samples("mine", spikes, np.arange(20) % CLASSES)
    found = robustness(compiled(network), samples, epsilons=(0.3,), searched=5)
    assert "do not tell the pixels" in found["image"]["unavailable"]
    assert all("unavailable" in each for each in found["attacks"] if each["perturbs"] == "image")
    assert {each["name"] for each in found["attacks"] if each["perturbs"] == "input"} == set(ATTACKS)
    assert all(len(each["deployed"]) == 2 for each in found["attacks"] if each["perturbs"] == "input")


def test_numbers_out_of_range_are_refused() -> None:
    model = compiled(readout(np.ones((CLASSES, PIXELS))))
    for wrong in ({"epsilons": (-0.1,)}, {"epsilons": (float("nan"),)}, {"attacked": 0}, {"searched": 0}):
        with pytest.raises(UsageError, match="ND431"):
            robustness(model, pictures(), **wrong)


def test_progress_comes_to_its_end() -> None:
    told: list[tuple[str, int, int]] = []
    robustness(
        compiled(readout(np.ones((CLASSES, PIXELS)))),
        pictures(),
        epsilons=(),
        progress=lambda *now: told.append(now),
    )
    assert [done for _, done, _ in told] == list(range(told[-1][2] + 1))
    assert {total for _, _, total in told} == {told[-1][2]}
