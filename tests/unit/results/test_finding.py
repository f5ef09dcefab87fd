"""Made and planned datasets in one frame, found by part of their data ID."""

import uuid

import polars as pl
import pyarrow as pa
import pytest

from prestow.errors import PrestowError
from prestow.model import DatasetType
from prestow.model.hashing import dataset_id
from prestow.plan import build_plan
from prestow.registry import DatasetBatch, Registry
from prestow.results import datasets
from prestow.results.datasets import Sources, collect, look, the_one
from prestow.results.finding import Only, expand, find
from prestow.stores import open_store
from prestow.testing.surveys import UNIVERSE, Request, Survey, fill, reduction

STORES = {"archive": "file:///archive of mine"}
BASE = {"instrument": "sim"}


def of(number: int, detector: int) -> dict[str, object]:
    return {"instrument": "sim", "visit": number, "detector": detector}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Four visits in g and r, two detectors; of run ``demo`` detector 0 of visits 1 and 2 is made."""
    directory = tmp_path_factory.mktemp("registry")
    with Registry.open(f"sqlite:///{directory}/registry.db", UNIVERSE, create=True) as registry:
        fill(registry, Survey.make(visits=4, detectors=2))
        registry.register_run("demo")
        registry.register_dataset_type(DatasetType("isr", UNIVERSE.close(["visit", "detector"]), "fits"))
        rows = [of(visit, 0) for visit in (1, 2)]
        ids = [uuid.UUID(dataset_id("isr", "demo", row)).bytes for row in rows]
        digests = [b"\1" * 16] * 2
        registry.insert_datasets(
            DatasetBatch(
                {"isr": pa.Table.from_pylist([{**r, "id": i, "run": "demo", "recipe": d} for r, i, d in zip(rows, ids, digests)])},
                pa.Table.from_pylist(
                    [
                        {"dataset": i, "store": "archive", "path": f"demo/isr/{n}.fits", "size": 100 + n, "sha256": "ab" * 32, "content": "cd" * 32, "format": "fits"}
                        for n, i in enumerate(ids)
                    ]
                ),
                metrics=pa.table({"dataset": pa.array(ids * 2, pa.binary()), "name": ["seeing", "seeing", "stars", "stars"], "value": [1.5, 3.5, 10.0, 20.0]}),
            )
        )  # fmt: skip
        yield registry


@pytest.fixture(scope="module")
def plan(registry):
    return build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), registry)


@pytest.fixture(scope="module")
def sources(registry, plan):
    return Sources(UNIVERSE, registry, (plan,), stores=STORES)


def visits(found):
    return [ref.data_id["visit"] for ref in found]


def test_what_is_made_and_what_is_planned_stand_in_one_frame(sources, plan):
    frame = collect(sources, "isr", jobs=True)
    assert frame.columns == [
        "type", "data_id", "detector", "instrument", "visit",
        "id", "run", "state", "store", "path", "url", "size", "job",
    ]  # fmt: skip
    assert frame.height == 8
    assert frame["id"].n_unique() == 8
    made = frame.filter(pl.col("state") == "made")
    assert made["visit"].to_list() == [1, 2]
    assert made["size"].to_list() == [100, 101]
    assert frame.filter(pl.col("state") == "planned")["size"].null_count() == 6
    assert frame["job"].null_count() == 0
    names = dict(plan.tables["jobs"].select("job", "name").iter_rows())
    quanta = plan.tables["quanta"].filter(pl.col("task") == "isr")
    by_id = {q["data_id"]: names[q["job"]] for q in quanta.iter_rows(named=True)}
    assert [by_id[d] for d in frame["data_id"]] == frame["job"].to_list()


def test_roots_have_no_job_and_urls_are_encoded(sources):
    frame = collect(sources, "raw", {"exposure": 3}, jobs=True)
    assert frame["state"].to_list() == ["made", "made"]
    assert frame["job"].null_count() == 2
    assert all(url.startswith("file:///archive%20of%20mine/raw/") for url in frame["url"])


@pytest.mark.parametrize(
    ("dataset_type", "where", "data_id", "count"),
    [
        ("isr", "", {}, 8),
        ("isr", "", {"visit": "2"}, 2),
        ("isr", "", {"ccd": 1}, 4),
        ("isr", "", {"band": "g", "ccd": 1}, 2),  # implied through the filter
        ("isr", "", {"filter": "g"}, 4),  # an alias
        ("isr", "", {"night": 20260000}, 8),
        ("raw", "", {"visit": 3}, 2),  # joined by a relation
        ("raw", "", {"visit": 3, "detector": 0}, 1),
        ("raw", "visit in (2, 3)", {}, 4),
        ("raw", "observation_type = 'dark'", {}, 2),
        ("isr", "exposure_time > 30", {}, 2),
        ("isr", "visit.exposure_time > 30 or band = 'r'", {}, 6),
        ("isr", "seeing < 3", {}, 1),
        ("isr", "seeing < 30 and stars > 15", {}, 1),
        ("isr", "seeing is not null", {}, 2),
        ("coadd", "", {"band": "r"}, 2),
        ("isr", "visit > 100", {}, 0),
        ("isr", "state = 'made' and size > 100", {}, 1),
        ("isr", "state = 'planned' and run like 'de%'", {"ccd": 0}, 2),
        ("isr", "path like '%/isr/%' and size is null", {}, 6),
    ],
)
def test_part_of_a_data_id_is_enough(sources, dataset_type, where, data_id, count):
    found = find(sources, dataset_type, where, data_id.items())
    assert (found.total, len(found)) == (count, count)
    order = found.frame.select(*found.type.dimensions, "run").rows()
    assert order == sorted(order)
    assert found.frame["id"].n_unique() == count


def test_metrics_that_were_asked_for_are_shown(sources):
    found = find(sources, "isr", "seeing < 30")
    assert dict(zip(visits(found), found.frame["seeing"])) == {1: 1.5, 2: 3.5}
    assert "seeing" in found.columns


def test_made_or_planned_alone(sources):
    assert visits(find(sources, "isr", only=Only.MADE)) == [1, 2]
    planned = find(sources, "isr", only=Only.PLANNED)
    assert planned.states == {"planned": 6}
    assert not find(sources, "raw", only=Only.PLANNED).total


def test_a_limit_leaves_the_count(sources):
    found = find(sources, "isr", limit=3)
    assert (len(found), found.total) == (3, 8)
    assert "8 isr" in repr(found)


def test_runs_restrict_what_is_looked_at(sources):
    assert find(sources, "isr", runs=["raw"]).total == 0
    assert find(sources, "isr", runs=["demo"]).total == 8
    with pytest.raises(PrestowError, match="did you mean 'demo'"):
        find(sources, "isr", runs=["dmeo"])


def test_a_chain_is_searched_in_order(sources, registry):
    registry.register_run("before")
    registry.register_chain("both", ["before", "demo"])
    row = of(1, 0)
    made = {
        **row,
        "id": uuid.UUID(dataset_id("isr", "before", row)).bytes,
        "run": "before",
        "recipe": b"\2" * 16,
    }
    place = {
        "dataset": made["id"],
        "store": "archive",
        "path": "before/isr.fits",
        "size": 7,
        "sha256": "ab" * 32,
        "content": "cd" * 32,
        "format": "fits",
    }
    registry.insert_datasets(
        DatasetBatch({"isr": pa.Table.from_pylist([made])}, pa.Table.from_pylist([place]))
    )
    try:
        found = find(sources, "isr", runs=["both"], first=True)
        assert found.states == {"made": 2, "planned": 6}
        assert next(iter(found)).run == "before"
        assert find(sources, "isr", runs=["both"]).total == 9
    finally:
        registry.delete_datasets([made["id"]])


def test_without_a_registry_plans_are_searched(plan):
    alone = Sources(UNIVERSE, None, (plan,))
    assert find(alone, "isr", "visit in (1, 3)").total == 4
    assert find(alone, "isr", "exposure_time > 0").total == 0  # nobody knows


def test_references_say_all_that_a_portal_needs(sources):
    first = next(iter(find(sources, "isr", data_id=[("visit", 1), ("detector", 0)])))
    assert first.id == dataset_id("isr", "demo", of(1, 0))
    assert first.as_dict() == {
        "type": "isr", "data_id": {"detector": 0, "instrument": "sim", "visit": 1}, "id": first.id, "run": "demo",
        "state": "made", "name": "demo/isr/0.fits", "url": "file:///archive%20of%20mine/demo/isr/0.fits", "size": 100,
    }  # fmt: skip
    assert str(first) == "isr{detector=0,instrument=sim,visit=1}"


def test_expanding_gives_each_data_id_once_and_reads_nothing_before(sources):
    ids = list(expand(sources, "isr", {"ccd": "1"}))
    assert [(d["detector"], d["visit"]) for d in ids] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    lazy = expand(sources, "no_such_type")
    with pytest.raises(PrestowError, match="unknown dataset type"):
        next(lazy)


@pytest.mark.parametrize(
    ("dataset_type", "where", "data_id", "code", "says"),
    [
        ("irs", "", {}, "PST-G007", "did you mean 'isr'"),
        ("isr", "", {"vist": 1}, "PST-C023", "did you mean 'visit'"),
        ("isr", "", {"visit": "x"}, "PST-C026", "must be an integer"),
        ("isr", "", {"band": "r", "filter": "g"}, "PST-G008", "both are band"),
        ("isr", "", {"visit": 1, "band": "g"}, "PST-G008", "its band is r"),
        ("isr", "", {"tract": 1}, "PST-G008", "isr has no tract"),
        ("coadd", "", {"visit": 1}, "PST-G008", "it has band, detector, instrument"),
        ("isr", "", {"object": "M 31"}, "PST-C023", "--where \"object = 'M 31'\""),
        ("isr", "seing < 3", {}, "PST-C027", "unknown name 'seing'"),
        ("isr", "seing < 3 and stars > 1", {}, "PST-C027", "did you mean seeing"),
        ("isr", "seeing = 'good'", {}, "PST-C027", "seeing"),
    ],
)
def test_a_bad_question_has_one_clear_answer(sources, dataset_type, where, data_id, code, says):
    with pytest.raises(PrestowError) as error:
        find(sources, dataset_type, where, data_id.items())
    (problem,) = error.value.problems
    assert problem.code == code
    assert says in str(problem)
    assert problem.where


def test_nothing_found_says_which_value_is_not_there(sources):
    found = find(sources, "isr", data_id=[("visit", 99)])
    assert found.total == 0
    assert found.notes == ("no isr has visit=99; visit is known as 1, 2, 3 …",)


def test_receipts_tell_what_waits_for_ingest(sources, plan):
    from prestow.commit import settle
    from prestow.manifest import Receipt, ReceiptOutput

    store = open_store(f"memory://{uuid.uuid4()}")
    quanta = plan.tables["quanta"].filter(pl.col("task") == "isr").sort("id")
    for state, row in zip(("made", "lost"), quanta.rows(named=True)[:2]):
        identity = str(uuid.UUID(bytes=row["id"]))
        values = {d: row[d] for d in ("detector", "instrument", "visit")}
        output = ReceiptOutput(dataset_id("isr", "demo", values), "isr", values, "fits", "x", "made")
        outputs = (output,) if state == "made" else ()
        settle(
            store,
            Receipt(identity, "isr", "demo", values, "j", state, row["recipe"].hex(), None, outputs=outputs),
        )
    only_planned = Sources(UNIVERSE, None, (plan,), stores=STORES)
    frame, notes = look(collect(only_planned, "isr"), only_planned, store)
    assert notes == ()
    told = dict(frame.group_by("state").len().iter_rows())
    assert told == {"committed": 1, "lost": 1, "planned": 6}


def test_what_made_nothing_says_how_it_was_settled(tmp_path):
    states = ["made", "made", "declined", "lost", "blocked"]  # of the first isr quanta
    with Registry.open(f"sqlite:///{tmp_path}/registry.db", UNIVERSE, create=True) as registry:
        fill(registry, Survey.make(visits=3, detectors=2))
        plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), registry)
        registry.register_run("demo")
        quanta = plan.tables["quanta"].filter(pl.col("task") == "isr").head(len(states)).select(
            "id", "task", "data_id", run=pl.lit("demo"), job=pl.lit("x"), state=pl.Series(states), planned_recipe="recipe",
            receipt=pl.lit("r"),
        )  # fmt: skip
        registry.insert_datasets(DatasetBatch({}, None, quanta.to_arrow()))
        found = find(Sources(UNIVERSE, registry, (plan,)), "isr")
        assert found.states == {"blocked": 1, "declined": 3, "lost": 1, "planned": 1}
        first = next(ref for ref in found if ref.state == "declined")
        registry.delete_datasets([uuid.UUID(first.id).bytes])
        states = find(Sources(UNIVERSE, registry, (plan,)), "isr").states
        assert states["deleted"] == 1


def test_the_one_that_is_meant(sources):
    frame = collect(sources, "isr", {"visit": 1})
    assert the_one(frame.filter(pl.col("detector") == 1), "isr").height == 1
    for rows, says in ((frame.clear(), "no dataset"), (frame, "2 datasets")):
        with pytest.raises(PrestowError, match=says):
            the_one(rows, "isr{visit=1}")


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"equal": {"detector": 0}},
        {"equal": {"detector": 7}},
        {"runs": ["demo"]},
        {"runs": ["raw"]},
        {"made": False},
        {"planned": False},
    ],
)
@pytest.mark.parametrize("kind", ["raw", "isr", "coadd", "flat"])
def test_the_first_of_many_are_read_without_the_others(sources, monkeypatch, kind, asked, limit):
    whole = collect(sources, kind, **asked)
    monkeypatch.setattr(datasets, "READ_AT_ONCE", -1)
    frame, total = datasets.collect_first(sources, kind, limit=limit, **asked)
    assert total == whole.height
    assert frame.equals(whole.head(limit))


def test_of_a_dataset_in_two_stores_the_first_store_is_told_and_it_is_counted_once(tmp_path):
    with Registry.open(f"sqlite:///{tmp_path}/registry.db", UNIVERSE, create=True) as registry:
        fill(registry, Survey.make(visits=2, detectors=2))
        registry.register_store("copies", "file:///copies")
        there = registry.datasets(["raw"], ["raw"])
        copies = pa.table({
            "dataset": there["id"], "store": ["copies"] * there.num_rows, "path": [f"b/{n}.fits" for n in range(there.num_rows)],
            "size": there["size"], "sha256": there["sha256"], "content": there["content"], "format": there["format"],
        })  # fmt: skip
        columns = ["id", "run", "recipe", *registry.dataset_types()["raw"].dimensions]
        registry.insert_datasets(DatasetBatch({"raw": there.select(columns)}, copies))
        kind = registry.dataset_types()["raw"]
        first = registry.listing.first(kind, ["raw"], {}, 4)
        assert registry.listing.count(kind, ["raw"], {}) == there.num_rows
        assert first["id"].to_pylist() == there["id"].to_pylist()[:4]
        assert first["store"].to_pylist() == ["archive"] * 4
        assert sorted(registry.listing.ids(kind, ["raw"], {"detector": 1})["id"].to_pylist()) == sorted(
            i for i, d in zip(there["id"].to_pylist(), there["detector"].to_pylist()) if d == 1
        )
