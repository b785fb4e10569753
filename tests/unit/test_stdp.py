"""STDP is the sum over pairs of spikes, features hear no label, and what is deployed is what was learned."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neurodeploy import datasets, pipeline
from neurodeploy.datasets import Encoding
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Input, InputKind, Linear
from neurodeploy.learning import rstdp, stdp
from neurodeploy.learning.architectures import Neurons, build
from neurodeploy.learning.competition import foremost
from neurodeploy.learning.interpreter import weight_change
from neurodeploy.learning.rstdp import RSTDP
from neurodeploy.learning.stdp import STDP, Pairing, pair_change, trace_before

STEPS = 20
EXACT = 1e-12


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trains(rate: float = 0.3, steps: int = 40, samples: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return random spikes x (step, sample, 7) and z (step, sample, 5), and weights in [0, 1]."""
    random = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.rand(*shape, generator=random, dtype=torch.float64)  # noqa: E731
    return (draw(steps, samples, 7) < rate).double(), (draw(steps, samples, 5) < rate).double(), draw(5, 7)


def pair_sum(x: Tensor, z: Tensor, pairing: Pairing) -> Tensor:
    """Return additive STDP as the double sum over all pairs of spikes of different steps, spike by spike."""
    total = torch.zeros(z.shape[2], x.shape[2], dtype=x.dtype)
    for pre_step, sample, i in x.nonzero().tolist():
        for post_step, _, j in [at for at in z.nonzero().tolist() if at[1] == sample]:
            apart = post_step - pre_step
            if apart > 0:
                total[j, i] += pairing.a_plus * exp(-apart / pairing.tau_plus)
            elif apart < 0:
                total[j, i] -= pairing.a_minus * exp(apart / pairing.tau_minus)
    return total


def nearest_pair_sum(x: Tensor, z: Tensor, pairing: Pairing) -> Tensor:
    """Return the same with only the last earlier partner of each spike."""
    total = torch.zeros(z.shape[2], x.shape[2], dtype=x.dtype)
    for sample in range(x.shape[1]):
        for j in range(z.shape[2]):
            for i in range(x.shape[2]):
                pre = x[:, sample, i].nonzero().flatten().tolist()
                post = z[:, sample, j].nonzero().flatten().tolist()
                for t in post:
                    earlier = [s for s in pre if s < t]
                    total[j, i] += pairing.a_plus * exp((earlier[-1] - t) / pairing.tau_plus) if earlier else 0
                for t in pre:
                    earlier = [s for s in post if s < t]
                    total[j, i] -= pairing.a_minus * exp((earlier[-1] - t) / pairing.tau_minus) if earlier else 0
    return total


def off(found: Tensor, expected: Tensor) -> float:
    assert float(expected.abs().max()) > 0.1
    return float((found - expected).abs().max() / expected.abs().max())


