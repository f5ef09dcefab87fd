"""What is done with runs when they are over: closed, frozen, adopted, told to others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.commit import RECEIPTS, receipt_texts
from prestow.errors import IngestError, Problem, ProjectError
from prestow.packs import is_packed
from prestow.project import plans as plan_files
from prestow.project.opened import STORE
from prestow.project.with_files import ProjectWithFiles
from prestow.stores import Walkable

if TYPE_CHECKING:
    import polars as pl

    from prestow.ingest import IngestReport
    from prestow.ingest.adopting import Adoption
    from prestow.ingest.packing import Closed
    from prestow.plan import Plan
    from prestow.registry.events import Event
    from prestow.registry.findings import Finding

SHOWN = 5


class ProjectWithArchive(ProjectWithFiles):
    """A project, and what becomes of its runs when they are over."""

    def close_run(
        self,
        run: str,
        *,
        wait: float | None = None,
        dry_run: bool = False,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Closed:
        """Close a run: nothing more is planned into it, and its receipts are packed.

        Parameters
        ----------
        wait : float, optional
            Seconds between the packs and the first removal of a single file; see
            `prestow.ingest.packing.close_run`.
        dry_run : bool
            Only say whether it could be closed, and how many receipts there are.

        Raises
        ------
        PrestowError
            PST-G003 if there is no such run; PST-I032 if something of it is not settled or not taken in.
        """
        from prestow.ingest.packing import CACHED, Closed, close_run, refuse_open

        self._check_run(run)
        self._refuse_unsettled(run)
        if dry_run:
            return Closed(run, refuse_open(self.registry, self.store, run), 0, 0)
        return close_run(
            self.registry, self.store, run, wait=CACHED if wait is None else wait, progress=progress
        )

    def _check_run(self, run: str) -> None:
        raise NotImplementedError

    def _refuse_unsettled(self, run: str) -> None:
        """Refuse a run with planned quanta that the registry does not have as settled."""
        from prestow.plan import open_plan
        from prestow.plan.matched_ids import match_ids, words_of

        there = words_of(self.registry.settled(run)["id"])
        problems = []
        for path in plan_files.plan_directories(self.plans_directory):
            if plan_files.run_of(path) != run:
                continue
            planned = words_of(open_plan(path).tables.scan("quanta").select("id").collect()["id"])
            open_ = len(planned) - len(match_ids(planned, there)[0])
            if open_:
                problems.append(
                    Problem(
                        "PST-I032",
                        f"{open_:,} of {len(planned):,} quanta of plan {path.name[:8]} are not settled and taken in",
                        f"run {run}",
                        f"run it to its end (prestow run {path.name[:8]}), take it in (prestow ingest {path.name[:8]}), "
                        f"or give the plan up (prestow drop {path.name[:8]})",
                    )
                )
        if problems:
            raise IngestError(*problems)

    def _packed_receipts(self, plan: Plan, reuse: pl.DataFrame | None) -> dict[str, bytes]:
        """Give the receipts of a plan's existing inputs that lie in packs, by name."""
        names = set(plan.tables["locations"]["receipt"].drop_nulls().to_list())
        names |= set() if reuse is None else set(reuse["receipt"].drop_nulls().to_list())
        runs = {name.split("/")[1] for name in names}
        found: dict[str, bytes] = {}
        for run in sorted(run for run in runs if is_packed(self.store, run)):
            own = sorted(name for name in names if name.split("/")[1] == run)
            texts = receipt_texts(self.store, run, own)
            found |= {name: data for name, data in texts if data is not None}
        return found

    def adopt(
        self,
        where: str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        link: bool = False,
        dry_run: bool = False,
    ) -> Adoption:
        """Give receipts to files that have only their stories; `ingest` takes them in then.

        Parameters
        ----------
        where : path, optional
            A directory; without it the directory of ``run`` in the store.
        run : str, optional
            Only files of this run.
        link : bool
            Give files that nobody can write a second name instead of copying them.
        dry_run : bool
            Only say what would be adopted, and what not.
        """
        from prestow.project.adopting import adopt_files

        self._make_registry()
        path = None if where is None else Path(where)
        return adopt_files(self, path, run=run, link=link, dry_run=dry_run)

    def _thawed(self, runs: list[str] | None) -> list[str] | None:
        """Refuse runs that are named and frozen; where none is named, leave frozen ones out."""
        frozen = self._make_registry().frozen
        if runs is not None:
            frozen.refuse(runs, "nothing is taken in")
            return runs
        if not frozen.names() or not isinstance(self.store, Walkable):
            return None
        found = sorted({name.split("/")[1] for name, _ in self.store.walk(RECEIPTS)})
        standing = frozen.among(found)
        return [name for name in found if name not in standing]

    def _looked_after(self, report: IngestReport) -> IngestReport:
        """Note findings, and see that archived files have their modes and group."""
        from prestow.ingest.disagreeing import note_findings
        from prestow.ingest.protecting import Protection, protect

        found = note_findings(self.registry, self.store, report.runs, report.contradictory)
        archive = self.configuration.archive
        wanted = Protection(archive.mode, archive.directory_mode, archive.group)
        names = (
            path
            for run in report.runs
            for store, path in zip(*self._places(run), strict=True)
            if store == STORE
        )
        done = protect(self.store, names, wanted)
        return replace(report, findings=found, mended=done.mended, unprotected=done.problems)

    def _places(self, run: str) -> tuple[list[str], list[str]]:
        products = self.registry.holdings.products(run)
        return products["store"].to_pylist(), products["path"].to_pylist()

    def freeze(self, collection: str, *, dry_run: bool = False) -> tuple[str, ...]:
        """Freeze a collection for ever, a chain with all its members; give those that are frozen by it now.

        Raises
        ------
        ProjectError
            PST-G003 if there is no such collection.
        """
        known = self.registry.collections()
        if collection not in known:
            names = ", ".join(sorted(known)) or "none"
            raise ProjectError(
                Problem("PST-G003", f"there is no collection '{collection}'", "COLLECTION", f"known: {names}")
            )
        names_ = dict.fromkeys((*self.registry.chain_members(collection), collection))
        if dry_run:
            standing = self.registry.frozen.among(names_)
            return tuple(name for name in names_ if name not in standing)
        return self.registry.frozen.freeze(self.store, names_)

    def findings(self, run: str | None = None) -> tuple[Finding, ...]:
        """Give what a person has to look at, and what a person has settled."""
        return self.registry.findings.all(run)

    def settle_finding(self, key: str, because: str) -> Finding:
        """Note that a person has looked at a finding, and why it counts no more."""
        return self.registry.findings.settle(self.store, key, because)

    def events(self, after: int = 0) -> Iterator[Event]:
        """Give an event for each dataset that was committed after a sequence number, in order."""
        return self.registry.events.after(after)

    def write_events(self, path: str | os.PathLike[str], *, after: int | None = None) -> tuple[int, int]:
        """Append the events that a file lacks, a line each; give how many, and the last sequence number.

        Raises
        ------
        ProjectError
            PST-I036 if the file holds something else, or events of another registry.
        """
        from prestow.ingest.events import append_events

        return append_events(self.registry, Path(path), after=after)
