"""lava-dl itself, where it is installed: what SLAYER computes and exports, and what netx makes of the file.

pip install --no-deps --ignore-requires-python lava-dl==0.6.0
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.backends.loihi2.lava_compat import availability, require_lava
from neurodeploy.evaluation.fidelity import compare
from neurodeploy.ir.nodes import InputKind
from neurodeploy.ir.program import ConvSynapses
from neurodeploy.results import RunResult
from tests.cases import case

h5py = pytest.importorskip("h5py")
STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def lava_dl() -> None:
    """Import lava-dl without its object detection, which alone needs OpenCV."""
    missing = availability()
    if missing is not None:
        pytest.skip(str(missing))
    require_lava()
    name = "lava.lib.dl.slayer.object_detection"
    sys.modules.setdefault(name, ModuleType(name))
    pytest.importorskip("lava.lib.dl.netx.hdf5", reason="lava-dl is not installed")


def exported(path: Path, blocks: list[Any]) -> str:
    with h5py.File(path, "w") as file:
        for number, block in enumerate(blocks):
            block.export_hdf5(file.create_group(f"layer/{number}"))
    return str(path)


def forward(blocks: list[Any], spikes: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each of SLAYER's blocks sends, (step, sample, *neuron), for (step, sample, *input)."""
    x, sent = torch.from_numpy(np.moveaxis(spikes, 0, -1).astype(np.float32)), {}
    with torch.no_grad():
        for number, block in enumerate(blocks):
            x = block(x)
            sent[str(number)] = np.moveaxis(x.numpy(), -1, 0)
    return sent


@pytest.mark.parametrize("seed", range(4))
def test_the_engine_computes_what_slayer_computed(tmp_path: Path, seed: int) -> None:
    """Convolution, pool, flatten, dense and recurrent blocks, trained weights or not: the same spikes as in PyTorch.

    SLAYER's own delay of a step per layer is off, since a population's steps are counted from its first input here.
    """
    from lava.lib.dl.slayer.block import cuba

    torch.manual_seed(seed)
    threshold, current, voltage = [(1.0, 0.25, 0.125), (0.25, 1.0, 0.25), (2.0, 0.1, 0.1), (0.5, 0.5, 0.03)][seed]
    neuron = {"threshold": threshold, "current_decay": current, "voltage_decay": voltage}
    blocks = [
        cuba.Conv(neuron, 2, 4, 3, padding=1, weight_scale=2, delay_shift=False),
        cuba.Pool(neuron, 2, delay_shift=False),
        cuba.Flatten(),
        cuba.Dense(neuron, 64, 20, weight_scale=2, delay_shift=False),
        cuba.Recurrent(neuron, 20, 20, weight_scale=2, delay_shift=False),
        cuba.Dense(neuron, 20, 5, weight_scale=3, delay_shift=False),
    ]
    spikes = (np.random.default_rng(seed).random((STEPS, 3, 2, 8, 8)) < 0.3).astype(np.uint8)
    meant = forward(blocks, spikes)
    model = pipeline.compile(exported(tmp_path / "net.net", blocks), "loihi2-sim", example_shape=(2, 8, 8))
    assert model.program.deviations == ()
    ours = pipeline.run(model, pipeline.Samples("random", spikes, None))
    for name, sent in ours.spikes.items():
        assert sent.any()
        assert np.array_equal(sent, meant[name].reshape(sent.shape))


@pytest.mark.parametrize("seed", range(3))
def test_delays_are_slayers_and_netxs(tmp_path: Path, seed: int) -> None:
    """Axonal delays of up to eight steps in two layers: the same output in PyTorch, in netx and here."""
    from lava.lib.dl.slayer.block import cuba

    torch.manual_seed(seed)
    neuron = {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.125}
    sizes = ((40, 20), (20, 12), (12, 5))
    blocks = [cuba.Dense(neuron, *n, weight_scale=3, delay_shift=False, delay=n[1] > 5) for n in sizes]
    spikes = (np.random.default_rng(seed).random((3 * STEPS, 1, 40)) < 0.3).astype(np.uint8)
    forward(blocks, spikes)
    for block in blocks[:2]:
        block.delay.delay.data = torch.randint(0, 9, block.delay.delay.shape).float()
    meant = forward(blocks, spikes)["2"]
    path = exported(tmp_path / "net.net", blocks)
    model = pipeline.compile(path, "loihi2-sim")
    ours = pipeline.run(model, pipeline.Samples("random", spikes, None)).spikes["2"]
    assert ours.any()
    assert np.array_equal(ours, meant)
    assert np.array_equal(ours, netx_run(path, model, spikes).spikes["2"])


