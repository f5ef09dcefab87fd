"""Pre-flight hooks: what they see, what they may take away, and what is said of one that fails."""

import json
import os
import sys
from dataclasses import replace
from textwrap import dedent

import polars as pl
import pytest

from prestow.errors import PlanRefusedError
from prestow.pipeline.code import bundle
from prestow.pipeline.definition import InputConnection
from prestow.plan import Request, build_plan
from prestow.testing.surveys import UNIVERSE, Survey, reduction

BEGIN = "from prestow.tasks import Preflight\n\n\n"


def with_hook(body, label="isr", *, files=None, **changes):
    """The reduction with a hook for one of its tasks; ``body`` is that of the hook."""
    text = (
        BEGIN + "def hook(view):\n" + "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    )
    code = bundle({"checks.py": text.encode(), **(files or {})})
    pipeline = reduction()
    tasks = tuple(
        replace(t, preflight="checks:hook", **changes) if t.label == label else t for t in pipeline.tasks
    )
    return replace(pipeline, tasks=tasks, code=code)


def plan_of(pipeline, survey=None, **more):
    return build_plan(Request("demo", pipeline, UNIVERSE, ("raw",), **more), survey or Survey.make(4, 2))


def refused(pipeline, **more):
    with pytest.raises(PlanRefusedError) as error:
        plan_of(pipeline, **more)
    (problem,) = error.value.problems
    assert problem.code == "PST-P022"
    return problem


def visits(plan, label="isr"):
    ids = plan.tables["quanta"].filter(pl.col("task") == label)["data_id"]
    return sorted({json.loads(text)["visit"] for text in ids})


def test_a_hook_vetoes_quanta_by_metadata_with_its_code():
    body = """
    told = view.describe(view.quanta, "visit.exposure_time")
    return Preflight(keep=told["visit.exposure_time"] < 25, code="too_long")
    """
    plan = plan_of(with_hook(body))
    assert visits(plan) == [1, 2]
    assert plan.counts["isr"]["left_out"] == {"hook:too_long": 4}
    assert plan.counts["align"]["left_out"] == {"upstream:isr": 4}
    assert plan.tables["left_out"]["detail"][0] == "by checks:hook"


def test_each_veto_has_its_own_code():
    body = """
    import polars as pl
    first = view.quanta["visit"] == 1
    codes = pl.select(pl.when(first).then(pl.lit("cloud")).otherwise(pl.lit("moon"))).to_series()
    return Preflight(keep=view.quanta["visit"] > 2, code=codes)
    """
    assert plan_of(with_hook(body)).counts["isr"]["left_out"] == {"hook:cloud": 2, "hook:moon": 2}


def test_a_mask_may_be_a_list_or_an_array_and_null_is_a_veto():
    lists = "return Preflight(keep=[v != 2 for v in view.quanta['visit']])"
    arrays = "return Preflight(keep=view.quanta['visit'].to_numpy() != 2)"
    nulls = (
        "import polars as pl\nreturn Preflight(keep=[None if v == 2 else True for v in view.quanta['visit']])"
    )
    plans = [plan_of(with_hook(body)) for body in (lists, arrays, nulls)]
    assert all(visits(plan) == [1, 3, 4] for plan in plans)
    assert {plan.counts["isr"]["left_out"]["hook:vetoed"] for plan in plans} == {2}


def test_a_hook_trims_what_is_read():
    body = 'return Preflight(inputs={"aligned": view.inputs["aligned"]["visit"] != 4})'
    plan = plan_of(with_hook(body, "coadd"))
    assert plan.counts["coadd"]["quanta"] == 4
    assert plan.counts["coadd"]["inputs"] == 6


def test_the_minimum_counts_what_is_left_after_the_hook():
    body = 'return Preflight(inputs={"aligned": view.inputs["aligned"]["visit"] < 4})'
    plan = plan_of(with_hook(body, "coadd", inputs=(InputConnection("aligned", "aligned", 2),)))
    assert plan.counts["coadd"]["left_out"] == {"minimum:aligned": 2}
    nothing = 'return Preflight(inputs={"aligned": view.inputs["aligned"]["visit"] > 3})'
    plan = plan_of(with_hook(nothing, "coadd"))
    assert plan.counts["coadd"]["left_out"] == {"minimum:aligned": 2}


def test_a_hook_sees_what_is_still_there_in_order_with_implied_dimensions():
    body = """
    assert set(view.quanta.columns) == {"detector", "instrument", "visit", "physical_filter", "day_obs", "band"}
    assert view.quanta["visit"].to_list() == [1, 2, 3, 1, 3], view.quanta
    flats = view.inputs["flat"]
    assert flats["quantum"].to_list() == [0, 1, 2, 3, 4]
    assert flats["physical_filter"].cast(str).to_list() == ["r_sim", "g_sim", "r_sim", "r_sim", "r_sim"]
    assert sorted(view.inputs) == ["bias", "flat", "raw"]
    assert dict(view.config) == {}
    return Preflight()
    """
    survey = Survey.make(3, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 1)
    plan = plan_of(with_hook(body), survey)
    assert plan.counts["isr"]["quanta"] == 5


def test_the_answer_refers_to_what_was_shown_though_others_went_before():
    survey = Survey.make(3, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 0)
    body = """
    return Preflight(keep=view.quanta["visit"] != 3, inputs={"raw": view.inputs["raw"]["exposure"] > 1})
    """
    plan = plan_of(with_hook(body), survey)
    assert plan.counts["isr"]["left_out"] == {"missing:flat": 1, "hook:vetoed": 2, "minimum:raw": 2}
    assert visits(plan) == [2]


def test_a_hook_may_import_its_neighbours_and_leaves_nothing_behind():
    before = set(sys.modules), list(sys.path)
    plan = plan_of(
        with_hook(
            "from rules.moon import far\nreturn Preflight(keep=far(view.quanta))",
            files={"rules/__init__.py": b"", "rules/moon.py": b"def far(q):\n    return q['visit'] > 1\n"},
        )
    )
    assert visits(plan) == [2, 3, 4]
    assert "checks" not in sys.modules
    assert "rules" not in sys.modules
    assert sys.path == before[1]


def test_the_workflows_module_wins_over_one_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "checks.py").write_text("raise RuntimeError('another one')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "checks", sys)
    assert visits(plan_of(with_hook("return Preflight(keep=view.quanta['visit'] > 3)"))) == [4]
    assert sys.modules["checks"] is sys


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("x = 1\nreturn 1 / 0", 6, "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", 5, "SystemExit: 3"),
        ("return True", 4, "it gave bool, and not a Preflight"),
        ("return Preflight(keep=[True])", 4, "'keep' has 1 rows, and there are 8: it can only take away"),
        ("return Preflight(keep=view.quanta['visit'])", 4, "'keep' has values of type Int64"),
        ("return Preflight(keep=object())", 4, "'keep' is no column"),
        (
            "return Preflight(inputs={'dark': []})",
            4,
            "there is no connection 'dark'; connections: raw, bias, flat",
        ),
        ("return Preflight(inputs={'raw': [True] * 9})", 4, "'inputs[raw]' has 9 rows"),
        (
            "return Preflight(keep=[False] * 8, code='Bad Weather')",
            4,
            "the code 'Bad Weather' does not match",
        ),
        ("return Preflight(keep=[False] * 8, code=['a'])", 4, "'code' has 1 rows"),
        ("view.describe(view.quanta, 'visit.seeing')", 5, "no metadata visit.seeing"),
    ],
)
def test_a_hook_that_fails_is_one_problem_at_its_line(body, line, told):
    problem = refused(with_hook(body))
    assert told in problem.what
    assert problem.where == f"checks.py:{line}"
    assert "isr" in problem.what


def test_a_hook_that_cannot_be_imported_is_one_problem():
    pipeline = with_hook("import nonexistent_library_of_nobody\nreturn Preflight()")
    assert refused(pipeline).where == "checks.py:5"
    code = bundle({"checks.py": b"def hook(view:\n"})
    assert refused(replace(pipeline, code=code)).where == "checks.py:1"


def test_what_a_hook_prints_is_no_answer(capsys):
    plan_of(with_hook("print('hello')\nreturn Preflight()"))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "hello\n")


def test_the_hook_is_part_of_the_plan_and_not_of_any_recipe():
    one, other = (
        plan_of(with_hook("return Preflight()")),
        plan_of(replace(with_hook("return Preflight()"), tasks=reduction().tasks)),
    )
    assert one.id != other.id
    assert one.tables["quanta"]["recipe"].equals(other.tables["quanta"]["recipe"])
    assert one.definition.task("isr").preflight == "checks:hook"


def test_no_directory_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    plan_of(with_hook("return Preflight()"))
    assert os.listdir(tmp_path) == []
