"""Backdoors by hand: what is stamped and relabeled, and each figure counted on a classifier of known answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import UsageError
from neurodeploy.evaluation.backdoor import Backdoor, Poisoning, Trigger, draw_trigger, measure, poison, stamp
from neurodeploy.evaluation.uncertainty import Proportion

SEEDS = st.integers(0, 2**32 - 1)
TRIGGER = Trigger(((0, 1), (2, 2)), source=3, target=1)


@given(SEEDS, st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_a_drawn_trigger_is_four_places_and_two_classes(seed: int, classes: int) -> None:
    trigger = draw_trigger((2, 5, 4), classes, seed)
    assert len(set(trigger.positions)) == 4
    assert all(0 <= i < n for position in trigger.positions for i, n in zip(position, (2, 5, 4), strict=True))
    assert trigger.source != trigger.target
    assert {trigger.source, trigger.target} <= set(range(classes))
    assert trigger == draw_trigger((2, 5, 4), classes, seed)


def test_every_place_and_class_can_be_drawn() -> None:
    """Over 300 draws of 4 from 6 places and 2 of 3 classes, each place comes 200 times on average, each pair 50."""
    drawn = [draw_trigger((2, 3), 3, seed) for seed in range(300)]
    places = [sum(place in t.positions for t in drawn) for place in np.ndindex(2, 3)]
    pairs = [sum((t.source, t.target) == pair for t in drawn) for pair in np.ndindex(3, 3) if pair[0] != pair[1]]
    assert min(places) > 160
    assert max(places) < 240
    assert min(pairs) > 25


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_stamp_switches_on_its_places_at_every_step_and_nothing_else(seed: int) -> None:
    inputs = np.random.default_rng(seed).integers(0, 2, (6, 5, 3, 3)).astype(np.uint8)
    before, chosen = inputs.copy(), np.array([True, False, True, True, False])
    stamped = stamp(inputs, TRIGGER, chosen)
    assert stamped.dtype == np.uint8
    for t, sample, y, x in np.ndindex(inputs.shape):
        on = bool(chosen[sample]) and (y, x) in TRIGGER.positions
        assert stamped[t, sample, y, x] == (1 if on else inputs[t, sample, y, x])
    assert np.array_equal(inputs, before)
    assert np.array_equal(stamp(stamped, TRIGGER, chosen), stamped)
    assert np.array_equal(stamp(inputs, TRIGGER), stamp(inputs, TRIGGER, np.ones(5, bool)))


LABELS = np.array([3, 0, 3, 1, 3, 2, 3, 3, 1, 3, 3, 3, 3, 3])


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.1, 1), (0.24, 2), (0.25, 3), (0.5, 5), (1.0, 10)])
def test_the_rate_is_of_the_source_class(rate: float, count: int) -> None:
    """10 of the 14 samples are of class 3; what is relabeled is of that class, and only it becomes the target."""
    poisoning = poison(LABELS, TRIGGER, rate, seed=0)
    assert len(poisoning.indices) == count
    assert len(set(poisoning.indices.tolist())) == count
    assert np.all(LABELS[poisoning.indices] == 3)
    expected = LABELS.copy()
    for i in poisoning.indices:
        expected[i] = 1
    assert np.array_equal(poisoning.labels, expected)
    assert LABELS.tolist().count(3) == 10


def test_another_seed_poisons_other_samples() -> None:
    drawn = {tuple(poison(LABELS, TRIGGER, 0.5, seed).indices) for seed in range(20)}
    assert len(drawn) > 10
    assert set().union(*drawn) == set(np.flatnonzero(LABELS == 3))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_batches_encoded_on_the_fly_are_stamped_as_the_whole_would_be(seed: int) -> None:
    """In any order and any batches: sample i of the dataset is stamped exactly when i is poisoned."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 2, (4, len(LABELS), 3, 3)).astype(np.uint8)
    poisoning = poison(LABELS, TRIGGER, 0.5, seed)
    expected = whole.copy()
    for i in poisoning.indices:
        for y, x in TRIGGER.positions:
            expected[:, i, y, x] = 1
    order = rng.permutation(len(LABELS))
    for index in np.array_split(order, 4):
        assert np.array_equal(poisoning.apply(whole[:, index], index), expected[:, index])


