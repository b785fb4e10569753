"""NIR in: what nir writes is what is read, equations are Euler's, and what has no counterpart is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from neurodeploy import frontends, pipeline
from neurodeploy.engine.real import run_real
from neurodeploy.errors import Change, LoadError, NeurodeployError, UsageError
from neurodeploy.evaluation import rounding
from neurodeploy.frontends import hdf5
from neurodeploy.frontends.nir import load_nir, repaired
from neurodeploy.frontends.nir_graph import graph_of
from neurodeploy.frontends.nir_semantics import recognized
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, InputKind, Linear
from neurodeploy.lowering import lower

DT = 1e-3
STEPS, SAMPLES = 40, 7
Nodes = dict[str, nir.NIRNode]
Edges = list[tuple[str, str]]


@pytest.fixture(scope="module", autouse=True)
def one_reader() -> Iterator[None]:
    """Let one child process read all files of these tests."""
    with hdf5.Reader() as reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "read", reader.read)
        yield


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def write(tmp_path: Path, nodes: Nodes, edges: Edges, name: str = "net.nir") -> Path:
    """Write a graph with nir itself, its checks off."""
    nir.write(tmp_path / name, nir.NIRGraph(nodes, edges, type_check=False))
    return tmp_path / name


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[Nodes, Edges]:
    named = {"input": nir.Input(np.array(shape))} | {f"n{i}": node for i, node in enumerate(nodes)}
    named["output"] = nir.Output(np.array(out))
    names = list(named)
    return named, list(pairwise(names))


def affine(random: np.random.Generator, post: int, pre: int) -> nir.Affine:
    return nir.Affine(random.normal(size=(post, pre)), random.normal(size=post) / 4)


def lif(n: int, random: np.random.Generator | None = None, **changed: Any) -> nir.LIF:
    """A LIF whose parameters differ from neuron to neuron."""
    r = random or np.random.default_rng(1)
    given = {"tau": r.uniform(3, 9, n) * DT, "r": r.uniform(2, 6, n), "v_leak": np.zeros(n)}
    return nir.LIF(**given | {"v_threshold": r.uniform(0.5, 1, n), "v_reset": np.zeros(n)} | changed)


def cuba(n: int, **changed: Any) -> nir.CubaLIF:
    r = np.random.default_rng(2)
    given = {"tau_mem": r.uniform(3, 9, n) * DT, "tau_syn": r.uniform(2, 5, n) * DT, "r": r.uniform(2, 6, n)}
    given |= {"v_leak": np.zeros(n), "v_threshold": r.uniform(0.5, 1, n), "w_in": r.uniform(1, 3, n)}
    return nir.CubaLIF(**given | changed)


def spikes(random: np.random.Generator, *shape: int) -> np.ndarray:
    return (random.random((STEPS, SAMPLES, *shape)) < 0.4).astype(float)


def run(network: Network, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return every population's spikes, after holding the lowered network and PyTorch to the same."""
    result = run_real(network, inputs)[0].spikes
    for other in (run_real(lower(network), inputs)[0], run_source(network, inputs, dtype="float64")):
        assert all(np.array_equal(other.spikes[name], fired) for name, fired in result.items())
    return result


# Reading


def test_every_node_and_edge_is_read_as_nir_reads_it(tmp_path: Path, random: np.random.Generator) -> None:
    ones = np.ones(3)
    nodes: Nodes = {
        "input": nir.Input(np.array([2, 8, 8])),
        "conv": nir.Conv2d((8, 8), random.normal(size=(4, 2, 3, 3)), 1, 1, 1, 1, np.zeros(4)),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "average": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 2, 2])}, 0, -1),
        "linear": nir.Linear(random.normal(size=(3, 16))),
        "affine": affine(random, 3, 3),
        "scale": nir.Scale(random.normal(size=3)),
        "delay": nir.Delay(ones * DT),
        "lif": lif(3),
        "cuba": cuba(3),
        "if": nir.IF(ones, ones),
        "li": nir.LI(ones, ones, ones),
        "culi": nir.CubaLI(ones, ones, ones, ones),
        "i": nir.I(ones),
        "threshold": nir.Threshold(ones),
        "output": nir.Output(np.array([3])),
    }
    names = list(nodes)
    path = write(tmp_path, nodes, list(pairwise(names)))
    graph, expected = graph_of(hdf5.read(path), path.name), nir.read(path)
    assert graph.repairs == ()
    assert set(graph.edges) == set(expected.edges)
    for name, node in expected.nodes.items():
        record, fields = graph.nodes[name], node.to_dict()
        assert record.kind == type(node).__name__
        for key, value in record.fields.items():
            assert np.array_equal(value, fields[key]), f"{name}.{key}"


def test_a_subgraph_is_the_graph_it_holds(tmp_path: Path, random: np.random.Generator) -> None:
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([5])),
            "lif": lif(5),
            "rec": affine(random, 5, 5),
            "output": nir.Output(np.array([5])),
        },
        [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")],
    )
    nodes, edges = chain(affine(random, 5, 4), inner, affine(random, 3, 5), lif(3), shape=(4,), out=(3,))
    nested = load_nir(write(tmp_path, nodes, edges), DT)
    flat = {name: node for name, node in nodes.items() if name != "n1"} | {
        "lif": inner.nodes["lif"],
        "rec": inner.nodes["rec"],
    }
    wires = [
        ("input", "n0"),
        ("n0", "lif"),
        ("lif", "rec"),
        ("rec", "lif"),
        ("lif", "n2"),
        ("n2", "n3"),
        ("n3", "output"),
    ]
    plain = load_nir(write(tmp_path, flat, wires, "flat.nir"), DT)
    inputs = spikes(random, 4)
    assert np.array_equal(run(nested, inputs)["n1.lif"], run(plain, inputs)["lif"])
    assert np.array_equal(run(nested, inputs)["n3"], run(plain, inputs)["n3"])


