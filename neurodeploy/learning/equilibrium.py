"""A ring of spiking layers whose rates settle at an equilibrium, and the gradient there: the frame of SPIDE and IDE.

Layer 1 reads the input through F and the last layer N through W_fb, one step late; layer l reads layer l - 1 at once:

    I_1(t) = F x(t) + b_1 + W_fb s_N(t-1)          I_l(t) = W_l s_{l-1}(t) + b_l
    p_l(t) = u_l(t-1) + I_l(t)                     s_l(t) = [p_l(t) >= V]
    u_l(t) = lambda (p_l(t) - D s_l(t))            lambda = 1: IF; the leak comes after the reset
    a_l    = sum_t lambda^(T-t) s_l(t) / Lambda    Lambda = sum_t lambda^(T-t); the input's mean x* is weighted alike

With V = D/2 a spike resets to -V and firing rounds to the nearest instead of down. Summed over time, D a = mean input
- u(T)/T, so that as T_F grows the rates reach (IF: at O(1/T_F); LIF: up to a floor of order (1 - lambda) |u| / D)

    a_1 = sigma((W_fb a_N + F x* + b_1) / D)       a_l = sigma((W_l a_{l-1} + b_l) / D)       sigma(z) = clip(z, 0, 1)

A 2 x 2 average pool between layers is a layer of its own: pool, then the same neurons. With m_l = [0 < a_l < 1], the
derivative of sigma, and g = dL/da_N, the gradient follows from the betas, the total derivatives dL/da_l:

    beta_N = g + (1/D) W_fb^T (m_1 beta_1)         beta_l = (1/D) W_{l+1}^T (m_{l+1} beta_{l+1})             (LIN)
    dL/dW_l = (1/D) sum (m_l beta_l) a_{l-1}^T,    W_fb: (m_1 beta_1) a_N^T,    F: (m_1 beta_1) x*^T         (UPD)

Xiao et al. 2021, "Training feedback spiking neural networks by implicit differentiation on the equilibrium state", and
Xiao et al. 2023, "SPIDE". How (LIN) is solved is what tells SPIDE (spikes) from IDE (a root finder).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.errors import Change, Deviation, Finding, UsageError
from neurodeploy.frontends.source import stateless
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import AveragePool, Conv, Input, Linear, Reset, Reshape, Scale, SparseLinear
from neurodeploy.learning import rings
from neurodeploy.learning.architectures import hidden
from neurodeploy.learning.connections import (
    Connection,
    Convolution,
    Dense,
    Pool,
    TransposedConvolution,
    array,
    as_maps,
    rest,
    tensor,
)
from neurodeploy.learning.learner import Learner, Step, cosine, generator, set_rate
from neurodeploy.learning.rings import Neurons, Pixel, fold, no_ring, normalizes, pixels, strict_threshold, ways

Watch = Callable[[list[Tensor]], None]
"""Called after every step with the spikes (sample, *neuron) of all layers, which the next step overwrites."""
STEPS, EPOCHS = 30, 60
"""T_F and passes over sklearn's digits for which the defaults were found; SPIDE's released code has T_F = 30 too."""
PIXELS: dict[str, tuple[Pixel, Pixel]] = {
    "digits": ((0.305,), (0.376,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.286,), (0.353,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
"""Mean and standard deviation of the training pixels in [0, 1], per channel; MNIST's and CIFAR's as in the code."""
REMEMBERED = 2048
"""Training samples whose logits decide how the classifier's real numbers become spike counts."""


