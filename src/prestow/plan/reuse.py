"""What a run need not make again, because a parent or another run has it under the wanted recipe."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.commit import RECEIPTS
from prestow.errors import Problem, ProjectError, raise_all
from prestow.naming import identity
from prestow.plan.states import tasks_of
from prestow.plan.walking import edges_of, spread

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.plan import Plan

COLUMNS = (
    "quantum",
    "dataset",
    "id",
    "run",
    "store",
    "path",
    "size",
    "sha256",
    "content",
    "receipt",
    "producer",
    "state",
)


ANY = "any"
FILE = "reuse.json"


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a person said of reuse in a plan; it stands beside the plan, outside its id.

    Parameters
    ----------
    runs : tuple of str
        Runs besides the parents, in which the wanted recipe is looked for; ``any`` for every one.
    force : tuple of str
        Tasks that are made again, with all that follows from them.
    keep : tuple of str
        Tasks of which what a parent lost or blocked stays so.
    """

    runs: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


def read_reuse(plan: Plan) -> Reuse:
    """Give what was said of reuse in a plan, the last time that anything was."""
    if plan.directory is None or not (plan.directory / FILE).exists():
        return Reuse()
    said = json.loads((plan.directory / FILE).read_text(encoding="utf-8"))
    return Reuse(*(tuple(said[name]) for name in ("runs", "force", "keep")))


def choose_reuse(plan: Plan, registry: Ancestry, said: Reuse) -> None:
    """Let a plan reuse so from now on.

    Raises
    ------
    ProjectError
        If a run or task is not known, or if what is forced or kept could only be in this very run,
        where settled is for ever (PST-P042), each of them.
    """
    raise_all(_wrong(plan, registry, said), ProjectError)
    assert plan.directory is not None, "a plan that runs is written"
    beside = plan.directory / f".{FILE}"
    beside.write_text(json.dumps(asdict(said)) + "\n", encoding="utf-8")
    os.replace(beside, plan.directory / FILE)


def refuse_unknown(registry: Ancestry, runs: Sequence[str]) -> None:
    """Refuse runs to take from that there are not.

    Raises
    ------
    ProjectError
        PST-P042, for each of them.
    """
    raise_all(_unknown_runs(registry, runs), ProjectError)


def _unknown_runs(registry: Ancestry, runs: Sequence[str]) -> list[Problem]:
    known = [run for run, kind in registry.collections().items() if kind == "run"]
    return [_unknown("run", run, known, "--reuse") for run in runs if run != ANY and run not in known]


def _wrong(plan: Plan, registry: Ancestry, said: Reuse) -> list[Problem]:
    tasks = [task.label for task in plan.definition.tasks]
    problems = _unknown_runs(registry, said.runs)
    for option, labels in (("--force", said.force), ("--keep", said.keep)):
        problems += [_unknown("task", label, tasks, option) for label in labels if label not in tasks]
    problems += [
        Problem("PST-P042", f"'{label}' is to be made again and kept", "--keep", "leave one of them out")
        for label in sorted(set(said.force) & set(said.keep))
    ]
    if (said.force or said.keep) and not said.runs and not _ancestors(plan, registry):
        option = "--force" if said.force else "--keep"
        what = f"run {plan.run} has no parent: what is settled in a run is settled for ever"
        fix = f"plan a child run, and run that with {option}: prestow plan --child-of {plan.run}"
        problems.append(Problem("PST-P042", what, option, fix))
    return problems


def _unknown(kind: str, name: str, known: Sequence[str], option: str) -> Problem:
    near = difflib.get_close_matches(name, known, 1)
    fix = f"did you mean '{near[0]}'?" if near else f"{kind}s: {', '.join(known[:20])}"
    return Problem("PST-P042", f"there is no {kind} '{name}'", option, fix)


