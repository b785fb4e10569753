"""sPyNNaker's own data, from its virtual board: our estimate is its plan, and every weight arrives as it is."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy import cli, pipeline, summary
from neurodeploy.artifact import CompiledModel, save_artifact
from neurodeploy.backends.spinnaker.connections import connections_of
from neurodeploy.backends.spinnaker.mapper import rows_of
from neurodeploy.backends.spinnaker.mapping import VIRTUAL, map_onto
from neurodeploy.engine.cells import run_cells
from neurodeploy.errors import (
    BackendFailedError,
    BackendUnavailableError,
    CapacityError,
    UnsupportedError,
    UsageError,
)
from neurodeploy.evaluation import activity, energy
from neurodeploy.hardware import load_profile
from neurodeploy.ir.network import Network
from tests.spinnaker_networks import STEPS, convolutional, dense, planar, spikes

NETWORKS = {
    "784-128-10": dense(784, 128, 10, bias=True),
    "recurrent, two cores": dense(100, 300, 10, alpha=0.75, bias=True, recurrent=True),
    "sparse": dense(300, 260, 10, density=0.05),
    "convolution": convolutional(),
    "odd sizes": dense(30, 7, 1, bias=True),
    "planes": planar(),
}
needs_spynnaker = pytest.mark.skipif(find_spec("spynnaker") is None, reason="sPyNNaker is not installed")


def compiled(network: Network) -> CompiledModel:
    return pipeline.compile(network, "spinnaker1")


@pytest.fixture(scope="module", params=NETWORKS)
def mapped(request: pytest.FixtureRequest) -> tuple[CompiledModel, dict[str, Any], dict[str, int]]:
    """Return a compiled network, sPyNNaker's report on it, and the spikes that were counted for it."""
    if find_spec("spynnaker") is None:
        pytest.skip("sPyNNaker is not installed")
    network = NETWORKS[request.param]
    model, inputs = compiled(network), np.ones_like(spikes(network, 1))
    counted = activity.count(model.program, inputs, run_cells(model.program, inputs))
    events = activity.events(model.program, counted)
    return model, map_onto(model.program, inputs, events=events), events


def test_cores_and_memory_are_as_estimated(mapped: tuple[CompiledModel, dict[str, Any], dict[str, int]]) -> None:
    """The same slices on as many cores, sources included, and on each the same SDRAM to the byte."""
    model, report, _ = mapped
    planned = [(core["population"], core["start"], core["stop"], core["sdram"]) for core in report["cores"]]
    placed = [(slot.population, slot.start, slot.stop, slot.used["sdram"]) for slot in model.placement.slots]
    assert sorted(placed) == sorted(planned)
    assert report["virtual"]


def test_every_weight_arrives_unrounded(mapped: tuple[CompiledModel, dict[str, Any], dict[str, int]]) -> None:
    """The scales are the program's exponents, and what sPyNNaker packed into rows are its weights, none missing."""
    model, report, _ = mapped
    plain = summary.of_mapping(model, report)
    assert all(row["exact"] for row in plain["weights"])
    assert {row["population"] for row in plain["weights"]} == {p.name for p in model.program.populations}
    assert plain["synapses_that_differ"] == 0
    kernels = [p for p in model.program.projections if model.placement.kernels.get(p.name, "") is None]
    spread = {p.target for p in kernels}
    biases = [
        int(np.count_nonzero(np.broadcast_to(p.cell.bias, (p.size,))))
        for p in model.program.populations
        if p.name not in spread
    ]
    listed = [p for p in model.program.projections if p not in kernels]
    assert plain["synapses"] == sum(biases) + sum(connections_of(p).weights.size for p in listed)
    told = [p.synapses.mantissa for p in kernels]
    biased = (p for p in model.program.populations if p.name in spread and np.any(p.cell.bias))
    told += [np.broadcast_to(np.abs(p.cell.bias).max(), (p.shape[0], 21, 25)) for p in biased]
    assert plain["kernel_weights"] == sum(mantissa.size * (1 + (np.abs(mantissa).max() > 32767)) for mantissa in told)


