"""Networks to begin with, from a line of text: "784-128-10", "120r-84r", "12C5-P2-32C5-P2", or ff, rec, conv by name.

    N       N neurons, all-to-all                Nr      the same with all-to-all recurrence among themselves
    nCk     n maps of k x k kernels, padded by floor(k / 2), which keeps the size where k is odd
    nCk/s   the same with stride s;     nCk:p, nCk/s:p      with padding p
    nCkr    maps that also read the maps of the step before, by kernels of the same odd size that keep theirs
    Pk      average pool over k x k (before the next layer)
    ...f    feedback from this, the last hidden layer, to the first (SPIDE and IDE); f5 through 5 x 5 kernels, odd only

All numbers count from 1, but for p. The output layer is all-to-all, one neuron per class, and is added unless the text
ends with it; where it does, the text may begin with the input's size. So on digits 128, 128-10 and 64-128-10 are the
same, 64-10 has no hidden layer, and 64-32 has two, of 64 and 32 neurons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import prod, sqrt
from typing import Any

import numpy as np

from neurodeploy.errors import Finding, UsageError
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Adaptation, AveragePool, Conv, Input, Linear, Node, Reset, Reshape, Shape

TOKEN = re.compile(
    r"(((?P<dense>[1-9]\d*)"
    r"|(?P<maps>[1-9]\d*)C(?P<kernel>[1-9]\d*)(/(?P<stride>[1-9]\d*))?(:(?P<padding>\d+))?)(?P<recurrent>r?)"
    r"|P(?P<pool>[1-9]\d*))(?P<feedback>f([1-9]\d*)?)?",
    re.ASCII,
)
LEAST_SIDE = 7
"""Of a flat input that is read as a picture: see `space_of`."""
NAMED = {
    "digits": {"ff": "96", "rec": "96r", "conv": "16C3-P2-32C3", "feedback": "100f"},
    "mnist": {
        "ff": "128",
        "rec": "128r",
        "conv": "12C5-P2-32C5-P2",
        "feedback": "64C5/2-64C5/2-64C5f",
        "lenet": "15C5-P2-40C5-P2-300",
    },
    "fashion-mnist": {"ff": "256", "rec": "256r", "conv": "12C5-P2-32C5-P2", "feedback": "64C5/2-64C5/2-64C5f"},
    "cifar10": {
        "ff": "512",
        "rec": "512r",
        "conv": "32C3-P2-64C3-P2",
        "feedback": "96C3/2-256C3-384C3/2-384C3-256C3f",
        "alexnetf": "96C3/2-256C3-384C3/2-384C3-256C3f",
        "cifarnetf": "128C3/2-256C3-512C3/2-1024C3-512C3f",
    },
    "nmnist": {
        "ff": "120-84",
        "rec": "120r-84r",
        "conv": "P2-12C5-P2-32C5",
        "conv-rec": "P2-12C5r-P2-32C5r",
        "feedback": "P2-120f",
    },
    "nmnist-simulated": {
        "ff": "120-84",
        "rec": "120r-84r",
        "conv": "P2-12C5-P2-32C5",
        "conv-rec": "P2-12C5r-P2-32C5r",
        "feedback": "P2-120f",
    },
    "dvs-gesture": {
        "ff": "P4-512",
        "rec": "P4-512r",
        "conv": "P4-64C7/1:1-P2-128C7/1:1-128C7/1:1",
        "conv-rec": "P4-64C7/1:1r-P2-128C7/1:1r-128C7/1:1r",
        "feedback": "P4-512f",
    },
    "cifar10-dvs": {
        "ff": "P4-512",
        "rec": "P4-512r",
        "conv": "P4-64C7/1:1-P2-128C7/1:1-128C7/1:1",
        "conv-rec": "P4-64C7/1:1r-P2-128C7/1:1r-128C7/1:1r",
        "feedback": "512C9/2f5",
    },
    "timit": {"ff": "400", "rec": "400r"},
    "timit-sample": {"ff": "400", "rec": "400r"},
    "fsdd": {"ff": "400", "rec": "400r", "feedback": "400f"},
}
"""Dataset -> name -> hidden layers. N-MNIST, DVS Gesture and TIMIT as in arXiv 2402.01782; conv after its Table VI.
The convolutional feedback nets, lenet, alexnetf and cifarnetf are those of SPIDE's released scripts."""
OTHERWISE = {"ff": "256", "rec": "256r", "conv": "32C3-P2-64C3-P2", "feedback": "256f"}
NAMES = ("ff", "rec", "conv", "conv-rec", "feedback", "lenet", "alexnetf", "cifarnetf")


