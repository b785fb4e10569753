"""How each kind of job is done: a function of the job and the networks it needs, giving rows and perhaps a network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from neurodeploy import datasets, pipeline
from neurodeploy.benchmark.grid import Job, Study
from neurodeploy.benchmark.perturbable import perturbable
from neurodeploy.benchmark.table import Row
from neurodeploy.datasets import Encoding
from neurodeploy.errors import NeurodeployError
from neurodeploy.evaluation import attacks, backdoor, fisher, similarity
from neurodeploy.evaluation.counterpart import ann_counterpart
from neurodeploy.frontends.checkpoint import load_checkpoint, save_network
from neurodeploy.ir.network import Network
from neurodeploy.learning import cost, training
from neurodeploy.learning.probing import Probe
from neurodeploy.pipeline import Samples

Result = tuple[list[Row], bytes | None]
TARGET = "loihi2-sim"
CALIBRATION = 64
"""Training samples, randomly perturbed, on which a network that is to meet perturbed input is calibrated."""
NES = {"sigma": 0.1, "samples": 20, "iterations": 10}
"""Black-box search: directions per estimate, estimates per attack. Ours, not the paper's."""
NES_SAMPLES = 50
"""Samples attacked by NES, which asks for 2 x samples x iterations decisions each."""
PREFIXES = (0.25, 0.5, 1.0)
"""Fractions of the steps after which Fisher information is measured."""
FISHER_SAMPLES = 40
PART = 256
"""Test samples that are run, and compared by CKA, together."""


def run(job: Job, networks: list[bytes], checkpoint: Path | None = None) -> Result:
    """Do one job.

    Args:
        networks: model files of the jobs it needs, in their order.
        checkpoint: where an interrupted training is kept, if anywhere.
    """
    do: Callable[..., Result] = KINDS[job.kind]
    with training.on_device("cpu"):
        if job.kind in ("train", "backdoor"):
            return do(job, checkpoint)
        return do(job, *(_network(content) for content in networks))


def _train(job: Job, checkpoint: Path | None) -> Result:
    outcome = training.train(job.settings, checkpoint=checkpoint)
    rows = _rows(job, outcome.test_samples)
    found = [rows("accuracy", "", "float", "accuracy", outcome.test_accuracy)]
    found.append(rows("accuracy", "", "host", "seconds_per_epoch", float(np.mean([e.seconds for e in outcome.curve]))))
    for name, value in (outcome.curve[-1].measures | outcome.appraisal).items():
        found.append(rows("accuracy", "", "float", name, value))
    return found, _bytes(outcome.network)


def _deployment(job: Job, network: Network) -> Result:
    """All test samples on the integer program: what deployment costs in accuracy."""
    data, encoding = _test(job), _encoding(network)
    model = pipeline.compile(network, TARGET)
    probe, hits, same, synops = Probe(network), 0, 0, 0.0
    for part in _parts(len(data.labels)):
        inputs, labels = data.encode(encoding, part), data.labels[part]
        samples = Samples("test", inputs, labels)
        result = pipeline.run(model, samples)
        hits += int(np.sum(result.predictions == labels))
        same += int(np.sum(result.predictions == probe.predict(inputs)))
        synops += pipeline.evaluate(model, samples, result).activity.synops
    count = len(data.labels)
    rows = _rows(job, count)
    values = {"accuracy": hits / count, "same_decision": same / count, "synops_per_sample": synops / count}
    return [rows("deployment", "", "deployed", name, value) for name, value in values.items()], None


def _fgsm(job: Job, network: Network) -> Result:
    """FGSM through the counterpart (the paper's) and the surrogate gradient, on the float network and the deployed."""
    study, (inputs, labels) = _study(job), _attacked(job, network)
    probe = Probe(network)
    counterpart = ann_counterpart(network)
    mean = inputs.mean(axis=0, dtype=np.float64)
    rows = _rows(job, len(labels))
    own = float(np.mean(counterpart.logits(mean).argmax(1) == labels))
    found = [rows("fgsm", "gradient=counterpart", "float", "counterpart_accuracy", own)]
    gradients = {
        "counterpart": attacks.through_mean_frame(counterpart.gradient),
        "surrogate": probe.gradient,
    }
    places: dict[str, attacks.Predict] = {"float": probe.predict, "deployed": deployed(network, study)}
    for name, gradient in gradients.items():
        fixed = gradient(inputs.astype(np.float64), labels)
        attack = partial(_fgsm_with, fixed)
        for where, predict in places.items():
            for step in attacks.robustness(predict, inputs, labels, attack, (0.0, *study.epsilons)):
                condition = f"gradient={name};epsilon={step.epsilon:g}"
                found.append(rows("fgsm", condition, where, "accuracy", step.accuracy.value))
    return found, None


