"""SPIDE's equations against slow loops, linear algebra and autograd; what it learns, deploys, saves and refuses.

Identities are tested in float64 on small rings with real-valued random weights, where spikes never tie.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy import datasets, pipeline
from neurodeploy.codes import EXPLANATIONS
from neurodeploy.datasets.encodings import direct
from neurodeploy.errors import Change, NeurodeployError, UnsupportedError, UsageError
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, Input, InputKind, Linear, SparseLinear
from neurodeploy.learning import architectures, equilibrium, rings
from neurodeploy.learning.equilibrium import PIXELS, Ring, Settled
from neurodeploy.learning.ide import IDE, broyden
from neurodeploy.learning.ide import Options as IDEOptions
from neurodeploy.learning.interpreter import weight_change
from neurodeploy.learning.spide import (
    ADD_PJ,
    MULTIPLY_ADD_PJ,
    RULE,
    SPIDE,
    Couple,
    Options,
    Ternary,
    architecture,
    energy,
)
from tests.unit import spide_oracle as oracle

INPUTS, CLASSES, SAMPLES = 7, 4, 3
PLAIN: dict[str, Any] = {"dropout": 0.0, "rate": 0.1}
DEEP = "8-6-5f"
ARCHITECTURES = ("9f", "8-6f", DEEP, "8-6")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are slower on several threads, and much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def learner(
    arch: str = DEEP, *, shape: tuple[int, ...] = (INPUTS,), seed: int = 1, strong: float = 5.0, **options: Any
) -> SPIDE:
    """Return SPIDE in float64 on a random ring whose feedback is `strong` times that of a fresh one."""
    chosen = Options(**{**PLAIN, **options})
    network = architecture(arch, Input(shape, InputKind.GRADED), CLASSES, chosen, seed)
    return SPIDE(biased(network, strong, seed), chosen, seed, torch.float64)


def biased(network: Network, strong: float, seed: int) -> Network:
    """Return `network` with random offsets, and `strong` times the feedback, so that all layers fire."""
    random = np.random.default_rng(seed)
    nodes = dict(network.nodes)
    for name, node in nodes.items():
        if isinstance(node, Linear | Conv) and node.bias is not None:
            nodes[name] = replace(node, bias=random.uniform(-0.1, 0.9, node.bias.shape))
        elif isinstance(node, Linear | Conv):
            nodes[name] = replace(node, weight=strong * node.weight)
    return replace(network, nodes=nodes)


def constant(steps: int, *shape: int, seed: int = 0) -> Tensor:
    """Return input (step, sample, *shape) that stays the same."""
    x = torch.randn(SAMPLES, *(shape or (INPUTS,)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.expand(steps, *x.shape)


def changing(steps: int, *shape: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(steps, SAMPLES, *(shape or (INPUTS,)), generator=random, dtype=torch.float64)


def labels() -> Tensor:
    return torch.arange(SAMPLES) % CLASSES


def error_of(spide: SPIDE | IDE, settled: Settled) -> Tensor:
    """Return g = dL/da_N of the mean cross-entropy, by autograd."""
    rates = settled.rates[-1].flatten(1).clone().requires_grad_()
    logits = functional.linear(rates, spide.ring.weight.detach(), spide.ring.bias.detach())
    (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, labels()), rates)
    return gradient.reshape(settled.rates[-1].shape)


def relative(found: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> float:
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def hidden_gradients(spide: SPIDE | IDE) -> list[Tensor]:
    """Return the gradients of all hidden weights: the feeds', then the feedback's."""
    return [connection.weight.grad for connection in spide.ring.connections if connection.weight is not None]


def exact_gradients(spide: SPIDE | IDE, settled: Settled, masks: list[Tensor]) -> list[np.ndarray]:
    """Return the same from the exact solution of (LIN), for a ring of all-to-all layers."""
    ring = oracle.matrices(spide.ring.network(), spide.options.quantum)
    masked = [m.numpy() for m in masks]
    solved = oracle.betas(ring, error_of(spide, settled).numpy(), masked)
    source = settled.source.numpy()
    feeds, _, feedback = oracle.updates(ring, source, [a.numpy() for a in settled.rates], solved, masked)
    return feeds if feedback is None else [*feeds, feedback]


def watched() -> tuple[list[list[Tensor]], Any]:
    seen: list[list[Tensor]] = []
    return seen, lambda spikes: seen.append([s.clone() for s in spikes])


# P4: the equations, scalar by scalar


@pytest.mark.parametrize("leak", [1.0, 0.95])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_both_stages_and_the_update_equal_loops_over_scalars(arch: str, leak: float) -> None:
    """Every spike of every step is the same forward and backward, and so are all rates, betas and gradients."""
    steps, back = 30, 40
    spide = learner(arch, leak=leak, back_steps=back, tolerance=0.01)
    ring = oracle.matrices(spide.ring.network(), 2.0)
    inputs = changing(steps)
    seen, watch = watched()
    settled = spide.ring.settle(inputs, watch=watch)
    masks = settled.masks(spide.tolerance)
    gradient = 8 * error_of(spide, settled)
    returned, watch = watched()
    errors = spide.errors(gradient, masks, watch)
    spide.ring.learn(settled, [m * b for m, b in zip(masks, errors.betas, strict=True)])
    all_rates, all_betas = [], []
    for k in range(SAMPLES):
        rates, history = oracle.forward(ring, inputs[:, k].numpy(), 1.0, leak)
        gates = [[float(0 < a < 1 if leak == 1 else 0.01 < a < 0.99) for a in layer] for layer in rates]
        betas, back_history = oracle.backward(ring, gradient[k].tolist(), gates, back, 0.5, 1.0, leak)
        assert [[s[k].tolist() for s in step] for step in seen] == history
        assert [[q[k].tolist() for q in step] for step in returned] == back_history
        all_rates.append(rates)
        all_betas.append(betas)
    forward_spikes = [float(torch.stack([step[at] for step in seen]).mean()) for at in range(len(masks))]
    back_spikes = [float(torch.stack([step[at] for step in returned]).abs().sum()) for at in range(len(masks))]
    assert all(0.02 < rate < 0.9 for rate in forward_spikes)
    assert min(back_spikes) > 5
    rates = [np.array([sample[at] for sample in all_rates]) for at in range(len(masks))]
    betas = [np.array([sample[at] for sample in all_betas]) for at in range(len(masks))]
    weights = leak ** np.arange(steps - 1, -1, -1)
    source = np.einsum("t,tki->ki", weights / weights.sum(), inputs.numpy())
    feeds, offsets, feedback = oracle.updates(ring, source, rates, betas, [m.numpy() for m in masks])
    for at, feed in enumerate(spide.ring.feeds):
        assert np.allclose(settled.rates[at], rates[at], rtol=1e-12, atol=1e-14)
        assert np.allclose(errors.betas[at], betas[at], rtol=1e-12, atol=1e-14)
        assert np.allclose(feed.weight.grad, feeds[at], rtol=1e-9, atol=1e-14)
        assert np.allclose(feed.bias.grad, offsets[at], rtol=1e-9, atol=1e-14)
    if feedback is not None:
        assert np.allclose(spide.ring.feedback.weight.grad, feedback, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("arch", ["3C3/2-P2-4C3f", "3C3/2-P2-6", "3C3/2-6f"])
def test_kernels_pools_and_transposed_kernels_equal_their_matrices_in_both_stages(arch: str) -> None:
    """A ring of maps computes what the loops compute on its nodes' matrices, which no torch convolution made."""
    spide = learner(arch, shape=(2, 8, 8), back_steps=25)
    ring = oracle.matrices(spide.ring.network(), 2.0)
    inputs = constant(20, 2, 8, 8)
    seen, watch = watched()
    settled = spide.ring.settle(inputs, watch=watch)
    masks = settled.masks(0.0)
    gradient = 20 * error_of(spide, settled)
    errors = spide.errors(gradient, masks)
    k = 1
    rates, history = oracle.forward(ring, inputs[:, k].flatten(1).numpy(), 1.0, 1.0)
    assert [[s[k].flatten().tolist() for s in step] for step in seen] == history
    gates = [[float(0 < a < 1) for a in layer] for layer in rates]
    betas, back_history = oracle.backward(ring, gradient[k].flatten().tolist(), gates, 25, 0.5, 1.0, 1.0)
    assert sum(abs(q) for layer in back_history[-1] for q in layer) > 0
    for at, beta in enumerate(betas):
        assert np.allclose(errors.betas[at][k].flatten(), beta, rtol=1e-12, atol=1e-14)
    assert all(0.01 < float(a.mean()) < 0.9 for a in settled.rates)


