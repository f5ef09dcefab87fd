"""Many manifests in one file, and what an engine carries to and from a job's working directory.

A pack is a line of JSON, the index, and then the manifests one after the other. The index gives,
for each job's name, offset (from the end of the index), length and digest, so a job reads its own
manifest and no other.

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

from prestow.errors import Problem, TaskError
from prestow.manifest import Manifest, Receipt

PACK_SCHEMA = "prestow.pack/1"

FLAT = "flat"
"""The layout in which all logical names are of one directory."""

CARRIED = "_carried"
"""Name of the store that is the job's working directory; its URI is known there only."""


def pack(manifests: Iterable[Manifest]) -> bytes:
    r"""Give the bytes of a pack, the same for the same manifests in the same order.

    Examples
    --------
    >>> pack([]).decode()
    '{"jobs":{},"schema":"prestow.pack/1"}\n'
    """
    jobs: dict[str, list[int | str]] = {}
    bodies: list[bytes] = []
    at = 0
    for manifest in manifests:
        body = manifest.to_json().encode() + b"\n"
        jobs[manifest.job] = [at, len(body), sha256(body).hexdigest()]
        bodies.append(body)
        at += len(body)
    index = json.dumps({"jobs": jobs, "schema": PACK_SCHEMA}, separators=(",", ":"), sort_keys=True)
    return b"".join((index.encode(), b"\n", *bodies))


def read_packed(path: Path, job: str) -> str:
    """Give the text of one job's manifest.

    Raises
    ------
    TaskError
        If the file is no pack, has no such job, or is damaged (PST-N009).
    """
    try:
        with path.open("rb") as file:
            jobs = _index(file.readline())
            if job not in jobs:
                raise _unreadable(f"it has no job '{job}'", path, "see its index, the first line")
            offset, length, digest = jobs[job]
            file.seek(offset, os.SEEK_CUR)
            body = file.read(length)
    except OSError as error:
        raise _unreadable(error.strerror or str(error), path) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _unreadable(f"it is not a pack of schema {PACK_SCHEMA}", path) from error
    if sha256(body).hexdigest() != digest:
        raise _unreadable(f"the manifest of job '{job}' is damaged", path, "copy the file again")
    return body.decode()


def packed_jobs(path: Path) -> Iterator[Manifest]:
    """Give every manifest of a pack, in the order in which they lie there."""
    with path.open("rb") as file:
        jobs = _index(file.readline())
    for job in sorted(jobs, key=lambda name: jobs[name][0]):
        yield Manifest.from_json(read_packed(path, job))


def _index(line: bytes) -> dict[str, tuple[int, int, str]]:
    head = json.loads(line)
    if head["schema"] != PACK_SCHEMA:
        raise ValueError("another schema")
    return {
        name: (int(offset), int(length), str(digest))
        for name, (offset, length, digest) in head["jobs"].items()
    }


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
