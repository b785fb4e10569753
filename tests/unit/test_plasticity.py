"""The language of learning rules: sums of products as written, and an interpreter that takes them literally."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.ir.plasticity import Factor, Rule, Term, Update, terms
from neurodeploy.learning.interpreter import weight_change

NAMES = st.sampled_from(["eps", "x", "psi", "L", "a1", "rho"])
PRODUCTS = st.tuples(
    st.sampled_from([1.0, -1.0, 0.5, -2.25]), st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=4)
)


@given(st.lists(PRODUCTS, min_size=1, max_size=5))
def test_what_is_written_is_what_is_read(products: list[tuple[float, list[tuple[str, bool]]]]) -> None:
    written = " ".join(
        f"{'-' if c < 0 else '+'} {abs(c)}*" + "*".join(name + "'" * before for name, before in factors)
        for c, factors in products
    )
    expected = tuple(Term(c, tuple(Factor(name, before) for name, before in factors)) for c, factors in products)
    assert terms(written) == expected


@pytest.mark.parametrize("equation", ["x +", "2 eps", "x**2", "x''", "(x)", "x/2", "é"])
def test_what_is_no_sum_of_products_is_a_defect(equation: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        terms(equation)


def test_a_rule_uses_only_what_its_side_knows() -> None:
    """A presynaptic trace cannot see the postsynaptic neuron; a constant must be declared."""
    for wrong in ({"pre": {"t": "z"}}, {"post": {"t": "x"}}, {"pre": {"t": "decay*t' + x"}}):
        with pytest.raises(ValueError, match="uses"):
            Rule(name="wrong", weight="x*z", **wrong)


def test_the_interpreter_counts_pairs_of_spikes_as_a_loop_would() -> None:
    """Accumulated dw = x' z with x a leaky trace, against three nested loops."""
    rule = Rule(name="pairs", pre={"t": "0.5*t' + x"}, weight="t'*z")
    generator = torch.Generator().manual_seed(0)
    x, z = ((torch.rand(12, 2, n, generator=generator) < 0.4).double() for n in (3, 4))
    change, _ = weight_change(rule, x, z)
    for post in range(4):
        for pre in range(3):
            expected = sum(
                0.5 ** (late - early - 1)
                for sample in range(2)
                for late in range(12)
                for early in range(late)
                if z[late, sample, post] and x[early, sample, pre]
            )
            assert float(change[post, pre]) == pytest.approx(expected, abs=1e-12)


def test_a_rule_may_be_taken_at_the_end_and_go_on_from_before() -> None:
    rule = Rule(name="counts", pre={"n": "n' + x"}, post={"m": "m' + z"}, weight="n*m", update=Update.SAMPLE_END)
    x, z = torch.ones(5, 1, 2).double(), torch.ones(5, 1, 3).double()
    change, last = weight_change(rule, x, z)
    assert change.tolist() == [[25.0, 25.0]] * 3
    change, _ = weight_change(rule, x, z, before=last)
    assert change.tolist() == [[100.0, 100.0]] * 3


def test_phases_advance_only_their_own_variables() -> None:
    rule = Rule(
        name="two phases",
        pre={"n": "n' + x"},
        post={"m": "m' + z"},
        weight="n*m",
        update=Update.SAMPLE_END,
        phases={"n": "forward", "m": "backward"},
    )
    x, z = torch.ones(5, 1, 2).double(), torch.ones(5, 1, 3).double()
    nothing, last = weight_change(rule, x, z, phase="forward")
    assert not nothing.any()
    change, _ = weight_change(rule, x[:3], z[:3], phase="backward", before=last)
    assert change.tolist() == [[15.0, 15.0]] * 3


def test_constants_must_be_given() -> None:
    rule = replace(Rule(name="r", weight="x*z"), pre={"t": "decay*t' + x"}, weight="t*z", constants=("decay",))
    with pytest.raises(ValueError, match="decay"):
        weight_change(rule, torch.ones(2, 1, 1), torch.ones(2, 1, 1))
