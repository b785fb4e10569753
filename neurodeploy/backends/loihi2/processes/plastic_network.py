"""A whole chain of populations that learns by e-prop or DECOLLE, as one Process with two ways to run it."""

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


class PlasticNetwork(LearningNetwork):
    """A `PlasticProgram` as a `LearningNetwork`, whose arguments and ports it has: spikes, 0 or 1, go in.

    The graph consists of LearningDense, `PlasticLIF`, `PlasticReadout`, Dense and, for DECOLLE, `LocalReadout`;
    examples/eprop_in_lava writes the same network both ways. A sample's answer goes out in the last program.steps of
    its time steps. Programs are written out (`ir/onchip.py`), or made of a network by `lowering.plastic.program` and,
    in integers, `plastic_formats`.
    """


@implements(proc=PlasticNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPlasticNetworkModelFloat(AbstractPyLearningNetworkModelFloat):
    """Double precision."""


@implements(proc=PlasticNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPlasticNetworkModelFixed(AbstractPyLearningNetworkModelFixed):
    """The integers of Lava's learning engine."""


@implements(proc=PlasticNetwork, protocol=LoihiProtocol)
class PlasticNetworkGraph(AbstractLearningNetworkGraph):
    """Connected Processes."""

    wiring = "neurodeploy.backends.loihi2.plasticity"
