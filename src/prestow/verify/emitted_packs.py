"""Manifests from the packs in which they travel, read from what is written of them and not by the node's own code."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from prestow.verify.emitted_reading import INPUTS, UNREADABLE, flat, why
from prestow.verify.findings import Findings
from prestow.verify.paper import Plain

PACK = "prestow.pack/2"
CARRIED = "_carried"


class Packs:
    """Manifests of jobs; of a pack all is in memory while its jobs are asked for."""

    def __init__(self, directory: Path, findings: Findings) -> None:
        self._directory = directory / INPUTS
        self._findings = findings
        self._waiting: dict[str, dict[str, Any]] = {}  # of each pack, its jobs that nobody asked for yet
        self._damaged: set[str] = set()
        self._open = ""
        self._body = b""
        self._shared: Plain = {}

    def manifest(self, pack: str, job: str) -> Plain | None:
        """Give the manifest of a job, whole, or note why there is none."""
        if pack != self._open:
            self._read(pack)
        if pack in self._damaged:
            return None
        place = self._waiting[pack].pop(job, None)
        if place is None:
            self._findings.add("PST-V060", [f"{pack} has none for job {job}"])
            return None
        try:
            offset, length = place
            return _whole(self._shared, json.loads(self._body[offset : offset + length]))
        except UNREADABLE as error:
            self._findings.add("PST-V060", [f"{pack}, job {job}: {why(error)}"])
            return None

    def _read(self, pack: str) -> None:
        self._open = pack
        known = pack in self._waiting
        try:
            with (self._directory / pack).open("rb") as file:
                head = json.loads(file.readline())
                self._body = file.read()
            if head["schema"] != PACK:
                raise ValueError(f"schema {head['schema']!r}")
            jobs = dict(head["jobs"])
            whole = sha256(self._body).hexdigest() == head["sha256"]
            self._shared = json.loads(self._body.partition(b"\n")[0]) if whole else {}
        except UNREADABLE as error:
            self._damage(pack, "PST-V050", f"{INPUTS}/{pack}: {why(error)}")
            return
        if not whole:
            self._damage(pack, "PST-V060", f"{pack}: its digest is another")
        elif not known:
            self._waiting[pack] = jobs

    def _damage(self, pack: str, code: str, what: str) -> None:
        if pack not in self._damaged:
            self._findings.add(code, [what])
        self._damaged.add(pack)

    def finish(self) -> None:
        """Note manifests that no job asked for."""
        for pack in sorted(self._waiting):
            left = sorted(self._waiting[pack])
            shown = [f"{pack} has one for {job}, which no job asks for" for job in left[:5]]
            self._findings.add("PST-V060", shown, len(left))


def _whole(shared: Plain, own: Plain) -> Plain:
    """Give a manifest with all that is checked of it: what is not said of a job follows from the rest."""
    found = {**shared, **own}
    lay = flat if found.get("layout") == "flat" else str
    found["quanta"] = [
        {"receipt": f"_receipts/{found['run']}/{q['task']}/{q['id'][:2]}/{q['id']}.json", **q}
        for q in own["quanta"]
    ]
    found["locations"], found["inputs"] = {}, []
    for told in own["inputs"]:
        item = {"size": None, "sha256": None, **(shared["inputs"][told] if isinstance(told, int) else told)}
        found["inputs"].append(item)
        if "location" in item:
            found["locations"][item["id"]] = item["location"]
        elif "in" in item:
            store, _, directory = item["in"].partition("/")
            path = f"{directory}/{item['path']}" if directory else item["path"]
            place = {"path": lay(path) if store == CARRIED else path, "store": store}
            found["locations"][item["id"]] = place
    return found
