"""The one loop over engines: which job is ready, what is tried again, what is sealed, what it came to."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from prestow.commit import report_name
from prestow.engines import Ended, Engine
from prestow.engines.breaker import Breaker, Tripped
from prestow.engines.committing import put_loss
from prestow.engines.flights import Flight, Flights
from prestow.engines.journal import Journal
from prestow.engines.progress import Event
from prestow.engines.result import RunFailure, RunResult
from prestow.engines.sealing import NO_LOSS, to_seal
from prestow.engines.submission import Submission
from prestow.engines.tally import Tally
from prestow.errors import CODES, Exit
from prestow.manifest import REPORT_SCHEMA, Receipt
from prestow.model import DataId, State
from prestow.model.hashing import canonical_json
from prestow.plan.settled import read_settled
from prestow.stores import Store

ALLOWED_LOSSES = 3
"""How often a worker may vanish under one job."""

PATIENCE = 20
"""How often a job may find unsettled what is settled, or not be run, before it counts as failed."""


@dataclass
class Loop:
    """One run of a submission on one engine; used by one thread."""

    submission: Submission
    engine: Engine
    store: Store
    flights: Flights
    journal: Journal | None
    on_event: Callable[[Event], None] | None
    stop: threading.Event
    begin: float
    breaker: Breaker | None = None
    held: dict[str, Tripped] = field(default_factory=dict)  # labels of which no more jobs begin
    avoided: list[str] = field(default_factory=list)  # hosts
    ready: list[int] = field(default_factory=list)  # a heap of places in the queue of jobs
    places: dict[int, int] = field(default_factory=dict)  # of jobs in the queue
    cursor: int = 0
    open: dict[int, int] = field(default_factory=dict)  # job -> inputs that are not settled
    lost: Counter[int] = field(default_factory=Counter)  # workers under jobs
    idle: Counter[int] = field(default_factory=Counter)  # fruitless tries of jobs
    suspects: list[int] = field(default_factory=list)  # jobs to be run alone
    spent: set[int] = field(default_factory=set)  # quanta without a further try
    draining: bool = False
    cancelled: bool = False
    environment: bool = False
    dirty: bool = False
    deferred: bool = False  # a cause may trip yet: what failed of it is sealed at the end, if at all
    sealing_seconds: float = 0.0
    sealed_at: float = 0.0

    def __post_init__(self) -> None:
        self.tally = Tally(self.submission)

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Go on until nothing more can be done, or it is told to stop."""
        s = self.submission
        self.open = {job: len(s.waits.get(job, ())) for job in s.jobs}
        self.places = {job: place for place, job in enumerate(s.queue)}
        self.ready = [
            place
            for place, job in enumerate(s.queue)
            if not self.open[job] and s.labels[job] not in self.held
        ]
        self._tell("begin")
        self._note("begin", plan=s.plan.id, submission=self.flights.id, jobs=len(s.jobs), quanta=len(s.rows))
        for tripped in self.held.values():
            self._tell("note", str(tripped))
        self._put_code()
        try:
            if self.ready:
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
        if not self.flights.flying:
            if self.draining:
                return False
            self.dirty = self.dirty or self.deferred
            if self._seal():
                return True
            if not self.suspects:
                return False
            self._send([self.suspects.pop(0)])
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
        free = self.engine.window - len(self.flights.flying)
        if free * 2 < self.engine.window:
            return  # a few at a time would cost a look into the plan's tables for each
        jobs = self.submission.queue
        batch: list[int] = []
        while self.ready and len(batch) < free:
            job = jobs[heapq.heappop(self.ready)]
            if not self._is_held(job):
                batch.append(job)
        coming = set(batch)
        while len(batch) < free and self.cursor < len(jobs):
            job = jobs[self.cursor]
            self.cursor += 1
            if job in self.flights.tries or job in coming or self._is_held(job):
                continue
            if self._may_follow(job, coming):
                coming.add(job)
                batch.append(job)
        self._send(batch)

    def _send(self, batch: list[int]) -> None:
        if batch:
            self._note("sent", jobs=[self.submission.job_names[job] for job in batch])
            self.flights.submit(batch)
            if self.journal is not None:
                self.journal.flush()

    def _may_follow(self, job: int, coming: set[int]) -> bool:
        s = self.submission
        if not self.open[job]:
            return False  # it is ready, or was
        return all(
            p in s.states or s.job[p] in self.flights.handles or s.job[p] in coming for p in s.waits[job]
        )

    # ------------------------------------------------------------------ what comes back

    def _ended(self, ended: Ended) -> None:
        flight = self.flights.take(ended.handle)
        job = flight.job
        facts: dict[str, Any] = {
            "job": self.submission.job_names[job],
            "try": flight.tries,
        }  # Any: JSON values
        if ended.not_run:
            self._note("returned", **facts)
            self._again(job, fruitless=True)
        elif ended.lost:
            self._note("lost", **facts, why=ended.lost)
            self._lost(job, flight, ended.lost)
            self._judge_lost(job)
        elif ended.error:
            self._note("error", **facts, error=ended.error)
            self._fail_job(
                job,
                "PST-N007",
                ended.error.strip().splitlines()[-1],
                tuple(ended.error.splitlines()[-20:]),
                flight,
            )
            self._judge_lost(job)
        else:
            result = ended.result
            self._note(
                "ended",
                **facts,
                attempt=result["attempt"],
                host=result.get("host", ""),
                states=dict(Counter(result["states"].values())),
                seconds=result.get("seconds", 0),
            )
            self._took(job, flight, result)
            self._judge(job, result)

    def _took(self, job: int, flight: Flight, result: Mapping[str, Any]) -> None:  # Any: JSON values
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
            self._failure(row, failure, result["attempt"])
            if _environmental(failure["code"]):
                broken = True
            elif failure["code"] == "PST-P005" or self.tally.failed[row] >= self.flights.tries_of(
                job, failure["task"]
            ):
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

    def _rest(self, job: int, flight: Flight, *, failed: bool) -> None:
        """See to quanta that are neither settled nor failed: they wait for one of their own job."""
        left = [row for row in self.submission.quanta_of(job) if row not in self.submission.states]
        self.dirty = self.dirty or bool(left)
        if left and not failed and not self.spent.intersection(left):
            self._fail_job(job, "PST-N007", "the node gave no reason for what it left unsettled", (), flight)

    def _lost(self, job: int, flight: Flight, why: str) -> None:
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

    def _fail_job(self, job: int, code: str, message: str, log: tuple[str, ...], flight: Flight) -> None:
        """Let all unsettled quanta of a job fail for good, with a report that no node wrote."""
        s = self.submission
        attempt = _new_id()
        left = [row for row in s.quanta_of(job) if row not in s.states]
        entries = []
        for row in left[:1]:  # what stands after it in the job did not get that far
            data_id = s.plan.tables.scan("quanta").slice(row, 1).select("data_id").collect().item()
            facts = {"quantum": s.ids[row], "task": s.task[row], "data_id": DataId.from_json(data_id), "code": code,
                     "message": message, "log_tail": log, "seconds": time.monotonic() - flight.begin}  # fmt: skip
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
        if self._is_held(job):
            return
        if fruitless and not self.draining:
            self.idle[job] += 1
            if self.idle[job] > PATIENCE:
                flight = Flight(job, self.flights.tries[job], time.monotonic())
                self._fail_job(job, "PST-N007", "it was handed out again and again and never ran", (), flight)
                return
        if not self.open[job]:
            if self.idle[job] > 1:
                time.sleep(min(0.05 * self.idle[job], 1.0))  # an absence may be an old answer of a cache
            self._push(job)

    def _push(self, job: int) -> None:
        place = self.places[job]
        if self._is_held(job):
            return
        if job not in self.flights.handles and place not in self.ready:
            heapq.heappush(self.ready, place)

    def _settle(self, row: int, state: State, text: str | None) -> None:
        s = self.submission
        if row in s.states:
            return
        s.states[row] = state
        self.spent.discard(row)
        self.tally.settle(row, state)
        if text is not None:
            if state is State.MADE and '"state":"declined"' in text:
                s.absent.update(o.id for o in Receipt.from_json(text).outputs if o.state != "made")
            self.flights.keep(row, text)
        for job in s.waiting.get(row, ()):
            if job in self.open:
                self.open[job] -= 1
                if not self.open[job] and job not in self.flights.handles:
                    self._push(job)
        if self.spent:
            self.dirty = True

    def _failure(self, row: int, failure: Mapping[str, Any], attempt: str) -> None:  # Any: JSON values
        self._tell("failed", str(self.tally.fail(row, failure, attempt)))

    def _broken(self) -> None:
        """Stop: with a full disk or a store that fails, each further job would only fail too."""
        self.environment = True
        self.stop.set()

    # ------------------------------------------------------------------ enough is enough

    def _is_held(self, job: int) -> bool:
        return bool(self.held) and self.submission.labels[job] in self.held

    def _judge(self, job: int, result: Mapping[str, Any]) -> None:  # Any: JSON values
        """Count how a try ended, and stop a label or leave a host where that is too much."""
        if self.breaker is None:
            return
        s, host = self.submission, result.get("host", "")
        label = s.labels[job]
        failure = next((f for f in result["failures"] if s.row_of[f["quantum"]] in self.tally.failures), None)
        if failure is None:
            if not result["not_yet"]:
                self.breaker.good(job, label, host)
            return
        if _environmental(failure["code"]):
            return
        cause = self._cause(self.tally.failures[s.row_of[failure["quantum"]]])
        self._count_bad(job, label, host, cause)

    def _judge_lost(self, job: int) -> None:
        """Do the same for a try of which the node told nothing."""
        rows = (row for row in self.submission.quanta_of(job) if row in self.tally.failures)
        row = next(rows, None)
        if self.breaker is not None and row is not None:
            cause = self._cause(self.tally.failures[row])
            self._count_bad(job, self.submission.labels[job], "", cause)

    def _count_bad(self, job: int, label: str, host: str, cause: str) -> None:
        assert self.breaker is not None
        if host in self.avoided:  # it had begun before
            self._forgive(job)
            return
        self.breaker.bad(job, label, host, cause)
        if host and self.breaker.bad_host(host) and self._avoid(host):
            return
        if label not in self.held and self.breaker.trips(label, cause):
            self._hold(label, cause, job)

    def _cause(self, failure: RunFailure) -> str:
        assert self.breaker is not None
        return self.breaker.cause(failure.code, failure.message, failure.data_id)

    def _hold(self, label: str, cause: str, job: int) -> None:
        assert self.breaker is not None
        self.held[label] = tripped = Tripped(
            label, cause, *self.breaker.counts(label, cause), self.submission.job_names[job]
        )
        self._note("breaker", **tripped.as_dict())
        self._tell("note", str(tripped))
        self.suspects = [one for one in self.suspects if not self._is_held(one)]
        hold = getattr(self.engine, "hold", None)
        if hold is not None:
            hold(label)

    def _avoid(self, host: str) -> bool:
        """Give a bad host nothing more, and try elsewhere what failed there; False if that cannot be."""
        assert self.breaker is not None
        avoid = getattr(self.engine, "avoid", None)
        if avoid is None or not avoid(host):
            return False
        self.avoided.append(host)
        jobs = self.breaker.failed_on(host)
        self._note("host", host=host, jobs=[self.submission.job_names[job] for job in jobs])
        self._tell(
            "note",
            f"host {host} fails nearly all that it gets: it gets no more, {len(jobs)} jobs are tried elsewhere",
        )
        for job in jobs:
            self._forgive(job)
        return True

    def _forgive(self, job: int) -> None:
        assert self.breaker is not None
        self.breaker.forget(job)
        for row in self.submission.quanta_of(job):
            if row not in self.submission.states:
                self.spent.discard(row)
                self.tally.forgive(row)
        if not self.open[job]:
            self._push(job)

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
            if s.policies[s.task[row]].tolerate and self.tally.failures[row].code not in NO_LOSS
        ]
        if self.breaker is not None:
            kept = [row for row in candidates if self._may_seal(row)]
            self.deferred, candidates = len(kept) < len(candidates), kept
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

    def _may_seal(self, row: int) -> bool:
        """Say whether a failure is one of some: what stops a task is nothing to be tolerated."""
        assert self.breaker is not None
        label, cause = (
            self.submission.labels[int(self.submission.job[row])],
            self._cause(self.tally.failures[row]),
        )
        if label in self.held:
            return self.held[label].cause != cause
        return not self.flights.flying or not self.breaker.suspicious(label, cause)

    def _seal_one(self, row: int) -> Receipt:
        s = self.submission
        job = int(s.job[row])
        manifest = next(self.flights.manifests([job]))
        winner = put_loss(self.store, manifest, s.ids[row], self.tally.failures[row])
        self._note("sealed", job=manifest.job, quantum=winner.quantum, state=winner.state)
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
                for flight in self.flights.flying.values()
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
            flying = len(self.flights.flying)
            seconds = time.monotonic() - self.begin
            self.on_event(Event(kind, self.tally.tasks, flying, len(self.ready), seconds, message))

    def result(self) -> RunResult:
        """Give what it came to."""
        s = self.submission
        return RunResult(
            plan=s.plan.id,
            run=s.plan.run,
            tasks=self.tally.tasks,
            failures=tuple(failure for _, failure in sorted(self.tally.failures.items())),
            jobs=sum(self.flights.tries.values()),
            worker_losses=sum(self.lost.values()),
            seconds=time.monotonic() - self.begin,
            stopped=self.draining,
            unasked=dict(Counter(s.task[row] for row in s.unasked if row not in s.states)),
            notes=tuple(getattr(self.engine, "notes", ())),
            awaited=s.awaited,
            tripped=tuple(self.held.values()),
            avoided=tuple(self.avoided),
        )


def _environmental(code: str) -> bool:
    return code in CODES and CODES[code][1] is Exit.ENVIRONMENT


def _new_id() -> str:
    raw = os.urandom(16).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
