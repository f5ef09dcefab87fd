"""Why a file is as it is: committed, a copy, changed, or debris that no receipt commits."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import ASIDE, ATTEMPTS, RECEIPTS
from prestow.errors import PrestowError, Problem, ProjectError
from prestow.formats import CONVERTED
from prestow.results.embedded import story_of
from prestow.results.lineage import Point
from prestow.results.point_causes import of_point
from prestow.results.reason import Reason
from prestow.results.resolving import Found
from prestow.results.tracing import place
from prestow.stores import Linkable

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded


def of_dataset(recorded: Recorded, point: Point) -> Reason:
    """Say why a dataset is as it is, also where another one's file lies at its name."""
    reason = of_point(recorded, point)
    store = recorded.store
    if reason.state == "changed" and store is not None and isinstance(store, Linkable):
        with suppress(PrestowError):
            file, got = store.local_path(point.path), store.digest(point.path)
            found = Found(point, file, point.path, story_of(file), "" if got is None else got[1])
            _others_story(recorded, point, found, reason)
    return reason


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
        reason = of_point(recorded, point)  # it looks at its bytes itself
        if reason.state == "changed":
            _others_story(recorded, point, found, reason)
        return reason
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


def _others_story(recorded: Recorded, point: Point, found: Found, reason: Reason) -> None:
    """Say it where the file at the name of one dataset is another one's, and what to do with it."""
    story = found.story
    if story is None or story.id == point.id:
        return
    other = recorded.points([story.id])[story.id]
    shown = Point(story.id, story.type, story.data_id)
    lines = [f"  WRONG NAME: its story says that it is {shown} of run {story.run}"]
    reason.facts["file"] = {
        "path": str(found.file), "sha256": found.sha256, "state": "wrong name",
        "story": {"id": story.id, "type": story.type, "data_id": json.loads(story.data_id), "run": story.run},
    }  # fmt: skip
    if found.sha256 == other.sha256 and other.path:
        lines.append(f"  to the byte as that was committed at {place(other)}")
        swapped = _has_bytes(recorded, other, point.sha256)
        lines.append(
            "  each of the two files has the bytes of the other: exchange them"
            if swapped
            else "  if the file there is not good, move this one there, before another is put here"
        )
    else:
        swapped = False
    at = next(i for i, line in enumerate(reason.lines) if line.startswith("  its file is "))
    reason.lines[at + 1 : at + 1 + swapped] = lines  # exchanged, they need not be made again


def _has_bytes(recorded: Recorded, point: Point, sha256: str) -> bool:
    if recorded.store is None or point.store != recorded.name:
        return False
    try:
        got = recorded.store.digest(point.path)
    except PrestowError:
        return False
    return got is not None and got[1] == sha256


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
