"""A real `PhasedProgram` in the number formats of Loihi's learning engine, and learned integers back as a program.

Weights keep the scale of the compiled program, shifted where they are to grow (`plastic_formats`). Of a change
rate b a of U weight units per membrane unit, a reported as x1 = R a, the neuron's factor is to be on average

    q = b rate U / (R 2^quantum)

The error reaches the last hidden population with a gain that is a power of two in integers, the nearest
to the real one; rates take it into account, so that weights change as in real numbers.
"""

from __future__ import annotations

from dataclasses import replace
from math import floor, log2

import numpy as np

from neurodeploy.backends.loihi2.plastic_formats import (
    LEAST_EXPONENT,
    MANTISSA_BITS,
    completes_reset,
    frozen_program,
    integer_synapses,
    projection_of,
    real_weights,
    weight_units,
)
from neurodeploy.ir.onchip import ERROR_ONE, FACTOR_MOST, IntegerSynapses, RealSynapses
from neurodeploy.ir.phased import (
    COUNT_ONE,
    REPORT_SHIFT,
    IntegerErrors,
    IntegerPhases,
    IntegerRate,
    PhasedPopulation,
    PhasedProgram,
    RealErrors,
    RealPhases,
    RealRate,
    total,
)
from neurodeploy.ir.program import STATE_SHIFT, Population, Program

__all__ = ["frozen_program", "integer_program", "real_weights"]

MOST_QUANTUM, MOST_EXPONENT = 7, 7
LEVELS = 2
"""R of a source that spikes in every step. More would leave more to the factor's draw, whose levels are as few."""
SATURATES = 0.5
"""The quantum is such that a factor is as large as it can be at this |b|."""
HIDDEN_GROWTH, FEEDBACK_GROWTH, READOUT_GROWTH = 1.25, 6.0, 7.0
"""How many times larger than at the beginning the largest random weight of a group may become; seen on digits."""


def integer_program(program: Program, real: PhasedProgram, random_start: bool) -> PhasedProgram:
    """Return how a compiled `program` learns in integers what `real` learns in real numbers.

    Args:
        program: the ring that `real` was made from, quantized.
        real: its weights count only where they were drawn anew.
        random_start: whether plastic weights are those of `real` and not the program's.
    """
    compiled = [program.population(population.name) for population in real.populations]
    groups = [_groups(program, population, random_start) for population in real.populations]
    units = [_units(program, population, own) for population, own in zip(real.populations, groups, strict=True)]
    source = _source_report(program, real.populations[0].name)
    exponent, louder = _gain(real, compiled, units[-1][0])
    populations = []
    for index, (population, own) in enumerate(zip(real.populations, groups, strict=True)):
        neuron, output = population.neuron, population is real.output
        assert isinstance(neuron, RealPhases)
        assert isinstance(population.rate, RealRate)
        rate = population.rate.rate / (1.0 if output else louder)
        one = ERROR_ONE if output else COUNT_ONE * total(neuron.leak, real.back_steps)
        traces = (source if index == 0 else float(LEVELS), float(LEVELS))
        changes = [rate * unit / report for unit, report in zip(units[index], traces, strict=False)]
        quanta = [_quantum(change) for change in changes]
        synapses = [replace(group, quantum=quantum) for group, quantum in zip(own, quanta, strict=True)]
        heard = compiled[min(index + 1, len(compiled) - 2)].scale
        populations.append(
            PhasedPopulation(
                population.name,
                _neuron(program, compiled[index], neuron, heard, LEVELS / total(neuron.leak, real.steps)),
                synapses[0],
                synapses[1] if len(synapses) > 1 else None,
                _rate([change / 2.0**quantum / one for change, quantum in zip(changes, quanta, strict=True)]),
            )
        )
    errors, first, last = real.errors, real.populations[0].neuron, real.output.neuron
    assert isinstance(errors, RealErrors)
    assert isinstance(first, RealPhases)
    assert isinstance(last, RealPhases)
    integers = IntegerErrors(
        margin=floor(ERROR_ONE * errors.margin),
        mantissa=_report(ERROR_ONE / errors.goal / total(last.leak, real.steps)),
        exponent=exponent,
        source=_report(source * _sent(program, real.populations[0].name) / total(first.leak, real.steps)),
    )
    return replace(real, populations=tuple(populations), errors=integers)


