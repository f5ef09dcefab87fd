"""The report as one page of HTML, without anything from elsewhere: style, script, drawings and data are in it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from prestow.results.report.answers import SECTIONS, head
from prestow.results.report.facts import Report
from prestow.results.report.html import data, moment, text

LARGEST = 1_000_000
"""Bytes that a page stays below: without rows of all jobs in its data, if need be."""

_FIELD = re.compile(r"\{\{([a-z-]+)\}\}")


@cache
def _part(name: str) -> str:
    return (files("prestow.results.report") / name).read_text("utf-8")


def page(report: Report) -> str:
    """Give a report as a page of HTML.

    It stays below `LARGEST` bytes: where it would not, its data has no row for each job, and says so.
    """
    script, style = _part("page.js"), _part("page.css")
    found = [(name, title, body) for name, title, build in SECTIONS if (body := build(report))]
    facts = report.as_dict()
    fields = {
        "script-hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        "title": text(f"{report.facts['run']}: {report.verdict}"),
        "style": style, "script": script,
        "head": head(report),
        "nav": "".join(f'<a href="#{name}">{text(title)}</a>' for name, title, _ in found),
        "sections": "\n".join(body for _, _, body in found),
        "foot": _foot(report),
        "data": "",
    }  # fmt: skip
    size = len(_filled(fields).encode())
    fields["data"] = _fitting(facts, LARGEST - size)
    return _filled(fields)


def _filled(fields: dict[str, str]) -> str:
    return _FIELD.sub(lambda match: fields[match[1]], _part("page.html"))


def _fitting(facts: dict[str, Any], room: int) -> str:  # Any: JSON values
    """Give the data again as JSON, as much as there is room for: without jobs, then without what is shown anyway."""
    for left_out in (
        (),
        ("jobs",),
        ("jobs", "unmade", "timeline"),
        tuple(k for k in facts if k not in ("schema", "verdict", "counts", "tasks")),
    ):
        kept = {key: value for key, value in facts.items() if key not in left_out}
        encoded = data({**kept, "left_out": list(left_out)})
        if len(encoded) < room:
            break
    return encoded


def _foot(report: Report) -> str:
    written = report.facts["written"]
    return (
        f"<p>Written by prestow {text(written['prestow'])} for {text(written['by'])} on {moment(written['at'])}. "
        "Truth is receipts; times are from reports of attempts and the journal. The data is in this page again, "
        "as JSON in the element <code>#data</code>. Keys: <kbd>/</kbd> goes to a filter, <kbd>Esc</kbd> clears it, arrows walk a map.</p>"
    )
