"""How much happened: spikes, synaptic operations and neuron updates, counted from the recorded spikes.

synops of a projection = sum over its sources of (spikes x fan-out); every synapse counts that the chip processes: on
Loihi zeros of dense synapses too, on SpiNNaker, which stores none, also those of a bias, whose source spikes in every
step. Recurrent projections do not deliver a sample's last step. A neuron update is one neuron in one step: Loihi
updates every neuron at every step. A row is what one spike makes one core look up, of excitatory or of inhibitory
synapses: SpiNNaker fetches it from the chip's memory. A graded spike is one spike, whatever its payload.

An update is active when input reaches the neuron in that step, whatever it weighs, or when the neuron has a bias; on
SpiNNaker all are, since every update costs the same there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from neurodeploy.ir.nodes import Conv, Shape
from neurodeploy.ir.program import (
    BIAS,
    Cell,
    ConvSynapses,
    DenseSynapses,
    Neuron,
    Population,
    Program,
    Projection,
    SparseSynapses,
    Synapses,
)
from neurodeploy.results import RunResult


@dataclass(frozen=True)
class Layer:
    """Counts of one population over all samples. `synops` is what its incoming projections processed, by format.

    `rows` are counted where the population's cores are known. `active_updates` are some of the `neuron_updates`.
    """

    name: str
    neurons: int
    spikes: int
    synops: dict[str, int]
    neuron_updates: int
    firing_rate: float
    rows: int = 0
    active_updates: int = 0


@dataclass(frozen=True)
class Activity:
    """Counts of a whole run: `layers` in causal order, spikes of the input port and of sources of biases."""

    steps: int
    samples: int
    input_spikes: int
    layers: tuple[Layer, ...]
    bias_spikes: int = 0

    @property
    def spikes(self) -> int:
        return sum(layer.spikes for layer in self.layers)

    @property
    def synops(self) -> int:
        return sum(sum(layer.synops.values()) for layer in self.layers)

    @property
    def neuron_updates(self) -> int:
        return sum(layer.neuron_updates for layer in self.layers)


def count(program: Program, payload: np.ndarray, result: RunResult, cores: Mapping[str, int] | None = None) -> Activity:
    """Count what happened when `program` ran on `payload`.

    Args:
        payload: what entered, integers (step, sample, *input shape).
        result: spikes of every population on that input, from any executor.
        cores: how many each population is placed on.
    """
    steps, samples = payload.shape[:2]
    layers = []
    for population in program.populations:
        synops: dict[str, int] = {}
        rows, placed_on = 0, (cores or {}).get(population.name, 0)
        for projection in program.incoming(population.name):
            entered = projection.source == program.input.name
            source = payload if entered else result.spikes[projection.source]
            form = FORMATS[type(projection.synapses)]
            delivered = source[:-1] if projection.recurrent else source
            zeros = isinstance(population.neuron, Neuron)
            synops[form] = synops.get(form, 0) + _operations(projection, delivered, zeros)
            rows += int(np.count_nonzero(delivered)) * placed_on * _kinds(projection.synapses.mantissa)
        if isinstance(population.neuron, Cell) and np.any(population.neuron.bias):
            bias = np.broadcast_to(population.neuron.bias, population.size)
            form = FORMATS[DenseSynapses]
            synops[form] = synops.get(form, 0) + steps * samples * int(np.count_nonzero(bias))
            rows += steps * samples * placed_on * _kinds(bias)
        fired = result.spikes[population.name]
        spikes, updates = int(np.count_nonzero(fired)), population.size * steps * samples
        active = _active(program, population, payload, result) if isinstance(population.neuron, Neuron) else updates
        layers.append(Layer(population.name, population.size, spikes, synops, updates, spikes / updates, rows, active))
    bias_spikes = steps * samples * len(_biased(program))
    return Activity(steps, samples, int(np.count_nonzero(payload)), tuple(layers), bias_spikes)


def events(program: Program, activity: Activity) -> dict[str, int]:
    """Return the spikes of the input, of every population, and of the source of its bias, which fires in every step."""
    sources = {program.input.name: activity.input_spikes} | {layer.name: layer.spikes for layer in activity.layers}
    steps = activity.steps * activity.samples
    return sources | {f"{name}{BIAS}": steps for name in _biased(program)}


def _biased(program: Program) -> list[str]:
    """Return the populations whose bias is spikes of a source."""
    return [p.name for p in program.populations if isinstance(p.neuron, Cell) and np.any(p.neuron.bias)]


PART = 128
"""Samples looked at together, to bound memory."""
FORMATS = {DenseSynapses: "dense", SparseSynapses: "sparse", ConvSynapses: "conv"}
"""The synapse formats by the names that energy models use."""


def _kinds(mantissa: np.ndarray) -> int:
    """Return whether there are excitatory synapses plus whether there are inhibitory ones."""
    return int(np.any(mantissa > 0)) + int(np.any(mantissa < 0))


def fan_out(projection: Projection, pre: int, zeros: bool = True, members: np.ndarray | None = None) -> np.ndarray:
    """Return how many synapses each source has, int64 (pre,).

    Args:
        zeros: whether weights of zero are synapses.
        members: flat indices of the target's neurons that count; all of them by default.
    """
    kept = np.ones(projection.synapses.mantissa.shape, bool) if zeros else projection.synapses.mantissa != 0
    match projection.synapses:
        case DenseSynapses():
            return (kept if members is None else kept[members]).sum(0)
        case SparseSynapses(_, indices, indptr):
            if members is not None:
                chosen = np.zeros(len(indptr) - 1, bool)
                chosen[members] = True
                kept = kept & np.repeat(chosen, np.diff(indptr))
            return np.bincount(indices[kept], minlength=pre).astype(np.int64)
        case ConvSynapses() as conv:
            counted = None
            if members is not None:
                counted = np.zeros(prod(conv.output_shape), bool)
                counted[members] = True
            return kernel_fan_out(conv, conv.output_shape, kept, counted)


def kernel_fan_out(
    conv: ConvSynapses | Conv, output_shape: Shape, kept: np.ndarray, counted: np.ndarray | None = None
) -> np.ndarray:
    """Return per input pixel, over the kernel's places, the output neurons that see it there.

    Args:
        kept: which weights are synapses, bool of the kernel's shape.
        counted: which output neurons count, bool (neuron,); all of them by default.

    Returns:
        int64 (pre,), the pixels in C order.
    """
    channels, *space = conv.input_shape
    where = np.ones(output_shape, bool) if counted is None else counted
    by_group = where.reshape(conv.groups, -1, *output_shape[1:]).astype(np.float32)
    seen = np.zeros((channels, *(n + 2 * p for n, p in zip(space, conv.padding, strict=True))), np.int64)
    for tap in np.ndindex(kept.shape[2:]):
        axes = zip(tap, conv.dilation, conv.stride, output_shape[1:], strict=True)
        window = tuple(slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in axes)
        weights = kept[(slice(None), slice(None), *tap)].reshape(conv.groups, -1, kept.shape[1])
        reads = np.einsum("goi,go...->gi...", weights.astype(np.float32), by_group)
        seen[(slice(None), *window)] += reads.reshape(channels, *output_shape[1:]).astype(np.int64)
    inside = (slice(p, p + n) for n, p in zip(space, conv.padding, strict=True))
    return seen[(slice(None), *inside)].reshape(-1)


def _active(program: Program, population: Population, payload: np.ndarray, result: RunResult) -> int:
    """Return in how many steps of how many neurons input arrives or a bias is added.

    Sources that reach the same neurons are taken together, so that dense synapses need one look per step.
    """
    steps, samples = payload.shape[:2]
    always = np.broadcast_to(np.atleast_1d(population.loihi.bias_mantissa != 0), population.size)
    total = 0
    for first in range(0, samples, PART):
        part = slice(first, first + PART)
        reached = np.zeros((steps, min(samples, first + PART) - first, population.size), bool)
        for projection in program.incoming(population.name):
            entered = projection.source == program.input.name
            source = (payload if entered else result.spikes[projection.source])[:, part] != 0
            late = int(projection.recurrent)
            reached[late:] |= _reached(projection.synapses, source[: steps - late], population.size)
        total += int(np.count_nonzero(reached | always))
    return total


def _reached(synapses: Synapses, fired: np.ndarray, post: int) -> np.ndarray:
    """Return which neurons are reached by spikes (step, sample, *pre), bool broadcastable to (step, sample, post)."""
    flat = fired.reshape(*fired.shape[:2], -1)
    match synapses:
        case DenseSynapses():
            return flat.max(axis=2, keepdims=True)
        case SparseSynapses(_, indices, indptr):
            by_synapse = np.concatenate([flat[:, :, indices], np.zeros((*flat.shape[:2], 1), bool)], axis=2)
            reached: np.ndarray = np.logical_or.reduceat(by_synapse, indptr[:-1], axis=2)
            reached &= np.diff(indptr) > 0
            return reached
        case ConvSynapses() as conv:
            return _reached_by_conv(conv, fired).reshape(*fired.shape[:2], post)


def _reached_by_conv(conv: ConvSynapses, fired: np.ndarray) -> np.ndarray:
    """Return bool (step, sample, channel, y, x): outputs whose window holds a spike of their group."""
    (sy, sx), (py, px), (dy, dx) = conv.stride, conv.padding, conv.dilation
    rows, columns = conv.output_shape[1:]
    by_group = fired.reshape(*fired.shape[:2], conv.groups, -1, *conv.input_shape[1:]).any(axis=3)
    padded = np.pad(by_group, ((0, 0), (0, 0), (0, 0), (py, py), (px, px)))
    seen = np.zeros((*by_group.shape[:3], rows, columns), bool)
    for y, x in np.ndindex(conv.mantissa.shape[2:]):
        seen |= padded[..., y * dy :, x * dx :][..., : sy * (rows - 1) + 1 : sy, : sx * (columns - 1) + 1 : sx]
    return np.repeat(seen, conv.output_shape[0] // conv.groups, axis=2)


def _operations(projection: Projection, source: np.ndarray, zeros: bool) -> int:
    pre = prod(source.shape[2:])
    events = np.count_nonzero(source.reshape(-1, pre), axis=0)
    return int(events.astype(np.int64) @ fan_out(projection, pre, zeros))
