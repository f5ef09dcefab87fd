"""What to type next: the words for Pegasus's planner, and the page that is written beside a workflow."""

from __future__ import annotations

from prestow.engines.pegasus.catalogues import settings_of, staging_site
from prestow.site import PEGASUS, Site


def output_directory(landing: str, plan: str, submission: int) -> str:
    """Give the planner's ``--output-dir``: the landing folder of a submission, below the landing's URL.

    Parameters
    ----------
    landing : str
        URL under which the submit host sees the output store.
    plan : str
        Id of the plan.
    submission : int
        From 1 on.

    Examples
    --------
    >>> output_directory("file:///survey/store", "0f3a", 2), output_directory("s3://me@there/bucket/a/", "0f3a", 1)
    ('/survey/store/_landing/0f3a/2', '/bucket/a/_landing/0f3a/1')
    """
    scheme, _, rest = landing.rstrip("/").partition("://")
    path = rest if scheme == "file" else f"/{rest.partition('/')[2]}"
    return f"{path}/_landing/{plan}/{submission}"


def planner_words(site: Site, output: str | None = None) -> list[str]:
    """Give the options for ``pegasus-plan`` that a site and its emission ask for; it is called in the emission.

    Parameters
    ----------
    output : str or None
        What `output_directory` gave, if products land.

    Examples
    --------
    >>> from prestow.site import PegasusSettings
    >>> pool = Site("pool", "pegasus", pegasus=PegasusSettings("/p", "/w"))
    >>> " ".join(planner_words(pool))
    '--conf pegasus.properties --input-dir inputs --sites pool --output-sites local --cleanup leaf'
    """
    staging = staging_site(site)
    return [
        "--conf", "pegasus.properties", "--input-dir", "inputs", "--sites", site.name,
        *(() if staging == site.name else ("--staging-site", f"{site.name}={staging}")),
        "--output-sites", "local", *(() if output is None else ("--output-dir", output)), "--cleanup", "leaf",
    ]  # fmt: skip


def readme(
    site: Site,
    *,
    name: str,
    jobs: int,
    plan: str,
    run: str,
    submission: int = 1,
    landing: str | None = None,
    parts: int = 0,
) -> str:
    """Give the page: what is here, what a node must have, the exact next commands.

    Parameters
    ----------
    name : str
        Of the workflow.
    jobs : int
        All of them.
    plan, run : str
        Whose.
    submission : int
        From 1 on.
    landing : str or None
        Under which URL the submit host sees the output store, if products land.
    parts : int
        How many workflows this one is made of, if it is one of workflows.
    """
    output = None if landing is None else output_directory(landing, plan, submission)
    words = " ".join(planner_words(site, output))
    more = _PARTS.format(parts=f"{parts:,}") if parts else ""
    return _PAGE.format(
        name=name, jobs=f"{jobs:,}", plan=plan[:12], run=run, site=site.name, words=words, parts=more,
        needs=_needs(site), afterwards=(_HOME if output is None else _LANDED.format(output=output)).format(run=run),
        held=_held(site),
    )  # fmt: skip


def _needs(site: Site) -> str:
    """Say what must be there where jobs run."""
    settings = settings_of(site)
    needs = {
        "installed": f"`{settings.python}` with prestow and what the tasks import.",
        "zipapp": f"`{settings.python}`, Python 3.11 or later, with what the tasks import (and numpy, astropy or pyarrow where"
        " pixels or tables are touched). prestow itself is brought to each job: `inputs/prestow-node.pyz`.",
        "container": f"what starts containers ({settings.container}). In `{settings.image}` is `{settings.python}` with prestow and"
        " what the tasks import.",
    }
    lines = [f"- {needs[settings.node]}"]
    if site.stores and (settings.staging != PEGASUS or settings.products != "landing"):
        lines += [f"- the store `{name}` at `{site.stores[name]}`" for name in sorted(site.stores)]
    if settings.staging_url is not None:
        lines.append(
            f"- Pegasus keeps files at `{settings.staging_url}` meanwhile; who may is told in `~/.pegasus/credentials.conf`"
            " on the submit host, and stands nowhere here"
        )
    return "\n".join(lines)


def _held(site: Site) -> str:
    if settings_of(site).data != "condorio":
        return ""
    return (
        "That the planner does not know the profiles `condor.success_exit_code` and `condor.max_retries`, as it says, does not\n"
        "matter: HTCondor does. "
    )


_PARTS = """\
| `parts/` | the {parts} workflows that this one is made of, each planned by Pegasus when it begins |
"""

_HOME = """\
Jobs commit their products in the store. Then, in the project:
"""

_LANDED = """\
Nodes do not see the store: products and claims come home to `{output}`, and are committed
by what takes them in. Plan each submission once only into that directory. Then, in the project:
"""

_PAGE = """\
# {name}

{jobs} jobs of plan {plan}, run {run}, for Pegasus 5 and the site `{site}`. Written by `prestow emit pegasus`;
the same plan for the same site gives the same bytes.

| file | what it is |
|---|---|
| `workflow.yml` | the abstract workflow: jobs, the files that each needs and makes, who waits for whom |
| `replicas.yml` | where the files are that exist, with size and sha256 |
| `sites.yml`, `transformations.yml`, `pegasus.properties` | the site, the one program, the planner's settings |
| `inputs/manifests/` | manifests of jobs, packed: the first line of a pack says where each is |
{parts}
Where jobs run there must be

{needs}

In this directory:

```
export PEGASUS_METRICS=false
pegasus-plan {words} --dir submit --submit workflow.yml
pegasus-status -l submit/…
pegasus-analyzer submit/…
```

{held}`--cluster label` runs several short jobs as one. `pegasus-plan` says what its submit directory is called; `pegasus-run`
on that one goes on after a failure. What a job commits it does not do again.

{afterwards}
```
prestow ingest --run {run}
prestow status {plan}
```
"""
