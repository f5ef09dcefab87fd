"""A site file held against this machine and a plan: what it names, what of that is there, what it lacks."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import ConfigurationError, PrestowError, Problem, raise_all
from prestow.plugins import names
from prestow.site import PEGASUS, Site, landing_because, plan_problems, products_of, read_site, store_problems


@dataclass(frozen=True, slots=True)
class CheckedSite:
    """A site file that is in order.

    Parameters
    ----------
    file, name, engine : str
        Which.
    stores : tuple of (name, URI, state)
        ``seen``, or ``not asked``: it is no directory.
    facts : tuple of str
        What it comes to, in words.
    """

    file: str
    name: str
    engine: str
    stores: tuple[tuple[str, str, str], ...]
    facts: tuple[str, ...]


def site_of_project(path: str | os.PathLike[str], known: Iterable[str], *, output: str) -> Site:
    """Read the site file that a project is to use.

    Parameters
    ----------
    known : iterable of str
        Names of the project's stores.
    output : str
        Name of the output store.

    Raises
    ------
    ConfigurationError
        If the file is wrong, or names stores that the project does not have (PST-C080).
    """
    site = read_site(Path(path))
    raise_all(store_problems(site, known, store=output))
    return site


def tar_problems(site: Site, engine: str) -> list[Problem]:
    """Tell that an engine whose nodes read from stores makes no tars, where a site asks for them."""
    if site.layout != "tar" or engine in names("emitters"):
        return []
    what = f"the engine '{engine}' makes no tars: its jobs read each input from its store"
    fix = "write layout: tree, or flat; tar goes with engine: pegasus, and with prestow stage"
    return [site.problem("PST-C080", ("layout",), what, fix)]


def check_sites(
    paths: Iterable[str], *, output: str, tasks: Iterable[str], stores: Iterable[str] | None = None
) -> tuple[CheckedSite, ...]:
    """Check site files, and which of their stores are there for this machine; all that is wrong is told at once.

    Parameters
    ----------
    output : str
        Name of the output store.
    tasks : iterable of str
        Labels of the pipeline's tasks.
    stores : iterable of str or None
        Names of the project's stores; None where nobody knows them.

    Raises
    ------
    ConfigurationError
        If a file is wrong (PST-C010 to PST-C014), or does not fit the pipeline (PST-C080).
    PrestowError
        If all are right, and stores cannot be reached (PST-C081).
    """
    found, wrong, away = [], list[Problem](), list[Problem]()
    known, own = tuple(tasks), None if stores is None else tuple(stores)
    for path in paths:
        try:
            site = read_site(Path(path))
        except ConfigurationError as error:
            wrong += error.problems
            continue
        strange = [] if own is None else store_problems(site, own, store=output)
        ours = set(site.stores) if own is None else {*own, output}
        wrong += tar_problems(site, site.engine)
        wrong += strange or plan_problems(site, store=output, used=(), tasks=known)
        away += unreachable(site, ours)
        seen = tuple(
            (name, site.stores[name], "seen" if site.stores[name].startswith("file://") else "not asked")
            for name in sorted(site.stores)
        )
        facts = (*_facts(site, output), *(_unknown(site, output) if own is None else ()))
        found.append(CheckedSite(path, site.name, site.engine, seen, facts))
    if wrong:
        raise ConfigurationError(*wrong, *away)
    if away:
        raise PrestowError(*away)
    return tuple(found)


def unreachable(site: Site, known: Container[str]) -> list[Problem]:
    """Give a problem for each store of these that this machine does not reach, as the site says where it is.

    The submit host of a site for Pegasus brings what lies there, or takes in what was committed there; so it
    must see it, too.
    """
    return [problem for name in sorted(site.stores) if name in known for problem in _unreachable(site, name)]


def _unreachable(site: Site, name: str) -> Iterator[Problem]:
    uri = site.stores[name]
    if not uri.startswith("file://"):
        return
    path = uri.removeprefix("file://")
    place = ("stores", name, "uri") if _nested(site, name) else ("stores", name)
    if not os.path.isdir(path):
        what = f"there is no directory {path} on this machine"
        yield site.problem("PST-C081", place, what, "mount it, or correct the URI")
    elif not os.access(path, os.R_OK | os.X_OK):
        yield site.problem(
            "PST-C081", place, f"{path} cannot be read", "ask who owns it for the right to read"
        )


def _nested(site: Site, name: str) -> bool:
    data = site.document.data if site.document is not None else None
    stores = data.get("stores") if isinstance(data, dict) else None
    return isinstance(stores, dict) and isinstance(stores.get(name), dict)


def _facts(site: Site, output: str) -> Iterator[str]:
    yield f"inputs are laid out as {site.layout}"
    settings = site.pegasus
    if settings is None:
        return
    yield {
        "installed": f"the node's prestow is that of {settings.python}",
        "zipapp": f"prestow is brought to each job, and run by {settings.python}",
        "container": f"jobs run in {settings.image}, by {settings.container}",
    }[settings.node]
    yield (
        f"Pegasus moves files by {settings.data}"
        if settings.staging == PEGASUS
        else f"each job fetches its inputs from the stores; Pegasus moves the rest by {settings.data}"
    )
    yield landing_because(site, output) or (
        "products come home to a landing folder"
        if products_of(site, output) == "landing"
        else f"jobs commit products in the store '{output}'"
    )


def _unknown(site: Site, output: str) -> Iterator[str]:
    others = sorted({*site.stores, *site.quotas} - {output})
    if others:
        yield f"whether the project has the stores it names ({', '.join(others)}) is told once there is a registry"
