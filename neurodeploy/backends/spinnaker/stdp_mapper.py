"""The child process that maps STDP: `python -m neurodeploy.backends.spinnaker.stdp_mapper JOB PARENT_PID`.

sPyNNaker reads ~/.spynnaker.cfg, so HOME is a folder of the job that holds one of a virtual board.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.learning_job import read_learning_job
from neurodeploy.backends.supervision import finish, serve
from neurodeploy.ir.additive import AdditiveProgram

CORE_FEATURES = 128
"""Features on a core: a row of 256 words holds 169 synapses that learn."""
SYSTEM = "SYSTEM"
"""How labels of sPyNNaker's own cores begin."""


def execute(directory: Path) -> None:
    """Map the program's features and what feeds them, and write where they are."""
    sim: Any = import_module("pyNN.spiNNaker")
    job = read_learning_job(directory)
    assert isinstance(job.program, AdditiveProgram)
    milliseconds = job.program.duration(len(job.inputs))
    build(sim, job.program, job.inputs)
    sim.run(milliseconds)
    finish(directory, {"spynnaker": version("sPyNNaker"), "cores": list(_cores(milliseconds))})


def build(sim: Any, program: AdditiveProgram, spikes: np.ndarray) -> None:
    """Build the network for sPyNNaker: its own delta cells, PyNN's STDP, static inhibition."""
    sim.setup(timestep=1.0)
    cell = sim.extra_models.IFCurDelta
    sim.set_number_of_neurons_per_core(cell, CORE_FEATURES)
    padded = np.pad(spikes, ((0, 0), (0, program.pause), (0, 0))).reshape(-1, spikes.shape[2])
    times = [(np.flatnonzero(fired) + 1.0).tolist() for fired in padded.T]
    source = sim.Population(program.inputs, sim.SpikeSourceArray(spike_times=times), label="input")
    fed, neuron, pairs = program.features, program.features.neuron, program.pairs
    resting = {"cm": 1.0, "v_rest": 0.0, "v_reset": 0.0, "tau_refrac": 0.0, "i_offset": 0.0}
    theta = np.broadcast_to(neuron.theta, fed.size).tolist()
    cells = cell(tau_m=-1 / log(float(neuron.beta.flat[0])), v_thresh=theta, **resting)
    features = sim.Population(fed.size, cells, label=fed.name)
    mechanism = sim.STDPMechanism(
        timing_dependence=sim.SpikePairRule(
            tau_plus=pairs.tau_plus,
            tau_minus=pairs.tau_minus,
            A_plus=pairs.a_plus / pairs.w_max,
            A_minus=pairs.a_minus / pairs.w_max,
        ),
        weight_dependence=sim.AdditiveWeightDependence(w_min=0.0, w_max=pairs.w_max),
    )
    _connect(sim, source, features, fed.forward.weight, mechanism, "excitatory")
    if fed.recurrent is not None and np.any(fed.recurrent.weight):
        _connect(sim, features, features, -fed.recurrent.weight, sim.StaticSynapse(), "inhibitory")


def _connect(sim: Any, pre: Any, post: Any, weight: np.ndarray, synapse: Any, receptor: str) -> None:
    """Connect all to all by a list, one source after the other: sPyNNaker takes the longest row from that order."""
    source, target = np.indices(weight.T.shape)
    listed = np.column_stack([source.ravel(), target.ravel(), weight.T.ravel(), np.ones(weight.size)])
    sim.Projection(pre, post, sim.FromListConnector(listed), synapse, receptor_type=receptor)


def _cores(milliseconds: int) -> Iterator[dict[str, Any]]:
    """Yield every core of the network: what is on it, where it is, what it runs and what SDRAM it was given."""
    view: Any = import_module("spynnaker.pyNN.data").SpynnakerDataView
    for placement in view.iterate_placemements():  # sic
        vertex = placement.vertex
        if not str(vertex.label).startswith(SYSTEM):
            yield {
                "population": str(vertex.app_vertex.label),
                "neurons": int(vertex.vertex_slice.n_atoms),
                "chip": [int(placement.x), int(placement.y)],
                "sdram": int(vertex.sdram_required.get_total_sdram(milliseconds)),
                "binary": Path(vertex.get_binary_file_name()).name,
            }


if __name__ == "__main__":
    serve(execute, *sys.argv[1:], counts_seconds=True)
