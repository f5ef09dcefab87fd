"""The same request once more, in a child run: what was lost, what that blocked, and what went on without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.errors import PlanRefusedError, Problem
from prestow.model.dataset import ROOT_RUNS
from prestow.plan.retaining import not_needed
from prestow.plan.settled import read_settled
from prestow.plan.states import tasks_of
from prestow.results.superseding import pairs_of, touched

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.project.project import Project

    Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Repair:
    """A plan that makes losses good, and what it makes again.

    Parameters
    ----------
    parent : Plan
    plan : Plan or None
        The child's; None where nothing is to be repaired.
    tasks : mapping of task to mapping of kind to count
        Quanta that are made again, by why: ``lost``, ``blocked``, ``without`` (settled without
        something that was lost), and ``unkept`` for those that another needs and nobody keeps.
    kept : int
        Quanta that are taken from the parents.
    done : int
        Of those that the parent lost, how many the child run has made good already.
    """

    parent: Plan
    plan: Plan | None
    tasks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    kept: int = 0
    done: int = 0

    @property
    def again(self) -> int:
        """How many quanta are made again."""
        return sum(sum(counts.values()) for counts in self.tasks.values())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        child = None if self.plan is None else {"plan": self.plan.id, "run": self.plan.run}
        return {
            "parent": {"plan": self.parent.id, "run": self.parent.run}, "child": child, "again": self.again, "kept": self.kept,
            "done": self.done, "tasks": {task: dict(counts) for task, counts in self.tasks.items()},
        }  # fmt: skip


def repair(project: Project, parent: Plan, *, dry_run: bool = False) -> Repair:
    """Plan the request of a plan again in a child run, of which exactly what the losses touched is made.

    Parameters
    ----------
    dry_run : bool
        Only look: nothing is written.

    Raises
    ------
    PlanRefusedError
        If quanta of the plan are not settled or not taken in yet (PST-E044), or if the same request is not the
        same any more: other inputs, calibrations, code (PST-E045); else as `Project.plan`.
    """
    marks = _touched(project, parent)
    if not any(mask.any() for mask in marks.values()):
        return Repair(parent, None)
    request = request_of(project, parent)
    looked = project.plan(**request, dry_run=True)
    _refuse_other(parent, looked)
    tasks, kept, done = _made_again(project, parent, looked, marks)
    return Repair(parent, looked if dry_run else project.plan(**request), tasks, kept, done)


def _touched(project: Project, plan: Plan) -> dict[str, Mask]:
    """Say which quanta of a plan are lost, blocked, or settled otherwise than planned."""
    settled = read_settled(plan, project.store, registry=project.registry)
    open_ = settled.states.codes == 0
    reuse = project.reusable(plan)
    left = open_.copy()
    if reuse is not None:
        left[reuse["quantum"].to_numpy()] = False
    left &= ~not_needed(plan, left)
    short = plan.id[:8]
    if left.any():
        what = f"{int(left.sum()):,} quanta of run {plan.run} are not settled yet: they are no losses"
        fix = f"let them end first: prestow retry {short} --failed && prestow run {short}"
        raise PlanRefusedError(Problem("PST-E044", what, f"plan {short}", fix))
    marks = touched(plan, settled, project.registry, reuse)
    if not (marks["lost"].any() or marks["blocked"].any()):
        return {}
    known = pl.DataFrame(project.registry.settled(plan.run))["id"].cast(pl.Binary)
    ids = plan.tables.scan("quanta").select(pl.col("id").cast(pl.Binary)).collect()["id"]
    missing = ~open_ & ~ids.is_in(known.implode()).to_numpy()
    if missing.any():
        what = f"{int(missing.sum()):,} settled quanta of run {plan.run} are not taken in, and would be made again"
        raise PlanRefusedError(Problem("PST-E044", what, f"plan {short}", f"prestow ingest {short}"))
    return marks


def request_of(project: Project, plan: Plan) -> dict[str, Any]:  # Any: arguments
    """Give the arguments of `Project.plan` that a plan was made with, for a child of its run."""
    from prestow.project import binding

    asked = plan.document["request"]
    facts = binding.standing(project.registry, project.store, plan.run) or {}
    parents = {plan.run, *binding.ancestors(project.registry, plan.run)}
    inputs = [name for name in asked["chain"] if name not in parents and not name.startswith(ROOT_RUNS)]
    waived = asked.get("waived", ())
    request: dict[str, Any] = {
        "where": asked["where"],
        "child_of": plan.run,
        "overrides": tuple(facts.get("overrides", ())),
        "inputs": (*inputs, *asked.get("calibrations", ())),
        "as_of": asked.get("as_of", ""),
        "waive": tuple(dict.fromkeys(f"{one['reason']}@{one['task']}" for one in waived)),
        "because": next((one["because"] for one in waived if one.get("because")), ""),
        "exclude": tuple((one["where"], one["because"]) for one in asked.get("excluded", ())),
        "want": tuple(asked.get("want", ())),
        "part": asked.get("part", ""),
        "flat": bool(asked.get("flat")),
        "promised": "promised" in asked,
        "with_tainted": bool((asked.get("tainted") or {}).get("taken")),
    }
    if "data_ids" in asked:
        table = None if plan.directory is None else plan.directory / "data_ids.parquet"
        if table is None or not table.exists():
            what = "the table of data IDs that it was planned with does not lie beside the plan"
            fix = f"prestow plan --child-of {plan.run} --data-ids FILE"
            raise PlanRefusedError(Problem("PST-E045", what, f"plan {plan.id[:8]}", fix))
        request["data_ids"] = table
    return request


def _refuse_other(parent: Plan, child: Plan) -> None:
    """Refuse a child that is not the same request: it would make more, or other things."""
    both = pairs_of(parent, child)
    otherwise = int((~both["same"]).sum())
    mine, theirs = (plan.document["totals"]["quanta"] for plan in (parent, child))
    added, gone = theirs - both.height, mine - both.height
    if not (otherwise or added or gone):
        return
    parts = ((otherwise, "would be made otherwise"), (added, "would be new"), (gone, "would not be there"))
    what = "the same request is not the same any more: " + ", ".join(
        f"{n:,} quanta {w}" for n, w in parts if n
    )
    fix = (
        f"code, configuration, inputs or calibrations changed since. Look: prestow plan --child-of {parent.run} --dry-run; "
        f"if all of that is meant: prestow plan --child-of {parent.run} && prestow diff {parent.run} latest"
    )
    raise PlanRefusedError(Problem("PST-E045", what, f"plan {parent.id[:8]}, run {parent.run}", fix))


def _made_again(
    project: Project, parent: Plan, child: Plan, marks: Mapping[str, Mask]
) -> tuple[dict[str, dict[str, int]], int, int]:
    """Count what a child makes again, by task and why; refuse what no loss touched."""
    reuse = project.reusable(child)
    taken = np.zeros(child.document["totals"]["quanta"], np.bool_)
    if reuse is not None:
        taken[reuse["quantum"].to_numpy()] = True
    there = read_settled(child, project.store, registry=project.registry).states.codes != 0
    open_ = ~taken & ~there
    open_ &= ~not_needed(child, open_)
    why = np.full(len(taken), "unkept", dtype="<U8")
    pairs = pairs_of(parent, child)
    rows, others = pairs["parent"].to_numpy(), pairs["child"].to_numpy()
    hit = np.zeros(len(taken), np.bool_)
    for kind, mask in marks.items():
        mine = others[mask[rows]]
        why[mine] = kind
        hit[mine] = True
    tasks = tasks_of(child)
    unkept = [i for i, task in enumerate(child.definition.tasks) if any(not o.retained for o in task.outputs)]
    extra = open_ & ~hit & ~np.isin(tasks.numbers, unkept)
    if extra.any():
        what = f"{int(extra.sum()):,} quanta that no loss touched would be made again"
        fix = "their products are not in the registry: prestow ingest, then prestow status of the parent says what is gone"
        raise PlanRefusedError(Problem("PST-E045", what, f"plan {parent.id[:8]}, run {parent.run}", fix))
    counts: dict[str, dict[str, int]] = {}
    for number, name in enumerate(tasks.names):
        words, n = np.unique(why[open_ & (tasks.numbers == number)], return_counts=True)
        if len(words):
            counts[name] = dict(zip(words.tolist(), n.tolist(), strict=True))
    return counts, int(taken.sum()), int((hit & there).sum())
