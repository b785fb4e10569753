"""Laws of a ring's connections: the way back is the transpose, learning is the product, and a node says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.engine.real import apply
from neurodeploy.ir.nodes import AveragePool, Conv, Input, InputKind, Linear
from neurodeploy.learning.connections import Connection, Convolution, Dense, Pool, TransposedConvolution
from neurodeploy.learning.equilibrium import counting
from neurodeploy.learning.rings import Neurons, _spread
from neurodeploy.learning.spide import SPIDE, Couple, Options, Ternary, architecture

DOUBLE = torch.float64
seeds = st.integers(0, 2**32 - 1)


@st.composite
def connections(draw: Any) -> tuple[Connection, list[Any]]:
    """Return any connection with random weights and the nodes that say the same."""
    random = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["dense", "convolution", "transposed", "pool"]))
    reads, maps = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    if kind == "dense":
        node: Any = Linear(random.normal(size=(maps + 1, reads + 2)), random.normal(size=maps + 1))
        return Dense(node, node.shape, (reads + 2,), DOUBLE), [node]
    kernel = draw(st.sampled_from([1, 3, 5]))
    if kind == "convolution":
        stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2))
        height, width = draw(st.integers(kernel, 9)), draw(st.integers(kernel, 9))
        weight, bias = random.normal(size=(maps, reads, kernel, kernel)), random.normal(size=maps)
        node = Conv(weight, (reads, height, width), (stride,) * 2, (padding,) * 2, (1, 1), 1, bias)
        return Convolution(node, DOUBLE), [node]
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    if kind == "transposed":
        ratio = draw(st.integers(2, 3))
        kernel = max(kernel, 3)
        wide = (reads, height * ratio, width * ratio)
        weight = random.normal(size=(maps, reads, kernel, kernel))
        node = Conv(weight, wide, (1, 1), (kernel // 2,) * 2, (1, 1))
        spread = _spread((reads, height, width), ratio)
        return TransposedConvolution(node, ratio, (reads, height, width), DOUBLE), [spread, node]
    size = draw(st.integers(1, min(height, width)))
    node = AveragePool((reads, height, width), (size, size), (size, size), (0, 0))
    return Pool(node), [node]


def drawn(connection: Connection, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed % 2**31)
    connection.begin(2, 0.0, random)
    x, e = (torch.randn(2, *form, generator=random, dtype=DOUBLE) for form in (connection.reads, connection.shape))
    return x, e


def linear(connection: Connection, x: torch.Tensor) -> torch.Tensor:
    return (connection.current(x) - connection.current(torch.zeros_like(x))).detach()


@given(connections(), seeds)
@settings(max_examples=120, deadline=None)
def test_the_way_back_is_the_transpose(found: tuple[Connection, list[Any]], seed: int) -> None:
    """<W x, e> = <x, W^T e>."""
    x, e = drawn(found[0], seed)
    ahead = float((linear(found[0], x) * e).sum())
    assert np.isclose(ahead, float((x * found[0].transposed(e)).sum()), rtol=1e-9, atol=1e-9)


@given(connections(), seeds)
@settings(max_examples=120, deadline=None)
def test_what_a_connection_learns_is_the_derivative_of_what_it_passes(
    found: tuple[Connection, list[Any]], seed: int
) -> None:
    """<W, products(e, x)> = <W x, e>, since W x is linear in W; a pool learns nothing."""
    connection = found[0]
    x, e = drawn(connection, seed)
    ahead = float((linear(connection, x) * e).sum())
    if connection.weight is not None:
        assert np.isclose(ahead, float((connection.now * connection.products(e, x)).sum()), rtol=1e-9, atol=1e-9)
    assert isinstance(connection, Pool) == (connection.weight is None)


@given(connections(), seeds)
@settings(max_examples=80, deadline=None)
def test_a_connection_is_the_node_it_says_it_is(found: tuple[Connection, list[Any]], seed: int) -> None:
    """Its current is what the float engine makes of its node, and it writes the node it was built from."""
    connection, nodes = found
    x, _ = drawn(connection, seed)
    y = x.flatten(1).numpy()
    for node in [*nodes[:-1], connection.node()]:
        y = apply(node, y).reshape(2, -1)
    assert np.allclose(connection.current(x).detach().flatten(1).numpy(), y, rtol=1e-9, atol=1e-9)
    if connection.weight is not None:
        assert np.array_equal(connection.node().weight, nodes[-1].weight)


@given(connections())
@settings(max_examples=60, deadline=None)
def test_synapses_are_the_pairs_a_unit_reaches(found: tuple[Connection, list[Any]]) -> None:
    """The count is that of the nonzero entries of the matrix, for kernels without zeros."""
    connection, nodes = found
    size = int(np.prod(connection.reads))
    y = np.eye(size)
    for node in nodes:
        y = apply(node, y).reshape(size, -1)
    x = np.zeros((1, size))
    for node in nodes:
        x = apply(node, x).reshape(1, -1)
    assert connection.synapses() == np.count_nonzero(y != x)


@given(seeds, st.sampled_from([1.0, 0.95, 0.5]), st.floats(0.2, 2.0), st.floats(0.1, 1.0))
@settings(max_examples=40, deadline=None)
def test_a_couple_is_a_ternary_neuron_at_any_threshold_and_quantum(
    seed: int, leak: float, quantum: float, share: float
) -> None:
    random = torch.Generator().manual_seed(seed % 2**31)
    like = torch.zeros(8, dtype=DOUBLE)
    neurons = [kind(like, share * quantum, quantum, leak) for kind in (Ternary, Couple)]
    for _ in range(60):
        current = quantum * torch.randn(8, generator=random, dtype=DOUBLE)
        one, other = (neuron.step(current).clone() for neuron in neurons)
        assert torch.equal(one, other)


@given(seeds, st.floats(0.1, 3.0))
@settings(max_examples=40, deadline=None)
def test_a_ternary_neuron_fires_at_its_threshold_exactly(seed: int, threshold: float) -> None:
    """q = [p >= V2] - [p <= -V2], at the threshold itself and one rounding error below it too."""
    near = [threshold, np.nextafter(threshold, 0), np.nextafter(threshold, 9), 0.0]
    p = torch.tensor([*near, *(-x for x in near), *np.random.default_rng(seed).normal(size=8)], dtype=DOUBLE)
    q = Ternary(p, threshold, 1.0, 1.0).step(p)
    assert torch.equal(q, (p >= threshold).to(DOUBLE) - (p <= -threshold).to(DOUBLE))


@given(seeds, st.sampled_from(["6f", "6-5f", "6-5"]), st.sampled_from([1.0, 0.9]))
@settings(max_examples=15, deadline=None)
def test_a_batch_is_its_samples_one_by_one(seed: int, arch: str, leak: float) -> None:
    """No sample hears of another, forward or backward."""
    seed %= 2**31
    options = Options(dropout=0.0, leak=leak, back_steps=20)
    spide = SPIDE(architecture(arch, Input((5,), InputKind.GRADED), 3, options, seed), options, seed, DOUBLE)
    x = 2 * torch.randn(12, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    together = spide.ring.settle(x)
    masks = together.masks(spide.tolerance)
    gradient = torch.randn(together.rates[-1].shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    betas = spide.errors(gradient, masks).betas
    for k in range(3):
        alone = spide.ring.settle(x[:, k : k + 1])
        own = spide.errors(gradient[k : k + 1], [m[k : k + 1] for m in masks]).betas
        for at, beta in enumerate(own):
            assert torch.allclose(alone.rates[at][0], together.rates[at][k], atol=1e-12)
            assert torch.allclose(beta[0], betas[at][k], atol=1e-12)


@given(seeds, st.integers(5, 80), st.floats(0.1, 20.0), st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_counting_is_blind_to_scale_and_common_shift(seed: int, steps: int, scale: float, shift: float) -> None:
    """The counting classifier of s (C a + c + h) decides as that of C a + c."""
    random = np.random.default_rng(seed)
    weight, bias, rates = random.normal(size=(4, 6)), random.normal(size=4), random.uniform(size=(30, 6))
    decisions = []
    for w, b in ((weight, bias), (scale * weight, scale * (bias + shift))):
        counted, _ = counting(Linear(w, b), rates @ w.T + b, steps)
        decisions.append(rates @ counted.weight.T + counted.bias)
    assert np.allclose(decisions[0], decisions[1], rtol=1e-6, atol=1e-6)


def test_the_forward_neurons_default_to_an_unbiased_reset() -> None:
    assert Neurons().threshold == Neurons().quantum / 2
    assert Options().back_threshold == Options().back_quantum / 2
