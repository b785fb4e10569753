"""One step of a `PlasticProgram` in real numbers (float64): the equations of `ir/onchip.py`, in their order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.onchip import (
    RATE_SHIFT,
    PlasticProgram,
    RealFactor,
    RealNeuron,
    RealReadout,
)

RESETS = tuple(Reset)
ZERO, ZERO_NEXT, SUBTRACT_NEXT, SUBTRACT = (
    RESETS.index(reset) for reset in (Reset.ZERO, Reset.ZERO_NEXT_STEP, Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT)
)
RATE_SHARE = 2.0**-RATE_SHIFT
NEGLIGIBLE = 1e-150
"""A trace that has faded this far is over; processors take a hundred times longer for numbers near 1e-308."""

Arrays = tuple[np.ndarray, ...]


class Chain(NamedTuple):
    """What does not change: one entry per population."""

    beta: Arrays
    theta: Arrays
    bias: Arrays
    reset: np.ndarray
    feedback: Arrays
    rate: np.ndarray
    width: np.ndarray
    regularizer: np.ndarray
    target_rate: np.ndarray
    trace_beta: np.ndarray
    plastic: np.ndarray
    kappa: float
    goal: float
    steps: int
    start: int


class State(NamedTuple):
    """What does. Weights are (pre, post); `activation` is what the synapses summed up for the next step."""

    v: Arrays
    over: Arrays
    psi: Arrays
    spikes: Arrays
    activation: Arrays
    firing: Arrays
    factor: Arrays
    forward: Arrays
    recurrent: Arrays
    trace: Arrays
    loop_trace: Arrays
    y: np.ndarray
    error: np.ndarray
    tick: np.ndarray
    fired: np.ndarray
    counters: np.ndarray


def lay_out(program: PlasticProgram, steps: int) -> Chain:
    """Return the constants of a real program; `steps` is for the arithmetic that draws."""
    populations, readout = program.populations, program.readout
    assert isinstance(readout, RealReadout)
    neurons: list[RealNeuron] = [population.neuron for population in populations]  # type: ignore[misc]
    factors: list[RealFactor] = [population.factor for population in populations]  # type: ignore[misc]

    def per_neuron(name: str) -> Arrays:
        return tuple(
            np.array(np.broadcast_to(getattr(neuron, name), population.size), np.float64)
            for neuron, population in zip(neurons, populations, strict=True)
        )

    return Chain(
        per_neuron("beta"),
        per_neuron("theta"),
        per_neuron("bias"),
        np.array([RESETS.index(neuron.reset) for neuron in neurons]),
        tuple(
            np.zeros((0, 0)) if f.feedback is None else np.array(f.feedback.T, np.float64, order="C") for f in factors
        ),
        np.array([factor.rate for factor in factors], np.float64),
        np.array([factor.width for factor in factors], np.float64),
        np.array([factor.regularizer for factor in factors], np.float64),
        np.array([factor.target_rate for factor in factors], np.float64),
        np.array([neuron.beta.flat[0] for neuron in neurons], np.float64),
        np.array([[p.forward.plastic, p.recurrent is not None and p.recurrent.plastic] for p in populations]),
        float(readout.kappa),
        float(readout.goal),
        program.steps,
        program.start,
    )


def at_rest(program: PlasticProgram, forward: Arrays, recurrent: Arrays) -> State:
    """Return the state before the first step; weights (pre, post) are changed where they are."""
    populations = program.populations

    def zeros() -> Arrays:
        return tuple(np.zeros(population.size) for population in populations)

    firing = tuple(np.full(p.size, float(p.factor.target_rate)) for p in populations)
    return State(
        v=zeros(),
        over=zeros(),
        psi=zeros(),
        spikes=tuple(np.zeros(population.size, np.uint8) for population in populations),
        activation=zeros(),
        firing=firing,
        factor=zeros(),
        forward=forward,
        recurrent=recurrent,
        trace=tuple(np.zeros(population.forward.weight.shape[1]) for population in populations),
        loop_trace=tuple(np.zeros(0 if p.recurrent is None else p.size) for p in populations),
        y=np.zeros(program.output.size),
        error=np.zeros(program.output.size),
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
    at = step_of_sample(state.tick[0] - chain.start, chain.steps + last + 1)
    for p in range(last + 1):
        neuron = (chain.beta[p], chain.theta[p], chain.bias[p])
        own = (state.v[p], state.over[p], state.psi[p], state.spikes[p], state.firing[p])
        active = 0 <= at - 1 - p < chain.steps
        if not active or at == 1 + p:
            rest(*own[:4])
        if active:
            state.fired[p] += _neurons(neuron, chain.reset[p], chain.width[p], state.activation[p], *own)
        signal = state.factor[p]
        if p < last:
            _hear(chain.feedback[p], state.error, chain.regularizer[p], chain.target_rate[p], state.firing[p], signal)
        else:
            _read(chain.kappa, chain.goal, state.spikes[p], target, at > last, state.y, state.error)
            signal[:] = state.error
        _weigh(chain.rate[p], state.psi[p], signal)
    for p in range(last + 1):
        source = inputs if p == 0 else state.spikes[p - 1]
        activation, factor, beta = state.activation[p], state.factor[p], chain.trace_beta[p]
        activation[:] = 0
        passed = add(state.forward[p], source, activation)
        if state.recurrent[p].size:
            passed += add(state.recurrent[p], state.spikes[p], activation)
        state.counters[0] += passed
        if chain.plastic[p, 0]:
            state.counters[1] += _learn(state.forward[p], factor, state.trace[p], source, beta)
        if chain.plastic[p, 1]:
            state.counters[1] += _learn(state.recurrent[p], factor, state.loop_trace[p], state.spikes[p], beta)
    state.tick[0] += 1


@njit(cache=True)
def step_of_sample(tick: int, period: int) -> int:
    """Return how many steps ago a sample began, `tick` counted from the first one's beginning; -1 before it."""
    return tick % period if tick >= 0 else -1


