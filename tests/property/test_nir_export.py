"""Over random legal networks: what is exported as NIR comes back equal, nir reads it, and the graph alone means it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.engine.real import run_real
from neurodeploy.exports.nir import export_nir
from neurodeploy.frontends import hdf5
from neurodeploy.frontends.checks import contradictions
from neurodeploy.frontends.nir import network_in
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Firing,
    Input,
    InputKind,
    Linear,
    MaxPool,
    Node,
    Reset,
    Reshape,
    Scale,
    Shape,
    SparseLinear,
)

seeds = st.integers(0, 2**32 - 1)
STEPS, SAMPLES = 12, 3
NAMES = ("lif", "a/b", ".", "net.conv", "über", "x@2", "output", "in", "a|b", "fc")


class RandomNetwork:
    """Populations in a row, each fed through maps; some read earlier or later ones too, at once or a step late.

    With `sayable`, only what NIR's equations say, in numbers whose sums and products are exact.
    """

    def __init__(self, seed: int, sayable: bool) -> None:
        self.random, self.sayable = np.random.default_rng(seed), sayable
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.names = [] if sayable else self.random.permutation(NAMES).tolist()
        space = [(5,), (2, 6), (2, 6, 5)][self.random.integers(3)]
        grid = {} if sayable else {"low": -0.3, "high": 1.7, "levels": 7, "grid": 0.1}
        last = self.entrance = self.add(Input(space, list(InputKind)[self.random.integers(2)], **grid))
        layers = [last]
        for _ in range(int(self.random.integers(1, 4))):
            end = self.path(last)
            last = self.population(self.nodes[end].shape)
            self.edges.append(Edge(end, last))
            layers.append(last)
            for _ in range(int(self.random.integers(3))):
                self.connect(layers[self.random.integers(len(layers))], last)
        if len(layers) > 2 and self.chance(0.5):
            self.connect(layers[-1], layers[1], delay=1)
        self.output = last

    def network(self) -> Network:
        dt = None if self.chance(0.3) else 2.0**-10 if self.sayable else float(self.random.uniform(1e-4, 1e-2))
        encoding = None if self.chance(0.5) else {"kind": "rate", "steps": 7, "seed": 3}
        origin = {name: f'here "{name}"' for name in self.nodes if self.chance(0.5)}
        edges, output = tuple(self.edges), self.output
        found = Network(self.nodes, edges, self.entrance, output, dt_s=dt, origin=origin, encoding=encoding)
        assert contradictions(found) == []
        return found

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def add(self, node: Node) -> str:
        name = self.names.pop() if self.names else f"n{len(self.nodes)}"
        self.nodes[name] = node
        return name

    def values(self, *shape: int) -> np.ndarray:
        return self.random.integers(-64, 128, shape) / 64 if self.sayable else self.random.normal(size=shape)

    def connect(self, source: str, target: str, delay: int | None = None) -> None:
        """Let `target` read `source` through a matrix, a step late where the edge leads back."""
        given, size = self.nodes[source].shape, int(np.prod(self.nodes[target].shape))
        same = given == self.nodes[target].shape
        if delay is None:
            delay = 1 if source == target else int(self.random.integers(2))
        if same and self.chance(0.5):
            self.edges.append(Edge(source, target, delay))
            return
        through = self.add(Linear(self.values(size, int(np.prod(given))) / 4))
        self.edges += [Edge(source, through, delay), Edge(through, target)]

    def path(self, start: str) -> str:
        """Add maps behind `start`, and return the last of them."""
        end = start
        for _ in range(int(self.random.integers(1, 4))):
            made = self.map(end, over_spikes=end == start)
            delay = int(end == start and self.chance(0.2))
            name = self.add(made)
            self.edges.append(Edge(end, name, delay))
            end = name
        return end

    def map(self, source: str, over_spikes: bool) -> Node:
        shape, node = self.nodes[source].shape, self.nodes[source]
        kinds = ["linear", "scale", "reshape", "sparse", "diagonal"]
        if len(shape) > 1 and min(shape[1:]) > 2:
            kinds += ["conv", "conv", "average"]
            spikes = isinstance(node, LIF) and node.firing in (Firing.ABOVE, Firing.REACHED)
            kinds += ["max"] * (over_spikes and (spikes or (isinstance(node, Input) and node.kind is InputKind.SPIKES)))
        match kinds[self.random.integers(len(kinds))]:
            case "scale":
                bias = self.values(shape[0]) * self.chance(0.5)
                return Scale(self.values(shape[0]), bias, shape)
            case "reshape":
                turned = [(int(np.prod(shape)),), tuple(reversed(shape)), (1, *shape)]
                return Reshape(shape, turned[self.random.integers(2 + (len(shape) == 2))])
            case "sparse" | "diagonal" as kind:
                return self.sparse(shape, kind == "diagonal")
            case "conv":
                return self.convolution(shape)
            case "average":
                return AveragePool(shape, (2,) * (len(shape) - 1), (1,) * (len(shape) - 1), (1,) * (len(shape) - 1))
            case "max":
                return MaxPool(shape, (2,) * (len(shape) - 1), (2,) * (len(shape) - 1), (0,) * (len(shape) - 1))
        bias = self.values(4) if self.chance(0.5) else None
        return Linear(self.values(4, int(np.prod(shape))) / 4, bias)

    def sparse(self, shape: Shape, diagonal: bool) -> SparseLinear:
        size = int(np.prod(shape))
        dense = np.diag(self.values(size)) if diagonal else self.values(6, size) * (self.random.random((6, size)) < 0.3)
        if diagonal:
            dense[dense == 0] = np.where(np.eye(size)[dense == 0], 1.0, 0.0)
        rows, columns = np.nonzero(dense)
        starts = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
        made = shape if diagonal else (2, 3)
        bias = self.values(len(dense)) if self.chance(0.5) else None
        return SparseLinear(dense[rows, columns], columns.astype(np.int32), starts, shape, made, bias)

    def convolution(self, shape: Shape) -> Conv:
        axes, groups = len(shape) - 1, 2 if shape[0] % 2 == 0 and self.chance(0.5) else 1
        kernel = tuple(int(n) for n in self.random.integers(1, 4, axes))
        stride = tuple(int(n) for n in self.random.integers(1, 3, axes))
        dilation = tuple(int(n) for n in self.random.integers(1, 3, axes))
        weight = self.values(4, shape[0] // groups, *kernel)
        bias = self.values(4) if self.chance(0.5) else None
        return Conv(weight, shape, stride, tuple(k // 2 for k in kernel), dilation, groups, bias)

    def population(self, shape: Shape) -> str:
        r, size = self.random, shape if self.chance(0.5) else ()
        if self.sayable:
            beta = np.broadcast_to(r.choice([0.0, 0.5, 0.75, 1.0]), size) if self.chance(0.5) else self.some(size)
            alpha = self.some(size) if self.chance(0.3) else None
            beta = np.minimum(beta, 0.75) if alpha is not None else beta
            gain = None if self.chance(0.5) else r.choice([0.5, 1.0, 2.0], size)
            bias = np.array(self.values(*shape)) if alpha is not None and self.chance(0.5) else None
            threshold = np.array(r.choice([0.5, 1.0, 1.5], size))
            return self.add(LIF(shape, np.array(beta), threshold, Reset.ZERO, alpha, gain, bias=bias))
        reset = list(Reset)[r.integers(6)]
        firing = Firing.ABOVE if reset is Reset.SUBTRACT else list(Firing)[r.integers(3)]
        neuron = LIF(shape, self.kept(size), np.array(r.uniform(0.1, 1, size)), reset, firing=firing)
        for key, value in {
            "alpha": self.kept(()),
            "gain": r.normal(size=size),
            "grid": 0.25,
            "floor": np.array(-0.5),
            "bias": r.normal(size=size),
        }.items():
            if self.chance(0.4):
                neuron = replace(neuron, **{key: np.array(value) if key != "grid" else value})
        if reset is Reset.NONE and self.chance(0.5):
            neuron = replace(neuron, firing=Firing.VALUE, floor=None)
        return self.add(neuron)

    def kept(self, size: Shape) -> np.ndarray:
        return np.array(self.random.choice([0.0, 1.0, *self.random.uniform(-0.2, 1, 6)], size))

    def some(self, size: Shape) -> np.ndarray:
        return np.array(self.random.choice([0.0, 0.5, 0.75], size))


def differences(expected: Any, actual: Any, place: str = "network") -> list[str]:
    """Name every field in which two values differ: types, orders, dtypes, shapes and bits."""
    if type(expected) is not type(actual):
        return [f"{place}: {type(expected)} became {type(actual)}"]
    if isinstance(expected, np.ndarray):
        same = (
            expected.dtype == actual.dtype and expected.shape == actual.shape and expected.tobytes() == actual.tobytes()
        )
        return [] if same else [f"{place}: {expected} became {actual}"]
    if is_dataclass(expected):
        pairs = [(f.name, getattr(expected, f.name), getattr(actual, f.name)) for f in fields(expected)]
    elif isinstance(expected, dict) and list(expected) == list(actual):
        pairs = [(key, value, actual[key]) for key, value in expected.items()]
    else:
        return [] if expected == actual else [f"{place}: {expected} became {actual}"]
    return [line for name, a, b in pairs for line in differences(a, b, f"{place}.{name}")]


def without_deviations(network: Network) -> Network:
    return replace(network, deviations=())


@pytest.fixture(scope="module")
def reader() -> Iterator[hdf5.Reader]:
    with hdf5.Reader() as reader:
        yield reader


@given(seeds)
@settings(max_examples=120, deadline=None)
def test_what_is_exported_comes_back_equal(reader: hdf5.Reader, seed: int) -> None:
    """Every node, edge, array, name and setting, to the bit; and again after nir has read the file and written it."""
    network = RandomNetwork(seed, sayable=False).network()
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder) / "net.nir", Path(folder) / "again.nir"
        export_nir(network, path)
        loaded = network_in(reader.read(path), "net.nir", None, None)
        assert differences(network, without_deviations(loaded)) == []
        assert [deviation.code for deviation in loaded.deviations] == ["ND163"]
        nir.write(again, nir.read(path))
        assert differences(network, without_deviations(network_in(reader.read(again), "again.nir", None, None))) == []


@given(seeds)
@settings(max_examples=120, deadline=None)
def test_the_graph_alone_fires_the_same_spikes(reader: hdf5.Reader, seed: int) -> None:
    """Without its metadata, where NIR can say all: read by NIR's equations, every population fires as it did."""
    network = RandomNetwork(seed, sayable=True).network()
    inputs = (np.random.default_rng(seed).random((STEPS, SAMPLES, *network.input_node.shape)) < 0.5).astype(float)
    expected = run_real(network, inputs)[0].spikes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        export_nir(network, path)
        with h5py.File(path, "r+") as file:
            del file["node/metadata"]
        nir.read(path)
        actual = run_real(network_in(reader.read(path), "net.nir", network.dt_s or 1.0, None), inputs)[0].spikes
    for name, spikes in expected.items():
        assert np.array_equal(spikes.reshape(STEPS, SAMPLES, -1), actual[name].reshape(STEPS, SAMPLES, -1)), name
