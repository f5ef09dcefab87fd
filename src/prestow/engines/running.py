"""Run what remains of a plan: lock, look at what is settled, loop over the engine, result."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.engines import Engine
from prestow.engines.awaiting import awaited_words
from prestow.engines.breaker import Breaker, Tripped
from prestow.engines.committing import gone_words, promote_settled
from prestow.engines.flights import Flights
from prestow.engines.journal import JOURNAL, Journal, run_lock
from prestow.engines.loop import Loop
from prestow.engines.progress import Event
from prestow.engines.result import RunFailure, RunResult
from prestow.engines.submission import Submission
from prestow.plan.laying import check_layout
from prestow.plan.retrying import read_held, read_retries, write_held
from prestow.plan.settled import read_settled
from prestow.stores import open_store

if TYPE_CHECKING:
    import polars as pl

    from prestow.plan import Plan
    from prestow.plan.settled import Register

__all__ = ["RunFailure", "RunResult", "run_plan"]


def run_plan(
    plan: Plan,
    *,
    engine: Engine,
    stores: Mapping[str, str],
    store: str = "archive",
    directory: Path | None = None,
    only: str | Sequence[str] = (),
    reuse: pl.DataFrame | None = None,
    registry: Register | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    breaker: Breaker | None = None,
    layout: str = "tree",
) -> RunResult:
    """Run what remains of a plan; the same call again goes on where it was.

    While it runs in the main thread, SIGINT or SIGTERM drains (no new job, running ones end), and a
    second one cancels. The engine is started only if there is something to run, and closed.

    Parameters
    ----------
    engine : Engine
        Where to run.
    stores : mapping of name to URI
        Every store that the plan's inputs lie in, and the output store.
    store : str
        Name of the output store.
    directory : Path or None
        The plan directory, for lock and journal; default the plan's own.
    only : str or sequence of str
        Tasks: run their quanta and what they need, no more.
    reuse : DataFrame or None
        What `reusable` gave: outputs that are taken from a parent run.
    registry : Register or None
        What it has taken in needs no look at receipts.
    on_event : callable or None
        Called with an `Event` on every change.
    stop : threading.Event or None
        Set it to drain.
    breaker : Breaker or None
        Says when one cause failed too many jobs of a task: no more of them begin then, also in later runs,
        until somebody puts jobs back. Without one, that is forgotten. What jobs were put back with
        (`prestow.plan.retrying`) counts.
    layout : str
        Of local repositories, one of `prestow.manifest.LAYOUTS`.

    Raises
    ------
    PrestowError
        If another run of this plan is under way (PST-R005), the store is not fit (PST-R001), or a flat name
        would be too long (PST-N070).
    PlanRefusedError
        If a receipt stands there under another recipe (PST-P005).
    """
    begin = time.monotonic()
    stop = stop or threading.Event()
    directory = directory or plan.directory
    with ExitStack() as stack:
        if directory is not None:
            stack.enter_context(run_lock(directory))
        output = open_store(stores[store])
        settled = read_settled(plan, output, look=True, registry=registry)
        gone = [name for row in settled.unpromoted for name in promote_settled(plan, output, row)]
        check_layout(plan, layout)
        submission = Submission.of(plan, settled, reuse=reuse, only=only)
        journal = None
        if submission.rows:
            output.probe()
            if directory is not None:
                journal = Journal(directory / JOURNAL)
                stack.callback(journal.close)
        flights = Flights(submission, engine, store, stores, reuse, read_retries(directory), layout)
        loop = Loop(submission, engine, output, flights, journal, on_event, stop, begin, breaker)
        if breaker is not None:
            loop.held = {label: Tripped(**facts) for label, facts in read_held(directory).items()}
        if submission.rows:
            stack.enter_context(_signals(stop))
            loop.run()
        write_held(directory, {label: tripped.as_dict() for label, tripped in loop.held.items()})
        result = loop.result()
        waits = awaited_words(plan, submission.awaited)
        return replace(result, notes=(*result.notes, *gone_words(gone), *waits))


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Make the first SIGINT or SIGTERM drain and the second one cancel."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(number: int, frame: object) -> None:  # noqa: ARG001 - as signal calls it
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
