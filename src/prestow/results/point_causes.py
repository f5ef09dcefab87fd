"""Why a dataset, or the quantum that makes it, is in its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.errors import PrestowError
from prestow.results import beside, chains
from prestow.results.lineage import ROOT, Point, counted
from prestow.results.reason import FEW, LOG_LINES, Reason, first_few, inputs_text, tell_failure
from prestow.results.tracing import place

if TYPE_CHECKING:
    from prestow.manifest import Receipt
    from prestow.results.recorded import Recorded


def of_point(recorded: Recorded, point: Point) -> Reason:
    """Say why a dataset, or a quantum, is as it is."""
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
        reason.following = f"prestow trace {recorded.typed(point)} --down"
    else:
        _absent(recorded, point, reason)
    reason.facts["notes"] = list(recorded.notes)
    return reason


def _root(recorded: Recorded, point: Point, reason: Reason) -> None:
    reason.lines.append(f"  taken in as it is: nothing here made it; {place(point)}")
    _bytes(recorded, point, reason)
    _used(recorded, point, reason)
    reason.following = f"prestow trace {recorded.typed(point)} --down"


def _made(recorded: Recorded, point: Point, reason: Reason) -> None:
    receipt = recorded.receipt_of(point)
    steps, told = recorded.reads([point])
    inputs = recorded.points({s.input for s in steps}, told)
    absent = [s for s in steps if s.state not in ("", "made") or (not s.state and not inputs[s.input].there)]
    words = inputs_text(len(steps)) if not absent else (
        f"{len(steps) - len(absent)} of {len(steps)} planned inputs ("
        + counted(f"{s.state}:{s.code}" if s.code else s.state or inputs[s.input].state for s in absent) + ")"
    )  # fmt: skip
    by = f"by attempt {point.attempt[:8]}" if point.attempt else "earlier"
    if point.state == "reused" and receipt is not None:
        by = f"in run {receipt.run} under the same recipe, and taken from there,"
        reason.facts["taken_from"] = receipt.run
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
        reason.following = f"prestow trace {recorded.typed(point)} --down"
    elif odd and found.roots:
        reason.following = f"prestow trace {recorded.typed(found.roots[0])} --down"
    elif point.by == "receipt":
        reason.lines.append("  it is not taken in yet")
        reason.following = f"prestow ingest{recorded.run_word(point.run)}"
    else:
        reason.following = f"prestow trace {recorded.typed(point)}" if point.type else "prestow status"


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
    reason.facts["class"] = "faulty" if got is not None else "missing"
    what = f"CHANGED: sha256 {got[1][:12]}…, committed {point.sha256[:12]}…" if got is not None else "GONE"
    reason.lines.append(f"  its file is {what}  {place(point)}")
    if point.state != ROOT:
        reason.lines.append(_again(recorded, point, there=got is not None))
    return True


def _again(recorded: Recorded, point: Point, *, there: bool) -> str:
    """Say how the committed bytes come back."""
    if not point.job or recorded.plan is None or recorded.plan.run != point.run:
        return "  the same plan, run elsewhere, makes equal bytes: put them at this name"
    debug = f"prestow debug {point.job} --keep{recorded.plan_word(' --plan ')}"
    remove = "remove what is there, and " if there else ""
    return f"  '{debug}' makes equal bytes below its outputs/: {remove}copy them to this name"


def _used(recorded: Recorded, point: Point, reason: Reason) -> None:
    if not point.type:
        return
    steps, told = recorded.uses([point.id])
    readers = recorded.points({s.reader for s in steps}, told)
    names = [f"{readers[k]} ({readers[k].state_words})" for k in dict.fromkeys(s.reader for s in steps)]
    reason.facts["used_by"] = [p.as_dict() for p in readers.values()]
    reason.lines.append(f"  used by {first_few(names)}" if names else "  nothing was made from it")


def _absent(recorded: Recorded, point: Point, reason: Reason) -> None:
    receipt = recorded.receipt_of(point)
    chain = chains.first_cause(recorded, point)
    cause = chain.points[-1]
    own = cause is point
    if receipt is not None:
        _settled_words(receipt, reason, own=own)
    elif point.state == "failed":
        reason.lines.append("  failed when it was tried, and may be tried again")
    elif own and point.job not in recorded.queue:
        reason.lines.append("  all that it needs is there; it was not tried yet")
    if receipt is None and point.job in recorded.queue:
        reason.lines.append(f"  its job is {recorded.queue[point.job]}")
        reason.facts["queue"] = recorded.queue[point.job]
    if point.state in ("failed", "lost"):
        tell_failure(recorded, point, reason)
    if not own:
        _chain_lines(recorded, chain, reason)
    if point.state == "failed":
        steps, told = recorded.reads([point])
        inputs = recorded.points({s.input for s in steps}, told)
        there = sum(p.there for p in inputs.values())
        whole = there == len(inputs)
        count = f"all {len(inputs):,}" if whole else f"{there:,} of {len(inputs):,}"
        reason.lines.append(
            f"  {count} inputs are there"
            if len(inputs) > 1
            else f"  its input is {'' if whole else 'not '}there"
        )
    _blocked_lines(recorded, point, reason)
    reason.following = _next(recorded, point, cause, own=own)
    if point.state == "failed":
        reason.lines.append(
            f"  other settings need a new run: prestow plan --run {point.run}2 --set {point.task}.KEY=VALUE"
        )
    if point.state in ("lost", "blocked"):
        reason.lines.append(
            f"  what was lost is made good in a child run: prestow repair{recorded.plan_word()}"
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


def _chain_lines(recorded: Recorded, chain: chains.Chain, reason: Reason) -> None:
    cause = chain.points[-1]
    path = " <- ".join(f"{p} ({p.state_words})" for p in chain.points)
    reason.lines.append(f"  first cause: {path}")
    if chain.others:
        reason.lines.append(f"  and {chain.others:,} more first causes")
    found = recorded.failures(cause) if cause.state in ("failed", "lost") else []
    if found:
        report, failure = found[-1]
        message = str(failure.get("message", "")).replace("\n", "\n      ")
        where = f"on host {report['host']}: " if report.get("host") else ""
        reason.lines.append(f"    {where}[{failure.get('code', '')}] {message}")
        reason.lines += [f"      {line}" for line in list(failure.get("log_tail", ()))[-FEW:]]
        reason.facts["cause"] = {
            "error": failure.get("code"),
            "message": failure.get("message"),
            "host": report.get("host"),
        }
    if chain.waits:
        reason.lines.append(f"  waits for {first_few([f'{p} ({p.state})' for p in chain.waits])}")
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
    reason.lines.append(f"  blocks {first_few(jobs)}{' (and nothing else)' if len(jobs) <= FEW else ''}")


def _next(recorded: Recorded, point: Point, cause: Point, *, own: bool) -> str:
    if cause.state == "pending":
        return recorded.command_for_the_rest()
    if not own:
        return f"prestow why {recorded.typed(cause)}"
    debug = f"prestow debug {point.job}{recorded.plan_word(' --plan ')}"
    if point.state == "failed" and recorded.plan is not None:
        plan = recorded.plan_word()
        again = recorded.submit_again or f"prestow retry{plan} {point.job} && prestow run{plan}"
        return f"{again}          or look into it: {debug}"
    if point.state == "lost" and recorded.plan is not None:
        return f"prestow repair{recorded.plan_word()}          or look into it: {debug}"
    if point.state in ("failed", "lost"):
        return debug
    return f"prestow trace {recorded.typed(point)} --down" if point.type else "prestow status"