# P1, P2, P3: what the stages converge to


def test_rates_converge_to_the_fixed_point_at_one_over_steps() -> None:
    """P1: ten times the steps, a tenth of the largest error."""
    spide = learner()
    ring = oracle.matrices(spide.ring.network(), 2.0)
    expected = oracle.equilibrium(ring, constant(1)[0].numpy())
    worst = []
    for steps in (100, 1000, 10000):
        rates = spide.ring.settle(constant(steps)).rates
        worst.append(max(float(np.abs(a.numpy() - e).max()) for a, e in zip(rates, expected, strict=True)))
    assert all(0 < error * steps < 10 for error, steps in zip(worst, (100, 1000, 10000), strict=True))
    assert worst[2] < worst[0] / 20


def settled_for_long(spide: SPIDE | IDE) -> tuple[Settled, list[Tensor]]:
    """Settle until the masks are those of the exact fixed point, and say so."""
    steps = 4000
    settled = spide.ring.settle(constant(steps))
    masks = settled.masks(0.0)
    ring = oracle.matrices(spide.ring.network(), 2.0)
    for a, m in zip(oracle.equilibrium(ring, constant(1)[0].numpy()), masks, strict=True):
        assert np.array_equal((a > 2 / steps) & (a < 1 - 2 / steps), m.bool().numpy())
        assert 0.2 < float(m.mean()) < 1
    return settled, masks


