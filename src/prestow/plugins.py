"""The one table of plug-ins, as strings: what exists, where it is, and what to install for it.

Owns the names of engines, formats and stores, built in and from entry points. Serves whoever opens
one. Never imports a plug-in before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from prestow.errors import ConfigurationError, Problem

TABLE: dict[str, dict[str, str]] = {
    "formats": {
        "fits": "prestow.formats.fits:FITS",
        "json": "prestow.formats.json:JSON",
        "parquet": "prestow.formats.parquet:Parquet",
        "png": "prestow.formats.png:PNG",
        "yaml": "prestow.formats.yaml:YAML",
    },
    "stores": {
        "file": "prestow.stores.file:FileStore",
        "memory": "prestow.stores.memory:MemoryStore",
    },
    "engines": {
        "dask": "prestow.engines.dask:DaskEngine",
        "local": "prestow.engines.local:LocalEngine",
    },
    "emitters": {
        "pegasus": "prestow.engines.pegasus:emit",
    },
}
"""Group -> name -> ``module:attribute``. Groups are also entry points, ``prestow.<group>``."""


def names(group: str) -> tuple[str, ...]:
    """Give all names of a group, built in first, then those of entry points."""
    return (*TABLE[group], *(n for n in _entry_points(group) if n not in TABLE[group]))


def load(group: str, name: str) -> Any:
    """Give the plug-in of that name.

    Raises
    ------
    ConfigurationError
        If there is none; it lists what there is.
    """
    module, _, attribute = target(group, name).partition(":")
    return getattr(importlib.import_module(module), attribute)


def target(group: str, name: str) -> str:
    """Give ``module:attribute`` of the plug-in of that name, without importing it.

    Raises
    ------
    ConfigurationError
        If there is none; it lists what there is.
    """
    found = TABLE[group].get(name) or _entry_points(group).get(name)
    if found is None:
        code = "PST-C024" if group == "formats" else "PST-C013"
        raise ConfigurationError(
            Problem(code, f"unknown {group[:-1]} '{name}'", fix=f"known: {', '.join(names(group))}")
        )
    return found


def _entry_points(group: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=f"prestow.{group}")}
