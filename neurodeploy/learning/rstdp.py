"""Reward-modulated STDP: an output layer on STDP features that is told only whether its decision was right.

    dstdp_kj(t)  pair STDP between feature j and output k, as in stdp.py
    e_kj(t) = e_kj(t-1) exp(-1/tau_e) + dstdp_kj(t)             the synapse's eligibility
    w_kj <- w_kj + eta r e_kj(T)                                once, when the reward comes after the last step
    r = +reward for a right decision, -punishment for a wrong one

The reward reaches the neuron that decided (L_k = r for it, 0 for the others), as an action's reward credits who acted;
labels enter nowhere else. Features learn first, without labels or reward, and the output goes on when they are fixed.
Weights stay in [0, 1], and each feature has one unit of weight to give to all outputs (w_kj / sum_k w_kj): what a
wrong class loses the others gain, so the next decision is another one, and exploration needs no noise. Mini-batches are
learned from as in stdp.py. Izhikevich 2007; Mozafari et al. 2018 for reward and punishment after a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import Any

import torch
from torch import Tensor

from neurodeploy.ir.network import Network
from neurodeploy.ir.plasticity import Rule, Signal, Update
from neurodeploy.learning import stdp
from neurodeploy.learning.competition import frame
from neurodeploy.learning.learner import Learner, Step, cosine, generator
from neurodeploy.learning.net import Net, silent_gradient
from neurodeploy.learning.stdp import ROOM, Features, Pairing, deployed, measures, trace_before


@dataclass(frozen=True)
class Options(stdp.Options):
    """How features and output learn; what is not listed here is the features', as in `stdp.Options`.

    `vote` has no effect here, and `memory` is only how long the number of hidden spikes is remembered.

    Args:
        features: which first part of the run the features learn in; their schedule ends there, the output's begins.
        output_rate: eta of the output.
        output_a_plus, output_a_minus, output_tau_plus, output_tau_minus: of the STDP that makes its eligibilities.
        eligibility: tau_e in steps.
        reward, punishment: r of a right and of a wrong decision.
    """

    features: float = 0.6
    output_rate: float = 0.3
    output_a_plus: float = 1.0
    output_a_minus: float = 0.0
    output_tau_plus: float = 10.0
    output_tau_minus: float = 5.0
    eligibility: float = 100.0
    reward: float = 1.0
    punishment: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive = ("output_rate", "output_tau_plus", "output_tau_minus", "eligibility")
        not_negative = ("output_a_plus", "output_a_minus", "reward", "punishment")
        stdp.check(
            self,
            (0 < self.features < 1, "features", "it must lie between 0 and 1"),
            *((getattr(self, name) > 0, name, "it must be above 0") for name in positive),
            *((getattr(self, name) >= 0, name, "it must be 0 or more") for name in not_negative),
        )

    @property
    def output_pairing(self) -> Pairing:
        taus = (self.output_tau_plus, self.output_tau_minus)
        return Pairing(self.output_a_plus, self.output_a_minus, *taus, self.neighbors)


def describe(pairing: Pairing) -> Rule:
    """Return reward-modulated STDP as a description."""
    pairs = stdp.describe(pairing)
    return replace(
        pairs,
        name="rstdp",
        synapse={"e": f"decay_e*e' + {pairs.weight}"},
        weight="L*e",
        signal=Signal.REWARD,
        update=Update.SAMPLE_END,
        constants=(*pairs.constants, "decay_e"),
        source="Izhikevich 2007, Cerebral Cortex 17",
    )


RULE = describe(Pairing())


def rewarded_change(x: Tensor, z: Tensor, signal: Tensor, pairing: Pairing, eligibility: float) -> Tensor:
    """Return L_k e_kj(T) (post, pre), summed over samples; STDP is additive here.

    Args:
        x: presynaptic spikes (step, sample, pre); z: postsynaptic ones (step, sample, post).
        signal: L (sample, post).
        eligibility: tau_e in steps.
    """
    ages = torch.arange(len(x) - 1, -1, -1, dtype=x.dtype)
    weighted = torch.exp(-ages / eligibility)[:, None, None] * signal
    rise = weighted * z, trace_before(x, pairing.tau_plus, pairing.neighbors)
    fall = weighted * trace_before(z, pairing.tau_minus, pairing.neighbors), x
    return pairing.a_plus * stdp.pairs(*rise) - pairing.a_minus * stdp.pairs(*fall)


class RSTDP(Learner):
    """STDP features and an output layer that learns from reward."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.options, self.dtype = options, dtype
        self.net = Net(frame(network), dtype).requires_grad_(False)
        hidden, self.output = self.net
        self.features = Features(hidden, options)
        draw = torch.rand(self.output.weight.shape, generator=generator(seed), dtype=dtype)
        self.output.weight.data = shared_out(1 + 0.1 * draw)
        self.spikes = self.samples = 0.0
        self.steps = 1
        self.schedule(0.0)

    @torch.no_grad()
    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        """Update once. The loss is the number of wrong decisions."""
        self.steps = len(inputs)
        response = self.features.respond(inputs)
        counts = response.spikes.sum(0)
        keep = exp(-len(labels) / self.options.memory)
        self.spikes = keep * self.spikes + float(counts.sum())
        self.samples = keep * self.samples + len(labels)
        fired = self.answer(response.spikes)
        decision = fired.sum(0).argmax(1)
        right = decision == labels
        if self.feature_factor:
            self.features.learn(inputs, response, self.feature_factor)
        self.reinforce(response.spikes, fired, decision, right)
        correct = int(right.sum())
        return Step(len(labels), float(len(labels) - correct), correct, measures(counts))

    def answer(self, hidden: Tensor) -> Tensor:
        """Return the output's spikes (step, sample, class) to hidden ones (step, sample, neuron)."""
        self.output.threshold = torch.tensor(self.threshold(), dtype=self.dtype)
        return self.output.run(self.output.drive(hidden), self.output.rest(hidden.shape[1]), silent_gradient)[0].spikes

    def threshold(self) -> float:
        return ROOM * (self.spikes or 1.0) / (self.samples or 1.0) / self.steps

    def reinforce(self, hidden: Tensor, fired: Tensor, decision: Tensor, right: Tensor) -> None:
        """Learn from `right` (sample,), the only thing about labels that gets here."""
        reward = torch.where(right, self.options.reward, -self.options.punishment).to(self.dtype)
        signal = torch.nn.functional.one_hot(decision, fired.shape[2]) * reward[:, None]
        change = rewarded_change(hidden, fired, signal, self.options.output_pairing, self.options.eligibility)
        rate = self.options.output_rate * self.output_factor / hidden.shape[1]
        self.output.weight.data = shared_out((self.output.weight + rate * change).clamp(0, 1))

    def network(self) -> Network:
        return deployed(self.net, self.threshold())

    def schedule(self, fraction: float) -> None:
        """Features follow a cosine over the first part of the run; the output's rate is 1 there and then a cosine."""
        part = self.options.features
        self.feature_factor = cosine(fraction / part) if fraction < part else 0.0
        self.output_factor = cosine((fraction - part) / (1 - part))

    def state(self) -> dict[str, Any]:
        return {
            "features": self.features.state(),
            "output": self.output.weight.clone(),
            "spikes": self.spikes,
            "samples": self.samples,
            "steps": self.steps,
            "factors": [self.feature_factor, self.output_factor],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.features.restore(state["features"])
        self.output.weight.data = state["output"].clone()
        self.spikes, self.samples, self.steps = state["spikes"], state["samples"], state["steps"]
        self.feature_factor, self.output_factor = state["factors"]


def shared_out(weight: Tensor) -> Tensor:
    """Return `weight` (class, feature) with columns of sum 1; a feature that lost all shares alike."""
    total = weight.sum(0)
    return torch.where(total > 0, weight / total.clamp(min=torch.finfo(weight.dtype).tiny), 1 / len(weight))
