"""NIR's spiking neurons to LIF nodes, one step of their equations at a time.

With k(tau) what a step keeps of a state: 1 - dt / tau (Euler), or exp(-dt / tau):

    LIF       tau v' = v_leak - v + R x              v(t) = k(tau) v(t-1) + (1 - k(tau)) (v_leak + R x(t))
    CubaLIF   tau_syn I' = -I + w_in x               I(t) = k(tau_syn) I(t-1) + (1 - k(tau_syn)) w_in x(t)
              tau_mem v' = v_leak - v + R I          v(t) = k(tau_mem) v(t-1) + (1 - k(tau_mem)) (v_leak + R I(t))
    IF        v' = R x                               v(t) = v(t-1) + dt R x(t)
    Threshold                                        s(t) = [x(t) > threshold], a membrane that keeps nothing
    LI, CubaLI, I                                    the same without a threshold: s(t) = v(t), sent in every step

`ir.nodes.LIF` starts at 0 and resets to 0, so v is counted from v_reset, with threshold v_threshold - v_reset; the leak
is then a bias of the input, divided by the gain, or the neuron's own where a synaptic current would filter it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import Finding
from neurodeploy.frontends.nir_graph import Record
from neurodeploy.frontends.nir_semantics import Discretization, Floor, Gain, Reading, Start
from neurodeploy.ir.nodes import LIF, Firing, Reset, Shape

SILENT = {"LI": "LIF", "CubaLI": "CubaLIF", "I": "IF"}
"""What never spikes, and the spiking neuron of the same equation."""
HARD = (Reset.ZERO, Reset.ZERO_NEXT_STEP)
SUBTRACTING = (Reset.SUBTRACT, Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT_AT_ONCE)


@dataclass(frozen=True, eq=False)
class Neurons:
    """What one NIR neuron becomes: its LIF, the bias that its input needs, or what stands against it."""

    lif: LIF | None = None
    bias: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()


def neurons(record: Record, shape: Shape, reading: Reading, place: str) -> Neurons:
    """Return the LIF that computes a record of a kind in `nir_loops.POPULATIONS` under `reading`.

    Args:
        record: with every parameter in `shape`; times in seconds, or in steps where the reading counts so.
    """
    if record.kind == "Threshold":
        return Neurons(LIF(shape, np.array(0.0), record.array("threshold"), Reset.NONE))
    if record.kind in SILENT:
        return _integrators(record, shape, reading, place)
    semantics = reading.semantics
    findings = _unfit_times(record, reading, place)
    origin = _origin(record, shape, reading)
    findings += _unfit_voltages(record, origin, reading, place)
    if findings:
        return Neurons(findings=tuple(findings))
    beta, alpha, gain = np.ones(shape), None, record.array("r") * reading.step
    if record.kind != "IF":
        beta = kept(record.array("tau" if record.kind == "LIF" else "tau_mem"), reading)
        gain = (1 - beta) * record.array("r")
    if record.kind == "CubaLIF":
        alpha = kept(record.array("tau_syn"), reading)
        gain = gain if semantics.gain is Gain.MEMBRANE else gain * (1 - alpha) * record.fields.get("w_in", 1.0)
    unit = semantics.gain in (Gain.UNIT, Gain.DECAYED)
    if semantics.gain is Gain.DECAYED and alpha is not None:
        unit, gain = False, alpha
    drift = np.zeros(shape) if record.kind == "IF" else (1 - beta) * (record.array("v_leak") - origin)
    entering, own = None, None
    if np.any(drift) and (alpha is not None or (not unit and np.any(gain == 0))):
        own = drift
    elif np.any(drift):
        entering = drift if unit else drift / gain
    threshold, floor = record.array("v_threshold") - origin, _floor(record, origin, reading)
    lif = LIF(shape, beta, threshold, semantics.reset, alpha, None if unit else gain)
    return Neurons(replace(lif, firing=semantics.firing, floor=floor, bias=own), entering)


def _integrators(record: Record, shape: Shape, reading: Reading, place: str) -> Neurons:
    """Return what spiking neurons of the same equations are, but for the threshold and what follows from one."""
    spiking = Record(SILENT[record.kind], {**record.fields, "v_threshold": np.ones(shape)})
    semantics = replace(reading.semantics, reset=Reset.NONE, firing=Firing.ABOVE, floor=Floor.NONE)
    found = neurons(spiking, shape, replace(reading, semantics=semantics), place)
    if found.lif is None:
        return found
    return replace(found, lif=replace(found.lif, threshold=np.array(1.0), firing=Firing.VALUE))


def kept(tau: np.ndarray, reading: Reading) -> np.ndarray:
    """Return what a step keeps of a state with time constants `tau`."""
    if reading.semantics.discretization is Discretization.EXPONENTIAL:
        return np.exp(-reading.step / tau)
    return 1 - reading.step / tau


def _floor(record: Record, origin: np.ndarray, reading: Reading) -> np.ndarray | None:
    """Return the lowest membrane, counted from `origin`, or None."""
    match reading.semantics.floor:
        case Floor.NONE:
            return None
        case Floor.THRESHOLD:
            return -record.array("v_threshold") - origin
        case depth:
            return depth - origin


def _origin(record: Record, shape: Shape, reading: Reading) -> np.ndarray:
    """Return the voltage that is counted as 0: v_reset where spikes set it, otherwise 0."""
    if reading.semantics.reset in HARD and "v_reset" in record.fields:
        return record.array("v_reset")
    return np.zeros(shape)


def _unfit_times(record: Record, reading: Reading, place: str) -> list[Finding]:
    """Say which time constants have no step, or none of this length."""
    findings = []
    for key in record.fields:
        if not key.startswith("tau"):
            continue
        shortest = float(record.array(key).min())
        if not shortest > 0:
            what, why = f"{key} is {shortest:g}", "a time constant is positive: the state would grow without end"
            findings.append(Finding("ND039", place, what, why, "write the time constants in seconds"))
        elif reading.semantics.discretization is Discretization.EULER and shortest < reading.step:
            what = f"{key} is {shortest:g} s, shorter than a step of {reading.step:g} s"
            why = "an Euler step would overshoot and turn the sign of the state"
            fix = "state a shorter step with --dt, or --semantics discretization=exponential"
            findings.append(Finding("ND039", place, what, why, fix))
    return findings


def _unfit_voltages(record: Record, origin: np.ndarray, reading: Reading, place: str) -> list[Finding]:
    """Say which voltages cannot be counted from one origin."""
    semantics, findings = reading.semantics, []
    key = {Start.ZERO: "", Start.LEAK: "v_leak", Start.RESET: "v_reset"}[semantics.start]
    if not np.array_equal(np.broadcast_to(record.fields.get(key, 0.0), origin.shape), origin):
        what = f"v starts at {semantics.start} and a spike sets it to {_span(origin)}"
        why = "a membrane here starts where a spike leaves it"
        fix = "use --semantics start=reset if the difference at the start does not matter to you"
        findings.append(Finding("ND042", place, what, why, fix))
    if semantics.reset in SUBTRACTING and np.any(record.fields.get("v_reset", 0.0)):
        what = f"v_reset is {_span(record.array('v_reset'))} and the reset subtracts the threshold"
        why = "a spike does one of the two"
        findings.append(Finding("ND042", place, what, why, "use --semantics reset=zero, which sets v to v_reset"))
    threshold = record.array("v_threshold") - origin
    if np.any(threshold < 0):
        what = f"the threshold lies {-float(threshold.min()):g} below what a spike leaves"
        why = "a neuron at rest would already be above it"
        findings.append(Finding("ND042", place, what, why, "use thresholds of at least v_reset"))
    if semantics.firing is Firing.MULTIPLE and np.any(threshold <= 0):
        what, why = f"the threshold is {_span(threshold)}", "it fits any membrane without end: that many spikes"
        findings.append(Finding("ND042", place, what, why, "use --semantics firing=above, or positive thresholds"))
    floor = _floor(record, origin, reading)
    if floor is not None and np.any(floor > 0):
        what = f"a floor of {_span(floor + origin)} lies above {_span(origin)}, where the neuron starts"
        why = "no step may leave the membrane below, and the first has it there already"
        findings.append(Finding("ND042", place, what, why, "use a floor of at most v_reset"))
    return findings


def _span(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
