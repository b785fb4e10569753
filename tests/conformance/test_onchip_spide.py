"""On-chip SPIDE: alike in PyTorch, in the engine and in Lava's learning engine, and equal to SPIDE's own gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodeploy.backends.loihi2.learn import learn as learn_on_lava
from neurodeploy.backends.loihi2.phased_formats import frozen_program, real_weights
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.plastic import PlasticEngine, learn, trajectory
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.ir.network import Edge
from neurodeploy.ir.nodes import InputKind, Linear, Reset
from neurodeploy.ir.phased import SPIDE as RULE
from neurodeploy.ir.phased import PhasedProgram
from neurodeploy.learning.phased_online import learn_phased
from neurodeploy.learning.spide import SPIDE
from neurodeploy.lowering import lower
from neurodeploy.lowering.phased import SpideOptions, program, with_weights
from tests.phased_programs import LIVELY, PLAIN, STEPS, compiled, integer, network, real, samples

RELATIVE = 1e-9
RINGS = [
    {"arch": "12f"},
    {"arch": "12-9"},
    {"arch": "12f", "leak": 0.9},
    {"arch": "12-9", "leak": 0.9, "kind": InputKind.SPIKES},
]


def entering(program: PhasedProgram, ring: dict, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return samples(program, count, spikes="kind" in ring)


def lively(program: PhasedProgram, weights: tuple[np.ndarray, ...]) -> bool:
    """Whether learning changed at least an eighth of every group of plastic weights: many neurons are rightly gated."""
    groups = [synapses for population in program.populations for synapses in population.synapses]
    return all(
        not group.plastic or np.mean(before != after) > 1 / 8
        for group, before, after in zip(groups, program.weights, weights, strict=True)
    )


def relative(expected: tuple[np.ndarray, ...], actual: tuple[np.ndarray, ...]) -> float:
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_engine_learns_what_the_rules_table_says_in_pytorch(ring):
    """Real numbers: the engine's weights are those of the table, read literally, to 1e-9 after every step."""
    ours = real(**ring)
    inputs, labels = entering(ours, ring)
    weights, predictions, rows = learn_phased(ours, inputs, labels, trajectory=True)
    run = learn(ours, inputs, labels)
    assert lively(ours, weights)
    assert relative(weights, run.weights) < RELATIVE
    assert relative(rows, trajectory(ours, inputs, labels)) < RELATIVE
    assert np.array_equal(predictions, run.predictions)


@pytest.mark.parametrize("made", [real, integer])
@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_lavas_learning_engine_and_the_fused_process_learn_what_the_engine_learns(made, ring):
    """After every step: real numbers to 1e-9, integers bit for bit, what is drawn at random included."""
    ours = made(**ring)
    inputs, labels = entering(ours, ring)
    run, rows = learn(ours, inputs, labels), trajectory(ours, inputs, labels)
    assert lively(ours, run.weights)
    for model in ("engine", "fused"):
        theirs, path = learn_on_lava(ours, inputs, labels, on="lava-models", model=model, trajectory=True)
        assert np.array_equal(theirs.predictions, run.predictions)
        if ours.integer:
            assert all(map(np.array_equal, path, rows))
        else:
            assert relative(rows, path) < RELATIVE


@pytest.mark.parametrize("arch", ["12f", "12-9"])
@pytest.mark.parametrize("leak", [1.0, 0.9])
def test_a_sample_changes_weights_by_spides_own_gradient(arch, leak):
    """One sample in the engine against `learning/spide.py`: rates, betas and (UPD), scaled by -rate D / D2.

    A chain, and one hidden layer that feeds itself, are its ring exactly, step by step.
    """
    source = network(arch, leak=leak)
    options = replace(PLAIN, leak=leak)
    ours = program(source, STEPS, replace(LIVELY, initial="trained", margin=0.0))
    (x,), (label,) = samples(ours, 1)
    torch_ring = SPIDE(source, options, seed=0, dtype=torch.float64)
    settled = torch_ring.ring.settle(torch.tensor(x).unsqueeze(1))
    engine = PlasticEngine(ours, ours.period)
    engine.present(x[None], np.array([label]))
    for population, rates, counts in zip(ours.populations, settled.rates, engine.state.counts, strict=False):
        full = (1 - leak**STEPS) / (1 - leak) if leak < 1 else STEPS
        assert np.allclose(rates[0].numpy() * full, counts, atol=1e-12), population.name
    answer = engine.state.counts[-1] / STEPS
    error = np.clip(answer - np.eye(len(answer))[label], -1, 1)
    scale = ours.errors.gain * options.back_quantum / options.quantum
    gradient = torch.tensor(scale * error @ ours.output.forward.weight).unsqueeze(0)
    masks = settled.masks(torch_ring.tolerance)
    betas = torch_ring.errors(gradient, masks).betas
    torch_ring.ring.learn(settled, [m * beta for m, beta in zip(masks, betas, strict=True)])
    moved = [after - before for before, after in zip(ours.weights, engine.weights, strict=True)]
    found = [connection.weight.grad.numpy() for connection in torch_ring.ring.connections]
    rates = [ours.populations[0].rate.rate] * 2 if arch == "12f" else [p.rate.rate for p in ours.populations[:-1]]
    assert all(np.abs(g).max() > 0 for g in found)
    for rate, ahead, change in zip(rates, found, moved, strict=False):
        assert np.allclose(change, -rate * options.quantum / options.back_quantum * ahead, rtol=1e-9, atol=1e-12)
    expected = -ours.output.rate.rate * np.outer(error, settled.rates[-1][0].numpy())
    assert np.allclose(moved[-1], expected, rtol=1e-9, atol=1e-12)


