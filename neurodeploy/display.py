"""The commands' answers for people: each function prints one plain value of `summary` as Rich tables.

Nothing here computes a result. Tables fit 80 columns and lose their colors when the output is not a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neurodeploy.quantities import between, count, joule, span

Plain = dict[str, Any]
PREDICTIONS_SHOWN = 20
EPOCHS_SHOWN = 8
READINGS_SHOWN = 24
MOST_COLUMNS = 3
"""Settings that have a column each; more share one, in which no word is parted."""
UNBROKEN = ("code", "status")
"""Columns whose words are never parted."""
LATE = " at t-1"
"""Marks a source that is read a step late."""
MAY_SATURATE = "ND210"
"""The one rounding that is no bound on an error but a warning."""


def show_training(console: Console, plain: Plain) -> None:
    """Print what was learned, epoch by epoch in short, and the score."""
    encoding = _encoding(plain["encoding"])
    layers = "-".join("x".join(map(str, shape)) for shape in plain["layers"])
    _line(console, f"{plain['rule']} on {plain['dataset']}, {layers}, seed {plain['seed']}", "bold")
    _line(console, f"rule      {plain['rule_in_words']}")
    _line(console, f"encoding  {encoding}")
    _line(console, f"learned   {plain['train_samples']:,} samples, {plain['parameters']:,} parameters")
    held_out = plain["curve"][-1]["validation_accuracy"] is not None
    table = _table(">epoch", ">loss", ">training", *([">validation"] * held_out))
    for epoch in _sampled(plain["curve"], EPOCHS_SHOWN):
        held = [f"{epoch['validation_accuracy']:.2%}"] if held_out else []
        table.add_row(f"{epoch['epoch'] + 1}", f"{epoch['loss']:.4g}", f"{epoch['train_accuracy']:.2%}", *held)
    console.print(table)
    measured = {name: value for name, value in plain["curve"][-1]["measures"].items() if value is not None}
    if measured:
        values = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in measured.items())
        _line(console, f"measured  {values} (last epoch)")
    if plain["appraisal"]:
        values = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in plain["appraisal"].items())
        _line(console, f"appraised {values} (per training sample)")
    low, high = plain["test_interval_95"]
    score = f"{plain['test_accuracy']:.2%} of {plain['test_samples']:,} test samples"
    _line(console, f"accuracy  {score} (95 % interval {low:.1%} to {high:.1%})", "bold")
    again = f", resumed after epoch {plain['resumed_after']}" if plain["resumed_after"] else ""
    _line(console, f"took      {plain['seconds']:.1f} s{again}; kept epoch {plain['kept_epoch']}")
    _line(console, f"written to {plain['model']}, curve in {plain['plot']}", "bold")


def show_learning(console: Console, plain: Plain) -> None:
    """Print what was learned on the target, by whom, and what it changed."""
    where = plain["on"] if plain["on"] == "engine" else f"{plain['on']}, {plain['process']}"
    _line(console, f"{plain['rule']} on {plain['data']}, {plain['arithmetic']}, computed by {where}", "bold")
    table = _table(">epoch", ">while taught", ">test", ">changed synapses", ">seconds")
    for row in _sampled(plain["curve"], EPOCHS_SHOWN):
        updates = "not counted" if row["updates"] is None else f"{row['updates']:,}"
        taught = "not taught" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
        table.add_row(f"{row['epoch']}", taught, f"{row['test_accuracy']:.2%}", updates, f"{row['seconds']:.2f}")
    console.print(table)
    for name, change in plain["changes"].items():
        _line(console, f"changed   {name}: {change['share']:.0%} of its weights, by {change['mean']:.3g} on average")
    spent = plain["learning_energy_joule"]
    if spent is not None:
        _line(console, f"energy    {joule(spent['joule'])} of learning updates, estimated")
    if plain["body"]:
        _line(console, f"frozen    {', '.join(plain['body'])}, as compiled")
    _show_limits(console, plain)
    if plain["classes"]:
        for kind, learned in (("learned", True), ("kept", False)):
            rows = [row for row in plain["by_class"] if (row["class"] in plain["classes"]) == learned]
            names = ", ".join(str(row["class"]) for row in rows)
            before, after = (fmean(row[when] for row in rows) if rows else 0.0 for when in ("before", "after"))
            _line(console, f"{kind:9} {names}: {before:.2%} before, {after:.2%} after, mean of classes")
    scores = f"{plain['accuracy_before']:.2%} before, {plain['accuracy_after']:.2%} after"
    _line(console, f"accuracy  {scores}, of {plain['test_samples']:,} test samples, as deployed", "bold")
    again = f", resumed after epoch {plain['resumed_after']}" if plain["resumed_after"] else ""
    _line(console, f"written to {plain['artifact']}, curve in {plain['plot']}{again}", "bold")


def show_benchmark(console: Console, plain: Plain) -> None:
    """Print accuracy per dataset, rule and architecture, the verdicts, and what failed."""
    table = _table("dataset", "rule", "network", ">accuracy", ">seeds", ">published")
    for line in plain["accuracy"]:
        published = "" if line["published"] is None else f"{line['published']:.2%}"
        deviation = "n/a" if line["deviation"] is None else f"{line['deviation']:.2%}"
        accuracy = f"{line['mean']:.2%} ± {deviation}"
        table.add_row(line["title"], line["rule"], line["arch"], accuracy, str(line["seeds"]), published)
    console.print(table)
    for verdict in plain["claims"]:
        if verdict["outcome"] != "untested":
            _line(console, f"{verdict['outcome']:16} {verdict['claim']} ({verdict['dataset']})")
    for line in plain["failed"]:
        _line(console, f"failed    {line}", "red")
    _line(
        console, f"written to {plain['folder']}: {', '.join(path.split('/')[-1] for path in plain['written'])}", "bold"
    )


def _sampled(items: list[Plain], most: int) -> list[Plain]:
    """Return at most `most` of `items`, evenly, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def show_compiled(console: Console, plain: Plain) -> None:
    """Print what `compile` did: the layers, everything that changed, where it sits."""
    _line(console, f"{plain['provenance']['model']} for {plain['target']} ({plain['target_name']})", "bold")
    _show_meaning(console, plain)
    _show_layers(console, plain["layers"])
    _show_numbers(console, plain["layers"])
    _show_deviations(console, plain)
    _show_refusals(console, plain["refused_by"])
    _show_placement(console, plain["placement"])
    _line(console, f"\nwritten to {plain['artifact']}", "bold")


