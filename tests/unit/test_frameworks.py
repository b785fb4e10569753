"""Modules of SpikingJelly, Norse and sinabs: saved, named by file and compiled like snnTorch's, or refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurodeploy
from neurodeploy import datasets
from neurodeploy.datasets import Encoding
from neurodeploy.errors import UnsupportedError
from neurodeploy.frontends.recording import record
from neurodeploy.frontends.source import run_source

STEPS, SAMPLES, FEATURES, WIDTH, OUT = 8, 4, 6, 8, 5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(2)


def jelly() -> Any:
    return pytest.importorskip("spikingjelly.activation_based.neuron", reason="spikingjelly is not installed")


def norse() -> Any:
    return pytest.importorskip("norse.torch", reason="norse is not installed")


def sinabs() -> Any:
    return pytest.importorskip("sinabs.layers", reason="sinabs is not installed")


def spikes(*shape: int) -> Tensor:
    return (torch.rand(*shape, FEATURES) < 0.5).float()


def chain(make: Callable[[], nn.Module], kind: type[nn.Sequential] = nn.Sequential) -> nn.Module:
    return kind(nn.Linear(FEATURES, WIDTH), make(), nn.Linear(WIDTH, OUT), make())


def jelly_net(**settings: Any) -> tuple[nn.Module, Tensor]:
    return chain(lambda: jelly().LIFNode(**settings)), spikes(SAMPLES)


def norse_net(cell: str = "LIFCell", **settings: Any) -> tuple[nn.Module, Tensor]:
    package = norse()
    parameters = {
        "LIFCell": package.LIFParameters,
        "LIFBoxCell": pytest.importorskip("norse.torch.functional.lif_box").LIFBoxParameters,
    }[cell]
    tensors = {key: torch.tensor(value) if isinstance(value, float) else value for key, value in settings.items()}
    net = chain(lambda: getattr(package, cell)(parameters(**tensors)), package.SequentialState)
    return package.Lift(net), spikes(STEPS, SAMPLES)


def sinabs_net(kind: str = "IAF", **settings: Any) -> tuple[nn.Module, Tensor]:
    return chain(lambda: getattr(sinabs(), kind)(**settings)), spikes(SAMPLES, STEPS)


NETS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "SpikingJelly": jelly_net,
    "Norse": norse_net,
    "sinabs": sinabs_net,
}


@pytest.mark.parametrize("name", NETS)
def test_a_module_is_saved_and_loaded_as_it_was_recorded(name: str, tmp_path: Path) -> None:
    net, example = NETS[name]()
    recorded = neurodeploy.save(net, tmp_path / "net.pt", example_input=example)
    loaded = neurodeploy.load(tmp_path / "net.pt")
    assert (loaded.edges, loaded.origin) == (recorded.edges, recorded.origin)
    x = spikes(STEPS, SAMPLES).numpy()
    np.testing.assert_array_equal(
        run_source(loaded, x).spikes[loaded.output], run_source(recorded, x).spikes[recorded.output]
    )


@pytest.mark.parametrize("name", NETS)
def test_recording_leaves_a_module_as_it_was(name: str) -> None:
    """Its states are those that its last call left, so its next one answers as if nothing had happened."""
    net, example = NETS[name]()
    with torch.no_grad():
        net(example)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        held = [module.v.clone() for module in net.modules() if "v" in vars(module).get("_memories", {})]
        record(net, example)
        after = net.state_dict()
        still = [module.v for module in net.modules() if "v" in vars(module).get("_memories", {})]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(torch.equal(old, new) for old, new in zip(held, still, strict=True))
    assert net.training


FILES = {
    "SpikingJelly": """
from torch import nn
from spikingjelly.activation_based.neuron import IFNode
def Net():
    return nn.Sequential(nn.Linear(6, 8), IFNode(), nn.Linear(8, 5), IFNode(v_reset=None))
""",
    "Norse": """
from torch import nn
import norse.torch as norse
def Net():
    return norse.Lift(norse.SequentialState(nn.Linear(6, 8), norse.LIFCell(), nn.Linear(8, 5), norse.LIFCell()))
""",
    "sinabs": """
from torch import nn
import sinabs.layers as sl
def Net():
    return nn.Sequential(nn.Linear(6, 8), sl.IAF(min_v_mem=-1.0), nn.Linear(8, 5), sl.LIF(tau_mem=5.0))
