"""A compiled model as a NeuroBenchModel, so that NeuroBench's own Benchmark measures the network that is deployed.

NeuroBench counts through PyTorch's hooks on layers and neurons. Here an executor (our engine, Lava, ...) runs the
program; then every projection is called on what it carried in each step, as a layer with the program's integers, and
every population puts out the spikes and shows the membranes that were observed. Hooks so see what happened, on whatever
ran it, and no arithmetic is written a second time.
"""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.errors import BackendUnavailableError, Finding, UnsupportedError, UsageError
from neurodeploy.evaluation.neurobench import VERSION
from neurodeploy.ir.program import Cell, ConvSynapses, DenseSynapses, Neuron, Population, Projection, SparseSynapses
from neurodeploy.results import RunResult

if TYPE_CHECKING:
    from neurobench.models import NeuroBenchModel

INSTALL = f'pip install "neurodeploy[neurobench]" and then pip install --no-deps neurobench=={VERSION}'
CONSTANTS: dict[type, tuple[str, ...]] = {
    Neuron: ("du", "dv", "vth", "bias_mantissa", "floor"),
    Cell: ("beta", "alpha", "theta", "bias"),
}
"""The arrays of a population's neurons in each arithmetic."""


def as_neurobench_model(model: CompiledModel, on: str = "engine") -> NeuroBenchModel:
    """Return `model` for `neurobench.benchmarks.Benchmark`, one Benchmark per call of this function.

    Data are (sample, step, *input shape) in real values, as `CompiledModel.source` reads them; the output is spikes
    (sample, step, class), for instance for NeuroBench's ChooseMaxCount. What is measured is the program: bytes of its
    integers as the artefact stores them (SpiNNaker's weights as int32), zeros among its stored weights, graded payloads
    as MACs, membranes after the reset. NeuronOperations has a table for snnTorch's neurons only, so there is a warning
    beside the 0.0 that NeuroBench puts in its place.

    Args:
        on: one of the target's executors, as for `neurodeploy.run`.

    Raises:
        BackendUnavailableError: ND350 without NeuroBench in the version whose harness this fits.
        UsageError: ND401 for an unknown executor. When it is used: ND403 for data of another shape, ND415 for a second
            Benchmark.
        UnsupportedError: when it is used: ND416 where the executor does not show every membrane.
    """
    _check_installed()
    pipeline.refuse_unknown("executor", on, pipeline.executors(model.profile))
    from neurobench.models import NeuroBenchModel

    class DeployedModel(NeuroBenchModel):
        """NeuroBench's view of a compiled model."""

        def __init__(self) -> None:
            super().__init__()
            self.add_activation_module(DeployedNeuron)
            self.net = DeployedNet(model, on)
            self.hooked = False

        def __call__(self, batch: Tensor) -> Tensor:
            if self.hooked and not self.activation_hooks:
                raise UsageError(_spent("another Benchmark took its hooks away, and NeuroBench would report zeros"))
            return self.net(batch)

        def __net__(self) -> nn.Module:
            return self.net

        def register_hooks(self) -> None:
            """Hook the layers once; a Benchmark that ends takes away whatever hooks there are."""
            if self.hooked:
                raise UsageError(_spent("NeuroBench would count through the hooks of both"))
            self.hooked = True
            super().register_hooks()

    return DeployedModel()


class DeployedNet(nn.Module):
    """A program as layers and neurons; `forward` runs it on its executor and calls them on what happened.

    Args:
        model: what is run.
        on: the executor.
    """

    def __init__(self, model: CompiledModel, on: str) -> None:
        super().__init__()
        self.model, self.on = model, on
        self.synapses, self.neurons = nn.Module(), nn.Module()
        sizes = {population.name: population.size for population in model.program.populations}
        sizes[model.program.input.name] = prod(model.program.input.shape)
        for projection in model.program.projections:
            _add(self.synapses, projection.name, _layer(projection, sizes[projection.source]))
        for population in model.program.populations:
            _add(self.neurons, population.name, DeployedNeuron(population))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the output's spikes, float32 (sample, step, class), for input (sample, step, *input shape)."""
        program = self.model.program
        samples = pipeline.Samples("NeuroBench", self._inputs(x), None)
        payload = pipeline.backend_of(self.model.profile).payloads(program.input, samples.inputs)
        result = pipeline.run(self.model, samples, on=self.on, record_states=True)
        carried = {program.input.name: payload, **result.spikes}
        for step in range(len(payload)):
            for projection, layer in zip(program.projections, self.synapses.children(), strict=True):
                source = carried[projection.source]
                late = step - 1 if projection.recurrent else step
                layer(_tensor(source[late] if late >= 0 else np.zeros_like(source[0]), projection))
            for population, neuron in zip(program.populations, self.neurons.children(), strict=True):
                fired = torch.from_numpy(result.spikes[population.name][step].astype(np.int32))
                neuron(fired, self._membranes(population, result, step))
        output = np.swapaxes(result.spikes[program.output], 0, 1)
        return torch.from_numpy(output.reshape(*output.shape[:2], -1).astype(np.float32))

    def _inputs(self, x: Tensor) -> np.ndarray:
        """Return the input as (step, sample, *input shape)."""
        shape, found = self.model.program.input.shape, tuple(x.shape)
        if len(found) < 3 or found[2:] != shape:
            why = f"a NeuroBench model reads (sample, step, {', '.join(map(str, shape))}) here"
            fix = "give the data a time axis after the samples, with a preprocessor if need be"
            raise UsageError(Finding("ND403", "NeuroBench", f"a batch of shape {found}", why, fix))
        return np.swapaxes(x.detach().cpu().numpy(), 0, 1)

    def _membranes(self, population: Population, result: RunResult, step: int) -> Tensor:
        recorded = result.voltages.get(population.name)
        if recorded is None or np.isnan(recorded[step]).any():
            what = f"{result.executor} does not show every membrane of {population.name}"
            why = "NeuroBench would count fewer updates of membranes, and not say so"
            raise UnsupportedError(Finding("ND416", population.name, what, why, "use on='engine'"))
        return torch.from_numpy(recorded[step])


