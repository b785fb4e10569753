"""What makes the neurons of one layer differ without a teacher: inhibition, thresholds of their own, equal lengths.

    inhibition      V_jk = -g for j != k, 0 on the diagonal: a spike keeps the others from firing, one step later
    homeostasis     theta_j <- theta_j (1 + eta_theta clip(n_j / n - 1, -1, 3))      n_j spikes per sample, n wanted
    normalization   w_j <- w_j / |w_j|                                               so that w_j x is a likeness

After Diehl & Cook 2015, with two differences: homeostasis aims at a rate instead of letting thresholds leak, and
weights have equal length (as in spherical k-means) instead of equal sum.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Linear, Node, Reset
from neurodeploy.learning.net import Layer, Net

FASTEST_RISE = 3.0
"""A neuron that fires far too often raises its threshold as if it fired four times as often as wanted, not more."""


def frame(network: Network) -> Network:
    """Return `network` with an inhibited hidden layer and an output that counts, all their new weights zero.

    The output neurons do not leak and subtract their threshold, so that they count what they are sent: v(T) is the sum
    of all input less threshold x spikes.

    Args:
        network: input -> one hidden layer -> output, both all-to-all without recurrence, since inhibition takes its
            place; the hidden neurons are kept as they are.

    Raises:
        UnsupportedError: ND085 for any other.
    """
    layers = list(Net(network))
    if len(layers) != 2 or not all(isinstance(layer.node, Linear) for layer in layers):
        raise _unfit(network, f"{len(layers)} layers, {sum(isinstance(x.node, Linear) for x in layers)} all-to-all")
    if any(layer.recurrent is not None or layer.behind for layer in layers):
        raise _unfit(network, "recurrence, or maps behind a weighted one")
    hidden, output = layers
    size, classes = hidden.neuron.size, output.neuron.size
    inner = f"{hidden.name}.recurrent"
    one = np.ones(())
    nodes: dict[str, Node] = network.nodes | {
        hidden.name: replace(hidden.neuron, threshold=np.broadcast_to(hidden.neuron.threshold, hidden.shape).copy()),
        hidden.map: Linear(np.asarray(hidden.node.weight)),  # type: ignore[union-attr]
        inner: Linear(np.zeros((size, size))),
        output.map: Linear(np.zeros((classes, size))),
        output.name: LIF(output.shape, one, one, Reset.SUBTRACT_NEXT_STEP),
    }
    edges = (*network.edges, Edge(hidden.name, inner, 1), Edge(inner, hidden.name))
    return replace(network, nodes=nodes, edges=edges)


def normalized(weight: Tensor) -> Tensor:
    """Return `weight` (post, pre) with rows of length 1; rows of zeros stay."""
    return weight / weight.norm(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def inhibition(size: int, strength: float, like: Tensor) -> Tensor:
    """Return V (post, pre) of neurons that inhibit each other and not themselves."""
    return strength * (torch.eye(size, dtype=like.dtype) - 1)


def adapted(threshold: Tensor, counts: Tensor, wanted: float, rate: float) -> Tensor:
    """Return thresholds (neuron,) after a batch in which neurons fired `counts` (neuron,) times per sample."""
    return threshold * (1 + rate * (counts / wanted - 1).clamp(-1, FASTEST_RISE))


def foremost(spikes: Tensor, u: Tensor) -> Tensor:
    """Return of `spikes` (step, sample, neuron) those of the neurons furthest above threshold u in their step."""
    return spikes * (u >= u.max(-1, keepdim=True).values).to(spikes.dtype)


def peak(layer: Layer, drive: Tensor) -> float:
    """Return the largest membrane that `drive` (step, sample, neuron) causes where nothing fires, mean of samples."""
    membrane = current = torch.zeros_like(drive[0])
    highest = torch.full_like(drive[0, :, 0], -torch.inf)
    for x in drive:
        current = x if layer.alpha is None else layer.alpha * current + x
        membrane = layer.beta * membrane + current
        highest = torch.maximum(highest, membrane.amax(1))
    return float(highest.mean())


def _unfit(network: Network, what: str) -> UnsupportedError:
    why = "competition is between the neurons of one hidden layer, and the output counts their votes"
    fix = "give the number of hidden neurons alone: --arch 150"
    return UnsupportedError(Finding("ND085", network.place(network.output), what, why, fix))
