"""NEST and Brian2 through PyNN fire exactly the engine's spikes, and snnTorch's, with equal states, sample by sample.

Where only their arithmetic is asked for, simulators run in one process for all tests: see `pynn_runs`.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import snntorch
import torch

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.backends.spinnaker import availability, cells, job, quantize, run
from neurodeploy.backends.spinnaker.availability import PYTHON
from neurodeploy.backends.spinnaker.availability import missing as missing_executor
from neurodeploy.backends.spinnaker.populations import build, connections
from neurodeploy.backends.spinnaker.recording import Record
from neurodeploy.backends.spinnaker.schedule import Schedule
from neurodeploy.datasets import Encoding
from neurodeploy.engine.cells import as_network, run_cells
from neurodeploy.errors import BackendFailedError, BackendUnavailableError, UnsupportedError, UsageError
from neurodeploy.evaluation import fidelity
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Firing, Input, InputKind, Linear, Reset
from neurodeploy.ir.program import DenseSynapses, Program
from neurodeploy.lowering import lower
from neurodeploy.results import RunResult, decide
from tests.conformance import pynn_runs
from tests.property.test_cells import at_the_threshold, coupled

ABSENT = [name for name in ("pyNN", "nest", "brian2") if find_spec(name) is None]
if ABSENT:
    WHEEL = sys.platform == "linux" and platform.machine() == "x86_64"
    HOW = "pip install 'neurodeploy[pynn]'" if WHEEL else "NEST has no wheel for every machine of this kind"
    pytest.skip(f"{', '.join(ABSENT)} not installed: {HOW}", allow_module_level=True)

ROOT = Path(__file__).parents[2]
RESETS = (Reset.ZERO, Reset.ZERO_NEXT_STEP, Reset.SUBTRACT_NEXT_STEP)
NEST_KINDS = [(reset, current) for reset in RESETS for current in (False, True)][:-1]
BRIAN2_KINDS = [(reset, current) for reset in RESETS for current in (False, True)]
KINDS = [("nest", *kind) for kind in NEST_KINDS] + [("brian2", *kind) for kind in BRIAN2_KINDS]
every_kind = pytest.mark.parametrize(("simulator", "reset", "current"), KINDS)
STEPS, SAMPLES = 50, 3
POOL: dict[str, ProcessPoolExecutor] = {}


@pytest.fixture(autouse=True, scope="module")
def _process() -> Iterator[None]:
    """Start the one process in which all simulators of these tests run."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=pynn_runs.prepare) as POOL["there"]:
        yield


def there(function: Callable, *arguments: Any) -> Any:
    """Return what a function of `pynn_runs` returns in that process."""
    return POOL["there"].submit(function, *arguments).result()


def simulated(program: Program, inputs: np.ndarray, simulator: str, record_states: bool = True) -> dict[str, Record]:
    """Return what the worker would record of inputs (step, sample, *input shape)."""
    return there(pynn_runs.simulate, program, inputs, simulator, record_states)


def as_result(program: Program, records: dict[str, Record]) -> RunResult:
    """Return records as a run of the program."""
    spikes = {name: record.spikes for name, record in records.items()}
    states = (
        {name: getattr(record, kind) for name, record in records.items() if getattr(record, kind) is not None}
        for kind in ("currents", "voltages")
    )
    return RunResult("simulator", spikes, decide(spikes[program.output]), *states)


def assert_equal(program: Program, inputs: np.ndarray, simulator: str, least: int = 20) -> dict[str, Record]:
    """Hold a simulator against the engine, spikes and states of every population, each of which has to fire."""
    ours, records = run_cells(program, inputs, record_states=True), simulated(program, inputs, simulator)
    comparison = fidelity.compare(program, as_result(program, records), ours)
    assert comparison.equal, comparison
    for population in program.populations:
        counted = comparison.compared[population.name]
        assert counted["spikes"] == ours.spikes[population.name].size
        assert counted["voltages"] > 0.2 * counted["spikes"]
        assert ours.spikes[population.name].sum() >= least
        if population.cell.alpha is not None:
            assert counted["currents"] == counted["spikes"]
    return records


