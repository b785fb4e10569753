"""Learning rules as descriptions: traces and sums of products, the vocabulary neuromorphic hardware learns in.

A rule is a table of equations, one per variable, each a sum of products, written as in the literature:

    eps = beta*eps' + x          a trace of the presynaptic side; a prime means "of the step before"
    e   = kappa*e' + psi*eps     a variable of the synapse
    dw  = -L*e                   the change of the weight, added up over the steps (or taken once, at the end)

The same table is interpreted in PyTorch (`learning/interpreter.py`, the living definition), trained fast by the rule's
own file (proven equal to the interpreter) and compiled by the backends whose hardware can express it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

PRE, POST, SYNAPSE = "pre", "post", "synapse"
TERM = re.compile(r"\s*([+-]?)\s*([^+-]+)")
FACTOR = re.compile(r"(?:(?P<number>\d+\.?\d*)|(?P<name>[A-Za-z_]\w*)(?P<before>'?))\s*$")


@dataclass(frozen=True)
class Factor:
    """A variable or constant by name; `before` means its value of the step before, zero at the first."""

    name: str
    before: bool = False


@dataclass(frozen=True)
class Term:
    """coefficient * factor * factor * ..."""

    coefficient: float
    factors: tuple[Factor, ...]


def terms(equation: str) -> tuple[Term, ...]:
    """Return the terms of a sum of products such as "beta*eps' - 2*x*y".

    Raises:
        ValueError: when it is no such sum. Equations are part of the code, so this is a defect, not bad input.
    """
    if re.fullmatch(f"({TERM.pattern})+", equation) is None:
        raise ValueError(f"{equation!r} is neither a product nor a sum of products")
    return tuple(_term(sign, product) for sign, product in TERM.findall(equation))


def _term(sign: str, product: str) -> Term:
    coefficient, factors = -1.0 if sign == "-" else 1.0, []
    for part in product.split("*"):
        match = FACTOR.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} in {product!r} is neither a number nor a name")
        if match["number"]:
            coefficient *= float(match["number"])
        else:
            factors.append(Factor(match["name"], bool(match["before"])))
    return Term(coefficient, tuple(factors))


class Signal(StrEnum):
    """Where the third factor `L` of a rule comes from."""

    NONE = "none"
    """The rule has two factors only."""
    BROADCAST = "broadcast"
    """L_j = sum_k B_jk err_k: the output's error, through feedback weights B."""
    LOCAL_READOUT = "local_readout"
    """L_j = sum_k G_kj d_k: the error of a fixed random readout of the layer itself."""
    REWARD = "reward"
    """L = r: one number for all synapses."""
    PHASE = "phase"
    """The error arrives as spikes of a second phase, through the transposed weights."""


class Update(StrEnum):
    """When dw is taken."""

    EVERY_STEP = "every_step"
    """dw is evaluated at every step and added up."""
    SAMPLE_END = "sample_end"
    """dw is evaluated once, after the last step."""


@dataclass(frozen=True)
class Rule:
    """A plasticity rule of the synapses (i -> j) between two populations.

    Args:
        name: as the command line knows it.
        pre, post, synapse: variable -> equation, in order of evaluation within a step. A `pre` equation may use x (the
            presynaptic spike) and pre variables; a `post` one z (the postsynaptic spike), psi (the pseudo-derivative of
            the membrane), L and post variables; a `synapse` one and dw all of them, and w, the weight itself.
        weight: the equation of dw, in all variables.
        signal: what L is.
        update: when dw is taken.
        phases: variable -> the phase it is advanced in, for rules that have several; others advance in all.
        constants: the names in the equations that are numbers: of the neuron (alpha, beta, ...) or of the rule.
        source: where the equations are published.
    """

    name: str
    weight: str
    pre: dict[str, str] = field(default_factory=dict)
    post: dict[str, str] = field(default_factory=dict)
    synapse: dict[str, str] = field(default_factory=dict)
    signal: Signal = Signal.NONE
    update: Update = Update.EVERY_STEP
    phases: dict[str, str] = field(default_factory=dict)
    constants: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        given = {PRE: {"x"}, POST: {"z", "psi", "L"}}
        known = {PRE: given[PRE] | set(self.pre), POST: given[POST] | set(self.post)}
        known[SYNAPSE] = known[PRE] | known[POST] | set(self.synapse) | {"w"}
        for site, equations in ((PRE, self.pre), (POST, self.post), (SYNAPSE, self.synapse | {"dw": self.weight})):
            for name, equation in equations.items():
                used = {factor.name for term in terms(equation) for factor in term.factors}
                unknown = used - known[site] - set(self.constants)
                if unknown:
                    raise ValueError(f"{self.name}: {name} = {equation} uses {sorted(unknown)}")
