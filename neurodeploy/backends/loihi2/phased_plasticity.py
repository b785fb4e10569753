"""A `PhasedProgram` as Lava Processes that learn: Lava's own learning engine, told what to do by our neurons.

Synapses are stock LearningDense with a Loihi3FLearningRule. Lava's connections share no weights, so the way back is a
LearningDense of its own with the weights transposed: its source reports the error, its target the rate, and it changes
by the same product, rounded by the same random number. Nothing is computed by the host while the network learns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.backends.loihi2.processes import PhasedNeurons, PhasedReadout, PhasedSource

# isort: split
from lava.magma.core.learning.constants import GradedSpikeCfg
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.dense.process import Dense, LearningDense
from lava.utils.weightutils import SignMode

from neurodeploy.backends.loihi2.recording import LearningRecord
from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.onchip import IntegerSynapses, RealSynapses
from neurodeploy.ir.phased import IntegerErrors, PhasedProgram
from neurodeploy.ir.plasticity import Rule, Signal, Update, terms

MESSAGE_BITS = 8
WEIGHT_BITS = 8
FOREVER = 2**60
"""A time constant of traces that do not decay: e^(-1/2^60) is 1 in double precision."""


@dataclass(frozen=True, eq=False)
class PhasedProcesses:
    """The Processes of a program; `synapses` in the order of its weights, `transposed` keyed by their groups."""

    program: PhasedProgram
    source: PhasedSource
    neurons: list[AbstractProcess] = field(default_factory=list)
    synapses: list[AbstractProcess] = field(default_factory=list)
    transposed: dict[str, AbstractProcess] = field(default_factory=dict)

    @property
    def output(self) -> OutPort:
        return self.neurons[-1].s_out

    def all(self) -> list[AbstractProcess]:
        """Every Process, in no order that matters."""
        return [self.source, *self.neurons, *self.synapses, *self.transposed.values()]

    def keep(self, record: LearningRecord) -> None:
        """Have the Processes write into `record` while they run."""
        self.neurons[-1].proc_params["recording"] = record.of_output()
        for process, rows in zip(self.synapses, record.weights, strict=True):
            process.proc_params["weight_rows"] = rows


def connect(program: PhasedProgram, inputs: OutPort, target: OutPort) -> PhasedProcesses:
    """Build the Processes of `program` and connect them.

    Args:
        inputs: sends the input, first in time step 1 + `program.start`, a sample every `program.period` steps.
        target: sends 1 for the right output and 0 for the others, all through a sample's steps.

    Raises:
        UnsupportedError: ND145 when Lava's learning engine cannot express the rule.
    """
    populations, last = program.populations, len(program.populations) - 1
    built = PhasedProcesses(program, PhasedSource(program=program))
    inputs.connect(built.source.s_in)
    for index, population in enumerate(populations):
        neurons: AbstractProcess = PhasedReadout(program=program, name=population.name)
        if index < last:
            neurons = PhasedNeurons(program=program, index=index, name=population.name)
        built.neurons.append(neurons)
    target.connect(built.neurons[-1].t_in)
    for index, (population, neurons) in enumerate(zip(populations, built.neurons, strict=True)):
        before: Any = built.neurons[index - 1] if index else built.source
        forward = _synapses(program, population.forward, f"{population.name}.forward")
        built.synapses.append(forward)
        before.s_out.connect(forward.s_in)
        forward.a_out.connect(neurons.a_in)
        _tell(population.forward, forward, neurons.y1_out, neurons.y2_out)
        if index:
            exponent = None
            if index == last and isinstance(program.errors, IntegerErrors):
                exponent = program.errors.exponent
            _way_back(built, population.forward, f"{population.name}.forward", neurons.q_out, before, exponent)
        if population.recurrent is not None:
            loop = _synapses(program, population.recurrent, f"{population.name}.recurrent")
            built.synapses.append(loop)
            neurons.s_out.connect(loop.s_in)
            loop.a_out.connect(neurons.a_in)
            _tell(population.recurrent, loop, neurons.loop_y1_out, neurons.loop_y2_out)
            _way_back(built, population.recurrent, f"{population.name}.recurrent", neurons.loop_out, neurons, None)
    return built


def engine_rule(rule: Rule, *, quantum: int | None = None) -> Loihi3FLearningRule:
    """Compile a rule's table for Lava's learning engine: one product of a pre- and a postsynaptic rate, at the end.

    Args:
        quantum: of `IntegerSynapses`; None means floating point.

    Raises:
        UnsupportedError: ND145 when the table asks for what the engine has no place for.
    """
    products = [(term.coefficient, sorted(factor.name for factor in term.factors)) for term in terms(rule.weight)]
    wanted = [(-1.0, sorted([*rule.pre, *rule.post]))]
    phased = rule.signal is Signal.PHASE and rule.update is Update.SAMPLE_END
    if products != wanted or len(rule.pre) != 1 or len(rule.post) != 1 or rule.synapse or not phased:
        what, why = f"dw = {rule.weight}", "two reports at the end of a sample make one product of two rates"
        raise UnsupportedError(Finding("ND145", f"rule {rule.name}", what, why, "use ir.phased.SPIDE"))
    unit = "" if quantum is None else f"2^{quantum}*"
    compiled = Loihi3FLearningRule(dw=f"- {unit}u0*x1*y1 + {unit}u0*x1*y2", x1_tau=FOREVER, t_epoch=1, rng_seed=1)
    compiled.y1_tau = compiled.y2_tau = FOREVER
    return compiled


def _synapses(
    program: PhasedProgram,
    synapses: RealSynapses | IntegerSynapses,
    name: str,
    *,
    back: bool = False,
    exponent: int | None = None,
) -> AbstractProcess:
    """Return a group of synapses, or the transposed ones, shifted by an `exponent` of their own if there is one."""
    formats: dict[str, Any] = {"num_message_bits": MESSAGE_BITS, "name": f"{name}.back" if back else name}
    quantum = None
    if isinstance(synapses, IntegerSynapses):
        quantum = synapses.quantum
        formats |= {"num_weight_bits": WEIGHT_BITS, "sign_mode": SignMode.MIXED}
        formats["weight_exp"] = synapses.exponent if exponent is None else exponent
    weight = np.ascontiguousarray(synapses.weight.T if back else synapses.weight)
    if not synapses.plastic:
        return Dense(weights=weight, **formats)
    rule = engine_rule(program.rule, quantum=quantum)
    return LearningDense(weights=weight, learning_rule=rule, graded_spike_cfg=GradedSpikeCfg.OVERWRITE, **formats)


def _way_back(
    built: PhasedProcesses,
    synapses: RealSynapses | IntegerSynapses,
    name: str,
    sender: OutPort,
    hearing: AbstractProcess,
    exponent: int | None,
) -> None:
    back = built.transposed[name] = _synapses(built.program, synapses, name, back=True, exponent=exponent)
    sender.connect(back.s_in)
    back.a_out.connect(hearing.b_in)
    _tell(synapses, back, hearing.a1_out, hearing.a2_out)


def _tell(synapses: RealSynapses | IntegerSynapses, process: AbstractProcess, first: OutPort, second: OutPort) -> None:
    if synapses.plastic:
        first.connect(process.s_in_y1)
        second.connect(process.s_in_y2)
