"""lava-dl's .net files to a `Network`: the integers that netx would give to Lava's processes, in their own unit.

Read as netx 0.6.0 does, without it: kernels are correlated, (channel, y, x) is flattened in this order, a recurrent
synapse takes a step, what a neuron sends waits for its delay, weights of both signs are kept within -256 and 254. Where
netx drops what it does not know, or cuts off what does not fit, this refuses or records. `stored_neurons.py` says what
the neurons compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from neurodeploy.errors import Change, Deviation, Finding, LoadError, UnsupportedError, raise_all
from neurodeploy.frontends.hdf5 import Tree
from neurodeploy.frontends.stored_layers import StoredLayer, layers_of
from neurodeploy.frontends.stored_maps import (
    LARGEST_LAYER,
    biases_of,
    declared,
    input_shape,
    kernel_of,
    matrix_of,
    misfit,
    window_of,
)
from neurodeploy.frontends.stored_neurons import (
    NEUTRAL,
    REGISTERS,
    SDNN,
    averages,
    entry_of,
    lost,
    misplaced_averages,
    neurons_of,
    remembers,
    sigma_delta_misfits,
    unit_of,
    unread_neurons,
)
from neurodeploy.ir.network import Edge, Network, Readout
from neurodeploy.ir.nodes import LIF, Conv, Firing, Input, InputKind, Linear, Node, Reset, Shape, SparseLinear

FIELDS: dict[str, set[str]] = {
    "input": {"weight", "bias"},
    "conv": {"weight", "bias", "delay", "stride", "padding", "dilation", "groups"},
    "pool": {"weight", "delay", "stride", "padding", "dilation"},
    "flatten": set(),
    "average": set(),
    "dense": {"weight", "bias", "delay"},
    "dense_rec": {"weight", "weight_rec", "bias", "delay"},
}
"""The blocks that are read, and what is read of them beside their shape and neurons."""
IMPLIED = {"shape", "inFeatures", "outFeatures", "inChannels", "outChannels", "kernelSize"}
"""What the arrays say again, of any block."""
UNREAD = {"dense_comp": "its weights are complex numbers"}
"""Why some are not read."""
MIXED_MIN, MIXED_MAX = -256, 254
"""Where netx clips weights of both signs (netx/utils.py: optimize_weight_bits)."""
LONGEST_DELAY = 62
"""Of SLAYER's delays; netx clamps those beyond (netx/hdf5.py: create_dense)."""


def network_of(tree: Tree, file: str, example_shape: Shape | None = None) -> Network:
    """Return the network in the contents of a .net file.

    Args:
        example_shape: of one step's input, for a file that begins with a kernel and does not say on what.

    Raises:
        LoadError: ND045 for contents that are none of lava-dl's, ND047 where layers do not fit each other.
        UnsupportedError: ND046, ND049 for every layer that has no exact counterpart.
    """
    layers = layers_of(tree, file)
    raise_all(UnsupportedError, [finding for layer in layers for finding in _unsupported(layer)])
    raise_all(UnsupportedError, [*misplaced_averages(layers), *sigma_delta_misfits(layers)])
    chain = _Chain(layers[0], example_shape)
    for number, layer in enumerate(layers):
        chain.append(str(number), layer)
    return chain.network()


def _unsupported(layer: StoredLayer) -> list[Finding]:
    """Return a finding for everything in `layer` that would be lost."""
    if layer.kind not in FIELDS:
        why = UNREAD.get(layer.kind, f"read are blocks of type {', '.join(FIELDS)}")
        return [lost(layer, f"a block of type {layer.kind}", why)]
    findings = unread_neurons(layer)
    neuron = layer.text("neuron/type") or ""
    if findings and neuron not in REGISTERS:
        return findings
    registers = REGISTERS.get(neuron, set()) | NEUTRAL.keys()
    known = FIELDS[layer.kind] | IMPLIED | {f"neuron/{name}" for name in registers}
    for field in sorted(layer.fields.keys() - known):
        findings.append(lost(layer, f"the field {field}", "what it means for a block of this type is not known"))
    biased = biases_of(layer, prod(declared(layer))) is not None if layer.kind == "dense" else False
    if _delayed(layer) and (layer.kind != "dense" or biased or neuron == SDNN):
        what = f"delays of a {layer.kind} block{' with biases' if biased else ''}"
        why = "netx delays what such neurons read, or nothing, where SLAYER delays what they send"
        why = why if neuron != SDNN else "what waits here are single spikes, and sigma-delta neurons send numbers"
        findings.append(Finding("ND049", layer.name, what, why, "train this layer with delay=False"))
    return findings


def _delayed(layer: StoredLayer) -> bool:
    return "delay" in layer.fields and bool(np.any(layer.integers("delay")))


@dataclass(frozen=True, eq=False)
class _Tap:
    """Where to read some neurons of a layer: the node, their positions in it, and which neurons they are."""

    source: str
    positions: np.ndarray
    neurons: np.ndarray


