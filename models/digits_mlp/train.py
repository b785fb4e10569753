"""Train digits_mlp: 64-96-10 leaky neurons that reset by subtraction, on scikit-learn's 8 x 8 digits fed as currents.

The smallest model of the zoo, and snnTorch's shortest way to write one: an nn.Sequential that keeps its own membranes
(init_hidden) and is called once per step. Trains in about a minute: python models/digits_mlp/train.py
"""

import sys
from pathlib import Path

import snntorch as snn
import torch
from snntorch.utils import reset
from torch import nn

STEPS = 16
NOISE = 0.1
"""Standard deviation of the noise on training pixels, in intensity; it keeps so small a data set from being learned by
heart. The recipe was chosen by four-fold cross-validation on the training split."""


def Net() -> nn.Sequential:
    """Return the untrained net; one call takes (sample, 64) and returns output spikes (sample, 10) of one step."""
    return nn.Sequential(
        nn.Linear(64, 96),
        snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(96, 10),
        snn.Leaky(beta=0.9, init_hidden=True),
    )


def forward(net: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Return output spikes (step, sample, 10) for input (step, sample, 64), from a state of rest."""
    reset(net)
    return torch.stack([net(current) for current in x])


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import training

    from neurodeploy.datasets import Encoding

    def currents(images: torch.Tensor) -> torch.Tensor:
        noisy = images.flatten(1) + NOISE * torch.randn(len(images), 64)
        return noisy.clamp(0, 1).expand(STEPS, -1, -1)

    training.main(
        Path(__file__).parent,
        Net,
        forward,
        data="digits",
        encode=currents,
        encoding=Encoding("direct", STEPS),
        input_shape=(64,),
        recipe=training.Recipe(epochs=80, batch=64, learning_rate=4e-3, weight_decay=0.02, weight_limit=0.3, gain=0.5),
        recipes_scored=4,
        takes_one_step=True,
    )


if __name__ == "__main__":
    main()
