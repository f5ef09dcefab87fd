"""The one loop over engines: which job is ready, what is tried again, what is sealed, what it came to."""

from __future__ import annotations

import heapq
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import promote, report_name, settle
from prestow.engines import Ended, Engine, JobSpec
from prestow.engines.journal import JOURNAL, Journal, run_lock
from prestow.engines.progress import Event
from prestow.engines.result import RunFailure, RunResult
from prestow.engines.sealing import to_seal
from prestow.engines.submission import Submission, count_states
from prestow.errors import CODES, Exit
from prestow.manifest import REPORT_SCHEMA, Manifest, Receipt
from prestow.model import DataId, State
from prestow.model.hashing import canonical_json
from prestow.plan.settled import read_settled
from prestow.stores import Store, open_store

if TYPE_CHECKING:
    import polars as pl

    from prestow.plan import Plan

__all__ = ["RunFailure", "RunResult", "run_plan"]

ALLOWED_LOSSES = 3
"""How often a worker may vanish under one job."""

PATIENCE = 20
"""How often a job may find unsettled what is settled, or not be run, before it counts as failed."""

KEPT_TEXT = 64 << 20
"""How many characters of receipts are kept to be handed on; nodes read the others from the store."""

HANDED_ON = 200
"""How many receipts are handed to one job; it reads the others from the store."""


