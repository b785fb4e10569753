"""The child process in which sPyNNaker runs: `python -m neurodeploy.backends.spinnaker.mapper JOB PARENT_PID`.

It builds the network with the script that is also emitted, lets sPyNNaker map it, and reports from sPyNNaker's own
data. sPyNNaker reads ~/.spynnaker.cfg, so HOME is a folder of the job that holds one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from neurodeploy.backends.supervision import WATCH_S, finish, serve

SCRIPT = "net.py"
JOB = "job.json"
SYSTEM = "SYSTEM"
"""How labels of sPyNNaker's own cores begin."""
PACKETS = "Local_Multicast_Packets"
MS = 1e-3

Plain = dict[str, Any]


def execute(directory: Path) -> None:
    """Map the network, run the samples that the job names if there is a machine, and write what came of it."""
    job = json.loads((directory / JOB).read_text())
    net = _script(directory / SCRIPT)
    _sort_rows_once()
    spikes: list[dict[str, np.ndarray]] = []
    report: Plain = {}
    for sample in job["samples"]:
        began = time.perf_counter()
        sim = net.set_up("spiNNaker")
        populations = net.build(sim, "spiNNaker", net.DATA["input"][:, sample])
        milliseconds = net.run_time("spiNNaker")
        sim.run(milliseconds)
        seconds = time.perf_counter() - began
        report = report or _report(populations, net.DATA, milliseconds, job["events"]) | {"seconds": seconds}
        if report["virtual"]:
            break
        latency = net.LATENCY["spiNNaker"]
        spikes.append({name: net.spikes_of(populations[name], latency[name]) for name in latency if name != net.INPUT})
        sim.end()
    if spikes:
        together = {name: np.stack([one[name] for one in spikes], axis=1) for name in spikes[0]}
        np.savez(directory / "spikes.npz", allow_pickle=False, **together)
    finish(directory, report)


