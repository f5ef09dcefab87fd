"""What is promised of the whole: importing opens no socket, no key chooses a class, nothing is pickled."""

import ast
import pickle
import pickletools
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest
import yaml

import prestow
from prestow.cli.group import COMMANDS
from prestow.errors import ConfigurationError
from prestow.manifest import ManifestInput, ManifestOutput, ManifestQuantum
from prestow.model import DatasetType
from prestow.naming.universe import load_universe
from prestow.pipeline import load_pipeline
from prestow.project import Project
from prestow.project.example import create_example

SOURCE = Path(prestow.__file__).parent
WATCHED = """
import sys
met = []
sys.addaudithook(lambda event, args: met.append((event, repr(args))) if event.startswith("socket.") else None)
{code}
print("\\nMET", met)
"""


# ---- sockets


def met(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(code=code)], cwd=cwd, check=True, capture_output=True, text=True
    )
    return done.stdout.rpartition("MET ")[2].strip()


def test_what_watches_for_sockets_sees_one(tmp_path: Path) -> None:
    assert "socket.__new__" in met("import socket; socket.socket().close()", tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        "import prestow; [getattr(prestow, name) for name in prestow.__all__]",
        "from prestow.cli import main; main(['--help'])",
        f"from prestow.cli import main\nfor name in {list(COMMANDS)}: main([name, '--help'])",
    ],
    ids=["import", "help", "help of every command"],
)
def test_importing_and_help_open_no_socket(code: str, tmp_path: Path) -> None:
    assert met(code, tmp_path) == "[]"


# ---- a tiny campaign, and what it leaves behind


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give a project with a plan that was run and taken in, and which sockets that took."""
    root = tmp_path_factory.mktemp("promises") / "demo"
    create_example(root)
    for path in (root / "raw").iterdir():
        if int(path.stem.split("-")[2]) > 2 or not path.stem.endswith("-0"):
            path.unlink()
    text = (root / "pipeline.yaml").read_text().replace("minimum: 2", "minimum: 1")
    text = text.replace(
        "{isr: isr}\n    hints", "{isr: isr}\n    prototypes: [config, log, environment]\n    hints"
    )
    (root / "pipeline.yaml").write_text(text)
    words = (
        ["ingest", "--raw", "raw", "--instrument", "simcam"], ["plan"], ["run", "--engine", "local"], ["ingest"],
        ["plan", "--run", "columnar", "--set", "types.summary.format=yaml"],
    )  # fmt: skip
    code = f"from prestow.cli import main\nfor words in {words!r}: assert main(words) == 0, words"
    return root, met(code, root)


def test_planning_running_here_and_taking_in_open_no_socket(campaign: tuple[Path, str]) -> None:
    assert campaign[1] == "[]"


FRAMED = re.compile(rb"\x80[\x04\x05]\x95..\x00{6}", re.DOTALL)
"""How a pickle of protocol 4 or 5 of less than 64 KiB begins, wherever it stands."""


def is_pickle(data: bytes) -> bool:
    """Say whether bytes are one whole pickle of any protocol, or hold a framed one."""
    if FRAMED.search(data):
        return True
    if len(data) < 2 or not data.rstrip().endswith(b"."):
        return False
    try:
        last = list(pickletools.genops(data))[-1]
    except Exception:  # noqa: BLE001 - whatever it says, it is none
        return False
    return last[0].name == "STOP" and last[2] == len(data) - 1


def held(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give a file, and what it holds packed: members of a zip, binary values of tables and databases."""
    data = path.read_bytes()
    yield path.name, data
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            yield from ((f"{path.name}:{name}", packed.read(name)) for name in packed.namelist())
    elif data.startswith(b"PAR1"):
        frame = pl.read_parquet(path)
        for column in frame.select(pl.col(pl.Binary)).iter_columns():
            yield from ((f"{path.name}:{column.name}", value) for value in column.drop_nulls())
    elif data.startswith(b"SQLite format 3"):
        database = sqlite3.connect(path)
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                yield from ((f"{path.name}:{table}", v) for v in row if isinstance(v, bytes))
        database.close()


