"""A project: the front door, with what can be done."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.commit import RECEIPTS
from prestow.errors import (
    ConfigurationError,
    PlanRefusedError,
    PrestowError,
    Problem,
    ProjectError,
    raise_all,
)
from prestow.project import plans as plan_files
from prestow.project.archiving import ProjectWithArchive
from prestow.project.opened import STORE
from prestow.stores import Walkable

if TYPE_CHECKING:
    from prestow.engines.pegasus import Emission
    from prestow.engines.progress import Event
    from prestow.engines.running import RunResult
    from prestow.ingest import FilesReport, IngestReport, Level, RawReport, Transfer
    from prestow.ingest.landing import Landed
    from prestow.pipeline.definition import Pipeline
    from prestow.plan import Plan, Request, Sample
    from prestow.plan.promising import Promised
    from prestow.plan.splitting import Components
    from prestow.plan.tainted import Tainted
    from prestow.project.binding import Target
    from prestow.project.fetching import Fetched
    from prestow.project.job_staging import StagedJob
    from prestow.project.regenerating import Regenerated
    from prestow.project.repairing import Repair
    from prestow.project.sandbox import Debugged
    from prestow.project.site_checking import CheckedSite
    from prestow.project.submitting import Submitted
    from prestow.query.data_ids import DataIds
    from prestow.results.promising import Promise


_SCRATCH = "PRESTOW_SCRATCH"  # the node reads it


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked and found good."""

    files: tuple[str, ...]
    tasks: tuple[str, ...]
    dataset_types: tuple[str, ...]
    flat: tuple[str, ...] = ()  # names that a flat layout would not tell apart
    values: tuple[tuple[str, str, object, str], ...] = ()  # task, key, value, and where it is from


