"""The bound on what rounding can do is a bound, is tight enough to mean something, and excuses no wrong integer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import pipeline
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.real import run_real
from neurodeploy.evaluation import rounding
from neurodeploy.evaluation.rounding import certify, follow, misdelivered, misrounded
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.nodes import Firing, InputKind, Reset
from neurodeploy.ir.program import STATE_SHIFT
from neurodeploy.lowering import lower
from tests.property.test_quantize import network
from tests.sigma_delta_networks import telling, walk

SEEN_BEFORE_RESET = (Reset.NONE, Reset.SUBTRACT_NEXT_STEP, Reset.ZERO_NEXT_STEP)
"""Resets whose recorded membrane is the one that was compared with the threshold."""


def samples(net, seed: int, steps: int = 8, count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (steps, count, *net.input_node.shape)
    if net.input_node.kind is InputKind.SPIKES:
        return (rng.random(shape) < 0.4).astype(np.uint8)
    return rng.uniform(net.input_node.low, net.input_node.high, shape)


@given(st.integers(0, 2**32 - 1), st.sampled_from(SEEN_BEFORE_RESET), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_membranes_stay_within_the_bound(
    seed: int, reset: Reset, synaptic: bool, recurrent: bool, graded: bool
) -> None:
    """Integer membranes are within the bound of the followed ones at every step, spikes differing or not.

    As long as nothing differs, the followed membranes are the source's own.
    """
    model = pipeline.compile(network(seed, reset, synaptic, recurrent, graded), "loihi2-sim")
    x = samples(model.source, seed)
    real = run_real(model.source, x)[0]
    ours = pipeline.run(model, pipeline.Samples("x", x, None), record_states=True)
    population = model.program.population("lif1")
    integers = ours.voltages["lif1"] / (population.scale * (1 << STATE_SHIFT))
    followed = follow(lower(model.source), model.program, population, x, ours, slice(None))
    differs = (real.spikes["lif1"] != ours.spikes["lif1"]).any(axis=2)
    alike = np.cumsum(differs, axis=0) == 0
    np.testing.assert_allclose(followed.membrane[alike], real.voltages["lif1"][alike], atol=1e-9)
    assert (np.abs(integers - followed.membrane) <= followed.bound).all()
    assert np.median(followed.bound) < 0.2 * model.source.nodes["lif1"].threshold


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_an_honest_program_is_certified(reset: Reset, beyond: bool, seed: int) -> None:
    """Whatever the neurons, every decision of every layer lies within the bound and no parameter is misrounded."""
    net = network(seed, reset, seed % 2 == 0, seed % 3 == 0, True, beyond)
    x = samples(net, seed, steps=20, count=8)
    lowered = lower(net)
    program = quantize(lowered, run_real(lowered, x)[1])
    model = replace(pipeline.compile(net, "loihi2-sim"), program=program)
    real = run_real(model.source, x)[0]
    outcome = certify(model, x, None, real, pipeline.run(model, pipeline.Samples("x", x, None)))
    assert outcome["misrounded"] == []
    assert outcome["unexplained"] == []
    assert outcome["verified"]
    assert outcome["accuracy"] is None


def test_a_difference_beyond_rounding_is_not_excused() -> None:
    """A spike added where the membrane is far from threshold is called what it is."""
    model = pipeline.compile(network(2, Reset.ZERO_NEXT_STEP, False, False, False), "loihi2-sim")
    x = samples(model.source, 2)
    real = run_real(model.source, x)[0]
    ours = pipeline.run(model, pipeline.Samples("x", x, None))
    far = np.argwhere(real.voltages["lif1"][0] < 0.2 * model.source.nodes["lif1"].threshold)[0]
    spikes = ours.spikes["lif1"].copy()
    spikes[0, far[0], far[1]] = 1
    outcome = certify(model, x, None, real, replace(ours, spikes=ours.spikes | {"lif1": spikes}))
    assert not outcome["verified"]
    assert outcome["first_divergence"]["likely_cause"].startswith("not rounding")


def test_a_later_layer_is_not_excused_by_an_earlier_difference() -> None:
    """lif1 differs by rounding first; a spike added to lif2 afterwards, far from threshold, is still found."""
    for seed in range(50):
        model = pipeline.compile(network(seed, Reset.ZERO, False, False, True), "loihi2-sim")
        x = samples(model.source, seed, steps=20, count=8)
        real, ours = run_real(model.source, x)[0], pipeline.run(model, pipeline.Samples("x", x, None))
        if (real.spikes["lif1"][:10] != ours.spikes["lif1"][:10]).any():
            break
    followed = follow(lower(model.source), model.program, model.program.population("lif2"), x, ours, slice(None))
    quiet = np.argwhere(followed.membrane[15] < 0)[0]
    spikes = ours.spikes["lif2"].copy()
    spikes[15, quiet[0], quiet[1]] = 1
    outcome = certify(model, x, None, real, replace(ours, spikes=ours.spikes | {"lif2": spikes}))
    assert not outcome["verified"]
    (defect,) = outcome["unexplained"]
    assert (defect["step"], defect["population"], defect["sample"]) == (15, "lif2", int(quiet[0]))
    assert defect["likely_cause"].startswith("not rounding")


def test_a_lowering_that_changes_the_network_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a rewrite does to a weight, what it delivers is held against what the source delivers."""
    model = pipeline.compile(network(4, Reset.ZERO, False, True, False), "loihi2-sim")
    x = samples(model.source, 4)
    ours = pipeline.run(model, pipeline.Samples("x", x, None))
    assert misdelivered(model, x, ours) == []

    def broken(net):
        loop = net.nodes["loop"]
        return lower(replace(net, nodes=net.nodes | {"loop": replace(loop, weight=loop.weight.T)}))

    monkeypatch.setattr(rounding, "lower", broken)
    (line,) = misdelivered(model, x, ours)
    assert line.startswith("lif1")


