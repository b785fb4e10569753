"""Run a recorded `Network` again in PyTorch, operation by operation as snnTorch computes it.

In float32 the spikes are bit for bit those of the recorded module on the same samples in the same batch, with these
exceptions where the order of rounding may differ in the last bit: batch norm (PyTorch's kernel fuses it), Lapicque with
an explicit R or time_step (three factors are one gain here), sums fed to a layer instead of to a neuron, layers that
the module applies to all steps at once (PyTorch's kernels may add in another order for another number of rows), and of
the other frameworks whatever leaks otherwise than by a product: SpikingJelly's LIFNode unless tau is a power of two and
decay_input off, Norse's LIF and LIFBox, and sinabs' synaptic currents, recurrence and min_v_mem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.errors import Finding, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Firing,
    Linear,
    MaxPool,
    Node,
    Reset,
    Reshape,
    Scale,
    SparseLinear,
)
from neurodeploy.results import Moment, RunResult, decide

BATCH = 256
"""Samples that are computed together."""
DTYPES = {"float32": torch.float32, "float64": torch.float64}

Map = Callable[[Tensor], Tensor]


def run_source(
    network: Network,
    inputs: np.ndarray,
    *,
    record_states: bool = False,
    batch: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
    dtype: str = "float32",
) -> RunResult:
    """Return the spikes of every population of `network` for `inputs`, computed from rest by PyTorch.

    Args:
        inputs: real values (step, sample, *input shape).
        record_states: also return each membrane as snnTorch's `mem` (and synaptic current as `syn`) after the step, in
            `dtype`. Only Leaky's delayed reset "zero" differs: it shows 0 in the step of a spike, where snnTorch shows
            the membrane that it sets to 0 at the beginning of the next step.
        batch: samples computed together; rounding inside PyTorch's kernels can depend on it.
        progress: called with (samples done, samples) after every batch.
        dtype: "float32", as trained, or "float64".

    Raises:
        UsageError: ND008 when `inputs`, `batch` or `dtype` do not fit.
    """
    _check(network, inputs, batch, dtype)
    steps, samples = inputs.shape[:2]
    populations = network.populations
    spikes = {name: np.zeros((steps, samples, *node.shape), node.spike_type) for name, node in populations.items()}
    state_names = populations if record_states else {}
    voltages = {n: np.zeros((steps, samples, *populations[n].shape), dtype) for n in state_names}
    with_current = [n for n in state_names if populations[n].alpha is not None]
    currents = {n: np.zeros((steps, samples, *populations[n].shape), dtype) for n in with_current}
    start = perf_counter()
    for machine, step, part in _run(network, inputs, batch, dtype):
        for name, record in spikes.items():
            record[step, part] = machine.activity[name].numpy()
        for name, voltage in voltages.items():
            voltage[step, part] = machine.membranes[name].numpy()
        for name, current in currents.items():
            current[step, part] = machine.currents[name].numpy()
        if progress and step == steps - 1:
            progress(part.stop, samples)
    seconds = perf_counter() - start
    predictions = decide(spikes[network.output])
    return RunResult(f"pytorch ({dtype})", spikes, predictions, currents, voltages, seconds)


def moments(network: Network, inputs: np.ndarray, *, batch: int = BATCH) -> Iterator[Moment]:
    """Yield what happens in every step of every batch, as float32, `batch` samples at a time and the last with fewer.

    Args:
        inputs: real values (step, sample, *input shape).

    Raises:
        UsageError: ND008 when `inputs` or `batch` do not fit.
    """
    _check(network, inputs, batch, "float32")
    for machine, step, part in _run(network, inputs, batch, "float32"):
        parts = (machine.reads, machine.activity, machine.shown)
        yield Moment(step, part, *({name: x.numpy() for name, x in each.items()} for each in parts))


def _run(network: Network, inputs: np.ndarray, batch: int, dtype: str) -> Iterator[tuple[Machine, int, slice]]:
    """Yield the machine after every step, with the step and the samples it holds."""
    machine, samples = Machine(network, DTYPES[dtype]), inputs.shape[1]
    for first in range(0, samples, batch):
        part = slice(first, min(first + batch, samples))
        machine.rest(part.stop - part.start)
        for step in range(len(inputs)):
            x = torch.from_numpy(np.array(inputs[step, part], dtype=np.float64)).to(DTYPES[dtype])
            with torch.no_grad():
                machine.step(x)
            yield machine, step, part


@dataclass
class Machine:
    """A network's present state in PyTorch: advance it with `step` after `rest`.

    After a step, `reads` has what every map read, `activity` what every node put out, and `shown` every membrane as
    snnTorch's `mem`: before a reset to zero that Leaky makes at the beginning of the next step.
    """

    network: Network
    dtype: torch.dtype
    reads: dict[str, Tensor] = field(default_factory=dict)
    activity: dict[str, Tensor] = field(default_factory=dict)
    shown: dict[str, Tensor] = field(default_factory=dict)
    membranes: dict[str, Tensor] = field(default_factory=dict)
    currents: dict[str, Tensor] = field(default_factory=dict)
    adaptations: dict[str, Tensor] = field(default_factory=dict)
    fired: dict[str, Tensor] = field(default_factory=dict)
    told: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nodes = self.network.nodes.items()
        self._maps = {name: stateless(node, self.dtype) for name, node in nodes if not isinstance(node, LIF)}
        self._neurons = {name: Parameters(node, self.dtype) for name, node in self.network.populations.items()}
        self._before: dict[str, Tensor] = {}

    def rest(self, samples: int) -> None:
        """Put every state and every delayed value to zero."""
        populations = self.network.populations
        self.membranes = {n: torch.zeros(samples, *node.shape, dtype=self.dtype) for n, node in populations.items()}
        self.currents = {n: membrane.clone() for n, membrane in self.membranes.items()}
        self.adaptations = {n: membrane.clone() for n, membrane in self.membranes.items()}
        self.fired = {n: membrane.clone() for n, membrane in self.membranes.items()}
        self.told = {n: membrane.clone() for n, membrane in self.membranes.items()}
        self._before = {
            edge.source: torch.zeros(samples, *self.network.nodes[edge.source].shape, dtype=self.dtype)
            for edge in self.network.edges
            if edge.delay_steps
        }

    def step(self, x: Tensor) -> None:
        """Advance by one step with its input (sample, *shape)."""
        now = self.activity = {self.network.input: x}
        for name in self.network.nodes:
            if name == self.network.input:
                continue
            own, terms = None, []
            for edge in self.network.incoming(name):
                term = self._before[edge.source] if edge.delay_steps else now[edge.source]
                if edge.source == f"{name}.recurrent":
                    own = term
                else:
                    terms.append(term)
            if name in self._neurons:
                now[name] = self._fire(name, terms, own)
            else:
                self.reads[name] = sum(terms[1:], start=terms[0])
                now[name] = self._maps[name](self.reads[name])
        self._before = {source: now[source] for source in self._before}

    def _fire(self, name: str, terms: list[Tensor], recurrent: Tensor | None) -> Tensor:
        """Advance one population, adding in the order in which snnTorch's neurons add."""
        neuron, membrane = self._neurons[name], self.membranes[name]
        x = sum(terms[1:], start=terms[0]).reshape(membrane.shape) if terms else torch.zeros_like(membrane)
        received = [x] if recurrent is None else [x, recurrent.reshape(membrane.shape)]
        remembered = neuron.adaptation is not None or neuron.firing.tells_changes
        reset = self.fired[name] if remembered else neuron.fires(membrane)
        decayed = neuron.beta * membrane if neuron.alpha is None else neuron.alpha * self.currents[name]
        base = sum((x if neuron.gain is None else x * neuron.gain for x in received), start=decayed)
        if neuron.alpha is not None:
            self.currents[name] = base
            base = neuron.beta * membrane + base
        if neuron.bias is not None:
            base = base + neuron.bias
        match neuron.reset:
            case Reset.SUBTRACT_NEXT_STEP | Reset.SUBTRACT:
                base = base - reset * neuron.threshold
            case Reset.ZERO_NEXT_STEP:
                base = base - reset.clamp(max=1) * base
        if neuron.firing.tells_changes:
            spikes, self.told[name] = neuron.changes(base, self.told[name])
        elif neuron.adaptation is None:
            spikes = neuron.fires(base)
        else:
            decay, strength = neuron.adaptation
            self.adaptations[name] = decay * self.adaptations[name] + self.fired[name]
            spikes = (base - neuron.threshold - strength * self.adaptations[name] > 0).to(self.dtype)
            self.fired[name] = spikes
        self.shown[name] = base
        match neuron.reset:
            case Reset.ZERO:
                base = base - spikes.clamp(max=1) * base
                if neuron.alpha is not None or recurrent is not None:
                    self.shown[name] = base
            case Reset.SUBTRACT:
                self.shown[name] = base = base - (spikes - reset) * neuron.threshold
            case Reset.SUBTRACT_AT_ONCE:
                self.shown[name] = base = base - spikes * neuron.threshold
        if neuron.floor is not None:
            self.shown[name] = base = torch.maximum(base, neuron.floor)
        self.membranes[name] = base
        return spikes