class Project(ProjectWithArchive):
    """One project. Whatever it opens stays open until `close`.

    Parameters
    ----------
    configuration : Configuration
        A checked ``prestow.yaml``.
    """

    def check(self, *, overrides: Sequence[str] = (), strict: bool = False) -> Checked:
        """Check every file a person wrote; with ``strict`` also run each pre-flight hook twice, watched.

        Raises
        ------
        ConfigurationError
            With every problem of every file.
        """
        from prestow.instruments import load_instrument
        from prestow.plan.flat_names import flat_doubts

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
        if strict:
            from prestow.project.strict import strict_problems

            raise_all(strict_problems(self.root, pipeline, overrides), ConfigurationError)
        return Checked(
            tuple(files),
            tuple(t.label for t in pipeline.tasks),
            tuple(sorted(pipeline.dataset_types)),
            tuple(doubt.text for doubt in flat_doubts(pipeline, self.universe)),
            tuple(
                (task.label, key, value, task.config_origin.get(key, ""))
                for task in pipeline.tasks
                for key, value in task.config.items()
            ),
        )

    def check_sites(self, files: Sequence[str], tasks: Sequence[str]) -> tuple[CheckedSite, ...]:
        """Check site files for a pipeline of these tasks; see `prestow.project.site_checking.check_sites`."""
        from prestow.project.site_checking import check_sites

        return check_sites(
            files, output=STORE, tasks=tasks, stores=self._stores_if_known() if files else None
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

    def promise(
        self,
        dataset_type: str,
        data_id: Mapping[str, str | int] | None = None,
        *,
        by: str,
        data_ids: str | os.PathLike[str] | None = None,
        observed: Sequence[str] = (),
    ) -> Promise:
        """Promise inputs that are named and not there yet; `plan` takes them with ``promised``.

        Parameters
        ----------
        dataset_type : str
            One that the pipeline reads and does not make, such as ``raw``.
        data_id : mapping, optional
            Of one dataset, with what it implies where nobody knows that yet.
        by : str
            The deadline: an ISO time in TAI, or in UTC with ``Z`` at its end.
        data_ids : path, optional
            A table of many (CSV, ECSV, Parquet), instead of ``data_id``.
        observed : (begin, end), optional
            When they will be observed; by this calibrations are chosen.

        Raises
        ------
        ConfigurationError
            PST-P055 with all that is wrong.
        """
        from prestow.project.promising import promise

        return promise(self, dataset_type, data_id, by=by, data_ids=data_ids, observed=observed)

    def promises(self) -> tuple[Promise, ...]:
        """Give all promises that were made, by deadline."""
        from prestow.results.promising import promises

        return promises(self.store)

    def plan(
        self,
        where: str = "",
        *,
        run: str | None = None,
        overrides: Sequence[str] = (),
        inputs: Sequence[str] = (),
        as_of: str = "",
        child_of: str | None = None,
        sample: int | Sample | None = None,
        site: str | os.PathLike[str] | None = None,
        waive: Sequence[str] = (),
        because: str = "",
        whole: bool = False,
        flat: bool = False,
        exclude: Sequence[tuple[str, str]] = (),
        data_ids: str | os.PathLike[str] | None = None,
        want: Sequence[str] = (),
        part: str = "",
        promised: bool = False,
        reuse: Sequence[str] = (),
        with_tainted: bool = False,
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Plan:
        """Resolve a request to the last name, and freeze it in the project's ``plans/``.

        Parameters
        ----------
        where : str
            A selection over what exists; all, if empty.
        run : str, optional
            Where the outputs go; the pipeline's name, if not given.
        overrides : sequence of str
            Configuration, as ``task.key=value``; of a dataset type ``types.NAME.format=…`` and
            ``types.NAME.template=…``. What `prestow.pipeline.read_config_file` gives goes before.
        inputs : sequence of str
            Collections to search inputs in before the raw runs, such as the run of an earlier plan; and
            calibration collections, ``NAME`` or pinned as ``NAME@LABEL``, instead of all of them.
        as_of : str
            Take only calibrations that were known at that moment; an ISO time in TAI.
        child_of : str, optional
            Make again what was lost in that run, in a child run.
        sample : int or Sample, optional
            Only so many visits, see `prestow.plan.sampling`; or what `sample` chose. Then the run is
            ``<pipeline>.sample<N>``, if not given.
        site : path, optional
            A site file: its quotas and workers count for the forecast, which lies beside the plan.
        waive : sequence of str
            Reasons to leave quanta out that are accepted, ``REASON`` or ``REASON@TASK``, see
            `prestow.plan.waivers`.
        because : str
            Why they are; it stays on record in the plan.
        whole : bool
            Take observations whole, of which a gather would see only the part that is selected.
        flat : bool
            Refuse names whose last parts clash (PST-P030): all files of a job will lie in one directory.
        exclude : sequence of (selection, reason)
            Existing inputs that are not taken; the reason stays on record in the plan.
        data_ids : path, optional
            A table (CSV, ECSV, Parquet): only inputs that agree with one of its rows are taken.
        want : sequence of str
            Outputs that are wanted, ``TYPE``, ``TYPE{k=v,…}`` or ``TYPE{SELECTION}``: these and what they
            need are planned, nothing else. See `prestow.plan.wanting`.
        part : str
            ``K/N``: only the K-th of N parts that share no planned dataset, see `components`.
        promised : bool
            Take inputs that are promised as if they were there, see `promise`. What reads them waits.
        reuse : sequence of str
            Runs to take from besides the parents (``any``: all), when the plan runs; as `run` keeps it.
        with_tainted : bool
            Take inputs that are tainted, or made from such, all the same; see `taint`.
        dry_run : bool
            Only look: nothing is written, and the run is not bound.
        tell : callable, optional
            Told what the planner does now, a word or a few, as it goes.

        Raises
        ------
        PlanRefusedError
            With all problems; then nothing was written.
        """
        from prestow.plan import open_plan, write_plan
        from prestow.plan.forecast import write_forecast
        from prestow.plan.making import sweep
        from prestow.plan.reuse import Reuse, choose_reuse, refuse_unknown
        from prestow.project import binding
        from prestow.project.staging import build_stage
        from prestow.registry.reservations import release

        if isinstance(sample, int):
            sample = self.sample(
                sample, where, overrides=overrides, inputs=inputs, as_of=as_of, child_of=child_of,
                exclude=exclude, data_ids=data_ids,
            )  # fmt: skip
        target, request = self._request(
            where if sample is None else sample.where,
            run=run,
            overrides=overrides,
            inputs=inputs,
            as_of=as_of,
            child_of=child_of,
            sampled=None if sample is None else sample.asked,
            exclude=exclude,
            data_ids=data_ids,
        )
        refuse_unknown(self.registry, reuse)
        binding.refuse_other(target, binding.standing(self.registry, self.store, target.run))
        outlook = self._outlook(site)
        asked = replace(
            request, check=outlook.problems, waive=tuple(waive), waive_because=because, whole=whole, flat=flat,
            want=tuple(want), part=part, promised=self._promised() if promised else None,
            tainted=self._tainted(taken=with_tainted), tell=tell,
        )  # fmt: skip
        beside = None if dry_run else self.plans_directory
        if beside is not None:
            sweep(beside)
        plan = build_stage(asked, self.registry, beside=beside, reusable=self.reusable)
        tell("reserve names")
        if dry_run:
            self._refuse_clashes(plan)
            return plan
        known = plan.id in self.plans()
        reserved = self._reserve(plan)
        try:
            tell("write")
            path = write_plan(plan, self.plans_directory)
            try:
                binding.bind(self.registry, self.store, target)
            except PlanRefusedError:  # somebody bound the run at this very moment
                if not known:
                    shutil.rmtree(path)
                raise
        except BaseException:
            if reserved and not known:
                release(self.store, plan.run, plan.id)
            raise
        tell("forecast")
        binding.register(self.registry, self.store, target)
        if plan.code is not None:
            self.store.put_if_absent(plan.code.path, plan.code.data)
        write_forecast(outlook.forecast(plan), path)
        plan_files.point_to(self.plans_directory, plan.id)
        written = open_plan(path)
        if reuse:
            choose_reuse(written, self.registry, Reuse(tuple(reuse)))
        return written

    def components(
        self,
        where: str = "",
        *,
        run: str | None = None,
        overrides: Sequence[str] = (),
        inputs: Sequence[str] = (),
        as_of: str = "",
        child_of: str | None = None,
        waive: Sequence[str] = (),
        whole: bool = False,
        exclude: Sequence[tuple[str, str]] = (),
        data_ids: str | os.PathLike[str] | None = None,
        want: Sequence[str] = (),
    ) -> Components:
        """Find into what the plan of a request falls that shares no planned dataset; nothing is written."""
        from prestow.plan.components import components_of
        from prestow.project.staging import stage_now

        _, request = self._request(
            where, run=run, overrides=overrides, inputs=inputs, as_of=as_of, child_of=child_of, sampled=None,
            exclude=exclude, data_ids=data_ids,
        )  # fmt: skip
        asked = replace(request, waive=tuple(waive), whole=whole, want=tuple(want))
        return components_of(stage_now(asked, self.registry, reusable=self.reusable), self.registry)

    def sample(
        self,
        count: int,
        where: str = "",
        *,
        overrides: Sequence[str] = (),
        inputs: Sequence[str] = (),
        as_of: str = "",
        child_of: str | None = None,
        exclude: Sequence[tuple[str, str]] = (),
        data_ids: str | os.PathLike[str] | None = None,
    ) -> Sample:
        """Choose some visits of a request for `plan`; nothing is written. See `prestow.plan.sampling`."""
        from prestow.plan import choose_sample

        _, request = self._request(
            where, run=None, overrides=overrides, inputs=inputs, as_of=as_of, child_of=child_of, sampled=count,
            exclude=exclude, data_ids=data_ids,
        )  # fmt: skip
        return choose_sample(request, self.registry, count)

    def request(self, where: str = "", *, overrides: Sequence[str] = ()) -> Request:
        """Give the request that `plan` would make of the whole project; nothing is written."""
        return self._request(
            where, run=None, overrides=overrides, inputs=(), as_of="", child_of=None, sampled=None
        )[1]

    def _request(
        self,
        where: str,
        *,
        run: str | None,
        overrides: Sequence[str],
        inputs: Sequence[str],
        as_of: str,
        child_of: str | None,
        sampled: int | None,
        exclude: Sequence[tuple[str, str]] = (),
        data_ids: str | os.PathLike[str] | None = None,
    ) -> tuple[Target, Request]:
        from prestow.plan import Request
        from prestow.plan.choosing import read_exclusions
        from prestow.project import binding
        from prestow.results.certifying import moment

        pipeline = self.load_pipeline(overrides)
        self._relate_for(pipeline)
        facts = binding.bound_facts(pipeline, overrides)
        if sampled is not None and run is None and child_of is None:
            run = binding.sample_run(self.registry, self.store, f"{pipeline.name}.sample{sampled}", facts)
        target = binding.choose(self.registry, pipeline, facts, run=run, child_of=child_of)
        binding.refuse_removed(self.store, target)
        binding.refuse_ended(self.registry, self.store, target)
        binding.refuse_other_types(self.registry, pipeline)
        collections, calibrations = binding.apart(self.registry, inputs)
        request = Request(
            run=target.run,
            where=where,
            pipeline=pipeline,
            universe=self.universe,
            child_of=next(iter(target.parents), None),
            chain=binding.inputs_searched(self.registry, target, collections),
            calibrations=calibrations,
            as_of=moment(as_of, "--as-of") if as_of else None,
            store=STORE,
            excluded=read_exclusions(exclude),
            origins=frozenset(getattr(one, "origin", "--set") for one in overrides),
            data_ids=None if data_ids is None else self._data_ids(Path(data_ids)),
            tainted=self._tainted(),
        )
        return target, request

    def _tainted(self, *, taken: bool = False) -> Tainted | None:
        from prestow.plan.tainted import read_tainted

        return read_tainted(self.registry.tainting, taken=taken)

    def _promised(self) -> Promised:
        from prestow.results.promising import read_promised

        return read_promised(self.store, self.universe)

    def _data_ids(self, path: Path) -> DataIds:
        from prestow.query.data_ids import read_data_ids

        return read_data_ids(path, self.universe)

    def run(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        engine: str | None = None,
        workers: int | None = None,
        site: str | os.PathLike[str] | None = None,
        only: str | Sequence[str] = (),
        reuse: Sequence[str] = (),
        force: Sequence[str] = (),
        keep: Sequence[str] = (),
        breaker: str | None = None,
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
        reuse, force, keep : sequence of str, optional
            Runs to take from besides the parents (``any``: all); tasks to make again with what
            follows; tasks whose losses stay. What is given holds for the plan until the next time.
        breaker : str, optional
            ``20%``: when one cause failed more than this share of a task's jobs, no more of them begin until
            they are put back (`retry`); ``off``: never. As the site or ``prestow.yaml`` says, if not given.
        on_event : callable, optional
            Called with an `Event` on every change; `prestow.engines.progress.show_progress` gives one.

        What was tainted since the plan was made, and is still to be read, is said in the result's ``notes``.
        """
        from prestow.engines.running import run_plan
        from prestow.plan.reuse import Reuse, choose_reuse
        from prestow.project.breaking import breaker_of, site_of
        from prestow.project.engine_on_demand import EngineOnDemand
        from prestow.project.site_checking import site_of_project, tar_problems
        from prestow.site import Site

        found = self._plan(plan)
        self.registry.frozen.refuse([found.run], "nothing is run into it")
        asked = site if site is not None else site_of(found)
        place = Site("here") if asked is None else site_of_project(asked, self.stores(), output=STORE)
        name = engine or place.engine
        raise_all(tar_problems(place, name), ConfigurationError)
        if reuse or force or keep:
            choose_reuse(found, self.registry, Reuse(tuple(reuse), tuple(force), tuple(keep)))
        self._reserve(found, again=True)
        spoiled = self.spoiled(found)
        options: dict[str, int | str] = {}
        if name != "local":
            options["workers"] = workers or place.workers or self.configuration.workers
        if name == place.engine and place.scheduler:
            options = {"address": place.scheduler}
        with _scratch(place.scratch):
            result = run_plan(
                found,
                engine=EngineOnDemand(name, options),
                stores=self.stores(),
                store=STORE,
                only=only,
                reuse=self.reusable(found),
                registry=self.registry,
                on_event=on_event,
                breaker=breaker_of(breaker, place, self.configuration),
                layout=place.layout,
            )
        return replace(result, notes=(*result.notes, spoiled)) if spoiled else result

    def repair(
        self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST, *, dry_run: bool = False
    ) -> Repair:
        """Plan the request of a plan again in a child run, that makes exactly what the losses touched.

        Raises
        ------
        PlanRefusedError
            PST-E044, PST-E045; see `prestow.project.repairing.repair`.
        """
        from prestow.project.repairing import repair

        return repair(self, self._plan(plan), dry_run=dry_run)

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
        PrestowError
            PST-E078 if inputs have changed.
        """
        from prestow.plugins import load, names
        from prestow.project.site_checking import site_of_project
        from prestow.project.submit_checks import changed_inputs

        if system not in names("emitters"):
            known = f"known: {', '.join(names('emitters'))}; for other engines there is: prestow run --engine"
            raise ProjectError(Problem("PST-E003", f"plans are not written for '{system}'", system, known))
        place = site_of_project(site, self.stores(), output=STORE)
        found = self._plan(plan)
        changed_inputs(self, found)
        with self._reserving(found):
            reuse = self.reusable(found)
            emission: Emission = load("emitters", system)(
                found, place, Path(into), store=STORE, reuse=reuse, receipts=self._packed_receipts(found, reuse),
                home=self.stores(),
            )  # fmt: skip
        return emission

    def submit(
        self,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        site: str | os.PathLike[str],
        again: bool = False,
        cluster: bool = False,
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Submitted:
        """Hand what is left of a plan to Pegasus and HTCondor; what an earlier submission left is taken in first.

        Parameters
        ----------
        site : path
            A site file for Pegasus.
        again : bool
            Also while an earlier submission seems to run still.
        cluster : bool
            Let several short jobs run as one.
        dry_run : bool
            Only say what would be handed over.
        tell : callable
            Told what goes on now.

        Raises
        ------
        PrestowError
            PST-E070 to PST-E072, PST-E076, PST-E079: Pegasus, a store or an earlier submission stands against it;
            PST-E078 if inputs have changed; else as `emit`.
        """
        from prestow.project.submitting import submit

        return submit(
            self, self._plan(plan), site=site, again=again, cluster=cluster, dry_run=dry_run, tell=tell
        )

    def ingest(
        self,
        plan: Plan | str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        level: Level | str = "receipt",
        processes: int | None = None,
        shard: str | None = None,
        reverify: bool = False,
        follow: bool = False,
        until_idle: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        told: Callable[[IngestReport], object] | None = None,
    ) -> IngestReport:
        """Take the outputs of a run in, from receipts and files alone.

        The run is named, or that of a plan (the newest, by default; where there is no plan any
        more, of every run). Nothing of the planner is imported.

        Parameters
        ----------
        plan, run : optional
            Whose outputs.
        level : Level or str
            ``receipt``, ``sample``, ``sample:5%`` or ``full``.
        processes : int, optional
            How many verify; as many as there are processors, where there is enough to do.
        shard : str, optional
            ``I/N``: only this of N parts, I from 0 on.
        reverify : bool
            Look also at what is taken in already.
        follow : bool
            Take in while the jobs run, until all quanta of the plan are settled or its run has ended.
        until_idle : float, optional
            With ``follow``: end after so many seconds without a new receipt, too.
        progress, told : callable, optional
            Told how many receipts of how many are done; with ``follow``, what each look came to.
        """
        from prestow.project.handed_over import cross_check, look_at, plans_handed_over
        from prestow.project.landing import Landings
        from prestow.project.sandbox_marks import refuse_sandbox
        from prestow.project.taking import take, take_while_it_runs

        refuse_sandbox(self.store, self.root)
        if run:
            self._check_run(run)
        runs = [run] if run else self._runs(plan)
        handed_over = plans_handed_over(self, runs)
        for handed in handed_over:
            look_at(self, handed)
        landings = Landings(self, runs)
        landings.look()
        runs = self._thawed(runs)
        if follow:
            directory = None if run else self._plan_directory(plan)
            report = take_while_it_runs(
                self._make_registry(), self.store, runs, directory, level=level, processes=processes, shard=shard,
                until_idle=until_idle, told=told, before=landings.look,
            )  # fmt: skip
        else:
            report = take(
                self._make_registry(), self.store, runs, level=level, processes=processes, shard=shard, reverify=reverify,
                progress=progress,
            )  # fmt: skip
        for name in {held.run for held in self.reserved()} if runs is None else runs:
            self._release_settled(name)
        cross_check(self, handed_over)
        return replace(self._looked_after(report), landed=landings.found)

    def land(
        self,
        plan: Plan | str | os.PathLike[str] | None = None,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> tuple[Landed, ...]:
        """Commit what has landed of a plan's submissions, or of all: the nodes did not see the store.

        `ingest` does it, too, before it takes in. What is settled stays as it is.

        Parameters
        ----------
        plan : optional
            Whose submissions; of all plans, if none is named.
        progress : callable, optional
            Told how many claims of how many of a submission were looked at.

        Returns
        -------
        tuple of Landed
            For each submission of which something had landed, in order.
        """
        from prestow.project.landing import land_all

        directory = None if plan is None else self._plan_directory(plan)
        return land_all(self, None if directory is None else directory.name, progress=progress)

    def _check_run(self, run: str) -> None:
        """Refuse a run that no plan, receipt or registry knows: it is a typing error (PST-G003)."""
        if isinstance(self.store, Walkable) and next(iter(self.store.walk(f"{RECEIPTS}/{run}")), None):
            return
        known = {plan_files.run_of(path) for path in plan_files.plan_directories(self.plans_directory)}
        known |= {name for name, kind in self._make_registry().collections().items() if kind == "run"}
        if run in known:
            return
        near = difflib.get_close_matches(run, known, 1)
        fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
        raise ProjectError(Problem("PST-G003", f"there is no run '{run}'", "--run", fix))

    def _runs(self, plan: Plan | str | os.PathLike[str] | None) -> list[str] | None:
        if plan is not None and not isinstance(plan, str | os.PathLike):
            return [plan.run]
        directory = self._plan_directory(plan)
        return None if directory is None else [plan_files.run_of(directory)]

    def _plan_directory(self, plan: Plan | str | os.PathLike[str] | None) -> Path | None:
        """Give the directory of a plan, of the newest, or None where there is none."""
        if plan is not None and not isinstance(plan, str | os.PathLike):
            return plan.directory
        if plan is None and not self.plans():
            return None
        return plan_files.find_plan_directory(self.plans_directory, os.fspath(plan or plan_files.LATEST))

    def debug(
        self, plan: Plan | str | os.PathLike[str], job: str, *, debugger: bool = False, keep: bool = False
    ) -> Debugged:
        """Run one planned job here, sealed, under a debugger if asked. It commits nothing."""
        from prestow.project.sandbox import debug_job

        return debug_job(
            self._plan(plan), job, self.store, self.stores(), name=STORE, debugger=debugger, keep=keep
        )

    def stage(
        self,
        job: str,
        plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
        *,
        into: str | os.PathLike[str],
        layout: str = "",
        site: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
    ) -> StagedJob:
        """Bring a job's inputs into a directory in which it runs with nothing else, and run nothing.

        Parameters
        ----------
        into : path
            A directory that is empty, or not there.
        layout : str
            ``tree``, ``flat`` or ``tar``; as the site says, if not given.
        site : path, optional
            A site file: its stores are asked before the project's.
        dry_run : bool
            Only look.

        Raises
        ------
        ProjectError
            PST-P002 if inputs are not made yet, PST-N075 if no place has one as it is known, PST-N076 if the
            directory is not fit. Nothing is written then.
        """
        from prestow.project.job_staging import stage_job

        place = None if site is None else Path(site)
        return stage_job(self, self._plan(plan), job, Path(into), layout=layout, site=place, dry=dry_run)

    def fetch(
        self,
        *asked: str | Sequence[str],
        into: str | os.PathLike[str],
        depth: int | None = None,
        link: bool = False,
        dry_run: bool = False,
        run: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Fetched:
        """Bring datasets and their ancestors into a sandbox: a directory that is a project of its own.

        Nothing of this project is written, not even by the registry. The same call again brings only what is
        missing; after a kill it goes on.

        Parameters
        ----------
        asked : str or sequence of str
            Datasets: a path, an id, ``type{k=v,…}``, or the words ``type``, ``k=v``, ….
        into : path
            A directory that is empty, not there, or a sandbox from here.
        depth : int, optional
            How many steps up files are brought; all, if not given. What everything was made from is known anyway.
        link : bool
            Hard links instead of copies, where it is the same disk.
        dry_run : bool
            Only look.
        run : str, optional
            Of several runs that have it, this one.

        Raises
        ------
        ProjectError
            PST-T001 to PST-T003, PST-T006: the directory is not fit.
        StoreError
            PST-R002 if the disk is full.
        """
        from prestow.project.fetching import fetch

        words = [(one,) if isinstance(one, str) else tuple(one) for one in asked]
        with self._to_read() as source:
            return fetch(
                source, words, Path(into), depth=depth, link=link, dry_run=dry_run, run=run, progress=progress
            )

    def regenerate(
        self,
        *asked: str | Sequence[str],
        engine: str = "local",
        workers: int | None = None,
        dry_run: bool = False,
        run: str | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Regenerated:
        """Make again, in this sandbox, what does not exist where it was brought from, and hold it to its record.

        Parameters
        ----------
        asked : str or sequence of str
            Datasets, as for `fetch`; all that is absent there, if none is given.

        Raises
        ------
        ProjectError
            PST-T004 if this is no sandbox, PST-T007 if what is asked for cannot be made again.
        """
        from prestow.project.regenerating import regenerate

        words = [(one,) if isinstance(one, str) else tuple(one) for one in asked]
        return regenerate(
            self, words, engine=engine, workers=workers, dry_run=dry_run, run=run, on_event=on_event
        )

    @contextlib.contextmanager
    def _to_read(self) -> Iterator[Project]:
        """Give this project with a registry that cannot be written."""
        from prestow.registry import Registry

        with type(self)(self.configuration) as source:
            source.registry = Registry.open(self.configuration.registry, self.universe, read_only=True)
            yield source


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