def test_a_graded_spike_that_counts_one_too_many_or_too_few_is_found() -> None:
    """A payload one off, where the membrane lies between two thresholds: not by what rounding can do."""
    nets = (network(seed, Reset.SUBTRACT_AT_ONCE, False, False, False, beyond=True) for seed in range(100))
    net = next(net for net in nets if all(n.firing is Firing.MULTIPLE for n in net.populations.values()))
    model = pipeline.compile(net, "loihi2-sim")
    x = samples(model.source, 5, steps=20, count=8)
    real, ours = run_real(model.source, x)[0], pipeline.run(model, pipeline.Samples("x", x, None))
    assert certify(model, x, None, real, ours)["verified"]
    followed = follow(lower(model.source), model.program, model.program.population("lif2"), x, ours, slice(None))
    between = (followed.low + followed.bound < followed.membrane) & (followed.membrane < followed.high - followed.bound)
    step, sample, neuron = np.argwhere(between & (ours.spikes["lif2"] == 2))[-1]
    for off, expected in ((-1, 2), (1, 2)):
        spikes = ours.spikes["lif2"].copy()
        spikes[step, sample, neuron] = 2 + off
        outcome = certify(model, x, None, real, replace(ours, spikes=ours.spikes | {"lif2": spikes}))
        found = outcome["unexplained"][0]
        assert (found["step"], found["sample"], found["neuron"]) == (step, sample, [neuron])
        assert (found["expected"], found["actual"]) == (expected, 2 + off)


@pytest.mark.parametrize("field", ["du", "dv", "vth", "bias_mantissa", "floor"])
@pytest.mark.parametrize("off", [-1, 1])
def test_every_register_one_off_is_named(field: str, off: int) -> None:
    """Decays, thresholds, floors and biases one unit away from the nearest."""
    net = network(4, Reset.ZERO, True, False, False)
    lif = replace(net.nodes["lif1"], floor=np.array(-0.7))
    model = pipeline.compile(replace(net, nodes=net.nodes | {"lif1": lif}), "loihi2-sim")
    first = model.program.populations[0]
    changed = replace(first, neuron=replace(first.neuron, **{field: getattr(first.neuron, field) + off}))
    spoiled = replace(model, program=replace(model.program, populations=(changed, *model.program.populations[1:])))
    names = {"du": "alpha", "dv": "beta", "vth": "threshold", "bias_mantissa": "bias", "floor": "floor"}
    (line,) = misrounded(spoiled)
    assert line.startswith(f"lif1.{names[field]}")


