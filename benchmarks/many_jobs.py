"""What 20,000 small jobs on two levels of dependencies take: memory of client and scheduler, and what another terminal sees.

Each of 10,000 visits has two jobs, the second after the first; one job gathers them all. While they
run, ``prestow status`` is typed in another process again and again: its counts must sum to the plan,
never go back, and lie between what was settled before it was typed and after it answered.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from dask_overhead import say

from prestow.testing.campaigns import Campaign

MIB = 1 << 20


def watch(process: psutil.Process, peaks: dict[str, int], samples: list[tuple[float, int]]) -> None:
    """Note the memory of a command (client and scheduler), and of the workers below it, while it lives."""
    begin = time.monotonic()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            own = process.memory_info().rss
            below = [child.memory_info().rss for child in process.children(recursive=True)]
        except psutil.NoSuchProcess:
            time.sleep(0.2)
            continue
        peaks["own"] = max(peaks.get("own", 0), own)
        peaks["worker"] = max(peaks.get("worker", 0), *below, 0)
        samples.append((time.monotonic() - begin, own))
        time.sleep(0.5)


def receipts(directory: Path) -> int:
    """Count what is settled, by looking."""
    return sum(1 for _ in (directory / "store" / "_receipts").rglob("*.json"))


def look(directory: Path, total: int, seen: list[dict[str, int]]) -> float:
    """Type ``prestow status`` once; give its seconds, and stop at the first untruth."""
    before = receipts(directory)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "prestow", "-C", str(directory), "--json", "status"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.monotonic() - begin
    after = receipts(directory)
    counts = json.loads(done.stdout)["counts"]
    assert sum(counts.values()) == total, counts
    assert before <= counts["made"] <= after, (before, counts, after)
    assert not seen or counts["made"] >= seen[-1]["made"], (seen[-1], counts)
    seen.append(counts)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    options = parser.parse_args()
    visits = options.jobs // 2
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        campaign = Campaign(directory, visits=visits)
        plan = campaign.plan()
        total = plan.tables["quanta"].height
        command = [sys.executable, "-m", "prestow", "-C", str(directory), "run", plan.id, "--workers", "2"]
        begin = time.monotonic()
        with (directory / "err").open("wb") as err, (directory / "out").open("wb") as out:
            run = subprocess.Popen(command, stdout=out, stderr=err)
            peaks: dict[str, int] = {}
            samples: list[tuple[float, int]] = []
            watcher = threading.Thread(target=watch, args=(psutil.Process(run.pid), peaks, samples))
            watcher.start()
            seen: list[dict[str, int]] = []
            seconds = []
            while run.poll() is None:
                seconds.append(look(directory, total, seen))
                print(
                    f"after {time.monotonic() - begin:5.0f} s: {seen[-1]['made']:,} of {total:,} made",
                    file=sys.stderr,
                )
                time.sleep(5)
            watcher.join()
        wall = time.monotonic() - begin
        assert run.returncode == 0, (directory / "err").read_text()[-2000:]
        look(directory, total, seen)
        assert seen[-1]["made"] == total, seen[-1]
        third = len(samples) // 3
        early = max(own for _, own in samples[:third])
        note = f"{total:,} jobs, 2 workers, {wall:.0f} s, {len(seen)} looks from another process of at most {max(seconds):.1f} s"
        say(
            "many-jobs-mib",
            peaks["own"] / MIB,
            "MiB",
            "limit 1024 MiB",
            None,
            f"client and scheduler together; {note}",
        )
        say(
            "many-jobs-growth",
            peaks["own"] / early,
            "ratio",
            "first third of the run",
            round(peaks["own"] / early, 2),
            "flat is 1",
        )
        say("many-jobs-worker-mib", peaks["worker"] / MIB, "MiB", "one worker", None, note)


if __name__ == "__main__":
    main()
