"""Loihi's integers are in range, as close as they can be, and stable; what was rounded is what gets recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.backends.payloads import payloads
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.real import run_real
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Input, InputKind, Linear, Reset
from neurodeploy.ir.program import STATE_MAX, STATE_SHIFT, Program
from neurodeploy.lowering import lower


def network(seed: int, reset: Reset, synaptic: bool, recurrent: bool, graded: bool, beyond: bool = False) -> Network:
    """Return a random two-layer network with ordinary parameters, optionally recurrent.

    beyond: its neurons fire at the threshold or several times, perhaps with a floor, or send their membrane; snnTorch's
    undelayed subtraction is of neurons that do not.
    """
    rng = np.random.default_rng(seed)
    inputs, hidden = int(rng.integers(4, 40)), int(rng.integers(3, 20))
    alpha = np.array(rng.uniform(0.2, 0.9)) if synaptic else None
    beta = rng.uniform(0.3, 0.97, hidden) if rng.random() < 0.5 else np.array(rng.uniform(0.3, 0.97))
    nodes = {
        "in": Input((inputs,), InputKind.GRADED if graded else InputKind.SPIKES, -0.5 if graded else 0.0, 1.0),
        "fc1": Linear(rng.normal(size=(hidden, inputs)) * 2 / np.sqrt(inputs), rng.normal(size=hidden) * 0.1),
        "lif1": LIF((hidden,), beta, np.array(rng.uniform(0.5, 2.0)), reset, alpha),
        "fc2": Linear(rng.normal(size=(5, hidden))),
        "lif2": LIF((5,), np.array(0.8), np.array(1.0), reset),
    }
    edges = [Edge("in", "fc1"), Edge("fc1", "lif1"), Edge("lif1", "fc2"), Edge("fc2", "lif2")]
    if recurrent:
        nodes["loop"] = Linear(rng.normal(size=(hidden, hidden)) * 0.3, rng.normal(size=hidden) * 0.01)
        edges += [Edge("lif1", "loop", 1), Edge("loop", "lif1")]
    if beyond:
        for name in ("lif1", "lif2"):
            firing = Firing.ABOVE if reset is Reset.SUBTRACT else list(Firing)[rng.integers(3)]
            floor = np.array(-rng.uniform(0, 1.5)) if rng.random() < 0.7 else None
            if name == "lif1" and synaptic and rng.random() < 0.5:
                own = rng.normal(size=hidden) * 0.1
                nodes |= {each: replace(nodes[each], bias=None) for each in ("fc1", "loop") if each in nodes}
                nodes[name] = replace(nodes[name], bias=own)
            if reset is Reset.NONE and not (recurrent and name == "lif1") and rng.random() < 0.5:
                firing, floor = Firing.VALUE, None
            nodes[name] = replace(nodes[name], firing=firing, floor=floor)
    return Network(nodes, tuple(edges), "in", "lif2")


networks = st.builds(
    network,
    st.integers(0, 2**32 - 1),
    st.sampled_from(Reset),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def dequantized(net: Network, program: Program) -> Network:
    """Return the real network that the integers stand for."""
    nodes = dict(net.nodes)
    for projection in program.projections:
        population = program.population(projection.target)
        payload = program.payload(projection.source)
        unit = 2.0 ** (1 + projection.exponent) / (population.scale * payload)
        nodes[projection.name] = Linear(projection.synapses.mantissa * unit)
    for population in program.populations:
        n, node = population.neuron, net.nodes[population.name]
        bias = (n.bias_mantissa.astype(float) * 2.0**n.bias_exponent) / (population.scale * (1 << STATE_SHIFT))
        if node.bias is None:
            first = program.incoming(population.name)[0].name
            nodes[first] = replace(nodes[first], bias=bias)
        else:
            node = replace(node, bias=np.broadcast_to(bias, node.shape))
        nodes[population.name] = replace(
            node,
            beta=1 - n.dv / 4096,
            threshold=n.vth / population.scale,
            alpha=None if node.alpha is None else 1 - n.du / 4096,
            floor=None if n.floor is None else n.floor / population.scale,
        )
    return replace(net, nodes=nodes)


@given(networks)
@settings(max_examples=80, deadline=None)
def test_registers_are_in_range(net: Network) -> None:
    """8-bit weights, 12-bit decays, 17-bit thresholds, 13 + 3 bit biases."""
    program = quantize(lower(net))
    for population in program.populations:
        n = population.neuron
        assert n.dv.min() >= 0
        assert n.dv.max() <= 4095
        assert n.du.min() >= 1
        assert n.du.max() <= 4096
        assert n.vth.min() >= 1
        assert n.vth.max() < 1 << 17
        assert n.floor is None or -(1 << 17) < n.floor.min() <= n.floor.max() <= 0
        assert 1 <= n.most <= (STATE_MAX if n.firing is Firing.VALUE and population.name == "lif2" else 255)
        assert np.abs(n.bias_mantissa).max() <= 4095
        assert 0 <= n.bias_exponent <= 7
    for projection in program.projections:
        assert projection.synapses.mantissa.dtype == np.int8
        assert np.abs(projection.synapses.mantissa.astype(int)).max() <= 127
        assert -8 <= projection.exponent <= 7


@given(networks)
@settings(max_examples=80, deadline=None)
def test_weights_are_within_half_a_step_and_the_record_says_how_far(net: Network) -> None:
    """Round to nearest: the error is at most half of the smallest representable difference, and is the one recorded."""
    lowered = lower(net)
    program = quantize(lowered)
    recorded = {d.place: d.bound for d in program.deviations if d.code == "ND201"}
    for projection in program.projections:
        population = program.population(projection.target)
        payload = program.payload(projection.source)
        unit = 2.0 ** (1 + projection.exponent) / (population.scale * payload)
        error = np.abs(projection.synapses.mantissa * unit - lowered.nodes[projection.name].weight).max()
        assert error <= unit / 2 * (1 + 1e-9)
        assert recorded.get(projection.name, 0.0) == pytest.approx(error, abs=1e-15)


@given(networks)
@settings(max_examples=100, deadline=None)
def test_quantizing_what_was_dequantized_changes_nothing(net: Network) -> None:
    """The integers are a fixed point: same mantissas and decays, and everything else the same real number.

    Exponent, threshold and bias may be twice or half the integers they were, with the scale: rounding moves the worst
    case, and with it now and then the power of two that still fits. Half an odd integer is rounded.
    """
    program = quantize(lower(net))
    again = quantize(lower(dequantized(lower(net), program)))
    ratio = {p.name: round(q.scale / p.scale, 12) for p, q in zip(program.populations, again.populations, strict=True)}
    assert set(ratio.values()) <= {0.5, 1.0, 2.0}
    for before, after in zip(program.projections, again.projections, strict=True):
        np.testing.assert_array_equal(after.synapses.mantissa, before.synapses.mantissa)
        assert 2.0 ** (after.exponent - before.exponent) == ratio[before.target]
    for before, after in zip(program.populations, again.populations, strict=True):
        for field in ("du", "dv"):
            np.testing.assert_array_equal(getattr(after.neuron, field), getattr(before.neuron, field))
        half = 0.5 if ratio[before.name] < 1 else 0.0
        np.testing.assert_allclose(after.neuron.vth, before.neuron.vth * ratio[before.name], rtol=0, atol=half)
        if before.neuron.floor is not None:
            floor = before.neuron.floor * ratio[before.name]
            np.testing.assert_allclose(after.neuron.floor, floor, rtol=0, atol=half)
        old, new = (p.neuron.bias_mantissa.astype(int) << p.neuron.bias_exponent for p in (before, after))
        np.testing.assert_allclose(new, old * ratio[before.name], rtol=0, atol=half)


@given(networks, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_current_never_wraps_and_a_safe_membrane_never_saturates(net: Network, seed: int) -> None:
    """The worst-case bounds hold on the most excitatory and inhibitory input there is."""
    program = quantize(lower(net))
    unsafe = {d.place for d in program.deviations if d.code == "ND210"}
    rng = np.random.default_rng(seed)
    node = net.input_node
    extremes = rng.choice([node.low, node.high], size=(25, 4, *node.shape))
    extremes[:, 0], extremes[:, 1] = node.high, node.low if node.kind is InputKind.GRADED else 0
    result = run_fast(program, payloads(program.input, extremes), record_states=True)
    for population in program.populations:
        u, v = result.currents[population.name], result.voltages[population.name]
        real = run_real(net, extremes)[0]
        assert real.spikes.keys() == result.spikes.keys()
        assert np.abs(np.diff(u.astype(np.int64), axis=0)).max(initial=0) < 1 << 24
        assert np.abs(u).max() < STATE_MAX
        if population.name not in unsafe:
            assert np.abs(v).max() < STATE_MAX


def test_spikes_and_ranges_are_refused_rather_than_clipped() -> None:
    """A value that is no spike, or beyond the range compiled for, is refused by name."""
    spikes, graded = (network(1, Reset.ZERO, False, False, graded) for graded in (False, True))
    nan = float("nan")
    wrong = ((spikes, 0.5, "ND220"), (spikes, nan, "ND220"), (graded, 1.2, "ND221"), (graded, -0.7, "ND221"))
    for net, value, code in (*wrong, (graded, nan, "ND221")):
        program = quantize(lower(net))
        with pytest.raises(UnsupportedError, match=code):
            payloads(program.input, np.full((2, 1, *net.input_node.shape), value))


@pytest.mark.parametrize(("levels", "low"), [(16, 0.0), (255, 0.0), (16, -2.0)])
def test_input_on_a_grid_enters_without_rounding(levels: int, low: float) -> None:
    """Pixels of 0 to 16, or of 0 to 255, are payloads as they are; so is a grid that reaches further down than up."""
    net = network(3, Reset.ZERO, False, False, True)
    net = replace(net, nodes=net.nodes | {"in": replace(net.input_node, low=low, high=1.0, levels=levels)})
    program = quantize(lower(net))
    grid = np.arange(int(low * levels), levels + 1) / levels
    np.testing.assert_allclose(payloads(program.input, grid) * program.input.scale, grid, atol=1e-12)
    assert "ND205" not in {d.code for d in program.deviations}


def test_paths_of_different_length_are_refused() -> None:
    """A skip connection past a spiking layer would arrive a step early."""
    net = network(0, Reset.ZERO, False, False, False)
    skip = Linear(np.ones((5, net.input_node.shape[0])))
    crossed = replace(
        net, nodes=net.nodes | {"skip": skip}, edges=(*net.edges, Edge("in", "skip"), Edge("skip", "lif2"))
    )
    with pytest.raises(UnsupportedError, match="ND142"):
        quantize(lower(crossed))


def test_numbers_that_fit_nowhere_are_refused() -> None:
    """A threshold a million times the weights leaves no scale."""
    net = network(0, Reset.ZERO, False, False, False)
    huge = replace(net.nodes["lif1"], threshold=np.array(1e9))
    with pytest.raises(UnsupportedError, match="ND211"):
        quantize(lower(replace(net, nodes=net.nodes | {"lif1": huge})))


def test_a_graded_image_into_a_convolution_gets_as_many_levels_as_fit() -> None:
    """Lava's Conv has no exponent, so the payload is coarsened until the current cannot wrap, and that is recorded."""
    rng = np.random.default_rng(0)
    conv = Conv(rng.normal(size=(4, 1, 5, 5)), (1, 12, 12), (1, 1), (0, 0), (1, 1))
    net = Network(
        {
            "in": Input((1, 12, 12), InputKind.GRADED, 0.0, 1.0),
            "conv": conv,
            "lif": LIF((4, 8, 8), np.array(0.9), np.array(1.0), Reset.ZERO),
        },
        (Edge("in", "conv"), Edge("conv", "lif")),
        "in",
        "lif",
    )
    program = quantize(lower(net))
    assert 8 <= program.input.high < 255
    assert "ND205" in {d.code for d in program.deviations}
    bright = payloads(program.input, np.ones((3, 1, 1, 12, 12)))
    result = run_fast(program, bright, record_states=True)
    assert np.abs(result.currents["lif"]).max() < STATE_MAX


