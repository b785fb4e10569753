"""Train mnist_rows_rsnn: 28-128-10 with all-to-all recurrence, reading MNIST images row by row from the top.

One row of pixels is the input current of one step, so the net has to remember what it has seen: the hidden layer is
snnTorch's RSynaptic, a second-order neuron whose own spikes come back one step later through 128 x 128 weights. Both
layers reset by subtraction. Trains in about ten minutes: python models/mnist_rows_rsnn/train.py
"""

import sys
from pathlib import Path

import snntorch as snn
import torch
from torch import nn

STEPS = 28


class Net(nn.Module):
    """28 currents per step, 128 recurrent neurons, 10 outputs; the loop over steps hands every state on by hand."""

    def __init__(self, hidden: int = 128, alpha: float = 0.5, beta: float = 0.6) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28, hidden)
        self.lif1 = snn.RSynaptic(alpha=alpha, beta=beta, all_to_all=True, linear_features=hidden)
        self.fc2 = nn.Linear(hidden, 10)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return output spikes (step, sample, 10) for input (step, sample, 28), from a state of rest."""
        spk1, syn1, mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        spikes = []
        for step in range(x.shape[0]):
            spk1, syn1, mem1 = self.lif1(self.fc1(x[step]), spk1, syn1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Return output spikes (step, sample, 10) for input (step, sample, 28)."""
    return net(x)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import training

    from neurodeploy.datasets import Encoding

    def rows(images: torch.Tensor) -> torch.Tensor:
        return images.transpose(0, 1)

    training.main(
        Path(__file__).parent,
        Net,
        forward,
        data="mnist",
        encode=rows,
        encoding=Encoding("rows", STEPS),
        input_shape=(28,),
        recipe=training.Recipe(epochs=15, learning_rate=4e-3, weight_limit=0.5),
        recipes_scored=2,
    )


if __name__ == "__main__":
    main()
