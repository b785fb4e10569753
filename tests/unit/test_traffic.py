"""Messages, hops, the work of each core and active updates, held against a synapse-by-synapse count."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.backends import loihi2
from neurodeploy.engine.fast import run_fast
from neurodeploy.evaluation import activity, traffic
from neurodeploy.evaluation.baselines import baselines, macs
from neurodeploy.evaluation.traffic import Mesh, Messages, Share
from neurodeploy.hardware import load_profile, profile_from_tables
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import ConvSynapses, DenseSynapses, Program, Projection
from tests.property.random_programs import payload, program

SEEDS = range(8)
MESH = Mesh(2, 2)


def drawn(seed: int) -> Program:
    resets = list(Reset)
    return program(
        seed, resets[seed % len(resets)], resets[(seed + 1) % len(resets)], seed % 2 == 0, seed % 3 == 0, seed % 4 == 1
    )


def synapses(projection: Projection) -> list[tuple[int, int]]:
    """Return (pre, post) of every synapse, one by one, from the definition of each kind."""
    match projection.synapses:
        case DenseSynapses(mantissa):
            return [(pre, post) for post in range(mantissa.shape[0]) for pre in range(mantissa.shape[1])]
        case ConvSynapses() as conv:
            (_, height, width), (out, rows, columns) = conv.input_shape, conv.output_shape
            found, per = [], conv.mantissa.shape[1]
            for o, r, c in np.ndindex(out, rows, columns):
                for i, ky, kx in np.ndindex(*conv.mantissa.shape[1:]):
                    y = r * conv.stride[0] + ky * conv.dilation[0] - conv.padding[0]
                    x = c * conv.stride[1] + kx * conv.dilation[1] - conv.padding[1]
                    channel = o // (out // conv.groups) * per + i
                    if 0 <= y < height and 0 <= x < width:
                        found.append(((channel * height + y) * width + x, (o * rows + r) * columns + c))
            return found
        case sparse:
            posts = np.repeat(np.arange(len(sparse.indptr) - 1), np.diff(sparse.indptr))
            return list(zip(sparse.indices.tolist(), posts.tolist(), strict=True))


def scattered(net: Program, seed: int) -> dict[str, list[Share]]:
    """Return every population cut at random over five cores of two chips."""
    rng, shares = np.random.default_rng(seed), {}
    for population in net.populations:
        where = rng.integers(0, 5, population.size)
        places = [(0, 0), (0, 3), (0, 6), (1, 0), (1, 5)]
        parts = [(np.flatnonzero(where == k), place) for k, place in enumerate(places)]
        shares[population.name] = [Share(members, *place) for members, place in parts if len(members)]
    return shares


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_single_synapses(seed: int) -> None:
    """Every spike walked along every synapse: operations per core and step, messages, hops, and neurons reached."""
    net = drawn(seed)
    entered = payload(seed, net.input)
    ran = run_fast(net, entered)
    shares = scattered(net, seed)
    counted = traffic.count(net, entered, ran, shares, MESH)
    steps, samples = entered.shape[:2]
    columns = {id(share): k for k, share in enumerate(s for p in net.populations for s in shares[p.name])}
    home = {p.name: {int(i): share for share in shares[p.name] for i in share.members} for p in net.populations}
    work = np.zeros((steps, samples, len(columns)))
    sent = {p.name: Messages() for p in net.populations}
    reached = {p.name: np.zeros((steps, samples, p.size), bool) for p in net.populations}
    for projection in net.projections:
        own = projection.source == net.input.name
        fired = (entered if own else ran.spikes[projection.source]).reshape(steps, samples, -1) != 0
        by_pre: dict[int, list[int]] = {}
        for pre, post in synapses(projection):
            by_pre.setdefault(pre, []).append(post)
        for step, sample, pre in np.argwhere(fired):
            at = step + projection.recurrent
            if at == steps:
                continue
            targets = {}
            for post in by_pre.get(int(pre), []):
                share = home[projection.target][post]
                work[at, sample, columns[id(share)]] += 1
                reached[projection.target][at, sample, post] = True
                targets[id(share)] = share
            if not own:
                source = home[projection.source][int(pre)]
                for target in targets.values():
                    here = source.chip == target.chip
                    a, b = ((share.core // 2 // 2, share.core // 2 % 2) for share in (source, target))
                    hops = (abs(a[0] - b[0]), abs(a[1] - b[1])) if here else (0, 0)
                    sent[projection.source] += Messages(1, *hops, int(not here))
    assert np.array_equal(counted.synops, work.reshape(-1, len(columns)))
    assert counted.sent == sent
    layers = {layer.name: layer for layer in activity.count(net, entered, ran).layers}
    assert work.sum() == sum(sum(layer.synops.values()) for layer in layers.values())
    for population in net.populations:
        always = np.broadcast_to(np.atleast_1d(population.loihi.bias_mantissa != 0), population.size)
        assert layers[population.name].active_updates == (reached[population.name] | always).sum()
    assert macs(net) == sum(len(synapses(projection)) for projection in net.projections)


def test_a_mesh_is_numbered_down_columns() -> None:
    """Loihi 1, four cores a tile, four tiles a column: core 17 is the second of tile 4, which begins column 1."""
    mesh = Mesh(4, 4)
    tiles = [mesh.tile(Share(np.arange(1), 0, core)) for core in (0, 3, 4, 15, 17, 127)]
    assert tiles == [(0, 0), (0, 0), (0, 1), (0, 3), (1, 0), (7, 3)]


def test_shares_are_the_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every neuron has one core, and every core the chip that the placement counts, cut small as it is."""
    tables = load_profile("loihi1-sim").tables
    core = tables["limits"]["core"]
    small = {"limits": {"core": core | {"neurons": core["neurons"] | {"value": 9}}}}
    usable = {"topology": tables["topology"] | {"cores_per_chip": tables["topology"]["cores_per_chip"] | {"value": 3}}}
    profile = profile_from_tables(tables | small | usable, "small.toml")
    net = drawn(1)
    placement = loihi2.place(net, profile)
    assert placement.chips == -(-placement.cores // 3)
    assert placement.seats == [(k // 3, k % 3) for k in range(placement.cores)]
    found = {p.name: [] for p in net.populations}
    for slot in placement.slots:
        found[slot.population] += loihi2.on_core(net.population(slot.population), slot.start, slot.stop).tolist()
    assert {name: sorted(members) for name, members in found.items()} == {
        p.name: list(range(p.size)) for p in net.populations
    }


def test_baselines_by_hand() -> None:
    """10 samples, 7 steps: MACs once per sample, or per step where the network is recurrent; synops as counted."""
    counted = activity.Activity(7, 10, 0, (activity.Layer("a", 5, 3, {"dense": 1000}, 350, 0.1),))
    for seed in (1, 3):
        net = drawn(seed)
        found = {each.name: each.energy.joule for each in baselines(net, counted)}
        passes = 70 if net.recurrent else 10
        assert found["fp32_45nm"] == pytest.approx(passes * macs(net) * 4.6e-12)
        assert found["gpu_rtx_2070_genn"] == pytest.approx(1000 * 3.4e-9 + 350 * 3.63e-9)
        assert found["fp32_accumulate_45nm"] == pytest.approx(900e-12)


def test_the_pipeline_counts_where_a_mesh_is_known() -> None:
    """Loihi's evaluation has messages and time; SpiNNaker's has time by its own rule, and messages are unavailable."""
    from tests.spinnaker_networks import dense, spikes

    network = dense(20, 30, 10)
    samples = pipeline.Samples("random", spikes(network), None)
    for target, known in (("loihi2-sim", True), ("spinnaker1", False)):
        model = pipeline.compile(network, target)
        evaluation = pipeline.evaluate(model, samples, pipeline.run(model, samples))
        assert (evaluation.sent is not None) == known
        assert evaluation.energy.time is not None
