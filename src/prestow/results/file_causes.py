"""Why a file is as it is: committed, a copy, changed, or debris that no receipt commits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import ASIDE, ATTEMPTS, RECEIPTS
from prestow.errors import Problem, ProjectError
from prestow.formats import CONVERTED
from prestow.results.lineage import Point
from prestow.results.point_causes import of_point
from prestow.results.reason import Reason
from prestow.results.resolving import Found
from prestow.results.tracing import place

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded


def of_file(recorded: Recorded, found: Found) -> Reason:
    """Say what a file is that was named by its path.

    Raises
    ------
    ProjectError
        PST-G012 if nothing knows it, and it carries no story.
    """
    point, file = found.point, found.file
    assert file is not None
    if point is None:
        return _debris(recorded, found, file)
    committed = found.sha256 == point.sha256
    if point.there and found.name == point.path:
        return of_point(recorded, point)  # it looks at its bytes itself
    if point.there and not found.name:
        reason = of_point(recorded, point)
        if committed:
            reason.lines.insert(1, f"  {file} is a copy of it")
            return reason
        if found.story is not None and found.story.task.endswith(CONVERTED):
            reason.lines.insert(1, f"  {file} is a copy of it in another format")
            return reason
        reason.state = "changed"
        reason.lines.insert(
            1, f"  {file} says that it is this dataset, and has other bytes (sha256 {found.sha256[:12]}…)"
        )
        reason.facts["file"] = {"path": str(file), "sha256": found.sha256, "state": "changed"}
        return reason
    return _debris(recorded, found, file)


def _debris(recorded: Recorded, found: Found, file: Path) -> Reason:
    """Say what a file is that no receipt commits."""
    point, name = found.point, found.name
    subject = name or str(file)
    facts: dict[str, Any] = {"file": {"path": str(file), "sha256": found.sha256, "state": "debris"}}
    top = name.split("/", 1)[0]
    if top in (RECEIPTS, ASIDE, ATTEMPTS) or top.startswith("_"):
        what = {
            RECEIPTS: "receipts: the commits of quanta, each in a file of its own or packed", ATTEMPTS: "the report of one attempt",
            ASIDE: "an output before its receipt and promotion; ingest promotes or removes it",
        }.get(top, "one of prestow's own files")  # fmt: skip
        return Reason(subject, "own", [f"{subject}  {what}"], facts, "prestow status")
    if not name and point is None and found.story is None:
        raise ProjectError(
            Problem(
                "PST-G012", "nothing here knows this file: it is in no registry, and carries no story", str(file),
                "take it in: prestow ingest --as TYPE FILE k=v …, or of raw files prestow ingest --raw FILE --instrument NAME",
            )
        )  # fmt: skip
    lines = [f"{subject}  debris: no receipt commits it"]
    following = "prestow status"
    if point is not None and point.there:
        lines.append(f"  the same dataset, {point}, was committed at {place(point)}")
        following = f"prestow why {recorded.typed(point)}"
    elif point is not None:
        lines.append(f"  {point} belongs there; it is {point.state_words}")
        inner = of_point(recorded, point)
        lines += inner.lines[1:]
        following = inner.following
    if found.story is not None:
        s = found.story
        lines.append(
            f"  the file says that it is {Point(s.id, s.type, s.data_id)} of run {s.run}, made by task {s.task}"
        )
    elif point is None:
        lines.append("  it carries no story, so prestow did not make it; no plan or registry knows its name")
    its = point is not None and point.there and found.story is not None and found.story.id == point.id
    if name:
        facts["file"]["class"] = "misplaced" if its else "unexpected"
        lines.append(f"  in the account it is {facts['file']['class']}")
    lines.append("  a file without a receipt is never taken in; remove it if nobody needs it")
    facts["point"] = point.as_dict() if point is not None else {}
    return Reason(subject, "debris", lines, facts, following)
