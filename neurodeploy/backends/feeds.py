"""What reaches a population of a lowered network: its maps, how much they can deliver, and how they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, prod

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Input, InputKind, Linear, Reset, SparseLinear
from neurodeploy.ir.program import ConvSynapses, DenseSynapses, InputPort, SparseSynapses, Synapses

SPARSE_BELOW = 0.5
"""A Linear with a smaller share of nonzero weights is stored as sparse synapses."""

LinearMap = Linear | SparseLinear | Conv


@dataclass(frozen=True, eq=False)
class Feed:
    """One map into a population, seen from the population: what it reads and how much it can deliver.

    `payload` is the real value of one input payload, (low, high) the real range of what it reads; `changes` says that
    it reads what sigma-delta neurons tell.
    """

    name: str
    source: str
    node: LinearMap
    recurrent: bool
    payload: float
    low: float
    high: float
    changes: bool = False

    @property
    def largest(self) -> float:
        """The largest |weight| times payload; 0 for a map of zeros."""
        return float(np.abs(weights_of(self.node)).max(initial=0)) * self.payload

    @property
    def fan_in(self) -> int:
        """The most synapses one target neuron has."""
        if isinstance(self.node, SparseLinear):
            return int(np.diff(self.node.indptr).max(initial=0))
        return prod(self.node.weight.shape[1:])

    def rounding(self, levels: float) -> float:
        """Return a bound of what rounding its weights can add to one neuron's input, in membrane units.

        A mantissa is off by at most half a unit, and a unit is at most 2 / `levels` of the largest weight.
        """
        return self.fan_in * max(abs(self.low), abs(self.high)) / self.payload * self.largest / levels

    def reach(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the most each target neuron can receive, bias excluded, two arrays (post,)."""
        return row_sums(self.node, self.low, self.high)


@dataclass(frozen=True)
class Sent:
    """What the neurons of a population send in a step: real values from `low` to `high`, `payload` apart."""

    low: float = 0.0
    high: float = 1.0
    payload: float = 1.0


SPIKES: Mapping[str, Sent] = {}


def feeds_of(network: Network, name: str, port: InputPort, sent: Mapping[str, Sent] = SPIKES) -> list[Feed]:
    """Return every map into population `name` of a lowered network.

    Args:
        sent: by population, of those that send more than single spikes.
    """
    feeds = []
    for edge in network.incoming(name):
        (entry,) = network.incoming(edge.source)
        node = network.nodes[edge.source]
        assert isinstance(node, LinearMap)
        values = sent.get(entry.source, Sent())
        if isinstance(network.nodes[entry.source], Input) and port.kind is InputKind.GRADED:
            values = Sent(port.low * port.scale, port.high * port.scale, port.scale)
        late, sender = bool(entry.delay_steps), network.nodes[entry.source]
        changes = isinstance(sender, LIF) and sender.firing.tells_changes
        feeds.append(Feed(edge.source, entry.source, node, late, values.payload, values.low, values.high, changes))
    return feeds


def total_bias(node: LIF, feeds: list[Feed]) -> np.ndarray:
    """Return the sum of all maps' biases and the population's own per neuron, (neuron,)."""
    total = np.zeros(node.size) if node.bias is None else np.broadcast_to(node.bias, node.shape).flatten()
    for feed in feeds:
        if feed.node.bias is not None:
            per_channel = node.size // len(feed.node.bias)
            total += np.repeat(feed.node.bias, per_channel)
    return total


