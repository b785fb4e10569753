"""Where an artefact comes from: its files and fingerprints, and what to type to have it and its report again."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

from neurodeploy import onchip, summary
from neurodeploy.artifact import FILES, CompiledModel
from neurodeploy.summary import Plain

HAVE_WORDS = ("plastic", "initial", "seed")
"""Options of a rule that the command line has words of its own for."""


def of(model: CompiledModel, folder: Path, data: str, against: str, limit: int, sample: int) -> Plain:
    """Return the origin of the artefact in `folder`, its files, and the commands.

    Args:
        data, against, limit, sample: as they are given to `verify` and `report`.
    """
    name = folder.name
    return {
        "fingerprint": model.fingerprint,
        "model": model.provenance["model"],
        "calibration": model.provenance.get("calibration"),
        "versions": model.provenance["versions"],
        "files": [_file(folder / file) for file in FILES],
        "commands": [
            *_making(model, name),
            f"neurodeploy verify {name} --against {against} --data {data}",
            f"neurodeploy verify {name} --against source --data {data}",
            f"neurodeploy evaluate {name} --data {data}",
            f"neurodeploy report {name} --data {data} --limit {limit} --sample {sample}",
        ],
    }


def _file(path: Path) -> Plain:
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _making(model: CompiledModel, name: str) -> list[str]:
    """Return what compiles the artefact, and lets it learn if it has learned.

    An encoding that the command line cannot say is the model's own, and recorded with it.
    """
    known, encoding = model.provenance, model.program.encoding
    words = [f"neurodeploy compile {known['model']} --target {model.profile.id}"]
    words += [f"--calibration {known['calibration']}"] if known.get("calibration") else []
    if encoding is not None and (encoding["seed"], encoding["threshold"]) == (0, None):
        words.append(f"--encoding {encoding['kind']} --steps {encoding['steps']}")
    words += [f"--allow {code}" for code in summary.substitutions(model.program.deviations)]
    record = known.get("learning")
    if record is None:
        return [" ".join([*words, f"-o {name}"])]
    return [" ".join([*words, "-o before.ndc"]), _learning(model, record, name)]


def _learning(model: CompiledModel, record: Plain, name: str) -> str:
    """Return what was typed to learn; of the rule's options those that differ from its defaults."""
    options, usual = record["options"], asdict(onchip.options(record["rule"], model.profile.backend))
    words = [f"neurodeploy learn before.ndc --rule {record['rule']} --data {record['data']} --on {record['on']}"]
    words += [f"--arithmetic {record['arithmetic']} --process {record['process']} --epochs {record['epochs']}"]
    words += [f"--limit {record['limit']}"] if record["limit"] else []
    words += [f"--class {number}" for number in record["classes"]]
    words += [f"--rehearse {record['rehearse']}"] if record["rehearse"] else []
    words += [f"--plastic {layer}" for layer in options["plastic"]]
    words += [f"--initial {options['initial']} --seed {options['seed']}"]
    for key, value in options.items():
        given = tuple(value) if isinstance(value, list) else value
        if key not in HAVE_WORDS and given != usual.get(key):
            words.append(f"--option {key}={','.join(map(str, given)) if isinstance(given, tuple) else given}")
    return " ".join([*words, f"-o {name}"])
