"""e-prop as NEST's own models learn it: `EpisodicProgram` as `eprop_iaf_bsshslm_2020` and its companions.

    generators -> parrots =====> eprop_iaf =====> eprop_readout <---- step_rate_generators: the target
                              =<                    |    ^ v softmax: every read-out tells every other
                                  <------- B -------+             ==== eprop_synapse, ---- rates and static ones

NEST is one kernel per process: this runs in a process of its own. A step is 1 ms and so is every delay; membranes are
sums of weights (capacity 1, rest 0). Plastic synapses cannot leave a generator, so parrots repeat its spikes.

    step t of all: generator at t + 1, parrot at t + 2, hidden neuron at t + 3, read-out at t + 4, error back at t + 5
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from math import inf, log, nextafter
from typing import Any

import numpy as np

from neurodeploy.ir.episodic import DAMPENING, QUIET_STEPS, EpisodicProgram
from neurodeploy.ir.onchip import RealFactor, RealNeuron, RealSynapses

INPUT_AT = 1
"""Time of what enters in step 0, ms."""
TARGET_AT = 4
"""Time of the target that the read-out compares step 0 with."""
READ_AT = 4
"""Time at which a read-out holds what step 0 caused."""
FLUSH_AFTER = 3
"""ms after the last step until every neuron before a synapse is made to fire, which brings held-back updates about."""
FLUSH = 1e6
"""mV of the spike that does so."""
ENDS_AFTER = 5
UNBOUNDED = 1e9
"""NEST's synapses clip their weights to a range; here to none."""
CELL_STEPS = 20_000_000
"""Steps of single neurons after which the network is built anew: NEST keeps all of theirs for synapses that never hear
a spike. Samples begin at rest, so only weights go on."""
CHUNK_SAMPLES = 16
"""Samples between two reports of progress."""
FAMILY = "_bsshslm_2020"

Told = Callable[[int], None]


def run(
    program: EpisodicProgram, spikes: np.ndarray, labels: np.ndarray, told: Told
) -> tuple[list[np.ndarray], np.ndarray]:
    """Present samples in one start of NEST; return the weights they leave, and the sum over steps of the read-out.

    Args:
        spikes: uint8 (sample, step, input); labels: (sample,).
        told: called with the time steps done.

    Returns:
        Weights per group (post, pre), and y (sample, output).
    """
    neurons = program.hidden.size + program.output.size
    most = max(1, CELL_STEPS // (program.period * neurons))
    weights, read = list(program.weights), []
    for first in range(0, len(spikes), most):
        piece = slice(first, first + most)
        heard = partial(_later, told, first * program.period)
        weights, y = _run(program.learned(weights), spikes[piece], labels[piece], heard)
        read.append(y)
    return weights, np.concatenate(read)


def _later(told: Told, before: int, steps: int) -> None:
    told(before + steps)


def _run(
    program: EpisodicProgram, spikes: np.ndarray, labels: np.ndarray, told: Told
) -> tuple[list[np.ndarray], np.ndarray]:
    nest = _fresh_kernel(program)
    padded = program.padded(spikes)
    total = len(padded) * program.period
    inputs, hidden, outputs = _populations(nest, program)
    _connect(nest, program, inputs, hidden, outputs)
    _play(nest, inputs, padded.reshape(total, -1))
    _play_biases(nest, program, hidden, outputs, len(padded))
    _teach(nest, program, outputs, labels)
    meter = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": 1.0})
    nest.Connect(meter, outputs)
    flush = nest.Create("spike_generator", params={"spike_times": [float(total + FLUSH_AFTER)]})
    nest.Connect(flush, inputs + hidden, "all_to_all", {"weight": FLUSH})
    chunk = CHUNK_SAMPLES * program.period
    with nest.RunManager():
        for first in range(0, total, chunk):
            nest.Run(float(min(chunk, total - first)))
            told(min(first + chunk, total))
        nest.Run(float(ENDS_AFTER))
    groups = _groups(program, inputs, hidden, outputs)
    weights = [_weights(nest, pre, post, synapses) for pre, post, synapses, _ in groups]
    return weights, _read(meter, outputs, program, len(padded))


def version() -> str:
    """Return what a result says about who computed it."""
    os.environ["PYNEST_QUIET"] = "1"
    import nest

    return f"NEST {nest.__version__}, its own e-prop"


def _fresh_kernel(program: EpisodicProgram) -> Any:
    os.environ["PYNEST_QUIET"] = "1"
    import nest

    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    interval = float(program.period)
    nest.set(
        resolution=1.0,
        total_num_virtual_procs=1,
        eprop_update_interval=interval,
        eprop_learning_window=interval,
        eprop_reset_neurons_on_update=True,
    )
    return nest


def _populations(nest: Any, program: EpisodicProgram) -> tuple[Any, Any, Any]:
    """Return parrots, hidden neurons and read-outs."""
    neuron, factor = program.hidden.neuron, program.hidden.factor
    assert isinstance(neuron, RealNeuron)
    assert isinstance(factor, RealFactor)
    resting = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "regular_spike_arrival": True}
    hidden = nest.Create(
        f"eprop_iaf{FAMILY}",
        program.hidden.size,
        {
            **resting,
            "tau_m": -1 / log(float(neuron.beta.flat[0])),
            "t_ref": 0.0,
            "surrogate_gradient_function": "piecewise_linear",
            "c_reg": factor.regularizer,
            "f_target": 1e3 * factor.target_rate,
        },
    )
    for node, theta in zip(hidden, np.broadcast_to(neuron.theta, program.hidden.size).tolist(), strict=True):
        # NEST's neurons spike from the threshold on, ours above it
        node.set(
            V_th=nextafter(theta, inf), surrogate_gradient_height=DAMPENING / theta, surrogate_gradient_width=theta
        )
    told = {**resting, "tau_m": -1 / log(program.kappa), "loss": "cross_entropy"}
    outputs = nest.Create(f"eprop_readout{FAMILY}", program.output.size, told)
    nest.Connect(outputs, outputs, {"rule": "all_to_all", "allow_autapses": False}, _rate(receptor=1))
    return nest.Create("parrot_neuron", program.inputs), hidden, outputs