def test_the_gate_and_the_way_back_matter():
    """Negative controls: with all gates open other weights result; without an error back, only the output learns."""
    ours = real()
    inputs, labels = samples(ours)
    learned = learn(ours, inputs, labels).weights
    hidden = ours.populations[0]
    opened = replace(hidden, neuron=replace(hidden.neuron, low=-1.0, high=np.inf))
    assert relative(learned, learn(replace(ours, populations=(opened, ours.output)), inputs, labels).weights) > 1e-3
    silent = learn(replace(ours, errors=replace(ours.errors, gain=0.0)), inputs, labels).weights
    assert all(map(np.array_equal, silent[:-1], ours.weights[:-1]))
    assert not np.array_equal(silent[-1], ours.weights[-1])


@pytest.mark.parametrize("made", [real, integer])
def test_frozen_groups_and_a_late_start_learn_alike(made):
    """With the hidden layer static and three steps of silence first; its weights stay, the rest agrees with Lava."""
    ours = replace(made(replace(LIVELY, plastic=("lif2",))), start=3)
    inputs, labels = samples(ours)
    run = learn(ours, inputs, labels)
    theirs, path = learn_on_lava(ours, inputs, labels, on="lava-models", model="engine", trajectory=True)
    assert all(map(np.array_equal, run.weights[:2], ours.weights[:2]))
    assert not np.array_equal(run.weights[2], ours.weights[2])
    assert relative(trajectory(ours, inputs, labels), path) < RELATIVE
    assert np.array_equal(theirs.predictions, run.predictions)


def test_odd_weights_fractions_and_saturation_are_rounded_as_lava_rounds_them():
    """Quanta below one leave fractions to the engine's own random number; extreme rates end at 255 and -256."""
    ours = integer(replace(LIVELY, rate=3.0, readout_rate=3.0))
    random = np.random.default_rng(2)
    populations = []
    for population in ours.populations:
        forward = replace(population.forward, quantum=-5)
        recurrent = population.recurrent and replace(population.recurrent, quantum=6)
        populations.append(replace(population, forward=forward, recurrent=recurrent))
    ours = replace(ours, populations=tuple(populations))
    ours = ours.learned([weight + random.integers(-1, 2, weight.shape) for weight in ours.weights])
    inputs, labels = samples(ours, 6)
    run = learn(ours, inputs, labels)
    _, path = learn_on_lava(ours, inputs, labels, on="lava-models", model="engine", trajectory=True)
    assert run.weights[1].max() == 255
    assert run.weights[1].min() == -256
    assert all(np.any((after - before) % 2) for before, after in zip(ours.weights, run.weights, strict=True))
    assert all(map(np.array_equal, path, trajectory(ours, inputs, labels)))


def test_the_transposed_synapses_stay_the_transposed_weights():
    """After learning, every LearningDense of the way back holds the numbers of the way there, bit for bit."""
    from neurodeploy.backends.loihi2.job import LearningJob
    from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
    from neurodeploy.backends.loihi2.plasticity import run_configuration, wire

    ours = integer()
    inputs, labels = samples(ours)
    with registries_restored():
        source, record = wire(LearningJob(ours, inputs, labels, True, False), np.zeros(1, np.int64))
        models = build_models(source, run_configuration(integer=True, graph=True))
        step_models(models, len(record.spikes))
    held = {model.proc_params["name"]: model.weights for model in models if hasattr(model, "weights")}
    for group, before in list(zip(ours.groups, ours.weights, strict=True))[1:]:
        assert np.array_equal(held[f"{group}.back"], held[group].T)
        assert not np.array_equal(held[group], before)
    assert sum(name.endswith(".back") for name in held) == 2


