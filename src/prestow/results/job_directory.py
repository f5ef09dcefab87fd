"""A job's directory as it was kept: what is here, what should be, and what to type next. No project is needed."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prestow.commit import read_receipt
from prestow.errors import PrestowError, Problem, ProjectError
from prestow.manifest import Manifest, ManifestInput, ManifestQuantum
from prestow.node.outcome import in_words
from prestow.node.repository import MANIFEST
from prestow.results.environment import Line
from prestow.stores import Store, open_store

SANDBOX = "sandbox"  # store of a job that `prestow debug` ran
LOG_LINES = 10
_DIRECTORIES = ("inputs", "outputs", "work", "tmp")


@dataclass(frozen=True, slots=True)
class JobDirectory:
    """What a job's directory holds.

    Parameters
    ----------
    directory, repository : Path
        What was asked about, and the local repository in it.
    job, plan, run : str
        By its manifest.
    lines : tuple of Line
        What was looked at.
    logs : mapping of file name to tuple of str
        The last lines of each log.
    following : str
        The next command to type.
    """

    directory: Path
    repository: Path
    manifest: Path
    job: str
    plan: str
    run: str
    lines: tuple[Line, ...]
    logs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    following: str = ""

    @property
    def failed(self) -> bool:
        """Whether something is wrong with it."""
        return any(line.state == "fail" for line in self.lines)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "directory": str(self.directory), "repository": str(self.repository), "manifest": str(self.manifest),
            "job": self.job, "plan": self.plan, "run": self.run, "checks": [line.as_dict() for line in self.lines],
            "logs": {name: list(lines) for name, lines in self.logs.items()},
        }  # fmt: skip


def look(directory: Path) -> JobDirectory:
    """Look at a job's directory: what ``prestow debug --keep`` or ``python -m prestow.node --keep`` left.

    Raises
    ------
    ProjectError
        PST-G013 if it is none, with what was looked for.
    """
    repository = _repository(directory)
    manifest_file = next(
        (
            p / MANIFEST
            for p in (repository, directory, directory.parent, directory.parent.parent)
            if (p / MANIFEST).is_file()
        ),
        None,
    )
    if manifest_file is None:
        here = (
            ", ".join(sorted(p.name for p in repository.iterdir())[:10])
            if repository.is_dir()
            else "no directory"
        )
        raise ProjectError(
            Problem(
                "PST-G013",
                f"looked for {MANIFEST}, and for inputs, outputs and work beside it; there is: {here}",
                str(directory),
                "keep one: prestow debug JOB --keep, or python -m prestow.node MANIFEST --keep",
            )
        )
    try:
        manifest = Manifest.from_json(manifest_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError) as error:
        problem = Problem(
            "PST-G013",
            f"its manifest cannot be read: {error}",
            str(manifest_file),
            "keep the directory anew: prestow debug JOB --keep",
        )
        raise ProjectError(problem) from error
    began = any((repository / name).is_dir() for name in _DIRECTORIES)
    lines = [
        Line(
            "manifest",
            "ok",
            f"job {manifest.job} of run {manifest.run}, plan {manifest.plan[:8]}: {_quanta(len(manifest.quanta))}",
        )
    ]
    if began:
        lines.append(Line("repository", "ok", str(repository)))
        lines += _inputs(manifest, repository)
        lines += _outputs(manifest, repository)
        lines += _unplanned(manifest, repository)
    else:
        lines.append(
            Line(
                "repository",
                "warn",
                "nothing was staged here yet",
                f"python -m prestow.node {manifest_file} --keep",
            )
        )
    logs = {path.name: _tail(path) for path in sorted(repository.glob("log-*"))} if began else {}
    lines += _receipts(manifest)
    return JobDirectory(
        directory, repository, manifest_file, manifest.job, manifest.plan, manifest.run, tuple(lines), logs,
        _following(manifest, manifest_file, lines),
    )  # fmt: skip


def _repository(directory: Path) -> Path:
    """Give the local repository: the directory, or the newest one in it or in its ``repository``."""
    if _is_repository(directory):
        return directory
    tops = [top for top in (directory / "repository", directory) if top.is_dir()]
    found = [path for top in tops for path in _directories(top) if _is_repository(path)]
    return max(found, key=lambda p: p.stat().st_mtime) if found else directory


def _is_repository(path: Path) -> bool:
    return sum((path / name).is_dir() for name in _DIRECTORIES) > 1


def _directories(top: Path) -> list[Path]:
    try:
        return [path for path in top.iterdir() if path.is_dir() and os.access(path, os.R_OK | os.X_OK)]
    except OSError:
        return []


def _quanta(count: int) -> str:
    return "1 quantum" if count == 1 else f"{count} quanta"


def _inputs(manifest: Manifest, repository: Path) -> Iterator[Line]:
    own = {quantum.id for quantum in manifest.quanta}
    outputs = {output.id: output.local for output in manifest.outputs}
    for item in manifest.inputs:
        name = f"input {in_words(item.type, item.data_id)}"
        path = repository / item.local
        if not path.exists():
            if item.producer in own and item.id in outputs:
                yield Line(name, "ok", "made by this job itself")
            elif os.path.islink(path):
                yield Line(
                    name,
                    "fail",
                    f"a link to nothing: {os.readlink(path)}",
                    "is its store there? stage it again",
                )
            else:
                yield Line(
                    name, "warn", f"absent: {item.local}", "it was absent upstream, or nothing was staged"
                )
            continue
        size, sha256 = path.stat().st_size, _sha256(path)
        wanted = item.sha256 or _committed(manifest, item)
        if wanted is None:
            yield Line(
                name, "ok", f"{size} bytes, sha256 {sha256[:12]}… (its receipt is not at hand to compare)"
            )
        elif wanted == sha256:
            yield Line(name, "ok", f"{size} bytes, as committed")
        else:
            yield Line(
                name,
                "fail",
                f"CHANGED: sha256 {sha256[:12]}…, committed {wanted[:12]}…",
                f"it was changed here: stage it again; {path}",
            )


def _committed(manifest: Manifest, item: ManifestInput) -> str | None:
    store = _store(manifest, manifest.store)
    if store is None or not item.receipt:
        return None
    try:
        receipt = read_receipt(store, item.receipt)
    except PrestowError:
        return None
    return next((o.sha256 for o in receipt.outputs if o.id == item.id), None) if receipt is not None else None


def _store(manifest: Manifest, name: str) -> Store | None:
    try:
        return open_store(manifest.stores[name])
    except (PrestowError, KeyError, OSError):
        return None


def _places(repository: Path) -> list[Path]:
    """Give the directories of outputs: that of the last quantum, and those kept of the ones before."""
    return [p for p in sorted(repository.iterdir()) if p.is_dir() and p.name.split("-")[0] == "outputs"]


def _outputs(manifest: Manifest, repository: Path) -> Iterator[Line]:
    places = _places(repository)
    for quantum in manifest.quanta:
        for connection, planned in quantum.outputs.items():
            for i in planned.datasets:
                item = manifest.outputs[i]
                below = item.local.removeprefix("outputs/")
                path = next((top / below for top in places if (top / below).is_file()), None)
                name = f"output {in_words(item.type, item.data_id)}"
                if path is not None:
                    yield Line(
                        name, "ok", f"made: {path.relative_to(repository)}, {path.stat().st_size} bytes"
                    )
                elif planned.optional:
                    yield Line(name, "ok", f"not made, and optional: {item.local}")
                else:
                    fix = f"task {quantum.task} writes it by quantum.put({connection!r}, …) or to quantum.path({connection!r})"
                    yield Line(name, "warn", f"missing: {item.local}", fix)


def _unplanned(manifest: Manifest, repository: Path) -> Iterator[Line]:
    planned = {o.local.removeprefix("outputs/") for o in manifest.outputs}
    ignored = [pattern for quantum in manifest.quanta for pattern in quantum.ignore]
    tops = [*_places(repository), *sorted((repository / "work").glob("*"))]
    for top in tops:
        for path in sorted(p for p in top.rglob("*") if p.is_file()):
            below = path.relative_to(top).as_posix()
            if below in planned and top.name.startswith("outputs"):
                continue
            if any(fnmatch.fnmatchcase(below, p) or fnmatch.fnmatchcase(path.name, p) for p in ignored):
                continue
            yield Line(
                "unplanned",
                "fail",
                str(path.relative_to(repository)),
                "declare it as an output, or under 'ignore'",
            )


def _receipts(manifest: Manifest) -> Iterator[Line]:
    store = _store(manifest, manifest.store)
    for quantum in manifest.quanta:
        name = f"quantum {in_words(quantum.task, quantum.data_id)}"
        yield Line(name, "ok", _settled(store, quantum))


def _settled(store: Store | None, quantum: ManifestQuantum) -> str:
    if store is None:
        return "whether it is settled is not known: its store is not at hand"
    try:
        receipt = read_receipt(store, quantum.receipt)
    except PrestowError as error:
        return f"its receipt cannot be read: {error.problems[0].what}"
    return (
        "not settled in its store"
        if receipt is None
        else f"settled in its store: {receipt.state}{f':{receipt.code}' if receipt.code else ''}"
    )


def _tail(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - (1 << 16), 0))
        return tuple(file.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _following(manifest: Manifest, file: Path, lines: list[Line]) -> str:
    if manifest.store == SANDBOX:  # its outputs are a directory of its own, and settled there
        return f"prestow debug {manifest.job} --plan {manifest.plan[:8]} --keep"
    if any(line.state == "fail" and "CHANGED" in line.detail for line in lines):
        return f"python -m prestow.node {file} --keep"
    if any(line.state != "ok" for line in lines):
        return f"python -m prestow.node {file} --keep --debug"
    return f"prestow debug {manifest.job} --plan {manifest.plan[:8]}"
