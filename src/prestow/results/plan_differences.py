"""Two plans compared by meaning: quanta by task and data ID, made alike or otherwise, and why.

In columns: quanta are joined by their dimensions, and what differs is followed through the edges. A
quantum that changed only because something above it did is *downstream*, and no cause of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.results.plan_facts import Fact, facts_of, makes_otherwise

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.results.superseding import Superseded

SHOWN = 3
SAME, CHANGED, ADDED, REMOVED = range(4)  # states of a quantum of either plan
ROOTS = ("chosen", "content", "inputs")
"""Reasons of inputs that are causes; the others follow from something above."""


@dataclass(frozen=True, slots=True)
class TaskDifference:
    """How the quanta of one task compare; those of A are same + changed + downstream + removed."""

    task: str
    same: int = 0
    changed: int = 0
    downstream: int = 0
    added: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Cause:
    """Why quanta of a task are not the same.

    Parameters
    ----------
    kind : str
        ``chosen`` (another dataset for the same data ID), ``content`` (the same dataset with other content),
        ``inputs`` (others, or not as many), ``upstream`` (made otherwise), ``upstream added`` and
        ``upstream removed``.
    quanta : int
        How many.
    examples : tuple of str
        The first, with what is otherwise.
    """

    task: str
    connection: str
    kind: str
    quanta: int
    examples: tuple[str, ...]

    @property
    def root(self) -> bool:
        """Whether it is a cause by itself."""
        return self.kind in ROOTS


@dataclass(frozen=True, slots=True)
class PlanDifferences:
    """All that differs between plan A and plan B.

    Parameters
    ----------
    a, b : tuple of (id, run)
    tasks : tuple of TaskDifference
        In the order of the pipelines.
    facts : tuple of Fact
        What was asked and declared otherwise: configuration, code, templates, selections, …
    causes : tuple of Cause
        What the inputs of changed quanta show.
    examples : mapping of str to tuple of str
        Under ``added TASK`` and ``removed TASK`` the first data IDs.
    renamed : int
        Outputs of equal data ID with another name, but for the run.
    shared_otherwise : int
        Names that both plans write, under different recipes.
    superseded : tuple of Superseded
        Where B is of a child run of A's: what losses touched there and B settled again.
    """

    a: tuple[str, str]
    b: tuple[str, str]
    tasks: tuple[TaskDifference, ...] = ()
    facts: tuple[Fact, ...] = ()
    causes: tuple[Cause, ...] = ()
    examples: Mapping[str, tuple[str, ...]] | None = None
    renamed: int = 0
    shared_otherwise: int = 0
    superseded: tuple[Superseded, ...] = ()

    @property
    def same(self) -> bool:
        """Whether both make the same from the same; names and runs may differ."""
        return all(t.changed == t.downstream == t.added == t.removed == 0 for t in self.tasks)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.same and not self.facts and not self.renamed

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        plain = asdict(self)
        for name in ("a", "b"):
            plain[name] = {"plan": getattr(self, name)[0], "run": getattr(self, name)[1]}
        return {**plain, "examples": dict(self.examples or {}), "same": self.same, "equal": self.equal}


def differences(a: Plan, b: Plan, *, overrides: Mapping[str, Sequence[str]] | None = None) -> PlanDifferences:
    """Compare two plans.

    Parameters
    ----------
    overrides : mapping of run to sequence of str
        What was given on the command line when the run was bound: where configuration came from.
    """
    ends = (a.id, a.run), (b.id, b.run)
    labels = list(dict.fromkeys(task.label for plan in (a, b) for task in plan.definition.tasks))
    if a.id == b.id:
        counts = a.document["counts"]
        return PlanDifferences(*ends, tuple(TaskDifference(x, counts[x]["quanta"]) for x in labels))
    pairs = _pairs(a, b, labels)
    sides = _Side(a), _Side(b)
    keys = _keys(a, b)
    reasons = _reasons(pairs, sides, keys)
    renamed, shared = _names(a, b, keys)
    whole = [label for label in labels if makes_otherwise(a, b, label)]
    return PlanDifferences(
        *ends,
        tasks=_tasks(labels, pairs, reasons, whole),
        facts=facts_of(a, b, overrides or {}),
        causes=_causes(a, b, labels, pairs, reasons),
        examples=_examples(a, b, labels, pairs),
        renamed=renamed,
        shared_otherwise=shared,
    )


@dataclass(slots=True)
class _Side:
    """What is read of one plan, as needed."""

    plan: Plan

    def edges(self, connections: pl.Enum) -> pl.DataFrame:
        return (
            self.plan.tables.scan("inputs")
            .select("quantum", pl.col("connection").cast(pl.String).cast(connections), "dataset")
            .collect()
        )

    def datasets(self) -> pl.DataFrame:
        names = ("recipe", "planned", "id")
        return self.plan.tables.scan("datasets").select(*names).collect()


@dataclass(frozen=True, slots=True)
class _Keys:
    """One number for each type and data ID, of either plan: by the datasets of each."""

    a: npt.NDArray[np.uint32]
    b: npt.NDArray[np.uint32]
    count: int


def _frame(
    plan: Plan, table: str, kind: str, value: str, dimensions: Sequence[str], row: str
) -> pl.DataFrame:
    """Give the rows of a task or dataset type: dimensions, the row's number and its recipe."""
    return (
        plan.tables.scan(table)
        .filter(pl.col(kind) == value)
        .select(
            *(
                pl.col(d) if plan.universe.dimensions[d].type == "int" else pl.col(d).cast(pl.String)
                for d in dimensions
            ),
            pl.lit(0, pl.UInt8).alias("_"),  # a join needs a key, also where there is no dimension
            row,
            "recipe",
        )
        .collect()
    )


