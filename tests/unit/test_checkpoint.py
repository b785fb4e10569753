"""Files to networks: round trips are exact, and any other bytes are a refusal with a remedy, no other exception."""

import json
import pickle
import random
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import utils
from torch import nn

import neurodeploy
from neurodeploy.errors import Change, LoadError, NetworkError, NeurodeployError, UnsupportedError, UsageError
from neurodeploy.frontends.checkpoint import load_checkpoint
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.codec import to_plain
from neurodeploy.ir.nodes import InputKind


def chain(hidden=7, **settings):
    return nn.Sequential(
        nn.Linear(6, hidden),
        snn.RSynaptic(alpha=torch.rand(hidden), beta=0.9, linear_features=hidden, init_hidden=True, threshold=0.3),
        nn.Linear(hidden, 4),
        snn.Leaky(beta=0.8, init_hidden=True, threshold=0.2, **settings),
    )


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(1)


@pytest.fixture
def net():
    return chain()


@pytest.fixture
def path(net, tmp_path):
    path = tmp_path / "model.pt"
    neurodeploy.save(net, path, example_input=torch.rand(2, 6).round(), dt=1e-3, encoding={"kind": "rate", "steps": 9})
    return path


def plain(network):
    """Return every field and every array of `network` in comparable form."""
    arrays = {}
    return to_plain(network, arrays, "n"), {key: (a.dtype.str, a.shape, a.tobytes()) for key, a in arrays.items()}


def own_spikes(net, x):
    utils.reset(net)
    net.eval()
    with torch.no_grad():
        return torch.stack([net(torch.from_numpy(x_t)) for x_t in x]).numpy()


def refusal(model, error=LoadError, **settings):
    with pytest.raises(error) as caught:
        neurodeploy.load(model, **settings)
    assert all(finding.fix and finding.why and finding.what for finding in caught.value.findings)
    return caught.value.findings[0]


# Our own files


def test_round_trip_is_exact(net, path):
    """What is read is what was recorded, array for array and bit for bit; float32 weights come back as they were."""
    recorded = neurodeploy.save(net, path, example_input=torch.rand(2, 6), dt=1e-3)
    loaded = neurodeploy.load(path)
    assert plain(loaded) == plain(recorded) == plain(load_checkpoint(path))
    weight = net[0].weight.detach().numpy()
    np.testing.assert_array_equal(loaded.nodes["0"].weight.astype(np.float32), weight)
    assert loaded.nodes["0"].weight.dtype == np.float64
    assert all(a.dtype == np.float64 for a in (loaded.nodes["1"].alpha, loaded.nodes["1"].beta))


def test_loaded_network_fires_the_modules_spikes(net, path):
    """A file is enough to compute what the module computed."""
    x = np.random.default_rng(0).random((20, 5, 6)).round().astype(np.float32)
    network = neurodeploy.load(path)
    expected = own_spikes(net, x)
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(run_source(network, x).spikes[network.output], expected)


def test_step_duration_and_encoding_are_kept(net, path, tmp_path):
    """dt and encoding come back; dt is never invented, may be added once, and must not be contradicted."""
    network = neurodeploy.load(path)
    assert network.dt_s == 1e-3
    assert network.encoding == {"kind": "rate", "steps": 9}
    assert refusal(path, UsageError, dt=2e-3).code == "ND028"
    silent = tmp_path / "silent.pt"
    neurodeploy.save(net, silent, example_input=torch.rand(2, 6))
    assert neurodeploy.load(silent).dt_s is None
    assert neurodeploy.load(silent, dt=2e-3).dt_s == 2e-3


def test_images_as_currents_are_graded_whatever_the_example(net, path):
    """An encoding that feeds pixels makes the input graded in [0, 1], even if the example is all zeros."""
    network = neurodeploy.save(net, path, example_input=torch.zeros(2, 6), encoding={"kind": "direct", "steps": 4})
    assert (network.input_node.kind, network.input_node.high) == (InputKind.GRADED, 1.0)


def test_file_is_plain_tensors(path):
    """The file opens with weights_only=True and holds JSON text and tensors."""
    content = torch.load(path, weights_only=True)
    assert content["neurodeploy"] == 1
    assert json.loads(content["graph"])["type"] == "Network"
    assert all(isinstance(tensor, torch.Tensor) for tensor in content["tensors"].values())


