"""Killed before any change that removing a run makes, the same command ends where one command does."""

import json
import subprocess
import sys
from pathlib import Path

from prestow.commit import read_receipt
from prestow.engines import open_engine
from prestow.ingest import ingest_outputs
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign

# One process imports all, and a fork of it does each removal: none of them had a thread before.
REMOVALS = """
import os, shutil, signal, sys, json
from pathlib import Path
import polars, pyarrow, adbc_driver_sqlite.dbapi
import prestow.plan, prestow.registry, prestow.results.removing, prestow.engines.journal, prestow.project.binding
import prestow.stores.file
from prestow.stores import TEMPORARY
from prestow.project import Project
from prestow.registry.database import SQLite

base, work = Path(sys.argv[1]), Path(sys.argv[2])
CHANGES = {"os.link", "os.remove", "os.rename", "os.rmdir", "os.mkdir"}


def removed(root, last):
    # Remove, and be killed before change number `last`; give the number of changes otherwise.
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        return int(told) if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else None
    seen = 0

    def change():
        nonlocal seen
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    def heard(event, args):
        if event in CHANGES and str(args[0]).startswith(str(root)):
            change()

    execute = SQLite.execute

    def counted(self, sql, *values):
        if sql.split()[0] in ("BEGIN", "DELETE", "INSERT", "COMMIT"):
            change()
        return execute(self, sql, *values)

    try:
        sys.addaudithook(heard)
        SQLite.execute = counted
        with Project.open(root) as project:
            project.remove("toy")
            (work / "state.json").write_text(json.dumps([project.registry.dump(), files(root)], default=str))
        os.write(writing, str(seen).encode())
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def files(root):
    # A killed put may leave its temporary file, which no store shows.
    found = (p for p in root.rglob("*") if p.is_file() and not p.name.startswith(("registry.db", TEMPORARY)))
    return sorted(str(p.relative_to(root)) for p in found)


def state():
    return json.loads((work / "state.json").read_text())


def fresh():
    shutil.rmtree(work / "p", ignore_errors=True)
    return Path(shutil.copytree(base, work / "p"))


total = removed(fresh(), -1)
wanted = state()
wrong, killed = [], 0
for number in range(total):
    root = fresh()
    killed += removed(root, number) is None
    if removed(root, -1) is None or state() != wanted:
        wrong.append([number, sorted(set(state()[1]) ^ set(wanted[1]))])
print(json.dumps({"total": total, "killed": killed, "wrong": wrong, "files": wanted[1], "dump": wanted[0]}))
"""


def campaign(root: Path) -> Campaign:
    """Give a run of which one product is taken in, one is committed and still aside, and one is planned."""
    made = Campaign(root, visits=1)
    engine = open_engine("local")
    made.run(engine, only="double")
    store = open_store(made.stores["archive"])
    with made.registry() as registry:
        ingest_outputs(registry, store, runs=["toy"])
        registry.register_chain("toy.all", ["toy"])
    made.run(engine, only="shift")
    (name,) = (name for name, _ in store.walk("_receipts/toy/shift"))
    (output,) = read_receipt(store, name).outputs
    store.move(output.path, output.aside)
    return made


def test_a_removal_killed_before_any_change_is_finished_by_the_same_command(tmp_path: Path) -> None:
    base, work = tmp_path / "base", tmp_path / "work"
    work.mkdir()
    campaign(base)
    words = [sys.executable, "-W", "error::DeprecationWarning:polars", "-c", REMOVALS, base, work]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["killed"] == found["total"] > 20
    assert not [name for name in found["files"] if name.startswith("store/toy/")]
    assert not [name for name in found["files"] if name.startswith("plans/")]
    assert not [name for name in found["files"] if "/_aside/" in name]
    assert len([name for name in found["files"] if "/_receipts/toy/" in name]) == 2
    assert len(found["dump"]["deleted"]) == 3
    assert [row[2] for row in found["dump"]["dataset"]] == ["raw-toy"]
    assert found["dump"]["collection_chain"] == []
