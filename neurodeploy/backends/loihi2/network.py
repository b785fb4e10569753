"""A `Program` as connected Lava Processes, for our own runs and for Lava programs of other people.

One population becomes one neuron Process and one projection one connection Process, both with the program's shapes:
(channel, y, x). Lava's Conv counts (x, y, channel) and convolves where we correlate; that is settled at its ports and
in its kernel, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from neurodeploy.backends.loihi2.processes import PyConvModelWide, PyLifResetModelRecorded, ResettingLIF

# isort: split
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from neurodeploy.backends.loihi2.recording import Recording, shared_array
from neurodeploy.backends.loihi2.schedule import Schedule, refuse_misfits
from neurodeploy.ir.nodes import Firing, InputKind, Reset
from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Population, Program, Projection

WEIGHT_BITS = 8
DU_OFFSET = 1
"""Lava's fixed-point LIF adds one to du, so that a decay of 4096 can be written in 12 bits."""


@dataclass(frozen=True, eq=False)
class LavaNetwork:
    """The Processes of a program, connected to each other and to the port that feeds them.

    `populations` and `projections` are keyed by the program's names; `output` is the port the predictions come from.
    """

    program: Program
    schedule: Schedule | None
    populations: dict[str, AbstractProcess]
    projections: dict[str, AbstractProcess]

    @property
    def output(self) -> OutPort:
        return self.populations[self.program.output].s_out


def connect(
    program: Program, source: OutPort, schedule: Schedule | None = None, *, resting: bool = False
) -> LavaNetwork:
    """Build the Processes of `program` and connect them, the input to `source`.

    Args:
        program: what to build.
        source: the port that sends the input, of the program's input shape (channel, y, x) or (neuron,).
        schedule: when samples start; None for one endless sample, whose first input is sent in time step 1.
        resting: whether the output keeps silent before its first and between samples, as what learns from it needs.

    Raises:
        UnsupportedError: ND305 when connections and latencies contradict each other, ND306 for a Conv that Lava would
            compute differently.
    """
    refuse_misfits(program)
    populations = {
        population.name: neurons(program, population, schedule, rests=resting and population.name == program.output)
        for population in program.populations
    }
    projections = {projection.name: synapses(program, projection) for projection in program.projections}
    for projection in program.projections:
        sender = source if projection.source == program.input.name else populations[projection.source].s_out
        receiver = populations[projection.target].a_in
        _join(sender, projections[projection.name], receiver, projection)
    return LavaNetwork(program, schedule, populations, projections)


def run_configuration() -> Loihi2SimCfg:
    """Return the fixed-point configuration under which the Processes of `connect` run as the program says."""
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=stock_models())


def stock_models() -> dict[type[AbstractProcess], type]:
    """Return the models of ours that stand in for Lava's own."""
    return {LIFReset: PyLifResetModelRecorded, Conv: PyConvModelWide}


def attach_recordings(network: LavaNetwork, states: bool, clocks: np.ndarray) -> dict[str, Recording]:
    """Have every population record its spikes, and its states if asked, while it runs under a schedule.

    Args:
        network: not yet run, with a schedule.
        states: whether to keep u and v.
        clocks: int64 (population,), shared memory in which each population keeps its last completed time step.
    """
    schedule = network.schedule
    assert schedule is not None, "an endless sample has no last row"
    recordings = {}
    for index, population in enumerate(network.program.populations):
        rows = (schedule.samples * schedule.period, *population.shape)
        recording = Recording(
            first_step=1 + population.latency_steps,
            spikes=shared_array(rows, population.loihi.sent_type),
            currents=shared_array(rows, np.int32) if states else None,
            voltages=shared_array(rows, np.int32) if states else None,
            clock=clocks[index : index + 1],
        )
        network.populations[population.name].proc_params["recording"] = recording
        recordings[population.name] = recording
    return recordings


def neurons(
    program: Program, population: Population, schedule: Schedule | None, *, rests: bool = False
) -> AbstractProcess:
    """Return the neuron Process of one population: stock where stock does the same, ours otherwise."""
    neuron = population.loihi
    shared: dict[str, Any] = {
        "name": population.name,
        "shape": population.shape,
        "bias_mant": _per_neuron(population, neuron.bias_mantissa),
        "bias_exp": neuron.bias_exponent,
    }
    if not rests and stock_fits(program, population, schedule):
        registers = {
            "du": int(neuron.du.flat[0]) - DU_OFFSET,
            "dv": int(neuron.dv.flat[0]),
            "vth": int(neuron.vth.flat[0]),
        }
        if schedule is None:
            return LIF(**registers, **shared)
        return LIFReset(
            **registers,
            reset_interval=schedule.period,
            reset_offset=(1 + population.latency_steps) % schedule.period,
            **shared,
        )
    du, dv, vth = (_per_neuron(population, value) for value in (neuron.du, neuron.dv, neuron.vth))
    return ResettingLIF(
        du=du.astype(np.int64) - DU_OFFSET,
        dv=dv,
        vth=vth,
        bias_in_current=neuron.bias_in_current,
        reset=neuron.reset,
        firing=neuron.firing,
        most=neuron.most,
        payload_shift=neuron.payload_shift,
        activation_shift=neuron.activation_shift,
        floor=None if neuron.floor is None else _per_neuron(population, neuron.floor),
        period=None if schedule is None else schedule.period,
        first_step=1 + population.latency_steps,
        active_steps=None if schedule is None else schedule.steps,
        **shared,
    )