def spikes_for(program: Program, steps: int = STEPS, samples: int = SAMPLES, rate: float = 0.3) -> np.ndarray:
    random = np.random.default_rng(7)
    return (random.random((steps, samples, *program.input.shape)) < rate).astype(np.uint8)


def two_layers(reset: Reset, current: bool, recurrent: bool = False) -> Program:
    """Return 18-24-8 with a sparse first map, biases, constants per neuron, and perhaps a loop in the hidden layer."""
    random = np.random.default_rng(11)
    first = random.normal(size=(24, 18)) * (random.random((24, 18)) < 0.4)
    alpha = {24: random.uniform(0.1, 0.9, 24), 8: np.array(0.6)}
    nodes = {
        "in": Input((18,), InputKind.SPIKES),
        "fc1": Linear(first, random.normal(size=24) * 0.1),
        "lif1": LIF((24,), random.uniform(0.3, 0.98, 24), random.uniform(0.5, 1.5, 24), reset),
        "fc2": Linear(random.normal(size=(8, 24)), random.normal(size=8) * 0.1),
        "lif2": LIF((8,), np.array(0.9), np.array(1.0), reset),
    }
    if current:
        for name in ("lif1", "lif2"):
            nodes[name] = replace(nodes[name], alpha=alpha[nodes[name].size])
    edges = [Edge("in", "fc1"), Edge("fc1", "lif1"), Edge("lif1", "fc2"), Edge("fc2", "lif2")]
    if recurrent:
        nodes["loop"] = Linear(random.normal(size=(24, 24)) * 0.4)
        edges += [Edge("lif1", "loop", 1), Edge("loop", "lif1")]
    return quantize(lower(Network(nodes, tuple(edges), "in", "lif2")))


