"""One step of a `PairedProgram` in real numbers (float64): the equations of `ir/paired.py`, in their order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from neurodeploy.engine.plastic_real import (
    NEGLIGIBLE,
    RESETS,
    SUBTRACT,
    SUBTRACT_NEXT,
    ZERO,
    ZERO_NEXT,
    step_of_sample,
)
from neurodeploy.ir.onchip import RealNeuron
from neurodeploy.ir.paired import PairedProgram

Arrays = tuple[np.ndarray, ...]
FEATURES, OUTPUT = 0, 1


class Chain(NamedTuple):
    """What does not change: one entry per population, features first."""

    beta: Arrays
    reset: np.ndarray
    plastic: np.ndarray
    keep_plus: np.ndarray
    impulse: np.ndarray
    a_plus: np.ndarray
    keep_minus: float
    a_minus: float
    leak: float
    target: float
    homeostasis: tuple[float, float, float]
    reward: tuple[float, float]
    steps: int
    period: int
    start: int


class State(NamedTuple):
    """What does, in either arithmetic. Weights and e are (pre, post).

    `activation` is what the synapses summed up for the next step. In integers weights and thresholds are int32.
    """

    v: Arrays
    over: Arrays
    spikes: Arrays
    output: np.ndarray
    activation: Arrays
    threshold: Arrays
    spent: np.ndarray
    weight: Arrays
    inhibition: np.ndarray
    trace: Arrays
    y: np.ndarray
    e: np.ndarray
    counts: np.ndarray
    decided: np.ndarray
    signal: np.ndarray
    tick: np.ndarray
    fired: np.ndarray
    counters: np.ndarray


def lay_out(program: PairedProgram, steps: int) -> Chain:
    """Return the constants of a real program; `steps` is for the arithmetic that draws."""
    populations, homeostasis, reward = program.populations, program.features.homeostasis, program.output.reward
    neurons: list[RealNeuron] = [population.neuron for population in populations]  # type: ignore[misc]
    constants = [population.pairing.constants for population in populations]
    sizes = [population.size for population in populations]

    def of_pairing(name: str) -> np.ndarray:
        return np.array([each[name] for each in constants])

    features, unit = constants[FEATURES], 2.0**reward.exponent
    return Chain(
        tuple(np.full(size, float(neuron.beta.flat[0])) for size, neuron in zip(sizes, neurons, strict=True)),
        np.array([RESETS.index(neuron.reset) for neuron in neurons]),
        np.array([population.forward.plastic for population in populations]),
        of_pairing("keep_plus"),
        of_pairing("impulse"),
        of_pairing("a_plus"),
        features["keep_minus"],
        features["a_minus"],
        features["leak"],
        features["target"],
        (float(homeostasis.rise), float(homeostasis.fall), float(homeostasis.least)),
        (unit * reward.reward, unit * reward.punishment),
        program.steps,
        program.period,
        program.start,
    )


def by_group(program: PairedProgram, flat: np.ndarray) -> list[np.ndarray]:
    """Return the program's `weights` as (pre, post) within `flat`."""
    parts = np.split(flat, np.cumsum([weight.size for weight in program.weights])[:-1])
    return [part.reshape(weight.T.shape) for part, weight in zip(parts, program.weights, strict=True)]


