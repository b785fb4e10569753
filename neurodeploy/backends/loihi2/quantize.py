"""A lowered `Network` into Loihi's integers: one scale per population, every rounding measured and recorded.

A membrane unit becomes `scale` state units, so that weight w, threshold theta and bias b of one population turn into

    mantissa = round(w x scale / 2^(1 + exponent))      |mantissa| <= 127
    vth      = round(theta scale)                       vth < 2^17
    bias     = round(b scale 2^6)                       13-bit mantissa, 3-bit exponent

with x the real value of one input payload (1 for spikes). The scale is the largest whose worst case stays inside the
24-bit states: the current must never wrap; the membrane, which saturates, should not. See `choose_scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log2, prod

import numpy as np

from neurodeploy.backends.loihi2 import rules
from neurodeploy.engine.real import Ranges
from neurodeploy.errors import Change, Deviation, Finding, UnsupportedError, raise_all
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, ON_GRID, Conv, Input, InputKind, Linear, SparseLinear
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_MAX,
    STATE_SHIFT,
    ConvSynapses,
    DenseSynapses,
    InputPort,
    Neuron,
    Population,
    Program,
    Projection,
    SparseSynapses,
    Synapses,
)

MANTISSA_MAX = 127
"""Signed 8-bit weights, kept symmetric."""
VTH_MAX = (1 << 17) - 1
BIAS_MANTISSA_MAX = 4095
BIAS_EXPONENT_MAX = 7
CURRENT_MAX = STATE_MAX - (2 << STATE_SHIFT)
"""Worst-case currents stay this far inside, so that flooring shifts and rounded decays cannot carry them over."""
EXPONENTS = range(7, -9, -1)
"""Loihi's weight exponents, from the finest state resolution to the coarsest."""
PAYLOAD_LEVELS = (255, 191, 127, 95, 63, 47, 31, 23, 15)
"""Steps that input values are rounded to, from 8 bits to 4, unless they lie on a grid already."""
FINE_THRESHOLD = 2000
"""With a threshold of this many units, the flooring shift of a negative exponent loses under 0.05 % of it per step."""
CALIBRATION_MARGIN = 2.0
"""Headroom over the membrane seen on calibration data, when the worst case cannot be afforded."""
SPARSE_BELOW = 0.5
"""A Linear with a smaller share of nonzero weights is stored as sparse synapses."""

LinearMap = Linear | SparseLinear | Conv


