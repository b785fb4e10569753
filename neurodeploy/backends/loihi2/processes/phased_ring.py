"""Neurons of two phases for SPIDE: rates forward, ternary errors backward, and reports of both to their synapses.

A synapse changes once per sample, by a product of two rates. LearningDense holds rates as traces: one that a graded
spike overwrites (x1), one that the neuron sends (y1 or y2). So at the end of a sample every neuron reports its rate and
its error to the synapses on either side, errors above zero in one step and those below in the next. A payload of zero
is no event and would leave the trace of the sample before, so the least payload that is one stands for zero.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.recording import Recording
from neurodeploy.engine.plastic_integer import noise
from neurodeploy.ir.onchip import ERROR_ONE, FACTOR_MOST, FACTOR_STEP, TRACE_MAX
from neurodeploy.ir.phased import (
    COUNT_ONE,
    REPORT_SHIFT,
    REPORT_STREAM,
    UPDATE_STEPS,
    IntegerErrors,
    IntegerPhases,
    IntegerRate,
    PhasedProgram,
    RealErrors,
    RealPhases,
    RealRate,
    total,
)
from neurodeploy.ir.program import DECAY_ONE, STATE_MAX, STATE_SHIFT

PAYLOAD = 2
"""LearningDense overwrites x1 by half a payload."""
NO_RATE = {True: 1, False: 1e-300}
"""Integer or not -> the payload that x1 = 0, or as good as that, comes from."""
CURRENT_BITS = 24


class PhasedSource(AbstractProcess):
    """Passes input on to the first population, counts it, and reports its mean to the synapses.

    Args:
        program: a real one for the floating-point model, an integer one for the fixed-point one.

    Attributes:
        s_in, s_out: spikes or payloads (input,).
    """

    def __init__(self, *, program: PhasedProgram, name: str | None = None) -> None:
        super().__init__(program=program, index=0, name=name)
        self.s_in = InPort(shape=(program.inputs,))
        self.s_out = OutPort(shape=(program.inputs,))


class PhasedNeurons(AbstractProcess):
    """A hidden population of a `PhasedProgram`; see `ir/phased.py` for its equations.

    Args:
        program: a real one for the floating-point model, an integer one for the fixed-point one.
        index: of the population.

    Attributes:
        a_in, b_in: what arrives forward, and through the transposed weights of the next population and of its own.
        s_out: spikes s, and the report of their rate.
        q_out, loop_out: gated errors m q, and their report, for the transposed forward and recurrent synapses.
        y1_out, y2_out; loop_y1_out, loop_y2_out: errors above and below zero, for forward and for recurrent synapses.
        a1_out, a2_out: the rate, for transposed synapses that bring errors here.
    """

    def __init__(self, *, program: PhasedProgram, index: int, name: str | None = None) -> None:
        super().__init__(program=program, index=index, name=name)
        shape = (program.populations[index].size,)
        self.a_in, self.b_in = InPort(shape=shape), InPort(shape=shape)
        self.s_out, self.q_out, self.loop_out = (OutPort(shape=shape) for _ in range(3))
        self.y1_out, self.y2_out, self.loop_y1_out, self.loop_y2_out = (OutPort(shape=shape) for _ in range(4))
        self.a1_out, self.a2_out = OutPort(shape=shape), OutPort(shape=shape)


class PhasedReadout(AbstractProcess):
    """The output population, which compares its rate with a target and sends the error back.

    Args:
        program: a real one for the floating-point model, an integer one for the fixed-point one.

    Attributes:
        a_in: what arrives; t_in: 1 for the right neuron and 0 for the others.
        s_out: spikes.
        q_out: the error in every step of the backward phase, and its report.
        y1_out, y2_out: errors above and below zero.
    """

    def __init__(self, *, program: PhasedProgram, name: str | None = None) -> None:
        super().__init__(program=program, index=len(program.populations) - 1, name=name)
        shape = (program.output.size,)
        self.a_in, self.t_in = InPort(shape=shape), InPort(shape=shape)
        self.s_out, self.q_out = OutPort(shape=shape), OutPort(shape=shape)
        self.y1_out, self.y2_out = OutPort(shape=shape), OutPort(shape=shape)


class AbstractPyPhasedModel(PyLoihiProcessModel):
    """The clock of a sample, which all share."""

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.program: PhasedProgram = proc_params["program"]
        self.index: int = proc_params["index"]
        self.population = self.program.populations[self.index]
        self.recording: Recording | None = proc_params.get("recording")

    def at(self) -> int:
        """Return the step within a sample, negative before the first."""
        n = self.time_step - 1 - self.program.start
        return n % self.program.period if n >= 0 else -1

    def update(self) -> int | None:
        """Return 0 or 1 in the two steps in which weights change."""
        since = self.at() - self.program.updates_at
        return since if 0 <= since < UPDATE_STEPS else None

    def report(self, rate: np.ndarray) -> np.ndarray:
        """Return the graded spikes that make x1 the `rate`."""
        return np.where(rate == 0, NO_RATE[self.program.integer], PAYLOAD * rate)

    def zeros(self, size: int) -> np.ndarray:
        return np.zeros(size, np.int64 if self.program.integer else np.float64)

    @abstractmethod
    def counted(self, count: np.ndarray, sent: np.ndarray) -> np.ndarray:
        """Return a count after one more step."""

    @abstractmethod
    def mean(self, count: np.ndarray) -> np.ndarray:
        """Return the rate that is reported of a count."""

    @abstractmethod
    def membrane(self, v: np.ndarray, current: np.ndarray, quantum: Any, spikes: np.ndarray) -> np.ndarray:
        """Return a potential after one more step, without its bias; `spikes` are those of the step before."""

    @abstractmethod
    def limited(self, v: np.ndarray) -> np.ndarray:
        """Return a potential as its register holds it."""

    @abstractmethod
    def factor(self, errors: np.ndarray, group: int) -> np.ndarray:
        """Return what a group of synapses is told of b, of which `errors` is the count."""


class AbstractPyPhasedPopulationModel(AbstractPyPhasedModel):
    """The forward phase, which hidden populations and the output share."""

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.v, self.s, self.count = (self.zeros(self.population.size) for _ in range(3))

    def forward(self, current: np.ndarray, step: int) -> np.ndarray:
        """Return the spikes of a step of the forward phase."""
        if step == 0:
            self.v[:], self.s[:], self.count[:] = 0, 0, 0
        if not 0 <= step < self.program.steps:
            return np.zeros_like(self.s)
        self.v[:] = self.limited(self.membrane(self.v, current, self.neuron.quantum, self.s) + self.neuron.bias)
        self.s[:] = self.v > self.neuron.threshold
        self.count[:] = self.counted(self.count, self.s)
        return self.s


class AbstractPyPhasedModelFloat(AbstractPyPhasedModel):
    """Double precision."""

    neuron: RealPhases

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        assert isinstance(self.population.neuron, RealPhases)
        self.neuron = self.population.neuron

    def counted(self, count: np.ndarray, sent: np.ndarray) -> np.ndarray:
        return self.neuron.leak * count + sent

    def mean(self, count: np.ndarray) -> np.ndarray:
        return count / total(self.neuron.leak, self.program.steps)

    def membrane(self, v: np.ndarray, current: np.ndarray, quantum: Any, spikes: np.ndarray) -> np.ndarray:
        return self.neuron.leak * v + current - quantum * spikes

    def limited(self, v: np.ndarray) -> np.ndarray:
        return v

    def factor(self, errors: np.ndarray, group: int) -> np.ndarray:
        """Return rate b."""
        assert isinstance(self.population.rate, RealRate)
        return self.population.rate.rate * errors / total(self.neuron.leak, self.program.back_steps)


class AbstractPyPhasedModelFixed(AbstractPyPhasedModel):
    """Integers, see `IntegerPhases`."""

    neuron: IntegerPhases

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        assert isinstance(self.population.neuron, IntegerPhases)
        self.neuron = self.population.neuron

    def decayed(self, state: np.ndarray) -> np.ndarray:
        return np.sign(state) * (np.abs(state) * (DECAY_ONE - self.neuron.dv) // DECAY_ONE)

    def counted(self, count: np.ndarray, sent: np.ndarray) -> np.ndarray:
        return self.decayed(count) + COUNT_ONE * sent

    def mean(self, count: np.ndarray) -> np.ndarray:
        return self.drawn(count, self.neuron.report, self.index)

    def drawn(self, count: np.ndarray, mantissa: int, source: int) -> np.ndarray:
        """Return the traces that a source, counted from -1, reports; drawn alike in both steps of an update."""
        added = noise(self.program.seed, self.began(), REPORT_STREAM + source, np.arange(count.size))
        return np.minimum(TRACE_MAX, (count * mantissa + (added & ((1 << REPORT_SHIFT) - 1))) >> REPORT_SHIFT)

    def began(self) -> int:
        """Return the time step, counted from 0, in which this update began."""
        return self.time_step - 1 - (self.update() or 0)

    def membrane(self, v: np.ndarray, current: np.ndarray, quantum: Any, spikes: np.ndarray) -> np.ndarray:
        arriving = current.astype(np.int64) << STATE_SHIFT
        half = 1 << (CURRENT_BITS - 1)
        arriving = np.where(arriving > half, arriving - 2 * half, arriving)
        arriving = np.where(arriving <= -half, arriving + 2 * half, arriving)
        return self.decayed(v) + arriving - quantum * spikes

    def limited(self, v: np.ndarray) -> np.ndarray:
        return np.clip(v, -STATE_MAX, STATE_MAX)

    def factor(self, errors: np.ndarray, group: int) -> np.ndarray:
        """Return 8 q with the sign of b, drawn alike in both steps of an update."""
        rate = self.population.rate
        assert isinstance(rate, IntegerRate)
        if group >= len(rate.shift):
            return np.zeros_like(errors)
        drawn = noise(self.program.seed, self.began(), 2 * self.index + group, np.arange(errors.size))
        size = np.abs(errors) * rate.mantissa[group] + (drawn & ((1 << rate.shift[group]) - 1))
        return np.sign(errors) * FACTOR_STEP * np.minimum(FACTOR_MOST, size >> rate.shift[group])


def reported(count: np.ndarray, mantissa: int) -> np.ndarray:
    """Return a count in another unit, rounded to the nearest."""
    return (count * mantissa + (1 << (REPORT_SHIFT - 1))) >> REPORT_SHIFT


class AbstractPyPhasedSourceModel(AbstractPyPhasedModel):
    """Passes on, counts, reports."""

    s_in: PyInPort
    s_out: PyOutPort

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.count = self.zeros(self.program.inputs)

    def run_spk(self) -> None:
        entered, at = self.s_in.recv(), self.at()
        if at == 0:
            self.count[:] = 0
        if 0 <= at < self.program.steps:
            self.count[:] = self.counted(self.count, entered.astype(self.count.dtype))
        self.s_out.send(entered if self.update() is None else self.report(self.mean(self.count)))


class AbstractPyPhasedNeuronsModel(AbstractPyPhasedPopulationModel):
    """The order of one step, which does not depend on the number format."""

    a_in: PyInPort
    b_in: PyInPort
    s_out: PyOutPort
    q_out: PyOutPort
    loop_out: PyOutPort
    y1_out: PyOutPort
    y2_out: PyOutPort
    loop_y1_out: PyOutPort
    loop_y2_out: PyOutPort
    a1_out: PyOutPort
    a2_out: PyOutPort

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.u, self.q, self.back_count = (self.zeros(self.population.size) for _ in range(3))

    def run_spk(self) -> None:
        current, back_current = self.a_in.recv(), self.b_in.recv()
        spikes = self.forward(current, self.at() - 1 - self.index)
        errors = self.backward(back_current, self.at() - self.program.backward_at(self.index))
        nothing = np.zeros_like(spikes)
        update = self.update()
        if update is None:
            self.send(spikes, errors, errors, [nothing] * 6)
            return
        sign = 1 - 2 * update
        factors = [np.maximum(sign * self.factor(self.back_count, group), 0) for group in range(2)]
        rate = self.mean(self.count)
        third = [factors[0], factors[1], rate]
        ports = [part for each in third for part in ((each, nothing) if update == 0 else (nothing, each))]
        self.send(self.report(rate), self.report(factors[0]), self.report(factors[1]), ports)

    def send(self, spikes: np.ndarray, errors: np.ndarray, loop: np.ndarray, third: list[np.ndarray]) -> None:
        self.s_out.send(spikes)
        self.q_out.send(errors)
        self.loop_out.send(loop)
        ports = (self.y1_out, self.y2_out, self.loop_y1_out, self.loop_y2_out, self.a1_out, self.a2_out)
        for port, values in zip(ports, third, strict=True):
            port.send(values)

    def backward(self, current: np.ndarray, step: int) -> np.ndarray:
        """Return the gated errors of a step of the backward phase."""
        if step == 0:
            self.u[:], self.q[:], self.back_count[:] = 0, 0, 0
        if not 0 <= step < self.program.back_steps:
            return np.zeros_like(self.q)
        self.u[:] = self.limited(self.membrane(self.u, current, self.neuron.back_quantum, self.q))
        self.q[:] = np.where(np.abs(self.u) > self.neuron.back_threshold, np.sign(self.u), 0)
        sent = np.where((self.neuron.low < self.count) & (self.count < self.neuron.high), self.q, 0)
        self.back_count[:] = self.counted(self.back_count, sent)
        return sent


class AbstractPyPhasedReadoutModel(AbstractPyPhasedPopulationModel):
    """The order of one step, which does not depend on the number format."""

    a_in: PyInPort
    t_in: PyInPort
    s_out: PyOutPort
    q_out: PyOutPort
    y1_out: PyOutPort
    y2_out: PyOutPort

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.error = self.zeros(self.population.size)

    def run_spk(self) -> None:
        current, target = self.a_in.recv(), self.t_in.recv()
        spikes = self.forward(current, self.at() - 1 - self.index)
        nothing = np.zeros_like(spikes)
        update = self.update()
        sent, third = nothing, [nothing, nothing]
        if 0 <= self.at() - self.program.backward_at(self.index) < self.program.back_steps:
            self.error[:] = self.compared(target)
            sent = self.outgoing()
        if update is not None:
            factor = np.maximum((1 - 2 * update) * self.told(), 0)
            sent, third[update] = self.report(factor), factor
        self.s_out.send(spikes)
        self.q_out.send(sent)
        self.y1_out.send(third[0])
        self.y2_out.send(third[1])
        if self.recording is not None:
            self.recording.write(self.time_step, spikes, spikes, self.v)

    @abstractmethod
    def compared(self, target: np.ndarray) -> np.ndarray:
        """Return the error."""

    @abstractmethod
    def outgoing(self) -> np.ndarray:
        """Return the error as it is sent."""

    @abstractmethod
    def told(self) -> np.ndarray:
        """Return what the synapses are told, with its sign."""


@implements(proc=PhasedSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPhasedSourceModelFloat(AbstractPyPhasedSourceModel, AbstractPyPhasedModelFloat):
    """Double precision."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)


