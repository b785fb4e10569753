"""SpiNNaker's numbers are in range, as close as they can be, and stable; both arithmetics do what they are said to."""

from __future__ import annotations

from dataclasses import replace
from math import exp, floor, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.artifact import CompiledModel
from neurodeploy.backends.spinnaker import place, quantize, substitute
from neurodeploy.engine.cells import as_network, run_cells, run_plainly
from neurodeploy.engine.real import run_real
from neurodeploy.errors import Change, UnsupportedError
from neurodeploy.evaluation.rounding import certify, misrounded
from neurodeploy.frontends.source import run_source
from neurodeploy.hardware import load_profile
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Input, InputKind, Linear, Reset
from neurodeploy.ir.program import Cell, Program
from neurodeploy.lowering import lower
from tests.property.test_quantize import network

RESETS = (Reset.ZERO, Reset.ZERO_NEXT_STEP, Reset.SUBTRACT_NEXT_STEP)
ON_CHIP = RESETS[:2]
MOST = (1 << 16) - 1
networks = st.builds(
    network, st.integers(0, 2**32 - 1), st.sampled_from(RESETS), st.booleans(), st.booleans(), st.just(False)
)


def spikes_for(program: Program, seed: int = 0, steps: int = 40, samples: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.random((steps, samples, *program.input.shape)) < 0.3).astype(np.uint8)


def compiled(net: Network) -> CompiledModel:
    program, profile = quantize(lower(net)), load_profile("spinnaker1")
    return CompiledModel(program, place(program, profile), profile, net, {})


@given(networks, st.sampled_from([1.0, 1000.0]))
@settings(max_examples=60, deadline=None)
def test_whatever_arrives_in_a_step_fits_sixteen_bits(net: Network, biased: float) -> None:
    """All sources at once, excitatory and inhibitory apart, bias included; membranes stay below 2^16 mV."""
    nodes = net.nodes | {"fc1": replace(net.nodes["fc1"], bias=biased * net.nodes["fc1"].bias)}
    program = quantize(lower(replace(net, nodes=nodes)))
    for population in program.populations:
        cell = population.cell
        for sign in (1, -1):
            total = np.broadcast_to(np.maximum(sign * cell.bias.astype(np.int64), 0), population.size).copy()
            for projection in program.incoming(population.name):
                total += np.maximum(sign * projection.synapses.mantissa.astype(np.int64), 0).sum(1)
            assert 0 < total.max() <= MOST
        assert cell.beta.min() >= 0
        assert cell.beta.max() < 1 << 15
    voltages = run_cells(program, np.ones_like(spikes_for(program)), record_states=True).voltages
    assert all(np.abs(v).max() < 2.0**16 for v in voltages.values())


