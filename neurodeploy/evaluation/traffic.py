"""Where events go on a placed chip: messages between cores, their hops, and what each core has to do in each step.

A spike sends one message to every core that holds a synapse of it, its own core included. Inside a chip a message takes
|dx| hops along and |dy| hops across the mesh of tiles; cores are taken in the order of the placement, tiles down
columns. What goes from chip to chip is counted apart, since nobody publishes its way. Input enters through the host
and is no message here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from neurodeploy.evaluation.activity import fan_out
from neurodeploy.ir.program import Program, Projection
from neurodeploy.results import RunResult


@dataclass(frozen=True)
class Share:
    """The part of a population on one core: flat indices of its neurons, its chip, and which of the chip's cores."""

    members: np.ndarray
    chip: int
    core: int


@dataclass(frozen=True)
class Mesh:
    """Tiles of so many cores each, numbered down columns of `rows` tiles."""

    cores_per_tile: int
    rows: int

    def tile(self, share: Share) -> tuple[int, int]:
        """Return the column and the row of a core's tile."""
        return divmod(share.core // self.cores_per_tile, self.rows)


@dataclass(frozen=True)
class Messages:
    """What a population sent over all samples: messages, `off_chip` of them to other chips, and hops of the others."""

    messages: int = 0
    hops_ew: int = 0
    hops_ns: int = 0
    off_chip: int = 0

    def __add__(self, other: Messages) -> Messages:
        return Messages(
            self.messages + other.messages,
            self.hops_ew + other.hops_ew,
            self.hops_ns + other.hops_ns,
            self.off_chip + other.off_chip,
        )


@dataclass(frozen=True, eq=False)
class Traffic:
    """What goes where.

    Args:
        sent: by population.
        synops: of each core in each step of each sample, float32 (step x sample, core); whole numbers.
        neurons: of each core, int64 (core,).
        tiles: used on the chip that uses most of them.
    """

    sent: dict[str, Messages]
    synops: np.ndarray
    neurons: np.ndarray
    tiles: int


def count(
    program: Program, payload: np.ndarray, result: RunResult, shares: Mapping[str, Sequence[Share]], mesh: Mesh
) -> Traffic:
    """Count messages, hops and work per core when `program` ran on `payload`.

    Args:
        payload: what entered, integers (step, sample, *input shape).
        result: spikes of every population on that input, from any executor.
        shares: of every population.
    """
    steps, samples = payload.shape[:2]
    everyone = [share for population in program.populations for share in shares[population.name]]
    columns = {id(share): column for column, share in enumerate(everyone)}
    synops = np.zeros((steps, samples, len(everyone)), np.float32)
    sent = {population.name: Messages() for population in program.populations}
    for projection in program.projections:
        entered = projection.source == program.input.name
        late = int(projection.recurrent)
        source = (payload if entered else result.spikes[projection.source])[: steps - late] != 0
        targets = shares[projection.target]
        degrees = _degrees(projection, prod(source.shape[2:]), targets)
        into = [columns[id(share)] for share in targets]
        for step, fired in enumerate(source):
            synops[step + late][:, into] += fired.reshape(samples, -1).astype(np.float32) @ degrees
        if not entered:
            events = np.count_nonzero(source.reshape(-1, len(degrees)), axis=0)
            sent[projection.source] += _messages(events, degrees > 0, shares[projection.source], targets, mesh)
    neurons = np.array([len(share.members) for share in everyone])
    tiles = {(share.chip, mesh.tile(share)) for share in everyone}
    most = max(sum(chip == share.chip for chip, _ in tiles) for share in everyone)
    return Traffic(sent, synops.reshape(-1, len(everyone)), neurons, most)


def _degrees(projection: Projection, pre: int, targets: Sequence[Share]) -> np.ndarray:
    """Return how many synapses each source has on each core of the target, float32 (pre, core)."""
    by_core = [fan_out(projection, pre, members=share.members) for share in targets]
    return np.stack(by_core, axis=1).astype(np.float32)


def _messages(
    events: np.ndarray, reaches: np.ndarray, sources: Sequence[Share], targets: Sequence[Share], mesh: Mesh
) -> Messages:
    """Return what `events` (pre,) send over one projection; `reaches`: bool (pre, core of the target)."""
    total = Messages()
    for source in sources:
        x, y = mesh.tile(source)
        to = events[source.members] @ reaches[source.members]
        for target, messages in zip(targets, map(int, to), strict=True):
            if target.chip != source.chip:
                total += Messages(messages, off_chip=messages)
                continue
            column, row = mesh.tile(target)
            total += Messages(messages, messages * abs(column - x), messages * abs(row - y))
    return total
