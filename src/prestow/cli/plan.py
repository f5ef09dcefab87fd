"""``prestow plan``: every job, input and output name, resolved, proved and frozen."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli.chosen import chosen_facts, chosen_lines, paired, taken_lines, with_config
from prestow.cli.group import open_project, shared_options
from prestow.cli.left_out import left_out_lines
from prestow.cli.output import Doing, Output, duration_text, is_terminal, size_text, table
from prestow.cli.plan_tainted import replaced_lines, replacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from prestow.plan import Plan
    from prestow.plan.forecast import Forecast
    from prestow.plan.forecast_model import Estimate
    from prestow.plan.summary import Summary


@click.command(short_help="Resolve every job, input and output name, and freeze them.")
@click.option(
    "--where", default="", metavar="SELECTION", help='Which data: such as "visit in (12, 13) and detector<5".'
)
@click.option("--run", metavar="RUN", help="Where the outputs go; default: the pipeline's name.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="TASK.KEY=VALUE",
    help="Configuration, on top of the pipeline's; also types.NAME.format=… and types.NAME.template=….",
)
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Configuration from a file (task: {key: value}), on top of the pipeline's, below --set.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="COLLECTION",
    help="Search inputs here too, before the raw runs: the run of an earlier plan, say.",
)
@click.option(
    "--as-of",
    default="",
    metavar="TIME",
    help="Only calibrations known then (TAI): the plan that would have been made that day.",
)
@click.option("--child-of", metavar="RUN", help="Make again, in a child run, what was lost in that one.")
@click.option(
    "--reuse",
    multiple=True,
    metavar="RUN|any",
    help="Take what this run has under the wanted recipe, besides the parents; repeatable.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Only N visits, chosen so that they make a gather; into run PIPELINE.sampleN by default.",
)
@click.option(
    "--site", type=click.Path(), metavar="FILE", help="A site file: its quotas and workers, for the forecast."
)
@click.option(
    "--waive",
    "waive",
    multiple=True,
    metavar="REASON[@TASK]",
    help="Go on without what would be left out for this reason, such as missing:flat@isr.",
)
@click.option(
    "--waive-because", "because", default="", metavar="TEXT", help="Why; it stays on record in the plan."
)
@click.option(
    "--whole",
    is_flag=True,
    help="Take visits whole, where the selection has only part of what a task gathers.",
)
@click.option(
    "--flat", is_flag=True, help="Refuse names that clash where all files of a job lie in one directory."
)
@click.option(
    "--data-ids",
    type=click.Path(),
    metavar="FILE",
    help="Only inputs that agree with a row of this table (CSV, ECSV, Parquet; columns are dimensions).",
)
@click.option(
    "--exclude",
    "excluded",
    multiple=True,
    metavar="SELECTION",
    help="Inputs that are not taken; each needs its --because.",
)
@click.option(
    "--because",
    "reasons",
    multiple=True,
    metavar="TEXT",
    help="Why it is excluded, in the order of --exclude; it stays on record in the plan.",
)
@click.option(
    "--want",
    multiple=True,
    metavar="TYPE{…}",
    help="Only what makes these outputs, such as 'coadd{tract=0,patch=7}' or \"isr{band in ('g','r')}\".",
)
@click.option(
    "--part",
    default="",
    metavar="K/N",
    help="The K-th of N parts that share no planned dataset; same run, own plan.",
)
@click.option(
    "--promised", is_flag=True, help="Take promised inputs as if they were there; what reads them waits."
)
@click.option(
    "--components", "only_components", is_flag=True, help="Only say into how many such parts the plan falls."
)
@click.option(
    "--list", "listed", is_flag=True, help="Only list the plans that there are, and whose names are reserved."
)
@click.option(
    "--with-tainted", is_flag=True, help="Take inputs that are tainted, or made from such, all the same."
)
@click.option(
    "--replace-tainted",
    is_flag=True,
    help="The request of the run that used what is tainted, once more without it, in a child run.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only look; write nothing and bind nothing.")
@shared_options
def plan(
    where: str,
    run: str | None,
    overrides: tuple[str, ...],
    config: str | None,
    inputs: tuple[str, ...],
    as_of: str,
    child_of: str | None,
    reuse: tuple[str, ...],
    sample: int | None,
    site: str | None,
    waive: tuple[str, ...],
    because: str,
    whole: bool,
    flat: bool,
    data_ids: str | None,
    excluded: tuple[str, ...],
    reasons: tuple[str, ...],
    want: tuple[str, ...],
    part: str,
    promised: bool,
    only_components: bool,
    listed: bool,
    with_tainted: bool,
    replace_tainted: bool,
    dry_run: bool,
    output: Output,
    directory: Path,
) -> None:
    """Resolve every job, input and output name; refuse what would go wrong; freeze the rest.

    The same request on the same inputs is the same plan. Nothing runs yet.
    """
    if listed:
        from prestow.cli.plan_list import list_plans

        list_plans(open_project(directory), output)
        return
    began = time.monotonic()
    from prestow.cli.show_forecast import short_line
    from prestow.plan.summary import summary

    project = open_project(directory)
    doing = Doing(sys.stderr if output.verbosity >= 0 and is_terminal(sys.stderr) else None)
    click.get_current_context().call_on_close(doing.end)
    exclude = paired(excluded, reasons)
    given, overrides = overrides, with_config(config, overrides)
    before = set(project.plans())
    chosen = None
    if sample is not None:
        chosen = project.sample(
            sample, where, overrides=overrides, inputs=inputs, as_of=as_of, child_of=child_of,
            exclude=exclude, data_ids=data_ids,
        )  # fmt: skip
    if only_components:
        from prestow.cli.plan_components import show_components

        found = project.components(
            where if chosen is None else chosen.where, run=run, overrides=overrides, inputs=inputs, as_of=as_of,
            child_of=child_of, waive=waive, whole=whole, exclude=exclude, data_ids=data_ids, want=want,
        )  # fmt: skip
        show_components(found, output)
        return
    asked: dict[str, Any] = {
        "where": where, "overrides": overrides, "inputs": inputs, "as_of": as_of, "child_of": child_of, "exclude": exclude,
        "data_ids": data_ids, "want": want, "part": part, "promised": promised, "flat": flat, "sample": chosen,
        "waive": waive, "because": because, "with_tainted": with_tainted,
    }  # fmt: skip
    replaced = replacement(project, asked) if replace_tainted else None
    if replaced is not None:
        asked = {**replaced.request, "waive": (*replaced.request["waive"], *waive)}
        asked["because"] = because or asked["because"]
    made = project.plan(
        **asked, run=run, site=site, whole=whole, reuse=reuse, dry_run=dry_run, tell=doing.tell
    )
    doing.tell("count what is there")
    numbers = summary(made)
    existing = _existing(made)
    forecast = project.forecast(made, site=site)
    done = project.outputs_made(made)
    elsewhere = project.reusable(made, reuse=reuse)
    taken = 0 if elsewhere is None else elsewhere["quantum"].n_unique()
    doing.end()
    free = shutil.disk_usage(project.root).free
    name = project.configuration.pipeline.name
    facts = {
        **asdict(numbers), "pipeline": name, "pipeline_digest": made.pipeline_digest, "exist": done, "free": free, "reused": taken,
        "inputs": {"found": existing, "missing": 0}, "new": made.id not in before, "dry_run": dry_run,
        "sample": None if chosen is None else asdict(chosen), "forecast": forecast.as_dict(),
        **chosen_facts(made),
    }  # fmt: skip
    lines = [
        f"plan {made.id[:8]}  run {made.run}  {name} @ {made.pipeline_digest[:7]}   {duration_text(time.monotonic() - began)}",
        *([f"    sample: {chosen.text}"] if chosen is not None else []),
        *_lines(numbers, free, forecast),
        (
            f"    names: {numbers.total.outputs:,} resolved, 0 collide, {done:,} exist already"
            f"        inputs: {existing:,} found, 0 missing"
        ),
        *taken_lines(made, elsewhere, reuse),
        *([] if replaced is None else replaced_lines(project, replaced, made)),
        *chosen_lines(made),
        *left_out_lines(numbers),
        *([f"    {short_line(forecast)}"] if forecast.runs or site else []),
        *(f"    warning: {line}" for line in (*numbers.warnings, *forecast.warnings)),
    ]
    if dry_run:
        lines.append("nothing was written (dry run)")
    elif made.id in before:
        lines.append("this is the same plan as before")
    last = next((row.task for row in reversed(numbers.tasks) if row.jobs), "")
    look = f"look: prestow show {last} --files"
    if chosen is not None and last:
        look = f"try one job first: prestow debug {_one_job(made, last)}"
    again = (
        [["--where", where]] if where else [],
        [["--run", run]] if run else [],
        [["--config", config]] if config else [],
        (["--set", one] for one in given),
        (["--input", one] for one in inputs),
        [["--as-of", as_of]] if as_of else [],
        [["--child-of", child_of]] if child_of else [],
        (["--reuse", one] for one in reuse),
        [["--sample", str(sample)]] if sample else [],
        [["--site", site]] if site else [],
    )
    accepted = (
        [["--waive", one] for one in waive],
        [["--waive-because", because]] if because else [],
        [["--whole"]] if whole else [],
        [["--flat"]] if flat else [],
        [["--data-ids", data_ids]] if data_ids else [],
        (["--exclude", one, "--because", why] for one, why in exclude),
        (["--want", one] for one in want),
        [["--part", part]] if part else [],
        [["--promised"]] if promised else [],
        [["--with-tainted"]] if with_tainted else [],
        [["--replace-tainted"]] if replace_tainted else [],
    )
    same = shlex.join(["plan", *(word for option in chain(*again, *accepted) for word in option)])
    following = f"prestow {same}" if dry_run else f"prestow run          {look}"
    output.answer("plan", facts, "\n".join(lines), following=following)


def _one_job(made: Plan, task: str) -> str:
    import polars as pl

    quanta = made.tables.scan("quanta").filter(pl.col("task") == task)
    first = quanta.select("job").head(1).collect().item()
    return str(made.tables.scan("jobs").select("name").slice(first, 1).collect().item())


def _existing(made: Plan) -> int:
    import polars as pl

    count = made.tables.scan("datasets").filter(~pl.col("planned")).select(pl.len()).collect().item()
    promised = made.document["request"].get("promised") or {"datasets": 0}
    return int(count) - int(promised["datasets"])


def _lines(numbers: Summary, free: int, forecast: Forecast) -> list[str]:
    """Give the table of tasks; what nothing is known of is ``?``."""
    cpu = {line.name: line.cpu_seconds for line in forecast.tasks} | {"total": forecast.cpu_seconds}
    sizes = {line.name: line.bytes for line in forecast.tasks} | {"total": forecast.products}
    rows = [
        (
            row.task, f"{row.jobs:,}", f"{row.inputs:,}", f"{row.outputs:,}",
            _text(cpu[row.task], duration_text), _text(sizes[row.task], size_text),
        )
        for row in (*numbers.tasks, numbers.total)
    ]  # fmt: skip
    lines = [table(("task", "jobs", "inputs", "outputs", "est. cpu", "est. size"), rows, indent="    ")]
    lines[0] += f"     free here: {size_text(free)}"
    return lines


def _text(estimate: Estimate | None, text: Callable[[float], str]) -> str:
    return text(estimate.value) if estimate is not None and estimate.value else "?"
