"""Laws of matching: joins of any shape say what a loop over all data IDs says, and every candidate is counted once."""

import itertools
import json
import math

import polars as pl
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection, Pipeline
from prestow.plan import Request, build_plan
from prestow.plan.keys import find, pack
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, exist, task

FEW = settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
KINDS = {
    "raw": ("exposure", "detector"), "dark": ("exposure",), "bias": ("detector",), "band_map": ("band",),
    "flat": ("physical_filter", "detector"), "sky": ("visit",), "mask": ("visit", "detector"), "table": (),
}  # fmt: skip
SHAPES = [("visit",), ("visit", "detector"), ("detector",), ("instrument", "band"), ("instrument", "band", "detector"),
          ("physical_filter", "detector"), ("physical_filter",), ("instrument",)]  # fmt: skip


@st.composite
def worlds(draw):
    """A small survey with some datasets of every kind."""
    survey = Survey.make(
        draw(st.integers(1, 4)), draw(st.integers(1, 3)), bands=draw(st.sampled_from(["g", "gr"]))
    )
    records = survey.records
    every = {
        "raw": survey.existing["raw"].select("instrument", "exposure", "detector"),
        "dark": records["exposure"].select("instrument", "exposure"),
        "bias": records["detector"].select("instrument", "detector"),
        "band_map": records["physical_filter"].select("band").unique(),
        "flat": survey.existing["flat"].select("instrument", "physical_filter", "detector"),
        "sky": records["visit"].select("instrument", "visit"),
        "mask": records["visit"].select("instrument", "visit").join(records["detector"], on="instrument"),
    }
    existing = {}
    for name, frame in every.items():
        frame = frame.sort(frame.columns)
        kept = draw(st.lists(st.booleans(), min_size=frame.height, max_size=frame.height))
        existing[name] = exist(name, frame.filter(pl.Series(kept, dtype=pl.Boolean)))
    return Survey(existing, records, survey.relations)


@st.composite
def tasks(draw):
    names = draw(
        st.lists(st.sampled_from([k for k in KINDS if k != "table"]), min_size=1, max_size=3, unique=True)
    )
    inputs = []
    for name in names:
        how = draw(st.sampled_from(["all", "all", 1, 2, 0, 0.5, "prerequisite"]))
        minimum = "all" if how == "prerequisite" else how
        inputs.append(InputConnection(name, name, minimum, prerequisite=how == "prerequisite"))
    return task("t", draw(st.sampled_from(SHAPES)), inputs, ["x"])


def values_of(survey, data_id, linked):
    """All that a data ID tells: itself, what it implies, and the visit of an exposure."""
    known = dict(data_id)
    records = {name: frame.to_dicts() for name, frame in survey.records.items()}
    for element in ("exposure", "visit", "physical_filter"):
        if element == "visit" and "visit" not in known and "exposure" in known and linked:
            rows = survey.relations["visit_definition"].to_dicts()
            known["visit"] = next((r["visit"] for r in rows if r["exposure"] == known["exposure"]), None)
        if element in known:
            row = next((r for r in records[element] if r[element] == known[element]), {})
            for name in UNIVERSE.dimensions[element].implies:
                known.setdefault(name, row.get(name))
    return known


def by_hand(survey, one):
    """{data ID: {connection: data IDs read}} of the quanta of a task, looked at one by one."""
    domain = {
        "visit": survey.records["visit"]["visit"].to_list(), "instrument": ["sim"],
        "detector": survey.records["detector"]["detector"].to_list(),
        "band": survey.records["physical_filter"]["band"].to_list(),
        "physical_filter": survey.records["physical_filter"]["physical_filter"].to_list(),
    }  # fmt: skip
    told = set()
    for c in one.inputs:
        if c.minimum != 0 and not c.prerequisite:
            told |= {*UNIVERSE.expand(KINDS[c.type]), *(("visit",) if "exposure" in KINDS[c.type] else ())}
    if "band" in one.dimensions and not told & {"band"}:
        domain["band"] = []  # nothing tells which there are
    if not told & {"instrument"} and not {"visit", "detector", "physical_filter"} & set(one.dimensions):
        domain["instrument"] = []
    sets = {
        c.name: survey.existing[c.type].select(UNIVERSE.close(KINDS[c.type])).to_dicts() for c in one.inputs
    }
    linked = "visit" in one.dimensions
    sets = {name: [(d, values_of(survey, d, linked)) for d in found] for name, found in sets.items()}
    result = {}
    for values in itertools.product(*(sorted(set(domain[d])) for d in one.dimensions)):
        data_id = dict(zip(one.dimensions, values, strict=True))
        mine = values_of(survey, data_id, linked=False)
        reads = {}
        for c in one.inputs:
            shared = [n for n in UNIVERSE.expand(one.dimensions)]
            reads[c.name] = [
                d for d, v in sets[c.name]
                if all(v[n] == mine[n] and v[n] is not None for n in shared if n in v)
            ]  # fmt: skip
        need = {c.name: 1 if isinstance(c.minimum, str | float) else c.minimum for c in one.inputs}
        if all(len(reads[name]) >= number for name, number in need.items()):
            result[json.dumps(data_id, sort_keys=True)] = reads
    return result


