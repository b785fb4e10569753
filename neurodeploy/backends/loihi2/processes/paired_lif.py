"""Neurons that learn by pairs of spikes: features that compete, an output that hears a reward, and who judges it."""

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
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.backends.loihi2.processes.plastic_lif import FACTOR_DECAY
from neurodeploy.backends.loihi2.processes.resetting_lif import (
    AbstractPyResettingLIFModel,
    AbstractPyResettingLIFModelFixed,
    AbstractPyResettingLIFModelFloat,
    ResettingLIF,
)
from neurodeploy.backends.loihi2.recording import write_weights
from neurodeploy.ir.paired import CLEAR, Homeostasis


class CompetingLIF(ResettingLIF):
    """`ResettingLIF` neurons whose threshold follows their own firing, from sample to sample.

        in the first step after a sample's last    theta = max(least, theta + rise s - fall),  s: spikes of the sample

    On Loihi 2 this takes neuron microcode. Connect s_out_bap, which sends what s_out does, to the same port of a
    LearningDense with a two-factor rule.

    Args:
        theta: (neuron,) in the unit of v, fixed point too; `vth` is of no account.
        homeostasis: rise, fall and least, whole numbers for the fixed-point model.
        others: as for `ResettingLIF`.
    """

    def __init__(self, *, shape: tuple[int], theta: np.ndarray, homeostasis: Homeostasis, **neuron: Any) -> None:
        super().__init__(shape=shape, **neuron)
        self.proc_params["homeostasis"] = homeostasis
        self.s_out_bap = OutPort(shape=shape)
        self.theta = Var(shape=shape, init=theta)


class RewardedLIF(ResettingLIF):
    """`ResettingLIF` neurons that pass a reward on to their synapses: the post-synaptic half of reward-modulated STDP.

    s_out_y2, s_out_y3 are the positive and the negative part of a_third_factor_in; s_out_y1 is 1 (fixed point: 64) in
    the first step after a sample's last, when the reward comes, and tells synapses to forget what led to it;
    s_out_bap is s_out.

    Args:
        as for `ResettingLIF`; a_third_factor_in reads what brings the reward, one Dense synapse behind `Judge.r_out`.
    """

    def __init__(self, *, shape: tuple[int], **neuron: Any) -> None:
        super().__init__(shape=shape, **neuron)
        self.a_third_factor_in = InPort(shape=shape)
        self.s_out_bap = OutPort(shape=shape)
        self.s_out_y1 = OutPort(shape=shape)
        self.s_out_y2 = OutPort(shape=shape)
        self.s_out_y3 = OutPort(shape=shape)


class Judge(AbstractProcess):
    """Says whether the neuron that spiked most in a sample was the right one, and to no other neuron anything.

    Args:
        shape: of the population that is judged.
        period: time steps from one sample to the next.
        last_step: the time step (counted from 1) in which the population ends its first sample.
        reward, punishment: what r_out then sends for the deciding neuron; the punishment with a minus.

    Attributes:
        s_in: the spikes. t_in: 1 for the right neuron and 0 for the others. r_out: graded spikes, zero at other times.
        counts: spikes of the sample so far; the first of equals decides.
    """

    def __init__(
        self,
        *,
        shape: tuple[int],
        period: int,
        last_step: int,
        reward: float,
        punishment: float,
        name: str | None = None,
    ) -> None:
        super().__init__(
            shape=shape, period=period, last_step=last_step, reward=reward, punishment=punishment, name=name
        )
        self.s_in = InPort(shape=shape)
        self.t_in = InPort(shape=shape)
        self.r_out = OutPort(shape=shape)
        self.counts = Var(shape=shape, init=0)


def just_ended(neurons: AbstractPyResettingLIFModel) -> bool:
    """Return whether this is the first time step after a sample's last."""
    since_start = neurons.time_step - neurons.first_step
    return since_start > 0 and since_start % neurons.period == neurons.active_steps