@dataclass(frozen=True)
class Options:
    """What SPIDE and IDE have in common.

    The number of steps T_F is the input's own; constant input (direct encoding) over `STEPS` is what both are made for.

    Args:
        rate: peak of SGD's learning rate, on a cosine schedule.
        momentum, decay: SGD's momentum and weight decay.
        dropout: p, of every connection's currents, one mask for all steps and both stages.
        threshold, quantum, leak: V, D and lambda of all hidden layers; V = D/2 makes rates unbiased.
        tolerance: m = 1 for rates in (tolerance, 1 - tolerance) when neurons leak, whose saturated rates are not
            exactly 1 nor their silent ones exactly 0; without a leak m = 1 for rates in (0, 1).
        restriction: R, which the Frobenius norm of the feedback weights is kept within; None: no restriction.
        mean, std: of the input, one number or one per channel: it is normalized to (x - mean) / std.
        unit: hidden weights begin with norm 1 per neuron or kernel instead of variance 2 / fan-in.
    """

    rate: float = 0.2
    momentum: float = 0.9
    decay: float = 0.0
    dropout: float = 0.2
    threshold: float = 1.0
    quantum: float = 2.0
    leak: float = 1.0
    tolerance: float = 1e-2
    restriction: float | None = 2.0
    mean: Pixel = (0.0,)
    std: Pixel = (1.0,)
    unit: bool = True

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(x) for x in np.atleast_1d(getattr(self, name))))
        wrong = [what for holds, what in self.claims() if not holds]
        if wrong:
            why = "leak lies in (0, 1], dropout and momentum in [0, 1), V in (0, D], everything else above 0"
            raise UsageError(*(Finding("ND082", "options", what, why, "change the option") for what in wrong))

    def claims(self) -> list[tuple[bool, str]]:
        """Return what must hold, each with what is said when it does not."""
        return [
            (self.rate > 0, f"rate is {self.rate}"),
            (0 <= self.momentum < 1, f"momentum is {self.momentum}"),
            (self.decay >= 0, f"decay is {self.decay}"),
            (0 <= self.dropout < 1, f"dropout is {self.dropout}"),
            (0 < self.threshold <= self.quantum, f"threshold is {self.threshold} and quantum {self.quantum}"),
            (0 < self.leak <= 1, f"leak is {self.leak}"),
            (0 <= self.tolerance < 0.5, f"tolerance is {self.tolerance}"),
            (self.restriction is None or self.restriction > 0, f"restriction is {self.restriction}"),
            (min(self.std) > 0, f"std is {self.std}"),
        ]

    @property
    def neurons(self) -> Neurons:
        return Neurons(self.threshold, self.quantum, self.leak)


def architecture(arch: str, source: Input, classes: int, options: Options, seed: int, dataset: str = "") -> Network:
    """Return a ring to begin with: `arch` is a description such as "100-100f", or a name that `dataset` has.

    Raises:
        UsageError: ND071, ND081 or ND082, see `rings.build`.
    """
    layers, normal = hidden(arch, dataset), {"mean": options.mean, "std": options.std}
    return rings.build(layers, source, classes, options.neurons, seed, unit=options.unit, **normal)


@dataclass(frozen=True)
class Settled:
    """The forward stage's outcome, layer by layer: rates a_l and residual potentials u_l(T), (sample, *neuron).

    `source` is x*, `last` the spikes of the last step, `activity` the mean spikes per neuron and step.
    """

    steps: int
    source: Tensor
    rates: list[Tensor]
    potentials: list[Tensor]
    last: list[Tensor]
    activity: list[float]

    def masks(self, tolerance: float) -> list[Tensor]:
        """Return m_l = [tolerance < a_l < 1 - tolerance] as numbers."""
        return [((a > tolerance) & (a < 1 - tolerance)).to(a.dtype) for a in self.rates]

    def borderline(self, margin: float) -> float:
        """Return the fraction of rates at most `margin` from 0 or 1 and not there: m is a guess for these."""
        near = [(a > 0) & (a <= margin) | (a >= 1 - margin) & (a < 1) for a in self.rates]
        return sum(int(n.sum()) for n in near) / sum(n.numel() for n in near)


