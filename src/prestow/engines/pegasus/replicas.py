"""Files that exist, as the replica catalogues of an emission have them: noted batch by batch, written when all are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.files import Carried, Transport, external_names
from prestow.engines.pegasus.text import VERSION, Part
from prestow.manifest import FLAT
from prestow.naming.flat import flat_path
from prestow.plan.batches import compact
from prestow.plan.pieces import escaped, joined

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.engines.pegasus.places import Places
    from prestow.manifest import Code

    Numbers = npt.NDArray[np.int64]

ROWS = 10_000
"""How many entries are in memory as text at one time."""

_SCHEMA = pl.Schema({
    "part": pl.Int64, "scope": pl.String, "path": pl.String, "store": pl.String, "size": pl.Int64, "sha256": pl.String,
    "made": pl.Boolean,
})  # fmt: skip
_NAME = ["part", "scope", "path"]
"""What the logical name of a file follows from, in each part."""


@dataclass
class Replicas:
    """The files that exist, by the part of the workflow that reads them.

    Parameters
    ----------
    transport : Transport
        Who carries what.
    places : Places
        Where stores are.
    landing : str
        Under which directory of the output store lies what another part made; empty if it lies under its own path.
    """

    transport: Transport
    places: Places
    landing: str = ""
    _noted: list[pl.DataFrame] = field(default_factory=list)
    _every: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SCHEMA))

    def note(self, carried: Carried, part: Numbers) -> None:
        """Note what the jobs of a batch read that exists; of each row of ``carried.replicas`` the part is given."""
        self._add(carried.replicas.with_columns(part=part, made=pl.lit(value=False)))

    def note_made(self, names: pl.Series, part: Numbers) -> None:
        """Note what another part makes, by its logical names."""
        self._add(
            pl.DataFrame({"path": names, "part": part}).with_columns(
                scope=pl.lit(""), store=pl.lit(self.transport.store), size=None, sha256=None, made=pl.lit(value=True)
            )
        )  # fmt: skip

    def note_code(self, code: Code, path: str, parts: int) -> None:
        """Note the workflow's code, which every part reads."""
        own = {
            "path": path,
            "scope": "",
            "store": self.transport.store,
            "size": code.size,
            "sha256": code.sha256,
        }
        self._add(
            pl.DataFrame({"part": range(parts)}).with_columns(
                made=pl.lit(value=False), **{k: pl.lit(v) for k, v in own.items()}
            )
        )

    def _add(self, rows: pl.DataFrame) -> None:
        if rows.height:
            rows = rows.unique(_NAME, maintain_order=True)
            self._noted.append(compact(rows.select(_SCHEMA.names()).cast(_SCHEMA)))

    def settle(self, receipts: Mapping[str, bytes]) -> list[tuple[str, str]]:
        """Put all together; give name and path of the receipts that only the emission has: they are no replicas."""
        every = pl.concat([self._every, *self._noted]).unique(_NAME, keep="last", maintain_order=True)
        self._noted = []
        own: list[tuple[str, str]] = []
        if receipts:
            mine = pl.col("path").is_in(list(receipts)) & pl.col("sha256").is_null() & ~pl.col("made")
            ours = every.filter(mine)["path"].unique(maintain_order=True)
            own = list(zip(self.transport.names(ours).to_list(), ours.to_list(), strict=True))
            every = every.filter(~mine)
        first = ~pl.col("made")
        if every["part"].max() != every["part"].min():
            first = first & pl.struct("scope", "path", "made").is_first_distinct()
        self._every = every.sort(_NAME).with_columns(first=first)
        return own

    @property
    def count(self) -> int:
        """How many files exist."""
        return int(self._every["first"].sum())

    def write(self, part: int, path: Path) -> Iterator[pl.DataFrame]:
        """Write the catalogue of a part; give what exists and was not given before, as `Checker.exists` takes it."""
        catalogue = Part(path, {"pegasus": VERSION}, "replicas")
        for rows in self._told(part):
            catalogue.add(_texts(rows))
            yield rows.filter("first")
        catalogue.close()

    def again(self, parts: int) -> Iterator[pl.DataFrame]:
        """Give what exists once more."""
        for part in range(parts):
            for rows in self._told(part):
                yield rows.filter("first")

    def _told(self, part: int) -> Iterator[pl.DataFrame]:
        start, end = np.searchsorted(self._every["part"].to_numpy(), [part, part + 1]).tolist()
        for at in range(start, end, ROWS):
            rows = self._every[at : min(at + ROWS, end)]
            path = rows["path"]
            names = self.transport.names(external_names(rows["scope"], path))
            if (made := rows["made"]).any():
                names, path = names.zip_with(~made, path), path.zip_with(~made, self._lies(path))
            yield rows.select(
                "size", "sha256", "first", names.alias("name"), self.places.urls(rows["store"], path)
            )

    def _lies(self, names: pl.Series) -> pl.Series:
        """Give the paths in the output store of what another part makes, when that has ended."""
        if self.landing:
            return pl.select(pl.concat_str(pl.lit(self.landing), pl.lit(names))).to_series()
        if self.transport.layout == FLAT:  # one at a time: few files cross from part to part
            return pl.Series([flat_path(name) for name in names], dtype=pl.String)
        return names


def _texts(rows: pl.DataFrame) -> memoryview:
    """Give the entries of files that exist, each with a comma and a line feed before it."""
    name, url = escaped(rows["name"]), escaped(rows["url"])
    checksum = pl.concat_str(pl.lit(',"checksum":{"sha256":"'), "sha256", pl.lit('"}'))
    size = pl.concat_str(pl.lit(',"metadata":{"size":"'), "size", pl.lit('"}'))
    texts = rows.select(
        pl.concat_str(
            pl.lit(',\n{"lfn":"'), name, pl.lit('","pfns":[{"site":"local","pfn":"'), url, pl.lit('"}]'),
            checksum.fill_null(""), size.fill_null(""), pl.lit("}"),
        ).alias("text")
    ).to_series()  # fmt: skip
    return joined(rows.height, [texts]).octets(0, rows.height)[0]
