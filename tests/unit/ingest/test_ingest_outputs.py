"""Outputs from receipts and files: promoted, verified, loaded; once."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from prestow.commit import deleted_name, receipt_name
from prestow.ingest import Level, ingest_outputs
from prestow.model.hashing import dataset_id
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[2] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)
campaign, comparable, make, RUN = (
    getattr(ingest_campaign, n) for n in ("campaign", "comparable", "make", "RUN")
)

UNIVERSE = load_universe()


class House:
    def __init__(self, root, registry_urls):
        self.root = root
        self.uri = f"file://{root}/store"
        self.registry_urls = registry_urls
        self.url = registry_urls("r")
        self.store = open_store(self.uri)
        self.registry = Registry.open(self.url, UNIVERSE, create=True)

    def take(self, **how):
        return ingest_outputs(self.registry, self.store, **how)

    def path(self, output):
        return self.store.local_path(output.path)


@pytest.fixture
def house(tmp_path, registry_urls):
    root = tmp_path / "a b#c%d[e'ü"
    root.mkdir()
    house = House(root, registry_urls)
    yield house
    house.registry.close()


def rewrite(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("level", list(Level))
def test_what_is_committed_is_in_the_registry(house, level):
    receipts = campaign(house.store)
    report = house.take(level=level)
    made = [o for r in receipts for o in r.outputs if o.state == "made"]
    assert (report.added, report.quanta, report.runs, report.problems) == (
        len(made),
        len(receipts),
        (RUN,),
        (),
    )
    assert (report.states, report.refused) == ({"declined": 1, "lost": 1, "made": 16}, 0)
    assert report.unexpected == ()
    table = house.registry.datasets(["isr", "aligned", "coadd", "summary"], [RUN])
    by_path = dict(zip(table["path"].to_pylist(), table.to_pylist(), strict=True))
    for output in made:
        if output.type != "isr_log":
            row = by_path[output.path]
            assert (row["sha256"], row["content"], row["size"]) == (
                output.sha256,
                output.content,
                output.size,
            )
    coadd = by_path[receipts[-2].outputs[0].path]
    assert coadd["recipe"].hex() == receipts[-2].actual_recipe != coadd["planned_recipe"].hex()
    assert coadd["receipt"] == receipt_name(RUN, "coadd", receipts[-2].quantum)
    quanta = house.registry.quanta(RUN).to_pylist()
    assert {(q["state"], q["code"]) for q in quanta} == {
        ("made", None),
        ("declined", "cloudy"),
        ("lost", None),
    }
    assert house.registry.quantum_inputs(RUN).num_rows == sum(len(r.inputs) for r in receipts)
    assert house.registry.dataset_types()["summary"].dimensions == ()


def test_twice_is_once_and_parents_come_first(house):
    receipts = campaign(house.store)
    house.take()
    before = house.registry.dump()
    report = house.take()
    assert (report.added, report.quanta) == (0, 0)
    assert report.present == sum(o.state == "made" for r in receipts for o in r.outputs)
    assert house.registry.dump() == before
    assert house.registry.committed()["type"].to_pylist()[-2:] == ["coadd", "summary"]


def test_what_was_committed_but_not_promoted_is_brought_home(house):
    receipts = campaign(house.store, home=lambda n: n % 2 == 0)
    report = house.take()
    assert report.promoted > 0
    assert report.problems == ()
    for output in (o for r in receipts for o in r.outputs if o.state == "made"):
        assert house.store.digest(output.path) == (output.size, output.sha256)


def test_an_early_and_a_late_ingest_are_one_whole(house):
    make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr", "isr_log"])
    assert house.take().quanta == 1
    campaign(house.store)
    house.take()
    other = Registry.open(house.registry_urls("other"), UNIVERSE, create=True)
    ingest_outputs(other, house.store)
    assert comparable(other) == comparable(house.registry)
    other.close()


def test_debris_at_a_committed_name_is_overwritten_by_what_waits_aside(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"], home=False)
    output = receipt.outputs[0]
    debris = b"x" * output.size
    house.store.put_if_absent(output.path, debris)
    assert house.take().problems == ()
    assert house.store.digest(output.path)[1] == output.sha256


def test_files_without_receipt_are_told_and_kept(house):
    campaign(house.store, visits=1)
    house.store.put_if_absent(f"{RUN}/isr/stray.json", b"{}")
    house.store.put_if_absent("elsewhere/stray.json", b"{}")
    report = house.take()
    assert report.unexpected == (f"{RUN}/isr/stray.json",)
    assert house.store.size(f"{RUN}/isr/stray.json") == 2
    assert f"{RUN}/isr/stray.json" not in house.registry.datasets(["isr"], [RUN])["path"].to_pylist()


def test_a_changed_file_is_faulty_and_its_quantum_stays_out_as_a_whole(house):
    receipts = campaign(house.store, visits=1, detectors=1)
    output = receipts[0].outputs[0]
    rewrite(house.path(output), house.path(output).read_bytes() + b" ")
    report = house.take()
    assert [(p.code, p.where) for p in report.faulty] == [("PST-I003", output.path)]
    types = house.registry.committed()["type"].to_pylist()
    assert "isr" not in types
    assert "isr_log" not in types
    assert "aligned" in types
    for again in (report, house.take()):
        assert again.refused == 1
        assert sum(again.states.values()) - again.refused == house.registry.quanta(RUN).num_rows


def test_a_story_of_another_recipe_is_faulty(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"])
    output = receipt.outputs[0]
    data = house.path(output).read_bytes()
    rewrite(house.path(output), data.replace(receipt.actual_recipe.encode(), b"0" * 32))
    report = house.take()
    assert "its story says recipe" in report.faulty[0].what
    assert house.registry.counts()["dataset"] == 0


def test_only_the_full_level_sees_a_changed_value_of_equal_length(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"], value=1)
    output = receipt.outputs[0]
    text = house.path(output).read_text()
    document = json.loads(text)
    changed = text.replace('"value":1', '"value":2').replace('"value": 1', '"value": 2')
    assert changed != text
    assert document["value"] == 1
    rewrite(house.path(output), changed.encode())
    assert house.take(level=Level.FULL).faulty
    assert house.registry.counts()["dataset"] == 0
    assert house.take(level=Level.RECEIPT).faulty == ()


def test_a_lost_file_is_told_and_comes_back_with_the_next_ingest(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"])
    data = house.store.read(receipt.outputs[0].path)
    house.store.delete(receipt.outputs[0].path)
    assert "neither at their name nor aside" in house.take().faulty[0].what
    house.store.put_if_absent(receipt.outputs[0].path, data)
    assert house.take().added == 1


def test_facts_that_contradict_the_registry_change_nothing(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"])
    house.take()
    before = house.registry.dump()
    other = open_store(f"file://{house.root}/other")
    make(other, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"], value=2, attempt="a2")
    report = ingest_outputs(house.registry, other, store_name="other")
    assert {p.code for p in report.contradictory} == {"PST-I006"}
    assert receipt.outputs[0].path in {p.where for p in report.contradictory}
    assert (report.states, report.refused) == ({"made": 1}, 1)
    after = house.registry.dump()
    before.pop("store"), after.pop("store")
    assert after == before


def test_a_type_of_other_dimensions_is_contradictory(house):
    make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"])
    make(house.store, "isr", {"instrument": "sim", "visit": 1}, ["isr"])
    make(house.store, "odd", {"colour": 1}, ["odd"])
    report = house.take()
    assert [p.code for p in report.contradictory] == ["PST-I006"] * 2
    assert report.added == 1
    assert sum(report.states.values()) - report.refused == report.quanta


def test_a_receipt_that_is_not_what_its_name_says(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"])
    wrong = dataclasses.replace(receipt, data_id={"instrument": "sim", "visit": 2, "detector": 0})
    name = receipt_name(RUN, "isr", dataset_id("x", "y", {}))
    house.store.put_if_absent(name, wrong.to_json().encode())
    house.store.put_if_absent(receipt_name(RUN, "isr", "00torn"), b'{"schema":')
    report = house.take()
    assert {p.where for p in report.contradictory} == {name, receipt_name(RUN, "isr", "00torn")}
    assert report.added == 1


def test_what_was_deleted_does_not_come_back(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr", "isr_log"])
    gone = receipt.outputs[0]
    house.store.put_if_absent(deleted_name(gone.id), b"{}")
    house.store.delete(gone.path)
    report = house.take()
    assert (report.added, report.deleted, report.problems) == (1, 1, ())


def test_what_is_deleted_while_an_ingest_sleeps_does_not_come_back(house):
    """At every call of the store in turn: ingest stops there, retention deletes, ingest goes on."""
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr", "isr_log"])
    gone = receipt.outputs[0]

    class Sleepy:
        def __init__(self, at):
            self.at, self.calls, self.uri = at, 0, house.store.uri

        def __getattr__(self, name):
            found = getattr(house.store, name)

            def call(*arguments):
                if self.calls == self.at:
                    with Registry.open(self.url, UNIVERSE) as other:
                        other.delete_datasets([uuid.UUID(gone.id).bytes])
                self.calls += 1
                return found(*arguments)

            return call

        def walk(self, prefix=""):
            return self.__getattr__("walk")(prefix)

    calls, at = 1, 0
    step = 1 if house.registry._db.dialect == "sqlite" else 7
    while at < calls:
        store = Sleepy(at)
        store.url = house.registry_urls(f"r-{at}")
        with Registry.open(store.url, UNIVERSE, create=True) as registry:
            report = ingest_outputs(registry, store)
            assert (report.added, report.problems) == (1, ())
            assert gone.id not in {
                str(uuid.UUID(bytes=i)) for i in registry.datasets(["isr"], [RUN])["id"].to_pylist()
            }
            assert ingest_outputs(registry, house.store).added == 0
        calls, at = store.calls, at + step
    assert calls > 5


def test_other_runs_are_left_alone(house):
    campaign(house.store, visits=1)
    campaign(house.store, visits=1, run="second")
    assert house.take(runs=["second"]).runs == ("second",)
    assert set(house.registry.committed()["run"].to_pylist()) == {"second"}
    assert house.take(runs=["none"]).states == {}


def test_a_store_in_memory_is_as_good(house):
    store = open_store("memory://ingest-outputs")
    receipts = campaign(store, home=lambda n: n % 3 == 0)
    report = ingest_outputs(house.registry, store, level=Level.FULL)
    assert report.problems == ()
    assert report.quanta == len(receipts)


BLOCKED = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        wall = ("prestow.plan", "prestow.pipeline", "prestow.query", "prestow.engines", "prestow.naming.templates",
                "prestow.naming.identity", "polars", "polars_hash", "dask", "distributed", "astropy", "numpy")
        if any(name == w or name.startswith(w + ".") for w in wall):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Wall())
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store
from prestow.ingest import ingest_outputs, Level
with Registry.open(sys.argv[1], load_universe(), create=True) as registry:
    report = ingest_outputs(registry, open_store(sys.argv[2]), level=Level(sys.argv[3]))
    assert report.problems == (), report.problems
    print(report.added)
"""


