"""SPIDE once more, for tests: scalar by scalar in loops, and in closed form by linear algebra. No product code.

A ring is its matrices W_1 (= F), W_2 .. W_N (post, pre), its offsets b_1 .. b_N, and W_fb or None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.engine.real import apply
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Input, Node, SparseLinear

Vector = list[float]


@dataclass
class Matrices:
    feeds: list[np.ndarray]
    offsets: list[np.ndarray]
    feedback: np.ndarray | None
    quantum: float


def matrices(network: Network, quantum: float) -> Matrices:
    """Read the ring of `network` off its nodes by pushing unit vectors through them; resets are left out."""
    names = list(network.populations)[:-1]
    feeds, offsets, feedback = [], [], None
    for name in names:
        for edge in network.incoming(name):
            chain, delayed = [edge.source], edge.delay_steps
            while not isinstance(network.nodes[chain[0]], LIF | Input):
                (before,) = network.incoming(chain[0])
                chain, delayed = [before.source, *chain], delayed + before.delay_steps
            if chain[-1] == f"{name}.reset":
                continue
            size = int(np.prod(network.nodes[chain[0]].shape))
            linear, offset = product([network.nodes[at] for at in chain[1:]], size)
            if delayed:
                feedback = linear
            else:
                feeds.append(linear)
                offsets.append(offset)
    return Matrices(feeds, offsets, feedback, quantum)


def product(nodes: list[Node], size: int) -> tuple[np.ndarray, np.ndarray]:
    def through(x: np.ndarray) -> np.ndarray:
        for node in nodes:
            x = apply(node, x).reshape(len(x), -1)
        return x

    offset = through(np.zeros((1, size)))[0]
    return (through(np.eye(size)) - offset).T, offset


def reset_weights(network: Network, name: str) -> np.ndarray:
    node = network.nodes[f"{name}.reset"]
    assert isinstance(node, SparseLinear)
    return node.data


# in loops


def times(matrix: np.ndarray, x: Vector) -> Vector:
    return [sum(float(w) * v for w, v in zip(row, x, strict=True)) for row in matrix]


def forward(
    ring: Matrices, inputs: np.ndarray, threshold: float, leak: float
) -> tuple[list[Vector], list[list[Vector]]]:
    """Return the rates of one sample (step, neuron), and the spikes of every step and layer."""
    depth, steps = len(ring.feeds), len(inputs)
    u = [[0.0] * len(w) for w in ring.feeds]
    spikes = [[0.0] * len(w) for w in ring.feeds]
    rates = [[0.0] * len(w) for w in ring.feeds]
    history = []
    for t in range(steps):
        for l in range(depth):  # noqa: E741
            x = list(inputs[t]) if l == 0 else spikes[l - 1]
            current = [i + float(b) for i, b in zip(times(ring.feeds[l], x), ring.offsets[l], strict=True)]
            if l == 0 and t > 0 and ring.feedback is not None:
                current = [i + f for i, f in zip(current, times(ring.feedback, spikes[-1]), strict=True)]
            fired = []
            for j, i in enumerate(current):
                p = u[l][j] + i
                s = 1.0 if p >= threshold else 0.0
                u[l][j] = leak * (p - ring.quantum * s)
                rates[l][j] = leak * rates[l][j] + s
                fired.append(s)
            spikes[l] = fired
        history.append([list(s) for s in spikes])
    total = sum(leak**t for t in range(steps))
    return [[a / total for a in layer] for layer in rates], history


def backward(
    ring: Matrices, gradient: Vector, masks: list[Vector], steps: int, threshold: float, quantum: float, leak: float
) -> tuple[list[Vector], list[list[Vector]]]:
    """Return the betas of one sample and its ternary spikes q of every step and layer."""
    depth = len(ring.feeds)
    u, sums = ([[0.0] * len(w) for w in ring.feeds] for _ in range(2))
    q = [[0.0] * len(w) for w in ring.feeds]
    history = []
    for t in range(steps):
        for l in reversed(range(depth)):  # noqa: E741
            if l < depth - 1:
                sent = [m * quantum * e for m, e in zip(masks[l + 1], q[l + 1], strict=True)]
                current = [i / ring.quantum for i in times(ring.feeds[l + 1].T, sent)]
            else:
                current = list(gradient)
                if t > 0 and ring.feedback is not None:
                    sent = [m * quantum * e for m, e in zip(masks[0], q[0], strict=True)]
                    back = times(ring.feedback.T, sent)
                    current = [i + b / ring.quantum for i, b in zip(current, back, strict=True)]
            fired = []
            for j, i in enumerate(current):
                p = u[l][j] + i
                spike = 1.0 if p >= threshold else -1.0 if p <= -threshold else 0.0
                u[l][j] = leak * (p - quantum * spike)
                sums[l][j] = leak * sums[l][j] + quantum * spike
                fired.append(spike)
            q[l] = fired
        history.append([list(s) for s in q])
    total = sum(leak**t for t in range(steps))
    return [[b / total for b in layer] for layer in sums], history


# in closed form


def equilibrium(ring: Matrices, x: np.ndarray) -> list[np.ndarray]:
    """Return the rates (sample, neuron) at the fixed point for constant input x (sample, neuron)."""
    rates = [np.zeros((len(x), len(w))) for w in ring.feeds]
    for _ in range(2000):
        before = [x, *rates[:-1]]
        for l, (w, b) in enumerate(zip(ring.feeds, ring.offsets, strict=True)):  # noqa: E741
            z = (before[0] if l == 0 else rates[l - 1]) @ w.T + b
            if l == 0 and ring.feedback is not None:
                z = z + rates[-1] @ ring.feedback.T
            rates[l] = np.clip(z / ring.quantum, 0, 1)
    return rates


def betas(ring: Matrices, gradient: np.ndarray, masks: list[np.ndarray]) -> list[np.ndarray]:
    """Return the exact solution of (LIN) per sample, from one system of equations over all layers."""
    sizes = [len(w) for w in ring.feeds]
    ends = np.cumsum([0, *sizes])
    found = [np.zeros((len(gradient), n)) for n in sizes]
    for k in range(len(gradient)):
        system, right = np.eye(ends[-1]), np.zeros(ends[-1])
        right[ends[-2] :] = gradient[k]
        for l in range(len(sizes)):  # noqa: E741
            rows = slice(ends[l], ends[l + 1])
            if l + 1 < len(sizes):
                columns, w, m = slice(ends[l + 1], ends[l + 2]), ring.feeds[l + 1], masks[l + 1][k]
            elif ring.feedback is not None:
                columns, w, m = slice(0, ends[1]), ring.feedback, masks[0][k]
            else:
                continue
            system[rows, columns] -= w.T * m / ring.quantum
        solved = np.linalg.solve(system, right)
        for l in range(len(sizes)):  # noqa: E741
            found[l][k] = solved[ends[l] : ends[l + 1]]
    return found


def updates(
    ring: Matrices, source: np.ndarray, rates: list[np.ndarray], solved: list[np.ndarray], masks: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Return (UPD): the gradients of all feeds, of all offsets, and of the feedback."""
    errors = [m * beta / ring.quantum for m, beta in zip(masks, solved, strict=True)]
    heard = [source, *rates[:-1]]
    feeds = [e.T @ a for e, a in zip(errors, heard, strict=True)]
    feedback = None if ring.feedback is None else errors[0].T @ rates[-1]
    return feeds, [e.sum(0) for e in errors], feedback
