"""SpiNNaker through PyNN: design rules, 16-bit weights and s16.15 constants, placement, and runs on PyNN's simulators.

NEST and Brian2 compute what the program means, sPyNNaker maps it onto the machine. Importing this package imports none
of them.
"""

from neurodeploy.backends.payloads import payloads
from neurodeploy.backends.spinnaker import availability
from neurodeploy.backends.spinnaker.cells import MODELS, inexpressible
from neurodeploy.backends.spinnaker.learn import learn
from neurodeploy.backends.spinnaker.mapping import map_onto, missing_machine
from neurodeploy.backends.spinnaker.place import place
from neurodeploy.backends.spinnaker.quantize import quantize
from neurodeploy.backends.spinnaker.run import run
from neurodeploy.backends.spinnaker.script import script as emit
from neurodeploy.backends.spinnaker.substitute import substitute
from neurodeploy.engine.chip import not_on_chip
from neurodeploy.errors import Finding
from neurodeploy.ir.program import Program

EXECUTORS = ("nest", "brian2", "spynnaker", "engine-s16.15")
"""What runs a program beside the engine: PyNN's simulators, the machine's own tool chain, and its arithmetic."""
AUTHORITIES = ("nest", "brian2")
"""Whose spikes the engine's must be; the first is asked when nobody says whom."""

FORMS = ("pynn-script",)
"""As what a program can be written for other tools."""


def missing(executor: str) -> Finding | None:
    """Return what keeps one of `EXECUTORS` from running programs here, or None; mapping needs no machine."""
    return availability.missing(executor) or (missing_machine() if executor == "spynnaker" else None)


def refusals(program: Program, executor: str) -> list[Finding]:
    """Return why one of `EXECUTORS` has no exact cells for a program; nothing where it runs it as it is."""
    return list(inexpressible(program, executor) if executor in MODELS else not_on_chip(program))


__all__ = [
    "AUTHORITIES",
    "EXECUTORS",
    "FORMS",
    "emit",
    "learn",
    "map_onto",
    "missing",
    "payloads",
    "place",
    "quantize",
    "refusals",
    "run",
    "substitute",
]