def _script(path: Path) -> ModuleType:
    spec = spec_from_file_location("net", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sort_rows_once() -> None:
    """Replace the one slow step of sPyNNaker's data generation by an equal one.

    It looks through all connections for every row; sorted by row once, 784-2048-2048-10 takes 8 s in place of 29.
    """
    from spynnaker.pyNN.models.neuron.synapse_dynamics.abstract_sdram_synapse_dynamics import (
        AbstractSDRAMSynapseDynamics,
    )

    AbstractSDRAMSynapseDynamics.convert_per_connection_data_to_rows = rows_of


def rows_of(_: Any, row_indices: np.ndarray, n_rows: int, data: np.ndarray, most: int) -> list[np.ndarray]:
    """Return `data` by row, at most `most` items of each, flat, in the order they have."""
    order = np.argsort(row_indices, kind="stable")
    ends = np.searchsorted(row_indices[order], np.arange(1, n_rows))
    return [row[:most].reshape(-1) for row in np.split(data[order], ends)]


def _report(populations: Plain, data: Any, milliseconds: int, events: dict[str, int] | None) -> Plain:
    from spinn_utilities.config_holder import get_config_bool
    from spynnaker.pyNN.data import SpynnakerDataView

    machine, projections = SpynnakerDataView.get_machine(), list(SpynnakerDataView.iterate_projections())
    tables = {(table.x, table.y): table for table in SpynnakerDataView.get_uncompressed().routing_tables}
    entries = [int(table.number_of_entries) for table in tables.values()]
    parts = _parts(populations)
    cores = list(_cores(milliseconds, parts))
    keys = list(_keys(tables, parts))
    return {
        "spynnaker": version("sPyNNaker"),
        "virtual": bool(get_config_bool("Machine", "virtual_board")),
        "milliseconds": milliseconds,
        "boards": len(machine.ethernet_connected_chips),
        "chips_of_machine": int(machine.n_chips),
        "cores": cores,
        "system_cores": int(SpynnakerDataView.get_n_placements()) - len(cores),
        "routing": {"tables": len(entries), "entries": sum(entries), "largest": max(entries, default=0)},
        "keys": keys,
        "weights": [row for name, same in populations.items() for row in _scales(name, same[0])],
        "projections": [_arrived(projection, data) for projection in projections if not _is_kernel(projection)],
        "kernels": [row for same in populations.values() for part in same for row in _kernels_arrived(part)],
        "energy": None if events is None else _energy(milliseconds * MS, cores, keys, events),
    }


def _parts(populations: Plain) -> dict[str, tuple[str, int]]:
    """Return, for the label of each of sPyNNaker's populations, whose channel it is and its first cell there."""
    found: dict[str, tuple[str, int]] = {}
    for name, parts in populations.items():
        sizes = [part.size for part in parts]
        found |= {str(part._vertex.label): (name, sum(sizes[:i])) for i, part in enumerate(parts)}
    return found


def _cores(milliseconds: int, parts: dict[str, tuple[str, int]]) -> Iterator[Plain]:
    """Yield every core of the network: what is on it, where it is and what SDRAM it was given."""
    from spynnaker.pyNN.data import SpynnakerDataView

    for placement in SpynnakerDataView.iterate_placemements():  # sic
        vertex = placement.vertex
        if str(vertex.label).startswith(SYSTEM):
            continue
        name, first = parts[str(vertex.app_vertex.label)]
        cells = vertex.vertex_slice.get_raster_ids()
        yield {
            "population": name,
            "start": first + int(cells[0]),
            "stop": first + int(cells[-1]) + 1,
            "chip": [int(placement.x), int(placement.y)],
            "core": int(placement.p),
            "sdram": int(vertex.sdram_required.get_total_sdram(milliseconds)),
            "binary": Path(vertex.get_binary_file_name()).name,
        }


def _keys(tables: dict[tuple[int, int], Any], parts: dict[str, tuple[str, int]]) -> Iterator[Plain]:
    """Yield the key of every core that sends spikes, and the chips whose routers pass them."""
    from pacman.model.routing_info import MachineVertexRoutingInfo
    from spynnaker.pyNN.data import SpynnakerDataView

    for info in SpynnakerDataView.get_routing_infos():
        if not isinstance(info, MachineVertexRoutingInfo) or str(info.vertex.label).startswith(SYSTEM):
            continue
        chips = [
            list(chip)
            for chip, table in tables.items()
            if any(info.key & entry.mask == entry.key for entry in table.multicast_routing_entries)
        ]
        population, _ = parts[str(info.vertex.app_vertex.label)]
        yield {"population": population, "key": int(info.key), "mask": int(info.mask), "chips": chips}


def _scales(name: str, population: Any) -> Iterator[Plain]:
    """Yield what a weight of 1 mV is in the 16 bits of excitatory and of inhibitory weights."""
    from spynnaker.pyNN.models.neuron import PopulationVertex

    vertex = population._vertex
    if isinstance(vertex, PopulationVertex):
        scales = vertex.get_weight_scales(vertex.get_ring_buffer_shifts())
        yield {"population": name, "scales": [float(scale) for scale in scales]}


def _arrived(projection: Any, data: Any) -> Plain:
    """Compare the weights that sPyNNaker packed into rows with those of the script."""
    entry, i, j, receptor = projection.label.rsplit("/", 3)
    sent, pre, post = (data[f"{entry}/{part}"] for part in ("weight", "pre", "post"))
    sources, targets = projection.pre.size, projection.post.size
    chosen = (sent > 0 if receptor == "excitatory" else sent < 0) & (pre // sources == int(i))
    chosen &= post // targets == int(j)
    pre, post = pre[chosen] % sources, post[chosen] % targets
    packed = np.concatenate(projection._get_synaptic_data(True, ["weight"], [], None).connections)
    order, expected = np.lexsort((packed["target"], packed["source"])), np.lexsort((post, pre))
    differ = sum(
        np.asarray(theirs[order], np.float64) != ours[expected]
        for theirs, ours in (
            (packed["source"], pre),
            (packed["target"], post),
            (packed["weight"], np.abs(sent[chosen])),
        )
    )
    return {"name": projection.label, "synapses": len(packed), "differ": int(np.count_nonzero(differ))}


def _is_kernel(projection: Any) -> bool:
    from spynnaker.pyNN.models.neural_projections.connectors import ConvolutionConnector

    return isinstance(projection._synapse_information.connector, ConvolutionConnector)


def _kernels_arrived(population: Any) -> Iterator[Plain]:
    """Compare the kernels that sPyNNaker wrote for the cores of a population with what the script told it.

    They end a core's data one after the other, as signed integers of 16 bits that are weights times their scale.
    """
    from spinn_front_end_common.interface.ds import DsSqlliteDatabase
    from spynnaker.pyNN.data import SpynnakerDataView
    from spynnaker.pyNN.models.neuron import PopulationMachineLocalOnlyCombinedVertex, PopulationVertex

    vertex = population._vertex
    incoming = vertex.incoming_projections if isinstance(vertex, PopulationVertex) else ()
    told = [p._synapse_information.connector.kernel_weights.reshape(-1) for p in incoming if _is_kernel(p)]
    if not told:
        return
    weights, scales = np.concatenate(told), vertex.get_weight_scales(vertex.get_ring_buffer_shifts())
    sent, differ = weights * np.where(weights < 0, scales[1], scales[0]), 0
    region = PopulationMachineLocalOnlyCombinedVertex.REGIONS.LOCAL_ONLY_PARAMS
    with DsSqlliteDatabase() as database:
        for core in vertex.machine_vertices:
            at = SpynnakerDataView.get_placement_of_vertex(core)
            content = {row[0]: row[-1] for row in database.get_region_pointers_and_content(at.x, at.y, at.p)}
            packed = np.frombuffer(content[region] or b"", np.int16)[-(len(sent) + len(sent) % 2) :][: len(sent)]
            differ += int(np.count_nonzero(packed != sent))
    yield {"name": str(vertex.label), "weights": len(sent), "differ": differ}


def _energy(seconds: float, cores: list[Plain], keys: list[Plain], events: dict[str, int]) -> Plain:
    """Return what sPyNNaker's own model makes of our counts: idle boards, cores that are always active, packets.

    Every router that a spike passes counts it once. A population's spikes are taken to come evenly from its cores.
    """
    from spynnaker.pyNN.data import SpynnakerDataView

    model, machine = SpynnakerDataView.get_machine_version(), SpynnakerDataView.get_machine()
    boards = len(machine.ethernet_connected_chips)
    size = {name: sum(c["stop"] - c["start"] for c in cores if c["population"] == name) for name in events}
    active: dict[tuple[int, int], tuple[float, int]] = {}
    for core in cores:
        busy, count = active.get(tuple(core["chip"]), (0.0, 0))
        active[tuple(core["chip"])] = (busy + seconds, count + 1)
    packets: dict[tuple[int, int], dict[str, float]] = {}
    senders = {name: sum(key["population"] == name for key in keys) for name in size}
    for key in keys:
        for chip in key["chips"]:
            share = events.get(key["population"], 0) / senders.get(key["population"], 1)
            passed = packets.setdefault(tuple(chip), {PACKETS: 0.0})
            passed[PACKETS] += share
    idle = model.get_idle_energy(seconds, 0, boards, machine.n_chips)
    busy = model.get_active_energy(seconds, 0, boards, machine.n_chips, active, {})
    total = model.get_active_energy(seconds, 0, boards, machine.n_chips, active, packets)
    passed_packets = sum(count[PACKETS] for count in packets.values())
    return {
        "seconds": seconds,
        "idle_j": idle,
        "cores_j": busy - idle,
        "packets_j": total - busy,
        "packets": passed_packets,
        "core_seconds": seconds * len(cores),
    }


def tell(directory: Path, error: BaseException) -> None:
    """Leave what was raised for the parent, which looks for it once this process has ended."""
    said = {"raised": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
    (directory / "raised.json").write_text(json.dumps(said))
    time.sleep(2 * WATCH_S)


if __name__ == "__main__":
    serve(execute, *sys.argv[1:], counts_seconds=True, tell=tell)
