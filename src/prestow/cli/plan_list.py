"""``prestow plan --list``: the plans of a project, and who holds names in its store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prestow.cli.output import table

if TYPE_CHECKING:
    from prestow.cli.output import Output
    from prestow.project import Project


def list_plans(project: Project, output: Output) -> None:
    """Answer with every plan, and every reservation of a plan that is not here."""
    held = {entry.plan: entry for entry in project.reserved()}
    newest = project.newest_plan_directory()
    rows: list[dict[str, Any]] = []  # Any: JSON values
    for name in project.plans():
        plan = project.find_plan(name)
        rows.append(
            {
                "plan": plan.id, "run": plan.run, "quanta": plan.document["totals"]["quanta"],
                "outputs": plan.document["totals"]["outputs"], "reserved": name in held,
                "newest": newest is not None and newest.name == name, "here": True,
            }
        )  # fmt: skip
    known = {row["plan"] for row in rows}
    rows += [
        {
            "plan": entry.plan, "run": entry.run, "quanta": None, "outputs": None, "reserved": True, "newest": False,
            "here": False,
        }
        for entry in held.values() if entry.plan not in known
    ]  # fmt: skip
    shown = [
        (
            row["plan"][:8],
            row["run"],
            *("?" if n is None else f"{n:,}" for n in (row["quanta"], row["outputs"])),
            _note(row),
        )
        for row in rows
    ]
    text = (
        table(("plan", "run", "quanta", "outputs", "names"), shown, words=2)
        if rows
        else "no plan was made here yet"
    )
    output.answer(
        "plan-list", {"plans": rows}, text, following="prestow show PLAN" if rows else "prestow plan"
    )


def _note(row: dict[str, Any]) -> str:  # Any: JSON values
    words = ["reserved" if row["reserved"] else "free"]
    words += [] if row["here"] else ["by a plan that is not here"]
    return ", ".join([*words, *(["newest"] if row["newest"] else [])])
