"""The verbs of the command line: parse, call the pipeline, print the answer. Nothing is computed here.

A verb returns an `Answer`; `main` prints it as tables, or with --json as one JSON object and nothing else on standard
output. Progress and messages go to standard error. Everything but Typer is imported inside the verbs, so that --help
is quick.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from neurodeploy.errors import Finding, NeurodeployError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from neurodeploy.artifact import CompiledModel
    from neurodeploy.datasets import Encoding
    from neurodeploy.hardware import HardwareProfile
    from neurodeploy.pipeline import Samples
    from neurodeploy.report.gather import Subject

VERBS = (
    "train",
    "benchmark",
    "save",
    "compile",
    "run",
    "verify",
    "learn",
    "evaluate",
    "report",
    "emit",
    "map",
    "export",
    "inspect",
    "infer-semantics",
    "targets",
    "explain",
)
INTERRUPTED = 130
CLOSE_CODES = 5
DEFECT = 1
RULES = ("bptt", "fa", "dfa", "eprop", "decolle", "spide", "ide", "stdp", "rstdp", "convert")
"""As in `learning.RULES`, which would import too much for --help."""
USUAL_SAMPLES = {"lava": 20}
USUAL_SAMPLES_OTHERWISE = 200
VERIFY_LEARNING_SAMPLES = 5
"""Samples that verify compares when not told: few on Lava's runtime, which takes milliseconds for every step."""
EMITTED_SAMPLES = 10
REPORTED_SAMPLES = 1000
FORMATS = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}
"""How a report is written, by how its file's name ends."""
DATASET_OF_PIXELS = {64: "digits", 784: "mnist", 3072: "cifar10"}
DATASET_OF_ROWS = {8: "digits", 28: "mnist"}
DATASET_OF_FRAMES = {2312: "nmnist-simulated", 32: "fsdd", 40: "timit-sample", 4: "qtdb", 700: "shd"}
"""What verify and evaluate use when not told, by the number of values a model reads per step."""

app = typer.Typer(
    name="neurodeploy",
    help="Translate trained spiking networks to neuromorphic targets exactly, or record what changed, or refuse.",
    epilog="Exit codes: 0 done, 1 our defect, 2 usage, 3 refused, 4 does not fit, 5 verification failed, "
    "6 backend missing.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True)
class Answer:
    """What a verb has to say: plain values, how to show them to people, and the error to end with, if any."""

    plain: dict[str, Any]
    show: Callable[[Any, dict[str, Any]], None]
    error: NeurodeployError | None = None


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Artifact = Annotated[Path, typer.Argument(metavar="MODEL.ndc", help="What `neurodeploy compile` wrote.")]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", metavar="CODE", help="Accept the substitution of this code; repeatable.")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="STATE.pt", help="A state_dict for the class MODEL names.")
]
ExampleShape = Annotated[
    str | None, typer.Option("--example-shape", metavar="SHAPE", help="One sample at one step: 784 or 1x28x28.")
]
Dt = Annotated[float | None, typer.Option("--dt", metavar="SECONDS", help="What one step stands for.")]
Semantics = Annotated[
    list[str] | None,
    typer.Option(
        "--semantics",
        metavar="NAME=VALUE",
        help="What NIR leaves open, e.g. reset=subtract; or a file of infer-semantics. Repeatable.",
    ),
]
TrustPickle = Annotated[bool, typer.Option("--trust-pickle", help="Open files that run code when opened.")]
Data = Annotated[str, typer.Option("--data", metavar="DATA", help="A dataset's name (digits, mnist, ...), or an .npz.")]
UsualData = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="As for run; default by the model's input.")
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Use the first N samples only.")]
On = Annotated[
    str,
    typer.Option("--on", metavar="WHERE", help="engine, or one of the target's: see `targets`."),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="Give up on a simulator after.")
]


