"""What another terminal sees of a run that is under way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prestow.testing.campaigns import Campaign


def status(directory: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "prestow", "-C", str(directory), "--json", "status"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def test_status_tells_the_truth_while_a_run_is_under_way_and_afterwards(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    waits = {"what": "nothing", "until_gone": str(gate)}
    campaign = Campaign(tmp_path / "toy", visits=4, do={3: {"shift": waits}})
    plan = campaign.plan()
    directory = campaign.directory
    assert status(directory)["run_under_way"] is None
    command = [sys.executable, "-m", "prestow", "-C", str(directory), "-q", "run", "--workers", "2"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        seen = status(directory)
        for _ in range(200):
            if seen["counts"]["made"] == 7 or running.poll() is not None:
                break
            time.sleep(0.1)
            seen = status(directory)
    finally:
        gate.unlink()
    assert seen["counts"] == {**dict.fromkeys(seen["counts"], 0), "made": 7, "pending": 2}
    now = seen["run_under_way"]
    assert (now["alive"], now["jobs"]) == (True, 9)
    assert now["ended"] + now["with_engine"] + now["waiting"] == 9
    assert now["with_engine"] >= 1
    assert running.wait() == 0
    after = status(directory)
    assert after["counts"]["made"] == plan.tables["quanta"].height == 9
    assert (after["run_under_way"]["alive"], after["run_under_way"]["ended"]) == (False, 9)
