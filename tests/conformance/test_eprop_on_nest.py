"""A compiled network learns by NEST's own e-prop what our engine, our tables and `learning/eprop.py` say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

import neurodeploy
from neurodeploy.backends.spinnaker import eprop
from neurodeploy.backends.spinnaker.learn import learn as learn_on_simulator
from neurodeploy.engine import episodic
from neurodeploy.errors import BackendFailedError, UnsupportedError
from neurodeploy.evaluation import trajectories
from neurodeploy.ir.episodic import EpisodicProgram
from neurodeploy.ir.nodes import Reset
from neurodeploy.learning.episodic_online import learn_episodes
from neurodeploy.learning.eprop import EProp, Options
from neurodeploy.lowering.episodic import EpisodicOptions
from neurodeploy.lowering.episodic import program as episodic_program
from tests.plastic_programs import network

TOLERANCE = 1e-12
LIVELY = EpisodicOptions(rate=5e-3, readout_rate=5e-3, regularizer=2.0, target_rate=0.2, initial="random", seed=3)
STEPS = 20
ROOT = Path(neurodeploy.__file__).parents[1]

needs_nest = pytest.mark.skipif(
    find_spec("nest") is None or find_spec("pyNN") is None, reason="pip install 'neurodeploy[pynn]'"
)


def program(options: EpisodicOptions = LIVELY, **shape) -> EpisodicProgram:
    return episodic_program(network(**{"beta": 0.87} | shape), STEPS, options)


def samples(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes uint8 (sample, step, input), one input of which is always silent, and labels."""
    random = np.random.default_rng(1)
    spikes = (random.random((count, STEPS, 16)) < 0.3).astype(np.uint8)
    spikes[:, :, 5] = 0
    return spikes, random.integers(0, 4, count)


def on_nest(of: EpisodicProgram, spikes: np.ndarray, labels: np.ndarray, trajectory: bool = True):
    return learn_on_simulator(of, spikes, labels, on="nest", trajectory=trajectory)


def apart(expected, actual) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(expected, actual, strict=True))


def grown(of: EpisodicProgram, weights) -> bool:
    """Whether learning changed most weights that can, by far more than is tolerated."""
    return all(np.mean(np.abs(a - b) > 1e6 * TOLERANCE) > 1 / 2 for a, b in zip(weights, of.weights, strict=True))


SHAPES = [{}, {"recurrent": True}, {"bias": 0.05, "recurrent": True}, {"sizes": (16, 5, 4), "beta": 0.5}]


@needs_nest
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nest_learns_what_the_engine_learns(shape):
    """All weights after each of eight samples to 1e-12, from random ones; and the same answers meanwhile."""
    given, (spikes, labels) = program(**shape), samples()
    run, theirs = on_nest(given, spikes, labels)
    ours = episodic.learn(given, spikes, labels)
    assert grown(given, run.weights)
    assert apart(theirs, episodic.trajectory(given, spikes, labels)) < TOLERANCE
    assert apart(run.weights, ours.weights) < TOLERANCE
    assert np.array_equal(run.predictions, ours.predictions)


@needs_nest
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nests_read_out_is_the_engines(shape):
    """In all steps of a sample, none of another; nothing learns."""
    given, (spikes, labels) = program(**shape).frozen(), samples(3)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # NEST is one kernel per process
        _, read = pool.submit(eprop.run, given, spikes, labels, int).result(timeout=60)
    expected = episodic.forward(given, list(given.weights), given.padded(spikes)).y.sum(0)
    assert np.allclose(read, expected, rtol=0, atol=1e-11)
    assert np.abs(expected).min() > 1e-3


@needs_nest
def test_a_neuron_alone_has_no_synapse_to_itself():
    """Recurrence of one neuron is none, in NEST as in the engine."""
    given, (spikes, labels) = program(sizes=(16, 1, 4), recurrent=True), samples(3)
    _, theirs = on_nest(given, spikes, labels)
    assert apart(theirs, episodic.trajectory(given, spikes, labels)) < TOLERANCE
    assert not np.any(theirs[1])


