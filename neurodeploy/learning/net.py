"""A chain of spiking layers with trainable weights: a `Network` as PyTorch learns it, and back again.

A layer is the `LIF` node's equation and the maps before it, computed in the order in which snnTorch computes them, so
that spikes are bit for bit those of `frontends.source` for the same weights (tests/unit/test_gradient_rules.py). What
is new is that gradients flow and that steps are taken many at a time: maps are applied to a whole stretch of steps at
once, and a state goes from one stretch to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.frontends.source import stateless
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Linear, Node, Reset

Fire = Callable[[Tensor, Tensor], Tensor]
"""(u = potential - threshold, threshold) -> spikes: the step function, with or without a pseudo-derivative."""


def silent_gradient(u: Tensor, threshold: Tensor) -> Tensor:
    """Return [u > 0], through which no gradient flows."""
    return (u > 0).to(u.dtype)


@dataclass
class State:
    """What a layer remembers between two steps, each (sample, *neuron); `adaptation` only where neurons adapt."""

    spikes: Tensor
    current: Tensor
    membrane: Tensor
    adaptation: Tensor | None = None


@dataclass
class Stretch:
    """A layer over some steps, each (step, sample, *neuron): what it fired, and the potential minus threshold u that
    decided it; `before`, the spikes that each step's recurrence and reset saw."""

    spikes: Tensor
    u: Tensor
    before: Tensor


