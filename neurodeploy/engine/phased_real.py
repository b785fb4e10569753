"""One step of a `PhasedProgram` in real numbers (float64): the equations of `ir/phased.py`, in their order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from neurodeploy.engine.plastic_real import Arrays
from neurodeploy.ir.phased import UPDATE_STEPS, PhasedProgram, RealErrors, RealPhases, RealRate, total


class Chain(NamedTuple):
    """What does not change: one entry per population, or per population and group of synapses (forward, recurrent)."""

    leak: np.ndarray
    threshold: np.ndarray
    quantum: np.ndarray
    bias: Arrays
    back_threshold: np.ndarray
    back_quantum: np.ndarray
    low: np.ndarray
    high: np.ndarray
    full: np.ndarray
    back_full: np.ndarray
    rate: np.ndarray
    plastic: np.ndarray
    goal: float
    gain: float
    margin: float
    steps: int
    back_steps: int
    start: int
    learns: bool


class State(NamedTuple):
    """What does, in either arithmetic; integers are int64. Weights are (pre, post).

    `spikes` are s, and `back` is what is sent backwards, m q or the error. `current` and `back_current` are what the
    synapses summed up for the next step; `seen` is the input's count.
    """

    v: Arrays
    u: Arrays
    spikes: Arrays
    output: np.ndarray
    q: Arrays
    back: Arrays
    counts: Arrays
    back_counts: Arrays
    current: Arrays
    back_current: Arrays
    forward: Arrays
    recurrent: Arrays
    seen: np.ndarray
    tick: np.ndarray
    fired: np.ndarray
    counters: np.ndarray


def lay_out(program: PhasedProgram, steps: int) -> Chain:
    """Return the constants of a real program; `steps` is for the arithmetic that draws."""
    populations, errors = program.populations, program.errors
    assert isinstance(errors, RealErrors)
    neurons: list[RealPhases] = [population.neuron for population in populations]  # type: ignore[misc]
    rates: list[RealRate] = [population.rate for population in populations]  # type: ignore[misc]

    def of_neurons(name: str) -> np.ndarray:
        return np.array([getattr(neuron, name) for neuron in neurons], np.float64)

    plastic = plastic_groups(program)
    return Chain(
        of_neurons("leak"),
        of_neurons("threshold"),
        of_neurons("quantum"),
        tuple(np.array(np.broadcast_to(p.neuron.bias, p.size), np.float64) for p in populations),
        of_neurons("back_threshold"),
        of_neurons("back_quantum"),
        of_neurons("low"),
        of_neurons("high"),
        np.array([total(neuron.leak, program.steps) for neuron in neurons]),
        np.array([total(neuron.leak, program.back_steps) for neuron in neurons]),
        np.array([rate.rate for rate in rates], np.float64),
        plastic,
        float(errors.goal),
        float(errors.gain),
        float(errors.margin),
        program.steps,
        program.back_steps,
        program.start,
        bool(plastic.any()),
    )


def plastic_groups(program: PhasedProgram) -> np.ndarray:
    """Return which groups of synapses learn, (population, forward or recurrent)."""
    return np.array([[p.forward.plastic, p.recurrent is not None and p.recurrent.plastic] for p in program.populations])


def at_rest(program: PhasedProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` holds all weights, which are changed where they are."""
    return rested(program, weight, np.float64)


def rested(program: PhasedProgram, weight: np.ndarray, number: type) -> State:
    """Return the zeros of this type of `number` that a state begins with, the weights within `weight`."""
    populations = program.populations
    forward, recurrent = _by_source(program, weight)
    spikes = tuple(np.zeros(population.size, np.uint8) for population in populations)

    def zeros(like: type = number) -> Arrays:
        return tuple(np.zeros(population.size, like) for population in populations)

    return State(
        v=zeros(),
        u=zeros(),
        spikes=spikes,
        output=spikes[-1],
        q=zeros(np.int64),
        back=zeros(),
        counts=zeros(),
        back_counts=zeros(),
        current=zeros(),
        back_current=zeros(),
        forward=forward,
        recurrent=recurrent,
        seen=np.zeros(program.inputs, number),
        tick=np.zeros(1, np.int64),
        fired=np.zeros(len(populations), np.int64),
        counters=np.zeros(2, np.int64),
    )