def test_gradient_converges_to_the_exact_solution_of_the_implicit_equation() -> None:
    """P2: against numpy.linalg on the system written out, the error shrinks with T_B, below 1 % at T_B = 4000."""
    worst = []
    for back in (40, 400, 4000):
        spide = learner(back_steps=back)
        settled, masks = settled_for_long(spide)
        _, measures = spide.backward(settled, labels())
        assert measures["saturated"] == 0
        expected = exact_gradients(spide, settled, masks)
        worst.append(max(relative(g, e) for g, e in zip(hidden_gradients(spide), expected, strict=True)))
    assert worst[2] < 0.01 < worst[0]
    assert worst[2] < worst[0] / 10


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_without_feedback_the_gradient_is_that_of_a_clipped_linear_network(dropout: float) -> None:
    """P3: autograd of clip((W a + b) / D, 0, 1), with the dropout masks on every current where there are any."""
    spide = learner("8-6", back_steps=8000, dropout=dropout)
    settled = spide.ring.settle(constant(8000), torch.Generator().manual_seed(3), dropout)
    spide.backward(settled, labels())
    parameters, a = [], constant(1)[0]
    for feed, rates in zip(spide.ring.feeds, settled.rates, strict=True):
        w, b = (p.detach().clone().requires_grad_() for p in (feed.weight, feed.bias))
        parameters += [(w, feed.weight.grad), (b, feed.bias.grad)]
        current = functional.linear(a, w, b) * (1 if feed.mask is None else feed.mask)
        a = (current / 2).clamp(0, 1)
        assert float((a.detach() - rates).abs().max()) < 1e-3
    head = [p.detach().clone().requires_grad_() for p in (spide.ring.weight, spide.ring.bias)]
    functional.cross_entropy(functional.linear(a, *head), labels()).backward()
    for expected, found in parameters:
        assert float(expected.grad.norm()) > 0
        assert relative(found, expected.grad) < 5e-3
    assert relative(spide.ring.weight.grad, head[0].grad) < 1e-3
    assert (dropout > 0) == any(feed.mask is not None for feed in spide.ring.feeds)


# P5, P6, T1: neurons


def test_one_ternary_neuron_is_within_one_threshold_per_step_of_its_input() -> None:
    """P5: |beta - z| <= V2 / T_B for |z| < D2, and no spike at all below V2 / T_B."""
    steps, z = 50, torch.linspace(-0.999, 0.999, 1001, dtype=torch.float64)
    neuron, total = Ternary(z, 0.5, 1.0, 1.0), torch.zeros_like(z)
    for _ in range(steps):
        total += neuron.step(z)
    beta = total / steps
    assert float((beta - z).abs().max()) <= 0.5 / steps + 1e-12
    silent = z.abs() < 0.5 / steps - 1e-9
    assert silent.any()
    assert not beta[silent].any()
    assert beta[~silent].count_nonzero() > 900


@pytest.mark.parametrize("leak", [1.0, 0.9])
def test_a_couple_of_binary_neurons_is_one_ternary_neuron(leak: float) -> None:
    """T1: the same spikes and the same membrane, the second of opposite sign, over 500 random steps, exactly."""
    random = torch.Generator().manual_seed(0)
    like = torch.zeros(40, dtype=torch.float64)
    ternary, couple = Ternary(like, 0.5, 1.0, leak), Couple(like, 0.5, 1.0, leak)
    fired = 0.0
    for _ in range(500):
        current = 0.4 * torch.randn(40, generator=random, dtype=torch.float64)
        q = ternary.step(current).clone()
        assert torch.equal(couple.step(current), q)
        assert torch.equal(couple.u, ternary.u)
        assert torch.equal(couple.minus, -ternary.u)
        fired += float(q.abs().sum())
    assert fired > 1000


def test_couples_give_the_gradient_of_ternary_neurons() -> None:
    inputs, gradients = constant(30), []
    for couple in (False, True):
        spide = learner(couple=couple)
        spide.learn(inputs, labels())
        gradients.append(hidden_gradients(spide))
    for found, expected in zip(*gradients, strict=True):
        assert expected.count_nonzero() > 5
        assert torch.equal(found, expected)


@pytest.mark.parametrize("shape", [(INPUTS,), (1, 8, 8)])
def test_membranes_hold_exactly_what_came_in_and_did_not_leave(shape: tuple[int, ...]) -> None:
    """P6: u(T) = sum of inputs - D x spikes, forward and backward, at every neuron (IF)."""
    spide = learner(DEEP if len(shape) == 1 else "4C3/2-P2-3C3f", shape=shape, back_steps=60)
    ring, steps = spide.ring, 50
    settled = ring.settle(changing(steps, *shape))
    heard = [settled.source, *settled.rates[:-1]]
    for at, feed in enumerate(ring.feeds):
        came = steps * feed.current(heard[at]).detach()
        if at == 0:
            came += ring.feedback.current(steps * settled.rates[-1] - settled.last[-1]).detach()
        left = 2.0 * steps * settled.rates[at]
        assert left.sum() > 10
        assert float((settled.potentials[at] - (came - left)).abs().max()) < 1e-12 * steps
    masks, back = settled.masks(0.0), 60
    gradient = 10 * error_of(spide, settled)
    errors = spide.errors(gradient, masks)
    gates = [m / 2.0 for m in masks]
    sent = [back * g * beta for g, beta in zip(gates, errors.betas, strict=True)]
    for at in range(len(masks)):
        if at + 1 < len(masks):
            came = ring.around(sent, at)
        else:
            sent[0] = sent[0] - gates[0] * errors.last[0]
            came = back * gradient + ring.around(sent, at)
        left = back * errors.betas[at]
        assert left.abs().sum() > 1
        assert float((errors.potentials[at] - (came - left)).abs().max()) < 1e-12 * back


