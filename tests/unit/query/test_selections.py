import operator
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe
from prestow.query import Selection, check_selection, parse_selection

UNIVERSE = load_universe()
FRAME = pl.DataFrame(
    {
        "visit": [1, 2, 3, 4, None],
        "detector": [0, 1, 0, None, 1],
        "band": ["r", "g'", None, "r", "x%"],
        "exposure_time": [1.5, 2.0, None, 60.0, -1.0],
    }
)


def rows(text, **options):
    expression = parse_selection(text, UNIVERSE, **options).expression(FRAME.columns)
    return FRAME.with_row_index().filter(expression)["index"].to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("  \n", [0, 1, 2, 3, 4]),
        ("visit = 2", [1]),
        ("2 == visit", [1]),
        ("visit <> 2", [0, 2, 3]),
        ("VISIT != 2 AND ccd = 0", [0, 2]),
        ("visit in (1, 3..4)", [0, 2, 3]),
        ("visit in (1..4:2)", [0, 2]),
        ("visit not in (1..4:2)", [1, 3]),
        ("not visit in (1..4:2)", [1, 3]),
        ("not not visit > 3", [3]),
        ("3 <= visit", [2, 3]),
        ("visit > 1.5", [1, 2, 3]),
        ("band = 'r' or detector = 1", [0, 1, 3, 4]),
        ("visit = 1 or visit = 2 and detector = 0", [0]),
        ("(visit = 1 or visit = 2) and detector = 1", [1]),
        ("filter = 'g'''", [1]),
        ('filter = "g\'"', [1]),
        ("band like '_'", [0, 3]),
        ("band like '%''%'", [1]),
        ("band like 'x%'", [4]),
        ("band not like 'r'", [1, 4]),
        ("band is null", [2]),
        ("visit.band is not null", [0, 1, 3, 4]),
        ("exposure_time >= 2", [1, 3]),
        ("exposure_time in (2, 60)", [1, 3]),
        ("exposure_time < -.5", [4]),
        ("true", [0, 1, 2, 3, 4]),
        ("not true", []),
        ("visit = detector", []),
        ("visit > detector", [0, 1, 2]),
    ],
)
def test_rows_are_chosen(text, expected):
    assert rows(text) == expected


def test_a_column_that_is_not_there_is_unknown():
    selection = parse_selection("tract = 1 or visit = 1", UNIVERSE)
    verdict = FRAME.select(selection.expression(FRAME.columns)).to_series().to_list()
    assert verdict == [True, None, None, None, None]
    absent = parse_selection("tract is null", UNIVERSE).expression(FRAME.columns)
    assert FRAME.select(absent).to_series().unique().to_list() == [None]


def test_names_are_resolved():
    selection = parse_selection("ccd = 1 and exposure.ra < 3 and dec > 1 and exposure.night = 3", UNIVERSE)
    assert selection.columns == ("day_obs", "dec", "detector", "exposure.ra")


def test_times_are_compared_as_nanoseconds_of_tai():
    frame = pl.DataFrame({"begin": [0, 1_000_000_000, 86_400_000_000_000]})
    for text, expected in [
        ("begin = '1970-01-01T00:00:01'", [1]),
        ("begin < '1970-01-02'", [0, 1]),
        ("begin in ('1970-01-01', '1970-01-02')", [0, 2]),
        ("begin > 999999999", [1, 2]),
    ]:
        selection = parse_selection(text, UNIVERSE)
        assert parse_selection(selection.canonical, UNIVERSE) == selection
        found = frame.with_row_index().filter(selection.expression(["begin"]))["index"].to_list()
        assert found == expected


def test_further_columns_may_be_named():
    selection = parse_selection("size > 3", UNIVERSE, columns={"size": "int"})
    assert selection.columns == ("size",)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Visit IN (4,1, 2..3 , 1)", "visit in (1, 2..3, 4)"),
        ("visit in (2..10:3)", "visit in (2..8:3)"),
        ("visit in (2..4:5, 1)", "visit in (1, 2)"),
        ("visit = 3.0", "visit = 3"),
        ("exposure_time = 3", "exposure_time = 3.0"),
        ("3 > ccd", "detector < 3"),
        ("((visit = 1))", "visit = 1"),
        ("visit=1 and (ccd=1 and tract=1)", "visit = 1 and detector = 1 and tract = 1"),
        ("not not band is null", "band is null"),
        ("not band is null", "band is not null"),
        (
            "not (visit=1 or ccd=1) and (tract=1 or ccd=2)",
            "not (visit = 1 or detector = 1) and (tract = 1 or detector = 2)",
        ),
    ],
)
def test_a_selection_has_one_text(text, canonical):
    selection = parse_selection(text, UNIVERSE)
    assert selection.canonical == canonical
    assert parse_selection(canonical, UNIVERSE) == selection


