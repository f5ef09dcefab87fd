"""``python -m prestow.verify PLAN [DIR]``: prove the plan in a directory again, and what was emitted of it; exit 0 or 4."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import json
import sys
from pathlib import Path

from prestow.verify.checker import Report, verify
from prestow.verify.emitted import EmittedReport, verify_emitted

REFUSED, USAGE = 4, 2


def main(arguments: list[str]) -> int:
    """Check the plan in the directory that is named, and the emission in another; give the exit code."""
    names = [word for word in arguments if word != "--json"]
    if len(names) not in (1, 2) or any(name.startswith("-") for name in names):
        print("usage: python -m prestow.verify PLAN_DIRECTORY [EMITTED_DIRECTORY] [--json]", file=sys.stderr)
        return USAGE
    report = verify(names[0])
    written = verify_emitted(*names) if len(names) > 1 and report.proved else None
    if "--json" in arguments:
        found = {"schema": "prestow.verify/1", **report.as_dict()}
        if written is not None:
            found["emitted"] = {"directory": names[1], **written.as_dict()}
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(text(report))
        if written is not None:
            print(emitted_text(written, Path(names[1])))
    return 0 if report.proved and (written is None or written.proved) else REFUSED


def emitted_text(report: EmittedReport, directory: Path) -> str:
    """Give a report of an emitted directory for people."""
    lines = [str(finding) for finding in report.findings]
    number = len(report.findings)
    parts = f" in {report.parts:,} parts" if report.parts else ""
    counts = f"{report.jobs:,} jobs{parts}, {report.edges:,} edges, {report.files:,} files brought"
    verdict = "as planned" if report.proved else f"damaged, in {number} way{'s' if number > 1 else ''}"
    return "\n".join([*lines, f"emitted {directory}  {counts}: {verdict}"])


def text(report: Report) -> str:
    """Give a report for people."""
    lines = [str(finding) for finding in report.findings]
    total, number = report.totals, len(report.findings)
    counts = f"{total.get('jobs', 0):,} jobs, {total.get('quanta', 0):,} quanta, {total.get('outputs', 0):,} outputs"
    verdict = "proved" if report.proved else f"damaged, in {number} way{'s' if number > 1 else ''}"
    return "\n".join([*lines, f"plan {report.plan[:8] or '?'}  run {report.run or '?'}  {counts}: {verdict}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
