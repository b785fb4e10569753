"""The vocabulary of meaning: every node a `Network` may hold, each with its equation.

Shapes exclude step and sample; arrays are float64 unless said otherwise; x(t) is a node's input at step t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod

import numpy as np

Shape = tuple[int, ...]
Pair = tuple[int, int]


class Reset(StrEnum):
    """What a spike does to the membrane. R(t) is what v(t-1) fires, [v(t-1) > threshold]: the spike of the step before.

    Sources differ in *when* they reset, and that decides which inputs survive; each reset here is one exact rule.
    """

    NONE = "none"
    """v(t) = beta v(t-1) + i(t), whatever was fired."""
    ZERO = "zero"
    """v <- 0 in the step of the spike. snnTorch's Leaky "zero" fires the same spikes, and every undelayed "zero"."""
    ZERO_NEXT_STEP = "zero_next_step"
    """v(t) = (1 - R)(beta v(t-1) + i(t)): the step after a spike drops its input. Synaptic, RLeaky, Lapicque."""
    SUBTRACT_NEXT_STEP = "subtract_next_step"
    """v(t) = beta v(t-1) + i(t) - R threshold: late and not decayed. snnTorch's default."""
    SUBTRACT = "subtract"
    """v <- v - threshold in the step of the spike, as snnTorch does with reset_delay=False: while v(t-1) is still above
    threshold, the step fires only beyond twice the threshold."""
    SUBTRACT_AT_ONCE = "subtract_at_once"
    """v <- v - s threshold in the step of the spike, whatever was left before. sinabs, SpikingJelly."""


class Firing(StrEnum):
    """How many spikes a membrane sends in one step."""

    ABOVE = "above"
    """s = [v > threshold]."""
    REACHED = "reached"
    """s = [v >= threshold]. SpikingJelly, sinabs."""
    MULTIPLE = "multiple"
    """s = trunc(v / threshold) where v is positive, one graded spike of that value. sinabs' MultiSpike."""
    VALUE = "value"
    """s = v in every step, a graded spike: a leaky integrator that is read as it is. NIR's LI, CubaLI and I, Lava's
    Sigma."""
    DELTA = "delta"
    """Changes of v: with d = v - told, s = floor(d / payload) payload where |d| >= threshold, told becomes v there and
    stays as it is elsewhere, from 0 on. What the rounding drops is never sent. Lava's Delta."""
    DELTA_RELU = "delta_relu"
    """Changes of max(v, 0), otherwise as DELTA. Lava's SigmaDelta."""

    @property
    def graded(self) -> bool:
        """Whether a spike carries a number."""
        return self not in (Firing.ABOVE, Firing.REACHED)

    @property
    def says_value(self) -> bool:
        """Whether that number is a membrane's value, in every step or in changes, in membrane units."""
        return self is Firing.VALUE or self.tells_changes

    @property
    def tells_changes(self) -> bool:
        """Whether what was sent must be added up to know a value."""
        return self in (Firing.DELTA, Firing.DELTA_RELU)


class InputKind(StrEnum):
    """What the input carries: binary spikes, or real values injected as graded spikes."""

    SPIKES = "spikes"
    GRADED = "graded"


@dataclass(frozen=True)
class Input:
    """Where samples enter: x(t) of `shape`, values within [low, high].

    `levels` is the number of equal steps from 0 to `high` when every value seen lies on such a grid, otherwise None.
    `grid`: the source itself rounds what enters to whole multiples of this; None where it does not.
    """

    shape: Shape
    kind: InputKind
    low: float = 0.0
    high: float = 1.0
    levels: int | None = None
    grid: float | None = None


MAX_LEVELS = 255
"""The finest grid that input values are looked for on: 8 bits."""
ON_GRID = 1e-6
"""How far from a level a value may be, relative to the largest: single precision."""


def grid_levels(values: np.ndarray, high: float) -> int | None:
    """Return the smallest number of equal steps from 0 to `high` on which every value lies, up to 255, or None."""
    if high <= 0 or not np.any(values):
        return None
    fractions = np.unique(np.asarray(values, np.float64)) / high
    for levels in range(1, MAX_LEVELS + 1):
        if np.all(np.abs(fractions - np.round(fractions * levels) / levels) <= ON_GRID):
            return levels
    return None


@dataclass(frozen=True, eq=False)
class Linear:
    """y = W x + b; weight (post, pre), bias (post,) or None."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    @property
    def shape(self) -> Shape:
        return (self.weight.shape[0],)


@dataclass(frozen=True, eq=False)
class SparseLinear:
    """y = W x + b with W in compressed rows: W[i, indices[k]] = data[k] for indptr[i] <= k < indptr[i+1].

    What remains of a chain of linear layers that no kernel can express. Input and output are read flat, in C order.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    input_shape: Shape
    shape: Shape
    bias: np.ndarray | None = None


