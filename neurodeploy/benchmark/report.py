"""The paper's tables and figures, redrawn from our table, with the published numbers beside ours."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy import plots
from neurodeploy.benchmark import published
from neurodeploy.benchmark.claims import UNTESTED, judge
from neurodeploy.benchmark.table import Table
from neurodeploy.evaluation.uncertainty import wilson
from neurodeploy.plots import Panel

ABSENT = "n/a"
DATA = ("dataset", "train_samples", "samples")
"""What rows must share to be averaged."""


def summary(table: Table) -> dict[str, Any]:
    """Return the accuracies and verdicts as plain values."""
    return {
        "kind": "benchmark",
        "rows": len(table),
        "accuracy": _accuracies(table),
        "claims": [asdict(verdict) for verdict in judge(table)],
    }


def write(table: Table, folder: Path) -> list[Path]:
    """Write REPORT.md and its figures into `folder` and return their paths, the table's own first."""
    figures = [figure for draw in FIGURES if (figure := draw(table, folder)) is not None]
    sections = [text for section in SECTIONS if (text := section(table))]
    head = (
        "# Learning rules compared\n\nOurs are percentages, mean ± standard deviation over seeds; `paper` is "
        "arXiv 2402.01782 as printed. A dataset's title says what the data really were. Everything here comes from "
        "[results.csv](results.csv).\n"
    )
    pictures = "\n".join(f"![{path.stem}]({path.name})" for path in figures)
    report = folder / "REPORT.md"
    unfinished = folder / f".REPORT.md-{os.getpid()}"
    unfinished.write_text("\n".join([head, *sections, "## Figures\n", pictures, ""]), encoding="utf-8")
    os.replace(unfinished, report)
    return [folder / "results.csv", report, *figures]


def _accuracies(table: Table) -> list[dict[str, Any]]:
    """Return one entry per dataset, number of samples, rule and architecture.

    The interval is that of the mean accuracy on one test set: all seeds share it, so more of them do not narrow it.
    """
    found = table.where(experiment="accuracy", metric="accuracy")
    entries = []
    for rows in found.groups("dataset", "train_samples", "samples", "rule", "arch"):
        values, first = rows.values(), rows.rows[0]
        if not len(values):
            continue
        same = {key: value for key, value in vars(first).items() if key in (*DATA, "rule", "arch")}
        entries.append(
            {
                "dataset": first.dataset,
                "title": first.title,
                "rule": first.rule,
                "arch": first.arch,
                "mean": float(values.mean()),
                "deviation": float(values.std(ddof=1)) if len(values) > 1 else None,
                "seeds": len(values),
                "train_samples": first.train_samples,
                "test_samples": first.samples,
                "interval_95": list(wilson(round(float(values.mean()) * first.samples), first.samples)),
                "deployed": table.where(experiment="deployment", metric="accuracy", **same).mean(),
                "published": _published(first.dataset, first.rule, first.arch),
            }
        )
    order = {dataset: at for at, dataset in enumerate(found.distinct("dataset"))}
    return sorted(entries, key=lambda entry: order[entry["dataset"]])


def _published(dataset: str, rule: str, arch: str) -> float | None:
    """Return the paper's accuracy: Table III, or Table VI for the convolutional network on DVS Gesture."""
    if arch == "conv" and dataset == "dvs-gesture" and rule in published.CONVOLUTIONAL:
        return published.CONVOLUTIONAL[rule][0] / 100
    printed = published.ACCURACY.get(dataset, {}).get(rule)
    return printed[published.ARCHS.index(arch)] / 100 if printed and arch in published.ARCHS else None


