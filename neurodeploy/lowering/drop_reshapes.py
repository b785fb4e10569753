"""Remove Reshape nodes: every node reads its input flat in C order, so a reshape moves nothing.

What it did change is what its reader takes for channels, rows and columns: passes that merge neighbors compare shapes.
"""

from __future__ import annotations

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Reshape
from neurodeploy.lowering.rewiring import bypass


def drop_reshapes(network: Network) -> Network:
    """Return `network` without Reshape nodes."""
    for name, node in network.nodes.items():
        if isinstance(node, Reshape):
            network = bypass(network, name)
    return network
