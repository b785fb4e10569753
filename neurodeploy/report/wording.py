"""How numbers and facts read in a report: the phrases that a page and a text share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neurodeploy.quantities import count, joule, span
from neurodeploy.summary import Plain

MAY_SATURATE = "ND210"
"""The one rounding that is no bound on an error but a warning."""
NAMES = {
    "lava": "Lava",
    "lava-models": "Lava's process models",
    "nest": "NEST",
    "brian2": "Brian2",
    "source": "the source",
    "engine": "the reference engine",
}
"""What those are called that a program is held against."""


def band(energy: Plain, per: float = 1) -> str:
    """Return the low and the high end of an energy, divided by `per`."""
    if energy["low"] == energy["high"]:
        return "no band stated"
    return f"{joule(energy['low'] / per)} to {joule(energy['high'] / per)}"


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share in percent: none of it, or all, only where it is; of nothing it is a dash."""
    if share is None:
        return "–"
    none, all_of_it, text = (f"{each:.{digits}%}" for each in (0, 1, share))
    least = 10.0**-digits
    if text == none and share > 0:
        return f"<{least:g}%"
    return f">{100 - least:g}%" if text == all_of_it and share < 1 else text


def span_of_shares(interval: list[float]) -> str:
    low, high = interval
    return f"{low:.1%} to {high:.1%}"


def shape(values: list[int]) -> str:
    return " × ".join(str(n) for n in values)


def exponent(value: int | list[int]) -> str:
    """Return an exponent, or the two of a projection with one for each kind of weight."""
    return span(value) if isinstance(value, list) else str(value)


ACRONYMS = {"fgsm": "FGSM", "nes": "NES"}


def words(name: str) -> str:
    """Return a name in code as words."""
    return " ".join(ACRONYMS.get(word, word) for word in name.split("_"))


def sentence(text: str) -> str:
    """Return text with a capital first letter."""
    return text[:1].upper() + text[1:]


def encoding(plain: Plain | None) -> str:
    """Return how samples become input."""
    if plain is None:
        return "not recorded: data come encoded"
    extra = [f"{name} {plain[name]}" for name in ("seed", "threshold") if plain.get(name)]
    return ", ".join([plain["kind"], count(plain["steps"], "step"), *extra])


def names(of: list[str]) -> str:
    """Return those that a program was held against, as a phrase."""
    return ", ".join(NAMES.get(name, name) for name in of)


def verdict(certificate: Plain) -> str:
    """Return what a certificate amounts to in a few words."""
    if not certificate["verified"]:
        return "differs"
    if certificate["equal"]:
        return "equal"
    return "by rounding only"


def place(first: Plain) -> str:
    """Return where two runs differ first, and by what."""
    if "population" not in first:
        synapse = f"{first['synapses']}[{first['post']}, {first['pre']}]"
        return f"step {first['step']}, {synapse}: {first['expected']:g} became {first['actual']:g}"
    where = f"step {first['step']}, {first['population']}{first['neuron']}, sample {first['sample']}"
    return f"{where}: {first['quantity']} {first['expected']:g} became {first['actual']:g}"


def agreement(compared: int, differ: int) -> str:
    """Return the share of values that agree."""
    return "100%" if not differ else percent(1 - differ / compared, 4)


def side_by_side(rows: list[Plain]) -> list[tuple[str, list[str]]]:
    """Return what artefacts are compared by, each with a phrase per artefact; what says nothing of any is left out."""
    told = [(label, [say(row) for row in rows]) for label, say in COMPARED.items()]
    return [(label, cells) for label, cells in told if any(cells)]


def _measured(key: str, say: Callable[[Any], str]) -> Callable[[Plain], str]:
    """Return how a row says what it may lack."""

    def told(row: Plain) -> str:
        value = row[key]
        lacks = value is None or (isinstance(value, dict) and "unavailable" in value)
        return "unavailable" if lacks else say(value)

    return told


COMPARED: dict[str, Callable[[Plain], str]] = {
    "target": lambda row: row["target"],
    "data": _measured("data", str),
    "accuracy": _measured("accuracy", lambda share: percent(share["value"])),
    "its 95% interval": _measured("accuracy", lambda share: span_of_shares(share["interval_95"])),
    "spikes per sample": _measured("spikes_per_sample", lambda number: f"{number:,.1f}"),
    "synaptic operations per sample": _measured("synops_per_sample", lambda number: f"{number:,.1f}"),
    "energy per sample, estimated": _measured("energy_j_per_sample", lambda energy: joule(energy["value"])),
    "its band": _measured("energy_j_per_sample", band),
    "cores": lambda row: f"{row['cores']:,}",
    "latency": lambda row: count(row["latency_steps"], "step"),
    "verified against": lambda row: names(row["verified_against"]) or "nobody",
    "verification failed against": lambda row: names(row["failed_against"]),
    "substituted": lambda row: ", ".join(row["substitutions"]) or "nothing",
}
