"""Runs an `AdditiveProgram` in float64, step by step, by the convention of one of PyNN's simulators.

Each neuron keeps a trace of its spikes, P before the synapse and M behind it; a pair's change is the other side's trace
at the later of its two spikes. Of the events of one step, by convention:

    NEST     w + a_plus P for what is behind,  w - a_minus M for the input, which is then sent on;  P + 1, M + 1
    Brian2   w - a_minus M for the input, which is sent on, P + 1;          w + a_plus P for what is behind, M + 1
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
from numba import njit

from neurodeploy.engine.real import State, lif_step
from neurodeploy.ir.additive import CONVENTIONS, UNDECIDED, AdditivePopulation, AdditiveProgram
from neurodeploy.ir.nodes import LIF
from neurodeploy.results import LearningRun

CHUNK_SAMPLES = 64
"""Samples between two reports of progress."""
AGAINST = (0.0, 0.5, 1.0, 1.5, 2.0)
"""How many times more often than by chance a feature fires to a class it does not vote against."""
HEIGHT = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Thresholds of the output, in votes by chance."""
JUDGED = 512
"""Training samples on which the two are chosen."""


class AdditiveEngine:
    """A program at some point of its life."""

    def __init__(self, program: AdditiveProgram) -> None:
        """Begin at rest."""
        features, convention = program.features, CONVENTIONS[program.convention]
        self.program = program
        self.weight = features.forward.weight.T.copy()
        self.seen = self.weight.copy()
        reach = 1 + max(convention.late, convention.loop)
        self.fired = np.zeros((reach, features.size), np.uint8)
        self._states = np.zeros(program.inputs), np.zeros(features.size), np.zeros(features.size), np.zeros(1, np.int64)

    @property
    def weights(self) -> np.ndarray:
        """(post, pre), as the simulator would say if asked now."""
        held = CONVENTIONS[self.program.convention].held_back
        return (self.seen if held else self.weight).T.copy()

    def present(self, spikes: np.ndarray) -> np.ndarray:
        """Present samples, uint8 (sample, step, input), and return the features' spikes (sample, step, feature)."""
        features, pairs = self.program.features, self.program.pairs
        convention, neuron = CONVENTIONS[self.program.convention], features.neuron
        assert features.recurrent is not None
        quiet = ((0, 0), (0, self.program.pause), (0, 0))
        steps = np.pad(spikes, quiet).reshape(-1, spikes.shape[2])
        before, behind, v, tick = self._states
        fired = _advance(
            steps, self.weight, self.seen, self.fired, before, behind, v, tick,
            float(neuron.beta.flat[0]), np.broadcast_to(neuron.theta, v.shape).astype(np.float64),
            features.recurrent.weight.T.copy(),
            np.array([pairs.a_plus, pairs.a_minus, np.exp(-1 / pairs.tau_plus), np.exp(-1 / pairs.tau_minus),
                      pairs.w_max]),
            np.array([convention.late, convention.loop]), convention.coincident, features.forward.plastic,
        )  # fmt: skip
        return fired.reshape(len(spikes), self.program.period, -1)


@njit(cache=True)
def _advance(
    steps: np.ndarray,
    weight: np.ndarray,
    seen: np.ndarray,
    recent: np.ndarray,
    before: np.ndarray,
    behind: np.ndarray,
    v: np.ndarray,
    tick: np.ndarray,
    beta: float,
    theta: np.ndarray,
    inhibition: np.ndarray,
    pairs: np.ndarray,
    delays: np.ndarray,
    coincident: bool,
    plastic: bool,
) -> np.ndarray:
    """Advance by `steps` (step, input) and return the features' spikes (step, feature); weights are (pre, post)."""
    a_plus, a_minus, keep_plus, keep_minus, w_max = pairs
    reach, fired = len(recent), np.zeros((len(steps), len(v)), np.uint8)
    for step in range(len(steps)):
        now = tick[0]
        late, looped = recent[(now - delays[0]) % reach], recent[(now - delays[1]) % reach]
        before *= keep_plus
        behind *= keep_minus
        if plastic and not coincident:
            _raise(weight, before, late, a_plus, w_max)
        drive = np.zeros_like(v)
        for i in np.flatnonzero(steps[step]):
            if plastic:
                weight[i] = np.maximum(0.0, weight[i] - a_minus * behind)
                seen[i] = weight[i]
            drive += weight[i]
            before[i] += 1
        if plastic and coincident:
            _raise(weight, before, late, a_plus, w_max)
        behind += late
        for k in np.flatnonzero(looped):
            drive += inhibition[k]
        spikes = recent[now % reach]
        for j in range(len(v)):
            v[j] = beta * v[j] + drive[j]
            spikes[j] = v[j] > theta[j]
            if spikes[j]:
                v[j] = 0.0
        fired[step] = spikes
        tick[0] += 1
    return fired


