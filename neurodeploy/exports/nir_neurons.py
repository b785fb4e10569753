"""A LIF node as NIR's neurons, under the equations and settings of `frontends.nir_neurons`: Euler steps.

    beta, gain            LIF        tau = dt / (1 - beta)           R = gain / (1 - beta)
    beta, alpha, gain     CubaLIF    tau_mem = dt / (1 - beta)       R = 1 / (1 - beta)
                                     tau_syn = dt / (1 - alpha)      w_in = gain / (1 - alpha)
    beta = 1, gain        IF         R = gain / dt
    beta = 0, no reset    Threshold  a membrane that keeps nothing; without a gain
    bias                  LIF, CubaLIF                               v_leak = bias / (1 - beta)
    a value in every step LI, CubaLI or I, with the same numbers

NIR has no finite tau for a state that keeps all of itself beside others that do not: there 1 - beta is the smallest
number that a float64 tells from 0 beside 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.frontends.nir_graph import Record
from neurodeploy.frontends.nir_neurons import SILENT
from neurodeploy.ir.nodes import LIF, Firing, Reset, Shape

LEAST = float(np.finfo(np.float64).eps)
FORGETFUL = (Reset.NONE, Reset.ZERO, Reset.SUBTRACT_AT_ONCE)
"""Resets that mean nothing to a membrane that keeps nothing."""
RESETS = {
    Reset.NONE: "a spike does not reset the membrane",
    Reset.ZERO_NEXT_STEP: "a spike resets in the next step, whose input it drops",
    Reset.SUBTRACT: "a spike subtracts the threshold in its own step",
    Reset.SUBTRACT_NEXT_STEP: "a spike subtracts the threshold in the next step",
    Reset.SUBTRACT_AT_ONCE: "a spike subtracts the threshold at once",
}
FIRINGS = {
    Firing.REACHED: "it fires at the threshold, not only above it",
    Firing.MULTIPLE: "it fires as often in a step as the threshold fits into the membrane",
}


@dataclass(frozen=True, eq=False)
class Neuron:
    """A population as NIR has it.

    Args:
        unsaid: what its NIR node cannot say, each as a sentence.
        rounded: beta, alpha and gain that Euler steps of the node give back only nearly -> the largest difference.
        against: why no NIR node can stand for it, empty if one can.
    """

    record: Record
    unsaid: tuple[str, ...]
    rounded: dict[str, float]
    against: str = ""


def neuron(lif: LIF, shape: Shape, step: float) -> Neuron:
    """Return the NIR node of `lif`.

    Args:
        shape: of its parameters in the file, the population's own or flat.
        step: the duration of a step in the file's unit of time.
    """
    for key, kept in (("beta", lif.beta), ("alpha", lif.alpha)):
        if kept is not None and np.any(kept > 1):
            against = f"{key} is {float(kept.max()):g}: a state that grows by itself has no time constant"
            return Neuron(Record("LIF", {}), (), {}, against)
    if lif.adaptation is not None:
        return Neuron(Record("LIF", {}), (), {}, "its threshold adapts, and no neuron of NIR has such a state")
    if lif.firing.tells_changes:
        return Neuron(Record("LIF", {}), (), {}, "it sends changes of a value, and no neuron of NIR does")
    record = _record(lif, shape, step)
    unsaid = _unsaid(lif) if record.kind != "Threshold" else tuple(FIRINGS[f] for f in [lif.firing] if f in FIRINGS)
    return Neuron(record, unsaid, _rounded(lif, record, step))


def _record(lif: LIF, shape: Shape, step: float) -> Record:
    if lif.firing is Firing.VALUE:
        spiking = _record(replace(lif, firing=Firing.ABOVE, reset=Reset.ZERO_NEXT_STEP), shape, step)
        kind = next(kind for kind, other in SILENT.items() if other == spiking.kind)
        fields = {name: value for name, value in spiking.fields.items() if name not in ("v_threshold", "v_reset")}
        return Record(kind, fields)
    gain = np.array(1.0) if lif.gain is None else lif.gain
    threshold = _spread(lif.threshold, lif, shape)
    led = lif.bias is not None
    if lif.alpha is None and not led and not np.any(lif.beta) and np.all(gain == 1) and lif.reset in FORGETFUL:
        return Record("Threshold", {"threshold": threshold})
    zero = np.zeros(shape)
    if lif.alpha is None and not led and np.all(lif.beta == 1):
        return Record("IF", {"r": _spread(gain / step, lif, shape), "v_threshold": threshold, "v_reset": zero})
    loss = _spread(np.maximum(1 - lif.beta, LEAST), lif, shape)
    leak = zero if lif.bias is None else _spread(lif.bias, lif, shape) / loss
    shared = {"v_leak": leak, "v_threshold": threshold, "v_reset": zero.copy()}
    if lif.alpha is None:
        return Record("LIF", {"tau": step / loss, "r": _spread(gain, lif, shape) / loss, **shared})
    faded = _spread(np.maximum(1 - lif.alpha, LEAST), lif, shape)
    times = {"tau_mem": step / loss, "tau_syn": step / faded}
    return Record("CubaLIF", {**times, "r": 1 / loss, "w_in": _spread(gain, lif, shape) / faded, **shared})


def _spread(values: np.ndarray, lif: LIF, shape: Shape) -> np.ndarray:
    """Return one value for each neuron, the array itself where it is that already."""
    return values if values.shape == shape else np.broadcast_to(values, lif.shape).reshape(shape)


def _unsaid(lif: LIF) -> tuple[str, ...]:
    resets = () if lif.firing is Firing.VALUE else (lif.reset,)
    said = [RESETS[r] for r in resets if r in RESETS] + [FIRINGS[f] for f in [lif.firing] if f in FIRINGS]
    if lif.floor is not None:
        said.append(f"its membrane ends no step below {float(np.min(lif.floor)):g}")
    if lif.grid is not None:
        said.append(f"its source counts in integers, of {lif.grid:g} membrane units each")
    for key, kept in (("beta", lif.beta), ("alpha", lif.alpha)):
        if kept is not None and np.any(kept < 0):
            said.append(
                f"{key} is {float(kept.min()):g}: its time constant is shorter than a step, which turns the sign"
            )
    return tuple(said)


def _rounded(lif: LIF, record: Record, step: float) -> dict[str, float]:
    """Return how far Euler steps of `record` are from what `lif` keeps and gains, where they are."""
    if record.kind == "Threshold":
        return {}
    r, shape = record.array("r"), record.array("r").shape
    pairs = {"gain": (1.0 if lif.gain is None else _spread(lif.gain, lif, shape), r * step)}
    if record.kind not in ("IF", "I"):
        kept = 1 - step / record.array("tau" if record.kind in ("LIF", "LI") else "tau_mem")
        pairs = {"beta": (_spread(lif.beta, lif, shape), kept), "gain": (pairs["gain"][0], (1 - kept) * r)}
    if lif.bias is not None:
        pairs["bias"] = (_spread(lif.bias, lif, shape), (1 - kept) * record.array("v_leak"))
    if lif.alpha is not None:
        kept = 1 - step / record.array("tau_syn")
        pairs["alpha"] = (_spread(lif.alpha, lif, shape), kept)
        pairs["gain"] = (pairs["gain"][0], pairs["gain"][1] * (1 - kept) * record.array("w_in"))
    errors = {key: float(np.max(np.abs(meant - given))) for key, (meant, given) in pairs.items()}
    return {key: error for key, error in errors.items() if error}
