"""What Loihi can say: design rules over a lowered network, each a small function that yields findings.

`neurodeploy explain CODE` prints the explanation of each code.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.errors import Finding
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import Conv


def thresholds_are_positive(network: Network) -> Iterator[Finding]:
    """vth is an unsigned 17-bit number."""
    for name, node in network.populations.items():
        if np.any(node.threshold <= 0):
            yield Finding(
                "ND140",
                network.place(name),
                f"threshold {float(node.threshold.min()):g}",
                "Loihi's threshold register is unsigned, and a neuron that fires at rest never stops",
                "train with a positive threshold",
            )


def decays_are_fractions(network: Network) -> Iterator[Finding]:
    """A state keeps between none and all of itself."""
    for name, node in network.populations.items():
        for symbol, value in (("beta", node.beta), ("alpha", node.alpha)):
            if value is not None and (np.any(value < 0) or np.any(value > 1)):
                yield Finding(
                    "ND141",
                    network.place(name),
                    f"{symbol} between {float(value.min()):g} and {float(value.max()):g}",
                    "a 12-bit decay keeps a fraction of 0 to 1",
                    f"clamp {symbol} to [0, 1] when training, as snnTorch does",
                )


def paths_have_equal_length(network: Network) -> Iterator[Finding]:
    """Every projection takes one step, so all undelayed paths into a population must have equally many."""
    latency = latencies(network)
    for name in network.populations:
        for edge, source in _sources(network, name):
            expected = latency[source] + 1 - edge.delay_steps
            if expected != latency[name]:
                yield Finding(
                    "ND142",
                    f"{network.place(source)} -> {network.place(name)}",
                    f"arrives after {expected} steps where another path arrives after {latency[name]}",
                    "each projection of Loihi takes one step, so paths of different length fall out of step",
                    "give the paths equally many spiking layers, or feed recurrence back within one layer only",
                )


def convolutions_are_at_most_two_dimensional(network: Network) -> Iterator[Finding]:
    """Lava's Conv has two spatial axes."""
    for name, node in network.nodes.items():
        if isinstance(node, Conv) and node.weight.ndim > 4:
            yield Finding(
                "ND143",
                network.place(name),
                f"{node.weight.ndim - 2} spatial axes",
                "Lava's Conv process has two",
                "use Conv1d or Conv2d",
            )


def thresholds_do_not_adapt(network: Network) -> Iterator[Finding]:
    """Neither stock LIF processes nor ours have a threshold that moves."""
    for name, node in network.populations.items():
        if node.adaptation is not None:
            yield Finding(
                "ND144",
                network.place(name),
                "its threshold adapts with every spike",
                "no neuron of this backend has a second, moving threshold variable",
                "train with LIF neurons, or keep this network in PyTorch",
            )


RULES = (
    thresholds_are_positive,
    thresholds_do_not_adapt,
    decays_are_fractions,
    paths_have_equal_length,
    convolutions_are_at_most_two_dimensional,
)


def check(network: Network) -> list[Finding]:
    """Return everything in the lowered `network` that Loihi cannot express."""
    return [finding for rule in RULES for finding in rule(network)]


def latencies(network: Network) -> dict[str, int]:
    """Return, for the input and every population, the steps between an input step and its own answer to it."""
    latency = {network.input: 0}
    for name in network.populations:
        known = [latency[source] + 1 for edge, source in _sources(network, name) if not edge.delay_steps]
        latency[name] = max(known, default=1)
    return latency


def _sources(network: Network, name: str) -> list[tuple[Edge, str]]:
    """Return the (edge into the map, population or input) pairs that feed `name` in a lowered network."""
    entries = [network.incoming(edge.source)[0] for edge in network.incoming(name)]
    return [(entry, entry.source) for entry in entries]
