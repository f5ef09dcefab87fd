"""Whether a file is what its receipt says, and a receipt what its name says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import receipt_name
from prestow.errors import ObjectNotFoundError, PrestowError, Problem, StoreError
from prestow.formats import Format, Inspected, Measuring, Story, open_format
from prestow.ingest.levels import Level
from prestow.manifest import Receipt, ReceiptOutput
from prestow.model.hashing import canonical_json, pairs_of, uuid_of
from prestow.stores import Linkable, Store, check_name
from prestow.stores.local import local_file

if TYPE_CHECKING:
    from prestow.ingest.reading import TypedReceipt

__all__ = ["Checked", "Level", "Verifier", "identity_of", "says_what_its_name_says"]

_STATES = ("made", "declined", "lost", "blocked")


def says_what_its_name_says(receipt: Receipt, name: str) -> str:
    """Say what is wrong with the identities in a receipt, or nothing."""
    return identity_of(receipt, name, pairs_of)


def identity_of(receipt: Receipt | TypedReceipt, name: str, pairs: Callable[[Any], str]) -> str:
    """Say what is wrong with the identities in a receipt, or nothing; ``pairs`` as `pairs_of` for its data IDs."""
    run, task, quantum = receipt.run, receipt.task, receipt.quantum
    if uuid_of(f"quantum={task},run={run}{pairs(receipt.data_id)}") != quantum:
        return "the receipt's quantum is not that of its task, run and data ID"
    if receipt_name(run, task, quantum) != name:
        return "the receipt is of another quantum than its name"
    if receipt.state not in _STATES:
        return f"'{receipt.state}' is no state of a receipt"
    for output in receipt.outputs:
        kind = output.type
        if uuid_of(f"dataset_type={kind},run={run}{pairs(output.data_id)}") != output.id:
            return f"the id of {kind} is not that of its type, run and data ID"
        if output.state == "made" and None in (output.sha256, output.size, output.content):
            return f"{kind} is made, but its digests are missing"
        try:
            check_name(output.path)
            if output.aside is not None:
                check_name(output.aside)
        except StoreError as error:
            return error.problems[0].what
    return ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What looking at one output came to."""

    problems: tuple[Problem, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


class Verifier:
    """Checks outputs in one store; a store without local files is read through a temporary copy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._formats: dict[str, Format] = {}

    def looks_promoted(self, output: ReceiptOutput) -> bool:
        """Tell, without reading, whether an output is at its name and nothing waits aside."""
        if self._store.size(output.path) != output.size:
            return False
        return output.aside is None or self._store.size(output.aside) is None

    def check(self, receipt: Receipt, output: ReceiptOutput, *, in_full: bool) -> Checked:
        """Give all in which a file differs from its receipt, and its metrics.

        ``in_full`` every byte, else size and story.
        """
        metrics: Mapping[str, float] = {}
        try:
            with self._there(output.path) as path:
                wrong = self._outside(path, output.path)
                try:
                    if not wrong:
                        found = self._inspected(output, path)
                        wrong, metrics = differences(receipt, output, found.story), found.metrics
                        wrong += self._other_bytes(output, path, found.content) if in_full else []
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
        return Inspected(format_.read_story(path), "", {})

    def _other_bytes(self, output: ReceiptOutput, path: Path, content: str) -> list[str]:
        """Say if the bytes are not those of the receipt; where they are, so is the content."""
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == output.sha256:
                return []
        if (content or self._format(output.format).content_digest(path)) == output.content:
            return [
                "its bytes are not those of its receipt, though its content is: its story was written again"
            ]
        return ["its content digest is not the receipt's"]

    def _outside(self, path: Path, name: str) -> list[str]:
        """Say if a link leads from the file's name out of its store."""
        text = os.fspath(path)
        if not isinstance(self._store, Linkable) or not text.endswith(f"/{name}"):
            return []
        root, real = os.path.realpath(text[: -len(name)]), os.path.realpath(text)
        if real.startswith(root.rstrip("/") + "/"):
            return []
        return [f"a link leads out of the store, to {real}"]

    def _format(self, name: str) -> Format:
        if name not in self._formats:
            self._formats[name] = open_format(name)
        return self._formats[name]

    @contextmanager
    def _there(self, name: str) -> Iterator[Path]:
        with local_file(self._store, name) as path:
            if not path.exists():
                raise ObjectNotFoundError(Problem("PST-R001", "there is no such object", name))
            yield path


def differences(receipt: Receipt, output: ReceiptOutput, story: Story | None) -> list[str]:
    """Give all in which the story of a file differs from the receipt of its output."""
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
    planned = {(i.connection, i.id): i.sha256 or "" for i in receipt.inputs}
    for given in story.inputs:
        digest = planned.get((given.connection, given.id))
        if digest is None:
            wrong.append(f"its story names an input that its receipt does not: {given.type} {given.data_id}")
        elif digest != given.sha256:
            wrong.append(
                f"its story and its receipt give other digests of the input {given.type} {given.data_id}"
            )
    roots = {root.id for root in receipt.roots}
    wrong += [
        f"its story goes back to what its receipt does not: {root.type} {root.data_id}"
        for root in story.roots
        if root.id not in roots
    ]
    return wrong
