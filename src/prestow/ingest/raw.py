"""Raw files to the registry: look at all of them first, then take them in, once.

Two phases. The first only reads: every file's header and digests, every problem of any of them.
The second puts each file into the store (or leaves it where it lies), with a record, and ends in
one transaction. Whatever interrupts it, the same call goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from prestow.commit import deleted_name
from prestow.errors import IngestError, Problem
from prestow.ingest.carrying import Transfer, carry, in_place_store, place_in_store
from prestow.ingest.files import SUFFIXES, expand
from prestow.ingest.looking import RAW, LeftOutFile, RawFile, agreeing, clash, look, one_each, unknown
from prestow.ingest.pixels import Frame, SamePixels, same_pixels
from prestow.ingest.registered import even, load_registered
from prestow.instruments import Instrument
from prestow.model import DatasetType
from prestow.model.dataset import RAW_RUN
from prestow.registry import Registry, StoreKind, put_record
from prestow.registry.records import read_record
from prestow.stores import Put, Store

__all__ = ["RAW", "SUFFIXES", "LeftOutFile", "RawReport", "SamePixels", "Transfer", "ingest_raw"]


@dataclass(frozen=True, slots=True)
class RawReport:
    """What taking raw files in came to.

    Parameters
    ----------
    run : str
        The run they are in, ``raw-<instrument>``.
    added, known, duplicates, deleted : int
        Files that are new; that were registered before; of bytes and identity that another of
        these files has; and whose dataset was deleted on purpose, which stays so.
    size : int
        Bytes of the new ones.
    skipped : tuple of Problem
        What was wrong with files that were left out.
    ignored : tuple of str
        Files that are no FITS files by their name.
    left_out : tuple of LeftOutFile
        Files that the instrument's rules leave out; nothing is wrong with them.
    same_pixels : tuple of SamePixels
        New files that hold the data of another dataset.
    """

    run: str
    added: int = 0
    known: int = 0
    duplicates: int = 0
    deleted: int = 0
    size: int = 0
    skipped: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()
    left_out: tuple[LeftOutFile, ...] = ()
    same_pixels: tuple[SamePixels, ...] = ()


def ingest_raw(
    files: Iterable[str | os.PathLike[str]],
    instrument: Instrument,
    registry: Registry,
    store: Store,
    *,
    transfer: Transfer = Transfer.COPY,
    skip_bad: bool = False,
    store_name: str = "archive",
    progress: Callable[[int, int], None] | None = None,
) -> RawReport:
    """Take raw files in by their headers; a directory stands for all files below it.

    Parameters
    ----------
    files : iterable of path
        Names that do not end like a FITS file are ignored, and named in the report.
    instrument : Instrument
        Whose files they are.
    registry, store : Registry, Store
        Where they go. With `Transfer.IN_PLACE` only their records go to the store.
    transfer : Transfer
        Copy, link what nobody can write, or leave in place.
    skip_bad : bool
        Take the good files and report the others.
    store_name : str
        The name of the store in the registry.
    progress : callable, optional
        Told how many files of how many are done.

    Raises
    ------
    IngestError
        With every problem of every file; then nothing was written.
    """
    found, others, problems = expand(files)
    tell = progress or (lambda _done, _total: None)
    raws: list[RawFile] = []
    ignored: list[str] = []
    left_out: list[LeftOutFile] = []
    for path in others:
        reason = instrument.reason_to_leave_out({}, os.path.basename(path))
        if reason is None:
            ignored.append(path)
        else:
            left_out.append(LeftOutFile(path, reason))
    for number, path in enumerate(found, 1):
        looked = look(path, instrument)
        if isinstance(looked, RawFile):
            raws.append(looked)
        elif isinstance(looked, LeftOutFile):
            left_out.append(looked)
        else:
            problems += looked
        tell(number // 2, len(found))
    raws, duplicates, more = one_each(raws)
    problems += more
    raws, known, more = unknown(raws, registry)
    problems += more
    raws, more = agreeing(raws, registry)
    problems += more
    if problems and not skip_bad:
        raise IngestError(*problems)
    gone = registry.deleted()
    kept = [raw for raw in raws if raw.id not in gone and store.size(deleted_name(raw.id)) is None]
    run = f"{RAW_RUN}{instrument.name}"
    _register_all(registry, store, instrument, run, store_name)
    place = store_name
    root = ""
    if transfer is Transfer.IN_PLACE and kept:
        place, root = in_place_store(registry, store, run, [raw.path for raw in kept])
    rows: list[dict[str, Any]] = []
    added: list[RawFile] = []
    for number, raw in enumerate(kept, 1):
        row = _take(raw, store, run, transfer, place, root, grouped=instrument.grouped)
        if isinstance(row, Problem):
            if not skip_bad:
                raise IngestError(row)
            problems.append(row)
        else:
            rows.append(row)
            added.append(raw)
        tell(len(found) - len(kept) + (len(kept) + number) // 2, len(found))
    same = same_pixels(store, run, [Frame(raw.id, raw.in_words, raw.data) for raw in added])
    count = load_registered(registry, rows).datasets if rows else 0
    tell(len(found), len(found))
    return RawReport(
        run=run, added=count, known=known + len(added) - count, duplicates=duplicates, deleted=len(raws) - len(kept),
        size=sum(raw.size for raw in added), skipped=tuple(problems), ignored=tuple(ignored),
        left_out=tuple(sorted(left_out, key=lambda file: file.path)), same_pixels=same,
    )  # fmt: skip


# --- taking --------------------------------------------------------------------------------------


def _register_all(
    registry: Registry, store: Store, instrument: Instrument, run: str, store_name: str
) -> None:
    """Register what all files share; all of it may be there already."""
    import pyarrow as pa

    name = instrument.name
    registry.register_store(store_name, store.uri, StoreKind.OUTPUT)
    dimensions = registry.universe.close(["exposure", "detector"])
    registry.register_dataset_type(DatasetType(RAW, dimensions, "fits"))
    registry.register_run(run)
    bands = sorted(set(instrument.filters.values()))
    registry.insert_dimension_records("instrument", pa.table({"instrument": [name]}))
    registry.insert_dimension_records("band", pa.table({"band": pa.array(bands, pa.string())}))
    _put_dimension(store, "instrument", name, {"instrument": name})
    for band in bands:
        _put_dimension(store, "band", band, {"band": band})
    filters = [
        {"instrument": name, "physical_filter": f, "band": b} for f, b in sorted(instrument.filters.items())
    ]
    detectors = [
        {"instrument": name, "detector": number, **facts}
        for number, facts in sorted(instrument.detectors.items())
    ]
    for element, rows in (("physical_filter", filters), ("detector", detectors)):
        if rows:
            registry.insert_dimension_records(element, pa.Table.from_pylist(even(rows)))
        for row in rows:
            _put_dimension(store, element, f"{name}-{row[element]}", row)
    put_record(store, "run", run, {"name": run})
    put_record(store, "dataset-type", RAW, {"name": RAW, "dimensions": list(dimensions), "format": "fits"})


def _put_dimension(store: Store, element: str, key: str, row: dict[str, Any]) -> None:  # Any: a record's
    put_record(store, "dimension", f"{element}-{key}", {"element": element, "row": row})


def _take(
    raw: RawFile, store: Store, run: str, transfer: Transfer, place: str, root: str, *, grouped: bool
) -> dict[str, Any] | Problem:
    """Put one file where it belongs, and its record; give its row. Any: values of a row."""
    data_id = raw.data_id
    facts: dict[str, Any] = {
        "type": RAW, "run": run, "data_id": dict(data_id), "id": raw.id, "size": raw.size, "sha256": raw.sha256,
        "content": raw.content, "format": "fits", "store": place, "exposure": raw.exposure_record(),
        "band": raw.observation.band, "visit": raw.observation.visit,
        **({} if raw.footprint is None else {"footprint": raw.footprint.as_dict()}),
        **({"grouped": True} if grouped else {}),
    }  # fmt: skip
    if transfer is Transfer.IN_PLACE:
        path = os.path.relpath(raw.path, root)
        try:
            path.encode()
        except UnicodeEncodeError:
            return Problem(
                "PST-I005", "its name is not UTF-8, so it cannot stay where it is", raw.path, "copy it"
            )
    else:
        day = f"{RAW}/{raw.observation.instrument}/{raw.observation.day_obs}"
        path = place_in_store(store, day, raw.path, raw.sha256)
        wrong = carry(raw.path, store, path, size=raw.size, sha256=raw.sha256, transfer=transfer)
        if wrong is not None:
            return wrong
    facts["path"] = path
    if put_record(store, "registered", raw.id, facts) is not Put.YES:
        standing = read_record(store, "registered", raw.id)
        if standing.get("sha256") != raw.sha256:
            return clash(raw.path, f"the recorded {standing.get('path')}", raw)
        if transfer is not Transfer.IN_PLACE and standing.get("store") == place:
            facts["path"] = standing["path"]
    return facts
