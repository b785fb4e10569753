"""A `Network` in real numbers (float64): what its author meant, computed plainly, whatever framework it came from.

Used where meaning is needed without PyTorch: to hold lowering passes to their promise and to measure ranges on
calibration data. `frontends.source` runs the same network in the author's own framework and precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Firing,
    Linear,
    MaxPool,
    Node,
    Reset,
    Reshape,
    Scale,
    SparseLinear,
)
from neurodeploy.results import RunResult, decide


@dataclass(frozen=True)
class Ranges:
    """The largest magnitudes one population's current and membrane reached, and the most spikes of a step.

    Membranes count after the reset, or as high as several spikes of a step took them.
    """

    current: float
    voltage: float
    spikes: int = 1


def run_real(
    network: Network, inputs: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> tuple[RunResult, dict[str, Ranges]]:
    """Run all samples together, step by step, and return the result with each population's measured ranges.

    Args:
        inputs: real values (step, sample, *input shape).
    """
    steps, samples = inputs.shape[:2]
    populations = network.populations
    states = {name: State.at_rest(node, samples) for name, node in populations.items()}
    spikes = {name: np.zeros((steps, samples, node.size), node.spike_type) for name, node in populations.items()}
    voltages = {name: np.zeros((steps, samples, node.size)) for name, node in populations.items()}
    peak_i, peak_v = dict.fromkeys(populations, 0.0), dict.fromkeys(populations, 0.0)
    before: dict[str, np.ndarray] = {}
    for step in range(steps):
        now = {network.input: inputs[step].reshape(samples, -1).astype(np.float64)}
        for name, node in network.nodes.items():
            if name == network.input:
                continue
            x = _gather(network, name, now, before, samples)
            if not isinstance(node, LIF):
                now[name] = apply(node, x)
                continue
            now[name] = lif_step(node, states[name], x)
            spikes[name][step], voltages[name][step] = now[name], states[name].v
            peak_i[name] = max(peak_i[name], float(np.abs(states[name].i).max(initial=0)))
            peak_v[name] = max(peak_v[name], float(np.abs(states[name].v).max(initial=0)), _spent(node, now[name]))
        before = now
        if progress:
            progress(step + 1, steps)
    shapes = {name: (steps, samples, *node.shape) for name, node in populations.items()}
    result = RunResult(
        "real numbers (float64)",
        {name: spikes[name].reshape(shapes[name]) for name in populations},
        decide(spikes[network.output]),
        voltages={name: voltages[name].reshape(shapes[name]) for name in populations},
    )
    most = {name: int(spikes[name].max(initial=0)) for name in populations}  # of what fires
    return result, {name: Ranges(peak_i[name], peak_v[name], most[name]) for name in populations}


def _spent(node: LIF, spikes: np.ndarray) -> float:
    """Return how high the membrane must have been for the most spikes of a step, where they are counted."""
    if node.firing is not Firing.MULTIPLE:
        return 0.0
    return float((spikes * node.threshold.reshape(-1)).max(initial=0))


def drives(network: Network, now: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what reaches each population in one step, gain included, float64 (sample, neuron).

    Args:
        now, before: activity (sample, *shape) of the input and every population in this step and the one before; an
            empty `before` is a step before the first, in which everything was silent.
    """
    samples = len(now[network.input])
    flat_now = {name: x.reshape(samples, -1).astype(np.float64) for name, x in now.items() if name in network.nodes}
    flat_before = {name: x.reshape(samples, -1).astype(np.float64) for name, x in before.items()}
    reached = {}
    for name, node in network.nodes.items():
        if name == network.input:
            continue
        x = _gather(network, name, flat_now, flat_before, samples)
        if isinstance(node, LIF):
            reached[name] = x if node.gain is None else node.gain.reshape(-1) * x
        else:
            flat_now[name] = apply(node, x)
    return reached


@dataclass
class State:
    """Current, membrane, adaptation, last spikes and last told value of a population, float64 (sample, neuron)."""

    i: np.ndarray
    v: np.ndarray
    a: np.ndarray
    s: np.ndarray
    told: np.ndarray

    @staticmethod
    def at_rest(node: LIF, samples: int) -> State:
        return State(*(np.zeros((samples, node.size)) for _ in range(5)))


def lif_step(node: LIF, state: State, x: np.ndarray) -> np.ndarray:
    """Advance `state` in place by one step of `node`'s equation and return the spikes, float64 (sample, neuron)."""
    theta, beta = node.threshold.reshape(-1), node.beta.reshape(-1)
    remembered = node.adaptation is not None or node.firing.tells_changes
    fired_before = state.s if remembered else fired(node.firing, state.v, theta)
    x = x if node.gain is None else node.gain.reshape(-1) * x
    state.i = x if node.alpha is None else node.alpha.reshape(-1) * state.i + x
    v = beta * state.v + state.i
    v = v if node.bias is None else v + node.bias.reshape(-1)
    match node.reset:
        case Reset.ZERO_NEXT_STEP:
            v = np.where(fired_before > 0, 0.0, v)
        case Reset.SUBTRACT_NEXT_STEP | Reset.SUBTRACT:
            v = v - fired_before * theta
    height = theta
    if node.adaptation is not None:
        state.a = node.adaptation.decay.reshape(-1) * state.a + state.s
        height = theta + node.adaptation.strength.reshape(-1) * state.a
    if node.firing.tells_changes:
        spikes, state.told = changes(node, v, state.told)
    else:
        spikes = fired(node.firing, v, height)
    state.s = spikes
    match node.reset:
        case Reset.ZERO:
            v = np.where(spikes > 0, 0.0, v)
        case Reset.SUBTRACT:
            v = v - (spikes - fired_before) * theta
        case Reset.SUBTRACT_AT_ONCE:
            v = v - spikes * theta
    state.v = v if node.floor is None else np.maximum(v, node.floor.reshape(-1))
    return spikes


