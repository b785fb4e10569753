"""The benchmark runs what its grid says, once, anywhere, and says what the table bears out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy import datasets, plots
from neurodeploy.benchmark import grid as grids
from neurodeploy.benchmark import jobs, published, report, runner
from neurodeploy.benchmark.claims import BORNE_OUT, CLAIMS, NOT_BORNE_OUT, UNTESTED, judge
from neurodeploy.benchmark.grid import Cost, Grid, Job, Study, read_grid
from neurodeploy.benchmark.table import Row, Table
from neurodeploy.datasets import Encoding
from neurodeploy.errors import BackendUnavailableError, LoadError, UsageError
from neurodeploy.evaluation import similarity
from neurodeploy.evaluation.uncertainty import wilson
from neurodeploy.frontends.checkpoint import load_checkpoint
from neurodeploy.ir.network import Network
from neurodeploy.learning import training
from neurodeploy.learning.probing import Probe
from neurodeploy.learning.recipes import Recipe

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


def test_a_table_knows_fields_and_conditions_and_nothing_else() -> None:
    """A property of Row is no field; a field wins over a condition of its name."""
    table = Table([row("a", "b", "c", 0.5, "layer=2;rule=other")])
    assert table.distinct("layer") == ["2"]
    assert table.distinct("rule") == ["b"]
    assert table.distinct("conditions") == []


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


def ids(*studies: Study, cost: Cost | None = None) -> set[str]:
    return {job.id for job in Grid(studies, cost or Cost()).jobs()}


def of_kind(found: set[str], *kinds: str) -> set[str]:
    return {each for each in found if each.startswith(tuple(f"{kind}_digits" for kind in kinds))}


WIDE = Study("digits", ("bptt", "eprop"), ("ff",), (0,), epochs=1)


def test_a_training_that_two_studies_share_is_one_job() -> None:
    two = Grid((TINY, replace(TINY, experiments=("fisher",), attacked=5)))
    assert [job.kind for job in two.jobs()] == ["train", "deployment", "fisher"]


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (0, 1)},
        {"rules": ("bptt", "decolle", "eprop")},
        {"archs": ("8", "ff")},
        {"conversion": True},
        {"poison_rates": (0.05, *WIDE.poison_rates)},
        {"options": {"decolle": {"rate": 0.5}}},
    ],
)
def test_more_in_a_grid_renames_nothing(change: dict[str, Any]) -> None:
    assert ids(WIDE) <= ids(replace(WIDE, **change))


def test_an_experiment_or_a_cost_step_more_renames_nothing() -> None:
    assert ids(replace(WIDE, experiments=("fgsm",))) < ids(WIDE)
    short, long = Cost(("bptt",), (10, 20)), Cost(("bptt", "eprop"), (5, 10, 20))
    assert ids(cost=short) < ids(cost=long)
    assert not ids(cost=short) & ids(cost=replace(short, batch=3))


@pytest.mark.parametrize(
    ("change", "renamed"),
    [
        ({"epsilons": (0.5,)}, ("fgsm", "nes", "cka_attacked")),
        ({"attacked": 7}, ("fgsm", "nes", "cka_attacked", "fisher")),
        ({"epochs": 2}, ("",)),
        ({"steps": 3}, ("",)),
        ({"train_samples": 9}, ("",)),
        ({"options": {"bptt": {"rate": 0.5}, "eprop": {"rate": 0.5}}}, ("",)),
    ],
)
def test_what_decides_a_result_renames_its_jobs_and_no_others(change: dict[str, Any], renamed: tuple[str, ...]) -> None:
    before, after = ids(WIDE), ids(replace(WIDE, **change))
    assert before - after == (before if renamed == ("",) else of_kind(before, *renamed)) != set()


def test_another_recipe_is_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that results of last month's recipe do not pass for this one's."""
    cost, usual = Cost(("bptt",), (10,)), training.recipe
    before = ids(WIDE, cost=cost)

    def changed(*names: str) -> Recipe:
        return replace(usual(*names), neurons=replace(usual(*names).neurons, threshold=1.25))

    monkeypatch.setattr(training, "recipe", changed)
    assert not before & ids(WIDE, cost=cost)