@app.command()
def train(
    rule: Annotated[str, typer.Option("--rule", metavar="RULE", help=f"One of {', '.join(RULES)}.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="DATA", help="digits, mnist, nmnist, fsdd, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.pt", help="The trained network.")],
    arch: Annotated[
        str | None,
        typer.Option("--arch", metavar="ARCH", help="ff, rec, conv, feedback, or layers: 128-64, 128r, 12C5-P2-32C5."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", min=1, help="Passes over the data.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help="Samples per update.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Of everything random.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", metavar="T", min=1, help="Steps per sample.")] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="KIND", help="direct, rate, latency, rows, frames, counts.")
    ] = None,
    neuron: Annotated[
        str | None, typer.Option("--neuron", metavar="KIND", help="lif, two-trace or alif, if not the recipe's.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", metavar="N", min=1, help="Stop after N epochs without a better validation score."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="First N training samples.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Of the rule; repeatable.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="cpu or cuda.")] = "cpu",
    restart: Annotated[bool, typer.Option("--restart", help="Forget an interrupted run of the same name.")] = False,
    as_json: Json = False,
) -> Answer:
    """Train a network with a learning rule; an interrupted run goes on where it was."""
    from neurodeploy import display, plots, summary
    from neurodeploy.frontends.checkpoint import save_network
    from neurodeploy.learning import training

    usual = training.usual_encoding(rule, dataset)
    chosen = training.settings(
        rule,
        dataset,
        arch=arch,
        epochs=epochs,
        batch=batch,
        seed=seed,
        encoding=replace(usual, kind=encoding or usual.kind, steps=steps or usual.steps),
        neuron=neuron,
        patience=patience,
        train_samples=limit,
        device=device,
        options=dict(map(_option, option or [])),
    )
    _check_writable(out)
    with _bars() as progress:
        outcome = training.train(chosen, checkpoint=unfinished(out), restart=restart, progress=progress)
    save_network(outcome.network, out)
    unfinished(out).unlink(missing_ok=True)
    plot = plots.learning_curve(outcome.curve, f"{rule} on {dataset}, {chosen.arch}", out.with_suffix(".png"))
    return Answer({"model": str(out), "plot": str(plot), **summary.of_training(outcome)}, display.show_training)


@app.command()
def benchmark(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Results, tables and figures.")],
    grid: Annotated[
        Path | None, typer.Argument(metavar="GRID.toml", help="What to run; without one, what the options say.")
    ] = None,
    rule: Annotated[list[str] | None, typer.Option("--rule", metavar="RULE", help="Repeatable.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="DATA", help="Default: digits.")] = None,
    arch: Annotated[list[str] | None, typer.Option("--arch", metavar="ARCH", help="Repeatable.")] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Seeds 0 to N - 1; default: 1.")
    ] = None,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", metavar="NAME", help="fgsm, nes, cka, fisher, backdoor, ...")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", min=1, help="Passes over the data.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", min=1, help="Local processes.")] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, tcp://host:8786.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Compare learning rules: a grid of jobs, run anywhere and resumed, its tables beside the published ones."""
    from neurodeploy import display
    from neurodeploy.benchmark import grid as grids
    from neurodeploy.benchmark import report, runner

    if grid is not None:
        options = {"rule": rule, "dataset": dataset, "arch": arch, "seeds": seeds, "experiment": experiment}
        given = [f"--{name}" for name, value in (options | {"epochs": epochs}).items() if value]
        if given:
            what, why = f"{', '.join(given)} beside {grid}", "a grid says all of this itself"
            fix = "write it into the grid, or leave the grid out"
            raise UsageError(Finding("ND091", ", ".join(given), what, why, fix))
        chosen = grids.read_grid(grid)
    else:
        rules, archs = tuple(rule or grids.PAPER_RULES), tuple(arch or ("ff", "rec"))
        wanted = tuple(experiment or ()) or grids.EXPERIMENTS
        study = grids.Study(dataset or "digits", rules, archs, tuple(range(seeds or 1)), wanted, epochs=epochs)
        chosen = grids.checked(grids.Grid((study,)))
    _make_writable(out)
    with _bars() as progress:
        table, failed = runner.run(chosen, out, workers=workers, scheduler=scheduler, progress=progress)
    written = report.write(table, out)
    plain = report.summary(table) | {"folder": str(out), "written": [str(path) for path in written], "failed": failed}
    return Answer(plain, display.show_benchmark)


@app.command()
def save(
    module: Annotated[
        str, typer.Option("--module", metavar="NET.py:NAME", help="A class, a function that makes a module, or one.")
    ],
    input_shape: Annotated[
        str, typer.Option("--input-shape", metavar="SHAPE", help="One sample at one step: 784 or 1x28x28.")
    ],
    state: Annotated[
        Path | None, typer.Option("--state", metavar="STATE.pt", help="Its state_dict; a class needs one.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.pt", help="The model file.")] = Path("model.pt"),
    dt: Dt = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Real input, which shows its range and its levels.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="T", min=1, help="Steps per sample.")] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding", metavar="KIND", help="With --steps: direct, rate, latency, rows, delta, frames, counts."
        ),
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Record a module and its trained weights as a model file, which stands without the class."""
    from neurodeploy import display, pipeline, summary

    network = pipeline.save(
        module,
        out,
        data=data,
        steps=steps,
        encoding=_encoding(encoding, steps),
        weights=state,
        example_shape=_shape(input_shape),
        dt=dt,
    )
    return Answer({"model": str(out), **summary.of_network(network)}, display.show_saved)


@app.command("compile")
def compile_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="model.pt, a NIR graph, lava-dl's network.net, or net.py:Net with --weights."
        ),
    ],
    target: Annotated[str, typer.Option("--target", metavar="TARGET", help="A target's name, or a profile's path.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT.ndc", help="Default: MODEL.ndc here.")] = None,
    weights: Weights = None,
    example_shape: ExampleShape = None,
    dt: Dt = None,
    calibration: Annotated[
        str | None, typer.Option("--calibration", metavar="DATA", help="Measure ranges on these data.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="T", min=1, help="Length of the encoding of a sample.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding", metavar="KIND", help="With --steps: direct, rate, latency, rows, delta, frames, counts."
        ),
    ] = None,
    semantics: Semantics = None,
    allow: Allow = None,
    trust_pickle: TrustPickle = False,
    as_json: Json = False,
) -> Answer:
    """Translate a trained network for a target."""
    from neurodeploy import display, pipeline, summary
    from neurodeploy.artifact import save_artifact

    _check_codes(allow or [])
    with _progress("calibrating") as progress:
        compiled = pipeline.compile(
            model,
            target,
            calibration=calibration,
            steps=steps,
            encoding=_encoding(encoding, steps),
            allow=allow or (),
            progress=progress,
            weights=weights,
            example_shape=_shape(example_shape),
            dt=dt,
            trust_pickle=trust_pickle,
            **_semantics(semantics),
        )
    path = save_artifact(compiled, out or _beside(model))
    return Answer({"artifact": str(path), **summary.of_model(compiled)}, display.show_compiled)


@app.command()
def run(
    artifact: Artifact,
    data: Data,
    on: On = "engine",
    limit: Limit = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RESULT.npz", help="Write spikes and decisions there.")
    ] = None,
    record_states: Annotated[
        bool, typer.Option("--record-states", help="Write currents and membranes too, as NAME.u and NAME.v.")
    ] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> Answer:
    """Run a compiled model on data."""
    from neurodeploy import display, pipeline, summary

    model, samples = _model_and_samples(artifact, data, limit)
    with _progress(f"running on {on}") as progress:
        result = pipeline.run(model, samples, on=on, record_states=record_states, progress=progress, timeout_s=timeout)
    if out is not None:
        _write_arrays(out, summary.arrays_of_run(model, result))
    plain = summary.of_run(model, samples, result) | {"result": None if out is None else str(out)}
    return Answer(plain, display.show_run)


@app.command()
def verify(
    artifact: Artifact,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="WHOM", help="lava, lava-models; nest, brian2; engine (the reference); source."
        ),
    ] = None,
    data: UsualData = None,
    limit: Limit = None,
    learning: Annotated[
        bool, typer.Option("--learning", help="Compare how a model that has learned goes on learning.")
    ] = False,
    process: Annotated[
        str | None, typer.Option("--process", metavar="HOW", help="With --learning on Lava: engine or fused.")
    ] = None,
    timeout: Timeout = None,
    as_json: Json = False,
) -> Answer:
    """Prove that a compiled model equals an authority, or say where not."""
    from neurodeploy import display, onchip, pipeline, summary
    from neurodeploy.artifact import load_artifact, save_artifact

    model = load_artifact(artifact)
    against = against or pipeline.authorities(model.profile)[0]
    if learning:
        limit = limit or VERIFY_LEARNING_SAMPLES
        _note(f"verifying how it learns against {against}, {limit} samples")
        with _progress(f"running {against}") as progress:
            model, certificate = onchip.verify(
                model, against=against, process=process, limit=limit, progress=progress, timeout_s=timeout
            )
        save_artifact(model, artifact)
        return Answer(certificate, display.show_learning_certificate, onchip.verification_error(certificate))
    data = data or _usual_data(model)
    limit = limit or USUAL_SAMPLES.get(against, USUAL_SAMPLES_OTHERWISE)
    samples = pipeline.read_data(data, model.program.encoding, model.program.input.shape, limit)
    _note(f"verifying against {against} on {samples.name}, {samples.inputs.shape[1]} samples")
    with _progress(f"running {against}") as progress:
        model, certificate = pipeline.verify(model, samples, against=against, progress=progress, timeout_s=timeout)
    save_artifact(model, artifact)
    plain = {**certificate, "substitutions": summary.substitutions(model.program.deviations)}
    return Answer(plain, display.show_certificate, pipeline.verification_error(certificate))


@app.command()
def learn(
    artifact: Artifact,
    rule: Annotated[str, typer.Option("--rule", metavar="RULE", help="eprop, decolle, spide, stdp or rstdp.")],
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="A dataset's name: digits, mnist, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="LEARNED.ndc", help="The learned artefact.")],
    on: On = "engine",
    arithmetic: Annotated[
        str | None, typer.Option("--arithmetic", metavar="KIND", help="fixed (the target's integers, if any) or float.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the data.")] = 10,
    limit: Limit = None,
    classes: Annotated[
        list[int] | None,
        typer.Option("--class", metavar="N", min=0, help="Learn this class; repeatable; default: all."),
    ] = None,
    rehearse: Annotated[
        int, typer.Option("--rehearse", metavar="N", min=0, help="Samples of every other class, presented again.")
    ] = 0,
    plastic: Annotated[
        list[str] | None, typer.Option("--plastic", metavar="LAYER", help="What learns; repeatable; default: all.")
    ] = None,
    initial: Annotated[
        str, typer.Option("--initial", metavar="HOW", help="Where plastic weights begin: trained or random.")
    ] = "trained",
    process: Annotated[
        str | None,
        typer.Option("--process", metavar="HOW", help="On Lava: fused, or engine for its own learning engine."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Of everything random.")] = 0,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Of the rule; repeatable.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an interrupted run of the same name.")] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> Answer:
    """Let a compiled network learn while it runs on its target; an interrupted run goes on where it was."""
    from neurodeploy import display, onchip, plots
    from neurodeploy.artifact import load_artifact, save_artifact

    model = load_artifact(artifact)
    named = dict(map(_option, option or []))
    backend = model.profile.backend
    chosen = onchip.options(rule, backend, **named, plastic=tuple(plastic or ()), initial=initial, seed=seed)
    _make_writable(out.resolve().parent)
    kept = unfinished(out)
    if restart:
        kept.unlink(missing_ok=True)
    with _bars() as progress:
        learned, outcome = onchip.learn(
            model,
            data,
            rule=rule,
            on=on,
            arithmetic=arithmetic,
            epochs=epochs,
            limit=limit,
            classes=classes or (),
            rehearse=rehearse,
            process=process,
            options=chosen,
            checkpoint=kept,
            progress=progress,
            timeout_s=timeout,
        )
    save_artifact(learned, out)
    kept.unlink(missing_ok=True)
    plot = plots.learning_on_target(
        outcome["curve"], f"{rule} on {data}, {outcome['arithmetic']}", out.with_suffix(".png")
    )
    plain = {"kind": "learning", "artifact": str(out), "plot": str(plot), **outcome}
    return Answer(plain, display.show_learning)


@app.command()
def evaluate(
    artifact: Artifact,
    data: UsualData = None,
    on: On = "engine",
    limit: Limit = None,
    neurobench: Annotated[
        bool, typer.Option("--neurobench", help="Add NeuroBench's metrics, and where the chip's counts differ.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="With --neurobench: samples per call; default: 256."),
    ] = None,
    timeout: Timeout = None,
    as_json: Json = False,
) -> Answer:
    """Measure accuracy, activity, latency and energy on data."""
    from neurodeploy import display, pipeline, summary
    from neurodeploy.artifact import load_artifact

    if batch is not None and not neurobench:
        why = "it is how many samples NeuroBench's source network sees at once; nothing else depends on it"
        raise UsageError(Finding("ND408", "--batch", "--batch without --neurobench", why, "add --neurobench"))
    model = load_artifact(artifact)
    if data is None:
        data, limit = _usual_data(model), limit or USUAL_SAMPLES.get(on, USUAL_SAMPLES_OTHERWISE)
    samples = pipeline.read_data(data, model.program.encoding, model.program.input.shape, limit)
    _note(f"evaluating on {samples.name}, {samples.inputs.shape[1]} samples")
    with _progress(f"running on {on}") as progress:
        result = pipeline.run(model, samples, on=on, progress=progress, timeout_s=timeout)
    plain = summary.of_evaluation(model, samples, pipeline.evaluate(model, samples, result))
    if neurobench:
        found = pipeline.neurobench(model, samples, result, batch=batch or pipeline.NEUROBENCH_BATCH)
        plain["neurobench"] = summary.of_neurobench(found)
    return Answer(plain, display.show_evaluation)


@app.command()
def report(
    artifacts: Annotated[list[Path], typer.Argument(metavar="MODEL.ndc ...", help="One, or several side by side.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: NAME.html here, or comparison.html.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORM", help="html, md or json; default as FILE ends.")
    ] = None,
    data: UsualData = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Measure on the first N samples.")
    ] = REPORTED_SAMPLES,
    sample: Annotated[
        int, typer.Option("--sample", metavar="K", min=0, help="Show this one spike by spike, counted from 0.")
    ] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="VENDOR", help="What else runs that sample: lava, lava-models, nest, brian2."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out attacks and representations, which take the most time.")
    ] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> Answer:
    """Write down everything a compiled model says and does, as a page to look at, as text, or as JSON."""
    from neurodeploy import display
    from neurodeploy.report import gather, page

    path, form = _report_file(artifacts, out, form)
    subjects = [_subject(artifact, data, max(limit, sample + 1)) for artifact in artifacts]
    request = gather.Request(limit, sample, against, quick, timeout)
    with _bars() as progress:
        document = gather.document(subjects, request, progress)
    writers: dict[str, Callable[[dict[str, Any]], str]] = {"html": page.page, "md": page.text, "json": _json}
    with _whole(path) as unfinished:
        unfinished.write_text(writers[form](document), encoding="utf-8")
    return Answer(document, lambda console, plain: display.show_report(console, plain, str(path)))


@app.command()
def emit(
    artifact: Artifact,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NET.py", help="The script; NET.npz is put beside it.")],
    form: Annotated[str, typer.Option("--as", metavar="FORM", help="pynn-script.")] = "pynn-script",
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Samples to present; default by the model's input.")
    ] = None,
    limit: Limit = EMITTED_SAMPLES,
    as_json: Json = False,
) -> Answer:
    """Write a compiled model as a script that runs without neurodeploy."""
    from neurodeploy import display, pipeline
    from neurodeploy.artifact import load_artifact

    model = load_artifact(artifact)
    samples = pipeline.read_data(data or _usual_data(model), model.program.encoding, model.program.input.shape, limit)
    written = pipeline.emit(model, samples, form, out.stem).write(out)
    plain = {"form": form, "data": samples.name, "samples": samples.inputs.shape[1], "steps": samples.inputs.shape[0]}
    return Answer(plain | {"written": [str(path) for path in written]}, display.show_emitted)


@app.command("map")
def map_model(
    artifact: Artifact,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Plan for its first sample, and estimate its energy.")
    ] = None,
    configuration: Annotated[
        Path | None,
        typer.Option("--machine-configuration", metavar="FILE", help="sPyNNaker's, in place of a virtual board's."),
    ] = None,
    timeout: Timeout = None,
    as_json: Json = False,
) -> Answer:
    """Let sPyNNaker map a compiled model onto SpiNNaker, and show the plan; nothing runs on a virtual board."""
    from neurodeploy import display, pipeline, summary
    from neurodeploy.artifact import load_artifact

    model = load_artifact(artifact)
    shape = model.program.input.shape
    samples = None if data is None else pipeline.read_data(data, model.program.encoding, shape, 1)
    report = pipeline.map_onto(model, samples, configuration=configuration, timeout_s=timeout)
    return Answer(summary.of_mapping(model, report), display.show_mapping)


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="As compile takes it, or MODEL.ndc, whose source is written.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT.nir", help="Default: MODEL.nir here.")] = None,
    weights: Weights = None,
    example_shape: ExampleShape = None,
    dt: Dt = None,
    semantics: Semantics = None,
    allow: Allow = None,
    trust_pickle: TrustPickle = False,
    as_json: Json = False,
) -> Answer:
    """Write a network as a NIR graph, a repaired one included, and list what NIR cannot say of it."""
    from neurodeploy import display, pipeline, summary

    _check_codes(allow or [])
    out = out or _beside(model, ".nir")
    network, unsaid = pipeline.export(
        model,
        out,
        weights=weights,
        example_shape=_shape(example_shape),
        dt=dt,
        allow=allow or (),
        trust_pickle=trust_pickle,
        **_semantics(semantics),
    )
    return Answer({"written": str(out), **summary.of_export(network, unsaid)}, display.show_exported)


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A compiled model, or a model as compile takes it.")],
    weights: Weights = None,
    example_shape: ExampleShape = None,
    dt: Dt = None,
    semantics: Semantics = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="List what is wrong with a NIR graph and how it is read; export writes it."),
    ] = False,
    allow: Allow = None,
    trust_pickle: TrustPickle = False,
    as_json: Json = False,
) -> Answer:
    """Show what a file holds, compiled or not."""
    from neurodeploy import display, pipeline, summary
    from neurodeploy.artifact import load_artifact

    if Path(file).is_dir():
        return Answer(summary.of_model(load_artifact(file)), display.show_model)
    if repair:
        from neurodeploy.frontends.nir import repaired

        return Answer(summary.of_graph(repaired(file)), display.show_graph)
    network = pipeline.load(
        file,
        weights=weights,
        example_shape=_shape(example_shape),
        dt=dt,
        allow=allow or (),
        trust_pickle=trust_pickle,
        **_semantics(semantics),
    )
    return Answer(summary.of_network(network), display.show_network)


@app.command("infer-semantics")
def infer_semantics(
    model: Annotated[Path, typer.Argument(metavar="MODEL.nir", help="A NIR graph.")],
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.json", help="For --semantics of compile.")
    ] = None,
    limit: Limit = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="T", min=1, help="Steps per sample.")] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="KIND", help="With --steps, in place of the dataset's usual one."),
    ] = None,
    dt: Dt = None,
    semantics: Annotated[
        list[str] | None, typer.Option("--semantics", metavar="NAME=VALUE", help="What is known; repeatable.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Find how a NIR graph was meant: its readings compared on labeled data."""
    import json

    from neurodeploy import display, inference

    known = _semantics(semantics)
    if known["inferred"] is not None:
        what, why = f"--semantics {known['inferred']}", "this is what finds them"
        raise UsageError(Finding("ND408", what, "a file of settings", why, "state what is known as NAME=VALUE"))
    samples, used = inference.read_samples(model, data, _encoding(encoding, steps), steps, limit)
    if out is not None:
        _make_writable(out.resolve().parent)
    with _progress("trying readings") as progress:
        found = inference.infer(model, samples, dt=dt, semantics=known["semantics"], encoding=used, progress=progress)
    plain = found.to_plain()
    if out is not None:
        with _whole(out) as unfinished:
            unfinished.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    counts = used is not None and used.kind == "counts"
    told = {"written": None if out is None else str(out), "calibration": data if counts else None}
    return Answer(plain | told, display.show_inference)