def run_plan(
    plan: Plan,
    *,
    engine: Engine,
    stores: Mapping[str, str],
    store: str = "archive",
    directory: Path | None = None,
    only: str | None = None,
    reuse: pl.DataFrame | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
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
    only : str or None
        A task: run its quanta and what they need, no more.
    reuse : DataFrame or None
        What `reusable` gave: outputs that are taken from a parent run.
    on_event : callable or None
        Called with an `Event` on every change.
    stop : threading.Event or None
        Set it to drain.

    Raises
    ------
    PrestowError
        If another run of this plan is under way (PST-R005), or the store is not fit (PST-R001).
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
        settled = read_settled(plan, output, look=True)
        for row in settled.unpromoted:
            _promote(plan, output, row)
        submission = Submission.of(plan, settled, reuse=reuse, only=only)
        journal = None
        if submission.rows:
            output.probe()
            if directory is not None:
                journal = Journal(directory / JOURNAL)
                stack.callback(journal.close)
        loop = _Loop(submission, engine, output, store, stores, reuse, journal, on_event, stop, begin)
        if submission.rows:
            stack.enter_context(_signals(stop))
            loop.run()
        return loop.result()


def _promote(plan: Plan, store: Store, row: int) -> None:
    found = read_settled(plan, store, rows=[row], keep=True).texts.get(row)
    if found is not None:
        promote(store, Receipt.from_json(found))


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


@dataclass(slots=True)
class _Flight:
    """One try of a job that the engine has."""

    job: int
    tries: int
    begin: float


@dataclass
class _Loop:
    submission: Submission
    engine: Engine
    store: Store
    store_name: str
    stores: Mapping[str, str]
    reuse: pl.DataFrame | None
    journal: Journal | None
    on_event: Callable[[Event], None] | None
    stop: threading.Event
    begin: float
    id: str = field(default_factory=lambda: os.urandom(4).hex())
    flying: dict[object, _Flight] = field(default_factory=dict)
    handles: dict[int, object] = field(default_factory=dict)  # job -> handle, while it flies
    ready: list[int] = field(default_factory=list)  # a heap of jobs
    cursor: int = 0
    open: dict[int, int] = field(default_factory=dict)  # job -> inputs that are not settled
    submitted: set[int] = field(default_factory=set)  # jobs that flew at least once
    tries: Counter[int] = field(default_factory=Counter)  # of jobs
    failed: Counter[int] = field(default_factory=Counter)  # failures of quanta
    lost: Counter[int] = field(default_factory=Counter)  # workers under jobs
    idle: Counter[int] = field(default_factory=Counter)  # fruitless tries of jobs
    suspects: list[int] = field(default_factory=list)  # jobs to be run alone
    spent: set[int] = field(default_factory=set)  # quanta without a further try
    failures: dict[int, RunFailure] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    kept: int = 0
    words: dict[int, str] = field(default_factory=dict)
    tasks: dict[str, dict[str, int]] = field(default_factory=dict)
    draining: bool = False
    cancelled: bool = False
    environment: bool = False
    dirty: bool = False
    sealing_seconds: float = 0.0
    sealed_at: float = 0.0

    def __post_init__(self) -> None:
        s = self.submission
        self.words = {row: str(state) for row, state in s.states.items()}
        self.words.update(dict.fromkeys(s.reused, "reused"))
        tasks = s.plan.tables["quanta"]["task"].to_list()
        self.tasks = count_states(s.policies, tasks, self.words)

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        s = self.submission
        self.open = {job: len(s.waits.get(job, ())) for job in s.jobs}
        self.ready = [job for job in s.jobs if not self.open[job]]
        self._tell("begin")
        self._note("begin", plan=s.plan.id, submission=self.id, jobs=len(s.jobs), quanta=len(s.rows))
        self._put_code()
        try:
            self.engine.start()
            for note in getattr(self.engine, "notes", ()):
                self._tell("note", note)
            while self._turn():
                pass
        except KeyboardInterrupt:
            self.cancelled = self.draining = True
            self.stop.set()
        finally:
            self._note("end", cancelled=self.cancelled, drained=self.draining)
            self.engine.close(cancel=self.cancelled)
            self._reread()
            self._tell("end")

    def _turn(self) -> bool:
        """Do one turn of the loop; give whether there is another."""
        if self.stop.is_set() and not self.draining:
            self.draining = True
            self._tell("note", "draining: no new job begins; once more to cancel")
            self.engine.drain()
        if not self.draining:
            self._fill()
        if not self.flying:
            if self.draining:
                return False
            if self._seal():
                return True
            if not self.suspects:
                return False
            self._submit([self.suspects.pop(0)])
        ended = self.engine.wait(0.2)
        for one in ended:
            self._ended(one)
        if ended:
            if self.journal is not None:
                self.journal.flush()
            self._tell("progress")
            if self.dirty and time.monotonic() - self.sealed_at > 20 * self.sealing_seconds:
                self._seal()
        return True

    def _fill(self) -> None:
        """Hand jobs to the engine: first what is ready, then what waits only for what flies."""
        free = self.engine.window - len(self.flying)
        if free * 2 < self.engine.window:
            return  # a few at a time would cost a look into the plan's tables for each
        batch = [heapq.heappop(self.ready) for _ in range(min(free, len(self.ready)))]
        jobs = self.submission.jobs
        coming = set(batch)
        while len(batch) < free and self.cursor < len(jobs):
            job = jobs[self.cursor]
            self.cursor += 1
            if job not in self.submitted and job not in coming and self._may_follow(job, coming):
                coming.add(job)
                batch.append(job)
        self._submit(batch)

    def _may_follow(self, job: int, coming: set[int]) -> bool:
        s = self.submission
        if not self.open[job]:
            return False  # it is ready, or was
        return all(p in s.states or s.job[p] in self.handles or s.job[p] in coming for p in s.waits[job])

    def _submit(self, batch: Sequence[int]) -> None:
        if not batch:
            return
        from prestow.plan.manifests import manifests

        s = self.submission
        made = manifests(s.plan, batch, store=self.store_name, stores=self.stores, reuse=self.reuse)
        for job, manifest in zip(batch, made, strict=True):
            self.tries[job] += 1
            self.submitted.add(job)
            parents, receipts = self._parents(job)
            key = f"{s.job_names[job]}-{self.id}-{self.tries[job]}"
            spec = JobSpec(
                key,
                s.job_names[job],
                manifest.to_json(),
                receipts,
                label=s.labels[job],
                again=self.tries[job] > 1,
            )
            handle = self.engine.submit(spec, parents)
            self.flying[handle] = _Flight(job, self.tries[job], time.monotonic())
            self.handles[job] = handle

    def _parents(self, job: int) -> tuple[list[object], tuple[str, ...]]:
        s = self.submission
        parents: dict[int, object] = {}
        receipts: list[str] = []
        for producer in s.waits.get(job, ()):
            if producer in s.states:
                text = self.texts.get(producer)
                if text is not None and len(receipts) < HANDED_ON:
                    receipts.append(text)
            else:
                parent = s.job[producer]
                if parent in self.handles:
                    parents[parent] = self.handles[parent]
        return list(parents.values()), tuple(receipts)

    # ------------------------------------------------------------------ what comes back

    def _ended(self, ended: Ended) -> None:
        flight = self.flying.pop(ended.handle)
        job = flight.job
        self.handles.pop(job, None)
        facts: dict[str, Any] = {
            "job": self.submission.job_names[job],
            "try": flight.tries,
        }  # Any: JSON values
        if ended.not_run:
            self._again(job, fruitless=True)
        elif ended.lost:
            self._note("lost", **facts, why=ended.lost)
            self._lost(job, flight, ended.lost)
        elif ended.error:
            self._note("error", **facts, error=ended.error)
            self._fail_job(
                job,
                "PST-N007",
                ended.error.strip().splitlines()[-1],
                tuple(ended.error.splitlines()[-20:]),
                flight,
            )
        else:
            result = ended.result
            self._note(
                "ended",
                **facts,
                attempt=result["attempt"],
                states=dict(Counter(result["states"].values())),
                seconds=result.get("seconds", 0),
            )
            self._took(job, flight, result)

    def _took(self, job: int, flight: _Flight, result: Mapping[str, Any]) -> None:  # Any: JSON values
        s = self.submission
        row_of = s.row_of
        settled = [
            (row_of[name], State(word)) for name, word in result["states"].items() if State(word).settled
        ]
        for (row, state), text in zip(settled, result["receipts"], strict=True):  # both in the job's order
            self._settle(row, state, text)
        retry, broken = False, False
        for failure in result["failures"]:
            row = row_of[failure["quantum"]]
            if row in s.states:
                continue  # settled all the same; promoting its bytes can be done by anybody
            self.failed[row] += 1
            self._failure(row, failure, result["attempt"])
            if _environmental(failure["code"]):
                broken = True
            elif failure["code"] == "PST-P005" or self.failed[row] >= s.policies[failure["task"]].tries:
                self.spent.add(row)
            else:
                retry = True
        if broken:
            self._broken()
        elif retry:
            self._push(job)
        elif result["not_yet"]:
            self._again(job, fruitless=not self.open[job])
        else:
            self._rest(job, flight, failed=bool(result["failures"]))

    def _rest(self, job: int, flight: _Flight, *, failed: bool) -> None:
        """See to quanta that are neither settled nor failed: they wait for one of their own job."""
        left = [row for row in self.submission.quanta_of(job) if row not in self.submission.states]
        self.dirty = self.dirty or bool(left)
        if left and not failed and not self.spent.intersection(left):
            self._fail_job(job, "PST-N007", "the node gave no reason for what it left unsettled", (), flight)

    def _lost(self, job: int, flight: _Flight, why: str) -> None:
        """Try again after a worker vanished; the last time alone, so that no innocent job is blamed."""
        self.lost[job] += 1
        if self.lost[job] >= ALLOWED_LOSSES:
            self._reread(job)
            self._fail_job(
                job,
                "PST-R003",
                f"its worker vanished {self.lost[job]} times, at last while it ran alone: most likely memory; {why}",
                (),
                flight,
            )
        elif self.lost[job] == ALLOWED_LOSSES - 1:
            self.suspects.append(job)
        else:
            self._push(job)

    def _fail_job(self, job: int, code: str, message: str, log: tuple[str, ...], flight: _Flight) -> None:
        """Let all unsettled quanta of a job fail for good, with a report that no node wrote."""
        s = self.submission
        attempt = _new_id()
        left = [row for row in s.quanta_of(job) if row not in s.states]
        entries = []
        for row in left[:1]:  # what stands after it in the job did not get that far
            data_id = s.plan.tables["quanta"]["data_id"][row]
            facts = {"quantum": s.ids[row], "task": s.task[row], "data_id": DataId.from_json(data_id), "code": code,
                     "message": message, "log_tail": log, "seconds": time.monotonic() - flight.begin}  # fmt: skip
            self.failed[row] += 1
            self._failure(row, facts, attempt)
            self.spent.add(row)
            entries.append({"quantum": s.ids[row], "task": s.task[row], "data_id": dict(DataId.from_json(data_id)), "state": "failed",
                            "failures": [{**facts, "data_id": dict(DataId.from_json(data_id)), "log_tail": list(log)}]})  # fmt: skip
        self.dirty = True
        report = {"schema": REPORT_SCHEMA, "job": s.job_names[job], "plan": s.plan.id, "run": s.plan.run, "attempt": attempt,
                  "sealer": "engine", "quanta": entries, "findings": [message]}  # fmt: skip
        with suppress(OSError):  # information only
            self.store.put_if_absent(report_name(s.job_names[job], attempt), canonical_json(report).encode())

    def _again(self, job: int, *, fruitless: bool) -> None:
        if fruitless and not self.draining:
            self.idle[job] += 1
            if self.idle[job] > PATIENCE:
                flight = _Flight(job, self.tries[job], time.monotonic())
                self._fail_job(job, "PST-N007", "it was handed out again and again and never ran", (), flight)
                return
        if not self.open[job]:
            if self.idle[job] > 1:
                time.sleep(min(0.05 * self.idle[job], 1.0))  # an absence may be an old answer of a cache
            self._push(job)

    def _push(self, job: int) -> None:
        if job not in self.handles and job not in self.ready:
            heapq.heappush(self.ready, job)

    def _settle(self, row: int, state: State, text: str | None) -> None:
        s = self.submission
        if row in s.states:
            return
        s.states[row] = state
        self.spent.discard(row)
        self.failures.pop(row, None)
        self._word(row, str(state))
        if text is not None:
            if state is State.MADE and '"state":"declined"' in text:
                s.absent.update(o.id for o in Receipt.from_json(text).outputs if o.state != "made")
            if self.kept < KEPT_TEXT and row in s.waiting:
                self.texts[row] = text
                self.kept += len(text)
        for job in s.waiting.get(row, ()):
            if job in self.open:
                self.open[job] -= 1
                if not self.open[job] and job not in self.handles:
                    self._push(job)
        if self.spent:
            self.dirty = True

    def _failure(self, row: int, failure: Mapping[str, Any], attempt: str) -> None:  # Any: JSON values
        s = self.submission
        self.failures[row] = found = RunFailure(
            s.ids[row], failure["task"], str(DataId(failure["data_id"])), s.job_names[s.job[row]], attempt, self.failed[row],
            failure["code"], failure["message"], tuple(failure["log_tail"]), failure["seconds"],
        )  # fmt: skip
        self._word(row, "failed")
        self._tell("failed", str(found))

    def _word(self, row: int, word: str) -> None:
        counts = self.tasks[self.submission.task[row]]
        before = self.words.get(row, "pending")
        if before == word:
            return
        self.words[row] = word
        counts[before] -= 1
        if not counts[before]:
            del counts[before]
        counts[word] = counts.get(word, 0) + 1

    def _broken(self) -> None:
        """Stop: with a full disk or a store that fails, each further job would only fail too."""
        self.environment = True
        self.stop.set()

    # ------------------------------------------------------------------ sealing

    def _seal(self) -> bool:
        """Seal as lost what may be; give whether anything can go on by it."""
        if not self.dirty or self.environment:
            return False
        begin = time.monotonic()
        self.dirty = False
        s = self.submission
        candidates = [
            row
            for row in self.spent
            if s.policies[s.task[row]].tolerate and self.failures[row].code != "PST-P005"
        ]
        if not candidates:
            return False
        rows = to_seal(candidates, needs=s.needs, consumers=s.consumers, standing=s.standing)
        for row in rows:
            winner = self._seal_one(row)
            if winner.state != State.LOST:
                self.dirty = True  # a late success: what was foreseen is no longer so
                break
        self.sealed_at = time.monotonic()
        self.sealing_seconds = self.sealed_at - begin
        return bool(rows)

    def _seal_one(self, row: int) -> Receipt:
        from prestow.plan.manifests import manifests

        s = self.submission
        job = s.job[row]
        manifest: Manifest = next(
            iter(manifests(s.plan, [job], store=self.store_name, stores=self.stores, reuse=self.reuse))
        )
        quantum = next(q for q in manifest.quanta if q.id == s.ids[row])
        failure = self.failures[row]
        winner, _ = settle(
            self.store,
            Receipt(
                quantum=quantum.id, task=quantum.task, run=manifest.run, data_id=quantum.data_id, job=manifest.job, state="lost",
                planned_recipe=quantum.recipe, actual_recipe=None, sealer="engine", code="failed",
                reason=f"{failure.code}: {failure.message} (try {failure.tries}, attempt {failure.attempt})",
                version=manifest.code.sha256 if manifest.code else None,
            ),
        )  # fmt: skip
        promote(self.store, winner)
        self._note("sealed", job=manifest.job, quantum=quantum.id, state=winner.state)
        self._settle(row, State(winner.state), winner.to_json())
        if (
            any(other not in s.states and other not in self.spent for other in s.quanta_of(job))
            and not self.open[job]
        ):
            self._push(job)  # what stands after it in the same job can be settled now
        return winner

    # ------------------------------------------------------------------ the rest

    def _reread(self, job: int | None = None) -> None:
        """Look for receipts of what this loop did not hear of: attempts that were cut off."""
        s = self.submission
        if job is not None:
            rows = [row for row in s.quanta_of(job) if row not in s.states]
        elif self.cancelled:
            rows = [
                row
                for flight in self.flying.values()
                for row in s.quanta_of(flight.job)
                if row not in s.states
            ]
        else:
            rows = []
        if rows:
            found = read_settled(s.plan, self.store, rows=rows, keep=True)
            for row, state in found.states.items():
                self._settle(row, state, found.texts[row])

    def _put_code(self) -> None:
        """See that the workflow's code is in the store, where manifests say it is."""
        code = self.submission.plan.code
        if code is not None and self.store.size(code.path) is None:
            self.store.put_if_absent(code.path, code.data)

    def _note(self, event: str, **facts: Any) -> None:
        if self.journal is not None:
            self.journal.write(event, **facts)

    def _tell(self, kind: str, message: str = "") -> None:
        if self.on_event is not None:
            tasks = {task: dict(counts) for task, counts in self.tasks.items()}
            self.on_event(
                Event(kind, tasks, len(self.flying), len(self.ready), time.monotonic() - self.begin, message)
            )

    def result(self) -> RunResult:
        s = self.submission
        return RunResult(
            plan=s.plan.id,
            run=s.plan.run,
            tasks={task: dict(counts) for task, counts in self.tasks.items()},
            failures=tuple(self.failures[row] for row in sorted(self.failures)),
            jobs=sum(self.tries.values()),
            worker_losses=sum(self.lost.values()),
            seconds=time.monotonic() - self.begin,
            stopped=self.draining,
            restricted=s.restricted,
            notes=tuple(getattr(self.engine, "notes", ())),
        )


def _environmental(code: str) -> bool:
    return code in CODES and CODES[code][1] is Exit.ENVIRONMENT


def _new_id() -> str:
    raw = os.urandom(16).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
