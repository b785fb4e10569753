"""Models for stock Lava Processes whose arithmetic is Lava's own, unchanged.

Lava selects a model by the Process's class, so these are named in a run configuration's `exception_proc_model_map`.
"""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.type import LavaPyType
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.dense.models import PyLearningDenseModelBitApproximate, PyLearningDenseModelFloat
from lava.proc.lif.models import PyLifResetModelBitAcc

from neurodeploy.backends.loihi2.recording import Recording, write_weights


class PyLifResetModelRecorded(PyLifResetModelBitAcc):
    """Lava's fixed-point LIFReset; after each of its steps, u, v and the spikes it sent are copied into a `Recording`.

    `proc_params["recording"]` is the recording, absent where nothing is to be kept.
    """

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.recording: Recording | None = proc_params.get("recording")
        self.sent: np.ndarray = np.zeros(0, bool)

    def spiking_activation(self) -> np.ndarray:
        self.sent = super().spiking_activation()
        return self.sent

    def run_spk(self) -> None:
        super().run_spk()
        if self.recording is not None:
            self.recording.write(self.time_step, self.sent, self.u, self.v)


class PyConvModelWide(PyConvModelFixed):
    """Lava's fixed-point Conv with its geometry in 64 bits instead of 8.

    With NumPy 2, `128 // np.int8(1)` is an OverflowError, so that the stock model fails on inputs or channels from 128
    on. Only the declared types differ here; `run_spk` is Lava's.
    """

    kernel_size: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=8)
    stride: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=8)
    padding: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=8)
    dilation: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=8)
    groups: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=8)


class PyLearningDenseModelFloatRecorded(PyLearningDenseModelFloat):
    """Lava's LearningDense; after each of its steps, the weights are copied into `proc_params["weight_rows"]`."""

    def run_lrn(self) -> None:
        super().run_lrn()
        rows = self.proc_params.get("weight_rows")
        if rows is not None:
            write_weights(rows, self.time_step, self.weights)


class PyLearningDenseModelFixedRecorded(PyLearningDenseModelBitApproximate):
    """Lava's bit-approximate LearningDense, recorded likewise.

    Lava's own drops the low bit of all weights at its first step; a run that goes on from learned ones keeps it here.
    """

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.weights_set = True

    def run_lrn(self) -> None:
        super().run_lrn()
        rows = self.proc_params.get("weight_rows")
        if rows is not None:
            write_weights(rows, self.time_step, self.weights)
