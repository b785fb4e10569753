"""Any rule, executed as it is written: one variable per synapse and sample, one step after the other.

Slow and obvious; what the fast paths of the rules' own files are held against.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from neurodeploy.ir.plasticity import Rule, Term, Update, terms

Values = dict[str, Tensor]
ZERO = torch.zeros(())
"""A variable before its first step."""


def weight_change(
    rule: Rule,
    x: Tensor,
    z: Tensor,
    *,
    psi: Tensor | None = None,
    signal: Tensor | None = None,
    weights: Tensor | None = None,
    constants: Mapping[str, float | Tensor] | None = None,
    phase: str = "",
    before: Values | None = None,
) -> tuple[Tensor, Values]:
    """Return the dw (post, pre) that `rule` asks for, summed over samples, and the variables after the last step.

    Args:
        x: presynaptic spikes (step, sample, pre).
        z: postsynaptic spikes (step, sample, post); psi: pseudo-derivatives, signal: third factors L, both as z. What
            is left out counts as zero.
        weights: w (post, pre), the same at all steps, for rules that depend on it.
        constants: the rule's constants; a tensor is per postsynaptic neuron and has shape (post,).
        phase: of a rule with phases, the one that is run; the others' variables keep their values.
        before: the variables of an earlier call to go on from.
    """
    fixed = {name: _per_post(value) for name, value in (constants or {}).items()}
    missing = set(rule.constants) - set(fixed)
    if missing:
        raise ValueError(f"{rule.name} needs the constants {sorted(missing)}")
    zero = torch.zeros_like(z[0])
    last: Values = dict(before or {})
    total = torch.zeros(z.shape[2], x.shape[2], dtype=x.dtype)
    equations = {name: terms(text) for name, text in (rule.pre | rule.post | rule.synapse).items()}
    weight = terms(rule.weight)
    for step in range(len(x)):
        now: Values = {
            "x": x[step].unsqueeze(1),
            "z": z[step].unsqueeze(2),
            "psi": (zero if psi is None else psi[step]).unsqueeze(2),
            "L": (zero if signal is None else signal[step]).unsqueeze(2),
            "w": ZERO if weights is None else weights,
        }
        for name, equation in equations.items():
            active = rule.phases.get(name, phase) == phase
            now[name] = _value(equation, now, last, fixed) if active else last.get(name, ZERO)
        if rule.update is Update.EVERY_STEP:
            total = total + _value(weight, now, last, fixed).sum(0)
        last = now
    if rule.update is Update.SAMPLE_END:
        total = _value(weight, last, last, fixed).sum(0)
    return total, last


def _value(equation: tuple[Term, ...], now: Values, before: Values, constants: Values) -> Tensor:
    """Return a sum of products; pre values have shape (sample, 1, pre), post (sample, post, 1), synapses both."""
    result: Tensor | float = 0.0
    for term in equation:
        product: Tensor | float = term.coefficient
        for factor in term.factors:
            if factor.name in constants:
                value = constants[factor.name]
            elif factor.before:
                value = before.get(factor.name, ZERO)
            else:
                value = now[factor.name]
            product = product * value
        result = result + product
    return torch.as_tensor(result)


def _per_post(value: float | Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
    return tensor.reshape(-1, 1) if tensor.dim() else tensor
