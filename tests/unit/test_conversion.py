"""Rates stand for activations exactly where the literature says they do, and nearly elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy import datasets, pipeline
from neurodeploy.datasets import Encoding
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, MaxPool, Reset
from neurodeploy.learning.architectures import Neurons, build
from neurodeploy.learning.conversion import (
    METHODS,
    Conversion,
    Options,
    integrate_and_fire,
    quantized_clip,
)

EXACT = 1e-12


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network(arch: str = "20", seed: int = 0, shape: tuple[int, ...] = (64,)) -> Network:
    return build(arch, Input(shape, InputKind.GRADED, levels=16), 10, Neurons(0.9, 1.0), seed)


def learner(arch: str = "20", seed: int = 0, **options: Any) -> Conversion:
    return Conversion(network(arch, seed), Options(**options), seed, torch.float64)


def digits(split: str, steps: int, limit: int | None = None) -> tuple[Tensor, Tensor]:
    data = datasets.load("digits", split, limit)
    return torch.from_numpy(Encoding("direct", steps).encode(data.images).astype(float)), torch.from_numpy(data.labels)


def taught(subject: Conversion, steps: int = 16, epochs: int = 3, limit: int = 640, batch: int = 32) -> Conversion:
    inputs, labels = digits("train", steps, limit)
    batches = epochs * limit // batch
    for number in range(batches):
        part = slice(number * batch % limit, number * batch % limit + batch)
        subject.schedule(number / batches)
        subject.learn(inputs[:, part], labels[part])
    return subject


def single(z: np.ndarray, start: float, steps: int, threshold: float = 1.0) -> np.ndarray:
    """Return run_source's spike counts of one neuron per constant current z, V0 given as a bias per step."""
    nodes = {
        "input": Input(z.shape, InputKind.GRADED),
        "fc": Linear(np.eye(len(z)), np.full(len(z), start / steps)),
        "lif": LIF(z.shape, np.ones(()), np.array(threshold), Reset.SUBTRACT_NEXT_STEP),
    }
    net = Network(nodes, (Edge("input", "fc"), Edge("fc", "lif")), "input", "lif")
    return run_source(net, np.broadcast_to(z, (steps, 1, len(z))), dtype="float64").spikes["lif"].sum(0)[0]


# C1, C3: one neuron


def currents(steps: int, threshold: float, start: float) -> np.ndarray:
    """Return currents from far below 0 to far above theta, none that ends near a tie."""
    z = np.linspace(-0.7, 1.9, 523) * threshold
    end = (steps * z + start) / threshold
    return z[np.abs(end - np.round(end)) > 1e-6]


@pytest.mark.parametrize("start", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("steps", "threshold"), [(8, 1.0), (23, 1.3)])
def test_a_neuron_counts_its_input(steps: int, threshold: float, start: float) -> None:
    """C1: count = clip(floor((T z + V0) / theta), 0, T), with V0 as a bias of V0 / T per step; without it, not."""
    v0 = start * threshold
    z = currents(steps, threshold, v0)
    expected = np.floor((steps * z + v0) / threshold).clip(0, steps)
    assert 0 < (expected > 0).mean() < 1
    np.testing.assert_array_equal(single(z, v0, steps, threshold), expected)
    if start:
        assert not np.array_equal(single(z, 0.0, steps, threshold), expected)


def test_the_late_reset_fires_what_an_immediate_one_does() -> None:
    """SUBTRACT_NEXT_STEP without leak equals the immediate reset spike by spike, also for currents that change."""
    random = np.random.default_rng(0)
    z = random.normal(0.3, 0.5, (40, 3, 6))
    nodes = {
        "input": Input((6,), InputKind.GRADED),
        "fc": Linear(np.eye(6)),
        "lif": LIF((6,), np.ones(()), np.ones(()), Reset.SUBTRACT_NEXT_STEP),
    }
    net = Network(nodes, (Edge("input", "fc"), Edge("fc", "lif")), "input", "lif")
    spikes = integrate_and_fire(torch.from_numpy(z), 1.0).numpy()
    assert 0.05 < spikes.mean() < 0.5
    np.testing.assert_array_equal(run_source(net, z, dtype="float64").spikes["lif"], spikes)
    leaky = replace(net, nodes=nodes | {"lif": replace(nodes["lif"], beta=np.array(0.9))})
    assert not np.array_equal(run_source(leaky, z, dtype="float64").spikes["lif"], spikes)


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
def test_the_quantized_clip_is_a_rate(levels: int) -> None:
    """C3: h(z) = theta x rate at T = L with V0 = theta / 2; with V0 = 0 it is not."""
    top = 1.3
    z = currents(levels, top, top / 2)
    h = quantized_clip(torch.from_numpy(z), torch.tensor(top, dtype=torch.float64), levels).numpy()
    np.testing.assert_allclose(top * single(z, top / 2, levels, top) / levels, h, atol=EXACT)
    assert np.abs(top * single(z, 0.0, levels, top) / levels - h).max() > 0.5 * top / levels


