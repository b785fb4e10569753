"""The report: what it says is what is so, everything it cannot say has a reason, and a browser shows it whole."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy import cli, datasets
from neurodeploy.artifact import load_artifact, save_artifact
from neurodeploy.backends import loihi2
from neurodeploy.errors import Finding
from neurodeploy.ir.program import DenseSynapses
from neurodeploy.report import page, probing_figures
from neurodeploy.report.drawing import style
from tests.cases import model
from tests.chromium import chromium

SECTIONS = (
    "summary", "translation", "certificates", "sample", "weights", "accuracy", "energy", "cores", "learning",
    "robustness", "provenance",
)  # fmt: skip
PUBLISHED = 354
"""Of the 360 test digits, as models/digits_mlp/card.toml has it: 98.33 %."""


def typed(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the shipped digits network, verified, and its report in every form."""
    folder = tmp_path_factory.mktemp("report")
    artifact = folder / "digits.ndc"
    assert (
        typed("compile", model("digits_mlp"), "--target", "loihi2-sim", "--calibration", "digits", "-o", artifact) == 0
    )
    for against in ("lava", "source"):
        assert typed("verify", artifact, "--against", against, "--data", "digits", "--limit", "5") == 0
    for form in ("html", "md", "json"):
        assert typed("report", artifact, "--quick", "--sample", "8", "-o", folder / f"digits.{form}") == 0
    return folder


@pytest.fixture(scope="module")
def artifact(folder: Path) -> dict[str, Any]:
    """Return what the JSON report says of the one artefact."""
    (artifact,) = json.loads((folder / "digits.json").read_text())["artifacts"]
    return artifact