class DeployedNeuron(snntorch.SpikingNeuron):
    """One population as NeuroBench's hooks read snnTorch's neurons: spikes out, membrane in `mem`.

    Its buffers are the program's constants. `mem` is none of them, so that no Footprint grows with the batch.
    """

    init_hidden, output = True, False
    """Its output is spikes alone."""

    def __init__(self, population: Population) -> None:
        nn.Module.__init__(self)
        for name in CONSTANTS[type(population.neuron)]:
            array = getattr(population.neuron, name)
            if array is not None:
                self.register_buffer(name, torch.from_numpy(np.array(array)))
        self.mem = torch.zeros(0)

    def forward(self, spikes: Tensor, membrane: Tensor) -> Tensor:
        self.mem = membrane
        return spikes

    @property
    def _reset_mechanism(self) -> str:
        """Refuse NeuronOperations, which asks for this; NeuroBench catches the error, hence the warning."""
        what, why = "NeuronOperations is unavailable, not 0.0", "NeuroBench has a table of snnTorch's neurons only"
        finding = Finding("ND417", "NeuronOperations", what, why, "leave this metric out")
        warnings.warn(str(finding), stacklevel=2)
        raise UnsupportedError(finding)


class DenseLayer(nn.Linear):
    """All-to-all synapses, mantissas as they are; y = W x in float64, where such sums are exact."""

    def __init__(self, synapses: DenseSynapses) -> None:
        nn.Module.__init__(self)
        _set_mantissa(self, synapses.mantissa)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.double(), self.weight.double())


class SparseLayer(nn.Linear):
    """The stored synapses only, in compressed rows: `weight` (synapse,) with their addresses as buffers."""

    indices: Tensor
    indptr: Tensor

    def __init__(self, synapses: SparseSynapses, pre: int) -> None:
        nn.Module.__init__(self)
        _set_mantissa(self, synapses.mantissa)
        self.register_buffer("indices", torch.from_numpy(np.array(synapses.indices)))
        self.register_buffer("indptr", torch.from_numpy(np.array(synapses.indptr)))
        self.size = (len(synapses.indptr) - 1, pre)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.repeat_interleave(torch.arange(self.size[0]), self.indptr.diff())
        places = torch.stack([rows, self.indices.long()])
        matrix = torch.sparse_coo_tensor(places, self.weight.double(), self.size, check_invariants=True)
        return torch.sparse.mm(matrix, x.double().T).T


class ConvLayer(nn.Conv2d):
    """A shared kernel, mantissas as they are."""

    def __init__(self, synapses: ConvSynapses) -> None:
        nn.Module.__init__(self)
        _set_mantissa(self, synapses.mantissa)
        self.geometry = (synapses.stride, synapses.padding, synapses.dilation, synapses.groups)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x.double(), self.weight.double(), None, *self.geometry)


def _layer(projection: Projection, pre: int) -> nn.Module:
    match projection.synapses:
        case DenseSynapses() as dense:
            return DenseLayer(dense)
        case ConvSynapses() as conv:
            return ConvLayer(conv)
        case sparse:
            return SparseLayer(sparse, pre)


def _set_mantissa(layer: nn.Module, mantissa: np.ndarray) -> None:
    layer.weight = nn.Parameter(torch.from_numpy(np.array(mantissa)), requires_grad=False)
    layer.register_parameter("bias", None)


def _tensor(carried: np.ndarray, projection: Projection) -> Tensor:
    """Return what a projection's source sent in one step, in the shape that its layer reads."""
    synapses = projection.synapses
    shape = synapses.input_shape if isinstance(synapses, ConvSynapses) else (-1,)
    return torch.from_numpy(carried.reshape(len(carried), *shape).astype(np.int32))


def _add(parent: nn.Module, name: str, child: nn.Module) -> None:
    """Add a module under its name, in which PyTorch allows no dot."""
    key = name.replace(".", "_")
    while key in dict(parent.named_children()):
        key += "_"
    parent.add_module(key, child)


def _spent(why: str) -> Finding:
    fix = "make one for each Benchmark with neurodeploy.as_neurobench_model"
    return Finding("ND415", "as_neurobench_model", "a second Benchmark of one model", why, fix)


def _check_installed() -> None:
    try:
        found: str | None = version("neurobench")
    except PackageNotFoundError:
        found = None
    if found != VERSION:
        what = "NeuroBench is not installed" if found is None else f"NeuroBench {found} is installed"
        why = f"its harness is used as {VERSION} has it"
        raise BackendUnavailableError(Finding("ND350", "neurobench", what, why, INSTALL))
