"""ANN-to-SNN conversion: train without spikes on the time-mean input, then let spike rates stand for activations.

    a_0 = mean of x(t) over steps      a_l = h(W_l a_(l-1) + b_l)      logits = W_L a_(L-1) + b_L

An integrate-and-fire neuron that subtracts its threshold theta, begins at V0 and gets the constant current z fires

    count(T) = clip( floor((T z + V0) / theta), 0, T )

times in T steps, so its rate is a clipped, quantized ReLU of slope 1 / theta. With lambda_l the activation that a rate
of 1 stands for (lambda_0 = 1: real input is a current already), theta = 1 and

    W_l <- W_l lambda_(l-1) / lambda_l         b_l <- b_l / lambda_l + V0 / T

    percentile   h = ReLU; lambda_l: that percentile of the layer's activations. Rueckauer et al. 2017
    balance      h = ReLU; lambda_l: the largest weighted input per step that the layer gets from spikes, with the
                 layers below set already, begun at V0 and driven by the mean input. Sengupta et al. 2019
    qcfs         h(z) = lambda clip( floor(z L / lambda + 1/2) / L, 0, 1 ); lambda_l is learned, with
                 dh/dz = [0 < z < lambda] and dh/dlambda = (h - z) / lambda inside, 1 above. Bu et al. 2022

V0 = 1/2 rounds to the nearest rate where V0 = 0, of the first two methods as published, rounds down. It comes as a bias
of V0 / T per step: with constant input the count after T steps is the same. The output's spike counts must only rank
the classes, so all its logits are shifted and scaled alike: well below the weakest winner of the calibration data
nothing fires, well above the strongest every step does, and V0 = 1/2 rounds. The reset SUBTRACT_NEXT_STEP of a neuron
that does not leak (beta = 1) fires exactly the spikes of an immediate one: its threshold is subtracted before it is
next compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.errors import Finding, UnsupportedError, UsageError, raise_all
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, AveragePool, Conv, Input, Linear, Node, Reset, Reshape
from neurodeploy.learning.learner import Learner, Step, cosine, set_rate
from neurodeploy.learning.net import Layer, Net

METHODS = ("percentile", "balance", "qcfs")
ORDINARY = (Linear, Conv, Reshape, AveragePool, Input, LIF)
"""The nodes whose meaning is the same for rates as for spikes, and that scale with their input but for a bias."""
OUTPUT_TAIL = 0.5
"""Percent of calibration samples whose winner may lie below the output's range, and above it."""
OUTPUT_START = 0.5
"""V0 of the output, in thresholds."""
MARGIN = 0.2
"""The output's range is wider than its winners' by this share at either end: on unseen samples they may be weaker."""


@dataclass(frozen=True)
class Options:
    """How the ANN is trained and converted.

    Args:
        method: "percentile", "balance" or "qcfs".
        percentile: of activations, for that method; 100 is the maximum.
        levels: L of qcfs.
        start: V0 of hidden neurons, in thresholds; qcfs is exact at 1/2 only.
        rate: peak of Adam's learning rate, on a cosine schedule.
        decay: AdamW's decoupled weight decay.
        calibration: how many training samples lambda and the output's range are measured on: the first ever seen.
    """

    method: str = "percentile"
    percentile: float = 99.7
    levels: int = 8
    start: float = 0.5
    rate: float = 5e-3
    decay: float = 1e-3
    calibration: int = 512

    def __post_init__(self) -> None:
        claims = (
            (self.method in METHODS, f"method is {self.method!r}", f"known are {', '.join(METHODS)}"),
            (0 < self.percentile <= 100, f"percentile is {self.percentile!r}", "it lies in (0, 100]"),
            (self.levels >= 1, f"levels is {self.levels!r}", "there is at least one"),
            (0 <= self.start <= 1, f"start is {self.start!r}", "it lies in [0, 1]"),
            (self.rate > 0, f"rate is {self.rate!r}", "it is above 0"),
            (self.decay >= 0, f"decay is {self.decay!r}", "it is 0 or more"),
            (self.calibration >= 1, f"calibration is {self.calibration!r}", "at least one sample is needed"),
        )
        fix = "see neurodeploy.learning.conversion.Options"
        found = [Finding("ND087", "options of convert", what, why, fix) for holds, what, why in claims if not holds]
        raise_all(UsageError, found)


