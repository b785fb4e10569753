"""The definition of Loihi's fixed-point arithmetic, slow and obvious: one sample, one step, one population at a time.

Every claim of bit-exactness in this project is about these functions. They compute what Lava 0.10.0 computes with the
tags fixed_pt and bit_accurate_loihi (lava/proc/{lif,dense,sparse,conv}/models.py); the conformance tests hold them
against Lava, and the fast kernels are held against them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurodeploy.ir.nodes import Firing, Reset
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_MAX,
    STATE_SHIFT,
    ConvSynapses,
    DenseSynapses,
    Neuron,
    Population,
    Program,
    Projection,
)
from neurodeploy.results import RunResult, decide

WRAP = 1 << 23
"""The current lives in (-2^23, 2^23]; one overflow wraps, a second does not, as in Lava."""


@dataclass
class State:
    """Current u and membrane v of a population, and what a sigma-delta one told of itself, int64 (neuron,)."""

    u: np.ndarray
    v: np.ndarray
    told: np.ndarray = field(default_factory=lambda: np.zeros((), np.int64))


def decay(x: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return `x` after one step of decay, rounded towards zero.

    x <- sign(x) floor(|x| (4096 - rate) / 4096)

    Magnitude and sign are split because a plain shift would round negatives towards minus infinity.
    """
    return np.sign(x) * ((np.abs(x) * (DECAY_ONE - rate)) >> 12)


def wrap(u: np.ndarray) -> np.ndarray:
    """Return the current after one 24-bit overflow, as Lava wraps it: 2^23 + k becomes -2^23 + k, 2^23 itself stays."""
    return np.where(u > WRAP, u - 2 * WRAP, np.where(u <= -WRAP, u + 2 * WRAP, u))


def saturate(v: np.ndarray) -> np.ndarray:
    """Return the membrane clipped to +-(2^23 - 1)."""
    return np.clip(v, -STATE_MAX, STATE_MAX)


def neuron_step(neuron: Neuron, state: State, activation: np.ndarray) -> np.ndarray:
    """Advance `state` by one step in place and return how often each neuron spikes, or what it sends, int64 (neuron,).

    Args:
        activation: what the synapses delivered in this step, int64 (neuron,), in weight units.
    """
    theta = neuron.vth.astype(np.int64) << STATE_SHIFT
    bias = neuron.bias_mantissa.astype(np.int64) << neuron.bias_exponent
    changing = neuron.firing.tells_changes
    fired_before = np.zeros_like(state.v) if changing else fired(neuron, state.v, theta)

    current = decay(state.u, neuron.du.astype(np.int64)) + (activation << neuron.activation_shift)
    state.u = wrap(current + bias) if neuron.bias_in_current else wrap(current)
    v = decay(state.v, neuron.dv.astype(np.int64)) + state.u
    v = v if neuron.bias_in_current else v + bias

    match neuron.reset:
        case Reset.ZERO_NEXT_STEP:
            v = np.where(fired_before > 0, 0, v)
        case Reset.SUBTRACT_NEXT_STEP | Reset.SUBTRACT:
            v = v - fired_before * theta
    v = saturate(v)
    spikes = tell(neuron, state, v, theta) if changing else fired(neuron, v, theta)
    match neuron.reset:
        case Reset.ZERO:
            v = np.where(spikes > 0, 0, v)
        case Reset.SUBTRACT:
            v = saturate(v - (spikes - fired_before) * theta)
        case Reset.SUBTRACT_AT_ONCE:
            v = saturate(v - spikes * theta)
    state.v = v if neuron.floor is None else np.maximum(v, neuron.floor.astype(np.int64) << STATE_SHIFT)
    return spikes


