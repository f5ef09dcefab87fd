"""What needs no look: quanta that the registry has, whose files are at their names in their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prestow.ingest.portions import quantum_of
from prestow.registry import Registry
from prestow.registry.columns import uuid_bytes

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Known:
    """What is taken in already and need not be looked at, of some runs.

    Parameters
    ----------
    names : list of str
        The receipts that are left: new ones, and those of which a file is gone or has another size.
    states : counter
        How the other quanta are settled.
    present : int
        Their datasets.
    """

    names: list[str]
    states: Counter[str] = field(default_factory=Counter)
    present: int = 0


def left_over(
    registry: Registry, runs: Sequence[str], store: str, names: Sequence[str], files: Mapping[str, int] | None
) -> Known:
    """Sort out the receipts of quanta that are taken in; a receipt never changes.

    Parameters
    ----------
    registry : Registry
        Asked twice for each run, in columns.
    runs : sequence of str
        The runs of the receipts.
    store : str
        The store's name in the registry.
    names : sequence of str
        Of receipts.
    files : mapping of str to int, optional
        The sizes of all files of these runs, by name; without it they are not compared.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    given = uuid_bytes(_uuid(quantum_of(name)) for name in names).cast(pa.binary())
    left = pa.array([True] * len(names), pa.bool_())
    listed = pa.array(list(files), pa.string()) if files else pa.array([], pa.string())
    sizes = pa.array(list(files.values()), pa.int64()) if files else pa.array([], pa.int64())
    states: Counter[str] = Counter()
    present = 0
    for run in runs:
        quanta = registry.accounting.quanta(run)
        if not quanta.num_rows:
            continue
        committed = registry.accounting.committed(run, store)
        # What was made and has nothing here is deleted, or registered in another store.
        here = pc.or_(
            pc.not_equal(quanta["state"], "made"),
            pc.is_in(_binary(quanta["id"]), _binary(committed["quantum"])),
        )
        quanta = quanta.filter(here)
        ids = _binary(quanta["id"])
        if files is not None:
            found = sizes.take(pc.index_in(committed["path"], listed))
            wrong = committed.filter(pc.invert(pc.fill_null(pc.equal(found, committed["size"]), False)))
            if wrong.num_rows:
                good = pc.invert(pc.is_in(ids, _binary(wrong["quantum"])))
                quanta, ids = quanta.filter(good), ids.filter(good)
        known = pc.is_in(given, ids)
        if not pc.any(known).as_py():
            continue
        left = pc.and_not(left, known)
        there = quanta.filter(pc.is_in(ids, given))
        states.update({row["values"]: row["counts"] for row in pc.value_counts(there["state"]).to_pylist()})
        present += pc.sum(pc.is_in(_binary(committed["quantum"]), _binary(there["id"]))).as_py() or 0
    kept = [name for name, stays in zip(names, left.to_pylist(), strict=True) if stays]
    return Known(kept, states, present)


def unexpected(
    registry: Registry, runs: Sequence[str], store: str, files: Mapping[str, int], committed: Sequence[str]
) -> list[str]:
    """Give the files that neither the registry has nor these committed paths name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = pa.array(list(files), pa.string())
    strange = pc.invert(pc.is_in(names, pa.array(committed, pa.string())))
    for run in runs:
        there = registry.accounting.committed(run, store)["path"].combine_chunks()
        strange = pc.and_not(strange, pc.is_in(names, there))
    found: list[str] = names.filter(strange).to_pylist()
    return found


def _binary(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    return array.cast(pa.binary())


def _uuid(text: str) -> str | None:
    """Give the text of a quantum's id, or None where a receipt's name has none."""
    digits = text.replace("-", "")
    return text if len(digits) == 32 and not set(digits) - set("0123456789abcdef") else None  # noqa: PLR2004 - a UUID
