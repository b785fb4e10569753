"""Loihi through Lava: design rules, quantization, placement, native processes, and runs on Lava's CPU simulator.

`neurodeploy.backends.loihi2.processes` and `.network` are public: they give a compiled program as connected Lava
processes, to embed in a Lava program of one's own. Importing this package does not import Lava.
"""

from collections.abc import Collection

import numpy as np

from neurodeploy.backends.loihi2.lava_compat import availability
from neurodeploy.backends.loihi2.learn import learn
from neurodeploy.backends.loihi2.place import on_core, place
from neurodeploy.backends.loihi2.plastic_formats import frozen_program, integer_program, real_weights
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.backends.loihi2.run import run
from neurodeploy.backends.payloads import payloads
from neurodeploy.errors import Finding
from neurodeploy.ir.network import Network
from neurodeploy.ir.program import Program

EXECUTORS = ("lava", "lava-models")
"""What runs a program beside the engine: Lava's runtime, and its process models without it."""
FORMS = ()
"""As what a program can be written for other tools."""
AUTHORITIES = EXECUTORS
"""Whose spikes and states the engine's must be; the first is asked when nobody says whom."""


def substitute(network: Network, allow: Collection[str], inputs: np.ndarray | None) -> Network:
    """Return the lowered `network` with what the user allows to differ: Loihi's processes leave nothing to allow."""
    return network


def refusals(program: Program, executor: str) -> list[Finding]:
    """Return why an executor cannot run a compiled program: none, since what Loihi cannot say is not compiled."""
    return []


def missing(executor: str) -> Finding | None:
    """Return what keeps one of `EXECUTORS` from running here, or None: all need the same package."""
    return availability()


__all__ = [
    "AUTHORITIES", "EXECUTORS", "FORMS", "frozen_program", "integer_program", "learn", "missing", "on_core", "payloads",
    "place", "quantize", "real_weights", "refusals", "run", "substitute",
]  # fmt: skip
