"""A dataset and its ancestors brought into a directory that is a project of its own: a sandbox.

The source is opened for reading alone. What is brought is verified by its digest; a second call brings only
what is missing, and one after a kill goes on.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import code_name, deleted_name
from prestow.errors import PrestowError, Problem, ProjectError, StoreError
from prestow.plan.document import pipeline_digest
from prestow.project import plans as plan_files
from prestow.project.configuration import FILE
from prestow.project.opened import STORE
from prestow.project.pipeline_file import pipeline_text
from prestow.project.recipes_of_runs import recipes_of
from prestow.project.sandbox_marks import KIND, mark_of
from prestow.project.sandbox_plans import write_plans
from prestow.project.sandbox_rows import fill_registry, records_for
from prestow.project.sandboxes import (
    Sandbox,
    place_of,
    read_sandbox,
    sandbox_lock,
    write_sandbox,
    write_text,
)
from prestow.registry.records import put_record, record_name
from prestow.results.ancestry import Ancestry, KnownDataset, ancestry_of
from prestow.results.fetching import Absent, Reach, quanta_at_hand, reach
from prestow.stores import TEMPORARY, Linkable, Store, open_store

if TYPE_CHECKING:
    from prestow.project.project import Project
    from prestow.results.recorded import Recorded

STORE_DIRECTORY = "store"
SPARE = 16 << 20
"""Bytes that stay free for what is written beside the files."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What fetching came to.

    Parameters
    ----------
    into : Path
        The sandbox.
    asked : tuple of KnownDataset
        What was asked for.
    files, size : int
        What belongs into it, as far as it exists, and the bytes.
    brought, brought_size : int
        What of it was brought now, or would be.
    absent : tuple of Absent
        What does not exist, or came with other bytes.
    reach : Reach
        All that was looked at.
    notes : tuple of str
        What a person ought to know besides.
    dry : bool
        Nothing was written.
    """

    into: Path
    asked: tuple[KnownDataset, ...]
    files: int
    size: int
    brought: int
    brought_size: int
    absent: tuple[Absent, ...]
    reach: Reach
    notes: tuple[str, ...] = ()
    dry: bool = False

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "into": str(self.into), "dry_run": self.dry, "asked": [str(one) for one in self.asked],
            "files": self.files, "bytes": self.size, "brought": self.brought, "brought_bytes": self.brought_size,
            "names": [place_of(one) for one in self.reach.files],
            "absent": [one.as_dict() for one in self.absent], "regenerate": self.reach.whole.as_dict(),
            "notes": list(self.notes),
        }  # fmt: skip


def fetch(
    project: Project,
    asked: Sequence[Sequence[str]],
    into: Path,
    *,
    depth: int | None = None,
    link: bool = False,
    dry_run: bool = False,
    run: str | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Bring datasets and their ancestors into a sandbox; see `prestow.project.Project.fetch`."""
    from prestow.results.resolving import find_dataset, known_point

    into = Path(os.path.abspath(into))
    refuse_place(project, into)
    standing = read_sandbox(into)
    _refuse_other(project, into, standing)
    recorded = project.recorded(run=run)
    own = read_sandbox(project.root, project.store)
    if own is not None:  # it has receipts of what was not brought into it
        recorded.go_by({q.name: q.receipt for q in own.ancestry.quanta.values() if q.receipt})
    starts = [known_point(find_dataset(recorded, words, run=run)) for words in asked]
    starts = list({point.id: point for point in starts}.values())
    recipes = recipes_of(project, {point.run for point in starts})
    by_plans = _by_plans(project, recorded)
    known: Ancestry | None = None
    while known is None or not {q.run for q in known.quanta.values()} <= recipes.keys():
        if known is not None:
            recipes |= recipes_of(project, {q.run for q in known.quanta.values()} - recipes.keys())
        pipelines = {run: one.pipeline for run, one in recipes.items() if one.pipeline is not None}
        known = ancestry_of(recorded, starts, pipelines, by_plans)
    stores = _stores(project, known)
    stopped = {run: one.why for run, one in recipes.items() if one.pipeline is None}
    found = reach(known, stores, project.store, pipelines, stopped, depth=depth)
    target = open_store(f"file://{into / STORE_DIRECTORY}")
    wanted = [one for one in found.files if not _is_here(target, one)]
    bytes_ = sum(one.size or 0 for one in wanted)
    notes = list(recorded.notes)
    if dry_run:
        return Fetched(
            into, _asked(found, starts), len(found.files), found.size, len(wanted), bytes_, found.absent, found,
            tuple(notes), dry=True,
        )  # fmt: skip
    if not link:
        refuse_full(into, bytes_)
    with sandbox_lock(into), _full(into):
        sandbox = _begin(project, into, standing, recipes, known, found, target, notes)
        sandbox.records = _joined_records(sandbox, records_for(project.registry, project.universe, known))
        write_sandbox(into, sandbox)
        changed = tuple(_bring(found.files, stores, target, link=link, progress=progress))
        here = _present(sandbox.ancestry, target)
        at_hand = quanta_at_hand(sandbox.ancestry, here)
        _settle(sandbox, at_hand, here, target)
        with _registry(into, project) as registry:
            fill_registry(registry, project, sandbox, at_hand, here, target.uri)
            notes += write_plans(into, sandbox, project.universe, _newest(sandbox, starts))
    absent = (*found.absent, *(Absent(one, why) for one, why in changed))
    return Fetched(
        into, _asked(found, starts), len(found.files), found.size, len(wanted) - len(changed), bytes_, absent, found,
        tuple(notes),
    )  # fmt: skip


