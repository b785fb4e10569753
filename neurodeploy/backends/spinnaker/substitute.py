"""Resets that the machine does not have, put in the place of others where the user accepts it, and what that costs.

sPyNNaker's cells are set to a voltage by a spike. Where ND235 is allowed, a threshold that would be subtracted becomes
a reset to zero: with a synaptic current in the next step, as snnTorch's Synaptic does it, otherwise at once, as its
Leaky fires; at once too where it was subtracted at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from neurodeploy.engine.real import run_real
from neurodeploy.errors import Change, Deviation
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Reset

CODE = "ND235"
SUBTRACTING = (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT_AT_ONCE)
LATE = Reset.ZERO_NEXT_STEP


def substitute(network: Network, allow: Collection[str], inputs: np.ndarray | None) -> Network:
    """Return the lowered `network` with what the user allows to differ, each substitution recorded with its cost.

    Args:
        allow: codes.
        inputs: calibration data (step, sample, *input shape) on which both networks are run, or None.
    """
    subtracting = {name: node for name, node in network.populations.items() if node.reset in SUBTRACTING}
    if CODE not in allow or not subtracting:
        return network
    changed = {
        name: replace(node, reset=Reset.ZERO if node.alpha is None or node.reset is Reset.SUBTRACT_AT_ONCE else LATE)
        for name, node in subtracting.items()
    }
    other = replace(network, nodes={**network.nodes, **changed})
    costs = dict.fromkeys(changed, "what it costs was not measured: compile with --calibration")
    if inputs is not None:
        before, after = (run_real(each, inputs)[0].spikes for each in (network, other))
        for name in changed:
            fired, differ = int(before[name].sum(dtype=np.int64)), int(np.count_nonzero(before[name] != after[name]))
            costs[name] = f"{differ:,} places differ where {fired:,} spikes were, on {inputs.shape[1]} samples"
    deviations = [
        Deviation(CODE, network.place(name), f"reset to zero in place of subtraction; {cost}", Change.SUBSTITUTION)
        for name, cost in costs.items()
    ]
    return replace(other, deviations=(*network.deviations, *deviations))
