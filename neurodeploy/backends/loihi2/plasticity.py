"""A `PlasticProgram` as Lava Processes that learn: Lava's own learning engine, told what to do by our neurons.

Synapses are stock LearningDense with a Loihi3FLearningRule, neurons `PlasticLIF` and `PlasticReadout`. What comes back
through a stock Dense is the output's error, or that of a `LocalReadout` of the population's own, which a stock Dense
feeds. Nothing is computed by the host while the network learns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2
from typing import Any

import numpy as np

from neurodeploy.backends.loihi2.processes import (
    LocalReadout,
    PairedNetwork,
    PlasticLIF,
    PlasticNetwork,
    PlasticReadout,
    PyLearningDenseModelFixedRecorded,
    PyLearningDenseModelFloatRecorded,
    SpideNetwork,
    TaughtInput,
)

# isort: split
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense, LearningDense
from lava.utils.weightutils import SignMode

from neurodeploy.backends.loihi2.job import LearningJob
from neurodeploy.backends.loihi2.network import connect as network_of_body
from neurodeploy.backends.loihi2.network import stock_models as body_models
from neurodeploy.backends.loihi2.recording import LearningRecord, shared_array
from neurodeploy.backends.loihi2.schedule import Schedule
from neurodeploy.engine.plastic_integer import engine_seed, trace_tau
from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.onchip import (
    FACTOR_STEP,
    IntegerFactor,
    IntegerSynapses,
    PlasticPopulation,
    PlasticProgram,
    RealNeuron,
    RealSynapses,
)
from neurodeploy.ir.paired import PairedProgram
from neurodeploy.ir.phased import PhasedProgram
from neurodeploy.ir.plasticity import Rule, Term, terms
from neurodeploy.ir.program import Neuron

ERROR_BITS = 8
WEIGHT_BITS = 8
DU_FORGETS = 4095
NETWORKS: dict[type, type[AbstractProcess]] = {
    PlasticProgram: PlasticNetwork,
    PhasedProgram: SpideNetwork,
    PairedProgram: PairedNetwork,
}
NEURON_SIDE = {"rate", "L", "psi"}
"""What the postsynaptic neuron multiplies before it sends its third factor."""


@dataclass(frozen=True, eq=False)
class PlasticProcesses:
    """The Processes of a program: one neuron Process and one or two connections per population, keyed by its name.

    What brings errors back is `feedback`, of the output or of the `readouts`; `reading` is what these read through.
    """

    program: PlasticProgram
    neurons: dict[str, AbstractProcess] = field(default_factory=dict)
    forward: dict[str, AbstractProcess] = field(default_factory=dict)
    recurrent: dict[str, AbstractProcess] = field(default_factory=dict)
    feedback: dict[str, AbstractProcess] = field(default_factory=dict)
    reading: dict[str, AbstractProcess] = field(default_factory=dict)
    readouts: dict[str, AbstractProcess] = field(default_factory=dict)

    @property
    def output(self) -> OutPort:
        return self.neurons[self.program.output.name].s_out

    def all(self) -> list[AbstractProcess]:
        """Every Process, in no order that matters."""
        parts = (self.neurons, self.forward, self.recurrent, self.feedback, self.reading, self.readouts)
        return [process for part in parts for process in part.values()]

    def keep(self, record: LearningRecord) -> None:
        """Have the Processes write into `record` while they run."""
        self.neurons[self.program.output.name].proc_params["recording"] = record.of_output()
        for process, rows in zip(self.synapses, record.weights, strict=True):
            process.proc_params["weight_rows"] = rows

    @property
    def synapses(self) -> list[AbstractProcess]:
        """All connections that `PlasticProgram.weights` lists, in its order."""
        found = []
        for population in self.program.populations:
            found.append(self.forward[population.name])
            if population.recurrent is not None:
                found.append(self.recurrent[population.name])
        return found


def connect(program: PlasticProgram, spikes: OutPort, target: OutPort) -> PlasticProcesses:
    """Build the Processes of `program` and connect them.

    Args:
        spikes: sends the input's spikes, first in time step 1 + `program.start`, a sample every `program.period` steps.
        target: sends 1 for the right output and 0 for the others, all through a sample's steps.

    Raises:
        UnsupportedError: ND145 when Lava's learning engine cannot express the rule.
    """
    built = PlasticProcesses(program)
    sender = spikes
    for index, population in enumerate(program.populations):
        neurons = built.neurons[population.name] = _neurons(program, index)
        forward = built.forward[population.name] = _synapses(program, index, recurrent=False)
        sender.connect(forward.s_in)
        _join(forward, neurons, population.forward.plastic)
        if population.recurrent is not None:
            loop = built.recurrent[population.name] = _synapses(program, index, recurrent=True)
            neurons.s_out.connect(loop.s_in)
            _join(loop, neurons, population.recurrent.plastic)
        sender = neurons.s_out
    readout = built.neurons[program.output.name]
    target.connect(readout.t_in)
    for index, population in enumerate(program.populations[:-1]):
        name, neurons, heard = population.name, built.neurons[population.name], readout
        if population.readout is not None:
            heard = built.readouts[name] = _local_readout(program, index)
            reading = built.reading[name] = _static(population.readout.synapses, f"{name}.reading")
            neurons.s_out.connect(reading.s_in)
            reading.a_out.connect(heard.a_in)
            target.connect(heard.t_in)
        back = built.feedback[name] = _feedback(population)
        heard.err_out.connect(back.s_in)
        back.a_out.connect(neurons.a_third_factor_in)
    return built


def wire(setting: LearningJob, clock: np.ndarray) -> tuple[AbstractProcess, LearningRecord]:
    """Return the source of a stretch of learning, connected to all it needs, and the memory it is recorded in.

    Args:
        clock: int64 (1,), shared memory for the last completed time step.
    """
    program, samples, body = setting.program, len(setting.inputs), setting.body
    outputs, steps = program.output.size, program.duration(samples)
    source = TaughtInput(
        samples=setting.inputs,
        labels=setting.labels,
        outputs=outputs,
        period=program.period,
        start=0 if body else program.start,
        taught_from=program.start,
    )
    network = NETWORKS[type(program)](program=program, steps=steps)
    spikes = source.s_out
    if body is not None:
        schedule = Schedule(program.steps, samples, program.period)
        spikes = network_of_body(body, source.s_out, schedule, resting=True).output
    (spikes if spikes.shape == network.s_in.shape else spikes.reshape(network.s_in.shape)).connect(network.s_in)
    source.t_out.connect(network.t_in)
    kind, rows = np.int32 if program.integer else np.float64, steps if setting.trajectory else 1
    record = LearningRecord(
        shared_array((steps, outputs), np.uint8),
        tuple(shared_array((rows, *weight.shape), kind) for weight in program.weights),
        clock,
        shared_array((2,), np.int64),
    )
    record.counters[:] = -1
    for rows_of, weight in zip(record.weights, program.weights, strict=True):
        rows_of[:] = weight
    network.proc_params["record"] = record
    return source, record


def run_configuration(integer: bool, graph: bool) -> Loihi2SimCfg:
    """Return the configuration for programs of one arithmetic: with Lava's learning engine, or fused."""
    recorded = PyLearningDenseModelFixedRecorded if integer else PyLearningDenseModelFloatRecorded
    models = (body_models() if integer else {}) | {LearningDense: recorded}
    tag = "fixed_pt" if integer else "floating_pt"
    return Loihi2SimCfg(select_tag=tag, select_sub_proc_model=graph, exception_proc_model_map=models)


def engine_rule(
    rule: Rule, tau: float, *, impulse: int = 1, quantum: int | None = None, seed: int = 1
) -> Loihi3FLearningRule:
    """Compile a rule's table for Lava's learning engine.

    Args:
        rule: whose dw is a sum of products of rate, L, psi and a presynaptic trace, each perhaps of the step before.
        tau: time constant of the trace, steps: -1 / ln(beta) of the neurons that the synapses lead to, in fixed point
            `engine.plastic_integer.trace_tau`.
        impulse, quantum: of `IntegerSynapses`; a quantum of None means floating point.
        seed: of the rounding of traces and factors.

    Raises:
        UnsupportedError: ND145 when the table asks for what the engine has no place for.
    """
    products: list[str] = []
    for term in terms(rule.weight):
        sign = -1 if term.coefficient < 0 else 1
        for port, polarity in (("y1", sign), ("y2", -sign)):
            products += _products(rule, term, port, polarity, impulse, quantum)
    return Loihi3FLearningRule(dw=" ".join(products), x1_impulse=impulse, x1_tau=tau, t_epoch=1, rng_seed=seed)


def _products(rule: Rule, term: Term, port: str, sign: int, impulse: int, quantum: int | None) -> list[str]:
    """Return the products of one term on one polarity of the third factor.

    What is left of a trace is the trace minus the spike it has just taken: beta eps' = x1 - impulse x0.
    """
    names = [factor.name + "'" * factor.before for factor in term.factors if factor.name not in NEURON_SIDE]
    sides = sorted(factor.name for factor in term.factors if factor.name in NEURON_SIDE)
    if len(rule.pre) != 1 or rule.synapse or rule.post or abs(term.coefficient) != 1 or sides != sorted(NEURON_SIDE):
        raise UnsupportedError(_inexpressible(rule))
    ((trace, equation),) = rule.pre.items()
    if equation != f"beta*{trace}' + x" or sorted(names) not in (sorted(["beta", f"{trace}'"]), [trace]):
        raise UnsupportedError(_inexpressible(rule))
    mark = "+" if sign > 0 else "-"
    other = "-" if sign > 0 else "+"
    if quantum is None:
        with_trace, with_spike = "", ""
    else:
        with_trace, with_spike = f"2^{quantum}*", f"2^{quantum + int(log2(impulse / FACTOR_STEP))}*"
    products = [f"{mark} {with_trace}u0*x1*{port}"]
    if f"{trace}'" in names:
        products.append(f"{other} {with_spike}x0*{port}")
    return products


