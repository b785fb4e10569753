"""One step of a `PhasedProgram` in integers: Loihi's neurons and learning engine as Lava 0.10 computes them.

Neurons are `ir/phased.IntegerPhases`. Their synapses are Lava's "bit-approximate" LearningDense with traces that do not
decay: what is left of it is the shifted product, the accumulator, and one random number per step, of all weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from neurodeploy.engine.phased_real import State, pass_back, pass_on, plastic_groups, rested
from neurodeploy.engine.plastic_integer import (
    CONNECTION_SEED,
    FRACTION_BITS,
    accumulated,
    decayed,
    noise,
    rounded,
    wrapped,
)
from neurodeploy.engine.plastic_real import Arrays
from neurodeploy.ir.onchip import ERROR_ONE, FACTOR_MOST, FACTOR_STEP, TRACE_MAX, WEIGHT_MAX, WEIGHT_MIN
from neurodeploy.ir.phased import (
    COUNT_ONE,
    REPORT_SHIFT,
    REPORT_STREAM,
    UPDATE_STEPS,
    IntegerErrors,
    IntegerPhases,
    IntegerRate,
    PhasedProgram,
)
from neurodeploy.ir.program import STATE_MAX, STATE_SHIFT

HALF_REPORT = 1 << (REPORT_SHIFT - 1)


class Chain(NamedTuple):
    """What does not change: one entry per population, or per population and group of synapses (forward, recurrent)."""

    dv: np.ndarray
    threshold: np.ndarray
    quantum: np.ndarray
    bias: Arrays
    back_threshold: np.ndarray
    back_quantum: np.ndarray
    low: np.ndarray
    high: np.ndarray
    report: np.ndarray
    mantissa: np.ndarray
    shift: np.ndarray
    plastic: np.ndarray
    exponent: np.ndarray
    quanta: np.ndarray
    weight_draw: np.ndarray
    error_mantissa: int
    error_exponent: int
    source_report: int
    margin: int
    seed: int
    steps: int
    back_steps: int
    start: int
    learns: bool


def lay_out(program: PhasedProgram, steps: int) -> Chain:
    """Return the constants of an integer program, with the engine's random numbers of so many time steps."""
    populations, errors = program.populations, program.errors
    assert isinstance(errors, IntegerErrors)
    neurons: list[IntegerPhases] = [population.neuron for population in populations]  # type: ignore[misc]
    rates: list[IntegerRate] = [population.rate for population in populations]  # type: ignore[misc]

    def of_neurons(name: str) -> np.ndarray:
        return np.array([getattr(neuron, name) for neuron in neurons], np.int64)

    def of_synapses(name: str) -> np.ndarray:
        return np.array([[getattr(p.forward, name), getattr(p.recurrent or p.forward, name)] for p in populations])

    plastic = plastic_groups(program)
    return Chain(
        of_neurons("dv"),
        of_neurons("threshold"),
        of_neurons("quantum"),
        tuple(np.array(np.broadcast_to(p.neuron.bias, p.size), np.int64) for p in populations),
        of_neurons("back_threshold"),
        of_neurons("back_quantum"),
        of_neurons("low"),
        of_neurons("high"),
        of_neurons("report"),
        np.array([(*rate.mantissa, 0)[:2] for rate in rates], np.int64),
        np.array([(*rate.shift, 0)[:2] for rate in rates], np.int64),
        plastic,
        of_synapses("exponent"),
        of_synapses("quantum"),
        np.random.default_rng(CONNECTION_SEED).random(steps + 1)[1:],
        errors.mantissa,
        errors.exponent,
        errors.source,
        errors.margin,
        program.seed,
        program.steps,
        program.back_steps,
        program.start,
        bool(plastic.any()),
    )


