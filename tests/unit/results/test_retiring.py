"""What may go and what stays; killed anywhere; beside an ingest; and what was staged and never read."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.commit import receipt_name
from prestow.engines import open_engine
from prestow.errors import PrestowError
from prestow.ingest import ingest_outputs
from prestow.project import Project
from prestow.registry import put_record
from prestow.results import retiring
from prestow.stores import open_store
from prestow.stores.file import FileStore
from prestow.testing.campaigns import PIPELINE, Campaign

AFTER = """
schema: prestow.pipeline/1
name: after
code: [toytasks.py]
dataset_types:
  doubled: {dimensions: [visit], format: json}
  shifted: {dimensions: [visit], format: json}
tasks:
  shift: {dimensions: [visit], run: "toytasks:shift", inputs: {doubled: doubled}, outputs: {shifted: shifted}}
"""


def pipeline(doubled: str = "until_consumed", shifted: str = "release", **policy: object) -> str:
    text = PIPELINE.format(
        **{"double": "stop", "shift": "stop", "minimum": "all", "tries": 1, "clusters": "", **policy}
    )
    text = text.replace("{doubled: doubled}, on", f"{{doubled: {{type: doubled, retain: {doubled}}}}}, on")
    return text.replace("{shifted: shifted}, on", f"{{shifted: {{type: shifted, retain: {shifted}}}}}, on")


def ready(
    directory: Path, *, do: Mapping[int, Any] | None = None, run: bool = True, **policy: object
) -> Project:
    campaign = Campaign(directory, visits=3, do=do, pipeline=pipeline(**policy))
    project = Project.open(directory)
    project.plan(run="toy")
    if run:
        campaign.run(open_engine("local"), project.find_plan())
    return project


def take_in(project: Project) -> None:
    ingest_outputs(project.registry, project.store, runs=["toy"])


def left(project: Project) -> list[str]:
    return sorted(p.stem for p in (project.root / "store/toy").rglob("*.json"))


def test_what_is_consumed_goes_and_the_account_still_closes(tmp_path: Path) -> None:
    with ready(tmp_path) as project:
        assert project.retire().datasets == 0  # nothing is taken in yet
        assert project.retire().kept == {}
        take_in(project)
        looked = project.retire(dry_run=True)
        assert (looked.datasets, looked.retired, len(left(project))) == (3, False, 7)
        assert looked.first[0] == ("toy/doubled/doubled-toy-1.json", "shift{instrument=toy,visit=1}")
        gone = project.retire()
        assert (gone.types, gone.size, gone.kept) == (looked.types, looked.size, {})
        assert left(project) == ["shifted-toy-1", "shifted-toy-2", "shifted-toy-3", "total-toy"]
        found = project.account(level="full").account
        assert (found.closes, found.states["made"], found.deleted, found.found) == (True, 7, 3, 4)
        assert project.status().counts["made"] == 7
        assert project.retire().datasets == 0
        take_in(project)  # nothing brings it back
        assert len(left(project)) == 4
        result = Campaign(tmp_path).run(open_engine("local"), project.find_plan(), registry=project.registry)
        assert (result.counts["made"], result.notes) == (7, ())


def test_inputs_of_what_is_not_settled_or_not_taken_in_stay(tmp_path: Path) -> None:
    do = {1: {"shift": {"what": "fail"}}}
    with ready(tmp_path, do=do) as project:
        take_in(project)
        assert project.retire().kept == {"read later": 1}
        assert "doubled-toy-1" in left(project)
        assert not {"doubled-toy-2", "doubled-toy-3"} & set(left(project))


def test_inputs_of_what_was_lost_stay_for_a_repair_until_the_run_is_closed(tmp_path: Path) -> None:
    do = {1: {"shift": {"what": "fail"}}}
    with ready(tmp_path, do=do, shift="tolerate", minimum=1) as project:
        take_in(project)
        found = project.retire()
        assert (found.datasets, found.kept) == (2, {"lost readers": 1})
        put_record(project.store, "closed", "toy", {"run": "toy"})
        assert project.retire().datasets == 1


def test_what_is_kept_for_its_run_goes_when_that_is_closed(tmp_path: Path) -> None:
    with ready(tmp_path, doubled="run", shifted="run") as project:
        take_in(project)
        assert project.retire().kept == {"run open": 6}
        put_record(project.store, "closed", "toy", {"run": "toy"})
        assert project.retire().types.keys() == {"doubled", "shifted"}
        assert left(project) == ["total-toy"]
        assert project.account().account.closes


def test_a_plan_of_another_run_that_will_read_it_holds_it(tmp_path: Path) -> None:
    with ready(tmp_path) as project:
        take_in(project)
        (tmp_path / "pipeline.yaml").write_text(AFTER)
    with Project.open(tmp_path) as project:
        after = project.plan("visit <= 2", run="after", inputs=["toy"])
        assert project.retire(run="toy").kept == {"read later": 2}
        Campaign(tmp_path).run(open_engine("local"), after)
        assert project.retire(run="toy").kept == {"read later": 2}  # made, and not taken in
        ingest_outputs(project.registry, project.store, runs=["after"])
        assert project.retire(run="toy").datasets == 2
        assert project.account(after).account.closes


def test_a_child_that_takes_it_over_holds_it(tmp_path: Path) -> None:
    do = {1: {"shift": {"what": "fail", "while": str(tmp_path / "broken")}}}
    (tmp_path / "broken").touch()
    with ready(tmp_path / "c", do=do, shift="tolerate", minimum=1) as project:
        take_in(project)
        child = project.plan(run="toy+1", child_of="toy")
        # the lost quantum reads what the parent made; what else the parent has is only taken over
        assert project.retire(run="toy").kept == {"read later": 1}
        (tmp_path / "broken").unlink()
        reuse = project.reusable(child)
        Campaign(tmp_path / "c").run(open_engine("local"), child, reuse=reuse)
        ingest_outputs(project.registry, project.store, runs=["toy+1"])
        put_record(project.store, "closed", "toy", {"run": "toy"})
        assert project.retire(run="toy").kept == {}
        assert project.account(child).account.closes
        counts = project.status(child).counts
        assert (counts["pending"], counts["failed"]) == (0, 0)


def test_what_nobody_reads_was_asked_for_itself(tmp_path: Path) -> None:
    Campaign(tmp_path, visits=2, pipeline=pipeline())
    with Project.open(tmp_path) as project:
        plan = project.plan(run="toy", want=["doubled"])
        Campaign(tmp_path).run(open_engine("local"), plan)
        take_in(project)
        assert (project.retire().kept, len(left(project))) == ({"unread": 2}, 2)


def test_a_stage_that_is_not_planned_yet_holds_it(tmp_path: Path) -> None:
    text = pipeline(shifted="until_consumed").replace("  gather:\n", "  gather:\n    barrier: true\n")
    campaign = Campaign(tmp_path, visits=2, pipeline=text)
    with Project.open(tmp_path) as project:
        first = project.plan(run="toy")
        campaign.run(open_engine("local"), first)
        take_in(project)
        assert project.retire().kept == {"stage to come": 4}
        second = project.plan(run="toy")
        found = project.retire(second)
        assert (found.datasets, found.kept) == (2, {"read later": 2})
        campaign.run(open_engine("local"), second)
        take_in(project)
        assert project.retire(first).datasets == 2
        assert left(project) == ["total-toy"]


@pytest.mark.parametrize(
    ("words", "code"),
    [("retain: always", "PST-C013"), ("retained: true, retain: until_consumed", "PST-C013")],
)
def test_a_word_for_keeping_that_is_none_is_refused(tmp_path: Path, words: str, code: str) -> None:
    text = pipeline().replace("retain: until_consumed", words)
    Campaign(tmp_path, visits=1, pipeline=text)
    with Project.open(tmp_path) as project, pytest.raises(PrestowError, match=code):
        project.check()


def test_how_long_files_are_kept_is_policy_and_the_run_stays_bound(tmp_path: Path) -> None:
    with ready(tmp_path, doubled="release", run=False) as project:
        before = project.find_plan()
        (tmp_path / "pipeline.yaml").write_text(pipeline())
    with Project.open(tmp_path) as project:
        after = project.plan(run="toy")
        assert (after.pipeline_digest, after.id == before.id) == (before.pipeline_digest, False)
        assert after.tables["quanta"]["recipe"].to_list() == before.tables["quanta"]["recipe"].to_list()
        assert project.verify(after).findings == ()


def test_plans_that_are_not_here_hold_all(tmp_path: Path) -> None:
    with ready(tmp_path) as project:
        take_in(project)
        project.plan(run="other")
        shutil.rmtree(next(p for p in (tmp_path / "plans").iterdir() if p.name == project.find_plan().id))
        with pytest.raises(PrestowError, match="PST-A012"):
            project.retire(run="toy")
        assert project.retire(run="toy", even_so=True).datasets == 3
        with pytest.raises(PrestowError, match="PST-A001"):
            project.retire(run="other")


class Killed(BaseException):
    """Kills like a signal: nobody catches it."""


class Mortal(FileStore):
    """A store under which a process dies at its k-th write, before it was done or after."""

    def __init__(self, uri: str, at: int, *, after: bool) -> None:
        super().__init__(uri)
        self.left, self.after = at, after

    def _call(self, name: str, *args: object):  # noqa: ANN202
        self.left -= 1
        if not self.left and not self.after:
            raise Killed
        result = getattr(FileStore, name)(self, *args)
        if not self.left:
            raise Killed
        return result

    def put_if_absent(self, name: str, data: bytes):  # noqa: ANN201
        return self._call("put_if_absent", name, data)

    def delete(self, name: str) -> None:
        self._call("delete", name)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_the_same_goes_on_and_ingest_brings_nothing_back(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if after:  # in batches, and records are listed, not asked for
        monkeypatch.setattr(retiring, "_BATCH", 2)
    with ready(tmp_path / "c") as project:
        take_in(project)
        plan = project.find_plan()
    for at in range(1, 50):
        here = tmp_path / f"at-{at}"
        shutil.copytree(tmp_path / "c", here)
        with Project.open(here) as project:
            try:
                retiring.retire(plan, [plan], project.registry, Mortal(project.store.uri, at, after=after))
            except Killed:
                pass
            else:
                break
            take_in(project)  # an ingest in between
            project.retire()
            take_in(project)
            found = project.account(level="full").account
            assert (found.closes, found.deleted, found.found) == (True, 3, 4)
            assert not project.registry.datasets(["doubled"], ["toy"]).num_rows
        shutil.rmtree(here)
    assert at == 7  # three records, three files, and once through


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with ready(tmp_path_factory.mktemp("laws") / "c", shifted="until_consumed") as project:
        second = project.plan("visit <= 2", run="toy", want=["shifted"])
        third = project.plan(run="third")
        for plan in (second, third):
            Campaign(project.root).run(open_engine("local"), plan)
        return project.root


@settings(max_examples=8)
@given(st.data())
def test_no_file_goes_that_a_quantum_in_flight_reads(base: Path, data: st.DataObject) -> None:
    """Forget what some quanta came to, take the rest in, retire: what those read is all there."""
    root = base.with_name("now")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root)
    with Project.open(root) as project:
        plans = [project.find_plan(name) for name in project.plans()]
        keys = sorted(
            {
                (p.run, q["task"], q["id"].hex())
                for p in plans
                for q in p.tables["quanta"].iter_rows(named=True)
            }
        )
        drawn = data.draw(st.sets(st.sampled_from(keys), max_size=4))
        in_flight = {key for key in keys if key in drawn or _follows(plans, key[2], {k for _, _, k in drawn})}
        for run, task, key in in_flight:
            text = f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
            project.store.delete(receipt_name(run, task, text))
        ingest_outputs(project.registry, project.store)
        project.retire(run=data.draw(st.sampled_from(["toy", "third"])))
        flying = {key for _, _, key in in_flight}
        for plan in plans:
            quanta, datasets = plan.tables["quanta"], plan.tables["datasets"]
            for quantum, dataset in plan.tables["inputs"].select("quantum", "dataset").iter_rows():
                row = datasets.row(dataset, named=True)
                producer = row["producer"]
                settled = producer is not None and quanta["id"][producer].hex() not in flying
                if quanta["id"][quantum].hex() in flying and settled:
                    assert project.store.size(row["path"]) is not None, row["path"]
        assert all(open_store(project.store.uri).size(name) for name in _finals(plans))


def _follows(plans: list[Any], key: str, above: set[str]) -> bool:
    """Say whether a quantum reads what some others make, also through others: then it cannot be settled."""
    for plan in plans:
        quanta, producers = plan.tables["quanta"]["id"], plan.tables["datasets"]["producer"]
        reads: dict[int, list[int]] = {}
        for quantum, dataset in plan.tables["inputs"].select("quantum", "dataset").iter_rows():
            if producers[dataset] is not None:
                reads.setdefault(quantum, []).append(producers[dataset])
        todo = [row for row, ident in enumerate(quanta) if ident.hex() == key]
        while todo:
            row = todo.pop()
            if quanta[row].hex() in above:
                return True
            todo += reads.get(row, [])
    return False


def _finals(plans: list[Any]) -> list[str]:
    return [p for plan in plans for t, p in plan.files().select("type", "path").iter_rows() if t == "total"]


READING = """
def sample(quantum):
    first = quantum.inputs["shifted"][0]
    quantum.put("picked", {"flux": quantum.get("shifted", **first.data_id)["flux"]})


