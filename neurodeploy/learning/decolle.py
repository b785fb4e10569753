"""DECOLLE: every layer learns from the error of a fixed random readout of its own. Kaiser, Mostafa & Neftci 2020.

    Y_k(t) = sum_j G_kj s_j(t) + c_k           G, c fixed, uniform in [-xi, xi] / sqrt(n)
    dw_ji  = -sum_t L_j(t) psi_j(t) eps_i(t)   L_j = sum_k G_kj d_k,   d = clip(Y - Y*, -1, 1): SmoothL1's derivative

Nothing goes back between layers or through time: traces and one error per step are all there is, and memory does not
grow with the steps. eps is the response of the neuron's own potential (two traces with a synaptic current); the reset
and, in a recurrent layer, the layer's own past spikes are taken as given. The output layer reads itself: G = 1, c = 0.

Not as in the authors' code: neurons are `LIF` nodes, as in arXiv 2402.01782 (eq. 1), so that a chip has them, not
theirs with normalized traces and a refractory trace of its own decay; with that decay set to the membrane's, theirs is
a `LIF` node one step later. The loss is theirs; they update by AdaMax at every step from weights that LSUV initializes,
we sum over a batch's steps and update once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.errors import Finding, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.plasticity import Rule, Signal
from neurodeploy.learning import three_factor
from neurodeploy.learning.learner import Step
from neurodeploy.learning.net import Stretch
from neurodeploy.learning.three_factor import Accumulator, ThreeFactor

SOURCE = "Kaiser, Mostafa & Neftci 2020, Frontiers in Neuroscience 14:424"
LIF_RULE = Rule(
    name="decolle",
    pre={"eps": "beta*eps' + x"},
    weight="-L*psi*eps",
    signal=Signal.LOCAL_READOUT,
    constants=("beta",),
    source=SOURCE,
)
TWO_TRACE_RULE = Rule(
    name="decolle",
    pre={"iota": "alpha*iota' + x", "eps": "beta*eps' + iota"},
    weight="-L*psi*eps",
    signal=Signal.LOCAL_READOUT,
    constants=("alpha", "beta"),
    source=SOURCE,
)


@dataclass(frozen=True)
class Options(three_factor.Options):
    """How DECOLLE learns.

    Args:
        scale: xi, of the readouts' weights.
        dropout: probability with which a spike is hidden from its layer's readout in training.
        burn_in: first steps, in which traces fill and nothing is learned.
        high, low: factors of the two activity terms of the local loss (see `_activity`).
    """

    surrogate: str = "fast_sigmoid"
    scale: float = 0.5
    dropout: float = 0.0
    burn_in: int = 0
    high: float = 0.0
    low: float = 0.0

    def claims(self) -> list[tuple[bool, str]]:
        return [
            *super().claims(),
            (self.scale > 0, f"scale is {self.scale}"),
            (0 <= self.dropout < 1, f"dropout is {self.dropout}"),
            (self.burn_in >= 0, f"burn_in is {self.burn_in}"),
            (self.high >= 0, f"high is {self.high}"),
            (self.low >= 0, f"low is {self.low}"),
        ]


class Decolle(ThreeFactor):
    """DECOLLE on a chain of layers, all-to-all or convolutional, each perhaps recurrent."""

    options: Options

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, options, seed, dtype)
        self.readouts: list[tuple[Tensor, Tensor]] = []
        classes = self.net.output.shape[0]
        for layer in list(self.net)[:-1]:
            size = prod(layer.shape)
            reach = options.scale / size**0.5
            draw = torch.rand(classes, size + 1, generator=self.random, dtype=dtype)
            weights = reach * (2 * draw - 1)
            self.readouts.append((weights[:, :-1].clone(), weights[:, -1].clone()))
        self.readouts.append((torch.eye(classes, dtype=dtype), torch.zeros(classes, dtype=dtype)))
        for layer in self.net:
            recurrent = None if layer.recurrent is None else Accumulator(layer, True, 0.0, False)
            self.watch(layer, Accumulator(layer, False, 0.0, False), recurrent)
        self.optimize(list(self.net.parameters()))

    def begin(self, samples: int, steps: int) -> None:
        output = self.net.output
        self.counts = output.weight.new_zeros(samples, *output.shape)
        self.loss, self.learned = 0.0, steps - self.options.burn_in
        if self.learned < 1:
            what, why = f"burn_in is {self.options.burn_in}", f"a sample has {steps} steps, so nothing would be learned"
            raise UsageError(Finding("ND075", "--option burn_in", what, why, "leave some steps to learn from"))

    def signals(self, stretches: list[Stretch], labels: Tensor, first: int) -> list[tuple[Tensor, Tensor]]:
        target = functional.one_hot(labels, self.counts.shape[1]).to(self.counts.dtype)
        late = torch.arange(first, first + len(stretches[0].spikes)) >= self.options.burn_in
        late = late.to(target.dtype).reshape(-1, 1, 1)
        factors = []
        for layer, stretch, (weights, offset) in zip(self.net, stretches, self.readouts, strict=True):
            seen = self._dropped(stretch.spikes.flatten(2)) if layer is not self.net.output else stretch.spikes
            error = late * (seen @ weights.T + offset - target)
            self.loss += float(_smooth_l1(error).sum())
            heard = self._dropped_signal(error.clamp(-1, 1) @ weights, layer is not self.net.output)
            heard = (heard / target.shape[1]).reshape(stretch.spikes.shape)
            psi = self.psi(stretch.u, layer.threshold)
            if self.options.high or self.options.low:
                heard, psi = self._with_activity(heard, psi, stretch.u, late)
            factors.append((psi, heard))
        self.counts = self.counts + stretches[-1].spikes.sum(0)
        return factors

    def _dropped(self, spikes: Tensor) -> Tensor:
        """Return the spikes that the readout sees, rescaled; remember which for the way back."""
        self._mask: Tensor | None = None
        if not self.options.dropout:
            return spikes
        keep = 1 - self.options.dropout
        draw = torch.rand(spikes.shape, generator=self.random, dtype=spikes.dtype)
        self._mask = (draw < keep).to(spikes.dtype) / keep
        return spikes * self._mask

    def _dropped_signal(self, signal: Tensor, hidden: bool) -> Tensor:
        return signal * self._mask if hidden and self._mask is not None else signal

    def _with_activity(self, signal: Tensor, psi: Tensor, u: Tensor, late: Tensor) -> tuple[Tensor, Tensor]:
        """Add the activity terms of the local loss, which act on the potential and not on spikes.

        high * mean max(u + .01, 0)  +  low * 3e-3 max(mean(.1 - sigmoid(u)), 0)
        """
        late = late.reshape(-1, *(1,) * (u.dim() - 1))
        size = u[0, 0].numel()
        direct = self.options.high * (u > -0.01).to(u.dtype) / size
        gate = torch.sigmoid(u)
        quiet = ((0.1 - gate).flatten(2).mean(2) > 0).to(u.dtype).reshape(*u.shape[:2], *(1,) * (u.dim() - 2))
        direct = late * (direct - self.options.low * 3e-3 * quiet * gate * (1 - gate) / size)
        return signal * psi + direct, torch.ones_like(psi)

    def outcome(self, labels: Tensor) -> Step:
        correct = int((self.counts.argmax(1) == labels).sum())
        return Step(len(labels), self.loss / (self.learned * self.counts.shape[1]), correct, {})

    def state(self) -> dict[str, Any]:
        return super().state() | {"readouts": [list(pair) for pair in self.readouts]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.readouts = [(weights, offset) for weights, offset in state["readouts"]]


def _smooth_l1(error: Tensor) -> Tensor:
    size = error.abs()
    return torch.where(size < 1, 0.5 * error * error, size - 0.5)