def in_pieces(given: EpisodicProgram, spikes: np.ndarray, labels: np.ndarray) -> tuple:
    """Run with the network built anew every three samples; return what `run` does and the steps it told of."""
    eprop.CELL_STEPS = 3 * given.period * 16
    heard: list[int] = []
    return (*eprop.run(given, spikes, labels, heard.append), heard)


@needs_nest
def test_a_network_built_anew_between_samples_learns_the_same():
    given, (spikes, labels) = program(recurrent=True), samples(8)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        weights, read, heard = pool.submit(in_pieces, given, spikes, labels).result(timeout=60)
    ours = episodic.learn(given, spikes, labels)
    assert apart(weights, ours.weights) < TOLERANCE
    assert np.array_equal(read.argmax(1), ours.predictions)
    assert heard == [3 * given.period, 6 * given.period, 8 * given.period]


@needs_nest
def test_thresholds_of_their_own_and_frozen_groups_stay_so_in_nest():
    given, (spikes, labels) = program(), samples(4)
    hidden, output = given.populations
    thetas = np.linspace(0.7, 1.3, hidden.size)
    given = replace(given, populations=(replace(hidden, neuron=replace(hidden.neuron, theta=thetas)), output))
    assert (
        apart(on_nest(given, spikes, labels, False)[0].weights, episodic.learn(given, spikes, labels).weights) < 1e-12
    )
    still = replace(given, populations=(replace(hidden, forward=replace(hidden.forward, plastic=False)), output))
    learned = on_nest(still, spikes, labels, False)[0].weights
    assert np.array_equal(learned[0], given.weights[0])
    assert apart(learned, episodic.learn(still, spikes, labels).weights) < TOLERANCE
    assert np.abs(learned[1] - given.weights[1]).max() > 1e-3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_engine_learns_what_the_rules_table_says(shape):
    given, (spikes, labels) = program(**shape), samples()
    weights, predictions, path = learn_episodes(given, spikes, labels, trajectory=True)
    run = episodic.learn(given, spikes, labels)
    assert grown(given, weights)
    assert apart(path, episodic.trajectory(given, spikes, labels)) < TOLERANCE
    assert apart(weights, run.weights) < TOLERANCE
    assert np.array_equal(predictions, run.predictions)


@needs_nest
@pytest.mark.parametrize("recurrent", [False, True])
def test_nest_learns_what_the_rules_own_file_learns(recurrent):
    """`learning/eprop.py` in float64 with the same feedback, told the same: its matrix products, its optimizer."""
    options = replace(LIVELY, readout_rate=LIVELY.rate)
    given, (spikes, labels) = program(options, recurrent=recurrent), samples()
    source = network(recurrent=recurrent, beta=0.87)
    kappa, hidden = given.kappa, given.hidden
    told = Options(
        feedback="random", readout="membrane", optimizer="sgd", rate=options.rate, kappa=kappa, stretch=7,
        regularizer=options.regularizer, target_rate=options.target_rate,
    )  # fmt: skip
    learner = EProp(source, told, seed=0, dtype=torch.float64)
    first, last = learner.net
    with torch.no_grad():
        learner.feedback["lif1"].copy_((1 - kappa) * torch.tensor(hidden.factor.feedback.T))
        for parameter, weight in zip((first.weight, first.recurrent, last.weight), _three(given), strict=True):
            if parameter is not None:
                parameter.copy_(torch.tensor(weight))
    for sample, label in zip(given.padded(spikes), labels, strict=True):
        learner.learn(torch.tensor(sample).double().unsqueeze(1), torch.tensor([label]))
    learned = [w.detach().numpy() for w in (first.weight, first.recurrent, last.weight) if w is not None]
    assert grown(given, learned)
    assert apart(on_nest(given, spikes, labels, False)[0].weights, learned) < TOLERANCE


def _three(given: EpisodicProgram):
    inner, *loop, outer = given.weights
    return inner, loop[0] if loop else None, outer


