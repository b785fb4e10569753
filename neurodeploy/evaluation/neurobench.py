"""NeuroBench's metrics of a network as it was meant, by the definitions of neurobench 2.3.0, without NeuroBench.

Every number equals what NeuroBench's own Benchmark reports for the snnTorch module in the same batches, the arithmetic
of its ratios included (tests/conformance/test_neurobench.py). Three things to know about its definitions:

* An operation is a MAC or an AC by the whole call of a layer: one value other than -1, 0 and 1 in a batch makes MACs of
  every operation of that step. The split depends on the batch size, the sum does not.
* A call's operations are summed there in float32, so beyond 2^24 of them NeuroBench's own sum is rounded; ours is the
  exact integer, and `Measures.notes` says so where it can happen.
* A membrane update is a change of snnTorch's `mem` from one step to the next; in the first step every neuron counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from neurodeploy.evaluation.activity import kernel_fan_out
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import LIF, Conv, Linear, MaxPool, Reset, Scale, SparseLinear
from neurodeploy.results import Moment, decide

VERSION = "2.3.0"
"""Of NeuroBench, whose definitions these are."""
FLOAT_BYTES, INTEGER_BYTES = 4, 8
"""Of PyTorch's float32 and int64."""
NEURONS = ("snntorch.Leaky", "snntorch.Synaptic", "snntorch.RLeaky", "snntorch.RSynaptic")
"""The modules that hold, besides a `LIF`'s constants, one float and one integer; Lapicque holds other constants."""
EXACT_FLOAT = 1 << 24
"""Up to here every integer is a float32."""
MAPS = Linear | SparseLinear | Conv


@dataclass(frozen=True, eq=False)
class Events:
    """How often each place of one node's output was not zero, int64 (place,): in all steps, and in the last alone."""

    all_steps: np.ndarray
    last_step: np.ndarray


@dataclass(frozen=True, eq=False)
class Measures:
    """NeuroBench's metrics of one network on one dataset; counts are sums over all samples.

    Args:
        batch: the largest number of samples in one call.
        activation_sparsity_by_layer: by the last part of the layer's path.
        operations: effective ones of each layer, called once per step; what follows is of all calls.
        effective_macs, effective_acs, dense: synaptic operations.
        predictions: int64 (sample,).
        events: of the input, of every population and of every MaxPool, whose output is spikes too.
        unavailable: metric -> why it cannot be told.
        notes: what is assumed, and where NeuroBench's own numbers are odd.
    """

    steps: int
    samples: int
    batch: int
    footprint: int | None
    parameters: int | None
    connection_sparsity: float | None
    activation_sparsity: float
    activation_sparsity_by_layer: dict[str, float]
    operations: dict[str, int]
    effective_macs: int
    effective_acs: int
    dense: int
    membrane_updates: int
    accuracy: float | None
    predictions: np.ndarray
    events: dict[str, Events]
    unavailable: dict[str, str]
    notes: tuple[str, ...]

    def results(self) -> dict[str, Any]:
        """Return what `neurobench.benchmarks.Benchmark.run` returns, under its names; None where unavailable."""
        return {
            "Footprint": self.footprint,
            "ParameterCount": self.parameters,
            "ConnectionSparsity": self.connection_sparsity,
            "ClassificationAccuracy": self.accuracy,
            "ActivationSparsity": self.activation_sparsity,
            "ActivationSparsityByLayer": self.activation_sparsity_by_layer,
            "SynapticOperations": {
                "Effective_MACs": self.effective_macs / self.samples,
                "Effective_ACs": self.effective_acs / self.samples,
                "Dense": self.dense / self.samples,
            },
            "MembraneUpdates": self.membrane_updates / self.samples,
        }


def measure(network: Network, moments: Iterable[Moment], samples: int, labels: np.ndarray | None = None) -> Measures:
    """Count a run of `network` in the batches in which it was run.

    Args:
        network: as it was meant; a lowered one has other layers than the module had.
        moments: every step of every batch in order, as `frontends.source.moments` yields them.
        samples: how many there are in all.
        labels: int (sample,), or None.
    """
    tally = _Tally(network, samples, labels)
    for _, batch in groupby(moments, key=lambda moment: moment.samples.start):
        tally.add_batch(batch)
    layers = connections(network)
    times = {name: calls(network, name) for name in layers}
    macs, acs = (
        {name: int(read[name] @ fan_out(node)) for name, node in layers.items()} for read in (tally.macs, tally.acs)
    )
    dense = {name: int(fan_out(node, nonzero=False).sum()) for name, node in layers.items()}
    unavailable = dict(_unavailable(network, labels))
    return Measures(
        tally.steps,
        samples,
        tally.batch,
        None if "Footprint" in unavailable else footprint(network),
        None if "ParameterCount" in unavailable else parameter_count(network),
        connection_sparsity(network),
        tally.activation_sparsity,
        tally.sparsity_by_layer(),
        {name: macs[name] + acs[name] for name in layers},
        sum(times[name] * macs[name] for name in layers),
        sum(times[name] * acs[name] for name in layers),
        tally.steps * samples * sum(times[name] * dense[name] for name in layers),
        tally.membrane_updates,
        None if labels is None else tally.accuracy,
        np.concatenate(tally.predictions),
        {name: Events(tally.all_steps[name], tally.last_step[name]) for name in tally.all_steps},
        unavailable,
        tuple(_notes(network, tally.batch * max(dense.values(), default=0))),
    )


