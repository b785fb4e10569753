"""Do decisions hold under attack before and after deployment? The float source and the program meet the same input.

An attack perturbs images, or the input of every step (`benchmark.perturbable`), and says which. Gradients are the
source's: of its counterpart without spikes, and of surrogates through time. A search in the black box (NES) asks only
for spike counts, of the source or of the program itself. Random signs of the same size are the control.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from neurodeploy.artifact import CompiledModel
from neurodeploy.benchmark.perturbable import Place, Run, fired, fired_by_source, image_place, input_place
from neurodeploy.errors import Finding, NeurodeployError, UsageError
from neurodeploy.evaluation import attacks, backdoor
from neurodeploy.evaluation.counterpart import ann_counterpart
from neurodeploy.evaluation.uncertainty import Proportion
from neurodeploy.learning.probing import Probe
from neurodeploy.learning.training import on_device
from neurodeploy.pipeline import Samples
from neurodeploy.results import decide
from neurodeploy.summary import of_absence

Plain = dict[str, Any]
Progress = Callable[[str, int, int], None]
Slopes = dict[str, "tuple[np.ndarray, Plain] | NeurodeployError"]
"""By attack, a gradient by the input and what is to be said of it, or why there is none."""
Value = TypeVar("Value")

EPSILONS = (0.02, 0.05, 0.1)
"""Perturbations, in units of the input, whose pixels lie in [0, 1]."""
ATTACKED = 100
"""Samples attacked."""
SEARCHED = 20
"""Samples attacked by NES, which asks for 2 x samples x iterations decisions of each."""
NES = {"sigma": 0.1, "samples": 10, "iterations": 4}
"""Reach of a query, directions per estimate, estimates per attack."""
PLANTED = 500
"""Samples on which a trigger is tried."""
GAIN = 0.5
"""On spike counts, or sums of values, before the softmax, as in `learning.probing`."""
ATTACKS = {
    "fgsm_counterpart": "fast gradient sign method, by the gradient of the network's counterpart without spikes",
    "fgsm_surrogate": "fast gradient sign method, by the source's surrogate gradient through time",
    "noise": "random signs of the same size: the control",
    "nes_source": "black box: a gradient estimated from what the source's output sends",
    "nes_deployed": "black box: a gradient estimated from what the deployed program's output sends",
}


@on_device("cpu")
def robustness(
    model: CompiledModel,
    samples: Samples,
    *,
    epsilons: Iterable[float] = EPSILONS,
    attacked: int = ATTACKED,
    searched: int = SEARCHED,
    planted: int = PLANTED,
    seed: int = 0,
    progress: Progress | None = None,
) -> Plain:
    """Return the accuracy of the source and of the deployed program under every attack, as JSON values.

    Args:
        epsilons: perturbations in units of the input; 0, no perturbation, is always measured as well, first.
        attacked: how many samples, the first ones; searched, planted: the same for NES and for the backdoor.
        seed: of noise, search and trigger.
        progress: called with what is done, how much of it, and of how much.

    Returns:
        "attacks", each with "source" and "deployed", one entry per epsilon with its 95 % interval, or "unavailable" and
        "fix"; "backdoor"; "image" and "input" say how either place reached the program.

    Raises:
        UsageError: ND431 for epsilons that are negative or not finite, and for numbers of samples below 1.
    """
    start, sizes = perf_counter(), sorted({0.0, *map(float, epsilons)})
    attacks.check_sizes(**{f"epsilon {at}": size for at, size in enumerate(sizes)})
    attacks.check_counts(1, attacked=attacked, searched=searched, planted=planted)
    few = _first(samples, attacked)
    places: dict[str, Place | NeurodeployError] = {
        "image": _or_error(partial(image_place, model, few)),
        "input": _or_error(partial(input_place, model, few, max(sizes))),
    }
    slopes: Slopes = {
        "fgsm_counterpart": _or_error(partial(_counterpart_slope, model, few)),
        "fgsm_surrogate": _or_error(partial(_surrogate_slope, model, few)),
    }
    searches = "input" if isinstance(places["image"], NeurodeployError) else "image"
    rounds = [(name, where) for where in places for name in ATTACKS if not name.startswith("nes") or where == searches]
    found = []
    for at, (name, where) in enumerate(rounds):
        if progress:
            progress("attacks", at, len(rounds))
        said = {"name": name, "what": ATTACKS[name], "perturbs": where}
        found.append(
            said | _outcome(name, places[where], slopes, partial(labels_of, model, few), sizes, searched, seed)
        )
    trigger = _backdoor(model, _first(samples, planted), seed)
    if progress:
        progress("attacks", len(rounds), len(rounds))
    return {
        "epsilons": sizes,
        "samples": few.inputs.shape[1],
        **{name: _says(place) for name, place in places.items()},
        "attacks": found,
        "backdoor": trigger,
        "seed": seed,
        "seconds": perf_counter() - start,
    }


def _outcome(
    name: str,
    place: Place | NeurodeployError,
    slopes: Slopes,
    labels: Callable[[], np.ndarray],
    epsilons: list[float],
    searched: int,
    seed: int,
) -> Plain:
    """Return what one attack does at one place, or why it cannot be made."""
    try:
        entered, known = _given(place), labels()
        attack, more = _attack(name, entered, slopes, seed)
        return more | _measured(entered, attack, known[: searched if "queries" in more else None], epsilons)
    except NeurodeployError as error:
        return of_absence(error)


def labels_of(model: CompiledModel, samples: Samples) -> np.ndarray:
    """Return the labels of `samples`, each an output neuron.

    Raises:
        UsageError: ND441 when there are none, or one is no output neuron.
    """
    outputs = model.program.population(model.program.output).size
    if samples.labels is None:
        raise _unlabeled("the samples have no labels", "without the right answer no decision is wrong")
    if samples.labels.max(initial=0) >= outputs:
        raise _unlabeled(f"labels reach {samples.labels.max()}", f"the model has {outputs} outputs, numbered from 0")
    return samples.labels


def _counterpart_slope(model: CompiledModel, samples: Samples) -> tuple[np.ndarray, Plain]:
    """Return the gradient by the input through the mean frame, and how well the counterpart itself decides."""
    labels, counterpart = labels_of(model, samples), ann_counterpart(model.source)
    mean = samples.inputs.mean(axis=0, dtype=np.float64)
    own = float(np.mean(counterpart.logits(mean).argmax(1) == labels))
    return attacks.through_mean_frame(counterpart.gradient)(samples.inputs, labels), {"counterpart_accuracy": own}


def _surrogate_slope(model: CompiledModel, samples: Samples) -> tuple[np.ndarray, Plain]:
    return Probe(model.source, gain=GAIN).gradient(samples.inputs, labels_of(model, samples)), {}


def _attack(name: str, place: Place, slopes: Slopes, seed: int) -> tuple[attacks.Attack, Plain]:
    """Return an attack at `place`, and what is to be said of it."""
    low, high = place.low, place.high
    if name.startswith("nes"):
        loss = partial(loss_of_counts, place.source if name == "nes_source" else place.deployed)
        queries = 2 * int(NES["samples"]) * int(NES["iterations"])

        def search(x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
            if not epsilon:
                return x
            return attacks.nes(x, y, loss, epsilon, step=epsilon / 4, seed=seed, low=low, high=high, **NES).inputs  # type: ignore[arg-type]

        return search, {"queries": queries}
    more: Plain = {}
    if name == "noise":
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), place.clean.shape[1:])
        direction = np.broadcast_to(signs, place.clean.shape)
    else:
        slope, more = _given(slopes[name])
        direction = place.slope(slope)
    return lambda x, y, e: attacks.fgsm(x, y, lambda *_: direction, e, low=low, high=high), more


def _measured(place: Place, attack: attacks.Attack, labels: np.ndarray, epsilons: list[float]) -> Plain:
    """Return how source and program decide under an attack of the first samples, as many as there are labels."""
    clean = place.clean[:, : len(labels)]
    found: dict[str, list[Plain]] = {"source": [], "deployed": []}
    for epsilon in epsilons:
        perturbed = attack(clean, labels, epsilon)
        unchanged = int(np.sum(~np.any(perturbed != clean, axis=(0, *range(2, clean.ndim)))))
        for who, run in (("source", place.source), ("deployed", place.deployed)):
            decided = decide(run(perturbed)) if epsilon else place.unperturbed[who][: len(labels)]
            right = Proportion(int(np.sum(decided == labels)), len(labels))
            found[who].append({"epsilon": epsilon, **_share(right), "unchanged": unchanged})
    return {"samples": len(labels), **found}


def loss_of_counts(run: Run, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy (sample,) of the softmax of `GAIN` times what the output sends."""
    fired = run(inputs)
    scores = GAIN * fired.sum(axis=0, dtype=np.float64).reshape(len(labels), -1)
    beyond = scores - scores[np.arange(len(labels)), labels][:, np.newaxis]
    return np.logaddexp.reduce(beyond, axis=1)


