"""The plans of a project: a directory of directories, and a pointer to the newest."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prestow.documents import read_document
from prestow.errors import PrestowError, Problem, ProjectError

LATEST = "latest"
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_ID = re.compile(r"[0-9a-f]{32}")


def plan_directories(plans: Path) -> tuple[Path, ...]:
    """Give the directories of all plans, sorted by id."""
    try:
        return tuple(
            sorted(p for p in plans.iterdir() if _ID.fullmatch(p.name) and (p / "plan.yaml").is_file())
        )
    except FileNotFoundError:
        return ()


def matching(plans: Path, text: str) -> tuple[Path, ...]:
    """Give the plans whose id begins with a text, or the one at a path; none is fine."""
    if os.sep in text and (Path(text) / "plan.yaml").is_file():
        return (Path(text),)
    if not _PREFIX.fullmatch(text):
        return ()
    return tuple(path for path in plan_directories(plans) if path.name.startswith(text))


def meant(plans: Path, text: str) -> Path | None:
    """Give the directory of the one plan that a word means, or None: then it may mean something else."""
    if text == LATEST:
        return _latest(plans)
    found = matching(plans, text)
    return found[0] if len(found) == 1 else None


def find_plan_directory(plans: Path, text: str) -> Path:
    """Give the directory of the plan that a person means.

    Parameters
    ----------
    plans : Path
        The directory of plans.
    text : str
        ``latest``, an id or the beginning of one (four digits at least), or a path.

    Raises
    ------
    ProjectError
        PST-P008 if there is none, or more than one.
    """
    if text == LATEST:
        return _latest(plans)
    found = matching(plans, text)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name[:12] for path in found)
        raise ProjectError(
            Problem(
                "PST-P008", f"{len(found)} plans begin with '{text}': {names}", str(plans), "give more digits"
            )
        )
    of_runs = {path.name[:8]: _run_or_unknown(path) for path in plan_directories(plans)}
    known = [name for name, run in of_runs.items() if run == text]
    if known:
        fix = f"'{text}' is a run; its plan{'s are' if len(known) > 1 else ' is'} {', '.join(known[:10])}"
    elif of_runs:
        fix = f"plans here: {', '.join(f'{name} (run {run})' for name, run in list(of_runs.items())[:10])}"
    else:
        fix = "make one: prestow plan"
    raise ProjectError(Problem("PST-P008", f"no plan '{text}'", str(plans), fix))


def _latest(plans: Path) -> Path:
    try:
        name = (plans / LATEST).read_text(encoding="ascii").strip()
    except (FileNotFoundError, ValueError):
        name = ""
    if name and (plans / name / "plan.yaml").is_file():
        return plans / name
    known = plan_directories(plans)
    if len(known) == 1:
        return known[0]
    fix = (
        f"say which: {', '.join(path.name[:8] for path in known[:10])}" if known else "make one: prestow plan"
    )
    raise ProjectError(
        Problem("PST-P008", "no plan was made here yet" if not known else "which plan?", str(plans), fix)
    )


def run_of(directory: Path) -> str:
    """Give the run of a plan without opening it: taking outputs in needs no planner."""
    data = read_document(directory / "plan.yaml").data
    run = data.get("run") if isinstance(data, dict) else None
    if not isinstance(run, str):
        raise ProjectError(Problem("PST-P008", "this is not a plan", str(directory), "plan again"))
    return run


def newest_of(plans: Path, run: str) -> Path | None:
    """Give the directory of the plan of a run: the newest of all if it is of that run, else the one written last."""
    newest = meant(plans, LATEST) if (plans / LATEST).exists() else None
    if newest is not None and run_of(newest) == run:
        return newest
    found = [path for path in plan_directories(plans) if run_of(path) == run]
    return max(found, key=lambda path: (path / "plan.yaml").stat().st_mtime_ns, default=None)


def _run_or_unknown(directory: Path) -> str:
    """Give the run of a plan for a hint: a damaged plan must not hide what is really wrong."""
    try:
        return run_of(directory)
    except PrestowError:
        return "?"


def point_to(plans: Path, plan: str) -> None:
    """Note which plan is the newest, in one step."""
    fresh = plans / f".{LATEST}-{os.getpid()}"
    try:
        fresh.write_text(plan + "\n", encoding="ascii")
        fresh.replace(plans / LATEST)
    finally:
        fresh.unlink(missing_ok=True)
