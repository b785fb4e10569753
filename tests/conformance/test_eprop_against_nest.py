"""Our e-prop and NEST's own learn the same weights: NEST's models and kernel share no code or author with ours.

What NEST calls differently: its interval models filter the eligibility by ebar = kappa ebar' + (1 - kappa) e, which is
our e with feedback (1 - kappa) B; its firing rate term weighs the plain sum of e, which is our table with kappa = 0.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from math import exp
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import Tensor

from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Adaptation, Input, InputKind, Linear, Reset
from neurodeploy.ir.onchip import EPROP
from neurodeploy.ir.plasticity import Rule
from neurodeploy.learning.eprop import ALIF_RULE, EXACT_RULE, LIF_RULE, EProp, Options
from neurodeploy.learning.interpreter import Values, weight_change
from neurodeploy.learning.net import Net, silent_gradient
from neurodeploy.learning.surrogates import triangle
from tests.conformance import nest_eprop
from tests.conformance.nest_eprop import QUIET_STEPS, Task, Weights

if find_spec("nest") is None:
    WHEEL = sys.platform == "linux" and platform.machine() == "x86_64"
    HOW = "pip install 'neurodeploy[nest]'" if WHEEL else "there is no wheel for every machine of this kind"
    pytest.skip(f"nest-simulator is not installed: {HOW}", allow_module_level=True)

INTERVALS, STEPS, INPUTS, HIDDEN, OUTPUTS = 6, 150, 20, 30, 2
TOLERANCE = 1e-12
NO_FILTER = 1e-3
ADAPTING = {"tau_adaptation": 80.0, "strength": 0.1}
Nest = Callable[[Callable[[Task], Weights], Task], Weights]


def task(loss: str = "mean_squared_error", intervals: int = INTERVALS, **more: object) -> Task:
    """Return 20-30-2 with new input in every interval; targets are two sines, or one class per interval."""
    random = np.random.default_rng(3)
    spikes = (random.random((intervals, STEPS, INPUTS)) < 0.05).astype(np.uint8)
    spikes[:, :QUIET_STEPS] = 0
    shapes = ((HIDDEN, INPUTS), (HIDDEN, HIDDEN), (OUTPUTS, HIDDEN))
    w_in, w_rec, w_out = (
        gain * random.normal(size=shape) / shape[1] ** 0.5 for gain, shape in zip((1.5, 0.7, 0.2), shapes, strict=True)
    )
    np.fill_diagonal(w_rec, 0)
    feedback = 3 * random.normal(size=(HIDDEN, OUTPUTS)) / HIDDEN**0.5
    waves = np.sin(2 * np.pi * (np.arange(STEPS)[:, None] / 100 + random.random(OUTPUTS)))
    classes = np.eye(OUTPUTS)[np.arange(intervals) % OUTPUTS]
    shown = waves if loss == "mean_squared_error" else classes[:, None]
    targets = np.broadcast_to(shown, (intervals, STEPS, OUTPUTS))
    return Task(spikes, targets, (w_in, w_rec, w_out), feedback, loss=loss, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    """Run a function of `nest_eprop` in a process that holds nothing but NEST."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, given: pool.submit(function, given).result(timeout=120)


def network(given: Task) -> Network:
    adaptation = None
    if given.tau_adaptation is not None:
        adaptation = Adaptation(np.array(exp(-1 / given.tau_adaptation)), np.array(given.strength))
    reset = Reset.SUBTRACT_NEXT_STEP
    beta, theta = np.array(exp(-1 / given.tau)), np.array(given.threshold)
    nodes = {
        "input": Input((INPUTS,), InputKind.SPIKES),
        "fc1": Linear(given.weights[0]),
        "lif1": LIF((HIDDEN,), beta, theta, reset, adaptation=adaptation),
        "lif1.recurrent": Linear(given.weights[1]),
        "fc2": Linear(given.weights[2]),
        "lif2": LIF((OUTPUTS,), np.array(exp(-1 / given.tau_out)), np.array(1.0), reset),
    }
    chain = [Edge("input", "fc1"), Edge("fc1", "lif1"), Edge("lif1", "fc2"), Edge("fc2", "lif2")]
    loop = [Edge("lif1", "lif1.recurrent", 1), Edge("lif1.recurrent", "lif1")]
    return Network(nodes, tuple(chain + loop), "input", "lif2")