def words_of(html: str) -> str:
    """Return the text of a page, its spaces made one."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def test_the_page_has_every_section_and_needs_nothing_else(folder: Path) -> None:
    """One file: no script, nothing linked but its own parts, no address outside; below 3 MB."""
    html = (folder / "digits.html").read_text()
    for name in SECTIONS:
        assert f'id="a1-{name}"' in html
    assert "<script" not in html
    links = re.findall(r'(?:href|src)="([^"]*)"', html)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert {link[1:] for link in links if link.startswith("#")} <= set(re.findall(r'id="([^"]+)"', html))
    names = re.findall(r' id="([^"]+)"', html)
    assert len(names) == len(set(names))
    assert len(html) < 3_000_000
    assert html.count("<figure>") == html.count("<figcaption>") == html.count('role="img"')


def test_accuracy_is_the_published_one_and_the_confusion_counts_the_labels(artifact: dict[str, Any]) -> None:
    decisions, labels = artifact["decisions"], datasets.load("digits", "test").labels
    assert (decisions["program"]["hits"], decisions["samples"]) == (PUBLISHED, len(labels))
    confusion = np.array(decisions["confusion"])
    assert confusion.trace() == PUBLISHED
    np.testing.assert_array_equal(confusion.sum(axis=1), np.bincount(labels, minlength=10))
    assert [row["samples"] for row in decisions["by_class"]] == np.bincount(labels).tolist()


def test_weights_before_are_the_file_s_and_after_are_on_its_grid(folder: Path, artifact: dict[str, Any]) -> None:
    """Histograms of model.pt's own tensors; the largest error is at most half of a weight's step."""
    state = torch.load(model("digits_mlp"), weights_only=True)
    tensors = {name: values.numpy() for name, values in _tensors(state)}
    program = load_artifact(folder / "digits.ndc").program
    for row, projection in zip(artifact["weights"], program.projections, strict=True):
        (meant,) = [each for each in tensors.values() if each.ndim == 2 and each.size == row["weights"]]
        np.testing.assert_array_equal(row["before"], np.histogram(meant.astype(np.float64), row["edges"])[0])
        assert sum(row["before"]) == sum(row["after"]) == meant.size
        step = float(program.weight_steps(projection))
        assert 0 < row["mean_error"] <= row["largest_error"] <= step / 2 * (1 + 1e-9)
        assert row["distinct_after"] <= 255


def _tensors(state: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    if isinstance(state, torch.Tensor):
        return [(name, state)]
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return [found for key, value in items for found in _tensors(value, f"{name}.{key}")]


def test_the_sample_is_the_same_on_lava_and_differs_from_the_source_where_it_says(artifact: dict[str, Any]) -> None:
    """Sample 8 differs from the source in the first step; a neuron spikes exactly where its membrane is above."""
    sample = artifact["sample"]
    assert set(sample["runs"]) == {"source", "engine", "vendor"}
    assert "lava" in sample["runs"]["vendor"]["executor"]
    assert sample["vendor"]["equal"]
    assert sample["label"] == datasets.load("digits", "test").labels[8]
    for layer in sample["layers"]:
        assert layer["spikes"]["engine"] == layer["spikes"]["vendor"]
        places = {who: set(zip(at["step"], at["neuron"], strict=True)) for who, at in layer["spikes"].items()}
        apart = layer["differs_from_engine"]["source"]
        assert set(zip(apart["step"], apart["neuron"], strict=True)) == places["source"] ^ places["engine"]
        assert layer["differs_from_engine"]["vendor"]["step"] == []
        for traced in layer["traces"]:
            above = {step for step, v in enumerate(traced["membrane"]["engine"]) if v > traced["threshold"]["program"]}
            assert above == {step for step, neuron in places["engine"] if neuron == traced["neuron"]}
            assert traced["membrane"]["engine"] == traced["membrane"]["vendor"]
            assert traced["threshold"]["source"] == 1
    for traced in sample["layers"][0]["traces"]:
        assert traced["membrane"]["source"][0] == pytest.approx(traced["membrane"]["engine"][0], abs=0.01)
    assert any(layer["differs_from_engine"]["source"]["step"] for layer in sample["layers"])


def test_cores_hold_every_neuron_once(artifact: dict[str, Any]) -> None:
    cores = artifact["cores"]
    for layer in artifact["model"]["layers"]:
        assert (
            sum(core["neurons"] for core in cores["cores"] if core["population"] == layer["name"]) == layer["neurons"]
        )
    for core in cores["cores"]:
        assert core["share"] == max(core["used"][name] / most for name, most in cores["available"].items()) <= 1


def test_every_form_says_the_same(folder: Path, artifact: dict[str, Any]) -> None:
    """Each cell of each table in Markdown stands on the page; the headline stands in both."""
    text, said = (folder / "digits.md").read_text(), words_of((folder / "digits.html").read_text())
    cells = {cell.strip() for line in text.splitlines() if re.match(r"\| [^-]", line) for cell in line.split("|")[1:-1]}
    plain = {cell for cell in cells if "<-" not in cell and re.search(r"\d", cell)}
    assert len(plain) > 80
    assert {cell for cell in plain if cell not in said} <= {"right, of 360"}
    for phrase in ("98.33%", artifact["provenance"]["fingerprint"], *artifact["provenance"]["commands"]):
        assert phrase in text
        assert phrase in said


def test_the_commands_it_names_make_the_same_program_again(
    artifact: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").symlink_to(model("digits_mlp"))
    compiles, *others = artifact["provenance"]["commands"]
    assert typed(*compiles.split()[1:]) == 0
    assert load_artifact("digits.ndc").fingerprint == artifact["provenance"]["fingerprint"]
    assert [command.split()[1] for command in others] == ["verify", "verify", "evaluate", "report"]


def test_the_commands_of_a_learned_model_make_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of the rule that is not its default among them; the curve is drawn, its scores have intervals."""
    import snntorch

    import neurodeploy

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)
    layers = (torch.nn.Linear(64, 12), snntorch.Leaky(beta=0.9, init_hidden=True))
    layers += (torch.nn.Linear(12, 10), snntorch.Leaky(beta=0.9, init_hidden=True))
    encoding = datasets.Encoding("rate", 8)
    net = torch.nn.Sequential(*layers)
    neurodeploy.save(net, "net.pt", example_input=torch.ones(1, 64), dt=1e-3, encoding=encoding)
    assert typed("compile", "net.pt", "--target", "loihi2-sim", "-o", "start.ndc") == 0
    words = ("--rule", "eprop", "--data", "digits", "--limit", "60", "--epochs", "2", "--seed", "3")
    assert typed("learn", "start.ndc", *words, "--option", "rate=0.003", "-o", "learned.ndc") == 0
    assert typed("report", "learned.ndc", "--quick", "--limit", "20", "--against", "lava-models", "-o", "r.json") == 0
    document = json.loads(Path("r.json").read_text())
    (artifact,) = document["artifacts"]
    low, high = artifact["learning"]["after_interval_95"]
    assert low < artifact["learning"]["accuracy_after"] < high
    assert "Learning curve" in page.page(document)
    for command in artifact["provenance"]["commands"][:2]:
        assert typed(*command.replace("learned.ndc", "again.ndc").split()[1:]) == 0
    assert load_artifact("again.ndc").fingerprint == artifact["provenance"]["fingerprint"]


def test_the_same_document_is_the_same_page(folder: Path) -> None:
    document = json.loads((folder / "digits.json").read_text())
    assert page.page(document) == (folder / "digits.html").read_text()
    assert page.text(document) == (folder / "digits.md").read_text()


