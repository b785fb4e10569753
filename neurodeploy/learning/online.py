"""A `PlasticProgram` in PyTorch, its rule's table read literally in every step: what on-chip learning is held against.

Slow and obvious: one sample, one time step, one population at a time, in float64. The engine and the backends compute
the same by other means.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.onchip import (
    RATE_SHIFT,
    IntegerReadout,
    PlasticPopulation,
    PlasticProgram,
    RealFactor,
    RealNeuron,
    RealReadout,
)
from neurodeploy.learning.interpreter import Values, weight_change


@dataclass
class _State:
    """A population's membrane, spikes and firing rate, (neuron,); its weights, and what its rule remembers.

    `read`, y and `error` are of its own read-out, or, in the output, of itself: what arrives there, (output,).
    """

    v: Tensor
    over: Tensor
    z: Tensor
    psi: Tensor
    activation: Tensor
    firing: Tensor
    weights: list[Tensor]
    read: Tensor
    y: Tensor
    error: Tensor
    memory: list[Values] = field(default_factory=list)


def learn_online(
    program: PlasticProgram, spikes: np.ndarray, labels: np.ndarray, *, trajectory: bool = False
) -> tuple[tuple[np.ndarray, ...], np.ndarray, tuple[np.ndarray, ...]]:
    """Run a real program from rest on samples and return its weights afterwards, its predictions, and its trajectory.

    Args:
        spikes: (sample, step, input), zero or one.
        labels: (sample,).
        trajectory: whether to keep the weights of every step, per group (step, post, pre); otherwise none are.
    """
    populations, outputs = program.populations, program.output.size
    states = [_at_rest(population, outputs) for population in populations]
    predictions, rows = [], [_weights(states)] * program.start
    for sample, label in zip(spikes, labels, strict=True):
        target = torch.zeros(outputs, dtype=torch.float64)
        target[int(label)] = 1
        counts = torch.zeros(outputs)
        for n in range(program.period):
            x = torch.as_tensor(sample[n] if n < program.steps else np.zeros(program.inputs)).double()
            for p, (population, state) in enumerate(zip(populations, states, strict=True), start=1):
                _advance(population, state, n - p, program.steps)
            output, before = states[-1], [state.error for state in states]
            output.read = output.z
            _read(program.readout, output, target, n - len(populations), program.steps)
            for p, (population, state) in enumerate(zip(populations, states, strict=True), start=1):
                if population.readout is not None:
                    _read(population.readout.readout, state, target, n - p - 1, program.steps)
            counts += output.z
            for population, state, own in zip(populations, states, before, strict=True):
                _learn(program, population, state, x, before[-1] if population.readout is None else own)
                x = state.z
            if trajectory:
                rows.append(_weights(states))
        predictions.append(int(counts.argmax()))
    kept = tuple(map(np.stack, zip(*rows, strict=True))) if trajectory else ()
    return tuple(_weights(states)), np.array(predictions), kept


def _weights(states: list[_State]) -> list[np.ndarray]:
    return [weight.numpy() for state in states for weight in state.weights]


def _at_rest(population: PlasticPopulation, outputs: int) -> _State:
    zero = torch.zeros(population.size, dtype=torch.float64)
    weights = [torch.tensor(synapses.weight, dtype=torch.float64) for synapses in population.synapses]
    firing = torch.full_like(zero, float(population.factor.target_rate))
    none = torch.zeros(outputs, dtype=torch.float64)
    return _State(zero, zero, zero, zero, zero, firing, weights, none, none, none, [{} for _ in weights])


def _advance(population: PlasticPopulation, state: _State, step: int, steps: int) -> None:
    """Take what was summed up in the step before; `step` is the population's own, outside 0 ... steps - 1 it rests."""
    neuron = population.neuron
    assert isinstance(neuron, RealNeuron)
    zero = torch.zeros_like(state.v)
    if step <= 0 or step >= steps:
        state.v, state.over, state.z, state.psi = zero, zero, zero, zero
    if step < 0 or step >= steps:
        return
    beta, theta, bias = (torch.as_tensor(value) for value in (neuron.beta, neuron.theta, neuron.bias))
    v = beta * state.v + state.activation + bias
    if neuron.reset is Reset.ZERO_NEXT_STEP:
        v = (1 - state.over) * v
    elif neuron.reset in (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT):
        v = v - theta * state.over
    state.psi = (1 - (v - theta).abs() / (population.factor.width * theta)).clamp(min=0)
    state.z = (v > theta).double()
    if neuron.reset is Reset.ZERO:
        v = (1 - state.z) * v
    elif neuron.reset is Reset.SUBTRACT:
        v = v - theta * (state.z - state.over)
    state.v, state.over = v, (v > theta).double()
    state.firing = state.firing + 2.0**-RATE_SHIFT * (state.z - state.firing)


def _read(readout: RealReadout | IntegerReadout, state: _State, target: Tensor, step: int, steps: int) -> None:
    """Read the error off what arrives; `step` is the read-out's own, outside 0 ... steps - 1 it rests."""
    assert isinstance(readout, RealReadout)
    if 0 <= step < steps:
        state.y = state.read + (readout.kappa * state.y if step > 0 else 0)
        state.error = (state.y / readout.goal - target).clamp(-1, 1)
    else:
        state.y, state.error = torch.zeros_like(state.y), torch.zeros_like(state.error)


def _learn(program: PlasticProgram, population: PlasticPopulation, state: _State, x: Tensor, before: Tensor) -> None:
    """Sum up for the next step, then change the weights by what the rule says of this one.

    Args:
        before: the error of the step before that the population hears; the output hears its own of this step.
    """
    factor, neuron = population.factor, population.neuron
    assert isinstance(factor, RealFactor)
    assert isinstance(neuron, RealNeuron)
    signal = state.error
    if factor.feedback is not None:
        rate = factor.regularizer * (state.firing - factor.target_rate)
        signal = torch.as_tensor(factor.feedback) @ before + rate
    constants = {"beta": float(neuron.beta.flat[0]), "rate": factor.rate}
    sources = (x, state.z)
    state.activation = torch.stack([w @ s for w, s in zip(state.weights, sources, strict=False)]).sum(0)
    if population.readout is not None:
        state.read = torch.as_tensor(population.readout.synapses.weight) @ state.z
    for group, (synapses, source) in enumerate(zip(population.synapses, sources, strict=False)):
        change, state.memory[group] = weight_change(
            program.rule,
            source.reshape(1, 1, -1),
            state.z.reshape(1, 1, -1),
            psi=state.psi.reshape(1, 1, -1),
            signal=signal.reshape(1, 1, -1),
            constants=constants,
            before=state.memory[group],
        )
        if synapses.plastic:
            state.weights[group] = state.weights[group] + change
