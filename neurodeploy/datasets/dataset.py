"""Labeled samples and how a batch of them becomes input: images, and recordings that are over time already."""

from dataclasses import dataclass

import numpy as np

from neurodeploy.datasets.encodings import OF_RECORDINGS, Encoding
from neurodeploy.datasets.events import Events
from neurodeploy.datasets.features import Features
from neurodeploy.errors import Finding, UsageError

Index = np.ndarray | slice | None
"""Which samples: their numbers in any order, a mask, a slice, or all."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled images: `images` (sample, pixel) float32 in [0, 1], row by row; `labels` (sample,) int64.

    `image_shape` is (height, width), or (3, height, width) for red, green and blue, in the order of the pixels: so
    images.reshape(-1, *image_shape) are pictures again. Labels lie in 0 .. classes - 1.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    image_shape: tuple[int, ...]
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def shape(self, encoding: Encoding) -> tuple[int, ...]:
        """Return the shape of one input step.

        Gray images are flat, (height * width,), colored ones (3, height, width). Fed by rows, a step is one row of all
        colors, and twice that for "delta".

        Raises:
            UsageError: ND050 when the encoding is not for images, or feeds their rows in more or fewer steps.
        """
        return self.encode(encoding, slice(0)).shape[2:]

    def encode(self, encoding: Encoding, index: Index = None) -> np.ndarray:
        """Return the samples of `index` as input (step, sample, *shape): uint8 spikes or float32 currents.

        A sample's input depends on the sample and the encoding, not on what is encoded with it.

        Raises:
            UsageError: ND050, see `shape`.
        """
        self._refuse_other_rows(encoding)
        numbers = _numbers(len(self), index)
        images = self.images if index is None else self.images[numbers]
        colored = len(self.image_shape) == 3
        if encoding.kind in ("rows", "delta") and colored:
            colors, height, width = self.image_shape
            by_row = images.reshape(-1, colors, height, width).transpose(0, 2, 1, 3)
            return encoding.encode(by_row.reshape(-1, height * colors * width), numbers)
        return encoding.encode(images.reshape(-1, *self.image_shape) if colored else images, numbers)

    def _refuse_other_rows(self, encoding: Encoding) -> None:
        height = self.image_shape[-2]
        if encoding.kind in ("rows", "delta") and encoding.steps != height:
            what = f"{encoding.kind} encoding of {self.name} in {encoding.steps} steps"
            why = f"every step is fed one row, and these images have {height}"
            threshold = "" if encoding.threshold is None else f", threshold={encoding.threshold}"
            fix = f'Encoding("{encoding.kind}", {height}{threshold}), on the command line --steps {height}'
            raise UsageError(Finding("ND050", "encoding", what, why, fix))


@dataclass(frozen=True, eq=False)
class Recordings:
    """Labeled samples that are over time already: event streams or features; `labels` (sample,) int64."""

    name: str
    streams: Events | Features
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def shape(self, encoding: Encoding) -> tuple[int, ...]:
        """Return the shape of one input step.

        Raises:
            UsageError: ND050 when the encoding is for images.
        """
        self._refuse_images(encoding)
        return self.streams.shape

    def encode(self, encoding: Encoding, index: Index = None) -> np.ndarray:
        """Return the samples of `index` as input (step, sample, *shape): uint8 spikes or uint16 counts of events,
        float32 features.

        Raises:
            UsageError: ND050 when the encoding is for images, or counts events where there are none.
        """
        self._refuse_images(encoding)
        numbers = _numbers(len(self), index)
        if encoding.kind == "frames":
            return self.streams.frames(encoding.steps, numbers)
        if isinstance(self.streams, Events):
            return self.streams.counts(encoding.steps, numbers)
        what, why = f"counts encoding of {self.name}", "it counts events, and these are features"
        raise UsageError(Finding("ND050", "encoding", what, why, "use frames, the mean of the features"))

    def _refuse_images(self, encoding: Encoding) -> None:
        if encoding.kind not in OF_RECORDINGS:
            what = f"{encoding.kind} encoding of {self.name}"
            why = "it turns an image into input, and these are recordings over time"
            fix = f'Encoding("frames", {encoding.steps}), on the command line --encoding frames'
            raise UsageError(Finding("ND050", "encoding", what, why, fix))


def _numbers(samples: int, index: Index) -> np.ndarray:
    """Return the numbers of the samples that `index` selects, in its order.

    Raises:
        UsageError: ND050 when a number is beyond the samples, or the index is none.
    """
    try:
        return np.arange(samples)[slice(None) if index is None else index].reshape(-1)
    except (IndexError, TypeError) as error:
        fix = "give an array of integers, a mask or a slice"
        raise UsageError(Finding("ND050", "index", str(error), f"there are {samples} samples", fix)) from error
