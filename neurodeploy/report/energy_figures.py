"""What a sample costs: energy and activity layer by layer, and every model beside what other machines would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurodeploy.quantities import joule
from neurodeploy.report import wording
from neurodeploy.report.charts import Drawing, bands, chart, short
from neurodeploy.report.drawing import BLUE, GREEN, ORANGE, TYPE_SIZE, svg
from neurodeploy.summary import Plain

if TYPE_CHECKING:
    from neurodeploy.report.drawing import Axes


def energy_of_layers(evaluation: Plain) -> Drawing:
    """Draw the energy per sample of every layer and of all of them, with the band over all models."""
    n, total = evaluation["samples"], evaluation["energy_j"]
    entering = [("sources", evaluation["sources"]["energy_j"])] if evaluation["sources"]["energy_j"]["value"] else []
    rows = [(layer["name"], layer["energy_j"]) for layer in evaluation["layers"]] + entering + [("all", total)]
    said = f"{joule(total['value'] / n)} per sample, {wording.band(total, n)} over all energy models"
    figure, axes = chart(len(rows))
    bands(axes, [(name, each, BLUE) for name, each in rows], n)
    caption = f"Energy per sample and layer, {total['status']}: {said}. Dots: model {total['model']}."
    return Drawing(svg(figure, f"Energy per layer: {said}"), caption)


def energy_models(evaluation: Plain) -> Drawing:
    """Draw the total of every energy model, what is drawn whatever happens, and what other machines would take."""
    n = evaluation["samples"]
    rows = [(each["name"], each, BLUE) for each in evaluation["energy_models"]]
    rows += [(each["scope"], each, GREEN) for each in evaluation["static"]]
    rows += [(each["device"], each, ORANGE) for each in evaluation["baselines"]]
    figure, axes = chart(len(rows))
    bands(axes, rows, n)
    _name_beside(axes, rows, n)
    models = _reach(evaluation["energy_models"], n)
    said = f"models {models}, other machines {_reach(evaluation['baselines'], n)}"
    static = "static power (green), " if evaluation["static"] else ""
    caption = f"Energy per sample by model (blue), {static}the same network on other machines (orange): {said}."
    return Drawing(svg(figure, f"Energy models and baselines: {said}"), caption)


def activity(evaluation: Plain) -> Drawing:
    """Draw spikes and synaptic operations per sample of every layer."""
    n, layers = evaluation["samples"], evaluation["layers"]
    figure, axes = chart(2 * len(layers) + 0.5)
    at = range(len(layers))
    for shift, key, color in ((0.2, "synops", BLUE), (-0.2, "spikes", ORANGE)):
        values = [layer[key] / n for layer in layers]
        bars = axes.barh([y + shift for y in at], values, 0.36, color=color)
        axes.bar_label(bars, [f"{value:,.1f}" for value in values], padding=3, fontsize=TYPE_SIZE - 1)
    axes.set(yticks=at, yticklabels=[short(layer["name"]) for layer in layers], xscale="log")
    least = min((layer[key] / n for layer in layers for key in ("synops", "spikes") if layer[key]), default=1)
    most = max((layer[key] / n for layer in layers for key in ("synops", "spikes")), default=1)
    axes.set(xlim=(min(least, 1) / 2, max(most, 1) * 12), xlabel="per sample")
    axes.invert_yaxis()
    _plain_decades(axes)
    said = f"{evaluation['spikes'] / n:,.1f} spikes and {evaluation['synops'] / n:,.1f} synaptic operations per sample"
    caption = f"Synaptic operations (blue) and spikes (orange) of each layer: {said} in all, on a logarithmic axis."
    return Drawing(svg(figure, f"Activity per layer: {said}"), caption)


def _reach(energies: list[Plain], per: float) -> str:
    """Return the span of several values of energies."""
    least, most = (joule(end(each["value"] / per for each in energies)) for end in (min, max))
    return least if least == most else f"{least} to {most}"


def _name_beside(axes: Axes, rows: list[tuple[str, Plain, str]], per: float) -> None:
    """Put each line's name beside its dot, where there is more room, in place of names on the axis."""
    low, high = axes.get_xlim()
    for at, (name, energy, _) in enumerate(rows):
        left = (energy["value"] / per) ** 2 < low * high
        beside = (energy["high" if left else "low"] / per, at)
        offset, side = ((7, 0), "left") if left else ((-7, 0), "right")
        axes.annotate(short(name, 40), beside, offset, textcoords="offset points", ha=side, va="center")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _plain_decades(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.minorticks_off()
