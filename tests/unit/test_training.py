"""The training loop: the same settings give the same network, however often the run was interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy import datasets
from neurodeploy.cli import RULES as CLI_RULES
from neurodeploy.datasets import Encoding
from neurodeploy.errors import BackendUnavailableError, LoadError, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, Linear
from neurodeploy.learning import RULES, training
from neurodeploy.learning.architectures import Neurons, build, hidden
from neurodeploy.learning.recipes import RECIPES
from neurodeploy.learning.training import Settings


def short(rule: str = "bptt", **changes: object) -> Settings:
    usual = {"arch": "12", "epochs": 3, "train_samples": 200, "test_samples": 50}
    return training.settings(rule, "digits", **(usual | changes))  # type: ignore[arg-type]


def weights(network: Network) -> list[np.ndarray]:
    return [node.weight for node in network.nodes.values() if isinstance(node, Linear | Conv)]


def same(one: Network, other: Network) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


class Interruption(Exception):
    """Stands for whatever ends a process."""


def interrupted_after(epochs: int):
    def progress(what: str, done: int, total: int) -> None:
        if what == "epochs" and done == epochs:
            raise Interruption

    return progress


@pytest.mark.parametrize("rule", CLI_RULES)
def test_an_interrupted_run_ends_as_if_it_had_not_been(rule: str, tmp_path: Path) -> None:
    """Weights bit for bit, and the curve, rate-coded input included; starting again after the end changes nothing."""
    chosen = short(rule) if rule in ("spide", "ide", "convert") else replace(short(rule), encoding=Encoding("rate", 6))
    path = tmp_path / "checkpoint"
    with pytest.raises(Interruption):
        training.train(chosen, checkpoint=path, progress=interrupted_after(1))
    assert path.exists()
    resumed = training.train(chosen, checkpoint=path)
    whole = training.train(chosen)
    assert resumed.resumed_after == 1
    assert same(resumed.network, whole.network)
    assert [epoch.loss for epoch in resumed.curve] == [epoch.loss for epoch in whole.curve]
    again = training.train(chosen, checkpoint=path)
    assert again.resumed_after == 3
    assert same(again.network, whole.network)


def test_seeds_decide_everything() -> None:
    first, again, other = (training.train(short(seed=seed)) for seed in (3, 3, 4))
    assert same(first.network, again.network)
    assert not same(first.network, other.network)


def test_a_checkpoint_of_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Interruption):
        training.train(short(), checkpoint=path, progress=interrupted_after(1))
    before = path.read_bytes()
    with pytest.raises(LoadError, match="ND076") as caught:
        training.train(short(seed=9), checkpoint=path)
    assert "seed" in caught.value.findings[0].why
    assert path.read_bytes() == before
    anew = training.train(short(seed=9), checkpoint=path, restart=True)
    assert anew.resumed_after == 0


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_refused(damage: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Interruption):
        training.train(short(), checkpoint=path, progress=interrupted_after(1))
    path.write_bytes(path.read_bytes()[:-300] if damage is None else damage)
    with pytest.raises(LoadError, match="ND076"):
        training.train(short(), checkpoint=path)


def test_early_stopping_keeps_the_best_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores are dictated; the run ends `patience` epochs after the best one, whose network is kept."""
    scores = iter([0.5, 0.9, 0.6, 0.7, 0.99, 0.1])
    kept: list[Network] = []
    real = training.accuracy

    def dictated(network: Network, data: object, encoding: Encoding, chosen: object = None, progress: object = None):
        if chosen is None:
            return real(network, data, encoding)  # type: ignore[arg-type]
        kept.append(network)
        return next(scores)

    monkeypatch.setattr(training, "accuracy", dictated)
    outcome = training.train(short(epochs=6, patience=2))
    assert [epoch.validation_accuracy for epoch in outcome.curve] == [0.5, 0.9, 0.6, 0.7]
    assert outcome.kept_epoch == 1
    assert same(outcome.network, kept[1])
    assert not same(outcome.network, kept[3])


def test_what_is_held_out_is_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """With early stopping a tenth of the training split never reaches the rule."""
    seen: set[int] = set()

    def listen(inputs: np.ndarray, labels: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.update(index.tolist())
        return inputs, labels

    outcome = training.train(short(patience=5), transform=listen)
    assert len(seen) == outcome.train_samples == 180
    training.train(short(), transform=listen)
    assert len(seen) == 200


def test_the_score_is_that_of_the_saved_network(tmp_path: Path) -> None:
    """Counted again from the file, by PyTorch, without any training code."""
    import neurodeploy
    from neurodeploy.frontends.checkpoint import save_network
    from neurodeploy.frontends.source import run_source

    outcome = training.train(short(epochs=8))
    save_network(outcome.network, tmp_path / "model.pt")
    network = neurodeploy.load(tmp_path / "model.pt")
    digits = datasets.load("digits", "test", 50)
    inputs = Encoding.from_plain(network.encoding).encode(digits.images)
    assert np.mean(run_source(network, inputs).predictions == digits.labels) == outcome.test_accuracy > 0.2


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rule": "hebb"}, "ND074"),
        ({"options": {"speed": 3}}, "ND075"),
        ({"epochs": 0}, "ND075"),
        ({"batch": -1}, "ND075"),
        ({"arch": "12-x"}, "ND071"),
        ({"arch": "feedback"}, "ND071"),
        ({"arch": "4C9-4C99:0"}, "ND071"),
        ({"device": "tpu"}, "ND075"),
        ({"options": {"rate": -1.0}}, "ND075"),
        ({"options": {"rate": float("nan")}}, "ND075"),
        ({"options": {"noise": "much"}}, "ND075"),
        ({"options": {"limit": -1}}, "ND075"),
        ({"rule": "eprop", "options": {"stretch": 0}}, "ND075"),
        ({"rule": "eprop", "options": {"kappa": -2.0}}, "ND075"),
        ({"rule": "eprop", "options": {"feedback": "none"}}, "ND075"),
        ({"rule": "decolle", "options": {"dropout": 1.0}}, "ND075"),
        ({"rule": "decolle", "options": {"burn_in": 1000}}, "ND075"),
        ({"rule": "spide", "arch": "12", "options": {"mean": "abc"}}, "ND075"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, code: str) -> None:
    with pytest.raises(UsageError, match=code):
        training.train(short(**changes))


def test_a_missing_device_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match="ND077"):
        training.train(short(device="cuda"))


