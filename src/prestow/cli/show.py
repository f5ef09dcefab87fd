"""``prestow show``: what is in a plan."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli import completing
from prestow.cli.chosen import chosen_facts, chosen_lines
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.left_out import left_out_table
from prestow.cli.output import Output, count_text, table
from prestow.cli.show_graph import show_graph
from prestow.cli.show_papers import show_papers
from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    import polars as pl

    from prestow.plan import Plan
    from prestow.project import Project
    from prestow.results.naming_words import Named

MOST = 20_000  # names of jobs that are looked through for one that is near
_BRACES = re.compile(r"[^\s{}=]+\{[^{}]*\}")
LINES = 40  # of a listing for people; --files and --json have them all


@click.command(short_help="Show what is in a plan.")
@click.argument("words", metavar="[PLAN] [WHAT]", nargs=-1, shell_complete=completing.plan_or_what)
@click.option("--files", is_flag=True, help="Every planned file name, one a line.")
@click.option("--where", default="", metavar="SELECTION", help="Only quanta for which this holds.")
@click.option("--log", "paper", flag_value="log", default=None, help="The log of a job, or the end of it.")
@click.option("--config", "paper", flag_value="config", help="The configuration of a job's tasks.")
@click.option(
    "--environment", "paper", flag_value="environment", help="Where a job ran: host, versions, code."
)
@click.option(
    "--graph",
    is_flag=False,
    flag_value="mermaid",
    metavar="[mermaid|dot]",
    help="The graph of tasks and dataset types, to draw; mermaid, if not said.",
)
@click.option("--pipeline", is_flag=True, help="With --graph: of the pipeline, without a plan.")
@click.option("--forecast", is_flag=True, help="What it will come to, and after a run what it came to.")
@click.option(
    "--site", type=click.Path(), metavar="FILE", help="With --forecast: a site file, for quotas and workers."
)
@shared_options
def show(
    words: tuple[str, ...],
    files: bool,
    where: str,
    paper: str | None,
    graph: str | None,
    pipeline: bool,
    forecast: bool,
    site: str | None,
    output: Output,
    directory: Path,
) -> None:
    """Show what is in PLAN (an id or its beginning, a path, or latest, the default).

    WHAT is a task, a dataset type, a job, a planned file, a dataset (coadd band=r), or a selection
    such as "visit=12 and detector<5". Without it: the tasks, with their counts.
    """
    project = open_project(directory)
    if paper:
        show_papers(project, words, paper, output)
        return
    if graph or pipeline:
        show_graph(project, words, graph or "mermaid", output, pipeline=pipeline)
        return
    if forecast or site:
        from prestow.cli.show_forecast import show_forecast

        show_forecast(project, words, site, output)
        return
    plan, what = _plan_and_what(project, words)
    if not what and not where and not files:
        _show_tasks(project, plan, output)
        return
    from prestow.results.plan_counts import job_named

    job = job_named(plan, what) if what and not files and not where else None
    if job is not None:
        _show_job(project, plan, job, output)
        return
    quanta, outputs = _select(project, plan, what, where)
    if files:
        _show_files(plan, quanta, outputs, output)
    else:
        _show_quanta(project, plan, quanta, output)


def _plan_and_what(project: Project, words: tuple[str, ...]) -> tuple[Plan, str]:
    if len(words) > 1 and all("=" in word for word in words[1:]) and not project.plans_like(words[0]):
        return project.find_plan(), f"{words[0]}{{{','.join(words[1:])}}}"
    if len(words) > 2:  # noqa: PLR2004 - PLAN and WHAT
        problem = Problem(
            "PST-G005",
            f"too many words: {' '.join(words)}",
            fix="put a selection in quotes: prestow show 'visit=12'",
        )
        raise ProjectError(problem)
    if len(words) == 2:  # noqa: PLR2004 - PLAN and WHAT
        return project.find_plan(words[0]), words[1]
    if words and (words[0] == "latest" or project.plans_like(words[0])):
        return project.find_plan(words[0]), ""
    return project.find_plan(), words[0] if words else ""


def _select(project: Project, plan: Plan, what: str, where: str) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Give the quanta, and the planned outputs, that are meant; nothing of them is read yet."""
    import polars as pl

    from prestow.plan.state import outputs_of
    from prestow.query import parse_selection
    from prestow.results.naming_words import parse_dataset
    from prestow.results.plan_counts import job_named

    quanta, planned = plan.tables.scan("quanta"), plan.tables.scan("datasets").filter("planned")
    by_output = False
    if what:
        makers = {o.type: task.label for task in plan.definition.tasks for o in outputs_of(task)}
        if what in plan.counts and plan.counts[what]["quanta"]:
            quanta = quanta.filter(pl.col("task") == what)
        elif what in makers and plan.counts[makers[what]]["quanta"]:
            planned = planned.filter(pl.col("type") == what)
            quanta = quanta.filter(pl.col("task") == makers[what])
        elif _any(named := planned.filter(pl.col("path").is_in([what, _name_in_store(project, what)]))):
            planned, by_output = named, True
        elif (job := job_named(plan, what)) is not None:
            quanta = quanta.filter(pl.col("job") == job["job"])
        elif _BRACES.fullmatch(what):
            planned, by_output = _of_data_id(planned, parse_dataset([what], project.universe)), True
            if not _any(planned):
                raise _unknown(project, plan, what)
        elif _is_word(what):
            raise _unknown(project, plan, what)
        else:
            where = f"({what}) and ({where})" if where else what
    if by_output:
        made = planned.select("producer").collect()["producer"]
        quanta = quanta.filter(pl.col("quantum").is_in(made.unique().implode()))
    if where:
        columns = quanta.collect_schema().names()
        quanta = quanta.filter(parse_selection(where, project.universe).expression(columns))
    chosen = quanta.select(producer="quantum")
    return quanta, planned.join(chosen, on="producer", how="semi", maintain_order="left")


