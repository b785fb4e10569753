"""How was a NIR graph meant? Its readings, each run on labeled data, and the one that data and writer speak for.

A network decides best when it is read as it was trained, so every combination of the settings that the file leaves open
is a candidate: PyTorch runs it on all samples, and its right decisions are counted. On a hundred samples, accuracies
differ by chance. A candidate counts as good as the best unless an exact McNemar test rejects it: of the samples that
one of both alone decides rightly, each should have as many as a fair coin gives. Among those as good as the best, what
a recognized writer's neurons do by default goes first, then the higher accuracy, then the fewer departures from NIR's
own text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from neurodeploy import datasets
from neurodeploy.datasets import Encoding
from neurodeploy.errors import Finding, NeurodeployError, UnsupportedError, UsageError
from neurodeploy.evaluation.uncertainty import wilson
from neurodeploy.frontends.nir import network_of, repaired
from neurodeploy.frontends.nir_graph import Graph
from neurodeploy.frontends.nir_inferred import fingerprint
from neurodeploy.frontends.nir_semantics import (
    STYLES,
    Current,
    Discretization,
    Floor,
    Gain,
    Semantics,
    Setting,
    convention_at,
    left_open,
    stated,
    timed,
)
from neurodeploy.frontends.source import moments
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Firing, Reset
from neurodeploy.pipeline import Progress, Samples, read_data

SEARCHED: dict[str, tuple[Setting, ...]] = {
    "discretization": tuple(Discretization),
    "gain": (Gain.EQUATION, Gain.UNIT),  # and those of synaptic currents, where there are some
    "reset": (
        Reset.ZERO,
        Reset.ZERO_NEXT_STEP,
        Reset.SUBTRACT_AT_ONCE,
        Reset.SUBTRACT_NEXT_STEP,
        Reset.SUBTRACT,
    ),
    "firing": (Firing.ABOVE, Firing.MULTIPLE),
    "floor": tuple(Floor),
    "current": tuple(Current),
}
"""The values that are tried. Firing at the threshold rather than above it is not: data hardly tell them apart."""
STEPS_S = (1e-4, 1e-3)
"""The steps that are tried where nothing says how long one is: snnTorch's and SpikingJelly's, and everybody else's."""
CHANCE = 0.05
"""Significance of the test that tells a candidate from the best."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One reading and what came of it.

    Args:
        settings: all that are stated or searched, by name; those of a recognized writer hold besides.
        dt_s: the step, where it was stated or searched.
        right: bool (sample,).
        spikes_per_sample: of all populations.
        activity: a hash of every spike.
        style: whose default it is, among the writers that the file may be of.
        p: of the McNemar test against the best.
    """

    settings: dict[str, str]
    dt_s: float | None
    right: np.ndarray
    spikes_per_sample: float
    activity: str
    style: str | None = None
    p: float = 1.0

    @property
    def hits(self) -> int:
        return int(self.right.sum())

    @property
    def as_good(self) -> bool:
        """Whether only chance tells it from the best."""
        return self.p >= CHANCE


