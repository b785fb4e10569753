"""One step of a `PlasticProgram` in integers: Loihi's neurons and learning engine as Lava 0.10 computes them.

Neurons are those of `engine.reference`; their third factors are `ir/onchip.IntegerFactor`. The engine is Lava's
"bit-approximate" LearningDense, number by number: traces of seven bits decay and are rounded by one random number per
step for all of them, third factors lose a ten-thousandth on the way, products are shifted, and weights are rounded by
one more random number per step. Intel says of it that Loihi does not do exactly this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from neurodeploy.engine.plastic_real import (
    RESETS,
    SUBTRACT,
    SUBTRACT_NEXT,
    ZERO,
    ZERO_NEXT,
    Layout,
    add,
    enter,
    feedback_of,
    hear_oneself,
    hears_of,
    layout_of,
    local_readouts,
    per_neuron,
    readout_weights,
    rest,
    step_of_sample,
)
from neurodeploy.ir.onchip import (
    ERROR_ONE,
    FACTOR_MOST,
    FACTOR_STEP,
    RATE_ONE,
    RATE_SHIFT,
    READOUT_SHIFT,
    READOUT_UNIT,
    TRACE_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    IntegerFactor,
    IntegerReadout,
    PlasticProgram,
)
from neurodeploy.ir.program import DECAY_ONE, STATE_MAX, STATE_SHIFT, Neuron

ACCUMULATOR = 1 << 15
"""Changes are summed up in fifteen bits and a sign."""
FRACTION_BITS = 7
"""of a weight within the accumulator."""
FRACTION_MASK = (1 << FRACTION_BITS) - 1
FACTOR_KEEPS = np.exp(-1 / np.array([float(np.iinfo(np.uint16).max)]))[0]
"""Lava lets a third factor decay for one step before it uses it."""
CONNECTION_SEED = 2
"""Lava rounds weights by a generator of its own, whatever the rule's seed."""
FACTOR_SEED = 2
"""Lava adds this to a rule's seed for the generator that rounds third factors."""
CURRENT_HALF = 1 << 23
FIRING_DECAY = RATE_ONE >> RATE_SHIFT
FIRING_UNIT = RATE_ONE >> RATE_SHIFT


class Chain(NamedTuple):
    """What does not change, as in `plastic_real`; from `exponent` on per group of synapses, which local ones end."""

    layout: Layout
    dv: np.ndarray
    theta: np.ndarray
    bias: np.ndarray
    bias_in_current: np.ndarray
    reset: np.ndarray
    feedback: np.ndarray
    feedback_exponent: np.ndarray
    mantissa: np.ndarray
    shift: np.ndarray
    psi_shift: np.ndarray
    width: np.ndarray
    regularizer: np.ndarray
    target_rate: np.ndarray
    trace_keeps: np.ndarray
    exponent: np.ndarray
    impulse: np.ndarray
    quantum: np.ndarray
    trace_draw: np.ndarray
    factor_draw: np.ndarray
    weight_draw: np.ndarray
    hears: np.ndarray
    readout_weight: np.ndarray
    readout_decay: np.ndarray
    readout_mantissa: np.ndarray
    seed: int


class State(NamedTuple):
    """What does, as in `plastic_real`; all but spikes and weights is int64, and factors are kept as they are sent."""

    v: np.ndarray
    over: np.ndarray
    psi: np.ndarray
    spikes: np.ndarray
    output: np.ndarray
    activation: np.ndarray
    total: np.ndarray
    firing: np.ndarray
    signal: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    weight: np.ndarray
    trace: np.ndarray
    y: np.ndarray
    error: np.ndarray
    tick: np.ndarray
    fired: np.ndarray
    counters: np.ndarray


def engine_seed(seed: int, population: int, recurrent: bool) -> int:
    """Return the seed of the rounding of one synapse group of a program with this `seed`."""
    return seed + 8 * (2 * population + recurrent)


def trace_keeps(dv: np.ndarray) -> float:
    """Return what is left of a trace after a step, as Lava computes it from the time constant it is given."""
    return float(np.exp(-1 / np.array([trace_tau(dv)]))[0])


