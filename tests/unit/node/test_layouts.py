"""A job whose inputs lie as a tree, flat, or in a tar: it makes the same bytes, and says what is wrong with any of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import TaskError
from prestow.manifest import LAYOUTS, Location, Manifest
from prestow.model.flat import flat_local
from prestow.node import Outcome, run_manifest
from prestow.node.tars import place_in_tar, write_tar
from prestow.stores import open_store
from prestow.testing.jobs import Jobs, Piece

PATHS = ["raw/one/a.json", "raw/two/a.json", "raw/a b #1 100% [x] é/$HOME+~.json", "raw/.hidden.tar#x.json"]
CODE = """
def run(quantum):
    here = sorted(str(path).partition("/inputs/")[2] for path in quantum.paths("x"))
    quantum.measure("names", " ".join(here))
    quantum.measure("beside", quantum.path("y").name)
    quantum.put("y", {"sum": sum(quantum.get("raw", visit=n)["flux"] for n in (1, 2, 3, 4))})

def twice(quantum):
    quantum.put("z", {"sum": quantum.get("y")["sum"] + quantum.get("raw", visit=4)["flux"]})
"""


def two_quanta(directory: Path) -> Jobs:
    """Give a job of two quanta over four raw documents with names that no shell likes."""
    jobs = Jobs(directory)
    jobs.code(tasks=CODE)
    raws = [at(jobs, jobs.existing("raw", {"visit": n}, {"flux": n}), p) for n, p in enumerate(PATHS, 1)]
    made = jobs.quantum("s", {"visit": 1}, entry="tasks:run", inputs={"x": raws}, outputs={"y": "json"})
    jobs.quantum(
        "t", {"visit": 1}, entry="tasks:twice",
        inputs={"x": [raws[3]], "y": [made["y"]]}, outputs={"z": "json"},
    )  # fmt: skip
    return jobs


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return two_quanta(tmp_path)


def at(jobs: Jobs, piece: Piece, path: str) -> Piece:
    store = open_store(jobs.stores["archive"])
    store.put_if_absent(path, store.read(piece.path))
    return replace(piece, path=path)


def flat(manifest: Manifest) -> Manifest:
    return replace(
        manifest,
        layout="flat",
        inputs=tuple(replace(i, local=flat_local(i.local)) for i in manifest.inputs),
        outputs=tuple(replace(o, local=flat_local(o.local)) for o in manifest.outputs),
    )


def in_tar(jobs: Jobs, manifest: Manifest) -> Manifest:
    """Give the manifest with all that exists in one tar of the archive."""
    archive = jobs.directory / "archive"
    (archive / "tars").mkdir(parents=True, exist_ok=True)
    there = {i.local: archive / manifest.locations[i.id].path for i in manifest.inputs if i.sha256}
    write_tar(archive / "tars/job.tar", there.items())
    places = {
        i.id: Location("archive", place_in_tar("tars/job.tar", i.local)) for i in manifest.inputs if i.sha256
    }
    for path in there.values():
        path.unlink()
    return replace(manifest, layout="tar", locations=places)


LAID: dict[str, Callable[[Jobs, Manifest], Manifest]] = {
    "tree": lambda _, manifest: manifest,
    "flat": lambda _, manifest: flat(manifest),
    "tar": in_tar,
}


def products(jobs: Jobs) -> dict[str, str]:
    top = jobs.directory / "store" / jobs.run
    return {str(p.relative_to(top)): hashlib.sha256(p.read_bytes()).hexdigest() for p in top.rglob("*.json")}


def only(outcome: Outcome) -> str:
    assert [str(state) for state in outcome.states.values()][0] == "failed"
    return f"{outcome.failures[0].code} {outcome.failures[0].message}"


def test_every_layout_gives_the_same_bytes(tmp_path: Path) -> None:
    assert tuple(LAID) == LAYOUTS
    made, names = {}, {}
    for layout, lay in LAID.items():
        here = two_quanta(tmp_path / layout)
        outcome = run_manifest(lay(here, here.manifest()), scratch=here.scratch)
        assert [str(state) for state in outcome.states.values()] == ["made", "made"], outcome.failures
        made[layout] = products(here)
        names[layout] = next(iter(outcome.receipts.values())).measures
    assert len(made["tree"]) == 2
    assert made["flat"] == made["tar"] == made["tree"]
    assert names["tar"] == names["tree"]
    assert "raw/raw/one/a.json raw/raw/two/a.json" in str(names["tree"]["names"])
    flat_names = str(names["flat"]["names"]).split(" ")
    assert len(flat_names) == len(PATHS)
    assert {"raw+raw+one+a.json", "raw+raw+two+a.json"} < set(flat_names)
    assert not any("/" in name for name in flat_names)
    assert names["flat"]["beside"] == "demo+s_y+s_y-1.json"


def test_a_manifest_says_its_layout_where_it_is_another_than_the_tree(jobs: Jobs) -> None:
    manifest = jobs.manifest()
    assert "layout" not in json.loads(manifest.to_json())
    assert Manifest.from_json(manifest.to_json()).layout == "tree"
    assert Manifest.from_json(flat(manifest).to_json()).layout == "flat"
    with pytest.raises(TaskError, match="not a layout: 'heap'"):
        run_manifest(replace(manifest, layout="heap"), scratch=jobs.scratch)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_the_same_as_a_process_of_its_own(tmp_path: Path, layout: str) -> None:
    here = two_quanta(tmp_path)
    (tmp_path / "m.json").write_text(LAID[layout](here, here.manifest()).to_json())
    command = [sys.executable, "-m", "prestow.node", "m.json", "--scratch", str(here.scratch)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert here.read(here.quanta[1][2]["z"][0]) == {"sum": 14}


def test_a_member_with_other_bytes_is_named_before_the_task(jobs: Jobs) -> None:
    manifest = in_tar(jobs, jobs.manifest())
    tar = jobs.directory / "archive/tars/job.tar"
    data = tar.read_bytes()
    tar.write_bytes(data.replace(b'{"flux":3}', b'{"flux":9}'))
    said = only(run_manifest(manifest, scratch=jobs.scratch))
    assert said.startswith("PST-N006")
    assert "raw{visit=3}" in said
    tar.write_bytes(data)
    assert run_manifest(manifest, scratch=jobs.scratch).settled


def test_a_tar_that_is_absent_or_lacks_a_member_is_told(jobs: Jobs) -> None:
    manifest = in_tar(jobs, jobs.manifest())
    tar = jobs.directory / "archive/tars/job.tar"
    moved = tar.rename(tar.with_name("other.tar"))
    assert "PST-N006" in only(run_manifest(manifest, scratch=jobs.scratch))
    with tarfile.open(moved) as old, tarfile.open(tar, "w") as new:
        for member in old.getmembers()[1:]:
            new.addfile(member, old.extractfile(member))
    said = only(run_manifest(manifest, scratch=jobs.scratch))
    assert said.startswith("PST-N006")
    assert "is not there" in said


def test_a_tar_with_a_link_is_not_unpacked(jobs: Jobs) -> None:
    manifest = in_tar(jobs, jobs.manifest())
    tar = jobs.directory / "archive/tars/job.tar"
    with tarfile.open(tar) as old:
        members = [(m, old.extractfile(m).read()) for m in old.getmembers()]  # type: ignore[union-attr]
    tar.unlink()
    with tarfile.open(tar, "w") as new:
        for member, data in members:
            new.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("inputs/raw/sly.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        new.addfile(link)
    said = only(run_manifest(manifest, scratch=jobs.scratch))
    assert said.startswith("PST-N071")
    assert "sly.json" in said
    assert not list(jobs.scratch.rglob("*.json"))


def test_a_planned_input_is_taken_from_where_somebody_brought_it(jobs: Jobs) -> None:
    first, second = jobs.manifest("s", job="first"), jobs.manifest("t", job="second")
    outcome = run_manifest(first, scratch=jobs.scratch)
    piece = jobs.quanta[0][2]["y"][0]
    jobs.store.move(piece.path, "elsewhere/y.json")
    brought = {**second.locations, piece.id: Location("output", "elsewhere/y.json")}
    after = run_manifest(replace(second, locations=brought), receipts=outcome.receipts, scratch=jobs.scratch)
    assert after.settled, after.failures
    assert jobs.store.size(piece.path) is None


def test_no_tar_is_looked_for_where_the_layout_has_none(jobs: Jobs) -> None:
    """A name may hold what divides a tar from its member; and a plain job does not pay for tars."""
    assert any(".tar#" in place.path for place in jobs.manifest().locations.values())
    (jobs.directory / "m.json").write_text(jobs.manifest().to_json())
    code = (
        "import sys; from prestow.node.__main__ import main; "
        "assert main(['m.json', '--scratch', 'scratch']) == 0; print('prestow.node.tars' in sys.modules, 'tarfile' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=jobs.directory, env=dict(os.environ), capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.split()[-2:] == ["False", "False"]
