"""What is recorded from a module of SpikingJelly, Norse or sinabs fires exactly the module's own spikes.

Weights are random, or random multiples of 1/8: then most membranes are exact, many meet their threshold exactly, and
the lowered network in the engine's real numbers has to fire the same spikes, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.engine.real import run_real
from neurodeploy.frontends.recording import record
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.nodes import Firing, Reset
from neurodeploy.lowering import lower

STEPS, BATCH, FEATURES, WIDTH, OUT = 12, 4, 6, 8, 5
DENSE, IMAGE = (FEATURES,), (1, 8, 8)
SEEDS = range(2)


@dataclass
class Case:
    """A net, its example, the neurons under test and at the end, and how all steps of an input are run."""

    net: nn.Module
    example: Tensor
    tested: nn.Module
    output: nn.Module
    run: Callable[[Tensor], Any]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def front(shape: tuple[int, ...], kind: Any = nn) -> tuple[nn.Module, nn.Module]:
    """Return a layer that reads `shape`, and one that reads its neurons."""
    if shape == DENSE:
        return kind.Linear(FEATURES, WIDTH), kind.Linear(WIDTH, OUT)
    return kind.Conv2d(1, 2, 3, 2, 1), nn.Sequential(kind.Flatten(), kind.Linear(32, OUT))


def binary(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(STEPS, BATCH, *shape).round()


def observed(case: Case, x: Tensor) -> dict[str, Tensor]:
    """Return the spikes (step, sample, *neuron) of both layers, as their own package computes them."""
    seen: dict[str, list[Tensor]] = {"tested": [], "output": []}
    hooks = [
        module.register_forward_hook(lambda _, __, result, name=name: seen[name].append(result))
        for name, module in (("tested", case.tested), ("output", case.output))
    ]
    with torch.no_grad():
        case.run(x)
    for hook in hooks:
        hook.remove()
    results = {name: [r[0] if isinstance(r, tuple) else r for r in parts] for name, parts in seen.items()}
    return {name: torch.stack(parts) if len(parts) == STEPS else parts[0] for name, parts in results.items()}


@torch.no_grad()
def awaken(case: Case, x: Tensor, steps_first: Callable[[Tensor], Tensor], dyadic: bool) -> None:
    """Scale the weights until each layer fires in 5 to 40 % of neurons and steps, or nearly so."""
    parameters = [p for p in case.net.parameters() if p.dim() > 1]
    half = len(parameters) - 1
    for name, layer in (("tested", parameters[:half]), ("output", parameters[half:])):
        for weight in layer:
            weight.add_(0.1 * weight.abs().mean())
        for _ in range(30):
            rate = float((steps_first(observed(case, x)[name]) > 0).float().mean())
            if 0.05 <= rate <= 0.4:
                break
            for weight in layer:
                weight.mul_(0.8 if rate > 0.4 else 1.3)
    if dyadic:
        for parameter in case.net.parameters():
            parameter.copy_((parameter * 8).round() / 8)


def names(case: Case) -> dict[str, str]:
    """Return the population of each of the two neurons."""
    paths = {module: name for name, module in case.net.named_modules()}
    return {"tested": paths[case.tested], "output": paths[case.output]}


def assert_same_spikes(case: Case, x: Tensor, steps_first: Callable[[Tensor], Tensor], dyadic: bool) -> None:
    awaken(case, x, steps_first, dyadic)
    expected = {name: steps_first(spikes).numpy() for name, spikes in observed(case, x).items()}
    assert (expected["tested"] > 0).mean() > 0.005
    network = record(case.net, case.example)
    result = run_source(network, x.numpy(), batch=BATCH)
    for name, population in names(case).items():
        np.testing.assert_array_equal(result.spikes[population], expected[name])
    if dyadic:
        lowered = lower(network)
        real, _ = run_real(lowered, x.numpy())
        np.testing.assert_array_equal(real.spikes[lowered.output], expected["output"])


def with_steps_first(spikes: Tensor) -> Tensor:
    return spikes


# SpikingJelly


def jelly_neuron(kind: str, reset: float | None, dyadic: bool) -> nn.Module:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    settings = {"v_reset": reset, "v_threshold": 0.5}
    name, _, how = kind.partition(" ")
    tau = 2.0 if dyadic else 1.7
    if name == "LIFNode":
        settings |= {"tau": tau, "decay_input": how == "decayed"}
    if name == "ParametricLIFNode":
        settings |= {"init_tau": tau, "decay_input": how == "decayed"}
    return getattr(neuron, name)(**settings)


def jelly_case(kind: str, reset: float | None, mode: str, shape: tuple[int, ...], dyadic: bool) -> Case:
    layers = pytest.importorskip("spikingjelly.activation_based.layer", reason="spikingjelly is not installed")
    from spikingjelly.activation_based import functional

    tested, output = jelly_neuron(kind, reset, dyadic), jelly_neuron(kind, reset, dyadic)
    first, second = front(shape, layers)
    net = nn.Sequential(first, tested, second, output).eval()
    functional.set_step_mode(net, mode)
    x = binary(shape)

    def run(x: Tensor) -> None:
        functional.reset_net(net)
        for part in (x,) if mode == "m" else x:
            net(part)

    return Case(net, x if mode == "m" else x[0], tested, output, run)


JELLY = ("IFNode", "LIFNode", "LIFNode decayed", "ParametricLIFNode", "ParametricLIFNode decayed")


@pytest.mark.parametrize("kind", JELLY)
@pytest.mark.parametrize("reset", [None, 0.0, -0.25])
@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("shape", [DENSE, IMAGE], ids=["dense", "convolutional"])
@pytest.mark.parametrize("dyadic", [False, True], ids=["random", "exact"])
def test_spikes_are_those_of_spikingjelly(kind, reset, mode, shape, dyadic):
    """For every neuron and reset, one step per call or all at once."""
    for seed in SEEDS:
        torch.manual_seed(seed)
        case = jelly_case(kind, reset, mode, shape, dyadic)
        assert_same_spikes(case, binary(shape), with_steps_first, dyadic)


# Norse


def norse_neuron(kind: str, leak: float, dyadic: bool) -> nn.Module:
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract

    name, _, how = kind.partition(" ")
    voltages = {"v_th": torch.tensor(0.5), "v_reset": torch.tensor(leak)}
    times = {"tau_mem_inv": torch.tensor(500.0 if dyadic else 300.0), "v_leak": torch.tensor(leak)}
    if name.startswith("IAF"):
        return getattr(norse, name)(IAFParameters(**voltages))
    if name == "LIFBoxCell":
        subtracts = {"reset_method": reset_subtract} if how else {}
        return norse.LIFBoxCell(LIFBoxParameters(**voltages, **times, **subtracts))
    times["tau_syn_inv"] = torch.tensor(500.0 if dyadic else 200.0)
    parameters = norse.LIFParameters(**voltages, **times)
    return getattr(norse, name)(*((FEATURES, WIDTH) if "Recurrent" in name else ()), p=parameters)


def norse_case(kind: str, leak: float, shape: tuple[int, ...], dyadic: bool) -> Case:
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    tested = norse_neuron(kind, leak, dyadic)
    cells = "Cell" in kind
    output = norse_neuron("LIFCell" if cells else "LIF", leak, dyadic)
    first, second = front(shape)
    layers = [second, output] if shape == DENSE else [*second, output]
    net = norse.SequentialState(*([tested] if "Recurrent" in kind else [first, tested]), *layers).eval()
    net = norse.Lift(net) if cells else net
    return Case(net, binary(shape), tested, output, net)


NORSE_CELLS = ("IAFCell", "LIFBoxCell", "LIFBoxCell subtract", "LIFCell")
NORSE_DENSE = (*NORSE_CELLS, "IAF", "LIF", "LIFRecurrent", "LIFRecurrentCell")
NORSE = [*((kind, 0.0, DENSE) for kind in NORSE_DENSE), *((kind, 0.0, IMAGE) for kind in NORSE_CELLS)]
NORSE += [(kind, -0.25, shape) for kind, _, shape in NORSE if "subtract" not in kind]


@pytest.mark.parametrize(("kind", "leak", "shape"), NORSE)
@pytest.mark.parametrize("dyadic", [False, True], ids=["random", "exact"])
def test_spikes_are_those_of_norse(kind, leak, shape, dyadic):
    """For cells and for layers that take all steps at once, with and without current and recurrence."""
    for seed in SEEDS:
        torch.manual_seed(seed)
        assert_same_spikes(norse_case(kind, leak, shape, dyadic), binary(shape), with_steps_first, dyadic)


# sinabs


def sinabs_neuron(kind: str, rule: str, settings: dict[str, Any], dyadic: bool) -> nn.Module:
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
    activation = pytest.importorskip("sinabs.activation")
    name, _, how = kind.partition(" ")
    given: dict[str, Any] = {"spike_threshold": torch.tensor(0.5), **settings}
    given["spike_fn"] = activation.MultiSpike if rule == "multiple" else activation.SingleSpike
    given["reset_fn"] = activation.MembraneReset() if rule == "reset" else activation.MembraneSubtract()
    if name.startswith("LIF"):
        given |= {"tau_mem": 4.0, "norm_input": how == "normalized", "train_alphas": dyadic}
    if "Recurrent" in name:
        given["rec_connect"] = nn.Linear(WIDTH, WIDTH, bias=False)
    if "Squeeze" in name:
        given["num_timesteps"] = STEPS
    made = getattr(layers, name)(**given)
    if dyadic and name.startswith("LIF"):
        made.alpha_mem.data.fill_(0.5)
        if "tau_syn" in settings:
            made.alpha_syn.data.fill_(0.25)
    return made


def sinabs_case(kind: str, rule: str, settings: dict[str, Any], shape: tuple[int, ...], dyadic: bool) -> Case:
    tested = sinabs_neuron(kind, rule, settings, dyadic)
    output = sinabs_neuron("IAFSqueeze" if "Squeeze" in kind else "IAF", rule, settings, dyadic)
    first, second = front(shape)
    net = nn.Sequential(first, tested, second, output).eval()

    def given(x: Tensor) -> Tensor:
        batch_first = x.transpose(0, 1)
        return batch_first.flatten(0, 1) if "Squeeze" in kind else batch_first

    def run(x: Tensor) -> None:
        for layer in (tested, output):  # sinabs.reset_states passes over layers that hold others
            layer.reset_states()
        net(given(x))

    return Case(net, given(binary(shape)), tested, output, run)


def from_sinabs(spikes: Tensor) -> Tensor:
    """Put the steps of (sample, step, ...) first, the two axes being one in squeezed layers."""
    split = spikes if spikes.shape[:2] == (BATCH, STEPS) else spikes.unflatten(0, (BATCH, STEPS))
    return split.transpose(0, 1)


SINABS_DENSE = ("IAF", "LIF", "LIF normalized", "IAFRecurrent", "LIFRecurrent", "LIFRecurrent normalized")
SINABS_SQUEEZED = ("IAFSqueeze", "LIFSqueeze", "LIFSqueeze normalized")
SINABS = [*((kind, DENSE) for kind in SINABS_DENSE), *((k, shape) for k in SINABS_SQUEEZED for shape in (DENSE, IMAGE))]
SETTINGS = [{}, {"min_v_mem": -0.25}, {"tau_syn": 3.0}]


@pytest.mark.parametrize(("kind", "shape"), SINABS)
@pytest.mark.parametrize("rule", ["multiple", "single", "reset"])
@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "floor", "current"])
@pytest.mark.parametrize("dyadic", [False, True], ids=["random", "exact"])
def test_spikes_are_those_of_sinabs(kind, shape, rule, settings, dyadic):
    """For one spike a step or several, both resets, a floor or a current, steps on an axis of their own or not."""
    for seed in SEEDS:
        torch.manual_seed(seed)
        case = sinabs_case(kind, rule, settings, shape, dyadic)
        assert_same_spikes(case, binary(shape), from_sinabs, dyadic)


# What the comparisons above can see

PLANTED: dict[str, tuple[Callable[[], tuple[Case, Callable[[Tensor], Tensor]]], dict[str, Any]]] = {
    "SpikingJelly fires above": (
        lambda: (jelly_case("LIFNode", None, "m", DENSE, True), with_steps_first),
        {"firing": Firing.ABOVE},
    ),
    "SpikingJelly resets a step later": (
        lambda: (jelly_case("LIFNode", None, "m", DENSE, True), with_steps_first),
        {"reset": Reset.SUBTRACT_NEXT_STEP},
    ),
    "SpikingJelly subtracts from zero": (
        lambda: (jelly_case("IFNode", None, "m", DENSE, True), with_steps_first),
        {"reset": Reset.ZERO},
    ),
    "SpikingJelly decays no input": (
        lambda: (jelly_case("LIFNode decayed", 0.0, "m", DENSE, False), with_steps_first),
        {"gain": None},
    ),
    "Norse fires at its threshold": (
        lambda: (norse_case("IAFCell", 0.0, DENSE, True), with_steps_first),
        {"firing": Firing.REACHED},
    ),
    "Norse's current is gone at once": (
        lambda: (norse_case("LIFCell", 0.0, DENSE, True), with_steps_first),
        {"alpha": None},
    ),
    "sinabs fires once": (
        lambda: (sinabs_case("IAF", "multiple", {}, DENSE, True), from_sinabs),
        {"firing": Firing.REACHED},
    ),
    "sinabs has no floor": (
        lambda: (sinabs_case("IAF", "single", {"min_v_mem": -0.25}, DENSE, True), from_sinabs),
        {"floor": None},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_another_rule_fires_other_spikes(name):
    """The inputs above tell every rule from its neighbor, membranes that meet their threshold exactly included."""
    torch.manual_seed(1)
    made, change = PLANTED[name]
    case, steps_first = made()
    x = binary(DENSE)
    awaken(case, x, steps_first, dyadic=True)
    network = record(case.net, case.example)
    population = names(case)["tested"]
    lif = network.populations[population]
    assert replace(lif, **change) != lif
    wrong = replace(network, nodes=network.nodes | {population: replace(lif, **change)})
    expected = steps_first(observed(case, x)["tested"]).numpy()
    np.testing.assert_array_equal(run_source(network, x.numpy(), batch=BATCH).spikes[population], expected)
    assert not np.array_equal(run_source(wrong, x.numpy(), batch=BATCH).spikes[population], expected)


# In real numbers

DOUBLE = {
    "SpikingJelly": lambda: (jelly_case("LIFNode decayed", -0.25, "m", DENSE, False), 0.25),
    "SpikingJelly, parametric": lambda: (jelly_case("ParametricLIFNode", None, "m", DENSE, False), 0.0),
    "Norse": lambda: (norse_case("LIF", -0.25, DENSE, False), 0.25),
    "Norse, recurrent": lambda: (norse_case("LIFRecurrent", 0.0, DENSE, False), 0.0),
    "sinabs": lambda: (sinabs_case("LIF normalized", "multiple", {"tau_syn": 3.0}, DENSE, False), 0.0),
    "sinabs, with a floor": lambda: (sinabs_case("IAF", "single", {"min_v_mem": -0.25}, DENSE, False), 0.0),
}


def membrane(module: nn.Module) -> Tensor:
    return dict(module.named_buffers()).get("v_mem", vars(module).get("_memories", {}).get("v"))


@pytest.mark.parametrize("name", DOUBLE)
def test_membranes_agree_in_double_precision(name):
    """What rounding could hide is not there: after all steps they differ by less than 1e-12, counted from the start."""
    torch.manual_seed(3)
    case, start = DOUBLE[name]()
    steps_first = from_sinabs if "sinabs" in name else with_steps_first
    awaken(case, binary(DENSE), steps_first, dyadic=False)
    modules = [*case.net] if "sinabs" not in name else [case.net[0], case.tested]  # sinabs' spikes are always float32
    for module in modules:
        module.double()
    x, example = binary(DENSE).double(), case.example.double()
    with torch.no_grad():
        left = case.run(x)
    expected = left[1][[*case.net].index(case.tested)].v if "Norse" in name else membrane(case.tested)
    result = run_source(record(case.net, example), x.numpy(), record_states=True, batch=BATCH, dtype="float64")
    found = result.voltages[names(case)["tested"]][-1]
    np.testing.assert_allclose(found, expected.detach().numpy() + start, rtol=0, atol=1e-12)