def test_the_quantized_clips_gradient() -> None:
    """dh/dz is 1 inside and 0 outside; dh/dlambda is (h - z) / lambda inside, 1 above, 0 below."""
    z = torch.tensor([-0.5, 0.3, 0.95, 2.0], dtype=torch.float64, requires_grad=True)
    top = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    h = quantized_clip(z, top, 4)
    for at, expected in enumerate([0.0, (h.data[1] - 0.3) / 1.3, (h.data[2] - 0.95) / 1.3, 1.0]):
        in_z, in_top = torch.autograd.grad(h[at], (z, top), retain_graph=True)
        assert float(in_z[at]) == (at in (1, 2))
        assert float(in_top) == pytest.approx(float(expected), abs=EXACT)


# C2: the normalized network


def as_relu(converted: Network, subject: Conversion, mean: Tensor, start: float) -> list[Tensor]:
    """Return the activations of the converted network's maps with ReLU, their share of V0 taken out."""
    found, a = [], mean
    for layer in subject.net:
        node: Any = converted.nodes[layer.map]
        bias = torch.from_numpy(node.bias - start / subject.steps)
        a = layer.mapped(layer.ready(a), torch.from_numpy(node.weight), bias)
        a = a if layer is subject.net.output else functional.relu(a)
        found.append(a.detach())
    return found


@pytest.mark.parametrize("arch", ["20", "18-14", "4C3-P2-6C3"])
@pytest.mark.parametrize("method", ["percentile", "balance"])
def test_the_normalized_network_is_the_network(arch: str, method: str) -> None:
    """C2: activation x lambda of every hidden layer, and logits up to a common scale and shift."""
    subject = taught(learner(arch, method=method, start=0.5), epochs=1, limit=160)
    mean = digits("test", 1, 40)[0][0]
    converted, original = subject.network(), subject.activations(mean)
    hidden = as_relu(converted, subject, mean, 0.5)
    for a, top, expected in zip(hidden[:-1], subject.scales(), original, strict=False):
        expected = expected.detach()
        assert float(expected.max()) > 0.1
        assert float((a * top - expected).abs().max()) < EXACT * float(expected.abs().max()) * 10
        assert abs(top - 1) > 0.05
    low, span = subject.output_range()
    assert float((hidden[-1] * span + low - original[-1].detach()).abs().max()) < 1e-11


def test_planted_fault_bias_without_lambda() -> None:
    """Biases that are not divided by lambda make another network."""
    subject = learner(start=0.0)
    for layer in subject.net:
        assert layer.bias is not None
        layer.bias.data.fill_(0.2)
    taught(subject, epochs=1, limit=160)
    mean = digits("test", 1, 40)[0][0]
    converted = subject.network()
    node: Any = converted.nodes["fc1"]
    (top,) = subject.scales()
    wrong = replace(converted, nodes=converted.nodes | {"fc1": replace(node, bias=node.bias * top)})
    expected = subject.activations(mean)[0].detach()
    assert float((as_relu(wrong, subject, mean, 0.0)[0] * top - expected).abs().max()) > 0.01


def test_percentile_and_balance_are_what_they_say() -> None:
    """lambda is the percentile of activations; balanced, of two layers, the first one's largest current."""
    subject = taught(learner("18-14", percentile=90.0), epochs=1, limit=160)
    hidden = subject.activations(subject.calibration)[:-1]
    assert subject.scales() == [pytest.approx(float(np.percentile(a.detach().numpy(), 90.0))) for a in hidden]
    balanced = Conversion(network("18-14"), Options(method="balance"), 0, torch.float64)
    balanced.restore(subject.state())
    layer = next(iter(subject.net))
    z = layer.mapped(layer.ready(subject.calibration), layer.weight, layer.bias)
    assert balanced.scales()[0] == pytest.approx(float(z.detach().max()))


