"""What would the same weights do without spikes? The network's counterpart of ReLU units, and its exact derivative.

A population's spikes become max(0, drive) of one mean frame, so a loss has an ordinary gradient in the frame, which is
what Sharmin et al. (IJCNN 2019) attack spiking networks through. It means nothing for input that is a sequence, whose
mean frame is another thing: report its own accuracy beside what is attacked through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import prod
from typing import Any

import numpy as np

from neurodeploy.engine.real import apply, sparse_matrix
from neurodeploy.errors import Finding, NetworkError
from neurodeploy.evaluation.attacks import check_counts, checked_labels, unlike
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, AveragePool, Conv, Firing, Linear, MaxPool, Node, Reshape, Scale, SparseLinear


@dataclass(frozen=True, eq=False)
class Counterpart:
    """A spiking network's weights with ReLU in place of spikes, over frames (sample, *neuron), in float64.

        a = max(gain (W x + b + V a'), 0)       per population; the logits are the output's, not rectified,
                                                nor is what sends values of either sign

    Decay, threshold, adaptation, reset and synaptic current have no part in it. V closes a loop: a' is 0 in a first
    sweep over the network and the activity of the sweep before in each of `recurrent_steps` further ones, so that a
    single recurrent layer makes that many fixed-point iterations; with 0, only the bias of recurrence stays.
    The loss is cross-entropy over the softmax of the logits.

    Source: Sharmin et al., "A Comprehensive Analysis on Adversarial Robustness of Spiking Neural Networks", IJCNN 2019,
    for attacking through the ANN; the treatment of recurrence is our reading, of which arXiv 2402.01782 says nothing.
    """

    network: Network
    order: tuple[str, ...]
    loops: frozenset[Edge]
    recurrent_steps: int

    def logits(self, frames: np.ndarray) -> np.ndarray:
        """Return the scores of the classes, float64 (sample, class).

        Raises:
            UsageError: ND430 when the frames are not of the network's input shape.
        """
        return self._sweeps(self._flat(frames))[-1][self.network.output]

    def loss(self, frames: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return each sample's -log softmax(logits)[label], float64 (sample,); raises as `gradient` does."""
        z = self.logits(frames)
        y = self._classes(frames, labels)
        beyond = z - z[np.arange(len(z)), y][:, np.newaxis]
        top = beyond.max(axis=1)
        return top + np.log(np.exp(beyond - top[:, np.newaxis]).sum(axis=1))

    def gradient(self, frames: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the derivative of each sample's loss by its own frame, float64, of the frames' shape; ReLU'(0) = 0.

        Raises:
            UsageError: ND430 when the frames are not of the network's input shape, or a label is no output neuron.
        """
        network, x = self.network, self._flat(frames)
        sweeps, y = self._sweeps(x), self._classes(frames, labels)
        reached, here = np.zeros_like(x), self._silence(len(x))
        last = _cross_entropy_slope(sweeps[-1][network.output], y)
        for sweep in reversed(sweeps):
            before = self._silence(len(x))
            for name in reversed(self.order[1:]):
                node, slope = network.nodes[name], here[name]
                if isinstance(node, LIF):
                    slope = slope if _passes(node) else slope * (sweep[name] > 0)
                    slope = slope + last if name == network.output and sweep is sweeps[-1] else slope
                    slope = slope if node.gain is None else slope * node.gain.reshape(-1)
                else:
                    slope = adjoint(node, sweep[name], slope)
                for edge in network.incoming(name):
                    (before if edge in self.loops else here)[edge.source] += slope
            reached += here[network.input]
            here = before
        return reached.reshape(np.shape(frames))

    def _sweeps(self, x: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Return per sweep what each map reads and what drives each population, gain included, (sample, flat)."""
        network, before = self.network, self._silence(len(x))
        sweeps: list[dict[str, np.ndarray]] = []
        for _ in range(self.recurrent_steps + 1):
            sweep: dict[str, np.ndarray] = {}
            now = {network.input: x}
            for name in self.order[1:]:
                node = network.nodes[name]
                terms = [(before if e in self.loops else now)[e.source] for e in network.incoming(name)]
                read = sum(terms[1:], start=terms[0])
                if isinstance(node, LIF):
                    read = read if node.gain is None else node.gain.reshape(-1) * read
                    sweep[name] = read if node.bias is None else read + node.bias.reshape(-1)
                    now[name] = sweep[name] if _passes(node) else np.maximum(sweep[name], 0)
                else:
                    sweep[name], now[name] = read, apply(node, read)
            sweeps.append(sweep)
            before = now
        return sweeps

    def _silence(self, samples: int) -> dict[str, np.ndarray]:
        return {name: np.zeros((samples, prod(node.shape))) for name, node in self.network.nodes.items()}

    def _flat(self, frames: np.ndarray) -> np.ndarray:
        shape = self.network.input_node.shape
        if np.shape(frames)[1:] != shape:
            raise unlike("frames", f"have the shape {np.shape(frames)}", f"the network reads (sample, *{shape})")
        return np.asarray(frames, np.float64).reshape(len(frames), -1)

    def _classes(self, frames: np.ndarray, labels: np.ndarray) -> np.ndarray:
        y = checked_labels(np.asarray(frames)[np.newaxis], labels)
        outputs = prod(self.network.nodes[self.network.output].shape)
        if y.max() >= outputs:
            raise unlike("labels", f"go up to {y.max()}", f"the network has {outputs} outputs, counted from 0")
        return y


def ann_counterpart(network: Network, *, recurrent_steps: int = 0) -> Counterpart:
    """Return the network of ReLUs with `network`'s weights; see `Counterpart`.

    An edge is recurrent when it is delayed and closes a loop; any other delay means nothing to a mean frame.

    Raises:
        UsageError: ND431 when `recurrent_steps` is below 0.
        NetworkError: ND434 when the input does not reach the output within the sweeps asked for, so that every
            gradient would be 0, or a node reads nothing.
    """
    check_counts(0, recurrent_steps=recurrent_steps)
    loops = frozenset(e for e in network.edges if e.delay_steps and e.source in _reached(network.edges, e.target))
    forward = tuple(edge for edge in network.edges if edge not in loops)
    sorter: TopologicalSorter[str] = TopologicalSorter({name: () for name in network.nodes})
    for edge in forward:
        sorter.add(edge.target, edge.source)
    order = [name for name in sorter.static_order() if name != network.input]
    for name in order:
        if not network.incoming(name):
            raise _no_counterpart(network, name, "reads nothing", "connect it or take it out")
    heard = {network.input}
    for _ in range(recurrent_steps + 1):
        heard = {name for start in heard for name in _reached(forward, start)}
        if network.output in heard:
            return Counterpart(network, (network.input, *order), loops, recurrent_steps)
        heard |= {edge.target for edge in loops if edge.source in heard}
    what = f"is not reached by the input in {recurrent_steps + 1} sweeps"
    raise _no_counterpart(network, network.output, what, "raise recurrent_steps")


def _passes(node: LIF) -> bool:
    """Say whether a population sends values of either sign."""
    return node.firing in (Firing.VALUE, Firing.DELTA)


def _reached(edges: tuple[Edge, ...], start: str) -> set[str]:
    """Return `start` and every node that some path of `edges` leads to from it."""
    found, new = {start}, {start}
    while new:
        new = {edge.target for edge in edges if edge.source in new} - found
        found |= new
    return found


def _no_counterpart(network: Network, name: str, what: str, fix: str) -> NetworkError:
    why = "its gradient by the input would be 0, and the attack none"
    return NetworkError(Finding("ND434", network.place(name), f"{name} {what}", why, fix))


def _cross_entropy_slope(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return softmax(logits) - onehot(labels), float64 (sample, class).

    At the label it is minus the sum of the others, which stays right where 1 - p would round to 0.
    """
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    slope = weight / weight.sum(axis=1, keepdims=True)
    at = (np.arange(len(labels)), labels)
    slope[at] = 0.0
    slope[at] = -slope.sum(axis=1)
    return slope


def adjoint(node: Node, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Return the derivative by `x` of sum(slope * apply(node, x)): `node` transposed, or its derivative at `x`.

    Args:
        x: what the node read, float64 (sample, flat); slope: the derivative by its output, (sample, flat).
    """
    match node:
        case Linear(weight):
            return slope @ weight
        case SparseLinear():
            return (sparse_matrix(node).T @ slope.T).T
        case Reshape():
            return slope
        case Scale(weight, _, shape):
            return (weight.reshape(-1, *(1,) * (len(shape) - 1)) * slope.reshape(-1, *shape)).reshape(x.shape)
        case Conv() | AveragePool() | MaxPool():
            return _window_adjoint(node, x, slope.reshape(-1, *node.shape)).reshape(x.shape)
    raise TypeError(type(node).__name__)


def _window_adjoint(node: Conv | AveragePool | MaxPool, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Give each output position's slope back to the inputs its window saw; what falls on the padding is dropped."""
    around = ((0, 0), (0, 0), *((p, p) for p in node.padding))
    image = x.reshape(-1, *node.input_shape)
    back = np.pad(np.zeros(image.shape), around)
    if isinstance(node, MaxPool):
        padded = np.pad(image, around, constant_values=-np.inf)
        first = np.argmax([seen for _, seen in _windows(node, padded)], axis=0)
        for k, (_, seen) in enumerate(_windows(node, back)):
            seen += slope * (first == k)
    elif isinstance(node, AveragePool):
        for _, seen in _windows(node, back):
            seen += slope / prod(node.kernel)
    else:
        grouped = slope.reshape(len(slope), node.groups, -1, *slope.shape[2:])
        weight = node.weight.reshape(node.groups, -1, *node.weight.shape[1:])
        for tap, seen in _windows(node, back):
            through: Any = (..., *tap)
            seen += np.einsum("goi,ngo...->ngi...", weight[through], grouped).reshape(seen.shape)
    inside: Any = (..., *(slice(p, p + n) for p, n in zip(node.padding, node.input_shape[1:], strict=True)))
    return back[inside]


def _windows(node: Conv | AveragePool | MaxPool, padded: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yield each kernel tap with a view of what all output positions see through it, (sample, channel, *out space)."""
    kernel = node.weight.shape[2:] if isinstance(node, Conv) else node.kernel
    dilation = node.dilation if isinstance(node, Conv) else (1,) * len(kernel)
    axes = list(zip(dilation, node.stride, node.shape[1:], strict=True))
    for tap in np.ndindex(*kernel):
        at: Any = (..., *(slice(t * d, t * d + s * (n - 1) + 1, s) for t, (d, s, n) in zip(tap, axes, strict=True)))
        yield tap, padded[at]
