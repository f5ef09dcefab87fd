"""What exists: in once, out in columns, the same from every side."""

import os
import subprocess
import sys
import threading

import pyarrow as pa
import pytest

from prestow.errors import IngestError, ProjectError
from prestow.model import DataId, Dataset, DatasetType
from prestow.naming.universe import load_universe
from prestow.registry import DatasetBatch, Registry
from prestow.registry.columns import uuid_bytes
from prestow.registry.database import check_file, file_system

UNIVERSE = load_universe()
BIAS = DatasetType("bias", ("detector", "instrument"), "fits")


@pytest.fixture
def registry(registry_url):
    with Registry.open(registry_url, UNIVERSE, create=True) as registry:
        registry.register_dataset_type(BIAS)
        registry.register_store("archive", "file:///archive")
        for run in ("a", "b", "c"):
            registry.register_run(run)
        yield registry


def batch(run, detectors=(1, 2, 3), *, sha="11", quantum=None, paths=None, recipe=b"r" * 16):
    n = len(detectors)
    ids = uuid_bytes(Dataset("bias", DataId({"instrument": "sim", "detector": d}), run).id for d in detectors)
    datasets = pa.table(
        {
            "id": ids,
            "run": [run] * n,
            "instrument": ["sim"] * n,
            "detector": list(detectors),
            "recipe": pa.array([recipe] * n, pa.binary(16)),
            "quantum": pa.array([quantum] * n, pa.binary(16)),
        }
    )
    artifacts = pa.table(
        {
            "dataset": ids,
            "store": ["archive"] * n,
            "path": paths or [f"{run}/bias-{d}.fits" for d in detectors],
            "size": [10] * n,
            "sha256": [sha * 32] * n,
            "content": ["22" * 32] * n,
            "format": ["fits"] * n,
        }
    )
    quanta = None
    if quantum:
        quanta = pa.table(
            {
                "id": pa.array([quantum], pa.binary(16)),
                "run": [run],
                "task": ["make"],
                "data_id": ["{}"],
                "job": ["j"],
                "state": ["made"],
                "planned_recipe": pa.array([recipe], pa.binary(16)),
                "receipt": ["_receipts/x"],
            }
        )
    return DatasetBatch({"bias": datasets}, artifacts, quanta)


def test_a_batch_given_twice_is_there_once(registry):
    first = registry.insert_datasets(batch("a"))
    before = registry.dump()
    second = registry.insert_datasets(batch("a"))
    assert (first.datasets, first.artifacts, second.datasets, second.present) == (3, 3, 0, 3)
    assert registry.dump() == before
    assert registry.committed()["sequence"].to_pylist() == [1, 2, 3]


def test_datasets_come_out_in_columns_of_the_right_types(registry):
    registry.insert_datasets(batch("a"))
    table = registry.datasets(["bias"], ["a"])
    assert table["detector"].to_pylist() == [1, 2, 3]
    assert table.schema.field("id").type == pa.binary(16)
    assert table["sha256"].to_pylist() == ["11" * 32] * 3
    assert table["receipt"].to_pylist() == [None] * 3
    assert registry.datasets(["bias", "none"], ["b"]).num_rows == 0
    assert registry.datasets(["bias"], ["b"]).schema == table.schema


def test_in_a_chain_the_first_member_wins_per_data_id(registry):
    registry.insert_datasets(batch("a", (1, 2)))
    registry.insert_datasets(batch("b", (2, 3)))
    registry.register_chain("inner", ["b"])
    registry.register_chain("all", ["inner", "a"])
    table = registry.datasets(["bias"], ["all"])
    assert list(zip(table["detector"].to_pylist(), table["run"].to_pylist())) == [
        (1, "a"),
        (2, "b"),
        (3, "b"),
    ]
    assert registry.datasets(["bias"], ["all"], first=False).num_rows == 4
    assert registry.datasets(["bias"], ["a", "b"])["run"].to_pylist() == ["a", "a", "b"]


def test_a_chain_does_not_contain_itself(registry):
    registry.register_chain("x", ["a"])
    registry.register_chain("y", ["x"])
    with pytest.raises(ProjectError, match="contains itself"):
        registry.register_chain("x", ["y"])
    assert registry.chain_members("y") == ("a",)


def test_other_bytes_are_contradictory_and_change_nothing(registry):
    registry.insert_datasets(batch("a", (1,)))
    before = registry.datasets(["bias"], ["a"])
    inserted = registry.insert_datasets(batch("a", (1, 2), sha="33"))
    assert [c.what for c in inserted.contradictory] == ["registered with other bytes"]
    assert inserted.datasets == 1  # the other one has no quarrel
    assert registry.datasets(["bias"], ["a"]).slice(0, 1) == before