class Ring(nn.Module):
    """The hidden layers of a `Network`: `feeds` are F, W_2 .. W_N and `feedback` W_fb or None; (C, c) classifies a_N.

    Args:
        network: what `architecture` or `Ring.network` returns; its input is plain, and normalized here.
        mean, std: of the input, subtracted and divided by.
        limit: R, which |W_fb|_F is kept within; None for no restriction.

    Raises:
        UnsupportedError: ND080 when the network is no such ring, or its neurons are not `neurons`.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, network: Network, neurons: Neurons, mean: Pixel, std: Pixel, limit: float | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.before, self.neurons, self.mean, self.std, self.dtype = network, neurons, mean, std, dtype
        self.names = list(network.populations)[:-1]
        if not self.names or network.output in self.names:
            raise no_ring(network, network.output, "it is not the last of at least two populations")
        self.maps, feeds, sources = [], [], [network.input, *self.names]
        self.feedback: Connection | None = None
        self.feedback_map = ""
        for name, source in zip(self.names, sources, strict=False):
            chain, loops = self._check(network, name, source)
            self.maps.append(chain[-1])
            feeds.append(self._feed(network, name, chain))
            for loop in loops:
                if name != self.names[0] or self.feedback is not None:
                    raise no_ring(network, name, "feedback does not lead from the last hidden layer to the first")
                self.feedback_map = next(at for at in reversed(loop) if not isinstance(network.nodes[at], Reshape))
                self.feedback = self._loop(network, loop, limit)
        self.feeds = nn.ModuleList(feeds)
        chain, loops = ways(network, network.output, self.names[-1])
        self.classifier_map = chain[-1]
        node = network.nodes[chain[-1]]
        if not isinstance(node, Linear) or loops:
            raise no_ring(network, network.output, "its only input is not one Linear map of the last hidden layer")
        self.weight = nn.Parameter(tensor(node.weight, dtype))
        bias = np.zeros(len(node.weight)) if node.bias is None else node.bias
        self.bias = nn.Parameter(tensor(bias, dtype))

    def _check(self, network: Network, name: str, source: str) -> tuple[list[str], list[list[str]]]:
        """Return the maps that feed population `name` from `source`, and the delayed ways from the last layer."""
        lif, (chain, loops) = network.populations[name], ways(network, name, source, self.names[-1])
        feed = network.nodes[chain[-1]]
        theta = strict_threshold(self.neurons, feed)
        expected = (self.neurons.leak, theta, Reset.SUBTRACT_NEXT_STEP)
        found = (float(lif.beta.mean()), float(lif.threshold.mean()), lif.reset)
        resets = [at for at in loops if at[-1] == f"{name}.reset"]
        node = network.nodes[f"{name}.reset"] if resets else None
        subtracted = -float(node.data.mean()) if isinstance(node, SparseLinear) else 0.0
        plain = lif.alpha is None and lif.gain is None and lif.adaptation is None and found[2] == expected[2]
        same = plain and np.allclose(found[:2], expected[:2], atol=1e-6)
        if not same or abs(subtracted - (self.neurons.leak * self.neurons.quantum - theta)) > 1e-6:
            what = f"leak {found[0]:g}, threshold {found[1]:g} and {subtracted:g} more per spike"
            raise no_ring(network, name, f"{what} are not those of the options")
        return chain, [at for at in loops if at not in resets]

    def _feed(self, network: Network, name: str, chain: list[str]) -> Connection:
        *ahead, last = [network.nodes[at] for at in chain]
        first = name == self.names[0]
        allowed = (Scale, AveragePool, Reshape) if first else (Reshape,)
        if not all(isinstance(node, allowed) for node in ahead):
            raise no_ring(network, name, "more than one map leads to it")
        if first:
            self.ahead = [stateless(node, self.dtype) for node in ahead if not isinstance(node, Scale)]
            shape = network.input_node.shape
            self.center = tensor(pixels(self.mean, shape), self.dtype)
            self.spread = tensor(pixels(self.std, shape), self.dtype)
            self.form = next((n.shape for n in reversed(ahead) if not isinstance(n, Reshape)), shape)
            scaled = any(isinstance(node, Scale) for node in ahead)
            if scaled != (isinstance(last, Conv) and normalizes(self.mean, self.std)):
                raise no_ring(network, name, "the input is not normalized as the options say")
        before = network.incoming(chain[-1])[0].source if first else self.names[self.names.index(name) - 1]
        reads = network.nodes[before].shape
        match last:
            case Linear():
                if first:
                    last = self._unfolded(last)
                return Dense(last, last.shape, reads, self.dtype)
            case Conv() if last.groups == 1 and set(last.dilation) == {1} and last.weight.ndim == 4:
                return Convolution(last, self.dtype)
            case AveragePool() if not first and last.kernel == last.stride and len(set(last.kernel)) == 1:
                return Pool(last)
        raise no_ring(network, name, f"{chain[-1]} is no Linear, Conv2d without groups or dilation, or average pool")

    def _loop(self, network: Network, chain: list[str], limit: float | None) -> Connection:
        """Return W_fb, from the map or from the pair of maps that says a transposed convolution."""
        nodes = [node for node in (network.nodes[at] for at in chain) if not isinstance(node, Reshape)]
        reads, shape = network.nodes[self.names[-1]].shape, network.nodes[self.names[0]].shape
        match nodes:
            case [Linear() as node]:
                made: Connection = Dense(node, shape, reads, self.dtype)
            case [Conv() as node]:
                made = Convolution(node, self.dtype)
            case [SparseLinear(), Conv() as node]:
                made = TransposedConvolution(node, node.input_shape[1] // reads[1], reads, self.dtype)
            case _:
                raise no_ring(network, chain[-1], "feedback is neither Linear nor Conv nor a transposed convolution")
        if made.bias is not None:
            raise no_ring(network, chain[-1], "feedback has a bias")
        made.limit = limit
        return made

    # between the plain input of the network and the normalized one of training

    def _levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and std of everything F reads (pre,): pools keep what is constant per channel."""
        return pixels(self.mean, self.form).ravel(), pixels(self.std, self.form).ravel()

    def _unfolded(self, node: Linear) -> Linear:
        mean, std = self._levels()
        return Linear(node.weight * std, None if node.bias is None else node.bias + node.weight @ mean)

    def _folded(self, node: Linear) -> Linear:
        return fold(node, *self._levels())

    def prepared(self, x: Tensor) -> Tensor:
        """Return plain x (sample, *input) as F reads it: normalized, past the pools ahead of it."""
        x = (x - self.center) / self.spread
        for step in self.ahead:
            x = step(x)
        return x

    # the forward stage

    @property
    def connections(self) -> list[Connection]:
        feeds: list[Connection] = list(self.feeds)  # type: ignore[arg-type]
        return feeds if self.feedback is None else [*feeds, self.feedback]

    @torch.no_grad()
    def settle(
        self, inputs: Tensor, random: torch.Generator | None = None, dropout: float = 0.0, watch: Watch | None = None
    ) -> Settled:
        """Run the forward stage from rest over all steps of plain `inputs` (step, sample, *input)."""
        steps, samples = inputs.shape[:2]
        for connection in self.connections:
            connection.begin(samples, dropout, random or generator(0))
        feeds: list[Connection] = list(self.feeds)  # type: ignore[arg-type]
        threshold, quantum, leak = self.neurons.threshold, self.neurons.quantum, self.neurons.leak
        constant = inputs.stride(0) == 0 or bool((inputs == inputs[0]).all())
        x = self.prepared(inputs[0])
        drive, source = feeds[0].current(x), x if constant else torch.zeros_like(x)
        potentials, rates, last = ([rest(samples, feed.shape, self.dtype) for feed in feeds] for _ in range(3))
        fired = []
        for step in range(steps):
            if not constant:
                x = self.prepared(inputs[step])
                drive, source = feeds[0].current(x), source * leak + x
            for at, feed in enumerate(feeds):
                if at:
                    current = feed.current(last[at - 1])
                elif self.feedback is not None and step:
                    current = self.feedback.current(last[-1]).add_(drive)
                else:
                    current = drive
                u = potentials[at].add_(current)
                torch.ge(u, threshold, out=last[at])
                u.sub_(last[at], alpha=quantum)
                if leak != 1:
                    u.mul_(leak)
                    rates[at].mul_(leak)
                rates[at].add_(last[at])
            if watch is not None:
                watch(list(last))
            if leak != 1:
                fired.append([float(s.mean()) for s in last])
        total = steps if leak == 1 else (1 - leak**steps) / (1 - leak)
        rates = [a.div_(total) for a in rates]
        activity = [float(a.mean()) for a in rates] if leak == 1 else np.mean(fired, axis=0).tolist()
        return Settled(steps, source if constant else source / total, rates, potentials, last, activity)

    def logits(self, settled: Settled) -> Tensor:
        """Return C a_N + c (sample, class)."""
        return functional.linear(settled.rates[-1].flatten(1), self.weight, self.bias)

    # the gradient

    def around(self, errors: Sequence[Tensor], at: int) -> Tensor:
        """Return what layer `at` hears from the layer it feeds: that one's error through the transposed map.

        errors: m_l e_l / D of all layers; the layer that the last one feeds is the first.
        """
        if at + 1 < len(self.feeds):
            following: Connection = self.feeds[at + 1]  # type: ignore[assignment]
            return following.transposed(errors[at + 1])
        assert self.feedback is not None
        return self.feedback.transposed(errors[0])

    @torch.no_grad()
    def learn(self, settled: Settled, masked: Sequence[Tensor]) -> None:
        """Leave (UPD) in the .grad of all hidden weights, for masked = m_l beta_l of all layers."""
        errors = [e / self.neurons.quantum for e in masked]
        heard = [settled.source, *settled.rates[:-1]]
        for feed, e, x in zip(self.connections, errors, heard, strict=False):
            feed.learn(e, x)
        if self.feedback is not None:
            self.feedback.learn(errors[0], settled.rates[-1])

    # meaning

    def network(self, classifier: Linear | None = None) -> Network:
        """Return the network with the present weights, which takes plain input; `classifier` in place of (C, c)."""
        nodes = dict(self.before.nodes)
        for name, feed in zip(self.maps, self.feeds, strict=True):
            node = feed.node()  # type: ignore[operator]
            nodes[name] = self._folded(node) if name == self.maps[0] and isinstance(node, Linear) else node
        if self.feedback is not None:
            nodes[self.feedback_map] = self.feedback.node()
        nodes[self.classifier_map] = classifier or Linear(array(self.weight), array(self.bias))
        return replace(self.before, nodes=nodes)


