"""The picture of the design, held against the code: who imports whom, what is lazy, which codes exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neurodeploy
from neurodeploy.codes import EXPLANATIONS
from neurodeploy.hardware import load_profile, profile_names
from neurodeploy.pipeline import BACKENDS

ROOT = Path(neurodeploy.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

ROWS = (
    ("__main__",),
    ("cli",),
    ("report",),
    ("display", "summary", "codes"),
    ("quantities",),
    ("benchmark",),
    ("plots",),
    ("onchip", "neurobench_model", "inference"),
    ("pipeline",),
    ("frontends", "exports", "lowering", "backends", "engine", "learning", "datasets", "evaluation"),
    ("hardware", "artifact", "results"),
    ("ir",),
    ("errors",),
)
"""Imports go down this list, never up."""

BESIDE = {
    ("summary", "pipeline"): "what the pipeline returns is what a summary is of",
    ("artifact", "hardware"): "an artefact holds a profile and a placement",
    ("lowering", "engine"): "a chain of maps is multiplied out by applying it, so that its meaning is stated once",
    ("exports", "frontends"): "a file is written as it is read: its nodes, its loops, its metadata",
    ("exports", "lowering"): "NIR has no maximum, and a maximum over spikes is lowered to what it has",
    ("exports", "engine"): "a map is multiplied out by applying it",
    ("learning", "frontends"): "a network that is learned is run and saved as one that is loaded",
    ("learning", "datasets"): "what is learned from",
    ("backends", "engine"): "ranges measured on calibration data are the real engine's",
    ("evaluation", "engine"): "the bound on rounding follows the real engine's maps",
    ("evaluation", "lowering"): "the bound on rounding is stated over the lowered network",
}
"""Imports within a row that are meant, with the reason."""

HOMES = {
    "torch": {"frontends", "learning", "datasets", "neurobench_model.py"},
    "snntorch": {"frontends", "learning", "datasets", "neurobench_model.py"},
    "lava": {"backends/loihi2"},
    "spynnaker": {"backends/spinnaker"},
    "spinn_utilities": {"backends/spinnaker"},
    "pacman": {"backends/spinnaker"},
    "pyNN": {"backends/spinnaker"},
    "nest": {"backends/spinnaker"},
    "brian2": {"backends/spinnaker"},
    "numba": {"engine"},
    "neurobench": {"neurobench_model.py"},
    "typer": {"cli.py"},
    "rich": {"cli.py", "display.py"},
    "matplotlib": {"plots.py", "report/drawing.py"},
    "jinja2": {"report/page.py"},
    "distributed": {"benchmark"},
    "h5py": {"frontends/hdf5_worker.py", "exports/hdf5.py", "datasets"},
    "nir": set(),
    "spikingjelly": {"frontends/recorded_spikingjelly.py"},
    "norse": {"frontends/recorded_norse.py"},
    "sinabs": {"frontends/recorded_sinabs.py"},
}
"""The only places that may import each of these."""


def room(module: Path) -> str:
    """Return the room a file belongs to: its folder below the package, or its own name."""
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(module: Path) -> set[str]:
    """Return the dotted name of everything a file imports, wherever in it; relative imports as a lone dot."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {"."} if node.level else {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def row(name: str) -> int:
    return next(i for i, names in enumerate(ROWS) if name in names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(module: Path) -> None:
    """A room imports only rooms below its own, or beside it where that is meant; never relatively."""
    here = room(module)
    others = {name.split(".")[1] for name in imported(module) if name.startswith("neurodeploy.")} - {here}
    wrong = {other for other in others if (ROOT / other).exists() or (ROOT / f"{other}.py").exists()}
    wrong -= {other for other in wrong if here == "__init__" or row(other) > row(here) or (here, other) in BESIDE}
    assert not wrong
    assert "." not in imported(module)


def test_every_exception_to_the_rows_is_used() -> None:
    found = {(room(module), name.split(".")[1]) for module in MODULES for name in imported(module) if "." in name[1:]}
    assert set(BESIDE) <= found


@pytest.mark.parametrize(("package", "homes"), HOMES.items())
def test_packages_stay_in_their_rooms(package: str, homes: set[str]) -> None:
    """Torch is imported by frontends, learning, datasets and NeuroBench's view, Lava only by its backend, and so on."""
    for module in MODULES:
        if any(name.split(".")[0] == package for name in imported(module)):
            place = module.relative_to(ROOT).as_posix()
            assert any(place == home or place.startswith(f"{home}/") for home in homes), place


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import neurodeploy", ("numpy", "scipy", "torch", "numba", "lava", "rich", "typer", "sklearn")),
        ("import neurodeploy.cli", ("numpy", "scipy", "torch", "numba", "lava", "sklearn")),
        ("import neurodeploy.pipeline", ("torch", "snntorch", "lava", "sklearn", "rich")),
        ("import neurodeploy.frontends.lava_dl", ("torch", "lava", "h5py")),
        ("import neurodeploy.frontends.recording", ("spikingjelly", "norse", "sinabs")),
        ("import neurodeploy.backends.loihi2", ("torch", "lava")),
        ("import neurodeploy.backends.spinnaker2", ("torch", "pyNN", "spynnaker", "pacman")),
        ("import neurodeploy.backends.spinnaker.worker", ("torch", "numba", "pyNN", "nest", "brian2")),
    ],
)
def test_heavy_packages_wait_until_they_are_needed(statement: str, absent: tuple[str, ...]) -> None:
    script = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists() -> None:
    for name in neurodeploy.__all__:
        assert getattr(neurodeploy, name) is not None


def codes_in_source() -> set[str]:
    """Return every code that a string literal outside codes.py is."""
    nodes = (
        node for module in MODULES if module.name != "codes.py" for node in ast.walk(ast.parse(module.read_text()))
    )
    return {n.value for n in nodes if isinstance(n, ast.Constant) and re.fullmatch(r"ND\d{3}", str(n.value))}


def test_every_code_is_explained_and_every_explanation_used() -> None:
    assert codes_in_source() == set(EXPLANATIONS)


@pytest.mark.parametrize(("code", "text"), EXPLANATIONS.items())
def test_explanations_are_sentences(code: str, text: str) -> None:
    assert re.fullmatch(r"ND\d{3}", code)
    assert text.endswith(".")
    assert "  " not in text


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_loads_and_names_a_backend_or_none(name: str) -> None:
    profile = load_profile(name)
    assert name == profile.id
    assert profile.backend in (*BACKENDS, "")


def test_nothing_prints_but_the_command_line() -> None:
    for module in MODULES:
        calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
        prints = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not prints or module.name == "cli.py", f"{module}: {prints}"
