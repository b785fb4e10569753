"""STDP and reward-modulated STDP learn alike in PyTorch, in the engine and in Lava, Lava's learning engine as judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lava.proc.learning_rules.r_stdp_learning_rule import RewardModulatedSTDP
from lava.proc.learning_rules.stdp_learning_rule import STDPLoihi

from neurodeploy.backends.loihi2 import pairing
from neurodeploy.backends.loihi2.learn import learn as learn_on_lava
from neurodeploy.engine.plastic import PlasticEngine, learn, trajectory
from neurodeploy.engine.plastic_integer import FACTOR_KEEPS, engine_seed, trace_draws
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.paired import CLEAR, STDP, PairedProgram
from neurodeploy.learning.paired_online import learn_online
from tests.paired_programs import LIVELY, STEPS, integer, real, samples

RELATIVE = 1e-12
SHAPES = [
    {},
    {"beta": 0.75},
    {"sizes": (16, 5, 4)},
    *({"reset": reset} for reset in Reset if reset not in (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT_AT_ONCE)),
]


def plastic(program: PairedProgram, features: bool = True, output: bool = True) -> PairedProgram:
    """Return `program` with features and output learning at the same time, or one of them."""
    inner, outer = program.populations
    return replace(
        program,
        features=replace(inner, forward=replace(inner.forward, plastic=features)),
        output=replace(outer, forward=replace(outer.forward, plastic=output)),
    )


def relative(expected: tuple[np.ndarray, ...], actual: tuple[np.ndarray, ...]) -> float:
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, actual, strict=True))


def changed(program: PairedProgram, weights: tuple[np.ndarray, ...]) -> bool:
    """Whether learning changed at least a quarter of the features' weights, thresholds, and the output's weights."""
    pairs = list(zip(program.weights, weights, strict=True))
    return all(np.mean(pairs[group][0] != pairs[group][1]) > 1 / 4 for group in (0, 2, 3))


def on_lava(program: PairedProgram, spikes: np.ndarray, labels: np.ndarray, model: str):
    return learn_on_lava(program, spikes, labels, on="lava-models", model=model, trajectory=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_engine_learns_what_the_tables_say_in_pytorch(shape):
    """Real numbers, after every step: weights, thresholds and decisions are those of the tables, read literally."""
    program, (spikes, labels) = plastic(real(**shape)), samples()
    weights, predictions, path = learn_online(program, spikes, labels, trajectory=True)
    assert changed(program, weights)
    run = learn(program, spikes, labels)
    assert relative(path, trajectory(program, spikes, labels)) < RELATIVE
    assert relative(weights, run.weights) < RELATIVE
    assert np.array_equal(predictions, run.predictions)


@pytest.mark.parametrize("made", [real, integer])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lavas_learning_engine_and_the_fused_process_learn_what_the_engine_learns(shape, made):
    """After every step; integers bit for bit, Lava's roundings and fixed seeds included."""
    program, (spikes, labels) = plastic(made(**shape)), samples()
    ours, run = trajectory(program, spikes, labels), learn(program, spikes, labels)
    assert changed(program, run.weights)
    for model in ("engine", "fused"):
        theirs, path = on_lava(program, spikes, labels, model)
        assert relative(path, ours) <= (0 if program.integer else RELATIVE)
        assert np.array_equal(theirs.predictions, run.predictions)


@pytest.mark.parametrize("made", [real, integer])
@pytest.mark.parametrize(("features", "output"), [(True, False), (False, True)])
def test_what_is_frozen_stays_and_the_rest_learns_alike(made, features, output):
    program, (spikes, labels) = plastic(made(), features, output), samples()
    run, (_, path) = learn(program, spikes, labels), on_lava(program, spikes, labels, "engine")
    assert relative(path, trajectory(program, spikes, labels)) < RELATIVE
    for group, learns in ((0, features), (3, output)):
        assert np.array_equal(run.weights[group], program.weights[group]) != learns


@pytest.mark.parametrize("made", [real, integer])
def test_a_late_start_and_a_longer_pause_learn_alike(made):
    program, (spikes, labels) = plastic(replace(made(), start=3, pause=7)), samples()
    ours, (_, theirs) = trajectory(program, spikes, labels), on_lava(program, spikes, labels, "engine")
    assert relative(theirs, ours) < RELATIVE
    if not program.integer:
        assert relative(learn_online(program, spikes, labels, trajectory=True)[2], ours) < RELATIVE
    at_once = trajectory(replace(program, start=0), spikes, labels)[0]
    assert np.array_equal(ours[0][3:], at_once) != program.integer  # a later step has other random numbers


