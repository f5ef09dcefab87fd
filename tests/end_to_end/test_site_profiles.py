"""A bad coadd followed at each kind of site, as the page says; the profiles of a production and of one visit at a time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.project import Project

Sit = Callable[[Path], Callable[..., Any]]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/use-cases-and-sites.md"
SITES = ROOT / "site-configs"
COADD = "'coadd{band=g,detector=0}'"
LATE = "202611010003"
TOLD = (
    f"instrument=simcam exposure={LATE} visit={LATE} detector=0 physical_filter=sim-g band=g day_obs=20261101"
)


def begun(base: Path, name: str, sit: Sit, small: Any, more: str = "") -> Path:
    sit(base)(f"prestow init {name}")
    root: Path = small(base / name)
    pipeline = root / "pipeline.yaml"
    text = pipeline.read_text().replace(
        "outputs: {isr: isr}", "outputs: {isr: {type: isr, retain: until_consumed}}"
    )
    pipeline.write_text(text.replace("minimum: 2", "minimum: 1"))
    with (root / "prestow.yaml").open("a") as file:
        file.write(more)
    return root


def registered(root: Path) -> dict[str, Any]:
    with Project.open(root) as project:
        return project.registry.dump()


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, sit: Sit, small: Any) -> Path:
    """A production, planned, run and taken in; its frames lie where nothing is written."""
    more = 'unexpected: tar\narchive: {mode: "0444", directory_mode: "0755"}\n'
    root = begun(tmp_path_factory.mktemp("production"), "production", sit, small, more)
    at = sit(root)
    at("prestow ingest --raw raw --instrument simcam --transfer in-place")
    at(f"prestow plan --site {SITES}/production.yaml")
    at(f"prestow run -q --site {SITES}/production.yaml --engine local")
    at("prestow ingest --level full")
    return root


@pytest.fixture(scope="module")
def l1(tmp_path_factory: pytest.TempPathFactory, sit: Sit, small: Any) -> Path:
    """A project whose last frame of a band is promised, planned, and then comes."""
    root = begun(tmp_path_factory.mktemp("l1"), "l1", sit, small)
    (late,) = (root / "raw").glob("*-0003-*")
    (root / "late").mkdir()
    late.rename(root / "late" / late.name)
    at = sit(root)
    at("prestow ingest --raw raw --instrument simcam")
    at(f"prestow promise raw {TOLD} --by 2100-01-01")
    planned = at("prestow plan --promised --where \"band = 'g'\" --json").json
    assert (planned["promised"]["datasets"], planned["total"]["outputs"]) == (1, 7)
    names = at("prestow show --files").out.split()
    assert f"demo/calexp/simcam/{LATE}/calexp-{LATE}-00.fits" in names
    assert at(f"prestow run -q --site {SITES}/l1.yaml --json", exits=6).json["awaited"] == 3
    at("prestow ingest --raw late --instrument simcam")
    at("prestow plan --promised --where \"band = 'g'\"")
    at(f"prestow run -q --site {SITES}/l1.yaml")
    at("prestow ingest")
    assert sorted(p.relative_to(root / "store").as_posix() for p in products(root)) == sorted(names)
    return root


def products(root: Path) -> list[Path]:
    return [p for p in (root / "store/demo").rglob("*") if p.is_file()]


def test_production_is_written_by_ingest_alone(production: Path, tmp_path: Path, sit: Sit) -> None:
    root = Path(shutil.copytree(production, tmp_path / "production", symlinks=True))
    with Project.open(root) as project:  # the frames of the copy are its own
        stores = project.registry.stores()
        assert sorted(kind for _, kind in stores.values()) == ["output", "readonly"]
        for name, (uri, _) in stores.items():
            project.registry.move_store(name, uri.replace(str(production), str(root)))
    at = sit(root)
    assert {p.stat().st_mode & 0o777 for p in products(root)} == {0o444}
    frames = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (root / "raw").iterdir()}
    at(f"prestow plan --run again --site {SITES}/production.yaml")
    before = registered(root)
    at(f"prestow run -q --site {SITES}/production.yaml --engine local")
    assert registered(root) == before
    (root / "store/again/core.17").write_text("dumped")
    told = at("prestow account --json").json
    assert (told["closes"], told["states"]["made"], told["classes"]["unexpected"]) == (True, 14, 0)
    assert [one["path"] for one in told["unexpected"]["taken"]] == ["again/core.17"]
    at("prestow ingest")
    assert registered(root) != before
    refused = at("prestow plan --set coadd.clip=2 --run again", exits=4)
    assert "PST-P006" in refused.err
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (root / "raw").iterdir()} == frames


def test_l1_is_planned_before_its_frame_is_there(
    l1: Path, sit: Sit, monkeypatch: Any, tmp_path: Path
) -> None:
    at = sit(Path(shutil.copytree(l1, tmp_path / "l1", symlinks=True)))
    assert at("prestow account --level full --json").json["closes"]
    at(f"prestow promise raw {TOLD.replace('0003', '0009')} --by 2100-01-01")
    monkeypatch.setattr("prestow.results.promising.now", lambda: 2**62)
    assert "promised_late:raw" in at("prestow plan --promised --run next", exits=4).err


def table() -> dict[str, dict[str, str]]:
    """Give the cells of the page: of each command, what there is at each kind of site."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    kinds, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[:7]]
    return {re.findall(r"`(.+)`", row[0])[0]: dict(zip(kinds[1:], row[1:], strict=True)) for row in rows}


