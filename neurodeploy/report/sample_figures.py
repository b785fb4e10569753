"""One sample in pictures: what entered, every layer's spikes in each run one under the other, and membranes."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.quantities import count
from neurodeploy.report import wording
from neurodeploy.report.charts import Drawing
from neurodeploy.report.drawing import BLUE, GREEN, INK, ORANGE, PINK, TYPE_SIZE, WIDTH, blank, faded, svg
from neurodeploy.summary import Plain

if TYPE_CHECKING:
    from neurodeploy.report.drawing import Axes

COLORS = {"source": ORANGE, "engine": BLUE, "vendor": GREEN}
STRIP = 74
"""Height of one run's spikes, in units of 1/72 inch."""
MOST_VECTORS = 2500
"""Spikes beyond this number are drawn in pixels, which keeps a report small."""
LINES = 64
"""Of neurons in a strip; those of a larger layer share them."""
SLOT = 0.7
"""Of a step's width in which its spikes are drawn."""
MOST_LARGE_RINGS = 30
SMALLEST_PICTURE = 16


def entered(sample: Plain) -> list[Drawing]:
    """Draw the input over time unless it stays the same, and its sum as a picture where its neurons are pixels."""
    port, frames, pixels = sample["input"], _frames(sample), _pixels(sample["input"])
    steady = bool((frames == frames[0]).all())
    drawn = []
    if not steady or pixels is None:
        figure, (axes,) = blank(STRIP + 60)
        if "spikes" in port:
            _spikes(axes, port["spikes"], port["size"], sample["steps"], INK)
            said = count(len(port["spikes"]["step"]), "spike")
        else:
            _shades(axes, frames.T, "auto")
            said = f"values from {frames.min():.3g} to {frames.max():.3g}"
        axes.set(title=f"{port['name']}, {wording.shape(port['shape'])}", xlabel="step", ylabel="neuron")
        said = f"{said} in {count(sample['steps'], 'step')}"
        drawn.append(Drawing(svg(figure, f"The input over time: {said}"), f"What enters over time: {said}."))
    if pixels is not None:
        figure, (axes,) = blank(STRIP + 60)
        _shades(axes, frames.sum(axis=0).reshape(pixels).sum(axis=0), "equal")
        axes.set(anchor="W")
        axes.set_axis_off()
        size = f"{pixels[1]} × {pixels[2]} pixels"
        steps = count(sample["steps"], "step")
        said = f"{size}, the same in {steps}" if steady else f"summed over {steps}, {size}"
        drawn.append(Drawing(svg(figure, f"The input as a picture: {said}"), f"What enters, as a picture: {said}."))
    return drawn


def _frames(sample: Plain) -> np.ndarray:
    port = sample["input"]
    if "values" in port:
        return np.array(port["values"])
    frames = np.zeros((sample["steps"], port["size"]))
    frames[port["spikes"]["step"], port["spikes"]["neuron"]] = 1
    return frames


def _pixels(port: Plain) -> tuple[int, int, int] | None:
    """Return (channel, y, x) of an input that is a picture, or None."""
    size, side = port["size"], isqrt(port["size"])
    if len(port["shape"]) == 3:
        return (port["shape"][0], port["shape"][1], port["shape"][2])
    return (1, side, side) if size >= SMALLEST_PICTURE and side * side == size else None


def _shades(axes: Axes, values: np.ndarray, aspect: Any) -> None:
    """Draw values as opacity, negative ones in another color; without smoothing."""
    shaded = np.empty((*values.shape, 4))
    shaded[:] = faded(BLUE, 1.0)
    shaded[values < 0] = faded(ORANGE, 1.0)
    shaded[..., 3] = np.abs(values) / max(float(np.abs(values).max(initial=0)), np.finfo(float).tiny)
    axes.imshow(shaded, interpolation="none", aspect=aspect)


