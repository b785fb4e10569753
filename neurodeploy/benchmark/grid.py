"""What a benchmark runs: studies, read from TOML, and the jobs they unfold into.

    [[study]]
    dataset = "nmnist"
    rules = ["bptt", "eprop", "decolle"]
    archs = ["ff", "rec"]
    seeds = [0, 1, 2]
    experiments = ["fgsm", "nes", "cka", "fisher", "backdoor", "deployment"]
    train_samples = 1000                 # optional, as test_samples, epochs, steps, epsilons, poison_rates
    [study.options.eprop]                # optional: changes to a rule's own options
    rate = 0.001

    [cost]
    rules = ["bptt", "eprop"]
    steps = [10, 100, 1000]

A job is complete in itself: same job, same result, wherever it runs. Accuracy is measured of every trained network;
only a study of nothing but backdoors trains none on clean data.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import combinations
from math import inf
from pathlib import Path
from typing import Any

from neurodeploy import datasets
from neurodeploy.errors import Finding, LoadError, UsageError, raise_all
from neurodeploy.learning import RULES, training

EXPERIMENTS = ("fgsm", "nes", "cka", "fisher", "backdoor", "deployment")
EPSILONS = (0.001, 0.005, 0.01, 0.02, 0.05)
"""The paper's perturbations (Table IV)."""
POISON_RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The paper's (Table V)."""
PAPER_RULES = ("bptt", "eprop", "decolle")
COSTED_RULES = ("bptt", "fa", "dfa", "eprop", "decolle")
"""Rules whose memory can be measured: those that learn on any layers by gradients or three factors."""
COST_RECIPE = "nmnist"
"""The dataset whose neurons and options `learning.cost` takes."""
DECIDES: dict[str, tuple[str, ...]] = {
    "fgsm": ("epsilons", "attacked"),
    "nes": ("epsilons", "attacked"),
    "cka_attacked": ("epsilons", "attacked"),
    "fisher": ("attacked",),
    "deployment": (),
    "cka": (),
}
"""Kind of job that looks at trained networks -> the fields of its study that decide the result besides these."""


@dataclass(frozen=True)
class Study:
    """One dataset under every combination of rule, architecture and seed.

    Args:
        experiments: what is done with each trained network besides measuring its accuracy.
        conversion: also convert an ANN of each feed-forward architecture, for CKA against it.
        epochs, steps, train_samples, test_samples: None: the recipe's, the dataset's.
        attacked: test samples that attacks and Fisher information use; None: all.
        options: rule -> changes to its options.
    """

    dataset: str
    rules: tuple[str, ...] = PAPER_RULES
    archs: tuple[str, ...] = ("ff", "rec")
    seeds: tuple[int, ...] = (0,)
    experiments: tuple[str, ...] = EXPERIMENTS
    conversion: bool = False
    epochs: int | None = None
    steps: int | None = None
    train_samples: int | None = None
    test_samples: int | None = None
    attacked: int | None = 100
    epsilons: tuple[float, ...] = EPSILONS
    poison_rates: tuple[float, ...] = POISON_RATES
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """Memory and time against the number of steps, on random spikes."""

    rules: tuple[str, ...] = ()
    steps: tuple[int, ...] = (10, 25, 50, 100, 200, 400)
    arch: str = "120-84"
    inputs: int = 2312
    classes: int = 10
    batch: int = 16


@dataclass(frozen=True)
class Grid:
    """Everything one benchmark runs."""

    studies: tuple[Study, ...]
    cost: Cost = Cost()

    def jobs(self) -> Iterator[Job]:
        """Yield every distinct job once, those that need trained networks after those that train them.

        Raises:
            UsageError: ND075 for options that a rule has not.
        """
        jobs = [job for study in self.studies for job in _trainings(study)]
        jobs += [
            Job("cost", None, rule, self.cost.arch, 0, steps, cost=self.cost)
            for rule in self.cost.rules
            for steps in self.cost.steps
        ]
        jobs += [job for study in self.studies for job in _analyses(study)]
        yield from {job.id: job for job in jobs}.values()


