"""The report of 100,000 tries with twelve planted causes: how long it takes, how large the page is, that it says twelve."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import polars as pl  # noqa: E402
import report_campaign  # noqa: E402 - the house beside this file, installed or not

from prestow.results.failures import grouped  # noqa: E402
from prestow.results.report import answer, gather, page  # noqa: E402
from prestow.results.report.gathering import Around  # noqa: E402

VISITS, DETECTORS = 333, 100


def main() -> int:
    simulated = report_campaign.simulate(VISITS, DETECTORS)
    tries = simulated.plan.document["totals"]["quanta"]
    print(f"# {tries:,} receipts and reports, {simulated.failed:,} failures", file=sys.stderr)
    begin = time.perf_counter()
    report = gather(simulated.plan, simulated.store, around=Around(journal=simulated.journal))
    gathered = time.perf_counter() - begin
    begin = time.perf_counter()
    text = page(report)
    drawn = time.perf_counter() - begin
    said = (
        pl.when(pl.col("message") == "")
        .then(pl.format("OddError: {} of 7", "quantum"))
        .otherwise(pl.col("message"))
    )
    rows = pl.DataFrame(report_campaign.rows(100_000)).with_columns(code=pl.lit("PST-N007"), message=said)
    begin = time.perf_counter()
    groups = grouped(rows)
    took = time.perf_counter() - begin
    lines = answer(report).splitlines()[:25]
    named = sum(any(cause.cause[:40] in line for line in lines) for cause in report.causes)
    for name, value, unit in (
        ("report-gather", gathered, "s"), ("report-page", drawn, "s"), ("report-page-size", len(text.encode()), "bytes"),
        ("report-causes", len(report.causes), "groups"), ("failures-grouped", sum(g.count for g in groups) / took, "failures/s"),
    ):  # fmt: skip
        print(json.dumps({"name": name, "value": round(value, 3), "unit": unit}))
    print("\n".join(lines), file=sys.stderr)
    return 0 if len(report.causes) == named == 12 else 1


if __name__ == "__main__":
    raise SystemExit(main())
