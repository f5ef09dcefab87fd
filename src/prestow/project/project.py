"""A project: what `prestow.yaml` names, opened when it is needed, and what can be done with it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prestow.errors import (
    ConfigurationError,
    PlanRefusedError,
    PrestowError,
    Problem,
    ProjectError,
    raise_all,
)
from prestow.project import plans as plan_files
from prestow.project.configuration import Configuration, find_root, read_configuration

if TYPE_CHECKING:
    import polars as pl

    from prestow.engines.journal import UnderWay
    from prestow.engines.pegasus import Emission
    from prestow.engines.progress import Event
    from prestow.engines.running import RunResult
    from prestow.ingest import FilesReport, IngestReport, Level, RawReport, Transfer
    from prestow.instruments import Instrument
    from prestow.model import DataId
    from prestow.model.universe import Universe
    from prestow.pipeline.definition import Pipeline
    from prestow.plan import Plan, Request, Sample
    from prestow.project.binding import Target
    from prestow.project.sandbox import Debugged
    from prestow.registry import Registry
    from prestow.results.causes import Reason
    from prestow.results.comparing import Comparison
    from prestow.results.datasets import Sources
    from prestow.results.finding import Found, Only
    from prestow.results.graph import Graph
    from prestow.results.identifying import Identified
    from prestow.results.looking import Look
    from prestow.results.recorded import Recorded
    from prestow.results.removing import Removal
    from prestow.results.status import Status
    from prestow.results.tracing import Trace
    from prestow.stores import Store

_SCRATCH = "PRESTOW_SCRATCH"  # the node reads it

STORE = "archive"
"""Name, in the registry and in plans, of the one store that raw frames and products go to."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked and found good."""

    files: tuple[str, ...]
    tasks: tuple[str, ...]
    dataset_types: tuple[str, ...]


