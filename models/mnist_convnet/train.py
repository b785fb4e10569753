"""Train mnist_convnet: two convolutions with average pooling and a linear read-out, on MNIST fed as currents.

conv 12 @ 5x5 - pool 2 - Leaky - conv 32 @ 5x5 - pool 2 - Leaky - linear 10 - Leaky, every neuron resetting to zero.
Every step carries the whole image as a constant current, so the first convolution does the coding; eight steps are
enough. Trains in about half an hour: python models/mnist_convnet/train.py
"""

import sys
from pathlib import Path

import snntorch as snn
import torch
from torch import nn

STEPS = 8


class Net(nn.Module):
    """28 x 28 currents in, 12 x 12 x 12 and 32 x 4 x 4 hidden neurons, 10 outputs."""

    def __init__(self, beta: float = 0.8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5)
        self.pool1 = nn.AvgPool2d(2)
        self.lif1 = snn.Leaky(beta=beta, reset_mechanism="zero")
        self.conv2 = nn.Conv2d(12, 32, 5)
        self.pool2 = nn.AvgPool2d(2)
        self.lif2 = snn.Leaky(beta=beta, reset_mechanism="zero")
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512, 10)
        self.lif3 = snn.Leaky(beta=beta, reset_mechanism="zero")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return output spikes (step, sample, 10) for input (step, sample, 1, 28, 28), from a state of rest."""
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        mem3 = self.lif3.reset_mem()
        spikes = []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.pool1(self.conv1(x[step])), mem1)
            spk2, mem2 = self.lif2(self.pool2(self.conv2(spk1)), mem2)
            spk3, mem3 = self.lif3(self.fc(self.flatten(spk2)), mem3)
            spikes.append(spk3)
        return torch.stack(spikes)


def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Return output spikes (step, sample, 10) for input (step, sample, 1, 28, 28)."""
    return net(x)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import training

    from neurodeploy.datasets import Encoding

    def currents(images: torch.Tensor) -> torch.Tensor:
        return images.unsqueeze(1).expand(STEPS, -1, -1, -1, -1)

    training.main(
        Path(__file__).parent,
        Net,
        forward,
        data="mnist",
        encode=currents,
        encoding=Encoding("direct", STEPS),
        input_shape=(1, 28, 28),
        recipe=training.Recipe(epochs=12, weight_decay=0.01, weight_limit=0.5, gain=0.5, shift=1),
        recipes_scored=2,
    )


if __name__ == "__main__":
    main()
