"""NeuroBench's definitions on networks small enough to count by hand, and the table that reaches the chip's counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.evaluation import neurobench
from neurodeploy.evaluation.chip_counts import Comparison, comparable
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Input,
    InputKind,
    Linear,
    MaxPool,
    Node,
    Reset,
    Reshape,
    Scale,
)
from neurodeploy.lowering import lower
from neurodeploy.results import Moment

STEPS, SAMPLES = 9, 6


def lif(*shape: int, reset: Reset = Reset.ZERO_NEXT_STEP) -> LIF:
    return LIF(shape, np.array(0.9), np.array(1.0), reset)


def chain(nodes: dict[str, Node]) -> Network:
    """Return a network in which each node reads the one before, as if snnTorch had made its neurons."""
    names = list(nodes)
    edges = tuple(Edge(*pair) for pair in pairwise(names))
    origin = {name: f'snntorch.Leaky "net.{name}"' for name, node in nodes.items() if isinstance(node, LIF)}
    return Network(nodes, edges, names[0], names[-1], origin=origin)


def test_every_metric_counted_by_hand() -> None:
    """Two inputs, two neurons, one zero weight; two samples in one batch, then one more in a batch of its own."""
    weight = np.array([[1.0, 0.0], [2.0, 3.0]])
    network = chain({"in": Input((2,), InputKind.GRADED), "fc": Linear(weight, np.zeros(2)), "a.lif": lif(2)})

    def moment(step: int, first: int, x: list, spikes: list, membranes: list) -> Moment:
        arrays = (np.array(values, float) for values in (x, spikes, membranes))
        read, fired, shown = arrays
        activity = {"in": read, "a.lif": fired}
        return Moment(step, slice(first, first + len(x)), {"fc": read}, activity, {"a.lif": shown})

    moments = [
        moment(0, 0, [[1, 1], [0, -1]], [[0, 1], [0, 0]], [[0.5, 1.5], [0, 0]]),  # spikes only: 3 + 1 ACs
        moment(1, 0, [[0.5, 0], [1, 0]], [[0, 0], [1, 0]], [[0.5, 0], [1.5, 0]]),  # one graded value: 2 + 2 MACs
        moment(0, 2, [[0, 0]], [[0, 0]], [[0, 0]]),  # nothing to do: 0 ACs
        moment(1, 2, [[1, 1]], [[1, 1]], [[2, 0]]),  # 3 ACs
    ]
    found = neurobench.measure(network, moments, 3, np.array([1, 1, 0]))
    assert found.results() == {
        "Footprint": 4 * (4 + 2) + 4 + 4 + 4 + 8,  # weights, biases; beta, threshold, factor; the reset as an integer
        "ParameterCount": 6,
        "ConnectionSparsity": 0.25,
        "ClassificationAccuracy": 0.5 * 2 / 3 + 1.0 * 1 / 3,  # sample 0 decides 1, sample 1 decides 0, sample 2 ties: 0
        "ActivationSparsity": (6 / 8) * 2 / 3 + (2 / 4) * 1 / 3,
        "ActivationSparsityByLayer": {"lif": 8 / 12},
        "SynapticOperations": {"Effective_MACs": 4 / 3, "Effective_ACs": 7 / 3, "Dense": 8.0},
        "MembraneUpdates": (4 + 2 + 2 + 1) / 3,  # all in a first step; then 1.5 -> 0 and 0 -> 1.5; then 0 -> 2
    }
    assert (found.steps, found.batch) == (2, 2)
    np.testing.assert_array_equal(found.predictions, [1, 0, 0])
    np.testing.assert_array_equal(found.events["in"].all_steps, [4, 3])
    np.testing.assert_array_equal(found.events["in"].last_step, [3, 1])


def test_padding_and_dilation_are_no_synapses() -> None:
    """A kernel of three, dilated by two, padded by two, over four pixels: pixel k is seen by the outputs k - 2, k and
    k + 2 of four."""
    conv = Conv(np.ones((5, 1, 3)), (1, 4), (1,), (2,), (2,))
    assert conv.shape == (5, 4)
    np.testing.assert_array_equal(neurobench.fan_out(conv), 5 * np.array([2, 2, 2, 2]))
    np.testing.assert_array_equal(neurobench.fan_out(Linear(np.array([[1.0, 0], [2, 0]]))), [2, 0])
    np.testing.assert_array_equal(neurobench.fan_out(Linear(np.array([[1.0, 0], [2, 0]])), nonzero=False), [2, 2])


def test_what_is_not_known_is_unavailable_with_a_reason() -> None:
    """Batch norm, neurons of unknown origin, data without labels: None, never 0."""
    layers = {"fc": Linear(np.ones((2, 2))), "norm": Scale(np.ones(2), np.ones(2), (2,)), "lif": lif(2)}
    network = chain({"in": Input((2,), InputKind.SPIKES), **layers})
    x = np.ones((1, 2))
    moment = Moment(0, slice(0, 1), {"fc": x}, {"in": x, "lif": x}, {"lif": x})
    found = neurobench.measure(network, [moment], 1)
    assert set(found.unavailable) == {"Footprint", "ParameterCount", "ClassificationAccuracy"}
    assert all(found.results()[metric] is None for metric in found.unavailable)
    assert "norm" in found.unavailable["Footprint"]

    plain = chain({"in": Input((2,), InputKind.SPIKES), "fc": Linear(np.ones((2, 2))), "lif": lif(2)})
    found = neurobench.measure(replace(plain, origin={}), [moment], 1, np.array([0]))
    assert set(found.unavailable) == {"Footprint"}
    assert found.results()["Footprint"] is None
    assert "lif" in found.unavailable["Footprint"]
    assert found.parameters == 4


def dense(seed: int, post: int, pre: int, keep: float = 1.0) -> Linear:
    """Return weights of which `keep` are not zero, and biases."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 2 / np.sqrt(pre), (post, pre)) * (rng.random((post, pre)) < keep)
    return Linear(weight, rng.normal(0, 0.2, post))


