"""A .net file's integers arrive as they are, and whatever would be lost on the way is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy
from neurodeploy import pipeline
from neurodeploy.engine.reference import run_reference
from neurodeploy.errors import BackendUnavailableError, LoadError, NeurodeployError, UnsupportedError
from neurodeploy.evaluation.fidelity import compare
from neurodeploy.ir.network import Network, Readout
from neurodeploy.ir.nodes import LIF, Conv, InputKind, Linear, Reset, SparseLinear

h5py = pytest.importorskip("h5py")

CUBA = {"type": b"CUBA", "iDecay": 1024, "vDecay": 512, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
MEMORYLESS = CUBA | {"iDecay": 4096}
"""A current of one step, so that biases may be there."""


def dense(weight: np.ndarray, neuron: dict | None = None, **more: Any) -> dict:
    neuron = CUBA if neuron is None else neuron
    return {"type": b"dense", "shape": [len(weight)], "weight": weight, "neuron": neuron, **more}


def conv(weight: np.ndarray, shape: list[int], **more: Any) -> dict:
    geometry = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return {"type": b"conv", "shape": shape, "weight": weight, "neuron": MEMORYLESS} | geometry | more


def write(path: Path, *layers: dict) -> str:
    """Write layers as lava-dl's export_hdf5 does."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for key, value in layer.items():
                group = file.require_group(f"layer/{number}")
                if key == "type":
                    group.create_dataset("type", (1,), "S10", [value])
                elif isinstance(value, dict):
                    for name, content in value.items():
                        group.create_dataset(f"{key}/{name}", data=content)
                else:
                    group.create_dataset(key, data=value)
    return str(path)


def even(seed: int, *shape: int, low: int = -126, high: int = 127) -> np.ndarray:
    return 2.0 * np.random.default_rng(seed).integers(low, high, shape).astype(np.float32)


def load(path: Path, *layers: dict, **options: Any) -> Network:
    return neurodeploy.load(write(path / "net.net", *layers), **options)


def compiled(path: Path, *layers: dict, **options: Any) -> Any:
    return pipeline.compile(write(path / "net.net", *layers), "loihi2-sim", **options).program


def test_every_integer_of_a_file_arrives(tmp_path: Path) -> None:
    """Weights, thresholds and decays of a two-layer network are those written, and nothing is recorded."""
    first, second = even(0, 5, 7), even(1, 3, 5)
    program = compiled(tmp_path, dense(first), dense(second, CUBA | {"vThMant": 131071, "vDecay": 0, "iDecay": 1}))
    assert program.deviations == ()
    for projection, weight in zip(program.projections, (first, second), strict=True):
        assert np.array_equal(2.0 ** (1 + projection.exponent) * projection.synapses.mantissa, weight)
    a, b = (population.loihi for population in program.populations)
    assert [(int(n.du), int(n.dv), int(n.vth)) for n in (a, b)] == [(1024, 512, 80), (1, 0, 131071)]
    assert [population.scale for population in program.populations] == [1.0, 1.0]
    assert {n.reset for n in (a, b)} == {Reset.ZERO}


def test_biases_are_shifted_as_netx_shifts_them(tmp_path: Path) -> None:
    """By six bits, whatever their size: the mantissas are the file's."""
    bias = np.array([4095, -1, 0])
    neuron = compiled(tmp_path, dense(even(0, 3, 4), MEMORYLESS, bias=bias)).populations[0].loihi
    assert (neuron.bias_mantissa.tolist(), neuron.bias_exponent, neuron.bias_in_current) == (bias.tolist(), 6, False)


@pytest.mark.parametrize(
    "weight",
    [
        np.array([[127, -127], [1, 0]]),
        np.array([[-256, 254], [2, 0]]),
        np.array([[-256, -254], [-2, 0]]),
        np.array([[3, 1], [2, 0]]),
        np.zeros((2, 2)),
        np.array([[64]]),
    ],
)
def test_weights_that_netx_keeps_are_kept(tmp_path: Path, weight: np.ndarray) -> None:
    """Odd ones up to 127 and even ones from -256 to 254 survive the way through mantissa and exponent."""
    (projection,) = compiled(tmp_path, dense(weight)).projections
    content = projection.synapses
    mantissa = content.mantissa if content.mantissa.ndim == 2 else written_out(content, weight.shape)
    assert np.array_equal(2.0 ** (1 + projection.exponent) * mantissa, weight)


