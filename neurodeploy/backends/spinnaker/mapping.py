"""Has sPyNNaker map a program, on a virtual board or on the machine that a configuration names, in a child process.

A virtual board is planned and filled like a real one and runs nothing: no spike comes back from it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.availability import environment, interpreter, missing
from neurodeploy.backends.spinnaker.mapper import JOB, SCRIPT
from neurodeploy.backends.spinnaker.script import script
from neurodeploy.backends.supervision import CLOCK, RESULT, Worker, await_result, supervised
from neurodeploy.errors import (
    BackendFailedError,
    BackendUnavailableError,
    CapacityError,
    Finding,
    UnsupportedError,
    UsageError,
)
from neurodeploy.ir.program import Program
from neurodeploy.results import RunResult, decide

LIMIT_S = 900.0
"""Wall time after which sPyNNaker is given up, if the caller sets no limit."""
VIRTUAL = """[Machine]
virtual_board = True
version = 5
[Mode]
mode = Info
[Reports]
write_network_graph = False
keep_dataspec_database = False
"""
"""The configuration of a virtual board: of 48 chips, as many as are needed."""
MACHINE = "NEURODEPLOY_SPYNNAKER_CFG"
"""Names the user's own configuration, the one of a machine."""
LARGER = "make the network smaller, or name a larger machine with --machine-configuration"
TOO_LARGE = {
    "SynapseRowTooBigException": (
        "a row of synapses, from one source to the cells of a core, has at most 256 words, and plastic ones take more",
        "emit the script and set fewer neurons per core in it, 64 for instance: sim.set_number_of_neurons_per_core",
    ),
    "SynapticConfigurationException": (
        "a core addresses so many rows and projections and no more",
        "make the layer before it smaller, or sparse",
    ),
    "PacmanPartitionException": ("a part of the network needs more than a chip has", LARGER),
    "PacmanPlaceException": ("the machine has too few cores, or chips with too little memory beside them", LARGER),
    "PacmanTooBigToPlace": ("the machine has too few cores, or chips with too little memory beside them", LARGER),
    "MinimisationFailedError": ("a router has 1,023 entries, compressed ones", LARGER),
    "PacmanRoutingException": ("no route was found", LARGER),
    "PacmanRouteInfoAllocationException": ("a key has 32 bits for all senders and their neurons", LARGER),
    "does not support multiple boards": ("the network needs more chips than this one board has", LARGER),
}
"""What sPyNNaker raises, or says, for a network that does not fit: why it does not, and what helps."""


