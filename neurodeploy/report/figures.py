"""Figures of what an artefact is: weights, decisions, cores, how it learned, and artefacts side by side."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

from neurodeploy.quantities import count, joule
from neurodeploy.report import wording
from neurodeploy.report.charts import Drawing, bands, chart, grid, short
from neurodeploy.report.drawing import BLUE, INK, ORANGE, SERIES, TYPE_SIZE, WIDTH, blank, faded, svg
from neurodeploy.summary import Plain

NUMBERED_CLASSES = 12
"""Confusions of more classes are colors alone."""
FAINTEST = 0.25
"""Opacity of a count of 1, so that a single error is seen."""
CHIPS_DRAWN = 6


def weights(projection: Plain) -> Drawing:
    """Draw one projection's weights as meant, filled, and as the program holds them, as a line."""
    figure, (axes,) = blank(150)
    axes.stairs(projection["before"], projection["edges"], fill=True, color=ORANGE, alpha=0.35)
    axes.stairs(projection["after"], projection["edges"], color=BLUE, linewidth=1.4)
    axes.set(xlabel="weight", ylabel="synapses", title=f"{short(projection['name'], 30)} into {projection['to']}")
    mean = "" if projection["mean_error"] is None else f", on average {projection['mean_error']:.2g}"
    said = f"{projection['weights']:,} weights, moved by at most {projection['largest_error']:.2g}{mean}"
    caption = f"{projection['name']}: {said}; {projection['distinct_after']:,} different values remain."
    return Drawing(svg(figure, f"Weights of {projection['name']}: {said}"), caption)


def confusion(decisions: Plain) -> Drawing:
    """Draw which class was taken for which, the diagonal in another color than the errors."""
    counts, classes = decisions["confusion"], decisions["classes"]
    figure, (axes,) = blank(WIDTH - 30)
    cells = [[_cell(counts, label, answer) for answer in range(classes)] for label in range(classes)]
    axes.imshow(cells, interpolation="none")
    axes.set(xlabel="answer", ylabel="label")
    axes.spines[:].set_visible(False)
    if classes <= NUMBERED_CLASSES:
        axes.set(xticks=range(classes), yticks=range(classes))
        axes.tick_params(length=0)
        for label, row in enumerate(counts):
            for answer, number in enumerate(row):
                if number:
                    axes.text(answer, label, f"{number}", ha="center", va="center", fontsize=TYPE_SIZE - 1)
    wrong = decisions["samples"] - decisions["program"]["hits"]
    said = f"{decisions['program']['hits']:,} of {decisions['samples']:,} right, {wrong:,} wrong"
    errors = [(row[answer], label, answer) for label, row in enumerate(counts) for answer in range(classes)]
    times, label, answer = max((each for each in errors if each[1] != each[2]), default=(0, 0, 0))
    often = f"; most often {label} was taken for {answer}, {times:,} times" if times > 1 else ""
    return Drawing(svg(figure, f"Confusion of classes: {said}"), f"Labels against answers: {said}{often}.")


def _cell(counts: list[list[int]], label: int, answer: int) -> tuple[float, ...]:
    """Return a color whose opacity is the share of the label's samples that got this answer."""
    number = counts[label][answer]
    share = number / max(sum(counts[label]), 1)
    opacity = FAINTEST + (0.8 - FAINTEST) * share if number else 0.0
    return faded(BLUE if label == answer else ORANGE, opacity)


def chips(cores: Plain) -> list[Drawing]:
    """Draw every used chip as a grid of cores, each filled as high as its fullest resource, in its layer's color."""
    layers = list(dict.fromkeys(core["population"] for core in cores["cores"]))
    colors = {name: SERIES[at % len(SERIES)] for at, name in enumerate(layers)}
    return [_chip(cores, chip, colors) for chip in range(min(cores["chips"], CHIPS_DRAWN))]


