"""e-prop: eligibility traces forward in time, and a learning signal from the output's error. Bellec et al. 2020.

    dw_ji = -sum_t L_j(t) e_ji(t)             L_j = sum_k B_jk err_k        err = softmax(y) - onehot(label)

The eligibility e is read off the neuron's own equation; one table per kind of neuron below. psi is the
pseudo-derivative at the potential that decided the spike. y is the output's filtered spikes, which learn by a psi of
their own, or its membrane (`readout`). Only the membrane of an output without a synaptic current makes e-prop the
gradient that the identities say; with counted spikes, as deployed networks have them, L leaves out how the output turns
its input into spikes, as in arXiv 2402.01782. B is the output's weights (symmetric), fixed random numbers, or random
numbers that receive the same updates as the output's weights and decay with them (adaptive: Kolen & Pollack 1994);
every hidden layer below the last always has its own fixed random B, as arXiv 2402.01782 (eq. 3-5). Neurons have no
synapse to themselves.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv
from neurodeploy.ir.plasticity import Rule, Signal
from neurodeploy.learning import three_factor
from neurodeploy.learning.learner import Step
from neurodeploy.learning.net import Layer, Stretch
from neurodeploy.learning.surrogates import SURROGATES
from neurodeploy.learning.three_factor import Accumulator, Interpreted, Sums, ThreeFactor, shared_kernels

SOURCE = "Bellec et al. 2020, Nature Communications 11:3625"

LIF_RULE = Rule(
    name="eprop",
    pre={"eps": "beta*eps' + x"},
    synapse={"e": "kappa*e' + psi*eps"},
    weight="-L*e",
    signal=Signal.BROADCAST,
    constants=("beta", "kappa"),
    source=SOURCE,
)
"""v = beta v + W x - theta z': one trace per input."""

TWO_TRACE_RULE = Rule(
    name="eprop",
    pre={"iota": "alpha*iota' + x", "eps": "beta*eps' + iota"},
    synapse={"e": "kappa*e' + psi*eps"},
    weight="-L*e",
    signal=Signal.BROADCAST,
    constants=("alpha", "beta", "kappa"),
    source="arXiv 2402.01782, eq. 1",
)
"""i = alpha i + W x, v = beta v + i - theta z': two traces per input, none per synapse before the filter."""

ALIF_RULE = Rule(
    name="eprop",
    pre={"eps": "beta*eps' + x"},
    synapse={
        "a": "psi'*eps' + rho*a' - strength*psi'*a'",
        "e": "psi*eps - strength*psi*a",
        "f": "kappa*f' + e",
    },
    weight="-L*f",
    signal=Signal.BROADCAST,
    constants=("beta", "rho", "strength", "kappa"),
    source=SOURCE,
)
"""LIF whose threshold is theta + strength a, a = rho a' + z': the adaptation needs a variable per synapse."""

EXACT_RULE = Rule(
    name="eprop",
    synapse={"eps": "beta*eps' - theta*psi'*eps' + x", "e": "kappa*e' + psi*eps"},
    weight="-L*e",
    signal=Signal.BROADCAST,
    constants=("beta", "theta", "kappa"),
    source="own derivation: the reset kept in the recursion; equals full BPTT through one hidden layer",
)
"""LIF_RULE without its one approximation in a feed-forward net: the reset's own dependence on the weights."""


@dataclass(frozen=True)
class Options(three_factor.Options):
    """How e-prop learns.

    Args:
        feedback: "symmetric", "random" or "adaptive": B of the last hidden layer.
        readout: "spikes", y = kappa y' + spikes of the output; or "membrane", y = the output's membrane, which then
            never resets in training. The saved network counts spikes either way.
        kappa: decay of y and of the eligibility; None: the output neuron's beta.
        filtered: whether the eligibility is filtered by kappa; without it a synapse needs no variable of its own.
        gain: factor on y before the softmax.
        regularizer: c of the firing rate term c/2 sum_j (f_j - f*)^2 of hidden neurons; 0: none.
        target_rate: f*, spikes per step.
        shrink: d, by which output weights and adaptive B decay after every update.
        exact: use EXACT_RULE on LIF neurons (slow: one trace per synapse).
        output_surrogate: psi of output neurons that count spikes; the triangle's is zero far below threshold, and an
            output neuron that random feedback has silenced would never come back.
    """

    CHOICES: ClassVar[dict[str, Collection[str]]] = {
        **three_factor.Options.CHOICES,
        "feedback": ("symmetric", "random", "adaptive"),
        "readout": ("spikes", "membrane"),
        "output_surrogate": SURROGATES,
    }

    feedback: str = "symmetric"
    readout: str = "spikes"
    kappa: float | None = None
    filtered: bool = True
    gain: float = 1.0
    regularizer: float = 0.0
    target_rate: float = 0.05
    shrink: float = 0.0
    exact: bool = False
    output_surrogate: str = "arctan"

    def claims(self) -> list[tuple[bool, str]]:
        return [
            *super().claims(),
            (self.kappa is None or 0 <= self.kappa <= 1, f"kappa is {self.kappa}"),
            (self.gain > 0, f"gain is {self.gain}"),
            (self.regularizer >= 0, f"regularizer is {self.regularizer}"),
            (0 <= self.target_rate <= 1, f"target_rate is {self.target_rate}"),
            (0 <= self.shrink < 1, f"shrink is {self.shrink}"),
        ]