@njit(cache=True)
def rest(v: np.ndarray, over: np.ndarray, psi: np.ndarray, spikes: np.ndarray) -> None:
    """Begin a sample, or wait for the next."""
    v[:] = 0
    over[:] = 0
    psi[:] = 0
    spikes[:] = 0


@njit(cache=True)
def _neurons(
    neuron: tuple[np.ndarray, np.ndarray, np.ndarray],
    reset: int,
    width: float,
    activation: np.ndarray,
    v: np.ndarray,
    over: np.ndarray,
    psi: np.ndarray,
    spikes: np.ndarray,
    firing: np.ndarray,
) -> int:
    """Update a population and return how many spiked; `over` is [v > theta] of the step before."""
    fired = 0
    for j in range(v.size):
        theta = neuron[1][j]
        potential = neuron[0][j] * v[j] + activation[j] + neuron[2][j]
        if reset == ZERO_NEXT:
            potential *= 1 - over[j]
        elif reset in (SUBTRACT_NEXT, SUBTRACT):
            potential -= over[j] * theta
        fires = potential > theta
        psi[j] = max(0.0, 1 - abs(potential - theta) / (width * theta))
        if reset == ZERO and fires:
            potential = 0.0
        elif reset == SUBTRACT:
            potential -= (fires - over[j]) * theta
        v[j] = potential
        over[j] = potential > theta
        spikes[j] = fires
        firing[j] += RATE_SHARE * (fires - firing[j])
        fired += fires
    return fired


@njit(cache=True)
def _read(
    kappa: float, goal: float, spikes: np.ndarray, target: np.ndarray, active: bool, y: np.ndarray, error: np.ndarray
) -> None:
    """Read the output's error."""
    for k in range(y.size):
        y[k] = kappa * y[k] + spikes[k] if active else 0.0
        error[k] = min(1.0, max(-1.0, y[k] / goal - target[k])) if active else 0.0


@njit(cache=True)
def _hear(
    feedback: np.ndarray,
    error: np.ndarray,
    regularizer: float,
    target_rate: float,
    firing: np.ndarray,
    signal: np.ndarray,
) -> None:
    """Return L of hidden neurons in `signal`; `feedback` is (output, neuron), `error` that of the step before."""
    for j in range(signal.size):
        signal[j] = regularizer * (firing[j] - target_rate)
    for k in range(error.size):
        heard = error[k]
        if heard != 0:
            for j in range(signal.size):
                signal[j] += heard * feedback[k, j]


@njit(cache=True)
def _weigh(rate: float, psi: np.ndarray, signal: np.ndarray) -> None:
    """Turn L into the third factor, in place."""
    for j in range(signal.size):
        signal[j] *= rate * psi[j]


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
def _learn(weight: np.ndarray, factor: np.ndarray, trace: np.ndarray, source: np.ndarray, beta: float) -> int:
    """Change `weight` by -factor beta eps', let the trace take this step's spikes, and return how many it changed."""
    learning = int(np.count_nonzero(factor))
    for i in range(trace.size):
        trace[i] = beta * trace[i] if trace[i] > NEGLIGIBLE else 0.0
        if learning and trace[i] != 0:
            left = trace[i]
            for j in range(factor.size):
                weight[i, j] -= left * factor[j]
        trace[i] += source[i]
    return learning * trace.size
