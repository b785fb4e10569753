"""The kernels are the reference, and both obey the laws that any simulator of these networks must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.engine.fast import fits_kernels, run_fast
from neurodeploy.engine.reference import WRAP, State, decay, neuron_step, run_reference, saturate, wrap
from neurodeploy.evaluation.activity import count
from neurodeploy.ir.nodes import Firing, InputKind, Reset
from neurodeploy.ir.program import (
    DECAY_ONE,
    STATE_MAX,
    STATE_SHIFT,
    DenseSynapses,
    InputPort,
    Neuron,
    Population,
    Program,
    Projection,
)
from tests.property.random_programs import payload, programs


@given(programs, st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_kernels_equal_the_reference_in_every_spike_and_state(net: Program, seed: int) -> None:
    """Every reset x dense, conv x feed-forward, recurrent x binary, graded: spikes, u and v are equal."""
    x = payload(seed, net.input)
    assert fits_kernels(net)
    slow, fast = run_reference(net, x), run_fast(net, x, record_states=True)
    for name in ("a", "b"):
        np.testing.assert_array_equal(fast.spikes[name], slow.spikes[name])
        np.testing.assert_array_equal(fast.currents[name], slow.currents[name])
        np.testing.assert_array_equal(fast.voltages[name], slow.voltages[name])
    np.testing.assert_array_equal(fast.predictions, slow.predictions)


@given(programs, st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_output_ignores_later_input_and_other_samples(net: Program, seed: int, cut: int) -> None:
    """Causality, and a batch of n equals n runs."""
    x = payload(seed, net.input)
    whole = run_fast(net, x)
    changed = x.copy()
    changed[cut:] = payload(seed + 7, net.input)[cut:]
    np.testing.assert_array_equal(run_fast(net, changed).spikes["b"][:cut], whole.spikes["b"][:cut])
    alone = run_fast(net, np.ascontiguousarray(x[:, 1:2]))
    np.testing.assert_array_equal(alone.spikes["b"][:, 0], whole.spikes["b"][:, 1])


@given(programs, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_synops_are_delivered_events(net: Program, seed: int) -> None:
    """Counting each stored synapse that an event passes, one by one, gives the counted operations."""
    x = payload(seed, net.input)
    result = run_reference(net, x)
    by_hand = {"a": 0, "b": 0}
    for projection in net.projections:
        source = x if projection.source == "in" else result.spikes[projection.source]
        source = source[:-1] if projection.recurrent else source
        pre = int(np.prod(source.shape[2:]))
        ones = replace(projection, synapses=_all_ones(projection.synapses), exponent=0)
        for row in source.reshape(-1, pre):
            by_hand[projection.target] += int(_delivered(ones, (row != 0).astype(np.int64)))
    counted = {layer.name: sum(layer.synops.values()) for layer in count(net, x, result).layers}
    assert counted == by_hand


def _all_ones(synapses):
    return replace(synapses, mantissa=np.ones_like(synapses.mantissa))


def _delivered(projection: Projection, row: np.ndarray) -> int:
    from neurodeploy.engine.reference import deliver

    return deliver(projection, row).sum() // 2


def test_decay_rounds_towards_zero_on_both_sides() -> None:
    """Rounding is symmetric: 3 * 4095/4096 is 2.99 and becomes 2, -3 becomes -2."""
    assert decay(np.array([3, -3, 0, 4096, -4096]), np.array(1)).tolist() == [2, -2, 0, 4095, -4095]


def test_current_wraps_once_at_24_bits() -> None:
    """2^23 stays, 2^23 + 1 becomes -2^23 + 1, -2^23 becomes 2^23: the formula in Lava's lif/models.py by hand."""
    assert wrap(np.array([WRAP, WRAP + 1, -WRAP, -WRAP + 1])).tolist() == [WRAP, -WRAP + 1, WRAP, -WRAP + 1]


def test_membrane_saturates_below_24_bits() -> None:
    assert saturate(np.array([1 << 24, -(1 << 24)])).tolist() == [STATE_MAX, -STATE_MAX]


