"""Neurons that tell changes of a value, met by everything that counts, compares, perturbs or draws spikes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel, load_artifact, save_artifact
from neurodeploy.benchmark.perturbable import fired, fired_by_source
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.real import run_real
from neurodeploy.engine.reference import run_reference
from neurodeploy.errors import UnsupportedError
from neurodeploy.evaluation import neurobench
from neurodeploy.evaluation.counterpart import ann_counterpart
from neurodeploy.evaluation.rounding import dequantized
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Input, InputKind, Linear, Reset
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_SHIFT,
    DenseSynapses,
    InputPort,
    Neuron,
    Population,
    Program,
    Projection,
)
from neurodeploy.learning.bptt import BPTT, Options
from neurodeploy.report import one_sample, representation
from tests.sigma_delta_networks import telling, walk


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    return pipeline.compile(telling(0), "loihi2-sim")


def test_an_artefact_comes_back_whole(model: CompiledModel, tmp_path: Path) -> None:
    save_artifact(model, tmp_path / "m.ndc")
    again, x = load_artifact(tmp_path / "m.ndc"), pipeline.Samples("walk", walk(0), None)
    for name, sent in pipeline.run(model, x).spikes.items():
        assert np.array_equal(pipeline.run(again, x).spikes[name], sent)


def test_what_integers_stand_for_is_the_network_itself(model: CompiledModel) -> None:
    """Nothing was rounded, so that the dequantized network sends what the program does, bias and all."""
    x = walk(1)
    ours = model.program.real_values(pipeline.run(model, pipeline.Samples("walk", x, None)).spikes)
    again = run_real(dequantized(model), x)[0].spikes
    for name, sent in ours.items():
        assert np.array_equal(again[name], sent), name


def test_a_steady_input_is_told_once_and_the_sums_are_a_relu_network(model: CompiledModel) -> None:
    """From the second step on nothing is sent, and the sums are the counterpart's logits but for what floors drop."""
    x = np.broadcast_to(walk(2)[-1:], (5, 4, 5)).copy()
    sent = model.program.real_values(pipeline.run(model, pipeline.Samples("steady", x, None)).spikes)
    for name in ("0", "1"):
        assert sent[name][0].any()
        assert not sent[name][1:].any()
    told = np.where(np.abs(x[0]) >= 6 / 64, x[0], 0.0)
    logits = ann_counterpart(telling(0)).logits(told)
    small = np.abs(telling(0).nodes["2.map"].weight).sum(axis=1)  # type: ignore[union-attr]
    assert (np.abs(sent["2"][-1] - logits) <= small * 6 / 64).all()
    assert np.abs(logits).max() > 1


def test_perturbations_see_values_not_payloads(model: CompiledModel) -> None:
    """A gradient is estimated on sums as the source has them; 2^18 times larger ones have none left."""
    assert np.array_equal(fired(model, walk(3)), fired_by_source(model, walk(3)))


def test_a_report_finds_no_difference_where_there_is_none(model: CompiledModel) -> None:
    samples = pipeline.Samples("walk", walk(0, samples=16), None)
    sample = one_sample.of(model, samples, 0, "lava-models")
    for layer in sample["layers"]:
        others = ["source", "vendor"] if layer["name"] != "2" else ["vendor"]
        assert list(layer["differs_from_engine"]) == others
        assert all(apart["step"] == [] for apart in layer["differs_from_engine"].values())
        assert layer["sends"] == "message"
        for traced in layer["traces"]:
            assert traced["threshold"] is None
            assert traced["spikes"] <= len(samples.inputs)
    found = representation.representation(model, samples, batch=8)
    assert [each["spike_agreement"] for each in found["cka"]] == [1.0, 1.0, None]


def test_biases_of_populations_are_parameters() -> None:
    """As many as a layer has neurons, or channels."""
    one, biased = np.array(1.0), np.full((4, 3, 3), 0.5)
    nodes = {
        "in": Input((2, 5, 5), InputKind.SPIKES),
        "conv": Conv(np.ones((4, 2, 3, 3)), (2, 5, 5), (1, 1), (0, 0), (1, 1)),
        "a": LIF((4, 3, 3), np.array(0.5), one, Reset.ZERO, np.array(0.5), bias=biased),
        "fc": Linear(np.ones((6, 36))),
        "b": LIF((6,), np.array(0.5), one, Reset.ZERO, np.array(0.5), bias=np.ones(6)),
    }
    edges = tuple(Edge(*pair) for pair in (("in", "conv"), ("conv", "a"), ("a", "fc"), ("fc", "b")))
    assert neurobench.parameter_count(Network(nodes, edges, "in", "b")) == 72 + 4 + 216 + 6


@pytest.mark.parametrize("payload", [3 / 4096, 1 / 2])
def test_units_that_no_shift_brings_together_are_refused(payload: float) -> None:
    """A unit that is no power of two, and states coarser than the messages they add up."""
    odd = replace(telling(0).populations["1"], payload=payload)
    with pytest.raises(UnsupportedError, match=r"(?s)ND215.*power of two"):
        pipeline.compile(replace(telling(0), nodes=telling(0).nodes | {"1": odd}), "loihi2-sim")


def test_what_tells_changes_does_not_learn(model: CompiledModel) -> None:
    with pytest.raises(UnsupportedError, match=r"ND070.*graded spikes"):
        BPTT(model.source, Options(), seed=0)
    biased = LIF((3,), np.array(0.5), np.array(1.0), Reset.ZERO, np.array(0.5), bias=np.ones(3))
    nodes = {"in": Input((2,), InputKind.SPIKES), "fc": Linear(np.ones((3, 2))), "lif": biased}
    with pytest.raises(UnsupportedError, match=r"ND070.*a bias of their own"):
        BPTT(Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif"), Options(), seed=0)


def test_changes_and_other_spikes_are_bounded_together() -> None:
    """Two sources, each of which alone stays below 2^30 by a hair, add up to more than the kernels may hold."""
    forgets, one = np.asarray(DECAY_ONE, np.int32), np.ones((), np.int32)
    tells = Neuron(forgets, forgets, one, 0 * one, 0, Reset.NONE, False, Firing.DELTA, None, 1 << 18, STATE_SHIFT)
    reader = replace(tells, activation_shift=0)
    row, eye = DenseSynapses(np.full((1, 40), 127, np.int8)), DenseSynapses(np.eye(40, dtype=np.int8))
    net = Program(
        InputPort("in", (40,), InputKind.GRADED, 1.0, 17, -100_000, 100_000),
        (Population("a", (40,), tells, 1, 1.0), Population("b", (1,), reader, 1, 1.0)),
        (
            Projection("in->a", "in", "a", eye, -1),
            Projection("in->b", "in", "b", row),
            Projection("a->b", "a", "b", row, recurrent=True),
        ),
        "b",
    )
    x = np.full((3, 1, 40), 100_000, np.int32)
    assert run_fast(net, x).executor == "engine (reference)"
    assert run_fast(net, x // 100).executor == "engine (numba)"
    for left_out in net.projections[1:]:
        alone = replace(net, projections=tuple(each for each in net.projections if each is not left_out))
        fast, slow = run_fast(alone, x, record_states=True), run_reference(alone, x)
        assert fast.executor == "engine (numba)"
        assert np.array_equal(fast.currents["b"], slow.currents["b"])