def _any(frame: pl.LazyFrame) -> bool:
    return bool(frame.select("dataset").head(1).collect().height)


def _name_in_store(project: Project, what: str) -> str:
    """Give the name that a path below the project's store stands for, or what was said."""
    from prestow.results.resolving import name_in_store

    return name_in_store(project.recorded(), Path(what)) or what if "/" in what else what


def _of_data_id(planned: pl.LazyFrame, named: Named) -> pl.LazyFrame:
    """Give the planned datasets of a type that have these values."""
    import polars as pl

    if not set(named.data_id) <= set(planned.collect_schema().names()):
        return planned.head(0)
    found = planned.filter(pl.col("type") == named.type)
    return found.filter(*(pl.col(name) == value for name, value in named.data_id.items()))


def _unknown(project: Project, plan: Plan, what: str) -> ProjectError:
    """Give the error for a word that means nothing in a plan, with the nearest that do."""
    from prestow.project.plans import newest_of

    known = [*plan.counts, *plan.definition.dataset_types]
    known += plan.tables.scan("jobs").select("name").head(MOST).collect()["name"].to_list()
    near = difflib.get_close_matches(what, dict.fromkeys(sorted(known)), 3)
    fix = f"did you mean {', '.join(repr(n) for n in near)}?" if near else "prestow show --files"
    of_run = newest_of(project.plans_directory, what)
    if of_run is not None:
        fix = f"'{what}' is a run; its plan: prestow show {of_run.name[:8]}"
    problem = f"no task, dataset type, job or file '{what}' in plan {plan.id[:8]}"
    return ProjectError(Problem("PST-R004", problem, fix=fix))


def _is_word(text: str) -> bool:
    return not any(mark in text for mark in "=<> ")


def _show_tasks(project: Project, plan: Plan, output: Output) -> None:
    from prestow.plan.summary import left_out_rows
    from prestow.results.plan_counts import task_counts

    counts = task_counts(plan)
    width = max(len(row["task"]) for row in counts)
    reserved = any(held.plan == plan.id for held in project.reserved(plan.run))
    lines = [f"plan {plan.id[:8]}  run {plan.run}{'  its names are reserved' if reserved else ''}"]
    for i, row in enumerate(counts):
        last = i == len(counts) - 1
        lines.append(
            f"{'└─' if last else '├─'} {row['task']:{width}}  {count_text(row['quanta'], 'quantum', 'quanta')} in {count_text(row['jobs'], 'job')}"
        )
        stem = "   " if last else "│  "
        lines.append(f"{stem}  reads   {_listed(row['reads'])}")
        lines.append(f"{stem}  writes  {_listed(row['writes'])}")
    left_out = left_out_rows(plan)
    lines += chosen_lines(plan) + left_out_table(left_out)
    output.answer(
        "show",
        {
            "plan": plan.id,
            "run": plan.run,
            "reserved": reserved,
            "tasks": counts,
            "left_out": [asdict(row) for row in left_out],
        }
        | chosen_facts(plan),
        "\n".join(lines),
        following=f"prestow show{plan_word(project, plan)} {counts[-1]['task']} --files",
    )


def _listed(types: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in types.items()) or "nothing"


