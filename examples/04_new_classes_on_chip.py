"""A chip learns eight digits from nothing, and later two more, without forgetting the eight.

    python examples/04_new_classes_on_chip.py

Takes about half a minute. The host trains nothing: e-prop runs in the integers of Lava's learning engine, and a stretch
of it is repeated by that engine itself, weight by weight. Later only the output layer learns; a few samples of every
old class, presented again, keep what was known.
"""

import tempfile
from pathlib import Path

import snntorch as snn
import torch
from torch import nn

import neurodeploy
from neurodeploy import datasets, onchip

OLD, NEW = range(8), (8, 9)
REMEMBERED = 40


class Untrained(nn.Module):
    """64 pixels as spikes, 128 hidden neurons, 10 outputs, random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 128, bias=False), snn.Leaky(beta=0.8)
        self.fc2, self.lif2 = nn.Linear(128, 10, bias=False), snn.Leaky(beta=0.8)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        mem1, mem2, answers = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for step in spikes:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            answers.append(spk2)
        return torch.stack(answers)


def mean(outcome: dict, classes: range | tuple[int, ...], when: str) -> str:
    return f"{sum(row[when] for row in outcome['by_class'] if row['class'] in classes) / len(classes):.1%}"


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.pt"
        encoding = datasets.Encoding("rate", steps=20)
        neurodeploy.save(Untrained(), path, example_input=torch.zeros(20, 1, 64), encoding=encoding)
        start = neurodeploy.compile(path, "loihi2-sim")

    scratch = onchip.options("eprop", initial="random")
    eight, outcome = neurodeploy.learn(start, "digits", classes=OLD, options=scratch)
    print(f"eight digits, learned on chip from random weights: {mean(outcome, OLD, 'after')}")

    last = onchip.options("eprop", plastic=(list(start.source.populations)[-1],), rate=1e-3, readout_rate=1e-3)
    for rehearse in (0, REMEMBERED):
        ten, outcome = neurodeploy.learn(eight, "digits", classes=NEW, rehearse=rehearse, options=last)
        print(f"then two more, {rehearse} samples of every old class presented again:")
        for name, classes in (("old", OLD), ("new", NEW)):
            print(f"  {name}  {mean(outcome, classes, 'before'):>6} before, {mean(outcome, classes, 'after'):>6} after")

    _, certificate = onchip.verify(ten, against="lava-models", limit=3)
    print(f"{certificate['compared']:,} weights on the way, {certificate['differ']} differ from Lava's learning engine")


if __name__ == "__main__":
    main()
