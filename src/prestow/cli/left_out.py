"""What a plan leaves out, as a table: by task and by cause."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from prestow.cli.output import table
from prestow.model import DataId

if TYPE_CHECKING:
    from prestow.plan.summary import LeftOutRow, Summary


def left_out_lines(numbers: Summary) -> list[str]:
    """Give the lines of the table, or none if nothing is left out."""
    return left_out_table(numbers.left_out_rows)


def left_out_table(rows: tuple[LeftOutRow, ...]) -> list[str]:
    """Give a line for each task and cause: how many, the first of them, what is said of it."""
    if not rows:
        return []
    lines = [
        (
            row.task,
            f"{row.reason} (waived)" if row.waived else row.reason,
            f"{row.quanta:,}",
            f"{DataId(json.loads(row.first))}: {row.detail}" if row.first else "",
        )
        for row in rows
    ]
    return [table(("left out of", "because", "quanta", "first"), lines, indent="    ", words=4)]