def _show_files(plan: Plan, quanta: pl.LazyFrame, planned: pl.LazyFrame, output: Output) -> None:
    if not output.json:
        text = "\n".join(planned.select("path").collect()["path"])
        if text:
            output.answer("show", {}, text)
        return
    names = plan.tables.scan("jobs").select("job", job_name="name")
    producers = quanta.select("quantum", "task", "job").join(names, on="job")
    rows = planned.select("path", "type", "data_id", "producer")
    rows = rows.join(producers, left_on="producer", right_on="quantum", how="left", maintain_order="left")
    files = [
        {
            "path": r["path"],
            "type": r["type"],
            "data_id": json.loads(r["data_id"]),
            "task": r["task"],
            "job": r["job_name"],
        }
        for r in rows.collect().iter_rows(named=True)
    ]
    output.answer("show", {"plan": plan.id, "run": plan.run, "files": files}, "")


def _show_quanta(project: Project, plan: Plan, quanta: pl.LazyFrame, output: Output) -> None:
    import polars as pl

    from prestow.results.plan_counts import papers_of

    found = quanta.select("quantum", "task", "job").collect()
    shown = found if output.json else found.head(LINES)
    own = shown["job"].unique().implode()
    names = plan.tables.scan("jobs").select("job", "name").filter(pl.col("job").is_in(own))
    named = dict(names.collect().iter_rows())
    papers = papers_of(plan, shown["quantum"].to_list())
    rows = [
        {"task": task, "job": named[job], **both}
        for (task, job), both in zip(shown.select("task", "job").iter_rows(), papers, strict=True)
    ]
    lines = [
        (
            r["task"],
            r["job"],
            f"<- {_inputs_text(r['inputs'])}",
            f"-> {' '.join(o['path'] for o in r['outputs'])}",
        )
        for r in rows
    ]
    text = table(("task", "job", "reads", "writes"), lines, words=4)
    if len(shown) < len(found):
        text += f"\n  and {len(found) - len(shown):,} more: prestow show … --files"
    following = f"prestow show{plan_word(project, plan)}" + (f" {rows[0]['job']}" if rows else "")
    output.answer("show", {"plan": plan.id, "run": plan.run, "quanta": rows}, text, following=following)


def _inputs_text(inputs: list[dict[str, Any]]) -> str:  # Any: rows for people
    if len(inputs) == 1:
        return str(inputs[0]["name"])
    return ", ".join(f"{n} {name}" for name, n in Counter(i["type"] for i in inputs).items())


def _show_job(project: Project, plan: Plan, job: dict[str, Any], output: Output) -> None:  # Any: a row
    import polars as pl

    from prestow.plan.resources import told_of
    from prestow.results.plan_counts import neighbours, papers_of

    own = plan.tables.scan("quanta").select("quantum", "task", "data_id", "job")
    quanta = own.filter(pl.col("job") == job["job"]).collect()
    after, before = neighbours(plan, job["job"])
    rows = [
        {"task": task, "data_id": json.loads(data_id), **both}
        for task, data_id, both in zip(
            quanta["task"], quanta["data_id"], papers_of(plan, quanta["quantum"].to_list()), strict=True
        )
    ]
    lines = [f"job {job['name']}  plan {plan.id[:8]}  run {plan.run}"]
    for row in rows:
        lines.append(f"  {row['task']}  " + " ".join(f"{k}={v}" for k, v in row["data_id"].items()))
        lines += [f"    <- {i['connection']:12} {i['type']}  {i['name']}" for i in row["inputs"][:LINES]]
        if len(row["inputs"]) > LINES:
            lines.append(f"       and {len(row['inputs']) - LINES:,} more")
        lines += [
            f"    -> {o['connection']:12} {o['path']}{'  (optional)' if o['optional'] else ''}"
            for o in row["outputs"]
        ]
    needs = told_of(plan, job)
    width = max(map(len, needs), default=0)
    lines += [f"  {name:{width}}  {fact['value']:,}  from {fact['from']}" for name, fact in needs.items()]
    lines += [f"  after   {_first_few(after)}"] if after else []
    lines += [f"  before  {_first_few(before)}"] if before else []
    output.answer(
        "show",
        {
            "plan": plan.id,
            "run": plan.run,
            "job": job["name"],
            "quanta": rows,
            "needs": needs,
            "after": after,
            "before": before,
        },
        "\n".join(lines),
        following=f"prestow debug {job['name']}{plan_word(project, plan, ' --plan ')}",
    )


def _first_few(names: list[str], few: int = 5) -> str:
    return ", ".join(names[:few]) + (f" and {len(names) - few:,} more" if len(names) > few else "")
