"""Descriptions of networks: what they mean, and that every rule trains what they describe or says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from neurodeploy.datasets import Encoding
from neurodeploy.errors import NeurodeployError, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import AveragePool, Conv, Input, InputKind, Linear
from neurodeploy.learning import RULES, architectures, rings, training


def chain(arch: str, shape: tuple[int, ...] = (64,)) -> Network:
    neurons = architectures.Neurons(0.9, 1.0)
    return architectures.build(arch, Input(shape, InputKind.GRADED), 10, neurons, 0)


def ring(arch: str, shape: tuple[int, ...] = (64,)) -> Network:
    source = Input(shape, InputKind.GRADED)
    return rings.build(arch, source, 10, rings.Neurons(), 0, mean=(0.0,), std=(1.0,), unit=True)


def refused(build: Any, arch: str, shape: tuple[int, ...] = (64,)) -> str:
    with pytest.raises(UsageError) as caught:
        build(arch, shape)
    (finding,) = caught.value.findings
    assert finding.fix
    return finding.code


def sizes(network: Network) -> list[int]:
    return [neuron.size for neuron in network.populations.values()]


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("64-32-10", [32, 10]),
        ("32-10", [32, 10]),
        ("32", [32, 10]),
        ("64-32", [64, 32, 10]),
        ("64", [64, 10]),
        ("64-10", [10]),
        ("10", [10, 10]),
        ("64r-10", [64, 10]),
        ("64-10r", [64, 10, 10]),
        ("64-64-10", [64, 10]),
    ],
)
def test_the_inputs_size_is_written_only_where_the_outputs_is(arch: str, expected: list[int]) -> None:
    """784-128-10 names all three sizes; without the output at the end, every number is a hidden layer."""
    assert sizes(chain(arch)) == expected


NONSENSE = ("0", "8-0-8", "08", "P0", "P100", "12C0", "0C3", "12C3/0", "12C9:0", "4C3-P9", "8-P2", "8-4C3", "64-64-4C3")


@pytest.mark.parametrize("build", [chain, ring])
@pytest.mark.parametrize("arch", [*NONSENSE, "", "-", "8-", "8--8", "x", "٣"])
def test_what_is_no_network_is_refused(build: Any, arch: str) -> None:
    """Nothing of size zero, nothing larger than what it reads, no kernels over neurons that lie nowhere."""
    assert refused(build, arch) == "ND071"


@pytest.mark.parametrize("build", [chain, ring])
@pytest.mark.parametrize("arch", ["0f", "8f0", "8C3-8C3f4", "8C3-8C3f0"])
def test_feedback_of_no_or_even_size_is_refused(build: Any, arch: str) -> None:
    assert refused(build, arch) == "ND071"


@pytest.mark.parametrize("arch", ["8r", "8-8r", "8f-8", "P2f", "4C3f-4C3", "4C3/2-4C2f"])
def test_what_is_no_ring_is_refused(arch: str) -> None:
    """Recurrence, feedback from elsewhere than the last hidden layer, from none, or to smaller maps."""
    assert refused(ring, arch) == "ND081"


def test_feedback_kernels_have_the_size_that_is_written() -> None:
    for arch, size in (("4C3-4C3f", 3), ("4C3-4C3f5", 5), ("4C3/2-4C3/2f1", 1)):
        feedback: Any = ring(arch).nodes["feedback"]
        assert feedback.weight.shape[2:] == (size, size)


@pytest.mark.parametrize("build", [chain, ring])
@pytest.mark.parametrize("arch", ["4C3", "P2-8", "32C3-P2-64C3-P2"])
def test_only_pictures_are_read_as_pictures(build: Any, arch: str) -> None:
    """Digits and MNIST come flat; QTDB's 4 channels, 16 of digits by delta and 32 of FSDD are no squares of pixels."""
    for pixels, side in ((64, 8), (784, 28)):
        nodes = build(arch, (pixels,)).nodes.values()
        assert next(n for n in nodes if isinstance(n, Conv | AveragePool)).input_shape == (1, side, side)
    for channels in (4, 16, 32, 40, 700):
        assert refused(build, arch, (channels,)) == "ND071"


@pytest.mark.parametrize(("arch", "side"), [("4C3", 8), ("4C5", 8), ("4C2", 9), ("4C3:0", 6), ("4C3/2", 4)])
def test_odd_kernels_keep_the_size(arch: str, side: int) -> None:
    """Padded by floor(k / 2), unless the padding is given."""
    assert chain(arch).populations["lif1"].shape == (4, side, side)


def test_pools_stand_before_the_layer_that_reads_them() -> None:
    network = chain("P2-8")
    (first, _) = [node for node in network.nodes.values() if isinstance(node, Linear)]
    assert first.weight.shape == (8, 16)


STDP, RINGS, CHAINS = ("stdp", "rstdp"), ("spide", "ide"), tuple(sorted(set(RULES) - {"spide", "ide"}))
REFUSED: dict[str, dict[tuple[str, ...], str]] = {
    "8": {},
    "8r": {RINGS: "ND081", STDP: "ND085", ("convert",): "ND088"},
    "8-8": {STDP: "ND085"},
    "4C3": {STDP: "ND085", ("eprop",): "ND072"},
    "4C3-P2": {STDP: "ND085", ("eprop",): "ND072"},
    "8f": {CHAINS: "ND071"},
    "P2-8": {},
    "64-10": {RINGS: "ND080", STDP: "ND085"},
}
"""Architecture -> which rules refuse it, and by which code."""


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("arch", REFUSED)
def test_every_rule_trains_an_architecture_or_says_why_not(arch: str, rule: str) -> None:
    """What comes out is a network of ten output neurons or a refusal with a code and a remedy, nothing else."""
    encoding = Encoding("direct", 4)
    chosen = training.settings(
        rule, "digits", arch=arch, epochs=1, batch=40, encoding=encoding, train_samples=40, test_samples=40
    )
    codes = [code for rules, code in REFUSED[arch].items() if rule in rules]
    if codes:
        with pytest.raises(NeurodeployError) as caught:
            training.train(chosen)
        assert codes == [finding.code for finding in caught.value.findings]
        assert all(finding.fix for finding in caught.value.findings)
        return
    outcome = training.train(chosen)
    assert outcome.network.populations[outcome.network.output].shape == (10,)
