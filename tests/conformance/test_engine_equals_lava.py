"""The engine's arithmetic is Lava's: random programs on Lava's own models, equal in every spike, u and v."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy.backends.loihi2 import run
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.reference import run_reference
from neurodeploy.evaluation.fidelity import compare
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import Program
from tests.property.random_programs import payload, program, programs


@given(programs, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_reference_and_kernels_equal_lavas_models(net: Program, seed: int) -> None:
    """Lava's process models, stepped without its runtime, agree with the reference and with the kernels."""
    x = payload(seed, net.input)
    lava = run(net, x, on="lava-models", record_states=True)
    for ours in (run_reference(net, x), run_fast(net, x, record_states=True)):
        comparison = compare(net, lava, ours)
        assert comparison.equal, comparison.first_divergence
        assert set(comparison.compared["a"]) == {"spikes", "currents", "voltages"}


@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("convolutional", [False, True], ids=["dense", "conv"])
@pytest.mark.parametrize("reset", Reset)
def test_engine_equals_lavas_runtime(reset: Reset, convolutional: bool, recurrent: bool) -> None:
    """Every reset x dense, conv x feed-forward, recurrent on Lava's real runtime, at 5 to 95 % activity in layer a."""
    for seed in range(100):
        net = program(seed, reset, reset, convolutional, recurrent, graded=convolutional)
        x = payload(seed, net.input, steps=10, samples=3)
        ours = run_fast(net, x, record_states=True)
        if 0.05 <= ours.spikes["a"].mean() <= 0.5 and ours.spikes["b"].any():
            break
    lava = run(net, x, on="lava", record_states=True)
    assert 0.05 <= np.mean(lava.spikes["a"]) <= 0.5
    comparison = compare(net, lava, ours)
    assert comparison.equal, comparison.first_divergence