def _fgsm_with(gradient: np.ndarray, inputs: np.ndarray, labels: np.ndarray, epsilon: float) -> np.ndarray:
    """FGSM with a gradient that is computed once for all epsilons."""
    return attacks.fgsm(inputs, labels, lambda *_: gradient, epsilon)


def _nes(job: Job, network: Network) -> Result:
    """Black-box attack on decisions of the float network; asks only for losses."""
    study = _study(job)
    inputs, labels = _attacked(job, network)
    inputs, labels = inputs[:, :NES_SAMPLES], labels[:NES_SAMPLES]
    probe, rows, found = Probe(network), _rows(job, len(labels)), []
    for epsilon in study.epsilons:
        attacked = attacks.nes(inputs, labels, probe.loss, epsilon, step=epsilon / 4, seed=job.seed, **NES)  # type: ignore[arg-type]
        accuracy = float(np.mean(probe.predict(attacked.inputs) == labels))
        found.append(rows("nes", f"epsilon={epsilon:g}", "float", "accuracy", accuracy))
        found.append(rows("nes", f"epsilon={epsilon:g}", "float", "queries_per_sample", float(attacked.queries)))
    return found, None


def _backdoor(job: Job, checkpoint: Path | None) -> Result:
    """Train on data of which a part of one class carries a trigger and another label."""
    chosen = job.settings
    train = datasets.load(chosen.dataset, "train", chosen.train_samples)
    test = datasets.load(chosen.dataset, "test", chosen.test_samples)
    trigger = backdoor.draw_trigger(train.shape(chosen.encoding), train.classes, job.seed)
    poisoning = backdoor.poison(train.labels, trigger, job.variant or 0.0, job.seed)

    def transform(inputs: np.ndarray, labels: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return poisoning.apply(np.array(inputs), index), poisoning.labels[index]

    outcome = training.train(chosen, checkpoint=checkpoint, transform=transform)
    inputs = test.encode(chosen.encoding, np.arange(len(test.labels)))
    found = backdoor.measure(Probe(outcome.network).predict, inputs, test.labels, trigger)
    rows = _rows(job, len(test.labels))
    values = {
        "clean_accuracy": found.clean.value,
        "accuracy_with_source_triggered": found.stamped.value,
        "attack_success_rate": found.success.value,
    }
    condition = f"poison={job.variant:g}"
    return [rows("backdoor", condition, "float", name, value) for name, value in values.items()], None


def _cka(job: Job, one: Network, other: Network) -> Result:
    """Similarity of two networks trained on the same data, on all test samples, each encoded as its network wants.

    Layers of equal depth are compared, counted from the input; what one network has more of is left out. A layer that
    is silent has no value.
    """
    data = _test(job)
    pairs = list(zip(one.populations, other.populations, strict=False))
    sums = [similarity.MiniBatchCKA() for _ in pairs]
    for part in _parts(len(data.labels)):
        first, second = (Probe(network).activity(data.encode(_encoding(network), part)) for network in (one, other))
        for each, (a, b) in zip(sums, pairs, strict=True):
            each.add(similarity.concatenated(first[a]), similarity.concatenated(second[b]))
    rows, found = _rows(job, len(data.labels)), []
    for depth, each in enumerate(sums):
        value = _unless_silent(lambda each=each: each.value)  # type: ignore[misc]
        found.append(rows("cka", f"layer={depth + 1}", "float", "cka_unbiased", value))
    return found, None


def _unless_silent(measure: Callable[[], float]) -> float | None:
    """Return a similarity, or None where a layer's activity does not vary and there is none."""
    try:
        return measure()
    except NeurodeployError as error:
        if error.findings[0].code != "ND437":
            raise
        return None


def _cka_attacked(job: Job, network: Network) -> Result:
    """Similarity of a network's own layers on clean and on attacked input (FGSM through the counterpart).

    As a control, the same for an image of random signs in the gradient's place; and how many spikes the attack changes.
    A layer that is silent has no value.
    """
    study, (inputs, labels) = _study(job), _attacked(job, network)
    gradient = attacks.through_mean_frame(ann_counterpart(network).gradient)(inputs.astype(np.float64), labels)
    noise = np.broadcast_to(np.random.default_rng(job.seed).choice((-1.0, 1.0), inputs.shape[1:]), inputs.shape)
    probe, rows, found = Probe(network), _rows(job, len(labels)), []
    clean = {name: similarity.concatenated(spikes) for name, spikes in probe.activity(inputs).items()}
    for epsilon in study.epsilons:
        attacked, noisy = (probe.activity(_fgsm_with(d, inputs, labels, epsilon)) for d in (gradient, noise))
        for depth, (name, before) in enumerate(clean.items()):
            condition, after = f"layer={depth + 1};epsilon={epsilon:g}", similarity.concatenated(attacked[name])
            spikes = np.count_nonzero(before)
            values = {
                "cka_unbiased": _unless_silent(partial(similarity.cka, before, after)),
                "cka_unbiased_of_noise": _unless_silent(
                    partial(similarity.cka, before, similarity.concatenated(noisy[name]))
                ),
                "changed_per_spike": np.count_nonzero(before != after) / spikes if spikes else None,
            }
            found += [rows("cka_attacked", condition, "float", metric, value) for metric, value in values.items()]
    return found, None


def _fisher(job: Job, network: Network) -> Result:
    """Fisher information per weight tensor, three estimates, and the paper's over time."""
    inputs, labels = _attacked(job, network)
    inputs, labels = inputs[:, :FISHER_SAMPLES], labels[:FISHER_SAMPLES]
    probe, batch = Probe(network), [(inputs, labels)]
    classes = network.populations[network.output].size
    estimates = {
        "empirical": partial(fisher.empirical, probe.weight_gradients, classes=classes),
        "expected": partial(fisher.expected, probe.weight_gradients, probe.probabilities),
        "batch_mean": partial(fisher.batch_mean, fisher.mean_of(probe.weight_gradients), classes=classes),
    }
    rows, found = _rows(job, len(labels)), []
    for name, estimate in estimates.items():
        information = estimate(batch)
        for tensor, share in information.share.items():
            condition = f"estimate={name};tensor={tensor}"
            found.append(rows("fisher", condition, "float", "share", share))
            found.append(rows("fisher", condition, "float", "per_parameter", information.per_parameter[tensor]))
    times = sorted({max(1, round(fraction * len(inputs))) for fraction in PREFIXES})
    for step, information in fisher.over_time(estimates["empirical"], batch, times).items():
        for tensor, share in information.share.items():
            found.append(rows("fisher", f"estimate=empirical;tensor={tensor};step={step}", "float", "share", share))
    return found, None


def _cost(job: Job) -> Result:
    """Memory beyond the input and time per sample of one update, measured in a process of its own."""
    assert job.cost is not None
    steps = int(job.variant or 1)
    found = cost.measure(job.rule, job.arch, job.cost.inputs, job.cost.classes, steps, job.cost.batch)
    make = partial(Row, "cost", "random", "random spikes", job.rule, job.arch, 0, f"steps={steps}", "host")
    samples = job.cost.batch
    return [
        make("peak_mebibyte", found.peak_mebibyte, samples),
        make("milliseconds_per_sample", found.milliseconds_per_sample, samples),
    ], None


def deployed(network: Network, study: Study) -> attacks.Predict:
    """Return the decisions of the integer program, compiled for input as far off as the largest perturbation."""
    data = datasets.load(study.dataset, "train", CALIBRATION)
    clean = data.encode(_encoding(network), np.arange(len(data.labels)))
    model = perturbable(network, TARGET, clean, max(study.epsilons))

    def predict(inputs: np.ndarray) -> np.ndarray:
        return pipeline.run(model, Samples("attacked", inputs.astype(np.float32), None)).predictions

    return predict


def _test(job: Job) -> datasets.Dataset | datasets.Recordings:
    study = _study(job)
    return datasets.load(study.dataset, "test", study.test_samples)


def _attacked(job: Job, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return the test samples that are attacked, encoded as the network wants them, and their labels."""
    data = _test(job)
    chosen = np.arange(len(data.labels))[: _study(job).attacked]
    return data.encode(_encoding(network), chosen), data.labels[chosen]


def _encoding(network: Network) -> Encoding:
    return Encoding.from_plain(network.encoding or {})


def _study(job: Job) -> Study:
    assert job.study is not None
    return job.study


def _rows(job: Job, samples: int) -> Callable[[str, str, str, str, float | None], Row]:
    """Return a function that makes this job's rows of (experiment, condition, where, metric, value)."""
    study = _study(job)
    title = datasets.load(study.dataset, "test", 1).name
    learned = len(datasets.load(study.dataset, "train", study.train_samples).labels)

    def make(experiment: str, condition: str, where: str, metric: str, value: float | None) -> Row:
        return Row(
            experiment, study.dataset, title, job.rule, job.arch, job.seed, condition, where, metric,
            None if value is None else float(value), samples, learned,
        )  # fmt: skip

    return make


def _parts(samples: int) -> list[np.ndarray]:
    """Return the indices of mini-batches, each of at least the four samples that CKA's estimator needs."""
    return np.array_split(np.arange(samples), max(1, samples // PART))


def _network(content: bytes) -> Network:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        path.write_bytes(content)
        return load_checkpoint(path)


def _bytes(network: Network) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        save_network(network, path)
        return path.read_bytes()


KINDS: dict[str, Callable[..., Result]] = {
    "train": _train,
    "deployment": _deployment,
    "fgsm": _fgsm,
    "nes": _nes,
    "backdoor": _backdoor,
    "cka": _cka,
    "cka_attacked": _cka_attacked,
    "fisher": _fisher,
    "cost": _cost,
}
