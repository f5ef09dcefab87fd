"""Receipts of a closed run into packs: written, read back, counted, and only then single files go.

Killed at any moment, the same call again ends where one call does. Late attempts may go on meanwhile:
a packed receipt counts before a single file, see `prestow.commit`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from prestow.commit import receipt_names
from prestow.errors import IngestError, ObjectNotFoundError, Problem, StoreError
from prestow.ingest.verifying import says_what_its_name_says
from prestow.manifest import Receipt
from prestow.packs import RECEIPTS, SIZE, Pack, Packed, encode_index, encode_pack, index_name
from prestow.registry import Registry, put_record
from prestow.stores import Store, Walkable

CACHED = 60.0
"""Seconds for which a network file system may go on to say that a name is absent."""

_TRIES = 3
_MANY = 50_000  # receipts that are held against the registry at a time
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing a run came to.

    Parameters
    ----------
    run : str
        Which.
    receipts, packs, size : int
        Receipts that are packed, in how many files, and the bytes of these.
    removed : int
        Single files of packed receipts that were removed by this call.
    late : int
        Of them those of late attempts, which had lost.
    known : bool
        Whether it had been packed before.
    """

    run: str
    receipts: int
    packs: int
    size: int
    removed: int = 0
    late: int = 0
    known: bool = False

    def as_dict(self) -> dict[str, object]:
        """Give the facts by name."""
        return asdict(self)


def close_run(
    registry: Registry,
    store: Store,
    run: str,
    *,
    wait: float = CACHED,
    sleep: Callable[[float], object] = time.sleep,
    progress: Callable[[str], None] = lambda _: None,
) -> Closed:
    """Close a run: put its record, pack its receipts, and remove their single files.

    Parameters
    ----------
    registry, store : Registry, Store
        Every receipt of the run must be taken in there; the store must be able to list.
    run : str
        Which. Whether all that is planned in it is settled, the caller has looked at.
    wait : float
        Seconds between the packs and the first removal: longer than any node may believe that there
        are no packs. 0 is right where every node sees the store without a cache.
    progress : callable
        Told what goes on.

    Raises
    ------
    IngestError
        PST-I032 if a receipt is not taken in; PST-I033 if a pack cannot be read back.
    StoreError
        PST-R001 if something is no receipt, or the store cannot do this.
    """
    refuse_open(registry, store, run)
    put_record(store, "closed", run, {"run": run})
    found = Packed.of(store, run)
    known = found is not None
    if found is None:
        progress("pack")
        found = write_packs(store, run, check=_checked)
        if wait:
            progress(f"wait {wait:.0f} s, for nodes that may not see the packs yet")
            sleep(wait)
    progress("remove single files")
    removed, late = remove_singles(store, found)
    return Closed(
        run, len(found), len(found.packs), sum(p.size for p in found.packs), removed, late, known=known
    )


