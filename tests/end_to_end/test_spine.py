"""The main job from the command line on real input: compile, run, verify, evaluate, and faults that must be found."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy import pipeline
from neurodeploy.artifact import load_artifact, save_artifact
from neurodeploy.evaluation.activity import count
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import DenseSynapses
from tests.cases import REPOSITORY, model

SHIPPED = ("digits_mlp", "mnist_mlp", "mnist_convnet", "mnist_rows_rsnn")


def neurodeploy(folder: Path, *words: str, exit_code: int = 0) -> dict[str, Any]:
    """Run the command line with --json in `folder` and return the one object it prints."""
    command = [sys.executable, "-m", "neurodeploy", *words, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the shipped digits network compiled, nothing but the target given."""
    folder = tmp_path_factory.mktemp("spine")
    neurodeploy(folder, "compile", str(model("digits_mlp")), "--target", "loihi2-sim", "-o", "digits.ndc")
    return folder


def test_verify_against_lava_is_equal_and_says_how_much_it_compared(folder: Path) -> None:
    """20 real digits, every spike, current and membrane of both layers."""
    certificate = neurodeploy(folder, "verify", "digits.ndc", "--against", "lava", "--data", "digits", "--limit", "20")
    assert certificate["equal"] is True
    assert certificate["first_divergence"] is None
    compared, mismatches = certificate["compared"], certificate["mismatches"]
    assert all(set(counts) == {"spikes", "currents", "voltages"} for counts in compared.values())
    neurons = {p.name: p.size for p in load_artifact(folder / "digits.ndc").program.populations}
    steps = certificate["input"]["steps"]
    assert {name: counts["spikes"] for name, counts in compared.items()} == {
        name: steps * 20 * size for name, size in neurons.items()
    }
    assert sum(sum(counts.values()) for counts in mismatches.values()) == 0
    assert load_artifact(folder / "digits.ndc").certificates[-1]["against"] == "lava"


def test_engine_and_lava_give_the_same_result_file_and_the_same_counts(folder: Path) -> None:
    """run writes equal spikes and predictions from both; evaluate counts equal spikes, synops and updates."""
    evaluations = {}
    for executor in ("engine", "lava"):
        common = ("--on", executor, "--data", "digits", "--limit", "15")
        neurodeploy(folder, "run", "digits.ndc", *common, "-o", f"{executor}.npz")
        evaluations[executor] = neurodeploy(folder, "evaluate", "digits.ndc", *common)
    with np.load(folder / "engine.npz") as ours, np.load(folder / "lava.npz") as theirs:
        assert set(ours.files) == set(theirs.files) >= {"output_spikes", "predictions"}
        assert ours["output_spikes"].shape[1:] == (15, 10)
        for key in ours.files:
            np.testing.assert_array_equal(ours[key], theirs[key])
    for key in ("accuracy", "samples", "spikes", "synops", "neuron_updates"):
        assert evaluations["engine"][key] == evaluations["lava"][key], key
    energy = evaluations["engine"]["energy_j"]
    assert 0 < energy["low"] <= energy["value"] <= energy["high"]
    assert energy["status"] == "estimated"


def test_against_the_source_only_rounding_differs(folder: Path) -> None:
    """The float network in PyTorch: accuracy of both, agreement per layer, the first difference explained."""
    certificate = neurodeploy(folder, "verify", "digits.ndc", "--against", "source", "--data", "digits")
    assert certificate["verified"] is True
    assert certificate["explained_by_rounding"] is True
    assert min(certificate["spike_agreement"].values()) > 0.95
    accuracy = certificate["accuracy"]
    assert accuracy["source"] >= 0.97
    assert accuracy["source"] - accuracy["program"] <= 0.005


def spoiled(folder: Path, name: str, change: Any) -> str:
    """Write a copy of the artefact with its program changed and its fingerprints made to fit; return its name."""
    compiled = load_artifact(folder / "digits.ndc")
    save_artifact(replace(compiled, program=change(compiled.program), certificates=()), folder / name)
    return name


def flip_one_bit(program):
    first = program.projections[0]
    mantissa = first.synapses.mantissa.copy()
    mantissa[5, 20] ^= 1
    return replace(program, projections=(replace(first, synapses=DenseSynapses(mantissa)), *program.projections[1:]))


def delay_by_a_step(program):
    second = replace(program.projections[1], recurrent=True)
    return replace(program, projections=(program.projections[0], second))


def reset_otherwise(program):
    first = program.populations[0]
    changed = replace(first, neuron=replace(first.neuron, reset=Reset.ZERO))
    return replace(program, populations=(changed, *program.populations[1:]))


@pytest.mark.parametrize(
    ("fault", "words"),
    [(flip_one_bit, "weight[5, 20]"), (delay_by_a_step, "at another step"), (reset_otherwise, "resets by zero")],
)
def test_a_spoiled_program_fails_verification_by_name(folder: Path, fault: Any, words: str) -> None:
    """One weight bit, one step of delay, another reset: exit 5, and the message names it."""
    name = spoiled(folder, f"{fault.__name__}.ndc", fault)
    answer = neurodeploy(folder, "verify", name, "--against", "source", "--data", "digits", exit_code=5)
    assert words in json.dumps(answer)