def done(root: Path, sit: Sit, into: Path) -> dict[str, str]:
    """Do every step, and say how far it came."""
    at = sit(root)
    found: dict[str, str] = {}
    up = at(f"prestow trace {COADD} --up").out
    found["trace --up"] = "yes" if f"exposure={LATE}" in up else "partly"
    at(f"prestow fetch {COADD} --into '{into}'")
    found["fetch"] = "yes" if list((into / "store").rglob("coadd-simcam-g-00.fits")) else "no"
    again = sit(into)("prestow regenerate", exits=None)
    equal = again.out.count("  equal: isr{")
    found["regenerate"] = "no" if again.code else "yes" if equal == 2 else "partly"
    at(f"prestow look 'calexp{{visit={LATE}}}' --into '{into}/look.png'")
    found["look"] = "yes" if (into / "look.png").stat().st_size else "no"
    told = at(f"prestow taint 'raw{{visit={LATE}}}' --because 'a lamp was on' --json").json
    touched = {one["type"] for one in told["touched"]}
    found["taint"] = "yes" if touched >= {"calexp", "summary", "coadd"} else "partly"
    planned = at("prestow plan --replace-tainted", exits=None)
    found["plan --replace-tainted"] = "no" if planned.code else "yes"
    return found


def test_each_step_at_each_kind_of_site(production: Path, l1: Path, tmp_path: Path, sit: Sit) -> None:
    top = sit(production)
    top("prestow retire")
    sit(l1)("prestow retire")
    top(f"prestow subset --collection demo --collection raw-simcam --into '{tmp_path}/developer'")
    top(f"prestow fetch {COADD} --into '{tmp_path}/sandbox'")
    release = Path(shutil.copytree(l1, tmp_path / "release", symlinks=True))
    sit(release)("prestow freeze demo")
    places = {
        "production": production, "l1": l1, "release": release, "developer": tmp_path / "developer",
        "sandbox": tmp_path / "sandbox",
    }  # fmt: skip
    said = table()
    found = {kind: done(root, sit, tmp_path / f"of-{kind}") for kind, root in places.items()}
    told = {kind: {step: cells[kind].split(" ")[0] for step, cells in said.items()} for kind in places}
    assert found == told


def test_every_mark_of_the_table_is_explained() -> None:
    marks = {
        mark
        for cells in table().values()
        for cell in cells.values()
        for mark in re.findall(r"\((\w)\)", cell)
    }
    assert marks == set(re.findall(r"^- \((\w)\)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    words = {cell.split(" ")[0] for cells in table().values() for cell in cells.values()}
    assert words == {"yes", "no", "partly"}