@pytest.mark.parametrize(("activation", "fires"), [(10, False), (11, True)])
def test_threshold_is_strict(activation: int, fires: bool) -> None:
    """A membrane equal to the threshold does not fire."""
    zero = np.zeros(1, np.int64)
    cell = Neuron(np.array(4096), np.array(0), np.array(10), np.zeros(1, np.int64), 0, Reset.ZERO)
    assert neuron_step(cell, State(zero, zero), np.array([activation])).tolist() == [fires]


@pytest.mark.parametrize(
    ("reset", "fired", "membranes"),
    [
        (Reset.NONE, [1, 1, 1], [160, 320, 480]),
        (Reset.ZERO, [1, 1, 1], [0, 0, 0]),
        (Reset.ZERO_NEXT_STEP, [1, 0, 1], [160, 0, 160]),
        (Reset.SUBTRACT_NEXT_STEP, [1, 1, 1], [160, 220, 280]),
        (Reset.SUBTRACT, [1, 1, 1], [60, 120, 180]),
        (Reset.SUBTRACT_AT_ONCE, [1, 1, 1], [60, 120, 180]),
    ],
)
def test_every_reset_by_hand(reset: Reset, fired: list[int], membranes: list[int]) -> None:
    """Threshold 100, no leak, input 160 each step (in units of 64): worked out on paper from the reset rules.

    SUBTRACT: 160 fires and keeps 60; 220 fires and keeps 120; the stored 120 is above 100, so the third step compares
    280 - 100 with 100, fires, and keeps 180.
    """
    cell = Neuron(np.array(4096), np.array(0), np.array(100), np.zeros(1, np.int64), 0, reset)
    state = State(np.zeros(1, np.int64), np.zeros(1, np.int64))
    spikes, voltages = [], []
    for _ in range(3):
        spikes.append(int(neuron_step(cell, state, np.array([160]))[0]))
        voltages.append(int(state.v[0]) // 64)
    assert (spikes, voltages) == (fired, membranes)


@pytest.mark.parametrize(
    ("firing", "most", "reset", "fired", "membranes"),
    [
        (Firing.ABOVE, 1, Reset.SUBTRACT_AT_ONCE, [1, 0, 1, 1, 0], [150, 100, 200, 100, -50]),
        (Firing.REACHED, 1, Reset.SUBTRACT_AT_ONCE, [1, 1, 1, 1, 0], [150, 0, 100, 0, -50]),
        (Firing.MULTIPLE, 255, Reset.SUBTRACT_AT_ONCE, [2, 0, 2, 0, 0], [50, 0, 0, 0, -50]),
        (Firing.MULTIPLE, 255, Reset.SUBTRACT_NEXT_STEP, [2, 0, 2, 0, 0], [250, 0, 200, 0, -50]),
        (Firing.MULTIPLE, 255, Reset.ZERO, [2, 0, 1, 0, 0], [0, -50, 0, 0, -50]),
        (Firing.MULTIPLE, 255, Reset.ZERO_NEXT_STEP, [2, 0, 2, 0, 0], [250, 0, 200, 0, -50]),
        (Firing.MULTIPLE, 1, Reset.SUBTRACT_AT_ONCE, [1, 1, 1, 1, 0], [150, 0, 100, 0, -50]),
    ],
)
def test_every_firing_by_hand(firing: Firing, most: int, reset: Reset, fired: list[int], membranes: list[int]) -> None:
    """Threshold 100, no leak, inputs of 250, -50, 200, 0 and -400, a floor of -50: worked out on paper.

    MULTIPLE, SUBTRACT_AT_ONCE: 250 holds two thresholds and keeps 50; 50 - 50 is silence; 200 holds two and keeps 0;
    -400 sinks to the floor.
    """
    cell = Neuron(np.array(4096), np.array(0), np.array(100), np.zeros(1, np.int64), 0, reset)
    cell = replace(cell, firing=firing, most=most, floor=np.array(-50))
    state = State(np.zeros(1, np.int64), np.zeros(1, np.int64))
    spikes, voltages = [], []
    for activation in (250, -50, 200, 0, -400):
        spikes.append(int(neuron_step(cell, state, np.array([activation]))[0]))
        voltages.append(int(state.v[0]) // 64)
    assert (spikes, voltages) == (fired, membranes)


def test_a_change_by_the_threshold_is_told_and_what_its_message_drops_is_not() -> None:
    """By hand, with a threshold of 64 states and messages of 32: Lava's residue is what was not told at all."""
    forgets = np.asarray(DECAY_ONE, np.int32)
    cell = Neuron(forgets, forgets, np.ones((), np.int32), np.zeros((), np.int32), 0, Reset.NONE, False)
    cell = replace(cell, firing=Firing.DELTA, most=1 << 18, payload_shift=5, activation_shift=0)
    state, sent = State(np.zeros(1, np.int64), np.zeros(1, np.int64)), []
    values = [63, 64, 127, 128, 60, 200, 200, 100]
    for value in values:
        sent.append(int(neuron_step(cell, state, np.array([value]))[0]))
    assert sent == [0, 2, 0, 2, -3, 4, 0, -4]  # 60 - 128 = -68 is told as -96
    relu = replace(cell, firing=Firing.DELTA_RELU)
    state, sent = State(np.zeros(1, np.int64), np.zeros(1, np.int64)), []
    for value in (100, -300, -100, 64):
        sent.append(int(neuron_step(relu, state, np.array([value]))[0]))
    assert sent == [3, -4, 0, 2]


def test_changes_too_large_for_the_kernels_are_left_to_the_reference() -> None:
    """A value that jumps by all of the state, read by 300 synapses of the largest weight, needs 36 bits."""
    adds, none = np.zeros((), np.int32), np.asarray(DECAY_ONE, np.int32)
    registers = (adds, none, np.ones((), np.int32), np.zeros((), np.int32), 0, Reset.NONE, False)
    cell = Neuron(*registers, Firing.DELTA, None, 1 << 18, STATE_SHIFT, 12)
    reader = replace(cell, activation_shift=0)
    each, all_of_them = np.eye(300, dtype=np.int8), np.full((2, 300), 127, np.int8)
    net = Program(
        InputPort("in", (300,), InputKind.GRADED, 1.0, 11, -2000, 2000),
        (Population("a", (300,), cell, 1, 1.0), Population("b", (2,), reader, 2, 1.0)),
        (
            Projection("in->a", "in", "a", DenseSynapses(each), -1),
            Projection("a->b", "a", "b", DenseSynapses(all_of_them)),
        ),
        "b",
    )
    small, large = (np.full((4, 2, 300), n, np.int32) * np.array([1, -1, 0, 1])[:, None, None] for n in (1, 2000))
    for x, executor in ((small, "engine (numba)"), (large, "engine (reference)")):
        slow, fast = run_reference(net, x), run_fast(net, x, record_states=True)
        assert fast.executor == executor
        np.testing.assert_array_equal(fast.voltages["b"], slow.voltages["b"])


def test_the_wrap_of_a_large_current_is_the_same_in_kernels_and_reference() -> None:
    """Activations of up to 2^23 drive the current over its edge in both directions."""
    mantissa = np.array([[127, 127, 127], [-127, -127, -127]], np.int8)
    cell = Neuron(np.array(3), np.array(4), np.array(131071), np.zeros(2, np.int32), 0, Reset.NONE)
    net = Program(
        InputPort("in", (3,), InputKind.GRADED, 1.0, 8, -255, 255),
        (Population("a", (2,), cell, 1, 1.0),),
        (Projection("p", "in", "a", DenseSynapses(mantissa), 1),),
        "a",
    )
    x = payload(5, net.input, steps=40, samples=2)
    slow, fast = run_reference(net, x), run_fast(net, x, record_states=True)
    jumps = np.abs(np.diff(slow.currents["a"].astype(np.int64), axis=0)).max()
    assert jumps > WRAP
    np.testing.assert_array_equal(fast.currents["a"], slow.currents["a"])
    np.testing.assert_array_equal(fast.voltages["a"], slow.voltages["a"])
