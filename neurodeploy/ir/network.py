"""`Network`: what is meant, in real numbers, whatever framework it came from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from neurodeploy.errors import Deviation, Finding, NetworkError
from neurodeploy.ir.nodes import LIF, Input, Node


class Readout(StrEnum):
    """How the output population's activity over all steps becomes a decision."""

    SPIKE_COUNT = "spike_count"
    """argmax over neurons of the number of spikes; the lowest index wins a tie."""
    MEMBRANE_SUM = "membrane_sum"
    """The same of the sum of membranes, of an output that sends them: `nodes.Firing.VALUE`."""
    LAST_VALUE = "last_value"
    """The same of the value at the end, of an output that tells its changes, whose sum that is: `Firing.DELTA_RELU`."""


@dataclass(frozen=True)
class Edge:
    """`target` reads `source`'s output of `delay_steps` (0 or 1) steps ago; several edges into a LIF add up."""

    source: str
    target: str
    delay_steps: int = 0


@dataclass(frozen=True)
class Network:
    """A spiking network as its author meant it.

    Args:
        nodes: name -> node, in an order in which every edge without delay points forward.
        edges: who reads whom, and with which delay in the source's own time.
        input, output: names of the one Input and of the LIF population that is read out.
        dt_s: duration of one step in seconds as the user stated it, or None: dt is never invented.
        origin: where each node came from, e.g. "lif1": 'snntorch.Leaky "net.lif1"'; for messages, and for
            NeuroBench's Footprint, which depends on the module.
        encoding: how the author encodes samples into steps (`neurodeploy.datasets.Encoding.to_plain()`), or None.
        deviations: what already differs from the source.
    """

    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    input: str
    output: str
    dt_s: float | None = None
    readout: Readout = Readout.SPIKE_COUNT
    origin: dict[str, str] = field(default_factory=dict)
    encoding: dict | None = None
    deviations: tuple[Deviation, ...] = ()

    def __post_init__(self) -> None:
        unknown = {name for edge in self.edges for name in (edge.source, edge.target)} - set(self.nodes)
        for name in sorted(unknown | ({self.input, self.output} - set(self.nodes))):
            raise NetworkError(
                Finding(
                    "ND110", name, "an edge names a node that does not exist", "a graph must be closed", "report it"
                )
            )
        object.__setattr__(self, "nodes", {name: self.nodes[name] for name in _causal_order(self)})

    def place(self, name: str) -> str:
        """Say where `name` is in the reader's own words."""
        return f"{name} <- {self.origin[name]}" if name in self.origin else name

    def incoming(self, name: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.target == name]

    def outgoing(self, name: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.source == name]

    @property
    def input_node(self) -> Input:
        node = self.nodes[self.input]
        assert isinstance(node, Input)
        return node

    @property
    def populations(self) -> dict[str, LIF]:
        return {name: node for name, node in self.nodes.items() if isinstance(node, LIF)}


def _causal_order(network: Network) -> list[str]:
    """Order the nodes so that undelayed edges point forward, and delayed ones where they close no loop.

    Where it is free, the given order is kept.

    Raises:
        NetworkError: ND111 when a cycle has no delay anywhere, so no step can be computed.
    """
    forward = [edge for edge in network.edges if edge.delay_steps == 0]
    try:
        order = _sorted(network, forward)
    except CycleError as error:
        loop = " -> ".join(error.args[1])
        raise NetworkError(
            Finding(
                "ND111",
                loop,
                "a loop without delay",
                "each node would need its own output of the same step",
                "read the recurrent input from the step before",
            )
        ) from error
    for edge in network.edges:
        if edge.delay_steps:
            with suppress(CycleError):
                order = _sorted(network, [*forward, edge])
                forward.append(edge)
    return order


def _sorted(network: Network, forward: list[Edge]) -> list[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter({name: () for name in network.nodes})
    for edge in forward:
        sorter.add(edge.target, edge.source)
    return list(sorter.static_order())
