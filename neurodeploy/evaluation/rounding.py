"""Does rounding explain it? The integer program beside the float network, and the first difference accounted for.

Up to the first difference in time and causal order, both saw the same spikes. So the membranes of the neuron that
differs may be apart only by what was rounded on the way, and that distance has a bound that follows from the recorded
integers alone:

    e_i(t) = alpha e_i(t-1) + |d alpha| |i(t-1)| + sum |dw| |x| + |w| |dx| + |d bias| + units
    e_v(t) = beta e_v(t-1) + |d beta| |v(t-1)| + e_i(t) + |d theta| + units

A difference within the bound is rounding; one beyond it is a defect. So that a wrong weight cannot excuse itself, every
integer is first held against the number it stands for: it must be the nearest one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.artifact import CompiledModel
from neurodeploy.engine.real import apply
from neurodeploy.evaluation import fidelity
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Linear, Reset, SparseLinear
from neurodeploy.ir.program import DECAY_ONE, STATE_SHIFT, Neuron, Population, Program, Projection
from neurodeploy.lowering import lower
from neurodeploy.results import RunResult

FLOAT32 = 1e-5
"""Relative error granted to the source's own single-precision arithmetic."""


def certify(
    model: CompiledModel, inputs: np.ndarray, labels: np.ndarray | None, source: RunResult, ours: RunResult
) -> dict[str, Any]:
    """Return the outcome of comparing the float source with the program, as JSON values.

    Args:
        inputs: real input values (step, sample, *input shape); labels: (sample,) or None.
        source: the float network's run; ours: the program's, with the same input.
    """
    spikes_only = replace(source, voltages={}, currents={})
    outcome = fidelity.plain(fidelity.compare(model.program, spikes_only, ours))
    accuracy = None
    if labels is not None:
        accuracy = {
            name: float(np.mean(r.predictions == labels)) for name, r in (("source", source), ("program", ours))
        }
    first = outcome["first_divergence"]
    explained, wrong = True, misrounded(model)
    if first is not None:
        at = _Place(first["step"], first["sample"], first["population"], tuple(first["neuron"]))
        distance, bound = (float(x) for x in margins(model, inputs, ours, at))
        explained = bool(distance <= bound)
        verdict = "rounding" if explained else "not rounding"
        outcome["first_divergence"] |= {
            "distance_to_threshold": distance,
            "rounding_bound": bound,
            "likely_cause": f"{verdict}: the source's membrane is {distance:.3g} from threshold, "
            f"and the recorded roundings can move it by {bound:.3g} there",
        }
    return outcome | {
        "spike_agreement": fidelity.agreement(source, ours),
        "decision_agreement": float(np.mean(source.predictions == ours.predictions)),
        "accuracy": accuracy,
        "explained_by_rounding": explained,
        "misrounded": wrong,
        "verified": explained and not wrong,
    }


def misrounded(model: CompiledModel) -> list[str]:
    """Return every parameter that is not the source's, rounded to nearest, as text; none in an honest program."""
    network, program = lower(model.source), model.program
    wrong: list[str] = []
    for population in program.populations:
        node, neuron = network.populations[population.name], population.neuron
        if neuron.reset is not node.reset:
            wrong.append(f"{population.name}: resets by {neuron.reset.value}, the source by {node.reset.value}")
        alpha = np.zeros(()) if node.alpha is None else node.alpha
        unit = population.scale * (1 << STATE_SHIFT)
        bias = neuron.bias_mantissa.astype(np.float64) * 2.0**neuron.bias_exponent / unit
        for name, is_value, should, step in (
            ("beta", 1 - neuron.dv / DECAY_ONE, np.maximum(node.beta, 1 / DECAY_ONE), 1 / DECAY_ONE),
            ("alpha", 1 - neuron.du / DECAY_ONE, np.minimum(alpha, 1 - 1 / DECAY_ONE), 1 / DECAY_ONE),
            ("threshold", neuron.vth / population.scale, node.threshold, 1 / population.scale),
            ("bias", bias, total_bias(network, population), 2.0**neuron.bias_exponent / unit),
        ):
            wrong += _beyond(f"{population.name}.{name}", is_value, should, step / 2)
    for projection in program.projections:
        wrong += _wrong_weights(network, program, projection)
    return wrong


