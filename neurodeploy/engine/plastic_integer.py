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
    Arrays,
    add,
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
    """What does not change: one entry per population, or per population and group of synapses (forward, recurrent)."""

    dv: Arrays
    theta: Arrays
    bias: Arrays
    bias_in_current: np.ndarray
    reset: np.ndarray
    feedback: Arrays
    feedback_exponent: np.ndarray
    mantissa: np.ndarray
    shift: np.ndarray
    psi_shift: np.ndarray
    width: np.ndarray
    regularizer: np.ndarray
    target_rate: np.ndarray
    trace_keeps: np.ndarray
    plastic: np.ndarray
    exponent: np.ndarray
    impulse: np.ndarray
    quantum: np.ndarray
    trace_draw: np.ndarray
    factor_draw: np.ndarray
    weight_draw: np.ndarray
    readout_decay: int
    readout_mantissa: int
    seed: int
    steps: int
    start: int


class State(NamedTuple):
    """What does. Weights are (pre, post); everything but spikes is int64; factors are kept as they are sent."""

    v: Arrays
    over: Arrays
    psi: Arrays
    spikes: Arrays
    activation: Arrays
    firing: Arrays
    signal: Arrays
    positive: Arrays
    negative: Arrays
    forward: Arrays
    recurrent: Arrays
    trace: Arrays
    loop_trace: Arrays
    y: np.ndarray
    error: np.ndarray
    tick: np.ndarray
    fired: np.ndarray
    counters: np.ndarray


def engine_seed(program: PlasticProgram, population: int, recurrent: bool) -> int:
    """Return the seed of the rounding of one synapse group."""
    return program.seed + 8 * (2 * population + recurrent)


def trace_keeps(dv: np.ndarray) -> float:
    """Return what is left of a trace after a step, as Lava computes it from the time constant it is given."""
    return float(np.exp(-1 / np.array([trace_tau(dv)]))[0])


def trace_tau(dv: np.ndarray) -> float:
    """Return the time constant with which a trace decays as the membrane does, steps."""
    return float(-1 / np.log((DECAY_ONE - int(dv.flat[0])) / DECAY_ONE))


