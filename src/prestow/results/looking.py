"""A quick look at a product: a stretched picture of a plane, the first rows of a table, a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.errors import Problem, ProjectError
from prestow.formats import open_format
from prestow.formats.fits_story import TABLE
from prestow.formats.png_chunks import encoded
from prestow.notebook import html_table
from prestow.results.numbers import Array, native

SIDE = 1024
"""Pixels of a picture's longer side, at most."""

ROWS = 20


@dataclass(frozen=True, slots=True)
class Look:
    """What a product looks like; a notebook shows it by itself.

    Parameters
    ----------
    title : str
        What it is.
    kind : str
        ``picture``, ``table`` or ``document``.
    notes : tuple of str
        Facts: which extension, its shape, the limits of the stretch, how much more there is.
    png : bytes
        A picture.
    header, rows : tuples
        The first rows of a table, as texts.
    document : mapping or None
        A document, without its story.
    """

    title: str
    kind: str
    notes: tuple[str, ...] = ()
    png: bytes = b""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    document: Mapping[str, Any] | None = None  # Any: plain values

    @property
    def document_text(self) -> str:
        """The document as YAML."""
        import yaml

        if self.document is None:
            return ""
        return yaml.safe_dump(dict(self.document), sort_keys=False, allow_unicode=True, width=100).rstrip()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values; of a picture its size in bytes."""
        return {
            "title": self.title, "kind": self.kind, "notes": list(self.notes), "png_bytes": len(self.png),
            "header": list(self.header), "rows": [list(row) for row in self.rows],
            "document": None if self.document is None else dict(self.document),
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the picture to a new file.

        Raises
        ------
        ProjectError
            PST-G024 if this is no picture; PST-G004 if something is there: it may be a product.
        """
        if not self.png:
            what = f"{self.title} is a {self.kind}, not a picture"
            raise ProjectError(Problem("PST-G024", what, str(path), "look at it without --into"))
        save_png(self.png, path)

    def _repr_png_(self) -> bytes | None:
        return self.png or None

    def _repr_html_(self) -> str | None:
        if self.kind == "table":
            return html_table(self.header, self.rows, caption=self.title, notes=self.notes)
        if self.document is None:
            return None
        return html_table(["key", "value"], _flat("", self.document), caption=self.title, notes=self.notes)


def save_png(png: bytes, path: Path) -> None:
    """Write a picture to a new file.

    Raises
    ------
    ProjectError
        PST-G004 if something is there: it may be a product.
    """
    try:
        with path.open("xb") as file:
            file.write(png)
    except FileExistsError as error:
        what = "something is there already, and is not overwritten"
        raise ProjectError(
            Problem("PST-G004", what, str(path), "give another name, or move it away")
        ) from error


def look(
    path: Path,
    format_name: str,
    title: str,
    *,
    extension: str | None = None,
    rows: int = ROWS,
    side: int = SIDE,
) -> Look:
    """Look at a file.

    Parameters
    ----------
    extension : str, optional
        Name or number of a FITS extension; ``SCI``, else the first plane, else the first table, if
        not given.
    rows : int
        How many rows of a table, at most.
    side : int
        How many pixels the picture's longer side has, at most; larger planes are averaged in blocks.

    Raises
    ------
    ProjectError
        PST-G024 if there is nothing in it to be shown, or no such extension.
    TaskError
        PST-N008 if the file is damaged.
    """
    if format_name == "fits":
        return _fits(path, title, extension, rows, side)
    if extension is not None:
        fix = "leave --extension out"
        raise ProjectError(Problem("PST-G024", f"a {format_name} file has no extensions", str(path), fix))
    if format_name == "png":
        return Look(title, "picture", (), open_format("png").read(path, "bytes"))
    value = open_format(format_name).read(path)
    if hasattr(value, "column_names"):
        head = value.slice(0, rows)
        columns = {name: head.column(i).to_pylist() for i, name in enumerate(value.column_names)}
        return _table(title, columns, value.num_rows)
    if isinstance(value, Mapping):
        return Look(title, "document", (), document=value)
    what = f"a {type(value).__name__} of format {format_name} cannot be shown"
    raise ProjectError(Problem("PST-G024", what, str(path), "open it with the library of its format"))


def picture(plane: Array, *, side: int = SIDE) -> tuple[bytes, str]:
    """Give the PNG of a plane in zscale, its first row below, and how it was stretched.

    What is not finite is black. The same plane gives the same bytes.
    """
    import numpy as np

    data = smaller(native(plane).astype(np.float32), side)
    finite = np.isfinite(data)
    if not finite.any():
        return encoded(data.shape, np.zeros(data.shape, np.uint8).tobytes()), "no pixel is finite"
    low, high = zscale(data[finite])
    level = (np.where(finite, data, low) - low) / (high - low) if high > low else np.full(data.shape, 0.5)
    grey = np.where(finite, np.clip(level * 255 + 0.5, 0, 255), 0).astype(np.uint8)
    return encoded(
        grey.shape, np.ascontiguousarray(grey[::-1]).tobytes()
    ), f"black {low:.6g}, white {high:.6g}"


