"""The account of a run: every planned output in one state, every file found in one class. It always sums.

Files are listed first, then receipts are read, so that what is promoted in between never looks unexpected.
What counts is the full path and what is in a file; links are looked at, clocks and last parts of names are not.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.errors import Exit, Problem, ProjectError
from prestow.notebook import counted, states_table
from prestow.plan.retaining import not_needed
from prestow.registry.findings import CONTRADICTORY, IRREPRODUCIBLE
from prestow.results.account_committed import Committed, Contradiction, read_committed
from prestow.results.account_files import (
    CLASSES,
    EXPECTED,
    FileLook,
    Known,
    Note,
    sort_files,
)
from prestow.results.account_levels import Depth
from prestow.results.account_listing import list_files, look_again, roots_of
from prestow.results.status import summed
from prestow.results.unexpected import PLACE, kept_files

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.registry import Registry
    from prestow.stores import Store

STATES = ("made", "declined", "lost", "blocked", "failed", "pending", "contradictory", "reused", "unneeded")
"""States of planned outputs. The last two are said where there are any: taken from another run; need not be made."""

GOOD = ("made", "declined", "reused", "unneeded")
LOST = ("lost", "blocked")
SHOWN = 1000
"""Files and outputs of one kind that an account as plain values names, unless it is asked for all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """What became of a plan's outputs, or of a run's, and what the files are.

    Parameters
    ----------
    run : str
        Which.
    plan : str
        Whose outputs; empty where it is that of a run alone, as its receipts tell.
    level : Depth
        How closely files were looked at.
    tasks : mapping of task to mapping of state to int
        Planned outputs; they sum to the plan.
    classes : mapping of class to int
        All but *missing* sum to ``found``.
    found : int
        Files below the directories of the run.
    to_promote : int
        Made outputs that are committed, and still aside. *made* counts them.
    deleted : int
        Made outputs that were deleted on purpose since. *made* counts them, too.
    notes : tuple of Note
        Files that are not as expected, and what is missing; by class and path.
    outputs : DataFrame
        Planned outputs that are neither made nor declined: ``state, task, type, data_id, path``.
    contradictions : tuple of Contradiction
        Committed facts that disagree.
    remarks : tuple of str
        What could not be asked, and what follows from that.
    roots : tuple of str
        The directories of the run.
    """

    run: str
    plan: str
    level: Depth
    tasks: Mapping[str, Mapping[str, int]]
    classes: Mapping[str, int]
    found: int
    size: int
    to_promote: int
    deleted: int
    notes: tuple[Note, ...]
    outputs: pl.DataFrame
    contradictions: tuple[Contradiction, ...] = ()
    remarks: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()

    @property
    def states(self) -> dict[str, int]:
        """Planned outputs by state, every state."""
        return summed(self.tasks, STATES)

    @property
    def planned(self) -> int:
        """All planned outputs."""
        return sum(self.states.values())

    @property
    def closes(self) -> bool:
        """Whether all files are expected and every output is made, declined, or a loss that is known."""
        states = self.states
        open_ = sum(count for state, count in states.items() if state not in (*GOOD, *LOST))
        wrong = sum(count for kind, count in self.classes.items() if kind != EXPECTED)
        return not (open_ or wrong or self.contradictions)

    @property
    def exit(self) -> Exit:
        """0, 10 where it closes with losses, or 9."""
        if not self.closes:
            return Exit.ACCOUNT
        return Exit.LOSSES if any(self.states[state] for state in LOST) else Exit.OK

    def of(self, kind: str) -> tuple[Note, ...]:
        """Give the files of one class, or what is missing."""
        return tuple(note for note in self.notes if note.kind == kind)

    def as_dict(self, only: Sequence[str] = ()) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values; ``only`` some classes or states are told, and these whole."""
        notes = [note for note in self.notes if not only or note.kind in only]
        rows = self.outputs.filter(pl.col("state").is_in(list(only))) if only else self.outputs
        return {
            "run": self.run, "plan": self.plan or None, "level": str(self.level), "closes": self.closes,
            "planned": self.planned, "states": self.states,
            "tasks": {task: dict(counts) for task, counts in self.tasks.items()},
            "found": self.found, "classes": dict(self.classes), "size": self.size, "to_promote": self.to_promote,
            "deleted": self.deleted, "directories": list(self.roots), "remarks": list(self.remarks),
            "files": [_note(note) for note in (notes if only else _first(notes))],
            "outputs": (rows if only else rows.head(SHOWN)).to_dicts(),
            "contradictions": [{"what": c.what, "where": c.where} for c in self.contradictions],
        }  # fmt: skip

    def __repr__(self) -> str:
        of = f"plan {self.plan[:8]}, run {self.run}" if self.plan else f"run {self.run}"
        return f"<Account of {of}: {counted(self.states)}; files {counted(self.classes)}>"

    def _repr_html_(self) -> str:
        notes = [f"{note.kind}: {note.path}: {note.what}" for note in self.notes[:20]]
        caption = f"{self!r}".strip("<>") + ("; it closes" if self.closes else "; it does not close")
        return states_table(self.tasks, caption=caption, notes=notes)


def _note(note: Note) -> dict[str, Any]:  # Any: JSON values
    return {
        "class": note.kind, "path": note.path, "why": note.why, "what": note.what, "of": note.of or None, "size": note.size,
    }  # fmt: skip


def _first(notes: Sequence[Note]) -> list[Note]:
    seen: Counter[str] = Counter()
    result = []
    for note in notes:
        seen[note.kind] += 1
        if seen[note.kind] <= SHOWN:
            result.append(note)
    return result


def account(
    run: str,
    store: Store,
    registry: Registry | None = None,
    *,
    plan: Plan | None = None,
    plans: Sequence[Plan] = (),
    reuse: pl.DataFrame | None = None,
    level: Depth | str = "receipt",
    store_name: str = "archive",
    failed: Callable[[Plan, Store, np.ndarray[Any, Any]], Mapping[int, Any]] | None = None,
) -> Account:
    """Hold what a run committed, and what lies in its directories, against each other. Nothing is changed.

    Parameters
    ----------
    registry : Registry or None
        What it has taken in needs no look at receipts.
    plan : Plan or None
        Whose outputs are told; those that receipts tell, if it is not given.
    plans : sequence of Plan
        Every plan of the run: what they will write is no stray.
    reuse : DataFrame or None
        What `prestow.plan.reuse.reusable` gave.
    level : Depth or str
        ``receipt``, ``sample:5%`` or ``full``.
    failed : callable, optional
        Gives, of rows of unsettled quanta, those that a report tells failed.

    Raises
    ------
    ProjectError
        PST-A001 if there is no such run.
    StoreError
        If the store cannot be listed or read.
    """
    depth = Depth.parse(level) if isinstance(level, str) else level
    plans = tuple(plans) or ((plan,) if plan is not None else ())
    planned = _planned_names(plans)
    # Listed first; where names lie outside the run's directory, its receipts say so only later.
    roots, _ = roots_of(run, planned["path"])
    listing = list_files(store, (*roots, f"{PLACE}/{run}"))
    every = plan is None or registry is None or depth.name == "full"
    committed = read_committed(run, store, registry, store_name=store_name, every=every)
    if plan is None and not committed.quanta.height and not listing.height and not plans:
        raise ProjectError(
            Problem("PST-A001", f"nothing is known of run '{run}'", "--run", "prestow find, or: prestow plan")
        )
    more, apart = roots_of(run, committed.products["path"])
    if set(more) - set(roots):
        listing = pl.concat([listing, list_files(store, sorted(set(more) - set(roots)))]).unique("name")
        roots = tuple(sorted({*roots, *more}))
    known = Known(
        committed.products, planned, committed.deleted, kept_files(store, run), _elsewhere(registry)
    )
    look = FileLook(store, depth)
    files = sort_files(listing, known, look, lambda name: look_again(store, name, roots))
    if plan is None:
        labels, rows = _as_receipts_say(committed)
    else:
        labels, rows = _as_planned(plan, committed, reuse, store, failed)
    gone = rows.filter((pl.col("state") == "made") & pl.col("id").is_in(committed.deleted.implode()))
    classes = Counter({EXPECTED: files.expected}) + Counter(note.kind for note in files.notes)
    return Account(
        run=run, plan=plan.id if plan is not None else "", level=depth, tasks=_counted(rows, labels),
        classes={kind: classes[kind] for kind in CLASSES}, found=files.found, size=files.size,
        to_promote=files.to_promote, deleted=gone.height,
        notes=tuple(sorted(files.notes, key=lambda note: (CLASSES.index(note.kind), note.path))),
        outputs=_open(rows), contradictions=(*committed.contradictions, *_noted(run, registry, committed)),
        remarks=tuple(_remarks(run, plan, plans, registry, apart)), roots=roots,
    )  # fmt: skip


def _remarks(
    run: str, plan: Plan | None, plans: Sequence[Plan], registry: Registry | None, apart: pl.Series
) -> list[str]:
    remarks = []
    if plan is None:
        what = (
            "what was planned and left none is not {}, and a quantum that was not made counts as one output"
        )
        if plans:
            told = f"of the run, this is what receipts say; {what.format('told')}"
            remarks.append(f"{told}: by plan, prestow account {' or '.join(one.id[:8] for one in plans[:3])}")
        else:
            told = f"there is no plan of run {run} here: this is what receipts say"
            remarks.append(f"{told}; {what.format('known')}")
    if registry is None:
        remarks.append("the registry cannot be asked: all is from receipts and files")
    else:
        odd = sum(one.kind == IRREPRODUCIBLE for one in registry.findings.open(run))
        if odd:
            remarks.append(
                f"findings of attempts that made other content than what is committed: {odd:,} (prestow findings)"
            )
    if apart.len():
        remarks.append(
            f"{apart.len():,} names lie in no directory that is the run's alone, such as {apart[0]}: "
            "strays beside them are not looked for"
        )
    return remarks


def _noted(run: str, registry: Registry | None, committed: Committed) -> list[Contradiction]:
    """Give what ingest noted as contradictory, and nobody has settled; what receipts show anyway is told once."""
    if registry is None:
        return []
    known = {contradiction.where for contradiction in committed.contradictions}
    return [
        Contradiction(str(one.facts.get("what", "")), f"{one.facts.get('where', '')} (finding {one.key})")
        for one in registry.findings.open(run)
        if one.kind == CONTRADICTORY and one.facts.get("where") not in known
    ]


def _elsewhere(registry: Registry | None) -> Callable[[str], str]:
    def find(ident: str) -> str:
        if registry is None:
            return ""
        places = registry.places(uuid.UUID(ident).bytes)
        return places[0][1] if places else ""

    return find


def _planned_names(plans: Sequence[Plan]) -> pl.DataFrame:
    schema = {"path": pl.String, "id": pl.Binary}
    frames = [pl.DataFrame(schema=schema)]
    for plan in plans:
        frame = plan.tables.scan("datasets").filter("planned").select("path", "id").collect()
        frames.append(frame.with_columns(pl.col("path").cast(pl.String), pl.col("id").cast(pl.Binary)))
    return pl.concat(frames).unique("path")


def _as_planned(
    plan: Plan, committed: Committed, reuse: pl.DataFrame | None, store: Store, failed: Any
) -> tuple[list[str], pl.DataFrame]:  # Any: as `account` takes it
    """Give every planned output its one state."""
    quanta = plan.tables.scan("quanta").select("task", "id", "recipe").collect()
    quanta = quanta.with_columns(
        pl.col("id", "recipe").cast(pl.Binary), pl.col("task").cast(pl.String)
    ).with_row_index("quantum")
    settled = committed.quanta.select("id", "state", "planned_recipe").unique("id")
    quanta = quanta.join(settled, on="id", how="left", maintain_order="left")
    wrong = pl.Series([c.quantum for c in committed.contradictions if c.quantum], dtype=pl.Binary)
    other = (pl.col("planned_recipe") != pl.col("recipe")) | pl.col("id").is_in(wrong.implode())
    quanta = quanta.with_columns(
        state=pl.when(other).then(pl.lit("contradictory")).otherwise(pl.col("state"))
    )
    states = quanta["state"].to_list()
    unsettled = quanta["state"].is_null().to_numpy()
    for row, state in _unsettled(plan, unsettled, reuse, store, failed):
        states[row] = state
    quanta = quanta.with_columns(state=pl.Series(states, dtype=pl.String))

    outputs = plan.tables.scan("outputs").select("quantum", "dataset", "optional").collect()
    datasets = plan.tables.scan("datasets").select("id", "type", "data_id", "path").collect()
    rows = datasets[outputs["dataset"].to_numpy()].with_columns(
        pl.col("id").cast(pl.Binary), pl.col("type", "data_id", "path").cast(pl.String)
    )
    own = quanta[outputs["quantum"].to_numpy()].select("task", "state")
    rows = rows.hstack([outputs["optional"], own["task"], own["state"]])
    declined = committed.outputs.filter(pl.col("state") != "made")["id"]
    disputed = pl.Series([c.dataset for c in committed.contradictions if c.dataset], dtype=pl.Binary)
    there = pl.col("id").is_in(committed.products["id"].implode()) | pl.col("id").is_in(
        committed.deleted.implode()
    )
    told = (
        pl.when(pl.col("id").is_in(disputed.implode())).then(pl.lit("contradictory"))
        .when(pl.col("state") != "made").then(pl.col("state"))
        .when(there).then(pl.lit("made"))
        .when(pl.col("optional") | pl.col("id").is_in(declined.implode())).then(pl.lit("declined"))
        .otherwise(pl.lit("contradictory"))
    )  # fmt: skip
    rows = rows.with_columns(state=told)
    return [task.label for task in plan.definition.tasks], rows


def _unsettled(
    plan: Plan, unsettled: np.ndarray[Any, Any], reuse: pl.DataFrame | None, store: Store, failed: Any
) -> list[tuple[int, str]]:  # Any: as `account` takes it
    """Give the states of quanta without a receipt, by row."""
    result = dict.fromkeys(np.flatnonzero(unsettled).tolist(), "pending")
    if reuse is not None:
        taken = np.zeros(len(unsettled), np.bool_)
        taken[reuse["quantum"].to_numpy()] = True
        result |= dict.fromkeys(np.flatnonzero(taken & unsettled).tolist(), "reused")
        unsettled = unsettled & ~taken
    needless = not_needed(plan, unsettled)
    result |= dict.fromkeys(np.flatnonzero(needless).tolist(), "unneeded")
    rest = np.flatnonzero(unsettled & ~needless)
    if failed is not None and len(rest):
        told = failed(plan, store, rest)
        result |= {row: word if isinstance(word, str) else "failed" for row, word in told.items()}
    return list(result.items())


def _as_receipts_say(committed: Committed) -> tuple[list[str], pl.DataFrame]:
    """Give every output that the receipts of a run name its state; without them, what the registry has."""
    tasks = committed.quanta.select(quantum="id", task="task")
    made = committed.products.join(tasks, on="quantum", how="left")
    rows = pl.concat(
        [
            made.select("id", "type", "path", "task", state=pl.lit("made")),
            committed.outputs.select("id", "type", "path", "task", "state").filter(pl.col("state") != "made"),
        ]
    ).unique("id")
    disputed = pl.Series([c.dataset for c in committed.contradictions if c.dataset], dtype=pl.Binary)
    state = (
        pl.when(pl.col("id").is_in(disputed.implode()))
        .then(pl.lit("contradictory"))
        .otherwise(pl.col("state"))
    )
    rows = rows.with_columns(pl.col("task").fill_null("?"), data_id=pl.lit(""), state=state)
    return sorted(rows["task"].unique()), rows


def _counted(rows: pl.DataFrame, tasks: Sequence[str]) -> dict[str, dict[str, int]]:
    result = {task: dict.fromkeys(STATES, 0) for task in tasks}
    for task, state, count in rows.group_by("task", "state").len().sort("task", "state").iter_rows():
        result[task][state] = result[task].get(state, 0) + count
    return result


def _open(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.filter(~pl.col("state").is_in(GOOD))
        .select("state", "task", "type", "data_id", "path")
        .sort("state", "path")
    )