def test_the_input_is_spikes_and_dt_is_what_was_stated(tmp_path: Path, random: np.random.Generator) -> None:
    nodes, edges = chain(affine(random, 3, 4), lif(3), shape=(4,), out=(3,))
    network = frontends.load(write(tmp_path, nodes, edges, "named.anything"), dt=DT)
    assert (network.input_node.kind, network.dt_s, network.encoding) == (InputKind.SPIKES, DT, None)


# Equations


def euler(node: Any, x: np.ndarray, *, start: np.ndarray | float = 0.0, before: bool = False) -> np.ndarray:
    """Return the spikes of a NIR neuron for the input `x` (step, sample, neuron), by Euler's method, hard reset."""
    v, current, out = np.zeros(x.shape[1:]) + start, np.zeros(x.shape[1:]), np.zeros(x.shape)
    for t in range(len(x)):
        drive = x[t]
        if isinstance(node, nir.CubaLIF):
            last = current
            current = current + DT / node.tau_syn * (-current + node.w_in * x[t])
            drive = last if before else current
        if isinstance(node, nir.IF):
            v = v + DT * node.r * drive
        else:
            tau = node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau
            v = v + DT / tau * (node.v_leak - v + node.r * drive)
        out[t] = v > node.v_threshold
        v = np.where(out[t] > 0, node.v_reset, v)
    return out


@pytest.mark.parametrize(
    ("node", "semantics"),
    [
        (lif(6), {}),
        (lif(6, v_leak=np.linspace(-0.4, 0.9, 6)), {}),
        (lif(6, v_leak=np.linspace(-1, 1, 6), v_reset=np.linspace(-0.5, 0.3, 6)), {"start": "reset"}),
        (lif(6, v_leak=np.full(6, -0.3), v_reset=np.full(6, -0.3)), {"start": "leak"}),
        (cuba(6), {}),
        (cuba(6, v_leak=np.full(6, 0.2), v_reset=np.full(6, 0.2)), {"start": "leak"}),
        (cuba(6, v_leak=np.linspace(-0.4, 0.9, 6)), {}),
        (cuba(6, v_leak=np.linspace(-1, 1, 6), v_reset=np.linspace(-0.5, 0.3, 6)), {"start": "reset"}),
        (lif(6, v_leak=np.full(6, 1.5), r=np.array([0.0, 0, 3, 3, 4, 4])), {}),
        (nir.IF(np.linspace(200, 700, 6), np.linspace(0.5, 2, 6)), {}),
        (nir.IF(np.full(6, 300.0), np.ones(6), np.full(6, 0.4)), {"start": "reset"}),
    ],
    ids=[
        "lif",
        "lif leak",
        "lif leak and reset",
        "lif rest",
        "cuba",
        "cuba rest",
        "cuba leak",
        "cuba leak and reset",
        "no input",
        "if",
        "if reset",
    ],
)
def test_neurons_compute_euler_steps_of_their_equations(
    tmp_path: Path, random: np.random.Generator, node: Any, semantics: dict[str, str]
) -> None:
    first, inputs = affine(random, 6, 5), spikes(random, 5)
    nodes, edges = chain(first, node, shape=(5,), out=(6,))
    start = {"reset": node.v_reset, "leak": getattr(node, "v_leak", 0.0)}.get(semantics.get("start", ""), 0.0)
    expected = euler(node, inputs @ first.weight.T + first.bias, start=start)
    assert 0.02 < expected.mean() < 0.9
    assert np.array_equal(run(load_nir(write(tmp_path, nodes, edges), DT, semantics), inputs)["n1"], expected)


def test_a_membrane_can_read_the_current_of_the_step_before(tmp_path: Path, random: np.random.Generator) -> None:
    first, node, inputs = nir.Linear(random.normal(size=(6, 5))), cuba(6), spikes(random, 5)
    path = write(tmp_path, *chain(first, node, shape=(5,), out=(6,)))
    x = inputs @ first.weight.T
    late, same = euler(node, x, before=True), euler(node, x)
    assert not np.array_equal(late, same)
    assert np.array_equal(run(load_nir(path, DT, {"current": "step_before"}), inputs)["n1"], late)


def test_exponential_steps_are_exact_between_inputs(tmp_path: Path, random: np.random.Generator) -> None:
    """Without input, v follows its solution, v_leak + (v - v_leak) exp(-t / tau)."""
    node = lif(1, tau=np.array([5 * DT]), r=np.array([4.0]), v_threshold=np.array([9.0]))
    path = write(tmp_path, *chain(nir.Linear(np.eye(1)), node, shape=(1,), out=(1,)))
    inputs = np.zeros((30, 1, 1))
    inputs[:10] = 1
    result = run_real(load_nir(path, DT, {"discretization": "exponential"}), inputs)[0].voltages["n1"][:, 0, 0]
    t = np.arange(1, 31) * DT
    charged = 4 * (1 - np.exp(-t / node.tau))
    after = charged[9] * np.exp(-(t - t[9]) / node.tau)
    assert np.allclose(result, np.where(t <= t[9], charged, after), rtol=1e-12)


def test_threshold_compares_and_keeps_nothing(tmp_path: Path, random: np.random.Generator) -> None:
    first, level, inputs = affine(random, 6, 5), random.normal(size=6), spikes(random, 5)
    level = np.abs(level)
    path = write(tmp_path, *chain(first, nir.Threshold(level), shape=(5,), out=(6,)))
    expected = inputs @ first.weight.T + first.bias > level
    assert np.array_equal(run(load_nir(path), inputs)["n1"], expected)


