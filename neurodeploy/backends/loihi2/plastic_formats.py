"""A real `PlasticProgram` in the number formats of Loihi's learning engine, and learned integers back as a program.

Weights keep the scale of the compiled program, shifted by `headroom` bits where they are to grow. The factor that
changes them is drawn so that its mean is the real one: rate psi L beta eps in weight units is q x1 2^quantum, hence

    mean of q = psi L M,   M = rate S / (impulse 2^quantum) / (one psi x one L)        S: weight units per membrane unit
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, log2

import numpy as np

from neurodeploy.errors import Change, Deviation
from neurodeploy.ir.onchip import (
    ERROR_ONE,
    RATE_ONE,
    READOUT_SHIFT,
    READOUT_UNIT,
    TRACE_MAX,
    WEIGHT_MAX,
    IntegerFactor,
    IntegerReadout,
    IntegerSynapses,
    LocalReadout,
    PlasticPopulation,
    PlasticProgram,
    RealFactor,
    RealNeuron,
    RealReadout,
    RealSynapses,
)
from neurodeploy.ir.program import DECAY_ONE, STATE_SHIFT, DenseSynapses, Neuron, Program, Projection, SparseSynapses

EVEN_MAX = 254
FEEDBACK_EXPONENT = -4
"""Errors of seven bits through eight-bit weights, brought to about thirteen."""
LEAST_EXPONENT = -8
GOAL_BITS = 10
"""A local read-out's goal is about 2^10, and its mantissa, hence, about 127 * 2^12 / 2^10."""
PSI_BITS = 7
MANTISSA_BITS = 7
GROWTH = 4.0
"""Headroom of weights that begin at random: they grow to several times what they were."""
WEIGHT_STEP_BITS = 1
"""A spike's trace and the smallest factor change a weight by half a unit, rounded at random."""


def integer_program(program: Program, real: PlasticProgram, random_start: bool) -> PlasticProgram:
    """Return how a compiled `program` learns in integers what `real` learns in real numbers.

    Args:
        program: the chain that `real` was made from, quantized.
        real: its weights count only where they were drawn anew.
        random_start: whether plastic weights are those of `real` and not the program's.
    """
    populations = []
    for population in real.populations:
        compiled = program.population(population.name)
        real_neuron, neuron = population.neuron, compiled.loihi
        assert isinstance(real_neuron, RealNeuron)
        impulse = _impulse(float(real_neuron.beta.flat[0]))
        quantum = -int(log2(impulse)) - WEIGHT_STEP_BITS
        groups: list[IntegerSynapses | None] = []
        for recurrent, synapses in ((False, population.forward), (True, population.recurrent)):
            if synapses is None:
                groups.append(None)
                continue
            assert isinstance(synapses, RealSynapses)
            projection = projection_of(program, population.name, recurrent)
            groups.append(
                integer_synapses(projection, compiled.scale, synapses, random_start, impulse, quantum, GROWTH)
            )
        forward, loop = groups
        assert forward is not None
        unit = compiled.scale / 2.0**forward.exponent
        factor = _factor(population, neuron, unit / (impulse * 2.0**quantum))
        own = None if population.readout is None else _local_readout(population.readout)
        populations.append(PlasticPopulation(population.name, neuron, forward, loop, factor, own))
    return replace(real, populations=tuple(populations), readout=_readout(real.readout, READOUT_UNIT))


def _readout(real: RealReadout | IntegerReadout, unit: float) -> IntegerReadout:
    """Return the integer read-out; `unit` is what y holds for a real 1."""
    assert isinstance(real, RealReadout)
    mantissa = round(ERROR_ONE * 2**READOUT_SHIFT / (unit * real.goal))
    return IntegerReadout(round(DECAY_ONE * (1 - real.kappa)), mantissa)


def _local_readout(real: LocalReadout) -> LocalReadout:
    """Return the same in integers, on the scale that leaves the goal and the mantissa about equally fine."""
    assert isinstance(real.readout, RealReadout)
    weight, unit = even(real.synapses.weight)
    exponent = GOAL_BITS - round(log2(unit * real.readout.goal))
    synapses = IntegerSynapses(weight, plastic=False, exponent=exponent)
    return LocalReadout(synapses, _readout(real.readout, unit * 2.0**exponent))


