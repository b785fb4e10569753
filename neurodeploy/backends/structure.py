"""What every family of chips asks of a lowered network's structure, and how long input takes to reach a population."""

from __future__ import annotations

from collections.abc import Iterator

from neurodeploy.errors import Finding
from neurodeploy.ir.network import Edge, Network


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
                    "each projection takes one step, so paths of different length fall out of step",
                    "give the paths equally many spiking layers, or feed recurrence back within one layer only",
                )


def thresholds_do_not_adapt(network: Network) -> Iterator[Finding]:
    """Neither Lava's processes nor the PyNN cells used here have a threshold that moves, and ours have none either."""
    for name, node in network.populations.items():
        if node.adaptation is not None:
            yield Finding(
                "ND144",
                network.place(name),
                "its threshold adapts with every spike",
                "no neuron of this backend has a second, moving threshold variable",
                "train with LIF neurons, or keep this network in PyTorch",
            )


def latencies(network: Network) -> dict[str, int]:
    """Return, for the input and every population, the steps between an input step and its own answer to it.

    A projection of a step delay takes that step on the chip, so it adds none; a loop says nothing of when it began.
    """
    latency = {network.input: 0}
    for name in network.populations:
        sources = [(edge.delay_steps, latency[source]) for edge, source in _sources(network, name) if source in latency]
        known = [before + 1 for delay, before in sources if not delay] or [before for _, before in sources]
        latency[name] = max(known, default=1)
    return latency


def _sources(network: Network, name: str) -> list[tuple[Edge, str]]:
    """Return the (edge into the map, population or input) pairs that feed `name` in a lowered network."""
    entries = [network.incoming(edge.source)[0] for edge in network.incoming(name)]
    return [(entry, entry.source) for entry in entries]