def test_pools_convolutions_and_scales_compute_what_pytorch_computes(
    tmp_path: Path, random: np.random.Generator
) -> None:
    import torch
    from torch.nn import functional

    kernel, second = random.normal(size=(4, 1, 3, 3)), random.normal(size=(2, 4, 3, 3))
    scale = random.uniform(0.5, 2, size=(4, 5, 5))
    level = np.abs(random.normal(size=(2, 2, 2)))
    nodes, edges = chain(
        nir.Conv2d((11, 11), kernel, (1, 1), (0, 0), (1, 1), 2, random.normal(size=4)),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1])),
        nir.Scale(scale),
        nir.Conv2d((5, 5), second, 2, 1, 1, 1, np.zeros(2)),
        nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        nir.Threshold(level),
        shape=(2, 11, 11),
        out=(2, 2, 2),
    )
    inputs = spikes(random, 2, 11, 11)
    network = load_nir(write(tmp_path, nodes, edges))
    x = torch.from_numpy(inputs.reshape(-1, 2, 11, 11))
    y = functional.conv2d(x, torch.from_numpy(kernel), torch.from_numpy(nodes["n0"].bias), groups=2)
    y = 4 * functional.avg_pool2d(y, 2, 2, 1) * torch.from_numpy(scale)
    y = functional.avg_pool2d(functional.conv2d(y, torch.from_numpy(second), stride=2, padding=1), 2, 1)
    expected = (y.numpy() > level).reshape(STEPS, SAMPLES, 2, 2, 2)
    assert 0.05 < expected.mean() < 0.95
    assert np.array_equal(run(network, inputs)["n5"], expected)


def test_a_sum_pool_is_folded_into_the_convolution_behind_it(tmp_path: Path, random: np.random.Generator) -> None:
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv = nir.Conv2d((4, 4), random.normal(size=(3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3))
    nodes, edges = chain(pool, conv, nir.Threshold(np.ones((3, 4, 4))), shape=(2, 8, 8), out=(3, 4, 4))
    lowered = lower(load_nir(write(tmp_path, nodes, edges)))
    (node,) = [node for node in lowered.nodes.values() if isinstance(node, Conv)]
    assert np.array_equal(node.weight, np.repeat(np.repeat(conv.weight, 2, 2), 2, 3))


def test_edges_into_a_node_add_up_and_a_bias_counts_once(tmp_path: Path, random: np.random.Generator) -> None:
    a, b, join = affine(random, 4, 5), affine(random, 4, 5), affine(random, 6, 4)
    scale, node = nir.Scale(random.normal(size=6)), lif(6, v_leak=np.linspace(0, 0.3, 6))
    nodes: Nodes = {"input": nir.Input(np.array([5])), "a": a, "b": b, "join": join, "scale": scale, "lif": node}
    nodes |= {"output": nir.Output(np.array([6]))}
    edges = [("input", "a"), ("input", "b"), ("a", "join"), ("b", "join"), ("join", "scale"), ("scale", "lif")]
    edges += [("join", "lif"), ("lif", "output")]
    inputs = spikes(random, 5)
    x = inputs @ (a.weight + b.weight).T + a.bias + b.bias
    x = x @ join.weight.T + join.bias
    expected = euler(node, x * scale.scale + x)
    assert np.array_equal(run(load_nir(write(tmp_path, nodes, edges), DT), inputs)["lif"], expected)


def test_recurrence_reads_the_step_before(tmp_path: Path, random: np.random.Generator) -> None:
    first, rec, node, inputs = affine(random, 6, 5), affine(random, 6, 6), lif(6), spikes(random, 5)
    nodes, edges = chain(first, node, shape=(5,), out=(6,))
    path = write(tmp_path, nodes | {"rec": rec}, [*edges, ("n1", "rec"), ("rec", "n1")])
    v, z, expected = np.zeros((SAMPLES, 6)), np.zeros((SAMPLES, 6)), []
    for x in inputs:
        drive = x @ first.weight.T + first.bias + z @ rec.weight.T + rec.bias
        v = v + DT / node.tau * (node.v_leak - v + node.r * drive)
        z = (v > node.v_threshold).astype(float)
        v = np.where(z > 0, 0, v)
        expected.append(z)
    network = load_nir(path, DT)
    assert np.array_equal(run(network, inputs)["n1"], expected)
    assert not [d for d in network.deviations if "loop" in d.what]


def test_of_a_loop_of_two_populations_the_way_back_waits_and_that_is_recorded(
    tmp_path: Path, random: np.random.Generator
) -> None:
    """Whatever their names are: h5py gives nodes in the order of these."""
    nodes: Nodes = {
        "input": nir.Input(np.array([5])),
        "front": lif(4),
        "behind": lif(3),
        "output": nir.Output(np.array([3])),
    }
    nodes |= {"a": affine(random, 4, 5), "b": affine(random, 3, 4), "c": affine(random, 4, 3)}
    wires = [("input", "a"), ("a", "front"), ("front", "b"), ("b", "behind"), ("behind", "c"), ("c", "front")]
    network = load_nir(write(tmp_path, nodes, [*wires, ("behind", "output")]), DT)
    assert [(edge.source, edge.target) for edge in network.edges if edge.delay_steps] == [("behind", "c")]
    assert [d.code for d in network.deviations if "behind -> front" in d.what] == ["ND040"]


def test_a_delay_of_one_step_is_an_edge_and_also_closes_a_loop(tmp_path: Path, random: np.random.Generator) -> None:
    rec, node, inputs = nir.Linear(random.normal(size=(4, 4))), lif(4), spikes(random, 4)
    nodes, edges = chain(nir.Linear(np.eye(4)), nir.Delay(np.full(4, DT)), node, shape=(4,), out=(4,))
    looped = [*edges, ("n2", "rec"), ("rec", "wait"), ("wait", "n2")]
    path = write(tmp_path, nodes | {"rec": rec, "wait": nir.Delay(np.full(4, DT))}, looped)
    late = np.concatenate([np.zeros((1, SAMPLES, 4)), inputs[:-1]])
    v, z, expected = np.zeros((SAMPLES, 4)), np.zeros((SAMPLES, 4)), []
    for x in late:
        v = v + DT / node.tau * (-v + node.r * (x + z @ rec.weight.T))
        z = (v > node.v_threshold).astype(float)
        v = np.where(z > 0, 0, v)
        expected.append(z)
    assert np.array_equal(run(load_nir(path, DT), inputs)["n2"], expected)


# Conventions


def test_dt_is_asked_for_when_no_convention_fits(tmp_path: Path, random: np.random.Generator) -> None:
    path = write(tmp_path, *chain(affine(random, 3, 4), lif(3), shape=(4,), out=(3,)))
    with pytest.raises(LoadError, match="ND038") as refusal:
        load_nir(path)
    assert "--dt" in refusal.value.findings[0].fix


CUBA = ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "w_in")
CONVENTIONS: dict[str, tuple[nir.NIRNode, float | None]] = {
    "snnTorch": (nir.LIF(np.array([1e-3, 2e-3]), np.array([10.0, 20.0]), np.zeros(2), np.ones(2)), 1e-4),
    "SpikingJelly IF": (nir.IF(np.full(2, 1e4), np.ones(2)), 1e-4),
    "sinabs": (nir.IF(np.ones(2), np.ones(2)), None),
    "Rockpool": (nir.LIF(np.full(2, 0.02), np.full(2, 20 * np.exp(-0.05)), np.zeros(2), np.ones(2)), 1e-3),
}


