"""The chip's own cells: which of sPyNNaker's neuron models computes a population, and with what parameters.

sPyNNaker is told time constants in s16.15 and works the decays out itself. A weight moves the membrane by itself where

    cm = tau_m (1 - beta)                                without a synaptic current
    cm = tau_m (1 - beta) tau_syn (1 - alpha)            with one: the chip averages a current over its step

and it fires at v >= v_thresh, so v_thresh is one unit of s16.15 above theta. One step is 1 ms.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import S1615, U032, Cell

CELLS = {
    (False, Reset.ZERO): ("IF_curr_delta", 0),
    (False, Reset.ZERO_NEXT_STEP): ("IF_curr_delta", 1),
    (True, Reset.ZERO): ("IF_curr_exp", 0),
    (True, Reset.ZERO_NEXT_STEP): ("IF_curr_exp", 1),
}
"""(has a synaptic current, reset) -> the model and its refractory steps; what is not here the chip does not have."""
DECAY_MIN = 1e-30
"""A smaller decay is told as this one, whose time constant is finite: it leaves nothing that s16.15 could hold."""
SHIFT_MIN = 15
"""The weight scale is 2^(15 - shift) for what sPyNNaker expects to be summed, below 2^shift mV."""


def parameters(cell: Cell) -> dict[str, np.ndarray]:
    """Return what sPyNNaker is told about a population's cells, float64, () or (neuron,), in ms, nF and mV."""
    beta = np.maximum(cell.beta / S1615, DECAY_MIN)
    tau_m = -1 / np.log(beta)
    _, refractory = CELLS[cell.alpha is not None, cell.reset]
    told = {
        "tau_m": tau_m,
        "cm": tau_m * (1 - beta),
        "v_thresh": (cell.theta + 1) / S1615,
        "tau_refrac": np.array(float(refractory)),
    }
    if cell.alpha is not None:
        alpha = np.maximum(cell.alpha / U032, DECAY_MIN)
        tau_syn = -1 / np.log(alpha)
        told |= {"cm": told["cm"] * tau_syn * (1 - alpha), "tau_syn_E": tau_syn, "tau_syn_I": tau_syn}
    return told


def expected_sums(cell: Cell) -> list[float]:
    """Return `max_expected_summed_weight`, excitatory and inhibitory, from which sPyNNaker gets the cell's exponents.

    It takes the smallest shift with sum < 2^shift and a weight scale of 2^(15 - shift); three quarters of 2^shift is
    clear of both ends.
    """
    return [0.75 * 2.0 ** (SHIFT_MIN + exponent) for exponent in cell.exponents]