def refuse_open(registry: Registry, store: Store, run: str) -> int:
    """Refuse a run of which a receipt is not taken in; give how many receipts there are.

    Raises
    ------
    IngestError
        PST-I032, with the first of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    taken = (
        registry.quanta(run)["id"].combine_chunks().cast(pa.binary())
        if run in registry.collections()
        else None
    )
    total, lacking, shown = 0, 0, list[str]()
    names = receipt_names(store, run)
    while group := list(islice(names, _MANY)):
        total += len(group)
        ids = pa.array([_quantum(name) for name in group], pa.binary())
        there = pc.is_in(ids, value_set=taken) if taken is not None else pa.array([False] * len(group))
        absent = [name for name, known in zip(group, there.to_pylist(), strict=True) if not known]
        lacking += len(absent)
        shown += absent[: _NAMED - len(shown)]
    if lacking:
        raise IngestError(
            Problem(
                "PST-I032",
                f"{lacking:,} of {total:,} receipts of run {run} are not taken in",
                ", ".join(shown),
                f"take them in first: prestow ingest --run {run}",
            )
        )
    return total


def _quantum(name: str) -> bytes:
    try:
        return uuid.UUID(name.rsplit("/", 1)[-1].removesuffix(".json")).bytes
    except ValueError:
        return b""  # no receipt's name; nothing of it was taken in


def _checked(store: Store, name: str) -> bytes:
    """Give the bytes of a single receipt that says what its name says."""
    data = store.read(name)
    try:
        what = says_what_its_name_says(Receipt.from_json(data.decode()), name)
    except ValueError as error:
        what = f"not a receipt: {error}"
    if what:
        raise StoreError(
            Problem("PST-R001", what, f"{store.uri}: {name}", "find out who wrote it; prestow never does")
        )
    return data


def write_packs(
    store: Store, run: str, *, check: Callable[[Store, str], bytes] = lambda store, name: store.read(name)
) -> Packed:
    """Put the receipts of a run into packs, read these back, and make them count; give what counts.

    Nothing is removed. Who packs the same at the same time writes the same files. Whoever puts the
    index first has packed the run.

    Raises
    ------
    IngestError
        PST-I033 if a pack or the index cannot be read back as it was written.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    packs: list[Pack] = []
    names = (name for name, _ in store.walk(f"{RECEIPTS}/{run}") if name.endswith(".json"))
    try:
        for group in _groups((name, check(store, name)) for name in names):
            pack, data = encode_pack(group, run)
            _put(store, pack.name, data, (pack.size, pack.sha256))
            packs.append(pack)
        data = encode_index(packs, run)
        _put(store, index_name(run), data, None)
    except ObjectNotFoundError:
        if store.size(index_name(run)) is None:
            raise  # else somebody else has packed it, and the single files go already
    found = Packed.of(store, run)
    if found is None:
        raise _unread(store, index_name(run))
    return found


def _groups(receipts: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for name, data in receipts:
        group.append((name, data))
        size += len(data)
        if size >= SIZE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _put(store: Store, name: str, data: bytes, digest: tuple[int, str] | None) -> None:
    """Put a file if absent, until it can be read back; without a digest another's there is as good."""
    for _ in range(_TRIES):
        store.put_if_absent(name, data)
        if store.size(name) is not None if digest is None else store.digest(name) == digest:
            return
    raise _unread(store, name)


def _unread(store: Store, name: str) -> IngestError:
    return IngestError(
        Problem(
            "PST-I033",
            f"a pack of receipts cannot be read back as it was written, after {_TRIES} tries",
            f"{store.uri}: {name}",
            "nothing was removed; see whether the store can be read and written, then close the run again",
        )
    )


def remove_singles(store: Store, packed: Packed) -> tuple[int, int]:
    """Remove the single files of packed receipts; give how many, and how many of them late attempts had put.

    Each pack is read and held to its digest before a single file of its receipts goes. What is no
    receipt of the same quantum stays. Packs that the index does not list are removed, too.
    """
    removed = late = 0
    for name, data in packed.receipts():
        try:
            single = store.read(name)
        except ObjectNotFoundError:
            continue
        if single != data:
            if not _same_quantum(single, data):
                continue
            late += 1
        store.delete(name)
        removed += 1
    listed = {pack.name for pack in packed.packs}
    if isinstance(store, Walkable):
        folder = index_name(packed.run).rpartition("/")[0]
        for name in [name for name, _ in store.walk(folder) if name.endswith(".pack")]:
            if name not in listed:
                store.delete(name)
    return removed, late


def _same_quantum(single: bytes, packed: bytes) -> bool:
    try:
        return Receipt.from_json(single.decode()).quantum == Receipt.from_json(packed.decode()).quantum
    except ValueError:
        return False


def is_closed(store: Store, run: str) -> bool:
    """Say whether a run was closed: nothing more is planned into it."""
    from prestow.registry.records import record_name

    return store.size(record_name("closed", run)) is not None
