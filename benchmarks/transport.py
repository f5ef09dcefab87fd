"""What a job's inputs cost as files in a tree, as flat files, and as one tar: packed, moved, staged by the node, and after a fault.

Moved by `pegasus-transfer` where it is on the PATH, else by one `cp` a file. Calls that name a file are counted by
`strace`, where it is there. Prints one JSON object a line; other output goes to stderr.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from prestow.manifest import (  # noqa: E402 - the house beside this file
    CARRIED,
    LAYOUTS,
    Location,
    Manifest,
)
from prestow.model.flat import flat_local, flat_name  # noqa: E402
from prestow.node.tars import place_in_tar, write_tar  # noqa: E402
from prestow.stores import open_store  # noqa: E402
from prestow.testing.jobs import Jobs  # noqa: E402

CASES = ((3, 16 << 10), (30, 16 << 10), (300, 16 << 10), (3, 64 << 20))
"""Inputs of a job, and bytes of each."""

REPEAT = 3
TAR = "tars/job.tar"
TASK = "def run(quantum):\n    quantum.put('y', {'n': len(quantum.inputs['x'])})\n"
TRANSFER = shutil.which("pegasus-transfer")
STRACE = shutil.which("strace")


class Job:
    """One job with so many inputs, laid out in one way."""

    def __init__(self, directory: Path, count: int, size: int, layout: str) -> None:
        self.top, self.layout = directory, layout
        self.jobs = Jobs(directory)
        self.jobs.code(bench=TASK)
        archive = open_store(self.jobs.stores["archive"])
        raws = []
        for number in range(count):
            piece = self.jobs.existing("raw", {"visit": number}, os.urandom(size), format_="fits")
            path = f"raw/2026/{number // 100:03d}/raw-{number:06d}.fits"
            archive.move(piece.path, path)
            raws.append(replace(piece, path=path))
        self.jobs.quantum("n", {"visit": 1}, entry="bench:run", inputs={"x": raws}, outputs={"y": "json"})
        self.files = {raw.path: directory / "archive" / raw.path for raw in raws}
        self.work = directory / "work"
        self.manifest = self._manifest()
        (directory / "m.json").write_text(self.manifest.to_json())

    def _manifest(self) -> Manifest:
        manifest = self.jobs.manifest()
        lay = flat_local if self.layout == "flat" else str
        inputs = tuple(replace(i, local=lay(i.local)) for i in manifest.inputs)
        places = {i.id: Location(CARRIED, self.name(manifest.locations[i.id].path)) for i in inputs}
        if self.layout == "tar":
            places = {i.id: Location(CARRIED, place_in_tar(TAR, i.local)) for i in inputs}
        return replace(manifest, inputs=inputs, locations=places, layout=self.layout)

    def name(self, path: str) -> str:
        return flat_name(path) if self.layout == "flat" else path

    def pack(self) -> float:
        """Make what is moved, as who emits does; give the CPU seconds, none where files are."""
        if self.layout != "tar":
            return 0.0
        (self.top / "tars").mkdir(exist_ok=True)
        there = self.jobs.manifest()
        members = [(i.local, self.files[there.locations[i.id].path]) for i in there.inputs]
        used = []
        for _ in range(REPEAT):
            begin = time.process_time()
            write_tar(self.top / TAR, members)
            used.append(time.process_time() - begin)
        return min(used)

    def moved(self, paths: list[str]) -> dict[str, Path]:
        """Give what has to be moved for some of the inputs, by its name in the job's directory."""
        if self.layout == "tar":
            return {TAR: self.top / TAR}
        return {self.name(path): self.files[path] for path in paths}

    def transfer(self, files: dict[str, Path]) -> list[str]:
        """Give the command that moves files into the job's directory."""
        if TRANSFER is None:
            lines = [
                f'mkdir -p "{(self.work / n).parent}" && cp -f "{p}" "{self.work / n}"'
                for n, p in files.items()
            ]
            (self.top / "move.sh").write_text("\n".join(["set -e", *lines]))
            return ["sh", str(self.top / "move.sh")]
        listed = [
            {
                "type": "transfer", "linkage": "input", "lfn": name, "id": number,
                "src_urls": [{"site_label": "local", "url": f"file://{path}"}],
                "dest_urls": [{"site_label": "pool", "url": f"file://{self.work / name}"}],
            }
            for number, (name, path) in enumerate(files.items(), 1)
        ]  # fmt: skip
        (self.top / "transfer.json").write_text(json.dumps(listed))
        return [TRANSFER, "-f", str(self.top / "transfer.json")]

    def node(self) -> list[str]:
        scratch = str(self.top / "scratch")
        return [
            sys.executable, "-m", "prestow.node", str(self.top / "m.json"), "--carry", str(self.work),
            "--scratch", scratch, "--keep",
        ]  # fmt: skip

    def fresh(self) -> None:
        for place in ("store", "scratch"):
            shutil.rmtree(self.top / place, ignore_errors=True)


