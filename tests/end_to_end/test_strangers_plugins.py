"""A stranger's format and store, twenty lines each, as packages of their own: they keep the contracts and carry a campaign."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from prestow.naming.universe import load_universe
from prestow.registry import Registry

FORMAT = '''
"""Tables as ECSV: text that people can read, the story in its header."""
import io

from astropy.table import Table

from prestow.formats.whole import WholeFile


class ECSV(WholeFile):
    name, suffix = "ecsv", ".ecsv"

    def load(self, data):
        return Table.read(data.decode().splitlines(), format="ascii.ecsv")

    def dump(self, table):
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        return text.getvalue().encode()

    def meta(self, table):
        return table.meta
'''

STORE = '''
"""Objects in a table of SQLite: drawer:///path/of/file.db"""
import sqlite3
from contextlib import closing

from prestow.stores.whole import WholeObjects


class Drawer(WholeObjects):
    def _do(self, sql, *values):
        with closing(sqlite3.connect(self.uri.partition("://")[2], timeout=60)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS object (name TEXT PRIMARY KEY, data BLOB)")
            return db.execute(sql, values).fetchall()

    def load(self, name):
        return next((row[0] for row in self._do("SELECT data FROM object WHERE name = ?", name)), None)

    def keep(self, name, data, *, replace):
        how = "REPLACE" if replace else "IGNORE"
        return bool(self._do(f"INSERT OR {how} INTO object VALUES (?, ?) RETURNING 1", name, data))

    def drop(self, name):
        self._do("DELETE FROM object WHERE name = ?", name)

    def names(self):
        return [row[0] for row in self._do("SELECT name FROM object")]
'''

SUITES = """
import numpy as np
import pytest
from astropy.table import Table

from prestow.formats import open_format
from prestow.stores import open_store
from prestow.testing.formats import FormatContract
from prestow.testing.stores import StoreContract


class TestTheFormat(FormatContract):
    @pytest.fixture
    def format_(self):
        return open_format("ecsv")

    @pytest.fixture
    def values(self):
        return [Table({"x": [1.5, n], "name": ["a", "é"]}, meta={"OBJECT": "M 31"}) for n in (2, 3)]

    @pytest.fixture
    def tells_a_cut(self):
        return False  # text: half of it may be a shorter table


class TestTheStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(f"drawer://{tmp_path}/objects.db")
"""

PIPELINE = """
schema: prestow.pipeline/1
name: demo
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  stars: {dimensions: [visit, detector], format: ecsv}
  table: {dimensions: [visit, detector], format: parquet}
  plot: {dimensions: [visit, detector], format: png}
  quality: {dimensions: [visit, detector], format: yaml}
  all: {dimensions: [instrument], format: ecsv}
tasks:
  look:
    dimensions: [visit, detector]
    run: tasks.look:run
    inputs: {raw: raw}
    outputs: {stars: stars, table: table, plot: plot, quality: quality}
  join:
    dimensions: [instrument]
    run: tasks.look:join
    inputs: {stars: stars, table: table, plot: plot}
    outputs: {all: all}
"""

TASK = """
import numpy as np
from astropy.table import Table, vstack

from prestow.tasks import Quantum


def run(quantum: Quantum) -> None:
    pixels = np.asarray(quantum.get("raw", "array"), float)
    top = pixels.argmax()
    rows = {"place": [int(top)], "flux": [float(pixels.flat[top])]}
    quantum.put("stars", Table(rows))
    quantum.put("table", rows)
    quantum.put("plot", (255 * (pixels - pixels.min()) / np.ptp(pixels)).astype("u1"))
    quantum.put("quality", {"metrics": {"sky": float(np.median(pixels)), "shape": {"rows": len(pixels)}}, "by": "look"})


def join(quantum: Quantum) -> None:
    frames = [item.data_id for item in quantum.inputs["stars"]]
    for frame in frames:
        table = quantum.get("table", "astropy", **frame)
        assert table["place"][0] == quantum.get("plot", **frame).argmax()
    quantum.put("all", vstack([quantum.get("stars", **frame) for frame in frames]))
"""


def code_lines(text):
    return [line for line in text.strip().splitlines() if line.strip() and not line.lstrip().startswith("#")]


def package(root, name, module, group, entry):
    root.mkdir()
    (root / f"{name}.py").write_text(module.lstrip())
    (root / "pyproject.toml").write_text(
        textwrap.dedent(f"""
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"
            [project]
            name = "{name}"
            version = "1.0"
            [project.entry-points."prestow.{group}"]
            {entry}
            [tool.setuptools]
            py-modules = ["{name}"]
        """)
    )
    return str(root)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Give the environment of a process that has both packages, installed as anybody's."""
    root = tmp_path_factory.mktemp("strangers")
    one = package(root / "one", "stranger_ecsv", FORMAT, "formats", 'ecsv = "stranger_ecsv:ECSV"')
    two = package(root / "two", "stranger_drawer", STORE, "stores", 'drawer = "stranger_drawer:Drawer"')
    options = "--quiet --no-index --no-deps --no-build-isolation --disable-pip-version-check --target".split()
    command = [sys.executable, "-m", "pip", "install", *options, str(root / "target"), one, two]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {
        "PYTHONPATH": os.pathsep.join([str(root / "target"), os.environ.get("PYTHONPATH", "")]).rstrip(
            os.pathsep
        )
    }


@pytest.mark.parametrize("text", [FORMAT, STORE])
def test_twenty_lines_are_enough(text):
    assert len(code_lines(text)) <= 20


def test_the_contract_suites_pass(installed, tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITES)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **installed}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    passed = int(done.stdout.split(" passed")[0].split()[-1])
    assert passed > 50


@pytest.fixture
def project(prestow, small, tmp_path):
    root = tmp_path / "p"
    prestow("init", root, cwd=tmp_path)
    small(root)
    (root / "pipeline.yaml").write_text(PIPELINE)
    (root / "tasks" / "look.py").write_text(TASK)
    return root


def test_an_unknown_format_is_refused_before_anything_runs_with_all_there_are(prestow, installed, project):
    for words in (("check",), ("plan",)):
        answer = prestow(*words, "--json", cwd=project, ok=False)
        assert answer.code == 3
        problem = next(p for p in answer.json["problems"] if p["code"] == "PST-C024")
        assert "pipeline.yaml:7:" in problem["where"]
        for name in ("fits", "json", "parquet", "png", "yaml"):
            assert name in problem["fix"]


def test_a_format_that_cannot_be_opened_hides_no_other(prestow, installed, tmp_path):
    (tmp_path / "broken-1.dist-info").mkdir()
    (tmp_path / "broken-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: broken\nVersion: 1\n"
    )
    (tmp_path / "broken-1.dist-info" / "entry_points.txt").write_text(
        "[prestow.formats]\nodd = nowhere:Odd\n"
    )
    path = os.pathsep.join([str(tmp_path), installed["PYTHONPATH"]])
    answer = prestow("formats", cwd=tmp_path, env={"PYTHONPATH": path}).out
    assert "ecsv" in answer
    assert "No module named 'nowhere'" in answer


def test_a_plan_whose_outputs_are_of_strangers(prestow, installed, project):
    """The outputs in a stranger's format, in a stranger's store, beside Parquet, PNG and metrics."""
    settings = (project / "prestow.yaml").read_text()
    (project / "prestow.yaml").write_text(
        settings.replace("store: store ", f"store: drawer://{project}/objects.db ")
    )
    prestow("ingest", "--raw", "raw", "--instrument", "simcam", cwd=project, env=installed)
    prestow("plan", cwd=project, env=installed)
    (project / "here.yaml").write_text("schema: prestow.site/1\nname: here\nengine: local\n")
    prestow("run", "--site", "here.yaml", cwd=project, env=installed)
    taken = prestow("ingest", "--level", "full", "--json", cwd=project, env=installed).json
    assert taken["added"] > 0
    with Registry.open(f"sqlite:///{project}/registry.db", load_universe(), read_only=True) as registry:
        metrics = registry.metrics(["quality"], ["demo"])
        made = registry.datasets(["stars", "table", "plot", "quality", "all"], ["demo"])
    frames = made["type"].to_pylist().count("quality")
    assert frames == 4
    assert sorted(metrics["name"].to_pylist()) == ["shape.rows"] * frames + ["sky"] * frames
    assert min(metrics["value"].to_pylist()) > 0
    assert len(made) == 4 * frames + 1
    code = """
import io, json, sys
from astropy.table import Table
from prestow.stores import open_store
store = open_store(sys.argv[1])
table = Table.read(store.read(sys.argv[2]).decode().splitlines(), format="ascii.ecsv")
print(json.dumps([len(table), table.meta["prestow"]["type"], len(table.meta["prestow"]["roots"])]))
"""
    path = next(row["path"] for row in made.to_pylist() if row["type"] == "all")
    command = [sys.executable, "-c", code, f"drawer://{project}/objects.db", path]
    done = subprocess.run(
        command, env={**os.environ, **installed}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [frames, "all", frames]
