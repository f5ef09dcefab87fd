"""Intermediates that may go: which they are by the plans that read them, and their deletion.

What is kept ``until_consumed`` goes once every quantum that reads it, in any plan, is settled and taken in; what is
kept for its ``run`` goes once the run is closed. Never what the registry has not taken in, what lies in a store
of others, raw or foreign files, or what some quantum in flight will read or take over.

Deleted is for ever, and the record comes first: then nobody's ingest or promotion brings it back. Then the file
goes, then its row. Killed at any moment, the same call goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from prestow.model import DataId, State
from prestow.pipeline.definition import RETAIN
from prestow.plan.matched_ids import match_ids, words_of
from prestow.plan.retaining import is_passing, last_readers, not_needed, retain_of
from prestow.plan.states import CODES, tasks_of
from prestow.registry import put_record
from prestow.registry.records import record_name
from prestow.stores import Walkable
from prestow.stores.ahead import ahead

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.registry import Registry
    from prestow.stores import Store

CONSUMED, RUN = RETAIN[:2]
KEPT = ("read later", "lost readers", "unread", "stage to come", "run open")
"""Why something is kept that could go one day."""

_BATCH = 1000
_SHOWN = 10

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Retiring:
    """What of a run may go now, or went.

    Parameters
    ----------
    types : mapping of dataset type to (int, int)
        Datasets that go, and their bytes.
    kept : mapping of reason to int
        What stays for now, of types that are not kept for ever: read by a quantum that is not settled and taken in;
        read by one that was lost or blocked, which a repair would make; read by none; read perhaps by a stage
        that is not planned yet; kept until the run is closed.
    begun : int
        Datasets that were deleted before by a call that was interrupted, and whose files or rows go now.
    first : tuple of (path, last reader)
        Some of what goes.
    retired : bool
        It was done, and not only looked at.
    """

    run: str
    types: Mapping[str, tuple[int, int]]
    kept: Mapping[str, int]
    begun: int = 0
    first: tuple[tuple[str, str], ...] = ()
    retired: bool = False

    @property
    def datasets(self) -> int:
        """All that go."""
        return sum(count for count, _ in self.types.values())

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(size for _, size in self.types.values())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            **asdict(self), "datasets": self.datasets, "size": self.size,
            "types": {name: {"datasets": count, "size": size} for name, (count, size) in self.types.items()},
            "first": [{"path": path, "last_reader": reader} for path, reader in self.first],
        }  # fmt: skip


def retire(
    plan: Plan,
    plans: Sequence[Plan],
    registry: Registry,
    store: Store,
    *,
    store_name: str = "archive",
    reuse: Callable[[Plan], pl.DataFrame | None] = lambda _: None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> Retiring:
    """Delete what of a plan's run may go, or only say what that is.

    Parameters
    ----------
    plan : Plan
        It says how long what is kept, for all of its run: an earlier plan may have said otherwise. Of types that
        it does not write other plans of the run say it.
    plans : sequence of Plan
        Every plan there is, of any run: what they will read stays.
    reuse : callable
        Gives what a plan takes from other runs, as `prestow.plan.reuse.reusable`.
    """
    run = plan.run
    own = [one for one in plans if one.run == run]
    candidates = _candidates(run, _policy(plan, own), registry, store_name)
    closed = store.size(record_name("closed", run)) is not None
    alive, lost, read = [], [], []
    for one in plans if candidates.height else ():
        of_plan = _readers(one, registry, reuse(one))
        alive.append(of_plan[0])
        lost.append(of_plan[1])
        read.append(of_plan[2])
    incomplete = _stages_to_come(own)
    deleted = pl.Series([uuid.UUID(text).bytes for text in registry.deleted()], dtype=pl.Binary)
    why = (
        pl.when(_among(alive)).then(pl.lit(KEPT[0]))
        .when((pl.col("retain") == RUN) & ~pl.lit(closed)).then(pl.lit(KEPT[4]))
        .when(pl.col("retain") == RUN).then(None)
        .when(pl.lit(incomplete)).then(pl.lit(KEPT[3]))
        .when(_among(lost) & ~pl.lit(closed)).then(pl.lit(KEPT[1]))
        .when(~_among(read)).then(pl.lit(KEPT[2]))
        .otherwise(None)
    )  # fmt: skip
    candidates = candidates.filter(~pl.col("id").is_in(deleted.implode())).with_columns(why=why)
    going = candidates.filter(pl.col("why").is_null())
    begun = _begun(store, candidates.filter(pl.col("why").is_not_null()))
    going = pl.concat([going, begun]).sort("path")
    staying = candidates.filter(~pl.col("id").is_in(going["id"].implode()))
    types = going.group_by("type").agg(pl.len(), pl.col("size").sum()).sort("type")
    found = Retiring(
        run=run,
        types={name: (count, size) for name, count, size in types.iter_rows()},
        kept=dict(staying.group_by("why").len().sort("why").iter_rows()),
        begun=begun.height,
        first=tuple(_first(going.head(_SHOWN), own)),
        retired=not dry_run,
    )
    if not dry_run:
        _delete(going, registry, store, progress)
    return found


def _policy(plan: Plan, own: Sequence[Plan]) -> dict[str, str]:
    """Give how long types are kept: as the plan says, and of what only others write (stages) the longest."""
    here = {output.type for task in plan.definition.tasks for output in task.outputs}
    said = {kind: RETAIN.index(retain) for kind, retain in retain_of(plan.definition).items()}
    for one in own:
        policy = retain_of(one.definition)
        for kind in {output.type for task in one.definition.tasks for output in task.outputs} - here:
            retain = RETAIN.index(policy.get(kind, RETAIN[-1]))
            said[kind] = max(retain, said.get(kind, retain))
    return {kind: RETAIN[retain] for kind, retain in said.items() if RETAIN[retain] != RETAIN[-1]}


def _candidates(run: str, kinds: Mapping[str, str], registry: Registry, store_name: str) -> pl.DataFrame:
    """Give what is taken in of a run and not kept for ever: ``id, path, type, size, retain``."""
    table = registry.accounting.committed(run, store_name) if kinds else None
    schema = {"id": pl.Binary, "path": pl.String, "type": pl.String, "size": pl.Int64}
    frame = pl.DataFrame(schema=schema) if table is None else cast("pl.DataFrame", pl.from_arrow(table))
    frame = frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
    frame = frame.filter(pl.col("type").is_in(list(kinds)))
    return frame.with_columns(retain=pl.col("type").replace_strict(dict(kinds), return_dtype=pl.String))


def _among(some: Sequence[pl.Series]) -> pl.Expr:
    ids = pl.concat([pl.Series("id", [], pl.Binary), *some]).unique()
    return pl.col("id").is_in(ids.implode())


def _readers(
    plan: Plan, registry: Registry, reuse: pl.DataFrame | None
) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Give the ids of what a plan's quanta read: those still to run; those that were lost or blocked; all."""
    codes = _settled(plan, registry)
    unsettled = codes == 0
    taken = np.zeros(len(codes), np.bool_)
    if reuse is not None:
        taken[reuse["quantum"].to_numpy()] = True
    waiting = unsettled & ~taken
    # What is not needed now may be, as long as anything of the plan is in flight.
    alive = waiting if (waiting & ~not_needed(plan, waiting)).any() else np.zeros_like(waiting)
    gone = (codes == CODES[State.LOST]) | (codes == CODES[State.BLOCKED])
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    quantum = inputs["quantum"].to_numpy()
    ids = plan.tables.scan("datasets").select(pl.col("id").cast(pl.Binary)).collect()["id"]
    if reuse is not None:  # what stands in the place of what the plan would make is read instead of it
        stands = reuse.select("dataset", here=pl.col("id").cast(pl.Binary))
        inputs = inputs.join(stands, on="dataset", how="left", maintain_order="left")
    result = []
    for mask in (alive, gone, np.ones(len(codes), np.bool_)):
        rows = inputs.filter(pl.Series(mask[quantum]))
        found = [ids.gather(rows["dataset"])]
        if reuse is not None:
            found.append(rows["here"].drop_nulls().alias("id"))
        result.append(pl.concat(found).unique())
    if reuse is not None:
        # What is taken over from another run and retained here has no file but that one.
        passing = [i for i, task in enumerate(plan.definition.tasks) if is_passing(task)]
        stays = ~np.isin(tasks_of(plan).numbers, passing)[reuse["quantum"].to_numpy()]
        over = reuse.filter(pl.Series(stays))["id"].cast(pl.Binary)
        result[0] = pl.concat([result[0], over]).unique()
    return result[0], result[1], result[2]