def show_model(console: Console, plain: Plain) -> None:
    """Print everything an artefact says: as `show_compiled`, then every core and every certificate."""
    _line(console, f"{plain['provenance']['model']} for {plain['target']} ({plain['target_name']})", "bold")
    _line(console, f"fingerprint {plain['fingerprint']}", "dim")
    _show_meaning(console, plain)
    _show_layers(console, plain["layers"])
    _show_numbers(console, plain["layers"])
    _show_deviations(console, plain)
    _show_refusals(console, plain["refused_by"])
    _show_placement(console, plain["placement"])
    show_utilization(console, plain["placement"]["utilization"])
    _show_learned(console, plain["provenance"].get("learning"))
    _show_certificates(console, plain["certificates"])


def show_network(console: Console, plain: Plain) -> None:
    """Print what a model file means: its nodes in causal order, who reads whom, its encoding."""
    step = "dt not stated" if plain["dt_s"] is None else f"dt {plain['dt_s']:g} s"
    _line(console, f"network from {plain['input']['name']} to {plain['output']}, {step}", "bold")
    _line(console, f"encoding  {_encoding(plain['encoding'])}")
    _line(console, f"decision  {plain['readout'].replace('_', ' ')} of {plain['output']}")
    reads: dict[str, list[str]] = {}
    for edge in plain["edges"]:
        reads.setdefault(edge["target"], []).append(edge["source"] + LATE * edge["delay_steps"])
    table = _table("node", "kind", "shape", "reads", "parameters")
    for node in plain["nodes"]:
        source = ", ".join(reads.get(node["name"], []))
        table.add_row(node["name"], node["kind"], _shape(node["shape"]), source, node["says"])
    console.print(table)
    _show_deviations(console, plain)


def show_saved(console: Console, plain: Plain) -> None:
    """Print what was recorded and of what, and what to do with the file."""
    show_network(console, plain)
    for node in plain["nodes"]:
        if node["origin"] is not None:
            _line(console, f"recorded  {node['name']} <- {node['origin']}")
    _line(console, f"\nwritten to {plain['model']}", "bold")
    steps = "" if plain["encoding"] else "; with --steps T, if data by name are to be encoded"
    _line(console, f"next      neurodeploy compile {plain['model']} --target loihi2-sim{steps}")


def show_exported(console: Console, plain: Plain) -> None:
    """Print how the model was read, what NIR cannot say of it, and where it is."""
    network = plain["network"]
    step = "time in steps" if network["dt_s"] is None else f"dt {network['dt_s']:g} s"
    _line(console, f"NIR graph of {network['input']['name']} to {network['output']}, {step}", "bold")
    _show_deviations(console, network)
    _show_deviations(console, {"deviations": plain["unsaid"]})
    _line(console, f"\nwritten to {plain['written']}", "bold")


def show_graph(console: Console, plain: Plain) -> None:
    """Print what was repaired in a NIR file, and the graph that came of it."""
    version = plain["version"] or "not stated"
    _line(console, f"{plain['file']}: a NIR graph, version {version}", "bold")
    for repair in plain["repairs"]:
        _line(
            console, f"repaired  {repair['place']}: {repair['what']}\n          read as: {repair['read_as']}", "yellow"
        )
    if plain["repairs"]:
        _line(console, f"write it so with: neurodeploy export {plain['file']} -o NEW.nir")
    else:
        _line(console, "nothing to repair", "green")
    table = _table("node", "kind", "shape", "reads")
    for node in plain["nodes"]:
        table.add_row(node["name"], node["kind"], _shape(node["shape"]), ", ".join(node["reads"]))
    console.print(table)
    convention = plain["convention"]
    if convention is None:
        _line(console, "step      not in the file: state it with --dt SECONDS")
    else:
        step = "time counted in steps" if convention["dt_s"] is None else f"dt {convention['dt_s']:g} s"
        _line(console, f"step      {step}: {convention['why']}")


