"""What other hardware would take for the same network: numbers to set an estimate beside, from the profile `baselines`.

    a model that prices `mac`                    E = samples x passes x MACs of the network without spikes x e_mac
    a model that prices synops and updates       E = synops x e_synop + neuron updates x e_update

A network without spikes passes once per sample, a recurrent one once per step. Dynamic energy; idle power is in none.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from neurodeploy.evaluation.activity import Activity, fan_out
from neurodeploy.evaluation.energy import Energy
from neurodeploy.hardware import Datum, HardwareProfile, load_profile
from neurodeploy.ir.program import Program

PROFILE = "baselines"


@dataclass(frozen=True)
class Baseline:
    """Energy of all samples on one device: which, and what is counted."""

    name: str
    device: str
    basis: str
    energy: Energy


def baselines(program: Program, activity: Activity) -> tuple[Baseline, ...]:
    """Return what every device of the profile `baselines` would take for the counted events."""
    profile, found = load_profile(PROFILE), []
    passes = activity.samples * (activity.steps if program.recurrent else 1)
    events = {
        "mac": passes * macs(program),
        "synop": activity.synops,
        "neuron_update": activity.neuron_updates,
    }
    for name, table in profile.tables["energy_models"].items():
        priced = {event: data for event in events if (data := _price(profile, name, event))}
        value, low, high = (sum(events[e] * datum.band[end] for e, datum in priced.items()) for end in range(3))
        found.append(Baseline(name, table["device"], table["kind"], Energy(value, low, high)))
    return tuple(found)


def _price(profile: HardwareProfile, model: str, event: str) -> Datum | None:
    return profile.data.get(f"energy_models.{model}.{event}")


def macs(program: Program) -> int:
    """Return the multiplications and additions of one pass of the same network without spikes: one per synapse."""
    total = 0
    for projection in program.projections:
        entered = projection.source == program.input.name
        shape = program.input.shape if entered else program.population(projection.source).shape
        total += int(fan_out(projection, prod(shape)).sum())
    return total