@pytest.mark.parametrize("writer", CONVENTIONS)
def test_a_writer_is_recognized_by_its_numbers(tmp_path: Path, writer: str) -> None:
    """The numbers are each exporter's own formula: tau / dt, 1 / dt, 1, and tau / dt exp(-dt / tau)."""
    node, dt = CONVENTIONS[writer]
    path = write(tmp_path, *chain(nir.Linear(np.eye(2)), node, shape=(2,), out=(2,)))
    convention = recognized(repaired(path).graph)
    assert convention is not None
    assert (writer.split()[0] in convention.writer, convention.dt_s) == (True, pytest.approx(dt))
    network = load_nir(path)
    (neuron,) = network.populations.values()
    assert network.dt_s == dt
    assert neuron.gain is None
    assert any(d.code == "ND040" and d.change is Change.READING for d in network.deviations)
    if writer == "Rockpool":
        assert neuron.beta == pytest.approx(np.exp(-1e-3 / 0.02))


def rockpool_cuba(tau_mem: np.ndarray, tau_syn: np.ndarray, theta: np.ndarray, dt: float) -> nir.CubaLIF:
    """Return what Rockpool's to_nir makes of LIFTorch: in float32, without w_in, and without its bias."""
    r = tau_mem * np.exp(-dt / tau_mem) / dt
    given = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": r, "v_leak": 0 * r, "v_threshold": theta}
    return nir.CubaLIF(**{name: value.astype(np.float32) for name, value in given.items()})


def test_rockpools_synaptic_neuron_is_known_and_steps_as_there(tmp_path: Path, random: np.random.Generator) -> None:
    """isyn = (isyn + x) exp(-dt/tau_syn); vmem = vmem exp(-dt/tau_mem) + isyn; what spikes loses its threshold."""
    node = rockpool_cuba(random.uniform(5, 30, 3) * DT, random.uniform(2, 9, 3) * DT, random.uniform(1, 2, 3), DT)
    weight = random.uniform(-0.1, 0.3, (3, 4))
    path = write(tmp_path, *chain(nir.Linear(weight), node, shape=(4,), out=(3,)))
    convention = recognized(repaired(path).graph)
    assert convention is not None
    assert (convention.writer, convention.dt_s) == ("Rockpool", pytest.approx(DT))
    tau_mem, tau_syn, theta = (np.asarray(node.to_dict()[key], float) for key in ("tau_mem", "tau_syn", "v_threshold"))
    inputs, isyn, vmem, expected = spikes(random, 4), np.zeros((SAMPLES, 3)), np.zeros((SAMPLES, 3)), []
    for x in inputs:
        isyn = (isyn + x @ weight.T) * np.exp(-DT / tau_syn)
        vmem = vmem * np.exp(-DT / tau_mem) + isyn
        assert np.all(vmem < 2 * theta)
        expected.append(vmem >= theta)
        vmem = vmem - expected[-1] * theta
    assert 0.05 < np.mean(expected) < 0.95
    assert np.array_equal(run(load_nir(path, semantics={"reset": "subtract"}), inputs)["n1"], expected)


@pytest.mark.parametrize("changed", [{"w_in": np.full(2, 2.0)}, {"r": np.full(2, 7.0)}])
def test_other_synaptic_neurons_are_not_taken_for_rockpools(tmp_path: Path, changed: dict[str, np.ndarray]) -> None:
    node = rockpool_cuba(np.full(2, 2e-2), np.full(2, 5e-3), np.ones(2), DT)
    other = nir.CubaLIF(**{name: changed.get(name, value) for name, value in vars(node).items() if name in CUBA})
    path = write(tmp_path, *chain(nir.Linear(np.eye(2)), other, shape=(2,), out=(2,)))
    assert recognized(repaired(path).graph) is None


