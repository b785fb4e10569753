"""Leaky integrate-and-fire neurons with the resets, firing, floor, per-neuron parameters and pauses stock LIF lacks."""

from __future__ import annotations

from abc import abstractmethod

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

from neurodeploy.backends.loihi2.recording import Recording
from neurodeploy.ir.nodes import Firing, Reset
from neurodeploy.ir.program import DECAY_ONE, STATE_SHIFT


class ResettingLIF(AbstractProcess):
    """LIF neurons as stock `LIF`, with a choice of firing and reset and in samples that start from zero.

        u = u (1 - du) + a_in [+ bias]
        v = v (1 - dv) + u [+ bias]          then the rule of `reset`, in which R is what v(t-1) fires
        s_out = [v > vth]                    or what else `firing` says
        v = max(v, floor)                    with `floor`

        firing "above"         s_out = [v > vth] (what stock LIF does)
        "reached"              s_out = [v >= vth]
        "multiple"             s_out = min(trunc(v / vth), most) where v is positive: graded spikes
        "value"                s_out = v >> payload_shift, from -most to most (in floating point, v): graded spikes
        "delta"                with d = v - told: s_out = d >> payload_shift (in floating point, d) where |d| >= vth,
                               and told = v there; told begins as 0 (what stock Delta does)
        "delta_relu"           the same of max(v, 0) (what stock SigmaDelta does)

        reset "none"           v as it is
        "zero"                 v = 0 where s_out (what stock LIF does)
        "zero_next_step"       v = 0 where R, instead of the update
        "subtract_next_step"   v - R vth: one step late, and not decayed
        "subtract"             w = v - R vth; s_out is what w fires; v = w - (s_out - R) vth
        "subtract_at_once"     v - s_out vth

    Fixed point: parameters mean what they mean for stock LIF (decays are (du + 1) / 4096 and dv / 4096, activations,
    vth and floor are shifted left by 6, bias is bias_mant << bias_exp); rounding, wrapping of u and saturation of v are
    the same.

    Args:
        shape: of the population.
        du, dv, vth, bias_mant: one value, or one per neuron with `shape`.
        bias_exp: exponent of the bias in fixed point.
        bias_in_current: whether the bias enters u instead of v.
        reset: one of the six rules.
        firing: one of the six; "value" and both of "delta" with reset "none" and no floor.
        most: spikes a neuron sends in one step; connections after it take graded spikes where that is more than one.
        floor: at most 0, one value or one per neuron; None for none.
        payload_shift: see firing.
        activation_shift: by how many bits fixed-point activations are shifted left, instead of 6.
        period: time steps from one sample to the next; None for one endless sample.
        first_step: the time step (counted from 1) in which the first sample starts.
        active_steps: steps of a sample; None for `period`.

    At a sample's first step u and v are zeroed before the update. Before `first_step`, and from `active_steps` on until
    the next sample, the neurons are quiet: nothing is updated, u and v are zero, no spike is sent.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        du: float | np.ndarray = 0,
        dv: float | np.ndarray = 0,
        vth: float | np.ndarray = 10,
        bias_mant: float | np.ndarray = 0,
        bias_exp: int = 0,
        bias_in_current: bool = False,
        reset: str = "subtract_next_step",
        firing: str = "above",
        most: int = 1,
        floor: float | np.ndarray | None = None,
        payload_shift: int = 0,
        activation_shift: int = STATE_SHIFT,
        period: int | None = None,
        first_step: int = 1,
        active_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            shape=shape,
            bias_in_current=bias_in_current,
            reset=Reset(reset),
            firing=Firing(firing),
            most=most,
            payload_shift=payload_shift,
            activation_shift=activation_shift,
            floor=None if floor is None else np.broadcast_to(floor, shape),
            period=period,
            first_step=first_step,
            active_steps=period if active_steps is None else active_steps,
            name=name,
        )
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.du = Var(shape=shape, init=np.broadcast_to(du, shape))
        self.dv = Var(shape=shape, init=np.broadcast_to(dv, shape))
        self.vth = Var(shape=shape, init=np.broadcast_to(vth, shape))
        self.bias_mant = Var(shape=shape, init=np.broadcast_to(bias_mant, shape))
        self.bias_exp = Var(shape=(1,), init=bias_exp)


def decayed(state: np.ndarray, decay: int | np.ndarray) -> np.ndarray:
    """Return state (4096 - decay) / 4096, rounded towards zero."""
    magnitude = np.abs(state.astype(np.int64)) * (DECAY_ONE - decay) // DECAY_ONE
    return np.sign(state) * magnitude


class AbstractPySampledModel(PyLoihiProcessModel):
    """The sample schedule: `period`, `first_step` and `active_steps` as of `ResettingLIF`."""

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.period: int | None = proc_params["period"]
        self.first_step: int = proc_params["first_step"]
        self.active_steps: int | None = proc_params["active_steps"]

    def local_step(self) -> int | None:
        """Return the step within the current sample, or None between samples and before the first."""
        since_start = self.time_step - self.first_step
        if since_start < 0:
            return None
        if self.period is None:
            return since_start
        step = since_start % self.period
        return step if self.active_steps is None or step < self.active_steps else None


class AbstractPyResettingLIFModel(AbstractPySampledModel):
    """How neurons fire and what a spike does, which does not depend on the number format."""

    a_in: PyInPort
    s_out: PyOutPort
    u: np.ndarray
    v: np.ndarray
    vth: np.ndarray

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.reset: Reset = proc_params["reset"]
        self.fires: Firing = proc_params["firing"]
        self.most: int = proc_params["most"]
        self.payload_shift: int = proc_params["payload_shift"]
        self.activation_shift: int = proc_params["activation_shift"]
        self.floor: np.ndarray | None = proc_params["floor"]
        self.bias_in_current: bool = proc_params["bias_in_current"]
        self.recording: Recording | None = proc_params.get("recording")
        self.decided_at: np.ndarray = np.zeros(0)
        self.known: np.ndarray = np.zeros((), np.int64)

    def threshold(self) -> np.ndarray:
        """Return the threshold in the unit of v."""
        return self.aligned(self.vth)

    @abstractmethod
    def aligned(self, level: np.ndarray) -> np.ndarray:
        """Return a level, given in the unit of vth, in the unit of v."""

    @abstractmethod
    def value(self) -> np.ndarray:
        """Return the membrane as a graded spike."""

    @abstractmethod
    def message(self, change: np.ndarray) -> np.ndarray:
        """Return a change of the membrane as a graded spike."""

    @abstractmethod
    def saturate(self, v: np.ndarray) -> np.ndarray:
        """Return `v` within the range of the membrane."""

    @abstractmethod
    def integrate(self, activation: np.ndarray) -> np.ndarray:
        """Update u and return the updated v before reset and saturation."""

    def run_spk(self) -> None:
        spikes = self.settle(self.a_in.recv(), self.local_step())
        self.s_out.send(spikes)
        if self.recording is not None:
            self.recording.write(self.time_step, spikes, self.u, self.v)

    def settle(self, activation: np.ndarray, local_step: int | None) -> np.ndarray:
        """Return the spikes of one step of the schedule."""
        if local_step is None or local_step == 0:
            self.u[:] = 0
            self.v[:] = 0
            self.known = np.zeros_like(self.v)
        return np.zeros(self.v.shape, np.int64) if local_step is None else self.step(activation)

    def step(self, activation: np.ndarray) -> np.ndarray:
        """Update u and v, and return the spikes; `decided_at` is v as it was compared with the threshold."""
        theta = self.threshold()
        fired_before = np.zeros(()) if self.fires.tells_changes else self.fired(theta)
        updated = self.integrate(activation)
        if self.reset is Reset.ZERO_NEXT_STEP:
            updated = np.where(fired_before > 0, 0, updated)
        elif self.reset in (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT):
            updated = updated - fired_before * theta
        self.v[:] = self.saturate(updated)
        self.decided_at = self.v.copy()
        spikes = self.tell(theta) if self.fires.tells_changes else self.fired(theta)
        if self.reset is Reset.ZERO:
            self.v[spikes > 0] = 0
        elif self.reset is Reset.SUBTRACT:
            self.v[:] = self.saturate(self.v - (spikes - fired_before) * theta)
        elif self.reset is Reset.SUBTRACT_AT_ONCE:
            self.v[:] = self.saturate(self.v - spikes * theta)
        if self.floor is not None:
            self.v[:] = np.maximum(self.v, self.aligned(self.floor))
        return spikes

    def fired(self, theta: np.ndarray) -> np.ndarray:
        """Return how many spikes the membrane sends at the threshold `theta`, or what payload."""
        if self.fires is Firing.ABOVE:
            return (self.v > theta).astype(np.int64)
        if self.fires is Firing.REACHED:
            return (self.v >= theta).astype(np.int64)
        if self.fires is Firing.VALUE:
            return self.value()
        return np.minimum(np.maximum(self.v, 0) // theta, self.most).astype(np.int64)

    def tell(self, theta: np.ndarray) -> np.ndarray:
        """Return what is sent of the membrane's changes, and keep what was told."""
        value = np.maximum(self.v, 0) if self.fires is Firing.DELTA_RELU else self.v
        change = value - self.known
        sent = np.abs(change) >= theta
        self.known = np.where(sent, value, self.known)
        return np.where(sent, self.message(change), 0)