def one_layer(
    weight: np.ndarray, beta: np.ndarray, theta: np.ndarray, reset: Reset, alpha: np.ndarray | None
) -> Program:
    nodes = {
        "in": Input((weight.shape[1],), InputKind.SPIKES),
        "fc": Linear(weight),
        "lif": LIF((len(weight),), beta, theta, reset, alpha),
    }
    return quantize(lower(Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif")))


@every_kind
@pytest.mark.parametrize("recurrent", [False, True])
def test_random_networks_are_equal(simulator: str, reset: Reset, current: bool, recurrent: bool) -> None:
    """With biases, sparse and dense maps, constants per neuron and a loop; spikes exactly, states to 1e-9."""
    program = two_layers(reset, current, recurrent)
    assert {type(edge.synapses).__name__ for edge in program.projections} == {"DenseSynapses", "SparseSynapses"}
    if recurrent and current and simulator == "nest":
        with pytest.raises(UnsupportedError, match="ND332"):
            simulated(program, spikes_for(program), simulator)
    else:
        assert_equal(program, spikes_for(program), simulator)


@every_kind
def test_extreme_constants_are_equal(simulator: str, reset: Reset, current: bool) -> None:
    """Decays of 0 and nearly 1, current and membrane that decay alike or almost, and whole weights that only reach a
    whole threshold and must not fire."""
    betas = [0.0, 0.25, 0.5, 0.9, 0.999]
    alphas = [0.0, 1e-9, 0.25, 0.5, 0.9, 0.9 + 1e-9, 0.9 + 1e-5, 0.901, 0.999] if current else [0.0]
    pairs = np.array([(beta, alpha) for beta in betas for alpha in alphas for _ in range(2)])
    random = np.random.default_rng(2)
    weight = random.integers(-2, 4, (len(pairs), 12)).astype(float)
    weight[::2] = np.eye(12)[random.integers(0, 12, len(weight[::2]))]  # one input, which only reaches the threshold
    theta = np.where(np.arange(len(pairs)) % 2, 2.0, 1.0)
    program = one_layer(weight, pairs[:, 0], theta, reset, pairs[:, 1] if current else None)
    if not current:
        assert_equal(whole_numbers(reset), spikes_for(program, rate=0.3), simulator, least=200)
    records = assert_equal(program, spikes_for(program, rate=0.2), simulator)
    if not current:
        assert records["lif"].spikes[..., 0].sum() == 0  # beta 0, one weight of 1 and a threshold of 1


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_neurons_that_fire_at_their_threshold_are_equal(simulator: str) -> None:
    """Membranes of eighths reach thresholds of eighths exactly, and the cells are given the number below."""
    program = quantize(lower(at_the_threshold(Firing.REACHED)))
    above = quantize(lower(at_the_threshold(Firing.ABOVE)))
    spikes = spikes_for(program, rate=0.3)
    records = assert_equal(program, spikes, simulator)
    assert np.any(records["lif"].spikes != run_cells(above, spikes).spikes["lif"])


def whole_numbers(reset: Reset) -> Program:
    """Return a layer whose membranes often reach their threshold through several decays by one half."""
    weight = np.random.default_rng(1).integers(-3, 4, (30, 12)).astype(float)
    return one_layer(weight, np.full(30, 0.5), np.full(30, 2.0), reset, None)


CONVOLUTIONS = [("nest", 1, 1, 1), ("nest", 2, 2, 0), ("brian2", 2, 1, 1)]


@pytest.mark.parametrize(("simulator", "stride", "groups", "padding"), CONVOLUTIONS)
def test_convolutions_are_equal(simulator: str, stride: int, groups: int, padding: int) -> None:
    """As explicit connections, with stride, padding, dilation and groups."""
    random = np.random.default_rng(4)
    conv = Conv(
        random.normal(size=(4, 2 // groups, 3, 2)),
        (2, 9, 8),
        (stride, 1),
        (padding, 0),
        (1, 2),
        groups,
        np.full(4, 0.05),
    )
    lif = LIF(conv.shape, np.array(0.9), np.array(1.0), Reset.ZERO)
    nodes = {"in": Input(conv.input_shape, InputKind.SPIKES), "conv": conv, "lif": lif}
    program = quantize(lower(Network(nodes, (Edge("in", "conv"), Edge("conv", "lif")), "in", "lif")))
    assert_equal(program, spikes_for(program, steps=20), simulator, least=200)


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_paths_through_different_cells_meet(simulator: str) -> None:
    """A cell with a current is a step later in NEST, so the synapses of the faster path wait."""
    random = np.random.default_rng(9)
    nodes = {
        "in": Input((10,), InputKind.SPIKES),
        **{f"into_{name}": Linear(random.normal(size=(12, 10))) for name in "ab"},
        "a": LIF((12,), np.array(0.8), np.array(1.0), Reset.ZERO),
        "b": LIF((12,), np.array(0.8), np.array(1.0), Reset.ZERO_NEXT_STEP, np.array(0.5)),
        **{f"from_{name}": Linear(random.normal(size=(6, 12))) for name in "ab"},
        "out": LIF((6,), np.array(0.9), np.array(1.0), Reset.ZERO),
    }
    edges = [edge for name in "ab" for edge in (Edge("in", f"into_{name}"), Edge(f"into_{name}", name))]
    edges += [edge for name in "ab" for edge in (Edge(name, f"from_{name}"), Edge(f"from_{name}", "out"))]
    program = quantize(lower(Network(nodes, tuple(edges), "in", "out")))
    delays = cells.timing_of(program, simulator).delays
    assert (delays["from_a"], delays["from_b"]) == ((2, 1) if simulator == "nest" else (1, 1))
    assert_equal(program, spikes_for(program), simulator)


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_a_loop_through_two_populations_is_equal(simulator: str) -> None:
    network = coupled()
    if simulator == "nest":  # its cells with a current would take two steps for the loop's one
        network = replace(network, nodes=network.nodes | {"b": replace(network.nodes["b"], alpha=None)})
    program = quantize(lower(network))
    assert sum(edge.recurrent and edge.source != edge.target for edge in program.projections) == 2
    assert_equal(program, spikes_for(program), simulator)


def compiled(name: str) -> CompiledModel:
    """Return a shipped network for SpiNNaker; those trained on currents read spikes at the rate of their input."""
    encoding = None if name == "mnist_mlp" else Encoding("rate", 25)
    return pipeline.compile(ROOT / "models" / name / "model.pt", "spinnaker1", encoding=encoding)


SHIPPED = [
    ("digits_mlp", "nest", 40),  # more than the 1,000 steps after which cells for e-prop update
    ("mnist_mlp", "nest", 20),
    ("mnist_convnet", "nest", 2),
    ("digits_mlp", "brian2", 10),
    ("mnist_mlp", "brian2", 10),
    ("mnist_rows_rsnn", "brian2", 10),
]


@pytest.mark.parametrize(("name", "simulator", "samples"), SHIPPED)
def test_shipped_networks_are_equal(name: str, simulator: str, samples: int) -> None:
    """On random images, each pixel of which fires at a rate of its own: MNIST need not be here."""
    program = compiled(name).program
    random = np.random.default_rng(1)
    image = random.random((samples, *program.input.shape)) * (random.random((samples, *program.input.shape)) < 0.4)
    inputs = (random.random((25, samples, *program.input.shape)) < image).astype(np.uint8)
    assert_equal(program, inputs, simulator)


class Layers(torch.nn.Module):
    """A program's numbers in snnTorch's own neurons, in float64."""

    def __init__(self, program: Program, reset: str) -> None:
        super().__init__()
        network = as_network(program)
        self.maps, self.neurons = torch.nn.ModuleList(), torch.nn.ModuleList()
        for node in network.nodes.values():
            if isinstance(node, Linear):
                layer = torch.nn.Linear(*node.weight.T.shape, bias=False, dtype=torch.float64)
                layer.weight = torch.nn.Parameter(torch.from_numpy(node.weight))
                self.maps.append(layer)
            elif isinstance(node, LIF):
                settings = {"threshold": torch.tensor(node.threshold), "reset_mechanism": reset}
                beta = torch.tensor(node.beta)
                if node.alpha is None:
                    self.neurons.append(snntorch.Leaky(beta=beta, **settings))
                else:
                    self.neurons.append(snntorch.Synaptic(alpha=torch.tensor(node.alpha), beta=beta, **settings))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return each layer's spikes for spikes (step, sample, neuron)."""
        states = [None] * len(self.neurons)
        found: list[list[torch.Tensor]] = [[] for _ in self.neurons]
        for spikes in x:
            for k, (layer, neuron) in enumerate(zip(self.maps, self.neurons, strict=True)):
                arrived = layer(spikes)
                before = states[k]
                if before is None:
                    before = [torch.zeros_like(arrived)] * (2 if isinstance(neuron, snntorch.Synaptic) else 1)
                spikes, *states[k] = neuron(arrived, *before)
                spikes = spikes.double()
                found[k].append(spikes)
        return [torch.stack(layer) for layer in found]


def chain(reset: Reset, current: bool) -> Program:
    """Return 30-40-10 with constants per neuron and no bias."""
    random = np.random.default_rng(3)
    nodes, edges = {"in": Input((30,), InputKind.SPIKES)}, []
    last = "in"
    for size, before in ((40, 30), (10, 40)):
        alpha = random.uniform(0.3, 0.9, size) if current else None
        nodes[f"fc{size}"] = Linear(random.normal(0.1, 1, (size, before)))
        nodes[f"lif{size}"] = LIF((size,), random.uniform(0.5, 0.95, size), random.uniform(1, 2, size), reset, alpha)
        edges += [Edge(last, f"fc{size}"), Edge(f"fc{size}", f"lif{size}")]
        last = f"lif{size}"
    return quantize(lower(Network(nodes, tuple(edges), "in", last)))


SEMANTICS = [
    ("nest", Reset.ZERO, False),
    ("nest", Reset.ZERO_NEXT_STEP, True),
    ("nest", Reset.SUBTRACT_NEXT_STEP, False),
    ("brian2", Reset.ZERO, False),
    ("brian2", Reset.ZERO_NEXT_STEP, True),
    ("brian2", Reset.SUBTRACT_NEXT_STEP, False),
    ("brian2", Reset.SUBTRACT_NEXT_STEP, True),
]


@pytest.mark.parametrize(("simulator", "reset", "current"), SEMANTICS)
def test_spikes_are_those_of_snntorch_itself(simulator: str, reset: Reset, current: bool) -> None:
    """Leaky and Synaptic with both of their resets, given the program's rounded numbers: no spike differs."""
    program = chain(reset, current)
    inputs = spikes_for(program, steps=100, rate=0.1)
    with torch.no_grad():
        layers = Layers(program, "zero" if "zero" in reset else "subtract")(torch.from_numpy(inputs).double())
    records = simulated(program, inputs, simulator, record_states=False)
    for population, theirs in zip(program.populations, layers, strict=True):
        assert theirs.sum() > 100
        assert np.array_equal(records[population.name].spikes, theirs.numpy())


CARRYING = [
    ("nest", Reset.ZERO, False, True),
    ("nest", Reset.ZERO_NEXT_STEP, True, False),
    ("nest", Reset.SUBTRACT_NEXT_STEP, False, False),
    ("brian2", Reset.SUBTRACT_NEXT_STEP, True, True),
]


@pytest.mark.parametrize(("simulator", "reset", "current", "recurrent"), CARRYING)
def test_samples_do_not_meet(simulator: str, reset: Reset, current: bool, recurrent: bool) -> None:
    """A batch is its samples run alone, and silence after the busiest input that there is stays silent."""
    program = two_layers(reset, current, recurrent)
    quiet = replace(program, populations=tuple(_without_bias(p) for p in program.populations))
    inputs = spikes_for(quiet, steps=12, samples=4)
    inputs[:, 1], inputs[:, 2] = 1, 0
    together = simulated(quiet, inputs, simulator)
    for sample in range(4):
        alone = simulated(quiet, inputs[:, sample : sample + 1], simulator)
        for name, record in alone.items():
            assert np.array_equal(record.spikes[:, 0], together[name].spikes[:, sample])
            assert np.array_equal(record.voltages[:, 0], together[name].voltages[:, sample], equal_nan=True)
    assert all(record.spikes[:, 1].any() for record in together.values())
    assert not any(record.spikes[:, 2].any() or record.voltages[:, 2].any() for record in together.values())


def test_a_network_built_anew_goes_on_where_it_was() -> None:
    """NEST's cells for e-prop remember every step, so that long batches run in pieces: of one sample, and of two."""
    program = two_layers(Reset.SUBTRACT_NEXT_STEP, False)
    inputs = spikes_for(program, steps=12, samples=5)
    period = Schedule.of(program, "nest", 12, 1).period
    whole = simulated(program, inputs, "nest")
    for cell_steps in (1, 2 * period * (24 + 8)):
        for name, record in there(pynn_runs.simulate_in_pieces, program, inputs, cell_steps).items():
            assert np.array_equal(record.spikes, whole[name].spikes)
            assert np.array_equal(record.voltages, whole[name].voltages)


def _without_bias(population):
    return replace(population, neuron=replace(population.cell, bias=np.zeros((), np.int32)))


# runs in a process of their own


@pytest.fixture(scope="module")
def digits() -> tuple[CompiledModel, pipeline.Samples]:
    model = compiled("digits_mlp")
    return model, pipeline.read_data("digits", model.program.encoding, model.program.input.shape, 20)


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_verify_proves_equality_in_every_spike_and_membrane(simulator: str, digits: tuple) -> None:
    """The trained network on its own test images; the executor is named with the versions that ran."""
    model, certificate = pipeline.verify(*digits, against=simulator)
    assert certificate["verified"]
    assert certificate["compared"]["1"] == {"spikes": 25 * 20 * 96, "voltages": 25 * 20 * 96}
    assert certificate["expected"].startswith(f"{simulator} ")
    assert certificate["expected"].endswith(" through PyNN 0.13.0")
    assert model.certificates[-1] is certificate


def test_states_that_no_cell_shows_are_left_out() -> None:
    """Currents of cells that have none, and membranes that a late reset hides; the others are compared."""
    program = two_layers(Reset.ZERO_NEXT_STEP, False)
    inputs = spikes_for(program)
    result = run(program, inputs, on="nest", record_states=True)
    assert result.currents == {}
    for name, spikes in result.spikes.items():
        assert np.array_equal(np.isnan(result.voltages[name]), spikes > 0)
        assert spikes.any()


def test_the_arithmetic_of_the_chip_is_an_executor() -> None:
    program = two_layers(Reset.ZERO, False)
    inputs = spikes_for(program)
    result = run(program, inputs, on="engine-s16.15", record_states=True)
    assert result.executor == "engine (s16.15, unverified on hardware)"
    ours = run_cells(program, inputs, arithmetic="s16.15")
    assert all(np.array_equal(result.spikes[name], ours.spikes[name]) for name in ours.spikes)
    assert result.voltages


def test_samples_are_shared_out_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two processes the result is one process's, and the caller hears of every step of the largest share."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    program = two_layers(Reset.ZERO_NEXT_STEP, True)
    inputs = spikes_for(program, steps=10, samples=37)
    heard: list[tuple[int, int]] = []
    result = run(program, inputs, record_states=True, progress=lambda done, total: heard.append((done, total)))
    here = simulated(program, inputs, "nest")
    assert heard[-1][0] == heard[-1][1]
    for name, record in here.items():
        assert np.array_equal(result.spikes[name], record.spikes)
        assert np.array_equal(result.voltages[name], record.voltages, equal_nan=True)
        assert np.array_equal(result.currents[name], record.currents)
    assert np.array_equal(result.predictions, decide(here[program.output].spikes))


def flipped(program: Program) -> tuple[Program, int, int]:
    """Return the program with the sign of one synapse of its last map turned, and the synapse's ends."""
    edge = program.projections[-1]
    mantissa = edge.synapses.mantissa.copy()
    post, pre = np.unravel_index(np.abs(mantissa).argmax(), mantissa.shape)
    mantissa[post, pre] *= -1
    changed = (*program.projections[:-1], replace(edge, synapses=DenseSynapses(mantissa)))
    return replace(program, projections=changed), int(post), int(pre)


@pytest.mark.parametrize(("simulator", "current"), [("nest", False), ("nest", True), ("brian2", True)])
def test_a_flipped_weight_is_named(simulator: str, current: bool) -> None:
    """The first step in which its source fires, its target, and a weight as the likely cause."""
    program = two_layers(Reset.ZERO_NEXT_STEP, current)
    wrong, post, pre = flipped(program)
    inputs = spikes_for(program)
    ours = run_cells(wrong, inputs, record_states=True)
    first = fidelity.compare(program, as_result(program, simulated(program, inputs, simulator)), ours).first_divergence
    assert first is not None
    fires = ours.spikes["lif1"][:, :, pre].any(1).argmax()
    assert (first.population, first.neuron, first.step) == ("lif2", (post,), fires)
    assert first.likely_cause.startswith("weight")


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_a_delay_of_two_is_named(simulator: str) -> None:
    """Every spike comes a step late, first the very first."""
    program = one_layer(np.eye(6) * 3, np.full(6, 0.5), np.ones(6), Reset.ZERO, None)
    inputs = spikes_for(program, rate=0.2)
    theirs = as_result(program, there(pynn_runs.simulate_late, program, inputs, simulator))
    first = fidelity.compare(program, theirs, run_cells(program, inputs, record_states=True)).first_divergence
    assert first is not None
    assert (first.population, first.step) == ("lif", inputs.any((1, 2)).argmax())
    assert first.likely_cause.startswith("delay")


REFUSALS: list[tuple[str, Callable[[], Program], dict, type[Exception]]] = [
    ("ND331", lambda: two_layers(Reset.SUBTRACT_NEXT_STEP, True), {"on": "nest"}, UnsupportedError),
    ("ND332", lambda: two_layers(Reset.ZERO, True, True), {"on": "nest"}, UnsupportedError),
    ("ND330", lambda: two_layers(Reset.SUBTRACT_NEXT_STEP, False), {"on": "engine-s16.15"}, UnsupportedError),
    ("ND313", lambda: two_layers(Reset.ZERO, False), {"on": "neuron"}, UsageError),
]


@pytest.mark.parametrize(("code", "program", "options", "error"), REFUSALS)
def test_what_no_cell_computes_is_refused(code: str, program: Callable, options: dict, error: type) -> None:
    """Before anything is started, with the population or projection, the reason and where it does run."""
    with pytest.raises(error, match=code) as refused:
        run(program(), spikes_for(program()), **options)
    finding = refused.value.findings[0]
    assert finding.place in ("lif1", "loop", "run")
    assert "brian2" in finding.fix


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(UsageError, match=r"ND313.*\(step, sample, 18\)|ND313"):
        run(two_layers(Reset.ZERO, False), np.zeros((5, 2, 17), np.uint8))


def left_behind() -> list[str]:
    """Return the command lines of workers that still run."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
    return [line.decode() for line in lines if b"backends.spinnaker.worker" in line]


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_a_failure_is_reported_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    write_job = job.write_job

    def write_flat(directory: Path, setting: job.Job) -> None:
        write_job(directory, setting)
        np.save(directory / "samples.npy", setting.samples.reshape(-1))

    monkeypatch.setattr(job, "write_job", write_flat)
    program = two_layers(Reset.ZERO, False)
    with pytest.raises(BackendFailedError, match="ND311") as failure:
        run(program, spikes_for(program))
    assert "on_nest.py" in str(failure.value)
    assert left_behind() == []


def test_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyNN would call cmake if it found nest-config, as it does where an environment is activated."""
    for name in ("nest-config", "cmake"):
        (tmp_path / name).write_text(f'#!/bin/sh\ntouch "{tmp_path}/called"\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program = two_layers(Reset.ZERO, False)
    assert run(program, spikes_for(program)).spikes["lif2"].any()
    assert not (tmp_path / "called").exists()


def test_a_run_that_takes_too_long_is_given_up() -> None:
    program = two_layers(Reset.ZERO, False)
    with pytest.raises(BackendFailedError, match="ND312"):
        run(program, spikes_for(program), timeout_s=0.0)
    assert left_behind() == []


def test_interrupt_ends_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a run ends the workers of all shares."""

    def interrupt(done: int, total: int) -> None:
        assert len(left_behind()) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    program = two_layers(Reset.ZERO, False)
    with pytest.raises(KeyboardInterrupt):
        run(program, spikes_for(program, samples=3000), progress=interrupt)
    assert left_behind() == []


def test_another_interpreter_runs_the_simulator_and_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The interpreter that NEURODEPLOY_PYNN_PYTHON names, by whatever path, gives the same spikes.

    Of this one's packages it sees neurodeploy alone: others beside it, of another version, would hide its own.
    """
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nls "$PYTHONPATH" > "{tmp_path}/seen"\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv(PYTHON, str(other))
    assert missing_executor("nest") is None
    program = two_layers(Reset.ZERO, False)
    inputs = spikes_for(program)
    result = run(program, inputs)
    assert result.executor.endswith(f"({PYTHON})")
    assert (tmp_path / "seen").read_text().split() == ["neurodeploy"]
    assert np.array_equal(result.spikes["lif2"], run_cells(program, inputs).spikes["lif2"])


@pytest.mark.parametrize(("script", "code", "said"), [
    ("exit 1", "ND314", "cannot be run"),
    ('case "$2" in *json*) exit 1;; *) echo 3 9;; esac', "ND314", "Python 3.9"),
    ("echo '[[3, 12], [\"brian2\"]]'", "ND310", "brian2 not installed there"),
])  # fmt: skip
def test_an_interpreter_that_cannot_run_it_is_refused(
    script: str, code: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its path, and what to do."""
    other = tmp_path / "python"
    other.write_text(f"#!/bin/sh\n{script}\n")
    other.chmod(0o755)
    monkeypatch.setenv(PYTHON, str(other))
    program = two_layers(Reset.ZERO, False)
    with pytest.raises(BackendUnavailableError, match=code) as refused:
        run(program, spikes_for(program), on="brian2")
    assert said in str(refused.value)
    assert str(other) in str(refused.value)
    assert missing_executor("engine-s16.15") is None


@pytest.mark.parametrize(("platform", "builds"), [("linux", False), ("darwin", True)])
def test_where_nest_has_no_wheel_the_remedy_says_so(
    platform: str, builds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(availability, "machine", lambda: "x86_64")
    monkeypatch.setattr(availability, "find_spec", lambda name: None)
    assert ("build NEST" in missing_executor("nest").fix) == builds
    assert "build NEST" not in missing_executor("brian2").fix


# what a PyNN user builds


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_one_input_is_played_too(simulator: str) -> None:
    """Of which PyNN takes no list for Brian2: 1.5 fires in every step, .7 in every second."""
    program = one_layer(np.array([[1.5], [0.7]]), np.array(0.9), np.array(1.0), Reset.ZERO, None)
    times = there(pynn_runs.script, program, np.ones((10, 1), np.uint8), simulator, "lif")
    start = 2 + cells.timing_of(program, simulator).steps["lif"]
    assert sorted(np.rint(times).astype(int) - start) == sorted([*range(10), *range(1, 10, 2)])


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_a_program_becomes_part_of_a_script(simulator: str) -> None:
    """Run and read as a PyNN user does; spikes come when `timing` says."""
    program = two_layers(Reset.ZERO, False)
    inputs = spikes_for(program, steps=30, samples=1)
    times = there(pynn_runs.script, program, inputs[:, 0], simulator, "lif2")
    expected = run_cells(program, inputs).spikes["lif2"][:, 0]
    seen = np.rint(times).astype(int) - 2 - cells.timing_of(program, simulator).steps["lif2"]
    assert np.array_equal(np.bincount(seen[seen < 30], minlength=30), expected.sum(1))
    assert expected.sum() > 20


@pytest.mark.parametrize("simulator", ["nest", "brian2"])
def test_a_large_layer_is_connected_in_seconds_with_exactly_its_weights(simulator: str) -> None:
    """2312 x 512, excitatory and inhibitory apart; PyNN's FromListConnector takes a quarter of a minute on NEST."""
    weight = np.random.default_rng(0).normal(size=(512, 2312))
    program = one_layer(weight, np.array(0.9), np.array(1.0), Reset.ZERO, None)
    seconds, found = there(pynn_runs.connect, program, "fc", simulator, 8)
    assert seconds < 3
    _, post, expected = connections(program, program.projections[0])
    parts = [expected[(post < 8) & (expected >= 0)], expected[(post < 8) & (expected < 0)]]
    assert [receptor for receptor, _ in found] == ["excitatory", "inhibitory"]
    for (_, stored), part in zip(found, parts, strict=True):
        assert np.array_equal(stored, np.sort(part))


def test_a_backend_without_known_cells_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ND313.*pyNN\.neuron"):
        build(two_layers(Reset.ZERO, False), ModuleType("pyNN.neuron"))


def test_mantissas_are_met_by_the_weights_of_every_connection() -> None:
    """Dense, in the order of (post, pre), as the program's own account in mV has them."""
    program = two_layers(Reset.ZERO, False)
    edge = program.projections[-1]
    pre, post, weight = connections(program, edge)
    matrix = np.zeros(edge.synapses.mantissa.shape)
    matrix[post, pre] = weight
    assert np.array_equal(matrix, program.weights(edge) * program.population("lif2").scale)
