"""Tolerated losses: each with its cause, what is blocked by it, and what went on without it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.commit import read_receipt, receipt_name
from prestow.errors import PrestowError
from prestow.model import DataId
from prestow.naming import identity
from prestow.plan.settled import read_settled
from prestow.plan.slices import rows_at
from prestow.plan.states import WORDS, tasks_of
from prestow.plan.walking import edges_of, spread

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.plan.settled import Register, Settled
    from prestow.stores import Store

    Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Loss:
    """A quantum that is lost, or blocked by one that is.

    Parameters
    ----------
    task, data_id, job, state : str
    reason : str
        Why, as its receipt says.
    run : str
        Where it was lost: this run, or a parent of which that was kept.
    blocks : int
        Quanta that are blocked by it, also through others.
    """

    task: str
    data_id: str
    job: str
    state: str
    reason: str
    run: str
    blocks: int = 0

    def __str__(self) -> str:
        where = f"{self.task}{{{self.data_id}}} (job {self.job})"
        return (
            f"{self.state.upper()} {where}: {self.reason}" if self.reason else f"{self.state.upper()} {where}"
        )


@dataclass(frozen=True, slots=True)
class Without:
    """A quantum that was made without something.

    Parameters
    ----------
    task, data_id : str
    input : str
        The dataset type that it reads.
    planned, used : int
        Datasets of it.
    lost : int
        How many of those that are not there were lost or blocked; the others were rightfully not made.
    absent : tuple of str
        The first data IDs of what was lost.
    """

    task: str
    data_id: str
    input: str
    planned: int
    used: int
    lost: int
    absent: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {self.lost - len(self.absent):,} more" if self.lost > len(self.absent) else ""
        return (
            f"{self.task}{{{self.data_id}}}  planned {self.planned:,} {self.input}, used {self.used:,}: "
            f"without {'; '.join(self.absent)}{more}"
        )


@dataclass(frozen=True, slots=True)
class Losses:
    """What a run lost and went on without.

    Parameters
    ----------
    plan, run : str
    losses : tuple of Loss
        Lost quanta first, then blocked ones, each in the order of the plan.
    without : tuple of Without
        What was made all the same.
    tasks : mapping of task to (planned, made, lost, blocked)
        Of the tasks that lost anything.
    """

    plan: str
    run: str
    losses: tuple[Loss, ...]
    without: tuple[Without, ...]
    tasks: Mapping[str, tuple[int, int, int, int]]

    @property
    def lost(self) -> int:
        """How many quanta are lost; those that are blocked by them not counted."""
        return sum(loss.state == "lost" for loss in self.losses)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        names = ("planned", "made", "lost", "blocked")
        return {
            "plan": self.plan, "run": self.run, "lost": self.lost, "blocked": len(self.losses) - self.lost,
            "tasks": {task: dict(zip(names, counts, strict=True)) for task, counts in self.tasks.items()},
            "losses": [asdict(loss) for loss in self.losses], "without": [asdict(one) for one in self.without],
        }  # fmt: skip

    def verdict(self) -> str:
        """Say it in one line: how many of how many, and how many are known to be lost."""
        if not self.losses:
            return "nothing is lost"
        parts = [
            f"{made:,} of {planned:,} {task}"
            + "".join(f", {n:,} {word}" for n, word in ((lost, "lost"), (blocked, "blocked")) if n)
            for task, (planned, made, lost, blocked) in self.tasks.items()
        ]
        return "; ".join(parts)


def losses(
    plan: Plan, store: Store, *, reuse: pl.DataFrame | None = None, registry: Register | None = None
) -> Losses:
    """List what is lost, what that blocks, and what went on without it.

    Parameters
    ----------
    reuse : DataFrame or None
        What `prestow.plan.reuse.reusable` gave; what a parent lost and a person keeps so is in it.
    registry : Register or None
        What it has taken in needs no look at receipts, but for those of losses.
    """
    settled = read_settled(plan, store, registry=registry)
    words = np.array(WORDS)[settled.states.codes]
    kept = _kept(reuse, words)
    for row, (state, _, _) in kept.items():
        words[row] = state
    gone = (words == "lost") | (words == "blocked")
    tasks = tasks_of(plan)
    counts = {}
    for number, name in enumerate(tasks.names):
        mine = words[tasks.numbers == number]
        if (found := Counter(mine.tolist()))["lost"] or found["blocked"]:
            taken = 0 if reuse is None else _taken(reuse, tasks.numbers == number, gone)
            counts[name] = (len(mine), found["made"] + taken, found["lost"], found["blocked"])
    if not gone.any():
        return Losses(plan.id, plan.run, (), (), counts)
    makers, readers = edges_of(plan)
    blocked = words == "blocked"
    return Losses(
        plan.id, plan.run, _losses(plan, store, words, kept, (makers, readers), blocked),
        _without(plan, settled, reuse, words, gone), counts,
    )  # fmt: skip


def _kept(reuse: pl.DataFrame | None, words: npt.NDArray[np.str_]) -> dict[int, tuple[str, str, str]]:
    """Give what is lost elsewhere and kept so: state, run and receipt, by quantum."""
    if reuse is None:
        return {}
    rows = reuse.filter(pl.col("state").is_in(["lost", "blocked"])).unique("quantum", maintain_order=True)
    found = rows.select("quantum", "state", "run", "receipt").iter_rows()
    return {row: (state, run, receipt) for row, state, run, receipt in found if words[row] == "pending"}


def _taken(reuse: pl.DataFrame, mine: Mask, gone: Mask) -> int:
    """Count quanta of a task that were made elsewhere."""
    rows = reuse.filter(pl.col("state") == "made")["quantum"].unique().to_numpy()
    return int((mine & ~gone)[rows].sum())


def _losses(
    plan: Plan,
    store: Store,
    words: npt.NDArray[np.str_],
    kept: Mapping[int, tuple[str, str, str]],
    edges: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
    blocked: Mask,
) -> tuple[Loss, ...]:
    rows = np.concatenate([np.flatnonzero(words == "lost"), np.flatnonzero(blocked)])
    quanta = rows_at(plan.tables, "quanta", np.sort(rows), ("quantum", "task", "data_id", "id", "job"))
    quanta = quanta.with_columns(identity.uuid_text(pl.col("id")))
    jobs = rows_at(
        plan.tables, "jobs", quanta["job"].unique().sort().to_numpy().astype(np.int64), ("job", "name")
    )
    names = dict(jobs.select("job", "name").iter_rows())
    facts = {row["quantum"]: row for row in quanta.iter_rows(named=True)}
    found = []
    for row in rows.tolist():  # a receipt is opened for each: losses are few, and each is read by a person
        one = facts[row]
        state, run, name = kept.get(row) or (
            str(words[row]), plan.run, receipt_name(plan.run, one["task"], one["id"])
        )  # fmt: skip
        blocks = 0
        if state == "lost":
            seed = np.zeros(len(words), np.bool_)
            seed[row] = True
            blocks = int((spread(seed, *_among(edges, blocked)) & blocked).sum())
        found.append(
            Loss(
                one["task"],
                _text(one["data_id"]),
                names[one["job"]],
                state,
                _reason(store, name),
                run,
                blocks,
            )
        )
    return tuple(found)


def _among(
    edges: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]], blocked: Mask
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    makers, readers = edges
    follows = blocked[readers]
    return makers[follows], readers[follows]


def _reason(store: Store, name: str) -> str:
    try:
        receipt = read_receipt(store, name)
    except (PrestowError, OSError, ValueError):
        return "its receipt cannot be read"
    return "" if receipt is None else receipt.reason or ""


def _text(data_id: str) -> str:
    return str(DataId(json.loads(data_id)))


SHOWN = 5  # data IDs of what one quantum went without


def _without(
    plan: Plan, settled: Settled, reuse: pl.DataFrame | None, words: npt.NDArray[np.str_], gone: Mask
) -> tuple[Without, ...]:
    inputs = (
        plan.tables.scan("inputs")
        .select("quantum", pl.col("connection").cast(pl.String), "dataset")
        .collect()
    )
    producers = (
        plan.tables.scan("datasets").select("producer").collect()["producer"].gather(inputs["dataset"])
    )
    inputs = inputs.with_columns(producers.alias("producer"))
    planned = inputs.filter(pl.col("producer").is_not_null())
    of_lost = planned.filter(pl.Series(gone[planned["producer"].to_numpy()]))
    readers = of_lost.select("quantum", "connection").unique(maintain_order=True)
    readers = readers.filter(pl.Series((words == "made")[readers["quantum"].to_numpy()]))
    if not readers.height:
        return ()
    near = inputs.join(readers, on=["quantum", "connection"], how="semi", maintain_order="left")
    state = pl.Series("state", words)
    near = near.with_columns(state.gather(near["producer"]).fill_null("made"))
    lacking = settled.lacking if reuse is None else pl.concat(
        [settled.lacking.cast(pl.UInt32), reuse.filter(pl.col("sha256").is_null())["dataset"].cast(pl.UInt32)]
    )  # fmt: skip
    none = pl.col("dataset").is_in(lacking.implode()) | _absent(plan, settled, near)
    not_there = pl.col("state").is_in(["lost", "blocked", "declined"]) | none
    told = near.group_by("quantum", "connection", maintain_order=True).agg(
        planned=pl.len(),
        used=(~not_there).sum(),
        lost=pl.col("state").is_in(["lost", "blocked"]).sum(),
        absent=pl.col("dataset").filter(pl.col("state").is_in(["lost", "blocked"])).head(SHOWN),
    )
    numbers = told["quantum"].unique().sort().to_numpy().astype(np.int64)
    quanta = rows_at(plan.tables, "quanta", numbers, ("quantum", "task", "data_id"))
    absent = told["absent"].explode().drop_nulls().unique().sort().to_numpy().astype(np.int64)
    datasets = rows_at(plan.tables, "datasets", absent, ("dataset", "type", "data_id"))
    texts = {row: (kind, _text(data_id)) for row, kind, data_id in datasets.iter_rows()}
    own = {row: (task, _text(data_id)) for row, task, data_id in quanta.iter_rows()}
    return tuple(
        Without(*own[r["quantum"]], texts[r["absent"][0]][0], r["planned"], r["used"], r["lost"],
                tuple(texts[one][1] for one in r["absent"]))
        for r in told.iter_rows(named=True)
    )  # fmt: skip


def _absent(plan: Plan, settled: Settled, near: pl.DataFrame) -> pl.Expr:
    """Say which inputs a made quantum left out, as its receipt says."""
    if not settled.absent:
        return pl.lit(value=False)
    ids = plan.tables.scan("datasets").select(identity.uuid_text(pl.col("id"))).collect()["id"]
    return pl.lit(ids.gather(near["dataset"]).is_in(sorted(settled.absent)))
