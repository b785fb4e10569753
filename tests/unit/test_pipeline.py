"""What the pipeline adds to its rooms: data by name or file, encodings, calibration, substitutions, certificates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import datasets, pipeline
from neurodeploy.engine import fast
from neurodeploy.errors import Change, Deviation, UnsupportedError, UsageError
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset


def network(kind: InputKind = InputKind.SPIKES, shape: tuple[int, ...] = (64,), **more) -> Network:
    rng = np.random.default_rng(0)
    return Network(
        {
            "in": Input(shape, kind),
            "fc": Linear(rng.normal(size=(10, int(np.prod(shape))))),
            "lif": LIF((10,), np.array(0.9), np.array(1.0), Reset.ZERO),
        },
        (Edge("in", "fc"), Edge("fc", "lif")),
        "in",
        "lif",
        **more,
    )


def test_an_npz_is_cut_by_limit_and_reshaped_to_the_model(tmp_path: Path) -> None:
    """(5, 7, 64) feeds an 8 x 8 input; labels are cut along."""
    inputs = (np.random.default_rng(0).random((5, 7, 64)) < 0.5).astype(np.uint8)
    np.savez(tmp_path / "x.npz", inputs=inputs, labels=np.arange(7))
    samples = pipeline.read_data(tmp_path / "x.npz", None, (1, 8, 8), 3)
    np.testing.assert_array_equal(samples.inputs, inputs[:, :3].reshape(5, 3, 1, 8, 8))
    np.testing.assert_array_equal(samples.labels, [0, 1, 2])


def test_data_of_another_size_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", inputs=np.zeros((5, 7, 63), np.uint8))
    with pytest.raises(UsageError, match="ND403"):
        pipeline.read_data(tmp_path / "x.npz", None, (64,))


def test_axes_in_another_order_are_refused(tmp_path: Path) -> None:
    """(y, x, channel) has as many values as (channel, y, x), and other ones in each place; lone axes do not matter."""
    for name, shape in (("hwc", (5, 3, 4, 4, 2)), ("chw", (5, 3, 2, 4, 4)), ("ones", (5, 3, 1, 2, 4, 4))):
        np.savez(tmp_path / f"{name}.npz", inputs=np.zeros(shape, np.uint8))
    with pytest.raises(UsageError, match="ND403"):
        pipeline.read_data(tmp_path / "hwc.npz", None, (2, 4, 4))
    for name in ("chw", "ones"):
        assert pipeline.read_data(tmp_path / f"{name}.npz", None, (2, 4, 4)).inputs.shape == (5, 3, 2, 4, 4)


def test_values_off_the_recorded_grid_are_refused_until_calibrated(tmp_path: Path) -> None:
    """Saved with 0, 1/2 and 1 only: quarters are not rounded to halves in silence, and calibration makes room."""
    inputs = np.random.default_rng(0).integers(0, 5, (6, 9, 64)) / 4
    np.savez(tmp_path / "x.npz", inputs=inputs)
    net = network(InputKind.GRADED)
    net = replace(net, nodes=net.nodes | {"in": replace(net.input_node, levels=2)})
    samples = pipeline.read_data(tmp_path / "x.npz", None, (64,))
    with pytest.raises(UnsupportedError, match="ND222"):
        pipeline.run(pipeline.compile(net, "loihi2-sim"), samples)
    model = pipeline.compile(net, "loihi2-sim", calibration=tmp_path / "x.npz")
    assert model.program.input.high == 4
    assert pipeline.run(model, samples).spikes["lif"].any()
    np.savez(tmp_path / "y.npz", inputs=np.random.default_rng(0).random((6, 9, 64)))
    model = pipeline.compile(net, "loihi2-sim", calibration=tmp_path / "y.npz")
    assert "ND205" in {deviation.code for deviation in model.program.deviations}


def test_an_encoding_of_currents_makes_the_input_graded() -> None:
    """What the user says about the input replaces what a random example suggested."""
    encoding = datasets.Encoding("direct", 7)
    model = pipeline.compile(network(), "loihi2-sim", encoding=encoding)
    assert (model.program.input.kind, model.program.encoding) == (InputKind.GRADED, encoding.to_plain())
    samples = pipeline.read_data("digits", model.program.encoding, (64,), 5)
    assert pipeline.run(model, samples).spikes["lif"].shape == (7, 5, 10)


def test_images_without_an_encoding_are_refused_and_steps_gives_the_plainest() -> None:
    """No encoding is invented: --steps asks for one, rate for spikes and direct for currents."""
    model = pipeline.compile(network(), "loihi2-sim")
    with pytest.raises(UsageError, match="ND402"):
        pipeline.read_data("digits", model.program.encoding, (64,))
    for kind, name in ((InputKind.SPIKES, "rate"), (InputKind.GRADED, "direct")):
        encoding = pipeline.compile(network(kind), "loihi2-sim", steps=9).program.encoding
        assert (encoding["kind"], encoding["steps"]) == (name, 9)
    samples = pipeline.read_data("digits", encoding, (64,), 4)
    assert samples.inputs.shape == (9, 4, 64)


def test_steps_overrides_the_length_of_a_recorded_encoding() -> None:
    recorded = network(encoding={"kind": "rate", "steps": 25, "seed": 3})
    encoding = pipeline.compile(recorded, "loihi2-sim", steps=9).program.encoding
    assert encoding == {"kind": "rate", "steps": 9, "seed": 3}


def test_calibration_widens_the_input_it_sees(tmp_path: Path) -> None:
    """Currents of up to 3 where the example had at most 1 are no longer refused."""
    inputs = np.random.default_rng(0).uniform(-1, 3, (6, 9, 64))
    np.savez(tmp_path / "x.npz", inputs=inputs)
    net = network(InputKind.GRADED)
    samples = pipeline.read_data(tmp_path / "x.npz", None, (64,))
    with pytest.raises(UnsupportedError, match="ND221"):
        pipeline.run(pipeline.compile(net, "loihi2-sim"), samples)
    model = pipeline.compile(net, "loihi2-sim", calibration=tmp_path / "x.npz")
    assert pipeline.run(model, samples).spikes["lif"].any()


def test_currents_as_calibration_turn_a_spiking_input_into_a_graded_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", inputs=np.random.default_rng(0).uniform(0, 1, (6, 9, 64)))
    model = pipeline.compile(network(), "loihi2-sim", calibration=tmp_path / "x.npz")
    assert model.program.input.kind is InputKind.GRADED


def test_a_substitution_must_be_allowed_by_name_and_is_stamped() -> None:
    """Refused without --allow, kept on the artefact with it."""
    note = Deviation("ND020", "net", "wiring inferred", Change.SUBSTITUTION)
    with pytest.raises(UnsupportedError, match="ND020"):
        pipeline.compile(network(deviations=(note,)), "loihi2-sim")
    model = pipeline.compile(network(deviations=(note,)), "loihi2-sim", allow=("ND020",))
    assert note in model.program.deviations


def test_large_batches_are_run_in_chunks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of two samples give what one run gives, in the same order."""
    model = pipeline.compile(network(), "loihi2-sim")
    x = (np.random.default_rng(0).random((6, 11, 64)) < 0.3).astype(np.uint8)
    samples = pipeline.Samples("x", x, None)
    whole = pipeline.run(model, samples, record_states=True)
    monkeypatch.setattr(fast, "CHUNK_BYTES", 2 * 4 * 6 * 10)
    done = []
    parts = pipeline.run(model, samples, record_states=True, progress=lambda n, total: done.append((n, total)))
    assert done == [(n, 11) for n in (2, 4, 6, 8, 10, 11)]
    for quantity in ("spikes", "currents", "voltages"):
        np.testing.assert_array_equal(getattr(parts, quantity)["lif"], getattr(whole, quantity)["lif"])
    np.testing.assert_array_equal(parts.predictions, whole.predictions)


