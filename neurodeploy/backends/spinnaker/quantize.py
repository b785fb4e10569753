"""A lowered `Network` into SpiNNaker's numbers: 16-bit weights, s16.15 constants, every rounding measured and recorded.

A membrane unit becomes `scale` millivolts, a power of two, so that weight w, threshold theta and bias b turn into

    mantissa = round(w scale / 2^exponent)       |mantissa| < 2^16, one exponent per population and kind of synapse
    theta    = round(theta scale 2^15)           in s16.15, as beta is
    alpha    = round(alpha 2^32)

where cells fire above theta; of neurons that fire at their threshold it is the number below, which is the same for
membranes on the machine's grid and recorded as rounded.

and biases into mantissas as weights do: they come from a source that fires in every step.

The machine adds up a step's weights of one kind in 16 bits, which saturate. An exponent is therefore the smallest at
which everything that can arrive in one step fits, so that nothing ever does; the scale is the largest whose worst case
leaves the membrane two bits below the 16 it has before the point, and one bit to what it is drawn to: a step's current
over (1 - beta), which the machine computes on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log2

import numpy as np

from neurodeploy.backends.feeds import Feed, feeds_of, stored, total_bias, weights_of, worst_case
from neurodeploy.backends.spinnaker import rules
from neurodeploy.backends.structure import latencies
from neurodeploy.engine.real import Ranges
from neurodeploy.errors import Change, Deviation, UnsupportedError, raise_all
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Firing
from neurodeploy.ir.program import S1615, U032, Cell, InputPort, Population, Program, Projection

MANTISSA_MAX = (1 << 16) - 1
"""Weights, and what arrives of one kind in a step, are unsigned and have 16 bits."""
MEMBRANE_MAX = 2.0**14
"""mV; s16.15 ends at 2^16, and the machine's intermediate values reach past the membrane."""
DRAWN_MAX = 2.0**15
"""mV to which a current may draw the membrane: their difference is computed too."""
SUMMED = 1e-9
"""Relative error of a worst case, which is a sum of many numbers."""
FINE_THRESHOLD = 2048
"""Units of 2^-15 mV a threshold has at least, whatever the worst case of a membrane that hardly leaks."""
EXPONENT_MIN = -15
"""The finest weight is the finest s16.15."""


@dataclass(frozen=True)
class WeightFormat:
    """How weights are held: in `bits`, with a sign and one exponent of all, or unsigned with one of each kind.

    What is unsigned is also summed in as many bits; what has a sign is not.
    """

    bits: int
    signed: bool


UNSIGNED_16 = WeightFormat(16, signed=False)


def quantize(network: Network, ranges: dict[str, Ranges] | None = None, weights: WeightFormat = UNSIGNED_16) -> Program:
    """Return the program that does in SpiNNaker's numbers what the lowered `network` does in real numbers.

    Args:
        ranges: not needed: the worst case over all inputs decides.

    Raises:
        UnsupportedError: every finding of `rules.check`.
    """
    raise_all(UnsupportedError, rules.check(network))
    port = InputPort(network.input, network.input_node.shape, network.input_node.kind)
    latency = latencies(network)
    populations, projections, deviations = [], [], []
    for name, node in network.populations.items():
        feeds = feeds_of(network, name, port)
        bias = total_bias(node, feeds)
        scale, room = choose_scale(node, feeds, bias)
        deviations += _room_deviation(network, name, room)
        cell = _cell(node, bias, scale, _exponents(feeds, bias, scale, weights))
        populations.append(Population(name, node.shape, cell, latency[name], scale))
        deviations += _cell_deviations(network, name, node, bias, populations[-1])
        for feed in feeds:
            mantissa = _mantissas(weights_of(feed.node) * scale, cell.exponents)
            projections.append(Projection(feed.name, feed.source, name, stored(feed.node, mantissa), 0, feed.recurrent))
            deviations += _weight_deviation(network, feed, mantissa, cell, scale, weights.bits)
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


def choose_scale(node: LIF, feeds: list[Feed], bias: np.ndarray) -> tuple[float, float]:
    """Return the scale in mV per membrane unit, a power of two, and the worst case in mV, in terms of the membrane."""
    current, voltage = worst_case(node, feeds, bias)
    drawn_to = current / (1 - float(node.beta.max()))
    voltage = max(voltage, drawn_to * MEMBRANE_MAX / DRAWN_MAX)
    scale = 2.0 ** floor(log2(MEMBRANE_MAX / voltage))
    least = 2.0 ** ceil(log2(FINE_THRESHOLD / S1615 / float(node.threshold.min())))
    scale = max(scale, least)
    return scale, scale * voltage


