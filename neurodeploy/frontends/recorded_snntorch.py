"""snnTorch's neurons to LIF nodes, equation by equation, as snnTorch 1.0.0 computes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurodeploy.errors import Finding
from neurodeploy.frontends.frameworks import describe
from neurodeploy.frontends.neuron_calls import (
    Framework,
    NeuronCall,
    NeuronNodes,
    per_neuron,
    setting,
    spread,
    steps_at,
    unfit_call,
)
from neurodeploy.frontends.recorded_layers import optional_array, to_array
from neurodeploy.ir.nodes import LIF, Linear, Reset, Shape, SparseLinear

NEURONS: dict[type[nn.Module], tuple[str, ...]] = {
    snntorch.Leaky: ("mem",),
    snntorch.Lapicque: ("mem",),
    snntorch.Synaptic: ("syn", "mem"),
    snntorch.RLeaky: ("spk", "mem"),
    snntorch.RSynaptic: ("spk", "syn", "mem"),
}
"""The neurons that are read exactly, with their states in the order in which `forward` takes them."""

RESETS = {"_base_sub": 0, "_base_zero": 1, "_base_int": 2}
"""snnTorch's update function -> its `reset_mechanism_val`."""


class SnnTorch(Framework):
    """Neurons that take one step per call, with states that `forward` takes or that they hold themselves."""

    neurons = tuple(NEURONS)

    def states(self, module: nn.Module) -> tuple[str, ...]:
        return NEURONS[type(module)]

    def empty(self, module: nn.Module) -> None:
        for state in self.states(module):
            module._buffers[state] = torch.zeros(0)

    def received(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        states = self.states(module)
        given = dict(zip(("input_", *states), args, strict=False)) | kwargs
        handed = {state: given.get(state) for state in states}
        return given["input_"], {s: getattr(module, s) if tensor is None else tensor for s, tensor in handed.items()}

    def rest(self, module: nn.Module, state: str) -> float:
        return 0.0

    def returned(self, module: nn.Module, result: Any) -> tuple[Tensor, dict[str, Tensor]]:
        left = {state: getattr(module, state) for state in self.states(module) if state != "spk"}
        return result[0] if isinstance(result, tuple) else result, left

    def steps(self, module: nn.Module, shadow: Tensor) -> list[Tensor]:
        return [shadow]

    def joined(self, module: nn.Module, steps: list[Tensor]) -> Tensor:
        return steps[0]

    def nodes(self, module: nn.Module, call: NeuronCall, place: str) -> NeuronNodes:
        return neuron_nodes(module, call, place)


def neuron_nodes(module: snntorch.SpikingNeuron, call: NeuronCall, place: str) -> NeuronNodes:
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
    parameters = spread(_parameters(module), call, place, findings)
    if "threshold" in parameters and (parameters["threshold"] < 0).any():
        why = "a neuron at rest would already be above it"
        findings.append(setting(place, "a negative threshold", why, "use thresholds of at least 0"))
    if type(module) is snntorch.Lapicque and "beta" in parameters:
        decay = parameters["beta"]
        if ((decay < 0) | (decay > 1)).any():
            why = f"1 - time_step / (R C) is {float(decay.min()):.3g}: snnTorch's Euler step leaves [0, 1]"
            findings.append(setting(place, "an unstable time constant", why, "use time_step <= R C"))
    recurrent = _recurrent(module, shape, place)
    if isinstance(reset, Finding) or isinstance(recurrent, Finding) or findings:
        findings += [found for found in (reset, recurrent) if isinstance(found, Finding)]
        return NeuronNodes(findings=tuple(findings))
    lif = LIF(
        shape, parameters["beta"], parameters["threshold"], reset, parameters.get("alpha"), parameters.get("gain")
    )
    return NeuronNodes(lif, recurrent)


def _parameters(module: snntorch.SpikingNeuron) -> dict[str, Tensor]:
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


def _reset(module: snntorch.SpikingNeuron, place: str) -> Reset | Finding:
    runs, says = RESETS.get(module.state_function.__name__), int(module.reset_mechanism_val)
    if runs != says:
        what = f"reset_mechanism says {_reset_name(says)}, but it runs {_reset_name(runs)}"
        why = "snnTorch chooses its update when the neuron is made; weights or settings of another one came later"
        return setting(place, what, why, f"make it with reset_mechanism={_reset_name(says)}, then load the weights")
    immediate = type(module) is not snntorch.Lapicque and not module.reset_delay
    if runs == 2:
        return Reset.NONE
    if runs == 0:
        return Reset.SUBTRACT if immediate else Reset.SUBTRACT_NEXT_STEP
    return Reset.ZERO if immediate or type(module) is snntorch.Leaky else Reset.ZERO_NEXT_STEP


def _reset_name(value: int | None) -> str:
    names: dict[int | None, str] = {0: "subtract", 1: "zero", 2: "none"}
    return repr(names.get(value, "its own function"))


def broken(name: str, module: snntorch.RSynaptic) -> Finding | None:
    if module.reset_delay:
        return None
    return setting(
        f'{name} <- snntorch.RSynaptic "net.{name}"',
        "RSynaptic with reset_delay=False",
        "snnTorch 1.0.0 computes it from the spikes it was given, not from those it fires, or fails",
        "use reset_delay=True",
    )


def _unsupported_settings(module: snntorch.SpikingNeuron, call: NeuronCall, place: str) -> Iterator[Finding]:
    yield from unfit_call(call, place)
    if not bool((module.graded_spikes_factor == 1).all()):
        why = "a spike then carries a value, and the reset still subtracts the threshold"
        yield setting(place, "graded_spikes_factor", why, "fold the factor into the next layer's weights")
    if module.inhibition:
        why = "only the neuron with the highest membrane may fire, which every step has to compare them all"
        yield setting(place, "inhibition=True", why, "train lateral inhibition as recurrent weights")
    if module.state_quant:
        why = "its states are rounded at every step by a grid of its own"
        yield setting(place, "state_quant", why, "leave it out; neurodeploy quantizes for the target")
    if not steps_at(module.spike_grad, 0.0):
        why = "its forward value is not 1 above zero and 0 otherwise, so spikes are not spikes"
        yield setting(place, "a spike_grad whose forward is no step function", why, "use snntorch.surrogate.atan()")


def _recurrent(module: snntorch.SpikingNeuron, shape: Shape, place: str) -> Linear | SparseLinear | Finding | None:
    if type(module) not in (snntorch.RLeaky, snntorch.RSynaptic):
        return None
    inner = module.recurrent
    if type(inner) is nn.Linear and len(shape) == 1:
        return Linear(to_array(inner.weight), optional_array(inner.bias))
    if type(inner).__name__ == "RecurrentOneToOne" and type(inner).__module__.startswith("snntorch."):
        weights = per_neuron(inner.V.detach(), shape, torch.float32)
        if weights is not None:
            size = math.prod(shape)
            rows = np.arange(size + 1)
            data = np.broadcast_to(weights, shape).reshape(-1).copy()
            return SparseLinear(data, rows[:-1].astype(np.int32), rows.astype(np.int64), shape, shape)
    what = f"recurrence through {describe(inner)} on neurons of shape {shape}"
    why = "recurrence is read where it is all-to-all over one axis of neurons, or one to one"
    return setting(place, what, why, "use linear_features, or all_to_all=False")