def test_saving_is_all_or_nothing(net, path):
    """A refused save leaves the old file and no other behind."""
    before = path.read_bytes()
    with pytest.raises(UnsupportedError):
        neurodeploy.save(nn.Sequential(net[0], nn.ReLU(), net[3]), path, example_input=torch.rand(2, 6))
    with pytest.raises(LoadError, match="ND001"):
        neurodeploy.save(net, path.parent / "absent" / "model.pt", example_input=torch.rand(2, 6))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# Files that are none


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file(path, share):
    """A file that was cut off is refused as damaged."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(path).code == "ND002"


def test_any_damage_is_refused(path):
    """No flipped bit, deleted or inserted byte gives a network other than the one saved, or another exception."""
    whole, content, draw = plain(neurodeploy.load(path)), path.read_bytes(), random.Random(0)
    for _ in range(60):
        changed = bytearray(content)
        at = draw.randrange(len(changed))
        match draw.randrange(3):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                del changed[at : at + draw.randrange(1, 64)]
            case 2:
                changed[at:at] = draw.randbytes(draw.randrange(1, 64))
        path.write_bytes(changed)
        with suppress(NeurodeployError):
            assert plain(neurodeploy.load(path)) == whole


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_any_bytes_are_refused(path):
    """Random bytes, also behind the magic numbers of zip, pickle and gzip, are refused."""
    draw = random.Random(1)
    for start in (b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x1f\x8b", b"\x93NUMPY", b"hello", b"\x89HDF\r\n"):
        path.write_bytes(start + draw.randbytes(300))
        assert refusal(path).code in ("ND002", "ND003")


def tampered(path, change):
    """Write a checkpoint whose graph went through `change`, with a digest that fits again."""
    from neurodeploy.frontends import checkpoint

    content = torch.load(path, weights_only=True)
    graph = json.loads(content["graph"])
    change(graph, content["tensors"])
    content["graph"] = json.dumps(graph)
    content["sha256"] = checkpoint._digest(content["graph"], content["tensors"])
    torch.save(content, path)


def cut(tensors):
    return {key: tensor[..., :1] for key, tensor in tensors.items() if tensor.dim()}


def node(graph, name):
    return next(value for key, value in graph["nodes"]["items"] if key == name)


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        (lambda graph, tensors: graph.update(type="Sorcery"), LoadError, "ND012"),
        (lambda graph, tensors: graph.pop("edges"), LoadError, "ND012"),
        (lambda graph, tensors: graph.update(nodes=3), LoadError, "ND012"),
        (lambda graph, tensors: graph.update(edges=[1, 2]), LoadError, "ND012"),
        (lambda graph, tensors: graph.update(edges=graph["edges"][:-1]), LoadError, "ND027"),
        (lambda graph, tensors: graph["edges"][0].update(delay_steps=4), LoadError, "ND027"),
        (lambda graph, tensors: graph.update(output="nobody"), NetworkError, "ND110"),
        (lambda graph, tensors: graph.update(output="0"), LoadError, "ND027"),
        (lambda graph, tensors: graph.update(dt_s="soon"), LoadError, "ND027"),
        (lambda graph, tensors: node(graph, "1").update(shape=[3]), LoadError, "ND027"),
        (lambda graph, tensors: node(graph, "1").update(reset="gone"), LoadError, "ND027"),
        (
            lambda graph, tensors: tensors.update({k: v[..., :1] for k, v in tensors.items() if v.dim()}),
            LoadError,
            "ND027",
        ),
        (lambda graph, tensors: tensors.update({k: v * np.nan for k, v in tensors.items()}), NetworkError, "ND025"),
        (lambda graph, tensors: tensors.update({k: v.bool() for k, v in tensors.items()}), LoadError, "ND012"),
        (lambda graph, tensors: tensors.clear(), LoadError, "ND012"),
    ],
)
def test_contradictory_checkpoint(path, change, error, code):
    """A graph that was edited into nonsense is refused even if its digest fits."""
    tampered(path, change)
    assert refusal(path, error).code == code


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_missing_empty_and_other_files(tmp_path, net):
    """Missing and empty files, directories, and files of other content each have their own refusal."""
    assert refusal(tmp_path / "absent.pt").code == "ND001"
    assert refusal(tmp_path).code == "ND001"
    assert refusal("").code == "ND001"
    assert refusal("\0").code == "ND001"
    (tmp_path / "empty.pt").write_bytes(b"")
    assert "empty" in refusal(tmp_path / "empty.pt").what
    (tmp_path / "plain.pickle").write_bytes(pickle.dumps({"a": 1}))
    assert refusal(tmp_path / "plain.pickle").code == "ND002"
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    assert refusal(tmp_path / "arrays.npz").code == "ND002"
    for content in ([1, 2], torch.ones(3), {}, {"epoch": 3}, {1: torch.ones(2)}, {"neurodeploy": 7}):
        torch.save(content, tmp_path / "other.pt")
        assert refusal(tmp_path / "other.pt").code in ("ND004", "ND012")


class Pickled(nn.Module):
    """A module that can be pickled: its neuron uses a surrogate that is no closure."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 4), snn.Leaky(beta=0.9, init_hidden=True, surrogate_disable=True)

    def forward(self, x):
        return self.lif(self.fc(x))


