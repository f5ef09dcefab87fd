"""Everything the report needs, asked once: plan, receipts, attempt reports, journal."""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.model import DataId
from prestow.naming import identity
from prestow.plan.retaining import not_needed
from prestow.plan.settled import read_settled
from prestow.plan.states import WORDS, count_states, tasks_of
from prestow.results.failures import FailureGroup, grouped
from prestow.results.report.facts import GOOD, MANY, SEVERITY, Cause, Picture, Report, Unmade
from prestow.results.report.mapping import maps_of
from prestow.results.report.reading import Journal, read_lines, read_tries
from prestow.results.report.saying import command_of, next_commands, verdict
from prestow.results.report.timing import (
    attempts_of,
    critical_path,
    job_states,
    last_times,
    slowest_of,
    timeline_of,
    times_by_task,
    word_column,
)
from prestow.results.status import put_waiting

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.plan.settled import Register
    from prestow.stores import Store

Facts = Mapping[str, Any]  # Any: JSON values

UNMADE = 300
"""Quanta that are not made, of which the report tells each; the worst first."""


@dataclass(frozen=True, slots=True)
class Around:
    """What others know of a plan, and may have been asked.

    Parameters
    ----------
    journal : iterable of mappings
        Lines of the plan's journal.
    alive : bool
        Whether a run goes on.
    word : str
        What names the plan in a command, after a blank; empty where the newest is meant.
    submit_again : str
        The command that hands over what is left, of a plan that is handed over.
    overrides : tuple of str
        Configuration that was given for its run beside the pipeline.
    account, difference : mapping or None
        What an account of its files, and a comparison with the plan before, came to.
    pictures : tuple of Picture
    notes : tuple of str
        What could not be asked.
    waiting : mapping of row to str, optional
        Quanta whose jobs a queue holds or has preempted.
    """

    journal: Iterable[Facts] = ()
    alive: bool = False
    word: str = ""
    submit_again: str = ""
    overrides: tuple[str, ...] = ()
    account: Facts | None = None
    difference: Facts | None = None
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    waiting: Mapping[int, str] | None = None


def gather(
    plan: Plan,
    store: Store,
    *,
    reuse: pl.DataFrame | None = None,
    registry: Register | None = None,
    around: Around | None = None,
) -> Report:
    """Ask what there is to say of a plan.

    Parameters
    ----------
    reuse : DataFrame or None
        What `prestow.plan.reuse.reusable` gave.
    registry : Register or None
        What it has taken in needs no look at receipts.
    around : Around, optional
        What others know.

    Raises
    ------
    PlanRefusedError
        If the run holds a receipt under another recipe than the plan's (PST-P005).
    """
    around = around or Around()
    journal, versions = read_lines(around.journal), {}  # type: tuple[Journal, dict[str, set[str]]]
    labels = [task.label for task in plan.definition.tasks]
    jobs = plan.tables["jobs"]
    tries = read_tries(store, plan.run, jobs["name"], journal, versions)
    quanta, tries = _standing(plan, store, tries, reuse, registry, around.waiting or {})
    codes = quanta["code"].to_numpy()
    tasks = _counts(plan, codes)
    counts = {word: sum(row[word] for row in tasks.values()) for word in SEVERITY}
    closes = None if around.account is None else bool(around.account.get("closes"))
    sentence, mood = verdict(counts, alive=around.alive, closes=closes)
    groups = grouped(tries)
    attempts = attempts_of(tries)
    rank = np.array([SEVERITY.index(word) for word in WORDS], np.uint8)
    worst = job_states(quanta, jobs.height, rank)
    timed = last_times(attempts, jobs.with_columns(word_column(worst, SEVERITY)))
    seconds, chain = critical_path(timed, plan.tables["job_edges"])
    timeline = timeline_of(attempts, journal)
    unmade, unmade_count = _unmade(quanta, jobs, groups)
    dimensions = [name for name in quanta.columns if name not in ("quantum", "id", "data_id", "job")]
    return Report(
        sentence, mood, counts, tasks,
        facts=_head(plan, around, journal, versions, attempts, seconds),
        causes=tuple(cause_of(group, tries, around.word, around.submit_again) for group in groups),
        failures=sum(group.count for group in groups),
        unmade=unmade, unmade_count=unmade_count,
        maps=maps_of(quanta.select(dimensions), labels),
        timeline=timeline,
        times=times_by_task(tries, quanta, jobs, labels),
        slowest=slowest_of(timed), critical=chain,
        account=around.account, difference=around.difference, pictures=around.pictures,
        jobs=_columns(timed) if timed.height <= MANY else None,
        notes=around.notes,
    )  # fmt: skip