def even(weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Return real weights as static eight-bit ones, int32, and how many of their units a real 1 is."""
    unit = EVEN_MAX / float(np.abs(weight).max())
    return 2 * np.round(weight * unit / 2).astype(np.int32), unit


def frozen_program(program: Program, learned: PlasticProgram) -> Program:
    """Return `program` with learned weights; static ones are even, so an odd one goes down by one, as Lava does it.

    Args:
        learned: the populations of `program` that learned; those it does not name stay as they are.
    """
    populations = {population.name: population for population in learned.populations}
    projections, odd, total = [], 0, 0
    for projection in program.projections:
        population = populations.get(projection.target)
        synapses = None
        if population is not None and not completes_reset(projection):
            synapses = population.recurrent if projection.recurrent else population.forward
        if synapses is None or not synapses.plastic:
            projections.append(projection)
            continue
        assert isinstance(synapses, IntegerSynapses)
        odd, total = odd + int(np.count_nonzero(synapses.weight & 1)), total + synapses.weight.size
        mantissa = (synapses.weight >> 1).astype(np.int8)
        projections.append(replace(projection, synapses=DenseSynapses(mantissa), exponent=synapses.exponent))
    what = f"{odd} of {total} learned weights were odd and lost one unit of 256: static weights are even"
    change = Deviation("ND223", "learned weights", what, Change.ROUNDING, 1.0, "weight units")
    return replace(program, projections=tuple(projections), deviations=(*program.deviations, change))


def real_weights(program: Program, learned: PlasticProgram) -> PlasticProgram:
    """Return in membrane units the weights that `program` holds for the populations of `learned`."""
    populations = []
    for population in learned.populations:
        real: list[RealSynapses | None] = []
        for recurrent, synapses in ((False, population.forward), (True, population.recurrent)):
            if synapses is None:
                real.append(None)
                continue
            projection = projection_of(program, population.name, recurrent)
            weight = 2.0 * mantissas(projection, synapses.weight.shape) / weight_units(program, projection)
            real.append(RealSynapses(weight, synapses.plastic))
        forward, loop = real
        assert forward is not None
        populations.append(replace(population, forward=forward, recurrent=loop))
    return replace(learned, populations=tuple(populations))


def projection_of(program: Program, target: str, recurrent: bool) -> Projection:
    """Return the synapses of a population from the one before, or those from itself that can learn."""
    return next(p for p in program.incoming(target) if p.recurrent == recurrent and not completes_reset(p))


def completes_reset(projection: Projection) -> bool:
    """Whether synapses lead from every neuron of a population to itself only."""
    content = projection.synapses
    if not projection.recurrent or not isinstance(content, SparseSynapses):
        return False
    size = len(content.indptr) - 1
    return np.array_equal(content.indptr, np.arange(size + 1)) and np.array_equal(content.indices, np.arange(size))


def weight_units(program: Program, projection: Projection) -> float:
    """Return how many weight units a membrane unit per input value or spike is."""
    sent = program.input.scale if projection.source == program.input.name else 1.0
    return program.population(projection.target).scale * sent / 2.0**projection.exponent


def mantissas(projection: Projection, shape: tuple[int, ...]) -> np.ndarray:
    """Return all-to-all mantissas, int32 of `shape` (post, pre), whatever they were stored as."""
    content = projection.synapses
    if isinstance(content, DenseSynapses):
        return content.mantissa.astype(np.int32)
    assert isinstance(content, SparseSynapses)
    dense = np.zeros(shape, np.int32)
    rows = np.repeat(np.arange(len(dense)), np.diff(content.indptr))
    dense[rows, content.indices] = content.mantissa
    return dense


def integer_synapses(
    projection: Projection,
    scale: float,
    real: RealSynapses,
    random_start: bool,
    impulse: int,
    quantum: int,
    growth: float,
) -> IntegerSynapses:
    """Return the program's own weights, or plastic ones that were drawn anew, on a scale with room to grow."""
    if not (random_start and real.plastic):
        weight = 2 * mantissas(projection, real.weight.shape)
        return IntegerSynapses(weight, real.plastic, projection.exponent, impulse, quantum)
    largest = scale * float(np.abs(real.weight).max()) * growth
    exponent = max(LEAST_EXPONENT, ceil(log2(largest / WEIGHT_MAX)))
    weight = 2 * np.round(real.weight * scale / 2.0 ** (1 + exponent)).astype(np.int32)
    return IntegerSynapses(np.clip(weight, -EVEN_MAX, EVEN_MAX), True, exponent, impulse, quantum)


def _impulse(beta: float) -> int:
    """Return the largest power of two whose trace, one spike in every step, stays within seven bits."""
    return 2 ** max(0, floor(log2(TRACE_MAX * (1 - beta))))


def _factor(population: PlasticPopulation, neuron: Neuron, per_step: float) -> IntegerFactor:
    """Return the integer factor; `per_step` is how many q x1 2^quantum a membrane unit of weight is."""
    real = population.factor
    assert isinstance(real, RealFactor)
    reach = int(neuron.vth.max()) * real.width << STATE_SHIFT
    psi_shift = max(0, reach.bit_length() - PSI_BITS)
    one_psi, one_signal = reach / 2.0**psi_shift, float(ERROR_ONE)
    feedback, exponent = None, 0
    if real.feedback is not None:
        feedback, unit = even(real.feedback)
        exponent = FEEDBACK_EXPONENT
        one_signal *= unit * 2.0**exponent
    mean = real.rate * per_step / (one_psi * one_signal)
    shift = max(0, MANTISSA_BITS - 1 - floor(log2(mean))) if mean > 0 else 0
    return IntegerFactor(
        feedback,
        exponent,
        mantissa=round(mean * 2.0**shift),
        shift=shift,
        psi_shift=psi_shift,
        width=real.width,
        regularizer=round(real.regularizer * one_signal),
        target_rate=round(RATE_ONE * real.target_rate),
    )
