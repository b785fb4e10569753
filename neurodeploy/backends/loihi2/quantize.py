"""A lowered `Network` into Loihi's integers: one scale per population, every rounding measured and recorded.

A membrane unit becomes `scale` state units, so that weight w, threshold theta and bias b of one population turn into

    mantissa = round(w x scale / 2^(1 + exponent))      |mantissa| <= 127
    vth      = round(theta scale)                       vth < 2^17, floor alike
    bias     = round(b scale 2^6)                       13-bit mantissa, 3-bit exponent

with x the real value of one input payload (1 for spikes). The scale is the largest whose worst case stays inside the
24-bit states: the current must never wrap; the membrane, which saturates, should not. See `choose_scale`.

A population whose source counted in integers already (`LIF.grid`) has no scale to choose: its integers are kept, all of
them, or refused. Nothing is recorded for it, since its states round, saturate and wrap as they did for the source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf, log2

import numpy as np

from neurodeploy.backends.feeds import Feed, LinearMap, Sent, feeds_of, stored, total_bias, weights_of, worst_case
from neurodeploy.backends.loihi2 import rules
from neurodeploy.backends.structure import latencies
from neurodeploy.engine.real import Ranges
from neurodeploy.errors import Change, Deviation, Finding, UnsupportedError, raise_all
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, InputKind
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_MAX,
    STATE_SHIFT,
    InputPort,
    Neuron,
    Population,
    Program,
    Projection,
    Synapses,
)

MANTISSA_MAX = 127
"""Signed 8-bit weights, kept symmetric where we round."""
MANTISSA_MIN = -128
"""The one more that a source may have used."""
VTH_MAX = (1 << 17) - 1
FLOOR_MAX = STATE_MAX >> STATE_SHIFT
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
NOT_KEPT = ("ND201", "ND202", "ND203", "ND204", "ND207")
"""What is recorded where an integer of the source had to change; the other codes are about the range of states."""
KEPT = 1e-9
"""How far an integer may be from itself after it was divided by its scale and multiplied by it again."""
CALIBRATION_MARGIN = 2.0
"""Headroom over what was seen on calibration data: spikes of a step; the membrane, if its worst case is too much."""
USUAL_MOST = 15
"""Spikes of a neuron in a step when there are no calibration data: 4 bits of payload."""
MOST_SPIKES = 255
CHANGE_MAX = 1 << 18
"""The largest payload of a sigma-delta neuron: two 24-bit states apart, six bits cut off."""


def quantize(network: Network, ranges: dict[str, Ranges] | None = None) -> Program:
    """Return the program that does in Loihi's integers what the lowered `network` does in real numbers.

    Args:
        ranges: the largest current and membrane each population reached on calibration data, or None.

    Raises:
        UnsupportedError: every finding of `rules.check`, and ND211 for a population no scale can hold.
    """
    raise_all(UnsupportedError, rules.check(network))
    port = input_port(network)
    latency = latencies(network)
    most = {name: _most_spikes(node, ranges[name] if ranges else None) for name, node in network.populations.items()}
    sent = {name: Sent(0.0, float(spikes)) for name, spikes in most.items()}
    populations, projections, deviations, findings = [], [], _input_deviations(port), []
    for name, node in network.populations.items():
        feeds = feeds_of(network, name, port, sent)
        bias = total_bias(node, feeds)
        units = _units(network, name, feeds, bias, most[name], ranges)
        if isinstance(units, Finding):
            findings.append(units)
            continue
        scale, shift, room = units
        deviations += room
        recorded = _most_deviation(network, name, most[name], ranges)
        neuron, rounding = _neuron(network, name, node, bias, scale, most[name])
        neuron = replace(neuron, activation_shift=shift)
        neuron, sending = _sending(network, name, neuron, scale, worst_case(node, feeds, bias)[1], ranges)
        recorded += rounding + sending
        populations.append(Population(name, node.shape, neuron, latency[name], scale))
        if node.firing.says_value:
            payload = populations[-1].payload
            sent[name] = Sent(-neuron.most * payload, neuron.most * payload, payload)
        for feed in feeds:
            projection, rounding = _projection(network, feed, populations[-1], node.grid is not None)
            projections.append(projection)
            recorded += rounding
        if node.grid is None:
            deviations += recorded
        else:
            changed = (each for each in recorded if each.code in NOT_KEPT and (each.bound or 0) > KEPT)
            findings += [_not_kept(each, node.grid) for each in changed]
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
    if node.grid is not None:
        return _graded_port(network, node.grid)
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
    chosen = choose_scale(node, feeds, total_bias(node, feeds), None)
    kernels = [feed.largest for feed in feeds if isinstance(feed.node, Conv)]
    return chosen is not None and all(chosen[0] * k >= 2 * MANTISSA_MAX * (1 - 1e-9) for k in kernels)


# ranges and the scale


@dataclass(frozen=True)
class Headroom:
    """Worst cases in membrane units, and whether the membrane's fits the 24-bit state."""

    current: float
    voltage: float
    safe: bool


