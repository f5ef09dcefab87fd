"""From a coadd that looks bad to the one frame that spoiled it, and back to a good one: real frames, as a person types it."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prestow.formats import open_format

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("PRESTOW_TEST_DATA", ROOT.parent / "shared" / "data")) / "sdss-stripe82"
WORKFLOW = ROOT / "workflows" / "coadd_frames"
NIGHTS = {4192: "2003-10-19", 6377: "2006-09-20", 4193: "2003-10-20", 6378: "2006-09-21"}
SPOILED = 6378
COLUMNS, ROWS = slice(600, 1300), slice(0, 1489)


def frame(night: int, directory: Path, *, spoiled: bool = False) -> None:
    """Write a piece of a frame in r; nights that there were not are those before them, with their own noise."""
    from astropy.io import fits

    real = night if night in (4192, 6377) else night - 1
    (path,) = (DATA / str(real)).glob("fpC-*-r4-*.fit.gz")
    with fits.open(path) as hdus:
        data, header = hdus[0].data.astype(np.float64), hdus[0].header
    if real != night:
        data += np.random.default_rng(night).normal(0, 3, data.shape)
    if spoiled:
        y, x = np.mgrid[: data.shape[0], : data.shape[1]]
        shifted = np.roll(data - np.median(data), (7, 9), (0, 1))
        data += 0.15 * shifted + 12 * np.sin(x / 12) * np.sin(y / 12)
    header["RUN"], header["DATE-OBS"] = night, NIGHTS[night]
    header["CRPIX1"] -= COLUMNS.start
    counts = np.clip(data + 0.5, 0, 65535).astype(np.uint16)[ROWS, COLUMNS]
    fits.PrimaryHDU(counts, header).writeto(directory / f"fpC-{night:06d}-r4.fits")


def campaign(root: Path, nights: list[int], inside: Callable[..., Any]) -> Path:
    """Reduce some nights; warps go when they are read."""
    (root / "raw").mkdir(parents=True)
    for night in nights:
        frame(night, root / "raw", spoiled=night == SPOILED)
    text = (WORKFLOW / "pipeline.yaml").read_text()
    code = "code: [tasks, ../measuring]"
    kept = "    outputs:\n      warp: warp\n"
    assert text.count(code) == text.count(kept) == 1
    text = text.replace(code, f"code: [{WORKFLOW / 'tasks'}, {WORKFLOW.parent / 'measuring'}]")
    text = text.replace(kept, "    outputs:\n      warp: {type: warp, retain: until_consumed}\n")
    (root / "pipeline.yaml").write_text(text)
    (root / "prestow.yaml").write_text(
        "schema: prestow.project/1\nregistry: sqlite:///registry.db\nstore: store\npipeline: pipeline.yaml\n"
    )
    inside("ingest", "--raw", "raw", "--instrument", "sdss", cwd=root)
    inside("ingest", "--as", "reference_catalogue", DATA / "ref_cat" / "stars.fits", cwd=root)
    inside("plan", "--set", "zero_point.fewest_stars=3", cwd=root)
    return reduced(root, inside)


def reduced(root: Path, inside: Callable[..., Any]) -> Path:
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)
    return root


def metrics(root: Path, run: str) -> dict[str, Any]:
    (path,) = (root / "store" / run / "metrics").glob("*.yaml")
    return open_format("yaml").read(path)["metrics"]


def receipts(root: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in (root / "store" / "_receipts").rglob("*.json")]


def made_from(root: Path, raw: str) -> set[str]:
    """Follow a dataset down by the receipts alone: what is made from it, as far as it is there."""
    found, level, every = set[str](), {raw}, receipts(root)
    while level:
        new = set[str]()
        for one in every:
            used = {i["id"] for i in one["inputs"] if i["state"] == "made"}
            if used & level:
                new |= {o["id"] for o in one["outputs"] if o["state"] == "made"}
        level = new - found
        found |= new
    return found


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """Four nights of one field, of which one is spoiled; the warps are retired."""
    if not DATA.is_dir():
        pytest.skip(f"no real frames at {DATA}: set PRESTOW_TEST_DATA")
    for name in ("sep", "reproject", "astroalign"):
        pytest.importorskip(name)
    return campaign(tmp_path_factory.mktemp("nights"), list(NIGHTS), inside)


@pytest.fixture(scope="module")
def without(field: Path, tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """A project of its own that never had the spoiled night."""
    return campaign(tmp_path_factory.mktemp("without"), [n for n in NIGHTS if n != SPOILED], inside)


def test_the_line_from_the_coadd_ends_at_the_spoiled_frame(
    field: Path, inside: Callable[..., Any], tmp_path: Path
) -> None:
    above = inside("trace", "coadd{band=r}", "--up", "--json", cwd=field).json["up"]
    assert {o["dataset"] for o in above["stand_out"]} and all(
        str(SPOILED) in o["dataset"] for o in above["stand_out"]
    )
    inside("retire", cwd=field)
    mine = tmp_path / "mine"
    inside("fetch", "coadd{band=r}", "--into", mine, cwd=field)
    nothing = inside("look", "warp{band=r}", "--png", "warps.png", "--json", cwd=mine, ok=False)
    assert nothing.codes == ["PST-G012"]
    again = inside("regenerate", "--json", cwd=mine).json
    assert [d["answer"] for d in again["datasets"]] == ["equal"] * len(NIGHTS)
    sheet = inside(
        "look", "warp{band=r}", "--png", "warps.png", "--header", "MJD-BEG,SEEING", "--json", cwd=mine
    ).json
    assert [tile["kind"] for tile in sheet["tiles"]] == ["plane"] * len(NIGHTS)
    assert sheet["keys"] == ["MJD-BEG", "SEEING", "median", "rms"]
    odd = [tile["label"] for tile in sheet["tiles"] if tile["stands_out"]]
    assert len(odd) == 1 and f"visit={SPOILED}140399" in odd[0]
    assert max(sheet["tiles"], key=lambda t: t["header"]["rms"])["label"] == odd[0]
    picture = open_format("png").read(mine / "warps.png")
    assert picture.ndim == 3 and picture.std() > 10


def test_without_the_frame_the_coadd_is_what_it_would_have_been(
    field: Path, without: Path, inside: Callable[..., Any]
) -> None:
    bad, good = metrics(field, "coadd_frames"), metrics(without, "coadd_frames")
    raw = f"raw{{exposure={SPOILED}140399}}"
    told = inside("taint", raw, "--because", "fringes of the dome lamp", "--json", cwd=field).json
    (one,) = told["datasets"]
    ids = {key for group in told["touched"] for key in group["ids"]}
    there = {r["id"] for r in rows(field, "SELECT id FROM dataset")}
    assert ids == made_from(field, one["id"]) & there
    assert told["contaminated"] == len(ids) < len(made_from(field, one["id"]))  # a warp is retired
    planned = inside("plan", "--replace-tainted", "--json", cwd=field).json
    assert planned["left_out_rows"] == [
        {
            "task": "frame", "reason": "tainted", "quanta": 1, "waived": False, "detail": "raw: fringes of the dome lamp",
            "first": f'{{"detector":14,"exposure":{SPOILED}140399,"instrument":"sdss"}}',
        }
    ]  # fmt: skip
    reduced(field, inside)
    after = metrics(field, planned["run"])
    assert after == good
    assert after != bad
    assert bad["noise"] > 1.1 * after["noise"]
    assert after["negated_share"] <= 0.08 < bad["negated_share"]
    paths = [
        next((root / "store" / run / "coadd").glob("*.fits"))
        for root, run in ((field, planned["run"]), (without, "coadd_frames"))
    ]
    one_digest, other = (open_format("fits").content_digest(p) for p in paths)
    assert one_digest == other


def rows(root: Path, sql: str) -> list[dict[str, Any]]:
    with sqlite3.connect(root / "registry.db") as db:
        cursor = db.execute(sql)
        names = [c[0] for c in cursor.description]
        return [
            {
                n: str(uuid.UUID(bytes=v)) if isinstance(v, bytes) else v
                for n, v in zip(names, row, strict=True)
            }
            for row in cursor
        ]
