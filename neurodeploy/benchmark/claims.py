"""The paper's qualitative claims, each a question to the table that answers borne out, not borne out or untested.

A claim about accuracy compares means over seeds; the evidence it prints is those means, so that a reader can see how
close it was. None is about significance: with few seeds or samples a difference may be chance. Of each experiment only
the largest training is asked, so that networks that learned from more and from less are never averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from neurodeploy.benchmark.table import Table

BORNE_OUT, NOT_BORNE_OUT, UNTESTED = "borne out", "not borne out", "untested"
LOCALITY = ("bptt", "eprop", "decolle")
"""From least to most local."""
NEGLIGIBLE_MEBIBYTE = 1.0
"""Memory that grows by less has not grown: the allocator takes pages, not bytes. Ours, not the paper's."""
Evidence = tuple[bool, str]


@dataclass(frozen=True)
class Verdict:
    """What the table says to one claim on one dataset, with the numbers behind it."""

    claim: str
    dataset: str
    outcome: str
    evidence: str


def accuracy_of(table: Table, dataset: str, rule: str, arch: str) -> float | None:
    return table.where(experiment="accuracy", metric="accuracy", dataset=dataset, rule=rule, arch=arch).mean()


def _attacked(table: Table, dataset: str, rule: str, arch: str, epsilon: str) -> float | None:
    found = table.where(experiment="fgsm", metric="accuracy", where="float", dataset=dataset, rule=rule, arch=arch)
    return found.where(gradient="counterpart", epsilon=epsilon).mean()


def _success(table: Table, dataset: str, rule: str, arch: str, poison: str) -> float | None:
    found = table.where(experiment="backdoor", metric="attack_success_rate", dataset=dataset, rule=rule, arch=arch)
    return found.where(poison=poison).mean()


def _percent(*values: float) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in values)


def recurrence_helps(table: Table, dataset: str) -> Iterator[Evidence]:
    """REC is at least as accurate as FF for BPTT and e-prop."""
    for rule in ("bptt", "eprop"):
        ff, rec = (accuracy_of(table, dataset, rule, arch) for arch in ("ff", "rec"))
        if ff is not None and rec is not None:
            yield rec >= ff, f"{rule} FF / REC {_percent(ff, rec)}"


def recurrence_hurts_decolle(table: Table, dataset: str) -> Iterator[Evidence]:
    """On N-MNIST REC is less accurate than FF for DECOLLE."""
    ff, rec = (accuracy_of(table, dataset, "decolle", arch) for arch in ("ff", "rec"))
    if ff is not None and rec is not None:
        yield rec < ff, f"decolle FF / REC {_percent(ff, rec)}"


def locality_costs_accuracy(table: Table, dataset: str) -> Iterator[Evidence]:
    """On N-MNIST accuracy falls with locality: BPTT, then e-prop, then DECOLLE."""
    for arch in ("ff", "rec"):
        scores = [accuracy_of(table, dataset, rule, arch) for rule in LOCALITY]
        known = [score for score in scores if score is not None]
        if len(known) == len(LOCALITY):
            yield all(a >= b for a, b in pairwise(known)), f"{arch} {_percent(*known)}"


def recurrence_resists_fgsm(table: Table, dataset: str) -> Iterator[Evidence]:
    """Under FGSM through the counterpart REC is more accurate than FF, for every rule at every epsilon.

    Where both are at 0 there is nothing left to compare.
    """
    epsilons = sorted(table.where(experiment="fgsm", dataset=dataset).distinct("epsilon"), key=float)
    for rule in LOCALITY:
        compared = []
        for epsilon in epsilons:
            ff, rec = (_attacked(table, dataset, rule, arch, epsilon) for arch in ("ff", "rec"))
            if float(epsilon) > 0 and ff is not None and rec is not None and max(ff, rec) > 0:
                compared.append((epsilon, ff, rec))
        if compared:
            shown = ", ".join(f"{epsilon}: {_percent(ff, rec)}" for epsilon, ff, rec in compared)
            yield all(rec > ff for _, ff, rec in compared), f"{rule} FF / REC at {shown}"


def locality_resists_fgsm(table: Table, dataset: str) -> Iterator[Evidence]:
    """On N-MNIST, feed-forward, at the largest epsilon, more local rules are more robust to FGSM."""
    epsilons = sorted(table.where(experiment="fgsm", dataset=dataset).distinct("epsilon"), key=float)
    if epsilons:
        scores = [_attacked(table, dataset, rule, "ff", epsilons[-1]) for rule in LOCALITY]
        known = [score for score in scores if score is not None]
        if len(known) == len(LOCALITY) and any(known):
            yield all(a <= b for a, b in pairwise(known)), f"epsilon {epsilons[-1]}: {_percent(*known)}"


def recurrence_resists_weak_backdoors(table: Table, dataset: str) -> Iterator[Evidence]:
    """REC lowers the attack success rate at poison rates 0.1 and 0.3, for every rule."""
    for rule in LOCALITY:
        for poison in ("0.1", "0.3"):
            ff, rec = (_success(table, dataset, rule, arch, poison) for arch in ("ff", "rec"))
            if ff is not None and rec is not None:
                yield rec < ff, f"{rule} at {poison} FF / REC {_percent(ff, rec)}"


