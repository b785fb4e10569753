"""One step of a `PlasticProgram` in real numbers (float64): the equations of `ir/onchip.py`, in their order."""

from __future__ import annotations

from collections.abc import Sequence
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


class Layout(NamedTuple):
    """Where things lie in flat arrays, one population after the other, and the program's times.

    Neurons of population p are first[p] ... first[p + 1] - 1; inputs follow the output as one population more. Groups g
    of synapses stand in the order of `PlasticProgram.weights`: `source` and `target` are the populations they connect,
    `weight` and `trace` where those of a group begin, weights (pre, post) and traces (pre,). Offsets are unsigned:
    Numba tests every signed index for being negative, and such loops are not vectorized.
    """

    first: np.ndarray
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    trace: np.ndarray
    plastic: np.ndarray
    populations: int
    steps: int
    start: int


class Chain(NamedTuple):
    """What does not change, per neuron or per population; `feedback` is (output, neuron)."""

    layout: Layout
    beta: np.ndarray
    theta: np.ndarray
    bias: np.ndarray
    reset: np.ndarray
    feedback: np.ndarray
    rate: np.ndarray
    width: np.ndarray
    regularizer: np.ndarray
    target_rate: np.ndarray
    trace_beta: np.ndarray
    kappa: float
    goal: float


class State(NamedTuple):
    """What does, laid out as `Layout` says; `activation` is what the synapses summed up for the next step.

    Only `spikes` has places for the inputs; `output` is its part that the last population writes.
    """

    v: np.ndarray
    over: np.ndarray
    psi: np.ndarray
    spikes: np.ndarray
    output: np.ndarray
    activation: np.ndarray
    firing: np.ndarray
    factor: np.ndarray
    weight: np.ndarray
    trace: np.ndarray
    y: np.ndarray
    error: np.ndarray
    tick: np.ndarray
    fired: np.ndarray
    counters: np.ndarray


def layout_of(program: PlasticProgram) -> Layout:
    """Return where the parts of a program lie."""
    populations = program.populations
    sizes = [*(population.size for population in populations), program.inputs]
    groups = [(p, s) for p, population in enumerate(populations) for s in population.synapses]
    target = np.array([p for p, _ in groups])
    source = np.array([p - 1 if s is populations[p].forward else p for p, s in groups]) % len(sizes)
    shapes = np.array([synapses.weight.shape for _, synapses in groups])

    def offsets(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)

    return Layout(
        offsets(sizes),
        source,
        target,
        offsets(shapes.prod(1)),
        offsets(shapes[:, 1]),
        np.array([synapses.plastic for _, synapses in groups]),
        len(populations),
        program.steps,
        program.start,
    )


def per_neuron(program: PlasticProgram, values: Sequence[np.ndarray | float], kind: type) -> np.ndarray:
    """Return one value per neuron from one, or one per neuron, for each population."""
    sizes = (population.size for population in program.populations)
    return np.concatenate([np.broadcast_to(v, n) for v, n in zip(values, sizes, strict=True)]).astype(kind)


def feedback_of(program: PlasticProgram, kind: type) -> np.ndarray:
    """Return the feedback of all neurons (output, neuron), zeros for the output, which hears its own error."""
    outputs = program.output.size
    every = [population.factor.feedback for population in program.populations]
    return np.concatenate([np.zeros((outputs, outputs)) if b is None else b.T for b in every], axis=1).astype(kind)


def lay_out(program: PlasticProgram, steps: int) -> Chain:
    """Return the constants of a real program; `steps` is for the arithmetic that draws."""
    readout = program.readout
    assert isinstance(readout, RealReadout)
    neurons: list[RealNeuron] = [population.neuron for population in program.populations]  # type: ignore[misc]
    factors: list[RealFactor] = [population.factor for population in program.populations]  # type: ignore[misc]

    def of_factors(name: str) -> np.ndarray:
        return np.array([getattr(factor, name) for factor in factors], np.float64)

    return Chain(
        layout_of(program),
        per_neuron(program, [neuron.beta for neuron in neurons], np.float64),
        per_neuron(program, [neuron.theta for neuron in neurons], np.float64),
        per_neuron(program, [neuron.bias for neuron in neurons], np.float64),
        np.array([RESETS.index(neuron.reset) for neuron in neurons]),
        feedback_of(program, np.float64),
        of_factors("rate"),
        of_factors("width"),
        of_factors("regularizer"),
        of_factors("target_rate"),
        np.array([neuron.beta.flat[0] for neuron in neurons], np.float64),
        float(readout.kappa),
        float(readout.goal),
    )


