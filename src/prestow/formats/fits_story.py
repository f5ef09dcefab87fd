"""The story in FITS: cards of the primary header, and the table ``PSTINPUT``.

Standard library only, as `prestow.formats.fits_cards`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from prestow.formats import STORY_SCHEMA, Story, StoryInput, StoryRoot
from prestow.formats.fits_cards import CARD, Value, card, cards_of, damaged, finish_header, ones_sum, padded
from prestow.model.data_id import DataId
from prestow.model.hashing import canonical_json

TABLE: Final = "PSTINPUT"
_MOST_ABSENT: Final = 999  # three digits in a keyword; the table has them all

_CARDS: Final = (
    # keyword, attribute of the story, comment
    ("PSTTYPE", "type", "dataset type"),
    ("PSTID", "id", "dataset id"),
    ("PSTRUN", "run", "run"),
    ("PSTTASK", "task", "task"),
    ("PSTTVERS", "version", "version of the task's code"),
    ("PSTRCPE", "recipe", "actual recipe"),
    ("PSTPRCP", "planned_recipe", "planned recipe"),
    ("PSTNPLAN", "planned", "inputs planned"),
    ("PSTNUSED", "used", "inputs used"),
)
_KEYS: Final = frozenset(
    f"{key:8}".encode() for key in ("PSTVERS", "PSTDATA", *(row[0] for row in _CARDS), "CHECKSUM", "DATASUM")
)
_COMMENT: Final = " / data ID"
_ONE_CARD: Final = CARD - len("PSTDATA = ''")
_WITH_COMMENT: Final = _ONE_CARD - len(_COMMENT)
_QUOTE_SLASH: Final = re.compile("' */")
_ROLES: Final = ("parent", "root")
_COLUMNS: Final = ("ROLE", "CONNECT", "TYPE", "DATAID", "ID", "STATE", "CODE", "SHA256", "RECIPE")


class ToldInput(NamedTuple):
    """As `prestow.formats.StoryInput`, made at a tenth of its cost."""

    connection: str
    type: str
    data_id: str
    id: str
    state: str
    code: str
    sha256: str
    recipe: str


class ToldRoot(NamedTuple):
    """As `prestow.formats.StoryRoot`."""

    type: str
    data_id: str
    id: str


class Told(NamedTuple):
    """As `prestow.formats.Story`."""

    type: str
    id: str
    run: str
    data_id: str
    task: str
    version: str
    recipe: str
    planned_recipe: str
    planned: int
    used: int
    inputs: Sequence[ToldInput]
    roots: Sequence[ToldRoot]


def science_cards(header: bytes) -> Iterator[bytes]:
    """Give the cards that are not of a story (nor of its parents' stories) or a checksum.

    Only the keywords that prestow writes are taken for its own: a camera's ``PSTART`` stays.
    """
    dropped = False
    for line in cards_of(header):
        key = line[:8]
        if key == b"CONTINUE" and dropped:
            continue
        dropped = is_of_story(key)
        if not dropped:
            yield line


def is_of_story(key: bytes) -> bool:
    """Say whether a keyword, padded to eight bytes, is one of a story's or of a checksum."""
    return key in _KEYS or (key[:5] == b"PSTAB" and key[5:].isdigit())


def data_id_card(text: str) -> bytes:
    """Give the cards of a data ID."""
    if (
        len(text) <= _ONE_CARD
        and "'" not in text
        and "/" not in text
        and text.isascii()
        and text.isprintable()
    ):
        value = f"PSTDATA = '{text:8}'".ljust(30)
        return f"{value}{_COMMENT if len(text) <= _WITH_COMMENT else ''}".ljust(CARD).encode("ascii")
    return card("PSTDATA", _guarded(_ascii_json(text)), "data ID")


def story_cards(story: Story | Told) -> bytes:
    """Give the cards of a story."""
    cards = [card("PSTVERS", STORY_SCHEMA, "schema of these cards (prestow)")]
    cards += [card(key, _printable(getattr(story, name)), comment) for key, name, comment in _CARDS]
    cards.append(data_id_card(story.data_id))
    absent = [given for given in story.inputs if given.state != "made"]
    for number, given in enumerate(absent[:_MOST_ABSENT], 1):
        state = f"{given.state}:{given.code}" if given.code else given.state
        name = str(DataId.from_json(given.data_id)).encode("ascii", "backslashreplace").decode()
        text = _printable(_guarded(f"{given.type}{{{name}}}: {state}"))
        cards.append(card(f"PSTAB{number:03}", text, "absent input"))
    return b"".join(cards)


def story_table(story: Story) -> bytes:
    """Give the extension that lists the inputs, whole: header, rows, padding."""
    rows, widths, count = table_rows(story)
    data = rows.ljust(padded(len(rows)), b"\0")
    return finish_header(table_head(widths, count), ones_sum(data)) + data


def table_rows(story: Story | Told) -> tuple[bytes, tuple[int, ...], int]:
    """Give the rows of the table, the widths of its columns, and how many rows there are."""
    return laid_out(
        [
            (
                "parent",
                i.connection,
                i.type,
                _ascii_json(i.data_id),
                i.id,
                i.state,
                i.code,
                i.sha256,
                i.recipe,
            )
            for i in story.inputs
        ]
        + [("root", "", r.type, _ascii_json(r.data_id), r.id, "", "", "", "") for r in story.roots]
    )


def laid_out(rows: Sequence[tuple[str, ...]]) -> tuple[bytes, tuple[int, ...], int]:
    """Give rows of text as those of the table, one column as wide as its longest text."""
    if not rows:
        return b"", (1,) * len(_COLUMNS), 0
    widths = tuple([max(map(len, column)) or 1 for column in zip(*rows, strict=True)])
    for row in rows:
        _printable("".join(row))
    text = "".join([text.ljust(width, "\0") for row in rows for text, width in zip(row, widths, strict=True)])
    return text.encode("ascii"), widths, len(rows)


def table_head(widths: Sequence[int], count: int) -> bytes:
    """Give the header of the table up to its checksums."""
    header = [
        card("XTENSION", "BINTABLE", "binary table"),
        card("BITPIX", 8, "bytes"),
        card("NAXIS", 2, "a table"),
        card("NAXIS1", sum(widths), "bytes in a row"),
        card("NAXIS2", count, "rows"),
        card("PCOUNT", 0, "no heap"),
        card("GCOUNT", 1, "one table"),
        card("TFIELDS", len(_COLUMNS), "columns"),
        card("EXTNAME", TABLE, "what this product was made from (prestow)"),
    ]
    for number, (name, width) in enumerate(zip(_COLUMNS, widths, strict=True), 1):
        header += [card(f"TTYPE{number}", name), card(f"TFORM{number}", f"{width}A")]
    return b"".join(header)


def read_cards_of_story(values: dict[str, Value], rows: Sequence[dict[str, str]], where: str) -> Story:
    """Give the story from the values of the primary header and the rows of the table."""
    if values["PSTVERS"] != STORY_SCHEMA:
        raise damaged(
            f"the story has schema {values['PSTVERS']!r}, not {STORY_SCHEMA}", where, "use a newer prestow"
        )
    strange = next((row["ROLE"] for row in rows if row.get("ROLE") not in _ROLES), None)
    if strange is not None:
        raise damaged(
            f"the table {TABLE} has a row whose role is {strange!r}, not one of {', '.join(_ROLES)}", where
        )
    try:
        found = {name: values[key] for key, name, _ in _CARDS}
        return Story(
            **found,  # type: ignore[arg-type]  # checked below, all at once
            data_id=_canonical(values["PSTDATA"]),
            inputs=tuple(
                StoryInput(
                    r["CONNECT"],
                    r["TYPE"],
                    _canonical(r["DATAID"]),
                    r["ID"],
                    r["STATE"],
                    r["CODE"],
                    r["SHA256"],
                    r["RECIPE"],
                )
                for r in rows
                if r["ROLE"] == "parent"
            ),
            roots=tuple(
                StoryRoot(r["TYPE"], _canonical(r["DATAID"]), r["ID"]) for r in rows if r["ROLE"] == "root"
            ),
        )
    except (KeyError, ValueError) as error:
        raise damaged(f"the story cannot be read: {error}", where) from error


def refuse_repeated(header: bytes, where: str) -> None:
    """Refuse a primary header in which a keyword of the story stands twice: nobody knows which counts."""
    seen: set[bytes] = set()
    for line in cards_of(header):
        key = line[:8]
        if key in seen:
            raise damaged(f"the keyword {key.decode('latin-1').strip()} of the story stands twice", where)
        if key[:3] == b"PST" and is_of_story(key):
            seen.add(key)


def read_rows(values: dict[str, Value], data: bytes, where: str) -> list[dict[str, str]]:
    """Give the rows of the table as text by column."""
    try:
        columns = []
        start = 0
        for number in range(1, int(values["TFIELDS"] or 0) + 1):
            width = int(str(values[f"TFORM{number}"]).removesuffix("A"))
            columns.append((str(values[f"TTYPE{number}"]), start, start + width))
            start += width
        return [
            {name: row[a:b].split(b"\0")[0].decode("ascii").rstrip(" ") for name, a, b in columns}
            for row in _rows(data, start)
        ]
    except (KeyError, ValueError) as error:
        raise damaged(f"the table {TABLE} cannot be read: {error}", where) from error


def _rows(data: bytes, width: int) -> Iterable[bytes]:
    return (data[start : start + width] for start in range(0, len(data), width)) if width else ()


def _ascii_json(text: str) -> str:
    """FITS text is ASCII: JSON says the rest with escapes, and `_canonical` takes it back."""
    return (
        text
        if text.isascii() and text.isprintable()
        else json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    )


def _guarded(text: str) -> str:
    """Escape slashes (as JSON may) where one follows a quote.

    FITS allows that, but astropy (to 8.0 at least) takes it for the end of the text.
    """
    return text.replace("/", "\\/") if _QUOTE_SLASH.search(text) else text


def _canonical(text: Value) -> str:
    return canonical_json(json.loads(str(text)))


def _printable(value: str | int) -> str | int:
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError(f"FITS cannot hold {value!r}")
    return value
