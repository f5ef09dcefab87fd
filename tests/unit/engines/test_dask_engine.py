"""What only Dask has: workers that die, and a terminal's Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from prestow.engines.dask import DaskEngine  # noqa: E402
from prestow.errors import Exit, PrestowError  # noqa: E402
from prestow.results.status import status  # noqa: E402
from prestow.stores import open_store  # noqa: E402
from prestow.testing.campaigns import Campaign  # noqa: E402

pytestmark = pytest.mark.dask

COMMAND = """
import json, sys
from prestow.engines import open_engine
from prestow.testing.campaigns import Campaign
result = Campaign(sys.argv[1]).run(open_engine("dask", workers=2))
print(json.dumps({"counts": result.counts, "exit": int(result.exit_code), "lost": result.worker_losses}))
"""


def test_a_job_that_kills_its_workers_is_given_up_alone(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=4, do={2: {"double": {"what": "kill"}}})
    result = campaign.run(DaskEngine(2))
    assert result.counts == {"made": 6, "failed": 1, "pending": 2}
    (failure,) = result.failures
    assert (failure.code, failure.data_id, result.exit_code) == (
        "PST-R003",
        "instrument=toy,visit=2",
        Exit.FAILED,
    )
    now = status(campaign.plan(), open_store(campaign.stores["archive"]))
    assert [f.code for f in now.failures] == ["PST-R003"]


def test_a_worker_that_dies_once_costs_nothing_but_time(tmp_path: Path) -> None:
    once = {"what": "kill", "times": 1, "count": str(tmp_path / "n")}
    campaign = Campaign(tmp_path / "c", do={2: {"shift": once}}, clustered=True)
    result = campaign.run(DaskEngine(2))
    assert (result.counts, result.exit_code) == ({"made": 7}, Exit.OK)
    assert result.worker_losses >= 1


def test_where_no_worker_can_be_started_that_is_said(tmp_path: Path) -> None:
    """Locks between processes lie in /dev/shm; here it is one that nobody may write."""
    mounting = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*mounting, "true"], capture_output=True).returncode:
        pytest.skip("NOT TESTED: nothing can be mounted here (unshare --mount needs root)")
    campaign = Campaign(tmp_path)
    campaign.plan()
    command = [
        *mounting,
        sys.executable,
        "-m",
        "prestow",
        "run",
        "--engine",
        "dask",
        "--workers",
        "1",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    (problem,) = json.loads(done.stdout)["problems"]
    assert (done.returncode, problem["code"]) == (Exit.ENVIRONMENT, "PST-R010")
    assert "/dev/shm cannot be written" in problem["what"]
    assert "prestow run --engine local" in problem["fix"]


def test_two_clusters_at_once_do_not_meet_and_serve_nobody_else() -> None:
    """Dask warns where a port is taken, and a warning fails here."""
    import psutil

    with DaskEngine(1) as first, DaskEngine(1) as second:
        assert (first.link, second.link) == ("", "")
        listening = {
            c.laddr.ip
            for process in (psutil.Process(), *psutil.Process().children(recursive=True))
            for c in process.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN
        }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_ctrl_c_once_drains_and_twice_cancels(tmp_path: Path, times: int) -> None:
    do = {n: {"double": {"sleep": 0.4 if times == 1 else 30}} for n in range(1, 7)}
    Campaign(tmp_path, visits=6, do=do)
    script = tmp_path / "run.py"
    script.write_text(COMMAND)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, process_group=0
    )
    scratch = time.monotonic() + 60
    while not list((tmp_path / "plans").glob("*/journal.jsonl")) or (
        times == 1 and not list((tmp_path / "store").glob("_receipts/**/*.json"))
    ):
        assert process.poll() is None
        assert time.monotonic() < scratch
        time.sleep(0.02)
    if times == 2:
        time.sleep(5)  # workers have begun, as a rule; if not, it ends all the same
    import os

    for _ in range(times):  # as a terminal does: to the whole group, workers too
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    out, _ = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, result["exit"], result["lost"]) == (0, int(Exit.STOPPED), 0)
    assert "failed" not in result["counts"]
    assert sum(result["counts"].values()) == 13


@pytest.mark.parametrize("threads", [1, 2])
def test_somebody_elses_scheduler_serves_if_its_workers_have_one_thread(tmp_path: Path, threads: int) -> None:
    import distributed

    campaign = Campaign(tmp_path, visits=2)
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=threads,
        dashboard_address="127.0.0.1:0",
        local_directory=str(tmp_path),
    ) as cluster:
        engine = DaskEngine(address=cluster.scheduler_address)
        if threads == 1:
            result = campaign.run(engine)
            assert result.counts == {"made": 5}
            assert any("PYTHONHASHSEED" in note for note in result.notes)
        else:
            with pytest.raises(PrestowError) as caught:
                campaign.run(engine)
            assert caught.value.problems[0].code == "PST-R006"
