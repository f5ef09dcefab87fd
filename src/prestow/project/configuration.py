"""The file ``prestow.yaml``: which registry, store, pipeline and universe a project has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from prestow.documents import Document, read_document
from prestow.errors import Problem, ProjectError, raise_all
from prestow.project.modes import KEY, Archive, archive_problems, read_archive
from prestow.site import breaker_problems, share_of

FILE = "prestow.yaml"
SCHEMA = "prestow.project/1"
UNEXPECTED = ("keep", "tar", "drop", "fail")
"""What an account can do with unexpected files: name them, put them into a tar, delete them, or refuse."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A checked ``prestow.yaml``; paths are absolute.

    ``registry`` is a database URL and ``store`` a store's URI. ``universe`` is None for the one
    that prestow ships. ``unexpected`` is what an account does with unexpected files, ``breaker``
    the share of a task's jobs that may fail of one cause (1: all).
    """

    root: Path
    registry: str
    store: str
    pipeline: Path
    universe: Path | None = None
    instruments: tuple[Path, ...] = ()
    workers: int = 2
    unexpected: str = "keep"
    breaker: float | None = None
    archive: Archive = field(default_factory=Archive)


def find_root(start: Path) -> Path:
    """Give the nearest directory at or above ``start`` that holds a ``prestow.yaml``.

    Raises
    ------
    ProjectError
        PST-G001 if there is none.
    """
    start = start.absolute()
    if not start.is_dir():
        what = "this is no directory" if start.exists() else "there is no such directory"
        raise ProjectError(Problem("PST-G001", what, str(start), "give the project's directory"))
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return directory
    raise ProjectError(
        Problem(
            "PST-G001",
            f"no {FILE} here or in any directory above",
            str(start),
            "make a project: prestow init",
        )
    )


def read_configuration(root: Path) -> Configuration:
    """Read and check the ``prestow.yaml`` of a project.

    Raises
    ------
    ConfigurationError
        With every problem of the file at its place.
    """
    document = read_document(root / FILE, source=FILE)
    problems = list(_problems(document))
    raise_all(problems)
    data = document.data
    assert isinstance(data, dict)
    universe = data.get("universe")
    return Configuration(
        root=root,
        registry=_registry_url(root, data["registry"]),
        store=_store_uri(root, data["store"]),
        pipeline=root / data["pipeline"],
        universe=None if universe is None else root / universe,
        instruments=tuple(root / path for path in data.get("instruments") or ()),
        workers=data.get("workers", 2),
        archive=read_archive(data.get(KEY)),
        breaker=share_of(data["breaker"]) if "breaker" in data else None,
        unexpected=data.get("unexpected", "keep"),
    )


def _problems(document: Document) -> list[Problem]:
    data = document.data
    problems = document.check_keys(
        (),
        data,
        required=("schema", "registry", "store", "pipeline"),
        optional=("universe", "instruments", "workers", "unexpected", "breaker", KEY),
    )
    if not isinstance(data, dict):
        return problems
    for key in ("schema", "registry", "store", "pipeline"):
        if key in data:
            problems += document.check_type((key,), data[key], str)
    if isinstance(data.get("schema"), str) and data["schema"] != SCHEMA:
        problems.append(
            document.problem("PST-C014", ("schema",), f"is '{data['schema']}'", f"write '{SCHEMA}'")
        )
    problems += document.check_type(("universe",), data.get("universe"), str, type(None))
    instruments = data.get("instruments")
    problems += document.check_type(("instruments",), instruments, list, type(None))
    if isinstance(instruments, list):
        for i, path in enumerate(instruments):
            problems += document.check_type(("instruments", i), path, str)
    problems += breaker_problems(document, data)
    workers = data.get("workers", 2)
    wrong = document.check_type(("workers",), workers, int)
    if not wrong and workers < 1:
        wrong = [
            document.problem("PST-C013", ("workers",), "must be at least 1", "write the number of processes")
        ]
    policy = data.get("unexpected", "keep")
    if policy not in UNEXPECTED:
        fix = f"write one of {', '.join(UNEXPECTED)}"
        wrong.append(document.problem("PST-C013", ("unexpected",), f"is {policy!r}, and no policy", fix))
    return problems + wrong + archive_problems(document, data.get(KEY))


def _registry_url(root: Path, url: str) -> str:
    scheme, separator, rest = url.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite" and not Path(rest).is_absolute():
        return f"{scheme}:///{root / rest}"
    return url


def _store_uri(root: Path, store: str) -> str:
    # The path stands in the URI as it is, unencoded: '#' and '%' are characters like others.
    return store if "://" in store else f"file://{root / store}"
