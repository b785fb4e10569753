"""What `train` does when not told: neurons, epochs, batch and the rule's options, per rule and dataset.

Numbers were chosen by trying, on validation data held out from the training split; none saw a test score before it was
fixed, except where a line says so. `paper` are those of arXiv 2402.01782, Table VII.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from neurodeploy.learning.architectures import Neurons


@dataclass(frozen=True)
class Recipe:
    """How one rule is trained on one dataset.

    Args:
        neurons: of every layer.
        epochs, batch: passes over the training split, samples per update.
        gain: factor on the usual range of initial weights.
        arch: architecture when none is named.
        options: fields of the rule's Options that differ from their defaults.
    """

    neurons: Neurons
    epochs: int = 30
    batch: int = 64
    gain: float = 1.0
    arch: str = "ff"
    options: Mapping[str, Any] = field(default_factory=dict)


PIXELS = Neurons(beta=0.9, threshold=1.0)
EVENTS = Neurons(beta=0.9, threshold=1.0, alpha=0.5)
"""A synaptic current that lasts a step or two, as the paper's networks have."""
CURRENTS = {"noise": 0.1}
"""Noise on pixels that are injected as currents keeps a small dataset from being learned by heart."""

RECIPES: dict[str, dict[str, Recipe]] = {
    "bptt": {
        "digits": Recipe(PIXELS, epochs=40, options={"rate": 4e-3, "decay": 0.02, "limit": 0.5, **CURRENTS}),
        "*": Recipe(EVENTS),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"gain": 1.0}),
    },
    "fa": {
        "digits": Recipe(PIXELS, epochs=40, options={"rate": 4e-3, "decay": 0.02, "limit": 0.5, **CURRENTS}),
        "*": Recipe(EVENTS),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"gain": 1.0}),
    },
    "dfa": {
        "digits": Recipe(PIXELS, epochs=40, options={"rate": 4e-3, "decay": 0.02, "limit": 0.5, **CURRENTS}),
        "*": Recipe(EVENTS),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"gain": 1.0}),
    },
    "eprop": {
        "digits": Recipe(PIXELS, epochs=40, options=CURRENTS),
        "*": Recipe(EVENTS, options={"rate": 2e-3}),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"rate": 2e-3}),
    },
    "decolle": {
        "digits": Recipe(PIXELS, epochs=40, options={"rate": 1e-2, **CURRENTS}),
        "*": Recipe(EVENTS, options={"rate": 2e-3}),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"rate": 2e-3}),
    },
}


def recipe(rule: str, dataset: str) -> Recipe:
    """Return the recipe for `rule` on `dataset`, or the rule's general one."""
    known = RECIPES[rule]
    return known.get(dataset, known["*"])


def with_options(found: Recipe, **changes: Any) -> Recipe:
    """Return `found` with some of the rule's options changed."""
    return replace(found, options={**found.options, **changes})
