"""NIR files in the wild: held against the checkpoints they came from, recorded traces of other platforms, and Lava.

Everything is read from the cases folder; nothing of it was written for neurodeploy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor, nn

from neurodeploy import inference, pipeline
from neurodeploy.datasets import Encoding
from neurodeploy.engine.real import run_real
from neurodeploy.errors import NeurodeployError
from neurodeploy.frontends import hdf5
from neurodeploy.frontends.nir import load_nir, network_of
from neurodeploy.frontends.nir_graph import graph_of
from neurodeploy.frontends.nir_shapes import shaped
from neurodeploy.frontends.nir_wiring import closed
from neurodeploy.frontends.source import run_source
from neurodeploy.pipeline import Samples
from tests.cases import case, data
from tests.nir_mutations import DAMAGES, mutated

BRAILLE = ("noDelay_bias_ref_zero", "noDelay_noBias_ref_subtract")
STEP_S = 1e-4
"""Of the paper's single neuron, whose file does not say it."""
SINGLE_PRECISION = 1e-7
MUTATIONS = range(600, 1000)
"""In 944, a group ends in the middle, after some of its arrays."""


@pytest.fixture(scope="module")
def reader() -> Iterator[hdf5.Reader]:
    with hdf5.Reader() as reader:
        yield reader


# One neuron on many platforms


def trace(platform: str) -> np.ndarray:
    """Return a platform's record: input, membrane, spike (step,)."""
    return np.loadtxt(case("nir_paper", "01_lif", f"lif_{platform}.csv"), delimiter=",").T


def played(name: str, inputs: np.ndarray, dt: float | None, semantics: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes and membrane (step,) of a file's one neuron."""
    network = load_nir(case("nir_paper", "01_lif", name), dt, semantics)
    result = run_real(network, inputs.reshape(-1, 1, 1))[0]
    return result.spikes[network.output].ravel(), result.voltages[network.output].ravel()


@pytest.mark.parametrize(
    ("platform", "file", "dt", "semantics", "gain"),
    [
        ("norse", "lif_norse.nir", STEP_S, {}, 1),
        ("snntorch", "lif_norse.nir", STEP_S, {}, 25),
        ("sinabs", "lif_norse.nir", STEP_S, {"reset": "subtract", "discretization": "exponential", "gain": "unit"}, 1),
        ("rockpool", "lif_rockpool.nir", None, {"reset": "subtract"}, 1),
    ],
)
def test_recorded_membranes_and_spikes_are_met(
    platform: str, file: str, dt: float | None, semantics: dict[str, str], gain: float
) -> None:
    """Each platform's own reading of the neuron, in single precision; snnTorch's membrane is 25 times as high."""
    inputs, membrane, spikes = trace(platform)
    ours, v = played(file, inputs, dt, semantics)
    assert spikes.sum() == 4
    assert np.array_equal(ours, spikes > 0)
    assert np.abs(v - membrane / gain).max() < SINGLE_PRECISION


def test_rockpools_file_that_nir_rejects_is_repaired() -> None:
    """Its output has the shape of a batch; dt, decay and gain are in its numbers."""
    import nir

    path = case("nir_paper", "01_lif", "lif_rockpool.nir")
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(path)
    network = load_nir(path)
    assert [d.place for d in network.deviations if d.code == "ND037"] == ['lif_rockpool.nir: Output "output"']
    assert network.dt_s == STEP_S


@pytest.mark.parametrize("platform", ["exact", "nengo", "spinnaker2"])
def test_recorded_spikes_are_met(platform: str) -> None:
    inputs, _, spikes = trace(platform)
    assert np.array_equal(played("lif_norse.nir", inputs, STEP_S, {})[0], spikes > 0)


@pytest.mark.parametrize("platform", ["lava_cpu_float", "spyx", "lava_loihi_fixed"])
def test_recorded_spikes_are_met_a_step_earlier(platform: str) -> None:
    """Loihi 2 itself, Lava's float model, which agrees in the membrane too, and Spyx answer a step later."""
    inputs, membrane, spikes = trace(platform)
    ours, v = played("lif_norse.nir", inputs, STEP_S, {})
    assert np.array_equal(ours[:-1], spikes[1:] > 0)
    if platform == "lava_cpu_float":
        assert np.abs(v[:-1] - membrane[1:]).max() < SINGLE_PRECISION


# The Braille network


class Braille(nn.Module):
    """The paper's network as it was trained: its checkpoint, hyper-parameters and reset."""

    def __init__(self, tag: str) -> None:
        super().__init__()
        folder = ("nir_paper", "03_rnn", "data")
        settings = json.loads(case(*folder, f"parameters_{tag}.json").read_text())
        state = torch.load(case(*folder, f"model_{tag}.pt"), weights_only=True, map_location="cpu")
        hidden, bias, reset = settings["nb_hidden"], "fc1.bias" in state, tag.rpartition("_")[2]
        self.fc1, self.fc2 = nn.Linear(12, hidden, bias), nn.Linear(hidden, 7, bias)
        decays = {"alpha": settings["alpha_r"], "beta": settings["beta_r"]}
        self.lif1 = snntorch.RSynaptic(**decays, linear_features=hidden, reset_mechanism=reset)
        self.lif1.recurrent = nn.Linear(hidden, hidden, bias)
        self.lif2 = snntorch.Synaptic(settings["alpha_out"], settings["beta_out"], reset_mechanism=reset)
        self.load_state_dict(state, strict=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        (spk, syn, mem), (syn2, mem2) = self.lif1.reset_mem(), self.lif2.reset_mem()
        hidden, output = [], []
        for step in x:
            spk, syn, mem = self.lif1(self.fc1(step), spk, syn, mem)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk), syn2, mem2)
            hidden.append(spk)
            output.append(spk2)
        return torch.stack(hidden), torch.stack(output)


