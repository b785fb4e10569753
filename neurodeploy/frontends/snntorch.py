"""snnTorch modules to a `Network`, by running them: what is recorded is what was computed, never what a file suggests.

The module runs on an example in evaluation mode while a `Trace` follows every tensor; the unrolled steps are then
folded into one step's wiring, and every neuron becomes the LIF whose equation is snnTorch's own. The equations were
read in snnTorch 1.0.0 (`snntorch/_neurons/*.py`) and are reproduced spike by spike in tests/property.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding, NetworkError, UnsupportedError, UsageError, raise_all
from neurodeploy.frontends.checks import contradictions
from neurodeploy.frontends.folding import (
    Applied,
    Folding,
    Reshaped,
    Samples,
    Spikes,
    Sum,
    Tree,
    leaves,
)
from neurodeploy.frontends.tracing import FRONTENDS, LIBRARIES, NEURONS, Kind, NeuronCall, Trace, Value, describe
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Input,
    InputKind,
    Linear,
    MaxPool,
    Node,
    Reset,
    Reshape,
    Scale,
    Shape,
    SparseLinear,
)

ONE_STEP_RUNS = 3
"""How often a module that takes one step per call is called, so that its states show where they go."""
MAX_LEVELS = 255
"""Input grids are looked for up to 8 bits: the payload of a graded spike."""
RESETS = {"_base_sub": 0, "_base_zero": 1, "_base_int": 2}
"""snnTorch's update function -> its `reset_mechanism_val`."""


def record(net: nn.Module, example_input: Tensor, dt: float | None = None, encoding: Any = None) -> Network:
    """Return the network that `net` computes, recorded by running it on `example_input`.

    The module is run as it is called: once, if its forward holds the loop over time, or three times in a row, if one
    call is one step (hidden states, or states as further arguments of forward, which must default to none or be taken
    by the neurons as they come). A time axis of the example may be first, second or last; a static input is injected
    at every step. Training flags, hidden states, buffers and the random state are afterwards what they were.

    Args:
        net: any module whose neurons are snnTorch's Leaky, Synaptic, RLeaky, RSynaptic or Lapicque and whose other
            layers are linear, convolutions, pools, batch norms, reshapes, dropout.
        example_input: what one call takes, batch axis included, of values as they occur: values of 0 and 1 only make
            the input SPIKES, others make it GRADED in their range.
        dt: seconds per step if they mean something; never invented.
        encoding: how samples become input (`neurodeploy.datasets.Encoding` or its plain form), stored with the network.

    Raises:
        UnsupportedError: ND013-ND019, ND022-ND024, ND026 with every place that cannot be translated exactly.
        NetworkError: ND025 when a weight, a parameter or the example is not finite.
        UsageError: ND028 when `net`, `example_input` or `dt` is of the wrong kind.
    """
    _check_call(net, example_input, dt)
    plain = None if encoding is None else dict(encoding) if isinstance(encoding, Mapping) else encoding.to_plain()
    with at_rest(net):
        trace, outputs = _run(net, example_input)
        return _network(trace, outputs, example_input, dt, plain)


def _check_call(net: nn.Module, example: Tensor, dt: float | None) -> None:
    findings = []
    if not isinstance(net, nn.Module):
        findings.append(_misuse(f"net is a {type(net).__name__}", "a torch.nn.Module is recorded"))
    if not isinstance(example, Tensor) or example.dim() < 2 or not example.numel() or example.is_complex():
        what = f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else f"a {type(example).__name__}"
        findings.append(_misuse(f"example_input is {what}", "it needs a batch axis and at least one value"))
    if dt is not None and not (isinstance(dt, int | float) and math.isfinite(dt) and dt > 0):
        findings.append(_misuse(f"dt is {dt!r}", "a step lasts a positive number of seconds"))
    if findings:
        raise UsageError(*findings)
    if not bool(torch.isfinite(example).all()):
        raise NetworkError(_not_finite("example_input", "the example"))


# Running the module


