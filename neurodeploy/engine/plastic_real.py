"""One step of a `PlasticProgram` in real numbers (float64): the equations of `ir/onchip.py`, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.onchip import (
    RATE_SHIFT,
    LocalReadout,
    PlasticProgram,
    RealFactor,
    RealNeuron,
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

    Neurons of population p are first[p] ... first[p + 1] - 1; local read-outs, in the order of the populations they
    belong to, follow the output as populations more, and inputs as the last. Groups g of synapses stand in the order of
    `PlasticProgram.weights`: `source` and `target` are the populations they connect, `weight` and `trace` where those
    of a group begin, weights (pre, post) and traces (pre,). From `groups` on they lead to the local read-outs, and
    `weight` is where they begin among such. Offsets are unsigned: Numba tests every signed index for being negative,
    and such loops are not vectorized.
    """

    first: np.ndarray
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    trace: np.ndarray
    plastic: np.ndarray
    groups: int
    populations: int
    steps: int
    start: int


class Chain(NamedTuple):
    """What does not change, per neuron or per population; `feedback` is (output, neuron).

    `kappa` and `goal` are per read-out: the output's, then the local ones'. `hears` is where the error begins that a
    population hears, and `readout_weight` holds all G, each (neuron, output).
    """

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
    hears: np.ndarray
    readout_weight: np.ndarray
    kappa: np.ndarray
    goal: np.ndarray


class State(NamedTuple):
    """What does, laid out as `Layout` says; `activation` is what the synapses summed up for the next step.

    Only `spikes` has places for the inputs, and only it and `activation` for local read-outs; `output` is the part of
    `spikes` that the last population writes. `y` and `error` are (read-out, output), flat, the output's own first.
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
    populations, local = program.populations, local_readouts(program)
    sizes = [*(population.size for population in populations), *(program.output.size for _ in local), program.inputs]
    groups = [(p, s) for p, population in enumerate(populations) for s in population.synapses]
    target = np.array([*(p for p, _ in groups), *range(len(populations), len(sizes) - 1)])
    before = [len(sizes) - 1, *range(len(populations) - 1)]
    source = np.array([*(before[p] if s is populations[p].forward else p for p, s in groups), *(p for p, _ in local)])
    shapes = np.array([synapses.weight.shape for _, synapses in groups])
    read = [readout.synapses.weight.size for _, readout in local]

    def offsets(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)

    return Layout(
        offsets(sizes),
        source,
        target,
        np.concatenate([offsets(shapes.prod(1))[:-1], offsets(read)[:-1]]),
        offsets(shapes[:, 1]),
        np.array([synapses.plastic for _, synapses in groups]),
        len(groups),
        len(populations),
        program.steps,
        program.start,
    )


def local_readouts(program: PlasticProgram) -> list[tuple[int, LocalReadout]]:
    """Return the local read-outs, each with the number of its population."""
    return [(p, population.readout) for p, population in enumerate(program.populations) if population.readout]


def hears_of(program: PlasticProgram) -> np.ndarray:
    """Return where the error that each population hears begins: the output's, or that of its own read-out."""
    hears = np.zeros(len(program.populations), np.uint64)
    for row, (p, _) in enumerate(local_readouts(program), start=1):
        hears[p] = row * program.output.size
    return hears


def readout_weights(program: PlasticProgram, kind: type) -> np.ndarray:
    """Return the weights of all local read-outs, one after the other, each (neuron, output) in C order."""
    flat = [np.empty(0), *(readout.synapses.weight.T.ravel() for _, readout in local_readouts(program))]
    return np.concatenate(flat).astype(kind)


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
    readouts = [program.readout, *(local.readout for _, local in local_readouts(program))]
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
        hears_of(program),
        readout_weights(program, np.float64),
        np.array([readout.kappa for readout in readouts], np.float64),  # type: ignore[union-attr]
        np.array([readout.goal for readout in readouts], np.float64),  # type: ignore[union-attr]
    )


def at_rest(program: PlasticProgram, weight: np.ndarray) -> State:
    """Return the state before the first step; `weight` is `flat_weights`, changed where it is."""
    layout, outputs = layout_of(program), program.output.size
    neurons, silent, places = layout.first[[layout.populations, -2, -1]].astype(int)
    spikes, rows = np.zeros(places, np.uint8), 1 + len(local_readouts(program))
    return State(
        v=np.zeros(neurons),
        over=np.zeros(neurons),
        psi=np.zeros(neurons),
        spikes=spikes,
        output=spikes[neurons - outputs : neurons],
        activation=np.zeros(silent),
        firing=per_neuron(program, [population.factor.target_rate for population in program.populations], np.float64),
        factor=np.zeros(neurons),
        weight=weight,
        trace=np.zeros(int(layout.trace[-1])),
        y=np.zeros(rows * outputs),
        error=np.zeros(rows * outputs),
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
    _read(chain, state, 0, state.output, 0, target, at > last)
    hear_oneself(layout, state.error, state.factor)
    for g in range(layout.groups, layout.source.size):
        active = 0 <= at - 2 - layout.source[g] < layout.steps
        row, begin = 1 + g - layout.groups, layout.first[layout.target[g]]
        _read(chain, state, row, state.activation, begin, target, active)
    for p in range(layout.populations):
        _weigh(chain, state, p)
    state.activation[:] = 0
    for g in range(layout.groups):
        state.counters[0] += add(layout, g, state.weight, state.spikes, state.activation)
        if layout.plastic[g]:
            state.counters[1] += _learn(chain, state, g)
    for g in range(layout.groups, layout.source.size):
        state.counters[0] += add(layout, g, chain.readout_weight, state.spikes, state.activation)
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
    begin = layout.first[layout.first.size - 2]
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
def _read(
    chain: Chain, state: State, row: int, arriving: np.ndarray, begin: int, target: np.ndarray, active: bool
) -> None:
    """Read the error of one read-out, which takes `arriving` from `begin` on."""
    y, error, kappa, goal, own = state.y, state.error, chain.kappa[row], chain.goal[row], np.uint64(row * target.size)
    first = np.uint64(begin)
    for k in range(np.uint64(target.size)):
        y[own + k] = kappa * y[own + k] + arriving[first + k] if active else 0.0
        error[own + k] = min(1.0, max(-1.0, y[own + k] / goal - target[k])) if active else 0.0


@njit(cache=True, inline="always")
def hear_oneself(layout: Layout, error: np.ndarray, signal: np.ndarray) -> None:
    """Return the output's own error as its L."""
    begin, end = layout.first[layout.populations - 1], layout.first[layout.populations]
    for k in range(end - begin):
        signal[begin + k] = error[k]


@njit(cache=True, inline="always")
def _hear(chain: Chain, state: State, p: int) -> None:
    """Return L of hidden neurons in `factor`; the error is that of the step before."""
    error, factor, firing, feedback = state.error, state.factor, state.firing, chain.feedback
    regularizer, target_rate, own = chain.regularizer[p], chain.target_rate[p], chain.hears[p]
    begin, end = chain.layout.first[p], chain.layout.first[p + 1]
    for i in range(begin, end):
        factor[i] = regularizer * (firing[i] - target_rate)
    for k in range(np.uint64(len(feedback))):
        heard = error[own + k]
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
