"""``prestow show --graph``: tasks and dataset types, to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    from prestow.cli.output import Output
    from prestow.project import Project


def show_graph(
    project: Project, words: Sequence[str], language: str, output: Output, *, pipeline: bool
) -> None:
    """Print the graph of a plan, or of the pipeline.

    The option takes the word after it; if that is no language, it is the plan.
    """
    from prestow.results.graph import LANGUAGES

    if language not in LANGUAGES:
        words, language = (language, *words), "mermaid"
    if len(words) > (0 if pipeline else 1):
        what = f"too many words: {' '.join(words)}"
        fix = "prestow show [PLAN] --graph mermaid, or: prestow show --graph dot --pipeline"
        raise ProjectError(Problem("PST-G005", what, "prestow show --graph", fix))
    plan = None if pipeline else project.find_plan(words[0] if words else "latest")
    found = project.graph(plan)
    facts = {"plan": None, "run": None} if plan is None else {"plan": plan.id, "run": plan.run}
    output.answer("show", {**facts, **found.as_dict(), "language": language}, found.text(language))