def written_out(content: Any, shape: tuple[int, ...]) -> np.ndarray:
    matrix = np.zeros(shape)
    rows = np.repeat(np.arange(shape[0]), np.diff(content.indptr))
    matrix[rows, content.indices] = content.mantissa
    return matrix


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (dense(np.array([[129, -2]])), "weights"),
        (dense(np.array([[255, 256]])), "weights"),
        (conv(np.full((1, 1, 1, 1), 3.0), [1, 2, 2]), "weights"),
        (dense(np.eye(2), CUBA | {"vThMant": (1 << 18) - 1}), "threshold"),
        (dense(np.eye(2), CUBA | {"iDecay": 0}), "current decay"),
        (dense(np.eye(2), CUBA | {"vDecay": 4096}), "membrane decay"),
        (dense(np.eye(2), MEMORYLESS, bias=np.array([5000, 0])), "bias"),
    ],
)
def test_integers_that_loihi_does_not_have_are_refused(tmp_path: Path, layer: dict, says: str) -> None:
    with pytest.raises(UnsupportedError, match=f"(?s)ND215.*{says}"):
        compiled(tmp_path, layer, example_shape=(1, 2, 2) if layer["type"] == b"conv" else None)


def test_weights_of_both_signs_are_clipped_as_netx_clips_only_when_allowed(tmp_path: Path) -> None:
    """netx clips to [-256, 254] if both signs occur; a layer and its recurrence are clipped together."""
    layer = dense(np.array([[300, 2], [4, 6]])) | {"type": b"dense_rec", "weight_rec": np.array([[0, -400], [8, 0]])}
    with pytest.raises(UnsupportedError, match="ND048"):
        compiled(tmp_path, layer)
    program = compiled(tmp_path, layer, allow={"ND048"})
    assert [d.code for d in program.deviations] == ["ND048"]
    forward, back = (next(p for p in program.projections if p.recurrent is late) for late in (False, True))
    assert (2.0 ** (1 + forward.exponent) * forward.synapses.mantissa).tolist() == [[254, 2], [4, 6]]
    assert back.source == back.target


def test_a_recurrent_layer_reads_itself_a_step_later(tmp_path: Path) -> None:
    layer = dense(even(0, 4, 3)) | {"type": b"dense_rec", "weight_rec": even(1, 4, 4)}
    network = load(tmp_path, layer)
    assert [(edge.source, edge.target, edge.delay_steps) for edge in network.edges if edge.delay_steps] == [
        ("0", "0.recurrent", 1)
    ]


def test_pictures_are_channel_y_x(tmp_path: Path) -> None:
    """Kernels, strides and paddings are (y, x), and flatten counts channels first, as netx reads them."""
    kernel = even(0, 4, 2, 3, 5)
    layers = (
        {"type": b"input", "shape": [2, 6, 9]},
        conv(kernel[..., None], [4, 3, 3], stride=[2, 3], padding=[1, 1], bias=np.array([2, 0, -4, 6])),
        {"type": b"flatten", "shape": [36, 1, 1]},
        dense(even(1, 3, 36)),
    )
    network = load(tmp_path, *layers)
    node = network.nodes["1.synapse"]
    assert isinstance(node, Conv)
    assert np.array_equal(node.weight, kernel)
    assert (node.stride, node.padding, node.shape) == ((2, 3), (1, 1), (4, 3, 3))
    assert node.bias is not None
    assert node.bias.tolist() == [2, 0, -4, 6]
    assert network.nodes["3"].shape == (3,)


def test_values_enter_through_the_bias(tmp_path: Path) -> None:
    """Input x becomes weight x + bias: what enters is rounded to the inverse of the weight, and that is recorded."""
    network = load(tmp_path, {"type": b"input", "shape": [2], "weight": 40.0, "bias": [36.0], "neuron": CUBA})
    entry, lif = network.nodes["0.synapse"], network.populations["0"]
    assert isinstance(entry, SparseLinear)
    assert (entry.data.tolist(), entry.bias.tolist() if entry.bias is not None else None) == ([40, 40], [36, 36])
    assert lif.alpha is None
    assert network.input_node.kind is InputKind.GRADED
    program = pipeline.compile(network, "loihi2-sim").program
    assert [(d.code, d.bound) for d in program.deviations] == [("ND205", 1 / 80)]
    payload = np.array([[[-1.0, 0.025]], [[0.5, 1.0]]])
    result = pipeline.run(
        pipeline.compile(network, "loihi2-sim"), pipeline.Samples("x", payload, None), record_states=True
    )
    assert (result.currents["0"][:, 0] / 64).tolist() == [[-40, 1], [20, 40]]