class _Quantized(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, top, levels):  # type: ignore[no-untyped-def]
        h = top * (torch.floor(z * levels / top + 0.5) / levels).clamp(0, 1)
        ctx.save_for_backward(z, top, h)
        return h

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        z, top, h = ctx.saved_tensors
        inside, above = (z > 0) & (z < top), z >= top
        in_top = torch.where(inside, (h - z) / top, above.to(z.dtype))
        return gradient * inside, (gradient * in_top).sum(), None


def quantized_clip(z: Tensor, top: Tensor, levels: int) -> Tensor:
    """Return h(z) of qcfs with lambda = `top` (), differentiable in both."""
    return _Quantized.apply(z, top, levels)  # type: ignore[no-any-return]


class Conversion(Learner):
    """An ANN in training; `network()` converts it."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.net, self.options, self.dtype = Net(network, dtype), options, dtype
        raise_all(UnsupportedError, _faults(network, self.net))
        hidden = list(self.net)[:-1]
        self.tops = nn.ParameterList(nn.Parameter(torch.ones((), dtype=dtype)) for _ in hidden)
        learned = [*self.net.parameters(), *(self.tops if options.method == "qcfs" else ())]
        self.optimizer = torch.optim.AdamW(learned, lr=options.rate, weight_decay=options.decay)
        self.calibration = torch.zeros(0, *network.input_node.shape, dtype=dtype)
        self.steps = 0

    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        mean = inputs.mean(0)
        self._keep(mean, len(inputs))
        self.optimizer.zero_grad()
        logits = self.logits(mean)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for top in self.tops:
                top.clamp_(min=1e-3)
        correct = int((logits.detach().argmax(1) == labels).sum())
        return Step(len(labels), float(loss.detach()) * len(labels), correct, {})

    def _keep(self, mean: Tensor, steps: int) -> None:
        """Keep the first samples that training sees, for calibration."""
        room = self.options.calibration - len(self.calibration)
        if room > 0:
            self.calibration = torch.cat([self.calibration, mean[:room].detach()])
        self.steps = steps

    def activate(self, z: Tensor, layer: int) -> Tensor:
        """Return h(z) of hidden layer number `layer`."""
        if self.options.method == "qcfs":
            return quantized_clip(z, self.tops[layer], self.options.levels)
        return functional.relu(z)

    def activations(self, mean: Tensor) -> list[Tensor]:
        """Return for the mean input (sample, *input shape) what each layer computes, the logits last."""
        found = []
        a = mean
        for number, layer in enumerate(self.net):
            z = layer.mapped(layer.ready(a), layer.weight, layer.bias)
            a = z if layer is self.net.output else self.activate(z, number)
            found.append(a)
        return found

    def logits(self, mean: Tensor) -> Tensor:
        return self.activations(mean)[-1].flatten(1)

    def schedule(self, fraction: float) -> None:
        set_rate(self.optimizer, self.options.rate * cosine(fraction))

    @torch.no_grad()
    def network(self) -> Network:
        """Return the integrate-and-fire network whose rates are the ANN's activations.

        Raises:
            UsageError: ND089 before the first batch, when there is nothing to calibrate on.
        """
        if not self.steps:
            why = "thresholds and the output's range are measured on training data"
            raise UsageError(Finding("ND089", "convert", "nothing was learned yet", why, "train at least one batch"))
        nodes, origin = dict(self.net.network_before.nodes), 1.0
        for layer, top in zip(self.net, self.scales(), strict=False):
            nodes |= self._converted(layer, origin / top, 0.0, top, self.options.start)
            origin = top
        low, span = self.output_range()
        nodes |= self._converted(self.net.output, origin / span, low, span, OUTPUT_START)
        return replace(self.net.network_before, nodes=nodes)

    def _converted(self, layer: Layer, factor: float, low: float, span: float, start: float) -> dict[str, Node]:
        """Return W factor, (b - low) / span + V0 / T, and the neurons."""
        bias = np.zeros(len(layer.weight)) if layer.bias is None else _array(layer.bias)
        bias = (bias - low) / span + start / self.steps
        assert isinstance(layer.node, Linear | Conv)
        one = np.ones(())
        return {
            layer.map: replace(layer.node, weight=_array(layer.weight) * factor, bias=bias),
            layer.name: LIF(layer.shape, one, one, Reset.SUBTRACT_NEXT_STEP),
        }

    @torch.no_grad()
    def scales(self) -> list[float]:
        """Return lambda of every hidden layer."""
        match self.options.method:
            case "percentile":
                hidden = self.activations(self.calibration)[:-1]
                found = [float(np.percentile(_array(a), self.options.percentile)) for a in hidden]
            case "balance":
                found = self._balanced()
            case _:
                found = [float(top) for top in self.tops]
        return [top if top > 0 else 1.0 for top in found]

    def _balanced(self) -> list[float]:
        """Return lambda of every hidden layer, each fed the spikes that the layer below fires when it is deployed."""
        found: list[float] = []
        x = self.calibration.expand(self.steps, *self.calibration.shape)
        for layer in list(self.net)[:-1]:
            current = layer.mapped(layer.ready(x.flatten(0, 1)), layer.weight, layer.bias)
            current = current.reshape(*x.shape[:2], *layer.shape)
            found.append(float(current.max()))
            top = found[-1] if found[-1] > 0 else 1.0
            x = top * integrate_and_fire(current + self.options.start * top / self.steps, top)
        return found

    @torch.no_grad()
    def output_range(self) -> tuple[float, float]:
        """Return (low, span): a logit of low fires nothing, one of low + span at every step."""
        winner = _array(self.logits(self.calibration).amax(1))
        low, high = np.percentile(winner, (OUTPUT_TAIL, 100 - OUTPUT_TAIL))
        margin = MARGIN * (high - low)
        low, span = float(low - margin), float(high - low + 2 * margin)
        return low, span if span > 0 else 1.0

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "tops": self.tops.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "calibration": self.calibration.clone(),
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.tops.load_state_dict(state["tops"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.calibration, self.steps = state["calibration"].clone(), state["steps"]


def integrate_and_fire(current: Tensor, threshold: float) -> Tensor:
    """Return the spikes (step, ...) of neurons that subtract `threshold` and do not leak, from v = 0."""
    membrane, spikes = torch.zeros_like(current[0]), []
    for x in current:
        membrane = membrane + x
        spikes.append((membrane > threshold).to(x.dtype))
        membrane = membrane - threshold * spikes[-1]
    return torch.stack(spikes)


def _faults(network: Network, net: Net) -> list[Finding]:
    strange = [name for name, node in network.nodes.items() if not isinstance(node, ORDINARY)]
    recurrent = [layer.name for layer in net if layer.recurrent is not None]
    behind = [layer.name for layer in net if layer.behind]
    claims = (
        (strange, "neither weighted nor an average", "rates stand for activations only where both scale alike"),
        (recurrent, "recurrent", "an ANN that sees the mean input once has no state to convert"),
        (behind, "fed through another map behind the weighted one", "the bias that stands for V0 goes in just before"),
    )
    fix = "use an --arch of all-to-all layers, convolutions and average pools"
    faults = [(name, what, why) for names, what, why in claims for name in names]
    return [Finding("ND088", network.place(name), f"{name} is {what}", why, fix) for name, what, why in faults]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy().copy()