def test_pickled_module_needs_trust(tmp_path):
    """A pickled module is opened only if its author is trusted, and then recorded like any other."""
    path = tmp_path / "module.pt"
    torch.save(Pickled(), path)
    assert refusal(path, example_shape=(6,)).code == "ND003"
    assert refusal(path, trust_pickle=True).code == "ND007"
    network = neurodeploy.load(path, trust_pickle=True, example_shape=(6,))
    assert list(network.populations) == ["lif"]


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, ("evil-was-here",)


def test_untrusted_pickle_runs_nothing(tmp_path, monkeypatch):
    """Opening a file never runs the code it names."""
    monkeypatch.chdir(tmp_path)
    torch.save(Evil(), tmp_path / "evil.pt")
    assert refusal(tmp_path / "evil.pt").code == "ND003"
    assert not (tmp_path / "evil-was-here").exists()


# Bare state_dicts


def test_state_dict_needs_permission(net, tmp_path):
    """A bare state_dict is refused with the inferred wiring and both better ways; ND020 allows it, on record."""
    path = tmp_path / "weights.pt"
    torch.save(net.state_dict(), path)
    finding = refusal(path, UnsupportedError)
    assert finding.code == "ND020"
    assert "Linear(6, 7) -> 1 = RSynaptic(7 neurons, reset subtract) -> 2 = Linear(7, 4)" in finding.what
    assert "neurodeploy.save" in finding.fix
    assert "--weights" in finding.fix
    network = neurodeploy.load(path, allow=("ND020",), dt=1e-3)
    assert [(d.code, d.change) for d in network.deviations] == [("ND020", Change.SUBSTITUTION)]
    assert network.dt_s == 1e-3
    x = np.random.default_rng(0).random((20, 5, 6)).round().astype(np.float32)
    np.testing.assert_array_equal(run_source(network, x).spikes[network.output], own_spikes(net, x))


@pytest.mark.parametrize(
    "neuron",
    [
        snn.Leaky(beta=torch.rand(7), reset_mechanism="zero", learn_beta=True),
        snn.Synaptic(alpha=0.4, beta=0.7, learn_alpha=True, learn_threshold=True),
        snn.RLeaky(beta=0.7, linear_features=7),
        snn.RLeaky(beta=0.7, all_to_all=False, V=torch.rand(7)),
        snn.RLeaky(beta=0.7, all_to_all=False, V=0.3, learn_recurrent=True),
        snn.RSynaptic(alpha=0.2, beta=0.7, all_to_all=False, V=torch.rand(7)),
        snn.Lapicque(beta=0.6),
        snn.Lapicque(R=2.0, C=1.5, time_step=0.5),
    ],
    ids=lambda neuron: type(neuron).__name__,
)
def test_state_dict_tells_the_kind_of_neuron(neuron, tmp_path):
    """Every supported neuron is told by the names of its tensors."""
    neuron.init_hidden = True
    neuron.threshold.data.fill_(0.2)
    net = nn.Sequential(nn.Linear(6, 7), neuron)
    torch.save({"epoch": 3, "model_state_dict": net.state_dict()}, tmp_path / "weights.pt")
    network = neurodeploy.load(tmp_path / "weights.pt", allow={"ND020"})
    x = np.random.default_rng(0).random((20, 5, 6)).round().astype(np.float32)
    expected = own_spikes(net, x)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(run_source(network, x).spikes[network.output], expected)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), snn.Leaky(beta=0.9)),
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), snn.Leaky(beta=0.9), snn.Leaky(beta=0.9)),
        nn.Sequential(nn.Linear(4, 4), snn.Leaky(beta=0.9), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 5), snn.Leaky(beta=0.9), nn.Linear(4, 4), snn.Leaky(beta=0.9)),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), snn.Leaky(beta=0.9)),
        nn.Sequential(nn.Linear(4, 4), snn.RLeaky(beta=0.9, conv2d_channels=1, kernel_size=3)),
        nn.Sequential(snn.Leaky(beta=0.9)),
        nn.Linear(4, 4),
    ],
)
def test_ambiguous_state_dict(module, tmp_path):
    """What is no plain chain is refused even if guessing is allowed."""
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    assert refusal(tmp_path / "weights.pt", allow=("ND020",)).code == "ND021"


