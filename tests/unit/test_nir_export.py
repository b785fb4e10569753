"""Networks written as NIR graphs: the cases come back equal, changed files are told, what NIR lacks is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.engine.real import run_real
from neurodeploy.errors import BackendUnavailableError, LoadError, NeurodeployError, UnsupportedError, UsageError
from neurodeploy.exports.nir import export_nir, graph_of_network
from neurodeploy.frontends import hdf5, hdf5_worker, load
from neurodeploy.frontends.nir import load_nir, network_in
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import (
    LIF,
    Adaptation,
    Conv,
    Firing,
    Input,
    InputKind,
    Linear,
    MaxPool,
    Reset,
    Reshape,
    SparseLinear,
)
from tests.cases import case, data, model
from tests.nir_mutations import DAMAGES, mutated
from tests.property import test_nir_graphs
from tests.property.test_nir_export import differences, without_deviations

DT = 2.0**-10
STEP_S = 1e-4
"""Of the paper's single neuron, whose file does not say it."""
FILES = {
    "nir_other/norse_braille.nir": STEP_S,
    "nir_other/snntorch_lif.nir": STEP_S,
    "nir_paper/01_lif/lif_norse.nir": STEP_S,
    "nir_paper/01_lif/lif_rockpool.nir": None,
    "nir_paper/01_lif/debug_spike_representation/two_lif_neurons.nir": STEP_S,
    "nir_paper/02_cnn/cnn_sinabs.nir": None,
    "nir_paper/03_rnn/braille_noDelay_bias_zero.nir": None,
    "nir_paper/03_rnn/braille_noDelay_noBias_subtract.nir": None,
    "nir_paper/03_rnn/extras/braille_noDelay_bias_zero_subgraph.nir": None,
    "nir_paper/03_rnn/extras/braille_noDelay_noBias_subtract_subgraph.nir": None,
    "lava_dl/mnist_mlp/trained_mnist_network.net": None,
    "lava_dl/pilotnet_lif/network.net": None,
}
"""Networks of other tools, and the step of those that do not say it."""
MODELS = ("digits_mlp", "mnist_convnet", "mnist_mlp", "mnist_rows_rsnn")


def chain(*nodes: Any, shape: tuple[int, ...] = (3,), kind: InputKind = InputKind.SPIKES) -> Network:
    """Return the network of nodes in a row behind an input."""
    names = ["in", *(f"n{i}" for i in range(1, len(nodes) + 1))]
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    return Network(dict(zip(names, [Input(shape, kind), *nodes], strict=True)), edges, "in", names[-1], dt_s=DT)


