"""Is it the same network? Two runs of one program compared at every step, population and neuron.

Against another executor of the same integers everything must be equal; the first difference is named with its likely
cause. Against the float source spikes may differ by rounding; how much they do is measured layer by layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.ir.program import STATE_MAX, STATE_SHIFT, Neuron, Population, Program
from neurodeploy.results import RunResult

SMALL = 64
"""A membrane off by less than this part of itself is put down to its decay or bias rather than to a reset."""
QUANTITIES = ("spikes", "currents", "voltages")
WHOLE = 1e-3
"""How far from a whole number of steps a difference of weights may be."""
REAL_STATES = 1e-9
"""Relative difference granted to states in real numbers, which simulators sum up in an order of their own."""


@dataclass(frozen=True)
class Divergence:
    """The first place where two runs differ: the earliest step, and there the first population in causal order."""

    step: int
    population: str
    sample: int
    neuron: tuple[int, ...]
    quantity: str
    expected: float
    actual: float
    likely_cause: str


@dataclass(frozen=True)
class Comparison:
    """`compared` and `mismatches` count values per population and quantity; equal means no mismatch anywhere."""

    compared: dict[str, dict[str, int]]
    mismatches: dict[str, dict[str, int]]
    first_divergence: Divergence | None
    equal: bool = field(init=False)

    def __post_init__(self) -> None:
        total = sum(sum(counts.values()) for counts in self.mismatches.values())
        object.__setattr__(self, "equal", total == 0)


def compare(program: Program, expected: RunResult, actual: RunResult) -> Comparison:
    """Compare everything both runs recorded.

    Args:
        expected: the authority, e.g. Lava.
        actual: the run under test.
    """
    compared: dict[str, dict[str, int]] = {}
    mismatches: dict[str, dict[str, int]] = {}
    first: tuple[int, int, int] | None = None
    place: tuple[str, str, np.ndarray, np.ndarray] | None = None
    for order, population in enumerate(program.populations):
        name = population.name
        compared[name], mismatches[name] = {}, {}
        for rank, quantity in enumerate(QUANTITIES):
            a, b = getattr(expected, quantity).get(name), getattr(actual, quantity).get(name)
            if a is None or b is None:
                continue
            differs = _differs(a, b)
            compared[name][quantity] = int(a.size - np.count_nonzero(_unseen(a, b)))
            mismatches[name][quantity] = int(np.count_nonzero(differs))
            if mismatches[name][quantity]:
                step = int(differs.reshape(len(a), -1).any(axis=1).argmax())
                key = (step, order, -rank)
                if first is None or key < first:
                    first, place = key, (name, quantity, a, b)
    divergence = None
    if first is not None and place is not None:
        divergence = _divergence(program, first[0], place[0], place[1], expected, actual)
    return Comparison(compared, mismatches, divergence)


def _differs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two records differ: integers and spikes at all, real states by more than `REAL_STATES`."""
    if a.dtype.kind != "f":
        return a != b
    largest = float(np.nanmax(np.abs(a), initial=1))
    return ~np.isclose(a, b, rtol=REAL_STATES, atol=REAL_STATES * largest) & ~_unseen(a, b)


