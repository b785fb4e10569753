"""A network learns alike in PyTorch, in the engine and in Lava, with Lava's own learning engine as judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.backends.loihi2.learn import learn as learn_on_lava
from neurodeploy.backends.loihi2.plastic_formats import frozen_program
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.engine.plastic import PlasticEngine, learn, trajectory
from neurodeploy.engine.plastic_integer import _learn
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.onchip import RATE_ONE, PlasticProgram
from neurodeploy.learning.online import learn_online
from neurodeploy.lowering.plastic import OnlineOptions
from neurodeploy.lowering.plastic import program as plastic_program
from tests.plastic_programs import LIVELY, LOCAL, integer, network, real, relative, samples

RELATIVE = 1e-9
SHAPES = [
    {},
    {"recurrent": True},
    {"sizes": (16, 12, 9, 4), "recurrent": True},
    {"bias": 0.05},
    *({"reset": reset} for reset in Reset if reset not in (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT_AT_ONCE)),
    {"beta": 0.75},
    {"options": LOCAL},
    {"options": LOCAL, "recurrent": True, "bias": 0.05},
    {"options": LOCAL, "sizes": (16, 12, 9, 4), "recurrent": True},
]


def changed(program: PlasticProgram, weights: tuple[np.ndarray, ...]) -> bool:
    """Whether learning changed at least a third of every group of plastic weights."""
    groups = [synapses for population in program.populations for synapses in population.synapses]
    return all(
        not group.plastic or np.mean(before != after) > 1 / 3
        for group, before, after in zip(groups, program.weights, weights, strict=True)
    )


def told(shape: dict) -> str:
    """Return the name of a case."""
    options = shape.get("options", LIVELY)
    return ", ".join([options.RULE.name, *(f"{name} {value}" for name, value in shape.items() if name != "options")])


@pytest.mark.parametrize("shape", SHAPES, ids=told)
def test_engine_learns_what_the_rules_table_says_in_pytorch(shape):
    """Real numbers: after every step the engine's weights are those of the table, read literally, to 1e-9."""
    program = real(**shape)
    spikes, labels = samples()
    weights, predictions, path = learn_online(program, spikes, labels, trajectory=True)
    run = learn(program, spikes, labels)
    assert changed(program, weights)
    assert relative(weights, run.weights) < RELATIVE
    assert relative(path, trajectory(program, spikes, labels)) < RELATIVE
    assert np.array_equal(predictions, run.predictions)


@pytest.mark.parametrize("shape", SHAPES, ids=told)
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
        assert relative(paths[model], trajectory(program, spikes, labels)) < RELATIVE


@pytest.mark.parametrize("shape", SHAPES, ids=told)
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
        counted = (run.synaptic_operations, run.updates) if model == "fused" else (None, None)
        assert (theirs.synaptic_operations, theirs.updates) == counted
        assert all(map(np.array_equal, paths[model], trajectory(program, spikes, labels)))


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
@pytest.mark.parametrize(("made", "options"), [(real, LIVELY), (integer, LIVELY), (integer, LOCAL)])
def test_the_real_runtime_learns_the_same(made, options, model):
    """Lava's runtime, in its own processes, ends with the engine's weights and predictions."""
    program = made(options, recurrent=True)
    spikes, labels = samples(3)
    run = learn(program, spikes, labels)
    theirs, _ = learn_on_lava(program, spikes, labels, on="lava", model=model)
    assert relative(run.weights, theirs.weights) < RELATIVE
    assert np.array_equal(theirs.predictions, run.predictions)


def test_lavas_engine_shifts_and_floors_any_third_factor_as_ours_does():
    """Factors that are no multiples of eight, which our neurons never send, show which way the shift floors.

    A LearningDense alone, fed from outside, against the kernel that stands for it, after every step.
    """
    random = np.random.default_rng(5)
    program, steps = integer(sizes=(16, 4)), 60
    population = program.output
    spikes = (random.random((steps, 16)) < 0.4).astype(np.uint8)
    factors = np.where(random.random((2, steps, 4)) < 0.5, random.integers(1, 120, (2, steps, 4)), 0)
    theirs = lone_learning_dense(program, spikes, factors)
    engine = PlasticEngine(program, steps)
    state, (weight,) = engine.state, engine.weights
    for step in range(steps):
        state.tick[0] = step
        state.positive[:], state.negative[:] = factors[:, step]
        state.spikes[population.size :] = spikes[step]
        _learn(engine.chain, state, 0)
        assert np.array_equal(theirs[step], weight), step


