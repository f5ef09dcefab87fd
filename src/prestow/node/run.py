"""Run one manifest: the steps of the commit protocol, in their order.

1. read the receipts of the job's own quanta; promote what is settled
2. read the receipts of all inputs from outside; any unsettled: not yet, nothing is run
3. per unsettled quantum, in order: inputs by receipt, run, stamp and digest aside, settle, promote
4. report
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from prestow.commit import report_name
from prestow.errors import InputError, PrestowError, Problem, StoreError, TaskError
from prestow.manifest import LAYOUTS, Manifest, ManifestQuantum, Receipt
from prestow.model import State
from prestow.model.hashing import seed_of
from prestow.node import execute
from prestow.node.commits import Commits
from prestow.node.inputs import Inputs, Seen, recipe_of, unmet
from prestow.node.making import Making
from prestow.node.outcome import Outcome, cpu_seconds, make_report, put_report
from prestow.stores import Store, open_store
from prestow.tasks import NothingToDo

_TRIES = 2
"""How often a quantum is made again because an input of this job was committed otherwise."""


def run_manifest(
    manifest: Manifest,
    *,
    receipts: Mapping[str, Receipt] | None = None,
    final: bool = False,
    scratch: Path | None = None,
    keep: bool = False,
    debugger: bool = False,
    reuse: bool = False,
    output: Store | None = None,
) -> Outcome:
    """Run what is not settled of a job, and give what all of it came to.

    A failed quantum never raises; only what makes the whole manifest unusable does.

    Parameters
    ----------
    manifest : Manifest
        The job.
    receipts : mapping of quantum id to Receipt, optional
        Committed receipts of producers of its inputs, as values; others are read from the store.
    final : bool
        No further try will be made: a failure that the pipeline tolerates is sealed as lost here.
    scratch : Path, optional
        Where the local repository is made; default ``$PRESTOW_SCRATCH``, else a private directory
        under ``$TMPDIR``.
    keep : bool
        Leave the local repository there.
    debugger : bool
        Run each Python task under pdb; the local repository of a failure stays.
    reuse : bool
        For workers that run many jobs: the empty directories of the local repository serve the
        next job of this process, and go when it ends.
    output : Store, optional
        The output store, where it is open already.

    Raises
    ------
    PrestowError
        If the manifest is not a sound one (PST-N009), or its store cannot be opened.
    """
    check(manifest)
    place = str(scratch) if scratch else default_scratch()
    return _Job(manifest, receipts or {}, final=final, scratch=place, reuse=reuse, output=output).run(
        keep=keep, debugger=debugger
    )


def run_manifest_json(
    text: str,
    parents: Sequence[Sequence[str]] = (),
    final: bool = False,  # noqa: FBT001, FBT002 - carried as plain values
    scratch: str | None = None,
) -> dict[str, Any]:
    """Run a manifest given as JSON text, for engines that carry values: JSON in, JSON-able out.

    Parameters
    ----------
    text : str
        What `Manifest.to_json` gave.
    parents : sequence of sequences of str
        Receipts of producers as JSON texts, a sequence for each parent job.
    final, scratch
        As for `run_manifest`.

    Returns
    -------
    dict
        ``job attempt host states receipts failures not_yet seconds peak_memory``.
    """
    manifest = parse(text)
    given = {r.quantum: r for texts in parents for r in map(Receipt.from_json, texts)}
    outcome = run_manifest(
        manifest, receipts=given, final=final, scratch=Path(scratch) if scratch else None, reuse=True
    )
    return {
        "job": outcome.job,
        "attempt": outcome.attempt,
        "host": outcome.report.get("host", ""),
        "states": {q: str(s) for q, s in outcome.states.items()},
        "receipts": [r.to_json() for r in outcome.receipts.values()],
        "failures": [f.as_dict() for f in outcome.failures],
        "not_yet": list(outcome.not_yet),
        "seconds": outcome.report.get("seconds", 0.0),
        "peak_memory": outcome.report.get("peak_memory", 0),
    }


def parse(text: str) -> Manifest:
    """Read a manifest; what is wrong with it is one clear error (PST-N009)."""
    try:
        return Manifest.from_json(text)
    except (ValueError, AttributeError) as error:
        raise TaskError(Problem("PST-N009", f"the manifest cannot be read: {error}")) from error


def check(manifest: Manifest) -> None:
    """Refuse a manifest that names anything outside its local repository, or what it has not."""
    problems = [
        Problem("PST-N009", f"not a local name below {top}/: {item.local!r}", item.id)
        for top, items in (("inputs", manifest.inputs), ("outputs", manifest.outputs))
        for item in items
        if not item.local.startswith(f"{top}/") or ".." in item.local.split("/") or "\0" in item.local
    ]
    if "/" in manifest.job or manifest.job in ("", ".", ".."):
        problems.append(Problem("PST-N009", f"not a job's name: {manifest.job!r}"))
    if manifest.layout not in LAYOUTS:
        problems.append(Problem("PST-N009", f"not a layout: {manifest.layout!r}", manifest.job))
    for quantum in manifest.quanta:
        for table, items in ((quantum.inputs, manifest.inputs), (quantum.outputs, manifest.outputs)):
            problems += [
                Problem(
                    "PST-N009", f"connection '{name}' has a dataset that is not in the manifest", quantum.id
                )
                for name, connection in table.items()
                if any(not 0 <= i < len(items) for i in connection.datasets)
            ]
    names = {manifest.store, *(place.store for place in manifest.locations.values())}
    if manifest.code is not None:
        names.add(manifest.code.store)
    problems += [
        Problem("PST-N009", f"the store '{name}' has no URI", manifest.job)
        for name in sorted(names)
        if name not in manifest.stores
    ]
    if problems:
        raise TaskError(*problems)


def default_scratch() -> str:
    """Give the directory for local repositories, private to this user."""
    named = os.environ.get("PRESTOW_SCRATCH")
    if named:
        return os.path.abspath(named)
    path = f"{os.environ.get('TMPDIR') or '/tmp'}/prestow-{os.geteuid()}"  # noqa: S108 - owner checked below
    os.makedirs(path, mode=0o700, exist_ok=True)
    if os.stat(path).st_uid != os.geteuid():
        raise StoreError(
            Problem("PST-R001", "the scratch directory belongs to somebody else", path, "set PRESTOW_SCRATCH")
        )
    return path


def _opener(manifest: Manifest, output: Store | None = None) -> Callable[[str], Store]:
    """Give what opens a store of the manifest by its name, once."""

    @cache
    def open_named(name: str) -> Store:
        if output is not None and name == manifest.store:
            return output
        return open_store(manifest.stores[name])

    return open_named


class _Job:
    """One execution of a manifest: the four steps, in their order."""

    def __init__(
        self,
        manifest: Manifest,
        given: Mapping[str, Receipt],
        *,
        final: bool,
        scratch: str,
        reuse: bool,
        output: Store | None = None,
    ) -> None:
        self.manifest = manifest
        self.final = final
        self.scratch = scratch
        self.reuse = reuse
        raw = os.urandom(16).hex()
        self.attempt = f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
        self.open = _opener(manifest, output)
        self.store = self.open(manifest.store)
        self.commits = Commits(manifest, self.store, self.attempt)
        self.inputs = Inputs(manifest, given, self.commits.settled, self.commits.findings, self.open, scratch)
        self.making: Making | None = None
        self.entries: list[dict[str, Any]] = []  # Any: JSON values

    def run(self, *, keep: bool, debugger: bool) -> Outcome:
        begin = time.monotonic()
        commits = self.commits
        for quantum in self.manifest.quanta:
            commits.look(quantum)
        todo = [q for q in self.manifest.quanta if commits.remains(q)]
        not_yet = self.read_outside(todo)
        if not_yet or not todo:
            return self.outcome(not_yet=not_yet)
        try:
            for k, quantum in enumerate(todo):
                self.one(k, quantum, keep=keep, debugger=debugger)
        finally:
            kept = keep or (debugger and bool(commits.failures))
            if self.making is not None:
                if kept:
                    self.making.repository.keep(self.manifest.to_json())
                else:
                    self.making.repository.remove()
        report = make_report(
            self.manifest, self.attempt, time.monotonic() - begin, self.entries, commits.findings
        )
        if kept and self.making is not None:
            report["kept"] = self.making.repository.root
        put_report(self.store, report_name(self.manifest.job, self.attempt), report)
        return self.outcome(report=report)

    def outcome(self, *, not_yet: tuple[str, ...] = (), report: Mapping[str, Any] | None = None) -> Outcome:
        settled = self.commits.settled
        receipts = {q.id: settled[q.id] for q in self.manifest.quanta if q.id in settled}
        return Outcome(
            self.manifest.job, self.attempt, self.commits.states(), receipts, tuple(self.commits.failures), not_yet,
            report or {},
        )  # fmt: skip

    def read_outside(self, todo: Sequence[ManifestQuantum]) -> tuple[str, ...]:
        """Step 2: every input from outside must be settled, or nothing is run."""
        missing: list[str] = []
        for quantum in todo:
            try:
                missing += self.inputs.unsettled(quantum)
            except (PrestowError, OSError) as error:
                self.commits.refuse(quantum, error)
        return tuple(dict.fromkeys(missing))

    def one(self, k: int, quantum: ManifestQuantum, *, keep: bool, debugger: bool) -> None:
        """Step 3: one quantum; this is the edge where an exception becomes a report."""
        commits = self.commits
        if quantum.id in commits.refused:
            return
        if self.inputs.waits(quantum):
            self.entries.append(
                {"quantum": quantum.id, "state": "pending", "why": "an input of this job is not settled"}
            )
            return
        begin, used = time.monotonic(), cpu_seconds()
        log = ""
        try:
            making = self.making
            if making is None:
                making = self.making = Making(
                    self.manifest, self.attempt, self.scratch, self.open, reuse=self.reuse
                )
            else:
                making.clear(k - 1, keep=keep)
            log = making.log(k)
            self.quantum(k, quantum, making, debugger=debugger)
        except Exception as error:  # noqa: BLE001 - the edge: it becomes a report
            commits.fail(quantum, error, execute.tail(log), time.monotonic() - begin)
            if (
                self.final
                and quantum.tolerate
                and quantum.id not in commits.settled
                and not isinstance(error, StoreError | InputError)
            ):
                commits.seal(quantum)
        self.entries.append({
            "quantum": quantum.id, "task": quantum.task, "data_id": dict(quantum.data_id), "seed": seed_of(quantum.recipe),
            "state": str(commits.settled[quantum.id].state) if quantum.id in commits.settled else "failed",
            "seconds": round(time.monotonic() - begin, 6), "cpu_seconds": round(cpu_seconds() - used, 6),
            "failures": [f.as_dict() for f in commits.failures if f.quantum == quantum.id],
            "reads": {} if self.making is None else self.making.reads(),
        })  # fmt: skip

    def quantum(self, k: int, quantum: ManifestQuantum, making: Making, *, debugger: bool) -> None:
        for tries in range(_TRIES + 1):
            if tries:
                making.clear(k, keep=False)
            seen = [self.inputs.see(name, item) for name, item in self.inputs.of(quantum)]
            actual = recipe_of(quantum, seen)
            ending = unmet(quantum.inputs, seen)
            if ending is not None:
                state, code = ending
                recipe = None if state is State.BLOCKED else actual
                self.commits.commit(quantum, self.commits.receipt(quantum, state, seen, recipe, code=code))
                return
            if self.make(k, quantum, seen, actual, making, debugger=debugger):
                return
        raise TaskError(
            Problem(
                "PST-N010",
                f"an input of this job was committed otherwise, {_TRIES + 1} times",
                quantum.id,
                "run the job again",
            )
        )

    def make(
        self,
        k: int,
        quantum: ManifestQuantum,
        seen: Sequence[Seen],
        actual: str,
        making: Making,
        *,
        debugger: bool,
    ) -> bool:
        """Run, check, stamp, settle; False if an input of this job is not what was read."""
        commits = self.commits
        for s in seen:
            if s.state == State.MADE:
                making.stage(s)
        view = making.view(quantum, seen)
        try:
            making.execute(k, quantum, view, debugger=debugger)
        except NothingToDo as decline:
            making.look_over(k, quantum, seen, declined=True)
            receipt = commits.receipt(
                quantum, State.DECLINED, seen, actual, code=decline.code, measures=view.measures
            )
            commits.commit(quantum, replace(receipt, reason=decline.reason or None))
            return True
        making.prototypes(k, quantum, view)
        outputs = commits.aside(quantum, seen, actual, making.look_over(k, quantum, seen))
        if self.inputs.stale(seen):
            commits.drop(outputs)
            return False
        receipt = commits.receipt(quantum, State.MADE, seen, actual, measures=view.measures)
        commits.commit(quantum, replace(receipt, outputs=outputs))
        return True
