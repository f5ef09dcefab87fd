"""``kill -9`` of a run, or of a worker, at random moments; then the same command once more.

A few moments by default; ``PRESTOW_FAULTS=full`` tries more than twenty.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")

from prestow.engines import open_engine  # noqa: E402
from prestow.errors import Exit  # noqa: E402
from prestow.ingest import ingest_outputs  # noqa: E402
from prestow.stores import open_store  # noqa: E402
from prestow.testing.campaigns import Campaign  # noqa: E402

pytestmark = [pytest.mark.dask, pytest.mark.slow]

FULL = os.environ.get("PRESTOW_FAULTS") == "full"
RUNS = 14 if FULL else 1
WORKERS = 8 if FULL else 1
VISITS = 8 if FULL else 5
QUANTA = 2 * VISITS + 1

# No guard of __main__ on purpose: workers must not run a user's script again.
COMMAND = """
import json, sys
from prestow.engines import open_engine
from prestow.testing.campaigns import Campaign
campaign = Campaign(sys.argv[1], visits=int(sys.argv[2]))
result = campaign.run(open_engine("dask", workers=2))
print(json.dumps({"plan": result.plan, "counts": result.counts, "exit": int(result.exit_code), "lost": result.worker_losses}))
"""


def campaign_in(directory: Path) -> Campaign:
    # long enough that a worker is killed while it works, and not always between two jobs
    return Campaign(
        directory, visits=VISITS, do={n: {"double": {"sleep": 0.05}} for n in range(1, VISITS + 1)}
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    campaign = campaign_in(tmp_path_factory.mktemp("undisturbed"))
    result = campaign.run(open_engine("local"))
    assert result.exit_code is Exit.OK
    return result.plan, campaign.products()


def start(directory: Path) -> subprocess.Popen[bytes]:
    script = directory / "run script.py"
    script.write_text(COMMAND)
    return subprocess.Popen(
        [sys.executable, str(script), str(directory), str(VISITS)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def await_moment(process: subprocess.Popen[bytes], directory: Path, chance: random.Random) -> None:
    """Wait for some receipts, and then a little; or, once in a while, only a little from the start."""
    wanted = chance.randrange(QUANTA)
    receipts = directory / "store/_receipts"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if sum(1 for _ in receipts.rglob("*.json")) >= wanted:
            break
        time.sleep(0.005)
    time.sleep(chance.random() * (1.5 if wanted == 0 else 0.05))


def finish(process: subprocess.Popen[bytes]) -> dict[str, object]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    result: dict[str, object] = json.loads(out)
    return result


def check(campaign: Campaign, result: dict[str, object], undisturbed: tuple[str, dict[str, bytes]]) -> None:
    assert (result["plan"], result["counts"], result["exit"]) == (undisturbed[0], {"made": QUANTA}, 0)
    assert campaign.products() == undisturbed[1]
    assert sum(1 for _ in (campaign.directory / "store/_receipts").rglob("*.json")) == QUANTA
    with campaign.registry() as registry:
        ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=["toy"])
        once = registry.counts()
        ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=["toy"])
        assert registry.counts() == once
        assert (once["quantum"], once["dataset"]) == (QUANTA, VISITS + QUANTA)


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_killed_run_goes_on_where_it_was(
    seed: int, tmp_path: Path, undisturbed: tuple[str, dict[str, bytes]]
) -> None:
    campaign = campaign_in(tmp_path / "a [dir] with 'odd' #%é")
    process = start(campaign.directory)
    await_moment(process, campaign.directory, random.Random(seed))
    with process:  # closes its pipe
        process.kill()
    check(campaign, finish(start(campaign.directory)), undisturbed)


@pytest.mark.parametrize("seed", range(100, 100 + WORKERS))
def test_a_run_survives_the_death_of_a_worker(
    seed: int, tmp_path: Path, undisturbed: tuple[str, dict[str, bytes]]
) -> None:
    campaign = campaign_in(tmp_path / "c")
    process = start(campaign.directory)
    chance = random.Random(seed)
    await_moment(process, campaign.directory, chance)
    workers = []
    deadline = time.monotonic() + 30
    while not workers and process.poll() is None and time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    if workers:
        os.kill(chance.choice(workers).pid, signal.SIGKILL)
    check(campaign, finish(process), undisturbed)
