"""The workflow of workflows: an entry for each part, and which part waits for which.

Pegasus plans a part when what it waits for has ended, somewhere below its own submit directory. So what a part is planned
with is named by absolute paths; they stand in this document and its catalogue alone. A file that crosses from one part
to another is named in the catalogue of the one that reads it, at the place where it lies by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.engines.pegasus.cutting import between
from prestow.engines.pegasus.readme import planner_words

if TYPE_CHECKING:
    from typing import Any

    from prestow.site import Site

PARTS = "parts"


def part_name(part: int) -> str:
    """Give the logical name of the workflow of a part."""
    return f"{part}/workflow.yml"


def part_id(part: int) -> str:
    """Give the id of the job that is a part."""
    return f"part-{part}"


def part_entries(site: Site, into: Path, count: int, output: str | None) -> Iterator[dict[str, Any]]:
    """Give the entries of all parts; ``into`` is where the emission will be."""
    for part in range(count):
        own = into / PARTS / str(part)
        catalogues = (
            ("replica", own / "replicas.yml"),
            ("site", into / "sites.yml"),
            ("transformation", into / "transformations.yml"),
        )
        words = [f"-Dpegasus.catalog.{kind}.file={path}" for kind, path in catalogues]
        absolute = {
            "pegasus.properties": str(into / "pegasus.properties"),
            "inputs": str(into / "inputs"),
            "leaf": "none",
        }
        words += [absolute.get(word, word) for word in planner_words(site, output)]
        name = part_name(part)
        yield {
            "type": "pegasusWorkflow",
            "file": name,
            "id": part_id(part),
            "nodeLabel": part_id(part),
            "arguments": words,
            "uses": [{"lfn": name, "forPlanning": True, "type": "input"}],
        }


def part_replicas(into: Path, count: int) -> Iterator[dict[str, Any]]:
    """Give where the workflows of all parts are."""
    for part in sorted(range(count), key=part_name):
        url = (into / PARTS / part_name(part)).as_uri()
        yield {"lfn": part_name(part), "pfns": [{"site": "local", "pfn": url}]}


def part_edges(edges: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """Give which part waits for which: ``parent`` and ``child``."""
    return between(edges, part)
