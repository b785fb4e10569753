"""Features that compete and an output that votes or learns by reward, as one Process with two ways to run it."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.eprop_network import AbstractPyEPropNetworkModel
from neurodeploy.engine.plastic import flat_weights
from neurodeploy.ir.paired import PairedProgram


class PairedNetwork(AbstractProcess):
    """A `PairedProgram`: spikes and targets in, the output's spikes out, weights and thresholds that change on the way.

    Under `Loihi2SimCfg(select_sub_proc_model=True)` it is a graph of LearningDense, `CompetingLIF`, `RewardedLIF`,
    `Judge` and Dense, which shows that Lava's learning engine can express it. Otherwise it is one fused model that does
    the same, step by step and weight by weight, several times faster. select_tag "floating_pt" runs real programs,
    "fixed_pt" integer ones. When samples come and answers go is said of `EPropNetwork`; only the period differs.

    Args:
        program: what to run: written out (`ir/paired.py`), or made of a network by `lowering.paired.program` and, in
            integers, `paired_formats.integer_program`.
        steps: how many time steps there will be at most; an integer program draws its random numbers for so many, a
            real one needs no such number.

    Attributes:
        s_in: InPort (input,), spikes: 0 or 1; zero between samples.
        t_in: InPort (output,), 1 for the right output and 0 for the others; only the judge of decisions hears it.
        s_out: OutPort (output,), the output's spikes.
        weights: Var, all weights and the thresholds one after the other, in the order of `PairedProgram.weights`, each
            (pre, post) in C order. May be set between two runs. Only the fused model keeps them here.

    Raises:
        ValueError: for an integer program without `steps`.
    """

    def __init__(self, *, program: PairedProgram, steps: int | None = None, name: str | None = None) -> None:
        super().__init__(program=program, steps=steps, name=name)
        if program.integer and steps is None:
            raise ValueError("an integer program draws random numbers: say for how many time steps at most")
        outputs = (program.output.size,)
        self.s_in = InPort(shape=(program.inputs,))
        self.t_in = InPort(shape=outputs)
        self.s_out = OutPort(shape=outputs)
        flat = flat_weights(program)
        self.weights = Var(shape=flat.shape, init=flat)


@implements(proc=PairedNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPairedNetworkModelFloat(AbstractPyEPropNetworkModel):
    """Double precision."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    weights: np.ndarray = LavaPyType(np.ndarray, float)


@implements(proc=PairedNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPairedNetworkModelFixed(AbstractPyEPropNetworkModel):
    """The integers of Lava's learning engine; thresholds have the 24 bits of a state."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    weights: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)


@implements(proc=PairedNetwork, protocol=LoihiProtocol)
class PairedNetworkGraph(AbstractSubProcessModel):
    """The same as connected Processes, see `backends.loihi2.pairing.connect`."""

    def __init__(self, proc: AbstractProcess) -> None:
        from neurodeploy.backends.loihi2.pairing import connect

        built = connect(proc.proc_params["program"], proc.s_in, proc.t_in)
        built.output.s_out.connect(proc.s_out)
        record = proc.proc_params.get("record")
        if record is not None:
            built.keep(record)
        for index, process in enumerate(built.all()):
            setattr(self, f"process_{index}", process)
