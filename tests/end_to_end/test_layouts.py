"""The same campaign with its local repositories as tree, flat or tar; a job staged, and run with everything else gone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prestow.manifest import LAYOUTS, Manifest
from prestow.model.flat import flat_path
from prestow.node import Outcome, run_manifest
from prestow.node.staged import staged_quanta
from prestow.project import Project

ODD = "a b #1 100% [x] it's é"
STAGER = r"""#!/bin/sh
# stage MANIFEST INTO: brings the inputs that exist, by the manifest alone, and looks at each digest
set -eu
text=$(cat "$1") into=$2 tab=$(printf '\t') any='"[^"]*"'
input='"id":'$any',"local":'$any',"member":null,"producer":null,"receipt":null,"recipe":'$any',"run":'$any',"sha256":'$any
printf '%s' "$text" | grep -o "$input" | sed "s/\"[a-z0-9]*\"://g; s/null,//g; s/\",\"/$tab/g; s/\"//g" |
while IFS="$tab" read -r id local _ _ sha256; do
    place=$(printf '%s' "$text" | grep -o '"'"$id"'":{"path":'$any',"store":'$any'}')
    path=$(printf '%s' "$place" | sed 's/.*"path":"\(.*\)","store".*/\1/')
    store=$(printf '%s' "$place" | sed 's/.*"store":"\(.*\)"}/\1/')
    root=$(printf '%s' "$text" | grep -o '"'"$store"'":"file://[^"]*' | sed 's/.*file:..//')
    mkdir -p "$into/$(dirname "$local")"
    cp "$root/$path" "$into/$local"
    printf '%s  %s\n' "$sha256" "$into/$local" | sha256sum --check --quiet
done
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, inside: Any, small: Any) -> Path:
    """Give a planned project, of whose raw files no shell likes the names."""
    base = tmp_path_factory.mktemp("layouts")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    for path in (root / "raw").iterdir():
        path.rename(path.with_name(f"{ODD} {path.name}"))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    for layout in LAYOUTS:
        text = f"schema: prestow.site/1\nname: here\nlayout: {layout}\n"
        (root / f"{layout}.yaml").write_text(text)
    return root


@pytest.fixture(scope="module")
def done(planned: Path, tmp_path_factory: pytest.TempPathFactory, inside: Any) -> Path:
    """Give the same, run as it always was."""
    root = Path(shutil.copytree(planned, tmp_path_factory.mktemp("done") / "demo"))
    inside("run", "--engine", "local", cwd=root)
    return root


@pytest.fixture
def root(done: Path, tmp_path: Path) -> Path:
    """Give a copy of the project that ran."""
    return Path(shutil.copytree(done, tmp_path / "demo"))


def products(store: Path) -> dict[str, str]:
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((store / "demo").rglob("*"))
        if path.is_file()
    }


def run_staged(directory: Path) -> Outcome:
    """Run a staged job as ``python -m prestow.node manifest.json`` there does."""
    with contextlib.chdir(directory):
        manifest = Manifest.from_json(Path("manifest.json").read_text())
        return run_manifest(manifest, scratch=directory.parent / "scratch")


@pytest.mark.parametrize(("engine", "layout"), [("local", "flat"), ("dask", "flat")])
def test_every_layout_makes_the_same_products(
    planned: Path, done: Path, tmp_path: Path, inside: Any, engine: str, layout: str
) -> None:
    root = Path(shutil.copytree(planned, tmp_path / "demo"))
    words = ("--engine", engine) if engine == "local" else ("--engine", engine, "--workers", 1)
    inside("run", "--site", f"{layout}.yaml", *words, cwd=root)
    assert len(products(done / "store")) == 14
    assert products(root / "store") == products(done / "store")


@pytest.mark.parametrize("words", [("run",), ("run", "--engine", "local"), ("check",)], ids=" ".join)
def test_an_engine_whose_jobs_read_from_stores_refuses_tars(
    words: tuple[str, ...], planned: Path, inside: Any, tree: Any
) -> None:
    before = tree(planned)
    answer = inside(*words, "--site", "tar.yaml", cwd=planned, ok=False)
    assert (answer.code, answer.out) == (3, "")
    engine = words[-1] if len(words) > 1 else "dask"
    assert f"error[PST-C080]: layout: the engine '{engine}' makes no tars" in answer.err
    assert "tar.yaml:3:9" in answer.err
    assert tree(planned) == before


