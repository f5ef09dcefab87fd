"""Why a job, a dataset or a file is as it is: its state in words, the first cause, and what to type next."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import ASIDE, ATTEMPTS, RECEIPTS
from prestow.errors import PrestowError, Problem, ProjectError
from prestow.results import beside, chains
from prestow.results.lineage import ROOT, Point, counted
from prestow.results.naming_words import parse_dataset
from prestow.results.resolving import Found, find_dataset, nearest
from prestow.results.tracing import place

if TYPE_CHECKING:
    from prestow.manifest import Receipt
    from prestow.results.recorded import Recorded

LOG_LINES = 20
FEW = 5

_NUMBERS = re.compile(r"\d+")


@dataclass(slots=True)
class Reason:
    """An answer to *why*.

    Parameters
    ----------
    subject : str
        What was asked about.
    state : str
        Its state; of a job, those of its quanta; of a file also ``changed`` or ``debris``.
    lines : list of str
        For people.
    facts : dict
        The same as plain values.
    following : str
        The next command to type.
    """

    subject: str
    state: str
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # Any: JSON values
    following: str = ""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {"subject": self.subject, "state": self.state, **self.facts}


def why(recorded: Recorded, words: Sequence[str], *, run: str | None = None) -> Reason:
    """Say why the job, dataset or file that some words mean is as it is.

    Raises
    ------
    ProjectError
        PST-G012 if nothing knows it, with the nearest names; PST-G014 if several are meant.
    """
    job = words[0] if len(words) == 1 else ""
    points = recorded.of_job(job) if job and "/" not in job else []
    if not points:
        try:
            found = find_dataset(recorded, words, run=run)
        except PrestowError as error:
            points, reason = _otherwise(recorded, words, error)
            if reason is not None:
                return reason
        else:
            return _of_file(recorded, found) if found.file is not None else _of_point(recorded, _sure(found))
    reasons = [_of_point(recorded, point) for point in points]
    if len(reasons) == 1:
        return reasons[0]
    return _joined(points[0].job, points, reasons)


def _sure(found: Found) -> Point:
    assert found.point is not None, "what is no file is a dataset"
    return found.point


def _otherwise(
    recorded: Recorded, words: Sequence[str], error: PrestowError
) -> tuple[list[Point], Reason | None]:
    """Look whether words that name no dataset mean a job, or what was left out; else raise the error with a hint."""
    text = " ".join(words)
    if error.problems[0].code not in ("PST-G006", "PST-G007", "PST-G012"):
        raise error
    if recorded.plan is not None and len(words) == 1:
        try:
            number = recorded.plan.find_job(text)
        except PrestowError:
            pass
        else:
            return recorded.of_job(str(recorded.plan.tables["jobs"]["name"][number])), None
    left_out = _left_out(recorded, words)
    if left_out is not None:
        return [], left_out
    if "=" in text or error.problems[0].code == "PST-G012":
        raise error
    raise ProjectError(
        Problem("PST-G012", f"no job, file or dataset '{text}'", _searched(recorded), nearest(recorded, text))
    ) from error


def _searched(recorded: Recorded) -> str:
    places = [f"plan {recorded.plan.id[:8]}"] if recorded.plan is not None else []
    return ", ".join([*places, *(["the registry"] if recorded.registry is not None else [])])


def _left_out(recorded: Recorded, words: Sequence[str]) -> Reason | None:
    """Give the reason why the planner left something out, if it did."""
    if recorded.plan is None:
        return None
    try:
        named = parse_dataset(words, recorded.universe)
    except PrestowError:
        return None
    tasks = [
        task.label for task in recorded.plan.definition.tasks
        if task.label == named.type or any(output.type == named.type for output in task.outputs)
    ]  # fmt: skip
    rows = recorded.plan.tables["left_out"].filter(pl.col("task").is_in(tasks))
    for name, value in named.data_id.items():
        part = json.dumps({name: value}, separators=(",", ":"), ensure_ascii=False)[1:-1]
        rows = rows.filter(
            pl.col("data_id").str.contains(f"{part},", literal=True)
            | pl.col("data_id").str.ends_with(f"{part}}}")
        )
    if not rows.height or not named.data_id:
        return None
    facts = [
        {"task": r["task"], "data_id": json.loads(r["data_id"]), "reason": r["reason"], "detail": r["detail"]}
        for r in rows.head(FEW).iter_rows(named=True)
    ]
    lines = [f"{named}  not planned: left out of plan {recorded.plan.id[:8]}"]
    lines += [
        f"  {f['task']}{{{','.join(f'{k}={v}' for k, v in f['data_id'].items())}}}  {f['reason']}{': ' + f['detail'] if f['detail'] else ''}"
        for f in facts
    ]
    if rows.height > FEW:
        lines.append(f"  and {rows.height - FEW:,} more")
    return Reason(
        str(named), "left_out", lines, {"left_out": facts, "count": rows.height}, "prestow plan --dry-run"
    )


def _joined(job: str, points: Sequence[Point], reasons: Sequence[Reason]) -> Reason:
    """Give one answer for the quanta of a job; what needs no word is one line."""
    bad = [r for p, r in zip(points, reasons, strict=True) if not p.there]
    lines = [f"job {job}: {counted(p.state for p in points)}"]
    for point, reason in zip(points, reasons, strict=True):
        lines += [reason.lines[0]] if point.there else reason.lines
    facts = {"job": job, "quanta": [r.as_dict() for r in reasons]}
    states = ",".join(dict.fromkeys(p.state for p in points))
    return Reason(job, states, lines, facts, (bad or reasons)[0].following)


# --- a dataset, or a quantum -----------------------------------------------------------------


def _of_point(recorded: Recorded, point: Point) -> Reason:
    head = [
        str(point),
        point.state_words,
        *([f"run {point.run}"] if point.run else []),
        *([f"job {point.job}"] if point.job else []),
    ]
    reason = Reason(str(point), point.state, ["  ".join(head)], {"point": point.as_dict()})
    if point.state == ROOT:
        _root(recorded, point, reason)
    elif point.there:
        _made(recorded, point, reason)
    elif point.state == "deleted":
        reason.lines.append("  it was deleted on purpose, and nothing brings it back")
        reason.following = f"prestow trace {point.typed} --down"
    else:
        _absent(recorded, point, reason)
    reason.facts["notes"] = list(recorded.notes)
    return reason


def _root(recorded: Recorded, point: Point, reason: Reason) -> None:
    reason.lines.append(f"  taken in as it is: nothing here made it; {place(point)}")
    _bytes(recorded, point, reason)
    _used(recorded, point, reason)
    reason.following = f"prestow trace {point.typed} --down"


def _made(recorded: Recorded, point: Point, reason: Reason) -> None:
    receipt = recorded.receipt_of(point)
    steps, told = recorded.reads([point])
    inputs = recorded.points({s.input for s in steps}, told)
    absent = [s for s in steps if s.state not in ("", "made") or (not s.state and not inputs[s.input].there)]
    words = _inputs(len(steps)) if not absent else (
        f"{len(steps) - len(absent)} of {len(steps)} planned inputs ("
        + counted(f"{s.state}:{s.code}" if s.code else s.state or inputs[s.input].state for s in absent) + ")"
    )  # fmt: skip
    by = (
        f"by attempt {point.attempt[:8]}"
        if point.attempt
        else "in a parent run"
        if point.state == "reused"
        else "earlier"
    )
    reason.lines.append(f"  made {by} from {words}{_where(recorded, point)}")
    reason.facts |= {"attempt": point.attempt, "planned": len(steps), "used": len(steps) - len(absent)}
    if receipt is not None and receipt.actual_recipe != receipt.planned_recipe:
        reason.lines.append("  its actual recipe is not the planned one: something was lost on the way")
    changed = _bytes(recorded, point, reason)
    found = beside.look(recorded, point)
    reason.facts["standings"] = [s.as_dict() for s in found.standings]
    if found.standings:
        reason.lines.append(f"  its measures among {found.count} {found.who}:")
        reason.lines += [f"    {s}" for s in found.standings[:LOG_LINES]]
    elif receipt is not None and receipt.measures:
        reason.lines.append(
            f"  measured: {', '.join(f'{k} {v}' for k, v in receipt.measures.items())} (too few beside it to compare)"
        )
    odd = [s for s in found.standings if s.stands_out]
    if odd:
        reason.lines += [f"  it alone goes back to {root}  {place(root)}" for root in found.roots]
        reason.facts["roots"] = [root.as_dict() for root in found.roots]
    _used(recorded, point, reason)
    if changed:
        reason.following = f"prestow trace {point.typed} --down"
    elif odd and found.roots:
        reason.following = f"prestow trace {found.roots[0].typed} --down"
    elif point.by == "receipt":
        reason.lines.append("  it is not taken in yet")
        reason.following = "prestow ingest"
    else:
        reason.following = f"prestow trace {point.typed}" if point.type else "prestow status"


def _where(recorded: Recorded, point: Point) -> str:
    hosts = {
        str(r.get("host"))
        for r in recorded.reports(point.job)
        if r.get("attempt") == point.attempt and point.attempt
    }
    return f" on {hosts.pop()}" if hosts else ""


def _bytes(recorded: Recorded, point: Point, reason: Reason) -> bool:
    """Say whether the bytes are still those that were committed; True if not."""
    if recorded.store is None or point.store != recorded.name or not point.sha256 or not point.path:
        return False
    try:
        got = recorded.store.digest(point.path)
    except PrestowError as error:
        reason.lines.append(f"  its file cannot be read: {error.problems[0].what}")
        return True
    if got is not None and got[1] == point.sha256:
        reason.facts["bytes"] = "as committed"
        return False
    reason.facts["bytes"] = "changed" if got is not None else "gone"
    reason.state = str(reason.facts["bytes"])
    what = f"CHANGED: sha256 {got[1][:12]}…, committed {point.sha256[:12]}…" if got is not None else "GONE"
    reason.lines.append(f"  its file is {what}  {place(point)}")
    if point.state != ROOT:
        reason.lines.append(
            "  remove what is there, then 'prestow run' makes it again, and puts back equal bytes only"
        )
    return True


def _used(recorded: Recorded, point: Point, reason: Reason) -> None:
    if not point.type:
        return
    steps, told = recorded.uses([point.id])
    readers = recorded.points({s.reader for s in steps}, told)
    names = [f"{readers[k]} ({readers[k].state_words})" for k in dict.fromkeys(s.reader for s in steps)]
    reason.facts["used_by"] = [p.as_dict() for p in readers.values()]
    reason.lines.append(f"  used by {_first_few(names)}" if names else "  nothing was made from it")


def _absent(recorded: Recorded, point: Point, reason: Reason) -> None:
    receipt = recorded.receipt_of(point)
    chain = chains.first_cause(recorded, point)
    cause = chain.points[-1]
    own = cause is point
    if receipt is not None:
        _settled_words(receipt, reason, own=own)
    elif point.state == "failed":
        reason.lines.append("  failed when it was tried, and may be tried again")
    elif own:
        reason.lines.append("  all that it needs is there; it was not tried yet")
    if point.state in ("failed", "lost"):
        _failure(recorded, point, reason)
    if not own:
        _chain_lines(recorded, chain, reason)
    if point.state == "failed":
        steps, _ = recorded.reads([point])
        reason.lines.append(f"  what it reads is complete: {_inputs(len(steps))}")
    _blocked_lines(recorded, point, reason)
    reason.following = _next(point, cause, own=own)
    if point.state == "failed":
        reason.lines.append(
            f"  other settings need a new run: prestow plan --run {point.run}2 --set {point.task}.KEY=VALUE"
        )
    if point.state in ("lost", "blocked"):
        reason.lines.append(
            f"  what was lost is made good in a child run: prestow plan --child-of {point.run}"
        )


def _settled_words(receipt: Receipt, reason: Reason, *, own: bool) -> None:
    by = (
        f"attempt {receipt.attempt[:8]}"
        if receipt.attempt
        else f"the {receipt.sealer}"
        if receipt.sealer
        else "nobody"
    )
    why_so = f": {receipt.reason}" if receipt.reason else ""
    if receipt.state == "made":
        text = f"its quantum was made by {by}, and left this output out"
    elif receipt.state == "declined":
        text = f"declined by {by} with '{receipt.code}'{why_so}: there is rightfully nothing to make" if own else (
            f"declined with '{receipt.code}': its inputs were declined"
        )  # fmt: skip
    elif receipt.state == "lost":
        text = f"sealed as lost by {by}{why_so}"
    else:
        text = f"blocked{why_so}: what it needs was lost"
    reason.lines.append(f"  {text}")
    reason.facts |= {
        "code": receipt.code,
        "reason": receipt.reason,
        "attempt": receipt.attempt,
        "sealer": receipt.sealer,
    }


def _failure(recorded: Recorded, point: Point, reason: Reason) -> None:
    """Say how it failed the last time: error, host, tries, the end of its log, and how often the same."""
    found = recorded.failures(point)
    if not found:
        reason.lines.append("  no report of an attempt is left: how it failed cannot be told")
        return
    report, failure = found[-1]
    tail = list(failure.get("log_tail", ()))[-LOG_LINES:]
    tries = "once" if len(found) == 1 else f"{len(found)} times"
    reason.lines.append(
        f"  failed {tries}, last on host {report.get('host', '?')} after {failure.get('seconds', 0):.2f} s "
        f"(attempt {str(report.get('attempt', ''))[:8]})"
    )
    reason.lines.append(f"  [{failure.get('code', '')}] {failure.get('message', '')}")
    if tail:
        reason.lines.append(
            f"  the log's last {len(tail)} lines:" if len(tail) > 1 else "  the log's last line:"
        )
        reason.lines += [f"    {line}" for line in tail]
    reason.facts |= {
        "tries": len(found), "host": report.get("host"), "versions": report.get("versions"), "error": failure.get("code"),
        "message": failure.get("message"), "log_tail": tail, "seconds": failure.get("seconds"),
    }  # fmt: skip
    same = _same_error(recorded, point, failure)
    if same is not None:
        reason.lines.append(f"  the same error in {same[0]:,} of {same[1]:,} {point.task} quanta")
        reason.facts["same_error"] = {"count": same[0], "of": same[1]}


def _same_error(recorded: Recorded, point: Point, failure: Mapping[str, Any]) -> tuple[int, int] | None:
    """Count the quanta of the task whose last failure says the same, numbers aside, and that are not made."""
    if recorded.plan is None:
        recorded.note("without the plan, how many quanta have the same error is not known")
        return None
    quanta = recorded.plan.tables.scan("quanta").filter(pl.col("task") == point.task).select("quantum", "job")
    jobs = recorded.plan.tables.scan("jobs").select("job", "name")
    rows = quanta.join(jobs, on="job").collect()
    wanted, count = _signature(failure), 0
    for job in rows["name"].unique(maintain_order=True):  # a directory of reports for each that was tried
        last: dict[str, Mapping[str, Any]] = {}
        for report in recorded.reports(job):
            for entry in report.get("quanta", ()):
                if entry.get("task") != point.task:
                    continue
                for one in entry.get("failures", ()):
                    last[entry["quantum"]] = one
                if entry.get("state") == "made":
                    last.pop(entry["quantum"], None)
        count += sum(_signature(one) == wanted for one in last.values())
    return count, rows.height


def _signature(failure: Mapping[str, Any]) -> tuple[str, str]:
    return str(failure.get("code", "")), _NUMBERS.sub("0", str(failure.get("message", "")))


def _chain_lines(recorded: Recorded, chain: chains.Chain, reason: Reason) -> None:
    cause = chain.points[-1]
    path = " <- ".join(f"{p} ({p.state_words})" for p in chain.points)
    reason.lines.append(f"  first cause: {path}")
    if chain.others:
        reason.lines.append(f"  and {chain.others:,} more first causes")
    found = recorded.failures(cause) if cause.state in ("failed", "lost") else []
    if found:
        report, failure = found[-1]
        reason.lines.append(
            f"    on host {report.get('host', '?')}: [{failure.get('code', '')}] {failure.get('message', '')}"
        )
        reason.lines += [f"      {line}" for line in list(failure.get("log_tail", ()))[-FEW:]]
        reason.facts["cause"] = {
            "error": failure.get("code"),
            "message": failure.get("message"),
            "host": report.get("host"),
        }
    if chain.waits:
        reason.lines.append(f"  waits for {_first_few([f'{p} ({p.state})' for p in chain.waits])}")
    reason.facts |= {
        "chain": [p.as_dict() for p in chain.points], "first_cause": cause.as_dict(), "other_causes": chain.others,
        "waits_for": [p.as_dict() for p in chain.waits],
    }  # fmt: skip


def _blocked_lines(recorded: Recorded, point: Point, reason: Reason) -> None:
    held = chains.held_up(recorded, point)
    reason.facts["blocks"] = [p.as_dict() for p in held]
    if not held:
        reason.lines.append("  blocks nothing")
        return
    jobs = list(dict.fromkeys(p.job or str(p) for p in held))
    reason.lines.append(f"  blocks {_first_few(jobs)}{' (and nothing else)' if len(jobs) <= FEW else ''}")


def _inputs(count: int) -> str:
    return "1 input" if count == 1 else f"{count:,} inputs"


def _first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW:,} more" if len(names) > FEW else "")


def _next(point: Point, cause: Point, *, own: bool) -> str:
    if cause.state == "pending":
        return "prestow run"
    if not own:
        return f"prestow why {cause.typed}"
    if point.state in ("failed", "lost"):
        return f"prestow debug {point.job}"
    return f"prestow trace {point.typed} --down" if point.type else "prestow status"


# --- a file ----------------------------------------------------------------------------------


def _of_file(recorded: Recorded, found: Found) -> Reason:
    point, file = found.point, found.file
    assert file is not None
    if point is None:
        return _debris(recorded, found, file)
    committed = found.sha256 == point.sha256
    if point.there and found.name == point.path:
        return _of_point(recorded, point)  # it looks at its bytes itself
    if point.there and not found.name:
        reason = _of_point(recorded, point)
        if committed:
            reason.lines.insert(1, f"  {file} is a copy of it")
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
    facts = {"file": {"path": str(file), "sha256": found.sha256, "state": "debris"}}
    top = name.split("/", 1)[0]
    if top in (RECEIPTS, ASIDE, ATTEMPTS) or top.startswith("_"):
        what = {
            RECEIPTS: "a receipt: the commit of one quantum", ATTEMPTS: "the report of one attempt",
            ASIDE: "an output before its receipt and promotion; ingest promotes or removes it",
        }.get(top, "one of prestow's own files")  # fmt: skip
        return Reason(subject, "own", [f"{subject}  {what}"], facts, "prestow status")
    if not name and point is None and found.story is None:
        raise ProjectError(
            Problem(
                "PST-G012", "nothing here knows this file: it is in no registry, and carries no story", str(file),
                "take it in: prestow ingest --raw FILE --instrument NAME",
            )
        )  # fmt: skip
    lines = [f"{subject}  debris: no receipt commits it"]
    following = "prestow status"
    if point is not None and point.there:
        lines.append(f"  the same dataset, {point}, was committed at {place(point)}")
        following = f"prestow why {point.typed}"
    elif point is not None:
        lines.append(f"  {point} belongs there; it is {point.state_words}")
        inner = _of_point(recorded, point)
        lines += inner.lines[1:]
        following = inner.following
    if found.story is not None:
        s = found.story
        lines.append(
            f"  the file says that it is {Point(s.id, s.type, s.data_id)} of run {s.run}, made by task {s.task}"
        )
    elif point is None:
        lines.append("  it carries no story, so prestow did not make it; no plan or registry knows its name")
    lines.append("  a file without a receipt is never taken in; remove it if nobody needs it")
    facts["point"] = point.as_dict() if point is not None else {}
    return Reason(subject, "debris", lines, facts, following)
