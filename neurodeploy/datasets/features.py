"""Sound as features over time: frames of log-mel energy, and how a stretch of them becomes a number of steps."""

import io
import wave
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from neurodeploy.datasets.places import damaged

WINDOW_S, HOP_S = 0.025, 0.010
"""Length of a window of sound and distance from one to the next."""

RANGE_DB = 60
"""From silence (0) to the loudest cell of a recording (1)."""


@dataclass(frozen=True, eq=False)
class Features:
    """Recordings made of frames: stretches of one long array, which may overlap.

    Args:
        values: (frame, channel) float32 in [0, 1].
        spans: (sample, 2) float64, first frame and end of each recording, fractions allowed.
    """

    values: np.ndarray
    spans: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.values.shape[1],)

    def __len__(self) -> int:
        return len(self.spans)

    def first(self, n: int | None) -> "Features":
        """Return the first `n` recordings, all for None."""
        return Features(self.values, self.spans[:n])

    @cached_property
    def _integral(self) -> np.ndarray:
        """The sum of all frames before each, (frame + 1, channel) float64."""
        return np.concatenate([np.zeros((1, self.values.shape[1])), np.cumsum(self.values, axis=0, dtype=np.float64)])

    def frames(self, steps: int, index: np.ndarray) -> np.ndarray:
        """Return each recording's mean over each of `steps` equal parts of its span.

        y[k, i] = (F(e[k+1]) - F(e[k])) / (e[k+1] - e[k]),  e[k] = begin + (end - begin) k / steps

        F is the integral of the features, each of which lasts from its frame to the next; so shrinking averages,
        stretching repeats, and nothing is left out.

        Returns:
            (step, sample, channel) float32 in [0, 1].
        """
        begin, end = self.spans[index].reshape(-1, 2).T
        edges = begin + (end - begin) * (np.arange(steps + 1) / steps)[:, None]
        whole = np.minimum(edges.astype(np.int64), len(self.values) - 1)
        integral = self._integral[whole] + (edges - whole)[..., None] * self.values[whole]
        means = np.diff(integral, axis=0) * (steps / (end - begin))[:, None]
        return np.clip(means, 0, 1).astype(np.float32)


def log_mel(sound: np.ndarray, rate_hz: int, channels: int) -> np.ndarray:
    """Return how loud each band of a recording is over time, relative to its loudest cell.

    x[f, c] = max(0, 1 + 10 log10(E[f, c] / max E) / 60)         so 1 is the loudest cell and 0 is 60 dB below, or less
    E = |FFT of Hann windows of 25 ms, every 10 ms|^2 . M        M: triangles, equidistant in mel, peak 1, 0 to rate / 2
    mel = 2595 log10(1 + f / 700 Hz)

    Relative to the recording itself, because speakers and microphones differ in gain.

    Args:
        sound: (time,) any real unit; shorter than a window, it is padded with zeros.
        rate_hz: samples per second.

    Returns:
        (frame, channel) float32 in [0, 1]; digital silence gives zeros.
    """
    window, hop = round(WINDOW_S * rate_hz), round(HOP_S * rate_hz)
    sound = np.pad(np.asarray(sound, np.float64), (0, max(0, window - len(sound))))
    pieces = np.lib.stride_tricks.sliding_window_view(sound, window)[::hop]
    points = 1 << (2 * window - 1).bit_length()
    energy = np.abs(np.fft.rfft(pieces * np.hanning(window), points)) ** 2 @ _triangles(points, rate_hz, channels)
    loudest = energy.max()
    if loudest == 0:
        return np.zeros(energy.shape, np.float32)
    floor = loudest * 10 ** (-RANGE_DB / 10)
    return (1 + 10 * np.log10(np.maximum(energy, floor) / loudest) / RANGE_DB).clip(0, 1).astype(np.float32)


@lru_cache
def _triangles(points: int, rate_hz: int, channels: int) -> np.ndarray:
    """Return the weight of every frequency in every band, (points // 2 + 1, channel)."""
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, channels + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(points, 1 / rate_hz)[:, None]
    rising = (frequencies - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - frequencies) / np.diff(corners)[1:]
    return np.maximum(0, np.minimum(rising, falling))


def read_wav(path: Path, name: str, content: bytes, rate_hz: int) -> np.ndarray:
    """Return the samples (time,) int16 of a .wav file of one channel and 16 bits found in `path`.

    Raises:
        LoadError: ND052 when it is damaged or of another kind.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            found = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (wave.Error, EOFError, ValueError) as error:
        raise damaged(path, f"holds {name}, which is no .wav file: {error}") from error
    if found != (1, 2, rate_hz):
        what = f"holds {name} with {found[0]} channels of {8 * found[1]} bits at {found[2]} Hz"
        raise damaged(path, what, f"the recordings have one channel of 16 bits at {rate_hz} Hz")
    return sound