def locality_does_not_resist_backdoors(table: Table, dataset: str) -> Iterator[Evidence]:
    """The more local rules gain nothing against backdoors: not lower at every poison rate."""
    for arch in ("ff", "rec"):
        gains, shown = [], []
        for poison in table.where(experiment="backdoor", dataset=dataset).distinct("poison"):
            most, least = (_success(table, dataset, rule, arch, poison) for rule in ("bptt", "decolle"))
            if most is not None and least is not None:
                gains.append(least < most)
                shown.append(f"{poison}: {_percent(most, least)}")
        if gains:
            yield not all(gains), f"{arch} bptt / decolle {', '.join(shown)}"


def conversion_is_dissimilar(table: Table, dataset: str) -> Iterator[Evidence]:
    """CKA to a converted network is lower than CKA between trained spiking networks, hidden layers."""
    found = table.where(experiment="cka", dataset=dataset, arch="ff")
    depth = len(found.distinct("layer"))
    hidden = [row for row in found if int(row.conditions["layer"]) < depth]
    to_converted = Table(row for row in hidden if "convert" in row.rule).mean()
    among = Table(row for row in hidden if "convert" not in row.rule).mean()
    if to_converted is not None and among is not None:
        yield to_converted < among, f"to conversion {to_converted:.2f}, among themselves {among:.2f}"


def fisher_rises_towards_the_output(table: Table, dataset: str) -> Iterator[Evidence]:
    """Fisher information per parameter of the layer weights grows from the input to the output."""
    found = table.where(experiment="fisher", dataset=dataset, estimate="empirical", metric="per_parameter")
    for arch in found.distinct("arch"):
        for rule in found.distinct("rule"):
            rows = found.where(arch=arch, rule=rule)
            names = [name for name in rows.distinct("tensor") if name.endswith(".weight")]
            means = [mean for name in names if (mean := rows.where(tensor=name).mean()) is not None]
            if len(means) > 1:
                yield all(a <= b for a, b in pairwise(means)), f"{rule} {arch} " + " / ".join(f"{m:.2g}" for m in means)


def recurrent_weights_matter(table: Table, dataset: str) -> Iterator[Evidence]:
    """Recurrent weights carry Fisher information per parameter within a factor of ten of the layer's own weights."""
    found = table.where(experiment="fisher", dataset=dataset, estimate="empirical", metric="per_parameter", arch="rec")
    for rule in found.distinct("rule"):
        rows = found.where(rule=rule)
        names = rows.distinct("tensor")
        recurrent = Table(r for r in rows if r.conditions["tensor"].endswith(".recurrent")).mean()
        hidden = [name for name in names if name.endswith(".weight")][:-1]
        linear = Table(r for r in rows if r.conditions["tensor"] in hidden).mean()
        if recurrent is not None and linear is not None and max(recurrent, linear) > 0:
            yield 0.1 * linear <= recurrent <= 10 * linear, f"{rule} recurrent / linear {recurrent:.2g} / {linear:.2g}"


def eprop_memory_does_not_grow(table: Table, dataset: str) -> Iterator[Evidence]:
    """Memory of e-prop and DECOLLE does not grow with the number of steps, that of BPTT does."""
    found = table.where(experiment="cost", metric="peak_mebibyte")
    for rule in found.distinct("rule"):
        rows = found.where(rule=rule)
        points = sorted((int(row.conditions["steps"]), row.value) for row in rows if row.value is not None)
        if len(points) > 1:
            (few, before), (many, after) = points[-2:]
            grown = after - before
            grows = grown >= NEGLIGIBLE_MEBIBYTE and grown > 0.5 * (many / few - 1) * before
            text = f"{rule} {before:.0f} MiB at {few} steps, {after:.0f} at {many}"
            yield grows == (rule in ("bptt", "fa", "dfa")), text


CLAIMS: tuple[Callable[[Table, str], Iterator[Evidence]], ...] = (
    recurrence_helps,
    recurrence_hurts_decolle,
    locality_costs_accuracy,
    recurrence_resists_fgsm,
    locality_resists_fgsm,
    recurrence_resists_weak_backdoors,
    locality_does_not_resist_backdoors,
    conversion_is_dissimilar,
    fisher_rises_towards_the_output,
    recurrent_weights_matter,
    eprop_memory_does_not_grow,
)


ABOUT_NMNIST = (recurrence_hurts_decolle, locality_costs_accuracy, locality_resists_fgsm)
"""Judged on N-MNIST only, real or simulated."""
ABOUT_COST = (eprop_memory_does_not_grow,)
"""Judged on random spikes."""


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on every claim for every dataset it is about; it is borne out when every part of it is."""
    table = _largest_trainings(table)
    measured = [name for name in table.distinct("dataset") if name != "random"]
    verdicts = []
    for claim in CLAIMS:
        text = (claim.__doc__ or claim.__name__).strip().split("\n")[0].rstrip(".")
        asked = ["random"] if claim in ABOUT_COST else measured
        for dataset in [name for name in asked if claim not in ABOUT_NMNIST or name.startswith("nmnist")]:
            parts = list(claim(table, dataset))
            outcome = UNTESTED if not parts else BORNE_OUT if all(holds for holds, _ in parts) else NOT_BORNE_OUT
            verdicts.append(Verdict(text, dataset, outcome, "; ".join(evidence for _, evidence in parts)))
    return verdicts


def _largest_trainings(table: Table) -> Table:
    """Return, of every experiment on every dataset, the rows of the networks that learned from most samples."""
    parts = table.groups("dataset", "experiment")
    return Table(r for part in parts for r in part.where(train_samples=max(row.train_samples for row in part)))