@pytest.mark.parametrize("seed", range(2))
def test_a_bias_beside_a_synaptic_current_joins_the_membrane(tmp_path: Path, seed: int) -> None:
    """As SLAYER's norm and netx's bias_mant do, in a dense layer and in a kernel."""
    from lava.lib.dl.slayer.block import cuba
    from lava.lib.dl.slayer.neuron.norm import MeanOnlyBatchNorm

    torch.manual_seed(seed)
    neuron = {"threshold": 0.7, "current_decay": 0.25, "voltage_decay": 0.125, "norm": MeanOnlyBatchNorm}
    blocks = [
        cuba.Conv(neuron, 2, 4, 3, weight_scale=2, delay_shift=False).eval(),
        cuba.Flatten(),
        cuba.Dense(neuron, 64, 20, weight_scale=2, delay_shift=False).eval(),
    ]
    spikes = (np.random.default_rng(seed).random((STEPS, 1, 2, 6, 6)) < 0.3).astype(np.uint8)
    for block in blocks[::2]:
        block.neuron.norm.running_mean = 0.2 * torch.randn(block.synapse.out_channels)
    meant = forward(blocks, spikes)
    path = exported(tmp_path / "net.net", blocks)
    model = pipeline.compile(path, "loihi2-sim", example_shape=(2, 6, 6))
    assert model.program.deviations == ()
    ours = pipeline.run(model, pipeline.Samples("random", spikes, None), record_states=True)
    for name, sent in ours.spikes.items():
        assert sent.any()
        assert np.array_equal(sent, meant[name].reshape(sent.shape))
    comparison = compare(model.program, netx_run(path, model, spikes, (6, 6, 2)), ours)
    assert comparison.equal, comparison.first_divergence


def test_averages_are_slayers_means(tmp_path: Path) -> None:
    """Of dense neurons, whose spikes wait or not, and of a picture's; lava-dl cannot write the block, so we do."""
    from lava.lib.dl.slayer.block import cuba

    neuron = {"threshold": 0.3, "current_decay": 0.25, "voltage_decay": 0.125}
    spikes = (np.random.default_rng(0).random((3 * STEPS, 2, 2, 6, 6)) < 0.3).astype(np.uint8)
    for delay in (False, True):
        torch.manual_seed(0)
        flat = [cuba.Flatten(), cuba.Dense(neuron, 72, 30, weight_scale=3, delay_shift=False, delay=delay)]
        picture = [cuba.Conv(neuron, 2, 3, 3, weight_scale=3, delay_shift=False)]
        for blocks, outputs in ((flat, 5), (flat, 30), (picture, 3), (picture, 4)):
            average = cuba.Average(outputs)
            forward(blocks, spikes)
            if delay and blocks is flat:
                flat[1].delay.delay.data = torch.randint(0, 4, flat[1].delay.delay.shape).float()
            meant = forward([*blocks, average], spikes)[str(len(blocks))]
            path = exported(tmp_path / "net.net", blocks)
            with h5py.File(path, "r+") as file:
                group = file.create_group(f"layer/{len(blocks)}")
                group.create_dataset("type", (1,), "S10", [b"average"])
                group["shape"] = [outputs, 1, 1]
            model = pipeline.compile(path, "loihi2-sim", example_shape=(2, 6, 6))
            assert model.program.deviations == ()
            ours = pipeline.run(model, pipeline.Samples("random", spikes, None))
            sent = model.program.real_values(ours.spikes)[model.program.output]
            assert sent.max() > 0
            np.testing.assert_allclose(sent, meant.reshape(sent.shape), rtol=1e-6)
            assert np.array_equal(ours.predictions, meant.reshape(sent.shape).sum(axis=0).argmax(axis=1))


def sigma_delta_blocks(seed: int) -> list[Any]:
    """Return blocks of every kind of sigma-delta layer, with biases, for values (2, 8, 8)."""
    from lava.lib.dl.slayer.block import sigma_delta
    from lava.lib.dl.slayer.neuron.norm import MeanOnlyBatchNorm

    torch.manual_seed(seed)
    neuron = {"threshold": [0.1, 0.02, 0.25, 0.0][seed], "activation": torch.relu}
    normed = neuron | {"norm": MeanOnlyBatchNorm}
    weight, bias = [(None, None), (1.5, -0.25), (0.5, 1.0), (None, 0.5)][seed]
    blocks = [
        sigma_delta.Input(neuron, weight=weight, bias=bias),
        sigma_delta.Conv(normed, 2, 4, 3, padding=1, weight_scale=2).eval(),
        sigma_delta.Conv(neuron, 4, 6, 3, stride=2, groups=2, weight_scale=2).eval(),
        sigma_delta.Flatten(),
        sigma_delta.Dense(normed, 54, 20, weight_scale=2).eval(),
        sigma_delta.Output(neuron, 20, 5, weight_scale=2),
    ]
    for block in (blocks[1], blocks[4]):
        block.neuron.norm.running_mean = 0.3 * torch.randn(block.synapse.out_channels)
    return blocks


