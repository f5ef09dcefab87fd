"""Receipts of a closed run in few files: written once, read one by one or all in order.

Owns the format of a pack of receipts. Serves `prestow.commit`, which says when a pack counts, and who
closes runs. Never decides what a receipt says.

A pack is a line of JSON, which gives for each receipt, by its name, offset (from the end of that
line), length and digest, and then the receipts, a line each, in the order of their names. The packs
of a run are listed in its index. The index is put last and if absent: with it, and not before, all
of them count.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from prestow.errors import ObjectNotFoundError, Problem, StoreError
from prestow.model.hashing import canonical_json
from prestow.stores import Linkable, Store

RECEIPTS = "_receipts"
PACK_SCHEMA = "prestow.receipts/1"
INDEX_SCHEMA = "prestow.receipts-index/1"

SIZE = 4 << 20
"""Bytes of receipts in a pack, about: a million receipts are some hundred packs."""


def index_name(run: str) -> str:
    """Give the name of a run's index of packs. No receipt's name ends so, and no task's begins so."""
    return f"{RECEIPTS}/{run}/_packed/index"


def pack_name(run: str, digest: str) -> str:
    """Give the name of a pack: of its content alone, so that who packs the same writes the same."""
    return f"{RECEIPTS}/{run}/_packed/{digest[:32]}.pack"


class Pack(NamedTuple):
    """One pack, as its run's index lists it: the names of its first and last receipt, how many, and its bytes."""

    name: str
    first: str
    last: str
    receipts: int
    size: int
    sha256: str


def encode_pack(receipts: Iterable[tuple[str, bytes]], run: str) -> tuple[Pack, bytes]:
    """Give a pack of some receipts, at least one, in the order of their names, and its bytes."""
    index: dict[str, list[int | str]] = {}
    bodies: list[bytes] = []
    at = 0
    for name, data in receipts:
        index[name] = [at, len(data), sha256(data).hexdigest()]
        bodies.append(data + b"\n")
        at += len(data) + 1
    head = canonical_json({"receipts": index, "run": run, "schema": PACK_SCHEMA})
    data = b"".join((head.encode(), b"\n", *bodies))
    digest = sha256(data).hexdigest()
    names = list(index)
    return Pack(pack_name(run, digest), names[0], names[-1], len(names), len(data), digest), data


def encode_index(packs: Iterable[Pack], run: str) -> bytes:
    """Give the bytes of a run's index."""
    listed = [pack._asdict() for pack in packs]
    return canonical_json({"packs": listed, "run": run, "schema": INDEX_SCHEMA}).encode()


def is_packed(store: Store, run: str) -> bool:
    """Say whether the receipts of a run are packed, as far as can be seen: one look at one name."""
    return store.size(index_name(run)) is not None


class Packed:
    """The packed receipts of a run. What it has read it keeps: the index, and of packs the last heads.

    Raises
    ------
    StoreError
        From everything, if a pack or the index is damaged (PST-R001).
    """

    def __init__(self, store: Store, run: str, packs: tuple[Pack, ...]) -> None:
        self._store = store
        self.run = run
        self.packs = packs
        self._last = [pack.last for pack in packs]
        self._heads: dict[str, tuple[dict[str, Any], int]] = {}  # Any: parsed JSON

    @classmethod
    def of(cls, store: Store, run: str) -> Packed | None:
        """Give those of a run, or None if they are not packed as far as can be seen."""
        name = index_name(run)
        if store.size(name) is None:
            return None
        try:
            document = _of_schema(store.read(name), INDEX_SCHEMA, run)
            return cls(store, run, tuple(Pack(**pack) for pack in document["packs"]))
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(store, name, str(error)) from error

    def __len__(self) -> int:
        return sum(pack.receipts for pack in self.packs)

    def read(self, name: str) -> bytes | None:
        """Give the bytes of the receipt of that name, or None if it is not packed."""
        at = bisect_right(self._last, name)
        if at and self._last[at - 1] == name:
            at -= 1
        if at == len(self.packs) or name < self.packs[at].first:
            return None
        pack = self.packs[at]
        entries, length = self._head(pack)
        if name not in entries:
            return None
        offset, size, digest = entries[name]
        data = self._range(pack, length + offset, size)
        if sha256(data).hexdigest() != digest:
            raise _damaged(self._store, pack.name, f"the receipt {name} is damaged")
        return data

    def names(self) -> Iterator[str]:
        """Give the names of all, sorted; only heads are read."""
        for pack in self.packs:
            yield from self._head(pack)[0]

    def receipts(self) -> Iterator[tuple[str, bytes]]:
        """Give name and bytes of all, sorted by name; each pack is read once and held to its digest."""
        for pack in self.packs:
            try:
                data = self._store.read(pack.name)
            except ObjectNotFoundError as error:
                raise _damaged(self._store, pack.name, "a pack of receipts is gone") from error
            if (len(data), sha256(data).hexdigest()) != (pack.size, pack.sha256):
                raise _damaged(self._store, pack.name, "a pack of receipts is damaged")
            length = data.index(b"\n") + 1
            for name, (offset, size, _) in json.loads(data[:length])["receipts"].items():
                yield name, data[length + offset : length + offset + size]

    def _head(self, pack: Pack) -> tuple[dict[str, Any], int]:  # Any: parsed JSON
        """Give the entries of a pack, and where its receipts begin."""
        if pack.name not in self._heads:
            line = self._line(pack)
            try:
                document = _of_schema(line, PACK_SCHEMA, self.run)
            except (ValueError, KeyError, TypeError) as error:
                raise _damaged(self._store, pack.name, str(error)) from error
            if len(self._heads) >= _HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[pack.name] = document["receipts"], len(line)
        return self._heads[pack.name]

    def _line(self, pack: Pack) -> bytes:
        try:
            if isinstance(self._store, Linkable):
                with self._store.local_path(pack.name).open("rb") as file:
                    return file.readline()
            data = self._store.read(pack.name)
            return data[: data.index(b"\n") + 1]
        except (OSError, ValueError, ObjectNotFoundError) as error:
            raise _damaged(self._store, pack.name, "a pack of receipts cannot be read") from error

    def _range(self, pack: Pack, offset: int, size: int) -> bytes:
        try:
            if isinstance(self._store, Linkable):
                with self._store.local_path(pack.name).open("rb") as file:
                    file.seek(offset)
                    return file.read(size)
            return self._store.read(pack.name)[offset : offset + size]
        except (OSError, ObjectNotFoundError) as error:
            raise _damaged(self._store, pack.name, "a pack of receipts cannot be read") from error


def _of_schema(data: bytes, schema: str, run: str) -> dict[str, Any]:  # Any: parsed JSON
    document: dict[str, Any] = json.loads(data)  # Any: parsed JSON
    if document["schema"] != schema or document["run"] != run:
        raise ValueError(f"its schema is not {schema}, or its run not {run}")
    return document


_HEADS = 16  # of packs that are kept: a few MB


def _damaged(store: Store, name: str, what: str) -> StoreError:
    return StoreError(
        Problem(
            "PST-R001", f"not a pack of receipts as it was written: {what}", f"{store.uri}: {name}",
            "put the file back from a copy; prestow never changes one",
        )
    )  # fmt: skip