""",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_weights_is_compiled_and_every_difference_is_rounding(name: str, tmp_path: Path) -> None:
    """net.py:Net with its state_dict, from its neurons to a certificate against the float source on loihi2-sim."""
    NETS[name]()
    (tmp_path / "net.py").write_text(FILES[name])
    scope: dict[str, Any] = {}
    exec(FILES[name], scope)
    net = scope["Net"]()
    for parameter in net.parameters():
        parameter.data = parameter.data * 2 if parameter.dim() > 1 else parameter.data
    torch.save(net.state_dict(), tmp_path / "net.pt")
    model = neurodeploy.compile(
        f"{tmp_path / 'net.py'}:Net", "loihi2-sim", weights=tmp_path / "net.pt", example_shape=(6,)
    )
    np.savez(tmp_path / "x.npz", inputs=spikes(40, SAMPLES).numpy())
    samples = neurodeploy.read_data(tmp_path / "x.npz", None, (6,))
    _, certificate = neurodeploy.verify(model, samples, against="source")
    assert certificate["verified"]
    assert model.program.populations


class _Scheduled(nn.Module):
    """A network that lowers a threshold while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(FEATURES, OUT), jelly().IFNode()

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for part in x:
            out.append(self.lif(self.fc(part)))
            self.lif.v_threshold *= 0.9
        return torch.stack(out)


def _subclassed() -> tuple[nn.Module, Tensor]:
    kind = type("Mine", (jelly().IFNode,), {})
    return chain(kind), spikes(SAMPLES)


def _in_single_calls() -> tuple[nn.Module, Tensor]:
    recurrent = sinabs().IAFRecurrent(rec_connect=nn.Linear(OUT, OUT, bias=False))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(FEATURES, OUT), recurrent

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.lif(self.fc(x[:, t : t + 1])) for t in range(STEPS)], 1)

    return Net(), spikes(SAMPLES, STEPS)


def _with_another_cell() -> tuple[nn.Module, Tensor]:
    package = norse()
    layers = nn.Linear(FEATURES, OUT), package.LIFRefracCell(), nn.Linear(OUT, OUT), package.LIFCell()
    return package.Lift(package.SequentialState(*layers)), spikes(STEPS, SAMPLES)


def _with_recurrent_bias() -> tuple[nn.Module, Tensor]:
    net, x = sinabs_net("IAF")
    net[1] = sinabs().IAFRecurrent(rec_connect=nn.Linear(WIDTH, WIDTH))
    return net, x


def _activation(name: str) -> Any:
    return getattr(pytest.importorskip("sinabs.activation"), name)


REFUSALS: dict[str, tuple[str, str, Callable[[], tuple[nn.Module, Tensor]]]] = {
    "a threshold below the reset": ("ND023", "v_threshold", lambda: jelly_net(v_threshold=-1.0)),
    "a surrogate that is no step": (
        "ND023",
        "surrogate_function",
        lambda: jelly_net(
            surrogate_function=pytest.importorskip("spikingjelly.activation_based.surrogate").Sigmoid(spiking=False)
        ),
    ),
    "a threshold that changes": ("ND029", "v_threshold", lambda: (_Scheduled(), spikes(STEPS, SAMPLES))),
    "a subclass": ("ND024", "no supported spiking neuron", _subclassed),
    "another node": (
        "ND024",
        "HalfThresholdIFNode",
        lambda: (nn.Sequential(*chain(jelly().HalfThresholdIFNode), jelly().IFNode()), spikes(SAMPLES)),
    ),
    "another cell": ("ND024", "LIFRefracCell", _with_another_cell),
    "an adapting neuron": (
        "ND024",
        "ALIF",
        lambda: (nn.Sequential(*chain(lambda: sinabs().ALIF(5.0, 5.0)), sinabs().IAF()), spikes(SAMPLES, STEPS)),
    ),
    "a leak beside the reset": ("ND023", "v_leak and v_reset", lambda: norse_net(v_leak=0.1)),
    "the leak of a subtracting neuron": (
        "ND023",
        "reset_subtract",
        lambda: norse_net(
            "LIFBoxCell",
            v_leak=-0.1,
            v_reset=-0.1,
            reset_method=pytest.importorskip("norse.torch.functional.reset").reset_subtract,
        ),
    ),
    "a reset of one's own": (
        "ND023",
        "reset_method",
        lambda: norse_net("LIFBoxCell", reset_method=lambda z, v, reset, threshold: v),
    ),
    "a step too long": ("ND023", "time constant", lambda: norse_net(tau_mem_inv=2000.0)),
    "states that are not handed on": (
        "ND017",
        "get back its own",
        lambda: (norse_net()[0].lifted_module, spikes(SAMPLES)),
    ),
    "a limit of spikes": (
        "ND023",
        "spike_fn",
        lambda: sinabs_net(spike_fn=_activation("MaxSpike")(max_num_spikes_per_bin=3)),
    ),
    "many spikes and a reset": ("ND023", "MembraneReset", lambda: sinabs_net(reset_fn=_activation("MembraneReset")())),
    "a reset to a value": (
        "ND023",
        "reset_value",
        lambda: sinabs_net(spike_fn=_activation("SingleSpike"), reset_fn=_activation("MembraneReset")(0.1)),
    ),
    "another value subtracted": (
        "ND023",
        "reset_fn",
        lambda: sinabs_net(reset_fn=_activation("MembraneSubtract")(0.5)),
    ),
    "a floor above rest": ("ND023", "min_v_mem", lambda: sinabs_net(min_v_mem=0.1)),
    "a threshold of zero": ("ND023", "spike_threshold", lambda: sinabs_net(spike_threshold=torch.tensor(0.0))),
    "a bias of the recurrence": ("ND023", "bias", _with_recurrent_bias),
    "recurrence over calls": ("ND017", "`spk`", _in_single_calls),
    "a leaky integrator": ("ND024", "ExpLeak", lambda: (chain(lambda: sinabs().ExpLeak(5.0)), spikes(SAMPLES, STEPS))),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_said_exactly_is_refused(name: str) -> None:
    code, said, make = REFUSALS[name]
    with pytest.raises(UnsupportedError) as refusal:
        record(*make())
    found = [finding for finding in refusal.value.findings if finding.code == code]
    assert any(said in f"{finding.place} {finding.what}" for finding in found), refusal.value


def test_a_sum_pool_adds_up_its_windows() -> None:
    """sinabs' SumPool2d over spikes, overlapping windows included, fires as there."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        sinabs().IAFSqueeze(batch_size=SAMPLES, spike_threshold=torch.tensor(0.3)),
        sinabs().SumPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(18, OUT),
        sinabs().IAFSqueeze(batch_size=SAMPLES),
    )
    for layer in (net[0], net[4]):
        layer.weight.data = (layer.weight * 8).round().abs() / 8
        layer.bias.data.zero_()
    x = (torch.rand(STEPS, SAMPLES, 1, 8, 8) < 0.3).float()
    squeezed = x.transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        expected = net(squeezed).unflatten(0, (SAMPLES, STEPS)).transpose(0, 1).numpy()
    network = record(net, squeezed)
    assert expected.any()
    np.testing.assert_array_equal(run_source(network, x.numpy()).spikes[network.output], expected)


def test_a_package_is_imported_when_a_module_of_it_is_met() -> None:
    """Recording a network of snnTorch's imports none of the others."""
    script = """
import sys, snntorch, torch
from neurodeploy.frontends.recording import record
net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
record(net, torch.ones(1, 3))
print([name for name in ("spikingjelly", "norse", "sinabs") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_network_may_mix_frameworks() -> None:
    """Each neuron is read by its own package's equations."""
    import snntorch

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, OUT)
            self.theirs, self.ours = jelly().IFNode(v_threshold=0.3), snntorch.Leaky(beta=0.9, threshold=0.2)

        def forward(self, x: Tensor) -> Tensor:
            mem, out = self.ours.reset_mem(), []
            for part in x:
                spike, mem = self.ours(self.second(self.theirs(self.first(part))), mem)
                out.append(spike)
            return torch.stack(out)

    net, x = Net(), spikes(STEPS, SAMPLES)
    network = record(net, x)
    with torch.no_grad():
        expected = net(x).numpy()
    assert expected.any()
    np.testing.assert_array_equal(run_source(network, x.numpy()).spikes["ours"], expected)