def of_plan(plan):
    quanta = plan.tables["quanta"].select("quantum", mine="data_id")
    pairs = (
        plan.tables["inputs"]
        .join(quanta, on="quantum")
        .join(plan.tables["datasets"].select("dataset", "data_id"), on="dataset")
    )
    result = {json.dumps(json.loads(text), sort_keys=True): {} for text in quanta["mine"]}
    for mine, connection, other in pairs.select("mine", "connection", "data_id").iter_rows():
        result[json.dumps(json.loads(mine), sort_keys=True)].setdefault(connection, []).append(
            json.loads(other)
        )
    return result


def plan_of(survey, one, **more):
    types = {c.type: dataset_type(c.type, *KINDS[c.type], template="") for c in one.inputs}
    types["x"] = dataset_type("x", *one.dimensions)
    request = Request("demo", Pipeline("toy", "", (one,), types), UNIVERSE, ("raw",), waive=("*",), **more)
    return build_plan(request, survey)


@FEW
@given(worlds(), tasks(), st.integers(0, 99))
def test_joins_of_any_shape_are_what_a_loop_says(survey, one, seed):
    expected = by_hand(survey, one)
    try:
        plan = plan_of(survey, one)
    except PlanRefusedError as error:
        assert not expected or {p.code for p in error.problems} == {"PST-P021"}
        return
    assert {
        key: {n: sorted(map(str, r)) for n, r in reads.items()} for key, reads in of_plan(plan).items()
    } == {key: {n: sorted(map(str, r)) for n, r in reads.items() if r} for key, reads in expected.items()}
    left_out = plan.tables["left_out"]["data_id"].to_list()
    assert len(set(left_out)) == len(left_out) == sum(plan.counts["t"]["left_out"].values())
    assert set(left_out).isdisjoint(plan.tables["quanta"]["data_id"].to_list())
    again = plan_of(survey.shuffled(seed), one)
    assert (again.id, again.document) == (plan.id, plan.document)


@FEW
@given(worlds(), st.sampled_from([0, 1, 2, 0.3, 0.5, 0.7, "all"]), st.booleans())
def test_every_candidate_is_kept_or_left_out_once(survey, minimum, prerequisite):
    flat = InputConnection("flat", "flat", prerequisite=prerequisite)
    first = task("first", ["visit", "detector"], ["raw", flat], ["y"])
    second = task("second", ["visit"], [InputConnection("y", "y", minimum)], ["x"])
    types = {k: dataset_type(k, *KINDS[k], template="") for k in ("raw", "flat")}
    types |= {"y": dataset_type("y", "visit", "detector"), "x": dataset_type("x", "visit")}
    request = Request("demo", Pipeline("toy", "", (first, second), types), UNIVERSE, ("raw",), waive=("*",))
    raws = survey.existing["raw"].filter(pl.col("exposure") > 0)
    assume(minimum != 2 or survey.records["detector"].height > 1)
    try:
        plan = build_plan(request, survey)
    except PlanRefusedError:
        return
    counts = plan.counts
    assert counts["first"]["quanta"] + sum(counts["first"]["left_out"].values()) == raws.height
    made = plan.tables["quanta"].filter(pl.col("task") == "first").group_by("visit").len("made")
    there = raws.group_by(visit="exposure").len("there").join(made, on="visit", how="left").fill_null(0)
    kept = set(plan.tables["quanta"].filter(pl.col("task") == "second")["visit"])
    if minimum == 0:  # an optional input tells of no quantum
        assert kept == set(survey.records["visit"]["visit"])
        return
    assert counts["second"]["quanta"] + sum(counts["second"]["left_out"].values()) == there.height
    for visit, number, made_of_it in there.select("visit", "there", "made").iter_rows():
        need = (
            math.ceil(number * minimum - 1e-9)
            if isinstance(minimum, float)
            else 1
            if minimum == "all"
            else minimum
        )
        assert (visit in kept) == (made_of_it >= max(need, 1))


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.none() | st.integers(-(2**62), 2**62), st.sampled_from("abc")),
        max_size=9,
    ),
    st.lists(
        st.tuples(st.integers(-3, 3), st.none() | st.integers(-(2**62), 2**62), st.sampled_from("abc")),
        max_size=9,
    ),
)
@example([], [(0, 2**62, "a"), (0, -(2**62), "a")])
@settings(max_examples=60, deadline=None)
def test_a_packed_key_is_its_columns(left, right):
    schema = {"a": pl.Int64, "b": pl.Int64, "c": pl.Enum(["a", "b", "c"])}
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in (left, right)]
    (one, other), below = pack(frames, list(schema))
    rows = [*left, *right]
    keys = [*one.to_list(), *other.to_list()]
    assert all((key is None) == (None in row) for key, row in zip(keys, rows, strict=True))
    known = [(key, row) for key, row in zip(keys, rows, strict=True) if key is not None]
    assert all(0 <= key < below for key, _ in known)
    assert all((k < j) == (r < s) and (k == j) == (r == s) for k, r in known for j, s in known)
    once = other.unique(maintain_order=True)
    found = find(one, once, below).to_list()
    table = {key: i for i, key in enumerate(once.to_list()) if key is not None}
    assert found == [table.get(key) if key is not None else None for key in one.to_list()]