def test_with_a_leak_the_input_of_the_gradient_is_weighted_as_the_rates_are() -> None:
    """D a = F x* + b - u(T) / (lambda Lambda) holds exactly with the weighted mean x*, and not with the plain one."""
    leak, steps = 0.9, 40
    spide = learner("8-6", leak=leak)
    inputs = changing(steps)
    settled = spide.ring.settle(inputs)
    feed, total = spide.ring.feeds[0], (1 - leak**steps) / (1 - leak)
    balance = 2 * settled.rates[0] + settled.potentials[0] / (leak * total)
    assert float((balance - feed.current(settled.source).detach()).abs().max()) < 1e-12
    assert float((balance - feed.current(inputs.mean(0)).detach()).abs().max()) > 0.1


def test_the_modified_reset_takes_the_bias_from_the_rates() -> None:
    """With V = D/2 the mean error of the rates at T_F = 10 is under a fifth of that with V = D, which is negative."""
    bias = []
    for threshold in (1.0, 2.0):
        spide = learner("60-50f", threshold=threshold)
        expected = oracle.equilibrium(oracle.matrices(spide.ring.network(), 2.0), constant(1)[0].numpy())
        rates = spide.ring.settle(constant(10)).rates
        inside = [(e > 0.05) & (e < 0.95) for e in expected]
        errors = [(a.numpy() - e)[m] for a, e, m in zip(rates, expected, inside, strict=True)]
        bias.append(float(np.concatenate(errors).mean()))
    assert bias[1] < -0.02
    assert abs(bias[0]) < abs(bias[1]) / 5


# planted bugs and negative controls


def test_the_gradient_is_wrong_when_the_mask_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    spide = learner(back_steps=4000)
    settled, masks = settled_for_long(spide)
    expected = exact_gradients(spide, settled, masks)
    monkeypatch.setattr(Settled, "masks", lambda self, _: [torch.ones_like(a) for a in self.rates])
    spide.backward(settled, labels())
    assert min(relative(g, e) for g, e in zip(hidden_gradients(spide), expected, strict=True)) > 0.1


def test_the_gradient_doubles_when_the_two_quanta_are_confused() -> None:
    """D2 = 1 in place of D = 2 in (UPD) scales every hidden gradient by 2; in (LIN) it does worse."""
    spide = learner(back_steps=4000)
    settled, masks = settled_for_long(spide)
    betas, _ = spide.solve(error_of(spide, settled), masks)
    expected = exact_gradients(spide, settled, masks)
    spide.ring.neurons = replace(spide.ring.neurons, quantum=spide.options.back_quantum)
    spide.ring.learn(settled, [m * b for m, b in zip(masks, betas, strict=True)])
    for found, exact in zip(hidden_gradients(spide), expected, strict=True):
        assert relative(found, 2 * exact) < 0.01
    spide.options = replace(spide.options, back_quantum=2.0, scale=1.0)
    betas, _ = spide.solve(error_of(spide, settled), masks)
    spide.ring.learn(settled, [m * b for m, b in zip(masks, betas, strict=True)])
    assert max(relative(g, 2 * e) for g, e in zip(hidden_gradients(spide), expected, strict=True)) > 0.01


@pytest.mark.parametrize("factor", [0.001, 20.0])
def test_a_loss_scale_far_off_silences_or_saturates_the_error_neurons(factor: float) -> None:
    """The automatic S makes no error neuron saturate; far below it most are silent, far above the gradient is wrong."""
    spide = learner(back_steps=400)
    settled, masks = settled_for_long(spide)
    _, good = spide.backward(settled, labels())
    expected = exact_gradients(spide, settled, masks)
    assert max(relative(g, e) for g, e in zip(hidden_gradients(spide), expected, strict=True)) < 0.1
    assert good["saturated"] == 0
    spide.options = replace(spide.options, scale=factor * good["loss_scale"])
    _, bad = spide.backward(settled, labels())
    assert max(relative(g, e) for g, e in zip(hidden_gradients(spide), expected, strict=True)) > 0.2
    assert bad["saturated"] > 0.1 if factor > 1 else bad["silent"] > 0.9


