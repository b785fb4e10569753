"""e-prop as NEST's own models compute it. NEST is one kernel per process: call these in a process of their own.

Membranes are sums of weights (capacity 1, rest 0), a step is 1 ms, and so is every delay.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

INPUT_AT = 1.0
"""Time of the generators' first spike, ms; parrots repeat it, since no plastic synapse leaves a generator."""
QUIET_STEPS = 4
"""As an interval begins: NEST updates at the first spike after its end, when the last errors must have arrived."""
FLUSH = 1000.0
"""The current of a spike that makes every presynaptic neuron fire at the end, so that no update is left out."""
LIMIT = 100.0

Weights = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of the synapses from the input, of the recurrent ones and of those to the output, each (post, pre)."""


@dataclass(frozen=True)
class Task:
    """A recurrent layer with a leaky read-out, and what it is to learn.

    Args:
        spikes: zero or one (interval, step, input), none in the first QUIET_STEPS of an interval.
        targets: (interval, step, output).
        weights: to begin with.
        feedback: B (hidden, output).
        tau, tau_out, tau_filter: of membranes, read-out and eligibility, steps; a tau_filter of 1e-3 is no filter.
        threshold, height, width: psi = height max(0, 1 - |v - threshold| / width).
        rate: eta.
        batch: intervals per update.
        regularizer, target_rate: of the firing rate, spikes per step.
        tau_rate: of the running mean of the firing rate and of what it weighs, steps (`online`).
        tau_adaptation, strength: of an adapting threshold; None for none.
        loss: "mean_squared_error" or "cross_entropy" (`by_interval`).
    """

    spikes: np.ndarray
    targets: np.ndarray
    weights: Weights
    feedback: np.ndarray
    tau: float = 25.0
    tau_out: float = 20.0
    tau_filter: float = 15.0
    threshold: float = 0.6
    height: float = 0.5
    width: float = 0.6
    rate: float = 3e-5
    batch: int = 1
    regularizer: float = 10.0
    target_rate: float = 0.02
    tau_rate: float = 30.0
    tau_adaptation: float | None = None
    strength: float = 0.0
    loss: str = "mean_squared_error"


def by_interval(task: Task) -> Weights:
    """Return what the models of Bellec et al. 2020 learn: they update, and come to rest, at the end of an interval."""
    nest = _fresh_kernel()
    steps = task.spikes.shape[1]
    nest.set(eprop_update_interval=float(steps), eprop_learning_window=float(steps), eprop_reset_neurons_on_update=True)
    hidden = nest.Create(
        f"{_kind(task)}_bsshslm_2020", len(task.feedback), _hidden(task) | {"regular_spike_arrival": True}
    )
    parameters = _readout(task) | {"loss": task.loss, "regular_spike_arrival": True}
    outputs = nest.Create("eprop_readout_bsshslm_2020", task.targets.shape[2], parameters)
    if task.loss == "cross_entropy":
        nest.Connect(outputs, outputs, {"rule": "all_to_all", "allow_autapses": False}, _signal(receptor=1))
    connected = _connect(nest, task, hidden, outputs, "_bsshslm_2020", {"tau_m_readout": task.tau_filter})
    return _learned(nest, task, *connected, target_at=4.0, flush_after=3)


def online(task: Task) -> Weights:
    """Return what the models of Korcsak-Gorzo et al. learn in one interval, whose last error is zero.

    They update in every step, in effect: each spike finds its synapse as of two steps before the spike arrives.
    """
    nest = _fresh_kernel()
    decays = {"kappa": float(np.exp(-1 / task.tau_filter)), "kappa_reg": float(np.exp(-1 / task.tau_rate))}
    hidden = nest.Create(_kind(task), len(task.feedback), _hidden(task) | decays)
    outputs = nest.Create("eprop_readout", task.targets.shape[2], _readout(task))
    target_at, last = 3.0, task.spikes.shape[1] - 1
    errors = {"amplitude_times": [target_at, target_at + last], "amplitude_values": [1.0, 0.0]}
    nest.Connect(nest.Create("step_rate_generator", params=errors), outputs, "all_to_all", _signal(receptor=1))
    connected = _connect(nest, task, hidden, outputs, "", {})
    return _learned(nest, task, *connected, target_at=target_at, flush_after=2)


def _fresh_kernel() -> Any:
    os.environ["PYNEST_QUIET"] = "1"
    import nest

    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=1.0, total_num_virtual_procs=1)
    return nest


def _kind(task: Task) -> str:
    return "eprop_iaf" if task.tau_adaptation is None else "eprop_iaf_adapt"


def _hidden(task: Task) -> dict[str, Any]:
    adapting = {} if task.tau_adaptation is None else {"adapt_tau": task.tau_adaptation, "adapt_beta": task.strength}
    return adapting | {
        "C_m": 1.0,
        "E_L": 0.0,
        "V_m": 0.0,
        "V_th": task.threshold,
        "t_ref": 0.0,
        "tau_m": task.tau,
        "surrogate_gradient_function": "piecewise_linear",
        "surrogate_gradient_height": task.height,
        "surrogate_gradient_width": task.width,
        "c_reg": task.regularizer,
        "f_target": 1e3 * task.target_rate,
    }


def _readout(task: Task) -> dict[str, Any]:
    return {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": task.tau_out}


def _signal(receptor: int) -> dict[str, Any]:
    return {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": receptor}


def _connect(nest: Any, task: Task, hidden: Any, outputs: Any, family: str, more: dict[str, float]) -> tuple[Any, ...]:
    """Return (inputs, hidden, outputs), connected by the synapses of a `family` of models with `more` parameters."""
    inputs = nest.Create("parrot_neuron", task.spikes.shape[2])
    plastic = f"eprop_synapse{family}"
    optimizer = {"type": "gradient_descent", "eta": task.rate, "batch_size": task.batch, "Wmin": -LIMIT, "Wmax": LIMIT}
    nest.SetDefaults(plastic, {"optimizer": optimizer})
    groups = ((inputs, hidden), (hidden, hidden), (hidden, outputs))
    for (pre, post), weight in zip(groups, task.weights, strict=True):
        synapse = {"synapse_model": plastic, "delay": 1.0, "weight": weight, **more}
        nest.Connect(pre, post, {"rule": "all_to_all", "allow_autapses": False}, synapse)
    back = {"synapse_model": f"eprop_learning_signal_connection{family}", "delay": 1.0, "weight": task.feedback}
    nest.Connect(outputs, hidden, "all_to_all", back)
    return inputs, hidden, outputs


def _learned(
    nest: Any, task: Task, inputs: Any, hidden: Any, outputs: Any, *, target_at: float, flush_after: int
) -> Weights:
    """Run all intervals and return the weights.

    Args:
        target_at: time of the first target, ms, such that it meets the read-out of the first input.
        flush_after: ms after the last input when presynaptic neurons are made to fire.
    """
    stimuli = nest.Create("spike_generator", len(inputs))
    for generator, fired in zip(stimuli, task.spikes.reshape(-1, len(inputs)).T, strict=True):
        generator.spike_times = np.flatnonzero(fired) + INPUT_AT
    nest.Connect(stimuli, inputs, "one_to_one")
    goals = nest.Create("step_rate_generator", len(outputs))
    for generator, values in zip(goals, task.targets.reshape(-1, len(outputs)).T, strict=True):
        generator.set(amplitude_times=np.arange(len(values)) + target_at, amplitude_values=values)
    nest.Connect(goals, outputs, "one_to_one", _signal(receptor=2))
    end = task.spikes.shape[0] * task.spikes.shape[1] + flush_after
    flush = nest.Create("spike_generator", params={"spike_times": [float(end)]})
    nest.Connect(flush, inputs + hidden, "all_to_all", {"weight": FLUSH})
    nest.Simulate(end + 2.0)
    w_in, w_rec, w_out = (
        _weights(nest, pre, post) for pre, post in ((inputs, hidden), (hidden, hidden), (hidden, outputs))
    )
    return w_in, w_rec, w_out


def _weights(nest: Any, pre: Any, post: Any) -> np.ndarray:
    found = nest.GetConnections(pre, post).get(["source", "target", "weight"])
    matrix = np.zeros((len(post), len(pre)))
    matrix[np.subtract(found["target"], post[0].global_id), np.subtract(found["source"], pre[0].global_id)] = found[
        "weight"
    ]
    return matrix