@pytest.mark.parametrize("fault", [flip_one_bit, reset_otherwise, delay_by_a_step])
def test_a_spoiled_program_differs_from_lava_running_the_honest_one(folder: Path, fault: Any) -> None:
    """The same faults, seen by Lava: were the engine to compute this, verify --against lava would fail."""
    from neurodeploy.evaluation.fidelity import compare

    compiled = load_artifact(folder / "digits.ndc")
    samples = pipeline.read_data("digits", compiled.program.encoding, compiled.program.input.shape, 10)
    lava = pipeline.run(compiled, samples, on="lava-models", record_states=True)
    ours = pipeline.run(replace(compiled, program=fault(compiled.program)), samples, record_states=True)
    assert not compare(compiled.program, lava, ours).equal


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_score_what_their_cards_say(name: str) -> None:
    """Accuracy on chip over the test split is the card's, and within half a point of the float network's."""
    import tomllib

    card = tomllib.loads((REPOSITORY / "models" / name / "card.toml").read_text())
    if card["data"]["name"] == "mnist":
        _need_mnist()
    compiled = pipeline.compile(model(name), "loihi2-sim")
    samples = pipeline.read_data(card["data"]["name"], compiled.program.encoding, compiled.program.input.shape)
    result = pipeline.run(compiled, samples)
    accuracy = float(np.mean(result.predictions == samples.labels))
    assert accuracy == pytest.approx(card["accuracy"]["quantized"], abs=1e-9)
    assert card["accuracy"]["float"] - accuracy <= 0.005


@pytest.mark.parametrize("name", SHIPPED[1:])
def test_shipped_models_equal_lava(name: str) -> None:
    """The runtime on a few real digits: stock processes, convolutions and recurrence, states included."""
    _need_mnist()
    compiled = pipeline.compile(model(name), "loihi2-sim")
    samples = pipeline.read_data("mnist", compiled.program.encoding, compiled.program.input.shape, 4)
    _, certificate = pipeline.verify(compiled, samples, against="lava")
    assert certificate["equal"], certificate["first_divergence"]


def _need_mnist() -> None:
    from neurodeploy import datasets
    from neurodeploy.errors import LoadError

    try:
        datasets.load("mnist", limit=1)
    except LoadError:
        pytest.skip("MNIST is not there: set NEURODEPLOY_DATA to a folder with its idx files")


def test_every_shipped_network_counts_the_same_on_engine_and_lava(folder: Path) -> None:
    """Counts come from spikes, so equal spikes give equal counts: the recurrent network, on Lava's models."""
    _need_mnist()
    compiled = pipeline.compile(model("mnist_rows_rsnn"), "loihi2-sim")
    samples = pipeline.read_data("mnist", compiled.program.encoding, compiled.program.input.shape, 5)
    from neurodeploy.backends.loihi2 import payloads

    entered = payloads(compiled.program.input, samples.inputs)
    ours, lava = pipeline.run(compiled, samples), pipeline.run(compiled, samples, on="lava-models")
    assert count(compiled.program, entered, ours) == count(compiled.program, entered, lava)


def test_a_users_own_file_and_bare_weights(folder: Path) -> None:
    """`compile net.py:Net --weights model.pt --example-shape 64`: the second way in."""
    (folder / "net.py").write_text(
        "import snntorch as snn\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(64, 10)\n        self.lif = snn.Leaky(beta=0.9)\n\n"
        "    def forward(self, x):\n        mem = self.lif.init_leaky()\n        out = []\n"
        "        for _ in range(5):\n            spk, mem = self.lif(self.fc(x), mem)\n            out.append(spk)\n"
        "        import torch\n        return torch.stack(out)\n"
    )
    torch.manual_seed(0)
    state = {"fc.weight": torch.randn(10, 64), "fc.bias": torch.zeros(10)}
    import snntorch

    state |= {f"lif.{key}": value for key, value in snntorch.Leaky(beta=0.9).state_dict().items()}
    torch.save(state, folder / "state.pt")
    done = neurodeploy(
        folder, "compile", "net.py:Net", "--weights", "state.pt", "--example-shape", "64",
        "--target", "loihi2-sim", "-o", "own.ndc",
    )  # fmt: skip
    assert done
    refused = neurodeploy(folder, "compile", "state.pt", "--target", "loihi2-sim", exit_code=3)
    code = refused["error"]["findings"][0]["code"]
    neurodeploy(folder, "compile", "state.pt", "--target", "loihi2-sim", "--allow", code, "-o", "bare.ndc")
    bare = load_artifact(folder / "bare.ndc")
    assert code in {deviation.code for deviation in bare.program.deviations}
    own = load_artifact(folder / "own.ndc")
    for ours, theirs in zip(bare.program.projections, own.program.projections, strict=True):
        np.testing.assert_array_equal(ours.synapses.mantissa, theirs.synapses.mantissa)