# --- what stands against it --------------------------------------------------------------------


def refuse_place(project: Project, into: Path) -> None:
    """Refuse a directory inside the store, or one that holds something else.

    Raises
    ------
    ProjectError
        PST-T001, PST-T002.
    """
    real = Path(os.path.realpath(into))
    if isinstance(project.store, Linkable):
        top = Path(os.path.realpath(project.store.local_path("x"))).parent
        if real == top or top in real.parents:
            what = "a sandbox does not belong into the store that it is brought from"
            raise ProjectError(
                Problem("PST-T001", what, str(into), "choose a directory elsewhere: --into DIR")
            )
    if real == Path(os.path.realpath(project.root)):
        what = "this is the project that would be fetched from"
        raise ProjectError(Problem("PST-T001", what, str(into), "choose a directory of its own: --into DIR"))
    if into.exists() and not into.is_dir():
        raise ProjectError(
            Problem("PST-T002", "this is no directory", str(into), "choose another: --into DIR")
        )
    ours = {"sandbox", STORE_DIRECTORY}
    if into.is_dir() and not (into / "sandbox/sandbox.json").exists():
        others = sorted(path.name for path in into.iterdir() if path.name not in ours)
        if others or (into / STORE_DIRECTORY).exists():
            what = f"the directory is not empty, and no sandbox: {', '.join(others[:5] or [STORE_DIRECTORY])}"
            raise ProjectError(
                Problem("PST-T002", what, str(into), "choose an empty one, or one that is not there")
            )


def _refuse_other(project: Project, into: Path, standing: Sandbox | None) -> None:
    if standing is not None and standing.source["store"] != project.configuration.store:
        what = f"this sandbox was brought from {standing.source['project']}"
        raise ProjectError(Problem("PST-T003", what, str(into), "fetch into another directory"))