def _groups(program: Program, population: PhasedPopulation, random_start: bool) -> list[IntegerSynapses]:
    found = []
    for recurrent, synapses in zip((False, True), population.synapses, strict=False):
        assert isinstance(synapses, RealSynapses)
        projection = projection_of(program, population.name, recurrent)
        scale = weight_units(program, replace(projection, exponent=0))
        growth = FEEDBACK_GROWTH if recurrent else HIDDEN_GROWTH
        if population.name == program.output:
            growth = READOUT_GROWTH
        found.append(integer_synapses(projection, scale, synapses, random_start, 1, 0, growth))
    return found


def _units(program: Program, population: PhasedPopulation, groups: list[IntegerSynapses]) -> list[float]:
    """Return U of every group."""
    projections = [projection_of(program, population.name, recurrent) for recurrent in (False, True)[: len(groups)]]
    return [
        weight_units(program, replace(projection, exponent=group.exponent))
        for projection, group in zip(projections, groups, strict=True)
    ]


def _sent(program: Program, first: str) -> float:
    """Return what a payload of one, or a spike, that enters the population `first` stands for."""
    entering = projection_of(program, first, recurrent=False).source == program.input.name
    return program.input.scale if entering else 1.0


def _source_report(program: Program, first: str) -> float:
    """Return R of the input, per unit of its mean."""
    entering = projection_of(program, first, recurrent=False).source == program.input.name
    return LEVELS / (program.input.high * program.input.scale) if entering else float(LEVELS)


def _quantum(change: float) -> int:
    """Return the exponent of two that factors are multiplied by, when b = 1 is to change weights by `change`."""
    return 0 if change == 0 else min(MOST_QUANTUM, max(0, round(log2(change * SATURATES / FACTOR_MOST))))


def _gain(real: PhasedProgram, compiled: list[Population], unit: float) -> tuple[int, float]:
    """Return the exponent of the output's transposed sums, and by how much it makes the error louder than `real`."""
    if len(compiled) == 1:
        return 0, 1.0
    assert isinstance(real.errors, RealErrors)
    wanted, sent = real.errors.gain * compiled[-2].scale, ERROR_ONE * unit
    exponent = min(MOST_EXPONENT, max(LEAST_EXPONENT, round(log2(wanted / sent))))
    return exponent, sent * 2.0**exponent / wanted


def _neuron(program: Program, compiled: Population, real: RealPhases, heard: float, report: float) -> IntegerPhases:
    """Return a population's neurons; `heard` is the scale of the errors it hears."""
    neuron = compiled.loihi
    threshold = int(neuron.vth.flat[0])
    resets = [each for each in program.incoming(compiled.name) if completes_reset(each)]
    taken = sum(-_shifted(2 * int(each.synapses.mantissa[0]), each.exponent) for each in resets)  # type: ignore[union-attr]
    membrane = heard * 2**STATE_SHIFT
    return IntegerPhases(
        dv=int(neuron.dv.flat[0]),
        threshold=threshold << STATE_SHIFT,
        quantum=(threshold + taken) << STATE_SHIFT,
        bias=neuron.bias_mantissa.astype(np.int64) << neuron.bias_exponent,
        back_threshold=round(real.back_threshold * membrane),
        back_quantum=round(real.back_quantum * membrane),
        low=round(real.low * COUNT_ONE),
        high=round(real.high * COUNT_ONE),
        report=_report(report),
    )


def _shifted(weight: int, exponent: int) -> int:
    return weight << exponent if exponent > 0 else weight >> -exponent


def _report(per_spike: float) -> int:
    """Return the mantissa that turns a count into `per_spike` for every spike in it."""
    return round(per_spike * 2**REPORT_SHIFT / COUNT_ONE)


def _rate(means: list[float]) -> IntegerRate:
    """Return how to draw factors whose means are `means` times |b|."""
    shifts = [max(0, MANTISSA_BITS - 1 - floor(log2(mean))) if mean > 0 else 0 for mean in means]
    return IntegerRate(tuple(round(m * 2.0**s) for m, s in zip(means, shifts, strict=True)), tuple(shifts))
