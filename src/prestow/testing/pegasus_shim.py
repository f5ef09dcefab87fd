"""A shim of Pegasus: runs an emitted workflow here, one job after the other, from its files alone.

It is no Pegasus: it plans nothing and schedules nothing. It knows what Pegasus knows, the emitted
directory: every job works in an empty directory that holds its declared inputs and nothing else,
each under its logical name, verified where the replica catalogue has a digest; every declared
output must be there afterwards, and goes on to the jobs that declare it as input. A workflow of workflows is
run part by part, each with its own catalogue and what its parents made. Files are moved
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
    """Runs the workflow of one directory, once.

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
    jobs: list[Entry] = field(default_factory=list)

    def run(self) -> bool:
        """Run every job whose parents ended well; tell whether all did."""
        root = self._read("workflow.yml")
        if root["jobs"][0].get("type") != "pegasusWorkflow":
            return self._run(root, self.emission)
        files = {job["id"]: self.emission / "parts" / job["file"] for job in root["jobs"]}
        good = set[str]()
        parents = _parents(root)
        for name in _in_order(parents):
            if parents[name] <= good and self._run(_json(files[name]), files[name].parent):
                good.add(name)
        return len(good) == len(files)

    def land(self, folder: Path) -> None:
        """Bring what jobs that ended well made, and what is staged out, to a folder, over whatever is there."""
        for job in self.jobs:
            for use in job["uses"] if job["id"] in self.ran else ():
                if use.get("stageOut"):
                    _copy(self.work / "made" / use["lfn"], folder / use["lfn"])

    def _run(self, workflow: Entry, catalogues: Path) -> bool:
        transformation = self._read("transformations.yml")["transformations"][0]
        replicas = {r["lfn"]: r for r in _json(catalogues / "replicas.yml")["replicas"]}
        jobs = {job["id"]: job for job in workflow["jobs"]}
        self.jobs += jobs.values()
        parents = _parents(workflow)
        for name in _in_order(parents):
            if parents[name] <= set(self.ran):
                good = self._job(jobs[name], transformation, replicas)
                (self.ran if good else self.failed).append(name)
        return jobs.keys() <= set(self.ran)

    def _read(self, name: str) -> Any:  # Any: JSON values
        return _json(self.emission / name)

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
                    _copy(directory / name, self.work / "made" / name)
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
        said = (self.emission / "pegasus.properties").read_text(encoding="utf-8")
        if wanted is not None and "pegasus.integrity.checking = none\n" not in said:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != wanted:
                raise ValueError(f"Expected checksum ({wanted}) does not match {found} of {name}")
        return path

    def _bring(self, directory: Path, files: Mapping[str, Path]) -> None:
        if has_transfer_tool():
            _transfer(directory, files)
            return
        for name, source in files.items():
            _copy(source, directory / name)


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


def _json(path: Path) -> Any:  # Any: JSON values
    return json.loads(path.read_text(encoding="utf-8"))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _parents(workflow: Entry) -> dict[str, set[str]]:
    parents: dict[str, set[str]] = {job["id"]: set() for job in workflow["jobs"]}
    for entry in workflow["jobDependencies"]:
        for child in entry["children"]:
            parents[child].add(entry["id"])
    return parents


def _in_order(parents: Mapping[str, Iterable[str]]) -> Iterator[str]:
    from graphlib import TopologicalSorter

    yield from TopologicalSorter({name: sorted(parents[name]) for name in sorted(parents)}).static_order()