def values(seed: int) -> np.ndarray:
    """Return values that walk in the steps of 1/32 that SLAYER rounds to, (step, sample, channel, y, x)."""
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.2, (2 * STEPS, 3, 2, 8, 8)), axis=0)
    return np.clip(np.rint(32 * walk), -127, 127) / 32


def as_meant(model: CompiledModel, result: RunResult) -> dict[str, np.ndarray]:
    return {name: sent * model.program.payload(name) for name, sent in result.spikes.items()}


@pytest.mark.parametrize("seed", range(3))
def test_sigma_delta_messages_are_slayers(tmp_path: Path, seed: int) -> None:
    """Every message of every neuron, and every sum, of SLAYER's own blocks, from its file."""
    blocks = sigma_delta_blocks(seed)
    x = values(seed)
    meant = forward(blocks, x)
    model = pipeline.compile(exported(tmp_path / "net.net", blocks), "loihi2-sim")
    ours = pipeline.run(model, pipeline.Samples("walk", x, None))
    assert ours.executor == "engine (numba)"
    for name, sent in as_meant(model, ours).items():
        assert np.unique(sent).size > 3, name
        assert np.array_equal(sent, meant[name].reshape(sent.shape)), name


def test_sigma_delta_pools_are_slayers(tmp_path: Path) -> None:
    """SLAYER exports them and netx reads none."""
    from lava.lib.dl.slayer.block import sigma_delta

    torch.manual_seed(0)
    neuron = {"threshold": 0.1, "activation": torch.relu}
    entry, last = sigma_delta.Input(neuron), sigma_delta.Dense(neuron, 32, 6, weight_scale=2)
    blocks = [entry, sigma_delta.Pool(neuron, 2, weight_scale=0.2), sigma_delta.Flatten(), last]
    x = values(0)
    meant = forward(blocks, x)
    model = pipeline.compile(exported(tmp_path / "net.net", blocks), "loihi2-sim")
    ours = pipeline.run(model, pipeline.Samples("walk", x, None))
    for name, sent in as_meant(model, ours).items():
        assert np.unique(sent).size > 3, name
        assert np.array_equal(sent, meant[name].reshape(sent.shape)), name
    assert np.array_equal(ours.predictions, meant["3"].sum(axis=0).argmax(axis=1))


@pytest.mark.parametrize("seed", range(4))
def test_sigma_delta_messages_are_netxs(tmp_path: Path, seed: int) -> None:
    """Messages, sums and values of Lava's Delta, SigmaDelta and Sigma, as netx connects them, of one sample.

    The last has thresholds of 0, which SLAYER itself would read as 1 / 4096.
    """
    path = exported(tmp_path / "net.net", run_once(sigma_delta_blocks(seed)))
    model = pipeline.compile(path, "loihi2-sim")
    x = values(seed)[:, :1]
    ours = pipeline.run(model, pipeline.Samples("walk", x, None), record_states=True)
    program = model.program
    bias = int(program.populations[0].loihi.bias_mantissa[0])
    theirs = netx_sigma_delta(path, model, np.rint(x / program.input.scale).astype(np.int64)[:, 0] + bias)
    theirs.currents.pop("0")
    ours.currents.pop("0")
    comparison = compare(program, theirs, ours)
    assert comparison.equal, comparison.first_divergence
    assert {name: sorted(each) for name, each in comparison.compared.items()}["4"] == ["currents", "spikes", "voltages"]


def run_once(blocks: list[Any]) -> list[Any]:
    """Let SLAYER find the shapes that it exports."""
    forward(blocks, values(0))
    return blocks


