"""Every way of handing a plan to Pegasus, each proved against the plan by what shares no code with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prestow.verify.emitted import verify_emitted

WAYS = {
    "store": {},
    "landing": {"products": "landing"},
    "flat": {"layout": "flat"},
    "flat landing": {"layout": "flat", "products": "landing"},
    "tar": {"layout": "tar"},
    "tar landing": {"layout": "tar", "products": "landing"},
    "staged by the node": {"staging": "prestow", "scratch": "/local/prestow"},
    "zipapp": {"node": "zipapp"},
    "parts": {"workflow_jobs": 3},
    "parts landing": {"workflow_jobs": 3, "products": "landing"},
    "growing, throttled": {"memory_growth": 2.0, "throttle": {"calibrate": 2}},
}


def emitted(root: Path, inside: Any, site_file: Any, into: Path, **more: Any) -> Path:
    site = yaml.safe_load(site_file(root).read_text())
    site |= {key: more.pop(key) for key in ("layout", "scratch") if key in more}
    site["pegasus"].update(more)
    if more.get("products") == "landing":
        del site["stores"]["archive"]
    file = into.with_name(f"{into.name}.yaml")
    file.write_text(json.dumps(site))
    inside("emit", "pegasus", "--site", file, "--into", into, cwd=root)
    return into


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_is_proved_against_the_plan(
    way: str, planned: Path, inside: Any, site_file: Any, tmp_path: Path
) -> None:
    out = emitted(planned, inside, site_file, tmp_path / "out", **WAYS[way])
    plan = next(p for p in (planned / "plans").iterdir() if (p / "plan.yaml").exists())
    report = verify_emitted(plan, out)
    assert report.proved, report.findings
    assert report.jobs == 10
    said = json.loads((out / "submission.json").read_text())
    assert (said["jobs"], said["parts"] > 0) == (10, "parts" in way)
    again = emitted(planned, inside, site_file, tmp_path / "out", **WAYS[way])
    assert again == out
    workflow = json.loads((out / "workflow.yml").read_text())
    profiles = [job.get("profiles", {}) for job in workflow["jobs"]]
    if way == "growing, throttled":
        assert all("DAGNodeRetry" in p["condor"]["request_memory"] for p in profiles)
    if "landing" in way and "parts" not in way:
        made = [use for job in workflow["jobs"] for use in job["uses"] if use["type"] == "output"]
        assert all(use["stageOut"] for use in made)
        assert all("--land" in job["arguments"] for job in workflow["jobs"])
    if "tar" in way:
        assert any((out / "inputs").rglob("*.tar"))
