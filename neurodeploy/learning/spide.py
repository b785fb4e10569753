"""SPIDE: the gradient at the equilibrium of a spiking ring, found by ternary spikes that go round it backwards.

The forward stage is that of equilibrium.py. Then g = S dL/da_N is injected at every step t = 1..T_B into layer N, and
errors travel over the transposed weights, gated by m, one step late between the first layer and the last:

    p_N(t) = u_N(t-1) + g + (1/D) W_fb^T (m_1 e_1(t-1))        p_l(t) = u_l(t-1) + (1/D) W_{l+1}^T (m_{l+1} e_{l+1}(t))
    q_l(t) = [p_l(t) >= V2] - [p_l(t) <= -V2]                  e_l(t) = D2 q_l(t)
    u_l(t) = lambda (p_l(t) - e_l(t))                          beta_l = (1/T_B) sum_t e_l(t), with a leak as rates are

Summed over time these are (LIN) up to u(T_B)/T_B, as long as |beta| < D2: an error neuron cannot fire more often than
every step, and it stays silent below V2/T_B. The scale S moves the errors into that range; updates are divided by it.
What a synapse needs is the forward rate of its source and the gated backward rate of its target. Xiao et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurodeploy.ir import phased
from neurodeploy.learning import equilibrium
from neurodeploy.learning.equilibrium import Implicit, Watch, architecture

__all__ = ["RULE", "SPIDE", "Energy", "Options", "architecture", "energy"]

RULE = phased.SPIDE

ADD_PJ, MULTIPLY_ADD_PJ = 0.9, 4.6
"""Energy of a 32-bit floating-point addition, and of a multiplication with addition, in 45 nm, in pJ: Horowitz 2014,
"Computing's energy problem (and what we can do about it)", ISSCC."""
PERCENTILE = 0.999
"""Of |g| over a batch, which S puts at half of D2; feedback makes the betas larger than g."""


@dataclass(frozen=True)
class Options(equilibrium.Options):
    """How SPIDE learns, beside what IDE shares.

    Args:
        back_steps: T_B.
        scale: S, or None: per batch, so that the 99.9th percentile of |S g| is D2/2.
        back_threshold, back_quantum: V2 and D2 of the error neurons; V2 = D2/2 makes them unbiased.
        couple: run each ternary neuron as a couple of binary ones, as hardware without signed spikes would.
    """

    back_steps: int = 50
    scale: float | None = None
    back_threshold: float = 0.5
    back_quantum: float = 1.0
    couple: bool = False

    def claims(self) -> list[tuple[bool, str]]:
        return [
            *super().claims(),
            (self.back_steps >= 1, f"back_steps is {self.back_steps}"),
            (self.scale is None or self.scale > 0, f"scale is {self.scale}"),
            (self.back_threshold > 0, f"back_threshold is {self.back_threshold}"),
            (self.back_quantum > 0, f"back_quantum is {self.back_quantum}"),
        ]


class Ternary:
    """Error neurons with signed spikes q, of membrane `u`; |u / V2| rounds to 1 only where |u| >= V2."""

    def __init__(self, like: Tensor, threshold: float, quantum: float, leak: float) -> None:
        self.threshold, self.quantum, self.leak = threshold, quantum, leak
        self.u, self.q = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, current: Tensor) -> Tensor:
        """Return q for one step's current, until the next step."""
        u = self.u.add_(current)
        q = torch.div(u, self.threshold, out=self.q).trunc_().clamp_(-1, 1)
        u.sub_(q, alpha=self.quantum)
        if self.leak != 1:
            u.mul_(self.leak)
        return q


