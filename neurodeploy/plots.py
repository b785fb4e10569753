"""Pictures for people: each function draws plain values with matplotlib and writes one PNG, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurodeploy.learning.training import Epoch

DOTS_PER_INCH = 130
DECADE = 10
"""Values further apart than this are drawn on a logarithmic axis."""
SOLID, DASHED = " FF", " REC"
"""Lines whose names differ in this only share a color."""
MOST_INSIDE = 6
"""Legends of more lines stand beside the plot."""
MOST_BESIDE = 3
"""Plots in one row."""
COLORS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b5ea7", "#a67c00", "#555555", "#d17ba6", "#2a9d8f")


@dataclass(frozen=True)
class Panel:
    """One plot: lines by name, each (x values, y values); logarithmic: "", "x" or "both"; ticks on x."""

    title: str
    x: str
    y: str
    lines: dict[str, tuple[list[float], list[float]]]
    logarithmic: str = ""
    ticks: tuple[float, ...] = ()


def learning_on_target(curve: Sequence[Mapping[str, Any]], title: str, path: Path) -> Path:
    """Draw the accuracy of a network that learns on its target, while learning and after each epoch; return `path`."""
    epochs = [float(row["epoch"]) for row in curve]
    drawn = {"test": (epochs, [100 * row["test_accuracy"] for row in curve])}
    if all(row["accuracy"] is not None for row in curve):
        drawn["training, while taught"] = (epochs, [100 * row["accuracy"] for row in curve])
    return lines([Panel("", "epoch", "accuracy (%)", drawn)], title, path)


def learning_curve(curve: Sequence[Epoch], title: str, path: Path) -> Path:
    """Draw loss and accuracy against epochs, and what else the rule measured; return `path`."""
    measured = list(dict.fromkeys(name for epoch in curve for name in epoch.measures))
    with _figure(path, 2 + bool(measured), title) as axes:
        epochs = [epoch.epoch + 1 for epoch in curve]
        axes[0].plot(epochs, [epoch.loss for epoch in curve], color="black")
        axes[0].set(xlabel="epoch", ylabel="loss per sample")
        axes[1].plot(epochs, [100 * epoch.train_accuracy for epoch in curve], label="training, while learning")
        held = [(e.epoch + 1, 100 * e.validation_accuracy) for e in curve if e.validation_accuracy is not None]
        if held:
            axes[1].plot(*zip(*held, strict=True), label="validation")
        axes[1].set(xlabel="epoch", ylabel="accuracy (%)")
        axes[1].legend(frameon=False)
        for name in measured:
            axes[2].plot(epochs, [epoch.measures.get(name, float("nan")) for epoch in curve], label=name)
        if measured:
            values = [value for epoch in curve for value in epoch.measures.values() if value > 0]
            spread = max(values, default=1) / min(values, default=1)
            axes[2].set(xlabel="epoch", ylabel="per epoch", yscale="log" if spread > DECADE else "linear")
            axes[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return path


def lines(panels: Sequence[Panel], title: str, path: Path) -> Path:
    """Draw one panel of lines beside the other, NaN as a gap; return `path`."""
    with _figure(path, len(panels), title) as axes:
        for each, panel in zip(axes, panels, strict=True):
            groups = list(dict.fromkeys(name.removesuffix(DASHED).removesuffix(SOLID) for name in panel.lines))
            for name, (x, y) in panel.lines.items():
                color = COLORS[groups.index(name.removesuffix(DASHED).removesuffix(SOLID)) % len(COLORS)]
                style = "s--" if name.endswith(DASHED) else "o-"
                each.plot(x, y, style, color=color, label=name, markersize=4)
            each.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
            if panel.logarithmic:
                each.set(xscale="log", yscale="log" if panel.logarithmic == "both" else "linear")
            if panel.ticks:
                each.set(xticks=panel.ticks, xticklabels=[f"{tick:g}" for tick in panel.ticks])
                each.minorticks_off()
            beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(panel.lines) > MOST_INSIDE else {}
            each.legend(frameon=False, fontsize="x-small", **beside)
    return path


@contextmanager
def _figure(path: Path, plots: int, title: str) -> Iterator[Any]:
    """Give the axes of so many plots; write them to `path` by a temporary name when done."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(plots, MOST_BESIDE)
    rows = -(-plots // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = [figure.add_subplot(rows, columns, at + 1) for at in range(plots)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    yield axes
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        figure.savefig(unfinished, dpi=DOTS_PER_INCH, format="png")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