def braille_input() -> np.ndarray:
    """Random spikes (step, sample, 12), from sparse to dense."""
    density = np.linspace(0.02, 0.6, 100)[:, None]
    return (np.random.default_rng(3).random((256, 100, 12)) < density).astype(np.float32)


def braille_file(tag: str) -> Path:
    return case("nir_paper", "03_rnn", f"braille_{tag.replace('_ref', '')}.nir")


def braille_semantics(tag: str) -> dict[str, str]:
    """The reset that the file does not hold: snnTorch's, in the step after the spike."""
    return {"reset": f"{tag.rpartition('_')[2]}_next_step"}


@pytest.mark.parametrize("tag", BRAILLE)
def test_braille_graphs_fire_as_the_checkpoints_they_came_from(tag: str) -> None:
    """Spike for spike, 256 steps of 100 samples, snnTorch in single precision."""
    network = load_nir(braille_file(tag), semantics=braille_semantics(tag))
    assert network.dt_s == STEP_S
    inputs = braille_input()
    with torch.no_grad():
        hidden, output = Braille(tag)(torch.from_numpy(inputs))
    result = run_real(network, inputs)[0]
    assert hidden.sum() > 3_000
    assert np.array_equal(result.spikes["lif1.lif"], hidden.numpy())
    assert np.array_equal(result.spikes["lif2"], output.numpy())


@pytest.mark.parametrize("tag", BRAILLE)
def test_another_reset_would_be_noticed(tag: str) -> None:
    network, inputs = load_nir(braille_file(tag)), braille_input()
    with torch.no_grad():
        hidden, _ = Braille(tag)(torch.from_numpy(inputs))
    assert not np.array_equal(run_real(network, inputs)[0].spikes["lif1.lif"], hidden.numpy())


@pytest.mark.parametrize("tag", BRAILLE)
def test_the_subgraph_files_that_nir_rejects_are_the_same_networks(tag: str) -> None:
    import nir

    broken = case("nir_paper", "03_rnn", "extras", braille_file(tag).name.replace(".nir", "_subgraph.nir"))
    with pytest.raises(ValueError, match="does not exist"):
        nir.read(broken)
    repaired = load_nir(broken, semantics=braille_semantics(tag))
    assert [d.code for d in repaired.deviations].count("ND037") == 1
    plain, inputs = load_nir(braille_file(tag), semantics=braille_semantics(tag)), braille_input()[:, :20]
    ours, theirs = run_real(repaired, inputs)[0].spikes, run_real(plain, inputs)[0].spikes
    assert np.array_equal(ours["lif1.lif1"], theirs["lif1.lif"])
    assert np.array_equal(ours["lif2"], theirs["lif2"])


@pytest.mark.parametrize("tag", BRAILLE)
def test_compiled_braille_graphs_equal_lava(tag: str) -> None:
    """The engine and Lava's process models agree; where both differ from the source, roundings explain it."""
    inputs = braille_input()[:, :4]
    network = load_nir(braille_file(tag), semantics=braille_semantics(tag))
    model = pipeline.compile(network, "loihi2-sim", encoding=Encoding("rate", 256))
    samples = Samples("random spikes", inputs, None)
    _, against_lava = pipeline.verify(model, samples, against="lava-models")
    assert against_lava["equal"]
    _, against_source = pipeline.verify(model, samples, against="source")
    assert against_source["verified"]


# All files, and what becomes of them when they are damaged

