"""How far the energy models were off where hardware was measured and its events were counted.

The points lie in `hardware_profiles/validation/points.toml`. A prediction is a profile's energy models asked about the
events of a reading; where a source can be read in two ways, its ratio spans both. Points whose events were not
published have no prediction: what was measured is listed all the same.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from neurodeploy.evaluation.activity import Layer
from neurodeploy.evaluation.energy import by_model
from neurodeploy.evaluation.traffic import Messages
from neurodeploy.hardware import FOLDERS, HardwareProfile


@dataclass(frozen=True)
class Prediction:
    """What one energy model says of a point, in joule over its readings, and as a ratio of what was measured."""

    model: str
    joule: tuple[float, float]
    ratio: tuple[float, float]


@dataclass(frozen=True)
class Point:
    """One measurement.

    Args:
        joule: measured.
        factor: how far the default model may be off; None where nothing is predicted.
        predictions: one for each energy model, the default one first.
        readings: how the events were counted, in words.
    """

    id: str
    network: str
    joule: float
    factor: float | None
    predictions: tuple[Prediction, ...]
    readings: tuple[str, ...]
    source: str


def points(profile: HardwareProfile) -> list[Point]:
    """Return every point measured on a profile's hardware, or on that of the profile it extends."""
    path = next(folder / "validation" / "points.toml" for folder in FOLDERS if (folder / "validation").is_dir())
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["point"]
    names = {profile.id, profile.extends}
    return [_point(table, profile) for table in tables if names & set(table["hardware"])]


def _point(table: dict[str, Any], profile: HardwareProfile) -> Point:
    measured, readings = table["measured"], table.get("reading", [])
    joule = measured.get("joule") or measured["watt"] * measured["seconds"]
    figures = [
        by_model(_layer(reading), Messages(reading.get("messages", 0)), profile, reading.get("input_spikes", 0))
        for reading in readings
    ]
    names = sorted(figures[0], key=lambda name: name != profile.energy_model()) if figures else []
    predictions = []
    for name in names:
        spread = sorted(figure[name].joule for figure in figures)
        predictions.append(Prediction(name, (spread[0], spread[-1]), (spread[0] / joule, spread[-1] / joule)))
    said = tuple(reading["what"] for reading in readings)
    return Point(table["id"], table["network"], joule, table.get("factor"), tuple(predictions), said, table["source"])


def _layer(reading: dict[str, Any]) -> Layer:
    updates = reading.get("neuron_updates", 0)
    spikes, synops = reading.get("spikes", 0), reading.get("synops", {})
    rows, active = reading.get("rows", 0), reading.get("active_updates", 0)
    return Layer("all", 0, spikes, synops, updates, 0.0, rows, active)
