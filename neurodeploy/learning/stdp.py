"""Spike-timing-dependent plasticity with traces, and an unsupervised classifier that learns by it.

    x(t) = x(t-1) e^(-1/tau_plus)  + s_pre(t)         trace of a presynaptic neuron
    y(t) = y(t-1) e^(-1/tau_minus) + s_post(t)        trace of a postsynaptic neuron
    at s_post:  dw = +A_plus  f_plus(w)  x            at s_pre:  dw = -A_minus f_minus(w) y
    f = 1 (mu = 0), or soft bounds f_plus = (w_max - w)^mu, f_minus = w^mu

x and y are taken before the spikes of the step are added, so pairs of the same step do not count and the sum is the
one over all pairs of spikes, weighted by e^(-|distance| / tau). With "nearest" neighbors a spike sets its trace to 1
instead of adding 1. f is that of the weights with which the batch was run. Steps are the unit of time. Morrison et al.
2008.

The classifier, after Diehl & Cook 2015: neurons that inhibit each other learn by STDP what the input looks like, under
the constraints of `competition.py`; labels only say afterwards what each of them stands for. A mini-batch is run with
the same weights, and its weight changes are averaged. The spikes are those of the deployed network, whose inhibition
takes a step, so several neurons may fire in one step; of these only the one furthest above threshold learns (the
`contest`, in effect an instantaneous inhibition of plasticity), or neighbors would all become the same.

    vote of neuron j for class c:  P_cj = share of j's spikes that it fired to samples of c        ("share")
                                   or [c is the class it fired most to]                            ("majority")
    the output counts votes:       count_c = sum_t sum_j P_cj s_j(t) / theta_out
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import Any

import torch
from torch import Tensor

from neurodeploy.errors import Finding, UsageError, raise_all
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF
from neurodeploy.ir.plasticity import Rule
from neurodeploy.learning.competition import adapted, foremost, frame, inhibition, normalized, peak
from neurodeploy.learning.learner import Learner, Step, cosine
from neurodeploy.learning.net import Layer, Net, silent_gradient

NEIGHBORS = ("all", "nearest")
VOTES = ("share", "majority")
ROOM = 2.0
"""An output neuron can count the votes of a sample that causes twice the mean number of hidden spikes."""


@dataclass(frozen=True)
class Pairing:
    """The numbers of pair-based STDP; tau in steps."""

    a_plus: float = 1.0
    a_minus: float = 0.1
    tau_plus: float = 10.0
    tau_minus: float = 5.0
    neighbors: str = "all"
    mu: float = 0.0
    w_max: float = 1.0

    @property
    def constants(self) -> dict[str, float]:
        """What `describe` calls them."""
        return {
            "a_plus": self.a_plus,
            "a_minus": self.a_minus,
            "decay_plus": exp(-1 / self.tau_plus),
            "decay_minus": exp(-1 / self.tau_minus),
            "w_max": self.w_max,
        }


def describe(pairing: Pairing) -> Rule:
    """Return pair STDP as a description.

    Raises:
        ValueError: for a mu other than 0 and 1, whose power of w is no sum of products.
    """
    if pairing.mu not in (0, 1):
        raise ValueError(f"w^{pairing.mu} is no sum of products")
    rise, fall = "a_plus*decay_plus*x1'*z", "a_minus*decay_minus*y1'*x"
    nearest = pairing.neighbors == "nearest"
    return Rule(
        name="stdp",
        pre={"x1": "x + decay_plus*x1'" + (" - decay_plus*x1'*x" if nearest else "")},
        post={"y1": "z + decay_minus*y1'" + (" - decay_minus*y1'*z" if nearest else "")},
        weight=f"w_max*{rise} - w*{rise} - w*{fall}" if pairing.mu else f"{rise} - {fall}",
        constants=tuple(pairing.constants),
        source="Morrison, Diesmann & Gerstner 2008, Biological Cybernetics 98",
    )


RULE = describe(Pairing())


def trace_before(spikes: Tensor, tau: float, neighbors: str) -> Tensor:
    """Return the trace of `spikes` (step, sample, neuron) at each step before the step's own spikes are added."""
    decay, past = exp(-1 / tau), torch.zeros_like(spikes[0])
    traces = torch.empty_like(spikes)
    for step, spike in enumerate(spikes):
        traces[step] = past = decay * past
        past = past + spike if neighbors == "all" else past + spike - past * spike
    return traces


def pair_change(x: Tensor, z: Tensor, weight: Tensor, pairing: Pairing) -> Tensor:
    """Return dw (post, pre) of pair STDP, summed over steps and samples.

    Args:
        x: presynaptic spikes (step, sample, pre); z: postsynaptic ones (step, sample, post).
        weight: (post, pre), within [0, w_max] where mu is not 0.
    """
    rise = pairing.a_plus * pairs(z, trace_before(x, pairing.tau_plus, pairing.neighbors))
    fall = pairing.a_minus * pairs(trace_before(z, pairing.tau_minus, pairing.neighbors), x)
    if pairing.mu:
        rise, fall = (pairing.w_max - weight) ** pairing.mu * rise, weight**pairing.mu * fall
    return rise - fall