@dataclass(frozen=True, eq=False)
class Feed:
    """One map into a population, seen from the population: what it reads and how much it can deliver.

    `payload` is the real value of one input payload, (low, high) the real range of what it reads.
    """

    name: str
    source: str
    node: LinearMap
    recurrent: bool
    payload: float
    low: float
    high: float

    @property
    def largest(self) -> float:
        """The largest |weight| times payload; 0 for a map of zeros."""
        weights = self.node.data if isinstance(self.node, SparseLinear) else self.node.weight
        return float(np.abs(weights).max(initial=0)) * self.payload

    @property
    def rounding(self) -> float:
        """A bound of what rounding its weights can add to one neuron's input, in membrane units.

        A mantissa is off by at most half a unit, and a unit is at most 2 / 127 of the largest weight.
        """
        match self.node:
            case SparseLinear(_, _, indptr):
                fan_in = int(np.diff(indptr).max(initial=0))
            case _:
                fan_in = prod(self.node.weight.shape[1:])
        return fan_in * max(abs(self.low), abs(self.high)) / self.payload * self.largest / MANTISSA_MAX

    def reach(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the most each target neuron can receive, bias excluded, two arrays (post,)."""
        return _row_sums(self.node, self.low, self.high)


def quantize(network: Network, ranges: dict[str, Ranges] | None = None) -> Program:
    """Return the program that does in Loihi's integers what the lowered `network` does in real numbers.

    Args:
        ranges: the largest current and membrane each population reached on calibration data, or None.

    Raises:
        UnsupportedError: every finding of `rules.check`, and ND211 for a population no scale can hold.
    """
    raise_all(UnsupportedError, rules.check(network))
    port = input_port(network)
    latency = rules.latencies(network)
    populations, projections, deviations, findings = [], [], _input_deviations(port), []
    for name, node in network.populations.items():
        feeds = feeds_of(network, name, port)
        bias = _total_bias(node, feeds)
        chosen = choose_scale(node, feeds, bias, ranges[name] if ranges else None)
        if chosen is None:
            findings.append(_no_scale(network, name))
            continue
        scale, headroom = chosen
        deviations += _headroom_deviation(network, name, scale, headroom, ranges)
        neuron, rounding = _neuron(network, name, node, bias, scale)
        deviations += rounding
        populations.append(Population(name, node.shape, neuron, latency[name], scale))
        for feed in feeds:
            projection, rounding = _projection(network, feed, name, scale)
            projections.append(projection)
            deviations += rounding
    raise_all(UnsupportedError, findings)
    return Program(
        port,
        tuple(populations),
        tuple(projections),
        network.output,
        network.readout,
        network.dt_s,
        network.encoding,
        (*network.deviations, *deviations),
    )


# the input


def input_port(network: Network) -> InputPort:
    """Choose the payloads: 1 for a spike, otherwise integer levels of the largest input value.

    Levels are those of the values' own grid when they lie on one, otherwise 8 bits, and fewer where a convolution reads
    the input: Lava's Conv has no weight exponent, so larger payloads would leave fewer bits to its weights.
    """
    node = network.input_node
    if node.kind is InputKind.SPIKES:
        return InputPort(network.input, node.shape, node.kind)
    largest = max(abs(node.low), abs(node.high), float(np.finfo(np.float32).tiny))
    own_grid = (node.high / node.levels,) if node.levels else ()
    for step in (*own_grid, *(largest / levels for levels in PAYLOAD_LEVELS)):
        port = _graded_port(network, step)
        if all(_keeps_weight_bits(network, name, port) for name in _readers(network)):
            break
    return port


def _graded_port(network: Network, step: float) -> InputPort:
    node = network.input_node
    low, high = int(np.floor(node.low / step + 1e-9)), int(np.ceil(node.high / step - 1e-9))
    bits = max(-low, high).bit_length()
    exact = node.levels is not None and round(node.high / step) % node.levels == 0
    return InputPort(network.input, node.shape, node.kind, step, bits, min(low, 0), max(high, 0), exact)


def _readers(network: Network) -> set[str]:
    """Return the populations that the input feeds."""
    maps = {edge.target for edge in network.outgoing(network.input)}
    return {edge.target for name in maps for edge in network.outgoing(name)}


def _keeps_weight_bits(network: Network, name: str, port: InputPort) -> bool:
    """Say whether population `name` finds a scale at which its convolutions use the whole mantissa."""
    node, feeds = network.populations[name], feeds_of(network, name, port)
    chosen = choose_scale(node, feeds, _total_bias(node, feeds), None)
    kernels = [feed.largest for feed in feeds if isinstance(feed.node, Conv)]
    return chosen is not None and all(chosen[0] * k >= 2 * MANTISSA_MAX * (1 - 1e-9) for k in kernels)


def _binary(inputs: np.ndarray) -> bool:
    """Say whether every value is 0 or 1; bytes, the common case, by their maximum alone."""
    if inputs.dtype in (bool, np.uint8):
        return inputs.size == 0 or int(inputs.max()) <= 1
    return bool(((inputs == 0) | (inputs == 1)).all())


def payloads(port: InputPort, inputs: np.ndarray) -> np.ndarray:
    """Return real inputs as the integers that enter the chip: uint8 spikes, int32 payloads; of the same shape.

    Raises:
        UnsupportedError: ND220 when spikes are not 0 or 1, ND221 when a value lies outside the range compiled for,
            ND222 when it lies between the levels of a grid compiled for.
    """
    if port.kind is InputKind.SPIKES:
        if not _binary(inputs):
            raise UnsupportedError(
                Finding(
                    "ND220",
                    f"input {port.name}",
                    f"values between {inputs.min():g} and {inputs.max():g}",
                    "the network was compiled for spikes, 0 or 1",
                    "encode the data as spikes, or save the model with an example_input of the real kind",
                )
            )
        return inputs.view(np.uint8) if inputs.dtype == bool else inputs.astype(np.uint8, copy=False)
    values = np.rint(np.asarray(inputs, np.float64) / port.scale)
    if not np.isfinite(values).all() or values.min(initial=0) < port.low or values.max(initial=0) > port.high:
        raise UnsupportedError(
            Finding(
                "ND221",
                f"input {port.name}",
                f"values between {inputs.min():g} and {inputs.max():g}",
                f"the network was compiled for {port.low * port.scale:g} to {port.high * port.scale:g}; "
                "larger currents could wrap",
                "compile with --calibration on data of this range",
            )
        )
    if port.exact and np.abs(values * port.scale - inputs).max(initial=0) > 2 * ON_GRID * port.high * port.scale:
        raise UnsupportedError(
            Finding(
                "ND222",
                f"input {port.name}",
                f"values between the {port.high} levels the network was compiled for",
                "its example_input had only these values, so no rounding of others was recorded",
                "compile with --calibration on data like these",
            )
        )
    return values.astype(np.int32)


# ranges and the scale


def feeds_of(network: Network, name: str, port: InputPort) -> list[Feed]:
    """Return every map into population `name` of a lowered network."""
    feeds = []
    for edge in network.incoming(name):
        (entry,) = network.incoming(edge.source)
        node = network.nodes[edge.source]
        assert isinstance(node, LinearMap)
        graded = isinstance(network.nodes[entry.source], Input) and port.kind is InputKind.GRADED
        payload = port.scale if graded else 1.0
        low, high = (port.low * payload, port.high * payload) if graded else (0.0, 1.0)
        feeds.append(Feed(edge.source, entry.source, node, bool(entry.delay_steps), payload, low, high))
    return feeds


@dataclass(frozen=True)
class Headroom:
    """Worst cases in membrane units, and whether the membrane's fits the 24-bit state."""

    current: float
    voltage: float
    safe: bool


def choose_scale(
    node: LIF, feeds: list[Feed], bias: np.ndarray, ranges: Ranges | None
) -> tuple[float, Headroom] | None:
    """Return (scale, headroom) for one population, or None when its numbers fit at no weight exponent.

    Candidates use the full mantissa of the strongest map at each exponent. Hard limits are the threshold's 17 bits, the
    bias's 13 + 3, each map's exponent range and a current that cannot wrap. Among those that pass, take the largest
    scale whose worst-case membrane fits; failing that the largest that leaves `CALIBRATION_MARGIN` over the calibrated
    membrane; failing that the smallest fine one. Without the worst case the headroom is unsafe and gets recorded.
    """
    current, voltage = worst_case(node, feeds, bias)
    strongest = max((feed.largest for feed in feeds), default=0.0) or 1.0
    theta, largest_bias = float(node.threshold.max()), float(np.abs(bias).max(initial=0))
    ceiling = min(
        VTH_MAX / theta,
        (BIAS_MANTISSA_MAX << BIAS_EXPONENT_MAX) / (largest_bias * (1 << STATE_SHIFT)) if largest_bias else inf,
        CURRENT_MAX / (current * (1 << STATE_SHIFT)) if current else inf,
        *(2 * MANTISSA_MAX / feed.largest for feed in feeds if isinstance(feed.node, Conv) and feed.largest),
    )
    candidates = [2 * MANTISSA_MAX * 2.0**e / strongest for e in EXPONENTS]
    fitting = [s for s in candidates if s <= ceiling * (1 + 1e-12)]
    if not fitting:
        return None
    fine = [s for s in fitting if s * strongest >= 2 * MANTISSA_MAX * (1 - 1e-12) or s * theta >= FINE_THRESHOLD]
    fine = fine or fitting[:1]
    room = STATE_MAX / (1 << STATE_SHIFT)
    safe = [s for s in fine if s * voltage <= room]
    seen = [s for s in fine if ranges and s * ranges.voltage * CALIBRATION_MARGIN <= room]
    scale = (safe or seen or fine[-1:])[0]
    return scale, Headroom(current, voltage, bool(safe))


def worst_case(node: LIF, feeds: list[Feed], bias: np.ndarray) -> tuple[float, float]:
    """Return bounds of |current| and |membrane| in membrane units over all inputs; infinite where nothing leaks."""
    low, high = np.minimum(bias, 0.0), np.maximum(bias, 0.0)
    for feed in feeds:
        less, more = feed.reach()
        low, high = low + less - feed.rounding, high + more + feed.rounding
    down, up = float(-low.min(initial=0)), float(high.max(initial=0))
    down, up = (x / _forgetting(node.alpha) if x else 0.0 for x in (down, up))
    theta = float(node.threshold.max())
    leak = _forgetting(node.beta)
    falls = down / leak if down else 0.0
    rises = theta + up if "zero" in node.reset else (up / leak if up else 0.0)
    return max(down, up), max(falls + (theta if "subtract" in node.reset else 0.0), rises, theta)


def _forgetting(decay: np.ndarray | None) -> float:
    """Return 1 - decay of the slowest neuron, after rounding to 12 bits; a tiny number instead of 0."""
    return 1.0 if decay is None else max(1.0 - float(decay.max()), 1e-12)


def _row_sums(node: LinearMap, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
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


def _total_bias(node: LIF, feeds: list[Feed]) -> np.ndarray:
    """Return the sum of all maps' biases per neuron, (neuron,)."""
    total = np.zeros(node.size)
    for feed in feeds:
        if feed.node.bias is not None:
            per_channel = node.size // len(feed.node.bias)
            total += np.repeat(feed.node.bias, per_channel)
    return total


# the integers


def _neuron(network: Network, name: str, node: LIF, bias: np.ndarray, scale: float) -> tuple[Neuron, list[Deviation]]:
    """Round one population's parameters; the deviations say by how much."""
    dv = _integers(DECAY_ONE * (1 - _flat(node.beta)), 0, DECAY_ONE - 1)
    alpha = np.zeros(()) if node.alpha is None else _flat(node.alpha)
    du = _integers(DECAY_ONE * (1 - alpha), 1, DECAY_ONE)
    vth = _integers(_flat(node.threshold) * scale, 1, VTH_MAX)
    bias_units = bias * scale * (1 << STATE_SHIFT)
    largest = float(np.abs(bias_units).max(initial=0))
    exponent = max(0, ceil(log2(largest / BIAS_MANTISSA_MAX))) if largest > BIAS_MANTISSA_MAX else 0
    mantissa = _integers(bias_units / 2**exponent, -BIAS_MANTISSA_MAX, BIAS_MANTISSA_MAX)
    neuron = Neuron(du, dv, vth, mantissa, exponent, node.reset, node.alpha is not None)
    errors = (
        ("ND202", "membrane decay", np.abs((DECAY_ONE - dv) / DECAY_ONE - _flat(node.beta)), "fraction per step"),
        ("ND202", "current decay", np.abs((DECAY_ONE - du) / DECAY_ONE - alpha), "fraction per step"),
        ("ND203", "threshold", np.abs(vth / scale - _flat(node.threshold)), "membrane units"),
        ("ND204", "bias", np.abs((mantissa << exponent) / (scale * (1 << STATE_SHIFT)) - bias), "membrane units"),
        ("ND206", "state", np.array(1 / (scale * (1 << STATE_SHIFT))), "membrane units per step"),
    )
    place = network.place(name)
    return neuron, [
        Deviation(code, place, f"{what} rounded", Change.ROUNDING, float(error.max(initial=0)), unit)
        for code, what, error, unit in errors
        if error.max(initial=0) > 0
    ]


def _integers(values: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), low, high), np.int32)