def zscale(values: Array) -> tuple[float, float]:
    """Give black and white of finite values."""
    import numpy as np
    from astropy.visualization import ZScaleInterval

    low, high = (float(limit) for limit in ZScaleInterval().get_limits(values))
    if low >= high:  # a mask, say: most values are one
        low, high = float(np.min(values)), float(np.max(values))
    return low, high


def smaller(data: Array, side: int) -> Array:
    """Average blocks, where a plane is larger; a block without a finite value has none."""
    import numpy as np

    step = -(-max(data.shape) // side)
    if step <= 1:
        return data
    rows, columns = (-(-n // step) for n in data.shape)
    padded = np.full((rows * step, columns * step), np.nan, np.float32)
    padded[: data.shape[0], : data.shape[1]] = data
    blocks = padded.reshape(rows, step, columns, step)
    finite = np.isfinite(blocks)
    count = finite.sum(axis=(1, 3))
    total = np.where(finite, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _fits(path: Path, title: str, extension: str | None, rows: int, side: int) -> Look:
    from prestow.formats.fits_cards import damaged
    from prestow.results.differences import opened_fits

    open_format("fits").check(path)  # astropy leaves out what a torn file lacks
    try:
        with opened_fits(path) as hdus:
            hdu = chosen_hdu(hdus, path, extension)
            name = hdu.name or str(hdus.index(hdu))
            if hdu.is_image:
                return _plane(hdu.data, f"{title} [{name}]", hdu.header.get("BUNIT", ""), side)
            table = {c.name: native(hdu.data[c.name][:rows]).tolist() for c in hdu.columns}
            return _table(f"{title} [{name}]", table, len(hdu.data))
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, ProjectError):
            raise
        raise damaged(f"cannot be read: {error}", str(path)) from error


def plane_of(data: Array) -> tuple[Array, bool]:
    """Give the first plane of an array, and whether there are more."""
    many = data.ndim > 2  # noqa: PLR2004 - a plane
    while data.ndim > 2:  # noqa: PLR2004 - a plane
        data = data[0]
    return data, many


def _plane(data: Array, title: str, unit: str, side: int) -> Look:
    import numpy as np

    notes = [
        f"{' x '.join(map(str, data.shape))} {data.dtype.newbyteorder('=')}{f', {unit}' if unit else ''}"
    ]
    data, many = plane_of(data)
    notes[:1] = [f"{notes[0]}, the first plane"] if many else notes[:1]
    finite = data[np.isfinite(data)]
    if finite.size:
        notes.append(f"min {finite.min():.6g}, median {np.median(finite):.6g}, max {finite.max():.6g}")
    if finite.size < data.size:
        notes.append(f"{data.size - finite.size:,} of {data.size:,} not finite")
    png, stretched = picture(data, side=side)
    return Look(title, "picture", (*notes, stretched), png)


def chosen_hdu(hdus: Any, path: Path, extension: str | None) -> Any:  # Any: astropy has no types
    """Give the extension that is meant; ``SCI``, else the first plane, else the first table, if none is named."""
    images = [h for h in hdus if h.is_image and h.data is not None and h.data.ndim > 1]
    tables = [h for h in hdus if not h.is_image and h.data is not None and h.name != TABLE]
    there = [*images, *tables]
    if extension is not None:
        known = {str(hdus.index(h)): h for h in there} | {h.name.upper(): h for h in there if h.name}
        found = known.get(extension.upper())
        if found is not None:
            return found
        names = ", ".join(h.name or str(hdus.index(h)) for h in there) or "none that can be shown"
        raise ProjectError(
            Problem("PST-G024", f"no extension '{extension}'", str(path), f"there are: {names}")
        )
    best = [h for h in images if h.name == "SCI"] or there
    if not best:
        raise ProjectError(Problem("PST-G024", "there is neither a plane nor a table in it", str(path)))
    return best[0]


def _table(title: str, columns: Mapping[str, Sequence[object]], total: int) -> Look:
    values = list(columns.values())
    count = len(values[0]) if values else 0
    notes = (
        f"{total:,} rows, {len(columns)} columns",
        *([f"the first {count:,} are shown"] if count < total else []),
    )
    rows = tuple(tuple(_cell(column[i]) for column in values) for i in range(count))
    return Look(title, "table", notes, header=tuple(columns), rows=rows)


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def _flat(at: str, value: object) -> list[list[object]]:
    if isinstance(value, Mapping) and value:
        return [
            row for key, inner in value.items() for row in _flat(f"{at}.{key}" if at else str(key), inner)
        ]
    plain = (
        value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False, default=str)
    )
    return [[at, plain]]