def _unseen(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where one of two records holds no value: a real state that its simulator does not show."""
    return np.isnan(a) | np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)


def _divergence(
    program: Program, step: int, name: str, quantity: str, expected: RunResult, actual: RunResult
) -> Divergence:
    a, b = getattr(expected, quantity)[name][step], getattr(actual, quantity)[name][step]
    index = tuple(int(i) for i in np.argwhere(_differs(a, b))[0])
    cause = likely_cause(program, name, step, index, expected, actual)
    return Divergence(step, name, index[0], index[1:], quantity, float(a[index]), float(b[index]), cause)


def likely_cause(
    program: Program, name: str, step: int, index: tuple[int, ...], expected: RunResult, actual: RunResult
) -> str:
    """Guess from the two runs' values around the first difference why they part; a guess, and worded as one."""
    at: Any = (slice(None), *index)
    spikes_a, spikes_b = (run.spikes[name][at].astype(np.int64) for run in (expected, actual))
    if _shifted(spikes_a, spikes_b):
        return "delay: one run is the other shifted by a step"
    real = not isinstance(program.population(name).neuron, Neuron)
    needed = ("voltages",) if real else ("currents", "voltages")
    if any(name not in getattr(run, states) for run in (expected, actual) for states in needed):
        return "unknown: states were not recorded"
    if real:
        return _cause_in_real_numbers(program.population(name), step, (spikes_a, spikes_b), expected, actual, at)
    u_a, u_b = (run.currents[name][at].astype(np.int64) for run in (expected, actual))
    v_a, v_b = (run.voltages[name][at].astype(np.int64) for run in (expected, actual))
    if _shifted(u_a, u_b):
        return "delay: one run is the other shifted by a step"
    du, dv = int(u_b[step] - u_a[step]), int(v_b[step] - v_a[step])
    if du:
        unit = 1 << STATE_SHIFT
        if abs(du) >= STATE_MAX:
            return "saturation: the current wrapped in one run and not in the other"
        if du % unit == 0:
            return f"weight: the synaptic input differs by {du // unit} (a weight, its low bit or exponent, or a delay)"
        return "decay: the current differs by less than one unit of input (decay rounding or a bias)"
    membrane = max(abs(int(v_a[step])), abs(int(v_b[step])))
    if membrane >= STATE_MAX:
        return "saturation: the membrane is at its 24-bit limit"
    if not dv:
        return "threshold: the same membrane, another decision"
    fired = spikes_a[step] or spikes_b[step] or (step and spikes_a[step - 1])
    if fired and abs(dv) > membrane // SMALL + (1 << STATE_SHIFT):
        reset = program.population(name).neuron.reset.value
        return f"reset: the neuron fires here or fired in the step before ({reset} expected)"
    return "decay: the membrane differs by little and the current not at all (decay rounding or a bias)"


def _cause_in_real_numbers(
    population: Population,
    step: int,
    spikes: tuple[np.ndarray, np.ndarray],
    expected: RunResult,
    actual: RunResult,
    at: Any,
) -> str:
    """The same where states are real: what differs first is where the cause is looked for.

    Not every simulator shows a current, or a membrane in the step of a spike.
    """
    v_a, v_b = (run.voltages[population.name][at] for run in (expected, actual))
    shown = population.name in expected.currents and population.name in actual.currents
    if shown:
        i_a, i_b = (run.currents[population.name][at] for run in (expected, actual))
        if _shifted(i_a, i_b):
            return "delay: one run is the other shifted by a step"
        if _differs(i_a, i_b)[step]:
            by = f"{i_b[step] - i_a[step]:.6g} mV"
            return f"weight: the synaptic input differs by {by} (a weight, a delay, or its decay)"
    same = not _differs(v_a, v_b)[step]
    fired_before = bool(step and spikes[0][step - 1])
    if spikes[0][step] != spikes[1][step] and not shown and not fired_before:
        return "weight, decay or threshold: only one membrane got above it, and a reset hides by how much"
    if same:
        return "threshold: the same membrane, another decision"
    if spikes[0][step] or spikes[1][step] or fired_before:
        reset = population.neuron.reset.value
        return f"reset: the neuron fires here or fired in the step before ({reset} expected)"
    difference = float(v_b[step] - v_a[step])
    if not shown and _in_weight_steps(difference, population):
        return (
            f"weight: the membrane differs by {difference:.6g} mV, a multiple of a weight's step (a weight or a delay)"
        )
    return "decay: the membrane differs and the current does not" if shown else "decay: the membrane differs"


def _in_weight_steps(difference: float, population: Population) -> bool:
    """Say whether a difference of membranes is a whole number of the finest weight's steps, as far as doubles tell."""
    steps = difference / 2.0 ** min(population.cell.exponents)
    return abs(steps) > WHOLE and abs(steps - round(steps)) < WHOLE


def _shifted(a: np.ndarray, b: np.ndarray) -> bool:
    """Say whether two sequences that differ are equal after shifting one by a step, and not merely silent."""
    active = np.any(a) and np.any(b) and len(a) > 2 and len(np.unique(a)) > 1
    return bool(active and (np.array_equal(a[1:], b[:-1]) or np.array_equal(a[:-1], b[1:])))


def agreement(source: RunResult, program_run: RunResult) -> dict[str, float]:
    """Return per population the share of (step, sample, neuron) at which source and program agree to spike or not."""
    return {
        name: float(np.mean(spikes == program_run.spikes[name]))
        for name, spikes in source.spikes.items()
        if name in program_run.spikes
    }


def plain(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    first = comparison.first_divergence
    return {
        "equal": comparison.equal,
        "compared": comparison.compared,
        "mismatches": comparison.mismatches,
        "first_divergence": None if first is None else {**first.__dict__, "neuron": list(first.neuron)},
    }
