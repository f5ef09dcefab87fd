"""Sites: where jobs run, from a YAML file.

Owns the site file. Serves the project, which opens the engine it names. Never starts anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prestow.documents import Document, read_document
from prestow.errors import Problem, raise_all
from prestow.plugins import names

SCHEMA = "prestow.site/1"

PEGASUS = "pegasus"
DATA_CONFIGURATIONS = ("condorio", "nonsharedfs", "sharedfs")
"""How Pegasus moves files: through the submit host, by a staging site, or not at all."""

_HANDLE = r"[A-Za-z0-9_-]+"
_PLAIN_PATH = r"/[A-Za-z0-9._+@~/-]*"
_PROFILES = ("condor", "dagman", "env", "globus", "pegasus", "selector")


@dataclass(frozen=True, slots=True)
class PegasusSettings:
    """What Pegasus is told of a site; paths are absolute.

    Parameters
    ----------
    python : str
        The interpreter on the nodes that has prestow.
    work : str
        Where Pegasus keeps its scratch and storage directories.
    data : str
        One of `DATA_CONFIGURATIONS`.
    home : str or None
        Where Pegasus itself is on the nodes; needed for ``sharedfs``.
    arch : str
        As Pegasus names it.
    cluster : int
        How many jobs of one kind share a label, for those who plan with ``--cluster label``.
    retries : int
        How often a job is started again at least, whatever its tasks say: nodes are lost, too.
    profiles : mapping of namespace to mapping
        More profiles of the compute site, such as ``condor: {+ProjectName: ...}``.
    properties : mapping
        More properties of the planner.
    """

    python: str
    work: str
    data: str = "condorio"
    home: str | None = None
    arch: str = "x86_64"
    cluster: int = 20
    retries: int = 1
    profiles: Mapping[str, Mapping[str, str | int | float]] = field(default_factory=dict)
    properties: Mapping[str, str | int | float] = field(default_factory=dict)


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
    optional = ("engine", "workers", "scheduler", "scratch", "stores", "breaker", PEGASUS)
    problems = document.check_keys((), data, required=("schema", "name"), optional=optional)
    if not isinstance(data, dict):
        return problems
    for key in ("schema", "name", "engine"):
        if key in data:
            problems += document.check_type((key,), data[key], str)
    problems += breaker_problems(document, data)
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
    return [*problems, *_pegasus_problems(document, data)]


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
    if isinstance(uri, str) and "://" not in uri:
        fix = "write a URI, such as file:///shared/store"
        problems.append(document.problem("PST-C013", path, f"is {uri!r}, not a URI", fix))
    return problems


def _pegasus_problems(document: Document, data: Mapping[str, object]) -> list[Problem]:
    settings = data.get(PEGASUS)
    if (data.get("engine") == PEGASUS) != (settings is not None):
        fix = f"'engine: {PEGASUS}' and the section '{PEGASUS}' go together"
        missing = "engine" if settings is None else PEGASUS
        return [document.problem("PST-C013", (missing,), "one does not go without the other", fix)]
    if settings is None:
        return []
    optional = ("data", "home", "arch", "cluster", "retries", "profiles", "properties")
    problems = document.check_keys((PEGASUS,), settings, required=("python", "work"), optional=optional)
    if not isinstance(settings, dict):
        return problems

    def wrong(key: str, what: str, fix: str) -> None:
        problems.append(document.problem("PST-C013", (PEGASUS, key), what, fix))

    for key in ("python", "work", "home"):
        value = settings.get(key)
        problems += document.check_type(
            (PEGASUS, key), value, str, *(() if key in settings else (type(None),))
        )
        if isinstance(value, str) and not re.fullmatch(_PLAIN_PATH, value):
            wrong(key, f"is {value!r}", "write an absolute path of letters, digits and . _ + @ ~ -")
    if settings.get("data", "condorio") not in DATA_CONFIGURATIONS:
        wrong("data", f"is {settings['data']!r}", f"known: {', '.join(DATA_CONFIGURATIONS)}")
    if settings.get("data") == "sharedfs" and not settings.get("home"):
        wrong("data", "sharedfs needs Pegasus on the nodes", "write where: home: /usr")
    problems += document.check_type((PEGASUS, "arch"), settings.get("arch", ""), str)
    for key, least in (("cluster", 1), ("retries", 0)):
        value = settings.get(key, least)
        found = document.check_type((PEGASUS, key), value, int)
        if not found and value < least:
            wrong(key, f"must be at least {least}", "write a number")
        problems += found
    problems += document.check_type((PEGASUS, "properties"), settings.get("properties", {}), dict)
    profiles = settings.get("profiles", {})
    problems += document.check_type((PEGASUS, "profiles"), profiles, dict)
    tables: list[tuple[tuple[str, ...], object]] = [((PEGASUS, "properties"), settings.get("properties"))]
    for name, table in profiles.items() if isinstance(profiles, dict) else ():
        if name not in _PROFILES:
            fix = f"known: {', '.join(_PROFILES)}"
            problems.append(document.problem("PST-C013", (PEGASUS, "profiles", name), "no namespace", fix))
        problems += document.check_type((PEGASUS, "profiles", name), table, dict)
        tables.append(((PEGASUS, "profiles", name), table))
    for place, table in tables:
        for key, value in table.items() if isinstance(table, dict) else ():
            problems += document.check_type((*place, key), value, str, int, float)
    name = data.get("name")
    if isinstance(name, str) and not re.fullmatch(_HANDLE, name):
        fix = "write letters, digits, - and _; Pegasus calls the submit host itself 'local'"
        problems.append(document.problem("PST-C013", ("name",), f"is {name!r}", fix))
    return problems
