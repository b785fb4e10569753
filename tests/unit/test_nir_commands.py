"""What the command line does with NIR graphs: `inspect --repair`, `--dt`, `--semantics` and `export`."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.frontends import load
from tests.cases import model
from tests.property.test_nir_export import differences, without_deviations


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A graph that is whole, and says no step."""
    neuron = nir.LIF(np.full(3, 5e-3), np.ones(3), np.zeros(3), np.full(3, 0.5), np.zeros(3))
    nir.write(tmp_path / "net.nir", nir.NIRGraph.from_list(nir.Linear(np.eye(3)), neuron))
    return tmp_path / "net.nir"


def output_shape(path: Path, shape: list[int]) -> None:
    with h5py.File(path, "r+") as file:
        del file["node/nodes/output/shape"]
        file["node/nodes/output/shape"] = shape


def test_inspect_repair_lists_repairs_or_refuses(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output_shape(plain, [1, 3])
    assert main(["inspect", str(plain), "--repair", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [repair["read_as"] for repair in answer["repairs"]] == ["shape (3,)"]
    assert answer["convention"] is None
    assert main(["inspect", str(plain), "--repair"]) == 0
    assert "repaired  net.nir" in capsys.readouterr().out
    output_shape(plain, [4])
    assert main(["inspect", str(plain), "--repair", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "ND036"


def test_compile_takes_dt_and_semantics_and_shows_how_it_read(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["compile", str(plain), "--target", "loihi2-sim", "-o", str(tmp_path / "net.ndc")]
    assert main(call) == 3
    assert "ND038" in capsys.readouterr().err
    assert main([*call, "--dt", "0.001", "--semantics", "reset=subtract_next_step"]) == 0
    shown = capsys.readouterr().out
    assert "read      [ND040] net.nir: discretization = euler" in shown
    assert "reset = " not in shown
    assert main([*call, "--dt", "0.001", "--semantics", "reset"]) == 2


def test_export_writes_a_file_and_lists_what_nir_cannot_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model("digits_mlp")), "-o", "digits.nir", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["written"] == "digits.nir"
    resets = [each for each in answer["unsaid"] if "subtracts" in each["what"]]
    assert [(each["code"], each["change"]) for each in resets] == [("ND160", "annotation")] * 2
    assert main(["export", str(model("digits_mlp"))]) == 0
    shown = capsys.readouterr().out
    assert "metadata  [ND160]" in shown
    assert (tmp_path / "model.nir").read_bytes() == (tmp_path / "digits.nir").read_bytes()


def test_a_repaired_graph_is_written_and_never_over_itself_unasked(
    tmp_path: Path, plain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output_shape(plain, [1, 3])
    assert main(["inspect", "net.nir", "--repair"]) == 0
    assert "neurodeploy export net.nir -o NEW.nir" in capsys.readouterr().out
    assert main(["export", "net.nir", "--dt", "0.001"]) == 2
    assert "ND175" in capsys.readouterr().err
    assert main(["export", "net.nir", "--dt", "0.001", "-o", "new.nir"]) == 0
    assert main(["inspect", "new.nir", "--repair", "--json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown[shown.index("{") :])["repairs"] == []


def test_an_artefacts_source_is_written_as_it_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(tmp_path / "net.ndc")
    assert main(["compile", str(model("digits_mlp")), "--target", "loihi2-sim", "-o", artifact]) == 0
    assert main(["export", artifact, "-o", str(tmp_path / "net.nir")]) == 0
    expected = without_deviations(load(model("digits_mlp")))
    assert differences(expected, without_deviations(load(tmp_path / "net.nir"))) == []
    capsys.readouterr()
    assert main(["export", artifact, "-o", str(tmp_path / "net.nir"), "--dt", "0.5"]) == 2
    assert "ND007" in capsys.readouterr().err
