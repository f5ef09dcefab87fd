"""An emitted directory as it lies there: documents line by line, packs by their index, tars by their members."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from prestow.verify.findings import Findings
from prestow.verify.paper import Plain

SCHEMA = "prestow.submission/1"
INPUTS = "inputs"
PARTS = "parts"

_LIST = re.compile(r'^"([A-Za-z]+)":\[$')
_PLAIN_FLAT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")
_CHUNK = 1 << 20

UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What can go wrong while something is read that anybody may have written."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What ``submission.json`` says of how an emission was made.

    Parameters
    ----------
    settled : tuple of (int, int)
        First and last numbers of quanta that are left out, because they are settled or reused.
    node : str
        Logical name of the node's own program, if it travels; else empty.
    """

    plan: str
    run: str
    store: str = "archive"
    stores: dict[str, str] = field(default_factory=dict)
    landing: bool = False
    staged_by_node: bool = False
    layout: str = "tree"
    node: str = ""
    parts: int = 0
    settled: tuple[tuple[int, int], ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def read_submission(directory: Path, findings: Findings) -> Submission | None:
    """Read what says how it was made, or note why it cannot be read."""
    try:
        said = json.loads((directory / "submission.json").read_text(encoding="utf-8"))
        if said["schema"] != SCHEMA:
            raise ValueError(f"schema {said['schema']!r}, not {SCHEMA!r}")
        return Submission(
            plan=str(said["plan"]),
            run=str(said["run"]),
            store=str(said.get("store", "archive")),
            stores={str(k): str(v) for k, v in (said.get("stores") or {}).items()},
            landing=said.get("products", "store") == "landing",
            staged_by_node=said.get("staging", "pegasus") == "prestow",
            layout=str(said.get("layout", "tree")),
            node=str(said.get("node_lfn") or ""),
            parts=int(said.get("parts") or 0),
            settled=tuple((int(a), int(b)) for a, b in said.get("settled") or ()),
            counts={n: said[n] for n in ("jobs", "edges") if isinstance(said.get(n), int)},
        )
    except UNREADABLE as error:
        findings.add("PST-V050", [f"submission.json: {why(error)}"])
        return None


def entries(path: Path, wanted: tuple[str, ...], findings: Findings) -> Iterator[tuple[str, Plain]]:
    """Give the entries of these lists of a document, each with the name of its list, one at a time.

    A line that cannot be read is noted, and so is a document that ends before its end.
    """
    name, whole = "", False
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                text = line.strip()
                if started := _LIST.match(text):
                    name = started[1]
                elif text.startswith("]"):
                    name, whole = "", text.endswith("}")
                elif name in wanted:
                    entry = _parsed(text.removesuffix(","))
                    if entry is None:
                        findings.add("PST-V050", [f"{path.name}, line {number}: no entry of '{name}'"])
                        continue
                    yield name, entry
    except (OSError, UnicodeDecodeError) as error:
        findings.add("PST-V050", [f"{path.name}: {why(error)}"])
        return
    if not whole:
        findings.add("PST-V050", [f"{path.name}: it ends before its end"])


def _parsed(text: str) -> Plain | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def why(error: Exception) -> str:
    """Say what went wrong while something was read."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


@dataclass(frozen=True, slots=True)
class Replica:
    """Where a file is that exists, and what is said of it; ``used`` by no job as yet."""

    url: str
    size: str | None
    sha256: str | None


def replicas(path: Path, findings: Findings) -> dict[str, Replica]:
    """Give all replicas of a catalogue, by logical name."""
    found: dict[str, Replica] = {}
    for _, entry in entries(path, ("replicas",), findings):
        try:
            name = str(entry["lfn"])
            (place,) = entry["pfns"]
            size = (entry.get("metadata") or {}).get("size")
            digest = (entry.get("checksum") or {}).get("sha256")
            replica = Replica(str(place["pfn"]), size, digest)
        except UNREADABLE as error:
            findings.add("PST-V050", [f"{path.name}: an entry without what it needs: {why(error)}"])
            continue
        if name in found:
            findings.add("PST-V058", [f"{name} is there twice, in {path.name}"])
        found[name] = replica
    return found


def flat(name: str) -> str:
    """Give a name in the layout in which all files lie in one directory.

    Examples
    --------
    >>> flat("raw/2026/a b.fits"), flat(".x")
    ('raw+2026+a~20b.fits', '_~+.x')
    """
    if not _PLAIN_FLAT.fullmatch(name):
        octets = (c if re.fullmatch(r"[A-Za-z0-9._/-]", c) else _escape(c) for c in name)
        name = "".join(octets)
        if not re.match(r"[A-Za-z0-9_]", name):
            name = f"_~+{name}"
            return name[:3] + name[3:].replace("/", "+")
    return name.replace("/", "+")


def _escape(character: str) -> str:
    return "".join(f"~{octet:02X}" for octet in character.encode())


def members(path: Path, findings: Findings) -> dict[str, tuple[int, str]]:
    """Give size and SHA-256 of each member of a tar, by name."""
    found: dict[str, tuple[int, str]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is None:
                    findings.add("PST-V066", [f"{path.name}: {member.name} is no plain file"])
                    continue
                digest = sha256()
                while piece := stream.read(_CHUNK):
                    digest.update(piece)
                found[member.name] = (member.size, digest.hexdigest())
    except (OSError, tarfile.TarError) as error:
        findings.add("PST-V050", [f"{path.name}: {error}"])
    return found
