"""`HardwareProfile` and `Placement`: what a target offers, and what of it a program takes. A board is a TOML file.

A datum is `{ value | formula, low, high, unit, status, src, note, assume }`. Its status says how far to trust it:
measured, simulated (before silicon), architectural (true by design), software (a constant in released source), derived
(arithmetic in the note), assumed (no source), unpublished (no value; `assume` is what the compiler uses instead).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.errors import Finding, ProfileError, raise_all

STATUSES = ("measured", "simulated", "architectural", "software", "derived", "assumed", "unpublished")
"""How a number is known, from best to least."""

NUMBERS = (
    *(f"limits.core.{name}" for name in ("neurons", "synaptic_memory", "input_axons", "output_axons")),
    *(f"synapse_encoding.{name}" for name in ("dense_bits", "sparse_bits", "word_bits")),
    "topology.cores_per_chip",
    "topology.cores_per_chip_usable",
)
"""What placement counts with: numbers above 0."""
FOLDERS = (Path(__file__).parent / "hardware_profiles", Path(__file__).parent.parent / "hardware_profiles")
"""Where profiles lie: inside an installed package, or beside it in a checkout."""


@dataclass(frozen=True)
class Datum:
    """One number of a profile. `key` is its dotted place in the file."""

    key: str
    value: Any
    unit: str
    status: str
    sources: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def uncertain(self) -> bool:
        """True when the number is our assumption, so every report that used it must say so."""
        return self.status in ("assumed", "unpublished")


@dataclass(frozen=True)
class HardwareProfile:
    """One target: its identity, the backend that serves it, its data and their sources, and the plain TOML tables."""

    id: str
    name: str
    backend: str
    data: dict[str, Datum]
    sources: dict[str, str]
    tables: dict[str, Any]

    def datum(self, key: str) -> Datum:
        """Return the datum at dotted `key`.

        Raises:
            ProfileError: ND121 when the profile has no such datum, or it has neither value nor assumption.
        """
        if key not in self.data or self.data[key].value is None:
            raise ProfileError(
                Finding(
                    "ND121",
                    f"{self.id}: {key}",
                    "the profile does not say this",
                    "the compiler needs the number and never invents one",
                    f"add {key} with unit, status and source to the profile",
                )
            )
        return self.data[key]

    def value(self, key: str) -> Any:
        return self.datum(key).value

    def energy_model(self) -> str:
        return self.tables["meta"]["default_energy_model"]


def profile_names() -> list[str]:
    """Return the names of every profile that is shipped."""
    return sorted({path.stem for folder in FOLDERS if folder.is_dir() for path in folder.glob("*.toml")})


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Read a shipped profile by name, or any profile by path.

    Raises:
        ProfileError: ND120 when there is none, ND122 when it is not TOML, ND123 for every datum that breaks the schema.
    """
    path = _find(name_or_path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(
            Finding("ND122", str(path), "not a TOML file", str(error), "correct the line that is named")
        ) from error
    return profile_from_tables(tables, str(path))


def profile_from_tables(tables: dict[str, Any], place: str) -> HardwareProfile:
    """Check `tables` against the schema and return the profile.

    Raises:
        ProfileError: ND123 with every violation.
    """
    raise_all(ProfileError, [Finding("ND123", place, what, why, fix) for what, why, fix in _violations(tables)])
    meta = tables["meta"]
    data = {key: _datum(key, leaf) for key, leaf in _leaves(tables)}
    return HardwareProfile(meta["id"], meta["name"], meta["backend"], data, dict(tables["sources"]), tables)


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return path
    for folder in FOLDERS:
        if (folder / f"{name_or_path}.toml").is_file():
            return folder / f"{name_or_path}.toml"
    raise ProfileError(
        Finding(
            "ND120",
            str(name_or_path),
            "no such target",
            f"the shipped targets are {', '.join(profile_names())}",
            "name one of these, or give the path of your own .toml profile",
        )
    )


def _leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, item in table.items():
        key = f"{prefix}{name}"
        if isinstance(item, dict) and "status" in item:
            yield key, item
        elif isinstance(item, dict) and key != "sources":
            yield from _leaves(item, f"{key}.")


def _datum(key: str, leaf: dict[str, Any]) -> Datum:
    value = leaf.get("value", leaf.get("assume", leaf.get("formula")))
    sources = tuple(leaf.get("src", ()))
    unit = leaf.get("unit", "")
    return Datum(key, value, unit, leaf["status"], sources, leaf.get("low"), leaf.get("high"), leaf.get("note", ""))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _violations(tables: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (what, why, fix) for everything in `tables` that breaks the schema."""
    meta = tables.get("meta", {})
    for field in ("id", "name", "backend", "default_energy_model"):
        if not isinstance(meta.get(field), str):
            yield f"meta.{field} is missing", "a profile says what it is and who serves it", f'add {field} = "..."'
    if not isinstance(tables.get("sources"), dict):
        yield "there is no [sources] table", "no cited constant, no number", "add [sources]"
        return
    for key, leaf in _leaves(tables):
        if leaf["status"] not in STATUSES:
            yield f"{key}: status {leaf['status']!r}", f"one of {', '.join(STATUSES)}", "use one of these"
        if not any(field in leaf for field in ("value", "formula")) and leaf["status"] != "unpublished":
            yield f"{key}: neither value nor formula", "only an unpublished datum has none", "add the value"
        for source in leaf.get("src", ()):
            if source not in tables["sources"]:
                yield f"{key}: unknown source {source!r}", "every source is cited in [sources]", f"add {source}"
        value = leaf.get("value", leaf.get("assume"))
        if key in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            yield f"{key}: {value!r}", "the compiler counts with it", "give a number above 0"
        if key == "topology.boards" and not (isinstance(value, list) and value and all(_is_count(n) for n in value)):
            yield f"{key}: {value!r}", "boards are listed by their number of chips", "give a list of numbers above 0"
        if not leaf.get("src") and leaf["status"] != "assumed":
            yield f"{key}: no source", "every number has one", 'add src = ["..."]'


@dataclass(frozen=True)
class Slot:
    """Neurons [start, stop) of one population, or of a source of spikes, on one core, with what they use of it.

    The index is flat. On Loihi it counts rows first for populations of shape (channel, y, x), i.e. in the order
    (y, x, channel).
    """

    core: int
    population: str
    start: int
    stop: int
    used: dict[str, int]


@dataclass(frozen=True)
class Placement:
    """Every neuron's core, the limits of a core by resource, and how many cores and chips that takes.

    Args:
        shared: resources of which all cores of a chip together have what is available.
    """

    slots: tuple[Slot, ...]
    available: dict[str, int]
    cores_per_chip: int
    assumed: tuple[str, ...]
    shared: tuple[str, ...] = ()

    @property
    def cores(self) -> int:
        return len(self.slots)

    @property
    def chips(self) -> int:
        """How many chips, each filled core by core until it has no core, or not enough of what is shared, left."""
        chips, cores, left = 0, 0, dict.fromkeys(self.shared, 0)
        for slot in self.slots:
            if cores == 0 or any(slot.used[name] > left[name] for name in self.shared):
                chips, cores = chips + 1, self.cores_per_chip
                left = {name: self.available[name] for name in self.shared}
            cores, left = cores - 1, {name: left[name] - slot.used[name] for name in self.shared}
        return chips


def utilization(placement: Placement) -> list[dict]:
    """Return one row per core: population, neurons, and each resource as used and available."""
    return [
        {
            "core": slot.core,
            "population": slot.population,
            "start": slot.start,
            "stop": slot.stop,
            **{name: {"used": slot.used[name], "available": most} for name, most in placement.available.items()},
        }
        for slot in placement.slots
    ]