@contextmanager
def at_rest(net: nn.Module) -> Iterator[None]:
    """Put `net` into evaluation mode with empty hidden states; give everything back afterwards."""
    parts = ("_buffers", "_parameters", "_modules")
    saved = [
        (module, dict(module.__dict__), [dict(getattr(module, part)) for part in parts]) for module in net.modules()
    ]
    try:
        net.eval()
        for module, _, _ in saved:
            for state in NEURONS.get(type(module), ()):
                module._buffers[state] = torch.zeros(0)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        for module, fields, contents in saved:
            module.__dict__.clear()
            module.__dict__.update(fields)
            for part, content in zip(parts, contents, strict=True):
                getattr(module, part).clear()
                getattr(module, part).update(content)


Outputs = list[list[Tensor]]
"""Per run, the returned tensors."""


def _run(net: nn.Module, example: Tensor) -> tuple[Trace, Outputs]:
    """Run `net` until every neuron has taken at least two steps, and return the record and what was returned."""
    for module in net.modules():
        if isinstance(module, torch.jit.ScriptModule):
            place = f"net ({type(module).__name__})"
            why = "compiled code hides its operations"
            raise UnsupportedError(Finding("ND024", place, "a TorchScript module", why, "pass the original module"))
    broken = [_broken(name, module) for name, module in net.named_modules() if type(module) is snntorch.RSynaptic]
    raise_all(UnsupportedError, [finding for finding in broken if finding])
    trace, outputs = Trace(net), []
    rest = {name: torch.zeros(0) for name in _state_arguments(net)}
    states = rest
    for run in range(ONE_STEP_RUNS):
        with trace.watch():
            x = example.clone()
            trace.produce(Kind.INPUT, x, "input", step=run, place="net")
            result = _call(trace, net, x, states)
        outputs.append(list(_returned(result)))
        if not trace.calls or any(len(calls) != run + 1 for calls in trace.calls.values()):
            break
        states = {name: trace.state_after(tensor) for name, tensor in rest.items()}
    return trace, outputs


def _state_arguments(net: nn.Module) -> list[str]:
    """Return the names of the arguments that forward wants after the input: the states of a one-step module."""
    arguments = list(inspect.signature(net.forward).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [a.name for a in arguments if a.kind in kinds and a.default is inspect.Parameter.empty]


def _call(trace: Trace, net: nn.Module, x: Tensor, states: dict[str, Tensor]) -> Any:
    try:
        return net(x, **states)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith((*LIBRARIES, FRONTENDS))]
        place = f"{own[-1].filename}:{own[-1].lineno}" if own else "net"
        said = (str(error).strip() or "no message").splitlines()[0][:300]
        finding = Finding(
            "ND013",
            place,
            f"the module fails on an example of shape {tuple(x.shape)}: {type(error).__name__}: {said}",
            "a network is recorded by running it",
            "give an example as one call of the module takes it, batch axis included",
        )
        raise UnsupportedError(*trace.findings, finding) from error