def _exponents(feeds: list[Feed], bias: np.ndarray, scale: float, weights: WeightFormat) -> tuple[int, int]:
    """Return the smallest exponents at which all excitatory and all inhibitory weights of a step fit in 16 bits.

    With a sign, it is the largest weight or bias that has to fit.
    """
    if weights.signed:
        largest = max([float(np.abs(bias).max(initial=0)), *(feed.largest for feed in feeds)]) * scale
        most = (1 << (weights.bits - 1)) - 1
        exponent = max(EXPONENT_MIN, ceil(log2(largest / most))) if largest else EXPONENT_MIN
        return exponent, exponent
    reach = [feed.reach() for feed in feeds]
    excitatory = sum((more for _, more in reach), np.maximum(bias, 0)).max(initial=0)
    inhibitory = -sum((less for less, _ in reach), np.minimum(bias, 0)).min(initial=0)
    synapses = 1 + sum(feed.fan_in for feed in feeds)
    return _exponent(excitatory * scale, synapses), _exponent(inhibitory * scale, synapses)


def _exponent(total: float, synapses: int) -> int:
    """Return the exponent for weights that sum up to `total` mV, each of `synapses` perhaps rounded up by half."""
    room = MANTISSA_MAX - synapses / 2
    if total == 0:
        return EXPONENT_MIN
    return max(EXPONENT_MIN, ceil(log2(total / max(room, MANTISSA_MAX / 2))))


def _mantissas(weights: np.ndarray, exponents: tuple[int, int]) -> np.ndarray:
    """Return int32 mantissas of weights in mV; the sign says which exponent."""
    step = np.where(weights < 0, 2.0 ** exponents[1], 2.0 ** exponents[0])
    return np.asarray(np.rint(weights / step), np.int32)


def _cell(node: LIF, bias: np.ndarray, scale: float, exponents: tuple[int, int]) -> Cell:
    alpha = None
    if node.alpha is not None and np.any(node.alpha):
        alpha = np.asarray(np.clip(np.rint(_flat(node.alpha) * U032), 0, U032 - 1), np.int64)
    uniform = bias[:1].reshape(()) if np.unique(bias).size == 1 else bias
    return Cell(
        beta=_s1615(_flat(node.beta), S1615 - 1),
        theta=np.asarray(_s1615(_flat(node.threshold) * scale) - (node.firing is Firing.REACHED), np.int32),
        bias=_mantissas(uniform * scale, exponents),
        reset=node.reset,
        alpha=alpha,
        exponents=exponents,
        firing=node.firing,
    )


def _s1615(values: np.ndarray, most: int = (1 << 31) - 1) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values * S1615), -most, most), np.int32)


def _flat(parameter: np.ndarray) -> np.ndarray:
    return parameter.reshape(-1) if parameter.ndim else parameter


# what gets recorded


def _cell_deviations(
    network: Network, name: str, node: LIF, bias: np.ndarray, population: Population
) -> list[Deviation]:
    values = population.constants.values
    alpha = np.zeros(()) if node.alpha is None else _flat(node.alpha)
    below = 1 / S1615 / population.scale if node.firing is Firing.REACHED else 0.0
    errors = (
        ("ND231", "membrane decay", values["beta"] - _flat(node.beta), "fraction per step"),
        ("ND231", "current decay", values["alpha"] - alpha, "fraction per step"),
        ("ND232", "threshold", np.abs(values["threshold"] - _flat(node.threshold)) + below, "membrane units"),
        ("ND233", "bias", values["bias"] - bias, "membrane units"),
    )
    return [
        Deviation(code, network.place(name), f"{what} rounded", Change.ROUNDING, float(np.abs(error).max()), unit)
        for code, what, error, unit in errors
        if np.any(error)
    ]


def _weight_deviation(
    network: Network, feed: Feed, mantissa: np.ndarray, cell: Cell, scale: float, bits: int
) -> list[Deviation]:
    weights = weights_of(feed.node)
    error = float(np.abs(mantissa * cell.steps(mantissa) / scale - weights).max(initial=0))
    if not error:
        return []
    return [
        Deviation(
            "ND230", network.place(feed.name), f"weights rounded to {bits} bits", Change.ROUNDING, error, "weight"
        )
    ]


def _room_deviation(network: Network, name: str, room: float) -> list[Deviation]:
    if room <= MEMBRANE_MAX * (1 + SUMMED):
        return []
    what = f"the membrane, or what draws it, may leave s16.15, which ends at 65,536 mV; worst case {room:.3g} mV"
    return [Deviation("ND234", network.place(name), what, Change.ROUNDING, room, "mV")]
