"""The catalogues of replicas, sites and transformations, and the planner's properties."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from prestow.engines.pegasus import zipapp
from prestow.engines.pegasus.workflow import NAMESPACE, TRANSFORMATION
from prestow.node.execute import FIXED
from prestow.site import PegasusSettings, Site, style_of

Entry = dict[str, Any]  # Any: JSON values

CONTAINER = "prestow-image"
"""What the catalogue of transformations calls the image; not as it calls the program, says the planner."""

HELD = 60
"""Seconds after which a held job is taken out and tried again; Pegasus alone waits half an hour."""

_HELD_TOO_LONG = f"(JobStatus == 5) && ((time() - EnteredCurrentStatus) > {HELD})"
_LARGE = 2000  # MB: the longest document that Pegasus is to read


def site_entries(site: Site, landing: str | None = None) -> Iterator[Entry]:
    """Give the submit host, the staging site if there is one, and the compute site.

    It is one entry, if jobs run on the submit host itself.

    Parameters
    ----------
    landing : str or None
        Where products land, as the submit host sees it; in Pegasus's own storage directory, if None.
    """
    settings = settings_of(site)
    storage = f"file://{settings.work}/local/storage" if landing is None else landing
    submit: Entry = {
        "name": "local",
        "arch": settings.arch,
        "os.type": "linux",
        "directories": [
            _directory("sharedScratch", f"file://{settings.work}/local/scratch"),
            _directory("localStorage", storage),
        ],
    }
    profiles = _profiles(site, lands=landing is not None)
    if site.name == submit["name"]:
        yield {**submit, "profiles": profiles}
        return
    yield submit
    if settings.staging_url is not None:
        yield {
            "name": staging_site(site),
            "arch": settings.arch,
            "os.type": "linux",
            "directories": [_directory("sharedScratch", settings.staging_url)],
        }
    shared = settings.data == "sharedfs"
    scratch = _directory("sharedScratch", f"file://{settings.work}/{site.name}/scratch", shared=shared)
    yield {
        "name": site.name,
        "arch": settings.arch,
        "os.type": "linux",
        "directories": [] if settings.staging_url is not None else [scratch],
        "profiles": profiles,
    }


def staging_site(site: Site) -> str:
    """Give the name of the site that keeps files between the submit host and the nodes: the site itself, or another.

    Examples
    --------
    >>> staging_site(Site("pool", "pegasus", pegasus=PegasusSettings("/p", "/w")))
    'pool'
    """
    return site.name if settings_of(site).staging_url is None else f"{site.name}-staging"


def _profiles(site: Site, *, lands: bool) -> dict[str, Entry]:
    """Give the profiles of the compute site: what a failed job needs to fail at once, and what the site file says."""
    settings = settings_of(site)
    style = style_of({"profiles": settings.profiles})
    profiles: dict[str, Entry] = {
        "condor": {"periodic_remove": _HELD_TOO_LONG},
        "pegasus": {"style": style},
    }
    if style == "condor":
        profiles["condor"]["universe"] = "vanilla"
    if settings.staging_url is None and (settings.data != "condorio" or not lands):
        # files of the submit host are seen here, too: so nothing is moved that lies there already
        profiles["pegasus"]["auxillary.local"] = "true"
    if settings.data == "condorio" and style == "condor":
        # A task that failed has no outputs to transfer: without the first two it would be held, not failed. Of a job that
        # failed HTCondor then brings nothing, what it said neither, unless it comes as it is said (the next two). And an
        # exit code of success lets HTCondor start it three times over, as one try of DAGMan's, if the last did not say otherwise.
        profiles["condor"] |= {
            "when_to_transfer_output": "ON_SUCCESS",
            "success_exit_code": "0",
            "stream_error": "true",
            "stream_output": "true",
            "max_retries": "0",
        }
    # What is on a node is not in an image; told of none, the planner has each job bring Pegasus's part of it.
    if settings.home is not None and (settings.node != "container" or settings.data == "sharedfs"):
        profiles["env"] = {"PEGASUS_HOME": settings.home}
    for namespace, more in settings.profiles.items():
        profiles[namespace] = {**profiles.get(namespace, {}), **more}
    return {name: dict(sorted(values.items())) for name, values in sorted(profiles.items())}


def _directory(kind: str, url: str, *, shared: bool = False) -> Entry:
    scheme, _, rest = url.rstrip("/").partition("://")
    path = rest if scheme == "file" else f"/{rest.partition('/')[2]}"
    return {
        "type": kind,
        "path": path,
        "sharedFileSystem": shared,
        "fileServers": [{"url": url.rstrip("/"), "operation": "all"}],
    }


def transformation_entries(site: Site) -> Iterator[Entry]:
    """Give the one program that all jobs call: an interpreter, which is told where the node is by `node_words`."""
    settings = settings_of(site)
    environment = dict(FIXED)
    if site.scratch is not None:
        environment["PRESTOW_SCRATCH"] = str(site.scratch)
    place = {
        "name": site.name,
        "pfn": settings.python,
        "type": "installed",
        "arch": settings.arch,
        "os.type": "linux",
    }
    if settings.node == "container":
        place["container"] = CONTAINER
    yield {
        "namespace": NAMESPACE,
        "name": TRANSFORMATION,
        "sites": [place],
        "profiles": {"env": dict(sorted(environment.items()))},
    }


def container_entries(site: Site) -> Iterator[Entry]:
    """Give the image that jobs run in, if they do; they see their stores and their scratch in it, at the same paths.

    Examples
    --------
    >>> settings = PegasusSettings("/usr/bin/python3", "/w", node="container", image="docker://survey/prestow:1")
    >>> (image,) = container_entries(Site("pool", "pegasus", stores={"archive": "file:///s"}, pegasus=settings))
    >>> image["type"], image["image"], image["mounts"]
    ('singularity', 'docker://survey/prestow:1', ['/s:/s'])
    """
    settings = settings_of(site)
    if settings.node != "container" or settings.image is None:
        return
    paths = {
        uri.removeprefix("file://").rstrip("/") for uri in site.stores.values() if uri.startswith("file://")
    }
    paths |= {str(site.scratch)} if site.scratch is not None else set()
    outermost = sorted(p for p in paths if not any(p.startswith(f"{other}/") for other in paths))
    entry: Entry = {
        "name": CONTAINER,
        "type": "docker"
        if settings.container == "docker"
        else "singularity",  # Pegasus's word for both of the others
        "image": settings.image,
        "mounts": [f"{path}:{path}" for path in outermost],
    }
    if settings.image.startswith("/"):
        entry |= {"image": f"file://{settings.image}", "image.site": "local"}
    yield entry


def node_words(site: Site) -> tuple[str, ...]:
    """Give the words that follow the interpreter's name before those for the node.

    Examples
    --------
    >>> node_words(Site("pool", "pegasus", pegasus=PegasusSettings("/p", "/w")))
    ('-m', 'prestow.node')
    >>> node_words(Site("pool", "pegasus", pegasus=PegasusSettings("/p", "/w", node="zipapp")))
    ('prestow-node.pyz',)
    """
    return (zipapp.NAME,) if settings_of(site).node == "zipapp" else ("-m", "prestow.node")


def node_files(site: Site) -> dict[str, bytes]:
    """Give what every job is brought beside its own files, by logical name: the node itself, if it is not there."""
    return {zipapp.NAME: zipapp.node_zip()} if settings_of(site).node == "zipapp" else {}


def memory_profile(settings: PegasusSettings, megabytes: int) -> Entry:
    """Give the profile ``condor`` by which a job that is started again asks for more memory; nothing, if it does not.

    Examples
    --------
    >>> memory_profile(PegasusSettings("/p", "/w", memory_growth=2), 2048)
    {'request_memory': 'int(2048 * pow(2.0, ifThenElse(isUndefined(DAGNodeRetry), 0, DAGNodeRetry)))'}
    >>> memory_profile(PegasusSettings("/p", "/w"), 2048)
    {}
    """
    if settings.memory_growth == 1:
        return {}
    times = f"pow({float(settings.memory_growth)}, ifThenElse(isUndefined(DAGNodeRetry), 0, DAGNodeRetry))"
    return {"request_memory": f"int({megabytes} * {times})"}


def category(settings: PegasusSettings, tasks: Iterable[str]) -> str | None:
    """Give the category of DAGMan that a job of these tasks is in: that of the tightest throttle, if there is one.

    Examples
    --------
    >>> settings = PegasusSettings("/p", "/w", throttle={"isr": 200, "coadd": 5})
    >>> category(settings, ["isr", "coadd"]), category(settings, ["measure"])
    ('task_coadd', None)
    """
    found = min(((settings.throttle[t], t) for t in tasks if t in settings.throttle), default=None)
    return None if found is None else _category(found[1])


def _category(task: str) -> str:
    """Give a name that Pegasus's own categories do not have, such as ``stagein``."""
    return "task_" + re.sub(r"[^A-Za-z0-9_]", "_", task)