# what does not depend on data


def connections(network: Network) -> dict[str, Linear | Conv]:
    """Return the layers whose operations NeuroBench counts, recurrent ones among them; pools and neurons are none."""
    return {name: node for name, node in network.nodes.items() if isinstance(node, Linear | Conv)}


def calls(network: Network, name: str) -> int:
    """Return how often snnTorch 1.0.0 calls a layer per step: twice within RLeaky and RSynaptic that reset to zero."""
    targets = [edge.target for edge in network.outgoing(name) if name == f"{edge.target}.recurrent"]
    zero = (Reset.ZERO, Reset.ZERO_NEXT_STEP)
    return 2 if any(network.populations[target].reset in zero for target in targets) else 1


def fan_out(node: MAPS, nonzero: bool = True) -> np.ndarray:
    """Return how many synapses each place of a layer's input has, int64 (pre,); those of padding are none.

    Args:
        nonzero: whether weights of zero are left out.
    """
    weights = node.data if isinstance(node, SparseLinear) else node.weight
    kept = weights != 0 if nonzero else np.ones(weights.shape, bool)
    match node:
        case Linear():
            return kept.sum(0)
        case SparseLinear(_, indices):
            return np.bincount(indices[kept], minlength=prod(node.input_shape)).astype(np.int64)
        case Conv():
            return kernel_fan_out(node, node.shape, kept)


def parameter_count(network: Network) -> int:
    """Return the weights and biases; constants of neurons are buffers unless they were learned, which is not known."""
    own = sum(_own_biases(network, name) for name in network.populations)
    return own + sum(_size(node.weight) + _size(node.bias) for node in connections(network).values())


def _own_biases(network: Network, name: str) -> int:
    """Return how many biases a population has of its own: those that a convolution feeds share one per channel."""
    node = network.populations[name]
    if node.bias is None:
        return 0
    by_channel = any(isinstance(network.nodes[edge.source], Conv) for edge in network.incoming(name))
    return node.shape[0] if by_channel else node.size


def neuron_bytes(network: Network) -> int:
    """Return the bytes of what snnTorch's neurons hold before they first run, when their states are empty."""
    constants = sum(
        _size(node.threshold) + _size(node.beta) + _size(node.alpha) for node in network.populations.values()
    )
    own = FLOAT_BYTES + INTEGER_BYTES  # graded_spikes_factor and reset_mechanism_val
    return constants * FLOAT_BYTES + len(network.populations) * own


def footprint(network: Network) -> int:
    """Return the bytes of a fresh module's parameters and buffers, in float32."""
    return parameter_count(network) * FLOAT_BYTES + neuron_bytes(network)


def connection_sparsity(network: Network) -> float | None:
    """Return the share of weights that are zero, divided in float32 and rounded to four digits as NeuroBench does."""
    weights = [node.weight for node in connections(network).values()]
    total = sum(weight.size for weight in weights)
    zeros = total - sum(int(np.count_nonzero(weight)) for weight in weights)
    return round(float(np.float32(zeros) / np.float32(total)), 4) if total else None


def _size(array: np.ndarray | None) -> int:
    return 0 if array is None else array.size


def _unavailable(network: Network, labels: np.ndarray | None) -> Iterator[tuple[str, str]]:
    """Yield each metric that cannot be told, and why."""
    places = {name: network.place(name) for name in network.nodes}
    layers = [name for name, node in network.nodes.items() if isinstance(node, Scale | SparseLinear)]
    neurons = [name for name in network.populations if not network.origin.get(name, "").startswith(NEURONS)]
    if layers:
        why = f"{places[layers[0]]} does not record which tensors PyTorch held for it"
        yield from (("Footprint", why), ("ParameterCount", why))
    elif neurons:
        yield "Footprint", f"{places[neurons[0]]} comes from no snnTorch module whose buffers are known"
    if not connections(network):
        yield "ConnectionSparsity", "there is no Linear and no convolution"
    if labels is None:
        yield "ClassificationAccuracy", "the data have no labels"


