"""Leaky integrate-and-fire neurons that tell their synapses how to learn: what e-prop and DECOLLE ask of neurons."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.local_readout import AbstractPyErrorModelFixed, AbstractPyErrorModelFloat
from neurodeploy.backends.loihi2.processes.resetting_lif import (
    AbstractPyResettingLIFModel,
    AbstractPyResettingLIFModelFixed,
    AbstractPyResettingLIFModelFloat,
    ResettingLIF,
    decayed,
)
from neurodeploy.engine.plastic_integer import FIRING_DECAY, FIRING_UNIT, noise
from neurodeploy.ir.onchip import (
    FACTOR_MOST,
    FACTOR_STEP,
    RATE_SHIFT,
    READOUT_UNIT,
    IntegerFactor,
    IntegerReadout,
    RealFactor,
    RealReadout,
)

FACTOR_DECAY = float(np.exp(-1 / np.iinfo(np.uint16).max))
"""What LearningDense leaves of a third factor before it uses it; in floating point, we send so much more."""


class PlasticLIF(ResettingLIF):
    """`ResettingLIF` neurons that hear a learning signal L and send a third factor to their synapses.

        psi = max(0, 1 - |v - vth| / (width vth))          v as it was when it was compared with vth
        r   = r + (s_out - r) / 64                         the neuron's own mean firing rate
        L   = a_third_factor_in + regularizer (r - target_rate)
        s_out_y1, s_out_y2 = the positive and the negative part of rate psi L

    The synapses that learn are a stock LearningDense; between samples (see `ResettingLIF`) psi is zero, and nothing is
    learned. For neurons with beta = 1 - dv, floating point (examples/eprop_in_lava is a whole program):

        synapses = LearningDense(weights=w, learning_rule=engine_rule(EPROP, tau=-1 / log(beta)))
        synapses.a_out.connect(neurons.a_in)
        neurons.s_out_y1.connect(synapses.s_in_y1)
        neurons.s_out_y2.connect(synapses.s_in_y2)
        back = Dense(weights=feedback, num_message_bits=8)
        readout.err_out.connect(back.s_in)
        back.a_out.connect(neurons.a_third_factor_in)

    with `engine_rule` of `backends.loihi2.plasticity` and `EPROP` of `ir.onchip`. If `readout` is the output, this is
    e-prop; with a `LocalReadout` of these neurons' own it is DECOLLE. The rule has one trace, which decays as the
    membrane does: all neurons share one dv, and none has a synaptic current (du = 1; fixed point 4095).

    Args:
        shape: (neuron,).
        factor: a RealFactor for the floating-point model, an IntegerFactor for the fixed-point one. Its `feedback` is
            not read here: the Dense in front of a_third_factor_in holds it.
        seed, index: of the fixed-point model's random numbers; two populations of one network have two indices.
        others: as for `ResettingLIF`; first_step is one more than that of the population before, or 2 where the input
            comes straight from a source.

    Attributes:
        a_in, s_out, u, v: as of `ResettingLIF`.
        a_third_factor_in: InPort (neuron,), the error that comes back, real; fixed point: whatever a Dense makes of
            errors of which 127 is one.
        s_out_y1, s_out_y2: OutPorts (neuron,), real and not negative, in the unit of vth; fixed point: multiples of 8
            up to 120.
        firing: Var (neuron,), r in spikes per step; fixed point: in 1/4096 of that.
    """

    def __init__(
        self,
        *,
        shape: tuple[int],
        factor: RealFactor | IntegerFactor,
        seed: int = 0,
        index: int = 0,
        **neuron: Any,
    ) -> None:
        super().__init__(shape=shape, **neuron)
        self.proc_params["factor"], self.proc_params["seed"], self.proc_params["index"] = factor, seed, index
        self.a_third_factor_in = InPort(shape=shape)
        self.s_out_y1 = OutPort(shape=shape)
        self.s_out_y2 = OutPort(shape=shape)
        self.firing = Var(shape=shape, init=factor.target_rate)


class PlasticReadout(PlasticLIF):
    """Output neurons of the kind of `PlasticLIF` that compare their own spikes with a target, and say how far off.

        y = kappa y + s_out                               zero at the first step of a sample
        err_out = clip(y / goal - t_in, -1, 1)            zero between samples; its own L

    Args:
        readout: a RealReadout for the floating-point model, an IntegerReadout for the fixed-point one.
        others: as for `PlasticLIF`; the factor's regularizer is not used.

    Attributes:
        t_in: InPort (neuron,), in every step of a sample 1 for the right neuron and 0 for the others.
        err_out: OutPort (neuron,), real, in [-1, 1]; fixed point: in [-127, 127], 127 being 1. It is a number, not a
            spike: a Dense that reads it needs num_message_bits > 0.
        y: Var (neuron,), filtered spikes; fixed point: 64 per spike.
        others: as of `PlasticLIF`, but that a_third_factor_in is not read and should be left unconnected.
    """

    def __init__(self, *, readout: RealReadout | IntegerReadout, **population: Any) -> None:
        super().__init__(**population)
        self.proc_params["readout"] = readout
        self.t_in = InPort(shape=self.a_in.shape)
        self.err_out = OutPort(shape=self.a_in.shape)
        self.y = Var(shape=self.a_in.shape, init=0)


class AbstractPyPlasticLIFModel(AbstractPyResettingLIFModel):
    """The order of one step, which does not depend on the number format."""

    a_third_factor_in: PyInPort
    s_out_y1: PyOutPort
    s_out_y2: PyOutPort
    firing: np.ndarray

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.seed: int = proc_params["seed"]
        self.index: int = proc_params["index"]

    def run_spk(self) -> None:
        local_step = self.local_step()
        spikes = self.settle(self.a_in.recv(), local_step)
        psi = np.zeros_like(self.v) if local_step is None else self.pseudo_derivative()
        positive, negative = self.factors(psi, self.signal(spikes, local_step))
        self.s_out.send(spikes)
        self.s_out_y1.send(positive)
        self.s_out_y2.send(negative)
        if self.recording is not None:
            self.recording.write(self.time_step, spikes, self.u, self.v)

    @abstractmethod
    def pseudo_derivative(self) -> np.ndarray:
        """Return psi at `decided_at`."""

    @abstractmethod
    def signal(self, spikes: np.ndarray, local_step: int | None) -> np.ndarray:
        """Return L of this step; `local_step` is None while the neurons rest."""

    @abstractmethod
    def factors(self, psi: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is sent on s_out_y1 and s_out_y2."""


