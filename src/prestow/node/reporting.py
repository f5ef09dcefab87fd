r"""Attempt reports on standard output, between markers: an engine that moves files brings them home.

Whatever else a job prints, a line of JSON stands between `BEGIN` and `END` for each try, in ASCII.

Examples
--------
>>> text = block({"job": "isr-1", "attempt": "a", "quanta": []})
>>> text.splitlines()[0], list(reports_in("other words\n" + text))
('-----BEGIN PRESTOW REPORT-----', [{'attempt': 'a', 'job': 'isr-1', 'quanta': []}])
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

BEGIN = "-----BEGIN PRESTOW REPORT-----"
END = "-----END PRESTOW REPORT-----"

MOST = 18_000
"""Bytes of all reports of one job: what kickstart brings home has an end."""

Values = Mapping[str, Any]  # Any: JSON values


def block(report: Values, most: int = MOST) -> str:
    """Give a report with its markers, in no more than about so many bytes.

    What must go to that end goes in this order: ends of logs, what was read, quanta without a failure,
    the other quanta. Then ``cut`` says so.
    """
    return f"{BEGIN}\n{_short(report, most - len(BEGIN) - len(END) - 3)}\n{END}\n"


def reports_in(text: str) -> Iterator[dict[str, Any]]:  # Any: JSON values
    """Give the reports that stand in a text, also if its lines were indented; a damaged one is left out."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() != BEGIN:
            continue
        inside = []
        for part in lines:
            if part.strip() == END:
                break
            inside.append(part.strip())
        else:
            return
        try:
            report = json.loads("".join(inside))
        except ValueError:
            continue
        if isinstance(report, dict):
            yield report


def _short(report: Values, most: int) -> str:
    cuts: tuple[Callable[[dict[str, Any]], object], ...] = (
        *(_Logs(lines) for lines in (10, 3, 0)), _without_reads, _only_failed(20), _only_failed(3), _without_findings, _only_failed(0),
    )  # fmt: skip
    text = _line(report)
    if len(text) <= most:
        return text
    short: dict[str, Any] = json.loads(text)
    short["cut"] = True
    for cut in cuts:
        cut(short)
        text = _line(short)
        if len(text) <= most:
            break
    return text


def _line(report: Values) -> str:
    return json.dumps(report, sort_keys=True, separators=(",", ":"))


class _Logs:
    """Leaves so many lines of each log, and of a line and a message the beginning."""

    def __init__(self, lines: int) -> None:
        self.lines = lines

    def __call__(self, report: dict[str, Any]) -> None:
        for quantum in report.get("quanta", ()):
            for failure in quantum.get("failures", ()):
                tail = failure.get("log_tail", ())
                failure["log_tail"] = [line[:200] for line in tail[len(tail) - self.lines :] if self.lines]
                failure["message"] = failure.get("message", "")[: 200 + 80 * self.lines]


def _without_reads(report: dict[str, Any]) -> None:
    for quantum in report.get("quanta", ()):
        quantum.pop("reads", None)


def _only_failed(most: int) -> Callable[[dict[str, Any]], None]:
    def cut(report: dict[str, Any]) -> None:
        report["quanta"] = [q for q in report.get("quanta", ()) if q.get("failures")][:most]

    return cut


def _without_findings(report: dict[str, Any]) -> None:
    report["findings"] = []
