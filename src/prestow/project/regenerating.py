"""What is absent in a sandbox is made again there, as it was made, and held to what is on record of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import read_receipt
from prestow.errors import Problem, ProjectError
from prestow.project.opened import STORE
from prestow.project.sandbox_plans import run_plans, taken_of
from prestow.project.sandbox_rows import certify_again, register_receipts
from prestow.project.sandboxes import BEFORE, Sandbox, place_of, read_sandbox, sandbox_lock
from prestow.registry.records import record_name
from prestow.results.plan_rows import raw
from prestow.results.regenerating import Again, Cost, Costs, Needed, held_to_record, needed
from prestow.stores import Linkable, Store

if TYPE_CHECKING:
    from prestow.engines.progress import Event
    from prestow.engines.running import RunFailure
    from prestow.project.project import Project


@dataclass(frozen=True, slots=True)
class Regenerated:
    """What making again came to.

    Parameters
    ----------
    root : Path
        The sandbox.
    quanta : mapping of (run, task) to int
        What was to be made, or would be: the least that makes what was asked for.
    cost : Cost
        What that cost when it ran.
    datasets : tuple of Again
        What was made, each held to its record.
    hindered : mapping of dataset to str
        What cannot be made again, and why.
    failures : tuple of RunFailure
        Quanta that failed this time.
    dry : bool
        Nothing was run.
    elsewhere : str
        Where to have what nothing is on record of here; empty if that hinders nothing.
    """

    root: Path
    quanta: dict[tuple[str, str], int]
    cost: Cost
    datasets: tuple[Again, ...] = ()
    hindered: dict[str, str] = field(default_factory=dict)
    failures: tuple[RunFailure, ...] = ()
    dry: bool = False
    elsewhere: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many datasets have which answer."""
        return dict(Counter(one.answer for one in self.datasets))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "sandbox": str(self.root), "dry_run": self.dry, "cost": self.cost.as_dict(), "counts": self.counts,
            "quanta": [{"run": run, "task": task, "quanta": n} for (run, task), n in self.quanta.items()],
            "datasets": [one.as_dict() for one in self.datasets], "hindered": dict(self.hindered), "elsewhere": self.elsewhere,
            "failures": [f.as_dict() for f in self.failures],
        }  # fmt: skip


