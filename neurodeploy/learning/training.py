"""The training loop: epochs, order, schedule, early stopping, checkpoints. What a batch teaches is the rule's business.

Everything random follows from the seed: the initial weights, the order of samples of each epoch, the spikes that
stand for an image in it. A run that is interrupted and taken up again therefore ends as if it never had been.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import torch

from neurodeploy import datasets
from neurodeploy.datasets import Encoding
from neurodeploy.errors import BackendUnavailableError, Finding, LoadError, UsageError
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.entering import counted
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Input, InputKind, grid_levels
from neurodeploy.learning import architectures, rule
from neurodeploy.learning.architectures import Neurons
from neurodeploy.learning.learner import Learner, NetOptions, Step
from neurodeploy.learning.recipes import Recipe, recipe

DT_S = 1e-3
"""One step stands for one millisecond."""
FORMAT = 1
VALIDATION = 0.1
"""Fraction of the training split held out for early stopping."""
EXAMPLES = 64
"""Training samples that show what values the input takes."""
PIECE = 500
"""Samples that are encoded and scored together."""

Progress = Callable[[str, int, int], None]
"""(what is being done, done, total)."""


@dataclass(frozen=True)
class Settings:
    """A training run, complete: the same settings give the same network.

    Args:
        rule, dataset, arch: by name; arch may be a description (`learning.architectures`).
        encoding: how samples become input.
        epochs, batch, seed: of the run.
        patience: stop after so many epochs without a better validation score, and keep the best network; None: hold
            nothing out and keep the last.
        train_samples, test_samples: only the first so many; None: all.
        device: "cpu" or "cuda".
        recipe: neurons, initial range and options of the rule.
    """

    rule: str
    dataset: str
    arch: str
    encoding: Encoding
    epochs: int
    batch: int
    recipe: Recipe
    seed: int = 0
    patience: int | None = None
    train_samples: int | None = None
    test_samples: int | None = None
    device: str = "cpu"

    def to_plain(self) -> dict[str, Any]:
        """Return everything that decides the result as JSON values; a recurrent gain only where it differs."""
        plain = asdict(self)
        plain["recipe"]["neurons"]["reset"] = str(self.recipe.neurons.reset)
        plain["recipe"]["options"] = dict(self.recipe.options)
        del plain["recipe"]["encoding"]
        if self.recipe.recurrent_gain is None:
            del plain["recipe"]["recurrent_gain"]
        return plain

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data: what was seen while learning, and the score on what was held out, if any."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    seconds: float
    measures: dict[str, float]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run: the network that was kept, its score on the whole test split, and how it got there.

    `test_accuracy` is that of the saved network's spike counts, by `frontends.source`, apart from all training code.
    `appraisal` is what the rule says of itself on some training samples, such as SPIDE's energy.
    """

    settings: Settings
    network: Network
    curve: tuple[Epoch, ...]
    kept_epoch: int
    test_accuracy: float
    test_samples: int
    train_samples: int
    resumed_after: int
    test_seconds: float
    appraisal: dict[str, float]


def settings(
    rule_name: str,
    dataset: str,
    *,
    arch: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    encoding: Encoding | None = None,
    neuron: str | None = None,
    patience: int | None = None,
    train_samples: int | None = None,
    test_samples: int | None = None,
    device: str = "cpu",
    options: dict[str, Any] | None = None,
) -> Settings:
    """Return a run's settings, the recipe's numbers where none are given.

    Args:
        neuron: one of `architectures.KINDS`, in place of the recipe's kind.
        options: fields of the rule's `Options` to change.

    Raises:
        UsageError: ND074 for an unknown rule, ND075 for an option it has not.
    """
    entry = rule(rule_name)
    base = recipe(rule_name, dataset)
    _check_options(rule_name, entry.home.Options, options or {})
    for name, value in (("epochs", epochs), ("batch", batch), ("patience", patience)):
        if value is not None and value < 1:
            what, why = f"{name} is {value}", "it counts from 1"
            raise UsageError(Finding("ND075", f"--{name}", what, why, "give a whole number of at least 1"))
    if neuron is not None:
        base = replace(base, neurons=_of_kind(neuron, base.neurons, entry.shapes_neurons))
    chosen = replace(base, options={**base.options, **(options or {})})
    return Settings(
        rule_name,
        dataset,
        arch or base.arch,
        encoding or usual_encoding(rule_name, dataset),
        epochs or base.epochs,
        batch or base.batch,
        chosen,
        seed,
        patience,
        train_samples,
        test_samples,
        device,
    )


