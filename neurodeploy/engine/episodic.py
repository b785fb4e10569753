"""Runs an `EpisodicProgram` in float64: the equations of `ir/episodic.py`, sums over steps as matrix products.

The eligibility's filter is moved to the few neurons, where it runs backwards: sum_n L(n) e(n) is sum_n S(n) psi(n)
eps(n) with S(n) = (1 - kappa) L(n) + kappa S(n+1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from neurodeploy.ir.episodic import DAMPENING, QUIET_STEPS, EpisodicProgram
from neurodeploy.ir.onchip import RealFactor, RealNeuron
from neurodeploy.results import LearningRun

BLOCK_SAMPLES = 256
"""Samples that are answered at once where nothing learns."""
ROOM = 2.0
"""Thresholds over what the strongest output hears; accuracy hardly changes from 1 to 4."""
REPORT_SAMPLES = 64
"""Samples between two reports of progress."""

Weights = list[np.ndarray]


class Course(NamedTuple):
    """What happened in some samples, each (step, sample, neuron): input, spikes, potentials and the read-out."""

    x: np.ndarray
    z: np.ndarray
    v: np.ndarray
    y: np.ndarray


def learn(
    program: EpisodicProgram,
    spikes: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> LearningRun:
    """Present samples one after the other, learning after each; see `engine.plastic.learn`."""
    started = time.perf_counter()
    padded, weights = program.padded(spikes), [weight.copy() for weight in program.weights]
    predictions = np.zeros(len(padded), np.int64)
    plastic = any(synapses.plastic for population in program.populations for synapses in population.synapses)
    block = 1 if plastic else BLOCK_SAMPLES
    fired, operations, updates = {population.name: 0 for population in program.populations}, 0, 0
    for first in range(0, len(padded), block):
        course = forward(program, weights, padded[first : first + block])
        predictions[first : first + block] = course.y.sum(0).argmax(1)
        fired[program.hidden.name] += int(course.z.sum())
        operations += _operations(program, course)
        if plastic:
            for weight, change in zip(weights, changes(program, weights, course, labels[first]), strict=True):
                weight += change
                updates += int(np.count_nonzero(change))
        if progress and (first % REPORT_SAMPLES == 0 or first + block >= len(padded)):
            progress(min(first + block, len(padded)), len(padded))
    return LearningRun(
        "engine (numpy)",
        tuple(weights),
        predictions,
        fired,
        operations,
        updates,
        steps=program.duration(len(padded)),
        seconds=time.perf_counter() - started,
    )


def trajectory(program: EpisodicProgram, spikes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the weights after every sample of such a run, per group of synapses (sample, post, pre)."""
    weights, rows = list(program.weights), []
    for sample, label in zip(program.padded(spikes), labels, strict=True):
        course = forward(program, weights, sample[None])
        weights = [w + dw for w, dw in zip(weights, changes(program, weights, course, label), strict=True)]
        rows.append(weights)
    return tuple(map(np.stack, zip(*rows, strict=True)))


def forward(program: EpisodicProgram, weights: Weights, padded: np.ndarray) -> Course:
    """Return what some samples, uint8 (sample, step, input), cause with the weights as they are."""
    neuron, reader = program.hidden.neuron, program.output.neuron
    assert isinstance(neuron, RealNeuron) and isinstance(reader, RealNeuron)  # noqa: PT018
    inner, loop, outer = _by_place(program, weights)
    x = padded.swapaxes(0, 1).astype(np.float64)
    drive = x @ inner.T
    drive[QUIET_STEPS:] += neuron.bias
    z, v = np.zeros_like(drive), np.zeros_like(drive)
    last_z = last_v = np.zeros_like(drive[0])
    for step, current in enumerate(drive):
        total = current if loop is None else current + last_z @ loop.T
        last_v = v[step] = neuron.beta * last_v + total - neuron.theta * last_z
        last_z = z[step] = last_v > neuron.theta
    heard = z @ outer.T
    heard[QUIET_STEPS:] += reader.bias
    return Course(x, z, v, filtered(heard, program.kappa))


def changes(program: EpisodicProgram, weights: Weights, course: Course, label: int) -> Weights:
    """Return dW of one sample, in the order of the weights."""
    neuron, factor, last = program.hidden.neuron, program.hidden.factor, program.output.factor
    assert isinstance(neuron, RealNeuron) and isinstance(factor, RealFactor) and isinstance(last, RealFactor)  # noqa: PT018
    x, z, v, y = (each[:, 0] for each in course)
    err = softmax(y) - np.eye(y.shape[1])[label]
    signal = filtered((1 - program.kappa) * err[::-1] @ factor.feedback.T, program.kappa)[::-1]  # type: ignore[union-attr]
    psi = DAMPENING / neuron.theta * np.maximum(0, 1 - np.abs(v - neuron.theta) / neuron.theta)
    rates = factor.regularizer * (z.mean(0) - factor.target_rate) / len(x)
    delta = factor.rate * psi * (signal + rates)
    beta, before = float(neuron.beta.flat[0]), np.vstack([np.zeros_like(z[:1]), z[:-1]])
    found = [-delta.T @ filtered(x, beta)]
    if program.hidden.recurrent is not None:
        found.append(-delta.T @ filtered(before, beta))
        np.fill_diagonal(found[1], 0)
    found.append(-last.rate * err.T @ filtered(z, program.kappa))
    groups = [synapses for population in program.populations for synapses in population.synapses]
    return [dw if synapses.plastic else np.zeros_like(dw) for dw, synapses in zip(found, groups, strict=True)]


def counting(program: EpisodicProgram, spikes: np.ndarray, _: np.ndarray) -> EpisodicProgram:
    """Return the program with a threshold at which its output, deployed, can tell classes apart by counting spikes.

    It is `ROOM` times what the strongest output hears in a step, in the mean over samples: the largest count is then
    about 1 / ROOM of the steps. Learning and the read-out do not see it.

    Args:
        spikes: (sample, step, input) of training samples.
    """
    outer, neuron, strongest = program.weights[-1], program.output.neuron, []
    assert isinstance(neuron, RealNeuron)
    padded = program.padded(spikes)
    for first in range(0, len(padded), BLOCK_SAMPLES):
        course = forward(program, list(program.weights), padded[first : first + BLOCK_SAMPLES])
        strongest.append((course.z.sum(0) @ outer.T / program.steps + neuron.bias).max(1))
    heard = float(np.concatenate(strongest).mean())
    if heard <= 0:
        return program
    reading = replace(program.output, neuron=replace(neuron, theta=np.array(ROOM * heard)))
    return replace(program, populations=(program.hidden, reading))


def filtered(values: np.ndarray, keep: float) -> np.ndarray:
    """Return f with f(n) = keep f(n-1) + values(n), along the first axis."""
    found = np.empty_like(values)
    last = np.zeros_like(values[0])
    for step, value in enumerate(values):
        last = found[step] = keep * last + value
    return found


def softmax(y: np.ndarray) -> np.ndarray:
    """Return softmax along the last axis."""
    raised = np.exp(y - y.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _by_place(program: EpisodicProgram, weights: Weights) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return input, recurrent and output weights."""
    return weights[0], None if program.hidden.recurrent is None else weights[1], weights[-1]


def _operations(program: EpisodicProgram, course: Course) -> int:
    """Return how many synapses a spike passed."""
    hidden, output = program.hidden, program.output
    own = 0 if hidden.recurrent is None else hidden.size - 1
    return int(course.x.sum()) * hidden.size + int(course.z.sum()) * (own + output.size)
