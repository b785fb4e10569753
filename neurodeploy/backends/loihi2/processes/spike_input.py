"""A source that plays samples into a network, one after the other."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class SpikeInput(AbstractProcess):
    """Sends `samples[j, k]` at time step 1 + start + j period + k, and zeros at every other step.

    Args:
        samples: (sample, step, *neuron), spikes or integer payloads; real values under the floating-point model.
        period: time steps from the start of a sample to the start of the next; at least the steps of a sample.
        start: time steps before the first sample.
    """

    def __init__(
        self, *, samples: np.ndarray, period: int | None = None, start: int = 0, name: str | None = None
    ) -> None:
        period = samples.shape[1] if period is None else period
        if period < samples.shape[1]:
            raise ValueError(f"a period of {period} steps cannot hold samples of {samples.shape[1]}")
        super().__init__(samples=samples, period=period, start=start, name=name)
        self.s_out = OutPort(shape=samples.shape[2:])


class AbstractPySpikeInputModel(PyLoihiProcessModel):
    """Looks up one step of one sample; the samples stay in the memory of the process that built the network."""

    s_out: PyOutPort

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.samples: np.ndarray = proc_params["samples"]
        self.period: int = proc_params["period"]
        self.before: int = proc_params["start"]

    def run_spk(self) -> None:
        sample, step = divmod(self.time_step - 1 - self.before, self.period)
        if 0 <= sample < self.samples.shape[0] and step < self.samples.shape[1]:
            self.s_out.send(self.samples[sample, step])
        else:
            self.s_out.send(np.zeros_like(self.samples[0, 0]))


@implements(proc=SpikeInput, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PySpikeInputModelFixed(AbstractPySpikeInputModel):
    """Integer payloads."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)


@implements(proc=SpikeInput, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PySpikeInputModelFloat(AbstractPySpikeInputModel):
    """Real values."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
