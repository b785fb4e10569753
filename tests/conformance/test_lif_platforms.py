"""What examples/06_lif_on_platforms.py says of the NIR paper's single neuron is so, recording by recording.

The oracles are the recordings; what is under test are the reader of NIR graphs, the engine, and the README's table.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from itertools import combinations
from types import ModuleType

import numpy as np
import pytest

from tests.cases import REPOSITORY, case

GROUPS = (
    {"exact", "norse", "snntorch", "spinnaker2", "nengo"},
    {"sinabs", "rockpool"},
    {"spyx", "lava_cpu_float", "lava_cpu_fixed", "lava_loihi_fixed"},
)
"""Platforms that spike in the same steps, as recorded."""
SETTINGS = [
    *(("exact", name) for name in ("discretization", "reset", "crossing")),
    ("spinnaker2", "weight"),
    ("nengo", "discretization"),
    *((platform, name) for platform in ("sinabs", "rockpool") for name in ("discretization", "gain", "reset")),
    *(("spyx", name) for name in ("reset", "spikes_late")),
    ("lava_cpu_float", "late"),
    *(("lava_cpu_fixed", name) for name in ("numbers", "late")),
    *(("lava_loihi_fixed", name) for name in ("numbers", "late", "at_spikes")),
]
SINGLE_PRECISION = 1e-6
"""Of the threshold."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module, reading the same recordings as the tests."""
    folder = case("nir_paper", "01_lif")
    path = REPOSITORY / "examples" / "06_lif_on_platforms.py"
    spec = importlib.util.spec_from_file_location("lif_on_platforms", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    assert folder.samefile(module.PAPER)
    return module


def recording(platform: str) -> np.ndarray:
    """Return input, membrane and spikes (3, step), as recorded."""
    return np.loadtxt(case("nir_paper", "01_lif", f"lif_{platform}.csv"), delimiter=",").T


def test_every_recording_has_its_way(example: ModuleType) -> None:
    files = case("nir_paper", "01_lif").glob("lif_*.csv")
    assert set(example.WAYS) == {path.stem.removeprefix("lif_") for path in files} == set.union(*GROUPS)
    assert [(p, name) for p, way in example.WAYS.items() for name in way.settings()] == SETTINGS
    assert set(example.WHY) == {name for _, name in SETTINGS}


@pytest.mark.parametrize("platform", sorted(set.union(*GROUPS)))
def test_every_recording_is_replayed(example: ModuleType, platform: str) -> None:
    """Every spike; the membrane to single precision, or to the integer where the recording is of integers."""
    inputs, membrane, spikes = recording(platform)
    way = example.WAYS[platform]
    v, s = example.replayed(way, inputs > 0)
    assert spikes.sum() == 4
    assert np.array_equal(s, spikes > 0)
    if way.numbers == "integer":
        assert np.array_equal(v, membrane)
    assert np.abs(v - membrane).max() / way.unit / example.THRESHOLD < SINGLE_PRECISION


@pytest.mark.parametrize(("platform", "setting"), SETTINGS)
def test_no_setting_is_idle(example: ModuleType, platform: str, setting: str) -> None:
    """Without it the recording is missed, by a spike or by a hundred times single precision."""
    way = replace(example.WAYS[platform], **{setting: getattr(example.Way(), setting)})
    step, membrane = example.apart(way, platform)
    assert step is not None or membrane > 100 * SINGLE_PRECISION


def test_who_spikes_with_whom() -> None:
    trains = {platform: tuple(np.flatnonzero(recording(platform)[2])) for platform in set.union(*GROUPS)}
    found = {frozenset(other for other in trains if trains[other] == train) for train in trains.values()}
    assert found == {frozenset(group) for group in GROUPS}


def test_whose_membranes_are_equal(example: ModuleType) -> None:
    """Between recordings, to single precision, each in its own unit and without its delay."""
    pairs = combinations(example.WAYS, 2)
    assert {pair for pair in pairs if example.between(*pair)[1] < SINGLE_PRECISION} == {
        ("norse", "snntorch"),
        ("norse", "lava_cpu_float"),
        ("snntorch", "lava_cpu_float"),
        ("sinabs", "rockpool"),
    }


def test_the_readme_repeats_the_replays(example: ModuleType) -> None:
    """The step of the first spike, and a bound on the membrane that a tenth of it would not be."""
    names = {"Norse": "norse", "snnTorch": "snntorch", "SpiNNaker2": "spinnaker2", "Nengo": "nengo"}
    names |= {"the exact solution": "exact", "sinabs": "sinabs", "Rockpool": "rockpool", "Spyx": "spyx"}
    names |= {"Lava in floats": "lava_cpu_float", "Lava in integers": "lava_cpu_fixed", "Loihi 2": "lava_loihi_fixed"}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w ,]+) \| (\d+) \| [^|]+ \| (0|\de-\d) \|$", readme, re.MULTILINE)
    shown = {names[name]: (int(step), float(off)) for row, step, off in rows for name in row.split(", ")}
    assert set(shown) == set(example.WAYS)
    for platform, (step, off) in shown.items():
        assert step == np.flatnonzero(recording(platform)[2])[0]
        missed = example.apart(example.WAYS[platform], platform)[1]
        assert off / 10 <= missed <= off
