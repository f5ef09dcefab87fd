"""A plan in counts and papers, the same from files as from memory, and as whole tables say."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from prestow.plan import Plan, building, open_plan, write_plan
from prestow.results.plan_counts import job_named, neighbours, papers_of, task_counts
from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    made = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(visits=40, detectors=4))
    return made, open_plan(write_plan(made, tmp_path_factory.mktemp("plans")))


def test_counts_are_those_of_whole_tables(plans: tuple[Plan, Plan]) -> None:
    made, written = plans
    counts = task_counts(written)
    assert counts == task_counts(made)
    tables = made.tables
    quanta, types = tables["quanta"].select("quantum", "task"), tables["datasets"].select("dataset", "type")
    for name, word in (("inputs", "reads"), ("outputs", "writes")):
        rows = tables[name].select("quantum", "dataset").join(quanta, on="quantum").join(types, on="dataset")
        each = rows.unique(["task", "dataset"]).group_by("task", "type").len()
        wanted = {(task, kind): count for task, kind, count in each.iter_rows()}
        assert {(row["task"], k): n for row in counts for k, n in row[word].items()} == wanted


def test_papers_and_neighbours_of_one_job(plans: tuple[Plan, Plan]) -> None:
    made, written = plans
    name = made.tables["jobs"].filter(pl.col("label") == "coadd")["name"][0]
    job = job_named(written, name)
    assert job is not None
    assert job_named(written, "nobody") is None
    rows = made.tables["quanta"].filter(pl.col("job") == job["job"])["quantum"].to_list()
    papers = papers_of(written, rows)
    assert papers == papers_of(made, rows)
    reads = made.tables["inputs"].filter(pl.col("quantum").is_in(rows)).height
    assert sum(len(one["inputs"]) for one in papers) == reads > 0
    after, before = neighbours(written, job["job"])
    edges, names = made.tables["job_edges"], made.tables["jobs"]["name"]
    assert after == [names[n] for n in edges.filter(pl.col("child") == job["job"])["parent"].sort()]
    assert before == [names[n] for n in edges.filter(pl.col("parent") == job["job"])["child"].sort()]
    assert papers_of(written, []) == []


def test_the_same_of_a_plan_whose_tables_are_files_from_the_first(
    plans: tuple[Plan, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "IN_MEMORY", 10)
    request = Request("demo", reduction(), UNIVERSE, ("raw",))
    made = build_plan(request, Survey.make(visits=40, detectors=4), beside=tmp_path)
    assert task_counts(made) == task_counts(plans[0])
    write_plan(made, tmp_path)
    del made
    assert [path.name for path in tmp_path.iterdir()] == [plans[0].id]
