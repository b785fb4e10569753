"""snnTorch modules to a `Network`, by running them: what is recorded is what was computed, never what a file suggests.

The module runs on an example in evaluation mode while a `Trace` follows every tensor; the unrolled steps are then folded
into one step's wiring, and every neuron becomes the LIF whose equation is snnTorch's own. The equations were read in
snnTorch 1.0.0 (`snntorch/_neurons/*.py`) and are reproduced spike by spike in tests/property.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding, NetworkError, UnsupportedError, UsageError
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
    saved = [(module, dict(module.__dict__), [dict(getattr(module, part)) for part in parts]) for module in net.modules()]
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
    _refuse_broken(net)
    trace, outputs = Trace(net), []
    extra = {name: torch.zeros(0) for name in _state_arguments(net)}
    for run in range(ONE_STEP_RUNS):
        with trace.watch():
            x = example.clone()
            trace.produce(Kind.INPUT, x, "input", step=run, place="net")
            result = _call(trace, net, x, extra)
        outputs.append(list(_returned(result)))
        if any(len(calls) != run + 1 for calls in trace.calls.values()) or not trace.calls:
            break
        extra = {name: trace.state_given(tensor) for name, tensor in extra.items()} if run == 0 else extra
        extra = _next_states(trace, extra) if run == 0 else _next_states(trace, extra)
    return trace, outputs
