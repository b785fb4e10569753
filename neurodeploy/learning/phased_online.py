"""A `PhasedProgram` in PyTorch, its rule's table read literally: what on-chip SPIDE is held against.

Slow and obvious: one sample, one time step, one population at a time, in float64, every spike remembered until the
table is read. The engine and the backends compute the same by other means.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from neurodeploy.ir.phased import PhasedPopulation, PhasedProgram, RealErrors, RealPhases, RealRate, total
from neurodeploy.learning.interpreter import weight_change


@dataclass
class _State:
    """A population in the middle of a sample: potentials, what it sends, and all it sent, (neuron,) each."""

    weights: list[Tensor]
    v: Tensor
    s: Tensor
    u: Tensor
    q: Tensor
    sent: Tensor
    current: Tensor
    back_current: Tensor
    spikes: list[Tensor] = field(default_factory=list)
    errors: list[Tensor] = field(default_factory=list)


def learn_phased(
    program: PhasedProgram, inputs: np.ndarray, labels: np.ndarray, *, trajectory: bool = False
) -> tuple[tuple[np.ndarray, ...], np.ndarray, tuple[np.ndarray, ...]]:
    """Run a real program from rest on samples and return its weights afterwards, its predictions, and its trajectory.

    Args:
        inputs: real values (sample, step, input).
        labels: (sample,).
        trajectory: whether to keep the weights of every step, per group (step, post, pre); otherwise none are.
    """
    populations = program.populations
    weights = [[torch.tensor(each.weight).double() for each in p.synapses] for p in populations]
    predictions, rows = [], [_plain(weights)] * program.start
    for sample, label in zip(inputs, labels, strict=True):
        target = torch.zeros(program.output.size).double()
        target[int(label)] = 1
        states = [_at_rest(p.size, own) for p, own in zip(populations, weights, strict=True)]
        x = torch.tensor(sample).double()
        for n in range(program.period):
            for index, (population, state) in enumerate(zip(populations, states, strict=True)):
                _forward(population, state, n - 1 - index, program.steps)
                _backward(program, index, state, n - program.backward_at(index), target)
            entering = x[n] if n < program.steps else torch.zeros(program.inputs).double()
            _sum(program, states, entering)
            if n >= program.updates_at:
                _learn(program, states, x, 1 if n == program.updates_at else -1)
            if trajectory:
                rows.append(_plain(weights))
        predictions.append(int(torch.stack(states[-1].spikes).sum(0).argmax()))
    kept = tuple(map(np.stack, zip(*rows, strict=True))) if trajectory else ()
    return tuple(_plain(weights)), np.array(predictions), kept


def _plain(weights: list[list[Tensor]]) -> list[np.ndarray]:
    return [weight.numpy().copy() for own in weights for weight in own]


def _at_rest(size: int, weights: list[Tensor]) -> _State:
    zero = torch.zeros(size).double()
    return _State(weights, zero, zero, zero, zero, zero, zero, zero)


def _forward(population: PhasedPopulation, state: _State, step: int, steps: int) -> None:
    neuron = population.neuron
    assert isinstance(neuron, RealPhases)
    if not 0 <= step < steps:
        state.s = torch.zeros_like(state.s)
        return
    state.v = neuron.leak * state.v + state.current + torch.as_tensor(neuron.bias) - neuron.quantum * state.s
    state.s = (state.v > neuron.threshold).double()
    state.spikes.append(state.s)


def _backward(program: PhasedProgram, index: int, state: _State, step: int, target: Tensor) -> None:
    neuron, errors = program.populations[index].neuron, program.errors
    assert isinstance(neuron, RealPhases)
    assert isinstance(errors, RealErrors)
    state.sent = torch.zeros_like(state.q)
    if not 0 <= step < program.back_steps:
        return
    if index + 1 == len(program.populations):
        full = total(neuron.leak, program.steps) * errors.goal
        missed = (_count(state.spikes, neuron.leak) / full - target).clamp(-1, 1)
        state.sent = missed * (missed.abs() > errors.margin)
    else:
        state.u = neuron.leak * state.u + state.back_current - neuron.back_quantum * state.q
        state.q = (state.u > neuron.back_threshold).double() - (state.u < -neuron.back_threshold).double()
        state.sent = _gate(neuron, state) * state.q
    state.errors.append(state.q if index + 1 < len(program.populations) else state.sent)


def _count(spikes: list[Tensor], leak: float) -> Tensor:
    """Return sum_t leak^(T-t) s(t)."""
    return torch.stack([leak ** (len(spikes) - 1 - t) * s for t, s in enumerate(spikes)]).sum(0)


def _gate(neuron: RealPhases, state: _State) -> Tensor:
    count = _count(state.spikes, neuron.leak)
    return ((neuron.low < count) & (count < neuron.high)).double()


def _sum(program: PhasedProgram, states: list[_State], entering: Tensor) -> None:
    """Sum up for the next step what every population hears, forward and backward."""
    assert isinstance(program.errors, RealErrors)
    for index, state in enumerate(states):
        state.current = state.weights[0] @ (states[index - 1].s if index else entering)
        if index + 1 < len(states):
            after = states[index + 1]
            gain = program.errors.gain if index + 2 == len(states) else 1.0
            state.back_current = gain * (after.weights[0].T @ after.sent)
        if len(state.weights) > 1:
            state.current = state.current + state.weights[1] @ state.s
            state.back_current = state.back_current + state.weights[1].T @ state.sent


def _learn(program: PhasedProgram, states: list[_State], x: Tensor, sign: int) -> None:
    """Change the rows whose b has this sign by what the rule says of the sample."""
    for index, (population, state) in enumerate(zip(program.populations, states, strict=True)):
        neuron, rate = population.neuron, population.rate
        assert isinstance(neuron, RealPhases)
        assert isinstance(rate, RealRate)
        for group, synapses in enumerate(population.synapses):
            source = index - 1 + group
            heard = torch.stack(states[source].spikes) if source >= 0 else x
            before = program.populations[max(source, 0)].neuron
            assert isinstance(before, RealPhases)
            errors = torch.stack(state.errors).unsqueeze(1)
            last = index + 1 == len(states)
            gate = torch.ones_like(errors[0, 0]) if last else _gate(neuron, state)
            forward = {"leak": before.leak, "forward": 1 / total(before.leak, program.steps), "backward": 0.0}
            backward = {
                "leak": neuron.leak,
                "forward": 0.0,
                "backward": rate.rate / total(neuron.leak, program.back_steps),
            }
            nothing = torch.zeros(len(heard), 1, population.size).double()
            _, rates = weight_change(program.rule, heard.unsqueeze(1), nothing, constants=forward, phase="forward")
            silence = torch.zeros(program.back_steps, 1, heard.shape[1]).double()
            change, memory = weight_change(
                program.rule,
                silence,
                errors,
                signal=gate.expand_as(errors),
                constants=backward,
                phase="backward",
                before=rates,
            )
            if synapses.plastic:
                rows = (sign * memory["b"][0, :, 0] > 0).double().unsqueeze(1)
                state.weights[group] += rows * change