PERTURBED = {
    "rate": lambda given: _told(given, rate=1.001 * given.hidden.factor.rate),
    "feedback": lambda given: _told(given, feedback=given.hidden.factor.feedback[::-1]),
    "regularizer": lambda given: _told(given, regularizer=0.0),
    "beta": lambda given: _neuron(given, beta=np.array(0.88)),
    "threshold": lambda given: _neuron(given, theta=np.array(1.01)),
    "bias": lambda given: _neuron(given, bias=np.array(0.01)),
}


def _told(given, **more):
    hidden, output = given.populations
    return replace(given, populations=(replace(hidden, factor=replace(hidden.factor, **more)), output))


def _neuron(given, **more):
    hidden, output = given.populations
    return replace(given, populations=(replace(hidden, neuron=replace(hidden.neuron, **more)), output))


@needs_nest
def test_anything_else_learns_something_else_and_the_comparison_names_the_first_synapse():
    given, (spikes, labels) = program(), samples(2)
    _, theirs = on_nest(given, spikes, labels)
    for name, perturb in PERTURBED.items():
        other = trajectories.compare(given, theirs, episodic.trajectory(perturb(given), spikes, labels), by_sample=True)
        assert not other["verified"], name
        assert other["first_divergence"]["sample"] == 0
        assert other["first_divergence"]["step"] == given.period - 1
    assert trajectories.compare(given, theirs, episodic.trajectory(given, spikes, labels), by_sample=True)["verified"]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"sizes": (16, 8, 8, 4)}, "3 populations"),
        ({"reset": Reset.ZERO}, "reset zero"),
        ({"beta": 1.0}, "beta 1"),
    ],
)
def test_what_nests_models_cannot_learn_is_refused(shape, reason):
    with pytest.raises(UnsupportedError, match=f"(?s)ND154.*{reason}"):
        program(**shape)


def test_neurons_that_feed_themselves_are_refused_unless_their_weights_are_drawn():
    program(recurrent=True)
    with pytest.raises(UnsupportedError, match=r"(?s)ND154.*feed themselves"):
        program(replace(LIVELY, initial="trained"), recurrent=True)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A place for jobs that nothing else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def running(directory: Path) -> list[int]:
    """Return the ids of processes that name `directory` in their command line."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(directory).encode() in command.read_bytes() and int(command.parent.name) != os.getpid():
                found.append(int(command.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@needs_nest
def test_a_failure_in_the_simulator_is_told_with_its_last_lines(temporary):
    given, (spikes, labels) = program(), samples(1)
    broken = _neuron(given, theta=np.array(-1.0))
    with pytest.raises(BackendFailedError, match=r"(?s)ND311.*(surrogate|threshold|V_th)"):
        on_nest(broken, spikes, labels, False)
    assert not list(temporary.iterdir())
    assert not running(temporary)


@needs_nest
def test_a_time_limit_and_an_interrupt_leave_nothing_behind(temporary):
    given, (spikes, labels) = program(), samples(2)
    with pytest.raises(BackendFailedError, match="ND312"):
        learn_on_simulator(given, spikes, labels, on="nest", timeout_s=0.0)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_on_simulator(given, spikes, labels, on="nest", progress=interrupt)
    assert not list(temporary.iterdir())
    assert not running(temporary)


@needs_nest
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no wheel: processes are looked for in /proc")
def test_the_simulator_dies_with_whoever_asked_for_it(temporary):
    script = "\n".join([
        "import os, signal, numpy as np",
        "from tests.conformance.test_eprop_on_nest import learn_on_simulator, program, samples",
        "spikes, labels = samples(5000)",
        "kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL)",
        "learn_on_simulator(program(), spikes, labels, on='nest', progress=kill)",
    ])  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    caller = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert caller.returncode == -signal.SIGKILL
    for _ in range(50):
        if not running(temporary):
            break
        signal.sigtimedwait([], 0.1)
    assert not running(temporary)
    assert not list(temporary.iterdir())