def show_inference(console: Console, plain: Plain) -> None:
    """Print how well each reading of a NIR graph decides, and which one is chosen."""
    data = plain["data"]
    _line(console, f"{plain['file']} on {data['samples']:,} samples of {data['name']}", "bold")
    shown = [each for each in plain["candidates"] if each["same_spikes_as"] is None]
    names = [name for name in shown[0]["settings"] if len({each["settings"][name] for each in shown}) > 1]
    timed = len({each["dt_s"] for each in shown}) > 1
    columns = [*names, *(["dt"] * timed)]
    together = len(columns) > MOST_COLUMNS
    table = _table(">accuracy", ">spikes", *([" / ".join(columns)] if together else columns), "default of")
    for each in shown[:READINGS_SHOWN]:
        mark = "" if each["as_good_as_best"] else " *"
        values = [each["settings"][name] for name in names]
        values += [f"{each['dt_s']:g}"] if timed else []
        values = [" / ".join(values)] if together else values
        style = each["style"] or ""
        table.add_row(f"{each['accuracy']:.1%}{mark}", f"{each['spikes_per_sample']:,.0f}", *values, style)
    console.print(table)
    twins = len(plain["candidates"]) - len(shown)
    notes = [
        (
            any(not each["as_good_as_best"] for each in shown),
            f"* below the best beyond chance (McNemar, {plain['significance']:.0%})",
        ),
        (len(shown) > READINGS_SHOWN, f"{len(shown) - READINGS_SHOWN} more are in --json"),
        (twins > 0, f"{twins} fire the very spikes of one of these"),
        (bool(plain["refused"]), f"{len(plain['refused'])} make no network: see --json"),
    ]
    for holds, note in notes:
        if holds:
            _line(console, f"          {note}")
    chosen = plain["chosen"]
    low, high = chosen["interval_95"]
    settings = [f"{name}={value}" for name, value in chosen["settings"].items()]
    _line(console, f"chosen    {', '.join(settings)}", "bold")
    _line(console, f"          {chosen['accuracy']:.1%} right (95 % interval {low:.1%} to {high:.1%}): {chosen['why']}")
    step = [] if chosen["dt_s"] is None else [f"--dt {chosen['dt_s']:g}"]
    written = (
        [f"--semantics {plain['written']}"] if plain["written"] else [*(f"--semantics {s}" for s in settings), *step]
    )
    written += [] if plain["calibration"] is None else [f"--calibration {plain['calibration']}"]
    _line(console, f"compile   neurodeploy compile {plain['file']} --target loihi2-sim {' '.join(written)}")


def show_run(console: Console, plain: Plain) -> None:
    """Print who ran, how long, and what was decided."""
    _line(console, f"{plain['data']}: {plain['samples']:,} samples x {plain['steps']:,} steps", "bold")
    _line(console, f"on        {plain['executor']}{_pace(plain)}")
    _line(console, f"spikes    {', '.join(f'{n:,} of {name}' for name, n in plain['spikes'].items())}")
    _line(console, f"decided   {_some(plain['predictions'])}")
    if plain["labels"] is not None:
        _line(console, f"labels    {_some(plain['labels'])}")
        _line(console, f"accuracy  {plain['accuracy']:.2%}", "bold")
    _show_substitutions(console, plain["substitutions"])
    if plain.get("result"):
        _line(console, f"written to {plain['result']}")


def show_certificate(console: Console, plain: Plain) -> None:
    """Print what was compared, how often it differed, and the first place where it did."""
    source = plain["against"] == "source"
    verdict = ("explained by rounding" if source else "equal") if plain["verified"] else "NOT verified"
    _line(console, _headline(plain), "bold green" if plain["verified"] else "bold red")
    data = plain["input"]
    _line(console, f"input     {data['name']}, {data['samples']:,} samples x {data['steps']:,} steps")
    table = _table("layer", "quantity", ">compared", ">differ", ">agreement")
    for name, counts in plain["compared"].items():
        for quantity, compared in counts.items():
            differ = plain["mismatches"][name][quantity]
            table.add_row(name, quantity, f"{compared:,}", f"{differ:,}", f"{1 - differ / compared:.4%}")
    console.print(table)
    if plain.get("accuracy"):
        scores = ", ".join(f"{name} {score:.2%}" for name, score in plain["accuracy"].items())
        _line(console, f"accuracy  {scores}; same decision on {plain['decision_agreement']:.2%}")
    for line in plain.get("misrounded", ()):
        _line(console, f"wrong     {line}", "red")
    first = plain["first_divergence"]
    if first is not None:
        place = f"step {first['step']}, {first['population']}{first['neuron']}, sample {first['sample']}"
        _line(console, f"first     {place}: {first['quantity']} {first['expected']:g} became {first['actual']:g}")
        _line(console, f"cause     {first['likely_cause']}")
    _line(console, f"verdict   {verdict}")
    _show_substitutions(console, plain["substitutions"])


