"""What becomes of a network that learns by pairs of spikes on its target, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.backends.loihi2.paired_formats import frozen_program, integer_program, real_weights
from neurodeploy.backends.loihi2.pairing import literal
from neurodeploy.backends.loihi2.quantize import quantize
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.paired import assigned, responses
from neurodeploy.engine.plastic import learn
from neurodeploy.engine.real import run_real
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.ir.network import Edge
from neurodeploy.ir.nodes import Firing, InputKind, Linear, Reset
from neurodeploy.lowering import additive, episodic, phased, plastic
from neurodeploy.lowering.paired import RSTDPOptions, STDPOptions, coefficient, program, with_weights
from tests.paired_programs import STEPS, integer, network, real, samples
from tests.plastic_programs import network as chain_of

BEYOND = {
    "counting": {"firing": Firing.MULTIPLE},
    "at the threshold": {"firing": Firing.REACHED},
    "floor": {"floor": np.array(-1.0)},
    "subtraction": {"reset": Reset.SUBTRACT_AT_ONCE},
}
"""Changes of a neuron that no learning kind of any target knows, and what is said of them."""
BEYOND_WORDS = {
    "counting": "firing multiple",
    "at the threshold": "firing reached",
    "floor": "a floor under the membrane",
    "subtraction": "reset subtract_at_once",
}
STILL = STDPOptions(initial="trained", pause=1)


def test_a_trained_start_answers_as_its_network_does():
    """Nothing learning: the real program decides and fires as the network does in the engine for real numbers."""
    source, (spikes, labels) = network(), samples(20)
    found = learn(program(source, STEPS, STILL).frozen(), spikes, labels)
    theirs, _ = run_real(source, spikes.swapaxes(0, 1).astype(float))
    assert np.array_equal(found.predictions, theirs.spikes["lif2"].sum(0).argmax(1))
    assert found.spikes == {name: int(theirs.spikes[name].sum()) for name in ("lif1", "lif2")}


@pytest.mark.parametrize("options", [STDPOptions(pause=1), STDPOptions(initial="random", pause=1, start=0.1)], ids=str)
def test_learned_integers_answer_alike_as_a_program_and_as_a_deployed_network(options):
    """Frozen, the learned program, the compiled program it is put into, and that one's real weights agree."""
    source, (spikes, labels) = network(), samples(20)
    compiled = quantize(source)
    begun = integer_program(compiled, program(source, STEPS, options), options.initial == "random")
    forward, inhibition, threshold, votes = learn(begun, spikes, labels).weights
    learned = assigned(begun.learned((forward >> 1 << 1, inhibition, threshold, votes)), spikes, labels)
    deployed = frozen_program(compiled, learned)
    theirs = run_fast(deployed, np.ascontiguousarray(spikes.swapaxes(0, 1)).astype(np.int32))
    ours = learn(learned.frozen(), spikes, labels)
    assert ours.spikes["lif1"] > 20
    assert np.array_equal(ours.predictions, theirs.spikes["lif2"].sum(0).argmax(1))
    back = real_weights(deployed, learned)
    for group in (0, 3):
        assert np.array_equal(back.weights[group], learned.weights[group])
    meant = with_weights(source, back)
    assert np.array_equal(meant.populations["lif1"].threshold * 254, back.features.threshold)


def test_votes_are_the_shares_of_what_features_fire_to_each_class():
    learned, (spikes, labels) = real(STILL), samples(20)
    counts = responses(learned, spikes)
    votes = assigned(learned, spikes, labels).weights[3] / 254
    fired = np.array([counts[labels == label].sum(0) for label in range(4)])
    heard = fired.sum(0) > 0
    assert np.allclose(votes[:, heard], fired[:, heard] / fired[:, heard].sum(0))
    assert np.all(votes[:, ~heard] == 0)


def test_no_current_wraps_when_all_features_fire_at_once():
    """Inhibition of all by all stays within the 24 bits of a current, whatever the thresholds are."""
    made = integer(STDPOptions(initial="random", inhibition=8.0), sizes=(16, 200, 4))
    inhibition = made.features.inhibition
    total = np.abs(inhibition.weight.astype(np.int64)).sum(1).max() * 2.0**inhibition.exponent
    assert 2**14 < total < 2**17


@pytest.mark.parametrize("value", [0.001, 1 / 16, 0.05, 0.07, 0.3, 1.0])
def test_every_rate_becomes_a_number_the_engine_multiplies_by(value):
    near = coefficient(value)
    assert eval(literal(near).replace("^", "**")) == near
    assert abs(near - value) <= max(1 / 128, value / 8)


def misfit(change: str):
    source = network()
    nodes, edges = dict(source.nodes), source.edges
    if change == "no inhibition":
        edges = tuple(edge for edge in edges if "loop" not in (edge.source, edge.target))
        nodes.pop("loop")
    elif change == "bias":
        nodes["fc1"] = replace(nodes["fc1"], bias=np.ones(12))
    elif change == "current":
        nodes["lif1"] = replace(nodes["lif1"], alpha=np.array(0.5))
    elif change in BEYOND:
        nodes["lif1"] = replace(nodes["lif1"], **BEYOND[change])
    elif change == "graded":
        nodes["input"] = replace(nodes["input"], kind=InputKind.GRADED)
    elif change == "recurrent output":
        nodes["back"] = Linear(np.eye(4))
        edges = (*edges, Edge("lif2", "back", 1), Edge("back", "lif2"))
    elif change == "output thresholds":
        nodes["lif2"] = replace(nodes["lif2"], threshold=np.arange(1.0, 5.0))
    return replace(source, nodes=nodes, edges=edges)


@pytest.mark.parametrize(
    "change", ["no inhibition", "bias", "current", "recurrent output", "output thresholds", "graded", *BEYOND]
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(UnsupportedError, match="ND146"):
        program(misfit(change), STEPS, STILL)


@pytest.mark.parametrize("change", BEYOND)
def test_no_rule_learns_with_neurons_of_which_no_target_has_a_learning_kind(change):
    other = misfit(change)
    told = BEYOND_WORDS[change]
    for found in (
        plastic.misfits(other),
        phased.misfits(other),
        episodic.misfits(other, episodic.EpisodicOptions()),
        additive.misfits(other, additive.AdditiveOptions()),
    ):
        assert told in [finding.what for finding in found]


def test_a_deeper_chain_is_refused():
    with pytest.raises(UnsupportedError, match="ND146"):
        program(chain_of((16, 12, 9, 4)), STEPS, STILL)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (STDPOptions, {"gain": 3.0}),
        (STDPOptions, {"pause": 0}),
        (STDPOptions, {"impulse": 40}),
        (RSTDPOptions, {"vote": 0}),
    ],
)
def test_options_out_of_range_are_refused(kind, given):
    with pytest.raises(UsageError, match="ND413"):
        kind(**given)