def test_ids_can_be_read() -> None:
    found = ids(replace(WIDE, rules=("bptt", "eprop"), poison_rates=(0.3,)), cost=Cost(("bptt",), (10,)))
    plain = {each[:-8] for each in found if re.fullmatch(r".*_[0-9a-f]{8}", each)}
    assert len(plain) == len(found)
    expected = {"backdoor_digits_bptt_ff_s0_0.3_", "cka_digits_bptt-vs-eprop_ff_s0_", "cost_random_bptt_120-84_s0_10_"}
    assert expected <= plain


def test_a_study_of_backdoors_trains_nothing_clean() -> None:
    assert {job.kind for job in Grid((replace(WIDE, experiments=("backdoor",)),)).jobs()} == {"backdoor"}
    assert {job.kind for job in Grid((replace(WIDE, experiments=()),)).jobs()} == {"train"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model file of TINY's network."""
    _, content = jobs.run(Job("train", TINY, "bptt", "8", 0), [])
    assert content is not None
    return content


def opened(content: bytes, folder: Path) -> Network:
    path = folder / "model.pt"
    path.write_bytes(content)
    return load_checkpoint(path)


def test_deployment_and_similarity_use_all_test_samples_and_attacks_fewer(trained: bytes) -> None:
    study = replace(TINY, attacked=7, epsilons=(0.1,))
    samples = {}
    for kind, rule, count in (("deployment", "bptt", 1), ("cka", "bptt|eprop", 2), ("fgsm", "bptt", 1)):
        rows, _ = jobs.run(Job(kind, study, rule, "8", 0), [trained] * count)
        samples[kind] = {r.samples for r in rows}
        assert {r.train_samples for r in rows} == {100}
    assert samples == {"deployment": {40}, "cka": {40}, "fgsm": {7}}


def test_each_network_of_a_pair_gets_its_own_encoding(trained: bytes, tmp_path: Path) -> None:
    one = opened(trained, tmp_path)
    usual = Encoding.from_plain(one.encoding or {})
    other = replace(one, encoding=replace(usual, steps=usual.steps + 3).to_plain())
    rows, _ = jobs._cka(Job("cka", TINY, "bptt|eprop", "8", 0), one, other)
    data = datasets.load("digits", "test", 40)
    features = []
    for network in (one, other):
        inputs = data.encode(Encoding.from_plain(network.encoding or {}), np.arange(40))
        features.append(next(iter(Probe(network).activity(inputs).values())))
    assert len(features[0]) + 3 == len(features[1])
    expected = similarity.cka(*map(similarity.concatenated, features))
    assert rows[0].value == pytest.approx(expected, abs=1e-12)


def test_a_silent_layer_has_no_similarity_and_the_others_keep_theirs(trained: bytes, tmp_path: Path) -> None:
    """A threshold out of reach silences the hidden layer."""
    network = opened(trained, tmp_path)
    hidden = next(iter(network.populations))
    node = network.nodes[hidden]
    mute = replace(network, nodes=network.nodes | {hidden: replace(node, threshold=np.full_like(node.threshold, 1e9))})
    rows, _ = jobs._cka(Job("cka", TINY, "bptt|eprop", "8", 0), network, mute)
    assert rows[0].value is None
    same, _ = jobs._cka(Job("cka", TINY, "bptt|eprop", "8", 0), network, network)
    assert [r.value for r in same] == pytest.approx([1.0] * len(same))
    study = replace(TINY, epsilons=(0.1,), attacked=20)
    attacked, _ = jobs._cka_attacked(Job("cka_attacked", study, "bptt", "8", 0), mute)
    assert attacked[0].value is None


def test_a_grid_is_run_once_and_resumed(tmp_path: Path) -> None:
    """Its numbers are those of the network it keeps, and a deleted result is all that is computed again."""
    grid = Grid((TINY, replace(TINY, experiments=())))
    table, failed = runner.run(grid, tmp_path, workers=1)
    assert not failed
    assert {r.experiment for r in table} == {"accuracy", "deployment"}
    (measured,) = table.where(experiment="accuracy", metric="accuracy")
    (model,) = (tmp_path / "models").iterdir()
    network, data = load_checkpoint(model), datasets.load("digits", "test", 40)
    inputs = data.encode(Encoding.from_plain(network.encoding or {}), np.arange(40))
    assert measured.value == np.mean(Probe(network).predict(inputs) == data.labels)
    on_chip, same = (
        table.where(experiment="deployment", metric=metric).mean() for metric in ("accuracy", "same_decision")
    )
    assert abs(on_chip - measured.value) <= 1 - same < 0.2
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/*")}
    assert len(written) == 2
    (tmp_path / "results" / next(path.name for path in written if path.name.startswith("deployment"))).unlink()
    again, failed = runner.run(grid, tmp_path, workers=1)
    assert again.rows == table.rows
    trained = next(path for path in written if path.name.startswith("train"))
    assert trained.stat().st_mtime_ns == written[trained]
    assert not list((tmp_path / "unfinished").iterdir())
    paths = report.write(table, tmp_path)
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert f"| 8 | {100 * measured.value:.2f} ± n/a |" in text
    assert all(path.exists() for path in paths)


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A description of no layer fails; its dependants are not started, the other network is trained."""
    study = replace(TINY, archs=("8", "8-x"))
    table, failed = runner.run(Grid((study,)), tmp_path, workers=1)
    assert table.distinct("arch") == ["8"]
    assert len(failed) == 2
    assert any("ND071" in line for line in failed)
    assert any("not trained" in line for line in failed)


def pretended(job: Job, networks: list[bytes], checkpoint: Path) -> jobs.Result:
    """Stand in for `jobs.run` in a worker: 8 ends its process the first time, 9 raises, 10 does its work."""
    if job.arch == "9":
        raise ValueError("odd")
    first = not checkpoint.exists()
    checkpoint.write_text("begun")
    if job.arch == "8" and first:
        os._exit(1)
    return [replace(row("accuracy", job.rule, job.arch, 0.5), dataset="digits")], b"network"


def test_a_killed_worker_costs_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "do", pretended)
    study = replace(TINY, archs=("8", "9", "10"), experiments=())
    table, failed = runner.run(Grid((study,)), tmp_path, workers=1)
    assert [r.arch for r in table] == ["8", "10"]
    assert len(failed) == 1
    assert failed[0].endswith("ValueError: odd")
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == []
    assert len(list((tmp_path / "models").iterdir())) == len(list((tmp_path / "results").iterdir())) == 2


class Fragile(Executor):
    """A pool in this process that breaks under network 8, and takes with it whatever is still to be done then."""

    def __init__(self) -> None:
        self.broken, self.queue = False, []

    def submit(self, do: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future:
        if self.broken:
            raise BrokenProcessPool("no worker")
        future: Future = Future()
        self.queue.append(future)
        if arguments[0].arch == "8":
            self.broken = True
            for each in self.queue:
                each.set_exception(BrokenProcessPool("a worker was killed"))
        elif arguments[0].arch == "9":
            future.set_result(([row("accuracy", "bptt", "9", 0.5)], b"network"))
            self.queue.remove(future)
        return future


def test_a_job_that_kills_its_worker_twice_is_reported_and_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = []

    @contextmanager
    def executor(*_: Any) -> Iterator[Executor]:
        pools.append(Fragile())
        yield pools[-1]

    monkeypatch.setattr(runner, "_executor", executor)
    study = replace(TINY, archs=("8", "9"), experiments=("deployment",))
    table, failed = runner.run(Grid((study,)), tmp_path, workers=2)
    assert table.distinct("arch") == ["9"]
    assert len(pools) == 3
    assert [line.split(": ", 1)[1] for line in failed if "_8_" in line] == [
        "BrokenProcessPool: a worker was killed",
        "the network it needs was not trained",
    ]
    assert len(failed) == 2


def test_a_dask_cluster_gives_the_same_table(tmp_path: Path) -> None:
    """A real scheduler and worker on this machine, spoken to by address, against the same jobs done right here."""
    distributed = pytest.importorskip("distributed")
    train, deployment = Grid((TINY,)).jobs()
    rows, content = jobs.run(train, [])
    here = [*rows, *jobs.run(deployment, [content])[0]]
    with distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        remote, failed = runner.run(Grid((TINY,)), tmp_path, scheduler=cluster.scheduler_address)
    assert not failed
    measured = [[r for r in table if r.metric != "seconds_per_epoch"] for table in (here, remote)]
    assert measured[0] == measured[1]
    assert len(measured[0]) >= 4


def test_a_scheduler_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(runner, "ANSWER_S", 1.0)
    with pytest.raises(BackendUnavailableError, match="ND092"):
        runner.run(Grid((TINY,)), tmp_path, scheduler="tcp://127.0.0.1:9")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found in /proc, which is not here")
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
        ("study = [3]", LoadError, "ND090"),
        *(
            (f"[[study]]\ndataset = 'digits'\n{line}", LoadError, "ND090")
            for line in (
                "seeds = 3",
                "seeds = ['a']",
                "seeds = [true]",
                "rules = 5",
                "rules = 'bptt'",
                "archs = 'ff'",
                "poison_rates = 0.3",
                "epsilons = 0.1",
                "options = 3",
                "options.bptt = 3",
                "conversion = 1",
                "attacked = 1.5",
            )
        ),
        *(
            (f"[[study]]\ndataset = 'digits'\n{line}", UsageError, "ND091")
            for line in (
                "attacked = -5",
                "attacked = 0",
                "epochs = 0",
                "seeds = [-1]",
                "epsilons = [nan]",
                "epsilons = [inf]",
                "poison_rates = [1.5]",
                "options.hebb.rate = 1",
            )
        ),
        ("[[study]]\ndataset = 3", LoadError, "ND090"),
        ("[cost]\nsteps = 3", LoadError, "ND090"),
        ("[cost]\nsteps = [0]", UsageError, "ND091"),
        *(
            (f"[cost]\nrules = ['{rule}']", UsageError, "ND091")
            for rule in ("spide", "ide", "stdp", "rstdp", "convert")
        ),
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


def outcome(table: Table, begins: str, dataset: str = "nmnist") -> str:
    (found,) = (v.outcome for v in judge(table) if v.claim.startswith(begins) and v.dataset == dataset)
    return found


RESISTS = "Under FGSM through the counterpart REC"


def test_recurrence_has_to_resist_at_every_epsilon() -> None:
    """One epsilon where FF is ahead refutes it, whatever the mean; where both are at 0 nothing is said."""
    table = from_paper()

    def changed(epsilon: str, **values: float) -> Table:
        return Table(
            replace(r, value=values[r.arch])
            if r.experiment == "fgsm" and r.rule == "bptt" and r.conditions["epsilon"] == epsilon
            else r
            for r in table
        )

    assert outcome(table, RESISTS) == BORNE_OUT
    assert outcome(changed("0.05", ff=0.02, rec=0.01), RESISTS) == NOT_BORNE_OUT
    assert outcome(changed("0.05", ff=0.02, rec=0.02), RESISTS) == NOT_BORNE_OUT
    assert outcome(changed("0.05", ff=0.0, rec=0.0), RESISTS) == BORNE_OUT
    assert outcome(Table(replace(r, value=0.0) for r in table if r.experiment == "fgsm"), RESISTS) == UNTESTED
    evidence = next(v.evidence for v in judge(table) if v.claim.startswith(RESISTS))
    assert "bptt FF / REC at 0.001: 83.8 / 94.7" in evidence


def test_claims_about_n_mnist_are_judged_there_only() -> None:
    elsewhere = Table(replace(r, dataset="digits") for r in from_paper())
    simulated = Table(replace(r, dataset="nmnist-simulated") for r in from_paper())
    about = {v.claim for v in judge(simulated)} - {v.claim for v in judge(elsewhere)}
    assert len(about) == 3
    assert all(claim.startswith("On N-MNIST") for claim in about)


def test_only_the_largest_training_is_asked_and_sizes_are_never_averaged() -> None:
    """Fewer samples that say the contrary change no verdict, and stand in a line of their own."""
    large = [replace(r, train_samples=5000) for r in from_paper()]
    small = [replace(r, value=1 - (r.value or 0)) for r in from_paper()]
    assert judge(Table(small + large)) == judge(Table(large))
    entries = report.summary(Table(small + large))["accuracy"]
    assert len(entries) == 2 * len(report.summary(Table(large))["accuracy"])
    means = {e["train_samples"]: e["mean"] for e in entries if (e["rule"], e["arch"]) == ("bptt", "ff")}
    assert means == {1000: pytest.approx(0.0288), 5000: pytest.approx(0.9712)}
    deployed = [
        replace(row("deployment", "bptt", "ff", value), train_samples=size)
        for size, value in ((1000, 0.25), (5000, 0.75))
    ]
    entries = report.summary(Table(small + large + deployed))["accuracy"]
    on_chip = {e["train_samples"]: e["deployed"] for e in entries if (e["rule"], e["arch"]) == ("bptt", "ff")}
    assert on_chip == {1000: 0.25, 5000: 0.75}
    text = report._table_4(Table(small + large))
    assert "1,000 training" in text
    assert "5,000 training" in text
    assert "83.82" in text


def test_the_interval_is_of_one_test_set_and_one_seed_has_no_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from neurodeploy import display

    rows = [replace(row("accuracy", "bptt", "ff", value), seed=seed) for seed, value in enumerate((0.4, 0.6))]
    (two,), (one,) = (report.summary(Table(part))["accuracy"] for part in (rows, rows[:1]))
    assert two["interval_95"] == list(wilson(50, 100))
    assert two["deviation"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert one["deviation"] is None
    assert "40.00 ± n/a" in report._table_3(Table(rows[:1]))
    display.show_benchmark(
        Console(width=120), report.summary(Table(rows[:1])) | {"failed": [], "folder": "", "written": []}
    )
    assert "40.00% ± n/a" in capsys.readouterr().out


def test_the_convolutional_numbers_stand_beside_gestures_only() -> None:
    rows = [replace(row("accuracy", "bptt", "conv", 0.5), dataset=name) for name in ("nmnist", "dvs-gesture")]
    assert [e["published"] for e in report.summary(Table(rows))["accuracy"]] == [None, 0.9174]


def test_what_is_absent_is_never_drawn_or_printed_as_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[plots.Panel]] = {}

    def lines(panels: list[plots.Panel], title: str, path: Path) -> Path:
        drawn[path.stem] = panels
        return path

    def unknown(*arguments: Any) -> Row:
        return replace(row(*arguments), value=None)

    share = "estimate={};tensor={}"
    rows = [
        row("fgsm", "bptt", "ff", 0.5, "gradient=counterpart;epsilon=0.01"),
        unknown("fgsm", "bptt", "ff", 0, "gradient=counterpart;epsilon=0.02"),
        row("backdoor", "bptt", "ff", 0.5, "poison=0.1", "attack_success_rate"),
        unknown("backdoor", "bptt", "ff", 0, "poison=0.3", "attack_success_rate"),
        row("cka", "bptt|eprop", "ff", 0.5, "layer=1", "cka_unbiased"),
        unknown("cka", "bptt|eprop", "ff", 0, "layer=2", "cka_unbiased"),
        *(
            row("cka_attacked", "bptt", arch, value, f"layer={layer};epsilon=0.01", "cka_unbiased")
            for layer, both in ((1, (0.25, 0.75)), (2, (0.5, 0.25)))
            for arch, value in zip(("ff", "rec"), both, strict=True)
        ),
        unknown("cka_attacked", "bptt", "ff", 0, "layer=1;epsilon=0.02", "cka_unbiased"),
        *(row("fisher", "bptt", "ff", 0.5, share.format(n, "fc1.weight"), "share") for n in ("empirical", "expected")),
        unknown("fisher", "bptt", "ff", 0, share.format("batch_mean", "fc1.weight"), "share"),
        row("fisher", "bptt", "ff", 0.5, share.format("empirical", "fc1.weight;step=1"), "share"),
        unknown("fisher", "bptt", "ff", 0, share.format("empirical", "fc1.weight;step=2"), "share"),
        row("fisher", "bptt", "ff", 0.9, share.format("expected", "fc1.weight;step=1"), "share"),
        row("cost", "bptt", "8", 3.0, "steps=1", "peak_mebibyte"),
        unknown("cost", "bptt", "8", 0, "steps=2", "peak_mebibyte"),
    ]
    monkeypatch.setattr(plots, "lines", lines)
    report.write(Table(rows), tmp_path)
    curves = {name: {key: y for key, (_, y) in panels[0].lines.items()} for name, panels in drawn.items()}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert curves == {
        "fgsm": {"bptt FF": [50, nan]},
        "backdoor": {"bptt FF": [50, nan]},
        "cka": {"bptt, eprop FF": [0.5, nan]},
        "cka_attacked": {"bptt": [0.5, nan]},
        "fisher": {"fc1.weight": [0.5, nan]},
        "cost": {"bptt": [3.0, nan]},
    }
    assert [panel.title[-7:] for panel in drawn["cka_attacked"]] == ["layer 1", "layer 2"]
    assert drawn["cka_attacked"][1].lines["bptt"][1] == [-0.25]
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "| share, empirical | share, expected | share, batch_mean |" in text
    assert "| bptt | FF | fc1.weight | 0.500 | 0.500 | n/a | n/a |" in text
    assert "| bptt and eprop | FF | 0.500 | n/a |" in text
    assert "| bptt | MiB | 3 | n/a |" in text
    assert "paper, N-MNIST: accuracy / success" in text


def test_figures_of_many_panels_are_written_whole(tmp_path: Path) -> None:
    gap = plots.Panel("a", "x", "y", {"one": ([1.0, 2.0], [float("nan"), 3.0])}, "both", (1.0, 2.0))
    path = plots.lines([gap] * 5, "five", tmp_path / "five.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("before", "bptt", "eprop", "outcome"),
    [
        (100.0, 400.0, 104.0, BORNE_OUT),
        (100.0, 110.0, 104.0, NOT_BORNE_OUT),
        (0.0, 300.0, 0.0, BORNE_OUT),
        (0.0, 0.0, 0.0, NOT_BORNE_OUT),
        (0.0, 300.0, 200.0, NOT_BORNE_OUT),
    ],
)
def test_the_claim_about_memory_follows_the_curve(before: float, bptt: float, eprop: float, outcome: str) -> None:
    """A rule whose memory did not grow at all is a rule whose memory does not grow."""
    rows = [
        row("cost", rule, "8", value, f"steps={steps}", "peak_mebibyte")
        for rule, last in (("bptt", bptt), ("eprop", eprop))
        for steps, value in ((100, before), (400, last))
    ]
    verdicts = [v for v in judge(Table(rows)) if v.claim.startswith("Memory")]
    assert [v.outcome for v in verdicts] == [outcome]
    assert "bptt" in verdicts[0].evidence
    assert "eprop" in verdicts[0].evidence


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


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    from neurodeploy.cli import main

    assert main(["benchmark", *line, "--json"]) == 2
    code: str = json.loads(capsys.readouterr().out)["error"]["code"]
    return code


@pytest.mark.parametrize("option", ["rule bptt", "dataset digits", "arch ff", "seeds 1", "experiment nes", "epochs 1"])
def test_options_beside_a_grid_are_refused_and_not_ignored(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text("[[study]]\ndataset = 'digits'\n")
    assert refused([str(grid), *f"--{option}".split(), "-o", str(tmp_path / "out")], capsys) == "ND091"
    assert not (tmp_path / "out").exists()


def test_results_are_not_written_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for out in (taken, taken / "below"):
        assert refused(["-o", str(out)], capsys) == "ND407"
    assert taken.read_text() == "mine"


def test_an_option_that_a_rule_has_not_is_refused_before_anything_runs(tmp_path: Path) -> None:
    study = replace(TINY, options={"bptt": {"luck": 1}})
    with pytest.raises(UsageError, match="ND075"):
        runner.run(Grid((study,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_jobs_name_is_a_files_name() -> None:
    """Whatever an architecture is made of."""
    study = replace(TINY, rules=("spide",), archs=("4C3/2:0-4C3f",))
    for job in Grid((study,)).jobs():
        assert re.fullmatch(r"[\w.-]+", job.id)
