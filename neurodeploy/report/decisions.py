"""How often is it right, and what does it take for what? Accuracy with its interval, and the confusion of classes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from neurodeploy.artifact import CompiledModel
from neurodeploy.evaluation.uncertainty import Proportion
from neurodeploy.pipeline import Samples
from neurodeploy.results import RunResult
from neurodeploy.summary import Plain


def of(
    model: CompiledModel, samples: Samples, result: RunResult, progress: Callable[[int, int], None] | None = None
) -> Plain:
    """Return the accuracy of `result` on `samples`, of the source on the same, and every class against every answer.

    `confusion` counts samples, (label, answer); a class that no sample is of has no recall.
    """
    if samples.labels is None:
        fix = "give data with labels: an .npz with `labels` (sample,)"
        return {"unavailable": f"{samples.name} has no labels", "fix": fix}
    source = import_module("neurodeploy.frontends.source").run_source(model.source, samples.inputs, progress=progress)
    classes = model.program.population(model.program.output).size
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (samples.labels, result.predictions), 1)
    return {
        "samples": len(samples.labels),
        "classes": classes,
        "program": _share(result.predictions == samples.labels),
        "source": _share(source.predictions == samples.labels),
        "same_decision": _share(source.predictions == result.predictions),
        "confusion": confusion.tolist(),
        "by_class": [_class(confusion, label) for label in range(classes)],
    }


def _share(right: np.ndarray) -> Plain:
    share = Proportion(int(np.count_nonzero(right)), len(right))
    return {"hits": share.hits, "value": share.value, "interval_95": list(share.interval)}


def _class(confusion: np.ndarray, label: int) -> Plain:
    """Return how many samples are of a class, how many of them are found, and how many answers that name it are right.

    A share of nothing is None.
    """
    hits, of_class, answers = (
        int(n) for n in (confusion[label, label], confusion[label].sum(), confusion[:, label].sum())
    )
    return {
        "class": label,
        "samples": of_class,
        "recall": hits / of_class if of_class else None,
        "precision": hits / answers if answers else None,
    }