@njit(cache=True)
def _raise(weight: np.ndarray, before: np.ndarray, late: np.ndarray, a_plus: float, w_max: float) -> None:
    """Let the spikes behind the synapses meet the traces before them."""
    for j in np.flatnonzero(late):
        for i in range(len(before)):
            weight[i, j] = min(w_max, weight[i, j] + a_plus * before[i])


def learn(
    program: AdditiveProgram,
    spikes: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> LearningRun:
    """Present samples one after the other; see `engine.plastic.learn`. Where nothing learns, answer as deployed."""
    started = time.perf_counter()
    spikes = np.ascontiguousarray(spikes, np.uint8)
    if not program.features.forward.plastic:
        counts, predictions = answers(program, spikes)
        weights, fired = program.weights, int(counts.sum())
    else:
        engine, fired = AdditiveEngine(program), 0
        predictions = np.full(len(spikes), UNDECIDED)
        for first in range(0, len(spikes), CHUNK_SAMPLES):
            fired += int(engine.present(spikes[first : first + CHUNK_SAMPLES]).sum())
            if progress:
                progress(min(first + CHUNK_SAMPLES, len(spikes)), len(spikes))
        weights = (engine.weights, *program.weights[1:])
    size = program.features.size
    return LearningRun(
        "engine (numba)",
        weights,
        predictions,
        {program.features.name: fired},
        synaptic_operations=int(spikes.sum(dtype=np.int64)) * size + fired * (size - 1),
        updates=int(spikes.sum(dtype=np.int64)) * size + fired * program.inputs,
        steps=program.duration(len(spikes)),
        seconds=time.perf_counter() - started,
    )


def trajectory(program: AdditiveProgram, spikes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the weights after every sample of such a run, per group of synapses (sample, post, pre)."""
    engine, rows = AdditiveEngine(program), []
    for sample in np.ascontiguousarray(spikes, np.uint8):
        engine.present(sample[None])
        rows.append(engine.weights)
    others = (np.broadcast_to(weight, (len(rows), *weight.shape)) for weight in program.weights[1:])
    return (np.stack(rows), *others)


def answers(program: AdditiveProgram, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features' spike counts (sample, feature) and the decisions (sample,), as deployed: each from rest."""
    fired = responses(program, spikes)
    return fired.sum(0, dtype=np.int64), decisions(program, fired)


def responses(program: AdditiveProgram, spikes: np.ndarray) -> np.ndarray:
    """Return what the features fire as deployed, uint8 (step, sample, feature)."""
    features = program.features
    assert features.recurrent is not None
    node, state = _at_rest(features, len(spikes))
    z = np.zeros((len(spikes), features.size))
    fired = np.zeros((spikes.shape[1], *z.shape), np.uint8)
    for step, x in enumerate(spikes.swapaxes(0, 1).astype(np.float64)):
        drive = x @ features.forward.weight.T + z @ features.recurrent.weight.T
        fired[step] = z = lif_step(node, state, drive)
    return fired


def decisions(program: AdditiveProgram, fired: np.ndarray) -> np.ndarray:
    """Return what the deployed output decides (sample,) by features that fire so (step, sample, feature)."""
    output = program.output
    node, state = _at_rest(output, fired.shape[1])
    counts = np.zeros((fired.shape[1], output.size))
    for z in fired:
        counts += lif_step(node, state, z @ output.forward.weight.T)
    return counts.argmax(1)


def _at_rest(population: AdditivePopulation, samples: int) -> tuple[LIF, State]:
    neuron = population.neuron
    node = LIF((population.size,), neuron.beta, neuron.theta, neuron.reset)
    return node, State.at_rest(node, samples)


def assigned(program: AdditiveProgram, spikes: np.ndarray, labels: np.ndarray) -> AdditiveProgram:
    """Return the program with the votes that its features cast as they are now.

        vote of feature j for class c    P_cj - against / classes       P_cj: share of j's spikes fired to samples of c
        threshold of the output          height / classes

    An output that a spike resets cannot add up small votes; `against` and `height` are those of `AGAINST` and `HEIGHT`
    with which it decides best on the first `JUDGED` samples.
    """
    fired = responses(program, spikes)
    classes = program.output.size
    sent = np.eye(classes)[:, labels] @ fired.sum(0, dtype=np.int64)
    share = np.where(sent.any(0), sent / np.maximum(sent.sum(0), 1), 0.0)
    judged = fired[:, :JUDGED].astype(np.float64)
    tried = [
        _voting(program, np.where(sent.any(0), share - against / classes, 0.0), height / classes)
        for against, height in product(AGAINST, HEIGHT)
    ]
    right = [np.mean(decisions(each, judged) == labels[:JUDGED]) for each in tried]
    return tried[int(np.argmax(right))]


def _voting(program: AdditiveProgram, votes: np.ndarray, theta: float) -> AdditiveProgram:
    output = program.output
    forward, neuron = replace(output.forward, weight=votes), replace(output.neuron, theta=np.array(theta))
    return replace(program, populations=(program.features, replace(output, forward=forward, neuron=neuron)))
