"""All of it in a directory, and with raw files, whose names no shell likes."""

from pathlib import Path
from typing import Any

ODD = "a b #1 100% [x] it's é"


def test_the_line_works_where_names_are_odd(tmp_path: Path, prestow: Any, inside: Any, small: Any) -> None:
    base = tmp_path / ODD
    base.mkdir()
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    for path in (root / "raw").iterdir():
        path.rename(path.with_name(f"{ODD} {path.name}"))
    (root / "raw").rename(root / f"raw {ODD}")
    assert (
        inside("ingest", "--raw", f"raw {ODD}", "--instrument", "simcam", "--json", cwd=root).json["added"]
        == 4
    )
    made = inside("plan", "--json", cwd=root).json
    planned = set(inside("show", "--files", cwd=root).out.split())
    assert prestow("run", "--engine", "local", "--json", cwd=root).json["counts"] == {"made": 10}
    taken = inside("ingest", "--json", "--level", "full", cwd=root).json
    assert (taken["added"], taken["problems"]) == (len(planned), [])
    store = root / "store"
    assert {str(p.relative_to(store)) for p in (store / "demo").rglob("*") if p.is_file()} == planned
    assert {p.name for p in (store / "raw").rglob("*.fits")} == {
        p.name for p in (root / f"raw {ODD}").iterdir()
    }
    again = inside("plan", "--json", "-C", root, cwd=tmp_path).json
    assert (again["plan"], again["exist"]) == (made["plan"], len(planned))
    assert inside("status", "--json", cwd=root).json["counts"]["made"] == 10
    assert inside("debug", "coadd-r-0", "--json", cwd=root).json["failures"] == []


def test_a_project_goes_on_where_it_was_moved_to(tmp_path: Path, inside: Any, small: Any) -> None:
    inside("init", "demo", cwd=tmp_path)
    root = small(tmp_path / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    first = inside("plan", "--json", cwd=root).json
    moved = root.rename(tmp_path / ODD)
    inside("run", "--engine", "local", cwd=moved)
    assert inside("ingest", "--json", cwd=moved).json["added"] == first["total"]["outputs"]
    assert inside("plan", "--json", cwd=moved).json["plan"] == first["plan"]