@torch.no_grad()
def by_table(given: Task, rule: Rule, kappa: float | None = None) -> Weights:
    """Learn by tables alone, `rule` for the hidden layer, after every interval; `kappa` is NEST's unless given."""
    net = Net(network(given), torch.float64)
    net.output.listens_only()
    hidden, output = net
    nests, feedback = exp(-1 / given.tau_filter), torch.tensor(given.feedback)
    constants = {"beta": exp(-1 / given.tau), "kappa": nests if kappa is None else kappa, "theta": given.threshold}
    constants |= _adaptation(given)
    for spikes, targets in zip(given.spikes, given.targets, strict=True):
        x, target = torch.tensor(spikes).double().unsqueeze(1), torch.tensor(targets).unsqueeze(1)
        layer, _ = hidden.run(hidden.drive(x), hidden.rest(1), silent_gradient)
        readout, _ = output.run(output.drive(layer.spikes), output.rest(1), silent_gradient)
        y = readout.u + output.threshold
        error = (y if given.loss == "mean_squared_error" else y.softmax(2)) - target
        psi, signal = triangle(layer.u, hidden.threshold), (1 - nests) * error @ feedback.T
        firing = given.regularizer * (layer.spikes.mean(0) - given.target_rate) / len(x)
        for weight, source in ((hidden.weight, x), (hidden.recurrent, layer.before)):
            change = _change(rule, source, psi, signal, constants)
            change += _change(rule, source, psi, firing.expand_as(psi), constants | {"kappa": 0.0})
            weight += given.rate * (change if weight is hidden.weight else change.fill_diagonal_(0))
        leaky = {"beta": exp(-1 / given.tau_out), "kappa": 0.0}
        output.weight += given.rate * _change(LIF_RULE, layer.spikes, torch.ones_like(error), error, leaky)
    return hidden.weight.numpy(), hidden.recurrent.numpy(), output.weight.numpy()


def _adaptation(given: Task) -> dict[str, float]:
    if given.tau_adaptation is None:
        return {}
    return {"rho": exp(-1 / given.tau_adaptation), "strength": given.strength}


def _change(rule: Rule, source: Tensor, psi: Tensor, signal: Tensor, constants: dict[str, float]) -> Tensor:
    return weight_change(rule, source, torch.zeros_like(psi), psi=psi, signal=signal, constants=constants)[0]


def by_learner(given: Task, **more: object) -> Weights:
    """Learn by the rule's own file: `EProp`, its sums over steps, its regularizer and its optimizer.

    It is given synapses of neurons to themselves, which it must drop: NEST has none.
    """
    kappa = exp(-1 / given.tau_filter)
    options = Options(
        feedback="random",
        readout="membrane",
        optimizer="sgd",
        kappa=kappa,
        rate=given.rate,
        regularizer=given.regularizer,
        target_rate=given.target_rate,
        stretch=64,
    )
    w_in, w_rec, w_out = given.weights
    selfish = replace(given, weights=(w_in, w_rec + np.eye(HIDDEN), w_out))
    learner = EProp(network(selfish), replace(options, **more), seed=0, dtype=torch.float64)  # type: ignore[arg-type]
    learner.feedback["lif1"].copy_((1 - kappa) * torch.tensor(given.feedback.T))
    labels = torch.tensor(given.targets[:, 0].argmax(1))
    for x, label in zip(torch.tensor(given.spikes).double().split(given.batch), labels.split(given.batch), strict=True):
        learner.learn(x.transpose(0, 1), label)
    hidden, output = learner.net
    return tuple(w.detach().numpy() for w in (hidden.weight, hidden.recurrent, output.weight))  # type: ignore[return-value]