def show_learning_certificate(console: Console, plain: Plain) -> None:
    """Print whether two runs of the same learning had the same weights, and the first synapse that did not."""
    _line(console, _headline(plain), "bold green" if plain["verified"] else "bold red")
    data = plain["input"]
    _line(console, f"rule      {plain['rule']}, {plain['arithmetic']}")
    _line(console, f"input     {data['name']}, {data['samples']:,} samples x {data['steps']:,} steps")
    _line(
        console,
        f"weights   {plain['compared']:,} compared, one per synapse and {plain['every']}; {plain['differ']:,} differ",
    )
    if plain["largest"]:
        _line(console, f"largest   difference {plain['largest']:.1e} of the largest weight of its group")
    first = plain["first_divergence"]
    if first is not None:
        place = f"step {first['step']} (sample {first['sample']}, its step {first['step_in_sample']})"
        synapse = f"{first['synapses']}[{first['post']}, {first['pre']}]"
        _line(console, f"first     {place}, {synapse}: {first['expected']:g} became {first['actual']:g}")


def show_evaluation(console: Console, plain: Plain) -> None:
    """Print every metric per layer and in total, and what the energy estimate rests on."""
    samples = plain["samples"]
    _line(console, f"{plain['data']}: {samples:,} samples x {plain['steps']:,} steps on {plain['executor']}", "bold")
    accuracy = "unavailable, the data have no labels" if plain["accuracy"] is None else f"{plain['accuracy']:.2%}"
    _line(console, f"accuracy  {accuracy}")
    _line(console, f"latency   {plain['latency_steps']} steps from an input to the output's answer to it")
    table = _table("per sample", ">neurons", ">spikes", ">rate", ">synops", ">updates", ">energy")
    for layer in plain["layers"]:
        table.add_row(layer["name"], f"{layer['neurons']:,}", *_metrics(layer, samples))
    sources = plain["sources"]
    if sources["energy_j"]["value"]:
        spikes, spent = sources["spikes"] / samples, joule(sources["energy_j"]["value"] / samples)
        table.add_row("sources", "", f"{spikes:,.1f}", "", "", "", spent)
    neurons = sum(layer["neurons"] for layer in plain["layers"])
    table.add_row("total", f"{neurons:,}", *_metrics(plain, samples), style="bold")
    console.print(table)
    energy = plain["energy_j"]
    band = f"{joule(energy['low'] / samples)} to {joule(energy['high'] / samples)}"
    _line(console, f"energy    {energy['status']}, model {energy['model']}: {band} per sample, dynamic only")
    _show_counted(console, plain, samples)
    _show_time(console, plain, samples)
    _show_energy_models(console, plain, samples)
    if plain["assumed"]:
        _line(console, f"assumed   {', '.join(_assumed(plain['assumed']))}")
    _line(console, f"left out  {', '.join(plain['left_out'])}")
    _show_substitutions(console, plain["substitutions"])
    if "neurobench" in plain:
        _show_neurobench(console, plain["neurobench"])


def _show_neurobench(console: Console, plain: Plain) -> None:
    """Print NeuroBench's metrics of the source, then its counts beside the chip's with what they differ by."""
    calls = f"calls of {count(plain['batch'], 'sample')}"
    _line(console, f"\n{plain['definitions']}'s metrics of the float network, {calls}", "bold")
    table = _table("metric", ">value")
    for metric, value in plain["metrics"].items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, number in parts:
            table.add_row(f"{metric} {part}".strip(), "unavailable" if number is None else _number_of(number))
    console.print(table)
    for metric, why in plain["unavailable"].items():
        _line(console, f"unavailable {metric}: {why}")
    table = _table(">NeuroBench says", ">differs by", ">the chip does", "of what, and why")
    for row in plain["on_chip"]:
        scale, unit = (plain["samples"], " per sample") if row["of_run"] else (1, "")
        theirs, ours = (_number_of(row[side] / scale) for side in ("neurobench", "chip"))
        table.add_row(theirs, "", ours, row["counted"] + unit, style="bold")
        for each in row["differences"]:
            table.add_row("", f"{'+' * (each['count'] > 0)}{_number_of(each['count'] / scale)}", "", each["why"])
    if plain["on_chip"]:
        console.print(table)
    for note in plain["notes"]:
        _line(console, f"note      {note}")


def _number_of(value: float) -> str:
    """Return a count or a share: whole numbers as they are, others with one digit or, below 1, with four."""
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:,.1f}"


def _show_counted(console: Console, plain: Plain, samples: int) -> None:
    """Print what the table has no room for, where it was counted."""
    layers = plain["layers"]
    if layers[0]["messages"] is None:
        return
    active, updates, messages, hops, off_chip = (
        sum(layer[name] for layer in layers)
        for name in ("active_updates", "neuron_updates", "messages", "hops", "off_chip")
    )
    crossing = f", {off_chip / samples:,.1f} of them to other chips" if off_chip else ""
    sent = f"{messages / samples:,.1f} messages to cores{crossing}, {hops / samples:,.1f} hops"
    _line(console, f"counted   input in {active / updates:.1%} of updates; {sent}, per sample")