@dataclass(frozen=True)
class Neurons:
    """The neurons of all layers: decay per step of the current (None: no current) and of the membrane, and more.

    adaptation: (decay per step, strength) of hidden neurons whose threshold rises with every spike, or None.
    """

    beta: float
    threshold: float
    alpha: float | None = None
    reset: Reset = Reset.SUBTRACT_NEXT_STEP
    adaptation: tuple[float, float] | None = None


KINDS: dict[str, dict[str, Any]] = {
    "lif": {"alpha": None, "adaptation": None},
    "two-trace": {"alpha": 0.5, "adaptation": None},
    "alif": {"alpha": None, "adaptation": (0.97, 0.1)},
}
"""Kinds of neurons by name: what differs from a recipe's neurons."""


def hidden(arch: str, dataset: str) -> str:
    """Return the hidden layers that `arch` names for `dataset`, or `arch` itself when it is a description.

    Raises:
        UsageError: ND071 for a name that this dataset has no architecture of.
    """
    if arch not in NAMES:
        return arch
    known = NAMED.get(dataset, OTHERWISE)
    if arch not in known:
        what = f"no architecture {arch!r} for {dataset}"
        raise UsageError(_unfit(arch, what, f"there are {', '.join(known)}"))
    return known[arch]


def build(
    arch: str,
    source: Input,
    classes: int,
    neurons: Neurons,
    seed: int,
    *,
    gain: float = 1.0,
    recurrent_gain: float | None = None,
) -> Network:
    """Return a network of random weights: U(-g, g) with g = gain / sqrt(fan-in), as PyTorch's layers begin.

    Args:
        arch: a description (see above).
        gain: factor on the usual range.
        recurrent_gain: the same for recurrent weights; None: as `gain`.

    Raises:
        UsageError: ND071 when the description cannot be read or does not fit the input.
    """
    usual = gain if recurrent_gain is None else recurrent_gain
    growing = _Growing(arch, neurons, np.random.default_rng(seed), gain, usual, source.shape, {"input": source})
    for token in layers_of(arch, source.shape, classes):
        if token["feedback"]:
            raise UsageError(_unfit(arch, "feedback from the last layer to the first", "it belongs to spide and ide"))
        if token["pool"]:
            growing.pool(int(token["pool"]))
        elif token["maps"]:
            growing.maps(token)
        else:
            growing.dense(int(token["dense"]), bool(token["recurrent"]))
    nodes, name = growing.nodes, growing.at
    output = nodes[name]
    assert isinstance(output, LIF)
    nodes[name] = replace(output, adaptation=None)
    origin = {name: f"--arch {arch}" for name in nodes}
    return Network(nodes, tuple(growing.edges), "input", name, origin=origin)