def at_rest(program: PhasedProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` holds all weights, which are changed where they are."""
    return rested(program, weight, np.int64)


@njit(cache=True)
def present(chain: Chain, state: State, inputs: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> None:
    """Advance over samples, (sample, step, input), and add the output's spikes to `counts` (sample, output).

    Where nothing learns, what follows an answer changes nothing and is passed over.
    """
    populations = len(state.v)
    period = chain.steps + chain.back_steps + 2 * populations - 1 + UPDATE_STEPS
    lasts = period if chain.learns else chain.steps + populations
    silence = np.zeros_like(inputs[0, 0])
    for sample in range(len(inputs)):
        target = np.zeros(counts.shape[1], np.uint8)
        target[labels[sample]] = 1
        for step in range(lasts):
            advance(chain, state, inputs[sample, step] if step < chain.steps else silence, target)
            counts[sample] += state.spikes[populations - 1]
        state.tick[0] += period - lasts


@njit(cache=True, inline="always")
def advance(chain: Chain, state: State, inputs: np.ndarray, target: np.ndarray) -> None:
    """Advance everything by one time step."""
    last = len(state.v) - 1
    tick = state.tick[0]
    updates_at = chain.steps + chain.back_steps + 2 * last + 1
    at = (tick - chain.start) % (updates_at + UPDATE_STEPS) if tick >= chain.start else -1
    if at == 0:
        state.seen[:] = 0
    if 0 <= at < chain.steps:
        _count(chain.dv[0], inputs, state.seen)
    for p in range(last + 1):
        step, back_step = at - 1 - p, at - (chain.steps + 2 * last + 1 - p)
        if not 0 < step < chain.steps:
            state.spikes[p][:] = 0
        if step == 0:
            state.v[p][:] = 0
            state.counts[p][:] = 0
        if 0 <= step < chain.steps:
            neuron = (chain.dv[p], chain.threshold[p], chain.quantum[p])
            state.fired[p] += _forward(neuron, chain.bias[p], state.current[p], state.v[p], state.spikes[p])
            _count(chain.dv[p], state.spikes[p], state.counts[p])
        state.back[p][:] = 0
        if 0 <= back_step < chain.back_steps:
            if p == last:
                _compare(chain.error_mantissa, chain.margin, state.counts[p], target, state.back[p])
                state.back_counts[p][:] = state.back[p]
            else:
                if back_step == 0:
                    state.u[p][:] = 0
                    state.q[p][:] = 0
                    state.back_counts[p][:] = 0
                neuron = (chain.dv[p], chain.back_threshold[p], chain.back_quantum[p])
                gate = (chain.low[p], chain.high[p])
                _backward(neuron, gate, state.counts[p], state.back_current[p], state.u[p], state.q[p], state.back[p])
                _count(chain.dv[p], state.back[p], state.back_counts[p])
    for p in range(last + 1):
        _sum(chain, state, inputs, p)
        if 0 <= at - updates_at < UPDATE_STEPS:
            sign, began = 1 - 2 * (at - updates_at), tick - (at - updates_at)
            for group in range(2):
                if chain.plastic[p, group]:
                    source = p - 1 + group
                    weight = state.forward[p] if group == 0 else state.recurrent[p]
                    counted = state.seen if source < 0 else state.counts[source]
                    mantissa = chain.source_report if source < 0 else chain.report[source]
                    trace = draw_report((mantissa, chain.seed, began, source), counted)
                    drawing = (chain.mantissa[p, group], chain.shift[p, group], chain.seed, began, 2 * p + group)
                    factor = draw_factor(drawing, state.back_counts[p], sign)
                    quantum = chain.quanta[p, group]
                    state.counters[1] += _learn(weight, trace, factor, -sign, quantum, chain.weight_draw[tick])
    state.tick[0] += 1


@njit(cache=True, inline="always")
def _sum(chain: Chain, state: State, inputs: np.ndarray, p: int) -> None:
    """Sum up what population p hears, for the next step; both directions pass the same weights."""
    current, heard = state.current[p], state.back_current[p]
    current[:] = 0
    if p == 0:
        passed = pass_on(state.forward[p], inputs, current)
    else:
        passed = pass_on(state.forward[p], state.spikes[p - 1], current)
    shifted(current, chain.exponent[p, 0])
    looped = state.recurrent[p].size > 0
    if looped:
        more = np.zeros_like(current)
        passed += pass_on(state.recurrent[p], state.spikes[p], more)
        shifted(more, chain.exponent[p, 1])
        current += more
    if p < len(state.v) - 1:
        heard[:] = 0
        passed += pass_back(state.forward[p + 1], state.back[p + 1], heard)
        shifted(heard, chain.error_exponent if p == len(state.v) - 2 else chain.exponent[p + 1, 0])
        if looped:
            more = np.zeros_like(heard)
            passed += pass_back(state.recurrent[p], state.back[p], more)
            shifted(more, chain.exponent[p, 1])
            heard += more
    state.counters[0] += passed


@njit(cache=True)
def shifted(sums: np.ndarray, exponent: int) -> None:
    """Shift sums of weights in place."""
    for j in range(sums.size):
        sums[j] = sums[j] << exponent if exponent > 0 else sums[j] >> -exponent


@njit(cache=True)
def _count(dv: int, sent: np.ndarray, count: np.ndarray) -> None:
    """Let counts decay and take this step's spikes."""
    for j in range(count.size):
        count[j] = decayed(count[j], dv) + COUNT_ONE * np.int64(sent[j])


@njit(cache=True)
def _forward(
    neuron: tuple[int, int, int], bias: np.ndarray, current: np.ndarray, v: np.ndarray, spikes: np.ndarray
) -> int:
    """Update a population's forward phase and return how many spiked."""
    dv, threshold, quantum = neuron
    fired = 0
    for j in range(v.size):
        v[j] = _limited(decayed(v[j], dv) + wrapped(current[j] << STATE_SHIFT) + bias[j] - quantum * spikes[j])
        spikes[j] = v[j] > threshold
        fired += spikes[j]
    return fired


@njit(cache=True)
def _backward(
    neuron: tuple[int, int, int],
    gate: tuple[int, int],
    count: np.ndarray,
    current: np.ndarray,
    u: np.ndarray,
    q: np.ndarray,
    back: np.ndarray,
) -> None:
    """Update a hidden population's backward phase; `count` is that of its forward phase."""
    dv, threshold, quantum = neuron
    low, high = gate
    for j in range(u.size):
        u[j] = _limited(decayed(u[j], dv) + wrapped(current[j] << STATE_SHIFT) - quantum * q[j])
        q[j] = int(u[j] > threshold) - int(u[j] < -threshold)
        back[j] = q[j] if low < count[j] < high else 0


@njit(cache=True, inline="always")
def _limited(v: int) -> int:
    return min(STATE_MAX, max(-STATE_MAX, v))


@njit(cache=True, inline="always")
def reported(count: int, mantissa: int) -> int:
    """Return a count as a trace, rounded to the nearest."""
    return (count * mantissa + HALF_REPORT) >> REPORT_SHIFT


@njit(cache=True)
def _compare(mantissa: int, margin: int, count: np.ndarray, target: np.ndarray, error: np.ndarray) -> None:
    """Return the output's error."""
    for k in range(count.size):
        wanted = ERROR_ONE * np.int64(target[k])
        missed = min(ERROR_ONE, max(-ERROR_ONE, reported(count[k], mantissa) - wanted))
        error[k] = missed if abs(missed) > margin else 0


@njit(cache=True)
def draw_factor(drawing: tuple[int, int, int, int, int], back_count: np.ndarray, sign: int) -> np.ndarray:
    """Return 8 q of the neurons whose b has this sign, 0 of the others; drawn alike in both steps of an update."""
    mantissa, shift, seed, tick, stream = drawing
    factor = np.zeros_like(back_count)
    for j in range(back_count.size):
        if sign * back_count[j] > 0:
            added = noise(seed, tick, stream, j) & ((1 << shift) - 1)
            factor[j] = FACTOR_STEP * min(FACTOR_MOST, (abs(back_count[j]) * mantissa + added) >> shift)
    return factor


@njit(cache=True)
def draw_report(drawing: tuple[int, int, int, int], count: np.ndarray) -> np.ndarray:
    """Return the traces that a source reports, drawn alike in both steps of an update."""
    mantissa, seed, tick, source = drawing
    trace = np.zeros_like(count)
    for i in range(count.size):
        added = noise(seed, tick, REPORT_STREAM + source, i) & ((1 << REPORT_SHIFT) - 1)
        trace[i] = min(TRACE_MAX, (count[i] * mantissa + added) >> REPORT_SHIFT)
    return trace


@njit(cache=True)
def _learn(
    weight: np.ndarray, trace: np.ndarray, factor: np.ndarray, sign: int, quantum: int, weight_draw: float
) -> int:
    """Change weights as LearningDense does, and return how many had a factor.

    w <- w + sign 2^quantum x1 y        the product of two traces shifted by 3, which loses nothing of 8 q
    """
    changed = 0
    for j in range(factor.size):
        if factor[j] != 0:
            changed += trace.size
            for i in range(trace.size):
                change = ((sign * trace[i] * factor[j]) >> 3) << (quantum + FRACTION_BITS)
                total = accumulated((weight[i, j] << FRACTION_BITS) + accumulated(change))
                whole = rounded(total / (1 << FRACTION_BITS), weight_draw)
                weight[i, j] = min(WEIGHT_MAX, max(WEIGHT_MIN, whole))
    return changed
