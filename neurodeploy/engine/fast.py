"""The fast path: layer after layer, all steps and samples of a layer at once, in the kernels.

Spikes of one layer are complete before the next begins, which is allowed because latency is taken out of every
population's clock. Equal bit for bit to `reference.run_reference`; programs outside the kernels' 32-bit range, or with
loops through several populations, are run by the reference itself, and the result says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from neurodeploy.engine import kernels
from neurodeploy.engine.reference import convolve, run_reference
from neurodeploy.engine.synapses import add, facing_sources
from neurodeploy.ir.nodes import Firing, InputKind, Reset
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_MAX,
    STATE_SHIFT,
    ConvSynapses,
    DenseSynapses,
    Population,
    Program,
    Projection,
    SparseSynapses,
)
from neurodeploy.results import RunResult, decide

CHUNK_BYTES = 1 << 22
"""Activations of a layer held at once, few enough to stay in cache; a batch is run in chunks of samples."""
LARGEST_ACTIVATION = 1 << 30
"""Beyond this an activation in state units could leave 32 bits when it is added to one."""
LARGEST_RECURRENT = 1 << 13
"""Neurons whose recurrent kernels are written out synapse by synapse: 128 MiB."""


def run_fast(
    program: Program,
    inputs: np.ndarray,
    record_states: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Run all samples from rest and return every population's spikes, and states if asked for.

    Args:
        inputs: integer payloads (step, sample, *input shape).
    """
    if not fits_kernels(program):
        return run_reference(program, inputs, record_states)
    try:
        return _run_kernels(program, inputs, record_states, progress)
    except _Beyond32BitsError:
        return run_reference(program, inputs, record_states)


class _Beyond32BitsError(Exception):
    """What is sent could add up to more than the kernels hold."""