class Parameters:
    """A LIF's numbers as tensors."""

    def __init__(self, node: LIF, dtype: torch.dtype) -> None:
        self.reset = node.reset
        self.firing = node.firing
        self.floor = _optional(node.floor, dtype)
        self.beta = _tensor(node.beta, dtype)
        self.threshold = _tensor(node.threshold, dtype)
        self.alpha = _optional(node.alpha, dtype)
        self.gain = _optional(node.gain, dtype)
        self.bias = _optional(node.bias, dtype)
        self.payload = node.payload or 0.0
        self.adaptation: tuple[Tensor, Tensor] | None = None
        if node.adaptation is not None:
            self.adaptation = (_tensor(node.adaptation.decay, dtype), _tensor(node.adaptation.strength, dtype))

    def fires(self, membrane: Tensor) -> Tensor:
        """Return how many spikes `membrane` sends."""
        match self.firing:
            case Firing.ABOVE:
                return (membrane - self.threshold > 0).to(membrane.dtype)
            case Firing.REACHED:
                return (membrane - self.threshold >= 0).to(membrane.dtype)
            case Firing.VALUE:
                return membrane
            case Firing.MULTIPLE:
                return (membrane > 0) * torch.div(membrane, self.threshold, rounding_mode="trunc")
        raise ValueError(f"{self.firing} depends on more than the membrane")

    def changes(self, membrane: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `membrane` sends to readers that were told `told`, and what they are told then."""
        value = membrane.clamp(min=0) if self.firing is Firing.DELTA_RELU else membrane
        sent = (value - told).abs() >= self.threshold
        message = torch.floor((value - told) / self.payload) * self.payload
        return sent * message, torch.where(sent, value, told)


def stateless(node: Node, dtype: torch.dtype) -> Map:
    """Return a node without state as a function (sample, ...) -> (sample, *shape)."""
    match node:
        case Linear(weight, bias):
            w, b = _tensor(weight, dtype), _optional(bias, dtype)
            return lambda x: functional.linear(x.flatten(1), w, b)
        case SparseLinear():
            return _sparse(node, dtype)
        case Conv(weight, input_shape, stride, padding, dilation, groups, bias):
            w, b = _tensor(weight, dtype), _optional(bias, dtype)
            convolve = functional.conv1d if len(input_shape) == 2 else functional.conv2d
            return lambda x: convolve(x.reshape(-1, *input_shape), w, b, stride, padding, dilation, groups)
        case AveragePool(input_shape, kernel, stride, padding):
            average = functional.avg_pool1d if len(kernel) == 1 else functional.avg_pool2d
            return lambda x: average(x.reshape(-1, *input_shape), kernel, stride, padding)
        case MaxPool(input_shape, kernel, stride, padding):
            largest = functional.max_pool1d if len(kernel) == 1 else functional.max_pool2d
            return lambda x: largest(x.reshape(-1, *input_shape), kernel, stride, padding)
        case Reshape(shape=shape):
            return lambda x: x.reshape(-1, *shape)
        case Scale(weight, bias, shape):
            channel = (-1, *(1,) * (len(shape) - 1))
            w, b = _tensor(weight, dtype).reshape(channel), _tensor(bias, dtype).reshape(channel)
            return lambda x: x.reshape(-1, *shape) * w + b
    return lambda x: x


def _sparse(node: SparseLinear, dtype: torch.dtype) -> Map:
    rows = np.repeat(np.arange(len(node.indptr) - 1), np.diff(node.indptr))
    places = torch.from_numpy(np.stack([rows, node.indices.astype(np.int64)]))
    size = (len(node.indptr) - 1, int(np.prod(node.input_shape)))
    matrix = torch.sparse_coo_tensor(places, _tensor(node.data, dtype), size, check_invariants=True).coalesce()
    bias = _optional(node.bias, dtype)

    def apply(x: Tensor) -> Tensor:
        y = torch.sparse.mm(matrix, x.flatten(1).T).T
        return (y if bias is None else y + bias.reshape(-1)).reshape(-1, *node.shape)

    return apply


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64)).to(dtype)


def _optional(array: np.ndarray | None, dtype: torch.dtype) -> Tensor | None:
    return None if array is None else _tensor(array, dtype)


def _check(network: Network, inputs: np.ndarray, batch: int, dtype: str) -> None:
    shape = network.input_node.shape
    claims = (
        (inputs.ndim == 2 + len(shape) and inputs.shape[2:] == shape, f"inputs have shape {inputs.shape}"),
        (inputs.ndim > 1 and min(inputs.shape[:2]) > 0, "there is no step or no sample"),
        (isinstance(batch, int) and batch > 0, f"batch is {batch!r}"),
        (dtype in DTYPES, f"dtype is {dtype!r}"),
    )
    why = f"the network takes (step, sample, {', '.join(map(str, shape))}), batches of at least 1, float32 or float64"
    findings = [Finding("ND008", "run_source", what, why, "change the call") for holds, what in claims if not holds]
    if findings:
        raise UsageError(*findings)
