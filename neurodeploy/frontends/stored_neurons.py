"""The neurons of a block in a .net file: what their registers say, and the LIF that computes the same.

CUBA, with the membrane unit of one unit of the file's weights:

    u(t) = u(t-1) (4096 - iDecay) / 4096 + weight s(t)
    v(t) = v(t-1) (4096 - vDecay) / 4096 + u(t) + bias          s(t) = [v(t) > vThMant], and v is zero in that step

SDNN, sigma-delta neurons, with the membrane unit of 64 of them, which is 1 to SLAYER: `Firing.DELTA` of the values that
enter, `Firing.DELTA_RELU` of a layer, and a sum that is read as it is behind SLAYER's Output.

    sigma(t) = sigma(t-1) + weight / 64 s(t)                    s: floored to whole 4096ths
    v(t) = sigma(t) + bias / 64                                 told where it changed by vThMant / 64

SLAYER's Average has neurons of no such type: each sends the mean of what its group of neurons sends in a step. netx
reads none, and lava-dl 0.6.0 fails to export one; a file may have it all the same.

netx computes the states of SDNN in 64ths of a message's unit and 4096ths of a weight's (spike_exp and state_exp are 6
in netx/hdf5.py), as SLAYER does in floating point.
"""

from __future__ import annotations

from math import prod

import numpy as np

from neurodeploy.errors import Finding
from neurodeploy.frontends.stored_layers import StoredLayer
from neurodeploy.ir.nodes import LIF, Firing, Input, InputKind, Reset, Shape
from neurodeploy.ir.program import DECAY_ONE

CUBA = ("CUBA", "LOIHI")
"""A neuron that is read, by its name in SLAYER and in its predecessor."""
SDNN = "SDNN"
"""The other one."""
REGISTERS = {
    **{name: {"type", "vThMant", "iDecay", "vDecay", "theta", "tauRho", "scaleRho"} for name in CUBA},
    SDNN: {"type", "vThMant", "activation", "sigma_output"},
}
"""What is read of neurons; theta, tauRho and scaleRho say how they were trained."""
NEUTRAL = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "weight_exp": 0, "messageBits": 0}
"""Registers that netx does not read, or not for these neurons, and the only value at which that changes nothing."""
WEIGHT_ONE = 64
"""The weight that is 1 to SLAYER (w_scale of its neurons)."""
MESSAGE_ONE = 4096
"""The message of a sigma-delta neuron that is 1 to SLAYER (s_scale)."""
SLAYER_MIN, SLAYER_MAX = -256 / WEIGHT_ONE, 254 / WEIGHT_ONE
"""Where SLAYER clips the values that enter sigma-delta neurons (quantize_8bit in slayer/neuron/base.py)."""
INPUT_WEIGHT = 64
"""Of a block of type input that does not say (netx/hdf5.py: create_input)."""
BIAS_MIN, BIAS_MAX = -4096, 4095
"""Of the 13 bits through which values enter CUBA neurons."""


def lost(layer: StoredLayer, what: str, why: str) -> Finding:
    """Return the finding that something in `layer` would be lost."""
    return Finding("ND046", layer.name, what, why, "leave it out of the network, or run it with netx")


def unread_neurons(layer: StoredLayer) -> list[Finding]:
    """Return a finding for every register of a block's neurons that has no exact counterpart."""
    neuron = layer.text("neuron/type")
    if neuron is None and layer.kind in ("flatten", "input", "average"):
        return []
    if neuron not in REGISTERS:
        return [lost(layer, f"a layer of {neuron or 'no'} neurons", f"read are {', '.join(REGISTERS)}")]
    findings = []
    for name, value in NEUTRAL.items():
        if f"neuron/{name}" in layer.fields and (stored := layer.integer(f"neuron/{name}")) != value:
            findings.append(lost(layer, f"{name} {stored}", f"netx takes every network as if it were {value}"))
    activation = layer.text("neuron/activation") if neuron == SDNN and layer.kind != "input" else None
    if activation not in (None, "relu") and not sums(layer):
        findings.append(lost(layer, f"the activation {activation}", "netx rectifies, whatever a file says"))
    return findings


def sums(layer: StoredLayer) -> bool:
    """Say whether the neurons of `layer` add up changes and are read as they are: SLAYER's sigma_delta.Output."""
    return "neuron/sigma_output" in layer.fields


