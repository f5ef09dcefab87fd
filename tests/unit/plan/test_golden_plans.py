"""Plans as text that a person can read, kept beside their requests.

``PRESTOW_UPDATE_GOLDEN=1`` rewrites them; look at the difference before it is committed.
"""

import os
from pathlib import Path

import polars as pl
import pytest

from prestow.documents import read_document
from prestow.pipeline import load_pipeline
from prestow.plan import Request, build_plan, summary
from prestow.testing.surveys import UNIVERSE, Survey

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/request.yaml"))


def text_of(plan):
    lines = [f"plan {plan.id}", ""]
    lines += [
        " ".join(f"{n}={getattr(row, n)}" for n in row.__dataclass_fields__) for row in summary(plan).tasks
    ]
    lines += [*summary(plan).left_out, ""]
    for stage in ("jobs", "job_edges", "left_out"):
        lines += [f"# {stage}", plan.explain(stage)]
    t = plan.tables
    for quantum in t["quanta"].iter_rows(named=True):
        lines.append(f"{quantum['quantum']} {quantum['task']} {quantum['data_id']} {quantum['recipe'].hex()}")
        for edges, arrow in ((t["inputs"], "<-"), (t["outputs"], "->")):
            mine = edges.filter(pl.col("quantum") == quantum["quantum"]).join(
                t["datasets"], on="dataset", maintain_order="left"
            )
            for row in mine.iter_rows(named=True):
                lines.append(
                    f"    {arrow} {row['connection']} {row['dataset']} {row['type']} {row['path'] or row['data_id']}"
                )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_a_request_gives_its_golden_plan(case):
    asked = read_document(GOLDEN / case / "request.yaml").data
    survey = Survey.make(asked["visits"], asked["detectors"])
    for kind, values in asked.get("missing", {}).items():
        survey = survey.without(kind, *(pl.col(name) == value for name, value in values.items()))
    pipeline = load_pipeline(GOLDEN / case / "pipeline.yaml", UNIVERSE)
    plan = build_plan(Request(asked["run"], pipeline, UNIVERSE, ("raw",), where=asked["where"]), survey)
    golden = GOLDEN / case / "plan.txt"
    if os.environ.get("PRESTOW_UPDATE_GOLDEN"):
        golden.write_text(text_of(plan), encoding="utf-8")
    assert text_of(plan) == golden.read_text(encoding="utf-8")
