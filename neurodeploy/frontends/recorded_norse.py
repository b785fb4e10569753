"""Norse's neurons to LIF nodes, as Norse 1.1.0 computes them (`norse/torch/functional/{iaf,lif,lif_box}.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.iaf import IAF, IAFCell
from norse.torch.module.lif import LIF as NorseLIF
from norse.torch.module.lif import LIFCell, LIFRecurrent, LIFRecurrentCell
from norse.torch.module.lif_box import LIFBoxCell
from torch import Tensor
from torch.nn.functional import linear

from neurodeploy.errors import Finding
from neurodeploy.frontends.neuron_calls import (
    Framework,
    NeuronCall,
    NeuronNodes,
    setting,
    spread,
    unfit_call,
)
from neurodeploy.frontends.recorded_layers import to_array
from neurodeploy.ir.nodes import LIF, Linear, Reset

SEQUENCES = (NorseLIF, LIFRecurrent, IAF)
"""The neurons that take all steps at once, on the first axis."""
RECURRENT = (LIFRecurrent, LIFRecurrentCell)
"""The neurons that hold the weights of their input and of their recurrence."""
WITHOUT_CURRENT = (IAF, IAFCell, LIFBoxCell)


class Norse(Framework):
    """Neurons that take their state and return it, as one named tuple."""

    neurons = (LIFCell, LIFBoxCell, IAFCell, LIFRecurrentCell, *SEQUENCES)

    def states(self, module: Any) -> tuple[str, ...]:
        current = () if type(module) in WITHOUT_CURRENT else ("i",)
        return ("spk", *current, "v") if type(module) in RECURRENT else (*current, "v")

    def empty(self, module: Any) -> None:
        """Nothing is hidden."""

    def received(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        given = dict(zip(("input_tensor", "state"), args, strict=False)) | kwargs
        current, state = given["input_tensor"], given.get("state")
        if type(module) in RECURRENT:
            current = linear(current, module.input_weights)
        return current, {} if state is None else _named(state)

    def rest(self, module: Any, state: str) -> Tensor | float:
        return _start(module) if state == "v" else 0.0

    def returned(self, module: Any, result: Any) -> tuple[Tensor, dict[str, Tensor]]:
        spikes, state = result
        return spikes, _named(state)

    def steps(self, module: Any, shadow: Tensor) -> list[Tensor]:
        return list(shadow) if type(module) in SEQUENCES else [shadow]

    def joined(self, module: Any, steps: list[Tensor]) -> Tensor:
        return torch.stack(steps) if type(module) in SEQUENCES else steps[0]

    def nodes(self, module: Any, call: NeuronCall, place: str) -> NeuronNodes:
        """Return the LIF of a neuron of Norse's; v is counted from where it starts, m = dt / tau_mem, k = dt / tau_syn.

        IAF     v = v + x
        LIFBox  v = v + m (v_leak - v + x)
        LIF     i = i + x [+ R s(t-1)], v = v + m (v_leak - v + i), i = i - k i

        s = [v > v_th], whatever the method, which is of gradients; then v = v_reset, or v = v - v_th by reset_subtract.
        """
        findings = [*unfit_call(call, place), *_unsupported_settings(module, place)]
        rates = spread(_rates(module), call, place, findings)
        rates |= spread({"v_th": module.p.v_th - _start(module)}, call, place, findings)
        if "v_th" in rates and (rates["v_th"] < 0).any():
            why = "a neuron at rest would already be above it"
            findings.append(
                setting(place, "v_th below where v starts", why, "use a threshold above v_leak and v_reset")
            )
        if any(((rates[key] < 0) | (rates[key] > 1)).any() for key in ("dt / tau_mem", "dt / tau_syn") if key in rates):
            why = "an Euler step of this length would overshoot and turn the sign of the state"
            findings.append(setting(place, "a time constant shorter than dt", why, "use a shorter dt"))
        if findings:
            return NeuronNodes(findings=tuple(findings))
        gain = rates.get("dt / tau_mem")
        alpha = np.asarray(1 - rates["dt / tau_syn"]) if "dt / tau_syn" in rates else None
        beta = np.array(1.0) if gain is None else np.asarray(1 - gain)
        reset = Reset.SUBTRACT_AT_ONCE if _subtracts(module) else Reset.ZERO
        recurrent = Linear(to_array(module.recurrent_weights)) if type(module) in RECURRENT else None
        return NeuronNodes(LIF(call.shape[1:], beta, rates["v_th"], reset, alpha, gain), recurrent)


def _named(state: Any) -> dict[str, Tensor]:
    """Return a state's tensors by name, the membrane last."""
    return {key: getattr(state, name) for key, name in (("spk", "z"), ("i", "i"), ("v", "v")) if name in state._fields}


def _start(module: Any) -> Tensor:
    parameters = module.p
    start: Tensor = parameters.v_reset if type(module) in (IAF, IAFCell) else parameters.v_leak
    return start.detach()


def _rates(module: Any) -> dict[str, Tensor]:
    """Return dt over each time constant, in Norse's own precision."""
    rates = {}
    if type(module) not in (IAF, IAFCell):
        rates["dt / tau_mem"] = module.dt * module.p.tau_mem_inv
    if type(module) not in WITHOUT_CURRENT:
        rates["dt / tau_syn"] = module.dt * module.p.tau_syn_inv
    return rates


def _subtracts(module: Any) -> bool:
    return type(module) is LIFBoxCell and module.p.reset_method is reset_subtract


def _unsupported_settings(module: Any, place: str) -> list[Finding]:
    parameters, findings = module.p, []
    if _subtracts(module):
        if bool((_start(module) != 0).any()):
            why = "a threshold is subtracted from a membrane that is counted from v_leak"
            findings.append(setting(place, "reset_subtract with v_leak", why, "train with v_leak = 0"))
    elif bool((_start(module) != parameters.v_reset).any()):
        what, why = "v_leak and v_reset differ", "a membrane here starts where a spike leaves it"
        findings.append(setting(place, what, why, "train with v_leak = v_reset, and a bias in the layer before"))
    if type(module) is LIFBoxCell and parameters.reset_method not in (reset_subtract, reset_value):
        why = "what it does is code, not a setting"
        findings.append(setting(place, "a reset_method of its own", why, "use reset_value or reset_subtract"))
    return findings
