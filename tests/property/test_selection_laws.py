"""Laws of selections: a database and columns choose the same rows, also of what is unknown."""

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prestow.naming.universe import load_universe
from prestow.plan.frames import describe, imply
from prestow.query import parse_selection
from prestow.registry import Registry
from prestow.testing.databases import empty
from prestow.testing.surveys import Survey, fill

UNIVERSE = load_universe()
LAWS = settings(max_examples=100, deadline=None)
TEXTS = ["r", "R", "g'", "", "a*c", "a?c", "a[c", "a%c", "a_c", "abc", "ab\nc", "é", "\U0001f52d", "z"]
KINDS = {
    "instrument": pl.String, "exposure": pl.Int64, "physical_filter": pl.String, "day_obs": pl.Int64,
    "observation_type": pl.String, "exposure_time": pl.Float64, "begin": pl.Int64, "object": pl.String,
    "file_number": pl.Int64,
}  # fmt: skip
SMALL = st.integers(-4, 4)
BIG = st.sampled_from([0, 1, (1 << 53) + 1, (1 << 62), -(1 << 62)])
NUMBERS = st.sampled_from([-1.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 1e18])


@st.composite
def records(draw):
    """Some exposures of which much is unknown."""
    rows = draw(
        st.lists(
            st.tuples(
                SMALL, st.none() | st.sampled_from(TEXTS), st.none() | st.sampled_from([20251231, 20260101]),
                st.none() | st.sampled_from(TEXTS), st.none() | NUMBERS, st.none() | BIG,
                st.none() | st.sampled_from(TEXTS), st.none() | BIG | SMALL,
            ),
            max_size=12,
            unique_by=lambda row: row[0],
        )
    )  # fmt: skip
    return pl.DataFrame([("sim", *row) for row in rows], schema=KINDS, orient="row")


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


TEXT_COLUMNS = st.sampled_from(["object", "physical_filter", "exposure.observation_type"])
INTS = st.sampled_from(["exposure", "exposure.file_number"])
COMPARED = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
PATTERNS = st.text(alphabet="%_*?[]^-abcRrG'é", max_size=5)
LEAVES = st.one_of(
    st.builds("{} {} {}".format, INTS, COMPARED, SMALL | BIG | NUMBERS),
    st.builds("exposure_time {} {}".format, COMPARED, SMALL | NUMBERS),
    st.builds("{} {} {}".format, TEXT_COLUMNS, COMPARED, st.sampled_from(TEXTS).map(quoted)),
    st.builds("{} {} {}".format, TEXT_COLUMNS, COMPARED, TEXT_COLUMNS),
    st.builds("exposure_time {} file_number".format, COMPARED),
    st.builds("day_obs {} '2026-01-01'".format, COMPARED),
    st.builds(
        "{} in ({}, {}..{}:{})".format, INTS, SMALL, SMALL.map(lambda n: n - 9), SMALL, st.integers(1, 3)
    ),
    st.builds("{} in ({}, {})".format, TEXT_COLUMNS, st.sampled_from(TEXTS).map(quoted), st.just("'zz'")),
    st.builds("{} like {}".format, TEXT_COLUMNS, PATTERNS.map(quoted)),
    st.builds("{} is null".format, TEXT_COLUMNS | INTS | st.just("begin")),
    st.sampled_from(["begin < '1970-01-02'", "detector.purpose = 'x'", "tract is null", "true"]),
)
SELECTIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory, dialect):
    directory = tmp_path_factory.mktemp("laws of selections")
    with empty(dialect, directory) as url, Registry.open(url, UNIVERSE, create=True) as registry:
        yield registry


def chosen_by_sql(registry, frame, selection, verdict):
    names = {c: c if c in frame.columns else c.rpartition(".")[2] for c in selection.columns}
    known = {c: f'"{name}"' for c, name in names.items() if name in frame.columns}
    found = selection.sql(known, dialect=registry._db.dialect)
    with registry._db.scratch():
        registry._db.stage("s_frame", frame.to_arrow())
        rows = registry._db.rows(f"SELECT exposure FROM s_frame WHERE {found.text} {verdict}", *found.values)
    return sorted(row[0] for row in rows)


