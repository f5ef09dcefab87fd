"""Which run a plan goes to, what the run is bound to, and where inputs are searched."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prestow.errors import ObjectNotFoundError, PlanRefusedError, Problem, raise_all
from prestow.model.dataset import ROOT_RUNS
from prestow.naming.templates import RUN_NAME
from prestow.pipeline.definition import Pipeline
from prestow.plan.document import pipeline_digest
from prestow.registry import CollectionKind, Registry, put_record
from prestow.registry.chaining import put_in_front
from prestow.registry.records import is_removed, read_record, record_name
from prestow.stores import Put, Store

_CHILD = re.compile(r"(.+)\+([0-9]+)")
_SEALED = frozenset({"lost", "blocked"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a plan goes: its run, the runs that it is a child of (nearest first), and what it is bound to."""

    run: str
    parents: tuple[str, ...]
    facts: Mapping[str, Any]  # Any: JSON values

    @property
    def chain(self) -> str:
        """The output chain: everything of the first run and its children, newest first."""
        return chain_name((*self.parents, self.run)[0] if not self.parents else self.parents[-1])


def chain_name(first_run: str) -> str:
    """Give the name of the output chain of a run and its children."""
    return f"{first_run}.all"


def check_run(run: str) -> str:
    """Give a run's name back, or refuse it.

    Raises
    ------
    PlanRefusedError
        PST-P003 if it cannot be a directory's name everywhere.
    """
    if not re.fullmatch(RUN_NAME, run) or len(run) > 100 or run.startswith(ROOT_RUNS):  # noqa: PLR2004 - leaves room in 255
        raise PlanRefusedError(
            Problem(
                "PST-P003",
                f"not a run's name: {run!r}",
                "--run",
                "letters, digits and . _ + - only, not beginning with a sign, 'raw-' or 'external-', at most 100",
            )
        )
    return run


def choose(
    registry: Registry, pipeline: Pipeline, facts: Mapping[str, Any], *, run: str | None, child_of: str | None
) -> Target:
    """Say where a plan goes. Nothing is written.

    A child run is ``<first>+1``, ``<first>+2`` …: the newest one, as long as nothing in it was
    sealed as lost, else the next.
    """
    if child_of is None:
        name = check_run(run or pipeline.name)
        return Target(name, ancestors(registry, name), facts)
    parent = check_run(child_of)
    known = registry.collections()
    if known.get(parent) is not CollectionKind.RUN:
        runs = ", ".join(
            n for n, kind in known.items() if kind is CollectionKind.RUN and not n.startswith(ROOT_RUNS)
        )
        raise PlanRefusedError(
            Problem(
                "PST-P001",
                f"there is no run '{parent}' to be the child of",
                "--child-of",
                f"runs: {runs or 'none'}",
            )
        )
    family = (parent, *ancestors(registry, parent))
    if not any(registry.quanta(name).num_rows for name in family):
        what = f"nothing of run '{parent}' is taken in yet, so all of it would be made again"
        raise PlanRefusedError(Problem("PST-P001", what, "--child-of", f"prestow ingest --run {parent}"))
    if run is not None:
        return Target(check_run(run), family, facts)
    first = family[-1]
    numbers = [int(match[2]) for match in map(_CHILD.fullmatch, known) if match and match[1] == first]
    newest = max(numbers, default=0)
    if newest:
        name = f"{first}+{newest}"
        states = set(registry.quanta(name)["state"].to_pylist())
        if name != parent and not states & _SEALED:
            return Target(name, ancestors(registry, name), facts)
        family = (name, *ancestors(registry, name))
    return Target(f"{first}+{newest + 1}", family, facts)


def sample_run(
    registry: Registry, store: Store, name: str, facts: Mapping[str, Any]
) -> str:  # Any: JSON values
    """Give the run of a sample: ``<name>``, or ``<name>-2`` … where it is bound to older code or was removed.

    Who changes a task tries it again and again; each version has a run, so that they can be compared.
    """
    for number in range(1, 10_000):
        run = name if number == 1 else f"{name}-{number}"
        known = standing(registry, store, run)
        if (known is None or known.get("pipeline") == facts["pipeline"]) and not is_removed(store, run):
            return run
    return name


def ancestors(registry: Registry, run: str) -> tuple[str, ...]:
    """Give the runs that a run is a child of, nearest first."""
    known = registry.collections()
    found: list[str] = []
    todo = [run]
    while todo:
        name = todo.pop(0)
        fresh = [p for p in registry.parents(name) if p not in found] if name in known else []
        found += fresh
        todo += fresh
    return tuple(found)


def bound_facts(pipeline: Pipeline, overrides: Sequence[str]) -> dict[str, Any]:  # Any: JSON values
    """Give what a run is bound to at its first plan: pipeline, configuration and code."""
    code = pipeline.code.sha256 if pipeline.code else ""
    return {
        "pipeline": pipeline_digest(pipeline),
        "name": pipeline.name,
        "code": code,
        "overrides": sorted(overrides),
    }