def _standing(
    plan: Plan, store: Store, tries: pl.DataFrame, reuse: pl.DataFrame | None, registry: Register | None,
    waiting: Mapping[int, str],
) -> tuple[pl.DataFrame, pl.DataFrame]:  # fmt: skip
    """Give all quanta with the codes of their states; and those tries that are of them, with their states."""
    columns = [name for name in plan.tables.scan("quanta").collect_schema().names() if name != "recipe"]
    quanta = plan.tables.scan("quanta").select(columns).collect()
    codes = read_settled(plan, store, registry=registry).states.codes.copy()
    open_ = codes == 0
    if reuse is not None:
        taken = np.zeros(len(codes), np.bool_)
        taken[reuse["quantum"].to_numpy()] = True
        codes[taken & open_] = WORDS.index("reused")
    codes[not_needed(plan, codes == 0)] = WORDS.index("unneeded")
    texts = quanta.select(pl.col("quantum").alias("row"), identity.uuid_text(pl.col("id")).alias("quantum"))
    known = tries.join(texts, on="quantum", how="inner")
    failed = known.filter(pl.col("code") != "")["row"].unique().to_numpy()
    failed = failed[codes[failed] == 0]
    codes[failed] = WORDS.index("failed")
    put_waiting(codes, waiting)
    words = word_column(codes).alias("now")
    known = known.with_columns(words.gather(known["row"]))
    return quanta.with_columns(pl.Series("code", codes)), known


def _counts(plan: Plan, codes: npt.NDArray[np.uint8]) -> dict[str, dict[str, int]]:
    counts = count_states(tasks_of(plan), codes)
    return {task: {word: row[word] for word in SEVERITY} for task, row in counts.items()}


def cause_of(group: FailureGroup, tries: pl.DataFrame, word: str = "", submit_again: str = "") -> Cause:
    """Give a cause for the report: a group of failures, and in which states its quanta are ``now``, as a column of the tries says."""
    mine = tries.filter(pl.col("quantum").is_in(pl.Series(group.quanta).implode())).unique("quantum")
    now = dict(mine["now"].value_counts(name="n").sort("n", "now", descending=[True, False]).iter_rows())
    return Cause(
        group.kind, group.title, group.cause, group.exception, group.message, group.count, len(group.quanta), len(group.jobs),
        group.messages, group.tried, group.tasks, group.hosts, group.first, group.log_tail, now,
        next_commands(group, now, word, submit_again),
    )  # fmt: skip


def _unmade(
    quanta: pl.DataFrame, jobs: pl.DataFrame, groups: Sequence[FailureGroup]
) -> tuple[tuple[Unmade, ...], int]:
    """Give the first of the quanta that are not made, the worst first, with what they failed of."""
    good = [WORDS.index(word) for word in GOOD]
    rows = quanta.filter(~pl.col("code").is_in(good))
    badness = pl.col("code").replace_strict(
        list(range(len(WORDS))), [SEVERITY.index(word) for word in WORDS], return_dtype=pl.UInt8
    )
    first = rows.sort(badness, "quantum", descending=[True, False]).head(UNMADE)
    first = first.with_columns(identity.uuid_text(pl.col("id")).alias("text"))
    wanted = set(first["text"])
    causes = {quantum: group.title for group in groups for quantum in group.quanta if quantum in wanted}
    names = jobs["name"]
    return tuple(
        Unmade(
            row["task"], str(DataId.from_json(row["data_id"])), WORDS[row["code"]], names[row["job"]], causes.get(row["text"], "")
        )
        for row in first.iter_rows(named=True)
    ), rows.height  # fmt: skip


def _head(
    plan: Plan,
    around: Around,
    journal: Journal,
    versions: Mapping[str, set[str]],
    attempts: pl.DataFrame,
    critical_seconds: float,
) -> dict[str, Any]:  # Any: JSON values
    """Give the head: what it is of, what it took, what made it, and how to make it again."""
    workers = attempts.filter(pl.col("host") != "").select("host", "pid").unique().height
    cpu = float(attempts["cpu_seconds"].sum() or 0.0)
    wall = journal.seconds or _span(attempts)
    return {
        "plan": plan.id, "run": plan.run, "pipeline": plan.definition.name,
        "jobs": plan.document["totals"]["jobs"], "tries": attempts.height,
        "wall_seconds": round(wall, 3), "cpu_seconds": round(cpu, 3), "runs": len(journal.spans),
        "hosts": attempts.filter(pl.col("host") != "")["host"].n_unique(), "workers": workers,
        "busy": round(float(attempts["seconds"].sum() or 0.0) / (workers * wall), 3) if workers and wall else None,
        "critical_seconds": round(critical_seconds, 3), "worker_deaths": len(journal.deaths),
        "begun": journal.spans[0][0] if journal.spans else None,
        "ended": None if around.alive or not journal.spans else journal.spans[-1][1],
        "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
        "code": plan.code.sha256 if plan.code is not None else None,
        "repeat": [command_of(plan.run, plan.document["request"], around.overrides), around.submit_again or f"prestow run{around.word}"],
        "warnings": list(plan.warnings),
        "written": {"at": round(time.time(), 3), "by": f"{_user()}@{socket.gethostname()}", "prestow": version("prestow")},
    }  # fmt: skip


def _span(attempts: pl.DataFrame) -> float:
    known = attempts.filter(pl.col("end").is_not_null() & pl.col("seconds").is_not_null())
    if not known.height:
        return 0.0
    return float(known.select(pl.col("end").max() - (pl.col("end") - pl.col("seconds")).min()).item())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _columns(timed: pl.DataFrame) -> dict[str, list[Any]]:  # Any: JSON values
    columns = timed.select(
        "name", "label", "state", pl.col("seconds").round(3), pl.col("host"), pl.col("tries").fill_null(0)
    )
    table: dict[str, list[Any]] = json.loads(json.dumps(columns.to_dict(as_series=False)))
    return table