@dataclass(frozen=True)
class Job:
    """One independent piece of work; `needs` are ids of the train jobs whose networks it looks at."""

    kind: str
    study: Study | None
    rule: str
    arch: str
    seed: int
    variant: float | None = None
    needs: tuple[str, ...] = ()
    cost: Cost | None = None

    @property
    def settings(self) -> training.Settings:
        """The training that this job is; a job that compares two networks has none."""
        study = self.study
        assert study is not None
        encoding = training.usual_encoding(self.rule, study.dataset)
        return training.settings(
            self.rule,
            study.dataset,
            arch=self.arch,
            epochs=study.epochs,
            seed=self.seed,
            encoding=encoding if study.steps is None else replace(encoding, steps=study.steps),
            train_samples=study.train_samples,
            test_samples=study.test_samples,
            options=study.options.get(self.rule),
        )

    @cached_property
    def id(self) -> str:
        """A readable name, ending in a digest of what decides the result and of nothing else.

        kind_dataset_rule_arch_sSEED[_variant]_digest
        """
        digest = hashlib.sha256(json.dumps(self._decides(), sort_keys=True).encode()).hexdigest()[:8]
        dataset = "random" if self.study is None else self.study.dataset
        variant = () if self.variant is None else (f"{self.variant:g}",)
        rule = self.rule.replace("|", "-vs-")
        arch = self.arch.replace("/", "by").replace(":", "pad")
        return "_".join((self.kind, dataset, rule, arch, f"s{self.seed}", *variant, digest))

    def _decides(self) -> list[Any]:
        """Return what decides the result: a training's settings, or the networks looked at and how, or the cost's."""
        if self.cost is not None:
            fixed = {key: value for key, value in asdict(self.cost).items() if key not in ("rules", "steps")}
            recipe = training.settings(self.rule, COST_RECIPE).to_plain()["recipe"]
            return [self.kind, self.rule, self.variant, fixed, recipe["neurons"], recipe["options"]]
        if self.kind in DECIDES:
            return [self.kind, self.needs, [getattr(self.study, key) for key in DECIDES[self.kind]]]
        return [self.kind, self.variant, self.settings.fingerprint]


def _rules(study: Study, arch: str) -> tuple[str, ...]:
    return (*study.rules, "convert") if study.conversion and arch == "ff" else study.rules


def _trainings(study: Study) -> Iterator[Job]:
    """Yield the jobs that train, on clean data and on poisoned."""
    clean = set(study.experiments) != {"backdoor"}
    rates = study.poison_rates if "backdoor" in study.experiments else ()
    for arch in study.archs:
        for seed in study.seeds:
            if clean:
                yield from (Job("train", study, rule, arch, seed) for rule in _rules(study, arch))
            for rule in study.rules:
                yield from (Job("backdoor", study, rule, arch, seed, rate) for rate in rates)


def _analyses(study: Study) -> Iterator[Job]:
    """Yield the jobs that look at trained networks: at one, and for CKA at every pair."""
    asked = {*study.experiments, *(("cka_attacked",) if "cka" in study.experiments else ())}
    kinds = [kind for kind in DECIDES if kind in asked and kind != "cka"]
    for arch in study.archs:
        for seed in study.seeds:
            trained = {rule: Job("train", study, rule, arch, seed).id for rule in _rules(study, arch)}
            for rule in study.rules:
                yield from (Job(kind, study, rule, arch, seed, needs=(trained[rule],)) for kind in kinds)
            if "cka" in study.experiments:
                for one, other in combinations(trained, 2):
                    yield Job("cka", study, f"{one}|{other}", arch, seed, needs=(trained[one], trained[other]))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", _is_text),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", _is_whole),
    "int | None": ("a whole number", _is_whole),
    "tuple[str, ...]": ("a list of texts", _list_of(_is_text)),
    "tuple[int, ...]": ("a list of whole numbers", _list_of(_is_whole)),
    "tuple[float, ...]": ("a list of numbers", _list_of(_is_number)),
    "dict[str, dict[str, Any]]": (
        "tables by rule, [study.options.RULE]",
        lambda value: isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()),
    ),
}
"""Type of a field of Study and Cost -> what TOML has to say for it."""
FROM_ONE: tuple[str, Callable[[float], bool]] = ("at least 1", lambda value: value >= 1)
RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "seeds": ("at least 0", lambda value: value >= 0),
    "epsilons": ("above 0 and finite", lambda value: 0 < value < inf),
    "poison_rates": ("from 0 to 1", lambda value: 0 <= value <= 1),
    **dict.fromkeys(("epochs", "steps", "train_samples", "test_samples", "attacked"), FROM_ONE),
    **dict.fromkeys(("inputs", "classes", "batch"), FROM_ONE),
}
"""Numeric field of Study and Cost -> its range."""


