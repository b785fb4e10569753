"""A network learns alike in PyTorch, in the engine and in Lava, with Lava's own learning engine as judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.backends.loihi2.learn import learn as learn_on_lava
from neurodeploy.engine.plastic import learn
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.onchip import PlasticProgram
from neurodeploy.learning.online import learn_online
from neurodeploy.lowering.plastic import OnlineOptions
from tests.plastic_programs import LIVELY, integer, real, samples

RELATIVE = 1e-9
SHAPES = [
    {},
    {"recurrent": True},
    {"sizes": (16, 12, 9, 4), "recurrent": True},
    {"bias": 0.05},
    *({"reset": reset} for reset in Reset if reset is not Reset.SUBTRACT_NEXT_STEP),
    {"beta": 0.75},
]


def changed(program: PlasticProgram, weights: tuple[np.ndarray, ...]) -> bool:
    """Whether learning changed at least a third of every group of plastic weights."""
    groups = [synapses for population in program.populations for synapses in population.synapses]
    return all(
        not group.plastic or np.mean(before != after) > 1 / 3
        for group, before, after in zip(groups, program.weights, weights, strict=True)
    )


def relative(expected: tuple[np.ndarray, ...], actual: tuple[np.ndarray, ...]) -> float:
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_engine_learns_what_the_rules_table_says_in_pytorch(shape):
    """Real numbers: the weights of the engine are those of the table, read literally, to 1e-9; so are predictions."""
    program = real(**shape)
    spikes, labels = samples()
    weights, predictions, _ = learn_online(program, spikes, labels)
    run = learn(program, spikes, labels)
    assert changed(program, weights)
    assert relative(weights, run.weights) < RELATIVE
    assert np.array_equal(predictions, run.predictions)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lavas_learning_engine_and_the_fused_process_learn_what_the_engine_learns_in_real_numbers(shape):
    """To 1e-9 after every step: Lava's decay of third factors is compensated by the neurons that send them."""
    program = real(**shape)
    spikes, labels = samples()
    run = learn(program, spikes, labels)
    assert changed(program, run.weights)
    paths = {}
    for model in ("engine", "fused"):
        theirs, paths[model] = learn_on_lava(program, spikes, labels, on="lava-models", model=model, trajectory=True)
        assert relative(theirs.weights, run.weights) < RELATIVE
        assert np.array_equal(theirs.predictions, run.predictions)
    assert relative(paths["engine"], paths["fused"]) < RELATIVE


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lavas_learning_engine_and_the_fused_process_learn_what_the_engine_learns_in_integers(shape):
    """Bit for bit after every step, Lava's roundings and fixed seeds included."""
    program = integer(**shape)
    spikes, labels = samples()
    run = learn(program, spikes, labels)
    assert changed(program, run.weights)
    paths = {}
    for model in ("engine", "fused"):
        theirs, paths[model] = learn_on_lava(program, spikes, labels, on="lava-models", model=model, trajectory=True)
        assert np.array_equal(theirs.predictions, run.predictions)
        assert all(map(np.array_equal, theirs.weights, run.weights))
    assert all(map(np.array_equal, paths["engine"], paths["fused"]))


@pytest.mark.parametrize("made", [real, integer])
def test_random_starts_and_frozen_layers_learn_alike(made):
    """With only the output plastic, hidden weights stay as they are, and the rest still agrees with Lava's engine."""
    program = made(replace(LIVELY, plastic=("lif2",), initial="random"))
    spikes, labels = samples()
    run = learn(program, spikes, labels)
    theirs, _ = learn_on_lava(program, spikes, labels, on="lava-models", model="engine")
    assert np.array_equal(run.weights[0], program.weights[0])
    assert not np.array_equal(run.weights[1], program.weights[1])
    assert relative(theirs.weights, run.weights) < RELATIVE


@pytest.mark.parametrize("made", [real, integer])
def test_extreme_rates_saturate_alike(made):
    """Weights at the end of their range, traces at 127, factors at 15: what clips, clips in Lava at the same place."""
    program = made(OnlineOptions(rate=2.0, readout_rate=2.0, regularizer=1.0), beta=0.97)
    spikes, labels = samples(6)
    run = learn(program, spikes, labels)
    theirs, _ = learn_on_lava(program, spikes, labels, on="lava-models", model="engine")
    if program.integer:
        assert all(np.abs(weight).max() >= 255 for weight in run.weights)
    assert relative(theirs.weights, run.weights) < RELATIVE


@pytest.mark.parametrize("model", ["fused", "engine"])
@pytest.mark.parametrize("made", [real, integer])
def test_the_real_runtime_learns_the_same(made, model):
    """Lava's runtime, in its own processes, ends with the engine's weights and predictions."""
    program = made(recurrent=True)
    spikes, labels = samples(3)
    run = learn(program, spikes, labels)
    theirs, _ = learn_on_lava(program, spikes, labels, on="lava", model=model)
    assert relative(run.weights, theirs.weights) < RELATIVE
    assert np.array_equal(theirs.predictions, run.predictions)
