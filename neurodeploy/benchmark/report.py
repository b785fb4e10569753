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
    """Return one entry per dataset, rule and architecture."""
    found = table.where(experiment="accuracy", metric="accuracy")
    entries = []
    for dataset in found.distinct("dataset"):
        for rule in found.where(dataset=dataset).distinct("rule"):
            for arch in found.where(dataset=dataset, rule=rule).distinct("arch"):
                rows = found.where(dataset=dataset, rule=rule, arch=arch)
                values, first = rows.values(), rows.rows[0]
                hits = sum(round((row.value or 0) * row.samples) for row in rows)
                deployed = table.where(
                    experiment="deployment", metric="accuracy", dataset=dataset, rule=rule, arch=arch
                )
                printed = published.ACCURACY.get(dataset, {}).get(rule)
                entries.append(
                    {
                        "dataset": dataset,
                        "title": first.title,
                        "rule": rule,
                        "arch": arch,
                        "mean": float(values.mean()),
                        "deviation": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                        "seeds": len(values),
                        "train_samples": first.train_samples,
                        "test_samples": first.samples,
                        "interval_95": list(wilson(hits, first.samples * len(values))),
                        "deployed": deployed.mean(),
                        "published": printed[published.ARCHS.index(arch)] / 100
                        if printed and arch in published.ARCHS
                        else None,
                    }
                )
    return entries


