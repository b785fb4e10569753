"""A planted fault in a program is found by comparison, at the right place, with the right cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.engine.cells import run_cells
from neurodeploy.engine.fast import run_fast
from neurodeploy.engine.reference import run_reference
from neurodeploy.evaluation.fidelity import compare
from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import S1615, Cell, DenseSynapses, InputPort, Neuron, Population, Program, Projection
from neurodeploy.results import RunResult


def net(reset: Reset = Reset.SUBTRACT_NEXT_STEP) -> Program:
    rng = np.random.default_rng(4)
    populations, projections, names = [], [], ["in", "a", "b"]
    for i, (pre, post) in enumerate([(20, 12), (12, 6)], start=1):
        cell = Neuron(np.array(4096), np.array(300), np.array(120), rng.integers(-50, 50, post), 2, reset)
        populations.append(Population(names[i], (post,), cell, i, 1.0))
        synapses = DenseSynapses(rng.integers(-40, 60, (post, pre)).astype(np.int8))
        projections.append(Projection(f"to {names[i]}", names[i - 1], names[i], synapses))
    return Program(InputPort("in", (20,), InputKind.SPIKES), tuple(populations), tuple(projections), "b")


def spikes() -> np.ndarray:
    return (np.random.default_rng(1).random((20, 5, 20)) < 0.25).astype(np.int32)


def with_neuron(program: Program, name: str, **changes) -> Program:
    changed = tuple(
        replace(p, neuron=replace(p.neuron, **changes)) if p.name == name else p for p in program.populations
    )
    return replace(program, populations=changed)


def with_flipped_bit(program: Program, which: int, bit: int) -> Program:
    projection = program.projections[which]
    mantissa = projection.synapses.mantissa.copy()
    mantissa[2, 3] ^= 1 << bit
    flipped = replace(projection, synapses=DenseSynapses(mantissa))
    return replace(program, projections=tuple(flipped if p is projection else p for p in program.projections))


@pytest.mark.parametrize("bit", range(7))
@pytest.mark.parametrize("layer", [0, 1])
def test_one_flipped_weight_bit_is_found(layer: int, bit: int) -> None:
    """Any bit of one weight: not equal, first seen in the neuron that owns it, and called a weight."""
    honest, x = net(), spikes()
    faulty = with_flipped_bit(honest, layer, bit)
    comparison = compare(honest, run_reference(honest, x), run_fast(faulty, x, record_states=True))
    assert not comparison.equal
    first = comparison.first_divergence
    assert (first.population, first.neuron) == (("a", "b")[layer], (2,))
    assert first.likely_cause.startswith("weight")


@pytest.mark.parametrize("other", [reset for reset in Reset if reset is not Reset.SUBTRACT_NEXT_STEP])
def test_another_reset_is_found(other: Reset) -> None:
    """The first difference is in the step of the first spike or the one after, and is called a reset."""
    honest, x = net(), spikes()
    faulty = with_neuron(honest, "a", reset=other)
    expected = run_reference(honest, x)
    comparison = compare(honest, expected, run_fast(faulty, x, record_states=True))
    assert not comparison.equal
    first = comparison.first_divergence
    assert first.population == "a"
    assert first.likely_cause.startswith("reset")
    before = expected.spikes["a"][max(first.step - 1, 0) : first.step + 1, first.sample, first.neuron[0]]
    assert before.any()


@pytest.mark.parametrize("field", ["dv", "bias_mantissa"])
def test_another_decay_or_bias_is_found(field: str) -> None:
    """One unit more of decay or bias."""
    honest, x = net(), spikes()
    faulty = with_neuron(honest, "b", **{field: getattr(honest.population("b").neuron, field) + 1})
    comparison = compare(honest, run_reference(honest, x), run_fast(faulty, x, record_states=True))
    assert not comparison.equal
    assert comparison.first_divergence.population == "b"
    assert comparison.first_divergence.likely_cause.startswith("decay")


def test_a_step_of_delay_is_found() -> None:
    """One population answered a step late is called a delay."""
    honest, x = net(), spikes()
    run = run_reference(honest, x)

    def late(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        shifted = np.concatenate([np.zeros_like(records["b"][:1]), records["b"][:-1]])
        return records | {"b": shifted}

    delayed = RunResult("late", late(run.spikes), run.predictions, late(run.currents), late(run.voltages))
    first = compare(honest, run, delayed).first_divergence
    assert first.population == "b"
    assert first.likely_cause.startswith("delay")


def test_equal_runs_are_equal_and_counted() -> None:
    """Nothing planted, nothing found, and the certificate counts every value that was looked at."""
    honest, x = net(), spikes()
    comparison = compare(honest, run_reference(honest, x), run_fast(honest, x, record_states=True))
    assert comparison.equal
    assert comparison.first_divergence is None
    assert comparison.compared == {
        "a": dict.fromkeys(("spikes", "currents", "voltages"), 20 * 5 * 12),
        "b": dict.fromkeys(("spikes", "currents", "voltages"), 20 * 5 * 6),
    }


# real states, as PyNN's simulators show them


def cells(reset: Reset = Reset.ZERO) -> Program:
    """Return one layer of cells without a current, 20 to 12."""
    rng = np.random.default_rng(6)
    cell = Cell(np.array(29491), np.array(2000 * S1615), rng.integers(-50, 50, 12).astype(np.int32), reset)
    synapses = DenseSynapses(rng.integers(-900, 1500, (12, 20)).astype(np.int32))
    port = InputPort("in", (20,), InputKind.SPIKES)
    return Program(port, (Population("a", (12,), cell, 1, 1.0),), (Projection("to a", "in", "a", synapses),), "a")


def shown(program: Program, x: np.ndarray) -> RunResult:
    """Return a run with no currents, and no membrane in the step of a spike."""
    run = run_cells(program, x, record_states=True)
    return replace(run, currents={}, voltages={"a": np.where(run.spikes["a"] > 0, np.nan, run.voltages["a"])})


def test_a_value_that_is_not_shown_is_not_compared() -> None:
    """Neither counted nor a mismatch, while one that is shown and differs still is."""
    program, x = cells(Reset.ZERO_NEXT_STEP), spikes()
    theirs, ours = shown(program, x), run_cells(program, x, record_states=True)
    fired = int(ours.spikes["a"].sum())
    comparison = compare(program, theirs, ours)
    assert comparison.equal
    assert comparison.compared == {"a": {"spikes": 20 * 5 * 12, "voltages": 20 * 5 * 12 - fired}}
    assert 0 < fired < 600
    quiet = np.argwhere(ours.spikes["a"] == 0)[7]
    ours.voltages["a"][tuple(quiet)] *= 1 + 1e-6
    assert compare(program, theirs, ours).mismatches == {"a": {"spikes": 0, "voltages": 1}}


CAUSES = [
    ("weight", lambda program: with_flipped_bit(program, 0, 3)),
    ("decay", lambda program: with_neuron(program, "a", beta=np.array(29000))),
    ("reset", lambda program: with_neuron(program, "a", reset=Reset.SUBTRACT_NEXT_STEP)),
]


@pytest.mark.parametrize(("cause", "changed"), CAUSES)
def test_causes_are_read_off_membranes_alone(cause: str, changed: Callable) -> None:
    """Where the simulator shows no current."""
    honest, x = cells(), spikes()
    first = compare(honest, shown(honest, x), run_cells(changed(honest), x, record_states=True)).first_divergence
    assert first is not None
    assert first.likely_cause.startswith(cause)
