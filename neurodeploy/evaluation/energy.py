"""What a run would cost on the chip: counted events times the profile's constants, as an estimate with a band.

    E = sum over formats of synops x e_synop + neuron updates x e_update + spikes x e_spike + rows x e_row

Dynamic energy only; models without an energy per row have it in that of a synop.

Every energy model of the profile gives one figure; low and high span all of them and their own bands. What is left out
is said: static power, hops between cores, the host and its interface. The numbers used are listed with their status.

Where a target's steps take a set time, a sample does too, and so does what its boards draw when they do nothing; that
is stated apart and never added:

    time = steps x timestep x slow-down      idle = power of the boards that hold the network x time
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from neurodeploy.evaluation.activity import Activity, Layer
from neurodeploy.hardware import Datum, HardwareProfile

LEFT_OUT = ("static power", "hops between cores", "host and input/output", "state reset between samples")
MICROSECOND = 1e-6
BOARDS = "board_idle."
"""Before the number of a board's chips: what it draws when it is on and does nothing."""
JOULE = {"pJ": 1e-12, "nJ": 1e-9}
"""Of an energy per event, by the unit its datum has."""


@dataclass(frozen=True)
class Energy:
    """Dynamic energy in joule: the default model's value with the band over all models, and what it rests on."""

    joule: float
    low: float
    high: float


@dataclass(frozen=True)
class RealTime:
    """What a set length of a step comes to.

    Args:
        step_s: of one step, slow-down included.
        seconds: of all samples, one after the other.
        boards: how many, each of `board_chips` chips.
        idle: what they draw in that time while they do nothing.
    """

    step_s: float
    seconds: float
    boards: int
    board_chips: int
    idle: Energy


@dataclass(frozen=True)
class EnergyReport:
    """Energy per layer and in total over all samples; `model` is the default, `used` every datum with its status.

    `real_time` is None for targets whose steps take as long as they take.
    """

    model: str
    total: Energy
    layers: dict[str, Energy]
    used: tuple[str, ...]
    left_out: tuple[str, ...] = LEFT_OUT
    status: str = "estimated"
    real_time: RealTime | None = None


def estimate(activity: Activity, profile: HardwareProfile, chips: int = 1) -> EnergyReport:
    """Return the estimate of `profile`'s models for the counted events.

    Args:
        chips: that the network is placed on.

    Raises:
        ProfileError: ND121 when the profile's default energy model lacks a constant.
    """
    default = profile.energy_model()
    models = {name: _Model(profile, name) for name in profile.tables["energy_models"]}
    layers = {layer.name: _layer_energy(layer, models, default) for layer in activity.layers}
    total = Energy(*(sum(getattr(e, field) for e in layers.values()) for field in ("joule", "low", "high")))
    used = sorted({line for model in models.values() for line in model.used()})
    left_out = tuple(profile.tables["meta"].get("energy_left_out", LEFT_OUT))
    return EnergyReport(default, total, layers, tuple(used), left_out, real_time=_real_time(activity, profile, chips))


def _real_time(activity: Activity, profile: HardwareProfile, chips: int) -> RealTime | None:
    """Return time and idle energy on the smallest board that holds `chips`, or on as many of the largest as do."""
    if "latency.slow_down" not in profile.data:
        return None
    step_s = profile.value("latency.timestep") * MICROSECOND * profile.value("latency.slow_down")
    seconds = activity.steps * activity.samples * step_s
    sizes = sorted(int(key.removeprefix(BOARDS)) for key in profile.data if key.startswith(BOARDS))
    size = next((size for size in sizes if size >= chips), sizes[-1])
    boards = ceil(chips / size)
    power = profile.datum(f"{BOARDS}{size}")
    watts = (power.value if watt is None else watt for watt in (power.value, power.low, power.high))
    idle = Energy(*(boards * watt * seconds for watt in watts))
    return RealTime(step_s, seconds, boards, size, idle)


def of_learning(updates: int, profile: HardwareProfile) -> Energy | None:
    """Return the energy of so many changes of a synapse, over all models that know one; None when none does."""
    data = {
        name: profile.data[f"energy_models.{name}.learning_update"]
        for name in profile.tables["energy_models"]
        if f"energy_models.{name}.learning_update" in profile.data
    }
    if not data:
        return None
    usual = data.get(profile.energy_model()) or next(iter(data.values()))
    lows = [datum.value if datum.low is None else datum.low for datum in data.values()]
    highs = [datum.value if datum.high is None else datum.high for datum in data.values()]
    return Energy(*(updates * value * JOULE[usual.unit] for value in (usual.value, min(lows), max(highs))))


class _Model:
    """One set of constants, read by event; a model that names no separate format uses its one synop figure."""

    def __init__(self, profile: HardwareProfile, name: str) -> None:
        self._profile, self._prefix = profile, f"energy_models.{name}"

    def _datum(self, *names: str) -> Datum:
        for name in names:
            if f"{self._prefix}.{name}" in self._profile.data:
                return self._profile.data[f"{self._prefix}.{name}"]
        return self._profile.datum(f"{self._prefix}.{names[0]}")

    def _terms(self, layer: Layer) -> list[tuple[int, list[Datum]]]:
        terms = [(n, [self._datum(f"synop_{form}", "synop")]) for form, n in layer.synops.items()]
        access = f"{self._prefix}.neuron_access"
        update = self._datum("neuron_update_active", "neuron_update")
        updates = [update, self._profile.data[access]] if access in self._profile.data else [update]
        terms.append((layer.neuron_updates, updates))
        if f"{self._prefix}.row" in self._profile.data:
            terms.append((layer.rows, [self._datum("row")]))
        for spike in ("spike", "spike_within_tile", "spike_out"):
            if f"{self._prefix}.{spike}" in self._profile.data:
                terms.append((layer.spikes, [self._datum(spike)]))
        return terms

    def joule(self, layer: Layer) -> tuple[float, float, float]:
        """Return (value, low, high); the idle level of an update bounds it from below."""
        value = low = high = 0.0
        for events, data in self._terms(layer):
            for datum in data:
                idle = self._profile.data.get(f"{self._prefix}.neuron_update_inactive")
                least = datum.low if datum.low is not None else datum.value
                if idle is not None and datum.key.endswith("neuron_update_active"):
                    least = min(least, idle.low if idle.low is not None else idle.value)
                joule = events * JOULE[datum.unit]
                value += joule * datum.value
                low += joule * least
                high += joule * (datum.high if datum.high is not None else datum.value)
        return value, low, high

    def used(self) -> list[str]:
        return [
            f"{datum.key} = {datum.value} {datum.unit} ({datum.status}; {', '.join(datum.sources)})"
            for datum in self._profile.data.values()
            if datum.key.startswith(f"{self._prefix}.")
            and any(word in datum.key for word in ("synop", "neuron", "spike", "row"))
        ]


def _layer_energy(layer: Layer, models: dict[str, _Model], default: str) -> Energy:
    figures = {name: model.joule(layer) for name, model in models.items()}
    low, high = min(f[1] for f in figures.values()), max(f[2] for f in figures.values())
    return Energy(figures[default][0], low, high)