class _Chain:
    """A network that grows block by block; `shape` is that of what its last block sends."""

    def __init__(self, first: StoredLayer, example_shape: Shape | None) -> None:
        self.shape = input_shape(first, example_shape)
        self.last = "input"
        self.taps = [_Tap("input", np.arange(prod(self.shape)), np.arange(prod(self.shape)))]
        self.nodes: dict[str, Node] = {"input": Input(self.shape, InputKind.SPIKES)}
        self.edges: list[Edge] = []
        self.origin: dict[str, str] = {}
        self.deviations: list[Deviation] = []

    def network(self) -> Network:
        """Return what was chained; its last neurons are read out."""
        if self.last == "input":
            what, why = "the file holds no neurons", "a network's decision is what its last neurons fire"
            raise LoadError(Finding("ND047", "layer", what, why, "give the file of a whole network"))
        if [tap.source for tap in self.taps] != [self.last]:
            what, why = "the last layer's spikes are delayed", "a decision counts what its neurons fire, when they fire"
            raise UnsupportedError(Finding("ND049", self.last, what, why, "train this layer with delay=False"))
        parts = (self.nodes, tuple(self.edges), "input", self.last)
        return Network(*parts, readout=self._readout(), origin=self.origin, deviations=tuple(self.deviations))

    def _readout(self) -> Readout:
        node = self.nodes[self.last]
        assert isinstance(node, LIF)
        if node.firing is Firing.VALUE:
            return Readout.MEMBRANE_SUM
        return Readout.LAST_VALUE if node.firing.tells_changes else Readout.SPIKE_COUNT

    def append(self, name: str, layer: StoredLayer) -> None:
        """Connect a block to the one before it."""
        match layer.kind:
            case "input" if name != "0":
                raise misfit(layer, "it takes input in the middle of the network")
            case "input":
                self._enter(name, layer)
            case "flatten":
                self.shape = (prod(self.shape),)
            case "average":
                self._average(name, layer)
            case "conv":
                self._add(name, layer, kernel_of(layer, self.shape))
            case "pool":
                self._add(name, layer, window_of(layer, self.shape))
            case _:
                self._dense(name, layer)

    def _enter(self, name: str, layer: StoredLayer) -> None:
        """Have real values enter neurons one by one, as weight x + bias."""
        if "neuron/type" not in layer.fields:
            return
        self.nodes["input"], weight, bias = entry_of(layer, self.shape)
        if weight < 1:
            raise LoadError(layer.wrong("weight", f"is {weight:g}", "a step of the input is its inverse"))
        size = prod(self.shape)
        each = np.arange(size + 1)
        weights, biases = np.full(size, weight), np.full(size, bias)
        entry = SparseLinear(weights, each[:-1].astype(np.int32), each, self.shape, self.shape, biases)
        self._add(name, layer, entry)

    def _dense(self, name: str, layer: StoredLayer) -> None:
        if any(n != 1 for n in self.shape[1:]):
            raise misfit(layer, f"it reads a picture {self.shape}, and nothing flattens it")
        keys = ("weight", "weight_rec") if layer.kind == "dense_rec" else ("weight",)
        maps = self._clipped(layer, [matrix_of(layer, key) for key in keys])
        if maps[0].shape[1] != prod(self.shape):
            raise misfit(layer, f"it reads {maps[0].shape[1]} values, and {prod(self.shape)} come")
        self._add(name, layer, *self._read(maps[0], biases_of(layer, len(maps[0]))))
        for recurrent in maps[1:]:
            if recurrent.shape != (len(recurrent), len(maps[0])):
                raise misfit(layer, f"{len(maps[0])} neurons read {recurrent.shape} of each other")
            self.nodes[f"{name}.recurrent"] = Linear(recurrent)
            self.edges += [Edge(name, f"{name}.recurrent", 1), Edge(f"{name}.recurrent", name)]

    def _average(self, name: str, layer: StoredLayer) -> None:
        """Have neurons send the mean of what each group of those before, in their order, sends in a step."""
        outputs, size = prod(declared(layer)), prod(self.shape)
        if self.last == "input" or outputs < 1 or size % outputs:
            raise misfit(layer, f"it makes {outputs} averages of {size} values")
        members = size // outputs
        shares = np.kron(np.eye(outputs), np.full(members, 1 / members))
        self._connect(name, layer, averages(outputs, members), self._read(shares, None))

    def _read(self, weight: np.ndarray, bias: np.ndarray | None) -> list[Linear | SparseLinear]:
        """Return the maps that read each of `taps`: the columns of `weight` of the neurons that are read there."""
        if len(self.taps) == 1:
            return [Linear(weight, bias)]
        maps: list[Linear | SparseLinear] = []
        for tap in self.taps:
            columns = np.tile(tap.positions.astype(np.int32), len(weight))
            rows = np.arange(len(weight) + 1) * len(tap.positions)
            shapes = self.nodes[tap.source].shape, (len(weight),)
            data = weight[:, tap.neurons].reshape(-1)
            maps.append(SparseLinear(data, columns, rows, *shapes, None if maps else bias))
        return maps

    def _relay(self, name: str, layer: StoredLayer) -> list[_Tap]:
        """Return where what neurons send can be read when its delay is over: from relays, which fire a step late.

        SLAYER delays each neuron's spikes by its own number of steps. A chain of relays has one for every step and
        every neuron that waits that long.
        """
        size = prod(self.shape)
        steps = layer.integers("delay").reshape(-1) if _delayed(layer) else np.zeros(1, np.int64)
        if steps.size not in (1, size) or steps.min() < 0 or steps.max() > LONGEST_DELAY:
            raise misfit(layer, f"{size} neurons have {steps.size} delays, of {steps.min()} to {steps.max()} steps")
        steps = np.broadcast_to(steps, size)
        source, neurons, taps = name, np.arange(size), []
        for delay in range(int(steps.max()) + 1):
            if delay:
                waiting = np.flatnonzero(steps[neurons] >= delay)
                relay = f"{name}.delay{delay}"
                self._wait(relay, source, waiting)
                source, neurons = relay, neurons[waiting]
                self.origin[relay] = self.origin[f"{relay}.synapse"] = self.origin[name]
            now = np.flatnonzero(steps[neurons] == delay)
            if len(now):
                taps.append(_Tap(source, now, neurons[now]))
        return taps

    def _wait(self, relay: str, source: str, positions: np.ndarray) -> None:
        """Add neurons that fire a step after the neurons of `source` at `positions`, and so never have any membrane."""
        size = len(positions)
        weights, rows = np.full(size, 2.0), np.arange(size + 1)
        shape = self.nodes[source].shape
        self.nodes[f"{relay}.synapse"] = SparseLinear(weights, positions.astype(np.int32), rows, shape, (size,))
        self.nodes[relay] = LIF((size,), np.array(0.5), np.array(1.0), Reset.ZERO, grid=1.0)
        self.edges += [Edge(source, f"{relay}.synapse", 1), Edge(f"{relay}.synapse", relay)]

    def _clipped(self, layer: StoredLayer, maps: list[np.ndarray]) -> list[np.ndarray]:
        """Return the matrices of a layer as netx clips them, if together they have both signs."""
        low, high = min(float(w.min(initial=0)) for w in maps), max(float(w.max(initial=0)) for w in maps)
        if not low < 0 < high or (low >= MIXED_MIN and high <= MIXED_MAX):
            return maps
        what = f"weights from {low:g} to {high:g} clipped to {MIXED_MIN} and {MIXED_MAX}, as netx does"
        self.deviations.append(Deviation("ND048", layer.name, what, Change.SUBSTITUTION))
        return [np.clip(w, MIXED_MIN, MIXED_MAX) for w in maps]

    def _add(self, name: str, layer: StoredLayer, *entries: Linear | SparseLinear | Conv) -> None:
        """Add the neurons of a block, with what reads each of `taps`, all in the file's units."""
        shape = entries[0].shape
        if prod(shape) > LARGEST_LAYER:
            raise misfit(layer, f"it has {prod(shape):,} neurons, more than {LARGEST_LAYER:,}")
        says = declared(layer)
        if prod(says) != prod(shape) or (len(shape) > 1 and says != shape):
            raise misfit(layer, f"its arrays make neurons {shape}, and it says {says}")
        maps = [_scaled(entry, 1 / unit_of(layer)) for entry in entries]
        own = None
        if remembers(layer):
            own, maps[0] = maps[0].bias, replace(maps[0], bias=None)
        self._connect(name, layer, neurons_of(layer, shape, own), maps)

    def _connect(
        self, name: str, layer: StoredLayer, neurons: LIF, maps: Sequence[Linear | SparseLinear | Conv]
    ) -> None:
        """Add `neurons`, with what reads each of `taps`."""
        self.origin[name] = f'lava-dl {layer.kind} "{layer.name}"'
        for number, (tap, entry) in enumerate(zip(self.taps, maps, strict=True)):
            synapse = f"{name}.synapse{number or ''}"
            self.nodes[synapse], self.origin[synapse] = entry, self.origin[name]
            self.edges += [Edge(tap.source, synapse), Edge(synapse, name)]
        self.nodes[name] = neurons
        self.last, self.shape = name, neurons.shape
        self.taps = self._relay(name, layer)


def _scaled(entry: Linear | SparseLinear | Conv, factor: float) -> Linear | SparseLinear | Conv:
    """Return `entry` with its weights and biases times `factor`."""
    bias = None if entry.bias is None else factor * entry.bias
    if isinstance(entry, SparseLinear):
        return replace(entry, data=factor * entry.data, bias=bias)
    return replace(entry, weight=factor * entry.weight, bias=bias)
