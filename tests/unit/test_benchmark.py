"""The benchmark runs what its grid says, once, anywhere, and says what the table bears out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.benchmark import grid as grids
from neurodeploy.benchmark import published, report, runner
from neurodeploy.benchmark.claims import BORNE_OUT, CLAIMS, NOT_BORNE_OUT, UNTESTED, judge
from neurodeploy.benchmark.grid import Cost, Grid, Job, Study, read_grid
from neurodeploy.benchmark.table import Row, Table
from neurodeploy.errors import BackendUnavailableError, LoadError, UsageError

TINY = Study("digits", ("bptt",), ("8",), (0,), ("deployment",), epochs=1, train_samples=100, test_samples=40)


def row(experiment: str, rule: str, arch: str, value: float, condition: str = "", metric: str = "accuracy") -> Row:
    return Row(experiment, "nmnist", "N-MNIST", rule, arch, 0, condition, "float", metric, value, 100, 1000)


def test_the_table_comes_back_from_its_file(tmp_path: Path) -> None:
    rows = [
        row("fgsm", "bptt", "ff", 0.1 + 0.2, "epsilon=0.01;gradient=counterpart"),
        replace(row("a", "b", "c", 0.0), value=None),
    ]
    assert Table.read(Table(rows).write(tmp_path / "t.csv")).rows == rows
    assert Table(rows).where(epsilon="0.01").rows == rows[:1]
    assert Table(rows).distinct("epsilon") == ["0.01"]
    assert Table([]).mean() is None


def test_jobs_are_distinct_and_come_after_what_they_need() -> None:
    grid = Grid((Study("nmnist", seeds=(0, 1), conversion=True),), Cost(("bptt",)))
    jobs = list(grid.jobs())
    ids = [job.id for job in jobs]
    assert len(set(ids)) == len(ids)
    for at, job in enumerate(jobs):
        assert set(job.needs) <= set(ids[:at])
    assert sum(job.kind == "train" for job in jobs) == 2 * (2 * 3 + 1)
    assert sum(job.kind == "backdoor" for job in jobs) == 2 * 2 * 3 * 5
    assert sum(job.kind == "cka" for job in jobs) == 2 * (3 + 6)


def test_a_training_is_the_same_job_whatever_else_is_asked_of_it() -> None:
    """So that adding an experiment to a grid trains nothing again; another length of training does."""
    plain, more, longer = (
        Job("train", study, "bptt", "ff", 0)
        for study in (TINY, replace(TINY, experiments=("nes",)), replace(TINY, epochs=2))
    )
    assert plain.id == more.id != longer.id


def test_a_grid_is_run_once_and_resumed(tmp_path: Path) -> None:
    table, failed = runner.run(Grid((TINY,)), tmp_path, workers=1)
    assert not failed
    assert {r.experiment for r in table} == {"accuracy", "deployment"}
    assert 0 <= table.where(experiment="deployment", metric="accuracy").mean() <= 1
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/*")}
    assert len(written) == 2
    (tmp_path / "results" / next(path.name for path in written if path.name.startswith("deployment"))).unlink()
    again, failed = runner.run(Grid((TINY,)), tmp_path, workers=1)
    assert again.rows == table.rows
    trained = next(path for path in written if path.name.startswith("train"))
    assert trained.stat().st_mtime_ns == written[trained]
    assert not list((tmp_path / "unfinished").iterdir())
    paths = report.write(table, tmp_path)
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "digits" in text
    assert f"{100 * table.where(experiment='accuracy', metric='accuracy').mean():.2f}" in text
    assert all(path.exists() for path in paths)


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A description of no layer fails; its dependants are not started, the other network is trained."""
    study = replace(TINY, archs=("8", "8-x"))
    table, failed = runner.run(Grid((study,)), tmp_path, workers=1)
    assert table.distinct("arch") == ["8"]
    assert len(failed) == 2
    assert any("ND071" in line for line in failed)
    assert any("not trained" in line for line in failed)


def test_a_dask_cluster_gives_the_same_table(tmp_path: Path) -> None:
    """A real scheduler and worker on this machine, spoken to by address."""
    distributed = pytest.importorskip("distributed")
    local, _ = runner.run(Grid((TINY,)), tmp_path / "local", workers=1)
    with distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        remote, failed = runner.run(Grid((TINY,)), tmp_path / "remote", scheduler=cluster.scheduler_address)
    assert not failed
    measured = [[r for r in table if r.metric != "seconds_per_epoch"] for table in (local, remote)]
    assert measured[0] == measured[1]