def _show_time(console: Console, plain: Plain, samples: int) -> None:
    """Print how long a sample would take on the chip."""
    time = plain["time"]
    if time is None:
        return
    sample = {end: seconds / samples for end, seconds in time["seconds"].items()}
    steps = f"{plain['steps']:,} steps of {between(time['step_s'])}; {time['rule']}"
    _line(console, f"time      {between(sample)} per sample: {steps}")
    _line(console, f"answer    {between(time['latency_s'])} after an input")


def _show_energy_models(console: Console, plain: Plain, samples: int) -> None:
    """Print each energy model's own figure, what is drawn whatever happens, and what other hardware would take."""
    table = _table("on the same events", ">energy", ">low", ">high", "which counts")
    for model in plain["energy_models"]:
        table.add_row(model["name"], *_ends(model, samples), model["kind"])
    console.print(table)
    if plain["static"]:
        table = _table("besides, drawn by", ">energy", ">low", ">high", "from")
        for static in plain["static"]:
            power = f"{static['watt']:g} W each, {static['status']}"
            table.add_row(static["scope"], *_ends(static, samples), power)
        console.print(table)
    table = _table("the same elsewhere", ">energy", "which counts")
    for baseline in plain["baselines"]:
        table.add_row(baseline["device"], joule(baseline["value"] / samples), baseline["basis"])
    console.print(table)


def _assumed(lines: list[str]) -> Iterator[str]:
    """Yield what was assumed, the prices of an energy model together."""
    for table, group in groupby(lines, key=lambda line: line.partition(" = ")[0].rpartition(".")[0]):
        names = [line.partition(" = ")[0].rpartition(".")[2] for line in group]
        model = table.removeprefix("energy_models.")
        yield (
            ", ".join(f"{table}.{name}" for name in names)
            if model == table
            else f"{count(len(names), 'price')} of {model}"
        )


def _ends(plain: Plain, samples: int) -> list[str]:
    return [joule(plain[end] / samples) for end in ("value", "low", "high")]


def show_report(console: Console, plain: Plain, path: str) -> None:
    """Print what a report came to, artefact by artefact, what it could not measure, and where it is."""
    for artifact in plain["artifacts"]:
        headline, accuracy = artifact["headline"], artifact["headline"]["accuracy"]
        _line(console, f"{artifact['name']} for {artifact['model']['target']}", "bold")
        if "value" in accuracy:
            low, high = accuracy["interval_95"]
            on = count(artifact["decisions"]["samples"], "sample")
            _line(console, f"accuracy  {accuracy['value']:.2%} of {on} (95 % interval {low:.1%} to {high:.1%})")
        if headline["failed_against"]:
            _line(console, f"FAILED    verification against {', '.join(headline['failed_against'])}", "bold red")
        _line(console, f"verified  {', '.join(headline['verified_against']) or 'never: run `neurodeploy verify`'}")
        energy = headline["energy_j_per_sample"]
        if "value" in energy:
            band = f"{joule(energy['low'])} to {joule(energy['high'])}"
            _line(console, f"energy    {energy['status']}: {joule(energy['value'])} per sample ({band})")
        _line(console, f"placed    {count(headline['cores'], 'core')} on {count(headline['chips'], 'chip')}")
        for name, section in artifact.items():
            if isinstance(section, dict) and "unavailable" in section:
                _line(console, f"no {name}: {section['unavailable']}; {section['fix']}", "yellow")
    _line(console, f"written to {path}", "bold")


def show_emitted(console: Console, plain: Plain) -> None:
    """Print where a script is and how it is run."""
    script, data = plain["written"]
    _line(
        console,
        f"{script}, with {count(plain['samples'], 'sample')} of {plain['data']} and the weights in {data}",
        "bold",
    )
    _line(console, f"python {script}                    on SpiNNaker, as ~/.spynnaker.cfg says")
    _line(console, f"python {script} --simulator nest   on NEST")


def show_mapping(console: Console, plain: Plain) -> None:
    """Print what sPyNNaker put where beside our estimate, and that nothing ran where nothing did."""
    where = f"{count(plain['chips'], 'chip')} of {count(plain['boards'], 'board')}"
    _line(
        console,
        f"mapped by sPyNNaker {plain['spynnaker']}: {count(plain['total']['cores'], 'core')} on {where}",
        "bold",
    )
    table = _table("population", ">neurons", ">cores", ">estimated", ">SDRAM bytes", ">estimated", ">a core")
    keys = ("neurons", "cores", "estimated_cores", "sdram", "estimated_sdram", "sdram_of_fullest_core")
    for row in (*plain["populations"], plain["total"]):
        numbers = (row[key] for key in keys)
        style = "bold" if row["name"] is None else ""
        table.add_row(row["name"] or "total", *(f"{number:,}" for number in numbers), style=style)
    console.print(table)
    _line(console, f"system    {count(plain['system_cores'], 'core')} of sPyNNaker's own")
    routing = plain["routing"]
    fullest = f"the fullest has {routing['largest']:,} of {routing['available']:,}"
    _line(console, f"routing   {routing['entries']:,} entries in {count(routing['tables'], 'router')}; {fullest}")
    _line(console, f"keys      {', '.join(_keys(plain['keys']))}")
    _line(console, f"scales    {', '.join(_scales(row) for row in plain['weights'])} per mV, excitatory and inhibitory")
    exact = all(row["exact"] for row in plain["weights"]) and not plain["synapses_that_differ"]
    said = "all exactly the program's" if exact else f"{plain['synapses_that_differ']:,} of them NOT the program's"
    packed = f"{count(plain['synapses'], 'synapse')} packed"
    if plain["kernel_weights"]:
        packed = f"{packed} and {count(plain['kernel_weights'], 'weight')} of kernels"
    _line(console, f"weights   {packed}, {said}", "" if exact else "bold red")
    _show_kernels(console, plain["kernels"])
    _show_mapped_energy(console, plain)
    took = f"{plain['milliseconds']:,} ms planned in {plain['seconds']:.1f} s"
    ran = "on a virtual board, which runs nothing: no spikes" if plain["virtual"] else "on a machine"
    _line(console, f"run       {took}, {ran}")


