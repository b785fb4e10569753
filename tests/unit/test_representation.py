"""What a deployed network represents: nothing moves where nothing was rounded, and what was rounded is compared."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.engine.real import run_real
from neurodeploy.evaluation import fidelity
from neurodeploy.evaluation.rounding import dequantized
from neurodeploy.evaluation.similarity import cka, concatenated
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, AveragePool, Conv, Input, InputKind, Linear, Reset
from neurodeploy.lowering import lower
from neurodeploy.pipeline import Samples
from neurodeploy.report.representation import representation
from tests.cases import model as shipped
from tests.property.test_quantize import dequantized as written_out
from tests.property.test_quantize import network as random_network
from tests.property.test_quantize import networks

STEPS, SAMPLES = 4, 24
FEW: dict[str, Any] = {"batch": 12, "informative": 4}


def whole(loop: bool = False) -> Network:
    """Return a network whose membranes are multiples of 1/8 and thresholds 1/16 off any of them: no rounding shows."""
    rng = np.random.default_rng(0)
    nodes = {
        "in": Input((8,), InputKind.SPIKES),
        "fc1": Linear(rng.integers(-1, 3, (9, 8)).astype(float)),
        "lif1": LIF((9,), np.array(0.5), np.array(0.8125), Reset.ZERO),
        "fc2": Linear(rng.integers(-1, 2, (3, 9)).astype(float)),
        "lif2": LIF((3,), np.array(0.5), np.array(0.8125), Reset.ZERO),
    }
    edges = [Edge("in", "fc1"), Edge("fc1", "lif1"), Edge("lif1", "fc2"), Edge("fc2", "lif2")]
    if loop:
        nodes["loop"] = Linear(rng.integers(-1, 2, (9, 9)).astype(float))
        edges += [Edge("lif1", "loop", 1), Edge("loop", "lif1")]
    return Network(nodes, tuple(edges), "in", "lif2")


def spikes(shape: tuple[int, ...] = (8,), samples: int = SAMPLES) -> Samples:
    rng = np.random.default_rng(1)
    inputs = (rng.random((STEPS, samples, *shape)) < 0.3).astype(np.uint8)
    return Samples("mine", inputs, rng.integers(0, 3, samples))


@pytest.mark.parametrize("loop", [False, True])
def test_a_program_equal_to_its_source_represents_the_same(loop: bool) -> None:
    """CKA is 1 and all spikes agree, layer by layer; the matrix is symmetric, with 1 on its diagonal."""
    found = representation(pipeline.compile(whole(loop), "loihi2-sim"), spikes(), **FEW)
    assert [each["layer"] for each in found["cka"]] == ["lif1", "lif2"]
    assert [each["spike_agreement"] for each in found["cka"]] == pytest.approx([1, 1])
    assert [each["cka"] for each in found["cka"]] == pytest.approx([1, 1])
    matrix = np.array(found["matrix"]["cka"])
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert matrix[0, 1] < 0.999


@pytest.mark.parametrize("loop", [False, True])
def test_information_does_not_move_where_weights_do_not(loop: bool) -> None:
    """What a program's integers stand for, compiled again, is the same real numbers, and so the same information."""
    first = pipeline.compile(random_network(3, Reset.SUBTRACT, True, loop, False), "loihi2-sim")
    again = pipeline.compile(dequantized(first), "loihi2-sim")
    samples = spikes(again.program.input.shape)
    found = representation(again, samples, **FEW)
    assert found["fisher_of"] == "the source's own weights"
    tensors = {"fc1.weight", "fc2.weight"} | ({"lif1.recurrent"} if loop else set())
    assert {row["tensor"] for row in found["fisher"]} == tensors
    for row in found["fisher"]:
        for estimate in ("", "expected_"):
            for part in ("share", "per_parameter"):
                assert row[f"deployed_{estimate}{part}"] == pytest.approx(row[f"{estimate}{part}"], rel=1e-4)
    assert all(each["by_deployment"] < 1e-4 for each in found["moved"].values())
    for name in ("share", "deployed_share", "expected_share", "deployed_expected_share"):
        assert sum(row[name] for row in found["fisher"]) == pytest.approx(1)
    for step in (1, 2, 4):
        rows = [row for row in found["over_time"] if row["step"] == step]
        assert sum(row["share"] for row in rows) == pytest.approx(1)
    last = {row["tensor"]: row["share"] for row in found["over_time"] if row["step"] == STEPS}
    assert last == pytest.approx({row["tensor"]: row["share"] for row in found["fisher"]})