def lone_learning_dense(program: PlasticProgram, spikes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the weights (step, post, pre) of the output's synapses, fed from outside with spikes and both factors."""
    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.plasticity import _synapses, run_configuration
    from neurodeploy.backends.loihi2.processes import SpikeInput

    with registries_restored():
        source = SpikeInput(samples=spikes[None])
        dense = _synapses(program, 0, recurrent=False)
        source.s_out.connect(dense.s_in)
        for port, rows in zip((dense.s_in_y1, dense.s_in_y2), factors, strict=True):
            SpikeInput(samples=rows[None]).s_out.connect(port)
        rows = np.zeros((len(spikes), *program.output.forward.weight.shape), np.int32)
        dense.proc_params["weight_rows"] = rows
        step_models(build_models(source, run_configuration(integer=True, graph=True)), len(spikes), None)
    return rows


def test_a_firing_rate_in_integers_is_the_mean_that_real_numbers_have():
    """A neuron that fires in every step: r = 1 - (1 - 1/64)^n from zero, to the 1/4096 a step that integers lose."""
    program = integer(OnlineOptions(target_rate=0.0), bias=2.0)
    engine, real_engine = PlasticEngine(program, 12), PlasticEngine(real(OnlineOptions(target_rate=0.0), bias=2.0), 12)
    silence, target = np.zeros(16, np.uint8), np.eye(4, dtype=np.uint8)[0]
    for n in range(12):
        engine.step(silence, target)
        real_engine.step(silence, target)
        expected = 1 - (1 - 1 / 64) ** n
        assert np.allclose(real_engine.by_population(real_engine.state.firing)[0], expected, rtol=1e-12)
        assert np.allclose(engine.by_population(engine.state.firing)[0] / RATE_ONE, expected, rtol=0, atol=n / RATE_ONE)


def test_learned_weights_are_frozen_as_lavas_static_synapses_read_them():
    """An odd weight goes to the even one below, whatever its sign: what Lava's own truncation makes of it."""
    from lava.utils.weightutils import SignMode, truncate_weights

    source = network()
    program, learned = quantize(source), integer()
    random = np.random.default_rng(7)
    learned = learned.learned([random.integers(-256, 256, weight.shape) for weight in learned.weights])
    frozen = frozen_program(program, learned)
    for projection, weight in zip(frozen.projections, learned.weights, strict=True):
        expected = truncate_weights(weight, sign_mode=SignMode.MIXED, num_weight_bits=8)
        assert np.array_equal(2 * projection.synapses.mantissa.astype(np.int32), expected)


def test_rates_decay_and_seeds_differ_from_epoch_to_epoch():
    first, fourth = (plastic_program(network(), 12, LIVELY, epoch) for epoch in (0, 3))
    for before, after in zip(first.populations, fourth.populations, strict=True):
        assert after.factor.rate == pytest.approx(before.factor.rate * LIVELY.decay**3)
        assert np.array_equal(before.forward.weight, after.forward.weight)
    assert first.seed != fourth.seed


def test_an_integer_network_says_when_its_random_numbers_are_used_up():
    """It must be told how many time steps there will be, and fails in the step after, instead of reading on."""
    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.plasticity import run_configuration
    from neurodeploy.backends.loihi2.processes import PlasticNetwork, SpikeInput

    program, (spikes, _) = integer(), samples()
    with pytest.raises(ValueError, match="how many time steps"):
        PlasticNetwork(program=program)
    with registries_restored():
        source, target = SpikeInput(samples=spikes), SpikeInput(samples=np.zeros((1, 1, 4), np.uint8))
        network = PlasticNetwork(program=program, steps=3)
        source.s_out.connect(network.s_in)
        target.s_out.connect(network.t_in)
        models = build_models(source, run_configuration(integer=True, graph=False))
        with pytest.raises(RuntimeError, match="time step 4"):
            step_models(models, 4, None)


def test_lavas_engine_goes_on_from_odd_weights():
    """What an epoch left is where the next begins: stock LearningDense would drop the low bit of every weight first."""
    program = integer()
    random = np.random.default_rng(9)
    program = program.learned([w + random.integers(0, 2, w.shape, dtype=np.int32) for w in program.weights])
    spikes, labels = samples()
    run = learn(program, spikes, labels)
    assert any(
        np.any((before & 1 == 1) & (before == after))
        for before, after in zip(program.weights, run.weights, strict=True)
    )
    theirs, _ = learn_on_lava(program, spikes, labels, on="lava-models", model="engine")
    assert all(map(np.array_equal, theirs.weights, run.weights))