def _settled(plan: Plan, registry: Registry) -> npt.NDArray[np.uint8]:
    """Give the state of each quantum that is settled and taken in, by code; 0 for all others."""
    quanta = plan.tables.scan("quanta").select("id").collect()["id"]
    codes = np.zeros(len(quanta), np.uint8)
    there = registry.settled(plan.run)
    if there.num_rows:
        ours, theirs = match_ids(words_of(quanta), words_of(there["id"]))
        words = {str(state): code for state, code in CODES.items()}
        states = cast("pl.Series", pl.from_arrow(there["state"])).cast(pl.String)
        codes[ours] = states.replace_strict(words, default=0, return_dtype=pl.UInt8).to_numpy()[theirs]
    return codes


def _stages_to_come(plans: Sequence[Plan]) -> bool:
    """Say whether a run has stages that no plan is of yet: nobody knows what they will read."""
    asked = (plan.document["request"].get("stage") for plan in plans)
    told = [stage for stage in asked if stage]
    return bool(told) and max(one["number"] for one in told) < max(one["of"] for one in told)


def _begun(store: Store, rows: pl.DataFrame) -> pl.DataFrame:
    """Give those that an interrupted call has a record of already: deleted is for ever.

    Of many the records are listed once, not asked for one by one.
    """
    names = (record_name("deleted", str(uuid.UUID(bytes=key))) for key in rows["id"])
    if rows.height > _BATCH and isinstance(store, Walkable):
        there = {name for name, _ in store.walk("_records/deleted")}
        begun = [name in there for name in names] if there else [False] * rows.height
    else:
        begun = list(ahead(lambda name: store.size(name) is not None, names))
    return rows.filter(pl.Series(begun, dtype=pl.Boolean))