def lif(*shape: int, **settings: Any) -> LIF:
    plain: dict[str, Any] = {"beta": np.array(0.5), "threshold": np.array(1.0), "reset": Reset.ZERO}
    return LIF(shape, **plain | settings)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A file with a weight in the graph and a beta beside it."""
    export_nir(chain(Linear(np.eye(3)), lif(3, beta=np.array(0.3))), tmp_path / "net.nir")
    return tmp_path / "net.nir"


def change(path: Path, place: str, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[place]
        file[place] = value


# Networks of others


@pytest.mark.parametrize("name", FILES)
def test_networks_of_other_tools_come_back_equal_and_nir_reads_them(tmp_path: Path, name: str) -> None:
    """Also the three that nir rejects as they are: what is exported is the repaired graph."""
    network = load(case(*name.split("/")), dt=FILES[name])
    export_nir(network, tmp_path / "net.nir")
    assert nir.read(tmp_path / "net.nir").nodes
    loaded = load(tmp_path / "net.nir")
    assert differences(without_deviations(network), without_deviations(loaded)) == []
    assert loaded.deviations[:-1] == network.deviations


@pytest.mark.parametrize("name", MODELS)
def test_trained_models_come_back_equal_and_the_graph_alone_fires_as_they_do(tmp_path: Path, name: str) -> None:
    """On real images, with the resets stated that the file without metadata does not hold."""
    network = load(model(name))
    path = tmp_path / "net.nir"
    export_nir(network, path)
    assert nir.read(path).nodes
    assert differences(without_deviations(network), without_deviations(load(path))) == []
    name, samples = ("digits", 20) if network.input_node.shape == (64,) else ("mnist", 5)
    if name == "mnist":
        data("mnist")
    inputs = pipeline.read_data(name, network.encoding, network.input_node.shape, samples).inputs
    (reset,) = {node.reset for node in network.populations.values()}
    with h5py.File(path, "r+") as file:
        del file["node/metadata"]
    alone = load_nir(path, network.dt_s, {"reset": reset.value})
    expected, actual = run_real(network, inputs)[0].spikes, run_real(alone, inputs)[0].spikes
    assert all(spikes.any() for spikes in expected.values())
    for population, spikes in expected.items():
        assert np.array_equal(spikes, actual[population]), population


# Files that were changed


def test_a_weight_changed_in_the_graph_is_the_networks_weight_and_is_told(exported: Path) -> None:
    change(exported, "node/nodes/n1/weight", 2 * np.eye(3))
    network = load_nir(exported)
    assert np.array_equal(network.nodes["n1"].weight, 2 * np.eye(3))  # type: ignore[union-attr]
    (told,) = network.deviations
    assert told.code == "ND163"
    assert "changed" in told.what


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("node/nodes/n2/tau", np.full(3, 7 * DT)),
        ("node/nodes/n1/weight", np.ones((3, 3), np.int64)),
        ("node/edges", np.array([("in", "n1"), ("n1", "n2"), ("n2", "n2"), ("n2", "output")], object)),
        ("node/metadata/neurodeploy/arrays/0", np.array(0.7)),
        ("node/metadata/neurodeploy/arrays/0", "no number"),
        ("node/metadata/neurodeploy/sha256", "0"),
        ("node/metadata/neurodeploy/text", '{"format": 1, "fields": {}, "arrays": {}}'),
        ("node/metadata/neurodeploy/text", "[" * 5000),
    ],
)
def test_metadata_that_does_not_fit_the_graph_is_left_out_and_that_is_told(
    exported: Path, place: str, value: Any
) -> None:
    change(exported, place, value)
    with pytest.raises(LoadError) as refusal:
        load_nir(exported)
    assert [finding.code for finding in refusal.value.findings] == ["ND038"]
    first, *_ = load_nir(exported, DT).deviations
    assert first.code == "ND163"
    assert "left out" in first.what


def test_settings_that_are_stated_are_of_the_graph_and_a_step_must_be_the_files(exported: Path) -> None:
    network = load_nir(exported, DT, {"reset": "subtract"})
    assert network.populations["n2"].reset is Reset.SUBTRACT
    assert "left out" in network.deviations[0].what
    assert load_nir(exported, DT).populations["n2"].reset is Reset.ZERO
    with pytest.raises(UsageError) as refusal:
        load_nir(exported, 2 * DT)
    assert refusal.value.findings[0].code == "ND028"


def test_damaged_exports_are_loaded_or_refused_and_nothing_else(tmp_path: Path, exported: Path) -> None:
    loaded, refusals = 0, []
    with hdf5.Reader() as reader:
        for number in range(40 * len(DAMAGES)):
            mutated(exported, tmp_path / "damaged.nir", number)
            try:
                network_in(reader.read(tmp_path / "damaged.nir"), "damaged.nir", None, None)
                loaded += 1
            except NeurodeployError as refusal:
                refusals.append(refusal)
    assert all(finding.fix for refusal in refusals for finding in refusal.findings)
    assert min(loaded, len(refusals)) > 40


# What is written


def test_exporting_again_says_the_same_once(tmp_path: Path, exported: Path) -> None:
    export_nir(load(exported), tmp_path / "again.nir")
    assert [each.code for each in load(tmp_path / "again.nir").deviations] == ["ND163"]


def test_a_kernel_that_nir_takes_for_square_needs_its_check_off_only_where_a_matrix_is_too_large(
    tmp_path: Path,
) -> None:
    """2 x 3: small as a matrix, which nir checks; large as it is, and told."""
    for size, checked in ((6, True), (80, False)):
        shape = (2, size, size)
        conv = Conv(np.ones((2, 2, 2, 3)), shape, (1, 1), (0, 0), (1, 1))
        network = chain(conv, lif(*conv.shape), shape=shape)
        told = export_nir(network, tmp_path / "net.nir")
        assert any("type_check=False" in each.what for each in told) is not checked
        assert nir.read(tmp_path / "net.nir", type_check=checked).nodes
        assert differences(network, without_deviations(load(tmp_path / "net.nir"))) == []


def test_an_image_that_enters_flat_enters_in_the_shape_its_convolution_reads(tmp_path: Path) -> None:
    conv = Conv(np.ones((2, 1, 3, 3)), (1, 6, 6), (1, 1), (0, 0), (1, 1))
    network = chain(Reshape((36,), (1, 6, 6)), conv, lif(2, 4, 4), shape=(36,))
    assert {each.code for each in export_nir(network, tmp_path / "net.nir")} == {"ND160", "ND162"}
    graph = nir.read(tmp_path / "net.nir")
    assert graph.nodes["in"].input_type["input"].tolist() == [1, 6, 6]
    assert isinstance(graph.nodes["n2"], nir.Conv2d)
    assert differences(network, without_deviations(load(tmp_path / "net.nir"))) == []


def test_what_nir_cannot_say_is_listed_with_its_place(tmp_path: Path) -> None:
    neuron = lif(
        3, reset=Reset.SUBTRACT, firing=Firing.REACHED, floor=np.array(-1.0), grid=0.25, beta=np.array([0.3, 1, -0.1])
    )
    network = replace(chain(Linear(np.eye(3)), neuron), encoding={"kind": "rate", "steps": 7, "seed": 0})
    told = export_nir(replace(network, origin={"n2": "mine"}), tmp_path / "net.nir")
    at = [each.what for each in told if each.code == "ND160" and each.place == "n2 <- mine"]
    for word in ("spike_count", "subtracts the threshold", "at the threshold", "below -1", "integers", "-0.1"):
        assert [line for line in at if word in line], word
    assert [each for each in told if each.place == "in" and "kind = rate, steps = 7" in each.what]
    (rounded,) = [each for each in told if each.code == "ND164" and each.what.startswith("beta")]
    assert rounded.bound == 2.0**-52


def test_the_nodes_that_nir_reads_fire_by_its_equations_as_the_network_does(tmp_path: Path) -> None:
    """Its own objects, in Euler steps: LIF, CubaLIF, IF and Threshold, each fed by the one before."""
    random = np.random.default_rng(3)
    neurons = [
        lif(6, beta=random.uniform(0.2, 0.9, 6), gain=np.array(0.7)),
        lif(6, alpha=random.uniform(0.2, 0.9, 6)),
        lif(6, beta=np.array(1.0), threshold=random.uniform(0.5, 2, 6)),
        lif(6, beta=np.array(0.0), reset=Reset.NONE, threshold=np.array(0.2)),
    ]
    maps = [Linear(random.normal(size=(6, 6)) + np.eye(6), random.normal(size=6) / 8) for _ in neurons]
    plain = chain(*(node for pair in zip(maps, neurons, strict=True) for node in pair), shape=(6,))
    network = replace(plain, dt_s=test_nir_graphs.DT)
    export_nir(network, tmp_path / "net.nir")
    nodes = nir.read(tmp_path / "net.nir").nodes
    inputs = (random.random((60, 4, 6)) < 0.5).astype(float)
    expected = run_real(network, inputs)[0].spikes
    v, current = ({name: np.zeros((4, 6)) for name in network.populations} for _ in range(2))
    fired = set()
    for t, x in enumerate(inputs):
        for name in (f"n{i}" for i in range(1, 9)):
            node = nodes[name]
            if isinstance(node, nir.Affine):
                x = x @ node.weight.T + node.bias
                continue
            x, v[name], current[name] = test_nir_graphs.step(node, x, v[name], current[name])
            assert np.array_equal(expected[name][t], x), (t, name)
            fired |= {(name, bool(s)) for s in np.unique(x)}
    assert len(fired) == 8
    assert [type(nodes[name]) for name in network.populations] == [nir.LIF, nir.CubaLIF, nir.IF, nir.Threshold]


@pytest.mark.parametrize("reset", Reset)
def test_a_membrane_that_keeps_nothing_is_a_threshold_if_its_reset_changes_nothing(reset: Reset) -> None:
    """That is, if it fires whenever its input exceeds the threshold, and at no other time."""
    network = chain(lif(3, beta=np.array(0.0), reset=reset))
    inputs = np.random.default_rng(0).uniform(0, 4, (40, 2, 3))
    memoryless = np.array_equal(run_real(network, inputs)[0].spikes["n1"], inputs > 1)
    kind = graph_of_network(network)[0].nodes["n1"].kind
    assert kind == ("Threshold" if memoryless else "LIF")


def test_weights_are_stored_once(exported: Path) -> None:
    with h5py.File(exported) as file:
        assert [array.shape for array in file["node/metadata/neurodeploy/arrays"].values()].count((3, 3)) == 0


# What is refused


def looping(*nodes: Any) -> Network:
    """Return a chain whose maps feed each other a step late, beside a population."""
    plain = chain(Linear(np.eye(3)), lif(3))
    more = {"a": Linear(np.eye(3)), "b": Linear(np.eye(3))}
    edges = (*plain.edges, Edge("a", "b", 1), Edge("b", "a"), Edge("b", "n2"))
    return replace(plain, nodes=plain.nodes | more, edges=edges)


def beyond_reach() -> Network:
    """Return a chain beside a population that only feeds itself."""
    plain = chain(Linear(np.eye(3)), lif(3))
    edges = (*plain.edges, Edge("alone", "own", 1), Edge("own", "alone"))
    return replace(plain, nodes=plain.nodes | {"alone": lif(3), "own": Linear(np.eye(3), np.ones(3))}, edges=edges)


def immense() -> Network:
    size = 5000
    each = np.arange(size + 1)
    scale = SparseLinear(np.ones(size), each[:-1], each, (size,), (size,), np.arange(size) / size)
    return chain(scale, lif(size), shape=(size,))


def pool(neuron: LIF) -> Network:
    return chain(neuron, MaxPool((1, 4, 4), (2, 2), (2, 2), (0, 0)), lif(1, 2, 2), shape=(1, 4, 4))


REFUSED: dict[str, tuple[Callable[[], Network], str]] = {
    "an adaptive threshold": (lambda: chain(lif(3, adaptation=Adaptation(np.array(0.9), np.array(0.1)))), "ND161"),
    "a membrane that grows": (lambda: chain(lif(3, beta=np.array(1.1))), "ND161"),
    "a current that grows": (lambda: chain(lif(3, alpha=np.array([0.5, 1.5, 0.5]))), "ND161"),
    "a loop without a neuron": (looping, "ND161"),
    "a population that no input reaches": (beyond_reach, "ND161"),
    "a bias for each of many neurons": (immense, "ND161"),
    "a maximum over counts": (lambda: pool(lif(1, 4, 4, firing=Firing.MULTIPLE)), "ND130"),
    "a maximum over currents": (
        lambda: chain(MaxPool((1, 4, 4), (2, 2), (2, 2), (0, 0)), lif(1, 2, 2), shape=(1, 4, 4), kind=InputKind.GRADED),
        "ND130",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_graph_can_stand_for_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    network, code = REFUSED[name][0](), REFUSED[name][1]
    with pytest.raises(UnsupportedError) as refusal:
        export_nir(network, tmp_path / "net.nir")
    assert {finding.code for finding in refusal.value.findings} == {code}
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_could_not_be_read_back_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_worker, "MOST_BYTES", 8 * 9)
    with pytest.raises(UnsupportedError) as refusal:
        export_nir(chain(Linear(np.eye(3)), lif(3)), tmp_path / "net.nir")
    assert refusal.value.findings[0].code == "ND161"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted before its last dataset, the old file is there as it was and nothing else is."""
    before = exported.read_bytes()
    create = h5py.Group.create_dataset

    def full(group: h5py.Group, name: str, *arguments: Any, **settings: Any) -> Any:
        if name == "edges":
            raise OSError(28, "No space left on device")
        return create(group, name, *arguments, **settings)

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(LoadError) as refusal:
        export_nir(chain(lif(3)), exported)
    assert refusal.value.findings[0].code == "ND001"
    assert list(tmp_path.iterdir()) == [exported]
    assert exported.read_bytes() == before


def test_without_h5py_the_way_to_install_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailableError) as refusal:
        export_nir(chain(lif(3)), tmp_path / "net.nir")
    assert refusal.value.findings[0].code == "ND031"
    assert "pip install h5py" in refusal.value.findings[0].fix
