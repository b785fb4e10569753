"""What PyNN's current-based cells can say: design rules over a lowered network, each a function that yields findings.

Which simulator has which cell is another question, see `cells.py`. `neurodeploy explain CODE` prints the explanations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.backends.structure import paths_have_equal_length, thresholds_do_not_adapt
from neurodeploy.errors import Finding
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Firing, InputKind, Reset

RESETS = (Reset.ZERO, Reset.ZERO_NEXT_STEP, Reset.SUBTRACT_NEXT_STEP)
"""What some simulator has a cell for: no refractory step, one, and the threshold subtracted in the next step."""


def input_is_spikes(network: Network) -> Iterator[Finding]:
    """What enters a SpiNNaker machine is packets, which carry no value.

    A network that reads rows, frames or counts cannot be given the pixels of an image as rates instead.
    """
    if network.input_node.kind is not InputKind.SPIKES:
        over_time = (network.encoding or {}).get("kind") in ("rows", "frames", "counts")
        trained = "train with an encoding of spikes"
        yield Finding(
            "ND150",
            network.place(network.input),
            "graded input",
            "spikes are all that enters a SpiNNaker machine, and none is graded",
            trained if over_time else f"compile with --encoding rate --steps T, or {trained}",
        )


def thresholds_are_positive(network: Network) -> Iterator[Finding]:
    """A cell rests at 0 mV, below its threshold."""
    for name, node in network.populations.items():
        if np.any(node.threshold <= 0):
            what, why = f"threshold {float(node.threshold.min()):g}", "a cell that fires at rest never stops"
            yield Finding("ND151", network.place(name), what, why, "train with a positive threshold")


def states_leak(network: Network) -> Iterator[Finding]:
    """Cells are told time constants: -dt / ln(beta) is finite for beta < 1 only."""
    for name, node in network.populations.items():
        for symbol, value in (("beta", node.beta), ("alpha", node.alpha)):
            if value is not None and (np.any(value < 0) or np.any(value >= 1)):
                yield Finding(
                    "ND152",
                    network.place(name),
                    f"{symbol} between {float(value.min()):g} and {float(value.max()):g}",
                    "a PyNN cell leaks with a finite time constant, so it keeps a fraction of at least 0 and below 1",
                    f"train with {symbol} in [0, 1), .999 for instance",
                )


def resets_are_cells(network: Network) -> Iterator[Finding]:
    """Every reset here is that of some simulator's cell."""
    for name, node in network.populations.items():
        if node.reset not in RESETS and node.firing is not Firing.VALUE:
            yield Finding(
                "ND153",
                network.place(name),
                f"reset {node.reset.value}",
                "no PyNN cell resets so",
                f"train with one of {', '.join(RESETS)}: snnTorch's zero, or its subtract with reset_delay=True",
            )


def neurons_fire_once_and_sink(network: Network) -> Iterator[Finding]:
    """A packet carries no value, and no cell has a floor."""
    for name, node in network.populations.items():
        if node.firing is Firing.VALUE:
            what, why = "sends its membrane in every step", "spikes are all that a machine sends, and none is graded"
            yield Finding("ND157", network.place(name), what, why, "end in neurons that fire, or compile for Loihi 2")
        if node.firing is Firing.MULTIPLE:
            what, why = (
                "fires several times a step",
                "spikes are all that a SpiNNaker machine sends, and none is graded",
            )
            fix = "train with neurons that fire once a step, or compile for Loihi 2"
            yield Finding("ND157", network.place(name), what, why, fix)
        if node.firing.tells_changes:
            what, why = "sends changes of a value", "spikes are all that a machine sends, and none is graded"
            fix = "train with neurons that fire, or compile for Loihi 2"
            yield Finding("ND157", network.place(name), what, why, fix)
        if node.bias is not None and node.alpha is not None:
            what, why = "a bias that passes no current", "the bias of a cell is spikes of a source, as any input is"
            fix = "train without a synaptic current or a bias, or compile for Loihi 2"
            yield Finding("ND157", network.place(name), what, why, fix)
        if node.floor is not None:
            what, why = f"a floor of {float(node.floor.min()):g} under the membrane", "no PyNN cell has one"
            yield Finding(
                "ND157", network.place(name), what, why, "train without a lower bound, or compile for Loihi 2"
            )


RULES = (
    input_is_spikes,
    thresholds_are_positive,
    thresholds_do_not_adapt,
    states_leak,
    resets_are_cells,
    neurons_fire_once_and_sink,
    paths_have_equal_length,
)


def check(network: Network) -> list[Finding]:
    """Return everything in the lowered `network` that no PyNN cell can express."""
    return [finding for rule in RULES for finding in rule(network)]