def refuse_full(into: Path, size: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises
    ------
    StoreError
        PST-R002.
    """
    place = into
    while not place.exists():
        place = place.parent
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if size + SPARE > free:
        what = f"{size:,} bytes are to be brought, and {free:,} are free there"
        fix = "make room, give a smaller --depth, or --link where it is the same disk"
        raise StoreError(Problem("PST-R002", what, str(into), fix))


@contextlib.contextmanager
def _full(into: Path) -> Any:
    """Tell a disk that became full meanwhile."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fix = "make room, then the same command again: it goes on where it was"
        raise StoreError(Problem("PST-R002", "the disk is full", str(into), fix)) from error


# --- the sandbox itself ----------------------------------------------------------------------------


def _asked(found: Reach, starts: Iterable[Any]) -> tuple[KnownDataset, ...]:
    return tuple(found.ancestry.datasets[point.id] for point in starts)


def _newest(sandbox: Sandbox, starts: Sequence[Any]) -> str:
    """Give the run whose plan is meant where none is said: that of what was asked for."""
    runs = [point.run for point in starts if point.run in sandbox.runs]
    return runs[0] if runs else ""


def _by_plans(project: Project, recorded: Recorded) -> Callable[[str], Sequence[Recorded]]:
    """Give what is recorded by each plan of a run but the one that is open already; each is opened once."""
    from prestow.results.recorded import Recorded

    @functools.cache
    def of(run: str) -> tuple[Recorded, ...]:
        found = []
        for path in plan_files.plan_directories(project.plans_directory):
            with contextlib.suppress(PrestowError):
                if plan_files.run_of(path) == run and (
                    recorded.plan is None or recorded.plan.id != path.name
                ):
                    plan = project.find_plan(path.name)
                    found.append(
                        Recorded(project.universe, project.registry, plan, project.store, name=STORE)
                    )
        return tuple(found)

    return of


def _stores(project: Project, known: Ancestry) -> dict[str, Store]:
    uris = project.stores()
    found: dict[str, Store] = {}
    for name in {one.store for one in known.datasets.values()} & uris.keys():
        with contextlib.suppress(PrestowError):
            found[name] = open_store(uris[name])
    return found | {STORE: project.store}


def _begin(
    project: Project,
    into: Path,
    standing: Sandbox | None,
    recipes: dict[str, Any],
    known: Ancestry,
    found: Reach,
    target: Store,
    notes: list[str],
) -> Sandbox:
    """Write what makes a directory a project, and give what it says of itself."""
    marks = mark_of(target)
    key = standing.id if standing is not None else marks[0] if marks else uuid.uuid4().hex
    source = {"project": str(project.root), "store": project.configuration.store}
    sandbox = standing or Sandbox(key, source)
    sandbox.ancestry.join(known)
    sandbox.runs |= recipes
    sandbox.spent |= found.spent
    gone = {one.dataset.id: one.why for one in found.absent if not one.rightful}
    sandbox.gone = {k: why for k, why in (sandbox.gone | gone).items() if k not in found.present}
    roots = [one for one in known.datasets.values() if not one.quantum and one.id not in found.present]
    fetched = {one.id for one in found.files}
    sandbox.hindered = {
        **sandbox.hindered,
        **{one.id: f"{one} is gone" for one in roots},
        **{
            key: f"{known.datasets[key]} exists, and was not brought: fetch with a greater --depth"
            for key in found.present - fetched
        },
    }
    for one in found.files:
        sandbox.hindered.pop(one.id, None)
    put_record(target, KIND, key, {"sandbox": key, **source})
    for recipe in recipes.values():
        code = recipe.pipeline.code if recipe.pipeline is not None else None
        if code is not None:
            target.put_if_absent(code_name(code.sha256), code.data)
        if recipe.facts:
            put_record(target, "bound", recipe.run, recipe.facts)
        put_record(target, "run", recipe.run, {"run": recipe.run})
        for parent in recipe.parents[:1]:
            put_record(target, "child-of", recipe.run, {"child": recipe.run, "parent": parent})
    if not (into / FILE).exists():
        notes += _write_project(project, into, recipes, known)
    return sandbox


def _write_project(project: Project, into: Path, recipes: dict[str, Any], known: Ancestry) -> list[str]:
    """Write ``prestow.yaml``, pipeline and code; the first of them last, so that a half one is none."""
    notes = []
    run = known.datasets[known.asked[0]].run if known.asked else ""
    recipe = recipes.get(run)
    pipeline = None if recipe is None else recipe.pipeline
    named = next((one for one in recipes.values() if one.pipeline is not None), None)
    if pipeline is None and named is not None:
        recipe, pipeline = named, named.pipeline
    bases: tuple[str, ...] = ()
    if pipeline is not None and pipeline.code is not None:
        with zipfile.ZipFile(io.BytesIO(pipeline.code.data)) as archive:
            archive.extractall(into)
            bases = tuple(sorted({name.partition("/")[0] for name in archive.namelist()}))
    universe = project.configuration.universe
    if universe is not None:
        shutil.copyfile(universe, into / "universe.yaml")
    instruments = [f"instruments/{path.name}" for path in project.configuration.instruments]
    for path in project.configuration.instruments:
        (into / "instruments").mkdir(exist_ok=True)
        shutil.copyfile(path, into / "instruments" / path.name)
    if pipeline is not None:
        head = f"As run {recipe.run} was made, every value in it." if recipe is not None else ""
        write_text(into / "pipeline.yaml", pipeline_text(pipeline, bases, head))
        wrong = _reads_back(into, project, pipeline)
        original = project.configuration.pipeline
        if wrong and original.is_file():
            written = (into / "pipeline.yaml").read_text(encoding="utf-8")
            write_text(into / "pipeline.yaml", original.read_text(encoding="utf-8"))
            if _reads_back(into, project, pipeline):
                write_text(into / "pipeline.yaml", written)
                notes.append(
                    f"pipeline.yaml is not to the letter what run {recipe.run if recipe else ''} is bound to: {wrong}"
                )
    else:
        notes.append("no pipeline is to be had any more: plan and regenerate have nothing to go by")
    lines = [
        "schema: prestow.project/1",
        f"# a sandbox: {', '.join(str(known.datasets[key]) for key in known.asked[:3])} and what it goes back to",
        "registry: sqlite:///registry.db",
        f"store: {STORE_DIRECTORY}",
        "pipeline: pipeline.yaml",
        *(["universe: universe.yaml"] if universe is not None else []),
        *([f"instruments: [{', '.join(instruments)}]"] if instruments else []),
        f"workers: {project.configuration.workers}",
    ]
    write_text(into / FILE, "\n".join(lines) + "\n")
    return notes


def _reads_back(into: Path, project: Project, pipeline: Any) -> str:
    """Say why the file is not the pipeline that is on record; an empty text if it is."""
    from prestow.pipeline import load_pipeline

    try:
        found = load_pipeline(into / "pipeline.yaml", project.universe)
    except PrestowError as error:
        return error.problems[0].what
    return "" if pipeline_digest(found) == pipeline_digest(pipeline) else "its digest is another"


def _joined_records(
    sandbox: Sandbox, fresh: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    joined = dict(sandbox.records)
    for element, rows in fresh.items():
        there = joined.get(element, [])
        joined[element] = [*there, *(row for row in rows if row not in there)] if there else rows
    return joined


# --- files -------------------------------------------------------------------------------------------


def _is_here(target: Store, one: KnownDataset) -> bool:
    name = place_of(one)
    if one.size is None or target.size(name) != one.size:
        return False
    return target.digest(name) == (one.size, one.sha256)


def _present(known: Ancestry, target: Store) -> set[str]:
    return {
        key for key, one in known.datasets.items()
        if one.path and one.size is not None and one.state in ("root", "made", "deleted")
        and target.size(place_of(one)) == one.size
    }  # fmt: skip


def _bring(
    files: Sequence[KnownDataset],
    stores: dict[str, Store],
    target: Store,
    *,
    link: bool,
    progress: Progress | None,
) -> Iterable[tuple[KnownDataset, str]]:
    """Bring what is not here; give what has other bytes than were committed."""
    assert isinstance(target, Linkable), "a sandbox is a directory"
    top = target.local_path("x").parent
    for path in top.rglob(f"{TEMPORARY}*") if top.is_dir() else ():
        path.unlink(missing_ok=True)  # of a call that was killed
    for done, one in enumerate(files):
        if progress is not None:
            progress(done, len(files))
        if _is_here(target, one):
            continue
        path = target.local_path(place_of(one))
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{TEMPORARY}fetch-{os.getpid()}")
        try:
            found = _take(stores[one.store], one.path, fresh, link=link)
            if found != (one.size, one.sha256):
                yield one, f"the bytes at {one.store}:{one.path} are not those that were committed"
                continue
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    if progress is not None:
        progress(len(files), len(files))


def _take(source: Store, name: str, fresh: Path, *, link: bool) -> tuple[int, str] | None:
    if link and isinstance(source, Linkable):
        try:
            os.link(source.local_path(name), fresh)
            return source.digest(name)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
    return source.fetch(name, fresh)


def _settle(sandbox: Sandbox, at_hand: Collection[str], here: Collection[str], target: Store) -> None:
    """Put the receipts of what is here, and say of their other outputs that they are not."""
    known = sandbox.ancestry
    for key in at_hand:
        quantum = known.quanta[key]
        target.put_if_absent(quantum.name, quantum.receipt.encode())
        for output in quantum.outputs:
            one = known.datasets.get(output)
            if one is None or one.state not in ("made", "deleted"):
                continue
            if output in here:
                target.delete(record_name("deleted", output))
            elif target.size(deleted_name(output)) is None:
                put_record(target, "deleted", output, {"dataset": output, "because": "not in this sandbox"})


@contextlib.contextmanager
def _registry(into: Path, project: Project) -> Any:
    from prestow.registry import Registry

    with Registry.open(f"sqlite:///{into / 'registry.db'}", project.universe, create=True) as registry:
        yield registry