def _table_3(table: Table) -> str:
    """Accuracy (Tables III and VI), before and after deployment to the integer program."""
    lines = [
        "## Accuracy (Tables III and VI)\n",
        "| data | train / test | rule | network | ours | 95 % | on chip | seeds | paper |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in _accuracies(table):
        low, high = entry["interval_95"]
        lines.append(
            f"| {entry['title']} | {entry['train_samples']:,} / {entry['test_samples']:,} | {entry['rule']} "
            f"| {entry['arch'].upper()} | {_percent(entry['mean'])} ± {_percent(entry['deviation'])} "
            f"| {_percent(low)} to {_percent(high)} | {_percent(entry['deployed'])} | {entry['seeds']} "
            f"| {_percent(entry['published'])} |"
        )
    return "\n".join([*lines, ""])


def _table_4(table: Table) -> str:
    """FGSM (Table IV), through both gradients, on the float network and the deployed one."""
    found = table.where(experiment="fgsm", metric="accuracy")
    parts = []
    for rows in found.groups(*DATA):
        epsilons = sorted(rows.distinct("epsilon"), key=float)
        head = " | ".join(f"ε {epsilon}" for epsilon in epsilons)
        parts += [
            _headed(rows),
            f"| rule | network | gradient | where | {head} |",
            "| --- " * (4 + len(epsilons)) + "|",
        ]
        for arch in rows.distinct("arch"):
            for rule in rows.distinct("rule"):
                for gradient in rows.distinct("gradient"):
                    for where in rows.distinct("where"):
                        line = rows.where(arch=arch, rule=rule, gradient=gradient, where=where)
                        cells = " | ".join(_percent(line.where(epsilon=epsilon).mean()) for epsilon in epsilons)
                        parts.append(f"| {rule} | {arch.upper()} | {gradient} | {where} | {cells} |")
                printed = published.FGSM.get((rule, arch)) if rows.rows[0].dataset.startswith("nmnist") else None
                if printed:
                    by_epsilon = dict(zip(published.EPSILONS, printed, strict=True))
                    cells = " | ".join(_printed(by_epsilon.get(float(epsilon))) for epsilon in epsilons)
                    parts.append(f"| {rule} | {arch.upper()} | counterpart | paper, N-MNIST | {cells} |")
    if not parts:
        return ""
    note = (
        "Perturbation ε sign(gradient) on every frame, not clipped. `counterpart`: gradient of the network of the same "
        "weights with ReLU, fed the mean frame, recurrence omitted; `surrogate`: through the spiking network itself. "
        "`deployed` is the integer program on the engine, with 8-bit graded input.\n"
    )
    return "\n".join(["## FGSM (Table IV)\n", note, *parts, ""])


def _table_5(table: Table) -> str:
    """Backdoor (Table V)."""
    found = table.where(experiment="backdoor")
    parts = []
    for rows in found.groups(*DATA):
        parts += [
            _headed(rows),
            "| rule | network | poison rate | clean accuracy | accuracy, source class triggered | success rate "
            "| paper, N-MNIST: accuracy / success |",
            "| --- " * 7 + "|",
        ]
        for arch in rows.distinct("arch"):
            for rule in rows.distinct("rule"):
                for poison in rows.distinct("poison"):
                    line = rows.where(arch=arch, rule=rule, poison=poison)
                    names = ("clean_accuracy", "accuracy_with_source_triggered", "attack_success_rate")
                    cells = " | ".join(_percent(line.where(metric=name).mean()) for name in names)
                    printed = dict(zip(published.POISON_RATES, published.BACKDOOR.get((rule, arch), ()), strict=False))
                    pair = printed.get(float(poison)) if rows.rows[0].dataset.startswith("nmnist") else None
                    paper = ABSENT if pair is None else f"{pair[0]} / {pair[1]}"
                    parts.append(f"| {rule} | {arch.upper()} | {poison} | {cells} | {paper} |")
    return "\n".join(["## Backdoor (Table V)\n", *parts, ""]) if parts else ""


def _nes(table: Table) -> str:
    found = table.where(experiment="nes", metric="accuracy")
    parts = []
    for rows in found.groups(*DATA):
        epsilons = sorted(rows.distinct("epsilon"), key=float)
        parts += [
            _headed(rows),
            f"| rule | network | {' | '.join(f'ε {epsilon}' for epsilon in epsilons)} |",
            "| --- " * (2 + len(epsilons)) + "|",
        ]
        for arch in rows.distinct("arch"):
            for rule in rows.distinct("rule"):
                line = rows.where(arch=arch, rule=rule)
                cells = " | ".join(_percent(line.where(epsilon=epsilon).mean()) for epsilon in epsilons)
                parts.append(f"| {rule} | {arch.upper()} | {cells} |")
    note = "Black box, natural evolution strategies on decisions' losses; ours, the paper has none.\n"
    return "\n".join(["## NES\n", note, *parts, ""]) if parts else ""


def _similarity(table: Table) -> str:
    found = table.where(experiment="cka")
    parts = []
    for rows in found.groups(*DATA):
        layers = sorted(rows.distinct("layer"), key=int)
        parts += [
            _headed(rows),
            f"| pair | network | {' | '.join(f'layer {layer}' for layer in layers)} |",
            "| --- " * (2 + len(layers)) + "|",
        ]
        for arch in rows.distinct("arch"):
            for pair in rows.where(arch=arch).distinct("rule"):
                values = [rows.where(arch=arch, rule=pair, layer=layer).mean() for layer in layers]
                cells = " | ".join(_printed(value, ".3f") for value in values)
                parts.append(f"| {pair.replace('|', ' and ')} | {arch.upper()} | {cells} |")
    return "\n".join(["## Similarity of representations, unbiased CKA (Fig. 2)\n", *parts, ""]) if parts else ""


def _fisher(table: Table) -> str:
    found = Table(row for row in table.where(experiment="fisher") if "step" not in row.conditions)
    parts = []
    for rows in found.groups(*DATA):
        estimates = rows.distinct("estimate")
        head = " | ".join(f"share, {name}" for name in estimates)
        parts += [
            _headed(rows),
            f"| rule | network | tensor | {head} | per parameter, empirical |",
            "| --- " * (4 + len(estimates)) + "|",
        ]
        for line in rows.groups("arch", "rule", "tensor"):
            shares = [_printed(line.where(metric="share", estimate=name).mean(), ".3f") for name in estimates]
            each = _printed(line.where(metric="per_parameter", estimate="empirical").mean(), ".3g")
            first = line.rows[0]
            cells = " | ".join([*shares, each])
            parts.append(f"| {first.rule} | {first.arch.upper()} | {first.conditions['tensor']} | {cells} |")
    return "\n".join(["## Fisher information (Fig. 4)\n", *parts, ""]) if parts else ""


def _cost(table: Table) -> str:
    found = table.where(experiment="cost")
    if not len(found):
        return ""
    steps = sorted(found.distinct("steps"), key=int)
    lines = [
        "## Memory and time of one update against the number of steps (Table I)\n",
        f"| rule | | {' | '.join(f'T {step}' for step in steps)} | paper |",
        "| --- " * (3 + len(steps)) + "|",
    ]
    for rule in found.distinct("rule"):
        space, time = published.COMPLEXITY.get(rule, (ABSENT, ABSENT))
        named = (("peak_mebibyte", "MiB", space), ("milliseconds_per_sample", "ms per sample", time))
        for metric, unit, order in named:
            values = [found.where(rule=rule, metric=metric, steps=step).mean() for step in steps]
            cells = " | ".join(_printed(value, ".3g") for value in values)
            lines.append(f"| {rule} | {unit} | {cells} | {order} |")
    note = "\nPeak memory beyond the input, in a process of its own; one thread.\n"
    return "\n".join([*lines, note])


def _claims(table: Table) -> str:
    lines = ["## The paper's claims on these data\n", "| claim | data | | evidence |", "| --- | --- | --- | --- |"]
    verdicts = judge(table)
    for claim in dict.fromkeys(verdict.claim for verdict in verdicts):
        tested = [verdict for verdict in verdicts if verdict.claim == claim and verdict.outcome != UNTESTED]
        for verdict in tested:
            evidence = verdict.evidence.replace("|", "and")
            lines.append(f"| {claim} | {verdict.dataset} | **{verdict.outcome}** | {evidence} |")
        if not tested:
            lines.append(f"| {claim} | | **{UNTESTED}** | |")
    return "\n".join([*lines, ""])


def _figure_fgsm(table: Table, folder: Path) -> Path | None:
    """Accuracy against epsilon, FF solid and REC dashed, float and deployed."""
    found = table.where(experiment="fgsm", metric="accuracy", gradient="counterpart")
    found = Table(row for row in found if float(row.conditions["epsilon"]) > 0)
    panels = []
    for rows in found.groups(*DATA, "where"):
        ticks = _sorted(rows, "epsilon")
        curves = {_named(line): _curve(line, "epsilon", ticks, 100) for line in rows.groups("rule", "arch")}
        title = f"{_short(rows)}, {rows.rows[0].where}"
        panels.append(Panel(title, "ε", "accuracy (%)", curves, "x", _numbers(ticks)))
    return plots.lines(panels, "FGSM through the ANN counterpart", folder / "fgsm.png") if panels else None


def _figure_backdoor(table: Table, folder: Path) -> Path | None:
    found = table.where(experiment="backdoor", metric="attack_success_rate")
    panels = []
    for rows in found.groups(*DATA):
        rates = _sorted(rows, "poison")
        curves = {_named(line): _curve(line, "poison", rates, 100) for line in rows.groups("rule", "arch")}
        panels.append(Panel(_short(rows), "poisoned fraction of the source class", "attack success (%)", curves))
    return plots.lines(panels, "Backdoor", folder / "backdoor.png") if panels else None


def _figure_cost(table: Table, folder: Path) -> Path | None:
    """Memory and time against steps, both logarithmic, where a 0 has no place and is left out."""
    found = table.where(experiment="cost")
    panels = []
    for metric, label in (("peak_mebibyte", "peak memory (MiB)"), ("milliseconds_per_sample", "time (ms per sample)")):
        rows = Table(row for row in found.where(metric=metric) if row.value is None or row.value > 0)
        ticks = _sorted(found.where(metric=metric), "steps")
        curves = {line.rows[0].rule: _curve(line, "steps", ticks) for line in rows.groups("rule")}
        if curves:
            panels.append(Panel("", "steps", label, curves, "both", _numbers(ticks)))
    return plots.lines(panels, "Cost of one update", folder / "cost.png") if panels else None


def _figure_cka(table: Table, folder: Path) -> Path | None:
    """Fig. 2: CKA per layer between rules."""
    panels = []
    for rows in table.where(experiment="cka").groups(*DATA):
        layers = _sorted(rows, "layer")
        curves = {_named(line): _curve(line, "layer", layers) for line in rows.groups("rule", "arch")}
        panels.append(Panel(_short(rows), "layer", "CKA", curves, ticks=_numbers(layers)))
    return plots.lines(panels, "Similarity between rules", folder / "cka.png") if panels else None


def _figure_cka_attacked(table: Table, folder: Path) -> Path | None:
    """Fig. 3: by how much the CKA of clean and attacked activity is higher with REC than with FF, a panel per layer."""
    panels = []
    for rows in table.where(experiment="cka_attacked", metric="cka_unbiased").groups(*DATA, "layer"):
        epsilons, curves = _sorted(rows, "epsilon"), {}
        for line in rows.groups("rule"):
            x, ff = _curve(line.where(arch="ff"), "epsilon", epsilons)
            _, rec = _curve(line.where(arch="rec"), "epsilon", epsilons)
            gains = [b - a for a, b in zip(ff, rec, strict=True)]
            if not np.isnan(gains).all():
                curves[line.rows[0].rule] = (x, gains)
        if curves:
            title = f"{_short(rows)}, layer {rows.rows[0].conditions['layer']}"
            panels.append(Panel(title, "ε", "CKA, REC minus FF", curves, "x", _numbers(epsilons)))
    title = "Similarity of clean and attacked activity"
    return plots.lines(panels, title, folder / "cka_attacked.png") if panels else None


def _figure_fisher(table: Table, folder: Path) -> Path | None:
    """Fig. 4: share of empirical Fisher information per tensor against the steps seen, a panel per rule and network."""
    found = table.where(experiment="fisher", metric="share", estimate="empirical")
    found = Table(row for row in found if "step" in row.conditions)
    panels = []
    for rows in found.groups(*DATA, "arch", "rule"):
        steps = _sorted(rows, "step")
        curves = {line.rows[0].conditions["tensor"]: _curve(line, "step", steps) for line in rows.groups("tensor")}
        panels.append(Panel(f"{_short(rows)}, {_named(rows)}", "step", "share", curves))
    return plots.lines(panels, "Fisher information", folder / "fisher.png") if panels else None


def _curve(rows: Table, key: str, at: list[str], factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Return x and the means there, NaN where there is none."""
    means = [rows.where(**{key: value}).mean() for value in at]
    return list(_numbers(at)), [np.nan if mean is None else factor * mean for mean in means]


def _sorted(rows: Table, key: str) -> list[str]:
    return sorted(rows.distinct(key), key=float)


def _numbers(values: list[str]) -> tuple[float, ...]:
    return tuple(map(float, values))


def _named(rows: Table) -> str:
    return f"{rows.rows[0].rule.replace('|', ', ')} {rows.rows[0].arch.upper()}"


def _short(rows: Table) -> str:
    return f"{rows.rows[0].dataset}, {rows.rows[0].train_samples:,} / {rows.rows[0].samples:,}"


def _headed(rows: Table) -> str:
    first = rows.rows[0]
    return f"\n### {first.title}, {first.train_samples:,} training / {first.samples:,} test samples\n"


def _percent(value: float | None) -> str:
    return _printed(None if value is None else 100 * value)


def _printed(value: float | None, form: str = ".2f") -> str:
    return ABSENT if value is None else format(value, form)


SECTIONS = (_table_3, _claims, _table_4, _nes, _table_5, _similarity, _fisher, _cost)
FIGURES = (_figure_fgsm, _figure_backdoor, _figure_cka, _figure_cka_attacked, _figure_fisher, _figure_cost)