def map_onto(
    program: Program,
    inputs: np.ndarray | None = None,
    *,
    steps: int = 1,
    events: dict[str, int] | None = None,
    configuration: Path | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Return where sPyNNaker puts `program`, from its own data; see `mapper`.

    Args:
        inputs: uint8 spikes (step, sample, *input shape), of which the first sample is planned for; without them every
            input fires in every step, for which sources need most memory.
        steps: of a sample, where there are no inputs and the program records no length.
        events: spikes of each source in that sample, for sPyNNaker's own estimate of energy.
        configuration: a .spynnaker.cfg in place of a virtual board's.
        timeout_s: wall time after which sPyNNaker is given up.

    Raises:
        BackendUnavailableError: ND310, ND314 when sPyNNaker cannot be used here.
        BackendFailedError: ND340 when it failed, ND341 when it took too long; with its last lines.
        CapacityError: ND342 when it says that the network does not fit.
        UsageError: ND343 when the configuration cannot be read.
        UnsupportedError: ND330 for cells the chip does not have.
    """
    if inputs is None:
        steps = (program.encoding or {}).get("steps", steps)
        inputs = np.ones((steps, 1, *program.input.shape), np.uint8)
    report, _ = _supervise(program, inputs[:, :1], events, configuration, timeout_s)
    return report


def run_on_machine(
    program: Program, inputs: np.ndarray, configuration: Path | None, timeout_s: float | None
) -> RunResult:
    """Run every sample on the machine that a configuration names, one after the other, and read the spikes back.

    No test has seen this on hardware.

    Raises:
        UnsupportedError: ND344 without a configuration, or when it names a virtual board.
    """
    if configuration is None:
        raise UnsupportedError(_no_machine("no configuration names a machine"))
    report, spikes = _supervise(program, inputs, None, configuration, timeout_s)
    if report["virtual"]:
        raise UnsupportedError(_no_machine(f"{configuration} is that of a virtual board"))
    shaped = {
        population.name: spikes[population.name].reshape(*inputs.shape[:2], *population.shape)
        for population in program.populations
    }
    executor = f"SpiNNaker through sPyNNaker {report['spynnaker']}"
    return RunResult(executor, shaped, decide(shaped[program.output]), seconds=report["seconds"])


def _supervise(
    program: Program,
    inputs: np.ndarray,
    events: dict[str, int] | None,
    configuration: Path | None,
    timeout_s: float | None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the child's report, and the spikes (step, sample, neuron) of a machine that is not virtual."""
    emitted = script(program, inputs, "A compiled network")
    settings = VIRTUAL if configuration is None else _read(configuration)
    absent = missing("spynnaker")
    if absent is not None:
        raise BackendUnavailableError(absent)
    worker = Worker(
        "neurodeploy.backends.spinnaker.mapper",
        "sPyNNaker",
        failed="ND340",
        late="ND341",
        remedy="see the lines above; `neurodeploy emit --as pynn-script` gives the script that was run",
        python=interpreter(),
        counts="second",
    )
    with tempfile.TemporaryDirectory(prefix="neurodeploy-") as name:
        directory = Path(name)
        emitted.write(directory / SCRIPT)
        samples = list(range(inputs.shape[1]))
        (directory / JOB).write_text(json.dumps({"samples": samples, "events": events}))
        (directory / ".spynnaker.cfg").write_text(settings, encoding="utf-8")
        np.zeros(1, np.int64).tofile(directory / CLOCK)
        limit = LIMIT_S if timeout_s is None else timeout_s
        try:
            with supervised(worker, directory, environment(directory) | {"HOME": name}) as process:
                await_result(worker, process, directory, ceil(limit), None, limit)
        except BackendFailedError as error:
            raise _explained(directory, error) from error
        return json.loads((directory / RESULT).read_text()), dict(_spikes(directory))


def _spikes(directory: Path) -> Iterator[tuple[str, np.ndarray]]:
    if (directory / "spikes.npz").exists():
        with np.load(directory / "spikes.npz", allow_pickle=False) as archive:
            yield from archive.items()


def _read(configuration: Path) -> str:
    try:
        return configuration.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what, fix = "cannot be read", "name the .spynnaker.cfg of your machine; sPyNNaker writes a template"
        raise UsageError(Finding("ND343", str(configuration), what, str(error), fix)) from error


def _explained(directory: Path, error: BackendFailedError) -> Exception:
    """Return the refusal that what sPyNNaker raised amounts to, or the failure itself."""
    if not (directory / "raised.json").exists():
        return error
    raised = json.loads((directory / "raised.json").read_text())
    message = " ".join(raised["message"].split())
    for sign, (why, fix) in TOO_LARGE.items():
        if sign in raised["raised"] or sign in message:
            return CapacityError(Finding("ND342", "sPyNNaker", f"{raised['raised'][0]}: {message}", why, fix))
    return error


def missing_machine() -> Finding | None:
    """Return what keeps spikes from coming back: that the environment names no machine."""
    return None if os.environ.get(MACHINE) else _no_machine("no configuration names a machine")


def _no_machine(what: str) -> Finding:
    why = "a virtual board plans and runs nothing, so no spikes come back from it"
    fix = f"`neurodeploy map` shows the plan; to run, set {MACHINE} to the .spynnaker.cfg of a machine"
    return Finding("ND344", "spynnaker", what, why, fix)