def _keys(keys: list[Plain]) -> Iterator[str]:
    for name, group in groupby(keys, key=lambda key: key["population"]):
        first, *others = group
        more = f" and {len(others)} more" if others else ""
        yield f"{name} {first['key']:#x}/{first['mask']:#x}{more}"


def _scales(row: Plain) -> str:
    return f"{row['population']} {' and '.join(f'{scale:g}' for scale in row['scales'])}"


def _show_mapped_energy(console: Console, plain: Plain) -> None:
    energy = plain["energy"]
    if energy is None:
        _line(console, "energy    unavailable without --data, whose spikes are counted")
        return
    busy = f"cores {joule(energy['cores_j'])}, {energy['packets']:,.0f} packets {joule(energy['packets_j'])}"
    _line(console, f"energy    by sPyNNaker's model, for {energy['seconds']:.3f} s: {busy}")
    _line(console, f"idle      {joule(energy['idle_j'])} of {count(plain['boards'], 'board')}, apart from that")


def show_targets(console: Console, plain: Plain) -> None:
    """Print every target and whether each of its executors works here, with the command that mends it."""
    table = _table("target", "what it is", "--on", "works here")
    missing = {}
    for target in plain["targets"]:
        for i, executor in enumerate(target["executors"]):
            works = Text("yes", "green") if executor["available"] else Text(f"no: {executor['why']}", "red")
            name = (target["id"], target["name"]) if i == 0 else ("", "")
            table.add_row(*name, executor["name"], works)
            if not executor["available"]:
                missing[executor["why"]] = executor["fix"]
    console.print(table)
    for why, fix in missing.items():
        _line(console, f"{why}; to mend it:\n  {fix}")
    names = ", ".join(f"{profile['id']} ({profile['name']})" for profile in plain["numbers"])
    _line(console, f"numbers   of {names}: see `targets NAME`")


def show_profile(console: Console, plain: Plain) -> None:
    """Print every number of a profile with its unit, how it is known, and from where."""
    _show_identity(console, plain)
    for title, data in groupby(plain["data"], key=lambda datum: datum["key"].rpartition(".")[0]):
        table = _table(title, ">value", "unit", "status", "source")
        for datum in data:
            name = datum["key"].rpartition(".")[2]
            table.add_row(name, _value(datum), datum["unit"], datum["status"], ", ".join(datum["sources"]))
        console.print(table)
    _show_validation(console, plain["validation"])
    _line(console, "sources", "bold")
    for name, text in plain["sources"].items():
        console.print(Text(f"{name}: {text}"))


def _show_validation(console: Console, points: list[Plain]) -> None:
    """Print how far the energy models are off where hardware was measured."""
    if not points:
        return
    table = _table("measured", ">joule", "model", ">predicted / measured")
    for point in points:
        own = (point["network"], joule(point["joule"]))
        for i, prediction in enumerate(point["predictions"] or [None]):
            said = ("not predicted", "") if prediction is None else (prediction["model"], _ratio(prediction["ratio"]))
            table.add_row(*(own if i == 0 else ("", "")), *said)
    table.columns[0].no_wrap = False
    console.print(table)


def _ratio(ends: list[float]) -> str:
    low, high = (f"{end:.2f}" for end in ends)
    return low if low == high else f"{low} to {high}"


def show_sources(console: Console, plain: Plain) -> None:
    """Print every source in full, each with the numbers that cite it and what is to be known of them."""
    _show_identity(console, plain)
    own = [datum for datum in plain["data"] if not datum["sources"]]
    for name, text in (*plain["sources"].items(), ("no source", "our assumptions")):
        data = [datum for datum in plain["data"] if name in datum["sources"]] if name in plain["sources"] else own
        if data:
            _line(console, name, "bold")
            console.print(Text(text))
            table = _table("number", "what is known of it")
            for datum in data:
                known = f"{_value(datum)} {datum['unit']}".strip() + f", {datum['status']}"
                table.add_row(datum["key"], known + f"; {datum['note']}" * bool(datum["note"]))
            console.print(table)


def _show_identity(console: Console, plain: Plain) -> None:
    serves = f"backend {plain['backend']}" if plain["backend"] else "numbers only"
    targets = f"; compile for {' or '.join(plain['targets'])}" if plain["targets"] and not plain["backend"] else ""
    _line(console, f"{plain['id']}: {plain['name']} ({serves}{targets})", "bold")