def _pairs(a: Plan, b: Plan, labels: Sequence[str]) -> pl.DataFrame:
    """Give every quantum of either plan: task, its rows in both (``a``, ``b``), and how it compares."""
    parts = [pl.DataFrame(schema={"task": pl.UInt16, "a": pl.UInt32, "b": pl.UInt32, "state": pl.UInt8})]
    for number, label in enumerate(labels):
        tasks = [next((t for t in p.definition.tasks if t.label == label), None) for p in (a, b)]
        frames = []
        dimensions = next(t.dimensions for t in tasks if t is not None)
        alike = all(t is None or t.dimensions == dimensions for t in tasks)
        for plan, task in zip((a, b), tasks, strict=True):
            own = dimensions if task is None else task.dimensions
            frame = _frame(plan, "quanta", "task", label if task else "", own, "quantum") if task else None
            frames.append(frame)
        if frames[0] is not None and frames[1] is not None and alike:
            both = frames[0].join(
                frames[1], on=[*dimensions, "_"], how="full", nulls_equal=True, coalesce=True
            )
            state = (
                pl.when(pl.col("quantum").is_null())
                .then(ADDED)
                .when(pl.col("quantum_right").is_null())
                .then(REMOVED)
                .when(pl.col("recipe") != pl.col("recipe_right"))
                .then(CHANGED)
                .otherwise(SAME)
            )
            found = both.select(a="quantum", b="quantum_right", state=state.cast(pl.UInt8))
        else:
            none = pl.lit(None, pl.UInt32)
            gone = [
                frame.select(
                    a=pl.col("quantum") if first else none,
                    b=none if first else pl.col("quantum"),
                    state=pl.lit(REMOVED if first else ADDED, pl.UInt8),
                )
                for first, frame in zip((True, False), frames, strict=True)
                if frame is not None
            ]
            found = pl.concat(gone)
        parts.append(found.with_columns(pl.lit(number, pl.UInt16).alias("task")).select(parts[0].columns))
    return pl.concat(parts)


def _keys(a: Plan, b: Plan) -> _Keys:
    sizes = [int(plan.document["totals"]["datasets"]) for plan in (a, b)]
    found = [np.zeros(size, np.uint32) for size in sizes]
    first = 0
    for name in sorted({*a.definition.dataset_types, *b.definition.dataset_types}):
        kinds = [plan.definition.dataset_types.get(name) for plan in (a, b)]
        frames = [
            None if kind is None else _frame(plan, "datasets", "type", name, kind.dimensions, "dataset")
            for plan, kind in zip((a, b), kinds, strict=True)
        ]
        alike = kinds[0] is not None and kinds[1] is not None and kinds[0].dimensions == kinds[1].dimensions
        if alike:
            assert frames[0] is not None
            assert frames[1] is not None
            on = [c for c in frames[0].columns if c not in ("dataset", "recipe")]
            known = pl.concat([frames[0].select(on), frames[1].select(on)]).unique().with_row_index("key")
            for numbers, frame in zip(found, frames, strict=True):
                assert frame is not None
                rows = frame.join(known, on=on, how="left", nulls_equal=True)
                numbers[rows["dataset"].to_numpy()] = rows["key"].to_numpy() + first
            first += known.height
            continue
        for numbers, frame in zip(found, frames, strict=True):
            if frame is not None:
                numbers[frame["dataset"].to_numpy()] = np.arange(first, first + frame.height, dtype=np.uint32)
                first += frame.height
    return _Keys(found[0], found[1], first)


