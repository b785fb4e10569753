"""Where two runs of the same learning part is named exactly: step, sample, synapse and both values."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy import onchip
from neurodeploy.evaluation.trajectories import changes, compare
from tests.plastic_programs import STEPS, integer, real


def same(program, steps: int = 40) -> tuple[np.ndarray, ...]:
    return tuple(np.repeat(weight[None], steps, 0) for weight in program.weights)


@pytest.mark.parametrize("made", [real, integer])
def test_equal_runs_are_verified(made):
    program = made(recurrent=True)
    found = compare(program, same(program), same(program))
    assert (found["verified"], found["differ"], found["first_divergence"]) == (True, 0, None)
    assert found["compared"] == 40 * (12 * 16 + 12 * 12 + 4 * 12)
    assert onchip.verification_error(found) is None


@pytest.mark.parametrize("made", [real, integer])
def test_the_earliest_step_is_named_whichever_group_it_is_in(made):
    program = made(recurrent=True)
    expected, actual = same(program), same(program)
    actual[0][30:, 2, 5] += 1
    actual[1][17:, 7, 3] += 2
    actual[1][17:, 9, 0] += 3
    found = compare(program, expected, actual)
    first = found["first_divergence"]
    assert not found["verified"]
    assert found["differ"] == 10 + 2 * 23
    assert (first["step"], first["synapses"], first["post"], first["pre"]) == (17, "lif1.recurrent", 7, 3)
    assert (first["sample"], first["step_in_sample"]) == (1, 17 - (STEPS + 2))
    assert first["actual"] - first["expected"] == pytest.approx(2)
    error = onchip.verification_error(found | {"expected": "them", "actual": "us"})
    assert "step 17, lif1.recurrent[7, 3]" in str(error)


def test_real_weights_may_differ_by_a_billionth_of_the_largest_of_their_group_and_integers_not_at_all():
    program = real()
    expected, actual = same(program), same(program)
    actual[0][5, 0, 0] += 0.9e-9 * np.abs(expected[0]).max()
    assert compare(program, expected, actual)["verified"]
    actual[0][5, 0, 0] += 0.2e-9 * np.abs(expected[0]).max()
    assert not compare(program, expected, actual)["verified"]
    whole = integer()
    expected, actual = same(whole), same(whole)
    actual[1][5, 0, 0] += 1
    assert not compare(whole, expected, actual)["verified"]


def test_changes_are_counted_per_group():
    program = integer(recurrent=True)
    weights = [weight.copy() for weight in program.weights]
    weights[1][:3] += 4
    found = changes(program, program.learned(weights))
    assert list(found) == ["lif1.forward", "lif1.recurrent", "lif2.forward"]
    assert found["lif1.recurrent"] == {"share": 0.25, "mean": 1.0}
    assert found["lif2.forward"] == {"share": 0.0, "mean": 0.0}