def read_grid(path: Path) -> Grid:
    """Return the grid in a TOML file.

    Raises:
        LoadError: ND090 when it cannot be read, or has other keys or values of other types than Study and Cost.
        UsageError: ND091 as `checked`.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(_unread(path, str(error))) from error
    unknown = set(plain) - {"study", "cost"}
    if unknown or not plain:
        raise LoadError(_unread(path, f"it has {', '.join(sorted(unknown)) or 'nothing'} in it"))
    if not isinstance(plain.get("study", []), list) or not isinstance(plain.get("cost", {}), dict):
        raise LoadError(_unread(path, "studies are [[study]] tables, the cost is one [cost] table"))
    studies = tuple(_build(Study, each, path) for each in plain.get("study", ()))
    return checked(Grid(studies, _build(Cost, plain.get("cost", {}), path)))


def checked(grid: Grid) -> Grid:
    """Return `grid` if every name in it is known and every number in its range.

    Raises:
        UsageError: ND091 with everything that is not.
    """
    findings = []
    for study in grid.studies:
        for key, names in (("rules", tuple(RULES)), ("options", tuple(RULES)), ("experiments", EXPERIMENTS)):
            findings += [_unknown(key, name, names) for name in getattr(study, key) if name not in names]
        if study.dataset not in datasets.NAMES:
            findings.append(_unknown("dataset", study.dataset, datasets.NAMES))
        findings += _out_of_range(study, "")
    for rule in grid.cost.rules:
        if rule not in RULES:
            findings.append(_unknown("cost.rules", rule, COSTED_RULES))
        elif rule not in COSTED_RULES:
            what, why = f"the cost of {rule} is not measured", "it needs a network of its own kind"
            findings.append(Finding("ND091", "cost.rules", what, why, f"use {', '.join(COSTED_RULES)}"))
    findings += _out_of_range(grid.cost, "cost.")
    raise_all(UsageError, findings)
    return grid


def _out_of_range(part: Study | Cost, prefix: str) -> Iterator[Finding]:
    for key, (wanted, fits) in RANGES.items():
        value = asdict(part).get(key)
        for each in value if isinstance(value, tuple) else () if value is None else (value,):
            if not fits(each):
                what = f"{prefix}{key} has {each}" if isinstance(value, tuple) else f"{prefix}{key} is {each}"
                yield Finding("ND091", prefix + key, what, f"it has to be {wanted}", "give a number in this range")


def _build(kind: type[Study] | type[Cost], plain: Any, path: Path) -> Any:
    """Return a Study or Cost of what TOML says, every value of the type of its field."""
    name = kind.__name__.lower()
    if not isinstance(plain, dict):
        raise LoadError(_unread(path, "studies are [[study]] tables, the cost is one [cost] table"))
    types = {each.name: str(each.type) for each in fields(kind)}
    if set(plain) - set(types):
        what = f"{name} has no {', '.join(sorted(set(plain) - set(types)))}"
        raise LoadError(_unread(path, f"{what}; it has {', '.join(sorted(types))}"))
    for key, value in plain.items():
        wanted, fits = TYPES[types[key]]
        if not fits(value):
            raise LoadError(_unread(path, f"{key} = {value!r} in a {name}; it has to be {wanted}"))
    if kind is Study and "dataset" not in plain:
        raise LoadError(_unread(path, "a study has no dataset"))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    return kind(**values)


def _unread(path: Path, why: str) -> Finding:
    return Finding(
        "ND090", str(path), "no benchmark grid can be read from it", why, "see neurodeploy/benchmark/grid.py"
    )


def _unknown(key: str, name: str, known: tuple[str, ...]) -> Finding:
    return Finding("ND091", key, f"{name!r} is not known", f"known are {', '.join(known)}", "use one of these")
