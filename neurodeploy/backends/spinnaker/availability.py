"""Which of PyNN's simulators can be used here, and the command that mends it where one cannot."""

from __future__ import annotations

from importlib.util import find_spec

from neurodeploy.errors import Finding

NEEDS = {
    "nest": (("pyNN", "nest"), "pynn"),
    "brian2": (("pyNN", "brian2"), "pynn"),
    "spynnaker": (("spynnaker",), "spinnaker"),
    "engine-s16.15": ((), ""),
}
"""Executor -> the modules it imports, and the extra that brings them."""


def missing(executor: str) -> Finding | None:
    """Return what keeps one of the backend's executors from running here, or None."""
    modules, extra = NEEDS[executor]
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return None
    what, why = f"{' and '.join(absent)} not installed", f"{executor} runs the program"
    return Finding("ND310", executor, what, why, f'pip install "neurodeploy[{extra}]"')
