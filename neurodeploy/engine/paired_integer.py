"""One step of a `PairedProgram` in integers: Loihi's neurons and learning engine as Lava 0.10 computes them.

As in `plastic_integer`: what is said there of traces, products and roundings holds here too. A threshold is held in the
unit of the membrane, 1/64 of the register it is deployed in. A two-factor rule has its trace of the neuron's spikes in
the synapse, where it decays and is rounded as the other one is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from neurodeploy.engine.paired_real import FEATURES, OUTPUT, Arrays, State, adapt, add, judge, rest, rested
from neurodeploy.engine.plastic_integer import (
    FACTOR_KEEPS,
    FRACTION_BITS,
    FRACTION_MASK,
    accumulated,
    decayed,
    engine_seed,
    rounded,
    trace_draws,
    weight_draws,
    wrapped,
)
from neurodeploy.engine.plastic_real import RESETS, SUBTRACT, SUBTRACT_NEXT, ZERO, ZERO_NEXT, step_of_sample
from neurodeploy.ir.onchip import TRACE_MAX, WEIGHT_MAX, WEIGHT_MIN, IntegerSynapses
from neurodeploy.ir.paired import CLEAR, WEIGHT_UNIT, PairedProgram
from neurodeploy.ir.program import STATE_MAX, STATE_SHIFT, Neuron

TAG_MIN, TAG_MAX = -257, 255
"""Of a variable per synapse; Lava sets the lower bound one below the sign bit's."""
TAG_TIMES_TRACE = 5
"""The shift of a product of a tag and a trace."""
CLEAR_SHIFT = FRACTION_BITS - 1
REWARD_EXPONENT = 12


class Chain(NamedTuple):
    """What does not change: one entry per population, features first; coefficients in 1/128 of a weight."""

    dv: Arrays
    reset: np.ndarray
    plastic: np.ndarray
    exponent: np.ndarray
    inhibition_exponent: int
    keep_plus: np.ndarray
    impulse: np.ndarray
    a_plus: np.ndarray
    keep_minus: float
    a_minus: int
    leak: int
    target: int
    homeostasis: tuple[int, int, int]
    reward: tuple[int, int]
    reward_shift: int
    trace_draw: np.ndarray
    factor_draw: np.ndarray
    weight_draw: np.ndarray
    steps: int
    period: int
    start: int


def lay_out(program: PairedProgram, steps: int) -> Chain:
    """Return the constants of an integer program, with the engine's random numbers of so many time steps."""
    populations, homeostasis, reward = program.populations, program.features.homeostasis, program.output.reward
    neurons: list[Neuron] = [population.neuron for population in populations]  # type: ignore[misc]
    constants = [population.pairing.constants for population in populations]
    sizes = [population.size for population in populations]
    synapses: list[IntegerSynapses] = [population.forward for population in populations]  # type: ignore[misc]
    inhibition = program.features.inhibition
    assert isinstance(inhibition, IntegerSynapses)
    drawn = [trace_draws(engine_seed(program.seed, p, recurrent=False), steps) for p in (FEATURES, OUTPUT)]
    features = constants[FEATURES]
    return Chain(
        tuple(np.full(size, int(neuron.dv.flat[0])) for size, neuron in zip(sizes, neurons, strict=True)),
        np.array([RESETS.index(neuron.reset) for neuron in neurons]),
        np.array([each.plastic for each in synapses]),
        np.array([each.exponent for each in synapses]),
        inhibition.exponent,
        np.array([keeps(population.pairing.tau_plus) for population in populations]),
        np.array([int(each["impulse"]) for each in constants]),
        np.array([units(each["a_plus"]) for each in constants]),
        keeps(program.features.pairing.tau_minus),
        units(features["a_minus"]),
        units(features["leak"]),
        int(features["target"]),
        (int(homeostasis.rise), int(homeostasis.fall), int(homeostasis.least)),
        (int(reward.reward), int(reward.punishment)),
        reward.exponent + REWARD_EXPONENT,
        np.stack([x for x, _ in drawn], 1),
        np.stack([y for _, y in drawn], 1),
        weight_draws(steps),
        program.steps,
        program.period,
        program.start,
    )


def keeps(tau: float) -> float:
    """Return what is left of a trace after a step, as Lava computes it from the time constant it is given."""
    return float(np.exp(-1 / np.array([tau]))[0])


def units(coefficient: float) -> int:
    """Return a coefficient in the unit in which changes are added up."""
    return round(coefficient / WEIGHT_UNIT)