@app.command()
def targets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show every number of this one.")] = None,
    sources: Annotated[bool, typer.Option("--sources", help="Order them by where they come from.")] = False,
    as_json: Json = False,
) -> Answer:
    """List the targets and what runs here, or every number of one profile of hardware."""
    from neurodeploy import display, summary
    from neurodeploy.hardware import load_profile, profile_names

    if name is not None:
        show = display.show_sources if sources else display.show_profile
        return Answer(summary.of_profile(load_profile(name)), show)
    if sources:
        what, fix = "--sources without a name", "say whose: neurodeploy targets loihi2 --sources"
        raise UsageError(Finding("ND408", "neurodeploy targets", what, "numbers and sources are one profile's", fix))
    profiles = [load_profile(name) for name in profile_names()]
    plain = [
        {"id": profile.id, "name": profile.name, "backend": profile.backend, "executors": _executors(profile)}
        for profile in profiles
        if profile.backend
    ]
    numbers = [{"id": profile.id, "name": profile.name} for profile in profiles if not profile.backend]
    return Answer({"targets": plain, "numbers": numbers}, display.show_targets)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="As in error[ND107].")], as_json: Json = False
) -> Answer:
    """Explain the rule behind a code."""
    from neurodeploy import display
    from neurodeploy.codes import EXPLANATIONS

    code = code.upper()
    if code not in EXPLANATIONS:
        raise UsageError(_unknown_code(code, list(EXPLANATIONS)))
    return Answer({"code": code, "explanation": EXPLANATIONS[code]}, display.show_explanation)