def _window_positions(space: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Shape:
    """Return along each axis how many places a window has, as PyTorch counts them (rounded down)."""
    axes = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)


@dataclass(frozen=True, eq=False)
class Conv:
    """Cross-correlation with zero padding, as torch.nn.Conv1d and Conv2d.

    weight (out, in / groups, *kernel), bias (out,) or None, input_shape (in, *space).
    """

    weight: np.ndarray
    input_shape: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1
    bias: np.ndarray | None = None

    @property
    def shape(self) -> Shape:
        kernel = self.weight.shape[2:]
        return (
            self.weight.shape[0],
            *_window_positions(self.input_shape[1:], kernel, self.stride, self.padding, self.dilation),
        )


@dataclass(frozen=True)
class AveragePool:
    """Mean over windows, padding counted as zeros: torch.nn.AvgPool2d by default; input_shape (channel, *space)."""

    input_shape: Shape
    kernel: Shape
    stride: Shape
    padding: Shape

    @property
    def shape(self) -> Shape:
        positions = _window_positions(
            self.input_shape[1:], self.kernel, self.stride, self.padding, (1,) * len(self.kernel)
        )
        return (self.input_shape[0], *positions)


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows, padding ignored, as torch.nn.MaxPool2d; on single spikes it is a logical or."""

    input_shape: Shape
    kernel: Shape
    stride: Shape
    padding: Shape

    @property
    def shape(self) -> Shape:
        positions = _window_positions(
            self.input_shape[1:], self.kernel, self.stride, self.padding, (1,) * len(self.kernel)
        )
        return (self.input_shape[0], *positions)


@dataclass(frozen=True)
class Reshape:
    """The same values in C order under another shape: Flatten and Unflatten."""

    input_shape: Shape
    shape: Shape


@dataclass(frozen=True, eq=False)
class Scale:
    """y = weight x + bias per channel (first axis): BatchNorm in evaluation mode."""

    weight: np.ndarray
    bias: np.ndarray
    shape: Shape


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A threshold that rises with every spike and falls back: ALIF, Bellec et al. 2020.

        a(t) = decay a(t-1) + s(t-1)            s(t) = [v(t) > threshold + strength a(t)]

    decay, strength: float64, () or the population's shape. The reset still subtracts the plain threshold.
    """

    decay: np.ndarray
    strength: np.ndarray


@dataclass(frozen=True, eq=False)
class LIF:
    """A leaky integrate-and-fire population, with a synaptic current when `alpha` is given.

        i(t) = alpha i(t-1) + gain x(t)         or  i(t) = gain x(t)  without alpha
        v(t) = beta v(t-1) + i(t) [+ bias]      then the reset rule of `reset`
        s(t) = [v(t) > threshold]               or what else `firing` says; of VALUE, a threshold says nothing
        v(t) <- max(v(t), floor)                at the end of the step, with `floor`

    beta, alpha, threshold, gain, floor, bias: float64, () or `shape`. Dimensionless membrane units; one step is the
    network's dt_s; a floor is at most 0. The biases of maps are part of x(t) and pass through the current, this one
    does not. alpha = 1 and beta = 0 make a sigma neuron, whose current adds up what it reads.

    `grid`: the source counts in integers, and its threshold, weights and biases are whole multiples of this many
    membrane units. A target that counts as the source does keeps unit and integers; None leaves it the choice.

    `payload`: of neurons that say values in their source's integers, what a message of 1 is in membrane units; states
    count in 64ths of it.
    """

    shape: Shape
    beta: np.ndarray
    threshold: np.ndarray
    reset: Reset
    alpha: np.ndarray | None = None
    gain: np.ndarray | None = None
    adaptation: Adaptation | None = None
    grid: float | None = None
    firing: Firing = Firing.ABOVE
    floor: np.ndarray | None = None
    bias: np.ndarray | None = None
    payload: float | None = None

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def beyond_plain(self) -> str | None:
        """What this neuron does that one that fires once above its threshold, with no floor, does not; or None."""
        if self.firing is not Firing.ABOVE:
            return f"firing {self.firing.value}"
        if self.floor is not None:
            return "a floor under the membrane"
        if self.bias is not None:
            return "a bias that passes no current"
        return f"reset {self.reset.value}" if self.reset is Reset.SUBTRACT_AT_ONCE else None

    @property
    def spike_type(self) -> type[np.generic]:
        """The type that holds what a neuron sends in a step."""
        return np.float64 if self.firing.graded else np.uint8


Map = Linear | SparseLinear | Conv | AveragePool | Reshape | Scale
"""The nodes without state that are linear in their input."""

Node = Input | Map | MaxPool | LIF


def without_bias(node: Node) -> Node:
    """Return the linear part of `node`."""
    match node:
        case Linear() | SparseLinear() | Conv():
            return replace(node, bias=None)
        case Scale(bias=bias):
            return replace(node, bias=np.zeros_like(bias))
    return node
