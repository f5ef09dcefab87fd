"""Reading a sky map: YAML, checked as a whole, also for holes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from prestow.documents import Document, Key, check_schema, parse_document, read_document
from prestow.errors import Problem, raise_all
from prestow.model.data_id import check_value
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.sky import holes, tracts
from prestow.sky.angles import HELP, angle_text, read_angle
from prestow.sky.geometry import MAX_RADIUS
from prestow.sky.skymap import SkyMap
from prestow.sky.tracts import Layout

SCHEMA = "prestow.skymap/1"
KINDS = ("rings", "healpix", "list")
MOST_PATCHES = 5_000_000
MOST_RINGS, HIGHEST_ORDER = 1000, 8
PADDING = "2 arcmin"


def load_skymap(path: Path) -> SkyMap:
    """Read a sky map from a YAML file.

    Raises
    ------
    ConfigurationError
        With every problem of the file; PST-S001 with a point in the hole if patches leave one.
    """
    return read_skymap(read_document(path))


def parse_skymap(text: str, source: str = "skymap.yaml") -> SkyMap:
    """Read a sky map from a text; ``source`` names it in errors."""
    return read_skymap(parse_document(text, source))


def read_skymap(document: Document) -> SkyMap:
    """Turn a document into a sky map, or raise with every problem in it."""
    data = document.data
    problems = document.check_keys(
        (), data, required=("schema", "name", "version", "tracts", "patches"), optional=("padding",)
    )
    if not isinstance(data, dict):
        raise_all(problems)
    top = cast("dict[str, object]", data)
    problems += check_schema(document, top, SCHEMA)
    name = top.get("name", "")
    if not isinstance(name, str) or not name or check_value(name):
        problems.append(document.problem("PST-C013", ("name",), "must be text that a data ID can hold"))
    version = top.get("version", 1)
    problems += document.check_type(("version",), version, int)
    padding = _angle(document, ("padding",), top.get("padding", PADDING), problems)
    kind, layout, said = _tracts(document, top.get("tracts"), problems)
    columns, rows, inner, border = _patches(document, top.get("patches"), kind, problems)
    raise_all(problems)
    assert layout is not None
    if inner is None:
        inner = holes.needed(layout, columns, rows)
    plain = {
        "schema": SCHEMA, "name": name, "version": version, "tracts": {kind: said}, "padding": padding,
        "patches": {"columns": columns, "rows": rows, "inner": list(inner), "border": border},
    }  # fmt: skip
    text = canonical_json(plain)
    found = SkyMap(
        str(name), cast("int", version), sha256_hex(text.encode()), text, layout.numbers, layout.ra, layout.dec,
        layout.rotation, columns, rows, inner, border, padding,
    )  # fmt: skip
    raise_all(_whole(document, found, layout))
    return found


def skymap_from_text(text: str) -> SkyMap:
    """Read what `SkyMap.text` gave: a map that was checked before, so holes are not looked for again."""
    import json

    plain = json.loads(text)
    kind, said = next(iter(plain["tracts"].items()))
    layout = _layout(kind, said)
    patches = plain["patches"]
    return SkyMap(
        plain["name"], plain["version"], sha256_hex(text.encode()), text, layout.numbers, layout.ra, layout.dec,
        layout.rotation, patches["columns"], patches["rows"], (patches["inner"][0], patches["inner"][1]),
        patches["border"], plain["padding"],
    )  # fmt: skip


def _whole(document: Document, found: SkyMap, layout: Layout) -> list[Problem]:
    """Give what is wrong with the map as a whole: sizes, and holes."""
    count = len(found.tracts) * found.patches
    if count > MOST_PATCHES:
        what = f"{count:,} patches; a map has at most {MOST_PATCHES:,}"
        return [document.problem("PST-S002", ("patches",), what, "take larger patches, or fewer")]
    widest = float(found.tract_polygons().radii.max())
    if widest > MAX_RADIUS:
        what = f"a tract reaches {widest:.1f} deg from its centre; {MAX_RADIUS:.0f} deg is the bound of a tangent plane"
        return [
            document.problem("PST-S002", ("tracts",), what, "take more tracts, or fewer or smaller patches")
        ]
    short = holes.uncovered(found, layout)
    if short is not None:
        tract, ra, dec = short
        w, h = holes.needed(layout, found.columns, found.rows)
        what = f"the sky map has a hole: no patch of tract {tract} covers ra={ra:.6f} dec={dec:+.6f} (deg)"
        fix = f"let 'inner' be [{angle_text(w * 1.0001)}, {angle_text(h * 1.0001)}] or more, leave it out, or add patches"
        return [document.problem("PST-S001", ("patches", "inner"), what, fix)]
    between = holes.gap(found) if layout.half_width is None else None
    if between is not None:
        one, other, ra, dec = between
        what = f"the sky map has a hole between tracts {one} and {other}: nothing covers ra={ra:.6f} dec={dec:+.6f} (deg)"
        fix = "move the tracts together, add one, or let 'inner' or 'border' be larger"
        return [document.problem("PST-S001", ("tracts", "list"), what, fix)]
    return []


def _tracts(
    document: Document, value: object, problems: list[Problem]
) -> tuple[str, Layout | None, dict[str, object] | list[dict[str, object]]]:
    """Give the kind of tracts, where they lie, and what was said of them in degrees."""
    if value is None:
        return "rings", None, {}
    bad = document.check_keys(("tracts",), value, optional=KINDS)
    problems += bad
    if bad or not isinstance(value, dict):
        return "rings", None, {}
    if len(value) != 1:
        problems.append(
            document.problem(
                "PST-C013", ("tracts",), "tracts are of one kind", f"write one of {', '.join(KINDS)}"
            )
        )
        return "rings", None, {}
    kind, body = next(iter(value.items()))
    path: Key = ("tracts", kind)
    before = len(problems)
    said: dict[str, object] | list[dict[str, object]]
    if kind == "list":
        said = _listed(document, path, body, problems)
    else:
        word, least, most = ("number", 3, MOST_RINGS) if kind == "rings" else ("order", 1, HIGHEST_ORDER)
        problems += document.check_keys(path, body, required=(word,), optional=("overlap",))
        if not isinstance(body, dict):
            return kind, None, {}
        number = body.get(word, least)
        wrong = document.check_type((*path, word), number, int)
        problems += wrong
        if not wrong and not least <= number <= most:
            problems.append(document.problem("PST-C013", (*path, word), f"must be {least} to {most}"))
        said = {
            word: number,
            "overlap": _angle(document, (*path, "overlap"), body.get("overlap", "0 deg"), problems),
        }
    return kind, _layout(kind, said) if len(problems) == before else None, said


def _layout(kind: str, said: dict[str, object] | list[dict[str, object]]) -> Layout:
    if isinstance(said, list):
        columns = [[row[name] for row in said] for name in ("tract", "ra", "dec", "rotation")]
        number, ra, dec, rotation = columns
        return Layout(
            np.array(number, np.int64), np.array(ra, float), np.array(dec, float), np.array(rotation, float)
        )
    overlap = cast("float", said["overlap"])
    if kind == "rings":
        return tracts.rings(cast("int", said["number"]), overlap)
    return tracts.healpix(cast("int", said["order"]), overlap)


def _listed(document: Document, path: Key, body: object, problems: list[Problem]) -> list[dict[str, object]]:
    """Give the tracts of a list, by number."""
    problems += document.check_type(path, body, list)
    if isinstance(body, list) and not body:
        problems.append(document.problem("PST-C013", path, "there is no tract", "add one"))
    found: dict[int, dict[str, object]] = {}
    for i, item in enumerate(body if isinstance(body, list) else ()):
        at: Key = (*path, i)
        bad = document.check_keys(at, item, required=("tract", "ra", "dec"), optional=("rotation",))
        problems += bad
        if bad:
            continue
        number = item["tract"]
        wrong = document.check_type((*at, "tract"), number, int)
        problems += wrong
        row = {
            name: _angle(document, (*at, name), item.get(name, "0 deg"), problems, signed=True)
            for name in ("ra", "dec", "rotation")
        }
        if abs(row["dec"]) > 90:  # noqa: PLR2004 - degrees
            problems.append(document.problem("PST-C013", (*at, "dec"), "must be -90 deg to 90 deg"))
        if not wrong and number in found:
            problems.append(document.problem("PST-C013", (*at, "tract"), f"tract {number} stands twice"))
        elif not wrong:
            found[number] = {"tract": number, **row, "ra": row["ra"] % 360.0}
    return [found[number] for number in sorted(found)]


def _patches(
    document: Document, value: object, kind: str, problems: list[Problem]
) -> tuple[int, int, tuple[float, float] | None, float]:
    """Give columns, rows, inner size (None if it is to fit) and border."""
    if value is None:
        return 1, 1, None, 0.0
    required = ("columns", "rows", "inner") if kind == "list" else ("columns", "rows")
    bad = document.check_keys(("patches",), value, required=required, optional=("inner", "border"))
    problems += bad
    if not isinstance(value, dict):
        return 1, 1, None, 0.0
    numbers = []
    for name in ("columns", "rows"):
        number = value.get(name, 1)
        wrong = document.check_type(("patches", name), number, int)
        problems += wrong
        if not wrong and number < 1:
            problems.append(document.problem("PST-C013", ("patches", name), "must be 1 or more"))
        numbers.append(1 if wrong else number)
    border = _angle(document, ("patches", "border"), value.get("border", "0 deg"), problems)
    given = value.get("inner")
    inner: tuple[float, float] | None = None
    if given is not None:
        sizes = given if isinstance(given, list) else [given, given]
        if len(sizes) != 2:  # noqa: PLR2004 - width and height
            problems.append(
                document.problem("PST-C013", ("patches", "inner"), "one size, or width and height")
            )
        else:
            key: Key = ("patches", "inner")
            before = len(problems)
            width = _angle(document, key, sizes[0], problems)
            inner = (width, width if sizes is not given else _angle(document, key, sizes[1], problems))
            if min(inner) <= 0 and len(problems) == before:
                problems.append(document.problem("PST-C013", key, "must be more than 0"))
    return numbers[0], numbers[1], inner, border


def _angle(
    document: Document, path: Key, value: object, problems: list[Problem], *, signed: bool = False
) -> float:
    try:
        angle = read_angle(value)
    except ValueError as error:
        problems.append(document.problem("PST-C013", path, str(error), HELP))
        return 0.0
    if angle < 0 and not signed:
        problems.append(document.problem("PST-C013", path, "must not be negative", HELP))
    return angle