class Project:
    """One project. Whatever it opens stays open until `close`.

    Parameters
    ----------
    configuration : Configuration
        A checked ``prestow.yaml``.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.root = configuration.root

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Self:
        """Open the project at, or above, a directory.

        Raises
        ------
        ProjectError
            PST-G001 if there is none.
        ConfigurationError
            With every problem of its ``prestow.yaml``.
        """
        return cls(read_configuration(find_root(Path(path))))

    def close(self) -> None:
        """Close the registry; twice is fine."""
        if "registry" in self.__dict__:
            self.registry.close()
            del self.registry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it names -----------------------------------------------------------------------

    @cached_property
    def universe(self) -> Universe:
        """The dimensions."""
        from prestow.naming.universe import load_universe

        return load_universe(self.configuration.universe)

    @cached_property
    def registry(self) -> Registry:
        """The registry; PST-G002 if there is none yet."""
        return self._open_registry(create=False)

    @cached_property
    def store(self) -> Store:
        """The store that raw frames and products go to."""
        from prestow.stores import open_store

        return open_store(self.configuration.store)

    def stores(self) -> dict[str, str]:
        """Give the URI of every store, by name."""
        known = {name: uri for name, (uri, _) in self.registry.stores().items()}
        return {**known, STORE: self.configuration.store}

    def load_pipeline(self, overrides: Sequence[str] = ()) -> Pipeline:
        """Load and check the pipeline, with ``task.key=value`` on top of its configuration."""
        from prestow.pipeline import load_pipeline
        from prestow.query import check_selection

        path = _as_typed(self.configuration.pipeline)
        return load_pipeline(path, self.universe, overrides=overrides, check_where=check_selection)

    def instrument(self, name: str) -> Instrument:
        """Give an instrument: one of the project's own files, or one that prestow ships."""
        from prestow.instruments import load_instrument

        own = {path.stem: path for path in self.configuration.instruments}
        return load_instrument(own.get(name, name))

    def _open_registry(self, *, create: bool) -> Registry:
        from prestow.registry import Registry

        registry = Registry.open(self.configuration.registry, self.universe, create=create)
        known = registry.stores().get(STORE)
        if known is not None and known[0] != self.configuration.store:
            registry.move_store(
                STORE, self.configuration.store
            )  # the project was moved, and its store with it
        return registry

    def _make_registry(self) -> Registry:
        if "registry" not in self.__dict__:
            self.registry = self._open_registry(create=True)
        return self.registry

    # --- what can be done --------------------------------------------------------------------

    def check(self, *, overrides: Sequence[str] = ()) -> Checked:
        """Check every file a person wrote.

        Raises
        ------
        ConfigurationError
            With every problem of every file.
        """
        from prestow.instruments import load_instrument

        problems: list[Problem] = []
        files = ["prestow.yaml"]
        pipeline: Pipeline | None = None
        try:
            universe_good = bool(self.universe.dimensions)
            if self.configuration.universe:
                files.append(self._shown(self.configuration.universe))
        except PrestowError as error:
            universe_good = False
            problems += error.problems
        if universe_good:  # without dimensions everything else would be wrong too
            try:
                pipeline = self.load_pipeline(overrides)
                files.append(self._shown(self.configuration.pipeline))
            except PrestowError as error:
                problems += error.problems
            for path in self.configuration.instruments:
                try:
                    load_instrument(path)
                    files.append(self._shown(path))
                except PrestowError as error:
                    problems += error.problems
        raise_all(problems, ConfigurationError)
        assert pipeline is not None
        return Checked(
            tuple(files), tuple(t.label for t in pipeline.tasks), tuple(sorted(pipeline.dataset_types))
        )

    def ingest_raw(
        self,
        files: Iterable[str | os.PathLike[str]],
        instrument: str,
        *,
        transfer: Transfer | str = "copy",
        skip_bad: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> RawReport:
        """Take raw files in by their headers; what is there already is left as it is.

        A directory stands for all FITS files below it. With ``skip_bad`` the good files are taken,
        and the report names the others; else one bad file refuses all.
        """
        from prestow.ingest import Transfer, ingest_raw

        rules = self.instrument(instrument)
        return ingest_raw(
            files,
            rules,
            self._make_registry(),
            self.store,
            transfer=Transfer(transfer),
            skip_bad=skip_bad,
            store_name=STORE,
            progress=progress,
        )

    def ingest_files(
        self,
        files: Sequence[str | os.PathLike[str]],
        dataset_type: str,
        data_id: Mapping[str, object] | None = None,
        *,
        format: str | None = None,  # noqa: A002 - the word for it everywhere
        transfer: Transfer | str = "copy",
    ) -> FilesReport:
        """Take in a file that nothing here made, such as a reference catalogue, as a dataset.

        Parameters
        ----------
        files : sequence of path
            One; several only if their bytes are the same.
        dataset_type : str
            Its dimensions are those of the data ID.
        data_id : mapping, optional
            As a person types it: aliases and text are fine. Empty is legal: one dataset for all.
        format : str, optional
            By the file's name, if not given.
        transfer : Transfer or str
            ``copy``, ``link`` or ``in-place``.

        Raises
        ------
        ConfigurationError
            With everything that is wrong with the data ID.
        ProjectError
            PST-I008, PST-C035: the file cannot be taken in as this dataset type.
        IngestError
            PST-I004, PST-I005, PST-I009: damaged, unreadable, or there with other bytes.
        """
        from prestow.ingest import Transfer, ingest_files
        from prestow.model.universe import RawDataId

        given = RawDataId(dict(data_id or {}))
        normal = self.universe.normalise(given, self.universe.close(self.universe.normalise(given)))
        declared = []
        with contextlib.suppress(PrestowError):  # a pipeline in the making is checked when it is planned
            declared = list(self.load_pipeline().dataset_types.values())
        return ingest_files(
            files,
            dataset_type,
            normal,
            self._make_registry(),
            self.store,
            format_name=format,
            declared=declared,
            transfer=Transfer(transfer),
            store_name=STORE,
        )

    def plan(
        self,
        where: str = "",
        *,
        run: str | None = None,
        overrides: Sequence[str] = (),
        inputs: Sequence[str] = (),
        child_of: str | None = None,
        sample: int | Sample | None = None,
        dry_run: bool = False,
    ) -> Plan:
        """Resolve a request to the last name, and freeze it in the project's ``plans/``.

        Parameters
        ----------
        where : str
            A selection over what exists; all, if empty.
        run : str, optional
            Where the outputs go; the pipeline's name, if not given.
        overrides : sequence of str
            Configuration, as ``task.key=value``.
        inputs : sequence of str
            Collections to search inputs in before the raw runs, such as the run of an earlier plan.
        child_of : str, optional
            Make again what was lost in that run, in a child run.
        sample : int or Sample, optional
            Only so many visits, see `prestow.plan.sampling`; or what `sample` chose. Then the run is
            ``<pipeline>.sample<N>``, if not given.
        dry_run : bool
            Only look: nothing is written, and the run is not bound.

        Raises
        ------
        PlanRefusedError
            With all problems; then nothing was written.
        """
        from prestow.plan import build_plan, open_plan, write_plan
        from prestow.project import binding

        if isinstance(sample, int):
            sample = self.sample(sample, where, overrides=overrides, inputs=inputs, child_of=child_of)
        target, request = self._request(
            where if sample is None else sample.where,
            run=run,
            overrides=overrides,
            inputs=inputs,
            child_of=child_of,
            sampled=None if sample is None else sample.asked,
        )
        binding.refuse_other(target, binding.standing(self.registry, self.store, target.run))
        plan = build_plan(request, self.registry)
        if dry_run:
            return plan
        known = plan.id in self.plans()
        path = write_plan(plan, self.plans_directory)
        try:
            binding.bind(self.registry, self.store, target)
        except PlanRefusedError:  # somebody bound the run at this very moment
            if not known:
                shutil.rmtree(path)
            raise
        binding.register(self.registry, self.store, target)
        if plan.code is not None:
            self.store.put_if_absent(plan.code.path, plan.code.data)
        plan_files.point_to(self.plans_directory, plan.id)
        return open_plan(path)

    def sample(
        self,
        count: int,
        where: str = "",
        *,
        overrides: Sequence[str] = (),
        inputs: Sequence[str] = (),
        child_of: str | None = None,
    ) -> Sample:
        """Choose some visits of a request for `plan`; nothing is written. See `prestow.plan.sampling`."""
        from prestow.plan import choose_sample

        _, request = self._request(
            where, run=None, overrides=overrides, inputs=inputs, child_of=child_of, sampled=count
        )
        return choose_sample(request, self.registry, count)

    def _request(
        self,
        where: str,
        *,
        run: str | None,
        overrides: Sequence[str],
        inputs: Sequence[str],
        child_of: str | None,
        sampled: int | None,
    ) -> tuple[Target, Request]:
        from prestow.plan import Request
        from prestow.project import binding

        pipeline = self.load_pipeline(overrides)
        facts = binding.bound_facts(pipeline, overrides)
        if sampled is not None and run is None and child_of is None:
            run = binding.sample_run(self.registry, self.store, f"{pipeline.name}.sample{sampled}", facts)
        target = binding.choose(self.registry, pipeline, facts, run=run, child_of=child_of)
        binding.refuse_removed(self.store, target)
        binding.refuse_other_types(self.registry, pipeline)
        request = Request(
            run=target.run,
            where=where,
            pipeline=pipeline,
            universe=self.universe,
            child_of=next(iter(target.parents), None),
            chain=binding.inputs_searched(self.registry, target, inputs),
            store=STORE,
        )
        return target, request

    def run(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        engine: str | None = None,
        workers: int | None = None,
        site: str | os.PathLike[str] | None = None,
        only: str | Sequence[str] = (),
        on_event: Callable[[Event], None] | None = None,
    ) -> RunResult:
        """Run what is left of a plan; again goes on where it was.

        Parameters
        ----------
        engine : str, optional
            ``dask`` (the default), or ``local``: in this process, in order.
        workers : int, optional
            Processes; as the site says, else as ``prestow.yaml`` says, if not given.
        site : path, optional
            A site file: engine, workers or scheduler, scratch.
        only : str or sequence of str, optional
            Tasks: their quanta and what they need, no more.
        on_event : callable, optional
            Called with an `Event` on every change; `prestow.engines.progress.show_progress` gives one.
        """
        from prestow.engines.running import run_plan
        from prestow.project.engine_on_demand import EngineOnDemand
        from prestow.site import Site, read_site

        found = self._plan(plan)
        place = Site("here") if site is None else read_site(Path(site))
        name = engine or place.engine
        options: dict[str, int | str] = {}
        if name != "local":
            options["workers"] = workers or place.workers or self.configuration.workers
        if name == place.engine and place.scheduler:
            options = {"address": place.scheduler}
        with _scratch(place.scratch):
            return run_plan(
                found,
                engine=EngineOnDemand(name, options),
                stores=self.stores(),
                store=STORE,
                only=only,
                reuse=self.reusable(found),
                on_event=on_event,
            )

    def emit(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        system: str = "pegasus",
        *,
        site: str | os.PathLike[str],
        into: str | os.PathLike[str],
    ) -> Emission:
        """Write a plan for another system into a directory that is empty, or not there yet.

        Parameters
        ----------
        system : str
            ``pegasus``.
        site : path
            A site file for that system.
        into : path
            The directory; if it holds the very same already, nothing is changed.

        Raises
        ------
        ProjectError
            PST-E001 to PST-E003: directory, site file or system are not fit.
        PlanRefusedError
            PST-E004 to PST-E009: the system could not do it. Nothing is written then.
        """
        from prestow.plugins import load, names
        from prestow.site import read_site

        if system not in names("emitters"):
            known = f"known: {', '.join(names('emitters'))}; for other engines there is: prestow run --engine"
            raise ProjectError(Problem("PST-E003", f"plans are not written for '{system}'", system, known))
        place = read_site(Path(site))
        found = self._plan(plan)
        emission: Emission = load("emitters", system)(
            found, place, Path(into), store=STORE, reuse=self.reusable(found)
        )
        return emission

    def ingest(
        self,
        plan: Plan | str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        level: Level | str = "receipt",
        progress: Callable[[int, int], None] | None = None,
    ) -> IngestReport:
        """Take the outputs of a run in, from receipts and files alone.

        The run is named, or that of a plan (the newest, by default; where there is no plan any
        more, of every run). Nothing of the planner is imported.
        """
        from prestow.ingest import Level, ingest_outputs

        runs = [run] if run else self._runs(plan)
        return ingest_outputs(
            self._make_registry(),
            self.store,
            runs=runs,
            level=Level(level),
            store_name=STORE,
            progress=progress,
        )

    def _runs(self, plan: Plan | str | os.PathLike[str] | None) -> list[str] | None:
        if plan is None:
            plan = plan_files.LATEST if self.plans() else None
        if plan is None:
            return None
        if isinstance(plan, str | os.PathLike):
            return [plan_files.run_of(plan_files.find_plan_directory(self.plans_directory, os.fspath(plan)))]
        return [plan.run]

    def status(self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST) -> Status:
        """Give the state of every quantum of a plan, counted by task; they sum to the plan."""
        from prestow.results.status import status

        found = self._plan(plan)
        return status(found, self.store, reuse=self.reusable(found))

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

    def recorded(self, plan: Plan | str | os.PathLike[str] | None = None) -> Recorded:
        """Give what is recorded of datasets and quanta; without registry or plan, what is left of it.

        The plan is that one, or the newest if there is one. A registry that cannot be used is only
        less that can be told.
        """
        from prestow.results.recorded import Recorded

        found = None
        if plan is not None:
            found = self._plan(plan)
        elif self.plans():
            found = self.find_plan()
        registry = None
        with contextlib.suppress(PrestowError):
            registry = self.registry
        return Recorded(self.universe, registry, found, self.store, name=STORE)

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

        recorded = self.recorded()
        return trace(recorded, known_point(find_dataset(recorded, words, run=run)), down=down, depth=depth)

    def why(self, *words: str, run: str | None = None) -> Reason:
        """Say why a job, a dataset or a file is as it is; words as for `trace`, or a job's name."""
        from prestow.results.causes import why

        return why(self.recorded(), words, run=run)

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
            self.recorded(), self.stores(), words, run=run, extension=extension, rows=rows, side=side
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
            *sides, self.stores(), types=types, tolerance=Tolerance(tolerance, atol), keys=keys, progress=progress
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

        return look_at(self.registry, self.store, run, self._all_plans(), self._own_chain(run), store_name=STORE)

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
        from prestow.results.removing import remove, sweep_plans

        sweep_plans(self.plans_directory)
        plans = self._all_plans()
        with contextlib.ExitStack() as stack:
            for directory, plan in plans.items():
                if plan.run == run:
                    stack.enter_context(run_lock(directory))
            return remove(
                self.registry, self.store, run, plans, self._own_chain(run),
                store_name=STORE, even_so=even_so, progress=progress,
            )  # fmt: skip

    def _all_plans(self) -> dict[Path, Plan]:
        from prestow.plan import open_plan

        return {path: open_plan(path) for path in plan_files.plan_directories(self.plans_directory)}

    def _own_chain(self, run: str) -> str:
        from prestow.project import binding

        return binding.Target(run, binding.ancestors(self.registry, run), {}).chain

    def debug(
        self, plan: Plan | str | os.PathLike[str], job: str, *, debugger: bool = False, keep: bool = False
    ) -> Debugged:
        """Run one planned job here, sealed, under a debugger if asked. It commits nothing."""
        from prestow.project.sandbox import debug_job

        return debug_job(
            self._plan(plan), job, self.store, self.stores(), name=STORE, debugger=debugger, keep=keep
        )

    def reusable(self, plan: Plan) -> pl.DataFrame | None:
        """Give the outputs that are taken from a parent run, or None; see `prestow.plan.reuse`."""
        from prestow.plan.reuse import reusable

        return reusable(plan, self.registry)

    def outputs_made(self, plan: Plan) -> int:
        """Count the outputs of a plan that are made already, by the receipts of its run."""
        from prestow.plan.settled import read_settled

        settled = read_settled(plan, self.store)
        made = {row for row, state in settled.states.items() if state == "made"}
        per_quantum = plan.tables["outputs"]["quantum"].to_list() if made else []
        return sum(quantum in made for quantum in per_quantum) - len(settled.absent)

    # --- plans -------------------------------------------------------------------------------

    @property
    def plans_directory(self) -> Path:
        """Where the plans are."""
        return self.root / "plans"

    def plans(self) -> tuple[str, ...]:
        """Give the ids of all plans, sorted."""
        return tuple(path.name for path in plan_files.plan_directories(self.plans_directory))

    def plans_like(self, text: str) -> tuple[Path, ...]:
        """Give the directories of the plans that a text may mean; none is fine."""
        return plan_files.matching(self.plans_directory, text)

    def plan_directory(self, text: str = plan_files.LATEST) -> Path:
        """Give the directory of a plan without opening it."""
        return plan_files.find_plan_directory(self.plans_directory, text)

    def find_plan(self, text: str | os.PathLike[str] = plan_files.LATEST) -> Plan:
        """Open the plan of that id, beginning of an id, or path; the newest by default."""
        from prestow.plan import open_plan

        return open_plan(plan_files.find_plan_directory(self.plans_directory, os.fspath(text)))

    def _plan(self, plan: Plan | str | os.PathLike[str]) -> Plan:
        return self.find_plan(plan) if isinstance(plan, str | os.PathLike) else plan

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


@contextlib.contextmanager
def _scratch(directory: Path | None) -> Iterator[None]:
    """Say to nodes that are started meanwhile where their local repositories belong."""
    before = os.environ.get(_SCRATCH)
    if directory is not None:
        os.environ[_SCRATCH] = str(directory)
    try:
        yield
    finally:
        if directory is not None:
            os.environ.pop(_SCRATCH)
            if before is not None:
                os.environ[_SCRATCH] = before


def _as_typed(path: Path) -> Path:
    """Give a path as a person here would write it: errors point at it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