def at_rest(program: PlasticProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` is `flat_weights`, changed where it is."""
    layout, outputs = layout_of(program), program.output.size
    neurons, places = layout.first[-2:].astype(int)
    spikes = np.zeros(places, np.uint8)
    return State(
        v=np.zeros(neurons),
        over=np.zeros(neurons),
        psi=np.zeros(neurons),
        spikes=spikes,
        output=spikes[neurons - outputs : neurons],
        activation=np.zeros(neurons),
        firing=per_neuron(program, [population.factor.target_rate for population in program.populations], np.float64),
        factor=np.zeros(neurons),
        weight=weight,
        trace=np.zeros(int(layout.trace[-1])),
        y=np.zeros(outputs),
        error=np.zeros(outputs),
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
    """Advance everything by one time step.

    Numba counts references to all arrays of `chain` and `state` unless it can see that it need not, at a microsecond a
    step: hence kernels that are inlined and name their arrays before they loop, no two of them in branches of one
    condition, no loops within conditions of loops where that costs little, and divisions that do not raise.
    """
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
    _read(chain, state, target, at > last)
    for p in range(layout.populations):
        _weigh(chain, state, p)
    state.activation[:] = 0
    for g in range(layout.source.size):
        state.counters[0] += add(layout, g, state.weight, state.spikes, state.activation)
        if layout.plastic[g]:
            state.counters[1] += _learn(chain, state, g)
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


@njit(cache=True, inline="always")
def enter(layout: Layout, inputs: np.ndarray, spikes: np.ndarray) -> None:
    """Give the inputs' spikes their places."""
    begin = layout.first[layout.populations]
    for i in range(np.uint64(inputs.size)):
        spikes[begin + i] = inputs[i]


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
    betas, thetas, biases, reset, width = chain.beta, chain.theta, chain.bias, chain.reset[p], chain.width[p]
    fired = 0
    for j in range(chain.layout.first[p], chain.layout.first[p + 1]):
        theta = thetas[j]
        potential = betas[j] * v[j] + activation[j] + biases[j]
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


@njit(cache=True, inline="always")
def _read(chain: Chain, state: State, target: np.ndarray, active: bool) -> None:
    """Read the output's error, which is its L."""
    y, error, factor, spikes, kappa, goal = state.y, state.error, state.factor, state.output, chain.kappa, chain.goal
    begin = factor.size - y.size
    for k in range(y.size):
        y[k] = kappa * y[k] + spikes[k] if active else 0.0
        error[k] = min(1.0, max(-1.0, y[k] / goal - target[k])) if active else 0.0
        factor[begin + k] = error[k]


@njit(cache=True, inline="always")
def _hear(chain: Chain, state: State, p: int) -> None:
    """Return L of hidden neurons in `factor`; the error is that of the step before."""
    error, factor, firing, feedback = state.error, state.factor, state.firing, chain.feedback
    regularizer, target_rate = chain.regularizer[p], chain.target_rate[p]
    begin, end = chain.layout.first[p], chain.layout.first[p + 1]
    for i in range(begin, end):
        factor[i] = regularizer * (firing[i] - target_rate)
    for k in range(error.size):
        heard = error[k]
        for j in range(begin, end):
            factor[j] += heard * feedback[k, j]


@njit(cache=True, inline="always")
def _weigh(chain: Chain, state: State, p: int) -> None:
    """Turn L into the third factor, in place."""
    factor, psi, rate = state.factor, state.psi, chain.rate[p]
    for j in range(chain.layout.first[p], chain.layout.first[p + 1]):
        factor[j] *= rate * psi[j]


@njit(cache=True, inline="always")
def add(layout: Layout, g: int, weight: np.ndarray, spikes: np.ndarray, total: np.ndarray) -> int:
    """Add the weights of all spikes that enter a group to `total` (neuron,); return how many synapses they pass."""
    first, source, target = layout.first, layout.source[g], layout.target[g]
    begin, size, row = first[target], first[target + 1] - first[target], layout.weight[g]
    passed = 0
    for i in range(first[source], first[source + 1]):
        if spikes[i]:
            passed += int(np.int64(size))
            for j in range(size):
                total[begin + j] += weight[row + j]
        row += size
    return passed


@njit(cache=True, inline="always")
def _learn(chain: Chain, state: State, g: int) -> int:
    """Change weights by -factor beta eps', let the traces take this step's spikes, and return how many it changed."""
    layout, weight, trace, factor, spikes = chain.layout, state.weight, state.trace, state.factor, state.spikes
    first, source, target = layout.first, layout.source[g], layout.target[g]
    begin, size, row, before = first[target], first[target + 1] - first[target], layout.weight[g], first[source]
    beta = chain.trace_beta[target]
    learning = 0
    for k in range(begin, first[target + 1]):
        learning += factor[k] != 0
    for i in range(layout.trace[g], layout.trace[g + 1]):
        trace[i] = beta * trace[i] if trace[i] > NEGLIGIBLE else 0.0
        if learning and trace[i] != 0:
            left = trace[i]
            for j in range(size):
                weight[row + j] -= left * factor[begin + j]
        trace[i] += spikes[before]
        row += size
        before += np.uint64(1)
    return learning * int(np.int64(layout.trace[g + 1] - layout.trace[g]))
