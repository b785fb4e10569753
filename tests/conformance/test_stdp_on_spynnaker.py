"""sPyNNaker maps features that learn by STDP onto a virtual board, and what it cannot do is what we say it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from neurodeploy.backends.spinnaker.learn import learn as learn_on_simulator
from neurodeploy.backends.spinnaker.mapping import VIRTUAL
from neurodeploy.backends.spinnaker.unlearnable import LACKS
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.nodes import Reset
from neurodeploy.lowering.additive import program as additive_program
from tests.conformance.test_stdp_on_pynn import LIVELY, STEPS
from tests.plastic_programs import network

pytestmark = pytest.mark.skipif(find_spec("spynnaker") is None, reason="pip install 'neurodeploy[spinnaker]'")

NEUROMODULATED = """
import pyNN.spiNNaker as sim
sim.setup(timestep=1.0)
source, reward = (sim.Population(4, sim.SpikeSourceArray(spike_times=[[5.0]] * 4), label=n) for n in ("in", "reward"))
cells = sim.Population(4, sim.IF_curr_exp(), label="cells")
pairs = sim.SpikePairRule(tau_plus=10.0, tau_minus=10.0, A_plus=0.01, A_minus=0.01)
stdp = sim.STDPMechanism(pairs, sim.AdditiveWeightDependence(w_min=0.0, w_max=1.0), weight=0.5, delay=1.0)
sim.Projection(source, cells, sim.AllToAllConnector(), stdp, receptor_type="excitatory")
dopamine = sim.extra_models.Neuromodulation(weight=0.05, tau_c=100.0, tau_d=20.0, w_max=1.0)
sim.Projection(reward, cells, sim.AllToAllConnector(), dopamine, receptor_type="reward")
sim.run(20)
"""


def samples(inputs: int) -> np.ndarray:
    return (np.random.default_rng(1).random((2, STEPS, inputs)) < 0.2).astype(np.uint8)


def test_features_that_learn_are_mapped_with_the_machines_own_stdp_and_learn_nothing():
    """300 of them on three cores, since a row of synapses that learn has 169 at most; the input is on a fourth."""
    given = additive_program(network((16, 300, 4), recurrent=True, reset=Reset.ZERO), STEPS, LIVELY)
    wanted = r"(?s)ND315.*mapped on 4 cores of 1 chip.*stdp\w*pair_additive.*runs nothing"
    with pytest.raises(UnsupportedError, match=wanted):
        learn_on_simulator(given, samples(16), np.zeros(2, np.int64), on="spynnaker")


def test_neuromodulated_stdp_fails_in_spynnaker_as_the_refusal_says(tmp_path):
    """Should this fail one day, sPyNNaker has mended it, and reward-modulated STDP can be mapped."""
    (tmp_path / ".spynnaker.cfg").write_text(VIRTUAL)
    done = subprocess.run(
        [sys.executable, "-c", NEUROMODULATED], cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = done.stderr.strip().splitlines()[-1]
    assert said == "OverflowError: Python integer 3221225472 out of bounds for uint8"
    assert any(said in why for _, why in LACKS["rstdp"])
