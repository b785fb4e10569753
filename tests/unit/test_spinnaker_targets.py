"""The SpiNNaker targets: what fits their boards, and what SpiNNaker2 is, a plan in 8 bits."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from neurodeploy import display, pipeline, summary
from neurodeploy.backends import spinnaker, spinnaker2
from neurodeploy.backends.spinnaker import chip
from neurodeploy.backends.spinnaker.quantize import UNSIGNED_16
from neurodeploy.backends.spinnaker2 import SIGNED_8
from neurodeploy.errors import CapacityError, UnsupportedError, UsageError
from neurodeploy.evaluation import activity, energy
from neurodeploy.hardware import HardwareProfile, load_profile, profile_from_tables
from neurodeploy.ir.nodes import Conv, Linear, Reset
from neurodeploy.ir.program import S1615, U032, Cell
from tests.property.test_quantize import network
from tests.spinnaker_networks import STEPS, convolutional, dense, spikes


def changed(name: str, **values: Any) -> HardwareProfile:
    """Return a shipped profile with other values, named table__key."""
    tables = copy.deepcopy(load_profile(name).tables)
    for key, value in values.items():
        *path, last = key.split("__")
        table = tables
        for part in path:
            table = table[part]
        table[last] = {**table[last], "value": value}
    return profile_from_tables(tables, name)


def test_weight_formats_are_the_profiles() -> None:
    assert load_profile("spinnaker1").value("numeric.weight_bits") == UNSIGNED_16.bits
    assert load_profile("spinnaker2").value("numeric.weight_bits") == SIGNED_8.bits


def test_decays_survive_being_told_as_time_constants() -> None:
    """In s16.15, as sPyNNaker sends them: every beta comes back to the unit; alpha within 4 / e^2 half units of 2^-15.

    The bound is the largest alpha ln(alpha)^2, by which half a unit of tau_syn moves alpha. A weight's effect is
    (1 - beta) R init, the resistance R being tau_m / cm of the rounded two.
    """
    beta = np.arange(1, S1615, dtype=np.int32)
    alpha = np.linspace(0.01, 0.99, beta.size)
    cell = Cell(beta, np.array(S1615), np.zeros(()), Reset.ZERO_NEXT_STEP, (alpha * U032).astype(np.int64))
    told = {name: np.rint(value * S1615) / S1615 for name, value in chip.parameters(cell).items()}
    np.testing.assert_array_equal(np.rint(np.exp(-1 / told["tau_m"]) * S1615), beta)
    assert np.abs(np.exp(-1 / told["tau_syn_E"]) - alpha).max() <= 4 / np.e**2 / S1615 / 2 + 1 / U032
    init = told["tau_syn_E"] * (1 - alpha)
    usual = (beta > S1615 // 2) & (beta < 0.99 * S1615) & (alpha > 0.5)
    effect = (1 - beta / S1615) * told["tau_m"] / told["cm"] * init
    assert np.abs(effect - 1)[usual].max() < 1e-4


def test_boards_of_both_sizes_and_what_no_board_holds() -> None:
    """4, 48 and 57,600 chips of 16 cores: 65 cores do not fit the smallest, 769 not the next."""
    program = pipeline.compile(dense(4, 64 * 256, 2, density=0.3), "spinnaker1").program
    assert load_profile("spinnaker1").value("topology.boards") == [4, 48, 57600]
    assert spinnaker.place(program, load_profile("spinnaker1")).cores == 66
    with pytest.raises(CapacityError, match="ND108"):
        spinnaker.place(program, changed("spinnaker1", topology__boards=[4]))
    assert spinnaker.place(program, changed("spinnaker1", topology__boards=[48])).chips == 5


def test_cores_of_a_chip_share_its_memory() -> None:
    """Of four cores, two that need a little more than half of it each have a chip of their own, and boards to match."""
    program = pipeline.compile(dense(64, 300, 10), "spinnaker1").program
    placement = spinnaker.place(program, load_profile("spinnaker1"))
    assert (placement.cores, placement.chips) == (4, 1)
    most = max(slot.used["sdram"] for slot in placement.slots)
    assert spinnaker.place(program, changed("spinnaker1", limits__chip__sdram=2 * most - 1)).chips == 2
    with pytest.raises(CapacityError, match=r"(?s)ND108.*4 cores on 2 chips"):
        spinnaker.place(program, changed("spinnaker1", limits__chip__sdram=2 * most - 1, topology__boards=[1]))


def test_a_core_that_needs_more_than_a_chip_is_refused() -> None:
    program = pipeline.compile(dense(784, 256, 10), "spinnaker1").program
    with pytest.raises(CapacityError, match="ND109") as caught:
        spinnaker.place(program, changed("spinnaker1", limits__chip__sdram=500_000))
    assert caught.value.details["utilization"]


@pytest.mark.parametrize("network", [dense(64, 40, 10, bias=True), convolutional()], ids=["dense", "convolution"])
def test_spinnaker2_has_signed_bytes(network: Any) -> None:
    """Every weight and bias is a signed byte, off by half a step at most, and one step is that of all."""
    model = pipeline.compile(network, "spinnaker2")
    for population in model.program.populations:
        cell = population.cell
        assert cell.exponents[0] == cell.exponents[1]
        assert np.abs(cell.bias).max() <= 127
        largest = 0
        for projection in model.program.incoming(population.name):
            weights = model.program.weights(projection)
            node = model.source.nodes[projection.name]
            step = 2.0 ** cell.exponents[0] / population.scale
            assert np.abs(weights - node.weight.reshape(weights.shape)).max() <= step / 2
            largest = max(largest, int(np.abs(projection.synapses.mantissa).max()))
        assert 63 <= max(largest, int(np.abs(cell.bias).max())) <= 127


def test_spinnaker2_is_a_plan_and_says_what_it_assumes() -> None:
    """Synapses lie in a core's own memory, so cores get fewer cells; nothing of SpiNNaker2 runs a program."""
    model = pipeline.compile(dense(784, 256, 10), "spinnaker2")
    placement = model.placement
    assert {"limits.core.neurons", "limits.core.state", "synapse_encoding.static_word"} <= set(placement.assumed)
    for population in model.program.populations:
        slots = [slot for slot in placement.slots if slot.population == population.name]
        assert [i for slot in slots for i in range(slot.start, slot.stop)] == list(range(population.size))
        assert all(slot.used["sram"] <= placement.available["sram"] for slot in slots)
    assert sum(slot.population == "lif0" for slot in placement.slots) >= 256 * 784 * 4 // placement.available["sram"]
    samples = pipeline.Samples("random", spikes(model.source, 1), None)
    with pytest.raises(UsageError, match="ND401"):
        pipeline.run(model, samples, on="spynnaker")
    with pytest.raises(UsageError, match=r"(?s)ND401.*fix   compile for spinnaker1"):
        pipeline.map_onto(model)
    with pytest.raises(UsageError, match=r"(?s)ND409.*fix   compile for spinnaker1"):
        pipeline.emit(model, samples)
    evaluation = pipeline.evaluate(model, samples, pipeline.run(model, samples))
    assert evaluation.energy.time is not None
    (powered,) = evaluation.energy.static
    assert powered.joule[0] == pytest.approx(0.2354 * samples.inputs.shape[0] * samples.inputs.shape[1] * 1e-3)
    assert evaluation.energy.total.low < evaluation.energy.total.joule < evaluation.energy.total.high


