"""Event streams: who spiked when, held as three flat arrays however many recordings there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

STREAM = np.dtype([("t", np.uint32), ("address", np.uint16)])
"""One event: ticks since the recording began (microseconds unless a dataset says otherwise), and its channel."""

FLAT = ("times", "addresses", "starts")
"""What recordings are flattened into, see `flat`."""


@dataclass(frozen=True, eq=False)
class Events:
    """Recordings made of events.

    Args:
        times: (event,) uint32, ticks since the start of its recording.
        addresses: (event,) uint16, flat index into `shape`.
        starts: (sample + 1,) int64; recording i is events starts[i] to starts[i + 1].
        durations: (sample,) int64 ticks, above 0.
        shape: of one step, such as (polarity, height, width).
    """

    times: np.ndarray
    addresses: np.ndarray
    starts: np.ndarray
    durations: np.ndarray
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.durations)

    def first(self, n: int | None) -> "Events":
        """Return the first `n` recordings, all for None."""
        durations = self.durations[:n]
        return Events(self.times, self.addresses, self.starts[: len(durations) + 1], durations, self.shape)

    def frames(self, steps: int, index: np.ndarray) -> np.ndarray:
        """Return a spike wherever at least one event fell into the bin.

        s[k, i, a] = [an event of recording i at channel a has floor(t * steps / duration) = k]

        The last bin has no end: what follows the nominal duration belongs to it.

        Args:
            steps: number of bins each duration is divided into.
            index: (sample,) which recordings, in any order.

        Returns:
            (step, sample, *shape) uint8.
        """
        spikes = np.zeros((steps, len(index), prod(self.shape)), np.uint8)
        spikes[self._bins(steps, index)] = 1
        return spikes.reshape(steps, len(index), *self.shape)

    def counts(self, steps: int, index: np.ndarray) -> np.ndarray:
        """Return how many events fell into each bin of `frames`, (step, sample, *shape) uint16, up to 65,535."""
        counts = np.zeros((steps, len(index), prod(self.shape)), np.uint16)
        np.add.at(counts, self._bins(steps, index), 1)
        return counts.reshape(steps, len(index), *self.shape)

    def _bins(self, steps: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return bin, place in `index` and channel of every event of the recordings `index`."""
        lengths = self.starts[index + 1] - self.starts[index]
        parts = [slice(start, start + n) for start, n in zip(self.starts[index], lengths, strict=True)]
        times = np.concatenate([np.empty(0, np.int64), *(self.times[part] for part in parts)]).astype(np.int64)
        bins = np.minimum(times * steps // np.repeat(self.durations[index], lengths), steps - 1)
        channels = np.concatenate([np.empty(0, np.uint16), *(self.addresses[part] for part in parts)])
        return bins, np.repeat(np.arange(len(index)), lengths), channels


def flat(streams: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of `FLAT` of recordings given as arrays of `STREAM`."""
    streams = list(streams)
    starts = np.concatenate([[0], np.cumsum([len(stream) for stream in streams])]).astype(np.int64)
    whole = np.concatenate(streams) if streams else np.empty(0, STREAM)
    arrays = np.ascontiguousarray(whole["t"]), np.ascontiguousarray(whole["address"]), starts
    return dict(zip(FLAT, arrays, strict=True))