def kernel(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape)


def image_network(kind: InputKind) -> Network:
    """Return convolutions with an average pool, a max pool and a pruned read-out."""
    ones = (1, 1)
    return chain(
        {
            "in": Input((1, 10, 10), kind),
            "conv1": Conv(kernel(1, 4, 1, 3, 3), (1, 10, 10), ones, ones, ones, bias=np.full(4, 0.1)),
            "average": AveragePool((4, 10, 10), (2, 2), (2, 2), (0, 0)),
            "lif1": lif(4, 5, 5),
            "maximum": MaxPool((4, 5, 5), (2, 2), (2, 2), (0, 0)),
            "flat": Reshape((4, 2, 2), (16,)),
            "fc": dense(2, 3, 16, 0.7),
            "lif2": lif(3),
        }
    )


def recurrent_network(kind: InputKind) -> Network:
    """Return a recurrent layer, pruned so far that it is stored as sparse synapses, and two layers in a row."""
    nodes = {
        "in": Input((12,), kind),
        "fc1": dense(3, 20, 12, 0.8),
        "lif1": lif(20),
        "squeeze": dense(4, 6, 20),
        "fc2": dense(5, 4, 6),
        "lif2": lif(4),
        "lif1.recurrent": dense(6, 20, 20, 0.3),
    }
    network = chain(nodes)
    loop = (Edge("lif1", "lif1.recurrent", 1), Edge("lif1.recurrent", "lif1"))
    kept = tuple(edge for edge in network.edges if edge.target != "lif1.recurrent")
    return Network(nodes, kept + loop, "in", "lif2", origin=network.origin)


TARGETS = {"loihi2-sim": InputKind.GRADED, "spinnaker1": InputKind.SPIKES, "spinnaker2": InputKind.SPIKES}


def table(network: Network, target: str) -> tuple[dict[str, Comparison], pipeline.Evaluation, np.ndarray]:
    """Compile and run a network on random input, and return its comparisons, its counts, and the input."""
    rng = np.random.default_rng(7)
    shape = (STEPS, SAMPLES, *network.input_node.shape)
    graded = network.input_node.kind is InputKind.GRADED
    inputs = np.where(rng.random(shape) < 0.4, rng.random(shape) if graded else 1.0, 0.0)
    inputs[inputs < 1e-3] = 0
    inputs[0, 0].flat[0] = 1e-4 if graded else 1
    samples = pipeline.Samples("random", inputs, rng.integers(0, 3, SAMPLES))
    model = pipeline.compile(network, target)
    result = pipeline.run(model, samples)
    found = pipeline.neurobench(model, samples, result, batch=4)
    evaluation = pipeline.evaluate(model, samples, result)
    return {row.metric: row for row in found.comparisons}, evaluation, inputs


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("make", [image_network, recurrent_network])
def test_neurobenchs_count_and_the_differences_are_the_chips_count(
    make: Callable[[InputKind], Network], target: str
) -> None:
    """To the last one, for pools, chains, loops, pruned layers and biases, and the chip's side is `evaluate`'s."""
    rows, evaluation, _ = table(make(TARGETS[target]), target)
    assert len(rows) == 6
    for row in rows.values():
        assert row.closes, row
    counted = evaluation.activity
    assert rows["SynapticOperations"].chip == counted.synops
    assert rows["MembraneUpdates"].chip == counted.neuron_updates
    assert rows["ActivationSparsity"].chip == counted.spikes
    assert rows["ClassificationAccuracy"].chip == round((evaluation.accuracy or 0) * SAMPLES)
    assert {d.why.split(":")[0] for d in rows["SynapticOperations"].differences} >= {"made part of synapses"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_loop_delivers_no_spike_of_the_last_step(target: str) -> None:
    """Neither to NeuroBench's layers nor on the chip: without pools and chains the synapses are the same."""
    network = chain({"in": Input((12,), TARGETS[target]), "fc": dense(3, 20, 12), "lif": lif(20)})
    loop = (Edge("lif", "lif.recurrent", 1), Edge("lif.recurrent", "lif"))
    nodes = network.nodes | {"lif.recurrent": dense(6, 20, 20)}
    looped = replace(network, nodes=nodes, edges=network.edges + loop)
    row = table(looped, target)[0]["SynapticOperations"]
    assert row.closes
    whys = [difference.why for difference in row.differences]
    assert "snnTorch calls a recurrent layer twice per step" in whys
    assert not [why for why in whys if "made part" in why]


def test_zero_weights_cost_on_loihi_exactly_what_passes_them() -> None:
    """Counted again the plain way: for every input that is not zero, the zeros of its column."""
    network = chain(
        {"in": Input((12,), InputKind.GRADED), "fc": dense(8, 5, 12, 0.6), "lif": lif(5)},
    )
    rows, _, inputs = table(network, "loihi2-sim")
    (found,) = (d for d in rows["SynapticOperations"].differences if "stored" in d.why)
    (rounded,) = (d for d in rows["SynapticOperations"].differences if "input values" in d.why)
    zeros = (network.nodes["fc"].weight == 0).sum(0)
    assert found.count == ((inputs != 0).sum((0, 1)) @ zeros) > 0
    assert rounded.count == -5


def test_a_program_of_other_synapses_is_not_compared() -> None:
    network = image_network(InputKind.SPIKES)
    program = pipeline.compile(network, "loihi2-sim").program
    assert comparable(lower(network), program)
    assert not comparable(lower(recurrent_network(InputKind.SPIKES)), program)