def raster(layer: Plain, sample: Plain) -> Drawing:
    """Draw one layer's spikes in each run, one under the other, with a ring where a run differs from the engine."""
    spikes, apart = layer["spikes"], layer["differs_from_engine"]
    figure, strips = blank(STRIP * len(spikes) + 50, rows=len(spikes))
    for axes, (role, events) in zip(strips, spikes.items(), strict=True):
        _spikes(axes, events, layer["size"], sample["steps"], COLORS[role])
        if role in apart:
            x, y, _ = _places(apart[role], layer["size"])
            ring = 6.5 if len(x) <= MOST_LARGE_RINGS else 3.5
            axes.plot(x, y, "o", markersize=ring, markerfacecolor="none", markeredgecolor=PINK, rasterized=_many(x))
        axes.text(1.01, 0.5, role, transform=axes.transAxes, rotation=-90, va="center", fontsize=TYPE_SIZE - 1)
    strips[0].set_title(f"layer {layer['name']}, {count(layer['size'], 'neuron')}")
    strips[-1].set_xlabel("step")
    counts = ", ".join(f"{role} {len(events['step']):,}" for role, events in spikes.items())
    different = ", ".join(f"{role} differs in {len(at['step']):,}" for role, at in apart.items())
    said = f"{layer['sends']}s: {counts}; {different}" if different else f"{layer['sends']}s: {counts}"
    title = f"{layer['sends'].capitalize()}s of {layer['name']}: {said}"
    return Drawing(svg(figure, title), f"Layer {layer['name']}, {said}.")


def _places(events: Plain, neurons: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return where events are drawn, and how many neurons share a line: side by side within their step."""
    together = -(-neurons // LINES)
    step, neuron = (np.asarray(events[name], float) for name in ("step", "neuron"))
    x = step + SLOT * ((neuron % together + 0.5) / together - 0.5)
    return x, neuron // together * together + (together - 1) / 2, together


def _spikes(axes: Axes, events: Plain, neurons: int, steps: int, color: str) -> None:
    """Draw each spike as a tick; one line with gaps, which is a single path."""
    x, y, together = _places(events, neurons)
    half = 0.45 * together
    ticks = np.repeat(y, 3) + np.tile([-half, half, np.nan], len(y))
    thick = float(np.clip(SLOT * WIDTH / steps / together, 0.7, 5))
    axes.plot(np.repeat(x, 3), ticks, color=color, linewidth=thick, solid_capstyle="butt", rasterized=_many(x))
    axes.set(xlim=(-0.7, steps - 0.3), ylim=(neurons - 0.5, -0.5), yticks=sorted({0, neurons - 1}))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)


def _many(places: np.ndarray) -> bool:
    return len(places) > MOST_VECTORS


def trace(sample: Plain, layer: Plain, traced: Plain) -> Drawing:
    """Draw one neuron's membrane in each run, with its threshold and a mark at each of the engine's spikes."""
    figure, (axes,) = blank(150)
    steps = range(sample["steps"])
    styles: dict[str, Any] = {
        "source": {"color": ORANGE, "linewidth": 5, "alpha": 0.5, "solid_capstyle": "round"},
        "engine": {"color": BLUE, "linewidth": 1.4},
        "vendor": {"color": GREEN, "linestyle": "none", "marker": "o", "markersize": 3.2},
    }
    for role, membrane in traced["membrane"].items():
        axes.plot(steps, [np.nan if value is None else value for value in membrane], **styles[role])
    height = None if traced["threshold"] is None else traced["threshold"]["program"]
    if height is not None:
        axes.axhline(height, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
    events = layer["spikes"]["engine"]
    fired = [step for step, neuron in zip(events["step"], events["neuron"], strict=True) if neuron == traced["neuron"]]
    axes.plot(
        fired, [1.0] * len(fired), "v", color=BLUE, markersize=5, clip_on=False, transform=axes.get_xaxis_transform()
    )
    where = f"{layer['name']}[{traced['neuron']}]"
    axes.set(xlabel="step", ylabel="membrane", title=f"{where}, {traced['why']}", xlim=(-0.7, sample["steps"] - 0.3))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    sent = count(traced["spikes"], layer["sends"])
    said = f"{sent}, source and program at most {traced['largest_distance']:.2g} apart"
    threshold = "" if height is None else f", threshold {height:.4g}"
    return Drawing(svg(figure, f"Membrane of {where}: {said}"), f"{where}: {said}{threshold}.")