def test_nothing_on_disk_is_a_pickle(campaign: tuple[Path, str]) -> None:
    files = [path for path in campaign[0].rglob("*") if path.is_file()]
    found = [one for path in files for one in held(path)]
    kinds = {path.suffix for path in files}
    assert {".parquet", ".json", ".yaml", ".fits", ".zip", ".db"} <= kinds
    assert not {".pkl", ".pickle", ".p", ".joblib", ".dill"} & kinds
    assert len(found) > len(files) + 50
    assert any("isr_environment" in str(path) for path in files)
    assert [name for name, data in found if is_pickle(data)] == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_looks_for_pickles_knows_one(protocol: int) -> None:
    data = pickle.dumps({"a": [1, 2.0, "x"], "b": Path}, protocol)
    assert is_pickle(data)
    assert not is_pickle(b"a text. It ends with a point.\n")
    if protocol > 3:
        assert is_pickle(b"something before" + data + b"and after")


def modules_imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_bytes())
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_no_module_imports_what_pickles() -> None:
    found = {path: modules_imported(path) for path in SOURCE.rglob("*.py")}
    assert len(found) > 150
    what = {"pickle", "cloudpickle", "dill", "shelve", "joblib", "marshal"}
    # Between an ingest and its own workers, over a pipe that nothing else has: plain values, no class, no disk.
    found[SOURCE / "ingest" / "workers.py"].remove("marshal")
    assert [path.name for path, names in found.items() if {n.partition(".")[0] for n in names} & what] == []


# ---- no key of a configuration says what class a reader returns

CLASSES = (
    "as",
    "as_",
    "class",
    "python",
    "python_type",
    "reader",
    "read_as",
    "returns",
    "storage",
    "storage_class",
    "converter",
)
SECTIONS = [
    (), ("dataset_types", "raw"), ("dataset_types", "coadd"), ("tasks", "coadd"), ("tasks", "coadd", "inputs", "calexp"),
    ("tasks", "isr", "outputs", "isr"), ("tasks", "isr", "resources"), ("tasks", "isr", "hints"),
]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS, ids=".".join)
def test_every_such_key_is_unknown_in_every_section_of_a_pipeline(
    section: tuple[str, ...], tmp_path: Path
) -> None:
    create_example(tmp_path / "demo")
    path = tmp_path / "demo" / "pipeline.yaml"
    document = yaml.safe_load(path.read_text())
    document["tasks"]["isr"]["outputs"]["isr"] = {"type": "isr"}
    document["tasks"]["isr"]["resources"] = {"cores": 1}
    inner = document
    for key in section:
        inner = inner[key]
    inner.update(dict.fromkeys(CLASSES, "astropy.nddata.CCDData"))
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline(path, load_universe())
    told = {p.what.rpartition("unknown key ")[2] for p in caught.value.problems if p.code == "PST-C010"}
    assert told == {f"'{name}'" for name in CLASSES}


def test_nor_is_it_a_key_of_a_project(tmp_path: Path) -> None:
    create_example(tmp_path / "demo")
    with (tmp_path / "demo" / "prestow.yaml").open("a") as file:
        file.writelines(f"{name}: astropy.nddata.CCDData\n" for name in CLASSES)
    with pytest.raises(ConfigurationError) as caught:
        Project.open(tmp_path / "demo")
    assert {p.code for p in caught.value.problems} == {"PST-C010"}
    assert len(caught.value.problems) == len(CLASSES)


def test_what_reaches_the_node_has_no_place_for_it() -> None:
    """The class is chosen by the call: ``quantum.get(name, as_=…)``."""
    kinds = (DatasetType, ManifestInput, ManifestOutput, ManifestQuantum)
    known = {field.name for kind in kinds for field in fields(kind)}
    assert {"format", "columns", "dimensions"} <= known
    assert known & set(CLASSES) == set()
    calls = [
        node
        for node in ast.walk(ast.parse((SOURCE / "tasks.py").read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "read"
    ]
    assert [ast.unparse(argument) for call in calls for argument in call.args[1:]] == ["as_"]