def test_integers_change_on_average_by_rate_b_a():
    """One sample under many seeds: in membrane units, the mean change is -rate b a^T / gain, for the gain there is."""
    options = replace(LIVELY, rate=0.05, readout_rate=0.1)
    target, ours = compiled(options)
    wanted, units = real(options), units_of(target, ours)
    (x,), (label,) = samples(ours, 1)
    engine = PlasticEngine(ours, ours.period)
    engine.present(x[None], np.array([label]))
    rates, error = engine.state.counts[0] / 64 / STEPS, engine.state.back_counts[1] / 127
    b = engine.state.back_counts[0] / 64 / ours.back_steps
    gain = 127 * units[2] * 2.0**ours.errors.exponent / target.population("lif1").scale
    hidden = wanted.populations[0].rate.rate * wanted.errors.gain / gain * b
    output = wanted.output.rate.rate * error
    expected = [-np.outer(hidden, x[0] / 16), -np.outer(hidden, rates), -np.outer(output, rates)]
    seeds, total = 1500, [np.zeros(weight.shape) for weight in ours.weights]
    for seed in range(seeds):
        run = learn(replace(ours, seed=seed), x[None], np.array([label]))
        for kept, before, after in zip(total, ours.weights, run.weights, strict=True):
            kept += after - before
    for kept, change, unit in zip(total, expected, units, strict=True):
        found = kept / seeds / unit
        assert np.abs(change).max() > 0
        assert float((found * change).sum() / (change**2).sum()) == pytest.approx(1, abs=0.03)
        assert np.corrcoef(found.ravel(), change.ravel())[0, 1] > 0.98


def units_of(target, ours) -> list[float]:
    """Return weight units per membrane unit of every group, from the scales that compiling recorded."""
    first, last = (target.population(population.name).scale for population in ours.populations)
    exponents = [synapses.exponent for population in ours.populations for synapses in population.synapses]
    payload = target.input.scale
    return [first * payload / 2.0 ** exponents[0], first / 2.0 ** exponents[1], last / 2.0 ** exponents[2]]


@pytest.mark.parametrize("arch", ["12f", "12-9"])
def test_what_was_learned_is_what_is_deployed(arch):
    """Learned integers as a compiled program fire as often as they did on the learning one, input by input."""
    target, ours = compiled(arch=arch)
    inputs, labels = samples(ours, 12)
    learned = ours.learned([weight & ~1 for weight in learn(ours, inputs, labels).weights])
    deployed = frozen_program(target, learned)
    spikes = run_fast(deployed, np.ascontiguousarray(inputs.swapaxes(0, 1))).spikes[deployed.output]
    answering = learned.frozen()
    counts = PlasticEngine(answering, answering.duration(len(inputs))).present(inputs, labels)
    assert counts.sum() > 0
    assert np.array_equal(spikes.sum(0, dtype=np.int64), counts)
    known = with_weights(network(arch), real_weights(deployed, learned))
    maps = [known.nodes[f"fc{depth + 1}"].weight for depth in range(len(ours.populations))]
    scale = target.population("lif1").scale * target.input.scale / 2.0 ** learned.populations[0].forward.exponent
    assert np.allclose(maps[0] * scale, learned.populations[0].forward.weight)


@pytest.mark.parametrize(("made", "model"), [(real, "fused"), (integer, "engine")])
def test_the_real_runtime_learns_the_same(made, model):
    """Lava's runtime, in its own processes, ends with the engine's weights and predictions."""
    ours = made()
    inputs, labels = samples(ours, 2)
    run = learn(ours, inputs, labels)
    theirs, _ = learn_on_lava(ours, inputs, labels, on="lava", model=model)
    assert relative(run.weights, theirs.weights) < RELATIVE
    assert np.array_equal(theirs.predictions, run.predictions)


def test_rings_that_cannot_learn_are_refused_with_their_reason():
    """Every finding at once: feedback round several layers, convolutions, resets to zero, and input below zero."""

    def refusal(source) -> str:
        with pytest.raises(UnsupportedError) as caught:
            program(source, STEPS, LIVELY)
        assert {finding.code for finding in caught.value.findings} == {"ND146"}
        return str(caught.value)

    assert "only one hidden layer hears itself in time" in refusal(network("12-9f"))
    source = network("12f")
    nodes = dict(source.nodes)
    nodes["input"] = replace(nodes["input"], low=-1.0)
    nodes["lif1"] = replace(nodes["lif1"], reset=Reset.ZERO)
    told = refusal(replace(source, nodes=nodes))
    assert "a presynaptic trace has no sign" in told
    assert "the reset zero" in told
    loops = dict(source.nodes) | {"again": Linear(np.eye(4))}
    edges = (*source.edges, Edge("lif2", "again", 1), Edge("again", "lif2"))
    assert "fed by" in refusal(lower(replace(source, nodes=loops, edges=edges)))
    with pytest.raises(UsageError, match="margin is 1"):
        SpideOptions(margin=1.0)


def test_a_rule_of_another_form_is_refused_by_lavas_engine():
    from neurodeploy.backends.loihi2.phased_plasticity import engine_rule

    with pytest.raises(UnsupportedError, match="two reports"):
        engine_rule(replace(RULE, weight="-b*a - a*a"))