@pytest.mark.parametrize("start", [0.0, 0.5, 0.9])
def test_balanced_layers_get_one_threshold_at_most_where_they_are_deployed(start: float) -> None:
    """On calibration data the largest current that spikes bring the second layer is theta = 1, V0 / T apart."""
    subject = taught(learner("18-14", method="balance", start=start), epochs=1, limit=160)
    converted, steps = subject.network(), subject.steps
    inputs = subject.calibration.expand(steps, *subject.calibration.shape).numpy()
    spikes = run_source(converted, inputs, dtype="float64").spikes["lif1"]
    node: Any = converted.nodes["fc2"]
    assert spikes.any()
    assert (spikes @ node.weight.T + node.bias).max() == pytest.approx(1 + start / steps)


@pytest.mark.parametrize("method", METHODS)
def test_hidden_rates_approach_activations(method: str) -> None:
    """With constant input the first layer's rate is lambda-scaled activation to half a spike, clipped at lambda."""
    subject = taught(learner(method=method, levels=16), steps=16)
    inputs, _ = digits("test", 16, 60)
    rates = run_source(subject.network(), inputs.numpy(), dtype="float64").spikes["lif1"].mean(0)
    (top,) = subject.scales()
    a = subject.activations(inputs[0])[0].detach().numpy().clip(0, top)
    tolerance = 1e-9 if method == "qcfs" else 0.5 / 16 + 1e-9
    assert np.abs(rates - a / top).max() <= tolerance
    without = replace(subject.options, start=0.0)
    subject.options = without
    rates = run_source(subject.network(), inputs.numpy(), dtype="float64").spikes["lif1"].mean(0)
    assert np.abs(rates - a / top).max() > tolerance


# the learner


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_the_same_run(method: str, tmp_path: Any) -> None:
    inputs, labels = digits("train", 16, 320)

    def go_on(subject: Conversion) -> Network:
        for first in range(160, 320, 32):
            subject.learn(inputs[:, first : first + 32], labels[first : first + 32])
        return subject.network()

    half = taught(learner(method=method), epochs=1, limit=160)
    torch.save(half.state(), tmp_path / "state.pt")
    whole = go_on(half)
    resumed = learner(seed=5, method=method)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    again = go_on(resumed)
    for name in ("fc1", "fc2"):
        node, other = whole.nodes[name], again.nodes[name]
        assert isinstance(node, Linear)
        assert isinstance(other, Linear)
        np.testing.assert_array_equal(node.weight, other.weight)
        np.testing.assert_array_equal(node.bias, other.bias)
    fresh = go_on(learner(method=method)).nodes["fc1"]
    assert isinstance(fresh, Linear)
    assert not np.array_equal(fresh.weight, whole.nodes["fc1"].weight)  # type: ignore[union-attr]


@pytest.mark.parametrize("method", METHODS)
def test_the_converted_network_decides_like_the_ann(method: str) -> None:
    """On digits, 32 steps: within 1.5 points of the ANN from the source, and from Loihi's integers."""
    subject = Conversion(network("64"), Options(method=method), 0)
    inputs, labels = digits("train", 32)
    for epoch in range(12):
        for first in range(0, len(labels), 32):
            subject.schedule((epoch + first / len(labels)) / 12)
            subject.learn(inputs[:, first : first + 32].float(), labels[first : first + 32])
    inputs, labels = digits("test", 32)
    samples = pipeline.Samples("digits", inputs.float().numpy(), labels.numpy())
    ann = float((subject.logits(inputs[0].float()).argmax(1) == labels).double().mean())
    converted = subject.network()
    source = float((run_source(converted, samples.inputs).predictions == samples.labels).mean())
    model = pipeline.compile(converted, "loihi2-sim")
    engine = float((pipeline.run(model, samples).predictions == samples.labels).mean())
    assert ann > 0.94
    assert abs(source - ann) < 0.015
    assert abs(engine - source) < 0.01


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        learner("20r")
    assert caught.value.findings[0].code == "ND088"
    net = network("P2-4C3")
    pool = MaxPool((1, 8, 8), (2, 2), (2, 2), (0, 0))
    with pytest.raises(UnsupportedError) as caught:
        Conversion(replace(net, nodes=net.nodes | {"pool1": pool}), Options(), 0)
    assert caught.value.findings[0].code == "ND088"


def test_nothing_is_converted_before_anything_is_learned() -> None:
    with pytest.raises(UsageError) as caught:
        learner().network()
    assert caught.value.findings[0].code == "ND089"


def test_options_out_of_range_are_all_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Options(method="magic", percentile=0, levels=0)
    assert [finding.code for finding in caught.value.findings] == ["ND087"] * 3
