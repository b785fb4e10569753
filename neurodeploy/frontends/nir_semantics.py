"""What a NIR file leaves open, as named settings, and what a few writers are known to mean.

NIR states differential equations. It says neither how long a step is nor how the equations become steps, when a reset
acts, whether a neuron may fire several times in a step, how deep it may sink, or where it starts. Each of these is a
setting here, with the reading closest to NIR's own text as its default. A setting is stated by the user, or known of
the writer that a file gives away, or the default, and then the choice is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

import numpy as np

from neurodeploy.errors import Change, Deviation, Finding, LoadError, UsageError, raise_all
from neurodeploy.frontends.nir_graph import NEURONS, Graph, Record
from neurodeploy.ir.nodes import Firing, Reset

READ = "ND040"


class Discretization(StrEnum):
    """How a time constant becomes the fraction of a state that one step keeps."""

    EULER = "euler"
    """1 - dt / tau"""
    EXPONENTIAL = "exponential"
    """exp(-dt / tau): exact for input that is constant during a step"""


class Gain(StrEnum):
    """By how much a state rises per unit of input in one step."""

    EQUATION = "equation"
    """As the equation says: R (1 - what is kept), w_in (1 - what is kept) of a synaptic current, and R dt of an IF."""
    UNIT = "unit"
    """1, whatever R and w_in are."""
    DECAYED = "decayed"
    """1, and what enters a synaptic current decays in that step already: Rockpool's CubaLIF."""
    MEMBRANE = "membrane"
    """As the equation says, but a synaptic current rises by its input itself: Norse's LIF."""


class Current(StrEnum):
    """Which synaptic current a membrane reads."""

    SAME_STEP = "same_step"
    """I(t), as snnTorch's Synaptic"""
    STEP_BEFORE = "step_before"
    """I(t-1), as the NIR paper's reference for CubaLIF"""


class Floor(StrEnum):
    """Below which no membrane is left after a step; a number says how deep that is in the unit of v_threshold."""

    NONE = "none"
    THRESHOLD = "minus_threshold"
    """-v_threshold, as sinabs reads IF"""


class Start(StrEnum):
    """The membrane before the first step."""

    ZERO = "zero"
    LEAK = "leak"
    """v_leak, where the neuron rests without input"""
    RESET = "reset"
    """v_reset, where a spike leaves it"""


@dataclass(frozen=True)
class Semantics:
    """How a NIR graph is read; see the classes of the fields, and `ir.nodes` for the resets and firings."""

    discretization: Discretization = Discretization.EULER
    gain: Gain = Gain.EQUATION
    reset: Reset = Reset.ZERO
    firing: Firing = Firing.ABOVE
    floor: Floor | float = Floor.NONE
    current: Current = Current.SAME_STEP
    start: Start = Start.ZERO


Setting = StrEnum | float

CHOICES: dict[str, tuple[StrEnum, ...]] = {
    "discretization": tuple(Discretization),
    "gain": tuple(Gain),
    "reset": tuple(Reset),
    "firing": (Firing.ABOVE, Firing.REACHED, Firing.MULTIPLE),
    "floor": tuple(Floor),
    "current": tuple(Current),
    "start": tuple(Start),
}
MATTERS = {
    "discretization": "NIR states differential equations, not steps",
    "gain": "it follows from the equation",
    "reset": "NIR sets v to v_reset; whether at once or in the next step, or by subtraction, it cannot say",
    "firing": "NIR does not say whether a neuron may fire several times in a step",
    "floor": "NIR does not say whether anything keeps the membrane from sinking",
    "current": "NIR does not say whether the membrane reads the current of this step or of the step before",
    "start": "NIR does not say where a neuron starts",
}


@dataclass(frozen=True)
class Convention:
    """What a writer is known to put into its files.

    Args:
        writer: who writes so.
        dt_s: the step it assumes, or None where time is counted in steps.
        known: settings that follow.
        why: by what the file was recognized.
    """

    writer: str
    dt_s: float | None
    known: dict[str, StrEnum]
    why: str


STYLES: dict[str, dict[str, Setting]] = {
    "sinabs": {"reset": Reset.SUBTRACT_AT_ONCE, "firing": Firing.MULTIPLE, "floor": Floor.THRESHOLD},
    "Norse": {"reset": Reset.ZERO, "firing": Firing.ABOVE, "floor": Floor.NONE},
    "Spyx": {"reset": Reset.SUBTRACT_NEXT_STEP, "firing": Firing.ABOVE, "floor": Floor.NONE},
    "snnTorch": {"reset": Reset.SUBTRACT_NEXT_STEP, "firing": Firing.ABOVE, "floor": Floor.NONE},
    "SpikingJelly": {"reset": Reset.ZERO, "firing": Firing.REACHED, "floor": Floor.NONE},
    "Rockpool": {"reset": Reset.SUBTRACT_AT_ONCE, "firing": Firing.MULTIPLE, "floor": Floor.NONE},
}
"""What neurons of each writer do when nobody chooses otherwise, by its name in `Convention.writer`.

sinabs: what its from_nir makes of IF. Others: their neurons' defaults.
"""


