"""Arithmetic over columns of a plan: as Python computes it, and nothing more than arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.pipeline.expressions import SIZES, TIMES, ExpressionError, parse_expression

NAMES = ("n_inputs", "input_bytes", "n_inputs.raw", "visit")
COLUMNS = {name: np.array([1.0, 5.0 + i, 0.5]) for i, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("text", "units", "first"),
    [
        ("2 GB + 60 MB * n_inputs", SIZES, 2.06e9),
        ("1.5 * input_bytes", SIZES, 1.5),
        ("10 min + 2 s * n_inputs", TIMES, 602.0),
        ("max(1 GiB, 2kB*visit, 7)", SIZES, 2.0**30),
        ("-(1 - 3) / 4 * n_inputs.raw", {}, 0.5),
        ("8 - 4 - 2", {}, 2.0),
    ],
)
def test_values_with_units(text, units, first):
    assert parse_expression(text, units, NAMES).evaluate(COLUMNS).flat[0] == first


texts = st.recursive(
    st.one_of(st.integers(1, 99).map(str), st.sampled_from(["n_inputs", "visit"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join),
        inner.map(lambda t: f"- ({t})"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]})"),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(texts)
def test_it_computes_as_python_does(text):
    known = {"n_inputs": 3.0, "visit": 7.0, "max": max}
    try:
        expected = eval(text, {"__builtins__": {}}, known)  # noqa: S307 - made above, of arithmetic alone
    except ZeroDivisionError:
        expected = None
    found = parse_expression(text, {}, NAMES).evaluate({"n_inputs": np.array(3.0), "visit": np.array(7.0)})
    if expected is None:
        return
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "offset", "what", "fix"),
    [
        ("2 GB + 60 MB * n_imputs", 15, "unknown name 'n_imputs'", "did you mean 'n_inputs'?"),
        ("2 GG + 1", 2, "an operator: + - * / is expected, not 'GG'", "did you mean 'GB'?"),
        ("2 +", 3, "a number or a name is expected, not the end", ""),
        ("(2 + 1", 6, "')' is expected, not the end", ""),
        ("max(2)", 5, "',' is expected, not ')'", ""),
        ("2 ** 3", 3, "a number or a name is expected, not '*'", ""),
        ("__import__('os')", 11, "has no meaning here", ""),
        ("__import__(1)", 0, "unknown name '__import__'", ""),
        ("n_inputs; 1", 8, "';' has no meaning here", ""),
        ("(" * 60 + "1" + ")" * 60, 50, "nested too deeply", ""),
    ],
)
def test_what_is_wrong_is_said_at_its_character(text, offset, what, fix):
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text, SIZES, NAMES)
    assert (caught.value.offset, what in caught.value.what) == (offset, True)
    assert fix in caught.value.fix