def _table_3(table: Table) -> str:
    """Accuracy (Table III and VI), before and after deployment to the integer program."""
    lines = [
        "## Accuracy (Table III)\n",
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
    for dataset in found.distinct("dataset"):
        rows = found.where(dataset=dataset)
        epsilons = sorted(rows.distinct("epsilon"), key=float)
        head = " | ".join(f"ε {epsilon}" for epsilon in epsilons)
        parts += [
            f"\n### {rows.rows[0].title}, {rows.rows[0].samples} samples\n",
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
                printed = published.FGSM.get((rule, arch)) if dataset.startswith("nmnist") else None
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
    for dataset in found.distinct("dataset"):
        rows = found.where(dataset=dataset)
        parts += [
            f"\n### {rows.rows[0].title}, {rows.rows[0].train_samples:,} / {rows.rows[0].samples:,}\n",
            "| rule | network | poison rate | clean accuracy | accuracy, source class triggered | success rate "
            "| paper, accuracy / success |",
            "| --- " * 7 + "|",
        ]
        for arch in rows.distinct("arch"):
            for rule in rows.distinct("rule"):
                for poison in rows.distinct("poison"):
                    line = rows.where(arch=arch, rule=rule, poison=poison)
                    names = ("clean_accuracy", "accuracy_with_source_triggered", "attack_success_rate")
                    cells = " | ".join(_percent(line.where(metric=name).mean()) for name in names)
                    printed = dict(zip(published.POISON_RATES, published.BACKDOOR.get((rule, arch), ()), strict=False))
                    pair = printed.get(float(poison)) if dataset.startswith("nmnist") else None
                    paper = ABSENT if pair is None else f"{pair[0]} / {pair[1]}"
                    parts.append(f"| {rule} | {arch.upper()} | {poison} | {cells} | {paper} |")
    return "\n".join(["## Backdoor (Table V)\n", *parts, ""]) if parts else ""


def _nes(table: Table) -> str:
    found = table.where(experiment="nes", metric="accuracy")
    parts = []
    for dataset in found.distinct("dataset"):
        rows = found.where(dataset=dataset)
        epsilons = sorted(rows.distinct("epsilon"), key=float)
        parts += [
            f"\n### {rows.rows[0].title}, {rows.rows[0].samples} samples\n",
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
    for dataset in found.distinct("dataset"):
        rows = found.where(dataset=dataset)
        layers = sorted(rows.distinct("layer"), key=int)
        parts += [
            f"\n### {rows.rows[0].title}, {rows.rows[0].samples} samples\n",
            f"| pair | network | {' | '.join(f'layer {layer}' for layer in layers)} |",
            "| --- " * (2 + len(layers)) + "|",
        ]
        for arch in rows.distinct("arch"):
            for pair in rows.where(arch=arch).distinct("rule"):
                values = [rows.where(arch=arch, rule=pair, layer=layer).mean() for layer in layers]
                cells = " | ".join(ABSENT if value is None else f"{value:.3f}" for value in values)
                parts.append(f"| {pair.replace('|', ' and ')} | {arch.upper()} | {cells} |")
    return "\n".join(["## Similarity of representations, unbiased CKA (Fig. 2)\n", *parts, ""]) if parts else ""


def _fisher(table: Table) -> str:
    found = table.where(experiment="fisher", estimate="empirical")
    found = Table(row for row in found if "step" not in row.conditions)
    parts = []
    for dataset in found.distinct("dataset"):
        rows = found.where(dataset=dataset)
        parts += [
            f"\n### {rows.rows[0].title}, {rows.rows[0].samples} samples\n",
            "| rule | network | tensor | share | per parameter |",
            "| --- " * 5 + "|",
        ]
        for arch in rows.distinct("arch"):
            for rule in rows.distinct("rule"):
                for tensor in rows.where(arch=arch, rule=rule).distinct("tensor"):
                    line = rows.where(arch=arch, rule=rule, tensor=tensor)
                    share, each = (line.where(metric=name).mean() for name in ("share", "per_parameter"))
                    parts.append(f"| {rule} | {arch.upper()} | {tensor} | {share or 0:.3f} | {each or 0:.3g} |")
    return "\n".join(["## Fisher information, empirical (Fig. 4)\n", *parts, ""]) if parts else ""


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
            cells = " | ".join(ABSENT if value is None else f"{value:.3g}" for value in values)
            lines.append(f"| {rule} | {unit} | {cells} | {order} |")
    note = "\nPeak memory beyond the input, in a process of its own; one thread.\n"
    return "\n".join([*lines, note])


def _claims(table: Table) -> str:
    lines = ["## The paper's claims on these data\n", "| claim | data | | evidence |", "| --- | --- | --- | --- |"]
    for verdict in judge(table):
        evidence = verdict.evidence.replace("|", "and") if verdict.outcome != UNTESTED else ""
        lines.append(f"| {verdict.claim} | {verdict.dataset} | **{verdict.outcome}** | {evidence} |")
    return "\n".join([*lines, ""])


def _figure_fgsm(table: Table, folder: Path) -> Path | None:
    """Accuracy against epsilon, FF solid and REC dashed, float and deployed."""
    found = table.where(experiment="fgsm", metric="accuracy", gradient="counterpart")
    panels = []
    for dataset in found.distinct("dataset"):
        for where in found.distinct("where"):
            curves = {}
            rows = found.where(dataset=dataset, where=where)
            epsilons = sorted((e for e in rows.distinct("epsilon") if float(e) > 0), key=float)
            for rule in rows.distinct("rule"):
                for arch in rows.distinct("arch"):
                    means = [rows.where(rule=rule, arch=arch, epsilon=epsilon).mean() for epsilon in epsilons]
                    if all(mean is not None for mean in means):
                        y = [100 * (mean or 0) for mean in means]
                        curves[f"{rule} {arch.upper()}"] = ([float(e) for e in epsilons], y)
            if curves:
                ticks = tuple(float(epsilon) for epsilon in epsilons)
                panels.append(Panel(f"{dataset}, {where}", "ε", "accuracy (%)", curves, "x", ticks))
    return plots.lines(panels, "FGSM through the ANN counterpart", folder / "fgsm.png") if panels else None


def _figure_backdoor(table: Table, folder: Path) -> Path | None:
    found = table.where(experiment="backdoor", metric="attack_success_rate")
    panels = []
    for dataset in found.distinct("dataset"):
        rows, curves = found.where(dataset=dataset), {}
        rates = sorted(rows.distinct("poison"), key=float)
        for rule in rows.distinct("rule"):
            for arch in rows.distinct("arch"):
                means = [rows.where(rule=rule, arch=arch, poison=rate).mean() for rate in rates]
                if all(mean is not None for mean in means):
                    y = [100 * (mean or 0) for mean in means]
                    curves[f"{rule} {arch.upper()}"] = ([float(rate) for rate in rates], y)
        panels.append(Panel(dataset, "poisoned fraction of the source class", "attack success (%)", curves))
    return plots.lines(panels, "Backdoor", folder / "backdoor.png") if panels else None


def _figure_cost(table: Table, folder: Path) -> Path | None:
    found = table.where(experiment="cost")
    panels = []
    for metric, label in (("peak_mebibyte", "peak memory (MiB)"), ("milliseconds_per_sample", "time (ms per sample)")):
        rows, curves = found.where(metric=metric), {}
        for rule in rows.distinct("rule"):
            line = sorted(rows.where(rule=rule), key=lambda row: int(row.conditions["steps"]))
            x = [float(row.conditions["steps"]) for row in line]
            curves[rule] = (x, [max(row.value or 0, 1e-3) for row in line])
        if curves:
            ticks = tuple(sorted({float(row.conditions["steps"]) for row in rows}))
            panels.append(Panel("", "steps", label, curves, "both", ticks))
    return plots.lines(panels, "Cost of one update", folder / "cost.png") if panels else None


def _figure_cka(table: Table, folder: Path) -> Path | None:
    """Fig. 2: CKA per layer between rules; Fig. 3: CKA of clean and attacked activity, REC minus FF."""
    panels = []
    found = table.where(experiment="cka")
    for dataset in found.distinct("dataset"):
        rows, curves = found.where(dataset=dataset), {}
        for pair in rows.distinct("rule"):
            for arch in rows.where(rule=pair).distinct("arch"):
                line = rows.where(rule=pair, arch=arch)
                layers = sorted(line.distinct("layer"), key=int)
                y = [line.where(layer=layer).mean() or 0.0 for layer in layers]
                curves[f"{pair.replace('|', ', ')} {arch.upper()}"] = ([float(layer) for layer in layers], y)
        depth = tuple(float(layer) for layer in sorted(rows.distinct("layer"), key=int))
        panels.append(Panel(f"{dataset}: between rules", "layer", "CKA", curves, ticks=depth))
    found = table.where(experiment="cka_attacked")
    for dataset in found.distinct("dataset"):
        rows, curves = found.where(dataset=dataset), {}
        epsilons = sorted(rows.distinct("epsilon"), key=float)
        for rule in rows.distinct("rule"):
            gains = []
            for epsilon in epsilons:
                ff, rec = (rows.where(rule=rule, arch=arch, epsilon=epsilon).mean() for arch in published.ARCHS)
                gains.append(np.nan if ff is None or rec is None else rec - ff)
            if not np.isnan(gains).all():
                curves[rule] = ([float(epsilon) for epsilon in epsilons], gains)
        if curves:
            ticks = tuple(float(epsilon) for epsilon in epsilons)
            panels.append(Panel(f"{dataset}: clean and attacked", "ε", "CKA, REC minus FF", curves, "x", ticks))
    return plots.lines(panels, "Representational similarity", folder / "cka.png") if panels else None


def _figure_fisher(table: Table, folder: Path) -> Path | None:
    """Fig. 4: share of Fisher information per tensor against the steps seen."""
    found = table.where(experiment="fisher", metric="share", estimate="empirical")
    found = Table(row for row in found if "step" in row.conditions)
    panels = []
    for dataset in found.distinct("dataset"):
        for arch in found.where(dataset=dataset).distinct("arch"):
            rows, curves = found.where(dataset=dataset, arch=arch), {}
            for rule in rows.distinct("rule"):
                for tensor in rows.where(rule=rule).distinct("tensor"):
                    line = rows.where(rule=rule, tensor=tensor)
                    steps = sorted(line.distinct("step"), key=int)
                    y = [line.where(step=step).mean() or 0.0 for step in steps]
                    curves[f"{rule} {tensor}"] = ([float(step) for step in steps], y)
            panels.append(Panel(f"{dataset}, {arch.upper()}", "step", "share", curves))
    return plots.lines(panels, "Fisher information", folder / "fisher.png") if panels else None


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.2f}"


def _printed(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


SECTIONS = (_table_3, _claims, _table_4, _nes, _table_5, _similarity, _fisher, _cost)
FIGURES = (_figure_fgsm, _figure_backdoor, _figure_cka, _figure_fisher, _figure_cost)