def test_extreme_rates_saturate_alike():
    """Weights at the ends of their range, traces at 127, tags at 255: what clips, clips in Lava at the same place."""
    options = replace(LIVELY, rate=1 / 8, gain=32.0, impulse=24, target=60, output_rate=2.0, reward=1.0)
    program, (spikes, labels) = plastic(integer(options)), samples(32)
    spikes[:, :, :4], spikes[:, :, 4:8] = 1, 0
    eager = replace(program.output, pairing=replace(program.output.pairing, a_plus=4.0))
    unbound = replace(program.features, pairing=replace(program.features.pairing, leak=0.0))
    program = replace(program, features=unbound, output=eager)
    ours, (_, theirs) = trajectory(program, spikes, labels), on_lava(program, spikes, labels, "engine")
    assert all(map(np.array_equal, ours, theirs))
    assert (ours[0].min(), ours[0].max()) == (-256, 255)
    assert (ours[3].min(), ours[3].max()) == (-256, 255)


def test_a_tag_is_cleared_in_lava_as_here_even_when_the_clearing_factor_loses_a_unit():
    """Lava lets third factors decay by a ten-thousandth and rounds: once in a thousand times 64 becomes 63."""
    program, (spikes, labels) = plastic(integer()), samples(3)
    ends = np.arange(3) * program.period + program.steps + 2

    def loses(seed: int) -> bool:
        draws = trace_draws(engine_seed(seed, 1, recurrent=False), program.duration(3))[1]
        return bool(np.any(draws[ends[:2]] >= (CLEAR * FACTOR_KEEPS) % 1))

    eager = replace(program.output, pairing=replace(program.output.pairing, a_plus=4.0))
    program = replace(program, seed=next(filter(loses, range(10_000))), output=eager)
    ours, (_, theirs) = trajectory(program, spikes, labels), on_lava(program, spikes, labels, "engine")
    assert all(map(np.array_equal, ours, theirs))
    engine = PlasticEngine(program, program.duration(3))
    engine.present(spikes[:1], labels[:1])
    left = [engine.state.e.copy()]
    engine.present(spikes[1:2], labels[1:2])
    left.append(engine.state.e.copy())
    assert any(each.any() for each in left)


def test_learning_goes_on_from_odd_weights_alike():
    program, (spikes, labels) = plastic(integer()), samples(2)
    forward, inhibition, threshold, votes = program.weights
    odd = program.learned((forward + 1, inhibition, threshold, votes - 1))
    ours, (_, theirs) = trajectory(odd, spikes, labels), on_lava(odd, spikes, labels, "engine")
    assert np.array_equal(ours[0][0], forward + 1)
    assert all(map(np.array_equal, ours, theirs))


@pytest.mark.parametrize("made", [real, integer])
def test_without_target_and_leak_the_features_learn_by_lavas_stock_rule(made, monkeypatch):
    """`STDPLoihi` in the place of the rule we compile gives the same weights after every step."""
    program, (spikes, labels) = plastic(made(), output=False), samples()
    numbers = replace(program.features.pairing, a_plus=0.25, a_minus=0.125, target=0, leak=0.0)
    program = replace(program, features=replace(program.features, pairing=numbers))
    ours = trajectory(program, spikes, labels)

    def stock(of: PairedProgram) -> STDPLoihi:
        return STDPLoihi(
            learning_rate=1, A_plus=0.25, A_minus=-0.125, tau_plus=numbers.tau_plus, tau_minus=numbers.tau_minus,
            x1_impulse=numbers.impulse, y1_impulse=numbers.impulse, t_epoch=1, rng_seed=of.seed,
        )  # fmt: skip

    monkeypatch.setattr(pairing, "features_rule", stock)
    _, theirs = on_lava(program, spikes, labels, "engine")
    assert np.mean(ours[0][-1] != program.weights[0]) > 1 / 3
    assert relative(theirs, ours) < RELATIVE


def test_the_rewards_rule_holds_the_products_of_lavas_stock_rule():
    """dw = u0 t y2 and dt = A+ y0 x1 are `RewardModulatedSTDP`'s, product by product."""
    stock = RewardModulatedSTDP(
        learning_rate=1, A_plus=0.25, A_minus=0, pre_trace_decay_tau=10.0, post_trace_decay_tau=5.0,
        pre_trace_kernel_magnitude=12, post_trace_kernel_magnitude=12, eligibility_trace_decay_tau=0.5,
    )  # fmt: skip
    ours = pairing.output_rule(plastic(real()))
    assert [str(product) for product in stock.dw.products] == [str(product) for product in ours.dw.products][:1]
    written = {
        (p.dependency, p.s_mantissa * 2.0**p.s_exp, str(p.factors[0])) for p in stock.dt.products if p.s_mantissa
    }
    first = ours.dt.products[0]
    assert (first.dependency, first.s_mantissa * 2.0**first.s_exp, str(first.factors[0])) in written


