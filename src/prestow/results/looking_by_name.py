"""From the words on a command line to a look at the file that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.results.looking import Look, look
from prestow.results.places import file_of
from prestow.results.resolving import find_dataset
from prestow.results.sides import format_of

if TYPE_CHECKING:
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