def worst_case(
    node: LIF, feeds: list[Feed], bias: np.ndarray, levels: float = inf, most: int = 1
) -> tuple[float, float]:
    """Return bounds of |current| and |membrane| in membrane units over all inputs; huge where nothing bounds them.

    Args:
        bias: (neuron,), of maps and of the population; its own does not pass a synaptic current.
        levels: of weights, see `Feed.rounding`.
        most: spikes of a neuron in one step; subtracted all at once, they leave less than a threshold if they suffice.
    """
    outside = node.bias if node.alpha is not None and node.bias is not None else np.zeros(())
    own = np.broadcast_to(outside.reshape(-1), node.size)
    low, high = np.minimum(bias - own, 0.0), np.maximum(bias - own, 0.0)
    for feed in feeds:
        less, more = feed.reach()
        low, high = low + less - feed.rounding(levels), high + more + feed.rounding(levels)
    down, up = float(-low.min(initial=0)), float(high.max(initial=0))
    down, up = (x / _forgetting(node.alpha) if x else 0.0 for x in (down, up))
    current = max(down, up)
    down, up = down + max(0.0, -float(own.min(initial=0))), up + max(0.0, float(own.max(initial=0)))
    silent = node.firing is Firing.VALUE
    theta, least = (0.0, 0.0) if silent else (float(node.threshold.max()), float(node.threshold.min()))
    leak = _forgetting(node.beta)
    falls = down / leak if down else 0.0
    if node.floor is not None:
        falls = min(falls, down - float(node.floor.min()))
    spent = node.reset is Reset.SUBTRACT_AT_ONCE and node.firing is Firing.MULTIPLE and up <= (most - 1) * least
    rises = theta + up if "zero" in node.reset or spent else (up / leak if up else 0.0)
    late = node.reset in (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT)
    return current, max(falls + (most * theta if late else 0.0), rises, theta)


def _forgetting(decay: np.ndarray | None) -> float:
    """Return 1 - decay of the slowest neuron; a tiny number instead of 0."""
    return 1.0 if decay is None else max(1.0 - float(decay.max()), 1e-12)


def row_sums(node: LinearMap, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return per target neuron the least and the most that inputs in [low, high] can sum to."""
    low, high = min(low, 0.0), max(high, 0.0)
    match node:
        case Linear(weight):
            rows = weight.reshape(len(weight), -1)
        case Conv(weight):
            rows = np.repeat(weight.reshape(len(weight), -1), prod(node.shape[1:]), axis=0)
        case SparseLinear(data, _, indptr):
            row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            positive = np.bincount(row, np.maximum(data, 0), len(indptr) - 1)
            negative = np.bincount(row, np.minimum(data, 0), len(indptr) - 1)
            return low * positive + high * negative, high * positive + low * negative
    positive, negative = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
    return low * positive + high * negative, high * positive + low * negative


def weights_of(node: LinearMap) -> np.ndarray:
    """Return the weights of a map, those that are stored."""
    return node.data if isinstance(node, SparseLinear) else node.weight


def stored(node: LinearMap, mantissa: np.ndarray) -> Synapses:
    """Return the synapses of `node` with `mantissa` in place of `weights_of`; what is mostly zeros becomes sparse."""
    match node:
        case Linear(weight) if np.count_nonzero(weight) < SPARSE_BELOW * weight.size:
            rows, columns = np.nonzero(weight)
            indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weight)))]).astype(np.int64)
            return SparseSynapses(mantissa[rows, columns], columns.astype(np.int32), indptr)
        case Linear():
            return DenseSynapses(mantissa)
        case SparseLinear(_, indices, indptr):
            return SparseSynapses(mantissa, indices.astype(np.int32), indptr.astype(np.int64))
        case Conv():
            return _conv_synapses(node, mantissa)
    raise TypeError(type(node).__name__)


def _conv_synapses(node: Conv, mantissa: np.ndarray) -> ConvSynapses:
    """Return a Conv1d or Conv2d as two-dimensional synapses; one spatial axis becomes x, with y of length 1."""
    if mantissa.ndim == 3:
        plane = (node.input_shape[0], 1, node.input_shape[1]), (node.shape[0], 1, node.shape[1])
        pairs = ((1, *node.stride), (0, *node.padding), (1, *node.dilation))
        return ConvSynapses(mantissa[:, :, None, :], *plane, *pairs, node.groups)
    return ConvSynapses(mantissa, node.input_shape, node.shape, node.stride, node.padding, node.dilation, node.groups)
