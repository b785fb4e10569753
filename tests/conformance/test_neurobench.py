"""Our NeuroBench metrics are those of the real package, on the shipped models in snnTorch and on compiled ones."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from neurodeploy import as_neurobench_model, pipeline
from neurodeploy.engine.reference import deliver
from neurodeploy.errors import BackendUnavailableError, NeurodeployError
from neurodeploy.evaluation import activity
from neurodeploy.evaluation import neurobench as metrics
from neurodeploy.frontends.recording import record
from neurodeploy.frontends.source import moments
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, Firing, Linear, Reset
from tests.cases import REPOSITORY, data
from tests.cases import model as checkpoint

pytest.importorskip("neurobench", reason='needs NeuroBench: pip install "neurodeploy[neurobench]", see README')
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    ClassificationAccuracy,
    MembraneUpdates,
    NeuronOperations,
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
    network = pipeline.load(checkpoint(name))
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


COUNTING = ", counting"


def deployed(name: str, target: str, **options: Any) -> tuple[pipeline.CompiledModel, pipeline.Samples]:
    """Return one of the small modules compiled for `target`, pooled maxima and loops among them, and random input.

    COUNTING after its name: with neurons that fire several times in a step, and have a floor.
    """
    shape, make = SMALL[name.removesuffix(COUNTING)]
    torch.manual_seed(3)
    inputs = (np.random.default_rng(4).random((7, 10, *shape)) < 0.4).astype(np.float32)
    if target == "loihi2-sim":
        inputs *= np.random.default_rng(5).integers(1, 9, inputs.shape) / 8
    network = record(make(), torch.from_numpy(inputs[0]))
    if name.endswith(COUNTING):
        counting = {"firing": Firing.MULTIPLE, "reset": Reset.SUBTRACT_AT_ONCE, "floor": np.array(-0.5)}
        changed = {key: replace(node, **counting) for key, node in network.populations.items()}
        network = replace(network, nodes=network.nodes | changed)
    return pipeline.compile(network, target, **options), pipeline.Samples("random", inputs, np.arange(10) % 3)


DEPLOYED = [
    ("recurrent to zero", "loihi2-sim", "engine"),
    ("convolutions and pools", "loihi2-sim", "engine"),
    ("one axis", "loihi2-sim", "engine"),
    ("one axis", "loihi2-sim", "lava-models"),
    ("one axis" + COUNTING, "loihi2-sim", "engine"),
    ("one axis" + COUNTING, "loihi2-sim", "lava-models"),
    ("recurrent to zero", "loihi2-sim", "lava"),
    ("recurrent to zero", "spinnaker2", "engine"),
]


@pytest.mark.parametrize(("name", "target", "on"), DEPLOYED)
def test_neurobench_measures_the_deployed_network(name: str, target: str, on: str) -> None:
    """Spikes, operations, sparsities, updates, bytes: what NeuroBench's harness reports of the compiled model is what
    the executor's own record holds."""
    model, samples = deployed(name, target, allow=("ND235",))
    result = pipeline.run(model, samples, on="engine", record_states=True)
    payload = pipeline.backend_of(model.profile).payloads(model.program.input, samples.inputs)
    found = benchmarked(as_neurobench_model(model, on), samples.inputs, samples.labels, batch=10)

    effective = dense = 0
    for projection in model.program.projections:
        source = payload if projection.source == "input" else result.spikes[projection.source]
        events = np.count_nonzero((source[:-1] if projection.recurrent else source).reshape(-1, source[0, 0].size), 0)
        effective += events @ activity.fan_out(projection, len(events), zeros=False)
        dense += 70 * activity.fan_out(projection, len(events)).sum()
    spikes = {key: int(np.count_nonzero(fired)) for key, fired in result.spikes.items()}
    assert (max(fired.max() for fired in result.spikes.values()) > 1) == name.endswith(COUNTING)
    sizes = {population.name: population.size for population in model.program.populations}
    changed = sum(np.count_nonzero(np.diff(v, axis=0)) + v[0].size for v in result.voltages.values())
    mantissas = [projection.synapses.mantissa for projection in model.program.projections]
    zeros, weights = sum((m == 0).sum() for m in mantissas), sum(m.size for m in mantissas)

    operations = found["SynapticOperations"]
    assert operations["Effective_MACs"] + operations["Effective_ACs"] == pytest.approx(effective / 10, rel=1e-15)
    assert operations["Dense"] == dense / 10
    outputs = {key: 70 * size for key, size in sizes.items()}
    total, silent = sum(outputs.values()), {key: outputs[key] - spikes[key] for key in sizes}
    assert found["ActivationSparsity"] == sum(silent.values()) / total * 10 / 10  # weighed by the batch
    assert found["ActivationSparsityByLayer"] == {key: silent[key] / outputs[key] for key in sizes}
    assert found["MembraneUpdates"] == changed / 10
    assert found["ClassificationAccuracy"] == pytest.approx(np.mean(result.predictions == samples.labels))
    assert found["ParameterCount"] == weights
    assert found["ConnectionSparsity"] == round(zeros / weights, 4)
    assert found["Footprint"] == sum(array.nbytes for array in stored(model))