def lay_out(program: PlasticProgram, steps: int) -> Chain:
    """Return the constants of an integer program, with the engine's random numbers of so many time steps."""
    populations, readout = program.populations, program.readout
    assert isinstance(readout, IntegerReadout)
    neurons: list[Neuron] = [population.neuron for population in populations]  # type: ignore[misc]
    factors: list[IntegerFactor] = [population.factor for population in populations]  # type: ignore[misc]

    def per_neuron(values: list[np.ndarray]) -> Arrays:
        return tuple(
            np.array(np.broadcast_to(value, population.size), np.int64)
            for value, population in zip(values, populations, strict=True)
        )

    def of_synapses(name: str) -> np.ndarray:
        return np.array([[getattr(p.forward, name), getattr(p.recurrent or p.forward, name)] for p in populations])

    def of_factors(name: str) -> np.ndarray:
        return np.array([getattr(factor, name) for factor in factors], np.int64)

    plastic = of_synapses("plastic")
    plastic[:, 1] &= [population.recurrent is not None for population in populations]
    return Chain(
        per_neuron([neuron.dv for neuron in neurons]),
        per_neuron([neuron.vth.astype(np.int64) << STATE_SHIFT for neuron in neurons]),
        per_neuron([neuron.bias_mantissa.astype(np.int64) << neuron.bias_exponent for neuron in neurons]),
        np.array([neuron.bias_in_current for neuron in neurons]),
        np.array([RESETS.index(neuron.reset) for neuron in neurons]),
        tuple(
            np.zeros((0, 0), np.int64) if f.feedback is None else np.array(f.feedback.T, np.int64, order="C")
            for f in factors
        ),
        of_factors("exponent"),
        of_factors("mantissa"),
        of_factors("shift"),
        of_factors("psi_shift"),
        of_factors("width"),
        of_factors("regularizer"),
        of_factors("target_rate"),
        np.array([trace_keeps(neuron.dv) for neuron in neurons]),
        plastic,
        of_synapses("exponent"),
        of_synapses("impulse"),
        of_synapses("quantum"),
        *_draws(program, steps),
        readout.decay,
        readout.mantissa,
        program.seed,
        program.steps,
        program.start,
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
            seed = engine_seed(program, p, recurrent)
            traces[:, p, int(recurrent)] = np.random.default_rng(seed).random(2 * steps + 1)[2::2]
            factors[:, p, int(recurrent)] = np.random.default_rng(seed + FACTOR_SEED).random(2 * steps + 1)[2::2]
    return traces, factors, np.random.default_rng(CONNECTION_SEED).random(steps + 1)[1:]


def at_rest(program: PlasticProgram, forward: Arrays, recurrent: Arrays) -> State:
    """Return the state before the first step; weights (pre, post) are changed where they are."""
    populations = program.populations

    def zeros() -> Arrays:
        return tuple(np.zeros(population.size, np.int64) for population in populations)

    return State(
        v=zeros(),
        over=zeros(),
        psi=zeros(),
        spikes=tuple(np.zeros(population.size, np.uint8) for population in populations),
        activation=zeros(),
        firing=tuple(np.full(p.size, int(p.factor.target_rate), np.int64) for p in populations),
        signal=zeros(),
        positive=zeros(),
        negative=zeros(),
        forward=forward,
        recurrent=recurrent,
        trace=tuple(np.zeros(population.forward.weight.shape[1], np.int64) for population in populations),
        loop_trace=tuple(np.zeros(0 if p.recurrent is None else p.size, np.int64) for p in populations),
        y=np.zeros(program.output.size, np.int64),
        error=np.zeros(program.output.size, np.int64),
        tick=np.zeros(1, np.int64),
        fired=np.zeros(len(populations), np.int64),
        counters=np.zeros(2, np.int64),
    )


@njit(cache=True)
def present(chain: Chain, state: State, spikes: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> None:
    """Advance over samples, uint8 (sample, step, input), and add the output's spikes to `counts` (sample, output)."""
    populations = len(state.v)
    silence = np.zeros(spikes.shape[2], np.uint8)
    for sample in range(len(spikes)):
        target = np.zeros(counts.shape[1], np.uint8)
        target[labels[sample]] = 1
        for step in range(chain.steps + populations):
            advance(chain, state, spikes[sample, step] if step < chain.steps else silence, target)
            counts[sample] += state.spikes[populations - 1]


@njit(cache=True, inline="always")
def advance(chain: Chain, state: State, inputs: np.ndarray, target: np.ndarray) -> None:
    """Advance everything by one time step."""
    last = len(state.v) - 1
    tick = state.tick[0]
    at = step_of_sample(tick - chain.start, chain.steps + last + 1)
    for p in range(last + 1):
        neuron = (chain.dv[p], chain.theta[p], chain.bias[p])
        own = (state.v[p], state.over[p], state.psi[p], state.spikes[p], state.firing[p])
        active = 0 <= at - 1 - p < chain.steps
        if not active or at == 1 + p:
            rest(*own[:4])
        if active:
            how = (chain.bias_in_current[p], chain.reset[p], chain.width[p], chain.psi_shift[p])
            state.fired[p] += _neurons(neuron, how, state.activation[p], *own)
        signal = state.signal[p]
        if p < last:
            rates = (chain.regularizer[p], chain.target_rate[p])
            _hear(chain.feedback[p], chain.feedback_exponent[p], state.error, rates, state.firing[p], signal)
        else:
            readout = (chain.readout_decay, chain.readout_mantissa)
            _read(readout, state.spikes[p], target, at > last, state.y, state.error)
            signal[:] = state.error
        drawing = (chain.mantissa[p], chain.shift[p], chain.seed, tick, p)
        _draw(drawing, state.psi[p], signal, state.positive[p], state.negative[p])
    for p in range(last + 1):
        source = inputs if p == 0 else state.spikes[p - 1]
        state.activation[p][:] = 0
        passed = _add(state.forward[p], source, chain.exponent[p, 0], state.activation[p])
        if state.recurrent[p].size:
            passed += _add(state.recurrent[p], state.spikes[p], chain.exponent[p, 1], state.activation[p])
        state.counters[0] += passed
        for group in range(2):
            if chain.plastic[p, group]:
                weight, trace = (
                    (state.forward[p], state.trace[p]) if group == 0 else (state.recurrent[p], state.loop_trace[p])
                )
                draws = (chain.trace_draw[tick, p, group], chain.factor_draw[tick, p, group], chain.weight_draw[tick])
                formats = (chain.trace_keeps[p], chain.impulse[p, group], chain.quantum[p, group])
                before = source if group == 0 else state.spikes[p]
                state.counters[1] += _learn(weight, state.positive[p], state.negative[p], trace, before, formats, draws)
    state.tick[0] += 1


@njit(cache=True, inline="always")
def _decayed(x: int, rate: int) -> int:
    """Return `x` after one step of 12-bit decay, rounded towards zero."""
    magnitude = (abs(x) * (DECAY_ONE - rate)) >> 12
    return magnitude if x >= 0 else -magnitude


@njit(cache=True, inline="always")
def _wrapped(u: int) -> int:
    if u > CURRENT_HALF:
        return u - 2 * CURRENT_HALF
    return u + 2 * CURRENT_HALF if u <= -CURRENT_HALF else u


@njit(cache=True)
def _neurons(
    neuron: tuple[np.ndarray, np.ndarray, np.ndarray],
    how: tuple[bool, int, int, int],
    activation: np.ndarray,
    v: np.ndarray,
    over: np.ndarray,
    psi: np.ndarray,
    spikes: np.ndarray,
    firing: np.ndarray,
) -> int:
    """Update a population and return how many spiked; `over` is [v > theta] of the step before."""
    in_current, reset, width, psi_shift = how
    fired = 0
    for j in range(v.size):
        dv, theta, bias = neuron[0][j], neuron[1][j], neuron[2][j]
        current = _wrapped((activation[j] << STATE_SHIFT) + (bias if in_current else 0))
        potential = _decayed(v[j], dv) + current + (0 if in_current else bias)
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
        firing[j] = _decayed(firing[j], FIRING_DECAY) + fires * FIRING_UNIT
        fired += fires
    return fired


@njit(cache=True)
def _read(
    readout: tuple[int, int], spikes: np.ndarray, target: np.ndarray, active: bool, y: np.ndarray, error: np.ndarray
) -> None:
    """Read the output's error."""
    decay, mantissa = readout
    for k in range(y.size):
        if active:
            y[k] = _decayed(y[k], decay) + READOUT_UNIT * spikes[k]
            reached = (y[k] * mantissa) >> READOUT_SHIFT
            error[k] = min(ERROR_ONE, max(-ERROR_ONE, reached - ERROR_ONE * target[k]))
        else:
            y[k] = 0
            error[k] = 0


@njit(cache=True)
def _hear(
    feedback: np.ndarray,
    exponent: int,
    error: np.ndarray,
    rates: tuple[int, int],
    firing: np.ndarray,
    signal: np.ndarray,
) -> None:
    """Return L of hidden neurons in `signal`; `feedback` is (output, neuron), `error` that of the step before."""
    regularizer, target_rate = rates
    signal[:] = 0
    for k in range(error.size):
        heard = error[k]
        if heard != 0:
            for j in range(signal.size):
                signal[j] += heard * feedback[k, j]
    for j in range(signal.size):
        shifted = signal[j] << exponent if exponent > 0 else signal[j] >> -exponent
        signal[j] = shifted + (((firing[j] - target_rate) * regularizer) >> 12)


@njit(cache=True)
def _draw(
    drawing: tuple[int, int, int, int, int],
    psi: np.ndarray,
    signal: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
) -> None:
    """Draw the third factors, each a multiple of eight on one of the two ports."""
    mantissa, shift, seed, tick, population = drawing
    for j in range(psi.size):
        size = abs(psi[j] * signal[j]) * mantissa
        drawn = 0
        if size:
            added = noise(seed, tick, population, j) & ((1 << shift) - 1)
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


@njit(cache=True)
def _add(weight: np.ndarray, source: np.ndarray, exponent: int, activation: np.ndarray) -> int:
    """Add the shifted sums of one synapse group and return how many synapses spikes passed."""
    total = np.zeros(activation.size, np.int64)
    passed = add(weight, source, total)
    for j in range(total.size):
        activation[j] += total[j] << exponent if exponent > 0 else total[j] >> -exponent
    return passed


@njit(cache=True, inline="always")
def _rounded(x: float, draw: float) -> int:
    """Return x rounded down, or up where the number drawn is below what rounding down leaves out."""
    whole = np.floor(x)
    return int(whole) + (draw < x - whole)


@njit(cache=True, inline="always")
def _clipped(x: int) -> int:
    """Return `x` within the accumulator, whose lower bound Lava sets one below the sign bit's."""
    return min(ACCUMULATOR - 1, max(-ACCUMULATOR - 1, x))


@njit(cache=True)
def _learn(
    weight: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    trace: np.ndarray,
    source: np.ndarray,
    formats: tuple[float, int, int],
    draws: tuple[float, float, float],
) -> int:
    """Let the traces take this step, change weights as LearningDense does, and return how many had a factor.

    With x1 the trace, x0 the spike, y1 and y2 the factors of either sign, 2^f = 2^quantum impulse / 8:

        w <- w - 2^quantum x1 y1 + 2^f x0 y1 + 2^quantum x1 y2 - 2^f x0 y2         products of two traces shifted by 3
    """
    keeps, impulse, quantum = formats
    for i in range(trace.size):
        left = _rounded(keeps * trace[i], draws[0]) if trace[i] else 0
        trace[i] = min(TRACE_MAX, left + impulse * np.int64(source[i]))
    with_trace = quantum + FRACTION_BITS
    with_spike = with_trace + _log2(impulse) - _log2(FACTOR_STEP)
    weight_draw = draws[2] * (1 << FRACTION_BITS)
    changed = 0
    for j in range(positive.size):
        if positive[j] == 0 and negative[j] == 0:
            continue
        changed += trace.size
        y1 = _rounded(FACTOR_KEEPS * positive[j], draws[1])
        y2 = _rounded(FACTOR_KEEPS * negative[j], draws[1])
        for i in range(trace.size):
            spike = np.int64(source[i])
            if trace[i] == 0:
                continue  # whatever has spiked has a trace, and a weight to which nothing is added is not rounded
            total = np.int64(weight[i, j]) << FRACTION_BITS
            if y1:
                total = _clipped(total + _clipped(((-trace[i] * y1) >> 3) << with_trace))
                total = _clipped(total + _clipped((spike * y1) << with_spike))
            if y2:
                total = _clipped(total + _clipped(((trace[i] * y2) >> 3) << with_trace))
                total = _clipped(total + _clipped((-spike * y2) << with_spike))
            up = weight_draw < (total & FRACTION_MASK)
            weight[i, j] = min(WEIGHT_MAX, max(WEIGHT_MIN, (total >> FRACTION_BITS) + up))
    return changed


@njit(cache=True)
def _log2(power: int) -> int:
    """Return the exponent of a power of two."""
    exponent = 0
    while power > 1:
        power >>= 1
        exponent += 1
    return exponent