@app.callback(invoke_without_command=True)
def program(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        print(installed("neurodeploy"))
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; see `app`'s epilog for what it means."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    as_json, stdout = "--json" in arguments, sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            answer = app(arguments, prog_name="neurodeploy", standalone_mode=False)
        if isinstance(answer, Answer):
            return _print(answer, as_json, stdout)
        if answer == INTERRUPTED:
            raise KeyboardInterrupt
        return int(answer or 0)
    except NeurodeployError as error:
        return _print_error(_plain_error(error), error.exit_code, as_json, stdout)
    except USAGE_ERROR as error:
        return _print_error(_plain_error(_misread(error, arguments)), UsageError.exit_code, as_json, stdout)
    except (KeyboardInterrupt, typer.Abort):
        _note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return DEFECT
    except MemoryError as error:
        return _print_error(_plain_error(_too_large(error)), UsageError.exit_code, as_json, stdout)
    except Exception as error:
        if os.environ.get("NEURODEPLOY_DEBUG"):
            raise
        return _print_error(_plain_error(_our_defect(error)), DEFECT, as_json, stdout)


def _too_large(error: MemoryError) -> UsageError:
    what = str(error) or "more than there is"
    fix = "fewer samples (--limit), or compile with fewer --steps"
    return UsageError(Finding("ND411", "memory", what, "the data of this run do not fit into memory", fix))


USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""The class of everything Typer raises about a command line; not public under a name that all versions share."""


def _model_and_samples(artifact: Path, data: str, limit: int | None) -> tuple[CompiledModel, Samples]:
    from neurodeploy import pipeline
    from neurodeploy.artifact import load_artifact

    model = load_artifact(artifact)
    return model, pipeline.read_data(data, model.program.encoding, model.program.input.shape, limit)


def unfinished(model: Path) -> Path:
    """Return where a run that is to write `model` keeps its checkpoint."""
    return model.with_name(f"{model.name}.unfinished")


def _check_writable(out: Path) -> None:
    """Refuse before hours of training what could not be written after them.

    Raises:
        UsageError: ND407.
    """
    _make_writable(out.resolve().parent)
    curve = out.with_suffix(".png")
    claims = {
        "it is a directory": out.is_dir(),
        "the learning curve is written beside it, as .png": out == curve,
        f"{curve.name} beside it, for the learning curve, is a directory": curve.is_dir(),
    }
    why = next((fault for fault, holds in claims.items() if holds), None)
    if why is not None:
        raise UsageError(Finding("ND407", str(out), "cannot be written", why, "choose another -o"))


def _make_writable(folder: Path) -> None:
    """Make `folder` if it is not there.

    Raises:
        UsageError: ND407 when it cannot be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        why = None if os.access(folder, os.W_OK) else "no permission"
    except OSError as error:
        why = str(error)
    if why is not None:
        raise UsageError(Finding("ND407", str(folder), "cannot be written to", why, "choose another -o"))


def _option(text: str) -> tuple[str, Any]:
    """Return NAME=VALUE as a name and a number, truth value, None or word."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        what, why = f"{text!r} is no NAME=VALUE", "an option of a rule has a name and a value"
        raise UsageError(Finding("ND075", "--option", what, why, "write for instance --option rate=0.001"))
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    with contextlib.suppress(ValueError):
        return name, tuple(float(part) for part in value.split(",")) if "," in value else value
    return name, value


def _beside(model: str, ending: str = ".ndc") -> Path:
    """Return the default artefact or file: the model file's stem in the current directory."""
    return Path(f"{Path(model.partition('.py:')[0]).stem}{ending}")


def _check_codes(codes: list[str]) -> None:
    """Refuse to allow what no code stands for.

    Raises:
        UsageError: ND408 with the codes that are close.
    """
    from neurodeploy.codes import EXPLANATIONS

    for code in codes:
        if code not in EXPLANATIONS:
            raise UsageError(_unknown_code(code, list(EXPLANATIONS)))


def _encoding(kind: str | None, steps: int | None) -> Encoding | None:
    """Return the encoding that --encoding and --steps ask for together."""
    if kind is None:
        return None
    from neurodeploy.datasets import Encoding

    if steps is None:
        what, fix = "--encoding without --steps", "say how many steps a sample takes: --steps T"
        raise UsageError(Finding("ND408", "--encoding", what, "an encoding has a length, and none is invented", fix))
    return Encoding(kind, steps)


def _semantics(settings: list[str] | None) -> dict[str, Any]:
    """Return what --semantics says as `load` takes it: settings by name, or a file in which they are."""
    files = [setting for setting in settings or () if "=" not in setting]
    for word in files:
        if Path(word).suffix != ".json" and not Path(word).is_file():
            why = "a setting is NAME=VALUE, and otherwise a file that infer-semantics wrote"
            raise UsageError(Finding("ND043", f"--semantics {word}", "neither of both", why, f"write {word}=VALUE"))
    if len(files) > 1:
        fix = "name one file; NAME=VALUE beside it goes before what it says"
        raise UsageError(Finding("ND408", f"--semantics {files[1]}", "a second file", "one says it all", fix))
    pairs = [setting.partition("=") for setting in settings or () if "=" in setting]
    return {"semantics": {name: value for name, _, value in pairs}, "inferred": files[0] if files else None}


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        why = "a shape is numbers of at least 1, joined by x or comma"
        raise UsageError(Finding("ND408", f"--example-shape {text}", "not a shape", why, "write 784, or 1x28x28"))
    return tuple(int(part) for part in parts)


def _usual_data(model: CompiledModel) -> str:
    """Return the dataset that has as many values per step as the model reads.

    Raises:
        UsageError: ND405 when there is none.
    """
    from math import prod

    size = prod(model.program.input.shape)
    kind = (model.program.encoding or {}).get("kind")
    by_kind = {"rows": DATASET_OF_ROWS, "frames": DATASET_OF_FRAMES, "counts": DATASET_OF_FRAMES}
    known = by_kind.get(str(kind), DATASET_OF_PIXELS)
    if size not in known:
        what = f"the model reads {size} values per step, which no dataset here has"
        fix = "name the data: --data digits, --data mnist, or --data FILE.npz with inputs (step, sample, neuron)"
        raise UsageError(Finding("ND405", "--data", what, "a run needs input", fix))
    return known[size]


def _executors(profile: HardwareProfile) -> list[dict[str, Any]]:
    """Return what can run a target's programs, and whether it works here."""
    from neurodeploy import pipeline, summary

    return [summary.of_executor(name, missing) for name, missing in pipeline.availability(profile).items()]


def _report_file(artifacts: list[Path], out: Path | None, form: str | None) -> tuple[Path, str]:
    """Return where a report is written and how, before anything is measured.

    Raises:
        UsageError: ND408 when neither the file's name nor --format says how, ND407 when it cannot be written there.
    """
    known = ", ".join(dict.fromkeys(FORMATS.values()))
    if form is not None and form not in FORMATS.values():
        fix = "--format html, md or json"
        raise UsageError(Finding("ND408", f"--format {form}", "no such format", f"known are {known}", fix))
    if out is None:
        stem = artifacts[0].resolve().stem if len(artifacts) == 1 else "comparison"
        out = Path(f"{stem}.{form or 'html'}")
    if out.is_dir():
        raise UsageError(Finding("ND407", str(out), "cannot be written", "it is a directory", "choose another -o"))
    form = form or FORMATS.get(out.suffix.lower())
    if form is None:
        what, why = "its name does not say how to write it", f"known formats are {known}"
        raise UsageError(Finding("ND408", str(out), what, why, "end it in .html, .md or .json, or add --format"))
    _make_writable(out.resolve().parent)
    return out, form


def _subject(artifact: Path, data: str | None, samples: int) -> Subject:
    """Return an artefact with data; the reason in their place where none were asked for and the usual are not there."""
    from neurodeploy import pipeline
    from neurodeploy.artifact import load_artifact
    from neurodeploy.report.gather import Subject

    model = load_artifact(artifact)
    try:
        name = data or _usual_data(model)
        read = pipeline.read_data(name, model.program.encoding, model.program.input.shape, samples)
    except NeurodeployError as error:
        if data is not None:
            raise type(error)(*(replace(each, place=f"{artifact}: {each.place}") for each in error.findings)) from error
        return Subject(artifact, model, "DATA", error.findings[0])
    return Subject(artifact, model, name, read)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz without pickle, whole or not at all; raises as `_whole`."""
    import zipfile

    import numpy as np

    with _whole(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a name to write to, which becomes `path` when all is written, or nothing.

    Raises:
        UsageError: ND407 when it cannot be written there.
    """
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        finding = Finding("ND407", str(path), "cannot be written", str(error), "choose another -o")
        raise UsageError(finding) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give a callback that draws a bar on standard error, or None when that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a callback that draws one bar per kind of work on standard error, or None when that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, total: int) -> None:
            kind = "epoch" if what.startswith("epoch ") else what
            if kind not in tasks:
                tasks[kind] = bar.add_task(what, total=total)
            bar.update(tasks[kind], description=what, completed=done, total=total)

        yield advance