@dataclass(frozen=True)
class Reading:
    """All that is needed to read a graph: its step (perhaps the unit of time), its settings, and what was chosen."""

    step: float
    dt_s: float | None
    semantics: Semantics
    deviations: tuple[Deviation, ...]


def stated(options: Mapping[str, str]) -> dict[str, Setting]:
    """Return settings given as words.

    Raises:
        UsageError: ND043 for a name or a value that does not exist, and for two that exclude each other.
    """
    findings, settings = [], dict[str, Setting]()
    for name, value in options.items():
        choices = CHOICES.get(name)
        depth = _depth(value) if name == "floor" else None
        if choices is None:
            why = f"settings are {', '.join(CHOICES)}"
            findings.append(Finding("ND043", name, "no such setting of the reader", why, "use one of these"))
        elif depth is not None:
            settings[name] = depth
        elif value not in choices:
            why = f"it is one of {', '.join(choices)}" + (", or a number of at most 0" if name == "floor" else "")
            findings.append(Finding("ND043", f"{name}={value}", "no such value", why, "use one of these"))
        else:
            settings[name] = choices[choices.index(value)]  # type: ignore[arg-type]
    if settings.get("reset") is Reset.SUBTRACT and settings.get("firing", Firing.ABOVE) is not Firing.ABOVE:
        what, why = (
            "two settings that exclude each other",
            "that reset is of neurons that fire once, above the threshold",
        )
        place = f"reset=subtract, firing={settings['firing']}"
        findings.append(Finding("ND043", place, what, why, "use reset=subtract_at_once"))
    raise_all(UsageError, findings)
    return settings


def _depth(value: str) -> float | None:
    """Return a floor given as a number, or None."""
    try:
        depth = float(value)
    except ValueError:
        return None
    return depth if -float("inf") < depth <= 0 else None


def read_as(graph: Graph, dt: float | None, options: Mapping[str, str]) -> Reading:
    """Return how `graph` is read: what the user states goes first, then what is known of its writer, then defaults.

    Args:
        dt: seconds per step as the user states it, or None.
        options: name -> value of settings the user states.

    Raises:
        LoadError: ND038 when nothing says how long a step is.
        UsageError: ND043 for settings that do not exist, ND028 when dt is no time.
    """
    settings = stated(options)
    if dt is not None and not (isinstance(dt, int | float) and 0 < dt < float("inf")):
        raise UsageError(Finding("ND028", graph.file, f"dt is {dt!r}", "a step lasts a positive time", "change dt"))
    convention = convention_at(graph, dt)
    if dt is None and convention is None and timed(graph):
        raise LoadError(_no_step(graph))
    known: dict[str, Setting] = {} if convention is None else {**convention.known}
    semantics = replace(Semantics(), **(known | settings))  # type: ignore[arg-type]
    deviations = []
    if convention is not None:
        told = "time counted in steps" if convention.dt_s is None else f"dt = {convention.dt_s:g} s"
        told += "".join(f", {name} = {value}" for name, value in known.items() if name not in settings)
        deviations.append(Deviation(READ, graph.file, f"{told}: {convention.why}", Change.READING))
    for name in left_open(graph):
        if name not in settings and name not in known:
            what = f"{name} = {getattr(semantics, name)}: {MATTERS[name]} (--semantics {name}=...)"
            deviations.append(Deviation(READ, graph.file, what, Change.READING))
    dt_s = dt if dt is not None else convention.dt_s if convention is not None else None
    return Reading(1.0 if dt_s is None else dt_s, dt_s, semantics, tuple(deviations))


def convention_at(graph: Graph, dt: float | None) -> Convention | None:
    """Return the recognized writer's convention, unless the user states another step than it has."""
    convention = recognized(graph)
    if convention is not None and dt is not None and convention.dt_s not in (None, dt):
        return None
    return convention


def timed(graph: Graph) -> bool:
    """Whether anything in a graph depends on how long a step is."""
    return any(graph.nodes[name].kind != "Threshold" for name in graph.of_kind(*NEURONS, "Delay"))