def _first(rows: pl.DataFrame, plans: Sequence[Plan]) -> list[tuple[str, str]]:
    """Give some of what goes with its last reader."""
    readers: dict[bytes, str] = {}
    for plan in plans:
        datasets = plan.tables.scan("datasets").select("dataset", pl.col("id").cast(pl.Binary))
        few = datasets.filter(pl.col("id").is_in(rows["id"].implode())).collect()
        last = few.join(last_readers(plan), on="dataset") if few.height else few.clear()
        for key, quantum in last.select("id", "last").iter_rows() if last.height else ():
            row = (
                plan.tables.scan("quanta")
                .slice(quantum, 1)
                .select("task", "data_id")
                .collect()
                .cast(pl.String)
            )
            readers[key] = f"{row['task'][0]}{{{DataId.from_json(row['data_id'][0])}}}"
    return [(path, readers.get(key, "")) for key, path in rows.select("id", "path").iter_rows()]


def _delete(going: pl.DataFrame, registry: Registry, store: Store, progress: Progress) -> None:
    """Delete, batch by batch: records, then files, then rows; many requests are under way at once."""

    def note(key: bytes) -> None:  # one small file for each dataset, as the protocol has it
        ident = str(uuid.UUID(bytes=key))
        put_record(store, "deleted", ident, {"dataset": ident})

    for start in range(0, going.height, _BATCH):
        rows = going.slice(start, _BATCH)
        for _ in ahead(note, rows["id"]):
            pass
        for _ in ahead(store.delete, rows["path"]):
            pass
        registry.delete_datasets(rows["id"].to_list())
        progress(start + rows.height, going.height)
