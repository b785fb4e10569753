"""Every neuron has one core, no core holds more than it can, and what does not fit is said with numbers."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends.loihi2.place import RESOURCES, place, touched
from neurodeploy.engine.reference import deliver
from neurodeploy.errors import CapacityError, ProfileError, UnsupportedError
from neurodeploy.hardware import load_profile, profile_from_tables
from neurodeploy.ir.nodes import Firing, InputKind, Reset
from neurodeploy.ir.program import (
    ConvSynapses,
    DenseSynapses,
    InputPort,
    Population,
    Program,
    Projection,
    SparseSynapses,
)
from tests.property.random_programs import neuron, program


def dense(inputs: int, neurons: int) -> Program:
    rng = np.random.default_rng(0)
    return Program(
        InputPort("in", (inputs,), InputKind.SPIKES),
        (Population("a", (neurons,), neuron(rng, neurons, Reset.ZERO), 1, 1.0),),
        (Projection("p", "in", "a", DenseSynapses(np.ones((neurons, inputs), np.int8))),),
        "a",
    )


@pytest.mark.parametrize("profile", ["loihi1-sim", "loihi2-sim"])
@given(seed=st.integers(0, 10_000), convolutional=st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_neuron_is_placed_once_within_limits(profile: str, seed: int, convolutional: bool) -> None:
    net = program(seed, Reset.ZERO, Reset.NONE, convolutional, True, False)
    if profile == "loihi1-sim":
        single = [replace(each, neuron=replace(each.loihi, firing=Firing.ABOVE, most=1)) for each in net.populations]
        net = replace(net, populations=tuple(single))
    placement = place(net, load_profile(profile))
    for population in net.populations:
        slices = [(s.start, s.stop) for s in placement.slots if s.population == population.name]
        assert slices[0][0] == 0
        assert slices[-1][1] == population.size
        assert all(a[1] == b[0] for a, b in itertools.pairwise(slices))
    assert [slot.core for slot in placement.slots] == list(range(placement.cores))
    for slot in placement.slots:
        assert all(0 <= slot.used[name] <= placement.available[name] for name in RESOURCES)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_touched_sources_are_those_whose_spike_arrives(seed: int) -> None:
    """An axon is counted exactly where a unit impulse reaches one of the chosen neurons."""
    net = program(seed, Reset.ZERO, Reset.NONE, True, False, False)
    projection = net.projections[0]
    ones = replace(
        projection, synapses=replace(projection.synapses, mantissa=np.ones_like(projection.synapses.mantissa))
    )
    size, pre = net.populations[0].size, int(np.prod(net.input.shape))
    members = np.unique(np.random.default_rng(seed).integers(0, size, 3))
    arrives = [bool(deliver(ones, impulse)[members].any()) for impulse in np.eye(pre, dtype=np.int64)]
    assert touched(projection, members).tolist() == arrives


def test_loihi1_needs_more_cores_than_loihi2() -> None:
    """1,024 neurons and 128 KB of synapses a core against 8,192 and 96 kB at 16 bits: 784 x 2,000 by hand.

    Loihi 2: 96,000 byte / (784 x 2 byte) = 61.2 neurons a core, so 33 cores. Loihi 1: a fan-out of n synapses takes
    blocks of 64 synapses, 64 ceil((64 x 8 + 10) / 64) = 576 bit each; n = 128 takes 1,152 bit x 784 = 112,896 byte, and
    n = 145 no less than 3 blocks with 17 in the last, 1,152 + 64 ceil((17 x 8 + 10) / 64) = 1,344 bit, 131,712 byte,
    over 131,072; n = 144 has 16 in the last, 138 bits, also 192: so 16 x 8 + 10 = 138 > 128 and n = 142 is the most
    with 14 x 8 + 10 = 122 <= 128 bit: 1,280 bit, 125,440 byte. 2,000 / 142 is 15 cores.
    """
    cores = {name: place(dense(784, 2000), load_profile(name)).cores for name in ("loihi1-sim", "loihi2-sim")}
    assert cores == {"loihi1-sim": 15, "loihi2-sim": 33}


def test_what_does_not_fit_is_refused_with_the_table() -> None:
    """5,000 sources reach one neuron where a core has 4,096 input axons."""
    with pytest.raises(CapacityError, match=r"(?s)5,000 input axons.*4,096") as refusal:
        place(dense(5000, 10), load_profile("loihi2-sim"))
    assert refusal.value.exit_code == 4
    assert "utilization" in refusal.value.details


def test_a_neuron_sends_one_axon_to_each_core_that_reads_it() -> None:
    """1,200 neurons are read all-to-all by a layer that takes seven cores: 8,400 axons where a core has 4,096.

    A core of Loihi 2 holds 96,000 / (1,200 x 2) = 40 of the 250 readers, and 4,096 / 7 = 585 of the 1,200.
    """
    rng = np.random.default_rng(0)
    first = dense(20, 1200)
    readers = Population("b", (250,), neuron(rng, 250, Reset.ZERO), 2, 1.0)
    back = Projection("q", "a", "b", DenseSynapses(np.ones((250, 1200), np.int8)))
    net = replace(first, populations=(*first.populations, readers), projections=(*first.projections, back), output="b")
    slots = [slot for slot in place(net, load_profile("loihi2-sim")).slots if slot.population == "a"]
    assert [slot.stop - slot.start for slot in slots] == [585, 585, 30]
    assert sum(slot.used["output_axons"] for slot in slots) == 8400


def test_axons_that_a_loop_takes_are_counted() -> None:
    """8,000 neurons read the first 200 of them, which sit on one core: 200 axons to each core.

    A core of Loihi 2 holds 96,000 / ((20 + 200) x 2) = 218 of the readers, so there are 37.
    """
    size, hub = 8000, 200
    first = dense(20, size)
    indptr, indices = np.arange(size + 1) * hub, np.tile(np.arange(hub, dtype=np.int32), size)
    everyone = SparseSynapses(np.ones(size * hub, np.int8), indices, indptr)
    loop = Projection("loop", "a", "a", everyone, recurrent=True)
    with pytest.raises(CapacityError, match=r"7,400 output axons"):
        place(replace(first, projections=(*first.projections, loop)), load_profile("loihi2-sim"))


def test_a_row_that_no_core_can_read_is_parted() -> None:
    """One row of 90 positions reads 3 x 92 x 16 = 4,416 neurons, more than the 4,096 axons of a core."""
    rng = np.random.default_rng(0)
    conv = ConvSynapses(np.ones((4, 16, 3, 3), np.int8), (16, 5, 92), (4, 3, 90), (1, 1), (0, 0), (1, 1))
    net = Program(
        InputPort("in", (16, 5, 92), InputKind.SPIKES),
        (Population("a", (4, 3, 90), neuron(rng, 4 * 3 * 90, Reset.ZERO), 1, 1.0),),
        (Projection("p", "in", "a", conv),),
        "a",
    )
    slots = place(net, load_profile("loihi2-sim")).slots
    assert slots[0].stop == 4 * (4096 // (3 * 16) - 2)
    assert slots[-1].stop == 4 * 3 * 90
    assert all(slot.used["input_axons"] <= 4096 for slot in slots)


def test_too_many_cores_are_refused() -> None:
    """A board of one chip with two cores."""
    tables = load_profile("loihi2-sim").tables
    small = {**tables, "topology": {**tables["topology"]}}
    small["topology"]["boards"] = {**tables["topology"]["boards"], "value": [1]}
    small["topology"]["cores_per_chip_usable"] = {**tables["topology"]["cores_per_chip_usable"], "value": 2}
    with pytest.raises(CapacityError, match="ND108"):
        place(dense(784, 2000), profile_from_tables(small, "test"))


@pytest.mark.parametrize("value", ["many", -5, 0, True])
def test_a_limit_that_is_no_count_is_refused(value: object) -> None:
    tables = copy.deepcopy(load_profile("loihi2-sim").tables)
    tables["limits"]["core"]["neurons"]["value"] = value
    with pytest.raises(ProfileError, match="ND123"):
        profile_from_tables(tables, "mine.toml")


def test_graded_spikes_of_a_population_need_a_chip_that_sends_them() -> None:
    """Loihi 1's spikes carry no value, Loihi 2's 32 bits."""
    nets = (program(seed, Reset.ZERO, Reset.NONE, False, False, False) for seed in range(100))
    net = next(net for net in nets if net.populations[0].neuron.most > 1)
    assert place(net, load_profile("loihi2-sim")).cores
    with pytest.raises(UnsupportedError, match="ND148"):
        place(net, load_profile("loihi1-sim"))
