"""What a project does with inputs that are promised."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from prestow.project.project import Project
    from prestow.results.promising import Promise


def promise(
    project: Project,
    dataset_type: str,
    data_id: Mapping[str, str | int] | None,
    *,
    by: str,
    data_ids: str | os.PathLike[str] | None,
    observed: Sequence[str],
) -> Promise:
    """Record a promise as a person gives it."""
    from prestow.query.data_ids import read_data_ids
    from prestow.results.certifying import moment
    from prestow.results.promising import promise as put_promise

    types = project.load_pipeline().dataset_types
    kind = types.get(dataset_type) or project.registry.known_type(dataset_type)
    if kind is None or kind.template:
        external = ", ".join(name for name, one in types.items() if not one.template)
        what = f"'{dataset_type}' is nothing that the pipeline reads from outside"
        raise ConfigurationError(
            Problem("PST-P055", what, f"promise of {dataset_type}", f"it reads: {external}")
        )
    if bool(data_id) == (data_ids is not None):
        what, fix = "one data ID or a table of them", "write k=v …, or --data-ids FILE"
        raise ConfigurationError(Problem("PST-P055", what, f"promise of {dataset_type}", fix))
    universe = project.universe
    frame = (
        read_data_ids(Path(data_ids), universe).frame
        if data_ids is not None
        else pl.DataFrame({name: [value] for name, value in (data_id or {}).items()})
    )
    times = tuple(moment(text, f"--{word}") for word, text in zip(("begin", "end"), observed, strict=False))
    return put_promise(
        project.store,
        project.registry,
        kind,
        frame,
        moment(by, "--by"),
        observed=(times[0], times[1]) if len(times) == 2 else None,  # noqa: PLR2004 - begin and end
    )
