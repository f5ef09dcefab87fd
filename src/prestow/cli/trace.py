"""``prestow trace``: what a product came from, and what it went into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli import completing
from prestow.cli.depth import Depth
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text
from prestow.errors import Exit, PrestowError, Problem, ProjectError

MOST = 400  # as `prestow.results.tracing`, which is not imported for a list of options

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.results.recorded import Recorded
    from prestow.results.resolving import Found
    from prestow.results.tracing import Trace


@click.command(short_help="Show what a product came from, and what it went into.")
@click.argument(
    "words", metavar="DATASET", nargs=-1, required=True, shell_complete=completing.dataset_words_or_file
)
@click.option("--up", is_flag=True, help="What it came from; so without any option.")
@click.option("--down", is_flag=True, help="What it went into.")
@click.option("--depth", type=Depth(), metavar="N|all", help="At most so many steps; all, if not given.")
@click.option(
    "--with-components",
    "components",
    multiple=True,
    metavar="TYPE",
    help="Also what was made with an ancestor, of this type; down: what is of this type leads to what was made with it.",
)
@click.option("--mermaid", is_flag=True, help="As a flow chart in Mermaid.")
@click.option(
    "--lines",
    type=click.IntRange(min=1),
    default=MOST,
    metavar="N",
    help=f"Lines of a tree, at most; {MOST}, if not given.",
)
@completing.of_run
@click.option(
    "--plan",
    shell_complete=completing.plans,
    default=None,
    metavar="PLAN",
    help="The plan that tells what is not made; the newest, if not given.",
)
@shared_options
def trace(
    words: tuple[str, ...], up: bool, down: bool, depth: int | None, components: tuple[str, ...], mermaid: bool, lines: int,
    run: str | None, plan: str | None, output: Output, directory: Path,
) -> int:  # fmt: skip
    """Follow DATASET: a file, a planned name, an id, 'type{k=v,…}', or words such as: coadd band=r.

    A file tells its parents by itself, also where there is no project. What stands out among the
    inputs beside it is marked with '!!'.
    """
    try:
        project = open_project(directory)
    except PrestowError as error:
        path = Path(words[0])
        if error.problems[0].code != "PST-G001" or len(words) > 1 or not path.is_file():
            raise
        return _file_alone(path, output, down=down, mermaid=mermaid)
    shown = Shown(up or not down, down, depth, components, mermaid, lines)
    return _in_project(project, words, output, shown, run=run, plan=plan)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is asked for, and how it is shown."""

    up: bool
    down: bool
    depth: int | None
    components: tuple[str, ...]
    mermaid: bool
    lines: int


def _file_alone(path: Path, output: Output, *, down: bool, mermaid: bool) -> int:
    from prestow.results.embedded import no_story, roots_told, story_of, told_by
    from prestow.results.tracing import tree_lines

    if down:
        problem = Problem(
            "PST-G001",
            "only a project knows what a file went into",
            str(path),
            "prestow -C PROJECT trace --down …",
        )
        raise ProjectError(problem)
    story = story_of(path)
    if story is None:
        raise no_story(path)
    found = told_by(story, path)
    if mermaid and not output.json:
        output.answer("trace", {}, found.mermaid())
        return Exit.OK
    lines = [*tree_lines(found), *(f"goes back to {root}" for root in roots_told(story))]
    lines.append("note: this is what the file says of itself; there is no project here to compare it with")
    facts = {"file": str(path), "up": found.as_dict(), "roots": [r.as_dict() for r in roots_told(story)]}
    output.answer("trace", facts, "\n".join(lines), following=f"prestow -C PROJECT trace {path}")
    return Exit.OK


def _in_project(
    project: Project,
    words: tuple[str, ...],
    output: Output,
    shown: Shown,
    *,
    run: str | None,
    plan: str | None,
) -> int:
    from prestow.results.embedded import changed, compare, no_story, problem_lines, worst
    from prestow.results.resolving import find_dataset
    from prestow.results.tracing import shown_lines, trace

    recorded = project.recorded(plan, run=run)
    for name in shown.components:
        recorded.sources.type_of(name)
    found = find_dataset(recorded, words, run=run)
    if found.point is None and found.story is None:
        raise no_story(found.file or Path(words[0]))
    lines: list[str] = []
    facts: dict[str, Any] = {}  # Any: JSON values
    problems: list[Problem] = []
    notes: list[str] = []
    following = ""
    if found.point is None:
        above, more = _told(found)
        lines += more
        facts["up"] = above.as_dict()
        notes.append("neither registry nor plan of this project know it: only the file tells")
        following = f"prestow find {above.start.type}"
    else:
        if found.story is not None:
            problems, notes = compare(
                recorded, found.story, found.point, sha256=found.sha256, where=str(found.file)
            )
        elif found.point.quantum:
            problems = changed(recorded, found.point, found.sha256, str(found.file))
        directions = [
            trace(recorded, found.point, down=d, depth=shown.depth, components=shown.components)
            for d in (False, True)
            if (shown.down if d else shown.up)
        ]
        if shown.mermaid and not output.json:
            output.answer("trace", {}, "\n".join(one.mermaid() for one in directions))
            return worst(problems)
        for one in directions:
            both = ["went into:"] if one.direction == "down" and shown.up else []
            lines += [*both, *shown_lines(one, shown.lines)]
            facts[one.direction] = one.as_dict()
        lines += _endings(directions[0])
        following = _following(recorded, directions[0])
    notes += recorded.notes
    facts |= {"problems": [p.as_dict() for p in problems], "notes": notes}
    lines += [*(f"note: {note}" for note in notes), *problem_lines(problems)]
    output.answer("trace", facts, "\n".join(lines), following=following)
    return worst(problems)


def _told(found: Found) -> tuple[Trace, list[str]]:
    from prestow.results.embedded import roots_told, told_by
    from prestow.results.tracing import tree_lines

    assert found.story is not None
    assert found.file is not None
    told = told_by(found.story, found.file)
    return told, [*tree_lines(told), *(f"goes back to {root}" for root in roots_told(found.story))]


def _endings(found: Trace) -> list[str]:
    from prestow.results.tracing import odd_lines

    lines = list(odd_lines(found))
    if len(found.points) == 1 and not found.cut:
        lines.append(
            "nothing was made from it" if found.direction == "down" else "it is where the line begins"
        )
    if found.cut:
        lines.append(f"cut at {count_text(found.cut, 'branch', 'branches')}: give a greater --depth")
    return lines


def _following(recorded: Recorded, found: Trace) -> str:
    """Give the next command: to what stands out, else to what is absent, else the other way."""
    if found.odd:
        return f"prestow why {recorded.typed(found.odd[0].point)}"
    if not found.start.there:
        return f"prestow why {recorded.typed(found.start)}"
    absent = [p for p in found.points.values() if not p.there]
    if absent:
        return f"prestow why {recorded.typed(absent[0])}"
    way = "" if found.direction == "down" else " --down"
    return f"prestow trace {recorded.typed(found.start)}{way}" if found.start.type else "prestow status"
