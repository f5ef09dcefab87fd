"""What a job is told, in its manifest and in its tar, held to the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prestow.verify.emitted_expected import Expected
from prestow.verify.emitted_packs import CARRIED
from prestow.verify.emitted_reading import INPUTS, UNREADABLE, Submission, members
from prestow.verify.findings import Findings
from prestow.verify.paper import Paper, Plain

Places = dict[str, tuple[str, str]]
"""Dataset -> store and path, as a manifest says."""


def check_manifest(
    manifest: Plain | None,
    how: Submission,
    job: str,
    expected: Expected,
    paper: Paper,
    findings: Findings,
) -> Places:
    """Hold a manifest to the plan; give where it says that inputs are."""
    if manifest is None:
        return {}
    try:
        wrong, places = _differences(manifest, how, job, expected, paper)
    except UNREADABLE as error:
        findings.add("PST-V061", [f"job {job}: it cannot be understood: {error!r}"])
        return {}
    findings.add("PST-V061", [f"job {job}: {text}" for text in wrong])
    return places


def _differences(
    manifest: Plain, how: Submission, job: str, expected: Expected, paper: Paper
) -> tuple[list[str], Places]:
    stated = {"job": job, "plan": paper.document["id"], "run": paper.run}
    wrong = [f"{n} {manifest[n]!r}, not {value!r}" for n, value in stated.items() if manifest[n] != value]
    if manifest.get("layout", "tree") != how.layout:
        wrong.append(f"layout {manifest.get('layout', 'tree')}, not {how.layout}")
    quanta = {q["id"]: (q["recipe"], q["receipt"]) for q in manifest["quanta"]}
    wrong += _unlike("quantum", quanta, expected.quanta)
    outputs = {o["id"]: o["path"] for o in manifest["outputs"]}
    wrong += _unlike("output", outputs, expected.outputs)
    inputs = {i["id"]: (i["size"], i["sha256"]) for i in manifest["inputs"]}
    there = {n: (r.size, r.sha256) for n, r in expected.reads.items()}
    elsewhere = set(inputs) - there.keys() - expected.planned - expected.own
    wrong += _unlike("input", {n: v for n, v in inputs.items() if n in there}, there)
    lacking = (expected.planned | expected.own) - set(inputs)
    wrong += [f"input {n} is not there" for n in sorted(lacking)]
    if len(elsewhere) != len(
        expected.elsewhere
    ):  # what settled quanta made may have another id, of another run
        names = ", ".join(sorted(elsewhere - expected.elsewhere)) or "none"
        count = len(expected.elsewhere)
        wrong.append(f"{count} inputs were made before, and {len(elsewhere)} are told: {names}")
    places = {n: (p["store"], p["path"]) for n, p in manifest["locations"].items()}
    wrong += [
        f"input {n} has a place, and nobody made it yet" for n in sorted(places.keys() & expected.planned)
    ]
    for name, reading in sorted(expected.reads.items()):
        right = {(reading.store, reading.path)} if how.staged_by_node else {(CARRIED, reading.name)}
        place = places.get(name)
        if place not in right and not (place and how.layout == "tar" and _member(place) is not None):
            wrong.append(f"input {name} is told to be at {place}, not at {min(right)}")
    for name in elsewhere:  # known by the manifest alone
        expected.elsewhere.add(name)
    return wrong, places


def _unlike(kind: str, found: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    return [
        *(f"{kind} {n} is not there" for n in sorted(wanted.keys() - found.keys())),
        *(f"{kind} {n} is none of the job's" for n in sorted(found.keys() - wanted.keys())),
        *(f"{kind} {n}: {found[n]}, the plan has {wanted[n]}" for n in sorted(found.keys() & wanted.keys()) if found[n] != wanted[n]),
    ]  # fmt: skip


def _member(place: tuple[str, str]) -> tuple[str, str] | None:
    name, found, member = place[1].partition(".tar#")
    return (f"{name}.tar", member) if found and place[0] == CARRIED else None


@dataclass(slots=True)
class Tarred:
    """Of a job: the logical names of its tars, and the datasets that these hold."""

    needs: set[str] = field(default_factory=set)
    holds: set[str] = field(default_factory=set)


class Tars:
    """Tars of jobs, held to what the plan says of their members."""

    def __init__(self, directory: Path, findings: Findings) -> None:
        self._directory = directory / INPUTS
        self._findings = findings

    def check(self, job: str, expected: Expected, places: Places) -> Tarred:
        """Hold the tar of a job to the plan: each member is one of its inputs, with the plan's content."""
        tarred = Tarred()
        wanted: dict[str, dict[str, str]] = {}
        for dataset, place in places.items():
            member = _member(place)
            if member is not None:
                wanted.setdefault(member[0], {})[member[1]] = dataset
                tarred.holds.add(dataset)
                expected.elsewhere.discard(dataset)
        tarred.needs |= wanted.keys()
        for tar, held in sorted(wanted.items()):
            found = members(self._directory / tar, self._findings)
            wrong = [f"it lacks {name}" for name in sorted(held.keys() - found.keys())]
            wrong += [f"{name} is none of the job's inputs" for name in sorted(found.keys() - held.keys())]
            for name in sorted(held.keys() & found.keys()):
                reading = expected.reads.get(held[name])
                if reading is not None and (reading.size, reading.sha256) != found[name]:
                    wrong.append(f"{name} has other content than the plan's {reading.path}")
            self._findings.add("PST-V066", [f"{tar} of job {job}: {text}" for text in wrong])
        return tarred