def _backdoor(model: CompiledModel, samples: Samples, seed: int) -> Plain:
    """Return what a trigger does to source and artefact, drawn as the benchmark's poisoned training draws its own."""
    try:
        labels, outputs = labels_of(model, samples), model.program.population(model.program.output).size
        trigger = backdoor.draw_trigger(model.program.input.shape, outputs, seed)
        runs: dict[str, Run] = {"source": partial(fired_by_source, model), "deployed": partial(fired, model)}
        found = {
            who: backdoor.measure(lambda x, run=run: decide(run(x)), samples.inputs, labels, trigger)  # type: ignore[misc]
            for who, run in runs.items()
        }
    except NeurodeployError as error:
        return of_absence(error)
    return {
        "seed": seed,
        "says": f"trigger and classes are those of the benchmark's poisoned training of seed {seed}. Of a network that "
        "was trained so, success is the attack's; any other has no backdoor, and this is the control",
        "positions": [list(position) for position in trigger.positions],
        "value": trigger.value,
        "source_class": trigger.source,
        "target_class": trigger.target,
        **{
            who: {part: _share(getattr(each, part)) for part in ("clean", "stamped", "success", "confused")}
            for who, each in found.items()
        },
    }


def _share(proportion: Proportion) -> Plain:
    """Return a share with its 95 % interval, each None when there are no samples to count."""
    if not proportion.n:
        return {"accuracy": None, "low": None, "high": None, "n": 0}
    low, high = proportion.interval
    return {"accuracy": proportion.value, "low": low, "high": high, "n": proportion.n}


def _first(samples: Samples, count: int) -> Samples:
    labels = None if samples.labels is None else samples.labels[:count]
    return replace(samples, inputs=samples.inputs[:, :count], labels=labels)


def _or_error(make: Callable[[], Value]) -> Value | NeurodeployError:
    """Return what `make` makes, or why it cannot: a refusal stops what needs it, and nothing else."""
    try:
        return make()
    except NeurodeployError as error:
        return error


def _given(value: Value | NeurodeployError) -> Value:
    if isinstance(value, NeurodeployError):
        raise value
    return value


def _says(place: Place | NeurodeployError) -> str | Plain:
    return of_absence(place) if isinstance(place, NeurodeployError) else place.says


def _unlabeled(what: str, why: str) -> UsageError:
    return UsageError(Finding("ND441", "labels", what, why, "give samples with labels that are output neurons"))
