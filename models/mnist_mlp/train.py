"""Train mnist_mlp: 784-128-10 leaky neurons that reset to zero, on MNIST coded as Bernoulli spikes.

Written the way snnTorch's tutorials write a net: the loop over steps hands every membrane on by hand. Leaky with reset
to zero fires exactly as Lava's LIF does, so this is the model that needs least translation. Training draws new spikes
in every epoch; the model card's accuracy is that of the recorded encoding, whose spikes are the same for everyone.
Trains in about ten minutes: python models/mnist_mlp/train.py
"""

import sys
from pathlib import Path

import snntorch as snn
import torch
from torch import nn

STEPS = 25


class Net(nn.Module):
    """784 spike trains in, 128 hidden neurons, 10 outputs."""

    def __init__(self, hidden: int = 128, beta: float = 0.9) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, hidden)
        self.lif1 = snn.Leaky(beta=beta, reset_mechanism="zero")
        self.fc2 = nn.Linear(hidden, 10)
        self.lif2 = snn.Leaky(beta=beta, reset_mechanism="zero")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return output spikes (step, sample, 10) for input (step, sample, 784), from a state of rest."""
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        spikes = []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Return output spikes (step, sample, 10) for input (step, sample, 784)."""
    return net(x)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import training

    from neurodeploy.datasets import Encoding

    def spikes(images: torch.Tensor) -> torch.Tensor:
        return torch.bernoulli(images.flatten(1).expand(STEPS, -1, -1))

    training.main(
        Path(__file__).parent,
        Net,
        forward,
        data="mnist",
        encode=spikes,
        encoding=Encoding("rate", STEPS, seed=0),
        input_shape=(784,),
        recipe=training.Recipe(epochs=12),
        recipes_scored=1,
    )


if __name__ == "__main__":
    main()
