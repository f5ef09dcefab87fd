"""All catalogues of a type, found in a project and put into one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.project.afterwards import ProjectWithResults
from prestow.stores import open_store

if TYPE_CHECKING:
    from prestow.results.source_table_sinks import Written


def write_tables(
    project: ProjectWithResults,
    dataset_type: str,
    into: str,
    *,
    collection: str,
    columns: Sequence[str],
    where: str,
    partition: str,
    form: str,
    progress: Callable[[int, int], None] | None,
) -> Written:
    """Find the catalogues and write them; see `Project.tables`."""
    from prestow.results.source_table_sinks import FORMATS, write_database, write_files
    from prestow.results.source_tables import catalogues

    runs = [collection] if collection else None
    found = project.find(dataset_type, where, runs=runs, first=bool(collection), only="made")
    stores = {name: open_store(uri) for name, uri in project.stores().items()}
    whole = catalogues(found.frame, found.type.dimensions, stores, columns)
    if "://" in into:
        if partition or form:
            what = "a database has one table of all, without format"
            raise ProjectError(Problem("PST-G005", what, "--into", "leave out --partition and --format"))
        return write_database(whole, into, progress)
    suffix = Path(into).suffix.removeprefix(".")
    chosen = form or (suffix if suffix in FORMATS and not partition else "parquet")
    if not partition and not suffix:
        what = "a directory is for --partition, and a file has a suffix"
        raise ProjectError(
            Problem("PST-G005", what, "--into", f"--into {into}.parquet, or --partition tract")
        )
    return write_files(whole, Path(into), chosen, partition, progress)
