"""What the training scripts of the model zoo share: surrogate-gradient BPTT, the decision rule, the model card.

Input is (step, sample, *neuron); a net returns its output spikes (step, sample, class). The decision is the class with
most output spikes over all steps, ties going to the lowest index.
"""

import argparse
import hashlib
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from neurodeploy.datasets import Dataset, Encoding


@dataclass(frozen=True)
class Recipe:
    """How a net was trained: AdamW, cosine schedule, cross-entropy on output spike counts.

    Args:
        epochs: passes over the training set.
        batch: samples per update.
        learning_rate: peak of the cosine schedule, per update.
        weight_decay: AdamW's, decoupled.
        weight_limit: every weight is clipped to +-weight_limit after each update, so that the scale an 8-bit layer takes
            from its largest weight does not starve the others.
        gain: factor on spike counts before the softmax.
        shift: training images move by up to this many pixels in each direction.
        seed: of the initial weights, the order of samples, the shifts and the training spikes.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    weight_limit: float = 1.0
    gain: float = 1.0
    shift: int = 0
    seed: int = 0


def fit(forward, net, data: Dataset, encode, recipe: Recipe) -> None:
    """Train `net` in place.

    Args:
        forward: (net, input (step, sample, *neuron)) -> output spikes (step, sample, class).
        encode: images (sample, *image_shape) float32 tensor -> input (step, sample, *neuron) float32 tensor.
    """
    torch.manual_seed(recipe.seed)
    images = torch.from_numpy(data.images).reshape(-1, *data.image_shape)
    labels = torch.from_numpy(data.labels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    updates = recipe.epochs * -(-len(labels) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    net.train()
    for epoch in range(recipe.epochs):
        hits = 0
        for chosen in torch.randperm(len(labels)).split(recipe.batch):
            counts = forward(net, encode(shifted(images[chosen], recipe.shift))).sum(0)
            optimizer.zero_grad()
            cross_entropy(recipe.gain * counts, labels[chosen]).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for weight in net.parameters():
                    weight.clamp_(-recipe.weight_limit, recipe.weight_limit)
            hits += (counts.argmax(1) == labels[chosen]).sum().item()
        print(f"epoch {epoch + 1}/{recipe.epochs}: {hits / len(labels):.2%} of the training set", flush=True)


def shifted(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Return images (sample, height, width), each moved by its own offset in [-reach, reach]^2, zeros coming in."""
    if reach == 0:
        return images
    n, height, width = images.shape
    padded = torch.nn.functional.pad(images, (reach,) * 4)
    down, right = torch.randint(0, 2 * reach + 1, (2, n, 1, 1))
    y = torch.arange(height).reshape(1, -1, 1) + down
    x = torch.arange(width).reshape(1, 1, -1) + right
    return padded[torch.arange(n).reshape(-1, 1, 1), y, x]


@torch.no_grad()
def accuracy(forward, net, data: Dataset, encoding: Encoding, shape: tuple[int, ...], batch: int = 500) -> float:
    """Return the fraction of `data` whose most spiking output is the label.

    Args:
        shape: of one step's input for one sample, as the net takes it.
    """
    net.eval()
    hits = 0
    for at in range(0, len(data.labels), batch):
        x = encoding.encode(data.images[at : at + batch], first=at)
        x = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).reshape(*x.shape[:2], *shape)
        hits += int((forward(net, x).sum(0).argmax(1).numpy() == data.labels[at : at + batch]).sum())
    return hits / len(data.labels)
