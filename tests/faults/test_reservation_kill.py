"""Killed before any change that planning or dropping makes, the same command ends where one command does."""

import json
import subprocess
import sys
from pathlib import Path

from prestow.testing.campaigns import Campaign

# One process imports all, and a fork of it does each step: none of them had a thread before.
STEPS = """
import json, os, shutil, signal, sys
from pathlib import Path
import polars, pyarrow, pyarrow.parquet, adbc_driver_sqlite.dbapi
import prestow.plan, prestow.plan.proof, prestow.plan.reserving, prestow.registry.reservations, prestow.results.dropping
import numpy.ma, prestow.engines.journal, prestow.formats.json, prestow.instruments, prestow.plan.matched_ids
import prestow.project.binding, prestow.project.forecasting, prestow.site, prestow.stores.file, prestow.verify
from prestow.errors import PrestowError
from prestow.project import Project
from prestow.stores import TEMPORARY

base, work, act = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
CHANGES = {"os.link", "os.remove", "os.rename", "os.rmdir", "os.mkdir"}


def forked(root, last, do):
    # Do it, and be killed before change number `last`; give what it gives, or None.
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        return json.loads(told) if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else None
    seen = 0

    def heard(event, args):
        nonlocal seen
        name = str(args[0]) if event in CHANGES else ""
        reserving = name.startswith(str(root / "store" / "_res"))
        if reserving or (event == "os.rename" and name.startswith(str(root / "plans"))):
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    try:
        sys.addaudithook(heard)
        with Project.open(root) as project:
            answer = do(project)
        os.write(writing, json.dumps([seen, answer]).encode())
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def plan(project):
    return project.plan().id


def drop(project):
    try:
        return project.drop("latest" if (project.plans_directory / "latest").exists() and project.plans() else sys.argv[4]).plan
    except PrestowError as error:
        return error.problems[0].code


def other(project):
    # Somebody who takes part of it: the gather would be another file under the same name.
    try:
        return project.plan("visit = 1").id
    except PrestowError as error:
        return error.problems[0].code


def other_way(project):
    try:
        return plan(project)
    except PrestowError as error:
        return error.problems[0].code


def state(project):
    held = sorted({(h.plan, h.accepted) for h in project.reserved()})
    proved = [project.verify(p).proved for p in project.plans()]
    return [held, list(project.plans()), proved]


def fresh():
    shutil.rmtree(work / "p", ignore_errors=True)
    return Path(shutil.copytree(base, work / "p"))


do = plan if act == "plan" else drop
total, first = forked(fresh(), -1, do)
wanted = forked(work / "p", -1, state)[1]
found, killed, told = [], 0, []
for number in range(total):
    root = fresh()
    killed += forked(root, number, do) is None
    if act == "plan":
        told.append(forked(root, -1, other)[1])
        if told[-1] != "PST-P031":  # nothing was reserved yet: the other has the names now
            told[-1] = "accepted"
            refused = forked(root, -1, other_way)[1]
            found.append([number, refused == "PST-P031"])
            continue
    forked(root, -1, do)
    found.append([number, forked(root, -1, state)[1] == wanted])

print(json.dumps({"total": total, "killed": killed, "found": found, "told": told, "state": wanted, "first": first}))
"""


def run(base: Path, work: Path, *words: str) -> dict:
    work.mkdir()
    command = [sys.executable, "-W", "error::DeprecationWarning:polars", "-c", STEPS, base, work, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_planning_killed_before_any_change_leaves_the_names_with_one_plan(tmp_path: Path) -> None:
    Campaign(tmp_path / "base", visits=2)
    found = run(tmp_path / "base", tmp_path / "work", "plan")
    assert [good for _, good in found["found"]] == [True] * found["total"]
    assert found["killed"] == found["total"] > 4
    assert found["state"] == [[[found["first"], True]], [found["first"]], [True]]
    # At first nothing is reserved, and from then on the other is told.
    assert found["told"] == sorted(found["told"], key=lambda told: told != "accepted")
    assert set(found["told"]) == {"accepted", "PST-P031"}


def test_dropping_killed_before_any_change_is_finished_by_the_same_command(tmp_path: Path) -> None:
    from prestow.project import Project

    Campaign(tmp_path / "base", visits=2)
    with Project.open(tmp_path / "base") as project:
        plan = project.plan().id
    found = run(tmp_path / "base", tmp_path / "work", "drop", plan)
    assert [good for _, good in found["found"]] == [True] * found["total"]
    assert found["killed"] == found["total"] > 2
    assert found["state"] == [[], [], []]
    assert found["first"] == plan
