"""One job's inputs brought into a directory that needs nothing else: its local repository, for whoever runs it.

Inputs are asked for by identity; where their bytes are is looked up, and each place is tried until one gives what is known
by size and digest. The directory is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import read_receipt
from prestow.errors import PrestowError, Problem, ProjectError, raise_all
from prestow.manifest import CARRIED, LAYOUTS, Location, Manifest, ManifestInput, Receipt
from prestow.model import State
from prestow.model.flat import flat_name
from prestow.node.inputs import input_in_words
from prestow.node.repository import MANIFEST
from prestow.node.tars import place_in_tar, write_tar
from prestow.project.opened import STORE
from prestow.project.site_checking import site_of_project
from prestow.site import Site
from prestow.stores import Store, open_store

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project.project import Project

FULL = "PST-R002"

HERE = "."
"""The URI of the one store of a staged job: the directory in which it is run."""


@dataclass(frozen=True, slots=True)
class StagedJob:
    """What was staged for a job.

    Parameters
    ----------
    directory : Path
        Where.
    job, layout : str
        Of what, and how.
    files, size : int
        Inputs, and their bytes.
    absent : tuple of str
        Planned inputs that are rightfully not there, in words.
    notes : tuple of str
        Places that did not give what is known, and what was taken instead.
    dry : bool
        Nothing was written.
    """

    directory: Path
    job: str
    layout: str
    files: int
    size: int
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    dry: bool = False

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "directory": str(self.directory), "job": self.job, "layout": self.layout, "files": self.files,
            "bytes": self.size, "absent": list(self.absent), "notes": list(self.notes), "dry_run": self.dry,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Bytes:
    """An input that has bytes: what they are, and where they may be, by store and name."""

    item: ManifestInput
    size: int
    sha256: str
    places: tuple[tuple[str, str], ...]


def stage_job(
    project: Project, plan: Plan, job: str, into: Path, *, layout: str = "", site: Path | None = None, dry: bool = False
) -> StagedJob:  # fmt: skip
    """Stage a job; see `prestow.project.Project.stage`."""
    place = site_of_project(site, project.stores(), output=STORE) if site is not None else Site("here")
    layout = layout or place.layout
    if layout not in LAYOUTS:
        known = f"known: {', '.join(LAYOUTS)}"
        raise ProjectError(Problem("PST-N074", f"unknown layout '{layout}'", "--layout", known))
    into = Path(os.path.abspath(into))
    _refuse_place(into)
    staging = _Staging(project, _manifest(project, plan, job, layout), place)
    wanted = staging.look()
    size = sum(one.size for one in wanted)
    done = StagedJob(
        into, staging.manifest.job, layout, len(wanted), size, tuple(staging.absent), (), dry=dry
    )
    if dry:
        return done
    into.parent.mkdir(parents=True, exist_ok=True)
    fresh = into.with_name(f".{into.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        fresh.mkdir()
        staging.write(fresh, wanted)
        fresh.rename(into)  # over nothing, or over an empty directory
    except OSError as error:
        what = f"it cannot be written: {error.strerror}"
        raise ProjectError(
            Problem("PST-N076", what, str(into), "make room, or name another directory")
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return replace(done, notes=tuple(staging.notes))


def _refuse_place(into: Path) -> None:
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        what = "it is not empty" if into.is_dir() else "this is no directory"
        fix = "name one that is empty, or not there yet: --into DIR"
        raise ProjectError(Problem("PST-N076", what, str(into), fix))


def _manifest(project: Project, plan: Plan, job: str, layout: str) -> Manifest:
    """Give the manifest of a job; what others are taken from elsewhere is found there, its own quanta are not."""
    from prestow.plan.manifests import manifests

    number = plan.find_job(job)
    reuse = project.reusable(plan)
    if reuse is not None:
        own = plan.tables.scan("quanta").filter(pl.col("job") == number).select("quantum").collect()
        reuse = reuse.filter(~pl.col("quantum").is_in(own["quantum"].implode()))
    return next(manifests(plan, [number], store=STORE, stores=project.stores(), reuse=reuse, layout=layout))


class _Staging:
    """One job being staged."""

    def __init__(self, project: Project, manifest: Manifest, site: Site) -> None:
        self.project = project
        self.manifest = manifest
        self.uris = project.stores()
        self.site = site
        self.receipts: dict[str, Receipt] = {}  # by name
        self.absent: list[str] = []
        self.notes: list[str] = []
        self._opened: dict[str, Store | None] = {}

    def look(self) -> list[_Bytes]:
        """Find what each input is, and where it may be, before anything is written."""
        replicas = self._replicas()
        own = {quantum.id for quantum in self.manifest.quanta}
        found, lacking = [], []
        for item in self.manifest.inputs:
            if item.producer in own:
                continue
            receipt = self._receipt(item)
            if item.sha256 is not None:
                place = self.manifest.locations[item.id]
                places = dict.fromkeys([(place.store, place.path), *replicas.get(item.id, ())])
                found.append(_Bytes(item, item.size or 0, item.sha256, tuple(places)))
            elif receipt is None:
                lacking.append(item)
            elif (output := next((o for o in receipt.outputs if o.id == item.id), None)) is None or (
                receipt.state != State.MADE or output.sha256 is None
            ):
                self.absent.append(input_in_words(item))
            else:
                names = [n for n in (output.path, output.aside) if n is not None]
                places = dict.fromkeys([*((STORE, n) for n in names), *replicas.get(item.id, ())])
                found.append(_Bytes(item, output.size or 0, output.sha256, tuple(places)))
        raise_all(self._not_made(lacking), ProjectError)
        return found

    def write(self, directory: Path, wanted: list[_Bytes]) -> None:
        """Bring the files, and write the manifest that finds them there."""
        problems = [p for one in wanted for p in self._bring(one, directory / one.item.local)]
        code = self.manifest.code
        if code is not None:
            problems += self._bring_code(directory / code.path)
        raise_all(problems, ProjectError)
        locations = {one.item.id: Location(CARRIED, one.item.local) for one in wanted}
        if self.manifest.layout == "tar" and wanted:
            tar = f"tars/{flat_name(self.manifest.job)}.tar"
            (directory / "tars").mkdir()
            write_tar(directory / tar, [(one.item.local, directory / one.item.local) for one in wanted])
            shutil.rmtree(directory / "inputs")
            locations = {one.item.id: Location(CARRIED, place_in_tar(tar, one.item.local)) for one in wanted}
        for name, receipt in self.receipts.items():
            _write(directory / name, receipt.to_json())
        for item in self.manifest.outputs:
            (directory / item.local).parent.mkdir(parents=True, exist_ok=True)
        staged = replace(
            self.manifest, store=CARRIED, stores={CARRIED: HERE}, locations=locations,
            code=None if code is None else replace(code, store=CARRIED),
        )  # fmt: skip
        _write(directory / MANIFEST, staged.to_json())

    def _replicas(self) -> dict[str, list[tuple[str, str]]]:
        """Give all places of inputs that the registry knows."""
        import uuid

        found: dict[str, list[tuple[str, str]]] = {}
        ids = [uuid.UUID(item.id).bytes for item in self.manifest.inputs]
        for row in self.project.registry.following.places(ids).to_pylist():  # of one job
            found.setdefault(str(uuid.UUID(bytes=row["id"])), []).append((row["store"], row["path"]))
        return found

    def _receipt(self, item: ManifestInput) -> Receipt | None:
        if item.receipt is None:
            return None
        place = self.manifest.locations.get(item.id)
        for name in dict.fromkeys([place.store if place is not None else STORE, STORE]):
            for store in self._stores(name):
                receipt = read_receipt(store, item.receipt)
                if receipt is not None:
                    self.receipts[item.receipt] = receipt
                    return receipt
        return None

    def _not_made(self, items: list[ManifestInput]) -> Iterator[Problem]:
        by_task: dict[str, list[ManifestInput]] = {}
        for item in items:
            by_task.setdefault(str(item.receipt).split("/")[2], []).append(item)
        for task, lacking in by_task.items():
            what = f"{len(lacking)} of its inputs are not made yet, first {input_in_words(lacking[0])}"
            yield Problem(
                "PST-P002", what, f"job {self.manifest.job}", f"make them first: prestow run --only {task}"
            )

    def _stores(self, name: str) -> Iterator[Store]:
        """Give a store as the site sees it, then as the project does."""
        for uri in dict.fromkeys([self.site.stores.get(name), self.uris.get(name)]):
            if uri is None:
                continue
            if uri not in self._opened:
                try:
                    self._opened[uri] = open_store(uri)
                except PrestowError as error:
                    self._opened[uri] = None
                    self.notes.append(f"{uri}: {error.problems[0].what}")
            store = self._opened[uri]
            if store is not None:
                yield store

    def _bring(self, one: _Bytes, target: Path) -> list[Problem]:
        """Bring an input from the first place that has it as it is known."""
        target.parent.mkdir(parents=True, exist_ok=True)
        told: list[str] = []
        for store_name, name in one.places:
            for store in self._stores(store_name):
                what = _fetch(store, name, target, one.size, one.sha256)
                if not what:
                    self.notes += [f"{line}; it was taken from {store.uri}: {name}" for line in told]
                    return []
                told.append(f"{store.uri}: {name} {what}")
        fix = "restore it from elsewhere, or see: prestow fsck"
        return [Problem("PST-N075", "; ".join(told) or "no store has it", input_in_words(one.item), fix)]

    def _bring_code(self, target: Path) -> list[Problem]:
        code = self.manifest.code
        assert code is not None
        target.parent.mkdir(parents=True, exist_ok=True)
        told: list[str] = []
        for store in self._stores(code.store):
            what = _fetch(store, code.path, target, code.size, code.sha256)
            if not what:
                return []
            told.append(f"{store.uri}: {code.path} {what}")
        return [Problem("PST-N075", "; ".join(told), "the workflow's code", "submit the plan again")]


def _fetch(store: Store, name: str, target: Path, size: int, sha256: str) -> str:
    """Bring one file and verify it; say what is wrong with it, if anything is."""
    try:
        got = store.fetch(name, target)
    except PrestowError as error:
        target.unlink(missing_ok=True)
        if error.problems[0].code == FULL:
            raise
        return f"cannot be had: {error.problems[0].what}"
    if got == (size, sha256):
        target.chmod(0o444)
        return ""
    target.unlink()
    return f"has {got[0]} bytes with sha256 {got[1][:12]}…, not {size} with {sha256[:12]}…"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
