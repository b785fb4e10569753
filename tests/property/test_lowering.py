"""Every node means what PyTorch means by it, and no rewrite changes what a network computes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.engine.real import apply, run_real
from neurodeploy.errors import UnsupportedError
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
from neurodeploy.lowering import lower

seeds = st.integers(0, 2**32 - 1)


def dyadic(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return random multiples of 1/64: their sums and products are exact, so equality can be asked for."""
    return rng.integers(-96, 128, shape) / 64


@given(seeds, st.sampled_from([1, 2]), st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_conv_and_pools_are_torchs(seed: int, dimensions: int, groups: int) -> None:
    """apply() equals torch's own layers, stride, padding, dilation and groups drawn at random."""
    rng = np.random.default_rng(seed)
    space = tuple(int(n) for n in rng.integers(6, 10, dimensions))
    kernel = tuple(int(n) for n in rng.integers(1, 4, dimensions))
    stride = tuple(int(n) for n in rng.integers(1, 3, dimensions))
    padding = tuple(k // 2 for k in kernel)
    dilation = tuple(int(n) for n in rng.integers(1, 3, dimensions))
    x = rng.normal(size=(3, 4, *space))
    tensor = torch.from_numpy(x)
    weight, bias = rng.normal(size=(6, 4 // groups, *kernel)), rng.normal(size=6)
    functional = torch.nn.functional
    convolve = (functional.conv1d, functional.conv2d)[dimensions - 1]
    expected = convolve(tensor, torch.from_numpy(weight), torch.from_numpy(bias), stride, padding, dilation, groups)
    node = Conv(weight, (4, *space), stride, padding, dilation, groups, bias)
    assert node.shape == tuple(expected.shape[1:])
    np.testing.assert_allclose(apply(node, x.reshape(3, -1)), expected.reshape(3, -1), atol=1e-12)
    for kind, pool in ((AveragePool, "avg"), (MaxPool, "max")):
        pooled = getattr(functional, f"{pool}_pool{dimensions}d")(tensor, kernel, stride, padding)
        node = kind((4, *space), kernel, stride, padding)
        assert node.shape == tuple(pooled.shape[1:])
        np.testing.assert_allclose(apply(node, x.reshape(3, -1)), pooled.reshape(3, -1), atol=1e-12)


CHAINS = {
    "conv, pool": ["conv", "average"],
    "pool, conv": ["average", "conv"],
    "conv, scale, pool": ["conv", "scale", "average"],
    "scale, conv": ["scale", "conv"],
    "pool": ["average"],
    "padded pool, conv": ["padded average", "conv"],
    "conv, padded pool": ["conv", "padded average"],
    "conv, flatten": ["conv", "flatten"],
    "flatten, linear, scale": ["flatten", "linear", "scale"],
    "pool, flatten, linear": ["average", "flatten", "linear"],
    "conv, conv": ["conv", "conv"],
    "conv, reshape, pool": ["conv", "turn", "average"],
    "pool, reshape, conv": ["average", "turn", "conv"],
    "conv, reshape, scale": ["conv", "turn", "scale"],
    "conv, flatten, scale": ["conv", "flatten", "scale"],
    "reshape, conv": ["turn", "conv"],
    "nothing": [],
}


def chain(rng: np.random.Generator, kinds: list[str]) -> list:
    """Return nodes of the given kinds, each fitting the one before, from a (2, 9, 8) image."""
    nodes, shape = [], (2, 9, 8)
    for kind in kinds:
        match kind:
            case "conv":
                padding = tuple(int(n) for n in rng.integers(0, 2, 2))
                stride = tuple(int(n) for n in rng.integers(1, 3, 2))
                node = Conv(dyadic(rng, 3, shape[0], 2, 3), shape, stride, padding, (1, 1), 1, dyadic(rng, 3))
            case "average":
                node = AveragePool(shape, (2, 2), (2, 2), (0, 0))
            case "padded average":
                node = AveragePool(shape, (2, 2), (2, 2), (1, 1))
            case "scale":
                node = Scale(dyadic(rng, shape[0]), dyadic(rng, shape[0]), shape)
            case "turn":
                node = Reshape(shape, (shape[1], shape[0], shape[2]))
            case "flatten":
                node = Reshape(shape, (int(np.prod(shape)),))
            case "linear":
                node = Linear(dyadic(rng, 7, shape[0]), dyadic(rng, 7))
        nodes.append(node)
        shape = node.shape
    return nodes


@pytest.mark.parametrize("kinds", CHAINS.values(), ids=CHAINS.keys())
@pytest.mark.parametrize("seed", range(4))
def test_lowering_preserves_every_spike(kinds: list[str], seed: int) -> None:
    """Canonical form, one map per path, fires exactly the original's spikes; values are dyadic, so exactly is exact."""
    rng = np.random.default_rng(seed)
    nodes = chain(rng, kinds)
    shape = nodes[-1].shape if nodes else (2, 9, 8)
    names = [f"n{i}" for i in range(len(nodes))]
    first = LIF(shape, np.array(0.75), np.array(1.0), Reset.SUBTRACT_NEXT_STEP)
    size = int(np.prod(shape))
    read = Linear(dyadic(rng, 5, size) / 4, dyadic(rng, 5))
    last = LIF((5,), np.array(0.5), np.array(1.0), Reset.ZERO, gain=np.array(0.5))
    path = ["in", *names, "a", "read", "b"]
    network = Network(
        dict(zip(path, [Input((2, 9, 8), InputKind.SPIKES), *nodes, first, read, last], strict=True)),
        tuple(Edge(a, b) for a, b in itertools.pairwise(path)),
        "in",
        "b",
    )
    x = (rng.random((6, 3, 2, 9, 8)) < 0.3).astype(np.uint8)
    before, after = run_real(network, x)[0], run_real(lower(network), x)[0]
    assert before.spikes["a"].any()
    for name in ("a", "b"):
        np.testing.assert_array_equal(after.spikes[name], before.spikes[name])
    lowered = lower(network)
    assert {type(lowered.nodes[edge.source]) for edge in lowered.incoming("a")} <= {Linear, SparseLinear, Conv}
    assert all(isinstance(lowered.nodes[e.source], Input | LIF) for e in lowered.edges if e.target not in ("a", "b"))


def pooled_spikes(source_kind: InputKind) -> Network:
    return Network(
        {
            "in": Input((2, 6, 6), source_kind),
            "pool": MaxPool((2, 6, 6), (2, 2), (2, 2), (0, 0)),
            "read": Linear(np.eye(4, 18)),
            "lif": LIF((4,), np.array(0.5), np.array(0.75), Reset.ZERO),
        },
        (Edge("in", "pool"), Edge("pool", "read"), Edge("read", "lif")),
        "in",
        "lif",
    )


def test_max_pool_over_spikes_becomes_logical_ors() -> None:
    """The maximum of spikes is kept exactly, as an extra population."""
    network = pooled_spikes(InputKind.SPIKES)
    x = (np.random.default_rng(0).random((9, 4, 2, 6, 6)) < 0.2).astype(np.uint8)
    lowered = lower(network)
    assert "pool" in lowered.populations
    before, after = run_real(network, x)[0], run_real(lowered, x)[0]
    np.testing.assert_array_equal(after.spikes["lif"], before.spikes["lif"])
    expected = torch.nn.functional.max_pool2d(torch.from_numpy(x.reshape(-1, 2, 6, 6)).float(), 2).reshape(
        9, 4, 2, 3, 3
    )
    np.testing.assert_array_equal(after.spikes["pool"], expected.numpy())


def test_max_pool_over_currents_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="ND130"):
        lower(pooled_spikes(InputKind.GRADED))


def waiting(delays: tuple[int, int, int], bias: float) -> Network:
    """Return input -> a -> b -> population, a with a bias, the edges waiting so many steps."""
    rng = np.random.default_rng(1)
    nodes = {
        "in": Input((3,), InputKind.SPIKES),
        "a": Linear(dyadic(rng, 4, 3), np.full(4, bias)),
        "b": Linear(dyadic(rng, 2, 4)),
        "lif": LIF((2,), np.asarray(0.75), np.asarray(0.5), Reset.ZERO),
    }
    names = list(nodes)
    edges = tuple(Edge(one, two, delay) for one, two, delay in zip(names[:-1], names[1:], delays, strict=True))
    return Network(nodes, edges, "in", "lif")


@pytest.mark.parametrize(
    ("delays", "bias"), [((1, 0, 0), 0.5), ((1, 0, 0), 0.0), ((0, 1, 0), 0.0), ((0, 0, 1), 0.0), ((0, 0, 0), 0.5)]
)
def test_a_delay_moves_to_the_front_where_that_changes_nothing(delays: tuple[int, int, int], bias: float) -> None:
    network = waiting(delays, bias)
    x = (np.random.default_rng(2).random((9, 5, 3)) < 0.4).astype(np.uint8)
    before, after = (run_real(each, x)[0] for each in (network, lower(network)))
    assert before.spikes["lif"].any()
    np.testing.assert_array_equal(after.spikes["lif"], before.spikes["lif"])


@pytest.mark.parametrize(("delays", "bias"), [((0, 1, 0), 0.5), ((0, 0, 1), 0.5), ((1, 0, 1), 0.0), ((1, 1, 1), 0.0)])
def test_a_delay_that_cannot_move_is_refused(delays: tuple[int, int, int], bias: float) -> None:
    """Behind a bias it would let the bias in a step early; two steps do not fit an edge."""
    with pytest.raises(UnsupportedError, match="ND132"):
        lower(waiting(delays, bias))