@given(seed=st.integers(0, 2**32 - 1), grid=st.sampled_from([1.0, 1 / 64, 3.0]), graded=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_was_counted_in_integers_keeps_every_integer(seed: int, grid: float, graded: bool) -> None:
    """Where a source counts in whole steps, the program stands for its numbers exactly, and records nothing of them."""
    rng = np.random.default_rng(seed)
    weight = 2.0 * rng.integers(-128, 128, (6, 9)) * 2.0 ** -int(rng.integers(0, 8))
    weight = grid * (np.rint(weight) if np.abs(weight).max() <= 127 else 2 * np.rint(weight / 2))
    lif = LIF(
        (6,),
        1 - rng.integers(0, 4096, 6) / 4096,
        grid * rng.integers(1, 1 << 17, 6),
        Reset.ZERO,
        1 - rng.integers(1, 4097, 6) / 4096 if rng.random() < 0.5 else None,
        grid=grid,
    )
    kind = InputKind.GRADED if graded else InputKind.SPIKES
    step = float(rng.integers(1, 50)) ** -1
    bias = grid * rng.integers(-4095, 4096, 6)
    nodes = {
        "in": Input((9,), kind, -4.0 if graded else 0.0, 5.0 if graded else 1.0, grid=step if graded else None),
        "fc": Linear(weight / step if graded else weight, bias),
        "lif": lif,
    }
    net = Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif")
    program = quantize(net)
    assert {deviation.code for deviation in program.deviations} <= ({"ND205"} if graded else set())
    again = dequantized(net, program)
    assert np.allclose(again.nodes["fc"].weight, nodes["fc"].weight, rtol=1e-12, atol=0)
    assert np.array_equal(again.nodes["fc"].bias / grid, bias / grid)
    assert np.array_equal(np.rint(lif.threshold / grid), program.population("lif").neuron.vth)
    assert np.array_equal(program.population("lif").constants.values["beta"], lif.beta)


@pytest.mark.parametrize("weight", [129.0, 255.0, 256.0, -258.0, 0.5])
def test_integers_that_do_not_fit_are_refused(weight: float) -> None:
    lif = LIF((1,), np.array(0.5), np.array(64.0), Reset.ZERO, grid=1.0)
    nodes = {"in": Input((2,), InputKind.SPIKES), "fc": Linear(np.array([[weight, -1.0]])), "lif": lif}
    with pytest.raises(UnsupportedError, match="ND215"):
        quantize(Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif"))


def test_counts_that_are_subtracted_late_have_room_below() -> None:
    """Excited in one step and inhibited in the next, a neuron falls by all of its input and all of its thresholds."""
    nodes = {
        "in": Input((40,), InputKind.SPIKES),
        "fc": Linear(np.concatenate([np.ones(20), -np.ones(20)])[None]),
        "lif": LIF((1,), np.array(0.2), np.array(1.4), Reset.SUBTRACT_NEXT_STEP, firing=Firing.MULTIPLE),
    }
    net = Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif")
    program = quantize(lower(net))
    inputs = np.zeros((20, 1, 40), np.int32)
    inputs[::2, :, :20], inputs[1::2, :, 20:] = 1, 1
    result = run_fast(program, inputs, record_states=True)
    assert result.spikes["lif"].max() == 14
    assert np.abs(result.voltages["lif"]).max() < STATE_MAX
    assert result.voltages["lif"].min() / (1 << STATE_SHIFT) / program.population("lif").scale < -30
