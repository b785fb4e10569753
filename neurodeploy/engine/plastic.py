"""Runs what learns, in whichever language: one sample after the other, as a chip does.

`ARITHMETICS` names who holds a step of each language and arithmetic; this file lays a program out for them and counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from neurodeploy.engine import paired_integer, paired_real, phased_integer, phased_real, plastic_integer, plastic_real
from neurodeploy.ir.onchip import PlasticPopulation, PlasticProgram
from neurodeploy.ir.paired import Features, Output, PairedProgram
from neurodeploy.ir.phased import PhasedPopulation, PhasedProgram
from neurodeploy.results import LearningRun

CHUNK_SAMPLES = 64
"""Samples between two reports of progress."""
ARITHMETICS: dict[tuple[type, bool], ModuleType] = {
    (PlasticProgram, False): plastic_real,
    (PlasticProgram, True): plastic_integer,
    (PhasedProgram, False): phased_real,
    (PhasedProgram, True): phased_integer,
    (PairedProgram, False): paired_real,
    (PairedProgram, True): paired_integer,
}
"""Language, and whether in integers -> the module that computes it."""

LearningProgram = PlasticProgram | PhasedProgram | PairedProgram
Populations = tuple[PlasticPopulation | PhasedPopulation | Features | Output, ...]


class PlasticEngine:
    """A program at some point of its life: states, traces and weights, advanced step by step or sample by sample."""

    def __init__(self, program: LearningProgram, steps: int) -> None:
        """Begin at rest; `steps` is how many time steps there will be at most."""
        self.program = program
        self.arithmetic = ARITHMETICS[type(program), program.integer]
        self.chain: Any = self.arithmetic.lay_out(program, steps)
        self.flat_weights = flat_weights(program)
        self.state: Any = self.arithmetic.at_rest(program, self.flat_weights)

    @cached_property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The weights as they are now, in the order of the program's; the engine's own memory."""
        shapes = [weight.shape for weight in self.program.weights]
        parts = np.split(self.flat_weights, np.cumsum([post * pre for post, pre in shapes])[:-1])
        return tuple(part.reshape(pre, post).T for part, (post, pre) in zip(parts, shapes, strict=True))

    def by_population(self, values: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the part of each population in an array of the state that has one value per neuron."""
        populations: Populations = self.program.populations
        return tuple(np.split(values, np.cumsum([population.size for population in populations])[:-1]))

    def step(self, inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Advance one time step and return the output's spikes.

        Args:
            inputs: (input,) of the program's `input_type`, what enters in this step.
            target: uint8 (output,), one-hot; read only while the output is active.
        """
        self.arithmetic.advance(self.chain, self.state, inputs, target)
        return self.state.output

    def wait(self) -> None:
        """Advance to the first sample's first input, in silence."""
        silence = np.zeros(self.program.inputs, self.program.input_type)
        target = np.zeros(self.program.output.size, np.uint8)
        for _ in range(self.program.start):
            self.step(silence, target)

    def present(self, spikes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Present samples one after the other and return their output spike counts, int64 (sample, output).

        Args:
            spikes: (sample, step, input) of the program's `input_type`.
            labels: int64 (sample,).
        """
        counts = np.zeros((len(spikes), self.program.output.size), np.int64)
        self.arithmetic.present(self.chain, self.state, spikes, labels, counts)
        return counts


def warm_up(program: LearningProgram) -> None:
    """Have the kernels compiled or loaded, which takes this process a fraction of a second, before steps are timed."""
    engine = PlasticEngine(program, 1)
    engine.step(np.zeros(program.inputs, program.input_type), np.zeros(program.output.size, np.uint8))


def trajectory(program: LearningProgram, spikes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the weights after every time step of such a run, per group of synapses (step, post, pre)."""
    engine = PlasticEngine(program, program.duration(len(spikes)))
    targets = np.eye(program.output.size, dtype=np.uint8)[labels]
    silence, rows = np.zeros(program.inputs, program.input_type), []

    def step(inputs: np.ndarray, target: np.ndarray) -> None:
        engine.step(inputs, target)
        rows.append([weight.copy() for weight in engine.weights])

    for _ in range(program.start):
        step(silence, np.zeros_like(targets[0]))
    for sample, target in zip(spikes.astype(program.input_type), targets, strict=True):
        for at in range(program.period):
            step(sample[at] if at < program.steps else silence, target)
    return tuple(map(np.stack, zip(*rows, strict=True)))


def flat_weights(program: LearningProgram) -> np.ndarray:
    """Return all weights one after the other, in the order of the program's, each (pre, post) in C order."""
    flat = np.concatenate([weight.T.ravel() for weight in program.weights])
    return flat.astype(np.int32 if program.integer else np.float64)


def learn(
    program: LearningProgram,
    spikes: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> LearningRun:
    """Run `program` from rest on samples, learning all the while.

    Args:
        spikes: (sample, step, input); zero or one, or what else the program's `input_type` holds.
        labels: (sample,) output neurons.
        progress: called with the samples done and their number.
    """
    started = time.perf_counter()
    spikes = np.ascontiguousarray(spikes, program.input_type)
    labels = np.ascontiguousarray(labels, np.int64)
    steps = program.duration(len(spikes))
    engine = PlasticEngine(program, steps)
    engine.wait()
    predictions = np.zeros(len(spikes), np.int64)
    for first in range(0, len(spikes), CHUNK_SAMPLES):
        chunk = slice(first, first + CHUNK_SAMPLES)
        predictions[chunk] = engine.present(spikes[chunk], labels[chunk]).argmax(1)
        if progress:
            progress(min(first + CHUNK_SAMPLES, len(spikes)), len(spikes))
    counted = engine.state.counters
    populations: Populations = program.populations
    return LearningRun(
        "engine (numba)",
        tuple(np.ascontiguousarray(weight) for weight in engine.weights),
        predictions,
        {population.name: int(n) for population, n in zip(populations, engine.state.fired, strict=True)},
        synaptic_operations=int(counted[0]),
        updates=int(counted[1]),
        steps=steps,
        seconds=time.perf_counter() - started,
    )
