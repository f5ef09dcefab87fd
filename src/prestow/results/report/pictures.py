"""Quick-look pictures of what a run made in the end, small enough to stand in the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import PrestowError
from prestow.model import DataId
from prestow.results.report.facts import Picture
from prestow.results.report.html import text

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.stores import Store

SIDE = 192
ROOM = 350_000
"""Bytes of all pictures together, at most."""

SHOWABLE = ("fits", "png")


def take(plan: Plan, store: Store, wanted: int) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Give pictures of products that nothing of the plan reads any more, spread evenly; and what could not be shown."""
    from prestow.results.looking import look
    from prestow.stores.local import local_file

    read = {c.type for task in plan.definition.tasks for c in task.inputs}
    made = {c.type for task in plan.definition.tasks for c in task.outputs}
    types = [t for t in made - read if plan.definition.dataset_types[t].format in SHOWABLE]
    types = types or [t for t in made if plan.definition.dataset_types[t].format in SHOWABLE]
    rows = plan.tables.scan("datasets").filter(pl.col("planned") & pl.col("type").is_in(types))
    frame = rows.select("type", "data_id", "path", "format").sort("type", "path").collect()
    there = [row for row in frame.iter_rows(named=True) if store.size(row["path"]) is not None] if frame.height <= 10 * wanted else []  # fmt: skip
    if not there:
        step = max(frame.height // max(3 * wanted, 1), 1)
        there = [row for row in frame[::step].iter_rows(named=True) if store.size(row["path"]) is not None]
    step = max(len(there) // wanted, 1)
    found, notes, size = [], [], 0
    for row in there[::step][:wanted]:
        title = f"{row['type']} {DataId.from_json(row['data_id'])}"
        try:
            with local_file(store, row["path"]) as path:
                seen = look(path, row["format"], title, side=SIDE)
        except PrestowError as error:
            notes.append(f"no picture of {title}: {error.problems[0].what}")
            continue
        if seen.png and size + len(seen.png) <= ROOM:
            size += len(seen.png)
            found.append(Picture(title, seen.notes, seen.png))
        elif seen.png:
            notes.append(f"no room for a picture of {title}")
    if not found and not notes:
        notes.append("no pictures: nothing made that can be shown as one")
    return tuple(found), tuple(notes)


def shown(pictures: Sequence[Picture]) -> str:
    """Give pictures as HTML, their bytes in it."""
    figures = [
        f'<figure><img alt="{text(one.title)}" src="data:image/png;base64,{base64.b64encode(one.png).decode()}">'
        f"<figcaption>{text(one.title)}<br>{text('; '.join(one.notes[:2]))}</figcaption></figure>"
        for one in pictures
    ]
    return f'<div class="pictures">{"".join(figures)}</div>'