def at_rest(program: PairedProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` is `flat_weights`, changed where it is."""
    neuron = program.output.neuron
    assert isinstance(neuron, RealNeuron)
    counting = np.array(np.broadcast_to(neuron.theta, program.output.size), np.float64)
    return rested(program, weight, counting, np.float64)


def rested(program: PairedProgram, weight: np.ndarray, counting: np.ndarray, number: type) -> State:
    """Return zeros of this type of `number`, with the weights within `weight` and the output's threshold `counting`."""
    features, output = program.features.size, program.output.size
    forward, inhibition, threshold, votes = by_group(program, weight)
    spikes = (np.zeros(features, np.uint8), np.zeros(output, np.uint8))

    def zeros() -> Arrays:
        return np.zeros(features, number), np.zeros(output, number)

    return State(
        v=zeros(),
        over=zeros(),
        spikes=spikes,
        output=spikes[OUTPUT],
        activation=zeros(),
        threshold=(threshold[0], counting),
        spent=np.zeros(features, number),
        weight=(forward, votes),
        inhibition=inhibition,
        trace=(np.zeros(program.inputs, number), np.zeros(features, number)),
        y=np.zeros(features, number),
        e=np.zeros(votes.shape, number),
        counts=np.zeros(output, np.int64),
        decided=np.zeros(output, number),
        signal=np.zeros(output, number),
        tick=np.zeros(1, np.int64),
        fired=np.zeros(2, np.int64),
        counters=np.zeros(2, np.int64),
    )


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
    at = step_of_sample(state.tick[0] - chain.start, chain.period)
    for p in range(2):
        active = 0 <= at - 1 - p < chain.steps
        own = (state.v[p], state.over[p], state.spikes[p])
        if not active or at == 1 + p:
            rest(*own)
        if active:
            neuron = (chain.beta[p], state.threshold[p])
            state.fired[p] += _neurons(neuron, chain.reset[p], state.activation[p], *own)
    if at == chain.steps + 1:
        adapt(chain.homeostasis, state.threshold[FEATURES], state.spent)
    state.spent[:] += state.spikes[FEATURES]
    judge(chain.reward, at - chain.steps, state.spikes[OUTPUT], target, state.counts, state.decided, state.signal)
    for p in range(2):
        state.activation[p][:] = 0
        state.counters[0] += add(state.weight[p], inputs if p == 0 else state.spikes[FEATURES], state.activation[p])
    state.counters[0] += add(state.inhibition, state.spikes[FEATURES], state.activation[FEATURES])
    if chain.plastic[FEATURES]:
        constants = (chain.a_plus[FEATURES], chain.target, chain.leak, chain.a_minus)
        traces = (chain.keep_plus[FEATURES], chain.keep_minus, chain.impulse[FEATURES])
        take(state.trace[FEATURES], inputs, traces[0], traces[2])
        take(state.y, state.spikes[FEATURES], traces[1], traces[2])
        state.counters[1] += _pair(
            constants, state.weight[FEATURES], state.trace[FEATURES], state.y, inputs, state.spikes[FEATURES]
        )
    if chain.plastic[OUTPUT]:
        take(state.trace[OUTPUT], state.spikes[FEATURES], chain.keep_plus[OUTPUT], chain.impulse[OUTPUT])
        if at == chain.steps + 2:
            state.counters[1] += _reinforce(state.weight[OUTPUT], state.signal, state.e)
        _remember(chain.a_plus[OUTPUT], state.trace[OUTPUT], state.spikes[OUTPUT], state.e)
    state.tick[0] += 1


@njit(cache=True)
def rest(v: np.ndarray, over: np.ndarray, spikes: np.ndarray) -> None:
    """Begin a sample, or wait for the next."""
    v[:] = 0
    over[:] = 0
    spikes[:] = 0


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
        theta = neuron[1][j]
        potential = neuron[0][j] * v[j] + activation[j]
        if reset == ZERO_NEXT:
            potential *= 1 - over[j]
        elif reset in (SUBTRACT_NEXT, SUBTRACT):
            potential -= over[j] * theta
        fires = potential > theta
        if reset == ZERO and fires:
            potential = 0.0
        elif reset == SUBTRACT:
            potential -= (fires - over[j]) * theta
        v[j] = potential
        over[j] = potential > theta
        spikes[j] = fires
        fired += fires
    return fired


@njit(cache=True)
def add(weight: np.ndarray, source: np.ndarray, total: np.ndarray) -> int:
    """Add the weights (pre, post) of all spikes to `total` and return how many synapses that were."""
    passed = 0
    for i in range(source.size):
        if source[i]:
            passed += total.size
            for j in range(total.size):
                total[j] += weight[i, j]
    return passed


@njit(cache=True)
def adapt(homeostasis: tuple[float, float, float], threshold: np.ndarray, spent: np.ndarray) -> None:
    """Let thresholds follow the spikes of the sample, and forget these."""
    rise, fall, least = homeostasis
    for j in range(threshold.size):
        threshold[j] = max(least, threshold[j] + rise * spent[j] - fall)
        spent[j] = 0


@njit(cache=True)
def judge(
    reward: tuple[float, float],
    since: int,
    spikes: np.ndarray,
    target: np.ndarray,
    counts: np.ndarray,
    decided: np.ndarray,
    signal: np.ndarray,
) -> None:
    """Count, decide in the output's last step (`since` 1), and give in `signal` what was decided a step before."""
    signal[:] = decided
    decided[:] = 0
    for k in range(counts.size):
        counts[k] += spikes[k]
    if since == 1:
        winner = counts.argmax()
        decided[winner] = reward[0] if target[winner] else -reward[1]
        counts[:] = 0


@njit(cache=True)
def take(trace: np.ndarray, spikes: np.ndarray, keep: float, impulse: float) -> None:
    """Let a trace decay and take the spikes of this step."""
    for i in range(trace.size):
        left = keep * trace[i] if trace[i] > NEGLIGIBLE else 0.0
        trace[i] = left + impulse * spikes[i]


@njit(cache=True)
def _pair(
    constants: tuple[float, float, float, float],
    weight: np.ndarray,
    x1: np.ndarray,
    y1: np.ndarray,
    before: np.ndarray,
    behind: np.ndarray,
) -> int:
    """Change the features' weights and return how many were up for a change."""
    a_plus, target, leak, a_minus = constants
    changed = 0
    for i in range(x1.size):
        falls = before[i] and a_minus != 0
        for j in range(y1.size):
            if behind[j] or falls:
                change = a_plus * (x1[i] - target) - leak * weight[i, j] if behind[j] else 0.0
                weight[i, j] += change - (a_minus * y1[j] if falls else 0.0)
                changed += 1
    return changed


@njit(cache=True)
def _reinforce(weight: np.ndarray, signal: np.ndarray, e: np.ndarray) -> int:
    """Change the output's weights by what was decided, forget what led to it, and return how many were up for it."""
    for k in range(signal.size):
        if signal[k] != 0:
            for j in range(len(e)):
                weight[j, k] += signal[k] * e[j, k]
    e[:] = 0
    return int(np.count_nonzero(signal)) * len(e)


@njit(cache=True)
def _remember(a_plus: float, x1: np.ndarray, spikes: np.ndarray, e: np.ndarray) -> None:
    """Let e take the pairs that the output's spikes complete."""
    for k in range(spikes.size):
        if spikes[k]:
            for j in range(x1.size):
                e[j, k] += a_plus * x1[j]