def trace_tau(dv: np.ndarray) -> float:
    """Return the time constant with which a trace decays as the membrane does, steps."""
    return float(-1 / np.log((DECAY_ONE - int(dv.flat[0])) / DECAY_ONE))


def lay_out(program: PlasticProgram, steps: int) -> Chain:
    """Return the constants of an integer program, with the engine's random numbers of so many time steps."""
    populations, local = program.populations, [readout for _, readout in local_readouts(program)]
    readouts: list[IntegerReadout] = [program.readout, *(each.readout for each in local)]  # type: ignore[list-item]
    neurons: list[Neuron] = [population.neuron for population in populations]  # type: ignore[misc]
    factors: list[IntegerFactor] = [population.factor for population in populations]  # type: ignore[misc]

    def of_synapses(name: str) -> np.ndarray:
        learning = [synapses for population in populations for synapses in population.synapses]
        return np.array([getattr(synapses, name) for synapses in (*learning, *(each.synapses for each in local))])

    def of_factors(name: str) -> np.ndarray:
        return np.array([getattr(factor, name) for factor in factors], np.int64)

    biases = [neuron.bias_mantissa.astype(np.int64) << neuron.bias_exponent for neuron in neurons]
    return Chain(
        layout_of(program),
        per_neuron(program, [neuron.dv for neuron in neurons], np.int64),
        per_neuron(program, [neuron.vth.astype(np.int64) << STATE_SHIFT for neuron in neurons], np.int64),
        per_neuron(program, biases, np.int64),
        np.array([neuron.bias_in_current for neuron in neurons]),
        np.array([RESETS.index(neuron.reset) for neuron in neurons]),
        feedback_of(program, np.int64),
        of_factors("exponent"),
        of_factors("mantissa"),
        of_factors("shift"),
        of_factors("psi_shift"),
        of_factors("width"),
        of_factors("regularizer"),
        of_factors("target_rate"),
        np.array([trace_keeps(neuron.dv) for neuron in neurons]),
        of_synapses("exponent"),
        of_synapses("impulse"),
        of_synapses("quantum"),
        *_draws(program, steps),
        hears_of(program),
        readout_weights(program, np.int32),
        np.array([readout.decay for readout in readouts]),
        np.array([readout.mantissa for readout in readouts]),
        program.seed,
    )