def test_the_leaky_mask_needs_its_tolerance() -> None:
    """Saturated leaky neurons have rates just off 1 by rounding: without a tolerance their mask can open wrongly."""
    opened = []
    for leak in (0.9, 0.95, 0.98, 0.99):
        spide = learner("30-20f", leak=leak, seed=4)
        settled = spide.ring.settle(2 * constant(300))
        exact = oracle.equilibrium(oracle.matrices(spide.ring.network(), 2.0), 2 * constant(1)[0].numpy())
        saturated = exact[0] >= 1
        assert saturated.sum() > 3
        assert not settled.masks(spide.tolerance)[0].numpy()[saturated].any()
        opened.append(int(settled.masks(0.0)[0].numpy()[saturated].sum()))
    assert sum(opened) > 0


# deployment


@pytest.mark.parametrize("leak", [1.0, 0.95])
@pytest.mark.parametrize(
    ("arch", "shape"), [("9f", (INPUTS,)), (DEEP, (INPUTS,)), ("3C3/2-P2-4C3f", (64,)), ("P2-3C3-5f", (2, 8, 8))]
)
def test_the_network_fires_the_rings_spikes(arch: str, shape: tuple[int, ...], leak: float) -> None:
    """Step by step and neuron by neuron: a LIF with a connection to itself is the equations' neuron, pools too."""
    spide = learner(arch, shape=shape, leak=leak, mean=(0.3,), std=(0.7,))
    seen, watch = watched()
    inputs = constant(30, *shape)
    spide.ring.settle(inputs, watch=watch)
    result = run_source(spide.ring.network(), inputs.numpy(), dtype="float64")
    for at, name in enumerate(spide.ring.names):
        expected = torch.stack([step[at] for step in seen]).numpy()
        assert 0.005 < expected.mean() < 0.9
        assert np.array_equal(result.spikes[name], expected)


def test_a_learner_continues_from_its_own_network() -> None:
    """What `network` writes is what the constructor reads: normalization folded in and taken out again."""
    for arch, shape in ((DEEP, (INPUTS,)), ("3C3/2-P2-4C3f", (64,))):
        spide = learner(arch, shape=shape, mean=(0.3,), std=(0.7,))
        again = SPIDE(spide.ring.network(), spide.options, 0, torch.float64)
        for mine, other in zip(spide.ring.parameters(), again.ring.parameters(), strict=True):
            assert torch.allclose(mine, other, rtol=1e-12, atol=1e-14)


def test_self_feedback_compiles_and_a_longer_ring_is_refused_by_name() -> None:
    """N = 1 has all paths of one length; with N = 2 feedback would arrive a step late, and the backend says so."""
    for arch in ("9f", "8-6"):
        compiled = pipeline.compile(learner(arch).network(), "loihi2-sim")
        assert {p.name for p in compiled.program.populations} >= {"lif1", "lif2"}
    for arch, shape in (("8-6f", (INPUTS,)), ("3C3/2-4C3f", (64,))):
        with pytest.raises(UnsupportedError) as refused:
            pipeline.compile(learner(arch, shape=shape).network(), "loihi2-sim")
        assert {finding.code for finding in refused.value.findings} == {"ND142"}


def test_counting_keeps_the_order_of_the_logits() -> None:
    """Neurons that count decide as the logits do wherever the counts differ, and the tied share is reported."""
    random = np.random.default_rng(0)
    classifier = Linear(random.normal(size=(10, 40)), random.normal(size=10))
    rates = random.uniform(0, 1, (500, 40))
    logits = rates @ classifier.weight.T + classifier.bias
    counted, tied = equilibrium.counting(classifier, logits, 60)
    counts = np.clip(np.floor(60 * (rates @ counted.weight.T + counted.bias)), 0, 60)
    top = np.sort(counts, axis=1)
    clear = top[:, -1] > top[:, -2]
    assert np.array_equal(counts.argmax(1)[clear], logits.argmax(1)[clear])
    assert tied == pytest.approx(1 - clear.mean())
    assert tied < 0.1


# the rule as a table


def test_the_rule_is_what_the_learner_does() -> None:
    """Both phases of `RULE`, interpreted on recorded spikes, give each connection's gradient with its sign turned."""
    for leak in (1.0, 0.95):
        spide, steps = learner("8-6f", leak=leak, back_steps=40, scale=30.0), 30
        inputs = changing(steps)
        forward, watch = watched()
        settled = spide.ring.settle(inputs, watch=watch)
        masks = settled.masks(spide.tolerance)
        gradient = error_of(spide, settled)
        backward, watch = watched()
        spide.errors(30.0 * gradient, masks, watch)
        spide.backward(settled, labels())
        total = [sum(leak**t for t in range(n)) for n in (steps, 40)]
        constants = {"leak": leak, "forward": 1 / total[0], "backward": 1.0 / (30.0 * 2.0 * total[1])}
        spikes = [torch.stack([step[at] for step in forward]) for at in range(2)]
        errors = [torch.stack([step[at] for step in backward]) for at in range(2)]
        gates = [m.expand(40, *m.shape) for m in masks]
        ring = spide.ring
        for feed, x, post in ((ring.feeds[0], inputs, 0), (ring.feeds[1], spikes[0], 1), (ring.feedback, spikes[1], 0)):
            nothing = torch.zeros_like(spikes[post])
            _, held = weight_change(RULE, x, nothing, constants=constants, phase="forward")
            dark = torch.zeros(40, *x.shape[1:], dtype=x.dtype)
            dw, _ = weight_change(
                RULE, dark, errors[post], signal=gates[post], constants=constants, phase="backward", before=held
            )
            assert feed.weight.grad.count_nonzero() > 5
            assert torch.allclose(dw, -feed.weight.grad, rtol=1e-9, atol=1e-12)


