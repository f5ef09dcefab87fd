"""Laws of names in universes that nobody has thought of: templates that are accepted read back and never clash."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import ConfigurationError, PlanRefusedError
from prestow.model.data_id import check_value
from prestow.model.universe import Dimension, Universe
from prestow.naming.templates import Field, bad_names, compile_template, twins

NAMES = ("a", "b", "cc", "d_1", "e")
WORDS = st.one_of(
    st.text(max_size=6).filter(lambda text: check_value(text) is None),
    st.sampled_from(["a", "a-b", "-", "b-a", ".", "..", "1", "01", "a_1", "A", "é", "%41", "x/y", "a.b"]),
)
NUMBERS = st.integers(-3, 120) | st.integers(-(1 << 63), (1 << 63) - 1)
LITERALS = st.text("aB1._+-/", max_size=4)


@st.composite
def universes(draw):
    """A universe of up to five dimensions, each of which may require and imply earlier ones."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    made = {}
    for i, name in enumerate(names):
        earlier = names[:i]
        requires = tuple(d for d in earlier if draw(st.integers(0, 3)) == 0)
        implies = tuple(d for d in earlier if d not in requires and draw(st.integers(0, 3)) == 0)
        made[name] = Dimension(name, draw(st.sampled_from(["int", "str"])), requires, implies, (), {})
    return Universe("any", 1, made, {})


@st.composite
def cases(draw):
    """A universe, dimensions of it, a template text, and rows of values for all that these imply."""
    universe = draw(universes())
    dimensions = universe.close(draw(st.lists(st.sampled_from(sorted(universe.dimensions)), max_size=3)))
    fields = ["run", *dimensions]
    fields += draw(st.lists(st.sampled_from([*universe.expand(dimensions), "run", "type"]), max_size=2))
    head, *rest = fields if draw(st.booleans()) else draw(st.permutations(fields))
    text = f"{{{head}}}"
    for name in rest:
        integer = name in universe.dimensions and universe.dimensions[name].type == "int"
        width = draw(st.sampled_from(["", ":03d"])) if integer else ""
        text += draw(st.sampled_from(["/", "-", "_", "/x", ""]) | LITERALS) + f"{{{name}{width}}}"
    text += draw(st.sampled_from([".fits", "", "/end.json"]))
    values = {
        d: NUMBERS if universe.dimensions[d].type == "int" else WORDS for d in universe.expand(dimensions)
    }
    rows = draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=8))
    unique = {tuple(row[d] for d in dimensions): row for row in rows}
    return universe, dimensions, text, list(unique.values())


@given(cases())
@settings(max_examples=100, deadline=None)
def test_a_template_is_refused_or_its_names_read_back_and_never_clash(case):
    universe, dimensions, text, rows = case
    try:
        template = compile_template(text, dimensions, universe, dataset_type="kind")
    except ConfigurationError as error:
        assert {p.code for p in error.problems} == {"PST-C030"}
        return
    assert {f.name for f in template.parts if isinstance(f, Field)} >= {"run", *dimensions}
    kinds = {
        d: pl.Int64 if universe.dimensions[d].type == "int" else pl.String
        for d in universe.expand(dimensions)
    }
    frame = pl.DataFrame(rows, schema=kinds) if kinds else pl.DataFrame({"_": [0]})
    frame = frame.with_columns(
        template.column("demo").alias("path"), template.reads_back("demo").alias("back")
    )
    bad = set(bad_names(frame["path"])["row"].to_list())
    good = []
    for i, (row, path, back) in enumerate(zip(rows, frame["path"], frame["back"], strict=True)):
        shown = {name: row[name] for name in template.columns}
        try:
            assert template.path("demo", row) == path
        except PlanRefusedError:
            assert i in bad
            continue
        assert i not in bad
        assert (template.parse(path) == ("demo", shown)) is back
        if back:
            good.append(path)
    assert len(set(good)) == len(good)
    folded = twins(pl.Series("path", good, pl.String))
    assert set(folded["path"]) == {p for p in good if [q.lower() for q in good].count(p.lower()) > 1}
