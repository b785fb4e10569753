"""SpiNNaker2: planned and estimated, never run; what its programs mean is run by the engine and by PyNN's simulators.

Its software stack is not public in a form that could be tested here. Its profile says what of it is known and how.
"""

from neurodeploy.backends.payloads import payloads
from neurodeploy.backends.spinnaker import AUTHORITIES, missing, refusals, run, substitute
from neurodeploy.backends.spinnaker.quantize import WeightFormat
from neurodeploy.backends.spinnaker.quantize import quantize as quantize_to
from neurodeploy.backends.spinnaker2.place import place
from neurodeploy.engine.real import Ranges
from neurodeploy.ir.network import Network
from neurodeploy.ir.program import Program

EXECUTORS = ("nest", "brian2")
"""What runs a program beside the engine: PyNN's simulators, for its function; nothing of SpiNNaker2 itself."""
FORMS = ()
"""As what a program can be written for other tools."""
SIGNED_8 = WeightFormat(8, signed=True)
"""As numeric.weight_bits of the profile says."""


def quantize(network: Network, ranges: dict[str, Ranges] | None = None) -> Program:
    """Return the program with 8-bit weights; states are real numbers, and the constants those of SpiNNaker 1."""
    return quantize_to(network, ranges, SIGNED_8)


__all__ = [
    "AUTHORITIES", "EXECUTORS", "FORMS", "missing", "payloads", "place", "quantize", "refusals", "run",
    "substitute",
]  # fmt: skip
