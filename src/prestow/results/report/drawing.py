"""What is drawn: lanes of a timeline, boxes of times, maps of states. Inline SVG, and tables where text will do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prestow.results.report.facts import SEVERITY, SYMBOLS, Lane, StateMap, Timeline
from prestow.results.report.html import text

WIDTH = 1000
WIDE = 40, 80
"""Columns of a map above which its cells are small, and smaller."""

_CLASSES = {SYMBOLS["made"]: "", SYMBOLS["pending"]: "p", " ": "x"}
"""Classes of cells that are not their symbols."""


def duration(seconds: float) -> str:
    """Give a duration as people read it.

    Examples
    --------
    >>> [duration(s) for s in (0.0021, 0.21, 12.34, 75, 5000, 200_000)]
    ['2.1 ms', '0.21 s', '12.3 s', '1:15 min', '1:23 h', '2.3 d']
    """
    if seconds < 0.01:  # noqa: PLR2004 - below that a second has too many zeros
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 86400:  # noqa: PLR2004 - a day
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{seconds / 86400:.1f} d"


def timeline(found: Timeline) -> str:
    """Draw a timeline: a lane for each process or host, with the workers that vanished above."""
    parts = ['<div class="lanes">']
    if found.deaths:
        marks = "".join(
            f'<b style="left:{_percent(at, found.seconds)}%" title="{text(f"{duration(at)}: {job}: {why}")}">✕</b>'
            for at, job, why in found.deaths[:200]
        )
        parts.append(
            f'<span class="name">workers lost</span><div class="marks">{marks}</div><span class="note">{len(found.deaths):,} ✕</span>'
        )
    for lane in found.lanes:
        drawing = _binned(lane) if lane.busy else _bars(lane, found.seconds)
        said = _said(lane, found)
        parts.append(
            f'<span class="name" title="{text(lane.name)}">{text(lane.name)}</span>'
            f'<svg viewBox="0 0 {WIDTH} 16" preserveAspectRatio="none" role="img" aria-label="{text(f"{lane.name}: {said}")}">{drawing}</svg>'
            f'<span class="note">{said}</span>'
        )
    parts.append(
        f'<span class="empty"></span><div class="axis" aria-hidden="true">{_ticks(found.seconds)}</div><span class="empty"></span></div>'
    )
    return "\n".join(parts)


def _percent(at: float, whole: float) -> str:
    return f"{100 * min(at / whole, 1):.2f}"


def _bars(lane: Lane, seconds: float) -> str:
    scale = WIDTH / seconds
    return "".join(
        f'<rect{"" if state == "made" else f" class={state}" if state in SEVERITY else ""} x="{begin * scale:.1f}" '
        f'width="{max(length * scale, 0.8):.1f}" height="16"><title>{text(job)} {state} {duration(length)}</title></rect>'
        for begin, length, state, job in lane.bars
    )


def _binned(lane: Lane) -> str:
    width = WIDTH / len(lane.busy)
    points = "".join(f"H{i * width:.0f}V{16 - 16 * busy:.1f}" for i, busy in enumerate(lane.busy))
    failed = "".join(
        f'<rect class="failed" x="{i * width:.0f}" y="13" width="{max(width, 2):.0f}" height="3"/>'
        for i, n in enumerate(lane.failed)
        if n
    )
    return f'<path d="M0 16{points}H{WIDTH}V16Z"/>{failed}'


def _said(lane: Lane, found: Timeline) -> str:
    if lane.busy:
        busy, failed = sum(lane.busy) / len(lane.busy), sum(lane.failed)
    else:
        busy = min(sum(bar[1] for bar in lane.bars) / found.seconds, 1)
        failed = sum(bar[2] == "failed" for bar in lane.bars)
    workers = f"{lane.workers:,} workers, " if lane.workers > 1 else ""
    return f"{workers}busy {busy:.0%}{f', {failed:,} failed' if failed else ''}"


def _ticks(seconds: float) -> str:
    """Give five moments of an axis."""
    moments = [seconds * i / 4 for i in range(5)]
    return "".join(
        f'<span style="left:{25 * i}%">{duration(at) if at else "0"}</span>' for i, at in enumerate(moments)
    )


def box(five: Sequence[float], low: float, high: float, asked: float | None = None) -> str:
    """Draw minimum, quartiles and maximum on a logarithmic axis from ``low`` to ``high``."""
    span = max(math.log(high / low), 1e-9)

    def at(value: float) -> float:
        return round(200 * min(max(math.log(max(value, low) / low) / span, 0), 1), 1)

    least, lower, middle, upper, most = map(at, five)
    mark = (
        ""
        if asked is None
        else f'<line x1="{at(asked)}" x2="{at(asked)}" y1="0" y2="16" stroke-dasharray="2 2"/>'
    )
    return (
        f'<svg class="box" viewBox="0 0 200 16" preserveAspectRatio="none" aria-hidden="true"><line x1="{least}" x2="{most}" y1="8" y2="8"/>'
        f'<rect x="{lower}" y="2" width="{max(upper - lower, 1):.1f}" height="12"/>'
        f'<line class="mid" x1="{middle}" x2="{middle}" y1="1" y2="15"/>{mark}</svg>'
    )


def state_map(found: StateMap, name: str) -> str:
    """Draw a map as a table, in which each cell has its symbol and its colour."""
    short = [_short(text_) for text_ in found.column_names]
    step = max(-(-max(map(len, short), default=1) // 2), 1)
    heads = "".join(
        f'<th scope="col" title="{text(full)}">{text(label) if i % step == 0 else ""}</th>'
        for i, (full, label) in enumerate(zip(found.column_names, short, strict=True))
    )
    rows = []
    for label, cells in zip(found.row_names, found.cells, strict=True):
        row = "".join(f"<td{_class(cell)}>{cell}" for cell in cells)
        rows.append(f'<tr><th scope="row">{text(label)}</th>{row}</tr>')
    corner = text(f"{found.rows} ↓  {found.columns} →")
    return (
        f'<div class="map{_dense(found)}" tabindex="0" role="group" aria-label="{text(_words(found))}" data-told="{name}-at" data-rows="{text(found.rows)}" '
        f'data-columns="{text(found.columns)}"><table><thead><tr><th>{corner}</th>{heads}</tr></thead><tbody>\n'
        + "\n".join(rows)
        + f'</tbody></table></div><div class="said-at" id="{name}-at" aria-live="polite"></div>'
    )


def _dense(found: StateMap) -> str:
    columns = len(found.column_names)
    return " denser" if columns > WIDE[1] else " dense" if columns > WIDE[0] else ""


def _words(found: StateMap) -> str:
    counts = ", ".join(f"{n} {word}" for word, n in found.counts.items())
    return f"map of {found.rows} by {found.columns}: {counts}; arrow keys tell each cell"


def _class(cell: str) -> str:
    name = _CLASSES.get(cell, cell)
    return f" class={name}" if name else ""


def _short(label: str) -> str:
    return label.split(" … ", 1)[0]