def _run_kernels(
    program: Program, inputs: np.ndarray, record_states: bool, progress: Callable[[int, int], None] | None
) -> RunResult:
    started = time.perf_counter()
    steps, samples = inputs.shape[:2]
    layers = [_Layer.of(program, population) for population in program.populations]
    run = _Run.of(program, inputs, record_states)
    chunk = min(samples, max(1, CHUNK_BYTES // (4 * steps * max(layer.population.size for layer in layers))))
    scratch = [np.empty((chunk, steps, layer.population.size), np.int32) for layer in layers]
    for first in range(0, samples, chunk):
        count = min(chunk, samples - first)
        for layer, activation in zip(layers, scratch, strict=True):
            _advance(layer, run, first, activation[:count])
        if progress:
            progress(first + count, samples)

    def shaped(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {p.name: records[p.name].reshape(steps, samples, *p.shape) for p in program.populations if records}

    spikes = {
        p.name: activity.astype(p.loihi.sent_type, copy=False)
        for p, activity in zip(program.populations, shaped(run.activity).values(), strict=True)
    }
    seconds = time.perf_counter() - started
    states = (shaped(run.currents), shaped(run.voltages))
    return RunResult("engine (numba)", spikes, decide(spikes[program.output]), *states, seconds)


@dataclass(frozen=True, eq=False)
class _Run:
    """Everything a run writes, (step, sample, neuron) over all samples; `activity` begins with the input.

    Spikes are uint8 for kernels that look for ones, and what carries a value is int32.
    """

    activity: dict[str, np.ndarray]
    currents: dict[str, np.ndarray]
    voltages: dict[str, np.ndarray]

    @staticmethod
    def of(program: Program, inputs: np.ndarray, record_states: bool) -> _Run:
        steps, samples = inputs.shape[:2]
        port_type = np.uint8 if program.input.kind is InputKind.SPIKES else np.int32
        activity = {program.input.name: np.ascontiguousarray(inputs.reshape(steps, samples, -1), port_type)}
        states: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
        for population in program.populations:
            shape = (steps, samples, population.size)
            activity[population.name] = np.empty(shape, np.uint8 if population.loihi.most == 1 else np.int32)
            for record in states if record_states else ():
                record[population.name] = np.empty(shape, np.int32)
        return _Run(activity, *states)


def fits_kernels(program: Program) -> bool:
    """Say whether the kernels can run `program`: 32-bit activations, recurrence within single populations only, and by
    shared kernels only where they can be written out. What reads an earlier population a step late is no recurrence."""
    late = [projection for projection in program.projections if projection.recurrent]
    place = {name: i for i, name in enumerate((program.input.name, *(p.name for p in program.populations)))}
    if any(place[projection.source] > place[projection.target] for projection in late):
        return False
    recurrent = [projection for projection in late if projection.source == projection.target]
    if len({projection.target for projection in recurrent}) != len(recurrent):
        return False
    if any(program.population(projection.target).loihi.firing.says_value for projection in recurrent):
        return False
    kernels_of = [projection for projection in recurrent if isinstance(projection.synapses, ConvSynapses)]
    if any(program.population(projection.target).size > LARGEST_RECURRENT for projection in kernels_of):
        return False
    return all(_largest_activation(program, population) < LARGEST_ACTIVATION for population in program.populations)


def _largest_activation(program: Program, population: Population) -> int:
    """Return a bound of |activation| in state units, without what changes add up to: see `_refuse_large`."""
    total = 0
    for projection in program.incoming(population.name):
        if projection.source == program.input.name:
            payload = max(abs(program.input.low), program.input.high)
        else:
            neuron = program.population(projection.source).loihi
            payload = 0 if neuron.firing.tells_changes else neuron.most
        total += _largest_sum(projection) * payload
    return total << population.loihi.activation_shift


def _largest_sum(projection: Projection) -> int:
    """Return a bound of |activation| where no payload is above 1, before a negative exponent shifts sums down."""
    match projection.synapses:
        case SparseSynapses(mantissa, _, indptr):
            rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            sums = np.bincount(rows, np.abs(mantissa.astype(np.int32)), len(indptr) - 1)
        case DenseSynapses(mantissa) | ConvSynapses(mantissa):
            sums = np.abs(mantissa.astype(np.int32)).reshape(len(mantissa), -1).sum(axis=1)
    return 2 * int(sums.max(initial=0)) << max(projection.exponent, 0)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One population with its parameters spread per neuron, and its synapses turned to face their sources.

    `steady` bounds |activation| in state units but for `changes`: of each source that tells changes, how much of it one
    payload can make at most.
    """

    population: Population
    feeds: tuple[tuple[Projection, tuple[np.ndarray, ...]], ...]
    steady: int
    changes: tuple[tuple[str, int], ...]
    parameters: tuple[np.ndarray, ...]
    firing: tuple[np.ndarray, ...]
    recurrent: np.ndarray
    recurrent_exponent: int

    @staticmethod
    def of(program: Program, population: Population) -> _Layer:
        incoming = program.incoming(population.name)
        loops = [p for p in incoming if p.source == p.target]
        feeds = tuple((p, facing_sources(program, p)) for p in incoming if p not in loops)
        tells = {p.name for p in program.populations if p.loihi.firing.tells_changes}
        shift = population.loihi.activation_shift
        changes = tuple((p.source, _largest_sum(p) << shift) for p in incoming if p.source in tells)
        recurrent = _dense_rows(loops[0], population.size) if loops else np.zeros((0, 0), np.int16)
        exponent = loops[0].exponent if loops else 0
        steady = _largest_activation(program, population)
        return _Layer(
            population, feeds, steady, changes, _parameters(population), _firing(population), recurrent, exponent
        )


def _refuse_large(layer: _Layer, run: _Run, samples: slice) -> None:
    """Leave programs to the reference whose changes, being so large, could add up to more than 32 bits hold."""
    reach = [weight * int(np.abs(run.activity[source][:, samples]).max(initial=0)) for source, weight in layer.changes]
    if layer.changes and layer.steady + sum(reach) >= LARGEST_ACTIVATION:
        raise _Beyond32BitsError


RULES = {
    Reset.ZERO: (-1, 0, 0, 0, 0),
    Reset.ZERO_NEXT_STEP: (0, -1, 0, 0, 0),
    Reset.SUBTRACT_NEXT_STEP: (0, 0, -1, 0, 0),
    Reset.SUBTRACT: (0, 0, -1, -1, 0),
    Reset.SUBTRACT_AT_ONCE: (0, 0, 0, 0, -1),
    Reset.NONE: (0, 0, 0, 0, 0),
}
"""The kernels' masks: zero now, zero next step, subtract a step late, correct that at the spike, subtract now."""


def _parameters(population: Population) -> tuple[np.ndarray, ...]:
    neuron = population.loihi
    bias = _per_neuron(population, neuron.bias_mantissa) << neuron.bias_exponent
    nothing = np.zeros(population.size, np.int32)
    return (
        DECAY_ONE - _per_neuron(population, neuron.du),
        DECAY_ONE - _per_neuron(population, neuron.dv),
        _per_neuron(population, neuron.vth) << STATE_SHIFT,
        bias if neuron.bias_in_current else nothing,
        nothing if neuron.bias_in_current else bias,
        np.array(RULES[neuron.reset], np.int32),
    )


def _firing(population: Population) -> tuple[np.ndarray, ...]:
    """Return what `kernels.advance_counting` takes besides: nothing for neurons that `kernels.advance` can run."""
    neuron = population.loihi
    if neuron.firing is Firing.ABOVE and neuron.floor is None and neuron.reset is not Reset.SUBTRACT_AT_ONCE:
        return ()
    if neuron.firing.says_value:
        shifts = (neuron.payload_shift, neuron.most, neuron.activation_shift, neuron.firing.tells_changes)
        least = 0 if neuron.firing is Firing.DELTA_RELU else -STATE_MAX
        return np.array(shifts, np.int32), np.full(population.size, least, np.int32)
    lowest = np.full(population.size, -STATE_MAX, np.int32)
    if neuron.floor is not None:
        lowest = np.maximum(lowest, _per_neuron(population, neuron.floor) << STATE_SHIFT)
    return np.array((neuron.firing is not Firing.ABOVE, neuron.most), np.int32), lowest


def _per_neuron(population: Population, values: np.ndarray) -> np.ndarray:
    """Return an integer for every neuron, int32 (neuron,)."""
    spread = np.broadcast_to(values.reshape(-1) if values.ndim else values, population.size)
    return np.ascontiguousarray(spread, np.int32)


def _dense_rows(projection: Projection, size: int) -> np.ndarray:
    """Return a recurrent projection as int16 (source, target), whatever it was stored as."""
    match projection.synapses:
        case DenseSynapses(mantissa):
            return np.ascontiguousarray(mantissa.T, np.int16)
        case SparseSynapses(mantissa, indices, indptr):
            matrix = csr_array((mantissa.astype(np.int16), indices, indptr), shape=(size, size))
            return np.ascontiguousarray(matrix.toarray().T)
        case ConvSynapses() as conv:
            return np.stack([convolve(conv, spike) for spike in np.eye(size, dtype=np.int64)]).astype(np.int16)
    raise TypeError(type(projection.synapses).__name__)


NO_STATES = np.empty((0, 0, 0), np.int32)


def _advance(layer: _Layer, run: _Run, first: int, activation: np.ndarray) -> None:
    """Run one layer over all steps of the samples from `first` on; `activation` is scratch (sample, step, neuron)."""
    name = layer.population.name
    activation.fill(0)
    _refuse_large(layer, run, slice(first, first + len(activation)))
    for projection, arrays in layer.feeds:
        late = int(projection.recurrent)
        source = run.activity[projection.source]
        add(projection, arrays, source[: len(source) - late], first, activation[:, late:])
    advance = kernels.advance_counting if layer.firing else kernels.advance
    if layer.population.loihi.firing.says_value:
        advance = kernels.advance_values
    advance(
        activation,
        *layer.parameters,
        *layer.firing,
        layer.recurrent,
        layer.recurrent_exponent,
        first,
        run.activity[name],
        run.currents.get(name, NO_STATES),
        run.voltages.get(name, NO_STATES),
    )
