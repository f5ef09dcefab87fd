"""Raw files with equal data under different identities: told, since adding them up gains nothing.

The content digest covers the header, so it differs where only a date does. What is compared here is
a digest of the data alone. Each call that takes files in leaves one record with theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prestow.model.hashing import canonical_json, sha256_hex
from prestow.registry import put_record
from prestow.registry.records import read_records
from prestow.stores import Store, Walkable

KIND = "pixels"


@dataclass(frozen=True, slots=True)
class Frame:
    """A raw file as far as its pixels are concerned: its dataset, a name for people, the digest of its data."""

    id: str
    name: str
    data: str


@dataclass(frozen=True, slots=True)
class SamePixels:
    """Two raw files that hold the same data, and say that they are different datasets.

    Parameters
    ----------
    name, other : str
        Dataset and file, in words: the one that was taken in, and the one that was there before it.
    """

    name: str
    other: str

    def __str__(self) -> str:
        return f"{self.name}: same pixels as {self.other}"


def same_pixels(store: Store, run: str, frames: Iterable[Frame]) -> tuple[SamePixels, ...]:
    """Say which of these have the pixels of one before them or of one recorded; record them."""
    frames = [frame for frame in frames if frame.data]
    seen: dict[str, Frame] = {}
    if frames and isinstance(store, Walkable):
        for _, facts in read_records(store, KIND):
            if facts["run"] == run:
                for id_, name, data in facts["frames"]:
                    seen.setdefault(data, Frame(id_, name, data))
    found = []
    for frame in frames:
        other = seen.setdefault(frame.data, frame)
        if other.id != frame.id:
            found.append(SamePixels(frame.name, other.name))
    if frames:
        facts = {"run": run, "frames": sorted([f.id, f.name, f.data] for f in frames)}
        put_record(store, KIND, sha256_hex(canonical_json(facts).encode()), facts)
    return tuple(found)