def _notes(network: Network, largest_call: int) -> Iterator[str]:
    yield "ParameterCount leaves out constants of neurons; learn_beta and its like would make parameters of them"
    leaky = [
        name
        for name, node in network.populations.items()
        if node.reset is Reset.ZERO and node.alpha is None and f"{name}.recurrent" not in network.nodes
    ]
    if leaky:
        yield f"membranes of {', '.join(leaky)} as snnTorch's Leaky shows them with its default, reset_delay=True"
    doubled = [name for name in connections(network) if calls(network, name) > 1]
    if doubled:
        yield f"snnTorch calls {', '.join(doubled)} twice per step, and NeuroBench counts both calls"
    if largest_call > EXACT_FLOAT:
        yield "with this batch a call may have over 2^24 operations, beyond which NeuroBench's own sums are rounded"


# what does


class _Tally:
    """Counts as they grow, batch by batch."""

    def __init__(self, network: Network, samples: int, labels: np.ndarray | None) -> None:
        nodes = network.nodes
        self.network, self.samples, self.labels = network, samples, labels
        self.steps = self.batch = self.membrane_updates = 0
        self.predictions: list[np.ndarray] = []
        self.accuracy = self.activation_sparsity = 0.0
        self.fired: defaultdict[str, int] = defaultdict(int)
        self.outputs: defaultdict[str, int] = defaultdict(int)
        sizes = {n: prod(nodes[network.incoming(n)[0].source].shape) for n in connections(network)}
        self.macs = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
        self.acs = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
        spiking = [n for n, node in nodes.items() if isinstance(node, LIF | MaxPool) or n == network.input]
        self.all_steps = {name: np.zeros(prod(nodes[name].shape), np.int64) for name in spiking}
        self.last_step = {name: np.zeros(prod(nodes[name].shape), np.int64) for name in spiking}

    def add_batch(self, batch: Iterable[Moment]) -> None:
        """Count all steps of one batch, whose ratios weigh as much as it has samples."""
        fired: defaultdict[str, int] = defaultdict(int)
        outputs: defaultdict[str, int] = defaultdict(int)
        spikes, before = [], None
        for moment in batch:
            self._add_operations(moment)
            self.membrane_updates += _updates(moment, before)
            for name in self.network.populations:
                fired[name] += int(np.count_nonzero(moment.activity[name]))
                outputs[name] += moment.activity[name].size
            now = {name: _events(moment.activity[name]) for name in self.all_steps}
            for name, events in now.items():
                self.all_steps[name] += events
            spikes.append(moment.activity[self.network.output])
            before = moment
        size = len(spikes[0])
        self.steps, self.batch = len(spikes), max(self.batch, size)
        for name, events in now.items():
            self.last_step[name] += events
        total = sum(outputs.values())
        self.activation_sparsity += ((total - sum(fired.values())) / total) * size / self.samples
        for name in self.network.populations:
            self.fired[name.rpartition(".")[2]] += fired[name]
            self.outputs[name.rpartition(".")[2]] += outputs[name]
        self.predictions.append(decide(np.stack(spikes)))
        if self.labels is not None and before is not None:
            hits = int(np.count_nonzero(self.predictions[-1] == self.labels[before.samples]))
            self.accuracy += float(np.float32(hits) / np.float32(size)) * size / self.samples

    def sparsity_by_layer(self) -> dict[str, float]:
        return {name: (total - self.fired[name]) / total for name, total in self.outputs.items()}

    def _add_operations(self, moment: Moment) -> None:
        """Count what each layer read, as MACs if any value of the whole call is other than -1, 0 and 1."""
        for name in self.macs:
            x = moment.reads[name]
            spiking = bool(((x == 0) | (np.abs(x) == 1)).all())
            (self.acs if spiking else self.macs)[name] += _events(x)


def _events(x: np.ndarray) -> np.ndarray:
    """Return in how many samples each place is not zero, int64 (place,)."""
    return np.count_nonzero(x.reshape(len(x), -1), axis=0).astype(np.int64)


def _updates(moment: Moment, before: Moment | None) -> int:
    """Return how many membranes changed since the step before; all of them in a first step."""
    if before is None:
        return sum(membrane.size for membrane in moment.membranes.values())
    return sum(int(np.count_nonzero(now - before.membranes[name])) for name, now in moment.membranes.items())
