"""Which of PyNN's simulators can be used here, and the command that mends it where one cannot."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from shutil import which

from neurodeploy.errors import BackendUnavailableError, Finding

NEEDS = {
    "nest": (("pyNN", "nest"), "pynn"),
    "brian2": (("pyNN", "brian2"), "pynn"),
    "spynnaker": (("spynnaker",), "spinnaker"),
    "engine-s16.15": ((), ""),
}
"""Executor -> the modules it imports, and the extra that brings them."""
INTERPRETER = "NEURODEPLOY_PYNN_PYTHON"
"""Names the Python that runs PyNN's simulators and sPyNNaker, where they cannot share one with the rest."""
LOOK = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if find_spec(n) is None))"
LOOK_S = 60


def interpreter() -> str | None:
    """Return the Python that the environment names for PyNN, or None for this one.

    Raises:
        BackendUnavailableError: ND311 when there is none of that name.
    """
    named = os.environ.get(INTERPRETER)
    if named and which(named) is None:
        what, why = "no such program", f"{INTERPRETER} names the Python that PyNN is installed in"
        raise BackendUnavailableError(Finding("ND311", named, what, why, "correct the variable, or unset it"))
    return named or None


def missing(executor: str) -> Finding | None:
    """Return what keeps one of the backend's executors from running here, or None."""
    modules, extra = NEEDS[executor]
    try:
        python = interpreter() if modules else None
    except BackendUnavailableError as error:
        return error.findings[0]
    absent = [name for name in modules if find_spec(name) is None] if python is None else _absent(python, modules)
    if not absent:
        return None
    what, why = f"{' and '.join(absent)} not installed", f"{executor} runs the program"
    where = "" if python is None else f" in {python}"
    return Finding("ND310", executor, what, why, f'pip install "neurodeploy[{extra}]"{where}')


def _absent(python: str, modules: tuple[str, ...]) -> list[str]:
    """Return which modules another interpreter does not have; all of them when it does not answer."""
    try:
        asked = subprocess.run([python, "-c", LOOK, *modules], capture_output=True, text=True, timeout=LOOK_S)
    except (OSError, subprocess.TimeoutExpired):
        return list(modules)
    return asked.stdout.split() if asked.returncode == 0 else list(modules)
