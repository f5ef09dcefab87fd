"""``python -m prestow.verify PLAN``: prove the plan in a directory again; exit 0, or 4 with all that is wrong."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import json
import sys

from prestow.verify.checker import Report, verify

REFUSED, USAGE = 4, 2


def main(arguments: list[str]) -> int:
    """Check the plan in the directory that is named; give the exit code."""
    names = [word for word in arguments if word != "--json"]
    if len(names) != 1 or names[0].startswith("-"):
        print("usage: python -m prestow.verify PLAN_DIRECTORY [--json]", file=sys.stderr)
        return USAGE
    report = verify(names[0])
    if "--json" in arguments:
        print(json.dumps({"schema": "prestow.verify/1", **report.as_dict()}, ensure_ascii=False))
    else:
        print(text(report))
    return 0 if report.proved else REFUSED


def text(report: Report) -> str:
    """Give a report for people."""
    lines = [str(finding) for finding in report.findings]
    total, number = report.totals, len(report.findings)
    counts = f"{total.get('jobs', 0):,} jobs, {total.get('quanta', 0):,} quanta, {total.get('outputs', 0):,} outputs"
    verdict = "proved" if report.proved else f"damaged, in {number} way{'s' if number > 1 else ''}"
    return "\n".join([*lines, f"plan {report.plan[:8] or '?'}  run {report.run or '?'}  {counts}: {verdict}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
