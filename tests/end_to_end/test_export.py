"""What is known of a collection, written as tables, and held against its checksums by who gets it."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table

from prestow.project import Project


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any], small: Any) -> Path:
    base = tmp_path_factory.mktemp("export")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    for words in (
        ("ingest", "--raw", "raw", "--instrument", "simcam"),
        ("plan",),
        ("run", "--engine", "local"),
        ("ingest",),
    ):
        inside(*words, cwd=root)
    return root


BOTH = ("--collection", "demo", "--collection", "raw-simcam")


@pytest.fixture
def written(root: Path, inside: Any, tmp_path: Path) -> Path:
    inside("export", *BOTH, "--into", tmp_path / "out", "--obscore", cwd=root)
    return tmp_path / "out"


def test_the_tables_are_those_of_the_registry_and_join_by_their_keys(root: Path, written: Path) -> None:
    tables = {
        name: pl.read_csv(written / f"{name}.csv") for name in ("files", "datasets", "quanta", "provenance")
    }
    with Project.open(root) as project:
        counts = project.registry.counts()
        known = project.find("isr", only="made").frame
    assert tables["files"].height == counts["artifact"]
    assert tables["datasets"].height == counts["dataset"]
    assert tables["quanta"].height == counts["quantum"]
    assert tables["provenance"].height == counts["quantum_input"]
    isr = tables["files"].filter(pl.col("type") == "isr")
    assert dict(isr.select("dataset", "url").iter_rows()) == dict(known.select("id", "url").iter_rows())
    read = tables["provenance"].join(tables["datasets"], on="dataset", how="anti")
    assert read.height == 0
    assert tables["provenance"].join(tables["quanta"], on="quantum", how="anti").height == 0


@pytest.mark.parametrize("form", ["parquet", "fits", "sqlite"])
def test_other_formats_say_the_same(
    root: Path, inside: Any, tmp_path: Path, written: Path, form: str
) -> None:
    inside("export", *BOTH, "--into", tmp_path / form, "--format", form, cwd=root)
    wanted = pl.read_csv(written / "files.csv").select("dataset", "size", "sha256").rows()
    if form == "parquet":
        found = pl.read_parquet(tmp_path / form / "files.parquet").select("dataset", "size", "sha256").rows()
    elif form == "fits":
        data = fits.getdata(tmp_path / form / "files.fits")
        found = [(r["dataset"], int(r["size"]), r["sha256"]) for r in data]
    else:
        with sqlite3.connect(tmp_path / form / "tables.sqlite") as db:
            found = db.execute("SELECT dataset, size, sha256 FROM files ORDER BY rowid").fetchall()
    assert found == wanted
    assert inside("export", "--verify", tmp_path / form, cwd=tmp_path).code == 0


def test_obscore_has_its_mandatory_columns_and_a_row_for_each_file(written: Path) -> None:
    table = parse_single_table(written / "obscore.vot").to_table()
    rows = pl.read_csv(written / "obscore.csv")
    assert len(table) == rows.height == pl.read_csv(written / "files.csv").height
    assert table["s_ra"].unit == "deg"
    raw = rows.filter(pl.col("obs_collection") == "raw-simcam")
    assert raw["calib_level"].unique().to_list() == [1]
    assert (raw["t_max"] - raw["t_min"]).to_list() == pytest.approx([30 / 86400] * raw.height)
    assert raw["s_ra"].to_list() == pytest.approx([150.1] * raw.height)


def test_what_did_not_come_whole_is_told(root: Path, written: Path, inside: Any, tmp_path: Path) -> None:
    assert inside("export", "--verify", written, "--json", cwd=tmp_path).json["problems"] == []
    (written / "files.csv").write_text("torn")
    (written / "quanta.csv").unlink()
    (written / "more.csv").write_text("x")
    manifest = json.loads((written / "manifest.json").read_text())
    found = inside("export", "--verify", written, "--json", cwd=tmp_path, ok=False)
    assert found.code == 9
    assert [Path(p["where"]).name for p in found.json["problems"]] == ["files.csv", "quanta.csv", "more.csv"]
    manifest["files"]["../../etc/passwd"] = {"sha256": "", "size": 0}
    (written / "manifest.json").write_text(json.dumps(manifest))
    assert "passwd" in inside("export", "--verify", written, "--json", cwd=tmp_path, ok=False).out
    (written / "manifest.json").unlink()
    assert inside("export", "--verify", written, "--json", cwd=tmp_path, ok=False).codes == ["PST-B008"]
    refused = inside("export", *BOTH, "--into", written, "--obscore", "--json", cwd=root, ok=False)
    assert refused.codes == ["PST-B007"]
    assert inside("export", "--into", "x", "--json", cwd=root, ok=False).codes == ["PST-G005"]
    assert inside("export", "--collection", "no", "--into", "x", "--json", cwd=root, ok=False).codes == [
        "PST-G003"
    ]
    assert not (root / "x").exists()
