"""HTML as notebooks show it: small tables, escaped, of one piece, and without any script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def states_table(tasks: Mapping[str, Mapping[str, int]], *, caption: str, notes: Iterable[str] = ()) -> str:
    """Give tasks and the states of their quanta as HTML, with a last row for all of them.

    States that no task has are left out.
    """
    there = dict.fromkeys(state for counts in tasks.values() for state, n in counts.items() if n)
    rows: list[list[object]] = [
        [task, *(counts.get(state, 0) for state in there), sum(counts.values())]
        for task, counts in tasks.items()
    ]
    sums = [sum(counts.get(state, 0) for counts in tasks.values()) for state in there]
    rows.append(["total", *sums, sum(sums)])
    return html_table(["task", *there, "sum"], rows, caption=caption, notes=notes)


def counted(counts: Mapping[str, int]) -> str:
    """Give counts in words, without those that are nothing.

    Examples
    --------
    >>> counted({"made": 1200, "lost": 0, "failed": 1})
    '1,200 made, 1 failed'
    """
    return ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) or "nothing"


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td style="text-align:right">{value if isinstance(value, int) else f"{value:g}"}</td>'
    return f"<td>{'' if value is None else escape(str(value))}</td>"
