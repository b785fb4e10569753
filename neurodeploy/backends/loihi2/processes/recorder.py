"""A sink whose contents are there when the run is over, without a message per element."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.recording import shared_array


class Recorder(AbstractProcess):
    """Keeps what arrives at `a_in`: `data[r]` holds the message of time step `first_step + r`.

    Args:
        shape: of the port.
        steps: rows kept; later messages are received and dropped.
        first_step: time step of row 0, counted from 1 as Lava does.
        dtype: of `data`.

    Attributes:
        data: (step, *shape), shared with the process that runs the model, so it may be read after, and during, a run.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        steps: int,
        first_step: int = 1,
        dtype: type = np.int32,
        name: str | None = None,
    ) -> None:
        data = shared_array((steps, *shape), dtype)
        super().__init__(shape=shape, data=data, first_step=first_step, name=name)
        self.data = data
        self.a_in = InPort(shape=shape)


class AbstractPyRecorderModel(PyLoihiProcessModel):
    """Writes each message into its row."""

    a_in: PyInPort

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.data: np.ndarray = proc_params["data"]
        self.first_step: int = proc_params["first_step"]

    def run_spk(self) -> None:
        message = self.a_in.recv()
        row = self.time_step - self.first_step
        if 0 <= row < len(self.data):
            self.data[row] = message


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyRecorderModelFixed(AbstractPyRecorderModel):
    """Integer messages."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyRecorderModelFloat(AbstractPyRecorderModel):
    """Real values."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