def test_a_certificate_says_what_was_compared_on_which_input() -> None:
    model = pipeline.compile(network(), "loihi2-sim")
    x = (np.random.default_rng(0).random((6, 3, 64)) < 0.3).astype(np.uint8)
    certified, certificate = pipeline.verify(model, pipeline.Samples("mine", x, None), against="engine")
    assert certificate["equal"]
    assert certificate["program"] == model.fingerprint
    assert certificate["compared"] == {"lif": dict.fromkeys(("spikes", "currents", "voltages"), 6 * 3 * 10)}
    assert (certificate["input"]["name"], certificate["input"]["steps"], certificate["input"]["samples"]) == (
        "mine",
        6,
        3,
    )
    assert certified.certificates == (certificate,)
    assert pipeline.verification_error(certificate) is None


def test_unknown_names_are_usage_errors() -> None:
    model = pipeline.compile(network(), "loihi2-sim")
    samples = pipeline.Samples("x", np.zeros((2, 1, 64), np.uint8), None)
    with pytest.raises(UsageError, match="ND401"):
        pipeline.run(model, samples, on="abacus")
    with pytest.raises(UsageError, match="ND401"):
        pipeline.verify(model, samples, against="hearsay")


def test_without_labels_there_is_no_accuracy() -> None:
    """Absent is not zero."""
    model = pipeline.compile(network(), "loihi2-sim")
    samples = pipeline.Samples("x", np.zeros((2, 3, 64), np.uint8), None)
    assert pipeline.evaluate(model, samples, pipeline.run(model, samples)).accuracy is None
    labeled = replace(samples, labels=np.array([0, 1, 0]))
    assert pipeline.evaluate(model, labeled, pipeline.run(model, labeled)).accuracy == pytest.approx(2 / 3)


def test_labels_that_are_no_outputs_are_refused() -> None:
    """Labels counted from 1 would score nothing, and say so."""
    model = pipeline.compile(network(), "loihi2-sim")
    samples = pipeline.Samples("x", np.zeros((2, 3, 64), np.uint8), np.array([1, 5, 10]))
    with pytest.raises(UsageError, match="ND412"):
        pipeline.evaluate(model, samples, pipeline.run(model, samples))
