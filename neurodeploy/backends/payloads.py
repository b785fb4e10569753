"""Real input as what enters a chip: spikes, or integer payloads of graded spikes."""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import Finding, UnsupportedError
from neurodeploy.ir.nodes import ON_GRID, InputKind
from neurodeploy.ir.program import InputPort


def _binary(inputs: np.ndarray) -> bool:
    """Say whether every value is 0 or 1; bytes, the common case, by their maximum alone."""
    if inputs.dtype in (bool, np.uint8):
        return inputs.size == 0 or int(inputs.max()) <= 1
    return bool(((inputs == 0) | (inputs == 1)).all())


def payloads(port: InputPort, inputs: np.ndarray) -> np.ndarray:
    """Return real inputs as the integers that enter the chip: uint8 spikes, int32 payloads; of the same shape.

    Raises:
        UnsupportedError: ND220 when spikes are not 0 or 1, ND221 when a value lies outside the range compiled for,
            ND222 when it lies between the levels of a grid compiled for.
    """
    if port.kind is InputKind.SPIKES:
        if not _binary(inputs):
            raise UnsupportedError(
                Finding(
                    "ND220",
                    f"input {port.name}",
                    f"values between {inputs.min():g} and {inputs.max():g}",
                    "the network was compiled for spikes, 0 or 1",
                    "encode the data as spikes, or save the model with an example_input of the real kind",
                )
            )
        return inputs.view(np.uint8) if inputs.dtype == bool else inputs.astype(np.uint8, copy=False)
    values = np.rint(np.asarray(inputs, np.float64) / port.scale)
    if not np.isfinite(values).all() or values.min(initial=0) < port.low or values.max(initial=0) > port.high:
        raise UnsupportedError(
            Finding(
                "ND221",
                f"input {port.name}",
                f"values between {inputs.min():g} and {inputs.max():g}",
                f"the network was compiled for {port.low * port.scale:g} to {port.high * port.scale:g}; "
                "larger currents could wrap",
                "compile with --calibration on data of this range",
            )
        )
    if port.exact and np.abs(values * port.scale - inputs).max(initial=0) > 2 * ON_GRID * port.high * port.scale:
        raise UnsupportedError(
            Finding(
                "ND222",
                f"input {port.name}",
                f"values between the {port.high} levels the network was compiled for",
                "its example_input had only these values, so no rounding of others was recorded",
                "compile with --calibration on data like these",
            )
        )
    return values.astype(np.int32)
