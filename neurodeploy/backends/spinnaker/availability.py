"""Which of PyNN's simulators can be used here, and the command that mends it where one cannot.

Simulators run in a child process, by default in this Python. Where their packages and those of another target cannot
share an environment, the variable NEURODEPLOY_PYNN_PYTHON names the interpreter of another one: Python 3.11 or later
with NumPy, SciPy and the simulator. neurodeploy need not be installed there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from platform import machine

import neurodeploy
from neurodeploy.errors import Finding

PYTHON = "NEURODEPLOY_PYNN_PYTHON"
NEEDS = {
    "nest": (("pyNN", "nest"), "pynn"),
    "brian2": (("pyNN", "brian2"), "pynn"),
    "spynnaker": (("spynnaker",), "spinnaker"),
    "engine-s16.15": ((), ""),
}
"""Executor -> the modules it imports, and the extra that brings them."""
PACKAGES = {
    "numpy": '"numpy<2.4"',
    "pyNN": "PyNN==0.13.0",
    "nest": "nest-simulator",
    "brian2": "Brian2",
    "spynnaker": '"sPyNNaker==1!7.4.1"',
}
"""Module -> how pip is asked for it, where its name is another."""
WHEELS_OF_NEST = ("linux", "x86_64")
NEEDED_ELSEWHERE = ("numpy", "scipy")
"""What the worker itself imports."""
OLDEST = (3, 11)
PROBE = """
import json, sys
from importlib.util import find_spec
print(json.dumps([sys.version_info[:2], [name for name in sys.argv[1:] if find_spec(name) is None]]))
"""
PROBE_S = 60.0


def interpreter() -> str | None:
    """Return the Python that PyNN's simulators run in, or None for this one."""
    return os.environ.get(PYTHON) or None


def named(executor: str) -> str:
    """Return what a result says about who computed it: with the variable, where it was in another Python."""
    return f"{executor} ({PYTHON})" if interpreter() else executor


def environment(directory: Path) -> dict[str, str]:
    """Return the variables that are a worker's own; another Python finds this package, and nothing else of this one.

    Args:
        directory: of the job.
    """
    variables = {"PATH": path_without_nest_config()}
    if interpreter():
        shown = directory / "packages"
        shown.mkdir()
        (shown / "neurodeploy").symlink_to(Path(neurodeploy.__file__).resolve().parent)
        variables["PYTHONPATH"] = str(shown)
    return variables


def path_without_nest_config() -> str:
    """Return PATH without the folders in which PyNN would find what it compiles its extensions of NEST with.

    It would do so as it is imported, for a minute and into its own folder; no cell here is one of them.
    """
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not (Path(folder) / "nest-config").is_file())


def missing(executor: str) -> Finding | None:
    """Return what keeps one of the backend's executors from running here, or None."""
    modules, extra = NEEDS[executor]
    python = interpreter()
    if python is not None and modules:
        return _missing_elsewhere(executor, python, modules)
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return None
    what, why = f"{' and '.join(absent)} not installed", f"{executor} runs the program"
    fix = f'pip install "neurodeploy[{extra}]"'
    if "nest" in absent and (sys.platform, machine()) != WHEELS_OF_NEST:
        fix = f"{fix} and build NEST 3.10, which has wheels for Linux on x86_64 only; or use brian2"
    return Finding("ND310", executor, what, why, fix)


def _missing_elsewhere(executor: str, python: str, modules: tuple[str, ...]) -> Finding | None:
    version, absent = _probe(python, (*NEEDED_ELSEWHERE, *modules))
    where = f"{PYTHON}={python}"
    if version is None or version < OLDEST:
        what = "it cannot be run" if version is None else f"it is Python {version[0]}.{version[1]}"
        fix = f"let {PYTHON} name an interpreter of Python {OLDEST[0]}.{OLDEST[1]} or later, or unset it"
        return Finding("ND314", where, what, f"{executor} runs in the interpreter that it names", fix)
    if not absent:
        return None
    what, why = f"{' and '.join(absent)} not installed there", f"{executor} runs in the interpreter that it names"
    packages = " ".join(PACKAGES.get(name, name) for name in absent)
    return Finding("ND310", where, what, why, f"{python} -m pip install {packages}")


@lru_cache
def _probe(python: str, modules: tuple[str, ...]) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Return another interpreter's version, None if it does not run, and which modules it lacks."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", PROBE, *modules], capture_output=True, text=True, check=True, timeout=PROBE_S
        )
        version, absent = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return _old_version(python), ()
    return (version[0], version[1]), tuple(absent)


def _old_version(python: str) -> tuple[int, int] | None:
    """Return the version of an interpreter that does not know the options of a newer one, or None."""
    try:
        script = "import sys; print(sys.version_info[0], sys.version_info[1])"
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, timeout=PROBE_S)
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor
