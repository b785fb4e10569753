"""A `PairedProgram` as Lava Processes that learn: Lava's own learning engine, stock wherever stock says the same.

Synapses are stock LearningDense: the features' with a two-factor rule, whose traces are the engine's own, the output's
with a three-factor one. The terms of Lava's stock rules are there with their coefficients, `STDPLoihi` whole where
target and leak are zero; what is added, and why, is said in `ir/paired.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.backends.loihi2.processes import CompetingLIF, Judge, RewardedLIF

# isort: split
from lava.magma.core.learning.learning_rule import Loihi2FLearningRule, Loihi3FLearningRule
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.dense.process import Dense, LearningDense
from lava.utils.weightutils import SignMode

from neurodeploy.backends.loihi2.recording import LearningRecord
from neurodeploy.engine.plastic_integer import engine_seed
from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.onchip import IntegerSynapses, RealNeuron, RealSynapses
from neurodeploy.ir.paired import MANTISSA_MAX, RSTDP, STDP, WEIGHT_UNIT, PairedProgram

WEIGHT_BITS = 8
REWARD_BITS = 8
DU_FORGETS = 4095
REWARD_STRING_EXPONENT = 5
"""The engine shifts the product of a tag and a trace by five."""
CLEAR_STRING = "2^-1*"


@dataclass(frozen=True, eq=False)
class PairedProcesses:
    """The Processes of a program."""

    features: AbstractProcess
    counters: AbstractProcess
    judge: AbstractProcess
    reward: AbstractProcess
    forward: AbstractProcess
    inhibition: AbstractProcess
    votes: AbstractProcess

    @property
    def output(self) -> OutPort:
        return self.counters.s_out

    def all(self) -> list[AbstractProcess]:
        """Every Process, in no order that matters."""
        return [self.features, self.counters, self.judge, self.reward, self.forward, self.inhibition, self.votes]

    def keep(self, record: LearningRecord) -> None:
        """Have the Processes write into `record` while they run."""
        self.counters.proc_params["recording"] = record.of_output()
        groups = (self.forward, self.inhibition, self.features, self.votes)
        for process, rows in zip(groups, record.weights, strict=True):
            process.proc_params["weight_rows"] = rows


def connect(program: PairedProgram, spikes: OutPort, target: OutPort) -> PairedProcesses:
    """Build the Processes of `program` and connect them.

    Args:
        spikes: sends the input's spikes, first in time step 1 + `program.start`, a sample every `program.period` steps.
        target: sends 1 for the right output and 0 for the others, all through a sample's steps; only the judge hears.

    Raises:
        UnsupportedError: ND145 when Lava's learning engine cannot express the rule.
    """
    inner, outer, reward = program.features, program.output, program.output.reward
    unit = 1.0 if program.integer else 2.0**reward.exponent
    built = PairedProcesses(
        CompetingLIF(theta=inner.threshold, homeostasis=inner.homeostasis, **_neurons(program, 0)),
        RewardedLIF(**_neurons(program, 1)),
        Judge(
            shape=(outer.size,),
            period=program.period,
            last_step=program.start + program.steps + 2,
            reward=unit * reward.reward,
            punishment=unit * reward.punishment,
        ),
        _reward_synapses(program),
        _synapses(inner.forward, f"{inner.name}.forward", features_rule(program)),
        _synapses(inner.inhibition, f"{inner.name}.recurrent", None),
        _synapses(outer.forward, f"{outer.name}.forward", output_rule(program)),
    )
    spikes.connect(built.forward.s_in)
    built.features.s_out.connect(built.inhibition.s_in)
    built.features.s_out.connect(built.votes.s_in)
    for synapses, neurons in (
        (built.forward, built.features), (built.inhibition, built.features), (built.votes, built.counters),
    ):  # fmt: skip
        synapses.a_out.connect(neurons.a_in)
    if inner.forward.plastic:
        built.features.s_out_bap.connect(built.forward.s_in_bap)
    if outer.forward.plastic:
        built.counters.s_out_bap.connect(built.votes.s_in_bap)
        built.counters.s_out_y1.connect(built.votes.s_in_y1)
        built.counters.s_out_y2.connect(built.votes.s_in_y2)
        built.counters.s_out_y3.connect(built.votes.s_in_y3)
    built.counters.s_out.connect(built.judge.s_in)
    built.judge.r_out.connect(built.reward.s_in)
    built.reward.a_out.connect(built.counters.a_third_factor_in)
    target.connect(built.judge.t_in)
    return built


def features_rule(program: PairedProgram) -> Loihi2FLearningRule:
    """Compile the table of the features for Lava's learning engine.

    Raises:
        UnsupportedError: ND145 for any table but `STDP`, and for coefficients that the engine does not multiply by.
    """
    pairing = program.features.pairing
    if program.rule != STDP:
        raise UnsupportedError(_inexpressible(program.rule.name, f"dw = {program.rule.weight}"))
    products = [f"- {literal(pairing.a_minus)}*x0*y1"] if pairing.a_minus else []
    products.append(f"+ {literal(pairing.a_plus)}*y0*{f'(x1-{pairing.target})' if pairing.target else 'x1'}")
    if pairing.leak:
        products.append(f"- {literal(pairing.leak)}*y0*w")
    return Loihi2FLearningRule(
        dw=" ".join(products),
        **_trace("x1", pairing.impulse, pairing.tau_plus),
        **_trace("y1", pairing.impulse, pairing.tau_minus),
        t_epoch=1,
        rng_seed=engine_seed(program.seed, 0, recurrent=False),
    )


def output_rule(program: PairedProgram) -> Loihi3FLearningRule:
    """Compile the table of the output: right and wrong come as y2 and y3, the end of a sample as y1.

    Raises:
        UnsupportedError: ND145 for any table but `RSTDP`, and for coefficients that the engine does not multiply by.
    """
    pairing, reward = program.output.pairing, program.output.reward
    if program.reward_rule != RSTDP:
        raise UnsupportedError(_inexpressible(program.reward_rule.name, f"dw = {program.reward_rule.weight}"))
    share, clear = "", ""
    if program.integer:
        share, clear = f"2^{reward.exponent + REWARD_STRING_EXPONENT}*", CLEAR_STRING
    return Loihi3FLearningRule(
        dw=f"{share}u0*t*y2 - {share}u0*t*y3",
        dt=f"{literal(pairing.a_plus)}*y0*x1 - {clear}u0*t*y1",
        **_trace("x1", pairing.impulse, pairing.tau_plus),
        t_epoch=1,
        rng_seed=engine_seed(program.seed, 1, recurrent=False),
    )


def literal(value: float) -> str:
    """Return a coefficient as Lava writes it, a whole number times a power of two.

    Raises:
        UnsupportedError: ND145 when it is none, or none with up to 7 at powers from 2^-7 on.
    """
    mantissa, exponent = value / WEIGHT_UNIT, -7
    while mantissa > MANTISSA_MAX and mantissa % 2 == 0:
        mantissa, exponent = mantissa / 2, exponent + 1
    if mantissa not in range(1, MANTISSA_MAX + 1):
        raise UnsupportedError(_inexpressible("coefficient", f"{value:g}"))
    return f"{int(mantissa)}*2^{exponent}"


def _trace(name: str, impulse: float, tau: float) -> dict[str, Any]:
    return {f"{name}_impulse": impulse, f"{name}_tau": tau}


def _inexpressible(place: str, what: str) -> Finding:
    why = "the engine adds products of traces, tags and weights, each with up to 7 times a power of two"
    return Finding("ND145", place, what, why, "use ir.paired.STDP and RSTDP with such coefficients")


def _neurons(program: PairedProgram, index: int) -> dict[str, Any]:
    population = program.populations[index]
    neuron = population.neuron
    shared: dict[str, Any] = {
        "shape": (population.size,),
        "vth": neuron.theta if isinstance(neuron, RealNeuron) else neuron.vth,
        "reset": neuron.reset,
        "period": program.period,
        "first_step": 2 + program.start + index,
        "active_steps": program.steps,
        "name": population.name,
    }
    if isinstance(neuron, RealNeuron):
        return shared | {"du": 1.0, "dv": 1 - neuron.beta}
    return shared | {"du": DU_FORGETS, "dv": neuron.dv}


def _reward_synapses(program: PairedProgram) -> AbstractProcess:
    """Return synapses that bring every neuron its own reward, a step later, as it was sent."""
    one, name = np.eye(program.output.size), f"{program.output.name}.reward"
    if not program.integer:
        return Dense(weights=one, num_message_bits=REWARD_BITS, name=name)
    weight = (2 * one).astype(np.int32)
    formats = {"weight_exp": -1, "num_weight_bits": WEIGHT_BITS, "sign_mode": SignMode.MIXED}
    return Dense(weights=weight, num_message_bits=REWARD_BITS, name=name, **formats)


def _synapses(synapses: RealSynapses | IntegerSynapses, name: str, rule: Any) -> AbstractProcess:
    formats: dict[str, Any] = {"name": name}
    if isinstance(synapses, IntegerSynapses):
        formats |= {"weight_exp": synapses.exponent, "num_weight_bits": WEIGHT_BITS, "sign_mode": SignMode.MIXED}
    if not synapses.plastic or rule is None:
        return Dense(weights=synapses.weight, **formats)
    return LearningDense(weights=synapses.weight, learning_rule=rule, **formats)
