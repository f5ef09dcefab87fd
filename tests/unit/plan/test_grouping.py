"""Quanta in jobs: by dimensions, along chains, several data IDs a job; never another product."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import Cluster, InputConnection, Pipeline
from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.plan.document import pipeline_digest
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task

SITE = {"store": "output", "stores": {"output": "file:///o", "archive": "file:///a"}}


def cluster(*tasks, by=("visit", "detector"), maximum=1):
    return Cluster("fast", tasks, UNIVERSE.close(by), maximum)


def plan_of(survey, *clusters, pipeline=None):
    return build_plan(Request("demo", pipeline or reduction(clusters=clusters), UNIVERSE, ("raw",)), survey)


def jobs(plan, label="fast"):
    return plan.tables["jobs"].filter(pl.col("label") == label)


def made(plan):
    """Give what a plan makes: of each quantum its recipe, of each dataset its name."""
    quanta = plan.tables["quanta"].select("id", "task", "data_id", "recipe").sort("id")
    return quanta.rows(), plan.files().select("id", "path").sort("id").rows()


def test_several_data_ids_in_a_row_share_a_job():
    plan = plan_of(Survey.make(5, 2), cluster("isr", "align", maximum=4))
    assert jobs(plan)["name"].to_list() == ["fast-0-1+3", "fast-0-5+3", "fast-1-4+1"]
    assert jobs(plan)["count"].to_list() == [8, 8, 4]
    first = plan.tables["quanta"].filter(pl.col("job") == 0).select("task", "detector", "visit").rows()
    assert first == [(t, 0, v) for t in ("isr", "align") for v in (1, 2, 3, 4)]


def test_a_coarser_group_is_a_visit_and_its_neighbours():
    plan = plan_of(Survey.make(5, 2), cluster("isr", "align", by=["visit"], maximum=2))
    assert jobs(plan)["name"].to_list() == ["fast-1+1", "fast-3+1", "fast-5"]
    assert jobs(plan)["count"].to_list() == [8, 8, 4]


def test_a_job_is_found_by_any_data_id_in_it():
    plan = plan_of(Survey.make(5, 2), cluster("isr", "align", maximum=4))
    for words in (
        "fast-0-1",
        "fast:visit=2,detector=0",
        "align:visit=4,detector=0",
        "isr:visit=1,detector=0",
    ):
        assert plan.find_job(words) == 0


def test_one_job_holds_all_where_the_maximum_is_large():
    plan = plan_of(Survey.make(3, 2), cluster("isr", maximum=1000))
    assert jobs(plan)["name"].to_list() == ["fast-0-1+5"]


@pytest.mark.parametrize("maximum", [1, 3])
def test_grouping_changes_neither_names_nor_recipes_nor_what_a_run_is_bound_to(maximum, tmp_path):
    survey = Survey.make(4, 3)
    alone = plan_of(survey)
    for by in (["visit", "detector"], ["visit"], ["instrument"], ["physical_filter", "detector"]):
        grouped = plan_of(survey, cluster("isr", "align", by=by, maximum=maximum))
        assert made(grouped) == made(alone)
        assert grouped.id != alone.id
        assert grouped.pipeline_digest == alone.pipeline_digest
        again = open_plan(write_plan(grouped, tmp_path))
        assert again.definition.clusters == (cluster("isr", "align", by=by, maximum=maximum),)


def test_a_maximum_of_one_is_no_maximum():
    clusters = [cluster("isr", "align"), cluster("isr", "align", maximum=1)]
    assert len({plan_of(Survey.make(2, 2), c).id for c in clusters}) == 1
    digests = {pipeline_digest(reduction(clusters=[cluster("isr", maximum=n)])) for n in (1, 2, 3)}
    assert digests == {pipeline_digest(reduction())}


def test_packing_that_would_make_jobs_wait_for_each_other_is_refused():
    # A detector's coadd needs all its visits; measuring one in the job that makes another is a knot.
    with pytest.raises(PlanRefusedError) as caught:
        plan_of(Survey.make(4, 1), cluster("align", "measure", maximum=2))
    (problem,) = caught.value.problems
    assert (problem.code, "wait for each other" in problem.what) == ("PST-P009", True)


def test_a_task_without_quanta_has_no_job():
    tasks = (
        task("one", ("instrument",), [InputConnection("raw", "raw")], ["one"]),
        task("per_band", ("band",), [InputConnection("one", "one")], ["per_band"]),  # nothing tells a band
        task("all", ("instrument",), [InputConnection("per_band", "per_band")], ["all"]),
    )
    kinds = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("one", "instrument"),
        dataset_type("per_band", "band"),
        dataset_type("all", "instrument"),
    )
    pipeline = Pipeline("bare", "", tasks, {kind.name: kind for kind in kinds})
    plan = plan_of(Survey.make(1, 1), pipeline=pipeline)
    assert plan.tables["jobs"]["name"].to_list() == ["one"]
    assert {label: count["quanta"] for label, count in plan.counts.items()} == {
        "one": 1,
        "per_band": 0,
        "all": 0,
    }


# ---- laws

AXES = ("visit", "detector", "band", "physical_filter", "instrument", "day_obs")


@st.composite
def groups(draw, name, members):
    """A cluster of these tasks by some of the dimensions they have in common."""
    common = set(AXES).intersection(*(UNIVERSE.expand(t.dimensions) for t in members))
    by = UNIVERSE.close(draw(st.sets(st.sampled_from(sorted(common)), max_size=2)))
    fits = all(set(by) <= set(UNIVERSE.expand(t.dimensions)) for t in members)
    labels = tuple(sorted(t.label for t in members))
    return Cluster(name, labels, by if fits else (), draw(st.integers(1, 4)))


@st.composite
def pipelines(draw):
    """Some tasks, each reading what earlier ones wrote, by dimensions that they have in common."""
    shapes = {"raw": ("visit", "detector")}
    tasks, types = [], [dataset_type("raw", "exposure", "detector", template="")]
    for number in range(draw(st.integers(3, 5))):
        name = f"t{number}"
        by = draw(st.sampled_from([("visit", "detector"), ("visit",), ("detector", "band"), ("instrument",)]))
        before = sorted(shapes)[-2:]
        reads = draw(st.sets(st.sampled_from(before), min_size=1, max_size=2))
        minimum = draw(st.sampled_from(["all", 1]))
        tasks.append(task(name, by, [InputConnection(r, r, minimum) for r in sorted(reads)], [name]))
        types.append(dataset_type(name, *by))
        shapes[name] = by
    members = draw(st.lists(st.sampled_from(tasks), min_size=2, max_size=3, unique_by=lambda t: t.label))
    rest = [t for t in tasks if t not in members]
    clusters = [draw(groups("c0", members))]
    if rest and draw(st.booleans()):
        clusters.append(
            draw(groups("c1", draw(st.lists(st.sampled_from(rest), min_size=1, unique_by=lambda t: t.label))))
        )
    used = {i.type for t in tasks for i in t.inputs} | {t.label for t in tasks}
    kinds = {t.name: t for t in types if t.name in used}
    return Pipeline("random", "", tuple(tasks), kinds, tuple(clusters))


def knotted(pairs):
    """Say whether a graph has a cycle."""
    while True:
        last = {p for p in pairs if p[1] not in {parent for parent, _ in pairs}}
        if not last:
            return bool(pairs)
        pairs = pairs - last


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pipelines(), st.integers(1, 5), st.integers(1, 3))
def test_jobs_wait_for_what_their_quanta_wait_for(pipeline, visits, detectors):
    survey = Survey.make(visits, detectors)
    alone = plan_of(survey, pipeline=Pipeline(pipeline.name, "", pipeline.tasks, pipeline.dataset_types))
    quanta = {row["id"]: row for row in alone.tables["quanta"].iter_rows(named=True)}
    makers = dict(alone.tables["datasets"].drop_nulls("producer").select("dataset", "producer").iter_rows())
    ids = alone.tables["quanta"]["id"].to_list()
    needs = {
        (ids[makers[dataset]], ids[quantum])
        for quantum, dataset in alone.tables["inputs"].select("quantum", "dataset").iter_rows()
        if dataset in makers
    }
    expected = expected_jobs(pipeline, survey, alone)
    wanted = {(expected[a], expected[b]) for a, b in needs if expected[a] != expected[b]}
    try:
        plan = plan_of(survey, pipeline=pipeline)
    except PlanRefusedError as error:
        assert [p.code for p in error.problems] == ["PST-P009"]
        assert knotted(wanted)
        return
    assert not knotted(wanted)
    assert made(plan) == made(alone)
    told = list(manifests(plan, **SITE))
    job_of = {q.id: n for n, m in enumerate(told) for q in m.quanta}
    assert sum(len(m.quanta) for m in told) == len(job_of) == len(quanta)
    table = plan.tables["quanta"]
    number = dict(table.select("id", "job").iter_rows())
    groups = {number[q]: expected[q] for q in quanta}
    assert all(groups[number[q]] == expected[q] for q in quanta)
    assert len(set(groups.values())) == len(groups) == plan.tables["jobs"].height
    edges = plan.tables["job_edges"].select("parent", "child").rows()
    assert {(groups[a], groups[b]) for a, b in edges} == wanted
    assert all(a < b for a, b in edges)
    position = dict(zip(table["id"], range(table.height), strict=True))
    assert all(position[a] < position[b] for a, b in needs)


def expected_jobs(pipeline, survey, alone):
    """Give the job of each quantum, worked out one at a time: a label and a number."""
    label_of = {t: c for c in pipeline.clusters for t in c.tasks}
    visits = {v["visit"]: v for v in survey.records["visit"].iter_rows(named=True)}
    bands = dict(survey.records["physical_filter"].select("physical_filter", "band").iter_rows())
    keys = {}
    for row in alone.tables["quanta"].iter_rows(named=True):
        known = {**visits.get(row.get("visit"), {}), **{k: v for k, v in row.items() if v is not None}}
        if "band" not in known and "physical_filter" in known:
            known["band"] = bands[known["physical_filter"]]
        group = label_of.get(row["task"])
        if group is None:
            keys[row["id"]] = (row["task"], (row["id"],))
        else:
            keys[row["id"]] = (group.name, tuple(known[d] for d in group.dimensions))
    result = {}
    most = {c.name: c.maximum for c in pipeline.clusters}
    for name in {name for name, _ in keys.values()}:
        order = sorted({values for label, values in keys.values() if label == name})
        place = {values: i // most.get(name, 1) for i, values in enumerate(order)}
        result |= {q: (name, place[values]) for q, (label, values) in keys.items() if label == name}
    return result