@pytest.mark.parametrize(
    ("text", "column", "what", "fix"),
    [
        ("vissit = 3", 1, "unknown name 'vissit'", "visit"),
        ("band = r", 8, "unknown name 'r'", "write 'r'"),
        ("exposre.ra > 3", 1, "no dimension 'exposre'", "exposure.ra"),
        ("exposure.rra > 3", 1, "exposure has no 'rra'", "exposure.ra"),
        ("visit = '12'", 9, "visit is an integer, '12' is not", "write 12 without quotes"),
        ("band = 3", 8, "band is text, 3 is not", "write '3'"),
        ("begin > 'noon'", 9, "'noon' is not a time", "TAI"),
        ("begin > '2026-01-01T00:00:00+01:00'", 9, "is not a time", "TAI"),
        ("visit", 6, "a comparison is expected after 'visit'", ""),
        ("visit = ", 9, "a name or value is expected, not the end", ""),
        ("visit = null", 9, "nothing compares with null", "is null"),
        ("visit = 1 ccd = 2", 11, "'ccd' is not expected here", "and"),
        ("visit in (1", 12, "',' or ')' is expected, not the end", ""),
        ("visit in ()", 11, "the list is empty", ""),
        ("visit in (x)", 11, "not the name 'x'", "write 'x'"),
        ("visit in (1, 1.5)", 14, "visit is an integer, 1.5 is not", ""),
        ("visit in (9..4)", 14, "nothing is in the range", ""),
        ("visit in (1..2.5)", 11, "a range is of integers", ""),
        ("ra in (1..3)", 8, "a range is of integers", ""),
        ("visit like 'x'", 1, "'like' is for text", ""),
        ("visit not = 3", 11, "'in' or 'like' is expected", ""),
        ("visit is 3", 10, "'null' is expected, not '3'", ""),
        ("1 = 1", 1, "neither side is a name", ""),
        ("'x' like 'x'", 1, "a condition begins with a name", ""),
        ("visit = 'x", 9, "the quote is not closed", "close it"),
        ("visit @ 3", 7, "'@' is not expected", ""),
        ("visit = 1; drop", 10, "';' is not expected", ""),
        ("visit = 99999999999999999999", 9, "does not fit 64 bits", ""),
        ("ra = 1e999", 6, "is too large", ""),
        ("(" * 200 + "visit = 1", 52, "too many parentheses", ""),
        ("visit = band", 9, "visit is an integer, band is text", ""),
    ],
)
def test_what_is_not_understood_is_named_at_its_column(text, column, what, fix):
    with pytest.raises(ConfigurationError) as caught:
        parse_selection(text, UNIVERSE, place="--where")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("PST-C027", f"--where:{column}")
    assert what in problem.what
    assert fix in problem.fix
    assert problem.excerpt.splitlines()[1].index("^") == column + 5


def test_all_names_and_types_that_do_not_fit_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse_selection("vissit = 3 and band = 3 or foo.x = 1", UNIVERSE)
    assert [p.where for p in caught.value.problems] == ["selection:1", "selection:23", "selection:28"]


def test_a_selection_on_some_dimensions_names_no_others():
    assert check_selection("visit = 1 and day_obs = 2 and object = 'x'", UNIVERSE, ["visit"]) == ()
    (problem,) = check_selection("tract = 1", UNIVERSE, ["visit"])
    assert "'tract' does not belong to this data" in problem.what
    (problem,) = check_selection("object = 'x'", UNIVERSE, ["visit", "exposure"])
    assert problem.fix == "write exposure.object or visit.object"


NUMBER = st.integers(-5, 5)
LEAVES = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["visit", "ccd"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        NUMBER,
    ),
    st.builds(
        "visit in ({}, {}..{}:{})".format, NUMBER, NUMBER.map(lambda n: n - 11), NUMBER, st.integers(1, 20)
    ),
    st.sampled_from(
        ["band is null", "visit is not null", "band = 'r'", "band != 'r'", "band like 'x%'", "visit = ccd"]
    ),
)
TEXTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(TEXTS)
def test_the_one_text_parses_back_to_the_same_selection(text):
    selection = parse_selection(text, UNIVERSE)
    again = parse_selection(selection.canonical, UNIVERSE)
    assert again == selection
    assert again.canonical == selection.canonical


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_the_logic_is_that_of_three_values(left, right):
    def values(text):
        return FRAME.select(parse_selection(text, UNIVERSE).expression(FRAME.columns).alias("x"))[
            "x"
        ].to_list()

    def both(a, b, rule, absorbing):
        return absorbing if absorbing in (a, b) else None if None in (a, b) else rule(a, b)

    a, b = values(left), values(right)
    pairs = list(zip(a, b, strict=True))
    assert values(f"({left}) and ({right})") == [both(x, y, operator.and_, False) for x, y in pairs]
    assert values(f"({left}) or ({right})") == [both(x, y, operator.or_, True) for x, y in pairs]
    assert values(f"not ({left})") == [None if x is None else not x for x in a]