def test_what_was_staged_flat_says_that_it_cannot_land(root: Path, inside: Any, tmp_path: Path) -> None:
    into = tmp_path / "flat"
    inside("stage", "coadd-r-0", "--into", into, "--layout", "flat", cwd=root)
    command = [sys.executable, "-m", "prestow.node", "manifest.json", "--carry", "."]
    done = subprocess.run([*command, "--land"], cwd=into, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error[PST-N009]")
    assert "was staged flat" in done.stderr
    assert "BEGIN PRESTOW REPORT" not in done.stdout


def test_the_layout_reaches_the_job(root: Path) -> None:
    """A site's layout is what manifests say, and what names in the local repository follow."""
    from prestow.plan.manifests import manifests

    project = Project.open(root)
    plan = project.find_plan("latest")
    stores = project.stores()
    for layout in LAYOUTS:
        told = list(manifests(plan, store="archive", stores=stores, layout=layout))
        assert {manifest.layout for manifest in told} == {layout}
        names = [item.local.partition("/")[2] for m in told for item in (*m.inputs, *m.outputs)]
        assert any("/" in name for name in names) == (layout != "flat")
    project.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_staged_job_runs_with_store_and_registry_gone(
    root: Path, done: Path, tmp_path: Path, inside: Any, layout: str
) -> None:
    into = tmp_path / f"staged {ODD}"
    answer = inside("stage", "coadd-r-0", "--into", into, "--layout", layout, "--json", cwd=root).json
    assert (answer["schema"], answer["files"], answer["layout"]) == ("prestow.stage/1", 2, layout)
    shutil.rmtree(root)
    files = {str(p.relative_to(into)) for p in into.rglob("*") if p.is_file()}
    inputs = [name for name in files if name.startswith(("inputs/", "tars/"))]
    assert {"tree": 2, "flat": 2, "tar": 1}[layout] == len(inputs)
    assert layout != "flat" or {name.count("/") for name in inputs} == {1}
    assert (into / "outputs").is_dir()
    moved = into.rename(tmp_path / "elsewhere")
    if layout == "tar":
        command = [
            sys.executable,
            "-m",
            "prestow.node",
            "manifest.json",
            "--scratch",
            str(tmp_path / "scratch"),
        ]
        subprocess.run(command, cwd=moved, check=True)
    else:
        assert run_staged(moved).settled
    name = "demo/coadd/coadd-simcam-r-00.fits"
    assert (moved / name).read_bytes() == (done / "store" / name).read_bytes()
    assert list(products(moved)) == [name]


def test_what_was_staged_is_read_and_written_from_python(root: Path, tmp_path: Path, inside: Any) -> None:
    for layout in LAYOUTS:
        into = tmp_path / layout
        inside("stage", "coadd-r-0", "--into", into, "--layout", layout, cwd=root)
        [quantum] = staged_quanta(into)
        assert (quantum.task, quantum.data_id["band"]) == ("coadd", "r")
        visits = [item.data_id["visit"] for item in quantum.inputs["calexp"]]
        shapes = {quantum.get("calexp", "array", visit=visit).shape for visit in visits}
        assert len(visits) == 2
        assert len(shapes) == 1
        path = quantum.put("coadd", quantum.get("calexp", "array", visit=visits[0]))
        assert path.is_relative_to(into / "outputs")
        assert path.is_file()


def test_a_corrupted_replica_gives_way_to_the_next_and_with_none_left_nothing_is_staged(
    root: Path, tmp_path: Path, inside: Any
) -> None:
    replica = Path(shutil.copytree(root / "store", tmp_path / "replica"))
    (root / "two.yaml").write_text(
        f"schema: prestow.site/1\nname: two\nstores: {{archive: {json.dumps(f'file://{replica}')}}}\n"
    )
    for path in replica.rglob("isr-*.fits"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    job = "calibrate-0-202611010001"
    into = tmp_path / "staged"
    answer = inside("stage", job, "--into", into, "--site", "two.yaml", "--json", cwd=root).json
    [note] = answer["notes"]
    assert note.startswith(f"file://{replica}: demo/isr/")
    assert f"it was taken from file://{root}/store" in note
    assert run_staged(into).settled
    for path in (root / "store").rglob("isr-*.fits"):
        path.unlink()
    told = inside("stage", job, "--into", tmp_path / "no", "--site", "two.yaml", "--json", cwd=root, ok=False)
    assert (told.code, told.codes) == (7, ["PST-N075"])
    assert "isr{" in told.out
    assert not (tmp_path / "no").exists()
    assert not list(tmp_path.glob(".no-*"))


def test_what_cannot_be_staged_is_told_and_nothing_is_written(
    planned: Path, tmp_path: Path, inside: Any
) -> None:
    told = inside("stage", "coadd-r-0", "--into", tmp_path / "no", "--json", cwd=planned, ok=False)
    assert told.codes == ["PST-P002"]
    assert "prestow run --only calibrate" in told.out
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    job = "isr-0-202611010001"
    for into, code in ((tmp_path / "full", "PST-N076"), (tmp_path / "full/x", "PST-N076")):
        assert inside("stage", job, "--into", into, "--json", cwd=planned, ok=False).codes == [code]
    assert inside("stage", "none", "--into", tmp_path / "no", "--json", cwd=planned, ok=False).codes == [
        "PST-R004"
    ]
    dry = inside("stage", job, "--into", tmp_path / "no", "-n", "--json", cwd=planned).json
    assert (dry["files"], dry["dry_run"]) == (1, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def test_a_short_shell_script_stages_by_the_manifest(planned: Path, tmp_path: Path) -> None:
    """The manifest is enough for a stager of anybody's own: here `STAGER`, without Python."""
    from prestow.plan.manifests import manifests

    assert len(STAGER.strip().splitlines()) <= 20
    project = Project.open(planned)
    plan = project.find_plan("latest")
    [manifest] = manifests(
        plan, [plan.find_job("isr-0-202611010001")], store="archive", stores=project.stores()
    )
    project.close()
    (tmp_path / "stage.sh").write_text(STAGER)
    (tmp_path / "m.json").write_text(manifest.to_json())
    command = ["sh", "stage.sh", "m.json", "into"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    [item] = manifest.inputs
    assert ODD in item.local
    found = [p for p in (tmp_path / "into").rglob("*") if p.is_file()]
    assert found == [tmp_path / "into" / item.local]
    assert hashlib.sha256(found[0].read_bytes()).hexdigest() == item.sha256
    (tmp_path / "m.json").write_text(manifest.to_json().replace(str(item.sha256), "0" * 64))
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_a_flat_directory_becomes_a_tree_of_links_or_an_index(
    root: Path, tmp_path: Path, inside: Any
) -> None:
    for layout in ("tree", "flat"):
        inside("stage", "isr-0-202611010001", "--into", tmp_path / layout, "--layout", layout, cwd=root)
    flat = tmp_path / "flat/inputs"
    (flat / "kick start").write_text("no flat name")
    (flat / "..+up").write_text("leads elsewhere")
    answer = inside("unflatten", "flat/inputs", "--into", tmp_path / "again", "--json", cwd=tmp_path).json
    assert answer["others"] == ["..+up", "kick start"]
    wanted = {
        p.relative_to(tmp_path / "tree/inputs") for p in (tmp_path / "tree/inputs").rglob("*") if p.is_file()
    }
    links = [p for p in (tmp_path / "again").rglob("*") if p.is_symlink()]
    assert {p.relative_to(tmp_path / "again") for p in links} == wanted
    for path in wanted:
        assert (tmp_path / "again" / path).read_bytes() == (tmp_path / "tree/inputs" / path).read_bytes()
    assert not any(os.path.isabs(os.readlink(p)) for p in links)
    said = inside("unflatten", flat, cwd=tmp_path).out
    assert (tmp_path / "flat/inputs.tree").is_dir()
    assert "left alone: kick start" in said
    inside("unflatten", flat, "--index", cwd=tmp_path)
    index = json.loads((flat / "index.json").read_text())
    assert index["schema"] == "prestow.index/1"
    assert {Path(path) for path in index["paths"]} == wanted
    assert all((flat / name).is_file() for name in index["paths"].values())


def test_what_is_no_tree_is_refused_whole(tmp_path: Path, inside: Any) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("a", "a+b", "c+d", "c+d+e"):
        (flat / name).touch()
    told = inside("unflatten", flat, "--json", cwd=tmp_path, ok=False)
    assert told.codes == ["PST-N073", "PST-N073"]
    assert inside("unflatten", tmp_path / "none", "--json", cwd=tmp_path, ok=False).codes == ["PST-N076"]
    for name in ("a", "c+d"):
        (flat / name).unlink()
    assert inside("unflatten", flat, "--into", flat, "--json", cwd=tmp_path, ok=False).codes == ["PST-N076"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flat"]


def test_what_a_file_in_a_flat_directory_is_can_be_told_from_it_alone(
    root: Path, tmp_path: Path, inside: Any
) -> None:
    """No manifest, no index, no project: the name gives the path, and the file its story."""
    inside("stage", "coadd-r-0", "--into", tmp_path / "flat", "--layout", "flat", cwd=root)
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "flat/inputs", alone)
    shutil.rmtree(root)
    shutil.rmtree(tmp_path / "flat")
    for path in alone.iterdir():
        said = inside("trace", path, "--json", cwd=alone).json
        assert said["up"]["points"][0]["type"] == "calexp"
        assert flat_path(path.name).startswith("calexp/demo/calexp/simcam/")


def test_a_flat_name_that_no_file_can_have_is_refused_before_a_job_runs(
    planned: Path, tmp_path: Path, inside: Any
) -> None:
    root = Path(shutil.copytree(planned, tmp_path / "demo"))
    text = (root / "pipeline.yaml").read_text().replace("{run}/coadd/", "{run}/" + "deep-and-deeper/" * 15)
    (root / "pipeline.yaml").write_text(text)
    inside("plan", "--run", "deep", cwd=root)
    told = inside("run", "--site", "flat.yaml", "--engine", "local", "--json", cwd=root, ok=False)
    assert set(told.codes) == {"PST-N070"}
    assert "deep-and-deeper" in told.out
    assert not (root / "store/deep").exists()
