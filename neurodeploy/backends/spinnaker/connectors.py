"""A list of synapses connected at once through each simulator's own call; PyNN's connectors take them cell by cell."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from pyNN.connectors import Connector

from neurodeploy.backends.spinnaker.cells import STEP_MS, Model


class Stored(Connector):
    """All synapses of one projection.

    Args:
        pre, post: (synapse,) of each one's ends.
        weight: (synapse,) in mV.
        delay: of all, in steps from 1.
        model: of the postsynaptic cells.
    """

    def __init__(self, pre: np.ndarray, post: np.ndarray, weight: np.ndarray, delay: int, model: Model) -> None:
        super().__init__()
        self.pre, self.post, self.weight, self.delay, self.model = pre, post, weight, delay, model

    def connect(self, projection: Any) -> None:
        """Connect what `projection` joins; PyNN calls this."""
        connect = {"pyNN.nest.projections": self._on_nest, "pyNN.brian2.projections": self._on_brian2}
        connect[type(projection).__module__](projection)

    def _on_nest(self, projection: Any) -> None:
        nest = import_module("nest")
        pre, post = (np.array(p.node_collection.tolist()) for p in (projection.pre, projection.post))
        synapses = {
            "synapse_model": projection.nest_synapse_model,
            "synapse_label": np.full(self.pre.size, projection.nest_synapse_label),
            "weight": self.weight * self.model.native_weight,
            "delay": np.full(self.pre.size, self.delay * STEP_MS),
        }
        nest.Connect(pre[self.pre], post[self.post], "one_to_one", synapses)
        projection._sources.update(pre[np.unique(self.pre)].tolist())

    def _on_brian2(self, projection: Any) -> None:
        """Brian2 counts a delay from the step after the spike; currents take in what arrives before cells advance."""
        synapses = projection._brian2_synapses[0][0]
        synapses.connect(i=self.pre, j=self.post)
        synapses.weight_[:] = self.weight * self.model.native_weight
        synapses.delay_[:] = (self.delay - 1) * STEP_MS * 1e-3
        synapses.pre.when = "before_groups" if self.model.name.endswith("Exp") else "synapses"
        projection._n_connections = self.pre.size
