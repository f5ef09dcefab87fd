"""The checker of emitted directories: real ones pass in every mode, and each planted damage is found for what it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from prestow.cli import main
from prestow.engines.pegasus.emission import emit
from prestow.model.flat import flat_name
from prestow.site import PegasusSettings, Site
from prestow.testing.campaigns import Campaign
from prestow.verify import verify_emitted
from prestow.verify.emitted_expected import flat
from prestow.verify.emitted_order import knot

Entry = dict[str, Any]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("campaign"), visits=5)


@pytest.fixture(scope="module")
def plan(campaign: Campaign) -> Any:
    return campaign.plan("toy")


def emitted(campaign: Campaign, plan: Any, into: Path, layout: str = "tree", **settings: Any) -> Path:
    stores = {} if settings.get("products") == "landing" else campaign.stores
    chosen = PegasusSettings("/usr/bin/python3", "/work", **settings)
    site = Site("pool", "pegasus", stores=stores, layout=layout, pegasus=chosen)
    emit(plan, site, into, home=campaign.stores)
    return into


@pytest.fixture(scope="module")
def sound(campaign: Campaign, plan: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(campaign, plan, tmp_path_factory.mktemp("sound") / "out")


@pytest.fixture(scope="module")
def cut(campaign: Campaign, plan: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(campaign, plan, tmp_path_factory.mktemp("cut") / "out", workflow_jobs=4)


def codes(plan: Any, directory: Path) -> set[str]:
    return {finding.code[-3:] for finding in verify_emitted(plan.directory, directory).findings}


MODES: dict[str, Entry] = {
    "condorio": {},
    "nonsharedfs": {"data": "nonsharedfs"},
    "sharedfs": {"data": "sharedfs"},
    "flat": {"layout": "flat"},
    "tar": {"layout": "tar"},
    "landing": {"products": "landing"},
    "landing, flat": {"products": "landing", "layout": "flat"},
    "staged by the node": {"staging": "prestow"},
    "in parts": {"workflow_jobs": 4},
    "landing, in parts": {"products": "landing", "workflow_jobs": 4},
}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_emitted_says_what_the_plan_says(
    campaign: Campaign, plan: Any, mode: str, tmp_path: Path
) -> None:
    report = verify_emitted(plan.directory, emitted(campaign, plan, tmp_path / "out", **MODES[mode]))
    assert [str(finding) for finding in report.findings] == []
    assert report.jobs == 11
    assert report.parts == (4 if "parts" in mode else 0)


# ------------------------------------------------------------ damage


def lines(path: Path, change: Callable[[list[str]], list[str] | None]) -> None:
    found = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(change(found) or found), encoding="utf-8")


def entry(path: Path, which: str, change: Callable[[Entry], None], nth: int = 0) -> None:
    """Change the n-th entry of a document that has a text in it."""

    def changed(found: list[str]) -> None:
        at = [i for i, line in enumerate(found) if which in line and line.startswith("{")][nth]
        comma = "," if found[at].rstrip().endswith(",") else ""
        value = json.loads(found[at].rstrip().removesuffix(","))
        change(value)
        found[at] = json.dumps(value, separators=(",", ":")) + comma + "\n"

    lines(path, changed)


def dropped(path: Path, which: str, nth: int = 0) -> None:
    def changed(found: list[str]) -> list[str]:
        at = [i for i, line in enumerate(found) if which in line and line.startswith("{")][nth]
        del found[at]
        if found[at].startswith("]"):
            found[at - 1] = found[at - 1].rstrip().removesuffix(",") + "\n"
        return found

    lines(path, changed)


def uses_without(kind: str, text: str) -> Callable[[Entry], None]:
    def change(job: Entry) -> None:
        before = len(job["uses"])
        job["uses"] = [u for u in job["uses"] if not (u["type"] == kind and text in u["lfn"])]
        assert len(job["uses"]) < before

    return change


def uses_with(kind: str, name: str) -> Callable[[Entry], None]:
    return lambda job: job["uses"].append({"lfn": name, "type": kind, "stageOut": False})


def repacked(directory: Path, job: str, change: Callable[[Entry], None]) -> None:
    """Change a manifest and write its pack as a sound one."""
    (path,) = directory.glob("inputs/manifests/00000.pack")
    head, *lines = path.read_bytes().splitlines(keepends=True)
    index = json.loads(head)
    names = ["", *sorted(index["jobs"], key=lambda n: index["jobs"][n][0])]
    at = 0
    for i, name in enumerate(names):
        if name == job:
            value = json.loads(lines[i])
            change(value)
            lines[i] = json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        if name:
            index["jobs"][name] = [at, len(lines[i])]
        at += len(lines[i])
    index["sha256"] = sha256(b"".join(lines)).hexdigest()
    text = json.dumps(index, separators=(",", ":"), sort_keys=True)
    path.write_bytes(text.encode() + b"\n" + b"".join(lines))


def told(directory: Path, **values: Any) -> None:
    path = directory / "submission.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def key(name: str, value: Any) -> Callable[[Entry], None]:
    return lambda found: found.__setitem__(name, value)


def first(name: str, **values: Any) -> Callable[[Entry], None]:
    return lambda found: found[name][0].update(values)


W, R = "workflow.yml", "replicas.yml"
JOB, RAW = '"double-1"', "raw/toy/raw-1.json"
RECEIPT = "_receipts/toy/double"

DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a job is gone": ("052", lambda d: dropped(d / W, JOB)),
    "a job of another plan": ("052", lambda d: entry(d / W, JOB, lambda j: j["arguments"].__setitem__(j["arguments"].index("--job") + 1, "double-99"))),
    "a settled quantum's job is there": ("052", lambda d: told(d, settled=[[0, 0]])),
    "a job stands twice": ("053", lambda d: lines(d / W, lambda found: [x for line in found for x in ([line.rstrip().removesuffix(",") + ",\n", line] if f'"id":{JOB}' in line and "uses" in line else [line])])),
    "an id that is none": ("053", lambda d: entry(d / W, JOB, key("id", "double 1"))),
    "an edge is gone": ("054", lambda d: dropped(d / W, '"children"')),
    "an edge to nobody": ("054", lambda d: entry(d / W, '"children"', lambda e: e["children"].append("nobody"))),
    "an edge too many": ("054", lambda d: entry(d / W, '"children"', lambda e: e["children"].append("double-2"))),
    "jobs wait for each other": ("055", lambda d: lines(d / W, lambda found: [*found[:-2], found[-2].rstrip() + ',\n{"id":"shift-1","children":["double-1"]}\n', found[-1]])),
    "an input is gone": ("056", lambda d: entry(d / W, JOB, uses_without("input", RAW))),
    "the code is gone": ("056", lambda d: entry(d / W, JOB, uses_without("input", "_code/"))),
    "a receipt that is needed is gone": ("056", lambda d: entry(d / W, '"shift-1"', uses_without("input", RECEIPT))),
    "an input too many": ("056", lambda d: entry(d / W, JOB, uses_with("input", "raw/toy/raw-2.json"))),
    "an output is gone": ("057", lambda d: entry(d / W, JOB, uses_without("output", RECEIPT))),
    "an output too many": ("057", lambda d: entry(d / W, JOB, uses_with("output", "toy/more.json"))),
    "a receipt is brought home": ("057", lambda d: entry(d / W, JOB, lambda j: [u.update(stageOut=True) for u in j["uses"] if u["type"] == "output"])),
    "two jobs make one file": ("058", lambda d: (entry(d / W, JOB, uses_with("output", "toy/x")), entry(d / W, '"double-2"', uses_with("output", "toy/x")))[0]),
    "what is made is there": ("058", lambda d: entry(d / W, JOB, uses_with("output", RAW))),
    "a replica stands twice": ("058", lambda d: lines(d / R, lambda found: [found[0], found[1], found[2], *found[2:]])),
    "an input is nowhere": ("059", lambda d: dropped(d / R, RAW)),
    "a pack is gone": ("050", lambda d: (d / "inputs/manifests/00000.pack").unlink()),
    "a pack is damaged": ("060", lambda d: byte(d / "inputs/manifests/00000.pack")),
    "a manifest is of another plan": ("061", lambda d: repacked(d, "double-1", key("plan", "0" * 32))),
    "a manifest has another recipe": ("061", lambda d: repacked(d, "double-1", first("quanta", recipe="0" * 32))),
    "a manifest has another receipt": ("061", lambda d: repacked(d, "double-1", first("quanta", receipt="_receipts/x"))),
    "a manifest writes elsewhere": ("061", lambda d: repacked(d, "double-1", first("outputs", path="toy/elsewhere.json"))),
    "a manifest wants other bytes": ("061", lambda d: repacked(d, "double-1", first("inputs", sha256="0" * 64))),
    "a manifest reads elsewhere": ("061", lambda d: repacked(d, "double-1", first("inputs", path="raw/toy/raw-2.json"))),
    "a manifest says elsewhere": ("061", lambda d: repacked(d, "double-1", first("inputs", location={"path": "raw/toy/raw-2.json", "store": "_carried"}))),
    "what jobs share is another": ("061", lambda d: repacked(d, "", key("run", "other"))),
    "a manifest lacks an input": ("061", lambda d: repacked(d, "shift-1", key("inputs", []))),
    "a replica has another digest": ("062", lambda d: entry(d / R, RAW, lambda r: r["checksum"].update(sha256="0" * 64))),
    "a replica has another size": ("062", lambda d: entry(d / R, RAW, lambda r: r["metadata"].update(size="7"))),
    "a replica without a size": ("062", lambda d: entry(d / R, RAW, lambda r: r.pop("metadata"))),
    "a replica lies elsewhere": ("062", lambda d: entry(d / R, RAW, first("pfns", pfn="file:///else/raw/toy/raw-2.json"))),
    "the code has another digest": ("062", lambda d: entry(d / R, "_code/", lambda r: r["checksum"].update(sha256="0" * 64))),
    "a quote in a name": ("063", lambda d: entry(d / W, JOB, uses_with("output", "toy/it's"))),
    "a place with a blank": ("063", lambda d: entry(d / R, RAW, first("pfns", pfn="file:///a b/raw/toy/raw-1.json"))),
    "a name that leads elsewhere": ("063", lambda d: entry(d / W, JOB, uses_with("output", "toy/../x"))),
    "a count is another": ("064", lambda d: told(d, jobs=12)),
    "a replica that nobody reads": ("065", lambda d: lines(d / R, lambda found: [*found[:2], found[2].replace("raw-", "raw-9").replace('"lfn":"_', '"lfn":"_9'), *found[2:]])),
    "another plan's": ("051", lambda d: told(d, plan="0" * 32)),
    "quanta that there are not": ("051", lambda d: told(d, settled=[[400, 401]])),
    "nothing says how it was made": ("050", lambda d: (d / "submission.json").unlink()),
    "a line is torn": ("050", lambda d: lines(d / W, lambda found: [line[:40] + "\n" if f'"id":{JOB}' in line else line for line in found])),
    "the end is gone": ("050", lambda d: lines(d / W, lambda found: found[:-1])),
    "no sites": ("050", lambda d: (d / "sites.yml").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(sound: Path, plan: Any, damage: str, tmp_path: Path) -> None:
    code, plant = DAMAGE[damage]
    directory = tmp_path / "out"
    shutil.copytree(sound, directory)
    plant(directory)
    assert code in codes(plan, directory)


def root_edge(directory: Path) -> None:
    dropped(directory / W, '"children"')


def moved(directory: Path) -> None:
    """Take a job from its part into another."""
    (source,) = [p for p in directory.glob("parts/*/workflow.yml") if '"double-1"' in p.read_text()]
    target = next(p for p in sorted(directory.glob("parts/*/workflow.yml")) if p != source)
    kept = next(line for line in source.read_text().splitlines() if '"double-1"' in line and "uses" in line)
    dropped(source, '"double-1"')
    lines(target, lambda found: [x for line in found for x in ([line, kept.rstrip(",") + ",\n"] if line.startswith('"jobs"') else [line])])  # fmt: skip


CUT: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a part does not wait": ("054", root_edge),
    "a part is gone": ("052", lambda d: dropped(d / W, '"file":"1/workflow.yml"')),
    "a job is in another part": ("054", moved),
    "parts wait for each other": ("055", lambda d: entry(d / W, '"children"', lambda e: e.update(id=e["children"][0], children=[e["id"], *e["children"]]))),
    "a job of a part is gone": ("052", lambda d: dropped(next(p for p in d.glob("parts/*/workflow.yml") if JOB in p.read_text()), JOB)),
    "no replicas of a part": ("050", lambda d: (d / "parts/0/replicas.yml").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("damage", CUT)
def test_damage_of_parts_is_found(cut: Path, plan: Any, damage: str, tmp_path: Path) -> None:
    code, plant = CUT[damage]
    directory = tmp_path / "out"
    shutil.copytree(cut, directory)
    assert codes(plan, directory) == set()
    plant(directory)
    assert code in codes(plan, directory)


def test_a_tar_that_holds_something_else(campaign: Campaign, plan: Any, tmp_path: Path) -> None:
    directory = emitted(campaign, plan, tmp_path / "out", layout="tar")
    tar = min(directory.glob("inputs/tars/*.tar"))
    data = tar.read_bytes()
    at = re.search(rb'"flux"', data)
    assert at is not None
    tar.write_bytes(data.replace(b'"flux"', b'"fluX"', 1))
    assert codes(plan, directory) == {"066"}


def test_it_says_so_without_the_project(sound: Path, plan: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prestow.verify", plan.directory]
    good = subprocess.run([*command, sound], capture_output=True, text=True, check=False)
    assert good.returncode == 0
    assert good.stdout.splitlines()[-1].endswith("as planned")
    shutil.copytree(sound, tmp_path / "out")
    dropped(tmp_path / "out" / R, RAW)
    bad = subprocess.run([*command, tmp_path / "out", "--json"], capture_output=True, text=True, check=False)
    assert bad.returncode == 4
    found = json.loads(bad.stdout)
    assert found["proved"] is True
    assert [f["code"] for f in found["emitted"]["findings"]] == ["PST-V059"]


def test_flat_names_are_worked_out_twice_the_same() -> None:
    for name in ("raw/1.fits", "a b/c+d.fits", ".hidden", "-x/.y", "é/~", "_receipts/r/t/ab/q.json", "+"):
        assert flat(name) == flat_name(name)


def test_a_circle_is_found_and_what_waits_for_it() -> None:
    assert knot({(0, 1), (1, 0), (1, 2), (3, 0)}) == [0, 1, 2]


def test_the_command(
    campaign: Campaign, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(directory: Path) -> tuple[int, dict[str, Any]]:
        code = main(["-C", str(campaign.directory), "verify", "latest", str(directory), "--json"])
        return code, json.loads(capsys.readouterr().out or "{}")

    code, found = answer(sound)
    assert code == 0
    assert found["emitted"]["proved"] is True
    assert found["emitted"]["jobs"] == found["totals"]["jobs"] == 11
    shutil.copytree(sound, tmp_path / "out")
    dropped(tmp_path / "out" / W, JOB)
    code, found = answer(tmp_path / "out")
    assert code == 4
    assert "PST-V052" in [f["code"] for f in found["emitted"]["findings"]]
    assert main(["-C", str(campaign.directory), "verify", "latest", str(tmp_path)]) == 2
    assert "PST-E064" in capsys.readouterr().err