@dataclass
class _Growing:
    """A network while its layers are added: `at` is the last node, `shape` its shape, `count` the layers of neurons."""

    arch: str
    neurons: Neurons
    random: np.random.Generator
    gain: float
    recurrent_gain: float
    shape: Shape
    nodes: dict[str, Node]
    edges: list[Edge] = field(default_factory=list)
    at: str = "input"
    count: int = 0

    def pool(self, size: int) -> None:
        node = AveragePool(space_of(self.arch, self.shape, self.at == "input"), (size, size), (size, size), (0, 0))
        self.shape = fitting(self.arch, node, size)
        self._add(f"pool{self.count + 1}", node)

    def maps(self, token: dict[str, str]) -> None:
        """Add a convolution and its neurons."""
        self.count += 1
        space = space_of(self.arch, self.shape, self.at == "input")
        kernel, stride = int(token["kernel"]), int(token["stride"] or 1)
        padding = kernel // 2 if token["padding"] is None else int(token["padding"])
        weights = self._weights(int(token["maps"]), space[0], kernel, kernel, gain=self.gain)
        bias = np.zeros(int(token["maps"]))
        conv = Conv(weights, space, (stride,) * 2, (padding,) * 2, (1, 1), 1, bias)
        self.shape = fitting(self.arch, conv, kernel)
        self._add(f"conv{self.count}", conv)
        self._fire(bool(token["recurrent"]), kernel)

    def dense(self, size: int, recurrent: bool) -> None:
        """Add an all-to-all map and its neurons."""
        self.count += 1
        if len(self.shape) > 1:
            self._add(f"flat{self.count}", Reshape(self.shape, (prod(self.shape),)))
        weights = self._weights(size, prod(self.shape), gain=self.gain)
        self._add(f"fc{self.count}", Linear(weights, np.zeros(size)))
        self.shape = (size,)
        self._fire(recurrent)

    def _fire(self, recurrent: bool, kernel: int = 0) -> None:
        """Add neurons, which perhaps read themselves: all of them, or through a kernel."""
        name, shape = f"lif{self.count}", self.shape
        self._add(name, _lif(shape, self.neurons))
        if not recurrent:
            return
        if kernel and kernel % 2 == 0:
            why = "only odd ones keep the size"
            raise UsageError(_unfit(self.arch, f"recurrence by {kernel} x {kernel} kernels", why))
        inner, pad = f"{name}.recurrent", (kernel // 2,) * 2
        reads = (shape[0], shape[0], kernel, kernel) if kernel else (*shape, *shape)
        own = self._weights(*reads, gain=self.recurrent_gain)
        self.nodes[inner] = Conv(own, shape, (1, 1), pad, (1, 1)) if kernel else Linear(own)
        self.edges += [Edge(name, inner, 1), Edge(inner, name)]

    def _add(self, name: str, node: Node) -> None:
        self.nodes[name] = node
        self.edges.append(Edge(self.at, name))
        self.at = name

    def _weights(self, *form: int, gain: float) -> np.ndarray:
        reach = gain / sqrt(prod(form[1:]))
        return _single(self.random.uniform(-reach, reach, form))


def layers_of(arch: str, shape: Shape, classes: int) -> list[dict[str, str]]:
    """Return the layers of `arch`, the output at the end, the input left out.

    The text ends with the output where its last layer of several has one neuron per class; only then may it begin
    with the input's size.

    Raises:
        UsageError: ND071 when it cannot be read, or feeds back through a kernel of even size.
    """
    texts = arch.split("-")
    matches = [TOKEN.fullmatch(text) for text in texts]
    if not all(matches):
        wrong = [text for text, match in zip(texts, matches, strict=True) if match is None]
        what = f"{', '.join(map(repr, wrong))} describes no layer"
        raise UsageError(_unfit(arch, what, "write neurons (128, 128r), kernels (12C5, 12C5/2) and pools (P2)"))
    tokens = [match.groupdict() for match in matches if match is not None]
    if any(feedback_kernel(token) % 2 == 0 for token in tokens):
        why = "only an odd kernel can be padded so that the maps keep their size"
        raise UsageError(_unfit(arch, "feedback through kernels of even size", why))
    if len(tokens) == 1 or not _is_plain(tokens[-1], classes):
        return [*tokens, TOKEN.fullmatch(str(classes)).groupdict()]  # type: ignore[union-attr]
    return tokens[1:] if _is_plain(tokens[0], prod(shape)) else tokens


def feedback_kernel(token: dict[str, str]) -> int:
    """Return the size of the kernels that a layer feeds back through where it has maps, 3 when it does not say."""
    return int((token["feedback"] or "f")[1:] or 3)


def space_of(arch: str, shape: Shape, is_input: bool) -> Shape:
    """Return `shape` as (channel, height, width).

    A flat input is read as a gray picture when it is a square of at least 7 x 7, as those of digits (64) and MNIST
    (784) are. What is smaller is channels, such as QTDB's 4, and neurons of a hidden layer lie nowhere.

    Raises:
        UsageError: ND071 for what has no height and width.
    """
    if len(shape) == 3:
        return shape
    side = round(sqrt(prod(shape)))
    if is_input and len(shape) == 1 and side * side == shape[0] and side >= LEAST_SIDE:
        return (1, side, side)
    what = f"a kernel or pool on {'input' if is_input else 'a layer'} of shape {shape}"
    raise UsageError(_unfit(arch, what, "it needs height and width"))


def fitting(arch: str, node: Conv | AveragePool, size: int) -> Shape:
    """Return the shape of what kernels or pools of `size` x `size` give.

    Raises:
        UsageError: ND071 when they are larger than what they read, padding included.
    """
    if min(node.shape) < 1:
        what = f"a {size} x {size} {'pool' if isinstance(node, AveragePool) else 'kernel'} on {node.input_shape[1:]}"
        raise UsageError(_unfit(arch, what, "it is larger than that"))
    return node.shape


def _is_plain(token: dict[str, str], size: int) -> bool:
    """Return whether a layer is `size` neurons, neither recurrent nor feeding back."""
    return token["dense"] == str(size) and not token["recurrent"] and not token["feedback"]


def _lif(shape: Shape, neurons: Neurons) -> LIF:
    alpha = None if neurons.alpha is None else _single(neurons.alpha)
    lif = LIF(shape, _single(neurons.beta), _single(neurons.threshold), neurons.reset, alpha)
    if neurons.adaptation is None:
        return lif
    return replace(lif, adaptation=Adaptation(*map(_single, neurons.adaptation)))


def _single(value: float | np.ndarray) -> np.ndarray:
    """Return float64 numbers that are float32 numbers, so that training in float32 begins from just these."""
    return np.asarray(value, np.float32).astype(np.float64)


def _unfit(arch: str, what: str, why: str) -> Finding:
    return Finding("ND071", f"--arch {arch}", what, why, "describe the hidden layers as 128-64, 128r or 12C5-P2-32C5")
