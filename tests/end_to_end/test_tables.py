"""All catalogues of a type in one table: as many rows and the same sums as the files have."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.table import Table


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """Make a project with five catalogues of two tracts, one of them FITS, one narrower, one empty."""
    base = tmp_path_factory.mktemp("tables")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    rng = np.random.default_rng(4)
    for n, (tract, patch) in enumerate([(0, 0), (0, 1), (2, 0), (2, 1), (2, 3)]):
        rows = 0 if n == 3 else 1000 + n
        columns = {
            "source": pa.array(np.arange(rows), pa.int32() if n == 1 else pa.int64()),
            "flux": pa.array(rng.normal(size=rows)),
            "good": pa.array(rng.random(rows) < 0.5),
        }
        if n == 0:
            del columns["good"]
        fields = [
            pa.field(name, column.type, metadata={"unit": "Jy"} if name == "flux" else None)
            for name, column in columns.items()
        ]
        path = root / f"cat{n}.parquet"
        pq.write_table(pa.table(list(columns.values()), pa.schema(fields)), path, row_group_size=300)
        inside("ingest", "--as", "src", path.name, "skymap=m", f"tract={tract}", f"patch={patch}", cwd=root)
    Table({"source": np.arange(7), "flux": np.arange(7.0)}).write(root / "other.fits")
    inside("ingest", "--as", "other", "other.fits", "skymap=m", "tract=0", "patch=0", cwd=root)
    return root


def truth(root: Path) -> pa.Table:
    in_order = (0, 2, 1, 3, 4)  # of their data IDs: by patch, then tract
    parts = [pq.read_table(root / f"cat{n}.parquet") for n in in_order]
    return pa.concat_tables(parts, promote_options="permissive")


def equal_in_sums(found: pa.Table, wanted: pa.Table) -> None:
    assert found.num_rows == wanted.num_rows
    for name in ("source", "flux", "good"):
        assert pc.sum(found[name]).as_py() == pytest.approx(pc.sum(wanted[name]).as_py(), rel=1e-12)


def test_one_parquet_file_has_the_rows_and_sums_of_all(root: Path, inside: Any, tmp_path: Path) -> None:
    words = ("tables", "--type", "src", "--into", tmp_path / "all.parquet", "--json")
    answer = inside(*words, cwd=root).json
    found, wanted = pq.read_table(tmp_path / "all.parquet"), truth(root)
    equal_in_sums(found, wanted)
    assert found.column_names == ["dataset", "patch", "skymap", "tract", "source", "flux", "good"]
    assert found["flux"].to_pylist() == wanted["flux"].to_pylist()
    assert found["source"].type == pa.int64()
    assert found["good"].null_count == 1000
    assert answer["notes"] == ["column 'good' is null for 1 of 5 files, which have none"]
    assert pc.count_distinct(found["dataset"]).as_py() == 4
    manifest = json.loads((tmp_path / "all.parquet.manifest.json").read_text())
    assert (manifest["rows"], manifest["datasets"]) == (wanted.num_rows, 5)
    before = (tmp_path / "all.parquet").stat()
    assert inside(*words, cwd=root).json["added"] == 0
    assert (tmp_path / "all.parquet").stat().st_mtime_ns == before.st_mtime_ns
    refused = inside(*words, "--columns", "flux", cwd=root, ok=False)
    assert (refused.code, refused.codes) == (7, ["PST-B007"])


def test_a_file_for_each_tract(root: Path, inside: Any, tmp_path: Path) -> None:
    words = ("tables", "--type", "src", "--into", tmp_path / "out", "--partition", "tract", "--format", "csv")
    inside(*words, cwd=root)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.csv"))
    assert files == ["src-tract-00000.csv", "src-tract-00002.csv"]
    tables = [pa.csv.read_csv(tmp_path / "out" / name) for name in files]
    assert [pc.unique(table["tract"]).to_pylist() for table in tables] == [[0], [2]]
    equal_in_sums(pa.concat_tables(tables, promote_options="permissive"), truth(root))
    (tmp_path / "out" / files[0]).unlink()
    again = inside(*words, "--json", cwd=root).json
    assert (again["added"], again["rows"]) == (2, truth(root).num_rows)


def test_a_table_of_a_database_gets_what_it_lacks(root: Path, inside: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/user.db"
    first = inside("tables", "--type", "src", "--into", url, "--where", "tract = 0", "--json", cwd=root)
    assert first.json["added"] == 2
    inside("tables", "--type", "src", "--into", url, "--columns", "flux", cwd=root, ok=False)
    both = inside("tables", "--type", "src", "--into", url, "--json", cwd=root).json
    wanted = truth(root)
    assert (both["added"], both["rows"]) == (3, wanted.num_rows)
    with sqlite3.connect(tmp_path / "user.db") as db:
        sums = db.execute("SELECT count(*), sum(source), sum(flux), sum(good) FROM src").fetchone()
    assert sums[0] == wanted.num_rows
    for found, name in zip(sums[1:], ("source", "flux", "good"), strict=True):
        assert found == pytest.approx(pc.sum(wanted[name]).as_py(), rel=1e-9)
    again = inside("tables", "--type", "src", "--into", url, "--json", cwd=root).json
    assert again["rows"] == wanted.num_rows


def test_fits_tables_are_read_too(root: Path, inside: Any, tmp_path: Path) -> None:
    inside("tables", "--type", "other", "--into", tmp_path / "o.parquet", cwd=root)
    assert pq.read_table(tmp_path / "o.parquet")["flux"].to_pylist() == list(map(float, range(7)))


def test_what_is_not_one_table_is_refused_with_its_files(tmp_path: Path, inside: Any) -> None:
    inside("init", "demo", cwd=tmp_path)
    root = tmp_path / "demo"
    for n, values in enumerate([[1.0], ["a"], [2]]):
        unit = {"unit": "Jy" if n == 0 else "mag"}
        schema = pa.schema([pa.field("flux", pa.array(values).type, metadata=unit)])
        pq.write_table(pa.table([values], schema), root / f"c{n}.parquet")
        inside("ingest", "--as", "src", f"c{n}.parquet", "skymap=m", f"tract={n}", cwd=root)
    (root / "raw.json").write_text("{}")
    inside("ingest", "--as", "note", "raw.json", cwd=root)
    refused = inside("tables", "--type", "src", "--into", "x.parquet", "--json", cwd=root, ok=False)
    assert (refused.code, refused.codes) == (2, ["PST-B006"])
    assert "string [mag]" in refused.out
    assert "c0.parquet" in refused.out
    assert not (root / "x.parquet").exists()
    for words in (
        ("--type", "note", "--into", "x.parquet"),
        ("--type", "src", "--into", "x.parquet", "--columns", "mass"),
        ("--type", "src", "--into", "x", "--partition", "visit", "--where", "tract = 0"),
        ("--type", "src", "--into", "x.parquet", "--where", "tract = 77"),
    ):
        answer = inside("tables", *words, cwd=root, ok=False)
        assert answer.code in (2, 3), answer.err
