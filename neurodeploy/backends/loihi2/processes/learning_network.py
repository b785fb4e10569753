"""A whole network that learns, as one Process with two ways to run it: what all rules have in common."""

from __future__ import annotations

from importlib import import_module

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var

from neurodeploy.backends.loihi2.recording import LearningRecord
from neurodeploy.engine.plastic import LearningProgram, PlasticEngine, flat_weights, warm_up


class LearningNetwork(AbstractProcess):
    """A program that learns: samples and targets in, the output's spikes out, and weights that change on the way.

    Under `Loihi2SimCfg(select_sub_proc_model=True)` it is a graph of LearningDense and neurons of ours, which shows
    that Lava's learning engine can express it. Otherwise it is one fused model that does the same, step by step and
    weight by weight, several times faster. select_tag "floating_pt" runs real programs, "fixed_pt" integer ones.

    Sample j has the time steps start + j period + 1 ... start + (j + 1) period, counted from 1 as Lava does, with
    `program.start` and `program.period`: its input comes in the first program.steps of them, its target in all.

    Args:
        program: what to run.
        steps: how many time steps there will be at most; an integer program draws its random numbers for so many, a
            real one needs no such number.

    Attributes:
        s_in: InPort (input,), what enters; zero between samples.
        t_in: InPort (output,), 1 for the right output and 0 for the others.
        s_out: OutPort (output,), the output's spikes.
        weights: Var, all weights one after the other, in the order of the program's, each (pre, post) in C order; real
            ones in the unit of the thresholds, integer ones in [-256, 255]. May be set between two runs. Only the fused
            model keeps them here; the graph's are its LearningDense's.

    Raises:
        ValueError: for an integer program without `steps`.
    """

    def __init__(self, *, program: LearningProgram, steps: int | None = None, name: str | None = None) -> None:
        super().__init__(program=program, steps=steps, name=name)
        if program.integer and steps is None:
            raise ValueError("an integer program draws random numbers: say for how many time steps at most")
        outputs = (program.output.size,)
        self.s_in = InPort(shape=(program.inputs,))
        self.t_in = InPort(shape=outputs)
        self.s_out = OutPort(shape=outputs)
        flat = flat_weights(program)
        self.weights = Var(shape=flat.shape, init=flat)


class AbstractPyLearningNetworkModel(PyLoihiProcessModel):
    """The fused model: our engine's steps, taken by Lava's clock."""

    s_in: PyInPort
    t_in: PyInPort
    s_out: PyOutPort
    weights: np.ndarray

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.steps: int | None = proc_params["steps"]
        warm_up(proc_params["program"])
        self.engine = PlasticEngine(proc_params["program"], self.steps or 0)
        self.record: LearningRecord | None = proc_params.get("record")

    def run_spk(self) -> None:
        if self.steps is not None and self.time_step > self.steps:
            raise RuntimeError(f"time step {self.time_step} of a network that was made for {self.steps}")
        self.weights = self.engine.flat_weights  # the engine's own memory, so that what is set is learned from
        entering = self.s_in.recv().astype(self.engine.program.input_type)
        fired = self.engine.step(entering, self.t_in.recv().astype(np.uint8))
        self.s_out.send(fired)
        if self.record is not None:
            self.record.write(self.time_step, fired, self.engine.weights, self.engine.state.counters)


class AbstractPyLearningNetworkModelFloat(AbstractPyLearningNetworkModel):
    """Double precision."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    weights: np.ndarray = LavaPyType(np.ndarray, float)


class AbstractPyLearningNetworkModelFixed(AbstractPyLearningNetworkModel):
    """The integers of Lava's learning engine."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    weights: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)


class AbstractLearningNetworkGraph(AbstractSubProcessModel):
    """The same as connected Processes: those that `connect` of the module `wiring` builds."""

    wiring: str

    def __init__(self, proc: AbstractProcess) -> None:
        built = import_module(self.wiring).connect(proc.proc_params["program"], proc.s_in, proc.t_in)
        built.output.connect(proc.s_out)
        record = proc.proc_params.get("record")
        if record is not None:
            built.keep(record)
        for index, process in enumerate(built.all()):
            setattr(self, f"process_{index}", process)
