"""A compiled ring learns digits by SPIDE on its target, from random weights, and is deployed as it learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy import load_artifact, onchip, pipeline, save_artifact
from neurodeploy.datasets import Encoding
from neurodeploy.ir.nodes import Input, InputKind
from neurodeploy.learning import spide
from neurodeploy.lowering.phased import SpideOptions

FLOOR = {"fixed": 0.94, "float": 0.95}
GAIN = 0.1
"""By what learning hidden weights are better than keeping them: with many more neurons, random ones do for digits."""
EPOCHS = 12


@pytest.fixture(scope="module")
def untrained():
    """An artefact of random weights, 64-30-10 with feedback, for digits as currents in 30 steps."""
    pixels = Input((64,), InputKind.GRADED, 0.0, 1.0, 16)
    ring = spide.architecture("30f", pixels, 10, spide.Options(mean=0.305, std=0.376), seed=0)
    return pipeline.compile(ring, "loihi2-sim", encoding=Encoding("direct", 30))


@pytest.mark.parametrize("arithmetic", FLOOR)
def test_digits_are_learned_from_random_weights_and_stay_learned_when_deployed(untrained, arithmetic):
    """Above the floors, and far above what the read-out alone learns from the same random hidden weights."""
    random = SpideOptions(initial="random")
    _, outcome = onchip.learn(untrained, "digits", rule="spide", arithmetic=arithmetic, epochs=EPOCHS, options=random)
    readout = replace(random, rate=0.0)
    control = onchip.learn(untrained, "digits", rule="spide", arithmetic=arithmetic, epochs=EPOCHS, options=readout)[1]
    assert all(control["changes"][group]["share"] == 0 for group in ("lif1.forward", "lif1.recurrent"))
    assert outcome["accuracy_before"] < 0.3
    assert outcome["accuracy_after"] >= FLOOR[arithmetic]
    assert outcome["accuracy_after"] >= control["accuracy_after"] + GAIN


@pytest.mark.parametrize(("arithmetic", "against"), [("float", "source"), ("fixed", "lava-models")])
def test_what_learned_is_verified_by_the_table_and_by_lavas_engine(untrained, arithmetic, against, tmp_path):
    """A learned model goes on learning alike, weight by weight and step by step."""
    options = SpideOptions(initial="random")
    learned, _ = onchip.learn(
        untrained, "digits", rule="spide", arithmetic=arithmetic, epochs=1, limit=50, options=options
    )
    model = load_artifact(save_artifact(learned, tmp_path / "learned.ndc"))
    _, certificate = onchip.verify(model, against=against, limit=1)
    assert certificate["verified"]
    assert certificate["compared"] > 0


@pytest.mark.parametrize("plastic", [("lif2", "lif3"), ("lif3",)])
def test_what_follows_a_frozen_body_learns_on_lava_as_in_the_engine(plastic):
    """Layers ahead stay as they are and pass spikes on; in Lava they run before the ring, in one network."""
    pixels = Input((64,), InputKind.GRADED, 0.0, 1.0, 16)
    ring = spide.architecture("20-15", pixels, 10, spide.Options(mean=0.305, std=0.376), seed=0)
    model = pipeline.compile(ring, "loihi2-sim", encoding=Encoding("direct", 12))
    options = SpideOptions(initial="random", rate=0.3, back_steps=15, plastic=plastic)
    told = {"rule": "spide", "epochs": 1, "limit": 4, "options": options}
    ours, outcome = onchip.learn(model, "digits", **told)
    theirs, _ = onchip.learn(model, "digits", **told, on="lava-models", process="engine")
    assert outcome["body"] == [name for name in ("lif1", "lif2") if name not in plastic]
    assert all(change["share"] > 0 for change in outcome["changes"].values())
    for one, other in zip(ours.program.projections, theirs.program.projections, strict=True):
        assert np.array_equal(one.synapses.mantissa, other.synapses.mantissa)
