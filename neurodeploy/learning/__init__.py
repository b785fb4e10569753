"""Training with rules of varying locality, under one interface: `train` for a whole run, or a rule's own `Learner`.

A rule is one file that states its equations once. What a chip could do is also a table (`ir/plasticity.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from neurodeploy.errors import Finding, UsageError


@dataclass(frozen=True)
class Entry:
    """Where a rule lives: its module, the Learner's name there, what it is in words.

    own_architecture: it builds its own kind of network; shapes_neurons: it chooses its neurons' constants itself.
    """

    module: str
    learner: str
    says: str
    own_architecture: bool = False
    shapes_neurons: bool = False

    @property
    def home(self) -> Any:
        return import_module(f"neurodeploy.learning.{self.module}")


RULES = {
    "bptt": Entry("bptt", "BPTT", "surrogate-gradient backpropagation through time"),
    "fa": Entry("fa", "FA", "feedback alignment"),
    "dfa": Entry("dfa", "DFA", "direct feedback alignment"),
    "eprop": Entry("eprop", "EProp", "eligibility propagation"),
    "decolle": Entry("decolle", "Decolle", "local losses of fixed random readouts"),
    "spide": Entry(
        "spide",
        "SPIDE",
        "implicit differentiation on the equilibrium, by spikes",
        own_architecture=True,
        shapes_neurons=True,
    ),
    "ide": Entry(
        "ide",
        "IDE",
        "implicit differentiation on the equilibrium, by a solver",
        own_architecture=True,
        shapes_neurons=True,
    ),
    "stdp": Entry(
        "stdp",
        "STDP",
        "spike-timing-dependent plasticity, unsupervised; labels are read off afterwards",
        shapes_neurons=True,
    ),
    "rstdp": Entry("rstdp", "RSTDP", "reward-modulated STDP on features that STDP found", shapes_neurons=True),
    "convert": Entry(
        "conversion", "Conversion", "an ANN trained by backpropagation, its units made to fire", shapes_neurons=True
    ),
}
"""Name on the command line -> the rule."""


def rule(name: str) -> Entry:
    """Return the rule of this name.

    Raises:
        UsageError: ND074 when there is none.
    """
    if name not in RULES:
        why = f"known are {', '.join(RULES)}"
        raise UsageError(Finding("ND074", f"--rule {name}", "no such learning rule", why, "use one of these"))
    return RULES[name]
