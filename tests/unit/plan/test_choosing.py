"""What a request takes: exclusions with a reason, tables of data IDs, and which term left nothing."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.plan import Request, build_plan, open_plan, write_plan
from prestow.plan.request import Exclusion
from prestow.query.data_ids import read_data_ids
from prestow.testing.surveys import UNIVERSE, Survey, reduction

SURVEY = Survey.make(6, 2, bands=("g", "r", "i"))


def made(survey=SURVEY, *, exclude=(), **more):
    excluded = tuple(Exclusion(where, because) for where, because in exclude)
    return build_plan(Request("demo", reduction(), UNIVERSE, ("raw",), excluded=excluded, **more), survey)


def quanta(plan):
    return sorted(plan.tables["quanta"].select("task", "data_id").rows())


def refused(**more):
    with pytest.raises(PlanRefusedError) as error:
        made(**more)
    return error.value.problems


def table(tmp_path, text):
    path = tmp_path / "some.csv"
    path.write_text(text)
    return read_data_ids(path, UNIVERSE)


@pytest.mark.parametrize(
    "where", ["exposure = 3", "visit = 3", "exposure_time = 30 and band = 'g'", "visit.visit = 3"]
)
def test_what_is_excluded_is_as_if_it_were_not_there(where):
    without = made(SURVEY.without("raw", pl.col("exposure") == 3))
    plan = made(exclude=[(where, "clouds")])
    assert quanta(plan) == quanta(without)
    assert plan.id != without.id
    assert set(plan.document["identity"]) - set(without.document["identity"]) == {"exclude"}
    (told,) = plan.document["request"]["excluded"]
    assert (told["because"], told["count"]) == ("clouds", 2)
    assert plan.counts["isr"]["left_out"]["excluded"] == 2
    rows = plan.tables["left_out"].filter(pl.col("reason") == "excluded")
    assert rows["data_id"].to_list() == [
        f'{{"detector":{d},"exposure":3,"instrument":"sim"}}' for d in (0, 1)
    ]


def test_the_reason_is_on_record_and_not_in_the_id(tmp_path):
    one = made(exclude=[("visit = 3", "clouds"), ("detector = 1", "it is dead")])
    other = made(exclude=[("ccd=1", "dead"), ("visit in (3)", "rain")])
    assert one.id != made(exclude=[("visit = 3", "clouds")]).id
    assert [e["count"] for e in one.document["request"]["excluded"]] == [
        2,
        10,
    ]  # 3 biases and flats among them
    again = made(exclude=[("visit = 3", "rain"), ("detector = 1", "dead")])
    assert one.id == again.id
    assert other.id != one.id  # another text, and another order of counting
    opened = open_plan(write_plan(one, tmp_path))
    assert opened.document["request"]["excluded"][0] == {
        "where": "visit = 3",
        "because": "clouds",
        "count": 2,
    }


def test_an_exclusion_counts_what_the_selection_takes():
    plan = made(where="visit < 4", exclude=[("visit >= 3", "clouds"), ("visit = 5", "rain")])
    assert [e["count"] for e in plan.document["request"]["excluded"]] == [2, 0]
    assert quanta(plan) == quanta(made(where="visit < 3"))


@pytest.mark.parametrize(
    ("where", "fix"),
    [
        ("visit = 99", '"visit = 99": 0 left of 14 raw (visit here: 1, 2, 3, …, 6)'),
        (
            "band = 'r' and exposure > 50",
            '"band = \'r\'": 4 of 14 raw left; "exposure > 50": 0 left (exposure here: 1, 4)',
        ),
        ("tract = 3", "nothing that is read here has tract"),
    ],
)
def test_an_exclusion_that_matches_nothing_is_refused(where, fix):
    (problem,) = refused(exclude=[(where, "why not")])
    assert (problem.code, problem.where) == ("PST-C062", "--exclude")
    assert problem.fix == fix


def test_all_faults_of_exclusions_are_told_at_once():
    problems = refused(where="bnad = 'r'", exclude=[("vist = 3", "x"), ("detector = 'a'", "y")])
    assert [(p.code, p.where) for p in problems] == [
        ("PST-C027", "selection:1"), ("PST-C027", "--exclude:1"), ("PST-C027", "--exclude:12"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (
            "day_obs >= '2026-01-01' and exposure_time > 15 and band = 'q'",
            '"day_obs >= 20260101": 0 left of 14 raw (day_obs here: 20260000)',
        ),
        (
            "exposure_time > 15 and band = 'q'",
            '"exposure_time > 15.0": 10 of 14 raw left; "band = \'q\'": 0 left (band here: g, i, r)',
        ),
        ("visit = 99", '"visit = 99": 0 left of 14 raw (visit here: 1, 2, 3, …, 6)'),
    ],
)
def test_the_term_that_left_nothing_is_named(where, says):
    problem = refused(where=where)[0]
    assert problem.code == "PST-P001"
    assert problem.what.endswith(says)
    assert problem.fix == "widen " + says.rpartition(": 0 left")[0].rpartition("; ")[2]


def test_a_table_takes_what_agrees_with_a_row(tmp_path):
    listed = table(tmp_path, "visit,ccd\n2,0\n2,1\n5,0\n5,1\n")
    plan = made(data_ids=listed)
    assert quanta(plan) == quanta(made(where="visit in (2, 5)"))
    assert plan.document["request"]["data_ids"]["rows"] == 4
    assert plan.document["identity"]["data_ids"] == listed.digest
    directory = write_plan(plan, tmp_path / "plans")
    assert pl.read_parquet(directory / "data_ids.parquet").rows() == [(0, 2), (0, 5), (1, 2), (1, 5)]
    both = made(data_ids=listed, where="band = 'i'", exclude=[("detector = 1", "dead")])
    assert {data_id for task, data_id in quanta(both) if task == "isr"} == {
        '{"detector":0,"instrument":"sim","visit":2}', '{"detector":0,"instrument":"sim","visit":5}',
    }  # fmt: skip
    assert made(data_ids=table(tmp_path, "ccd,visit\n1,5\n1,2\n0,5\n0,2\n0,2\n")).id == plan.id


def test_a_table_that_fits_nothing_is_refused(tmp_path):
    (problem,) = refused(data_ids=table(tmp_path, "visit,tract\n2,3\n"))
    assert problem.code == "PST-C064"
    assert problem.where.endswith("some.csv, column tract")
    (problem,) = refused(data_ids=table(tmp_path, "visit\n70\n80\n"))
    assert problem.what == "none of 2 data IDs fits anything that exists, such as visit=70; visit=80"
    plan = made(data_ids=table(tmp_path, "visit\n70\n2\n"))
    assert [w for w in plan.warnings if "1 of 2 data IDs" in w and "visit=70" in w]


PAIRS = st.sets(st.tuples(st.integers(1, 6), st.integers(0, 1)), min_size=1, max_size=8)


@settings(max_examples=12, deadline=None)
@given(pairs=PAIRS, gone=st.sets(st.integers(1, 6), max_size=2))
def test_a_table_and_exclusions_are_what_one_by_one_says(tmp_path_factory, pairs, gone):
    listed = table(
        tmp_path_factory.mktemp("law"), "visit,detector\n" + "".join(f"{v},{d}\n" for v, d in sorted(pairs))
    )
    exclude = [(f"visit = {v}", "law") for v in sorted(gone)]
    expected = sorted((v, d) for v, d in pairs if v not in gone)
    try:
        plan = made(data_ids=listed, exclude=exclude)
    except PlanRefusedError:
        assert not expected
        return
    isr = plan.tables["quanta"].filter(pl.col("task") == "isr")
    assert sorted(isr.select("visit", "detector").rows()) == expected