def pairs(post: Tensor, pre: Tensor) -> Tensor:
    return post.flatten(0, 1).T @ pre.flatten(0, 1)


@dataclass(frozen=True)
class Options:
    """How the classifier learns.

    Args:
        rate: eta of STDP, on a cosine schedule; dw is averaged over the batch.
        a_plus, a_minus, tau_plus, tau_minus, neighbors, mu: of STDP; see `Pairing`. Weights stay in [0, 1].
        inhibition: g, in mean thresholds.
        spikes: how many spikes the layer should fire per sample, all neurons together.
        homeostasis: eta_theta, on the same schedule as `rate`.
        start: the first thresholds, as a share of the peak that membranes of the first batch would reach.
        contest: whether only the neuron furthest above threshold learns from a step in which several fire.
        vote: "share" or "majority".
        memory: over how many samples the responses to each class are remembered, with exponential forgetting.
    """

    rate: float = 0.14
    a_plus: float = 1.0
    a_minus: float = 0.1
    tau_plus: float = 10.0
    tau_minus: float = 5.0
    neighbors: str = "all"
    mu: float = 0.0
    inhibition: float = 1.5
    spikes: float = 6.0
    homeostasis: float = 0.03
    start: float = 0.5
    contest: bool = True
    vote: str = "share"
    memory: float = 1500.0

    def __post_init__(self) -> None:
        positive = ("rate", "tau_plus", "tau_minus", "spikes", "start", "memory")
        not_negative = ("a_plus", "a_minus", "mu", "inhibition", "homeostasis")
        check(
            self,
            *((getattr(self, name) > 0, name, "it must be above 0") for name in positive),
            *((getattr(self, name) >= 0, name, "it must be 0 or more") for name in not_negative),
            (self.neighbors in NEIGHBORS, "neighbors", f"known are {', '.join(NEIGHBORS)}"),
            (self.vote in VOTES, "vote", f"known are {', '.join(VOTES)}"),
        )

    @property
    def pairing(self) -> Pairing:
        return Pairing(self.a_plus, self.a_minus, self.tau_plus, self.tau_minus, self.neighbors, self.mu)


def check(options: Options, *claims: tuple[bool, str, str]) -> None:
    """Raise ND086 once for all (holds, field, why) that do not hold."""
    wrong = [(name, why) for holds, name, why in claims if not holds]
    fix = f"see {type(options).__module__}.Options"
    found = [Finding("ND086", name, f"{name} is {getattr(options, name)!r}", why, fix) for name, why in wrong]
    raise_all(UsageError, found)


@dataclass(frozen=True)
class Response:
    """What the hidden layer fired to a batch: spikes (step, sample, neuron), and the part that learns."""

    spikes: Tensor
    learning: Tensor


class Features:
    """A hidden layer that learns what its input looks like, and hears no label.

    `weight` (neuron, input) and `threshold` (neuron,) are what it has learned; until the first batch it has no
    thresholds of its own.
    """

    def __init__(self, layer: Layer, options: Options) -> None:
        self.layer, self.options = layer, options
        self.begun = False
        self.layer.weight.data = normalized(self.layer.weight.detach().abs())

    @property
    def weight(self) -> Tensor:
        return self.layer.weight.detach()

    @property
    def threshold(self) -> Tensor:
        return self.layer.threshold

    def respond(self, inputs: Tensor) -> Response:
        """Run a batch (step, sample, *input shape) from rest; the first one sets the first thresholds."""
        drive = self.layer.drive(inputs)
        if not self.begun:
            start = max(self.options.start * peak(self.layer, drive), torch.finfo(drive.dtype).tiny)
            self._set_threshold(torch.full_like(self.threshold, start))
            self.begun = True
        stretch, _ = self.layer.run(drive, self.layer.rest(inputs.shape[1]), silent_gradient)
        spikes = stretch.spikes
        return Response(spikes, foremost(spikes, stretch.u) if self.options.contest else spikes)

    def change(self, inputs: Tensor, response: Response) -> Tensor:
        """Return the dw (neuron, input) that STDP asks for, summed over the batch."""
        x = self.layer.ready(inputs.flatten(0, 1)).reshape(*inputs.shape[:2], -1)
        return pair_change(x, response.learning, self.weight, self.options.pairing)

    def learn(self, inputs: Tensor, response: Response, factor: float) -> None:
        """Take one step of plasticity and homeostasis; `factor` is the schedule's."""
        samples = inputs.shape[1]
        change = self.options.rate * factor / samples * self.change(inputs, response)
        self.layer.weight.data = normalized((self.weight + change).clamp(0, 1))
        counts = response.spikes.sum((0, 1)) / samples
        wanted = self.options.spikes / len(counts)
        self._set_threshold(adapted(self.threshold, counts, wanted, self.options.homeostasis * factor))

    def _set_threshold(self, threshold: Tensor) -> None:
        self.layer.threshold = threshold
        strength = self.options.inhibition * float(threshold.mean())
        assert self.layer.recurrent is not None
        self.layer.recurrent.data = inhibition(len(threshold), strength, threshold)

    def state(self) -> dict[str, Any]:
        return {"weight": self.weight.clone(), "threshold": self.threshold.clone(), "begun": self.begun}

    def restore(self, state: dict[str, Any]) -> None:
        self.layer.weight.data = state["weight"].clone()
        self.begun = state["begun"]
        if self.begun:
            self._set_threshold(state["threshold"].clone())


