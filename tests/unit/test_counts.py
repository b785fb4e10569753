"""Counts of events, from a recording to what enters a chip: whole numbers, with room for more than were seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.backends.loihi2 import payloads
from neurodeploy.datasets.dataset import Recordings
from neurodeploy.datasets.encodings import Encoding
from neurodeploy.datasets.events import STREAM, Events, flat
from neurodeploy.datasets.features import Features
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.ir.entering import counted, encoded
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset
from neurodeploy.learning.training import input_of

COUNTS, FRAMES = Encoding("counts", 4), Encoding("frames", 4)


def recordings(most: int, samples: int = 3) -> Recordings:
    """Return recordings of three channels, in which `most` events of channel 1 fall into one of four bins."""
    stream = np.zeros(most + 2, STREAM)
    stream["t"], stream["address"] = [*[50] * most, 10, 390], [*[1] * most, 0, 2]
    events = Events(**flat([stream] * samples), durations=np.full(samples, 400), shape=(3,))
    return Recordings("by hand", events, np.zeros(samples, np.int64), 2)


def network(entering: Input, kind: str | None = None) -> Network:
    nodes = {"in": entering, "fc": Linear(np.ones((2, 3))), "lif": LIF((2,), np.array(0.5), np.array(9.0), Reset.ZERO)}
    encoding = None if kind is None else Encoding(kind, 4).to_plain()
    return Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif", encoding=encoding)


@pytest.mark.parametrize("most", [1, 7, 8, 200, 300])
def test_counts_are_whole_numbers_that_one_byte_need_not_hold(most: int) -> None:
    found = recordings(most).encode(COUNTS)
    assert found.dtype == np.uint16
    assert found[:, 0].tolist() == [[1, most, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert np.array_equal(found > 0, recordings(most).encode(FRAMES) > 0)


@pytest.mark.parametrize("largest", [1, 2, 7, 8, 15, 16, 100])
def test_there_is_room_for_twice_the_counts_seen_in_whole_bits(largest: int) -> None:
    node = counted((3,), largest)
    assert 2 * largest <= node.high < 4 * largest
    assert (node.kind, node.low, node.levels, (int(node.high) + 1).bit_count()) == (InputKind.GRADED, 0, node.high, 1)


def test_what_was_trained_on_some_counts_takes_twice_as_many_and_refuses_more() -> None:
    """Nothing is rounded on the way: a count is its own payload."""
    model = pipeline.compile(network(input_of(recordings(5), COUNTS), "counts"), "loihi2-sim")
    assert model.program.input.scale == 1
    assert not any(each.code == "ND205" for each in model.program.deviations)
    assert payloads(model.program.input, recordings(10).encode(COUNTS)).max() == 10
    with pytest.raises(UnsupportedError, match=r"(?s)ND221.*--calibration"):
        payloads(model.program.input, recordings(40).encode(COUNTS))


def test_calibration_data_say_how_many_counts_need_room(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", inputs=recordings(40).encode(COUNTS))
    model = pipeline.compile(
        network(Input((3,), InputKind.SPIKES)),
        "loihi2-sim",
        encoding=COUNTS,
        calibration=tmp_path / "data.npz",
    )
    assert payloads(model.program.input, recordings(80).encode(COUNTS)).max() == 80


@pytest.mark.parametrize(
    ("before", "node", "kind", "graded", "high"),
    [
        (None, Input((3,), InputKind.SPIKES), "counts", True, 15),
        ("frames", Input((3,), InputKind.SPIKES), "counts", True, 15),
        ("counts", counted((3,), 20), "counts", True, 63),
        ("counts", counted((3,), 20), "frames", False, 1),
        ("counts", counted((3,), 20), "direct", True, 1),
        ("counts", counted((3,), 20), "rate", False, 1),
        ("frames", Input((3,), InputKind.GRADED, 0.0, 0.5), "frames", True, 0.5),
        ("direct", Input((3,), InputKind.GRADED, -1.0, 2.0), "rows", True, 2),
        ("direct", Input((3,), InputKind.GRADED, -1.0, 2.0), "rate", False, 1),
        ("rate", Input((3,), InputKind.SPIKES), "direct", True, 1),
    ],
)
def test_another_encoding_makes_another_input(
    before: str | None, node: Input, kind: str, graded: bool, high: float
) -> None:
    found = encoded(node, kind, before)
    assert (found.kind is InputKind.GRADED, found.high) == (graded, high)
    again = pipeline.compile(network(node, before), "loihi2-sim", encoding=Encoding(kind, 4))
    assert again.source.input_node == found


def test_features_have_no_events_to_count() -> None:
    features = Features(np.ones((8, 3), np.float32), np.array([[0, 8]]))
    with pytest.raises(UsageError, match=r"(?s)ND050.*counts events"):
        Recordings("sound", features, np.zeros(1, np.int64), 2).encode(COUNTS)
