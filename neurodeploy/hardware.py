"""`HardwareProfile` and `Placement`: what hardware offers, and what of it a program takes. A board is a TOML file.

A datum is `{ value | formula, low, high, unit, status, src, note, assume }`. Its status says how far to trust it:
measured, simulated (before silicon), architectural (true by design), software (a constant in released source), derived
(arithmetic in the note), assumed (no source), unpublished (no value; `assume` is what the compiler uses instead).

A profile that names a backend is a target. One that says `extends = "loihi2"` under [meta] is that profile with its own
tables laid over it, datum by datum.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

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
SI = {
    "J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12,
    "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9,
    "W": 1.0, "mW": 1e-3,
}  # fmt: skip
"""Units of energy, time and power in joule, second and watt."""
ENERGIES = ("J", "mJ", "uJ", "nJ", "pJ")
EVENTS = {
    "mac": "a multiplication and an addition of the network without spikes",
    "synop": "a synaptic operation: a synapse that a spike passes",
    "synop_dense": "the same, where synapses are stored all to all",
    "synop_sparse": "the same, where they are stored one by one",
    "synop_conv": "the same, where they share a kernel",
    "input_spike": "a spike that enters, or of a bias, at the source that sends it",
    "row": "what one spike makes one core fetch, of excitatory or of inhibitory synapses",
    "neuron_access": "a neuron in a step, whatever happens to it",
    "neuron_update": "a neuron that is computed in a step",
    "neuron_update_active": "the same, where input reaches it or it has a bias",
    "neuron_update_inactive": "the same, where neither does",
    "spike": "a spike, at the neuron that fires",
    "spike_out": "the same",
    "spike_within_tile": "a spike's message to one core, besides hops",
    "message_out": "the same",
    "hop": "a message's way from one tile to the next",
    "hop_ew": "the same, along a row of tiles",
    "hop_ns": "the same, along a column of tiles",
    "learning_update": "a change of one synapse",
}
"""What an energy model may price, and what each is."""
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

    @property
    def band(self) -> tuple[float, float, float]:
        """The number, its low and its high end, in joule, second or watt."""
        low, high = (self.value if end is None else end for end in (self.low, self.high))
        return self.value * SI[self.unit], low * SI[self.unit], high * SI[self.unit]

    def __str__(self) -> str:
        span = "" if self.low is None and self.high is None else " ({:g} to {:g})".format(*self._ends)
        return f"{self.key} = {self.value}{span} {self.unit} ({self.status}; {', '.join(self.sources)})"

    @property
    def _ends(self) -> tuple[float, float]:
        return (self.value if self.low is None else self.low), (self.value if self.high is None else self.high)


@dataclass(frozen=True)
class HardwareProfile:
    """One kind of hardware: its identity, its data and their sources, and the plain TOML tables.

    `backend` is what serves it as a target; empty for numbers of hardware that nothing is compiled for.
    """

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

    @property
    def extends(self) -> str | None:
        """The profile it was laid over, if any."""
        return self.tables["meta"].get("extends")


def profile_names() -> list[str]:
    """Return the names of every profile that is shipped, targets or not."""
    return sorted({path.stem for folder in FOLDERS if folder.is_dir() for path in folder.glob("*.toml")})


def target_names() -> list[str]:
    """Return the names of the shipped profiles that something can be compiled for."""
    return [name for name in profile_names() if load_profile(name).backend]


def targets_of(profile: HardwareProfile) -> list[str]:
    """Return the shipped targets that are `profile` as something executes it."""
    return [name for name in target_names() if profile.id in (name, load_profile(name).extends)]


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Read a shipped profile by name, or any profile by path.

    Raises:
        ProfileError: ND120 when there is none, ND122 when it is not TOML, ND123 for every datum that breaks the schema,
            ND124 when it extends itself.
    """
    path = _find(name_or_path)
    return profile_from_tables(_tables(path, ()), str(path))