def test_a_scheduler_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(BackendUnavailableError, match="ND092"):
        runner.run(Grid((TINY,)), tmp_path, scheduler="tcp://127.0.0.1:9")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs NEURODEPLOY_DATA-independent /proc")
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Even when it is killed: nothing goes on computing for nobody."""
    grid = tmp_path / "grid.toml"
    grid.write_text('[[study]]\ndataset = "digits"\nrules = ["bptt"]\nepochs = 5000\nexperiments = []\n')
    command = [
        sys.executable,
        "-m",
        "neurodeploy",
        "benchmark",
        str(grid),
        "-o",
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    checkpoints = tmp_path / "out" / "unfinished"
    _until(lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), 90)
    children = _children(process.pid)
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until(lambda: not any(_runs(child) for child in children), 20)


def _until(holds, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def _children(parent: int) -> list[int]:
    stats = (path.read_text().rsplit(")", 1) for path in Path("/proc").glob("[0-9]*/stat"))
    return [int(head.split()[0]) for head, rest in stats if int(rest.split()[1]) == parent]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        ("study = 3", LoadError, "ND090"),
        ("[[study]]", LoadError, "ND090"),
        ("[[study]]\ndataset = 'digits'\ncolor = 'red'", LoadError, "ND090"),
        ("[other]", LoadError, "ND090"),
        ("", LoadError, "ND090"),
        ("not toml", LoadError, "ND090"),
        ("[[study]]\ndataset = 'digits'\nrules = ['hebb']", UsageError, "ND091"),
        ("[[study]]\ndataset = 'cats'", UsageError, "ND091"),
        ("[[study]]\ndataset = 'digits'\nexperiments = ['luck']", UsageError, "ND091"),
        ("[cost]\nrules = ['hebb']", UsageError, "ND091"),
    ],
)
def test_a_grid_that_says_nothing_known_is_refused(text: str, error: type, code: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(error, match=code):
        read_grid(path)


def test_a_missing_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="ND090"):
        read_grid(tmp_path / "none.toml")


def from_paper() -> Table:
    """Return the paper's own numbers as if they had been measured here."""
    rows = []
    for rule, pair in published.ACCURACY["nmnist"].items():
        rows += [row("accuracy", rule, arch, value / 100) for arch, value in zip(published.ARCHS, pair, strict=True)]
    for (rule, arch), values in published.FGSM.items():
        for epsilon, value in zip(published.EPSILONS, values, strict=True):
            rows.append(row("fgsm", rule, arch, value / 100, f"gradient=counterpart;epsilon={epsilon:g}"))
    for (rule, arch), pairs in published.BACKDOOR.items():
        for poison, (_, success) in zip(published.POISON_RATES, pairs, strict=True):
            rows.append(row("backdoor", rule, arch, success / 100, f"poison={poison:g}", "attack_success_rate"))
    return Table(rows)


def test_the_papers_numbers_bear_out_the_papers_claims() -> None:
    """Transcription and claims hold each other: every claim about Tables III to V that the paper makes of N-MNIST."""
    outcomes = {verdict.claim: verdict.outcome for verdict in judge(from_paper()) if verdict.dataset == "nmnist"}
    tested = {claim: outcome for claim, outcome in outcomes.items() if outcome != UNTESTED}
    assert len(tested) == 7
    assert set(tested.values()) == {BORNE_OUT}


def test_the_numbers_of_table_iv_have_the_gains_that_were_counted_by_hand() -> None:
    for rule, gain in (("bptt", 34.7), ("eprop", 27.1), ("decolle", 23.8)):
        ff, rec = (np.mean(published.FGSM[rule, arch]) for arch in published.ARCHS)
        assert rec - ff == pytest.approx(gain, abs=0.05)


def test_a_claim_fails_on_numbers_that_say_otherwise() -> None:
    """Each number of the paper mirrored in 100: what was higher is lower."""
    mirrored = Table(replace(r, value=1 - (r.value or 0)) for r in from_paper())
    outcomes = {verdict.claim: verdict.outcome for verdict in judge(mirrored) if verdict.outcome != UNTESTED}
    gain_nothing = next(claim for claim in outcomes if claim.startswith("The more local rules gain nothing"))
    assert outcomes.pop(gain_nothing) == BORNE_OUT
    assert len(outcomes) == 6
    assert set(outcomes.values()) == {NOT_BORNE_OUT}
    immune = Table(replace(r, value=0.0) if r.rule == "decolle" else r for r in from_paper())
    assert next(v.outcome for v in judge(immune) if v.claim == gain_nothing) == NOT_BORNE_OUT


def test_without_numbers_nothing_is_tested() -> None:
    verdicts = judge(Table([row("accuracy", "stdp", "ff", 0.5)]))
    assert len(verdicts) == len(CLAIMS)
    assert {verdict.outcome for verdict in verdicts} == {UNTESTED}


@pytest.mark.parametrize(("bptt", "outcome"), [(400.0, BORNE_OUT), (110.0, NOT_BORNE_OUT)])
def test_the_claim_about_memory_follows_the_curve(bptt: float, outcome: str) -> None:
    rows = [
        row("cost", rule, "8", value, f"steps={steps}", "peak_mebibyte")
        for rule, last in (("bptt", bptt), ("eprop", 104.0))
        for steps, value in ((100, 100.0), (400, last))
    ]
    verdicts = [v for v in judge(Table(rows)) if v.claim.startswith("Memory")]
    assert [v.outcome for v in verdicts] == [outcome]


def test_json_lists_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from neurodeploy.cli import main

    line = f"benchmark --rule bptt --arch 8 --epochs 1 --experiment deployment --workers 1 -o {tmp_path} --json"
    assert main(line.split()) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["failed"] == []
    assert plain["accuracy"][0]["rule"] == "bptt"
    assert all(os.path.exists(path) for path in plain["written"])


def test_grids_of_the_command_line_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from neurodeploy.cli import main

    assert main(["benchmark", "--rule", "hebb", "-o", str(tmp_path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "ND091"
    with pytest.raises(UsageError, match="ND091"):
        grids.checked(Grid((Study("digits", rules=("hebb",)),)))