def test_of_a_quantum_all_outputs_go_in_or_none(registry):
    registry.insert_datasets(batch("b", (9,), paths=["a/bias-2.fits"]))
    inserted = registry.insert_datasets(batch("a", (1, 2), quantum=b"q" * 16))
    assert inserted.datasets == inserted.quanta == 0
    assert {c.what for c in inserted.contradictory} == {
        "its place holds another registered dataset",
        "an output of it is contradictory",
    }
    assert registry.quanta("a").num_rows == 0


def test_what_was_deleted_is_not_brought_back(registry):
    given = batch("a", quantum=b"q" * 16)
    registry.insert_datasets(given)
    gone = given.datasets["bias"]["id"].to_pylist()[:1]
    registry.delete_datasets(gone)
    inserted = registry.insert_datasets(given)
    assert (inserted.datasets, inserted.deleted, inserted.present) == (0, 1, 2)
    assert registry.datasets(["bias"], ["a"])["detector"].to_pylist() == [2, 3]
    assert len(registry.deleted()) == 1


def test_dimension_records_are_added_once_and_never_changed(registry):
    rows = pa.table(
        {"instrument": ["s", "s"], "detector": [1, 2], "name": ["one", "two"], "purpose": ["science", None]}
    )
    assert registry.insert_dimension_records("detector", rows) == 2
    assert registry.insert_dimension_records("detector", rows) == 0
    other = pa.table(
        {"instrument": ["s", "s"], "detector": [2, 3], "name": ["zwei", "drei"], "purpose": ["science"] * 2}
    )
    with pytest.raises(IngestError, match="detector=2"):
        registry.insert_dimension_records("detector", other)
    out = registry.dimension_records("detector")
    assert out["name"].to_pylist() == ["one", "two"]
    assert out["purpose"].to_pylist() == ["science", None]
    assert registry.dimension_records("band").num_rows == 0


def test_many_rows_whose_text_begins_with_nulls(registry):
    n = 5000
    names = [None] * (n - 1) + ["last"]
    rows = pa.table({"instrument": ["s"] * n, "detector": list(range(n)), "name": names})
    registry.insert_dimension_records("detector", rows)
    assert registry.dimension_records("detector")["name"].to_pylist() == names


def test_a_dataset_without_dimensions_is_legal(registry):
    registry.register_dataset_type(DatasetType("schema", (), "json"))
    ids = uuid_bytes([Dataset("schema", DataId({}), "a").id])
    artifact = pa.table(
        {
            "dataset": ids,
            "store": ["archive"],
            "path": ["s.json"],
            "size": [1],
            "sha256": ["11" * 32],
            "content": ["11" * 32],
            "format": ["json"],
        }
    )
    given = DatasetBatch({"schema": pa.table({"id": ids, "run": ["a"]})}, artifact)
    assert registry.insert_datasets(given).datasets == 1
    assert registry.insert_datasets(given).datasets == 0
    assert registry.datasets(["schema"], ["a"]).num_rows == 1


@pytest.mark.parametrize("level", [0, None])
def test_columns_in_the_layouts_of_other_libraries_are_taken(registry, level):
    polars = pytest.importorskip("polars")
    given = batch("a")
    as_polars = {
        n: polars.from_arrow(t).to_arrow(compat_level=None if level is None else polars.CompatLevel.oldest())
        for n, t in {"d": given.datasets["bias"], "a": given.artifacts}.items()
    }
    assert registry.insert_datasets(DatasetBatch({"bias": as_polars["d"]}, as_polars["a"])).artifacts == 3
    assert registry.insert_datasets(given).present == 3
    records = polars.DataFrame({"instrument": ["s"], "detector": [1], "name": [None], "purpose": ["science"]})
    assert registry.insert_dimension_records("detector", records.to_arrow()) == 1


def test_rows_of_a_run_nobody_knows_are_refused(registry):
    before = registry.dump()
    with pytest.raises(ProjectError, match="no run 'z' is registered"):
        registry.insert_datasets(batch("z"))
    assert registry.dump() == before


def test_a_type_known_otherwise_is_refused(registry):
    registry.register_dataset_type(BIAS)
    with pytest.raises(ProjectError) as caught:
        registry.register_dataset_type(DatasetType("bias", ("instrument",), "fits"))
    assert caught.value.problems[0].code == "PST-G004"


def test_bindings_parents_stores(registry):
    assert registry.bind("a", {"pipeline": "x"}) == {"pipeline": "x"}
    assert registry.bind("a", {"pipeline": "y"}) == {"pipeline": "x"}
    assert registry.binding("b") is None
    registry.add_parent("b", "a")
    registry.add_parent("b", "a")
    assert registry.parents("b") == ("a",)
    assert registry.stores() == {"archive": ("file:///archive", "output")}
    registry.register_store("archive", "file:///moved")
    registry.register_store("theirs", "file:///a", "readonly")
    assert registry.stores() == {"archive": ("file:///moved", "output"), "theirs": ("file:///a", "readonly")}
    with pytest.raises(ProjectError, match="registered at"):
        registry.register_store("theirs", "file:///elsewhere", "readonly")
    assert registry.counts()["dataset"] == 0