def _tables(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return the tables of a file, laid over those of the profile that it extends."""
    if path.resolve() in above:
        chain = " -> ".join(each.name for each in (*above, path))
        fix = "extend a profile that does not come back to this one"
        raise ProfileError(Finding("ND124", str(path), "the profile extends itself", chain, fix))
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fix = "correct the line that is named"
        raise ProfileError(Finding("ND122", str(path), "not a TOML file", str(error), fix)) from error
    meta = tables.get("meta", {})
    if not isinstance(meta, dict) or "extends" not in meta:
        return tables
    name = str(meta["extends"])
    beside = path.with_name(f"{name.removesuffix('.toml')}.toml")
    below = beside if beside.is_file() else _find(name)
    return _laid_over(_tables(below, (*above, path.resolve())), tables)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return `below` with the entries of `above`; tables that both have are laid over each other, data replaced."""
    both = dict(below)
    for name, item in above.items():
        under = both.get(name)
        if isinstance(item, dict) and isinstance(under, dict) and "status" not in item:
            item = _laid_over(under, item)
        both[name] = item
    return both


def profile_from_tables(tables: dict[str, Any], place: str) -> HardwareProfile:
    """Check `tables` against the schema and return the profile.

    Raises:
        ProfileError: ND123 with every violation.
    """
    raise_all(ProfileError, [Finding("ND123", place, what, why, fix) for what, why, fix in _violations(tables)])
    meta = tables["meta"]
    data = {key: _datum(key, leaf) for key, leaf in _leaves(tables)}
    return HardwareProfile(meta["id"], meta["name"], meta.get("backend", ""), data, dict(tables["sources"]), tables)


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
            f"the shipped profiles are {', '.join(profile_names())}",
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


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


Violation = tuple[str, str, str]
"""(what, why, fix)."""


def _violations(tables: dict[str, Any]) -> Iterator[Violation]:
    """Yield everything in `tables` that breaks the schema."""
    meta = tables.get("meta", {})
    for key in ("id", "name", *(["default_energy_model"] if "backend" in meta else [])):
        if not isinstance(meta.get(key), str):
            yield f"meta.{key} is missing", "a profile says what it is and who serves it", f'add {key} = "..."'
    if not isinstance(tables.get("sources"), dict):
        yield "there is no [sources] table", "no cited constant, no number", "add [sources]"
        return
    models = tables.get("energy_models", {})
    default = meta.get("default_energy_model")
    if isinstance(default, str) and default not in models:
        yield f"meta.default_energy_model: {default!r}", f"[energy_models] has {', '.join(models)}", "name one of these"
    for key in _bare_numbers(tables):
        yield f"{key}: a bare number", "every number has unit, status and source", "write it as { value = ..., ... }"
    for key, leaf in _leaves(tables):
        yield from _leaf_violations(key, leaf, tables["sources"])


def _bare_numbers(tables: dict[str, Any]) -> Iterator[str]:
    """Yield the dotted places of numbers that are no datum; those of [meta] and `schema` number files and years."""
    for name, item in tables.items():
        if name in ("meta", "sources", "schema"):
            continue
        if _is_number(item):
            yield name
        elif isinstance(item, dict) and "status" not in item:
            yield from (f"{name}.{below}" for below in _bare_numbers(item))


def _leaf_violations(key: str, leaf: dict[str, Any], sources: dict[str, Any]) -> Iterator[Violation]:
    if leaf["status"] not in STATUSES:
        yield f"{key}: status {leaf['status']!r}", f"one of {', '.join(STATUSES)}", "use one of these"
    unpublished = leaf["status"] == "unpublished"
    if unpublished == any(field in leaf for field in ("value", "formula")):
        what = "neither value nor formula" if not unpublished else "unpublished, and has a value"
        yield f"{key}: {what}", "what is not published has none, everything else has", "add the value, or use `assume`"
    for source in leaf.get("src", ()):
        if source not in sources:
            yield f"{key}: unknown source {source!r}", "every source is cited in [sources]", f"add {source}"
    if not leaf.get("src") and leaf["status"] != "assumed":
        yield f"{key}: no source", "every number has one", 'add src = ["..."]'
    value = leaf.get("value", leaf.get("assume"))
    if _is_number(value) and "unit" not in leaf:
        yield f"{key}: no unit", "every number has one", 'add unit = "..."; "" for a mere number'
    if key in NUMBERS and (not _is_number(value) or value <= 0):
        yield f"{key}: {value!r}", "the compiler counts with it", "give a number above 0"
    if key == "topology.boards" and not (isinstance(value, list) and value and all(_is_count(n) for n in value)):
        yield f"{key}: {value!r}", "boards are listed by their number of chips", "give a list of numbers above 0"
    ends = [end for end in (leaf.get("low"), value, leaf.get("high")) if end is not None]
    if len(ends) > 1 and (not all(map(_is_number, ends)) or ends != sorted(ends)):
        yield f"{key}: {ends}", "low, value and high are numbers in this order", "put them in order"
    if key.startswith("energy_models."):
        yield from _price_violations(key, value, leaf.get("unit"))


def _price_violations(key: str, value: Any, unit: Any) -> Iterator[Violation]:
    event = key.rpartition(".")[2]
    if event not in EVENTS:
        yield f"{key}: {event!r} is no event", f"events are {', '.join(EVENTS)}", "name one, or use another table"
    if unit not in ENERGIES or not _is_number(value) or value < 0:
        yield f"{key}: {value!r} {unit}", "an event takes an energy", f"give a number in {', '.join(ENERGIES)}"


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
        kernels: convolution -> why it is listed connection by connection, None where the target keeps it as a kernel;
            only for targets that know both.
    """

    slots: tuple[Slot, ...]
    available: dict[str, int]
    cores_per_chip: int
    assumed: tuple[str, ...]
    shared: tuple[str, ...] = ()
    kernels: dict[str, str | None] = field(default_factory=dict)

    @property
    def cores(self) -> int:
        return len(self.slots)

    @property
    def chips(self) -> int:
        return self.seats[-1][0] + 1 if self.slots else 0

    @property
    def seats(self) -> list[tuple[int, int]]:
        """Each slot's chip and which of the chip's cores it is.

        Chips are filled core by core until no core, or not enough of what is shared, is left.
        """
        seats: list[tuple[int, int]] = []
        chip, core, left = -1, self.cores_per_chip, dict.fromkeys(self.shared, 0)
        for slot in self.slots:
            if core == self.cores_per_chip or any(slot.used[name] > left[name] for name in self.shared):
                chip, core = chip + 1, 0
                left = {name: self.available[name] for name in self.shared}
            seats.append((chip, core))
            core, left = core + 1, {name: left[name] - slot.used[name] for name in self.shared}
        return seats


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