# Python files

SOURCE = """
import torch
import snntorch as snn
from torch import nn

STEPS = 5

class Net(nn.Module):
    def __init__(self, hidden=7):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, hidden), snn.Leaky(beta=0.9, threshold=0.2)
        self.fc2, self.lif2 = nn.Linear(hidden, 4), snn.Leaky(beta=0.8, threshold=0.1)

    def forward(self, x):
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for x_t in LOOP:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)

class Needy(Net):
    def __init__(self, hidden):
        super().__init__(hidden)

def trained():
    torch.manual_seed(5)
    return Net(hidden=3)

net = trained()
number = 3
"""


@pytest.fixture
def source(tmp_path):
    def write(loop="x", text=SOURCE):
        (tmp_path / "net.py").write_text(text.replace("LOOP", loop))
        return f"{tmp_path / 'net.py'}"

    return write


@pytest.mark.parametrize(
    "loop",
    ["[x] * STEPS", "x", "[x[t] for t in range(25)]", "[x[:, t] for t in range(25)]", "x.permute(1, 0, 2)"],
)
def test_python_file_with_weights(source, tmp_path, loop):
    """A class and its weights are recorded wherever its loop has the time axis."""
    file = source(loop)
    names: dict = {}
    exec(SOURCE.replace("LOOP", loop), names)
    made = names["Net"]()
    torch.save(made.state_dict(), tmp_path / "weights.pt")
    network = neurodeploy.load(f"{file}:Net", weights=tmp_path / "weights.pt", example_shape=(6,), dt=0.01)
    assert list(network.populations) == ["lif1", "lif2"]
    assert network.input_node.shape == (6,)
    assert network.dt_s == 0.01
    np.testing.assert_array_equal(network.nodes["fc1"].weight, made.fc1.weight.detach().double().numpy())


def test_functions_and_modules_need_no_weights(source):
    """A factory function and a module made by the file are taken as they are."""
    file = source()
    for name in ("trained", "net"):
        assert neurodeploy.load(f"{file}:{name}", example_shape=(6,)).nodes["fc1"].weight.shape == (3, 6)


def test_python_file_refusals(source, tmp_path):
    """Each way of naming a module wrongly has its own refusal."""
    file = source()
    assert refusal(f"{file}:Net", example_shape=(6,)).code == "ND006"
    assert refusal(f"{file}:trained").code == "ND007"
    assert refusal(file, UsageError).code == "ND007"
    assert refusal(f"{file}:trained", UsageError, example_shape=(0,)).code == "ND007"
    assert refusal(f"{file}:Absent", example_shape=(6,)).code == "ND005"
    assert refusal(f"{file}:Needy", example_shape=(6,)).code == "ND005"
    assert refusal(f"{file}:number", example_shape=(6,)).code == "ND005"
    assert refusal(f"{tmp_path / 'absent.py'}:Net", example_shape=(6,)).code == "ND001"
    torch.save(chain().state_dict(), tmp_path / "other.pt")
    assert refusal(f"{file}:Net", weights=tmp_path / "other.pt", example_shape=(6,)).code == "ND006"
    torch.save([1], tmp_path / "list.pt")
    assert refusal(f"{file}:Net", weights=tmp_path / "list.pt", example_shape=(6,)).code == "ND004"
    assert refusal(f"{file}:trained", UnsupportedError, example_shape=(5,)).code == "ND013"


@pytest.mark.parametrize("text", ["import absent_module", "raise SystemExit(3)", "def f(:", "1 / 0", "x = 1\0"])
def test_python_file_that_does_not_run(source, text):
    """Whatever happens when a file is run is a refusal."""
    assert refusal(f"{source(text=text)}:Net", example_shape=(6,)).code == "ND005"


def test_weights_beside_a_model_file(path):
    """A model file holds its own weights."""
    assert refusal(path, UsageError, weights=path).code == "ND007"


def test_importing_is_light():
    """`import neurodeploy` brings in neither torch nor numpy, and lists what it offers."""
    code = "import sys, neurodeploy; print('torch' in sys.modules, 'numpy' in sys.modules, sorted(neurodeploy.__all__))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("False False ")
    assert "'load'" in out
    assert "'save'" in out