FILES = {
    "nir_other/nirviz_srnn.nir": "ND039",
    "nir_other/norse_braille.nir": None,
    "nir_other/snntorch_lif.nir": None,
    "nir_paper/01_lif/debug_spike_representation/two_lif_neurons.nir": None,
    "nir_paper/01_lif/lif_norse.nir": None,
    "nir_paper/01_lif/lif_rockpool.nir": None,
    "nir_paper/02_cnn/cnn_sinabs.nir": None,
    "nir_paper/03_rnn/braille_noDelay_bias_zero.nir": None,
    "nir_paper/03_rnn/braille_noDelay_noBias_subtract.nir": None,
    "nir_paper/03_rnn/extras/braille_noDelay_bias_zero_subgraph.nir": None,
    "nir_paper/03_rnn/extras/braille_noDelay_noBias_subtract_subgraph.nir": None,
    "nir_paper/docs/source/examples/lava/network.net": "ND032",
}
"""Each file of the folder, and the code with which it is refused, if it is: random numbers, and a file of lava-dl's."""


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_loaded_or_refused_with_a_remedy(name: str) -> None:
    code = FILES[name]
    if code is None:
        assert load_nir(case(*name.split("/")), STEP_S).populations
        return
    with pytest.raises(NeurodeployError, match=code) as refusal:
        load_nir(case(*name.split("/")), STEP_S)
    assert all(finding.fix for finding in refusal.value.findings)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".nir") and "subgraph" not in name])
def test_every_parameter_is_as_nir_reads_it(name: str) -> None:
    import nir

    path = case(*name.split("/"))
    graph, expected = graph_of(hdf5.read(path), path.name), nir.read(path, type_check=False)
    assert set(graph.edges) == set(expected.edges)
    for key, node in expected.nodes.items():
        for field, value in graph.nodes[key].fields.items():
            assert np.array_equal(value, node.to_dict()[field])


def test_the_convolutional_network_folds_its_pools_and_compiles() -> None:
    model = pipeline.compile(load_nir(case("nir_paper", "02_cnn", "cnn_sinabs.nir")), "loihi2-sim", steps=10)
    assert [p.synapses.__class__.__name__ for p in model.program.projections].count("ConvSynapses") == 3


def test_the_convolutional_network_reads_real_digits() -> None:
    """20 recordings of N-MNIST; the paper's platforms reach 95 to 98 % of 10,000."""
    data("nmnist_real")
    network = load_nir(case("nir_paper", "02_cnn", "cnn_sinabs.nir"))
    samples = pipeline.read_data("nmnist", Encoding("frames", 100).to_plain(), network.input_node.shape, 20)
    assert samples.labels is not None
    assert np.sum(run_source(network, samples.inputs).predictions == samples.labels) >= 18


SINABS = {"reset": "subtract_at_once", "firing": "multiple", "floor": "minus_threshold"}
"""How the network was converted: sinabs' multi-spike neurons, which subtract, clamped at v >= -1, the threshold."""


def test_the_semantics_of_the_convolutional_network_are_inferred_and_survive_eight_bits() -> None:
    """On 100 real recordings: sinabs' own are chosen, at least 97 % right, at most 1 point less as compiled; two
    recordings on Lava's process models equal the engine in every spike and state."""
    data("nmnist_real")
    path = case("nir_paper", "02_cnn", "cnn_sinabs.nir")
    samples, encoding = inference.read_samples(path, "nmnist", None, None, 100)
    found = inference.infer(path, samples, encoding=encoding)
    assert found.chosen.settings == SINABS
    assert found.chosen.hits >= 97
    network = load_nir(path, semantics=found.chosen.settings)
    model = pipeline.compile(network, "loihi2-sim", encoding=encoding, calibration="nmnist")
    result = pipeline.run(model, samples)
    assert samples.labels is not None
    assert np.sum(result.predictions == samples.labels) >= found.chosen.hits - 1
    assert max(int(spikes.max()) for spikes in result.spikes.values()) > 1
    few = replace(samples, inputs=samples.inputs[:, :2], labels=samples.labels[:2])
    for authority in ("lava-models", "source"):
        assert pipeline.verify(model, few, against=authority)[1]["verified"]


def test_damaged_files_are_loaded_or_refused_and_nothing_else(tmp_path: Path, reader: hdf5.Reader) -> None:
    files = [case(*name.split("/")) for name in FILES if name.endswith(".nir")]
    loaded, refusals = 0, {}
    for number in MUTATIONS:
        target = tmp_path / "net.nir"
        done = mutated(files[number // len(DAMAGES) % len(files)], target, number)
        try:
            network_of(shaped(closed(graph_of(reader.read(target), "net.nir"))), STEP_S)
            loaded += 1
        except NeurodeployError as refusal:
            refusals[done] = refusal.findings
    assert [done for done, findings in refusals.items() if not all(finding.fix for finding in findings)] == []
    assert min(loaded, len(refusals)) > len(MUTATIONS) / 10