def at_rest(program: PairedProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` is `flat_weights`, changed where it is."""
    neuron = program.output.neuron
    assert isinstance(neuron, Neuron)
    counting = np.full(program.output.size, int(neuron.vth.flat[0]) << STATE_SHIFT, np.int32)
    return rested(program, weight, counting, np.int64)


@njit(cache=True)
def present(chain: Chain, state: State, spikes: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> None:
    """Advance over samples, uint8 (sample, step, input), and add the output's spikes to `counts` (sample, output)."""
    silence = np.zeros(spikes.shape[2], np.uint8)
    for sample in range(len(spikes)):
        target = np.zeros(counts.shape[1], np.uint8)
        target[labels[sample]] = 1
        for step in range(chain.period):
            advance(chain, state, spikes[sample, step] if step < chain.steps else silence, target)
            counts[sample] += state.spikes[OUTPUT]


@njit(cache=True)
def respond(chain: Chain, state: State, spikes: np.ndarray, counts: np.ndarray) -> None:
    """Advance over samples without labels, and add the features' spikes to `counts` (sample, feature)."""
    silence, nobody = np.zeros(spikes.shape[2], np.uint8), np.zeros(state.counts.size, np.uint8)
    for sample in range(len(spikes)):
        for step in range(chain.period):
            advance(chain, state, spikes[sample, step] if step < chain.steps else silence, nobody)
            counts[sample] += state.spikes[FEATURES]


@njit(cache=True, inline="always")
def advance(chain: Chain, state: State, inputs: np.ndarray, target: np.ndarray) -> None:
    """Advance everything by one time step."""
    tick = state.tick[0]
    at = step_of_sample(tick - chain.start, chain.period)
    for p in range(2):
        active = 0 <= at - 1 - p < chain.steps
        own = (state.v[p], state.over[p], state.spikes[p])
        if not active or at == 1 + p:
            rest(*own)
        if active:
            neuron = (chain.dv[p], state.threshold[p])
            state.fired[p] += _neurons(neuron, chain.reset[p], state.activation[p], *own)
    if at == chain.steps + 1:
        adapt(chain.homeostasis, state.threshold[FEATURES], state.spent)
    state.spent[:] += state.spikes[FEATURES]
    judge(chain.reward, at - chain.steps, state.spikes[OUTPUT], target, state.counts, state.decided, state.signal)
    for p in range(2):
        state.activation[p][:] = 0
        source = inputs if p == 0 else state.spikes[FEATURES]
        state.counters[0] += _add(state.weight[p], source, chain.exponent[p], state.activation[p])
    state.counters[0] += _add(
        state.inhibition, state.spikes[FEATURES], chain.inhibition_exponent, state.activation[FEATURES]
    )
    draw = chain.weight_draw[tick] * (1 << FRACTION_BITS)
    if chain.plastic[FEATURES]:
        take(
            state.trace[FEATURES], inputs, chain.keep_plus[FEATURES], chain.impulse[FEATURES],
            chain.trace_draw[tick, FEATURES],
        )  # fmt: skip
        take(
            state.y, state.spikes[FEATURES], chain.keep_minus, chain.impulse[FEATURES],
            chain.factor_draw[tick, FEATURES],
        )  # fmt: skip
        constants = (chain.a_plus[FEATURES], chain.target, chain.leak, chain.a_minus)
        traces = (state.trace[FEATURES], state.y)
        state.counters[1] += _pair(constants, state.weight[FEATURES], traces, inputs, state.spikes[FEATURES], draw)
    if chain.plastic[OUTPUT]:
        take(
            state.trace[OUTPUT], state.spikes[FEATURES], chain.keep_plus[OUTPUT], chain.impulse[OUTPUT],
            chain.trace_draw[tick, OUTPUT],
        )  # fmt: skip
        factor_draw, ends = chain.factor_draw[tick, OUTPUT], at == chain.steps + 2
        if ends:
            state.counters[1] += _reinforce(
                state.weight[OUTPUT], state.signal, state.e, chain.reward_shift, factor_draw, draw
            )
        clear = rounded(FACTOR_KEEPS * CLEAR, factor_draw) if ends else 0
        _remember(chain.a_plus[OUTPUT], state.trace[OUTPUT], state.spikes[OUTPUT], state.e, clear, draw)
    state.tick[0] += 1


@njit(cache=True)
def _neurons(
    neuron: tuple[np.ndarray, np.ndarray],
    reset: int,
    activation: np.ndarray,
    v: np.ndarray,
    over: np.ndarray,
    spikes: np.ndarray,
) -> int:
    """Update a population and return how many spiked; `over` is [v > theta] of the step before."""
    fired = 0
    for j in range(v.size):
        theta = np.int64(neuron[1][j])
        potential = decayed(v[j], neuron[0][j]) + wrapped(activation[j] << STATE_SHIFT)
        if reset == ZERO_NEXT and over[j]:
            potential = 0
        elif reset in (SUBTRACT_NEXT, SUBTRACT):
            potential -= over[j] * theta
        potential = min(STATE_MAX, max(-STATE_MAX, potential))
        fires = potential > theta
        if reset == ZERO and fires:
            potential = 0
        elif reset == SUBTRACT:
            potential = min(STATE_MAX, max(-STATE_MAX, potential - (fires - over[j]) * theta))
        v[j] = potential
        over[j] = potential > theta
        spikes[j] = fires
        fired += fires
    return fired


@njit(cache=True)
def _add(weight: np.ndarray, source: np.ndarray, exponent: int, activation: np.ndarray) -> int:
    """Add the shifted sums of one synapse group and return how many synapses spikes passed."""
    total = np.zeros(activation.size, np.int64)
    passed = add(weight, source, total)
    for j in range(total.size):
        activation[j] += total[j] << exponent if exponent > 0 else total[j] >> -exponent
    return passed


@njit(cache=True)
def take(trace: np.ndarray, spikes: np.ndarray, keep: float, impulse: int, draw: float) -> None:
    """Let a trace decay, rounded at random, and take the spikes of this step."""
    for i in range(trace.size):
        left = rounded(keep * trace[i], draw) if trace[i] else 0
        trace[i] = min(TRACE_MAX, left + impulse * np.int64(spikes[i]))


@njit(cache=True, inline="always")
def _factor(x: int) -> int:
    """Return a trace less a constant within the seven bits and a sign that the engine multiplies by."""
    return min(TRACE_MAX, max(-TRACE_MAX - 1, x))


@njit(cache=True, inline="always")
def _rounded_sum(total: int, draw: float) -> int:
    """Return a sum of 1/128 in whole units, rounded up where the number drawn is below what would be lost."""
    return (total >> FRACTION_BITS) + (draw < (total & FRACTION_MASK))


@njit(cache=True)
def _pair(
    constants: tuple[int, int, int, int],
    weight: np.ndarray,
    traces: tuple[np.ndarray, np.ndarray],
    before: np.ndarray,
    behind: np.ndarray,
    draw: float,
) -> int:
    """Change the features' weights and return how many were up for a change."""
    a_plus, target, leak, a_minus = constants
    x1, y1 = traces
    changed = 0
    for i in range(x1.size):
        falls = before[i] and a_minus != 0
        for j in range(y1.size):
            if not (behind[j] or falls):
                continue
            changed += 1
            total = np.int64(weight[i, j]) << FRACTION_BITS
            if falls:
                total = accumulated(total + accumulated(-a_minus * y1[j]))
            if behind[j]:
                total = accumulated(total + accumulated(a_plus * _factor(x1[i] - target)))
                total = accumulated(total + accumulated(-leak * np.int64(weight[i, j])))
            weight[i, j] = min(WEIGHT_MAX, max(WEIGHT_MIN, _rounded_sum(total, draw)))
    return changed


@njit(cache=True)
def _reinforce(
    weight: np.ndarray, signal: np.ndarray, e: np.ndarray, shift: int, factor_draw: float, draw: float
) -> int:
    """Change the output's weights by what was decided, and return how many were up for it."""
    for k in range(signal.size):
        if signal[k] != 0:
            factor = rounded(FACTOR_KEEPS * abs(signal[k]), factor_draw)
            sign = 1 if signal[k] > 0 else -1
            for j in range(len(e)):
                change = ((sign * e[j, k] * factor) >> TAG_TIMES_TRACE) << shift
                total = accumulated((np.int64(weight[j, k]) << FRACTION_BITS) + accumulated(change))
                weight[j, k] = min(WEIGHT_MAX, max(WEIGHT_MIN, _rounded_sum(total, draw)))
    return int(np.count_nonzero(signal)) * len(e)


@njit(cache=True)
def _remember(a_plus: int, x1: np.ndarray, spikes: np.ndarray, e: np.ndarray, clear: int, draw: float) -> None:
    """Let tags take the pairs that the output's spikes complete; `clear` takes away what they held."""
    for k in range(spikes.size):
        if spikes[k] or clear:
            for j in range(x1.size):
                total = e[j, k] << FRACTION_BITS
                if spikes[k]:
                    total = accumulated(total + accumulated(a_plus * x1[j]))
                if clear:
                    total = accumulated(total + accumulated(((-e[j, k] * clear) >> TAG_TIMES_TRACE) << CLEAR_SHIFT))
                e[j, k] = min(TAG_MAX, max(TAG_MIN, _rounded_sum(total, draw)))