def stored(model: pipeline.CompiledModel) -> list[np.ndarray]:
    """Return every array of a program."""
    parts = [projection.synapses for projection in model.program.projections]
    found = [vars(part) for part in [*parts, *(population.neuron for population in model.program.populations)]]
    return [array for fields in found for array in fields.values() if isinstance(array, np.ndarray)]


@pytest.mark.parametrize("name", ["recurrent to zero", "convolutions and pools", "one axis"])
def test_its_layers_are_the_programs_synapses(name: str) -> None:
    """What a layer makes of random payloads is what the reference delivers, before the low bit and the shift."""
    program = deployed(name, "loihi2-sim")[0].program
    net = as_neurobench_model(deployed(name, "loihi2-sim")[0]).__net__()
    sizes = {p.name: p.size for p in program.populations} | {"input": int(np.prod(program.input.shape))}
    for projection, layer in zip(program.projections, net.synapses.children(), strict=True):
        payload = np.random.default_rng(6).integers(-3, 4, sizes[projection.source])
        shape = getattr(projection.synapses, "input_shape", (-1,))
        ours = layer(torch.from_numpy(payload.reshape(1, *shape))).numpy().reshape(-1).astype(np.int64)
        shifted = 2 * ours << projection.exponent if projection.exponent >= 0 else 2 * ours >> -projection.exponent
        np.testing.assert_array_equal(shifted, deliver(projection, payload))


def test_the_models_output_is_the_engines_and_the_real_digits_score_as_deployed() -> None:
    """Every output spike of 60 digits, twice, and their accuracy."""
    model = pipeline.compile(checkpoint("digits_mlp"), "loihi2-sim")
    samples = pipeline.read_data("digits", model.program.encoding, model.program.input.shape, 60)
    result = pipeline.run(model, samples)
    x = torch.from_numpy(np.swapaxes(samples.inputs, 0, 1).copy())
    subject = as_neurobench_model(model)
    for _ in range(2):
        np.testing.assert_array_equal(np.swapaxes(subject(x).numpy(), 0, 1), result.spikes[model.program.output])
    found = benchmarked(as_neurobench_model(model), samples.inputs, samples.labels, batch=16)
    assert found["ClassificationAccuracy"] == pytest.approx(np.mean(result.predictions == samples.labels))


def test_nothing_that_fails_becomes_a_silent_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Benchmark, a metric without a meaning here, membranes that are not shown, another shape, no NeuroBench:
    each is said with its code."""
    model, samples = deployed("one axis", "loihi2-sim")
    x = torch.from_numpy(np.swapaxes(samples.inputs, 0, 1).copy())
    loader = DataLoader(TensorDataset(x, torch.from_numpy(samples.labels)), batch_size=10)

    subject = as_neurobench_model(model)
    first = Benchmark(subject, loader, [], [lambda spikes: spikes.sum(1).argmax(1)], [[], [NeuronOperations]])
    with pytest.warns(UserWarning, match="ND417"):
        assert first.run(quiet=True)["NeuronOperations"] == 0.0
    with pytest.raises(NeurodeployError, match="ND415"):
        Benchmark(subject, loader, [], [], [[], [MembraneUpdates]])
    with pytest.raises(NeurodeployError, match="ND415"):
        first.run(quiet=True)

    with pytest.raises(NeurodeployError, match="ND403"):
        as_neurobench_model(model)(x[:, 0])
    with pytest.raises(NeurodeployError, match="ND401"):
        as_neurobench_model(model, on="nest")

    run = pipeline.run
    hidden = lambda *given, **options: replace(run(*given, **options), voltages={})  # noqa: E731
    monkeypatch.setattr(pipeline, "run", hidden)
    with pytest.raises(NeurodeployError, match="ND416"):
        as_neurobench_model(model)(x)

    monkeypatch.setattr("neurodeploy.neurobench_model.VERSION", "0.0")
    with pytest.raises(BackendUnavailableError, match="ND350"):
        as_neurobench_model(model)
