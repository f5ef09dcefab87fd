"""A run that never was, for the report: a plan, receipts and attempt reports in a store, twelve causes of failure planted."""

import json
import random
from dataclasses import dataclass
from typing import Any

import polars as pl

from prestow.commit import receipt_name, report_name
from prestow.manifest import RECEIPT_SCHEMA, REPORT_SCHEMA
from prestow.model.hashing import canonical_json
from prestow.naming import identity
from prestow.plan import Plan, Request, build_plan
from prestow.stores.memory import MemoryStore
from prestow.testing.surveys import UNIVERSE, Survey, reduction

EXCEPTIONS = (
    "ValueError: no sky fit: rms {x:.3f} of {n} rows in /scratch/job-{n}/x.fits (tasks/isr.py:{n})", "KeyError: 'k{n}'",
    "IndexError: index {n} is out of bounds for axis 0", "RuntimeError: amplifier {n} is dead", "PixelError: {n} bad of {x}",
    "OSError: [Errno 5] Input/output error: '/data/{n}.fits'", "MemoryError", "AssertionError (tasks/align.py:3)",
    "TypeError: can't use {n} in band r", "LinAlgError: Singular matrix",
)  # fmt: skip
BAD_HOSTS = ("node007", "node023")
BROKEN = ("Import", "Connection", "Illegal", "Bus", "Checksum", "Timeout")
BEGIN = 1.8e9


@dataclass(frozen=True)
class Simulated:
    """What a run left: its plan, the store with its papers, and its journal."""

    plan: Plan
    store: MemoryStore
    journal: list[dict[str, Any]]
    failed: int


def misfortune(r: random.Random, host: str, n: int) -> str:
    """Give what goes wrong: on a bad host mostly something, of many kinds; elsewhere seldom, and one of ten."""
    if host in BAD_HOSTS and r.random() < 0.6:
        return f"{r.choice(BROKEN)}Error: {r.choice('abcdefgh')} of lib{n} at 0x{n:08x}"
    return r.choice(EXCEPTIONS).format(x=r.random(), n=n) if r.random() < 0.03 else ""


def rows(count: int, *, hosts: int = 40, seed: int = 2) -> list[dict[str, Any]]:
    """Give tries of quanta as columns would have them, without a plan."""
    r = random.Random(seed)
    found = []
    for n in range(count):
        host = f"node{r.randrange(hosts):03}"
        message = misfortune(r, host, n)
        found.append({
            "quantum": str(n), "job": f"j{n}", "task": r.choice(("isr", "align", "measure")), "host": host, "data_id": f"visit={n}",
            "code": "PST-N007" if message else "", "message": message,
        })  # fmt: skip
    return found


def simulate(visits: int, detectors: int, *, hosts: int = 40, seed: int = 1, log: str = "") -> Simulated:
    """Make a run of ``4 * visits * detectors`` quanta and a few, each a job, tried once.

    Ten exceptions befall 3 % anywhere; on two hosts most fails, with messages of many kinds. Nothing that failed is
    lost; what it would have been needed for is tried all the same.
    """
    r = random.Random(seed)
    plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(visits, detectors))
    store = MemoryStore(f"memory://report-{visits}-{detectors}-{seed}-{r.random()}")
    columns = (
        pl.col("task"),
        pl.col("data_id"),
        identity.uuid_text(pl.col("id")),
        identity.recipe_text(pl.col("recipe")),
    )
    jobs = plan.tables["jobs"]["name"]
    rows = plan.tables["quanta"].select("job", *columns)
    journal: list[dict[str, Any]] = [{"at": BEGIN, "event": "begin", "jobs": len(jobs)}]
    ends = [BEGIN + 5.0] * hosts
    failed = 0
    papers: dict[str, bytes] = {}
    for n, (job, task, data_id, quantum, recipe) in enumerate(rows.iter_rows()):
        at = r.randrange(hosts)
        host, name = f"node{at:03}", jobs[job]
        message = misfortune(r, host, n)
        seconds = round(r.lognormvariate(1, 0.6), 3)
        ends[at] += seconds
        attempt = f"{n:08x}-0000-4000-8000-000000000000"
        facts = {"quantum": quantum, "task": task, "data_id": json.loads(data_id)}
        failure = {
            "code": "PST-N007",
            "message": message,
            "log_tail": ["Traceback (most recent call last):", f"{message} {log}"],
        }
        entry = {**facts, "state": "failed" if message else "made", "seconds": seconds, "cpu_seconds": seconds * 0.9, "failures": [failure] if message else []}  # fmt: skip
        report = {
            "schema": REPORT_SCHEMA, "job": name, "plan": plan.id, "run": plan.run, "attempt": attempt, "host": host, "pid": 1000 + at,
            "seconds": seconds, "peak_memory": 3 * 10**8 + r.randrange(10**8), "versions": {"python": "3.11.7"}, "quanta": [entry], "findings": [],
        }  # fmt: skip
        papers[report_name(name, attempt)] = canonical_json(report).encode()
        journal.append(
            {"at": ends[at], "event": "ended", "job": name, "try": 1, "attempt": attempt, "seconds": seconds}
        )
        failed += bool(message)
        if not message:
            receipt = {
                "schema": RECEIPT_SCHEMA, "run": plan.run, "task": task, "quantum": quantum, "data_id": facts["data_id"], "planned_recipe": recipe,
                "state": "made", "outputs": [],
            }  # fmt: skip
            papers[receipt_name(plan.run, task, quantum)] = canonical_json(receipt).encode()
    store.restore(papers)
    journal[1:] = sorted(journal[1:], key=lambda line: line["at"])
    journal.insert(
        len(journal) // 2,
        {
            "at": journal[len(journal) // 2]["at"],
            "event": "lost",
            "job": jobs[0],
            "try": 1,
            "why": "its worker on node007 vanished while it ran",
        },
    )
    journal.append({"at": max(ends), "event": "end"})
    return Simulated(plan, store, journal, failed)