def test_a_convention_holds_for_all_neurons_or_for_none(tmp_path: Path) -> None:
    first = nir.LIF(np.array([1e-3]), np.array([10.0]), np.zeros(1), np.ones(1))
    other = nir.LIF(np.array([1e-3]), np.array([10.1]), np.zeros(1), np.ones(1))
    nodes = chain(nir.Linear(np.eye(1)), first, nir.Linear(np.eye(1)), other, shape=(1,), out=(1,))
    assert recognized(repaired(write(tmp_path, *nodes)).graph) is None


def test_another_dt_than_the_writers_is_the_users(tmp_path: Path) -> None:
    node, _ = CONVENTIONS["snnTorch"]
    path = write(tmp_path, *chain(nir.Linear(np.eye(2)), node, shape=(2,), out=(2,)))
    (neuron,) = load_nir(path, 5e-4).populations.values()
    assert neuron.beta.tolist() == [0.5, 0.75]
    assert neuron.gain is not None
    assert neuron.gain.tolist() == [5.0, 5.0]


def test_every_setting_that_nobody_stated_is_recorded(tmp_path: Path) -> None:
    path = write(tmp_path, *chain(nir.Linear(np.eye(3)), cuba(3), shape=(3,), out=(3,)))
    told = [d.what.split(" ")[0] for d in load_nir(path, DT).deviations]
    assert told == ["discretization", "reset", "firing", "floor", "current"]
    stated = {"discretization": "euler", "reset": "subtract_next_step", "current": "same_step", "gain": "unit"}
    stated |= {"firing": "above", "floor": "none"}
    network = load_nir(path, DT, stated)
    assert network.deviations == ()
    (neuron,) = network.populations.values()
    assert (neuron.reset, neuron.gain) == ("subtract_next_step", None)


# Repairs


