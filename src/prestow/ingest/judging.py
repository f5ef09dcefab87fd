"""One receipt and its files judged: the rows that it comes to, or what is wrong.

What is right as nearly all is, a promoted FITS file with the story that its receipt says, is seen with
few calls and without objects. All else goes the long way, by `Verifier`, which says what is wrong.
Works from a store alone, in any process: what it gives are plain tuples.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Container, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from prestow.commit import Promoted, promote
from prestow.errors import Problem
from prestow.formats.fits_matching import expected_cards, expected_table, holds
from prestow.formats.fits_story import Told, ToldInput, ToldRoot
from prestow.ingest.levels import Checking
from prestow.ingest.reading import DataIds, TypedOutput, TypedReceipt, typed
from prestow.ingest.verifying import Verifier, identity_of
from prestow.manifest import Receipt
from prestow.stores import Linkable, Store
from prestow.stores.file import FileStore

Row = tuple[Any, ...]  # Any: values of a row

_HELD: Final = 16 << 20  # bytes of a file that is read at once; of a larger one piece by piece
_PIECE: Final = 1 << 20
_SHARED: Final = 1 << 28  # bytes that the files of all threads may have at once
OTHER_NAMES: Final = "use one pipeline per registry, or other names"
_ID_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_LARGEST: Final = 1 << 63


class Judged(msgspec.Struct, gc=False):
    """What one receipt came to. Ids are 16 bytes, digests 32; times and people do not enter.

    Parameters
    ----------
    quantum : tuple
        The row of its quantum; empty if the receipt, or a file, is not what it says.
    inputs, artifacts, metrics : list of tuple
        Rows, in the order of `prestow.ingest.rows`.
    datasets : list of (kind, row)
        A kind is type, dimensions and format.
    kinds : set of kind
        All that are planned, made or not.
    paths : list of str
        What the receipt commits, whether it was found or not.
    state : str
        Of the quantum; empty if the receipt is none.
    faulty, contradictory : list of (what, where, fix)
        What is wrong.
    counts : mapping
        ``promoted``, ``size``, ``deleted``, and by level how many datasets were verified.
    reads : set of (run, type)
        What its inputs are.
    elsewhere : list of (dataset, digest)
        Committed outputs that give no row here: deleted, or of a faulty quantum.
    """

    quantum: Row = ()
    inputs: list[Row] = []
    artifacts: list[Row] = []
    datasets: list[tuple[Row, Row]] = []
    metrics: list[Row] = []
    kinds: set[Row] = set()
    paths: list[str] = []
    state: str = ""
    faulty: list[tuple[str, str, str]] = []
    contradictory: list[tuple[str, str, str]] = []
    counts: dict[str, int] = {}
    reads: set[tuple[str, str]] = set()
    elsewhere: list[Row] = []

    def refuse(self) -> None:
        """Drop all rows: the quantum stays out as a whole."""
        self.elsewhere += [(row[0], row[3]) for row in self.artifacts]
        self.quantum = ()
        self.inputs, self.artifacts, self.datasets, self.metrics = [], [], [], []


class _Parents(NamedTuple):
    """What the outputs of a quantum come from: told, and as the header and rows of the table in their files."""

    told: Told
    head: bytes
    rows: bytes


class Judge:
    """Judges receipts of one store; safe for several threads.

    Parameters
    ----------
    store : Store
        Where receipts and files are.
    checking : Checking
        How closely files are looked at.
    deleted : container of str
        Ids of datasets that were deleted on purpose.
    numbers : mapping of str to bool
        The dimensions of the universe, and whether their values are numbers.
    """

    def __init__(
        self, store: Store, checking: Checking, deleted: Container[str], numbers: Mapping[str, bool]
    ) -> None:
        self._store = store
        self._checking = checking
        self._deleted = deleted
        self._numbers = numbers
        self._linkable = isinstance(store, Linkable)
        self._root = os.fspath(store.local_path("a"))[:-1] if type(store) is FileStore else ""
        self._own = threading.local()  # a buffer, and a verifier
        self._inside: dict[str, bool] = {}
        self._data_ids = DataIds(numbers)
        self._held = _HELD

    def share_memory(self, threads: int) -> None:
        """Let so many threads have no more than some hundred MB of files between them."""
        self._held = min(_HELD, max(_PIECE // 4, _SHARED // threads))

    def judge(self, name: str, data: bytes, waiting: Container[str] | None) -> Judged:
        """Give what the receipt of that name comes to.

        Parameters
        ----------
        name : str
            Of the receipt.
        data : bytes
            Its bytes.
        waiting : container of str, optional
            The quanta that have anything aside; where it is not known, it is looked for.
        """
        judged = Judged()
        try:
            receipt = typed(data)
            wrong = identity_of(receipt, name, self._pairs)
            if not wrong:
                judged.state = receipt.state
                self._rows(judged, receipt, name)
        except ValueError as error:
            judged = Judged()
            judged.contradictory.append(
                (f"not a receipt: {error}", name, "find out who wrote it; prestow never does")
            )
            return judged
        if wrong:
            judged.contradictory.append((wrong, name, "a receipt is never changed: find out who wrote it"))
        elif judged.quantum and judged.artifacts:
            aside = waiting is None or receipt.quantum in waiting
            self._verify(judged, receipt, data, aside=aside)
        return judged

    def _pairs(self, raw: msgspec.Raw) -> str:
        return self._data_ids(raw).pairs

    def _rows(self, judged: Judged, receipt: TypedReceipt, name: str) -> None:
        """Set the rows that a receipt comes to if its files are good."""
        run, made = receipt.run, receipt.state == "made"
        own = self._data_ids(receipt.data_id)
        quantum, planned, actual = (
            _id(receipt.quantum),
            _id(receipt.planned_recipe),
            _id(receipt.actual_recipe),
        )
        judged.quantum = (
            quantum, run, receipt.task, own.text, receipt.job, receipt.state, receipt.code, planned, actual,
            receipt.attempt, receipt.sealer, receipt.version, name,
        )  # fmt: skip
        for given in receipt.inputs:
            judged.inputs.append(
                (
                    quantum, given.connection, _id(given.id), given.state, given.code, _digest(given.sha256),
                    _id(given.planned_recipe), _id(given.actual_recipe),
                )
            )  # fmt: skip
            judged.reads.add((given.run, given.type))
        for output in receipt.outputs:
            known = self._data_ids(output.data_id)
            kind = (output.type, known.dimensions, output.format)
            if known.strange:
                what = f"its data ID does not fit the universe: {', '.join(known.strange)}"
                judged.contradictory.append(
                    (what, f"{output.type} of task {receipt.task}, run {run}", OTHER_NAMES)
                )
            else:
                judged.kinds.add(kind)
            if output.state != "made":
                continue
            size = output.size
            if size is None or not 0 <= size < _LARGEST:
                raise ValueError(f"no size: {size!r}")
            judged.paths.append(output.path)
            ident, digest = _id(output.id), _digest(output.sha256)
            if made and output.id in self._deleted:
                judged.counts["deleted"] = judged.counts.get("deleted", 0) + 1
                judged.elsewhere.append((ident, digest))
            elif made:
                judged.datasets.append((kind, (ident, run, actual, planned, quantum, *known.values)))
                judged.artifacts.append(
                    (ident, output.path, size, digest, _digest(output.content), output.format)
                )
        if judged.contradictory:
            judged.refuse()

    def _verify(self, judged: Judged, receipt: TypedReceipt, data: bytes, *, aside: bool) -> None:
        """Verify all outputs; where one is not as it should be, none of them has a row."""
        outputs = [o for o in receipt.outputs if o.state == "made" and o.id not in self._deleted]
        table = None if aside else self._table(receipt)
        hard = [o for o in outputs if not table or o.format != "fits" or not self._is_good(receipt, o, table)]
        counts = judged.counts
        if hard:
            self._the_long_way(judged, Receipt.from_json(data.decode()), {o.id for o in hard})
        if judged.faulty:
            judged.refuse()
            return
        size = 0
        for output in outputs:
            size += output.size or 0
            level = "full" if self._checking.in_full(output.id) else "receipt"
            counts[level] = counts.get(level, 0) + 1
        counts["size"] = size

    def _table(self, receipt: TypedReceipt) -> _Parents | None:
        """Give what all outputs of a quantum say of where they come from; None if FITS cannot hold it."""
        known = self._data_ids
        inputs = [
            ToldInput(
                i.connection, i.type, known(i.data_id).text, i.id, i.state, i.code or "", i.sha256 or "",
                "" if i.state in ("lost", "blocked") else i.actual_recipe or "",
            )
            for i in receipt.inputs
        ]  # fmt: skip
        roots = [ToldRoot(r.type, known(r.data_id).text, r.id) for r in receipt.roots]
        used = sum([i.state == "made" for i in inputs])
        story = Told("", "", "", "", "", "", "", "", len(inputs), used, inputs, roots)
        try:
            return _Parents(story, *expected_table(story))
        except ValueError:
            return None

    def _is_good(self, receipt: TypedReceipt, output: TypedOutput, parents: _Parents) -> bool:
        """Say whether a file is at its name with its size, story and, in full, digest."""
        if not self._linkable:
            return False
        name = output.path  # `identity_of` has seen that it is a name in a store
        path = self._root + name if self._root else os.fspath(self._store.local_path(name))  # type: ignore[attr-defined]  # it is linkable
        if not self._is_inside(path, name):
            return False
        try:
            cards = expected_cards(self._story(receipt, output, parents.told))
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (ValueError, OSError):
            return False
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if size != output.size or not stat.S_ISREG(status.st_mode):
                return False

            def read(start: int, count: int) -> bytes:
                return os.pread(descriptor, count, start)

            if not self._checking.in_full(output.id):
                return holds(read, size, cards, parents.head, parents.rows)
            if size > self._held:
                digest = hashlib.sha256()
                while piece := os.read(descriptor, _PIECE):
                    digest.update(piece)
                if digest.hexdigest() != output.sha256:
                    return False
                return holds(read, size, cards, parents.head, parents.rows)
            whole = self._buffer(size)
            if os.readv(descriptor, [whole]) != size:
                return False
            if hashlib.sha256(whole).hexdigest() != output.sha256:
                return False
            return holds(
                lambda start, count: bytes(whole[start : start + count]),
                size,
                cards,
                parents.head,
                parents.rows,
            )
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def _story(self, receipt: TypedReceipt, output: TypedOutput, parents: Told) -> Told:
        """Give the story that the file of an output must hold."""
        return Told(
            output.type, output.id, receipt.run, self._data_ids(output.data_id).text, receipt.task, receipt.version or "",
            receipt.actual_recipe or "", receipt.planned_recipe, parents.planned, parents.used, parents.inputs, parents.roots,
        )  # fmt: skip

    def _buffer(self, size: int) -> memoryview:
        """Give so many bytes that this thread has, and keeps for the next file."""
        own = self._own
        if len(getattr(own, "buffer", b"")) < size:
            own.buffer = bytearray(max(size, 1 << 18))
        return memoryview(own.buffer)[:size]

    def _is_inside(self, path: str, name: str) -> bool:
        """Say whether the directory of a file is in its store, no link leading out."""
        directory = path[: path.rfind("/")]
        inside = self._inside.get(directory)
        if inside is None:
            root = os.path.realpath(path[: -len(name)] or "/") if path.endswith(f"/{name}") else ""
            inside = not root or f"{os.path.realpath(directory)}/".startswith(root.rstrip("/") + "/")
            self._inside[directory] = inside
        return inside

    def _the_long_way(self, judged: Judged, receipt: Receipt, wanted: Container[str]) -> None:
        """Promote what is not promoted, and verify these outputs; tell what is wrong."""
        verifier = self._verifier()
        outputs = [o for o in receipt.outputs if o.state == "made" and o.id in wanted]
        wrong: list[Problem] = []
        if not all(verifier.looks_promoted(output) for output in outputs):
            for promotion in promote(self._store, receipt, deleted=self._deleted):
                if promotion.result is Promoted.MOVED:
                    judged.counts["promoted"] = judged.counts.get("promoted", 0) + 1
                elif promotion.result is Promoted.TO_RESTORE:
                    path = promotion.output.path
                    what = "the committed bytes are neither at their name nor aside"
                    wrong.append(Problem("PST-I003", what, path, f"how they come back: prestow why {path}"))
        for output in [] if wrong else outputs:
            checked = verifier.check(receipt, output, in_full=self._checking.in_full(output.id))
            wrong += checked.problems
            ident = _id(output.id)
            judged.metrics += [(ident, name, value) for name, value in checked.metrics.items()]
        judged.faulty += [(problem.what, problem.where, problem.fix) for problem in wrong]

    def _verifier(self) -> Verifier:
        if not hasattr(self._own, "verifier"):
            self._own.verifier = Verifier(self._store)
        verifier: Verifier = self._own.verifier
        return verifier


def _id(text: str | None) -> bytes | None:
    if text is None:
        return None
    value = bytes.fromhex(text.replace("-", ""))
    if len(value) != _ID_BYTES:
        raise ValueError(f"no id or recipe: {text}")
    return value


def _digest(text: str | None) -> bytes | None:
    if text is None:
        return None
    value = bytes.fromhex(text)
    if len(value) != _DIGEST_BYTES:
        raise ValueError(f"no digest: {text}")
    return value
