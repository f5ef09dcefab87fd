"""What a file says of itself, and whether that is what is recorded: the story, with nothing else at hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import CODES, PrestowError, Problem, ProjectError
from prestow.formats import CONVERTED, Story, open_format
from prestow.plugins import names
from prestow.results.lineage import ROOT, Point, Step
from prestow.results.tracing import Trace

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded


def story_of(path: Path) -> Story | None:
    """Give the story of a file, by the format that its name or its bytes say; None if it has none.

    Raises
    ------
    ProjectError
        PST-G011 if the file is damaged: it is of a known format, and cannot be read.
    """
    formats = []
    for name in names("formats"):
        try:
            formats.append(open_format(name))
        except (PrestowError, ImportError):
            continue
    likely = [f for f in formats if path.name.lower().endswith(f.suffix)]
    problems: list[Problem] = []
    for format_ in likely or formats:
        try:
            story = format_.read_story(path)
        except (PrestowError, ValueError, ImportError) as error:
            if likely:
                problems.append(
                    Problem(
                        "PST-G011",
                        f"its story cannot be read: {_first(error)}",
                        str(path),
                        "is it a whole file?",
                    )
                )
            continue
        if story is not None:
            return story
    if problems:
        raise ProjectError(*problems)
    return None


def _first(error: Exception) -> str:
    return error.problems[0].what if isinstance(error, PrestowError) and error.problems else str(error)


def no_story(path: Path) -> ProjectError:
    """Give the error for a file that carries no story and that nothing here knows."""
    return ProjectError(
        Problem(
            "PST-G011",
            "the file carries no story, and nothing here knows it",
            str(path),
            "only what prestow made tells where it came from; of raw files a project knows: prestow -C PROJECT trace FILE",
        )
    )


def told_by(story: Story, path: Path) -> Trace:
    """Give the one level that a file tells by itself: its parents, and the raw data they go back to."""
    start = Point(
        story.id, story.type, story.data_id, story.run, "made", task=story.task, recipe=story.recipe, path=os.fspath(path),
        by="story",
    )  # fmt: skip
    points = {start.id: start}
    points.update((p.id, p) for p in points_told(story))
    return Trace(start, "up", points, steps_told(story))


def points_told(story: Story) -> list[Point]:
    """Give the parents as the story names them; one that is itself raw data is a root."""
    roots = {root.id for root in story.roots}
    return [
        Point(
            i.id, i.type, i.data_id, state=ROOT if i.id in roots else i.state, code=i.code, recipe=i.recipe, sha256=i.sha256,
            by="story",
        )
        for i in story.inputs
    ]  # fmt: skip


def steps_told(story: Story) -> tuple[Step, ...]:
    """Give the inputs as the story names them."""
    return tuple(Step(story.id, i.connection, i.id, i.state, i.code, i.sha256) for i in story.inputs)


def roots_told(story: Story) -> list[Point]:
    """Give the raw data that the story names."""
    return [Point(r.id, r.type, r.data_id, state=ROOT, by="story") for r in story.roots]


def changed(recorded: Recorded, point: Point, sha256: str, where: str) -> list[Problem]:
    """Give the problem (PST-G010) of a file that has other bytes than were committed, if it has."""
    if not sha256 or not point.sha256 or sha256 == point.sha256:
        return []
    what = f"the file has sha256 {sha256[:12]}…, and {point} was committed with {point.sha256[:12]}…"
    return [Problem("PST-G010", what, where, f"look who changed it: prestow why {recorded.typed(point)}")]


def compare(
    recorded: Recorded, story: Story, point: Point, *, sha256: str = "", where: str = ""
) -> tuple[list[Problem], list[str]]:
    """Compare what a file says with what is recorded: problems, and notes on planned inputs it went without.

    An input that the file names and no record does is a problem (PST-G010), and so is one of other
    bytes than recorded; a planned input that it did not use is a note.
    """
    steps, told = recorded.reads([point])
    steps = [step for step in steps if step.reader == point.id]
    problems: list[Problem] = []
    notes: list[str] = []
    if story.task.endswith(CONVERTED):
        notes.append(f"a converted copy of {point}: not the bytes that were committed")
    else:
        problems += changed(recorded, point, sha256, where)
    if not steps:
        if story.inputs:
            notes.append("what it was made from is not recorded here any more: only the file tells")
        return problems, notes
    known = {(step.connection, step.input): step for step in steps}
    in_file = {(i.connection, i.id): i for i in story.inputs}
    names_of = recorded.points({step.input for step in steps}, told)
    for key, i in in_file.items():
        what = f"{Point(i.id, i.type, i.data_id)} ({i.connection})"
        step = known.get(key)
        if step is None:
            problems.append(
                Problem(
                    "PST-G010", f"the file says that it was made from {what}, and that was never planned for it", where,
                    "trust neither: make it again in another run, and look where this file came from",
                )
            )  # fmt: skip
        elif step.sha256 and i.sha256 and step.sha256 != i.sha256:
            problems.append(
                Problem(
                    "PST-G010",
                    f"the file names {what} with sha256 {i.sha256[:12]}…, its receipt with {step.sha256[:12]}…",
                    where,
                    "look where this file came from",
                )
            )
    for key, step in known.items():
        embedded = in_file.get(key)
        state = embedded.state if embedded is not None else step.state or names_of[step.input].state
        code = embedded.code if embedded is not None else step.code
        if embedded is None or state != "made":
            notes.append(
                f"planned, and not used: {names_of[step.input]}  {f'{state}:{code}' if code else state}"
            )
    return problems, notes


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """Give problems as lines of an answer."""
    return [line for problem in problems for line in str(problem).splitlines()]


def worst(problems: Sequence[Problem]) -> int:
    """Give the exit code of some problems; 0 of none."""
    return int(CODES[problems[0].code][1]) if problems else 0
