"""What a run would cost on the chip: counted events times the profile's constants, as an estimate with a band.

    E = sum over formats of synops x e_synop + active updates x e_active + inactive updates x e_inactive
        + spikes x e_spike + messages x e_message + hops x e_hop + rows x e_row + input spikes x e_input

Dynamic energy only, in each of the profile's energy models; an event that a model has no price for is in another one's.
Every model gives one figure, and low and high span all of them and their own bands. Where a model prices active and
inactive updates apart, its band goes from none active to all active, since nobody publishes what an active one is.

What is drawn whatever happens is `timing.static`, stated apart and never added. No cited constant, no number: every
datum that was used is listed with its status and source, those that are assumptions once more, and what is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from neurodeploy.evaluation.activity import Activity, Layer
from neurodeploy.evaluation.timing import Duration, Static, duration, static
from neurodeploy.evaluation.traffic import Messages, Traffic
from neurodeploy.hardware import Datum, HardwareProfile

LEFT_OUT = ("static power (stated apart)", "host and input/output", "state reset between samples")
MESH = ("topology.cores_per_tile", "topology.tile_rows")
"""What the way of a message is computed from."""


@dataclass(frozen=True)
class Energy:
    """Energy in joule with its low and high end."""

    joule: float
    low: float
    high: float


@dataclass(frozen=True)
class EnergyReport:
    """Energy per layer and in total over all samples, of the default `model` with the band over all models.

    Args:
        sources: what spikes that enter, and those of biases, cost at their sources; part of the total.
        models: each energy model's own figure, on the same events.
        used: every datum that the figures rest on, with value, status and sources.
        assumed: those of them that are assumptions.
        left_out: what is in none of the figures.
        time: how long the run takes on the chip, one sample after the other; None when nothing is known of it.
        static: what is drawn in that time whatever happens, by scope.
    """

    model: str
    total: Energy
    layers: dict[str, Energy]
    sources: Energy
    models: dict[str, Energy]
    used: tuple[str, ...]
    assumed: tuple[str, ...]
    left_out: tuple[str, ...]
    status: str = "estimated"
    time: Duration | None = None
    static: tuple[Static, ...] = ()


def estimate(
    activity: Activity, profile: HardwareProfile, traffic: Traffic | None = None, chips: int = 1
) -> EnergyReport:
    """Return the estimate of `profile`'s models for the counted events.

    Args:
        traffic: where events go; without it, messages and hops are left out.
        chips: that the network is placed on.

    Raises:
        ProfileError: ND121 when one of the profile's energy models has no price of a synaptic operation or an update.
    """
    default = profile.energy_model()
    models = {name: _Model(profile, name) for name in profile.tables["energy_models"]}
    sent = {} if traffic is None else traffic.sent
    figures = {
        layer.name: {name: model.energy(layer, sent.get(layer.name)) for name, model in models.items()}
        for layer in activity.layers
    }
    entered = {name: model.sources(activity.input_spikes + activity.bias_spikes) for name, model in models.items()}
    layers = {name: _spanned(by_model, default) for name, by_model in figures.items()}
    sources = _spanned(entered, default)
    own = {name: _summed((entered[name], *(by_model[name] for by_model in figures.values()))) for name in models}
    taken = duration(activity.steps, activity.samples, profile, traffic)
    drawn = () if taken is None else static(taken, chips, profile)
    waits = () if taken is None else taken.used
    ways = () if traffic is None else map(profile.datum, MESH)
    read = chain(*(model.used for model in models.values()), waits, (each.datum for each in drawn), ways)
    data = {datum.key: datum for datum in read}
    return EnergyReport(
        default,
        _spanned(own, default),
        layers,
        sources,
        own,
        tuple(str(data[key]) for key in sorted(data)),
        tuple(str(data[key]) for key in sorted(data) if data[key].uncertain),
        tuple(_left_out(profile, models.values(), traffic)),
        time=taken,
        static=drawn,
    )


def by_model(layer: Layer, sent: Messages | None, profile: HardwareProfile, input_spikes: int = 0) -> dict[str, Energy]:
    """Return what every energy model of a profile says of a layer's events, and of spikes that enter."""
    models = {name: _Model(profile, name) for name in profile.tables["energy_models"]}
    return {name: _summed((m.energy(layer, sent), m.sources(input_spikes))) for name, m in models.items()}