def misplaced_averages(layers: list[StoredLayer]) -> list[Finding]:
    """Return what stands against averages where they stand among the blocks of a file."""
    if SDNN in [layer.text("neuron/type") for layer in layers]:
        why = "a mean of changes is no change that a value was told by"
        return [lost(layer, "an average of sigma-delta neurons", why) for layer in layers if layer.kind == "average"]
    why = "what reads it would read fractions of spikes"
    return [lost(layer, "an average before other blocks", why) for layer in layers[:-1] if layer.kind == "average"]


def sigma_delta_misfits(layers: list[StoredLayer]) -> list[Finding]:
    """Return what stands against sigma-delta neurons where they stand among the blocks of a file."""
    neurons = [layer.text("neuron/type") for layer in layers]
    if SDNN not in neurons:
        return []
    findings = []
    if layers[0].kind != "input" or neurons[0] != SDNN:
        what, why = "no block in which values enter", "in what unit changes enter sigma-delta neurons is nowhere said"
        fix = "begin the network with slayer.block.sigma_delta.Input"
        findings.append(Finding("ND046", layers[0].name, what, why, fix))
    for layer, neuron in zip(layers, neurons, strict=True):
        if neuron in CUBA:
            why = "SLAYER and netx disagree on what a message is to the others"
            findings.append(lost(layer, "CUBA among sigma-delta neurons", why))
        elif layer.kind == "dense_rec":
            findings.append(lost(layer, "sigma-delta neurons that read themselves", "SLAYER has none"))
        elif sums(layer) and layer is not layers[-1]:
            findings.append(lost(layer, "an Output block before others", "they would add up what is a sum already"))
        elif sums(layer) and "bias" in layer.fields:
            findings.append(lost(layer, "biases of an Output block", "netx has no such neurons"))
    return findings


def unit_of(layer: StoredLayer) -> float:
    """Return how many of the file's weights a membrane unit is."""
    return float(WEIGHT_ONE) if layer.text("neuron/type") == SDNN else 1.0


def entry_of(layer: StoredLayer, shape: Shape) -> tuple[Input, float, float]:
    """Return where real values enter a block of type input, and with what weight and bias in the file's units.

    netx leaves weight x + bias to whoever feeds the neurons, in whole numbers.
    """
    weight = layer.integer("weight") if "weight" in layer.fields else INPUT_WEIGHT
    bias = layer.integer("bias") if "bias" in layer.fields else 0
    low, high = (BIAS_MIN - bias) / max(weight, 1), (BIAS_MAX - bias) / max(weight, 1)
    if layer.text("neuron/type") == SDNN:
        low, high = SLAYER_MIN, SLAYER_MAX
    return Input(shape, InputKind.GRADED, low, high, grid=1 / max(weight, 1)), float(weight), float(bias)


def remembers(layer: StoredLayer) -> bool:
    """Say whether a synaptic current of a block's neurons outlasts a step."""
    if layer.kind == "input":
        return False
    return layer.text("neuron/type") == SDNN or layer.integer("neuron/iDecay") != DECAY_ONE


def neurons_of(layer: StoredLayer, shape: Shape, bias: np.ndarray | None) -> LIF:
    """Return the neurons of a block.

    Args:
        bias: of neurons or channels in membrane units, that is not part of what they read; None for none.
    """
    own = None if bias is None else np.repeat(bias, prod(shape) // len(bias)).reshape(shape)
    threshold = np.array(1.0 if sums(layer) else layer.integer("neuron/vThMant") / unit_of(layer))
    if layer.text("neuron/type") == SDNN:
        firing = Firing.DELTA if layer.kind == "input" else Firing.VALUE if sums(layer) else Firing.DELTA_RELU
        kept = np.array(1.0) if remembers(layer) else None
        grid, payload = 1 / WEIGHT_ONE, 1 / MESSAGE_ONE
        none = Reset.NONE
        return LIF(shape, np.array(0.0), threshold, none, kept, grid=grid, firing=firing, bias=own, payload=payload)
    alpha = np.array(1 - layer.integer("neuron/iDecay") / DECAY_ONE) if remembers(layer) else None
    beta = np.array(1 - layer.integer("neuron/vDecay") / DECAY_ONE)
    return LIF(shape, beta, threshold, Reset.ZERO, alpha, grid=1.0, bias=own)


def averages(outputs: int, members: int) -> LIF:
    """Return neurons that keep nothing and send what they read, in whole parts of `members`."""
    step = 1 / members
    zero, one = np.array(0.0), np.array(1.0)
    return LIF((outputs,), zero, one, Reset.NONE, grid=step, firing=Firing.VALUE, payload=step)
