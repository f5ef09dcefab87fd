"""A contact sheet: several products side by side in one picture, and a table of their headers.

Planes are stretched in zscale with the same limits, so that what differs looks different. Plots are shown as
they are. Of what is no picture a tile says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prestow.errors import Problem, ProjectError, TaskError
from prestow.formats import open_format
from prestow.formats.png_chunks import encoded
from prestow.results.lettering import HEIGHT, WIDTH, wrapped, write
from prestow.results.looking import chosen_hdu, plane_of, smaller, zscale
from prestow.results.numbers import Array, native
from prestow.results.outliers import Standing, standings

MOST = 400
"""Tiles of a sheet, at most."""

SAMPLE = 100_000
"""Pixels of a tile that the common stretch is made of, at most."""

NOISE = 0.5
"""Of the rms of a plane: a median that is off by less does not stand out."""

EDGE = 4  # pixels between tiles
PAPER, INK, FAINT = 24, 255, 150
STRETCHES = ("common", "each")


@dataclass(frozen=True, slots=True)
class Tile:
    """One product of a sheet.

    Parameters
    ----------
    label : str
        What it is.
    kind : str
        ``plane``, ``plot``, ``table``, ``document``, ``damaged`` or ``other``.
    text : str
        What a tile says that is no picture, else how large the picture is.
    header : mapping
        Keywords that were asked for, and of a plane its ``median`` and ``rms``. Any: header values.
    pixels : array or None
        A plane as float32, reduced; a plot as uint8.
    stands : tuple of Standing
        Of its numbers, those that stand out among the planes of the sheet.
    """

    label: str
    kind: str
    text: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)
    pixels: Array = field(default=None, repr=False, compare=False)
    stands: tuple[Standing, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values, without its pixels."""
        return {
            "label": self.label, "kind": self.kind, "text": self.text, "header": dict(self.header),
            "stands_out": [one.as_dict() for one in self.stands],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sheet:
    """A contact sheet.

    Parameters
    ----------
    tiles : tuple of Tile
        In the order in which they were asked for.
    keys : tuple of str
        Columns of the header table.
    stretch : str
        How planes were stretched.
    png : bytes
        The picture.
    """

    tiles: tuple[Tile, ...]
    keys: tuple[str, ...]
    stretch: str
    png: bytes = field(repr=False)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The header table: a row for each tile; what stands out is marked."""
        return [
            (str(n), tile.label, *(_cell(tile.header.get(key), key, tile) for key in self.keys))
            for n, tile in enumerate(self.tiles, 1)
        ]

    @property
    def odd(self) -> tuple[Tile, ...]:
        """The tiles whose numbers stand out, the furthest first."""
        return tuple(sorted((t for t in self.tiles if t.stands), key=lambda t: -t.stands[0].sigmas))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "tiles": [tile.as_dict() for tile in self.tiles], "keys": list(self.keys), "stretch": self.stretch,
            "png_bytes": len(self.png),
        }  # fmt: skip

    def _repr_png_(self) -> bytes:
        return self.png


def tile_of(
    path: Path,
    format_name: str,
    label: str,
    *,
    keys: Sequence[str] = (),
    extension: str | None = None,
    size: int = 256,
) -> Tile:
    """Read one product for a sheet; what is damaged or cannot be shown is a tile that says so.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "a.json")
    ...     _ = path.write_text('{"a": 1}')
    ...     tile_of(path, "json", "a").kind
    'document'
    """
    try:
        if format_name == "fits":
            return _fits_tile(path, label, keys, extension, size)
        if format_name == "png":
            pixels = open_format("png").read(path, "array")
            return Tile(
                label, "plot", f"{pixels.shape[1]} x {pixels.shape[0]}", {}, _reduced_plot(pixels, size)
            )
        value = open_format(format_name).read(path)
        if hasattr(value, "column_names"):
            text = f"a table: {value.num_rows:,} rows, {value.num_columns} columns"
            return Tile(label, "table", text)
        if isinstance(value, Mapping):
            return Tile(
                label, "document", f"a document: {len(value)} keys", {k: value[k] for k in keys if k in value}
            )
    except (TaskError, ProjectError) as error:
        return Tile(label, "damaged", error.problems[0].what)
    return Tile(label, "other", f"{format_name}: not shown here")


def _fits_tile(path: Path, label: str, keys: Sequence[str], extension: str | None, size: int) -> Tile:
    from prestow.formats.fits_cards import damaged
    from prestow.results.differences import opened_fits

    open_format("fits").check(path)  # astropy leaves out what a torn file lacks
    try:
        with opened_fits(path) as hdus:
            hdu = chosen_hdu(hdus, path, extension)
            headers = (hdu.header, hdus[0].header)
            found = {key: next((h[key] for h in headers if key in h), None) for key in keys}
            if not hdu.is_image:
                text = f"a table: {len(hdu.data):,} rows, {len(hdu.columns)} columns"
                return Tile(label, "table", text, found)
            plane, _ = plane_of(hdu.data)
            plane = native(plane)
            text = f"{plane.shape[1]} x {plane.shape[0]} {hdu.header.get('BUNIT', '')}".rstrip()
            return Tile(label, "plane", text, {**found, **numbers(plane)}, _fitted(plane, size))
    except (OSError, TypeError, ValueError) as error:
        raise damaged(f"cannot be read: {error}", str(path)) from error


def numbers(plane: Array) -> dict[str, float]:
    """Give the median of a plane, and its rms about it by the median absolute deviation: sources count little.

    Examples
    --------
    >>> import numpy as np
    >>> numbers(np.array([[0.0, 1.0, 2.0], [3.0, 4.0, np.nan]]))
    {'median': 2.0, 'rms': 1.4826}
    """
    import numpy as np

    values = plane[np.isfinite(plane)].astype(np.float64)
    if not values.size:
        return {"median": math.nan, "rms": math.nan}
    middle = float(np.median(values))
    return {"median": middle, "rms": 1.4826 * float(np.median(np.abs(values - middle)))}


def _fitted(plane: Array, size: int) -> Array:
    """Average blocks of what is too large, and show each pixel of what is small as a block."""
    import numpy as np

    reduced = smaller(plane, size).astype(np.float32)
    times = max(1, size // max(reduced.shape))
    return np.repeat(np.repeat(reduced, times, axis=0), times, axis=1)


def _reduced_plot(pixels: Array, size: int) -> Array:
    import numpy as np

    step = -(-max(pixels.shape[:2]) // size)
    colour = pixels if pixels.ndim > 2 else pixels[:, :, None]  # noqa: PLR2004 - rows, columns, channels
    if colour.shape[2] in (2, 4):  # on white paper
        alpha = colour[:, :, -1:].astype(np.float32) / 255
        colour = (colour[:, :, :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    if step > 1:
        rows, columns = (n // step * step for n in colour.shape[:2])
        blocks = colour[:rows, :columns].reshape(rows // step, step, columns // step, step, -1)
        colour = (blocks.mean(axis=(1, 3), dtype=np.float32) + 0.5).astype(np.uint8)
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def sheet_of(
    tiles: Iterable[Tile],
    *,
    keys: Sequence[str] = (),
    stretch: str = "common",
    columns: int | None = None,
    size: int = 256,
) -> Sheet:
    """Put tiles on a sheet.

    Parameters
    ----------
    keys : sequence of str
        Header keywords, for the table and under the tiles.
    stretch : str
        ``common``: planes have one black and one white; ``each``: each has its own.
    columns : int, optional
        Tiles side by side; about as many as rows, if not given.
    size : int
        Pixels of a tile's longer side.

    Raises
    ------
    ProjectError
        PST-T025 if there is no tile, or more than `MOST`.
    """
    found = _with_standings(tuple(tiles))
    if not 0 < len(found) <= MOST:
        what = f"a sheet of {len(found):,} tiles" if found else "a sheet without a tile"
        raise ProjectError(Problem("PST-T025", what, f"at most {MOST} fit", "ask for less: 'TYPE{k=v,…}'"))
    planes = [tile for tile in found if tile.kind == "plane"]
    limits = _limits(planes, stretch)
    shown = (*keys, *(("median", "rms") if planes else ()))
    if not planes:
        text = "no planes"
    elif stretch == "common":
        text = "common zscale, black {:.6g}, white {:.6g}".format(*limits[id(planes[0])])
    else:
        text = "zscale of each"
    width = columns or math.ceil(math.sqrt(len(found)))
    png = _drawn(found, shown, limits, min(width, len(found)), size)
    return Sheet(found, shown, text, png)


def _with_standings(tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
    """Compare planes of one dataset type among each other."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for n, tile in enumerate(tiles):
        if tile.kind == "plane":
            own = {key: tile.header[key] for key in ("median", "rms")}
            groups.setdefault(tile.label.partition("{")[0], {})[str(n)] = own
    found = {key: own for group in groups.values() for key, own in standings(group).items()}
    return tuple(
        replace(
            tile, stands=tuple(s for s in found.get(str(n), ()) if s.stands_out and not _in_noise(s, tile))
        )
        for n, tile in enumerate(tiles)
    )