@pytest.mark.parametrize("name", ["a b", "a#b", "a%20b", "a?b", "a[b]", "it's", "größe", "a;b&c"])
def test_any_path_is_a_registry(tmp_path, name):
    (tmp_path / name).mkdir()
    url = f"sqlite:///{tmp_path}/{name}/{name}.db"
    with Registry.open(url, UNIVERSE, create=True) as registry:
        registry.register_run("x")
    with Registry.open(url, UNIVERSE, read_only=True) as registry:
        assert registry.chain_members("x") == ("x",)
    assert {p.name for p in (tmp_path / name).iterdir()} >= {f"{name}.db"}
    assert len(list(tmp_path.iterdir())) == 1


def test_read_only_changes_nothing(tmp_path):
    url = f"sqlite:///{tmp_path}/r.db"
    Registry.open(url, UNIVERSE, create=True).close()
    before = (tmp_path / "r.db").read_bytes()
    with (
        Registry.open(url, UNIVERSE, read_only=True) as registry,
        pytest.raises(ProjectError, match="readonly"),
    ):
        registry.register_run("x")
    assert (tmp_path / "r.db").read_bytes() == before


def refusal(url, **how):
    with pytest.raises(ProjectError) as caught:
        Registry.open(url, UNIVERSE, **how)
    problem = caught.value.problems[0]
    assert problem.code == "PST-G002"
    assert problem.fix
    return problem.what


def test_what_is_not_a_registry_is_refused_with_a_way_out(tmp_path):
    import sqlite3

    assert "there is no registry" in refusal(f"sqlite:///{tmp_path}/none.db")
    assert "no directory" in refusal(f"sqlite:///{tmp_path}/none/none.db", create=True)
    assert "a directory" in refusal(f"sqlite:///{tmp_path}")
    (tmp_path / "text.db").write_text("hello, this is a text, not a database")
    assert "not a registry" in refusal(f"sqlite:///{tmp_path}/text.db", create=True)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE meta (x)")
    other.close()
    assert "not a registry" in refusal(f"sqlite:///{tmp_path}/other.db")
    assert "no driver" in refusal("oracle://there/x")
    Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True).close()
    for version in ("99", "1"):  # a newer one, and one from before there were metrics
        other = sqlite3.connect(tmp_path / "r.db")
        other.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (version,))
        other.commit()
        other.close()
        assert f"schema version {version}, this prestow reads 4" in refusal(f"sqlite:///{tmp_path}/r.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_an_unwritable_registry_is_refused_but_can_be_read(tmp_path):
    url = f"sqlite:///{tmp_path}/r.db"
    Registry.open(url, UNIVERSE, create=True).close()
    tmp_path.chmod(0o500)
    try:
        assert "not writable" in refusal(url)
        Registry.open(url, UNIVERSE, read_only=True).close()
    finally:
        tmp_path.chmod(0o700)


def test_file_systems_are_told_from_the_mount_table(tmp_path):
    inner = tmp_path / "a b"
    inner.mkdir()
    table = tmp_path / "mounts"
    escaped = str(inner).replace(" ", "\\040")
    table.write_text(f"x / ext4 rw 0 0\nserver:/x {escaped} nfs4 rw 0 0\n")
    assert file_system(str(inner / "r.db"), str(table)) == "nfs4"
    assert file_system(str(tmp_path / "r.db"), str(table)) == "ext4"
    assert file_system("/", "/does/not/exist") == ""
    assert check_file.__doc__


def test_two_threads_and_two_registries_write_at_once(registry_url):
    url = registry_url
    errors = []

    def work(number):
        try:
            with Registry.open(url, UNIVERSE, create=True) as registry:
                registry.register_dataset_type(BIAS)
                registry.register_store("archive", "file:///archive")
                registry.register_run("a")
                for start in range(0, 60, 10):
                    registry.insert_datasets(batch("a", tuple(range(start, start + 10))))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Registry.open(url, UNIVERSE, read_only=True) as registry:
        assert registry.counts()["dataset"] == 60
        assert registry.committed()["sequence"].to_pylist() == list(range(1, 61))


def test_importing_the_room_loads_no_heavy_library():
    code = (
        "import sys, prestow.registry; "
        "print([m for m in ('pyarrow','sqlalchemy','polars','pandas','numpy','adbc_driver_sqlite') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