def test_spinnaker2_refuses_what_does_not_fit() -> None:
    """A cell that alone needs more than a core, and more cores than the largest board has."""
    program = pipeline.compile(dense(784, 256, 10), "spinnaker2").program
    with pytest.raises(CapacityError, match="ND109"):
        spinnaker2.place(program, changed("spinnaker2", limits__core__sram_data=4000))
    with pytest.raises(CapacityError, match="ND108"):
        spinnaker2.place(program, changed("spinnaker2", topology__boards=[1], topology__cores_per_chip_usable=4))


def test_energy_by_hand() -> None:
    """1,000 dense synops in 20 rows, 100 updates, 10 spikes, 5 that enter and 1 of a bias, in nJ.

    By rows 1000 x 7.2 + 20 x 86.7 + 100 x 89.6 + 10 x 10 = 17,994; SpiNN-3 1000 x 7.54 + 100 x 89.6 + 10 x 10 = 16,600;
    SpiNN-5 1000 x 7.32 + 100 x 92.6 + 10 x 8.7 = 16,667; KerasSpiking 1000 x 13.3 + 100 x 26 = 15,900. To all but the
    last 6 x 3,222 = 19,332 (SpiNN-5: 6 x 3,454 = 20,724) are added.
    """
    layer = activity.Layer("a", 100, 10, {"dense": 1000}, 100, 0.1, 20)
    report = energy.estimate(activity.Activity(1, 1, 5, (layer,), 1), load_profile("spinnaker1"))
    assert report.model == "snabsuite_rows"
    assert report.total.joule == pytest.approx(37_326e-9)
    assert {name: model.joule for name, model in report.models.items()} == pytest.approx(
        {
            "snabsuite_rows": 37_326e-9,
            "snabsuite_spinn3": 35_932e-9,
            "snabsuite_spinn5": 37_391e-9,
            "keras_spiking": 15_900e-9,
        }
    )
    assert (report.sources.joule, report.sources.low) == pytest.approx((19_332e-9, 0))
    assert report.total.low == pytest.approx(15_900e-9)
    assert "boards that idle (stated apart)" in report.left_out