def left_open(graph: Graph) -> list[str]:
    """Return the settings that make a difference to a graph."""
    neurons = [graph.nodes[name] for name in graph.of_kind("LIF", "CubaLIF", "IF")]
    silent = [graph.nodes[name] for name in graph.of_kind("LI", "CubaLI", "I")]
    leaky = any(record.kind not in ("IF", "I") for record in (*neurons, *silent))
    voltages = ("v_leak", "v_reset")
    moved = any(np.any(record.fields.get(key, 0.0)) for record in (*neurons, *silent) for key in voltages)
    matters = {"discretization": leaky, "start": moved}
    matters |= dict.fromkeys(("reset", "firing", "floor"), bool(neurons))
    matters["current"] = any(record.kind in ("CubaLIF", "CubaLI") for record in (*neurons, *silent))
    return [field.name for field in fields(Semantics) if matters.get(field.name)]


def _no_step(graph: Graph) -> Finding:
    taus = [
        graph.nodes[name].array(key)
        for name in graph.nodes
        for key in graph.nodes[name].fields
        if key.startswith("tau")
    ]
    shortest = min((float(tau.min()) for tau in taus if tau.size), default=None)
    beyond = "" if shortest is None else f"; its shortest time constant is {shortest:g} s"
    why = f"NIR states equations in time, and no writer's convention fits its numbers{beyond}"
    return Finding("ND038", graph.file, "the file does not say how long a step is", why, "state it: --dt SECONDS")


# Writers

STEP_S = 1e-4
"""The step of snnTorch's and SpikingJelly's exporters."""
SAME = 1e-5
"""Relative: what float32 makes of such ratios."""


def recognized(graph: Graph) -> Convention | None:
    """Return the convention that every neuron of a shaped `graph` follows, or None."""
    neurons = [graph.nodes[name] for name in graph.of_kind(*NEURONS) if graph.nodes[name].kind != "Threshold"]
    if not neurons:
        return None
    known: dict[str, StrEnum]
    if all(_unit_gain_at(record, STEP_S) for record in neurons):
        why = "R and w_in of every neuron give a gain of 1 at this step, as snnTorch and SpikingJelly write them"
        known = {"discretization": Discretization.EULER, "gain": Gain.UNIT, "current": Current.SAME_STEP}
        return Convention("snnTorch, SpikingJelly", STEP_S, known, why)
    if all(record.kind == "IF" and np.all(record.array("r") == 1) for record in neurons):
        why = "every neuron integrates with R = 1, as sinabs, Norse and Spyx write it for one step"
        return Convention("sinabs, Norse, Spyx", None, {"gain": Gain.UNIT}, why)
    return _rockpool(neurons)


def _unit_gain_at(record: Record, step: float) -> bool:
    """Whether R and w_in undo the gains of one Euler step, by tau / dt and 1 / dt."""
    r = record.array("r")
    match record.kind:
        case "IF" | "I":
            return bool(np.allclose(r * step, 1, SAME))
        case "LIF" | "LI":
            return bool(np.allclose(r * step, record.array("tau"), SAME, 0))
    if "w_in" not in record.fields:
        return False
    membrane = np.allclose(r * step, record.array("tau_mem"), SAME, 0)
    return bool(membrane and np.allclose(record.array("w_in") * step, record.array("tau_syn"), SAME, 0))


def _rockpool(neurons: list[Record]) -> Convention | None:
    """Return Rockpool's convention for LIF and CubaLIF: R = (tau / dt) exp(-dt / tau) of the membrane, and no w_in.

    Its steps are i = alpha (i + x), v = beta v + i, or v = beta v + x for LIF. Any R above 1 gives some dt, so only a
    round one, of a single digit, counts as found.
    """
    from scipy.special import lambertw

    membranes = {"LIF": "tau", "CubaLIF": "tau_mem"}
    if any(record.kind not in membranes or np.any(record.fields.get("w_in", 1.0) != 1) for record in neurons):
        return None
    taus = [record.array(membranes[record.kind]) for record in neurons]
    gains = [record.array("r") for record in neurons]
    if any(np.any(r <= 1) or np.any(tau <= 0) for r, tau in zip(gains, taus, strict=True)):
        return None
    steps = np.concatenate([(tau * np.real(lambertw(1 / r))).reshape(-1) for r, tau in zip(gains, taus, strict=True)])
    step = float(f"{np.median(steps):.1g}")
    if not np.allclose(steps, step, SAME, 0):
        return None
    known: dict[str, StrEnum] = {"discretization": Discretization.EXPONENTIAL, "gain": Gain.UNIT}
    if any(record.kind == "CubaLIF" for record in neurons):
        known |= {"gain": Gain.DECAYED, "current": Current.SAME_STEP}
    return Convention("Rockpool", step, known, "R of every neuron is (tau / dt) exp(-dt / tau), as Rockpool writes it")
