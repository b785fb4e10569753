"""Loihi through Lava: design rules, quantization, placement, native processes, and runs on Lava's CPU simulator.

`neurodeploy.backends.loihi2.processes` and `.network` are public: they give a compiled program as connected Lava
processes, to embed in a Lava program of one's own. Importing this package does not import Lava.
"""

from neurodeploy.backends.loihi2.lava_compat import availability
from neurodeploy.backends.loihi2.learn import learn
from neurodeploy.backends.loihi2.place import place
from neurodeploy.backends.loihi2.plastic_formats import frozen_program, integer_program, real_weights
from neurodeploy.backends.loihi2.quantize import payloads, quantize
from neurodeploy.backends.loihi2.run import run

__all__ = [
    "availability", "frozen_program", "integer_program", "learn", "payloads", "place", "quantize", "real_weights",
    "run",
]  # fmt: skip