@dataclass(frozen=True, eq=False)
class Inference:
    """What was tried, best first, and what is chosen among it.

    Args:
        refused: (settings, why) of combinations that make no network.
    """

    file: str
    fingerprint: str
    samples: Samples
    encoding: dict | None
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    why: str
    refused: tuple[tuple[dict[str, str], str], ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return all of it as JSON values; `nir_inferred.read` finds in them what compile needs."""
        first: dict[str, int] = {}
        rows = []
        for place, each in enumerate(self.candidates):
            same = first.setdefault(each.activity, place)
            rows.append(_row(each) | {"same_spikes_as": None if same == place else same})
        return {
            "kind": "semantics of a NIR graph",
            "file": self.file,
            "sha256": self.fingerprint,
            "data": {
                "name": self.samples.name,
                "samples": self.samples.inputs.shape[1],
                "steps": self.samples.inputs.shape[0],
                "encoding": self.encoding,
            },
            "significance": CHANCE,
            "candidates": rows,
            "chosen": _row(self.chosen) | {"why": self.why},
            "refused": [{"settings": settings, "why": why} for settings, why in self.refused],
        }


def _row(candidate: Candidate) -> dict[str, Any]:
    hits, samples = candidate.hits, len(candidate.right)
    return {
        "settings": candidate.settings,
        "dt_s": candidate.dt_s,
        "accuracy": hits / samples,
        "interval_95": list(wilson(hits, samples)),
        "spikes_per_sample": candidate.spikes_per_sample,
        "style": candidate.style,
        "as_good_as_best": candidate.as_good,
        "p": candidate.p,
    }


def read_samples(
    model: str | Path, data: str | Path, encoding: Encoding | None, steps: int | None, limit: int | None
) -> tuple[Samples, Encoding | None]:
    """Return data as the NIR graph in `model` reads them, and how a dataset was encoded.

    Args:
        encoding: of a dataset by name, in place of its usual one; steps: of the usual one.

    Raises:
        LoadError: what `nir.repaired` and `read_data` refuse.
    """
    fitted = repaired(model)
    (entry,) = fitted.graph.of_kind("Input")
    if str(data) in datasets.NAMES and encoding is None:
        usual = datasets.default_encoding(str(data))
        encoding = usual if steps is None else replace(usual, steps=steps)
    plain = None if encoding is None else encoding.to_plain()
    return read_data(data, plain, fitted.made[entry], limit), encoding


def infer(
    model: str | Path,
    samples: Samples,
    *,
    dt: float | None = None,
    semantics: Mapping[str, str] | None = None,
    encoding: Encoding | None = None,
    progress: Progress | None = None,
) -> Inference:
    """Return how well each reading of the NIR graph in `model` decides `samples`, and which one is chosen.

    Args:
        samples: with labels.
        dt, semantics: what is known already, and is not searched.
        encoding: how the samples were made, to be told with the result.
        progress: called with (candidates done, candidates).

    Raises:
        LoadError: what `nir.repaired` refuses.
        UsageError: ND451 without labels, ND043, ND028.
        UnsupportedError: ND450 when no combination makes a network.
    """
    if samples.labels is None:
        why = "readings are compared by the decisions that they get right"
        raise UsageError(Finding("ND451", samples.name, "the data have no labels", why, "give data with labels"))
    fitted = repaired(model)
    fixed = stated(semantics or {})
    tried: list[Candidate] = []
    refused: list[tuple[dict[str, str], str]] = []
    space = _space(fitted.graph, dt, fixed)
    for done, (step, settings) in enumerate(space):
        words = {name: str(value) for name, value in (fixed | settings).items()}
        try:
            network = network_of(fitted, dt if step is None else step, words)
        except NeurodeployError as refusal:
            told = {**words, **({} if step is None else {"dt": f"{step:g}"})}
            refused.append((told, f"{refusal.findings[0].code}: {refusal.findings[0].what}"))
        else:
            _check_labels(network, samples)
            style = _style(fitted.graph, dt, fixed | settings)
            tried.append(replace(_run(network, samples, words), dt_s=dt if step is None else step, style=style))
        if progress:
            progress(done + 1, len(space))
    if not tried:
        what, fix = "none of its readings makes a network", "see what `neurodeploy inspect` says of it"
        raise UnsupportedError(Finding("ND450", fitted.graph.file, what, refused[0][1], fix))
    ranked = _ranked(tried)
    chosen, reason = choose(ranked)
    plain = None if encoding is None else encoding.to_plain()
    return Inference(
        fitted.graph.file, fingerprint(model), samples, plain, tuple(ranked), chosen, reason, tuple(refused)
    )


def _space(graph: Graph, dt: float | None, fixed: dict[str, Setting]) -> list[tuple[float | None, dict[str, Setting]]]:
    """Return the combinations that are tried: a step, where that is open too, and settings."""
    convention = convention_at(graph, dt)
    known: Mapping[str, Setting] = {} if convention is None else convention.known
    searched = SEARCHED | ({"gain": tuple(Gain)} if graph.of_kind("CubaLIF") else {})
    opened = [name for name in SEARCHED if name in {*left_open(graph), "gain"} and name not in {*fixed, *known}]
    steps: tuple[float | None, ...] = STEPS_S if dt is None and convention is None and timed(graph) else (None,)
    choices: list[dict[str, Setting]] = [
        dict(zip(opened, each, strict=True)) for each in product(*(searched[name] for name in opened))
    ]
    for style in _styles(graph, dt).values():
        own = {name: style.get(name, SEARCHED[name][0]) for name in opened}
        if own not in choices:
            choices.append(own)
    return [(step, each) for step in steps for each in choices if _possible(fixed | each)]


def _possible(settings: Mapping[str, Setting]) -> bool:
    """Say whether settings go together: snnTorch's undelayed subtraction is of neurons that fire once."""
    return settings.get("reset") is not Reset.SUBTRACT or settings.get("firing", Firing.ABOVE) is Firing.ABOVE


def _styles(graph: Graph, dt: float | None) -> dict[str, dict[str, Setting]]:
    """Return what the neurons of those writers do that a graph may be of."""
    convention = convention_at(graph, dt)
    names = [] if convention is None else convention.writer.split(", ")
    return {name: STYLES[name] for name in names if name in STYLES}


def _style(graph: Graph, dt: float | None, settings: dict[str, Setting]) -> str | None:
    """Return the writers whose default `settings` are, joined by commas, or None."""
    usual = {**asdict(Semantics()), **settings}
    names = [name for name, style in _styles(graph, dt).items() if all(usual[key] == style[key] for key in style)]
    return ", ".join(names) or None


def _check_labels(network: Network, samples: Samples) -> None:
    outputs, labels = network.populations[network.output].size, samples.labels
    if labels is not None and not 0 <= labels.min(initial=0) <= labels.max(initial=0) < outputs:
        what, why = f"labels reach {int(labels.max())}", f"the graph has {outputs} outputs, numbered from 0"
        raise UsageError(Finding("ND412", "labels", what, why, "renumber the labels from 0"))


def _run(network: Network, samples: Samples, words: dict[str, str]) -> Candidate:
    """Run one reading on all samples; only counts are kept of what every neuron did, or sums of what it sent."""
    count = samples.inputs.shape[1]
    counts = np.zeros((count, network.populations[network.output].size))
    total, seen = 0, hashlib.sha256()
    for moment in moments(network, samples.inputs):
        for name, node in network.populations.items():
            sent = moment.activity[name]
            total += 0 if node.firing is Firing.VALUE else int(sent.sum())  # a NIR graph tells no changes
            seen.update(np.packbits(sent > 0).tobytes() + sent[(sent != 0) & (sent != 1)].tobytes())
        counts[moment.samples] += moment.activity[network.output].reshape(-1, counts.shape[1])
    return Candidate(words, None, counts.argmax(axis=1) == samples.labels, total / count, seen.hexdigest())


def _ranked(tried: list[Candidate]) -> list[Candidate]:
    """Return candidates, the best first and equals in the order of the search, each tested against the best."""
    ranked = sorted(tried, key=lambda each: -each.hits)
    return [replace(each, p=mcnemar(ranked[0].right, each.right)) for each in ranked]


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Return the two-sided p of the exact McNemar test that two deciders are right equally often, bool (sample,) each.

    Source: Q. McNemar, Psychometrika 12 (1947) 153-157; exact, as a binomial test on the discordant samples.
    """
    first, second = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    return float(binomtest(first, first + second).pvalue) if first + second else 1.0


def choose(ranked: list[Candidate]) -> tuple[Candidate, str]:
    """Return the reading that is chosen of candidates ranked by accuracy, and why in words."""
    best = ranked[0]
    good = [each for each in ranked if each.as_good]
    own = [each for each in good if each.style is not None]
    if own and own[0].hits < best.hits:
        more = best.hits - own[0].hits
        chance = f"another is right on {more} more, which is chance, p = {own[0].p:.2g}"
        return own[0], f"{own[0].style} does so by default; {chance}"
    if own:
        return own[0], f"{own[0].style} does so by default, and nothing is right on more"
    equals = [each for each in good if each.hits == best.hits]
    chosen = min(equals, key=_departures)
    if len(good) == 1:
        return chosen, "better than every other, beyond chance"
    return chosen, f"of {len(good)} that these data do not tell apart: the highest accuracy, and nearest NIR's own text"


def _departures(candidate: Candidate) -> int:
    """Return how many settings differ from NIR's own text."""
    usual = {name: str(value) for name, value in asdict(Semantics()).items()}
    return sum(usual[name] != value for name, value in candidate.settings.items())
