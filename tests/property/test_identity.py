"""Ids and recipes in columns equal those of the page of hashing, for any values."""

import uuid

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prestow.model import DataId, hashing
from prestow.model.data_id import check_value
from prestow.naming import identity

WORDS = st.text(max_size=10).filter(lambda text: check_value(text) is None)
ROWS = st.lists(
    st.fixed_dictionaries({"instrument": WORDS, "visit": st.integers(-(1 << 63), (1 << 63) - 1)}),
    min_size=1,
    max_size=6,
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
RUNS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,8}", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
DIMENSIONS = ("visit", "instrument")


def frame_of(rows):
    return pl.DataFrame(rows, schema={"visit": pl.Int64, "instrument": pl.String})


@given(ROWS, NAMES, RUNS)
def test_ids_of_datasets_and_quanta(rows, name, run):
    frame = frame_of(rows).with_columns(
        dataset=identity.dataset_ids(name, run, DIMENSIONS),
        quantum=identity.quantum_ids(pl.lit(name), pl.lit(run), DIMENSIONS),
    )
    text = frame.select(identity.uuid_text(pl.col(c)) for c in ("dataset", "quantum"))
    assert text["dataset"].to_list() == [hashing.dataset_id(name, run, row) for row in rows]
    assert text["quantum"].to_list() == [hashing.quantum_id(name, run, row) for row in rows]
    assert frame["dataset"].to_list() == [uuid.UUID(i).bytes for i in text["dataset"]]
    back = text.select(identity.uuid_bytes(pl.col("dataset")))
    assert back["dataset"].to_list() == frame["dataset"].to_list()


@given(ROWS)
def test_canonical_json_of_data_ids(rows):
    frame = frame_of(rows)
    made = frame.select(identity.data_id_json(DIMENSIONS, frame.schema)).to_series().to_list()
    assert made == [DataId(row).json() for row in rows]


def test_a_dataset_without_dimensions_has_an_id_too():
    frame = pl.DataFrame({"x": [1]})
    made = frame.select(identity.uuid_text(identity.dataset_ids("schema", "demo", ()))).item()
    assert made == hashing.dataset_id("schema", "demo", {})
    assert frame.select(identity.data_id_json((), frame.schema)).item() == "{}"


@given(st.lists(st.tuples(st.integers(0, 3), NAMES, NAMES, HEX), max_size=12), NAMES)
def test_planned_recipes(inputs, task):
    terms = pl.LazyFrame(
        [(q, c, t, '{"visit":1}', r) for q, c, t, r in inputs],
        schema={"quantum": pl.Int64, "c": pl.String, "t": pl.String, "d": pl.String, "r": pl.String},
        orient="row",
    ).with_columns(identity.input_terms(pl.col("c"), pl.col("t"), pl.col("d"), pl.col("r")))
    quanta = pl.LazyFrame({"quantum": [0, 1, 2, 3], "data_id": [f'{{"visit":{i}}}' for i in range(4)]})
    made = (
        quanta.join(identity.sum_terms(terms, "quantum"), on="quantum", how="left", maintain_order="left")
        .with_columns(pl.col("sum").fill_null(identity.NO_TERMS))
        .select(identity.planned_recipes(task, pl.col("data_id"), pl.col("sum")))
        .collect()["recipe"]
        .to_list()
    )
    expected = [
        hashing.planned_recipe(
            task,
            f'{{"visit":{i}}}',
            [hashing.input_term(c, t, '{"visit":1}', r) for q, c, t, r in inputs if q == i],
        )
        for i in range(4)
    ]
    assert made == expected


@given(st.lists(HEX, min_size=1, max_size=6))
def test_sums_wrap_at_128_bits(terms):
    frame = pl.LazyFrame({"quantum": [0] * len(terms), "term": terms})
    made = identity.sum_terms(frame, ["quantum"]).collect()["sum"].item()
    assert made == f"{sum(int(t, 16) for t in terms) % (1 << 128):032x}"


@given(HEX)
def test_recipes_as_bytes_and_back(recipe):
    frame = pl.DataFrame({"r": [recipe]}).with_columns(b=identity.recipe_bytes(pl.col("r")))
    assert frame["b"].item() == bytes.fromhex(recipe)
    assert frame.select(identity.recipe_text(pl.col("b"))).item() == recipe