@settings(deadline=None)
@given(st.text(alphabet="visit bandr=<>!()'.,:0123456789andornotinlike%-_é\n", max_size=40))
def test_any_text_is_a_selection_or_one_of_our_errors(text):
    try:
        selection = parse_selection(text, UNIVERSE)
    except ConfigurationError as error:
        assert {p.code for p in error.problems} == {"PST-C027"}
    else:
        assert isinstance(selection, Selection)
        FRAME.select(selection.expression(FRAME.columns))
        assert parse_selection(selection.canonical, UNIVERSE) == selection


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("day_obs >= '2026-01-01'", "day_obs >= 20260101"),
        ("'2026-01-01' = night", "day_obs = 20260101"),
        ("night in ('2026-02-28', '2026-01-01'..'2026-01-31')", "day_obs in (20260101..20260131, 20260228)"),
        ("visit.night != '2024-02-29'", "day_obs != 20240229"),
        (
            "visit in (12..40:2) and band = 'r' and exposure.exposure_time > 30 and day_obs >= '2026-01-01'",
            "visit in (12..40:2) and band = 'r' and exposure.exposure_time > 30.0 and day_obs >= 20260101",
        ),
    ],
)
def test_a_date_in_quotes_is_a_day_where_a_dimension_has_days(text, canonical):
    selection = parse_selection(text, UNIVERSE)
    assert selection.canonical == canonical
    assert parse_selection(canonical, UNIVERSE) == selection


@pytest.mark.parametrize("value", ["'2026-02-30'", "'2026-1-1'", "'2026-01-01T00:00:00'", "'noon'"])
def test_what_is_no_date_is_no_day(value):
    with pytest.raises(ConfigurationError) as caught:
        parse_selection(f"day_obs > {value}", UNIVERSE)
    (problem,) = caught.value.problems
    assert (problem.where, problem.what) == ("selection:11", f"{value} is not a date")
    with pytest.raises(ConfigurationError, match="detector is an integer"):
        parse_selection("detector > '2026-01-01'", UNIVERSE)


def test_names_before_a_fault_of_grammar_are_named_with_it():
    with pytest.raises(ConfigurationError) as caught:
        parse_selection("vissit = 3 and bnad in ('r' and", UNIVERSE)
    assert [(p.where, p.what) for p in caught.value.problems] == [
        ("selection:1", "unknown name 'vissit'"),
        ("selection:16", "unknown name 'bnad'"),
        ("selection:29", "',' or ')' is expected, not 'and'"),
    ]


def test_long_and_deep_texts_are_understood():
    many = parse_selection(" or ".join(f"visit = {i}" for i in range(3000)), UNIVERSE)
    assert len(many.tree.inner) == 3000
    assert parse_selection("not " * 3001 + "visit = 3", UNIVERSE).canonical == "not visit = 3"
    values = ", ".join(map(str, range(0, 6000, 2)))
    listed = parse_selection(f"visit in ({values})", UNIVERSE)
    assert FRAME.filter(listed.expression(FRAME.columns))["visit"].to_list() == [2, 4]
    assert listed.sql({"visit": "v"}).text == "(v IN (SELECT value FROM json_each($1)))"


def test_text_may_be_a_column_of_categories():
    coded = FRAME.with_columns(pl.col("band").cast(pl.Enum(["x%", "r", "g'"])))
    for text in (
        "band = 'r'",
        "band != 'z'",
        "band in ('r', 'z')",
        "band > 'g'",
        "band like '%''%'",
        "band is null",
    ):
        expression = parse_selection(text, UNIVERSE).expression(FRAME.columns)
        plain, codes = FRAME.filter(expression), coded.filter(expression)
        assert plain["visit"].to_list() == codes["visit"].to_list(), text


def test_values_stand_apart_from_the_text_in_sql():
    selection = parse_selection(
        "object = 'x''; DROP TABLE dataset; --' and visit in (1..9:2, 12) and tract = 3", UNIVERSE
    )
    condition = selection.sql({"object": 'r."object"', "visit": 'g."visit"'}, first=4)
    assert condition.values == ("x'; DROP TABLE dataset; --", 12, 1, 9, 2, 3)
    assert "DROP" not in condition.text
    assert condition.text.count("NULL") == 1  # the tract
    assert '(r."object" = $4)' in condition.text


def test_terms_are_what_and_joins():
    selection = parse_selection("visit > 3 and (band = 'r' or ccd = 1) and not tract = 1", UNIVERSE)
    terms = [term.canonical for term in selection.terms]
    assert terms == ["visit > 3", "band = 'r' or detector = 1", "not tract = 1"]
    assert parse_selection("", UNIVERSE).terms == ()
    assert [t.canonical for t in parse_selection("band = 'r' or ccd = 1", UNIVERSE).terms] == [
        "band = 'r' or detector = 1"
    ]


def test_the_parser_is_loaded_when_there_is_something_to_parse():
    code = (
        "import sys, prestow, prestow.query, prestow.plan; from prestow.naming.universe import load_universe; "
        "u = load_universe(); prestow.query.parse_selection(' ', u); assert 'lark' not in sys.modules; "
        "prestow.query.parse_selection('visit = 1', u); assert 'lark' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
