"""Ids and recipes in columns equal those of the page of hashing, for any values."""

import uuid

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prestow.model import DataId, hashing
from prestow.model.data_id import check_value
from prestow.naming import identity, octets
from prestow.plan.passes.recipe import add_terms

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
PAIRS = {"quantum": pl.UInt32, "dataset": pl.UInt32}


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


def summed(quanta, terms):
    """Sum terms, given as hexadecimal digits, for each of four quanta, as the planner does."""
    pairs = pl.DataFrame({"quantum": quanta, "dataset": range(len(quanta))}, schema=PAIRS)
    words = octets.to_words(octets.from_hex(pl.Series(terms, dtype=pl.String), 32))
    sums = np.zeros((4, 4), np.uint64)
    add_terms(sums, pairs.sort("quantum", maintain_order=True), words)
    return octets.to_hex(octets.from_words(sums))


@given(st.lists(st.tuples(st.integers(0, 3), NAMES, NAMES, HEX), max_size=12), NAMES)
def test_planned_recipes(inputs, task):
    terms = pl.DataFrame(
        [(c, t, '{"visit":1}', r) for _, c, t, r in inputs],
        schema=dict.fromkeys("ctdr", pl.String),
        orient="row",
    ).select(identity.input_terms(pl.col("c"), pl.col("t"), pl.col("d"), pl.col("r")))
    quanta = pl.DataFrame(
        {
            "data_id": [f'{{"visit":{i}}}' for i in range(4)],
            "sum": summed([q for q, *_ in inputs], terms["term"].to_list()),
        }
    )
    made = quanta.select(identity.planned_recipes(task, pl.col("data_id"), pl.col("sum"))).to_series()
    expected = [
        hashing.planned_recipe(
            task,
            f'{{"visit":{i}}}',
            [hashing.input_term(c, t, '{"visit":1}', r) for q, c, t, r in inputs if q == i],
        )
        for i in range(4)
    ]
    assert made.to_list() == expected


@given(st.lists(HEX, min_size=1, max_size=6))
def test_sums_wrap_at_128_bits(terms):
    expected = f"{sum(int(t, 16) for t in terms) % (1 << 128):032x}"
    assert summed([0] * len(terms), terms).to_list() == [expected, *["0" * 32] * 3]


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=5))
def test_octets_and_texts(values):
    held = octets.from_binary(pl.Series(values, dtype=pl.Binary))
    texts = octets.to_hex(held)
    assert texts.to_list() == [value.hex() for value in values]
    assert [row.tobytes() for row in octets.from_hex(texts, 32)] == values
    named = pl.Series([str(uuid.UUID(bytes=value)) for value in values], dtype=pl.String)
    assert [row.tobytes() for row in octets.from_uuid_text(named)] == values
    assert octets.to_arrow(held).to_pylist() == values


@given(HEX)
def test_recipes_as_bytes_and_back(recipe):
    frame = pl.DataFrame({"r": [recipe]}).with_columns(b=pl.col("r").str.decode("hex"))
    assert frame["b"].item() == bytes.fromhex(recipe)
    assert frame.select(identity.recipe_text(pl.col("b"))).item() == recipe