class Ancestry(Protocol):
    """What is asked of a registry; `prestow.registry.Registry` is one."""

    def parents(self, run: str) -> tuple[str, ...]:
        """Give the parents of a run."""

    def collections(self) -> Mapping[str, str]:
        """Give the kind of every collection."""

    def settled(self, run: str, recipe: str = "planned_recipe") -> pa.Table:
        """Give ``id``, ``state`` and a recipe of the settled quanta of a run."""

    def datasets(self, types: Sequence[str], collections: Sequence[str], *, first: bool = True) -> pa.Table:
        """Give datasets with their location and quantum."""

    @property
    def tainting(self) -> Taints:
        """What is tainted, and what was made from that."""


class Taints(Protocol):
    """What is asked of `Ancestry.tainting`."""

    def bad_quanta(self) -> Collection[bytes]:
        """Give the quanta that made or used what is tainted, at any depth."""


def reusable(plan: Plan, registry: Ancestry, said: Reuse | None = None) -> pl.DataFrame | None:
    """Give the outputs that are taken from another run, or None if there is none to take from.

    A quantum is taken when a parent, or a run that `choose_reuse` named, settled it as made or declined,
    and its *actual* recipe there is the planned one here: so whatever a loss touched is made again, and
    nothing else. Nor is what is tainted or was made from such, unless the plan takes it. The nearest parent wins. A made quantum of which a required output is not in the registry
    is not taken.

    Parameters
    ----------
    said : Reuse or None
        What is said of reuse; what `choose_reuse` kept, if not given.

    Returns
    -------
    DataFrame
        One row for each output: ``quantum`` and ``dataset`` (rows of the plan's tables), then what
        stands in its place: ``id run store path size sha256 content``, null from ``store`` on where
        the output was declined, ``receipt``, ``producer`` (id of the parent's quantum), ``state``.
    """
    said = read_reuse(plan) if said is None else said
    runs = _ancestors(plan, registry)
    parents = len(runs)
    for run in said.runs:
        runs += (
            sorted(r for r, kind in registry.collections().items() if kind == "run") if run == ANY else [run]
        )
    runs = [run for run in dict.fromkeys(runs) if run != plan.run]
    if not runs:
        return None
    matched = _matched(plan, registry, runs, _kept(plan, said.keep), parents)
    if said.force:
        again = following(plan, said.force)
        matched = matched.filter(pl.Series(~again[matched["quantum"].to_numpy()]))
    return _outputs(plan, registry, runs, matched)


def following(plan: Plan, tasks: Collection[str]) -> npt.NDArray[np.bool_]:
    """Give the quanta of these tasks and all that read, also through others, what they make."""
    words = tasks_of(plan)
    wanted = np.isin(words.numbers, [i for i, name in enumerate(words.names) if name in tasks])
    return spread(wanted, *edges_of(plan))


def _kept(plan: Plan, tasks: Collection[str]) -> pl.DataFrame | None:
    if not tasks:
        return None
    quanta = plan.tables.scan("quanta").select("quantum", pl.col("task").cast(pl.String), "recipe")
    return quanta.filter(pl.col("task").is_in(list(tasks))).select("quantum", _octets("recipe")).collect()


def _matched(
    plan: Plan, registry: Ancestry, runs: Sequence[str], kept: pl.DataFrame | None, parents: int
) -> pl.DataFrame:
    """Give quanta that runs have: quantum, old (its id there), run, state; the first run wins.

    A recipe has the task and the data ID in it: nothing else needs to be compared.
    """
    wanted = plan.tables.scan("quanta").select("quantum", _octets("recipe")).collect()
    schema = {"quantum": pl.UInt32, "old": pl.Binary, "state": pl.String, "run": pl.String}
    found = [pl.DataFrame(schema=schema)]
    taken = (plan.document["request"].get("tainted") or {}).get("taken", False)
    bad = pl.Series(list(() if taken else registry.tainting.bad_quanta()), dtype=pl.Binary).implode()
    for position, run in enumerate(runs):
        ways: list[tuple[pl.DataFrame, str, list[str]]] = [(wanted, "actual_recipe", ["made", "declined"])]
        if kept is not None and position < parents:
            ways.append((kept, "planned_recipe", ["lost", "blocked"]))
        for quanta, recipe, states in ways:
            there = _frame(registry.settled(run, recipe)).filter(pl.col("state").is_in(states))
            columns = there.select("state", old=_octets("id"), recipe=_octets(recipe))
            columns = columns.filter(~pl.col("old").is_in(bad))
            matched = quanta.join(columns, on="recipe", how="inner").with_columns(run=pl.lit(run))
            found.append(matched.select(list(schema)))
            if matched.height:
                gone = matched["quantum"].implode()
                wanted = wanted.filter(~pl.col("quantum").is_in(gone))
                kept = None if kept is None else kept.filter(~pl.col("quantum").is_in(gone))
    return pl.concat(found).unique("quantum", keep="first", maintain_order=True)


