"""Runs a program beside the engine: on a SpiNNaker machine, or in its arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from neurodeploy.backends.spinnaker.mapping import MACHINE, run_on_machine
from neurodeploy.backends.supervision import Progress
from neurodeploy.engine.cells import run_cells
from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.program import Program
from neurodeploy.results import RunResult


def run(
    program: Program,
    inputs: np.ndarray,
    *,
    on: str,
    record_states: bool = False,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run every sample of `inputs`, uint8 (step, sample, *input shape).

    Args:
        on: "engine-s16.15", or "spynnaker" for the machine whose configuration the environment names.

    Raises:
        UnsupportedError: ND344 when no machine is named, ND345 when its states are asked for.
    """
    if on == "engine-s16.15":
        return run_cells(program, inputs, record_states, progress, "s16.15")
    if record_states:
        why, fix = "the script that runs there records spikes", "leave out --record-states"
        raise UnsupportedError(Finding("ND345", on, "only spikes are read back from the machine", why, fix))
    named = os.environ.get(MACHINE)
    return run_on_machine(program, inputs, Path(named) if named else None, timeout_s)