@torch.no_grad()
def by_table_online(given: Task, rule: Rule, late: int = 2) -> Weights:
    """Learn in every step of one interval by tables alone; a spike finds weights as of `late` steps before it arrives.

    NEST's spike subtracts the threshold at once, and what it learns from the running mean of the firing rate is
    filtered by the constant of that mean. `rule` is ours of training, which reads spikes when they arrive, or the
    chip's, which reads them when they are sent and has beta once more.
    """
    beta, kappa, leak, slow = (exp(-1 / tau) for tau in (given.tau, given.tau_filter, given.tau_out, given.tau_rate))
    sent = "rate" in rule.constants
    unsent = LIF_RULE if sent else rule
    constants = {"beta": beta} | ({"rate": 1 / beta} if sent else {"kappa": kappa}) | _adaptation(given)
    inputs, feedback = torch.tensor(given.spikes[0]).double(), torch.tensor(given.feedback)
    path = [tuple(torch.tensor(weight) for weight in given.weights)]
    memory: list[Values] = [{} for _ in range(5)]
    silent = torch.zeros(HIDDEN, dtype=torch.float64)
    v, a, z, mean, y = silent, silent, silent, silent, silent[:OUTPUTS]
    rho, strength = constants.get("rho", 0.0), constants.get("strength", 0.0)

    def change(at: int, table: Rule, source: Tensor, psi: Tensor, signal: Tensor, of: dict[str, float]) -> Tensor:
        rows = (row.reshape(1, 1, -1) for row in (source, torch.zeros_like(psi), psi, signal))
        x, fired, psi, signal = rows  # one step of one sample
        dw, memory[at] = weight_change(table, x, fired, psi=psi, signal=signal, constants=of, before=memory[at])
        return dw

    for step in range(STEPS):
        w_in, w_rec, w_out = path[max(0, step + 1 - late)]
        before, v = z, beta * v + w_in @ inputs[step] + w_rec @ z
        a = rho * a + before
        theta = given.threshold + strength * a
        psi = given.height * (1 - (v - theta).abs() / given.width).clamp(min=0)
        z = (v > theta).double()
        v = v - given.threshold * z
        mean = slow * mean + (1 - slow) * z
        y = leak * y + w_out @ z
        error = (y - torch.tensor(given.targets[0, step])) * (step < STEPS - 1)
        firing = (1 - slow) * given.regularizer * (mean - given.target_rate)
        following = inputs[step + 1] if step + 1 < STEPS else torch.zeros(INPUTS)
        learned = list(path[-1])
        for at, arriving, leaving in ((0, inputs[step], following), (1, before, z)):
            dw = change(at, rule, leaving if sent else arriving, psi, feedback @ error, constants)
            dw += change(at + 2, unsent, arriving, psi, firing, constants | {"kappa": slow})
            learned[at] = learned[at] + given.rate * (dw.fill_diagonal_(0) if at else dw)
        leaky = {"beta": leak, "kappa": 0.0}
        learned[2] = learned[2] + given.rate * change(4, LIF_RULE, z, torch.ones_like(y), error, leaky)
        path.append((learned[0], learned[1], learned[2]))
    return tuple(weight.numpy() for weight in path[-1])  # type: ignore[return-value]


def deviation(theirs: Weights, ours: Weights, of: Task) -> float:
    """Return the largest difference of any weight, once it is sure that most of every group have been learned."""
    for before, after in zip(of.weights, theirs, strict=True):
        assert np.mean(np.abs(after - before) > 1e6 * TOLERANCE) > 0.5
        assert np.abs(after).max() < nest_eprop.LIMIT
    return max(float(np.abs(a - b).max()) for a, b in zip(theirs, ours, strict=True))


@pytest.mark.parametrize("loss", ["mean_squared_error", "cross_entropy"])
@pytest.mark.parametrize(("rule", "neurons"), [(LIF_RULE, {}), (ALIF_RULE, ADAPTING)], ids=["lif", "alif"])
def test_the_table_learns_what_nest_learns(nest: Nest, rule: Rule, neurons: dict, loss: str) -> None:
    """All weights after six intervals, each with new input, to 1e-12; every time constant is another one."""
    given = task(loss, **neurons)
    assert deviation(nest(nest_eprop.by_interval, given), by_table(given, rule), given) < TOLERANCE


