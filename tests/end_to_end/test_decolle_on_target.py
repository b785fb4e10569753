"""DECOLLE on the target, from a compiled network to a compiled network that has learned."""

from __future__ import annotations

import pytest

from neurodeploy import load_artifact, onchip, pipeline, save_artifact
from neurodeploy.datasets import Encoding
from tests.plastic_programs import network

FLOOR = {"fixed": 0.92, "float": 0.94}


@pytest.fixture(scope="module")
def untrained():
    """An artefact of random weights, 64-64-64-10, for digits in 20 steps."""
    return pipeline.compile(network((64, 64, 64, 10), beta=0.8), "loihi2-sim", encoding=Encoding("rate", 20))


@pytest.mark.parametrize("arithmetic", FLOOR)
def test_two_hidden_layers_learn_digits_each_by_its_own_read_out(untrained, arithmetic, tmp_path):
    """Above the floors, as deployed, and far above the output alone; what was saved goes on learning as Lava does."""
    options = onchip.options("decolle", initial="random")
    learned, outcome = onchip.learn(untrained, "digits", rule="decolle", arithmetic=arithmetic, options=options)
    alone = onchip.options("decolle", initial="random", plastic=("lif3",))
    _, control = onchip.learn(untrained, "digits", rule="decolle", arithmetic=arithmetic, options=alone)
    assert outcome["accuracy_before"] < 0.3
    assert outcome["accuracy_after"] >= FLOOR[arithmetic]
    assert outcome["accuracy_after"] > control["accuracy_after"] + 0.03
    assert all(change["share"] > 0.8 for change in outcome["changes"].values())
    learned = load_artifact(save_artifact(learned, tmp_path / "learned.ndc"))
    for against in ("lava-models", "source") if arithmetic == "float" else ("lava-models",):
        _, certificate = onchip.verify(learned, against=against, limit=2)
        assert certificate["verified"]
        assert certificate["rule"] == "decolle"
        assert certificate["compared"] == 2 * 23 * (64 * 64 + 64 * 64 + 64 * 10)