def _check_options(rule_name: str, kind: Any, options: dict[str, Any]) -> None:
    """Refuse options that the rule's `Options`, `kind`, has not, or of another type or choice.

    Raises:
        UsageError: ND075.
    """
    known = {each.name for each in fields(kind)}
    unknown = [name for name in options if name not in known]
    if unknown:
        what, why = f"{rule_name} has no option {', '.join(unknown)}", f"it has {', '.join(sorted(known))}"
        raise UsageError(Finding("ND075", "--option", what, why, "use one of these"))
    kinds = get_type_hints(kind)
    choices = kind.CHOICES if issubclass(kind, NetOptions) else {}
    for name, value in options.items():
        wanted = choices.get(name)
        if not _is_a(value, kinds[name]) or (wanted is not None and value not in wanted):
            what = f"{name} is {value!r}"
            why = f"it is one of {', '.join(wanted)}" if wanted is not None else f"it is of type {_named(kinds[name])}"
            raise UsageError(Finding("ND075", f"--option {name}", what, why, "see the Options in the rule's file"))


def _of_kind(neuron: str, neurons: Neurons, shaped: bool) -> Neurons:
    """Return `neurons` made of another kind, unless the rule has neurons of its own."""
    if neuron not in architectures.KINDS or shaped:
        what = f"no neurons of kind {neuron!r}" if not shaped else "the rule has neurons of its own"
        why = f"kinds are {', '.join(architectures.KINDS)}, for bptt, fa, dfa, eprop and decolle"
        raise UsageError(Finding("ND075", "--neuron", what, why, "use one of these, or leave --neuron out"))
    return replace(neurons, **architectures.KINDS[neuron])


def _is_a(value: Any, kind: Any) -> bool:
    """Whether an option's value is of the type its field is annotated with; whole numbers are numbers too."""
    if get_origin(kind) is UnionType:
        return any(_is_a(value, each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(each, float) for each in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))


def _named(kind: Any) -> str:
    return str(kind) if get_origin(kind) else kind.__name__


def usual_encoding(rule_name: str, dataset: str) -> Encoding:
    """Return the recipe's encoding for images where it has one, otherwise the dataset's own."""
    usual = datasets.default_encoding(dataset)
    wanted = recipe(rule_name, dataset).encoding
    return usual if wanted is None or usual.kind == "frames" else wanted


