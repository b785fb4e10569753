"""One attack meets the network in PyTorch, in the engine and in Lava's own models, and the latter two agree."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from neurodeploy import pipeline
from neurodeploy.datasets import Encoding, load
from neurodeploy.evaluation import attacks
from neurodeploy.evaluation.counterpart import ann_counterpart
from neurodeploy.frontends.checkpoint import load_checkpoint
from neurodeploy.learning.probing import Probe
from neurodeploy.pipeline import Samples
from tests.cases import model

EPSILON = 0.15
SAMPLES = 12


def test_the_same_attack_meets_every_executor(tmp_path: Path) -> None:
    network = load_checkpoint(model("digits_mlp"))
    digits = load("digits", "test", 60)
    inputs = digits.encode(Encoding.from_plain(network.encoding), np.arange(60))
    gradient = attacks.through_mean_frame(ann_counterpart(network).gradient)
    attacked = attacks.fgsm(inputs, digits.labels, gradient, EPSILON)
    np.savez(tmp_path / "attacked.npz", inputs=np.concatenate([inputs, attacked, inputs - EPSILON], axis=1))
    compiled = pipeline.compile(network, "loihi2-sim", calibration=tmp_path / "attacked.npz")

    def predict(on: str, x: np.ndarray) -> np.ndarray:
        samples = Samples("attacked", x.astype(np.float32), None)
        return pipeline.run(compiled, samples, on=on).predictions

    clean = np.mean(Probe(network).predict(inputs) == digits.labels)
    decisions = {"pytorch": Probe(network).predict(attacked), "engine": predict("engine", attacked)}
    for where, found in decisions.items():
        assert np.mean(found == digits.labels) < clean - 0.3, where
    assert np.mean(decisions["pytorch"] == decisions["engine"]) > 0.9
    few = attacked[:, :SAMPLES]
    assert predict("lava-models", few).tolist() == decisions["engine"][:SAMPLES].tolist()
    attack = partial(attacks.fgsm, gradient=gradient)
    swept = attacks.robustness(
        partial(predict, "engine"), inputs, digits.labels, lambda x, y, e: attack(x, y, epsilon=e), (0.0, EPSILON)
    )
    assert swept[0].accuracy.value > swept[1].accuracy.value
