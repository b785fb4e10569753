"""Fold the unrolled steps of a `Trace` into one step's wiring, and hold every step to it.

What a neuron reads at a step is a tree of layers over spikes, input and zeros. Time is relative in it, so the trees of
all steps must be equal. Only the first step may differ, in that what was delayed was zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor

from neurodeploy.errors import Finding
from neurodeploy.frontends.tracing import Kind, NeuronCall, Trace, Value

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Zero:
    """A constant zero: a state at rest."""

    def __str__(self) -> str:
        return "zero"


@dataclass(frozen=True)
class Samples:
    """The net's input of the step (`axis` is the time axis of the example), or all of it at every step (None)."""

    axis: int | None
    offset: int
    shape: Shape

    def __str__(self) -> str:
        return "the input" if not self.offset else f"the input of {self.offset:+d} steps"


@dataclass(frozen=True)
class Spikes:
    """A neuron's spikes of `delay` steps ago."""

    neuron: str
    delay: int

    def __str__(self) -> str:
        return f'the spikes of "{self.neuron}"' + (f" {self.delay} steps before" if self.delay else "")


@dataclass(frozen=True)
class Applied:
    """A layer applied to `operand`; `settings` is a fingerprint of all its arguments."""

    name: str
    settings: str
    operand: Tree
    value: Value = field(compare=False)

    def __str__(self) -> str:
        return f"{self.name}({self.operand})"


@dataclass(frozen=True)
class Reshaped:
    """The elements of `operand` in C order under another shape."""

    shape: Shape
    operand: Tree

    def __str__(self) -> str:
        return f"reshape({self.operand})"


