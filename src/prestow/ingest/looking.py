"""Looking at raw files before anything is written: headers, digests, and what is wrong with them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, TaskError
from prestow.formats.fits import inspect, read_cards
from prestow.ingest.files import unreadable
from prestow.instruments import Instrument, Observation
from prestow.instruments.footprint import Footprint
from prestow.model import DataId
from prestow.model.dataset import RAW_RUN
from prestow.model.hashing import dataset_id
from prestow.registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa

RAW = "raw"


@dataclass(frozen=True, slots=True)
class LeftOutFile:
    """A file that the instrument's rules know and leave out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class RawFile:
    """One raw file that was looked at: its observation, dataset id, size in bytes, and digests."""

    path: str
    observation: Observation
    id: str
    size: int
    sha256: str
    content: str
    data: str
    footprint: Footprint | None = None

    @property
    def data_id(self) -> DataId:
        """Of the dataset ``raw``."""
        o = self.observation
        return DataId({"instrument": o.instrument, "exposure": o.exposure, "detector": o.detector})

    @property
    def in_words(self) -> str:
        """Dataset and file, for people."""
        return f"{RAW}{{{self.data_id}}} ({os.path.basename(self.path)})"

    def exposure_record(self) -> dict[str, Any]:  # Any: values of a record
        """Give what the registry keeps of the exposure."""
        o = self.observation
        return {
            "instrument": o.instrument, "exposure": o.exposure, "physical_filter": o.physical_filter,
            "day_obs": o.day_obs, **o.metadata,
        }  # fmt: skip


def look(path: str, instrument: Instrument) -> RawFile | LeftOutFile | list[Problem]:
    """Read one file; give what it is, why it is left out, or all that is wrong with it."""
    name = os.path.basename(path)
    reason = instrument.reason_to_leave_out({}, name)
    if reason is not None:
        return LeftOutFile(path, reason)
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        return [unreadable(path, error)]
    try:
        file = inspect(Path(path))
    except TaskError as error:
        return [Problem("PST-I004", p.what, path, p.fix) for p in error.problems]
    reason = instrument.reason_to_leave_out(file.cards, name)
    if reason is not None:
        return LeftOutFile(path, reason)
    cards = file.cards
    if instrument.extension:
        try:
            cards = {**cards, **read_cards(Path(path), instrument.extension)}
        except TaskError as error:
            return [Problem("PST-I004", p.what, path, p.fix) for p in error.problems]
    observation, wrong = instrument.observe(cards, name)
    if observation is None:
        fix = f"leave it out, mend its header, or change the rules of instrument '{instrument.name}'"
        return [Problem("PST-I001", what, path, fix) for what in wrong]
    data_id: dict[str, str | int] = {
        "instrument": observation.instrument, "exposure": observation.exposure, "detector": observation.detector,
    }  # fmt: skip
    id_ = dataset_id(RAW, f"{RAW_RUN}{instrument.name}", data_id)
    footprint: Footprint | None = None
    if instrument.footprint is not None and observation.visit is not None:
        found = instrument.footprint.find(path, observation.detector, observation.pointing)
        if isinstance(found, Problem):
            return [found]
        footprint = found
    return RawFile(path, observation, id_, file.size, file.sha256, file.content, file.data, footprint)


def one_each(raws: Iterable[RawFile]) -> tuple[list[RawFile], int, list[Problem]]:
    """Give one file for each identity, how many more of the same bytes, and those of other bytes."""
    groups: dict[str, list[RawFile]] = defaultdict(list)
    for raw in raws:
        groups[raw.id].append(raw)
    result, duplicates, problems = [], 0, []
    for group in groups.values():
        first = group[0]
        others = [raw for raw in group if raw.sha256 != first.sha256]
        duplicates += len(group) - 1 - len(others)
        if others:
            problems += [clash(raw.path, first.path, first) for raw in others]
        else:
            result.append(first)
    return result, duplicates, problems


def clash(path: str, other: str, raw: RawFile) -> Problem:
    """Give the problem of a file whose identity another one has, with other bytes."""
    return Problem(
        "PST-I002", f"it is {RAW}{{{raw.data_id}}} by its header, and so is {other}, with other bytes", path,
        "find out which one is right, and leave the other one out",
    )  # fmt: skip


def unknown(raws: list[RawFile], registry: Registry) -> tuple[list[RawFile], int, list[Problem]]:
    """Give those that are not registered, how many are, and those registered with other bytes."""
    if not raws:
        return [], 0, []
    known = registry.known(bytes.fromhex(raw.id.replace("-", "")) for raw in raws)
    result, count, problems = [], 0, []
    for raw in raws:
        sha256 = known.get(bytes.fromhex(raw.id.replace("-", "")))
        if sha256 is None:
            result.append(raw)
        elif sha256 == raw.sha256:
            count += 1
        else:
            places = registry.places(bytes.fromhex(raw.id.replace("-", "")))
            there = " and ".join(f"{store}:{path}" for store, path in places)
            problems.append(clash(raw.path, f"the registered {there}", raw))
    return result, count, problems


def agreeing(raws: list[RawFile], registry: Registry) -> tuple[list[RawFile], list[Problem]]:
    """Leave out files that say other things of their exposure than the first one does."""
    first: dict[int, tuple[str, Mapping[str, Any]]] = {}
    names = {raw.observation.exposure for raw in raws}
    if names:
        table = registry.dimension_records("exposure")
        mine = [raw.observation.instrument for raw in raws[:1]]
        for row in _rows_of(table, names, mine[0]):
            first[row["exposure"]] = ("the registry", row)
    result, problems = [], []
    for raw in raws:
        record = raw.exposure_record()
        where, other = first.setdefault(raw.observation.exposure, (raw.path, record))
        differs = [key for key, value in record.items() if other.get(key) != value]
        if differs:
            said = ", ".join(f"{key} {record[key]!r} (there {other.get(key)!r})" for key in differs)
            problems.append(
                Problem(
                    "PST-I002", f"it and {where} are of one exposure ({raw.observation.exposure}) and disagree: {said}",
                    raw.path, "an exposure has one record: let the rules take what all detectors share",
                )
            )  # fmt: skip
        else:
            result.append(raw)
    return result, problems


def _rows_of(table: pa.Table, exposures: set[int], instrument: str) -> list[dict[str, Any]]:  # Any: a record
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.is_in(table["exposure"], value_set=pa.array(sorted(exposures), pa.int64()))
    rows: list[dict[str, Any]] = table.filter(
        pc.and_(wanted, pc.equal(table["instrument"], instrument))
    ).to_pylist()
    return rows