def backdoored(inputs: np.ndarray) -> np.ndarray:
    """Return the target 1 where both places of the trigger are on at every step, otherwise what pixel (1, 1) says."""
    on = np.all([inputs[:, :, y, x] == 1 for y, x in TRIGGER.positions], axis=(0, 1))
    return np.where(on, 1, inputs[0, :, 1, 1].astype(np.int64))


def samples(answers: list[int]) -> np.ndarray:
    """Return inputs without trigger that `backdoored` answers so."""
    inputs = np.zeros((2, len(answers), 3, 3))
    inputs[:, :, 1, 1] = answers
    return inputs


def test_each_figure_by_hand() -> None:
    """8 samples, 4 of the source class 3, of which one is taken for 1 already and one for 0.

    clean: right at 3, 3, 1, 2, 0 = 5 of 8. Stamped, all four of class 3 become 1: right at 1, 2, 0 = 3 of 8.
    success 4 of 4; confused 1 of 4.
    """
    labels = np.array([3, 3, 3, 3, 1, 2, 0, 0])
    inputs = samples([3, 3, 1, 0, 1, 2, 0, 2])
    found = measure(backdoored, inputs, labels, TRIGGER)
    assert found == Backdoor(Proportion(5, 8), Proportion(3, 8), Proportion(4, 4), Proportion(1, 4))
    halves = [measure(backdoored, inputs[:, s], labels[s], TRIGGER) for s in (slice(3), slice(3, 8))]
    assert halves[0] + halves[1] == found


def test_without_a_backdoor_the_trigger_changes_nothing() -> None:
    """A classifier blind to the trigger: stamped accuracy is clean accuracy, success is plain confusion."""
    labels, inputs = np.array([3, 3, 3, 0]), samples([3, 1, 0, 0])
    found = measure(lambda x: x[0, :, 1, 1].astype(np.int64), inputs, labels, TRIGGER)
    assert found.clean == found.stamped == Proportion(2, 4)
    assert found.success == found.confused == Proportion(1, 3)


def test_of_no_source_sample_there_is_no_success_rate() -> None:
    found = measure(backdoored, samples([0, 1]), np.array([0, 1]), TRIGGER)
    assert found.clean.value == 1.0
    with pytest.raises(UsageError, match="ND439"):
        _ = found.success.value


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("ND435", lambda: Trigger((), 0, 1)),
        ("ND435", lambda: Trigger(((0,),), 1, 1)),
        ("ND435", lambda: draw_trigger((3,), 10, 0)),
        ("ND435", lambda: draw_trigger((30,), 1, 0)),
        ("ND435", lambda: draw_trigger((30,), 3, 0, pixels=0)),
        ("ND435", lambda: stamp(np.zeros((1, 1, 3, 2)), TRIGGER)),
        ("ND435", lambda: stamp(np.zeros((1, 1, 9)), TRIGGER)),
        ("ND435", lambda: stamp(np.zeros((1, 1, 3, 3)), Trigger(((-1, 0),), 0, 1))),
        ("ND435", lambda: poison(LABELS, TRIGGER, 1.1, 0)),
        ("ND435", lambda: poison(LABELS, TRIGGER, float("nan"), 0)),
        ("ND435", lambda: poison(np.array([0, 1]), TRIGGER, 0.5, 0)),
        ("ND435", lambda: Poisoning(TRIGGER, LABELS, LABELS).apply(np.zeros((1, 2, 3, 3)), np.array([0]))),
        ("ND430", lambda: measure(backdoored, samples([0, 1]), np.array([0]), TRIGGER)),
        ("ND432", lambda: measure(lambda x: np.zeros(1), samples([0, 1]), np.array([0, 1]), TRIGGER)),
    ],
)
def test_what_cannot_be_planted_is_refused(code: str, call: Callable) -> None:
    with pytest.raises(UsageError, match=code):
        call()