def _octets(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Binary)


def _outputs(plan: Plan, registry: Ancestry, runs: Sequence[str], matched: pl.DataFrame) -> pl.DataFrame:
    outputs = plan.tables.scan("outputs").select("quantum", "dataset", "optional").collect()
    outputs = outputs.join(matched, on="quantum", how="inner")
    kinds = plan.tables.scan("datasets").select(pl.col("type").cast(pl.String)).collect()["type"]
    tasks = plan.tables.scan("quanta").select(pl.col("task").cast(pl.String)).collect()["task"]
    outputs = outputs.with_columns(
        kinds.gather(outputs["dataset"]), tasks.gather(outputs["quantum"]).alias("task")
    )
    used = [run for run in runs if run in set(outputs["run"].unique())]
    types = outputs["type"].unique().sort().to_list()
    artifacts = _frame(registry.datasets(types, used, first=False)).select(
        pl.col("type").cast(pl.String),
        "id",
        "store",
        "path",
        "size",
        "sha256",
        "content",
        old=_octets("quantum"),
    )
    found = outputs.join(artifacts, on=["old", "type"], how="left")
    lacks = (pl.col("state") == "made") & ~pl.col("optional") & pl.col("id").is_null()
    broken = found.filter(lacks)["quantum"].unique()
    found = found.filter(~pl.col("quantum").is_in(broken.implode()))
    producer = identity.uuid_text(pl.col("old"))
    found = found.with_columns(producer=producer).with_columns(
        receipt=pl.concat_str(
            pl.lit(f"{RECEIPTS}/"), "run", pl.lit("/"), "task", pl.lit("/"), pl.col("producer").str.slice(0, 2),
            pl.lit("/"), "producer", pl.lit(".json"),
        ),
    )  # fmt: skip
    return _with_ids(plan, found).sort("quantum", "dataset").select(COLUMNS)


def _with_ids(plan: Plan, found: pl.DataFrame) -> pl.DataFrame:
    """Fill in the ids of what was not made: of its type, run and data ID."""
    parts = [found.filter(pl.col("id").is_not_null()).with_columns(_octets("id"))]
    none = found.filter(pl.col("id").is_null())
    for (kind, run), rows in none.partition_by(["type", "run"], as_dict=True).items():
        dimensions = plan.definition.dataset_types[kind].dimensions
        values = plan.tables.scan("datasets").select("dataset", *dimensions).collect()[rows["dataset"]]
        ids = values.with_columns(identity.dataset_ids(kind, run, dimensions).alias("id"))["id"]
        parts.append(rows.with_columns(ids))
    return pl.concat(parts)


def _ancestors(plan: Plan, registry: Ancestry) -> list[str]:
    named = plan.document["request"].get("child_of")
    level = list(dict.fromkeys([*([named] if named else []), *registry.parents(plan.run)]))
    found: dict[str, None] = {}
    while level:
        found.update(dict.fromkeys(level))
        level = [parent for run in level for parent in registry.parents(run) if parent not in found]
    found.pop(plan.run, None)
    return list(found)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
