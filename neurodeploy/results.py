"""What was observed when a program ran: spikes, states, and counts that come from the spikes, never from a guess."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class RunResult:
    """One run of a program on one executor.

    Steps are each population's own: entry k of a population answers input step k, its latency taken out, so the same
    index means the same moment in every layer, every executor and the source network.

    Args:
        executor: who really computed this, e.g. "engine (numba)" or "lava 0.10.0 runtime".
        spikes: population -> uint8 (step, sample, *neuron); what carries a value is wider: counts and membranes of a
            source are float64, membranes of a program int32, in its payloads.
        currents, voltages: population -> int32 (step, sample, *neuron) *after* the reset, only if states were recorded;
            float64 in mV for SpiNNaker, populations left out and values NaN where the simulator does not show them.
        predictions: int64 (sample,).
        seconds: wall time of the run proper, start-up excluded; None when it was not measured.
        steps_on_chip: how many time steps the target took for the whole batch; None where samples ran independently.
    """

    executor: str
    spikes: dict[str, np.ndarray]
    predictions: np.ndarray
    currents: dict[str, np.ndarray] = field(default_factory=dict)
    voltages: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float | None = None
    steps_on_chip: int | None = None


@dataclass(frozen=True, eq=False)
class Moment:
    """One step of some samples of a `Network`'s run, arrays (sample, *shape).

    Args:
        step: counted from 0.
        samples: which of all samples these are.
        reads: what every node but populations and the input read: the sum of its incoming edges.
        activity: what every node put out, the spikes of populations among it.
        membranes: population -> snnTorch's `mem` after the step; Leaky's before the reset to zero of its next step.
    """

    step: int
    samples: slice
    reads: dict[str, np.ndarray]
    activity: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]


def decide(output_spikes: np.ndarray) -> np.ndarray:
    """Return the decision per sample: the neuron with most spikes, the lowest index on a tie.

    Of neurons that send their membrane, it is the one with the largest sum of that over all steps; of those that tell
    its changes, the one that told the largest value at the end.

    Args:
        output_spikes: (step, sample, *neuron).
    """
    counts = output_spikes.sum(axis=0, dtype=np.int64 if output_spikes.dtype.kind in "biu" else np.float64)
    return counts.reshape(counts.shape[0], -1).argmax(axis=1)


@dataclass(frozen=True, eq=False)
class LearningRun:
    """What a stretch of learning came to.

    Args:
        executor: who ran it.
        weights: of all synapses afterwards, as `PlasticProgram.weights`.
        predictions: int64 (sample,), argmax of output spikes while learning; the lowest index wins a tie.
        spikes: population -> spikes of all samples together; it and the next two are None where nobody counted.
        synaptic_operations: synapses that a spike passed.
        updates: synapses that the rule changed or tried to, a factor of zero left out.
        steps: time steps on the target.
        seconds: it took.
    """

    executor: str
    weights: tuple[np.ndarray, ...]
    predictions: np.ndarray
    spikes: dict[str, int] | None
    synaptic_operations: int | None
    updates: int | None
    steps: int
    seconds: float