def _returned(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for item in result:
            yield from _returned(item)
    elif isinstance(result, Mapping):
        for item in result.values():
            yield from _returned(item)


# Building the network


def _network(trace: Trace, outputs: Outputs, example: Tensor, dt: float | None, encoding: dict | None) -> Network:
    folding = Folding(trace, len(outputs))
    findings = [*trace.findings, *folding.findings]
    if not trace.calls:
        findings.append(_no_neurons())
        raise UnsupportedError(*findings)
    builder = _Builder(trace, folding)
    builder.build(_input_node(folding, example, encoding, findings))
    findings += builder.findings
    output = find_output(trace, folding, outputs, findings)
    raise_all(UnsupportedError, findings)
    network = Network(
        builder.nodes,
        tuple(builder.edges),
        builder.input,
        output,
        dt_s=None if dt is None else float(dt),
        origin=builder.origin,
        encoding=encoding,
    )
    raise_all(NetworkError, contradictions(network))
    return network


def _input_node(folding: Folding, example: Tensor, encoding: dict | None, findings: list[Finding]) -> Input:
    """Return the Input that all readers agree on."""
    samples = {leaf for tree in folding.wiring.values() for leaf in leaves(tree) if isinstance(leaf, Samples)}
    views = {(leaf.axis, leaf.shape) for leaf in samples}
    if len(views) != 1 and findings:
        return Input((1,), InputKind.SPIKES)
    if len(views) != 1:
        what = "the input is read in two ways" if views else "no neuron reads the input"
        why = "a step has one input, the whole example or one index of its time axis"
        findings.append(Finding("ND026", "net", what, why, "index the time axis once per step, or never"))
        return Input((1,), InputKind.SPIKES)
    _, shape = views.pop()
    return input_of(shape, example.detach().double().numpy(), encoding)


def input_of(shape: Shape, values: np.ndarray, encoding: dict | None) -> Input:
    """Return the Input of `shape` that carries values like `values` (any shape, float64)."""
    low, high = float(values.min()), float(values.max())
    pixels = encoding is not None and encoding.get("kind") in ("direct", "rows")
    if not pixels and np.isin(values, (0.0, 1.0)).all():
        return Input(shape, InputKind.SPIKES)
    if pixels:
        low, high = min(low, 0.0), max(high, 1.0)
    return Input(shape, InputKind.GRADED, low, high, _levels(values, high))


def _levels(values: np.ndarray, high: float) -> int | None:
    """Return the smallest number of equal steps from 0 to `high` on whose grid all values lie, at most MAX_LEVELS."""
    if high <= 0 or not values.any():
        return None
    fractions = np.unique(values) / high
    for levels in range(1, MAX_LEVELS + 1):
        if np.all(np.abs(fractions - np.round(fractions * levels) / levels) <= 1e-6):
            return levels
    return None


class _Builder:
    """Turns per-step trees into nodes and edges; equal trees share their nodes."""

    def __init__(self, trace: Trace, folding: Folding) -> None:
        self.trace = trace
        self.folding = folding
        self.modules = {name: module for module, name in trace.names.items()}
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.origin: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.input = "input"
        self._outlets: dict[Tree, list[tuple[str, int]]] = {}
        self._reserved = {self.population(name) for name in trace.calls}

    def population(self, neuron: str) -> str:
        return neuron or type(self.trace.net).__name__.lower()

    def build(self, source: Input) -> None:
        """Add `source`, every neuron and what lies between."""
        self.input = self._free("input")
        self.nodes[self.input] = source
        for neuron, calls in self.trace.calls.items():
            module, name = self.modules[neuron], self.population(neuron)
            origin = f'{describe(module)} "{self.trace.path(module)}"'
            found = neuron_nodes(module, calls[0], f"{name} <- {origin}")
            self.findings += found.findings
            if found.lif is None:
                continue
            self.nodes[name], self.origin[name] = found.lif, origin
            tree = self.folding.wiring[neuron]
            for outlet, delay in self._terms(tree):
                self.edges.append(Edge(outlet, name, delay))
            if found.recurrent is not None:
                recurrent = self._free(f"{name}.recurrent")
                self.nodes[recurrent], self.origin[recurrent] = found.recurrent, origin
                self.edges += [Edge(name, recurrent, 1), Edge(recurrent, name)]

    def _free(self, name: str) -> str:
        taken, free, count = self._reserved | set(self.nodes), name, 1
        while free in taken:
            count += 1
            free = f"{name}@{count}"
        return free

    def _terms(self, tree: Tree) -> list[tuple[str, int]]:
        """Return the nodes (and delays) whose outputs add up to `tree`, building them where they are new."""
        match tree:
            case Sum(terms):
                return [outlet for term in terms for outlet in self._terms(term)]
            case Samples():
                return [(self.input, 0)]
            case Spikes(neuron, delay):
                return [(self.population(neuron), delay)]
            case Applied() | Reshaped():
                if tree not in self._outlets:
                    self._outlets[tree] = self._apply(tree)
                return self._outlets[tree]
        return []

    def _apply(self, tree: Applied | Reshaped) -> list[tuple[str, int]]:
        """Build one node per term of the operand (linear maps distribute over sums); the bias counts once."""
        operands = self._terms(tree.operand)
        if isinstance(tree, Reshaped):
            name, origin = f"{operands[0][0]}.reshape" if operands else "", "reshape"
            node: Node | None = Reshape(self._shape(tree.operand), tree.shape)
        else:
            name, origin = tree.name, self._layer_origin(tree.value)
            node = self._layer(tree.value, f"{name} <- {origin}")
        if isinstance(node, MaxPool) and len(operands) > 1:
            what, why = "it takes a maximum over a sum", "a maximum of a sum is not a sum of maxima"
            self.findings.append(Finding("ND022", f"{name} <- {origin}", what, why, "pool each term"))
        outlets = []
        for position, (source, delay) in enumerate(operands):
            if node is None:
                break
            free = self._free(name)
            self.nodes[free] = _without_bias(node) if position else node
            self.origin[free] = origin
            self.edges.append(Edge(source, free, delay))
            outlets.append((free, 0))
        return outlets

    def _shape(self, tree: Tree) -> Shape:
        match tree:
            case Applied(value=value):
                return tuple(value.shape[1:])
            case Spikes(neuron):
                return tuple(self.trace.calls[neuron][0].shape[1:])
            case Sum(terms):
                return self._shape(terms[0])
            case Samples(shape=shape) | Reshaped(shape=shape):
                return shape
        return ()

    def _layer_origin(self, value: Value) -> str:
        module = self.modules.get(value.name) if value.name else None
        if module is not None:
            return f'{describe(module)} "{self.trace.path(module)}"'
        return f"torch.nn.functional.{value.settings['function']} at {value.place}"

    def _layer(self, value: Value, place: str) -> Node | None:
        node = layer_node(value, place)
        if isinstance(node, Finding):
            if node not in self.findings:
                self.findings.append(node)
            return None
        return node


# Reading the output


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
        """Return the (neuron, step) pairs whose whole spikes `shadow` shows or counts."""
        if shadow is None or not shadow.any():
            return set()
        pairs: set[tuple[str, int]] = set()
        for value in self._values(shadow):
            match value.kind:
                case Kind.SPIKES if self._in_order(shadow, value):
                    pairs.add((value.name, value.step))
                    self.partial.add(value.name)
                case Kind.STATE:
                    self.states.add(value.name)
                case Kind.INPUT:
                    pass
                case Kind.LAYER if value.first in self.folding.used:
                    pass
                case Kind.SUM if value.first in self.folding.used:
                    pass
                case Kind.SUM:
                    for part in value.inputs:
                        pairs |= self.read(part)
                case Kind.REDUCTION if self._over_time(value):
                    pairs |= self.read(value.inputs[0])
                case _:
                    self._refuse(value)
        return pairs

    def _values(self, shadow: Tensor) -> list[Value]:
        numbers = torch.unique(shadow)
        values: list[Value] = []
        for number in numbers[numbers > 0].tolist():
            if not values or number >= values[-1].first + values[-1].size:
                values.append(self.trace.value_at(number))
        return values

    def _in_order(self, shadow: Tensor, value: Value) -> bool:
        numbers = shadow.reshape(-1)
        own = numbers[(numbers >= value.first) & (numbers < value.first + value.size)]
        ordered = torch.equal(own, value.numbers.reshape(-1))
        if not ordered:
            self._refuse(value, "a part or rearrangement of ")
        return ordered

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


# Layers


def layer_node(value: Value, place: str) -> Node | Finding:
    """Return the node of a recorded layer call, or what stands against it."""
    shape, settings = tuple(value.inputs[0].shape[1:]), value.settings
    match settings["function"]:
        case "linear":
            if len(shape) != 1:
                what = f"a linear layer reads {1 + len(shape)} axes"
                return _inexact(place, what, "it would be applied to the last axis only", "flatten its input first")
            return Linear(_array(settings["weight"]), _array(settings["bias"]))
        case "conv1d" | "conv2d":
            return _conv(shape, settings, place)
        case "batch_norm":
            return _scale(shape, settings, place)
    return _pool(value, shape, settings, place)


def _conv(shape: Shape, settings: dict[str, Any], place: str) -> Conv | Finding:
    weight = _array(settings["weight"])
    space = weight.ndim - 2
    if len(shape) != space + 1:
        return _inexact(place, f"its input has shape {shape}", "the batch axis is missing", "give a batch of samples")
    dilation, stride = _tuple(settings["dilation"], space), _tuple(settings["stride"], space)
    padding = settings["padding"]
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        if any(t % 2 for t in total):
            return _inexact(
                place,
                "padding='same' pads one side more than the other",
                "targets pad both sides alike",
                "use an odd kernel, or pad by a number",
            )
        padding = tuple(t // 2 for t in total)
    return Conv(
        weight, shape, stride, _tuple(padding, space), dilation, int(settings["groups"]), _array(settings["bias"])
    )


def _scale(shape: Shape, settings: dict[str, Any], place: str) -> Scale | Finding:
    """Return BatchNorm's affine map per channel: w = weight / sqrt(var + eps), b = bias - mean w."""
    mean, variance = _array(settings["running_mean"]), _array(settings["running_var"])
    if settings["training"] or mean is None or variance is None:
        return _inexact(
            place,
            "the batch norm uses the statistics of the batch",
            "its output for a sample would depend on the other samples",
            "train it with track_running_stats=True and run it in evaluation mode",
        )
    weight = 1.0 / np.sqrt(variance + settings["eps"])
    if settings["weight"] is not None:
        weight = weight * _array(settings["weight"])
    offset = -mean * weight
    return Scale(weight, offset if settings["bias"] is None else offset + _array(settings["bias"]), shape)


def _pool(value: Value, shape: Shape, settings: dict[str, Any], place: str) -> AveragePool | MaxPool | Finding:
    space = int(settings["function"][-2])
    if len(shape) != space + 1:
        return _inexact(place, f"its input has shape {shape}", "the batch axis is missing", "give a batch of samples")
    kernel = _tuple(settings["kernel_size"], space)
    stride = kernel if settings["stride"] in (None, [], ()) else _tuple(settings["stride"], space)
    padding = _tuple(settings["padding"], space)
    average = settings["function"].startswith("avg")
    node = (AveragePool if average else MaxPool)(shape, kernel, stride, padding)
    if average and any(padding) and not settings["count_include_pad"]:
        return _inexact(
            place,
            "count_include_pad=False with padding",
            "windows at the border would have weights of their own",
            "use count_include_pad=True or no padding",
        )
    if average and settings["divisor_override"] not in (None, math.prod(kernel)):
        return _inexact(place, "divisor_override", "an average divides by its window", "leave it out")
    if not average and any(d != 1 for d in _tuple(settings["dilation"], space)):
        return _inexact(place, "a dilated maximum", "windows are dense", "use dilation=1")
    if node.shape != tuple(value.shape[1:]):
        return _inexact(place, "ceil_mode", "its last windows reach beyond the input", "use ceil_mode=False")
    return node


def _without_bias(node: Node) -> Node:
    match node:
        case Linear() | Conv():
            return replace(node, bias=None)
        case Scale(bias=bias):
            return replace(node, bias=np.zeros_like(bias))
    return node


def _tuple(setting: Any, space: int) -> tuple[int, ...]:
    if isinstance(setting, int):
        return (setting,) * space
    items = tuple(int(item) for item in setting)
    return items * space if len(items) == 1 else items


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().double().numpy().copy()


# Neurons


@dataclass(frozen=True, eq=False)
class NeuronNodes:
    """What one snnTorch neuron becomes: its LIF, the node of its own recurrence, or what stands against it."""

    lif: LIF | None = None
    recurrent: Linear | SparseLinear | None = None
    findings: tuple[Finding, ...] = ()


def neuron_nodes(module: nn.Module, call: NeuronCall, place: str) -> NeuronNodes:
    """Return the LIF with exactly the equation of `module`, a Leaky, Lapicque, Synaptic, RLeaky or RSynaptic.

    Leaky      v = beta v + x                      "zero" keeps the input of the step after a spike: Reset.ZERO
    Lapicque   v = (1 - T/(R C)) v + x R T/(R C)   "zero" drops it: ZERO_NEXT_STEP, as in all further ones
    Synaptic   i = alpha i + x, v = beta v + i
    RLeaky     v = beta v + x + W s(t-1) + b
    RSynaptic  i = alpha i + x + W s(t-1) + b, v = beta v + i

    beta and alpha are clamped to [0, 1] as snnTorch does at every step. "subtract" acts one step late. With
    reset_delay=False, "zero" and "subtract" act in the step of the spike.
    """
    shape = tuple(call.shape[1:])
    findings = [*_unsupported_settings(module, call, place)]
    reset = _reset(module, place)
    parameters: dict[str, np.ndarray] = {}
    for key, tensor in _parameters(module).items():
        array = per_neuron(tensor, shape, call.dtype)
        if array is None:
            why = f"it does not broadcast to the neurons' shape {shape} for every sample alike"
            fix = "give one value, or one per neuron"
            findings.append(_setting(place, f"{key} of shape {tuple(tensor.shape)}", why, fix))
        else:
            parameters[key] = array
    if "threshold" in parameters and (parameters["threshold"] < 0).any():
        why = "a neuron at rest would already be above it"
        findings.append(_setting(place, "a negative threshold", why, "use thresholds of at least 0"))
    if type(module) is snntorch.Lapicque and "beta" in parameters:
        decay = parameters["beta"]
        if ((decay < 0) | (decay > 1)).any():
            why = f"1 - time_step / (R C) is {float(decay.min()):.3g}: snnTorch's Euler step leaves [0, 1]"
            findings.append(_setting(place, "an unstable time constant", why, "use time_step <= R C"))
    recurrent = _recurrent(module, shape, place)
    if isinstance(reset, Finding) or isinstance(recurrent, Finding) or findings:
        findings += [found for found in (reset, recurrent) if isinstance(found, Finding)]
        return NeuronNodes(findings=tuple(findings))
    return NeuronNodes(LIF(shape, reset=reset, **parameters), recurrent)


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return LIF field -> tensor, computed in the module's own precision by its own formula."""
    if type(module) is snntorch.Lapicque:
        resistance, capacity, step = module.R.detach(), module.C.detach(), module.time_step.detach()
        return {
            "threshold": module.threshold.detach(),
            "beta": 1 - step / (resistance * capacity),
            "gain": resistance * (1 / (resistance * capacity)) * step,
        }
    found = {"threshold": module.threshold.detach(), "beta": module.beta.detach().clamp(0, 1)}
    if type(module) in (snntorch.Synaptic, snntorch.RSynaptic):
        found["alpha"] = module.alpha.detach().clamp(0, 1)
    return found


def per_neuron(tensor: Tensor, shape: Shape, dtype: torch.dtype) -> np.ndarray | None:
    """Return a parameter as float64 () or `shape`, or None when it does not broadcast; `dtype` is the membrane's.

    PyTorch rounds a scalar to the dtype of the tensor it meets; an array keeps its own.
    """
    if tensor.numel() == 1:
        return np.array(tensor.to(dtype).double().item())
    while tensor.dim() > len(shape) and tensor.shape[0] == 1:
        tensor = tensor[0]
    try:
        return np.broadcast_to(tensor.double().numpy(), shape).copy()
    except ValueError:
        return None


def _reset(module: nn.Module, place: str) -> Reset | Finding:
    runs, says = RESETS.get(module.state_function.__name__), int(module.reset_mechanism_val)
    if runs != says:
        what = f"reset_mechanism says {_reset_name(says)}, but it runs {_reset_name(runs)}"
        why = "snnTorch chooses its update when the neuron is made; weights or settings of another one came later"
        return _setting(place, what, why, f"make it with reset_mechanism={_reset_name(says)}, then load the weights")
    immediate = type(module) is not snntorch.Lapicque and not module.reset_delay
    if runs == 2:
        return Reset.NONE
    if runs == 0:
        return Reset.SUBTRACT if immediate else Reset.SUBTRACT_NEXT_STEP
    return Reset.ZERO if immediate or type(module) is snntorch.Leaky else Reset.ZERO_NEXT_STEP


def _reset_name(value: int | None) -> str:
    return repr({0: "subtract", 1: "zero", 2: "none"}.get(value, "its own function"))


def _broken(name: str, module: nn.Module) -> Finding | None:
    if module.reset_delay:
        return None
    return _setting(
        f'{name} <- snntorch.RSynaptic "net.{name}"',
        "RSynaptic with reset_delay=False",
        "snnTorch 1.0.0 computes it from the spikes it was given, not from those it fires, or fails",
        "use reset_delay=True",
    )


def _unsupported_settings(module: nn.Module, call: NeuronCall, place: str) -> Iterator[Finding]:
    if len(call.shape) < 2:
        yield _setting(place, f"its current has shape {call.shape}", "an axis is missing", "use (batch, *neuron)")
    if call.dtype not in (torch.float32, torch.float64):
        why = "its rounding at every step is part of what it computes"
        yield _setting(place, f"membranes of {call.dtype}", why, "call net.float() first")
    if not bool((module.graded_spikes_factor == 1).all()):
        why = "a spike then carries a value, and the reset still subtracts the threshold"
        yield _setting(place, "graded_spikes_factor", why, "fold the factor into the next layer's weights")
    if module.inhibition:
        why = "only the neuron with the highest membrane may fire, which every step has to compare them all"
        yield _setting(place, "inhibition=True", why, "train lateral inhibition as recurrent weights")
    if module.state_quant:
        why = "its states are rounded at every step by a grid of its own"
        yield _setting(place, "state_quant", why, "leave it out; neurodeploy quantizes for the target")
    if not fires_steps(module):
        why = "its forward value is not 1 above zero and 0 otherwise, so spikes are not spikes"
        yield _setting(place, "a spike_grad whose forward is no step function", why, "use snntorch.surrogate.atan()")


def fires_steps(module: nn.Module) -> bool:
    """Whether the neuron's surrogate computes [x > 0] in the forward pass, probed on a grid."""
    probe = torch.cat([torch.linspace(-4, 4, 2001), torch.tensor([0.0, -0.0, 1e-7, -1e-7, 1e-30, -1e-30, 1e4, -1e4])])
    return torch.equal(module.spike_grad(probe.clone()).float(), (probe > 0).float())


def _recurrent(module: nn.Module, shape: Shape, place: str) -> Linear | SparseLinear | Finding | None:
    if type(module) not in (snntorch.RLeaky, snntorch.RSynaptic):
        return None
    inner = module.recurrent
    if type(inner) is nn.Linear and len(shape) == 1:
        return Linear(_array(inner.weight), _array(inner.bias))
    if type(inner).__name__ == "RecurrentOneToOne" and type(inner).__module__.startswith("snntorch."):
        weights = per_neuron(inner.V.detach(), shape, torch.float32)
        if weights is not None:
            size = math.prod(shape)
            rows = np.arange(size + 1)
            data = np.broadcast_to(weights, shape).reshape(-1).copy()
            return SparseLinear(data, rows[:-1].astype(np.int32), rows.astype(np.int64), shape, shape)
    what = f"recurrence through {describe(inner)} on neurons of shape {shape}"
    why = "recurrence is read where it is all-to-all over one axis of neurons, or one to one"
    return _setting(place, what, why, "use linear_features, or all_to_all=False")


# Findings


def _misuse(what: str, why: str) -> Finding:
    return Finding("ND028", "neurodeploy.frontends.snntorch.record", what, why, "see its docstring")


def _not_finite(place: str, what: str) -> Finding:
    return Finding("ND025", place, f"{what} holds NaN or infinity", "no arithmetic goes on from there", "repair it")


def _inexact(place: str, what: str, why: str, fix: str) -> Finding:
    return Finding("ND022", place, what, why, fix)


def _setting(place: str, what: str, why: str, fix: str) -> Finding:
    return Finding("ND023", place, what, why, fix)


def _no_neurons() -> Finding:
    kinds = ", ".join(kind.__name__ for kind in NEURONS)
    return Finding(
        "ND024",
        "net",
        "no supported spiking neuron was called",
        f"a network is made of snntorch's {kinds}",
        "build the net with those; a network without spikes has to be converted first",
    )
