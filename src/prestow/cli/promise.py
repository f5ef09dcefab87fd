"""``prestow promise``: inputs that are named and not there yet, with a deadline."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table
from prestow.errors import Problem, ProjectError
from prestow.model.instants import instant_text


@click.command(short_help="Promise inputs that will come, by a deadline; plan --promised takes them.")
@click.argument("dataset_type", metavar="TYPE", required=False)
@click.argument("words", metavar="[K=V]...", nargs=-1)
@click.option("--data-ids", type=click.Path(), metavar="FILE", help="A table of them (CSV, ECSV, Parquet).")
@click.option("--by", metavar="TIME", help="When they will be there: TAI, or UTC with Z at its end.")
@click.option("--begin", metavar="TIME", help="When they will be observed, for calibrations …")
@click.option("--end", metavar="TIME", help="… and until when.")
@shared_options
def promise(
    dataset_type: str | None,
    words: tuple[str, ...],
    data_ids: str | None,
    by: str | None,
    begin: str | None,
    end: str | None,
    output: Output,
    directory: Path,
) -> None:
    """Promise inputs of TYPE that will come; without TYPE list all promises.

    Of what nobody knows yet say what it implies, and the visit of an exposure:
    prestow promise raw instrument=toy exposure=9 visit=9 detector=0 physical_filter=R day_obs=20260101
    band=r --by 2026-01-02T12:00.
    """
    project = open_project(directory)
    if dataset_type is None:
        made = project.promises()
        rows = [(one.type, f"{one.datasets:,}", instant_text(one.by), one.key[:8]) for one in made]
        listed: dict[str, object] = {
            "promises": [
                {"type": p.type, "datasets": p.datasets, "by": instant_text(p.by), "key": p.key} for p in made
            ]
        }
        text = table(("type", "datasets", "by (TAI)", "promise"), rows) if rows else "nothing is promised"
        output.answer("promise", listed, text, following="prestow plan --promised")
        return
    if by is None:
        raise ProjectError(Problem("PST-G005", "--by TIME is missing", "--by", "say when they will be there"))
    if bool(begin) != bool(end):
        raise ProjectError(Problem("PST-G005", "--begin and --end go together", "--begin", "give both"))
    from prestow.results.naming_words import plain_data_id

    one = project.promise(
        dataset_type,
        dict(plain_data_id(words, project.universe)) if words else None,
        by=by,
        data_ids=data_ids,
        observed=(begin, end) if begin and end else (),
    )
    text = f"promised: {count_text(one.datasets, one.type)} by {instant_text(one.by)} (TAI)"
    facts = {"type": one.type, "datasets": one.datasets, "by": instant_text(one.by), "key": one.key}
    output.answer("promise", facts, text, following="prestow plan --promised")
