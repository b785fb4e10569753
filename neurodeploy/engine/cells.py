"""PyNN's current-based cells as SpiNNaker's constants make them: in real numbers, and in the chip's s16.15.

Real numbers (float64) are what NEST and Brian2 compute; sums of weights are exact in them, being integers times powers
of two. s16.15 follows sPyNNaker's C sources of the neuron models; no chip has confirmed it, and results say so:

    i_k <- i_k + trunc(w_k init)     k: excitatory, inhibitory; init = tau_syn (1 - alpha), u0.32
    a   <- round((i_e - i_i) R)      R = 1 / ((1 - beta) init): a weight moves the membrane by itself
    v   <- a - round(beta (a - v))   not while refractory
    s   = [v > theta]; then v <- 0   and refractory for one step where the reset is in the next step
    i_k <- trunc(i_k alpha)

Without a synaptic current init is 1 and alpha 0.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neurodeploy.engine.chip import not_on_chip
from neurodeploy.engine.real import State, apply, lif_step, run_real
from neurodeploy.engine.synapses import add, facing_sources, shape_of
from neurodeploy.errors import UnsupportedError, raise_all
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Input, Linear, Node, Reset, Shape, SparseLinear
from neurodeploy.ir.program import (
    S1615,
    U032,
    ConvSynapses,
    DenseSynapses,
    Population,
    Program,
    Projection,
    SparseSynapses,
    Synapses,
)
from neurodeploy.results import RunResult, decide

EXECUTORS = {"float64": "engine (float64)", "s16.15": "engine (s16.15, unverified on hardware)"}
"""Arithmetic -> what a result says about who computed it."""
CHUNK_VALUES = 1 << 22
"""Sums of a layer held at once; a batch is run in chunks of samples."""
MOST_SHIFT = 6
"""Between the exponents of both kinds: up to here sums of a step fit the kernels; the convolution's wrap at 24 bits."""
POINT = 15
CURRENT_POINT = 32

Record = dict[str, np.ndarray]


