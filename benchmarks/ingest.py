"""Taking outputs in: 20,000 FITS files of 200 kB, warm, beside a bare program that reads, digests and inserts.

Prints one JSON object a line; other output goes to stderr. Each figure is the best of several tries, since
whatever else runs on the machine only takes away.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

import ingest_files

from prestow.ingest import ingest_outputs  # the house beside this file: `ingest_files` sees to it
from prestow.ingest.following import follow
from prestow.ingest.outputs import Taking
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores.file import FileStore

FILES = int(os.environ.get("PRESTOW_BENCH_FILES", "20000"))
REPEAT = 3
JOBS, EACH_SECOND = 500, 50
CARDS = (b"PSTTYPE ", b"PSTID   ", b"PSTRUN  ", b"PSTRCPE ", b"PSTPRCP ", b"PSTDATA ")


def cpu() -> float:
    """Give the CPU seconds of this process and of those that it waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def floor(store: Path, database: Path) -> tuple[float, float]:
    """Do the least: read each file, digest it, take a few cards, insert two rows; give seconds and CPU seconds."""
    begin, used = time.perf_counter(), cpu()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "CREATE TABLE dataset (id TEXT PRIMARY KEY, type TEXT, run TEXT, data_id TEXT, recipe TEXT, planned TEXT)"
    )
    connection.execute(
        "CREATE TABLE artifact (dataset TEXT PRIMARY KEY, path TEXT UNIQUE, size INTEGER, sha256 TEXT)"
    )
    datasets, artifacts = [], []

    def insert() -> None:
        connection.executemany("INSERT INTO dataset VALUES (?, ?, ?, ?, ?, ?)", datasets)
        connection.executemany("INSERT INTO artifact VALUES (?, ?, ?, ?)", artifacts)
        connection.commit()
        datasets.clear()
        artifacts.clear()

    for directory, _, names in os.walk(store / ingest_files.RUN):
        for name in names:
            path = f"{directory}/{name}"
            with open(path, "rb", buffering=0) as file:
                data = file.read()
            digest = hashlib.sha256(data).hexdigest()
            found = []
            for key in CARDS:
                at = data.find(key)
                found.append(data[at + 10 : at + 80].split(b"'")[1].decode())
            kind, ident, run, recipe, planned, data_id = found
            datasets.append((ident, kind, run, data_id, recipe, planned))
            artifacts.append((ident, path, len(data), digest))
            if len(datasets) == 2000:
                insert()
    insert()
    connection.close()
    return time.perf_counter() - begin, cpu() - used


def ours(store: FileStore, database: Path, level: str) -> tuple[float, float]:
    """Take all in; give seconds and CPU seconds."""
    with Registry.open(f"sqlite:///{database}", load_universe(), create=True) as registry:
        begin, used = time.perf_counter(), cpu()
        report = ingest_outputs(registry, store, level=level)
        seconds, spent = time.perf_counter() - begin, cpu() - used
    if (report.added, report.problems, report.unexpected) != (FILES, (), ()):
        raise SystemExit(f"not as it should be: {report}, {report.problems[:3]}, {report.unexpected[:3]}")
    return seconds, spent


def again(store: FileStore, database: Path) -> float:
    """Take in what is taken in; give seconds."""
    with Registry.open(f"sqlite:///{database}", load_universe()) as registry:
        begin = time.perf_counter()
        report = ingest_outputs(registry, store, level="full")
        if report.present != FILES:
            raise SystemExit(f"not as it should be: {report}")
        return time.perf_counter() - begin


