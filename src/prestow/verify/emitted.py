"""An emitted directory held against its plan: the same jobs, edges and files, and nothing that would not arrive.

Knows nothing of the emitter: what each job needs and makes is worked out again from the plan's tables,
and held to what lies in the directory, line by line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prestow.verify.emitted_expected import Expected, Jobs, Reading
from prestow.verify.emitted_manifests import Tars, check_manifest
from prestow.verify.emitted_order import check_order
from prestow.verify.emitted_packs import Packs
from prestow.verify.emitted_reading import (
    INPUTS,
    PARTS,
    Replica,
    Submission,
    entries,
    read_submission,
    replicas,
)
from prestow.verify.findings import SHOWN, Finding, Findings
from prestow.verify.paper import Paper, Plain, open_paper

ID = re.compile(r"[-0-9A-Za-z_]+")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@~%-]*(?:/[A-Za-z0-9._+@~%-]+)*")
URL = re.compile(r"[a-z0-9]+://[A-Za-z0-9._+@~/:%-]*")
_PART = re.compile(r"([0-9]+)/workflow\.yml")


@dataclass(frozen=True, slots=True)
class EmittedReport:
    """What of an emitted directory was checked, and what is wrong with it.

    Parameters
    ----------
    jobs, edges, files, parts : int
        Jobs, pairs of which one waits for the other, existing files that are brought to jobs, sub-workflows.
    findings : tuple of Finding
        By code; none: the directory says what the plan says.
    """

    jobs: int
    edges: int
    files: int
    parts: int
    findings: tuple[Finding, ...]

    @property
    def proved(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "proved": self.proved, "jobs": self.jobs, "edges": self.edges, "files": self.files, "parts": self.parts,
            "findings": [
                {"code": f.code, "what": f.meaning, "count": f.count, "examples": list(f.examples)} for f in self.findings
            ],
        }  # fmt: skip


@dataclass(slots=True)
class _Seen:
    """What was met on the way through all documents."""

    job_of: dict[str, int] = field(default_factory=dict)  # id of a job -> its number
    part_of: dict[int, int] = field(default_factory=dict)  # number of a job -> its part
    edges: set[tuple[int, int]] = field(default_factory=set)
    made: dict[int, int] = field(default_factory=dict)  # hash of a name -> part in which it is made
    files: int = 0


def verify_emitted(plan: str | Path, directory: str | Path) -> EmittedReport:
    """Hold an emitted directory against the plan of which it was made.

    Parameters
    ----------
    plan : path
        Directory of the plan. That the plan itself is sound is another question, `prestow.verify.verify`'s.
    directory : path
        What ``prestow emit`` wrote.

    Returns
    -------
    EmittedReport
        Never raises for what is wrong with either.
    """
    findings = Findings()
    paper = open_paper(Path(plan).resolve(), findings)
    place = Path(directory)
    submission = read_submission(place, findings)
    if paper is None or submission is None:
        if paper is not None:
            paper.close()
        return EmittedReport(0, 0, 0, 0, findings.all())
    try:
        return _Check(paper, place, submission, findings).run()
    finally:
        paper.close()


class _Check:
    def __init__(self, paper: Paper, directory: Path, submission: Submission, findings: Findings) -> None:
        self._paper, self._directory, self._how, self._findings = paper, directory, submission, findings
        self._jobs = Jobs(paper, submission)
        self._packs = Packs(directory, findings)
        self._tars = Tars(directory, findings)
        self._seen = _Seen()
        top = str(directory / INPUTS)
        self._brought = {
            os.path.join(at, name)[len(top) + 1 :] for at, _, names in os.walk(top) for name in names
        }

    def run(self) -> EmittedReport:
        seen, findings = self._seen, self._findings
        self._origin()
        waits = self._root()
        emitted = self._jobs.emitted()
        lacking = sorted(emitted - seen.part_of.keys())
        shown = [f"{self._jobs.names[n]} is not there" for n in lacking[:SHOWN]]
        findings.add("PST-V052", shown, len(lacking))
        settled = [self._jobs.names[n] for n in seen.part_of if n not in emitted]
        shown = [f"{name} is there, and all of it is settled" for name in sorted(settled)[:SHOWN]]
        findings.add("PST-V052", shown, len(settled))
        check_order(self._jobs, seen.part_of, seen.edges, waits, findings)
        self._packs.finish()
        counted = {"jobs": len(seen.part_of), "edges": len(seen.edges)}
        if self._how.parts:
            del counted["edges"]  # some are said by parts, for many jobs at once
        wrong = [
            f"{self._how.counts[n]:,} {n}, and there are {found:,}"
            for n, found in counted.items()
            if self._how.counts.get(n, found) != found
        ]
        findings.add("PST-V064", wrong)
        return EmittedReport(len(seen.part_of), len(seen.edges), seen.files, self._how.parts, findings.all())

    def _origin(self) -> None:
        how, document = self._how, self._paper.document
        wrong = [
            f"submission.json says {kind} {said}, the plan is of {kind} {stated}"
            for kind, said, stated in (("plan", how.plan, document["id"]), ("run", how.run, self._paper.run))
            if said != stated
        ]
        wrong += [
            f"quanta {first} to {last} would be settled, and the plan has {self._jobs.quanta}"
            for first, last in how.settled
            if not 0 <= first <= last < self._jobs.quanta
        ]
        self._findings.add("PST-V051", wrong)
        for name in ("sites.yml", "transformations.yml", "pegasus.properties"):
            if not (self._directory / name).is_file():
                self._findings.add("PST-V050", [f"{name}: it is not there"])

    def _root(self) -> set[tuple[int, int]]:
        """Check the workflow, and the parts that it has; give which part waits for which."""
        if not self._how.parts:
            self._workflow(0, self._directory)
            return set()
        path = self._directory / "workflow.yml"
        parts: dict[str, int] = {}
        waits: set[tuple[int, int]] = set()
        for name, entry in entries(path, ("jobs", "jobDependencies"), self._findings):
            if name == "jobs":
                found = _PART.fullmatch(str(entry.get("file")))
                if entry.get("type") != "pegasusWorkflow" or found is None:
                    self._findings.add("PST-V052", [f"{entry.get('id')} stands beside the parts"])
                elif int(found[1]) in parts.values():
                    self._findings.add("PST-V053", [f"part {found[1]} stands twice"])
                else:
                    parts[str(entry.get("id"))] = int(found[1])
                continue
            for parent, child in self._ends(entry):
                if parent in parts and child in parts:
                    waits.add((parts[parent], parts[child]))
                else:
                    self._findings.add("PST-V054", [f"{child} waits for {parent}: there are no such parts"])
        lacking = sorted({*range(self._how.parts)} - {*parts.values()})
        self._findings.add("PST-V052", [f"part {k} is not in the workflow" for k in lacking])
        for part in sorted(parts.values()):
            self._workflow(part, self._directory / PARTS / str(part))
        return waits

    def _workflow(self, part: int, directory: Path) -> None:
        there = replicas(directory / "replicas.yml", self._findings)
        used: set[str] = set()
        for name, entry in entries(directory / "workflow.yml", ("jobs", "jobDependencies"), self._findings):
            if name == "jobs":
                self._job(part, entry, there, used)
                continue
            for parent, child in self._ends(entry):
                ends = self._seen.job_of.get(parent), self._seen.job_of.get(child)
                if ends[0] is None or ends[1] is None:
                    lost = parent if ends[0] is None else child
                    self._findings.add("PST-V054", [f"{child} waits for {parent}, and there is no {lost}"])
                else:
                    self._seen.edges.add((ends[0], ends[1]))
        self._seen.files += len(there)
        unread = sorted(there.keys() - used)
        self._findings.add("PST-V065", unread[:SHOWN], len(unread))
        self._names(part, there)

    def _names(self, part: int, there: dict[str, Replica]) -> None:
        odd = [f"{name!r}" for name in there if not good_name(name)]
        odd += [f"{r.url!r}" for r in there.values() if not URL.fullmatch(r.url)]
        self._findings.add("PST-V063", odd[:SHOWN], len(odd))
        # what another part made is there when this one begins
        twice = [name for name in there if self._seen.made.get(hash(name), -1) == part]
        shown = [f"{name} is there, and a job makes it" for name in twice[:SHOWN]]
        self._findings.add("PST-V058", shown, len(twice))

    def _ends(self, entry: Plain) -> Iterable[tuple[str, str]]:
        parent, children = entry.get("id"), entry.get("children")
        if not isinstance(parent, str) or not isinstance(children, list):
            self._findings.add("PST-V050", ["workflow.yml: an entry of 'jobDependencies' without its ends"])
            return []
        return [(parent, str(child)) for child in children]

    def _job(self, part: int, entry: Plain, there: dict[str, Replica], used: set[str]) -> None:
        found = _Job.of(entry)
        number = self._jobs.numbers.get(found.name)
        if number is None:
            self._findings.add("PST-V052", [f"{found.id}: the plan has no job {found.name!r}"])
            return
        if number in self._seen.part_of or found.id in self._seen.job_of or not ID.fullmatch(found.id):
            self._findings.add("PST-V053", [f"job {found.name}, id {found.id!r}"])
        self._seen.part_of[number] = part
        self._seen.job_of[found.id] = number
        expected = self._jobs.expected(number)
        manifest = self._packs.manifest(found.pack, found.name)
        places = check_manifest(manifest, self._how, found.name, expected, self._paper, self._findings)
        self._outputs(part, found, expected)
        self._inputs(found, expected, places, there, used)

    def _outputs(self, part: int, found: _Job, expected: Expected) -> None:
        wrong = _difference(found.outputs.keys(), expected.makes, set())
        wrong += [
            f"{name}: stageOut is {found.outputs[name]}"
            for name in sorted(expected.makes & found.outputs.keys())
            if found.outputs[name] is not self._how.landing
        ]
        self._findings.add("PST-V057", [f"job {found.name}: {text}" for text in wrong])
        odd = [f"job {found.name}: {name!r}" for name in found.outputs if not good_name(name)]
        self._findings.add("PST-V063", odd)
        twice = [f"{name}, job {found.name}" for name in found.outputs if hash(name) in self._seen.made]
        self._findings.add("PST-V058", twice)
        self._seen.made.update((hash(name), part) for name in found.outputs)

    def _inputs(
        self,
        found: _Job,
        expected: Expected,
        places: dict[str, tuple[str, str]],
        there: dict[str, Replica],
        used: set[str],
    ) -> None:
        """Hold a job's inputs to what it needs, and what exists of them to the plan's records."""
        needs, may = {*expected.needs, found.pack}, {*expected.may}
        if self._how.parts and not self._how.landing:
            receipts = {n for n in needs if n.startswith(("_receipts/", "_receipts+"))}
            needs, may = needs - receipts, may | receipts  # what another part made lies in the store by then
        if not self._how.staged_by_node:
            tar = self._tars.check(found.name, expected, places)
            needs |= tar.needs | {r.name for n, r in expected.reads.items() if n not in tar.holds}
            needs |= {places[n][1] for n in expected.elsewhere if places.get(n, ("", ""))[0] == "_carried"}
        wrong = _difference(found.inputs, needs, may)
        self._findings.add("PST-V056", [f"job {found.name}: {text}" for text in wrong])
        for reading in expected.reads.values():
            if reading.name in there and reading.name in found.inputs:
                self._replica(reading, there[reading.name])
        for name in sorted(expected.others.keys() & there.keys()):
            crossing = Reading(name, self._how.store, expected.others[name], None, None)
            self._replica(crossing, there[name])
        if self._jobs.code in there and self._jobs.code_facts is not None:
            size, digest = self._jobs.code_facts
            code = Reading(str(self._jobs.code), "", f"_code/{digest}.zip", size, digest)
            self._replica(code, there[code.name])
        used |= found.inputs & there.keys()
        made = {n for n in expected.needs if n not in {self._jobs.code, self._how.node}}
        nowhere = [
            name
            for name in sorted(n for n in found.inputs if n not in there)
            if name not in made
            and name not in expected.may
            and not (self._directory / INPUTS / name).is_file()
        ]
        self._findings.add("PST-V059", [f"job {found.name}: {name}" for name in nowhere])

    def _replica(self, reading: Reading, replica: Replica) -> None:
        wrong = []
        if reading.size is not None and replica.size != str(reading.size):
            wrong.append(f"{reading.name}: {replica.size} bytes, the plan has {reading.size}")
        if reading.sha256 is not None and replica.sha256 != reading.sha256:
            wrong.append(f"{reading.name}: sha256 {replica.sha256}, the plan has {reading.sha256}")
        root = self._how.stores.get(reading.store)
        right = f"{root.rstrip('/')}/{reading.path}" if root else reading.path
        at = replica.url == right if root else replica.url.endswith(f"/{right}")
        landed = reading.sha256 is None and self._how.landing and replica.url.endswith(f"/{reading.name}")
        if not at and not landed:
            wrong.append(f"{reading.name}: at {replica.url}, the plan has {right}")
        self._findings.add("PST-V062", wrong)


@dataclass(frozen=True, slots=True)
class _Job:
    """An entry of a job, as it lies there."""

    id: str
    name: str
    pack: str
    inputs: set[str]
    outputs: dict[str, object]  # name -> stageOut

    @classmethod
    def of(cls, entry: Plain) -> _Job:
        """Read an entry; what it lacks is empty, and found wrong later."""
        words = [str(word) for word in entry.get("arguments") or ()]
        at = words.index("--job") if "--job" in words[1:-1] else 0
        uses = [use for use in entry.get("uses") or () if isinstance(use, dict)]
        return cls(
            id=str(entry.get("id")),
            name=words[at + 1] if at else "",
            pack=words[at - 1] if at else "",
            inputs={str(use.get("lfn")) for use in uses if use.get("type") == "input"},
            outputs={str(use.get("lfn")): use.get("stageOut") for use in uses if use.get("type") == "output"},
        )


def good_name(name: str) -> bool:
    """Say whether a logical name arrives as it is, at a place below a directory.

    Examples
    --------
    >>> good_name("raw/1.fits"), good_name("raw/../1.fits"), good_name("it's")
    (True, False, False)
    """
    dots = any(part in (".", "..") for part in name.split("/")) if "/." in name else False
    return bool(NAME.fullmatch(name)) and not dots and name not in (".", "..")


def _difference(found: Iterable[str], needs: set[str], may: set[str]) -> list[str]:
    there = set(found)
    return [
        *(f"it lacks {name}" for name in sorted(needs - there)),
        *(f"{name} is none of its files" for name in sorted(there - needs - may)),
    ]
