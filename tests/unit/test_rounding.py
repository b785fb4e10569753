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
from neurodeploy.evaluation.rounding import _Place, certify, margins, misrounded
from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import STATE_SHIFT
from neurodeploy.lowering import lower
from tests.property.test_quantize import network

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
def test_membranes_stay_within_the_bound_until_spikes_differ(
    seed: int, reset: Reset, synaptic: bool, recurrent: bool, graded: bool
) -> None:
    """Integer and real membranes of every neuron of the first layer, as long as both fired alike."""
    model = pipeline.compile(network(seed, reset, synaptic, recurrent, graded), "loihi2-sim")
    x = samples(model.source, seed)
    real = run_real(model.source, x)[0]
    ours = pipeline.run(model, pipeline.Samples("x", x, None), record_states=True)
    population = model.program.population("lif1")
    membrane = ours.voltages["lif1"] / (population.scale * (1 << STATE_SHIFT))
    theta = model.source.nodes["lif1"].threshold
    bounds = []
    for sample in range(x.shape[1]):
        differs = (real.spikes["lif1"][:, sample] != ours.spikes["lif1"][:, sample]).any(axis=1)
        for step in range(int(differs.argmax()) if differs.any() else len(x)):
            for neuron in range(population.size):
                at = _Place(step, sample, "lif1", (neuron,))
                distance, bound = margins(model, x, ours, at)
                expected = abs(real.voltages["lif1"][step, sample, neuron] - theta)
                assert distance == pytest.approx(expected, abs=1e-9)
                assert abs(membrane[step, sample, neuron] - real.voltages["lif1"][step, sample, neuron]) <= bound
                bounds.append(bound)
    assert not bounds or np.median(bounds) < 0.2 * theta


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("seed", range(6))
def test_an_honest_program_is_certified(reset: Reset, seed: int) -> None:
    """Whatever the reset, the first difference lies within the bound and no parameter is misrounded."""
    model = pipeline.compile(network(seed, reset, seed % 2 == 0, seed % 3 == 0, True), "loihi2-sim")
    x = samples(model.source, seed, steps=20, count=8)
    real = run_real(model.source, x)[0]
    outcome = certify(model, x, None, real, pipeline.run(model, pipeline.Samples("x", x, None)))
    assert outcome["misrounded"] == []
    assert outcome["verified"], outcome["first_divergence"]
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


@pytest.mark.parametrize("field", ["du", "dv", "vth", "bias_mantissa"])
@pytest.mark.parametrize("off", [-1, 1])
def test_every_register_one_off_is_named(field: str, off: int) -> None:
    """Decays, thresholds and biases one unit away from the nearest."""
    model = pipeline.compile(network(4, Reset.ZERO, True, False, False), "loihi2-sim")
    first = model.program.populations[0]
    changed = replace(first, neuron=replace(first.neuron, **{field: getattr(first.neuron, field) + off}))
    spoiled = replace(model, program=replace(model.program, populations=(changed, *model.program.populations[1:])))
    names = {"du": "alpha", "dv": "beta", "vth": "threshold", "bias_mantissa": "bias"}
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
