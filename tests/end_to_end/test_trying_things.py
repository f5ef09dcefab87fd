"""Trying things: a sample of a campaign, one task of it, two runs compared, a run removed, a quick look."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, inside) -> Path:
    """Give a project with its raw files taken in: eight visits, four in each of g and r."""
    inside("init", "demo", cwd=tmp_path)
    root = tmp_path / "demo"
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def test_a_sample_runs_and_leaves_production_alone(project: Path, inside) -> None:
    answer = inside("plan", "--sample", 2, cwd=project)
    assert "sample: 2 of " in answer.out
    facts = inside("plan", "--sample", 2, "--json", cwd=project).json
    assert facts["run"].endswith(".sample2")
    assert len(facts["sample"]["chosen"]) == 2
    inside("run", "--engine", "local", cwd=project)
    assert inside("status", "--json", cwd=project).json["counts"]["pending"] == 0
    whole = inside("plan", "--json", cwd=project).json
    assert (whole["exist"], whole["sample"]) == (0, None)
    assert whole["run"] + ".sample2" == facts["run"]