def _wrong_weights(network: Network, program: Program, projection: Projection) -> list[str]:
    (entry,) = network.incoming(projection.name)
    if (entry.source, bool(entry.delay_steps)) != (projection.source, projection.recurrent):
        return [f"{projection.name}: reads {projection.source} at another step than the source does"]
    scale = program.population(projection.target).scale
    scale *= program.input.scale if projection.source == program.input.name else 1.0
    node = network.nodes[projection.name]
    rounded = _dequantized(node, projection, scale)
    pick = (lambda n: n.data) if isinstance(node, SparseLinear) else (lambda n: n.weight)
    return _beyond(f"{projection.name}.weight", pick(rounded), pick(node), 2.0**projection.exponent / scale)


def _beyond(place: str, is_value: np.ndarray, should: np.ndarray, limit: float) -> list[str]:
    """Return a line when any value is further than `limit` from what it stands for, naming the worst."""
    is_value, should = np.broadcast_arrays(
        is_value.reshape(-1) if is_value.ndim == 1 else is_value, _like(should, is_value)
    )
    error = np.abs(is_value - should)
    if not error.size or error.max() <= limit * (1 + 1e-6) + 1e-12:
        return []
    worst = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
    return [f"{place}{list(worst)}: {is_value[worst]:.6g} stands for {should[worst]:.6g}, rounding allows {limit:.3g}"]


def _like(values: np.ndarray, other: np.ndarray) -> np.ndarray:
    return values.reshape(-1) if other.ndim == 1 and values.ndim else values