def _draws(program: PlasticProgram, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers Lava rounds traces, third factors and weights by: (step, population, forward or recurrent).

    Lava draws one number for traces when it is built and two in every step, and one for weights when it is built and
    one in every step; it uses the last.
    """
    groups = (steps, len(program.populations), 2)
    traces, factors = np.empty(groups), np.empty(groups)
    for p in range(len(program.populations)):
        for recurrent in (False, True):
            seed = engine_seed(program.seed, p, recurrent)
            traces[:, p, int(recurrent)], factors[:, p, int(recurrent)] = trace_draws(seed, steps)
    return traces, factors, weight_draws(steps)


def trace_draws(seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers by which a synapse group with a rule of this `seed` rounds x and y traces in every step."""
    x, y = (np.random.default_rng(each).random(2 * steps + 1)[2::2] for each in (seed, seed + FACTOR_SEED))
    return x, y


def weight_draws(steps: int) -> np.ndarray:
    """Return the numbers by which any synapse group rounds its weights and tags in every step."""
    return np.random.default_rng(CONNECTION_SEED).random(steps + 1)[1:]


def at_rest(program: PlasticProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` is `flat_weights`, changed where it is."""
    layout, outputs = layout_of(program), program.output.size
    neurons, silent, places = layout.first[[layout.populations, -2, -1]].astype(int)
    spikes, rates = np.zeros(places, np.uint8), [population.factor.target_rate for population in program.populations]
    rows = 1 + len(local_readouts(program))
    return State(
        v=np.zeros(neurons, np.int64),
        over=np.zeros(neurons, np.int64),
        psi=np.zeros(neurons, np.int64),
        spikes=spikes,
        output=spikes[neurons - outputs : neurons],
        activation=np.zeros(silent, np.int64),
        total=np.zeros(silent, np.int64),
        firing=per_neuron(program, rates, np.int64),
        signal=np.zeros(neurons, np.int64),
        positive=np.zeros(neurons, np.int64),
        negative=np.zeros(neurons, np.int64),
        weight=weight,
        trace=np.zeros(int(layout.trace[-1]), np.int64),
        y=np.zeros(rows * outputs, np.int64),
        error=np.zeros(rows * outputs, np.int64),
        tick=np.zeros(1, np.int64),
        fired=np.zeros(layout.populations, np.int64),
        counters=np.zeros(2, np.int64),
    )


@njit(cache=True, error_model="numpy")
def present(chain: Chain, state: State, spikes: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> None:
    """Advance over samples, uint8 (sample, step, input), and add the output's spikes to `counts` (sample, output)."""
    steps, output = chain.layout.steps, state.output
    silence = np.zeros(spikes.shape[2], np.uint8)
    for sample in range(len(spikes)):
        target = np.zeros(counts.shape[1], np.uint8)
        target[labels[sample]] = 1
        for step in range(steps + chain.layout.populations):
            advance(chain, state, spikes[sample, step] if step < steps else silence, target)
            for k in range(target.size):
                counts[sample, k] += output[k]


@njit(cache=True, inline="always", error_model="numpy")
def advance(chain: Chain, state: State, inputs: np.ndarray, target: np.ndarray) -> None:
    """Advance everything by one time step."""
    layout, tick = chain.layout, state.tick[0]
    last = layout.populations - 1
    at = step_of_sample(tick - layout.start, layout.steps + layout.populations)
    enter(layout, inputs, state.spikes)
    for p in range(layout.populations):
        active = 0 <= at - 1 - p < layout.steps
        if not active or at == 1 + p:
            own = slice(layout.first[p], layout.first[p + 1])
            rest(state.v[own], state.over[own], state.psi[own], state.spikes[own])
        if active:
            state.fired[p] += _neurons(chain, state, p)
    for p in range(last):
        _hear(chain, state, p)
    _read(chain, state, 0, state.output, 0, READOUT_UNIT, target, at > last)
    hear_oneself(layout, state.error, state.signal)
    for g in range(layout.groups, layout.source.size):
        active = 0 <= at - 2 - layout.source[g] < layout.steps
        row, begin = 1 + g - layout.groups, layout.first[layout.target[g]]
        _read(chain, state, row, state.activation, begin, 1, target, active)
    for p in range(layout.populations):
        _draw(chain, state, p)
    state.activation[:] = 0
    for g in range(layout.groups):
        state.counters[0] += _add(chain, state, state.weight, g)
        if layout.plastic[g]:
            state.counters[1] += _learn(chain, state, g)
    for g in range(layout.groups, layout.source.size):
        state.counters[0] += _add(chain, state, chain.readout_weight, g)
    state.tick[0] += 1


@njit(cache=True, inline="always")
def decayed(x: int, rate: int) -> int:
    """Return `x` after one step of 12-bit decay, rounded towards zero."""
    magnitude = (abs(x) * (DECAY_ONE - rate)) >> 12
    return magnitude if x >= 0 else -magnitude


@njit(cache=True, inline="always")
def wrapped(u: int) -> int:
    if u > CURRENT_HALF:
        return u - 2 * CURRENT_HALF
    return u + 2 * CURRENT_HALF if u <= -CURRENT_HALF else u


@njit(cache=True, inline="always")
def _neurons(chain: Chain, state: State, p: int) -> int:
    """Update a population and return how many spiked; `over` is [v > theta] of the step before."""
    v, over, psi, spikes, firing, activation = (
        state.v,
        state.over,
        state.psi,
        state.spikes,
        state.firing,
        state.activation,
    )
    dvs, thetas, biases, in_current = chain.dv, chain.theta, chain.bias, chain.bias_in_current[p]
    reset, width, psi_shift = chain.reset[p], chain.width[p], chain.psi_shift[p]
    fired = 0
    for j in range(chain.layout.first[p], chain.layout.first[p + 1]):
        dv, theta, bias = dvs[j], thetas[j], biases[j]
        current = wrapped((activation[j] << STATE_SHIFT) + (bias if in_current else 0))
        potential = decayed(v[j], dv) + current + (0 if in_current else bias)
        if reset == ZERO_NEXT and over[j]:
            potential = 0
        elif reset in (SUBTRACT_NEXT, SUBTRACT):
            potential -= over[j] * theta
        potential = min(STATE_MAX, max(-STATE_MAX, potential))
        fires = potential > theta
        psi[j] = max(0, width * theta - abs(potential - theta)) >> psi_shift
        if reset == ZERO and fires:
            potential = 0
        elif reset == SUBTRACT:
            potential = min(STATE_MAX, max(-STATE_MAX, potential - (fires - over[j]) * theta))
        v[j] = potential
        over[j] = potential > theta
        spikes[j] = fires
        firing[j] = decayed(firing[j], FIRING_DECAY) + fires * FIRING_UNIT
        fired += fires
    return fired


@njit(cache=True, inline="always")
def _read(
    chain: Chain, state: State, row: int, arriving: np.ndarray, begin: int, unit: int, target: np.ndarray, active: bool
) -> None:
    """Read the error of one read-out, which takes `arriving` from `begin` on, in multiples of `unit`."""
    y, error, own, first = state.y, state.error, np.uint64(row * target.size), np.uint64(begin)
    decay, mantissa = chain.readout_decay[row], chain.readout_mantissa[row]
    for k in range(np.uint64(target.size)):
        y[own + k] = decayed(y[own + k], decay) + unit * np.int64(arriving[first + k]) if active else 0
        reached = (y[own + k] * mantissa) >> READOUT_SHIFT
        error[own + k] = min(ERROR_ONE, max(-ERROR_ONE, reached - ERROR_ONE * np.int64(target[k]))) if active else 0


@njit(cache=True, inline="always")
def _hear(chain: Chain, state: State, p: int) -> None:
    """Return L of hidden neurons in `signal`; the error is that of the step before."""
    error, signal, firing, feedback = state.error, state.signal, state.firing, chain.feedback
    exponent, regularizer, target_rate = chain.feedback_exponent[p], chain.regularizer[p], chain.target_rate[p]
    begin, end, own = chain.layout.first[p], chain.layout.first[p + 1], chain.hears[p]
    for i in range(begin, end):
        signal[i] = 0
    for k in range(np.uint64(len(feedback))):
        heard = error[own + k]
        for j in range(begin, end):
            signal[j] += heard * feedback[k, j]
    for n in range(begin, end):
        shifted = signal[n] << exponent if exponent > 0 else signal[n] >> -exponent
        signal[n] = shifted + (((firing[n] - target_rate) * regularizer) >> 12)


@njit(cache=True, inline="always")
def _draw(chain: Chain, state: State, p: int) -> None:
    """Draw the third factors, each a multiple of eight on one of the two ports."""
    psi, signal, positive, negative, tick = state.psi, state.signal, state.positive, state.negative, state.tick[0]
    mantissa, shift, seed, begin = chain.mantissa[p], chain.shift[p], chain.seed, chain.layout.first[p]
    for j in range(begin, chain.layout.first[p + 1]):
        size = abs(psi[j] * signal[j]) * mantissa
        drawn = 0
        if size:
            added = noise(seed, tick, p, np.int64(j - begin)) & ((1 << shift) - 1)
            drawn = FACTOR_STEP * min(FACTOR_MOST, (size + added) >> shift)
        positive[j] = drawn if signal[j] > 0 else 0
        negative[j] = drawn if signal[j] < 0 else 0


@njit(cache=True)
def noise(seed: int, tick: int, population: int, neuron: Any) -> Any:
    """Return 32 bits that look random, a neuron's own in whatever order they are asked; `neuron` may be an array."""
    x = (seed * 0xC2B2AE3D + tick * 0x85EBCA77 + population * 0x27D4EB2F + neuron * 0x9E3779B1) & 0xFFFFFFFF
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


@njit(cache=True, inline="always")
def _add(chain: Chain, state: State, weight: np.ndarray, g: int) -> int:
    """Add the shifted sums of one group of synapses and return how many of them spikes passed."""
    layout, total, activation, exponent = chain.layout, state.total, state.activation, chain.exponent[g]
    begin, end = layout.first[layout.target[g]], layout.first[layout.target[g] + 1]
    for i in range(begin, end):
        total[i] = 0
    passed = add(layout, g, weight, state.spikes, total)
    for j in range(begin, end):
        activation[j] += total[j] << exponent if exponent > 0 else total[j] >> -exponent
    return passed


@njit(cache=True, inline="always")
def rounded(x: float, draw: float) -> int:
    """Return x rounded down, or up where the number drawn is below what rounding down leaves out."""
    whole = np.floor(x)
    return int(whole) + (draw < x - whole)


@njit(cache=True, inline="always")
def accumulated(x: int) -> int:
    """Return `x` within the accumulator, whose lower bound Lava sets one below the sign bit's."""
    return min(ACCUMULATOR - 1, max(-ACCUMULATOR - 1, x))


@njit(cache=True, inline="always")
def _learn(chain: Chain, state: State, g: int) -> int:
    """Let the traces take this step, change weights as LearningDense does, and return how many had a factor.

    With x1 the trace, x0 the spike, y1 and y2 the factors of either sign, 2^f = 2^quantum impulse / 8:

        w <- w - 2^quantum x1 y1 + 2^f x0 y1 + 2^quantum x1 y2 - 2^f x0 y2         products of two traces shifted by 3
    """
    layout, weight, trace, spikes = chain.layout, state.weight, state.trace, state.spikes
    positive, negative, tick = state.positive, state.negative, state.tick[0]
    first, source, target, row = layout.first, layout.source[g], layout.target[g], layout.weight[g]
    begin, end, before, size = first[target], first[target + 1], first[source], first[target + 1] - first[target]
    sources, memory, loop = first[source + 1] - first[source], layout.trace[g], int(source == target)
    keeps, impulse, trace_draw = chain.trace_keeps[target], chain.impulse[g], chain.trace_draw[tick, target, loop]
    factor_draw, weight_draw = chain.factor_draw[tick, target, loop], chain.weight_draw[tick] * (1 << FRACTION_BITS)
    with_trace = chain.quantum[g] + FRACTION_BITS
    with_spike = with_trace + _log2(impulse) - _log2(FACTOR_STEP)
    for k in range(sources):
        left = rounded(keeps * trace[memory + k], trace_draw) if trace[memory + k] else 0
        trace[memory + k] = min(TRACE_MAX, left + impulse * np.int64(spikes[before + k]))
    changed = 0
    for j in range(begin, end):
        if positive[j] == 0 and negative[j] == 0:
            continue
        changed += int(np.int64(sources))
        y1 = rounded(FACTOR_KEEPS * positive[j], factor_draw)
        y2 = rounded(FACTOR_KEEPS * negative[j], factor_draw)
        for i in range(sources):
            spike, x1, at = np.int64(spikes[before + i]), trace[memory + i], row + i * size + (j - begin)
            if x1 == 0:
                continue  # whatever has spiked has a trace, and a weight to which nothing is added is not rounded
            total = np.int64(weight[at]) << FRACTION_BITS
            if y1:
                total = accumulated(total + accumulated(((-x1 * y1) >> 3) << with_trace))
                total = accumulated(total + accumulated((spike * y1) << with_spike))
            if y2:
                total = accumulated(total + accumulated(((x1 * y2) >> 3) << with_trace))
                total = accumulated(total + accumulated((-spike * y2) << with_spike))
            up = weight_draw < (total & FRACTION_MASK)
            weight[at] = min(WEIGHT_MAX, max(WEIGHT_MIN, (total >> FRACTION_BITS) + up))
    return changed


@njit(cache=True)
def _log2(power: int) -> int:
    """Return the exponent of a power of two."""
    exponent = 0
    while power > 1:
        power >>= 1
        exponent += 1
    return exponent
