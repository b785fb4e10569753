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

A job is complete in itself: same job, same result, wherever it runs. Accuracy is always measured.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from neurodeploy import datasets
from neurodeploy.errors import Finding, LoadError, UsageError
from neurodeploy.learning import RULES

EXPERIMENTS = ("fgsm", "nes", "cka", "fisher", "backdoor", "deployment")
EPSILONS = (0.001, 0.005, 0.01, 0.02, 0.05)
"""The paper's perturbations (Table IV)."""
POISON_RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The paper's (Table V)."""
PAPER_RULES = ("bptt", "eprop", "decolle")


@dataclass(frozen=True)
class Study:
    """One dataset under every combination of rule, architecture and seed.

    Args:
        experiments: what is done with each trained network besides measuring its accuracy.
        conversion: also convert an ANN of each feed-forward architecture, for CKA against it.
        epochs, steps, train_samples, test_samples: None: the recipe's, the dataset's.
        attacked: test samples that attacks, CKA and Fisher information use; None: all.
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
        """Yield every job, those that need trained networks after those that train them."""
        later: list[Job] = []
        for study in self.studies:
            for arch in study.archs:
                rules = (*study.rules, "convert") if study.conversion and arch == "ff" else study.rules
                for seed in study.seeds:
                    trained = {rule: Job("train", study, rule, arch, seed) for rule in rules}
                    yield from trained.values()
                    for rule in study.rules:
                        for kind in ("fgsm", "nes", "fisher", "deployment"):
                            if kind in study.experiments:
                                later.append(Job(kind, study, rule, arch, seed, needs=(trained[rule].id,)))
                        if "backdoor" in study.experiments:
                            for rate in study.poison_rates:
                                yield Job("backdoor", study, rule, arch, seed, rate)
                    if "cka" in study.experiments:
                        names = list(trained)
                        for at, one in enumerate(names):
                            for other in names[at + 1 :]:
                                pair = (trained[one].id, trained[other].id)
                                later.append(Job("cka", study, f"{one}|{other}", arch, seed, needs=pair))
                        for rule in study.rules:
                            later.append(Job("cka_attacked", study, rule, arch, seed, needs=(trained[rule].id,)))
        for rule in self.cost.rules:
            for steps in self.cost.steps:
                yield Job("cost", None, rule, self.cost.arch, 0, steps, cost=self.cost)
        yield from later


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
    def id(self) -> str:
        """A readable name that is unique, ending in a digest of everything that decides the result."""
        plain = asdict(self) | {"needs": list(self.needs)}
        if self.kind == "train" and self.study is not None:
            decides = ("dataset", "epochs", "steps", "train_samples", "test_samples", "options")
            plain["study"] = {key: plain["study"][key] for key in decides}
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
        dataset = "random" if self.study is None else self.study.dataset
        variant = () if self.variant is None else (f"{self.variant:g}",)
        rule = self.rule.replace("|", "-vs-")
        return "_".join((self.kind, dataset, rule, self.arch, f"s{self.seed}", *variant, digest))


def read_grid(path: Path) -> Grid:
    """Return the grid in a TOML file.

    Raises:
        LoadError: ND090 when it cannot be read or says something unknown.
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
    """Return `grid` if every name in it is known.

    Raises:
        UsageError: ND091 with everything that is not.
    """
    findings = []
    for study in grid.studies:
        known = {"rules": tuple(RULES), "experiments": EXPERIMENTS}
        for key, names in known.items():
            findings += [_unknown(key, name, names) for name in getattr(study, key) if name not in names]
        if study.dataset not in datasets.NAMES:
            findings.append(_unknown("dataset", study.dataset, datasets.NAMES))
    findings += [_unknown("cost.rules", rule, tuple(RULES)) for rule in grid.cost.rules if rule not in RULES]
    if findings:
        raise UsageError(*findings)
    return grid


def _build(kind: type, plain: dict[str, Any], path: Path) -> Any:
    known = {each.name for each in fields(kind)}
    if set(plain) - known:
        what = f"{kind.__name__.lower()} has no {', '.join(sorted(set(plain) - known))}"
        raise LoadError(_unread(path, f"{what}; it has {', '.join(sorted(known))}"))
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()})
    except TypeError as error:
        raise LoadError(_unread(path, str(error))) from error


def _unread(path: Path, why: str) -> Finding:
    return Finding(
        "ND090", str(path), "no benchmark grid can be read from it", why, "see neurodeploy/benchmark/grid.py"
    )


def _unknown(key: str, name: str, known: tuple[str, ...]) -> Finding:
    return Finding("ND091", key, f"{name!r} is not known", f"known are {', '.join(known)}", "use one of these")
