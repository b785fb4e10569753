"""Features that compete and an output that votes or learns by reward, as one Process with two ways to run it."""

from __future__ import annotations

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.learning_network import (
    AbstractLearningNetworkGraph,
    AbstractPyLearningNetworkModelFixed,
    AbstractPyLearningNetworkModelFloat,
    LearningNetwork,
)


class PairedNetwork(LearningNetwork):
    """A `PairedProgram` as a `LearningNetwork`, whose arguments and ports it has: spikes, 0 or 1, go in.

    The graph consists of LearningDense, `CompetingLIF`, `RewardedLIF`, `Judge` and Dense; only the judge of decisions
    hears t_in. `weights` holds the thresholds of features too, with the 24 bits of a state in integers. Programs are
    written out (`ir/paired.py`), or made of a network by `lowering.paired.program` and, in integers, `paired_formats`.
    """


@implements(proc=PairedNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPairedNetworkModelFloat(AbstractPyLearningNetworkModelFloat):
    """Double precision."""


@implements(proc=PairedNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPairedNetworkModelFixed(AbstractPyLearningNetworkModelFixed):
    """The integers of Lava's learning engine."""


@implements(proc=PairedNetwork, protocol=LoihiProtocol)
class PairedNetworkGraph(AbstractLearningNetworkGraph):
    """Connected Processes."""

    wiring = "neurodeploy.backends.loihi2.pairing"
