"""What a request took besides its selection: wanted outputs, a part, exclusions with reasons, a table of data IDs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.cli.output import count_text
from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    import polars as pl

    from prestow.plan import Plan


def paired(excluded: Sequence[str], reasons: Sequence[str]) -> list[tuple[str, str]]:
    """Give each exclusion with its reason.

    Raises
    ------
    ProjectError
        PST-C063, if there are not as many reasons as exclusions.
    """
    if len(excluded) != len(reasons):
        what = f"{count_text(len(excluded), 'exclusion')}, and {count_text(len(reasons), 'reason')}"
        fix = "give each --exclude its --because, in the same order"
        raise ProjectError(Problem("PST-C063", what, "--exclude", fix))
    return list(zip(excluded, reasons, strict=True))


def with_config(path: str | None, overrides: Sequence[str]) -> tuple[str, ...]:
    """Give the values of a file of configuration, and after them those of the command line: these win."""
    if path is None:
        return tuple(overrides)
    from prestow.pipeline.config_file import read_config_file

    return (*read_config_file(Path(path)), *overrides)


def taken_lines(plan: Plan, elsewhere: pl.DataFrame | None, runs: Sequence[str]) -> list[str]:
    """Give a line for what is taken from other runs, if there are any to take from.

    Parameters
    ----------
    elsewhere : DataFrame or None
        What `prestow.plan.reuse.reusable` gave.
    runs : sequence of str
        Those that are asked for, besides the parents.
    """
    if elsewhere is None:
        return []
    parent = plan.document["request"]["child_of"]
    found = elsewhere["run"].unique().sort().to_list() or [*([parent] if parent else []), *runs]
    total, taken = plan.document["totals"]["quanta"], elsewhere["quantum"].n_unique()
    named = f"run{'s' if len(found) > 1 else ''} {', '.join(found)}" if found else "any run"
    return [f"    of {total:,} quanta {taken:,} are taken from {named}"]


def chosen_facts(plan: Plan) -> dict[str, Any]:  # Any: plain values
    """Give what the plan's document tells of it."""
    asked = plan.document["request"]
    return {
        name: asked.get(name)
        for name in ("excluded", "data_ids", "want", "part", "stage", "promised", "config")
    }


def chosen_lines(plan: Plan) -> list[str]:
    """Give lines for what is wanted, the part, the table, and one for each exclusion."""
    facts = chosen_facts(plan)
    table, stage, promised = facts["data_ids"], facts["stage"], facts["promised"]
    lines = [f"    wanted: {', '.join(facts['want'])}"] if facts["want"] else []
    lines += [f"    part {facts['part']} of what was asked for"] if facts["part"] else []
    lines += [f"    data IDs: {table['rows']:,} of {table['file']}"] if table else []
    lines += [
        f'    excluded: {count_text(one["count"], "dataset")} by "{one["where"]}", because: {one["because"]}'
        for one in facts["excluded"] or ()
    ]
    lines += [f"    {key} from {origin}" for key, origin in (facts["config"] or {}).items()]
    if stage:
        later = (
            f"; later: {', '.join(stage['later'])}, planned when this is run and ingested"
            if stage["later"]
            else ""
        )
        lines.append(f"    stage {stage['number']} of {stage['of']}{later}")
    if promised:
        lines.append(
            f"    promised: {count_text(promised['datasets'], 'input')} not there yet, the first due by "
            f"{promised['first_by']} (TAI); what reads them waits"
        )
    return lines
