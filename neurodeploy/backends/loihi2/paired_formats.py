"""A real `PairedProgram` in the number formats of Loihi's learning engine, and learned integers back as a program.

Real weights are in the engine's unit already, so they are only rounded. Sums are shifted by an exponent with which
thresholds have room to rise; inhibition gets the exponent it needs.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2

import numpy as np

from neurodeploy.errors import Change, Deviation
from neurodeploy.ir.onchip import WEIGHT_MAX, WEIGHT_MIN, IntegerSynapses, RealNeuron, RealSynapses
from neurodeploy.ir.paired import THETA_MAX, VOTE_ONE, Homeostasis, PairedProgram
from neurodeploy.ir.program import STATE_SHIFT, DenseSynapses, Program

EVEN_MAX = 254
ROOM_BITS = 3
"""The largest threshold may rise eightfold before the register ends."""
REGISTER_BITS = 17
"""Of thresholds, and of currents before they are shifted into the 24 bits of a state."""


def integer_program(program: Program, real: PairedProgram, random_start: bool) -> PairedProgram:
    """Return how a compiled `program` learns in integers what `real` learns in real numbers.

    Args:
        program: the network that `real` was made from, quantized; its neurons are taken.
        random_start: of no account, since weights come from `real` in either case.
    """
    features, output = real.populations
    exponent = _exponent(float(features.threshold.max()), float(np.abs(features.inhibition.weight).sum(1).max()))
    unit = 2.0 ** (exponent + STATE_SHIFT)
    theta = np.clip(np.round(features.threshold * unit), 1, THETA_MAX).astype(np.int32)
    real_homeostasis = features.homeostasis
    homeostasis = Homeostasis(
        round(unit * real_homeostasis.rise), round(unit * real_homeostasis.fall), round(unit * real_homeostasis.least)
    )
    assert isinstance(output.neuron, RealNeuron)
    neurons = [program.population(population.name).loihi for population in real.populations]
    reward = replace(output.reward, reward=round(output.reward.reward), punishment=round(output.reward.punishment))
    return replace(
        real,
        features=replace(
            features,
            neuron=neurons[0],
            threshold=theta,
            forward=_synapses(features.forward, exponent),
            inhibition=_static(features.inhibition.weight * 2.0**exponent),
            homeostasis=homeostasis,
        ),
        output=replace(
            output,
            neuron=replace(neurons[1], vth=np.array(max(1, round(float(output.neuron.theta))))),
            forward=_synapses(output.forward, 0),
            reward=reward,
        ),
    )


def frozen_program(program: Program, learned: PairedProgram) -> Program:
    """Return `program` with learned weights and thresholds; static weights are even, so an odd one goes down by one."""
    features, output = learned.populations
    populations, projections = [], []
    inner = program.population(features.name)
    assert isinstance(features.forward, IntegerSynapses)
    registers = {features.name: features.threshold >> STATE_SHIFT, output.name: output.neuron.vth}  # type: ignore[union-attr]
    scales = {features.name: VOTE_ONE * 2.0**features.forward.exponent, output.name: float(VOTE_ONE)}
    for population in program.populations:
        if population.name in registers:
            neuron = replace(population.loihi, vth=np.asarray(registers[population.name], population.loihi.vth.dtype))
            population = replace(population, neuron=neuron, scale=scales[population.name])
        populations.append(population)
    odd = total = 0
    for projection in program.projections:
        if projection.target not in registers:
            projections.append(projection)
            continue
        forward = features.forward if projection.target == inner.name else output.forward
        synapses = features.inhibition if projection.recurrent else forward
        assert isinstance(synapses, IntegerSynapses)
        odd, total = odd + int(np.count_nonzero(synapses.weight & 1)), total + synapses.weight.size
        mantissa = (synapses.weight >> 1).astype(np.int8)
        projections.append(replace(projection, synapses=DenseSynapses(mantissa), exponent=synapses.exponent))
    what = f"{odd} of {total} learned weights were odd and lost one unit of 256: static weights are even"
    change = Deviation("ND223", "learned weights", what, Change.ROUNDING, 1.0, "weight units")
    return replace(
        program,
        populations=tuple(populations),
        projections=tuple(projections),
        deviations=(*program.deviations, change),
    )


def real_weights(program: Program, learned: PairedProgram) -> PairedProgram:
    """Return as real numbers the weights and thresholds that `program` holds for the populations of `learned`."""
    features, output = learned.populations
    assert isinstance(features.forward, IntegerSynapses)
    exponent = features.forward.exponent
    vth = program.population(features.name).loihi.vth
    neurons = [program.population(population.name).loihi for population in learned.populations]
    zero = np.zeros(())
    counted = RealNeuron(_beta(neurons[1].dv), neurons[1].vth.astype(np.float64), zero, neurons[1].reset)
    return replace(
        learned,
        features=replace(
            features,
            neuron=RealNeuron(_beta(neurons[0].dv), vth / 2.0**exponent, zero, neurons[0].reset),
            threshold=vth / 2.0**exponent,
            forward=_even(features.forward, 0),
            inhibition=_even(features.inhibition, -exponent),
        ),
        output=replace(output, neuron=counted, forward=_even(output.forward, 0)),
    )


def _beta(dv: np.ndarray) -> np.ndarray:
    return 1 - dv / 4096


def _even(synapses: RealSynapses | IntegerSynapses, exponent: int) -> RealSynapses:
    assert isinstance(synapses, IntegerSynapses)
    shift = exponent + (synapses.exponent if exponent else 0)
    return RealSynapses((synapses.weight >> 1 << 1) * 2.0**shift, synapses.plastic)


def _exponent(threshold: float, inhibition: float) -> int:
    """Return by how many bits sums are shifted so that the largest threshold can rise by `ROOM_BITS`.

    Neither may the current wrap when all features fire at once, for what wraps excites.
    """
    return min(0, REGISTER_BITS - 1 - ceil(log2(max(threshold * 2**ROOM_BITS, inhibition))))


def _synapses(synapses: RealSynapses | IntegerSynapses, exponent: int) -> IntegerSynapses:
    """Return weights as even integers, as Lava reads them when it begins."""
    even = 2 * np.round(synapses.weight / 2).astype(np.int32)
    return IntegerSynapses(np.clip(even, WEIGHT_MIN, EVEN_MAX), synapses.plastic, exponent)


def _static(weight: np.ndarray) -> IntegerSynapses:
    """Return weights in state units as even mantissas with the exponent they need."""
    largest = float(np.abs(weight).max())
    exponent = ceil(log2(largest / WEIGHT_MAX)) if largest else 0
    return _synapses(RealSynapses(weight / 2.0**exponent, plastic=False), exponent)
