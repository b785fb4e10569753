"""Which cells the arithmetic of SpiNNaker's neuron models knows; apart from `cells`, so that asking needs no Numba."""

from __future__ import annotations

from collections.abc import Iterator

from neurodeploy.errors import Finding
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import Program


def not_on_chip(program: Program) -> Iterator[Finding]:
    """Say which populations no neuron model of sPyNNaker computes."""
    for population in program.populations:
        if population.cell.reset not in (Reset.ZERO, Reset.ZERO_NEXT_STEP):
            simulators = "nest or brian2" if population.cell.alpha is None else "brian2"
            yield Finding(
                "ND330",
                population.name,
                f"reset {population.cell.reset.value}",
                "sPyNNaker's cells are set to a voltage by a spike; none has a threshold subtracted",
                f"run it on {simulators}, train with reset to zero, or compile with --allow ND235",
            )
