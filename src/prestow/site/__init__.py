"""Sites: where jobs run, from a YAML file.

Owns the site file. Serves the project, which opens the engine it names. Never starts anything.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prestow.documents import Document, Key, read_document
from prestow.errors import Problem, raise_all
from prestow.plugins import names
from prestow.site.pegasus import (
    DATA_CONFIGURATIONS,
    PEGASUS,
    PegasusSettings,
    pegasus_problems,
    style_of,
    throttle_problems,
    uri_problem,
)

__all__ = (
    "DATA_CONFIGURATIONS",
    "LAYOUTS",
    "PEGASUS",
    "SCHEMA",
    "SHARES",
    "PegasusSettings",
    "Quota",
    "Site",
    "breaker_problems",
    "landing_because",
    "plan_problems",
    "products_of",
    "read_site",
    "share_of",
    "store_problems",
    "style_of",
)

SCHEMA = "prestow.site/1"

LAYOUTS = ("tree", "flat", "tar")
"""How inputs are laid out for a job: paths as in the store, one directory, or one archive for each job."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][0-9]+)?) *([kKMGTP]?i?B)?")
_UNITS = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quota:
    """What a store may hold in all, as far as somebody limits it: bytes, and files (inodes)."""

    bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where jobs run.

    Parameters
    ----------
    name : str
        What people call it.
    engine : str
        A name of the table of engines, or of that of emitters.
    workers : int or None
        Processes to start; as ``prestow.yaml`` says, if None.
    scheduler : str or None
        Address of a Dask scheduler that runs already, ``tcp://host:port``: its workers are used.
    scratch : Path or None
        Where local repositories are made on a node; the node's own default, if None.
    stores : mapping of name to URI
        Where nodes see stores, for engines that are handed files.
    pegasus : PegasusSettings or None
        For the engine of that name.
    quotas : mapping of name to Quota
        What stores may hold, where the site says.
    breaker : float or None
        Which share of a task's jobs may fail of one cause before no more begin; 1 is never.
    layout : str
        One of `LAYOUTS`.
    document : Document or None
        The file that says so, for errors that point at it.
    """

    name: str
    engine: str = "dask"
    workers: int | None = None
    scheduler: str | None = None
    scratch: Path | None = None
    stores: Mapping[str, str] = field(default_factory=dict)
    pegasus: PegasusSettings | None = None
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    breaker: float | None = None
    layout: str = "tree"
    document: Document | None = field(default=None, compare=False, repr=False)

    def problem(self, code: str, path: Key, what: str, fix: str = "", *, at_key: bool = False) -> Problem:
        """Make a problem that points at a value (or its key) of the site file, if it is of one."""
        if self.document is not None:
            return self.document.problem(code, path, what, fix, at_key=at_key)
        return Problem(
            code, f"{'.'.join(map(str, path))}: {what}" if path else what, f"site {self.name}", fix
        )


def products_of(site: Site, store: str = "archive") -> str:
    """Tell where jobs of a site leave products: ``store``, or ``landing``.

    Parameters
    ----------
    store : str
        Name of the output store.

    Examples
    --------
    >>> settings = PegasusSettings("/env/bin/python", "/work")
    >>> products_of(Site("pool", "pegasus", pegasus=settings))
    'landing'
    >>> products_of(Site("pool", "pegasus", stores={"archive": "file:///s"}, pegasus=settings))
    'store'
    """
    said = site.pegasus.products if site.pegasus is not None else None
    return said or ("store" if store in site.stores else "landing")


def landing_because(site: Site, store: str = "archive") -> str | None:
    """Say why products land, where nobody said that they should; None where they do not, or somebody did.

    Examples
    --------
    >>> settings = PegasusSettings("/env/bin/python", "/work")
    >>> landing_because(Site("pool", "pegasus", pegasus=settings))
    "products come home to a landing folder, since the site file names no output store ('archive') that nodes see"
    >>> landing_because(Site("pool", "pegasus", stores={"archive": "file:///s"}, pegasus=settings))
    """
    if site.pegasus is None or site.pegasus.products is not None or store in site.stores:
        return None
    return f"products come home to a landing folder, since the site file names no output store ('{store}') that nodes see"


def store_problems(site: Site, known: Iterable[str], *, store: str) -> list[Problem]:
    """Tell which stores a site file names that the project does not have, each at its name.

    Parameters
    ----------
    known : iterable of str
        Names of the project's stores.
    store : str
        Name of the output store.

    Examples
    --------
    >>> [p.fix for p in store_problems(Site("pool", stores={"archives": "file:///s"}), ["nights"], store="archive")]
    ["did you mean 'archive'?"]
    >>> store_problems(Site("pool", stores={"archive": "file:///s"}), ["nights"], store="archive")
    []
    """
    names_ = sorted({*known, store})
    problems = []
    for name in sorted({*site.stores, *site.quotas} - {*names_}):
        near = difflib.get_close_matches(name, names_, 1)
        others = ", ".join(one for one in names_ if one != store)
        fix = (
            f"did you mean '{near[0]}'?"
            if near
            else f"the output store is '{store}'" + (f"; the others: {others}" if others else "")
        )
        what = f"this project has no store '{name}'"
        problems.append(site.problem("PST-C080", ("stores", name), what, fix, at_key=True))
    return problems


def plan_problems(site: Site, *, store: str, used: Iterable[str], tasks: Iterable[str]) -> list[Problem]:
    """Tell what a plan asks of a site that its file does not give, each at its place.

    Parameters
    ----------
    store : str
        Name of the output store.
    used : iterable of str
        Names of the stores that have inputs of the plan.
    tasks : iterable of str
        Labels of the plan's tasks.

    Examples
    --------
    >>> pool = Site("pool", "pegasus", pegasus=PegasusSettings("/p", "/w", products="store"))
    >>> [p.what for p in plan_problems(pool, store="archive", used=["archive"], tasks=["isr"])]
    ["pegasus.products: it does not say where nodes see the output store 'archive'"]
    """
    settings = site.pegasus
    if settings is None:
        return []
    problems = []
    landing = products_of(site, store) == "landing"
    if not landing and store not in site.stores:
        what = f"it does not say where nodes see the output store '{store}'"
        fix = f"write stores: {{{store}: URI}} if they see it, products: landing if they do not"
        problems.append(site.problem("PST-C080", (PEGASUS, "products"), what, fix))
    seen = {*site.stores, store} if settings.staging == PEGASUS else {*site.stores}
    for name in sorted({*used} - seen):
        what = f"it does not say where the store '{name}' is, which has inputs of this plan"
        problems.append(site.problem("PST-C080", ("stores",), what, f"write stores: {{{name}: URI}}"))
    problems += [
        site.problem("PST-C080", (PEGASUS, "throttle", task), what, fix)
        for task, what, fix in throttle_problems(settings, tasks)
    ]
    return problems


SHARES = "write a share such as 20%, or off"
OFF = False


def share_of(value: object) -> float | None:
    """Give a share between 0 and 1 of a text such as ``20%``; 1 if it is off; None if it is none.

    Examples
    --------
    >>> share_of("20%"), share_of(False), share_of("a lot")
    (0.2, 1.0, None)
    """
    if value is OFF:  # YAML says so of the word off
        return 1.0
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *%", value) if isinstance(value, str) else None
    share = float(match[1]) / 100 if match else 0.0
    return share if 0 < share < 1 else None


def read_site(path: Path) -> Site:
    r"""Read and check a site file.

    Raises
    ------
    ConfigurationError
        With every problem of the file at its place.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     file = Path(directory, "laptop.yaml")
    ...     _ = file.write_text("schema: prestow.site/1\nname: laptop\nworkers: 4\n")
    ...     site = read_site(file)
    >>> site.name, site.engine, site.workers, site.scratch
    ('laptop', 'dask', 4, None)
    """
    document = read_document(path)
    raise_all(_problems(document))
    data = document.data
    assert isinstance(data, dict)
    scratch = data.get("scratch")
    settings = data.get(PEGASUS)
    return Site(
        data["name"],
        data.get("engine", "dask"),
        data.get("workers"),
        data.get("scheduler"),
        None if scratch is None else Path(scratch),
        dict(_uris(data.get("stores") or {})),
        None if settings is None else PegasusSettings(**settings),
        dict(_quotas(data.get("stores") or {})),
        share_of(data["breaker"]) if "breaker" in data else None,
        data.get("layout", LAYOUTS[0]),
        document,
    )


def _uris(stores: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in stores.items():
        uri = value.get("uri") if isinstance(value, dict) else value
        if isinstance(uri, str):
            yield name, uri


def _quotas(stores: Mapping[str, object]) -> Iterator[tuple[str, Quota]]:
    for name, value in stores.items():
        if isinstance(value, dict) and ("quota" in value or "inodes" in value):
            yield name, Quota(_size(value.get("quota")), value.get("inodes"))


def _size(value: object) -> int | None:
    """Give a number of bytes, also of text with a unit; None if it is none."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is not None and (match[2] or "B") in _UNITS:
        return round(float(match[1]) * _UNITS[match[2] or "B"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value < float("inf") else None


def _problems(document: Document) -> list[Problem]:
    data = document.data
    schema = data.get("schema") if isinstance(data, dict) else None
    if isinstance(schema, str) and schema.partition("/")[0] != SCHEMA.partition("/")[0]:
        fix = f"name a file whose first line is 'schema: {SCHEMA}'; there are some to copy in site-configs/"
        return [document.problem("PST-C014", ("schema",), f"this is no site file, but {schema!r}", fix)]
    optional = ("engine", "workers", "scheduler", "scratch", "stores", "breaker", "layout", PEGASUS)
    problems = document.check_keys((), data, required=("schema", "name"), optional=optional)
    if not isinstance(data, dict):
        return problems
    for key in ("schema", "name", "engine"):
        if key in data:
            problems += document.check_type((key,), data[key], str)
    problems += breaker_problems(document, data)
    if "layout" in data and data["layout"] not in LAYOUTS:
        what = f"unknown layout {data['layout']!r}"
        problems.append(document.problem("PST-C013", ("layout",), what, f"known: {', '.join(LAYOUTS)}"))
    for key in ("scheduler", "scratch"):
        problems += document.check_type((key,), data.get(key), str, type(None))
    workers = data.get("workers")
    problems += document.check_type(("workers",), workers, int, type(None))
    if data.get("schema", SCHEMA) != SCHEMA:
        problems.append(
            document.problem("PST-C014", ("schema",), f"is {data['schema']!r}", f"write '{SCHEMA}'")
        )
    engine = data.get("engine", "dask")
    engines = (*names("engines"), *names("emitters"))
    if isinstance(engine, str) and engine not in engines:
        known = ", ".join(engines)
        problems.append(
            document.problem("PST-C013", ("engine",), f"unknown engine '{engine}'", f"known: {known}")
        )
    if isinstance(workers, int) and not isinstance(workers, bool) and workers < 1:
        problems.append(
            document.problem("PST-C013", ("workers",), "must be at least 1", "write a number of processes")
        )
    if data.get("scheduler") is not None and (engine != "dask" or workers is not None):
        fix = "leave out 'workers', and let 'engine' be dask: the scheduler has its own workers"
        problems.append(document.problem("PST-C013", ("scheduler",), "does not go with the other keys", fix))
    stores = data.get("stores")
    problems += document.check_type(("stores",), stores, dict, type(None))
    for name, uri in stores.items() if isinstance(stores, dict) else ():
        problems += _store_problems(document, name, uri)
    return [*problems, *pegasus_problems(document, data)]


def breaker_problems(document: Document, data: Mapping[str, object]) -> list[Problem]:
    """Check the key ``breaker`` of a document."""
    if "breaker" not in data or share_of(data["breaker"]) is not None:
        return []
    return [document.problem("PST-C013", ("breaker",), f"is {data['breaker']!r}, not a share", SHARES)]


def _store_problems(document: Document, name: str, value: object) -> list[Problem]:
    """Check one store: a URI, or a mapping with what it may hold."""
    path: tuple[str, ...] = ("stores", name)
    if not isinstance(value, dict):
        problems, uri = document.check_type(path, value, str), value
    else:
        problems = document.check_keys(path, value, optional=("uri", "quota", "inodes"))
        uri = value.get("uri")
        if "uri" in value:
            problems += document.check_type((*path, "uri"), uri, str)
        if "quota" in value and _size(value["quota"]) is None:
            fix = f"write bytes, with a unit if you like: {', '.join(_UNITS)}"
            what = f"is {value['quota']!r}, not a size"
            problems.append(document.problem("PST-C013", (*path, "quota"), what, fix))
        if "inodes" in value:
            wrong = document.check_type((*path, "inodes"), value["inodes"], int)
            if not wrong and value["inodes"] < 0:
                what = f"is {value['inodes']}"
                wrong = [document.problem("PST-C013", (*path, "inodes"), what, "write a number of files")]
            problems += wrong
        path = (*path, "uri")
    if isinstance(uri, str) and (fault := uri_problem(uri)):
        problems.append(document.problem("PST-C013", path, *fault))
    return problems
