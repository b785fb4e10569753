"""Leaky units that never spike and say how far they are from a target: a hidden layer's own read-out, as in DECOLLE."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.resetting_lif import AbstractPySampledModel, decayed
from neurodeploy.ir.onchip import ERROR_ONE, READOUT_SHIFT, IntegerReadout, RealReadout


class LocalReadout(AbstractProcess):
    """A read-out of one layer's spikes, a unit per class, that tells this layer its error.

        y = kappa y + a_in                                zero at the first step of a sample
        err_out = clip(y / goal - t_in, -1, 1)            zero between samples

    With G (class, neuron) fixed and random, two stock Dense connect it with the `PlasticLIF` neurons it belongs to,
    which so learn by DECOLLE:

        reading, back = Dense(weights=G), Dense(weights=G.T, num_message_bits=8)
        neurons.s_out.connect(reading.s_in)
        reading.a_out.connect(readout.a_in)
        readout.err_out.connect(back.s_in)
        back.a_out.connect(neurons.a_third_factor_in)

    Args:
        shape: (class,).
        readout: a RealReadout for the floating-point model, an IntegerReadout for the fixed-point one.
        period, first_step, active_steps: as for `ResettingLIF`; first_step is one more than that of the neurons.

    Attributes:
        a_in: InPort (class,), what arrives from the neurons.
        t_in: InPort (class,), in every step of a sample 1 for the right class and 0 for the others.
        err_out: OutPort (class,), as of `PlasticReadout`.
        y: Var (class,), filtered sums, in their unit.
    """

    def __init__(
        self,
        *,
        shape: tuple[int],
        readout: RealReadout | IntegerReadout,
        period: int | None = None,
        first_step: int = 1,
        active_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            shape=shape,
            readout=readout,
            period=period,
            first_step=first_step,
            active_steps=period if active_steps is None else active_steps,
            name=name,
        )
        self.a_in = InPort(shape=shape)
        self.t_in = InPort(shape=shape)
        self.err_out = OutPort(shape=shape)
        self.y = Var(shape=shape, init=0)


class AbstractPyErrorModel(AbstractPySampledModel):
    """What compares filtered spikes with a target and sends its error, whatever else it does."""

    t_in: PyInPort
    err_out: PyOutPort
    y: np.ndarray

    def told(self, arriving: np.ndarray, local_step: int | None) -> np.ndarray:
        """Return the error of this step, which is sent; `local_step` is None between samples."""
        target = self.t_in.recv()
        if local_step is None:
            self.y[:] = 0
            error = np.zeros_like(self.y)
        else:
            self.y[:] = self.kept(np.zeros_like(self.y) if local_step == 0 else self.y) + arriving
            error = self.missed(target)
        self.err_out.send(error)
        return error

    @abstractmethod
    def kept(self, y: np.ndarray) -> np.ndarray:
        """Return what is left of y after a step."""

    @abstractmethod
    def missed(self, target: np.ndarray) -> np.ndarray:
        """Return how far y is from the target."""


class AbstractPyErrorModelFloat(AbstractPyErrorModel):
    """The error in double precision, see `RealReadout`."""

    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    err_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    y: np.ndarray = LavaPyType(np.ndarray, float)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.readout: RealReadout = proc_params["readout"]

    def kept(self, y: np.ndarray) -> np.ndarray:
        return self.readout.kappa * y

    def missed(self, target: np.ndarray) -> np.ndarray:
        return np.clip(self.y / self.readout.goal - target, -1, 1)


class AbstractPyErrorModelFixed(AbstractPyErrorModel):
    """The error in integers, see `IntegerReadout`."""

    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    err_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    y: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=24)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.readout: IntegerReadout = proc_params["readout"]

    def kept(self, y: np.ndarray) -> np.ndarray:
        return decayed(y, self.readout.decay)

    def missed(self, target: np.ndarray) -> np.ndarray:
        reached = (self.y * self.readout.mantissa) >> READOUT_SHIFT
        return np.clip(reached - ERROR_ONE * target.astype(np.int64), -ERROR_ONE, ERROR_ONE)


@implements(proc=LocalReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyLocalReadoutModelFloat(AbstractPyErrorModelFloat):
    """Double precision."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        self.told(self.a_in.recv(), self.local_step())


@implements(proc=LocalReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyLocalReadoutModelFixed(AbstractPyErrorModelFixed):
    """Integers."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self) -> None:
        self.told(self.a_in.recv(), self.local_step())