def _units(
    network: Network, name: str, feeds: list[Feed], bias: np.ndarray, most: int, ranges: dict[str, Ranges] | None
) -> tuple[float, int, list[Deviation]] | Finding:
    """Return a population's scale, its activations' shift in bits, and what to record of the room its states have.

    Where no scale will do, it is what stands against it.
    """
    node = network.populations[name]
    if node.grid is not None:
        scale, shift = _kept_units(node, node.grid, feeds)
        if shift < 0:
            return _no_common_unit(network, name)
        return scale, shift, _room_deviation(network, name, scale, max(worst_case(node, feeds, bias)), ranges)
    chosen = choose_scale(node, feeds, bias, ranges[name] if ranges else None, most)
    if chosen is None:
        return _no_scale(network, name)
    return chosen[0], STATE_SHIFT, _headroom_deviation(network, name, *chosen, ranges)


def _kept_units(node: LIF, grid: float, feeds: list[Feed]) -> tuple[float, int]:
    """Return the scale of a population that keeps its source's integers, and by how many bits activations are shifted.

    Its weights count in `grid`, and so do activations, but those of changes in as much finer steps as their payloads.
    States count in 64ths of `grid`, or of the payload of sigma-delta neurons. Where no shift makes such states of
    activations, it is negative.
    """
    read = min((feed.payload for feed in feeds if feed.changes), default=1.0)
    scale = 1 / (grid if node.payload is None else node.payload)
    shift = STATE_SHIFT + round(log2(grid * read * scale))
    return scale, shift if abs(2.0 ** (shift - STATE_SHIFT) - grid * read * scale) < KEPT * grid * read * scale else -1


def _most_spikes(node: LIF, ranges: Ranges | None) -> int:
    """Return how many spikes a neuron may send in a step: twice those seen, rounded up to a whole number of bits."""
    if node.firing is not Firing.MULTIPLE:
        return 1
    wanted = USUAL_MOST if ranges is None else ceil(CALIBRATION_MARGIN * ranges.spikes)
    return min(MOST_SPIKES, (1 << max(1, wanted.bit_length())) - 1)


