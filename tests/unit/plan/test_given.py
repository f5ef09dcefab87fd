"""A plan of given quanta is the very part of the plan that they are from."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.naming.identity import recipe_text, uuid_text
from prestow.plan import Plan
from prestow.plan.given import Given, GivenDataset, GivenQuantum, build_given
from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction


def request(run: str = "demo") -> Request:
    return Request(run, reduction(), UNIVERSE, ("raw",))


@pytest.fixture(scope="module")
def survey() -> Survey:
    return Survey.make(4, 2)


@pytest.fixture(scope="module")
def whole(survey: Survey) -> Plan:
    return build_plan(request(), survey)


def rows(plan: Plan, table: str) -> pl.DataFrame:
    return plan.tables[table]


def part_of(plan: Plan, survey: Survey, chosen: set[int]) -> Given:
    """Give some quanta of a plan, and all that they go back to, as they would be on record."""
    datasets = (
        rows(plan, "datasets")
        .with_columns(uuid=uuid_text(pl.col("id")), recipe_text=recipe_text(pl.col("recipe")))
        .to_dicts()
    )
    places = {row["dataset"]: row for row in rows(plan, "locations").to_dicts()}
    quanta = (
        rows(plan, "quanta")
        .with_columns(uuid=uuid_text(pl.col("id")), recipe_text=recipe_text(pl.col("recipe")))
        .to_dicts()
    )
    reads: dict[int, list[tuple[str, int]]] = {}
    for row in rows(plan, "inputs").iter_rows(named=True):
        reads.setdefault(row["quantum"], []).append((row["connection"], row["dataset"]))
    todo, found = list(chosen), set(chosen)
    while todo:
        makers = {datasets[d]["producer"] for _, d in reads.get(todo.pop(), ())} - {None} - found
        found |= makers
        todo += makers
    external: dict[int, GivenDataset] = {}
    told = []
    for number in sorted(found):
        inputs: dict[str, list[tuple[str, dict[str, str | int]]]] = {}
        for connection, dataset in reads.get(number, ()):
            row = datasets[dataset]
            inputs.setdefault(connection, []).append((row["type"], json.loads(row["data_id"])))
            if not row["planned"]:
                place = places[dataset]
                external[dataset] = GivenDataset(
                    row["uuid"], row["type"], json.loads(row["data_id"]), row["run"], place["store"], place["path"],
                    place["size"] or 0, hexed(place["sha256"]), hexed(place["content"]), row["format"],
                )  # fmt: skip
        row = quanta[number]
        told.append(
            GivenQuantum(
                row["task"],
                json.loads(row["data_id"]),
                {c: tuple(v) for c, v in inputs.items()},
                row["uuid"],
                row["recipe_text"],
            )
        )
    records = {name: survey.dimension_records(name).to_pylist() for name in UNIVERSE.dimensions}
    return Given(list(external.values()), told, records)


def hexed(value: bytes | str | None) -> str:
    return value.hex() if isinstance(value, bytes) else value or ""


def facts(plan: Plan) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    quanta = rows(plan, "quanta").select(
        "task", "data_id", pl.col("id").bin.encode("hex"), pl.col("recipe").bin.encode("hex")
    )
    names = (
        rows(plan, "datasets")
        .filter("planned")
        .select("type", "data_id", pl.col("id").bin.encode("hex"), "path")
    )
    return set(quanta.iter_rows()), set(names.iter_rows())


def test_all_of_a_plan_is_that_plan(whole: Plan, survey: Survey) -> None:
    again = build_given(request(), part_of(whole, survey, set(range(rows(whole, "quanta").height))))
    assert facts(again) == facts(whole)
    for table in ("jobs", "job_edges"):
        assert rows(again, table).equals(rows(whole, table))


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_part_has_the_recipes_and_names_of_the_whole(
    whole: Plan, survey: Survey, data: st.DataObject
) -> None:
    every = range(rows(whole, "quanta").height)
    chosen = set(data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=3, unique=True)))
    told = part_of(whole, survey, chosen)
    part = build_given(request(), told)
    assert rows(part, "quanta").height == len(told.quanta)
    for mine, theirs in zip(facts(part), facts(whole), strict=True):
        assert mine <= theirs


def test_another_recipe_than_is_on_record_is_refused(whole: Plan, survey: Survey) -> None:
    told = part_of(whole, survey, {rows(whole, "quanta").height - 1})
    wrong = replace(
        told, quanta=[replace(q, recipe="0" * 32) if i == 0 else q for i, q in enumerate(told.quanta)]
    )
    with pytest.raises(PlanRefusedError) as refused:
        build_given(request(), wrong)
    assert [p.code for p in refused.value.problems] == ["PST-P005"]


def test_an_input_that_is_not_given_is_refused(whole: Plan, survey: Survey) -> None:
    told = part_of(whole, survey, {rows(whole, "quanta").height - 1})
    with pytest.raises(PlanRefusedError) as refused:
        build_given(request(), replace(told, datasets=told.datasets[1:]))
    assert "PST-P001" in {p.code for p in refused.value.problems}


def test_another_pipeline_than_the_run_is_bound_to_is_refused(whole: Plan, survey: Survey) -> None:
    told = part_of(whole, survey, {rows(whole, "quanta").height - 1})
    with pytest.raises(PlanRefusedError) as refused:
        build_given(request(), replace(told, binding={"pipeline": "f" * 64}))
    assert [p.code for p in refused.value.problems] == ["PST-P006"]
