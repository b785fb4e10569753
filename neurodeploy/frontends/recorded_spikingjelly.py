"""SpikingJelly's neurons to LIF nodes, as SpikingJelly 2.0.0 computes them (`spikingjelly/_ops/*/reference.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor

from neurodeploy.errors import Finding
from neurodeploy.frontends.neuron_calls import (
    Framework,
    NeuronCall,
    NeuronNodes,
    setting,
    steps_at,
    unfit_call,
)
from neurodeploy.ir.nodes import LIF, Firing, Reset


class SpikingJelly(Framework):
    """Neurons that hold their membrane; step_mode "m" takes all steps at once, on the first axis."""

    neurons = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)

    def states(self, module: Any) -> tuple[str, ...]:
        return ("v",)

    def empty(self, module: Any) -> None:
        module.__dict__["_memories"] = dict(module._memories_rv)

    def received(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        (current,) = (*args, *kwargs.values())
        return current, {"v": module.v} if isinstance(module.v, Tensor) else {}

    def rest(self, module: Any, state: str) -> float:
        return module.v_reset or 0.0

    def returned(self, module: Any, result: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return result, {"v": module.v}

    def steps(self, module: Any, shadow: Tensor) -> list[Tensor]:
        return list(shadow) if module.step_mode == "m" else [shadow]

    def joined(self, module: Any, steps: list[Tensor]) -> Tensor:
        return torch.stack(steps) if module.step_mode == "m" else steps[0]

    def nodes(self, module: Any, call: NeuronCall, place: str) -> NeuronNodes:
        """Return the LIF of an IFNode, LIFNode or ParametricLIFNode; v is counted from v_reset, where it starts.

        IFNode      v = v + x
        LIFNode     v = v + (x - v) / tau       with decay_input, otherwise v = v - v / tau + x
        Parametric  as LIFNode, with sigmoid(w) for 1 / tau

        s = [v >= v_threshold]; then v = v_reset, or v = v - s v_threshold where v_reset is None.
        """
        findings = [*unfit_call(call, place), *_unsupported_settings(module, place)]
        if findings:
            return NeuronNodes(findings=tuple(findings))
        rate = _rate(module)
        gain = np.array(rate) if type(module) is not neuron.IFNode and module.decay_input else None
        threshold = np.array(module.v_threshold - self.rest(module, "v"))
        reset = Reset.SUBTRACT_AT_ONCE if module.v_reset is None else Reset.ZERO
        return NeuronNodes(LIF(call.shape[1:], np.array(1 - rate), threshold, reset, gain=gain, firing=Firing.REACHED))


def _rate(module: Any) -> float:
    """Return what a membrane loses in one step, as a part of it."""
    if type(module) is neuron.ParametricLIFNode:
        return float(module.w.detach().sigmoid())
    return 1 / module.tau if type(module) is neuron.LIFNode else 0.0


def _unsupported_settings(module: Any, place: str) -> list[Finding]:
    findings = []
    if not module.v_threshold > (module.v_reset or 0.0):
        why = "a neuron at rest would already have reached it"
        findings.append(setting(place, f"v_threshold = {module.v_threshold:g}", why, "use one above v_reset"))
    if not steps_at(module.surrogate_function, 1.0):
        why = "its forward value is not 1 from zero on and 0 below, so spikes are not spikes"
        fix = "use a surrogate of SpikingJelly's with spiking=True"
        findings.append(setting(place, "a surrogate_function whose forward is no step function", why, fix))
    if module._neuron_precision is not None:
        why = "its rounding at every step is part of what it computes"
        findings.append(setting(place, "a precision of its own", why, "leave it to the tensors' type"))
    return findings