def test_without_its_vendor_a_sample_says_how_to_have_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lava not installed: everything else is there, its part has the reason and the command; --json prints it all."""
    absent = Finding("ND300", "lava", "lava-nc is not installed", "it runs programs", "pip install lava-nc")
    monkeypatch.setattr(loihi2, "availability", lambda: absent)
    capsys.readouterr()
    assert typed("report", folder / "digits.ndc", "--quick", "--limit", "20", "-o", tmp_path / "r.html", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    sample = document["artifacts"][0]["sample"]
    assert set(sample["runs"]) == {"source", "engine"}
    assert sample["vendor"]["fix"] == "pip install lava-nc"
    said = words_of((tmp_path / "r.html").read_text())
    assert "lava unavailable" in said
    assert "pip install lava-nc" in said
    assert (tmp_path / "r.html").read_text() == page.page(document)


@pytest.fixture(scope="module")
def both(folder: Path) -> Path:
    """Return a page about the same network for Loihi and for SpiNNaker, the document beside it."""
    other, html = folder / "spinnaker.ndc", folder / "both.html"
    words = ("--target", "spinnaker1", "--encoding", "rate", "--steps", "25", "-o", other)
    assert typed("compile", model("digits_mlp"), *words) == 0
    assert (
        typed("report", folder / "digits.ndc", other, "--quick", "--limit", "20", "-o", html.with_suffix(".json")) == 0
    )
    html.write_text(page.page(json.loads(html.with_suffix(".json").read_text())))
    return html


def test_two_stand_side_by_side(both: Path) -> None:
    """One table of both, figures of both, sections of each."""
    html, document = both.read_text(), json.loads(both.with_suffix(".json").read_text())
    assert [row["name"] for row in document["comparison"]] == ["digits.ndc", "spinnaker.ndc"]
    assert [row["target"] for row in document["comparison"]] == ["loihi2-sim", "spinnaker1"]
    assert {f'id="a{n}-{name}"' for n in (1, 2) for name in SECTIONS} <= set(re.findall(r'id="a\d-\w+"', html))
    named = re.findall(r"<title>(Accuracy|Energy): ([^<]*)", html)
    assert [(kind, said.count(".ndc")) for kind, said in named] == [("Accuracy", 2), ("Energy", 2)]


def test_a_failed_verification_is_the_first_thing_that_is_said(folder: Path, tmp_path: Path) -> None:
    """One weight bit flipped and the fingerprints made to fit: the tile, the weight, and no word of success."""
    honest = load_artifact(folder / "digits.ndc")
    first = honest.program.projections[0]
    mantissa = first.synapses.mantissa.copy()
    mantissa[5, 20] ^= 1
    projections = (replace(first, synapses=DenseSynapses(mantissa)), *honest.program.projections[1:])
    spoiled = replace(honest, program=replace(honest.program, projections=projections), certificates=())
    save_artifact(spoiled, tmp_path / "spoiled.ndc")
    assert typed("verify", tmp_path / "spoiled.ndc", "--against", "source", "--data", "digits", "--limit", "5") == 5
    for form in ("html", "md"):
        out = tmp_path / f"r.{form}"
        assert (
            typed("report", tmp_path / "spoiled.ndc", "--quick", "--limit", "5", "--against", "lava-models", "-o", out)
            == 0
        )
    said = words_of((tmp_path / "r.html").read_text())
    assert "Verified failed against the source" in said
    assert "Verified against" not in said
    for text in (said, (tmp_path / "r.md").read_text()):
        assert "weight[5, 20]" in text


def test_without_data_only_what_needs_them_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No dataset here has 63 values; labels that are not there leave accuracy out, and nothing else."""
    import snntorch

    import neurodeploy

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(63, 5), snntorch.Leaky(beta=0.9, init_hidden=True))
    encoding = datasets.Encoding("rate", 6)
    neurodeploy.save(net, "odd.pt", example_input=torch.ones(1, 63), dt=1e-3, encoding=encoding)
    assert typed("compile", "odd.pt", "--target", "loihi2-sim") == 0
    assert typed("report", "odd.ndc", "--format", "json") == 0
    (artifact,) = json.loads(Path("odd.json").read_text())["artifacts"]
    for name in ("decisions", "evaluation", "sample"):
        assert "--data" in artifact[name]["fix"]
    assert artifact["weights"][0]["weights"] == 63 * 5
    assert typed("report", "odd.ndc") == 0
    assert "0.00%" not in Path("odd.html").read_text()
    spikes = np.random.default_rng(0).integers(0, 2, (6, 3, 63), dtype=np.uint8)
    np.savez("odd.npz", inputs=spikes)
    assert typed("report", "odd.ndc", "--data", "odd.npz", "--format", "json") == 0
    (artifact,) = json.loads(Path("odd.json").read_text())["artifacts"]
    assert "labels" in artifact["decisions"]["unavailable"]
    assert artifact["evaluation"]["input_spikes"] == spikes.sum()
    assert artifact["sample"]["label"] is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--sample", "360"), "ND420"),
        (("--sample", "-1"), "ND408"),
        (("--format", "pdf"), "ND408"),
        (("-o", "report.pdf"), "ND408"),
        (("-o", "."), "ND407"),
        (("--against", "nest"), "ND401"),
        (("--data", "wrong.npz"), "ND403"),
    ],
)
def test_what_makes_no_report_is_refused(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: str,
) -> None:
    """With a code, exit 2, and no file left behind."""
    monkeypatch.chdir(tmp_path)
    np.savez("wrong.npz", inputs=np.zeros((8, 2, 63), np.float32))
    assert typed("report", folder / "digits.ndc", *words) == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.npz"]


