"""The node as one file: the same products where nothing is installed, nothing is fetched, few files are opened."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prestow.engines.pegasus.zipapp import NAME, VENDOR, node_zip

PIPELINE = """\
schema: prestow.pipeline/1
name: plain
code: [tasks]
dataset_types:
  raw:   {dimensions: [exposure, detector], format: fits}
  frame: {dimensions: [visit, detector], format: fits, template: "{run}/frame/{instrument}/{visit}-{detector:02d}.fits"}
  facts: {dimensions: [visit, detector], format: json, template: "{run}/facts/{instrument}/{visit}-{detector:02d}.json"}
  notes: {dimensions: [visit, detector], format: yaml, template: "{run}/notes/{instrument}/{visit}-{detector:02d}.yaml"}
tasks:
  look:
    dimensions: [visit, detector]
    run: tasks.look:run
    inputs: {raw: raw}
    outputs: {frame: frame, facts: facts, notes: notes}
"""

TASK = """\
import shutil

from prestow.tasks import Quantum


def run(quantum: Quantum) -> None:
    raw = quantum.path("raw")
    shutil.copyfile(raw, quantum.path("frame"))
    quantum.put("facts", {"bytes": raw.stat().st_size})
    quantum.put("notes", {"first": raw.read_bytes()[:30].decode(), "seed": quantum.seed})
"""

COUNTED = """\
import json, os, runpy, sys
opened = []
sys.addaudithook(lambda event, args: opened.append((event, str(args[0]))) if event in {"open", "os.listdir", "os.scandir"} else None)
net = []
sys.addaudithook(lambda event, args: net.append(event) if event.startswith("socket.") else None)
what, into, sys.argv = sys.argv[1], sys.argv[2], sys.argv[2:]
try:
    if what.endswith(".pyz"):
        runpy.run_path(what, run_name="__main__")
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
said = list(opened)  # what follows is not the job's
with open(into, "w") as file:
    json.dump({"opened": said, "net": net, "code": code}, file)
"""


MOST_OPENS = {"installed": 170, "zipapp": 230}
"""Of a job with one input and three products, modules and all; of the one file each module is one more, all local."""


@dataclass
class Job:
    """What one job of the emission did to a copy of the project."""

    products: dict[str, bytes]
    receipts: list[dict[str, Any]]
    opened: list[tuple[str, str]]
    net: list[str]
    code: int


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory, inside: Any, small: Any, site_file: Any) -> Path:
    root = tmp_path_factory.mktemp("zipapp") / "demo"
    inside("init", "demo", cwd=root.parent)
    small(root)
    shutil.rmtree(root / "tasks")
    (root / "tasks").mkdir()
    (root / "tasks/look.py").write_text(TASK)
    (root / "pipeline.yaml").write_text(PIPELINE)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", "--where", "exposure = 202611010001", cwd=root)
    inside("emit", "pegasus", "--site", site_file(root), "--into", root.parent / "out", cwd=root)
    return root


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an interpreter that has nothing but the standard library."""
    place = tmp_path_factory.mktemp("bare")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin/python"
    missing = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('prestow', 'yaml', 'numpy'))))"
    assert subprocess.run([python, "-I", "-c", missing], check=False).returncode == 0
    return python


def run(project: Path, base: Path, python: Path | str, what: str) -> Job:
    """Bring the one job what it declares, run it, and take its products out of the store."""
    out = project.parent / "out"
    (job,) = json.loads((out / "workflow.yml").read_text())["jobs"]
    places = {
        r["lfn"]: r["pfns"][0]["pfn"].removeprefix("file://")
        for r in json.loads((out / "replicas.yml").read_text())["replicas"]
    }
    work, scratch, counts = base / "job", base / "scratch", base / "counts.json"
    for use in job["uses"]:
        if use["type"] == "input":
            target = work / use["lfn"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(places.get(use["lfn"], out / "inputs" / use["lfn"]), target)
    if what == NAME:
        (work / NAME).write_bytes(node_zip())
    store = project / "store"
    shutil.rmtree(store / "plain", ignore_errors=True)
    shutil.rmtree(store / "_receipts", ignore_errors=True)
    environment = {"PRESTOW_SCRATCH": str(scratch), "PATH": os.defpath}
    words = [str(python), "-I", "-c", COUNTED, what, str(counts), *job["arguments"][2:]]
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert counts.is_file(), done.stderr
    told = json.loads(counts.read_text())
    assert told["code"] == 0, done.stderr
    return Job(
        {
            p.relative_to(store).as_posix(): p.read_bytes()
            for p in (store / "plain").rglob("*")
            if p.is_file()
        },
        [json.loads(p.read_text()) for p in (store / "_receipts").rglob("*.json")],
        [(event, path) for event, path in told["opened"]],
        told["net"],
        told["code"],
    )


@pytest.fixture(scope="module")
def jobs(emitted: Path, bare: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    return {
        "installed": run(emitted, tmp_path_factory.mktemp("installed"), sys.executable, "prestow.node"),
        "zipapp": run(emitted, tmp_path_factory.mktemp("staged"), bare, NAME),
    }


def test_products_are_the_same_to_the_byte_where_nothing_is_installed(jobs: dict[str, Job]) -> None:
    assert len(jobs["zipapp"].products) == 3
    assert jobs["zipapp"].products == jobs["installed"].products
    for job in jobs.values():
        (receipt,) = job.receipts
        assert receipt["state"] == "made"


def test_it_touches_no_network(jobs: dict[str, Job]) -> None:
    assert jobs["zipapp"].net == jobs["installed"].net == []


def test_few_files_are_opened_and_no_shared_directory_is_listed(jobs: dict[str, Job], emitted: Path) -> None:
    """Where many jobs start at once on a shared disk, each open is a question to one server."""
    store = str(emitted / "store")
    for name, job in jobs.items():
        shared = [path for event, path in job.opened if event == "open" and path.startswith(store)]
        listed = [path for event, path in job.opened if event != "open" and path.startswith(store)]
        assert not listed, (name, listed)
        assert len(shared) <= 30, (name, shared)  # three products and a receipt, with what makes them durable
        assert sum(event == "open" for event, _ in job.opened) <= MOST_OPENS[name], name
    source = str(Path(__file__).parents[2] / "src")
    assert not [path for _, path in jobs["zipapp"].opened if path.startswith((source, sys.prefix))]


def test_the_bytes_are_those_of_the_version() -> None:
    node_zip.cache_clear()
    first = node_zip()
    again = "import sys, prestow.engines.pegasus.zipapp as z; sys.stdout.buffer.write(z.node_zip())"
    other = subprocess.run(
        [sys.executable, "-c", again],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert other.stdout == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert any(
            n.startswith(f"{VENDOR}/") and "LICENSE" in n for n in archive.namelist()
        )  # it is passed on


def test_whatever_of_prestow_it_imports_is_in_it() -> None:
    with zipfile.ZipFile(io.BytesIO(node_zip())) as archive:
        names = {n for n in archive.namelist() if n.startswith("prestow/")}
        missing = {
            (name, module)
            for name in names
            if name != "prestow/__init__.py"  # its face: names that are loaded when they are asked for
            for module in imported(ast.parse(archive.read(name)))
            if not {f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"} & names
        }
    assert len(names) > 50
    assert not missing


def imported(tree: ast.AST) -> Iterable[str]:
    """Give the modules of prestow that this code imports when it runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prestow."):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("prestow."))
        else:
            yield from imported(node)
