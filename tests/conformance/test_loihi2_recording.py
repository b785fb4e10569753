"""One LIF neuron recorded on a real Loihi 2 (NIR paper, 01_lif): our arithmetic replays the chip step by step.

The recording holds input, membrane and spike of 1,000 steps. At a spike the chip's membrane register reads 128, a
marker of its own; Lava and the engine hold 0 there. Those steps are compared by spike only.
"""

from __future__ import annotations

import csv

import numpy as np

from neurodeploy.backends.loihi2 import run
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.reference import run_reference
from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import DenseSynapses, InputPort, Neuron, Population, Program, Projection
from tests.cases import case

TAU_S, THRESHOLD, DT_S = 0.0025, 0.1, 1e-4
"""Of lif_norse.nir, the graph that was deployed, and the step of the recording."""
WEIGHT = 10
"""The integer weight on chip: the first input spike lifts the membrane to 640 = 10 << 6."""
MARKER = 128


def recording() -> np.ndarray:
    """Return input, membrane and spike per step, int64 (1000, 3)."""
    with case("nir_paper", "01_lif", "lif_lava_loihi_fixed.csv").open() as file:
        return np.array([[float(x) for x in row] for row in csv.reader(file)]).astype(np.int64)


def deployed() -> Program:
    """Return the neuron with the chip's registers: decay dt / tau of 4096, threshold in the weight's own units.

    The deployment truncated the decay, int(163.84) = 163; of 155 to 171 it is the only one that replays the membrane.
    """
    gain = DT_S / TAU_S
    dv, vth = int(4096 * gain), round(THRESHOLD / gain * WEIGHT)
    neuron = Neuron(np.array(4096), np.array(dv), np.array(vth), np.zeros(1, np.int32), 0, Reset.ZERO)
    synapse = DenseSynapses(np.array([[WEIGHT // 2]], np.int8))
    return Program(
        InputPort("input", (1,), InputKind.SPIKES),
        (Population("lif", (1,), neuron, 1, WEIGHT / gain),),
        (Projection("synapse", "input", "lif", synapse),),
        "lif",
    )


def test_engine_and_lava_replay_the_chip() -> None:
    """Every spike, and every membrane but for the marker, one step of synaptic delay taken out."""
    rows = recording()
    x = rows[:-1, 0].reshape(-1, 1, 1)
    chip_v, chip_spikes = rows[1:, 1], rows[1:, 2]
    assert chip_spikes.sum() == 4
    assert (chip_v[chip_spikes == 1] == MARKER).all()
    net = deployed()
    for result in (
        run_reference(net, x),
        run_fast(net, x, record_states=True),
        run(net, x.astype(np.int32), on="lava-models", record_states=True),
    ):
        np.testing.assert_array_equal(result.spikes["lif"].reshape(-1), chip_spikes)
        membrane = np.where(chip_spikes == 1, MARKER, result.voltages["lif"].reshape(-1))
        np.testing.assert_array_equal(membrane, chip_v)
