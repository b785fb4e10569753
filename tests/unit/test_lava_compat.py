"""Lava is made importable exactly where it is known to be right, and refused everywhere else."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.backends.loihi2.lava_compat import (
    EDITS,
    INSTALL,
    EditingFinder,
    EditingLoader,
    availability,
    require_lava,
)
from neurodeploy.errors import BackendUnavailableError

ROOT = Path(__file__).resolve().parents[2]
LINES_TO_CHANGE = [
    ("lava.magma.compiler.var_model", "@dataclass\nclass ByteEncoder:"),
    ("lava.magma.core.process.ports.ports", "ft.partial(np.reshape, newshape="),
    ("lava.magma.runtime.message_infrastructure.multiprocessing", "mp.set_start_method('fork')"),
]


@pytest.fixture
def installed(monkeypatch):
    """Return a function that pretends other versions are installed; None stands for absent."""
    real = importlib.metadata.version

    def pretend(**versions):
        def version(name):
            key = name.replace("-", "_")
            if key in versions and versions[key] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions.get(key) or real(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return pretend


def specification(module):
    """Return what the real finder makes of one of Lava's modules."""
    parent = importlib.util.find_spec(module.rpartition(".")[0])
    return EditingFinder().find_spec(module, parent.submodule_search_locations)


def test_the_installed_lava_is_available():
    """With the versions this project installs, nothing is missing."""
    assert availability() is None


@pytest.mark.parametrize("version", ["0.9.0", "0.10.1", "0.11.0"])
def test_other_versions_are_refused(installed, version):
    """Any version but 0.10.0 is named and refused with the command that installs the right one."""
    installed(lava_nc=version)
    with pytest.raises(BackendUnavailableError) as refusal:
        require_lava()
    (finding,) = refusal.value.findings
    assert finding.code == "ND300"
    assert version in finding.what
    assert "pip install --no-deps --ignore-requires-python lava-nc==0.10.0" in finding.fix


def test_absence_is_refused_with_the_install_command(installed):
    """Without lava-nc the remedy is the exact command."""
    installed(lava_nc=None)
    assert (availability().code, availability().fix) == ("ND300", INSTALL)


@pytest.mark.parametrize(
    ("numpy", "code"), [("2.3.9", None), ("2.4.0", "ND302"), ("3.0.0", "ND302"), ("2.10.0", "ND302")]
)
def test_numpy_from_2_4_is_refused(installed, numpy, code):
    """Versions compare as numbers."""
    installed(numpy=numpy)
    finding = availability()
    assert (finding.code if finding else None) == code


@pytest.mark.parametrize(("module", "line"), LINES_TO_CHANGE)
def test_each_change_is_made_in_memory_only(module, line):
    """The loaded code differs from the file, and the file still has the line."""
    spec = specification(module)
    assert isinstance(spec.loader, EditingLoader)
    assert line in Path(spec.origin).read_text()
    unchanged = compile(Path(spec.origin).read_text(), spec.origin, "exec", dont_inherit=True)
    assert spec.loader.get_code(module) != unchanged


@pytest.mark.parametrize(("module", "line"), LINES_TO_CHANGE)
def test_unknown_source_text_is_refused(monkeypatch, module, line):
    """If the line to change reads differently, or occurs once more, the import is refused instead of guessed at."""
    spec = specification(module)
    text = spec.loader.get_source(module)
    for other in (text.replace(line, "pass  # something else"), text + f"\n{line}"):
        monkeypatch.setattr(EditingLoader, "get_source", lambda self, name, other=other: other)
        with pytest.raises(BackendUnavailableError, match="ND301"):
            spec.loader.get_code(module)


def test_other_modules_are_left_to_python():
    """The finder answers for the changed modules only."""
    assert {edit.module for edit in EDITS} == {module for module, _ in LINES_TO_CHANGE}
    assert EditingFinder().find_spec("lava.magma.core.run_configs", None) is None
    assert EditingFinder().find_spec("json", None) is None


def test_asking_and_preparing_a_run_import_no_lava():
    """`neurodeploy targets` and the parent of a run on Lava stay free of Lava and of its choice of fork."""
    script = (
        "import sys, multiprocessing\n"
        "from neurodeploy.backends.loihi2.lava_compat import availability\n"
        "import neurodeploy.backends.loihi2.run\n"
        "availability()\n"
        "assert not any(name.split('.')[0] == 'lava' for name in sys.modules)\n"
        "assert multiprocessing.get_start_method(allow_none=True) is None\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_lava_can_be_imported_after_multiprocessing_was_used():
    """A start method chosen before, as tqdm or a DataLoader does, is no obstacle."""
    script = (
        "import multiprocessing; multiprocessing.Lock()\n"
        "from neurodeploy.backends.loihi2.lava_compat import require_lava\n"
        "require_lava(); require_lava()\n"
        "import lava.magma.core.process.process, lava.magma.runtime.runtime\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
