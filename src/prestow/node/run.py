"""Run one manifest: the steps of the commit protocol, in their order.

1. read the receipts of the job's own quanta; promote what is settled
2. read the receipts of all inputs from outside; any unsettled: not yet, nothing is run
3. per unsettled quantum, in order: inputs by receipt, run, stamp and digest aside, settle, promote
4. report
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from prestow.commit import (
    Promoted,
    aside_name,
    deleted_name,
    promote,
    read_receipt,
    report_name,
    settle,
)
from prestow.errors import PrestowError, Problem, StoreError, TaskError
from prestow.formats import Stamped, Story, StoryInput, StoryRoot, open_format
from prestow.manifest import (
    Connection,
    Manifest,
    ManifestInput,
    ManifestOutput,
    ManifestQuantum,
    Receipt,
    ReceiptInput,
    ReceiptOutput,
    Root,
)
from prestow.model import State
from prestow.model.hashing import actual_recipe, canonical_json, seed_of
from prestow.node import execute
from prestow.node.bundle import activate, unpack
from prestow.node.outcome import Failure, Outcome, make_report, put_report
from prestow.node.repository import Repository, Source, Staged, lost_input
from prestow.stores import Store, open_store
from prestow.tasks import Absent, Input, NothingToDo, Output, Quantum

_FULL = (errno.ENOSPC, errno.EDQUOT)
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

    Raises
    ------
    PrestowError
        If the manifest is not a sound one (PST-N009), or its store cannot be opened.
    """
    check(manifest)
    place = str(scratch) if scratch else default_scratch()
    return _Job(manifest, receipts or {}, final=final, scratch=place, reuse=reuse).run(
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
        ``job attempt states receipts failures not_yet seconds peak_memory``.
    """
    manifest = parse(text)
    given = {r.quantum: r for texts in parents for r in map(Receipt.from_json, texts)}
    outcome = run_manifest(
        manifest, receipts=given, final=final, scratch=Path(scratch) if scratch else None, reuse=True
    )
    return {
        "job": outcome.job,
        "attempt": outcome.attempt,
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


class _Seen(NamedTuple):
    """One planned input of a quantum, as it is now."""

    item: ManifestInput
    connection: str
    state: str
    code: str
    sha256: str
    size: int
    actual: str
    sources: tuple[Source, ...]
    roots: tuple[Root, ...]

    @property
    def deviates(self) -> bool:
        """Whether it is an accident that it is not what was planned."""
        return self.state in (State.LOST, State.BLOCKED) or self.actual != self.item.recipe


class _Job:
    """The state of one execution; everything that lasts is in the store."""

    def __init__(
        self, manifest: Manifest, given: Mapping[str, Receipt], *, final: bool, scratch: str, reuse: bool
    ) -> None:
        self.manifest = manifest
        self.given = given
        self.final = final
        self.scratch = scratch
        self.reuse = reuse
        raw = os.urandom(16).hex()
        self.attempt = f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
        self.stores: dict[str, Store] = {}
        self.store = self.open(manifest.store)
        self.own = {q.id: q for q in manifest.quanta}
        self.settled: dict[str, Receipt] = {}
        self.outside: dict[str, Receipt] = {}  # by receipt name
        self.refused: set[str] = set()
        self.restore: dict[str, frozenset[str]] = {}  # quantum -> datasets whose bytes are gone
        self.staged: dict[str, Staged] = {}
        self.failures: list[Failure] = []
        self.findings: list[str] = []
        self.entries: list[dict[str, Any]] = []
        self.repository: Repository | None = None
        self.code = ""

    def open(self, name: str) -> Store:
        store = self.stores.get(name)
        if store is None:
            store = self.stores[name] = open_store(self.manifest.stores[name])
        return store

    # -- the four steps -------------------------------------------------------------------------

    def run(self, *, keep: bool, debugger: bool) -> Outcome:
        begin = time.monotonic()
        for quantum in self.manifest.quanta:
            self.look(quantum)
        todo = [
            q
            for q in self.manifest.quanta
            if q.id not in self.refused and (q.id not in self.settled or q.id in self.restore)
        ]
        not_yet = self.read_outside(todo)
        if not_yet or not todo:
            return self.outcome(not_yet=not_yet)
        try:
            for k, quantum in enumerate(todo):
                self.one(k, quantum, keep=keep, debugger=debugger)
        finally:
            kept = keep or (debugger and bool(self.failures))
            if self.repository is not None and not kept:
                self.repository.remove()
        report = make_report(
            self.manifest, self.attempt, time.monotonic() - begin, self.entries, self.findings
        )
        if kept and self.repository is not None:
            report["kept"] = self.repository.root
        put_report(self.store, report_name(self.manifest.job, self.attempt), report)
        return self.outcome(report=report)

    def outcome(self, *, not_yet: tuple[str, ...] = (), report: Mapping[str, Any] | None = None) -> Outcome:
        failed = {f.quantum for f in self.failures}
        states = {
            q.id: State(self.settled[q.id].state)
            if q.id in self.settled
            else State.FAILED
            if q.id in failed
            else State.PENDING
            for q in self.manifest.quanta
        }
        receipts = {q.id: self.settled[q.id] for q in self.manifest.quanta if q.id in self.settled}
        return Outcome(
            self.manifest.job, self.attempt, states, receipts, tuple(self.failures), not_yet, report or {}
        )

    def look(self, quantum: ManifestQuantum) -> None:
        """Step 1: keep and promote what is settled already."""
        try:
            receipt = read_receipt(self.store, quantum.receipt)
        except (PrestowError, OSError) as error:
            self.refused.add(quantum.id)
            self.fail(quantum, error)
            return
        if receipt is None:
            return
        if receipt.planned_recipe != quantum.recipe:
            self.refused.add(quantum.id)
            self.fail(
                quantum, _other_recipe(quantum.id, receipt.planned_recipe, quantum.recipe, quantum.receipt)
            )
            return
        self.keep(quantum, receipt)

    def keep(self, quantum: ManifestQuantum, receipt: Receipt, *, fresh: bool = False) -> None:
        """Take a committed receipt for true, and see that its bytes are where they belong."""
        self.settled[quantum.id] = receipt
        try:
            results = promote(self.store, receipt, fresh=fresh)
            gone = [p.output for p in results if p.result is Promoted.TO_RESTORE]
            lost = frozenset(o.id for o in gone if self.store.size(deleted_name(o.id)) is None)
        except (PrestowError, OSError) as error:
            self.fail(quantum, error)  # settled all the same: anybody may promote later
            return
        if lost:
            self.restore[quantum.id] = lost
        else:
            self.restore.pop(quantum.id, None)

    def read_outside(self, todo: Sequence[ManifestQuantum]) -> tuple[str, ...]:
        """Step 2: every input from outside must be settled, or nothing is run."""
        missing: list[str] = []
        for quantum in todo:
            try:
                missing += self.unsettled(quantum)
            except (PrestowError, OSError) as error:
                self.refused.add(quantum.id)
                self.fail(quantum, error)
        return tuple(dict.fromkeys(missing))

    def unsettled(self, quantum: ManifestQuantum) -> Iterator[str]:
        for _, item in self.inputs(quantum):
            if item.receipt is None or item.receipt in self.outside or item.producer in self.own:
                continue
            key = item.producer or item.receipt.rsplit("/", 1)[-1].removesuffix(".json")
            receipt = self.given.get(key) or self.find(item)
            if receipt is not None:
                self.outside[item.receipt] = receipt
            elif item.sha256 is None:
                yield key

    def find(self, item: ManifestInput) -> Receipt | None:
        place = self.manifest.locations.get(item.id)
        names = [self.manifest.store]
        if place is not None and place.store != self.manifest.store:
            names.insert(0, place.store)
        for name in names:
            receipt = read_receipt(self.open(name), str(item.receipt))
            if receipt is not None:
                return receipt
        return None

    def one(self, k: int, quantum: ManifestQuantum, *, keep: bool, debugger: bool) -> None:
        """Step 3: one quantum; this is the edge where an exception becomes a report."""
        if quantum.id in self.refused:
            return
        if any(
            item.producer in self.own and item.producer not in self.settled
            for _, item in self.inputs(quantum)
        ):
            self.entries.append(
                {"quantum": quantum.id, "state": "pending", "why": "an input of this job is not settled"}
            )
            return
        begin = time.monotonic()
        log = ""
        try:
            repository = self.repository
            if repository is None:
                repository = self.repository = Repository(
                    self.scratch, self.manifest.job, self.attempt, reuse=self.reuse
                )
            else:
                repository.clear(k - 1, [s.path for s in self.staged.values()], keep=keep)
            log = f"{repository.root}/log-{k}"
            self.quantum(k, quantum, repository, log, debugger=debugger)
        except Exception as error:  # noqa: BLE001 - the edge: it becomes a report
            self.fail(quantum, error, execute.tail(log), time.monotonic() - begin)
            if (
                self.final
                and quantum.tolerate
                and quantum.id not in self.settled
                and not isinstance(error, StoreError)
            ):
                self.seal(quantum)
        self.entries.append({
            "quantum": quantum.id, "task": quantum.task, "data_id": dict(quantum.data_id), "seed": seed_of(quantum.recipe),
            "state": str(self.settled[quantum.id].state) if quantum.id in self.settled else "failed",
            "seconds": round(time.monotonic() - begin, 6),
            "failures": [f.as_dict() for f in self.failures if f.quantum == quantum.id],
        })  # fmt: skip

    def fail(
        self, quantum: ManifestQuantum, error: BaseException, log: tuple[str, ...] = (), seconds: float = 0.0
    ) -> None:
        if isinstance(error, PrestowError) and error.problems:
            code, message = error.problems[0].code, "; ".join(_line(p) for p in error.problems)
        elif isinstance(error, OSError) and error.errno in _FULL:
            code, message = "PST-R002", f"no space left: {error.filename or error}"
        elif isinstance(error, OSError):
            code, message = "PST-R001", str(error)
        else:
            code, message = "PST-N007", f"{type(error).__name__}: {error}"
        self.failures.append(Failure(quantum.id, quantum.task, quantum.data_id, code, message, log, seconds))

    def seal(self, quantum: ManifestQuantum) -> None:
        """Settle a tolerated failure of the last try as lost; a late success may win."""
        failure = self.failures[-1]
        receipt = replace(
            self.receipt(quantum, State.LOST, (), None),
            code="failed",
            reason=f"{failure.code}: {failure.message}",
        )
        try:
            winner, mine = settle(self.store, receipt)
            self.keep(quantum, winner, fresh=mine)
        except PrestowError as error:
            self.fail(quantum, error)

    # -- one quantum ----------------------------------------------------------------------------

    def inputs(self, quantum: ManifestQuantum) -> Iterator[tuple[str, ManifestInput]]:
        for name, connection in quantum.inputs.items():
            for i in connection.datasets:
                yield name, self.manifest.inputs[i]

    def quantum(
        self, k: int, quantum: ManifestQuantum, repository: Repository, log: str, *, debugger: bool
    ) -> None:
        for tries in range(_TRIES + 1):
            if tries:
                repository.clear(k, [s.path for s in self.staged.values()], keep=False)
            seen = [self.see(name, item) for name, item in self.inputs(quantum)]
            actual = actual_recipe(
                quantum.recipe,
                (
                    (
                        s.connection,
                        canonical_json(dict(s.item.data_id)),
                        s.state,
                        "" if s.state in (State.LOST, State.BLOCKED) else s.actual,
                    )
                    for s in seen
                    if s.deviates
                ),
            )
            unmet = _unmet(quantum.inputs, seen)
            if unmet is not None:
                state, code = unmet
                self.commit(
                    quantum,
                    self.receipt(quantum, state, seen, None if state is State.BLOCKED else actual, code=code),
                )
                return
            if self.make(k, quantum, seen, actual, repository, log, debugger=debugger):
                return
        raise TaskError(
            Problem(
                "PST-N010",
                f"an input of this job was committed otherwise, {_TRIES + 1} times",
                quantum.id,
                "run the job again",
            )
        )

    def see(self, connection: str, item: ManifestInput) -> _Seen:
        """Give an input as its receipt says it is."""
        receipt = (
            self.settled.get(item.producer)
            if item.producer in self.own
            else self.outside.get(item.receipt or "")
        )
        if item.sha256 is not None:
            if item.receipt is not None and receipt is None:
                raise lost_input(f"its receipt {item.receipt} cannot be read", _name(item))
            place = self.manifest.locations.get(item.id)
            if place is None:
                raise lost_input("the manifest does not say where it lies", _name(item))
            roots = receipt.roots if receipt is not None else (Root(item.type, item.data_id, item.id),)
            there = (Source(self.open(place.store), place.path),)
            return _Seen(
                item, connection, State.MADE, "", item.sha256, item.size or 0, item.recipe, there, roots
            )
        if receipt is None:
            raise TaskError(Problem("PST-N009", "a planned input names no receipt", item.id))
        if receipt.planned_recipe != item.recipe:
            raise _other_recipe(receipt.quantum, receipt.planned_recipe, item.recipe, str(item.receipt))
        actual = receipt.actual_recipe or ""
        if receipt.state != State.MADE:
            code = (receipt.code or "") if receipt.state == State.DECLINED else ""
            return _Seen(item, connection, receipt.state, code, "", 0, actual, (), ())
        output = next((o for o in receipt.outputs if o.id == item.id), None)
        if output is None or output.state != State.MADE:
            return _Seen(item, connection, State.DECLINED, "not_made", "", 0, actual, (), ())
        if self.store.size(output.path) != output.size:
            try:
                promote(self.store, receipt)  # whoever made it did not come so far; anybody may
            except PrestowError as error:
                self.findings.append(f"cannot promote {output.path}: {error.problems[0].what}")
        planned, aside = Source(self.store, output.path), Source(self.store, str(output.aside), moves=True)
        # once more the planned name: it may be promoted between the first look and the second
        sources = (planned, aside, planned)
        return _Seen(
            item,
            connection,
            State.MADE,
            "",
            str(output.sha256),
            output.size or 0,
            actual,
            sources,
            receipt.roots,
        )

    def stage(self, seen: _Seen, repository: Repository) -> Staged:
        staged = self.staged.get(seen.item.id)
        if staged is not None and staged.sha256 == seen.sha256 and not staged.changed():
            return staged
        if staged is not None:
            os.unlink(staged.path)
        got = repository.stage(seen.item.local, seen.sources, seen.size, seen.sha256)
        if isinstance(got, str):
            raise lost_input(got, _name(seen.item))
        self.staged[seen.item.id] = got
        return got

    def make(
        self,
        k: int,
        quantum: ManifestQuantum,
        seen: Sequence[_Seen],
        actual: str,
        repository: Repository,
        log: str,
        *,
        debugger: bool,
    ) -> bool:
        """Run, check, stamp, settle; False if an input of this job is not what was read."""
        staged = {s.item.id: self.stage(s, repository) for s in seen if s.state == State.MADE}
        view = self.view(quantum, seen, staged, repository)
        try:
            self.execute(k, quantum, view, repository, log, debugger=debugger)
        except NothingToDo as decline:
            self.look_over(quantum, staged, repository, f"{repository.root}/work/{k}", declined=True)
            receipt = self.receipt(
                quantum, State.DECLINED, seen, actual, code=decline.code, measures=view.measures
            )
            self.commit(quantum, replace(receipt, reason=decline.reason or None))
            return True
        self.prototypes(quantum, view, repository, log)
        made = self.look_over(quantum, staged, repository, f"{repository.root}/work/{k}")
        outputs = self.aside(quantum, seen, actual, repository, made)
        if any(
            self.settled_digest(s) != s.sha256
            for s in seen
            if s.item.producer in self.own and s.state == State.MADE
        ):
            self.drop(outputs)
            return False
        receipt = replace(
            self.receipt(quantum, State.MADE, seen, actual, measures=view.measures), outputs=outputs
        )
        self.commit(quantum, receipt)
        return True

    def view(
        self,
        quantum: ManifestQuantum,
        seen: Sequence[_Seen],
        staged: Mapping[str, Staged],
        repository: Repository,
    ) -> Quantum:
        """Give the quantum as its task sees it."""
        inputs: dict[str, list[Input]] = {name: [] for name in quantum.inputs}
        absent: dict[str, list[Absent]] = {name: [] for name in quantum.inputs}
        for s in seen:
            if s.state == State.MADE:
                inputs[s.connection].append(
                    Input(s.item.type, s.item.data_id, Path(staged[s.item.id].path), s.item.format)
                )
            else:
                absent[s.connection].append(Absent(s.item.type, s.item.data_id, str(s.state), s.code))
        outputs: dict[str, tuple[Output, ...]] = {}
        for name, connection in quantum.outputs.items():
            items = [self.manifest.outputs[i] for i in connection.datasets]
            for item in items:
                repository.directory(os.path.dirname(repository.local(item.local)))
            if not name.startswith("_"):
                outputs[name] = tuple(
                    Output(o.type, o.data_id, Path(repository.local(o.local)), o.format) for o in items
                )
        return Quantum(
            quantum.task, dict(quantum.data_id), seed_of(quantum.recipe),
            {n: tuple(v) for n, v in inputs.items()}, {n: tuple(v) for n, v in absent.items()}, outputs,
        )  # fmt: skip

    def execute(
        self,
        k: int,
        quantum: ManifestQuantum,
        view: Quantum,
        repository: Repository,
        log: str,
        *,
        debugger: bool,
    ) -> None:
        if self.manifest.code is not None and not self.code:
            self.code = unpack(self.manifest.code, self.open(self.manifest.code.store), self.scratch)
        work = repository.work(k)
        if quantum.command is not None:
            execute.run_command(
                quantum, view, code=self.code, work=work, temporary=repository.temporary, log=log
            )
            return
        if self.code:
            activate(self.code)
        try:
            execute.run_python(
                quantum,
                view,
                code=self.code,
                work=work,
                temporary=repository.temporary,
                log=log,
                debugger=debugger,
            )
        except TaskError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) and str(cause.filename).startswith(
                f"{repository.root}/inputs/"
            ):
                raise TaskError(_changed(str(cause.filename)[len(repository.root) + 1 :], quantum)) from error
            if isinstance(cause, OSError) and cause.errno in _FULL:
                raise cause from error
            raise

    def whole_inputs(
        self, staged: Mapping[str, Staged], repository: Repository, quantum: ManifestQuantum
    ) -> list[Problem]:
        return [_changed(s.path[len(repository.root) + 1 :], quantum) for s in staged.values() if s.changed()]

    def look_over(
        self,
        quantum: ManifestQuantum,
        staged: Mapping[str, Staged],
        repository: Repository,
        work: str,
        *,
        declined: bool = False,
    ) -> dict[str, ManifestOutput]:
        """Compare what the task left behind with what was planned; give what was made."""
        problems = self.whole_inputs(staged, repository, quantum)
        items = [self.manifest.outputs[i] for c in quantum.outputs.values() for i in c.datasets]
        where = _text(quantum)
        problems += [
            Problem(
                "PST-N004",
                f"a file nobody planned: {name}",
                where,
                "declare it as an output, or under 'ignore'",
            )
            for name in repository.strays(
                [o.local for o in items], work, quantum.ignore, [s.path for s in self.staged.values()]
            )
        ]
        made = {o.id: o for o in items if os.path.isfile(repository.local(o.local))}
        problems += [
            Problem(
                "PST-N003",
                f"the output '{name}' was not made: {self.manifest.outputs[i].local}",
                where,
                "write it, or declare it optional",
            )
            for name, connection in quantum.outputs.items()
            if not (connection.optional or declined)
            for i in connection.datasets
            if self.manifest.outputs[i].id not in made
        ]
        if problems:
            raise TaskError(*problems)
        return made

    def prototypes(self, quantum: ManifestQuantum, view: Quantum, repository: Repository, log: str) -> None:
        """Write the outputs that are the node's own: configuration, measures, log."""
        for prototype in quantum.prototypes:
            connection = quantum.outputs.get(f"_{prototype}")
            for i in connection.datasets if connection is not None else ():
                item = self.manifest.outputs[i]
                value: dict[str, Any]
                if prototype == "config":
                    value = dict(quantum.config)
                elif prototype == "metadata":
                    value = dict(view.measures)
                else:
                    value = {"lines": execute.all_lines(log)}
                open_format(item.format).write(Path(repository.local(item.local)), value)

    # -- commit ---------------------------------------------------------------------------------

    def aside(
        self,
        quantum: ManifestQuantum,
        seen: Sequence[_Seen],
        actual: str,
        repository: Repository,
        made: Mapping[str, ManifestOutput],
    ) -> tuple[ReceiptOutput, ...]:
        """Stamp each output into its aside name: one pass for story, digest and durability."""
        outputs: list[ReceiptOutput] = []
        try:
            for connection in quantum.outputs.values():
                for i in connection.datasets:
                    item = self.manifest.outputs[i]
                    base = ReceiptOutput(
                        item.id, item.type, item.data_id, item.format, item.path, State.DECLINED
                    )
                    if item.id in made:
                        name = aside_name(quantum.id, self.attempt, len(outputs))
                        base = replace(base, state=State.MADE, aside=name)
                        outputs.append(base)
                        stamped = self.stamp(name, item, self.story(quantum, item, seen, actual), repository)
                        outputs[-1] = replace(
                            base, size=stamped.size, sha256=stamped.sha256, content=stamped.content
                        )
                    else:
                        outputs.append(base)
        except BaseException:
            self.drop(outputs)
            raise
        return tuple(outputs)

    def stamp(self, name: str, item: ManifestOutput, story: Story, repository: Repository) -> Stamped:
        with self.store.create(name) as sink:
            return open_format(item.format).stamp(Path(repository.local(item.local)), sink, story)

    def drop(self, outputs: Sequence[ReceiptOutput]) -> None:
        """Remove the own asides of what this attempt did not commit and never will."""
        for output in outputs:
            if output.aside is not None:
                try:
                    self.store.delete(output.aside)
                except PrestowError as error:
                    self.findings.append(f"aside left behind: {output.aside}: {error.problems[0].what}")

    def commit(self, quantum: ManifestQuantum, receipt: Receipt) -> None:
        """Settle, and go on with the winner's receipt and bytes, whoever that is."""
        before = self.settled.get(quantum.id)
        if before is not None:
            self.restored(quantum, before, receipt)
            return
        winner, mine = settle(self.store, receipt)
        if not mine:
            self.compare(quantum, receipt, winner)
            self.drop(receipt.outputs)
        if winner.planned_recipe != quantum.recipe:
            self.refused.add(quantum.id)
            raise _other_recipe(quantum.id, winner.planned_recipe, quantum.recipe, quantum.receipt)
        self.keep(quantum, winner, fresh=mine)

    def compare(self, quantum: ManifestQuantum, receipt: Receipt, winner: Receipt) -> None:
        theirs = {o.id: o.sha256 for o in winner.outputs}
        if winner.state != receipt.state or any(theirs.get(o.id) != o.sha256 for o in receipt.outputs):
            self.findings.append(
                f"PST-N010 {_text(quantum)}: attempt {receipt.attempt} came to {receipt.state} with other bytes than {winner.state} of "
                f"{winner.attempt or winner.sealer}, which was committed"
            )

    def restored(self, quantum: ManifestQuantum, committed: Receipt, again: Receipt) -> None:
        """Bytes of a committed product were gone: put them back, if the same were made again."""
        lost = self.restore[quantum.id]
        made = {o.id: o for o in again.outputs}
        try:
            for output in committed.outputs:
                if output.id not in lost:
                    continue
                twin = made.get(output.id)
                if (
                    twin is None
                    or twin.aside is None
                    or (twin.size, twin.sha256) != (output.size, output.sha256)
                ):
                    raise TaskError(
                        Problem(
                            "PST-N010",
                            f"{output.path} was lost, and what is made again has other bytes",
                            _text(quantum),
                            "make it again in a child run",
                        )
                    )
                self.store.move(twin.aside, output.path)
            self.keep(quantum, committed)
        finally:
            self.drop(again.outputs)

    def settled_digest(self, seen: _Seen) -> str:
        receipt = self.settled.get(str(seen.item.producer))
        return next((str(o.sha256) for o in receipt.outputs if o.id == seen.item.id), "") if receipt else ""

    def receipt(
        self, quantum: ManifestQuantum, state: State, seen: Sequence[_Seen], actual: str | None, *, code: str | None = None,
        measures: Mapping[str, float | int | str | bool] | None = None,
    ) -> Receipt:  # fmt: skip
        m = self.manifest
        return Receipt(
            quantum=quantum.id, task=quantum.task, run=m.run, data_id=quantum.data_id, job=m.job, state=str(state),
            planned_recipe=quantum.recipe, actual_recipe=actual, attempt=self.attempt, code=code,
            version=m.code.sha256 if m.code else None,
            inputs=tuple(
                ReceiptInput(
                    s.connection, s.item.id, s.item.type, s.item.data_id, s.item.run, str(s.state), s.code or None,
                    s.sha256 or None, s.item.recipe, s.actual or None,
                )
                for s in seen
            ),
            roots=_roots(seen) if state is State.MADE else (),
            measures=dict(measures or {}),
        )  # fmt: skip

    def story(
        self, quantum: ManifestQuantum, item: ManifestOutput, seen: Sequence[_Seen], actual: str
    ) -> Story:
        return Story(
            type=item.type, id=item.id, run=self.manifest.run, data_id=canonical_json(dict(item.data_id)), task=quantum.task,
            version=self.manifest.code.sha256 if self.manifest.code else "", recipe=actual, planned_recipe=quantum.recipe,
            planned=len(seen), used=sum(s.state == State.MADE for s in seen),
            inputs=tuple(
                StoryInput(
                    s.connection, s.item.type, canonical_json(dict(s.item.data_id)), s.item.id, str(s.state), s.code, s.sha256,
                    "" if s.state in (State.LOST, State.BLOCKED) else s.actual,
                )
                for s in seen
            ),
            roots=tuple(StoryRoot(r.type, canonical_json(dict(r.data_id)), r.id) for r in _roots(seen)),
        )  # fmt: skip


def _roots(seen: Sequence[_Seen]) -> tuple[Root, ...]:
    found = {r.id: r for s in seen if s.state == State.MADE for r in s.roots}
    return tuple(sorted(found.values(), key=lambda r: (r.type, canonical_json(dict(r.data_id)), r.id)))


def _unmet(connections: Mapping[str, Connection], seen: Sequence[_Seen]) -> tuple[State, str | None] | None:
    """Say how a quantum ends whose inputs are too few, or None if they are enough."""
    blocked, short, codes = False, False, set()
    for name, connection in connections.items():
        here = [s for s in seen if s.connection == name]
        if connection.met(sum(s.state == State.MADE for s in here)):
            continue
        short = True
        absent = [s for s in here if s.state != State.MADE]
        blocked = blocked or any(s.deviates for s in absent)
        codes |= {s.code for s in absent}
    if not short:
        return None
    if blocked:
        return State.BLOCKED, None
    return State.DECLINED, codes.pop() if len(codes) == 1 and codes != {""} else "no_inputs"


def _other_recipe(quantum: str, found: str, wanted: str, name: str) -> TaskError:
    return TaskError(
        Problem(
            "PST-P005",
            f"quantum {quantum} is settled under recipe {found}, and this plan asks for {wanted}",
            name,
            "plan it in another run, or in a child run",
        )
    )


def _changed(name: str, quantum: ManifestQuantum) -> Problem:
    return Problem(
        "PST-N005",
        f"the input {name} was changed by the task",
        _text(quantum),
        "write to a file of your own; inputs are read-only",
    )


def _line(problem: Problem) -> str:
    return (
        f"{problem.what} [{problem.where}]"
        if problem.where and problem.where not in problem.what
        else problem.what
    )


def _name(item: ManifestInput) -> str:
    return f"{item.type}{{{','.join(f'{k}={item.data_id[k]}' for k in sorted(item.data_id))}}}"


def _text(quantum: ManifestQuantum) -> str:
    return f"{quantum.task}{{{','.join(f'{k}={quantum.data_id[k]}' for k in sorted(quantum.data_id))}}}"