def _inexpressible(rule: Rule) -> Finding:
    what, why = f"dw = {rule.weight}", "the engine multiplies one presynaptic trace with a factor that the neuron sends"
    fix = "use a rule of one trace and one update per step, such as ir.onchip.EPROP"
    return Finding("ND145", f"rule {rule.name}", what, why, fix)


def _neurons(program: PlasticProgram, index: int) -> AbstractProcess:
    population = program.populations[index]
    neuron, shape = population.neuron, (population.size,)
    shared: dict[str, Any] = {
        "shape": shape,
        "vth": neuron.theta if isinstance(neuron, RealNeuron) else neuron.vth,
        "reset": neuron.reset,
        "period": program.period,
        "first_step": 2 + program.start + index,
        "active_steps": program.steps,
        "factor": population.factor,
        "seed": program.seed,
        "index": index,
        "name": population.name,
    }
    if isinstance(neuron, RealNeuron):
        shared |= {"du": 1.0, "dv": 1 - neuron.beta, "bias_mant": neuron.bias}
    else:
        shared |= {"du": DU_FORGETS, "dv": neuron.dv, "bias_mant": neuron.bias_mantissa}
        shared |= {"bias_exp": neuron.bias_exponent, "bias_in_current": neuron.bias_in_current}
    if population is program.output:
        return PlasticReadout(readout=program.readout, **shared)
    return PlasticLIF(**shared)


def _synapses(program: PlasticProgram, index: int, recurrent: bool) -> AbstractProcess:
    population = program.populations[index]
    synapses = population.recurrent if recurrent else population.forward
    assert synapses is not None
    name = f"{population.name}{'.recurrent' if recurrent else '.forward'}"
    if not synapses.plastic:
        return _static(synapses, name)
    if isinstance(synapses, RealSynapses):
        neuron = population.neuron
        assert isinstance(neuron, RealNeuron)
        tau = float(-1 / np.log(neuron.beta.flat[0]))
        return LearningDense(weights=synapses.weight, name=name, learning_rule=engine_rule(program.rule, tau))
    neuron = population.neuron
    assert isinstance(neuron, Neuron)
    rule = engine_rule(
        program.rule,
        trace_tau(neuron.dv),
        impulse=synapses.impulse,
        quantum=synapses.quantum,
        seed=engine_seed(program.seed, index, recurrent),
    )
    return LearningDense(weights=synapses.weight, learning_rule=rule, name=name, **_formats(synapses.exponent))


def _static(synapses: RealSynapses | IntegerSynapses, name: str) -> AbstractProcess:
    formats = {} if isinstance(synapses, RealSynapses) else _formats(synapses.exponent)
    return Dense(weights=synapses.weight, name=name, **formats)


def _feedback(population: PlasticPopulation) -> AbstractProcess:
    factor = population.factor
    formats = _formats(factor.exponent) if isinstance(factor, IntegerFactor) else {}
    name = f"{population.name}.feedback"
    return Dense(weights=factor.feedback, num_message_bits=ERROR_BITS, name=name, **formats)


def _formats(exponent: int) -> dict[str, Any]:
    """Return what Lava is told of integer weights."""
    return {"weight_exp": exponent, "num_weight_bits": WEIGHT_BITS, "sign_mode": SignMode.MIXED}


def _local_readout(program: PlasticProgram, index: int) -> AbstractProcess:
    population = program.populations[index]
    assert population.readout is not None
    return LocalReadout(
        shape=(program.output.size,),
        readout=population.readout.readout,
        period=program.period,
        first_step=3 + program.start + index,
        active_steps=program.steps,
        name=f"{population.name}.readout",
    )


def _join(synapses: AbstractProcess, neurons: AbstractProcess, plastic: bool) -> None:
    synapses.a_out.connect(neurons.a_in)
    if plastic:
        neurons.s_out_y1.connect(synapses.s_in_y1)
        neurons.s_out_y2.connect(synapses.s_in_y2)