def test_a_spike_fetches_a_row_per_core_and_sign() -> None:
    """300 cells lie on two cores, and both signs of weights reach them: four rows a spike; 10 cells on one core two."""
    network = dense(20, 300, 10)
    model, samples = pipeline.compile(network, "spinnaker1"), pipeline.Samples("random", spikes(network), None)
    result = pipeline.run(model, samples)
    counted = pipeline.evaluate(model, samples, result).activity
    first, second = counted.layers
    assert first.rows == 4 * int(samples.inputs.sum(dtype=int)) > 0
    assert second.rows == 2 * int(result.spikes["lif0"].sum(dtype=int)) > 0


def test_compiling_says_which_executors_refuse_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A threshold subtracted together with a current: Brian2 and the engine alone; a reset to zero: all of them."""
    for reset, refusing in ((Reset.SUBTRACT_NEXT_STEP, {"nest", "spynnaker", "engine-s16.15"}), (Reset.ZERO, set())):
        model = pipeline.compile(network(3, reset, True, False, False), "spinnaker1")
        silence = pipeline.Samples("none", np.zeros((3, 1, *model.program.input.shape)), None)
        refused = pipeline.refusals(model)
        assert set(refused) == refusing
        for executor in refusing - {"spynnaker"}:  # which first of all needs a machine
            with pytest.raises(UnsupportedError, match=refused[executor][0].code):
                pipeline.run(model, silence, on=executor)
        plain = summary.of_model(model) | {"artifact": str(tmp_path)}
        display.show_compiled(Console(width=200), plain)
        printed = capsys.readouterr().out
        assert {name for name in pipeline.executors(model.profile) if f"{name} refuses it" in printed} == refusing


@pytest.mark.parametrize("net", [dense(20, 30, 10, bias=True), convolutional()], ids=["dense", "convolution"])
def test_counted_synapses_are_those_of_the_script(net: Any) -> None:
    """Weights of zero are none, and a bias is a source that fires in every step and whose rows are fetched too."""
    maps = {name: node for name, node in net.nodes.items() if isinstance(node, Linear | Conv)}
    thinned = {name: replace(node, weight=node.weight * (np.abs(node.weight) > 0.1)) for name, node in maps.items()}
    model = pipeline.compile(replace(net, nodes=net.nodes | thinned), "spinnaker1")
    samples = pipeline.Samples("random", spikes(net), None)
    result = pipeline.run(model, samples)
    counted = pipeline.evaluate(model, samples, result).activity
    arrays = pipeline.emit(model, samples).arrays
    for layer, source in zip(counted.layers, (samples.inputs, result.spikes["lif0"]), strict=True):
        (projection,) = model.program.incoming(layer.name)
        sent = source.reshape(STEPS * 2, -1).sum(0, dtype=int)
        expected = int(sent[arrays[f"synapses/{projection.name}/pre"]].sum())
        rows = 2 * int(sent.sum())
        if f"bias/{layer.name}/weight" in arrays:
            weight = arrays[f"bias/{layer.name}/weight"]
            expected += STEPS * 2 * weight.size
            rows += STEPS * 2 * np.unique(np.sign(weight)).size
        assert sum(layer.synops.values()) == expected
        assert layer.rows == rows