def fired(firing: Firing, v: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return how many spikes a membrane `v` sends at the threshold `theta`, float64 of v's shape."""
    match firing:
        case Firing.ABOVE:
            return (v > theta).astype(np.float64)
        case Firing.REACHED:
            return (v >= theta).astype(np.float64)
        case Firing.MULTIPLE:
            return np.trunc(np.maximum(v, 0.0) / theta)
        case Firing.VALUE:
            return v.copy()
    raise ValueError(f"{firing} depends on more than the membrane")


def changes(node: LIF, v: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what sigma-delta neurons send at the membrane `v` when their readers were told `told`, and what then."""
    assert node.payload is not None, "changes are sent in whole payloads"
    value = np.maximum(v, 0.0) if node.firing is Firing.DELTA_RELU else v
    sent = np.abs(value - told) >= node.threshold.reshape(-1)
    message = np.floor((value - told) / node.payload) * node.payload
    return np.where(sent, message, 0.0), np.where(sent, value, told)


def apply(node: Node, x: np.ndarray) -> np.ndarray:
    """Return a stateless node's output (sample, flat) for the input `x` (sample, flat)."""
    match node:
        case Linear(weight, bias):
            y = x @ weight.T
            return y if bias is None else y + bias
        case SparseLinear(bias=bias):
            y = (sparse_matrix(node) @ x.T).T
            return y if bias is None else y + bias
        case Conv(bias=bias):
            y = _windows(node, x.reshape(-1, *node.input_shape), node.weight)
            y = y if bias is None else y + bias.reshape(-1, *(1,) * (y.ndim - 2))
            return y.reshape(len(x), -1)
        case AveragePool() | MaxPool():
            return _pool(node, x.reshape(-1, *node.input_shape)).reshape(len(x), -1)
        case Scale(weight, bias, shape):
            per_channel = (1, -1, *(1,) * (len(shape) - 1))
            return (weight.reshape(per_channel) * x.reshape(-1, *shape) + bias.reshape(per_channel)).reshape(len(x), -1)
        case Reshape():
            return x
    raise TypeError(type(node).__name__)


def sparse_matrix(node: SparseLinear) -> csr_array:
    """Return the (post, pre) matrix of `node`."""
    pre, post = int(np.prod(node.input_shape)), int(np.prod(node.shape))
    return csr_array((node.data, node.indices, node.indptr), shape=(post, pre))


def _taps(kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(np.ndindex(*kernel))


def _seen(
    padded: np.ndarray, tap: tuple[int, ...], node: Conv | AveragePool | MaxPool, dilation: tuple[int, ...]
) -> np.ndarray:
    """Return what every output position sees through one kernel tap, (sample, channel, *out space)."""
    window: Any = tuple(
        slice(t * d, t * d + s * (n - 1) + 1, s)
        for t, d, s, n in zip(tap, dilation, node.stride, node.shape[1:], strict=True)
    )
    return padded[(..., *window)]


def _padded(x: np.ndarray, padding: tuple[int, ...], value: float = 0.0) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=value)


def _windows(node: Conv, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    padded = _padded(x, node.padding)
    per_group, group_out = weight.shape[1], weight.shape[0] // node.groups
    y = np.zeros((len(x), *node.shape))
    for group in range(node.groups):
        out, into = slice(group * group_out, (group + 1) * group_out), slice(group * per_group, (group + 1) * per_group)
        for tap in _taps(weight.shape[2:]):
            at: Any = (..., *tap)
            seen = _seen(padded, tap, node, node.dilation)[:, into]
            y[:, out] += np.einsum("oi,ni...->no...", weight[out][at], seen)
    return y


def _pool(node: AveragePool | MaxPool, x: np.ndarray) -> np.ndarray:
    ones = (1,) * len(node.kernel)
    if isinstance(node, MaxPool):
        padded = _padded(x, node.padding, -np.inf)
        return np.max([_seen(padded, tap, node, ones) for tap in _taps(node.kernel)], axis=0)
    padded = _padded(x, node.padding)
    return np.mean([_seen(padded, tap, node, ones) for tap in _taps(node.kernel)], axis=0)


def _gather(
    network: Network, name: str, now: dict[str, np.ndarray], before: dict[str, np.ndarray], samples: int
) -> np.ndarray:
    """Sum a node's inputs of this step; through a delayed edge the step before, which is zero at first."""
    terms = []
    for edge in network.incoming(name):
        if not edge.delay_steps:
            terms.append(now[edge.source])
        elif edge.source in before:
            terms.append(before[edge.source])
        else:
            size = int(np.prod(network.nodes[edge.source].shape))
            terms.append(np.zeros((samples, size)))
    return sum(terms[1:], start=terms[0])
