"""Rings as networks: spiking layers in a row, feedback from the last to the first, and a classifier that counts.

A spike subtracts D where the threshold is V = D/2. A `LIF` subtracts its threshold, in the step after the spike; the
rest comes from a connection of each neuron to itself with delay 1 and weight theta - lambda D, so that

    v(t) = lambda v(t-1) + I(t) - theta s(t-1) - (lambda D - theta) s(t-1) = lambda (v(t-1) - D s(t-1)) + I(t)

is exactly p(t) of equilibrium.py, from rest, for every lambda, input and step: no initial potential is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod, sqrt

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError, UsageError
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, AveragePool, Conv, Input, Linear, Node, Reset, Reshape, Scale, Shape, SparseLinear
from neurodeploy.learning.architectures import feedback_kernel, fitting, layers_of, space_of

FEEDBACK = 0.1
"""Factor on the feedback weights at the beginning, as in SPIDE's released code."""
BELOW = 2.0**-20
"""How far below V a leaky pool's strict threshold lies, so that it fires at V; its potentials lie on no grid."""

Pixel = tuple[float, ...]
"""One number for all channels of the input, or one per channel."""


@dataclass(frozen=True)
class Neurons:
    """Threshold V, quantum D that a spike subtracts, leak lambda: those of all hidden layers."""

    threshold: float = 1.0
    quantum: float = 2.0
    leak: float = 1.0


def build(
    arch: str, source: Input, classes: int, neurons: Neurons, seed: int, *, mean: Pixel, std: Pixel, unit: bool
) -> Network:
    """Return the ring that `arch` describes (see architectures.py), with random weights and plain input.

    Normalization is folded into an all-to-all F, and is a Scale ahead of a convolution, since its padding comes after.

    Args:
        mean, std: of the input, subtracted and divided by.
        unit: draw hidden weights uniformly and give each neuron's or kernel's norm 1; otherwise N(0, 2 / fan-in).

    Raises:
        UsageError: ND071 when the description cannot be read or does not fit the input, ND081 when it is no ring, ND082
            when mean or std do not fit the input.
    """
    return _Builder(arch, source, classes, neurons, seed, mean, std, unit).network()


