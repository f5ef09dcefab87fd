"""The catalogues of replicas, sites and transformations, and the planner's properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prestow.engines.pegasus.manifests import Replica
from prestow.engines.pegasus.workflow import NAMESPACE, TRANSFORMATION
from prestow.node.execute import FIXED
from prestow.site import PegasusSettings, Site

Entry = dict[str, Any]  # Any: JSON values

HELD = 60
"""Seconds after which a held job is taken out and tried again; Pegasus alone waits half an hour."""

_HELD_TOO_LONG = f"(JobStatus == 5) && ((time() - EnteredCurrentStatus) > {HELD})"
_LARGE = 2000  # MB: the longest document that Pegasus is to read


def replica_entries(replicas: Mapping[str, Replica], stores: Mapping[str, str]) -> Iterator[Entry]:
    """Give an entry for each file that exists, by logical name."""
    for name in sorted(replicas):
        replica = replicas[name]
        entry: Entry = {"lfn": name, "pfns": [{"site": "local", "pfn": physical_name(replica, stores)}]}
        if replica.sha256 is not None:
            entry["checksum"] = {"sha256": replica.sha256}
        if replica.size is not None:
            entry["metadata"] = {"size": str(replica.size)}
        yield entry


def physical_name(replica: Replica, stores: Mapping[str, str]) -> str:
    """Give where a file lies, as nodes see its store."""
    return f"{stores[replica.store].rstrip('/')}/{replica.path}"


def site_entries(site: Site) -> Iterator[Entry]:
    """Give the submit host and the compute site; one entry, if jobs run on the submit host itself."""
    settings = _settings(site)
    submit: Entry = {
        "name": "local",
        "arch": settings.arch,
        "os.type": "linux",
        "directories": [
            _directory("sharedScratch", f"{settings.work}/local/scratch"),
            _directory("localStorage", f"{settings.work}/local/storage"),
        ],
    }
    profiles: dict[str, Entry] = {
        "condor": {"periodic_remove": _HELD_TOO_LONG, "universe": "vanilla"},
        # files of the submit host are seen here, too: so nothing is moved that lies there already
        "pegasus": {"auxillary.local": "true", "style": "condor"},
    }
    if settings.data == "condorio":
        # a task that failed has no outputs to transfer: without these it would be held, not failed
        profiles["condor"] |= {"success_exit_code": "0", "when_to_transfer_output": "ON_SUCCESS"}
    if settings.home is not None:
        profiles["env"] = {"PEGASUS_HOME": settings.home}
    for namespace, more in settings.profiles.items():
        profiles[namespace] = {**profiles.get(namespace, {}), **more}
    ordered = {name: dict(sorted(values.items())) for name, values in sorted(profiles.items())}
    if site.name == submit["name"]:
        yield {**submit, "profiles": ordered}
        return
    yield submit
    yield {
        "name": site.name,
        "arch": settings.arch,
        "os.type": "linux",
        "directories": [_directory("sharedScratch", f"{settings.work}/{site.name}/scratch")],
        "profiles": ordered,
    }


def _directory(kind: str, path: str) -> Entry:
    return {
        "type": kind,
        "path": path,
        "sharedFileSystem": False,
        "fileServers": [{"url": f"file://{path}", "operation": "all"}],
    }


def transformation_entries(site: Site) -> Iterator[Entry]:
    """Give the one program that all jobs call: the node."""
    settings = _settings(site)
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
    yield {
        "namespace": NAMESPACE,
        "name": TRANSFORMATION,
        "sites": [place],
        "profiles": {"env": dict(sorted(environment.items()))},
    }


def properties(site: Site) -> str:
    """Give the planner's properties; files are relative to the directory that it is called in.

    Examples
    --------
    >>> site = Site("pool", "pegasus", pegasus=PegasusSettings("/usr/bin/python3", "/work"))
    >>> properties(site).splitlines()[0]
    'pegasus.catalog.replica = YAML'
    """
    settings = _settings(site)
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
        "pegasus.integrity.checking": "full",
        "pegasus.parser.document.size": _LARGE,
        # a node of another Debian would download one, and fail
        "pegasus.transfer.worker.package.autodownload": "false",
        "pegasus.transfer.worker.package.strict": "false",
    }
    if settings.data == "nonsharedfs":
        # a failed task's outputs are looked for, too: three times, with seven minutes in between
        values["pegasus.transfer.lite.arguments"] = "-m 1"
    values |= settings.properties
    return "".join(f"{_escaped(name, ' :=#!')} = {_escaped(str(values[name]))}\n" for name in sorted(values))


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"\\{c}" if c in more or c == "\\" else c for c in text)


def _settings(site: Site) -> PegasusSettings:
    assert site.pegasus is not None, "the site file was checked"
    return site.pegasus


README = """\
# {name}

{jobs} jobs of plan {plan}, run {run}, for Pegasus 5 and the site `{site}`. Written by `prestow emit pegasus`;
the same plan for the same site gives the same bytes.

| file | what it is |
|---|---|
| `workflow.yml` | the abstract workflow: jobs, the files that each needs and makes, who waits for whom |
| `replicas.yml` | where the files are that exist, with size and sha256 |
| `sites.yml`, `transformations.yml`, `pegasus.properties` | the site, the one program, the planner's settings |
| `inputs/manifests/` | manifests of jobs, packed: the first line of a pack says where each is |

In this directory:

```
export PEGASUS_METRICS=false
pegasus-plan --conf pegasus.properties --input-dir inputs --sites {site} --output-sites local --cleanup leaf --dir submit --submit workflow.yml
pegasus-status -l submit/…
pegasus-analyzer submit/…
```

That the planner does not know the profile `condor.success_exit_code`, as it says, does not matter: HTCondor does.
`--cluster label` runs several short jobs as one. `pegasus-plan` says what its submit directory is called; `pegasus-run`
on that one goes on after a failure. What a job commits it does not do again.

Jobs commit their products in the store. Then, in the project:

```
prestow ingest --run {run}
prestow status {plan}
```
"""
