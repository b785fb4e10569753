"""What attacks and measures of representation found, of the source and of what is deployed."""

from __future__ import annotations

from neurodeploy.quantities import count
from neurodeploy.report import wording
from neurodeploy.report.charts import Drawing, bars, chart, grid
from neurodeploy.report.drawing import BLUE, ORANGE, blank, svg
from neurodeploy.summary import Plain


def robustness(attack: Plain) -> Drawing:
    """Draw accuracy against the size of one attack, of the source and of what is deployed, with 95 % intervals."""
    figure, (axes,) = blank(190)
    for who, style, color in (("source", "s--", ORANGE), ("deployed", "o-", BLUE)):
        known = [point for point in attack[who] if point["accuracy"] is not None]
        epsilons = [point["epsilon"] for point in known]
        axes.plot(epsilons, [100 * point["accuracy"] for point in known], style, color=color, markersize=4, label=who)
        low, high = ([100 * point[end] for point in known] for end in ("low", "high"))
        axes.fill_between(epsilons, low, high, color=color, alpha=0.15, linewidth=0)
    where = f"{wording.words(attack['name'])}, of the {attack['perturbs']}"
    axes.set(xlabel="ε", ylabel="accuracy (%)", ylim=(0, 102), title=where)
    axes.legend(loc="lower left")
    grid(axes, "y")
    said = "; ".join(
        f"ε {one['epsilon']:g}: {wording.percent(one['accuracy'], 0)} and {wording.percent(other['accuracy'], 0)}"
        for one, other in zip(attack["source"], attack["deployed"], strict=True)
    )
    n = count(attack["source"][0]["n"], "sample")
    return Drawing(
        svg(figure, f"{where}: {said}"), f"{wording.sentence(attack['what'])}. Source and deployed, {n}, {said}."
    )


def similarity(layers: list[Plain]) -> Drawing:
    """Draw CKA of source and program per layer; a layer without one says so."""
    known = [layer for layer in layers if layer["cka"] is not None]
    said = ", ".join(f"{layer['layer']} {layer['cka']:.3f}" for layer in known) or "none could be measured"
    figure, axes = chart(len(layers))
    bars(axes, [(layer["layer"], [layer["cka"]]) for layer in layers], "CKA", 1.0)
    return Drawing(
        svg(figure, f"Similarity of representations: {said}"), f"CKA of source and program by layer: {said}."
    )


def information(tensors: list[Plain]) -> Drawing:
    """Draw each tensor's share of the Fisher information, of the source and of what is deployed."""
    kind = "expected_" if any(tensor["share"] is None for tensor in tensors) else ""
    shares = [(tensor["tensor"], [tensor[f"{who}{kind}share"] for who in ("", "deployed_")]) for tensor in tensors]
    said = ", ".join(f"{name} {' and '.join(wording.percent(share, 1) for share in each)}" for name, each in shares)
    figure, axes = chart(1.7 * len(tensors))
    bars(axes, shares, "share of information", None)
    caption = f"Share of the Fisher information, source (orange) and deployed (blue): {said}."
    return Drawing(svg(figure, f"Fisher information: {said}"), caption)
