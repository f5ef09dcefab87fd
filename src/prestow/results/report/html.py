"""HTML by hand: everything that anybody else wrote goes through `text`."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from prestow.node.outcome import printable

_TURNS = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What would turn the direction of a line, break it, or be no character at all."""


def text(value: object) -> str:
    r"""Give text for a page: no markup, no control character, nothing that turns lines around.

    Examples
    --------
    >>> text("a</script>\x07")
    'a&lt;/script&gt;\\x07'
    """
    return escape(plain(value))


def plain(value: object) -> str:
    """Give text without control characters but tabs and ends of lines, and nothing that turns lines around."""
    return _TURNS.sub(lambda match: f"\\u{ord(match[0]):04x}", printable(str(value)))


def data(value: object) -> str:
    r"""Give JSON that can stand in a script element.

    Examples
    --------
    >>> data({"log": "</script><!--"})
    '{"log":"\\u003c/script\\u003e\\u003c!--"}'
    """
    encoded = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its HTML, and what it is sorted by, if that is not its text."""

    html: str
    value: object = None
    kind: str = ""


def number(count: float | None) -> Cell:
    """Give a count; nothing to see where there is none."""
    if not count:
        return Cell('<span class="zero">·</span>', 0, "n")
    return Cell(f"{count:,}", count, "n")


def words(value: object, *, wrap: bool = False) -> Cell:
    """Give words."""
    return Cell(text(value), kind="wrap" if wrap else "")


def state(word: str, symbol: str) -> Cell:
    """Give a state: its symbol on its colour, and its name."""
    return Cell(
        f'<span class="state"><i class="key {word}" aria-hidden="true">{symbol}</i>{word}</span>', word
    )


def table(
    header: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Cell]],
    *,
    name: str,
    caption: str = "",
    total: Sequence[Cell] = (),
    sortable: bool = True,
    tall: bool = False,
) -> str:
    """Give a table; ``header`` are labels with ``n`` for columns of numbers, the first cell of a row is its head."""
    parts = [
        f'<div class="wide{" tall" if tall else ""}"{" tabindex=0" if tall else ""}><table id="{name}"{" class=sortable" if sortable else ""}>'
    ]
    if caption:
        parts.append(f"<caption>{text(caption)}</caption>")
    heads = "".join(f'<th scope="col"{_kind(kind)}>{text(label)}</th>' for label, kind in header)
    parts.append(f"<thead><tr>{heads}</tr></thead>\n<tbody>")
    parts += [_row(row) for row in rows]
    parts.append("</tbody>")
    if total:
        parts.append(f"<tfoot>{_row(total)}</tfoot>")
    parts.append("</table></div>")
    return "\n".join(parts)


def _row(cells: Sequence[Cell]) -> str:
    first, *rest = cells
    head = f'<th scope="row"{_value(first)}>{first.html}</th>'
    return f"<tr>{head}{''.join(f'<td{_kind(c.kind)}{_value(c)}>{c.html}</td>' for c in rest)}</tr>"


def _kind(kind: str) -> str:
    return f" class={kind}" if kind else ""


def _value(cell: Cell) -> str:
    return "" if cell.value is None else f' data-v="{text(cell.value)}"'


def filter_of(target: str, label: str) -> str:
    """Give an input that filters a table, or details, by words; hidden without a script."""
    return (
        f'<label class="filter" hidden>{text(label)} <input type="search" data-for="{target}" autocomplete="off" '
        f'spellcheck="false" placeholder="filter by words"> <output aria-live="polite"></output></label>'
    )


def definitions(pairs: Mapping[str, str] | Iterable[tuple[str, str]], *, kind: str = "said") -> str:
    """Give terms with what is said of them, which is HTML; what is empty is left out."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return (
        f'<dl class="{kind}">'
        + "".join(f"<dt>{text(term)}</dt><dd>{html}</dd>" for term, html in items if html)
        + "</dl>"
    )


def section(name: str, title: str, body: str, aside: str = "") -> str:
    """Give a section with its heading, and what stands beside it."""
    return f'<section id="{name}" aria-labelledby="{name}-h"><div class="top"><h2 id="{name}-h">{text(title)}</h2>{aside}</div>\n{body}\n</section>'


def codes(commands: Iterable[str]) -> str:
    """Give commands, a line each."""
    return "<br>".join(f"<code>{text(command)}</code>" for command in commands)


def counted(counts: Mapping[str, Any], most: int = 6) -> str:  # Any: numbers
    """Give names with their counts, the first of them."""
    names = [f"{text(name)} {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join(names) + (f" and {len(counts) - most:,} more" if len(counts) > most else "")


def moment(at: float) -> str:
    """Give a moment, seconds since 1970, in UTC."""
    found = dt.datetime.fromtimestamp(at, dt.UTC)
    return f'<time datetime="{found:%Y-%m-%dT%H:%M:%SZ}">{found:%Y-%m-%d %H:%M:%S} UTC</time>'