def _groups(program: EpisodicProgram, inputs: Any, hidden: Any, outputs: Any) -> list[tuple[Any, Any, Any, float]]:
    """Return (pre, post, synapses, rate) of every group, in the order of the program's weights."""
    found = []
    for population, before, post in ((program.hidden, inputs, hidden), (program.output, hidden, outputs)):
        for synapses, pre in zip(population.synapses, (before, post), strict=False):
            assert isinstance(population.factor, RealFactor)
            found.append((pre, post, synapses, population.factor.rate))
    return found


def _connect(nest: Any, program: EpisodicProgram, inputs: Any, hidden: Any, outputs: Any) -> None:
    """Connect all groups and the way of the errors.

    What is frozen learns at a rate of zero: a static recurrent synapse would carry a sample's last spikes over.
    """
    for index, (pre, post, synapses, rate) in enumerate(_groups(program, inputs, hidden, outputs)):
        eta = rate if synapses.plastic else 0.0
        optimizer = {"type": "gradient_descent", "eta": eta, "batch_size": 1, "Wmin": -UNBOUNDED, "Wmax": UNBOUNDED}
        nest.CopyModel(f"eprop_synapse{FAMILY}", f"group{index}", {"optimizer": optimizer})
        synapse = {"synapse_model": f"group{index}", "delay": 1.0, "weight": synapses.weight}
        synapse |= {"tau_m_readout": -1 / log(program.kappa)}
        nest.Connect(pre, post, {"rule": "all_to_all", "allow_autapses": False}, synapse)
    factor = program.hidden.factor
    assert isinstance(factor, RealFactor)
    model = f"eprop_learning_signal_connection{FAMILY}"
    nest.Connect(outputs, hidden, "all_to_all", {"synapse_model": model, "delay": 1.0, "weight": factor.feedback})


def _rate(receptor: int) -> dict[str, Any]:
    return {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": receptor}


def _play(nest: Any, inputs: Any, spikes: np.ndarray) -> None:
    """Let the parrots fire `spikes` (step, input)."""
    generators = nest.Create("spike_generator", len(inputs))
    for generator, fired in zip(generators, spikes.T, strict=True):
        generator.spike_times = np.flatnonzero(fired) + float(INPUT_AT)
    nest.Connect(generators, inputs, "one_to_one")


def _play_biases(nest: Any, program: EpisodicProgram, hidden: Any, outputs: Any, samples: int) -> None:
    """Let a source with the biases as its weights fire in every step of every sample but the silent ones."""
    own = np.arange(QUIET_STEPS, program.period) + program.period * np.arange(samples)[:, None]
    for delay, population, target in ((2.0, program.hidden, hidden), (3.0, program.output, outputs)):
        assert isinstance(population.neuron, RealNeuron)
        if np.any(population.neuron.bias):
            weight = np.broadcast_to(population.neuron.bias, population.size).reshape(-1, 1)
            source = nest.Create("spike_generator", params={"spike_times": own.ravel() + float(INPUT_AT)})
            nest.Connect(source, target, "all_to_all", {"weight": weight, "delay": delay})


def _teach(nest: Any, program: EpisodicProgram, outputs: Any, labels: np.ndarray) -> None:
    """Let the read-outs hear which of them is right, all through a sample."""
    at = np.arange(len(labels)) * float(program.period) + TARGET_AT
    generators = nest.Create("step_rate_generator", len(outputs))
    for k, generator in enumerate(generators):
        generator.set(amplitude_times=at, amplitude_values=(labels == k).astype(np.float64))
    nest.Connect(generators, outputs, "one_to_one", _rate(receptor=2))


def _weights(nest: Any, pre: Any, post: Any, synapses: RealSynapses) -> np.ndarray:
    """Return the weights (post, pre) that there are now; a neuron alone has none to itself."""
    connections = nest.GetConnections(pre, post)
    if not synapses.plastic or not len(connections):
        return synapses.weight
    found = connections.get(["source", "target", "weight"])
    matrix = np.zeros(synapses.weight.shape)
    places = np.subtract(found["target"], post[0].global_id), np.subtract(found["source"], pre[0].global_id)
    matrix[places] = found["weight"]
    return matrix


def _read(meter: Any, outputs: Any, program: EpisodicProgram, samples: int) -> np.ndarray:
    """Return what the read-outs held in all steps of a sample together."""
    events = meter.events
    step = np.rint(events["times"]).astype(np.int64) - READ_AT
    inside = (step >= 0) & (step < samples * program.period)
    y = np.zeros((samples, len(outputs)))
    np.add.at(
        y, (step[inside] // program.period, events["senders"][inside] - outputs[0].global_id), events["V_m"][inside]
    )
    return y
