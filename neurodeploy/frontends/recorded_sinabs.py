"""sinabs' neurons to LIF nodes, as sinabs 3.1.3 computes them (`sinabs/layers/functional/lif.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from sinabs.layers import IAF, LIF, IAFRecurrent, IAFSqueeze, LIFRecurrent, LIFSqueeze
from torch import Tensor, nn

from neurodeploy.errors import Finding
from neurodeploy.frontends.frameworks import describe
from neurodeploy.frontends.neuron_calls import Framework, NeuronCall, NeuronNodes, setting, spread, unfit_call
from neurodeploy.frontends.recorded_layers import to_array
from neurodeploy.ir import nodes
from neurodeploy.ir.nodes import Firing, Linear, Reset

SQUEEZED = (IAFSqueeze, LIFSqueeze)
"""The neurons that take samples and steps on one axis."""
RECURRENT = (IAFRecurrent, LIFRecurrent)


class Sinabs(Framework):
    """Neurons that hold their states and take all steps at once, on the second axis."""

    neurons = (IAF, LIF, *SQUEEZED, *RECURRENT)

    def states(self, module: Any) -> tuple[str, ...]:
        """Recurrent spikes are no state of a call after the first: sinabs forgets them between calls."""
        fed_back = ("spk",) if type(module) in RECURRENT else ()
        return (*fed_back, *(name for name in ("i_syn", "v_mem") if name in module._buffers))

    def empty(self, module: Any) -> None:
        for state in ("i_syn", "v_mem"):
            if state in module._buffers:
                module._buffers[state] = torch.zeros(0)

    def received(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        (current,) = (*args, *kwargs.values())
        return current, self._held(module)

    def rest(self, module: Any, state: str) -> float:
        return 0.0

    def returned(self, module: Any, result: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return result, self._held(module)

    def steps(self, module: Any, shadow: Tensor) -> list[Tensor]:
        if type(module) in SQUEEZED:
            shadow = shadow.reshape(module.batch_size, module.num_timesteps, *shadow.shape[1:])
        return list(shadow.unbind(1))

    def joined(self, module: Any, steps: list[Tensor]) -> Tensor:
        together = torch.stack(steps, 1)
        return together.flatten(0, 1) if type(module) in SQUEEZED else together

    def _held(self, module: Any) -> dict[str, Tensor]:
        return {state: getattr(module, state) for state in self.states(module) if state != "spk"}

    def nodes(self, module: Any, call: NeuronCall, place: str) -> NeuronNodes:
        """Return the LIF of an IAF or LIF, squeezed or recurrent or neither; a = exp(-1 / tau), for IAF's membrane 1.

        i = a_syn (i + x [+ W s(t-1)])      or i = x [+ W s(t-1)] without tau_syn
        v = a v + (1 - a) i                 or v = a v + i without norm_input
        s = trunc(v / threshold) where v > 0 (MultiSpike), or [v >= threshold] (SingleSpike)
        v = v - s threshold (MembraneSubtract), or v = 0 where s > 0 (MembraneReset); then v = max(v, min_v_mem)
        """
        findings = [*unfit_call(call, place), *_unsupported_settings(module, place)]
        parameters = spread(_parameters(module), call, place, findings)
        if (parameters.get("spike_threshold", np.array(1.0)) <= 0).any():
            why = "a neuron at rest would already have reached it"
            findings.append(setting(place, "a spike_threshold of 0 or below", why, "use positive thresholds"))
        if (parameters.get("min_v_mem", np.array(0.0)) > 0).any():
            why = "a neuron at rest would be below it"
            findings.append(setting(place, "a positive min_v_mem", why, "use a min_v_mem of at most 0"))
        recurrent = _recurrent(module, call, place)
        if isinstance(recurrent, Finding):
            findings.append(recurrent)
        if findings or isinstance(recurrent, Finding):
            return NeuronNodes(findings=tuple(findings))
        reset = Reset.SUBTRACT_AT_ONCE if type(module.reset_fn) is MembraneSubtract else Reset.ZERO
        lif = nodes.LIF(
            call.shape[1:],
            parameters["alpha_mem"],
            parameters["spike_threshold"],
            reset,
            parameters.get("alpha_syn"),
            parameters.get("gain"),
            firing=Firing.MULTIPLE if module.spike_fn is MultiSpike else Firing.REACHED,
            floor=parameters.get("min_v_mem"),
        )
        return NeuronNodes(lif, recurrent)


def _parameters(module: Any) -> dict[str, Tensor]:
    """Return every number of `module`; the gain is that of one step, of the current and of the membrane."""
    membrane, synapse = module.alpha_mem_calculated.detach(), module.alpha_syn_calculated
    found = {"alpha_mem": membrane, "spike_threshold": module.spike_threshold}
    if synapse is not None:
        found["alpha_syn"] = found["gain"] = synapse.detach()
    if module.norm_input:
        found["gain"] = (1 - membrane).double() * found.get("gain", torch.ones(())).double()
    if module.min_v_mem is not None:
        found["min_v_mem"] = module.min_v_mem
    return found


def _recurrent(module: Any, call: NeuronCall, place: str) -> Linear | Finding | None:
    if type(module) not in RECURRENT:
        return None
    inner, shape = module.rec_connect, call.shape[1:]
    why, fix = "recurrence is read where it is all-to-all over one axis of neurons", "use torch.nn.Linear"
    if type(inner) is not nn.Linear or len(shape) != 1:
        return setting(place, f"recurrence through {describe(inner)} on neurons of shape {shape}", why, fix)
    if inner.bias is not None and bool(inner.bias.any()):
        what, why = "a bias of its recurrence", "sinabs leaves it out in the first step of every call"
        return setting(place, what, why, "put the bias into the layer before")
    return Linear(to_array(inner.weight))


def _unsupported_settings(module: Any, place: str) -> list[Finding]:
    findings, spikes, reset = [], module.spike_fn, module.reset_fn
    if spikes is not MultiSpike and spikes is not SingleSpike:
        what, why = f"spike_fn={spikes}", "how it counts spikes has no exact counterpart"
        findings.append(setting(place, what, why, "use MultiSpike or SingleSpike"))
    if type(reset) is MembraneReset:
        if reset.reset_value != 0:
            why = "sinabs adds it to every membrane at every step, whether it fired or not"
            findings.append(setting(place, f"reset_value={reset.reset_value:g}", why, "use MembraneReset()"))
        if spikes is MultiSpike:
            why = "how often a neuron fires and that it then forgets the rest is one rule no target has"
            findings.append(setting(place, "MultiSpike with MembraneReset", why, "use SingleSpike"))
    elif type(reset) is not MembraneSubtract or reset.subtract_value is not None:
        why = "a spike takes the threshold from the membrane, or all of it"
        findings.append(setting(place, f"reset_fn={reset}", why, "use MembraneSubtract() or MembraneReset()"))
    return findings
