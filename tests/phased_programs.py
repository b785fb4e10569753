"""Small rings that learn, and input for them, for the tests of on-chip SPIDE."""

from __future__ import annotations

import numpy as np

from neurodeploy.backends.loihi2.phased_formats import integer_program
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Input, InputKind
from neurodeploy.ir.phased import PhasedProgram
from neurodeploy.ir.program import Program
from neurodeploy.learning import spide
from neurodeploy.lowering import lower
from neurodeploy.lowering.phased import SpideOptions, program

STEPS, BACK_STEPS, INPUTS, CLASSES, LEVELS = 12, 16, 16, 4, 16
LIVELY = SpideOptions(rate=0.3, readout_rate=0.3, back_steps=BACK_STEPS, gain=4.0, margin=0.1, initial="random", seed=3)
"""Rates at which a few samples change most weights, and a gain at which errors spike often."""
PLAIN = spide.Options(back_steps=BACK_STEPS, dropout=0.0)


def network(arch: str = "12f", *, leak: float = 1.0, kind: InputKind = InputKind.GRADED) -> Network:
    """Return a lowered ring with random weights, for pixels in sixteenths or for spikes."""
    source = Input((INPUTS,), kind, 0.0, 1.0, LEVELS if kind is InputKind.GRADED else None)
    options = spide.Options(back_steps=BACK_STEPS, dropout=0.0, leak=leak)
    return lower(spide.architecture(arch, source, CLASSES, options, seed=5))


def real(options: SpideOptions = LIVELY, **ring) -> PhasedProgram:
    """Return a real program of `network`."""
    return program(network(**ring), STEPS, options)


def integer(options: SpideOptions = LIVELY, **ring) -> PhasedProgram:
    """Return an integer program of `network`, as compiling it for Loihi gives it."""
    return compiled(options, **ring)[1]


def compiled(options: SpideOptions = LIVELY, **ring) -> tuple[Program, PhasedProgram]:
    source = network(**ring)
    target = quantize(source)
    return target, integer_program(target, program(source, STEPS, options), options.initial == "random")


def samples(of: PhasedProgram, count: int = 4, *, spikes: bool = False, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return input (sample, step, input) and labels: pixels that stay for all steps, or spikes."""
    random = np.random.default_rng(seed)
    if spikes:
        values = random.integers(0, 2, (count, STEPS, INPUTS))
    else:
        values = np.repeat(random.integers(0, LEVELS + 1, (count, 1, INPUTS)), STEPS, axis=1)
        values = values if of.integer else values / LEVELS
    return values.astype(of.input_type), random.integers(0, CLASSES, count)
