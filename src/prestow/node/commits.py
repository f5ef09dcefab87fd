"""The commits of a job: what of it is settled, what failed, and how the rest becomes settled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prestow.commit import (
    Promoted,
    aside_name,
    deleted_name,
    promote,
    read_receipt,
    settle,
)
from prestow.errors import PrestowError, Problem, TaskError
from prestow.formats import Measuring, Stamped, Story, StoryInput, StoryRoot, open_format
from prestow.manifest import Manifest, ManifestOutput, ManifestQuantum, Receipt, ReceiptInput, ReceiptOutput
from prestow.model import State
from prestow.model.hashing import canonical_json
from prestow.node.differing import put_difference
from prestow.node.inputs import Seen, other_recipe, roots_of
from prestow.node.outcome import Failure, failure_of, in_words
from prestow.stores import Store


class Commits:
    """What has become of a job's quanta in one attempt; everything that lasts is in the store."""

    def __init__(self, manifest: Manifest, store: Store, attempt: str) -> None:
        self.manifest = manifest
        self.store = store
        self.attempt = attempt
        self.settled: dict[str, Receipt] = {}
        self.refused: set[str] = set()
        self.restore: dict[str, frozenset[str]] = {}  # quantum -> datasets whose bytes are gone
        self.failures: list[Failure] = []
        self.findings: list[str] = []

    def fail(
        self, quantum: ManifestQuantum, error: BaseException, log: tuple[str, ...] = (), seconds: float = 0.0
    ) -> None:
        """Note a failure; it says nothing about whether the quantum is settled."""
        self.failures.append(failure_of(quantum, error, log, seconds))

    def refuse(self, quantum: ManifestQuantum, error: BaseException) -> None:
        """Note a failure that forbids to run the quantum at all."""
        self.refused.add(quantum.id)
        self.fail(quantum, error)

    def look(self, quantum: ManifestQuantum) -> None:
        """Keep and promote what is settled already."""
        try:
            receipt = read_receipt(self.store, quantum.receipt)
        except (PrestowError, OSError) as error:
            self.refuse(quantum, error)
            return
        if receipt is None:
            return
        if receipt.planned_recipe != quantum.recipe:
            self.refuse(
                quantum, other_recipe(quantum.id, receipt.planned_recipe, quantum.recipe, quantum.receipt)
            )
            return
        self._keep(quantum, receipt)

    def _keep(self, quantum: ManifestQuantum, receipt: Receipt, *, fresh: bool = False) -> None:
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

    def remains(self, quantum: ManifestQuantum) -> bool:
        """Whether there is anything to run for it: to settle it, or to restore its bytes."""
        return quantum.id not in self.refused and (
            quantum.id not in self.settled or quantum.id in self.restore
        )

    def states(self) -> dict[str, State]:
        """Give what every quantum of the job came to, in order."""
        failed = {f.quantum for f in self.failures}
        return {
            q.id: State(self.settled[q.id].state)
            if q.id in self.settled
            else State.FAILED
            if q.id in failed
            else State.PENDING
            for q in self.manifest.quanta
        }

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
            self._keep(quantum, winner, fresh=mine)
        except PrestowError as error:
            self.fail(quantum, error)

    def aside(
        self, quantum: ManifestQuantum, seen: Sequence[Seen], actual: str, made: Mapping[str, Path]
    ) -> tuple[ReceiptOutput, ...]:
        """Stamp each output into its aside name: one pass for story, digest and durability."""
        outputs: list[ReceiptOutput] = []
        try:
            for label, connection in quantum.outputs.items():
                for i in connection.datasets:
                    item = self.manifest.outputs[i]
                    base = ReceiptOutput(
                        item.id, item.type, item.data_id, item.format, item.path, State.DECLINED
                    )
                    if item.id in made:
                        name = aside_name(quantum.id, self.attempt, len(outputs))
                        base = replace(base, state=State.MADE, aside=name)
                        outputs.append(base)
                        story = self._story(quantum, item, seen, actual)
                        stamped = self._stamp(name, label, made[item.id], item.format, story)
                        outputs[-1] = replace(
                            base,
                            size=stamped.size,
                            sha256=stamped.sha256,
                            content=stamped.content,
                            metrics=_metrics(item.format, made[item.id]),
                        )
                    else:
                        outputs.append(base)
        except BaseException:
            self.drop(outputs)
            raise
        return tuple(outputs)

    def _stamp(self, name: str, label: str, path: Path, format_: str, story: Story) -> Stamped:
        with self.store.create(name) as sink:
            try:
                return open_format(format_).stamp(path, sink, story)
            except TaskError as error:
                told = [replace(p, what=f"the output '{label}': {p.what}") for p in error.problems]
                raise TaskError(*told) from error

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
            self._restore(quantum, before, receipt)
            return
        winner, mine = settle(self.store, receipt)
        if not mine:
            self._compare(quantum, receipt, winner)
            self.drop(receipt.outputs)
        if winner.planned_recipe != quantum.recipe:
            self.refused.add(quantum.id)
            raise other_recipe(quantum.id, winner.planned_recipe, quantum.recipe, quantum.receipt)
        self._keep(quantum, winner, fresh=mine)

    def _compare(self, quantum: ManifestQuantum, receipt: Receipt, winner: Receipt) -> None:
        theirs = {o.id: o.sha256 for o in winner.outputs}
        mine = [o for o in receipt.outputs if o.id not in self._environments(quantum)]
        if winner.state != receipt.state or any(theirs.get(o.id) != o.sha256 for o in mine):
            self.findings.append(
                f"PST-N010 {in_words(quantum.task, quantum.data_id)}: attempt {receipt.attempt} came to {receipt.state} "
                f"with other bytes than {winner.state} of {winner.attempt or winner.sealer}, which was committed"
            )
            if winner.sealer is None:  # against a seal any attempt is late, and none is another's twin
                put_difference(self.store, receipt, winner, mine)

    def _environments(self, quantum: ManifestQuantum) -> frozenset[str]:
        """Give the outputs that say where they were made: they may well have other bytes elsewhere."""
        connection = quantum.outputs.get("_environment")
        return (
            frozenset(self.manifest.outputs[i].id for i in connection.datasets) if connection else frozenset()
        )

    def _restore(self, quantum: ManifestQuantum, committed: Receipt, again: Receipt) -> None:
        """Bytes of a committed product were gone: put them back, if the same were made again.

        What is the same is put back whatever else is not. An environment that is another one now is a
        finding, not a failure: it stays lost, and the products are what counts.
        """
        lost = self.restore[quantum.id]
        made = {o.id: o for o in again.outputs}
        other: list[ReceiptOutput] = []
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
                    other.append(output)
                    continue
                self.store.move(twin.aside, output.path)
            where, environments = in_words(quantum.task, quantum.data_id), self._environments(quantum)
            self.findings += [
                f"PST-N010 {where}: {o.path} was lost, and the environment is another one now"
                for o in other
                if o.id in environments
            ]
            problems = [
                Problem(
                    "PST-N010", f"{o.path} was lost, and what is made again has other bytes", where,
                    "make it again in a child run",
                )
                for o in other
                if o.id not in environments
            ]  # fmt: skip
            if problems:
                wrong = [o for o in again.outputs if o.id in lost and o.id not in environments]
                put_difference(self.store, again, committed, wrong)
                raise TaskError(*problems)
            self._keep(quantum, committed)
        finally:
            self.drop(again.outputs)

    def receipt(
        self, quantum: ManifestQuantum, state: State, seen: Sequence[Seen], actual: str | None, *, code: str | None = None,
        measures: Mapping[str, float | int | str | bool] | None = None,
    ) -> Receipt:  # fmt: skip
        """Give the receipt of a quantum that came to this state, still without its outputs."""
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
            roots=roots_of(seen) if state is State.MADE else (),
            measures=dict(measures or {}),
        )  # fmt: skip

    def _story(
        self, quantum: ManifestQuantum, item: ManifestOutput, seen: Sequence[Seen], actual: str
    ) -> Story:
        return Story(
            type=item.type, id=item.id, run=self.manifest.run, data_id=canonical_json(dict(item.data_id)), task=quantum.task,
            version=self.manifest.code.sha256 if self.manifest.code else "", recipe=actual, planned_recipe=quantum.recipe,
            planned=len(seen), used=sum(s.state == State.MADE for s in seen),
            inputs=tuple(
                StoryInput(
                    s.connection, s.item.type, canonical_json(dict(s.item.data_id)), s.item.id, str(s.state), s.code, s.sha256,
                    s.told,
                )
                for s in seen
            ),
            roots=tuple(StoryRoot(r.type, canonical_json(dict(r.data_id)), r.id) for r in roots_of(seen)),
        )  # fmt: skip


def _metrics(format_: str, path: Path) -> Mapping[str, float] | None:
    """Give the metrics of a document; None where the format has none, or JSON cannot say one of them."""
    reader = open_format(format_)
    if not isinstance(reader, Measuring):
        return None
    found = reader.inspect(path).metrics
    return dict(found) if all(map(math.isfinite, found.values())) else None