def of_learning(updates: int, profile: HardwareProfile) -> Energy | None:
    """Return the energy of so many changes of a synapse, over all models that know one; None when none does."""
    data = {
        name: profile.data[f"energy_models.{name}.learning_update"].band
        for name in profile.tables["energy_models"]
        if f"energy_models.{name}.learning_update" in profile.data
    }
    if not data:
        return None
    usual = data.get(profile.energy_model()) or next(iter(data.values()))
    least, most = min(band[1] for band in data.values()), max(band[2] for band in data.values())
    return Energy(updates * usual[0], updates * least, updates * most)


class _Model:
    """One set of constants, read by event; a model that names no separate format uses its one synop figure."""

    def __init__(self, profile: HardwareProfile, name: str) -> None:
        self._profile, self._prefix = profile, f"energy_models.{name}"
        self.used: list[Datum] = []

    def prices(self, *events: str) -> bool:
        return any(f"{self._prefix}.{event}" in self._profile.data for event in events)

    def energy(self, layer: Layer, sent: Messages | None) -> Energy:
        """Return what the counted events of a layer take, and what it sent."""
        value = low = high = 0.0
        for events, datum in chain(self._own(layer), () if sent is None else self._sent(sent)):
            value, low, high = (
                total + events * price for total, price in zip((value, low, high), datum.band, strict=True)
            )
        active, inactive = (self._update(level) for level in ("active", "inactive"))
        idle = layer.neuron_updates - layer.active_updates
        return Energy(
            value + layer.active_updates * active[0] + idle * inactive[0],
            low + layer.neuron_updates * min(active[1], inactive[1]),
            high + layer.neuron_updates * max(active[2], inactive[2]),
        )

    def sources(self, spikes: int) -> Energy:
        """Return what spikes cost at the sources that send them: nothing where the model does not price that."""
        value, low, high = (
            sum(n * datum.band[end] for n, datum in self._priced(spikes, "input_spike")) for end in range(3)
        )
        return Energy(value, low, high)

    def _own(self, layer: Layer) -> Iterator[tuple[int, Datum]]:
        for form, synops in layer.synops.items():
            yield synops, self._datum(f"synop_{form}", "synop")
        yield from self._priced(layer.neuron_updates, "neuron_access")
        yield from self._priced(layer.rows, "row")
        yield from self._priced(layer.spikes, "spike", "spike_out")

    def _sent(self, sent: Messages) -> Iterator[tuple[int, Datum]]:
        yield from self._priced(sent.messages, "spike_within_tile", "message_out")
        yield from self._priced(sent.hops_ew, "hop_ew", "hop")
        yield from self._priced(sent.hops_ns, "hop_ns", "hop")

    def _priced(self, events: int, *names: str) -> Iterator[tuple[int, Datum]]:
        if self.prices(*names):
            yield events, self._datum(*names)

    def _update(self, level: str) -> tuple[float, float, float]:
        """Return the price of an update; a model that prices access apart has inactive neurons accessed and no more."""
        if level == "inactive" and self.prices("neuron_access"):
            return 0.0, 0.0, 0.0
        return self._datum(f"neuron_update_{level}", "neuron_update").band

    def _datum(self, *names: str) -> Datum:
        """Return the first of these that the model prices.

        Raises:
            ProfileError: ND121 when it prices none.
        """
        keys = [f"{self._prefix}.{name}" for name in names]
        datum = self._profile.datum(next((key for key in keys if key in self._profile.data), keys[-1]))
        self.used.append(datum)
        return datum


def _left_out(profile: HardwareProfile, models: Iterable[_Model], traffic: Traffic | None) -> Iterator[str]:
    yield from profile.tables["meta"].get("energy_left_out", LEFT_OUT)
    if any(model.prices("spike_within_tile", "message_out", "hop", "hop_ew", "hop_ns") for model in models):
        if traffic is None:
            yield "messages and hops between cores"
        elif any(sent.off_chip for sent in traffic.sent.values()):
            yield f"the way of {sum(sent.off_chip for sent in traffic.sent.values()):,} messages from chip to chip"


def _spanned(by_model: dict[str, Energy], default: str) -> Energy:
    """Return the default model's figure with the ends of all models."""
    energies = by_model.values()
    return Energy(by_model[default].joule, min(e.low for e in energies), max(e.high for e in energies))


def _summed(energies: Iterable[Energy]) -> Energy:
    found = list(energies)
    return Energy(*(sum(getattr(energy, end) for energy in found) for end in ("joule", "low", "high")))