def test_pair_stdp_is_the_sum_over_all_pairs_of_spikes():
    """dw = A+ sum e^(-d / tau+) over pairs in which pre does not follow post, - A- sum e^(-d / tau-) the other way."""
    program, (spikes, _) = plastic(real(), output=False), samples()
    numbers = replace(program.features.pairing, a_plus=1 / 64, a_minus=3 / 64, target=0, leak=0.0, impulse=1.0)
    program = replace(program, features=replace(program.features, pairing=numbers))
    engine, target = PlasticEngine(program, 0), np.zeros(program.output.size, np.uint8)
    before, behind = [], []
    for sample in spikes:
        for at in range(program.period):
            before.append(sample[at] if at < STEPS else np.zeros(program.inputs, np.uint8))
            engine.step(before[-1], target)
            behind.append(engine.state.spikes[0].copy())
    x, z = np.array(before, float), np.array(behind, float)
    distance = np.subtract.outer(np.arange(len(x)), np.arange(len(x)))  # post step less pre step
    rise = np.where(distance >= 0, np.exp(-np.maximum(distance, 0) / numbers.tau_plus), 0)
    fall = np.where(distance <= 0, np.exp(np.minimum(distance, 0) / numbers.tau_minus), 0)
    expected = np.einsum("pj,pq,qi->ji", z, numbers.a_plus * rise - numbers.a_minus * fall, x)
    assert z.sum() > 20
    assert np.allclose(engine.weights[0] - program.weights[0], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("made", [real, integer])
def test_labels_reach_nothing_but_the_weights_of_the_neuron_that_decided(made):
    """Others leave features and thresholds as they are; a sample changes one neuron's weights, by its reward."""
    program, (spikes, labels) = plastic(made()), samples(8)
    right = learn(program, spikes, labels).predictions
    paths = {name: trajectory(program, spikes, told) for name, told in (("all", right), ("none", (right + 1) % 4))}
    for group in (0, 1, 2):
        assert np.array_equal(paths["all"][group], paths["none"][group])
    decided = int(right[0])
    after = program.steps + 2
    for name, sign in (("all", 1), ("none", -1)):
        change = paths[name][3][after].astype(float) - program.weights[3]
        assert np.array_equal(paths[name][3][after - 1], paths[name][3][0])
        assert set(np.nonzero(change)[0]) == {decided}
        assert np.all(sign * change[decided] >= 0)


@pytest.mark.parametrize("made", [real, integer])
def test_another_seed_or_label_learns_otherwise(made):
    """The comparisons above can fail: a seed changes integers only, a label both."""
    program, (spikes, labels) = plastic(made()), samples()
    weights = learn(program, spikes, labels).weights
    seeded = learn(replace(program, seed=program.seed + 1), spikes, labels).weights
    assert np.array_equal(weights[0], seeded[0]) != program.integer
    decided = learn(program, spikes, labels).predictions
    assert not np.array_equal(
        learn(program, spikes, decided).weights[3], learn(program, spikes, (decided + 1) % 4).weights[3]
    )


@pytest.mark.parametrize(("made", "model"), [(real, "engine"), (integer, "engine"), (integer, "fused")])
def test_the_real_runtime_learns_the_same(made, model):
    """Lava's runtime, in its own processes, ends with the engine's weights and predictions."""
    program, (spikes, labels) = plastic(made()), samples(3)
    run = learn(program, spikes, labels)
    theirs, _ = learn_on_lava(program, spikes, labels, on="lava", model=model)
    assert relative(run.weights, theirs.weights) < RELATIVE
    assert np.array_equal(theirs.predictions, run.predictions)


@pytest.mark.parametrize(
    "change",
    [{"a_plus": 0.3}, {"a_plus": 1 / 256}, {"leak": 9 / 128}],
    ids=str,
)
def test_a_coefficient_the_engine_does_not_multiply_by_is_refused(change):
    program = real()
    numbers = replace(program.features.pairing, **change)
    with pytest.raises(UnsupportedError, match="ND145"):
        pairing.features_rule(replace(program, features=replace(program.features, pairing=numbers)))


def test_another_table_is_refused():
    with pytest.raises(UnsupportedError, match="ND145"):
        pairing.features_rule(replace(real(), rule=replace(STDP, weight="a_plus*x1*z + a_minus*y1*x")))