def choose_scale(
    node: LIF, feeds: list[Feed], bias: np.ndarray, ranges: Ranges | None, most: int = 1
) -> tuple[float, Headroom] | None:
    """Return (scale, headroom) for one population, or None when its numbers fit at no weight exponent.

    Candidates use the full mantissa of the strongest map at each exponent. Hard limits are the threshold's 17 bits, the
    bias's 13 + 3, each map's exponent range and a current that cannot wrap. Among those that pass, take the largest
    scale whose worst-case membrane fits; failing that the largest that leaves `CALIBRATION_MARGIN` over the calibrated
    membrane; failing that the smallest fine one. Without the worst case the headroom is unsafe and gets recorded.
    """
    current, voltage = worst_case(node, feeds, bias, MANTISSA_MAX, most)
    strongest = max((feed.largest for feed in feeds), default=0.0) or 1.0
    silent = node.firing is Firing.VALUE
    theta, largest_bias = 0.0 if silent else float(node.threshold.max()), float(np.abs(bias).max(initial=0))
    ceiling = min(
        VTH_MAX / theta if theta else inf,
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


# the integers


def _neuron(
    network: Network, name: str, node: LIF, bias: np.ndarray, scale: float, most: int
) -> tuple[Neuron, list[Deviation]]:
    """Round one population's parameters; the deviations say by how much."""
    least = 0 if node.payload is not None else 1
    dv = _integers(DECAY_ONE * (1 - _flat(node.beta)), 0, DECAY_ONE - least)
    alpha = np.zeros(()) if node.alpha is None else _flat(node.alpha)
    du = _integers(DECAY_ONE * (1 - alpha), least, DECAY_ONE)
    vth = _integers(_flat(node.threshold) * scale, least, VTH_MAX)
    bias_units = bias * scale * (1 << STATE_SHIFT)
    largest = float(np.abs(bias_units).max(initial=0))
    exponent = max(0, ceil(log2(largest / BIAS_MANTISSA_MAX))) if largest > BIAS_MANTISSA_MAX else 0
    exponent = exponent if node.grid is None else STATE_SHIFT + round(log2(node.grid * scale))
    mantissa = _integers(bias_units / 2**exponent, -BIAS_MANTISSA_MAX, BIAS_MANTISSA_MAX)
    lowest = np.zeros(()) if node.floor is None else _flat(node.floor)
    floor = None if node.floor is None else _integers(lowest * scale, -FLOOR_MAX, 0)
    in_current = node.alpha is not None and node.bias is None
    neuron = Neuron(du, dv, vth, mantissa, exponent, node.reset, in_current, node.firing, floor, most)
    errors = (
        ("ND202", "membrane decay", np.abs((DECAY_ONE - dv) / DECAY_ONE - _flat(node.beta)), "fraction per step"),
        ("ND202", "current decay", np.abs((DECAY_ONE - du) / DECAY_ONE - alpha), "fraction per step"),
        ("ND203", "threshold", np.abs(vth / scale - _flat(node.threshold)), "membrane units"),
        ("ND203", "floor", np.abs((0 if floor is None else floor) / scale - lowest), "membrane units"),
        ("ND204", "bias", np.abs((mantissa << exponent) / (scale * (1 << STATE_SHIFT)) - bias), "membrane units"),
        ("ND206", "state", np.array(1 / (scale * (1 << STATE_SHIFT))), "membrane units per step"),
    )
    place = network.place(name)
    return neuron, [
        Deviation(code, place, f"{what} rounded", Change.ROUNDING, float(error.max(initial=0)), unit)
        for code, what, error, unit in errors
        if error.max(initial=0) > 0 and not (what == "threshold" and node.firing is Firing.VALUE)
    ]


def _sending(
    network: Network, name: str, neuron: Neuron, scale: float, worst: float, ranges: dict[str, Ranges] | None
) -> tuple[Neuron, list[Deviation]]:
    """Say in what steps neurons that never spike send their membrane, all its bits where nobody reads it, or changes.

    Args:
        worst: bound of |membrane| in membrane units.
    """
    if neuron.firing.tells_changes:
        return replace(neuron, most=CHANGE_MAX, payload_shift=STATE_SHIFT), []
    if neuron.firing is not Firing.VALUE:
        return neuron, []
    if not network.outgoing(name):
        return replace(neuron, most=STATE_MAX), []
    reach = min(worst, CALIBRATION_MARGIN * ranges[name].voltage) if ranges else worst
    units = min(float(STATE_MAX), max(1.0, reach * scale * (1 << STATE_SHIFT)))
    shift = max(0, ceil(log2(units / MOST_SPIKES)))
    payload = 2.0**shift / (scale * (1 << STATE_SHIFT))
    seen = f"{ranges[name].voltage:.3g} reached on calibration data" if ranges else "no calibration data given"
    what = f"membranes sent in steps of {payload:.3g}, up to {MOST_SPIKES * payload:.3g}; {seen}"
    deviation = Deviation("ND217", network.place(name), what, Change.ROUNDING, payload, "membrane units")
    return replace(neuron, most=MOST_SPIKES, payload_shift=shift), [deviation]


def _integers(values: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), low, high), np.int32)


def _flat(parameter: np.ndarray) -> np.ndarray:
    return parameter.reshape(-1) if parameter.ndim else parameter


