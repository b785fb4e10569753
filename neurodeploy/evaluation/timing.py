"""How long a run would take on the chip, and what the chip draws meanwhile whatever it does.

A chip whose steps have a set length:       step = timestep x slow-down
A chip that waits for its slowest core:     step = max over cores (synops x t_synop + neurons x t_update) + barrier

and a step takes `min_timestep` at least, where a profile has one. Static energy is power times time; it is stated for
each scope (the chips that are used, all that are powered) and never part of the energy of events.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from neurodeploy.evaluation.traffic import Traffic
from neurodeploy.hardware import Datum, HardwareProfile

BOARDS = "board_idle."
"""Before the number of a board's chips: what it draws when it is on and does nothing."""
STATIC = {"power.static_chip": "chips", "power.x86_chip": "embedded x86 of chips"}
"""Power per chip, and of what it is."""
UPDATES = ("latency.neuron_update_active", "latency.neuron_update")
NANOSECOND = 1e-9


@dataclass(frozen=True)
class Duration:
    """Seconds of all samples, one after the other, and of a step on average; each with its low and high end."""

    seconds: tuple[float, float, float]
    step_s: tuple[float, float, float]
    rule: str
    used: tuple[Datum, ...]


@dataclass(frozen=True)
class Static:
    """What so many chips draw while a run takes its time, in joule, whatever they do.

    Args:
        scope: which chips: those that are used, or all that are powered with them.
    """

    scope: str
    chips: int
    joule: tuple[float, float, float]
    datum: Datum


def duration(steps: int, samples: int, profile: HardwareProfile, traffic: Traffic | None) -> Duration | None:
    """Return how long `samples` of `steps` each take, one after the other; None when the profile cannot say."""
    data, total = profile.data, steps * samples
    if "latency.slow_down" in data:
        timestep, slow_down = profile.datum("latency.timestep"), profile.datum("latency.slow_down")
        step_s = timestep.band[0] * slow_down.value
        return Duration((total * step_s,) * 3, (step_s,) * 3, "steps have a set length", (timestep, slow_down))
    if traffic is None or "latency.synop" not in data:
        return None
    synop = profile.datum("latency.synop")
    update = profile.datum(next((key for key in UPDATES if key in data), UPDATES[-1]))
    barrier, waits = _barrier(profile, traffic.tiles)
    least = data.get("latency.min_timestep")
    ends = []
    for end in range(3):
        work = traffic.synops * synop.band[end] + traffic.neurons * update.band[end]
        taken = work.max(axis=1) + barrier[end]
        ends.append(float(np.maximum(taken, least.band[end] if least else 0.0).sum(dtype=np.float64)))
    seconds = (ends[0], ends[1], ends[2])
    used = (synop, update, *waits, *([least] if least else []))
    return Duration(seconds, (ends[0] / total, ends[1] / total, ends[2] / total), "the slowest core sets a step", used)


def _barrier(profile: HardwareProfile, tiles: int) -> tuple[tuple[float, float, float], tuple[Datum, ...]]:
    """Return how long all cores wait for each other, from what was measured; its low end is what was simulated."""
    keys = ("latency.barrier_tiles", "latency.barrier_measured", "latency.barrier_1_to_32_tiles")
    if not all(key in profile.data for key in keys):
        return (0.0, 0.0, 0.0), ()
    at, measured, simulated = (profile.datum(key) for key in keys)
    usual = float(np.interp(tiles, at.value, measured.value)) * NANOSECOND
    low = float(np.interp(tiles, (1, 32), simulated.value)) * NANOSECOND
    return (usual, min(low, usual), usual), (measured, simulated)


def static(taken: Duration, chips: int, profile: HardwareProfile) -> tuple[Static, ...]:
    """Return what is drawn whatever happens, by scope.

    Boards that idle are those that hold the network: the smallest that has enough chips, or as many of the largest.
    """
    found = []
    boards = sorted(int(key.removeprefix(BOARDS)) for key in profile.data if key.startswith(BOARDS))
    if boards:
        size, count = _holding(chips, boards)
        scope = f"{count:,} board{'s' * (count > 1)} of {size:,} chips that idle"
        found.append(_static(scope, count * size, count, profile.datum(f"{BOARDS}{size}"), taken))
    size, count = _holding(chips, sorted(profile.value("topology.boards")))
    scopes = {"powered": size * count} if size * count == chips else {"used": chips, "powered": size * count}
    for key, what in STATIC.items():
        if key in profile.data:
            for scope, number in scopes.items():
                found.append(_static(f"{what} {scope}: {number:,}", number, number, profile.datum(key), taken))
    return tuple(found)


def _static(scope: str, chips: int, times: int, power: Datum, taken: Duration) -> Static:
    value, low, high = (times * watt * seconds for watt, seconds in zip(power.band, taken.seconds, strict=True))
    return Static(scope, chips, (value, low, high), power)


def _holding(chips: int, boards: list[int]) -> tuple[int, int]:
    """Return the size and the number of the boards that hold `chips`: the smallest that does, or the largest ones."""
    size = next((size for size in boards if size >= chips), boards[-1])
    return size, ceil(chips / size)