def total_bias(network: Network, population: Population) -> np.ndarray:
    """Return the sum of the biases of everything that feeds `population`, (neuron,)."""
    total = np.zeros(population.size)
    for edge in network.incoming(population.name):
        node = network.nodes[edge.source]
        bias = node.bias if isinstance(node, Linear | SparseLinear | Conv) else None
        if bias is not None:
            total += np.repeat(bias, population.size // len(bias))
    return total


@dataclass(frozen=True)
class _Place:
    step: int
    sample: int
    population: str
    neuron: tuple[int, ...]


def margins(model: CompiledModel, inputs: np.ndarray, ours: RunResult, at: _Place) -> tuple[float, float]:
    """Return how far the source's membrane is from threshold at `at`, and how far rounding can have moved it.

    Both are computed for that one neuron, in membrane units, from the spikes that both runs had in common until then.
    """
    network, program = lower(model.source), model.program
    population = program.population(at.population)
    node = network.populations[at.population]
    flat = int(np.ravel_multi_index(at.neuron, population.shape))
    drive, rounded, slack = _drives(network, program, population, inputs, ours, at, flat)
    fired = ours.spikes[at.population][:, at.sample].reshape(len(inputs), -1)[: at.step, flat]
    return _propagate(_Cell.of(node, population, flat), drive, rounded, slack, fired)


def _drives(
    network: Network,
    program: Program,
    population: Population,
    inputs: np.ndarray,
    ours: RunResult,
    at: _Place,
    flat: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what the neuron received at each step, in real and in rounded weights, and what flooring shifts lose."""
    steps = at.step + 1
    drive, rounded, slack = np.zeros(steps), np.zeros(steps), 0.0
    for projection in program.incoming(population.name):
        node = network.nodes[projection.name]
        entered = projection.source == program.input.name
        history = (inputs if entered else ours.spikes[projection.source])[:steps, at.sample].reshape(steps, -1)
        history = np.asarray(history, np.float64)
        payload = program.input.scale if entered else 1.0
        seen = payload * np.rint(history / payload)
        if projection.recurrent:
            history, seen = (np.concatenate([np.zeros_like(x[:1]), x[:-1]]) for x in (history, seen))
        drive += apply(node, history)[:, flat]
        rounded += apply(_dequantized(node, projection, population.scale * payload), seen)[:, flat]
        slack += 1 / population.scale if projection.exponent < 0 else 0.0
    neuron = population.neuron
    bias = int(neuron.bias_mantissa.reshape(-1)[flat if neuron.bias_mantissa.size > 1 else 0]) << neuron.bias_exponent
    return drive, rounded + bias / (population.scale * (1 << STATE_SHIFT)), slack


def _dequantized(node: Any, projection: Projection, scale: float) -> Any:
    unit = 2.0 ** (1 + projection.exponent) / scale
    mantissa = projection.synapses.mantissa.astype(np.float64) * unit
    if isinstance(node, SparseLinear):
        return replace(node, data=mantissa, bias=None)
    if mantissa.size != node.weight.size:
        dense = np.zeros_like(node.weight)
        dense[np.nonzero(node.weight)] = mantissa
        return replace(node, weight=dense, bias=None)
    return replace(node, weight=mantissa.reshape(node.weight.shape), bias=None)


@dataclass(frozen=True)
class _Cell:
    """One neuron's parameters: as meant, and by how much the program's differ."""

    beta: float
    alpha: float
    theta: float
    reset: Reset
    d_beta: float
    d_alpha: float
    d_theta: float
    unit: float

    @staticmethod
    def of(node: LIF, population: Population, flat: int) -> _Cell:
        def pick(values: np.ndarray) -> float:
            return float(values.reshape(-1)[flat if values.size > 1 else 0])

        neuron: Neuron = population.neuron
        alpha = 0.0 if node.alpha is None else pick(node.alpha)
        beta, theta = pick(node.beta), pick(node.threshold)
        return _Cell(
            beta,
            alpha,
            theta,
            node.reset,
            abs(1 - pick(neuron.dv) / DECAY_ONE - beta),
            abs(1 - pick(neuron.du) / DECAY_ONE - alpha),
            abs(pick(neuron.vth) / population.scale - theta),
            1 / (population.scale * (1 << STATE_SHIFT)),
        )


def _propagate(
    cell: _Cell, drive: np.ndarray, rounded: np.ndarray, slack: float, fired: np.ndarray
) -> tuple[float, float]:
    """Return (|v - theta|, bound) at the last step, following the source's own membrane and the recursion above.

    Reset.SUBTRACT doubles the threshold while v is above it, and rounding may have decided that otherwise: the distance
    is then to the nearer end of [theta, 2 theta], and nothing between them.
    """
    i = v = e_i = e_v = 0.0
    low = high = cell.theta
    for step, x in enumerate(drive):
        before = bool(step and fired[step - 1])
        e_i = (cell.alpha + cell.d_alpha) * e_i + cell.d_alpha * abs(i)
        e_i += abs(x - rounded[step]) + slack + 2 * cell.unit
        i = cell.alpha * i + x
        if before and cell.reset is Reset.ZERO:
            v = e_v = 0.0
        if before and cell.reset is Reset.SUBTRACT:
            v, e_v = v - cell.theta, e_v + cell.d_theta
        low = 2 * cell.theta if cell.reset is Reset.SUBTRACT and v > cell.theta + e_v + cell.d_theta else cell.theta
        high = 2 * cell.theta if cell.reset is Reset.SUBTRACT and v > cell.theta - e_v - cell.d_theta else cell.theta
        e_v = (cell.beta + cell.d_beta) * e_v + cell.d_beta * abs(v) + e_i + cell.unit
        v = cell.beta * v + i
        if before and cell.reset is Reset.ZERO_NEXT_STEP:
            v = e_v = 0.0
        if before and cell.reset is Reset.SUBTRACT_NEXT_STEP:
            v, e_v = v - cell.theta, e_v + cell.d_theta
    distance = max(low - v, v - high, 0.0)
    return distance, e_v + 2 * cell.d_theta + FLOAT32 * (abs(v) + abs(i) + cell.theta)
