"""Attacks against closed forms on linear models, and the counterpart's hand-written backward pass against autograd."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from neurodeploy.errors import NetworkError, UsageError
from neurodeploy.evaluation.attacks import (
    Attacked,
    binarized,
    fgsm,
    flip_spikes,
    nes,
    nes_gradient,
    robustness,
    through_mean_frame,
)
from neurodeploy.evaluation.counterpart import Counterpart, ann_counterpart
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import (
    LIF,
    AveragePool,
    Conv,
    Input,
    InputKind,
    Linear,
    MaxPool,
    Reset,
    Reshape,
    Scale,
    SparseLinear,
)

SEEDS = st.integers(0, 2**32 - 1)
STEPS, SAMPLES, NEURONS, CLASSES = 3, 4, 5, 3


class SoftmaxLinear:
    """p = softmax(sum over steps of W x): loss and gradient by PyTorch, for inputs (step, sample, neuron)."""

    def __init__(self, seed: int, size: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        self.weight = torch.tensor(size * rng.standard_normal((STEPS, CLASSES, NEURONS)))
        self.calls = 0

    def _loss(self, x: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
        logits = torch.einsum("tsn,tcn->sc", x, self.weight)
        return F.cross_entropy(logits, torch.tensor(labels), reduction="none")

    def loss(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        self.calls += 1
        return self._loss(torch.tensor(inputs, dtype=torch.float64), labels).numpy()

    def gradient(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        x = torch.tensor(inputs, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(self._loss(x, labels).sum(), x)[0].numpy()

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        x = torch.tensor(inputs, dtype=torch.float64)
        return torch.einsum("tsn,tcn->sc", x, self.weight).argmax(dim=1).numpy()


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((STEPS, SAMPLES, NEURONS)), rng.integers(0, CLASSES, SAMPLES)


def spikes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = data(seed)
    return (inputs > 0.3).astype(np.uint8), labels


def two_classes(w: np.ndarray) -> tuple[Callable, Callable]:
    """Logistic loss log(1 + exp(-m)) of the margin m = (2 label - 1) w·x, and its derivative, written out."""

    def margin(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return (2 * labels - 1) * np.einsum("tsn,tn->s", x, w)

    def loss(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.log1p(np.exp(-margin(x, labels)))

    def gradient(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        slope = -(2 * labels - 1) / (1 + np.exp(margin(x, labels)))
        return slope[None, :, None] * w[:, None, :]

    return loss, gradient


# FGSM


@given(SEEDS, st.floats(0, 2))
@settings(max_examples=25, deadline=None)
def test_fgsm_lowers_a_linear_margin_by_epsilon_times_the_l1_norm(seed: int, epsilon: float) -> None:
    """x - epsilon (2y - 1) sign(w) in closed form, and no point of the ball does worse for the classifier."""
    x, labels = data(seed)
    labels = labels % 2
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((STEPS, NEURONS))
    loss, gradient = two_classes(w)
    found = fgsm(x, labels, gradient, epsilon)
    np.testing.assert_allclose(found, x - epsilon * (2 * labels - 1)[None, :, None] * np.sign(w)[:, None, :])
    margin = (2 * labels - 1) * np.einsum("tsn,tn->s", x, w) - epsilon * np.abs(w).sum()
    np.testing.assert_allclose(loss(found, labels), np.log1p(np.exp(-margin)), rtol=1e-10)
    for _ in range(20):
        other = x + epsilon * rng.choice([-1, 1], x.shape) * rng.uniform(0.5, 1, x.shape)
        assert np.all(loss(other, labels) <= loss(found, labels) + 1e-12)


def test_fgsm_clips_only_when_told() -> None:
    x, labels = np.array([[[0.0, 1.0, 0.5]]]), np.array([0])
    up = lambda x, _: np.broadcast_to([-1.0, 1.0, 0.0], x.shape)  # noqa: E731
    assert fgsm(x, labels, up, 0.25).tolist() == [[[-0.25, 1.25, 0.5]]]
    assert fgsm(x, labels, up, 0.25, low=0, high=1).tolist() == [[[0.0, 1.0, 0.5]]]
    assert fgsm(x, labels, up, 0.25, high=1).tolist() == [[[-0.25, 1.0, 0.5]]]


def test_through_the_mean_frame_every_step_moves_alike() -> None:
    """The derivative of L(mean x), by autograd through the mean itself."""
    x, labels = data(0)
    model = SoftmaxLinear(1)
    frame_gradient = lambda frames, y: model.gradient(np.repeat(frames[None], STEPS, 0), y).sum(axis=0)  # noqa: E731
    tensor = torch.tensor(x, requires_grad=True)
    model._loss(tensor.mean(dim=0, keepdim=True).expand(STEPS, -1, -1), labels).sum().backward()
    gradient = through_mean_frame(frame_gradient)
    np.testing.assert_allclose(gradient(x, labels), tensor.grad.numpy(), rtol=1e-12)
    delta = fgsm(x, labels, gradient, 0.1) - x
    assert np.ptp(delta, axis=0).max() < 1e-12
    np.testing.assert_allclose(np.abs(delta), 0.1)


# NES


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_nes_finds_the_gradient_of_a_quadratic(seed: int) -> None:
    """L = |A (x - c)|²/2 per sample has gradient AᵀA (x - c); antithetic pairs cancel the curvature, so cosine > .9."""
    rng = np.random.default_rng(seed)
    x, labels = data(seed)
    a, c = rng.standard_normal((STEPS, NEURONS, NEURONS)), rng.standard_normal(x.shape)

    def loss(x: np.ndarray, _: np.ndarray) -> np.ndarray:
        return 0.5 * np.square(np.einsum("tmn,tsn->tsm", a, x - c)).sum(axis=(0, 2))

    truth = np.einsum("tmn,tmk,tsk->tsn", a, a, x - c)
    everywhere = nes_gradient(x, labels, loss, sigma=0.5, samples=600, seed=seed, over_time=True)
    one_image = nes_gradient(x, labels, loss, sigma=0.5, samples=600, seed=seed)
    for sample in range(SAMPLES):
        for found, true in ((everywhere, truth), (one_image, truth.sum(axis=0, keepdims=True))):
            f, t = found[:, sample].ravel(), true[:, sample].ravel()
            assert f @ t / np.linalg.norm(f) / np.linalg.norm(t) > 0.9
            assert np.linalg.norm(f) == pytest.approx(np.linalg.norm(t), rel=0.35)


@pytest.mark.parametrize("over_time", [False, True])
def test_nes_stays_in_the_ball_counts_its_queries_and_raises_the_loss(over_time: bool) -> None:
    x, labels = data(3)
    model = SoftmaxLinear(4)
    settings = {"sigma": 0.1, "samples": 20, "iterations": 5, "step": 0.03, "seed": 5, "over_time": over_time}
    found = nes(x, labels, model.loss, 0.1, **settings)
    assert isinstance(found, Attacked)
    assert model.calls == found.queries == 2 * 20 * 5
    delta = found.inputs - x
    assert np.abs(delta).max() <= 0.1 + 1e-12
    assert np.abs(delta).max() > 0.09
    assert (np.ptp(delta, axis=0).max() < 1e-12) != over_time
    assert np.all(model.loss(found.inputs, labels) > model.loss(x, labels))
    assert np.array_equal(nes(x, labels, model.loss, 0.1, **settings).inputs, found.inputs)


def test_nes_over_time_reaches_what_fgsm_reaches_on_a_linear_margin() -> None:
    """On a linear margin the optimum of the ball is a corner, which sign steps of 1.5 epsilon in total must find."""
    x, labels = data(6)
    labels = labels % 2
    loss, gradient = two_classes(np.random.default_rng(7).uniform(0.5, 1, (STEPS, NEURONS)))
    best = loss(fgsm(x, labels, gradient, 0.1), labels)
    settings = {"sigma": 0.05, "samples": 400, "iterations": 5, "step": 0.03, "seed": 0, "over_time": True}
    np.testing.assert_allclose(loss(nes(x, labels, loss, 0.1, **settings).inputs, labels), best, rtol=1e-6)


# spikes


@given(SEEDS, st.integers(0, STEPS * NEURONS + 2))
@settings(max_examples=40, deadline=None)
def test_flipped_spikes_are_spikes_within_budget_and_never_help(seed: int, budget: int) -> None:
    """Binary in and out; exactly `budget` flips, or all that have a gain; cross-entropy over logits never falls."""
    x, labels = spikes(seed)
    model = SoftmaxLinear(seed)
    found = flip_spikes(x, labels, model.gradient, budget)
    assert found.dtype == x.dtype
    assert set(np.unique(found)) <= {0, 1}
    slope = model.gradient(x, labels)
    promising = np.sum(np.where(x == 1, -slope, slope) > 0, axis=(0, 2))
    assert np.array_equal(np.sum(found != x, axis=(0, 2)), np.minimum(budget, promising))
    assert np.all(model.loss(found, labels) >= model.loss(x, labels) - 1e-12)


@given(SEEDS, st.integers(0, 4))
@settings(max_examples=15, deadline=None)
def test_flips_are_the_best_of_all_on_a_linear_margin(seed: int, budget: int) -> None:
    """No set of at most `budget` flips lowers the margin further: all of them are tried."""
    x, labels = spikes(seed)
    x, labels = x[:2, :1, :4], labels[:1] % 2
    loss, gradient = two_classes(np.random.default_rng(seed).standard_normal((2, 4)))
    found = float(loss(flip_spikes(x, labels, gradient, budget), labels)[0])
    best = -np.inf
    for size in range(budget + 1):
        for chosen in combinations(np.ndindex(2, 4), size):
            other = x.astype(float)
            for t, n in chosen:
                other[t, 0, n] = 1 - other[t, 0, n]
            best = max(best, float(loss(other, labels)[0]))
    assert found == pytest.approx(best, abs=1e-6)


def test_a_small_epsilon_is_rounded_away_before_a_spike_input() -> None:
    x, labels = spikes(0)
    gradient = SoftmaxLinear(0).gradient
    assert np.array_equal(binarized(fgsm(x, labels, gradient, 0.49)), x)
    raised = gradient(x, labels) > 0
    assert np.array_equal(binarized(fgsm(x, labels, gradient, 0.51)), raised)


def test_only_spikes_are_flipped() -> None:
    x, labels = data(0)
    with pytest.raises(UsageError, match="ND433"):
        flip_spikes(x, labels, SoftmaxLinear(0).gradient, 1)


# robustness


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_robustness_counts_what_is_still_right(batch: int | None) -> None:
    """One neuron, class 1 above 0. Correct by 0.5, 0.2 and, always wrong, -0.1; the fourth has no gradient."""
    x, labels = np.array([[[0.5], [-0.2], [0.1], [0.3]]]), np.array([1, 0, 0, 1])

    def predict(x: np.ndarray) -> np.ndarray:
        return (x[0, :, 0] > 0).astype(np.int64)

    def gradient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(x == 0.3, 0.0, (1 - 2 * y)[None, :, None])

    def attack(x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
        return fgsm(x, y, gradient, epsilon)

    points = robustness(predict, x, labels, attack, [0.0, 0.1, 0.3, 1.0], batch=batch)
    assert [p.epsilon for p in points] == [0.0, 0.1, 0.3, 1.0]
    assert [p.accuracy.hits for p in points] == [3, 3, 2, 1]
    assert {p.accuracy.n for p in points} == {4}
    assert [p.unchanged for p in points] == [4, 1, 1, 1]
    # 3 of 4 by hand: z² = 3.8415, (3 + 1.9207 -+ 1.96 sqrt(.75 + .9604)) / 7.8415
    assert points[0].accuracy.interval == pytest.approx((0.3006, 0.9544), abs=1e-4)


# the counterpart without spikes


def lif(*shape: int, gain: np.ndarray | None = None) -> LIF:
    return LIF(shape, np.array(0.9), np.array(1.0), Reset.ZERO, gain=gain)


def chain(**nodes: object) -> Network:
    """Return the network of `nodes` in a row."""
    names = list(nodes)
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    return Network(nodes, edges, names[0], names[-1])


def dense(rng: np.random.Generator) -> tuple[Network, Callable]:
    w1, b1, w2, b2 = (rng.standard_normal(s) for s in ((7, 6), 7, (4, 7), 4))
    gain, out_gain = rng.uniform(-2, 2, 7), np.array(0.7)
    network = chain(
        x=Input((6,), InputKind.SPIKES),
        a=Linear(w1, b1),
        h=lif(7, gain=gain),
        b=Linear(w2, b2),
        y=lif(4, gain=out_gain),
    )

    def logits(x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(torch.tensor(gain) * F.linear(x, torch.tensor(w1), torch.tensor(b1)))
        return 0.7 * F.linear(hidden, torch.tensor(w2), torch.tensor(b2))

    return network, logits


def convolutional(rng: np.random.Generator) -> tuple[Network, Callable]:
    """Everything asymmetric: stride, padding and dilation by axis, groups; a padded pool that overlaps."""
    w1, b1, w2 = rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6), rng.standard_normal((5, 6 * 3 * 4))
    conv = Conv(w1, (4, 9, 8), (2, 1), (1, 0), (1, 2), 2, b1)
    assert conv.shape == (6, 5, 6)
    pool = AveragePool((6, 5, 6), (3, 2), (2, 2), (1, 1))
    assert pool.shape == (6, 3, 4)
    network = chain(
        x=Input((4, 9, 8), InputKind.GRADED),
        a=conv,
        h=lif(6, 5, 6),
        p=pool,
        f=Reshape((6, 3, 4), (72,)),
        b=Linear(w2),
        y=lif(5),
    )

    def logits(x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(F.conv2d(x, torch.tensor(w1), torch.tensor(b1), (2, 1), (1, 0), (1, 2), 2))
        return F.avg_pool2d(h, (3, 2), (2, 2), (1, 1)).flatten(1) @ torch.tensor(w2).T

    return network, logits


def pooled(rng: np.random.Generator) -> tuple[Network, Callable]:
    """A 1-D convolution, a scale per channel, an overlapping padded max pool, and a sparse output."""
    w1, scale, shift = rng.standard_normal((3, 2, 3)), rng.standard_normal(3), rng.standard_normal(3)
    w2 = rng.standard_normal((4, 12)) * (rng.random((4, 12)) < 0.5)
    w2[:, 0] = 1.0
    rows, columns = np.nonzero(w2)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=4))])
    pool = MaxPool((3, 7), (3,), (2,), (1,))
    assert pool.shape == (3, 4)
    network = chain(
        x=Input((2, 9), InputKind.GRADED),
        a=Conv(w1, (2, 9), (1,), (0,), (1,)),
        s=Scale(scale, shift, (3, 7)),
        p=pool,
        h=lif(3, 4),
        b=SparseLinear(w2[rows, columns], columns.astype(np.int32), indptr, (3, 4), (4,)),
        y=lif(4),
    )

    def logits(x: torch.Tensor) -> torch.Tensor:
        a = torch.tensor(scale)[:, None] * F.conv1d(x, torch.tensor(w1)) + torch.tensor(shift)[:, None]
        return torch.relu(F.max_pool1d(a, 3, 2, 1)).flatten(1) @ torch.tensor(w2).T

    return network, logits


def recurrent(rng: np.random.Generator, steps: int) -> tuple[Network, Callable]:
    """Two recurrent layers and a recurrent output, with a skip connection."""
    w, v = (
        [rng.standard_normal(s) * 0.5 for s in ((6, 5), (6, 6), (3, 6))],
        [rng.standard_normal((n, n)) * 0.5 for n in (6, 6, 3)],
    )
    c, skip = rng.standard_normal(6) * 0.3, rng.standard_normal((3, 6))
    nodes = {"x": Input((5,), InputKind.GRADED)}
    edges = []
    for i, before in enumerate(("x", "h0", "h1")):
        nodes |= {f"w{i}": Linear(w[i]), f"v{i}": Linear(v[i], c if i == 0 else None), f"h{i}": lif(len(v[i]))}
        edges += [Edge(before, f"w{i}"), Edge(f"w{i}", f"h{i}"), Edge(f"h{i}", f"v{i}", 1), Edge(f"v{i}", f"h{i}")]
    nodes["skip"] = Linear(skip)
    edges += [Edge("h0", "skip"), Edge("skip", "h2")]

    def logits(x: torch.Tensor) -> torch.Tensor:
        t = [torch.tensor(m) for m in w], [torch.tensor(m) for m in v]
        a = [torch.zeros(len(x), len(m), dtype=torch.float64) for m in v]
        for _ in range(steps + 1):
            h0 = torch.relu(x @ t[0][0].T + a[0] @ t[1][0].T + torch.tensor(c))
            h1 = torch.relu(h0 @ t[0][1].T + a[1] @ t[1][1].T)
            z = h1 @ t[0][2].T + a[2] @ t[1][2].T + h0 @ torch.tensor(skip).T
            a = [h0, h1, torch.relu(z)]
        return z

    return Network(nodes, tuple(edges), "x", "h2"), logits


CASES = {
    "dense": (dense, 0),
    "convolutional": (convolutional, 0),
    "pooled": (pooled, 0),
    **{f"recurrent {k}": (lambda rng, k=k: recurrent(rng, k), k) for k in (0, 1, 3)},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_counterpart_is_the_network_of_relus_and_its_gradient_autograds(name: str, seed: int) -> None:
    """Logits, loss and the derivative of each sample's loss by its own frame equal PyTorch's to 1e-10."""
    build, steps = CASES[name]
    rng = np.random.default_rng(seed)
    network, logits = build(rng)
    counterpart = ann_counterpart(network, recurrent_steps=steps)
    frames = rng.standard_normal((8, *network.input_node.shape))
    labels = rng.integers(0, network.nodes[network.output].size, 8)
    x = torch.tensor(frames, requires_grad=True)
    z = logits(x)
    loss = F.cross_entropy(z, torch.tensor(labels), reduction="none")
    slope = torch.autograd.grad(loss.sum(), x)[0].numpy()
    assert np.abs(slope).max() > 1e-2
    np.testing.assert_allclose(counterpart.logits(frames), z.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(counterpart.loss(frames, labels), loss.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(counterpart.gradient(frames, labels), slope, rtol=1e-10, atol=1e-10)


def test_one_recurrent_layer_makes_fixed_point_iterations() -> None:
    """a <- ReLU(Wx + Va), K times from ReLU(Wx), read out linearly."""
    rng = np.random.default_rng(0)
    w, v, u = rng.standard_normal((6, 4)), rng.standard_normal((6, 6)) / 4, rng.standard_normal((3, 6))
    nodes = {
        "x": Input((4,), InputKind.GRADED),
        "w": Linear(w),
        "v": Linear(v),
        "h": lif(6),
        "u": Linear(u),
        "y": lif(3),
    }
    edges = (Edge("x", "w"), Edge("w", "h"), Edge("h", "v", 1), Edge("v", "h"), Edge("h", "u"), Edge("u", "y"))
    x = rng.standard_normal((5, 4))
    for k in (0, 1, 4):
        a = np.maximum(x @ w.T, 0)
        for _ in range(k):
            a = np.maximum(x @ w.T + a @ v.T, 0)
        counterpart = ann_counterpart(Network(nodes, edges, "x", "y"), recurrent_steps=k)
        np.testing.assert_allclose(counterpart.logits(x), a @ u.T, rtol=1e-12)


def test_a_delay_without_a_loop_is_no_recurrence() -> None:
    """The same network with every forward connection a step late has the same mean frame, so the same counterpart."""
    network, _ = dense(np.random.default_rng(0))
    late = Network(network.nodes, tuple(Edge(e.source, e.target, 1) for e in network.edges), "x", "y")
    frames, labels = np.random.default_rng(1).standard_normal((3, 6)), np.array([0, 1, 2])
    found, expected = (ann_counterpart(n).gradient(frames, labels) for n in (late, network))
    assert np.array_equal(found, expected)


def test_a_confident_network_still_has_a_gradient() -> None:
    """Logits 100 apart: 1 - p rounds to 0, yet the slope is e^-100 (w_1 - w_0), sign included."""
    weight = np.array([[100.0, 3.0], [0.0, 2.0]])
    counterpart = ann_counterpart(chain(x=Input((2,), InputKind.GRADED), w=Linear(weight), y=lif(2)))
    slope = counterpart.gradient(np.array([[1.0, 0.0]]), np.array([0]))
    np.testing.assert_allclose(slope, np.exp(-100.0) * np.array([[-100.0, -1.0]]), rtol=1e-12)


def test_the_counterpart_attacks_a_spiking_input() -> None:
    """Whole way: mean frame, one image added to every step, accuracy falls to what a linear margin allows."""
    counterpart = ann_counterpart(chain(x=Input((2,), InputKind.GRADED), w=Linear(np.eye(2)), y=lif(2)))
    x = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]])
    labels = np.array([0, 1])

    def attack(x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
        return fgsm(x, y, through_mean_frame(counterpart.gradient), epsilon)

    def predict(x: np.ndarray) -> np.ndarray:
        return counterpart.logits(x.mean(axis=0)).argmax(axis=1)

    # means (1, 0) and (.5, 1): the second's margin of .5 is gone beyond epsilon .25, the first's beyond .5
    points = robustness(predict, x, labels, attack, [0.2, 0.3, 0.6])
    assert [p.accuracy.hits for p in points] == [2, 1, 0]
    assert [p.unchanged for p in points] == [0, 0, 0]


# refusals


def test_without_a_path_there_is_no_counterpart() -> None:
    """a and b only exchange delayed spikes: b hears the input a sweep later."""
    nodes = {"x": Input((2,), InputKind.GRADED), "w": Linear(np.eye(2)), "a": lif(2), "b": lif(2)}
    edges = (Edge("x", "w"), Edge("w", "a"), Edge("a", "b", 1), Edge("b", "a", 1))
    network = Network(nodes, edges, "x", "b")
    with pytest.raises(NetworkError, match="ND434"):
        ann_counterpart(network)
    x, labels = np.array([[1.0, 2.0]]), np.array([0])
    assert ann_counterpart(network, recurrent_steps=1).logits(x).tolist() == x.tolist()
    assert np.any(ann_counterpart(network, recurrent_steps=1).gradient(x, labels))
    with pytest.raises(NetworkError, match="ND434"):
        ann_counterpart(Network(nodes, edges[:2], "x", "a"))


def small() -> Counterpart:
    return ann_counterpart(chain(x=Input((2,), InputKind.GRADED), w=Linear(np.eye(2)), y=lif(2)))


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("ND430", lambda x, y, m: fgsm(x, y[:-1], m.gradient, 0.1)),
        ("ND430", lambda x, y, m: fgsm(x, y - 9, m.gradient, 0.1)),
        ("ND430", lambda x, y, m: fgsm(x, y.astype(float), m.gradient, 0.1)),
        ("ND430", lambda x, y, m: fgsm(x[:0], y, m.gradient, 0.1)),
        ("ND430", lambda x, y, m: fgsm(x * np.nan, y, m.gradient, 0.1)),
        ("ND430", lambda x, y, m: small().gradient(x[0], y)),
        ("ND430", lambda x, y, m: small().gradient(np.ones((1, 2)), np.array([2]))),
        ("ND431", lambda x, y, m: fgsm(x, y, m.gradient, -0.1)),
        ("ND431", lambda x, y, m: fgsm(x, y, m.gradient, np.nan)),
        ("ND431", lambda x, y, m: fgsm(x, y, m.gradient, 0.1, low=1, high=0)),
        ("ND431", lambda x, y, m: nes_gradient(x, y, m.loss, sigma=0.0, samples=1, seed=0)),
        ("ND431", lambda x, y, m: nes_gradient(x, y, m.loss, sigma=1.0, samples=0, seed=0)),
        ("ND431", lambda x, y, m: nes_gradient(x, y, m.loss, sigma=1.0, samples=1.5, seed=0)),
        ("ND431", lambda x, y, m: flip_spikes(x > 0, y, m.gradient, -1)),
        ("ND431", lambda x, y, m: robustness(m.predict, x, y, lambda x, y, e: x, [0.1], batch=0)),
        ("ND431", lambda x, y, m: ann_counterpart(small().network, recurrent_steps=-1)),
        ("ND432", lambda x, y, m: fgsm(x, y, lambda x, y: m.gradient(x, y)[:1], 0.1)),
        ("ND432", lambda x, y, m: fgsm(x, y, lambda x, y: x * np.nan, 0.1)),
        ("ND432", lambda x, y, m: fgsm(x, y, through_mean_frame(lambda x, y: x[:1]), 0.1)),
        ("ND432", lambda x, y, m: nes_gradient(x, y, lambda x, y: 1.0, sigma=1.0, samples=1, seed=0)),
        ("ND432", lambda x, y, m: robustness(m.predict, x, y, lambda x, y, e: x[:1], [0.1])),
        ("ND432", lambda x, y, m: robustness(lambda x: m.predict(x)[:1], x, y, lambda x, y, e: x, [0.1])),
    ],
)
def test_what_makes_no_sense_is_refused(code: str, call: Callable) -> None:
    x, labels = data(0)
    with pytest.raises(UsageError, match=code):
        call(x, labels, SoftmaxLinear(0))