class Layer(nn.Module):
    """One population with the maps that lead to it; `weight`, `bias`, `recurrent`, `recurrent_bias` are what learns."""

    weight: Tensor
    threshold: Tensor
    beta: Tensor
    alpha: Tensor | None
    gain: Tensor | None
    floor: Tensor | None
    decay: Tensor
    strength: Tensor | None

    def __init__(self, network: Network, name: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.name = name
        self.neuron: LIF = network.populations[name]
        if self.neuron.firing.graded:
            raise _unlearnable(network, name, "its neurons send graded spikes")
        if self.neuron.bias is not None:
            raise _unlearnable(network, name, "its neurons have a bias of their own")
        self.source, path, self.recurrent_map = _way(network, name)
        weighted = [at for at in path if isinstance(network.nodes[at], Linear | Conv)]
        if len(weighted) != 1:
            raise _unlearnable(network, name, f"{len(weighted)} weighted maps lead to it")
        self.map, node = weighted[0], network.nodes[weighted[0]]
        assert isinstance(node, Linear | Conv)
        self.node = node
        at = path.index(self.map)
        self.ahead = [stateless(network.nodes[each], dtype) for each in path[:at]]
        self.behind = [stateless(network.nodes[each], dtype) for each in path[at + 1 :]]
        self.weight = nn.Parameter(_tensor(self.node.weight, dtype))
        self.bias = None if self.node.bias is None else nn.Parameter(_tensor(self.node.bias, dtype))
        self.recurrent_node: Linear | Conv | None = None
        self.recurrent: Tensor | None = None
        self.recurrent_bias: Tensor | None = None
        if self.recurrent_map is not None:
            inner = network.nodes[self.recurrent_map]
            if not isinstance(inner, Linear | Conv):
                raise _unlearnable(network, name, "its recurrence is neither all-to-all nor a convolution")
            self.recurrent_node = inner
            self.recurrent = nn.Parameter(_tensor(inner.weight, dtype))
            self.recurrent_bias = None if inner.bias is None else nn.Parameter(_tensor(inner.bias, dtype))
        self.reset = self.neuron.reset
        adaptation = self.neuron.adaptation
        constants = {key: getattr(self.neuron, key) for key in ("alpha", "beta", "threshold", "gain", "floor")}
        constants |= {key: None if adaptation is None else getattr(adaptation, key) for key in ("decay", "strength")}
        for key, value in constants.items():
            self.register_buffer(key, None if value is None else _tensor(value, dtype), persistent=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.neuron.shape

    def listens_only(self) -> None:
        """Never reset: in training, the membrane is then a leaky sum of the input."""
        self.reset = Reset.NONE

    def ready(self, x: Tensor) -> Tensor:
        """Return x (n, *in) as the weighted map reads it: past the pools and reshapes ahead of it."""
        for step in self.ahead:
            x = step(x)
        return x.flatten(1) if isinstance(self.node, Linear) else x

    def mapped(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the weighted map of ready x (n, ...), and what follows it, as (n, *neuron)."""
        y = weighted_map(self.node, x, weight, bias)
        for step in self.behind:
            y = step(y)
        return y.reshape(-1, *self.shape)

    def drive(self, x: Tensor) -> Tensor:
        """Return the current (step, sample, *neuron) that x (step, sample, *in) injects."""
        return self.injected(self.ready(x.flatten(0, 1))).reshape(*x.shape[:2], *self.shape)

    def injected(self, ready: Tensor) -> Tensor:
        """Return the current (n, *neuron) that ready x (n, ...) injects."""
        y = self.mapped(ready, self.weight, self.bias)
        return y if self.gain is None else y * self.gain

    def rest(self, samples: int) -> State:
        zero = self.weight.new_zeros(samples, *self.shape)
        return State(zero, zero, zero, None if self.strength is None else zero)

    def run(self, drive: Tensor, state: State, fire: Fire, detach_recurrence: bool = False) -> tuple[Stretch, State]:
        """Advance the neurons over all steps of `drive` (step, sample, *neuron), from `state`.

        detach_recurrence: no gradient flows through the recurrent current, as e-prop has it. None ever flows through
        the reset, as in snnTorch.
        """
        spikes, decided, before = [], [], []
        for x in drive:
            seen = state.spikes.detach() if detach_recurrence else state.spikes
            before.append(seen)
            state, u = self.step(x, seen, state, fire)
            spikes.append(state.spikes)
            decided.append(u)
        return Stretch(torch.stack(spikes), torch.stack(decided), torch.stack(before)), state

    def step(self, x: Tensor, seen: Tensor, state: State, fire: Fire) -> tuple[State, Tensor]:
        """Advance by one step of the LIF node's equation; return the state and u = potential - threshold."""
        theta, reset = self.threshold, state.spikes.detach()
        if self.reset is Reset.SUBTRACT and state.adaptation is None:
            reset = (state.membrane.detach() > theta).to(x.dtype)
        decayed = self.beta * state.membrane if self.alpha is None else self.alpha * state.current
        base = decayed + x
        if self.recurrent is not None and self.recurrent_node is not None:
            own = weighted_map(self.recurrent_node, seen, self.recurrent, self.recurrent_bias)
            base = base + own.reshape(base.shape)
        current = base
        if self.alpha is not None:
            base = self.beta * state.membrane + base
        match self.reset:
            case Reset.SUBTRACT_NEXT_STEP | Reset.SUBTRACT:
                base = base - reset * theta
            case Reset.ZERO_NEXT_STEP:
                base = base - reset * base
        adaptation, u = None, base - theta
        if state.adaptation is not None and self.strength is not None:
            adaptation = self.decay * state.adaptation + state.spikes
            u = u - self.strength * adaptation
        u = u + (u == 0) * torch.finfo(u.dtype).tiny if self.neuron.firing is Firing.REACHED else u
        spikes = fire(u, theta)
        match self.reset:
            case Reset.ZERO:
                base = base - spikes.detach() * base
            case Reset.SUBTRACT:
                base = base - (spikes.detach() - reset) * theta
            case Reset.SUBTRACT_AT_ONCE:
                base = base - spikes.detach() * theta
        base = base if self.floor is None else torch.maximum(base, self.floor)
        return State(spikes, current, base, adaptation), u

    def trained(self) -> Iterator[tuple[str, Node]]:
        """Yield the nodes that learned, by name, with their present weights."""
        yield self.map, replace(self.node, weight=_array(self.weight), bias=_optional(self.bias))
        if self.recurrent_map is not None and self.recurrent is not None and self.recurrent_node is not None:
            weight, bias = _array(self.recurrent), _optional(self.recurrent_bias)
            yield self.recurrent_map, replace(self.recurrent_node, weight=weight, bias=bias)


class Net(nn.Module):
    """A feed-forward chain of layers, each perhaps recurrent in itself; the last one's spikes are counted."""

    def __init__(self, network: Network, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network_before = network
        self.layers = nn.ModuleList(Layer(network, name, dtype) for name in network.populations)
        order = [network.input, *network.populations]
        for layer, source in zip(self.layers, order, strict=False):
            assert isinstance(layer, Layer)
            if layer.source != source:
                raise _unlearnable(network, layer.name, f"it reads {layer.source}, not {source}")
        if network.output != order[-1]:
            raise _unlearnable(network, network.output, "it is not the last population")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)  # type: ignore[arg-type]

    @property
    def output(self) -> Layer:
        return self.layers[-1]  # type: ignore[return-value]

    def rest(self, samples: int) -> list[State]:
        return [layer.rest(samples) for layer in self]

    def network(self) -> Network:
        """Return the network with the present weights."""
        nodes = dict(self.network_before.nodes)
        for layer in self:
            nodes |= dict(layer.trained())
        return replace(self.network_before, nodes=nodes)


def weighted_map(node: Linear | Conv, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the Linear or Conv `node` of x (n, ...) with these weights in place of its own."""
    if isinstance(node, Linear):
        return functional.linear(x.flatten(1), weight, bias)
    convolve = functional.conv1d if weight.dim() == 3 else functional.conv2d
    x = x.reshape(-1, *node.input_shape)
    return convolve(x, weight, bias, node.stride, node.padding, node.dilation, node.groups)


def _way(network: Network, name: str) -> tuple[str, list[str], str | None]:
    """Return the population or input that feeds `name`, the maps on the way, and the map of its own recurrence."""
    forward = [edge.source for edge in network.incoming(name)]
    recurrent = [at for at in forward if any(e.source == name and e.delay_steps for e in network.incoming(at))]
    starts = [at for at in forward if at not in recurrent]
    if len(starts) != 1 or len(recurrent) > 1:
        raise _unlearnable(network, name, f"{len(starts)} paths and {len(recurrent)} recurrences lead to it")
    path: list[str] = []
    at = starts[0]
    while at != network.input and not isinstance(network.nodes[at], LIF):
        path.insert(0, at)
        edges = network.incoming(at)
        if len(edges) != 1 or edges[0].delay_steps:
            raise _unlearnable(network, at, "it adds several inputs, or reads one of another step")
        at = edges[0].source
    return at, path, recurrent[0] if recurrent else None


def _unlearnable(network: Network, name: str, what: str) -> UnsupportedError:
    why = "learning rules are stated for chains of layers: one weighted map into each population, recurrence in itself"
    fix = "train it in PyTorch and save it with neurodeploy.save, or choose an --arch that is a chain"
    return UnsupportedError(Finding("ND070", network.place(name), what, why, fix))


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.tensor(np.asarray(array, np.float64), dtype=dtype)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy().copy()


def _optional(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else _array(tensor)
