"""Does rounding explain it? The integer program beside the float network, every decision to spike accounted for.

A population of the program is followed in real numbers, with the weights as they were meant, but with the input and
the resets that the program's own spikes gave it. Its membranes may then be apart from the integers' only by what was
rounded on the way, and that distance has a bound that follows from the recorded integers alone:

    e_i(t) = alpha e_i(t-1) + |d alpha| |i(t-1)| + |sum w x - sum w' x'| + [|d bias|] + units
    e_v(t) = beta e_v(t-1) + |d beta| |v(t-1)| + e_i(t) + [|d bias|] + |d theta| + units

A spike where the real membrane is below threshold by more than the bound, or silence where it is above by more, is a
defect; every other difference is rounding. So that a wrong number cannot excuse itself, every integer is first held
against the number it stands for, of which it must be the nearest, and what reaches each population through the lowered
network against what the source itself delivers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.artifact import CompiledModel
from neurodeploy.engine.real import apply, drives
from neurodeploy.errors import Change
from neurodeploy.evaluation import fidelity
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Linear, Reset, SparseLinear
from neurodeploy.ir.program import STATE_SHIFT, Neuron, Population, Program, Projection
from neurodeploy.lowering import lower
from neurodeploy.results import RunResult

FLOAT32 = 1e-5
"""Relative error granted to the source's own single-precision arithmetic."""
DOUBLE = 1e-12
"""The same of ours."""
CHUNK = 16
"""Samples followed at once."""
DELIVERED = 1e-9
"""Relative difference granted between the source's sums and the lowered network's, both in double precision."""


def certify(
    model: CompiledModel, inputs: np.ndarray, labels: np.ndarray | None, source: RunResult, ours: RunResult
) -> dict[str, Any]:
    """Return the outcome of comparing the float source with the program, as JSON values.

    Args:
        inputs: real input values (step, sample, *input shape); labels: (sample,) or None.
        source: the float network's run; ours: the program's, with the same input.
    """
    fires = {p.name for p in model.program.populations if p.neuron.firing is not Firing.VALUE}
    spikes = {name: each for name, each in source.spikes.items() if name in fires}
    spikes_only = replace(source, spikes=spikes, voltages={}, currents={})
    as_meant = replace(ours, spikes=model.program.real_values(ours.spikes))
    outcome = fidelity.plain(fidelity.compare(model.program, spikes_only, as_meant))
    accuracy = None
    if labels is not None:
        accuracy = {
            name: float(np.mean(r.predictions == labels)) for name, r in (("source", source), ("program", ours))
        }
    wrong = [*misrounded(model), *misdelivered(model, inputs, ours)]
    unexplained = list(beyond_rounding(model, inputs, ours))
    first = outcome["first_divergence"]
    if first is not None:
        outcome["first_divergence"] |= _explained(model, inputs, ours, first)
    if unexplained:
        outcome["first_divergence"] = unexplained[0]
    return outcome | {
        "spike_agreement": fidelity.agreement(spikes_only, as_meant),
        "decision_agreement": float(np.mean(source.predictions == ours.predictions)),
        "accuracy": accuracy,
        "explained_by_rounding": not unexplained,
        "unexplained": unexplained,
        "misrounded": wrong,
        "verified": not unexplained and not wrong,
    }


def as_allowed(model: CompiledModel) -> Network:
    """Return the lowered source, with the resets the program has instead where that is a recorded substitution."""
    network = lower(model.source)
    allowed = {each.place for each in model.program.deviations if each.change is Change.SUBSTITUTION}
    nodes = dict(network.nodes)
    for population in model.program.populations:
        if network.place(population.name) in allowed:
            node = network.populations[population.name]
            nodes[population.name] = replace(node, reset=population.neuron.reset)
    return replace(network, nodes=nodes)