def _flat(parameter: np.ndarray) -> np.ndarray:
    return parameter.reshape(-1) if parameter.ndim else parameter


def _projection(network: Network, feed: Feed, target: str, scale: float) -> tuple[Projection, list[Deviation]]:
    """Round one map's weights to mantissas at the smallest exponent that holds the largest of them."""
    exponent = 0
    if feed.largest and not isinstance(feed.node, Conv):
        exponent = max(min(EXPONENTS), ceil(log2(feed.largest * scale / (2 * MANTISSA_MAX)) - 1e-9))
    unit = 2.0 ** (1 + exponent) / (scale * feed.payload)
    synapses, error = _round(feed.node, unit)
    place = network.place(feed.name)
    deviations = [Deviation("ND201", place, "weights rounded to 8 bits", Change.ROUNDING, error, "weight")]
    if exponent < 0:
        what = f"sums shifted right by {-exponent} bits"
        deviations.append(Deviation("ND207", place, what, Change.ROUNDING, 1 / scale, "membrane units per step"))
    projection = Projection(feed.name, feed.source, target, synapses, exponent, feed.recurrent)
    return projection, deviations if error else deviations[1:]


def _round(node: LinearMap, unit: float) -> tuple[Synapses, float]:
    """Return the synapses of `node` in mantissas of `unit`, and the largest error in real weight."""
    weights = node.data if isinstance(node, SparseLinear) else node.weight
    mantissa = np.clip(np.rint(weights / unit), -MANTISSA_MAX, MANTISSA_MAX).astype(np.int8)
    error = float(np.abs(mantissa * unit - weights).max(initial=0))
    match node:
        case Linear(weight) if np.count_nonzero(weight) < SPARSE_BELOW * weight.size:
            rows, columns = np.nonzero(weight)
            indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weight)))]).astype(np.int64)
            return SparseSynapses(mantissa[rows, columns], columns.astype(np.int32), indptr), error
        case Linear():
            return DenseSynapses(mantissa), error
        case SparseLinear(_, indices, indptr):
            return SparseSynapses(mantissa, indices.astype(np.int32), indptr.astype(np.int64)), error
        case Conv():
            return _conv_synapses(node, mantissa), error
    raise TypeError(type(node).__name__)