def _by_source(program: PhasedProgram, flat: np.ndarray) -> tuple[Arrays, Arrays]:
    """Return forward and recurrent weights (pre, post) per population, within `flat`: those of a spike lie together."""
    forward: list[np.ndarray] = []
    recurrent: list[np.ndarray] = []
    first = 0
    for population in program.populations:
        for synapses, found in ((population.forward, forward), (population.recurrent, recurrent)):
            shape = (0, 0) if synapses is None else synapses.weight.T.shape
            found.append(flat[first : first + shape[0] * shape[1]].reshape(shape))
            first += shape[0] * shape[1]
    return tuple(forward), tuple(recurrent)


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
    updates_at = chain.steps + chain.back_steps + 2 * last + 1
    at = (state.tick[0] - chain.start) % (updates_at + UPDATE_STEPS) if state.tick[0] >= chain.start else -1
    if at == 0:
        state.seen[:] = 0
    if 0 <= at < chain.steps:
        state.seen[:] = chain.leak[0] * state.seen + inputs
    for p in range(last + 1):
        step, back_step = at - 1 - p, at - (chain.steps + 2 * last + 1 - p)
        if not 0 < step < chain.steps:
            state.spikes[p][:] = 0
        if step == 0:
            state.v[p][:] = 0
            state.counts[p][:] = 0
        if 0 <= step < chain.steps:
            neuron = (chain.leak[p], chain.threshold[p], chain.quantum[p])
            state.fired[p] += _forward(
                neuron, chain.bias[p], state.current[p], state.v[p], state.spikes[p], state.counts[p]
            )
        state.back[p][:] = 0
        if 0 <= back_step < chain.back_steps:
            if p == last:
                _compare(chain.full[p] * chain.goal, chain.margin, state.counts[p], target, state.back[p])
                state.back_counts[p][:] = chain.back_full[p] * state.back[p]
            else:
                if back_step == 0:
                    state.u[p][:] = 0
                    state.q[p][:] = 0
                    state.back_counts[p][:] = 0
                neuron = (chain.leak[p], chain.back_threshold[p], chain.back_quantum[p])
                _backward(neuron, (chain.low[p], chain.high[p]), state.counts[p], state.back_current[p],
                          state.u[p], state.q[p], state.back[p], state.back_counts[p])  # fmt: skip
    for p in range(last + 1):
        _sum(chain, state, inputs, p)
        if 0 <= at - updates_at < UPDATE_STEPS:
            sign = 1 - 2 * (at - updates_at)
            rate = chain.rate[p] / chain.back_full[p]
            for group in range(2):
                if chain.plastic[p, group]:
                    source = p - 1 + group
                    weight = state.forward[p] if group == 0 else state.recurrent[p]
                    count = state.seen if source < 0 else state.counts[source]
                    full = chain.full[max(source, 0)]
                    state.counters[1] += _learn(weight, count, full, state.back_counts[p], rate, sign)
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
    looped = state.recurrent[p].size > 0
    if looped:
        passed += pass_on(state.recurrent[p], state.spikes[p], current)
    if p < len(state.v) - 1:
        heard[:] = 0
        passed += pass_back(state.forward[p + 1], state.back[p + 1], heard)
        if p == len(state.v) - 2:
            heard *= chain.gain
        if looped:
            passed += pass_back(state.recurrent[p], state.back[p], heard)
    state.counters[0] += passed


@njit(cache=True)
def _forward(
    neuron: tuple[float, float, float],
    bias: np.ndarray,
    current: np.ndarray,
    v: np.ndarray,
    spikes: np.ndarray,
    count: np.ndarray,
) -> int:
    """Update a population's forward phase and return how many spiked."""
    leak, threshold, quantum = neuron
    fired = 0
    for j in range(v.size):
        v[j] = leak * v[j] + current[j] + bias[j] - quantum * spikes[j]
        spikes[j] = v[j] > threshold
        count[j] = leak * count[j] + spikes[j]
        fired += spikes[j]
    return fired


@njit(cache=True)
def _backward(
    neuron: tuple[float, float, float],
    gate: tuple[float, float],
    count: np.ndarray,
    current: np.ndarray,
    u: np.ndarray,
    q: np.ndarray,
    back: np.ndarray,
    back_count: np.ndarray,
) -> None:
    """Update a hidden population's backward phase; `count` is that of its forward phase."""
    leak, threshold, quantum = neuron
    low, high = gate
    for j in range(u.size):
        u[j] = leak * u[j] + current[j] - quantum * q[j]
        q[j] = int(u[j] > threshold) - int(u[j] < -threshold)
        back[j] = q[j] if low < count[j] < high else 0
        back_count[j] = leak * back_count[j] + back[j]


@njit(cache=True)
def _compare(full: float, margin: float, count: np.ndarray, target: np.ndarray, error: np.ndarray) -> None:
    """Return the output's error; `full` is the count that the right output is to reach."""
    for k in range(count.size):
        missed = min(1.0, max(-1.0, count[k] / full - target[k]))
        error[k] = missed if abs(missed) > margin else 0.0


@njit(cache=True)
def pass_on(weight: np.ndarray, source: np.ndarray, total: np.ndarray) -> int:
    """Add weights (pre, post) times graded `source` to `total` and return how many synapses that passed."""
    passed = 0
    for i in range(source.size):
        sent = source[i]
        if sent != 0:
            passed += total.size
            for j in range(total.size):
                total[j] += weight[i, j] * sent
    return passed


@njit(cache=True)
def pass_back(weight: np.ndarray, source: np.ndarray, total: np.ndarray) -> int:
    """The same through the transposed weights: `source` (post,) to `total` (pre,)."""
    sending = np.nonzero(source)[0]
    if sending.size:
        for i in range(total.size):
            for j in sending:
                total[i] += weight[i, j] * source[j]
    return sending.size * total.size


@njit(cache=True)
def _learn(weight: np.ndarray, count: np.ndarray, full: float, back_count: np.ndarray, rate: float, sign: int) -> int:
    """Change by -rate b a the weights of all b of this sign, and return how many that were."""
    changed = 0
    for j in range(back_count.size):
        if sign * back_count[j] > 0:
            changed += count.size
    if changed:
        for i in range(count.size):
            a = count[i] / full
            if a != 0:
                for j in range(back_count.size):
                    if sign * back_count[j] > 0:
                        weight[i, j] -= a * (rate * back_count[j])
    return changed
