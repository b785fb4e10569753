"""What rules of the form dw_ji = -L_j(t) F[psi_j eps_i](t) share: the forward pass, and sums over steps without a tape.

Steps are taken in stretches of at most `Options.stretch`. Within a stretch the sums over time are matrix products;
between stretches only states go on, so memory does not grow with the number of steps. For an eligibility filtered by
kappa, e(t) = kappa e(t-1) + psi(t) eps(t), a stretch of C steps that begins with e_0 adds to sum_t L(t) e(t)

    sum_c [psi_c S_c] eps_c  +  [sum_c kappa^(c+1) L_c] e_0          S_c = L_c + kappa S_(c+1)
    e_0 <- kappa^C e_0 + sum_c kappa^(C-1-c) psi_c eps_c

which is exact (`Accumulator`), and equal to the rule's table read literally (`learning/interpreter.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Linear
from neurodeploy.ir.plasticity import Rule
from neurodeploy.learning.interpreter import weight_change
from neurodeploy.learning.learner import NetLearner, NetOptions, Step
from neurodeploy.learning.net import Layer, State, Stretch, silent_gradient, weighted_map

OPTIMIZERS = {"adam": torch.optim.AdamW, "adamax": torch.optim.Adamax, "sgd": torch.optim.SGD}


@dataclass(frozen=True)
class Options(NetOptions):
    """What every three-factor rule can be told.

    Args:
        optimizer: "adam", "adamax" or "sgd" (what a chip does).
        stretch: steps taken together, a trade of memory for speed that changes no result.
    """

    CHOICES: ClassVar[dict[str, Collection[str]]] = {**NetOptions.CHOICES, "optimizer": OPTIMIZERS}

    rate: float = 5e-3
    surrogate: str = "triangle"
    optimizer: str = "adam"
    stretch: int = 200

    def claims(self) -> list[tuple[bool, str]]:
        return [*super().claims(), (self.stretch >= 1, f"stretch is {self.stretch}")]


class Accumulator:
    """The sum over steps and samples of L_j F[psi_j eps_i] for one set of weights.

    Within a stretch the trace's filter is moved from the many inputs to the few neurons, where it runs backwards:
    sum_c delta_c eps_c = sum_c q_c x_c with q the same filter applied to delta in reverse; what came before the stretch
    enters through the traces it left behind.

    Args:
        layer: whose weights these are.
        recurrent: whether they are its recurrent ones, which read its own spikes of the step before.
        kappa: decay of the eligibility; 0 for none.
        plain: also sum psi_j eps_i without a signal, which rate regularization weighs afterwards, per neuron.
    """

    def __init__(self, layer: Layer, recurrent: bool, kappa: float, plain: bool) -> None:
        self.layer, self.recurrent, self.kappa, self.plain = layer, recurrent, kappa, plain
        self.node = layer.recurrent_node if recurrent else layer.node
        self.weight = layer.recurrent if recurrent else layer.weight
        self.bias = layer.recurrent_bias if recurrent else layer.bias
        self.alpha = None if layer.alpha is None else _scalar(layer, "alpha")
        self.beta = _scalar(layer, "beta")
        self.dense = _all_to_all(layer, recurrent)
        if (kappa or plain) and not self.dense:
            raise shared_kernels(layer)
        self.begin()

    def begin(self) -> None:
        """Forget everything: a new batch starts."""
        zero = self.layer.weight.new_zeros(())
        self.total, self.total_bias = zero, zero
        self.unsignaled, self.unsignaled_bias = zero, zero
        self.iota: Tensor | None = None
        self.eps: Tensor | None = None
        self.bias_iota, self.bias_eps = 0.0, 0.0
        self.eligibility: Tensor | None = None
        self.bias_eligibility = zero

    def add(self, x: Tensor, psi: Tensor, signal: Tensor, last: bool) -> None:
        """Take a stretch: x (step, sample, *in) as the map reads it, psi and signal (step, sample, *neuron)."""
        gain = self.layer.gain
        psi = psi if gain is None or self.recurrent else psi * gain
        if self.dense:
            x, psi, signal = x.flatten(2), psi.flatten(2), signal.flatten(2)
        later = _reversed_filter(signal, self.kappa)
        weights, bias = self._product(psi * later, x)
        self.total, self.total_bias = self.total + weights, self.total_bias + bias
        if self.plain:
            weights, bias = self._product(psi, x)
            self.unsignaled, self.unsignaled_bias = self.unsignaled + weights, self.unsignaled_bias + bias
        if self.kappa and self.eligibility is not None:
            heard = torch.tensordot(self._powers(self.kappa, len(x), x), signal, 1)
            self.total = self.total + torch.einsum("bj,bji->ji", heard, self.eligibility)
            self.total_bias = self.total_bias + (heard * self.bias_eligibility).sum(0)
        if not last:
            if self.kappa:
                self._carry_eligibility(x, psi)
            self._carry_traces(x)

    def _product(self, delta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return sum over steps and samples of delta eps, in the weights and in the bias."""
        filtered = self._responses(delta)
        weights = self._through_map(x.flatten(0, 1), filtered.flatten(0, 1))
        bias = filtered.sum((0, 1))
        fades = self._fades(len(x), x)
        for trace, bias_trace, fade in ((self.eps, self.bias_eps, fades[0]), (self.iota, self.bias_iota, fades[1])):
            if trace is not None:
                faded = torch.tensordot(fade, delta, 1)
                weights = weights + self._through_map(trace, faded)
                bias = bias + bias_trace * faded.sum(0)
        return weights, self._bias_through_map(bias)

    def _responses(self, delta: Tensor) -> Tensor:
        """Return delta filtered backwards in time by the response of the potential to its input."""
        delta = _reversed_filter(delta, self.beta)
        return delta if self.alpha is None else _reversed_filter(delta, self.alpha)

    def _fades(self, steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is left, after 1, 2, ... steps, of an earlier eps and of an earlier iota in eps."""
        eps = self._powers(self.beta, steps, like)
        iota, current, trace = [], 1.0, 0.0
        for _ in range(steps):
            current *= self.alpha or 0.0
            trace = self.beta * trace + current
            iota.append(trace)
        return eps, like.new_tensor(iota)

    @staticmethod
    def _powers(decay: float, steps: int, like: Tensor) -> Tensor:
        """Return decay^1 ... decay^steps."""
        return decay ** torch.arange(1, steps + 1, dtype=like.dtype)

    def _carry_eligibility(self, x: Tensor, psi: Tensor) -> None:
        """Let the eligibility of each synapse, sample and neuron stand where the stretch leaves it."""
        steps = len(x)
        fading = psi * (self._powers(self.kappa, steps, x).flip(0) / self.kappa).reshape(-1, 1, 1)
        filtered = self._responses(fading)
        before = x.new_zeros(x.shape[1], psi.shape[2], x.shape[2]) if self.eligibility is None else self.eligibility
        grown = before.baddbmm_(filtered.permute(1, 2, 0), x.permute(1, 0, 2), beta=self.kappa**steps)
        bias = filtered.sum(0) + self.kappa**steps * self.bias_eligibility
        fades = self._fades(steps, x)
        for trace, bias_trace, fade in ((self.eps, self.bias_eps, fades[0]), (self.iota, self.bias_iota, fades[1])):
            if trace is not None:
                faded = torch.tensordot(fade, fading, 1)
                grown.baddbmm_(faded.unsqueeze(2), trace.unsqueeze(1))
                bias = bias + faded * bias_trace
        self.eligibility, self.bias_eligibility = grown, bias

    def _carry_traces(self, x: Tensor) -> None:
        """Let eps and iota stand where the stretch leaves them."""
        iota = torch.zeros_like(x[0]) if self.iota is None else self.iota
        eps = torch.zeros_like(x[0]) if self.eps is None else self.eps
        for value in x:
            if self.alpha is None:
                eps = self.beta * eps + value
                self.bias_eps = self.beta * self.bias_eps + 1
            else:
                iota = self.alpha * iota + value
                eps = self.beta * eps + iota
                self.bias_iota = self.alpha * self.bias_iota + 1
                self.bias_eps = self.beta * self.bias_eps + self.bias_iota
        self.eps, self.iota = eps, None if self.alpha is None else iota

    def _through_map(self, x: Tensor, delta: Tensor) -> Tensor:
        """Return the derivative of sum(delta * map(x)) in the map's weights; x and delta have one axis of samples."""
        if self.dense:
            return delta.T @ x
        assert self.weight is not None
        weight = self.weight.detach().requires_grad_()
        with torch.enable_grad():
            y = self._mapped(x, weight, None)
        return torch.autograd.grad(y, weight, delta)[0]

    def _bias_through_map(self, delta: Tensor) -> Tensor:
        """Return the derivative of sum(delta * map(0)) in the map's bias, for delta of the neurons' shape."""
        if self.dense or self.bias is None or self.weight is None or self.node is None:
            return delta
        shape = (self.node.weight.shape[1],) if isinstance(self.node, Linear) else self.node.input_shape
        bias = self.bias.detach().requires_grad_()
        with torch.enable_grad():
            y = self._mapped(delta.new_zeros(1, *shape), self.weight.detach(), bias)
        return torch.autograd.grad(y, bias, delta.unsqueeze(0))[0]

    def _mapped(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return what these weights make of x (n, ...), as (n, *neuron)."""
        if not self.recurrent or self.node is None:
            return self.layer.mapped(x, weight, bias)
        return weighted_map(self.node, x, weight, bias).reshape(-1, *self.layer.shape)

    def gradients(self, per_neuron: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (weights, bias) of the sum so far; `per_neuron` adds the unsignaled part, weighed per neuron."""
        if per_neuron is None:
            return self.total, self.total_bias
        weights = self.total + per_neuron.unsqueeze(1) * self.unsignaled
        return weights, self.total_bias + per_neuron * self.unsignaled_bias


def _reversed_filter(x: Tensor, decay: float) -> Tensor:
    """Return y(t) = x(t) + decay y(t+1) over the first axis."""
    if not decay:
        return x
    y = x.clone()
    for step in range(len(y) - 2, -1, -1):
        y[step].add_(y[step + 1], alpha=decay)
    return y


class Interpreted:
    """An `Accumulator` for rules whose eligibility no matrix product sums up: the rule's table, read literally.

    `constants` must hold kappa, which the unsignaled sum does without.
    """

    def __init__(
        self, layer: Layer, recurrent: bool, rule: Rule, constants: dict[str, float | Tensor], plain: bool = False
    ) -> None:
        self.layer, self.recurrent, self.rule, self.constants, self.plain = layer, recurrent, rule, constants, plain
        if not _all_to_all(layer, recurrent):
            raise shared_kernels(layer)
        self.begin()

    def begin(self) -> None:
        self.total: Tensor = self.layer.weight.new_zeros(())
        self.unsignaled: Tensor = self.layer.weight.new_zeros(())
        self.last: dict[str, Tensor] = {}
        self.last_unsignaled: dict[str, Tensor] = {}

    def add(self, x: Tensor, psi: Tensor, signal: Tensor, last: bool) -> None:
        x = torch.cat([x.flatten(2), x.new_ones(*x.shape[:2], 1)], dim=2)
        psi = psi if self.layer.gain is None or self.recurrent else psi * self.layer.gain
        psi, signal = psi.flatten(2), signal.flatten(2)
        change, self.last = self._change(x, psi, signal, self.constants, self.last)
        self.total = self.total - change
        if self.plain:
            constants = self.constants | {"kappa": 0.0}
            change, self.last_unsignaled = self._change(x, psi, torch.ones_like(psi), constants, self.last_unsignaled)
            self.unsignaled = self.unsignaled - change

    def _change(
        self, x: Tensor, psi: Tensor, signal: Tensor, constants: dict[str, float | Tensor], before: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        silent = torch.zeros_like(psi)
        return weight_change(self.rule, x, silent, psi=psi, signal=signal, constants=constants, before=before)

    def gradients(self, per_neuron: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = self.total if per_neuron is None else self.total + per_neuron.unsqueeze(1) * self.unsignaled
        return total[:, :-1], total[:, -1]


Sums = Accumulator | Interpreted


class ThreeFactor(NetLearner):
    """A chain in which every layer learns by its own traces and a signal that reaches it directly."""

    options: Options

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, options, seed, dtype)
        self.accumulators: list[tuple[Tensor, Tensor | None, Sums]] = []

    def watch(self, layer: Layer, forward: Sums, recurrent: Sums | None = None) -> None:
        """Let `layer` learn by what these accumulate."""
        self.accumulators.append((layer.weight, layer.bias, forward))
        if recurrent is not None and layer.recurrent is not None:
            self.accumulators.append((layer.recurrent, layer.recurrent_bias, recurrent))

    def optimize(self, parameters: list[Tensor]) -> None:
        """Choose what the optimizer updates; called once, at the end of a rule's own __init__."""
        kind = OPTIMIZERS[self.options.optimizer]
        self.optimizer = kind(parameters, lr=self.options.rate, weight_decay=self.options.decay)

    @abstractmethod
    def signals(self, stretches: list[Stretch], labels: Tensor, first: int) -> list[tuple[Tensor, Tensor]]:
        """Return per layer (psi, L), each (step, sample, *neuron), for a stretch that begins at step `first`."""

    @abstractmethod
    def begin(self, samples: int, steps: int) -> None:
        """Begin a batch: forget traces, counts and losses."""

    @abstractmethod
    def outcome(self, labels: Tensor) -> Step:
        """Return what the batch amounted to."""

    @torch.no_grad()
    def learn(self, inputs: Tensor, labels: Tensor) -> Step:
        self.gradients(self.noisy(inputs), labels)
        self.optimizer.step()
        self.updated()
        return self.outcome(labels)

    def updated(self) -> None:
        """Hear that the optimizer has changed the weights."""
        self.clip()

    @torch.no_grad()
    def gradients(self, inputs: Tensor, labels: Tensor) -> None:
        """Leave -dw, the mean over samples of what the rule asks for, in the parameters' .grad."""
        steps, samples = inputs.shape[:2]
        states = self.net.rest(samples)
        self.begin(samples, steps)
        for _, _, accumulator in self.accumulators:
            accumulator.begin()
        first = 0
        for part in inputs.split(self.options.stretch):
            self._take(part, labels, states, first, last=first + len(part) == steps)
            first += len(part)
        for weight, bias, accumulator in self.accumulators:
            gradient, bias_gradient = accumulator.gradients(self.per_neuron(accumulator))
            weight.grad = gradient.reshape(weight.shape) / samples
            if accumulator.recurrent and self.masks_self():
                weight.grad.fill_diagonal_(0)
            if bias is not None:
                bias.grad = bias_gradient.reshape(bias.shape) / samples

    def _take(self, part: Tensor, labels: Tensor, states: list[State], first: int, last: bool) -> None:
        """Advance all layers over a stretch, `states` in place, and let every accumulator take it."""
        x, read, stretches = part, {}, {}
        for at, layer in enumerate(self.net):
            ready = layer.ready(x.flatten(0, 1))
            read[layer.name] = ready.reshape(*x.shape[:2], *ready.shape[1:])
            drive = layer.injected(ready).reshape(*x.shape[:2], *layer.shape)
            stretch, states[at] = layer.run(drive, states[at], silent_gradient)
            stretches[layer.name] = stretch
            x = stretch.spikes
        factors = dict(zip(stretches, self.signals([*stretches.values()], labels, first), strict=True))
        for _, _, accumulator in self.accumulators:
            name = accumulator.layer.name
            source = stretches[name].before if accumulator.recurrent else read[name]
            accumulator.add(source, *factors[name], last=last)

    def per_neuron(self, accumulator: Sums) -> Tensor | None:
        """Return the weight per neuron of the unsignaled part (see `Accumulator.gradients`), or None."""
        return None

    def masks_self(self) -> bool:
        """Whether a neuron has no synapse to itself."""
        return False


def _all_to_all(layer: Layer, recurrent: bool) -> bool:
    if recurrent:
        return isinstance(layer.recurrent_node, Linear)
    return isinstance(layer.node, Linear) and not layer.behind


def shared_kernels(layer: Layer) -> UnsupportedError:
    what = "an eligibility per synapse (filtered, adaptive or regularized) on shared kernels"
    why = "each position of a kernel would need an eligibility of its own, which no published rule has"
    fix = "use --rule decolle for convolutions, --option filtered=false, or all-to-all layers"
    return UnsupportedError(Finding("ND072", f"layer {layer.name}", what, why, fix))


def _scalar(layer: Layer, key: str) -> float:
    """Return a decay that all neurons of the layer share."""
    value: Tensor = getattr(layer, key)
    if value.numel() == 1:
        return float(value)
    what, why = f"{key} differs between neurons", "one presynaptic trace serves all neurons only if they decay alike"
    raise UnsupportedError(Finding("ND073", f"layer {layer.name}", what, why, "use one value per layer"))