def netx_sigma_delta(path: str, model: CompiledModel, entering: np.ndarray) -> RunResult:
    """Run netx's own sigma-delta network on Lava's models and return the messages, sums and values of its layers.

    The k-th layer has its biases from the step on in which the first input reaches it, as SLAYER's has: netx's own
    would have told them k steps before.

    Args:
        entering: what the file's transform makes of one sample, integers (step, channel, y, x).
    """
    from lava.lib.dl.netx.hdf5 import Network

    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.network import run_configuration
    from neurodeploy.backends.loihi2.processes import SpikeInput

    steps = len(entering)
    rows: dict[str, dict[int, list[np.ndarray]]] = {kind: {} for kind in ("spikes", "currents", "voltages")}
    with registries_restored():
        net = Network(net_config=path)
        source = SpikeInput(samples=entering.transpose(0, 3, 2, 1)[None].astype(np.int32), period=2 * steps)
        source.s_out.connect(net.in_layer.neuron.a_in)
        for place, layer in enumerate(net.layers):
            layer.neuron.proc_params["place"] = place
        models = build_models(net, run_configuration())
        layers = {m.proc_params["place"]: m for m in models if m.proc_params.get("place") is not None}
        for place, model_of_layer in layers.items():
            sender = model_of_layer.s_out
            sender.send = partial(keep, rows["spikes"].setdefault(place, []), sender.send)
        biases = {place: layers[place].bias for place in layers if hasattr(layers[place], "bias")}
        for step in range(steps + len(layers)):
            for place, bias in biases.items():
                layers[place].bias = bias if step >= place else np.zeros_like(bias)
            step_models(models, 1)
            for place, each in layers.items():
                value = each.act if place == 0 else each.sigma + getattr(each, "bias", 0)
                rows["currents"].setdefault(place, []).append(np.copy(each.sigma))
                rows["voltages"].setdefault(place, []).append(np.copy(value))

    def shaped(kind: str) -> dict[str, np.ndarray]:
        kept = {p.name: np.stack(rows[kind][k][k : k + steps]) for k, p in enumerate(model.program.populations)}
        return {n: (r.transpose(0, 3, 2, 1) if r.ndim == 4 else r)[:, None] for n, r in kept.items()}

    return RunResult("netx", shaped("spikes"), np.zeros(1, np.int64), shaped("currents"), shaped("voltages"))


def keep(kept: list[np.ndarray], send: Callable[[np.ndarray], None], data: np.ndarray) -> None:
    """Send `data` and keep it."""
    kept.append(np.copy(data))
    send(data)


def netx_run(
    path: str, model: CompiledModel, payload: np.ndarray, picture: tuple[int, int, int] | None = None
) -> RunResult:
    """Run netx's own network on Lava's process models and return the spikes and states of its layers."""
    from lava.lib.dl.netx.hdf5 import Network

    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.network import run_configuration
    from neurodeploy.backends.loihi2.processes import SpikeInput
    from neurodeploy.backends.loihi2.recording import Recording, shared_array

    program, steps = model.program, len(payload)
    entered = program.input.kind is InputKind.GRADED
    with registries_restored():
        offset = 0 if entered else 1
        net = Network(net_config=path, reset_interval=steps, reset_offset=offset, input_shape=picture)
        if entered:
            bias = int(program.populations[0].loihi.bias_mantissa[0])
            net.in_layer.neuron.bias_mant.init = (payload[0, 0] + bias).transpose(2, 1, 0)
        else:
            sent = payload.swapaxes(0, 1) if picture is None else payload.transpose(1, 0, 4, 3, 2)
            source = SpikeInput(samples=sent.astype(np.int32), period=steps, name="source")
            source.s_out.connect(net.inp)
        records = {}
        populations = (population for population in program.populations if "delay" not in population.name)
        for index, (population, layer) in enumerate(zip(populations, net.layers, strict=True)):
            rows = (steps, *layer.neuron.a_in.shape)
            arrays = shared_array(rows, np.uint8), shared_array(rows, np.int32), shared_array(rows, np.int32)
            record = Recording(index + (1 if entered else 2), *arrays, np.zeros(1, np.int64))
            layer.neuron.proc_params["recording"] = records[population.name] = record
        step_models(build_models(net, run_configuration()), steps + len(net.layers))

    def shaped(rows: np.ndarray) -> np.ndarray:
        return (rows.transpose(0, 3, 2, 1) if rows.ndim == 4 else rows)[:, None]

    spikes = {name: shaped(record.spikes) for name, record in records.items()}
    states = {name: record.states() for name, record in records.items()}
    currents, voltages = ({name: shaped(both[i]) for name, both in states.items()} for i in (0, 1))
    return RunResult("netx", spikes, np.zeros(1, np.int64), currents, voltages)


