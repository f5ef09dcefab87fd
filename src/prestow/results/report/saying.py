"""The verdict in one sentence, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prestow.results.report import facts

if TYPE_CHECKING:
    from prestow.results.failures import FailureGroup

GOOD, LOSSES, BAD, BUSY = "good", "losses", "bad", "busy"

LONGEST = 400
"""Characters of a command; of a longer one, only how many."""


def verdict(counts: Mapping[str, int], *, alive: bool, closes: bool | None) -> tuple[str, str]:
    """Say in one sentence where a plan stands, and give its mood.

    Parameters
    ----------
    counts : mapping of state to int
    alive : bool
        Whether a run goes on.
    closes : bool or None
        Whether the account of its files closes; None if it was not looked at.

    Examples
    --------
    >>> verdict({"made": 187, "lost": 2}, alive=False, closes=True)
    ('187 of 189 made; 2 lost, tolerated; the account closes', 'losses')
    >>> verdict({"made": 40, "pending": 4}, alive=True, closes=None)
    ('under way: 40 of 44 made, 4 pending', 'busy')
    """
    total = sum(counts.values())
    if not total:
        return "nothing is planned, and nothing was made", GOOD
    made = counts.get("made", 0)
    parts = [f"{made:,} of {total:,} made"]
    if alive:
        parts += [
            f"{counts[s]:,} {s}"
            for s in ("failed", "held", "preempted", "lost", "blocked", "declined", "pending")
            if counts.get(s)
        ]
        return f"under way: {', '.join(parts)}", BUSY
    parts[0] += "".join(
        f", {counts[state]:,} {word}"
        for state, word in (
            ("reused", "taken from other runs"),
            ("declined", "declined"),
            ("unneeded", "not needed"),
        )
        if counts.get(state)
    )
    if counts.get("failed"):
        parts.append(f"{counts['failed']:,} failed")
    parts += [f"{counts[state]:,} {state}" for state in ("held", "preempted", "pending") if counts.get(state)]
    if counts.get("lost"):
        blocked = f", {counts['blocked']:,} blocked by that" if counts.get("blocked") else ""
        parts.append(f"{counts['lost']:,} lost, tolerated{blocked}")
    elif counts.get("blocked"):
        parts.append(f"{counts['blocked']:,} blocked")
    left = any(counts.get(state) for state in ("failed", "held", "preempted", "pending"))
    if closes is not None and not left:
        parts.append("the account closes" if closes else "the account does not close")
    bad = counts.get("failed") or (closes is False and not left)
    open_ = ("lost", "blocked", "pending", "held", "preempted")
    mood = BAD if bad else LOSSES if any(counts.get(s) for s in open_) else GOOD
    return "; ".join(parts), mood


MEMORY = ("PST-R003", "MemoryError")
"""What is most likely too little memory: a worker that vanished, and Python's own word."""


def next_commands(
    group: FailureGroup, now: Mapping[str, int], word: str, submit_again: str = ""
) -> tuple[str, ...]:
    """Give what to type next for a cause: look at it; then, if something is left to make, put it back.

    Parameters
    ----------
    now : mapping of state to int
        The states that its quanta are in.
    word : str
        What names the plan, after a blank, or nothing.
    submit_again : str
        The command that hands over what is left, of a plan that is handed over. What failed is in it anyway.
    """
    job = shlex.quote(group.jobs[0]) if group.jobs and group.jobs[0] else ""
    found = [f"prestow why {job}", f"prestow debug {job}"] if job else []
    if now.get("failed"):
        how = f" --avoid {shlex.quote(group.cause)}" if group.kind == "host" else ""
        how += " --memory x2" if group.exception in MEMORY else ""
        back = f"prestow retry{word}{how} && " if how or not submit_again else ""
        found.append(f"{back}{submit_again or f'prestow run{word}'}")
    elif set(now) - set(facts.GOOD):
        found.append(f"prestow repair{word}")
    return tuple(found)


def command_of(
    run: str, request: Mapping[str, Any], overrides: Sequence[str] = ()
) -> str:  # Any: JSON values
    """Give the command that asks for the same plan.

    Parameters
    ----------
    request : mapping
        As the plan has it.
    overrides : sequence of str
        Configuration on top of the pipeline's, ``task.key=value``.

    Examples
    --------
    >>> command_of("demo", {"where": "visit < 3", "child_of": None, "want": ["coadd"], "excluded": []})
    "prestow plan --run demo --where 'visit < 3' --want coadd"
    """
    words = ["prestow", "plan", "--run", run]
    for key, option in (("where", "--where"), ("child_of", "--child-of"), ("part", "--part")):
        if request.get(key):
            words += [option, str(request[key])]
    for wanted in request.get("want") or ():
        words += ["--want", str(wanted)]
    for override in overrides:
        words += ["--set", override]
    for one in request.get("excluded") or ():
        words += ["--exclude", str(one.get("where", "")), "--because", str(one.get("because", ""))]
    words += [option for key, option in (("whole", "--whole"), ("flat", "--flat")) if request.get(key)]
    text = shlex.join(words)
    return (
        text if len(text) <= LONGEST else f"prestow plan --run {shlex.quote(run)}  (and more: see plan.yaml)"
    )