def changed(model: CompiledModel, flip: int = -1) -> CompiledModel:
    """Return `model` with the weights of its first projection turned around."""
    first, *rest = model.program.projections
    synapses = replace(first.synapses, mantissa=flip * first.synapses.mantissa)
    return replace(model, program=replace(model.program, projections=(replace(first, synapses=synapses), *rest)))


def test_another_program_is_seen_to_be_another() -> None:
    found = representation(changed(pipeline.compile(whole(), "loihi2-sim")), spikes(), **FEW)
    assert found["cka"][0]["cka"] < 0.9
    assert found["cka"][0]["spike_agreement"] < 0.9
    assert found["moved"]["expected"]["by_deployment"] > 1e-3


@pytest.mark.parametrize("target", ["loihi2-sim", "spinnaker1"])
@pytest.mark.parametrize("reset", [Reset.SUBTRACT_NEXT_STEP, Reset.ZERO])
def test_what_integers_stand_for_does_what_the_program_does(target: str, reset: Reset) -> None:
    """The dequantized network agrees with the engine where the source does not: states alone are rounded."""
    model = pipeline.compile(random_network(7, reset, True, True, False), target)
    inputs = (np.random.default_rng(2).random((30, 40, *model.program.input.shape)) < 0.3).astype(np.uint8)
    ours = pipeline.run(model, Samples("mine", inputs, None))
    apart = {
        name: np.mean([1 - share for share in fidelity.agreement(run_real(network, inputs)[0], ours).values()])
        for name, network in (("source", model.source), ("dequantized", dequantized(model)))
    }
    assert apart["source"] > 0
    assert apart["dequantized"] <= apart["source"] / 4


@given(networks)
@settings(max_examples=30, deadline=None)
def test_dequantized_numbers_are_those_of_the_integers(net: Network) -> None:
    """Against the same written out for Loihi: mantissas, decays, thresholds, biases; a bias once per population."""
    model = pipeline.compile(net, "loihi2-sim")
    found, expected = dequantized(model), written_out(lower(net), model.program)
    for name, node in expected.nodes.items():
        if isinstance(node, LIF):
            for field in ("beta", "threshold", "alpha"):
                np.testing.assert_equal(getattr(found.nodes[name], field), getattr(node, field))
        if isinstance(node, Linear):
            np.testing.assert_allclose(found.nodes[name].weight, node.weight, rtol=1e-12)
    for name in expected.populations:
        both = [
            sum(n.nodes[e.source].bias for e in n.incoming(name) if n.nodes[e.source].bias is not None)
            for n in (found, expected)
        ]
        np.testing.assert_allclose(*both, rtol=1e-12)


def pooled() -> Network:
    """Return a convolution whose bias and pool lowering merges, before a pool and a matrix, which it multiplies out."""
    rng = np.random.default_rng(5)
    pool, weight = AveragePool((2, 4, 4), (2, 2), (2, 2), (0, 0)), rng.normal(size=(3, 8))
    weight[0, :4] = 0
    nodes = {
        "in": Input((1, 6, 6), InputKind.SPIKES),
        "conv": Conv(rng.normal(size=(2, 1, 3, 3)), (1, 6, 6), (1, 1), (0, 0), (1, 1), bias=rng.normal(size=2) * 0.2),
        "lif1": LIF((2, 4, 4), np.array(0.7), np.array(0.6), Reset.SUBTRACT),
        "pool": pool,
        "fc": Linear(weight),
        "lif2": LIF((3,), np.array(0.7), np.array(0.5), Reset.SUBTRACT),
    }
    chain = list(nodes)
    return Network(nodes, tuple(Edge(a, b) for a, b in pairwise(chain)), "in", "lif2")


