"""What can be asked of a project, and done to it, once there is something: found, followed, compared, removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import PrestowError
from prestow.project import plans as plan_files
from prestow.project.keeping import ProjectWithPlans
from prestow.project.opened import STORE

if TYPE_CHECKING:
    import polars as pl

    from prestow.engines.journal import UnderWay
    from prestow.model import DataId
    from prestow.plan import Plan
    from prestow.plan.forecast import Forecast
    from prestow.plan.forecast_recorded import Recorded as ForecastRecorded
    from prestow.project.accounting import Accounted
    from prestow.project.forecasting import Outlook
    from prestow.results.account_unread import Unread
    from prestow.results.causes import Reason
    from prestow.results.comparing import Comparison
    from prestow.results.contact_sheet import Sheet
    from prestow.results.converting import Converted
    from prestow.results.datasets import Sources
    from prestow.results.finding import Found, Only
    from prestow.results.graph import Graph
    from prestow.results.identifying import Identified
    from prestow.results.looking import Look
    from prestow.results.losses import Losses
    from prestow.results.recorded import Recorded
    from prestow.results.removing import Removal
    from prestow.results.report import Report
    from prestow.results.retiring import Retiring
    from prestow.results.retrying import PutBack
    from prestow.results.status import Status
    from prestow.results.tainting import Taint
    from prestow.results.tracing import Trace


class ProjectWithResults(ProjectWithPlans):
    """A project, and what became of its plans."""

    def status(self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST) -> Status:
        """Give the state of every quantum of a plan, counted by task; they sum to the plan."""
        from prestow.project.handed_over import look_at, waiting_of
        from prestow.results.status import status

        found = self._plan(plan)
        seen = look_at(self, found)
        return status(
            found, self.store, reuse=self.reusable(found), registry=self.registry, waiting=waiting_of(found, seen),
            submissions=[one.as_dict() for one in seen],
        )  # fmt: skip

    def account(
        self,
        plan: Plan | str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        level: str = "receipt",
        unexpected: str | None = None,
        dry_run: bool = False,
    ) -> Accounted:
        """Account for a plan (the newest): every planned output in one state, every file found in one class.

        Parameters
        ----------
        run : str, optional
            Instead: all that the receipts of a run say; its plans may be gone.
        level : str
            ``receipt`` (sizes and stories), ``sample:5%`` (also all bytes of a share) or ``full``.
        unexpected : str, optional
            What to do with unexpected files: ``keep``, ``tar``, ``drop`` or ``fail``; as ``prestow.yaml`` says,
            if not given.
        dry_run : bool
            Only say what would be done with them.

        Raises
        ------
        ProjectError
            PST-A001 if nothing is known of the run, PST-A003 of the level, PST-A004 if files may be
            another plan's, PST-A010 for each unexpected file under ``fail``.
        StoreError
            PST-A011 if they cannot be saved: then all of them are still there.
        """
        from prestow.project.accounting import account

        return account(self, plan, run=run, level=level, unexpected=unexpected, dry_run=dry_run)

    def unread(
        self,
        plan: Plan | str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        task: str | None = None,
    ) -> Unread:
        """Say which inputs were staged and never read, with bytes; with ``task`` every single one of it."""
        from prestow.project.accounting import unread

        return unread(self, plan, run=run, task=task)

    def report(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        pictures: int = 0,
        account: bool = True,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Report:
        """Say what a plan came to, also while it runs: causes of failure, states, times; `prestow.results.report.page` draws it.

        Parameters
        ----------
        pictures : int
            Quick looks at so many of what was made in the end.
        account : bool
            Also hold files against the plan; not while it runs.
        tell : callable
            Told what goes on now.

        Raises
        ------
        ProjectError
            PST-P008 if there is no such plan.
        """
        from prestow.project.reporting import report

        return report(self, plan, pictures=pictures, account=account, tell=tell)

    def losses(self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST) -> Losses:
        """List what a plan's run lost, what that blocked, and what went on without it."""
        from prestow.results.losses import losses

        found = self._plan(plan)
        return losses(found, self.store, reuse=self.reusable(found), registry=self.registry)

    def retry(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        jobs: Sequence[str] = (),
        memory: str = "",
        site: str | os.PathLike[str] | None = None,
        avoid: Sequence[str] = (),
        avoid_bad_hosts: bool = False,
        tries: int | None = None,
        dry_run: bool = False,
    ) -> PutBack:
        """Put failed jobs back with changes, for the next `run`; nothing that is settled is touched.

        Parameters
        ----------
        jobs : sequence of str
            Names; all that failed, if none is given.
        memory : str
            A size such as ``16GB``, or ``x2``: so many times what was asked for last.
        site : path, optional
            A site file, for the next run.
        avoid : sequence of str
            Hosts; with ``avoid_bad_hosts`` also those that fail far more than others.
        tries : int, optional
            How often each is tried in one run.
        dry_run : bool
            Only look.

        Raises
        ------
        ProjectError
            PST-E040 to PST-E043, PST-R004; see `prestow.results.retrying.put_back`.
        """
        from prestow.project.putting_back import put_back

        return put_back(
            self, self._plan(plan), jobs=jobs, memory=memory, site=site, avoid=avoid,
            avoid_bad_hosts=avoid_bad_hosts, tries=tries, dry_run=dry_run,
        )  # fmt: skip

    def retire(
        self,
        plan: Plan | str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        dry_run: bool = False,
        even_so: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Retiring:
        """Delete what a plan's run need not keep any more, as ``retain`` says; killed, the same call goes on.

        Parameters
        ----------
        run : str, optional
            Which, instead of the newest plan's.
        dry_run : bool
            Only say what would go.
        even_so : bool
            Also if plans that are not in this project are in flight.

        Raises
        ------
        ProjectError
            PST-A001 if no plan of the run is here, PST-A012 if others' plans are in flight.
        """
        from prestow.project.accounting import retire

        return retire(self, plan, run=run, dry_run=dry_run, even_so=even_so, progress=progress)

    def forecast(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        site: str | os.PathLike[str] | None = None,
    ) -> Forecast:
        """Say what a plan will come to, or was to: bytes in and out, files, CPU, time, scratch, each with an interval.

        It is what lies beside the plan; made anew where there is none, or for a site. Nothing is written.

        Parameters
        ----------
        site : path, optional
            A site file: its quotas and workers count.
        """
        from prestow.project.forecasting import forecast_of

        found = self._plan(plan)
        known = forecast_of(found) if site is None else None
        return self._outlook(site).forecast(found) if known is None else known

    def forecast_recorded(
        self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST
    ) -> ForecastRecorded | None:
        """Compare a plan's forecast with what its run recorded; None before it was taken in."""
        found = self._plan(plan)
        return self._outlook().recorded(self.forecast(found), found.directory)

    def _outlook(self, site: str | os.PathLike[str] | None = None) -> Outlook:
        from prestow.project.forecasting import Outlook
        from prestow.project.site_checking import site_of_project

        place = None if site is None else site_of_project(site, self.stores(), output=STORE)
        return Outlook(self.registry, STORE, self.stores(), self.configuration.workers, place)

    def under_way(self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST) -> UnderWay | None:
        """Tell what the newest run of a plan is doing, or did, from any process; None if none was begun."""
        from prestow.engines.journal import under_way

        directory = self._plan(plan).directory
        return None if directory is None else under_way(directory)

    def find(
        self,
        dataset_type: str,
        /,
        where: str = "",
        *,
        runs: Sequence[str] | None = None,
        plan: Plan | str | os.PathLike[str] | None = None,
        first: bool = False,
        only: Only | str = "all",
        limit: int | None = None,
        **data_id: str | int,
    ) -> Found:
        """Find the datasets of a type by part of their data ID, made or planned.

        Parameters
        ----------
        where : str
            A selection over dimensions, their metadata, and metrics: ``seeing < 3``.
        runs : sequence of str, optional
            Only these runs or collections, and the plans of these runs.
        plan : optional
            Whose planned datasets; the newest plan's, if not given.
        first : bool
            Of one data ID made in several of ``runs``, only that of the first.
        only : Only or str
            ``all``, ``made`` or ``planned``.
        limit : int, optional
            No more than so many.
        **data_id
            Values of dimensions, also under their aliases.

        Raises
        ------
        PrestowError
            With everything that is wrong with the question; see `prestow.results.finding.find`.
        """
        from prestow.results.finding import Only, find

        return find(
            self.sources(plan, runs),
            dataset_type,
            where,
            data_id.items(),
            runs=runs,
            first=first,
            only=Only(only),
            limit=limit,
            store=self.store,
        )

    def expand(self, dataset_type: str, /, **partial: str | int) -> Iterator[DataId]:
        """Give every data ID of a type, made or planned, that has these values; lazily, in order."""
        from prestow.results.finding import expand

        yield from expand(self.sources(), dataset_type, partial)

    def identify(
        self, data_id: Mapping[str, object] | Iterable[tuple[str, object]], dataset_type: str | None = None
    ) -> Identified:
        """Give the normal form of what a person typed, and where each value came from."""
        from prestow.results.identifying import identify

        pairs = data_id.items() if isinstance(data_id, Mapping) else data_id
        kind = None if dataset_type is None else self.sources().type_of(dataset_type)
        return identify(pairs, self.universe, self.registry, kind)

    def sources(
        self, plan: Plan | str | os.PathLike[str] | None = None, runs: Sequence[str] | None = None
    ) -> Sources:
        """Give what tells of datasets: the registry, and a plan (the newest), or the plans of some runs."""
        from prestow.results.datasets import Sources, members

        if plan is not None:
            plans = [self._plan(plan)]
        elif runs is not None:
            wanted = members(self.registry, runs)
            paths = plan_files.plan_directories(self.plans_directory)
            plans = [self.find_plan(path.name) for path in paths if plan_files.run_of(path) in wanted]
        else:
            plans = [self.find_plan()] if self.plans() else []
        return Sources(self.universe, self.registry, tuple(plans), STORE, self.stores())

    def recorded(
        self, plan: Plan | str | os.PathLike[str] | None = None, *, run: str | None = None
    ) -> Recorded:
        """Give what is recorded of datasets and quanta; without registry or plan, what is left of it.

        The plan is that one, or the one of ``run``, or the newest if there is one. A registry that
        cannot be used is only less that can be told.
        """
        from prestow.project import handed_over
        from prestow.results.recorded import Recorded

        found = None
        of_run = None if run is None else plan_files.newest_of(self.plans_directory, run)
        if plan is not None:
            found = self._plan(plan)
        elif of_run is not None:
            found = self.find_plan(of_run)
        elif self.plans():
            found = self.find_plan()
        seen = [] if found is None else handed_over.look_at(self, found)
        directory = self.newest_plan_directory()
        newest = None
        if directory is not None:  # most often it is the plan that is open already
            same = found if found is not None and found.id == directory.name else None
            newest = (directory.name, plan_files.run_of(directory) if same is None else same.run)
        registry = None
        with contextlib.suppress(PrestowError):
            registry = self.registry
        recorded = Recorded(
            self.universe,
            registry,
            found,
            self.store,
            name=STORE,
            newest=newest,
        )
        recorded.queue = handed_over.queue_words(seen)
        recorded.submit_again = "" if found is None else handed_over.submit_again(found, recorded.plan_word())
        return recorded

    def trace(
        self, *words: str, down: bool = False, depth: int | None = None, run: str | None = None
    ) -> Trace:
        """Follow a dataset to what it came from, or ``down`` to what it went into.

        Parameters
        ----------
        words : str
            A dataset, as on the command line: a path, an id, ``type{k=v,…}``, or ``type``, ``k=v``, ….
        depth : int, optional
            How many steps; all, if not given.
        run : str, optional
            Of several runs that have it, this one.
        """
        from prestow.results.resolving import find_dataset, known_point
        from prestow.results.tracing import trace

        recorded = self.recorded(run=run)
        return trace(recorded, known_point(find_dataset(recorded, words, run=run)), down=down, depth=depth)

    def why(self, *words: str, run: str | None = None) -> Reason:
        """Say why a job, a dataset or a file is as it is; words as for `trace`, or a job's name."""
        from prestow.results.causes import why

        return why(self.recorded(run=run), words, run=run)

    def taint(
        self,
        *words: str,
        because: str = "",
        run: str | None = None,
        lift: bool = False,
        look: bool = False,
    ) -> Taint:
        """Mark datasets as bad (``lift``: as good again), and give all that was made from them.

        Parameters
        ----------
        words : str
            A dataset, or several by part of a data ID, as on the command line. None, with ``look``: all that is tainted.
        because : str
            Why; it stays on record.
        look : bool
            Change nothing.

        Raises
        ------
        ProjectError
            PST-T020 to PST-T022; PST-G012, PST-G014: see `prestow.project.tainting.taint`.
        """
        from prestow.project.tainting import taint

        return taint(self, words, because, run=run, lift=lift, look=look)

    def spoiled(self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST) -> str:
        """Say which inputs of a plan were tainted since it was made and are still to be read; nothing, most often."""
        from prestow.project.tainting import spoiled

        return spoiled(self, self._plan(plan))

    def look(
        self,
        *words: str,
        run: str | None = None,
        extension: str | None = None,
        rows: int = 20,
        side: int = 1024,
    ) -> Look:
        """Look at a dataset or file: a plane as a picture, the first rows of a table, or a document.

        Parameters
        ----------
        words : str
            A dataset, as on the command line: a path, an id, ``type{k=v,…}``, or ``type``, ``k=v``, ….
        extension : str, optional
            Of a FITS file; ``SCI``, else the first plane, if not given.
        rows, side : int
            Of a table, and pixels of a picture's longer side, at most.

        Raises
        ------
        ProjectError
            PST-G024 if it is not there yet, or cannot be shown; PST-G012 if nothing knows it.
        """
        from prestow.results.looking_by_name import look_at_words

        return look_at_words(
            self.recorded(run=run),
            self._known_stores(),
            words,
            run=run,
            extension=extension,
            rows=rows,
            side=side,
        )

    def contact_sheet(
        self,
        *words: str,
        run: str | None = None,
        keys: Sequence[str] = (),
        extension: str | None = None,
        stretch: str = "common",
        columns: int | None = None,
        size: int = 256,
    ) -> Sheet:
        """Look at several datasets and files side by side: a picture, and a table of their headers.

        Parameters
        ----------
        words : str
            Each a file, an id, or ``type{k=v,…}``, which may be several datasets.
        keys : sequence of str
            Header keywords for the table.
        stretch : str
            ``common``, or ``each``. See `prestow.results.contact_sheet.sheet_of`.

        Raises
        ------
        ProjectError
            PST-G012, PST-G024 if one is not there; PST-T025 if they are too many.
        """
        from prestow.results.looking_by_name import contact_sheet

        return contact_sheet(
            self.recorded(run=run), self._known_stores(), words, run=run, keys=keys, extension=extension,
            stretch=stretch, columns=columns, size=size,
        )  # fmt: skip

    def convert(
        self, *words: str, to: str, into: str | os.PathLike[str], run: str | None = None
    ) -> Converted:
        """Write a dataset or file in another format to a new file, if it can be the same.

        Parameters
        ----------
        words : str
            A dataset, as on the command line: a path, an id, ``type{k=v,…}``, or ``type``, ``k=v``, ….
        to : str
            A format: ``fits`` and ``parquet`` among each other, ``json`` and ``yaml`` among each other.
        into : path
            A new file, or a directory in which it keeps its name.

        Raises
        ------
        ProjectError
            PST-G030 if nothing converts this; PST-G031 if the copy would not be equal; PST-G032 or
            PST-G004 if it cannot stand there.
        """
        from prestow.results.converting import convert_words

        return convert_words(
            self.recorded(run=run), self._known_stores(), words, to=to, into=Path(into), run=run
        )

    def compare(
        self,
        a: str | os.PathLike[str],
        b: str | os.PathLike[str],
        *,
        types: Sequence[str] = (),
        tolerance: float = 0.0,
        atol: float = 0.0,
        keys: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Comparison:
        """Compare two runs, chains, plans, files or directories, dataset by dataset.

        Parameters
        ----------
        types : sequence of str
            Only these dataset types.
        tolerance, atol : float
            A value is close if ``|a - b| <= atol + tolerance * max(|a|, |b|)``.
        keys : sequence of str
            Columns by which rows of tables are matched; by their order, if not given.

        Raises
        ------
        ProjectError
            PST-G021 if the two share nothing, PST-G003 if one of them is not known.
        """
        from prestow.results.comparing import compare
        from prestow.results.numbers import Tolerance
        from prestow.results.sides import choose_sides

        words = [os.fspath(word) for word in (a, b)]
        found = {word: plan_files.meant(self.plans_directory, word) for word in words}
        plans = {word: self.find_plan(path) for word, path in found.items() if path is not None}
        sides = choose_sides(words, self.registry, self.store, plans, store_name=STORE)
        return compare(
            *sides,
            self.stores(),
            types=types,
            tolerance=Tolerance(tolerance, atol),
            keys=keys,
            progress=progress,
        )

    def graph(self, plan: Plan | str | os.PathLike[str] | None = None) -> Graph:
        """Give the graph of tasks and dataset types: of a plan with its counts, or of the pipeline.

        Its ``mermaid()`` and ``dot()`` are to be drawn; a notebook draws it by itself.
        """
        from prestow.results.graph import graph_of, graph_of_plan

        return graph_of(self.load_pipeline()) if plan is None else graph_of_plan(self._plan(plan))

    def removal(self, run: str) -> Removal:
        """Say what removing a run would take away, and what still depends on it; nothing is changed.

        Raises
        ------
        ProjectError
            PST-G003 if there is no such run; PST-G023 if it holds raw data, or is no run.
        """
        from prestow.results.removing import look_at

        return look_at(
            self.registry, self.store, run, self._all_plans(), self._own_chain(run), store_name=STORE
        )

    def remove(
        self, run: str, *, even_so: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Removal:
        """Remove a run for ever: its products, their rows and its plans; receipts stay.

        Killed at any moment, the same call again goes on where it was.

        Parameters
        ----------
        even_so : bool
            Also if something still depends on it.

        Raises
        ------
        ProjectError
            PST-G022 if something depends on it; else as `removal`.
        PrestowError
            PST-R005 if one of its plans is being run.
        """
        from prestow.engines.journal import run_lock
        from prestow.registry.reservations import release_run
        from prestow.results.removing import remove, sweep_plans

        sweep_plans(self.plans_directory)
        plans = self._all_plans()
        with contextlib.ExitStack() as stack:
            for directory, plan in plans.items():
                if plan.run == run:
                    stack.enter_context(run_lock(directory))
            removed = remove(
                self.registry, self.store, run, plans, self._own_chain(run),
                store_name=STORE, even_so=even_so, progress=progress,
            )  # fmt: skip
            release_run(self.store, run)
            return removed

    def _known_stores(self) -> dict[str, str]:
        """Give every store; without a registry the project's own."""
        try:
            return self.stores()
        except PrestowError:
            return {STORE: self.configuration.store}

    def _all_plans(self) -> dict[Path, Plan]:
        from prestow.plan import open_plan

        return {path: open_plan(path) for path in plan_files.plan_directories(self.plans_directory)}

    def _own_chain(self, run: str) -> str:
        from prestow.project import binding

        return binding.Target(run, binding.ancestors(self.registry, run), {}).chain

    def reusable(self, plan: Plan, *, reuse: Sequence[str] = ()) -> pl.DataFrame | None:
        """Give the outputs that are taken from other runs, or None; see `prestow.plan.reuse`.

        Parameters
        ----------
        reuse : sequence of str
            Runs besides the parents (``any``: all), instead of those that were said before.
        """
        from prestow.plan.reuse import Reuse, reusable

        return reusable(plan, self.registry, Reuse(tuple(reuse)) if reuse else None)

    def outputs_made(self, plan: Plan) -> int:
        """Count the outputs of a plan that are made already, by the receipts of its run."""
        from prestow.model import State
        from prestow.plan.settled import read_settled
        from prestow.plan.states import CODES

        settled = read_settled(plan, self.store, registry=self.registry)
        quanta = plan.tables.scan("outputs").select("quantum").collect()["quantum"].to_numpy()
        made = settled.states.codes[quanta] == CODES[State.MADE]
        return int(made.sum()) - len(settled.absent) - settled.lacking.len()