class AbstractPyResettingLIFModelFloat(AbstractPyResettingLIFModel):
    """Double precision; the membrane is unbounded."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    u: np.ndarray = LavaPyType(np.ndarray, float)
    v: np.ndarray = LavaPyType(np.ndarray, float)
    du: np.ndarray = LavaPyType(np.ndarray, float)
    dv: np.ndarray = LavaPyType(np.ndarray, float)
    vth: np.ndarray = LavaPyType(np.ndarray, float)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, float)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, float)

    def aligned(self, level: np.ndarray) -> np.ndarray:
        return level

    def value(self) -> np.ndarray:
        return self.v.copy()

    def message(self, change: np.ndarray) -> np.ndarray:
        return change

    def saturate(self, v: np.ndarray) -> np.ndarray:
        return v

    def integrate(self, activation: np.ndarray) -> np.ndarray:
        self.u[:] = self.u * (1 - self.du) + activation
        if self.bias_in_current:
            self.u += self.bias_mant
            return self.v * (1 - self.dv) + self.u
        return self.v * (1 - self.dv) + self.u + self.bias_mant


@implements(proc=ResettingLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyResettingLIFModelFloat(AbstractPyResettingLIFModelFloat):
    """In double precision."""


class AbstractPyResettingLIFModelFixed(AbstractPyResettingLIFModel):
    """The integers of stock LIF: 24-bit states, 12-bit decays, vth and activations aligned by 6 bits.

    All sums are formed in int64, so nothing is lost before the wrap of u and the saturation of v.
    """

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    v: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    du: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=12)
    dv: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=12)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=17)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=13)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, np.int64, precision=3)

    STATE_HALF = 1 << 23
    ALIGN_BITS = 6
    DU_OFFSET = 1

    def aligned(self, level: np.ndarray) -> np.ndarray:
        return level.astype(np.int64) << self.ALIGN_BITS

    def value(self) -> np.ndarray:
        return np.clip(self.v >> self.payload_shift, -self.most, self.most)

    def message(self, change: np.ndarray) -> np.ndarray:
        return change >> self.payload_shift

    def saturate(self, v: np.ndarray) -> np.ndarray:
        return np.clip(v, 1 - self.STATE_HALF, self.STATE_HALF - 1)

    def integrate(self, activation: np.ndarray) -> np.ndarray:
        bias = self.bias()
        u = decayed(self.u, self.du + self.DU_OFFSET) + (activation.astype(np.int64) << self.activation_shift)
        if self.bias_in_current:
            u = u + bias
        self.u[:] = self.wrapped(u)
        v = decayed(self.v, self.dv) + self.u
        return v if self.bias_in_current else v + bias

    def bias(self) -> np.ndarray:
        exponent = self.bias_exp.item()
        return self.bias_mant << exponent if exponent >= 0 else self.bias_mant >> -exponent

    def wrapped(self, u: np.ndarray) -> np.ndarray:
        """Return `u` moved once by 2^24 into (-2^23, 2^23], as stock LIF does; farther values stay outside."""
        down = np.where(u > self.STATE_HALF, u - 2 * self.STATE_HALF, u)
        return np.where(down <= -self.STATE_HALF, u + 2 * self.STATE_HALF, down)


@implements(proc=ResettingLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyResettingLIFModelFixed(AbstractPyResettingLIFModelFixed):
    """In the integers of stock LIF."""
