"""Our NeuroBench metrics are those of the real package, on the shipped models in snnTorch and on compiled ones."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from neurodeploy import pipeline
from neurodeploy.evaluation import neurobench as metrics
from neurodeploy.frontends.snntorch import record
from neurodeploy.frontends.source import moments
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, Linear
from tests.cases import REPOSITORY, data, model

pytest.importorskip("neurobench", reason='needs NeuroBench: pip install "neurodeploy[neurobench]", see README')
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    ClassificationAccuracy,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import NeuroBenchModel, SNNTorchModel

STATIC = [Footprint, ParameterCount, ConnectionSparsity]
WORKLOAD = [
    ClassificationAccuracy,
    ActivationSparsity,
    ActivationSparsityByLayer,
    SynapticOperations,
    MembraneUpdates,
]
"""The third cannot be asked alone or first: its constructor leaves out what NeuroBench asks next."""
SAMPLES = 30


class Steps(nn.Module):
    """A module called as SNNTorchModel's custom_forward does: (sample, step, ...) in, (step, sample, class) out."""

    def __init__(self, net: nn.Module, forward: Callable) -> None:
        super().__init__()
        self.net, self.run = net, forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self.net, x.transpose(0, 1))


def trained(name: str) -> tuple[Network, Callable[[], Steps]]:
    """Return a shipped model, and what makes a fresh module of it: the class in train.py, the weights in model.pt."""
    network = pipeline.load(model(name))
    script = runpy.run_path(str(REPOSITORY / "models" / name / "train.py"))
    layers = {key: node for key, node in network.nodes.items() if isinstance(node, Linear | Conv)}
    state = {f"{key}.weight": torch.tensor(node.weight, dtype=torch.float32) for key, node in layers.items()}
    state |= {f"{key}.bias": torch.tensor(node.bias, dtype=torch.float32) for key, node in layers.items()}

    def fresh() -> Steps:
        net = script["Net"]()
        assert not net.load_state_dict(state, strict=False).unexpected_keys
        return Steps(net, script["forward"])

    return network, fresh


def samples_of(name: str, network: Network) -> pipeline.Samples:
    dataset = "digits" if name.startswith("digits") else "mnist"
    if dataset == "mnist":
        data("mnist")
    return pipeline.read_data(dataset, network.encoding, network.input_node.shape, SAMPLES)


def benchmarked(subject: NeuroBenchModel, inputs: np.ndarray, labels: np.ndarray, batch: int) -> dict[str, Any]:
    """Return what NeuroBench itself reports; a metric that fails there prints and counts as 0.0, so nothing may."""
    x = torch.from_numpy(np.ascontiguousarray(np.swapaxes(inputs, 0, 1), np.float32))
    loader = DataLoader(TensorDataset(x, torch.from_numpy(labels)), batch_size=batch)
    decide = [lambda spikes: spikes.sum(1).argmax(1)]
    with torch.no_grad():
        return Benchmark(subject, loader, [], decide, [STATIC, WORKLOAD]).run(quiet=True)


def measured(network: Network, samples: pipeline.Samples, batch: int) -> metrics.Measures:
    run = moments(network, samples.inputs, batch=batch)
    return metrics.measure(network, run, samples.inputs.shape[1], samples.labels)


@pytest.mark.parametrize("batch", [1, 7, SAMPLES])
@pytest.mark.parametrize("name", ["digits_mlp", "mnist_mlp", "mnist_convnet", "mnist_rows_rsnn"])
def test_every_metric_of_the_shipped_models_is_neurobenchs_own(name: str, batch: int) -> None:
    """Footprint, parameters, sparsities, operations, updates, accuracy: equal, not nearly, at every batch size."""
    network, fresh = trained(name)
    samples = samples_of(name, network)
    ours = measured(network, samples, batch)
    theirs = benchmarked(SNNTorchModel(fresh(), custom_forward=True), samples.inputs, samples.labels, batch)
    assert ours.results() == theirs
    assert not ours.unavailable
    assert theirs["SynapticOperations"]["Effective_ACs"] > 0
    assert theirs["MembraneUpdates"] > 0


def leaky(**settings: Any) -> nn.Module:
    return snntorch.Leaky(beta=0.9, init_hidden=True, **settings)


