"""Relating footprints with a sky map and with shards: only what is new or has changed, part by part.

Each part is one transaction with a note of what it was made from, so that the same call goes on where an
interrupted one was, and the next one finds nothing to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestow.registry.on_sky import CORNERS
from prestow.registry.records import put_record
from prestow.registry.registry import Registry
from prestow.sky.angles import SHARD_PADDING
from prestow.stores import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from prestow.sky.geometry import Polygons
    from prestow.sky.overlap import Searcher
    from prestow.sky.skymap import SkyMap

PART = 20_000
"""Footprints of one transaction."""

OVERLAP, SHARDS, PATCH_SHARDS = "sky_overlap", "shard_overlap", "patch_shards"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Related:
    """What relating came to.

    Parameters
    ----------
    footprints : int
        How many there are, of exposures in visits.
    computed : int
        Pairs of visit and detector that were new or had changed.
    rows : int
        Overlaps that were found for these.
    """

    footprints: int = 0
    computed: int = 0
    rows: int = 0


def register_skymap(registry: Registry, store: Store, skymap: SkyMap) -> bool:
    """Make a sky map known: a record in the store, its tracts and patches, their shards; False if it is there.

    Raises
    ------
    ProjectError
        PST-S003 if another one has its name.
    """
    known = registry.on_sky.skymaps().get(skymap.name) == skymap.text
    added = not known and insert_skymap(registry, skymap)
    put_record(store, "skymap", skymap.name, {"name": skymap.name, "text": skymap.text})
    return added


def insert_skymap(registry: Registry, skymap: SkyMap) -> bool:
    """Make a sky map known to a registry alone, as its record says; False if it is there."""
    import numpy as np
    import pyarrow as pa

    from prestow.sky.shards import shards_of

    tract, patch, polygons = skymap.patch_polygons()
    name = {"skymap": skymap.name}
    record = pa.table({k: [v] for k, v in {**name, "version": skymap.version, "digest": skymap.digest, "padding": skymap.padding}.items()})  # fmt: skip
    tracts = pa.table({"skymap": _same(skymap.name, len(skymap.tracts)), "tract": skymap.tracts})
    patches = pa.table({"skymap": _same(skymap.name, len(patch)), "tract": tract, "patch": patch})
    parts = []
    for start in range(0, len(patch), PART):
        i, pixel, separation = shards_of(polygons.take(slice(start, start + PART)), SHARD_PADDING)
        parts.append((tract[start + i], patch[start + i], pixel, separation))
    columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
    shards = pa.table(dict(zip(("tract", "patch", "healpix_5", "separation"), columns, strict=True)))
    shards = shards.append_column("skymap", _same(skymap.name, shards.num_rows))
    return registry.on_sky.register_skymap(record, skymap.text, tracts, patches, shards)


def stale(registry: Registry, skymap: SkyMap | None) -> bool:
    """Say whether there are footprints that are not related with a sky map (None: with shards)."""
    return registry.on_sky.count() > max(registry.on_sky.noted(_target(skymap)), 0)


def relate(registry: Registry, skymap: SkyMap | None, progress: Progress | None = None) -> Related:
    """Compute which visits and detectors lie on which patches (None: on which shards).

    Parameters
    ----------
    progress : callable, optional
        Told how many pairs of visit and detector of how many are done.

    Raises
    ------
    IngestError
        PST-S006 if a footprint is no convex polygon; nothing of its part is written.
    """
    if not stale(registry, skymap):
        return Related(registry.on_sky.count())
    todo = _Todo.find(registry, _target(skymap))
    if not len(todo.rows):
        registry.on_sky.note(_target(skymap), todo.footprints)
        return Related(todo.footprints)
    search = _patches(skymap) if skymap is not None else _shards()
    relation = SHARDS if skymap is None else OVERLAP
    found = 0
    for start in range(0, len(todo.rows), PART):
        rows = todo.rows[start : start + PART]
        pairs = todo.relate(rows, search)
        if skymap is not None:
            pairs = pairs.append_column("skymap", _same(skymap.name, pairs.num_rows))
        name = None if skymap is None else skymap.name
        registry.on_sky.relate(relation, _target(skymap), name, todo.keys.take(rows), pairs)
        found += pairs.num_rows
        if progress is not None:
            progress(min(start + PART, len(todo.rows)), len(todo.rows))
    registry.on_sky.note(_target(skymap), todo.footprints)
    return Related(todo.footprints, len(todo.rows), found)


def put_related(registry: Registry, store: Store, skymap: SkyMap | None) -> None:
    """Put a record that overlaps with a sky map (None: with shards) are wanted, unless they were before."""
    if registry.on_sky.noted(_target(skymap)) < 0:
        key = "shards" if skymap is None else skymap.name
        put_record(store, "relation", key, {"computed": None if skymap is None else skymap.name})


def _target(skymap: SkyMap | None) -> str:
    return f"shards/{SHARD_PADDING:.9f}" if skymap is None else f"skymap/{skymap.name}/{skymap.digest}"


def _same(text: str, count: int) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(pa.scalar(text, pa.string()), count)


_Search = Callable[
    ["Polygons"], tuple["NDArray[np.int64]", dict[str, "NDArray[np.int64]"], "NDArray[np.float64]"]
]
"""Of some polygons: which of them, the keys of what each meets, and how far they are apart."""


def _patches(skymap: SkyMap) -> _Search:
    from prestow.sky.overlap import Searcher

    tract, patch, polygons = skymap.patch_polygons()
    known: Searcher = Searcher(polygons)

    def search(
        asked: Polygons,
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]], NDArray[np.float64]]:
        i, j, separation = known.pairs(asked, skymap.padding)
        return i, {"tract": tract[j], "patch": patch[j]}, separation

    return search


def _shards() -> _Search:
    from prestow.sky.shards import shards_of

    def search(
        asked: Polygons,
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]], NDArray[np.float64]]:
        i, j, separation = shards_of(asked, SHARD_PADDING)
        return i, {"healpix_5": j}, separation

    return search


@dataclass(frozen=True, slots=True)
class _Todo:
    """Footprints by visit and detector: where each group begins, its keys and digest, and which are to be done."""

    footprints: int
    corners: NDArray[np.float64]
    starts: NDArray[np.int64]
    keys: pa.Table
    rows: NDArray[np.int64]

    @classmethod
    def find(cls, registry: Registry, target: str) -> _Todo:
        import numpy as np
        import pyarrow as pa

        table = registry.on_sky.of_visits()
        count = table.num_rows
        corners = np.empty((count, 8))
        for position, name in enumerate(CORNERS):
            corners[:, position] = table[name].to_numpy()
        new = np.ones(count, bool)
        if count > 1:
            instrument = table["instrument"].dictionary_encode().combine_chunks().indices.to_numpy()
            columns = (instrument, table["visit"].to_numpy(), table["detector"].to_numpy())
            new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], count)
        # One digest a visit and detector, over the bytes of its corners: a microsecond each, no text is made.
        digests = [
            hashlib.blake2b(corners[a:b].tobytes(), digest_size=16).digest()
            for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        keys = table.select(["instrument", "visit", "detector"]).take(starts)
        keys = keys.append_column("digest", pa.array(digests, pa.binary(16)))
        keys = keys.append_column("row", pa.array(np.arange(len(starts))))
        on = ["instrument", "visit", "detector", "digest"]
        left = keys.join(registry.on_sky.related(target), keys=on, join_type="left anti")
        rows = np.sort(left["row"].to_numpy())
        return cls(count, corners, np.append(starts, count), keys.drop_columns(["row"]), rows)

    def relate(self, rows: NDArray[np.int64], search: _Search) -> pa.Table:
        """Give the overlaps of some groups: the least separation of any of its footprints from each."""
        import numpy as np
        import pyarrow as pa

        from prestow.sky.footprints import polygons_of

        counts = self.starts[rows + 1] - self.starts[rows]
        group = np.repeat(np.arange(len(rows)), counts)
        at = np.repeat(self.starts[rows] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(
            len(group)
        )
        asked = polygons_of(self.corners[at])
        i, keys, separation = search(asked)
        columns = [group[i], *keys.values()]
        order = np.lexsort((separation, *columns[::-1]))
        sorted_ = [column[order] for column in columns]
        first = np.ones(len(order), bool)
        if len(order):
            first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in sorted_])
        kept = order[first]
        here = self.keys.drop_columns(["digest"]).take(rows[group[i[kept]]])
        for name, column in keys.items():
            here = here.append_column(name, pa.array(column[kept]))
        return here.append_column("separation", pa.array(separation[kept]))
