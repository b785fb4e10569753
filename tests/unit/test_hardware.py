"""Every number of a profile has unit, status and source; a board of one's own is a few lines over a shipped one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neurodeploy import hardware, pipeline
from neurodeploy.cli import main
from neurodeploy.errors import NeurodeployError, ProfileError, UsageError
from neurodeploy.hardware import SI, STATUSES, load_profile, profile_names, target_names, targets_of

FILES = sorted({path.resolve() for folder in hardware.FOLDERS for path in folder.glob("*.toml")})
CHIP = """
[meta]
id = "chip"
name = "A chip"
[power]
static_chip = { value = 1, unit = "W", status = "assumed" }
[sources]
paper = "A paper"
"""


def numbers(tables: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield (place, the innermost table around it, number) for every number of a file, lists and tables included."""
    for name, item in tables.items():
        for value in item if isinstance(item, list) else [item]:
            if isinstance(value, dict):
                yield from ((f"{name}.{at}", around, n) for at, around, n in numbers(value, name))
            elif isinstance(value, int | float) and not isinstance(value, bool):
                yield name, tables, value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_number_has_unit_status_and_source(path: Path) -> None:
    """Walked without our own reader. An assumption of ours has no source and says in a note why it is made."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    chain = [tables]
    while "extends" in chain[-1]["meta"]:
        below = path.with_name(f"{chain[-1]['meta']['extends']}.toml")
        chain.append(tomllib.loads(below.read_text(encoding="utf-8")))
    sources = {name for each in chain for name in each.get("sources", {})}

    def leaves(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for name, item in table.items():
            if name in ("schema", "year", "sources"):
                continue
            assert not isinstance(item, int | float) or isinstance(item, bool), f"{name} is a bare number"
            if isinstance(item, dict):
                yield from [item] if "status" in item else leaves(item)

    found = list(leaves(tables))
    assert found or "extends" in tables["meta"]
    for datum in found:
        assert datum["status"] in STATUSES
        assert datum.get("src") or (datum["status"] == "assumed" and datum["note"])
        assert set(datum.get("src", ())) <= sources
        has_value = "value" in datum or "formula" in datum
        assert has_value != (datum["status"] == "unpublished")
        if any(True for _ in numbers({"value": datum.get("value", datum.get("assume"))})):
            assert "unit" in datum


def test_what_is_shipped() -> None:
    assert set(profile_names()) >= {"loihi1", "loihi2", "spinnaker1", "spinnaker2", "baselines"}
    assert target_names() == ["loihi1-sim", "loihi2-sim", "spinnaker1", "spinnaker2"]
    assert targets_of(load_profile("loihi2")) == ["loihi2-sim"]
    assert load_profile("loihi2-sim").data == load_profile("loihi2").data


def test_numbers_of_hardware_are_no_target() -> None:
    with pytest.raises(UsageError, match="ND125") as refused:
        pipeline.backend_of(load_profile("loihi2"))
    assert "loihi2-sim" in refused.value.findings[0].fix


def test_a_board_of_ones_own(tmp_path: Path) -> None:
    """It says what differs; the rest is the profile's that it extends, and data are replaced whole."""
    board = tmp_path / "board.toml"
    board.write_text(
        '[meta]\nextends = "loihi2-sim"\nid = "board"\nname = "Our board"\n'
        '[topology]\nboards = { value = [2], unit = "chip", status = "measured", src = ["us"] }\n'
        '[sources]\nus = "counted"\n'
    )
    ours, theirs = load_profile(board), load_profile("loihi2-sim")
    assert ours.backend == theirs.backend
    assert ours.value("topology.boards") == [2]
    assert ours.datum("topology.boards").note == ""
    assert {key for key in ours.data if ours.data[key] != theirs.data[key]} == {"topology.boards"}
    assert set(ours.sources) - set(theirs.sources) == {"us"}


def test_a_profile_extends_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "chip.toml").write_text(CHIP)
    (tmp_path / "two.toml").write_text('[meta]\nextends = "chip"\nid = "two"\nname = "Two"\n')
    assert load_profile(tmp_path / "two.toml").data == load_profile(tmp_path / "chip.toml").data


def test_a_profile_that_extends_itself(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[meta]\nextends = "b"\nid = "a"\nname = "A"\n')
    (tmp_path / "b.toml").write_text('[meta]\nextends = "a"\nid = "b"\nname = "B"\n')
    with pytest.raises(ProfileError, match="ND124"):
        load_profile(tmp_path / "a.toml")


BROKEN = {
    "[power]\nwatts = 3": "bare number",
    '[power]\na = { value = 3, status = "measured", src = ["paper"] }': "no unit",
    '[power]\na = { value = 3, unit = "W", status = "measured" }': "no source",
    '[power]\na = { value = 3, unit = "W", status = "measured", src = ["talk"] }': "unknown source",
    '[power]\na = { value = 3, unit = "W", status = "guessed", src = ["paper"] }': "status",
    '[power]\na = { value = 3, unit = "W", status = "unpublished", src = ["paper"] }': "has a value",
    '[power]\na = { unit = "W", status = "measured", src = ["paper"] }': "neither value nor formula",
    '[power]\na = { value = 3, low = 4, unit = "W", status = "measured", src = ["paper"] }': "[4, 3]",
    '[energy_models.m]\nsynops = { value = 3, unit = "pJ", status = "measured", src = ["paper"] }': "no event",
    '[energy_models.m]\nsynop = { value = 3, unit = "W", status = "measured", src = ["paper"] }': "3 W",
    '[energy_models.m]\nsynop = { value = "3", unit = "pJ", status = "measured", src = ["paper"] }': "'3' pJ",
}


@pytest.mark.parametrize(("lines", "says"), BROKEN.items())
def test_what_breaks_the_schema(tmp_path: Path, lines: str, says: str) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(CHIP.replace("[power]", "[other]") + lines if "[power]" in lines else CHIP + lines)
    with pytest.raises(ProfileError) as refused:
        load_profile(path)
    (finding,) = refused.value.findings
    assert finding.code == "ND123"
    assert says in finding.what


def test_bands_are_in_base_units() -> None:
    """Loihi 2's synop: 23.6 pJ, 6.8 to 48.4. A number without ends is its own."""
    chip = load_profile("loihi2")
    assert chip.datum("energy_models.assumed_loihi1.synop").band == pytest.approx((23.6e-12, 6.8e-12, 48.4e-12))
    assert chip.datum("energy_models.assumed_loihi1.hop").band == pytest.approx((3.5e-12,) * 3)
    assert SI["us"] == 1e-6


def test_targets_prints_every_number_under_each_of_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "loihi2", "--sources"]) == 0
    printed, profile = capsys.readouterr().out, load_profile("loihi2")
    words = printed.split()
    for key, datum in profile.data.items():
        assert words.count(key) == max(1, len(datum.sources)), key
    assert main(["targets", "--sources"]) == 2


@pytest.mark.parametrize("name", profile_names())
def test_targets_prints_every_profile(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", name]) == 0
    assert load_profile(name).name in capsys.readouterr().out.replace("\n", " ")


def test_no_such_profile() -> None:
    with pytest.raises(NeurodeployError, match="ND120"):
        load_profile("loihi3")
