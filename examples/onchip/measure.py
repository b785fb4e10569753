"""Learns on chip from random weights and draws the curves that the README shows.

    python examples/onchip/measure.py [--only digits|deep|spide|mnist] [--draw | --repeat SAMPLES] [--folder FOLDER]

Every run is kept in results.json and not done again; --draw only draws, --repeat lets Lava's own learning engine repeat
the first samples of the runs and compares the weights. MNIST takes minutes per run and looks for its files where
NEURODEPLOY_DATA says. What was tried before was judged on held-out training samples.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import neurodeploy
from neurodeploy import datasets, onchip, plots
from neurodeploy.artifact import CompiledModel
from neurodeploy.backends.loihi2 import learn as learn_on_lava
from neurodeploy.datasets import Encoding
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Input, InputKind
from neurodeploy.learning import on_target, spide
from neurodeploy.learning.architectures import Neurons, build

ARITHMETICS = {"float": "floating point", "fixed": "8-bit fixed point"}
GAIN = 2.0
"""Of weights that stay random, as of those that learning begins with."""


@dataclass(frozen=True)
class Line:
    """One line of a figure: what learns, by which rule, in which arithmetic, from how many seeds."""

    name: str
    rule: str
    arithmetic: str
    options: dict = field(default_factory=dict)
    seeds: int = 5
    epochs: int = 10


@dataclass(frozen=True)
class Figure:
    """Lines on one network, of random weights from a seed."""

    name: str
    title: str
    dataset: str
    network: Callable[[int], Network]
    encoding: Encoding
    lines: tuple[Line, ...]


def layers(pixels: int, hidden: str) -> Callable[[int], Network]:
    """Return networks of all-to-all layers that read spikes."""
    source, neurons = Input((pixels,), InputKind.SPIKES, 0.0, 1.0), Neurons(beta=0.8, threshold=1.0)
    return lambda seed: build(hidden, source, 10, neurons, seed, gain=GAIN)


def ring(hidden: str) -> Callable[[int], Network]:
    """Return SPIDE's rings for digits as currents."""
    source, options = Input((64,), InputKind.GRADED, 0.0, 1.0, 16), spide.Options(mean=0.305, std=0.376)
    return lambda seed: spide.architecture(hidden, source, 10, options, seed)


def both(name: str, rule: str, epochs: int, seeds: int, options: dict) -> tuple[Line, ...]:
    """Return what learns by a rule, in both arithmetics."""
    return tuple(
        Line(f"{name}, {told}", rule, arithmetic, options, seeds, epochs) for arithmetic, told in ARITHMETICS.items()
    )


SLOWER = {"rate": 1e-3, "readout_rate": 1e-3, "decay": 0.6}
LAST, FROZEN = {"plastic": ("lif2",)}, {"rate": 0.0}
ALONE = "output alone"
FIGURES = (
    Figure(
        "digits",
        "digits, 64-64-10, on chip from random weights",
        "digits",
        layers(64, "64"),
        Encoding("rate", 20),
        (
            *both("e-prop", "eprop", 10, 5, {}),
            *both("DECOLLE", "decolle", 10, 5, {}),
            *both(ALONE, "eprop", 10, 5, LAST),
        ),
    ),
    Figure(
        "deep",
        "digits, 64-64-64-10, on chip from random weights",
        "digits",
        layers(64, "64-64"),
        Encoding("rate", 20),
        (
            *both("e-prop", "eprop", 10, 5, {}),
            *both("DECOLLE", "decolle", 10, 5, {}),
            *both(ALONE, "eprop", 10, 5, {"plastic": ("lif3",)}),
        ),
    ),
    Figure(
        "spide",
        "digits, 64-30-10 with feedback, SPIDE on chip",
        "digits",
        ring("30f"),
        Encoding("direct", 30),
        (*both("SPIDE", "spide", 12, 5, {}), *both(ALONE, "spide", 12, 5, FROZEN)),
    ),
    Figure(
        "mnist",
        "MNIST, 784-200-10, e-prop on chip from random weights",
        "mnist",
        layers(784, "200"),
        Encoding("rate", 20),
        (*both("e-prop", "eprop", 6, 1, SLOWER), *both(ALONE, "eprop", 6, 1, SLOWER | LAST)),
    ),
)


