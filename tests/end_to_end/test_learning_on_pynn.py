"""What is compiled for SpiNNaker learns digits on PyNN's simulators, from an artefact to an artefact."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from neurodeploy import load_artifact, onchip, pipeline, save_artifact
from neurodeploy.datasets import Encoding
from neurodeploy.errors import UnsupportedError, UsageError, VerificationError
from neurodeploy.ir.nodes import Input, InputKind
from neurodeploy.learning.architectures import Neurons, build

needs_nest = pytest.mark.skipif(
    find_spec("nest") is None or find_spec("pyNN") is None, reason="pip install 'neurodeploy[pynn]'"
)
FLOOR = 0.8
"""600 training samples and three epochs reach 84 to 91 %; 1,437 and eight 96 %."""


def compiled(arch: str, allow: tuple[str, ...] = ()):
    pixels = Input((64,), InputKind.SPIKES, 0.0, 1.0)
    network = build(arch, pixels, 10, Neurons(beta=0.9, threshold=1.0), seed=0)
    return pipeline.compile(network, "spinnaker1", encoding=Encoding("rate", 25), allow=allow)


@pytest.fixture(scope="module")
def untrained():
    """An artefact of 64 neurons and ten outputs, no weight of which means anything."""
    return compiled("64")


@pytest.fixture(scope="module")
def competing():
    """An artefact of 60 features, reset to zero as NEST's STDP needs them."""
    return compiled("60r", ("ND235",))


def learn(model, rule: str = "eprop", on: str = "engine", epochs: int = 1, limit: int | None = None, **told):
    checkpoint, progress = told.pop("checkpoint", None), told.pop("progress", None)
    options = onchip.options(rule, "spinnaker", **{"initial": "random"} | told)
    return onchip.learn(
        model, "digits", rule=rule, on=on, epochs=epochs, limit=limit, options=options, checkpoint=checkpoint,
        progress=progress,
    )  # fmt: skip


@needs_nest
def test_nests_eprop_teaches_digits_to_a_compiled_network(untrained, tmp_path):
    """Deployed with spikes that are counted; and NEST goes on from what was saved as the engine and the table do."""
    learned, outcome = learn(untrained, on="nest", epochs=3, limit=600)
    assert outcome["accuracy_after"] >= FLOOR
    assert outcome["curve"][-1]["updates"] is None
    assert outcome["arithmetic"] == "float"
    assert any("no e-prop" in limit for limit in outcome["limits"])
    again = load_artifact(save_artifact(learned, tmp_path / "learned.ndc"))
    for against in ("nest", "source"):
        again, certificate = onchip.verify(again, against=against, limit=2)
        assert certificate["verified"]
        assert certificate["every"] == "sample"


@needs_nest
def test_an_interrupted_run_on_nest_goes_on_and_ends_alike(untrained, tmp_path):
    whole, _ = learn(untrained, on="nest", epochs=2, limit=20)

    def interrupt(what: str, done: int, total: int) -> None:
        if what.startswith("epoch 2"):
            raise KeyboardInterrupt

    kept = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        learn(untrained, on="nest", epochs=2, limit=20, checkpoint=kept, progress=interrupt)
    resumed, outcome = learn(untrained, on="nest", epochs=2, limit=20, checkpoint=kept)
    assert outcome["resumed_after"] == 1
    assert resumed.fingerprint == whole.fingerprint


@needs_nest
def test_features_learn_by_stdp_without_labels_as_nest_would(competing):
    """Far better than random ones, by votes that are assigned to both alike; and NEST goes on as the engine does."""
    learned, outcome = learn(competing, rule="stdp", limit=600)
    _, random = learn(competing, rule="stdp", limit=600, rate=1e-12)
    assert outcome["accuracy_after"] > random["accuracy_after"] + 0.1
    assert all(row["accuracy"] is None for row in outcome["curve"])
    assert outcome["changes"]["lif1.recurrent"]["share"] == 0
    assert any(each.code == "ND235" for each in learned.program.deviations)
    weights = learned.source.nodes["fc1"].weight
    assert weights.min() >= 0
    assert weights.max() <= 0.025 + 1e-12
    _, certificate = onchip.verify(learned, against="nest", limit=2)
    assert certificate["verified"]


@needs_nest
def test_a_certificate_that_fails_names_the_first_synapse(untrained, monkeypatch):
    """A rate that is off by a millionth in the engine is found after the first sample."""
    learned, _ = learn(untrained, limit=5)
    engine = onchip.PYNN_RULES["eprop"].engine
    exact = engine.changes
    monkeypatch.setattr(engine, "changes", lambda *given: [dw * (1 + 1e-6) for dw in exact(*given)])
    _, certificate = onchip.verify(learned, against="nest", limit=1)
    error = onchip.verification_error(certificate)
    assert isinstance(error, VerificationError)
    assert certificate["first_divergence"]["sample"] == 0
    assert certificate["first_divergence"]["synapses"] in {"lif1.forward", "lif2.forward"}


@pytest.mark.parametrize(
    ("rule", "lacks"),
    [
        ("spide", ("two other populations", "one weight at two places", "a trace that waits", "a gate")),
        ("decolle", ("an error that is clipped", "hears its own error")),
        ("rstdp", ("a decision", "acts once", "out of bounds for uint8")),
    ],
)
def test_rules_that_pynn_lacks_parts_of_are_refused_with_every_part(untrained, rule, lacks):
    with pytest.raises(UnsupportedError, match="ND155") as refusal:
        onchip.learn(untrained, "digits", rule=rule)
    assert all(each in str(refusal.value) for each in lacks)


@pytest.mark.parametrize(("on", "reason"), [("brian2", "no e-prop model"), ("engine-s16.15", "computes networks as")])
def test_executors_that_do_not_learn_by_the_rule_say_why(untrained, on, reason):
    with pytest.raises(UnsupportedError, match=rf"(?s)ND155.*{reason}"):
        onchip.learn(untrained, "digits", rule="eprop", on=on)


def test_spinnaker2_learns_nothing():
    """Its programs are planned, not learned."""
    pixels = Input((64,), InputKind.SPIKES, 0.0, 1.0)
    network = build("8", pixels, 10, Neurons(beta=0.9, threshold=1.0), seed=0)
    planned = pipeline.compile(network, "spinnaker2", encoding=Encoding("rate", 25))
    with pytest.raises(UnsupportedError, match="ND147"):
        onchip.learn(planned, "digits", rule="eprop")
    with pytest.raises(UnsupportedError, match="ND147"):
        onchip.options("eprop", "spinnaker2")


def test_there_are_no_integers_to_learn_in(untrained):
    with pytest.raises(UsageError, match=r"(?s)ND401.*float"):
        onchip.learn(untrained, "digits", arithmetic="fixed")


def test_stdp_has_no_table_to_be_held_against(competing):
    learned, _ = learn(competing, rule="stdp", limit=5)
    with pytest.raises(UsageError, match=r"(?s)ND401.*simulator"):
        onchip.verify(learned, against="source", limit=1)


def test_the_outputs_threshold_is_set_and_its_weights_are_those_learned(untrained):
    learned, outcome = learn(untrained, limit=50)
    output = learned.source.populations["lif2"]
    assert float(output.threshold) != float(untrained.source.populations["lif2"].threshold)
    assert outcome["changes"]["lif2.forward"]["share"] > 0.5
    assert np.all(learned.source.nodes["fc1"].weight[:, 0] != untrained.source.nodes["fc1"].weight[:, 0])