@pytest.fixture(scope="module")
def full(folder: Path) -> Path:
    """Return a page with attacks and representations, the document beside it."""
    html = folder / "full.html"
    words = ("--limit", "40", "--against", "lava-models", "-o", html.with_suffix(".json"))
    assert typed("report", folder / "digits.ndc", *words) == 0
    html.write_text(page.page(json.loads(html.with_suffix(".json").read_text())))
    return html


def test_attacks_and_representations_are_in_a_report(full: Path) -> None:
    """Without a perturbation the decisions are those of the accuracy; every attack and layer is drawn and told."""
    document, html = json.loads(full.with_suffix(".json").read_text()), full.read_text()
    (artifact,) = document["artifacts"]
    found = artifact["decisions"]
    for attack in artifact["robustness"]["attacks"]:
        for who, share in (("source", found["source"]), ("deployed", found["program"])):
            clean = attack[who][0]
            assert clean["epsilon"] == 0
            assert clean["n"] < 40 or clean["accuracy"] == share["value"]
        assert f"{attack['name'].replace('_', ' ')}, of the {attack['perturbs']}" in html.lower()
    assert [row["layer"] for row in artifact["representation"]["cka"]] == ["1", "3"]
    assert "CKA of source and program by layer" in html
    assert "Share of the Fisher information" in html
    rows = re.findall(r"\| (?:source|deployed) \| \d", page.text(document).split("### Robustness")[1])
    assert len(rows) == 2 * len(artifact["robustness"]["attacks"]) + 2


def test_attacks_and_representations_are_drawn_as_they_are_measured() -> None:
    """The values of report/robustness.py and representation.py: every point in words, what is absent in words too."""
    points = [{"epsilon": 0.0, "accuracy": 0.98, "low": 0.95, "high": 0.99, "n": 100},
              {"epsilon": 0.1, "accuracy": 0.47, "low": 0.37, "high": 0.57, "n": 100}]  # fmt: skip
    attack = {"name": "noise", "what": "random signs", "perturbs": "image", "source": points, "deployed": points[::-1]}
    with style():
        drawn = probing_figures.robustness(attack)
        alike = probing_figures.similarity(
            [{"layer": "a", "cka": 0.5, "why": None}, {"layer": "b", "cka": None, "why": "silent"}]
        )
        shares = {"share": None, "deployed_share": None, "expected_share": 0.25, "deployed_expected_share": 0.75}
        informative = probing_figures.information([{"tensor": "w", **shares}])
    assert "ε 0: 98% and 47%; ε 0.1: 47% and 98%" in drawn.caption
    assert "a 0.500." in alike.caption
    assert "unavailable" in alike.svg
    assert "w 25.0% and 75.0%" in informative.caption


@pytest.mark.parametrize("name", ["full", "both"])
def test_a_browser_shows_it_whole(name: str, request: pytest.FixtureRequest) -> None:
    """On a phone and on a desk, in light and dark: no complaint, no request, nothing cut off, every figure there."""
    html: Path = request.getfixturevalue(name)
    expected = html.read_text().count("<figure>")
    with chromium() as browser:
        for width in (390, 1280):
            light, dark = (browser.look(html, width, is_dark) for is_dark in (False, True))
            for seen in (light, dark):
                assert seen.complaints == []
                assert seen.requests == []
                assert seen.width <= width
                assert len(seen.figures) == expected
                for figure in seen.figures:
                    assert min(figure["width"], figure["height"]) > 20
                    assert 0 <= figure["left"] < figure["right"] <= width
                    assert figure["title"]
                    assert re.search(r"\d", figure["caption"])
            assert light.colors != dark.colors