def _chip(cores: Plain, chip: int, colors: dict[str, str]) -> Drawing:
    size = cores["cores_per_chip"]
    columns = min(size, ceil(sqrt(3 * size)))
    rows = ceil(size / columns)
    here = [core for core in cores["cores"] if core["chip"] == chip]
    cell = WIDTH / columns
    figure, (axes,) = blank(rows * cell + 50)
    places = [(at % columns, at // columns) for at in range(size)]
    outline: Any = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.5, "alpha": 0.35}
    axes.bar([x for x, _ in places], 0.84, 0.84, [y - 0.42 for _, y in places], **outline)
    for core in here:
        x, y = places[core["seat"]]
        axes.bar(x, -0.84 * core["share"], 0.84, y + 0.42, color=colors[core["population"]])
        axes.bar(x, 0.84, 0.84, y - 0.42, facecolor="none", edgecolor=colors[core["population"]], linewidth=1.2)
        size_of_type = min(TYPE_SIZE - 1, 0.42 * cell)
        axes.text(x, y - 0.06, f"{core['core']}", ha="center", va="center", fontsize=size_of_type)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal", title=f"chip {chip}")
    axes.set_axis_off()
    named = {name: colors[name] for name in dict.fromkeys(core["population"] for core in here)}
    for name, color in list(named.items())[: len(SERIES)]:
        axes.bar(0, 0, 0, color=color, label=short(name))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=len(SERIES), handlelength=0.8, columnspacing=1)
    fullest = max(here, key=lambda core: core["share"])
    said = f"{len(here)} of {count(size, 'core')} used"
    what = f"{fullest['share']:.0%} of its {wording.words(fullest['fullest'])}"
    full = f"core {fullest['core']} ({fullest['population']}), uses {what}"
    more = cores["chips"] - CHIPS_DRAWN
    rest = f" {count(more, 'more chip')} not drawn; the table has all." if more > 0 and chip == CHIPS_DRAWN - 1 else ""
    return Drawing(svg(figure, f"Chip {chip}: {said}"), f"Chip {chip}: {said}; the fullest, {full}.{rest}")


def learning(record: Plain) -> Drawing:
    """Draw test accuracy after each epoch, and accuracy while taught where labels are heard."""
    curve = record["curve"]
    figure, (axes,) = blank(190)
    epochs = [row["epoch"] for row in curve]
    if all(row["accuracy"] is not None for row in curve):
        taught = [100 * row["accuracy"] for row in curve]
        axes.plot(epochs, taught, "s--", color=ORANGE, markersize=4, label="while taught")
    axes.plot(epochs, [100 * row["test_accuracy"] for row in curve], "o-", color=BLUE, markersize=4, label="test")
    axes.set(xlabel="epoch", ylabel="accuracy (%)", xticks=_ticks(epochs))
    axes.legend(loc="lower right")
    grid(axes, "y")
    before, after = (wording.percent(record[f"accuracy_{when}"]) for when in ("before", "after"))
    said = f"{before} before, {after} after {count(record['epochs'], 'epoch')}"
    caption = f"Learned by {record['rule']} on {record['data']}; as deployed {said}."
    return Drawing(svg(figure, f"Learning curve: {said}"), caption)


def comparison(rows: list[Plain]) -> list[Drawing]:
    """Draw what artefacts are compared by, of those in which it was measured: accuracy, and energy per sample."""
    drawn = []
    scored = [(row["name"], row["accuracy"]) for row in rows if "value" in row["accuracy"]]
    if len(scored) > 1:
        figure, axes = chart(len(scored))
        for at, (_, share) in enumerate(scored):
            low, high = share["interval_95"]
            axes.plot([100 * low, 100 * high], [at, at], color=BLUE, linewidth=2)
            axes.plot(100 * share["value"], at, "o", color=BLUE, markersize=7)
        axes.set(xlabel="accuracy (%)", yticks=range(len(scored)), yticklabels=[short(name) for name, _ in scored])
        axes.set_ylim(len(scored) - 0.5, -0.5)
        grid(axes, "x")
        said = ", ".join(f"{name} {wording.percent(share['value'])}" for name, share in scored)
        drawn.append(Drawing(svg(figure, f"Accuracy: {said}"), f"Accuracy with its 95% interval: {said}."))
    priced = [(row["name"], row["energy_j_per_sample"], BLUE) for row in rows if "value" in row["energy_j_per_sample"]]
    if len(priced) > 1:
        figure, axes = chart(len(priced))
        bands(axes, priced, 1)
        said = ", ".join(f"{name} {joule(each['value'])}" for name, each, _ in priced)
        drawn.append(Drawing(svg(figure, f"Energy: {said}"), f"Energy per sample with its band, estimated: {said}."))
    return drawn


def _ticks(epochs: list[int]) -> list[int]:
    """Return at most eight of the epochs, evenly."""
    return epochs[:: ceil(len(epochs) / 8)]
