"""An artefact comes back as it was, is the same bytes for the same input, and is not edited unnoticed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import artifact, pipeline
from neurodeploy.artifact import CompiledModel, load_artifact, save_artifact
from neurodeploy.errors import LoadError, NeurodeployError, UsageError
from neurodeploy.ir.nodes import Reset
from tests.property.test_quantize import network


@pytest.fixture
def model() -> CompiledModel:
    return pipeline.compile(network(7, Reset.SUBTRACT_NEXT_STEP, True, True, True), "loihi2-sim")


def test_round_trip(model: CompiledModel, tmp_path: Path) -> None:
    """Program, placement, profile, source and certificates come back; the fingerprint is the same."""
    certified = replace(model, certificates=({"against": "lava", "equal": True},))
    back = load_artifact(save_artifact(certified, tmp_path / "m.ndc"))
    assert back.fingerprint == model.fingerprint
    assert back.placement == model.placement
    assert back.certificates == certified.certificates
    assert back.program.deviations == model.program.deviations
    rng = np.random.default_rng(0)
    x = pipeline.Samples("x", rng.random((5, 3, *model.program.input.shape)), None)
    np.testing.assert_array_equal(
        pipeline.run(back, x).spikes["lif2"], pipeline.run(model, x).spikes["lif2"], strict=True
    )


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    """Compiled twice, every file is the same to the byte."""
    folders = []
    for name in ("one.ndc", "two.ndc"):
        compiled = pipeline.compile(network(7, Reset.ZERO, True, True, True), "loihi2-sim")
        folders.append(save_artifact(compiled, tmp_path / name))
    for file in artifact.FILES:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes(), file


def test_there_is_no_pickle_in_it(model: CompiledModel, tmp_path: Path) -> None:
    """Every array loads with allow_pickle=False, and the program's own are integers."""
    path = save_artifact(model, tmp_path / "m.ndc")
    assert sorted(p.name for p in path.iterdir()) == sorted(artifact.FILES)
    with np.load(path / "arrays.npz", allow_pickle=False) as arrays:
        assert all(np.issubdtype(arrays[key].dtype, np.integer) for key in arrays.files)


def test_an_edited_program_is_refused(model: CompiledModel, tmp_path: Path) -> None:
    """One weight bit flipped in arrays.npz."""
    path = save_artifact(model, tmp_path / "m.ndc")
    with np.load(path / "arrays.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    key = next(key for key in arrays if key.endswith("mantissa"))
    arrays[key].reshape(-1)[0] ^= 1
    np.savez_compressed(path / "arrays.npz", **arrays)
    with pytest.raises(LoadError, match="ND011"):
        load_artifact(path)


@pytest.mark.parametrize(
    ("file", "old", "new"), [("certificate.json", "false", "true"), ("manifest.json", "ND2", "ND3")]
)
def test_an_edited_verdict_or_record_is_refused(
    model: CompiledModel, tmp_path: Path, file: str, old: str, new: str
) -> None:
    """A failed verification does not become a passed one, nor a deviation another, with a text editor."""
    failed = replace(model, certificates=({"against": "lava", "verified": False},))
    path = save_artifact(failed, tmp_path / "m.ndc")
    text = (path / file).read_text()
    assert old in text
    (path / file).write_text(text.replace(old, new))
    with pytest.raises(LoadError, match="ND011"):
        load_artifact(path)


@pytest.mark.parametrize("file", artifact.FILES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_damaged_file_is_refused_and_nothing_else_is_raised(
    file: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Truncated anywhere, or a byte changed: a LoadError with a remedy, or the very same model."""
    model = pipeline.compile(network(7, Reset.ZERO, False, False, False), "loihi2-sim")
    path = save_artifact(model, tmp_path_factory.mktemp("damage") / "m.ndc")
    whole = (path / file).read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:cut]
    else:
        damaged = whole[:cut] + bytes([whole[cut] ^ data.draw(st.integers(1, 255))]) + whole[cut + 1 :]
    (path / file).write_bytes(damaged)
    try:
        back, remedies = load_artifact(path), []
    except NeurodeployError as refusal:
        back, remedies = model, [finding.fix for finding in refusal.findings]
    assert all(remedies)
    assert (back.fingerprint, back.placement, back.profile) == (model.fingerprint, model.placement, model.profile)


def test_an_interrupted_write_leaves_the_old_artefact(
    model: CompiledModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops the write, the artefact that was there is whole and nothing lies beside it."""
    path = save_artifact(model, tmp_path / "m.ndc")
    before = {file: (path / file).read_bytes() for file in artifact.FILES}

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(replace(model, certificates=({"against": "lava"},)), path)
    assert {file: (path / file).read_bytes() for file in artifact.FILES} == before
    assert os.listdir(tmp_path) == ["m.ndc"]


def test_something_else_in_the_way_is_not_overwritten(model: CompiledModel, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UsageError, match="ND410"):
        save_artifact(model, tmp_path / "thesis")


def test_an_unknown_type_in_a_file_is_refused(model: CompiledModel, tmp_path: Path) -> None:
    """A program.json that names a type outside the closed list, with its fingerprint made to fit."""
    path = save_artifact(model, tmp_path / "m.ndc")
    program, manifest = (json.loads((path / name).read_text()) for name in ("program.json", "manifest.json"))
    program["type"] = "os.system"
    with np.load(path / "arrays.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    manifest["fingerprints"]["program"] = artifact._fingerprint(program, arrays)
    (path / "program.json").write_text(json.dumps(program))
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LoadError, match="ND012"):
        load_artifact(path)