def regenerate(
    project: Project,
    asked: Sequence[Sequence[str]] = (),
    *,
    engine: str = "local",
    workers: int | None = None,
    dry_run: bool = False,
    run: str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Regenerated:
    """Make again what is absent in a sandbox; see `prestow.project.Project.regenerate`."""
    root = project.root
    sandbox = read_sandbox(root, project.store)
    if sandbox is None:
        what = "this is no sandbox: what is made again never goes into the project it is from"
        fix = "bring it first: prestow fetch DATASET --into DIR, or prestow regenerate DATASET --into DIR"
        raise ProjectError(Problem("PST-T004", what, str(root), fix))
    wanted = _wanted(project, sandbox, asked, run)
    with sandbox_lock(root):
        here = _present(sandbox, project.store)
        explicit = set(wanted) if asked else set()
        blind = sandbox.ancestry.blind()
        found = needed(
            sandbox.ancestry, here - explicit, wanted, stopped=sandbox.stopped, lacking=sandbox.hindered, blind=blind
        )  # fmt: skip
        known = sandbox.ancestry
        hindered = {str(known.datasets[key]): why for key, why in found.hindered.items()}
        cut = any(known.datasets[key].quantum in blind for key in found.hindered)
        elsewhere = _elsewhere(sandbox) if cut else ""
        quanta = Counter((known.quanta[key].run, known.quanta[key].task) for key in found.quanta)
        cost = Costs(known, project.store, sandbox.spent).of(found.quanta)
        if dry_run or not found.quanta:
            if asked and hindered and not found.quanta:
                raise ProjectError(
                    *(Problem("PST-T007", f"{known.datasets[key]}: {why}", str(root),
                              elsewhere if known.datasets[key].quantum in blind else "")
                      for key, why in found.hindered.items())
                )  # fmt: skip
            return Regenerated(root, dict(quanta), cost, (), hindered, dry=dry_run, elsewhere=elsewhere)
        _withdraw(project, sandbox, found.quanta, here)
        failures = _run(project, sandbox, found, engine, workers, on_event)
        made = {key: read_receipt(project.store, known.quanta[key].name) for key in found.quanta}
        now = _present(sandbox, project.store)
        register_receipts(project.registry, [r for r in made.values() if r is not None], now)
        certify_again(project.registry, project.store)
        answers = tuple(_answers(sandbox, root, project.store, found, made, failures))
    return Regenerated(root, dict(quanta), cost, answers, hindered, failures, elsewhere=elsewhere)


def _elsewhere(sandbox: Sandbox) -> str:
    """Say where what nothing is on record of could be had."""
    return (
        f"it is not on record in {sandbox.source['project']} either, from which this was fetched: "
        "fetch from the project that made it: prestow fetch DATASET --into DIR"
    )


def _wanted(project: Project, sandbox: Sandbox, asked: Sequence[Sequence[str]], run: str | None) -> list[str]:
    """Give the datasets to be made: those asked for, else all that does not exist where the sandbox was brought from."""
    known = sandbox.ancestry
    if not asked:
        before = {
            key
            for key, one in known.datasets.items()
            if one.path and (project.root / BEFORE / place_of(one)).exists()
        }
        found = [
            key
            for key, one in known.datasets.items()
            if one.quantum and not one.beside and key in {*sandbox.gone, *before}
        ]
        return sorted(found, key=lambda key: (known.datasets[key].level, str(known.datasets[key])))
    from prestow.results.resolving import find_dataset, known_point

    recorded = project.recorded(run=run)
    found = []
    for words in asked:
        point = known_point(find_dataset(recorded, words, run=run))
        one = known.datasets.get(point.id)
        if one is None or not one.quantum:
            what = (
                f"{point} was not fetched with what it was made from"
                if one is None
                else f"{point} is raw data: nothing here made it"
            )
            raise ProjectError(
                Problem("PST-T007", what, str(project.root), "fetch it: prestow fetch DATASET --into DIR")
            )
        found.append(point.id)
    return found


def _present(sandbox: Sandbox, store: Store) -> set[str]:
    return {
        key
        for key, one in sandbox.ancestry.datasets.items()
        if one.path
        and one.state in ("root", "made", "deleted", "pending", "failed")
        and store.size(place_of(one)) is not None
    }


def _withdraw(project: Project, sandbox: Sandbox, quanta: Collection[str], here: Collection[str]) -> None:
    """Take back what a sandbox has of quanta that are to be made: bytes stay beside, to be compared."""
    known, store = sandbox.ancestry, project.store
    assert isinstance(store, Linkable), "a sandbox is a directory"
    for key in quanta:
        quantum = known.quanta[key]
        for output in quantum.outputs:
            one = known.datasets.get(output)
            if one is None:
                continue
            store.delete(record_name("deleted", output))
            if output in here:
                kept = project.root / BEFORE / place_of(one)
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.replace(store.local_path(place_of(one)), kept)
        store.delete(quantum.name)
    project.registry.withdrawing.withdraw([raw(key) for key in quanta])


def _run(
    project: Project,
    sandbox: Sandbox,
    found: Needed,
    engine: str,
    workers: int | None,
    on_event: Callable[[Event], None] | None,
) -> tuple[RunFailure, ...]:
    from prestow.engines.running import run_plan
    from prestow.plan import open_plan, write_plan
    from prestow.project.engine_on_demand import EngineOnDemand

    known = sandbox.ancestry
    make = set(found.quanta)
    options: dict[str, int | str] = (
        {} if engine == "local" else {"workers": workers or project.configuration.workers}
    )
    failures: list[RunFailure] = []
    for run in known.runs():
        if not any(known.quanta[key].run == run for key in make):
            continue
        for one in run_plans(sandbox, sandbox.runs[run], project.universe, project.root):
            if not make & set(one.members.values()):
                continue
            plan = open_plan(write_plan(one.plan, project.plans_directory))
            result = run_plan(
                plan,
                engine=EngineOnDemand(engine, options),
                stores={STORE: project.configuration.store},
                store=STORE,
                reuse=taken_of(one, sandbox, run, make),
                registry=project.registry,
                on_event=on_event,
            )
            failures += result.failures
    return tuple(failures)


def _answers(
    sandbox: Sandbox,
    root: Path,
    store: Store,
    found: Needed,
    made: dict[str, Any],
    failures: Sequence[RunFailure],
) -> list[Again]:
    known = sandbox.ancestry
    said = {f.quantum: f.message for f in failures}
    answers = []
    for key in found.quanta:
        quantum = known.quanta[key]
        for output in quantum.outputs:
            one = known.datasets.get(output)
            if one is None or (quantum.state == "made" and one.state == "declined"):
                continue
            receipt = made[key]
            if receipt is None:
                why = said.get(key, "what it needs was not made")
                answers.append(Again(one, "failed", (why,)))
                continue
            kept = root / BEFORE / place_of(one)
            now = store.local_path(place_of(one)) if isinstance(store, Linkable) and one.path else None
            files = (kept, now) if now is not None and one.path and kept.is_file() and now.is_file() else None
            answer = held_to_record(one, quantum.paper, receipt, files)
            answers.append(answer)
            if answer.answer == "equal":
                kept.unlink(missing_ok=True)
    return answers