def pruned(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> nn.Module:
    """Set the smaller half of a layer's weights to zero, and make the others large enough for spikes."""
    with torch.no_grad():
        layer.weight[layer.weight.abs() < layer.weight.abs().median()] = 0
        layer.weight *= 4
    return layer


def from_rest(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run all steps from rest; SNNTorchModel itself leaves the last batch's spikes in RLeaky and RSynaptic."""
    for module in net.modules():
        if isinstance(module, snntorch.SpikingNeuron):
            module.reset_mem()
    return torch.stack([net(step)[0] for step in x])


SMALL: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "subtract at once": (
        (6,),
        lambda: nn.Sequential(pruned(nn.Linear(6, 8)), leaky(reset_delay=False), nn.Linear(8, 3), leaky(output=True)),
    ),
    "Synaptic to zero": (
        (6,),
        lambda: nn.Sequential(
            pruned(nn.Linear(6, 8)),
            snntorch.Synaptic(alpha=0.5, beta=0.9, init_hidden=True, reset_mechanism="zero", reset_delay=False),
            nn.Linear(8, 3),
            leaky(output=True, reset_mechanism="none"),
        ),
    ),
    "recurrent to zero": (
        (6,),
        lambda: nn.Sequential(
            pruned(nn.Linear(6, 8)),
            snntorch.RLeaky(beta=0.9, linear_features=8, init_hidden=True, reset_mechanism="zero"),
            pruned(nn.Linear(8, 8)),
            snntorch.RSynaptic(alpha=0.5, beta=0.9, linear_features=8, init_hidden=True, reset_mechanism="zero"),
            nn.Linear(8, 3),
            leaky(output=True),
        ),
    ),
    "convolutions and pools": (
        (2, 9, 8),
        lambda: nn.Sequential(
            pruned(nn.Conv2d(2, 4, 3, stride=2, padding=1)),
            leaky(reset_mechanism="zero"),
            nn.MaxPool2d(2),
            pruned(nn.Conv2d(4, 6, 2, padding=1, groups=2, bias=False)),
            leaky(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(6, 3),
            leaky(output=True),
        ),
    ),
    "one axis": (
        (2, 12),
        lambda: nn.Sequential(
            pruned(nn.Conv1d(2, 4, 3, padding=2, dilation=2)),
            leaky(),
            nn.Flatten(),
            nn.Linear(48, 3),
            leaky(output=True),
        ),
    ),
}


@pytest.mark.parametrize("batch", [1, 4, 10])
@pytest.mark.parametrize("name", SMALL)
def test_every_metric_of_other_modules_is_neurobenchs_own(name: str, batch: int) -> None:
    """Zero weights, padding, groups, dilation, pools, every reset, layers that snnTorch calls twice; one graded pixel
    in one sample."""
    shape, make = SMALL[name]
    torch.manual_seed(3)
    net = make()
    inputs = (np.random.default_rng(4).random((7, 10, *shape)) < 0.4).astype(np.float32)
    inputs[2, 3].flat[0] = 0.5
    network = record(net, torch.from_numpy(inputs[0]))
    labels = np.arange(10) % 3
    ours = measured(network, pipeline.Samples("random", inputs, labels), batch)
    torch.manual_seed(3)
    subject = SNNTorchModel(Steps(make(), from_rest), custom_forward=True)
    theirs = benchmarked(subject, inputs, labels, batch)
    assert ours.results() == theirs
    operations = theirs["SynapticOperations"]
    assert operations["Effective_MACs"] > 0
    assert operations["Effective_MACs"] + operations["Effective_ACs"] < operations["Dense"]
    assert 0 < theirs["ActivationSparsity"] < 1


def test_beyond_float32_our_count_is_exact_and_neurobenchs_rounded() -> None:
    """4,097 x 4,097 synapses are one more than a float32 can count, and the note says where that may happen."""
    size = 4097
    net = nn.Sequential(nn.Linear(size, size, bias=False), leaky(output=True))
    inputs = np.ones((1, 1, size), np.float32)
    with torch.no_grad():
        net[0].weight.fill_(1e-4)
    ours = measured(record(net, torch.from_numpy(inputs[0])), pipeline.Samples("ones", inputs, np.zeros(1, int)), 1)
    theirs = benchmarked(SNNTorchModel(net), inputs, np.zeros(1, int), 1)["SynapticOperations"]
    assert ours.effective_acs == ours.dense == size**2
    assert theirs["Effective_ACs"] != size**2
    assert theirs["Effective_ACs"] == pytest.approx(size**2, rel=1e-7)
    assert any("2^24" in note for note in ours.notes)
