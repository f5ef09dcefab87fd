"""The section ``pegasus`` of a site file: what Pegasus is told of a site, and what may stand there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prestow.documents import Document
from prestow.errors import Problem

PEGASUS = "pegasus"
DATA_CONFIGURATIONS = ("condorio", "nonsharedfs", "sharedfs")
"""How Pegasus moves files: through the submit host, by a staging site, or not at all."""
NODES = ("installed", "zipapp", "container")
"""Where the node's prestow comes from: it is there, it is staged as one file, or it is in an image."""
STAGING = (PEGASUS, "prestow")
"""Who brings inputs that exist to a job: Pegasus, or the node itself, from the stores."""
PRODUCTS = ("store", "landing")
"""Where a job leaves its products: it commits them in the store, or Pegasus brings them home to a landing folder."""
RUNTIMES = ("apptainer", "singularity", "docker")
"""What starts containers."""

_HANDLE = r"[A-Za-z0-9_-]+"
_PLAIN_PATH = r"/[A-Za-z0-9._+@~/-]*"
_IMAGE = r"(?:[a-z][a-z0-9+.-]*://|/)[A-Za-z0-9._+@~:/-]+"
_PROFILES = ("condor", "dagman", "env", "globus", "pegasus", "selector")
_CHOICES = {
    "data": DATA_CONFIGURATIONS, "node": NODES, "staging": STAGING, "products": PRODUCTS, "container": RUNTIMES,
}  # fmt: skip
_LEAST = {"cluster": 1, "retries": 0, "workflow_jobs": 1}
_OPTIONAL = (
    "data", "home", "arch", "cluster", "retries", "profiles", "properties", "node", "image", "container", "staging",
    "staging_url", "products", "landing", "workflow_jobs", "throttle", "memory_growth",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PegasusSettings:
    """What Pegasus is told of a site; paths are absolute.

    Parameters
    ----------
    python : str
        The interpreter on the nodes (or in the image). It has prestow, unless ``node`` is ``zipapp``.
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
    node : str
        One of `NODES`.
    image : str or None
        URL or absolute path of the image, for ``node: container``.
    container : str
        One of `RUNTIMES`.
    staging : str
        One of `STAGING`.
    products : str or None
        One of `PRODUCTS`; `prestow.site.products_of` says which it is, if None.
    staging_url : str or None
        Where Pegasus keeps files between submit host and nodes, for ``nonsharedfs``: such as ``s3://user@endpoint/bucket/path``;
        a directory below ``work``, if None.
    landing : str or None
        Under which URL the output store lies for the submit host; the project's own URI of it, if None.
    workflow_jobs : int
        How many jobs one workflow has at most; above, there are workflows of workflows.
    throttle : mapping of task to int
        How many jobs of a task run at one time at most.
    memory_growth : float
        By how much a job that is started again asks for more memory than the time before; 1 is no growth.
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
    node: str = "installed"
    image: str | None = None
    container: str = "apptainer"
    staging: str = PEGASUS
    products: str | None = None
    staging_url: str | None = None
    landing: str | None = None
    workflow_jobs: int = 10_000
    throttle: Mapping[str, int] = field(default_factory=dict)
    memory_growth: float = 1.0


def uri_problem(value: str) -> tuple[str, str] | None:
    """Say what is wrong with the URI of a store, and what to do.

    Examples
    --------
    >>> uri_problem("file:///shared/store"), uri_problem("s3://bucket/store")
    (None, None)
    >>> uri_problem("/shared/store")
    ("is '/shared/store', not a URI", 'write a URI, such as file:///shared/store')
    >>> uri_problem("file://hilda/store")[0]
    "is 'file://hilda/store': a file URI has no host, and this one names 'hilda'"
    """
    scheme, separator, rest = value.partition("://")
    if not separator or not scheme or not rest:
        return f"is {value!r}, not a URI", "write a URI, such as file:///shared/store"
    if scheme == "file" and not rest.startswith("/"):
        host = rest.partition("/")[0]
        what = f"is {value!r}: a file URI has no host, and this one names '{host}'"
        return (
            what,
            f"write three slashes, file:///…, if nodes see it as a directory; a file of {host} alone they do not see",
        )
    user = rest.partition("/")[0].rpartition("@")[0]
    if ":" in user:
        what = f"is '{scheme}://{user.partition(':')[0]}:…': a password stands in it"
        return (
            what,
            "leave it out; who uses the place has it in a file of their own, which is never written here",
        )
    return None


def pegasus_problems(document: Document, data: Mapping[str, object]) -> list[Problem]:
    """Check the section of a site file, and what goes with it."""
    settings = data.get(PEGASUS)
    if (data.get("engine") == PEGASUS) != (settings is not None):
        fix = f"'engine: {PEGASUS}' and the section '{PEGASUS}' go together"
        missing = "engine" if settings is None else PEGASUS
        return [document.problem("PST-C013", (missing,), "one does not go without the other", fix)]
    if settings is None:
        return []
    problems = document.check_keys((PEGASUS,), settings, required=("python", "work"), optional=_OPTIONAL)
    if not isinstance(settings, dict):
        return problems
    problems += _plain(document, settings)
    problems += _tables(document, settings)
    problems += _together(document, data, settings)
    name = data.get("name")
    if isinstance(name, str) and not re.fullmatch(_HANDLE, name):
        fix = "write letters, digits, - and _; Pegasus calls the submit host itself 'local'"
        problems.append(document.problem("PST-C013", ("name",), f"is {name!r}", fix))
    return problems


def _plain(document: Document, settings: Mapping[str, object]) -> list[Problem]:
    """Check values that stand for themselves."""
    problems: list[Problem] = []

    def wrong(key: str, what: str, fix: str) -> None:
        problems.append(document.problem("PST-C013", (PEGASUS, key), what, fix))

    for key in ("python", "work", "home", "image", "staging_url", "landing", "arch"):
        if key in settings:
            problems += document.check_type((PEGASUS, key), settings[key], str)
    for key in ("python", "work", "home"):
        value = settings.get(key)
        if isinstance(value, str) and not re.fullmatch(_PLAIN_PATH, value):
            wrong(key, f"is {value!r}", "write an absolute path of letters, digits and . _ + @ ~ -")
    for key, known in _CHOICES.items():
        if key in settings and settings[key] not in known:
            wrong(key, f"is {settings[key]!r}", f"known: {', '.join(known)}")
    for key, least in _LEAST.items():
        value = settings.get(key, least)
        found = document.check_type((PEGASUS, key), value, int)
        if not found and isinstance(value, int) and value < least:
            wrong(key, f"must be at least {least}", "write a number")
        problems += found
    growth = settings.get("memory_growth", 1.0)
    found = document.check_type((PEGASUS, "memory_growth"), growth, int, float)
    if not found and isinstance(growth, int | float) and not 1 <= growth < float("inf"):
        wrong(
            "memory_growth",
            f"is {growth}: a job started again would get less memory than before",
            "write 1 (no growth) or more",
        )
    problems += found
    image = settings.get("image")
    if isinstance(image, str) and not re.fullmatch(_IMAGE, image):
        wrong("image", f"is {image!r}", "write a URL such as docker://survey/prestow:1, or an absolute path")
    for key in ("staging_url", "landing"):
        value = settings.get(key)
        if isinstance(value, str) and (fault := uri_problem(value)):
            wrong(key, *fault)
    return problems


def _tables(document: Document, settings: Mapping[str, object]) -> list[Problem]:
    """Check mappings: throttles, profiles and properties."""
    throttle = settings.get("throttle", {})
    problems = document.check_type((PEGASUS, "throttle"), throttle, dict)
    for task, most in throttle.items() if isinstance(throttle, dict) else ():
        found = document.check_type((PEGASUS, "throttle", task), most, int)
        if not found and most < 1:
            what = f"is {most}: no job of it would ever run"
            found = [
                document.problem(
                    "PST-C013", (PEGASUS, "throttle", task), what, "write a number of jobs, 1 or more"
                )
            ]
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
    return problems


def _together(
    document: Document, data: Mapping[str, object], settings: Mapping[str, object]
) -> list[Problem]:
    """Check what must go with what."""
    problems: list[Problem] = []

    def wrong(key: str, what: str, fix: str) -> None:
        problems.append(document.problem("PST-C013", (PEGASUS, key), what, fix))

    node, staging = settings.get("node", "installed"), settings.get("staging", PEGASUS)
    shared = settings.get("data") == "sharedfs"
    if shared and not settings.get("home"):
        wrong("data", "sharedfs needs Pegasus on the nodes", "write where: home: /usr")
    if node == "container" and "image" not in settings:
        wrong(
            "node", "a container needs an image", "write which: image: docker://survey/prestow:1, or a path"
        )
    for key in ("image", "container"):
        if key in settings and node != "container":
            wrong(key, f"nothing uses it: node is '{node}'", f"write node: container, or leave '{key}' out")
    if "landing" in settings and settings.get("products") == "store":
        wrong(
            "landing", "nothing lands: products is 'store'", "write products: landing, or leave 'landing' out"
        )
    if "staging_url" in settings and settings.get("data") != "nonsharedfs":
        wrong(
            "staging_url", "only nonsharedfs has a staging site", "write data: nonsharedfs, or leave it out"
        )
    if settings.get("memory_growth", 1) != 1 and style_of(settings) == "glite":
        what = (
            "a batch system behind HTCondor's grid universe is told a number once, not by how much it grows"
        )
        wrong("memory_growth", what, "leave it out, and ask for more with prestow retry --memory")
    stores = data.get("stores")
    if not stores:
        if settings.get("products") == "store":
            wrong(
                "products",
                "nodes see no store to commit in",
                "write stores: {archive: URI}, or products: landing",
            )
        if staging == "prestow":
            wrong(
                "staging",
                "nodes see no store to fetch inputs from",
                "write stores: {NAME: URI}, or staging: pegasus",
            )
    if data.get("scratch") is None:
        why = {
            "sharedfs leaves jobs no disk of their own": shared,
            "a node that fetches its inputs itself needs a disk for them": staging == "prestow",
            "a container needs a directory of the node for its work": node == "container",
        }
        found = [reason for reason, holds in why.items() if holds]
        if found:
            fix = "write where jobs work on a node, on a local disk: scratch: /local/prestow"
            problems.append(document.problem("PST-C012", (), f"key 'scratch' is missing: {found[0]}", fix))
    return problems


def style_of(settings: Mapping[str, object]) -> str:
    """Give how jobs are handed to the site, as Pegasus names it: ``condor``, or what the profiles say."""
    table: object = settings
    for key in ("profiles", PEGASUS):
        table = table.get(key) if isinstance(table, Mapping) else None
    return str(table.get("style", "condor")) if isinstance(table, Mapping) else "condor"


def throttle_problems(settings: PegasusSettings, tasks: Iterable[str]) -> list[tuple[str, str, str]]:
    """Give task, fault and remedy of each throttle that is of no task of a plan.

    Examples
    --------
    >>> throttle_problems(PegasusSettings("/p", "/w", throttle={"isr": 2, "irs": 5}), ["isr", "coadd"])
    [('irs', "the plan has no task 'irs'", 'its tasks: coadd, isr')]
    """
    known = sorted(tasks)
    return [
        (task, f"the plan has no task '{task}'", f"its tasks: {', '.join(known)}")
        for task in sorted({*settings.throttle} - {*known})
    ]