@LAWS
@given(frame=records(), text=SELECTIONS, categories=st.booleans())
def test_a_database_and_columns_choose_the_same_rows(registry, frame, text, categories):
    selection = parse_selection(text, UNIVERSE)
    wide = frame
    if categories:
        wide = wide.with_columns(pl.col(pl.String).cast(pl.Enum(sorted({*TEXTS, "sim"}))))
    more = {c: c.rpartition(".")[2] for c in selection.columns if c.rpartition(".")[2] in frame.columns}
    wide = wide.with_columns(pl.col(name).alias(c) for c, name in more.items() if c != name)
    verdict = selection.expression(wide.columns)
    surely = sorted(wide.filter(verdict)["exposure"])
    surely_not = sorted(wide.filter(verdict.not_())["exposure"])
    assert chosen_by_sql(registry, frame, selection, "") == surely
    assert chosen_by_sql(registry, frame, selection, "IS FALSE") == surely_not


# ---- what a registry decides of datasets


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, dialect):
    """A registry of a small survey, and all its raws with everything that is known of them."""
    directory = tmp_path_factory.mktemp("laws of campaigns")
    survey = Survey.make(6, 2, bands=("g", "r", "i"))
    with empty(dialect, directory) as url, Registry.open(url, UNIVERSE, create=True) as registry:
        fill(registry, survey)
        frames = {name: pl.from_arrow(registry.datasets([name], ["raw"])) for name in ("raw", "flat", "bias")}
        records = {name: pl.from_arrow(registry.dimension_records(name)) for name in UNIVERSE.dimensions}
        yield registry, frames, records


OF_DATASETS = st.one_of(
    st.builds("exposure {} {}".format, COMPARED, st.integers(0, 7)),
    st.builds("exposure_time {} {}".format, COMPARED, st.integers(0, 70)),
    st.builds("visit {} {}".format, COMPARED, st.integers(0, 7)),
    st.builds("band {} {}".format, COMPARED, st.sampled_from(["'g'", "'r'", "'z'"])),
    st.builds("physical_filter like {}".format, st.sampled_from(["'%_sim'", "'G%'", "'g%'"])),
    st.builds("detector in ({}, 5)".format, st.integers(0, 2)),
    st.sampled_from(
        [
            "band is null",
            "day_obs < '2026-01-01'",
            "exposure.observation_type = 'dark'",
            "object is null",
            "tract = 3",
            "size > 3",
            "true",
        ]
    ),
)
CHOICES = st.recursive(
    OF_DATASETS,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None)
@example(text="not ((exposure = 0 or true))", kind="flat", unknown=True)
@given(text=CHOICES, kind=st.sampled_from(["raw", "flat", "bias"]), unknown=st.booleans())
def test_a_registry_gives_what_columns_would_choose(campaign, text, kind, unknown):
    registry, frames, records = campaign
    selection = parse_selection(text, UNIVERSE, columns={"size": "int"})
    table = registry.datasets([kind], ["raw"], where=selection, unknown=unknown, besides=("size",))
    found = pl.from_arrow(table)
    wide = frames[kind].drop("size")
    if "visit" in selection.columns and "exposure" in wide.columns:
        links = pl.from_arrow(registry.relation("visit_definition"))
        wide = wide.join(links, on=["instrument", "exposure"], how="left", maintain_order="left")
    wide = imply(wide, UNIVERSE, records)
    wide = describe(wide, UNIVERSE, records, selection.columns)
    expected = wide.filter(selection.expression(wide.columns).fill_null(value=unknown))
    assert found["id"].to_list() == expected["id"].to_list()
    assert found.equals(frames[kind].filter(pl.col("id").is_in(found["id"].implode())))
