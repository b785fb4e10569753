"""Cells that PyNN's Brian2 backend lacks: subtraction in the next step, and synaptic currents without a pole.

They take the parameters of PyNN's IF_curr_delta and IF_curr_exp. Brian2's own integrator divides by tau_m - tau_syn;
these advance the same equation by its exact solution over a step, in which that difference is harmless:

    v <- exp(-dt/tau_m) v + (ie + ii) dt/cm exp(-dt/tau_m) exprel(dt/tau_m - dt/tau_syn)       exprel(x) = (e^x - 1) / x

The reset rule is a second statement before the threshold is tested: `held` drops one step, `owed` is subtracted. The
factors are computed once, and rounded to so many bits that those of a compiled program are exactly its own.
"""

from __future__ import annotations

from typing import Any

import brian2
import numpy as np
from pyNN.brian2 import IF_curr_delta, IF_curr_exp, simulator
from pyNN.brian2.cells import BaseNeuronGroup

BITS = 45
"""More than the 32 that a decay has at most, fewer than rounding reaches."""
PARAMETERS = """
    v : volt
    v_rest : volt
    v_reset : volt (constant)
    v_thresh : volt (constant)
    tau_m : second
    c_m : farad
    i_offset : amp
    i_inj : amp
    held : 1
    owed : volt
    keeps : 1
"""
DELTA = brian2.Equations(PARAMETERS)
CURRENTS = """
    ie : amp
    ii : amp
    i_seen : amp
    tau_syn_e : second
    tau_syn_i : second
    e_keeps : 1
    i_keeps : 1
    gain : ohm
"""
EXP = brian2.Equations(PARAMETERS + CURRENTS)
DECAY = "v = keeps*v"
CURRENT = """
    i_seen = ie + ii
    v = keeps*v + gain*i_seen
    ie = e_keeps*ie
    ii = i_keeps*ii
"""
HOLD = "v = (1 - held)*v\nheld = 0"
SUBTRACT = "v = v - owed\nowed = 0*volt"


def rounded(values: np.ndarray) -> np.ndarray:
    """Return the values to `BITS` significant bits."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(fraction, BITS)), exponent - BITS)


class _Group(BaseNeuronGroup):
    """Neurons that advance by `update` and are settled by `rule` once everything has arrived."""

    update = DECAY
    rule = ""
    reset = "v = v_reset"

    def __init__(self, n: int, equations: brian2.Equations, **parameters: Any) -> None:
        super().__init__(n, equations, "v > v_thresh", reset=self.reset, **parameters)
        clock = simulator.state.network.clock
        leak = clock.dt_ / np.asarray(self.tau_m_)
        self.keeps_ = rounded(np.exp(-leak))
        if "ie" in self.variables:
            forgets = clock.dt_ / np.asarray(self.tau_syn_e_)
            spread = brian2.exprel(leak - forgets)
            self.e_keeps_ = rounded(np.exp(-forgets))
            self.i_keeps_ = rounded(np.exp(-clock.dt_ / np.asarray(self.tau_syn_i_)))
            self.gain_ = rounded(clock.dt_ / np.asarray(self.c_m_) * np.exp(-leak) * spread)
        self.run_regularly(self.update, clock=clock, when="groups")
        if self.rule:
            self.run_regularly(self.rule, clock=clock, when="before_thresholds")


class _SubtractingDeltaGroup(_Group):
    rule, reset = SUBTRACT, "owed = v_reset"


class _ResettingExpGroup(_Group):
    update = CURRENT


class _ResettingNextStepExpGroup(_Group):
    update, rule, reset = CURRENT, HOLD, "held = 1"


class _SubtractingExpGroup(_Group):
    update, rule, reset = CURRENT, SUBTRACT, "owed = v_reset"


class SubtractingDelta(IF_curr_delta):
    """v(t) = beta v(t-1) + w(t) - [spike before] v_reset."""

    eqs, brian2_model = DELTA, _SubtractingDeltaGroup


class ResettingExp(IF_curr_exp):
    """IF_curr_exp whose membrane is set to v_reset in the step of its spike."""

    eqs, brian2_model = EXP, _ResettingExpGroup


class ResettingNextStepExp(IF_curr_exp):
    """IF_curr_exp whose membrane is 0 in the step after its spike, whatever arrives."""

    eqs, brian2_model = EXP, _ResettingNextStepExpGroup


class SubtractingExp(IF_curr_exp):
    """IF_curr_exp whose membrane loses v_reset in the step after its spike."""

    eqs, brian2_model = EXP, _SubtractingExpGroup
