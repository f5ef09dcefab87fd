"""What a run is told of when to stop and where to go on: by the command, the site, ``prestow.yaml``, or what was put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    from prestow.engines.breaker import Breaker
    from prestow.plan import Plan
    from prestow.project.configuration import Configuration
    from prestow.site import Site


def breaker_of(said: str | None, site: Site, configuration: Configuration) -> Breaker | None:
    """Give the breaker of a run: as was said, else as the site has it, else ``prestow.yaml``, else a fifth.

    Raises
    ------
    ProjectError
        If what was said is no share (PST-E042).
    """
    from prestow.engines.breaker import SHARE, Breaker
    from prestow.site import OFF, SHARES, share_of

    share: float | None
    if said is not None:
        share = share_of(OFF if said == "off" else said)
        if share is None:
            raise ProjectError(Problem("PST-E042", f"'{said}' is not a share", "--breaker", SHARES))
    else:
        share = next((s for s in (site.breaker, configuration.breaker) if s is not None), SHARE)
    return None if share == 1 else Breaker(share, cause_of=cause_of)


def cause_of(code: str, message: str, data_id: str) -> str:
    """Give the cause of a failure as reports and ``prestow status`` have it."""
    from prestow.results.failures import grouped

    row = {"code": code, "message": message, "data_id": data_id}
    return grouped([row])[0].cause


def site_of(plan: Plan) -> str | None:
    """Give the site file that jobs were put back for, if they were."""
    from prestow.plan.retrying import read_retries

    return read_retries(plan.directory).site
