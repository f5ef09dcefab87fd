"""What people certified: records in the store, and what they come to when they are read in order.

A certification says that some datasets are valid in an interval, and since when that is known. Rows
follow from the records alone, in whatever order these were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prestow.errors import Problem, StoreError
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.model.instants import ALWAYS, FOREVER
from prestow.registry.records import put_record, read_facts
from prestow.stores import Store, Walkable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Whole = np.ndarray[tuple[int], np.dtype[np.int64]]

CERTIFIED = "certified"
TAGGED = "calibration-tag"


@dataclass(frozen=True, slots=True)
class Certification:
    """One act of a person: some datasets of a type are valid in an interval, or are no longer held so.

    Parameters
    ----------
    collection, type : str
        Where, and of which dataset type.
    datasets : tuple of str
        Ids, 32 digits each.
    data_id : mapping of dimension to list
        The values of each dataset, without nights and observations: calibrations that agree in
        these take turns.
    known : int
        Since when it is known, in nanoseconds of TAI.
    begin, end : int
        The validity, half-open.
    ends : bool
        Not certified, but taken back: from ``known`` on these datasets are not held valid.
    gate : mapping
        The condition on metrics, and the values that fulfilled it. Any: JSON values.
    """

    collection: str
    type: str
    datasets: tuple[str, ...]
    data_id: Mapping[str, Sequence[str | int]]
    known: int
    begin: int = ALWAYS
    end: int = FOREVER
    ends: bool = False
    gate: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values

    @property
    def facts(self) -> dict[str, Any]:  # Any: JSON values
        """What the record says; an open end is null."""
        return {
            "collection": self.collection, "type": self.type, "datasets": list(self.datasets),
            "data_id": {name: list(values) for name, values in self.data_id.items()},
            "known_begin": self.known, "valid_begin": None if self.begin == ALWAYS else self.begin,
            "valid_end": None if self.end == FOREVER else self.end, "what": "ended" if self.ends else "certified",
            **({"gate": dict(self.gate)} if self.gate else {}),
        }  # fmt: skip

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Certification:  # Any: JSON values
        """Read what `facts` gave."""
        begin, end = facts["valid_begin"], facts["valid_end"]
        return cls(
            facts["collection"], facts["type"], tuple(facts["datasets"]), facts["data_id"], facts["known_begin"],
            ALWAYS if begin is None else begin, FOREVER if end is None else end, facts["what"] == "ended",
            facts.get("gate", {}),
        )  # fmt: skip

    @property
    def key(self) -> str:
        """The key of its record: the same act has the same."""
        return f"{self.collection} {self.type} {sha256_hex(canonical_json(self.facts).encode())[:24]}"


def put_certification(store: Store, certification: Certification) -> str:
    """Put the record of a certification and give its key; again is fine."""
    put_record(store, CERTIFIED, certification.key, certification.facts)
    return certification.key


def read_certifications(store: Store, collection: str, dataset_type: str) -> Iterator[Certification]:
    """Give what was certified of a type in a collection, by when it is known."""
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    prefix = quote(f"{collection} {dataset_type} ", safe="+")
    found = []
    for name, _ in store.walk(f"_records/{CERTIFIED}"):
        stem = name.rpartition("/")[2]
        # A long key is a digest, and has no blank: then only the record tells what it is of.
        if name.endswith(".json") and (stem.startswith(prefix) or "%20" not in stem):
            one = Certification.from_facts(read_facts(store, name)[1])
            if (one.collection, one.type) == (collection, dataset_type):
                found.append(one)
    yield from sorted(found, key=lambda c: (c.known, c.ends, c.key))


def replay(acts: Iterable[Certification]) -> pa.Table:
    """Give who was held valid when, and when that was known.

    At every moment of knowledge the latest certification holds for a data ID and an instant; those
    of one moment stand beside each other. What is taken back comes back only if it is certified again.

    Returns
    -------
    Table
        ``dataset`` (16 bytes), ``valid_begin``, ``valid_end``, ``known_begin``, ``known_end``;
        sorted; half-open; no row is empty.

    Examples
    --------
    >>> a = Certification("calib", "flat", ("a" * 32,), {"detector": [1]}, known=10, begin=0)
    >>> b = Certification("calib", "flat", ("b" * 32,), {"detector": [1]}, known=20, begin=5, end=7)
    >>> rows = replay([a, b]).drop_columns("dataset").to_pydict()
    >>> rows["valid_begin"], [end if end < FOREVER else None for end in rows["known_end"]]
    ([0, 5, 7, 5], [None, 20, None, None])
    """
    import numpy as np
    import pyarrow as pa

    held = _Held(sorted(acts, key=lambda c: (c.known, c.ends, c.key)))
    table = held.rows()
    order = np.lexsort((table[:, 2], table[:, 4], table[:, 0]))
    table = table[order]
    ids = pa.array(held.ids, pa.binary(16)).take(pa.array(table[:, 0]))
    names = ("valid_begin", "valid_end", "known_begin", "known_end")
    return pa.table({"dataset": ids, **{n: table[:, 2 + i].copy() for i, n in enumerate(names)}})


class _Held:
    """Rows of numbers: dataset, data ID, valid from and to, known from and to. Open ones may still change."""

    def __init__(self, acts: Sequence[Certification]) -> None:
        import numpy as np

        self.ids = [bytes.fromhex(i) for i in sorted({i for act in acts for i in act.datasets})]
        number = {value: i for i, value in enumerate(self.ids)}
        keys: dict[tuple[str | int, ...], int] = {}
        self._closed = [np.empty((0, 6), np.int64)]
        self._open = np.empty((0, 6), np.int64)
        pending: list[Certification] = []
        coded: dict[str, tuple[Whole, Whole]] = {}
        # One loop over datasets, to number them; acts are few, and all else is in columns.
        for act in acts:
            names = sorted(act.data_id)
            rows = (
                zip(*(act.data_id[name] for name in names), strict=True)
                if names
                else ((),) * len(act.datasets)
            )
            codes = [keys.setdefault(row, len(keys)) for row in rows]
            coded[act.key] = (
                np.array([number[bytes.fromhex(i)] for i in act.datasets], np.int64),
                np.array(codes, np.int64),
            )
        self._keys = len(keys)
        for act in acts:
            if pending and pending[0].known != act.known:
                self._settle(pending, coded)
                pending = []
            pending.append(act)
        if pending:
            self._settle(pending, coded)

    def rows(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Give all rows that are known at some time."""
        import numpy as np

        return np.concatenate([*self._closed, self._open])

    def _settle(self, acts: Sequence[Certification], coded: Mapping[str, tuple[Whole, Whole]]) -> None:
        """Take in all acts of one moment: they supersede what is older, and not each other."""
        import numpy as np

        fresh = []
        for act in acts:
            datasets, keys = coded[act.key]
            if act.ends:
                continue
            flag = np.zeros(self._keys, bool)
            flag[keys] = True
            self._supersede(flag, act)
            new = np.empty((datasets.size, 6), np.int64)
            new[:, 0], new[:, 1] = datasets, keys
            new[:, 2:] = (act.begin, act.end, act.known, FOREVER)
            fresh.append(new)
        if fresh:
            self._open = np.concatenate([self._open, _joined(np.concatenate(fresh))])
        for act in acts:
            if act.ends:
                flag = np.zeros(len(self.ids), bool)
                flag[coded[act.key][0]] = True
                self._close(flag[self._open[:, 0]], act.known)

    def _supersede(self, flag: np.ndarray[tuple[int], np.dtype[np.bool_]], act: Certification) -> None:
        import numpy as np

        rows = self._open
        hit = flag[rows[:, 1]] & (rows[:, 2] < act.end) & (rows[:, 3] > act.begin)
        if not hit.any():
            return
        old = rows[hit]
        before, after = old[old[:, 2] < act.begin].copy(), old[old[:, 3] > act.end].copy()
        before[:, 3] = act.begin
        after[:, 2] = act.end
        old[:, 2] = np.maximum(old[:, 2], act.begin)
        old[:, 3] = np.minimum(old[:, 3], act.end)
        old[:, 5] = act.known
        self._closed.append(old)
        self._open = np.concatenate([rows[~hit], before, after])

    def _close(self, hit: np.ndarray[tuple[int], np.dtype[np.bool_]], known: int) -> None:
        old = self._open[hit]
        old[:, 5] = known
        self._closed.append(old[old[:, 4] < known])
        self._open = self._open[~hit]


def _joined(
    rows: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Join intervals of one dataset that overlap: to say a thing twice is no overlap."""
    import numpy as np

    rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
    if np.unique(rows[:, 0]).size == len(rows):
        return rows
    kept = [rows[0].copy()]
    for row in rows[1:]:  # only where a dataset is certified twice at one moment
        if row[0] == kept[-1][0] and row[2] <= kept[-1][3]:
            kept[-1][3] = max(kept[-1][3], row[3])
        else:
            kept.append(row.copy())
    return np.array(kept)
