"""Over random NIR graphs: the network that is read fires as the graph does, simulated node by node in Euler steps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.engine.real import run_real
from neurodeploy.frontends.nir import load_nir
from neurodeploy.lowering import lower

DT = 1e-3
STEPS, SAMPLES = 30, 5


class RandomGraph:
    """Layers fed by any earlier ones through one or two maps each, some recurrent, all under names in no order."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.names = [f"{a}{b}" for a in "azinput" for b in range(8)]
        self.random.shuffle(self.names)
        self.nodes: dict[str, Any] = {"in": nir.Input(np.array([4]))}
        self.edges: list[tuple[str, str]] = []
        self.feeds: dict[str, list[tuple[str, list[str]]]] = {}
        sizes, before = {"in": 4}, ["in"]
        for _ in range(int(self.random.integers(1, 4))):
            size = int(self.random.integers(2, 6))
            layer = self._add(self._neuron(size))
            feeds = [(str(self.random.choice(before)), False) for _ in range(int(self.random.integers(1, 4)))]
            feeds[0] = (before[-1], False)
            feeds += [(layer, True)] * int(self.random.integers(2))
            self.feeds[layer] = []
            sizes[layer] = size
            for source, _ in feeds:
                self.feeds[layer].append((source, self._path(source, sizes[source], layer, size)))
            before.append(layer)
        self.nodes["out"] = nir.Output(np.array([sizes[before[-1]]]))
        self.edges.append((before[-1], "out"))
        self.random.shuffle(self.edges)

    def _add(self, node: Any) -> str:
        name = self.names.pop()
        self.nodes[name] = node
        return name

    def _neuron(self, n: int) -> Any:
        r = self.random
        tau, syn, v = r.uniform(2, 9, n) * DT, r.uniform(2, 6, n) * DT, r.uniform(0.4, 1, n)
        kinds = [
            lambda: nir.LIF(tau, r.uniform(1, 5, n), r.uniform(-0.2, 0.3, n), v),
            lambda: nir.CubaLIF(tau, syn, r.uniform(1, 5, n), r.uniform(-0.2, 0.3, n), v, w_in=r.uniform(1, 3, n)),
            lambda: nir.IF(r.uniform(200, 500, n), v),
            lambda: nir.Threshold(v),
            lambda: nir.LI(tau, r.uniform(1, 5, n), r.uniform(-0.2, 0.3, n)),
            lambda: nir.CubaLI(tau, syn, r.uniform(1, 5, n), r.uniform(-0.2, 0.3, n), w_in=r.uniform(1, 3, n)),
            lambda: nir.I(r.uniform(20, 50, n)),
        ]
        return kinds[r.integers(len(kinds))]()

    def _path(self, source: str, pre: int, target: str, post: int) -> list[str]:
        """Add the maps from `source` to `target`, and return their names."""
        weight = self.random.normal(size=(post, pre))
        maps = [self._add(nir.Affine(weight, self.random.normal(size=post) / 4))]
        if self.random.random() < 0.4:
            maps.append(self._add(nir.Scale(self.random.normal(size=post))))
        if self.random.random() < 0.3:
            maps.append(self._add(nir.Linear(self.random.normal(size=(post, post)))))
        self.edges += pairwise([source, *maps, target])
        return maps

    def simulate(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return every layer's spikes, or membranes where it has none, (step, sample, neuron)."""
        fired = {"in": np.zeros((SAMPLES, 4))}
        fired |= {name: np.zeros((SAMPLES, self._size(name))) for name in self.feeds}
        v, current = {name: z.copy() for name, z in fired.items()}, {name: z.copy() for name, z in fired.items()}
        out: dict[str, list[np.ndarray]] = {name: [] for name in self.feeds}
        for x in inputs:
            fired["in"] = x
            for name, feeds in self.feeds.items():
                drive = sum(self._through(maps, fired[source]) for source, maps in feeds)
                fired[name], v[name], current[name] = step(self.nodes[name], drive, v[name], current[name])
                out[name].append(fired[name])
        return {name: np.array(spikes) for name, spikes in out.items()}

    def _size(self, name: str) -> int:
        node = self.nodes[name]
        return len(node.threshold if isinstance(node, nir.Threshold) else node.r)

    def _through(self, maps: list[str], x: np.ndarray) -> np.ndarray:
        for name in maps:
            node = self.nodes[name]
            x = x * node.scale if isinstance(node, nir.Scale) else x @ node.weight.T + getattr(node, "bias", 0.0)
        return x


def step(node: Any, drive: Any, v: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spikes or membrane, membrane, and current after one Euler step of a NIR node."""
    match node:
        case nir.Threshold():
            return (drive > node.threshold).astype(float), v, current
        case nir.IF() | nir.I():
            v = v + DT * node.r * drive
        case nir.LIF() | nir.LI():
            v = v + DT / node.tau * (node.v_leak - v + node.r * drive)
        case nir.CubaLIF() | nir.CubaLI():
            current = current + DT / node.tau_syn * (node.w_in * drive - current)
            v = v + DT / node.tau_mem * (node.v_leak - v + node.r * current)
    if isinstance(node, nir.LI | nir.CubaLI | nir.I):
        return v, v, current
    spikes = v > node.v_threshold
    return spikes.astype(float), np.where(spikes, node.v_reset, v), current


@pytest.mark.parametrize("seed", range(40))
def test_the_network_fires_as_the_graph_does(tmp_path: Path, seed: int) -> None:
    graph = RandomGraph(seed)
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph(graph.nodes, [(str(a), str(b)) for a, b in graph.edges], type_check=False))
    inputs = (graph.random.random((STEPS, SAMPLES, 4)) < 0.5).astype(float)
    expected = graph.simulate(inputs)
    assert any(spikes.any() for spikes in expected.values())
    network = load_nir(path, DT)
    for run in (run_real(network, inputs)[0], run_real(lower(network), inputs)[0]):
        assert run.spikes.keys() == expected.keys()
        for name, sent in expected.items():
            np.testing.assert_allclose(run.spikes[name], sent, rtol=1e-9, atol=1e-9)
