"""A whole chain of populations that learns by e-prop, as one Process with two ways to run it."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.recording import LearningRecord
from neurodeploy.engine.plastic import PlasticEngine, flat_weights
from neurodeploy.ir.onchip import PlasticProgram


class EPropNetwork(AbstractProcess):
    """A `PlasticProgram`: spikes and targets in, the output's spikes out, and weights that change on the way.

    Under `Loihi2SimCfg(select_sub_proc_model=True)` it is a graph of LearningDense, `PlasticLIF`, `PlasticReadout` and
    Dense, which shows that Lava's learning engine can express it. Otherwise it is one fused model that does the same,
    step by step and weight by weight, several times faster. select_tag "floating_pt" runs real programs, "fixed_pt"
    integer ones.

    Args:
        program: what to run; its first sample's first input is expected in time step 1.
        steps: how many time steps there will be at most.

    Attributes:
        s_in: spikes (input,).
        t_in: 1 for the right output, 0 for the others (output,).
        s_out: the output's spikes (output,).
        weights: all weights one after the other, in the order of `PlasticProgram.weights`, each (pre, post) in C order.
            Only the fused model keeps them here; the graph's are its LearningDense's.
    """

    def __init__(self, *, program: PlasticProgram, steps: int, name: str | None = None) -> None:
        super().__init__(program=program, steps=steps, name=name)
        outputs = (program.output.size,)
        self.s_in = InPort(shape=(program.inputs,))
        self.t_in = InPort(shape=outputs)
        self.s_out = OutPort(shape=outputs)
        flat = flat_weights(program)
        self.weights = Var(shape=flat.shape, init=flat)


class AbstractPyEPropNetworkModel(PyLoihiProcessModel):
    """The fused model: our engine's steps, taken by Lava's clock."""

    s_in: PyInPort
    t_in: PyInPort
    s_out: PyOutPort
    weights: np.ndarray

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.engine = PlasticEngine(proc_params["program"], proc_params["steps"])
        self.record: LearningRecord | None = proc_params.get("record")

    def run_spk(self) -> None:
        self.weights = self.engine.flat_weights  # the engine's own memory, so that what is set is learned from
        spikes = self.s_in.recv().astype(np.uint8)
        fired = self.engine.step(spikes, self.t_in.recv().astype(np.uint8))
        self.s_out.send(fired)
        if self.record is not None:
            self.record.write(self.time_step, fired, self.engine.weights, self.engine.state.counters)


@implements(proc=EPropNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyEPropNetworkModelFloat(AbstractPyEPropNetworkModel):
    """Double precision."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    weights: np.ndarray = LavaPyType(np.ndarray, float)


@implements(proc=EPropNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyEPropNetworkModelFixed(AbstractPyEPropNetworkModel):
    """The integers of Lava's learning engine."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    weights: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=9)


@implements(proc=EPropNetwork, protocol=LoihiProtocol)
class EPropNetworkGraph(AbstractSubProcessModel):
    """The same as connected Processes, see `backends.loihi2.plasticity.connect`."""

    def __init__(self, proc: AbstractProcess) -> None:
        from neurodeploy.backends.loihi2.plasticity import connect

        built = connect(proc.proc_params["program"], proc.s_in, proc.t_in)
        built.output.connect(proc.s_out)
        record = proc.proc_params.get("record")
        if record is not None:
            built.keep(record)
        for index, process in enumerate(built.all()):
            setattr(self, f"process_{index}", process)
