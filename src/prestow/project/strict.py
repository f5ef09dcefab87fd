"""``prestow check --strict``: each pre-flight hook is run twice, in other directories and at other times.

A process of its own runs them, where what a hook must not do is watched: `prestow.plan.watching`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import PrestowError, Problem

if TYPE_CHECKING:
    from prestow.pipeline.definition import Pipeline
    from prestow.plan.watching import Watcher
    from prestow.project.project import Project

SHIFTS = (0.0, 400 * 86_400.0)
"""Seconds by which the clocks of the two runs are wrong."""

Found = Mapping[str, Any]  # Any: parsed JSON
"""What one run found: ``noted`` by task and place, ``seen`` by task, and ``problems``."""


def strict_problems(root: Path, pipeline: Pipeline, overrides: Sequence[str]) -> list[Problem]:
    """Give what is wrong with the pre-flight hooks of a project's pipeline.

    On the project's own candidates where there is a registry, else on made-up ones.
    """
    if not any(task.preflight for task in pipeline.tasks):
        return []
    runs = [_run(root, shift, i, overrides) for i, shift in enumerate(SHIFTS)]
    return list(_judged(runs))


def _run(root: Path, shift: float, number: int, overrides: Sequence[str]) -> Found:
    with tempfile.TemporaryDirectory(prefix="prestow-strict-") as directory:
        answer = Path(directory, "answer.json")
        work = Path(directory, "elsewhere" if number else "here")
        work.mkdir()
        command = [
            sys.executable,
            "-m",
            "prestow.project.strict",
            str(root),
            str(answer),
            str(shift),
            *overrides,
        ]
        environment = {**os.environ, "PYTHONHASHSEED": str(number + 1)}
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if not answer.is_file():
            raise RuntimeError(f"the process that runs the hooks ended with {done.returncode}: {done.stderr}")
        found: Found = json.loads(answer.read_text(encoding="utf-8"))
        return found


def _judged(runs: Sequence[Found]) -> Iterator[Problem]:
    told: set[tuple[str, str]] = set()
    for run in runs:
        for task, places in run["noted"].items():
            for place, what in places.items():
                if (task, place) not in told:
                    told.add((task, place))
                    fix = "a hook takes all that it needs from its view"
                    yield Problem("PST-C070", f"the pre-flight hook of {task} {what}", place, fix)
    known: set[tuple[str, ...]] = set()
    for run in runs:
        for code, what, where, fix in run["problems"]:
            if (code, what, where) not in known:
                known.add((code, what, where))
                yield Problem(code, what, where, fix)
    first, second = (run["seen"] for run in runs)
    for task in sorted(first.keys() & second.keys()):
        (view, answer, place), (same, other, _) = first[task], second[task]
        if view == same and answer != other and not any(task == t for t, _ in told):
            what = f"the pre-flight hook of {task} gave two answers to one view"
            yield Problem("PST-C070", what, place, "sets have no order, and random numbers need a seed")


def main(arguments: Sequence[str]) -> None:
    """Run the hooks of a project, watched: root, file for the answer, shift of the clocks, overrides."""
    from prestow.plan import hooks
    from prestow.plan.watching import Watcher
    from prestow.project.project import Project

    root, answer, shift, *overrides = arguments
    with Project.open(Path(root)) as project:
        hooks.WATCHER = watcher = Watcher(float(shift))
        problems = _match(project, overrides, watcher)
    plain = {
        "noted": watcher.noted,
        "seen": watcher.seen,
        "problems": [[p.code, p.what, p.where, p.fix] for p in problems],
    }
    Path(answer).write_text(json.dumps(plain), encoding="utf-8")


def _match(project: Project, overrides: Sequence[str], watcher: Watcher) -> list[Problem]:
    """Match what the project has, and made-up data for hooks that saw nothing of it; give what failed."""
    from prestow.plan import Request
    from prestow.plan.made_up import RUN, MadeUp

    pipeline = project.load_pipeline(overrides)
    problems: list[Problem] = []
    with contextlib.suppress(PrestowError):  # there is nothing yet, or nothing that can be planned
        problems += _passes(project.request(overrides=overrides), project.registry)
    unseen = {task.label for task in pipeline.tasks if task.preflight} - watcher.seen.keys()
    unseen -= {problem.where.removeprefix("task ") for problem in problems}
    if unseen and not problems:
        tasks = tuple(t if t.label in unseen else replace(t, preflight="") for t in pipeline.tasks)
        request = Request("check", replace(pipeline, tasks=tasks), project.universe, (RUN,))
        problems += _passes(request, MadeUp(pipeline, project.universe))
    return problems


def _passes(request: Any, source: Any) -> list[Problem]:  # Any: as `build_plan` takes them
    from prestow.plan.passes.expand import expand
    from prestow.plan.passes.match import match
    from prestow.plan.passes.select import select
    from prestow.plan.state import State

    state = State(request, source)
    for step in (select, expand, match):
        state = step(state)
    return [problem for problem in state.problems if problem.code == "PST-P022"]


if __name__ == "__main__":
    main(sys.argv[1:])
