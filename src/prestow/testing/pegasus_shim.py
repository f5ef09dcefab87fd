"""A shim of Pegasus: runs an emitted workflow here, one job after the other, from its files alone.

It is no Pegasus: it plans nothing and schedules nothing. It knows what Pegasus knows, the emitted
directory: every job works in an empty directory that holds its declared inputs and nothing else,
each under its logical name, verified where the replica catalogue has a digest; every declared
output must be there afterwards, and goes on to the jobs that declare it as input. Files are moved
by Pegasus's own transfer tool where it is installed (package ``pegasus-wms.worker``), else copied.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = Mapping[str, Any]  # Any: JSON values

_TRANSFER = "from Pegasus.transfer import main; main()"


@dataclass
class Shim:
    """Runs the workflow of one directory.

    Parameters
    ----------
    emission : Path
        What `prestow emit pegasus` wrote.
    work : Path
        Where jobs work and outputs are kept; made where it is not there.
    """

    emission: Path
    work: Path
    ran: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def run(self) -> bool:
        """Run every job whose parents ended well; tell whether all did."""
        workflow = self._read("workflow.yml")
        transformation = self._read("transformations.yml")["transformations"][0]
        replicas = {r["lfn"]: r for r in self._read("replicas.yml")["replicas"]}
        jobs = {job["id"]: job for job in workflow["jobs"]}
        parents: dict[str, set[str]] = {name: set() for name in jobs}
        for entry in workflow["jobDependencies"]:
            for child in entry["children"]:
                parents[child].add(entry["id"])
        for name in _in_order(parents):
            if parents[name] <= set(self.ran):
                good = self._job(jobs[name], transformation, replicas)
                (self.ran if good else self.failed).append(name)
        return len(self.ran) == len(jobs)

    def _read(self, name: str) -> Any:  # Any: JSON values
        return json.loads((self.emission / name).read_text(encoding="utf-8"))

    def _job(self, job: Entry, transformation: Entry, replicas: Mapping[str, Entry]) -> bool:
        inputs = [use["lfn"] for use in job["uses"] if use["type"] == "input"]
        outputs = [use["lfn"] for use in job["uses"] if use["type"] == "output"]
        environment = {**os.environ, **transformation["profiles"]["env"]}
        command = [transformation["sites"][0]["pfn"], *job["arguments"]]
        for tries in range(1 + job["profiles"]["dagman"]["RETRY"]):
            directory = self.work / "jobs" / f"{job['id']}-{tries}"
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            self._bring(directory, {name: self._find(name, replicas) for name in inputs})
            done = subprocess.run(
                command, cwd=directory, env=environment, capture_output=True, text=True, check=False
            )
            self.logs[job["id"]] = done.stdout + done.stderr
            self.codes[job["id"]] = done.returncode
            if done.returncode == 0 and all((directory / name).is_file() for name in outputs):
                for name in outputs:
                    target = self.work / "made" / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(directory / name, target)
                return True
        return False

    def _find(self, name: str, replicas: Mapping[str, Entry]) -> Path:
        made = self.work / "made" / name
        if made.is_file():
            return made
        own = self.emission / "inputs" / name
        if own.is_file():
            return own
        entry = replicas[name]
        path = Path(entry["pfns"][0]["pfn"].removeprefix("file://"))
        wanted = entry.get("checksum", {}).get("sha256")
        if wanted is not None:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != wanted:
                raise ValueError(f"Expected checksum ({wanted}) does not match {found} of {name}")
        return path

    def _bring(self, directory: Path, files: Mapping[str, Path]) -> None:
        if has_transfer_tool():
            _transfer(directory, files)
            return
        for name, source in files.items():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def has_transfer_tool() -> bool:
    """Tell whether Pegasus's own transfer tool is installed."""
    return importlib.util.find_spec("Pegasus") is not None and (
        importlib.util.find_spec("Pegasus.transfer") is not None
    )


def _transfer(directory: Path, files: Mapping[str, Path]) -> None:
    wanted = [
        {
            "type": "transfer",
            "linkage": "input",
            "lfn": name,
            "id": number,
            "src_urls": [{"site_label": "local", "url": f"file://{source}"}],
            "dest_urls": [{"site_label": "pool", "url": f"file://{directory / name}"}],
        }
        for number, (name, source) in enumerate(files.items(), 1)
    ]
    command: Sequence[str] = [sys.executable, "-c", _TRANSFER]
    subprocess.run(
        command, input=json.dumps(wanted), cwd=directory, check=True, capture_output=True, text=True
    )


def _in_order(parents: Mapping[str, Iterable[str]]) -> Iterator[str]:
    from graphlib import TopologicalSorter

    yield from TopologicalSorter({name: sorted(parents[name]) for name in sorted(parents)}).static_order()