def standing(registry: Registry, store: Store, run: str) -> Mapping[str, Any] | None:  # Any: JSON values
    """Give what a run is bound to, by the registry or by its record, or None."""
    known = registry.binding(run)
    if known is None:
        with contextlib.suppress(ObjectNotFoundError):
            known = read_record(store, "bound", run)
    return known


def bind(registry: Registry, store: Store, target: Target) -> None:
    """Bind a run to what it makes, for ever; again with the same is fine.

    Raises
    ------
    PlanRefusedError
        PST-P006 if it is bound to something else, be it by somebody at this very moment.
    """
    facts = {**target.facts, "parents": list(target.parents)}
    if put_record(store, "bound", target.run, facts) is not Put.YES:
        refuse_other(target, read_record(store, "bound", target.run))
    refuse_other(target, registry.bind(target.run, facts))
    for parent in target.parents[:1]:
        put_record(store, "child-of", target.run, {"child": target.run, "parent": parent})
        registry.add_parent(target.run, parent)


def refuse_other(target: Target, standing: Mapping[str, Any] | None) -> None:
    """Refuse what a run is not bound to."""
    if standing is None or standing.get("pipeline") == target.facts["pipeline"]:
        return
    changed = "its code" if standing.get("code") != target.facts["code"] else "its configuration or tasks"
    raise PlanRefusedError(
        Problem(
            "PST-P006",
            f"run '{target.run}' is bound to pipeline '{standing.get('name')}' @ {str(standing.get('pipeline'))[:8]}, and {changed} changed since",
            f"run {target.run}",
            f"give the new one another run: prestow plan --run {target.run}-2",
        )
    )


def refuse_removed(store: Store, target: Target) -> None:
    """Refuse a run that was removed, as target or as a parent: a name stands for one thing for ever.

    Raises
    ------
    PlanRefusedError
        PST-G023 for each of them.
    """
    raise_all(
        (
            Problem(
                "PST-G023",
                f"run '{run}' was removed; what is deleted stays so",
                "--run" if run == target.run else "--child-of",
                "plan into another run: --run NAME",
            )
            for run in (target.run, *target.parents[:1])
            if is_removed(store, run)
        ),
        PlanRefusedError,
    )


def refuse_ended(registry: Registry, store: Store, target: Target) -> None:
    """Refuse a run that is closed or frozen, and a child whose chain is frozen: nothing more is planned there.

    Raises
    ------
    PlanRefusedError
        PST-I031 if it is closed.
    ProjectError
        PST-I030 if it is frozen.
    """
    registry.frozen.refuse([target.run, target.chain], f"nothing is planned into run {target.run}")
    if store.size(record_name("closed", target.run)) is not None:
        raise PlanRefusedError(
            Problem(
                "PST-I031",
                f"run '{target.run}' is closed: nothing more is planned into it",
                "--run",
                f"plan into another run (--run NAME), or into a child of it (--child-of {target.run})",
            )
        )


def refuse_other_types(registry: Registry, pipeline: Pipeline) -> None:
    """Refuse dataset types that the registry knows with other dimensions; the format is each run's own.

    Raises
    ------
    PlanRefusedError
        PST-C035 for each of them.
    """
    known = registry.dataset_types()
    problems = []
    for name, kind in pipeline.dataset_types.items():
        there = known.get(name)
        if there is None or there.dimensions == kind.dimensions:
            continue
        has, wants = (", ".join(k.dimensions) or "none" for k in (there, kind))
        what = f"'{name}' is in the registry with dimensions {has}, and here it has {wants}"
        fix = "write it as the registry has it, or give it another name"
        problems.append(Problem("PST-C035", what, f"dataset type {name}", fix))
    raise_all(problems, PlanRefusedError)


def apart(registry: Registry, inputs: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the collections that are no calibration collections, and those that are, each in order.

    Raises
    ------
    ProjectError
        PST-K003 for each pinned one that there is not.
    """
    known = set(registry.certified.collections())
    pinned = tuple(name for name in inputs if name in known or "@" in name)
    if pinned:
        registry.certified.searched(pinned)
    return tuple(name for name in inputs if name not in pinned), pinned


def inputs_searched(registry: Registry, target: Target, inputs: Sequence[str] = ()) -> tuple[str, ...]:
    """Give the collections in which inputs are searched, in order.

    First the parents, nearest first, then those asked for, then all runs of raw and of foreign files.

    Raises
    ------
    PlanRefusedError
        PST-P001 for each collection that there is not.
    """
    known = registry.collections()
    raws = tuple(
        n for n, kind in sorted(known.items()) if kind is CollectionKind.RUN and n.startswith(ROOT_RUNS)
    )
    raise_all(
        (
            Problem(
                "PST-P001",
                f"there is no collection '{name}'",
                "--input",
                f"known: {', '.join(sorted(known))}",
            )
            for name in inputs
            if name not in known
        ),
        PlanRefusedError,
    )
    return tuple(dict.fromkeys((*target.parents, *inputs, *raws)))


def register(registry: Registry, store: Store, target: Target) -> None:
    """Make the run known, and its chain: a child stands before its parents."""
    registry.register_run(target.run)
    put_record(store, "run", target.run, {"run": target.run})
    put_in_front(registry, store, target.chain, (target.run, *target.parents))
