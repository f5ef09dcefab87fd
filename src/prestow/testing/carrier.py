"""Carries manifests as Pegasus does where nodes do not see the store: from directory to directory, to a landing folder.

Every job works in a directory that holds what it declares and nothing else, each file under its logical name. It is a
process of its own, ``python -m prestow.node PACK --job J --carry . --land``. What it declares must be there when it ends
well, and goes on to the jobs that read it, and to the landing folder.

Examples
--------
>>> import tempfile
>>> from prestow.testing.jobs import Jobs
>>> with tempfile.TemporaryDirectory() as directory:
...     jobs = Jobs(directory)
...     raw = jobs.existing("raw", {"visit": 1}, {"flux": 2})
...     _ = jobs.quantum("copy", {"visit": 1}, command=["cp", "{inputs.x}", "{outputs.y}"], inputs={"x": [raw]}, outputs={"y": "json"})
...     carrier = Carrier([jobs.manifest()], jobs.directory / "carried")
...     carrier.run(), sorted(carrier.land(jobs.directory / "landing"))
(True, ['_receipts/demo/copy/3b/3b83ddb5-8f61-5516-bb1c-f3f4c49fe0a6.json', 'demo/copy_y/copy_y-1.json'])
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prestow.engines.pegasus.manifests import Replica, for_carrying
from prestow.manifest import Manifest
from prestow.node.packed import in_layout, pack
from prestow.stores import open_store

PACK = "manifests.pack"


def _none(name: str) -> bool:  # noqa: ARG001 - as the others of its kind
    return False


@dataclass
class Carrier:
    """Runs jobs, given in an order in which none stands before what it needs.

    Parameters
    ----------
    manifests : sequence of Manifest
        As the planner gives them: places are those of stores.
    work : Path
        Where jobs work; made where it is not there.
    words : sequence of str
        More words for each node, such as ``--final``.
    settled : str, optional
        URI of the output store: there lies what is read and made by none of these.
    in_place : bool
        A job tried again works in the directory of its last try, as it was left.
    kill : callable
        Of which jobs nothing is brought on, whatever they came to: killed at their end.
    """

    manifests: Sequence[Manifest]
    work: Path
    words: Sequence[str] = ()
    settled: str = ""
    in_place: bool = False
    kill: Callable[[str], bool] = _none
    ran: list[str] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    def run(self, tries: int = 1) -> bool:
        """Run all jobs that have not ended well, and whose parents have; tell whether all did."""
        self.failed.clear()
        paths = {o.id: o.path for m in self.manifests for o in m.outputs}
        makers = {q.id: m.job for m in self.manifests for q in m.quanta}
        for manifest in self.manifests:
            if manifest.job in self.ran:
                continue
            own = {q.id for q in manifest.quanta}
            outside = [i for i in manifest.inputs if i.producer not in own and i.id not in manifest.locations]
            if any(makers.get(str(i.producer), manifest.job) in self.failed for i in outside):
                self.failed[manifest.job] = -1
                continue
            ready, replicas = for_carrying(manifest)
            names = {str(i.receipt) for i in outside} | {paths[i.id] for i in outside if i.id in paths}
            for attempt in range(tries):
                status = self._try(ready, replicas, names, attempt)
                if status == 0:
                    self.ran.append(manifest.job)
                    break
            else:
                self.failed[manifest.job] = status
        return not self.failed

    def _try(
        self, manifest: Manifest, replicas: dict[str, Replica], names: Iterable[str], attempt: int
    ) -> int:
        directory = self.work / "jobs" / (manifest.job if self.in_place else f"{manifest.job}-{attempt}")
        if not self.in_place:
            shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        for name, replica in replicas.items():
            _copy(_path(_uri(self.manifests, replica.store), replica.path), directory / name)
        for name in names:
            source = self.work / "made" / in_layout(manifest, name)
            if not source.is_file() and self.settled:
                source = _path(self.settled, name)
            if source.is_file():
                _copy(source, directory / in_layout(manifest, name))
        (directory / PACK).write_bytes(pack([manifest]))
        command = [
            sys.executable,
            "-m",
            "prestow.node",
            PACK,
            "--job",
            manifest.job,
            "--carry",
            ".",
            "--land",
        ]
        done = subprocess.run(
            [*command, *self.words], cwd=directory, capture_output=True, text=True, check=False
        )
        self.logs[manifest.job] = done.stdout + done.stderr
        if self.kill(manifest.job):
            return 137
        declared = [*(q.receipt for q in manifest.quanta), *(o.path for o in manifest.outputs)]
        made = [in_layout(manifest, name) for name in declared]
        if done.returncode == 0:
            for name in made:
                _copy(directory / name, self.work / "made" / name)
        return done.returncode

    def land(self, folder: Path, *, without: Callable[[str], bool] = _none) -> list[str]:
        """Bring what jobs that ended well made to a folder, over whatever is there; give the names."""
        made = self.work / "made"
        names = [str(p.relative_to(made)) for p in sorted(made.rglob("*")) if p.is_file()]
        for name in names:
            if not without(name):
                _copy(made / name, folder / name)
        return [name for name in names if not without(name)]


def _uri(manifests: Sequence[Manifest], name: str) -> str:
    return next(m.stores[name] for m in manifests if name in m.stores)


def _path(uri: str, name: str) -> Path:
    store = open_store(uri)
    path: Path = store.local_path(name)  # type: ignore[attr-defined]  # stores of files alone
    return path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{target} cannot be written over")
    shutil.copyfile(source, target)