def _print(answer: Answer, as_json: bool, stdout: TextIO) -> int:
    """Print an answer and, below it or inside its JSON object, the error it ends with; return the exit code."""
    error = answer.error
    if as_json:
        ended = {} if error is None else {"error": _plain_error(error)}
        _print_json(answer.plain | ended, stdout)
        return 0 if error is None else error.exit_code
    from rich.console import Console

    answer.show(Console(file=stdout), answer.plain)
    stdout.flush()
    return 0 if error is None else _print_error(_plain_error(error), error.exit_code, as_json, stdout)


def _print_error(plain: dict[str, Any], exit_code: int, as_json: bool, stdout: TextIO) -> int:
    if as_json:
        _print_json({"error": plain}, stdout)
    else:
        from rich.console import Console

        from neurodeploy import display

        display.show_error(Console(stderr=True), plain)
    return exit_code


def _print_json(plain: dict[str, Any], stdout: TextIO) -> None:
    print(_json(plain), end="", file=stdout, flush=True)


def _json(plain: dict[str, Any]) -> str:
    import json

    return json.dumps(_finite(plain), indent=1, allow_nan=False) + "\n"


def _finite(plain: Any) -> Any:
    """Return `plain` with None for what JSON has no number for: infinities and NaN."""
    if isinstance(plain, dict):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not abs(plain) < float("inf") else plain


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _plain_error(error: NeurodeployError) -> dict[str, Any]:
    plain: dict[str, Any] = {"code": error.findings[0].code, "findings": [asdict(f) for f in error.findings]}
    return plain | ({"details": error.details} if error.details else {})


def _misread(error: Any, arguments: list[str]) -> UsageError:
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    fix = f"neurodeploy {verb} --help" if verb in VERBS else "neurodeploy --help"
    what, why = error.format_message().rstrip("."), "the command line cannot be understood"
    return UsageError(Finding("ND408", f"neurodeploy {' '.join(arguments)}", what, why, fix))


def _unknown_code(code: str, known: list[str]) -> Finding:
    why = "a code is ND and three digits"
    if code.removeprefix("ND").isdecimal():
        number = int(code.removeprefix("ND"))
        close = sorted(known, key=lambda other: abs(int(other.removeprefix("ND")) - number))[:CLOSE_CODES]
        why = f"the closest are {', '.join(sorted(close))}"
    return Finding("ND406", code, "no such code", why, "explain the code that an error or a report shows")


def _our_defect(error: Exception) -> NeurodeployError:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return NeurodeployError(
        Finding(
            "ND429",
            f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}",
            f"neurodeploy failed: {type(error).__name__}: {error}",
            "this is a defect of neurodeploy, not of your network or your data",
            "run it again with NEURODEPLOY_DEBUG=1 in the environment and report what it prints",
        )
    )
