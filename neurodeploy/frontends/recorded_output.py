"""Which population a module reads out: what it returned, taken apart into spikes of neurons and steps."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from neurodeploy.errors import Finding
from neurodeploy.frontends.folding import Folding, Spikes, leaves
from neurodeploy.frontends.tracing import Kind, Trace, Value

Outputs = list[list[Tensor]]
"""Per run, the returned tensors."""
COUNTS = (Kind.SPIKES, Kind.SUM, Kind.REDUCTION, Kind.SCALED)
"""What spikes may be returned as: themselves, or counted over steps."""


def find_output(trace: Trace, folding: Folding, outputs: Outputs, findings: list[Finding]) -> str:
    """Return the population whose spikes of all steps are returned; else add a finding and return ""."""
    reader = _OutputReader(trace, folding)
    candidates: list[str] = []
    for tensors in zip(*outputs, strict=False):
        seen = [reader.read(trace.shadow(tensor)) for tensor in tensors]
        steps: dict[str, set[int]] = {}
        for neuron, step in (pair for part in seen for pair in part):
            steps.setdefault(neuron, set()).add(step)
        candidates += [n for n, taken in steps.items() if len(taken) == folding.steps and n not in candidates]
    if reader.further:
        findings += reader.further
        return ""
    feeding = {name: _ancestors(folding, name) for name in candidates}
    last = [name for name in candidates if not any(name in feeding[other] for other in candidates if other != name)]
    if len(last) == 1:
        return last[0] or type(trace.net).__name__.lower()
    findings.append(_no_output(last, reader))
    return ""


def _ancestors(folding: Folding, name: str) -> set[str]:
    """Return the neurons whose spikes reach `name`, by whatever way."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for leaf in leaves(folding.wiring[waiting.pop()]):
            if isinstance(leaf, Spikes) and leaf.neuron not in found:
                found.add(leaf.neuron)
                waiting.append(leaf.neuron)
    return found


class _OutputReader:
    """Takes returned tensors apart into spikes; keeps what else was returned."""

    def __init__(self, trace: Trace, folding: Folding) -> None:
        self.trace = trace
        self.folding = folding
        self.further: list[Finding] = []
        self.states: set[str] = set()
        self.partial: set[str] = set()

    def read(self, shadow: Tensor | None) -> set[tuple[str, int]]:
        """Return the (neuron, step) pairs whose whole spikes `shadow` shows or counts, all with the same weight."""
        pairs: dict[tuple[str, int], Value] = {}
        weights: set[Fraction] = set()
        others: list[Value] = []
        waiting = [] if shadow is None else [(shadow, Fraction(1))]
        while waiting:
            part, weight = waiting.pop()
            for value in self._values(part):
                pair = (value.name, value.step)
                match value.kind:
                    case Kind.STATE:
                        self.states.add(value.name)
                        others.append(value)
                    case Kind.INPUT | Kind.LAYER | Kind.SUM if value.first in self.folding.used:
                        others.append(value)
                    case kind if kind in COUNTS and not _in_order(part, value):
                        self._refuse(value, "a part or rearrangement of ")
                    case Kind.SPIKES if pair in pairs:
                        self._refuse(value, "a second time ")
                    case Kind.SPIKES:
                        pairs[pair] = value
                        weights.add(weight)
                        self.partial.add(value.name)
                    case Kind.SUM:
                        waiting += [(term, weight) for term in value.inputs]
                    case Kind.REDUCTION if self._over_time(value):
                        source = value.inputs[0]
                        summands = source.shape[value.settings["dims"][0]] if value.name == "mean" else 1
                        waiting.append((source, weight / summands))
                    case Kind.SCALED:
                        waiting.append((value.inputs[0], weight * value.settings["factor"]))
                    case _:
                        self._refuse(value)
        if pairs and (others or len({neuron for neuron, _ in pairs}) > 1):
            self._refuse((others or [*pairs.values()])[-1], "a mixture of spikes with other things, among them ")
        elif len(weights) > 1:
            self._refuse([*pairs.values()][-1], "an unequally weighted sum of ")
        return set(pairs)

    def _values(self, shadow: Tensor) -> list[Value]:
        numbers = torch.unique(shadow)
        values: list[Value] = []
        for number in numbers[numbers > 0].tolist():
            if not values or number >= values[-1].first + values[-1].size:
                values.append(self.trace.value_at(number))
        return values

    def _over_time(self, value: Value) -> bool:
        """Whether a sum or mean runs over steps only: every summand is one step's spikes or states as a whole."""
        dims = value.settings["dims"]
        source = value.inputs[0]
        if len(dims) != 1 or not source.dim():
            return False
        for part in source.movedim(dims[0], 0):
            if part.numel() and part.any():
                whole = self.trace.value_at(int(part.max()))
                if part.numel() != whole.size or not torch.equal(part.reshape(-1), whole.numbers.reshape(-1)):
                    return False
        return True

    def _refuse(self, value: Value, part: str = "") -> None:
        finding = Finding(
            "ND019",
            value.place,
            f"the module returns {part}what `{value.name}` computes here",
            "the decision is the output population's spike counts; what is computed after its spikes would be lost",
            "return the spikes of the last layer, stacked or summed over steps, and decide outside the module",
        )
        if finding not in self.further:
            self.further.append(finding)


def _in_order(shadow: Tensor, value: Value) -> bool:
    """Whether `shadow` shows `value` once, whole and in C order, whatever else it shows."""
    numbers = shadow.reshape(-1)
    own = numbers[(numbers >= value.first) & (numbers < value.first + value.size)]
    return torch.equal(own, value.numbers.reshape(-1))


def _no_output(last: list[str], reader: _OutputReader) -> Finding:
    why = "the decision is read from the spike counts of one population over all steps"
    fix = "return the output layer's spikes of every step, e.g. torch.stack(spikes)"
    if len(last) > 1:
        what = (
            f"the module returns the spikes of {len(last)} populations that do not feed each other: {', '.join(last)}"
        )
        return Finding("ND019", "net", what, why, "return the spikes of one of them")
    if reader.partial:
        what = f"the module returns spikes of some steps only ({', '.join(sorted(reader.partial))})"
    elif reader.states:
        what = f"the module returns membranes or currents only ({', '.join(sorted(reader.states))})"
    else:
        what = "the module returns no spikes"
    return Finding("ND019", "net", what, why, fix)
