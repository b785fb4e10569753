"""A document as one page of HTML that needs nothing else, no network, script or font of its own; or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from neurodeploy.quantities import between, count, joule
from neurodeploy.report import energy_figures, figures, probing_figures, sample_figures, wording
from neurodeploy.report.charts import Drawing
from neurodeploy.report.drawing import style
from neurodeploy.summary import Plain

FOLDER = Path(__file__).parent
PHRASES = ("agreement", "band", "encoding", "exponent", "names", "percent", "place", "sentence", "shape",
           "side_by_side", "span_of_shares", "verdict", "words")  # fmt: skip
FILTERS = {name: getattr(wording, name) for name in PHRASES}
FILTERS |= {"between": between, "count": count, "joule": joule, "markup": lambda drawing: Markup(drawing.svg)}


def page(document: Plain) -> str:
    """Return the report that `gather.document` made, as HTML."""
    with style():
        drawn = [drawings(artifact) for artifact in document["artifacts"]]
        compared = figures.comparison(document["comparison"])
    artifacts = list(zip(document["artifacts"], drawn, strict=True))
    return _environment(autoescape=True).get_template("page.html").render(
        document=document, artifacts=artifacts, compared=compared, may_saturate=wording.MAY_SATURATE
    )  # fmt: skip


def text(document: Plain) -> str:
    """Return the same as Markdown, without pictures."""
    environment = _environment(finalize=lambda value: value.replace("|", "\\|") if isinstance(value, str) else value)
    return environment.get_template("page.md").render(document=document)


def _environment(**options: Any) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
    environment.filters.update(FILTERS)
    return environment


def drawings(artifact: Plain) -> dict[str, list[Drawing]]:
    """Return the figures of each section of one artefact; a section that is unavailable has none."""
    there = {name: section for name, section in artifact.items() if "unavailable" not in section}
    drawn: dict[str, list[Drawing]] = {
        "weights": [figures.weights(projection) for projection in artifact["weights"]],
        "cores": list(figures.chips(artifact["cores"])),
    }
    if "sample" in there:
        sample = there["sample"]
        drawn["input"] = list(sample_figures.entered(sample))
        drawn["spikes"] = [sample_figures.raster(layer, sample) for layer in sample["layers"]]
        drawn["membranes"] = [
            sample_figures.trace(sample, layer, traced) for layer in sample["layers"] for traced in layer["traces"]
        ]
    if "decisions" in there:
        drawn["decisions"] = [figures.confusion(there["decisions"])]
    if "evaluation" in there:
        evaluation = there["evaluation"]
        draws = (energy_figures.energy_of_layers, energy_figures.activity, energy_figures.energy_models)
        drawn["evaluation"] = [draw(evaluation) for draw in draws]
    if "learning" in there:
        drawn["learning"] = [figures.learning(there["learning"])]
    if "robustness" in there:
        measured = [attack for attack in there["robustness"]["attacks"] if "unavailable" not in attack]
        drawn["robustness"] = [probing_figures.robustness(attack) for attack in measured]
    for name, draw in (("cka", probing_figures.similarity), ("fisher", probing_figures.information)):
        found = there.get("representation", {}).get(name, {"unavailable": ""})
        drawn[name] = [] if "unavailable" in found else [draw(found)]
    return drawn
