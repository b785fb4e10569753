"""Has sPyNNaker map an emitted script on a virtual board, and writes what it would load on the cores with kernels.

python spinnaker_kernels.py net.py, in a folder with a .spynnaker.cfg that is HOME, writes kernels.npz.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import numpy as np


def main(script: str) -> None:
    spec = spec_from_file_location("net", script)
    net: Any = module_from_spec(spec)
    spec.loader.exec_module(net)
    sim = net.set_up("spiNNaker")
    populations = net.build(sim, "spiNNaker", net.DATA["input"][:, 0])
    sim.run(net.run_time("spiNNaker"))
    found: dict[str, Any] = {}
    for name, parts in populations.items():
        found[f"keys/{name}"] = np.concatenate([keys_of(part._vertex) for part in parts])
    cores = [
        core
        for name, parts in populations.items()
        for number, part in enumerate(parts)
        for core in cores_of(name, number * part.size, part._vertex)
    ]
    for i, core in enumerate(cores):
        found |= {f"{i}/{key}": value for key, value in core.items()}
    np.savez("kernels.npz", allow_pickle=False, cores=np.array(len(cores)), **found)


def keys_of(vertex: Any) -> np.ndarray:
    """Return the key of each cell of one of sPyNNaker's populations, int64 (cell,); -1 where nobody reads it."""
    keys = np.full(vertex.n_atoms, -1)
    for core in vertex.machine_vertices:
        keys[core.vertex_slice.get_raster_ids()] = keys_of_core(vertex, core)
    return keys


def keys_of_core(vertex: Any, core: Any) -> Any:
    from pacman.utilities.utility_calls import get_keys
    from spynnaker.pyNN.data import SpynnakerDataView

    key = next((info.key for info in SpynnakerDataView.get_routing_infos() if info.vertex is core), None)
    return -1 if key is None else get_keys(key, core.vertex_slice, vertex.n_colour_bits)


def cores_of(name: str, first: int, vertex: Any) -> list[dict[str, Any]]:
    """Return what sPyNNaker plans for the cores of one of its populations, if kernels reach it."""
    from spinn_front_end_common.interface.ds import DsSqlliteDatabase
    from spynnaker.pyNN.data import SpynnakerDataView
    from spynnaker.pyNN.models.neuron import PopulationMachineLocalOnlyCombinedVertex
    from spynnaker.pyNN.utilities.constants import SPIKE_PARTITION_ID

    regions = PopulationMachineLocalOnlyCombinedVertex.REGIONS
    cores = []
    for core in vertex.machine_vertices:
        if not isinstance(core, PopulationMachineLocalOnlyCombinedVertex):
            return []
        at, cells = SpynnakerDataView.get_placement_of_vertex(core), core.vertex_slice.get_raster_ids()
        with DsSqlliteDatabase() as database:
            rows = {row[0]: row[-1] for row in database.get_region_pointers_and_content(at.x, at.y, at.p)}
        sources = {projection._projection_edge.pre_vertex for projection in vertex.incoming_projections}
        heard = [
            keys_of_core(source, sender)
            for source in sources
            for target, senders in vertex.splitter.get_source_specific_in_coming_vertices(source, SPIKE_PARTITION_ID)
            if target is core
            for either in senders
            for sender in getattr(either, "machine_vertices", [either])
        ]
        cores.append(
            {
                "name": np.array(name),
                "cells": np.array([first + cells[0], len(cells)]),
                "local": np.frombuffer(rows[regions.LOCAL_ONLY], np.uint8),
                "data": np.frombuffer(rows[regions.LOCAL_ONLY_PARAMS], np.uint8),
                "heard": np.concatenate(heard),
            }
        )
    return cores


if __name__ == "__main__":
    main(*sys.argv[1:])
