"""Features learn by PyNN's pair STDP what all pairs of their spikes say, and what our engine says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context

import numpy as np
import pytest

from neurodeploy.backends.spinnaker import stdp
from neurodeploy.backends.spinnaker.availability import PYTHON
from neurodeploy.backends.spinnaker.learn import learn as learn_on_simulator
from neurodeploy.engine import additive
from neurodeploy.errors import UnsupportedError
from neurodeploy.evaluation import trajectories
from neurodeploy.ir.additive import AdditiveProgram
from neurodeploy.ir.nodes import Reset
from neurodeploy.lowering.additive import AdditiveOptions
from neurodeploy.lowering.additive import program as additive_program
from tests.plastic_programs import network

STEPS = 20
LIVELY = AdditiveOptions(
    rate=0.05, w_max=0.3, inhibition=0.5, tau_plus=4.0, tau_minus=7.0, depression=0.8, pause=8, initial="random"
)
SIMULATORS = [
    pytest.param(name, marks=pytest.mark.skipif(absent, reason="pip install 'neurodeploy[pynn]'"))
    for name in ("nest", "brian2")
    for absent in [find_spec(name) is None or find_spec("pyNN") is None]
]


def program(options: AdditiveOptions = LIVELY, **more: object) -> AdditiveProgram:
    return additive_program(network(recurrent=True, reset=Reset.ZERO), STEPS, replace(options, **more))  # type: ignore[arg-type]


def samples(count: int = 5) -> np.ndarray:
    """Return spikes uint8 (sample, step, input), one input of which is always silent."""
    spikes = (np.random.default_rng(1).random((count, STEPS, 16)) < 0.2).astype(np.uint8)
    spikes[:, :, 3] = 0
    return spikes


def unheard(_: int) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Yield a process that holds PyNN, which is one kernel per process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as found:
        yield found


def run(pool: ProcessPoolExecutor, given: AdditiveProgram, spikes: np.ndarray, on: str, trajectory: bool = False):
    return pool.submit(stdp.run, given, spikes, on, trajectory, unheard).result(timeout=120)


def all_pairs(given: AdditiveProgram, spikes: np.ndarray, fired: np.ndarray, on: str) -> np.ndarray:
    """Return dw (post, pre) over all pairs of recorded spikes, by what PyNN's documentation and sources say.

    NEST's delay of 1 ms is dendritic, so a feature's spike counts that much later; a pair at once does not count; and
    nothing does after an input's last spike. Brian2's delay is axonal, so an input's spike counts that much later, and
    a pair at once raises.
    """
    pairs = given.pairs
    padded = np.pad(spikes, ((0, 0), (0, given.pause), (0, 0))).reshape(-1, spikes.shape[2])
    dw = np.zeros(given.weights[0].shape)
    for i, train in enumerate(padded.T):
        before = np.flatnonzero(train) + stdp.FIRST_STEP
        for j, answer in enumerate(fired.T):
            for behind in np.flatnonzero(answer) + (1 if on == "nest" else -1):
                if on == "nest" and (not before.size or behind > before[-1]):
                    continue
                d = behind - before
                dw[j, i] += pairs.a_plus * np.exp(-d[d > 0] / pairs.tau_plus).sum()
                dw[j, i] -= pairs.a_minus * np.exp(d[d < 0] / pairs.tau_minus).sum()
                if on == "brian2":
                    dw[j, i] += pairs.a_plus * np.count_nonzero(d == 0)
    return dw


@pytest.mark.parametrize("on", SIMULATORS)
def test_weights_are_the_sum_over_all_pairs_of_spikes(pool, on):
    """To 1e-9 (it is 1e-14), as long as no weight reaches an end of its range; from 16 inputs, over 140 steps."""
    given, spikes = program(rate=5e-4, w_max=2.0, convention=on), samples()
    features = given.features
    tall = replace(features, neuron=replace(features.neuron, theta=np.linspace(8.0, 12.0, features.size)))
    middling = replace(tall, forward=replace(tall.forward, weight=0.5 + tall.forward.weight / 2))
    given = replace(given, populations=(middling, given.output))
    (learned,), fired = run(pool, given, spikes, on)
    expected = all_pairs(given, spikes, fired, on)
    assert np.mean(np.abs(expected) > 1e-4) > 0.5
    assert np.abs(learned - given.weights[0] - expected).max() < 1e-9
    other = "brian2" if on == "nest" else "nest"
    assert np.abs(all_pairs(given, spikes, fired, other) - expected).max() > 1e-4


@pytest.mark.parametrize("on", SIMULATORS)
@pytest.mark.parametrize("depression", [0.3, 2.0])
def test_the_engine_learns_what_the_simulator_learns(pool, on, depression):
    """After every sample, with weights at an end of their range, spikes step for step."""
    given, spikes = program(convention=on, depression=depression), samples()
    rows, fired = run(pool, given, spikes, on, trajectory=True)
    ours = additive.trajectory(given, spikes, np.zeros(len(spikes)))[0]
    assert np.abs(np.stack(rows) - ours).max() < 1e-12
    endless = replace(given, pairs=replace(given.pairs, w_max=np.inf))
    bounded = np.abs(additive.trajectory(endless, spikes, np.zeros(len(spikes)))[0] - ours).max() > 1e-3
    assert bounded if depression < 1 else np.any(np.stack(rows) == 0)
    latency = {"nest": 1, "brian2": 2}[on]
    expected = additive.AdditiveEngine(given).present(spikes).reshape(-1, given.features.size)
    assert expected.sum() > 50
    assert np.array_equal(fired[stdp.FIRST_STEP + latency :], expected[: len(fired) - stdp.FIRST_STEP - latency])
    mistaken = replace(given, convention="brian2" if on == "nest" else "nest")
    assert np.abs(np.stack(rows) - additive.trajectory(mistaken, spikes, np.zeros(len(spikes)))[0]).max() > 1e-3


@pytest.mark.parametrize("on", SIMULATORS)
def test_a_supervised_run_learns_the_same_and_names_the_simulator(on):
    given, spikes = program(convention=on), samples(2)
    heard: list[tuple[int, int]] = []
    labels = np.zeros(2, np.int64)
    done, rows = learn_on_simulator(
        given, spikes, labels, on=on, trajectory=True, progress=lambda *told: heard.append(told)
    )
    assert on in done.executor
    assert heard[-1] == (given.duration(2), given.duration(2))
    ours = additive.trajectory(given, spikes, labels)
    assert trajectories.compare(given, rows, ours, by_sample=True)["verified"]
    assert np.array_equal(done.weights[1], given.weights[1])
    assert np.all(done.predictions < 0)
    first = rows[0].copy()
    first[0, 2, 4] += 1e-3
    wrong = trajectories.compare(given, (first, *rows[1:]), ours, by_sample=True)["first_divergence"]
    assert (wrong["sample"], wrong["synapses"], wrong["post"], wrong["pre"]) == (0, "lif1.forward", 2, 4)


@pytest.mark.parametrize("on", SIMULATORS)
@pytest.mark.parametrize("sizes", [(1, 3, 2), (4, 1, 2)], ids=str)
def test_one_input_and_one_feature_learn_too(pool, on, sizes):
    options = replace(LIVELY, convention=on, w_max=2.0)
    given = additive_program(network(sizes, recurrent=True, reset=Reset.ZERO), STEPS, options)
    spikes = (np.random.default_rng(1).random((3, STEPS, sizes[0])) < 0.5).astype(np.uint8)
    rows, fired = run(pool, given, spikes, on, trajectory=True)
    assert fired.any()
    assert np.abs(np.stack(rows) - additive.trajectory(given, spikes, np.zeros(3))[0]).max() < 1e-12


@pytest.mark.skipif(find_spec("nest") is None or find_spec("pyNN") is None, reason="pip install 'neurodeploy[pynn]'")
def test_a_worker_that_learns_is_on_its_own(monkeypatch, tmp_path):
    """PyNN finds nothing to compile with, and another interpreter is named and sees neurodeploy alone."""
    for name, does in {
        "nest-config": f'touch "{tmp_path}/compiled"',
        "cmake": f'touch "{tmp_path}/compiled"',
        "python": f'ls "$PYTHONPATH" > "{tmp_path}/seen"\nexec "{sys.executable}" "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(PYTHON, str(tmp_path / "python"))
    given, spikes = program(), samples(1)
    done, _ = learn_on_simulator(given, spikes, np.zeros(1, np.int64), on="nest")
    assert done.executor.endswith(f"({PYTHON})")
    assert (tmp_path / "seen").read_text().split() == ["neurodeploy"]
    assert not (tmp_path / "compiled").exists()


def test_a_deployed_network_answers_as_its_lowered_network_does():
    """Counts and decisions of the finished program are those of the network with its weights, in real numbers."""
    from neurodeploy.engine.real import run_real
    from neurodeploy.lowering.additive import with_weights
    from neurodeploy.results import decide

    given, spikes = program(), samples(30)
    labels = np.random.default_rng(5).integers(0, 4, 30)
    finished = additive.assigned(given, spikes, labels)
    counts, decisions = additive.answers(finished, spikes)
    source = with_weights(network(recurrent=True, reset=Reset.ZERO), finished)
    result = run_real(source, spikes.swapaxes(0, 1).astype(np.float64))[0]
    assert np.array_equal(result.spikes["lif1"].sum(0), counts)
    assert np.array_equal(decide(result.spikes["lif2"]), decisions)
    assert np.unique(decisions).size > 1


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ({"reset": Reset.SUBTRACT_NEXT_STEP}, {}, "reset subtract"),
        ({"recurrent": False}, {}, "without synapses from itself"),
        ({"sizes": (16, 8, 8, 4)}, {}, "3 populations"),
        ({}, {"initial": "trained"}, "weights outside 0"),
        ({"bias": 0.1}, {"initial": "trained"}, "a bias"),
        ({"beta": 0.0}, {}, "beta 0"),
        ({}, {"plastic": ("lif2",)}, "an output that is to learn"),
        ({}, {"plastic": ("lif1", "lif2")}, "an output that is to learn"),
    ],
)
def test_what_pynns_stdp_cannot_learn_is_refused(shape, options, reason):
    with pytest.raises(UnsupportedError, match=f"(?s)ND156.*{reason}"):
        additive_program(network(**{"recurrent": True, "reset": Reset.ZERO} | shape), STEPS, replace(LIVELY, **options))
