"""The same products, byte for byte, under another environment; the same plan for any number of threads."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ELSEWHERE = {
    "PYTHONHASHSEED": "4711",
    "POLARS_MAX_THREADS": "3",
    "OMP_NUM_THREADS": "2",
    "TZ": "Asia/Kathmandu",
}


def line(prestow: Any, root: Path, *, cwd: Path, env: dict[str, str] | None = None) -> str:
    raws = sorted((root / "raw").iterdir(), reverse=env is not None)
    call = ("-C", root)
    prestow(*call, "ingest", "--raw", *raws, "--instrument", "simcam", cwd=cwd, env=env)
    plan = prestow(*call, "plan", "--json", cwd=cwd, env=env).json["plan"]
    prestow(*call, "run", "--engine", "local", cwd=cwd, env=env)
    return plan


@pytest.fixture(scope="module")
def twice(
    tmp_path_factory: pytest.TempPathFactory, prestow: Any, small: Callable[[Path], Path], other_locale: str
) -> list[tuple[Path, str]]:
    """The same campaign in two places: plainly, and with everything around it changed."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    for base in (here, there):
        prestow("init", "demo", cwd=base)
        small(base / "demo")
    first = line(prestow, here / "demo", cwd=here / "demo")
    before = os.umask(0o077)
    try:
        second = line(prestow, there / "demo", cwd=Path("/"), env={**ELSEWHERE, "LC_ALL": other_locale})
    finally:
        os.umask(before)
    return [(here / "demo", first), (there / "demo", second)]


def test_products_are_equal_to_the_byte(twice: list[tuple[Path, str]]) -> None:
    products = [
        {
            str(p.relative_to(root)): p.read_bytes()
            for p in sorted((root / "store" / "demo").rglob("*"))
            if p.is_file()
        }
        for root, _ in twice
    ]
    assert len(products[0]) == 14
    assert products[0] == products[1]


def test_the_plan_has_the_same_id_and_tables(twice: list[tuple[Path, str]]) -> None:
    assert twice[0][1] == twice[1][1]
    tables = [
        {
            p.name: p.read_bytes()
            for p in (root / "plans" / plan).glob("*.parquet")
            if p.name != "locations.parquet"
        }
        for root, plan in twice
    ]
    assert len(tables[0]) >= 7
    assert tables[0] == tables[1]