def run_cells(
    program: Program,
    inputs: np.ndarray,
    record_states: bool = False,
    progress: Callable[[int, int], None] | None = None,
    arithmetic: str = "float64",
) -> RunResult:
    """Run all samples from rest and return every population's spikes, and currents and voltages in mV if asked for.

    Args:
        inputs: uint8 spikes (step, sample, *input shape).
        arithmetic: "float64" or "s16.15".

    Raises:
        UnsupportedError: ND330 in s16.15 for every population whose cell the chip does not have.
    """
    if arithmetic == "s16.15":
        raise_all(UnsupportedError, list(not_on_chip(program)))
    started = time.perf_counter()
    steps, samples = inputs.shape[:2]
    chunk = max(1, min(samples, CHUNK_VALUES // (steps * max(p.size for p in program.populations))))
    parts = []
    for first in range(0, samples, chunk):
        parts.append(_run_chunk(program, inputs[:, first : first + chunk], record_states, arithmetic))
        if progress:
            progress(min(first + chunk, samples), samples)

    def joined(index: int) -> Record:
        every = {name: np.concatenate([part[index][name] for part in parts], axis=1) for name in parts[0][index]}
        return {name: array.reshape(steps, samples, *program.population(name).shape) for name, array in every.items()}

    spikes, currents, voltages = (joined(index) for index in range(3))
    seconds = time.perf_counter() - started
    return RunResult(EXECUTORS[arithmetic], spikes, decide(spikes[program.output]), currents, voltages, seconds)


def run_plainly(program: Program, inputs: np.ndarray) -> RunResult:
    """Run the program as the `Network` that its integers stand for, in mV: slow and obvious, step by step.

    Args:
        inputs: uint8 spikes (step, sample, *input shape).
    """
    result, _ = run_real(as_network(program), inputs)
    return result


def as_network(program: Program) -> Network:
    """Return the network that the program's integers stand for, its membrane units being mV."""
    nodes: dict[str, Node] = {program.input.name: Input(program.input.shape, program.input.kind)}
    edges: list[Edge] = []
    for population in program.populations:
        values, name = population.neuron.constants(1.0).values, population.name
        for projection in program.incoming(name):
            weights = projection.synapses.mantissa * population.cell.weight_step(projection)
            node = _node(projection.synapses, weights, shape_of(program, projection.source), population.shape)
            edges += [Edge(projection.source, projection.name, int(projection.recurrent)), Edge(projection.name, name)]
            nodes[projection.name] = node
        if np.any(values["bias"]):
            nodes[f"{name}.bias"] = _constant(values["bias"], program.input.shape, population)
            edges += [Edge(program.input.name, f"{name}.bias"), Edge(f"{name}.bias", name)]
        alpha = None if population.cell.alpha is None else values["alpha"]
        nodes[name] = LIF(population.shape, values["beta"], population.cell.fires_above, population.cell.reset, alpha)
    return Network(nodes, tuple(edges), program.input.name, program.output)


def _run_chunk(
    program: Program, inputs: np.ndarray, record_states: bool, arithmetic: str
) -> tuple[Record, Record, Record]:
    """Return spikes, currents and voltages, (step, sample, neuron) per population."""
    steps, samples = inputs.shape[:2]
    sent: Record = {program.input.name: inputs.reshape(steps, samples, -1)}
    currents: Record = {}
    voltages: Record = {}
    for population in program.populations:
        sent[population.name] = np.zeros((steps, samples, population.size), np.uint8)
        for record in (currents, voltages) if record_states else ():
            record[population.name] = np.zeros((steps, samples, population.size))
    synapses = {p.name: _Synapses(program, p, arithmetic == "s16.15") for p in program.projections}
    for group in _groups(program):
        names = {population.name for population in group}
        cells = {p.name: (_FixedCells if arithmetic == "s16.15" else _RealCells)(p, samples) for p in group}
        outside = {p.name: _from_outside(program, p, names, sent, synapses) for p in group}
        for step in range(steps):
            for population in group:
                name, total = population.name, outside[population.name][:, step]
                for projection in program.incoming(name):
                    if projection.source in names and step >= projection.recurrent:
                        now = sent[projection.source][step - projection.recurrent]
                        total = total + synapses[projection.name].deliver(now)
                sent[name][step] = cells[name].advance(total)
                if record_states:
                    currents[name][step], voltages[name][step] = cells[name].states()
    return {p.name: sent[p.name] for p in program.populations}, currents, voltages


def _groups(program: Program) -> list[tuple[Population, ...]]:
    """Return populations that can run through all their steps together: one by one, or all if a loop spans several."""
    if all(projection.source == projection.target for projection in program.projections if projection.recurrent):
        return [(population,) for population in program.populations]
    return [program.populations]


def _from_outside(
    program: Program, population: Population, group: set[str], sent: Record, synapses: dict[str, _Synapses]
) -> np.ndarray:
    """Return what populations outside `group` deliver in every step, (kind, step, sample, neuron)."""
    steps, samples = sent[program.input.name].shape[:2]
    total = np.zeros((1, steps, samples, population.size))
    for projection in program.incoming(population.name):
        if projection.source not in group:
            total = total + synapses[projection.name].deliver_all(sent[projection.source])
    return total


class _Synapses:
    """A projection as sums: of one kind in mV, or of two, the mantissas of excitatory and of inhibitory weights."""

    def __init__(self, program: Program, projection: Projection, by_kind: bool) -> None:
        mantissa = projection.synapses.mantissa.astype(np.int64)
        exponents = program.population(projection.target).cell.exponents
        shifts = [exponent - min(exponents) for exponent in exponents]
        parts: tuple[np.ndarray, ...]
        if by_kind:
            parts, self._unit = (np.maximum(mantissa, 0), np.maximum(-mantissa, 0)), 1.0
        else:
            parts, self._unit = (mantissa << np.where(mantissa < 0, shifts[1], shifts[0]),), 2.0 ** min(exponents)
        self._fits = by_kind or max(shifts) <= MOST_SHIFT
        self._parts = [replace(projection, synapses=replace(projection.synapses, mantissa=part)) for part in parts]
        self._facing = [facing_sources(program, part) for part in self._parts if self._fits]
        shapes = shape_of(program, projection.source), shape_of(program, projection.target)
        self._maps = [_node(p.synapses, p.synapses.mantissa * self._unit, *shapes) for p in self._parts]
        self._post = program.population(projection.target).size

    def deliver(self, spikes: np.ndarray) -> np.ndarray:
        """Return the sums (kind, row, neuron) for spikes (row, source)."""
        return np.stack([apply(node, spikes.astype(np.float64)) for node in self._maps])

    def deliver_all(self, source: np.ndarray) -> np.ndarray:
        """Return the sums (kind, step, sample, neuron) for spikes (step, sample, source)."""
        steps, samples = source.shape[:2]
        if not self._fits:
            return self.deliver(source.reshape(steps * samples, -1)).reshape(-1, steps, samples, self._post)
        total = np.zeros((len(self._parts), samples, steps, self._post), np.int32)
        for part, facing, activation in zip(self._parts, self._facing, total, strict=True):
            add(part, facing, source, 0, activation)
        return total.swapaxes(1, 2) * (self._unit / 2)


def _constant(bias: np.ndarray, inputs: Shape, population: Population) -> SparseLinear:
    """Return a map without synapses: whatever enters, the bias comes out."""
    values = np.broadcast_to(bias, population.size)
    nothing, rows = np.zeros(0), np.zeros(population.size + 1, np.int64)
    return SparseLinear(nothing, nothing.astype(np.int32), rows, inputs, population.shape, values)


def _node(synapses: Synapses, weights: np.ndarray, inputs: Shape, target: Shape) -> Linear | SparseLinear | Conv:
    match synapses:
        case DenseSynapses():
            return Linear(weights)
        case SparseSynapses(_, indices, indptr):
            return SparseLinear(weights, indices, indptr, inputs, target)
        case ConvSynapses() as conv:
            return Conv(weights, conv.input_shape, conv.stride, conv.padding, conv.dilation, conv.groups)
    raise TypeError(type(synapses).__name__)


class _Cells(ABC):
    """The states of one population in all samples, (sample, neuron)."""

    @abstractmethod
    def advance(self, total: np.ndarray) -> np.ndarray:
        """Take what arrived (kind, sample, neuron) and return the spikes of this step, bool (sample, neuron)."""

    @abstractmethod
    def states(self) -> tuple[np.ndarray, np.ndarray]:
        """Return currents and voltages in mV, after the reset."""


class _RealCells(_Cells):
    """The equation of `nodes.LIF`, with the constants that the integers stand for."""

    def __init__(self, population: Population, samples: int) -> None:
        values = population.neuron.constants(1.0).values
        alpha = None if population.cell.alpha is None else values["alpha"]
        reset, above = population.cell.reset, population.cell.fires_above
        self._node = LIF((population.size,), values["beta"], above, reset, alpha)
        self._bias, self._state = values["bias"], State.at_rest(self._node, samples)

    def advance(self, total: np.ndarray) -> np.ndarray:
        return lif_step(self._node, self._state, total.sum(0) + self._bias)

    def states(self) -> tuple[np.ndarray, np.ndarray]:
        return self._state.i, self._state.v


class _FixedCells(_Cells):
    """s16.15, see the module."""

    def __init__(self, population: Population, samples: int) -> None:
        cell, shape = population.cell, (samples, population.size)
        beta = cell.beta / S1615
        init = np.ones(())
        if cell.alpha is not None:
            alpha = np.maximum(cell.alpha / U032, 2.0**-CURRENT_POINT)
            init = (1 - alpha) / -np.log(alpha)
        self._alpha = np.zeros((), np.int64) if cell.alpha is None else cell.alpha
        self._init = None if cell.alpha is None else np.floor(init * U032).astype(np.int64)
        self._resistance = np.rint(S1615 / ((1 - beta) * init)).astype(np.int64)
        self._bias = np.stack([np.broadcast_to(np.maximum(sign * cell.bias, 0), shape) for sign in (1, -1)])
        self._beta, self._theta = cell.beta.astype(np.int64), cell.theta.astype(np.int64)
        self._shifts = np.array([POINT + exponent for exponent in cell.exponents]).reshape(2, 1, 1)
        self._waits = cell.reset is Reset.ZERO_NEXT_STEP
        self._i = np.zeros((2, *shape), np.int64)
        self._seen = np.zeros(shape, np.int64)
        self._v, self._fired = np.zeros(shape, np.int64), np.zeros(shape, bool)

    def advance(self, total: np.ndarray) -> np.ndarray:
        weights = (total.astype(np.int64) + self._bias) << self._shifts
        self._i = self._i + (weights if self._init is None else weights * self._init >> CURRENT_POINT)
        self._seen = self._i[0] - self._i[1]
        reached = _times(self._seen, self._resistance)
        v = reached - _times(self._beta, reached - self._v)
        if self._waits:
            v = np.where(self._fired, 0, v)
        self._fired = v > self._theta
        self._v = np.where(self._fired, 0, v)
        self._i = self._i * self._alpha >> CURRENT_POINT
        return self._fired

    def states(self) -> tuple[np.ndarray, np.ndarray]:
        return self._seen / S1615, self._v / S1615


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of two s16.15 numbers, rounded to nearest."""
    return (a * b + (1 << (POINT - 1))) >> POINT