def rewrite(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def put(name: str, values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if values is not None:
            file.create_dataset(name, data=values)

    return change


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    random = np.random.default_rng(8)
    nodes = chain(affine(random, 4, 6), lif(4), affine(random, 3, 4), lif(3), shape=(6,), out=(3,))
    return write(tmp_path, *nodes)


WIRES = [("input", "n0"), ("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n3", "output")]


def edges(*pairs: tuple[str, str]) -> Callable[[h5py.File], None]:
    return put("node/edges", np.array(pairs, dtype=h5py.string_dtype()))


REPAIRS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "output of other axes": (put("node/nodes/output/shape", [1, 1, 3]), "(1, 1, 3)"),
    "a lone edge missing": (edges(*WIRES[:1], *WIRES[2:]), "n0 -> n1"),
    "no edge to the output": (edges(*WIRES[:-1]), "n3 -> output"),
    "no edge from the input": (edges(*WIRES[1:]), "input -> n0"),
    "an edge twice": (edges(*WIRES, WIRES[1]), "once"),
    "a misspelled node": (edges(WIRES[0], ("n0", "lif"), ("lif", "n2"), *WIRES[3:]), '"n1", the only node'),
    "no output": (lambda file: (put("node/nodes/output", None)(file), edges(*WIRES[:-1])(file))[0], 'one at "n3"'),
    "no input": (lambda file: (put("node/nodes/input", None)(file), edges(*WIRES[1:])(file))[0], 'one at "n0"'),
    "a field too many": (put("node/nodes/n1/color", 3), "left out"),
    "an axis for the batch": (
        lambda file: put("node/nodes/n1/tau", file["node/nodes/n1/tau"][()][None])(file),
        "C order",
    ),
    "a weight of three axes": (
        lambda file: put("node/nodes/n0/weight", file["node/nodes/n0/weight"][()][None])(file),
        "(4, 6)",
    ),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_what_has_one_meaning_is_repaired_recorded_and_computes_the_same(plain: Path, name: str) -> None:
    inputs = spikes(np.random.default_rng(0), 6)
    expected = run(load_nir(plain, DT), inputs)
    change, told = REPAIRS[name]
    graph = repaired(rewrite(plain, change)).graph
    assert len(graph.repairs) == 1
    assert told in f"{graph.repairs[0].what} {graph.repairs[0].read_as}"
    network = load_nir(plain, DT)
    assert [d.code for d in network.deviations].count("ND037") == 1
    assert all(np.array_equal(fired, expected[key]) for key, fired in run(network, inputs).items())


def test_one_number_stands_for_all_neurons(plain: Path) -> None:
    rewrite(plain, put("node/nodes/n1/tau", 5e-3))
    rewrite(plain, put("node/nodes/n1/v_threshold", np.array([0.7])))
    rewrite(plain, put("node/nodes/n0/bias", 0.25))
    network = load_nir(plain, DT)
    (neuron, _), linear = network.populations.values(), network.nodes["n0"]
    assert isinstance(linear, Linear)
    assert linear.bias is not None
    assert linear.bias.tolist() == [0.25] * 4
    assert neuron.beta.tolist() == [1 - DT / 5e-3] * 4
    assert neuron.threshold.tolist() == [0.7] * 4


def test_parameters_per_channel_and_a_missing_flatten_are_read_in_c_order(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    conv = nir.Conv2d((6, 6), random.normal(size=(3, 1, 3, 3)), 1, 0, 1, 1, np.zeros(3))
    per_channel = nir.Threshold(np.array([0.1, 0.5, 0.9]).reshape(3, 1, 1))
    nodes = chain(conv, per_channel, affine(random, 2, 48), nir.Threshold(np.zeros(2)), shape=(1, 6, 6), out=(2,))
    network = load_nir(write(tmp_path, *nodes))
    first = network.populations["n1"]
    assert first.threshold[:, 0, 0].tolist() == [0.1, 0.5, 0.9]
    assert len([d for d in network.deviations if d.code == "ND037"]) == 2
    inputs = spikes(random, 1, 6, 6)
    fired = run(network, inputs)
    flat = fired["n1"].reshape(STEPS, SAMPLES, 48)
    assert np.array_equal(fired["n3"], flat @ nodes[0]["n2"].weight.T + nodes[0]["n2"].bias > 0)


def test_a_convolution_reads_what_arrives(tmp_path: Path) -> None:
    """Whatever size it was written for; the same number of values without axes is put into its own."""
    conv = nir.Conv2d((6, 6), np.ones((3, 1, 3, 3)), 1, 0, 1, 1, np.zeros(3))
    for shape, made, code in (((1, 8, 8), (3, 6, 6), "what arrives"), ((36,), (3, 4, 4), "C order")):
        graph = repaired(write(tmp_path, *chain(conv, nir.Threshold(np.full(1, 0.5)), shape=shape, out=made)))
        assert graph.made["n0"] == made
        assert code in graph.graph.repairs[0].read_as


# Refusals

REFUSED: dict[str, tuple[str, Callable[[h5py.File], None]]] = {
    "two misspelled nodes": ("ND035", edges(WIRES[0], ("n0", "x"), ("x", "y"), ("y", "n3"), WIRES[4])),
    "two names for one node": ("ND035", edges(WIRES[0], ("n0", "x"), ("y", "n2"), *WIRES[3:])),
    "an input that reads": ("ND035", edges(*WIRES, ("n3", "input"))),
    "two gaps": ("ND035", edges(WIRES[0], WIRES[2], WIRES[4])),
    "a gap with two possible sources": ("ND035", lambda file: _spare(file)),
    "no edges": ("ND035", put("node/edges", None)),
    "a loop without a neuron": ("ND035", edges(*WIRES, ("n2", "s"), ("s", "s"))),
    "an unknown type": ("ND041", put("node/nodes/n1/type", "Izhikevich")),
    "no type": ("ND034", put("node/nodes/n1/type", None)),
    "no weight": ("ND034", put("node/nodes/n0/weight", None)),
    "a text for a weight": ("ND034", put("node/nodes/n0/weight", "heavy")),
    "complex numbers": ("ND034", put("node/nodes/n1/tau", np.ones(4, complex))),
    "a weight that does not fit": ("ND036", put("node/nodes/n0/weight", np.ones((4, 5)))),
    "a threshold for others": ("ND036", put("node/nodes/n1/v_threshold", np.ones(3))),
    "an input of no size": ("ND034", put("node/nodes/input/shape", np.zeros(0, int))),
    "an input of half a neuron": ("ND034", put("node/nodes/input/shape", [5.5])),
    "a huge input": ("ND033", put("node/nodes/input/shape", [2**30])),
    "no graph": ("ND032", lambda file: file.move("node", "other")),
    "a lone node": ("ND032", put("node/type", "LIF")),
    "a time constant below a step": ("ND039", put("node/nodes/n1/tau", np.full(4, DT / 2))),
    "a negative time constant": ("ND039", put("node/nodes/n1/tau", np.full(4, -1.0))),
    "a reset elsewhere": ("ND042", put("node/nodes/n1/v_reset", np.full(4, 0.1))),
    "a threshold below the reset": ("ND042", put("node/nodes/n1/v_threshold", np.full(4, -0.1))),
    "a number that is none": ("ND025", put("node/nodes/n0/bias", np.full(4, np.nan))),
    "values in another file": ("ND034", lambda file: _link(file, "node/nodes/n0/bias")),
    "a group that holds itself": ("ND033", lambda file: file.__setitem__("node/again", file["node"])),
}


def _link(file: h5py.File, name: str) -> None:
    """Put a value into another file, where it could be read."""
    other = f"{file.filename}.other"
    with h5py.File(other, "w") as aside:
        aside["x"] = file[name][()]
    del file[name]
    file[name] = h5py.ExternalLink(other, "/x")


def _spare(file: h5py.File) -> None:
    """Add a second layer that nothing reads, and take the edge out that follows the first."""
    file.copy("node/nodes/n1", "node/nodes/spare")
    edges(*WIRES[:2], ("n0", "spare"), *WIRES[3:])(file)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused_with_a_remedy(plain: Path, name: str) -> None:
    code, change = REFUSED[name]
    if "without a neuron" in name:
        with h5py.File(plain, "r+") as file:
            put("node/nodes/s/type", "Linear")(file)
            put("node/nodes/s/weight", np.eye(3))(file)
    rewrite(plain, change)
    with pytest.raises(NeurodeployError) as refusal:
        load_nir(plain, DT)
    assert code in {finding.code for finding in refusal.value.findings}
    assert all(finding.fix and finding.place for finding in refusal.value.findings)


UNSUPPORTED: dict[str, tuple[str, tuple[nir.NIRNode, ...], dict[str, str]]] = {
    "an output of currents": ("ND041", (lif(4), nir.Linear(np.ones((4, 4)))), {}),
    "two steps of delay": ("ND042", (nir.Delay(np.full(4, 2 * DT)), lif(4)), {}),
    "delays that differ": ("ND042", (nir.Delay(np.array([0, 0, 0, DT])), lif(4)), {}),
    "two delays": ("ND042", (nir.Delay(np.full(4, DT)), nir.Delay(np.full(4, DT)), lif(4)), {}),
    "a late bias": ("ND042", (nir.Affine(np.eye(4), np.ones(4)), nir.Delay(np.full(4, DT)), lif(4)), {}),
    "a start at v_leak": ("ND042", (lif(4, v_leak=np.full(4, 0.1)),), {"start": "leak"}),
    "two resets": ("ND042", (lif(4, v_reset=np.full(4, 0.1)),), {"reset": "subtract"}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_has_no_counterpart_is_refused_with_a_remedy(tmp_path: Path, name: str) -> None:
    code, nodes, semantics = UNSUPPORTED[name]
    with pytest.raises(NeurodeployError) as refusal:
        load_nir(write(tmp_path, *chain(*nodes, shape=(4,), out=(4,))), DT, semantics)
    assert {finding.code for finding in refusal.value.findings} == {code}


def test_parameters_with_axes_in_another_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="ND036"):
        load_nir(write(tmp_path, *chain(nir.Threshold(np.ones((3, 2))), shape=(2, 3), out=(2, 3))))


def test_settings_that_do_not_exist_or_do_not_belong_are_refused(plain: Path, tmp_path: Path) -> None:
    for semantics in ({"speed": "high"}, {"reset": "sometimes"}):
        with pytest.raises(UsageError, match="ND043"):
            load_nir(plain, DT, semantics)
    (tmp_path / "net.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match="ND043"):
        frontends.load(tmp_path / "net.pt", semantics={"reset": "zero"})
    with pytest.raises(UsageError, match="ND028"):
        load_nir(plain, -1.0)


def test_branches_that_multiply_are_refused_and_not_followed(tmp_path: Path) -> None:
    nodes: Nodes = {"input": nir.Input(np.array([1])), "join0": nir.Scale(np.ones(1))}
    wires = [("input", "join0")]
    for i in range(20):
        nodes |= {f"{side}{i}": nir.Scale(np.ones(1)) for side in "ab"} | {f"join{i + 1}": nir.Scale(np.ones(1))}
        wires += [(f"join{i}", f"{side}{i}") for side in "ab"] + [(f"{side}{i}", f"join{i + 1}") for side in "ab"]
    nodes |= {"end": nir.Threshold(np.ones(1)), "output": nir.Output(np.array([1]))}
    with pytest.raises(NeurodeployError, match="ND033"):
        load_nir(write(tmp_path, nodes, [*wires, ("join20", "end"), ("end", "output")]))


def test_hundreds_of_maps_in_a_row_are_refused(tmp_path: Path) -> None:
    nodes = chain(*(nir.Scale(np.ones(1)) for _ in range(900)), nir.Threshold(np.ones(1)), shape=(1,), out=(1,))
    with pytest.raises(NeurodeployError, match="ND033"):
        load_nir(write(tmp_path, *nodes))


def test_firing_and_floor_are_settings_and_a_floor_is_a_voltage(tmp_path: Path) -> None:
    """v is counted from v_reset, and so are threshold and floor: -2.5 V are 2 below a reset to -0.5 V."""
    node = nir.LIF(*(np.full(3, each) for each in (5e-3, 1.0, 0.0)), np.full(3, 1.5), v_reset=np.full(3, -0.5))
    path = write(tmp_path, *chain(nir.Linear(np.eye(3)), node, shape=(3,), out=(3,)))
    stated = {"start": "reset", "firing": "multiple"}
    for floor, expected in (("none", None), ("minus_threshold", -1.0), ("-2.5", -2.0)):
        (neuron,) = load_nir(path, DT, stated | {"floor": floor}).populations.values()
        found = None if neuron.floor is None else np.unique(neuron.floor).item()
        assert (neuron.firing, neuron.threshold.tolist(), found) == ("multiple", [2.0] * 3, expected)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"floor": "0.5"}, "ND043"),
        ({"floor": "nan"}, "ND043"),
        ({"floor": "-inf"}, "ND043"),
        ({"firing": "twice"}, "ND043"),
        ({"firing": "value"}, "ND043"),
        ({"reset": "subtract", "firing": "multiple"}, "ND043"),
        ({"floor": "0"}, "ND042"),
        ({"floor": "-0.2"}, "ND042"),
    ],
)
def test_a_floor_above_the_start_or_a_firing_that_a_reset_excludes_is_refused(
    tmp_path: Path, settings: dict[str, str], code: str
) -> None:
    node = nir.LIF(*(np.full(3, each) for each in (5e-3, 1.0, 0.0)), np.full(3, 1.5), v_reset=np.full(3, -0.5))
    path = write(tmp_path, *chain(nir.Linear(np.eye(3)), node, shape=(3,), out=(3,)))
    with pytest.raises(NeurodeployError, match=code):
        load_nir(path, DT, {"start": "reset"} | settings)


def test_a_threshold_of_zero_cannot_be_counted(tmp_path: Path) -> None:
    node = nir.IF(np.ones(3), np.zeros(3))
    path = write(tmp_path, *chain(nir.Linear(np.eye(3)), node, shape=(3,), out=(3,)))
    with pytest.raises(NeurodeployError, match="ND042"):
        load_nir(path, semantics={"firing": "multiple"})


@pytest.mark.parametrize("kind", ["LI", "CubaLI", "I"])
@pytest.mark.parametrize("last", [False, True])
def test_what_only_integrates_is_deployed(tmp_path: Path, random: np.random.Generator, kind: str, last: bool) -> None:
    """As an output or before neurons that fire: the engine equals Lava's process models in every payload and state,
    roundings explain every difference from the source, and an output decides as the source's membranes do."""
    ones, silent = np.ones(6), {"CubaLI": cuba(6), "LI": lif(6)}
    node = nir.I(ones * 40)
    if kind != "I":
        other = silent[kind]
        keys = ("tau_mem", "tau_syn", "w_in") if kind == "CubaLI" else ("tau",)
        node = getattr(nir, kind)(r=other.r, v_leak=ones * 0, **{key: getattr(other, key) for key in keys})
    after = [] if last else [nir.Linear(random.normal(size=(5, 6))), lif(5)]
    parts = [nir.Linear(random.normal(size=(6, 7))), node, *after]
    path = write(tmp_path, *chain(*parts, shape=(7,), out=(6 if last else 5,)))
    network, inputs = load_nir(path, DT), spikes(random, 7)
    np.savez(tmp_path / "data.npz", inputs=inputs.astype(np.uint8))
    model = pipeline.compile(network, "loihi2-sim", calibration=tmp_path / "data.npz")
    samples = pipeline.Samples("random", inputs.astype(np.uint8), None)
    result = pipeline.run(model, samples)
    (name,) = [n for n, each in network.populations.items() if each.firing == "value"]
    assert result.spikes[name].dtype == np.int32
    assert np.abs(result.spikes[name]).max() > 50
    assert (result.executor, result.spikes[name].min() < 0) == ("engine (numba)", True)
    for authority in ("engine", "lava-models", "source"):
        assert pipeline.verify(model, samples, against=authority)[1]["verified"]
    meant = run_real(network, inputs)[0]
    error = np.abs(result.spikes[name] * model.program.population(name).payload - meant.spikes[name]).max()
    assert error < 0.05 * np.abs(meant.spikes[name]).max()
    if last:
        assert np.mean(result.predictions == meant.predictions) > 0.8
        assert any("largest sum of the membranes" in each.what for each in network.deviations)
        assert model.program.readout == "membrane_sum"


def test_a_payload_of_a_membrane_that_is_off_is_found(tmp_path: Path, random: np.random.Generator) -> None:
    """Ten steps of a payload are beyond what rounding can do."""
    node = nir.LI(np.full(6, 5 * DT), np.full(6, 3.0), np.zeros(6))
    path = write(tmp_path, *chain(nir.Linear(random.normal(size=(6, 7))), node, shape=(7,), out=(6,)))
    model = pipeline.compile(load_nir(path, DT), "loihi2-sim")
    inputs = spikes(random, 7)
    ours = pipeline.run(model, pipeline.Samples("random", inputs.astype(np.uint8), None))
    source = run_source(model.source, inputs)
    assert rounding.certify(model, inputs, None, source, ours)["verified"]
    (name,) = ours.spikes
    off = ours.spikes[name].copy()
    off[20, 3, 2] += 1 << 16
    outcome = rounding.certify(model, inputs, None, source, replace(ours, spikes={name: off}))
    found = outcome["unexplained"][0]
    assert (found["step"], found["sample"], found["neuron"]) == (20, 3, [2])


def test_a_membrane_that_feeds_back_is_refused(tmp_path: Path, random: np.random.Generator) -> None:
    node = nir.LI(np.full(6, 5 * DT), np.full(6, 3.0), np.zeros(6))
    nodes, edges = chain(nir.Linear(random.normal(size=(6, 7))), node, shape=(7,), out=(6,))
    nodes["back"] = nir.Linear(random.normal(size=(6, 6)))
    path = write(tmp_path, nodes, [*edges, ("n1", "back"), ("back", "n1")])
    with pytest.raises(NeurodeployError, match="ND149"):
        pipeline.compile(load_nir(path, DT), "loihi2-sim")
    with pytest.raises(NeurodeployError, match="ND157"):
        pipeline.compile(load_nir(path, DT), "spinnaker1")


@pytest.mark.parametrize("kind", ["LI", "I"])
def test_membranes_of_any_size_are_sent(tmp_path: Path, random: np.random.Generator, kind: str) -> None:
    """A hundred-thousandth of a unit: what only integrates has no threshold that could set a scale."""
    node = nir.I(np.full(6, 1.0)) if kind == "I" else nir.LI(np.full(6, 5 * DT), np.full(6, 1e-3), np.zeros(6))
    weights = random.normal(size=(6, 7)) * 1e-3
    after = nir.Linear(np.eye(6) * (3e4 if kind == "I" else 3e6))
    path = write(tmp_path, *chain(nir.Linear(weights), node, after, lif(6), shape=(7,), out=(6,)))
    inputs = spikes(random, 7)
    model = pipeline.compile(load_nir(path, DT), "loihi2-sim")
    result = pipeline.run(model, pipeline.Samples("random", inputs.astype(np.uint8), None))
    assert np.abs(result.spikes["n1"]).max() > 3
    meant = run_real(model.source, inputs)[0].spikes["n1"]
    error = np.abs(result.spikes["n1"] * model.program.population("n1").payload - meant)
    assert error.max() < 0.25 * np.abs(meant).max()
    for authority in ("engine", "source"):
        assert pipeline.verify(model, pipeline.Samples("x", inputs, None), against=authority)[1]["verified"]
    off = result.spikes["n1"].copy()
    off[20, 3, 2] += np.abs(off).max()
    spoiled = replace(result, spikes=result.spikes | {"n1": off})
    assert not rounding.certify(model, inputs, None, run_source(model.source, inputs), spoiled)["verified"]


def test_a_chip_without_graded_spikes_is_told_what_helps(tmp_path: Path, random: np.random.Generator) -> None:
    node = nir.LI(np.full(6, 5 * DT), np.full(6, 3.0), np.zeros(6))
    path = write(tmp_path, *chain(affine(random, 6, 7), node, affine(random, 6, 6), lif(6), shape=(7,), out=(6,)))
    with pytest.raises(NeurodeployError, match=r"(?s)ND148.*let neurons that fire stand there"):
        pipeline.compile(load_nir(path, DT), "loihi1-sim")
    with pytest.raises(NeurodeployError) as refusal:
        pipeline.compile(load_nir(path, DT), "spinnaker1")
    assert [finding.code for finding in refusal.value.findings] == ["ND157"]
