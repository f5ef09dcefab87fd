"""From the words on a command line to a look at the file that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.results.contact_sheet import MOST, Sheet, Tile, sheet_of, tile_of
from prestow.results.finding import Only, find
from prestow.results.looking import Look, look
from prestow.results.naming_words import parse_dataset
from prestow.results.places import file_of
from prestow.results.resolving import find_dataset
from prestow.results.sides import format_of

if TYPE_CHECKING:
    from prestow.results.lineage import Point
    from prestow.results.recorded import Recorded


def look_at_words(
    recorded: Recorded,
    stores: Mapping[str, str],
    words: Sequence[str],
    *,
    run: str | None,
    extension: str | None,
    rows: int,
    side: int,
) -> Look:
    """Look at what some words mean; see `prestow.results.looking.look`.

    Raises
    ------
    ProjectError
        PST-G024 if its file is not there, or of no format that can be shown.
    """
    found = find_dataset(recorded, words, run=run)
    point = found.point
    title = str(found.file) if point is None else f"{point} of run {point.run}"
    if found.file is not None:
        kind = format_of(found.file) or (point.format if point is not None else "")
        if not kind:
            what = "what format this is cannot be told from its name"
            raise ProjectError(Problem("PST-G024", what, str(found.file), "see: prestow formats"))
        return look(found.file, kind, title, extension=extension, rows=rows, side=side)
    assert point is not None, "what is no file is a dataset"
    with file_of(point, stores, words, title=title, code="PST-G024") as path:
        return look(path, point.format, title, extension=extension, rows=rows, side=side)


def contact_sheet(
    recorded: Recorded,
    stores: Mapping[str, str],
    words: Sequence[str],
    *,
    run: str | None = None,
    keys: Sequence[str] = (),
    extension: str | None = None,
    stretch: str = "common",
    columns: int | None = None,
    size: int = 256,
) -> Sheet:
    """Show the datasets and files that some words mean side by side; each word is one, or several by part of a data ID.

    Raises
    ------
    ProjectError
        PST-G012, PST-G024 if one is not there; PST-T025 if they are too many.
    """
    found = [point for word in _apart(words) for point in _meant(recorded, word, run)]
    if len(found) > MOST:
        return sheet_of((Tile(label, "other") for label, *_ in found))
    tiles = []
    for label, file, point in found:
        if file is not None:
            kind = format_of(file) or (point.format if point is not None else "")
            tiles.append(
                tile_of(file, kind, label, keys=keys, extension=extension, size=size)
                if kind
                else Tile(label, "other", "its name says no format")
            )
            continue
        assert point is not None, "what is no file is a dataset"
        with file_of(point, stores, [label], title=label, code="PST-G024") as path:
            tiles.append(tile_of(path, point.format, label, keys=keys, extension=extension, size=size))
    return sheet_of(tiles, keys=keys, stretch=stretch, columns=columns, size=size)


def _apart(words: Sequence[str]) -> list[list[str]]:
    """Give what each tile or group of tiles is named by: a word, or a dataset type and the words ``k=v`` after it."""
    apart: list[list[str]] = []
    for word in words:
        pair = "=" in word and "{" not in word and not Path(word).exists()
        if pair and apart:
            apart[-1].append(word)
        else:
            apart.append([word])
    return apart


def _meant(
    recorded: Recorded, words: Sequence[str], run: str | None
) -> list[tuple[str, Path | None, Point | None]]:
    named = parse_dataset(words, recorded.universe)
    if named.kind != "dataset":
        one = find_dataset(recorded, words, run=run)
        return [(str(one.point or one.file), one.file, one.point)]
    runs = None if run is None else [run]
    found = find(recorded.sources, named.type, "", named.data_id.items(), runs=runs, only=Only.MADE)
    if not found.total and runs is not None:  # raw data, say, which are in a run of their own
        found = find(recorded.sources, named.type, "", named.data_id.items(), only=Only.MADE)
    if not found.total:
        what = f"no dataset {named} is taken in"
        raise ProjectError(
            Problem("PST-G012", what, "; ".join(found.notes), f"see: prestow find {named.type}")
        )
    points = recorded.points(found.frame["id"].to_list())
    several = found.frame["run"].n_unique() > 1
    listed = [points[key] for key in found.frame["id"].to_list()]
    return [(f"{point}{f' run {point.run}' if several else ''}", None, point) for point in listed]
