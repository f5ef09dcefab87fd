"""Two plans compared by meaning: what changed by itself, and what only follows."""

from dataclasses import replace

import polars as pl
import pytest

from prestow.pipeline.definition import Cluster
from prestow.plan import Request, build_plan
from prestow.results.plan_differences import differences
from prestow.testing.surveys import UNIVERSE, Survey, reduction

SURVEY = Survey.make(visits=4, detectors=2)


def plan(run="demo", survey=SURVEY, where="", pipeline=None, **config):
    return build_plan(Request(run, pipeline or reduction(**config), UNIVERSE, ("raw",), where=where), survey)


def counts(found):
    return {t.task: (t.same, t.changed, t.downstream, t.added, t.removed) for t in found.tasks}


def by_kind(found):
    return {(c.task, c.connection, c.kind): c.quanta for c in found.causes}


A = plan()


def test_a_plan_and_itself_differ_in_nothing():
    found = differences(A, plan())
    assert (found.same, found.equal, found.facts, found.causes) == (True, True, (), ())
    assert counts(found)["isr"] == (8, 0, 0, 0, 0)


def test_another_run_is_the_same_by_recipe_and_says_so():
    found = differences(A, plan("other"))
    assert found.same
    assert not found.equal
    assert [f.text for f in found.facts] == ["request run: demo -> other"]
    assert (found.renamed, found.shared_otherwise) == (0, 0)
    assert all(row == (sum(row), 0, 0, 0, 0) for row in counts(found).values())


def test_one_value_of_configuration_is_the_cause_and_the_rest_is_downstream():
    b = plan(threshold=3.5)
    found = differences(A, b, overrides={"demo": ["isr.threshold=3.5"]})
    assert counts(found) == {
        "isr": (0, 8, 0, 0, 0),
        "align": (0, 0, 8, 0, 0),
        "coadd": (0, 0, 4, 0, 0),
        "measure": (0, 0, 8, 0, 0),
    }
    (fact,) = found.facts
    assert (fact.kind, fact.name, fact.a, fact.b, fact.origin_b) == (
        "config",
        "isr.threshold",
        None,
        "3.5",
        "--set",
    )
    assert not any(cause.root for cause in found.causes)
    assert found.shared_otherwise == 28
    assert not found.same


def test_other_code_is_a_cause_of_every_task():
    found = differences(A, plan(pipeline=reduction(code=b"other")))
    assert [(f.kind, f.name) for f in found.facts] == [("code", "of the workflow")]
    assert {row[1] for row in counts(found).values()} == {8, 4}
    assert {row[2] for row in counts(found).values()} == {0}


def test_a_flat_with_other_content_is_the_cause_where_it_is_read():
    flat = SURVEY.existing["flat"]
    changed = flat.with_columns(
        content=pl.when((pl.col("detector") == 1) & (pl.col("physical_filter") == "g_sim"))
        .then(pl.lit("f" * 64))
        .otherwise("content")
    )
    b = plan(survey=replace(SURVEY, existing={**SURVEY.existing, "flat": changed}))
    found = differences(A, b)
    assert counts(found) == {
        "isr": (6, 2, 0, 0, 0),
        "align": (6, 0, 2, 0, 0),
        "coadd": (3, 0, 1, 0, 0),
        "measure": (6, 0, 2, 0, 0),
    }
    assert by_kind(found)["isr", "flat", "content"] == 2
    (cause,) = [c for c in found.causes if c.root]
    assert "flat{detector=1,instrument=sim,physical_filter=g_sim} of run raw is another" in cause.examples[0]


def test_a_calibration_of_another_run_was_chosen_otherwise():
    from prestow.naming import identity

    bias = SURVEY.existing["bias"]
    one = pl.col("detector") == 0
    ids = identity.dataset_ids("bias", "calib-2", ["detector", "instrument"])
    moved = bias.with_columns(
        id=pl.when(one).then(ids).otherwise("id"),
        run=pl.when(one).then(pl.lit("calib-2")).otherwise("run"),
        content=pl.when(one).then(pl.lit("e" * 64)).otherwise("content"),
    )
    survey = replace(SURVEY, existing={**SURVEY.existing, "bias": moved})
    request = Request("demo", reduction(), UNIVERSE, ("raw", "calib-2"))
    found = differences(A, build_plan(request, survey))
    assert by_kind(found)["isr", "bias", "chosen"] == 4
    (cause,) = [c for c in found.causes if c.root]
    assert (
        "bias{detector=0,instrument=sim} of run calib-2 instead of bias{detector=0,instrument=sim} of run raw"
        in cause.examples[0]
    )


def test_fewer_visits_remove_quanta_and_the_gathers_follow():
    found = differences(A, plan(where="visit != 3"))
    assert counts(found) == {
        "isr": (6, 0, 0, 0, 2),
        "align": (6, 0, 0, 0, 2),
        "coadd": (2, 0, 2, 0, 0),
        "measure": (4, 0, 2, 0, 2),
    }
    assert by_kind(found) == {
        ("coadd", "aligned", "upstream removed"): 2,
        ("measure", "coadd", "upstream"): 2,
    }
    assert found.examples["removed isr"] == (
        "detector=0,instrument=sim,visit=3",
        "detector=1,instrument=sim,visit=3",
    )
    back = differences(plan(where="visit != 3"), A)
    assert by_kind(back)["coadd", "aligned", "upstream added"] == 2
    assert counts(back)["isr"] == (6, 0, 0, 2, 0)


def test_another_template_renames_and_changes_nothing_else():
    pipeline = reduction()
    kinds = dict(pipeline.dataset_types)
    kinds["isr"] = replace(kinds["isr"], template=kinds["isr"].template.replace("/isr/", "/flatfielded/"))
    found = differences(A, plan(pipeline=replace(pipeline, dataset_types=kinds)))
    assert found.same
    assert found.renamed == 8
    assert [f.kind for f in found.facts] == ["template"]


def test_how_it_is_run_is_a_fact_and_no_cause():
    clusters = [Cluster("front", ("isr", "align"), ("instrument", "visit"))]
    found = differences(A, plan(pipeline=reduction(clusters=clusters)))
    assert found.same
    assert [(f.kind, f.name) for f in found.facts] == [("policy", "clusters")]


def test_a_task_that_only_one_plan_has_is_added_or_removed():
    pipeline = reduction()
    shorter = replace(pipeline, tasks=pipeline.tasks[:-1])
    found = differences(plan(pipeline=shorter), A)
    assert counts(found)["measure"] == (0, 0, 0, 8, 0)
    assert ("task", "measure", None, "there") in [(f.kind, f.name, f.a, f.b) for f in found.facts]
    assert counts(differences(A, plan(pipeline=shorter)))["measure"] == (0, 0, 0, 0, 8)


@pytest.mark.parametrize("seed", range(3))
def test_every_quantum_is_counted_once(seed):
    b = plan(where=f"visit != {seed + 1}", threshold=seed)
    found = differences(A, b)
    for task in found.tasks:
        inside = task.same + task.changed + task.downstream
        assert inside + task.removed == A.counts[task.task]["quanta"]
        assert inside + task.added == b.counts[task.task]["quanta"]
    recipes = [
        dict(p.tables["quanta"].select(pl.concat_str("task", "data_id"), "recipe").iter_rows())
        for p in (A, b)
    ]
    same = sum(recipes[1].get(key) == recipe for key, recipe in recipes[0].items())
    assert sum(t.same for t in found.tasks) == same