class Implicit(Learner):
    """What SPIDE and IDE do alike: settle, ask `solve` for the betas of (LIN), take (UPD), one step of SGD."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.options, self.dtype = options, dtype
        self.ring = Ring(network, options.neurons, options.mean, options.std, options.restriction, dtype)
        self.random = generator(seed)
        parameters = list(self.ring.parameters())
        self.optimizer = torch.optim.SGD(
            parameters, lr=options.rate, momentum=options.momentum, weight_decay=options.decay
        )
        self.seen = torch.empty(0, len(self.ring.bias), dtype=dtype)
        self.steps = 0

    @abstractmethod
    def solve(self, gradient: Tensor, masks: list[Tensor]) -> tuple[list[Tensor], dict[str, float]]:
        """Return beta_l (sample, *neuron) of all layers for g = `gradient`, and what is to be reported of the way."""

    @property
    def tolerance(self) -> float:
        return self.options.tolerance if self.options.leak < 1 else 0.0

    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        settled = self.ring.settle(inputs, self.random, self.options.dropout)
        logits, measures = self.backward(settled, labels)
        self.optimizer.step()
        self.seen = torch.cat([self.seen, logits])[-REMEMBERED:]
        self.steps = settled.steps
        loss = float(functional.cross_entropy(logits, labels, reduction="sum"))
        return Step(len(labels), loss, int((logits.argmax(1) == labels).sum()), measures)

    @torch.no_grad()
    def backward(self, settled: Settled, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Leave the gradient of the mean cross-entropy in the parameters; return the logits and the measures."""
        ring, rates = self.ring, settled.rates[-1]
        logits = ring.logits(settled)
        error = (logits.softmax(1) - functional.one_hot(labels, logits.shape[1])) / len(labels)
        ring.weight.grad, ring.bias.grad = error.T @ rates.flatten(1), error.sum(0)
        masks = settled.masks(self.tolerance)
        betas, measures = self.solve(as_maps((error @ ring.weight).reshape(rates.shape)), masks)
        ring.learn(settled, [m * beta for m, beta in zip(masks, betas, strict=True)])
        neurons = [rate.numel() for rate in settled.rates]
        measures |= {
            "forward_rate": float(np.average(settled.activity, weights=neurons)),
            "borderline": settled.borderline(max(self.tolerance, 1 / settled.steps)),
        }
        return logits, measures

    @torch.no_grad()
    def rate_accuracy(self, inputs: Tensor, labels: Tensor, batch: int = 256) -> float:
        """Return the accuracy of the classifier as it reads rates in real numbers."""
        correct = 0
        for first in range(0, inputs.shape[1], batch):
            part = slice(first, first + batch)
            logits = self.ring.logits(self.ring.settle(inputs[:, part]))
            correct += int((logits.argmax(1) == labels[part]).sum())
        return correct / len(labels)

    def network(self) -> Network:
        """Return the ring with output neurons that count: their spikes rank the classes as the logits do, nearly.

        How nearly is recorded as the network's deviation ND084, measured on the last training samples.
        """
        if not len(self.seen):
            return self.ring.network()
        before = Linear(array(self.ring.weight), array(self.ring.bias))
        classifier, missed = counting(before, array(self.seen), self.steps)
        network = self.ring.network(classifier)
        what = "the classifier's real numbers become spike counts"
        share = Deviation("ND084", network.place(network.output), what, Change.ROUNDING, missed, "of the decisions")
        return replace(network, deviations=(*(d for d in network.deviations if d.code != "ND084"), share))

    def schedule(self, fraction: float) -> None:
        set_rate(self.optimizer, self.options.rate * cosine(fraction))

    def state(self) -> dict[str, Any]:
        return {
            "ring": self.ring.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "seen": self.seen,
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.ring.load_state_dict(state["ring"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        self.seen, self.steps = state["seen"], state["steps"]


def counting(classifier: Linear, logits: np.ndarray, steps: int) -> tuple[Linear, float]:
    """Return the classifier in front of neurons that count to at most `steps`, and how often they decide otherwise.

    An IF neuron with threshold 1 that receives z at every step fires clip(floor(steps z), 0, steps) times. Neither a
    scale nor what is common to all classes changes which logit is largest: C and c lose their mean over classes, and
    scale and shift are those of a grid that tell most logits (sample, class) apart.
    """
    weight = classifier.weight - classifier.weight.mean(0)
    assert classifier.bias is not None
    bias = classifier.bias - classifier.bias.mean()
    z = logits - logits.mean(1, keepdims=True)
    order = np.sort(z, axis=1)
    winner, second = order[:, -1], order[:, -2]
    best = (-1.0, 1.0, 0.0, 0.0)
    for low in np.quantile(second, np.linspace(0, 1, 9)):
        for high in np.quantile(winner, np.linspace(0.1, 1, 10)):
            if high <= low:
                continue
            scale, shift = 1 / (high - low), -low
            first, other = (np.clip(np.floor(steps * scale * (at + shift)), 0, steps) for at in (winner, second))
            apart = float(np.minimum(first - other, 3).mean())
            if apart > best[0]:
                best = (apart, scale, shift, float((first == other).mean()))
    _, scale, shift, missed = best
    return Linear(scale * weight, scale * (bias + shift)), missed