@dataclass(frozen=True)
class Sum:
    """Terms in the order in which they were added."""

    terms: tuple[Tree, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


@dataclass(frozen=True)
class Unknown:
    """Something that cannot be expressed, and everything on the way to it that stands against it."""

    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return f"<{self.findings[-1].what}>"


Tree = Zero | Samples | Spikes | Applied | Reshaped | Sum | Unknown


class Folding:
    """The per-step wiring of every neuron in `trace`.

    After construction: `wiring` is neuron -> what it reads at a step, `findings` everything that stands against it, and
    `used` the numbers of the layers' values that some neuron reads.
    """

    def __init__(self, trace: Trace, runs: int) -> None:
        self.trace = trace
        self.runs = runs
        self.findings: list[Finding] = []
        self.used: set[int] = set()
        self._trees: dict[tuple[int, int], Tree] = {}
        self._states = {
            (value.name, value.step, value.settings.get("state", "spk")): value
            for value in trace.values
            if value.kind in (Kind.SPIKES, Kind.STATE)
        }
        self.steps = max((len(calls) for calls in trace.calls.values()), default=0)
        self.wiring = {name: self._fold(name, calls) for name, calls in trace.calls.items()}

    # What a neuron reads

    def tree(self, shadow: Tensor, step: int, place: str) -> Tree:
        """Return where the elements of `shadow` come from, seen from `step`."""
        numbers = shadow.reshape(-1)
        if not numbers.any():
            return Zero()
        value = self.trace.value_at(int(numbers.max()))
        if value.kind is Kind.INPUT:
            self.used.add(value.first)
            return self._samples(value, shadow, step, place)
        whole = torch.equal(numbers, value.numbers.reshape(-1))
        if not whole and value.kind is Kind.LAYER and (rows := _rows(value, shadow)) is not None:
            self.used.add(value.first)
            value, whole = rows, True
            tree = self._applied(rows, step)
        else:
            tree = self._value_tree(value, step)
        if isinstance(tree, Unknown):
            return tree
        if not whole or shadow.shape[:1] != value.shape[:1]:
            return _unknown(
                place,
                f"it reads a rearrangement of what {value.name} ({value.place}) computes",
                "only whole outputs of one step, perhaps reshaped with the batch axis first, have a counterpart",
                "apply layers step by step and sample by sample; use permutations and slices on the input only",
            )
        return tree if shadow.shape == value.shape else Reshaped(tuple(shadow.shape[1:]), tree)

    def _samples(self, value: Value, shadow: Tensor, step: int, place: str) -> Tree:
        numbers, everything = shadow.reshape(-1), value.numbers
        if torch.equal(numbers, everything.reshape(-1)):
            offset = value.step - step if self.runs > 1 else 0
            return _reshaped(Samples(None, offset, tuple(value.shape[1:])), shadow, value.shape[0])
        if shadow.dim() and numbers[0] >= value.first:
            position = torch.unravel_index(numbers[0] - value.first, value.shape)
            for axis, index in enumerate(position):
                part = everything.select(axis, int(index))
                if part.dim() and torch.equal(numbers, part.reshape(-1)):
                    offset = int(index) - step + (value.step if self.runs > 1 else 0)
                    return _reshaped(Samples(axis, offset, tuple(part.shape[1:])), shadow, part.shape[0])
            now = _squeezed_step(value, shadow)
            if now is not None:
                offset = now - step + (value.step if self.runs > 1 else 0)
                return Samples(0, offset, tuple(value.shape[1:]))
        return _unknown(
            place,
            "it reads a part or a rearrangement of the input",
            "a step reads the whole input, or one index of one time axis, with the batch axis first in what is left",
            "move slicing and reordering of samples out of the net",
        )

    def _value_tree(self, value: Value, step: int) -> Tree:
        key = (value.first, step)
        if key not in self._trees:
            self._trees[key] = self._new_tree(value, step)
        return self._trees[key]

    def _new_tree(self, value: Value, step: int) -> Tree:
        self.used.add(value.first)
        match value.kind:
            case Kind.SPIKES:
                return Spikes(value.name, step - value.step)
            case Kind.LAYER:
                return self._applied(value, step)
            case Kind.SUM:
                terms = [self.tree(shadow, step, value.place) for shadow in value.inputs]
                unknown = [finding for term in terms if isinstance(term, Unknown) for finding in term.findings]
                if unknown:
                    return Unknown(tuple(unknown))
                return Sum(tuple(leaf for term in terms for leaf in (term.terms if isinstance(term, Sum) else (term,))))
            case Kind.STATE:
                return _unknown(
                    value.place,
                    f'a layer reads the membrane or current of "{value.name}"',
                    "populations exchange spikes; real-valued states stay inside their core",
                    "feed the spikes, or give the next layer spikes of a further neuron",
                )
        return Unknown(self._obstacles(value))

    def _applied(self, layer: Value, step: int) -> Tree:
        operand = self.tree(layer.inputs[0], step, layer.place)
        return operand if isinstance(operand, Unknown) else Applied(layer.name, self._key(layer), operand, layer)

    def _obstacles(self, value: Value) -> tuple[Finding, ...]:
        """Return a finding for every unknown operation on the way to `value`, the earliest first."""
        findings, waiting, seen = [], [value], {value.first}
        while waiting:
            current = waiting.pop()
            if current.kind in (Kind.OPAQUE, Kind.CONSTANT, Kind.REDUCTION, Kind.SCALED):
                findings.append(_opaque(current))
            for shadow in current.inputs:
                if shadow.numel() and shadow.any():
                    source = self.trace.value_at(int(shadow.max()))
                    if source.first not in seen:
                        seen.add(source.first)
                        waiting.append(source)
        return tuple(dict.fromkeys(reversed(findings)))

    def _key(self, value: Value) -> str:
        parts = []
        for name, setting in value.settings.items():
            parts.append(f"{name}={self.trace.digest(setting) if isinstance(setting, Tensor) else setting!r}")
        return " ".join([*parts, str(tuple(value.inputs[0].shape[1:]))])

    # Every step like the second

    def _fold(self, name: str, calls: list[NeuronCall]) -> Tree:
        if len(calls) != self.steps or self.steps < 2:
            self._miscounted(name, calls)
            return Zero()
        trees = [self.tree(call.current, call.step, call.place) for call in calls]
        unknown = [tree for tree in trees if isinstance(tree, Unknown)]
        if unknown:
            self._add(*(finding for tree in unknown for finding in tree.findings))
            return Zero()
        reference = trees[1]
        for step, tree in enumerate(trees):
            if not (tree == reference or (step == 0 and first_step_of(reference, tree))):
                self._add(_wired_differently(calls[step], tree, reference))
                break
        self._check_leaves(reference, calls[1].place)
        for call in calls:
            if not self._carries_states(call):
                break
        return reference

    def _miscounted(self, name: str, calls: list[NeuronCall]) -> None:
        what = f"it is called {len(calls)} times where others are called {self.steps} times"
        why = "one step calls every neuron exactly once; a second use would need a second set of membranes"
        fix = "give every place of use a neuron of its own, and call it at every step"
        if len(calls) == self.steps:
            what, why = "the example makes it take one step only", "a loop shows itself from its second step on"
            fix = "record with an example of at least two steps"
        self._add(Finding("ND016", calls[0].place, what, why, fix))

    def _carries_states(self, call: NeuronCall) -> bool:
        """Check that a call starts from rest, or from its own states of the step before."""
        for state, shadow in call.states.items():
            at_rest = (shadow is None and state not in call.nonzero) or (
                shadow is not None and (tuple(shadow.shape) != call.shape or not shadow.any())
            )
            if call.step == 0 and not at_rest:
                self._add(
                    Finding(
                        "ND018",
                        call.place,
                        f"the first step starts from a `{state}` that is not zero",
                        "every target starts its neurons at rest",
                        "start from zeros, e.g. with the neuron's reset_mem()",
                    )
                )
                return False
            if call.step and not self._own(call, state, shadow):
                self._add(_not_handed_back(call, state, rest=at_rest))
                return False
        return True

    def _own(self, call: NeuronCall, state: str, shadow: Tensor | None) -> bool:
        before = self._states[call.name, call.step - 1, state]
        return shadow is not None and torch.equal(shadow, before.numbers)

    def _check_leaves(self, tree: Tree, place: str) -> None:
        for leaf in leaves(tree):
            match leaf:
                case Zero():
                    self._add(*_unknown(place, "it reads a constant at every step").findings)
                case Spikes(neuron, delay) if delay not in (0, 1):
                    why = "a connection may wait one step, as recurrence does"
                    what = f'it reads spikes of "{neuron}" of {delay} steps before'
                    self._add(Finding("ND016", place, what, why, "read the spikes of this step or of the one before"))
                case Samples(_, offset) if offset:
                    why = "the net would have to know its input of another step"
                    fix = "use index k of the time axis at step k"
                    self._add(Finding("ND026", place, f"its step k reads the input of step k{offset:+d}", why, fix))

    def _add(self, *findings: Finding) -> None:
        self.findings += [finding for finding in dict.fromkeys(findings) if finding not in self.findings]


def leaves(tree: Tree) -> list[Tree]:
    """Return the zeros, samples and spikes that `tree` is built on."""
    match tree:
        case Applied(operand=operand) | Reshaped(operand=operand):
            return leaves(operand)
        case Sum(terms):
            return [leaf for term in terms for leaf in leaves(term)]
    return [tree]


def first_step_of(tree: Tree, first: Tree) -> bool:
    """Whether `first` is `tree` at step 0, where everything delayed is zero (and may be left out)."""
    match tree, first:
        case _, Zero():
            return vanishes(tree)
        case Applied(name, settings, operand), Applied(name_, settings_, operand_):
            return (name, settings) == (name_, settings_) and first_step_of(operand, operand_)
        case Reshaped(shape, operand), Reshaped(shape_, operand_):
            return shape == shape_ and first_step_of(operand, operand_)
        case Sum(terms), _:
            left = list(first.terms) if isinstance(first, Sum) else [first]
            for term in terms:
                if left and (term == left[0] or first_step_of(term, left[0])):
                    left.pop(0)
                elif not vanishes(term):
                    return False
            return not left
    return tree == first


def vanishes(tree: Tree) -> bool:
    """Whether `tree` is exactly zero at step 0."""
    match tree:
        case Zero():
            return True
        case Spikes(_, delay):
            return delay > 0
        case Reshaped(operand=operand):
            return vanishes(operand)
        case Applied(operand=operand, value=value):
            offset = value.settings["function"] == "batch_norm" or value.settings.get("bias") is not None
            return not offset and vanishes(operand)
        case Sum(terms):
            return all(map(vanishes, terms))
    return False


def _rows(layer: Value, shadow: Tensor) -> Value | None:
    """Return `layer` as applied to nothing but the rows of its input that make `shadow`, or None when there are none.

    A layer computes every row on its own: a sample, or for a linear layer whatever lies on the last axis. So a layer
    that was applied to all steps at once is the same layer at every step.
    """
    source, function = layer.inputs[0], layer.settings["function"]
    axes = 1 if function == "linear" else source.dim() - 1
    batched = function in ("linear", "batch_norm") or axes == int(function[-2]) + 1
    unit = layer.shape[-axes:]
    size = prod(unit)
    if not batched or not shadow.dim() or shadow.numel() != len(shadow) * size:
        return None
    numbers = shadow.reshape(len(shadow), size) - layer.first
    rows = numbers[:, 0] // size
    if rows.min() < 0 or not torch.equal(numbers, rows[:, None] * size + torch.arange(size)):
        return None
    return replace(layer, shape=(len(rows), *unit), inputs=(source.reshape(-1, *source.shape[-axes:])[rows],))


def _squeezed_step(value: Value, shadow: Tensor) -> int | None:
    """Return the step whose rows `shadow` shows, where the first axis of `value` holds all steps sample by sample."""
    if shadow.shape[1:] != value.shape[1:] or value.shape[0] % len(shadow):
        return None
    steps, size = value.shape[0] // len(shadow), prod(value.shape[1:])
    index = (int(shadow.reshape(-1)[0]) - value.first) // size
    return index if index < steps and torch.equal(shadow, value.numbers[index::steps]) else None


def _reshaped(samples: Samples, shadow: Tensor, batch: int) -> Tree:
    if shadow.shape[:1] != (batch,):
        return _unknown("net", "the batch axis of the input is not the first of what a layer reads")
    return samples if shadow.shape[1:] == samples.shape else Reshaped(tuple(shadow.shape[1:]), samples)


def _opaque(value: Value) -> Finding:
    if value.layer:
        what, why = f"{value.layer} has no exact counterpart", "only the layers listed under ND024 are read exactly"
        return Finding("ND024", value.place, what, why, "replace it, or compute it outside the net")
    if value.kind is Kind.CONSTANT:
        what, why = (
            "a constant tensor is read that is no layer's weight or bias",
            "constants live in weights and biases",
        )
        return Finding("ND014", value.place, what, why, "make it the bias of a layer")
    return Finding(
        "ND014",
        value.place,
        f"`{value.name}` lies between the input and a neuron",
        "only linear layers, pooling, batch norm, reshapes and sums of currents have an exact counterpart",
        "write it with those, or compute it before the net as part of the encoding",
    )


def _unknown(
    place: str,
    what: str,
    why: str = "only spikes, the input and layers over them have a counterpart",
    fix: str = "write it with layers over spikes and input",
) -> Unknown:
    return Unknown((Finding("ND014", place, what, why, fix),))


def _wired_differently(call: NeuronCall, tree: Tree, reference: Tree) -> Finding:
    return Finding(
        "ND016",
        call.place,
        f'"{call.name}" reads {tree} at step {call.step}, but {reference} at step 1',
        "every step has the same wiring; a neuron that is used in two places of one step looks like this, too",
        "apply the same layers at every step, each neuron once; a loop needs an example of at least two steps",
    )


def _not_handed_back(call: NeuronCall, state: str, rest: bool) -> Finding:
    seen = "zeros" if rest else "something else"
    return Finding(
        "ND017",
        call.place,
        f'at step {call.step} "{call.name}" does not get back its own `{state}` of the step before, but {seen}',
        "a neuron's states live in its core from step to step, and nothing else may write to them",
        "hand every state back unchanged, reset before the loop only; record with an example of at least two steps",
    )
