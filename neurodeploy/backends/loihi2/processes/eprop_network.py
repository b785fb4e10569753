"""A whole chain of populations that learns by e-prop, as one Process with two ways to run it."""

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


class EPropNetwork(LearningNetwork):
    """A `PlasticProgram` as a `LearningNetwork`, whose arguments and ports it has: spikes, 0 or 1, go in.

    The graph consists of LearningDense, `PlasticLIF`, `PlasticReadout` and Dense; examples/eprop_in_lava writes the
    same network both ways. A sample's answer goes out in the last program.steps of its time steps. Programs are written
    out (`ir/onchip.py`), or made of a network by `lowering.plastic.program` and, in integers, `plastic_formats`.
    """


@implements(proc=EPropNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyEPropNetworkModelFloat(AbstractPyLearningNetworkModelFloat):
    """Double precision."""


@implements(proc=EPropNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyEPropNetworkModelFixed(AbstractPyLearningNetworkModelFixed):
    """The integers of Lava's learning engine."""


@implements(proc=EPropNetwork, protocol=LoihiProtocol)
class EPropNetworkGraph(AbstractLearningNetworkGraph):
    """Connected Processes."""

    wiring = "neurodeploy.backends.loihi2.plasticity"