@pytest.mark.parametrize("alpha", [None, 0.9])
@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("reset", RESETS)
def test_what_draws_a_membrane_fits_the_machine(reset: Reset, beta: float, alpha: float | None) -> None:
    """With a current that only excites, as large as it can be: s16.15 holds i / (1 - beta), and its way from -v."""
    lif = LIF((5,), np.array(beta), np.array(1.0), reset, None if alpha is None else np.array(alpha))
    nodes = {"in": Input((20,), InputKind.SPIKES), "fc": Linear(np.full((5, 20), 0.4)), "lif": lif}
    program = quantize(Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif"))
    assert not any(deviation.code == "ND234" for deviation in program.deviations)
    result = run_cells(program, np.ones((200, 1, 20), np.uint8), record_states=True)
    drawn_to = result.currents["lif"].max() / (1 - program.populations[0].cell.beta.max() / 2**15)
    assert drawn_to + np.abs(result.voltages["lif"]).max() < 2.0**16
    assert result.spikes["lif"].any()


@given(networks)
@settings(max_examples=60, deadline=None)
def test_every_number_is_the_nearest_and_rounding_explains_every_spike(net: Network) -> None:
    """By the same account that Loihi's programs are held to, against the network in PyTorch."""
    model = compiled(net)
    assert misrounded(model) == []
    inputs = spikes_for(model.program).astype(np.float32)
    outcome = certify(model, inputs, None, run_source(net, inputs), run_cells(model.program, inputs.astype(np.uint8)))
    assert outcome["verified"], outcome


@pytest.mark.parametrize("field", ["beta", "theta", "bias"])
def test_a_wrong_constant_does_not_pass_as_rounding(field: str) -> None:
    model = compiled(network(3, Reset.ZERO, False, False, False))
    first = model.program.populations[0]
    cell = replace(first.cell, **{field: getattr(first.cell, field) + 1})
    program = replace(model.program, populations=(replace(first, neuron=cell), *model.program.populations[1:]))
    assert any(field.replace("theta", "threshold") in line for line in misrounded(replace(model, program=program)))


@given(networks)
@settings(max_examples=40, deadline=None)
def test_quantizing_what_was_dequantized_changes_nothing(net: Network) -> None:
    program = quantize(lower(net))
    again = quantize(lower(as_network(program)))
    first, second = as_network(program), as_network(again)
    for before, after in zip(program.populations, again.populations, strict=True):
        unit = after.scale
        for name, node in first.nodes.items():
            if name == before.name:
                other = second.nodes[name]
                assert np.array_equal(node.threshold * unit, other.threshold)
                assert np.array_equal(node.beta, other.beta)
    for projection in program.projections:
        scale = again.population(projection.target).scale
        error = np.abs(first.nodes[projection.name].weight * scale - second.nodes[projection.name].weight).max()
        assert error <= 0.5 * 2.0 ** max(again.population(projection.target).cell.exponents)


@given(networks, st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_the_engine_equals_the_network_its_integers_stand_for(net: Network, seed: int) -> None:
    """Layer by layer with all samples at once, against step by step in real numbers: spikes and membranes."""
    program = quantize(lower(net))
    inputs = spikes_for(program, seed)
    ours, plain = run_cells(program, inputs, record_states=True), run_plainly(program, inputs)
    for name, spikes in plain.spikes.items():
        assert np.array_equal(ours.spikes[name], spikes)
        assert np.allclose(ours.voltages[name], plain.voltages[name], rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(("weaker", "apart"), [(0.1, 2), (1e-4, 7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_kinds_of_synapses_may_be_of_very_different_strength(weaker: float, apart: int, sign: int) -> None:
    """Beyond a factor of 64 a convolution's kernel no longer holds both in one unit: the engine takes another way."""
    random = np.random.default_rng(3)
    kernel = random.normal(size=(4, 2, 3, 3))
    kernel = np.where(sign * kernel > 0, kernel, weaker * kernel)
    nodes = {
        "in": Input((2, 8, 8), InputKind.SPIKES),
        "conv": Conv(kernel, (2, 8, 8), (1, 1), (1, 1), (1, 1)),
        "lif": LIF((4, 8, 8), np.array(0.9), np.array(0.01), Reset.ZERO),
    }
    program = quantize(Network(nodes, (Edge("in", "conv"), Edge("conv", "lif")), "in", "lif"))
    assert abs(np.diff(program.populations[0].cell.exponents)[0]) >= apart
    inputs = spikes_for(program)
    ours, plain = run_cells(program, inputs, record_states=True), run_plainly(program, inputs)
    assert ours.spikes["lif"].any() == (sign > 0 or weaker > 1e-2)
    assert ours.voltages["lif"].any()
    assert np.array_equal(ours.spikes["lif"], plain.spikes["lif"])
    assert np.allclose(ours.voltages["lif"], plain.voltages["lif"], rtol=1e-12, atol=1e-9)


def coupled() -> Network:
    """Return two populations side by side that feed each other a step later, and an output that reads both."""
    random = np.random.default_rng(5)
    nodes = {
        "in": Input((12,), InputKind.SPIKES),
        **{f"into_{name}": Linear(random.normal(size=(9, 12))) for name in "ab"},
        **{f"across_to_{name}": Linear(random.normal(size=(9, 9))) for name in "ab"},
        "a": LIF((9,), np.array(0.9), np.array(1.0), Reset.ZERO),
        "b": LIF((9,), np.array(0.7), np.array(1.0), Reset.ZERO_NEXT_STEP, np.array(0.5)),
        **{f"out_of_{name}": Linear(random.normal(size=(6, 9)), random.normal(size=6) * 0.2) for name in "ab"},
        "out": LIF((6,), np.array(0.8), np.array(1.0), Reset.SUBTRACT_NEXT_STEP),
    }
    edges = [Edge("in", f"into_{name}") for name in "ab"]
    for name, other in ("ab", "ba"):
        edges += [Edge(f"into_{name}", name), Edge(other, f"across_to_{name}", 1), Edge(f"across_to_{name}", name)]
        edges += [Edge(name, f"out_of_{name}"), Edge(f"out_of_{name}", "out")]
    return Network(nodes, tuple(edges), "in", "out")


def test_populations_that_feed_each_other_advance_together() -> None:
    program = quantize(lower(coupled()))
    inputs = spikes_for(program, samples=4)
    ours, plain = run_cells(program, inputs), run_plainly(program, inputs)
    for name, spikes in plain.spikes.items():
        assert spikes.any()
        assert np.array_equal(ours.spikes[name], spikes)


def test_samples_do_not_see_each_other() -> None:
    program = quantize(lower(network(1, Reset.ZERO, False, True, False)))
    inputs = spikes_for(program)
    together = run_cells(program, inputs)
    for sample in range(inputs.shape[1]):
        alone = run_cells(program, inputs[:, sample : sample + 1])
        for name, spikes in together.spikes.items():
            assert np.array_equal(spikes[:, sample : sample + 1], alone.spikes[name])


@given(st.integers(0, 2**32 - 1), st.sampled_from(ON_CHIP), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_s1615_is_the_chips_c_code_line_by_line(seed: int, reset: Reset, synaptic: bool, recurrent: bool) -> None:
    """One neuron after the other in Python's integers, from PyNN's time constants on, as sPyNNaker's C sources go."""
    program = quantize(lower(network(seed, reset, synaptic, recurrent, False)))
    inputs = spikes_for(program, seed % 1000, steps=25, samples=1)
    run = run_cells(program, inputs, record_states=True, arithmetic="s16.15")
    sent = {program.input.name: inputs[:, 0].astype(np.int64)}
    for population in program.populations:
        sent[population.name] = run.spikes[population.name][:, 0].astype(np.int64)
        for neuron in range(min(4, population.size)):
            spikes, currents, voltages = chip(population.cell, neuron, arriving(program, population.name, neuron, sent))
            assert spikes == sent[population.name][:, neuron].tolist()
            assert [i / 2**15 for i in currents] == run.currents[population.name][:, 0, neuron].tolist()
            assert [v / 2**15 for v in voltages] == run.voltages[population.name][:, 0, neuron].tolist()


def arriving(program: Program, name: str, neuron: int, sent: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    """Return the sums of excitatory and inhibitory mantissas in every step."""
    bias = int(np.broadcast_to(program.population(name).cell.bias, program.population(name).size)[neuron])
    sums = []
    for step in range(len(sent[program.input.name])):
        total = [max(bias, 0), max(-bias, 0)]
        for projection in program.incoming(name):
            at = step - projection.recurrent
            for weight, spike in zip(
                projection.synapses.mantissa[neuron], sent[projection.source][max(at, 0)], strict=True
            ):
                if at >= 0 and spike:
                    total[int(weight < 0)] += abs(int(weight))
        sums.append((total[0], total[1]))
    return sums


def chip(cell: Cell, neuron: int, arrives: list[tuple[int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Return one neuron's spikes, currents and voltages: s16.15 products rounded, u0.32 products truncated."""

    def of(values: np.ndarray) -> int:
        return int(values.reshape(-1)[0] if values.size == 1 else values.reshape(-1)[neuron])

    tau_m = -1 / log(of(cell.beta) / 2**15)
    init, decay = 1.0, 0
    if cell.alpha is not None:
        tau_syn = -1 / log(of(cell.alpha) / 2**32)
        init, decay = tau_syn * (1 - exp(-1 / tau_syn)), of(cell.alpha)
    cm = tau_m * (1 - exp(-1 / tau_m)) * init
    resistance, beta = round(tau_m / cm * 2**15), of(cell.beta)
    currents, v, waits = [0, 0], 0, 0
    spikes, seen, voltages = [], [], []
    for sums in arrives:
        for kind in (0, 1):
            weight = sums[kind] << (15 + cell.exponents[kind])
            currents[kind] += weight if cell.alpha is None else (weight * floor(init * 2**32)) >> 32
        seen.append(currents[0] - currents[1])
        reached = (seen[-1] * resistance + (1 << 14)) >> 15
        if waits:
            waits -= 1
        else:
            v = reached - ((beta * (reached - v) + (1 << 14)) >> 15)
        fires = v > of(cell.theta)
        if fires:
            v, waits = 0, int(cell.reset is Reset.ZERO_NEXT_STEP)
        spikes.append(int(fires))
        voltages.append(v)
        currents = [(current * decay) >> 32 for current in currents]
    return spikes, seen, voltages


@pytest.mark.parametrize(("synaptic", "simulators"), [(False, "nest or brian2"), (True, "brian2")])
def test_what_no_cell_of_the_chip_does_is_refused_in_its_arithmetic(synaptic: bool, simulators: str) -> None:
    """And whoever has such a cell is named."""
    program = quantize(lower(network(2, Reset.SUBTRACT_NEXT_STEP, synaptic, False, False)))
    with pytest.raises(UnsupportedError, match=f"(?s)ND330.*run it on {simulators},"):
        run_cells(program, spikes_for(program), arithmetic="s16.15")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"threshold": np.array(0.0)}, "ND151"),
        ({"beta": np.array(1.0)}, "ND152"),
        ({"alpha": np.array(1.0)}, "ND152"),
        ({"reset": Reset.NONE}, "ND153"),
        ({"reset": Reset.SUBTRACT}, "ND153"),
        ({"reset": Reset.SUBTRACT_AT_ONCE}, "ND153"),
        ({"firing": Firing.MULTIPLE}, "ND157"),
        ({"floor": np.array(-1.0)}, "ND157"),
    ],
)
def test_what_no_cell_does_is_refused(change: dict, code: str) -> None:
    net = network(2, Reset.ZERO, False, False, False)
    nodes = net.nodes | {"lif1": replace(net.nodes["lif1"], **change)}
    with pytest.raises(UnsupportedError, match=code):
        quantize(lower(replace(net, nodes=nodes)))


def at_the_threshold(firing: Firing) -> Network:
    """Return a network of eighths, whose membranes reach their thresholds exactly."""
    rng = np.random.default_rng(8)
    nodes = {
        "in": Input((12,), InputKind.SPIKES),
        "fc": Linear(rng.integers(-4, 6, (9, 12)) / 8),
        "lif": LIF((9,), np.array(0.5), np.array(0.75), Reset.ZERO, firing=firing),
        "fc2": Linear(rng.integers(-4, 6, (4, 9)) / 8),
        "lif2": LIF((4,), np.array(0.5), np.array(0.5), Reset.ZERO, firing=firing),
    }
    edges = [Edge("in", "fc"), Edge("fc", "lif"), Edge("lif", "fc2"), Edge("fc2", "lif2")]
    return Network(nodes, tuple(edges), "in", "lif2")


def test_neurons_that_fire_at_their_threshold_are_cells_with_the_number_below() -> None:
    """In real numbers and in the chip's, every spike is the meant one; above the threshold alone, many are missing.

    In 10 steps, membranes of eighths that halve stay on the chip's grid; what is beyond it may differ, and is recorded.
    """
    net, above = (at_the_threshold(firing) for firing in (Firing.REACHED, Firing.ABOVE))
    program = quantize(lower(net))
    spikes = spikes_for(program, steps=10, samples=24)
    meant, other = (run_real(each, spikes)[0].spikes for each in (net, above))
    assert np.count_nonzero(meant["lif"] != other["lif"]) > 20
    for arithmetic in ("float64", "s16.15"):
        found = run_cells(program, spikes, arithmetic=arithmetic).spikes
        assert all(np.array_equal(found[name], meant[name]) for name in meant)
    (bound,) = {each.bound for each in program.deviations if each.code == "ND232" and each.place == "lif"}
    assert bound == 2**-15 / program.population("lif").scale


@pytest.mark.parametrize("kind", ["direct", "rows", "frames"])
def test_graded_input_is_refused_with_what_helps(kind: str) -> None:
    """What reads an image row by row, or recordings, has no other way in than that it was trained with."""
    graded = replace(network(2, Reset.ZERO, False, False, True), encoding={"kind": kind, "steps": 8})
    with pytest.raises(UnsupportedError, match="ND150") as refusal:
        quantize(lower(graded))
    assert ("--encoding rate" in refusal.value.findings[0].fix) == (kind == "direct")


@pytest.mark.parametrize("synaptic", [False, True])
def test_a_reset_is_replaced_only_where_that_is_allowed_and_its_cost_is_counted(synaptic: bool) -> None:
    """The count is that of both networks in PyTorch."""
    net = lower(network(4, Reset.SUBTRACT_NEXT_STEP, synaptic, False, False))
    inputs = spikes_for(quantize(net), steps=60, samples=4).astype(np.float32)
    assert substitute(net, (), inputs) is net
    other = substitute(net, ("ND235",), inputs)
    first = other.populations["lif1"]
    assert first.reset is (Reset.ZERO_NEXT_STEP if synaptic else Reset.ZERO)
    before, after = (run_source(each, inputs).spikes["lif1"] for each in (net, other))
    deviation = next(each for each in other.deviations if each.place.startswith("lif1"))
    assert deviation.change is Change.SUBSTITUTION
    assert f"{np.count_nonzero(before != after):,} places differ" in deviation.what
    assert np.count_nonzero(before != after) > 0
    assert "not measured" in substitute(net, ("ND235",), None).deviations[-1].what


def test_real_numbers_are_those_of_the_source_where_nothing_was_rounded() -> None:
    """Weights, thresholds and decays on the grid: every spike and membrane is the source network's."""
    random = np.random.default_rng(0)
    nodes = {
        "in": Input((20,), InputKind.SPIKES),
        "fc": Linear(random.integers(-8, 9, (11, 20)) / 16.0),
        "lif": LIF((11,), np.array(0.875), np.array(1.0), Reset.SUBTRACT_NEXT_STEP, np.array(0.5)),
    }
    net = Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif")
    program = quantize(net)
    assert program.deviations == ()
    inputs = spikes_for(program)
    ours, source = run_cells(program, inputs, record_states=True), run_real(net, inputs.astype(float))[0]
    assert np.array_equal(ours.spikes["lif"], source.spikes["lif"])
    assert np.array_equal(ours.voltages["lif"] / program.populations[0].scale, source.voltages["lif"])
    assert source.spikes["lif"].any()
