"""The model `sanafe` against SANA-FE itself: the same spikes over the same placement cost the same, to 1e-9.

SANA-FE (Boyle et al., TCAD 2025) is a simulator whose Loihi constants are regressions on silicon. Its input neurons
play the spikes of our engine, so it counts synaptic operations, messages and hops from the wiring alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.engine.fast import run_fast
from neurodeploy.evaluation import activity, traffic
from neurodeploy.evaluation.activity import FORMATS, Layer
from neurodeploy.evaluation.energy import MESH, by_model
from neurodeploy.evaluation.traffic import Mesh, Messages, Share
from neurodeploy.hardware import load_profile
from neurodeploy.ir.program import Projection
from tests.property.random_programs import payload
from tests.unit.test_traffic import drawn, scattered, synapses

sanafe = pytest.importorskip("sanafe", reason="SANA-FE has no wheel for every machine")
LOIHI = load_profile("loihi1")
TILE = 4
"""Cores."""


def simulated(
    trains: dict[str, np.ndarray], shares: dict[str, list[Share]], projections: list[Projection]
) -> dict[str, Any]:
    """Return what SANA-FE says of neurons that fire as `trains` (step, neuron) say, wired and placed as ours."""
    chip, network, taken = sanafe.load_loihi(), sanafe.Network(), Counter()
    groups = {name: network.create_neuron_group(name, fired.shape[1]) for name, fired in trains.items()}
    kinds = {edge.target: f"loihi_{FORMATS[type(edge.synapses)]}_synapse" for edge in projections}
    for name, own in shares.items():
        for share in own:
            for i in share.members:
                neuron = groups[name][int(i)]
                neuron.set_attributes(
                    soma_hw_name=f"loihi_inputs[{taken[share.core]}]",
                    default_synapse_hw_name=kinds.get(name),
                    model_attributes={"spikes": trains[name][:, i].tolist()},
                )
                neuron.map_to_core(chip.tiles[share.core // TILE].cores[share.core % TILE])
                taken[share.core] += 1
    for edge in projections:
        for pre, post in synapses(edge):
            groups[edge.source][pre].connect_to_neuron(groups[edge.target][post], {"weight": 0.0})
    simulator = sanafe.SpikingChip(chip)
    simulator.load(network)
    return simulator.sim(len(next(iter(trains.values()))))


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_synapses_messages_and_hops(seed: int) -> None:
    """Dense, convolutional and sparse synapses; populations scattered over five cores of a chip, input on a sixth."""
    net = drawn(seed)
    edges = [edge for edge in net.projections if not edge.recurrent]
    within = [edge for edge in edges if edge.source != net.input.name]
    entered = payload(seed, net.input)[:, :1]
    ran = run_fast(net, entered)
    steps = len(entered)
    trains = {net.input.name: entered.reshape(steps, -1) != 0}
    trains |= {name: spikes.reshape(steps, -1) != 0 for name, spikes in ran.spikes.items()}
    shares = {
        name: [replace(share, chip=0, core=share.core + 9 * share.chip) for share in own]
        for name, own in scattered(net, seed).items()
    }
    port = {net.input.name: [Share(np.arange(trains[net.input.name].shape[1]), 0, 31)]}

    all_of_it = simulated(trains, port | shares, edges)["energy"]
    counted = activity.count(replace(net, projections=tuple(edges)), entered, ran)
    ours = [by_model(Layer("", 0, 0, layer.synops, 0, 0.0), None, LOIHI)["sanafe"].joule for layer in counted.layers]
    assert all_of_it["synapse"] > 0
    assert sum(ours) == pytest.approx(all_of_it["synapse"], rel=1e-9)

    inside = simulated(trains, shares | port, within)["energy"]
    mesh = Mesh(*(LOIHI.value(key) for key in MESH))
    sent = traffic.count(replace(net, projections=tuple(within)), entered, ran, shares, mesh).sent
    ours = [by_model(Layer("", 0, 0, {}, 0, 0.0), messages, LOIHI)["sanafe"].joule for messages in sent.values()]
    assert inside["network"] > 0
    assert sum(ours) == pytest.approx(inside["network"], rel=1e-9)


def test_neurons() -> None:
    """64 neurons with a bias drive 32 five tiles away for ten steps: the whole energy, by SANA-FE's own counts."""
    chip, network = sanafe.load_loihi(), sanafe.Network()
    first = network.create_neuron_group("a", 64, model_attributes={"threshold": 1.0, "bias": 1.0})
    second = network.create_neuron_group("b", 32, model_attributes={"threshold": 1e9})
    for pre in first:
        pre.map_to_core(chip.tiles[0].cores[0])
    for post in second:
        post.map_to_core(chip.tiles[6].cores[1])
    for i, j in np.ndindex(64, 32):
        first[i].connect_to_neuron(second[j], {"weight": 1.0})
    simulator = sanafe.SpikingChip(chip)
    simulator.load(network)
    ran = simulator.sim(10)
    fired, updated, messages = (ran[name] for name in ("neurons_fired", "neurons_updated", "packets_sent"))
    layer = Layer("all", 96, fired, {"dense": ran["spikes"]}, 960, 0.0, active_updates=updated)
    ours = by_model(layer, Messages(messages, messages, 2 * messages), LOIHI)["sanafe"]
    assert 0 < updated < 960
    assert ours.joule == pytest.approx(ran["energy"]["total"], rel=1e-9)