def show_explanation(console: Console, plain: Plain) -> None:
    """Print one rule."""
    _line(console, plain["code"], "bold")
    console.print(Text(plain["explanation"]))


RESOURCES = {
    "synaptic_memory": "synaptic bytes",
    "input_axons": "axons in",
    "output_axons": "axons out",
    "sdram": "SDRAM bytes",
}
"""Short headings of what a core has."""


def show_utilization(console: Console, rows: list[Plain]) -> None:
    """Print used and available of every core."""
    if not rows:
        return
    names = [name for name, value in rows[0].items() if isinstance(value, dict)]
    table = _table(">core", "layer", *(f">{RESOURCES.get(name, name)}" for name in names))
    for row in rows:
        used = [Text(f"{row[name]['used']:,}/{row[name]['available']:,}", _alarm(row[name])) for name in names]
        table.add_row(str(row["core"]), row["population"], *used)
    console.print(table)


def show_error(console: Console, plain: Plain) -> None:
    """Print every finding of a refusal, and the table of a network that does not fit."""
    for i, finding in enumerate(plain["findings"]):
        _line(console, f"{'' if i == 0 else chr(10)}error[{finding['code']}]: {finding['what']}", "bold red")
        _line(console, f"  at    {finding['place']}\n  why   {finding['why']}\n  fix   {finding['fix']}")
    show_utilization(console, plain.get("details", {}).get("utilization", []))


def _show_meaning(console: Console, plain: Plain) -> None:
    port = plain["input"]
    carries = (
        "spikes" if port["kind"] == "spikes" else f"graded spikes of {port['bits']} bits, unit {port['scale']:.3g}"
    )
    _line(console, f"input     {port['name']} {_shape(port['shape'])}, {carries}")
    _line(console, f"encoding  {_encoding(plain['encoding'])}")
    readout = plain["readout"].replace("_", " ")
    _line(console, f"decision  {readout} of {plain['output']}, {plain['latency_steps']} steps after the input")


def _show_layers(console: Console, layers: list[Plain]) -> None:
    table = _table("layer", ">neurons", "reset", "reads", "synapses", ">weights", ">bits", ">x2^", ">cores")
    for layer in layers:
        for i, projection in enumerate(layer["inputs"] or [None]):
            fires = "" if layer["firing"] == "above" else f", fires {layer['firing']}"
            reset = layer["reset"].replace("_", " ") + fires
            own = (layer["name"], f"{layer['neurons']:,}", reset) if i == 0 else ("",) * 3
            cores = str(len(layer["cores"])) if i == 0 else ""
            table.add_row(*own, *_synapses(projection), cores)
    console.print(table)


def _synapses(projection: Plain | None) -> tuple[str, ...]:
    if projection is None:
        return ("",) * 5
    source = projection["from"] + LATE * projection["recurrent"]
    numbers = (str(projection["weight_bits"]), _number(projection["exponent"]))
    return (source, projection["format"], f"{projection['weights']:,}", *numbers)


INTEGERS = {"bias_mantissa": "bias", "bias_exponent": "bias x2^", "exponents": "x2^"}
"""Short headings of a population's numbers."""


def _show_numbers(console: Console, layers: list[Plain]) -> None:
    names = list(dict.fromkeys(name for layer in layers for name in layer["numbers"]))
    table = _table("integers", ">unit", *(f">{INTEGERS.get(name, name)}" for name in names))
    for layer in layers:
        table.add_row(
            layer["name"], f"1/{layer['scale']:,.5g}", *(_number(layer["numbers"].get(name)) for name in names)
        )
    console.print(table)


def _number(value: Any) -> str:
    """Return an integer, or a span of them; exponents of two kinds come as a list too, and are equal or told apart."""
    if value is None:
        return ""
    return span(value) if isinstance(value, list) else str(value)


def _show_deviations(console: Console, plain: Plain) -> None:
    """Print what needs eyes first, line by line, then every rounding in one table."""
    rounded = []
    for deviation in plain["deviations"]:
        text = f"[{deviation['code']}] {deviation['place']}: {deviation['what']}"
        if deviation["change"] == "substitution":
            _line(console, f"SUBSTITUTED {text}", "bold yellow")
        elif deviation["change"] == "reading":
            _line(console, f"read      {text}")
        elif deviation["change"] == "annotation":
            _line(console, f"metadata  {text}")
        elif deviation["code"] == MAY_SATURATE:
            _line(console, f"careful   {text}", "yellow")
        else:
            rounded.append(deviation)
    if rounded:
        table = _table("rounded", "what", "by at most", "code")
        for place, deviations in groupby(rounded, key=lambda d: d["place"].partition(" <- ")[0]):
            for i, deviation in enumerate(deviations):
                bound = "" if deviation["bound"] is None else f"{deviation['bound']:.2g} {deviation['unit']}"
                table.add_row(place if i == 0 else "", deviation["what"], bound, deviation["code"])
        console.print(table)


def _show_substitutions(console: Console, codes: list[str]) -> None:
    if codes:
        _line(
            console, f"careful   not exactly the source: {', '.join(codes)} substituted with your leave", "bold yellow"
        )


