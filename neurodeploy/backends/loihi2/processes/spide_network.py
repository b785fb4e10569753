"""A whole ring that learns by SPIDE, as one Process with two ways to run it."""

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


class SpideNetwork(LearningNetwork):
    """A `PhasedProgram` as a `LearningNetwork`, whose arguments and ports it has: spikes or payloads go in.

    The graph consists of LearningDense, `PhasedSource`, `PhasedNeurons` and `PhasedReadout`; its transposed weights are
    synapses of their own that learn the same. Programs are written out (`ir/phased.py`), or made of a network by
    `lowering.phased.program` and, in integers, `phased_formats`.
    """


@implements(proc=SpideNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PySpideNetworkModelFloat(AbstractPyLearningNetworkModelFloat):
    """Double precision."""


@implements(proc=SpideNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PySpideNetworkModelFixed(AbstractPyLearningNetworkModelFixed):
    """The integers of Lava's learning engine."""


@implements(proc=SpideNetwork, protocol=LoihiProtocol)
class SpideNetworkGraph(AbstractLearningNetworkGraph):
    """Connected Processes."""

    wiring = "neurodeploy.backends.loihi2.phased_plasticity"