def test_pools_are_sums_over_windows_that_tile(tmp_path: Path) -> None:
    pool = {"type": b"pool", "shape": [2, 2, 2], "weight": np.full((1, 1, 2, 2), 22.0), "neuron": MEMORYLESS}
    pool |= {"stride": [2, 2], "padding": [0, 0], "dilation": [1, 1]}
    node = load(tmp_path, pool, example_shape=(2, 4, 4)).nodes["0.synapse"]
    assert isinstance(node, Conv)
    assert (node.weight == 22).all()
    assert (node.groups, node.weight.shape) == (2, (2, 1, 2, 2))
    with pytest.raises(UnsupportedError, match="ND046"):
        load(tmp_path, pool | {"stride": [1, 1], "shape": [2, 3, 3]}, example_shape=(2, 4, 4))


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([dense(np.eye(2), CUBA | {"type": b"RF_PHASE"})], "RF_PHASE"),
        ([dense(np.eye(2), {})], "no neurons"),
        ([dense(np.eye(2)), {"type": b"average", "shape": [2]}, dense(np.eye(2))], "average before other blocks"),
        ([dense(np.eye(2)), {"type": b"unpool", "shape": [2]}], "unpool"),
        ([dense(np.eye(2), CUBA | {"refDelay": 3})], "refDelay 3"),
        ([dense(np.eye(2), CUBA | {"gradedSpike": True})], "gradedSpike 1"),
        ([dense(np.eye(2), CUBA | {"weight_exp": 2})], "weight_exp 2"),
        ([dense(np.eye(2), surprise=np.eye(2))], "surprise"),
        ([dense(np.eye(2), delay=np.array([0.0, 3.0]))], "ND049.*last layer"),
        ([dense(np.eye(2), delay=np.array([2.0, 2.0]))], "ND049.*last layer"),
        ([dense(np.eye(2), MEMORYLESS, bias=np.ones(2), delay=np.ones(2))], "ND049.*with biases"),
        ([dense(np.eye(2)) | {"type": b"dense_rec", "weight_rec": np.eye(2), "delay": np.ones(2)}], "ND049"),
        ([dense(np.eye(2)), conv(np.ones((1, 1, 1, 1)), [1, 2, 1], delay=np.ones(1))], "ND049.*conv"),
        ([dense({"real": np.eye(2), "imag": np.eye(2)})], "weight/imag"),  # type: ignore[arg-type]
    ],
)
def test_what_would_be_lost_is_refused(tmp_path: Path, layers: list[dict], says: str) -> None:
    with pytest.raises(UnsupportedError, match=f"(?s){says}"):
        load(tmp_path, *layers)


SDNN = {"type": b"SDNN", "activation": b"relu", "vThMant": 6}
SUM = SDNN | {"sigma_output": True}
ENTRY = {"type": b"input", "shape": [2], "neuron": SDNN}


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([dense(np.eye(2), SDNN)], "ND046.*no block in which values enter"),
        ([{"type": b"input", "shape": [2]}, dense(np.eye(2), SDNN)], "ND046.*no block in which values enter"),
        ([ENTRY, dense(np.eye(2))], "ND046.*CUBA among sigma-delta"),
        ([ENTRY, dense(np.eye(2), SUM), dense(np.eye(2), SDNN)], "ND046.*an Output block before others"),
        ([ENTRY, dense(np.eye(2), SUM, bias=np.ones(2))], "ND046.*biases of an Output block"),
        ([ENTRY, dense(np.eye(2), SDNN), {"type": b"average", "shape": [1]}], "ND046.*an average of sigma-delta"),
        ([ENTRY, dense(np.eye(2), SDNN | {"activation": b"tanh"})], "ND046.*activation tanh"),
        ([ENTRY, dense(np.eye(2), SDNN | {"messageBits": 8})], "ND046.*messageBits 8"),
        ([ENTRY, dense(np.eye(2), SDNN | {"iDecay": 8})], "ND046.*neuron/iDecay"),
        ([ENTRY, dense(np.eye(2), SDNN, delay=np.ones(2))], "ND049.*single spikes"),
        ([ENTRY, dense(np.eye(2), SDNN) | {"type": b"dense_rec", "weight_rec": np.eye(2)}], "ND046.*read themselves"),
    ],
)
def test_sigma_delta_networks_that_would_be_changed_are_refused(tmp_path: Path, layers: list[dict], says: str) -> None:
    with pytest.raises(UnsupportedError, match=f"(?s){says}"):
        load(tmp_path, *layers)


