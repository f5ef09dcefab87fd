"""One receipt and its files judged: the rows that it comes to, or what is wrong.

What is right as nearly all is, a promoted FITS file with the story that its receipt says, is seen with
few calls and without objects. All else goes the long way, by `Verifier`, which says what is wrong.
Works from a store alone, in any process: what it gives are plain tuples.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Container, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, Final

from prestow.commit import Promoted, promote
from prestow.errors import Problem
from prestow.formats.fits_matching import holds_story
from prestow.formats.fits_story import Told, ToldInput, ToldRoot
from prestow.ingest.levels import Checking
from prestow.ingest.verifying import Verifier, identity_of
from prestow.manifest import RECEIPT_SCHEMA, Receipt, ReceiptInput, ReceiptOutput, Root
from prestow.model.hashing import canonical_json
from prestow.stores import Linkable, Store
from prestow.stores.file import FileStore

Row = tuple[Any, ...]  # Any: values of a row
Plain = dict[str, Any]  # Any: parsed JSON

_HELD: Final = 16 << 20  # bytes of a file that is read at once; of a larger one piece by piece
_PIECE: Final = 1 << 20
_RECEIPT: Final = frozenset(Receipt.__dataclass_fields__)
_NEEDED: Final = frozenset(
    name
    for name, f in Receipt.__dataclass_fields__.items()
    if f.default is MISSING and f.default_factory is MISSING
)
_INPUT: Final = tuple(sorted(ReceiptInput.__dataclass_fields__))
_OUTPUT: Final = tuple(sorted(ReceiptOutput.__dataclass_fields__))
_OUTPUTS: Final = (_OUTPUT, tuple(name for name in _OUTPUT if name != "metrics"))
_ROOT: Final = tuple(sorted(Root.__dataclass_fields__))
_ABSENT: Final = {  # values of a receipt's keys that need not be there
    name: f.default if f.default_factory is MISSING else f.default_factory()
    for name, f in Receipt.__dataclass_fields__.items()
    if name not in _NEEDED
}
OTHER_NAMES: Final = "use one pipeline per registry, or other names"
_ID_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_LARGEST: Final = 1 << 63
_NOT_ONE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(slots=True)
class Judged:
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
    inputs: list[Row] = field(default_factory=list)
    artifacts: list[Row] = field(default_factory=list)
    datasets: list[tuple[Row, Row]] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    kinds: set[Row] = field(default_factory=set)
    paths: list[str] = field(default_factory=list)
    state: str = ""
    faulty: list[tuple[str, str, str]] = field(default_factory=list)
    contradictory: list[tuple[str, str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    reads: set[tuple[str, str]] = field(default_factory=set)
    elsewhere: list[Row] = field(default_factory=list)

    def refuse(self) -> None:
        """Drop all rows: the quantum stays out as a whole."""
        self.elsewhere += [(row[0], row[3]) for row in self.artifacts]
        self.quantum = ()
        self.inputs, self.artifacts, self.datasets, self.metrics = [], [], [], []


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
            plain = parsed(data)
            wrong = identity_of(plain, name)
            if not wrong:
                judged.state = plain["state"]
                self._rows(judged, plain, name)
        except _NOT_ONE as error:
            judged = Judged()
            judged.contradictory.append(
                (f"not a receipt: {error}", name, "find out who wrote it; prestow never does")
            )
            return judged
        if wrong:
            judged.contradictory.append((wrong, name, "a receipt is never changed: find out who wrote it"))
        elif judged.quantum and judged.artifacts:
            aside = waiting is None or plain["quantum"] in waiting
            self._verify(judged, plain, data, aside=aside)
        return judged

    def _rows(self, judged: Judged, plain: Plain, name: str) -> None:
        """Set the rows that a receipt comes to if its files are good."""
        run, task, data_id = plain["run"], plain["task"], plain["data_id"]
        _texts(plain["job"], plain["code"], plain["attempt"], plain["sealer"], plain["version"])
        quantum, planned = _id(plain["quantum"]), _id(plain["planned_recipe"])
        actual, made = _id(plain["actual_recipe"]), plain["state"] == "made"
        judged.quantum = (
            quantum, run, task, canonical_json(data_id), plain["job"], plain["state"], plain["code"], planned, actual,
            plain["attempt"], plain["sealer"], plain["version"], name,
        )  # fmt: skip
        for given in plain["inputs"]:
            _texts(given["connection"], given["state"], given["code"], given["run"], given["type"])
            judged.inputs.append(
                (
                    quantum, given["connection"], _id(given["id"]), given["state"], given["code"], _digest(given["sha256"]),
                    _id(given["planned_recipe"]), _id(given["actual_recipe"]),
                )
            )  # fmt: skip
            judged.reads.add((given["run"], given["type"]))
        for output in plain["outputs"]:
            values = output["data_id"]
            dimensions = tuple(sorted(values))
            kind = (output["type"], dimensions, output["format"])
            if self._fits(judged, kind, values, plain):
                judged.kinds.add(kind)
            if output["state"] != "made":
                continue
            _texts(output["path"], output["format"])
            if type(output["size"]) is not int or not 0 <= output["size"] < _LARGEST:
                raise ValueError(f"no size: {output['size']!r}")
            judged.paths.append(output["path"])
            ident, digest = _id(output["id"]), _digest(output["sha256"])
            if made and output["id"] in self._deleted:
                judged.counts["deleted"] = judged.counts.get("deleted", 0) + 1
                judged.elsewhere.append((ident, digest))
            elif made:
                row = (ident, run, actual, planned, quantum, *[values[name] for name in dimensions])
                judged.datasets.append((kind, row))
                judged.artifacts.append(
                    (
                        ident,
                        output["path"],
                        output["size"],
                        digest,
                        _digest(output["content"]),
                        output["format"],
                    )
                )
        if judged.contradictory:
            judged.refuse()

    def _fits(self, judged: Judged, kind: Row, values: Plain, plain: Plain) -> bool:
        """Say whether a data ID is one of the universe; tell if not."""
        numbers = self._numbers
        strange = [
            name for name, value in values.items()
            if name not in numbers
            or not (type(value) is int and -_LARGEST <= value < _LARGEST if numbers[name] else type(value) is str)
        ]  # fmt: skip
        if not strange:
            return True
        what = f"its data ID does not fit the universe: {', '.join(strange)}"
        where = f"{kind[0]} of task {plain['task']}, run {plain['run']}"
        judged.contradictory.append((what, where, OTHER_NAMES))
        return False

    def _verify(self, judged: Judged, plain: Plain, data: bytes, *, aside: bool) -> None:
        """Verify all outputs; where one is not as it should be, none of them has a row."""
        outputs = [o for o in plain["outputs"] if o["state"] == "made" and o["id"] not in self._deleted]
        text = judged.quantum[3]
        hard = [o for o in outputs if aside or o["format"] != "fits" or not self._is_good(plain, o, text)]
        counts = judged.counts
        if hard:
            self._the_long_way(judged, Receipt.from_json(data.decode()), {o["id"] for o in hard})
        if judged.faulty:
            judged.refuse()
            return
        counts["size"] = sum(o["size"] for o in outputs)
        for output in outputs:
            level = "full" if self._checking.in_full(output["id"]) else "receipt"
            counts[level] = counts.get(level, 0) + 1

    def _is_good(self, plain: Plain, output: Plain, text: str) -> bool:
        """Say whether a file is at its name with its size, story and, in full, digest."""
        if not self._linkable:
            return False
        name = output["path"]  # `identity_of` has seen that it is a name in a store
        path = self._root + name if self._root else os.fspath(self._store.local_path(name))  # type: ignore[attr-defined]  # it is linkable
        if not self._is_inside(path, name):
            return False
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if size != output["size"] or not stat.S_ISREG(status.st_mode):
                return False
            story = _story(plain, output, text)
            if not self._checking.in_full(output["id"]):
                return holds_story(lambda start, count: os.pread(descriptor, count, start), size, story)
            if size > _HELD:
                digest = hashlib.sha256()
                while piece := os.read(descriptor, _PIECE):
                    digest.update(piece)
                return digest.hexdigest() == output["sha256"] and holds_story(
                    lambda start, count: os.pread(descriptor, count, start), size, story
                )
            whole = self._buffer(size)
            if os.readv(descriptor, [whole]) != size:
                return False
            if hashlib.sha256(whole).hexdigest() != output["sha256"]:
                return False
            return holds_story(lambda start, count: bytes(whole[start : start + count]), size, story)
        except OSError:
            return False
        finally:
            os.close(descriptor)

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


def parsed(data: bytes) -> Plain:
    """Give a receipt as plain values, with every key that it may have but metrics.

    Raises
    ------
    ValueError
        If it is none.
    """
    text = data.decode()
    try:
        plain = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if "\\u" in text:
        _check_texts(canonical_json(plain))
    if isinstance(plain, dict) and plain.pop("schema", None) == RECEIPT_SCHEMA:
        if plain.keys() != _RECEIPT and _NEEDED <= plain.keys() <= _RECEIPT:
            plain = {**_ABSENT, **plain}
        if (
            plain.keys() == _RECEIPT
            and all(tuple(given) == _INPUT for given in plain["inputs"])
            and all(tuple(output) in _OUTPUTS for output in plain["outputs"])
            and all(tuple(root) == _ROOT for root in plain["roots"])
        ):
            return plain
    whole: Plain = json.loads(Receipt.from_json(text).to_json())
    del whole["schema"]
    return whole


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


def _texts(*values: object) -> None:
    """Refuse what is neither text nor absent."""
    for value in values:
        if value is not None and type(value) is not str:
            raise ValueError(f"{value!r} stands where a text should be")


def _check_texts(text: str) -> None:
    """Refuse JSON with texts that no database takes: NUL, and halves of characters."""
    text.encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("there is a NUL in a text")


def _story(plain: Plain, output: Plain, text: str) -> Told:
    """Give the story that the file of an output must hold; ``text`` is the data ID of its quantum."""
    own = plain["data_id"]

    def told(values: Plain) -> str:
        return text if values == own else canonical_json(values)

    inputs = [
        ToldInput(
            i["connection"], i["type"], told(i["data_id"]), i["id"], i["state"], i["code"] or "", i["sha256"] or "",
            "" if i["state"] in ("lost", "blocked") else i["actual_recipe"] or "",
        )
        for i in plain["inputs"]
    ]  # fmt: skip
    return Told(
        output["type"], output["id"], plain["run"], told(output["data_id"]), plain["task"], plain["version"] or "",
        plain["actual_recipe"], plain["planned_recipe"], len(inputs), sum([i.state == "made" for i in inputs]), inputs,
        [ToldRoot(r["type"], told(r["data_id"]), r["id"]) for r in plain["roots"]],
    )  # fmt: skip
