"""Rewrites of a `Network` into the form a target takes: on every path one Linear, SparseLinear or Conv.

Each rewrite is a file with one function Network -> Network that preserves what the network computes. Their order
matters: pools become convolutions before what is left over is composed.
"""

from __future__ import annotations

from neurodeploy.ir.network import Network
from neurodeploy.lowering.compose_maps import compose_maps
from neurodeploy.lowering.drop_reshapes import drop_reshapes
from neurodeploy.lowering.fold_gains import fold_gains
from neurodeploy.lowering.fold_pools import fold_pools
from neurodeploy.lowering.fold_scales import fold_scales
from neurodeploy.lowering.spike_max_pools import spike_max_pools

PASSES = (drop_reshapes, spike_max_pools, fold_scales, fold_pools, fold_scales, compose_maps, fold_gains)


def lower(network: Network) -> Network:
    """Return `network` in canonical form.

    Raises:
        UnsupportedError: ND130 for a maximum over values that are not spikes.
    """
    for rewrite in PASSES:
        network = rewrite(network)
    return network