def test_keys_are_apart_and_routed(mapped: tuple[CompiledModel, dict[str, Any], dict[str, int]]) -> None:
    """No two senders share a key, every one that is read is in a routing table, and tables have room."""
    model, report, _ = mapped
    keys = report["keys"]
    for i, one in enumerate(keys):
        for other in keys[:i]:
            common = one["mask"] & other["mask"]
            assert one["key"] & common != other["key"] & common
    read = {projection.source for projection in model.program.projections}
    assert {key["population"] for key in keys} >= read
    assert all(key["chips"] for key in keys if key["population"] in read)
    assert 0 < report["routing"]["largest"] <= model.profile.value("limits.chip.router_entries")


def test_energy_is_made_of_the_profiles_constants(mapped: tuple[CompiledModel, dict[str, Any], dict[str, int]]) -> None:
    """sPyNNaker's function, called with our counts, comes to idle board, active cores and packets as the profile says.

    All of these networks fit on one chip, whose router passes every spike once, those that nobody reads left out.
    """
    model, report, events = mapped
    found, profile = report["energy"], model.profile
    read = {projection.source for projection in model.program.projections}
    passed = sum(count for name, count in events.items() if name in read or name.endswith(".bias"))
    assert found["packets"] == pytest.approx(passed)
    assert found["packets_j"] == pytest.approx(passed * profile.value("power.packet") * 1e-9, rel=1e-6)
    assert found["core_seconds"] == pytest.approx(len(report["cores"]) * report["milliseconds"] * 1e-3)
    assert found["cores_j"] == pytest.approx(found["core_seconds"] * profile.value("power.core_active"))
    nothing = activity.Activity(report["milliseconds"], 1, 0, ())
    (idle,) = energy.estimate(nothing, profile, chips=48).static
    assert found["idle_j"] == pytest.approx(idle.joule[0])


@needs_spynnaker
@needs_spynnaker
def test_a_network_that_records_no_length_is_mapped_as_it_is_estimated() -> None:
    """For the thousand steps that its profile assumes."""
    model = compiled(replace(dense(6, 4, 2), encoding=None))
    report = summary.of_mapping(model, pipeline.map_onto(model))
    assert report["total"]["sdram"] == report["total"]["estimated_sdram"]
    assert report["milliseconds"] > 1000


@needs_spynnaker
def test_a_silent_sample_is_mapped() -> None:
    """sPyNNaker 7.4.1 looks for the densest step of its sources, and fails where no neuron of one ever spikes."""
    model = compiled(dense(6, 4, 2))
    silent = pipeline.Samples("silence", np.zeros((STEPS, 1, 6), np.uint8), None)
    report = pipeline.map_onto(model, silent)
    assert report["energy"]["packets"] == 0
    assert all(projection["differ"] == 0 for projection in report["projections"])


def test_rows_are_sorted_as_sPyNNaker_sorts_them() -> None:
    """What replaces its slow step returns the same rows, empty and overlong ones among them."""
    from spynnaker.pyNN.models.neuron.synapse_dynamics.abstract_sdram_synapse_dynamics import (
        AbstractSDRAMSynapseDynamics,
    )

    rng = np.random.default_rng(0)
    rows, data = rng.integers(0, 30, 200), rng.integers(0, 255, (200, 4), dtype=np.uint8)
    rows[rows == 7] = 8
    theirs = AbstractSDRAMSynapseDynamics.convert_per_connection_data_to_rows(None, rows, 32, data, 6)
    ours = rows_of(None, rows, 32, data, 6)
    assert len(ours) == len(theirs) == 32
    assert Counter(map(len, theirs))[24] > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_spynnaker
def test_what_does_not_fit_its_machine_is_refused_with_its_words(tmp_path: Path) -> None:
    """A board of 4 chips has too few cores for 70 of cells; what sPyNNaker raises becomes a finding."""
    (tmp_path / "spinn3.cfg").write_text(VIRTUAL.replace("version = 5", "version = 3"))
    model = compiled(dense(4, 70 * 256, 2, density=0.3))
    with pytest.raises(CapacityError, match="ND342") as caught:
        map_onto(model.program, configuration=tmp_path / "spinn3.cfg")
    assert "Exception" in caught.value.findings[0].what