def fired(neuron: Neuron, v: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return how many spikes a membrane `v` sends at the threshold `theta`, int64 (neuron,)."""
    match neuron.firing:
        case Firing.ABOVE:
            return (v > theta).astype(np.int64)
        case Firing.REACHED:
            return (v >= theta).astype(np.int64)
        case Firing.MULTIPLE:
            return np.minimum(np.maximum(v, 0) // theta, neuron.most)
        case Firing.VALUE:
            return np.clip(v >> neuron.payload_shift, -neuron.most, neuron.most)
    raise ValueError(f"{neuron.firing} depends on more than the membrane")


def tell(neuron: Neuron, state: State, v: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the changes that neurons send at the membrane `v`, int64 (neuron,), and keep in `state` what was told."""
    value = np.maximum(v, 0) if neuron.firing is Firing.DELTA_RELU else v
    change = value - state.told
    sent = np.abs(change) >= theta
    state.told = np.where(sent, value, state.told)
    return np.where(sent, change >> neuron.payload_shift, 0)


def deliver(projection: Projection, payload: np.ndarray) -> np.ndarray:
    """Return the activation that `payload` causes one step later, int64 (post,).

    Args:
        payload: spikes or graded spikes of the source, int64, flat.
    """
    match projection.synapses:
        case DenseSynapses(mantissa):
            total = mantissa.astype(np.int64) @ payload
        case ConvSynapses() as conv:
            total = convolve(conv, payload)
        case sparse:
            rows = np.repeat(np.arange(len(sparse.indptr) - 1), np.diff(sparse.indptr))
            total = np.zeros(len(sparse.indptr) - 1, np.int64)
            np.add.at(total, rows, sparse.mantissa.astype(np.int64) * payload[sparse.indices])
    total = 2 * total
    return total << projection.exponent if projection.exponent >= 0 else total >> -projection.exponent


def convolve(conv: ConvSynapses, payload: np.ndarray) -> np.ndarray:
    """Cross-correlate with zero padding, one kernel tap at a time; the sum wraps at 24 bits as Lava's Conv does."""
    (py, px), (sy, sx), (dy, dx) = conv.padding, conv.stride, conv.dilation
    outputs, rows, columns = conv.output_shape
    frame = np.pad(payload.reshape(conv.input_shape), ((0, 0), (py, py), (px, px)))
    kernel = conv.mantissa.astype(np.int64)
    per_group, group_out = kernel.shape[1], outputs // conv.groups
    total = np.zeros(conv.output_shape, np.int64)
    for group in range(conv.groups):
        out = slice(group * group_out, (group + 1) * group_out)
        channels = frame[group * per_group : (group + 1) * per_group]
        for y in range(kernel.shape[2]):
            for x in range(kernel.shape[3]):
                seen = channels[:, y * dy :, x * dx :][:, : sy * (rows - 1) + 1 : sy, : sx * (columns - 1) + 1 : sx]
                total[out] += np.einsum("oi,iyx->oyx", kernel[out, :, y, x], seen)
    wrapped = (2 * total + WRAP) % (2 * WRAP) - WRAP
    return wrapped.reshape(-1) // 2


def run_reference(program: Program, inputs: np.ndarray, record_states: bool = True) -> RunResult:
    """Run every sample from rest, step by step, and return spikes and states of every population.

    Args:
        inputs: integer payloads (step, sample, *input shape).
    """
    steps, samples = inputs.shape[:2]
    spikes = {p.name: np.zeros((steps, samples, p.size), p.loihi.sent_type) for p in program.populations}
    currents = {p.name: np.zeros((steps, samples, p.size), np.int32) for p in program.populations}
    voltages = {p.name: np.zeros((steps, samples, p.size), np.int32) for p in program.populations}
    for sample in range(samples):
        states = {p.name: State(*np.zeros((3, p.size), np.int64)) for p in program.populations}
        before = {p.name: np.zeros(p.size, np.int64) for p in program.populations}
        for step in range(steps):
            now = {program.input.name: inputs[step, sample].reshape(-1).astype(np.int64)}
            for population in program.populations:
                activation = _activation(program, population, now, before)
                fires = neuron_step(population.loihi, states[population.name], activation)
                now[population.name] = fires
                spikes[population.name][step, sample] = fires
                currents[population.name][step, sample] = states[population.name].u
                voltages[population.name][step, sample] = states[population.name].v
            before = now

    def shaped(record: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {p.name: record[p.name].reshape(steps, samples, *p.shape) for p in program.populations}

    recorded = (shaped(currents), shaped(voltages)) if record_states else ({}, {})
    return RunResult("engine (reference)", shaped(spikes), decide(spikes[program.output]), *recorded)


def _activation(
    program: Program, population: Population, now: dict[str, np.ndarray], before: dict[str, np.ndarray]
) -> np.ndarray:
    """Sum what all projections deliver: this step's activity, or the step before's through recurrent ones."""
    total = np.zeros(population.size, np.int64)
    for projection in program.incoming(population.name):
        total += deliver(projection, (before if projection.recurrent else now)[projection.source])
    return total
