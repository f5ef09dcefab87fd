"""Sites: where jobs run, from a YAML file.

Owns the site file. Serves the project, which opens the engine it names. Never starts anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prestow.documents import Document, read_document
from prestow.errors import Problem, raise_all
from prestow.plugins import names

SCHEMA = "prestow.site/1"


@dataclass(frozen=True, slots=True)
class Site:
    """Where jobs run.

    Parameters
    ----------
    name : str
        What people call it.
    engine : str
        A name of the table of engines.
    workers : int or None
        Processes to start; as ``prestow.yaml`` says, if None.
    scheduler : str or None
        Address of a Dask scheduler that runs already, ``tcp://host:port``: its workers are used.
    scratch : Path or None
        Where local repositories are made on a node; the node's own default, if None.
    """

    name: str
    engine: str = "dask"
    workers: int | None = None
    scheduler: str | None = None
    scratch: Path | None = None


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
    ...     read_site(file)
    Site(name='laptop', engine='dask', workers=4, scheduler=None, scratch=None)
    """
    document = read_document(path)
    raise_all(_problems(document))
    data = document.data
    assert isinstance(data, dict)
    scratch = data.get("scratch")
    return Site(
        data["name"],
        data.get("engine", "dask"),
        data.get("workers"),
        data.get("scheduler"),
        None if scratch is None else Path(scratch),
    )


def _problems(document: Document) -> list[Problem]:
    data = document.data
    problems = document.check_keys(
        (), data, required=("schema", "name"), optional=("engine", "workers", "scheduler", "scratch")
    )
    if not isinstance(data, dict):
        return problems
    for key in ("schema", "name", "engine"):
        if key in data:
            problems += document.check_type((key,), data[key], str)
    for key in ("scheduler", "scratch"):
        problems += document.check_type((key,), data.get(key), str, type(None))
    workers = data.get("workers")
    problems += document.check_type(("workers",), workers, int, type(None))
    if data.get("schema", SCHEMA) != SCHEMA:
        problems.append(
            document.problem("PST-C014", ("schema",), f"is {data['schema']!r}", f"write '{SCHEMA}'")
        )
    engine = data.get("engine", "dask")
    if isinstance(engine, str) and engine not in names("engines"):
        known = ", ".join(names("engines"))
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
    return problems