class Tally:
    """How many spikes each neuron fired to each class, and to how many samples, with exponential forgetting."""

    def __init__(self, classes: int, neurons: int, memory: float, dtype: torch.dtype) -> None:
        self.spikes = torch.zeros(classes, neurons, dtype=dtype)
        self.samples = 0.0
        self.memory = memory

    def add(self, counts: Tensor, labels: Tensor) -> None:
        """Add spike counts (sample, neuron) and forget a little of what was."""
        keep = exp(-len(labels) / self.memory)
        self.spikes = (keep * self.spikes).index_add(0, labels, counts)
        self.samples = keep * self.samples + len(labels)

    def votes(self, kind: str) -> Tensor:
        """Return P (class, neuron); neurons that never fired have no vote."""
        if kind == "share":
            return self.spikes / self.spikes.sum(0).clamp(min=torch.finfo(self.spikes.dtype).tiny)
        best = torch.nn.functional.one_hot(self.spikes.argmax(0), len(self.spikes)).T
        return best * (self.spikes.sum(0) > 0).to(self.spikes.dtype)

    def per_sample(self) -> float:
        """Return the mean number of spikes per sample, all neurons together; 1 before there was any."""
        spikes = float(self.spikes.sum())
        return spikes / self.samples if spikes else 1.0


class STDP(Learner):
    """The unsupervised classifier: STDP features, and an output that counts votes."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.frame, self.options, self.dtype, self.factor = frame(network), options, dtype, 1.0
        self.net = Net(self.frame, dtype).requires_grad_(False)
        hidden, self.output = self.net
        self.features = Features(hidden, options)
        self.tally = Tally(self.output.neuron.size, hidden.neuron.size, options.memory, dtype)
        self.steps = 1

    @torch.no_grad()
    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        """Update once. The loss is the number of wrong decisions, by the votes as they stood before."""
        self.steps = len(inputs)
        response = self.features.respond(inputs)
        counts = response.spikes.sum(0)
        correct = int(((counts @ self.tally.votes(self.options.vote).T).argmax(1) == labels).sum())
        self.features.learn(inputs, response, self.factor)
        self.tally.add(counts, labels)
        return Step(len(labels), float(len(labels) - correct), correct, measures(counts))

    def network(self) -> Network:
        """Return the network that decides by vote; thresholds are frozen, one per neuron."""
        self.output.weight.data = self.tally.votes(self.options.vote)
        return deployed(self.net, ROOM * self.tally.per_sample() / self.steps)

    def schedule(self, fraction: float) -> None:
        self.factor = cosine(fraction)

    def state(self) -> dict[str, Any]:
        return {
            "features": self.features.state(),
            "spikes": self.tally.spikes.clone(),
            "samples": self.tally.samples,
            "steps": self.steps,
            "factor": self.factor,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.features.restore(state["features"])
        self.tally.spikes, self.tally.samples = state["spikes"].clone(), state["samples"]
        self.steps, self.factor = state["steps"], state["factor"]


def measures(counts: Tensor) -> dict[str, float]:
    """Return what hidden counts (sample, neuron) say: spikes per sample, and the share of samples without any."""
    total = counts.sum(1)
    return {"hidden_spikes": float(total.mean()), "silent_samples": float((total == 0).double().mean())}


def deployed(net: Net, threshold: float) -> Network:
    """Return the present weights as a network, with the hidden thresholds and this output threshold in its neurons."""
    network = net.network()
    hidden, output = net
    count = torch.tensor(threshold, dtype=output.weight.dtype).double().cpu().numpy()
    neurons: dict[str, LIF] = {
        hidden.name: replace(hidden.neuron, threshold=hidden.threshold.double().cpu().numpy().copy()),
        output.name: replace(output.neuron, threshold=count),
    }
    return replace(network, nodes=network.nodes | neurons)
