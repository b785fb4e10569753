"""A frozen body runs before what learns, in Lava and in the engine alike, whatever its layers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from neurodeploy import load_artifact, onchip, pipeline, save_artifact
from neurodeploy.artifact import CompiledModel
from neurodeploy.backends.loihi2.learn import learn as learn_on_lava
from neurodeploy.backends.loihi2.schedule import Schedule
from neurodeploy.datasets import Encoding
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, AveragePool, Conv, Input, InputKind, Linear, Reset, Reshape
from neurodeploy.lowering.plastic import OnlineOptions
from tests.plastic_programs import LIVELY

STEPS, SAMPLES = 10, 4


def convolutional(reset: Reset = Reset.SUBTRACT_NEXT_STEP, bias: float = 0.0) -> Network:
    """Graded 8 x 8 pictures -> convolution with recurrence -> pool -> all-to-all, perhaps biased -> output."""
    random = np.random.default_rng(0)

    def neurons(*shape: int) -> LIF:
        return LIF(shape, np.array(0.8), np.array(1.0), reset)

    nodes = {
        "pixels": Input((1, 8, 8), InputKind.GRADED, 0.0, 1.0),
        "conv": Conv(random.normal(0, 0.6, (3, 1, 3, 3)), (1, 8, 8), (1, 1), (1, 1), (1, 1)),
        "maps": neurons(3, 8, 8),
        "loop": Conv(random.normal(0, 0.1, (3, 3, 3, 3)), (3, 8, 8), (1, 1), (1, 1), (1, 1)),
        "pool": AveragePool((3, 8, 8), (2, 2), (2, 2), (0, 0)),
        "pooled": neurons(3, 4, 4),
        "flat": Reshape((3, 4, 4), (48,)),
        "fc1": Linear(random.uniform(-0.4, 0.4, (12, 48)), np.full(12, bias)),
        "hidden": neurons(12),
        "fc2": Linear(random.uniform(-0.6, 0.6, (10, 12))),
        "out": neurons(10),
    }
    chain = ["pixels", "conv", "maps", "pool", "pooled", "flat", "fc1", "hidden", "fc2", "out"]
    edges = [Edge(a, b) for a, b in pairwise(chain)]
    edges += [Edge("maps", "loop", 1), Edge("loop", "maps")]
    return Network(nodes, tuple(edges), "pixels", "out")


def made(network: Network) -> CompiledModel:
    return pipeline.compile(network, "loihi2-sim", calibration="digits", encoding=Encoding("direct", STEPS))


@pytest.fixture(scope="module")
def compiled():
    return made(convolutional())


def task(model, *plastic: str, rule: str = "eprop") -> onchip.Task:
    options = onchip.options(rule, rate=LIVELY.rate, readout_rate=LIVELY.readout_rate, plastic=plastic)
    return onchip.Task(model, rule, options, "fixed")


def payloads(chosen: onchip.Task) -> tuple[np.ndarray, np.ndarray]:
    samples = pipeline.read_data("digits", chosen.model.program.encoding, (1, 8, 8), SAMPLES)
    return chosen.payloads(samples.inputs), samples.labels


@pytest.mark.parametrize(
    ("rule", "plastic"),
    [("eprop", ("out",)), ("eprop", ("hidden", "out")), ("eprop", ("hidden",)), ("decolle", ("hidden", "out"))],
    ids=str,
)
def test_lava_with_the_body_in_the_same_program_learns_what_the_engine_learns_from_its_spikes(compiled, rule, plastic):
    """Bit for bit after every step, with Lava's learning engine and fused."""
    chosen = task(compiled, *plastic, rule=rule)
    inputs, labels = payloads(chosen)
    program, spikes = chosen.program(0), chosen.spikes(inputs)
    ours = onchip.plastic.trajectory(program, spikes, labels)
    assert program.start == chosen.body.latency_steps >= 2
    assert 0.02 < spikes.mean() < 0.8
    assert any(np.any(rows[-1] != rows[0]) for rows in ours)
    for model in onchip.PROCESSES:
        _, theirs = learn_on_lava(
            program, inputs, labels, body=chosen.body, on="lava-models", model=model, trajectory=True
        )
        assert all(map(np.array_equal, theirs, ours))


