"""What the training scripts of the model zoo share: surrogate-gradient BPTT, the decision rule, the model card.

Input is (step, sample, *neuron); a net returns its output spikes (step, sample, class). The decision is the class with
most output spikes over all steps, ties going to the lowest index.
"""

import argparse
import hashlib
import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

import neurodeploy
from neurodeploy import datasets
from neurodeploy.datasets import Dataset, Encoding

Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]
"""(net, input (step, sample, *neuron)) -> output spikes (step, sample, class), from a state of rest."""
Encode = Callable[[torch.Tensor], torch.Tensor]
"""Images (sample, height, width) -> input (step, sample, *neuron), drawn anew at every call if it is random."""
DT_S = 1e-3
"""One step stands for one millisecond; the nets themselves only know steps."""
EXAMPLES = 32
"""Training images a net is recorded on: enough to show every gray level its input can take."""


@dataclass(frozen=True)
class Recipe:
    """How a net was trained: AdamW, cosine schedule, cross-entropy on output spike counts.

    Args:
        epochs: passes over the training set.
        batch: samples per update.
        learning_rate: peak of the cosine schedule, per update.
        weight_decay: AdamW's, decoupled.
        weight_limit: every weight is clipped to +-weight_limit after each update, so that the scale an 8-bit layer
            takes from its largest weight does not starve the others.
        gain: factor on spike counts before the softmax.
        shift: training images move by up to this many pixels in each direction.
        seed: of the initial weights, the order of samples, the shifts and the training spikes. Sums may be rounded in
            another order elsewhere, so a repetition ends near the published weights, not always at them.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    weight_limit: float = 1.0
    gain: float = 1.0
    shift: int = 0
    seed: int = 0


def fit(net: nn.Module, forward: Forward, data: Dataset, encode: Encode, recipe: Recipe) -> None:
    """Train `net` in place by backpropagation through all steps, with the surrogate gradients of its own neurons."""
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
    padded = pad(images, (reach,) * 4)
    down, right = torch.randint(0, 2 * reach + 1, (2, n, 1, 1))
    y = torch.arange(height).reshape(1, -1, 1) + down
    x = torch.arange(width).reshape(1, 1, -1) + right
    return padded[torch.arange(n).reshape(-1, 1, 1), y, x]


def encoded(images: np.ndarray, encoding: Encoding, input_shape: tuple[int, ...], first: int = 0) -> torch.Tensor:
    """Return input (step, sample, *input_shape) float32; images[0] is sample `first` of its dataset."""
    x = encoding.encode(images, first)
    return torch.from_numpy(np.array(x, dtype=np.float32)).reshape(*x.shape[:2], *input_shape)


@torch.no_grad()
def accuracy(
    net: nn.Module, forward: Forward, data: Dataset, encoding: Encoding, input_shape: tuple[int, ...]
) -> float:
    """Return the fraction of `data` whose most spiking output is the label.

    Args:
        input_shape: one sample's input at one step, as the net takes it.
    """
    net.eval()
    hits, batch = 0, 500
    for start in range(0, len(data.labels), batch):
        x = encoded(data.images[start : start + batch], encoding, input_shape, start)
        decisions = forward(net, x).sum(0).argmax(1).numpy()
        hits += int((decisions == data.labels[start : start + batch]).sum())
    return hits / len(data.labels)


def main(
    folder: Path,
    make: Callable[[], nn.Module],
    forward: Forward,
    *,
    data: str,
    encode: Encode,
    encoding: Encoding,
    input_shape: tuple[int, ...],
    recipe: Recipe,
    recipes_scored: int,
    takes_one_step: bool = False,
) -> None:
    """Train a net, measure it on the whole test split, write model.pt and card.toml into `folder`.

    Args:
        encode: the input of training, where `encoding` is the input of every use after it.
        input_shape: one sample's input at one step.
        recipes_scored: how many recipes, this one included, were scored on the test split before this one was kept; the
            card says so, because the best of several is a little flattered.
        takes_one_step: whether one call of the net is one step, rather than the whole loop over steps.
    """
    parser = argparse.ArgumentParser(description=f"train {folder.name}")
    parser.add_argument("--state", type=Path, help="write the plain state_dict there as well")
    parser.add_argument("--export-only", type=Path, metavar="STATE", help="take this state_dict instead of training")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    net = make()
    train, test = datasets.load(data, "train"), datasets.load(data, "test")
    if arguments.export_only:
        net.load_state_dict(torch.load(arguments.export_only, weights_only=True))
    else:
        fit(net, forward, train, encode, recipe)
    if arguments.state:
        torch.save(net.state_dict(), arguments.state)
    score = accuracy(net, forward, test, encoding, input_shape)
    print(f"{folder.name}: {score:.2%} of {len(test.labels)} test samples")

    path = folder / "model.pt"
    example = encoded(train.images[:EXAMPLES], encoding, input_shape)
    neurodeploy.save(net, path, example_input=example[0] if takes_one_step else example, dt=DT_S, encoding=encoding)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = {
        "model": {"name": folder.name, "parameters": sum(p.numel() for p in net.parameters()), "dt_s": DT_S},
        "data": {"name": data, "train_samples": len(train.labels), "test_samples": len(test.labels)},
        "encoding": {key: value for key, value in encoding.to_plain().items() if value is not None},
        "recipe": asdict(recipe),
        "accuracy": {"split": "test", "float": score, **deployed(folder / "card.toml", sha256)},
        "versions": {name: version(name) for name in ("torch", "snntorch", "numpy")},
        "file": {"name": path.name, "sha256": sha256},
    }
    card["accuracy"]["recipes_scored"] = recipes_scored
    (folder / "card.toml").write_text(toml(card))


def deployed(card: Path, sha256: str) -> dict[str, str | int | float]:
    """Return the accuracies after compilation that `card` holds for the file of this hash; others are unavailable."""
    old = tomllib.loads(card.read_text()) if card.exists() else {}
    if old.get("file", {}).get("sha256") != sha256:
        return {"quantized": "unavailable", "lava": "unavailable"}
    return {key: value for key, value in old["accuracy"].items() if key not in ("split", "float", "recipes_scored")}


def toml(tables: dict[str, dict[str, str | int | float]]) -> str:
    """Return `tables` as TOML; strings and numbers are written alike in TOML and JSON."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )
