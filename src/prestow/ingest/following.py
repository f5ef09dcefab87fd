"""Taking in while jobs run: round after round, until the run is settled, all is quiet, or a person stops it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from prestow.ingest.outputs import Taking
from prestow.ingest.report import IngestReport
from prestow.ingest.shards import Shard

EVERY: Final = 1.0
"""Seconds between two looks at least; more where a look takes long."""

_REST: Final = 4.0  # times as long as a look took: so looking takes a fifth of a processor at most


def follow(
    taking: Taking,
    runs: Sequence[str] | None,
    *,
    settled: Callable[[], bool],
    until_idle: float | None = None,
    shard: Shard | None = None,
    told: Callable[[IngestReport], object] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> IngestReport:
    """Take in what appears until there is nothing more to come; give what it all came to.

    Parameters
    ----------
    taking : Taking
        What takes in.
    runs : sequence of str, optional
        Or all that have receipts, asked anew each time.
    settled : callable
        Says whether nothing more will come; asked before each look, so that the look after a yes sees all.
    until_idle : float, optional
        Seconds without a new receipt after which to end, too.
    shard : Shard, optional
        Only this part of the quanta.
    told : callable, optional
        Told what each look came to, if it found anything.
    sleep : callable
        Waits between two looks.
    """
    rounds: list[IngestReport] = []
    seen: set[str] = set()
    quiet = time.monotonic()
    last = False
    try:
        while not last:
            begin = time.monotonic()
            last = settled() or (until_idle is not None and begin - quiet >= until_idle)
            # The last look is at everything: also at what was faulty before, and at files nobody expects.
            found = taking.take(runs, shard=shard, files=last, seen=None if last else seen)
            rounds.append(taking.report())
            if found and not last:
                quiet = time.monotonic()
                if told is not None:
                    told(rounds[-1])
            if not last:
                sleep(max(EVERY, _REST * (time.monotonic() - begin)))
    except KeyboardInterrupt:
        if not rounds:
            raise
    return _in_all(rounds, whole=last)


def _in_all(rounds: Sequence[IngestReport], *, whole: bool) -> IngestReport:
    """Give one report for several looks, of which the last saw everything, if it was not interrupted."""
    last, before = rounds[-1], rounds[:-1]
    added = sum(report.added for report in before)
    verified: Counter[str] = Counter()
    for report in rounds:
        verified.update(report.verified)
    both = replace(
        last, verified=dict(verified), added=last.added + added, quanta=sum(report.quanta for report in rounds),
        promoted=sum(report.promoted for report in rounds), size=sum(report.size for report in rounds),
    )  # fmt: skip
    if whole:
        return replace(both, present=max(last.present - added, 0))
    states: Counter[str] = Counter()
    for report in rounds:
        states.update(report.states)
    return replace(
        both, present=rounds[0].present, states=dict(sorted(states.items())),
        refused=sum(report.refused for report in rounds),
        faulty=tuple(problem for report in rounds for problem in report.faulty),
        contradictory=tuple(problem for report in rounds for problem in report.contradictory),
    )  # fmt: skip