@needs_spynnaker
def test_failures_come_back_as_findings(tmp_path: Path) -> None:
    """Too late, no such configuration, and one that names a machine which is not there: each with its remedy."""
    model = compiled(dense(4, 3, 2))
    with pytest.raises(BackendFailedError, match="ND341"):
        map_onto(model.program, timeout_s=0.1)
    with pytest.raises(UsageError, match="ND343"):
        map_onto(model.program, configuration=tmp_path / "absent.cfg")
    (tmp_path / "broken.cfg").write_text(VIRTUAL.replace("version = 5", "version = 4711"))
    with pytest.raises(BackendFailedError, match="ND340") as caught:
        map_onto(model.program, configuration=tmp_path / "broken.cfg")
    assert "4711" in str(caught.value)


@needs_spynnaker
def test_no_spikes_are_promised_of_a_virtual_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --on spynnaker` wants a machine: none named, as `targets` says, or a virtual one, is refused."""
    network = dense(4, 3, 2)
    model, samples = compiled(network), pipeline.Samples("random", spikes(network, 1), None)
    monkeypatch.delenv("NEURODEPLOY_SPYNNAKER_CFG", raising=False)
    with pytest.raises(UnsupportedError, match="neurodeploy map"):
        pipeline.run(model, samples, on="spynnaker")
    assert pipeline.availability(model.profile)["spynnaker"].code == "ND344"
    (tmp_path / "virtual.cfg").write_text(VIRTUAL)
    monkeypatch.setenv("NEURODEPLOY_SPYNNAKER_CFG", str(tmp_path / "virtual.cfg"))
    assert pipeline.availability(model.profile)["spynnaker"] is None
    with pytest.raises(UnsupportedError, match="virtual board"):
        pipeline.run(model, samples, on="spynnaker")


def test_an_interpreter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURODEPLOY_PYNN_PYTHON", "/nowhere/python")
    with pytest.raises(BackendUnavailableError, match="ND314"):
        map_onto(compiled(dense(4, 3, 2)).program)
    assert pipeline.availability(load_profile("spinnaker1"))["spynnaker"].code == "ND314"


def test_real_time_is_steps_of_a_millisecond() -> None:
    """20 steps of 3 samples are 60 ms; two chips idle on a SpiNN-3 of 3.56 W, 100 on three SpiNN-5 of 26.84 W."""
    counted = activity.Activity(STEPS, 3, 0, ())
    profile = load_profile("spinnaker1")
    small, large = (energy.estimate(counted, profile, chips=chips) for chips in (2, 100))
    assert small.time is not None
    assert small.time.seconds == pytest.approx((0.06,) * 3)
    assert [each.chips for each in (*small.static, *large.static)] == [4, 144]
    assert small.static[0].joule == pytest.approx((3.56 * 0.06, 2.671 * 0.06, 3.56 * 0.06))
    assert large.static[0].joule[0] == pytest.approx(3 * 26.84 * 0.06)
    assert energy.estimate(counted, load_profile("loihi2-sim")).time is None


@needs_spynnaker
def test_the_verbs_emit_and_map(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Text says what is where and that nothing ran; --json the same as values.

    PyNN's Python may be named; of this one's packages it sees neurodeploy alone.
    """
    network = dense(64, 30, 10, bias=True)
    monkeypatch.chdir(tmp_path)
    other = tmp_path_factory.mktemp("other") / "python"
    other.write_text(f'#!/bin/sh\nls "$PYTHONPATH" > "{other}.seen"\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv("NEURODEPLOY_PYNN_PYTHON", str(other))
    save_artifact(compiled(network), "model.ndc")
    assert cli.main(["emit", "model.ndc", "-o", "net.py", "--data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["net.py", "net.npz"]
    assert {path.name for path in tmp_path.iterdir()} == {"model.ndc", "net.py", "net.npz"}
    assert cli.main(["map", "model.ndc"]) == 0
    text = capsys.readouterr().out
    assert "virtual board, which runs nothing: no spikes" in text
    assert "energy    unavailable without --data" in text
    assert "all exactly the program's" in text
    assert other.with_name("python.seen").read_text().split() == ["neurodeploy"]
    assert cli.main(["map", "model.ndc", "--data", "digits", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["total"]["cores"] == plain["total"]["estimated_cores"] == 5
    assert plain["energy"]["idle_j"] > plain["energy"]["cores_j"] > plain["energy"]["packets_j"] > 0