def lag(directory: Path) -> float:
    """Commit 50 quanta a second while an ingest follows; give the seconds from the last to its row."""
    store = directory / "running"
    store.mkdir()
    ended = [0.0]

    def run() -> None:
        begin = time.monotonic()
        scratch = directory / "scratch"
        parent = None
        for number in range(JOBS):
            time.sleep(max(0.0, begin + number / EACH_SECOND - time.monotonic()))
            parent = ingest_files.made(store, scratch, number // 2, parent if number % 2 else None)
        ended[0] = time.monotonic()

    thread = threading.Thread(target=run)
    with Registry.open(f"sqlite:///{directory}/running.db", load_universe(), create=True) as registry:
        thread.start()
        seen = [0.0]

        def settled() -> bool:
            if registry.counts()["dataset"] == JOBS:
                seen[0] = seen[0] or time.monotonic()
                return True
            return False

        with Taking(registry, FileStore(f"file://{store}")) as taking:
            follow(taking, [ingest_files.RUN], settled=settled)
        thread.join()
        return max(0.0, seen[0] - ended[0])


def main() -> None:
    """Measure and print."""
    kept = os.environ.get("PRESTOW_BENCH_STORE")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        place = Path(kept) if kept else directory / "store"
        if not place.exists():
            print(f"making {FILES} files …", file=sys.stderr)
            ingest_files.campaign(place, FILES)
        store = FileStore(f"file://{place}")
        floor(place, directory / "warm.db")
        bare, full, receipt, slow = [], [], [], []
        for n in range(REPEAT):
            bare.append(floor(place, directory / f"floor-{n}.db"))
            full.append(ours(store, directory / f"full-{n}.db", "full"))
            receipt.append(ours(store, directory / f"receipt-{n}.db", "receipt"))
            slow.append(ours(ingest_files.SlowStore(store.uri), directory / f"slow-{n}.db", "receipt"))
            print(
                f"# floor {bare[-1]} full {full[-1]} receipt {receipt[-1]} slow {slow[-1]}", file=sys.stderr
            )
        slow_full = ours(ingest_files.SlowStore(store.uri), directory / "slow-full.db", "full")
        least = min(spent for _, spent in bare)
        spent = min(spent for _, spent in full)
        cores = os.cpu_count() or 1
        tell("verified-files-per-s", FILES / min(s for s, _ in full), FILES / min(s for s, _ in bare), "files/s",
             f"{FILES} files of 200 kB, level full, best of {REPEAT}, {cores} cores; beside: the bare program, on one")  # fmt: skip
        tell("ingest-over-floor", spent / least, 1.0, "ratio",
             f"CPU {1e6 * spent / FILES:.0f} µs a file, all processes; the bare program {1e6 * least / FILES:.0f} µs")  # fmt: skip
        quick = FILES / min(s for s, _ in receipt)
        tell("receipt-files-per-s", quick, 0.0, "files/s",
             f"level receipt, best of {REPEAT}; CPU {1e6 * min(c for _, c in receipt) / FILES:.0f} µs a file")  # fmt: skip
        delayed = FILES / min(s for s, _ in slow)
        tell(
            "delayed-receipt-files-per-s",
            delayed,
            quick,
            "files/s",
            "every store call takes 20 ms longer; beside: without",
        )
        tell("delayed-verified-files-per-s", FILES / slow_full[0], FILES / min(s for s, _ in full), "files/s",
             "level full, every store call takes 20 ms longer; beside: without")  # fmt: skip
        tell("ingest-again-s", again(store, directory / "full-0.db"), 0.0, "s", "all is taken in already")
        tell(
            "ingest-lag-s",
            lag(directory),
            0.0,
            "s",
            f"{JOBS} jobs at {EACH_SECOND}/s; from the last commit to its row",
        )
        url = os.environ.get("PRESTOW_BENCH_POSTGRES")
        if url:
            postgres(store, url)
        shutil.rmtree(directory / "running", ignore_errors=True)


def postgres(store: FileStore, url: str) -> None:
    """Take all in to a PostgreSQL registry that is empty."""
    with Registry.open(url, load_universe(), create=True) as registry:
        begin = time.perf_counter()
        report = ingest_outputs(registry, store, level="full")
        seconds = time.perf_counter() - begin
    if report.added != FILES:
        raise SystemExit(f"not as it should be: {report}")
    tell("verified-files-per-s-postgresql", FILES / seconds, 0.0, "files/s", "level full, once")


def tell(name: str, value: float, beside: float, unit: str, note: str) -> None:
    """Print one figure."""
    figure = {"name": name, "value": round(value, 3), "unit": unit, "beside": round(beside, 3), "note": note}
    if beside:
        figure["ratio"] = round(value / beside, 2)
    print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