def _reasons(pairs: pl.DataFrame, sides: tuple[_Side, _Side], keys: _Keys) -> pl.DataFrame:
    """Give what is otherwise among the inputs of changed quanta: pair, connection, kind, dataset in A and B."""
    changed = pairs.with_row_index("pair").filter(pl.col("state") == CHANGED)
    names = sorted({c.name for side in sides for t in side.plan.definition.tasks for c in t.inputs})
    connections = pl.Enum(names)
    empty = pl.DataFrame(
        schema={
            "pair": pl.UInt32,
            "connection": connections,
            "kind": pl.String,
            "a": pl.UInt32,
            "b": pl.UInt32,
        }
    )
    if not changed.height:
        return empty
    edges = []
    for name, side, numbers in zip("ab", sides, (keys.a, keys.b), strict=True):
        rows = side.edges(connections).join(changed.select("pair", quantum=name), on="quantum", how="inner")
        key = pl.Series("key", numbers[rows["dataset"].to_numpy()])
        edges.append(rows.select("pair", "connection", "dataset").with_columns(key))
    both = edges[0].join(edges[1], on=["pair", "connection", "key"], how="full", coalesce=True)
    both = both.rename({"dataset": "a", "dataset_right": "b"})
    tables = [side.datasets() for side in sides]
    there = [np.zeros(keys.count, bool) for _ in tables]
    for known, numbers in zip(there, (keys.a, keys.b), strict=True):
        known[numbers] = True
    both = both.with_columns(
        recipe_a=tables[0]["recipe"].gather(both["a"]),
        recipe_b=tables[1]["recipe"].gather(both["b"]),
        planned=pl.coalesce(tables[0]["planned"].gather(both["a"]), tables[1]["planned"].gather(both["b"])),
    ).filter(
        pl.col("recipe_a").is_null()
        | pl.col("recipe_b").is_null()
        | (pl.col("recipe_a") != pl.col("recipe_b"))
    )
    in_a, in_b = (pl.Series(known[both["key"].to_numpy()]) for known in there)
    other = tables[0]["id"].gather(both["a"]) != tables[1]["id"].gather(both["b"])
    kind = (
        pl.when(pl.col("a").is_not_null() & pl.col("b").is_not_null())
        .then(
            pl.when(pl.col("planned"))
            .then(pl.lit("upstream"))
            .when(other)
            .then(pl.lit("chosen"))
            .otherwise(pl.lit("content"))
        )
        .when(pl.col("planned") & pl.col("a").is_null() & ~in_a)
        .then(pl.lit("upstream added"))
        .when(pl.col("planned") & pl.col("b").is_null() & ~in_b)
        .then(pl.lit("upstream removed"))
        .otherwise(pl.lit("inputs"))
    )
    return both.select("pair", "connection", kind.alias("kind"), "a", "b")


def _tasks(
    labels: Sequence[str], pairs: pl.DataFrame, reasons: pl.DataFrame, whole: Sequence[str]
) -> tuple[TaskDifference, ...]:
    roots = reasons.filter(pl.col("kind").is_in(ROOTS))["pair"].unique()
    numbered = pairs.select("task", "state").with_row_index("pair")
    of_whole = [i for i, label in enumerate(labels) if label in whole]
    # What changed and has no reason among its inputs changed by its task: entry, configuration, code.
    bare = ~pl.col("pair").is_in(reasons["pair"].unique().implode())
    root = pl.col("pair").is_in(roots.implode()) | pl.col("task").is_in(of_whole) | bare
    counted = numbered.group_by("task").agg(
        same=(pl.col("state") == SAME).sum(),
        changed=((pl.col("state") == CHANGED) & root).sum(),
        downstream=((pl.col("state") == CHANGED) & ~root).sum(),
        added=(pl.col("state") == ADDED).sum(),
        removed=(pl.col("state") == REMOVED).sum(),
    )
    rows = {row.pop("task"): row for row in counted.to_dicts()}
    return tuple(TaskDifference(label, **rows.get(i, {})) for i, label in enumerate(labels))