def runs(figure: Figure) -> Iterator[tuple[str, Line, int]]:
    for line in figure.lines:
        for seed in range(line.seeds):
            yield f"{figure.name} | {line.name} | seed {seed}", line, seed


def beginning(figure: Figure, line: Line, seed: int) -> tuple[CompiledModel, Any]:
    """Return a compiled network of random weights, and how it learns."""
    start = neurodeploy.compile(figure.network(seed), "loihi2-sim", encoding=figure.encoding)
    return start, onchip.options(line.rule, **line.options, initial="random", seed=seed)


def measure(figure: Figure, line: Line, seed: int) -> dict:
    """Return the curve of one run, and the test accuracy of what it learned as deployed."""
    start, options = beginning(figure, line, seed)
    _, outcome = neurodeploy.learn(
        start, figure.dataset, rule=line.rule, arithmetic=line.arithmetic, epochs=line.epochs, options=options
    )
    return {"curve": [row["test_accuracy"] for row in outcome["curve"]], "deployed": outcome["accuracy_after"]}


def repeat(figure: Figure, line: Line, samples: int) -> str:
    """Repeat the first samples of a run in Lava's real runtime, by its own learning engine, and say how it compares."""
    start, options = beginning(figure, line, 0)
    task, data = onchip.Task(start, line.rule, options, line.arithmetic), datasets.load(figure.dataset, "train")
    inputs, labels = on_target.presented(data, task.encoding, np.arange(len(data.labels)), 0, 0, samples)
    spikes, program = task.spikes(task.payloads(inputs)), task.program(0)
    ours = task.rule.engine.learn(program, spikes, labels)
    theirs, _ = learn_on_lava(program, spikes, labels, model="engine")
    changed = sum(int(np.sum(a != b)) for a, b in zip(program.weights, ours.weights, strict=True))
    apart = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours.weights, theirs.weights, strict=True))
    steps, seconds = program.duration(samples), theirs.seconds
    return (
        f"{samples} samples, {steps:,} steps, {changed:,} weights changed; {apart:.1e} apart; Lava took {seconds:.0f} s"
    )


def draw(figure: Figure, results: dict, folder: Path) -> None:
    """Draw the mean over seeds of test accuracy against epochs, each arithmetic beside the other."""
    panels = []
    for arithmetic, told in ARITHMETICS.items():
        drawn = {}
        for line in figure.lines:
            curves = [results[key]["curve"] for key, of, _ in runs(figure) if of is line and key in results]
            if curves and line.arithmetic == arithmetic:
                drawn[line.name.removesuffix(f", {told}")] = (
                    [float(epoch + 1) for epoch in range(line.epochs)],
                    [100 * fmean(values) for values in zip(*curves, strict=True)],
                )
        if drawn:
            panels.append(plots.Panel(told, "epoch", "test accuracy (%)", drawn))
    if panels:
        plots.lines(panels, figure.title, folder / f"{figure.name}.png")


def table(figure: Figure, results: dict) -> Iterator[str]:
    """Yield a line of text per line of the figure: mean and range over seeds, as deployed."""
    for line in figure.lines:
        found = [100 * results[key]["deployed"] for key, of, _ in runs(figure) if of is line and key in results]
        if found:
            spread = f"{min(found):.2f} to {max(found):.2f}"
            yield f"{figure.name:8} {line.name:34} {fmean(found):.2f} ({spread}; {len(found)} seeds)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[figure.name for figure in FIGURES])
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--repeat", type=int, metavar="SAMPLES", help="the first ones of seed 0, in Lava's runtime")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    kept = given.folder / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for figure in FIGURES:
        if given.repeat and given.only in (None, figure.name):
            for line in (line for line in figure.lines if not line.name.startswith(ALONE)):
                print(figure.name, line.name, repeat(figure, line, given.repeat), sep=": ", flush=True)
        elif given.only in (None, figure.name):
            for key, line, seed in runs(figure):
                if not given.draw and key not in results:
                    results[key] = measure(figure, line, seed)
                    kept.write_text(json.dumps(results, indent=1) + "\n")
            draw(figure, results, given.folder)
            print("\n".join(table(figure, results)), flush=True)


if __name__ == "__main__":
    main()
