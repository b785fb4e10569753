"""Fill in what the shipped models score on chip: python models/measure.py [NAME ...]

For every card: accuracy of the integer program on the whole test split by the engine, and accuracy on Lava's runtime on
a sample on which engine and Lava are equal in every spike and state. Nothing is written unless they are equal.
"""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np

from neurodeploy import pipeline

FOLDER = Path(__file__).parent
LAVA_SAMPLES = {"digits_mlp": 360, "mnist_mlp": 500, "mnist_convnet": 300, "mnist_rows_rsnn": 500}


def measure(name: str) -> dict[str, float | int]:
    """Return the scores of one model."""
    card = tomllib.loads((FOLDER / name / "card.toml").read_text(encoding="utf-8"))
    model = pipeline.compile(FOLDER / name / "model.pt", "loihi2-sim")
    samples = pipeline.read_data(card["data"]["name"], model.program.encoding, model.program.input.shape)
    quantized = float(np.mean(pipeline.run(model, samples).predictions == samples.labels))
    few = LAVA_SAMPLES[name]
    part = pipeline.Samples(samples.name, samples.inputs[:, :few], samples.labels[:few])
    _, certificate = pipeline.verify(model, part, against="lava")
    if not certificate["equal"]:
        raise SystemExit(f"{name}: engine and Lava differ: {certificate['first_divergence']}")
    lava = float(np.mean(pipeline.run(model, part).predictions == part.labels))
    return {"quantized": quantized, "lava": lava, "lava_samples": few}


def write(name: str, scores: dict[str, float | int]) -> None:
    """Put the scores into the card's [accuracy] table."""
    path = FOLDER / name / "card.toml"
    text = re.sub(r"^lava_samples = .*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for key in ("quantized", "lava"):
        text = re.sub(rf"^{key} = .*$", f"{key} = {scores[key]}", text, flags=re.MULTILINE)
    text = re.sub(r"^(lava = .*)$", rf"\1\nlava_samples = {scores['lava_samples']}", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for each in sys.argv[1:] or LAVA_SAMPLES:
        write(each, measure(each))
