"""DECOLLE on the target is DECOLLE: what it changes is its gradient, nothing reaches a layer from later ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodeploy.engine.plastic import PlasticEngine, learn, trajectory
from neurodeploy.errors import UsageError
from neurodeploy.ir.onchip import ERROR_ONE, PlasticProgram
from neurodeploy.learning.decolle import Decolle, Options
from neurodeploy.learning.surrogates import DAMPENING
from neurodeploy.lowering.plastic import DecolleOptions
from tests.plastic_programs import LIVELY, LOCAL, integer, network, real, relative, samples

DEEP = {"sizes": (16, 12, 9, 4), "recurrent": True}
DELAY = 2
"""Steps from hidden spikes to the error about them: one to the read-out, one back, in every layer."""


def updates(program: PlasticProgram, spikes: np.ndarray, label: int) -> tuple[np.ndarray, ...]:
    """Return what one sample changes, every step from the weights that `program` has."""
    engine, target = PlasticEngine(program, program.period), np.eye(program.output.size, dtype=np.uint8)[label]
    total = [np.zeros_like(weight) for weight in program.weights]
    for step in range(program.period):
        engine.step(spikes[step] if step < program.steps else np.zeros_like(spikes[0]), target)
        for changed, weight, before in zip(total, engine.weights, program.weights, strict=True):
            changed += weight - before
            weight[:] = before
    return tuple(total)


def gradients(program: PlasticProgram, spikes: np.ndarray, label: int, delay: int) -> tuple[np.ndarray, ...]:
    """Return what `learning/decolle.py` subtracts for the same, hidden errors meeting psi eps `delay` steps later.

    Its read-out is G / goal, forward and back, its error a mean over classes, its psi has a factor of its own.
    """
    learner = Decolle(network(**DEEP), Options(surrogate="triangle"), seed=0, dtype=torch.float64)
    classes, signals = program.output.size, learner.signals
    own = [(population.readout.synapses.weight, population.readout.readout) for population in program.populations[:-1]]
    own.append((np.eye(classes), program.readout))
    learner.readouts = [(torch.tensor(g / readout.goal), torch.zeros(classes).double()) for g, readout in own]

    def late(*heard):
        *hidden, output = signals(*heard)
        silence = torch.zeros(delay, 1, 1).double()
        moved = [(psi, torch.cat([silence.expand(-1, *told.shape[1:]), told])[: len(told)]) for psi, told in hidden]
        return [*moved, output]

    learner.signals = late
    learner.gradients(torch.tensor(spikes[:, None]).double(), torch.tensor([label]))
    found = []
    for layer, population, (_, readout) in zip(learner.net, program.populations, own, strict=True):
        scale = -population.factor.rate * float(population.neuron.beta) * classes * readout.goal / DAMPENING
        weights = (layer.weight,) if layer.recurrent is None else (layer.weight, layer.recurrent)
        found += [scale * weight.grad.numpy() for weight in weights]
    return tuple(found)


def test_what_a_sample_changes_is_decolles_gradient_with_the_error_two_steps_late():
    """At frozen weights, in both hidden layers alike, which are two and one layer before the output; to 1e-9.

    The output, too, is read without memory, as DECOLLE has it; psi is one threshold wide, as the triangle; there are no
    rate regularization and no offsets.
    """
    program = real(
        replace(LOCAL, kappa=0.0, local_kappa=0.0, width=1, regularizer=0.0, rate=0.5, readout_rate=0.5), **DEEP
    )
    spikes, labels = samples(1)
    ours = updates(program, spikes[0], labels[0])
    assert all(np.mean(changed != 0) > 1 / 10 for changed in ours)
    assert relative(gradients(program, spikes[0], labels[0], DELAY), ours) < 1e-9
    for wrong in (DELAY - 1, DELAY + 1):
        assert relative(gradients(program, spikes[0], labels[0], wrong)[:1], ours[:1]) > 1e-2


@pytest.mark.parametrize("made", [real, integer])
@pytest.mark.parametrize(("options", "local"), [(LOCAL, True), (LIVELY, False)], ids=["decolle", "eprop"])
def test_what_hidden_layers_learn_does_not_depend_on_later_layers(made, options, local):
    """By DECOLLE, to the bit: neither on the output's weights nor on those between. By e-prop it does."""
    program = made(options, **DEEP)
    spikes, labels = samples()
    ours = trajectory(program, spikes, labels)
    for first in (2, 4):
        weights = [-weight if at >= first else weight for at, weight in enumerate(program.weights)]
        theirs = trajectory(program.learned(weights), spikes, labels)
        assert all(map(np.array_equal, ours[:first], theirs[:first])) == local


def test_errors_in_integers_are_the_real_ones_of_the_same_spikes():
    """To 2 of 127, all classes, layers and steps: rounding of eight-bit G, of its sums, and of y."""
    program, reals = integer(LOCAL, **DEEP), real(LOCAL, **DEEP)
    engine, (spikes, labels) = PlasticEngine(program, program.duration(4)), samples()
    hidden, classes = program.populations[:-1], program.output.size
    seen = 0.0
    for sample, label in zip(spikes, labels, strict=True):
        target = np.eye(classes, dtype=np.uint8)[label]
        y, before = [np.zeros(classes) for _ in hidden], [np.zeros(population.size) for population in hidden]
        for step in range(program.period):
            engine.step(sample[step] if step < program.steps else np.zeros_like(sample[0]), target)
            for p, population in enumerate(reals.populations[:-1]):
                readout, active = population.readout, 0 <= step - 2 - p < program.steps
                y[p] = readout.readout.kappa * y[p] + readout.synapses.weight @ before[p]
                error = np.clip(y[p] / readout.readout.goal - target, -1, 1) * active
                actual = engine.state.error[(1 + p) * classes :][:classes]
                assert np.abs(ERROR_ONE * error - actual).max() <= 2
                assert active or not actual.any()
                seen = max(seen, np.abs(y[p] / readout.readout.goal).max())
            before = [part.astype(float) for part in engine.by_population(engine.state.spikes)[: len(hidden)]]
    assert seen > 0.3


@pytest.mark.parametrize("made", [real, integer])
def test_spikes_into_read_outs_are_counted_as_synaptic_operations(made):
    """With nothing plastic both rules spike alike, and DECOLLE counts a synapse per hidden spike and class more."""
    spikes, labels = samples()
    eprop, decolle = (learn(made(options, **DEEP).frozen(), spikes, labels) for options in (LIVELY, LOCAL))
    assert eprop.spikes == decolle.spikes
    more = 4 * sum(decolle.spikes[name] for name in ("lif1", "lif2"))
    assert decolle.synaptic_operations - eprop.synaptic_operations == more > 0


def test_back_comes_what_went_out_transposed():
    """B is G transposed, in real numbers and in integers; G / goal lies within xi over the root of the neurons."""
    options = DecolleOptions(scale=0.7)
    for program in (real(options, **DEEP), integer(options, **DEEP)):
        for population in program.populations[:-1]:
            assert np.array_equal(population.factor.feedback, population.readout.synapses.weight.T)
    for population in real(options, **DEEP).populations[:-1]:
        readout = population.readout
        reach = np.abs(readout.synapses.weight / readout.readout.goal).max() * population.size**0.5
        assert 0.6 < reach <= 0.7


def test_a_read_out_without_weights_is_refused():
    with pytest.raises(UsageError, match="scale is 0"):
        DecolleOptions(scale=0)
    with pytest.raises(UsageError, match="local_kappa is 1"):
        DecolleOptions(local_kappa=1)