class _Builder:
    """A network, node by node."""

    def __init__(
        self, arch: str, source: Input, classes: int, neurons: Neurons, seed: int, mean: Pixel, std: Pixel, unit: bool
    ) -> None:
        self.arch, self.classes, self.neurons, self.mean, self.std, self.unit = arch, classes, neurons, mean, std, unit
        self.random = np.random.default_rng(seed)
        self.nodes: dict[str, Node] = {"input": source}
        self.edges: list[Edge] = []
        self.at, self.form, self.spiking = "input", source.shape, list[str]()

    def network(self) -> Network:
        kernel, count = 0, 0
        tokens = layers_of(self.arch, self.form, self.classes)
        for place, token in enumerate(tokens):
            if token["recurrent"]:
                raise _no_ring(self.arch, "a layer is recurrent, and a ring has feedback instead")
            if token["feedback"]:
                if place != len(tokens) - 2:
                    raise _no_ring(self.arch, "only the last hidden layer can feed back, and only to the first")
                kernel = feedback_kernel(token)
            count += not token["pool"]
            if token["pool"]:
                self._pool(f"pool{place + 1}", int(token["pool"]))
            elif token["maps"]:
                self._convolve(token, count)
            else:
                self._connect(int(token["dense"]), count, last=place == len(tokens) - 1)
        if kernel:
            self._feed_back(kernel)
        origin = {name: f"--arch {self.arch}" for name in self.nodes}
        return Network(self.nodes, tuple(self.edges), "input", self.at, origin=origin)

    def _add(self, name: str, node: Node) -> None:
        self.nodes[name] = node
        self.edges.append(Edge(self.at, name))
        self.at, self.form = name, node.shape

    def _weights(self, *form: int) -> np.ndarray:
        fan_in = prod(form[1:])
        if self.unit:
            drawn = self.random.uniform(-1, 1, form)
            drawn /= np.sqrt((drawn.reshape(form[0], -1) ** 2).sum(1)).reshape(-1, *(1,) * (len(form) - 1))
        else:
            drawn = self.random.normal(0, sqrt(2 / fan_in), form)
        return drawn.astype(np.float32).astype(np.float64)

    def _normalizes(self) -> bool:
        return not self.spiking and normalizes(self.mean, self.std)

    def _pool(self, name: str, size: int) -> None:
        space = space_of(self.arch, self.form, self.at == "input")
        node = AveragePool(space, (size, size), (size, size), (0, 0))
        fitting(self.arch, node, size)
        self._add(name, node)
        if self.spiking:
            self._fire(f"{name}.lif", node)

    def _convolve(self, token: dict[str, str], count: int) -> None:
        space = space_of(self.arch, self.form, self.at == "input")
        kernel, stride = int(token["kernel"]), int(token["stride"] or 1)
        padding = kernel // 2 if token["padding"] is None else int(token["padding"])
        maps = int(token["maps"])
        if self._normalizes():
            scale, shift = (pixels(values, space)[:, 0, 0] for values in (self.std, self.mean))
            self._add("normalize", Scale(1 / scale, -shift / scale, space))
        kernels = self._weights(maps, space[0], kernel, kernel)
        node = Conv(kernels, space, (stride,) * 2, (padding,) * 2, (1, 1), 1, np.zeros(maps))
        fitting(self.arch, node, kernel)
        self._add(f"conv{count}", node)
        self._fire(f"lif{count}", node)

    def _connect(self, size: int, count: int, last: bool) -> None:
        form = self.form
        if len(form) > 1:
            self._add(f"flat{count}", Reshape(form, (prod(form),)))
        reach = 1 / sqrt(prod(form))
        if last:
            node = Linear(self.random.uniform(-reach, reach, (size, prod(form))), np.zeros(size))
        else:
            node = Linear(self._weights(size, prod(form)), np.zeros(size))
            if self._normalizes():
                node = fold(node, *(pixels(x, form).ravel() for x in (self.mean, self.std)))
        self._add(f"fc{count}", node)
        if last:
            self._add(f"lif{count}", LIF((size,), np.asarray(1.0), np.asarray(1.0), Reset.SUBTRACT_NEXT_STEP))
        else:
            self._fire(f"lif{count}", node)

    def _fire(self, name: str, feed: Node) -> None:
        """Add a population and the connection to itself that completes its reset."""
        neurons = self.neurons
        theta = strict_threshold(neurons, feed)
        shape = feed.shape
        self._add(name, LIF(shape, np.asarray(neurons.leak), np.asarray(theta), Reset.SUBTRACT_NEXT_STEP))
        self.spiking.append(name)
        rest = neurons.leak * neurons.quantum - theta
        if rest:
            each = np.arange(prod(shape) + 1)
            diagonal = SparseLinear(np.full(prod(shape), -rest), each[:-1].astype(np.int32), each, shape, shape)
            self.nodes[f"{name}.reset"] = diagonal
            self.edges += [Edge(name, f"{name}.reset", 1), Edge(f"{name}.reset", name)]

    def _feed_back(self, kernel: int) -> None:
        """Add W_fb: kernels between maps, transposed where the first layer's are larger; otherwise all-to-all."""
        if not self.spiking:
            raise _no_ring(self.arch, "there is no hidden layer that could feed back")
        first, last = self.spiking[0], self.spiking[-1]
        to, form = self.nodes[first].shape, self.nodes[last].shape
        chain: dict[str, Node] = {}
        if len(to) == len(form) == 3:
            ratio = to[1] // form[1]
            if any(n != ratio * m for n, m in zip(to[1:], form[1:], strict=True)):
                raise _no_ring(self.arch, f"{to[1:]} is not a whole multiple of {form[1:]}")
            if ratio > 1:
                chain["feedback.spread"] = _spread(form, ratio)
            weight = FEEDBACK * self._weights(to[0], form[0], kernel, kernel)
            chain["feedback"] = Conv(weight, (form[0], *to[1:]), (1, 1), (kernel // 2,) * 2, (1, 1))
        else:
            if len(form) > 1:
                chain["feedback.flat"] = Reshape(form, (prod(form),))
            name = f"{first}.recurrent" if first == last else "feedback"
            chain[name] = Linear(FEEDBACK * self._weights(prod(to), prod(form)))
            if len(to) > 1:
                chain["feedback.maps"] = Reshape((prod(to),), to)
        self.nodes |= chain
        way = [last, *chain, first]
        self.edges += [Edge(a, b, int(a == last)) for a, b in pairwise(way)]


def _spread(form: Shape, ratio: int) -> SparseLinear:
    """Return the map that puts maps (channel, height, width) `ratio` apart, zeros between."""
    wide = (form[0], form[1] * ratio, form[2] * ratio)
    place = np.full(wide, -1)
    place[:, ::ratio, ::ratio] = np.arange(prod(form)).reshape(form)
    taken = place.ravel() >= 0
    starts = np.concatenate([[0], np.cumsum(taken)])
    return SparseLinear(np.ones(prod(form)), place.ravel()[taken].astype(np.int32), starts, form, wide)


def _no_ring(arch: str, why: str) -> UsageError:
    fix = "write 100-100f or 16C5/2-16C5/2-16C5f"
    return UsageError(Finding("ND081", f"--arch {arch}", "this ring cannot be built", why, fix))


def normalizes(mean: Pixel, std: Pixel) -> bool:
    """Say whether normalization changes anything."""
    return set(mean) != {0.0} or set(std) != {1.0}


def pixels(values: Pixel, shape: Shape) -> np.ndarray:
    """Return `values` per channel, the first axis, as an array of `shape`.

    Raises:
        UsageError: ND082 when there are neither one nor as many as channels.
    """
    if len(values) not in (1, shape[0]):
        what = f"{len(values)} numbers to normalize {shape[0]} channels by"
        raise UsageError(Finding("ND082", "mean, std", what, "it takes one, or one per channel", "change the options"))
    return np.broadcast_to(np.reshape(values, (-1, *(1,) * (len(shape) - 1))), shape).astype(np.float64)


def fold(node: Linear, mean: np.ndarray, std: np.ndarray) -> Linear:
    """Return W (x - mean) / std + b as one Linear of plain x."""
    bias = np.zeros(len(node.weight)) if node.bias is None else node.bias
    return Linear(node.weight / std, bias - node.weight @ (mean / std))


def strict_threshold(neurons: Neurons, feed: Node) -> float:
    """Return theta such that p > theta exactly when p >= V: spikes of meaning are strict, those of the papers are not.

    With real weights p = V never happens. Behind a pool of k x k spikes it does all the time, as p lies on a grid of
    1 / k^2: there theta is half a grid step lower; where a leak leaves the grid, by `BELOW`.
    """
    if not isinstance(feed, AveragePool):
        return neurons.threshold
    grid = prod(feed.kernel)
    if neurons.leak == 1 and float(neurons.quantum * grid).is_integer():
        return (ceil(neurons.threshold * grid) - 0.5) / grid
    return neurons.threshold - BELOW


def ways(network: Network, name: str, source: str, last: str = "") -> tuple[list[str], list[list[str]]]:
    """Return the maps on the undelayed way from `source` into `name`, and those on every delayed way into it."""
    now, late = [], []
    for chain, start, delay in _paths(network, name):
        if delay == 0 and start == source and chain:
            now.append(chain)
        elif delay == 1 and chain and (start == last or chain[-1] == f"{name}.reset"):
            late.append(chain)
        else:
            raise no_ring(network, name, f"it reads {start} {delay} steps ago")
    if len(now) != 1:
        raise no_ring(network, name, f"{len(now)} ways lead to it from {source}")
    return now[0], late


def _paths(network: Network, name: str) -> Iterator[tuple[list[str], str, int]]:
    for edge in network.incoming(name):
        if isinstance(network.nodes[edge.source], LIF | Input):
            yield [], edge.source, edge.delay_steps
        else:
            for chain, start, delay in _paths(network, edge.source):
                yield [*chain, edge.source], start, delay + edge.delay_steps


def no_ring(network: Network, name: str, what: str) -> UnsupportedError:
    why = "spide and ide learn rings: layers in a row, spiking pools, feedback from the last to the first, a classifier"
    fix = "describe the network with --arch, for instance feedback or 100-100f, and keep the options it was built with"
    return UnsupportedError(Finding("ND080", network.place(name), what, why, fix))
