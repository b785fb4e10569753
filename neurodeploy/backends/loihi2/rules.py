"""What Loihi can say: design rules over a lowered network, each a small function that yields findings.

`neurodeploy explain CODE` prints the explanation of each code.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.backends.feeds import LinearMap
from neurodeploy.backends.structure import paths_have_equal_length, thresholds_do_not_adapt
from neurodeploy.errors import Finding
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv


def thresholds_are_positive(network: Network) -> Iterator[Finding]:
    """vth is an unsigned 17-bit number."""
    for name, node in network.populations.items():
        if np.any(node.threshold < 0 if node.firing.tells_changes else node.threshold <= 0):
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


def membranes_are_read_later(network: Network) -> Iterator[Finding]:
    """The unit of a membrane that is sent is known once its own population has its numbers."""
    order = {name: place for place, name in enumerate(network.populations)}
    for name, node in network.populations.items():
        maps = {edge.target for edge in network.outgoing(name)}
        readers = {edge.target for each in maps for edge in network.outgoing(each)}
        back = [reader for reader in readers if order[reader] <= order[name]]
        if node.firing.says_value and back:
            what, why = (
                f"its membrane is read by {', '.join(sorted(back))} a step late",
                "its unit is not known there yet",
            )
            yield Finding("ND149", network.place(name), what, why, "let neurons that fire feed back")


def biases_take_one_way(network: Network) -> Iterator[Finding]:
    """A bias is added to the current or to the membrane."""
    for name, node in network.populations.items():
        if node.bias is None or node.alpha is None:
            continue
        maps = [network.nodes[edge.source] for edge in network.incoming(name)]
        if any(isinstance(each, LinearMap) and each.bias is not None and np.any(each.bias) for each in maps):
            what, why = "a bias of its current and one of its membrane", "a neuron adds its bias to one of both"
            yield Finding("ND139", network.place(name), what, why, "train with biases in its layers alone")


RULES = (
    thresholds_are_positive,
    thresholds_do_not_adapt,
    decays_are_fractions,
    paths_have_equal_length,
    convolutions_are_at_most_two_dimensional,
    membranes_are_read_later,
    biases_take_one_way,
)


def check(network: Network) -> list[Finding]:
    """Return everything in the lowered `network` that Loihi cannot express."""
    return [finding for rule in RULES for finding in rule(network)]
