"""What a person asked for when failed jobs were put back, and what a run holds back until somebody acts.

Both stand beside the plan, outside its id. Nothing here says what is settled: receipts do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    from prestow.manifest import Manifest
    from prestow.plan import Plan

FILE = "retry.json"
SCHEMA = "prestow.retry/1"
HELD = "held.json"
_HELD_FACTS = {"label", "cause", "failed", "ended", "job"}


@dataclass(frozen=True, slots=True)
class Change:
    """What one job that was put back is tried with.

    Parameters
    ----------
    times : int
        How often it was put back.
    memory : int or None
        Bytes; as the plan says, if None.
    tries : int or None
        How often it is tried in one run; as its task says, if None.
    avoid : tuple of str
        Hosts on which it is not tried.
    """

    times: int = 1
    memory: int | None = None
    tries: int | None = None
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retries:
    """All that was put back of a plan, by the name of the job, and the site file that was named last."""

    jobs: Mapping[str, Change] = field(default_factory=dict)
    site: str | None = None

    def applied(self, manifest: Manifest) -> Manifest:
        """Give a manifest with the memory that its job was put back with."""
        change = self.jobs.get(manifest.job)
        if change is None or change.memory is None:
            return manifest
        return replace(manifest, resources={**manifest.resources, "memory": change.memory})


def read_retries(directory: Path | None) -> Retries:
    """Give what was put back, by the file beside the plan; nothing if there is none.

    Raises
    ------
    ProjectError
        If the file is not what was written (PST-E046).
    """
    said = _read(directory, FILE)
    if said is None:
        return Retries()
    try:
        if said["schema"] != SCHEMA:
            raise ValueError(said["schema"])  # noqa: TRY301 - one place says what is wrong
        jobs = {
            name: Change(**{**facts, "avoid": tuple(facts.get("avoid", ()))})
            for name, facts in said["jobs"].items()
        }
        return Retries(jobs, said.get("site"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(directory, FILE) from error


def write_retries(plan: Plan, retries: Retries) -> None:
    """Write what was put back beside the plan, whole or not at all."""
    plain = {
        name: {k: v for k, v in asdict(change).items() if v} for name, change in sorted(retries.jobs.items())
    }
    _write(plan.directory, FILE, {"schema": SCHEMA, "plan": plan.id, "site": retries.site, "jobs": plain})


def read_held(directory: Path | None) -> dict[str, dict[str, Any]]:  # Any: JSON values
    """Give the labels of jobs that a run stopped beginning, each with the cause and its counts.

    Raises
    ------
    ProjectError
        If the file is not what was written (PST-E046).
    """
    said = _read(directory, HELD) or {}
    if not all(isinstance(facts, dict) and set(facts) == _HELD_FACTS for facts in said.values()):
        raise _damaged(directory, HELD)
    return said


def write_held(directory: Path | None, held: Mapping[str, Mapping[str, Any]]) -> None:  # Any: JSON values
    """Write what is held back; with nothing the file goes."""
    if held:
        _write(directory, HELD, held)
    elif directory is not None:
        (directory / HELD).unlink(missing_ok=True)


def _read(directory: Path | None, name: str) -> dict[str, Any] | None:  # Any: JSON values
    if directory is None:
        return None
    try:
        said = json.loads((directory / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(directory, name) from error
    if not isinstance(said, dict):
        raise _damaged(directory, name)
    return said


def _write(directory: Path | None, name: str, said: Mapping[str, Any]) -> None:  # Any: JSON values
    if directory is None:
        return
    beside = directory / f".{name}-{os.getpid()}"
    try:
        beside.write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(directory / name)
    finally:
        beside.unlink(missing_ok=True)


def _damaged(directory: Path | None, name: str) -> ProjectError:
    place = name if directory is None else str(directory / name)
    fix = "remove the file: only what was asked for is forgotten, nothing that was made"
    return ProjectError(
        Problem("PST-E046", "this is not what 'prestow retry' or 'prestow run' wrote", place, fix)
    )