# learning


def digits(split: str, steps: int) -> tuple[np.ndarray, Tensor]:
    data = datasets.load("digits", split)
    return direct(data.images, steps), torch.from_numpy(data.labels)


def trained(epochs: int, arch: str = "100f", steps: int = 20, **options: Any) -> tuple[SPIDE, dict[str, float]]:
    mean, std = PIXELS["digits"]
    chosen = Options(mean=mean, std=std, **options)
    network = architecture(arch, Input((64,), InputKind.GRADED, levels=16), 10, chosen, 0, "digits")
    spide = SPIDE(network, chosen, 0)
    inputs, targets = digits("train", steps)
    random, batches = np.random.default_rng(0), -(-len(targets) // 128)
    measures: dict[str, float] = {}
    for epoch in range(epochs):
        order = random.permutation(len(targets))
        for at in range(batches):
            spide.schedule((epoch + at / batches) / epochs)
            part = order[at * 128 : (at + 1) * 128]
            measures = spide.learn(torch.from_numpy(inputs[:, part].copy()), targets[part]).measures
    return spide, measures


def test_digits_are_learned_and_the_spike_counts_lose_nothing_to_speak_of() -> None:
    """15 short epochs: 96 % by rates, as many by output spikes within 1 %, in training without any autograd."""
    spide, measures = trained(15)
    inputs, targets = digits("test", 20)
    by_rates = spide.rate_accuracy(torch.tensor(inputs), targets)
    network = spide.network()
    by_spikes = float((run_source(network, inputs).predictions == targets.numpy()).mean())
    assert by_rates >= 0.96
    assert by_spikes >= by_rates - 0.01
    (deviation,) = network.deviations
    assert (deviation.code, deviation.change) == ("ND084", Change.ROUNDING)
    assert 0 <= deviation.bound < 0.02
    assert 0.1 < measures["forward_rate"] < 0.6
    assert 0.002 < measures["backward_rate"] < 0.2
    assert set(measures) == {"forward_rate", "backward_rate", "saturated", "silent", "borderline", "loss_scale"}


def test_with_a_loss_scale_of_one_only_the_classifier_learns() -> None:
    """Negative control: nearly no error spikes, and the hidden weights move under a fifth of what they otherwise do."""
    moved = []
    for scale in (None, 1.0):
        begun = trained(0, scale=scale)[0].ring
        spide, measures = trained(3, scale=scale)
        ring = spide.ring
        hidden = sum(float((a.weight - b.weight).detach().norm()) for a, b in zip(ring.feeds, begun.feeds, strict=True))
        moved.append((hidden, float((ring.weight - begun.weight).detach().norm()), measures["backward_rate"]))
    (usual, head, back), (still, other_head, none) = moved
    assert still < usual / 5
    assert other_head > head / 3
    assert none < back / 20


def test_an_interrupted_run_ends_as_if_it_had_not_been() -> None:
    """State goes through torch.save and weights_only loading; dropout masks and all weights go on unchanged."""
    straight, broken = (learner(dropout=0.3) for _ in range(2))
    batches = [(constant(20, seed=s), labels()) for s in range(6)]
    for batch in batches:
        straight.learn(*batch)
    for batch in batches[:3]:
        broken.learn(*batch)
    file = io.BytesIO()
    torch.save(broken.state(), file)
    file.seek(0)
    resumed = learner(dropout=0.3, seed=9)
    resumed.restore(torch.load(file, weights_only=True))
    for batch in batches[3:]:
        resumed.learn(*batch)
    for a, b in zip(straight.ring.parameters(), resumed.ring.parameters(), strict=True):
        assert torch.equal(a, b)
    ours, theirs = straight.network(), resumed.network()
    assert np.array_equal(
        ours.nodes[straight.ring.classifier_map].weight, theirs.nodes[resumed.ring.classifier_map].weight
    )


def test_the_feedbacks_norm_stays_within_its_restriction() -> None:
    """The weight that acts is W min(1, R / |W|), by the exact norm; so is the gradient."""
    spide = learner("9f", strong=40.0, restriction=0.5)
    assert float(spide.ring.feedback.weight.detach().norm()) > 0.5
    assert float(np.linalg.norm(spide.ring.network().nodes["lif1.recurrent"].weight)) == pytest.approx(0.5)
    free = SPIDE(spide.ring.network(), replace(spide.options, restriction=None), 0, torch.float64)
    assert free.ring.feedback.strength == 1.0
    for each in (spide, free):
        each.backward(each.ring.settle(constant(30)), labels())
    gradient = free.ring.feedback.weight.grad
    assert gradient.count_nonzero() > 5
    assert torch.allclose(spide.ring.feedback.weight.grad, gradient * spide.ring.feedback.strength)


# IDE


@pytest.mark.parametrize("solver", ["fixed-point", "broyden"])
@pytest.mark.parametrize("arch", ["9f", DEEP, "8-6"])
def test_ide_solves_the_implicit_equation(arch: str, solver: str) -> None:
    """Its gradients are those of numpy.linalg's solution, to 1e-8."""
    options = IDEOptions(**PLAIN, solver=solver, iterations=200, precision=1e-12)
    network = biased(architecture(arch, Input((INPUTS,), InputKind.GRADED), CLASSES, options, 1), 5.0, 1)
    ide = IDE(network, options, 0, torch.float64)
    settled = ide.ring.settle(constant(200))
    _, measures = ide.backward(settled, labels())
    expected = exact_gradients(ide, settled, settled.masks(0.0))
    for found, exact in zip(hidden_gradients(ide), expected, strict=True):
        assert float(found.norm()) > 0
        assert relative(found, exact) < 1e-8
    assert measures["residual"] < 1e-10
    assert ide.learn(constant(20), labels()).samples == SAMPLES


def test_broyden_needs_no_contraction() -> None:
    matrix = torch.diag(torch.tensor([3.0, -2.0, 0.5, 7.0], dtype=torch.float64))
    start = torch.ones(4, dtype=torch.float64)
    x, rounds = broyden(lambda v: start + matrix @ v, start, 50, 1e-10)
    assert torch.allclose(x, torch.linalg.solve(torch.eye(4, dtype=torch.float64) - matrix, start))
    assert rounds < 20


# energy


def test_energy_is_the_formula_on_counted_spikes() -> None:
    """64-neuron sums by hand: synapses of F once, then additions per spike, error spike and product."""
    spide = learner("8-6f", back_steps=40)
    inputs = constant(30)
    found = energy(spide, inputs, labels())
    settled = spide.ring.settle(inputs)
    counts = [30 * float(a.sum()) / SAMPLES for a in settled.rates]
    assert found.synapses == 8 * INPUTS + 6 * 8 + 8 * 6
    assert found.forward == pytest.approx(
        1e-3 * (MULTIPLY_ADD_PJ * 8 * INPUTS + ADD_PJ * (counts[0] * 6 + counts[1] * 8))
    )
    masks = settled.masks(0.0)
    gradient = SAMPLES * error_of(spide, settled)
    seen, watch = watched()
    errors = spide.errors(spide.scale(gradient) * gradient, masks, watch)
    passed = [sum(float((step[at] * masks[at]).abs().sum()) for step in seen) / SAMPLES for at in range(2)]
    assert min(passed) > 0
    assert found.backward == pytest.approx(1e-3 * ADD_PJ * (passed[0] * 6 + passed[1] * 8))
    open_ = [((m * b) != 0).sum(1).double() for m, b in zip(masks, errors.betas, strict=True)]
    alive = [(a != 0).sum(1).double() for a in (settled.source, *settled.rates)]
    products = open_[0] * alive[0] + open_[1] * alive[1] + open_[0] * alive[2]
    assert found.update == pytest.approx(1e-3 * MULTIPLY_ADD_PJ * float(products.mean()))
    assert found.baseline == pytest.approx(3e-3 * MULTIPLY_ADD_PJ * found.synapses)
    assert found.membranes == pytest.approx(1e-3 * ADD_PJ * (30 + 40) * 14)


# names, descriptions, refusals


@pytest.mark.parametrize(
    ("dataset", "shape", "name", "kernels"),
    [
        ("digits", (64,), "feedback", []),
        ("mnist", (784,), "feedback", [(64, 1, 5, 5), (64, 64, 5, 5), (64, 64, 5, 5), (64, 64, 3, 3)]),
        ("mnist", (784,), "lenet", [(15, 1, 5, 5), (40, 15, 5, 5)]),
        (
            "cifar10",
            (3, 32, 32),
            "alexnetf",
            [(96, 3, 3, 3), (256, 96, 3, 3), (384, 256, 3, 3), (384, 384, 3, 3), (256, 384, 3, 3), (96, 256, 3, 3)],
        ),
        (
            "cifar10",
            (3, 32, 32),
            "cifarnetf",
            [
                (128, 3, 3, 3),
                (256, 128, 3, 3),
                (512, 256, 3, 3),
                (1024, 512, 3, 3),
                (512, 1024, 3, 3),
                (128, 512, 3, 3),
            ],
        ),
        ("cifar10-dvs", (2, 48, 48), "feedback", [(512, 2, 9, 9), (512, 512, 5, 5)]),
    ],
)
def test_the_published_nets_have_names(
    dataset: str, shape: tuple[int, ...], name: str, kernels: list[tuple[int, ...]]
) -> None:
    network = architecture(name, Input(shape, InputKind.GRADED), 10, Options(), 0, dataset)
    found = [node.weight.shape for node in network.nodes.values() if isinstance(node, Conv)]
    assert sorted(found) == sorted(kernels)
    assert network.populations[network.output].shape == (10,)


def test_a_transposed_convolution_reaches_the_first_layers_size() -> None:
    """64C5/2-64C5/2-64C5f on 28 x 28: 7 x 7 maps come back to 14 x 14 ones through 3 x 3 kernels of stride 2."""
    options = Options(mean=(0.1307,), std=(0.3081,))
    network = architecture("4C5/2-4C5/2-4C5f", Input((784,), InputKind.GRADED), 10, options, 0)
    ring = Ring(network, options.neurons, options.mean, options.std, 2.0, torch.float64)
    assert ring.feedback.reads == (4, 7, 7)
    assert ring.feedback.shape == (4, 14, 14)
    x = torch.rand(2, 4, 7, 7, dtype=torch.float64)
    expected = functional.conv_transpose2d(x, ring.feedback.effective, None, 2, 1, 1)
    nodes = [network.nodes["feedback.spread"], network.nodes["feedback"]]
    matrix, _ = oracle.product(nodes, 4 * 7 * 7)
    assert np.allclose(expected.flatten(1).numpy(), x.flatten(1).numpy() @ matrix.T, atol=1e-12)


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (
            "ND071",
            lambda: architectures.build("100f", Input((64,), InputKind.GRADED), 10, architectures.Neurons(0.9, 1.0), 0),
        ),
        ("ND071", lambda: architecture("lenet", Input((64,), InputKind.GRADED), 10, Options(), 0, "digits")),
        ("ND081", lambda: architecture("20f-12", Input((64,), InputKind.GRADED), 10, Options(), 0)),
        ("ND081", lambda: architecture("20r-20", Input((64,), InputKind.GRADED), 10, Options(), 0)),
        ("ND081", lambda: architecture("4C3-4C3/2f", Input((49,), InputKind.GRADED), 10, Options(), 0)),
        ("ND082", lambda: Options(leak=1.5)),
        ("ND082", lambda: Options(threshold=3.0, quantum=2.0)),
        ("ND082", lambda: Options(back_steps=0)),
        ("ND082", lambda: IDEOptions(solver="newton")),
        ("ND082", lambda: architecture("4C3f", Input((3, 8, 8), InputKind.GRADED), 10, Options(mean=(0.1, 0.2)), 0)),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_way_out(code: str, action: Any) -> None:
    with pytest.raises(UsageError) as refused:
        action()
    (finding,) = refused.value.findings
    assert finding.code == code
    assert finding.code in EXPLANATIONS
    assert finding.fix


def test_other_networks_and_other_options_are_refused() -> None:
    source = Input((INPUTS,), InputKind.GRADED)
    chain = architectures.build("9r-6", source, CLASSES, architectures.Neurons(0.9, 1.0), 0)
    ring = learner().ring.network()
    short = replace(ring, edges=tuple(edge for edge in ring.edges if "lif2.reset" not in (edge.source, edge.target)))
    nodes = {name: node for name, node in short.nodes.items() if name != "lif2.reset"}
    cases = [
        (chain, Options()),
        (ring, Options(leak=0.9)),
        (ring, Options(quantum=3.0)),
        (replace(short, nodes=nodes), Options()),
        (architecture("4C3f", Input((64,), InputKind.GRADED), 10, Options(mean=(0.5,)), 0), Options()),
    ]
    for network, options in cases:
        with pytest.raises(UnsupportedError) as refused:
            SPIDE(network, options, 0)
        assert refused.value.findings[0].code == "ND080"


def test_ide_says_when_feedback_amplifies() -> None:
    options = IDEOptions(**PLAIN, solver="fixed-point", restriction=None)
    network = architecture("9f", Input((INPUTS,), InputKind.GRADED), CLASSES, options, 1)
    ide = IDE(network, options, 0, torch.float64)
    with torch.no_grad():
        ide.ring.feedback.weight.copy_(6 * torch.eye(9, dtype=torch.float64))
    settled = ide.ring.settle(constant(20))
    with pytest.raises(NeurodeployError) as refused:
        ide.solve(error_of(ide, settled), [torch.ones(SAMPLES, 9, dtype=torch.float64)])
    assert refused.value.findings[0].code == "ND083"


def test_a_strict_threshold_fires_where_the_papers_does() -> None:
    """On the grid of a pool's potentials, p > theta exactly when p >= V."""
    pool = rings.AveragePool((1, 4, 4), (2, 2), (2, 2), (0, 0))
    for threshold in (1.0, 0.9, 1.5):
        theta = rings.strict_threshold(rings.Neurons(threshold, 2.0), pool)
        grid = np.arange(-20, 21) / 4
        assert np.array_equal(grid > theta, grid >= threshold)
    assert rings.strict_threshold(rings.Neurons(), SparseLinear) == 1.0


def test_float32_is_the_same_learner() -> None:
    spide = SPIDE(learner().ring.network(), Options(**PLAIN), 0)
    step = spide.learn(constant(20).float(), labels())
    assert step.samples == SAMPLES
    assert all(p.dtype == torch.float32 for p in spide.ring.parameters())
