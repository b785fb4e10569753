"""Semantics are inferred from decisions: what a graph was meant as is found, by evidence or by its writer's default."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import cli, inference, pipeline
from neurodeploy.errors import LoadError, NeurodeployError, UnsupportedError, UsageError
from neurodeploy.frontends import load
from neurodeploy.frontends.nir import load_nir
from neurodeploy.frontends.source import run_source
from neurodeploy.inference import Candidate, choose, infer, mcnemar
from neurodeploy.pipeline import Samples

SIZE, CLASSES, STEPS, COUNT = 12, 4, 20, 120


def graph(path: Path, neuron: Callable[[int, np.random.Generator], nir.NIRNode]) -> Path:
    """Write a random network of two layers whose decisions depend on every setting."""
    rng = np.random.default_rng(3)
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([SIZE])})}
    sizes, before = [SIZE, 24, CLASSES], "input"
    edges = []
    for layer, (pre, post) in enumerate(pairwise(sizes)):
        nodes[f"w{layer}"] = nir.Linear(rng.normal(0.1, 0.6, (post, pre)))
        nodes[f"n{layer}"] = neuron(post, rng)
        edges += [(before, f"w{layer}"), (f"w{layer}", f"n{layer}")]
        before = f"n{layer}"
    nodes["output"] = nir.Output({"output": np.array([CLASSES])})
    nir.write(path, nir.NIRGraph(nodes, [*edges, (before, "output")]))
    return path


def integrators(size: int, rng: np.random.Generator) -> nir.NIRNode:
    """Return neurons as sinabs, Norse and Spyx write them."""
    return nir.IF(np.ones(size), np.ones(size))


def leaky(size: int, rng: np.random.Generator) -> nir.NIRNode:
    """Return neurons of which nothing says how long a step is."""
    return nir.LIF(rng.uniform(2e-3, 2e-2, size), np.full(size, 10.0), np.zeros(size), np.full(size, 1.5))


def cuba(size: int, rng: np.random.Generator) -> nir.NIRNode:
    """Return neurons with a synaptic current as snnTorch writes them."""
    tau = rng.uniform(5e-4, 3e-3, (2, size))
    return nir.CubaLIF(tau[0], tau[1], tau[1] / 1e-4, np.zeros(size), np.ones(size), w_in=tau[0] / 1e-4)


def labeled(path: Path, dt: float | None, settings: dict[str, str]) -> Samples:
    """Return random spikes, each labeled with the decision of the graph as read under `settings`."""
    inputs = (np.random.default_rng(5).random((STEPS, COUNT, SIZE)) < 0.3).astype(np.uint8)
    return Samples("random", inputs, run_source(load_nir(path, dt, settings), inputs).predictions)


HIDDEN = [
    (integrators, None, {"reset": "subtract_at_once", "firing": "multiple", "floor": "minus_threshold"}),
    (integrators, None, {"reset": "subtract_at_once", "firing": "multiple", "floor": "none"}),
    (integrators, None, {"reset": "zero", "firing": "above", "floor": "none"}),
    (integrators, None, {"reset": "zero", "firing": "above", "floor": "minus_threshold"}),
    (integrators, None, {"reset": "zero_next_step", "firing": "multiple", "floor": "none"}),
    (integrators, None, {"reset": "subtract", "firing": "above", "floor": "none"}),
    (cuba, None, {"reset": "zero", "firing": "multiple", "floor": "minus_threshold"}),
    (
        leaky,
        1e-3,
        {"discretization": "exponential", "gain": "unit", "reset": "zero", "firing": "above", "floor": "none"},
    ),
    (
        leaky,
        1e-4,
        {"discretization": "euler", "gain": "unit", "reset": "subtract_at_once", "firing": "above", "floor": "none"},
    ),
]
"""Neurons, the step and the settings that made the labels."""


@pytest.mark.parametrize(("neuron", "dt", "meant"), HIDDEN)
def test_the_reading_that_made_the_labels_is_among_the_best(
    tmp_path: Path, neuron: Callable, dt: float | None, meant: dict[str, str]
) -> None:
    """It decides everything rightly, and only readings that fire the very same spikes are always as right.

    Discretizations of the same step decide alike here and there; that is what the test on chance is for.
    """
    path = graph(tmp_path / "net.nir", neuron)
    found = infer(path, labeled(path, dt, meant))
    own = next(each for each in found.candidates if each.settings == meant and each.dt_s == dt)
    assert own.hits == found.candidates[0].hits == COUNT
    assert own.as_good
    assert found.chosen.as_good
    assert found.candidates[-1].hits < 0.8 * COUNT
    assert not found.candidates[-1].as_good


def test_a_step_and_settings_that_are_known_are_not_searched(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.nir", leaky)
    meant = {"discretization": "exponential", "gain": "unit", "reset": "zero", "firing": "above", "floor": "none"}
    samples = labeled(path, 1e-3, meant)
    searched = infer(path, samples)
    known = infer(path, samples, dt=1e-3, semantics={"gain": "unit", "discretization": "exponential"})
    assert {each.dt_s for each in searched.candidates} == {1e-4, 1e-3}
    assert {each.dt_s for each in known.candidates} == {1e-3}
    assert len(searched.candidates) + len(searched.refused) == 2 * 2 * 2 * len(known.candidates)
    assert {each.settings["gain"] for each in known.candidates} == {"unit"}


def test_no_word_of_a_reading_is_parted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = graph(tmp_path / "net.nir", leaky)
    samples = labeled(path, 1e-3, {})
    np.savez(tmp_path / "data.npz", inputs=samples.inputs[:, :20], labels=samples.labels[:20])
    assert cli.main(["infer-semantics", str(path), "--data", str(tmp_path / "data.npz"), "--dt", "1e-3"]) == 0
    table = capsys.readouterr().out.partition("chosen")[0]
    assert max(len(line) for line in table.splitlines()) <= 80
    assert {"subtract_next_step", "minus_threshold", "exponential"} <= set(table.split())


def test_an_integrator_does_not_tell_when_it_subtracts(tmp_path: Path) -> None:
    """Without a leak and a floor, at once and in the next step are the same spikes, and the table says so."""
    path = graph(tmp_path / "net.nir", integrators)
    plain = infer(path, labeled(path, None, HIDDEN[1][2])).to_plain()
    rows = {tuple(each["settings"].values()): each for each in plain["candidates"]}
    at_once, late = (rows[reset, "multiple", "none"] for reset in ("subtract_at_once", "subtract_next_step"))
    assert {at_once["same_spikes_as"], late["same_spikes_as"]} >= {None}
    assert at_once["spikes_per_sample"] == late["spikes_per_sample"]
    assert at_once["same_spikes_as"] != late["same_spikes_as"]


def candidate(right: int, style: str | None = None, of: int = 40, **settings: str) -> Candidate:
    return Candidate(settings, None, np.arange(of) < right, 0.0, "", style)


def chosen(*candidates: Candidate) -> tuple[int, str]:
    ranked = inference._ranked(list(candidates))
    best, why = choose(ranked)
    return best.hits, why


@pytest.mark.parametrize(
    ("only_one", "only_other", "p"), [(0, 0, 1.0), (6, 0, 0.03125), (5, 0, 0.0625), (0, 6, 0.03125), (5, 1, 0.21875)]
)
def test_mcnemar_is_the_coin_of_the_samples_that_one_alone_decides(only_one: int, only_other: int, p: float) -> None:
    """6 heads of 6: 2 / 64; 5 of 5: 2 / 32; 5 or more of 6, both ways: 14 / 64. By hand."""
    one = np.array([True] * only_one + [False] * only_other + [True, False] * 10)
    other = np.array([False] * only_one + [True] * only_other + [True, False] * 10)
    assert mcnemar(one, other) == pytest.approx(p)


def test_what_a_writer_does_goes_before_a_difference_that_is_chance() -> None:
    assert chosen(candidate(40), candidate(35, "sinabs"))[0] == 35
    assert chosen(candidate(40), candidate(34, "sinabs"))[0] == 40
    assert chosen(candidate(36, "Norse"), candidate(40), candidate(38, "sinabs"))[0] == 38


def test_without_a_writer_the_best_is_chosen_and_of_equals_the_nearest_to_nirs_text() -> None:
    equals = (candidate(39, reset="subtract"), candidate(39, reset="zero"), candidate(38, reset="zero"))
    best, why = choose(inference._ranked(list(equals)))
    assert (best.hits, best.settings) == (39, {"reset": "zero"})
    assert why.startswith("of 3 that these data do not tell apart")
    assert chosen(candidate(40), candidate(20))[1] == "better than every other, beyond chance"


def test_compile_takes_the_chosen_reading_and_records_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line: inferred, written, compiled as the reading that made the labels, and recorded so."""
    monkeypatch.chdir(tmp_path)
    path, meant = graph(tmp_path / "net.nir", integrators), HIDDEN[0][2]
    samples = labeled(path, None, meant)
    np.savez("data.npz", inputs=samples.inputs, labels=samples.labels)
    command = ["infer-semantics", "net.nir", "--data", "data.npz", "-o", "found.json", "--json"]
    assert cli.main(command) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["chosen"]["settings"] == meant
    assert {"settings", "accuracy"} <= plain["candidates"][0].keys()
    assert json.loads(Path("found.json").read_text()) == {
        k: v for k, v in plain.items() if k not in ("written", "calibration")
    }
    assert cli.main(["infer-semantics", "net.nir", "--data", "data.npz"]) == 0
    assert "--semantics firing=multiple" in capsys.readouterr().out
    assert cli.main(["compile", "net.nir", "--target", "loihi2-sim", "--semantics", "found.json", "-o", "n.ndc"]) == 0
    network = load("net.nir", inferred="found.json")
    neuron = network.populations["n0"]
    assert (neuron.reset, neuron.firing) == ("subtract_at_once", "multiple")
    assert network.deviations[-1].what.startswith(
        "reset = subtract_at_once, firing = multiple, floor = minus_threshold"
    )
    assert (run_source(network, samples.inputs).predictions == samples.labels).all()
    other = load("net.nir", inferred="found.json", semantics={"reset": "zero"})
    assert other.populations["n0"].reset == "zero"