def test_every_integer_of_a_sigma_delta_file_arrives(tmp_path: Path) -> None:
    """Thresholds and biases shifted by twelve as netx shifts them, weights as they are, the decision is the sum's."""
    weights, bias = even(0, 3, 2), np.array([5, -200, 0])
    layers = (ENTRY | {"weight": 32, "bias": -8}, dense(weights, SDNN, bias=bias), dense(even(1, 2, 3), SUM))
    network = load(tmp_path, *layers)
    assert network.readout is Readout.MEMBRANE_SUM
    program = compiled(tmp_path, *layers)
    entry, hidden, _ = (population.loihi for population in program.populations)
    assert program.input.scale == 1 / 32
    for neuron, shift in ((entry, 12), (hidden, 0)):
        assert (int(neuron.vth) << 6, neuron.activation_shift) == (6 << 12, shift)
    assert (entry.bias_mantissa << entry.bias_exponent).tolist() == [-8 << 12] * 2
    assert (hidden.bias_mantissa << hidden.bias_exponent).tolist() == (bias << 12).tolist()
    projection = program.incoming("1")[0]
    assert np.array_equal(2.0 ** (1 + projection.exponent) * projection.synapses.mantissa, weights)  # type: ignore[union-attr]


def test_a_file_that_ends_in_changes_is_decided_by_the_value_at_the_end(tmp_path: Path) -> None:
    """The second neuron ends higher; the first was higher for longer."""
    model = pipeline.compile(
        write(tmp_path / "net.net", ENTRY, dense(64 * np.eye(2), SDNN)), "loihi2-sim", allow={"ND210"}
    )
    assert model.program.readout is Readout.LAST_VALUE
    x = np.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [0.5, 1.0]])[:, None]
    result = pipeline.run(model, pipeline.Samples("by hand", x, None))
    assert result.predictions.tolist() == [1]
    assert (result.spikes["1"].sum(axis=0) * model.program.payload("1")).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize(("target", "code"), [("loihi1-sim", "ND148"), ("spinnaker1", "ND157")])
def test_chips_whose_spikes_carry_no_number_are_refused(tmp_path: Path, target: str, code: str) -> None:
    path = write(tmp_path / "net.net", ENTRY, dense(64 * np.eye(2), SDNN), dense(even(1, 2, 2), SUM))
    with pytest.raises(UnsupportedError, match=code):
        pipeline.compile(path, target)


def test_states_that_calibration_data_fill_by_half_are_recorded(tmp_path: Path) -> None:
    """32 is where they end: values that reach 8 are far enough from there, values that reach 24 are not."""
    path = write(tmp_path / "net.net", ENTRY, dense(128 * np.eye(2), SDNN), dense(254 * np.eye(2), SUM))
    for largest, recorded in ((1.0, []), (3.0, ["2"])):
        np.savez(tmp_path / "data.npz", inputs=np.full((4, 1, 2), largest))
        model = pipeline.compile(path, "loihi2-sim", calibration=tmp_path / "data.npz")
        places = [each.place.split()[0] for each in model.program.deviations if each.code == "ND210"]
        assert places == recorded


def test_all_that_would_be_lost_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as refusal:
        load(
            tmp_path, dense(np.eye(2), CUBA | {"type": b"ALIF"}), dense(np.eye(2), CUBA | {"refDelay": 2, "wgtExp": 1})
        )
    assert len(refusal.value.findings) == 3


def test_zero_delays_are_none(tmp_path: Path) -> None:
    assert isinstance(load(tmp_path, dense(np.eye(2), delay=np.zeros(2))).nodes["0.synapse"], Linear)


