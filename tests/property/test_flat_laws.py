"""Flat names: two paths have two names, each gives its path back, alone and in columns; and no shell looks at them twice."""

import re

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prestow.errors import PrestowError
from prestow.naming.flat import LONGEST, flat_name, flat_names, flat_path, refuse_long

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
LIKELY = st.text(st.sampled_from("aAbBF27e.-_~+/%2 #['é"), min_size=1, max_size=24)
PATHS = st.one_of(TEXTS, LIKELY)


@given(PATHS)
def test_a_flat_name_gives_its_path_back(path: str) -> None:
    name = flat_name(path)
    assert flat_path(name) == path
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+~-]*", name)


@given(PATHS, PATHS)
def test_two_paths_have_two_names_also_where_case_is_folded(one: str, other: str) -> None:
    assume(one != other)
    assert flat_name(one) != flat_name(other)
    if flat_name(one).lower() == flat_name(other).lower():
        assert one.lower() == other.lower()


@given(LIKELY)
def test_what_no_path_has_for_its_flat_name_is_refused(name: str) -> None:
    try:
        path = flat_path(name)
    except PrestowError as error:
        assert error.problems[0].code == "PST-N072"
    else:
        assert flat_name(path) == name


@given(st.lists(st.one_of(st.none(), PATHS), max_size=8))
def test_in_columns_they_are_the_same(paths: list[str | None]) -> None:
    frame = pl.DataFrame({"path": paths}, schema={"path": pl.String})
    wanted = [None if path is None else flat_name(path) for path in paths]
    assert frame.select(flat_names(pl.col("path")))["path"].to_list() == wanted
    assert frame.lazy().select(flat_names(pl.col("path"))).collect()["path"].to_list() == wanted


def test_a_name_longer_than_a_file_may_have_is_refused() -> None:
    fits = "a/" + "b" * (LONGEST - 2)
    assert len(flat_name(fits)) == LONGEST
    with pytest.raises(PrestowError, match="PST-N070") as told:
        flat_name("é" * 50)
    assert "303 octets" in str(told.value)
    names = pl.DataFrame({"path": [fits, fits + "c"]}).select(flat_names(pl.col("path")))["path"]
    refuse_long(names.head(1))
    with pytest.raises(PrestowError, match="PST-N070"):
        refuse_long(names)