def test_calibration_leaves_twice_the_room_of_what_was_seen() -> None:
    """Where the worst case cannot be afforded, the scale follows the measured membrane."""
    net = network(11, Reset.NONE, False, False, False)
    slow = replace(net.nodes["lif1"], beta=np.array(0.999))
    net = replace(net, nodes=net.nodes | {"lif1": slow})
    x = samples(net, 11, steps=60)
    ranges = run_real(lower(net), x)[1]
    program = quantize(lower(net), ranges)
    assert "ND210" in {deviation.code for deviation in program.deviations}
    population = program.population("lif1")
    assert population.scale * ranges["lif1"].voltage * 2 <= (1 << 23) >> STATE_SHIFT
    reached = np.abs(run_fast(program, x.astype(np.int32), record_states=True).voltages["lif1"]).max()
    assert reached < (1 << 22) * 1.01
    more = replace(ranges["lif1"], voltage=ranges["lif1"].voltage * 16)
    assert quantize(lower(net), ranges | {"lif1": more}).population("lif1").scale < population.scale


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("on_grid", [True, False])
def test_what_tells_changes_is_followed_to_the_last_bit(seed: int, on_grid: bool) -> None:
    """From values on the source's grid every message and sum is the source's own; others are explained by rounding."""
    model = pipeline.compile(telling(seed), "loihi2-sim")
    x = walk(seed) + (0.0 if on_grid else np.random.default_rng(seed).uniform(-0.5, 0.5, (20, 4, 5)) / 64)
    source = run_source(model.source, x, record_states=True)
    ours = pipeline.run(model, pipeline.Samples("walk", x, None), record_states=True)
    for population in model.program.populations:
        name, told = population.name, ours.spikes[population.name] * population.payload
        same = np.array_equal(told, source.spikes[name]) and np.array_equal(
            told, run_real(model.source, x)[0].spikes[name]
        )
        assert same == on_grid, name
    assert certify(model, x, None, source, ours)["verified"]


@pytest.mark.parametrize("wrong", ["one too much", "one too little", "not told", "told below the threshold"])
@pytest.mark.parametrize("name", ["0", "1"])
def test_a_wrong_message_is_found_where_it_was_sent(wrong: str, name: str) -> None:
    model = pipeline.compile(telling(0), "loihi2-sim")
    x = walk(0, samples=1)
    ours = pipeline.run(model, pipeline.Samples("walk", x, None), record_states=True)
    sent = ours.spikes[name].copy()
    silent = wrong == "told below the threshold"
    step, sample, neuron = (int(i) for i in np.argwhere((sent == 0) if silent else (np.abs(sent) > 400))[3])
    change = {"one too much": 1, "one too little": -1, "not told": -sent[step, sample, neuron]}.get(wrong, 300)
    sent[step, sample, neuron] += change
    found = next(rounding.beyond_rounding(model, x, replace(ours, spikes=ours.spikes | {name: sent})))
    assert (found["population"], found["step"], found["neuron"]) == (name, step, [neuron])
    assert (found["expected"], found["actual"]) == (sent[step, sample, neuron] - change, sent[step, sample, neuron])


@pytest.mark.parametrize("field", ["vth", "bias_mantissa", "du", "dv"])
def test_every_register_of_what_tells_changes_is_named_when_it_is_off(field: str) -> None:
    model = pipeline.compile(telling(1), "loihi2-sim")
    population = model.program.population("1")
    off = np.asarray(getattr(population.loihi, field) + (-1 if field == "dv" else 1), np.int32)
    wrong = replace(population, neuron=replace(population.loihi, **{field: off}))
    populations = tuple(wrong if each is population else each for each in model.program.populations)
    assert misrounded(model) == []
    assert misrounded(replace(model, program=replace(model.program, populations=populations)))