def test_netx_holds_the_same_integers() -> None:
    """Every register, weight and exponent of netx's Processes, in both recorded networks."""
    from lava.lib.dl.netx.hdf5 import Network

    from neurodeploy.backends.loihi2.lava_models import registries_restored
    from neurodeploy.backends.loihi2.network import conv_kernel

    for path in (case("lava_dl/pilotnet_lif/network.net"), case("lava_dl/mnist_mlp/trained_mnist_network.net")):
        program = pipeline.compile(path, "loihi2-sim").program
        with registries_restored():
            layers = Network(net_config=str(path)).layers
        for population, layer in zip(program.populations, layers, strict=True):
            ours, theirs = population.loihi, layer.neuron
            assert (ours.du - 1, ours.dv, ours.vth) == (theirs.du.init, theirs.dv.init, theirs.vth.init)
            if not hasattr(layer, "synapse"):
                continue
            mantissa = np.broadcast_to(ours.bias_mantissa, population.size).reshape(population.shape)
            bias = np.broadcast_to(theirs.bias_mant.init, theirs.a_in.shape)
            assert np.array_equal(mantissa, bias.transpose(2, 1, 0) if bias.ndim == 3 else bias)
            assert ours.bias_exponent == theirs.bias_exp.init
            (projection,) = program.incoming(population.name)
            content, weights = projection.synapses, layer.synapse
            if isinstance(content, ConvSynapses):
                assert np.array_equal(conv_kernel(content), weights.weight.init)
                continue
            dense = np.zeros(weights.weights.init.shape, np.int64)
            rows, columns = np.nonzero(weights.weights.init)
            dense[rows, columns] = 2 * content.mantissa[content.mantissa != 0].astype(np.int64)
            assert np.array_equal(dense, weights.weights.init)
            assert projection.exponent == weights.proc_params["weight_exp"]


def test_netx_and_the_engine_compute_the_same() -> None:
    """Spikes, currents and membranes of all of PilotNet's neurons but its input's currents, from its recorded image.

    The values of the image are biases in netx, and a current of the same size here.
    """
    path = case("lava_dl/pilotnet_lif/network.net")
    model = pipeline.compile(path, "loihi2-sim")
    image = np.load(case("lava_dl/pilotnet_lif/image.npy")).transpose(2, 1, 0)
    payload = np.broadcast_to(image - 36, (STEPS, 1, *image.shape)).astype(np.int32)
    samples = pipeline.Samples("image", payload * model.program.input.scale, None)
    theirs = netx_run(str(path), model, payload)
    theirs.currents.pop("0")
    ours = pipeline.run(model, samples, record_states=True)
    comparison = compare(model.program, theirs, ours)
    assert comparison.equal, comparison.first_divergence
    assert sum(counts["spikes"] for counts in comparison.compared.values()) == STEPS * 158_509


@pytest.mark.parametrize("seed", range(6))
def test_netx_computes_the_same_for_random_files(tmp_path: Path, seed: int) -> None:
    """Dense and recurrent layers with odd, even, small, lopsided and clipped weights."""
    rng = np.random.default_rng(seed)
    low, high, step = [(-127, 128, 1), (-128, 128, 2), (-200, 200, 2), (-3, 4, 1), (-20, 18, 1), (-4, 60, 2)][seed]
    registers = {"type": b"CUBA", "iDecay": 700, "vDecay": 300, "vThMant": max(1, step * high // 3), "refDelay": 1}
    with h5py.File(tmp_path / "net.net", "w") as file:
        for number, (pre, post) in enumerate(((30, 20), (20, 10), (10, 4))):
            group = file.create_group(f"layer/{number}")
            kind = "dense_rec" if number == 1 else "dense"
            group.create_dataset("type", (1,), "S10", [kind.encode()])
            group["shape"], group["weight"] = [post], step * rng.integers(low, high, (post, pre))
            if kind == "dense_rec":
                group["weight_rec"] = step * rng.integers(low, high, (post, post))
            for name, value in registers.items():
                group[f"neuron/{name}"] = value
    model = pipeline.compile(tmp_path / "net.net", "loihi2-sim", allow={"ND048"})
    assert bool(model.program.deviations) == (seed == 2)
    spikes = (rng.random((40, 1, 30)) < 0.4).astype(np.uint8)
    ours = pipeline.run(model, pipeline.Samples("random", spikes, None), record_states=True)
    comparison = compare(model.program, netx_run(str(tmp_path / "net.net"), model, spikes), ours)
    assert comparison.equal, comparison.first_divergence
    assert all(sent.any() for sent in ours.spikes.values())
