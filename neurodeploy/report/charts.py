"""What several figures are made of: names and values line by line, spans of energies, bars, and a picture's caption."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

from neurodeploy.quantities import joule
from neurodeploy.report.drawing import BLUE, INK, ORANGE, TYPE_SIZE, blank
from neurodeploy.summary import Plain

if TYPE_CHECKING:
    from neurodeploy.report.drawing import Axes

ROW = 22
"""Of one line of a chart of names, in units of 1/72 inch."""
FRAME = 46
"""What an axis and its label add."""
MANY_DECADES = 1e6
"""From here on only every third power of ten has room for its name."""


@dataclass(frozen=True)
class Drawing:
    """A picture and what it says."""

    svg: str
    caption: str


def chart(rows: float) -> tuple[Any, Axes]:
    """Return a figure for so many lines of names and values."""
    figure, (axes,) = blank(FRAME + ROW * rows)
    return figure, axes


def bands(axes: Axes, rows: list[tuple[str, Plain, str]], per: float) -> None:
    """Draw energies as dots with their bands, one line each, on a logarithmic axis."""
    for at, (_, energy, color) in enumerate(rows):
        low, value, high = (energy[key] / per for key in ("low", "value", "high"))
        axes.plot([low, high], [at, at], color=color, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(value, at, "o", color=color, markersize=7)
    axes.set(xscale="log", yticks=range(len(rows)), yticklabels=[short(name) for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    if high / low < 100:
        axes.set_xlim(low / 3, high * 3)
    low, high = axes.get_xlim()
    every = 1 if high / low < MANY_DECADES else 3
    axes.xaxis.set_major_formatter(lambda value, _: "" if round(log10(value)) % every else joule(value))
    axes.minorticks_off()
    axes.set_xlabel("per sample")
    grid(axes, "x")


def bars(axes: Axes, rows: list[tuple[str, list[float | None]]], label: str, most: float | None) -> None:
    """Draw one bar per value of each line, the last in blue; a value that is absent has words and no bar."""
    side_by_side = len(rows[0][1])
    for at, color in zip(range(side_by_side), (ORANGE, BLUE)[-side_by_side:], strict=True):
        values = [row[1][at] for row in rows]
        places = [y + (at - (side_by_side - 1) / 2) * 0.38 for y in range(len(rows))]
        drawn = axes.barh(places, [value or 0.0 for value in values], 0.7 / side_by_side, color=color)
        told = ["unavailable" if value is None else f"{value:.3g}" for value in values]
        axes.bar_label(drawn, told, padding=3, fontsize=TYPE_SIZE - 1)
    largest = max((value or 0.0 for _, values in rows for value in values), default=0.0)
    axes.set(yticks=range(len(rows)), yticklabels=[short(name) for name, _ in rows], xlabel=label)
    axes.set(xlim=(0, 1.25 * (most or largest or 1.0)), ylim=(len(rows) - 0.5, -0.5))
    if most is not None:
        axes.set_xticks([0, most / 2, most])


def grid(axes: Axes, axis: Any) -> None:
    axes.grid(axis=axis, color=INK, alpha=0.15, linewidth=0.8)


def short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
