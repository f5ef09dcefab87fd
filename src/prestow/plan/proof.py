"""The one thing that the checker of plans cannot know: that its document is the one people read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import yaml

from prestow.documents import Loader
from prestow.verify import Finding, Report

SHOWN = 5


def compare_documents(directory: Path, report: Report) -> Report:
    """Add to a report where ``plan.yaml`` and ``proof.json`` differ (PST-V004), or cannot be read."""
    try:
        read = yaml.load((directory / "plan.yaml").read_bytes(), Loader=Loader)  # noqa: S506 - the safe loader
        proved = json.loads((directory / "proof.json").read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        if any(f.code == "PST-V001" for f in report.findings):
            return report
        return _with(report, "PST-V001", [f"plan.yaml: {str(error).splitlines()[0]}"])
    if not isinstance(read, dict) or not isinstance(proved, dict):
        return _with(report, "PST-V002", ["plan.yaml: not a mapping"]) if proved else report
    keys = sorted(key for key in {*read, *proved} if read.get(key) != proved.get(key))
    return _with(report, "PST-V004", [f"plan.yaml and proof.json differ in '{key}'" for key in keys])


def _with(report: Report, code: str, places: list[str]) -> Report:
    if not places:
        return report
    one = next((f for f in report.findings if f.code == code), Finding(code, 0, ()))
    more = Finding(code, one.count + len(places), (*one.examples, *places)[:SHOWN])
    others = [f for f in report.findings if f.code != code]
    return replace(report, findings=tuple(sorted([*others, more], key=lambda f: f.code)))