class AbstractPyCompetingLIFModel(AbstractPyResettingLIFModel):
    """The order of one step, which does not depend on the number format."""

    s_out_bap: PyOutPort
    theta: np.ndarray

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.homeostasis: Homeostasis = proc_params["homeostasis"]
        self.spent: np.ndarray | int = 0

    def threshold(self) -> np.ndarray:
        return self.theta

    def run_spk(self) -> None:
        spikes = self.settle(self.a_in.recv(), self.local_step())
        if just_ended(self):
            risen = self.theta + self.homeostasis.rise * self.spent - self.homeostasis.fall
            self.theta[:] = np.maximum(self.homeostasis.least, risen)
            self.spent = 0
        self.spent = self.spent + spikes.astype(np.int64)
        self.s_out.send(spikes)
        self.s_out_bap.send(spikes)
        rows = self.proc_params.get("weight_rows")
        if rows is not None:
            write_weights(rows, self.time_step, self.theta[:, None])


@implements(proc=CompetingLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyCompetingLIFModelFloat(AbstractPyCompetingLIFModel, AbstractPyResettingLIFModelFloat):
    """Double precision."""

    s_out_bap: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool)
    theta: np.ndarray = LavaPyType(np.ndarray, float)


@implements(proc=CompetingLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyCompetingLIFModelFixed(AbstractPyCompetingLIFModel, AbstractPyResettingLIFModelFixed):
    """Integers; theta has the 24 bits of a state."""

    s_out_bap: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool, precision=1)
    theta: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=24)


class AbstractPyRewardedLIFModel(AbstractPyResettingLIFModel):
    """The order of one step, which does not depend on the number format."""

    a_third_factor_in: PyInPort
    s_out_bap: PyOutPort
    s_out_y1: PyOutPort
    s_out_y2: PyOutPort
    s_out_y3: PyOutPort

    def run_spk(self) -> None:
        spikes = self.settle(self.a_in.recv(), self.local_step())
        reward = self.a_third_factor_in.recv()
        self.s_out.send(spikes)
        self.s_out_bap.send(spikes)
        for port, factor in zip(
            (self.s_out_y1, self.s_out_y2, self.s_out_y3), self.factors(reward, just_ended(self)), strict=True
        ):
            port.send(factor)
        if self.recording is not None:
            self.recording.write(self.time_step, spikes, self.u, self.v)

    @abstractmethod
    def factors(self, reward: np.ndarray, ends: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is sent on the three ports; `ends` says that a sample is over."""


@implements(proc=RewardedLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyRewardedLIFModelFloat(AbstractPyRewardedLIFModel, AbstractPyResettingLIFModelFloat):
    """Double precision."""

    a_third_factor_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out_bap: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool)
    s_out_y1: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    s_out_y2: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    s_out_y3: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def factors(self, reward: np.ndarray, ends: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sent = reward / FACTOR_DECAY
        return np.full(reward.shape, ends / FACTOR_DECAY), np.maximum(sent, 0), np.maximum(-sent, 0)


@implements(proc=RewardedLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyRewardedLIFModelFixed(AbstractPyRewardedLIFModel, AbstractPyResettingLIFModelFixed):
    """Integers of seven bits."""

    a_third_factor_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=8)
    s_out_bap: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool, precision=1)
    s_out_y1: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    s_out_y2: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    s_out_y3: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)

    def factors(self, reward: np.ndarray, ends: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.full(reward.shape, CLEAR * ends), np.maximum(reward, 0), np.maximum(-reward, 0)


class AbstractPyJudgeModel(PyLoihiProcessModel):
    """Counts, and decides when a sample ends."""

    s_in: PyInPort
    t_in: PyInPort
    r_out: PyOutPort
    counts: np.ndarray
    reward_type: type

    def run_spk(self) -> None:
        self.counts += self.s_in.recv().astype(np.int64)
        target = self.t_in.recv()
        answer: np.ndarray = np.zeros(self.counts.shape, self.reward_type)
        since = self.time_step - self.proc_params["last_step"]
        if since >= 0 and since % self.proc_params["period"] == 0:
            winner = int(self.counts.argmax())
            right = target[winner] > 0
            answer[winner] = self.proc_params["reward"] if right else -self.proc_params["punishment"]
            self.counts[:] = 0
        self.r_out.send(answer)


@implements(proc=Judge, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyJudgeModelFloat(AbstractPyJudgeModel):
    """Rewards in double precision."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    r_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    counts: np.ndarray = LavaPyType(np.ndarray, np.int64)
    reward_type = float


@implements(proc=Judge, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_approximate_loihi")
class PyJudgeModelFixed(AbstractPyJudgeModel):
    """Rewards as integers of seven bits and a sign."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    r_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    counts: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=16)
    reward_type = np.int32