def _per_neuron(population: Population, values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values, population.size).reshape(population.shape)


def stock_fits(program: Program, population: Population, schedule: Schedule | None) -> bool:
    """Whether Lava's LIF computes this population.

    It fires once above its threshold, resets to zero at once, has no floor and one du, dv and vth, and adds its bias to
    v. It also never rests: a population that
    feeds back would carry spikes of the empty step between two samples, or from before the first, into a sample; and
    without a schedule, nothing removes the bias that gathers until the first input arrives.
    """
    neuron = population.loihi
    return (
        neuron.reset is Reset.ZERO
        and neuron.firing is Firing.ABOVE
        and neuron.floor is None
        and (schedule is not None or not np.any(neuron.bias_mantissa))
        and all(np.unique(value).size == 1 for value in (neuron.du, neuron.dv, neuron.vth))
        and not (neuron.bias_in_current and np.any(neuron.bias_mantissa))
        and not any(edge.recurrent and edge.source == population.name for edge in program.projections)
    )


def synapses(program: Program, projection: Projection) -> AbstractProcess:
    """Return the stock connection Process of one projection."""
    message_bits = _message_bits(program, projection.source)
    content = projection.synapses
    if isinstance(content, ConvSynapses):
        return Conv(
            name=projection.name,
            weight=conv_kernel(content),
            input_shape=content.input_shape[::-1],
            stride=content.stride[::-1],
            padding=content.padding[::-1],
            dilation=content.dilation[::-1],
            groups=content.groups,
            num_message_bits=message_bits,
        )
    numbers = {
        "name": projection.name,
        "weight_exp": projection.exponent,
        "num_weight_bits": WEIGHT_BITS,
        "sign_mode": SignMode.MIXED,
        "num_message_bits": message_bits,
    }
    weights = 2 * content.mantissa.astype(np.int32)
    if isinstance(content, DenseSynapses):
        return Dense(weights=weights, **numbers)
    shape = (len(content.indptr) - 1, _input_size(program, projection))
    return Sparse(weights=csr_matrix((weights, content.indices, content.indptr), shape=shape), **numbers)


def conv_kernel(content: ConvSynapses) -> np.ndarray:
    """Return the kernel as Lava's Conv wants it: (out, x, y, in), turned around, twice the mantissa.

    Lava convolves, so turning the kernel around in space gives the correlation that is meant. Its Conv neither drops
    the low bit nor applies an exponent, hence the factor two in the numbers.
    """
    return 2 * content.mantissa.astype(np.int32).transpose(0, 3, 2, 1)[:, ::-1, ::-1, :]


def _message_bits(program: Program, source: str) -> int:
    """Return how many bits a graded spike of the input or a population carries; 0 for spikes without a value."""
    if source == program.input.name:
        return max(1, program.input.bits) if program.input.kind is InputKind.GRADED else 0
    most = program.population(source).loihi.most
    return most.bit_length() if most > 1 else 0


def _input_size(program: Program, projection: Projection) -> int:
    if projection.source == program.input.name:
        return prod(program.input.shape)
    return program.population(projection.source).size


def _join(sender: OutPort, connection: AbstractProcess, receiver: InPort, projection: Projection) -> None:
    """Connect sender -> connection -> receiver, reordering axes around a Conv and flattening around the others."""
    content = projection.synapses
    if isinstance(content, ConvSynapses):
        _reshaped(sender, content.input_shape).transpose((2, 1, 0)).connect(connection.s_in)
        _reshaped(connection.a_out.transpose((2, 1, 0)), receiver.shape).connect(receiver)
    else:
        _reshaped(sender, connection.s_in.shape).connect(connection.s_in)
        _reshaped(connection.a_out, receiver.shape).connect(receiver)


def _reshaped(port: OutPort, shape: tuple[int, ...]) -> OutPort:
    return port if port.shape == shape else port.reshape(shape)