def test_a_membrane_is_counted_from_where_it_starts() -> None:
    """SpikingJelly's v_reset and Norse's v_leak are zero here, and thresholds as much lower."""
    net, x = jelly_net(v_reset=-0.5)
    assert {float(lif.threshold) for lif in record(net, x).populations.values()} == {1.5}
    net, x = norse_net(v_leak=-0.5, v_reset=-0.5)
    assert {float(lif.threshold) for lif in record(net, x).populations.values()} == {1.5}


def test_what_spikingjelly_trained_on_digits_recognizes_them_compiled(tmp_path: Path) -> None:
    """Trained by its own surrogate gradients for some seconds; compiled to 8 bits it loses at most 2 % of the test."""
    jelly()
    from spikingjelly.activation_based import functional, neuron

    train = datasets.load("digits", "train")
    images, labels = torch.tensor(train.images).float(), torch.tensor(train.labels).long()
    net = nn.Sequential(nn.Linear(64, 48), neuron.LIFNode(), nn.Linear(48, 10), neuron.LIFNode(v_reset=None))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(40):
        functional.reset_net(net)
        rate = torch.stack([net(images) for _ in range(8)]).mean(0)
        optimizer.zero_grad()
        nn.functional.cross_entropy(4 * rate, labels).backward()
        optimizer.step()
    functional.reset_net(net)
    network = neurodeploy.save(net, tmp_path / "net.pt", example_input=images, encoding=Encoding("direct", 8))
    model = neurodeploy.compile(tmp_path / "net.pt", "loihi2-sim", calibration="digits")
    samples = neurodeploy.read_data("digits", model.program.encoding, model.program.input.shape)
    source = run_source(network, samples.inputs)
    with torch.no_grad():
        expected = torch.stack([net(torch.tensor(x).float()) for x in samples.inputs]).numpy()
    np.testing.assert_array_equal(source.spikes[network.output], expected)
    meant = float((source.predictions == samples.labels).mean())
    compiled = neurodeploy.evaluate(model, samples, neurodeploy.run(model, samples, on="engine")).accuracy
    assert meant > 0.9
    assert float(compiled) > meant - 0.02
