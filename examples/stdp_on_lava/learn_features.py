"""Handwritten digits are learned by STDP alone, on the chip's terms and without a label; Lava repeats part of it.

    python examples/stdp_on_lava/learn_features.py [--epochs 12] [--figure PNG]

Takes about a minute. The host trains nothing and computes nothing in the loop: 150 neurons inhibit each other, weights
and thresholds begin at random and change in the integers of Lava's learning engine. Afterwards, and only then, labels
say which digit each neuron answers to.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import neurodeploy
from neurodeploy import onchip
from neurodeploy.datasets import Encoding
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Input, InputKind
from neurodeploy.learning.architectures import Neurons, build
from neurodeploy.learning.competition import frame

FEATURES, SIDE, ACROSS = 150, 8, 15


def fields(network: Network, path: Path) -> None:
    """Draw what every feature responds to, in the order of the digits they stand for."""
    features, output = network.populations
    into = {edge.source for edge in network.incoming(features)} - {f"{features}.recurrent"}
    weight = network.nodes[into.pop()].weight
    (votes,) = (network.nodes[edge.source].weight for edge in network.incoming(output))
    digits = votes.argmax(0)
    reach = float(np.abs(weight).max())
    figure, axes = plt.subplots(FEATURES // ACROSS, ACROSS, figsize=(9, 6.4))
    for axis, neuron in zip(axes.flat, np.argsort(digits, kind="stable"), strict=True):
        axis.imshow(weight[neuron].reshape(SIDE, SIDE), cmap="RdBu_r", vmin=-reach, vmax=reach)
        axis.set_title(digits[neuron], fontsize=7, pad=2)
        axis.set_axis_off()
    figure.suptitle(
        "What 150 neurons learned by STDP in Loihi's integers, and the digit each answers to", fontsize=10, y=0.94
    )
    figure.savefig(path, dpi=130, bbox_inches="tight", format="png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--figure", type=Path, default=Path(__file__).parent / "receptive_fields.png")
    given = parser.parse_args()
    pixels = Input((SIDE * SIDE,), InputKind.SPIKES, 0.0, 1.0)
    network = frame(build(str(FEATURES), pixels, 10, Neurons(beta=0.9, threshold=1.0), seed=0))
    start = neurodeploy.compile(network, "loihi2-sim", encoding=Encoding("rate", steps=50))

    options = onchip.options("stdp", initial="random")
    learned, outcome = neurodeploy.learn(start, "digits", rule="stdp", epochs=given.epochs, options=options)
    for row in outcome["curve"][:1] + outcome["curve"][-1:]:
        print(f"after {row['epoch']:2} epochs: {row['test_accuracy']:.1%} of the test digits")
    print(f"as deployed: {outcome['accuracy_after']:.1%}")
    fields(learned.source, given.figure)

    _, certificate = onchip.verify(learned, against="lava-models", limit=5)
    print(f"{certificate['compared']:,} weights on the way, {certificate['differ']} differ from Lava's learning engine")


if __name__ == "__main__":
    main()