def test_what_lowering_multiplied_out_is_said_and_counts_stored_weights_alone() -> None:
    model = pipeline.compile(pooled(), "loihi2-sim")
    found = representation(model, spikes((1, 6, 6)), **FEW)
    assert "pool+fc" in found["fisher_of"]
    assert "conv" not in found["fisher_of"]
    assert {row["tensor"]: row["parameters"] for row in found["fisher"]} == {
        "conv.weight": 18,
        "pool+fc.weight": 3 * 32 - 16,
    }
    ours = pipeline.run(model, spikes((1, 6, 6)))
    agreed = fidelity.agreement(run_real(dequantized(model), spikes((1, 6, 6)).inputs)[0], ours)
    assert min(agreed.values()) > 0.99


def test_a_silent_layer_has_no_similarity_and_says_why() -> None:
    quiet = whole()
    lif = replace(quiet.populations["lif2"], threshold=np.array(100.0))
    model = pipeline.compile(replace(quiet, nodes=quiet.nodes | {"lif2": lif}), "loihi2-sim")
    found = representation(model, spikes(), **FEW)
    first, second = found["cka"]
    assert (first["cka"], first["why"]) == (pytest.approx(1), None)
    assert second["cka"] is None
    assert "do not vary" in second["why"]
    assert found["matrix"]["cka"][0][1] is None


def test_without_labels_there_is_the_expected_information_alone() -> None:
    found = representation(pipeline.compile(whole(), "loihi2-sim"), replace(spikes(), labels=None), **FEW)
    assert all(row["share"] is None and row["deployed_per_parameter"] is None for row in found["fisher"])
    assert sum(row["expected_share"] for row in found["fisher"]) == pytest.approx(1)
    assert found["over_time_estimate"] == "expected"
    assert set(found["moved"]) == {"expected"}


def test_three_samples_have_no_similarity() -> None:
    found = representation(pipeline.compile(whole(), "loihi2-sim"), spikes(samples=3), **FEW)
    assert found["cka"]["fix"]
    assert "3" in found["cka"]["unavailable"]


def test_layers_that_fork_have_no_information_and_say_so() -> None:
    net = whole()
    forked = replace(net, nodes=net.nodes | {"beside": Linear(np.ones((9, 8)))})
    forked = replace(forked, edges=(*net.edges, Edge("in", "beside"), Edge("beside", "lif1")))
    found = representation(pipeline.compile(forked, "loihi2-sim"), spikes(), **FEW)
    assert found["fisher"]["fix"]
    assert found["over_time"]["unavailable"]
    assert found["cka"][0]["cka"] == pytest.approx(1)


def test_digits_are_represented_alike_before_and_after() -> None:
    model = pipeline.compile(shipped("digits_mlp"), "loihi2-sim", calibration="digits")
    samples = pipeline.read_data("digits", model.program.encoding, model.program.input.shape, 80)
    told: list[tuple[str, int, int]] = []
    found = representation(model, samples, batch=20, informative=4, progress=lambda *now: told.append(now))
    json.dumps(found)
    source, ours = run_source(model.source, samples.inputs), pipeline.run(model, samples)
    agreed = fidelity.agreement(source, ours)
    first, last = model.source.populations
    crossed = cka(concatenated(source.spikes[first]), concatenated(ours.spikes[last]), batch=20)
    assert found["matrix"]["cka"][0][1] == pytest.approx(crossed)
    assert {each["layer"]: each["spike_agreement"] for each in found["cka"]} == pytest.approx(agreed)
    assert all(each["cka"] > 0.95 for each in found["cka"])
    assert {what for what, _, _ in told} == {"layers compared", "Fisher information"}
    assert told[-1][1] == told[-1][2]
