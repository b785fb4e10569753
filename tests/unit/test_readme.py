"""What the README shows is so: its Python example runs, its tables repeat the cards and the exit codes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import errors
from tests.cases import case

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written, in an empty folder; it leaves an artefact whose certificate holds."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["certificate"]["verified"]
    assert (tmp_path / "net.ndc" / "manifest.json").is_file()


@pytest.mark.parametrize("card", sorted(ROOT.glob("models/*/card.toml")), ids=lambda path: path.parent.name)
def test_the_table_of_models_repeats_the_cards(card: Path) -> None:
    measured = tomllib.loads(card.read_text(encoding="utf-8"))["accuracy"]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| [{card.parent.name}]")]
    scores = [cell.strip() for cell in row.split("|")[4:7]]
    assert scores == [
        f"{measured['float']:.2%}".replace("%", " %"),
        f"{measured['quantized']:.2%}".replace("%", " %"),
        f"{measured['lava']:.2%} of {measured['lava_samples']}".replace("%", " %"),
    ]


def test_the_table_of_exit_codes_is_complete() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in classes if issubclass(kind, errors.NeurodeployError)}
    table = {int(number) for number in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes < table
    assert table == codes | {0, 130}


def test_the_picture_of_the_house_has_every_room() -> None:
    house = (ROOT / "neurodeploy" / "README.md").read_text(encoding="utf-8")
    rooms = [path for path in (ROOT / "neurodeploy").iterdir() if path.is_dir() and any(path.glob("*.py"))]
    files = [path for path in (ROOT / "neurodeploy").glob("*.py") if not path.name.startswith("__")]
    for path in rooms + files:
        assert f"`{path.name}" in house, path.name


def test_the_comparison_of_rules_repeats_the_measured_table() -> None:
    """Means over seeds of examples/benchmark/results.csv, in percent."""
    from neurodeploy.benchmark.table import Table

    measured = Table.read(ROOT / "examples" / "benchmark" / "results.csv").where(metric="accuracy")
    accuracy = measured.where(experiment="accuracy")
    rows = re.findall(r"^\| `(\w+)` \| (FF|REC) \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 6
    for rule, arch, cells in rows:
        shown = [float(cell.split()[0]) for cell in cells.split(" | ")[:3]]
        nets = accuracy.where(rule=rule, arch=arch.lower())
        sets = (
            nets.where(dataset="nmnist"),
            nets.where(dataset="nmnist-simulated", train_samples=10000),
            nets.where(dataset="fsdd"),
        )
        assert shown == [round(100 * (found.mean() or 0), 1) for found in sets]
    for rule, score in re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) ± [\d.]+ % \|$", README, re.MULTILINE):
        assert float(score) == round(100 * (accuracy.where(dataset="digits", rule=rule).mean() or 0), 1)


NETWORKS = {
    "N-MNIST, convolutional": ("02_cnn", ""),
    "Braille, reset to zero": ("03_rnn", "_noDelay_bias_zero"),
    "Braille, reset by subtraction": ("03_rnn", "_noDelay_noBias_subtract"),
}
"""Rows of the table of published accuracies: the folder and the ending of its files."""


@pytest.mark.parametrize("network", NETWORKS)
def test_the_published_accuracies_are_those_that_were_published(network: str) -> None:
    """Every file of a platform is a cell, in percent of its two decimals, and every cell a file's."""
    folder, ending = NETWORKS[network]
    files = case("nir_paper", folder).glob(f"*_accuracy{ending}.npy")
    published = {path.name.partition("_accuracy")[0]: float(np.load(path)) for path in files}
    published.pop("s2_brian2", None)
    (heading,) = [line for line in README.splitlines() if line.startswith("| network | sinabs |")]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| {network},")]
    cells = zip(heading.split("|")[2:-1], row.split("|")[2:-1], strict=True)
    shown = {name.strip().lower().replace("spinnaker2", "s2"): cell.strip() for name, cell in cells if cell.strip()}
    percent = {name: value if value > 1 else 100 * value for name, value in published.items()}
    assert shown == {name: f"{value:.2f}" for name, value in percent.items()}
