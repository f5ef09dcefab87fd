"""Many manifests in one file, and what an engine carries to and from a job's working directory.

A pack is a line of JSON, the index, then a line with what its jobs share, and then a line for each
job with what is its own (`prestow.node.short`). The index gives, for each job's name, offset (from
the end of the index) and length, and the digest of all that follows it.

Where an engine moves files, a job starts in a directory that holds what it declared, each file
under its logical name: receipts of its parents under the receipts' own names, and inputs that
exist as objects of the store `CARRIED`, which is this directory. The job leaves its own receipts
there, under their names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from prestow.errors import Problem, TaskError
from prestow.manifest import CARRIED, FLAT, Manifest, Receipt
from prestow.node.short import expanded, shortened

PACK_SCHEMA = "prestow.pack/2"


def pack(manifests: Iterable[Manifest]) -> bytes:
    r"""Give the bytes of a pack, the same for the same manifests in the same order.

    Examples
    --------
    >>> pack([]).partition(b"\n")[2]
    b'{"inputs":[],"tasks":{}}\n'
    """
    told = list(manifests)
    shared, own = shortened(told)
    bodies = [_line(shared)]
    jobs: dict[str, list[int]] = {}
    at = len(bodies[0])
    for manifest, short in zip(told, own, strict=True):
        bodies.append(_line(short))
        jobs[manifest.job] = [at, len(bodies[-1])]
        at += len(bodies[-1])
    body = b"".join(bodies)
    return _line({"jobs": jobs, "schema": PACK_SCHEMA, "sha256": sha256(body).hexdigest()}) + body


def read_packed(path: Path, job: str) -> Manifest:
    """Give one job's manifest.

    Raises
    ------
    TaskError
        If the file is no pack, has no such job, or is damaged (PST-N009).
    """
    jobs, shared, body = _opened(path)
    if job not in jobs:
        raise _unreadable(f"it has no job '{job}'", path, "see its index, the first line")
    return _manifest(path, shared, body, jobs[job])


def packed_jobs(path: Path) -> Iterator[Manifest]:
    """Give every manifest of a pack, in the order in which they lie there."""
    jobs, shared, body = _opened(path)
    for place in sorted(jobs.values()):
        yield _manifest(path, shared, body, place)


def _opened(path: Path) -> tuple[dict[str, list[int]], dict[str, Any], bytes]:
    """Read a pack: where its jobs are, what they share, and all that follows the index."""
    try:
        with path.open("rb") as file:
            jobs, digest = _index(file.readline())
            body = file.read()
        whole = sha256(body).hexdigest() == digest
        shared = json.loads(body[: body.index(b"\n")]) if whole else {}
    except OSError as error:
        raise _unreadable(error.strerror or str(error), path) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _unreadable(f"it is not a pack of schema {PACK_SCHEMA}", path) from error
    if not whole:
        raise _unreadable("it is damaged", path, "copy the file again")
    return jobs, shared, body


def _index(line: bytes) -> tuple[dict[str, list[int]], str]:
    head = json.loads(line)
    if head["schema"] != PACK_SCHEMA:
        raise ValueError("another schema")
    return head["jobs"], head["sha256"]


def _manifest(path: Path, shared: dict[str, Any], body: bytes, place: list[int]) -> Manifest:
    try:
        offset, length = place
        return expanded(shared, json.loads(body[offset : offset + length]))
    except (ValueError, TypeError) as error:
        raise _unreadable(str(error), path) from error


def _line(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode() + b"\n"


def carried(manifest: Manifest, directory: Path) -> Manifest:
    """Give a manifest whose store `CARRIED` is this directory."""
    return replace(manifest, stores={**manifest.stores, CARRIED: f"file://{directory.absolute()}"})


def in_layout(manifest: Manifest, name: str) -> str:
    """Give the logical name of a file of the output store: its name there, or that in the layout *flat*."""
    if manifest.layout != FLAT:
        return name
    from prestow.model.flat import flat_name  # only where names are flat

    return flat_name(name)


def carried_receipts(manifest: Manifest, directory: Path) -> dict[str, Receipt]:
    """Give the receipts of a job's inputs that lie in a directory, by quantum.

    Raises
    ------
    TaskError
        If a file of that name is not a receipt (PST-N009).
    """
    own = {quantum.id for quantum in manifest.quanta}
    found = {}
    for name in sorted({i.receipt for i in manifest.inputs if i.receipt and i.producer not in own}):
        try:
            receipt = Receipt.from_json((directory / in_layout(manifest, name)).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # the node looks in the store
        except (OSError, ValueError) as error:
            what = f"a carried receipt cannot be read: {error}"
            raise TaskError(Problem("PST-N009", what, name, "see how it came here")) from error
        found[receipt.quantum] = receipt
    return found


def leave_receipts(manifest: Manifest, receipts: Iterable[Receipt], directory: Path) -> None:
    """Write receipts of the job's quanta under their names, for the engine to take on."""
    names = {quantum.id: quantum.receipt for quantum in manifest.quanta}
    for receipt in receipts:
        target = directory / in_layout(manifest, names[receipt.quantum])
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}-{os.getpid()}")
        fresh.write_text(receipt.to_json(), encoding="utf-8")
        fresh.replace(target)


def _unreadable(what: str, path: Path, fix: str = "") -> TaskError:
    return TaskError(Problem("PST-N009", f"the pack of manifests cannot be read: {what}", str(path), fix))