class Couple(Ternary):
    """The same as two binary neurons (+) and (-) that receive opposite currents; a spike of one lifts the other:

    u+ <- u+ + I - D2 s+ + D2 s-        u- <- u- - I - D2 s- + D2 s+        q = s+ - s-

    u- = -u+ always, so q is the ternary neuron's exactly.
    """

    def __init__(self, like: Tensor, threshold: float, quantum: float, leak: float) -> None:
        super().__init__(like, threshold, quantum, leak)
        self.minus = torch.zeros_like(like)

    def step(self, current: Tensor) -> Tensor:
        plus, minus = self.u.add_(current), self.minus.sub_(current)
        up, down = (plus >= self.threshold).to(plus.dtype), (minus >= self.threshold).to(plus.dtype)
        plus.sub_(up, alpha=self.quantum).add_(down, alpha=self.quantum)
        minus.sub_(down, alpha=self.quantum).add_(up, alpha=self.quantum)
        if self.leak != 1:
            plus.mul_(self.leak)
            minus.mul_(self.leak)
        return up - down


@dataclass(frozen=True)
class Errors:
    """The backward stage's outcome, layer by layer: beta_l and residual potentials (sample, *neuron), and the spikes.

    `last` are the q of the last step, `activity` the mean |q| per neuron and step.
    """

    betas: list[Tensor]
    potentials: list[Tensor]
    last: list[Tensor]
    activity: list[float]


