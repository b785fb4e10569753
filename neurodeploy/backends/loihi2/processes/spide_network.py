"""A whole ring that learns by SPIDE, as one Process with two ways to run it."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.eprop_network import AbstractPyEPropNetworkModel, EPropNetwork


class SpideNetwork(EPropNetwork):
    """A `PhasedProgram`: spikes or payloads and targets in, the output's spikes out, and weights that change.

    As `EPropNetwork`: a graph of LearningDense, `PhasedSource`, `PhasedNeurons` and `PhasedReadout` under
    `Loihi2SimCfg(select_sub_proc_model=True)`, in which the transposed weights are synapses of their own that learn the
    same, or one fused model. Arguments and attributes are those of `EPropNetwork`.
    """


@implements(proc=SpideNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PySpideNetworkModelFloat(AbstractPyEPropNetworkModel):
    """Double precision."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    weights: np.ndarray = LavaPyType(np.ndarray, float)


@implements(proc=SpideNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PySpideNetworkModelFixed(AbstractPyEPropNetworkModel):
    """The integers of Lava's learning engine."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=8)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    weights: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=9)


@implements(proc=SpideNetwork, protocol=LoihiProtocol)
class SpideNetworkGraph(AbstractSubProcessModel):
    """The same as connected Processes, see `backends.loihi2.phased_plasticity.connect`."""

    def __init__(self, proc: AbstractProcess) -> None:
        from neurodeploy.backends.loihi2.phased_plasticity import connect

        built = connect(proc.proc_params["program"], proc.s_in, proc.t_in)
        built.output.connect(proc.s_out)
        record = proc.proc_params.get("record")
        if record is not None:
            built.keep(record)
        for index, process in enumerate(built.all()):
            setattr(self, f"process_{index}", process)
