"""Learns on chip from random weights and draws the curves that the README shows.

    python examples/onchip/measure.py [--only digits|mnist] [--draw | --repeat SAMPLES] [--folder FOLDER]

Every run is kept in results.json and not done again; --draw only draws, --repeat lets Lava's own learning engine repeat
the first samples of the runs and compares the weights. MNIST takes minutes per run and looks for its files where
NEURODEPLOY_DATA says. What was tried before was judged on held-out training samples.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
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
from neurodeploy.ir.nodes import Input, InputKind
from neurodeploy.learning import on_target
from neurodeploy.learning.architectures import Neurons, build

NEURONS, STEPS = Neurons(beta=0.8, threshold=1.0), 20
GAIN = 2.0
"""Of weights that stay random, as of those that learning begins with."""


@dataclass(frozen=True)
class Line:
    """One line of a figure: what learns, by which rule, in which arithmetic, from how many seeds."""

    name: str
    arithmetic: str
    options: dict = field(default_factory=dict)
    rule: str = "eprop"
    seeds: int = 5
    epochs: int = 10


@dataclass(frozen=True)
class Figure:
    dataset: str
    pixels: int
    hidden: str
    lines: tuple[Line, ...]


OUTPUT_ONLY = {"plastic": ("lif2",)}
SLOWER = {"rate": 1e-3, "readout_rate": 1e-3, "decay": 0.6}
FIGURES = (
    Figure(
        "digits",
        64,
        "64",
        (
            Line("e-prop, floating point", "float"),
            Line("e-prop, 8-bit fixed point", "fixed"),
            Line("output alone, floating point", "float", OUTPUT_ONLY),
            Line("output alone, 8-bit fixed point", "fixed", OUTPUT_ONLY),
        ),
    ),
    Figure(
        "mnist",
        784,
        "200",
        (
            Line("e-prop, floating point", "float", SLOWER, seeds=1, epochs=6),
            Line("e-prop, 8-bit fixed point", "fixed", SLOWER, seeds=1, epochs=6),
            Line("output alone, floating point", "float", SLOWER | OUTPUT_ONLY, seeds=1, epochs=6),
            Line("output alone, 8-bit fixed point", "fixed", SLOWER | OUTPUT_ONLY, seeds=1, epochs=6),
        ),
    ),
)


def runs(figure: Figure) -> Iterator[tuple[str, Line, int]]:
    for line in figure.lines:
        for seed in range(line.seeds):
            yield f"{figure.dataset} | {line.name} | seed {seed}", line, seed


def beginning(figure: Figure, line: Line, seed: int) -> tuple[CompiledModel, Any]:
    """Return a compiled network of random weights, and how it learns."""
    source = Input((figure.pixels,), InputKind.SPIKES, 0.0, 1.0)
    network = build(figure.hidden, source, 10, NEURONS, seed, gain=GAIN)
    start = neurodeploy.compile(network, "loihi2-sim", encoding=Encoding("rate", STEPS))
    names = list(start.source.populations)
    plastic = tuple(names[int(name[-1]) - 1] for name in line.options.get("plastic", ()))
    options = onchip.options(line.rule, **line.options | {"plastic": plastic, "initial": "random", "seed": seed})
    return start, options


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
    """Draw the mean over seeds of test accuracy against epochs."""
    drawn = {}
    for line in figure.lines:
        curves = [results[key]["curve"] for key, of, _ in runs(figure) if of is line and key in results]
        if curves:
            drawn[line.name] = (
                [float(epoch + 1) for epoch in range(line.epochs)],
                [100 * fmean(values) for values in zip(*curves, strict=True)],
            )
    if drawn:
        title = f"{figure.dataset}, {figure.pixels}-{figure.hidden}-10, on chip from random weights"
        plots.lines([plots.Panel("", "epoch", "test accuracy (%)", drawn)], title, folder / f"{figure.dataset}.png")


def table(figure: Figure, results: dict) -> Iterator[str]:
    """Yield a line of text per line of the figure: mean and range over seeds, as deployed."""
    for line in figure.lines:
        found = [100 * results[key]["deployed"] for key, of, _ in runs(figure) if of is line and key in results]
        if found:
            spread = f"{min(found):.2f} to {max(found):.2f}"
            yield f"{figure.dataset:8} {line.name:34} {fmean(found):.2f} ({spread}; {len(found)} seeds)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[figure.dataset for figure in FIGURES])
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--repeat", type=int, metavar="SAMPLES", help="the first ones of seed 0, in Lava's runtime")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    kept = given.folder / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for figure in FIGURES:
        if given.repeat and given.only in (None, figure.dataset):
            for line in figure.lines[:2]:
                print(figure.dataset, line.name, repeat(figure, line, given.repeat), sep=": ", flush=True)
        elif given.only in (None, figure.dataset):
            for key, line, seed in runs(figure):
                if not given.draw and key not in results:
                    results[key] = measure(figure, line, seed)
                    kept.write_text(json.dumps(results, indent=1) + "\n")
            draw(figure, results, given.folder)
            print("\n".join(table(figure, results)), flush=True)


if __name__ == "__main__":
    main()