def misdelivered(model: CompiledModel, inputs: np.ndarray, ours: RunResult) -> list[str]:
    """Return every population that the lowered network feeds otherwise than the source does, as text.

    Both are given the program's own spikes of `CHUNK` samples, and must deliver the same sums to every population.
    """
    lowered, wrong = as_allowed(model), {}
    sent = model.program.real_values(ours.spikes)
    part = slice(0, CHUNK)
    for step in range(len(inputs)):
        now = {name: spikes[step, part] for name, spikes in sent.items()} | {model.source.input: inputs[step, part]}
        before = {name: spikes[step - 1, part] for name, spikes in sent.items()} if step else {}
        meant, delivered = drives(model.source, now, before), drives(lowered, now, before)
        for name, should in meant.items():
            error, size = float(np.abs(delivered[name] - should).max(initial=0)), float(np.abs(should).max(initial=1))
            if error > DELIVERED * size and name not in wrong:
                wrong[name] = f"{name}: its input is off by {error:.3g} at step {step}, before any rounding"
    return list(wrong.values())


def misrounded(model: CompiledModel) -> list[str]:
    """Return every parameter that is not the source's, rounded to nearest, as text; none in an honest program."""
    network, program = as_allowed(model), model.program
    wrong: list[str] = []
    for population in program.populations:
        node, neuron = network.populations[population.name], population.neuron
        if neuron.reset is not node.reset:
            wrong.append(f"{population.name}: resets by {neuron.reset.value}, the source by {node.reset.value}")
        if neuron.firing is not node.firing:
            wrong.append(f"{population.name}: fires {neuron.firing.value}, the source {node.firing.value}")
        alpha = np.zeros(()) if node.alpha is None else node.alpha
        bias = total_bias(network, population)
        meant = {"beta": node.beta, "alpha": alpha, "threshold": node.threshold, "bias": bias}
        constants = population.constants
        meant |= {} if node.floor is None else {"floor": node.floor}
        if node.firing is Firing.VALUE:
            meant["threshold"] = constants.values["threshold"]  # which says nothing
        if constants.values.keys() != meant.keys():
            wrong.append(f"{population.name}: has {', '.join(constants.values)}, the source {', '.join(meant)}")
            continue
        for name, should in meant.items():
            grid = constants.grids[name]
            nearest = np.clip(should, grid.low, grid.high)
            wrong += _beyond(f"{population.name}.{name}", constants.values[name], nearest, np.asarray(grid.step) / 2)
    for projection in program.projections:
        wrong += _wrong_weights(network, program, projection)
    return wrong


def _wrong_weights(network: Network, program: Program, projection: Projection) -> list[str]:
    (entry,) = network.incoming(projection.name)
    if (entry.source, bool(entry.delay_steps)) != (projection.source, projection.recurrent):
        return [f"{projection.name}: reads {projection.source} at another step than the source does"]
    meant, rounded, limit = weights(network, program, projection)
    return _beyond(f"{projection.name}.weight", rounded, meant, limit)