@pytest.mark.parametrize("level", list(Level))
def test_without_planner_polars_and_dask_the_registry_is_the_same(house, level):
    campaign(house.store, home=lambda n: n % 2 == 0)
    url = house.registry_urls("blocked")
    subprocess.run(
        [sys.executable, "-c", BLOCKED, url, house.uri, level],
        check=True,
        cwd=house.root,
        capture_output=True,
    )
    house.take()
    with Registry.open(url, UNIVERSE, read_only=True) as blocked:
        assert blocked.dump() == house.registry.dump()


def test_two_processes_at_once_are_one(house):
    campaign(house.store, visits=6, home=lambda n: n % 2 == 0)
    url = house.registry_urls("two")
    command = [sys.executable, "-c", BLOCKED, url, house.uri, "receipt"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    added = [int(p.communicate()[0]) for p in both]
    assert [p.returncode for p in both] == [0, 0]
    report = house.take()
    assert sum(added) == report.added
    with Registry.open(url, UNIVERSE, read_only=True) as two:
        assert two.dump() == house.registry.dump()


def test_metrics_are_rows_once_and_go_with_their_dataset(house):
    receipts = campaign(house.store)
    house.take()
    made = [(r, o) for r in receipts for o in r.outputs if o.state == "made"]
    types = sorted({o.type for _, o in made})
    rows = house.registry.metrics(types, [RUN]).to_pylist()
    expected = [
        (uuid.UUID(o.id).bytes, name, value)
        for r, o in made
        for name, value in (("of.outputs", float(len(r.outputs))), ("value", 1.0))
    ]
    assert [(row["id"], row["name"], row["value"]) for row in rows] == sorted(expected)
    house.take(level=Level.FULL)
    assert house.registry.metrics(types, [RUN]).to_pylist() == rows
    only = house.registry.metrics(["coadd", "no_such_type"], [RUN, "no such run"])
    assert only["value"].to_pylist() == [1.0, 1.0]
    assert house.registry.metrics(["coadd"], []).num_rows == 0
    assert house.registry.metrics([], [RUN]).num_rows == 0
    house.registry.delete_datasets(only["id"].to_pylist())
    assert house.registry.metrics(["coadd"], [RUN]).num_rows == 0
    house.take()
    assert house.registry.metrics(["coadd"], [RUN]).num_rows == 0
    assert house.registry.metrics(types, [RUN]).num_rows == len(rows) - 2


def test_metrics_of_a_faulty_quantum_are_not_taken(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr", "isr_log"])
    rewrite(house.path(receipt.outputs[1]), b"{}")
    assert house.take(level=Level.FULL).faulty
    assert house.registry.metrics(["isr", "isr_log"], [RUN]).num_rows == 0


def test_a_file_whose_story_was_dropped_is_told_with_its_format(house):
    receipt = make(house.store, "isr", {"instrument": "sim", "visit": 1, "detector": 0}, ["isr"])
    path = house.path(receipt.outputs[0])
    document = json.loads(path.read_text())
    del document["prestow"]
    rewrite(path, json.dumps(document).encode().ljust(receipt.outputs[0].size))
    (problem,) = house.take().faulty
    assert (problem.code, problem.where) == ("PST-I003", receipt.outputs[0].path)
    assert "no story" in problem.what
    assert "json" in problem.what
    assert problem.fix