def _projection(network: Network, feed: Feed, target: Population, kept: bool) -> tuple[Projection, list[Deviation]]:
    """Round one map's weights to mantissas at the smallest exponent that holds the largest of them."""
    least = MANTISSA_MIN if kept else -MANTISSA_MAX
    units = feed.payload * target.scale * 2.0 ** (STATE_SHIFT - target.loihi.activation_shift)
    exponent = 0 if isinstance(feed.node, Conv) else _exponent(weights_of(feed.node) * units, least)
    unit = 2.0 ** (1 + exponent) / units
    synapses, error = _round(feed.node, unit, least)
    place = network.place(feed.name)
    deviations = [Deviation("ND201", place, "weights rounded to 8 bits", Change.ROUNDING, error, "weight")]
    if exponent < 0 and np.any(2 * synapses.mantissa.astype(np.int32) % (1 << -exponent)):
        what = f"sums shifted right by {-exponent} bits"
        deviations.append(Deviation("ND207", place, what, Change.ROUNDING, 1 / target.scale, "membrane units per step"))
    projection = Projection(feed.name, feed.source, target.name, synapses, exponent, feed.recurrent)
    return projection, deviations if error else deviations[1:]


def _exponent(units: np.ndarray, least: int) -> int:
    """Return the smallest exponent at which twice a mantissa from `least` to 127 holds every weight of `units`."""
    largest = max(float(units.max(initial=0)) / MANTISSA_MAX, float(units.min(initial=0)) / least)
    return max(min(EXPONENTS), ceil(log2(largest / 2) - 1e-9)) if largest else 0


def _round(node: LinearMap, unit: float, least: int) -> tuple[Synapses, float]:
    """Return the synapses of `node` in mantissas of `unit`, and the largest error in real weight."""
    weights = weights_of(node)
    mantissa = np.clip(np.rint(weights / unit), least, MANTISSA_MAX).astype(np.int8)
    return stored(node, mantissa), float(np.abs(mantissa * unit - weights).max(initial=0))


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


def _room_deviation(
    network: Network, name: str, scale: float, worst: float, ranges: dict[str, Ranges] | None
) -> list[Deviation]:
    """Say of sigma-delta neurons, whose source has wider states, when theirs may not be wide enough."""
    room = STATE_MAX / (1 << STATE_SHIFT) / scale
    reached = max(ranges[name].current, ranges[name].voltage) if ranges else inf
    if network.populations[name].payload is None or min(worst, CALIBRATION_MARGIN * reached) <= room:
        return []
    seen = f"{reached:.3g} reached on calibration data" if ranges else "no calibration data given"
    what = f"states hold up to {room:.3g} membrane units, and nothing bounds a sum of changes; {seen}"
    return [Deviation("ND210", network.place(name), what, Change.ROUNDING)]


def _most_deviation(network: Network, name: str, most: int, ranges: dict[str, Ranges] | None) -> list[Deviation]:
    if network.populations[name].firing is not Firing.MULTIPLE:
        return []
    seen = f"{ranges[name].spikes} reached on calibration data" if ranges else "no calibration data given"
    return [Deviation("ND216", network.place(name), f"at most {most} spikes a step; {seen}", Change.ROUNDING)]


def _not_kept(rounded: Deviation, grid: float) -> Finding:
    return Finding(
        "ND215",
        rounded.place,
        f"{rounded.what}, by up to {rounded.bound:.3g} {rounded.unit}",
        f"its source counts in whole steps of {grid:g}, and Loihi keeps such integers only where weights are even and "
        "from -256 to 254 (or, but for kernels, whole and at most 127), thresholds have 17 bits, biases 13, decays 12",
        "train and export it again within these numbers",
    )


def _no_common_unit(network: Network, name: str) -> Finding:
    what, why = "its states are no power of two finer than what it reads", "activations are shifted into states by bits"
    fix = "have one payload in all of the network, a power of two of its grid"
    return Finding("ND215", network.place(name), what, why, fix)


def _no_scale(network: Network, name: str) -> Finding:
    return Finding(
        "ND211",
        network.place(name),
        "its numbers fit at no weight exponent",
        "the threshold has 17 bits, the current 24 and the bias 13 + 3, and its weights span more than they can hold",
        "train with weight decay, or bring thresholds, biases and weights of this layer closer together",
    )
