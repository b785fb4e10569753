"""What features stand for: classes are assigned to them once they have learned, by what they fire to labelled samples.

    vote of feature j for class c    P_cj = share of j's spikes that it fired to samples of c
    output counts                    sum_t sum_j P_cj s_j(t) / theta,   theta = 2 mean spikes of a sample / steps

The features hear no label, and nothing of this happens on the target while it learns.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.engine.plastic import PlasticEngine
from neurodeploy.ir.paired import ROOM, VOTE_ONE, PairedProgram


def responses(program: PairedProgram, spikes: np.ndarray) -> np.ndarray:
    """Return the spike counts of the features, int64 (sample, feature), nothing learning.

    Args:
        spikes: (sample, step, input), zero or one.
    """
    engine = PlasticEngine(program.frozen(), program.duration(len(spikes)))
    engine.wait()
    counts = np.zeros((len(spikes), program.features.size), np.int64)
    engine.arithmetic.respond(engine.chain, engine.state, np.ascontiguousarray(spikes, np.uint8), counts)
    return counts


def assigned(program: PairedProgram, spikes: np.ndarray, labels: np.ndarray) -> PairedProgram:
    """Return the program with the votes that its features cast as they are now.

    Args:
        spikes: (sample, step, input) of training samples; labels: (sample,).
    """
    counts = responses(program, spikes)
    fired = np.eye(program.output.size)[:, labels] @ counts
    votes = fired / np.maximum(fired.sum(0), 1)
    theta = ROOM * max(1.0, float(counts.sum(1).mean())) / program.steps
    if not program.integer:
        return program.voting(VOTE_ONE * votes, np.array(VOTE_ONE * theta))
    return program.voting(2 * np.round(VOTE_ONE / 2 * votes).astype(np.int32), np.array(round(VOTE_ONE * theta)))