def test_every_rule_has_a_recipe_and_a_name_on_the_command_line() -> None:
    assert tuple(RULES) == CLI_RULES
    assert set(RECIPES) == set(RULES)
    for rule, entry in RULES.items():
        for dataset in ("digits", "mnist", "nmnist", "fsdd"):
            entry.home.Options(**training.settings(rule, dataset).recipe.options)


@pytest.mark.parametrize(
    ("rule", "kind"), [("bptt", "alif"), ("eprop", "alif"), ("eprop", "two-trace"), ("decolle", "alif")]
)
def test_neurons_can_be_of_another_kind(rule: str, kind: str, tmp_path: Path) -> None:
    """Adapting thresholds are trained, saved, read again and run, and refused by a chip that has none."""
    from neurodeploy import pipeline
    from neurodeploy.errors import UnsupportedError
    from neurodeploy.frontends.checkpoint import load_checkpoint, save_network

    outcome = training.train(short(rule, neuron=kind))
    save_network(outcome.network, tmp_path / "model.pt")
    network = load_checkpoint(tmp_path / "model.pt")
    lif = network.populations["lif1"]
    assert (lif.adaptation is not None) == (kind == "alif")
    assert (lif.alpha is not None) == (kind == "two-trace")
    digits = datasets.load("digits", "test", 50)
    assert training.accuracy(network, digits, Encoding("direct", 16)) == outcome.test_accuracy
    if kind == "alif":
        with pytest.raises(UnsupportedError, match="ND144"):
            pipeline.compile(network, "loihi2-sim")


def test_a_kind_of_neuron_is_refused_where_it_means_nothing() -> None:
    for rule, kind in (("spide", "alif"), ("convert", "lif"), ("eprop", "izhikevich")):
        with pytest.raises(UsageError, match="ND075"):
            training.settings(rule, "digits", neuron=kind)


def test_none_is_an_option_where_the_rule_says_so() -> None:
    training.settings("bptt", "digits", options={"clip_norm": None, "limit": None})
    training.settings("spide", "digits", options={"restriction": None, "mean": (0.1,)})
    with pytest.raises(UsageError, match="ND075"):
        training.settings("bptt", "digits", options={"rate": None})


@pytest.mark.parametrize(
    ("arch", "shapes"),
    [
        ("7", [(7, 64), (4, 7)]),
        ("64-7-4", [(7, 64), (4, 7)]),
        ("8r-7", [(8, 64), (8, 8), (7, 8), (4, 7)]),
        ("3C3-P2-5C3/2", [(3, 1, 3, 3), (5, 3, 3, 3), (4, 20)]),
        ("6C5:0", [(6, 1, 5, 5), (4, 96)]),
    ],
)
def test_architectures_are_what_they_say(arch: str, shapes: list[tuple[int, ...]]) -> None:
    from neurodeploy.ir.nodes import Input, InputKind

    network = build(arch, Input((64,), InputKind.SPIKES), 4, Neurons(0.9, 1.0), seed=0)
    found = [w.shape for w in weights(network)]
    assert sorted(found) == sorted(shapes)
    assert network.populations[network.output].shape == (4,)


def test_the_papers_networks_have_their_names() -> None:
    assert hidden("ff", "nmnist") == "120-84"
    assert hidden("rec", "nmnist") == "120r-84r"
    assert hidden("ff", "dvs-gesture").endswith("512")
    assert hidden("ff", "timit") == "400"
    assert [int(part.split("C")[0]) for part in hidden("conv", "dvs-gesture").split("-") if "C" in part] == [
        64,
        128,
        128,
    ]


def test_json_tells_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from neurodeploy.cli import main

    out = tmp_path / "sub" / "model.pt"
    line = f"train --rule eprop --dataset digits --arch 16 --epochs 2 --limit 300 --steps 8 --seed 1 -o {out} --json"
    assert main(line.split()) == 0
    plain = json.loads(capsys.readouterr().out)
    assert 0.15 < plain["test_accuracy"] <= 1
    assert plain["test_interval_95"][0] < plain["test_accuracy"] < plain["test_interval_95"][1]
    assert plain["encoding"]["steps"] == 8
    assert len(plain["curve"]) == plain["epochs"] == 2
    assert Path(plain["plot"]).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.parent.iterdir()) == ["model.png", "model.pt"]
    assert main(["compile", str(out), "--target", "loihi2-sim", "-o", str(tmp_path / "m.ndc"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "loihi2-sim"


@pytest.mark.parametrize("option", ["rate", "=1", "rate=fast", "surrogate=sharp", "noise=true"])
def test_bad_options_are_usage_errors(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from neurodeploy.cli import main

    line = [
        "train",
        "--rule",
        "bptt",
        "--dataset",
        "digits",
        "-o",
        str(tmp_path / "m.pt"),
        "--option",
        option,
        "--json",
    ]
    assert main(line) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "ND075"
