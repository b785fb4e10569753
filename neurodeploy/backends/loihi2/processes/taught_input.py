"""A source that plays samples and says, to what learns from them, which answer is right."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.spike_input import AbstractPySpikeInputModel, SpikeInput


class TaughtInput(SpikeInput):
    """`SpikeInput` with a second port, so that a program that learns has one Process less to wait for in every step.

    Args:
        labels: (sample,), numbers of outputs.
        outputs: how many there are.
        taught_from: time steps before the first label; those of sample j are 1 + taught_from + j period and the rest of
            its period.
        others: as for `SpikeInput`.

    Attributes:
        s_out: OutPort, of the samples' shape.
        t_out: OutPort (output,), 1 for the right output and 0 for the others; all 0 before the first sample and after
            the last.
    """

    def __init__(
        self,
        *,
        samples: np.ndarray,
        labels: np.ndarray,
        outputs: int,
        period: int,
        start: int = 0,
        taught_from: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(samples=samples, period=period, start=start, name=name)
        self.proc_params["targets"] = np.eye(outputs, dtype=np.uint8)[labels]
        self.proc_params["taught_from"] = taught_from
        self.t_out = OutPort(shape=(outputs,))


class AbstractPyTaughtInputModel(AbstractPySpikeInputModel):
    """Looks up one label beside one step of one sample."""

    t_out: PyOutPort

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.targets: np.ndarray = proc_params["targets"]
        self.taught_from: int = proc_params["taught_from"]

    def run_spk(self) -> None:
        super().run_spk()
        sample = (self.time_step - 1 - self.taught_from) // self.period
        taught = 0 <= sample < len(self.targets)
        self.t_out.send(self.targets[sample] if taught else np.zeros_like(self.targets[0]))


@implements(proc=TaughtInput, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyTaughtInputModelFixed(AbstractPyTaughtInputModel):
    """Integer payloads."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    t_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)


@implements(proc=TaughtInput, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyTaughtInputModelFloat(AbstractPyTaughtInputModel):
    """Real values."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    t_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