class EProp(ThreeFactor):
    """e-prop on a chain of LIF layers, each perhaps recurrent."""

    options: Options

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, options, seed, dtype)
        output, hidden = self.net.output, list(self.net)[:-1]
        self.kappa = float(output.beta) if options.kappa is None else options.kappa
        if options.readout == "membrane":
            output.listens_only()
        self.feedback: dict[str, Tensor] = {}
        for layer in self.net:
            if layer.recurrent is not None:
                if isinstance(layer.recurrent_node, Conv):
                    raise shared_kernels(layer)
                layer.recurrent.data.fill_diagonal_(0)
        for layer in hidden:
            size = prod(layer.shape)
            if options.feedback != "symmetric" or layer is not hidden[-1]:
                drawn = torch.randn(output.shape[0], size, generator=self.random, dtype=dtype)
                self.feedback[layer.name] = drawn / size**0.5
            forward = self._accumulator(layer, recurrent=False)
            self.watch(layer, forward, None if layer.recurrent is None else self._accumulator(layer, recurrent=True))
        eligibility = self.kappa if options.filtered and options.readout == "spikes" else 0.0
        own = None if output.recurrent is None else Accumulator(output, True, eligibility, False)
        self.watch(output, Accumulator(output, False, eligibility, False), own)
        self.adaptive = self.feedback[hidden[-1].name] if hidden and options.feedback == "adaptive" else None
        extra = [] if self.adaptive is None else [self.adaptive]
        self.optimize([*self.net.parameters(), *extra])

    def _accumulator(self, layer: Layer, recurrent: bool) -> Sums:
        options, neuron = self.options, layer.neuron
        kappa = self.kappa if options.filtered else 0.0
        plain = bool(options.regularizer)
        if neuron.adaptation is None and not options.exact:
            return Accumulator(layer, recurrent, kappa, plain)
        return Interpreted(layer, recurrent, rule_of(neuron, options.exact), constants_of(layer, kappa), plain)

    def begin(self, samples: int, steps: int) -> None:
        zero = self.net.output.weight.new_zeros(samples, *self.net.output.shape)
        self.filtered, self.counts = zero, zero
        self.loss, self.steps, self.samples = 0.0, steps, samples
        self.rates = {layer.name: 0.0 * layer.rest(1).spikes[0] for layer in self.net}

    def signals(self, stretches: list[Stretch], labels: Tensor, first: int) -> list[tuple[Tensor, Tensor]]:
        output = self.net.output
        if self.options.readout == "membrane":
            y = stretches[-1].u + output.threshold
            psi = torch.ones_like(y)
            self.counts = self.counts + y.sum(0)
        else:
            y = torch.empty_like(stretches[-1].spikes)
            for step, spikes in enumerate(stretches[-1].spikes):
                self.filtered = self.kappa * self.filtered + spikes
                y[step] = self.filtered
            psi = SURROGATES[self.options.output_surrogate](stretches[-1].u, output.threshold)
            self.counts = self.counts + stretches[-1].spikes.sum(0)
        y = self.options.gain * y
        target = functional.one_hot(labels, y.shape[2]).to(y.dtype)
        error = y.softmax(2) - target
        self.loss -= float((y.log_softmax(2) * target).sum())
        error = self.options.gain * error
        factors = []
        for layer, stretch in zip(list(self.net)[:-1], stretches[:-1], strict=True):
            back = self.feedback.get(layer.name)
            back = output.weight if back is None else back
            signal = (error @ back).reshape(stretch.spikes.shape)
            factors.append((self.psi(stretch.u, layer.threshold), signal))
            self.rates[layer.name] = self.rates[layer.name] + stretch.spikes.sum((0, 1))
        return [*factors, (psi, error)]

    def per_neuron(self, accumulator: Sums) -> Tensor | None:
        """Return c (f_j - f*) / steps: the sum over samples is divided by their number with all the rest."""
        if not self.options.regularizer or accumulator.layer is self.net.output:
            return None
        rate = self.rates[accumulator.layer.name].flatten() / (self.steps * self.samples)
        return self.options.regularizer * (rate - self.options.target_rate) / self.steps

    def masks_self(self) -> bool:
        return True

    def gradients(self, inputs: Tensor, labels: Tensor) -> None:
        super().gradients(inputs, labels)
        if self.adaptive is not None:
            self.adaptive.grad = self.net.output.weight.grad.clone()  # type: ignore[union-attr]

    def updated(self) -> None:
        if self.options.shrink:
            for matrix in (self.net.output.weight, self.adaptive):
                if matrix is not None:
                    matrix.mul_(1 - self.options.shrink)
        self.clip(*([] if self.adaptive is None else [self.adaptive]))

    def outcome(self, labels: Tensor) -> Step:
        correct = int((self.counts.argmax(1) == labels).sum())
        hidden = [rate.mean() / (self.steps * self.samples) for rate in list(self.rates.values())[:-1]]
        measures = {"hidden_rate": float(torch.stack(hidden).mean())} if hidden else {}
        return Step(len(labels), self.loss / self.steps, correct, measures)

    def state(self) -> dict[str, Any]:
        return super().state() | {"feedback": self.feedback}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for name, value in state["feedback"].items():
            self.feedback[name].copy_(value)


def rule_of(neuron: LIF, exact: bool = False) -> Rule:
    """Return the table for a kind of neuron."""
    if neuron.adaptation is not None:
        return ALIF_RULE
    if exact:
        return EXACT_RULE
    return LIF_RULE if neuron.alpha is None else TWO_TRACE_RULE


def constants_of(layer: Layer, kappa: float) -> dict[str, float | Tensor]:
    """Return the constants of the table for a layer's neurons."""
    found: dict[str, float | Tensor] = {"kappa": kappa}
    values = {"beta": layer.beta, "alpha": layer.alpha, "theta": layer.threshold}
    if layer.strength is not None:
        values |= {"rho": layer.decay, "strength": layer.strength}
    for name, value in values.items():
        if value is not None:
            found[name] = value.flatten() if value.numel() > 1 else float(value)
    return found