def unpack(quantum):
    [(_, _, path, _), *_] = quantum.inputs["raw"]
    quantum.put("copied", {"size": path.stat().st_size})
"""

UNREAD = """
  picked: {dimensions: [instrument], format: json}
  copied: {dimensions: [visit], format: json}
tasks:
  pick: {dimensions: [instrument], run: "reading:sample", inputs: {shifted: shifted}, outputs: {picked: picked}}
  copy: {dimensions: [visit], run: "reading:unpack", inputs: {raw: raw, doubled: doubled}, outputs: {copied: copied}}
  list: {dimensions: [visit], command: [python, "{code}/listing.py", "{outputs.listed}", "{inputs.raw}"], inputs: {raw: raw, doubled: doubled}, outputs: {listed: {type: listed, dimensions: [visit], format: json}}}
"""


def test_what_was_staged_and_never_read_is_told_by_task_with_bytes(tmp_path: Path) -> None:
    text = pipeline(doubled="release").replace("tasks:\n", UNREAD.lstrip("\n"), 1)
    text = text.replace("code: [toytasks.py]", "code: [toytasks.py, reading.py, listing.py]")
    campaign = Campaign(tmp_path, visits=3, pipeline=text)
    (tmp_path / "reading.py").write_text(READING)
    (tmp_path / "listing.py").write_text("import sys\nopen(sys.argv[1], 'w').write('{}')\n")
    with Project.open(tmp_path) as project:
        plan = project.plan(run="toy")
        campaign.run(open_engine("local"), plan)
        before = project.unread()
        take_in(project)
        found = project.unread(plan)
        assert found == before
        tasks = {one.task: (one.quanta, one.staged, one.unread) for one in found.tasks}
        assert tasks == {
            "copy": (3, 6, 3), "double": (3, 3, 0), "gather": (1, 3, 0), "list": (3, 6, 3), "pick": (1, 3, 2), "shift": (3, 3, 0),
        }  # fmt: skip
        assert {(c.task, c.name) for c in found.connections} == {
            ("copy", "doubled"), ("list", "doubled"), ("pick", "shifted"),
        }  # fmt: skip
        size = sum((tmp_path / "store" / r.path).stat().st_size for r in _files(plan, "doubled"))
        assert next(one.size for one in found.tasks if one.task == "copy") == size
        only = project.unread(task="pick")
        assert [row.input for row in only.rows] == [
            "shifted{instrument=toy,visit=2}",
            "shifted{instrument=toy,visit=3}",
        ]
        with pytest.raises(PrestowError, match="there is no task 'x'"):
            project.unread(task="x")
        shutil.rmtree(tmp_path / "store/_attempts")
        assert "no report says" in project.unread().remarks[0]


def _files(plan: Any, kind: str) -> list[Any]:
    from types import SimpleNamespace

    return [SimpleNamespace(path=p) for t, p in plan.files().select("type", "path").iter_rows() if t == kind]