@pytest.mark.parametrize("delays", [[3, 0, 1, 0, 7], [2, 2, 2, 2, 2], [2], [0, 0, 0, 0, 62]], ids=str)
def test_spikes_wait_for_the_delay_of_their_neuron(tmp_path: Path, delays: list[int]) -> None:
    """A layer that keeps no current reads W s, with each s as many steps old as its neuron's delay."""
    weight = even(1, 3, 5)
    layers = dense(even(0, 5, 7), delay=np.array(delays, np.float32)), dense(weight, CUBA | {"iDecay": 4096})
    model = pipeline.compile(write(tmp_path / "net.net", *layers), "loihi2-sim")
    assert model.program.deviations == ()
    assert model.program.latency_steps == 2
    spikes = (np.random.default_rng(2).random((80, 3, 7)) < 0.4).astype(np.uint8)
    ours = pipeline.run(model, pipeline.Samples("random", spikes, None), record_states=True)
    sent = ours.spikes["0"].astype(np.int64)
    for neuron, delay in enumerate(np.broadcast_to(delays, 5)):
        sent[:, :, neuron] = np.roll(sent[:, :, neuron], delay, axis=0)
        sent[:delay, :, neuron] = 0
    assert sent.any(axis=(0, 1)).all()
    assert np.array_equal(ours.currents["1"], 64 * sent @ weight.astype(np.int64).T)
    assert ours.executor == "engine (numba)"
    assert compare(model.program, run_reference(model.program, spikes), ours).equal


