"""Whether a file is what its receipt says, and a receipt what its name says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from prestow.commit import receipt_name
from prestow.errors import ObjectNotFoundError, PrestowError, Problem, StoreError
from prestow.formats import Format, Inspected, Measuring, open_format
from prestow.manifest import Receipt, ReceiptOutput
from prestow.model.hashing import canonical_json, dataset_id, quantum_id
from prestow.stores import Linkable, Store, check_name


class Level(StrEnum):
    """How closely files are looked at."""

    RECEIPT = "receipt"  # size, and the story in the file
    FULL = "full"  # and both digests, taken anew


def says_what_its_name_says(receipt: Receipt, name: str) -> str:
    """Say what is wrong with the identities in a receipt, or nothing."""
    if quantum_id(receipt.task, receipt.run, receipt.data_id) != receipt.quantum:
        return "the receipt's quantum is not that of its task, run and data ID"
    if receipt_name(receipt.run, receipt.task, receipt.quantum) != name:
        return "the receipt is of another quantum than its name"
    if receipt.state not in ("made", "declined", "lost", "blocked"):
        return f"'{receipt.state}' is no state of a receipt"
    for output in receipt.outputs:
        if dataset_id(output.type, receipt.run, output.data_id) != output.id:
            return f"the id of {output.type} is not that of its type, run and data ID"
        if output.state == "made" and (
            output.sha256 is None or output.size is None or output.content is None
        ):
            return f"{output.type} is made, but its digests are missing"
        try:
            check_name(output.path)
        except StoreError as error:
            return error.problems[0].what
    return ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What one look at an output came to: all in which it differs from its receipt, and its metrics."""

    problems: tuple[Problem, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


class Verifier:
    """Checks outputs in one store; a store without local files is read through a temporary copy."""

    def __init__(self, store: Store, level: Level) -> None:
        self._store = store
        self._level = level
        self._formats: dict[str, Format] = {}
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            self._directory.cleanup()

    def looks_promoted(self, output: ReceiptOutput) -> bool:
        """Tell, without reading, whether an output is at its name and nothing waits aside."""
        if self._level is Level.FULL or self._store.size(output.path) != output.size:
            return False
        return output.aside is None or self._store.size(output.aside) is None

    def check(self, receipt: Receipt, output: ReceiptOutput) -> Checked:
        """Give all in which a file differs from its receipt, and its metrics, in one reading."""
        metrics: Mapping[str, float] = {}
        try:
            with self._local(output.path) as path:
                try:
                    found = self._inspected(output, path)
                    wrong, metrics = self._differences(receipt, output, found), found.metrics
                except PrestowError as error:
                    wrong = [problem.what for problem in error.problems]
        except ObjectNotFoundError:
            wrong = ["it is gone"]
        if not wrong:
            return Checked(metrics=metrics)
        fix = f"look who changed it; how the committed bytes come back: prestow why {output.path}"
        return Checked(tuple(Problem("PST-I003", what, output.path, fix) for what in wrong))

    def _inspected(self, output: ReceiptOutput, path: Path) -> Inspected:
        format_ = self._format(output.format)
        # A small document is read once and as a whole: only there do its metrics stand.
        if isinstance(format_, Measuring):
            return format_.inspect(path)
        story = format_.read_story(path)
        content = format_.content_digest(path) if self._level is Level.FULL else output.content
        return Inspected(story, content or "", {})

    def _differences(self, receipt: Receipt, output: ReceiptOutput, found: Inspected) -> list[str]:
        story = found.story
        if story is None:
            return [f"the file has no story: another program wrote this {output.format}, or wrote it again"]
        expected = {
            "type": output.type, "id": output.id, "run": receipt.run, "data_id": canonical_json(dict(output.data_id)),
            "task": receipt.task, "version": receipt.version or "", "recipe": receipt.actual_recipe,
            "planned_recipe": receipt.planned_recipe,
        }  # fmt: skip
        wrong = [
            f"its story says {name} {getattr(story, name)!r}, its receipt {value!r}"
            for name, value in expected.items()
            if getattr(story, name) != value
        ]
        planned = {(i.connection, i.id) for i in receipt.inputs}
        wrong += [
            f"its story names an input that its receipt does not: {i.type} {i.data_id}"
            for i in story.inputs
            if (i.connection, i.id) not in planned
        ]
        if self._level is Level.FULL and found.content != output.content:
            wrong.append("its content digest is not the receipt's")
        return wrong

    def _format(self, name: str) -> Format:
        if name not in self._formats:
            self._formats[name] = open_format(name)
        return self._formats[name]

    @contextmanager
    def _local(self, name: str) -> Iterator[Path]:
        if isinstance(self._store, Linkable):
            path = self._store.local_path(name)
            if not path.exists():
                raise ObjectNotFoundError(Problem("PST-R001", "there is no such object", name))
            yield path
            return
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="prestow-ingest-")
        path = Path(self._directory.name, os.path.basename(name))
        self._store.fetch(name, path)
        try:
            yield path
        finally:
            path.unlink()