class AbstractPyPlasticLIFModelFloat(AbstractPyPlasticLIFModel, AbstractPyResettingLIFModelFloat):
    """psi and the factors in double precision."""

    a_third_factor_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out_y1: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    s_out_y2: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    firing: np.ndarray = LavaPyType(np.ndarray, float)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.factor: RealFactor = proc_params["factor"]

    def pseudo_derivative(self) -> np.ndarray:
        return np.maximum(0, 1 - np.abs(self.decided_at - self.vth) / (self.factor.width * self.vth))

    def factors(self, psi: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        third = self.factor.rate * psi * signal / FACTOR_DECAY
        return np.maximum(third, 0), np.maximum(-third, 0)


@implements(proc=PlasticLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPlasticLIFModelFloat(AbstractPyPlasticLIFModelFloat):
    """Double precision."""

    def signal(self, spikes: np.ndarray, local_step: int | None) -> np.ndarray:
        heard = self.a_third_factor_in.recv()
        if local_step is not None:
            self.firing += 2.0**-RATE_SHIFT * (spikes - self.firing)
        return heard + self.factor.regularizer * (self.firing - self.factor.target_rate)


@implements(proc=PlasticReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPlasticReadoutModelFloat(AbstractPyErrorModelFloat, AbstractPyPlasticLIFModelFloat):
    """Double precision."""

    def signal(self, spikes: np.ndarray, local_step: int | None) -> np.ndarray:
        return self.told(spikes, local_step)


class AbstractPyPlasticLIFModelFixed(AbstractPyPlasticLIFModel, AbstractPyResettingLIFModelFixed):
    """psi and the factors in integers, drawn by a generator that each neuron has to itself."""

    a_third_factor_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out_y1: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    s_out_y2: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    firing: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=12)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.factor: IntegerFactor = proc_params["factor"]

    def pseudo_derivative(self) -> np.ndarray:
        theta = self.threshold()
        near = self.factor.width * theta - np.abs(self.decided_at.astype(np.int64) - theta)
        return np.maximum(0, near) >> self.factor.psi_shift

    def factors(self, psi: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = np.abs(psi * signal) * self.factor.mantissa
        drawn = noise(self.seed, self.time_step - 1, self.index, np.arange(size.size)) & ((1 << self.factor.shift) - 1)
        third = FACTOR_STEP * np.minimum(FACTOR_MOST, (size + drawn) >> self.factor.shift)
        return np.where(signal > 0, third, 0), np.where(signal < 0, third, 0)


@implements(proc=PlasticLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPlasticLIFModelFixed(AbstractPyPlasticLIFModelFixed):
    """Integers, see `IntegerFactor`."""

    def signal(self, spikes: np.ndarray, local_step: int | None) -> np.ndarray:
        heard = self.a_third_factor_in.recv().astype(np.int64)
        if local_step is not None:
            self.firing[:] = decayed(self.firing, FIRING_DECAY) + spikes * FIRING_UNIT
        return heard + ((self.firing - self.factor.target_rate) * self.factor.regularizer >> 12)


@implements(proc=PlasticReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyPlasticReadoutModelFixed(AbstractPyErrorModelFixed, AbstractPyPlasticLIFModelFixed):
    """Integers."""

    def signal(self, spikes: np.ndarray, local_step: int | None) -> np.ndarray:
        return self.told(READOUT_UNIT * spikes.astype(np.int64), local_step)