def properties(site: Site, *, lands: bool = False) -> str:
    """Give the planner's properties; files are relative to the directory that it is called in.

    Parameters
    ----------
    lands : bool
        Whether Pegasus brings products home. It would start a program for each to verify it once more, on the
        submit host: half an hour for ten thousand small files. The node verifies every input, whoever made it, and
        what landed is verified before it is committed; so Pegasus only writes down what it measured.

    Examples
    --------
    >>> site = Site("pool", "pegasus", pegasus=PegasusSettings("/usr/bin/python3", "/work"))
    >>> properties(site).splitlines()[0]
    'pegasus.catalog.replica = YAML'
    """
    settings = settings_of(site)
    values: dict[str, str | int | float] = {
        "pegasus.catalog.replica": "YAML",
        "pegasus.catalog.replica.file": "replicas.yml",
        "pegasus.catalog.site": "YAML",
        "pegasus.catalog.site.file": "sites.yml",
        "pegasus.catalog.transformation": "YAML",
        "pegasus.catalog.transformation.file": "transformations.yml",
        "pegasus.data.configuration": settings.data,
        # no product leaves by Pegasus, so it would take every job for one whose products are there
        "pegasus.data.reuse.scope": "none",
        "pegasus.integrity.checking": "none" if lands else "full",
        "pegasus.parser.document.size": _LARGE,
        # a node of another Debian would download one, and fail
        "pegasus.transfer.worker.package.autodownload": "false",
        "pegasus.transfer.worker.package.strict": "false",
    }
    if lands:
        values["pegasus.gridstart.kickstart.stat"] = "true"  # so that it measures products all the same
    if settings.data == "nonsharedfs":
        # a failed task's outputs are looked for, too: three times, with seven minutes in between
        values["pegasus.transfer.lite.arguments"] = "-m 1"
    if settings.node == "container":
        values["pegasus.transfer.container.onhost"] = "true"  # so an image needs nothing of Pegasus
    for task, most in settings.throttle.items():
        values[f"dagman.{_category(task)}.maxjobs"] = most
    values |= settings.properties
    return "".join(f"{_escaped(name, ' :=#!')} = {_escaped(str(values[name]))}\n" for name in sorted(values))


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"\\{c}" if c in more or c == "\\" else c for c in text)


def settings_of(site: Site) -> PegasusSettings:
    """Give the section of a site that was read for Pegasus."""
    assert site.pegasus is not None, "the site file was checked"
    return site.pegasus
