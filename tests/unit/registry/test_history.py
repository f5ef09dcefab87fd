"""What past runs came to, from samples of bounded size."""

import uuid

import pyarrow as pa
import pytest

from prestow.model import DatasetType
from prestow.naming.universe import load_universe
from prestow.registry import DatasetBatch, Registry, history
from prestow.testing.databases import empty

UNIVERSE = load_universe()
COUNT = 900


def key(*words):
    return uuid.uuid5(uuid.NAMESPACE_OID, " ".join(map(str, words))).bytes


def ids(*words, count):
    return pa.array([key(*words, i) for i in range(count)], pa.binary(16))


def batch(run, count, step):
    """Make calibrated frames and, of each, a table: sizes rise through the run."""
    quanta = ids(run, "quantum", count=count)
    recipe = pa.array([b"r" * 16] * count, pa.binary(16))
    datasets, artifacts = {}, []
    for kind in ("calexp", "src"):
        own = ids(run, kind, count=count)
        datasets[kind] = pa.table(
            {
                "id": own,
                "run": [run] * count,
                "instrument": ["sim"] * count,
                "visit": list(range(count)),
                "recipe": recipe,
                "planned_recipe": recipe,
                "quantum": quanta,
            }
        )
        artifacts.append(
            pa.table(
                {
                    "dataset": own,
                    "store": ["archive"] * count,
                    "path": [f"{run}/{kind}/{i}" for i in range(count)],
                    "size": [1000 + step * i for i in range(count)],
                    "sha256": ["11" * 32] * count,
                    "content": ["22" * 32] * count,
                    "format": ["fits"] * count,
                }
            )
        )
    made = pa.table(
        {
            "id": quanta,
            "run": [run] * count,
            "task": ["calibrate"] * count,
            "data_id": [f'{{"v":{i}}}' for i in range(count)],
            "job": [f"job-{i}" for i in range(count)],
            "state": ["made"] * count,
            "planned_recipe": recipe,
            "actual_recipe": recipe,
            "attempt": [f"a{i}" for i in range(count)],
            "receipt": [f"r{i}" for i in range(count)],
        }
    )
    reads = pa.table(
        {
            "quantum": pa.array(
                [q for i, q in enumerate(quanta.to_pylist()) for _ in range(1 + i % 2)], pa.binary(16)
            ),
            "connection": ["raw"] * (count + count // 2),
            "input": pa.array(
                [key("raw", i, j) for i in range(count) for j in range(1 + i % 2)], pa.binary(16)
            ),
            "state": ["made"] * (count + count // 2),
            "planned_recipe": pa.array([b"p" * 16] * (count + count // 2), pa.binary(16)),
        }
    )
    return DatasetBatch(datasets, pa.concat_tables(artifacts), made, reads)


@pytest.fixture(scope="module")
def registry(tmp_path_factory, dialect):
    with (
        empty(dialect, tmp_path_factory.mktemp("r")) as url,
        Registry.open(url, UNIVERSE, create=True) as registry,
    ):
        for kind in ("calexp", "src"):
            registry.register_dataset_type(DatasetType(kind, ("instrument", "visit"), "fits"))
        registry.register_store("archive", "file:///archive")
        for run, count in (("big", COUNT), ("small", 10)):
            registry.register_run(run)
            registry.insert_datasets(batch(run, count, 2))
        yield registry


def test_a_sample_is_bounded_even_and_the_same_again(registry, monkeypatch):
    monkeypatch.setattr(history, "ROWS", 100)
    table = registry.history.sizes(["calexp", "src", "never"])
    rows = table.to_pylist()
    big = [r for r in rows if r["run"] == "big" and r["type"] == "calexp"]
    assert len([r for r in rows if r["run"] == "small"]) == 2 * 10
    assert history._FEW <= len(big) <= history._TRIES * history.ROWS
    assert len(big) < COUNT
    true = 1000 + 2 * (COUNT - 1) / 2
    assert sum(r["size"] for r in big) / len(big) == pytest.approx(true, rel=0.02)
    assert {r["inputs"] for r in big} == {1, 2}
    assert registry.history.sizes(["calexp", "src", "never"]).equals(table)


def test_runs_are_left_out_when_asked_and_only_the_newest_count(registry, monkeypatch):
    assert set(registry.history.sizes(["src"], without=["small"])["run"].to_pylist()) == {"big"}
    monkeypatch.setattr(history, "RUNS", 1)
    assert set(registry.history.sizes(["src"])["run"].to_pylist()) == {"small"}


def test_papers_and_sums_are_those_of_the_run(registry):
    some = registry.history.some_quanta("big", "calibrate", 7)
    assert some == sorted(some)
    papers = registry.history.papers([*some, key("nobody")]).to_pylist()
    assert [p["id"] for p in papers] == some
    assert {p["task"] for p in papers} == {"calibrate"}
    assert registry.history.states("small") == {("calibrate", "made"): 10}
    size = sum(1000 + 2 * i for i in range(10))
    assert registry.history.made("small", "archive") == {"calexp": (10, size), "src": (10, size)}
    assert registry.history.made("small", "elsewhere") == {}
    assert registry.history.held("archive")[0] == 2 * (COUNT + 10)