@pytest.mark.parametrize(
    ("layers", "code"),
    [
        ([dense(np.eye(2)), dense(np.eye(3))], "ND047"),
        ([dense(np.eye(2), delay=np.ones(3)), dense(np.eye(2))], "ND047"),
        ([dense(np.eye(2), delay=np.array([0, 63])), dense(np.eye(2))], "ND047"),
        ([dense(np.eye(2), delay=np.array([0, -1])), dense(np.eye(2))], "ND047"),
        ([{"type": b"input", "shape": [1, 4, 4]}, dense(np.ones((2, 16)))], "ND047"),
        ([{"type": b"input", "shape": [3]}], "ND047"),
        ([{"type": b"input", "shape": [0]}, dense(np.eye(2))], "ND047"),
        ([{"type": b"input", "shape": np.zeros(0, np.int64)}, dense(np.eye(2))], "ND047"),
        ([{"type": b"input", "shape": [1 << 30, 1 << 30, 3], "neuron": CUBA}], "ND047"),
        ([dense(np.eye(2)), {"type": b"input", "shape": [2]}], "ND047"),
        ([conv(np.ones((1, 1, 3, 3)), [1, 2, 2])], "ND047"),
        ([{"type": b"input", "shape": [1, 4, 4]}, conv(np.ones((1, 1, 3, 3)), [1, 3, 2])], "ND047"),
        ([{"type": b"input", "shape": [1, 2, 2]}, conv(np.ones((1, 1, 3, 3)), [1, 1, 1])], "ND047"),
        ([{"type": b"input", "shape": [1, 4, 4]}, conv(np.ones((1, 2, 3, 3)), [1, 2, 2])], "ND047"),
        ([{"type": b"input", "shape": [1, 4, 4]}, conv(np.ones((1, 1, 3, 3)), [1, 2, 2], groups=0)], "ND047"),
        ([{"type": b"input", "shape": [1, 4, 4]}, conv(np.ones((1, 1, 3, 3)), [1, 2, 2], stride=[0, 1])], "ND045"),
        ([{"type": b"input", "shape": [1, 4, 4]}, conv(np.ones((1, 1, 3, 3)), [1, 2, 2], stride=[])], "ND045"),
        ([dense(np.eye(2), MEMORYLESS, bias=np.ones(3))], "ND047"),
        ([dense(np.eye(2) / 3)], "ND045"),
        ([dense(np.full((2, 2), np.nan))], "ND045"),
        ([dense(np.full((2, 2), 1e30))], "ND045"),
        ([dense(np.eye(2)) | {"shape": b"two"}], "ND045"),
        ([dense(np.eye(2), CUBA | {"type": [1, 2]})], "ND045"),
        ([dense(np.eye(2)) | {"shape": [-2]}], "ND047"),
        ([dense(np.zeros((0, 2)))], "ND047"),
        ([dense(np.eye(2), {k: v for k, v in CUBA.items() if k != "vThMant"})], "ND045"),
        ([{k: v for k, v in dense(np.eye(2)).items() if k != "type"}], "ND045"),
        ([dense(np.eye(2)) | {"type": b"dense_rec", "weight_rec": np.ones((2, 3))}], "ND047"),
        ([dense(np.eye(2)) | {"type": b"dense_rec"}], "ND045"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path: Path, layers: list[dict], code: str) -> None:
    with pytest.raises(LoadError, match=code):
        load(tmp_path, *layers)


def test_the_shape_of_the_input_may_be_said_and_not_contradicted(tmp_path: Path) -> None:
    kernel = conv(np.full((1, 2, 3, 3), 2.0), [1, 2, 2])
    assert load(tmp_path, kernel, example_shape=(2, 4, 4)).input_node.shape == (2, 4, 4)
    with pytest.raises(LoadError, match="not \\(5,\\)"):
        load(tmp_path, dense(np.eye(2)), example_shape=(5,))


def other_hdf5(file: Any) -> None:
    file["node"] = 1


def nothing(file: Any) -> None:
    """An empty file."""


def gap_in_layers(file: Any) -> None:
    file.create_group("layer/0")
    file.create_group("layer/2")


def external_link(file: Any) -> None:
    file.create_group("layer/0")
    file["layer/0/type"] = h5py.ExternalLink("/etc/hostname", "/x")


def external_storage(file: Any) -> None:
    file.create_group("layer/0").create_dataset("weight", (1,), "u1", external=[("/etc/hostname", 0, 1)])


def soft_loop(file: Any) -> None:
    file["layer"] = h5py.SoftLink("/layer")


def enormous(file: Any) -> None:
    group = file.create_group("layer/0")
    group.create_dataset("type", (1,), "S10", [b"dense"])
    group.create_dataset("weight", (1 << 40, 1 << 10), "f4", chunks=(64, 64))


def much_in_all(file: Any) -> None:
    """Each array would fit the file, and all together would not."""
    for number in range(9):
        group = file.create_group(f"layer/{number}")
        group.create_dataset("type", (1,), "S10", [b"dense"])
        group.create_dataset("weight", (10_000,), "u1", chunks=(10_000,))


def no_group(file: Any) -> None:
    file["layer/0"] = 3


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (other_hdf5, "ND032", "no NIR graph"),
        (nothing, "ND032", "no NIR graph"),
        (gap_in_layers, "ND045", "not numbered from 0"),
        (external_link, "ND045", "a link that leads elsewhere"),
        (external_storage, "ND045", "in another file"),
        (soft_loop, "ND045", "no layers"),
        (enormous, "ND033", "declares 4,503,599,627,370,496 bytes"),
        (much_in_all, "ND033", "declares"),
        (no_group, "ND045", "not numbered from 0"),
    ],
)
def test_other_hdf5_is_refused(tmp_path: Path, content: Callable[[Any], None], code: str, says: str) -> None:
    with h5py.File(tmp_path / "net.net", "w") as file:
        content(file)
    with pytest.raises(LoadError, match=f"{code}(?s:.*){says}"):
        neurodeploy.load(tmp_path / "net.net")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Cut off anywhere, or with bytes changed, a file loads or is refused; nothing else happens."""
    good = Path(write(tmp_path / "good.net", dense(even(0, 3, 4)), dense(even(1, 2, 3)))).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [good[:length] for length in range(8, len(good), len(good) // 8)]
    for _ in range(20):
        content = np.frombuffer(good, np.uint8).copy()
        content[rng.integers(8, len(good), 30)] = rng.integers(0, 256, 30)
        damaged.append(content.tobytes())
    refused = 0
    for content in damaged:
        (tmp_path / "bad.net").write_bytes(content)
        try:
            neurodeploy.load(tmp_path / "bad.net")
        except NeurodeployError:
            refused += 1
    assert refused > 10


def test_h5py_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "net.net", dense(np.eye(2)))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(BackendUnavailableError, match=r"ND031(?s:.*)pip install h5py"):
        neurodeploy.load(path)


def test_neurons_are_named_after_their_layer(tmp_path: Path) -> None:
    network = load(tmp_path, dense(np.eye(2)))
    assert network.place("0") == '0 <- lava-dl dense "layer/0"'
    assert isinstance(network.nodes["0"], LIF)
