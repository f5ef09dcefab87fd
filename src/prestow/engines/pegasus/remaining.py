"""What of a plan is left to be handed over: what is settled in its own run is taken as it lies there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.commit import receipt_name
from prestow.engines.committing import promote_settled
from prestow.engines.submission import Submission, inputs_of
from prestow.naming import identity
from prestow.plan.reuse import COLUMNS
from prestow.plan.settled import read_settled

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.plan.settled import Register
    from prestow.stores import Store

_SCHEMA = {
    "quantum": pl.UInt32, "dataset": pl.UInt32, "id": pl.Binary, "run": pl.String, "store": pl.String, "path": pl.String,
    "size": pl.Int64, "sha256": pl.Binary, "content": pl.Binary, "receipt": pl.String, "producer": pl.String, "state": pl.String,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Remaining:
    """What remains of a plan.

    Parameters
    ----------
    submission : Submission
        Its jobs and quanta, with what is settled.
    reuse : DataFrame or None
        What is taken as it lies somewhere, by the columns of `prestow.plan.reuse.reusable`: of parent runs, and of
        this run itself. Every quantum that is not handed over has a row.
    settled : int
        Quanta that are settled in this run.
    gone : tuple of str
        Names of products that were made, and whose bytes are nowhere.
    """

    submission: Submission
    reuse: pl.DataFrame | None
    settled: int
    gone: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """How many jobs."""
        return len(self.submission.jobs)

    @property
    def quanta(self) -> int:
        """How many quanta."""
        return len(self.submission.rows)


def remaining(
    plan: Plan,
    store: Store,
    *,
    name: str = "archive",
    reuse: pl.DataFrame | None = None,
    registry: Register | None = None,
    promoting: bool = True,
) -> Remaining:
    """Say what remains of a plan.

    Parameters
    ----------
    store, name : Store, str
        The output store, and what plans call it.
    reuse : DataFrame or None
        What is taken from other runs.
    promoting : bool
        Bring to its planned name what is committed and not there; else nothing is changed.

    Raises
    ------
    PlanRefusedError
        If a receipt stands there under another recipe (PST-P005).
    """
    settled = read_settled(plan, store, look=promoting, registry=registry)
    gone = [lost for row in settled.unpromoted for lost in promote_settled(plan, store, row)]
    submission = Submission.of(plan, settled, reuse=reuse)
    rows = np.array(submission.rows, np.int64)
    count = int((settled.states.codes != 0).sum())
    total = len(settled.states.codes)
    if len(rows) == total and reuse is None:
        return Remaining(submission, None, count, tuple(gone))
    mask = np.zeros(total, np.bool_)
    mask[rows] = True
    read = inputs_of(plan, mask)["producer"].drop_nulls().unique().to_numpy()
    here = np.zeros(total, np.bool_)
    here[read[settled.states.codes[read] != 0]] = True
    theirs = np.zeros(total, np.bool_)
    if reuse is not None:
        theirs[reuse["quantum"].to_numpy()] = True
        theirs &= ~mask & (settled.states.codes == 0)
        reuse = reuse.filter(pl.Series(theirs[reuse["quantum"].to_numpy()]))
    rest = np.flatnonzero(~mask & ~here & ~theirs)
    parts = [_as_it_lies(plan, store, name, np.flatnonzero(here)), _only_left_out(plan, rest)]
    if reuse is not None:
        parts.append(_alike(reuse))
    frame = pl.concat(parts).sort("quantum", "dataset")
    return Remaining(submission, frame if frame.height else None, count, tuple(gone))


def _outputs(plan: Plan, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Give the planned outputs of some quanta: quantum, dataset, id, run, path, task, producer."""
    wanted = np.zeros(plan.document["totals"]["quanta"], np.bool_)
    wanted[rows] = True
    outputs = plan.tables.scan("outputs").select("quantum", "dataset").collect()
    outputs = outputs.filter(pl.Series(wanted[outputs["quantum"].to_numpy()]))
    ids = plan.tables.scan("datasets").select(pl.col("id").cast(pl.Binary)).collect()["id"]
    quanta = plan.tables.scan("quanta").select(pl.col("task").cast(pl.String), "id").collect()
    makers = quanta[outputs["quantum"]].select("task", producer=identity.uuid_text(pl.col("id")))
    return pl.concat([outputs, makers], how="horizontal").with_columns(id=ids.gather(outputs["dataset"]))


def _as_it_lies(plan: Plan, store: Store, name: str, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Give the outputs of settled quanta as their receipts say; what was not made has no digest."""
    if not len(rows):
        return pl.DataFrame(schema=_SCHEMA)
    settled = read_settled(plan, store, rows=rows.tolist(), keep=True)
    made: dict[str, list[Any]] = {n: [] for n in ("id", "path", "size", "sha256", "content")}
    states: dict[int, str] = {}
    for row, text in settled.texts.items():  # each receipt is a document of its own
        receipt = json.loads(text)
        states[row] = receipt["state"]
        for output in receipt["outputs"]:
            if output["state"] == "made":
                made["id"].append(bytes.fromhex(output["id"].replace("-", "")))
                made["path"].append(output["path"])
                made["size"].append(output["size"])
                made["sha256"].append(bytes.fromhex(output["sha256"]))
                made["content"].append(bytes.fromhex(output["content"]) if output.get("content") else None)
    there = pl.DataFrame(made, schema={n: _SCHEMA[n] for n in made})
    said = pl.DataFrame(
        {"quantum": list(states), "state": list(states.values())},
        schema={"quantum": pl.UInt32, "state": pl.String},
    )
    outputs = _outputs(plan, rows).with_columns(
        pl.col("quantum").cast(pl.UInt32), pl.col("dataset").cast(pl.UInt32)
    )
    frame = outputs.join(there, on="id", how="left").join(said, on="quantum", how="left")
    pairs = frame.select("task", "producer").iter_rows()
    receipts = pl.Series(
        "receipt", [receipt_name(plan.run, task, quantum) for task, quantum in pairs], pl.String
    )
    return frame.with_columns(
        receipts, run=pl.lit(plan.run), store=pl.when(pl.col("sha256").is_not_null()).then(pl.lit(name))
    ).select(pl.col(column).cast(_SCHEMA[column]) for column in COLUMNS)


def _only_left_out(plan: Plan, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Give a row for each quantum that is not handed over, and that nothing which is reads from."""
    if not len(rows):
        return pl.DataFrame(schema=_SCHEMA)
    outputs = _outputs(plan, rows).with_columns(run=pl.lit(plan.run))
    absent = [pl.lit(None, _SCHEMA[c]).alias(c) for c in COLUMNS if c not in outputs.columns]
    return outputs.with_columns(absent).select(pl.col(column).cast(_SCHEMA[column]) for column in COLUMNS)


def _alike(reuse: pl.DataFrame) -> pl.DataFrame:
    """Give what is taken from other runs in the columns of this module."""
    octets = [
        pl.col(n).str.replace_all("-", "", literal=True).str.decode("hex")
        for n in ("id", "sha256", "content")
        if reuse.schema[n] == pl.String
    ]
    return reuse.with_columns(octets).select(pl.col(column).cast(_SCHEMA[column]) for column in COLUMNS)