def test_the_encoding_of_a_dataset_goes_with_the_reading(tmp_path: Path) -> None:
    """Read on digits, the network is fed digits in the same way when it is compiled."""
    rng = np.random.default_rng(0)
    nodes = {
        "input": nir.Input({"input": np.array([64])}),
        "w": nir.Linear(rng.normal(0, 0.5, (10, 64))),
        "n": integrators(10, rng),
        "output": nir.Output({"output": np.array([10])}),
    }
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph(nodes, [("input", "w"), ("w", "n"), ("n", "output")]))
    samples, used = inference.read_samples(path, "digits", None, 7, 30)
    assert used is not None
    assert (samples.inputs.shape[0], used.steps) == (7, 7)
    (tmp_path / "found.json").write_text(json.dumps(infer(path, samples, encoding=used).to_plain()))
    model = pipeline.compile(path, "loihi2-sim", inferred=tmp_path / "found.json")
    assert model.program.encoding == used.to_plain()


SPOILED = {
    "not JSON": "{",
    "nothing chosen": "{}",
    "a list": "[]",
    "another file's": json.dumps(
        {
            "sha256": "0" * 64,
            "data": {"name": "x", "samples": 1, "encoding": None},
            "chosen": {"settings": {"reset": "zero"}, "dt_s": None, "accuracy": 1.0, "why": ""},
        }
    ),
    "settings that are none": json.dumps(
        {
            "sha256": "0" * 64,
            "data": {"name": "x", "samples": 1, "encoding": None},
            "chosen": {"settings": ["zero"], "dt_s": None, "accuracy": 1.0, "why": ""},
        }
    ),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_file_that_says_nothing_of_this_graph_is_refused(tmp_path: Path, spoiled: str) -> None:
    path, found = graph(tmp_path / "net.nir", integrators), tmp_path / "found.json"
    found.write_text(SPOILED[spoiled])
    with pytest.raises(LoadError, match="ND044"):
        load(path, inferred=found)
    with pytest.raises(LoadError, match="ND044"):
        load(path, inferred=tmp_path / "absent.json")


def test_what_cannot_be_inferred_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No labels, labels beyond the outputs, no reading that makes a network, two files."""
    path = graph(tmp_path / "net.nir", integrators)
    samples = labeled(path, None, HIDDEN[0][2])
    with pytest.raises(UsageError, match="ND451"):
        infer(path, Samples("x", samples.inputs, None))
    with pytest.raises(UsageError, match="ND412"):
        infer(path, Samples("x", samples.inputs, samples.labels + CLASSES))

    def shifted(size: int, rng: np.random.Generator) -> nir.NIRNode:
        return nir.LIF(np.full(size, 1e-2), np.ones(size), np.full(size, 0.5), np.ones(size), np.full(size, -0.5))

    with pytest.raises(UnsupportedError, match="ND450"):
        infer(graph(tmp_path / "no.nir", shifted), samples, dt=1e-3)
    with pytest.raises(NeurodeployError, match="ND043"):
        infer(path, samples, semantics={"reset": "often"})
    assert cli.main(["inspect", str(path), "--semantics", "a.json", "--semantics", "b.json"]) == 2
    assert "ND408" in capsys.readouterr().err
