"""PyTorch modules to a `Network`, by running them: what is recorded is what was computed, never what a file suggests.

The module runs on an example in evaluation mode while a `Trace` follows every tensor; the unrolled steps are then
folded into one step's wiring, and every neuron becomes the LIF whose equation is its framework's own. The equations
were read in the sources of snnTorch 1.0.0, SpikingJelly 2.0.0, Norse 1.1.0 and sinabs 3.1.3, one file each
(`recorded_*.py`), and are reproduced spike by spike in tests/property.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding, NetworkError, UnsupportedError, UsageError, raise_all
from neurodeploy.frontends import constants
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
from neurodeploy.frontends.frameworks import LIBRARIES, describe, framework_of, of_package, package_of
from neurodeploy.frontends.recorded_layers import layer_node
from neurodeploy.frontends.recorded_output import Outputs, find_output
from neurodeploy.frontends.recorded_snntorch import broken
from neurodeploy.frontends.tracing import FRONTENDS, Kind, Trace, Value, tensors_in
from neurodeploy.ir.entering import counted
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import (
    Input,
    InputKind,
    MaxPool,
    Node,
    Reshape,
    Shape,
    grid_levels,
    without_bias,
)

ONE_STEP_RUNS = 3
"""How often a module that takes one step per call is called, so that its states show where they go."""
MAX_LEVELS = 255
"""Input grids are looked for up to 8 bits: the payload of a graded spike."""


def record(net: nn.Module, example_input: Tensor, dt: float | None = None, encoding: Any = None) -> Network:
    """Return the network that `net` computes, recorded by running it on `example_input`.

    The module is run as it is called: once, if its forward holds the loop over time, or three times in a row, if one
    call is one step (hidden states, or states as further arguments of forward, which must default to none or be taken
    by the neurons as they come). A time axis of the example may be first, second or last; a static input is injected
    at every step; a layer may be applied to all steps at once. Training flags, hidden states, buffers and the random
    state are afterwards what they were.

    Args:
        net: any module whose neurons are those of `frameworks.PACKAGES` that are read exactly (in each `recorded_*.py`)
            and whose other layers are linear, convolutions, pools, batch norms, reshapes, dropout.
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
        try:
            return _network(trace, outputs, example_input, dt, plain)
        except RecursionError as error:
            what, why = "a value is carried from step to step outside of the neurons", "only neurons remember"
            fix = "keep running sums out of the forward pass, or let a neuron integrate them"
            raise UnsupportedError(Finding("ND016", "net", what, why, fix)) from error


def _check_call(net: Any, example: Any, dt: Any) -> None:
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
    compiled = [m for m in net.modules() if isinstance(m, torch.jit.ScriptModule) or "_orig_mod" in m._modules]
    if compiled:
        what, why = f"a compiled module ({type(compiled[0]).__name__})", "compiled code hides its operations"
        raise UnsupportedError(Finding("ND024", "net", what, why, "pass the module it was compiled from"))
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
            if (framework := framework_of(module)) is not None:
                framework.empty(module)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        for module, fields, contents in saved:
            module.__dict__.clear()
            module.__dict__.update(fields)
            for part, content in zip(parts, contents, strict=True):
                getattr(module, part).clear()
                getattr(module, part).update(content)


def _run(net: nn.Module, example: Tensor) -> tuple[Trace, Outputs]:
    """Run `net` until every neuron has taken at least two steps, and return the record and what was returned."""
    recurrent = [(name, module) for name, module in net.named_modules() if type(module) is snntorch.RSynaptic]
    raise_all(UnsupportedError, [finding for found in recurrent if (finding := broken(*found))])
    trace, outputs = Trace(net), []
    rest = {name: torch.zeros(0) for name in _state_arguments(net)}
    states = rest
    before = constants.of_net(net)
    for run in range(ONE_STEP_RUNS):
        with trace.watch():
            x = example.clone()
            trace.produce(Kind.INPUT, x, "input", step=run, place="net")
            result = _call(trace, net, x, states)
        outputs.append(list(tensors_in(result)))
        if not trace.calls or any(len(calls) != run + 1 for calls in trace.calls.values()):
            break
        states = {name: trace.state_after(tensor) for name, tensor in rest.items()}
    written = trace.rewritten | constants.changed(before, constants.of_net(net))
    raise_all(UnsupportedError, [_rewritten(net, *key) for key in sorted(written)])
    return trace, outputs


def _rewritten(net: nn.Module, path: str, name: str) -> Finding:
    module = net.get_submodule(path)
    return Finding(
        "ND029",
        f'{describe(module)} "net.{path}"' if path else "net",
        f"its {name} is changed while the network runs",
        "a deployed network has one value for each parameter, the same at every step",
        f"keep {name} constant in forward; a threshold that adapts needs a neuron model of its own",
    )


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


# Building the network


def _network(trace: Trace, outputs: Outputs, example: Tensor, dt: float | None, encoding: dict | None) -> Network:
    folding = Folding(trace, len(outputs))
    findings = [*trace.findings, *folding.findings]
    if not trace.calls:
        findings.append(_no_neurons(trace))
        raise UnsupportedError(*findings)
    builder = _Builder(trace, folding)
    builder.build(_input_node(folding, example, encoding, findings))
    findings += builder.findings
    steps_agree = all(finding.code != "ND016" for finding in findings)
    output = find_output(trace, folding, outputs, findings) if steps_agree else ""
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
    kind = None if encoding is None else encoding.get("kind")
    if kind == "counts":
        return counted(shape, high)
    pixels = kind in ("direct", "rows")
    if not pixels and np.isin(values, (0.0, 1.0)).all():
        return Input(shape, InputKind.SPIKES)
    if pixels:
        low, high = min(low, 0.0), max(high, 1.0)
    return Input(shape, InputKind.GRADED, low, high, grid_levels(values, high))


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
            framework = framework_of(module)
            assert framework is not None
            found = framework.nodes(module, calls[0], f"{name} <- {origin}")
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
            free = self._free(f"{name}.input" if name in self.trace.calls else name)
            self.nodes[free] = without_bias(node) if position else node
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


# Findings


def _misuse(what: str, why: str) -> Finding:
    return Finding("ND028", "neurodeploy.frontends.recording.record", what, why, "see its docstring")


def _not_finite(place: str, what: str) -> Finding:
    return Finding("ND025", place, f"{what} holds NaN or infinity", "no arithmetic goes on from there", "repair it")


def _no_neurons(trace: Trace) -> Finding:
    met = {package for module in trace.names if (package := package_of(module))} or {"snntorch"}
    frameworks = [(package, framework) for package in sorted(met) if (framework := of_package(package)) is not None]
    kinds = ", ".join(f"{package}.{kind.__name__}" for package, found in frameworks for kind in found.neurons)
    others = [f'{describe(m)} "{trace.path(m)}"' for m in trace.names if package_of(m)]
    return Finding(
        "ND024",
        ", ".join(others) or "net",
        "no supported spiking neuron was called",
        f"a network is made of {kinds}",
        "build the net with those; a network without spikes has to be converted first",
    )
