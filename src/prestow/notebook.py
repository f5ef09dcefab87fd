"""HTML as notebooks show it: small tables, escaped, of one piece, and without any script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    more: int = 0,
    notes: Iterable[str] = (),
) -> str:
    """Give a table as HTML.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequences
        None is shown as nothing; numbers stand to the right.
    caption : str
        Above the table.
    more : int
        How many rows there are that are not shown.
    notes : iterable of str
        Below the table, a line each.

    Examples
    --------
    >>> html_table(["task"], [["a<b"]])
    '<table><thead><tr><th>task</th></tr></thead><tbody><tr><td>a&lt;b</td></tr></tbody></table>'
    """
    parts = ["<table>"]
    if caption:
        parts.append(f'<caption style="text-align:left">{escape(caption)}</caption>')
    parts.append(f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in header)}</tr></thead><tbody>")
    parts += [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    parts.append("</tbody></table>")
    lines = [*([f"and {more:,} more"] if more > 0 else []), *notes]
    parts += [f"<div>{escape(line)}</div>" for line in lines]
    return "".join(parts)


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td style="text-align:right">{value if isinstance(value, int) else f"{value:g}"}</td>'
    return f"<td>{'' if value is None else escape(str(value))}</td>"