def interpreted(pairing: Pairing, x: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    return weight_change(stdp.describe(pairing), x, z, weights=weight, constants=pairing.constants)[0]


# S1: pairs


@pytest.mark.parametrize(("neighbors", "oracle"), [("all", pair_sum), ("nearest", nearest_pair_sum)])
def test_traces_are_the_sum_over_pairs(neighbors: str, oracle: Any) -> None:
    """S1: fast path and interpreted rule equal the sum over pairs of spikes, coincident ones left out."""
    x, z, weight = trains()
    pairing = Pairing(0.7, 0.4, 6.0, 9.0, neighbors)
    assert min(x.sum(), z.sum()) > 100
    expected = oracle(x, z, pairing)
    assert off(pair_change(x, z, weight, pairing), expected) < EXACT
    assert off(interpreted(pairing, x, z, weight), expected) < EXACT


def test_planted_fault_traces_after_the_spike() -> None:
    """A trace that holds the present spike already counts coincident pairs, and S1 sees it."""
    x, z, _ = trains()
    pairing = Pairing(0.7, 0.4, 6.0, 9.0)
    late = [trace_before(s, tau, "all") + s for s, tau in ((x, pairing.tau_plus), (z, pairing.tau_minus))]
    wrong = pairing.a_plus * stdp.pairs(z, late[0]) - pairing.a_minus * stdp.pairs(late[1], x)
    assert off(wrong, pair_sum(x, z, pairing)) > 0.05


@pytest.mark.parametrize("mu", [0.0, 1.0])
@pytest.mark.parametrize("neighbors", ["all", "nearest"])
def test_the_description_is_what_the_learner_does(neighbors: str, mu: float) -> None:
    """With soft bounds as without, and they differ; w_max may be another than 1."""
    x, z, weight = trains()
    pairing = Pairing(0.7, 0.4, 6.0, 9.0, neighbors, mu, w_max=1.5)
    change = pair_change(x, z, weight, pairing)
    assert off(interpreted(pairing, x, z, weight), change) < EXACT
    other = replace(pairing, mu=1 - mu)
    assert off(interpreted(other, x, z, weight), change) > 0.05


def test_soft_bounds_hold() -> None:
    """At w_max nothing rises and at 0 nothing falls, for any mu above 0."""
    x, z, _ = trains()
    for mu in (0.2, 1.0, 2.0):
        pairing = Pairing(mu=mu)
        assert (pair_change(x, z, torch.ones(5, 7, dtype=x.dtype), pairing) <= 0).all()
        assert (pair_change(x, z, torch.zeros(5, 7, dtype=x.dtype), pairing) >= 0).all()


def test_only_powers_that_are_products_can_be_described() -> None:
    with pytest.raises(ValueError, match="sum of products"):
        stdp.describe(Pairing(mu=0.2))


# reward


def test_the_eligibility_is_the_interpreters() -> None:
    """rstdp's closed form equals its description, eligibility step by step; without the decay of e it does not."""
    x, z, _ = trains()
    pairing = Pairing(0.7, 0.4, 6.0, 9.0)
    signal = torch.randn(3, 5, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    found = rstdp.rewarded_change(x, z, signal, pairing, 15.0)
    constants = pairing.constants | {"decay_e": exp(-1 / 15)}
    rule, at_end = rstdp.describe(pairing), signal.expand(len(x), *signal.shape)
    assert off(weight_change(rule, x, z, signal=at_end, constants=constants)[0], found) < EXACT
    constants["decay_e"] = 1.0
    assert off(weight_change(rule, x, z, signal=at_end, constants=constants)[0], found) > 0.05


# the learners


def network(seed: int = 0, arch: str = "40") -> Network:
    return build(arch, Input((64,), InputKind.SPIKES), 10, Neurons(0.9, 1.0), seed)


def digits(split: str = "train", limit: int | None = None) -> tuple[Tensor, Tensor]:
    data = datasets.load("digits", split, limit)
    inputs = Encoding("rate", STEPS).encode(data.images)
    return torch.from_numpy(inputs.copy()).double(), torch.from_numpy(data.labels)


def taught(learner: Any, labels: Tensor | None = None, epochs: int = 1, limit: int = 320, batch: int = 16) -> Any:
    """Return `learner` after some passes over the first digits, with other labels if given."""
    inputs, own = digits(limit=limit)
    labels = own if labels is None else labels
    batches = epochs * limit // batch
    for number in range(batches):
        part = slice(number * batch % limit, number * batch % limit + batch)
        learner.schedule(number / batches)
        learner.learn(inputs[:, part], labels[part])
    return learner


def stdp_learner(seed: int = 0, **options: Any) -> STDP:
    return STDP(network(seed), stdp.Options(**options), seed, torch.float64)


def rstdp_learner(seed: int = 0, **options: Any) -> RSTDP:
    return RSTDP(network(seed), rstdp.Options(**options), seed, torch.float64)


@pytest.mark.parametrize("make", [stdp_learner, rstdp_learner])
def test_hidden_weights_hear_no_label(make: Any) -> None:
    """With the labels shuffled, hidden weights and thresholds are the same bit for bit; the output is not."""
    _, labels = digits(limit=320)
    shuffled = labels[torch.randperm(320, generator=torch.Generator().manual_seed(3))]
    one, other = taught(make()), taught(make(), shuffled)
    assert torch.equal(one.features.weight, other.features.weight)
    assert torch.equal(one.features.threshold, other.features.threshold)
    before = make().features.weight
    assert float((one.features.weight - before).abs().max()) > 0.05
    maps = [learner.network().nodes["fc2"].weight for learner in (one, other)]
    assert not np.array_equal(*maps)


def test_labels_reach_rstdp_through_the_reward_only() -> None:
    """Two sets of labels for which the same decisions are right teach the same, bit for bit; others do not."""
    inputs, labels = digits(limit=64)
    probe = taught(rstdp_learner())
    with torch.no_grad():
        decision = probe.answer(probe.features.respond(inputs).spikes).sum(0).argmax(1)
    right = decision == labels
    assert 0 < int(right.sum()) < 64
    otherwise = torch.where(right, labels, (decision + 1) % 10)
    assert not torch.equal(otherwise, labels)
    never = (decision + 1) % 10
    weights = []
    for told in (labels, otherwise, never):
        learner = taught(rstdp_learner())
        learner.learn(inputs, told)
        weights.append(learner.output.weight.clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("make", [stdp_learner, rstdp_learner])
def test_a_resumed_run_is_the_same_run(make: Any, tmp_path: Any) -> None:
    """State saved half-way and read with weights_only=True goes on bit for bit; without thresholds it would not."""
    inputs, labels = digits(limit=320)

    def go_on(learner: Any) -> Network:
        for number in range(10):
            part = slice(160 + number * 16, 176 + number * 16)
            learner.schedule(0.3 + 0.05 * number)
            learner.learn(inputs[:, part], labels[part])
        return learner.network()

    half = taught(make(), limit=160)
    torch.save(half.state(), tmp_path / "state.pt")
    whole = go_on(half)
    resumed = make(seed=9)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    again = go_on(resumed)
    for name, node in whole.nodes.items():
        for key in ("weight", "threshold"):
            if hasattr(node, key):
                np.testing.assert_array_equal(getattr(node, key), getattr(again.nodes[name], key))
    forgetful = make()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    forgetful.restore(state | {"features": state["features"] | {"begun": False}})
    assert not np.array_equal(go_on(forgetful).nodes["lif1"].threshold, whole.nodes["lif1"].threshold)


@pytest.mark.parametrize("make", [stdp_learner, rstdp_learner])
def test_what_is_deployed_fires_what_was_learned_with(make: Any) -> None:
    """Hidden spikes of run_source are those the learner saw, inhibition and thresholds included."""
    learner, (inputs, _) = taught(make()), digits("test", 50)
    learned = learner.network()
    with torch.no_grad():
        seen = learner.features.respond(inputs).spikes
    ran = run_source(learned, inputs.numpy(), dtype="float64")
    assert seen.sum() > 100
    np.testing.assert_array_equal(ran.spikes["lif1"], seen.numpy())
    assert len(np.unique(learned.nodes["lif1"].threshold)) > 30
    between = learned.nodes["lif1.recurrent"].weight
    assert (np.diag(between) == 0).all()
    assert (between[~np.eye(40, dtype=bool)] == between.min()).all()
    assert between.min() == pytest.approx(-1.5 * learned.nodes["lif1"].threshold.mean())
    mute = replace(learned, nodes=learned.nodes | {"lif1.recurrent": Linear(np.zeros((40, 40)))})
    assert not np.array_equal(run_source(mute, inputs.numpy(), dtype="float64").spikes["lif1"], seen.numpy())


@pytest.mark.parametrize("vote", stdp.VOTES)
def test_the_outputs_spike_count_is_the_vote(vote: str) -> None:
    """Spikes of class c times its threshold are its votes, to within a threshold, while it does not saturate."""
    learner, (inputs, _) = taught(stdp_learner(vote=vote)), digits("test", 80)
    learned = learner.network()
    ran = run_source(learned, inputs.numpy(), dtype="float64")
    votes = ran.spikes["lif1"].sum(0) @ learner.tally.votes(vote).numpy().T
    theta = float(learned.nodes["lif2"].threshold)
    counts = ran.spikes["lif2"].sum(0)
    idle = ran.spikes["lif2"][-1] == 0
    assert idle.mean() > 0.5
    left = (votes - theta * counts)[idle]
    assert left.min() > -1e-9
    assert left.max() <= theta + 1e-9


def test_the_learners_own_update_is_the_sum_over_pairs() -> None:
    """S1 for what `learn` adds to the weights: spikes of the layer itself, 64 inputs, 40 neurons that compete."""
    subject, inputs = stdp_learner(a_minus=0.4, start=0.2), digits(limit=3)[0]
    with torch.no_grad():
        response = subject.features.respond(inputs)
        expected = pair_sum(inputs, response.learning, subject.options.pairing)
        assert 5 < response.learning.sum() < response.spikes.sum()
        assert off(subject.features.change(inputs, response), expected) < EXACT
        everyone = pair_sum(inputs, response.spikes, subject.options.pairing)
        assert off(subject.features.change(inputs, response), everyone) > 0.01


def test_only_the_foremost_learns() -> None:
    """Of neurons that fire together the one furthest above threshold learns; without the contest all do."""
    u = torch.tensor([[[-1.0, 0.5, 0.7], [-1.0, -2.0, -0.5]]])
    spikes = (u > 0).double()
    assert foremost(spikes, u).tolist() == [[[0, 0, 1], [0, 0, 0]]]
    inputs, _ = digits(limit=32)
    responses = [stdp_learner(contest=contest).features.respond(inputs) for contest in (True, False)]
    assert torch.equal(responses[0].spikes, responses[1].spikes)
    assert responses[0].learning.sum() < responses[1].learning.sum()
    assert (responses[0].learning.sum(2) <= 1).all()


def accuracy(learned: Network) -> tuple[float, float]:
    """Return the accuracy on the test digits of the source, and of the engine after compilation for Loihi 2."""
    inputs, labels = digits("test")
    right = run_source(learned, inputs.numpy()).predictions == labels.numpy()
    model = pipeline.compile(learned, "loihi2-sim")
    samples = pipeline.Samples("digits", inputs.numpy(), labels.numpy())
    return float(right.mean()), float((pipeline.run(model, samples).predictions == labels.numpy()).mean())


@pytest.mark.parametrize(("make", "epochs", "least"), [(stdp_learner, 3, 0.75), (rstdp_learner, 6, 0.65)])
def test_it_learns_digits_and_compiles(make: Any, epochs: int, least: float) -> None:
    """A short run with 40 neurons in 20 steps is far above chance, and Loihi's integers decide nearly alike."""
    learner = make()
    untaught = taught(make(), limit=16)
    source, engine = accuracy(taught(learner, epochs=epochs, limit=1424).network())
    assert source > least
    assert abs(engine - source) < 0.04
    assert accuracy(untaught.network())[0] < 0.5


@pytest.mark.parametrize("arch", ["30-20", "4C3", "P2-4C3-20", "30r"])
def test_deeper_and_recurrent_networks_are_refused(arch: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        STDP(network(arch=arch), stdp.Options(), 0)
    assert caught.value.findings[0].code == "ND085"


def test_options_out_of_range_are_all_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        stdp.Options(rate=0, vote="loud", mu=-1)
    assert [finding.place for finding in caught.value.findings] == ["rate", "mu", "vote"]
    with pytest.raises(UsageError) as caught:
        rstdp.Options(features=1.0, eligibility=float("nan"))
    assert {finding.code for finding in caught.value.findings} == {"ND086"}