def train(
    chosen: Settings,
    *,
    checkpoint: Path | None = None,
    restart: bool = False,
    progress: Progress | None = None,
    transform: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Outcome:
    """Train as `chosen` says and return the outcome.

    Args:
        checkpoint: file that is written after every epoch and taken up if it is there. It stays when the run is over,
            for the caller to remove once what was learned is safe.
        restart: begin anew even if there is a checkpoint.
        progress: hears of batches and epochs.
        transform: (inputs, labels, indices of the training split) -> what is learned instead; for poisoned data.

    Raises:
        LoadError: ND076 when the checkpoint is of another run or damaged.
        BackendUnavailableError: ND077 when the device is not here.
    """
    _check_device(chosen.device)
    train_data = datasets.load(chosen.dataset, "train", chosen.train_samples)
    test_data = datasets.load(chosen.dataset, "test", chosen.test_samples)
    validation, learned = _divided(len(train_data.labels), chosen)
    with on_device(chosen.device):
        learner = begin(chosen, train_data)
        history = _History.read(checkpoint, chosen) if checkpoint is not None and not restart else None
        if history is None:
            history = _History((), learner.state(), learner.state(), 0)
        else:
            learner.restore(history.state)
        resumed = len(history.curve)
        while not _over(history, chosen):
            start = perf_counter()
            steps = list(_pass(learner, chosen, train_data, learned, len(history.curve), transform, progress))
            score = _held_out(learner, chosen, train_data, validation)
            history = history.after(_epoch(len(history.curve), steps, score, perf_counter() - start), learner.state())
            if checkpoint is not None:
                history.write(checkpoint, chosen)
            if progress:
                progress("epochs", len(history.curve), chosen.epochs)
        learner.restore(history.best)
        network = learner.network()
        shown = learned[:EXAMPLES]
        inputs = torch.tensor(train_data.encode(chosen.encoding, shown), dtype=torch.float32)
        appraisal = learner.appraise(inputs, torch.tensor(train_data.labels[shown]))
    start = perf_counter()
    score = accuracy(network, test_data, chosen.encoding, progress=progress)
    return Outcome(
        chosen,
        network,
        history.curve,
        history.best_epoch,
        score,
        len(test_data.labels),
        len(learned),
        resumed,
        perf_counter() - start,
        appraisal,
    )


def _divided(samples: int, chosen: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of samples held out, none unless patience asks for them, and of those that are learned."""
    order = np.random.default_rng((chosen.seed, 1)).permutation(samples)
    held = round(VALIDATION * samples) if chosen.patience is not None else 0
    return np.sort(order[:held]), np.sort(order[held:])


def _held_out(
    learner: Learner, chosen: Settings, data: datasets.Dataset | datasets.Recordings, validation: np.ndarray
) -> float | None:
    """Return the accuracy on samples held out, or None where none are."""
    if not len(validation):
        return None
    with on_device("cpu"):
        return accuracy(learner.network(), data, chosen.encoding, validation)


def begin(chosen: Settings, data: datasets.Dataset | datasets.Recordings) -> Learner:
    """Return the rule's learner with its initial network, as the seed draws it."""
    entry = rule(chosen.rule)
    options = entry.home.Options(**chosen.recipe.options)
    source = input_of(data, chosen.encoding)
    if entry.own_architecture:
        network = entry.home.architecture(chosen.arch, source, data.classes, options, chosen.seed, chosen.dataset)
    else:
        hidden = architectures.hidden(chosen.arch, chosen.dataset)
        network = architectures.build(
            hidden,
            source,
            data.classes,
            chosen.recipe.neurons,
            chosen.seed,
            gain=chosen.recipe.gain,
            recurrent_gain=chosen.recipe.recurrent_gain,
        )
    network = replace(network, dt_s=DT_S, encoding=chosen.encoding.to_plain())
    learner: Learner = getattr(entry.home, entry.learner)(network, options, chosen.seed)
    return learner


def input_of(data: datasets.Dataset | datasets.Recordings, encoding: Encoding) -> Input:
    """Return the Input that carries `data`: spikes, or currents on the grid of the first training samples."""
    sample = data.encode(encoding, np.arange(min(EXAMPLES, len(data.labels))))
    shape = sample.shape[2:]
    if encoding.kind == "counts":
        return counted(shape, float(sample.max()))
    if sample.dtype == np.uint8:
        return Input(shape, InputKind.SPIKES)
    low, high = min(float(sample.min()), 0.0), max(float(sample.max()), 1.0)
    return Input(shape, InputKind.GRADED, low, high, grid_levels(sample, high))


def accuracy(
    network: Network,
    data: datasets.Dataset | datasets.Recordings,
    encoding: Encoding,
    chosen: np.ndarray | None = None,
    progress: Progress | None = None,
) -> float:
    """Return the share of samples that the network's spike counts decide rightly, computed by `frontends.source`."""
    chosen = np.arange(len(data.labels)) if chosen is None else chosen
    hits = 0
    for first in range(0, len(chosen), PIECE):
        part = chosen[first : first + PIECE]
        predictions = run_source(network, data.encode(encoding, part)).predictions
        hits += int((predictions == data.labels[part]).sum())
        if progress:
            progress("testing", min(first + PIECE, len(chosen)), len(chosen))
    return hits / len(chosen)


def _pass(
    learner: Learner,
    chosen: Settings,
    data: datasets.Dataset | datasets.Recordings,
    learned: np.ndarray,
    epoch: int,
    transform: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None,
    progress: Progress | None,
) -> Iterator[Step]:
    """Learn every sample once, in an order and with spikes of this epoch's own."""
    learner.epoch_begins(epoch)
    order = np.random.default_rng((chosen.seed, 2, epoch)).permutation(learned)
    encoding = chosen.encoding
    if encoding.kind == "rate":
        encoding = replace(encoding, seed=int(np.random.default_rng((chosen.seed, 3, epoch)).integers(2**31)))
    batches = -(-len(order) // chosen.batch)
    for at in range(batches):
        learner.schedule((epoch + at / batches) / chosen.epochs)
        part = order[at * chosen.batch : (at + 1) * chosen.batch]
        inputs, labels = data.encode(encoding, part), data.labels[part]
        if transform is not None:
            inputs, labels = transform(inputs, labels, part)
        yield learner.learn(torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels))
        if progress:
            progress(f"epoch {epoch + 1} of {chosen.epochs}", at + 1, batches)


def _epoch(epoch: int, steps: list[Step], score: float | None, seconds: float) -> Epoch:
    samples = sum(step.samples for step in steps)
    measures = {
        name: float(np.mean([step.measures[name] for step in steps if name in step.measures]))
        for name in dict.fromkeys(name for step in steps for name in step.measures)
    }
    loss = sum(step.loss for step in steps) / samples
    return Epoch(epoch, loss, sum(step.correct for step in steps) / samples, score, seconds, measures)


def _over(history: _History, chosen: Settings) -> bool:
    waited = len(history.curve) - 1 - history.best_epoch
    return len(history.curve) >= chosen.epochs or (chosen.patience is not None and waited >= chosen.patience)


@dataclass(frozen=True)
class _History:
    """How far a run has come: the curve, the learner's present state, and the best one with its epoch."""

    curve: tuple[Epoch, ...]
    state: dict[str, Any]
    best: dict[str, Any]
    best_epoch: int

    def after(self, epoch: Epoch, state: dict[str, Any]) -> _History:
        """Return the history with one more epoch; without validation the latest state is the best."""
        scores = [e.validation_accuracy for e in self.curve if e.validation_accuracy is not None]
        score = epoch.validation_accuracy
        better = score is None or not scores or score > max(scores)
        kept = (_copy(state), epoch.epoch) if better else (self.best, self.best_epoch)
        return _History((*self.curve, epoch), state, *kept)

    def write(self, path: Path, chosen: Settings) -> None:
        """Write the checkpoint whole or not at all."""
        content = {
            "training": FORMAT,
            "settings": json.dumps(chosen.to_plain()),
            "curve": json.dumps([asdict(epoch) for epoch in self.curve]),
            "state": self.state,
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(content, file)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    @staticmethod
    def read(path: Path, chosen: Settings) -> _History | None:
        """Return the history in `path`, or None when there is no such file.

        Raises:
            LoadError: ND076 when it is damaged, or of other settings.
        """
        if not path.exists():
            return None
        fix = "begin anew with --restart, or write elsewhere with -o"
        try:
            content = torch.load(path, weights_only=True)
            if content["training"] != FORMAT:
                raise ValueError(f"format {content['training']}")
            saved = json.loads(content["settings"])
            curve = tuple(Epoch(**epoch) for epoch in json.loads(content["curve"]))
            history = _History(curve, content["state"], content["best"], content["best_epoch"])
        except Exception as error:
            what, why = "the training checkpoint cannot be read", f"{type(error).__name__}: {str(error)[:200]}"
            raise LoadError(Finding("ND076", str(path), what, why, fix)) from error
        wanted = json.loads(json.dumps(chosen.to_plain()))
        if saved != wanted:
            differ = sorted(key for key in wanted if saved.get(key) != wanted[key])
            what, why = "an interrupted run with other settings lies here", f"they differ in {', '.join(differ)}"
            raise LoadError(Finding("ND076", str(path), what, why, fix))
        return history


def _copy(value: Any) -> Any:
    """Return `value` with every tensor copied, since learners go on changing theirs."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Make new tensors on `device`, and use one thread, so that sums are added in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_num_threads(threads)


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        what, why = f"no device {device!r}", "training runs on cpu or cuda"
        raise UsageError(Finding("ND075", "--device", what, why, "use cpu"))
    if device == "cuda" and not torch.cuda.is_available():
        what, why = "PyTorch finds no CUDA device here", f"this is torch {torch.__version__}"
        fix = "use --device cpu, or install a CUDA build: pip install torch"
        raise BackendUnavailableError(Finding("ND077", "--device cuda", what, why, fix))
