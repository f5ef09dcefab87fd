"""Waivers: which reasons to leave quanta out a person accepts, and a refusal that names all others.

A waiver is ``REASON`` or ``REASON@TASK``, where ``*`` and ``?`` stand for any characters:
``missing:flat@isr``, ``partial:*``. It waives what is waivable; what is noted needs none, and what is blocking
has none.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase

from prestow.errors import Problem
from prestow.model import DataId
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.pipeline.definition import Pipeline
from prestow.plan.state import LeftOut, State, Waived

SHOWN = 5  # data IDs named in one problem
KINDS = (
    "missing", "minimum", "partial", "calibration_gap", "calibration_overlap", "promised_late", "hook", "where",
    "excluded", "tainted", "contaminated", "upstream", "not_wanted", "other_part",
)  # fmt: skip
"""What reasons begin with."""
PARTIAL = "partial:"
"""How the reason of a gather begins that sees only part; such quanta are made, if it is waived."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver as it was written, and what it covers."""

    text: str
    reason: str
    task: str = "*"

    def covers(self, drop: LeftOut) -> bool:
        """Say whether it waives this."""
        return fnmatchcase(drop.reason, self.reason) and fnmatchcase(drop.task, self.task)


def read_waivers(texts: Sequence[str], pipeline: Pipeline) -> tuple[list[Waiver], list[Problem]]:
    """Read waivers, and give what is wrong with them.

    Examples
    --------
    >>> from prestow.testing.surveys import reduction
    >>> read_waivers(["missing:flat@isr"], reduction())[0][0].task
    'isr'
    >>> [p.fix for p in read_waivers(["missing:flat@irs"], reduction())[1]]
    ["did you mean 'isr'?"]
    """
    waivers, problems = [], []
    labels = [task.label for task in pipeline.tasks]
    for text in texts:
        reason, _, task = text.strip().partition("@")
        where, kind = f"--waive {shlex.quote(text)}", reason.partition(":")[0]
        if not reason or text.strip().endswith("@") or any(c.isspace() for c in reason + task):
            what, fix = f"'{text}' is no waiver", "write REASON or REASON@TASK, such as missing:flat@isr"
            problems.append(Problem("PST-C071", what, where, fix))
        elif task and not any(fnmatchcase(label, task) for label in labels):
            near = difflib.get_close_matches(task, labels, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"tasks: {', '.join(labels)}"
            problems.append(Problem("PST-C071", f"there is no task '{task}'", where, fix))
        elif not any(c in kind for c in "*?[") and kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"reasons begin with: {', '.join(KINDS)}"
            problems.append(Problem("PST-C071", f"there is no reason '{kind}'", where, fix))
        else:
            waivers.append(Waiver(text, reason, task or "*"))
    return waivers, problems


def apply_waivers(state: State) -> State:
    """Accept what is waived, and refuse all else that is waivable or blocking, at once."""
    waivers, problems = read_waivers(state.request.waive, state.request.pipeline)
    waived: list[Waived] = []
    kept: list[LeftOut] = []
    used: set[Waiver] = set()
    for drop in state.left_out:
        covering = [w for w in waivers if w.covers(drop)] if drop.severity == "waivable" else []
        used.update(covering)
        if covering:
            waived.append(Waived(drop.reason, drop.task, state.request.waive_because, drop.count))
        elif drop.severity != "noted":
            problems.append(_refusal(drop, replay=state.request.as_of is not None))
        if not (covering and drop.reason.startswith(PARTIAL)):
            kept.append(drop)
    warnings = [f"the waiver '{w.text}' waives nothing" for w in waivers if w not in used]
    warnings += list(_partial(waived))
    state = replace(
        state,
        left_out=tuple(kept),
        problems=(*state.problems, *problems),
        warnings=(*state.warnings, *warnings),
    )
    if not waived:
        return state
    pairs = sorted([w.reason, w.task] for w in waived)
    return replace(
        state,
        told={**state.told, "waived": [asdict(w) for w in waived]},
        identity={**state.identity, "waived": sha256_hex(canonical_json(pairs).encode())},
    )


def _partial(waived: Sequence[Waived]) -> Iterator[str]:
    for one in waived:
        if one.reason.startswith(PARTIAL):
            yield f"{one.count} quanta of {one.task} see only part of their {one.reason.removeprefix(PARTIAL)}"


def _refusal(drop: LeftOut, *, replay: bool) -> Problem:
    """Give the problem of one reason of one task: how many, the first data IDs, and the way out.

    ``replay`` says that calibrations were looked up as of a moment.
    """
    shown = [
        f"{DataId(json.loads(data_id))}" + (f" ({detail})" if detail else "")
        for data_id, detail in drop.examples.head(SHOWN).iter_rows()
    ]
    more = f"; and {drop.count - len(shown)} more" if drop.count > len(shown) else ""
    named = f"{'; '.join(shown)}{more}"
    where = f"task {drop.task}"
    quanta = f"{drop.count} {'quantum' if drop.count == 1 else 'quanta'} of {drop.task}"
    if drop.severity == "blocking":
        what = f"{quanta} can never be made, {drop.reason}: {named}"
        return Problem("PST-P021", what, where, _way_out(drop, ""))
    word = f"--waive {shlex.quote(f'{drop.reason}@{drop.task}')}"
    if drop.reason.startswith(PARTIAL):
        what = f"the selection takes only part of what {quanta} would gather, {drop.reason}: {named}"
        return Problem("PST-P020", what, where, f"take it whole with --whole, or go on with the part: {word}")
    what = f"{quanta} would be left out, {drop.reason}: {named}"
    later = "or say a later --as-of, " if replay and drop.reason.startswith("calibration_gap:") else ""
    ways = f"{later}or go on without them: {word}"
    return Problem("PST-P020", what, where, _way_out(drop, ways))


def _way_out(drop: LeftOut, waive: str) -> str:
    kind, _, name = drop.reason.partition(":")
    first = {
        "missing": f"take in or make the missing {name}",
        "minimum": f"correct the minimum of {name}",
        "calibration_gap": f"certify a {name} for that time",
        "calibration_overlap": f"decertify all but one {name} for that time",
    }.get(kind, "")
    return ", ".join(filter(None, (first, waive)))
