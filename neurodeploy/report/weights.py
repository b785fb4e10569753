"""What did rounding do to the weights? Every projection's as meant and as the program holds them, as histograms."""

from __future__ import annotations

from math import ceil, floor

import numpy as np

from neurodeploy.artifact import CompiledModel
from neurodeploy.evaluation import rounding
from neurodeploy.ir.network import Network
from neurodeploy.ir.program import Projection, SparseSynapses
from neurodeploy.summary import Plain

MOST_BINS = 48


def of(model: CompiledModel) -> list[Plain]:
    """Return per projection both histograms over the same bins, and by how much weights were moved.

    Weights are in membrane units of the source; what a sparse projection does not store is left out of both.
    """
    network = rounding.as_allowed(model)
    return [_projection(model, network, projection) for projection in model.program.projections]


def _projection(model: CompiledModel, network: Network, projection: Projection) -> Plain:
    meant, rounded, _ = rounding.weights(network, model.program, projection)
    if isinstance(projection.synapses, SparseSynapses):
        meant, rounded = meant[meant != 0], rounded[meant != 0]
    edges = _edges(np.concatenate([meant.reshape(-1), rounded.reshape(-1)]), model.program.weight_steps(projection))
    error = np.abs(rounded - meant)
    return {
        "name": projection.name,
        "from": projection.source,
        "to": projection.target,
        "weights": int(meant.size),
        "edges": edges.tolist(),
        "before": np.histogram(meant, edges)[0].tolist(),
        "after": np.histogram(rounded, edges)[0].tolist(),
        "distinct_after": len(np.unique(rounded)),
        "largest_weight": float(np.abs(meant).max(initial=0)),
        "largest_error": float(error.max(initial=0)),
        "mean_error": float(error.mean()) if error.size else None,
    }


def _edges(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return edges halfway between values a weight can be rounded to, so that each bin holds equally many of them."""
    step, low, high = float(np.max(steps)), float(values.min(initial=0)), float(values.max(initial=0))
    width = max(1, ceil((high - low) / step / MOST_BINS))
    first, last = floor(low / step / width + 0.5), floor(high / step / width + 0.5)
    return (np.arange(first, last + 2) - 0.5) * width * step