def _conv_synapses(node: Conv, mantissa: np.ndarray) -> ConvSynapses:
    """Return a Conv1d or Conv2d as two-dimensional synapses; one spatial axis becomes x, with y of length 1."""
    if mantissa.ndim == 3:
        plane = (node.input_shape[0], 1, node.input_shape[1]), (node.shape[0], 1, node.shape[1])
        pairs = ((1, *node.stride), (0, *node.padding), (1, *node.dilation))
        return ConvSynapses(mantissa[:, :, None, :], *plane, *pairs, node.groups)
    return ConvSynapses(mantissa, node.input_shape, node.shape, node.stride, node.padding, node.dilation, node.groups)


# what gets recorded


def _input_deviations(port: InputPort) -> list[Deviation]:
    if port.exact:
        return []
    what = f"values rounded to payloads of {port.bits} bits"
    return [Deviation("ND205", f"input {port.name}", what, Change.ROUNDING, port.scale / 2, "input value")]


def _headroom_deviation(
    network: Network, name: str, scale: float, headroom: Headroom, ranges: dict[str, Ranges] | None
) -> list[Deviation]:
    if headroom.safe:
        return []
    room = STATE_MAX / (1 << STATE_SHIFT) / scale
    seen = f"{ranges[name].voltage:.3g} reached on calibration data" if ranges else "no calibration data given"
    what = f"the membrane saturates at {room:.3g} membrane units; worst case {headroom.voltage:.3g}, {seen}"
    return [Deviation("ND210", network.place(name), what, Change.ROUNDING, headroom.voltage, "membrane units")]


def _no_scale(network: Network, name: str) -> Finding:
    return Finding(
        "ND211",
        network.place(name),
        "its numbers fit at no weight exponent",
        "the threshold has 17 bits, the current 24 and the bias 13 + 3, and its weights span more than they can hold",
        "train with weight decay, or bring thresholds, biases and weights of this layer closer together",
    )
