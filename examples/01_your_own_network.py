"""Train a network with snnTorch as usual, bring it to Loihi 2, and have it proven that it is still the same network.

    python examples/01_your_own_network.py

Takes about half a minute. Nothing here knows about chips until the training is over.
"""

import tempfile
from pathlib import Path

import snntorch as snn
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import neurodeploy
from neurodeploy import datasets

STEPS = 10


class Net(nn.Module):
    """64 pixels as constant currents, 40 hidden neurons with a synaptic current, 10 outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 40), snn.Synaptic(alpha=0.5, beta=0.8)
        self.fc2, self.lif2 = nn.Linear(40, 10), snn.Leaky(beta=0.8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        syn1, mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        spikes = []
        for _ in range(STEPS):
            spk1, syn1, mem1 = self.lif1(self.fc1(x), syn1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def train(net: Net, images: torch.Tensor, labels: torch.Tensor, epochs: int = 15) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = cross_entropy(net(images[batch]).sum(0), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main() -> None:
    torch.manual_seed(0)
    digits = datasets.load("digits", "train")
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    net = Net()
    train(net, images, labels)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        encoding = datasets.Encoding("direct", STEPS)
        neurodeploy.save(net, path, example_input=images[:32], dt=1e-3, encoding=encoding)
        model = neurodeploy.compile(path, "loihi2-sim", calibration="digits")

    samples = neurodeploy.read_data("digits", model.program.encoding, model.program.input.shape, limit=100)
    model, against_lava = neurodeploy.verify(model, samples, against="lava-models")
    model, against_source = neurodeploy.verify(model, samples, against="source")
    result = neurodeploy.evaluate(model, samples, neurodeploy.run(model, samples))

    print("equal to Lava's own models, every spike and state:", against_lava["equal"])
    print("differs from PyTorch by rounding only:            ", against_source["explained_by_rounding"])
    print("spikes in agreement with PyTorch, by layer:       ", against_source["spike_agreement"])
    print(
        f"accuracy on chip: {result.accuracy:.1%}, synaptic operations per sample: {result.activity.synops / 100:,.0f}"
    )


if __name__ == "__main__":
    main()
