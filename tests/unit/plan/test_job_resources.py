"""What jobs need, how they are packed, and which come first: in columns, as a loop would have it."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import Cluster
from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.plan.forecast import Place, make_forecast
from prestow.plan.forecast_history import History
from prestow.plan.grouping.edges import find_levels
from prestow.plan.grouping.packing import pack
from prestow.plan.grouping.priorities import find_priorities
from prestow.testing.surveys import UNIVERSE, Survey, reduction

SITE = {"store": "output", "stores": {"output": "file:///o", "archive": "file:///a"}}


def plan_of(survey, *clusters, **changes):
    """Plan the reduction with other values of some tasks."""
    pipeline = reduction(clusters=clusters)
    tasks = tuple(replace(t, **changes.get(t.label, {})) for t in pipeline.tasks)
    return build_plan(Request("demo", replace(pipeline, tasks=tasks), UNIVERSE, ("raw",)), survey)


def test_resources_follow_each_quantum_and_reach_its_manifest(tmp_path):
    says = {
        "resources": {"cores": 3},
        "expressions": {"memory": "2 GB + 60 MB * n_aligned", "walltime": "10 min + n_inputs"},
    }
    plan = open_plan(write_plan(plan_of(Survey.make(5, 2), coadd=says), tmp_path))
    jobs = (
        plan.tables["jobs"].with_columns(pl.col("label").cast(pl.String)).filter(pl.col("label") == "coadd")
    )
    reads = plan.tables["inputs"].group_by("quantum").len()
    expected = dict(reads.iter_rows())
    for job, first, memory, walltime in jobs.select("job", "first", "memory", "walltime").iter_rows():
        assert memory == 2_000_000_000 + 60_000_000 * expected[first]
        assert walltime == 600 + expected[first]
        (manifest,) = manifests(plan, [job], **SITE)
        assert manifest.resources == {"memory": memory, "cores": 3, "walltime": walltime}
    assert jobs["memory"].n_unique() > 1
    assert plan.definition.task("coadd").expressions == says["expressions"]


def test_a_job_of_several_quanta_needs_the_most_memory_and_the_sum_of_time():
    group = Cluster("fast", ("isr", "align"), UNIVERSE.close(["visit"]))
    changes = {
        "isr": {"resources": {"memory": 5}, "expressions": {"cpu_seconds": "detector + 1"}},
        "align": {"resources": {"memory": 9}, "hints": {"cpu_seconds": 10.0}},
    }
    jobs = plan_of(Survey.make(2, 3), group, **changes).tables["jobs"]
    fast = jobs.filter(pl.col("label").cast(pl.String) == "fast")
    assert fast["memory"].to_list() == [9, 9]
    assert fast["cpu_seconds"].to_list() == [1 + 2 + 3 + 30.0] * 2


def test_what_is_no_number_is_refused_with_its_first_quantum():
    with pytest.raises(PlanRefusedError) as caught:
        plan_of(
            Survey.make(2, 2),
            isr={"expressions": {"memory": "1 GB / detector", "cpu_seconds": "1 - 2 * visit"}},
        )
    memory, seconds = sorted(caught.value.problems, key=lambda p: "cpu" in p.what)
    assert (memory.code, seconds.code) == ("PST-P040", "PST-P040")
    assert "2 of its quanta: 1 GB / detector" in memory.what
    assert "detector=0" in memory.where
    assert "4 of its quanta" in seconds.what


def test_resources_are_outside_of_what_a_run_is_bound_to():
    plain = plan_of(Survey.make(2, 2))
    other = plan_of(Survey.make(2, 2), isr={"expressions": {"cpu_seconds": "1 + n_inputs"}})
    assert other.pipeline_digest == plain.pipeline_digest
    assert other.id == plain.id  # a hint is no part of a plan
    assert json.loads(json.dumps(other.document["pipeline"]["tasks"][0]["hints"])) == {
        "cpu_seconds": "1 + n_inputs"
    }


def test_jobs_are_packed_by_what_they_cost():
    group = Cluster("fast", ("isr",), UNIVERSE.close(["visit", "detector"]), 0, {"cpu_seconds": 5.0})
    plan = plan_of(Survey.make(4, 2), group, isr={"expressions": {"cpu_seconds": "1 + detector"}})
    fast = plan.tables["jobs"].filter(pl.col("label").cast(pl.String) == "fast")
    # Four of a second, and then two at a time of two seconds: in the order of data IDs.
    assert fast["cpu_seconds"].to_list() == [4.0, 4.0, 4.0]
    assert fast["count"].to_list() == [4, 2, 2]
    assert fast["name"].to_list() == ["fast-0-1+3", "fast-1-1+1", "fast-1-3+1"]


def test_a_limit_of_what_nobody_knows_is_refused():
    group = Cluster("fast", ("isr",), UNIVERSE.close(["visit"]), 0, {"bytes": 1e9})
    with pytest.raises(PlanRefusedError) as caught:
        plan_of(Survey.make(2, 2), group)
    (problem,) = caught.value.problems
    assert (problem.code, "output_bytes" in problem.fix) == ("PST-P041", True)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30),
    st.integers(1, 15),
    st.integers(1, 15),
    st.integers(0, 4),
)
def test_packing_keeps_order_and_never_takes_too_much(groups, first_limit, second_limit, most):
    weights = {name: np.array([g[i] for g in groups], np.float64) for i, name in enumerate(("a", "b"))}
    limits = {"a": float(first_limit), "b": float(second_limit)}
    firsts = pack(weights, limits, most, len(groups))
    # One group after the other, as a person would fill boxes.
    boxes: list[list[tuple[int, int]]] = []
    for group in groups:
        box = [*boxes[-1], group] if boxes else []
        fits = all(sum(g[i] for g in box) <= limits[n] for i, n in enumerate(("a", "b")))
        if box and fits and (not most or len(box) <= most):
            boxes[-1] = box
        else:
            boxes.append([group])
    assert np.diff([*firsts, len(groups)]).tolist() == [len(box) for box in boxes]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90).flatmap(lambda n: st.tuples(st.just(n), st.data())))
def test_levels_and_priorities_are_those_of_the_longest_ways(case):
    count, data = case
    pairs = data.draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=150))
    pairs = {(a, b) for a, b in pairs if a < b}
    seconds = data.draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    edges = pl.DataFrame(sorted(pairs), {"parent": pl.UInt32, "child": pl.UInt32}, orient="row")
    levels, knot = find_levels(count, edges)
    expected = [0] * count
    for parent, child in sorted(pairs):
        expected[child] = max(expected[child], expected[parent] + 1)
    assert (levels.to_list(), knot) == (expected, [])
    order = sorted(range(count), key=lambda job: (expected[job], job))
    place = {job: i for i, job in enumerate(order)}
    moved = sorted((place[a], place[b]) for a, b in pairs)
    longest = [seconds[job] for job in order]
    for job in reversed(range(count)):
        below = [longest[b] for a, b in moved if a == job]
        longest[job] += max(below, default=0)
    jobs = pl.DataFrame({"depth": [expected[job] for job in order]})
    told = pl.DataFrame(moved, {"parent": pl.UInt32, "child": pl.UInt32}, orient="row")
    own = np.array([seconds[job] for job in order], np.float64)
    assert find_priorities(jobs, told, own).to_list() == longest


def test_jobs_on_a_knot_are_named_by_number():
    edges = pl.DataFrame({"parent": [0, 1, 2, 2], "child": [1, 2, 1, 3]})
    assert find_levels(4, edges)[1] == [1, 2]


def test_many_short_jobs_get_a_word():
    plan = plan_of(Survey.make(60, 20), isr={"hints": {"cpu_seconds": 3.0}})
    words = [w for w in plan.warnings if w.startswith("isr:")]
    assert words == [
        "isr: 1,200 jobs of about 3 s; fewer cost less: clusters: {many_isr: {tasks: [isr], maximum: 100}}"
    ]


def test_estimates_follow_hints_that_depend_on_the_quantum():
    says = {
        "hints": {},
        "expressions": {"cpu_seconds": "3 + 0.5 * n_inputs", "output_bytes": "1 kB * n_inputs"},
    }
    group = Cluster("fast", ("isr", "align"), UNIVERSE.close(["visit"]))
    changes = {
        "coadd": says,
        "isr": {"expressions": {"cpu_seconds": "detector + 1"}},
        "align": {"hints": {"cpu_seconds": 10.0}},
    }
    plan = plan_of(Survey.make(5, 2), group, **changes)
    task = plan.tables["quanta"]["task"].cast(pl.String).to_list()
    detector = plan.tables["quanta"]["detector"].to_list()
    reads = dict(plan.tables["inputs"].group_by("quantum").len().iter_rows())
    rows = {label: [row for row, name in enumerate(task) if name == label] for label in set(task)}
    expected = {
        "isr": sum(detector[row] + 1.0 for row in rows["isr"]),
        "align": 10.0 * len(rows["align"]),
        "coadd": sum(3 + 0.5 * reads[row] for row in rows["coadd"]),
        "measure": 0.0,
    }
    size = sum(1000 * reads[row] for row in rows["coadd"])
    assert {label: count["cpu_seconds"] for label, count in plan.counts.items()} == pytest.approx(expected)
    assert plan.counts["coadd"]["bytes"] == size
    forecast = make_forecast(plan, History(), Place("archive", workers=2))
    told = {line.name: line.cpu_seconds and line.cpu_seconds.value for line in forecast.tasks}
    assert told == {name: pytest.approx(value) if value else None for name, value in expected.items()}
    assert forecast.cpu_seconds.value == pytest.approx(sum(expected.values()))
    (coadd,) = (line for line in forecast.tasks if line.name == "coadd")
    assert (coadd.bytes.value, coadd.cpu_source) == (pytest.approx(size), "hints")
