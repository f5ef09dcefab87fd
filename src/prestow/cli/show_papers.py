"""``prestow show JOB --log`` and its like: what is left of the running of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.errors import Exit, Problem, ProjectError

if TYPE_CHECKING:
    from prestow.cli.output import Output
    from prestow.project import Project


def show_papers(project: Project, words: tuple[str, ...], kind: str, output: Output) -> int:
    """Show the log, the configuration or the environment of a job; it stands the loss of the plan."""
    from prestow.results.job_papers import papers

    if not words or len(words) > 2:  # noqa: PLR2004 - PLAN and JOB
        raise ProjectError(Problem("PST-G005", f"--{kind} is of one job", fix=f"prestow show JOB --{kind}"))
    recorded = project.recorded(words[0] if len(words) > 1 else None)
    job = words[-1]
    found = papers(recorded, job, kind)
    if not found and recorded.plan is not None:
        job = str(recorded.plan.tables["jobs"]["name"][recorded.plan.find_job(job)])
        found = papers(recorded, job, kind)
    if not found:
        raise ProjectError(
            Problem("PST-R004", f"there is no job '{job}'", fix="see: prestow show, prestow status")
        )
    lines = [f"job {job}"]
    for paper in found:
        lines.append(f"  {paper.subject}  {kind}: {paper.source or paper.missing}")
        lines += [f"    {line}" for line in paper.lines]
        if paper.source and paper.missing:
            lines.append(f"    {paper.missing}")
    facts = {"job": job, kind: [paper.as_dict() for paper in found], "notes": list(recorded.notes)}
    output.answer(
        "show", facts, "\n".join(lines), following=f"prestow why {job}{recorded.plan_word(' --plan ')}"
    )
    return Exit.OK