def _causes(
    a: Plan, b: Plan, labels: Sequence[str], pairs: pl.DataFrame, reasons: pl.DataFrame
) -> tuple[Cause, ...]:
    if not reasons.height:
        return ()
    with_task = reasons.with_columns(pairs["task"].gather(reasons["pair"]))
    counted = with_task.group_by("task", "connection", "kind", maintain_order=False).agg(
        pl.col("pair").n_unique().alias("quanta"),
        pl.struct("pair", "a", "b").bottom_k_by("pair", SHOWN).alias("first"),
    )
    counted = counted.sort("task", pl.col("connection").cast(pl.String), "kind")
    causes = []
    for row in counted.iter_rows(named=True):  # a row for each task, connection and kind
        examples = []
        for one in sorted(row["first"], key=lambda x: (x["pair"], x["a"] is None, x["a"] or x["b"])):
            quantum = pairs["a"][one["pair"]]
            examples.append(
                f"{labels[row['task']]}{{{_text(a, 'quanta', 'quantum', quantum)}}}: {_change(a, b, one['a'], one['b'])}"
            )
        causes.append(
            Cause(labels[row["task"]], row["connection"], row["kind"], row["quanta"], tuple(examples))
        )
    return tuple(causes)


def _change(a: Plan, b: Plan, one: int | None, other: int | None) -> str:
    before, after = _dataset(a, one), _dataset(b, other)
    if before is None:
        return f"also {after}"
    if after is None:
        return f"no longer {before}"
    if before != after:
        return f"{after} instead of {before}"
    return f"{before} is another"


def _dataset(plan: Plan, number: int | None) -> str | None:
    if number is None:
        return None
    columns = ["type", "data_id", "run", "planned"]
    row = (
        plan.tables.scan("datasets")
        .filter(pl.col("dataset") == number)
        .select(columns)
        .collect()
        .row(0, named=True)
    )
    where = "" if row["planned"] else f" of run {row['run']}"
    return f"{row['type']}{{{_pretty(row['data_id'])}}}{where}"


def _text(plan: Plan, table: str, column: str, number: int) -> str:
    return _pretty(
        plan.tables.scan(table).filter(pl.col(column) == number).select("data_id").collect().item()
    )


def _pretty(data_id: str) -> str:
    from prestow.model import DataId

    return str(DataId.from_json(data_id))


def _examples(a: Plan, b: Plan, labels: Sequence[str], pairs: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    found = {}
    for word, state, plan, column in (("added", ADDED, b, "b"), ("removed", REMOVED, a, "a")):
        first = pairs.filter(pl.col("state") == state).group_by("task").agg(pl.col(column).bottom_k(SHOWN))
        for task, rows in sorted(first.iter_rows()):
            ids = (
                plan.tables.scan("quanta")
                .filter(pl.col("quantum").is_in(rows))
                .sort("quantum")
                .select("data_id")
                .collect()["data_id"]
            )
            found[f"{word} {labels[task]}"] = tuple(_pretty(text) for text in ids)
    return found


def _names(a: Plan, b: Plan, keys: _Keys) -> tuple[int, int]:
    """Count names that changed, and names that both write under different recipes."""
    from prestow.plan.reserving import is_inside

    frames = []
    for plan, numbers in ((a, keys.a), (b, keys.b)):
        head = len(plan.run) if is_inside(plan) else 0  # another run alone is no other name
        frame = (
            plan.tables.scan("datasets")
            .filter("planned")
            .select("dataset", "recipe", pl.col("path").str.slice(head).hash().alias("name"))
            .collect()
        )
        frames.append(frame.with_columns(pl.Series("key", numbers[frame["dataset"].to_numpy()])))
    one, other = frames
    renamed = one.join(other, on="key", how="inner").filter(pl.col("name") != pl.col("name_right")).height
    if a.run != b.run and is_inside(a) and is_inside(b):
        return renamed, 0
    shared = one.join(other, on="name", how="inner").filter(pl.col("recipe") != pl.col("recipe_right")).height
    return renamed, shared