@implements(proc=PhasedSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPhasedSourceModelFixed(AbstractPyPhasedSourceModel, AbstractPyPhasedModelFixed):
    """Integers."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=8)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)

    def mean(self, count: np.ndarray) -> np.ndarray:
        assert isinstance(self.program.errors, IntegerErrors)
        return self.drawn(count, self.program.errors.source, -1)


@implements(proc=PhasedNeurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPhasedNeuronsModelFloat(AbstractPyPhasedNeuronsModel, AbstractPyPhasedModelFloat):
    """Double precision."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    b_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    q_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    loop_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    loop_y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    loop_y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    a1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    a2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)


@implements(proc=PhasedNeurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPhasedNeuronsModelFixed(AbstractPyPhasedNeuronsModel, AbstractPyPhasedModelFixed):
    """Integers."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    b_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    q_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    loop_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    loop_y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    loop_y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    a1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    a2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)


@implements(proc=PhasedReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPhasedReadoutModelFloat(AbstractPyPhasedReadoutModel, AbstractPyPhasedModelFloat):
    """Double precision."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    q_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def compared(self, target: np.ndarray) -> np.ndarray:
        assert isinstance(self.program.errors, RealErrors)
        missed = np.clip(self.mean(self.count) / self.program.errors.goal - target, -1, 1)
        return np.where(np.abs(missed) > self.program.errors.margin, missed, 0)

    def outgoing(self) -> np.ndarray:
        assert isinstance(self.program.errors, RealErrors)
        return self.program.errors.gain * self.error

    def told(self) -> np.ndarray:
        assert isinstance(self.population.rate, RealRate)
        return self.population.rate.rate * self.error


@implements(proc=PhasedReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPhasedReadoutModelFixed(AbstractPyPhasedReadoutModel, AbstractPyPhasedModelFixed):
    """Integers, see `IntegerErrors`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    q_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)

    def compared(self, target: np.ndarray) -> np.ndarray:
        assert isinstance(self.program.errors, IntegerErrors)
        reached = reported(self.count, self.program.errors.mantissa)
        missed = np.clip(reached - ERROR_ONE * target.astype(np.int64), -ERROR_ONE, ERROR_ONE)
        return np.where(np.abs(missed) > self.program.errors.margin, missed, 0)

    def outgoing(self) -> np.ndarray:
        return self.error

    def told(self) -> np.ndarray:
        return self.factor(self.error, 0)
