"""From the words on a command line to the one dataset, file or job that a person means."""

from __future__ import annotations

import difflib
import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.results.embedded import no_story, story_of, told_by
from prestow.results.lineage import Point
from prestow.results.naming_words import Named, parse_dataset
from prestow.stores import Linkable, Store

if TYPE_CHECKING:
    from prestow.formats import Story
    from prestow.results.recorded import Recorded

MOST = 5_000
"""Data IDs that are looked through for one that is near to what was typed."""


@dataclass(frozen=True, slots=True)
class Found:
    """What some words mean.

    Parameters
    ----------
    point : Point or None
        The dataset; None of a file that nothing knows.
    file : Path or None
        The file that was named, if it is there.
    name : str
        Its name in the project's store, if it lies there.
    story : Story or None
        What the file says of itself.
    sha256 : str
        Of its bytes.
    """

    point: Point | None
    file: Path | None = None
    name: str = ""
    story: Story | None = None
    sha256: str = ""


def find_dataset(recorded: Recorded, words: Sequence[str], *, run: str | None = None) -> Found:
    """Give the one dataset, or the file, that is meant.

    Raises
    ------
    ProjectError
        PST-G006 if the words cannot be understood, PST-G012 if nothing knows such a dataset,
        PST-G014 if several are meant.
    """
    named = parse_dataset(words, recorded.universe)
    if named.kind == "path":
        return find_file(recorded, named.path)
    if named.kind == "id":
        point = recorded.points([named.id])[named.id]
        if not point.type:
            quantum = recorded.quantum(named.id)
            if quantum is None:
                raise _unknown(f"no dataset of id {named.id}", named.id, "see: prestow find TYPE")
            point = quantum
        return Found(point)
    return Found(_by_data_id(recorded, named, run))


def known_point(found: Found) -> Point:
    """Give the dataset; of a file that nothing here knows, by what it says of itself.

    Raises
    ------
    ProjectError
        PST-G011 if it says nothing.
    """
    if found.point is not None:
        return found.point
    assert found.file is not None, "what is no dataset is a file"
    if found.story is None:
        raise no_story(found.file)
    return told_by(found.story, found.file).start


def _by_data_id(recorded: Recorded, named: Named, run: str | None) -> Point:
    from prestow.results.datasets import collect

    frame = collect(recorded.sources, named.type, named.data_id, runs=None if run is None else [run])
    frame = frame.select("id", "run", "data_id")
    if frame["data_id"].n_unique() > 1:
        such = ", ".join(f"{named.type}{{{text}}}" for text in _texts(frame.head(3)))
        raise ProjectError(
            Problem(
                "PST-G014",
                f"{frame['data_id'].n_unique():,} datasets are {named}",
                f"such as {such}",
                "give more of the data ID",
            )
        )
    if frame.height > 1:
        mine = frame.filter(pl.col("run") == (recorded.plan.run if recorded.plan is not None else ""))
        if mine.height != 1:
            runs = ", ".join(sorted(frame["run"].to_list()))
            raise ProjectError(
                Problem("PST-G014", f"several runs have {named}", f"runs: {runs}", "say which: --run NAME")
            )
        frame = mine
    if not frame.height:
        read = recorded.existing(named.type, named.data_id)
        if len(read) == 1:
            return read[0]
        near = _near(recorded, named, run)
        fix = f"such as {near}; see: prestow find {named.type}" if near else f"see: prestow find {named.type}"
        raise _unknown(f"no dataset {named}", f"run {run}" if run else "", fix)
    key = str(uuid.UUID(bytes=frame["id"][0]))
    return recorded.points([key])[key]


def _near(recorded: Recorded, named: Named, run: str | None) -> str:
    """Give the datasets of the type whose data IDs look most like the one that was typed."""
    from prestow.results.datasets import collect

    frame = collect(recorded.sources, named.type, runs=None if run is None else [run])
    known = dict.fromkeys(_texts(frame.select("data_id").head(MOST)))
    near = difflib.get_close_matches(str(named.data_id), known, 3, cutoff=0.3)
    return ", ".join(f"{named.type}{{{text}}}" for text in near)


def _texts(frame: pl.DataFrame) -> list[str]:
    from prestow.model import DataId

    return [str(DataId.from_json(text)) for text in frame["data_id"].to_list()]


def _unknown(what: str, where: str, fix: str) -> ProjectError:
    return ProjectError(Problem("PST-G012", what, where, fix))


def find_file(recorded: Recorded, text: str) -> Found:
    """Give what a path means: a name in the store, planned or there, or any file, by its story or digest."""
    path = Path(text)
    name = name_in_store(recorded, path)
    file = path if path.is_file() else None
    if file is None and name == text and recorded.store is not None:
        inside = _local(recorded.store, text)
        file = inside if inside is not None and inside.is_file() else None
    if file is None:
        points = recorded.at(path=name or text)
        if not points:
            raise _unknown(
                "no such file, and no plan or registry knows the name", text, "see: prestow show --files"
            )
        return Found(points[0], name=name)
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    at = recorded.at(path=name) if name else []
    story = _quiet_story(file) if at else story_of(file)
    point = at[0] if at else None
    if point is None and story is not None:
        known = recorded.points([story.id])[story.id]
        point = known if known.type else None
    if point is None:
        same = recorded.at(sha256=sha256)
        point = same[0] if same else None
    return Found(point, file, name, story, sha256)


def _quiet_story(file: Path) -> Story | None:
    try:
        return story_of(file)
    except ProjectError:
        return None  # a raw file may be anything, and of a product its digest tells that it is torn


def name_in_store(recorded: Recorded, path: Path) -> str:
    """Give the name in the project's store that a path means, or an empty text.

    A path that is not there may be a name in the store already.
    """
    top = _local(recorded.store, "x") if recorded.store is not None else None
    if top is not None:
        top = Path(os.path.realpath(top.parent))
        real = os.path.realpath(path)
        if real.startswith(f"{top}/"):
            return real[len(str(top)) + 1 :]
    if path.is_absolute() or ".." in path.parts or path.is_file():
        return ""
    return path.as_posix()


def _local(store: Store, name: str) -> Path | None:
    """Give the path of a name, where the store's files are this machine's."""
    try:
        return store.local_path(name) if isinstance(store, Linkable) else None
    except PrestowError:
        return None


def nearest(recorded: Recorded, text: str) -> str:
    """Give the names of jobs, dataset types, tasks and files that are near to a text, for a hint."""
    known = [*recorded.sources.types()]
    if recorded.plan is not None:
        known += [task.label for task in recorded.plan.definition.tasks]
        known += recorded.plan.tables.scan("jobs").select("name").head(20_000).collect()["name"].to_list()
    near = difflib.get_close_matches(text, dict.fromkeys(known), 3)
    return (
        f"did you mean {', '.join(repr(n) for n in near)}?"
        if near
        else "see: prestow show, prestow find TYPE"
    )