class SPIDE(Implicit):
    """Spike-based implicit differentiation on a ring."""

    options: Options

    def solve(self, gradient: Tensor, masks: list[Tensor]) -> tuple[list[Tensor], dict[str, float]]:
        options, scale = self.options, self.scale(gradient)
        errors = self.errors(scale * gradient, masks)
        count = sum(u.numel() for u in errors.potentials)
        late = sum(int((u.abs() > options.back_quantum).sum()) for u in errors.potentials)
        silent = sum(int((m * (beta == 0)).sum()) for m, beta in zip(masks, errors.betas, strict=True))
        measures = {
            "backward_rate": sum(r * u.numel() for r, u in zip(errors.activity, errors.potentials, strict=True))
            / count,
            "saturated": late / count,
            "silent": silent / max(sum(int(m.sum()) for m in masks), 1),
            "loss_scale": scale,
        }
        return [beta / scale for beta in errors.betas], measures

    def scale(self, gradient: Tensor) -> float:
        """Return S: the one given, or what puts the 99.9th percentile of |S g| at D2/2."""
        if self.options.scale is not None:
            return self.options.scale
        sizes = gradient.abs().flatten()
        size = float(sizes.kthvalue(max(round(PERCENTILE * len(sizes)), 1)).values)
        return self.options.back_quantum / 2 / size if size > 0 else 1.0

    @torch.no_grad()
    def errors(self, gradient: Tensor, masks: list[Tensor], watch: Watch | None = None) -> Errors:
        """Run the backward stage from rest, with g = `gradient` (sample, *neuron of layer N) at every step."""
        options, ring, steps = self.options, self.ring, self.options.back_steps
        kind = Couple if options.couple else Ternary
        neurons = [kind(m, options.back_threshold, options.back_quantum, options.leak) for m in masks]
        gates = [options.back_quantum / options.quantum * m for m in masks]
        sums, sent = ([torch.zeros_like(m) for m in masks] for _ in range(2))
        last, fired = list(sums), [0.0 for _ in masks]
        for step in range(steps):
            for at in reversed(range(len(masks))):
                if at + 1 < len(masks):
                    current = ring.around(sent, at)
                elif ring.feedback is not None and step:
                    current = ring.around(sent, at).add_(gradient)
                else:
                    current = gradient
                last[at] = neurons[at].step(current)
                torch.mul(last[at], gates[at], out=sent[at])
                if options.leak != 1:
                    sums[at].mul_(options.leak)
                sums[at].add_(last[at])
                fired[at] += float(torch.linalg.vector_norm(last[at], 1))
            if watch is not None:
                watch(list(last))
        total = steps if options.leak == 1 else (1 - options.leak**steps) / (1 - options.leak)
        betas = [q.mul_(options.back_quantum / total) for q in sums]
        activity = [f / (steps * q.numel()) for f, q in zip(fired, sums, strict=True)]
        return Errors(betas, [neuron.u for neuron in neurons], last, activity)

    def appraise(self, inputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the estimated energy per sample, beside that of backpropagation, and the rates of both stages."""
        found = energy(self, inputs, labels)
        named = {"forward": found.forward, "backward": found.backward, "update": found.update}
        named |= {"backpropagation": found.baseline, "membranes": found.membranes}
        rates = {"forward_rate": found.forward_rates, "backward_rate": found.backward_rates}
        return {f"{name}_nj": value for name, value in named.items()} | {
            f"{name}_{layer + 1}": rate for name, layers in rates.items() for layer, rate in enumerate(layers)
        }


@dataclass(frozen=True)
class Energy:
    """An estimate per sample in nJ, from counted spikes; it leaves out memory, control and the classifier.

    forward: F once, then an addition per spike and synapse; backward: an addition per error spike that its gate lets
    pass and synapse; update: a multiplication where both rates are nonzero; baseline: backpropagation through the same
    synapses once, three multiplications each. membranes: an addition per neuron and step of both stages, which the
    other figures leave out. `forward_rates` and `backward_rates` are spikes per neuron and step, layer by layer.
    """

    forward: float
    backward: float
    update: float
    baseline: float
    membranes: float
    forward_rates: tuple[float, ...]
    backward_rates: tuple[float, ...]
    synapses: int


@torch.no_grad()
def energy(
    learner: SPIDE, inputs: Tensor, labels: Tensor, *, add_pj: float = ADD_PJ, multiply_add_pj: float = MULTIPLY_ADD_PJ
) -> Energy:
    """Return what one sample of `inputs` (step, sample, *input) costs on average, with the weights as they stand.

        forward  = E_MAC |F| + E_AC T_F sum_l r_l |out of l|
        backward = E_AC T_B sum_l rho_l |back from l|      rho_l: error spikes with m = 1 only
        update   = E_MAC sum_l (nonzero m_l beta_l) x (nonzero a_{l-1}), over connected pairs
        baseline = 3 E_MAC |all hidden synapses|

    |.| counts synapses; those of the classifier are left out throughout. Input that changes costs F at every step.
    """
    ring, samples = learner.ring, inputs.shape[1]
    settled = ring.settle(inputs)
    masks = settled.masks(learner.tolerance)
    error = ring.logits(settled).softmax(1) - torch.nn.functional.one_hot(labels, len(ring.bias))
    gradient = (error @ ring.weight / samples).reshape(settled.rates[-1].shape)
    passed = [0.0] * len(masks)

    def count(spikes: list[Tensor]) -> None:
        for at, (q, m) in enumerate(zip(spikes, masks, strict=True)):
            passed[at] += float((q * m).count_nonzero())

    errors = learner.errors(learner.scale(gradient) * gradient, masks, count)
    feeds = ring.connections
    sizes = [u[0].numel() for u in settled.potentials]
    synapses = [feed.synapses() for feed in feeds]
    hidden, back = synapses[1:], list(synapses[1 : len(masks)])
    spikes = [settled.steps * r * n for r, n in zip(settled.activity, sizes, strict=True)]
    additions = sum(s / n * w for s, n, w in zip(spikes, sizes, hidden, strict=False))
    back = [0, *back] if ring.feedback is None else [synapses[-1], *back]
    returned = sum(p / samples / n * w for p, n, w in zip(passed, sizes, back, strict=True))
    heard = [settled.source, *settled.rates]
    active = [(m * beta != 0).to(m.dtype) for m, beta in zip(masks, errors.betas, strict=True)]
    targets = [*active, active[0]]
    products = sum(
        float(feed.products(e, (x != 0).to(e.dtype)).sum()) for feed, e, x in zip(feeds, targets, heard, strict=False)
    )
    constant = bool((inputs == inputs[0]).all())
    multiplied = synapses[0] * (1 if constant else settled.steps)
    nano = 1e-3
    return Energy(
        forward=nano * (multiply_add_pj * multiplied + add_pj * additions),
        backward=nano * add_pj * returned,
        update=nano * multiply_add_pj * products / samples,
        baseline=nano * 3 * multiply_add_pj * sum(synapses),
        membranes=nano * add_pj * (settled.steps + learner.options.back_steps) * sum(sizes),
        forward_rates=tuple(settled.activity),
        backward_rates=tuple(errors.activity),
        synapses=sum(synapses),
    )