def test_a_body_of_stock_neurons_keeps_silent_between_samples():
    """Lava's own LIF would fire on from its bias, before the first sample and between samples, into what learns."""
    chosen = task(made(convolutional(Reset.ZERO, bias=0.5)), "out")
    from neurodeploy.backends.loihi2.network import stock_fits

    assert stock_fits(chosen.body, chosen.body.population("hidden"), Schedule(STEPS, SAMPLES, STEPS + 1))
    inputs, labels = payloads(chosen)
    ours = onchip.plastic.trajectory(chosen.program(0), chosen.spikes(inputs), labels)
    _, theirs = learn_on_lava(
        chosen.program(0), inputs, labels, body=chosen.body, on="lava-models", model="engine", trajectory=True
    )
    assert all(map(np.array_equal, theirs, ours))


def test_the_real_runtime_runs_the_body_too(compiled):
    chosen = task(compiled, "out")
    inputs, labels = payloads(chosen)
    run, _ = learn_on_lava(chosen.program(0), inputs, labels, body=chosen.body, on="lava")
    ours = onchip.plastic.learn(chosen.program(0), chosen.spikes(inputs), labels)
    assert all(map(np.array_equal, run.weights, ours.weights))
    assert np.array_equal(run.predictions, ours.predictions)


def test_the_bodys_spikes_are_those_of_the_whole_program(compiled):
    """The body alone sends what its last population sends in a plain run of the compiled model."""
    chosen = task(compiled, "out")
    samples = pipeline.read_data("digits", compiled.program.encoding, (1, 8, 8), SAMPLES)
    whole = pipeline.run(compiled, samples).spikes["hidden"]
    assert chosen.body.output == "hidden"
    assert np.array_equal(chosen.spikes(chosen.payloads(samples.inputs)), whole.swapaxes(0, 1))


@pytest.mark.parametrize("arithmetic", onchip.ARITHMETICS)
def test_a_model_with_a_body_learns_and_its_body_stays(compiled, arithmetic, tmp_path):
    """Nothing but the output's weights changes, and `verify` repeats the learning with Lava's engine."""
    options = OnlineOptions(1e-2, 1e-2, plastic=("out",))
    learned, outcome = onchip.learn(compiled, "digits", arithmetic=arithmetic, epochs=2, options=options)
    assert outcome["body"] == ["maps", "pooled", "hidden"]
    assert outcome["accuracy_after"] > outcome["accuracy_before"] + 0.2
    if arithmetic == "fixed":
        for before, after in zip(compiled.program.projections, learned.program.projections, strict=True):
            assert np.array_equal(before.synapses.mantissa, after.synapses.mantissa) == (after.target != "out")
    learned = load_artifact(save_artifact(learned, tmp_path / "learned.ndc"))
    against = {"fixed": "lava-models", "float": "source"}[arithmetic]
    model, certificate = onchip.verify(learned, against=against, limit=2)
    assert certificate["verified"]
    assert certificate["compared"] == 120 * (3 + 2 * (STEPS + 1))
    assert model.certificates[-1] == certificate
    assert onchip.verification_error(certificate) is None


def test_what_cannot_have_a_body_is_refused_with_its_reason(compiled):
    with pytest.raises(UnsupportedError, match="not all-to-all"):
        onchip.learn(compiled, "digits", epochs=1, limit=5, options=OnlineOptions(plastic=("pooled", "out")))
    options = OnlineOptions(plastic=("out",))
    with pytest.raises(UnsupportedError, match="one number format at a time"):
        onchip.learn(compiled, "digits", on="lava-models", arithmetic="float", epochs=1, limit=5, options=options)
    with pytest.raises(UsageError, match="has not learned"):
        onchip.verify(compiled)