def _show_refusals(console: Console, refused_by: dict[str, list[Plain]]) -> None:
    """Print which executors have no exact cells for the program, each with its first reason."""
    for executor, findings in refused_by.items():
        first, more = findings[0], f" and {len(findings) - 1} more" if findings[1:] else ""
        text = f"careful   [{first['code']}] {executor} refuses it: {first['place']}, {first['what']}{more}"
        _line(console, text, "yellow")


def _show_placement(console: Console, placement: Plain) -> None:
    where = f"{count(placement['cores'], 'core')} on {count(placement['chips'], 'chip')}"
    fullest = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in placement["fullest"].items())
    _line(console, f"placed    {where}; fullest: {fullest}")
    _show_kernels(console, placement["kernels"])
    if placement["assumed"]:
        names = ", ".join(key.rpartition(".")[2] for key in placement["assumed"])
        _line(console, f"assumed   {names}: the vendor publishes no limit")


def _show_kernels(console: Console, kernels: dict[str, str | None]) -> None:
    """Print what became of each convolution, those of the same fate together."""
    for why in dict.fromkeys(kernels.values()):
        names = ", ".join(name for name, other in kernels.items() if other == why)
        said = "ConvolutionConnectors between planes" if why is None else f"connection by connection: {why}"
        _line(console, f"kernels   {names}: {said}")


def _show_learned(console: Console, record: Plain | None) -> None:
    if record is None:
        return
    how = f"{record['rule']} on {record['data']}, {count(record['epochs'], 'epoch')}, {record['arithmetic']}"
    scores = f"{record['accuracy_before']:.2%} before, {record['accuracy_after']:.2%} after"
    _line(console, f"learned   by {how}, computed by {record['on']}: {scores}")
    _show_limits(console, record)


def _show_limits(console: Console, record: Plain) -> None:
    for line in record["limits"]:
        _line(console, f"limit     {line}")


def _show_certificates(console: Console, certificates: list[Plain]) -> None:
    if not certificates:
        _line(console, "verified  never: run `neurodeploy verify`", "yellow")
    for certificate in certificates:
        data = certificate["input"]
        on = f"{data['name']}, {data['samples']:,} samples x {data['steps']:,} steps"
        if certificate.get("kind") == "learning":
            on = f"learning by {certificate['rule']}, {on}"
        style = "green" if certificate["verified"] else "bold red"
        verdict = "verified" if certificate["verified"] else "failed"
        _line(console, f"{verdict:<9} {_headline(certificate)} ({on})", style)


def _headline(certificate: Plain) -> str:
    ours, theirs = certificate["actual"], certificate["expected"]
    if not certificate["verified"]:
        return f"{ours} DIFFERS from {theirs}"
    if certificate["equal"]:
        return f"{ours} equals {theirs} in everything compared"
    allowed = f" and {', '.join(certificate['substitutions'])}" if certificate.get("substitutions") else ""
    return f"{ours} differs from {theirs} by rounding{allowed} only"


def _metrics(plain: Plain, samples: int) -> list[str]:
    per_sample = [f"{plain[name] / samples:,.1f}" for name in ("spikes", "synops", "neuron_updates")]
    energy = joule(plain["energy_j"]["value"] / samples)
    return [per_sample[0], f"{plain['firing_rate']:.2%}", per_sample[1], per_sample[2], energy]


def _table(*columns: str) -> Table:
    """Return an empty table; a column name that starts with ">" is aligned to the right."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=i == 0 or name in UNBROKEN,
        )
    return table


def _line(console: Console, text: str, style: str = "") -> None:
    """Print text as it is, never wrapped or interpreted: paths and commands stay whole."""
    console.print(Text(text, style), soft_wrap=True)


def _encoding(encoding: Plain | None) -> str:
    if encoding is None:
        return "not recorded: give data that are encoded already, or compile with --steps"
    extra = [f"{name} {encoding[name]}" for name in ("seed", "threshold") if encoding.get(name)]
    return ", ".join([encoding["kind"], f"{encoding['steps']} steps", *extra])


def _pace(plain: Plain) -> str:
    if not plain["seconds"]:
        return ""
    return f", {plain['seconds']:.2f} s ({plain['samples'] * plain['steps'] / plain['seconds']:,.0f} sample-steps/s)"


def _some(values: list[int]) -> str:
    shown = " ".join(str(value) for value in values[:PREDICTIONS_SHOWN])
    return shown if len(values) <= PREDICTIONS_SHOWN else f"{shown} ..."


def _shape(shape: list[int]) -> str:
    return "x".join(str(n) for n in shape)


def _value(datum: Plain) -> str:
    value = datum["value"]
    if value is None:
        return "-"
    ends = [value if datum[end] is None else datum[end] for end in ("low", "high")]
    band = "" if datum["low"] is datum["high"] is None else f" ({ends[0]:g} to {ends[1]:g})"
    shown = f"{value:,}" if isinstance(value, int | float) else str(value)
    return f"{'assume ' * (datum['status'] == 'unpublished')}{shown}{band}"


def _alarm(resource: Plain) -> str:
    return "bold red" if resource["used"] > resource["available"] else ""
