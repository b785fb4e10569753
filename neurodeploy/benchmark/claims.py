"""The paper's qualitative claims, each a question to the table that answers borne out, not borne out or untested.

A claim about accuracy compares means over seeds; the evidence it prints is those means, so that a reader can see how
close it was. None is about significance: with few seeds or samples a difference may be chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from neurodeploy.benchmark.table import Table

BORNE_OUT, NOT_BORNE_OUT, UNTESTED = "borne out", "not borne out", "untested"
LOCALITY = ("bptt", "eprop", "decolle")
"""From least to most local."""
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
    """REC is less accurate than FF for DECOLLE (on N-MNIST)."""
    ff, rec = (accuracy_of(table, dataset, "decolle", arch) for arch in ("ff", "rec"))
    if ff is not None and rec is not None:
        yield rec < ff, f"decolle FF / REC {_percent(ff, rec)}"


def locality_costs_accuracy(table: Table, dataset: str) -> Iterator[Evidence]:
    """Accuracy falls with locality: BPTT, then e-prop, then DECOLLE."""
    for arch in ("ff", "rec"):
        scores = [accuracy_of(table, dataset, rule, arch) for rule in LOCALITY]
        known = [score for score in scores if score is not None]
        if len(known) == len(LOCALITY):
            yield all(a >= b for a, b in pairwise(known)), f"{arch} {_percent(*known)}"


def recurrence_resists_fgsm(table: Table, dataset: str) -> Iterator[Evidence]:
    """Under FGSM through the counterpart REC is more accurate than FF, for every rule, on average over epsilon."""
    epsilons = [e for e in table.where(experiment="fgsm", dataset=dataset).distinct("epsilon") if float(e) > 0]
    for rule in LOCALITY:
        means = []
        for arch in ("ff", "rec"):
            scores = [_attacked(table, dataset, rule, arch, epsilon) for epsilon in epsilons]
            known = [score for score in scores if score is not None]
            means.append(sum(known) / len(known) if known else None)
        ff, rec = means
        if ff is not None and rec is not None:
            yield rec > ff, f"{rule} FF / REC {_percent(ff, rec)}"


def locality_resists_fgsm(table: Table, dataset: str) -> Iterator[Evidence]:
    """Feed-forward, at the largest epsilon, more local rules are more robust."""
    epsilons = sorted(table.where(experiment="fgsm", dataset=dataset).distinct("epsilon"), key=float)
    if epsilons:
        scores = [_attacked(table, dataset, rule, "ff", epsilons[-1]) for rule in LOCALITY]
        known = [score for score in scores if score is not None]
        if len(known) == len(LOCALITY):
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
            means = [rows.where(tensor=name).mean() or 0.0 for name in names]
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
        if recurrent and linear:
            yield 0.1 <= recurrent / linear <= 10, f"{rule} recurrent / linear {recurrent:.2g} / {linear:.2g}"


def eprop_memory_does_not_grow(table: Table, dataset: str) -> Iterator[Evidence]:
    """Memory of e-prop and DECOLLE does not grow with the number of steps, that of BPTT does."""
    found = table.where(experiment="cost", metric="peak_mebibyte")
    for rule in found.distinct("rule"):
        rows = sorted(found.where(rule=rule), key=lambda row: int(row.conditions["steps"]))
        if len(rows) > 1 and rows[-2].value and rows[-1].value:
            last, before = rows[-1], rows[-2]
            ratio = (last.value or 0) / (before.value or 1)
            steps = int(last.conditions["steps"]) / int(before.conditions["steps"])
            grows = ratio > 1 + 0.5 * (steps - 1)
            expected = rule in ("bptt", "fa", "dfa")
            text = f"{rule} {before.value:.0f} MiB at {before.condition}, {last.value:.0f} at {last.condition}"
            yield grows == expected, text


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


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on every claim for every dataset; a claim is borne out when every part of it is."""
    verdicts = []
    for claim in CLAIMS:
        text = (claim.__doc__ or claim.__name__).strip().rstrip(".")
        by_cost = claim is eprop_memory_does_not_grow
        for dataset in ["random"] if by_cost else [d for d in table.distinct("dataset") if d != "random"]:
            parts = list(claim(table, dataset))
            outcome = UNTESTED if not parts else BORNE_OUT if all(holds for holds, _ in parts) else NOT_BORNE_OUT
            verdicts.append(Verdict(text, dataset, outcome, "; ".join(evidence for _, evidence in parts)))
    return verdicts