def measure(words: list[str], clean=lambda: None, *, count: bool = True) -> dict[str, float]:
    """Run a command several times: the least CPU seconds, and how many calls of it name a file."""
    used = []
    for _ in range(REPEAT):
        clean()
        used.append(_cpu(words))
    calls = None
    if count and STRACE:
        clean()
        calls = _calls(words)
    return {"cpu": min(used), **({} if calls is None else {"calls": calls})}


def _cpu(words: list[str]) -> float:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "PYTHONPATH": str(SOURCE)
    }
    with tempfile.NamedTemporaryFile() as log:
        target = os.open(log.name, os.O_WRONLY)
        actions = [(os.POSIX_SPAWN_DUP2, target, 1), (os.POSIX_SPAWN_DUP2, target, 2)]
        pid = os.posix_spawn(
            words[0] if "/" in words[0] else shutil.which(words[0]) or "",
            words,
            environment,
            file_actions=actions,
        )
        _, status, usage = os.wait4(pid, 0)
        os.close(target)
        if status:
            raise SystemExit(
                f"{' '.join(words)}: exit {os.waitstatus_to_exitcode(status)}\n{Path(log.name).read_text()}"
            )
    return usage.ru_utime + usage.ru_stime


def _calls(words: list[str]) -> int:
    with tempfile.NamedTemporaryFile() as log:
        path = words[0] if "/" in words[0] else shutil.which(words[0]) or ""
        _cpu([str(STRACE), "-f", "-c", "-e", "trace=%file", "-o", log.name, path, *words[1:]])
        total = re.search(r"^100\.00 +\S+ +\S+ +(\d+)", Path(log.name).read_text(), re.MULTILINE)
    return int(total[1]) if total else 0


def inodes(place: Path) -> int:
    """Count files and directories below another."""
    return sum(len(d) + len(f) for _, d, f in os.walk(place))


def size_of(files: dict[str, Path]) -> int:
    return sum(path.stat().st_size for path in files.values())


def case(top: Path, count: int, size: int, layout: str) -> Iterator[tuple[str, float, str]]:
    """Give each figure of one job: what, how much, unit."""
    job = Job(top, count, size, layout)
    paths = list(job.files)
    packing = job.pack()
    files = job.moved(paths)
    moving = measure(job.transfer(files), lambda: shutil.rmtree(job.work, ignore_errors=True))
    arrived = inodes(job.work)
    staging = measure(job.node(), job.fresh)
    again = job.moved(paths[:1])
    moving_again = measure(job.transfer(again), count=False)
    for what, found in (("move", moving), ("stage", staging)):
        yield f"{what}-cpu", found["cpu"], "s"
        if "calls" in found:
            yield f"{what}-calls", found["calls"], "calls"
    yield "pack-cpu", packing, "s"
    yield "moved-bytes", size_of(files), "B"
    yield "moved-inodes", arrived, "inodes"
    yield "repository-inodes", inodes(next((top / "scratch").glob("job-*")) / "inputs"), "inodes"
    yield "again-bytes", size_of(again), "B"
    yield "again-cpu", moving_again["cpu"] + packing, "s"


def main() -> None:
    """Measure and print."""
    mover = "pegasus-transfer" if TRANSFER else "cp, one a file"
    with tempfile.TemporaryDirectory() as name:
        for count, size in CASES:
            table: dict[str, dict[str, tuple[float, str]]] = {}
            for layout in LAYOUTS:
                top = Path(name) / f"{count}-{size}-{layout}"
                for what, value, unit in case(top, count, size, layout):
                    table.setdefault(what, {})[layout] = value, unit
                shutil.rmtree(top)
            for what, found in table.items():
                beside, unit = found["tree"]
                for layout in LAYOUTS:
                    value = found[layout][0]
                    figure = {
                        "name": f"transport-{what}-{count}x{size >> 10}k-{layout}", "value": round(value, 4), "unit": unit,
                        "beside": round(beside, 4), "ratio": round(value / beside, 2) if beside else None,
                        "note": f"{count} inputs of {size >> 10} KiB; least of {REPEAT}; beside: the tree; moved by {mover}",
                    }  # fmt: skip
                    print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
