"""The making of a job's quanta in its local repository: stage, show, run, look over; no commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prestow.errors import Problem, TaskError
from prestow.formats import open_format
from prestow.manifest import Manifest, ManifestQuantum
from prestow.model import State
from prestow.model.hashing import seed_of
from prestow.node import execute
from prestow.node.bundle import activate, unpack
from prestow.node.inputs import Seen, input_in_words
from prestow.node.outcome import FULL, in_words
from prestow.node.reading import Key, WatchedInput, reads_of
from prestow.node.repository import Repository, Staged, lost_input
from prestow.stores import Store
from prestow.tasks import Absent, Input, Output, Quantum


class Making:
    """The local repository of a job with what is staged in it."""

    def __init__(
        self,
        manifest: Manifest,
        attempt: str,
        scratch: str,
        open_named: Callable[[str], Store],
        *,
        reuse: bool,
    ) -> None:
        self.manifest = manifest
        self.scratch = scratch
        self.open = open_named
        self.repository = Repository(scratch, manifest.job, attempt, reuse=reuse)
        self.staged: dict[str, Staged] = {}
        self.code = ""
        self._seen: Sequence[Seen] = ()
        self._taken: set[Key] = set()

    def log(self, k: int) -> str:
        """Give the path of the k-th quantum's log."""
        return f"{self.repository.root}/log-{k}"

    def clear(self, k: int, *, keep: bool) -> None:
        """Make way after the k-th quantum; what is staged stays."""
        self.repository.clear(k, [s.path for s in self.staged.values()], keep=keep)
        self._seen, self._taken = (), set()

    def reads(self) -> dict[str, dict[str, Any]]:  # Any: JSON values
        """Say what the quantum at hand took of what was staged for it; nothing before its task could."""
        return reads_of(self._seen, self._taken)

    def stage(self, seen: Seen) -> None:
        """Bring an input here, unless it is here as it was."""
        staged = self.staged.get(seen.item.id)
        if staged is not None and staged.sha256 == seen.sha256 and not staged.changed():
            return
        if staged is not None:
            os.unlink(staged.path)
        got = self.repository.stage(seen.item.local, seen.sources, seen.size, seen.sha256)
        if isinstance(got, str):
            raise lost_input(got, input_in_words(seen.item))
        self.staged[seen.item.id] = got

    def view(self, quantum: ManifestQuantum, seen: Sequence[Seen]) -> Quantum:
        """Give the quantum as its task sees it."""
        inputs: dict[str, list[Input]] = {name: [] for name in quantum.inputs}
        absent: dict[str, list[Absent]] = {name: [] for name in quantum.inputs}
        self._seen, self._taken = seen, set()
        for s in seen:
            if s.state == State.MADE:
                given = Input(s.item.type, s.item.data_id, Path(self.staged[s.item.id].path), s.item.format)
                inputs[s.connection].append(WatchedInput.of(given, self._taken, (s.connection, s.item.id)))
            else:
                absent[s.connection].append(Absent(s.item.type, s.item.data_id, str(s.state), s.code))
        outputs: dict[str, tuple[Output, ...]] = {}
        for name, connection in quantum.outputs.items():
            items = [self.manifest.outputs[i] for i in connection.datasets]
            for item in items:
                self.repository.directory(os.path.dirname(self.repository.local(item.local)))
            if not name.startswith("_"):
                outputs[name] = tuple(
                    Output(o.type, o.data_id, Path(self.repository.local(o.local)), o.format) for o in items
                )
        return Quantum(
            quantum.task, dict(quantum.data_id), seed_of(quantum.recipe),
            {n: tuple(v) for n, v in inputs.items()}, {n: tuple(v) for n, v in absent.items()}, outputs,
        )  # fmt: skip

    def execute(self, k: int, quantum: ManifestQuantum, view: Quantum, *, debugger: bool) -> None:
        """Run the task; a changed input and a full disk are told apart from its own failures."""
        if self.manifest.code is not None and not self.code:
            self.code = unpack(self.manifest.code, self.open(self.manifest.code.store), self.scratch)
        if quantum.command is None and quantum.entry is None:
            return  # all that it makes the node itself writes
        repository = self.repository
        work = repository.work(k)
        if quantum.command is not None:
            execute.run_command(
                quantum, view, code=self.code, work=work, temporary=repository.temporary, log=self.log(k)
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
                log=self.log(k),
                debugger=debugger,
            )
        except TaskError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) and str(cause.filename).startswith(
                f"{repository.root}/inputs/"
            ):
                raise TaskError(self._changed(str(cause.filename), quantum)) from error
            if isinstance(cause, OSError) and cause.errno in FULL:
                raise cause from error
            raise

    def look_over(
        self, k: int, quantum: ManifestQuantum, seen: Sequence[Seen], *, declined: bool = False
    ) -> Mapping[str, Path]:
        """Compare what the task left behind with what was planned; give what was made, by its id."""
        repository = self.repository
        where = in_words(quantum.task, quantum.data_id)
        staged = {s.item.id: self.staged[s.item.id] for s in seen if s.state == State.MADE}
        problems = [self._changed(s.path, quantum) for s in staged.values() if s.changed()]
        items = [self.manifest.outputs[i] for c in quantum.outputs.values() for i in c.datasets]
        problems += [
            Problem(
                "PST-N004",
                f"a file nobody planned: {name}",
                where,
                "declare it as an output, or under 'ignore'",
            )
            for name in repository.strays(
                [o.local for o in items],
                f"{repository.root}/work/{k}",
                quantum.ignore,
                [s.path for s in self.staged.values()],
            )
        ]
        made = {o.id: Path(p) for o in items if os.path.isfile(p := repository.local(o.local))}
        problems += [] if declined else self._other_columns(quantum, made)
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

    def _other_columns(self, quantum: ManifestQuantum, made: Mapping[str, Path]) -> list[Problem]:
        """Give what is wrong with the columns of the tables that declare them."""
        problems: list[Problem] = []
        for name, connection in quantum.outputs.items():
            for item in (self.manifest.outputs[i] for i in connection.datasets):
                check = getattr(open_format(item.format), "check_columns", None) if item.columns else None
                if check is None or item.id not in made:
                    continue
                try:
                    check(made[item.id], item.columns)
                except TaskError as error:
                    where = in_words(quantum.task, quantum.data_id)
                    problems += [
                        replace(p, what=f"the output '{name}': {p.what}", where=where) for p in error.problems
                    ]
        return problems

    def _changed(self, path: str, quantum: ManifestQuantum) -> Problem:
        return Problem(
            "PST-N005",
            f"the input {path[len(self.repository.root) + 1 :]} was changed by the task",
            in_words(quantum.task, quantum.data_id),
            "write to a file of your own; inputs are read-only",
        )

    def prototypes(self, k: int, quantum: ManifestQuantum, view: Quantum) -> None:
        """Write the outputs that are the node's own: configuration, measures, log, environment."""
        for prototype in quantum.prototypes:
            connection = quantum.outputs.get(f"_{prototype}")
            for i in connection.datasets if connection is not None else ():
                item = self.manifest.outputs[i]
                value: dict[str, Any]  # Any: what a file of values holds
                if prototype == "config":
                    value = dict(quantum.config)
                elif prototype == "metadata":
                    value = dict(view.measures)
                elif prototype == "environment":
                    from prestow.node.environment import environment  # only where it is asked for

                    value = environment(self.manifest.code.sha256 if self.manifest.code else None)
                else:
                    value = {"lines": execute.all_lines(self.log(k))}
                open_format(item.format).write(Path(self.repository.local(item.local)), value)
