"""Plan a made-up survey of a million quanta, and of ten: one JSON object a line.

    python benchmarks/plan.py [--large] [--quanta 1000000]

Each plan is made by a new process that opens the registry, builds the plan and writes it. Its CPU is user and
system time of all its threads, less what the imports took, which is said beside. The survey is `survey.py`'s:
made once and kept, in a process of its own, outside every figure. With ``--large`` ten million, too: that takes
minutes and disk. What is not there yet is said on stderr, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import survey

CHILD = Path(__file__).with_name("plan_child.py")
LARGE = 10  # times the size


def say(name: str, value: float, unit: str, *, beside: float | None = None, note: str = "") -> None:
    """Print one fact; ``beside`` is the bound."""
    ratio = None if not beside else round(value / beside, 3)
    facts = {"name": name, "value": round(value, 3), "unit": unit, "beside": beside, "ratio": ratio}
    print(json.dumps({**facts, "note": note}), flush=True)


class NotThereError(Exception):
    """A step could not be measured."""


def child(*words: object, program: str | Path = CHILD) -> dict[str, Any]:
    """Run one step of a program in a new process; give what it found."""
    done = subprocess.run(
        [sys.executable, program, *map(str, words)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise NotThereError(f"{words[0]} failed; its error stands above")
    result: dict[str, Any] = json.loads(done.stdout)
    if "absent" in result:
        raise NotThereError(f"{words[0]}: {result['absent']}")
    return result


def size(quanta: int) -> str:
    """Give a number of quanta as people say it."""
    return f"{quanta // 1_000_000}m" if quanta >= 1_000_000 else f"{quanta // 1000}k"


def cost(facts: dict[str, Any]) -> float:
    """Give the CPU of a plan in seconds: without imports."""
    return float(facts["cpu"])


def planned(kept: Path, quanta: int, into: Path, *, rss: float, variant: int = 0) -> dict[str, Any]:
    """Make one plan of a survey that is kept, and say what it cost."""
    facts = child("plan", kept, into, variant)
    totals, name = facts["totals"], f"plan-{size(quanta)}"
    if variant:
        return facts
    note = (
        f"{totals['quanta']:,} quanta of {len(facts['tasks'])} tasks, {totals['inputs']:,} inputs, "
        f"{totals['outputs']:,} outputs; {cost(facts):.2f} s CPU, {facts['wall']:.2f} s wall; imports took {facts['imports']:.2f} s CPU more"
    )
    say(f"{name}-us-per-quantum", 1e6 * cost(facts) / totals["quanta"], "us CPU", beside=5, note=note)
    say(
        f"{name}-rss-gib",
        facts["rss"],
        "GiB",
        beside=rss,
        note="the most that the process had, imports and all",
    )
    for step, share in facts["shares"].items():
        spent = f"{1e6 * share * cost(facts) / totals['quanta']:.2f} us a quantum"
        say(f"{name}-share-{step.replace(' ', '-')}", share, "of CPU", note=spent)
    say(f"{name}-bytes-per-quantum", facts["bytes"] / totals["quanta"], "B", note="on disk, all tables")
    return facts


def read(facts: dict[str, Any]) -> None:
    """Say what it takes to look one job up."""
    one, wide = child("open-one", facts["path"]), child("open-wide", facts["path"])
    slowest = max(one["by"], key=one["by"].get)
    note = f"wall, median of all tasks, warm; {one['cpu']:.1f} ms CPU; slowest task {slowest}: {one['by'][slowest]:.1f} ms"
    say("open-one-job-ms", one["wall"], "ms", beside=20, note=note)
    note = f"wall, median, warm; {wide['cpu']:.1f} ms CPU; {wide['inputs']:,} inputs"
    say("open-wide-job-ms", wide["wall"], "ms", beside=100, note=note)


def again(facts: dict[str, Any], kept: Path) -> None:
    """Say what the submission costs when one in a hundred is left."""
    found = child("replan", child("settle", kept, facts["path"])["path"], facts["path"])
    note = (
        f"{found['left']:,} quanta in {found['jobs']:,} jobs left, {found['waits']:,} wait for others; "
        f"{found['cpu']:.2f} s CPU beside {cost(facts):.2f} s; {found['rss']:.2f} GiB"
    )
    say("replan-share", found["cpu"] / cost(facts), "of first plan", beside=0.25, note=note)


def differ(facts: dict[str, Any], kept: Path, quanta: int, into: Path) -> None:
    """Say how long it takes to compare two plans; the second has another configuration of its first task."""
    other = planned(kept, quanta, into, rss=0, variant=1)
    found = child("diff", facts["path"], other["path"])
    note = f"wall; {found['cpu']:.2f} s CPU, {found['rss']:.2f} GiB; {found['what']}"
    say(f"diff-{size(quanta)}-s", found["wall"], "s", beside=10, note=note)


def main(words: Sequence[str] | None = None) -> int:
    """Measure; give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quanta", type=int, default=1_000_000)
    parser.add_argument("--large", action="store_true", help="ten times as many, too")
    parser.add_argument(
        "--only", choices=("plan", "open", "replan", "diff"), help="this alone, at the first size"
    )
    options = parser.parse_args(words)
    quanta, only, missing = options.quanta, options.only, []
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="plans-", dir=survey.scratch()) as scratch:
        into = Path(scratch)
        kept = survey.kept(quanta)
        first = planned(kept, quanta, into, rss=0.8)
        steps = {
            "open": lambda: read(first),
            "replan": lambda: again(first, kept),
            "diff": lambda: differ(first, kept, quanta, into),
        }
        for name, step in steps.items():
            if only in (None, name):
                try:
                    step()
                except NotThereError as error:
                    missing.append(str(error))
        if options.large:
            shutil.rmtree(into)
            into.mkdir()
            more = planned(survey.kept(LARGE * quanta), LARGE * quanta, into, rss=4)
            by = cost(more) / cost(first) * first["totals"]["quanta"] / more["totals"]["quanta"] * LARGE
            note = f"CPU of {more['totals']['quanta']:,} quanta over {first['totals']['quanta']:,}, as if exactly {LARGE} times as many"
            say(f"plan-{size(LARGE * quanta)}-over-{size(quanta)}", by, "times", beside=12, note=note)
    for text in missing:
        print(f"error: {text}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