def weights(network: Network, program: Program, projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a projection's weights as meant and as rounded, and how far apart rounding may put them, in one shape.

    Args:
        network: lowered, as `as_allowed` returns it.
    """
    node = network.nodes[projection.name]
    limit = np.broadcast_to(program.weight_steps(projection) / 2, projection.synapses.mantissa.shape)
    pick = (lambda n: n.data) if isinstance(node, SparseLinear) else (lambda n: n.weight)
    rounded, most = (pick(_with_weights(node, values)) for values in (program.weights(projection), limit))
    return pick(node), rounded, most


def _beyond(place: str, is_value: np.ndarray, should: np.ndarray, limit: np.ndarray) -> list[str]:
    """Return a line when any value is further than `limit` from what it stands for, naming the worst."""
    is_value, should = np.broadcast_arrays(
        is_value.reshape(-1) if is_value.ndim == 1 else is_value, _like(should, is_value)
    )
    error, most = np.abs(is_value - should), np.broadcast_to(limit, is_value.shape)
    beyond = error - most * (1 + 1e-6)
    if not error.size or beyond.max() <= 1e-12:
        return []
    worst = tuple(int(i) for i in np.unravel_index(beyond.argmax(), error.shape))
    says = f"{is_value[worst]:.6g} stands for {should[worst]:.6g}"
    return [f"{place}{list(worst)}: {says}, rounding allows {most[worst]:.3g}"]


def _like(values: np.ndarray, other: np.ndarray) -> np.ndarray:
    return values.reshape(-1) if other.ndim == 1 and values.ndim else values


def total_bias(network: Network, population: Population) -> np.ndarray:
    """Return the sum of the biases of everything that feeds `population` and its own, (neuron,)."""
    own = network.populations[population.name].bias
    total = np.zeros(population.size) if own is None else np.broadcast_to(own, population.shape).flatten()
    for edge in network.incoming(population.name):
        node = network.nodes[edge.source]
        bias = node.bias if isinstance(node, Linear | SparseLinear | Conv) else None
        if bias is not None:
            total += np.repeat(bias, population.size // len(bias))
    return total


@dataclass(frozen=True, eq=False)
class Followed:
    """One population followed in real numbers: arrays (step, sample, neuron) in membrane units.

    What it fired is too much below `low` - `bound`, and too little above `high` + `bound`. low and high are the
    threshold, except under Reset.SUBTRACT, which doubles it while the membrane is above it: rounding may decide that;
    and where a neuron fires up to `most` times: n spikes need n thresholds, and n + 1 would have brought one more. Of
    neurons that send their membrane in steps of `payload`, they are between which membranes it is what they sent; of
    those that send its changes, `membrane` is the change, of which less than `least` is not told.
    """

    membrane: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bound: np.ndarray
    most: int = 1
    payload: float | None = None
    least: np.ndarray | None = None

    def distance(self) -> np.ndarray:
        """Return how far the membrane is from where its decision turns."""
        return np.maximum(np.maximum(self.low - self.membrane, self.membrane - self.high), 0.0)

    def defects(self, spikes: np.ndarray) -> np.ndarray:
        """Return where `spikes` (step, sample, neuron) decide otherwise than rounding allows, bool."""
        if self.payload is not None:
            return (self.membrane < self.low - self.bound) | (self.membrane > self.high + self.bound)
        too_eager = (spikes != 0) & (self.membrane < self.low - self.bound)
        too_lazy = (spikes < self.most) & (self.membrane > self.high + self.bound)
        return too_eager | too_lazy

    def meant(self, fired: float, at: tuple[int, int, int]) -> float:
        """Return what a neuron should have fired where `fired` is a defect."""
        if self.payload is not None:
            least = 0.0 if self.least is None else np.broadcast_to(self.least, self.membrane.shape)[at]
            return float(self.membrane[at] // self.payload) if abs(self.membrane[at]) >= least else 0.0
        if self.most == 1:
            return 1 - fired
        return float(max(0, self.membrane[at] // (self.low[at] / max(fired, 1))))


def beyond_rounding(model: CompiledModel, inputs: np.ndarray, ours: RunResult) -> Iterator[dict[str, Any]]:
    """Yield, for each population that has any, the first decision that no rounding explains, as JSON values."""
    network = as_allowed(model)
    for population in model.program.populations:
        for first in range(0, inputs.shape[1], CHUNK):
            part = slice(first, first + CHUNK)
            spikes = _flat(ours.spikes[population.name][:, part])
            followed = follow(network, model.program, population, inputs, ours, part)
            defects = np.argwhere(followed.defects(spikes))
            if len(defects):
                step, sample, neuron = (int(i) for i in defects[0])
                index = [int(i) for i in np.unravel_index(neuron, population.shape)]
                fired = float(spikes[step, sample, neuron])
                margin = _margin(followed, step, sample, neuron, "not rounding")
                yield {
                    "step": step,
                    "population": population.name,
                    "sample": first + sample,
                    "neuron": index,
                    "quantity": "spikes",
                    "expected": followed.meant(fired, (step, sample, neuron)),
                    "actual": fired,
                } | margin
                break


def _explained(model: CompiledModel, inputs: np.ndarray, ours: RunResult, first: dict[str, Any]) -> dict[str, Any]:
    """Return the margins at the first difference from the source, where both saw the same spikes until then."""
    population = model.program.population(first["population"])
    part = slice(first["sample"], first["sample"] + 1)
    followed = follow(as_allowed(model), model.program, population, inputs, ours, part)
    neuron = int(np.ravel_multi_index(first["neuron"], population.shape))
    told = _margin(followed, first["step"], 0, neuron, "rounding")
    if told["distance_to_threshold"] > told["rounding_bound"]:
        told["likely_cause"] = "a substitution that was allowed: rounding alone does not reach so far"
    return told


def _margin(followed: Followed, step: int, sample: int, neuron: int, verdict: str) -> dict[str, Any]:
    at = (step, sample, neuron)
    distance, bound = float(followed.distance()[at]), float(followed.bound[at])
    return {
        "distance_to_threshold": distance,
        "rounding_bound": bound,
        "likely_cause": f"{verdict}: the source's membrane is {distance:.3g} from threshold, "
        f"and the recorded roundings can move it by {bound:.3g} there",
    }


def follow(
    network: Network, program: Program, population: Population, inputs: np.ndarray, ours: RunResult, part: slice
) -> Followed:
    """Follow `population` in real numbers through the samples `part`, reset and fed by the program's own spikes."""
    drive, rounded, slack = _delivered(network, program, population, inputs, ours, part)
    cell = _Cell.of(network.populations[population.name], population, total_bias(network, population))
    fired = _flat(ours.spikes[population.name][:, part]).astype(np.int64)
    shape = drive.shape[1:]
    i, v, told, e_i, e_v, e_told = (np.zeros(shape) for _ in range(6))
    membrane, low, high, bound = (np.empty(drive.shape) for _ in range(4))
    kept = Followed(membrane, low, high, bound, cell.most, cell.payload, cell.least)
    for step, x in enumerate(drive):
        before = fired[step - 1] if step else np.zeros(shape, np.int64)
        e_i = (cell.alpha + cell.d_alpha) * e_i + cell.d_alpha * np.abs(i) + np.abs(x - rounded[step]) + slack
        e_i = e_i + 2 * cell.unit
        i = cell.alpha * i + x
        v, e_v = cell.reset_at_spike(v, e_v, before)
        kept.low[step], kept.high[step] = cell.thresholds(v, e_v, fired[step])
        e_v = (cell.beta + cell.d_beta) * e_v + cell.d_beta * np.abs(v) + e_i + cell.d_bias + cell.unit
        v, e_v = cell.reset_next_step(cell.beta * v + i + cell.bias, e_v, before)
        times = 2 + np.abs(fired[step]) * (cell.most > 1)
        kept.membrane[step] = v
        kept.bound[step] = e_v + times * cell.d_theta + cell.single * (np.abs(v) + np.abs(i) + cell.theta)
        if cell.least is not None:
            value = np.maximum(v, 0.0) if cell.firing is Firing.DELTA_RELU else v
            kept.membrane[step], kept.bound[step] = value - told, kept.bound[step] + e_told
            sent = cell.told(value - told, fired[step])
            told, e_told = np.where(sent, value, told), np.where(sent, e_v, e_told)
    return kept


def _flat(record: np.ndarray) -> np.ndarray:
    return record.reshape(*record.shape[:2], -1)


def _delivered(
    network: Network, program: Program, population: Population, inputs: np.ndarray, ours: RunResult, part: slice
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what each neuron received in real and in rounded weights, (step, sample, neuron), and what shifts lose."""
    shape = (len(inputs), len(range(*part.indices(inputs.shape[1]))), population.size)
    drive, rounded, slack = np.zeros(shape), np.zeros(shape), 0.0
    for projection in program.incoming(population.name):
        node = network.nodes[projection.name]
        entered = projection.source == program.input.name
        history = _flat((inputs if entered else ours.spikes[projection.source])[:, part]).astype(np.float64)
        payload = program.payload(projection.source)
        history = history if entered else history * payload
        seen = payload * np.rint(history / payload)
        if projection.recurrent:
            history, seen = (np.concatenate([np.zeros_like(x[:1]), x[:-1]]) for x in (history, seen))
        scaled = _with_weights(node, program.weights(projection))
        drive += apply(node, history.reshape(-1, history.shape[2])).reshape(shape)
        rounded += apply(scaled, seen.reshape(-1, seen.shape[2])).reshape(shape)
        slack += population.constants.unit * 2.0**population.loihi.activation_shift if _shifted_out(projection) else 0.0
    own = network.populations[population.name].bias
    bias = population.constants.values["bias"] if own is None else total_bias(network, population) - own.reshape(-1)
    return drive, rounded + bias, slack


def _shifted_out(projection: Projection) -> bool:
    """Say whether a sum of `projection` may lose bits to its negative exponent."""
    lost = 1 << max(0, -projection.exponent)
    return bool(np.any(2 * projection.synapses.mantissa.astype(np.int64) % lost))


def dequantized(model: CompiledModel) -> Network:
    """Return the lowered network with the weights, biases, decays and thresholds that the program's integers stand for.

    The bias of a population, which a program adds up over all that feeds it, is given to one map alone, or to the
    population if it has one of its own.
    """
    network, program = as_allowed(model), model.program
    nodes = dict(network.nodes)
    for projection in program.projections:
        nodes[projection.name] = _with_weights(nodes[projection.name], program.weights(projection))
    for population in program.populations:
        node, values = network.populations[population.name], population.constants.values
        feeds = sorted(program.incoming(population.name), key=lambda feed: feed.recurrent)
        holder = next((feed.name for feed in feeds if not isinstance(nodes[feed.name], Conv)), feeds[0].name)
        shaped = {name: each.reshape(node.shape) if each.ndim else each for name, each in values.items()}
        if node.bias is not None:
            node = replace(node, bias=shaped["bias"])
        else:
            bias = np.broadcast_to(values["bias"], (population.size,))
            if isinstance(nodes[holder], Conv):
                bias = bias.reshape(population.shape[0], -1)[:, 0]
            nodes[holder] = replace(nodes[holder], bias=bias)  # type: ignore[arg-type]
        alpha = None if node.alpha is None else shaped["alpha"]
        nodes[population.name] = replace(
            node, beta=shaped["beta"], threshold=shaped["threshold"], alpha=alpha, floor=shaped.get("floor")
        )
    return replace(network, nodes=nodes)


def _with_weights(node: Any, values: np.ndarray) -> Any:
    """Return `node` with other weights, one per stored synapse, and no bias."""
    if isinstance(node, SparseLinear):
        return replace(node, data=values, bias=None)
    if values.size != node.weight.size:
        dense = np.zeros_like(node.weight)
        dense[np.nonzero(node.weight)] = values
        return replace(node, weight=dense, bias=None)
    return replace(node, weight=values.reshape(node.weight.shape), bias=None)


@dataclass(frozen=True, eq=False)
class _Cell:
    """A population's parameters, () or (neuron,): as meant, and by how much the program's differ.

    `unit`: what rounding can do to a state in a step, nothing to sigma-delta neurons, which only add; `single`: the
    relative error of the source's arithmetic, which is ours where single precision holds all numbers, as of those.
    """

    beta: np.ndarray
    alpha: np.ndarray
    bias: np.ndarray
    theta: np.ndarray
    reset: Reset
    firing: Firing
    floor: np.ndarray
    most: int
    payload: float | None
    least: np.ndarray | None
    d_beta: np.ndarray
    d_alpha: np.ndarray
    d_bias: np.ndarray
    d_theta: np.ndarray
    d_floor: np.ndarray
    unit: float
    single: float

    @staticmethod
    def of(node: LIF, population: Population, bias: np.ndarray) -> _Cell:
        def flat(values: np.ndarray) -> np.ndarray:
            return values.reshape(-1) if values.ndim else values

        constants = population.constants
        is_value = {name: flat(np.asarray(value)) for name, value in constants.values.items()}
        silent = node.firing is Firing.VALUE  # so that its threshold says nothing, not even how large membranes are
        beta, theta = flat(node.beta), np.zeros(()) if silent else flat(node.threshold)
        alpha = np.zeros(()) if node.alpha is None else flat(node.alpha)
        floor = np.array(-np.inf) if node.floor is None else flat(node.floor)
        d_floor = np.zeros(()) if node.floor is None else np.abs(is_value["floor"] - floor)
        return _Cell(
            beta,
            alpha,
            np.zeros(()) if node.bias is None else flat(node.bias),
            theta,
            node.reset,
            node.firing,
            floor,
            population.loihi.most if isinstance(population.neuron, Neuron) else 1,
            population.payload if silent or node.firing.tells_changes else None,
            theta if node.firing.tells_changes else None,
            np.abs(is_value["beta"] - beta),
            np.abs(is_value["alpha"] - alpha),
            np.zeros(()) if node.bias is None else np.abs(is_value["bias"] - bias),
            np.zeros(()) if silent else np.abs(is_value["threshold"] - theta),
            d_floor,
            0.0 if node.payload is not None else constants.unit,
            DOUBLE if node.payload is not None else FLOAT32,
        )

    def reset_at_spike(self, v: np.ndarray, e_v: np.ndarray, fired: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply what spikes of the step before did in that step, and then the floor."""
        if self.reset is Reset.ZERO:
            v, e_v = np.where(fired > 0, 0.0, v), np.where(fired > 0, 0.0, e_v)
        elif self.reset in (Reset.SUBTRACT, Reset.SUBTRACT_AT_ONCE):
            v, e_v = v - fired * self.theta, e_v + fired * self.d_theta
        return np.maximum(v, self.floor), np.maximum(e_v, self.d_floor)

    def thresholds(self, v: np.ndarray, e_v: np.ndarray, fired: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest threshold that may hold in the step that starts from `v`.

        Of a neuron that fires several times, they are those of what it fired: its own, and that of one spike more.
        """
        if self.least is not None and self.payload is not None:
            between = self.payload / (2 << STATE_SHIFT)
            low, high = self.payload * fired, self.payload * (fired + 1) - between
            untold = np.maximum(self.least, between) - between
            low = np.where(fired > 0, np.maximum(low, self.least), np.where(fired < 0, low, -untold))
            high = np.where(fired < 0, np.minimum(high, -self.least), np.maximum(high, untold * (fired == 0)))
            return low, high
        if self.payload is not None:
            low = np.where(fired <= -self.most, -np.inf, self.payload * fired)
            return low, np.where(fired >= self.most, np.inf, self.payload * (fired + 1))
        if self.most > 1:
            return self.theta * np.maximum(fired, 1), self.theta * (fired + 1)
        if self.reset is not Reset.SUBTRACT:
            return np.broadcast_to(self.theta, v.shape), np.broadcast_to(self.theta, v.shape)
        slack = e_v + self.d_theta
        return self.theta * (1 + (v > self.theta + slack)), self.theta * (1 + (v > self.theta - slack))

    def told(self, change: np.ndarray, fired: np.ndarray) -> np.ndarray:
        """Return which changes were told when the messages `fired` were sent; one below a payload is told as 0."""
        assert self.payload is not None
        return (fired != 0) | ((np.abs(change) >= self.theta) & (self.theta < self.payload))

    def reset_next_step(self, v: np.ndarray, e_v: np.ndarray, fired: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply what a spike of the step before does in this one."""
        if self.reset is Reset.ZERO_NEXT_STEP:
            return np.where(fired > 0, 0.0, v), np.where(fired > 0, 0.0, e_v)
        if self.reset is Reset.SUBTRACT_NEXT_STEP:
            return v - fired * self.theta, e_v + fired * self.d_theta
        return v, e_v