def _in_noise(standing: Standing, tile: Tile) -> bool:
    """Say whether a median is off by less than a part of the noise: about a level of zero, say."""
    off = max(standing.low - standing.value, standing.value - standing.high)
    return standing.name == "median" and off < NOISE * float(tile.header["rms"])


def _limits(planes: Sequence[Tile], stretch: str) -> dict[int, tuple[float, float]]:
    """Give black and white of each plane; of a common stretch every plane has as much say as another."""
    import numpy as np

    values = []
    for tile in planes:
        finite = tile.pixels[np.isfinite(tile.pixels)]
        values.append(finite[:: max(1, finite.size // SAMPLE)])
    if stretch == "each":
        return {id(t): zscale(v) if v.size else (0.0, 0.0) for t, v in zip(planes, values, strict=True)}
    most = max((v.size for v in values), default=0)
    pooled = [np.resize(v, most) for v in values if v.size]
    common = zscale(np.stack(pooled, axis=1).reshape(-1)) if pooled else (0.0, 0.0)
    return {id(tile): common for tile in planes}


def _drawn(
    tiles: Sequence[Tile],
    keys: Sequence[str],
    limits: Mapping[int, tuple[float, float]],
    columns: int,
    size: int,
) -> bytes:
    import numpy as np

    letters = max(1, size // WIDTH)
    captions = [_caption(n, tile, keys, letters) for n, tile in enumerate(tiles, 1)]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    heights = [
        max(_height(tiles[i], size) for i in row) + HEIGHT * max(len(captions[i]) for i in row) + 3 * EDGE
        for row in rows
    ]
    canvas = np.full((sum(heights) + EDGE, columns * (size + EDGE) + EDGE, 3), PAPER, np.uint8)
    top = EDGE
    for row, height in zip(rows, heights, strict=True):
        below = max(_height(tiles[i], size) for i in row)
        for place, i in enumerate(row):
            left = EDGE + place * (size + EDGE)
            _place(canvas, tiles[i], limits.get(id(tiles[i]), (0.0, 0.0)), left, top, size)
            for n, (line, grey) in enumerate(captions[i]):
                write(canvas, left, top + below + EDGE + n * HEIGHT, line, grey)
        top += height
    return encoded(canvas.shape, np.ascontiguousarray(canvas).tobytes())


def _height(tile: Tile, size: int) -> int:
    return size // 4 if tile.pixels is None else int(tile.pixels.shape[0])


def _caption(number: int, tile: Tile, keys: Sequence[str], letters: int) -> list[tuple[str, int]]:
    lines = [(line, INK) for line in wrapped(f"{number} {tile.label}", letters)]
    if tile.pixels is not None:
        lines += [(line, FAINT) for line in wrapped(tile.text, letters)]
    facts = "  ".join(
        f"{key} {_cell(tile.header[key], key, tile)}" for key in keys if tile.header.get(key) is not None
    )
    return lines + [
        (line, INK if tile.stands else FAINT) for line in (wrapped(facts, letters) if facts else [])
    ]


def _place(canvas: Array, tile: Tile, limits: tuple[float, float], left: int, top: int, size: int) -> None:
    import numpy as np

    if tile.pixels is None:
        canvas[top : top + size // 4, left : left + size] = PAPER * 2
        for n, line in enumerate(wrapped(tile.text, max(1, size // WIDTH - 2))):
            write(canvas[: top + size // 4, : left + size], left + WIDTH, top + WIDTH + n * HEIGHT, line, INK)
        return
    rows, columns = tile.pixels.shape[:2]
    if tile.kind == "plot":
        canvas[top : top + rows, left : left + columns] = tile.pixels
        return
    low, high = limits
    finite = np.isfinite(tile.pixels)
    level = (
        (np.where(finite, tile.pixels, low) - low) / (high - low)
        if high > low
        else np.full(tile.pixels.shape, 0.5)
    )
    grey = np.where(finite, np.clip(level * 255 + 0.5, 0, 255), 0).astype(np.uint8)
    canvas[top : top + rows, left : left + columns] = grey[::-1, :, None]


def _cell(value: object, key: str, tile: Tile) -> str:
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"!! {text}" if any(one.name == key for one in tile.stands) else text