@pytest.mark.parametrize(
    ("neurons", "options"),
    [
        ({}, {}),
        (ADAPTING, {}),
        ({"batch": 2, "regularizer": 0.0}, {}),
        ({"tau_filter": NO_FILTER}, {"filtered": False}),
    ],
    ids=["lif", "alif", "batches", "no filter"],
)
def test_the_rules_own_file_learns_what_nest_learns(nest: Nest, neurons: dict, options: dict) -> None:
    """`EProp` with its matrix products, in stretches that cut the interval: sums, regularizer, mean over a batch.

    Batches go without the regularizer: ours takes the rate over the batch, NEST takes it interval by interval.
    """
    given = task("cross_entropy", **neurons)
    assert deviation(nest(nest_eprop.by_interval, given), by_learner(given, **options), given) < TOLERANCE


@pytest.mark.parametrize(
    ("rule", "more"),
    [(LIF_RULE, {}), (ALIF_RULE, ADAPTING), (EPROP, {"tau_filter": NO_FILTER})],
    ids=["lif", "alif", "the chip's"],
)
def test_the_tables_learn_online_what_nest_learns(nest: Nest, rule: Rule, more: dict) -> None:
    """Weights that change in every step, and spikes that pass through them, against NEST's event-driven updates.

    This is the table; the rest of a chip's chain (`ir/onchip.py`) is not NEST's. Its error is of spikes, clipped, and
    meets the psi of the step in which it comes back, where NEST keeps a history and takes the psi that the error is
    about. Its firing rate term weighs psi eps of the step, NEST's a filtered one.
    """
    given = task(intervals=1, **more)
    assert deviation(nest(nest_eprop.online, given), by_table_online(given, rule), given) < TOLERANCE


PERTURBED: dict[str, tuple[dict, Callable[[Task], Weights]]] = {
    "kappa": ({}, lambda given: by_table(given, LIF_RULE, kappa=exp(-1 / 16))),
    "no kappa": ({}, lambda given: by_table(given, replace(LIF_RULE, synapse={"e": "psi*eps"}))),
    "trace a step late": ({}, lambda given: by_table(given, replace(LIF_RULE, synapse={"e": "kappa*e' + psi*eps'"}))),
    "psi a step late": ({}, lambda given: by_table(given, replace(LIF_RULE, synapse={"e": "kappa*e' + psi'*eps"}))),
    "reset in the trace": ({}, lambda given: by_table(given, EXACT_RULE)),
    "no regularizer": ({}, lambda given: by_table(replace(given, regularizer=0.0), LIF_RULE)),
    "adaptation forgotten": (ADAPTING, lambda given: by_table(given, LIF_RULE)),
    "adaptation too early": (
        ADAPTING,
        lambda given: by_table(
            given,
            replace(ALIF_RULE, synapse={**ALIF_RULE.synapse, "a": "psi*eps' + rho*a' - strength*psi*a'"}),
        ),
    ),
    "the read-out's kappa": ({"loss": "cross_entropy"}, lambda given: by_learner(given, kappa=None)),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_rule_learns_something_else(nest: Nest, name: str) -> None:
    """By more than a thousandth of the largest change, a billion times what is tolerated."""
    more, learn = PERTURBED[name]
    given = task(**more)
    theirs = nest(nest_eprop.by_interval, given)
    largest = max(np.abs(after - before).max() for before, after in zip(given.weights, theirs, strict=True))
    assert deviation(theirs, learn(given), given) > max(1e-3 * largest, 1e6 * TOLERANCE)


@pytest.mark.parametrize(
    ("rule", "late"),
    [(EPROP, 1), (EPROP, 3), (replace(EPROP, weight="-rate*beta*L*psi*eps"), 2)],
    ids=["weights a step early", "weights a step late", "the spike of the step in the trace"],
)
def test_a_step_of_shift_learns_something_else_online(nest: Nest, rule: Rule, late: int) -> None:
    given = task(intervals=1, tau_filter=NO_FILTER)
    theirs = nest(nest_eprop.online, given)
    assert deviation(theirs, by_table_online(given, rule, late), given) > 1e6 * TOLERANCE
